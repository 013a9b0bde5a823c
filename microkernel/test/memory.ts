/** Spaces and Frames. */
import {
  ERR_OK, ERR_HANDLE, ERR_TYPE, ERR_RIGHTS, ERR_ARG, ERR_RANGE, ERR_MEMORY, ERR_EXISTS, ERR_FAULT, OBJ_SPACE, OBJ_FRAMES, OBJ_UNTYPED, SPACE_MAP, SPACE_UNMAP, SPACE_PROTECT, SPACE_CLONE_RANGE,
  SPACE_QUERY, SPACE_COPY, SPACE_DONATE, SPACE_WINDOW, FRAMES_INFO, FRAMES_PADDR, FRAMES_UNMAP_ALL, TABLE_COPY, UNTYPED_REVOKE, CALL_WINDOW, OBJ_NOTIFY,
} from 'kintsugi/abi';
import { Ctx, invoke, eq, ok, errArg, make, TABLE, SPACE, freshVa, enter, op, poll } from './harness';

export function memoryTests(c: Ctx, untyped: u32): void {
  const f = make(OBJ_FRAMES, 14); // 4 pages
  const a = <u32>freshVa(16), b = <u32>freshVa(16);
  eq(invoke(c, f, FRAMES_INFO), ERR_OK, 'info'); eq(c.w0, 2, 'log2 pages'); eq(c.w1, 0, 'mappings');
  eq(invoke(c, SPACE, SPACE_MAP, f, a, 0, 4, 3), ERR_OK, 'map');
  eq(invoke(c, SPACE, SPACE_MAP, f, b, 1, 2, 1), ERR_OK, 'map a part, read-only');
  for (let n: usize = 0; n < 16384; n += 4) if (load<u32>(<usize>a + n) != 0) { eq(<u32>n, 0xffffffff, 'not cleared'); break; }
  store<u32>(a + 4096 + 8, 0x1234);
  eq(load<u32>(b + 8), 0x1234, 'the same page');
  eq(invoke(c, SPACE, SPACE_MAP, f, a + 8192, 0, 1, 3), ERR_EXISTS, 'occupied'); eq(errArg(c), 3, 'argument');
  eq(invoke(c, SPACE, SPACE_MAP, f, a + 1, 0, 1, 3), ERR_RANGE, 'not aligned');
  eq(invoke(c, SPACE, SPACE_MAP, f, 0xbffff000, 0, 2, 3), ERR_RANGE, 'into the kernel');
  eq(invoke(c, SPACE, SPACE_MAP, f, a + 0x8000, 3, 2, 3), ERR_RANGE, 'beyond the Frames'); eq(errArg(c), 4, 'argument');
  eq(invoke(c, SPACE, SPACE_MAP, f, a + 0x8000, 0, 1, 0), ERR_ARG, 'no rights');
  eq(invoke(c, TABLE, TABLE_COPY, f, 1, 0, 0), ERR_OK, 'read-only capability'); const ro = c.w0;
  eq(invoke(c, SPACE, SPACE_MAP, ro, a + 0x8000, 0, 1, 3), ERR_RIGHTS, 'writable through it');
  eq(invoke(c, ro, FRAMES_PADDR), ERR_RIGHTS, 'address without the right');
  eq(invoke(c, f, FRAMES_PADDR), ERR_OK, 'address'); eq(c.w0 & 4095, 0, 'aligned');
  ok('map, part, zeroed, errors');

  eq(invoke(c, SPACE, SPACE_QUERY, a + 4096), ERR_OK, 'query'); eq(c.w0, 3, 'rights'); eq(c.w1 & 2, 2, 'dirty'); eq(c.w2, 1, 'page');
  eq(invoke(c, SPACE, SPACE_QUERY, a + 0x8000), ERR_OK, 'query unmapped'); eq(c.w0, 0, 'rights');
  eq(invoke(c, SPACE, SPACE_PROTECT, a, 4, 1), ERR_OK, 'protect');
  eq(invoke(c, SPACE, SPACE_QUERY, a), ERR_OK, 'query'); eq(c.w0, 1, 'read-only now');
  eq(invoke(c, SPACE, SPACE_PROTECT, a, 4, 3), ERR_OK, 'protect back');
  eq(invoke(c, SPACE, SPACE_MAP, ro, a + 0x8000, 0, 1, 1), ERR_OK, 'map read-only');
  eq(invoke(c, SPACE, SPACE_PROTECT, a + 0x8000, 1, 3), ERR_RIGHTS, 'never more than the capability');
  eq(invoke(c, SPACE, SPACE_UNMAP, a + 4096, 1), ERR_OK, 'unmap in the middle'); eq(c.w0, 1, 'pages');
  eq(invoke(c, SPACE, SPACE_QUERY, a + 8192), ERR_OK, 'query behind it'); eq(c.w0, 3, 'rights'); eq(c.w2, 2, 'page');
  eq(invoke(c, SPACE, SPACE_QUERY, a + 4096), ERR_OK, 'query it'); eq(c.w0, 0, 'rights');
  eq(invoke(c, SPACE, SPACE_UNMAP, a, 16), ERR_OK, 'unmap the rest'); eq(c.w0, 4, 'pages');
  eq(invoke(c, f, FRAMES_INFO), ERR_OK, 'info'); eq(c.w1, 1, 'one mapping left');
  eq(invoke(c, f, FRAMES_UNMAP_ALL), ERR_OK, 'unmap_all'); eq(c.w0, 1, 'mappings removed');
  eq(invoke(c, SPACE, SPACE_QUERY, b), ERR_OK, 'query'); eq(c.w0, 0, 'gone');
  ok('query, protect, unmap, unmap_all');

  const big = make(OBJ_FRAMES, 22); // 1024 pages: several steps
  const va = <u32>freshVa(2048) + 0x100000 & 0xfffff000;
  eq(invoke(c, SPACE, SPACE_MAP, big, va, 0, 1024, 3), ERR_OK, 'map 1024 pages');
  for (let n: u32 = 0; n < 1024; n += 31) store<u32>(<usize>va + (<usize>n << 12), n * 7);
  let wrong: u32 = 0;
  for (let n: u32 = 0; n < 1024; n += 31) if (load<u32>(<usize>va + (<usize>n << 12)) != n * 7) wrong++;
  eq(wrong, 0, 'pages differ');
  const s = make(OBJ_SPACE);
  eq(invoke(c, SPACE, SPACE_CLONE_RANGE, s, va, 1024, 1), ERR_MEMORY, 'clone without a pool');
  eq(invoke(c, s, SPACE_DONATE, untyped, 8), ERR_OK, 'donate'); eq(c.w0, 8, 'pool');
  eq(invoke(c, SPACE, SPACE_CLONE_RANGE, s, va, 1024, 1), ERR_OK, 'clone'); eq(c.w0, 1024, 'pages');
  eq(invoke(c, s, SPACE_QUERY, va + 0x1000), ERR_OK, 'query there'); eq(c.w0, 1, 'read-only'); eq(c.w2, 1, 'page');
  eq(invoke(c, SPACE, SPACE_CLONE_RANGE, s, va, 1, 1), ERR_EXISTS, 'clone again');
  eq(invoke(c, SPACE, SPACE_CLONE_RANGE, SPACE, va, 1, 1), ERR_ARG, 'onto itself');
  const w = <u32>freshVa(2);
  eq(invoke(c, SPACE, SPACE_MAP, f, w, 0, 2, 3), ERR_OK, 'map');
  eq(invoke(c, SPACE, SPACE_COPY, w + 2, s, va + 31 * 4096, 4, 0), ERR_OK, 'copy from the other Space'); eq(c.w0, 4, 'bytes'); eq(load<u32>(w + 2), 31 * 7, 'value');
  eq(invoke(c, SPACE, SPACE_COPY, w, s, va, 4, 1), ERR_FAULT, 'write into read-only'); eq(errArg(c), 4, 'argument');
  eq(invoke(c, SPACE, SPACE_COPY, w + 8190, s, va, 4, 0), ERR_FAULT, 'own range ends'); eq(c.w0, 2, 'bytes before');
  eq(invoke(c, SPACE, SPACE_COPY, w, s, 0xfffff000, 4, 0), ERR_RANGE, 'kernel addresses');
  eq(invoke(c, SPACE, SPACE_COPY, w, s, va, 0x100001, 0), ERR_RANGE, 'more than 1 MiB');
  eq(invoke(c, SPACE, SPACE_UNMAP, va, 1024), ERR_OK, 'unmap 1024'); eq(c.w0, 1024, 'pages');
  eq(invoke(c, big, FRAMES_INFO), ERR_OK, 'info'); eq(c.w1 >= 2 ? 1 : 0, 1, 'the clone is still there');
  eq(invoke(c, TABLE, 4, s), ERR_OK, 'delete the Space');
  eq(invoke(c, big, FRAMES_INFO), ERR_OK, 'info'); eq(c.w1, 0, 'no mapping left');
  ok('large ranges, clone_range, copy, donate');

  const state = make(OBJ_FRAMES, 14), at: u32 = 0x40000000;
  eq(invoke(c, SPACE, SPACE_MAP, state, at, 0, 4, 3), ERR_OK, 'map state');
  store<u32>(at, 1);
  eq(enter(c, state, op(CALL_WINDOW), 1, 0, 0), ERR_RANGE, 'window before it is declared');
  eq(invoke(c, SPACE, SPACE_WINDOW, state, at, 8), ERR_RANGE, 'declare more than is mapped');
  eq(invoke(c, SPACE, SPACE_WINDOW, state, at, 4), ERR_OK, 'declare');
  eq(invoke(c, SPACE, SPACE_QUERY, at), ERR_OK, 'query'); eq(c.w0, 1, 'read-only in the first root');
  eq(enter(c, state, op(CALL_WINDOW), 1, 0, 0), ERR_OK, 'open');
  store<u32>(at + 4096, 77);
  eq(enter(c, 0, op(CALL_WINDOW), 0, 0, 0), ERR_OK, 'close');
  eq(load<u32>(at + 4096), 77, 'written in the window');
  eq(invoke(c, SPACE, SPACE_COPY, at + 8192, SPACE, at + 4096, 4, 0), ERR_OK, 'copy fills a declared page'); eq(load<u32>(at + 8192), 77, 'value');
  eq(enter(c, state, op(CALL_WINDOW), 2, 0, 0), ERR_ARG, 'neither open nor close');
  eq(enter(c, ro, op(CALL_WINDOW), 1, 0, 0), ERR_RIGHTS, 'without the right');
  ok('window');
}
