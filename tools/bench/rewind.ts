/**
 * What going back costs: snapshots, hashes, files, and the way back of a debugger in a run of a hundred million instructions. CPU time of this process;
 * the counts beside it (pages, instructions run again) do not depend on the host.
 */
import { createDeterministicMachine, type DeterministicMachine, type MachineConfig } from '../../vm/machine.ts';
import { Debugger } from '../../vm/debugger.ts';
import { FaultPort } from '../../vm/faults.ts';
import { decodeSnapshot, encodeSnapshot, restoreStored } from '../../vm/snapshot-file.ts';

export interface RewindRow { readonly name: string; /** CPU time, ms, median. */ readonly ms: number; readonly what: string }
export interface RewindResult { readonly rows: readonly RewindRow[] }

const PAGES = 64;
const cpuMs = (): number => { const { user, system } = process.cpuUsage(); return (user + system) / 1000; };
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

/** `config`: the booted system; `begin`: instructions of its boot. */
export async function benchRewind(config: MachineConfig, begin: number, options: { readonly runs: number; readonly instructions?: number; readonly progress?: (text: string) => void }): Promise<RewindResult> {
  const rows: RewindRow[] = [], length = options.instructions ?? 100_000_000;
  const machine = createDeterministicMachine(config), port = new FaultPort(machine);
  machine.runFor(begin);
  options.progress?.(`booted: ${machine.instructions} instructions`);
  const few = (name: string, what: string, prepare: () => void, body: () => void, times: number): void => {
    const samples: number[] = [];
    for (let run = 0; run < options.runs; run++) {
      let total = 0;
      for (let n = 0; n < times; n++) {
        prepare();
        // A short span has no CPU time of its own to read; the fastest of many is not the neighbours'.
        const started = performance.now();
        body();
        const took = performance.now() - started;
        total = n === 0 ? took : Math.min(total, took);
      }
      samples.push(total);
    }
    rows.push({ name, ms: median(samples), what });
  };
  /** A word in each of 64 pages, as a guest would leave them: written, translated, in the dirty map. */
  let value = 0;
  const touch = (): void => { value++; for (let page = 0; page < PAGES; page++) port.writePhysical(0x300_0000 + page * 4096, Uint8Array.of(value & 255, page)); };
  const snapshot = machine.snapshot();
  few('restore', `snapshot, ${PAGES} pages written since`, touch, () => machine.restore(snapshot), 200);
  few('snapshot', `${PAGES} pages written since the last, ${snapshot.pages.size} referred to`, touch, () => machine.snapshot(), 50);
  machine.restore(snapshot);
  few('hash', `${PAGES} pages written since the last`, touch, () => machine.hash(), 200);
  machine.restore(snapshot);
  machine.checkpoint();
  few('roll back', `checkpoint, ${PAGES} pages written since`, touch, () => machine.rollBack(), 200);
  let file: Uint8Array = new Uint8Array(0);
  few('write file', 'whole machine', () => undefined, () => { file = encodeSnapshot(machine); }, 3);
  const fresh = createDeterministicMachine(config);
  few('read file', `${(file.length / 1048576).toFixed(1)} MiB`, () => undefined, () => restoreStored(fresh, decodeSnapshot(file, 'benchmark')), 3);
  fresh.close();
  machine.close();
  rows.push(...await wayBack(config, length, options.progress));
  return { rows };
}

/** Runs `length` instructions under a debugger, then goes back: to the previous breakpoint, one step, to the beginning. */
async function wayBack(config: MachineConfig, length: number, progress?: (text: string) => void): Promise<RewindRow[]> {
  const machine: DeterministicMachine = createDeterministicMachine(config), debug = new Debugger(machine), { timeline } = debug, rows: RewindRow[] = [];
  const timed = async (name: string, body: () => unknown): Promise<void> => {
    const started = cpuMs(), again = timeline.counters.again;
    const stop = await body();
    rows.push({ name, ms: cpuMs() - started, what: `${(timeline.counters.again - again).toLocaleString('en-US')} instructions run again${typeof stop === 'string' ? `, ${stop}` : ''}` });
  };
  let plainMs = cpuMs();
  const plain = createDeterministicMachine(config);
  while (plain.instructions < length) if (plain.runFor(length - plain.instructions).pause === 'stopped') break;
  plainMs = cpuMs() - plainMs;
  plain.close();
  await timed('run', () => { while (machine.instructions < length) if (debug.forward(length - machine.instructions).kind === 'stopped') break; return `${machine.instructions.toLocaleString('en-US')} instructions forward, ${timeline.snapshots.length} snapshots; ${plainMs.toFixed(0)} ms without a debugger`; });
  progress?.(`ran ${machine.instructions} instructions`);
  const { eip } = debug.port.position(0);
  debug.insertBreakpoint(eip);
  debug.forward(2_000_000);
  await timed('reverse-continue', async () => (await debug.reverseContinue()).kind);
  debug.clear();
  await timed('reverse-stepi', () => debug.reverseStep(0).kind);
  await timed('reverse-stepi, next', () => debug.reverseStep(0).kind);
  debug.insertWatch({ linear: 0x7fff_0000, bytes: 4, read: false, write: true });
  await timed('reverse-continue, all', async () => `${(await debug.reverseContinue()).kind}: a watchpoint that nobody hits`);
  machine.close();
  return rows;
}

export const formatRewind = ({ rows }: RewindResult): string => rows.map(({ name, ms, what }) => `${name.padEnd(24)} ${(ms < 1 ? `${(ms * 1000).toFixed(0)} us` : `${ms.toFixed(ms < 20 ? 1 : 0)} ms`).padStart(10)}   ${what}`).join('\n');
