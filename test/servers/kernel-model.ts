/**
 * A model of the kernel, as much of it as root and the supervisor need: objects, Tables, Spaces, one running Thread at a time, no scheduling.
 *
 * Frames are host buffers. The running process sees its mappings in its wasm memory: mapping copies the buffer in, unmapping copies it back
 * (unless read-only), `sync` does so for all. `recv` and `wait` take the next of `events`; without one they throw `Blocked`, which ends the run.
 */
import { VM_MAP, MESSAGE_PAGE as MP, TAG, BATCH_ENTRY, NOTIFY_BADGE } from '../../microkernel/abi/layout.ts';
import { ERRORS } from '../../microkernel/abi/errors.ts';
import { OBJECTS } from '../../microkernel/abi/objects.ts';
import { CALLS } from '../../microkernel/abi/calls.ts';

export class Blocked extends Error {}
export interface Mapping { frames: Frames; va: number; first: number; pages: number; rights: number; window: boolean }
export interface Cap { object: KObject; rights: number; badge: number }
abstract class Base { abstract readonly kind: number; dead = false; parent: Untyped | undefined }
export class Untyped extends Base { readonly kind = 1; readonly bits: number; used = 0; children: KObject[] = []; readonly base: number; readonly device: boolean; constructor(bits: number, base = 0, device = false) { super(); this.bits = bits; this.base = base; this.device = device; } }
export class Table extends Base { readonly kind = 2; readonly slots = new Map<number, Cap>(); readonly size: number; readonly generations = new Map<number, number>(); constructor(size: number) { super(); this.size = size; } }
export class Space extends Base { readonly kind = 3; mappings: Mapping[] = []; pool = 0; ports: KObject | undefined }
export class Frames extends Base { readonly kind = 4; readonly data: Buffer; readonly paddr: number; constructor(pages: number, paddr: number) { super(); this.data = Buffer.alloc(pages * 4096); this.paddr = paddr; } }
export class Thread extends Base { readonly kind = 5; space: Space | undefined; table: Table | undefined; fault: Cap | undefined; registers: number[] = []; running = false; priority = -1; cpu = -1; flags = 0; notify: Notify | undefined; reply: Reply | undefined; sched: Sched | undefined; readonly serial: number = serials++ }
export class Sched extends Base { readonly kind = 6; budget = 0 }
export class Endpoint extends Base { readonly kind = 7 }
export class Reply extends Base { readonly kind = 8 }
export class Notify extends Base { readonly kind = 9; bits = 0 }
export class Device extends Base { readonly kind = 10; readonly name: string; resets = 0; constructor(name: string) { super(); this.name = name; } }
export type KObject = Untyped | Table | Space | Frames | Thread | Sched | Endpoint | Reply | Notify | Device;
let serials = 1;

/** `idle`: nothing happens until the receiver is willing to wait for more than SOON. */
const SOON = 100_000_000n; // ns
export type Event = { idle: true } | { bits: number } | { badge: number; words: number[] } | { run: () => void };
interface Process { u8: Uint8Array; u32: Uint32Array }

export class KernelModel {
  readonly table: Table; readonly space: Space; readonly thread: Thread; readonly notify: Notify | undefined;
  process: Process | undefined;
  events: Event[] = [];
  replies: number[] = []; // labels of replies given
  clock = 0n;
  failures: string[] = [];
  /** Mappings of boot modules made so far: loading an ELF file needs one. */
  moduleMaps = 0;
  /** I/O ports of the machine. */
  portIn: (port: number, bytes: number) => number = () => 0;
  portOut: (port: number, bytes: number, value: number) => void = () => {};
  private paddr: { next: number };
  constructor(table: Table, space: Space, thread: Thread, paddr: { next: number }) { this.table = table; this.space = space; this.thread = thread; this.paddr = paddr; }

  /** All mappings of the Space into or out of the process's memory. */
  syncIn(): void { for (const m of this.space.mappings) this.copyIn(m); }
  syncOut(): void { for (const m of this.space.mappings) this.copyOut(m); }
  private copyIn(m: Mapping): void { this.process!.u8.set(m.frames.data.subarray(m.first * 4096, (m.first + m.pages) * 4096), m.va); }
  private copyOut(m: Mapping): void { if ((m.rights & 2) !== 0) m.frames.data.set(this.process!.u8.subarray(m.va, m.va + m.pages * 4096), m.first * 4096); }

