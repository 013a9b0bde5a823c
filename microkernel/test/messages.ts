/** Endpoints, Replies, keys, leases, capability transfer: on one CPU and across CPUs. */
import {
  ERR_OK, ERR_HANDLE, ERR_TYPE, ERR_RIGHTS, ERR_ARG, ERR_RANGE, ERR_BUSY, ERR_RESTART, ERR_INTR, ERR_TIMEOUT, ERR_GONE, ERR_FAULT, ERR_STALE,
  OBJ_ENDPOINT, OBJ_REPLY, OBJ_NOTIFY, OBJ_SCHED, TABLE_MINT, TABLE_COPY, TABLE_DELETE, TABLE_IDENTIFY, ENDPOINT_EPOCH, ENDPOINT_BUMP, ENDPOINT_CANCEL_BADGE, ENDPOINT_RIGHTS_SEND,
  ENDPOINT_RIGHTS_GRANT, REPLY_PEEK, REPLY_REQUEUE, REPLY_FAIL, REPLY_COPY, REPLY_DISARM, THREAD_CANCEL_IPC, THREAD_QUERY, THREAD_BIND_NOTIFY, THREAD_STATE_CALLING, THREAD_STATE_OWED,
  THREAD_STATE_RECEIVING, NOTIFY_BADGE, MP_BADGE, MP_KEY_BADGE, MP_KEY_SERIAL, MP_KEY_SEQ, MP_DELIVERIES, MP_EPOCH, MP_PENDING, MP_SEND_CAPS, MP_RECV_CAPS, MP_RECV_SLOT, MP_LEASES,
  TAG_CAPS_SHIFT, TAG_LEASES_SHIFT, TAG_WORDS_SHIFT, TAG_READONLY_SHIFT, TAG_CAPS_MASK, SCHED_CONFIGURE, SCHED_BIND, CALL_RECV,
} from 'kintsugi/abi';
import { codeAddr, mmioRead32 } from 'kintsugi/x86';
import { Ctx, invoke, eq, ok, errArg, make, TABLE, SPACE, call, recv, replyRecv, answer, enter, op, words, word, setWord, notify, poll, wait, thread, giveSched, resume, sleep, memoryPages, deadline, clock, skip } from './harness';

const LABEL_STOP: u32 = 0xffff;
/** Answers label+1 and every word + its index, tells badge and key in words 12..15 when there are 16. Until LABEL_STOP. */
function echo(c: Ctx): void {
  let status = recv(c, c.a, c.b);
  while (true) {
    c.d = status;
    const label = c.tag & 0xffff, n = (c.tag >> TAG_WORDS_SHIFT) & 31;
    const badge = load<u32>(c.mp, MP_BADGE);
    for (let k: u32 = 3; k < n; k++) setWord(c, k, word(c, k) + k);
    if (n == 16) { setWord(c, 12, badge); setWord(c, 13, load<u32>(c.mp, MP_KEY_SEQ)); setWord(c, 14, load<u32>(c.mp, MP_DELIVERIES)); setWord(c, 15, load<u32>(c.mp, MP_EPOCH)); }
    c.c++;
    status = replyRecv(c, c.a, ((label + 1) & 0xffff) | words(n), c.w0, c.w1 + 1, c.w2 + 2);
  }
}
/** Calls c.a once with label 7 and word 0 = c.b; status in c.d, reply word 0 in c.c; then sleeps. */
function caller(c: Ctx): void {
  c.d = 0xffffffff;
  const s = call(c, c.a, c.schedule | words(3), c.b, 0, 0);
  c.c = c.w0;
  c.d = s;
  while (true) sleep(c, 1000000000);
}
function state(c: Ctx, t: Ctx): u32 { eq(invoke(c, t.thread, THREAD_QUERY), ERR_OK, 'query'); return c.w0; }
function settle(c: Ctx, t: Ctx, want: u32): void { for (let n = 0; n < 2000 && state(c, t) != want; n++) sleep(c, 100000); eq(state(c, t), want, 'state'); }

