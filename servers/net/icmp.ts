/**
 * ICMP (RFC 792, RFC 1122 3.2.2): echo both ways, errors out (limited) and in. An error that comes in is believed only as far as its quotation names something that
 * is ours and under way (RFC 5927); it never closes an established connection.
 */
import { NET_TYPE_DATAGRAM } from 'kintsugi/protocols';
import { get16, isMulticastOrBroadcast, put16, setV4, v4, v4Invalid, v4Multicast } from './address';
import { add, finish, intact } from './checksum';
import { broadcastV4, ETH, isOwn, mtuOf, ownV4, sourceFor } from './config';
import {
  C_ICMP_CHECKSUM, C_ICMP_ECHO_IN, C_ICMP_ECHO_LONG, C_ICMP_ECHO_MANY, C_ICMP_ERRORS_IN, C_ICMP_ERRORS_OUT, C_ICMP_LIMITED, C_ICMP_QUOTE, C_ICMP_REPLIES_IN, C_ICMP_SHORT, C_ICMP_TYPE, C_ICMP_UNWANTED, count,
} from './counters';
import { echoDeliver } from './datagram';
import { EHOSTUNREACH, ENETUNREACH, ECONNREFUSED, EMSGSIZE, EPROTO } from '../lib/errno';
import { now } from './host';
import { DESTINATION, IP_BYTES, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, SOURCE, datagramBytes, headerAt, ipv4Send, ipv4SendLong, payloadOf, roomTo, toMany } from './ipv4';
import { ETHERNET_BYTES, Packet, take } from './packet';
import { pmtuLearn } from './pmtu';
import { tcpError } from './tcp/error';
import { udpError } from './udp';

export const ECHO_REPLY: u32 = 0;
export const DESTINATION_UNREACHABLE: u32 = 3;
export const ECHO_REQUEST: u32 = 8;
export const TIME_EXCEEDED: u32 = 11;
export const PARAMETER_PROBLEM: u32 = 12;
export const HOST_UNREACHABLE: u32 = 1;
export const PROTOCOL_UNREACHABLE: u32 = 2;
export const PORT_UNREACHABLE: u32 = 3;
export const FRAGMENTATION_NEEDED: u32 = 4;
export const FRAGMENT_TIME: u32 = 1;

// Errors out: a bucket of BURST, one more each INTERVAL_US (RFC 1812, 4.3.2.8).
const BURST: u64 = 20;
const INTERVAL_US: u64 = 10_000;
let bucketAt: u64 = 0;

const QUOTE_SOURCE: usize = memory.data(16, 8);
const QUOTE_DESTINATION: usize = memory.data(16, 8);

/** About the datagram at hand. */
export function icmpError(type: u32, code: u32, value: u32): void {
  if (toMany) return;
  icmpErrorAbout(type, code, value, headerAt, datagramBytes);
}
/** About the datagram whose header is at `header`. Never about ICMP errors, fragments but the first, or what has no single sender (RFC 1122, 3.2.2). */
export function icmpErrorAbout(type: u32, code: u32, value: u32, header: usize, bytes: u32): void {
  const source = load<u32>(header, 12), destination = load<u32>(header, 16), headerBytes = (<u32>load<u8>(header) & 15) << 2;
  if (v4Multicast(source) || v4Invalid(source) || source == 0xffffffff || !isOwn(destination)) return;
  if ((get16(header + 6) & 0x1fff) != 0) return;
  if (load<u8>(header, 9) == PROTOCOL_ICMP) {
    const t = bytes > headerBytes ? <u32>load<u8>(header + headerBytes) : 3;
    if (t != ECHO_REQUEST && t != ECHO_REPLY) return;
  }
  if (bucketAt < now) bucketAt = now;
  if (bucketAt - now > (BURST - 1) * INTERVAL_US) { count(C_ICMP_LIMITED); return; }
  bucketAt += INTERVAL_US;
  const p = take();
  if (changetype<usize>(p) == 0) return;
  const quoted = bytes < 548 ? bytes : 548, at = payloadOf(p); // RFC 1812, 4.3.2.3: 576 in all
  store<u8>(at, <u8>type); store<u8>(at, <u8>code, 1); store<u16>(at, 0, 2); store<u32>(at, value, 4);
  memory.copy(at + 8, header, quoted);
  store<u16>(at, <u16>finish(add(0, at, 8 + quoted)), 2);
  count(C_ICMP_ERRORS_OUT);
  ipv4Send(p, PROTOCOL_ICMP, destination, source, 8 + quoted, 64, false);
}
/** A packet of ours that nobody took: its sender hears of it as if a router had said so. */
export function hostUnreachable(p: Packet): void { quoted(p.frame + ETHERNET_BYTES, p.bytes - ETHERNET_BYTES, EHOSTUNREACH, true); }

