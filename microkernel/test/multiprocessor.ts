/** What needs a second CPU: stopping what runs elsewhere, TLB shootdown, wake-ups. */
import { ERR_OK, ERR_FAULT, OBJ_ENDPOINT, OBJ_REPLY, OBJ_NOTIFY, OBJ_UNTYPED, OBJ_FRAMES, THREAD_SUSPEND, THREAD_QUERY, THREAD_SET_SCHEDULE, TABLE_DELETE, SPACE_PROTECT, SPACE_UNMAP, SPACE_MAP } from 'kintsugi/abi';
import { codeAddr, mmioWrite32, mmioRead32, atomicAdd, pause } from 'kintsugi/x86';
import { Ctx, invoke, eq, ok, skip, make, TABLE, SPACE, thread, giveSched, resume, sleep, recv, answer, memoryPages, notify, wait, freshVa, clock, call, replyRecv, words } from './harness';

function spinner(c: Ctx): void { while (true) { atomicAdd(changetype<usize>(c) + offsetof<Ctx>('d'), 1); pause(); } }
function writer(c: Ctx): void { while (true) { mmioWrite32(c.a, mmioRead32(c.a) + 1); pause(); } }
function ponger(c: Ctx): void { while (true) { wait(c, c.a, 1); notify(c, c.b, 1); } }
function caller(c: Ctx): void { while (true) { const p = clock(c); c.d++; if (p == 0) return; } }

/** Adds 1 to word 0. */
function adder(c: Ctx): void {
  recv(c, c.a, c.b);
  while (true) replyRecv(c, c.a, words(1), c.w0 + 1, 0, 0);
}
/** Calls c.a for ever; c.d counts, c.c counts wrong answers. */
function hammer(c: Ctx): void {
  while (true) {
    const n = next(c);
    if (call(c, c.a, words(1), n, 0, 0) != ERR_OK || c.w0 != n + 1) c.c++;
    atomicAdd(changetype<usize>(c) + offsetof<Ctx>('d'), 1);
  }
}
function next(c: Ctx): u32 { c.b = c.b * 1664525 + 1013904223; return c.b; }