/** Waits until a caller has noted how its call ended. */
function noted(c: Ctx, t: Ctx): void { for (let n = 0; n < 2000 && mmioRead32(changetype<usize>(t) + offsetof<Ctx>('d')) == 0xffffffff; n++) sleep(c, 100000); }

function exchange(c: Ctx, e: u32, s: Ctx, badge: u32): void {
  let seq: u32 = 0;
  for (let n: u32 = 0; n <= 16; n++) {
    for (let k: u32 = 3; k < 16; k++) setWord(c, k, 100 * k);
    eq(call(c, e, (10 + n) | words(n), 1, 2, 3), ERR_OK, 'call');
    eq(c.tag & 0xffff, 11 + n, 'label'); eq((c.tag >> TAG_WORDS_SHIFT) & 31, n, 'words');
    eq(c.w0, 1, 'w0'); eq(c.w1, 3, 'w1'); eq(c.w2, 5, 'w2');
    for (let k: u32 = 3; k < n && k < 12; k++) eq(word(c, k), 101 * k, 'word');
    if (n == 16) { eq(word(c, 12), badge, 'badge'); seq = word(c, 13); eq(word(c, 14), 1, 'deliveries'); }
  }
  eq(call(c, e, words(16) | (1 << TAG_READONLY_SHIFT), 0, 0, 0), ERR_OK, 'readonly call');
  eq(word(c, 13), seq + 1, 'the next key');
  eq(call(c, e, words(17), 0, 0, 0), ERR_ARG, '17 words'); eq(errArg(c), 1, 'argument');
}

