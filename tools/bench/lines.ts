/** The lines a bench image reports (guest/protocol.ts), with the CPU time of the machine that ran it at each line. */

export interface Stamped { readonly line: string; /** CPU time in ns since some fixed moment. */ readonly cpuNs: number }
export interface Measured { /** CPU ns per repetition, in order. */ readonly repetitionsNs: readonly number[]; readonly checksum: string }

/** Splits serial output into lines and stamps each when its last byte arrives. */
export class LineStamper {
  readonly lines: Stamped[] = [];
  readonly #now: () => number;
  #partial = '';
  constructor(now: () => number) { this.#now = now; }
  push(text: string): void {
    const parts = (this.#partial + text).split('\n');
    this.#partial = parts.pop()!;
    if (parts.length === 0) return;
    const cpuNs = this.#now();
    for (const line of parts) this.lines.push({ line: line.trim(), cpuNs });
  }
}

export class BenchError extends Error { override readonly name = 'BenchError'; }

/** Repetition times by program number. A missing end, a changing checksum or a foreign line is an error of the peer. */
export function measure(peer: string, lines: readonly Stamped[]): Map<number, Measured> {
  const out = new Map<number, { repetitionsNs: number[]; checksum: string }>();
  let last = 0, ended = false;
  for (const { line, cpuNs: stamped } of lines) {
    const [kind, a, , checksum] = line.split(' ');
    const words = line.split(' '), own = kind === 'S' ? words[2] : words[4];
    const cpuNs = own === undefined ? stamped : Number(own);
    if (kind === 'S') { out.set(Number(a), { repetitionsNs: [], checksum: '' }); last = cpuNs; continue; }
    if (kind === 'X') throw new BenchError(`${peer}: program ${a} gave different checksums in one repetition`);
    if (kind === 'E') { ended = true; continue; }
    const entry = kind === 'R' ? out.get(Number(a)) : undefined;
    if (!entry || checksum === undefined) continue;
    if (entry.checksum !== '' && entry.checksum !== checksum) throw new BenchError(`${peer}: program ${a} gave ${entry.checksum} and then ${checksum}`);
    entry.checksum = checksum;
    entry.repetitionsNs.push(cpuNs - last);
    last = cpuNs;
  }
  if (!ended) throw new BenchError(`${peer}: the bench image did not finish; it reported ${lines.length} lines${lines.length > 0 ? `, the last "${lines[lines.length - 1]!.line}"` : ''}`);
  return out;
}

/** Median of the steady repetitions: all but the first, which pays for translation. */
export function steadyNs(m: Measured): number {
  const steady = (m.repetitionsNs.length > 1 ? m.repetitionsNs.slice(1) : [...m.repetitionsNs]).sort((a, b) => a - b);
  const middle = steady.length >> 1;
  return steady.length % 2 === 1 ? steady[middle]! : (steady[middle - 1]! + steady[middle]!) / 2;
}
