/** UDP (RFC 768). Checksum 0 = none, accepted. Nobody on the port: ICMP port unreachable. The ports of the DHCP client and of the resolver's queries are the stack's own. */
import { NET_TYPE_DATAGRAM } from 'kintsugi/protocols';
import { get16, put16, v4 } from './address';
import { add, finish } from './checksum';
import { C_UDP_CHECKSUM, C_UDP_IN, C_UDP_LENGTH, C_UDP_NO_PORT, C_UDP_PORT_ZERO, C_UDP_SHORT, count } from './counters';
import { queueDatagram } from './datagram';
import { DHCP_CLIENT_PORT, dhcpInput } from './dhcp';
import { dnsInput, isDnsPort } from './dns';
import { DESTINATION_UNREACHABLE, PORT_UNREACHABLE, icmpError } from './icmp';
import { DESTINATION, PROTOCOL_UDP, SOURCE, fillLater, ipv4Send, ipv4SendLong, offloads, payloadOf, pseudoSum, roomTo, toMany, transportIntact } from './ipv4';
import { routeTo } from './config';
import { take } from './packet';
import { CONNECTED, Socket, findOnPort, touch, wake } from './socket';

const HEADER: u32 = 8;
export const MAX_DATAGRAM: u32 = 65507;

export function udpInput(at: usize, bytes: u32, verified: bool): void {
  if (bytes < HEADER) { count(C_UDP_SHORT); return; }
  const length = get16(at + 4);
  if (length < HEADER || length > bytes) { count(C_UDP_LENGTH); return; }
  if (!verified && load<u16>(at, 6) != 0 && !transportIntact(PROTOCOL_UDP, at, length)) { count(C_UDP_CHECKSUM); return; }
  const from = get16(at), to = get16(at + 2);
  if (to == 0) { count(C_UDP_PORT_ZERO); return; }
  if (to == DHCP_CLIENT_PORT && dhcpInput(at + HEADER, length - HEADER, from)) { count(C_UDP_IN); return; }
  if (isDnsPort(to)) { count(C_UDP_IN); dnsInput(to, from, at + HEADER, length - HEADER); return; }
  const s = findOnPort(NET_TYPE_DATAGRAM, to, DESTINATION, SOURCE, from);
  if (changetype<usize>(s) == 0) {
    count(C_UDP_NO_PORT);
    icmpError(DESTINATION_UNREACHABLE, PORT_UNREACHABLE, 0);
    return;
  }
  count(C_UDP_IN);
  queueDatagram(s, SOURCE, from, at + HEADER, length - HEADER);
}
const HEAD: usize = memory.data(8, 4);
/** 0, -1: no route, -2: no packet free. */
export function udpSend(source: u32, destination: u32, sourcePort: u32, destinationPort: u32, data: usize, bytes: u32, ttl: u32): i32 {
  const length = bytes + HEADER;
  if (length <= roomTo(destination)) {
    const through = routeTo(destination);
    const p = take();
    if (changetype<usize>(p) == 0) return -2;
    const at = payloadOf(p);
    put16(at, sourcePort); put16(at + 2, destinationPort); put16(at + 4, length); store<u16>(at, 0, 6);
    memory.copy(at + HEADER, data, bytes);
    if (offloads(through)) { store<u16>(at, <u16>pseudoSum(source, destination, PROTOCOL_UDP, length), 6); fillLater(p, 0, 6); }
    else store<u16>(at, <u16>checked(source, destination, at, bytes, data), 6);
    return ipv4Send(p, PROTOCOL_UDP, source, destination, length, ttl, false) ? 0 : -1;
  }
  put16(HEAD, sourcePort); put16(HEAD + 2, destinationPort); put16(HEAD + 4, length); store<u16>(HEAD, 0, 6);
  store<u16>(HEAD, <u16>checked(source, destination, HEAD, bytes, data), 6);
  return ipv4SendLong(PROTOCOL_UDP, source, destination, HEAD, HEADER, data, bytes, ttl);
}
/** Of a header of 8 bytes at `at` and the data; 0 is sent as 0xffff. */
function checked(source: u32, destination: u32, at: usize, bytes: u32, data: usize): u32 {
  const length = bytes + HEADER;
  const sum = finish(add(add(<u64>source + <u64>destination + <u64>(PROTOCOL_UDP << 8) + <u64>((length << 8 & 0xff00) | length >> 8), at, HEADER), data, bytes));
  return sum == 0 ? 0xffff : sum;
}
/** ICMP about something a datagram or echo socket sent: an error for a connected one, silence for others (as RFC 1122, 4.1.3.3 allows). */
export function udpError(type: u32, source: usize, destination: usize, sourcePort: u32, destinationPort: u32, error: u32): bool {
  const s = findOnPort(type, sourcePort, source, destination, destinationPort);
  if (changetype<usize>(s) == 0) return false;
  if ((s.flags & CONNECTED) != 0 || type != NET_TYPE_DATAGRAM) { s.error = error; touch(s); wake(s); }
  return true;
}
