/**
 * The SMP rows of the bench image. The first one starts the other CPU (INIT, STARTUP: SDM vol. 3A 8.4.4), which then halts until a row has
 * work for it. Each row's checksum proves that both did their part. A machine without a second CPU gives NO_OTHER for every row.
 */
import { inb, mmioRead32, readCr3, symbol } from 'kintsugi/x86';
import { loadTables, localApic, LAPIC, prepare } from './kernel';
import { fib } from './fib';

// @ts-ignore: decorator
@external("stub", "lockedAdds")
declare function lockedAdds(count: u32, word: u32): void;
// @ts-ignore: decorator
@external("stub", "lockedSections")
declare function lockedSections(count: u32, lock: u32): void;
// @ts-ignore: decorator
@external("stub", "bounce")
declare function bounce(count: u32, word: u32, first: u32): void;
// @ts-ignore: decorator
@external("stub", "interruptOther")
declare function interruptOther(count: u32, target: u32, halted: u32): void;
// @ts-ignore: decorator
@external("stub", "spinForInterrupts")
declare function spinForInterrupts(last: u32): void;
// @ts-ignore: decorator
@external("stub", "haltForInterrupts")
declare function haltForInterrupts(last: u32): void;

const NO_OTHER: u32 = 0xdead, TRAMPOLINE: u32 = 0x9000, ROOT: u32 = 0x9f00, OTHER: u32 = 1 << 24;
const FIBS: u32 = 100, ADDS: u32 = 200000, SECTIONS: u32 = 100000, ROUNDS: u32 = 20000, INTERRUPTS: u32 = 2000, WAKES: u32 = 500;
const FIB = 1, ADD = 2, SECTION = 3, BOUNCE = 4, SPIN = 5, HALT = 6;
let tried: bool = false, online: bool = false;

/** A port nobody minds: about a microsecond on a PC. */
function delay(us: u32): void { for (let i: u32 = 0; i < us; i++) inb(0x80); }

function start(): bool {
  if (tried) return online;
  tried = true;
  prepare();
  localApic();
  const low = symbol('otherStart');
  memory.copy(TRAMPOLINE, low, symbol('otherStartEnd') - low);
  store<u32>(ROOT, readCr3());
  const flag = symbol('otherOnline');
  store<u32>(LAPIC + 0x310, OTHER); store<u32>(LAPIC + 0x300, 0x4500);
  delay(10000);
  for (let k = 0; k < 2 && mmioRead32(flag) == 0; k++) {
    store<u32>(LAPIC + 0x310, OTHER); store<u32>(LAPIC + 0x300, 0x4600 | (TRAMPOLINE >> 12));
    for (let i = 0; i < 10000 && mmioRead32(flag) == 0; i++) delay(20);
  }
  return online = mmioRead32(flag) != 0;
}

/** On the other CPU, once. */
export function otherMain(): void {
  loadTables();
  localApic();
  store<u32>(symbol('otherOnline'), 1);
}

/** On the other CPU, for each job. */
export function otherWork(): void {
  const line = <u32>symbol('benchLine'), argument = mmioRead32(symbol('otherArgument')), job = mmioRead32(symbol('otherJob'));
  store<u32>(symbol('otherReady'), 1);
  switch (job) {
    case FIB: { let sum: u32 = 0; for (let i: u32 = 0; i < FIBS; i++) sum += fib(); store<u32>(symbol('otherArgument'), sum); break; }
    case ADD: lockedAdds(ADDS, line); break;
    case SECTION: lockedSections(SECTIONS, line); break;
    case BOUNCE: bounce(ROUNDS, line, 1); break;
    case SPIN: spinForInterrupts(argument); break;
    case HALT: haltForInterrupts(argument); break;
  }
}

function begin(job: u32, argument: u32 = 0): void {
  store<u32>(symbol('otherReady'), 0);
  store<u32>(symbol('otherHalts'), 0);
  store<u32>(symbol('benchLine'), 0);
  store<u32>(symbol('benchTotal'), 0);
  store<u32>(symbol('otherArgument'), argument);
  store<u32>(symbol('otherJob'), job);
  store<u32>(LAPIC + 0x310, OTHER); store<u32>(LAPIC + 0x300, 0x4042);
  while (mmioRead32(symbol('otherReady')) == 0) {}
}
function finish(): void { while (mmioRead32(symbol('otherJob')) != 0) {} }

export function smpRow(row: u32): u32 {
  if (!start()) return NO_OTHER;
  const line = <u32>symbol('benchLine'), acks = mmioRead32(symbol('benchAcks'));
  switch (row) {
    case 0: case 1: {
      let sum: u32 = 0;
      if (row == 1) begin(FIB);
      for (let i: u32 = 0; i < FIBS; i++) sum += fib();
      if (row == 1) { finish(); sum += mmioRead32(symbol('otherArgument')); }
      return sum;
    }
    case 2: store<u32>(line, 0); lockedAdds(ADDS, line); return mmioRead32(line);
    case 3: begin(ADD); lockedAdds(ADDS, line); finish(); return mmioRead32(line);
    case 4: begin(SECTION); lockedSections(SECTIONS, line); finish(); return mmioRead32(line + 64);
    case 5: begin(BOUNCE); bounce(ROUNDS, line, 0); finish(); return mmioRead32(line);
    case 6: begin(SPIN, acks + INTERRUPTS); interruptOther(INTERRUPTS, OTHER, 0); finish(); return mmioRead32(symbol('benchAcks')) - acks;
    case 7: begin(HALT, acks + WAKES); interruptOther(WAKES, OTHER, 1); finish(); return mmioRead32(symbol('benchAcks')) - acks;
    default: return 0;
  }
}
