/**
 * Tracing a run, the whole of it for commands and other tools:
 *
 *     const trace = openTrace();                                   // finds the points in build/guest/kernel.dbg.json
 *     const machine = createMachine({ ...config, trace: trace.config });
 *     setInterval(() => line(trace.live.line()), 500);             // optional: a live line from the same records
 *     await machine.run();
 *     trace.write('run.pftrace', machine.traceLost);               // Perfetto TrackEvent; open it in ui.perfetto.dev
 *
 * To see what happened just before an instant (a fault, a divergence), keep a ring instead: openTrace({ keep: 'ring' }), then
 * lastRecords(machine, 40) gives the last records as text. After machine.restore(...) a ring starts empty.
 *
 * Tracing changes neither what the guest does nor its state hash (docs/trace.md says what it costs).
 */
import { writeFileSync } from 'node:fs';
import type { Machine, TraceConfig } from '../../vm/machine.ts';
import { LiveTrace } from './live.ts';
import { buildTimeline } from './model.ts';
import { encodePerfetto } from './perfetto.ts';
import { kernelPlan, type PointName } from './points.ts';
import { formatRecord, readRecords } from './records.ts';
import { joinRecords, sortRecords, TRACE_RECORD_BYTES } from '../../vm/trace.ts';

export interface TraceOptions {
  /** The kernel that will run; default: the built one. Its .dbg.json must lie beside it. */
  readonly kernel?: string;
  /** Default stream. */
  readonly keep?: 'stream' | 'ring';
  /** Records kept for the file; the oldest batches go first. Default 4 million (128 MB); 0 = only the live counters. */
  readonly limit?: number;
}
export interface TraceReport { readonly records: number; readonly events: number; readonly tracks: number; /** Not in the file: lost in full rings, or older than the limit. */ readonly lost: number; readonly bytes: number }

export class Trace {
  readonly config: TraceConfig;
  /** Points this kernel lacks: their events will be absent. */
  readonly missing: readonly PointName[];
  readonly live = new LiveTrace();
  readonly #batches: Uint8Array[] = [];
  readonly #limit: number;
  #inOrder = true;
  #kept = 0;
  #dropped = 0;

  constructor(options: TraceOptions) {
    const { plan, missing } = kernelPlan(options.kernel, options.keep ?? 'stream');
    this.missing = missing;
    this.#limit = options.limit ?? 4_000_000;
    this.config = { ...plan, sink: (records, inOrder) => this.#take(records, inOrder) };
  }
  #take(records: Uint8Array, inOrder: boolean): void {
    this.#inOrder = inOrder;
    this.live.feed(records, inOrder);
    if (this.#limit === 0) return;
    this.#batches.push(records);
    this.#kept += records.length / TRACE_RECORD_BYTES;
    while (this.#kept > this.#limit && this.#batches.length > 1) {
      const gone = this.#batches.shift()!.length / TRACE_RECORD_BYTES;
      this.#kept -= gone;
      this.#dropped += gone;
    }
  }
  /** All records kept so far, as things happened. */
  records(): Uint8Array { return this.#inOrder ? joinRecords(this.#batches) : sortRecords(this.#batches); }
  /** Writes what is kept as Perfetto TrackEvent. `lost`: machine.traceLost. */
  write(file: string, lost = 0): TraceReport {
    const timeline = buildTimeline(this.records());
    const bytes = encodePerfetto(timeline);
    writeFileSync(file, bytes);
    return { records: this.#kept, events: timeline.events.length, tracks: timeline.tracks.length, lost: lost + this.#dropped, bytes: bytes.length };
  }
}
export const openTrace = (options: TraceOptions = {}): Trace => new Trace(options);

/** The last records of a machine that keeps a ring, one line each, oldest first. */
export function lastRecords(machine: Machine, count: number): string[] {
  return [...readRecords(machine.traceRecords())].slice(-count).map(formatRecord);
}
