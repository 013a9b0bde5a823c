/**
 * What a transfer did in time: bytes and time by direction and by turn (the storm rests, it kills), every pause of it, and which kill came before.
 * Times are ms of one clock, whatever clock that is: the host's, or that of a deterministic machine.
 */
export type Direction = 'down' | 'up';
export type Turn = 'rest' | 'kills';
export interface Kill { readonly name: string; readonly at: number }
export interface Stall { readonly ms: number; readonly at: number; readonly direction: Direction; /** The last kill before its end, and how long before its end that was. */ readonly after?: string; readonly sinceKillMs?: number }
export interface Flow { readonly bytes: number; readonly ms: number }

/** A pause shorter than this is how streams move. */
export const STALL_MS = 5;
/** Upper ends of the classes that a histogram of stalls has; the last is open. */
export const STALL_CLASSES = [10, 20, 50, 100, 200, 500, Infinity] as const;

export class Ledger {
  readonly now: () => number;
  #moved = 0;
  #direction: Direction | undefined;
  #turn: Turn = 'kills';
  /** Turns of the storm are counted from here on: what comes before warms up. */
  readonly #flows = new Map<string, { bytes: number; ms: number }>();
  readonly kills: Kill[] = [];
  readonly #stalls: { ms: number; at: number; direction: Direction }[] = [];
  longestMs = 0;

  constructor(now: () => number) { this.now = now; }
  /** A stream begins: its request has been sent. */
  begin(direction: Direction): void { this.#direction = direction; this.#moved = this.now(); }
  end(): void { this.#direction = undefined; }
  progress(bytes: number): void {
    const now = this.now(), direction = this.#direction;
    if (direction === undefined) return;
    const ms = now - this.#moved;
    this.#book(bytes, ms);
    if (ms > this.longestMs) this.longestMs = ms;
    if (ms >= STALL_MS) this.#stalls.push({ ms, at: now, direction });
    this.#moved = now;
  }
  #book(bytes: number, ms: number): void {
    const key = `${this.#turn} ${this.#direction}`, flow = this.#flows.get(key);
    if (flow) { flow.bytes += bytes; flow.ms += ms; } else this.#flows.set(key, { bytes, ms });
  }
  turn(turn: Turn): void { this.#turn = turn; }
  /** Forgets the flows so far: they were the warming up. */
  restart(): void { this.#flows.clear(); }
  kill(name: string, at: number): void { this.kills.push({ name, at }); }

  flow(turn: Turn, direction: Direction): Flow { return this.#flows.get(`${turn} ${direction}`) ?? { bytes: 0, ms: 0 }; }
  total(direction: Direction): Flow {
    const a = this.flow('rest', direction), b = this.flow('kills', direction);
    return { bytes: a.bytes + b.bytes, ms: a.ms + b.ms };
  }
  /** Longest first. */
  stalls(): Stall[] {
    return this.#stalls.toSorted((a, b) => b.ms - a.ms).map((stall) => {
      const kill = this.kills.findLast(({ at }) => at <= stall.at);
      return kill === undefined ? stall : { ...stall, after: kill.name, sinceKillMs: stall.at - kill.at };
    });
  }
  /** How many stalls end below each of STALL_CLASSES. */
  histogram(): number[] {
    const counts = STALL_CLASSES.map(() => 0);
    for (const { ms } of this.#stalls) counts[STALL_CLASSES.findIndex((end) => ms < end)]!++;
    return counts;
  }
  /** The part of the throughput at rest that the kills cost, both directions together: 0.1 = a tenth. Undefined without both turns. */
  lost(): number | undefined {
    let rest = 0, kills = 0;
    for (const direction of ['down', 'up'] as const) {
      const a = this.flow('rest', direction), b = this.flow('kills', direction);
      if (a.bytes === 0 || b.bytes === 0) return undefined;
      rest += a.ms / a.bytes;
      kills += b.ms / b.bytes;
    }
    return 1 - rest / kills;
  }
}