  cap(handle: number, kind: number, table = this.table): Cap | undefined {
    const c = table.slots.get(handle & 0xfffff);
    if (c === undefined || c.object.kind !== kind || (table.generations.get(handle & 0xfffff) ?? 0) !== handle >>> 20 || c.object.dead) return undefined;
    return c;
  }
  put(table: Table, slot: number, cap: Cap): number {
    if (slot === 0) { slot = 1; while (table.slots.has(slot)) slot++; }
    if (slot >= table.size) throw new Error('model: Table is full');
    table.slots.set(slot, cap);
    return ((table.generations.get(slot) ?? 0) << 20 | slot) >>> 0;
  }
  private drop(table: Table, slot: number): void { table.slots.delete(slot); table.generations.set(slot, (table.generations.get(slot) ?? 0) + 1); }

  readonly sysEnter = (regs: number): number => {
    const r = regs >>> 2, u32 = this.process!.u32;
    const handle = u32[r]!, tag = u32[r + 1]!, op = tag >>> TAG.op[0], label = tag & 0xffff;
    const w = [u32[r + 2]!, u32[r + 3]!, u32[r + 4]!, ...u32.subarray((VM_MAP.messagePage + 12) >>> 2, (VM_MAP.messagePage + 64) >>> 2)];
    const out = (words: number[]): number => { words.forEach((v, n) => { if (n < 3) u32[r + 2 + n] = v; else u32[(VM_MAP.messagePage + n * 4) >>> 2] = v; }); return 0; };
    const fail = (error: keyof typeof ERRORS, why: string): number => { this.failures.push(`${why}: ${error}`); return ERRORS[error][0]; };
    this.clock += 1000n;
    switch (op) {
      case CALLS.clock.op: return out([Number(this.clock & 0xffffffffn), Number(this.clock >> 32n), 0]);
      case CALLS.trace.op: return out([0, 0, 0]);
      case CALLS.notify.op: { const c = this.cap(handle, 9); if (!c) return fail('HANDLE', 'notify'); (c.object as Notify).bits |= w[0]! & (c.badge === 0 ? -1 : c.badge); return 0; }
      case CALLS.reply.op: if (!this.cap(handle, 8)) return fail('HANDLE', 'reply'); this.replies.push(label); return 0;
      case CALLS.recv.op: {
        const poll = (tag >>> TAG.deadline[0] & 1) === 1 && u32[(VM_MAP.messagePage + MP.deadlineLo) >>> 2] === 0 && u32[(VM_MAP.messagePage + MP.deadlineHi) >>> 2] === 0;
        const word = (at: number): bigint => BigInt(u32[(VM_MAP.messagePage + at) >>> 2]!);
        const until = (tag >>> TAG.deadline[0] & 1) === 1 ? word(MP.deadlineLo) | word(MP.deadlineHi) << 32n : 1n << 64n;
        for (let e = this.events.shift(); ; e = this.events.shift()) {
          if (e === undefined || 'idle' in e) {
            if (poll) { if (e !== undefined) this.events.unshift(e); return ERRORS.TIMEOUT[0]; }
            if (e !== undefined && until < this.clock + SOON) { this.events.unshift(e); this.clock = until; return ERRORS.TIMEOUT[0]; }
            if (e === undefined) throw new Blocked();
            continue;
          }
          if ('run' in e) { e.run(); continue; }
          if ('bits' in e) { u32[(VM_MAP.messagePage + MP.badge) >>> 2] = NOTIFY_BADGE; u32[(VM_MAP.messagePage + MP.pending) >>> 2] = e.bits; return 0; }
          u32[(VM_MAP.messagePage + MP.badge) >>> 2] = e.badge;
          return out(e.words);
        }
      }
      case CALLS.wait.op: throw new Blocked();
      case CALLS.fault.op: throw new Error(`guest fault ${w[0]!.toString(16)} ${w[1]!.toString(16)} ${w[2]!.toString(16)}`);
      case CALLS.batch.op: {
        for (let n = 0; n < w[0]!; n++) {
          const at = (VM_MAP.messagePage + MP.batch + n * BATCH_ENTRY.size) >>> 2;
          const status = this.invoke(u32[at]!, u32[at + 1]!, [...u32.subarray(at + 2, at + 7)], () => 0, fail);
          if (status !== 0) { u32[r + 2] = n; return status; }
        }
        return 0;
      }
      case CALLS.invoke.op: return this.invoke(handle, label, w, out, fail);
      default: throw new Error(`model: call ${op}`);
    }
  };

