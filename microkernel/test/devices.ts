/** Interrupt lines and I/O ports. The line under test is the PIT's (ISA IRQ 0, GSI 2). */
import { ERR_OK, ERR_TYPE, ERR_RIGHTS, ERR_HANDLE, ERR_TIMEOUT, ERR_RANGE, OBJ_NOTIFY, DEVICE_BIND, DEVICE_ACK, DEVICE_MASK, DEVICE_RESET, DEVICE_INFO, DEVICE_PORT_OUT, DEVICE_PORT_IN, DEVICE_ALLOW_DMA, BOOTINFO_VA, BOOTINFO_FIELDS_IRQ_FIRST, BOOTINFO_FIELDS_MMIO_FIRST,
  BOOTINFO_FIELDS_IRQ_COUNT, BOOTINFO_HANDLES_IO_PORTS, SPACE_SET_PORTS, TABLE_COPY, TABLE_MINT, UNTYPED_INFO, UNTYPED_RETYPE, OBJ_FRAMES, OBJ_THREAD, FRAMES_PADDR, OBJ_ENDPOINT, OBJ_REPLY } from 'kintsugi/abi';
import { inb, codeAddr } from 'kintsugi/x86';
import { Ctx, invoke, eq, ok, errArg, make, TABLE, SPACE, notify, poll, wait, waitUntil, clock, sleep, thread, giveSched, resume, recv, answer } from './harness';

function oneShot(c: Ctx, ticks: u32): void {
  const p: u32 = BOOTINFO_HANDLES_IO_PORTS;
  invoke(c, p, DEVICE_PORT_OUT, 0x43, 1, 0x30);
  invoke(c, p, DEVICE_PORT_OUT, 0x40, 1, ticks & 255);
  invoke(c, p, DEVICE_PORT_OUT, 0x40, 1, ticks >> 8);
}
function prober(c: Ctx): void { c.b = inb(c.a); c.d = 1; c.b = inb(c.c); c.d = 2; while (true) sleep(c, 1000000000); }

export function devices(c: Ctx): void {
  const first = load<u32>(BOOTINFO_VA, BOOTINFO_FIELDS_IRQ_FIRST);
  eq(load<u32>(BOOTINFO_VA, BOOTINFO_FIELDS_IRQ_COUNT), 24, 'lines');
  const pit = first + 2;
  eq(invoke(c, pit, DEVICE_INFO), ERR_OK, 'info'); eq(c.w0, 1, 'kind'); eq(c.w1, 2, 'line');
  const n = make(OBJ_NOTIFY);
  eq(invoke(c, pit, DEVICE_BIND, 0, 1), ERR_HANDLE, 'bind to nothing'); eq(errArg(c), 2, 'argument');
  eq(invoke(c, pit, DEVICE_PORT_IN, 0x61, 1), ERR_TYPE, 'a line has no ports');
  eq(invoke(c, pit, DEVICE_BIND, n, 4), ERR_OK, 'bind');
  poll(c, n, 4);
  invoke(c, pit, DEVICE_ACK);
  oneShot(c, 1193); // 1 ms
  eq(waitUntil(c, n, 4, clock(c) + 500000000), ERR_OK, 'interrupt');
  oneShot(c, 1193);
  sleep(c, 5000000);
  eq(poll(c, n, 4), ERR_TIMEOUT, 'masked until it is acknowledged');
  eq(invoke(c, pit, DEVICE_ACK), ERR_OK, 'ack');
  eq(poll(c, n, 4), ERR_OK, 'the latched one fires at once');
  eq(invoke(c, TABLE, TABLE_COPY, pit, 1, 0, 0), ERR_OK, 'without own'); const use = c.w0;
  eq(invoke(c, use, DEVICE_RESET), ERR_RIGHTS, 'reset needs own'); eq(invoke(c, use, DEVICE_ACK), ERR_OK, 'ack does not');
  eq(invoke(c, pit, DEVICE_RESET), ERR_OK, 'reset');
  oneShot(c, 1193);
  sleep(c, 5000000);
  eq(poll(c, n, 4), ERR_TIMEOUT, 'unbound');
  ok('interrupts: bind, mask on delivery, ack, latch, reset');

  const e = make(OBJ_ENDPOINT), r = make(OBJ_REPLY);
  const t = thread(codeAddr(prober.index), 40, 0, e);
  t.a = 0x3fd; t.c = 0x3f7;
  giveSched(t); resume(t);
  eq(recv(c, e, r), ERR_OK, 'ring 3 has no ports'); eq(c.tag & 0xffff, 13, '#GP');
  eq(invoke(c, TABLE, TABLE_MINT, BOOTINFO_HANDLES_IO_PORTS, 3, 0, 0, 0x3f8 | (8 << 16)), ERR_OK, 'mint'); const com = c.w0;
  eq(invoke(c, SPACE, SPACE_SET_PORTS, com), ERR_OK, 'set_ports');
  eq(answer(c, r, 0, 0, 0, 0), ERR_OK, 'try again');
  eq(recv(c, e, r), ERR_OK, 'the port below'); eq(t.d, 1, 'the first one worked'); eq(c.tag & 0xffff, 13, '#GP');
  eq(answer(c, r, 1, 0, 0, 0), ERR_OK, 'stop');
  ok('I/O ports in ring 3');

  const mmio = load<u32>(BOOTINFO_VA, BOOTINFO_FIELDS_MMIO_FIRST);
  eq(invoke(c, mmio, UNTYPED_INFO), ERR_OK, 'info'); eq(c.w2, 0xe0000, 'first page');
  eq(invoke(c, mmio, UNTYPED_RETYPE, OBJ_THREAD, 0, 1), ERR_TYPE, 'only Frames');
  eq(invoke(c, mmio, UNTYPED_RETYPE, OBJ_FRAMES, 13, 2), ERR_OK, 'Frames'); const f = c.w0;
  eq(invoke(c, f + 1, FRAMES_PADDR), ERR_OK, 'paddr'); eq(c.w0, 0xe0002000, 'in order');
  ok('device memory');
}
