/** Handles, Tables, Untyped: results and every error. */
import {
  ERR_OK, ERR_HANDLE, ERR_STALE, ERR_TYPE, ERR_RIGHTS, ERR_ARG, ERR_RANGE, ERR_MEMORY, ERR_EXISTS, OBJ_UNTYPED, OBJ_TABLE, OBJ_SPACE, OBJ_FRAMES, OBJ_THREAD, OBJ_SCHED, OBJ_ENDPOINT,
  OBJ_REPLY, OBJ_NOTIFY, OBJ_DEVICE, UNTYPED_RETYPE, UNTYPED_INFO, UNTYPED_REVOKE, TABLE_COPY, TABLE_MINT, TABLE_MOVE, TABLE_DELETE, TABLE_REVOKE, TABLE_IDENTIFY, ENDPOINT_EPOCH, ENDPOINT_BUMP,
  ENDPOINT_RIGHTS_SEND, BOOTINFO_HANDLES_IO_PORTS, DEVICE_INFO, DEVICE_PORT_IN, CALL_BATCH, MP_BATCH, BATCH_HANDLE, BATCH_LABEL, BATCH_W0, BATCH_STATUS, BATCH_SIZE, CALL_TRACE,
} from 'kintsugi/abi';
import { Ctx, invoke, eq, ok, errArg, make, TABLE, enter, op, word } from './harness';

