/** NET.query: what the stack knows about itself, as records (NET.records). `first` is where to begin; `next` in the answer, 0 at the end. */
import {
  NET_RECORDS_COUNTER_NAME, NET_RECORDS_COUNTER_SIZE, NET_RECORDS_COUNTER_VALUE, NET_RECORDS_INTERFACE_ADDRESS, NET_RECORDS_INTERFACE_FLAGS, NET_RECORDS_INTERFACE_INDEX, NET_RECORDS_INTERFACE_MAC, NET_RECORDS_INTERFACE_MTU,
  NET_RECORDS_INTERFACE_NAME, NET_RECORDS_INTERFACE_PREFIX, NET_RECORDS_INTERFACE_RX_BYTES_HI, NET_RECORDS_INTERFACE_RX_BYTES_LO, NET_RECORDS_INTERFACE_RX_ERRORS, NET_RECORDS_INTERFACE_RX_FRAMES,
  NET_RECORDS_INTERFACE_SIZE, NET_RECORDS_INTERFACE_TX_BYTES_HI, NET_RECORDS_INTERFACE_TX_BYTES_LO, NET_RECORDS_INTERFACE_TX_ERRORS, NET_RECORDS_INTERFACE_TX_FRAMES, NET_RECORDS_NEIGHBOUR_ADDRESS,
  NET_RECORDS_NEIGHBOUR_AGE_MS, NET_RECORDS_NEIGHBOUR_MAC, NET_RECORDS_NEIGHBOUR_SIZE, NET_RECORDS_NEIGHBOUR_STATE, NET_RECORDS_ROUTE_ADDRESS, NET_RECORDS_ROUTE_GATEWAY, NET_RECORDS_ROUTE_INTERFACE,
  NET_RECORDS_ROUTE_PREFIX, NET_RECORDS_ROUTE_SIZE, NET_RECORDS_SOCKET_CONGESTION_WINDOW, NET_RECORDS_SOCKET_ID, NET_RECORDS_SOCKET_LOCAL, NET_RECORDS_SOCKET_LOCAL_PORT, NET_RECORDS_SOCKET_PEER, NET_RECORDS_SOCKET_PEER_PORT,
  NET_RECORDS_SOCKET_RECEIVE_QUEUE, NET_RECORDS_SOCKET_RETRANSMITTED, NET_RECORDS_SOCKET_RTT_US, NET_RECORDS_SOCKET_SEND_QUEUE, NET_RECORDS_SOCKET_SIZE, NET_RECORDS_SOCKET_STATE, NET_RECORDS_SOCKET_TYPE,
  NET_ADDRESS_BYTES, NET_ADDRESS_FAMILY, NET_ADDRESS_SIZE, NET_FAMILY_INET, NET_TCP_STATE_LISTEN, NET_WHAT_COUNTERS, NET_WHAT_INTERFACES, NET_WHAT_NEIGHBOURS, NET_WHAT_MEMORY, NET_WHAT_OBJECTS, NET_WHAT_RESOLVERS, NET_WHAT_ROUTES, NET_WHAT_SOCKETS,
} from 'kintsugi/protocols';
import { putLiteral } from '../lib/str';
import { copyAddress, isAny, setAny, setV4, v4, v4Mask } from './address';
import { NEIGHBOURS, neighbour } from './arp';
import { DHCP, ETH, LO, Link, UP, addressOf, config, eth, gatewayOf, lo, macOf, ownV4, resolverOf } from './config';
import { COUNTERS, counterName, counterValue } from './counters';
import { chunksUsed, datagramsHeld } from './datagram';
import { dnsQueries } from './dns';
import { EINVAL } from '../lib/errno';
import { now } from './host';
import { Op, parked } from './op';
import { packetsFree, packetsTotal } from './packet';
import { PAGE, pagesFree, poolTotal } from './pool';
import { reassembling } from './reassembly';
import { SOCKET_MEMORY, STREAM, dataEnd, localOf, peerOf, socketAt, socketSlots, socketsUsed, usedSlot } from './socket';

