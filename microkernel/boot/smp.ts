/**
 * The other CPUs: INIT, then two STARTUP interrupts (Intel SDM 3A 8.4.4) to a trampoline copied to 0x8000. One after the other, so that one page
 * of parameters serves all. A CPU that does not answer in 200 ms is left out, with a log line.
 */
import { symbol, mmioRead32, pause } from 'kintsugi/x86';
import { Cpu, cpuAt, cpuCount, thisCpu } from '../arch/cpu';
import { virt, phys, setEntry, kernelPd, kernelRoot, P, W, LARGE } from '../arch/paging';
import { lapicInit, timerOn, sendInit, sendStartup } from '../arch/lapic';
import { descriptorsInit } from '../arch/descriptors';
import { now } from '../arch/clock';
import { leave } from '../core/schedule';
import { stubResume } from '../arch/stubs';
import { earlyPage } from './early';
import { log, logDec, logLine } from '../arch/console';

const TRAMPOLINE: u32 = 0x8000;
/** Parameters at the end of the page: root, stack. */
const PARAMETERS: u32 = 0x8f00;

function spin(ns: u64): void {
  const end = now() + ns;
  while (now() < end) pause();
}
function onlineOf(c: Cpu): usize { return changetype<usize>(c) + offsetof<Cpu>('online'); }

export function startOthers(): u32 {
  let started: u32 = 1;
  if (cpuCount == 1) return 1;
  const self = thisCpu();
  const low = symbol('trampoline'), high = symbol('trampolineEnd');
  memory.copy(virt(TRAMPOLINE), low, high - low);
  const root = earlyPage(), pd = earlyPage();
  setEntry(pd, 0, <u64>(P | W | LARGE)); // identity for the first 2 MiB, executable while the trampoline runs
  setEntry(root, 0, <u64>phys(pd) | <u64>P);
  setEntry(root, 3, <u64>phys(kernelPd) | <u64>P);
  store<u32>(virt(PARAMETERS), phys(root));
  for (let n: u32 = 1; n < cpuCount; n++) {
    const c = cpuAt(n);
    store<u32>(virt(PARAMETERS), <u32>changetype<usize>(c), 4);
    sendInit(self, c.lapicId);
    spin(1000000);
    for (let k = 0; k < 2 && mmioRead32(onlineOf(c)) == 0; k++) {
      sendStartup(self, c.lapicId, TRAMPOLINE >> 12);
      const end = now() + (k == 0 ? 20000000 : 200000000);
      while (mmioRead32(onlineOf(c)) == 0 && now() < end) pause();
    }
    if (mmioRead32(onlineOf(c)) != 0) started++;
    else { log('cpu '); logDec(n); log(' does not start'); logLine(); }
  }
  return started;
}

/** From the trampoline, on the stack of its own CPU. */
export function apMain(): void {
  const cpu = thisCpu();
  cpu.cr3 = kernelRoot;
  lapicInit();
  descriptorsInit(cpu);
  timerOn();
  cpu.chargedTo = now();
  cpu.online = 1;
  leave(cpu);
  stubResume(changetype<usize>(cpu));
}
