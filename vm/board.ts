/**
 * The board: one shared WebAssembly.Memory that is the whole machine.
 *
 * This file alone says where things lie. Nothing else does arithmetic on board offsets: the CPU engine, the devices, the runners,
 * snapshots and hashes ask the layout. initial = maximum: V8 reserves the range without touching it, so the reservation costs
 * neither time nor RSS, and typed arrays over it never go stale.
 *
 *      0x0000_0000  header page (HEADER fields), machine blocks (one 4 KiB page per vCPU: MACHINE_BLOCK)
 *      0x0001_0000  vCPU blocks, 64 KiB each (fields: vm/cpu/state.ts)
 *      0x0009_0000  LAPIC blocks, 4 KiB each (vm/devices/lapic.ts)
 *      0x000A_0000  device blocks, 8 KiB each (one field list per device, placed in order of construction)
 *      0x0010_0000  page map: 1 byte per physical page of 4 GiB (PAGE_KIND_*, upper bits belong to vm/cpu)
 *      0x0020_0000  dirty map: 1 byte per physical page of 4 GiB (0xFF = written since every consumer cleaned it)
 *      0x0030_0000  host rings: serial bytes to and from the host
 *      0x0040_0000  trace rings, 256 KiB per vCPU (records of 32 bytes: vm/trace.ts; heads and tails are in the machine blocks)
 *      0x0080_0000  lock-free scratch shared by the engines (invalidation rings, page users...), 56 MiB
 *      0x0400_0000  engine private areas, 32 MiB per vCPU (decode caches, jump caches), 8 of them
 *      0x1800_0000  guest RAM (GUEST_RAM_BASE, a constant: generated code folds it), then, 16 MiB aligned,
 *      ...          soft-MMU views: 16 MiB each, `viewsPerCpu` per vCPU
 *
 * What must stay true: architectural state is in the header (fields not marked derived), machine blocks, vCPU blocks, LAPIC
 * blocks, device blocks and guest RAM, and nowhere else, except disk overlays, which are shared memory of their own, and the network's
 * deterministic peer (vm/net/virtual.ts), which is saved as a string of bytes.
 */
import { FieldList, derived, f64, u32, u8s } from './fields.ts';

declare const brand: unique symbol;
type Brand<T, Name extends string> = T & { readonly [brand]: Name };
/** Guest physical address, 0..2^32-1. */
export type PhysAddr = Brand<number, 'PhysAddr'>;
/** Guest virtual address, 0..2^32-1. */
export type VirtAddr = Brand<number, 'VirtAddr'>;
/** Byte offset in the board memory. */
export type BoardOffset = Brand<number, 'BoardOffset'>;
/** Number of retired guest instructions. */
export type InstrCount = Brand<number, 'InstrCount'>;
/** Virtual time in ns since power on. */
export type VirtualNs = Brand<number, 'VirtualNs'>;

export const BOARD_MAGIC = 0x4b_69_6e_74; // "Kint"
export const BOARD_VERSION = 1;
export const PAGE_BYTES = 4096;
export const MAX_CPUS = 8;

const KiB = 1024;
const MiB = 1024 * 1024;

export const HEADER_BASE = 0 as BoardOffset;
export const MACHINE_BLOCK_BASE = 0x1000 as BoardOffset;
export const MACHINE_BLOCK_BYTES = 4 * KiB;
export const VCPU_BASE = 0x1_0000 as BoardOffset;
export const VCPU_BYTES = 64 * KiB;
export const LAPIC_BASE = 0x9_0000 as BoardOffset;
export const LAPIC_BYTES = 4 * KiB;
export const DEVICE_BASE = 0xa_0000 as BoardOffset;
export const DEVICE_BYTES = 8 * KiB;
export const MAX_DEVICES = 32;
export const PAGE_MAP_BASE = 0x10_0000 as BoardOffset;
export const DIRTY_MAP_BASE = 0x20_0000 as BoardOffset;
export const HOST_RING_BASE = 0x30_0000 as BoardOffset;
export const HOST_RING_BYTES = 128 * KiB;
export const TRACE_BASE = 0x40_0000 as BoardOffset;
export const TRACE_BYTES = 256 * KiB;
export const ENGINE_SHARED_BASE = 0x80_0000 as BoardOffset;
export const ENGINE_SHARED_BYTES = 56 * MiB;
export const ENGINE_PRIVATE_BASE = 0x400_0000 as BoardOffset;
export const ENGINE_PRIVATE_BYTES = 32 * MiB;
export const GUEST_RAM_BASE = 0x1800_0000 as BoardOffset;
export const VIEW_BYTES = 16 * MiB;

