/**
 * PCI enumeration: configuration mechanism 1 (ports 0xCF8/0xCFC; PCI Local Bus 3.0, 3.2.2.3.2), bus 0, and what a driver gets of its function.
 *
 * Only the supervisor reaches configuration space. It finds the function, sizes its BARs, switches memory decoding and bus mastering on, and
 * passes on: Frames of each memory BAR, the interrupt line, and a copy of the 256 configuration bytes, in which the driver reads its
 * capabilities (virtio 1.2, 4.1.4). Firmware has assigned BARs and written the line (a GSI) into register 0x3C.
 */
import { BOOTINFO_HANDLES_IO_PORTS } from 'kintsugi/abi';
import * as sys from '../lib/sys';

const ADDRESS: u32 = 0xcf8;
const DATA: u32 = 0xcfc;
const COMMAND: u32 = 0x04;
const COMMAND_MEMORY: u32 = 2;
const COMMAND_MASTER: u32 = 4;
const COMMAND_INTX_OFF: u32 = 1 << 10;

@unmanaged @final export class Bar { paddr: u32; bytes: u32 } // bytes 0 = absent, or ports
@unmanaged @final export class PciFunction {
  device: u32; function: u32; id: u32; irq: u32;
  bars: usize; // 6 x Bar
  config: usize; // 256 bytes
  frames: usize; // u32[6]: Frames of the BARs, 0 = none
  bar(n: u32): Bar { return changetype<Bar>(this.bars + (<usize>n << 3)); }
  framesOf(n: u32): u32 { return load<u32>(this.frames + (<usize>n << 2)); }
}
/** A record: PciFunction, 6 Bars, configuration, 6 handles. */
const BARS_AT: usize = 32;
const CONFIG_AT: usize = 96;
const FRAMES_AT: usize = 352;

function read(device: u32, fn: u32, offset: u32): u32 {
  sys.portOut(BOOTINFO_HANDLES_IO_PORTS, ADDRESS, 4, 0x80000000 | (device << 11) | (fn << 8) | (offset & 0xfc));
  return sys.portIn(BOOTINFO_HANDLES_IO_PORTS, DATA, 4) == 0 ? sys.R.w0 : 0xffffffff;
}
function write(device: u32, fn: u32, offset: u32, value: u32): void {
  sys.portOut(BOOTINFO_HANDLES_IO_PORTS, ADDRESS, 4, 0x80000000 | (device << 11) | (fn << 8) | (offset & 0xfc));
  sys.portOut(BOOTINFO_HANDLES_IO_PORTS, DATA, 4, value);
}

/** Finds the first function with vendor | device << 16 == a or b, prepares it and fills `record` (376 bytes); null when there is none. */
export function pciFind(a: u32, b: u32, record: usize): PciFunction {
  for (let device: u32 = 0; device < 32; device++) {
    if (read(device, 0, 0) == 0xffffffff) continue;
    const functions: u32 = (read(device, 0, 0x0c) & 0x800000) != 0 ? 8 : 1;
    for (let fn: u32 = 0; fn < functions; fn++) {
      const id = read(device, fn, 0);
      if (id != a && id != b) continue;
      const f = changetype<PciFunction>(record);
      prepare(f, device, fn, id);
      return f;
    }
  }
  return changetype<PciFunction>(0);
}
function prepare(f: PciFunction, device: u32, fn: u32, id: u32): void {
  f.device = device; f.function = fn; f.id = id;
  f.bars = changetype<usize>(f) + BARS_AT; f.config = changetype<usize>(f) + CONFIG_AT; f.frames = changetype<usize>(f) + FRAMES_AT;
  f.irq = read(device, fn, 0x3c) & 255;
  const command = read(device, fn, COMMAND) & 0xffff;
  write(device, fn, COMMAND, command & ~COMMAND_MEMORY); // no decoding while BARs are sized
  memory.fill(f.bars, 0, 48);
  memory.fill(f.frames, 0, 24);
  for (let n: u32 = 0; n < 6; n++) {
    const offset = 0x10 + (n << 2);
    const old = read(device, fn, offset);
    if ((old & 1) != 0) continue; // ports
    write(device, fn, offset, 0xffffffff);
    const mask = read(device, fn, offset) & ~15;
    write(device, fn, offset, old);
    const wide = (old & 6) == 4;
    const high = wide ? read(device, fn, offset + 4) : 0;
    if (mask != 0 && (old & ~15) != 0 && high == 0) {
      const bar = f.bar(n);
      bar.paddr = old & ~15;
      bar.bytes = ~mask + 1;
    }
    if (wide) n++;
  }
  write(device, fn, COMMAND, (command | COMMAND_MEMORY | COMMAND_MASTER) & ~COMMAND_INTX_OFF);
  for (let offset: u32 = 0; offset < 256; offset += 4) store<u32>(f.config + <usize>offset, read(device, fn, offset));
}
/** Stops a function for good or before its driver is replaced: no bus mastering. */
export function pciQuiet(f: PciFunction): void { write(f.device, f.function, COMMAND, read(f.device, f.function, COMMAND) & 0xffff & ~COMMAND_MASTER); }
export function pciMaster(f: PciFunction): void { write(f.device, f.function, COMMAND, (read(f.device, f.function, COMMAND) & 0xffff) | COMMAND_MASTER); }