export function multiprocessor(c: Ctx, cpus: u32): void {
  if (cpus < 2) {
    skip('suspend and move a Thread that runs elsewhere', 'one CPU'); skip('TLB shootdown', 'one CPU'); skip('Notify across CPUs', 'one CPU'); skip('a server follows callers on several CPUs', 'one CPU'); skip('destroy a Thread that runs elsewhere', 'one CPU');
    return;
  }
  const t = thread(codeAddr(spinner.index), 30, 1, 0);
  giveSched(t); resume(t);
  for (let n = 0; n < 100 && t.d == 0; n++) sleep(c, 1000000);
  eq(t.d > 0 ? 1 : 0, 1, 'it runs');
  for (let n: u32 = 0; n < 50; n++) {
    eq(invoke(c, t.thread, THREAD_SUSPEND), ERR_OK, 'suspend');
    const at = mmioRead32(changetype<usize>(t) + offsetof<Ctx>('d'));
    for (let k = 0; k < 200; k++) pause();
    eq(mmioRead32(changetype<usize>(t) + offsetof<Ctx>('d')), at, 'it stands');
    eq(invoke(c, t.thread, THREAD_SET_SCHEDULE, 30, n % cpus, 0), ERR_OK, 'move');
    resume(t);
    sleep(c, 200000);
  }
  for (let n: u32 = 0; n < 20; n++) { eq(invoke(c, t.thread, THREAD_SET_SCHEDULE, 30, n % cpus, 0), ERR_OK, 'move while it runs'); sleep(c, 100000); }
  ok('suspend and move a Thread that runs elsewhere');

  const e = make(OBJ_ENDPOINT), r = make(OBJ_REPLY);
  const page = <u32>memoryPages(12);
  const w = thread(codeAddr(writer.index), 30, 1, e);
  w.a = page;
  giveSched(w); resume(w);
  for (let n = 0; n < 100 && mmioRead32(page) == 0; n++) sleep(c, 1000000);
  eq(invoke(c, SPACE, SPACE_PROTECT, page, 1, 1), ERR_OK, 'protect');
  const value = mmioRead32(page);
  eq(recv(c, e, r), ERR_OK, 'the writer faults'); eq(c.tag & 0xffff, 14, 'vector'); eq(mmioRead32(page), value, 'nothing written after protect');
  eq(invoke(c, SPACE, SPACE_PROTECT, page, 1, 3), ERR_OK, 'protect back');
  eq(answer(c, r, 0, 0, 0, 0), ERR_OK, 'resume');
  for (let n = 0; n < 1000 && mmioRead32(page) == value; n++) sleep(c, 100000);
  eq(mmioRead32(page) != value ? 1 : 0, 1, 'it writes again');
  eq(invoke(c, SPACE, SPACE_UNMAP, page, 1), ERR_OK, 'unmap');
  eq(recv(c, e, r), ERR_OK, 'it faults again'); eq(answer(c, r, 1, 0, 0, 0), ERR_OK, 'stop');
  ok('TLB shootdown');

  const n1 = make(OBJ_NOTIFY), n2 = make(OBJ_NOTIFY);
  const p = thread(codeAddr(ponger.index), 50, cpus - 1, 0);
  p.a = n1; p.b = n2;
  giveSched(p); resume(p);
  for (let n: u32 = 0; n < 1000; n++) { eq(notify(c, n1, 1), ERR_OK, 'ping'); eq(wait(c, n2, 1), ERR_OK, 'pong'); }
  ok('Notify across CPUs');

  const fe = make(OBJ_ENDPOINT), fr = make(OBJ_REPLY), f = thread(codeAddr(adder.index), 52, 1, 0, 1);
  f.a = fe; f.b = fr;
  giveSched(f); resume(f);
  const h1 = thread(codeAddr(hammer.index), 40, 0, 0), h2 = thread(codeAddr(hammer.index), 40, 1, 0), h3 = thread(codeAddr(hammer.index), 40, cpus - 1, 0);
  h1.a = fe; h2.a = fe; h3.a = fe;
  giveSched(h1); giveSched(h2); giveSched(h3);
  resume(h1); resume(h2); resume(h3);
  for (let n = 0; n < 2000; n++) {
    sleep(c, 100000);
    if (mmioRead32(changetype<usize>(h1) + offsetof<Ctx>('d')) > 300 && mmioRead32(changetype<usize>(h2) + offsetof<Ctx>('d')) > 300 && mmioRead32(changetype<usize>(h3) + offsetof<Ctx>('d')) > 300) break;
  }
  eq(invoke(c, h1.thread, THREAD_SUSPEND), ERR_OK, 'suspend'); eq(invoke(c, h2.thread, THREAD_SUSPEND), ERR_OK, 'suspend'); eq(invoke(c, h3.thread, THREAD_SUSPEND), ERR_OK, 'suspend');
  eq(h1.d > 300 && h2.d > 300 && h3.d > 300 ? 1 : 0, 1, 'all callers were served');
  eq(h1.c + h2.c + h3.c, 0, 'wrong answers');
  ok('a server follows callers on several CPUs');

  for (let n: u32 = 0; n < 8; n++) {
    const x = thread(codeAddr(caller.index), 30, 1 + n % (cpus - 1), 0);
    giveSched(x); resume(x);
    sleep(c, 500000);
    eq(invoke(c, TABLE, TABLE_DELETE, x.thread), ERR_OK, 'delete');
    const at = mmioRead32(changetype<usize>(x) + offsetof<Ctx>('d'));
    sleep(c, 200000);
    eq(mmioRead32(changetype<usize>(x) + offsetof<Ctx>('d')), at, 'it is gone');
  }
  eq(invoke(c, TABLE, TABLE_DELETE, t.thread), ERR_OK, 'delete the spinner');
  ok('destroy a Thread that runs elsewhere');
}
