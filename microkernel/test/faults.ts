/** Exceptions, deliberate faults, INT 0x80, FPU state. */
import {
  ERR_OK, OBJ_ENDPOINT, OBJ_REPLY, OBJ_FRAMES, SPACE_MAP, SPACE_PROTECT, FAULT_VECTOR_DELIBERATE, FAULT_VECTOR_RESERVE_OVERRUN, THREAD_STATE_SUSPENDED, THREAD_STATE_OWED, THREAD_STATE_FAULTED, THREAD_QUERY, THREAD_RESUME,
  THREAD_SET_SYSCALL_ENDPOINT, THREAD_GET_REGISTERS, THREAD_SUSPEND, CALL_FAULT, TAG_FAULT_MASK, MP_RESULTS, MP_WORDS, TABLE_MINT, MP_BADGE, SYSCALL_MESSAGE_LABEL, SYSCALL_REPLY_RESULT, SYSCALL_REPLY_RESTART,
  SYSCALL_REPLY_SETREGS, SCHED_CONFIGURE, SCHED_BIND, OBJ_SCHED, THREAD_DEBUG,
} from 'kintsugi/abi';
import { codeAddr } from 'kintsugi/x86';
import { Ctx, invoke, eq, ok, make, TABLE, SPACE, recv, answer, enter, op, words, word, setWord, thread, giveSched, resume, sleep, freshVa } from './harness';

let lazy: usize = 0;
function toucher(c: Ctx): void {
  c.c = load<u32>(lazy + 8); // page fault
  c.d = 1;
  c.b = enter(c, 0, op(CALL_FAULT), 0x111, 0x222, 0x333);
  c.d = 2;
  store<u32>(0xc0100000, 1); // the kernel is out of reach
  c.d = 3;
  while (true) sleep(c, 1000000000);
}
/** Doubles in registers across preemption by another one that does the same. */
function floats(c: Ctx): void {
  let x: f64 = <f64>c.a;
  for (let n: u32 = 0; n < 300000; n++) { x = x * 1.0000001 + 0.5; c.c = n; }
  store<f64>(changetype<usize>(c) + 128, x);
  c.d = 1;
  while (true) sleep(c, 1000000000);
}
const CODE: usize = memory.data<u8>([
  0xb8, 5, 0, 0, 0, // mov eax, 5
  0xbb, 6, 0, 0, 0, // mov ebx, 6
  0xcd, 0x80, // int 0x80
  0x89, 0xc1, // mov ecx, eax
  0xcd, 0x80, // int 0x80
  0x0f, 0x0b, // ud2
]);