export function query(op: Op, to: usize): i32 {
  const what = op.a0, bytes = op.a3;
  let size: u32, all: u32;
  switch (what) {
    case NET_WHAT_INTERFACES: size = NET_RECORDS_INTERFACE_SIZE; all = eth.present ? 2 : 1; break;
    case NET_WHAT_SOCKETS: size = NET_RECORDS_SOCKET_SIZE; all = socketSlots(); break;
    case NET_WHAT_NEIGHBOURS: size = NET_RECORDS_NEIGHBOUR_SIZE; all = NEIGHBOURS; break;
    case NET_WHAT_ROUTES: size = NET_RECORDS_ROUTE_SIZE; all = 3; break;
    case NET_WHAT_COUNTERS: size = NET_RECORDS_COUNTER_SIZE; all = COUNTERS; break;
    case NET_WHAT_OBJECTS: size = NET_RECORDS_COUNTER_SIZE; all = OBJECTS; break;
    case NET_WHAT_MEMORY: size = NET_RECORDS_COUNTER_SIZE; all = MEMORY; break;
    case NET_WHAT_RESOLVERS: size = NET_ADDRESS_SIZE; all = config.resolvers; break;
    default: return -EINVAL;
  }
  const room = bytes / size;
  if (room == 0) return -EINVAL;
  let n = op.a1, records: u32 = 0;
  while (n < all && records < room) {
    const r = to + <usize>(records * size);
    memory.fill(r, 0, size);
    if (one(what, n, r)) records++;
    n++;
  }
  op.r0 = records;
  op.r1 = n < all ? n : 0;
  return 0;
}
/** Record n of a kind, if there is one. */
function one(what: u32, n: u32, r: usize): bool {
  switch (what) {
    case NET_WHAT_INTERFACES: interfaceRecord(n == 0 ? LO : ETH, r); return true;
    case NET_WHAT_SOCKETS: return socketRecord(n, r);
    case NET_WHAT_NEIGHBOURS: {
      const e = neighbour(n);
      if (e.state == 0) return false;
      copyAddress(r + NET_RECORDS_NEIGHBOUR_ADDRESS, changetype<usize>(e));
      store<u32>(r, e.mac0, NET_RECORDS_NEIGHBOUR_MAC); store<u16>(r, <u16>e.mac1, NET_RECORDS_NEIGHBOUR_MAC + 4);
      store<u32>(r, e.state, NET_RECORDS_NEIGHBOUR_STATE); store<u32>(r, <u32>((now - (e.state == 1 ? e.usedAt : e.since)) / 1000), NET_RECORDS_NEIGHBOUR_AGE_MS);
      return true;
    }
    case NET_WHAT_ROUTES: return route(n, r);
    case NET_WHAT_COUNTERS: counterName(n, r + NET_RECORDS_COUNTER_NAME); store<u32>(r, counterValue(n), NET_RECORDS_COUNTER_VALUE); return true;
    case NET_WHAT_OBJECTS: object(n, r); return true;
    case NET_WHAT_MEMORY: memoryRecord(n, r); return true;
    default:
      store<u16>(r, <u16>NET_FAMILY_INET, NET_ADDRESS_FAMILY);
      copyAddress(r + NET_ADDRESS_BYTES, resolverOf(n));
      return true;
  }
}
const OBJECTS: u32 = 7;
/** What is in use; everything but sockets is 0 when nobody uses the network. */
function object(n: u32, r: usize): void {
  const name = r + NET_RECORDS_COUNTER_NAME, value = r + NET_RECORDS_COUNTER_VALUE;
  switch (n) {
    case 0: putLiteral(name, 'sockets'); store<u32>(value, socketsUsed); return;
    case 1: putLiteral(name, 'pages'); store<u32>(value, poolTotal() - pagesFree); return;
    case 2: putLiteral(name, 'packets'); store<u32>(value, packetsTotal() - packetsFree); return;
    case 3: putLiteral(name, 'datagram chunks'); store<u32>(value, chunksUsed()); return;
    case 4: putLiteral(name, 'reassemblies'); store<u32>(value, reassembling()); return;
    case 5: putLiteral(name, 'queries'); store<u32>(value, dnsQueries()); return;
    default: putLiteral(name, 'waiting operations'); store<u32>(value, parked);
  }
}
const MEMORY: u32 = 6;
/** Memory that sockets and their data take, and how much of both there can be. */
function memoryRecord(n: u32, r: usize): void {
  const name = r + NET_RECORDS_COUNTER_NAME, value = r + NET_RECORDS_COUNTER_VALUE;
  switch (n) {
    case 0: putLiteral(name, 'sockets'); store<u32>(value, socketsUsed); return;
    case 1: putLiteral(name, 'sockets at most'); store<u32>(value, socketSlots()); return;
    case 2: putLiteral(name, 'bytes of a socket'); store<u32>(value, SOCKET_MEMORY); return;
    case 3: putLiteral(name, 'pages of data'); store<u32>(value, poolTotal() - pagesFree); return;
    case 4: putLiteral(name, 'pages at most'); store<u32>(value, poolTotal()); return;
    default: putLiteral(name, 'bytes in use'); store<u32>(value, socketsUsed * SOCKET_MEMORY + (poolTotal() - pagesFree) * PAGE);
  }
}
function interfaceRecord(which: u32, r: usize): void {
  const l: Link = which == LO ? lo : eth;
  store<u32>(r, which, NET_RECORDS_INTERFACE_INDEX); store<u32>(r, l.mtu, NET_RECORDS_INTERFACE_MTU);
  if (which == LO) {
    store<u32>(r, 1 | 2 | 4, NET_RECORDS_INTERFACE_FLAGS); store<u32>(r, 8, NET_RECORDS_INTERFACE_PREFIX);
    setV4(r + NET_RECORDS_INTERFACE_ADDRESS, 0x0100007f);
    putLiteral(r + NET_RECORDS_INTERFACE_NAME, 'lo');
  } else {
    store<u32>(r, ((config.flags & UP) != 0 ? 1 : 0) | (l.link ? 2 : 0) | ((config.flags & DHCP) != 0 ? 8 : 0), NET_RECORDS_INTERFACE_FLAGS); store<u32>(r, config.prefix, NET_RECORDS_INTERFACE_PREFIX);
    copyAddress(r + NET_RECORDS_INTERFACE_ADDRESS, addressOf());
    memory.copy(r + NET_RECORDS_INTERFACE_MAC, macOf(), 6);
    putLiteral(r + NET_RECORDS_INTERFACE_NAME, 'eth0');
  }
  store<u32>(r, l.rxFrames, NET_RECORDS_INTERFACE_RX_FRAMES); store<u32>(r, l.txFrames, NET_RECORDS_INTERFACE_TX_FRAMES);
  store<u32>(r, <u32>l.rxBytes, NET_RECORDS_INTERFACE_RX_BYTES_LO); store<u32>(r, <u32>(l.rxBytes >> 32), NET_RECORDS_INTERFACE_RX_BYTES_HI);
  store<u32>(r, <u32>l.txBytes, NET_RECORDS_INTERFACE_TX_BYTES_LO); store<u32>(r, <u32>(l.txBytes >> 32), NET_RECORDS_INTERFACE_TX_BYTES_HI);
  store<u32>(r, l.rxErrors, NET_RECORDS_INTERFACE_RX_ERRORS); store<u32>(r, l.txErrors, NET_RECORDS_INTERFACE_TX_ERRORS);
}
function socketRecord(n: u32, r: usize): bool {
  if (!usedSlot(n)) return false;
  const s = socketAt(n);
  store<u32>(r, s.id, NET_RECORDS_SOCKET_ID); store<u32>(r, s.type, NET_RECORDS_SOCKET_TYPE); store<u32>(r, s.state, NET_RECORDS_SOCKET_STATE);
  store<u32>(r, s.localPort, NET_RECORDS_SOCKET_LOCAL_PORT); store<u32>(r, s.peerPort, NET_RECORDS_SOCKET_PEER_PORT);
  copyAddress(r + NET_RECORDS_SOCKET_LOCAL, localOf(s)); copyAddress(r + NET_RECORDS_SOCKET_PEER, peerOf(s));
  if (s.type == STREAM) {
    store<u32>(r, s.state == NET_TCP_STATE_LISTEN ? s.pending : dataEnd(s) - s.rcvSeen, NET_RECORDS_SOCKET_RECEIVE_QUEUE);
    store<u32>(r, s.state == NET_TCP_STATE_LISTEN ? s.backlog : s.state > 4 && <i32>(s.sndEnd - s.sndUna) > 0 ? s.sndEnd - s.sndUna : 0, NET_RECORDS_SOCKET_SEND_QUEUE);
    store<u32>(r, s.retransmits, NET_RECORDS_SOCKET_RETRANSMITTED); store<u32>(r, s.srtt, NET_RECORDS_SOCKET_RTT_US); store<u32>(r, s.cwnd, NET_RECORDS_SOCKET_CONGESTION_WINDOW);
  } else store<u32>(r, datagramsHeld(s), NET_RECORDS_SOCKET_RECEIVE_QUEUE);
  return true;
}
/** 127.0.0.0/8, the own network, everything else. */
function route(n: u32, r: usize): bool {
  setAny(r + NET_RECORDS_ROUTE_GATEWAY);
  if (n == 0) { setV4(r + NET_RECORDS_ROUTE_ADDRESS, 127); store<u32>(r, 8, NET_RECORDS_ROUTE_PREFIX); store<u32>(r, LO, NET_RECORDS_ROUTE_INTERFACE); return true; }
  store<u32>(r, ETH, NET_RECORDS_ROUTE_INTERFACE);
  if (n == 1) {
    if (ownV4() == 0) return false;
    setV4(r + NET_RECORDS_ROUTE_ADDRESS, ownV4() & v4Mask(config.prefix)); store<u32>(r, config.prefix, NET_RECORDS_ROUTE_PREFIX);
    return true;
  }
  if (isAny(gatewayOf()) || v4(gatewayOf()) == 0) return false;
  setAny(r + NET_RECORDS_ROUTE_ADDRESS);
  copyAddress(r + NET_RECORDS_ROUTE_GATEWAY, gatewayOf());
  return true;
}
