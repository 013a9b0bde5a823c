/** Notify: signal, wait, masks, deadlines, alarms. */
import { ERR_OK, ERR_TIMEOUT, ERR_RIGHTS, ERR_ARG, ERR_TYPE, OBJ_NOTIFY, OBJ_ENDPOINT, NOTIFY_ALARM, NOTIFY_CLEAR, TABLE_MINT, MP_PENDING } from 'kintsugi/abi';
import { Ctx, invoke, eq, ok, make, TABLE, notify, wait, poll, waitUntil, clock, sleep, enter, op, deadline } from './harness';

function pending(c: Ctx): u32 { return load<u32>(c.mp, MP_PENDING); }
export function notifications(c: Ctx): void {
  const n = make(OBJ_NOTIFY);
  eq(poll(c, n, 0xffffffff), ERR_TIMEOUT, 'poll of an empty Notify');
  eq(notify(c, n, 5), ERR_OK, 'signal'); eq(notify(c, n, 8), ERR_OK, 'signal more');
  eq(wait(c, n, 4), ERR_OK, 'wait takes its mask'); eq(pending(c), 4, 'bits');
  eq(poll(c, n, 4), ERR_TIMEOUT, 'taken');
  eq(invoke(c, n, NOTIFY_CLEAR, 8), ERR_OK, 'clear'); eq(c.w0, 8, 'bits');
  eq(wait(c, n, 0xffffffff), ERR_OK, 'wait'); eq(pending(c), 1, 'the rest');
  eq(wait(c, n, 0), ERR_ARG, 'mask 0');
  eq(invoke(c, TABLE, TABLE_MINT, n, 1, 0, 0, 2), ERR_OK, 'mint'); const one = c.w0;
  eq(notify(c, one, 4), ERR_RIGHTS, 'a bit one may not signal');
  eq(poll(c, one, 2), ERR_RIGHTS, 'wait without the right');
  eq(notify(c, make(OBJ_ENDPOINT), 1), ERR_TYPE, 'not a Notify');
  ok('signal, wait, poll, masks');

  const start = clock(c);
  eq(waitUntil(c, n, 1, start + 3000000), ERR_TIMEOUT, 'deadline');
  eq(clock(c) >= start + 3000000 ? 1 : 0, 1, 'not before it');
  sleep(c, 2000000);
  eq(clock(c) >= start + 5000000 ? 1 : 0, 1, 'sleep');
  const due = clock(c) + 2000000;
  eq(invoke(c, n, NOTIFY_ALARM, 16, <u32>due, <u32>(due >> 32)), ERR_OK, 'alarm');
  eq(wait(c, n, 0xff), ERR_OK, 'wait for it'); eq(pending(c), 16, 'bits'); eq(clock(c) >= due ? 1 : 0, 1, 'not before');
  eq(invoke(c, n, NOTIFY_ALARM, 16, 1, 0), ERR_OK, 'alarm in the past');
  eq(wait(c, n, 0xff), ERR_OK, 'fires at once');
  eq(invoke(c, n, NOTIFY_ALARM, 16, <u32>due + 1000000000, <u32>(due >> 32) + 1), ERR_OK, 'alarm far away');
  eq(invoke(c, n, NOTIFY_ALARM, 0, 0, 0), ERR_OK, 'cancelled');
  eq(poll(c, n, 0xff), ERR_TIMEOUT, 'nothing');
  ok('deadlines and alarms');
}
