/**
 * Instructions of a round trip on one CPU, exactly, and where they go. Two independent counts of the same run on the deterministic machine:
 * the guest's own, from time stamps around SYSENTER (microkernel/bench/root.ts), and the VM's, from trace points at the phase labels of
 * microkernel/stubs/fastpath.asm.ts. They must agree; benchIpc refuses otherwise.
 *
 *   entry     SYSENTER .. segments checked, flags cleared, registers saved
 *   validate  tag, handle, rights, partner: up to the point of no return
 *   copy      Reply, badge, key, Sched, queues, and the words beyond three
 *   switch    current Thread, stack, address space
 *   exit      registers of the partner, lock, SYSEXIT
 *   stub      everything in ring 3 between the caller's two stamps: both sides' stubs
 *
 * A lease takes the general path, and three system calls: call, the server's Reply.copy, reply_recv (fast again). There the VM tells each block that
 * runs, and the kernel's modules are the phases (GENERAL): the stubs before and behind the compiled code are entry and exit.
 */
import path from 'node:path';
import { REPOSITORY_ROOT } from '../../../vm/entry.ts';
import { createMachine } from '../../../vm/machine.ts';
import type { TracePoint } from '../../../vm/trace.ts';
import { locate, type DebugInfo } from '../../build/debug.ts';
import { addressOf, debugInfoOf } from '../../trace/points.ts';

export const PHASES = ['entry', 'validate', 'copy', 'switch', 'exit'] as const;
export type Phase = (typeof PHASES)[number];
export type PhaseCounts = Readonly<Record<Phase, number>>;
export interface PhaseBreakdown {
  readonly stub: number;
  readonly call: PhaseCounts;
  /** Of a lease: the system call with which the server copies it. */
  readonly replyCopy?: PhaseCounts;
  readonly replyRecv: PhaseCounts;
}
export interface ExactCounts {
  readonly call: number;
  readonly replyRecv: number;
  /** Caller's stamp to caller's stamp. */
  readonly trip: number;
  readonly phases: PhaseBreakdown;
}
export class IpcBenchError extends Error { override readonly name = 'IpcBenchError'; }

