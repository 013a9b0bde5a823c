/**
 * What the kernel left: Untypeds, modules, interrupt lines, device memory, the command line. The handles of the boot-info page are valid here
 * because root mirrored its Table (servers/root).
 */
import {
  ERR_OK, OBJ_UNTYPED, OBJ_FRAMES, BOOTINFO_VA, BOOTINFO_FIELDS_CPUS, BOOTINFO_FIELDS_MEMORY_PAGES, BOOTINFO_FIELDS_UNTYPED_FIRST, BOOTINFO_FIELDS_UNTYPED_COUNT,
  BOOTINFO_FIELDS_MODULE_FIRST, BOOTINFO_FIELDS_MODULE_COUNT, BOOTINFO_FIELDS_IRQ_FIRST, BOOTINFO_FIELDS_IRQ_COUNT, BOOTINFO_FIELDS_MMIO_FIRST,
  BOOTINFO_FIELDS_MMIO_COUNT, BOOTINFO_FIELDS_MODULES, BOOTINFO_FIELDS_CMDLINE,
} from 'kintsugi/abi';
import * as sys from '../lib/sys';
import * as str from '../lib/str';
import { log2Ceil } from '../lib/mem';
import { globals } from './journal';

function field(offset: u32): u32 { return load<u32>(<usize>BOOTINFO_VA + <usize>offset); }
export function cpus(): u32 { return field(BOOTINFO_FIELDS_CPUS); }
export function memoryPages(): u32 { return field(BOOTINFO_FIELDS_MEMORY_PAGES); }
export function commandLine(): usize { return <usize>BOOTINFO_VA + <usize>BOOTINFO_FIELDS_CMDLINE; }

// ---- memory ---------------------------------------------------------------------------------------------------------------------------


/** What the servers, their twins and the cache of fs are made of: with less than this beside it, the programs' Untyped is halved. */
const SERVERS_BYTES: u32 = 44 << 20;
const LEAST_PROGRAMS_BITS: u32 = 23;

/** The largest Untyped with nothing in it goes to the programs, undivided where memory is not scarce; call first. */
export function programsUntyped(): u32 {
  if (globals().programs != 0) return globals().programs;
  let programs: u32 = 0;
  const first = field(BOOTINFO_FIELDS_UNTYPED_FIRST), count = field(BOOTINFO_FIELDS_UNTYPED_COUNT);
  let most: u32 = 0, all: u32 = 0;
  for (let n: u32 = 0; n < count; n++) {
    if (sys.untypedInfo(first + n) != ERR_OK) continue;
    all += sys.R.w1;
    if (sys.result(3) != 0) continue;
    if (sys.R.w1 > most) { most = sys.R.w1; programs = first + n; }
  }
  let bits = log2Ceil(most);
  if (all - most < SERVERS_BYTES && bits > LEAST_PROGRAMS_BITS) {
    while (all - (<u32>1 << bits) < SERVERS_BYTES && bits > LEAST_PROGRAMS_BITS) bits--;
    if (sys.retype(programs, OBJ_UNTYPED, bits, 1, 0, 0) == ERR_OK) programs = sys.R.w0;
  }
  globals().programs = programs;
  return programs;
}
/** A child Untyped of 2^bits bytes, of the smallest Untyped with room; 0 = there is none. */
export function takeUntyped(bits: u32): u32 { return take(OBJ_UNTYPED, bits); }
/** Frames of 2^n pages straight from boot memory (large caches). */
export function takeFrames(pages: u32): u32 { return take(OBJ_FRAMES, 12 + log2Ceil(pages)); }
function take(type: u32, bits: u32): u32 {
  const first = field(BOOTINFO_FIELDS_UNTYPED_FIRST), count = field(BOOTINFO_FIELDS_UNTYPED_COUNT);
  let best: u32 = 0, least: u32 = 0xffffffff;
  for (let n: u32 = 0; n < count; n++) {
    const u = first + n;
    if (u == globals().programs || sys.untypedInfo(u) != ERR_OK) continue;
    const free = sys.R.w1;
    if (free >= (<u32>1 << bits) + 4096 && free < least) { best = u; least = free; }
  }
  if (best == 0 || sys.retype(best, type, bits, 1, 0, 0) != ERR_OK) return 0;
  return sys.R.w0;
}

// ---- modules --------------------------------------------------------------------------------------------------------------------------

@unmanaged @final export class Module { frames: u32; bytes: u32; index: u32 }
const FOUND: Module = changetype<Module>(memory.data(12, 4));

/** (at, bytes) is `name`, or a path to it, with or without `.elf`: QEMU passes "build/guest/fs.elf fs", our VM "fs". */
function names(at: usize, bytes: u32, name: usize): bool {
  let from: u32 = 0;
  for (let n: u32 = 0; n < bytes; n++) { const c = load<u8>(at + n); if (c == 32 || c == 47) from = n + 1; }
  const want = str.length(name), have = bytes - from;
  if (have != want && have != want + 4) return false;
  for (let n: u32 = 0; n < want; n++) if (load<u8>(at + from + n) != load<u8>(name + n)) return false;
  return have == want || str.startsWithLit(at + from + want, 4, '.elf');
}
/** The module of a name; null when the boot loader did not bring it. */
export function findModule(name: usize): Module {
  const count = field(BOOTINFO_FIELDS_MODULE_COUNT);
  for (let n: u32 = 0; n < count; n++) {
    const record = <usize>BOOTINFO_VA + <usize>BOOTINFO_FIELDS_MODULES + (<usize>n << 4);
    const at = <usize>BOOTINFO_VA + <usize>load<u32>(record, 4);
    if (!names(at, str.length(at), name)) continue;
    FOUND.frames = field(BOOTINFO_FIELDS_MODULE_FIRST) + n; FOUND.bytes = load<u32>(record); FOUND.index = n;
    return FOUND;
  }
  return changetype<Module>(0);
}

// ---- devices --------------------------------------------------------------------------------------------------------------------------

/** The Device of an interrupt line, 0 when there is none. */
export function irqDevice(line: u32): u32 { return line < field(BOOTINFO_FIELDS_IRQ_COUNT) ? field(BOOTINFO_FIELDS_IRQ_FIRST) + line : 0; }

/**
 * Frames for device memory [paddr, paddr + 2^bits): the device Untyped hands out from its start on, so what lies before is taken as Frames
 * of its own and kept unused. Ask in ascending order of addresses. 0 = not in any device Untyped, or passed already.
 */
export function deviceFrames(paddr: u32, bits: u32): u32 {
  const first = field(BOOTINFO_FIELDS_MMIO_FIRST), count = field(BOOTINFO_FIELDS_MMIO_COUNT);
  for (let n: u32 = 0; n < count; n++) {
    const u = first + n;
    if (sys.untypedInfo(u) != ERR_OK) continue;
    const sizeBits = sys.R.w0, free = sys.R.w1, base = sys.R.w2 << 12;
    const size: u32 = <u32>1 << sizeBits;
    if (paddr < base || paddr - base >= size) continue;
    let at = base + (size - free);
    if (paddr < at) return 0;
    while (at < paddr) {
      const gap = paddr - at;
      const step = 31 - <u32>clz<u32>(gap);
      if (sys.retype(u, OBJ_FRAMES, step, 1, 0, 0) != ERR_OK) return 0;
      at += <u32>1 << step;
    }
    return sys.retype(u, OBJ_FRAMES, bits, 1, 0, 0) == ERR_OK ? sys.R.w0 : 0;
  }
  return 0;
}
