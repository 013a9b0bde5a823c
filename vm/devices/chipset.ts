/**
 * The chipset: every device of the board, wired, behind the bus.
 *
 *   ports  20/21 A0/A1 4D0/4D1 8259   40-43 61 8254   70/71 RTC   3F8 2F8 16550   CF8-CFF PCI   600-60B ACPI PM   CF9 64 92 reset
 *          F4 debug exit (status 2v+1)   80 POST code   E9 debug console
 *   memory FEB00000 + 16 KiB x n virtio BARs (movable)   FEC00000 IOAPIC   FEE00000 LAPIC of the accessing vCPU
 *   lines  0 8254   3 COM2   4 COM1   8 RTC   16 + (device & 3) PCI INTA
 *
 * Every worker constructs a chipset over the same board; all state is there. The bus takes the device lock around each access
 * except to the LAPIC, which is lock-free.
 */
import { PHYS, type Board, type PhysAddr } from '../board.ts';
import { FieldList, u32, type FieldView } from '../fields.ts';
import { Delayed, type AccessFault, type FaultHooks } from '../hooks.ts';
import { Disk, type DiskDescriptor } from '../io/disk.ts';
import type { NetDescriptor } from '../net/config.ts';
import { AcpiPm, PM1_EVENT, PM_TIMER, RESET_CONTROL, writeAcpiTables } from './acpi.ts';
import type { AccessSize, Bus, PlainPort } from './bus.ts';
import { DeviceBlocks, type Clock, type CpuLines, type InterruptLines, type PortDevice, type StopLine } from './device.ts';
import { EventQueue } from './events.ts';
import { GuestMemory } from './guest-memory.ts';
import { Ioapic } from './ioapic.ts';
import { Lapics } from './lapic.ts';
import { LOCK, NO_LOCK, DeviceLock, type Lock } from './lock.ts';
import { PIC_ELCR_MASTER, PIC_MASTER_COMMAND, PIC_SLAVE_COMMAND, PicPair } from './pic.ts';
import { PIT_COUNTER_0, Pit, SYSTEM_CONTROL_B } from './pit.ts';
import { PCI_CONFIG_ADDRESS, PciBus } from './pci.ts';
import { RTC_INDEX, Rtc } from './rtc.ts';
import { COM1_LINE, COM1_PORT, COM2_LINE, COM2_PORT, Uart } from './uart.ts';
import { VirtioBlk } from './virtio-blk.ts';
import { VirtioNet } from './virtio-net.ts';
import { VIRTIO_BAR_BYTES } from './virtio-pci.ts';

export const DEBUG_EXIT = 0xf4;
export const POST_CODE = 0x80;
export const DEBUG_CONSOLE = 0xe9;
const KEYBOARD_DATA = 0x60;
const KEYBOARD_STATUS = 0x64;
const KEYBOARD_SYSTEM_FLAG = 4;
const KEYBOARD_PULSE_RESET = 0xfe;
const SYSTEM_CONTROL_A = 0x92;
export const MAX_DISKS = 4;
const FIRST_DISK_SLOT = 3;
/** Behind the disks: who looks for a disk finds it without meeting the NIC. Line 16, which the first disk does not share. */
export const NIC_SLOT = 8;
const TIMER_PIN = 2;
/** Places of unclaimed accesses that are told apart: a guest that looks through all of memory must not fill the host's. */
const MAX_UNCLAIMED = 4096;

/** Output channels to the host. */
export const CHANNEL = { com1: 0, com2: 1, debug: 2 } as const;
export const CHANNELS = 3;

export interface ChipsetOptions {
  readonly clock: Clock;
  readonly cpus: CpuLines & StopLine & { lapicEnabled(cpu: number): boolean };
  readonly disks: readonly DiskDescriptor[];
  readonly diskLatencyNs: number;
  /** A NIC, if there is to be one. */
  readonly net?: NetDescriptor | undefined;
  readonly parallel: boolean;
  /** A byte for the host on a channel. */
  readonly emit: (channel: number, byte: number) => void;
  /** A serial port has room again for input that did not fit. */
  readonly inputDrained?: () => void;
  /** A fault hook wants run() to end behind the instruction of this vCPU that is under way. */
  readonly stopBehind?: (cpu: number) => void;
  /** Guest memory was written by a device. */
  readonly onMemoryWrite?: (address: number, bytes: number) => void;
}

const MISC_FIELDS = { post: u32, pad: u32 } as const;
const MISC = new FieldList('system ports', MISC_FIELDS);

