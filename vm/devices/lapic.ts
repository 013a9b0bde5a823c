/**
 * Local APIC, one per vCPU, at FEE00000h.
 * Manual: Intel SDM vol. 3A chapter 11 (APIC): 11.4 registers, 11.5 local vector table and timer, 11.6 IPIs, 11.8 interrupt handling,
 * 11.9 spurious interrupt. No x2APIC, no TSC-deadline (CPUID does not report them): version 14h, six LVT entries.
 *
 * The timer counts 1 GHz of virtual time (one instruction in deterministic mode) divided by the divide register.
 *
 * Concurrency: the registers belong to their vCPU; senders touch IRR and TMR of others, with atomic operations, so the LAPIC needs
 * no lock. `refresh` may be called by any thread: it computes the INTR level and, after lowering it, looks again, so that an
 * interrupt accepted in between is never lost. TPR and ISR are therefore stored with Atomics (store then load must not reorder); loads are
 * plain ones behind them, as V8 makes a call of each Atomics.load (a self-IPI has fifty: 400 ns).
 */
import { type Board, MAX_CPUS } from '../board.ts';
import { FieldList, f64, u32, u32s, type FieldView } from '../fields.ts';
import type { AccessSize } from './bus.ts';
import type { Clock, CpuLines, DeviceBlocks } from './device.ts';
import type { EventQueue } from './events.ts';

export const LAPIC = {
  ID: 0x20, VERSION: 0x30, TPR: 0x80, APR: 0x90, PPR: 0xa0, EOI: 0xb0, LDR: 0xd0, DFR: 0xe0, SVR: 0xf0,
  ISR: 0x100, TMR: 0x180, IRR: 0x200, ESR: 0x280, ICR_LOW: 0x300, ICR_HIGH: 0x310,
  LVT_TIMER: 0x320, LVT_THERMAL: 0x330, LVT_PERFORMANCE: 0x340, LVT_LINT0: 0x350, LVT_LINT1: 0x360, LVT_ERROR: 0x370,
  TIMER_INITIAL: 0x380, TIMER_CURRENT: 0x390, TIMER_DIVIDE: 0x3e0,
} as const;
export const SVR_ENABLE = 1 << 8;
export const LVT_MASKED = 1 << 16;
export const LVT_TIMER_PERIODIC = 1 << 17;
const LVT_MODE = (value: number): number => (value >> 8) & 7;
/** Delivery modes (SDM 11.6.1). */
export const DELIVERY = { FIXED: 0, LOWEST: 1, SMI: 2, NMI: 4, INIT: 5, STARTUP: 6, EXTINT: 7 } as const;
const ESR_SEND_ILLEGAL = 1 << 5;
const ESR_RECEIVE_ILLEGAL = 1 << 6;
const ESR_ILLEGAL_REGISTER = 1 << 7;
export const BROADCAST = 0xff;
/** Timer interrupts of a period shorter than this are coalesced. */
const MINIMUM_PERIOD_NS = 1000;

const FIELDS = {
  id: u32, ldr: u32, dfr: u32, svr: u32, esr: u32, esrPending: u32, icrLow: u32, icrHigh: u32,
  /** Timer, thermal, performance, LINT0, LINT1, error. */
  lvt: u32s(6),
  timerInitial: u32, timerDivide: u32,
  /** Count at `timerStart`; 0 = stopped. */
  timerCount: u32, lint0: u32,
  timerStart: f64,
  tpr: u32, pad: u32,
  isr: u32s(8), tmr: u32s(8), irr: u32s(8),
} as const;
const LIST = new FieldList('LAPIC', FIELDS);
const LVT_WRITABLE = [0x300ff | (1 << 16), 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff];

interface Unit {
  readonly s: FieldView<typeof FIELDS>;
  readonly isr: Int32Array;
  readonly tmr: Int32Array;
  readonly irr: Int32Array;
  readonly tpr: Int32Array;
  readonly timerSlot: number;
}

