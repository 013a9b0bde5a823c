/**
 * Cost of a full segment, as i386 (a static Linux program for the host: count its instructions with `perf stat` or callgrind). mode 1: receive (batches of 8 frames and a
 * recv), mode 2: send (one send of 16 segments, acknowledgements for every second), 3: the same with software checksums, 4: receive with software checksums.
 */
import { ACK_, arpFrame, setupPeer, peerFrame, frameOut, lastAckOut, lastSeqOut } from './peer';
import { Op } from '../../../servers/net/op';
import { coreStart, device, finish, frameIn, newOp, privateBytes, submit, transmitted } from '../../../servers/net/core';
import { setHost } from '../../../servers/net/host';

const STATE_BYTES: u32 = 2 << 20;
const STATE: usize = memory.data(2 << 20, 4096);
const HEAP_BYTES: u32 = 4 << 20;
const HEAP: usize = memory.data(4 << 20, 4096);
const PACKETS: usize = memory.data(2048 * 128, 64);
const SHARED: usize = memory.data(1 << 20, 4096);
let clockNs: u64 = 1_000_000_000;
let status: i32 = 0, result: u32 = 0;
const outs: usize = memory.data(4 * 256, 4);
let outCount: u32 = 0;
function nothing(): void {}
function transmit(at: usize, bytes: u32, flags: u32, start: u32, offset: u32): void { store<usize>(outs + (outCount << 2), at); outCount++; frameOut(at, bytes); }
function answer(at: usize): void { const op = changetype<Op>(at); status = op.status; result = op.r0; }
function clock(): u64 { clockNs += 10_000; return clockNs; }
function random(): u32 { return 0x12345; }
let op: Op = changetype<Op>(0);
function call(code: u32, a0: u32, a1: u32, a2: u32, a3: u32, a4: u32): u32 {
  op.code = code; op.a0 = a0; op.a1 = a1; op.a2 = a2; op.a3 = a3; op.a4 = a4; op.a5 = 0;
  submit(op);
  settle();
  return result;
}
function settle(): void {
  finish();
  for (let n: u32 = 0; n < outCount; n++) transmitted(load<usize>(outs + (n << 2)));
  outCount = 0;
}
function run(mode: u32, segments: u32): void {
  setHost(nothing, nothing, transmit, answer, clock, random);
  if (coreStart(STATE, STATE_BYTES, 64, HEAP, HEAP_BYTES, PACKETS, 128, SHARED, 1 << 20) < 0) unreachable();
  if (privateBytes(64, STATE_BYTES, 128) > HEAP_BYTES) unreachable();
  device(0x00005452, 0x5634, 1500, mode >= 3 ? 1 : 3);
  op = newOp();
  // 10.0.2.15/24
  store<u16>(SHARED, 2); store<u32>(SHARED, 0xffff0000, 12); store<u32>(SHARED, 0x0f02000a, 16);
  call(17, 2, 1, 0, 24, 0);
  store<u32>(SHARED, 0, 16); store<u16>(SHARED, 80, 2);
  call(1, 1, 2, 1, 0, 0); call(2, 1, 0, 0, 0, 0); call(3 + 1, 1, 5, 0, 0, 0);
  setupPeer();
  frameIn(arpFrame(), 42, 0); settle();
  let f = peerFrame(2, 1000, 0, 0); frameIn(f, 14 + 60, 0); settle();
  f = peerFrame(ACK_, 1001, lastSeqOut + 1, 0); frameIn(f, 66, 0); settle();
  call(5, 1, 2, 0xffffffff, 1, 0);
  let seq: u32 = 1001, acked = lastSeqOut + 1, position: u32 = 0;
  const good: u32 = mode == 4 ? 0 : 1;
  if (mode == 1 || mode == 4) {
    for (let n: u32 = 0; n < segments; n += 8) {
      for (let k = 0; k < 8; k++) { const at = peerFrame(ACK_, seq, acked, 1448); frameIn(at, 66 + 1448, good); seq += 1448; }
      settle();
      position += call(7, 2, position, 65536, 65536, 1);
    }
  } else {
    for (let n: u32 = 0; n < segments; n += 16) {
      position += call(6, 2, position, 65536, 16 * 1448, 1);
      for (let k: u32 = 0; k < 8; k++) { acked += 2896; const at = peerFrame(ACK_, seq, acked, 0); frameIn(at, 66, 1); if ((k & 3) == 3) settle(); }
    }
  }
  if (lastAckOut == 0 || position < segments * 1448) unreachable();
}
export function main(stack: usize): i32 {
  // argv[1] = mode, argv[2] = segments / 1000
  const a = load<usize>(stack + 8), b = load<usize>(stack + 12);
  run(<u32>load<u8>(a) - 48, (<u32>load<u8>(b) - 48) * 16000);
  return 0;
}
