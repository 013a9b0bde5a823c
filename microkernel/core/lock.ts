/**
 * The two locks of the kernel, in this order:
 *
 *   structural   who owns what: slots and their tree, Untyped memory, page tables, object configuration. Held over a whole step of `invoke`
 *                (at most 256 pages or 64 slots). A CPU that waits for it answers shootdowns meanwhile, and gives up (the call restarts later)
 *                when its current Thread is to be stopped: so its holder may wait for other CPUs.
 *   IPC          who waits for whom: Thread states, endpoint queues, Replies, Notifies, run queues, timers. Held for one transition. Its
 *                holder waits for nobody.
 *
 * The IPC lock is the word `ipcLock` of the stubs, because the fast path takes it too. Interrupts are off whenever a lock is held. Test-and-set: FIFO locks collapse when virtual CPUs outnumber the host's cores.
 */
import { atomicXchg, mmioRead32, mmioWrite32, pause, barrier, symbol } from 'kintsugi/x86';
import { Cpu } from '../arch/cpu';
import { answerRequests, sendKicks } from './shootdown';
import { nil } from './pointer';
import { F_SUSPENDED } from './state';

const STRUCTURAL_LOCK: usize = memory.data(64, 16);

export function lockIpc(): void {
  while (atomicXchg(symbol('ipcLock'), 1) != 0) {
    while (mmioRead32(symbol('ipcLock')) != 0) pause();
  }
}
export function unlockIpc(): void { barrier(); mmioWrite32(symbol('ipcLock'), 0); }

/** False: the current Thread is to be stopped; give up and restart the call when it runs again. */
export function lockStructural(cpu: Cpu): bool {
  while (atomicXchg(STRUCTURAL_LOCK, 1) != 0) {
    sendKicks(cpu);
    while (mmioRead32(STRUCTURAL_LOCK) != 0) {
      answerRequests(cpu);
      const t = cpu.current;
      if (!nil(t) && (t.flags & F_SUSPENDED) != 0) return false;
      pause();
    }
  }
  return true;
}
export function unlockStructural(): void { barrier(); mmioWrite32(STRUCTURAL_LOCK, 0); }
