/** The network core as wasm in Node (test/net/stack.ts): frames in and out through host imports, one instance per incarnation over the same memory. */
import { checksumOfRange } from './probe';
import { ATTACHED, FRESH, coreStart, device, deviceGone, finish, frameIn, freePackets, newOp, nextDeadline, parkedOps, privateBytes, submit, transmitted } from '../../../servers/net/core';
import { counterValue } from '../../../servers/net/counters';
import { setHost } from '../../../servers/net/host';
import { Op } from '../../../servers/net/op';
import { recordsBad, recordsTaken } from '../../../servers/net/record';
import { pagesFree } from '../../../servers/net/pool';
import { socketsUsed } from '../../../servers/net/socket';
import { chunksFree } from '../../../servers/net/datagram';
import { reassembling } from '../../../servers/net/reassembly';
import { dnsQueries } from '../../../servers/net/dns';
import { answer, clock, random, transmit, windowClose, windowOpen } from './device';

function hostOpen(): void { windowOpen(); }
function hostClose(): void { windowClose(); }
function hostTransmit(frame: usize, bytes: u32, flags: u32, start: u32, offset: u32): void { transmit(frame, bytes, flags, start, offset); }
function hostAnswer(at: usize): void { const op = changetype<Op>(at); answer(at, op.cookie, op.status, op.r0, op.r1); }
function hostClock(): u64 { return clock(); }
function hostRandom(): u32 { return random(); }

export function start(state: usize, stateBytes: u32, sockets: u32, heap: usize, heapBytes: u32, packets: usize, packetCount: u32, shared: usize, sharedBytes: u32): i32 {
  setHost(hostOpen, hostClose, hostTransmit, hostAnswer, hostClock, hostRandom);
  return coreStart(state, stateBytes, sockets, heap, heapBytes, packets, packetCount, shared, sharedBytes);
}
export function needs(sockets: u32, stateBytes: u32, packets: u32): u32 { return privateBytes(sockets, stateBytes, packets); }
export function nic(macLow: u32, macHigh: u32, mtu: u32, flags: u32): bool { return device(macLow, macHigh, mtu, flags); }
export function nicGone(): void { deviceGone(); }
export function receive(frame: usize, bytes: u32, flags: u32): void { frameIn(frame, bytes, flags); }
export function sent(frame: usize): void { transmitted(frame); }
export function end(): void { finish(); }
export function deadline(): u64 { return nextDeadline(); }
export function op(): usize { return changetype<usize>(newOp()); }
export function request(at: usize, code: u32, entry: u32, cookie: u32, a0: u32, a1: u32, a2: u32, a3: u32, a4: u32, a5: u32): void {
  const o = changetype<Op>(at);
  o.code = code; o.entry = entry; o.cookie = cookie; o.a0 = a0; o.a1 = a1; o.a2 = a2; o.a3 = a3; o.a4 = a4; o.a5 = a5;
  submit(o);
}
/** Objects in use: sockets, free pages, free packets, free chunks, reassemblies, queries, parked operations, records taken, records bad. */
export function objects(n: u32): u32 {
  switch (n) {
    case 0: return socketsUsed;
    case 1: return pagesFree;
    case 2: return freePackets();
    case 3: return chunksFree;
    case 4: return reassembling();
    case 5: return dnsQueries();
    case 6: return parkedOps();
    case 7: return recordsTaken;
    case 8: return recordsBad;
    default: return 0;
  }
}
export function counter(n: u32): u32 { return counterValue(n); }
export function probe(at: usize, bytes: u32): u32 { return checksumOfRange(at, bytes); }
export const fresh: i32 = FRESH;
export const attached: i32 = ATTACHED;
