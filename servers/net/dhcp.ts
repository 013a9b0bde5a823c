/**
 * DHCP client (RFC 2131, RFC 2132) of eth0. The lease lies in the configuration and outlives this server; the exchange under way does not.
 *
 * When the wire comes back with a lease that has not run out, its server is asked whether it still holds (INIT-REBOOT, 4.4.2): a refusal leads to selecting, silence leaves it as it was.
 *
 *   off -> selecting (DISCOVER, 2 4 8 ... 64 s) -> requesting (REQUEST, 4 tries) -> bound -> T1: renewing (unicast) -> T2: rebinding (broadcast) -> lease over: selecting
 *
 * Believed is only what carries our transaction id and MAC, is well formed, and names an address a host can have.
 */
import { get16, get32, isAny, put16, put32, setAny, setV4, v4, v4Invalid, v4Loopback, v4Multicast } from './address';
import { arpFlush } from './arp';
import { DHCP, RESOLVERS, addressOf, config, configChanged, gatewayOf, isUp, macOf, ownV4, resolverOf, serverOf } from './config';
import { C_DHCP_BAD, C_DHCP_EXPIRED, C_DHCP_LEASES, C_DHCP_NAK, C_DHCP_SENT, C_DHCP_UNWANTED, count } from './counters';
import { now, random } from './host';
import { SOURCE } from './ipv4';
import { macSame } from './ethernet';
import { TIMER_DHCP, Timer, armAt, disarm, timerInit } from './timer';
import { udpSend } from './udp';

export const DHCP_CLIENT_PORT: u32 = 68;
const DHCP_SERVER_PORT: u32 = 67;
const COOKIE: u32 = 0x63825363;
const DISCOVER: u32 = 1, OFFER: u32 = 2, REQUEST: u32 = 3, ACKNOWLEDGE: u32 = 5, NAK: u32 = 6;
export const DHCP_OFF: u32 = 0;
const SELECTING: u32 = 1;
const REQUESTING: u32 = 2;
export const DHCP_BOUND: u32 = 3;
const RENEWING: u32 = 4;
const REBINDING: u32 = 5;
const REBOOTING: u32 = 6;
const REBOOT_TRIES: u32 = 3;
const SECOND: u64 = 1_000_000;

export let dhcpState: u32 = 0;
let xid: u32 = 0;
let tries: u32 = 0;
let begun: u64 = 0;
let offered: u32 = 0;
let server: u32 = 0;
const timer: Timer = changetype<Timer>(memory.data(offsetof<Timer>(), 8));
const MESSAGE: usize = memory.data(548, 8);

export function dhcpInit(): void { timerInit(timer, TIMER_DHCP, 0); dhcpState = DHCP_OFF; }
/** At attach, or when the link comes: go on with the lease, or ask for one. */
export function dhcpBegin(): void {
  if ((config.flags & DHCP) == 0 || !isUp() || dhcpState != DHCP_OFF) return;
  if (!isAny(addressOf()) && config.lease != 0 && config.leaseAt <= now && now - config.leaseAt < <u64>config.lease * SECOND) {
    dhcpState = DHCP_BOUND;
    server = v4(serverOf());
    armAt(timer, config.leaseAt + <u64>config.renew * SECOND);
    if (timer.at <= now) dhcpTimer();
    return;
  }
  if (config.lease != 0) { count(C_DHCP_EXPIRED); lose(); } // it ran out while nobody looked
  select();
}
/** The wire is back: at once, whatever the timers say. */
export function dhcpLinkCame(): void {
  if (dhcpState < DHCP_BOUND || isAny(addressOf()) || now - config.leaseAt >= <u64>config.lease * SECOND) { dhcpStop(); dhcpBegin(); return; }
  dhcpState = REBOOTING;
  xid = random(); tries = 0; begun = now;
  send(REQUEST);
}
export function dhcpStop(): void { dhcpState = DHCP_OFF; disarm(timer); }
function select(): void {
  dhcpState = SELECTING;
  xid = random(); tries = 0; begun = now;
  send(DISCOVER);
}
/** Retransmission with a second of jitter, each way (RFC 2131, 4.1). */
function again(): void { armAt(timer, now + (<u64>2 << (tries < 5 ? tries : 5)) * SECOND + <u64>(random() & 0xfffff)); tries++; }