export function faults(c: Ctx): void {
  const e = make(OBJ_ENDPOINT), r = make(OBJ_REPLY), f = make(OBJ_FRAMES, 12);
  lazy = freshVa(1);
  eq(invoke(c, TABLE, TABLE_MINT, e, 15, 0, 0, 55), ERR_OK, 'mint'); const badged = c.w0;
  const t = thread(codeAddr(toucher.index), 40, 0, badged);
  giveSched(t); resume(t);
  eq(recv(c, e, r), ERR_OK, 'receive the fault');
  eq(c.tag & 0xffff, 14, 'vector'); eq((c.tag & TAG_FAULT_MASK) != 0 ? 1 : 0, 1, 'fault bit'); eq(c.w0, 14, 'word 0'); eq(c.w1, 4, 'error code: user read'); eq(word(c, 3), <u32>lazy + 8, 'address'); eq(load<u32>(c.mp, MP_BADGE), 55, 'badge');
  eq(invoke(c, t.thread, THREAD_QUERY), ERR_OK, 'query'); eq(c.w0, THREAD_STATE_FAULTED, 'state');
  eq(invoke(c, SPACE, SPACE_MAP, f, <u32>lazy, 0, 1, 3), ERR_OK, 'map'); store<u32>(lazy + 8, 4711);
  eq(answer(c, r, 0, 0, 0, 0), ERR_OK, 'resume');
  eq(recv(c, e, r), ERR_OK, 'the next fault'); eq(t.c, 4711, 'the load was tried again'); eq(t.d, 1, 'progress');
  eq(c.tag & 0xffff, FAULT_VECTOR_DELIBERATE, 'deliberate'); eq(c.w1, 0x111, 'code'); eq(word(c, 3), 0x222, 'w1'); eq(word(c, 7), 0x333, 'w2');
  eq(answer(c, r, 0, 0, 0, 0), ERR_OK, 'resume');
  eq(recv(c, e, r), ERR_OK, 'the next fault'); eq(t.b, ERR_OK, 'fault returned'); eq(c.tag & 0xffff, 14, 'vector'); eq(c.w1, 7, 'error code: user write, protection'); eq(word(c, 3), 0xc0100000, 'address');
  eq(answer(c, r, 1, 0, 0, 0), ERR_OK, 'leave it stopped');
  eq(invoke(c, t.thread, THREAD_QUERY), ERR_OK, 'query'); eq(c.w0, THREAD_STATE_SUSPENDED, 'state'); eq(t.d, 2, 'no progress');
  ok('page fault, deliberate fault, kernel address: fault messages');

  const code = make(OBJ_FRAMES, 12), at = freshVa(1);
  eq(invoke(c, SPACE, SPACE_MAP, code, <u32>at, 0, 1, 7), ERR_OK, 'map');
  for (let n: usize = 0; n < 18; n++) store<u8>(at + n, load<u8>(CODE + n));
  eq(invoke(c, SPACE, SPACE_PROTECT, <u32>at, 1, 5), ERR_OK, 'protect');
  const s = thread(at, 40, 0, badged);
  giveSched(s);
  eq(invoke(c, s.thread, THREAD_SET_SYSCALL_ENDPOINT, badged), ERR_OK, 'syscall endpoint');
  resume(s);
  eq(recv(c, e, r), ERR_OK, 'receive'); eq(c.tag & 0xffff, SYSCALL_MESSAGE_LABEL, 'label'); eq(c.w0, 5, 'eax'); eq(c.w1, 6, 'ebx');
  eq(answer(c, r, SYSCALL_REPLY_RESTART, 0, 0, 0), ERR_OK, 'restart');
  eq(recv(c, e, r), ERR_OK, 'receive again'); eq(c.w0, 5, 'eax');
  eq(answer(c, r, SYSCALL_REPLY_RESULT | words(1), 99, 0, 0), ERR_OK, 'result');
  eq(recv(c, e, r), ERR_OK, 'the second INT 0x80'); eq(c.w0, 99, 'eax'); eq(c.w2, 99, 'ecx');
  for (let k: u32 = 3; k < 12; k++) setWord(c, k, k * 16);
  setWord(c, 8, <u32>at + 16); setWord(c, 9, 0xffffffff); setWord(c, 10, 0); setWord(c, 11, 0);
  eq(answer(c, r, SYSCALL_REPLY_SETREGS | words(12), 7, 8, 9), ERR_OK, 'setregs');
  eq(recv(c, e, r), ERR_OK, 'ud2 follows'); eq(c.tag & 0xffff, 6, 'vector'); eq(c.w2, <u32>at + 16, 'eip'); eq(word(c, 4), 7 * 16, 'esp'); eq(word(c, 5) & 0x3200, 0x200, 'eflags: IF, no IOPL');
  eq(invoke(c, s.thread, THREAD_GET_REGISTERS), ERR_OK, 'get_registers'); eq(load<u32>(c.mp, MP_RESULTS), 7, 'eax'); eq(load<u32>(c.mp + MP_RESULTS, 4), 8, 'ebx'); eq(load<u32>(c.mp + MP_RESULTS, 16), 64, 'esi'); eq(load<u32>(c.mp + MP_RESULTS, 24), 96, 'ebp');
  eq(answer(c, r, 1, 0, 0, 0), ERR_OK, 'stop');
  ok('INT 0x80: result, restart, setregs');

  const x = thread(codeAddr(floats.index), 40, 0, badged), y = thread(codeAddr(floats.index), 40, 0, badged);
  x.a = 3; y.a = 5;
  const sx = giveSched(x), sy = giveSched(y);
  eq(invoke(c, sx, SCHED_CONFIGURE, 100000, 0, 0, 0, 0), ERR_OK, 'short slice'); eq(invoke(c, sy, SCHED_CONFIGURE, 100000, 0, 0, 0, 0), ERR_OK, 'short slice');
  resume(x); resume(y);
  for (let n = 0; n < 2000 && (x.d == 0 || y.d == 0); n++) sleep(c, 1000000);
  let a: f64 = 3, b: f64 = 5;
  for (let n: u32 = 0; n < 300000; n++) { a = a * 1.0000001 + 0.5; b = b * 1.0000001 + 0.5; }
  eq(load<f64>(changetype<usize>(x) + 128) == a ? 1 : 0, 1, 'x'); eq(load<f64>(changetype<usize>(y) + 128) == b ? 1 : 0, 1, 'y');
  ok('FPU state belongs to its Thread');
}
