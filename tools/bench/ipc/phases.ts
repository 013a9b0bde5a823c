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
 */
import path from 'node:path';
import { REPOSITORY_ROOT } from '../../../vm/entry.ts';
import { createMachine } from '../../../vm/machine.ts';
import type { TracePoint } from '../../../vm/trace.ts';
import { addressOf, debugInfoOf } from '../../trace/points.ts';

export const PHASES = ['entry', 'validate', 'copy', 'switch', 'exit'] as const;
export type Phase = (typeof PHASES)[number];
export type PhaseCounts = Readonly<Record<Phase, number>>;
export interface PhaseBreakdown { readonly stub: number; readonly call: PhaseCounts; readonly replyRecv: PhaseCounts }
export interface ExactCounts {
  readonly call: number;
  readonly replyRecv: number;
  /** Caller's stamp to caller's stamp. */
  readonly trip: number;
  /** Null where the fast path is not taken (leases). */
  readonly phases: PhaseBreakdown | null;
}
export class IpcBenchError extends Error { override readonly name = 'IpcBenchError'; }

const guest = (name: string): string => path.join(REPOSITORY_ROOT, 'build', 'guest', `${name}.elf`);
/** In the order of a round trip. `.back` of the probe follows SYSEXIT: the caller's next instruction. */
const LABELS = ['sysenterEntry', 'phase_validate', 'lin_call', 'phase_call_switch', 'phase_call_exit', 'lin_reply_recv', 'phase_reply_switch', 'phase_reply_exit'] as const;
const [ENTRY, VALIDATE, LIN_CALL, CALL_SWITCH, CALL_EXIT, LIN_REPLY, REPLY_SWITCH, REPLY_EXIT] = LABELS.keys();
const BACK = 100;

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
    trace: { points, marks: false, events: false, keep: 'stream', sink: (records) => take(records) },
  });
  // The last complete round trip before the guest prints: caller in, server out, server in, caller out.
  const log: { id: number; at: number }[] = [];
  function take(records: Uint8Array): void {
    const view = new DataView(records.buffer, records.byteOffset, records.length);
    for (let at = 0; at < records.length; at += 32) if (view.getUint8(at + 10) === 0) log.push({ id: view.getUint16(at + 8, true), at: view.getUint32(at + 12, true) });
  }
  const result = await machine.run().finally(() => machine.close());
  const m = /^exact call=(\d+) reply=(\d+) trip=(\d+)/m.exec(output);
  if (result.reason !== 'exit' || result.status !== 1 || !m) throw new IpcBenchError(`the guest ended with ${result.reason} ${result.status}: ${output.slice(-400)}`);
  const call = Number(m[1]), replyRecv = Number(m[2]), trip = Number(m[3]);
  const pattern = [ENTRY, VALIDATE, LIN_CALL, CALL_SWITCH, CALL_EXIT, BACK, ENTRY, VALIDATE, LIN_REPLY, REPLY_SWITCH, REPLY_EXIT, BACK];
  let found = -1;
  for (let i = log.length - pattern.length; i >= 0 && found < 0; i--) if (pattern.every((id, k) => log[i + k]!.id === id)) found = i;
  if (found < 0 || lease) {
    if (!lease) throw new IpcBenchError(`${space} Space, ${words} words: the fast path was not taken`);
    return { call, replyRecv, trip, phases: null };
  }
  const part = (n: number): number => log[found + n + 1]!.at - log[found + n]!.at;
  const counts = (n: number): PhaseCounts => ({ entry: part(n), validate: part(n + 1), copy: part(n + 2), switch: part(n + 3), exit: part(n + 4) });
  const phases = { call: counts(0), replyRecv: counts(6) }, sum = (p: PhaseCounts): number => PHASES.reduce((total, phase) => total + p[phase], 0);
  if (sum(phases.call) !== call || sum(phases.replyRecv) !== replyRecv) {
    throw new IpcBenchError(`the guest counts ${call} and ${replyRecv} instructions, the trace ${sum(phases.call)} and ${sum(phases.replyRecv)}: one of them is wrong`);
  }
  return { call, replyRecv, trip, phases: { stub: trip - call - replyRecv, ...phases } };
}
