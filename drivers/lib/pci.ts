/**
 * virtio over PCI, as a driver sees it: capabilities from the copy of configuration space in its startup regions, structures in the BARs it was
 * given (virtio 1.2, section 4.1.4). The device is not trusted: the capability list is walked a bounded number of times, and a structure
 * counts only when it lies wholly inside a BAR that is mapped.
 */
import { REGION_MMIO, REGION_PCI_CONFIG } from 'kintsugi/protocols';
import { region, regionVa } from '../../servers/lib/startup';

const STATUS: u32 = 0x06; // bit 4: there is a capability list
const CAPABILITIES: u32 = 0x34;
const VENDOR_CAPABILITY: u32 = 0x09;
const MAX_CAPABILITIES: u32 = 48;

export const VIRTIO_COMMON: u32 = 1;
export const VIRTIO_NOTIFY: u32 = 2;
export const VIRTIO_ISR: u32 = 3;
export const VIRTIO_DEVICE: u32 = 4;

/** A structure found: where it is mapped, its length, and for NOTIFY the multiplier. */
@unmanaged @final export class Structure { va: usize; bytes: u32; multiplier: u32 }

/** Fills `out` with the first structure of `type` that has at least `bytes`; false when the device offers none that is usable. */
export function virtioStructure(type: u32, bytes: u32, out: Structure): bool {
  const config = regionVa(REGION_PCI_CONFIG);
  if (config == 0 || (load<u16>(config + STATUS) & 16) == 0) return false;
  let at = <u32>load<u8>(config + CAPABILITIES) & 0xfc;
  for (let n: u32 = 0; n < MAX_CAPABILITIES && at >= 0x40 && at <= 256 - 16; n++) {
    const cap = config + at;
    const length = <u32>load<u8>(cap, 2);
    if (load<u8>(cap) == VENDOR_CAPABILITY && load<u8>(cap, 3) == type && length >= 16 && place(cap, bytes, out)) {
      if (type != VIRTIO_NOTIFY) return true;
      if (length >= 20 && at <= 256 - 20) { out.multiplier = load<u32>(cap, 16); return true; }
    }
    at = <u32>load<u8>(cap, 1) & 0xfc;
  }
  return false;
}
/** {.., bar u8 at 4, offset u32 at 8, length u32 at 12} */
function place(cap: usize, bytes: u32, out: Structure): bool {
  const bar = <u32>load<u8>(cap, 4), offset = load<u32>(cap, 8), length = load<u32>(cap, 12);
  if (bar > 5 || length < bytes) return false;
  const r = region(REGION_MMIO + bar);
  if (changetype<usize>(r) == 0) return false;
  const room = (r.pages << 12) - (r.flags & 4095); // flags = offset of the BAR in its first page
  if (offset > room || length > room - offset) return false;
  out.va = r.va + (r.flags & 4095) + offset; out.bytes = length; out.multiplier = 0;
  return true;
}
