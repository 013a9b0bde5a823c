/**
 * COM1 without a driver: polled output for root and the supervisor, which must be able to speak when tty is dead.
 *
 * Ports are reached by `invoke` and `batch`, not by I/O permission: a Space with ports costs a bitmap at every switch to it, and these two speak
 * seldom. A 16550 with its FIFO on takes 16 bytes when LSR.THRE is set, so one batch carries 16. Never waits for ever: a transmitter that stays
 * busy for 10,000 looks loses the bytes. The uart driver shares the port; both sides look at THRE first.
 */
import { DEVICE_PORT_OUT } from 'kintsugi/abi';
import * as sys from './sys';
import { Text } from './fmt';

const COM1: u32 = 0x3f8;
const FCR: u32 = 2;
const LSR: u32 = 5;
const THRE: u32 = 0x20;
const FIFO: u32 = 16;
let device: u32 = 0;
let queued: u32 = 0;

/** `ports` = Device of all I/O ports. */
export function consoleInit(ports: u32): void {
  device = ports;
  sys.portOut(device, COM1 + FCR, 1, 1);
}
function flush(): void {
  if (queued == 0) return;
  for (let n: u32 = 0; n < 10000; n++) if (sys.portIn(device, COM1 + LSR, 1) != 0 || (sys.R.w0 & THRE) != 0) break;
  sys.batchRun();
  queued = 0;
}
function put(c: u32): void {
  if (queued == 0) sys.batchStart();
  sys.batchAdd(device, DEVICE_PORT_OUT, COM1, 1, c, 0, 0);
  if (++queued == FIFO) flush();
}
function consoleBytes(at: usize, bytes: u32): void {
  for (let n: u32 = 0; n < bytes; n++) {
    const c = load<u8>(at + n);
    if (c == 10) put(13);
    put(c);
  }
}
/** A line. */
export function print(t: Text): void {
  consoleBytes(t.at, t.length);
  put(13);
  put(10);
  flush();
}
