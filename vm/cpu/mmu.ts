/**
 * The MMU of a vCPU: the page walk (mmu/walk.ts), what is kept of walks (mmu/translations.ts), access to memory by TypeScript (mmu/memory.ts), and here the slow paths of
 * generated code: what its look-ups in the soft-MMU tables do not find, and locked accesses.
 */
import { DIRTY_ALL, GUEST_RAM_BASE, PAGE_KIND_MASK, PAGE_KIND_RAM, PAGE_KIND_ROM, type Board } from '../board.ts';
import type { Bus } from '../devices/bus.ts';
import type { Coherence } from './coherence.ts';
import { ONCE_IN_TIER0, REPEAT_IN_TIER0 } from './jit/exit.ts';
import { ATOMIC } from './lower/context.ts';
import { GuestMemory } from './mmu/memory.ts';
import { PAGE_CODE, PAGE_TABLE } from './mmu/translations.ts';
import { ACCESS, GuestFault, isMemory } from './mmu/walk.ts';
import { SplitLock, updateBytes } from './split-lock.ts';
import { S, VEC } from './state.ts';

export { ACCESS, GuestFault, PAGE_CODE, PAGE_TABLE };
export type { AccessWatch, CodeWatcher } from './mmu/translations.ts';

/** So many stores that a region gives up, one at least in so many instructions. */
const MAX_DISTURBANCES = 1000, DISTURBANCE_INSNS = 100;

export class Mmu extends GuestMemory {
  private readonly ramHalves: Uint16Array;
  private readonly ramQuads: BigInt64Array;
  private readonly splitQuads: BigUint64Array;
  private readonly splitLock: SplitLock;
  /** The vector of an access by generated code that wraps at 4 GiB (#GP, or #SS through the stack), or -1 where wrapping is legal. */
  wrapVector: (write: boolean) => number = () => VEC.GP;

  constructor(board: Board, cpu: number, bus: Bus, words: Int32Array, coherence: Coherence) {
    super(board, cpu, bus, words, coherence);
    this.ramHalves = new Uint16Array(board.buffer, GUEST_RAM_BASE, board.ramBytes >> 1);
    this.ramQuads = new BigInt64Array(board.buffer, GUEST_RAM_BASE, board.ramBytes >> 3);
    this.splitQuads = new BigUint64Array(board.buffer, GUEST_RAM_BASE, board.ramBytes >> 3);
    this.splitLock = new SplitLock(board, cpu);
  }