const guest = (name: string): string => path.join(REPOSITORY_ROOT, 'build', 'guest', `${name}.elf`);
/** In the order of a round trip. `.back` of the probe follows SYSEXIT: the caller's next instruction. */
const LABELS = ['sysenterEntry', 'phase_validate', 'lin_call', 'phase_call_switch', 'phase_call_exit', 'lin_reply_recv', 'phase_reply_switch', 'phase_reply_exit'] as const;
const [ENTRY, VALIDATE, LIN_CALL, CALL_SWITCH, CALL_EXIT, LIN_REPLY, REPLY_SWITCH, REPLY_EXIT] = LABELS.keys();
const BACK = 100;
/** The general path: phase by module of the kernel, `validate` where none is named (dispatch, capabilities, locks). */
const GENERAL: readonly (readonly [RegExp, Phase])[] = [
  [/^microkernel\/(core\/(schedule|runqueue|timer|shootdown)|arch\/(clock|lapic|cpu))\//, 'switch'],
  [/^(microkernel\/(core\/ipc|object\/(reply|space|endpoint))\/|__mem)/, 'copy'],
];
const KERNEL_BASE = 0xc000_0000;
const sum = (p: PhaseCounts): number => PHASES.reduce((total, phase) => total + p[phase], 0);

export async function exactCounts(space: 'same' | 'other', cpu: 'same' | 'follow', words: number, lease = false): Promise<ExactCounts> {
  const kernel = debugInfoOf(guest('kernel')), bench = debugInfoOf(guest('ipc-bench'));
  const points: TracePoint[] = LABELS.map((label, id) => {
    const address = kernel === null ? undefined : addressOf(kernel, label);
    if (address === undefined) throw new IpcBenchError(`the kernel has no label ${label}: its fast path was rearranged, tools/bench/ipc/phases.ts must follow`);
    return { id, address, words: [] };
  });
  const back = bench === null ? undefined : addressOf(bench, 'probeBack');
  if (back === undefined) throw new IpcBenchError('ipc-bench has no label probeBack');
  points.push({ id: BACK, address: back, words: [] });
  let output = '';
  const machine = createMachine({
    kernel: guest('kernel'), modules: [{ file: guest('ipc-bench'), string: 'root' }], cmdline: `quiet exact space=${space} cpu=${cpu} words=${words}${lease ? ' lease' : ''}`,
    cpus: cpu === 'follow' ? 2 : 1, mode: 'deterministic', jit: 'off', memoryMiB: 64, timeoutMs: 60_000, com1: (bytes) => { output += Buffer.from(bytes).toString('latin1'); },
    ...(lease ? { watch: (_cpu: number, retired: number, eip: number) => { blocks.push({ at: retired, eip: eip >>> 0 }); return false; } } : {}),
    trace: { points, marks: false, events: false, keep: 'stream', sink: (records) => take(records) },
  });
  // The last complete round trip before the guest prints: caller in, server out, server in, caller out.
  const log: { id: number; at: number }[] = [], blocks: { at: number; eip: number }[] = [];
  function take(records: Uint8Array): void {
    const view = new DataView(records.buffer, records.byteOffset, records.length);
    for (let at = 0; at < records.length; at += 32) if (view.getUint8(at + 10) === 0) log.push({ id: view.getUint16(at + 8, true), at: view.getUint32(at + 12, true) });
  }
  const result = await machine.run().finally(() => machine.close());
  const m = /^exact call=(\d+) reply=(\d+) trip=(\d+)/m.exec(output);
  if (result.reason !== 'exit' || result.status !== 1 || !m) throw new IpcBenchError(`the guest ended with ${result.reason} ${result.status}: ${output.slice(-400)}`);
  const callCount = Number(m[1]), replyCount = Number(m[2]), trip = Number(m[3]);
  const fast = [ENTRY, VALIDATE, LIN_REPLY, REPLY_SWITCH, REPLY_EXIT, BACK], pattern = lease ? fast : [ENTRY, VALIDATE, LIN_CALL, CALL_SWITCH, CALL_EXIT, BACK, ...fast];
  let found = -1;
  for (let i = log.length - pattern.length; i >= 0 && found < 0; i--) if (pattern.every((id, k) => log[i + k]!.id === id)) found = i;
  if (found < 0) throw new IpcBenchError(`${space} Space, ${words} words: the fast path was not taken`);
  const part = (n: number): number => log[found + n + 1]!.at - log[found + n]!.at;
  const counts = (n: number): PhaseCounts => ({ entry: part(n), validate: part(n + 1), copy: part(n + 2), switch: part(n + 3), exit: part(n + 4) });
  const replyRecv = counts(lease ? 0 : 6);
  const before = lease ? generalCalls(blocks, log[found]!.at, kernel!) : [counts(0)];
  const call = before[before.length - (lease ? 2 : 1)], replyCopy = lease ? before[before.length - 1] : undefined;
  if (call === undefined) throw new IpcBenchError('the trace does not reach back to the call');
  if (sum(call) !== callCount || sum(replyRecv) !== replyCount) {
    throw new IpcBenchError(`the guest counts ${callCount} and ${replyCount} instructions, the trace ${sum(call)} and ${sum(replyRecv)}: one of them is wrong`);
  }
  return { call: callCount, replyRecv: replyCount, trip, phases: { stub: trip - callCount - replyCount - (replyCopy ? sum(replyCopy) : 0), call, ...(replyCopy ? { replyCopy } : {}), replyRecv } };
}

/** The system calls before instruction number `until`, oldest first, with their phases: from one block in ring 3 to the next. */
function generalCalls(blocks: readonly { readonly at: number; readonly eip: number }[], until: number, kernel: DebugInfo): PhaseCounts[] {
  const calls: Record<Phase, number>[] = [];
  let inside = false, compiled = false;
  for (let i = 0; i + 1 < blocks.length && blocks[i]!.at < until; i++) {
    const { at, eip } = blocks[i]!;
    if (eip < KERNEL_BASE) { inside = false; continue; }
    if (!inside) { calls.push({ entry: 0, validate: 0, copy: 0, switch: 0, exit: 0 }); inside = true; compiled = false; }
    const name = locate(kernel, eip)?.name ?? '', stub = !/^(microkernel\/|__)/.test(name);
    compiled ||= !stub;
    calls[calls.length - 1]![stub ? (compiled ? 'exit' : 'entry') : GENERAL.find(([module]) => module.test(name))?.[1] ?? 'validate'] += blocks[i + 1]!.at - at;
  }
  return calls;
}
