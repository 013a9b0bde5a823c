/**
 * Two runs that should be one: which instruction is the first after which they differ?
 *
 * Both go in step from rung to rung and compare state hashes; at each rung where they agree they leave a snapshot. From the first rung where they do not,
 * both go back to the last one and the interval is halved, again from snapshots, until one instruction is left. A divergence that does not come again when
 * that piece is run again is told as such, with what differs at the rung: then it is not in the guest's own state.
 */
import { differences, type Difference } from './compare.ts';
import { disassemble } from './cpu/isa/disassemble.ts';
import { S, SEG, segBase } from './cpu/state.ts';
import { FaultPort } from './faults.ts';
import type { DeterministicMachine } from './machine.ts';
import type { Snapshot } from './snapshot.ts';

/** One of the two. `advance` runs exactly so many instructions or to the end; tests make runs diverge there. */
export interface VerifiedRun { readonly machine: DeterministicMachine; advance(instructions: number): { readonly pause: string; readonly instructions: number } }
export const verifiedRun = (machine: DeterministicMachine): VerifiedRun => ({ machine, advance: (instructions) => machine.runFor(instructions) });

export interface Divergence {
  /** Instructions after which both were the same; `exact`: the next one is the first that differs. */
  readonly after: number;
  readonly exact: boolean;
  /** Who executed it: vCPU, EIP before it, the instruction in words. */
  readonly cpu: number;
  readonly eip: number;
  readonly instruction: string;
  /** What differs after it. */
  readonly differences: readonly Difference[];
}
export interface VerifyReport {
  readonly instructions: number;
  readonly rungs: number;
  readonly stateHash: string;
  readonly divergence: Divergence | undefined;
}
export interface VerifyOptions {
  /** Instructions between two comparisons. Default 1,000,000. */
  readonly every?: number;
  /** Give up after so many instructions. */
  readonly most?: number;
  readonly progress?: (instructions: number) => void;
  /** Inputs to hand out between pieces: called before each. */
  readonly between?: () => void;
}

const hashes = (a: VerifiedRun, b: VerifiedRun): boolean => a.machine.hash() === b.machine.hash();

export async function verifyRuns(a: VerifiedRun, b: VerifiedRun, options: VerifyOptions = {}): Promise<VerifyReport> {
  const every = options.every ?? 1_000_000, most = options.most ?? Infinity;
  let rungs = 0, good: Pair = pair(a, b);
  if (!hashes(a, b)) return { instructions: 0, rungs: 0, stateHash: a.machine.hash(), divergence: { cpu: 0, ...describe(a.machine, 0), after: 0, exact: false, differences: differences(a.machine, b.machine) } };
  for (;;) {
    options.between?.();
    const piece = Math.min(every, most - a.machine.instructions), ranA = a.advance(piece), ranB = b.advance(piece);
    rungs++;
    if (ranA.pause !== ranB.pause || ranA.instructions !== ranB.instructions || !hashes(a, b)) return { instructions: a.machine.instructions, rungs, stateHash: a.machine.hash(), divergence: bisect(a, b, good, Math.max(ranA.instructions, ranB.instructions)) };
    options.progress?.(a.machine.instructions);
    const over = ranA.pause === 'stopped' || ranA.pause === 'idle' || a.machine.instructions >= most;
    if (over) return { instructions: a.machine.instructions, rungs, stateHash: a.machine.hash(), divergence: undefined };
    good = pair(a, b);
    await new Promise((resolve) => { setImmediate(resolve); });
  }
}

interface Pair { readonly a: Snapshot; readonly b: Snapshot; readonly at: number }
const pair = (a: VerifiedRun, b: VerifiedRun): Pair => ({ a: a.machine.snapshot(), b: b.machine.snapshot(), at: a.machine.instructions });

function bisect(a: VerifiedRun, b: VerifiedRun, good: Pair, length: number): Divergence {
  const found = differences(a.machine, b.machine);
  const back = (to: Pair): void => { a.machine.restore(to.a, true); b.machine.restore(to.b, true); };
  /** Runs both; whether they still agree. */
  const run = (instructions: number): boolean => {
    const ranA = a.advance(instructions), ranB = b.advance(instructions);
    return ranA.pause === ranB.pause && ranA.instructions === ranB.instructions && hashes(a, b);
  };
  back(good);
  if (run(length)) return { cpu: 0, ...describe(a.machine, 0), after: good.at, exact: false, differences: found };
  let low = good, span = length; // the same at `low`, not after `span` more
  while (span > 1) {
    back(low);
    const half = span >> 1;
    if (run(half)) { low = pair(a, b); span -= half; } else span = half;
  }
  back(low);
  const before = Array.from({ length: a.machine.board.cpus }, (_, cpu) => a.machine.cpus.retired(cpu));
  const places = before.map((_, cpu) => describe(a.machine, cpu));
  run(1);
  const moved = before.findIndex((retired, cpu) => a.machine.cpus.retired(cpu) !== retired || b.machine.cpus.retired(cpu) !== retired), cpu = Math.max(0, moved);
  return { after: low.at, exact: true, ...places[cpu]!, cpu, differences: differences(a.machine, b.machine) };
}
function describe(machine: DeterministicMachine, cpu: number): { eip: number; instruction: string } {
  const words = machine.cpus.words(cpu), port = new FaultPort(machine), eip = words[S.eip >> 2]! >>> 0, linear = (eip + words[segBase(SEG.CS) >> 2]!) >>> 0;
  const paging = words[S.cr0 >> 2]! < 0, cr3 = words[S.cr3 >> 2]! >>> 0, bytes = new Uint8Array(15);
  for (let n = 0; n < 15; n++) {
    const physical = paging ? port.translate(cr3, (linear + n) >>> 0) : linear + n;
    if (physical < 0 || physical >= machine.board.ramBytes) break;
    bytes[n] = machine.board.ram[physical]!;
  }
  return { eip, instruction: disassemble(bytes, eip, words[S.mode >> 2]!)[0]?.text ?? '(no code)' };
}
