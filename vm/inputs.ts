/**
 * Inputs of a deterministic run: bytes for the serial lines, each with the position at which the guest got it.
 *
 * Live input is delivered at the next round boundary and recorded there as (instructions, virtual ns). Both are needed: while all
 * vCPUs halt, time passes without instructions. Replayed input is delivered at the boundary with the same position, which exists
 * because the run up to there is the same. A recording is a stream of msgpackr records, one per input.
 */
import { Packr, UnpackrStream } from 'msgpackr';
import type { Readable } from 'node:stream';
import type { Uart } from './devices/uart.ts';

export type SerialLine = 0 | 1;
export interface InputRecord {
  readonly instructions: number;
  readonly ns: number;
  readonly line: SerialLine;
  readonly bytes: Uint8Array;
}

export class Inputs {
  readonly #uarts: readonly Uart[];
  readonly #live: { line: SerialLine; bytes: Uint8Array }[] = [];
  readonly #replay: readonly InputRecord[];
  #replayed = 0;
  readonly #onRecord: ((record: InputRecord) => void) | undefined;

  constructor(uarts: readonly Uart[], replay: readonly InputRecord[] = [], onRecord?: (record: InputRecord) => void) {
    this.#uarts = uarts;
    this.#replay = replay;
    this.#onRecord = onRecord;
  }

  push(line: SerialLine, bytes: Uint8Array): void { if (bytes.length > 0) this.#live.push({ line, bytes: bytes.slice() }); }
  get bytes(): number { return this.#live.reduce((sum, { bytes }) => sum + bytes.length, 0); }
  get waiting(): boolean { return this.#live.length > 0; }

  /** Delivers what is due at a round boundary; how many records. */
  deliver(instructions: number, ns: number): number {
    let delivered = 0;
    for (let next = this.#replay[this.#replayed]; next && next.instructions <= instructions && next.ns <= ns; next = this.#replay[++this.#replayed]) {
      this.#uarts[next.line].receive(next.bytes);
      delivered++;
    }
    for (let k = 0; k < this.#live.length;) {
      const { line, bytes } = this.#live[k];
      const taken = this.#uarts[line].receive(bytes);
      if (taken > 0) {
        delivered++;
        this.#onRecord?.({ instructions, ns, line, bytes: bytes.slice(0, taken) });
      }
      if (taken === bytes.length) this.#live.splice(k, 1);
      else {
        this.#live[k] = { line, bytes: bytes.subarray(taken) };
        k++; // later bytes of the same line must wait behind these
        while (k < this.#live.length && this.#live[k].line === line) k++;
      }
    }
    return delivered;
  }

  /** When the next replayed input is due if no instruction runs before it. */
  nextNs(instructions: number): number {
    const next = this.#replay[this.#replayed];
    return next && next.instructions <= instructions ? next.ns : Infinity;
  }

  /** After a restore: continue with the first record not before the restored position. */
  seek(instructions: number, ns: number): void {
    this.#live.length = 0;
    this.#replayed = this.#replay.findIndex((record) => record.instructions > instructions || (record.instructions === instructions && record.ns > ns));
    if (this.#replayed < 0) this.#replayed = this.#replay.length;
  }
}

const packr = new Packr();
/** One record of a recording; append it to the stream. */
export const packInput = (record: InputRecord): Uint8Array => packr.pack(record);
/** Reads a recording. */
export async function unpackInputs(stream: Readable): Promise<InputRecord[]> {
  const records: InputRecord[] = [];
  for await (const record of stream.pipe(new UnpackrStream())) records.push(record as InputRecord);
  return records;
}