function option(at: usize, code: u32, bytes: u32): usize { store<u8>(at, <u8>code); store<u8>(at, <u8>bytes, 1); return at + 2; }
function send(type: u32): void {
  const m = MESSAGE;
  memory.fill(m, 0, 548);
  store<u8>(m, 1); store<u8>(m, 1, 1); store<u8>(m, 6, 2);
  put32(m + 4, xid); put16(m + 8, <u32>((now - begun) / SECOND));
  const unicast = dhcpState == RENEWING, has = unicast || dhcpState == REBINDING;
  if (has) store<u32>(m, ownV4(), 12); else put16(m + 10, 0x8000); // answer by broadcast: we have no address
  memory.copy(m + 28, macOf(), 6);
  put32(m + 236, COOKIE);
  let at = option(m + 240, 53, 1);
  store<u8>(at++, <u8>type);
  at = option(at, 61, 7); store<u8>(at, 1); memory.copy(at + 1, macOf(), 6); at += 7;
  if (dhcpState == REQUESTING || dhcpState == REBOOTING) { at = option(at, 50, 4); store<u32>(at, dhcpState == REBOOTING ? ownV4() : offered); at += 4; }
  if (dhcpState == REQUESTING) { at = option(at, 54, 4); store<u32>(at, server); at += 4; }
  at = option(at, 57, 2); put16(at, 576); at += 2;
  at = option(at, 55, 4); store<u32>(at, 1 | 3 << 8 | 6 << 16 | 51 << 24); at += 4; // mask, router, DNS, lease
  store<u8>(at++, 255);
  let bytes = <u32>(at - m);
  if (bytes < 300) bytes = 300;
  count(C_DHCP_SENT);
  udpSend(has ? ownV4() : 0, unicast ? server : 0xffffffff, DHCP_CLIENT_PORT, DHCP_SERVER_PORT, m, bytes, 64);
  if (dhcpState == SELECTING || dhcpState == REQUESTING || dhcpState == REBOOTING) again();
}

export function dhcpTimer(): void {
  if (!isUp()) { dhcpStop(); return; }
  switch (dhcpState) {
    case SELECTING: send(DISCOVER); return;
    case REQUESTING: if (tries >= 4) select(); else send(REQUEST); return;
    case REBOOTING: if (tries >= REBOOT_TRIES) { dhcpState = DHCP_OFF; dhcpBegin(); } else send(REQUEST); return; // nobody knows: the lease goes on
    case DHCP_BOUND: dhcpState = RENEWING; xid = random(); begun = now; renew(config.rebind); return;
    case RENEWING:
      if (now >= config.leaseAt + <u64>config.rebind * SECOND) { dhcpState = REBINDING; renew(config.lease); } else renew(config.rebind);
      return;
    case REBINDING:
      if (now < config.leaseAt + <u64>config.lease * SECOND) { renew(config.lease); return; }
      count(C_DHCP_EXPIRED);
      lose();
      select();
      return;
    default:
  }
}
/** RFC 2131, 4.4.5: half of what is left until `end`, at least a minute. */
function renew(end: u32): void {
  const until = config.leaseAt + <u64>end * SECOND;
  send(REQUEST);
  let wait = until > now ? (until - now) >> 1 : 0;
  if (wait < 60 * SECOND) wait = 60 * SECOND;
  armAt(timer, now + wait < until || until <= now ? now + wait : until);
}
function lose(): void {
  setAny(addressOf()); setAny(gatewayOf());
  config.prefix = 0; config.lease = 0; config.resolvers = 0;
  configChanged();
  arpFlush();
}
function prefixOf(mask: u32): u32 {
  const m = bswap<u32>(mask);
  const n = <u32>popcnt<u32>(m);
  return n == 0 || m == 0xffffffff << (32 - n) ? n : 33;
}
function host(a: u32): bool { return !v4Invalid(a) && !v4Multicast(a) && !v4Loopback(a) && a != 0xffffffff; }

