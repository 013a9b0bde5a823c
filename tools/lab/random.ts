/**
 * Pseudo-random numbers of experiments: a stream is a function of (seed, index) and nothing else, so the order in which experiments run and
 * the number of workers cannot matter. sfc32 (C. Doty-Humphrey, PractRand), seeded through the finaliser of MurmurHash3.
 */
const mix = (h: number): number => {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
};

export class Random {
  #a: number; #b: number; #c: number; #counter = 1;
  constructor(seed: number, index: number) {
    this.#a = mix(seed | 0);
    this.#b = mix((index | 0) ^ 0x9e3779b9);
    this.#c = mix(this.#a ^ Math.imul(this.#b, 0x27d4eb2f));
    for (let k = 0; k < 12; k++) this.word();
  }
  /** 32 bits. */
  word(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum | 0;
    return sum >>> 0;
  }
  /** A whole number from 0 to limit - 1; limit at most 2^32. Unbiased. */
  below(limit: number): number {
    if (!Number.isInteger(limit) || limit < 1 || limit > 2 ** 32) throw new RangeError(`no number below ${limit}`);
    const ceiling = 2 ** 32 - (2 ** 32 % limit);
    for (;;) { const word = this.word(); if (word < ceiling) return word % limit; }
  }
  pick<T>(list: readonly T[]): T { return list[this.below(list.length)] as T; }
}
