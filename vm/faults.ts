/**
 * The fault port: what a fault injector or a debugger does to a machine that stands still between two instructions.
 *
 * It knows vCPUs, registers, page tables and physical memory, and nothing of the kernel above them. Whatever it changes, the engines and
 * the dirty map are told, so that caches, snapshots and hashes stay right.
 * Stopping at the right instruction is the machine's business: `runFor` to an exact retired count, `watch` and `setMark` to an EIP, `setDebug` to an address
 * or an access, `setHooks` (vm/hooks.ts) to a device access or an interrupt.
 */
import { DIRTY_ALL, type BoardOffset } from './board.ts';
import { ARCH_FIELDS, ATTN, CR4, FLAG, RUN, S, readEflags, writeEflags } from './cpu/state.ts';
import type { Disk } from './io/disk.ts';
import type { DeterministicMachine } from './machine.ts';

/** Registers by name, in the order of their encoding; EIP and EFLAGS behind. */
export const FAULT_REGISTERS = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi', 'eip', 'eflags'] as const;
export type FaultRegister = (typeof FAULT_REGISTERS)[number];
/** Bits of EFLAGS that ring 3 can change and that stay changed: CF PF AF ZF SF DF OF. */
export const FLIPPABLE_FLAGS: readonly number[] = [FLAG.CF, FLAG.PF, FLAG.AF, FLAG.ZF, FLAG.SF, FLAG.DF, FLAG.OF].map((flag) => Math.log2(flag));

/** Of the attention word: what is state, and not somebody's level or message. */
const ATTENTION_STATE = ATTN.NMI | ATTN.INIT | ATTN.SIPI;
const word32 = (value: number): Uint8Array => Uint8Array.of(value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24);

/** Where a vCPU stands. `cr3` names the address space. */
export interface Position { readonly eip: number; readonly cr3: number; readonly user: boolean }

export class FaultPort {
  readonly machine: DeterministicMachine;
  constructor(machine: DeterministicMachine) { this.machine = machine; }

  position(cpu: number): Position {
    const words = this.machine.cpus.words(cpu);
    return { eip: words[S.eip >> 2] >>> 0, cr3: words[S.cr3 >> 2] >>> 0, user: words[S.cpl >> 2] === 3 };
  }
  register(cpu: number, name: FaultRegister): number {
    const words = this.machine.cpus.words(cpu);
    return (name === 'eflags' ? readEflags(words, 0) : words[S[name] >> 2]) >>> 0;
  }
  setRegister(cpu: number, name: FaultRegister, value: number): void {
    const words = this.machine.cpus.words(cpu);
    if (name === 'eflags') writeEflags(words, 0, value | 0);
    else words[S[name] >> 2] = value | 0;
    this.machine.engines[cpu].registersChanged();
  }
  /** An exception at the present instruction, as if it had raised it. `error` -1: the vector pushes none. A triple fault stops the machine as always. */
  raise(cpu: number, vector: number, error = -1): void {
    const { engines, cpus } = this.machine;
    engines[cpu].raiseException(vector, error);
    if (cpus.runState(cpu) === RUN.dead) cpus.stop('shutdown', cpu);
  }

