/** What concerns the whole machine: switching it off in order, and asking the supervisor to end a server. */
import * as P from 'kintsugi/protocols';
import { regionVa, tellSupervisor } from '../lib/startup';
import { EINVAL, ESRCH } from './errno';
import { CONTROL_DRAIN, CONTROL_EXIT, fsCall, ttyControl } from './peers';

const CONSOLE: u32 = 0, CHANNEL: u32 = 1;

/** Disk, then the status for the host, then everything on the wires, then the supervisor. Runs in a fiber; the machine goes on until the supervisor acts. */
export function powerOff(status: u32): void {
  fsCall(P.FS_SYNC, 0, 0, 0, 0, 0, 0, 0);
  ttyControl(CHANNEL, CONTROL_EXIT, status);
  ttyControl(CONSOLE, CONTROL_DRAIN, 0);
  ttyControl(CHANNEL, CONTROL_DRAIN, 0);
  tellSupervisor(P.SUPERVISOR_BITS_POWER_OFF);
}

const LAST_KILLABLE: u32 = 12;
export function killServer(number: u32): i32 {
  const table = regionVa(P.REGION_SERVERS);
  if (number < 1 || number > LAST_KILLABLE) return -EINVAL; // root is the one that nobody restarts
  if (table != 0 && number >= load<u32>(table + P.SERVER_TABLE_COUNT)) return -ESRCH;
  tellSupervisor(1 << (P.SUPERVISOR_BITS_KILL + number));
  return 0;
}
