/**
 * Neighbours (RFC 826, RFC 1122 2.3.2): address -> MAC, for IPv4 by ARP.
 *
 *   asked   request sent, up to PENDING packets wait; asked again each second, after ASKS times the packets are dropped (EHOSTUNREACH)
 *   known   for REACHABLE_US; then `old`: still used, and asked about (unicast first) when used
 *
 * Spoofing: a message changes an entry only if it answers what was asked or confirms what is known. An entry that is known is not given another MAC by anything
 * unasked: the message is counted, and the old neighbour is asked. Only if it stays silent (four requests, one a second) is the entry forgotten and asked for anew.
 * Requests of others enter their sender only if they are for us, and never replace, neither an entry of that address nor one that we have sent to. Gratuitous ARP enters
 * nothing.
 *
 * Known entries lie in the state, with a check each (a torn entry is an unknown neighbour); packets that wait do not.
 */
import { checksum } from '../lib/checksum';
import { copyAddress, get16, isV4, put16, setV4, v4, v4Invalid, v4Multicast } from './address';
import { broadcastV4, eth, isGateway, isUp, macOf, onLink, ownV4 } from './config';
import { C_ARP_CONFLICT, C_ARP_EVICTED, C_ARP_FORMAT, C_ARP_FULL, C_ARP_IN, C_ARP_NOT_ASKED, C_ARP_PENDING_DROPPED, C_ARP_SHORT, C_ARP_SOURCE, C_ARP_SPOOF, C_ARP_TIMEOUT, count } from './counters';
import { TYPE_ARP, TYPE_IPV4, ethernetHeader, macCopy, macGroup, macSame } from './ethernet';
import { now, reserve, writable } from './host';
import { hostUnreachable } from './icmp';
import { ETHERNET_BYTES, Packet, drop, enqueue, take } from './packet';
import { neighboursAt } from './state';
import { NEVER, TIMER_ARP, Timer, armAtMost, timerInit } from './timer';

export const NEIGHBOURS: u32 = 64;
export const ASKED: u32 = 1;
export const KNOWN: u32 = 2;
export const OLD: u32 = 3;
const ASKS: u32 = 3;
const ASK_US: u64 = 1_000_000;
const REACHABLE_US: u64 = 60_000_000;
const FORGET_US: u64 = 600_000_000;
const PENDING: u32 = 3;
const ENTRY: usize = 48; // in the state: {check, state, address 16, mac 8, since u64}