/** Page map: what answers at a physical page. Bits 2..7 are the engine's (PT page, code page...). */
export const PAGE_KIND_MASK = 3;
export const PAGE_KIND_HOLE = 0; // reads all ones, writes vanish, both counted: goes to the bus like MMIO
export const PAGE_KIND_RAM = 1;
export const PAGE_KIND_ROM = 2; // readable from GUEST_RAM_BASE + address, writes vanish
export const PAGE_KIND_MMIO = 3; // goes to the bus
export const PAGE_MAP_PAGES = 1 << 20;

/**
 * Dirty map protocol. The engine may hold a write translation for a RAM page only while its dirty byte is DIRTY_ALL; before it
 * makes one it stores DIRTY_ALL. A consumer (snapshot, hash) clears its own bit and has the engines drop their write entries.
 */
export const DIRTY_ALL = 0xff;
export const DIRTY_SNAPSHOT = 1;
export const DIRTY_HASH = 2;

/** Guest physical map of this board (the PC's). */
export const PHYS = {
  conventionalEnd: 0x9_fc00 as PhysAddr, // extended BIOS data area above
  vgaHole: 0xa_0000 as PhysAddr,
  optionRomHole: 0xc_0000 as PhysAddr,
  biosRom: 0xe_0000 as PhysAddr, // ACPI tables live here
  highMemory: 0x10_0000 as PhysAddr,
  /** Below 2 GiB a physical address is a non-negative 32-bit integer, as generated code and the soft MMU take it. */
  maxRamEnd: 0x7ff0_0000 as PhysAddr,
  pciMmio: 0xfeb0_0000 as PhysAddr,
  ioapic: 0xfec0_0000 as PhysAddr,
  lapic: 0xfee0_0000 as PhysAddr,
} as const;

/** Why the machine stopped; `stopReason` in the header. 0 = still running. */
export const STOP_REASONS = ['running', 'exit', 'poweroff', 'reset', 'shutdown', 'timeout', 'stopped', 'error'] as const;
export type StopReason = (typeof STOP_REASONS)[number];

export const HEADER = new FieldList('header', {
  magic: derived(u32), version: derived(u32), cpus: derived(u32), ramBytes: derived(u32), viewsPerCpu: derived(u32),
  parallel: derived(u32),
  /** Stop request: first writer wins (compare-exchange from 0). */
  stopReason: derived(u32), stopStatus: derived(u32), stopCpu: derived(u32),
  /** The host's doorbell: bumped and notified when a ring has output, a vCPU wants its worker, or the machine stops. */
  hostDoorbell: derived(u32),
  /** Bit n: vCPU n got its SIPI and has no worker yet (parallel mode). */
  spawnMask: derived(u32),
  /** vCPUs executing (not parked), parallel mode: decides whether HLT may spin. */
  active: derived(u32),
  /** Pseudo-random state of the schedule, and where in the round the deterministic runner stands (vm/deterministic.ts). */
  scheduleSeed: u32, roundCpu: u32, sliceLeft: u32, pad0: derived(u32),
  roundStartNs: f64, roundNs: f64, /** Longest time any vCPU ran in this round. */ roundBusyNs: f64,
  /** Wall clock of the guest's RTC at power on, seconds since 1970 UTC. */
  rtcBaseSeconds: f64,
  /** Host ns that the guest does not get to see (parallel mode): spent starting worker threads. */
  frozenNs: derived(f64),
  /** Inputs delivered so far: the position in a recording. */
  inputsDelivered: u32,
  /** The last round got no vCPU anywhere, though some looked runnable (an interrupt pending behind IF = 0). */
  roundStuck: u32,
  /** Seed of the vCPUs' RDRAND; number of the CPU model (vm/cpu/isa/models.ts). */
  randomSeed: u32, cpuModel: u32,
});

