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

export type JitMode = 'off' | 'on' | 'mixed';

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
}

export interface EngineOptions {
  readonly parallel: boolean;
  readonly jit: JitMode;
  /** What to record and where to; absent: nothing. */
  readonly trace?: { readonly plan: TracePlan; readonly writer: TraceWriter };
}
export type EngineFactory = (board: Board, cpu: number, bus: Bus, options: EngineOptions) => Engine;
