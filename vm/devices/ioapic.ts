/**
 * I/O APIC with 24 inputs at FEC00000h.
 * Manual: Intel 82093AA datasheet (290566): 3.1 memory-mapped registers, 3.2 IOAPIC registers (redirection table 3.2.4).
 *
 *   FEC00000h IOREGSEL (index)   FEC00010h IOWIN (data)
 *   index 00h id, 01h version (17h = 24 entries - 1), 02h arbitration, 10h + 2n / 11h + 2n redirection entry n
 *
 * A level-triggered entry sets remote IRR when its message is accepted and sends again at EOI if the line is still asserted.
 * An edge that arrives while masked is remembered (delivered at unmask), as on the 82093AA's successors: kernels that mask around
 * handlers would lose edges otherwise.
 */
import { FieldList, u32, u32s, type FieldView } from '../fields.ts';
import type { AccessSize } from './bus.ts';
import type { DeviceBlocks } from './device.ts';
import { DELIVERY, type Lapics } from './lapic.ts';

export const IOAPIC_PINS = 24;
export const IOAPIC_ID = 0x0f;
export const IOREGSEL = 0x00;
export const IOWIN = 0x10;
const REDIRECTION_MASKED = 1 << 16;
const REDIRECTION_LEVEL = 1 << 15;
const REDIRECTION_REMOTE_IRR = 1 << 14;
const REDIRECTION_ACTIVE_LOW = 1 << 13;
const REDIRECTION_LOGICAL = 1 << 11;
const READ_ONLY = (1 << 12) | REDIRECTION_REMOTE_IRR;

const FIELDS = { id: u32, select: u32, lines: u32, edges: u32, low: u32s(IOAPIC_PINS), high: u32s(IOAPIC_PINS) } as const;
const LIST = new FieldList('IOAPIC', FIELDS);

export class Ioapic {
  readonly #s: FieldView<typeof FIELDS>;
  readonly #lapics: Lapics;
  constructor(blocks: DeviceBlocks, lapics: Lapics) {
    this.#s = blocks.place(LIST);
    this.#lapics = lapics;
  }

  reset(): void {
    const s = this.#s;
    s.id = IOAPIC_ID << 24;
    s.select = s.lines = s.edges = 0;
    s.low.fill(REDIRECTION_MASKED);
    s.high.fill(0);
  }

  /** Line level as the device drives it (true = interrupt wanted); polarity bits are for real pins and only stored. */
  setLine(pin: number, asserted: boolean): void {
    const s = this.#s;
    const bit = 1 << pin;
    const was = (s.lines & bit) !== 0;
    if (asserted) s.lines |= bit;
    else { s.lines &= ~bit; return; }
    if (s.low[pin] & REDIRECTION_LEVEL) this.#send(pin);
    else if (!was) { s.edges |= bit; this.#send(pin); }
  }

  #send(pin: number): void {
    const s = this.#s;
    const low = s.low[pin];
    const bit = 1 << pin;
    if (low & REDIRECTION_MASKED) return;
    const level = (low & REDIRECTION_LEVEL) !== 0;
    if (level) {
      if (low & REDIRECTION_REMOTE_IRR || !(s.lines & bit)) return;
      s.low[pin] |= REDIRECTION_REMOTE_IRR;
    } else {
      if (!(s.edges & bit)) return;
      s.edges &= ~bit;
    }
    const targets = this.#lapics.destinations(s.high[pin] >>> 24, (low & REDIRECTION_LOGICAL) !== 0);
    const mode = (low >> 8) & 7;
    if (mode !== DELIVERY.STARTUP) this.#lapics.deliver(targets, mode, low & 0xff, level); // reserved here (3.2.4), and a start is waited for: not under the device lock
  }

  /** EOI broadcast from a LAPIC. */
  endOfInterrupt(vector: number): void {
    const s = this.#s;
    for (let pin = 0; pin < IOAPIC_PINS; pin++) {
      const low = s.low[pin];
      if ((low & 0xff) !== vector || !(low & REDIRECTION_REMOTE_IRR)) continue;
      s.low[pin] &= ~REDIRECTION_REMOTE_IRR;
      this.#send(pin);
    }
  }

  read(offset: number, size: AccessSize): number {
    const s = this.#s;
    if ((offset & ~3) === IOREGSEL) return s.select;
    if ((offset & ~3) !== IOWIN) return 0;
    const value = this.#readRegister(s.select);
    return size === 4 ? value : value >>> ((offset & 3) * 8);
  }

  #readRegister(index: number): number {
    const s = this.#s;
    if (index === 0 || index === 2) return s.id;
    if (index === 1) return ((IOAPIC_PINS - 1) << 16) | 0x11;
    const pin = (index - 0x10) >> 1;
    if (pin < 0 || pin >= IOAPIC_PINS) return 0;
    return index & 1 ? s.high[pin] : s.low[pin];
  }

  write(offset: number, _size: AccessSize, value: number): void {
    const s = this.#s;
    if (offset === IOREGSEL) { s.select = value & 0xff; return; }
    if (offset !== IOWIN) return;
    if (s.select === 0) { s.id = value & 0x0f00_0000; return; }
    const pin = (s.select - 0x10) >> 1;
    if (pin < 0 || pin >= IOAPIC_PINS) return;
    if (s.select & 1) { s.high[pin] = value & 0xff00_0000; return; }
    let low = (value & 0x1_ffff & ~READ_ONLY) | (s.low[pin] & REDIRECTION_REMOTE_IRR);
    if (!(low & REDIRECTION_LEVEL)) low &= ~REDIRECTION_REMOTE_IRR; // switching to edge clears it: the documented way out of a stuck pin
    s.low[pin] = low;
    this.#send(pin);
  }

  /** Stored polarity of a pin, for the debugger. */
  activeLow(pin: number): boolean { return (this.#s.low[pin] & REDIRECTION_ACTIVE_LOW) !== 0; }
}
