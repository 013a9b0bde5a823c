/**
 * The frame of a server: initialise everything from the startup page, then run fibers and wait for Notify bits for ever.
 *
 *   export function main(page: usize): void {
 *     serverInit(page);
 *     serve(ringWorker(0), handle, 4);
 *     ready(SERVERS_FS);
 *     serverLoop(onBits); // bits of NOTIFY_BITS other than rings: interrupts, alarm
 *   }
 *
 * A server that also receives calls (process) writes its own loop with the same parts: `runReady`, `nextDeadline`, `expireTimers`,
 * `ringDispatch` around `sys.recv`.
 */
import * as sys from './sys';
import { startupInit, ownNotify } from './startup';
import { logInit } from './log';
import { allocInit } from './alloc';
import { fibersInit, runReady, nextDeadline, expireTimers } from './fiber';
import { ringDispatch } from './ring';
import { scrub, scrubInit } from './scrub';
import { ERR_OK } from 'kintsugi/abi';

export function serverInit(page: usize): void {
  startupInit(page);
  scrubInit(page);
  logInit();
  allocInit();
  fibersInit();
}
/** Never returns. `onBits` gets every delivery, after the rings were served. */
export function serverLoop(onBits: (bits: u32) => void): void {
  while (true) {
    runReady();
    scrub(false);
    if (sys.wait(ownNotify, 0xffffffff, nextDeadline()) == ERR_OK) {
      const bits = sys.pending();
      ringDispatch(bits);
      onBits(bits);
    }
    expireTimers();
  }
}
export function noBits(bits: u32): void {}
