/**
 * The generator behind RDRAND: xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2014). Its state
 * is a register of the vCPU like any other, so snapshots, replay and double runs hold; the seed is the machine's, different for each vCPU.
 * Not for secrets: who knows the seed knows the numbers.
 */
import { S } from '../state.ts';

const AT = S.random >> 2;
const MASK = (1n << 64n) - 1n;

/** splitmix64 of the seed and the vCPU's number: close seeds give unrelated states. */
export function seedRandom(words: Int32Array, seed: number, cpu: number): void {
  let z = (BigInt(seed >>> 0) << 8n | BigInt(cpu + 1)) * 0x9e3779b97f4a7c15n & MASK;
  z = (z ^ z >> 30n) * 0xbf58476d1ce4e5b9n & MASK;
  z = (z ^ z >> 27n) * 0x94d049bb133111ebn & MASK;
  z ^= z >> 31n;
  store(words, z === 0n ? 1n : z);
}
/** 32 bits. */
export function nextRandom(words: Int32Array): number {
  let x = BigInt(words[AT + 1] >>> 0) << 32n | BigInt(words[AT] >>> 0);
  x ^= x >> 12n; x = (x ^ x << 25n) & MASK; x ^= x >> 27n;
  store(words, x);
  return Number((x * 0x2545f4914f6cdd1dn & MASK) >> 32n) | 0;
}
function store(words: Int32Array, value: bigint): void { words[AT] = Number(value & 0xffffffffn) | 0; words[AT + 1] = Number(value >> 32n) | 0; }