/** Per-vCPU words of the machine (not the engine's): time base and parking. */
export const MACHINE_BLOCK = new FieldList('machine block', {
  /** virtual ns = retired + timeOffset while this vCPU runs (deterministic); in parallel mode the host clock is used. */
  timeOffset: f64,
  parked: derived(u32), workerState: derived(u32),
  /** Host scheduling statistics. */
  parkCount: derived(u32), sliceCount: derived(u32), pad: derived(u8s(8)),
  /** Trace ring (vm/trace.ts): records written and taken out (mod 2^32), lost; 1 = whoever reads takes records out, 0 = the last ones stay. */
  traceHead: derived(u32), traceTail: derived(u32), traceLost: derived(u32), traceStream: derived(u32),
});

export interface BoardConfig {
  readonly cpus: number;
  readonly memoryMiB: number;
  /** Default 32 up to 4 vCPUs, 16 at more. */
  readonly viewsPerCpu?: number;
}

export interface BoardLayout {
  readonly cpus: number;
  readonly ramBytes: number;
  readonly viewsPerCpu: number;
  readonly viewBase: BoardOffset;
  readonly totalBytes: number;
}

export class BoardError extends Error { override readonly name = 'BoardError'; }

export function layoutBoard(config: BoardConfig): BoardLayout {
  const { cpus, memoryMiB } = config;
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > MAX_CPUS) throw new BoardError(`${cpus} CPUs: this machine has 1 to ${MAX_CPUS}`);
  if (!Number.isInteger(memoryMiB) || memoryMiB < 2) throw new BoardError(`${memoryMiB} MiB of memory: at least 2 MiB, in whole MiB`);
  const viewsPerCpu = config.viewsPerCpu ?? (cpus <= 4 ? 32 : 16);
  const ramBytes = memoryMiB * MiB;
  const viewBase = Math.ceil((GUEST_RAM_BASE + ramBytes) / VIEW_BYTES) * VIEW_BYTES;
  const totalBytes = viewBase + cpus * viewsPerCpu * VIEW_BYTES;
  if (totalBytes > 2 ** 32 || ramBytes > PHYS.maxRamEnd) {
    const most = Math.floor(Math.min(2 ** 32 - GUEST_RAM_BASE - cpus * viewsPerCpu * VIEW_BYTES, PHYS.maxRamEnd) / MiB);
    throw new BoardError(`${memoryMiB} MiB of memory: at most ${most} MiB with ${cpus} CPU${cpus > 1 ? 's' : ''}`);
  }
  return { cpus, ramBytes, viewsPerCpu, viewBase: viewBase as BoardOffset, totalBytes };
}

/** The layout plus the typed views that host code uses. Cheap to make; every worker makes its own over the same memory. */
export class Board {
  readonly memory: WebAssembly.Memory;
  readonly buffer: SharedArrayBuffer;
  readonly layout: BoardLayout;
  readonly header: ReturnType<(typeof HEADER)['bind']>;
  /** Int32 view of the header page, for Atomics. */
  readonly headerWords: Int32Array;
  readonly pageMap: Uint8Array;
  readonly dirtyMap: Uint8Array;
  /** Guest RAM, byte and little-endian word views; index = physical address (words: >> 2). */
  readonly ram: Uint8Array;
  readonly ramWords: Uint32Array;

  constructor(memory: WebAssembly.Memory, layout: BoardLayout) {
    this.memory = memory;
    this.buffer = memory.buffer as unknown as SharedArrayBuffer;
    this.layout = layout;
    this.header = HEADER.bind(this.buffer, HEADER_BASE);
    this.headerWords = new Int32Array(this.buffer, HEADER_BASE, PAGE_BYTES >> 2);
    this.pageMap = new Uint8Array(this.buffer, PAGE_MAP_BASE, PAGE_MAP_PAGES);
    this.dirtyMap = new Uint8Array(this.buffer, DIRTY_MAP_BASE, PAGE_MAP_PAGES);
    this.ram = new Uint8Array(this.buffer, GUEST_RAM_BASE, layout.ramBytes);
    this.ramWords = new Uint32Array(this.buffer, GUEST_RAM_BASE, layout.ramBytes >> 2);
  }

