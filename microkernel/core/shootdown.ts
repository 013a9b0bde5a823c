/**
 * Requests between CPUs: flush a root, reschedule, stop.
 *
 * A request is a bit in the target's `request` word, set atomically, followed by an IPI; the target clears bits when it has done the work.
 * TLB shootdown: the initiator changes the tables, then looks which CPUs have the root loaded. A CPU writes `cpu.cr3` before it loads CR3, so
 * either the initiator sees it there, or the load comes after the change (a CR3 load serialises). Initiators hold the structural lock, so
 * there is one at a time; CPUs that wait for that lock answer from their wait loop, all others from the interrupt. A CPU that is asked to flush
 * and does not run a Thread of that root leaves it for the kernel's own: a root that no Thread runs on any more is loaded nowhere after a flush.
 *
 * Kicks: whoever is made ready for another CPU sets its request bit at once, but the IPI is sent when this CPU has released the IPC lock. The
 * target needs that lock first of all; and where CPUs are threads of a host, waking one may well take this one's core away.
 */
import { lockOr, lockAnd, mmioRead32, pause, writeCr3, invlpg, cli, hlt } from 'kintsugi/x86';
import { Cpu, cpuAt, cpuCount, REQUEST_FLUSH, REQUEST_RESCHED, REQUEST_STOP } from '../arch/cpu';
import { sendIpi } from '../arch/lapic';
import { kernelRoot } from '../arch/paging';
import { nil } from './pointer';

function requestOf(c: Cpu): usize { return changetype<usize>(c) + offsetof<Cpu>('request'); }

export function requestCpu(cpu: Cpu, c: Cpu, bits: u32): void {
  lockOr(requestOf(c), bits);
  sendIpi(cpu, c.lapicId);
}
/** `c` has somebody to run. The IPI follows with `sendKicks`. */
export function kick(cpu: Cpu, c: Cpu): void {
  lockOr(requestOf(c), REQUEST_RESCHED);
  cpu.kicks |= 1 << c.index;
}
/** On every way out of the kernel and before every wait, IPC lock not held, interrupts off. */
export function sendKicks(cpu: Cpu): void {
  let kicks = cpu.kicks;
  if (kicks == 0) return;
  cpu.kicks = 0;
  while (kicks != 0) {
    sendIpi(cpu, cpuAt(ctz<u32>(kicks)).lapicId);
    kicks &= kicks - 1;
  }
}
/** What other CPUs asked of this one. Any lock state; RESCHED is left for the scheduler. */
export function answerRequests(cpu: Cpu): void {
  const r = mmioRead32(requestOf(cpu));
  if (r == 0) return;
  if ((r & REQUEST_STOP) != 0) { while (true) { cli(); hlt(); } }
  if ((r & REQUEST_FLUSH) != 0) {
    const t = cpu.current;
    if (nil(t) || t.cr3 != cpu.cr3) cpu.cr3 = kernelRoot;
    writeCr3(cpu.cr3);
    lockAnd(requestOf(cpu), ~REQUEST_FLUSH);
  }
  if ((r & REQUEST_RESCHED) != 0) {
    cpu.resched = 1;
    lockAnd(requestOf(cpu), ~REQUEST_RESCHED);
  }
}

/** Makes every CPU forget translations of the root at `root` or its window twin (root + 32). Structural lock held, IPC lock not. */
export function flushRoot(cpu: Cpu, root: u32): void {
  if ((cpu.cr3 & ~63) == root) writeCr3(cpu.cr3);
  if (cpuCount == 1) return;
  lockOr(requestOf(cpu), 0); // orders the table writes before the look at other CPUs
  for (let n: u32 = 0; n < cpuCount; n++) {
    const c = cpuAt(n);
    if (c.online == 0 || n == cpu.index) continue;
    if ((mmioRead32(changetype<usize>(c) + offsetof<Cpu>('cr3')) & ~63) == root) requestCpu(cpu, c, REQUEST_FLUSH);
  }
  sendKicks(cpu);
  for (let n: u32 = 0; n < cpuCount; n++) {
    const c = cpuAt(n);
    if (c.online == 0 || n == cpu.index) continue;
    while ((mmioRead32(requestOf(c)) & REQUEST_FLUSH) != 0) pause();
  }
}
/** One page of the root, here; everywhere else the whole root. */
export function flushPage(cpu: Cpu, root: u32, va: usize): void {
  if (cpuCount == 1) { if ((cpu.cr3 & ~63) == root) invlpg(va); return; }
  flushRoot(cpu, root);
}
/** Flushes and leaves a root that is going away and that no Thread runs on any more: afterwards no CPU has it loaded. */
export function abandonRoot(cpu: Cpu, root: u32): void {
  if ((cpu.cr3 & ~63) == root) { cpu.cr3 = kernelRoot; writeCr3(kernelRoot); }
  flushRoot(cpu, root);
}
