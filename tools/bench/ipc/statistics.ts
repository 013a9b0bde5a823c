/** Latencies of one kind: an HDR histogram (hdr-histogram-js, 3 digits) and what is read from it. Whole ns, from 1 ns to 100 s. */
import { build, type Histogram } from 'hdr-histogram-js';

const HIGHEST_NS = 100_000_000_000;
export interface Timing {
  readonly median: number;
  readonly p99: number;
  readonly p90: number;
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  /** Samples. */
  readonly n: number;
}
export class Latencies {
  readonly #histogram: Histogram = build({ lowestDiscernibleValue: 1, highestTrackableValue: HIGHEST_NS, numberOfSignificantValueDigits: 3 });
  add(ns: number): void { this.#histogram.recordValue(Math.min(HIGHEST_NS, Math.max(1, Math.round(ns)))); }
  get count(): number { return this.#histogram.totalCount; }
  timing(): Timing | null {
    const h = this.#histogram;
    if (h.totalCount === 0) return null;
    return { median: h.getValueAtPercentile(50), p99: h.getValueAtPercentile(99), p90: h.getValueAtPercentile(90), min: h.minNonZeroValue, max: h.maxValue, mean: Math.round(h.mean), n: h.totalCount };
  }
  /** Points of the cumulative distribution: [ns, fraction of samples at or below], at most `steps` + 1 of them. */
  ecdf(steps = 100): [number, number][] {
    if (this.count === 0) return [];
    return Array.from({ length: steps + 1 }, (_, i): [number, number] => [this.#histogram.getValueAtPercentile((i / steps) * 100), i / steps]);
  }
}
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length === 0 ? NaN : sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
/** The value that a part `q` of the values does not exceed; an element of the sample. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length === 0 ? NaN : sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * q) - 1)]!;
}
