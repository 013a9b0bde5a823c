/** Priorities, slices, budgets, suspension. */
import { ERR_OK, ERR_ARG, ERR_RANGE, ERR_BUSY, OBJ_SCHED, OBJ_ENDPOINT, OBJ_REPLY, SCHED_CONFIGURE, SCHED_BIND, SCHED_INFO, THREAD_SUSPEND, THREAD_RESUME, THREAD_QUERY, THREAD_SET_SCHEDULE, THREAD_STATE_SUSPENDED, THREAD_STATE_INACTIVE, FAULT_VECTOR_RESERVE_OVERRUN, CALL_WAIT } from 'kintsugi/abi';
import { codeAddr } from 'kintsugi/x86';
import { Ctx, invoke, eq, ok, errArg, make, thread, giveSched, resume, sleep, recv, answer, clock, enter, op, deadline } from './harness';

/** Counts. The store keeps the loop. */
function spinner(c: Ctx): void { while (true) store<u32>(changetype<usize>(c), load<u32>(changetype<usize>(c), offsetof<Ctx>('d')) + 1, offsetof<Ctx>('d')); }

export function scheduling(c: Ctx): void {
  const a = thread(codeAddr(spinner.index), 30, 0, 0), b = thread(codeAddr(spinner.index), 30, 0, 0);
  eq(invoke(c, a.thread, THREAD_QUERY), ERR_OK, 'query'); eq(c.w0, THREAD_STATE_INACTIVE, 'not started'); eq(c.w2, 30, 'priority');
  eq(invoke(c, a.thread, THREAD_SET_SCHEDULE, 64, 0, 0), ERR_RANGE, 'priority 64'); eq(errArg(c), 2, 'argument');
  const sa = giveSched(a), sb = giveSched(b);
  eq(invoke(c, sa, SCHED_CONFIGURE, 10, 0, 0, 0, 0), ERR_ARG, 'budget below 1 us');
  eq(invoke(c, sa, SCHED_CONFIGURE, 2000000, 1000000, 0, 0, 0), ERR_ARG, 'budget above the period');
  eq(invoke(c, sa, SCHED_CONFIGURE, 500000, 0, 0, 0, 0), ERR_OK, 'slice'); eq(invoke(c, sb, SCHED_CONFIGURE, 500000, 0, 0, 0, 0), ERR_OK, 'slice');
  eq(invoke(c, sa, SCHED_BIND, b.thread), ERR_BUSY, 'bound already');
  resume(a); resume(b);
  for (let n = 0; n < 1000 && (a.d == 0 || b.d == 0); n++) sleep(c, 1000000);
  eq(a.d > 0 ? 1 : 0, 1, 'a runs'); eq(b.d > 0 ? 1 : 0, 1, 'b runs');
  eq(invoke(c, a.thread, THREAD_SUSPEND), ERR_OK, 'suspend'); eq(invoke(c, a.thread, THREAD_QUERY), ERR_OK, 'query'); eq(c.w0, THREAD_STATE_SUSPENDED, 'state');
  const at = a.d, bt = b.d;
  for (let n = 0; n < 1000 && b.d == bt; n++) sleep(c, 1000000);
  eq(a.d, at, 'a stands'); eq(b.d > bt ? 1 : 0, 1, 'b goes on');
  eq(invoke(c, sa, SCHED_INFO), ERR_OK, 'info'); eq(c.w1 > 0 ? 1 : 0, 1, 'consumed');
  ok('round robin, suspend');
  eq(invoke(c, a.thread, THREAD_SET_SCHEDULE, 31, 0, 0), ERR_OK, 'more important'); resume(a);
  const bs = b.d, as = a.d;
  for (let n = 0; n < 1000 && a.d == as; n++) sleep(c, 1000000);
  eq(b.d, bs, 'b waits'); eq(a.d > as ? 1 : 0, 1, 'a runs');
  eq(invoke(c, sa, SCHED_CONFIGURE, 1000000, 10000000, 0, 0, 0), ERR_OK, '10 %');
  eq(invoke(c, sa, SCHED_INFO), ERR_OK, 'info'); const before = c.w1;
  for (let n = 0; n < 1000 && b.d == bs; n++) sleep(c, 1000000);
  eq(invoke(c, sa, SCHED_INFO), ERR_OK, 'info'); const used = c.w1 - before;
  eq(used > 0 ? 1 : 0, 1, 'a consumes');
  eq(b.d > bs ? 1 : 0, 1, 'b, less important, runs while a has no budget');
  eq(invoke(c, a.thread, THREAD_SUSPEND), ERR_OK, 'suspend'); eq(invoke(c, b.thread, THREAD_SUSPEND), ERR_OK, 'suspend');
  ok('priorities, budget and period');
  const e = make(OBJ_ENDPOINT), r = make(OBJ_REPLY), h = thread(codeAddr(spinner.index), 30, 0, e), reserve = make(OBJ_SCHED);
  eq(invoke(c, reserve, SCHED_CONFIGURE, 2000000, 20000000, 0, 0, 1), ERR_OK, 'reserve');
  eq(invoke(c, reserve, SCHED_BIND, h.thread), ERR_OK, 'bind');
  resume(h);
  eq(recv(c, e, r), ERR_OK, 'the overrun is a fault'); eq(c.tag & 0xffff, FAULT_VECTOR_RESERVE_OVERRUN, 'vector');
  eq(answer(c, r, 1, 0, 0, 0), ERR_OK, 'stop it');
  ok('reserve overrun');
  eq(enter(c, 0, op(CALL_WAIT) | deadline(c, 0), 0, 0, 0), ERR_OK, 'yield');
  ok('yield');
}
