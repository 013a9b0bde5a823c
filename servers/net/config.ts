/**
 * Interfaces, routes and resolvers. Two interfaces: `lo` (127.0.0.1/8, and every own address) and `eth0`. What was configured, by hand or by DHCP, is one pair of halves
 * in the state (state.ts), with what the driver said last about its device; it says so anew each time it attaches.
 */
import { NETDEV_FLAGS_CHECKSUMS, NETDEV_FLAGS_LINK } from 'kintsugi/protocols';
import { ADDRESS_BYTES, copyAddress, isAny, isV4, sameAddress, setAny, setV4, v4, v4Invalid, v4Loopback, v4Mask, v4Multicast } from './address';
import { writable } from './host';
import { CONFIG_BYTES, commitHalf, configAt, newerHalf } from './state';

export const LO: u32 = 1;
export const ETH: u32 = 2;
export const UP: u32 = 1;
export const DHCP: u32 = 2; // the address comes from DHCP
export const RESOLVERS: u32 = 3;

@unmanaged @final export class Config {
  lsn: u32; check: u32; bytes: u32; // head of a half
  flags: u32; prefix: u32; resolvers: u32;
  address: u64; address2: u64; gateway: u64; gateway2: u64; server: u64; server2: u64; // server: who gave the lease
  resolver0: u64; resolver0b: u64; resolver1: u64; resolver1b: u64; resolver2: u64; resolver2b: u64;
  leaseAt: u64; // us
  lease: u32; renew: u32; rebind: u32; // s after leaseAt
  mac0: u32; mac1: u32; mtu: u32; device: u32; // what the driver said last, flags + 256: a successor need not wait for it
}
export const config: Config = changetype<Config>(memory.data(512, 8));
export function addressOf(): usize { return changetype<usize>(config) + offsetof<Config>('address'); }
export function gatewayOf(): usize { return changetype<usize>(config) + offsetof<Config>('gateway'); }
export function serverOf(): usize { return changetype<usize>(config) + offsetof<Config>('server'); }
export function resolverOf(n: u32): usize { return changetype<usize>(config) + offsetof<Config>('resolver0') + <usize>n * ADDRESS_BYTES; }

/**
 * What the command line says: ADDRESS/BITS[,GATEWAY[,RESOLVER...]], as in `10.1.0.2/24,10.1.0.1`. False: it is no such text, and nothing was changed.
 * It holds until somebody configures something else; DHCP is not asked.
 */
export function configureStatic(text: usize): bool {
  textAt = text;
  const address = quad();
  if (address == 0xffffffff || v4Invalid(address) || v4Multicast(address) || v4Loopback(address) || load<u8>(textAt) != 47) return false; // a slash
  textAt++;
  const bits = number(32);
  if (bits < 1) return false;
  let gateway: u32 = 0, resolvers: u32 = 0;
  for (let n: u32 = 0; load<u8>(textAt) == 44; n++) { // commas
    textAt++;
    const a = quad();
    if (a == 0) return false;
    if (n == 0) gateway = a; else if (n <= RESOLVERS) { store<u32>(NAMED + (<usize>(n - 1) << 2), a); resolvers = n; } else return false;
  }
  if (load<u8>(textAt) != 0 || (gateway != 0 && ((gateway ^ address) & v4Mask(bits)) != 0)) return false;
  setV4(addressOf(), address);
  if (gateway != 0) setV4(gatewayOf(), gateway);
  for (let n: u32 = 0; n < resolvers; n++) setV4(resolverOf(n), load<u32>(NAMED + (<usize>n << 2)));
  config.prefix = bits; config.resolvers = resolvers;
  config.flags = UP;
  changed = true;
  return true;
}
const NAMED: usize = memory.data(12, 4);
let textAt: usize = 0;
/** A decimal number of at most three digits and `most`, or -1. */
function number(most: i32): i32 {
  let value = 0, digits = 0;
  for (; digits < 3 && <u32>load<u8>(textAt) - 48 < 10; digits++, textAt++) value = value * 10 + <i32>load<u8>(textAt) - 48;
  return digits == 0 || value > most ? -1 : value;
}
/** An IPv4 address as a v4 word, 0 when there is none. */
function quad(): u32 {
  let word: u32 = 0;
  for (let n: u32 = 0; n < 4; n++) {
    if (n != 0 && load<u8>(textAt++) != 46) return 0; // dots
    const value = number(255);
    if (value < 0) return 0;
    word |= <u32>value << (n << 3);
  }
  return word;
}

/** Of the device: MAC in 6 bytes, link, MTU, whether it does checksums; and the interfaces' counts of frames and bytes. */
@unmanaged @final export class Link {
  mac0: u32; mac1: u32; present: bool; link: bool; checksums: bool; mtu: u32;
  rxFrames: u32; txFrames: u32; rxBytes: u64; txBytes: u64; rxErrors: u32; txErrors: u32;
}
export const eth: Link = changetype<Link>(memory.data(64, 8));
export const lo: Link = changetype<Link>(memory.data(64, 8));
export function macOf(): usize { return changetype<usize>(eth); }