  private caught(fault: unknown): void {
    if (!(fault instanceof GuestFault)) throw fault;
    this.words[S.faultVector >> 2] = fault.vector;
    this.words[S.faultError >> 2] = fault.error;
    this.words[S.fault >> 2] = 1;
  }
  /** The #PF of the last walk, without the cost of throwing: it is the commonest fault. */
  private pageFault(va: number): void {
    const words = this.words;
    words[S.cr2 >> 2] = va;
    words[S.faultVector >> 2] = VEC.PF;
    words[S.faultError >> 2] = this.faultCode;
    words[S.fault >> 2] = 1;
  }
  private wraps(write: boolean): void {
    const vector = this.wrapVector(write);
    if (vector >= 0) throw new GuestFault(vector, 0);
  }
  /** A page-crossing access touches no device. */
  private bothMemory(va: number, size: number, access: number, user: boolean): boolean {
    return isMemory(this.kind(this.translate(va, access, user))) && isMemory(this.kind(this.translate((va + size - 1 & 0xfffff000) | 0, access, user)));
  }
  /** A region (record 0) leaves the instruction untouched to tier 0. */
  private giveUp(vector: number): number {
    this.words[S.faultVector >> 2] = vector;
    this.words[S.fault >> 2] = 1;
    return 0;
  }
  /** The store that regions gave up last, how often in a row, and since which instruction. */
  private disturber = 0; private disturbances = 0; private disturbedSince = 0;
  /** A region gives this store up, and nearly each time it comes by: tables are its business, and a region that it ends is of no use. Filling whole pages is not meant. */
  private disturbsOften(): boolean {
    const words = this.words, eip = words[S.blockEip >> 2], now = words[S.retiredEnd >> 2] - words[S.budget >> 2] | 0;
    if (eip !== this.disturber || (now - this.disturbedSince | 0) > this.disturbances * DISTURBANCE_INSNS + DISTURBANCE_INSNS) { this.disturber = eip; this.disturbances = 0; this.disturbedSince = now; }
    if (++this.disturbances < MAX_DISTURBANCES) return false;
    this.disturbances = 0;
    return true;
  }
  private get fromRegion(): boolean { return this.words[S.rec >> 2] === 0; }
  /** A store there takes translations away. */
  private disturbs(physical: number, size: number, kind: number): boolean {
    this.settle();
    return ((kind & PAGE_TABLE) !== 0 && !(this.tableStores[physical >>> 12] < this.patience && this.absent(physical, size))) || ((kind & PAGE_CODE) !== 0 && this.code.hits(physical, size));
  }
  /** The entries of a table that these bytes belong to are not present: nothing can have been derived from them. */
  private absent(physical: number, size: number): boolean {
    const bytes = this.pae ? 8 : 4;
    for (let at = physical & -bytes; at < physical + size; at += bytes) if (this.tableWord(at >>> 0) & 1) return false;
    return true;
  }
  /** disturbs() for a store that crosses into the next page. */
  private disturbsAcross(va: number, size: number, user: boolean): boolean {
    const first = this.translate(va, ACCESS.WRITE, user), second = this.translate((va + size - 1 & 0xfffff000) | 0, ACCESS.WRITE, user), head = 4096 - (va & 0xfff);
    return this.disturbs(first, head, this.kind(first)) || this.disturbs(second, size - head, this.kind(second));
  }
  /** Size 8: only looks at the alignment; the two halves are read after it. */
  slowRead(va: number, size: number, forWrite: number): number {
    this.words[S.countSlow >> 2]++;
    this.walkDropped = false;
    const user = this.words[S.cpl >> 2] === 3;
    if (this.watch !== undefined && this.fromRegion && this.watch.overlaps(va, size)) return this.giveUp(REPEAT_IN_TIER0);
    try {
      if (va & size - 1) this.requireAligned(va, size, user);
      if (size > 4) return 0;
      if ((va & 0xfff) + size > 4096) {
        if ((va >>> 0) + size > 2 ** 32) this.wraps(false);
        if (this.fromRegion) {
          if (!this.bothMemory(va, size, forWrite ? ACCESS.WRITE : ACCESS.READ, user)) return this.giveUp(REPEAT_IN_TIER0);
          if (this.walkDropped || (forWrite && this.disturbsAcross(va, size, user))) return this.giveUp(ONCE_IN_TIER0);
        }
        if (forWrite) this.checkWrite(va, size, user);
        return this.read(va, size, user);
      }
      const physical = this.reach(va, forWrite !== 0, user);
      if (physical < 0) { this.pageFault(va); return 0; }
      const kind = this.kind(physical);
      if (this.fromRegion) {
        if (!isMemory(kind)) return this.giveUp(REPEAT_IN_TIER0);
        if (this.walkDropped || (forWrite && this.disturbs(physical, size, kind))) return this.giveUp(ONCE_IN_TIER0);
      }
      if ((kind & PAGE_KIND_MASK) === PAGE_KIND_RAM) { this.fill(va, physical, forWrite !== 0 && !(kind & (PAGE_CODE | PAGE_TABLE))); this.permitWalks(); }
      else if ((kind & PAGE_KIND_MASK) === PAGE_KIND_ROM && physical < this.ramBytes) this.fill(va, physical, false);
      const value = this.readPhysical(physical, size);
      this.watch?.accessed(va, size, false);
      return size === 1 ? value & 0xff : size === 2 ? value & 0xffff : value;
    } catch (fault) { this.caught(fault); return 0; }
  }
  slowWrite(va: number, value: number, size: number): void {
    this.words[S.countSlow >> 2]++;
    this.walkDropped = false;
    const user = this.words[S.cpl >> 2] === 3;
    if (this.watch !== undefined && this.fromRegion && this.watch.overlaps(va, size)) { this.giveUp(REPEAT_IN_TIER0); return; }
    try {
      if (va & size - 1) this.requireAligned(va, size, user);
      if ((va & 0xfff) + size > 4096) {
        if ((va >>> 0) + size > 2 ** 32) this.wraps(true);
        if (this.fromRegion) {
          if (!this.bothMemory(va, size, ACCESS.WRITE, user)) { this.giveUp(REPEAT_IN_TIER0); return; }
          if (this.disturbsAcross(va, size, user) || this.walkDropped) { this.giveUp(ONCE_IN_TIER0); return; }
        }
        this.write(va, size, value, user);
        return;
      }
      const physical = this.reach(va, true, user);
      if (physical < 0) { this.pageFault(va); return; }
      const kind = this.kind(physical);
      if (this.fromRegion) {
        if (!isMemory(kind)) { this.giveUp(REPEAT_IN_TIER0); return; }
        if (this.walkDropped || this.disturbs(physical, size, kind)) { this.giveUp(this.disturbsOften() ? REPEAT_IN_TIER0 : ONCE_IN_TIER0); return; }
      }
      if ((kind & (PAGE_KIND_MASK | PAGE_CODE | PAGE_TABLE)) === PAGE_KIND_RAM) this.fill(va, physical, true);
      this.writePhysical(physical, size, value);
      if ((kind & PAGE_KIND_MASK) === PAGE_KIND_RAM) this.permitWalks();
      this.watch?.accessed(va, size, true);
    } catch (fault) { this.caught(fault); }
  }
  /** Where a locked access goes: a RAM address when it can be atomic, -1 when not (device, misaligned); the soft MMU is filled. */
  private lockedTarget(va: number, bytes: number): number {
    this.walkDropped = false;
    if (this.watch !== undefined && this.fromRegion && this.watch.overlaps(va, bytes)) throw new GuestFault(REPEAT_IN_TIER0);
    const user = this.words[S.cpl >> 2] === 3;
    this.requireAligned(va, bytes, user);
    const physical = this.translate(va, ACCESS.WRITE, user);
    const kind = this.kind(physical);
    if ((kind & PAGE_KIND_MASK) !== PAGE_KIND_RAM) return -1;
    if (this.fromRegion && (this.walkDropped || this.disturbs(physical, bytes, kind))) throw new GuestFault(ONCE_IN_TIER0);
    if (!(kind & (PAGE_CODE | PAGE_TABLE))) this.fill(va, physical, true);
    return va & bytes - 1 ? -1 : physical;
  }
  private lockedStored(physical: number, bytes: number): void {
    this.dirtyMap[physical >>> 12] = DIRTY_ALL;
    const kind = this.kind(physical);
    if (kind & PAGE_CODE) this.code.written(physical, bytes);
    if (kind & PAGE_TABLE) this.tableStored(physical, bytes);
  }
  /**
   * A locked read-modify-write without a write entry; `what` = operation (lower/context.ts) | bytes << 8. RAM: atomic, misaligned too (split-lock.ts).
   * Devices: a read, then a write.
   */
  slowAtomic(va: number, what: number, value: number, expected: number): number {
    const bytes = what >> 8, operation = what & 0xff;
    if ((va & 0xfff) + bytes <= 4096) {
      try {
        const physical = this.lockedTarget(va, bytes);
        if (physical >= 0) {
          this.words[S.countSlow >> 2]++;
          const old = atomically(bytes === 4 ? this.ramWords : bytes === 2 ? this.ramHalves : this.ram, physical / bytes, operation, value, expected);
          this.lockedStored(physical, bytes);
          this.watch?.accessed(va, bytes, false);
          this.watch?.accessed(va, bytes, true);
          return old;
        }
      } catch (fault) { this.caught(fault); return 0; }
    }
    const signed = (x: bigint): number => bytes === 4 ? Number(BigInt.asIntN(32, x)) : Number(x), bits = bytes * 8;
    const across = va & bytes - 1 ? this.misaligned(va, bytes, x => BigInt.asUintN(bits, BigInt(combine(operation, signed(x), value, expected)))) : undefined;
    if (across !== undefined) return signed(across);
    const old = this.slowRead(va, bytes, 1);
    if (this.words[S.fault >> 2]) return 0;
    this.slowWrite(va, combine(operation, old, value, expected), bytes);
    return old;
  }
  /** A locked instruction on misaligned RAM: what was there, 0 with a fault in the state block, or undefined: one of the pages is a device's. */
  private misaligned(va: number, bytes: number, update: (old: bigint) => bigint): bigint | undefined {
    const user = this.words[S.cpl >> 2] === 3, crosses = (va & 0xfff) + bytes > 4096;
    this.walkDropped = false;
    try {
      this.requireAligned(va, bytes, user);
      if (this.watch !== undefined && this.fromRegion && this.watch.overlaps(va, bytes)) throw new GuestFault(REPEAT_IN_TIER0);
      if ((va >>> 0) + bytes > 2 ** 32) this.wraps(true);
      const first = this.translate(va, ACCESS.WRITE, user), head = 8 - (va & 7);
      const second = crosses ? this.translate((va + bytes - 1 & 0xfffff000) | 0, ACCESS.WRITE, user) : head < bytes ? first + head : first;
      const inFirst = crosses ? 4096 - (va & 0xfff) : bytes;
      if ((this.kind(first) & PAGE_KIND_MASK) !== PAGE_KIND_RAM || (this.kind(second) & PAGE_KIND_MASK) !== PAGE_KIND_RAM) return undefined;
      const disturbs = this.disturbs(first, inFirst, this.kind(first)) || (crosses && this.disturbs(second, bytes - inFirst, this.kind(second)));
      if (this.fromRegion && (this.walkDropped || disturbs)) throw new GuestFault(ONCE_IN_TIER0);
      this.words[S.countSlow >> 2]++;
      const old = this.splitLock.hold(() => updateBytes(this.splitQuads, first, second, bytes, update));
      this.lockedStored(first, inFirst);
      if (crosses) this.lockedStored(second, bytes - inFirst);
      this.watch?.accessed(va, bytes, false);
      this.watch?.accessed(va, bytes, true);
      return old;
    } catch (fault) { this.caught(fault); return 0n; }
  }
  /** LOCK CMPXCHG8B without a write entry. */
  slowExchange64(va: number, expected: bigint, replacement: bigint): bigint {
    if ((va & 0xfff) + 8 <= 4096) {
      try {
        const physical = this.lockedTarget(va, 8);
        if (physical >= 0) {
          this.words[S.countSlow >> 2]++;
          const old = Atomics.compareExchange(this.ramQuads, physical / 8, BigInt.asIntN(64, expected), BigInt.asIntN(64, replacement));
          this.lockedStored(physical, 8);
          this.watch?.accessed(va, 8, false);
          this.watch?.accessed(va, 8, true);
          return old;
        }
      } catch (fault) { this.caught(fault); return 0n; }
    }
    const across = va & 7 ? this.misaligned(va, 8, x => x === BigInt.asUintN(64, expected) ? BigInt.asUintN(64, replacement) : x) : undefined;
    if (across !== undefined) return BigInt.asIntN(64, across);
    const low = this.slowRead(va, 4, 1);
    if (this.words[S.fault >> 2]) return 0n;
    const high = this.slowRead(va + 4 | 0, 4, 1);
    if (this.words[S.fault >> 2]) return 0n;
    const old = BigInt(high) << 32n | BigInt(low >>> 0);
    const chosen = BigInt.asUintN(64, old) === BigInt.asUintN(64, expected) ? replacement : old;
    this.slowWrite(va, Number(BigInt.asIntN(32, chosen)), 4);
    if (!this.words[S.fault >> 2]) this.slowWrite(va + 4 | 0, Number(BigInt.asIntN(32, chosen >> 32n)), 4);
    return old;
  }
}

function atomically(view: Int32Array | Uint16Array | Uint8Array, index: number, operation: number, value: number, expected: number): number {
  switch (operation) {
    case ATOMIC.add: return Atomics.add(view, index, value);
    case ATOMIC.sub: return Atomics.sub(view, index, value);
    case ATOMIC.and: return Atomics.and(view, index, value);
    case ATOMIC.or: return Atomics.or(view, index, value);
    case ATOMIC.xor: return Atomics.xor(view, index, value);
    case ATOMIC.xchg: return Atomics.exchange(view, index, value);
    case ATOMIC.cmpxchg: return Atomics.compareExchange(view, index, expected, value);
    default: throw new RangeError(`locked operation ${operation}`);
  }
}
function combine(operation: number, old: number, value: number, expected: number): number {
  switch (operation) {
    case ATOMIC.add: return old + value | 0;
    case ATOMIC.sub: return old - value | 0;
    case ATOMIC.and: return old & value;
    case ATOMIC.or: return old | value;
    case ATOMIC.xor: return old ^ value;
    case ATOMIC.xchg: return value;
    case ATOMIC.cmpxchg: return old === expected ? value : old;
    default: throw new RangeError(`locked operation ${operation}`);
  }
}
