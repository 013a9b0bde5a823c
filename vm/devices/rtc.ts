/**
 * CMOS memory and real-time clock.
 * Manual: Motorola MC146818A datasheet (ADI856), "Register A..D", "Update cycle"; PC use: ports 70h (index, bit 7 = NMI mask) and 71h.
 *
 *   00h seconds 02h minutes 04h hours 06h weekday 07h day 08h month 09h year, 01h/03h/05h alarm
 *   0Ah A: UIP, divider, rate   0Bh B: SET PIE AIE UIE SQWE DM 24/12 DSE   0Ch C: IRQF PF AF UF   0Dh D: VRT
 *   0Fh shutdown status, 10h..7Fh battery RAM; 32h century
 *
 * The time base is deterministic: `rtcBaseSeconds` of the board plus virtual time plus the offset a guest made by setting the
 * clock. Not modelled: daylight saving, square wave.
 */
import type { Board } from '../board.ts';
import { FieldList, f64, u32, u8s, type FieldView } from '../fields.ts';
import type { AccessSize } from './bus.ts';
import type { Clock, DeviceBlocks, InterruptLines, PortDevice } from './device.ts';
import { GLOBAL, type EventQueue } from './events.ts';

export const RTC_INDEX = 0x70;
export const RTC_DATA = 0x71;
const LINE = 8;
const SECOND_NS = 1e9;
/** UIP is set this long before the update (244 us, "Update cycle"). */
const UPDATE_NS = 244_000;

const R = { SECONDS: 0, SECONDS_ALARM: 1, MINUTES: 2, MINUTES_ALARM: 3, HOURS: 4, HOURS_ALARM: 5, WEEKDAY: 6, DAY: 7, MONTH: 8, YEAR: 9, A: 10, B: 11, C: 12, D: 13, CENTURY: 0x32 } as const;
const A_UIP = 0x80;
const B_SET = 0x80;
const B_PIE = 0x40;
const B_AIE = 0x20;
const B_UIE = 0x10;
const B_BINARY = 0x04;
const B_24H = 0x02;
const C_IRQF = 0x80;
const C_PF = 0x40;
const C_AF = 0x20;
const C_UF = 0x10;

const FIELDS = { index: u32, pad: u32, /** Guest time = rtcBaseSeconds + virtual seconds + this. */ offsetSeconds: f64, ram: u8s(128) } as const;
const LIST = new FieldList('CMOS RTC', FIELDS);

export class Rtc implements PortDevice {
  readonly #s: FieldView<typeof FIELDS>;
  readonly #board: Board;
  readonly #clock: Clock;
  readonly #lines: InterruptLines;
  readonly #events: EventQueue;
  readonly #updateSlot: number;
  readonly #periodicSlot: number;

  constructor(board: Board, blocks: DeviceBlocks, clock: Clock, lines: InterruptLines, events: EventQueue) {
    this.#s = blocks.place(LIST);
    this.#board = board;
    this.#clock = clock;
    this.#lines = lines;
    this.#events = events;
    this.#updateSlot = events.register('RTC update', GLOBAL, (deadline) => this.#updated(deadline));
    this.#periodicSlot = events.register('RTC periodic', GLOBAL, (deadline) => this.#tick(deadline));
  }

