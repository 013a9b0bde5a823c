/**
 * Short random programs for whole machines: loops of arithmetic, memory, string, stack and port instructions, undefined opcodes and stores into their own code
 * among them. Faults end a program (there is no IDT: triple fault), which is an end like any other.
 */
import { CODE, le32 } from './bare.ts';

export class Random {
  #state: number;
  constructor(seed: number) { this.#state = (Math.imul(seed, 0x9e3779b1) ^ 0x2545f491) >>> 0 || 1; }
  next(): number { let x = this.#state; x ^= x << 13; x ^= x >>> 17; x ^= x << 5; return this.#state = x >>> 0; }
  below(n: number): number { return this.next() % n; }
}
const DATA = 0x20_0000;

/** Machine code for `at`. Registers: EDI counts rounds, EBX points into data, which programs share. */
export function randomProgram(seed: number, at = CODE, stack = 0x9_0000): number[] {
  const random = new Random(seed), out: number[] = [];
  const free = [0, 1, 2, 5, 6], reg = (): number => free[random.below(free.length)]!;
  out.push(0xbc, ...le32(stack), 0xbb, ...le32(DATA), 0xbf, ...le32(random.below(400) + 1));
  for (const r of free) out.push(0xb8 + r, ...le32(random.next()));
  const loop = out.length;
  for (let n = random.below(24) + 2; n > 0; n--) {
    switch (random.below(16)) {
      case 0: case 1: case 2: out.push(random.below(8) * 8 + 1, 0xc0 | reg() << 3 | reg()); break; // op r, r
      case 3: out.push(random.below(8) * 8 + 3, 0x43 | reg() << 3, random.below(128)); break; // op r, [ebx + disp8]
      case 4: out.push(random.below(8) * 8 + 1, 0x43 | reg() << 3, random.below(128)); break; // op [ebx + disp8], r
      case 5: out.push(0x0f, 0xaf, 0xc0 | reg() << 3 | reg()); break; // imul
      case 6: out.push(0xc1, 0xc0 | random.below(8) << 3 | reg(), random.below(32)); break; // shift
      case 7: { const r = reg(); out.push(0x50 + r, 0x58 + reg()); break; } // push, pop
      case 8: out.push(0x0f, 0x40 + random.below(16), 0xc0 | reg() << 3 | reg()); break; // cmovcc
      case 9: out.push(0x70 + random.below(16), 2, 0x40 + reg(), 0x48 + reg()); break; // jcc over an inc and a dec
      case 10: out.push(0x0f, 0x31); break; // rdtsc
      case 11: out.push(0x57, 0xbf, ...le32(DATA + 256 + random.below(256)), 0xb9, ...le32(random.below(64)), 0xf3, [0xaa, 0xab][random.below(2)]!, 0x5f); break; // push edi; rep stos; pop edi
      case 12: out.push(0x50, 0x66, 0xba, 0xf8, 0x03, 0xee, 0x58); break; // push eax; out 3f8h, al; pop eax
      case 13: out.push(0x66, 0xba, 0x40, 0, 0xec); break; // in al, 40h: the timer
      case 14: if (random.below(4) === 0) out.push(0xc6, 0x05, ...le32(at + loop + random.below(8)), 0x40 + reg()); else out.push(0x90); break; // a store into the loop
      default: if (random.below(40) === 0) out.push(0x0f, 0x0b); else out.push(0x87, 0xc0 | reg() << 3 | reg()); // rarely ud2; xchg
    }
  }
  const back = loop - (out.length + 7);
  out.push(0x4f, 0x0f, 0x85, ...le32(back), 0xb0, random.below(128), 0xe6, 0xf4); // dec edi; jnz loop; out f4h, al
  return out;
}