let changed: bool = false;
/** The predecessor's configuration was not found at attach: it died before its first commit, or the state is damaged. */
export let configLost: bool = false;
/** The configuration goes to the state with the next commit. */
export function configChanged(): void { changed = true; }
export function configPending(): bool { return changed; }
/** In the window. */
export function commitConfig(): void {
  if (!changed) return;
  writable();
  config.bytes = (<u32>offsetof<Config>() + 3) & ~3;
  commitHalf(configAt(0), CONFIG_BYTES, changetype<usize>(config));
  changed = false;
}
export function configInit(): void {
  memory.fill(changetype<usize>(config), 0, 512);
  memory.fill(changetype<usize>(eth), 0, 64); memory.fill(changetype<usize>(lo), 0, 64);
  lo.mtu = 1500; lo.link = true; lo.present = true;
  eth.mtu = 1500;
  setAny(addressOf()); setAny(gatewayOf()); setAny(serverOf());
  config.flags = UP;
  changed = false;
  configLost = false;
}
/** At attach. When nothing usable is found (`configLost`), the host configures the interface as at the first boot. */
export function attachConfig(): void { configLost = !takeOver(); }
function takeOver(): bool {
  const half = newerHalf(configAt(0), CONFIG_BYTES);
  if (half < 0) return false;
  const at = configAt(<u32>half), bytes = <u32>offsetof<Config>();
  if (load<u32>(at, 8) != ((bytes + 3) & ~3)) return false;
  memory.copy(changetype<usize>(config), at, bytes);
  if (config.device != 0) setDevice(config.mac0, config.mac1, config.mtu, config.device & 255);
  if (config.prefix > 32 || config.resolvers > RESOLVERS || !isV4(addressOf()) || !isV4(gatewayOf())) { configInit(); return false; }
  return true;
}

function setDevice(macLow: u32, macHigh: u32, mtu: u32, flags: u32): void {
  eth.mac0 = macLow; eth.mac1 = macHigh & 0xffff;
  eth.present = true; eth.link = (flags & NETDEV_FLAGS_LINK) != 0; eth.checksums = (flags & NETDEV_FLAGS_CHECKSUMS) != 0;
  eth.mtu = mtu < 576 ? 576 : mtu > 1500 ? 1500 : mtu;
}
/** A MAC that a card can have: of one station (802-2014, 8.2), not all zeros. */
export function macUsable(macLow: u32, macHigh: u32): bool { return (macLow & 1) == 0 && (macLow | (macHigh & 0xffff)) != 0; }
/** The driver says what it has. */
export function deviceSays(macLow: u32, macHigh: u32, mtu: u32, flags: u32): void {
  setDevice(macLow, macHigh, mtu, flags);
  if (config.mac0 == macLow && config.mac1 == macHigh && config.mtu == mtu && config.device == 256 + flags) return;
  config.mac0 = macLow; config.mac1 = macHigh; config.mtu = mtu; config.device = 256 + flags;
  changed = true;
}
export function isUp(): bool { return (config.flags & UP) != 0 && eth.present; }
export function ownV4(): u32 { return v4(addressOf()); }
/** Directed broadcast of the own network, 0 without one. */
export function broadcastV4(): u32 {
  if (config.prefix == 0 || config.prefix >= 31 || ownV4() == 0) return 0;
  return ownV4() | ~v4Mask(config.prefix);
}
export function onLink(a: u32): bool { return ownV4() != 0 && ((a ^ ownV4()) & v4Mask(config.prefix)) == 0; }
/** An address of this host: frames to it go through `lo`. */
export function isOwn(a: u32): bool { return v4Loopback(a) || (a != 0 && a == ownV4()); }
/** Which interface leads to `a`; 0: none (ENETUNREACH). */
export function routeTo(a: u32): u32 {
  if (isOwn(a)) return LO;
  if (!isUp()) return 0;
  if (a == 0xffffffff) return ETH;
  if (ownV4() == 0) return 0;
  return onLink(a) || v4Multicast(a) || !isAny(gatewayOf()) ? ETH : 0;
}
/** The neighbour that a datagram to `a` on ETH is handed to. */
export function nextHop(a: u32): u32 {
  if (a == 0xffffffff || v4Multicast(a) || onLink(a)) return a;
  return v4(gatewayOf());
}
export function isGateway(a: u32): bool { return a != 0 && a == v4(gatewayOf()); }
/** The source for something sent to `a`, into `to`. False: no route. */
export function sourceFor(a: u32, to: usize): bool {
  const through = routeTo(a);
  if (through == 0) return false;
  if (through == LO) setV4(to, v4Loopback(a) ? 0x0100007f : a);
  else copyAddress(to, addressOf());
  return true;
}
/** May a socket be bound to it: any, own, loopback. */
export function mayBind(at: usize): bool { return isAny(at) || (isV4(at) && isOwn(v4(at))) || (sameAddress(at, addressOf()) && !isAny(at)); }
export function mtuOf(interface_: u32): u32 { return interface_ == LO ? lo.mtu : eth.mtu; }
