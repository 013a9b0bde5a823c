/**
 * A chipset on a board without CPU engines: the test is the CPU. Time is a number the test sets; vCPUs are attention words.
 */
import { ATTN, RUN, S } from '../../vm/cpu/state.ts';
import { createBoard, type Board, type PhysAddr } from '../../vm/board.ts';
import type { AccessSize } from '../../vm/devices/bus.ts';
import { Chipset } from '../../vm/devices/chipset.ts';
import { openDisk, type DiskConfig } from '../../vm/io/disk.ts';
import { describeNet, type NetConfig } from '../../vm/net/config.ts';
import { VirtualNetwork } from '../../vm/net/virtual.ts';
import { VCpus } from '../../vm/vcpu.ts';

export interface RigOptions { cpus?: number; memoryMiB?: number; disks?: DiskConfig[]; diskLatencyNs?: number; net?: NetConfig }

export class Rig {
  readonly board: Board;
  readonly cpus: VCpus;
  readonly chipset: Chipset;
  readonly net: VirtualNetwork | undefined;
  readonly output: number[][] = [[], [], []];
  now = 0;

  constructor(options: RigOptions = {}) {
    this.board = createBoard({ cpus: options.cpus ?? 1, memoryMiB: options.memoryMiB ?? 16, viewsPerCpu: 1 });
    this.board.header.rtcBaseSeconds = Date.UTC(2026, 1, 3, 16, 5, 6) / 1000;
    this.cpus = new VCpus(this.board);
    for (let cpu = 0; cpu < this.board.cpus; cpu++) {
      this.cpus.words(cpu)[S.apicBase >> 2] = 0xfee0_0800;
      if (cpu > 0) this.cpus.setRunState(cpu, RUN.waitSipi);
    }
    this.chipset = new Chipset(this.board, {
      clock: { now: () => this.now }, cpus: this.cpus, parallel: false,
      disks: (options.disks ?? []).map((config, index) => openDisk(config, index).descriptor),
      diskLatencyNs: options.diskLatencyNs ?? 0,
      net: options.net && describeNet(options.net),
      emit: (channel, byte) => this.output[channel].push(byte),
    });
    if (options.net && this.chipset.nic) this.net = new VirtualNetwork(this.chipset.nic, this.chipset.events, { now: () => this.now }, options.net, () => this.board.header.rtcBaseSeconds);
    this.chipset.powerOn();
    this.net?.powerOn();
  }

  in8(port: number): number { return this.chipset.portRead(0, port, 1) & 0xff; }
  in16(port: number): number { return this.chipset.portRead(0, port, 2) & 0xffff; }
  in32(port: number): number { return this.chipset.portRead(0, port, 4) >>> 0; }
  out8(port: number, value: number): void { this.chipset.portWrite(0, port, 1, value); }
  out16(port: number, value: number): void { this.chipset.portWrite(0, port, 2, value); }
  out32(port: number, value: number): void { this.chipset.portWrite(0, port, 4, value >>> 0); }
  read(address: number, size: AccessSize = 4, cpu = 0): number {
    const value = this.chipset.mmioRead(cpu, address as PhysAddr, size);
    return size === 4 ? value >>> 0 : value & (2 ** (8 * size) - 1);
  }
  write(address: number, value: number, size: AccessSize = 4, cpu = 0): void { this.chipset.mmioWrite(cpu, address as PhysAddr, size, value >>> 0); }
  lapic(register: number, cpu = 0): number { return this.read(0xfee0_0000 + register, 4, cpu); }
  setLapic(register: number, value: number, cpu = 0): void { this.write(0xfee0_0000 + register, value, 4, cpu); }
  ioapic(index: number): number { this.write(0xfec0_0000, index); return this.read(0xfec0_0010); }
  setIoapic(index: number, value: number): void { this.write(0xfec0_0000, index); this.write(0xfec0_0010, value); }

  /** Time passes; due events fire at their deadlines. */
  advance(ns: number): void {
    const end = this.now + ns;
    for (let next = this.chipset.events.next(); next <= end; next = this.chipset.events.next()) {
      this.now = Math.max(this.now, next);
      this.chipset.runEvents(this.now);
    }
    this.now = end;
  }

  intr(cpu = 0): boolean { return (this.cpus.attention(cpu) & ATTN.INTR) !== 0; }
  attention(cpu: number): number { return this.cpus.attention(cpu); }
  acknowledge(cpu = 0): number { return this.chipset.interruptAcknowledge(cpu); }

  /** 8259 pair as operating systems set it up: vectors 20h and 28h, everything unmasked but what `mask` says. */
  initialisePics(masterMask = 0, slaveMask = 0, icw4 = 1): void {
    this.out8(0x20, 0x11); this.out8(0x21, 0x20); this.out8(0x21, 4); this.out8(0x21, icw4); this.out8(0x21, masterMask);
    this.out8(0xa0, 0x11); this.out8(0xa1, 0x28); this.out8(0xa1, 2); this.out8(0xa1, icw4); this.out8(0xa1, slaveMask);
  }
}
