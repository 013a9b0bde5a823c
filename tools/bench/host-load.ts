/** What others did on the host while we measured: all busy time of /proc/stat less our own. */
import os from 'node:os';
import { readFileSync } from 'node:fs';

/** ns of CPU time since boot that was not idle, all cores together; NaN where there is no /proc. */
function busyNs(): number {
  try {
    const [user, nice, system, , , irq, softirq, steal] = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0]!.trim().split(/\s+/).slice(1).map(Number) as [number, number, number, number, number, number, number, number];
    return (user + nice + system + irq + softirq + steal) * 1e7; // USER_HZ is 100 wherever Linux runs Node
  } catch { return NaN; }
}
const selfNs = (): number => { const { user, system } = process.cpuUsage(); return (user + system) * 1000; };

export class HostLoad {
  readonly #busy = busyNs();
  readonly #self = selfNs();
  readonly #started = performance.now();
  #children = 0;
  /** CPU time of a child process, in pieces. */
  ours(ns: number): void { this.#children += ns; }
  /** Part of all cores that somebody else used since this object was made: 0 to 1. */
  others(): number {
    const share = (busyNs() - this.#busy - (selfNs() - this.#self) - this.#children) / ((performance.now() - this.#started) * 1e6 * os.cpus().length);
    return Number.isNaN(share) ? NaN : Math.round(Math.min(1, Math.max(0, share)) * 100) / 100;
  }
}
