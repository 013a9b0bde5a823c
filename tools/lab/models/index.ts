/** Every fault model, by name. */
import { diskError } from './disk.ts';
import { IPC_MODELS } from './ipc.ts';
import type { FaultModel } from './model.ts';
import { serverHang, serverKill } from './server.ts';
import { memoryFlip, registerFlip } from './state.ts';
import { TEXT_MODELS } from './text.ts';

export const MODELS: ReadonlyMap<string, FaultModel> = new Map([registerFlip, memoryFlip, ...TEXT_MODELS, ...IPC_MODELS, diskError, serverKill, serverHang].map((model) => [model.name, model]));
/** Names of groups in a spec. */
export const MODEL_GROUPS: Readonly<Record<string, readonly string[]>> = {
  swifi: TEXT_MODELS.map(({ name }) => name), flips: ['reg.flip', 'mem.flip'], ipc: IPC_MODELS.map(({ name }) => name), all: [...MODELS.keys()],
};