  get cpus(): number { return this.layout.cpus; }
  get ramBytes(): number { return this.layout.ramBytes; }
  vcpuBase(cpu: number): BoardOffset { return (VCPU_BASE + cpu * VCPU_BYTES) as BoardOffset; }
  lapicBase(cpu: number): BoardOffset { return (LAPIC_BASE + cpu * LAPIC_BYTES) as BoardOffset; }
  machineBlockBase(cpu: number): BoardOffset { return (MACHINE_BLOCK_BASE + cpu * MACHINE_BLOCK_BYTES) as BoardOffset; }
  enginePrivateBase(cpu: number): BoardOffset { return (ENGINE_PRIVATE_BASE + cpu * ENGINE_PRIVATE_BYTES) as BoardOffset; }
  traceBase(cpu: number): BoardOffset { return (TRACE_BASE + cpu * TRACE_BYTES) as BoardOffset; }
  viewBase(cpu: number, view: number): BoardOffset {
    return (this.layout.viewBase + (cpu * this.layout.viewsPerCpu + view) * VIEW_BYTES) as BoardOffset;
  }
  headerWord(name: Parameters<(typeof HEADER)['offsetOf']>[0]): number { return (HEADER_BASE + HEADER.offsetOf(name)) >> 2; }
  /** Host code wrote guest RAM directly. */
  markDirty(address: number, bytes: number): void {
    if (bytes > 0) this.dirtyMap.fill(DIRTY_ALL, address >>> 12, ((address + bytes - 1) >>> 12) + 1);
  }
  isRam(address: number): boolean { return (this.pageMap[address >>> 12] & PAGE_KIND_MASK) === PAGE_KIND_RAM; }
}

/** A new, blank board with its physical map filled in: RAM, holes and the ROM area. Devices claim MMIO pages themselves. */
export function createBoard(config: BoardConfig): Board {
  const layout = layoutBoard(config);
  const wasmPages = layout.totalBytes / 65536;
  let memory: WebAssembly.Memory;
  try {
    memory = new WebAssembly.Memory({ initial: wasmPages, maximum: wasmPages, shared: true });
  } catch (cause) {
    throw new BoardError(`cannot reserve ${layout.totalBytes / MiB} MiB of address space for the machine (ulimit -v, overcommit?)`, { cause });
  }
  const board = new Board(memory, layout);
  const header = board.header;
  header.magic = BOARD_MAGIC;
  header.version = BOARD_VERSION;
  header.cpus = layout.cpus;
  header.ramBytes = layout.ramBytes;
  header.viewsPerCpu = layout.viewsPerCpu;
  board.pageMap.fill(PAGE_KIND_RAM, 0, layout.ramBytes / PAGE_BYTES);
  board.pageMap.fill(PAGE_KIND_HOLE, PHYS.vgaHole / PAGE_BYTES, PHYS.biosRom / PAGE_BYTES);
  board.pageMap.fill(PAGE_KIND_ROM, PHYS.biosRom / PAGE_BYTES, PHYS.highMemory / PAGE_BYTES);
  return board;
}

/** The board of a memory that another thread created. */
export function attachBoard(memory: WebAssembly.Memory): Board {
  const header = HEADER.bind(memory.buffer as unknown as SharedArrayBuffer, HEADER_BASE);
  if (header.magic !== BOARD_MAGIC) throw new BoardError('this memory holds no Kintsugi board');
  if (header.version !== BOARD_VERSION) throw new BoardError(`board version ${header.version}, this program knows ${BOARD_VERSION}`);
  return new Board(memory, layoutBoard({ cpus: header.cpus, memoryMiB: header.ramBytes / MiB, viewsPerCpu: header.viewsPerCpu }));
}