export class Chipset implements Bus {
  readonly blocks: DeviceBlocks;
  readonly events: EventQueue;
  readonly lock: Lock;
  readonly memory: GuestMemory;
  readonly pic: PicPair;
  readonly lapics: Lapics;
  readonly ioapic: Ioapic;
  readonly pit: Pit;
  readonly rtc: Rtc;
  readonly uarts: readonly [Uart, Uart];
  readonly pci: PciBus;
  readonly disks: readonly VirtioBlk[];
  readonly nic: VirtioNet | undefined;
  readonly acpi: AcpiPm;
  /** Accesses nobody claimed, by "port 3f0" or "memory a0000" (page), of this thread; beyond 4096 places "port elsewhere". */
  readonly unclaimed = new Map<string, number>();
  readonly #board: Board;
  readonly #misc: FieldView<typeof MISC_FIELDS>;
  readonly plainPorts: readonly PlainPort[];
  /** What a PAUSE of the guest leads to (parallel mode: vm/parallel-vcpu.ts). */
  onPause: (() => void) | undefined;
  #hooks: FaultHooks | undefined;
  readonly delayed: Delayed;
  readonly #clock: Clock;
  readonly #setLine: (line: number, asserted: boolean) => void;
  readonly #stopBehind: ((cpu: number) => void) | undefined;
  readonly #portOwner = new Uint8Array(0x10000);
  /** Devices whose registers are bytes: wider accesses are split as the ISA bus does. */
  readonly #portDevices: { device: PortDevice; bytes: boolean }[] = [];

  constructor(board: Board, options: ChipsetOptions) {
    this.#board = board;
    const { clock, cpus } = options;
    const blocks = this.blocks = new DeviceBlocks(board);
    const lockView = blocks.place(LOCK);
    this.lock = options.parallel ? new DeviceLock(new Int32Array(board.buffer, (lockView as unknown as { words: Uint32Array }).words.byteOffset, 1)) : NO_LOCK;
    const events = this.events = new EventQueue(blocks);
    this.memory = new GuestMemory(board, options.onMemoryWrite);
    this.#misc = blocks.place(MISC);
    this.pic = new PicPair(blocks, (asserted) => this.lapics.setLint0(asserted));
    this.lapics = new Lapics(board, blocks, {
      clock, lines: cpus, events,
      acknowledgePic: (cpu) => this.#locked(cpu, () => this.pic.acknowledge()),
      broadcastEoi: (cpu, vector) => this.#locked(cpu, () => this.ioapic.endOfInterrupt(vector)),
      globallyEnabled: (cpu) => cpus.lapicEnabled(cpu),
    });
    this.ioapic = new Ioapic(blocks, this.lapics);
    this.#clock = clock;
    this.#stopBehind = options.stopBehind;
    const setLine = this.#setLine = (line: number, asserted: boolean): void => {
      if (line < 16) this.pic.setLine(line, asserted);
      this.ioapic.setLine(line === 0 ? TIMER_PIN : line, asserted);
    };
    const lines: InterruptLines = {
      set: (line, asserted) => {
        const fault = this.#hooks?.line?.(line, asserted);
        if (fault === undefined) setLine(line, asserted);
        else if (fault !== 'lost') this.delayed.line(clock.now() + fault.delayNs, line, asserted);
      },
    };
    this.delayed = new Delayed(blocks, events, { line: setLine, message: (cpu, vector, level) => this.lapics.arrive(cpu, vector, level) });
    this.pit = new Pit(blocks, clock, lines, events);
    this.rtc = new Rtc(board, blocks, clock, lines, events);
    this.uarts = [
      new Uart(blocks, 'COM1', COM1_PORT, COM1_LINE, lines, (byte) => options.emit(CHANNEL.com1, byte), options.inputDrained),
      new Uart(blocks, 'COM2', COM2_PORT, COM2_LINE, lines, (byte) => options.emit(CHANNEL.com2, byte), options.inputDrained),
    ];
    this.acpi = new AcpiPm(blocks, clock, cpus);
    this.pci = new PciBus(blocks);
    if (options.disks.length > MAX_DISKS) throw new RangeError(`${options.disks.length} disks: this machine has room for ${MAX_DISKS}`);
    this.disks = options.disks.map((descriptor, index) => new VirtioBlk(blocks, this.pci, this.memory, lines, clock, events, {
      index, slot: FIRST_DISK_SLOT + index, bar: PHYS.pciMmio + index * VIRTIO_BAR_BYTES, disk: new Disk(descriptor), latencyNs: options.diskLatencyNs,
    }));
    this.nic = options.net && new VirtioNet(blocks, this.pci, this.memory, lines, { slot: NIC_SLOT, bar: PHYS.pciMmio + MAX_DISKS * VIRTIO_BAR_BYTES, net: options.net });

