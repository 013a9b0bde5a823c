/**
 * Call chain of the kernel stack as TypeScript lines, from the debug table the compiler links in (`__dbg_table`).
 *
 * Words, little-endian, offsets from the start of the table: magic, -, functions, lines, files, then the offsets of the three arrays at 16, 20, 24:
 * function {address, frame bytes, name}, line {address, file << 16 | line}, both sorted; file {name}; names end with NUL.
 * A return address is `frame` bytes above the stack pointer of the function it belongs to. The walk ends at a stub (no frame known), at an address
 * outside the text, or when the stack leaves the CPU's area: a broken stack gives a short trace, never a second fault.
 */
import { symbol } from 'kintsugi/x86';
import { print, printDec, printHex, printZ, newline } from './console';
import { CPU_AREA } from '../offsets';

const MAGIC: u32 = 0x4742444b;

/** Index of the last of `count` entries of `size` bytes at `array` whose first word is <= address, or -1. */
function lastBelow(array: usize, count: u32, size: u32, address: u32): i32 {
  let low: u32 = 0, high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (load<u32>(array + middle * size) <= address) low = middle + 1; else high = middle;
  }
  return <i32>low - 1;
}

export function backtrace(eip: usize, esp: usize): void {
  const table = symbol('__dbg_table');
  if (load<u32>(table) != MAGIC) return;
  const functions = table + load<u32>(table, 16), lines = table + load<u32>(table, 20), files = table + load<u32>(table, 24);
  const area = esp & ~<usize>(CPU_AREA - 1);
  for (let depth = 0; depth < 24; depth++) {
    if (eip < symbol('__text_start') || eip >= symbol('__text_end')) { if (depth == 0) { print('  at '); printHex(<u32>eip); print(' (not kernel text)'); newline(); } return; }
    const f = lastBelow(functions, load<u32>(table, 4), 12, <u32>eip);
    const l = lastBelow(lines, load<u32>(table, 8), 8, depth == 0 ? <u32>eip : <u32>eip - 1);
    const fn = functions + <usize>f * 12;
    if (f < 0) return;
    print('  at ');
    printZ(table + load<u32>(fn, 8));
    print(' +'); printDec(<u32>eip - load<u32>(fn));
    if (l >= 0 && load<u32>(lines + (<usize>l << 3)) >= load<u32>(fn)) { // stubs have no lines
      const where = load<u32>(lines + (<usize>l << 3), 4);
      print(' ('); printZ(table + load<u32>(files + ((<usize>where >> 16) << 2))); print(':'); printDec(where & 0xffff); print(')');
    }
    newline();
    const at = esp + (depth == 0 && eip == <usize>load<u32>(fn) ? 0 : <usize>load<u32>(fn, 4)); // at its first instruction a function has no frame yet
    if (at < esp || (at & 3) != 0 || (at & ~<usize>(CPU_AREA - 1)) != area) return;
    eip = load<u32>(at);
    esp = at + 4;
    if (eip == 0) return;
  }
}
