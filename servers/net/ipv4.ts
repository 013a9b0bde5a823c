/**
 * IPv4 (RFC 791, RFC 1122 3.2). A host, not a router: what is not for us is dropped. Source routes are refused, other options skipped.
 * Input hands the datagram on with `source` and `destination` as 16-byte addresses; output takes a packet with the payload in place (`payloadOf`).
 */
import { get16, isAny, put16, setV4, v4Invalid, v4Loopback, v4Mask, v4Multicast } from './address';
import { neighbourSend } from './arp';
import { add, finish, fold, intact } from './checksum';
import { ETH, LO, addressOf, broadcastV4, config, eth, isOwn, lo, mtuOf, nextHop, ownV4, routeTo } from './config';
import {
  C_IP_CHECKSUM, C_IP_FORWARD, C_IP_HEADER, C_IP_LENGTH, C_IP_MARTIAN, C_IP_NO_ROUTE, C_IP_PROTOCOL, C_IP_SHORT, C_IP_SOURCE_ROUTE, C_IP_SPOOFED_OWN, C_IP_VERSION, count,
} from './counters';
import { random } from './host';
import { PROTOCOL_UNREACHABLE, icmpError, icmpInput, DESTINATION_UNREACHABLE } from './icmp';
import { ETHERNET_BYTES, Packet, drop, enqueue, take } from './packet';
import { pmtuTo } from './pmtu';
import { fragmentInput } from './reassembly';
import { tcpInput } from './tcp/input';
import { udpInput } from './udp';

export const IP_BYTES: u32 = 20;
export const PROTOCOL_ICMP: u32 = 1;
export const PROTOCOL_TCP: u32 = 6;
export const PROTOCOL_UDP: u32 = 17;
const DONT_FRAGMENT: u32 = 0x4000;
const MORE_FRAGMENTS: u32 = 0x2000;

/** Ends of the datagram at hand (16-byte addresses). */
export const SOURCE: usize = memory.data(16, 8);
export const DESTINATION: usize = memory.data(16, 8);
/** Whether it came by broadcast or multicast: nothing is answered then. */
export let toMany: bool = false;
/** Its header (for ICMP errors about it) and all its bytes. */
export let headerAt: usize = 0;
export let datagramBytes: u32 = 0;
export let arrivedOn: u32 = 0;
let identification: u32 = 0;
export function ipv4Init(): void { identification = random(); }

export function ipv4Input(interface_: u32, at: usize, bytes: u32, verified: bool, linkGroup: bool): void {
  if (bytes < IP_BYTES) { bad(interface_); count(C_IP_SHORT); return; }
  const first = <u32>load<u8>(at);
  if (first >> 4 != 4) { bad(interface_); count(C_IP_VERSION); return; }
  const header = (first & 15) << 2, total = get16(at + 2);
  if (header < IP_BYTES || header > bytes) { bad(interface_); count(C_IP_HEADER); return; }
  if (total < header || total > bytes) { bad(interface_); count(C_IP_LENGTH); return; }
  const source = load<u32>(at, 12), destination = load<u32>(at, 16);
  if (interface_ == ETH) {
    if (!intact(at, header)) { bad(interface_); count(C_IP_CHECKSUM); return; }
    if (v4Multicast(source) || v4Invalid(source) || v4Loopback(source) || v4Loopback(destination) || source == 0xffffffff || (source == broadcastV4() && source != 0)) { count(C_IP_MARTIAN); return; }
    if (source == ownV4()) { count(C_IP_SPOOFED_OWN); return; } // LAND, or somebody with our address
  }
  toMany = destination == 0xffffffff || v4Multicast(destination) || (destination == broadcastV4() && destination != 0);
  if (interface_ == ETH && !toMany) {
    // Without an address yet a DHCP server may answer to the one it offers.
    if (destination != ownV4() && !(isAny(addressOf()) && load<u8>(at, 9) == PROTOCOL_UDP && total >= header + 8 && get16(at + header + 2) == 68)) { count(C_IP_FORWARD); return; }
    if (linkGroup) { count(C_IP_MARTIAN); return; } // RFC 1122, 3.3.6
  }
  if (header > IP_BYTES && !optionsFine(at + IP_BYTES, header - IP_BYTES)) { count(C_IP_SOURCE_ROUTE); return; }
  setV4(SOURCE, source); setV4(DESTINATION, destination);
  headerAt = at; datagramBytes = total; arrivedOn = interface_;
  const fragment = get16(at + 6);
  if ((fragment & 0x3fff) != 0) fragmentInput(at, header, total, fragment & 0x1fff, (fragment & MORE_FRAGMENTS) != 0);
  else deliver(<u32>load<u8>(at, 9), at + header, total - header, verified);
}
function bad(interface_: u32): void { if (interface_ == ETH) eth.rxErrors++; else lo.rxErrors++; }
/** A whole datagram that was put together again; `header` its header with total length and checksum made right. */
export function deliverReassembled(header: usize, at: usize, bytes: u32): void {
  headerAt = header; datagramBytes = <u32>(at - header) + bytes;
  deliver(<u32>load<u8>(header, 9), at, bytes, false);
}
function deliver(protocol: u32, at: usize, bytes: u32, verified: bool): void {
  if (protocol == PROTOCOL_TCP) tcpInput(at, bytes, verified);
  else if (protocol == PROTOCOL_UDP) udpInput(at, bytes, verified);
  else if (protocol == PROTOCOL_ICMP) icmpInput(at, bytes);
  else { count(C_IP_PROTOCOL); icmpError(DESTINATION_UNREACHABLE, PROTOCOL_UNREACHABLE, 0); }
}
/** False: a source route, or an option that does not fit. */
function optionsFine(at: usize, bytes: u32): bool {
  let n: u32 = 0;
  while (n < bytes) {
    const kind = <u32>load<u8>(at + n);
    if (kind == 0) return true;
    if (kind == 1) { n++; continue; }
    if (n + 1 >= bytes) return false;
    const length = <u32>load<u8>(at + n + 1);
    if (length < 2 || length > bytes - n) return false;
    if (kind == 131 || kind == 137) return false;
    n += length;
  }
  return true;
}

