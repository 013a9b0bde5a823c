/**
 * Plain data out of live objects and back: what the deterministic peer is made of, for snapshots, checkpoints and the state hash.
 * Numbers are eight bytes, byte strings carry their length. Who writes and who reads agree by order alone; both are in the same class.
 */
export class StateWriter {
  #bytes = new Uint8Array(1024);
  #view = new DataView(this.#bytes.buffer);
  #fill = 0;

  #room(bytes: number): void {
    if (this.#fill + bytes <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#fill + bytes));
    larger.set(this.#bytes);
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
  number(value: number): void { this.#room(8); this.#view.setFloat64(this.#fill, value, true); this.#fill += 8; }
  flag(value: boolean): void { this.number(value ? 1 : 0); }
  bytes(value: Uint8Array): void {
    this.number(value.length);
    this.#room(value.length);
    this.#bytes.set(value, this.#fill);
    this.#fill += value.length;
  }
  text(value: string): void { this.bytes(new TextEncoder().encode(value)); }
  /** A count, then the items. */
  list<T>(items: Iterable<T>, count: number, each: (item: T) => void): void { this.number(count); for (const item of items) each(item); }
  done(): Uint8Array { return this.#bytes.slice(0, this.#fill); }
}

export class StateReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  constructor(bytes: Uint8Array) { this.#bytes = bytes; this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength); }
  number(): number { const value = this.#view.getFloat64(this.#at, true); this.#at += 8; return value; }
  flag(): boolean { return this.number() !== 0; }
  bytes(): Uint8Array<ArrayBuffer> { const count = this.number(); const value = this.#bytes.slice(this.#at, this.#at + count); this.#at += count; return value as Uint8Array<ArrayBuffer>; }
  text(): string { return new TextDecoder().decode(this.bytes()); }
  list<T>(each: () => T): T[] { return Array.from({ length: this.number() }, each); }
}

/** State of the machine that lies outside the board: saved and hashed as a string of bytes. */
export interface OutsideState {
  readonly name: string;
  /** Undefined: it can be saved. Else why not. */
  readonly obstacle?: string | undefined;
  /** Changes whenever the state may have. */
  readonly version: number;
  save(): Uint8Array;
  load(saved: Uint8Array): void;
}
