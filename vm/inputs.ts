/**
 * Inputs of a deterministic run: bytes for the serial lines and, where the network is live, frames for the card, each with the position at which the guest got it.
 *
 * Live input is delivered at the next round boundary and recorded there as (instructions, virtual ns). Both are needed: while all
 * vCPUs halt, time passes without instructions. Replayed input is delivered at the boundary with the same position, which exists
 * because the run up to there is the same. A recording is a stream of msgpackr records, one per input. What a machine was given is kept
 * in its own log as well, so that a machine that is restored and run again (vm/timeline.ts) gets the same input again.
 */
import { Packr, UnpackrStream } from 'msgpackr';
import type { Readable } from 'node:stream';
import type { Uart } from './devices/uart.ts';

export type SerialLine = 0 | 1;
export type InputLine = SerialLine | 'net';
export interface InputRecord {
  readonly instructions: number;
  readonly ns: number;
  readonly line: InputLine;
  readonly bytes: Uint8Array;
}

/** One entry of the log; `live`: it came while the machine ran, not from a recording. */
interface Logged { readonly record: InputRecord; readonly live: boolean }

export class Inputs {
  readonly #uarts: readonly Uart[];
  readonly #live: { line: InputLine; bytes: Uint8Array }[] = [];
  readonly #frame: ((frame: Uint8Array) => boolean) | undefined;
  /** What was delivered or will be, in order, from record number `#first` of the run on. Live input is added when it is delivered. */
  #log: Logged[];
  #first = 0;
  /** Index of the next one. */
  #next = 0;
  /** Records delivered by the run that has come farthest: after a restore live input waits behind them. */
  #history = 0;
  readonly #onRecord: ((record: InputRecord) => void) | undefined;

  constructor(uarts: readonly Uart[], replay: readonly InputRecord[] = [], onRecord?: (record: InputRecord) => void, frame?: (frame: Uint8Array) => boolean) {
    this.#uarts = uarts;
    this.#frame = frame;
    this.#log = replay.map((record) => ({ record, live: false }));
    this.#onRecord = onRecord;
  }

  /** Bytes taken. */
  #receive(line: InputLine, bytes: Uint8Array): number {
    if (line !== 'net') return this.#uarts[line].receive(bytes);
    return this.#frame?.(bytes) ? bytes.length : 0;
  }
  push(line: InputLine, bytes: Uint8Array): void { if (bytes.length > 0) this.#live.push({ line, bytes: bytes.slice() }); }
  get bytes(): number { return this.#live.reduce((sum, { bytes }) => sum + bytes.length, 0); }
  /** What waits, in order. */
  get queued(): readonly { readonly line: SerialLine; readonly bytes: Uint8Array }[] { return this.#live.flatMap(({ line, bytes }) => (line === 'net' ? [] : [{ line, bytes }])); }
  /** All that was delivered so far, for the same run once more; undefined when the state came from another process. */
  get delivered(): readonly InputRecord[] | undefined { return this.#first === 0 ? this.#log.slice(0, this.#next).map(({ record }) => record) : undefined; }
  get waiting(): boolean { return this.#live.length > 0; }

  /** Delivers what is due at a round boundary; how many records. */
  deliver(instructions: number, ns: number): number {
    let delivered = 0;
    for (let next = this.#log[this.#next]?.record; next && next.instructions <= instructions && next.ns <= ns; next = this.#log[++this.#next]?.record) {
      this.#receive(next.line, next.bytes);
      delivered++;
    }
    if (this.rerunning) return delivered;
    for (let k = 0; k < this.#live.length;) {
      const { line, bytes } = this.#live[k];
      const taken = this.#receive(line, bytes);
      if (taken > 0) {
        delivered++;
        const record = { instructions, ns, line, bytes: bytes.slice(0, taken) };
        this.#log.splice(this.#next++, 0, { record, live: true });
        this.#onRecord?.(record);
      }
      if (taken === bytes.length) this.#live.splice(k, 1);
      else {
        this.#live[k] = { line, bytes: bytes.subarray(taken) };
        k++; // later bytes of the same line must wait behind these
        while (k < this.#live.length && this.#live[k].line === line) k++;
      }
    }
    this.#history = Math.max(this.#history, this.#next);
    return delivered;
  }
  /** The machine was restored to a state that inputs have followed already; they come again by themselves. */
  get rerunning(): boolean { return this.#next < this.#history; }
  /** Live input that came after the present moment will not come again: what follows is another run. */
  forgetFuture(): void {
    this.#log = this.#log.filter(({ live }, index) => index < this.#next || !live);
    this.#history = this.#next;
  }

  /** When the next replayed input is due if no instruction runs before it. */
  nextNs(instructions: number): number {
    const next = this.#log[this.#next]?.record;
    return next && next.instructions <= instructions ? next.ns : Infinity;
  }

  /** After a restore: `delivered` records came before the state that was restored (header.inputsDelivered). */
  seek(delivered: number): void {
    if (delivered < this.#first || delivered > this.#first + this.#log.length) { // a state of another process: nothing is known of its inputs
      this.#first = delivered;
      this.#log = [];
      this.#history = 0;
    }
    this.#next = delivered - this.#first;
  }
  /** Live input that waits is dropped. */
  dropLive(): void { this.#live.length = 0; }
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