export interface LapicWiring {
  readonly clock: Clock;
  readonly lines: CpuLines;
  readonly events: EventQueue;
  /** INTA cycle to the 8259 pair, for ExtINT. */
  acknowledgePic(cpu: number): number;
  /** A level-triggered vector was completed: tell the IOAPICs. */
  broadcastEoi(cpu: number, vector: number): void;
  /** IA32_APIC_BASE bit 11 of a vCPU. */
  globallyEnabled(cpu: number): boolean;
}

export class Lapics {
  readonly #units: Unit[] = [];
  readonly #wiring: LapicWiring;

  constructor(board: Board, blocks: DeviceBlocks, wiring: LapicWiring) {
    this.#wiring = wiring;
    for (let cpu = 0; cpu < board.cpus && cpu < MAX_CPUS; cpu++) {
      const base = board.lapicBase(cpu);
      const words = (name: 'isr' | 'tmr' | 'irr' | 'tpr', count: number): Int32Array => new Int32Array(board.buffer, base + LIST.offsetOf(name), count);
      this.#units.push({
        s: blocks.placeAt(LIST, base, `LAPIC ${cpu}`),
        isr: words('isr', 8), tmr: words('tmr', 8), irr: words('irr', 8), tpr: words('tpr', 1),
        timerSlot: wiring.events.register(`LAPIC ${cpu} timer`, cpu, (deadline) => this.#timerExpired(cpu, deadline)),
      });
    }
  }

  /** State after INIT or power on (SDM 11.4.7). `firmware`: what a PC's firmware leaves on the boot processor: virtual wire mode. */
  reset(cpu: number, firmware = false): void {
    const { s, isr, tmr, irr, timerSlot } = this.#units[cpu];
    s.id = cpu << 24;
    s.ldr = s.esr = s.esrPending = s.icrLow = s.icrHigh = s.timerInitial = s.timerDivide = s.timerCount = s.tpr = 0;
    s.timerStart = 0;
    s.dfr = 0xffff_ffff;
    s.svr = 0xff;
    s.lvt.fill(LVT_MASKED);
    for (const words of [isr, tmr, irr]) words.fill(0);
    this.#wiring.events.cancel(timerSlot);
    if (firmware) {
      s.svr |= SVR_ENABLE;
      s.lvt[3] = DELIVERY.EXTINT << 8;
      s.lvt[4] = DELIVERY.NMI << 8;
    }
    this.refresh(cpu);
  }

  // ---- priorities -------------------------------------------------------------------------------------------------------

  static #highest(words: Int32Array): number {
    for (let k = 7; k >= 0; k--) {
      const word = words[k];
      if (word !== 0) return k * 32 + 31 - Math.clz32(word);
    }
    return -1;
  }

  #ppr(unit: Unit): number {
    const inService = Lapics.#highest(unit.isr);
    const tpr = unit.tpr[0];
    return inService >= 0 && (inService & 0xf0) > (tpr & 0xf0) ? inService & 0xf0 : tpr & 0xff;
  }

  #deliverable(unit: Unit): number {
    const vector = Lapics.#highest(unit.irr);
    return vector >= 0 && (vector & 0xf0) > (this.#ppr(unit) & 0xf0) ? vector : -1;
  }

  #acceptsExtInt(cpu: number, unit: Unit): boolean {
    if (unit.s.lint0 === 0) return false;
    if (!this.#wiring.globallyEnabled(cpu)) return cpu === 0;
    const lint0 = unit.s.lvt[3];
    return (lint0 & LVT_MASKED) === 0 && LVT_MODE(lint0) === DELIVERY.EXTINT;
  }

  #pending(cpu: number, unit: Unit): boolean { return this.#acceptsExtInt(cpu, unit) || this.#deliverable(unit) >= 0; }

  /** Recomputes the INTR level of `cpu`. */
  refresh(cpu: number): void {
    const unit = this.#units[cpu];
    if (this.#pending(cpu, unit)) { this.#wiring.lines.interrupt(cpu, true); return; }
    // Only who has lowered the line may have lowered it over somebody else's head.
    if (this.#wiring.lines.interrupt(cpu, false) === false) return;
    if (this.#pending(cpu, unit)) this.#wiring.lines.interrupt(cpu, true);
  }

  /** The vCPU takes its interrupt: vector or -1. ExtINT comes first, as its pin is not subject to priority. */
  acknowledge(cpu: number): number {
    const unit = this.#units[cpu];
    let vector: number;
    if (this.#acceptsExtInt(cpu, unit)) vector = this.#wiring.acknowledgePic(cpu);
    else {
      vector = this.#deliverable(unit);
      if (vector >= 0) {
        Atomics.or(unit.isr, vector >> 5, 1 << (vector & 31));
        Atomics.and(unit.irr, vector >> 5, ~(1 << (vector & 31)));
      }
    }
    this.refresh(cpu);
    return vector;
  }

  // ---- accepting --------------------------------------------------------------------------------------------------------

  /** Fault hook (vm/hooks.ts): true = the message does not arrive now. Host state. */
  intercept: ((cpu: number, vector: number, level: boolean) => boolean) | undefined;
  /** A fixed interrupt message arrives. */
  accept(cpu: number, vector: number, level: boolean): void {
    if (this.intercept === undefined || !this.intercept(cpu, vector, level)) this.arrive(cpu, vector, level);
  }
  /** The same, past the hook. */
  arrive(cpu: number, vector: number, level: boolean): void {
    const unit = this.#units[cpu];
    if ((unit.s.svr & SVR_ENABLE) === 0) return;
    if (vector < 16) { this.#error(cpu, ESR_RECEIVE_ILLEGAL); return; }
    const bit = 1 << (vector & 31);
    if (level) Atomics.or(unit.tmr, vector >> 5, bit);
    else if (unit.tmr[vector >> 5] & bit) Atomics.and(unit.tmr, vector >> 5, ~bit);
    Atomics.or(unit.irr, vector >> 5, bit);
    this.refresh(cpu);
  }

  #error(cpu: number, bits: number): void {
    const { s } = this.#units[cpu];
    if (s.esrPending & bits) return; // no recursion on an illegal error vector
    s.esrPending |= bits;
    const lvt = s.lvt[5];
    if (!(lvt & LVT_MASKED)) this.accept(cpu, lvt & 0xff, false);
  }

  /** Level of the LINT0 pin of every vCPU: the 8259's INT output. */
  setLint0(asserted: boolean): void {
    for (let cpu = 0; cpu < this.#units.length; cpu++) {
      const { s } = this.#units[cpu];
      const was = s.lint0;
      if ((was !== 0) === asserted) continue;
      s.lint0 = asserted ? 1 : 0;
      const lvt = s.lvt[3];
      if (asserted && !(lvt & LVT_MASKED) && LVT_MODE(lvt) === DELIVERY.FIXED) this.accept(cpu, lvt & 0xff, false);
      else this.refresh(cpu);
    }
  }

  /** The vCPUs a message addresses (SDM 11.6.2), as a bit mask. */
  destinations(destination: number, logical: boolean): number {
    let mask = 0;
    for (let cpu = 0; cpu < this.#units.length; cpu++) {
      const { s } = this.#units[cpu];
      let hit: boolean;
      if (destination === BROADCAST) hit = true;
      else if (!logical) hit = s.id >>> 24 === destination;
      else {
        const id = s.ldr >>> 24;
        hit = s.dfr >>> 28 === 0xf ? (id & destination) !== 0 : id >> 4 === destination >> 4 && (id & destination & 0xf) !== 0;
      }
      if (hit) mask |= 1 << cpu;
    }
    return mask;
  }

  /** Sends a message to a set of vCPUs. Used by ICR writes, IOAPIC and MSI. */
  deliver(targets: number, mode: number, vector: number, level: boolean): void {
    if (mode === DELIVERY.LOWEST) {
      let chosen = -1;
      let lowest = 256;
      for (let cpu = 0; cpu < this.#units.length; cpu++) {
        const unit = this.#units[cpu];
        if (!(targets & (1 << cpu)) || !(unit.s.svr & SVR_ENABLE)) continue;
        const priority = this.#ppr(unit);
        if (priority < lowest) { lowest = priority; chosen = cpu; }
      }
      if (chosen >= 0) this.accept(chosen, vector, level);
      return;
    }
    for (let cpu = 0; cpu < this.#units.length; cpu++) {
      if (!(targets & (1 << cpu))) continue;
      switch (mode) {
        case DELIVERY.FIXED: this.accept(cpu, vector, level); break;
        case DELIVERY.NMI: this.#wiring.lines.nmi(cpu); break;
        case DELIVERY.INIT: this.reset(cpu); this.#wiring.lines.init(cpu); break;
        case DELIVERY.STARTUP: this.#wiring.lines.sipi(cpu, vector); break;
        default: break; // SMI: there is no system management mode
      }
    }
  }

  #sendIpi(cpu: number): void {
    const { s } = this.#units[cpu];
    const mode = (s.icrLow >> 8) & 7;
    const vector = s.icrLow & 0xff;
    const assert = (s.icrLow & (1 << 14)) !== 0;
    const level = (s.icrLow & (1 << 15)) !== 0;
    if (mode === DELIVERY.INIT && level && !assert) return; // INIT level de-assert: arbitration ids, nothing since the P4
    if ((mode === DELIVERY.FIXED || mode === DELIVERY.LOWEST) && vector < 16) { this.#error(cpu, ESR_SEND_ILLEGAL); return; }
    const all = (1 << this.#units.length) - 1;
    const self = 1 << cpu;
    let targets: number;
    switch ((s.icrLow >> 18) & 3) {
      case 1: targets = self; break;
      case 2: targets = all; break;
      case 3: targets = all & ~self; break;
      default: targets = this.destinations(s.icrHigh >>> 24, (s.icrLow & (1 << 11)) !== 0);
    }
    this.deliver(targets, mode, vector, false);
  }

  #endOfInterrupt(cpu: number): void {
    const unit = this.#units[cpu];
    const vector = Lapics.#highest(unit.isr);
    if (vector < 0) return;
    const bit = 1 << (vector & 31);
    Atomics.and(unit.isr, vector >> 5, ~bit);
    if (unit.tmr[vector >> 5] & bit) this.#wiring.broadcastEoi(cpu, vector);
    this.refresh(cpu);
  }

  // ---- timer ------------------------------------------------------------------------------------------------------------

  static #divisor(register: number): number {
    const code = (register & 3) | ((register >> 1) & 4);
    return code === 7 ? 1 : 2 << code;
  }

  #currentCount(unit: Unit): number {
    const { s } = unit;
    if (s.timerCount === 0) return 0;
    const passed = Math.floor((this.#wiring.clock.now() - s.timerStart) / Lapics.#divisor(s.timerDivide));
    return Math.max(0, s.timerCount - passed);
  }

  #startTimer(unit: Unit, count: number, startNs: number): void {
    const { s } = unit;
    s.timerCount = count;
    s.timerStart = startNs;
    if (count === 0) this.#wiring.events.cancel(unit.timerSlot);
    else this.#wiring.events.arm(unit.timerSlot, startNs + count * Lapics.#divisor(s.timerDivide));
  }

  #timerExpired(cpu: number, deadline: number): void {
    const unit = this.#units[cpu];
    const { s } = unit;
    const lvt = s.lvt[0];
    if (lvt & LVT_TIMER_PERIODIC && s.timerInitial !== 0) {
      const period = s.timerInitial * Lapics.#divisor(s.timerDivide);
      const now = this.#wiring.clock.now();
      // The next period boundary that leaves the guest at least MINIMUM_PERIOD_NS, and is not in the past (parallel mode).
      const earliest = Math.max(deadline + MINIMUM_PERIOD_NS, now + 1);
      const start = period >= MINIMUM_PERIOD_NS && deadline + period >= earliest ? deadline : deadline + Math.floor((earliest - deadline) / period) * period;
      this.#startTimer(unit, s.timerInitial, start);
    } else s.timerCount = 0;
    if (!(lvt & LVT_MASKED)) this.accept(cpu, lvt & 0xff, false);
  }

  // ---- registers --------------------------------------------------------------------------------------------------------

  /** `offset` in the page; the guest must use aligned 32-bit accesses (SDM 11.4.1), narrower ones read the addressed bytes. */
  read(cpu: number, offset: number, size: AccessSize): number {
    const value = (offset & 0xf) < 4 ? this.#readRegister(cpu, offset & ~0xf) : 0;
    return size === 4 ? value : value >>> ((offset & 3) * 8);
  }

  #readRegister(cpu: number, offset: number): number {
    const unit = this.#units[cpu];
    const { s } = unit;
    if (offset >= LAPIC.ISR && offset < LAPIC.ESR) {
      const words = offset < LAPIC.TMR ? unit.isr : offset < LAPIC.IRR ? unit.tmr : unit.irr;
      return Atomics.load(words, (offset >> 4) & 7);
    }
    switch (offset) {
      case LAPIC.ID: return s.id;
      case LAPIC.VERSION: return 0x0005_0014;
      case LAPIC.TPR: return s.tpr;
      case LAPIC.APR: return 0;
      case LAPIC.PPR: return this.#ppr(unit);
      case LAPIC.EOI: return 0;
      case LAPIC.LDR: return s.ldr;
      case LAPIC.DFR: return s.dfr;
      case LAPIC.SVR: return s.svr;
      case LAPIC.ESR: return s.esr;
      case LAPIC.ICR_LOW: return s.icrLow;
      case LAPIC.ICR_HIGH: return s.icrHigh;
      case LAPIC.TIMER_INITIAL: return s.timerInitial;
      case LAPIC.TIMER_CURRENT: return this.#currentCount(unit);
      case LAPIC.TIMER_DIVIDE: return s.timerDivide;
    }
    if (offset >= LAPIC.LVT_TIMER && offset <= LAPIC.LVT_ERROR) {
      const index = (offset - LAPIC.LVT_TIMER) >> 4;
      // LINT0's remote IRR and the delivery status are never seen busy here.
      return s.lvt[index];
    }
    this.#error(cpu, ESR_ILLEGAL_REGISTER);
    return 0;
  }

  write(cpu: number, offset: number, size: AccessSize, value: number): void {
    if (size !== 4 || (offset & 0xf) !== 0) return; // undefined on hardware; ignored
    const unit = this.#units[cpu];
    const { s } = unit;
    switch (offset) {
      case LAPIC.EOI: this.#endOfInterrupt(cpu); return;
      case LAPIC.ICR_LOW: s.icrLow = value & 0x000c_cfff; this.#sendIpi(cpu); return;
      case LAPIC.ICR_HIGH: s.icrHigh = value & 0xff00_0000; return;
      case LAPIC.TPR: Atomics.store(unit.tpr, 0, value & 0xff); this.refresh(cpu); return;
      case LAPIC.ID: case LAPIC.VERSION: case LAPIC.APR: case LAPIC.PPR: case LAPIC.TIMER_CURRENT: return; // read-only
      case LAPIC.LDR: s.ldr = value & 0xff00_0000; return;
      case LAPIC.DFR: s.dfr = value | 0x0fff_ffff; return;
      case LAPIC.SVR:
        s.svr = value & 0x3ff;
        if (!(value & SVR_ENABLE)) for (let k = 0; k < 6; k++) s.lvt[k] |= LVT_MASKED;
        this.refresh(cpu);
        return;
      case LAPIC.ESR: s.esr = s.esrPending; s.esrPending = 0; return;
      case LAPIC.TIMER_INITIAL: s.timerInitial = value; this.#startTimer(unit, value >>> 0, this.#wiring.clock.now()); return;
      case LAPIC.TIMER_DIVIDE: {
        const count = this.#currentCount(unit);
        s.timerDivide = value & 0xb;
        this.#startTimer(unit, count, this.#wiring.clock.now());
        return;
      }
    }
    if (offset >= LAPIC.LVT_TIMER && offset <= LAPIC.LVT_ERROR) {
      const index = (offset - LAPIC.LVT_TIMER) >> 4;
      s.lvt[index] = (value & LVT_WRITABLE[index]) | (s.svr & SVR_ENABLE ? 0 : LVT_MASKED);
      if (index === 3) this.refresh(cpu);
      return;
    }
    this.#error(cpu, ESR_ILLEGAL_REGISTER);
  }
}
