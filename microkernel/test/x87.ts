/** Two Threads compute on the x87 stack at the same time: its registers and control word are each Thread's own, however often they are switched. */
import { ERR_OK, SCHED_CONFIGURE, THREAD_SUSPEND } from 'kintsugi/abi';
import { codeAddr } from 'kintsugi/x86';
import { Ctx, invoke, eq, ok, thread, giveSched, resume, sleep } from './harness';

/** Sum of 1/n from n = steps to 1 under a control word, stored as an 80-bit number (probe.asm.ts). Everything stays on the stack meanwhile. */
// @ts-ignore: decorator
@external("stub", "x87Series")
declare function x87Series(control: u32, steps: u32, result: usize): void;

const STEPS: u32 = 150000;
/** Rounding up in extended precision; rounding down in double precision. */
const UP: u32 = 0xb7f, DOWN: u32 = 0x67f;
const results = memory.data(64, 16);

function worker(c: Ctx): void {
  for (let n: u32 = 0; n < 3; n++) x87Series(c.a, STEPS, c.b);
  store<u32>(changetype<usize>(c), 1, offsetof<Ctx>('d'));
  while (true) sleep(c, 1000000000);
}
function same(a: usize, b: usize, what: string): void {
  eq(load<u32>(a), load<u32>(b), what); eq(load<u32>(a, 4), load<u32>(b, 4), what); eq(load<u16>(a, 8), load<u16>(b, 8), what);
}

export function x87(c: Ctx): void {
  x87Series(UP, STEPS, results);
  x87Series(DOWN, STEPS, results + 16);
  eq(load<u32>(results) != load<u32>(results + 16) ? 1 : 0, 1, 'the two series differ');
  const a = thread(codeAddr(worker.index), 30, 0, 0), b = thread(codeAddr(worker.index), 30, 0, 0);
  a.a = UP; a.b = <u32>results + 32; a.d = 0; b.a = DOWN; b.b = <u32>results + 48; b.d = 0;
  const sa = giveSched(a), sb = giveSched(b);
  eq(invoke(c, sa, SCHED_CONFIGURE, 100000, 0, 0, 0, 0), ERR_OK, 'slice'); eq(invoke(c, sb, SCHED_CONFIGURE, 100000, 0, 0, 0, 0), ERR_OK, 'slice');
  resume(a); resume(b);
  for (let n = 0; n < 5000 && (load<u32>(changetype<usize>(a), offsetof<Ctx>('d')) == 0 || load<u32>(changetype<usize>(b), offsetof<Ctx>('d')) == 0); n++) sleep(c, 1000000);
  eq(a.d, 1, 'a is done'); eq(b.d, 1, 'b is done');
  same(results + 32, results, 'a'); same(results + 48, results + 16, 'b');
  eq(invoke(c, a.thread, THREAD_SUSPEND), ERR_OK, 'suspend'); eq(invoke(c, b.thread, THREAD_SUSPEND), ERR_OK, 'suspend');
  ok('x87 registers and control word belong to their Thread');
}
