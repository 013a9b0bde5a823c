/**
 * Addresses: 16 bytes in network order, IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2). An address is passed as a pointer to its bytes. `v4` words are the four
 * bytes as they lie in memory (little-endian load): 10.0.2.15 is 0x0f02000a. Everything IPv4 does with an address goes through `v4`.
 */
export const ADDRESS_BYTES: usize = 16;
const MAPPED: u32 = 0xffff0000; // bytes 00 00 ff ff

export function setV4(at: usize, v4: u32): void { store<u64>(at, 0); store<u32>(at, MAPPED, 8); store<u32>(at, v4, 12); }
export function isV4(at: usize): bool { return load<u64>(at) == 0 && load<u32>(at, 8) == MAPPED; }
export function v4(at: usize): u32 { return load<u32>(at, 12); }
export function copyAddress(to: usize, from: usize): void { store<u64>(to, load<u64>(from)); store<u64>(to, load<u64>(from, 8), 8); }
export function sameAddress(a: usize, b: usize): bool {
  return load<u32>(a, 12) == load<u32>(b, 12) && load<u32>(a, 8) == load<u32>(b, 8) && load<u32>(a, 4) == load<u32>(b, 4) && load<u32>(a) == load<u32>(b);
}
/** :: or 0.0.0.0. */
export function isAny(at: usize): bool { return load<u32>(at, 12) == 0 && load<u64>(at) == 0 && (load<u32>(at, 8) == 0 || load<u32>(at, 8) == MAPPED); }
export function setAny(at: usize): void { setV4(at, 0); }

export function v4Loopback(a: u32): bool { return (a & 255) == 127; }
/** 224.0.0.0/4. */
export function v4Multicast(a: u32): bool { return (a & 0xf0) == 0xe0; }
/** 0.0.0.0/8 and 240.0.0.0/4, but the limited broadcast. */
export function v4Invalid(a: u32): bool { return (a & 255) == 0 || ((a & 0xf0) == 0xf0 && a != 0xffffffff); }
/** The mask of a prefix, as a v4 word. */
export function v4Mask(prefix: u32): u32 { return prefix == 0 ? 0 : bswap<u32>(0xffffffff << (32 - prefix)); }
export function isMulticastOrBroadcast(at: usize): bool { return v4Multicast(v4(at)) || v4(at) == 0xffffffff; }

// ---- big-endian fields ------------------------------------------------------------------------------------------------------------------
export function get16(at: usize): u32 { const v = <u32>load<u16>(at); return (v << 8 | v >> 8) & 0xffff; }
export function put16(at: usize, v: u32): void { store<u16>(at, <u16>(v << 8 | (v >> 8 & 255))); }
export function get32(at: usize): u32 { return bswap<u32>(load<u32>(at)); }
export function put32(at: usize, v: u32): void { store<u32>(at, bswap<u32>(v)); }
