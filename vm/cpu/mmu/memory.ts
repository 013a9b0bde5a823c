/** Access to guest memory by TypeScript: by physical address, and by linear address with everything that an instruction's access would do. */
import { DIRTY_ALL, GUEST_RAM_BASE, PAGE_KIND_MASK, PAGE_KIND_RAM, PAGE_KIND_ROM, type Board, type PhysAddr } from '../../board.ts';
import type { AccessSize, Bus } from '../../devices/bus.ts';
import type { Coherence } from '../coherence.ts';
import { PAGE_CODE, PAGE_TABLE, Translations } from './translations.ts';
import { ACCESS } from './walk.ts';

export abstract class GuestMemory extends Translations {
  readonly bus: Bus;
  /** Called before the bus is used, to make `retired` exact, and after, because the bus may want attention. */
  beforeBus: () => void = () => undefined;
  afterBus: () => void = () => undefined;

  constructor(board: Board, cpu: number, bus: Bus, words: Int32Array, coherence: Coherence) {
    super(board, cpu, words, coherence);
    this.bus = bus;
  }

  // ---- access by physical address
  readPhysical(physical: number, size: number): number {
    const kind = this.kind(physical) & PAGE_KIND_MASK;
    if (kind === PAGE_KIND_RAM || kind === PAGE_KIND_ROM) {
      const ram = this.ram;
      if (physical + size <= this.ramBytes) {
        return size === 1 ? ram[physical] : size === 2 ? ram[physical] | ram[physical + 1] << 8
          : ram[physical] | ram[physical + 1] << 8 | ram[physical + 2] << 16 | ram[physical + 3] << 24;
      }
      return -1;
    }
    this.beforeBus();
    const value = this.bus.mmioRead(this.cpu, physical as PhysAddr, size as AccessSize);
    this.afterBus();
    return value;
  }
  writePhysical(physical: number, size: number, value: number): void {
    const kind = this.kind(physical);
    if ((kind & PAGE_KIND_MASK) === PAGE_KIND_RAM) {
      const ram = this.ram;
      this.dirtyMap[physical >>> 12] = DIRTY_ALL;
      if (size === 4 && !(physical & 3)) this.ramWords[physical >>> 2] = value;
      else for (let i = 0; i < size; i++) ram[physical + i] = value >>> i * 8;
      if (kind & PAGE_CODE) this.code.written(physical, size);
      if (kind & PAGE_TABLE) this.tableStored(physical, size);
      return;
    }
    if ((kind & PAGE_KIND_MASK) === PAGE_KIND_ROM) return;
    this.beforeBus();
    this.bus.mmioWrite(this.cpu, physical as PhysAddr, size as AccessSize, size === 4 ? value >>> 0 : size === 2 ? value & 0xffff : value & 0xff);
    this.afterBus();
  }

  // ---- access by linear address; `user` = checked as CPL 3
  read(va: number, size: number, user: boolean): number {
    if (user) this.requireAligned(va, size, true);
    if ((va & 0xfff) + size > 4096) {
      const first = this.translate(va, ACCESS.READ, user), boundary = (va & 0xfffff000) + 4096 | 0;
      const second = this.translate(boundary, ACCESS.READ, user);
      let value = 0;
      for (let i = 0; i < size; i++) {
        const offset = (va & 0xfff) + i;
        value |= (this.readPhysical(offset < 4096 ? first + i : second + offset - 4096, 1) & 0xff) << i * 8;
      }
      this.watch?.accessed(va, size, false);
      return value;
    }
    // An entry is a translation that was allowed, exactly as generated code takes it.
    const entry = this.view.table[(va >>> 12) + (user ? 0x200000 : 0)];
    const physical = entry !== 0 ? va + entry + 3 - GUEST_RAM_BASE >>> 0 : this.translate(va, ACCESS.READ, user);
    if (entry === 0) this.warm(va, physical, user, false);
    const value = this.readPhysical(physical, size);
    this.watch?.accessed(va, size, false);
    return size === 1 ? value & 0xff : size === 2 ? value & 0xffff : value | 0;
  }
  write(va: number, size: number, value: number, user: boolean): void {
    if (user) this.requireAligned(va, size, true);
    if ((va & 0xfff) + size > 4096) {
      const first = this.translate(va, ACCESS.WRITE, user), boundary = (va & 0xfffff000) + 4096 | 0;
      const second = this.translate(boundary, ACCESS.WRITE, user);
      for (let i = 0; i < size; i++) {
        const offset = (va & 0xfff) + i;
        this.writePhysical(offset < 4096 ? first + i : second + offset - 4096, 1, value >>> i * 8 & 0xff);
      }
      this.watch?.accessed(va, size, true);
      return;
    }
    const physical = this.translate(va, ACCESS.WRITE, user);
    this.warm(va, physical, user, true);
    this.writePhysical(physical, size, value);
    this.watch?.accessed(va, size, true);
  }
  /** Leaves an entry for the fast system operations, which refuse what is not mapped. */
  protected warm(va: number, physical: number, user: boolean, write: boolean): void {
    const kind = this.kind(physical);
    if ((kind & PAGE_KIND_MASK) !== PAGE_KIND_RAM || this.isWatched(va >>> 12) || (this.unfilled && this.withholds(user)) || (this.walkedNoExecute && this.guarded[physical >>> 12] !== 0)) return;
    this.settle();
    if (write && !(kind & (PAGE_CODE | PAGE_TABLE))) this.dirtyMap[physical >>> 12] = DIRTY_ALL;
    this.view.fill(va >>> 12, user ? 1 : 0, GUEST_RAM_BASE + (physical & 0xfffff000) - (va & 0xfffff000) - 3 | 0, write && !(kind & (PAGE_CODE | PAGE_TABLE)));
  }
  /** Faults exactly as a write of `bytes` would, without writing. */
  checkWrite(va: number, bytes: number, user: boolean): void {
    this.translate(va, ACCESS.WRITE, user);
    if ((va & 0xfff) + bytes > 4096) this.translate((va + bytes - 1 & 0xfffff000) | 0, ACCESS.WRITE, user);
  }
}
