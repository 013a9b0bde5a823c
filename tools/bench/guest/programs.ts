/**
 * The benchmark programs by number, for both targets (freestanding and Linux). Every program does a fixed amount of work per
 * iteration, leaves its data as it found it, and returns a checksum that is the same for every iteration and on every machine.
 * The host side has the names in the same order: tools/bench/programs.ts.
 */
import { bytesum } from './bytesum';
import { calls } from './calls';
import { chase } from './chase';
import { crc32 } from './crc32';
import { dhry } from './dhry';
import { fib } from './fib';
import { daxpy, daxpy87, matmul, matmul87 } from './float';
import { hash } from './hash';
import { intmix } from './intmix';
import { interp } from './interp';
import { memcpy } from './memcpy';
import { memset } from './memset';
import { modexp } from './modexp';
import { qsort } from './qsort';
import { repmovs, repstos } from './repmem';
import { sha256 } from './sha256';
import { sieve } from './sieve';

export function iterate(program: u32): u32 {
  switch (program) {
    case 0: return sieve();
    case 1: return fib();
    case 2: return crc32();
    case 3: return sha256();
    case 4: return interp();
    case 5: return qsort();
    case 6: return modexp();
    case 7: return chase();
    case 8: return dhry();
    case 9: return bytesum();
    case 10: return memcpy();
    case 11: return hash();
    case 12: return calls();
    case 13: return intmix();
    case 14: return memset();
    case 15: return repmovs();
    case 16: return repstos();
    case 17: return matmul();
    case 18: return daxpy();
    case 19: return matmul87();
    case 20: return daxpy87();
    default: return 0;
  }
}
