/**
 * Exceptions and interrupts.
 *
 * From ring 3 the CPU and the stub have filled the current Thread's frame; then every exception is the Thread's own affair (core/fault.ts), except #NM.
 * From ring 0 an interrupt can only come from the idle loop or a preemption point; an exception there is a kernel bug and ends the machine with a
 * report (arch/panic.ts). The one exception to that: a #DB at the SYSENTER entry is ring 3's trap flag, which SYSENTER does not clear.
 */
import { readCr2, symbol } from 'kintsugi/x86';
import { Cpu, thisCpu } from './cpu';
import { Thread } from '../object/thread';
import { faultCurrent, syscallCurrent } from '../core/fault';
import { leave, replenish } from '../core/schedule';
import { deviceInterrupt } from '../object/device';
import { alarmFired } from '../object/notify';
import { cancel, finishBlocked } from '../core/ipc';
import { timerOwner } from '../object/thread';
import { expired, TIMER_THREAD, TIMER_ALARM } from '../core/timer';
import { lockIpc, unlockIpc } from '../core/lock';
import { answerRequests } from '../core/shootdown';
import { enterFpu } from './extras';
import { stubReadDr6 } from './stubs';
import { VECTOR_LINE0, VECTOR_TIMER, VECTOR_IPI, VECTOR_SPURIOUS, endOfInterrupt } from './lapic';
import { lineCount } from './ioapic';
import { now } from './clock';
import { panicFrame } from './panic';
import { nil } from '../core/pointer';
import { ERR_OK, ERR_TIMEOUT, THREAD_STATE_WAITING } from 'kintsugi/abi';
import { NEVER } from '../core/state';

/** Ring 3 was interrupted or faulted: the frame is in the current Thread. */
export function userTrap(): void {
  const cpu = thisCpu();
  const t = cpu.current;
  t.iret = 1;
  const vector = t.vector;
  if (vector >= 0x30) {
    if (vector == 0x80) {
      lockIpc();
      syscallCurrent(cpu, t);
      unlockIpc();
    } else interrupt(cpu, vector);
  } else if (vector == 7 && cpu.fpuLive == 0) {
    lockIpc();
    enterFpu(cpu, t);
    unlockIpc();
  } else {
    if (vector == 14) t.cr2 = readCr2();
    if (vector == 1) t.cr2 = stubReadDr6();
    lockIpc();
    faultCurrent(cpu, t, vector, t.error);
    unlockIpc();
  }
  leave(cpu);
}

/** Ring 0 was interrupted: idle, a preemption point, or a bug. `frame`: EDI..EAX, vector, error, EIP, CS, EFLAGS. */
export function kernelTrap(frame: usize): void {
  const vector = load<u32>(frame, 32);
  if (vector >= 0x30) { interrupt(thisCpu(), vector); return; }
  if (vector == 1 && load<u32>(frame, 40) == <u32>symbol('sysenterEntry')) {
    store<u32>(frame, load<u32>(frame, 48) & ~0x100, 48);
    return;
  }
  panicFrame(frame);
}

function interrupt(cpu: Cpu, vector: u32): void {
  if (vector == VECTOR_SPURIOUS) return;
  lockIpc();
  if (vector == VECTOR_TIMER) timerInterrupt(cpu);
  else if (vector == VECTOR_IPI) answerRequests(cpu);
  else if (vector - VECTOR_LINE0 < lineCount) deviceInterrupt(cpu, vector - VECTOR_LINE0);
  endOfInterrupt();
  unlockIpc();
}
function timerInterrupt(cpu: Cpu): void {
  cpu.armed = NEVER;
  cpu.resched = 1;
  const time = now();
  while (true) {
    const timer = expired(cpu, time);
    if (nil(timer)) return;
    if (timer.kind == TIMER_THREAD) {
      const t = timerOwner(timer);
      const sleeping = t.state == THREAD_STATE_WAITING && nil(t.waiting);
      cancel(t);
      finishBlocked(t, sleeping ? ERR_OK : ERR_TIMEOUT);
    } else if (timer.kind == TIMER_ALARM) alarmFired(cpu, timer);
    else replenish(cpu, timer);
  }
}
