/** Ethernet II (no 802.3 lengths, no VLAN tags): 6 bytes to, 6 bytes from, type. */
import { get16, put16 } from './address';
import { arpInput } from './arp';
import { ETH, eth, isUp, macOf } from './config';
import { C_FRAME_DOWN, C_FRAME_LONG, C_FRAME_NOT_OURS, C_FRAME_SHORT, C_FRAME_SOURCE, C_FRAME_TYPE, count } from './counters';
import { ipv4Input } from './ipv4';
import { ETHERNET_BYTES, Packet } from './packet';

export const TYPE_IPV4: u32 = 0x0800;
export const TYPE_ARP: u32 = 0x0806;

export function macLow(at: usize): u32 { return load<u32>(at); }
export function macHigh(at: usize): u32 { return <u32>load<u16>(at, 4); }
export function macBroadcast(at: usize): bool { return load<u32>(at) == 0xffffffff && load<u16>(at, 4) == 0xffff; }
export function macGroup(at: usize): bool { return (load<u8>(at) & 1) != 0; }
export function macSame(a: usize, b: usize): bool { return load<u32>(a) == load<u32>(b) && load<u16>(a, 4) == load<u16>(b, 4); }
export function macCopy(to: usize, from: usize): void { store<u32>(to, load<u32>(from)); store<u16>(to, load<u16>(from, 4), 4); }
/** Writes the header in front of the packet's IP datagram or ARP message. */
export function ethernetHeader(p: Packet, to: usize, type: u32): void {
  macCopy(p.frame, to); macCopy(p.frame + 6, macOf());
  put16(p.frame + 12, type);
}

/** A frame of the device. `verified`: the device has checked its transport checksum. */
export function frameInput(at: usize, bytes: u32, verified: bool): void {
  eth.rxFrames++; eth.rxBytes += bytes;
  if (!isUp()) { count(C_FRAME_DOWN); return; }
  if (bytes < ETHERNET_BYTES) { eth.rxErrors++; count(C_FRAME_SHORT); return; }
  if (bytes > eth.mtu + ETHERNET_BYTES + 4) { eth.rxErrors++; count(C_FRAME_LONG); return; }
  const group = macGroup(at);
  if (!group && !macSame(at, macOf())) { count(C_FRAME_NOT_OURS); return; }
  if (macGroup(at + 6)) { eth.rxErrors++; count(C_FRAME_SOURCE); return; }
  const type = get16(at + 12);
  if (type == TYPE_IPV4) ipv4Input(ETH, at + ETHERNET_BYTES, bytes - ETHERNET_BYTES, verified, group);
  else if (type == TYPE_ARP) arpInput(at + ETHERNET_BYTES, bytes - ETHERNET_BYTES, at + 6);
  else count(C_FRAME_TYPE);
}
