/** Names of Thread states for people (microkernel/abi THREAD_STATE). */
import * as A from 'kintsugi/abi';

export function stateName(state: u32): string {
  switch (state) {
    case A.THREAD_STATE_READY: return 'ready';
    case A.THREAD_STATE_RUNNING: return 'running';
    case A.THREAD_STATE_CALLING: return 'calling';
    case A.THREAD_STATE_OWED: return 'blocked';
    case A.THREAD_STATE_RECEIVING: return 'serving';
    case A.THREAD_STATE_WAITING: return 'waiting';
    case A.THREAD_STATE_FAULTED: return 'faulted';
    case A.THREAD_STATE_SUSPENDED: return 'stopped';
  }
  return 'inactive';
}
