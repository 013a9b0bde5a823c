/**
 * The 8254 programmable interval timer and the two system-control bits of port 61h that belong to it.
 * Manual: Intel 8254 datasheet (231164), "Mode Definitions", "Read-Back Command"; port 61h: PIIX3 2.5.3 (NMI status and control).
 *
 *   port 40h..42h  counters 0..2     port 43h  control word / read-back
 *   port 61h       bit 0 gate of counter 2, bit 1 speaker, bit 4 refresh toggle, bit 5 OUT of counter 2
 *
 * Counter 0 drives ISA line 0. The counters run at 1,193,182 Hz of virtual time: nothing ticks, counts are computed from the time
 * of the last load. A new count takes effect at once in modes 0 and 4 and, where the chip waits for the end of the period (modes
 * 2 and 3), also at once: kernels cannot tell without cycle-exact reads.
 */
import { FieldList, f64s, u32, u32s, type FieldView } from '../fields.ts';
import type { AccessSize } from './bus.ts';
import type { Clock, DeviceBlocks, InterruptLines, PortDevice } from './device.ts';
import { GLOBAL, type EventQueue } from './events.ts';

export const PIT_COUNTER_0 = 0x40;
export const PIT_CONTROL = 0x43;
export const SYSTEM_CONTROL_B = 0x61;
export const PIT_HZ = 1_193_182;
const NS_PER_TICK = 1e9 / PIT_HZ;
const LINE = 0;
/** Real time interrupts more often than this are coalesced: a period of one tick would leave no time to the guest. */
const MINIMUM_PERIOD_NS = 10_000;

const ACCESS_LATCH = 0;
const ACCESS_LOW = 1;
const ACCESS_HIGH = 2;
const ACCESS_BOTH = 3;

const FIELDS = {
  mode: u32s(3), access: u32s(3), bcd: u32s(3),
  /** Count of the current period, 1..65536 (10000 in BCD); 0 = none written since the control word. */
  reload: u32s(3), partial: u32s(3), writeHigh: u32s(3), readHigh: u32s(3),
  latched: u32s(3), latch: u32s(3), statusLatched: u32s(3), statusLatch: u32s(3),
  gate: u32s(3), speaker: u32, pad: u32,
  /** Time when the running count was loaded (or the gate rose). */
  start: f64s(3), /** Ticks done when the gate fell. */ heldTicks: f64s(3),
} as const;
const PIT = new FieldList('8254', FIELDS);

export class Pit implements PortDevice {
  readonly #s: FieldView<typeof FIELDS>;
  readonly #clock: Clock;
  readonly #lines: InterruptLines;
  readonly #events: EventQueue;
  readonly #slot: number;

  constructor(blocks: DeviceBlocks, clock: Clock, lines: InterruptLines, events: EventQueue) {
    this.#s = blocks.place(PIT);
    this.#clock = clock;
    this.#lines = lines;
    this.#events = events;
    this.#slot = events.register('8254 counter 0', GLOBAL, (deadline) => this.#expire(deadline));
  }

  reset(): void {
    const s = this.#s;
    for (const field of [s.mode, s.bcd, s.reload, s.partial, s.writeHigh, s.readHigh, s.latched, s.latch, s.statusLatched, s.statusLatch]) field.fill(0);
    s.access.fill(ACCESS_BOTH);
    s.gate.fill(1);
    s.gate[2] = 0;
    s.start.fill(0);
    s.heldTicks.fill(0);
    s.speaker = 0;
    // What a PC's firmware leaves: counter 0 in mode 3 with 65536 (18.2 Hz), line masked in the 8259.
    s.mode[0] = 3;
    s.reload[0] = 65536;
    this.#arm(0);
  }

  #ticks(n: number): number {
    const s = this.#s;
    if (s.reload[n] === 0) return 0;
    if (!s.gate[n]) return s.heldTicks[n];
    return s.heldTicks[n] + Math.floor((this.#clock.now() - s.start[n]) / NS_PER_TICK);
  }

  #periodic(n: number): boolean { return this.#s.mode[n] === 2 || this.#s.mode[n] === 3; }

  /** The 16-bit value the counting element shows now. */
  #count(n: number): number {
    const s = this.#s;
    const reload = s.reload[n];
    if (reload === 0) return 0;
    const ticks = this.#ticks(n);
    const span = s.bcd[n] ? 10_000 : 65536;
    let count: number;
    if (s.mode[n] === 2) count = reload - (ticks % reload);
    else if (s.mode[n] === 3) { // counts down by two, twice per period
      const half = (ticks * 2) % (reload & ~1 || 2);
      count = (reload & ~1) - half;
    } else count = (((reload - ticks) % span) + span) % span;
    count %= span;
    return s.bcd[n] ? toBcd(count) : count;
  }

