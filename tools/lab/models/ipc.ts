/**
 * Faults of messages. A message of a server is a system call that sends (call, reply, reply_recv, notify), caught at its SYSENTER; where the
 * call is the doorbell of a ring (servers/protocols/ring.ts), the message is the ring entry it announces: the request last posted by an
 * owner, the answer last given by a worker.
 *
 *   drop     the sender is told OK, the receiver never sees it
 *   dup      it arrives twice
 *   corrupt  one bit of it is wrong
 */
import { CALLS } from '../../../microkernel/abi/calls.ts';
import { MESSAGE_PAGE, TAG, VM_MAP } from '../../../microkernel/abi/layout.ts';
import { RING } from '../../../servers/protocols/ring.ts';
import { REGION } from '../../../servers/protocols/startup.ts';
import { doorbellRing, regionsOf } from '../guest-view.ts';
import type { Random } from '../random.ts';
import type { Subject } from '../subject.ts';
import { TriggerError, type Fault, type FaultModel } from './model.ts';

const SENDS = [CALLS.call.op, CALLS.reply_recv.op, CALLS.reply.op, CALLS.notify.op] as const;
/** SYSEXIT puts ring 3 back where EDX and ECX of SYSENTER said. */
const RETURN_LIMIT = 200_000;

const field = (tag: number, [low, width]: readonly [number, number]): number => (tag >>> low) & ((1 << width) - 1);
const withOperation = (tag: number, operation: number): number => ((tag & 0x0fffffff) | (operation << 28)) >>> 0;

/** An entry of a ring that a doorbell announces. */
interface RingEntry { readonly owner: boolean; readonly va: number; readonly header: number; readonly bytes: number; readonly first: number }
function ringEntry(subject: Subject, cr3: number, handle: number): RingEntry | undefined {
  const { port } = subject, ring = doorbellRing(port, cr3, handle);
  if (ring < 0) return undefined;
  const regions = regionsOf(port, cr3);
  const request = regions.find(({ role }) => role === REGION.ringRequest + ring)?.va, status = regions.find(({ role }) => role === REGION.ringStatus + ring)?.va;
  if (request === undefined || status === undefined) return undefined;
  if (port.mapping(cr3, request)?.writable) {
    const head = port.readWord(cr3, request + RING.request.header.head) ?? 0;
    if (head === 0) return undefined;
    const { header, entry } = RING.request;
    return { owner: true, va: request + header.size + ((head - 1) & (RING.slots - 1)) * entry.size, header: request + header.head, bytes: entry.size, first: entry.id };
  }
  const { header, entry } = RING.status;
  const done = port.readWord(cr3, status + header.done) ?? 0;
  if (done === 0) return undefined;
  for (let back = 1; back <= RING.slots; back++) {
    const va = status + header.size + ((done - back) & (RING.slots - 1)) * entry.size;
    if (port.readWord(cr3, va + entry.state) === RING.state.done) return { owner: false, va, header: status + header.done, bytes: entry.size, first: entry.status };
  }
  return undefined;
}

/** Returns from a SYSENTER that never happens, with status OK. */
function skipCall(subject: Subject, cpu: number): void {
  const { port } = subject;
  port.setRegister(cpu, 'eip', port.register(cpu, 'edx'));
  port.setRegister(cpu, 'esp', port.register(cpu, 'ecx'));
  port.setRegister(cpu, 'eax', 0);
  port.setRegister(cpu, 'ebx', 0);
}
/** Runs until the caller is back behind its SYSENTER. False: it did not come back in time. */
function untilReturn(subject: Subject, cpu: number, cr3: number, eip: number): boolean {
  for (let n = 0; n < RETURN_LIMIT; n++) {
    if (subject.machine.runFor(1).pause !== 'limit') return false;
    const at = subject.port.position(cpu);
    if (at.user && at.cr3 === cr3 && at.eip === eip) return true;
  }
  return false;
}
const SAVED = ['eax', 'ebx', 'ecx', 'edx', 'esi', 'edi', 'ebp', 'esp', 'eip'] as const;

