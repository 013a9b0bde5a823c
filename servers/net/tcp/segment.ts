/** The segment at hand, taken apart (RFC 9293, 3.1; RFC 7323, RFC 2018). Header fields that do not fit are refused here. */
import { get16, get32 } from '../address';
import { C_TCP_CHECKSUM, C_TCP_HEADER, C_TCP_MANY, C_TCP_OPTION, C_TCP_PORT_ZERO, C_TCP_SHORT, count } from '../counters';
import { PROTOCOL_TCP, toMany, transportIntact } from '../ipv4';

export const FIN: u32 = 1;
export const SYN: u32 = 2;
export const RST: u32 = 4;
export const PSH: u32 = 8;
export const ACK: u32 = 16;
export const URG: u32 = 32;
export const TCP_BYTES: u32 = 20;
const MAX_SACK: u32 = 4;

@unmanaged @final export class Segment {
  sourcePort: u32; destinationPort: u32; seq: u32; ack: u32; flags: u32; window: u32; urgent: u32;
  at: usize; bytes: u32; // payload
  length: u32; // sequence space: payload + SYN + FIN
  mss: u32; scale: i32; sackPermitted: bool; stamped: bool; tsVal: u32; tsEcr: u32; sacks: u32;
}
export const seg: Segment = changetype<Segment>(memory.data(128, 8));
const SACKS: usize = memory.data(32, 4);
export function sackStart(n: u32): u32 { return load<u32>(SACKS + (<usize>n << 3)); }
export function sackEnd(n: u32): u32 { return load<u32>(SACKS + (<usize>n << 3), 4); }

/** False: dropped and counted. */
export function parse(at: usize, bytes: u32, verified: bool): bool {
  if (bytes < TCP_BYTES) { count(C_TCP_SHORT); return false; }
  const header = <u32>load<u8>(at, 12) >> 4 << 2;
  if (header < TCP_BYTES || header > bytes) { count(C_TCP_HEADER); return false; }
  if (toMany) { count(C_TCP_MANY); return false; } // RFC 9293, 3.9.2.3
  if (!verified && !transportIntact(PROTOCOL_TCP, at, bytes)) { count(C_TCP_CHECKSUM); return false; }
  seg.sourcePort = get16(at); seg.destinationPort = get16(at + 2);
  if (seg.sourcePort == 0 || seg.destinationPort == 0) { count(C_TCP_PORT_ZERO); return false; }
  seg.seq = get32(at + 4); seg.ack = get32(at + 8);
  const flags = <u32>load<u8>(at, 13) & 63;
  seg.flags = flags; seg.window = get16(at + 14); seg.urgent = get16(at + 18);
  seg.at = at + header; seg.bytes = bytes - header;
  seg.length = seg.bytes + (flags & FIN) + (flags >> 1 & 1);
  seg.mss = 0; seg.scale = -1; seg.sackPermitted = false; seg.stamped = false; seg.sacks = 0;
  if (header == 32 && load<u32>(at, 20) == 0x0a080101) { seg.stamped = true; seg.tsVal = get32(at + 24); seg.tsEcr = get32(at + 28); }
  else if (header != TCP_BYTES) options(at + TCP_BYTES, header - TCP_BYTES);
  return true;
}
/** Options that do not fit end the list: what came before them counts. */
function options(at: usize, bytes: u32): void {
  let n: u32 = 0;
  while (n < bytes) {
    const kind = <u32>load<u8>(at + n);
    if (kind == 0) return;
    if (kind == 1) { n++; continue; }
    if (n + 1 >= bytes) { count(C_TCP_OPTION); return; }
    const length = <u32>load<u8>(at + n + 1);
    if (length < 2 || length > bytes - n) { count(C_TCP_OPTION); return; }
    const value = at + n + 2;
    switch (kind) {
      case 2: if (length == 4 && (seg.flags & SYN) != 0) seg.mss = get16(value); else count(C_TCP_OPTION); break;
      case 3: if (length == 3 && (seg.flags & SYN) != 0) { const k = <i32>load<u8>(value); seg.scale = k > 14 ? 14 : k; } else count(C_TCP_OPTION); break;
      case 4: if (length == 2 && (seg.flags & SYN) != 0) seg.sackPermitted = true; else count(C_TCP_OPTION); break;
      case 5:
        if (length >= 10 && (length - 2 & 7) == 0) {
          const blocks = (length - 2) >> 3;
          for (let k: u32 = 0; k < blocks && k < MAX_SACK; k++) { store<u32>(SACKS + (<usize>k << 3), get32(value + (<usize>k << 3))); store<u32>(SACKS + (<usize>k << 3), get32(value + (<usize>k << 3) + 4), 4); }
          seg.sacks = blocks < MAX_SACK ? blocks : MAX_SACK;
        } else count(C_TCP_OPTION);
        break;
      case 8: if (length == 10) { seg.stamped = true; seg.tsVal = get32(value); seg.tsEcr = get32(value + 4); } else count(C_TCP_OPTION); break;
      default:
    }
    n += length;
  }
}