  reset(): void {
    const s = this.#s;
    s.index = 0;
    s.offsetSeconds = 0;
    s.ram.fill(0);
    s.ram[R.A] = 0x26; // 32.768 kHz, 1024 Hz
    s.ram[R.B] = B_24H;
    // Memory sizes as a PC's firmware leaves them: 15h/16h base KiB, 17h/18h and 30h/31h KiB above 1 MiB (to 64 MiB), 34h/35h 64 KiB above 16 MiB.
    const extendedKiB = Math.min(0xffff, (this.#board.ramBytes >> 10) - 1024);
    const above16 = Math.max(0, Math.min(0xffff, Math.floor((this.#board.ramBytes - 0x100_0000) / 65536)));
    s.ram.set([640 & 0xff, 640 >> 8, extendedKiB & 0xff, extendedKiB >> 8], 0x15);
    s.ram.set([extendedKiB & 0xff, extendedKiB >> 8], 0x30);
    s.ram.set([above16 & 0xff, above16 >> 8], 0x34);
  }

  #seconds(): number { return this.#board.header.rtcBaseSeconds + Math.floor(this.#clock.now() / SECOND_NS) + this.#s.offsetSeconds; }

  /** Register value in the guest's format (BCD or binary, 12 or 24 hours). */
  #encode(register: number, value: number): number {
    const b = this.#s.ram[R.B];
    let pm = 0;
    if (register === R.HOURS && !(b & B_24H)) {
      pm = value >= 12 ? 0x80 : 0;
      value = value % 12 || 12;
    }
    return (b & B_BINARY ? value : (Math.floor(value / 10) << 4) | (value % 10)) | pm;
  }

  #decode(register: number, value: number): number {
    const b = this.#s.ram[R.B];
    const pm = register === R.HOURS && !(b & B_24H) && (value & 0x80) !== 0;
    if (register === R.HOURS && !(b & B_24H)) value &= 0x7f;
    let number = b & B_BINARY ? value : (value >> 4) * 10 + (value & 15);
    if (register === R.HOURS && !(b & B_24H)) number = (number % 12) + (pm ? 12 : 0);
    return number;
  }

  #time(register: number): number {
    // While SET holds the clock, the registers are plain memory.
    if (this.#s.ram[R.B] & B_SET) return this.#s.ram[register];
    const date = new Date(this.#seconds() * 1000);
    switch (register) {
      case R.SECONDS: return this.#encode(register, date.getUTCSeconds());
      case R.MINUTES: return this.#encode(register, date.getUTCMinutes());
      case R.HOURS: return this.#encode(register, date.getUTCHours());
      case R.WEEKDAY: return date.getUTCDay() + 1;
      case R.DAY: return this.#encode(register, date.getUTCDate());
      case R.MONTH: return this.#encode(register, date.getUTCMonth() + 1);
      case R.YEAR: return this.#encode(register, date.getUTCFullYear() % 100);
      default: return this.#encode(register, Math.floor(date.getUTCFullYear() / 100));
    }
  }

  #freeze(): void { for (const r of [R.SECONDS, R.MINUTES, R.HOURS, R.WEEKDAY, R.DAY, R.MONTH, R.YEAR, R.CENTURY]) this.#s.ram[r] = this.#time(r); }

  /** SET falls (or a time register is written without it): the registers become the time. */
  #adopt(): void {
    const ram = this.#s.ram;
    const at = (register: number): number => this.#decode(register, ram[register]);
    const year = at(R.CENTURY) * 100 + at(R.YEAR);
    const seconds = Date.UTC(year, at(R.MONTH) - 1, at(R.DAY), at(R.HOURS), at(R.MINUTES), at(R.SECONDS)) / 1000;
    if (Number.isFinite(seconds)) this.#s.offsetSeconds += seconds - this.#seconds();
  }

  #raise(cause: number, enable: number): void {
    const ram = this.#s.ram;
    ram[R.C] |= cause;
    if (ram[R.B] & enable) { ram[R.C] |= C_IRQF; this.#lines.set(LINE, true); }
  }

  #plan(): void {
    const now = this.#clock.now();
    const b = this.#s.ram[R.B];
    if (b & (B_UIE | B_AIE) && !(b & B_SET)) {
      if (this.#events.deadlineOf(this.#updateSlot) === Infinity) this.#events.arm(this.#updateSlot, (Math.floor(now / SECOND_NS) + 1) * SECOND_NS);
    } else this.#events.cancel(this.#updateSlot);
    if (b & B_PIE && this.#period() > 0) {
      if (this.#events.deadlineOf(this.#periodicSlot) === Infinity) this.#events.arm(this.#periodicSlot, now + this.#period());
    } else this.#events.cancel(this.#periodicSlot);
  }

  #period(): number {
    const rate = this.#s.ram[R.A] & 15;
    if (rate === 0) return 0;
    return Math.round(SECOND_NS / (32768 >> ((rate < 3 ? rate + 7 : rate) - 1)));
  }

  #tick(deadline: number): void {
    this.#raise(C_PF, B_PIE);
    const period = this.#period();
    if (period > 0) this.#events.arm(this.#periodicSlot, Math.max(deadline + period, this.#clock.now() + 1));
  }

  #updated(deadline: number): void {
    const ram = this.#s.ram;
    const matches = (alarm: number, register: number): boolean => ram[alarm] >= 0xc0 || ram[alarm] === this.#time(register);
    this.#raise(C_UF, B_UIE);
    if (matches(R.SECONDS_ALARM, R.SECONDS) && matches(R.MINUTES_ALARM, R.MINUTES) && matches(R.HOURS_ALARM, R.HOURS)) this.#raise(C_AF, B_AIE);
    this.#events.arm(this.#updateSlot, deadline + SECOND_NS);
  }

  portRead(port: number, _size: AccessSize): number {
    const s = this.#s;
    if (port === RTC_INDEX) return 0xff; // write-only
    const index = s.index;
    switch (index) {
      case R.SECONDS: case R.MINUTES: case R.HOURS: case R.WEEKDAY: case R.DAY: case R.MONTH: case R.YEAR: case R.CENTURY: return this.#time(index);
      case R.A: {
        const phase = this.#clock.now() % SECOND_NS;
        return s.ram[R.A] | (!(s.ram[R.B] & B_SET) && phase >= SECOND_NS - UPDATE_NS ? A_UIP : 0);
      }
      case R.C: {
        const causes = s.ram[R.C];
        s.ram[R.C] = 0;
        this.#lines.set(LINE, false);
        return causes;
      }
      case R.D: return 0x80;
      default: return s.ram[index];
    }
  }

  portWrite(port: number, _size: AccessSize, value: number): void {
    const s = this.#s;
    value &= 0xff;
    if (port === RTC_INDEX) { s.index = value & 0x7f; return; }
    switch (s.index) {
      case R.A: s.ram[R.A] = value & 0x7f; this.#events.cancel(this.#periodicSlot); this.#plan(); return;
      case R.B: {
        const held = s.ram[R.B] & B_SET;
        if (value & B_SET && !held) this.#freeze();
        s.ram[R.B] = value;
        if (held && !(value & B_SET)) this.#adopt();
        this.#plan();
        return;
      }
      case R.C: case R.D: return;
      case R.SECONDS: case R.MINUTES: case R.HOURS: case R.WEEKDAY: case R.DAY: case R.MONTH: case R.YEAR: case R.CENTURY:
        if (s.ram[R.B] & B_SET) { s.ram[s.index] = value; return; }
        this.#freeze();
        s.ram[s.index] = value;
        this.#adopt();
        return;
      default: s.ram[s.index] = value;
    }
  }
}