export function messages(c: Ctx, cpus: u32): void {
  const e = make(OBJ_ENDPOINT), r = make(OBJ_REPLY);
  eq(invoke(c, TABLE, TABLE_MINT, e, ENDPOINT_RIGHTS_SEND, 0, 0, 321), ERR_OK, 'mint');
  const send = c.w0;
  const s = thread(codeAddr(echo.index), 50, 0, 0);
  s.a = e; s.b = r;
  const own = giveSched(s);
  resume(s);
  eq(recv(c, send, r), ERR_RIGHTS, 'receive without the right');
  eq(call(c, r, 0), ERR_TYPE, 'call of a Reply');
  exchange(c, send, s, 321);
  ok('call and reply_recv, 0 to 16 words, badge, key');
  const p = thread(codeAddr(echo.index), 50, 0, 0), pe = make(OBJ_ENDPOINT), pr = make(OBJ_REPLY);
  p.a = pe; p.b = pr;
  const reserve = make(OBJ_SCHED);
  eq(invoke(c, reserve, SCHED_CONFIGURE, 50000000, 100000000, 0, 0, 1), ERR_OK, 'configure reserve');
  eq(invoke(c, reserve, SCHED_BIND, p.thread), ERR_OK, 'bind reserve');
  resume(p);
  for (let n: u32 = 0; n < 300; n++) { eq(call(c, pe, words(3), n, 0, 0), ERR_OK, 'call'); eq(c.w0, n, 'w0'); }
  ok('a passive server runs on the lent Sched');
  if (cpus > 1) {
    const x = thread(codeAddr(echo.index), 50, 1, 0), xe = make(OBJ_ENDPOINT), xr = make(OBJ_REPLY);
    x.a = xe; x.b = xr;
    giveSched(x);
    resume(x);
    exchange(c, xe, x, 0);
    for (let n: u32 = 0; n < 500; n++) { eq(call(c, xe, words(3), n, 0, 0), ERR_OK, 'call'); eq(c.w0, n, 'w0'); }
    ok('call and reply across CPUs');
    const f = thread(codeAddr(echo.index), 50, 1, 0, 1), fe = make(OBJ_ENDPOINT), fr = make(OBJ_REPLY);
    f.a = fe; f.b = fr;
    giveSched(f);
    resume(f);
    settle(c, f, THREAD_STATE_RECEIVING);
    exchange(c, fe, f, 0);
    eq(invoke(c, f.thread, THREAD_QUERY), ERR_OK, 'query'); eq(c.w1, 0, 'it followed to this CPU');
    ok('a Thread with the follow flag runs on the CPU of its caller');
  } else { skip('call and reply across CPUs', 'one CPU'); skip('a Thread with the follow flag runs on the CPU of its caller', 'one CPU'); }

  // root itself is the server from here on
  const q = make(OBJ_ENDPOINT), r1 = make(OBJ_REPLY), r2 = make(OBJ_REPLY);
  const k1 = thread(codeAddr(caller.index), 40, 0, 0), k2 = thread(codeAddr(caller.index), 40, 0, 0);
  eq(invoke(c, TABLE, TABLE_MINT, q, ENDPOINT_RIGHTS_SEND, 0, 0, 1), ERR_OK, 'mint'); k1.a = c.w0;
  eq(invoke(c, TABLE, TABLE_MINT, q, ENDPOINT_RIGHTS_SEND, 0, 0, 2), ERR_OK, 'mint'); k2.a = c.w0;
  k1.b = 11; k2.b = 22; k1.schedule = 7; k2.schedule = 8;
  giveSched(k1); giveSched(k2);
  resume(k1); resume(k2);
  settle(c, k1, THREAD_STATE_CALLING); settle(c, k2, THREAD_STATE_CALLING);
  eq(invoke(c, q, ENDPOINT_EPOCH), ERR_OK, 'epoch'); eq(c.w1, 2, 'queued callers');
  eq(recv(c, q, 0), ERR_HANDLE, 'receive without a Reply'); eq(errArg(c), 2, 'argument');
  eq(recv(c, q, r1), ERR_OK, 'receive'); eq(c.w0, 11, 'first caller'); eq(load<u32>(c.mp, MP_BADGE), 1, 'badge'); eq(load<u32>(c.mp, MP_KEY_BADGE), 1, 'key badge');
  const seq1 = load<u32>(c.mp, MP_KEY_SEQ), serial1 = load<u32>(c.mp, MP_KEY_SERIAL);
  eq(recv(c, q, 0), ERR_BUSY, 'the current Reply owes');
  eq(recv(c, q, r2), ERR_OK, 'receive with the next Reply'); eq(c.w0, 22, 'second caller');
  eq(state(c, k1), THREAD_STATE_OWED, 'owed');
  eq(invoke(c, r1, REPLY_PEEK), ERR_OK, 'peek'); eq(c.w0, 2, 'owing'); eq(c.w1, 1, 'badge'); eq(c.w2, serial1, 'serial'); eq(word(c, 3), seq1, 'seq'); eq(word(c, 4) & 0xffff, 7, 'tag'); eq(word(c, 5), 1, 'deliveries');
  eq(answer(c, r2, 5 | words(3), 222, 0, 0), ERR_OK, 'answer the second first');
  eq(answer(c, r2, 0, 0, 0, 0), ERR_BUSY, 'once');
  noted(c, k2); eq(k2.d, ERR_OK, 'status'); eq(k2.c, 222, 'reply');
  eq(invoke(c, r1, REPLY_REQUEUE, q), ERR_OK, 'requeue'); eq(state(c, k1), THREAD_STATE_CALLING, 'queued again');
  eq(recv(c, q, r1), ERR_OK, 'receive again'); eq(c.w0, 11, 'same request'); eq(load<u32>(c.mp, MP_DELIVERIES), 2, 'deliveries'); eq(load<u32>(c.mp, MP_KEY_SEQ), seq1, 'same key');
  eq(invoke(c, q, ENDPOINT_BUMP), ERR_OK, 'bump'); const epoch = c.w0;
  eq(invoke(c, r1, REPLY_FAIL, 99), ERR_ARG, 'fail with a strange status');
  eq(invoke(c, r1, REPLY_FAIL, ERR_RESTART), ERR_OK, 'fail');
  noted(c, k1); eq(k1.d, ERR_RESTART, 'status'); eq(load<u32>(k1.mp, MP_EPOCH), epoch, 'new epoch');
  eq(invoke(c, r1, REPLY_FAIL, ERR_RESTART), ERR_BUSY, 'nothing owed');
  eq(invoke(c, r1, REPLY_DISARM), ERR_OK, 'disarm');
  ok('parked Replies, peek, requeue, fail with the new epoch');

  const k3 = thread(codeAddr(caller.index), 40, 0, 0), k4 = thread(codeAddr(caller.index), 40, 0, 0), k5 = thread(codeAddr(caller.index), 40, 0, 0);
  k3.a = k1.a; k4.a = k2.a; k5.a = k1.a;
  giveSched(k3); giveSched(k4); giveSched(k5);
  resume(k3); settle(c, k3, THREAD_STATE_CALLING);
  eq(invoke(c, k3.thread, THREAD_CANCEL_IPC), ERR_OK, 'cancel'); noted(c, k3); eq(k3.d, ERR_INTR, 'status');
  resume(k4); settle(c, k4, THREAD_STATE_CALLING);
  eq(invoke(c, q, ENDPOINT_CANCEL_BADGE, 1), ERR_OK, 'cancel badge 1'); eq(c.w0, 0, 'none');
  eq(invoke(c, q, ENDPOINT_CANCEL_BADGE, 2), ERR_OK, 'cancel badge 2'); eq(c.w0, 1, 'one'); noted(c, k4); eq(k4.d, ERR_INTR, 'status');
  resume(k5); settle(c, k5, THREAD_STATE_CALLING);
  eq(recv(c, q, r1), ERR_OK, 'receive');
  eq(invoke(c, k5.thread, THREAD_CANCEL_IPC), ERR_OK, 'cancel an owed caller'); noted(c, k5); eq(k5.d, ERR_INTR, 'status');
  eq(answer(c, r1, 0, 0, 0, 0), ERR_GONE, 'the answer is dropped');
  ok('cancel_ipc, cancel_badge');

  const k6 = thread(codeAddr(caller.index), 40, 0, 0), k7 = thread(codeAddr(caller.index), 40, 0, 0);
  const q2 = make(OBJ_ENDPOINT), r3 = make(OBJ_REPLY);
  k6.a = q2; k7.a = q2;
  giveSched(k6); giveSched(k7);
  resume(k6); settle(c, k6, THREAD_STATE_CALLING); resume(k7); settle(c, k7, THREAD_STATE_CALLING);
  eq(recv(c, q2, r3), ERR_OK, 'receive');
  eq(invoke(c, TABLE, TABLE_DELETE, r3), ERR_OK, 'delete the Reply'); noted(c, k6); eq(k6.d, ERR_GONE, 'its caller');
  eq(invoke(c, TABLE, TABLE_DELETE, q2), ERR_OK, 'delete the Endpoint'); noted(c, k7); eq(k7.d, ERR_GONE, 'the queued caller');
  ok('destroyed Reply and Endpoint end calls with GONE');

  const n = make(OBJ_NOTIFY);
  eq(enter(c, q, op(CALL_RECV) | deadline(c, clock(c) + 1000000), r1, 0, 0), ERR_TIMEOUT, 'receive with a deadline');
  eq(invoke(c, 3, THREAD_BIND_NOTIFY, n), ERR_OK, 'bind Notify');
  eq(notify(c, n, 9), ERR_OK, 'signal');
  eq(recv(c, q, r1), ERR_OK, 'receive'); eq(load<u32>(c.mp, MP_BADGE), NOTIFY_BADGE, 'badge'); eq(load<u32>(c.mp, MP_PENDING), 9, 'bits');
  const later = clock(c) + 1000000;
  eq(invoke(c, n, 1, 32, <u32>later, <u32>(later >> 32)), ERR_OK, 'alarm');
  eq(recv(c, q, r1), ERR_OK, 'receive until the alarm'); eq(load<u32>(c.mp, MP_BADGE), NOTIFY_BADGE, 'badge'); eq(load<u32>(c.mp, MP_PENDING), 32, 'bits');
  eq(invoke(c, 3, THREAD_BIND_NOTIFY, 0), ERR_OK, 'unbind');
  ok('bound Notify ends recv');

  const buffer = memoryPages(13);
  const k8 = thread(codeAddr(caller.index), 40, 0, 0);
  k8.a = q; k8.schedule = 7 | (2 << TAG_LEASES_SHIFT);
  const lease = k8.mp + MP_LEASES;
  store<u32>(lease, 0); store<u32>(lease, <u32>buffer + 100, 4); store<u32>(lease, 5000, 8); store<u32>(lease, 1, 12);
  store<u32>(lease, 0, 16); store<u32>(lease, <u32>buffer, 20); store<u32>(lease, 16, 24); store<u32>(lease, 2, 28);
  for (let k: usize = 0; k < 8192; k += 4) store<u32>(buffer + k, <u32>k);
  const mine = memoryPages(13);
  giveSched(k8); resume(k8); settle(c, k8, THREAD_STATE_CALLING);
  eq(recv(c, q, r1), ERR_OK, 'receive');
  eq(invoke(c, r1, REPLY_COPY, <u32>mine, 0, 4000, 1000, 0), ERR_OK, 'copy from the lease'); eq(c.w0, 1000, 'bytes'); eq(load<u32>(mine), 4100, 'value'); eq(load<u32>(mine + 996), 5096, 'last value');
  eq(invoke(c, r1, REPLY_COPY, <u32>mine, 0, 4000, 1001, 0), ERR_RANGE, 'beyond the lease'); eq(errArg(c), 4, 'argument');
  eq(invoke(c, r1, REPLY_COPY, <u32>mine, 0, 0, 4, 1), ERR_RIGHTS, 'write into a read lease'); eq(errArg(c), 3, 'argument');
  eq(invoke(c, r1, REPLY_COPY, <u32>mine, 2, 0, 4, 0), ERR_RANGE, 'no such lease');
  store<u32>(mine, 0xabcd);
  eq(invoke(c, r1, REPLY_COPY, <u32>mine, 1, 4, 4, 1), ERR_OK, 'write into the lease'); eq(load<u32>(buffer + 4), 0xabcd, 'value');
  eq(invoke(c, r1, REPLY_COPY, 0x30000000, 0, 0, 4, 0), ERR_FAULT, 'own memory is not mapped');
  eq(answer(c, r1, 0, 0, 0, 0), ERR_OK, 'answer');
  eq(invoke(c, r1, REPLY_COPY, <u32>mine, 0, 0, 4, 0), ERR_BUSY, 'the lease ends with the answer');
  ok('leases and Reply.copy');

  const k9 = thread(codeAddr(caller.index), 40, 0, 0);
  k9.a = q; k9.schedule = 7 | (1 << TAG_CAPS_SHIFT);
  store<u32>(k9.mp, n, MP_SEND_CAPS);
  store<u32>(k9.mp, 3201, MP_RECV_SLOT);
  giveSched(k9); resume(k9); settle(c, k9, THREAD_STATE_CALLING);
  store<u32>(c.mp, 3200, MP_RECV_SLOT);
  eq(recv(c, q, r1), ERR_OK, 'receive'); eq((c.tag & TAG_CAPS_MASK) >> TAG_CAPS_SHIFT, 1, 'one capability'); eq(load<u32>(c.mp, MP_RECV_CAPS), 3200, 'its handle');
  eq(notify(c, 3200, 1), ERR_OK, 'it works'); eq(poll(c, n, 1), ERR_OK, 'and is the same Notify');
  store<u32>(c.mp, q, MP_SEND_CAPS);
  eq(answer(c, r1, 1 << TAG_CAPS_SHIFT, 0, 0, 0), ERR_OK, 'a capability with the answer');
  sleep(c, 300000);
  eq(invoke(c, TABLE, TABLE_IDENTIFY, 3201), ERR_OK, 'identify'); eq(c.w0, OBJ_ENDPOINT, 'type');
  store<u32>(c.mp, 0, MP_RECV_SLOT);
  eq(call(c, send, 1 << TAG_CAPS_SHIFT, 0, 0, 0), ERR_RIGHTS, 'sending capabilities needs grant'); eq(errArg(c), 1, 'argument');
  ok('capabilities travel with requests and answers');
}
