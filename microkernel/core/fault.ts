/**
 * Faults: an exception, a deliberate `fault` or a budget overrun becomes a call on the Thread's fault endpoint. The answer resumes the Thread
 * (label 0), after the handler has mended what was wrong, or leaves it stopped (label 1). Without an endpoint the Thread is suspended and the console
 * says so. IPC lock held.
 */
import { FAULT_VECTOR_DELIBERATE } from 'kintsugi/abi';
import { Thread } from '../object/thread';
import { sendRequest } from './ipc';
import { Cpu } from '../arch/cpu';
import { nil } from './pointer';
import { F_SUSPENDED, F_WINDOW, KIND_FAULT, KIND_SYSCALL } from './state';
import { print, printDec, printHex, newline } from '../arch/console';

/** The running Thread stops with a fault message. */
export function faultCurrent(cpu: Cpu, t: Thread, vector: u32, code: u32): void {
  t.vector = vector;
  t.error = code;
  closeWindow(t);
  const e = t.faultEndpoint;
  if (nil(e)) {
    t.flags |= F_SUSPENDED;
    report(t);
    return;
  }
  t.kind = KIND_FAULT;
  t.sendBadge = t.faultBadge;
  t.deliveries = 0;
  t.seq++;
  sendRequest(cpu, t, e);
}
/** INT 0x80 of the running Thread: a call on its syscall endpoint, or a fault (#GP of the gate) when it has none. */
export function syscallCurrent(cpu: Cpu, t: Thread): void {
  const e = t.syscallEndpoint;
  if (nil(e)) {
    t.eip -= 2;
    faultCurrent(cpu, t, 13, 0x80 * 8 + 2);
    return;
  }
  closeWindow(t);
  t.kind = KIND_SYSCALL;
  t.sendBadge = t.syscallBadge;
  t.deliveries = 0;
  t.seq++;
  sendRequest(cpu, t, e);
}
/** Back to the first root; it is loaded when the Thread goes on. */
export function closeWindow(t: Thread): void {
  if ((t.flags & F_WINDOW) == 0) return;
  t.flags &= ~F_WINDOW;
  t.cr3 = t.space.root;
}
function report(t: Thread): void {
  print('thread '); printDec(t.serial);
  print(' stopped, no fault handler: vector '); printDec(t.vector);
  print(' error '); printHex(t.error);
  print(' eip '); printHex(t.eip);
  print(' cr2 '); printHex(t.cr2);
  if (t.vector == FAULT_VECTOR_DELIBERATE) { print(' words '); printHex(t.esi); print(' '); printHex(t.edi); print(' '); printHex(t.ebp); }
  newline();
}