  #out(n: number): boolean {
    const s = this.#s;
    const reload = s.reload[n];
    if (reload === 0) return s.mode[n] !== 0;
    const ticks = this.#ticks(n);
    switch (s.mode[n]) {
      case 2: return ticks % reload !== reload - 1;
      case 3: return ticks % reload < Math.ceil(reload / 2);
      case 4: case 5: return ticks !== reload;
      default: return ticks >= reload; // 0 and 1: high from terminal count on
    }
  }

  /** Plans the next rising edge of OUT 0. */
  #arm(n: number): void {
    if (n !== 0) return;
    const s = this.#s;
    const reload = s.reload[0];
    if (reload === 0) { this.#events.cancel(this.#slot); this.#lines.set(LINE, s.mode[0] !== 0); return; }
    if (s.mode[0] === 1 || s.mode[0] === 5) { this.#events.cancel(this.#slot); return; } // gate 0 is wired high: never triggered
    if (s.mode[0] === 0) this.#lines.set(LINE, false);
    this.#events.arm(this.#slot, s.start[0] + Math.ceil(reload * NS_PER_TICK));
  }

  #expire(deadline: number): void {
    const s = this.#s;
    this.#lines.set(LINE, false);
    this.#lines.set(LINE, true);
    if (!this.#periodic(0)) return;
    const period = s.reload[0] * NS_PER_TICK;
    const periods = Math.max(1, Math.round((deadline - s.start[0]) / period));
    let next = s.start[0] + Math.ceil((periods + 1) * period);
    // Host time may have run past several periods (parallel mode): one interrupt stands for all of them.
    const now = this.#clock.now();
    if (next <= now) next = s.start[0] + Math.ceil((Math.floor((now - s.start[0]) / period) + 1) * period);
    this.#events.arm(this.#slot, Math.max(next, deadline + MINIMUM_PERIOD_NS));
  }

  #load(n: number, value: number): void {
    const s = this.#s;
    const span = s.bcd[n] ? 10_000 : 65536;
    s.reload[n] = (s.bcd[n] ? fromBcd(value) : value) || span;
    s.start[n] = this.#clock.now();
    s.heldTicks[n] = 0;
    this.#arm(n);
  }

  #control(value: number): void {
    const s = this.#s;
    const select = value >> 6;
    if (select === 3) { // read-back: bit 5 = 0 latch count, bit 4 = 0 latch status
      for (let n = 0; n < 3; n++) {
        if (!(value & (2 << n))) continue;
        if (!(value & 0x20)) this.#latchCount(n);
        if (!(value & 0x10) && !s.statusLatched[n]) {
          s.statusLatch[n] = (this.#out(n) ? 0x80 : 0) | (s.reload[n] === 0 ? 0x40 : 0) | (s.access[n] << 4) | (s.mode[n] << 1) | s.bcd[n];
          s.statusLatched[n] = 1;
        }
      }
      return;
    }
    const access = (value >> 4) & 3;
    if (access === ACCESS_LATCH) { this.#latchCount(select); return; }
    const mode = (value >> 1) & 7;
    s.access[select] = access;
    s.mode[select] = mode > 5 ? mode - 4 : mode; // 6 and 7 are 2 and 3
    s.bcd[select] = value & 1;
    s.reload[select] = 0;
    s.writeHigh[select] = s.readHigh[select] = s.latched[select] = s.statusLatched[select] = 0;
    this.#arm(select);
  }

  #latchCount(n: number): void {
    const s = this.#s;
    if (s.latched[n]) return;
    s.latch[n] = this.#count(n);
    s.latched[n] = 1;
    s.readHigh[n] = s.access[n] === ACCESS_HIGH ? 1 : 0;
  }

  portRead(port: number, _size: AccessSize): number {
    const s = this.#s;
    if (port === SYSTEM_CONTROL_B) {
      const refresh = Math.floor(this.#clock.now() / 15_085) & 1;
      return s.gate[2] | (s.speaker << 1) | (refresh << 4) | (this.#out(2) ? 0x20 : 0);
    }
    const n = port - PIT_COUNTER_0;
    if (n > 2) return 0xff; // the control word is write-only
    if (s.statusLatched[n]) { s.statusLatched[n] = 0; return s.statusLatch[n]; }
    const value = s.latched[n] ? s.latch[n] : this.#count(n);
    switch (s.access[n]) {
      case ACCESS_LOW: s.latched[n] = 0; return value & 0xff;
      case ACCESS_HIGH: s.latched[n] = 0; return value >> 8;
      default:
        if (s.readHigh[n]) { s.readHigh[n] = 0; s.latched[n] = 0; return value >> 8; }
        s.readHigh[n] = 1;
        return value & 0xff;
    }
  }

  portWrite(port: number, _size: AccessSize, value: number): void {
    const s = this.#s;
    value &= 0xff;
    if (port === PIT_CONTROL) return this.#control(value);
    if (port === SYSTEM_CONTROL_B) {
      const gate = value & 1;
      if (gate !== s.gate[2]) this.#setGate(2, gate);
      s.speaker = (value >> 1) & 1;
      return;
    }
    const n = port - PIT_COUNTER_0;
    switch (s.access[n]) {
      case ACCESS_LOW: return this.#load(n, value);
      case ACCESS_HIGH: return this.#load(n, value << 8);
      default:
        if (s.writeHigh[n]) { s.writeHigh[n] = 0; return this.#load(n, s.partial[n] | (value << 8)); }
        s.partial[n] = value;
        s.writeHigh[n] = 1;
    }
  }

  #setGate(n: number, gate: number): void {
    const s = this.#s;
    const ticks = this.#ticks(n);
    const mode = s.mode[n];
    s.gate[n] = gate;
    s.start[n] = this.#clock.now();
    // Modes 0 and 4 pause; modes 1, 2, 3 and 5 start anew on the rising edge.
    s.heldTicks[n] = mode === 0 || mode === 4 ? ticks : gate ? 0 : ticks;
  }
}

function toBcd(value: number): number {
  return (value % 10) | (Math.floor(value / 10) % 10) << 4 | (Math.floor(value / 100) % 10) << 8 | (Math.floor(value / 1000) % 10) << 12;
}
function fromBcd(value: number): number {
  return (value & 15) + ((value >> 4) & 15) * 10 + ((value >> 8) & 15) * 100 + ((value >> 12) & 15) * 1000;
}
