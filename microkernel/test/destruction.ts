/** Revocation of whole incarnations, memory coming back, many times. */
import { ERR_OK, ERR_GONE, ERR_STALE, OBJ_UNTYPED, OBJ_SPACE, OBJ_TABLE, OBJ_THREAD, OBJ_FRAMES, OBJ_ENDPOINT, OBJ_REPLY, OBJ_SCHED, UNTYPED_RETYPE, UNTYPED_REVOKE, UNTYPED_INFO, SPACE_DONATE, SPACE_MAP, THREAD_CONFIGURE, THREAD_SET_REGISTERS, THREAD_RESUME,
  THREAD_SET_SCHEDULE, SCHED_BIND, TABLE_COPY, TABLE_DELETE, CALL_INVOKE, SPACE_CLONE_RANGE } from 'kintsugi/abi';
import { Ctx, invoke, eq, ok, make, TABLE, SPACE, enter, op, words, setWord, sleep, memoryPages } from './harness';

const CODE: usize = memory.data<u8>([0xff, 0x05, 0x00, 0x00, 0x00, 0x20, 0xeb, 0xf8]); // inc dword [0x20000000]; jmp

export function destruction(c: Ctx, untyped: u32, cpus: u32): void {
  const u = make(OBJ_UNTYPED, 20);
  const code = memoryPages(12, 7), shared = make(OBJ_FRAMES, 12), seen = memoryPages(12);
  eq(invoke(c, SPACE, 2, <u32>seen, 1), ERR_OK, 'unmap'); eq(invoke(c, SPACE, SPACE_MAP, shared, <u32>seen, 0, 1, 3), ERR_OK, 'map shared');
  for (let n: usize = 0; n < 8; n++) store<u8>(code + n, load<u8>(CODE + n));
  let last: u32 = 0;
  // The last 6 on one CPU, which has nothing else to do: each Space is where the one before it was, by turns with its page directories elsewhere (an
  // Endpoint and Frames have headers of the same size, and Frames take a page). Idle, the CPU must have let go of the root of the one before.
  for (let round: u32 = 0; round < 26; round++) {
    if (round >= 20) eq(invoke(c, u, UNTYPED_RETYPE, (round & 1) == 0 ? OBJ_ENDPOINT : OBJ_FRAMES, (round & 1) == 0 ? 0 : 12, 1), ERR_OK, 'what moves the directories');
    eq(invoke(c, u, UNTYPED_RETYPE, OBJ_SPACE, 0, 1), ERR_OK, 'Space'); const s = c.w0;
    eq(invoke(c, u, UNTYPED_RETYPE, OBJ_TABLE, 6, 1), ERR_OK, 'Table'); const t = c.w0;
    eq(invoke(c, u, UNTYPED_RETYPE, OBJ_THREAD, 0, 1), ERR_OK, 'Thread'); const th = c.w0;
    eq(invoke(c, u, UNTYPED_RETYPE, OBJ_FRAMES, 12, 1), ERR_OK, 'Frames'); const mp = c.w0;
    eq(invoke(c, u, UNTYPED_RETYPE, OBJ_SCHED, 0, 1), ERR_OK, 'Sched'); const sc = c.w0;
    eq(invoke(c, s, SPACE_DONATE, u, 8), ERR_OK, 'donate');
    eq(invoke(c, SPACE, SPACE_CLONE_RANGE, s, <u32>code, 1, 5), ERR_OK, 'code');
    eq(invoke(c, s, SPACE_MAP, shared, 0x20000000, 0, 1, 3), ERR_OK, 'shared');
    eq(invoke(c, s, SPACE_MAP, mp, 0xbfffe000, 0, 1, 3), ERR_OK, 'message page');
    eq(invoke(c, TABLE, TABLE_COPY, shared, 1, t, 5), ERR_OK, 'a capability in its Table');
    eq(invoke(c, th, THREAD_CONFIGURE, s, t, mp, 0xbfffe000, 0), ERR_OK, 'configure');
    for (let n: u32 = 0; n < 12; n++) setWord(c, 3 + n, 0);
    setWord(c, 11, <u32>code);
    eq(enter(c, th, THREAD_SET_REGISTERS | op(CALL_INVOKE) | words(15), 0, 0, 0), ERR_OK, 'set_registers');
    eq(invoke(c, th, THREAD_SET_SCHEDULE, 30, round < 20 ? round : cpus - 1, 0), ERR_OK, 'set_schedule');
    eq(invoke(c, sc, SCHED_BIND, th), ERR_OK, 'bind');
    eq(invoke(c, th, THREAD_RESUME), ERR_OK, 'resume');
    for (let n = 0; n < 500 && load<u32>(seen) == last; n++) sleep(c, 100000);
    eq(load<u32>(seen) != last ? 1 : 0, 1, 'it ran');
    eq(invoke(c, u, UNTYPED_REVOKE), ERR_OK, 'revoke');
    last = load<u32>(seen);
    eq(invoke(c, th, THREAD_RESUME), ERR_STALE, 'gone');
    eq(invoke(c, u, UNTYPED_INFO), ERR_OK, 'info'); eq(c.w1, 1 << 20, 'memory is back');
  }
  sleep(c, 2000000);
  eq(load<u32>(seen), last, 'nothing runs on');
  ok('26 incarnations built and revoked while they run');

  const big = make(OBJ_UNTYPED, 21);
  eq(invoke(c, big, UNTYPED_RETYPE, OBJ_TABLE, 10, 1), ERR_OK, 'Table of 1024'); const t = c.w0;
  eq(invoke(c, big, UNTYPED_RETYPE, OBJ_ENDPOINT, 0, 500, t, 1), ERR_OK, '500 Endpoints in it');
  eq(invoke(c, TABLE, TABLE_COPY, t, 3, t, 600), ERR_OK, 'a Table that holds itself');
  eq(invoke(c, TABLE, TABLE_DELETE, t), ERR_OK, 'delete it from outside');
  eq(invoke(c, big, UNTYPED_REVOKE), ERR_OK, 'revoke takes it'); eq(invoke(c, big, UNTYPED_INFO), ERR_OK, 'info'); eq(c.w1, 1 << 21, 'memory is back');
  eq(invoke(c, big, UNTYPED_RETYPE, OBJ_TABLE, 10, 1), ERR_OK, 'Table'); const t2 = c.w0;
  eq(invoke(c, big, UNTYPED_RETYPE, OBJ_ENDPOINT, 0, 500, t2, 1), ERR_OK, 'Endpoints');
  eq(invoke(c, TABLE, TABLE_DELETE, t2), ERR_OK, 'delete');
  for (let n: u32 = 0; n < 30; n++) { sleep(c, 10000); invoke(c, TABLE, 6, 1); }
  eq(invoke(c, big, UNTYPED_INFO), ERR_OK, 'info'); eq(c.w1, 1 << 21, 'the last capability took all with it');
  ok('Tables of many capabilities');
}
