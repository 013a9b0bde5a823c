/**
 * The kernel's trace points: which of its symbols mean what, and what a record takes along. The VM knows only the addresses (vm/trace.ts).
 *
 * Compiled functions take words in EAX, EDX, ECX, then the stack; in the stubs the comments of microkernel/stubs say who is in which register.
 * On entries from ring 3 the stack is the CPU's own and empty: ESP + 4 behind one CALL is the Cpu.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import type { TracePlan, TracePoint, TraceWord } from '../../vm/trace.ts';
import {
  C_CURRENT, R_CALLER, T_EAX, T_EBX, T_EIP, T_FAULT_BADGE, T_FAULT_ENDPOINT, T_KIND, T_PRIO, T_SERIAL, T_VECTOR,
} from '../../microkernel/offsets.ts';
import type { DebugInfo } from '../build/debug.ts';

/** Ids of the points in the records. */
export const POINT = {
  /** A Thread is about to go on in ring 3: serial, fault endpoint, its badge, priority. */
  resume: 1,
  /** Fast path of `call`, at the commit: caller, server, endpoint, tag. */
  fastCall: 2,
  /** Fast path of `reply_recv`, at the commit: server, caller, endpoint, tag. */
  fastReply: 3,
  /** A request is sent the general way: caller, endpoint, tag, kind (core/state.ts KIND_*). */
  send: 4,
  /** A request reaches a server the general way: caller, server, tag, kind. */
  deliver: 5,
  /** A server answers the general way: server, caller (0 = gone), tag, kind. */
  answer: 6,
  /** A blocked call or wait ends without an answer: Thread, status (abi/errors.ts). */
  broken: 7,
  /** A request goes back to its endpoint: caller, endpoint. */
  requeue: 8,
  /** A Notify is signalled: current Thread (0 = interrupt or timer of an idle CPU), Notify, bits, by a system call. */
  signal: 9,
  /** ... and wakes somebody: current Thread, who, by a system call. */
  wake: 10,
  /** Exception, interrupt or INT 0x80 in ring 3: Thread, vector, EIP, CR2. */
  trap: 11,
  /** System call the slow way: Thread, handle, tag. */
  syscall: 12,
  /** A fault message is sent: Thread, vector, EIP. */
  fault: 13,
} as const;
export type PointName = keyof typeof POINT;

const SYMBOLS: Readonly<Record<PointName, { readonly symbol: string; readonly words: readonly TraceWord[] }>> = (() => {
  const of = (from: TraceWord['from'], ...load: number[]): TraceWord => ({ from, load });
  /** Field of the current Thread, on an entry from ring 3 behind one CALL. */
  const current = (field: number): TraceWord => ({ from: 'esp', add: 4, load: [C_CURRENT, field] });
  return {
    resume: { symbol: 'leaveKernel', words: [of('esp', C_CURRENT, T_SERIAL), of('esp', C_CURRENT, T_FAULT_ENDPOINT), of('esp', C_CURRENT, T_FAULT_BADGE), of('esp', C_CURRENT, T_PRIO)] },
    fastCall: { symbol: 'lin_call', words: [of('ebp', T_SERIAL), of('edx', T_SERIAL), of('eax'), of('ebx')] },
    fastReply: { symbol: 'lin_reply_recv', words: [of('ebp', T_SERIAL), of('edx', T_SERIAL), of('eax'), of('ebx')] },
    send: { symbol: 'microkernel/core/ipc/sendRequest', words: [of('edx', T_SERIAL), of('ecx'), of('edx', T_EBX), of('edx', T_KIND)] },
    deliver: { symbol: 'microkernel/core/ipc/deliver', words: [of('edx', T_SERIAL), of('ecx', T_SERIAL), of('edx', T_EBX), of('edx', T_KIND)] },
    answer: { symbol: 'microkernel/core/ipc/answer', words: [of('edx', T_SERIAL), of('ecx', R_CALLER, T_SERIAL), of('edx', T_EBX), of('ecx', R_CALLER, T_KIND)] },
    broken: { symbol: 'microkernel/core/ipc/finishBlocked', words: [of('eax', T_SERIAL), of('edx')] },
    requeue: { symbol: 'microkernel/core/ipc/requeue', words: [of('edx', T_SERIAL), of('ecx')] },
    signal: { symbol: 'microkernel/object/notify/signal', words: [of('eax', C_CURRENT, T_SERIAL), of('edx'), of('ecx'), of('esp', 4)] },
    wake: { symbol: 'microkernel/object/notify/wake', words: [of('eax', C_CURRENT, T_SERIAL), of('edx', T_SERIAL), of('ecx')] },
    trap: { symbol: 'microkernel/arch/trap/userTrap', words: [current(T_SERIAL), current(T_VECTOR), current(T_EIP), of('cr2')] },
    syscall: { symbol: 'syscallEntry', words: [current(T_SERIAL), current(T_EAX), current(T_EBX)] },
    fault: { symbol: 'microkernel/core/fault/faultCurrent', words: [of('edx', T_SERIAL), of('ecx'), of('edx', T_EIP)] },
  };
})();

/** What `build` wrote beside an ELF; null when it is not there. */
export function debugInfoOf(elf: string): DebugInfo | null {
  try { return JSON.parse(readFileSync(elf.replace(/\.elf$/, '.dbg.json'), 'utf8')) as DebugInfo; } catch { return null; }
}
export const addressOf = (info: DebugInfo, symbol: string): number | undefined => info.functions.find(({ name }) => name === symbol)?.address ?? info.symbols[symbol];

/** The plan that records everything the model understands. `missing`: points whose symbols this kernel does not have (renamed, or inlined by the compiler). */
export function kernelPlan(kernelElf = path.join(REPOSITORY_ROOT, 'build', 'guest', 'kernel.elf'), keep: TracePlan['keep'] = 'stream'): { readonly plan: TracePlan; readonly missing: readonly PointName[] } {
  const info = debugInfoOf(kernelElf);
  const points: TracePoint[] = [], missing: PointName[] = [];
  for (const name of Object.keys(SYMBOLS) as PointName[]) {
    const { symbol, words } = SYMBOLS[name];
    const address = info === null ? undefined : addressOf(info, symbol);
    if (address === undefined) missing.push(name);
    else points.push({ id: POINT[name], address, words });
  }
  return { plan: { points, marks: true, events: true, keep }, missing };
}
