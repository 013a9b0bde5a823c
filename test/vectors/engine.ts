/** The engine as the vector machine uses it: one place to follow its interface. */
import type { Board } from '../../vm/board.ts';
import type { Bus } from '../../vm/devices/bus.ts';
import { createEngine } from '../../vm/cpu/engine.ts';

export type Tier = 'off' | 'on' | 'mixed';
export interface VectorEngine {
  run(budget: number): string;
  /** The vCPU block or guest memory was replaced as a whole. */
  replaced(): void;
  codeWritten(physical: number, bytes: number): void;
  /** Compiles the code at EIP now; false when the engine has no JIT or declines. */
  compile(): boolean;
}
export type VectorEngineFactory = (board: Board, bus: Bus, jit: Tier) => VectorEngine;

export const vectorEngine: VectorEngineFactory = (board, bus, jit) => {
  const engine = createEngine(board, 0, bus, { parallel: false, jit });
  return {
    run: budget => engine.run(budget),
    replaced: () => { engine.invalidateAll(); },
    compile: () => engine.compileRegion(),
    codeWritten: (physical, bytes) => { engine.memoryWritten(physical, bytes); },
  };
};