  private invoke(handle: number, label: number, w: number[], out: (w: number[]) => number, fail: (e: keyof typeof ERRORS, why: string) => number): number {
    const slot = this.table.slots.get(handle & 0xfffff);
    if (!slot) return fail('HANDLE', `invoke ${label} of ${handle}`);
    const o = slot.object;
    const at = (h: number, kind: number): KObject | undefined => this.cap(h, kind)?.object;
    const toTable = (h: number): Table | undefined => (h === 0 ? this.table : at(h, 2) as Table | undefined);
    if (o instanceof Untyped) {
      const ops = OBJECTS.Untyped.ops;
      if (label === ops.info.label) return out([o.bits, 2 ** o.bits - o.used, o.base >>> 12, o.children.length]);
      if (label === ops.revoke.label) { for (const c of o.children) this.destroy(c); o.children = []; o.used = 0; return 0; }
      const [type, bits, count, table, first] = w as [number, number, number, number, number];
      const t = toTable(table);
      if (!t) return fail('HANDLE', 'retype: table');
      const bytes = type === 1 || type === 4 ? 2 ** bits : type === 2 ? 32 * 2 ** bits : type === 3 ? 3 * 4096 : 0;
      if (o.used + (bytes + (o.device ? 0 : 64)) * count > 2 ** o.bits) return fail('MEMORY', `retype ${type} ${bits} of 2^${o.bits}`);
      let start = first;
      if (count > 1 && first === 0) for (start = 1; ; start++) { let free = true; for (let n = 0; n < count; n++) free &&= !t.slots.has(start + n); if (free) break; }
      let result = 0;
      for (let n = 0; n < count; n++) {
        const made = this.make(type, bits, o);
        made.parent = o;
        o.children.push(made);
        o.used += bytes + (o.device ? 0 : 64);
        const h = this.put(t, start === 0 ? 0 : start + n, { object: made, rights: 0xff, badge: 0 });
        if (n === 0) result = h;
      }
      return out([result, count]);
    }
    if (o instanceof Table) {
      const ops = OBJECTS.Table.ops;
      const c = o.slots.get(w[0]! & 0xfffff);
      if (!c || (o.generations.get(w[0]! & 0xfffff) ?? 0) !== w[0]! >>> 20) return fail('HANDLE', `table op ${label} on ${w[0]}`);
      if (label === ops.copy.label || label === ops.mint.label) {
        const t = toTable(w[2]!);
        if (!t) return fail('HANDLE', 'copy: table');
        if (w[3] !== 0 && t.slots.has(w[3]!)) return fail('EXISTS', `copy to ${w[3]}`);
        if (w[3]! >= t.size) return fail('RANGE', `copy to ${w[3]}`);
        return out([this.put(t, w[3]!, { object: c.object, rights: c.rights & w[1]!, badge: label === ops.mint.label ? w[4]! : c.badge })]);
      }
      if (label === ops.identify.label) return out([c.object.kind, c.rights, c.badge, 0]);
      if (label === ops.delete.label) { this.drop(o, w[0]! & 0xfffff); return 0; }
    }
    if (o instanceof Space) {
      const ops = OBJECTS.Space.ops;
      if (label === ops.donate.label) { const u = at(w[0]!, 1) as Untyped | undefined; if (!u || u.used + w[1]! * 4096 > 2 ** u.bits) return fail('MEMORY', 'donate'); u.used += w[1]! * 4096; o.pool += w[1]!; return 0; }
      if (label === ops.set_ports.label) { o.ports = at(w[0]!, 10); return o.ports ? 0 : fail('HANDLE', 'set_ports'); }
      if (label === ops.map.label) {
        const [, va, first, pages, rights] = w as [number, number, number, number, number];
        const f = at(w[0]!, 4) as Frames | undefined;
        if (!f) return fail('HANDLE', `map of ${w[0]} at ${va.toString(16)}`);
        if (pages === 0 || (first + pages) * 4096 > f.data.length || va % 4096 !== 0 || va + pages * 4096 > 0xc0000000) return fail('RANGE', `map at ${va.toString(16)} ${pages} pages of ${f.data.length / 4096}`);
        if (o.mappings.some((m) => va < m.va + m.pages * 4096 && m.va < va + pages * 4096)) return fail('EXISTS', `map at ${va.toString(16)}`);
        const m = { frames: f, va, first, pages, rights, window: false };
        o.mappings.push(m);
        if (f.parent === undefined) this.moduleMaps++;
        if (o === this.space) this.copyIn(m);
        return 0;
      }
      if (label === ops.unmap.label) {
        const gone = o.mappings.filter((m) => m.va === w[0] && m.pages === w[1]);
        if (gone.length !== 1) return fail('RANGE', `unmap ${w[0]!.toString(16)} ${w[1]}`);
        if (o === this.space) this.copyOut(gone[0]!);
        o.mappings = o.mappings.filter((m) => m !== gone[0]);
        return out([w[1]!]);
      }
      if (label === ops.window.label) { const m = o.mappings.find((k) => k.va === w[1] && k.pages === w[2]); if (!m || m.rights !== 1) return fail('RANGE', 'window'); m.window = true; return 0; }
    }
    if (o instanceof Frames && label === OBJECTS.Frames.ops.paddr.label) return out([o.paddr]);
    if (o instanceof Thread) {
      const ops = OBJECTS.Thread.ops;
      if (label === ops.configure.label) {
        o.space = at(w[0]!, 3) as Space; o.table = at(w[1]!, 2) as Table; o.fault = this.cap(w[4]!, 7);
        return o.space && o.table && at(w[2]!, 4) && o.fault ? 0 : fail('HANDLE', 'configure');
      }
      if (label === ops.set_schedule.label) { [o.priority, o.cpu, o.flags] = w as [number, number, number]; return 0; }
      if (label === ops.bind_notify.label) { o.notify = at(w[0]!, 9) as Notify; return o.notify ? 0 : fail('HANDLE', 'bind_notify'); }
      if (label === ops.bind_reply.label) { o.reply = at(w[0]!, 8) as Reply; return o.reply ? 0 : fail('HANDLE', 'bind_reply'); }
      if (label === ops.resume.label) { if (!o.space || o.registers.length === 0) return fail('BUSY', 'resume'); o.running = true; return 0; }
      if (label === ops.suspend.label) { o.running = false; return 0; }
      if (label === ops.set_registers.label) { o.registers = w.slice(3, 15); return 0; }
      if (label === ops.query.label) return out([2, o.cpu, o.priority, o.serial, 0, 0, 0]);
    }
    if (o instanceof Sched) { if (label === OBJECTS.Sched.ops.configure.label) { o.budget = w[0]!; return 0; } const t = at(w[0]!, 5) as Thread | undefined; if (!t) return fail('HANDLE', 'sched bind'); t.sched = o; return 0; }
    if (o instanceof Device) {
      const ops = OBJECTS.Device.ops;
      if (label === ops.reset.label) { o.resets++; return 0; }
      if (label === ops.port_in.label) return out([this.portIn(w[0]!, w[1]!) >>> 0]);
      if (label === ops.port_out.label) { this.portOut(w[0]!, w[1]!, w[2]!); return 0; }
    }
    return fail('TYPE', `operation ${label} of kind ${o.kind}`);
  }
  private make(type: number, bits: number, from: Untyped): KObject {
    if (type === 1) return new Untyped(bits);
    if (type === 2) return new Table(2 ** bits);
    if (type === 3) return new Space();
    if (type === 4) {
      if (from.device) return new Frames(Math.min(1, 2 ** bits / 4096) * Math.min(2 ** bits / 4096, 64), from.base + from.used);
      const f = new Frames(2 ** bits / 4096, this.paddr.next);
      this.paddr.next += 2 ** bits;
      return f;
    }
    return type === 5 ? new Thread() : type === 6 ? new Sched() : type === 7 ? new Endpoint() : type === 8 ? new Reply() : new Notify();
  }
  private destroy(o: KObject): void {
    o.dead = true;
    if (o instanceof Thread) o.running = false;
    if (o instanceof Untyped) for (const c of o.children) this.destroy(c);
    for (const t of new Set([this.table, ...this.tables])) for (const [slot, c] of [...t.slots]) if (c.object === o) this.drop(t, slot);
  }
  /** Every Table made, so that destruction reaches all capabilities. */
  get tables(): Table[] {
    const found = new Set<Table>();
    for (const c of this.table.slots.values()) if (c.object instanceof Table) found.add(c.object);
    return [...found];
  }
}
