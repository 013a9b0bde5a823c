/**
 * Instructions from SYSENTER to SYSEXIT, exactly: only where the TSC counts them (our VM, deterministic), on request (`count` on the command line).
 * Printed as `# count <path> words=<n> space=<same|other> <instructions>`, for test/kernel and for the record.
 */
import { OBJ_ENDPOINT, OBJ_REPLY, OBJ_SPACE, OBJ_FRAMES, CALL_CALL, CALL_REPLY_RECV, SPACE_DONATE, SPACE_CLONE_RANGE, SPACE_MAP, THREAD_CONFIGURE, ERR_OK, BOOTINFO_VA, BOOTINFO_FIELDS_CMDLINE, THREAD_STATE_RECEIVING, THREAD_QUERY, VM_TEXT } from 'kintsugi/abi';
import { codeAddr } from 'kintsugi/x86';
import { Ctx, invoke, eq, ok, skip, make, SPACE, TABLE, op, words, thread, giveSched, resume, recv, print, printDec, sleep } from './harness';
import { probeEnter } from './enter';

/** RDTSC, MOV, MOV, MOV, SYSENTER | MOV. */
const OVERHEAD: u32 = 6;
function server(c: Ctx): void {
  recv(c, c.a, c.b);
  while (true) { c.handle = c.a; c.tag = (c.tag & 0x1fffff) | op(CALL_REPLY_RECV); probeEnter(changetype<usize>(c)); }
}
function requested(): bool {
  for (let at: usize = BOOTINFO_VA + BOOTINFO_FIELDS_CMDLINE; load<u8>(at) != 0; at++) if (load<u32>(at) == 0x6e756f63 && load<u8>(at, 4) == 0x74) return true; // "count"
  return false;
}
function report(path: string, n: u32, space: string, count: u32): void {
  print('# count '); print(path); print(' words='); printDec(n); print(' space='); print(space); print(' '); printDec(count); print('\n');
}
export function counts(c: Ctx, untyped: u32): void {
  if (!requested()) { skip('instructions of the fast path', 'no exact counts asked for'); return; }
  for (let other: u32 = 0; other < 2; other++) {
    const e = make(OBJ_ENDPOINT), r = make(OBJ_REPLY), s = thread(codeAddr(server.index), 60, 0, 0);
    s.a = e; s.b = r;
    if (other != 0) {
      // a Space of its own with everything of ours in it
      const space = make(OBJ_SPACE);
      eq(invoke(c, space, SPACE_DONATE, untyped, 32), ERR_OK, 'donate');
      eq(invoke(c, SPACE, SPACE_CLONE_RANGE, space, VM_TEXT, 1, 5), ERR_OK, 'text');
      for (let n: u32 = 1; n < 16; n++) if (invoke(c, SPACE, SPACE_CLONE_RANGE, space, VM_TEXT + n * 4096, 1, 5) != ERR_OK && invoke(c, SPACE, SPACE_CLONE_RANGE, space, VM_TEXT + n * 4096, 1, 3) != ERR_OK) invoke(c, SPACE, SPACE_CLONE_RANGE, space, VM_TEXT + n * 4096, 1, 1);
      eq(invoke(c, SPACE, SPACE_CLONE_RANGE, space, 0x10000000, 64, 3), ERR_OK, 'data');
      eq(invoke(c, SPACE, SPACE_CLONE_RANGE, space, <u32>s.stack, 4, 3), ERR_OK, 'stack');
      const page = make(OBJ_FRAMES, 12);
      eq(invoke(c, space, SPACE_MAP, page, <u32>s.mp, 0, 1, 3), ERR_OK, 'message page');
      eq(invoke(c, s.thread, THREAD_CONFIGURE, space, TABLE, page, <u32>s.mp), ERR_OK, 'configure');
    }
    const space = other != 0 ? 'other' : 'same';
    giveSched(s); resume(s);
    for (let n = 0; n < 100; n++) { invoke(c, s.thread, THREAD_QUERY); if (c.w0 == THREAD_STATE_RECEIVING) break; sleep(c, 10000); }
    for (let n: u32 = 0; n <= 16; n = n == 0 ? 3 : n == 3 ? 4 : n == 4 ? 16 : 17) {
      for (let k = 0; k < 3; k++) { c.handle = e; c.tag = words(n) | op(CALL_CALL); eq(probeEnter(changetype<usize>(c)), ERR_OK, 'call'); }
      const before = load<u32>(changetype<usize>(c), 52), after = load<u32>(changetype<usize>(c), 56);
      // what the server noted last is the call before the last answer: ask once more, now that it has come back from probeEnter
      const arrived = load<u32>(changetype<usize>(s), 56);
      c.handle = e; c.tag = words(n) | op(CALL_CALL);
      eq(probeEnter(changetype<usize>(c)), ERR_OK, 'call');
      const begun = load<u32>(changetype<usize>(c), 52), back = load<u32>(changetype<usize>(c), 56);
      c.handle = e; c.tag = words(n) | op(CALL_CALL);
      probeEnter(changetype<usize>(c)); // the server has stored its stamps of the one before
      const got = load<u32>(changetype<usize>(s), 56), answered = load<u32>(changetype<usize>(s), 52);
      const last = load<u32>(changetype<usize>(c), 52);
      const call = got - last - OVERHEAD; // the server's newest `after` belongs to our newest call
      report('call', n, space, call);
      // its newest `before` belongs to the answer before: the one that ended at `back`
      const reply = back - answered - OVERHEAD;
      report('reply_recv', n, space, reply);
      if (n <= 3) { eq(call <= 150 ? 1 : 0, 1, 'call takes more than 150 instructions'); eq(reply <= 150 ? 1 : 0, 1, 'reply_recv takes more than 150 instructions'); }
    }
  }
  ok('instructions of the fast path');
}
