/**
 * Requests between CPUs: flush a root, reschedule, stop.
 *
 * A request is a bit in the target's `request` word, set atomically, followed by an IPI; the target clears bits when it has done the work.
 * TLB shootdown: the initiator changes the tables, then looks which CPUs have the root loaded. A CPU writes `cpu.cr3` before it loads CR3, so
 * either the initiator sees it there, or the load comes after the change (a CR3 load serialises). Initiators hold the structural lock, so
 * there is one at a time; CPUs that wait for that lock answer from their wait loop, all others from the interrupt.
 */
import { lockOr, lockAnd, mmioRead32, pause, writeCr3, readCr3, invlpg, cli, hlt } from 'kintsugi/x86';
import { Cpu, cpuAt, cpuCount, REQUEST_FLUSH, REQUEST_RESCHED, REQUEST_STOP } from '../arch/cpu';
import { sendIpi } from '../arch/lapic';
import { kernelRoot } from '../arch/paging';

function requestOf(c: Cpu): usize { return changetype<usize>(c) + offsetof<Cpu>('request'); }

export function requestCpu(c: Cpu, bits: u32): void {
  lockOr(requestOf(c), bits);
  sendIpi(c.lapicId);
}
/** What other CPUs asked of this one. Any lock state; RESCHED is left for the scheduler. */
export function answerRequests(cpu: Cpu): void {
  const r = mmioRead32(requestOf(cpu));
  if (r == 0) return;
  if ((r & REQUEST_STOP) != 0) { while (true) { cli(); hlt(); } }
  if ((r & REQUEST_FLUSH) != 0) {
    writeCr3(readCr3());
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
    if ((mmioRead32(changetype<usize>(c) + offsetof<Cpu>('cr3')) & ~63) == root) requestCpu(c, REQUEST_FLUSH);
  }
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
/** Leaves a root that is going away. Idle CPUs that still have it loaded are told to leave it too: they only need the kernel half. */
export function abandonRoot(cpu: Cpu, root: u32): void {
  for (let n: u32 = 0; n < cpuCount; n++) {
    const c = cpuAt(n);
    if ((mmioRead32(changetype<usize>(c) + offsetof<Cpu>('cr3')) & ~63) != root) continue;
    if (n == cpu.index) { cpu.cr3 = kernelRoot; writeCr3(kernelRoot); }
  }
}
