/**
 * Numbers of a running machine from its trace records, `top` in one line: calls and their latency, notifications, interrupts, faults,
 * generations. Fed with batches as they come (one vCPU each), it puts them in order at every look.
 */
import { build, type Histogram } from 'hdr-histogram-js';
import { SERVERS } from '../../servers/protocols/startup.ts';
import { joinRecords, sortRecords } from '../../vm/trace.ts';
import { readRecords, type TraceRecord } from './records.ts';

export interface LiveCounters {
  readonly calls: number;
  readonly notifications: number;
  readonly interrupts: number;
  readonly faults: number;
  readonly restarts: number;
  /** Call to reply, ns: of all calls answered so far. */
  readonly callNs: { readonly median: number; readonly p99: number; readonly max: number };
  /** Generation by server name, of the servers seen. */
  readonly generations: Readonly<Record<string, number>>;
}
const LONGEST_NS = 60_000_000_000;

export class LiveTrace {
  #pending: Uint8Array[] = [];
  #inOrder = true;
  readonly #since = new Map<number, number>();
  readonly #latency: Histogram = build({ lowestDiscernibleValue: 1, highestTrackableValue: LONGEST_NS, numberOfSignificantValueDigits: 3 });
  readonly #generations = new Map<string, number>();
  #calls = 0; #notifications = 0; #interrupts = 0; #faults = 0; #restarts = 0;

  /** `inOrder` as machine.ts TraceConfig.sink says. */
  feed(records: Uint8Array, inOrder: boolean): void { this.#pending.push(records); this.#inOrder = inOrder; }
  counters(): LiveCounters {
    if (this.#pending.length > 0) {
      for (const record of readRecords(this.#inOrder ? joinRecords(this.#pending) : sortRecords(this.#pending))) this.#count(record);
      this.#pending = [];
    }
    const latency = this.#latency, at = (percentile: number): number => (latency.totalCount === 0 ? 0 : latency.getValueAtPercentile(percentile));
    return {
      calls: this.#calls, notifications: this.#notifications, interrupts: this.#interrupts, faults: this.#faults, restarts: this.#restarts,
      callNs: { median: at(50), p99: at(99), max: latency.totalCount === 0 ? 0 : latency.maxValue },
      generations: Object.fromEntries(this.#generations),
    };
  }
  /** One line, no newline. */
  line(): string {
    const c = this.counters();
    const generations = Object.entries(c.generations).filter(([, generation]) => generation > 1).map(([name, generation]) => `${name} #${generation}`).join(' ');
    return `calls ${c.calls}  median ${time(c.callNs.median)}  p99 ${time(c.callNs.p99)}  notify ${c.notifications}  irq ${c.interrupts}  faults ${c.faults}  restarts ${c.restarts}${generations === '' ? '' : `  ${generations}`}`;
  }
  #count({ kind, ns, words: [a, b] }: TraceRecord): void {
    switch (kind) {
      case 'fastCall': case 'send': this.#since.set(a, ns); return;
      case 'fastReply': case 'answer': {
        const begun = this.#since.get(b);
        if (begun === undefined) return;
        this.#since.delete(b);
        this.#calls++;
        this.#latency.recordValue(Math.min(LONGEST_NS, Math.max(1, Math.round(ns - begun))));
        return;
      }
      case 'broken': this.#since.delete(a); return;
      case 'signal': this.#notifications++; return;
      case 'interrupt': this.#interrupts++; return;
      case 'fault': this.#faults++; return;
      case 'mark.server': if (b > 0) this.#generations.set(SERVERS[a & 0xff] ?? `server ${a & 0xff}`, b); return;
      case 'mark.restart': if (a >>> 8 === 1) this.#restarts++; return;
      default:
    }
  }
}
const time = (ns: number): string => (ns < 1000 ? `${ns} ns` : ns < 1e6 ? `${(ns / 1000).toFixed(1)} us` : `${(ns / 1e6).toFixed(1)} ms`);