    this.plainPorts = this.pic.plainPorts;
    this.#claim(this.pic, true, PIC_MASTER_COMMAND, 2);
    this.#claim(this.pic, true, PIC_SLAVE_COMMAND, 2);
    this.#claim(this.pic, true, PIC_ELCR_MASTER, 2);
    this.#claim(this.pit, true, PIT_COUNTER_0, 4);
    this.#claim(this.pit, true, SYSTEM_CONTROL_B, 1);
    this.#claim(this.rtc, true, RTC_INDEX, 2);
    this.#claim(this.uarts[0], true, COM1_PORT, 8);
    this.#claim(this.uarts[1], true, COM2_PORT, 8);
    this.#claim(this.acpi, false, PM1_EVENT, PM_TIMER + 4 - PM1_EVENT);
    this.#claim(this.pci, false, PCI_CONFIG_ADDRESS, 8);
    const system: PortDevice = {
      portRead: (port) => this.#systemRead(port),
      portWrite: (port, _size, value) => this.#systemWrite(port, value, cpus, options.emit),
    };
    for (const port of [DEBUG_EXIT, POST_CODE, DEBUG_CONSOLE, KEYBOARD_DATA, KEYBOARD_STATUS, SYSTEM_CONTROL_A, RESET_CONTROL]) this.#claim(system, false, port, 1);
  }

  #claim(device: PortDevice, bytes: boolean, port: number, count: number): void {
    const index = this.#portDevices.push({ device, bytes });
    this.#portOwner.fill(index, port, port + count);
  }

  /** Power on: all devices to their reset state, firmware tables written. Once, on the thread that made the board. */
  powerOn(): void {
    this.events.reset();
    this.delayed.reset();
    this.pic.reset();
    for (let cpu = 0; cpu < this.#board.cpus; cpu++) this.lapics.reset(cpu, cpu === 0);
    this.ioapic.reset();
    this.pit.reset();
    this.rtc.reset();
    for (const uart of this.uarts) uart.reset();
    this.acpi.reset();
    this.pci.reset();
    for (const disk of this.disks) disk.reset();
    this.nic?.powerOn();
    this.#misc.post = 0;
    writeAcpiTables(this.#board);
  }

  // ---- bus ------------------------------------------------------------------------------------------------------------------

  #locked<T>(owner: number, body: () => T): T {
    this.lock.acquire(owner);
    try { return body(); } finally { this.lock.release(); }
  }

  #nobody(what: string, address: number): void {
    let key = `${what} ${address.toString(16)}`;
    if (this.unclaimed.size >= MAX_UNCLAIMED && !this.unclaimed.has(key)) key = `${what} elsewhere`;
    this.unclaimed.set(key, (this.unclaimed.get(key) ?? 0) + 1);
  }

  /** Deterministic mode. Undefined: none. */
  set hooks(hooks: FaultHooks | undefined) {
    this.#hooks = hooks;
    const { lapics, delayed } = this;
    lapics.intercept = hooks?.message && ((cpu, vector, level) => {
      const fault = hooks.message!(cpu, vector, level);
      if (fault !== undefined && fault !== 'lost') delayed.message(this.#clock.now() + fault.delayNs, cpu, vector, level);
      return fault !== undefined;
    });
  }
  get hooks(): FaultHooks | undefined { return this.#hooks; }
  #access(cpu: number, space: 'port' | 'memory', address: number, size: AccessSize, write: boolean, value: number): AccessFault | undefined {
    const fault = this.#hooks?.access?.({ cpu, space, address: address >>> 0, size, write, value: value >>> 0 });
    if (fault?.stop) this.#stopBehind?.(cpu);
    return fault;
  }
  /** A line as a device would set it, past all hooks. */
  setLine(line: number, asserted: boolean): void { this.#setLine(line, asserted); }

  portRead(cpu: number, port: number, size: AccessSize): number {
    if (this.#hooks) {
      const fault = this.#access(cpu, 'port', port, size, false, 0);
      if (fault?.lost) return 0xffff_ffff;
      if (fault?.value !== undefined) return fault.value;
    }
    const owner = this.#portOwner[port];
    if (owner === 0) { this.#nobody('port', port); return 0xffff_ffff; }
    const { device, bytes } = this.#portDevices[owner - 1];
    this.lock.acquire(cpu);
    try {
      if (!bytes || size === 1) return device.portRead(port, size, cpu);
      let value = 0;
      for (let k = 0; k < size; k++) value |= (this.#portOwner[port + k] === owner ? device.portRead(port + k, 1, cpu) & 0xff : 0xff) << (8 * k);
      return value;
    } finally { this.lock.release(); }
  }

  portWrite(cpu: number, port: number, size: AccessSize, value: number): void {
    if (this.#hooks) {
      const fault = this.#access(cpu, 'port', port, size, true, value);
      if (fault?.lost) return;
      if (fault?.value !== undefined) value = fault.value;
    }
    const owner = this.#portOwner[port];
    if (owner === 0) { this.#nobody('port', port); return; }
    const { device, bytes } = this.#portDevices[owner - 1];
    this.lock.acquire(cpu);
    try {
      if (!bytes || size === 1) device.portWrite(port, size, value, cpu);
      else for (let k = 0; k < size; k++) if (this.#portOwner[port + k] === owner) device.portWrite(port + k, 1, (value >>> (8 * k)) & 0xff, cpu);
    } finally { this.lock.release(); }
  }

  mmioRead(cpu: number, address: PhysAddr, size: AccessSize): number {
    if (this.#hooks) {
      const fault = this.#access(cpu, 'memory', address, size, false, 0);
      if (fault?.lost) return 0xffff_ffff;
      if (fault?.value !== undefined) return fault.value;
    }
    const page = (address & ~0xfff) >>> 0;
    if (page === PHYS.lapic) return this.lapics.read(cpu, address & 0xfff, size);
    if (page === PHYS.ioapic) return this.#locked(cpu, () => this.ioapic.read(address & 0xfff, size));
    for (const disk of this.disks) {
      const offset = disk.decode(address >>> 0);
      if (offset >= 0) return this.#locked(cpu, () => disk.read(offset, size));
    }
    const { nic } = this;
    if (nic) {
      const offset = nic.decode(address >>> 0);
      if (offset >= 0) return this.#locked(cpu, () => nic.read(offset, size));
    }
    this.#nobody('memory', page);
    return 0xffff_ffff;
  }

  mmioWrite(cpu: number, address: PhysAddr, size: AccessSize, value: number): void {
    if (this.#hooks) {
      const fault = this.#access(cpu, 'memory', address, size, true, value);
      if (fault?.lost) return;
      if (fault?.value !== undefined) value = fault.value;
    }
    const page = (address & ~0xfff) >>> 0;
    if (page === PHYS.lapic) { this.lapics.write(cpu, address & 0xfff, size, value); return; }
    if (page === PHYS.ioapic) { this.#locked(cpu, () => this.ioapic.write(address & 0xfff, size, value)); return; }
    for (const disk of this.disks) {
      const offset = disk.decode(address >>> 0);
      if (offset >= 0) { this.#locked(cpu, () => disk.write(offset, size, value)); return; }
    }
    const { nic } = this;
    if (nic) {
      const offset = nic.decode(address >>> 0);
      if (offset >= 0) { this.#locked(cpu, () => nic.write(offset, size, value)); return; }
    }
    this.#nobody('memory', page);
  }

  interruptAcknowledge(cpu: number): number {
    const vector = this.lapics.acknowledge(cpu);
    if (vector >= 0 && this.#hooks?.interrupt?.(cpu, vector)) this.#stopBehind?.(cpu);
    return vector;
  }

  relax(): void { this.onPause?.(); }

  /** Fires due events; `cpu` in parallel mode. */
  runEvents(nowNs: number, cpu?: number): void { this.#locked(cpu ?? 0, () => this.events.run(nowNs, cpu)); }

  // ---- single-register ports ----------------------------------------------------------------------------------------------------

  #systemRead(port: number): number {
    switch (port) {
      case POST_CODE: return this.#misc.post;
      case DEBUG_CONSOLE: return DEBUG_CONSOLE; // Bochs: the console is there
      case KEYBOARD_STATUS: return KEYBOARD_SYSTEM_FLAG; // no keyboard: never data, always ready for a command
      case KEYBOARD_DATA: return 0;
      case SYSTEM_CONTROL_A: return 2; // A20 is always on
      default: return 0;
    }
  }

  #systemWrite(port: number, value: number, stop: StopLine, emit: (channel: number, byte: number) => void): void {
    switch (port) {
      case DEBUG_EXIT: stop.stop('exit', ((value << 1) | 1) & 0xff); return;
      case POST_CODE: this.#misc.post = value & 0xff; return;
      case DEBUG_CONSOLE: emit(CHANNEL.debug, value & 0xff); return;
      case KEYBOARD_STATUS: if ((value & 0xff) === KEYBOARD_PULSE_RESET) stop.stop('reset', 0); return;
      case SYSTEM_CONTROL_A: if (value & 1) stop.stop('reset', 0); return;
      case RESET_CONTROL: if (value & 4) stop.stop('reset', 0); return;
    }
  }
}
