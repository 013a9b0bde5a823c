/**
 * Known answers from the tools that every path of fs goes through: copying, filling, comparing, 64-bit shifts (checksum.ts proves its own sums). A wrong one is
 * the fault of this text and not of the data: a flipped bit in `memmove` is there for every request. Dies then; a server with sound text
 * takes over and does the request again. Called before every commit and before every answer, so a tool that breaks in a request spoils no more than that request.
 */
import { differ } from 'kintsugi/x86';

const WORDS: u32 = 12;
const SAMPLE: usize = memory.data<u32>([0x9e3779b1, 0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f, 0x165667b1, 0xd3a2646d, 0xfd7046c5, 0xb55a4f09, 0x8da6b343, 0xd8163841, 0xcb1ab31f, 0xa54ff53b], 8);
const OTHER: usize = memory.data<u32>([0x9e3779b1, 0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f, 0x165667b1, 0xd3a2646d, 0xfd7046c5, 0xb55a4f0b, 0x8da6b343, 0xd8163841, 0xcb1ab31f, 0xa54ff53b], 8);
const SHIFT: usize = memory.data<u32>([5, 0, 37, 0], 8);
const SCRATCH: usize = memory.data(64, 8);

export function proveTools(): void {
  memory.fill(SCRATCH, 0x5a, 51);
  memory.copy(SCRATCH, SAMPLE, 39);
  let odd = (load<u32>(SCRATCH) ^ 0x9e3779b1) | (load<u32>(SCRATCH, 16) ^ 0x165667b1) | (load<u32>(SCRATCH, 32) ^ 0x8da6b343) | (load<u32>(SCRATCH, 36) ^ 0x5a163841)
    | (load<u32>(SCRATCH, 40) ^ 0x5a5a5a5a) | (load<u32>(SCRATCH, 47) ^ 0x5a5a5a5a) | load<u8>(SCRATCH, 51);
  memory.copy(SCRATCH + 4, SCRATCH, 38); // overlapping: backward
  odd |= (load<u32>(SCRATCH, 4) ^ 0x9e3779b1) | (load<u32>(SCRATCH, 20) ^ 0x165667b1) | (load<u32>(SCRATCH, 38) ^ 0x38418da6);
  odd |= (differ(SAMPLE, SAMPLE, WORDS) ^ WORDS) | (differ(SAMPLE, OTHER, WORDS) ^ 7) | (differ(SAMPLE, SCRATCH, WORDS) ^ 1);
  const v = load<u64>(SAMPLE), few = load<u64>(SHIFT), many = load<u64>(SHIFT, 8);
  if (odd != 0 || v << few != 0xbd794d73c6ef3620 || v << many != 0xc6ef362000000000 || v >> few != 0x042f5e535cf1bbcd || v >> many != 0x00000000042f5e53) unreachable();
}
