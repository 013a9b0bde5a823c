/**
 * Path MTU (RFC 1191): what ICMP "fragmentation needed" said of a destination, for ten minutes. Only messages that quote something we really have under way get here
 * (RFC 5927), and never below MINIMUM: a forged small value costs throughput, not the connection.
 */
import { C_PMTU_EVICTED, C_PMTU_TINY, count } from './counters';
import { now } from './host';

const ENTRIES: u32 = 32;
const KEEP_US: u64 = 600_000_000;
export const MINIMUM: u32 = 552;
@unmanaged @final class Entry { address: u32; mtu: u32; until: u64 }
const TABLE: usize = memory.data(16 * 32, 8);
let used: u32 = 0;
function entry(n: u32): Entry { return changetype<Entry>(TABLE + (<usize>n << 4)); }
export function pmtuInit(): void { used = 0; }
export function pmtuTo(a: u32, mtu: u32): u32 {
  for (let n: u32 = 0; n < used; n++) {
    const e = entry(n);
    if (e.address == a && e.until > now) return e.mtu < mtu ? e.mtu : mtu;
  }
  return mtu;
}
/** `said` = next-hop MTU of the message, 0 = an old router that names none; `sent` = total length of what did not fit. True: smaller than what was believed. */
export function pmtuLearn(a: u32, said: u32, sent: u32, mtu: u32): bool {
  let value = said;
  if (value == 0) value = sent > 1492 ? 1492 : sent > 1006 ? 1006 : sent > 576 ? 576 : MINIMUM; // RFC 1191, 7.1: the next plateau
  if (value < MINIMUM) { count(C_PMTU_TINY); value = MINIMUM; }
  if (value >= pmtuTo(a, mtu)) return false;
  let best: Entry = entry(0);
  let n: u32 = 0;
  for (; n < used; n++) {
    const e = entry(n);
    if (e.address == a || e.until <= now) { best = e; break; }
    if (e.until < best.until) best = e;
  }
  if (n == used && used < ENTRIES) best = entry(used++);
  else if (n == used) count(C_PMTU_EVICTED);
  best.address = a; best.mtu = value; best.until = now + KEEP_US;
  return true;
}
