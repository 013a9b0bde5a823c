/**
 * crash how: ends by a fault on purpose, to see who suffers: nobody else. read and write touch an unmapped page, text writes to code, jump runs data,
 * divide and illegal are exceptions, port is privileged, stack recurses until the stack limit, memory asks for memory until there is none,
 * garbage sends nonsense to process and expects errors.
 */
import { inb } from 'kintsugi/x86';
import { CALL_CALL, ERR_OK } from 'kintsugi/abi';
import { sys_enter } from 'kintsugi/x86';
import { STARTUP_HANDLES } from 'kintsugi/protocols';
import { argument, argumentCount, begin, complainText, finish, usage } from './lib/program';
import { allocate } from './lib/memory';
import { flush, line, putByte, putNumber, put } from './lib/output';
import { same } from './lib/text';

const REGS: usize = memory.data(20, 4);
let startup: usize = 0;

export function main(page: usize): void { startup = page; begin(page); finish(run()); }

function deeper(n: i32): i32 { return n > 0 ? deeper(n + 1) + (load<i32>(REGS) ^ n) : 1; }

function run(): i32 {
  const how = argument(1);
  if (argumentCount != 2) return usage('crash read|write|text|jump|divide|illegal|port|stack|memory|garbage');
  if (same(how, 'read')) putNumber(load<u32>(0x3ffff000));
  else if (same(how, 'write')) store<u32>(16, 1);
  else if (same(how, 'text')) store<u32>(0x08048000, 0);
  else if (same(how, 'jump')) { store<u32>(REGS, 0x01234567); call_indirect<void>(load<u32>(REGS)); }
  else if (same(how, 'divide')) putNumber(100 / load<i32>(REGS));
  else if (same(how, 'illegal')) unreachable();
  else if (same(how, 'port')) putNumber(inb(0x3f8));
  else if (same(how, 'stack')) putNumber(deeper(1));
  else if (same(how, 'memory')) while (true) store<u8>(allocate(1 << 20), 1);
  else if (same(how, 'garbage')) return garbage();
  else complainText(how, 'unknown');
  return 1;
}

/** 20,000 random requests on the own endpoint; every one must come back with a status, and nothing else may happen. exit, kill, poweroff and waits are left out. */
function garbage(): i32 {
  const handle = load<u32>(startup + STARTUP_HANDLES, 4);
  let seed: u32 = 1, refused = 0, errors = 0;
  for (let n = 0; n < 20000; n++) {
    for (let k = 0; k < 5; k++) { seed = seed * 1664525 + 1013904223; store<u32>(REGS + (k << 2), seed >> 3); }
    let label = (seed >> 8) % 64;
    if (label == 1 || label == 3 || label == 4 || label == 5 || label == 8 || label == 10 || label == 23 || label == 24 || label == 26 || label == 31 || label == 49) label = 62;
    // the three streams stay open and unread
    if (label == 5 || label == 6) label = 63;
    store<u32>(REGS, handle);
    const leases = (seed >> 20) & 3;
    store<u32>(REGS + 4, label | ((seed >> 24) % 7) << 16 | (leases > 2 ? 2 : leases) << 25 | CALL_CALL << 28);
    for (let k: usize = 0; k < 40; k += 4) { seed = seed * 1664525 + 1013904223; store<u32>(0xbfffe000 + 0x64 + k, (seed & 64) != 0 ? seed : seed & 0xfff); }
    for (let k: usize = 12; k < 24; k += 4) { seed = seed * 1664525 + 1013904223; store<u32>(0xbfffe000 + k, (seed & 64) != 0 ? seed : seed & 0xff); }
    if (sys_enter(REGS) != ERR_OK) refused++;
    else if (load<i32>(REGS, 8) < 0) errors++;
  }
  putNumber(refused); put(' refused by the kernel, '); putNumber(errors); line(' errors of process, the rest harmless');
  flush();
  return 0;
}
