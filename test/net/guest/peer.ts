/** A peer for segments.ts: frames of one connection with timestamps, correct checksums not needed when verified. */
import { get16, get32, put16, put32 } from '../../../servers/net/address';
import { transportSum } from '../../../servers/net/ipv4';
import { add, finish } from '../../../servers/net/checksum';
export const ACK_: u32 = 16;
const FRAMES: usize = memory.data(2048 * 8, 64);
let turn: u32 = 0;
export let lastSeqOut: u32 = 0;
export let lastAckOut: u32 = 0;
let stampOut: u32 = 0;
export let frames: u32 = 0;
const VARIANTS: usize = memory.data(2048 * 8, 64);
export function setupPeer(): void {
  for (let n: usize = 0; n < 8; n++) {
    const f = VARIANTS + n * 2048 + 2 + 16;
    store<u32>(f, 0x00005452); store<u16>(f, 0x5634, 4); store<u32>(f, 2, 6); store<u16>(f, 0x0200, 10); put16(f + 12, 0x800);
    const ip = f + 14;
    store<u8>(ip, 0x45); store<u8>(ip, 64, 8); store<u8>(ip, 6, 9); store<u32>(ip, 0x0202000a, 12); store<u32>(ip, 0x0f02000a, 16);
    const t = ip + 20;
    put16(t, 4000); put16(t + 2, 80);
  }
}
/** flags 2: SYN with mss, SACK, stamps and scale 7 (74 bytes); else with stamps. */
export function peerFrame(flags: u32, seq: u32, ack: u32, bytes: u32): usize {
  const f = VARIANTS + <usize>(turn++ & 7) * 2048 + 18, ip = f + 14, t = ip + 20;
  const header: u32 = flags == 2 ? 40 : 32;
  put16(ip + 2, 20 + header + bytes); store<u16>(ip, 0, 10);
  store<u16>(ip, <u16>finish(add(0, ip, 20)), 10);
  put32(t + 4, seq); put32(t + 8, ack); store<u8>(t, <u8>(header << 2), 12); store<u8>(t, <u8>flags, 13); put16(t + 14, flags == 2 ? 65535 : 4000); store<u32>(t, 0, 16);
  if (flags == 2) { store<u32>(t, 0xb4050402, 20); store<u32>(t, 0x0a080204, 24); put32(t + 28, seq); store<u32>(t, 0, 32); store<u32>(t, 0x07030301, 36); }
  else { store<u32>(t, 0x0a080101, 20); put32(t + 24, seq); put32(t + 28, stampOut); }
  store<u16>(t, <u16>transportSum(0x0202000a, 0x0f02000a, 6, t, header + bytes), 16);
  return f;
}
export function frameOut(at: usize, bytes: u32): void {
  if (get16(at + 12) == 0x806) return;
  frames++;
  lastSeqOut = get32(at + 38); lastAckOut = get32(at + 42);
  if (load<u32>(at, 54) == 0x0a080101) stampOut = get32(at + 58);
}
const ARP: usize = memory.data(64, 4);
/** The peer asks for us, and is known thereby: 42 bytes. */
export function arpFrame(): usize {
  const f = ARP + 2;
  store<u32>(f, 0xffffffff); store<u16>(f, 0xffff, 4); store<u32>(f, 2, 6); store<u16>(f, 0x0200, 10); put16(f + 12, 0x806);
  const a = f + 14;
  put16(a, 1); put16(a + 2, 0x800); store<u8>(a, 6, 4); store<u8>(a, 4, 5); put16(a + 6, 1);
  store<u32>(a, 2, 8); store<u16>(a, 0x0200, 12); store<u32>(a, 0x0202000a, 14); store<u32>(a, 0x0f02000a, 24);
  return f;
}
