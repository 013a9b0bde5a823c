/**
 * Field lists: how state lies in the board.
 *
 * Every piece of machine state outside guest RAM and the vCPU registers is declared as a field list: names, widths and whether
 * the field is architectural. One declaration serves four readers: the device (a typed view with getters and setters over the
 * shared memory), the snapshot, the hash and the debugger. A device that kept state in JavaScript variables would be invisible
 * to all four, and to the device models that other workers run over the same memory.
 *
 * Layout rules: u32 on 4 bytes, f64 on 8, byte arrays padded to 8; a list is a multiple of 8 bytes. f64 holds virtual time in ns
 * (integers to 2^53: 104 days) and counters. `derived(...)` marks fields that are neither saved nor hashed (locks, host cursors).
 */

export interface U32Field { readonly kind: 'u32'; readonly count: 1; readonly derived: boolean }
export interface F64Field { readonly kind: 'f64'; readonly count: 1; readonly derived: boolean }
export interface U8ArrayField { readonly kind: 'u8s'; readonly count: number; readonly derived: boolean }
export interface U32ArrayField { readonly kind: 'u32s'; readonly count: number; readonly derived: boolean }
export interface F64ArrayField { readonly kind: 'f64s'; readonly count: number; readonly derived: boolean }
export type Field = U32Field | F64Field | U8ArrayField | U32ArrayField | F64ArrayField;

export const u32: U32Field = { kind: 'u32', count: 1, derived: false };
export const f64: F64Field = { kind: 'f64', count: 1, derived: false };
export const u8s = (count: number): U8ArrayField => ({ kind: 'u8s', count, derived: false });
export const u32s = (count: number): U32ArrayField => ({ kind: 'u32s', count, derived: false });
export const f64s = (count: number): F64ArrayField => ({ kind: 'f64s', count, derived: false });
/** The same field, left out of snapshots and hashes. */
export const derived = <F extends Field>(field: F): F => ({ ...field, derived: true });

type ValueOf<F extends Field> =
  F extends U32Field | F64Field ? number :
  F extends U8ArrayField ? Uint8Array : F extends U32ArrayField ? Uint32Array : F extends F64ArrayField ? Float64Array : never;

export type FieldMap = Readonly<Record<string, Field>>;
/** What a device holds: scalars as properties, arrays as subarrays of the shared memory. */
export type FieldView<M extends FieldMap> = { -readonly [K in keyof M]: M[K] extends U32Field | F64Field ? number : ValueOf<M[K]> };

export interface PlacedField { readonly name: string; readonly field: Field; readonly offset: number; readonly bytes: number }

const WIDTH = { u32: 4, f64: 8, u8s: 1, u32s: 4, f64s: 8 } as const;

/** A named, placed field list. `bytes` is its size on the board. */
export class FieldList<M extends FieldMap> {
  readonly name: string;
  readonly bytes: number;
  readonly placed: readonly PlacedField[];
  readonly #prototype: object;

  constructor(name: string, fields: M) {
    this.name = name;
    const placed: PlacedField[] = [];
    const prototype: object = {};
    let offset = 0;
    for (const [fieldName, field] of Object.entries(fields)) {
      const align = field.kind === 'u32' ? 4 : 8;
      offset = (offset + align - 1) & -align;
      placed.push({ name: fieldName, field, offset, bytes: WIDTH[field.kind] * field.count });
      const at = offset;
      if (field.kind === 'u32') {
        Object.defineProperty(prototype, fieldName, {
          enumerable: true,
          get(this: Words) { return this.words[this.wordBase + (at >> 2)]; },
          set(this: Words, value: number) { this.words[this.wordBase + (at >> 2)] = value; },
        });
      } else if (field.kind === 'f64') {
        Object.defineProperty(prototype, fieldName, {
          enumerable: true,
          get(this: Words) { return this.doubles[this.doubleBase + (at >> 3)]; },
          set(this: Words, value: number) { this.doubles[this.doubleBase + (at >> 3)] = value; },
        });
      }
      offset += WIDTH[field.kind] * field.count;
    }
    this.placed = placed;
    this.bytes = (offset + 7) & -8;
    this.#prototype = prototype;
  }

  /** A typed view of this list at byte offset `base` (8-aligned) of the memory. */
  bind(buffer: SharedArrayBuffer, base: number): FieldView<M> {
    if (base % 8 !== 0) throw new RangeError(`field list ${this.name} at unaligned offset ${base}`);
    // Views of the list alone: small indices keep V8 on its fast path even on a 4 GiB memory.
    const view = Object.create(this.#prototype) as Words & Record<string, unknown>;
    define(view, 'words', new Uint32Array(buffer, base, this.bytes >> 2));
    define(view, 'doubles', new Float64Array(buffer, base, this.bytes >> 3));
    define(view, 'wordBase', 0);
    define(view, 'doubleBase', 0);
    for (const { name, field, offset } of this.placed) {
      if (field.kind === 'u8s') define(view, name, new Uint8Array(buffer, base + offset, field.count));
      if (field.kind === 'u32s') define(view, name, new Uint32Array(buffer, base + offset, field.count));
      if (field.kind === 'f64s') define(view, name, new Float64Array(buffer, base + offset, field.count));
    }
    return view as unknown as FieldView<M>;
  }

  /** Byte offset of a field inside the list, for Atomics and for generated code. */
  offsetOf(name: keyof M & string): number {
    const found = this.placed.find((field) => field.name === name);
    if (!found) throw new RangeError(`field list ${this.name} has no field ${name}`);
    return found.offset;
  }
}

interface Words { words: Uint32Array; doubles: Float64Array; wordBase: number; doubleBase: number }
function define(target: object, name: string, value: unknown): void {
  Object.defineProperty(target, name, { value, enumerable: false, writable: false });
}
