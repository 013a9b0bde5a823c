/** The lines a bench image reports (guest/protocol.ts), with the CPU time of the machine that ran it at each line. */

export interface Stamped { readonly line: string; /** CPU time in ns since some fixed moment. */ readonly cpuNs: number; /** Host time in ns, same. */ readonly wallNs: number }
/** Of one row: ns per repetition, in order. */
export interface Measured { readonly repetitionsNs: readonly number[]; readonly wallNs: readonly number[]; readonly checksum: string }

/** Splits serial output into lines, stamps each when its last byte arrives, and hands it over. */
export class LineStamper {
  readonly #now: () => number;
  readonly #line: (stamped: Stamped) => void;
  #partial = '';
  constructor(now: () => number, line: (stamped: Stamped) => void) { this.#now = now; this.#line = line; }
  push(text: string): void {
    const parts = (this.#partial + text).split('\n');
    this.#partial = parts.pop()!;
    if (parts.length === 0) return;
    const cpuNs = this.#now(), wallNs = Number(process.hrtime.bigint());
    for (const line of parts) this.#line({ line: line.trim(), cpuNs, wallNs });
  }
}

export class BenchError extends Error { override readonly name = 'BenchError'; }

/** Reads lines as they come: what has been measured, the row under way, whether the image has ended. */
export class Reading {
  readonly rows = new Map<number, { repetitionsNs: number[]; wallNs: number[]; checksum: string }>();
  /** Rows whose figures mean nothing, with the reason. */
  readonly broken = new Map<number, string>();
  current: number | undefined;
  ended = false;
  #last = 0;
  #lastWall = 0;
  take({ line, cpuNs: stamped, wallNs }: Stamped): void {
    const words = line.split(' '), [kind, number, , checksum] = words, row = Number(number);
    if (kind === 'E') { this.ended = true; this.current = undefined; return; }
    if (kind !== 'S' && kind !== 'R' && kind !== 'X') return; // firmware talks too
    const own = kind === 'S' ? words[2] : words[4], cpuNs = own === undefined ? stamped : Number(own);
    if (kind === 'S') { this.rows.set(row, { repetitionsNs: [], wallNs: [], checksum: '' }); this.current = row; }
    else {
      const entry = this.rows.get(row);
      if (!entry || checksum === undefined) return;
      if (kind === 'X') this.broken.set(row, 'different checksums in one repetition');
      else if (entry.checksum !== '' && entry.checksum !== checksum) this.broken.set(row, `checksum ${entry.checksum} and then ${checksum}`);
      entry.checksum = checksum;
      entry.repetitionsNs.push(cpuNs - this.#last);
      entry.wallNs.push(wallNs - this.#lastWall);
    }
    this.#last = cpuNs;
    this.#lastWall = wallNs;
  }
}

/** A peer at work on a plan: `problem` when it has ended, undefined: as it should. */
export interface Running { readonly problem: Promise<string | undefined>; kill(): void }
export type Start = (plan: string, line: (stamped: Stamped) => void) => Running;
export interface RowsResult { readonly rows: ReadonlyMap<number, Measured>; /** Rows the peer did not do, and why. */ readonly lost: ReadonlyMap<number, string> }

/**
 * Runs rows on a peer. When it dies, or says nothing for `silenceMs`, the row under way is lost and the peer is started anew with those
 * behind it. `iterations` by row number; repetitions include the first one.
 */
export async function runRows(start: Start, iterations: ReadonlyMap<number, number>, repetitions: number, silenceMs: number): Promise<RowsResult> {
  const rows = new Map<number, Measured>(), lost = new Map<number, string>();
  let wanted = [...iterations.keys()];
  while (wanted.length > 0) {
    const reading = new Reading();
    let silent = false, timer: NodeJS.Timeout | undefined;
    const watch = (): void => { clearTimeout(timer); timer = setTimeout(() => { silent = true; running.kill(); }, silenceMs); };
    const running = start(`${repetitions} ${wanted.map(n => `${n}:${iterations.get(n)!}`).join(' ')}`, stamped => { reading.take(stamped); watch(); });
    watch();
    const problem = await running.problem;
    clearTimeout(timer);
    for (const [row, reason] of reading.broken) lost.set(row, reason);
    const whole = [...reading.rows].filter(([row, { repetitionsNs }]) => repetitionsNs.length === repetitions && !reading.broken.has(row));
    for (const [row, measured] of whole) rows.set(row, measured);
    if (reading.ended) { for (const row of wanted) if (!rows.has(row) && !lost.has(row)) lost.set(row, 'not reported'); break; }
    const reason = silent ? `no line for ${silenceMs / 1000} s` : problem ?? 'it ended early';
    // Before its first row nothing will be different next time.
    if (reading.current === undefined) { for (const row of wanted) if (!rows.has(row) && !lost.has(row)) lost.set(row, reason); break; }
    if (!rows.has(reading.current)) lost.set(reading.current, reason);
    wanted = wanted.slice(wanted.indexOf(reading.current) + 1);
  }
  return { rows, lost };
}

/** Median of the steady repetitions: all but the first, which pays for translation. */
export function steady(values: readonly number[]): number { return median(values.length > 1 ? values.slice(1) : values); }
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