export function capabilities(c: Ctx, untyped: u32): void {
  eq(invoke(c, 0, 1), ERR_HANDLE, 'handle 0');
  eq(invoke(c, 4000, 1), ERR_HANDLE, 'empty slot');
  eq(invoke(c, 0xfffff, 1), ERR_HANDLE, 'outside the Table');
  eq(invoke(c, untyped, 99), ERR_TYPE, 'no such operation'); eq(errArg(c), 1, 'its argument');
  eq(enter(c, 0, op(12), 0, 0, 0), ERR_ARG, 'no such call');
  eq(enter(c, 0, op(CALL_TRACE), 1, 2, 3), ERR_OK, 'trace');
  ok('errors of handles and calls');

  const u = make(OBJ_UNTYPED, 16);
  eq(invoke(c, u, UNTYPED_INFO), ERR_OK, 'info'); eq(c.w0, 16, 'bits'); eq(c.w1, 65536, 'free'); eq(word(c, 3), 0, 'objects');
  eq(invoke(c, u, UNTYPED_RETYPE, 77, 0, 1), ERR_TYPE, 'type'); eq(errArg(c), 2, 'argument');
  eq(invoke(c, u, UNTYPED_RETYPE, OBJ_DEVICE, 0, 1), ERR_TYPE, 'Device cannot be made');
  eq(invoke(c, u, UNTYPED_RETYPE, OBJ_FRAMES, 11, 1), ERR_RANGE, 'less than a page'); eq(errArg(c), 3, 'argument');
  eq(invoke(c, u, UNTYPED_RETYPE, OBJ_THREAD, 1, 1), ERR_ARG, 'size of a Thread');
  eq(invoke(c, u, UNTYPED_RETYPE, OBJ_FRAMES, 12, 0), ERR_RANGE, 'count 0'); eq(errArg(c), 4, 'argument');
  eq(invoke(c, u, UNTYPED_RETYPE, OBJ_FRAMES, 17, 1), ERR_MEMORY, 'too large');
  eq(invoke(c, u, UNTYPED_RETYPE, OBJ_FRAMES, 12, 1, 9999), ERR_HANDLE, 'destination Table'); eq(errArg(c), 5, 'argument');
  eq(invoke(c, u, UNTYPED_RETYPE, OBJ_FRAMES, 12, 1, 0, 1), ERR_EXISTS, 'occupied slot'); eq(errArg(c), 6, 'argument');
  eq(invoke(c, u, UNTYPED_RETYPE, OBJ_FRAMES, 12, 1, 0, 5000), ERR_RANGE, 'slot outside');
  eq(invoke(c, u, UNTYPED_RETYPE, OBJ_NOTIFY, 0, 4, 0, 3000), ERR_OK, 'four Notifies'); eq(c.w0, 3000, 'first handle'); eq(c.w1, 4, 'count');
  for (let n: u32 = 0; n < 4; n++) { eq(invoke(c, TABLE, TABLE_IDENTIFY, 3000 + n), ERR_OK, 'identify'); eq(c.w0, OBJ_NOTIFY, 'type'); eq(c.w1, 3, 'rights'); }
  ok('Untyped: retype and its errors');

  const e = make(OBJ_ENDPOINT);
  eq(invoke(c, TABLE, TABLE_COPY, e, ENDPOINT_RIGHTS_SEND, 0, 0), ERR_OK, 'copy');
  const weak = c.w0;
  eq(invoke(c, weak, ENDPOINT_BUMP), ERR_RIGHTS, 'copy has fewer rights'); eq(errArg(c), 0, 'argument');
  eq(invoke(c, weak, ENDPOINT_EPOCH), ERR_OK, 'copy is the same object'); const epoch = c.w0;
  eq(invoke(c, e, ENDPOINT_BUMP), ERR_OK, 'bump'); eq(c.w0, epoch + 1, 'new epoch');
  eq(invoke(c, TABLE, TABLE_MINT, e, 15, 0, 0, 42), ERR_OK, 'mint');
  const badged = c.w0;
  eq(invoke(c, TABLE, TABLE_IDENTIFY, badged), ERR_OK, 'identify'); eq(c.w2, 42, 'badge');
  eq(invoke(c, TABLE, TABLE_MINT, badged, 15, 0, 0, 43), ERR_RIGHTS, 'a badge is given once');
  eq(invoke(c, TABLE, TABLE_COPY, badged, 15, 0, 3000), ERR_EXISTS, 'copy onto an occupied slot');
  eq(invoke(c, TABLE, TABLE_COPY, 4001, 15, 0, 0), ERR_HANDLE, 'copy of nothing'); eq(errArg(c), 2, 'argument');
  eq(invoke(c, TABLE, TABLE_MOVE, badged, 0, 3100), ERR_OK, 'move'); eq(c.w0, 3100, 'to that slot');
  eq(invoke(c, badged, ENDPOINT_EPOCH), ERR_STALE, 'the old handle is stale');
  eq(invoke(c, 3100, ENDPOINT_EPOCH), ERR_OK, 'the new one works');
  eq(invoke(c, TABLE, TABLE_DELETE, 3100), ERR_OK, 'delete');
  eq(invoke(c, 3100, ENDPOINT_EPOCH), ERR_STALE, 'deleted is stale');
  eq(invoke(c, TABLE, TABLE_COPY, e, 15, 0, 3100), ERR_OK, 'slot used again'); eq(c.w0, 3100 | (1 << 20), 'with the next generation');
  eq(invoke(c, 3100 | (1 << 20), ENDPOINT_EPOCH), ERR_OK, 'which works');
  eq(invoke(c, TABLE, TABLE_COPY, 3100 | (1 << 20), 15, 0, 3101), ERR_OK, 'a copy of the copy');
  eq(invoke(c, TABLE, TABLE_DELETE, 3100 | (1 << 20)), ERR_OK, 'delete the middle');
  eq(invoke(c, 3101, ENDPOINT_EPOCH), ERR_OK, 'the grandchild lives');
  eq(invoke(c, TABLE, TABLE_REVOKE, e), ERR_OK, 'revoke');
  eq(invoke(c, 3101, ENDPOINT_EPOCH), ERR_STALE, 'and now it is gone');
  eq(invoke(c, weak, ENDPOINT_EPOCH), ERR_STALE, 'as all copies');
  eq(invoke(c, e, ENDPOINT_EPOCH), ERR_OK, 'the original lives');
  ok('Table: copy, mint, move, delete, revoke, generations');

  const t = make(OBJ_TABLE, 4);
  eq(invoke(c, TABLE, TABLE_COPY, e, 15, t, 3), ERR_OK, 'copy into another Table'); eq(c.w0, 3, 'its handle');
  eq(invoke(c, t, TABLE_IDENTIFY, 3), ERR_OK, 'identify there'); eq(c.w0, OBJ_ENDPOINT, 'type');
  eq(invoke(c, TABLE, TABLE_COPY, e, 15, t, 16), ERR_RANGE, 'beyond its slots');
  eq(invoke(c, TABLE, TABLE_COPY, t, 1, 0, 0), ERR_OK, 'read-only Table'); const readOnly = c.w0;
  eq(invoke(c, readOnly, TABLE_DELETE, 3), ERR_RIGHTS, 'cannot delete through it');
  eq(invoke(c, TABLE, TABLE_COPY, e, 15, readOnly, 4), ERR_RIGHTS, 'cannot put into it'); eq(errArg(c), 4, 'argument');
  ok('Table: a second Table, rights');

  const n = make(OBJ_NOTIFY);
  eq(invoke(c, TABLE, TABLE_MINT, n, 3, 0, 0, 6), ERR_OK, 'mint Notify'); const some = c.w0;
  eq(invoke(c, TABLE, TABLE_MINT, some, 3, 0, 0, 9), ERR_RIGHTS, 'more bits than one has'); eq(errArg(c), 6, 'argument');
  const ports: u32 = BOOTINFO_HANDLES_IO_PORTS;
  eq(invoke(c, TABLE, TABLE_MINT, ports, 3, 0, 0, 0x3f8 | (8 << 16)), ERR_OK, 'mint ports'); const com = c.w0;
  eq(invoke(c, com, DEVICE_INFO), ERR_OK, 'info'); eq(c.w0, 2, 'kind'); eq(c.w1, 0x3f8, 'first'); eq(c.w2, 8, 'count');
  eq(invoke(c, com, DEVICE_PORT_IN, 0x3fd, 1), ERR_OK, 'inside');
  eq(invoke(c, com, DEVICE_PORT_IN, 0x400, 1), ERR_RANGE, 'one port more');
  eq(invoke(c, com, DEVICE_PORT_IN, 0x3fe, 4), ERR_RANGE, 'across the end');
  eq(invoke(c, com, DEVICE_PORT_IN, 0x3f8, 3), ERR_ARG, 'size');
  eq(invoke(c, TABLE, TABLE_MINT, com, 3, 0, 0, 0x3f8 | (9 << 16)), ERR_RANGE, 'cannot widen');
  ok('mint narrows Notify bits and ports');

  for (let k: usize = 0; k < 40; k++) {
    const at = c.mp + MP_BATCH + k * BATCH_SIZE;
    store<u32>(at, e, BATCH_HANDLE); store<u32>(at, k == 37 ? 99 : ENDPOINT_BUMP, BATCH_LABEL); store<u32>(at, 0xff, BATCH_STATUS);
  }
  invoke(c, e, ENDPOINT_EPOCH); const before = c.w0;
  eq(enter(c, 0, op(CALL_BATCH), 40, 0, 0), ERR_TYPE, 'batch stops at the first error'); eq(c.w0, 37, 'index');
  eq(load<u32>(c.mp + MP_BATCH + 36 * BATCH_SIZE, BATCH_STATUS), ERR_OK, 'status before');
  eq(load<u32>(c.mp + MP_BATCH + 37 * BATCH_SIZE, BATCH_STATUS), ERR_TYPE, 'status of the error');
  eq(load<u32>(c.mp + MP_BATCH + 38 * BATCH_SIZE, BATCH_STATUS), 0xff, 'nothing after it');
  invoke(c, e, ENDPOINT_EPOCH); eq(c.w0, before + 37, 'each entry once, across preemption points');
  eq(enter(c, 0, op(CALL_BATCH), 113, 0, 0), ERR_RANGE, 'too many');
  ok('batch');

  eq(invoke(c, u, UNTYPED_REVOKE), ERR_OK, 'revoke Untyped');
  eq(invoke(c, 3000, 1), ERR_STALE, 'its objects are gone');
  eq(invoke(c, u, UNTYPED_INFO), ERR_OK, 'info'); eq(c.w1, 65536, 'all memory is back');
  eq(invoke(c, TABLE, TABLE_DELETE, t), ERR_OK, 'delete Table'); eq(invoke(c, TABLE, TABLE_DELETE, readOnly), ERR_OK, 'and its copy');
  ok('Untyped: revoke gives memory back');
}