type Effect = (subject: Subject, fault: Fault) => boolean;
const EFFECTS: Readonly<Record<string, { readonly about: string; readonly parameters: (random: Random) => Fault['parameters']; readonly effect: Effect }>> = {
  drop: {
    about: 'a message is lost; the sender is told that it arrived', parameters: () => ({}),
    effect(subject, { cpu }) {
      const { port } = subject, { cr3 } = port.position(cpu), tag = port.register(cpu, 'ebx'), operation = tag >>> 28;
      const entry = operation === CALLS.notify.op ? ringEntry(subject, cr3, port.register(cpu, 'eax')) : undefined;
      if (entry) {
        // The entry goes back to what the receiver knows: one post, or one answer, less.
        const at = entry.owner ? entry.va + RING.request.entry.seq : entry.va + RING.status.entry.state;
        port.writeWord(cr3, at, entry.owner ? (port.readWord(cr3, at) ?? 1) - 1 : RING.state.taken);
        port.writeWord(cr3, entry.header, (port.readWord(cr3, entry.header) ?? 1) - 1);
      }
      if (operation === CALLS.reply_recv.op) port.setRegister(cpu, 'ebx', withOperation(tag, CALLS.recv.op));
      else skipCall(subject, cpu);
      return true;
    },
  },
  dup: {
    about: 'a message arrives twice', parameters: () => ({}),
    effect(subject, { cpu }) {
      const { port } = subject, { cr3 } = port.position(cpu), tag = port.register(cpu, 'ebx'), operation = tag >>> 28;
      const entry = operation === CALLS.notify.op ? ringEntry(subject, cr3, port.register(cpu, 'eax')) : undefined;
      if (entry?.owner) {
        // The same request again in the next slot, as if it had been posted there.
        const head = port.readWord(cr3, entry.header) ?? 0, { header, entry: layout } = RING.request;
        const next = entry.header - header.head + header.size + (head & (RING.slots - 1)) * layout.size;
        const bytes = port.read(cr3, entry.va, layout.size);
        if (!bytes) return false;
        const seq = (port.readWord(cr3, next + layout.seq) ?? 0) + 1;
        port.write(cr3, next + layout.id, bytes.subarray(layout.id));
        port.writeWord(cr3, next + layout.seq, seq);
        port.writeWord(cr3, entry.header, head + 1);
        return true;
      }
      const saved = SAVED.map((name) => port.register(cpu, name)), back = port.register(cpu, 'edx');
      if (operation === CALLS.reply_recv.op) port.setRegister(cpu, 'ebx', withOperation(tag, CALLS.reply.op));
      if (!untilReturn(subject, cpu, cr3, back)) return true; // it arrived once, and what the sender does next is its own matter
      SAVED.forEach((name, n) => port.setRegister(cpu, name, saved[n]!));
      return true;
    },
  },
  corrupt: {
    about: 'one bit of a message is wrong', parameters: (random) => ({ word: random.below(16), bit: random.below(32) }),
    effect(subject, { cpu, parameters }) {
      const { port } = subject, { cr3 } = port.position(cpu), tag = port.register(cpu, 'ebx'), operation = tag >>> 28;
      const drawn = parameters['word'] as number, mask = (1 << (parameters['bit'] as number)) >>> 0;
      const entry = operation === CALLS.notify.op ? ringEntry(subject, cr3, port.register(cpu, 'eax')) : undefined;
      if (entry) {
        const at = entry.va + entry.first + (drawn % ((entry.bytes - entry.first) >> 2)) * 4;
        return port.writeWord(cr3, at, (port.readWord(cr3, at) ?? 0) ^ mask);
      }
      const words = Math.max(1, operation === CALLS.notify.op ? 1 : field(tag, TAG.words)), word = drawn % words;
      const register = (['esi', 'edi', 'ebp'] as const)[word];
      if (register) { port.setRegister(cpu, register, port.register(cpu, register) ^ mask); return true; }
      const at = VM_MAP.messagePage + MESSAGE_PAGE.words + word * 4;
      return port.writeWord(cr3, at, (port.readWord(cr3, at) ?? 0) ^ mask);
    },
  },
};

export const IPC_MODELS: readonly FaultModel[] = Object.entries(EFFECTS).map(([name, { about, parameters, effect }]) => ({
  name: `ipc.${name}`, about, kernel: false,
  plan({ target, trigger, random }) {
    const calls = target.calls(SENDS);
    if (trigger.kind !== 'ipc' && trigger.kind !== 'uniform') throw new TriggerError(`trigger.kind: ipc models go with "uniform" (over messages) or "ipc", not "${trigger.kind}"`);
    if (trigger.kind === 'ipc' && trigger.nth > calls.length) throw new TriggerError(`trigger.nth: ${target.name} sends only ${calls.length} messages in the golden run`);
    if (calls.length === 0) return undefined;
    const n = trigger.kind === 'ipc' ? trigger.nth - 1 : random.below(calls.length), call = calls[n]!, owner = target.ownerOf(call);
    const operation = Object.entries(CALLS).find(([, { op }]) => op === call.ebx >>> 28)?.[0] ?? '?';
    const drawn = parameters(random), bits = Object.entries(drawn).map(([key, value]) => ` ${key} ${String(value)}`).join('');
    return { offset: call.at, cpu: call.cpu, eip: -1, cr3: owner.space.cr3, user: true, detail: `${operation}, message ${n + 1} of ${calls.length}${bits}`, parameters: { ...drawn, eax: call.eax, ebx: call.ebx } };
  },
  place(subject, fault) {
    const { port } = subject;
    if (port.register(fault.cpu, 'ebx') !== fault.parameters['ebx'] || port.register(fault.cpu, 'eax') !== fault.parameters['eax']) return false;
    return effect(subject, fault);
  },
}));