  // ---- any state, by the names that differences (vm/compare.ts) have
  /** `cpu0.eax`, `cpu1.xmm`, `IOAPIC.low`, ...: all that can be read and written here, with sizes in bytes. RAM and disks have calls of their own. */
  stateNames(): { readonly name: string; readonly bytes: number }[] {
    const { board, chipset } = this.machine;
    return [
      ...Array.from({ length: board.cpus }, (_, cpu) => ARCH_FIELDS.map(({ name, bytes }) => ({ name: `cpu${cpu}.${name}`, bytes }))).flat(),
      ...chipset.blocks.blocks.flatMap(({ name, list }) => list.placed.filter(({ field }) => !field.derived).map((placed) => ({ name: `${name}.${placed.name}`, bytes: placed.bytes }))),
    ];
  }
  #place(name: string): { readonly cpu: number; readonly field: string; readonly base: number; readonly bytes: number } | undefined {
    const { board, chipset } = this.machine, dot = name.lastIndexOf('.'), owner = name.slice(0, dot), field = name.slice(dot + 1), cpu = /^cpu([0-7])$/.exec(owner)?.[1];
    if (cpu !== undefined) {
      const found = ARCH_FIELDS.find((each) => each.name === field);
      return found && Number(cpu) < board.cpus ? { cpu: Number(cpu), field, base: board.vcpuBase(Number(cpu)) + found.offset, bytes: found.bytes } : undefined;
    }
    const block = chipset.blocks.blocks.find((each) => each.name === owner), placed = block?.list.placed.find((each) => each.name === field && !each.field.derived);
    return block && placed ? { cpu: -1, field, base: (block.base as BoardOffset) + placed.offset, bytes: placed.bytes } : undefined;
  }
  /** A copy, little-endian as it lies; undefined: there is no such state. */
  readState(name: string): Uint8Array | undefined {
    const place = this.#place(name);
    if (!place) return undefined;
    if (place.cpu >= 0 && place.field === 'eflags') return word32(readEflags(this.machine.cpus.words(place.cpu), 0));
    if (place.cpu >= 0 && place.field === 'attention') return word32(this.machine.cpus.attention(place.cpu) & ATTENTION_STATE);
    return new Uint8Array(this.machine.board.buffer, place.base, place.bytes).slice();
  }
  /** False: there is no such state, or it has another size; nothing was changed. What is derived from it (translations, INTR) follows. */
  writeState(name: string, value: Uint8Array): boolean {
    const { machine } = this, place = this.#place(name);
    if (!place || value.length !== place.bytes) return false;
    if (place.cpu < 0) {
      new Uint8Array(machine.board.buffer, place.base, place.bytes).set(value);
      for (let cpu = 0; cpu < machine.board.cpus; cpu++) machine.chipset.lapics.refresh(cpu);
      return true;
    }
    const words = machine.cpus.words(place.cpu), word = value.length === 4 ? new DataView(value.buffer, value.byteOffset).getInt32(0, true) : 0;
    if (place.field === 'eflags') writeEflags(words, 0, word);
    else if (place.field === 'attention') { Atomics.and(words, S.attention >> 2, ~ATTENTION_STATE); Atomics.or(words, S.attention >> 2, word & ATTENTION_STATE); }
    else new Uint8Array(machine.board.buffer, place.base, place.bytes).set(value);
    // The engine takes it for a state that was restored: modes, views and breakpoints are worked out anew.
    machine.engines[place.cpu].restored([]);
    machine.chipset.lapics.refresh(place.cpu);
    return true;
  }
  /** Bytes of a disk as the guest would read them, past `Disk.intercept`; both numbers multiples of 512. Undefined: beyond its end. */
  readDisk(disk: number, offset: number, bytes: number): Uint8Array | undefined {
    const into = new Uint8Array(bytes);
    return this.#past(disk, (of) => of.read(offset, into)) ? into : undefined;
  }
  /** False: beyond the end, or it cannot be written. */
  writeDisk(disk: number, offset: number, bytes: Uint8Array): boolean { return this.#past(disk, (of) => of.write(offset, bytes)); }
  #past(index: number, body: (disk: Disk) => boolean): boolean {
    const disk = this.machine.chipset.disks[index]?.disk;
    if (!disk) return false;
    const { intercept } = disk;
    disk.intercept = undefined;
    try { return body(disk); } finally { disk.intercept = intercept; }
  }

  // ---- interrupts, past all hooks
  /** Sets an interrupt line as its device would: 0 to 15 ISA, 16 to 23 PCI. */
  setLine(line: number, asserted: boolean): void { this.machine.chipset.setLine(line, asserted); this.#awake(); }
  /** A fixed interrupt message to the local APIC of a vCPU, as from another one. Vectors below 16 are an error there, and one that is switched off takes none. */
  interrupt(cpu: number, vector: number, level = false): void { this.machine.chipset.lapics.arrive(cpu, vector & 0xff, level); this.#awake(); }
  nmi(cpu: number): void { this.machine.cpus.nmi(cpu); this.#awake(); }
  #awake(): void { this.machine.board.header.roundStuck = 0; }

  /** Physical address of `va` in the address space `cr3`, or -1. Sets no accessed bits. */
  translate(cr3: number, va: number): number { return this.mapping(cr3, va)?.physical ?? -1; }
  /** The same with the rights of the page. */
  mapping(cr3: number, va: number): { readonly physical: number; readonly writable: boolean; readonly user: boolean } | undefined {
    const { ramWords, ramBytes } = this.machine.board;
    const word = (physical: number): number => (physical < ramBytes ? ramWords[physical >>> 2] : 0);
    const cr4 = this.machine.cpus.words(0)[S.cr4 >> 2];
    if (cr4 & CR4.PAE) {
      const pointer = word((cr3 & ~31) + (va >>> 30) * 8);
      if (!(pointer & 1)) return undefined;
      const directory = word((pointer & 0xfffff000) + ((va >>> 21) & 511) * 8);
      if (!(directory & 1)) return undefined;
      if (directory & 0x80) return { physical: ((directory & 0xffe00000) | (va & 0x1fffff)) >>> 0, writable: (directory & 2) !== 0, user: (directory & 4) !== 0 };
      const entry = word((directory & 0xfffff000) + ((va >>> 12) & 511) * 8);
      if (!(entry & 1)) return undefined;
      return { physical: ((entry & 0xfffff000) | (va & 0xfff)) >>> 0, writable: (entry & directory & 2) !== 0, user: (entry & directory & 4) !== 0 };
    }
    const directory = word((cr3 & 0xfffff000) + (va >>> 22) * 4);
    if (!(directory & 1)) return undefined;
    if (directory & 0x80 && cr4 & CR4.PSE) return { physical: ((directory & 0xffc00000) | (va & 0x3fffff)) >>> 0, writable: (directory & 2) !== 0, user: (directory & 4) !== 0 };
    const entry = word((directory & 0xfffff000) + ((va >>> 12) & 1023) * 4);
    if (!(entry & 1)) return undefined;
    return { physical: ((entry & 0xfffff000) | (va & 0xfff)) >>> 0, writable: (entry & directory & 2) !== 0, user: (entry & directory & 4) !== 0 };
  }
  /** Mapped pages of [from, to), in order. PAE only steps over what has no page table; other modes look at every page. */
  *pages(cr3: number, from: number, to: number): Generator<{ readonly va: number; readonly physical: number; readonly writable: boolean }> {
    const { ramWords, ramBytes } = this.machine.board;
    const word = (physical: number): number => (physical < ramBytes ? ramWords[physical >>> 2] : 0);
    const pae = (this.machine.cpus.words(0)[S.cr4 >> 2] & CR4.PAE) !== 0;
    for (let va = from; va < to; va += 4096) {
      if (pae && (va & 0x1fffff) === 0) {
        const pointer = word((cr3 & ~31) + (va >>> 30) * 8);
        const directory = pointer & 1 ? word((pointer & 0xfffff000) + ((va >>> 21) & 511) * 8) : 0;
        if (!(directory & 1)) { va += 0x200000 - 4096; continue; }
      }
      const mapped = this.mapping(cr3, va);
      if (mapped) yield { va, physical: mapped.physical, writable: mapped.writable };
    }
  }
  /** Bytes of RAM at a virtual address; undefined when a page is missing or is not RAM. */
  read(cr3: number, va: number, bytes: number): Uint8Array | undefined {
    const out = new Uint8Array(bytes);
    for (let done = 0; done < bytes;) {
      const physical = this.translate(cr3, va + done);
      const count = Math.min(bytes - done, 4096 - ((va + done) & 0xfff));
      if (physical < 0 || physical + count > this.machine.board.ramBytes) return undefined;
      out.set(this.machine.board.ram.subarray(physical, physical + count), done);
      done += count;
    }
    return out;
  }
  /** A little-endian word, undefined where there is no RAM. */
  readWord(cr3: number, va: number): number | undefined {
    const bytes = this.read(cr3, va, 4);
    return bytes && new DataView(bytes.buffer).getUint32(0, true);
  }
  /** Writes through the address space, rights ignored (particles know none); false when a page is missing. */
  write(cr3: number, va: number, bytes: Uint8Array): boolean {
    for (let done = 0; done < bytes.length; done++) {
      const physical = this.translate(cr3, va + done);
      if (physical < 0 || physical >= this.machine.board.ramBytes) return false;
      this.writePhysical(physical, bytes.subarray(done, done + 1));
    }
    return true;
  }
  writeWord(cr3: number, va: number, value: number): boolean { return this.write(cr3, va, word32(value)); }
  writePhysical(physical: number, bytes: Uint8Array): void {
    const { board, engines } = this.machine;
    board.ram.set(bytes, physical);
    board.dirtyMap.fill(DIRTY_ALL, physical >>> 12, ((physical + bytes.length - 1) >>> 12) + 1);
    for (const engine of engines) engine.memoryWritten(physical, bytes.length);
  }
}
