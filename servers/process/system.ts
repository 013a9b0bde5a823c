/** What concerns the whole machine: switching it off in order, and asking the supervisor to end a server. */
import * as P from 'kintsugi/protocols';
import { regionVa, tellSupervisor } from '../lib/startup';
import { EINVAL, ESRCH } from './errno';
import { sleep } from '../lib/fiber';
import { CONTROL_DRAIN, CONTROL_EXIT, fsCall, ttyControl } from './peers';

const CONSOLE: u32 = 0, CHANNEL: u32 = 1;

const SYNC_TRIES: u32 = 3;
const POWER_OFF_TRIES: u32 = 50;
const POWER_OFF_PATIENCE_NS: u64 = 100_000_000;

/** Disk, then the status for the host, then everything on the wires, then the supervisor. Runs in a fiber; the machine goes on until the supervisor acts. */
export function powerOff(status: u32): void {
  // A write that failed left its blocks dirty: the disk gets another chance.
  for (let n: u32 = 0; n < SYNC_TRIES; n++) if (fsCall(P.FS_SYNC, 0, 0, 0, 0, 0, 0, 0) == 0) break;
  ttyControl(CHANNEL, CONTROL_EXIT, status);
  ttyControl(CONSOLE, CONTROL_DRAIN, 0);
  ttyControl(CHANNEL, CONTROL_DRAIN, 0);
  // The supervisor may die with the request in its hands; its successor does not know of it.
  for (let n: u32 = 0; n < POWER_OFF_TRIES; n++) {
    tellSupervisor(P.SUPERVISOR_BITS_POWER_OFF);
    sleep(POWER_OFF_PATIENCE_NS);
  }
}

const LAST_KILLABLE: u32 = 12;
export function killServer(number: u32): i32 {
  const table = regionVa(P.REGION_SERVERS);
  if (number < 1 || number > LAST_KILLABLE) return -EINVAL; // root is the one that nobody restarts
  if (table != 0 && number >= load<u32>(table + P.SERVER_TABLE_COUNT)) return -ESRCH;
  tellSupervisor(1 << (P.SUPERVISOR_BITS_KILL + number));
  return 0;
}