export function icmpInput(at: usize, bytes: u32): void {
  if (bytes < 8) { count(C_ICMP_SHORT); return; }
  if (!intact(at, bytes)) { count(C_ICMP_CHECKSUM); return; }
  const type = <u32>load<u8>(at), code = <u32>load<u8>(at, 1);
  switch (type) {
    case ECHO_REQUEST: echoRequest(at, bytes); return;
    case ECHO_REPLY:
      count(echoDeliver(get16(at + 4), SOURCE, DESTINATION, at, bytes) ? C_ICMP_REPLIES_IN : C_ICMP_UNWANTED);
      return;
    case DESTINATION_UNREACHABLE:
      count(C_ICMP_ERRORS_IN);
      if (code == FRAGMENTATION_NEEDED) tooBig(at, bytes);
      else quoted(at + 8, bytes - 8, code == PORT_UNREACHABLE || code == PROTOCOL_UNREACHABLE ? ECONNREFUSED : code == 0 || code == 6 ? ENETUNREACH : EHOSTUNREACH, code == PORT_UNREACHABLE || code == PROTOCOL_UNREACHABLE);
      return;
    case TIME_EXCEEDED: count(C_ICMP_ERRORS_IN); quoted(at + 8, bytes - 8, EHOSTUNREACH, false); return;
    case PARAMETER_PROBLEM: count(C_ICMP_ERRORS_IN); quoted(at + 8, bytes - 8, EPROTO, false); return;
    default: count(C_ICMP_TYPE); // redirects among them: a host with one gateway needs none
  }
}
const LONG: usize = memory.data(8, 4);
function echoRequest(at: usize, bytes: u32): void {
  if (toMany) { count(C_ICMP_ECHO_MANY); return; } // RFC 1122, 3.2.2.6
  count(C_ICMP_ECHO_IN);
  if (bytes > roomTo(v4(SOURCE))) { // it came in pieces, and so goes the answer
    memory.copy(LONG, at, 8);
    store<u16>(LONG, 0); store<u16>(LONG, 0, 2);
    store<u16>(LONG, <u16>finish(add(add(0, LONG, 8), at + 8, bytes - 8)), 2);
    count(C_ICMP_ECHO_LONG);
    ipv4SendLong(PROTOCOL_ICMP, v4(DESTINATION), v4(SOURCE), LONG, 8, at + 8, bytes - 8, 64);
    return;
  }
  const p = take();
  if (changetype<usize>(p) == 0) return;
  const to = payloadOf(p);
  memory.copy(to, at, bytes);
  store<u16>(to, 0); store<u16>(to, 0, 2);
  store<u16>(to, <u16>finish(add(0, to, bytes)), 2);
  ipv4Send(p, PROTOCOL_ICMP, v4(DESTINATION), v4(SOURCE), bytes, 64, false);
}
/** The quotation must be a datagram of ours, with at least 8 bytes of transport header. Its transport header, 0 if it is not. */
function transportOf(at: usize, bytes: u32): usize {
  if (bytes < IP_BYTES + 8 || load<u8>(at) >> 4 != 4) return 0;
  const header = (<u32>load<u8>(at) & 15) << 2;
  if (header < IP_BYTES || bytes < header + 8 || (get16(at + 6) & 0x1fff) != 0 || !isOwn(load<u32>(at, 12))) return 0;
  setV4(QUOTE_SOURCE, load<u32>(at, 12)); setV4(QUOTE_DESTINATION, load<u32>(at, 16));
  return at + header;
}
function quoted(at: usize, bytes: u32, error: u32, hard: bool): void {
  const transport = transportOf(at, bytes);
  if (transport == 0) { count(C_ICMP_QUOTE); return; }
  const protocol = <u32>load<u8>(at, 9);
  let known = false;
  if (protocol == PROTOCOL_TCP) known = tcpError(QUOTE_SOURCE, QUOTE_DESTINATION, transport, error, hard, 0);
  else if (protocol == PROTOCOL_UDP) known = udpError(NET_TYPE_DATAGRAM, QUOTE_SOURCE, QUOTE_DESTINATION, get16(transport), get16(transport + 2), error);
  else if (protocol == PROTOCOL_ICMP) known = udpError(3, QUOTE_SOURCE, QUOTE_DESTINATION, get16(transport + 4), 0, error);
  if (!known) count(C_ICMP_QUOTE);
}
function tooBig(at: usize, bytes: u32): void {
  const transport = transportOf(at + 8, bytes - 8);
  if (transport == 0) { count(C_ICMP_QUOTE); return; }
  const protocol = <u32>load<u8>(at + 8, 9), said = get16(at + 6), sent = get16(at + 10), to = v4(QUOTE_DESTINATION);
  let known = false;
  if (protocol == PROTOCOL_TCP) {
    known = tcpError(QUOTE_SOURCE, QUOTE_DESTINATION, transport, 0, false, 0); // asks only whether it is ours
    if (known && pmtuLearn(to, said, sent, mtuOf(ETH))) tcpError(QUOTE_SOURCE, QUOTE_DESTINATION, transport, 0, false, roomTo(to));
  } else if (protocol == PROTOCOL_UDP) {
    known = udpError(NET_TYPE_DATAGRAM, QUOTE_SOURCE, QUOTE_DESTINATION, get16(transport), get16(transport + 2), EMSGSIZE);
    if (known) pmtuLearn(to, said, sent, mtuOf(ETH));
  }
  if (!known) count(C_ICMP_QUOTE);
}