/** A datagram for our port. False: not for the client (it does not run). */
export function dhcpInput(at: usize, bytes: u32, from: u32): bool {
  if (dhcpState == DHCP_OFF) return false;
  if (bytes < 244 || from != DHCP_SERVER_PORT || load<u8>(at) != 2 || load<u8>(at, 1) != 1 || load<u8>(at, 2) != 6 || get32(at + 236) != COOKIE) { count(C_DHCP_BAD); return true; }
  if (get32(at + 4) != xid || !macSame(at + 28, macOf()) || dhcpState == DHCP_BOUND) { count(C_DHCP_UNWANTED); return true; }
  let type: u32 = 0, mask: u32 = 0, router: u32 = 0, lease: u32 = 0, t1: u32 = 0, t2: u32 = 0, who: u32 = 0, resolvers: usize = 0, resolverCount: u32 = 0;
  let n: u32 = 240;
  while (n < bytes) {
    const code = <u32>load<u8>(at + n);
    if (code == 255) break;
    if (code == 0) { n++; continue; }
    if (n + 2 > bytes || <u32>load<u8>(at + n + 1) > bytes - n - 2) { count(C_DHCP_BAD); return true; }
    const length = <u32>load<u8>(at + n + 1), value = at + n + 2;
    switch (code) {
      case 53: if (length == 1) type = <u32>load<u8>(value); break;
      case 1: if (length == 4) mask = load<u32>(value); break;
      case 3: if (length >= 4) router = load<u32>(value); break;
      case 6: if (length >= 4) { resolvers = value; resolverCount = length >> 2; } break;
      case 51: if (length == 4) lease = get32(value); break;
      case 54: if (length == 4) who = load<u32>(value); break;
      case 58: if (length == 4) t1 = get32(value); break;
      case 59: if (length == 4) t2 = get32(value); break;
      default:
    }
    n += 2 + length;
  }
  const yours = load<u32>(at, 16);
  if (type == OFFER && dhcpState == SELECTING) {
    if (!host(yours) || who == 0) { count(C_DHCP_BAD); return true; }
    offered = yours; server = who;
    dhcpState = REQUESTING; tries = 0;
    send(REQUEST);
    return true;
  }
  if (dhcpState == SELECTING || (dhcpState != REBINDING && dhcpState != REBOOTING && who != server)) { count(C_DHCP_UNWANTED); return true; }
  if (type == NAK) {
    count(C_DHCP_NAK);
    if (dhcpState >= RENEWING) lose();
    select();
    return true;
  }
  if (type != ACKNOWLEDGE) { count(C_DHCP_UNWANTED); return true; }
  const prefix = mask == 0 ? 24 : prefixOf(mask);
  if (!host(yours) || prefix > 32 || lease == 0 || (dhcpState == REQUESTING && yours != offered) || (dhcpState == REBOOTING && yours != ownV4())) { count(C_DHCP_BAD); return true; }
  const moved = ownV4() != yours;
  setV4(addressOf(), yours);
  config.prefix = prefix;
  if (router != 0 && host(router)) setV4(gatewayOf(), router); else setAny(gatewayOf());
  config.resolvers = 0;
  for (let k: u32 = 0; k < resolverCount && config.resolvers < RESOLVERS; k++) {
    const r = load<u32>(resolvers + (<usize>k << 2));
    if (!v4Multicast(r) && r != 0 && r != 0xffffffff) setV4(resolverOf(config.resolvers++), r);
  }
  if (lease > 0x7fffffff) lease = 0x7fffffff; // 0xffffffff: for ever
  if (lease < 60) lease = 60;
  if (t1 == 0 || t1 >= lease) t1 = lease >> 1;
  if (t2 <= t1 || t2 >= lease) t2 = <u32>(<u64>lease * 7 / 8);
  config.leaseAt = now; config.lease = lease; config.renew = t1; config.rebind = t2;
  server = who != 0 ? who : v4(SOURCE);
  setV4(serverOf(), server);
  configChanged();
  if (moved) arpFlush();
  dhcpState = DHCP_BOUND;
  count(C_DHCP_LEASES);
  armAt(timer, now + <u64>t1 * SECOND);
  return true;
}