// ---- output -----------------------------------------------------------------------------------------------------------------------------
export function payloadOf(p: Packet): usize { return p.frame + ETHERNET_BYTES + IP_BYTES; }
/** The device will fill the transport checksum of what is sent to `to`: store the folded pseudo sum (not complemented), and mark the packet (`fillLater`). */
export function offloads(through: u32): bool { return through == ETH && eth.checksums; }
export function fillLater(p: Packet, transportOffset: u32, field: u32): void { p.flags = 1; p.sumStart = ETHERNET_BYTES + IP_BYTES + transportOffset; p.sumOffset = field; }
/** Largest payload that goes to `to` in one piece. */
export function roomTo(to: u32): u32 {
  const through = routeTo(to);
  return through == LO ? mtuOf(LO) - IP_BYTES : pmtuTo(to, mtuOf(ETH)) - IP_BYTES;
}
function header(p: Packet, protocol: u32, source: u32, destination: u32, bytes: u32, ttl: u32, fragment: u32, id: u32): void {
  const at = p.frame + ETHERNET_BYTES;
  const total = bytes + IP_BYTES;
  store<u32>(at, 0x45 | (total << 8 & 0xff00) << 16 | (total >> 8 & 255) << 16);
  store<u32>(at, (id >> 8 & 255) | (id << 8 & 0xff00) | (fragment >> 8 & 255) << 16 | (fragment & 255) << 24, 4);
  store<u32>(at, ttl | protocol << 8, 8);
  store<u32>(at, source, 12); store<u32>(at, destination, 16);
  store<u16>(at, <u16>finish(<u64>load<u32>(at) + <u64>load<u32>(at, 4) + <u64>load<u32>(at, 8) + <u64>source + <u64>destination), 10);
  p.bytes = ETHERNET_BYTES + total;
}
/** Sends a packet whose payload of `bytes` is in place. It is no longer the caller's. False: no route (counted, dropped). */
export function ipv4Send(p: Packet, protocol: u32, source: u32, destination: u32, bytes: u32, ttl: u32, whole: bool): bool {
  return ipv4SendThrough(routeTo(destination), p, protocol, source, destination, bytes, ttl, whole);
}
/** The same when the caller has asked `routeTo` (0: no route). */
export function ipv4SendThrough(through: u32, p: Packet, protocol: u32, source: u32, destination: u32, bytes: u32, ttl: u32, whole: bool): bool {
  if (through == 0) { count(C_IP_NO_ROUTE); drop(p); return false; }
  header(p, protocol, source, destination, bytes, ttl, whole ? DONT_FRAGMENT : 0, whole ? 0 : ++identification);
  if (through == LO) { p.loop = true; enqueue(p); return true; }
  neighbourSend(p, nextHop(destination));
  return true;
}
/**
 * Sends `headBytes` (<= 64) at `head` followed by `bytes` at `data`, in fragments if need be. -1: no route, -2: not enough packets, else 0. The transport checksum
 * must be complete.
 */
export function ipv4SendLong(protocol: u32, source: u32, destination: u32, head: usize, headBytes: u32, data: usize, bytes: u32, ttl: u32): i32 {
  const through = routeTo(destination);
  if (through == 0) { count(C_IP_NO_ROUTE); return -1; }
  const total = headBytes + bytes, room = roomTo(destination), id = ++identification;
  const piece = total <= room ? total : room & ~7;
  let offset: u32 = 0;
  while (true) {
    const p = take();
    if (changetype<usize>(p) == 0) return offset == 0 ? -2 : 0; // a started datagram is lost like one on the wire
    const n = total - offset < piece ? total - offset : piece, to = payloadOf(p);
    if (offset == 0) { memory.copy(to, head, headBytes); memory.copy(to + headBytes, data, n - headBytes); }
    else memory.copy(to, data + (offset - headBytes), n);
    const more = offset + n < total;
    header(p, protocol, source, destination, n, ttl, (more ? MORE_FRAGMENTS : 0) | offset >> 3, id);
    if (through == LO) { p.loop = true; enqueue(p); } else neighbourSend(p, nextHop(destination));
    offset += n;
    if (!more) return 0;
  }
}
/** Of transport header and data with the pseudo header, in one piece. */
export function transportSum(source: u32, destination: u32, protocol: u32, at: usize, bytes: u32): u32 {
  return finish(add(<u64>source + <u64>destination + <u64>(protocol << 8) + <u64>((bytes << 8 & 0xff00) | bytes >> 8), at, bytes));
}
export function transportIntact(protocol: u32, at: usize, bytes: u32): bool {
  return fold(add(<u64>load<u32>(SOURCE, 12) + <u64>load<u32>(DESTINATION, 12) + <u64>(protocol << 8) + <u64>((bytes << 8 & 0xff00) | bytes >> 8), at, bytes)) == 0xffff;
}
/** Sum of the pseudo header alone, as the device wants it in the field. */
export function pseudoSum(source: u32, destination: u32, protocol: u32, bytes: u32): u32 {
  return fold(<u64>source + <u64>destination + <u64>(protocol << 8) + <u64>((bytes << 8 & 0xff00) | bytes >> 8));
}