@unmanaged @final export class Neighbour {
  address: u64; address2: u64; mac0: u32; mac1: u32; state: u32; asks: u32; since: u64 /* known since */; askAt: u64; usedAt: u64;
  pending: Packet; pendings: u32; doubted: bool; // a claim against it came
  sentTo: bool; // we sent to it, so nobody unasked takes its place
}
let table: usize = 0;
let saved: bool = true;
const timer: Timer = changetype<Timer>(memory.data(offsetof<Timer>(), 8));
const BROADCAST: usize = memory.data<u8>([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
const NONE: Packet = changetype<Packet>(0);
const GROUP_MAC: usize = memory.data(8, 4);

export function neighbour(n: u32): Neighbour { return changetype<Neighbour>(table + <usize>n * offsetof<Neighbour>()); }
function macAt(n: Neighbour): usize { return changetype<usize>(n) + offsetof<Neighbour>('mac0'); }
export function arpInit(): void {
  table = reserve(<usize>NEIGHBOURS * offsetof<Neighbour>());
  timerInit(timer, TIMER_ARP, 0);
  saved = true;
}
export function arpPrivateBytes(): u32 { return NEIGHBOURS * <u32>offsetof<Neighbour>() + 64; }
export function arpAttach(): void {
  for (let k: u32 = 0; k < NEIGHBOURS; k++) {
    const e = neighboursAt() + <usize>k * ENTRY, state = load<u32>(e, 4);
    if ((state != KNOWN && state != OLD) || load<u32>(e) != checksum(e + 4, 40) || !isV4(e + 8) || load<u64>(e, 32) > now) continue;
    const n = neighbour(k);
    copyAddress(changetype<usize>(n), e + 8); macCopy(macAt(n), e + 24);
    n.state = OLD; n.since = load<u64>(e, 32); n.usedAt = now; n.askAt = NEVER; n.sentTo = true;
  }
}
/** In the window: entries that changed since the last commit. */
export function arpCommit(): void {
  if (saved) return;
  saved = true;
  writable();
  for (let k: u32 = 0; k < NEIGHBOURS; k++) {
    const n = neighbour(k), e = neighboursAt() + <usize>k * ENTRY;
    if (n.state != KNOWN && n.state != OLD) { if (load<u32>(e, 4) != 0) store<u32>(e, 0, 4); continue; }
    store<u32>(e, n.state, 4); copyAddress(e + 8, changetype<usize>(n)); store<u64>(e, 0, 24); macCopy(e + 24, macAt(n)); store<u64>(e, n.since, 32); store<u32>(e, 0, 40);
    store<u32>(e, checksum(e + 4, 40));
  }
}
export function arpPending(): bool { return !saved; }

function find(a: u32): Neighbour {
  for (let k: u32 = 0; k < NEIGHBOURS; k++) {
    const n = neighbour(k);
    if (n.state != 0 && v4(changetype<usize>(n)) == a) return n;
  }
  return changetype<Neighbour>(0);
}
// The one used last: almost always the gateway.
let lastA: u32 = 0;
let last: Neighbour = changetype<Neighbour>(0);
function lookup(a: u32): Neighbour {
  if (lastA == a && changetype<usize>(last) != 0 && last.state != 0 && v4(changetype<usize>(last)) == a) return last;
  const n = find(a);
  if (changetype<usize>(n) != 0) { lastA = a; last = n; }
  return n;
}
/**
 * A free entry, or the one that was not used longest and is not waited for. Somebody who is not `wanted` (he asked for us) never takes the place of one that we have
 * sent to: else a flood of requests would drive out who we
 * talk to, and the next answer would say who that is. The gateway gives way to nobody. Null: no place.
 */
function fresh(a: u32, wanted: bool): Neighbour {
  let best = changetype<Neighbour>(0);
  for (let k: u32 = 0; k < NEIGHBOURS; k++) {
    const n = neighbour(k);
    if (n.state == 0) { best = n; break; }
    if ((n.sentTo && !wanted) || isGateway(v4(changetype<usize>(n)))) continue;
    if (changetype<usize>(best) == 0 || (best.state == ASKED && n.state != ASKED) || (n.usedAt < best.usedAt && (n.state == ASKED) == (best.state == ASKED))) best = n;
  }
  if (changetype<usize>(best) == 0) return best;
  if (best.state != 0) { count(C_ARP_EVICTED); forget(best); }
  memory.fill(changetype<usize>(best), 0, offsetof<Neighbour>());
  setV4(changetype<usize>(best), a);
  best.askAt = NEVER; best.usedAt = now;
  return best;
}
function forget(n: Neighbour): void {
  while (n.pending != NONE) { const p = n.pending; n.pending = p.next; count(C_ARP_PENDING_DROPPED); drop(p); }
  if (n.state >= KNOWN) saved = false;
  n.state = 0; n.pendings = 0;
}

function message(to: usize, operation: u32, targetMac: usize, target: u32): void {
  const p = take();
  if (p == NONE) return;
  const at = p.frame + ETHERNET_BYTES;
  ethernetHeader(p, to, TYPE_ARP);
  put16(at, 1); put16(at + 2, TYPE_IPV4); store<u8>(at, 6, 4); store<u8>(at, 4, 5); put16(at + 6, operation);
  macCopy(at + 8, macOf()); store<u32>(at, ownV4(), 14);
  macCopy(at + 18, targetMac); store<u32>(at, target, 24);
  p.bytes = ETHERNET_BYTES + 28;
  enqueue(p);
}
function ask(n: Neighbour, unicast: bool): void {
  n.asks++;
  n.askAt = now + ASK_US;
  armAtMost(timer, n.askAt);
  message(unicast ? macAt(n) : BROADCAST, 1, ZERO, v4(changetype<usize>(n)));
}
const ZERO: usize = memory.data(8, 4);

/** Sends an IP packet to a neighbour, now or when it is known. The packet is no longer the caller's. */
export function neighbourSend(p: Packet, hop: u32): void {
  if (hop == 0xffffffff || hop == broadcastV4()) { ethernetHeader(p, BROADCAST, TYPE_IPV4); enqueue(p); return; }
  if (v4Multicast(hop)) { // RFC 1112, 6.4
    store<u32>(GROUP_MAC, 0x005e0001 | (hop & 0x7f00) << 16); store<u16>(GROUP_MAC, <u16>(hop >> 16), 4);
    ethernetHeader(p, GROUP_MAC, TYPE_IPV4);
    enqueue(p);
    return;
  }
  let n = lookup(hop);
  if (changetype<usize>(n) == 0) { n = fresh(hop, true); n.state = ASKED; ask(n, false); }
  n.usedAt = now; n.sentTo = true;
  if (n.state == ASKED) {
    if (n.pendings == PENDING) { const old = n.pending; n.pending = old.next; n.pendings--; count(C_ARP_PENDING_DROPPED); drop(old); }
    p.next = NONE; p.hop = hop;
    if (n.pending == NONE) n.pending = p;
    else {
      let q = n.pending;
      while (q.next != NONE) q = q.next;
      q.next = p;
    }
    n.pendings++;
    return;
  }
  if (n.state == KNOWN && now - n.since > REACHABLE_US) { n.state = OLD; n.asks = 0; saved = false; }
  if (n.state == OLD && n.askAt == NEVER) ask(n, true);
  ethernetHeader(p, macAt(n), TYPE_IPV4);
  enqueue(p);
}
function confirmed(n: Neighbour, mac: usize): void {
  const renew = n.state != KNOWN || !macSame(macAt(n), mac) || now - n.since > REACHABLE_US >> 1;
  macCopy(macAt(n), mac);
  n.asks = 0; n.askAt = NEVER; n.doubted = false;
  n.state = KNOWN;
  if (renew) { n.since = now; saved = false; }
  while (n.pending != NONE) {
    const p = n.pending;
    n.pending = p.next;
    ethernetHeader(p, mac, TYPE_IPV4);
    enqueue(p);
  }
  n.pendings = 0;
}
/** TCP heard something new from behind this neighbour: no need to ask (RFC 1122, 2.3.2.1). */
export function arpConfirm(hop: u32): void {
  if (lastA != hop || changetype<usize>(last) == 0 || last.state == ASKED || last.doubted) return;
  if (now - last.since > REACHABLE_US >> 1 && v4(changetype<usize>(last)) == hop && last.state != 0) { last.since = now; last.askAt = NEVER; last.asks = 0; last.state = KNOWN; saved = false; }
}

/** `mac` says that it is `sender`, in an answer or in a request (for us or not). The counter of what became of it. */
function claim(sender: u32, mac: usize, answer: bool, toUs: bool): u32 {
  const n = find(sender);
  if (changetype<usize>(n) == 0) {
    if (answer) return C_ARP_NOT_ASKED;
    if (!toUs) return C_ARP_IN;
    const made = fresh(sender, false); // who asks for us will be spoken to
    if (changetype<usize>(made) == 0) return C_ARP_FULL;
    confirmed(made, mac);
    return C_ARP_IN;
  }
  if (n.state == ASKED) {
    if (!answer && !toUs) return C_ARP_NOT_ASKED;
    confirmed(n, mac);
    return C_ARP_IN;
  }
  if (macSame(macAt(n), mac)) { confirmed(n, mac); return C_ARP_IN; }
  if (!n.doubted) { n.doubted = true; n.asks = 0; ask(n, true); }
  return C_ARP_SPOOF;
}
/** A message of the wire; `from` = source MAC of its frame. */
export function arpInput(at: usize, bytes: u32, from: usize): void {
  if (bytes < 28) { eth.rxErrors++; count(C_ARP_SHORT); return; }
  if (get16(at) != 1 || get16(at + 2) != TYPE_IPV4 || load<u8>(at, 4) != 6 || load<u8>(at, 5) != 4) { eth.rxErrors++; count(C_ARP_FORMAT); return; }
  const operation = get16(at + 6), mac = at + 8, sender = load<u32>(at, 14), target = load<u32>(at, 24);
  if (operation != 1 && operation != 2) { eth.rxErrors++; count(C_ARP_FORMAT); return; }
  // The sender must be a host, and the one who sent the frame.
  if (macGroup(mac) || !macSame(mac, from) || macSame(mac, ZERO) || macSame(mac, macOf())) { count(C_ARP_SOURCE); return; }
  const probe = sender == 0 && operation == 1; // RFC 5227: somebody asks whether an address is free
  if (!probe && (v4Multicast(sender) || v4Invalid(sender) || sender == broadcastV4() || (ownV4() != 0 && !onLink(sender)))) { count(C_ARP_SOURCE); return; }
  if (ownV4() != 0 && sender == ownV4()) { count(C_ARP_CONFLICT); return; } // RFC 5227: reported, not yielded to
  count(probe ? C_ARP_IN : claim(sender, mac, operation == 2, ownV4() != 0 && target == ownV4()));
  if (operation == 1 && ownV4() != 0 && target == ownV4() && isUp()) message(mac, 2, mac, sender);
}

export function arpTimer(): void {
  let next: u64 = NEVER;
  for (let k: u32 = 0; k < NEIGHBOURS; k++) {
    const n = neighbour(k);
    if (n.state == 0) continue;
    if (n.askAt <= now) {
      const limit: u32 = n.state == ASKED ? ASKS : ASKS + 1;
      if (n.asks >= limit || !isUp()) {
        count(C_ARP_TIMEOUT);
        while (n.pending != NONE) { const p = n.pending; n.pending = p.next; n.pendings--; hostUnreachable(p); drop(p); }
        forget(n);
        continue;
      }
      // An old neighbour is asked alone first; then everybody. One in doubt keeps its MAC only if itself says so.
      ask(n, n.state != ASKED && n.asks < 2);
    } else if (n.askAt == NEVER && now - n.usedAt > FORGET_US) { forget(n); continue; }
    if (n.askAt < next) next = n.askAt;
  }
  if (next != NEVER) armAtMost(timer, next);
}
/** The interface went down or got another address. */
export function arpFlush(): void { for (let k: u32 = 0; k < NEIGHBOURS; k++) if (neighbour(k).state != 0) forget(neighbour(k)); }
