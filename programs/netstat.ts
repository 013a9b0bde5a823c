/** netstat [-a] [-l] [-t] [-u] [-r] [-s] [-m] [-i] [-e] [-n]: connections; with -a or -l also listeners; -r routes, -s counters of the stack, -m memory, -i interfaces. */
import { begin, finish, option, usage } from './lib/program';
import { helped } from './lib/help';
import { isV4, putAddress, v4Of } from './lib/net';
import { interfaceName, nextRecord, startQuery } from './lib/netinfo';
import { put, putByte, putLiteralLeft, putNumber, putRight, putSpaces, putText } from './lib/output';
import { lengthOf } from './lib/text';
import * as P from 'kintsugi/protocols';

let all: bool = false, listeners: bool = false, tcp: bool = false, udp: bool = false, extra: bool = false;

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  if (helped('netstat [-a] [-l] [-t] [-u] [-e] [-r] [-s] [-m] [-i] [-n]\n  -a  all sockets    -l  listeners only    -t  TCP    -u  UDP and ICMP    -e  round trip, window, retransmissions\n  -r  routes    -s  counters of the stack that are not 0    -m  memory of sockets and their data\n  -i  interfaces\nNames are never looked up. Examples: netstat -at    netstat -s')) return 0;
  let routes = false, counters = false, memory_ = false, interfaces = false, letter: u32;
  while ((letter = option('alturesmin')) != 0) {
    if (letter == 63) return usage('netstat [-a] [-l] [-t] [-u] [-e] [-r] [-s] [-m] [-i] [-n]');
    if (letter == 97) all = true;
    else if (letter == 108) listeners = true;
    else if (letter == 116) tcp = true;
    else if (letter == 117) udp = true;
    else if (letter == 101) extra = true;
    else if (letter == 114) routes = true;
    else if (letter == 115) counters = true;
    else if (letter == 109) memory_ = true;
    else if (letter == 105) interfaces = true;
  }
  if (routes) return showRoutes();
  if (counters) return showCounters(P.NET_WHAT_COUNTERS);
  if (memory_) return showCounters(P.NET_WHAT_MEMORY);
  if (interfaces) return showInterfaces();
  if (!tcp && !udp) { tcp = true; udp = true; }
  put('Proto Recv-Q Send-Q Local Address          Foreign Address        State');
  if (extra) put('        RTT-us   Cwnd Retrans');
  putByte(10);
  startQuery(P.NET_WHAT_SOCKETS, P.NET_RECORDS_SOCKET_SIZE);
  for (let r = nextRecord(); r; r = nextRecord()) show(r);
  return 0;
}
function stateName(state: u32): string {
  switch (state) {
    case P.NET_TCP_STATE_CLOSED: return 'CLOSED';
    case P.NET_TCP_STATE_LISTEN: return 'LISTEN';
    case P.NET_TCP_STATE_SYN_SENT: return 'SYN_SENT';
    case P.NET_TCP_STATE_SYN_RECEIVED: return 'SYN_RECV';
    case P.NET_TCP_STATE_ESTABLISHED: return 'ESTABLISHED';
    case P.NET_TCP_STATE_FIN_WAIT1: return 'FIN_WAIT1';
    case P.NET_TCP_STATE_FIN_WAIT2: return 'FIN_WAIT2';
    case P.NET_TCP_STATE_CLOSE_WAIT: return 'CLOSE_WAIT';
    case P.NET_TCP_STATE_CLOSING: return 'CLOSING';
    case P.NET_TCP_STATE_LAST_ACK: return 'LAST_ACK';
    case P.NET_TCP_STATE_TIME_WAIT: return 'TIME_WAIT';
  }
  return '';
}
function end(address: usize, port: u32): void {
  let n = putAddress(address);
  putByte(58); n++;
  if (port == 0) { putByte(42); n++; } else { putNumber(port); n += port > 9999 ? 5 : port > 999 ? 4 : port > 99 ? 3 : port > 9 ? 2 : 1; }
  putSpaces(max(23 - n, 1));
}
function show(r: usize): void {
  const type = load<u32>(r, P.NET_RECORDS_SOCKET_TYPE), state = load<u32>(r, P.NET_RECORDS_SOCKET_STATE), stream = type == P.NET_TYPE_STREAM;
  if (stream ? !tcp : !udp) return;
  const listening = stream ? state == P.NET_TCP_STATE_LISTEN : load<u32>(r, P.NET_RECORDS_SOCKET_PEER_PORT) == 0;
  if (listeners ? !listening : listening && !all) return;
  put(stream ? 'tcp   ' : type == P.NET_TYPE_DATAGRAM ? 'udp   ' : 'icmp  ');
  putRight(load<u32>(r, P.NET_RECORDS_SOCKET_RECEIVE_QUEUE), 6); putByte(32);
  putRight(load<u32>(r, P.NET_RECORDS_SOCKET_SEND_QUEUE), 6); putByte(32);
  end(r + P.NET_RECORDS_SOCKET_LOCAL, load<u32>(r, P.NET_RECORDS_SOCKET_LOCAL_PORT));
  end(r + P.NET_RECORDS_SOCKET_PEER, load<u32>(r, P.NET_RECORDS_SOCKET_PEER_PORT));
  if (extra) {
    putLiteralLeft(stream ? stateName(state) : '', 12);
    if (stream) { putRight(load<u32>(r, P.NET_RECORDS_SOCKET_RTT_US), 7); putRight(load<u32>(r, P.NET_RECORDS_SOCKET_CONGESTION_WINDOW), 7); putRight(load<u32>(r, P.NET_RECORDS_SOCKET_RETRANSMITTED), 8); }
  } else if (stream) put(stateName(state));
  putByte(10);
}
function showRoutes(): i32 {
  put('Destination        Gateway            Iface\n');
  startQuery(P.NET_WHAT_ROUTES, P.NET_RECORDS_ROUTE_SIZE);
  for (let r = nextRecord(); r; r = nextRecord()) {
    const prefix = load<u32>(r, P.NET_RECORDS_ROUTE_PREFIX), address = r + P.NET_RECORDS_ROUTE_ADDRESS;
    let n = 7;
    if (prefix == 0) put('default'); else { n = putAddress(address); putByte(47); putNumber(prefix); n += prefix > 9 ? 3 : 2; }
    putSpaces(max(19 - n, 1));
    const gateway = r + P.NET_RECORDS_ROUTE_GATEWAY;
    n = 1;
    if (load<u32>(gateway, 12) == 0) putByte(42); else n = putAddress(gateway);
    putSpaces(max(19 - n, 1));
    putText(interfaceName(load<u32>(r, P.NET_RECORDS_ROUTE_INTERFACE)));
    putByte(10);
  }
  return 0;
}
const NAME: usize = memory.data(32);
function showCounters(what: u32): i32 {
  startQuery(what, P.NET_RECORDS_COUNTER_SIZE);
  for (let r = nextRecord(); r; r = nextRecord()) {
    const value = load<u32>(r, P.NET_RECORDS_COUNTER_VALUE);
    if (value == 0 && !all && what == P.NET_WHAT_COUNTERS) continue;
    memory.copy(NAME, r + P.NET_RECORDS_COUNTER_NAME, 28);
    store<u8>(NAME + 28, 0);
    putRight(value, 12); put('  '); putText(NAME); putByte(10);
  }
  return 0;
}
function showInterfaces(): i32 {
  put('Iface    MTU    RX-OK RX-ERR    TX-OK TX-ERR\n');
  startQuery(P.NET_WHAT_INTERFACES, P.NET_RECORDS_INTERFACE_SIZE);
  for (let r = nextRecord(); r; r = nextRecord()) {
    const name = r + P.NET_RECORDS_INTERFACE_NAME;
    putText(name); putSpaces(8 - lengthOf(name));
    putRight(load<u32>(r, P.NET_RECORDS_INTERFACE_MTU), 4); putRight(load<u32>(r, P.NET_RECORDS_INTERFACE_RX_FRAMES), 9); putRight(load<u32>(r, P.NET_RECORDS_INTERFACE_RX_ERRORS), 7);
    putRight(load<u32>(r, P.NET_RECORDS_INTERFACE_TX_FRAMES), 9); putRight(load<u32>(r, P.NET_RECORDS_INTERFACE_TX_ERRORS), 7); putByte(10);
  }
  return 0;
}
