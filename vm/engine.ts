/**
 * What the runners need of a CPU engine. vm/cpu implements it (`createEngine`); tests of the runners use small fakes.
 *
 * All CPU state lives in the vCPU block of the board, so engines can be thrown away and made anew at any instruction boundary.
 */
import type { Board } from './board.ts';
import type { Bus } from './devices/bus.ts';
import type { TracePlan, TraceWriter } from './trace.ts';

/** Why run() came back: the budget is used up to the instruction; HLT (or nothing to do); triple fault; STOP attention. */
export type Exit = 'budget' | 'halt' | 'shutdown' | 'stop';

/** Tier 0 alone; regions where code is hot; mixed: as on, but every other head, by a hash of its address, stays in tier 0 (for tests). */
export type JitMode = 'off' | 'on' | 'mixed';

/**
 * Told at the start of every block of guest instructions, before its first one: the vCPU's own retired count and EIP; everything else
 * is in the vCPU block. True: leave run() here with `stop`. May be told of a block again when it has not got anywhere.
 */
export type BlockWatch = (cpu: number, retired: number, eip: number) => boolean;
/** Told when a marked instruction has been executed; `retired` counts it. True: leave run() with `stop`. */
export type Mark = (cpu: number, retired: number) => boolean;

/** Memory whose accesses are told: linear addresses, as a debug register has them. */
export interface Watch { readonly linear: number; readonly bytes: number; readonly read: boolean; readonly write: boolean }
/**
 * What a debugger wants to be told. `retired` is the vCPU's own count, without the instruction it is about. A true answer leaves run()
 * with `stop`: in front of the instruction at a breakpoint, behind the instruction (in a REP: the iteration) that made an access.
 */
export interface DebugPlan {
  /** Linear addresses. */
  readonly breakpoints: ReadonlySet<number>;
  readonly watches: readonly Watch[];
  breakpoint(cpu: number, retired: number, linear: number): boolean;
  access(cpu: number, retired: number, watch: Watch, write: boolean): boolean;
}

export interface Engine {
  /** Runs at most `budget` instructions, exactly that many unless it leaves for another reason. */
  run(budget: number): Exit;
  /** Puts the vCPU block into its power-on or INIT state (SDM vol. 3A 10.1). */
  reset(kind: 'power' | 'init'): void;
  /** Drops every translation and all decoded code: guest memory or CPU state was replaced under the engine. */
  invalidateAll(): void;
  /** Drops write translations, so that the next store to each page goes through the dirty map again. */
  dropWriteTranslations(): void;
  /** Guest memory was written by somebody else than this engine: forget code decoded from there. */
  memoryWritten(address: number, bytes: number): void;
  /**
   * The vCPU block and these physical pages were put back to an earlier state of the same machine. Unlike `invalidateAll` it keeps every
   * translation that is still right.
   */
  restored(pages: readonly number[]): void;
  /** Whether generated code may read plain ports (devices/bus.ts) itself; not while somebody wants to hear of every access. Default true. */
  readPlainPorts(allowed: boolean): void;
  /** From inside a bus call: run() is to be left with `stop` behind the instruction that made it (in a REP: the iteration), or behind the delivery of the interrupt. */
  stopBehind(): void;
  /** Registers in the vCPU block were changed by a debugger or a fault injector. */
  registersChanged(): void;
  /** Raises an exception at state.eip, as if the instruction there had (fault hooks; outside run() only). `error` -1: none. */
  raiseException(vector: number, error: number): void;
  /**
   * Calls `mark` whenever the instruction at linear address `eip` with the bytes at `physical` has been executed; the instruction must
   * not be a control transfer. Stays until `clearMarks`. Costs nothing elsewhere.
   */
  setMark(eip: number, physical: number, mark: Mark): void;
  clearMarks(): void;
  /**
   * Breakpoints and watchpoints, outside run(). Costs nothing where there are none: code at a breakpoint is decoded with a record of its own in
   * front and left out of regions, pages that are watched get no soft-MMU entries.
   */
  setDebug(plan: DebugPlan | undefined): void;
}

export interface EngineOptions {
  readonly parallel: boolean;
  readonly jit: JitMode;
  /** Instructions seen in a block before a region is made there; default 200,000. Tests make regions early. */
  readonly jitHeat?: number;
  /** Told at every block; switches the JIT off. */
  readonly watch?: BlockWatch;
  /** What to record and where to; absent: nothing. */
  readonly trace?: { readonly plan: TracePlan; readonly writer: TraceWriter };
}
export type EngineFactory = (board: Board, cpu: number, bus: Bus, options: EngineOptions) => Engine;
