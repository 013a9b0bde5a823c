/**
 * The 8259A pair: two programmable interrupt controllers, the second cascaded on input 2 of the first.
 * Manual: Intel 8259A datasheet (231468), sections "Initialization Command Words" and "Operation Command Words"; ELCR: 82371SB (PIIX3) 2.5.
 *
 *   port 20h/A0h  write: ICW1 (bit 4), OCW3 (bit 3), OCW2; read: IRR or ISR (OCW3 RR/RIS), or the poll word
 *   port 21h/A1h  write: ICW2..ICW4 while initialising, else OCW1 (mask); read: mask
 *   port 4D0h/4D1h ELCR: 1 = level triggered
 *
 * Inputs are levels; an edge-triggered input latches IRR on its rising edge and loses the latch when the line falls before the
 * acknowledge (which then gives the spurious vector 7, as the chip does). Not modelled: 8080 mode (ICW4 uPM = 0 behaves as 8086
 * mode), buffered mode, SFNM priority (accepted, nested as normal).
 */
import { FieldList, u32, type FieldView } from '../fields.ts';
import type { AccessSize, PlainPort } from './bus.ts';
import type { DeviceBlocks, PortDevice } from './device.ts';

export const PIC_MASTER_COMMAND = 0x20;
export const PIC_MASTER_DATA = 0x21;
export const PIC_SLAVE_COMMAND = 0xa0;
export const PIC_SLAVE_DATA = 0xa1;
export const PIC_ELCR_MASTER = 0x4d0;
export const PIC_ELCR_SLAVE = 0x4d1;

const ICW1 = 1 << 4;
const ICW1_IC4 = 1 << 0;
const ICW1_SINGLE = 1 << 1;
const ICW4_AEOI = 1 << 1;
const OCW3 = 1 << 3;
const OCW3_RIS = 1 << 0;
const OCW3_RR = 1 << 1;
const OCW3_POLL = 1 << 2;
const OCW3_SMM = 1 << 5;
const OCW3_ESMM = 1 << 6;
const CASCADE_INPUT = 2;

const FIELDS = {
  /** 0 = ready, 2..4 = the ICW expected next. */
  expectedIcw: u32, icw4Needed: u32, single: u32,
  vectorBase: u32, mask: u32, request: u32, inService: u32, lines: u32, level: u32,
  autoEoi: u32, rotateOnAutoEoi: u32, specialMask: u32, readInService: u32, poll: u32,
  /** Input with the lowest priority; 7 after reset, so that 0 is highest. */
  lowest: u32, pad: u32,
} as const;
type State = FieldView<typeof FIELDS>;
const PIC = new FieldList('8259', FIELDS);

/** One chip. */
class Chip {
  readonly state: State;
  constructor(state: State) { this.state = state; }

  reset(): void {
    const s = this.state;
    s.expectedIcw = s.icw4Needed = s.single = s.vectorBase = s.mask = s.request = s.inService = s.lines = s.level = 0;
    s.autoEoi = s.rotateOnAutoEoi = s.specialMask = s.readInService = s.poll = 0;
    s.lowest = 7;
  }

  setLine(input: number, asserted: boolean): void {
    const s = this.state;
    const bit = 1 << input;
    const was = s.lines & bit;
    if (asserted) {
      s.lines |= bit;
      if ((s.level & bit) || !was) s.request |= bit;
    } else {
      s.lines &= ~bit;
      s.request &= ~bit;
    }
  }

  /** Highest-priority input that may interrupt now, or -1. */
  pending(): number {
    const s = this.state;
    const requests = s.request & ~s.mask;
    if (requests === 0) return -1;
    for (let k = 1; k <= 8; k++) {
      const input = (s.lowest + k) & 7;
      const bit = 1 << input;
      if (s.inService & bit) {
        // Special mask mode: a masked input in service blocks nobody.
        if (!(s.specialMask && (s.mask & bit))) return -1;
      } else if (requests & bit) return input;
    }
    return -1;
  }

  acknowledge(input: number): void {
    const s = this.state;
    const bit = 1 << input;
    if (!(s.level & bit)) s.request &= ~bit;
    if (s.autoEoi) { if (s.rotateOnAutoEoi) s.lowest = input; } else s.inService |= bit;
  }

  highestInService(): number {
    const s = this.state;
    for (let k = 1; k <= 8; k++) {
      const input = (s.lowest + k) & 7;
      if ((s.inService & (1 << input)) && !(s.specialMask && (s.mask & (1 << input)))) return input;
    }
    return -1;
  }

  writeCommand(value: number): void {
    const s = this.state;
    if (value & ICW1) {
      s.expectedIcw = 2;
      s.icw4Needed = value & ICW1_IC4;
      s.single = value & ICW1_SINGLE;
      s.mask = s.inService = s.request = s.specialMask = s.readInService = s.autoEoi = s.rotateOnAutoEoi = s.poll = 0;
      s.lowest = 7;
      s.request = s.lines & s.level; // the edge sense circuit is cleared: a line already high must fall first
      return;
    }
    if (value & OCW3) {
      if (value & OCW3_POLL) s.poll = 1;
      if (value & OCW3_RR) s.readInService = value & OCW3_RIS;
      if (value & OCW3_ESMM) s.specialMask = value & OCW3_SMM;
      return;
    }
    const input = value & 7;
    switch (value >> 5) { // OCW2: R SL EOI
      case 0: s.rotateOnAutoEoi = 0; break;
      case 4: s.rotateOnAutoEoi = 1; break;
      case 1: case 5: { // non-specific EOI, without and with rotation
        const served = this.highestInService();
        if (served < 0) break;
        s.inService &= ~(1 << served);
        if (value >> 5 === 5) s.lowest = served;
        break;
      }
      case 3: s.inService &= ~(1 << input); break;
      case 7: s.inService &= ~(1 << input); s.lowest = input; break;
      case 6: s.lowest = input; break;
    }
  }

  writeData(value: number): void {
    const s = this.state;
    switch (s.expectedIcw) {
      case 2: s.vectorBase = value & 0xf8; s.expectedIcw = s.single ? (s.icw4Needed ? 4 : 0) : 3; break;
      case 3: s.expectedIcw = s.icw4Needed ? 4 : 0; break;
      case 4: s.autoEoi = value & ICW4_AEOI; s.expectedIcw = 0; break;
      default: s.mask = value;
    }
  }
}

export class PicPair implements PortDevice {
  readonly #master: Chip;
  readonly #slave: Chip;
  readonly #output: (asserted: boolean) => void;

  constructor(blocks: DeviceBlocks, output: (asserted: boolean) => void) {
    this.#master = new Chip(blocks.place(PIC, '8259 master'));
    this.#slave = new Chip(blocks.place(PIC, '8259 slave'));
    this.#output = output;
  }

  reset(): void { this.#master.reset(); this.#slave.reset(); }

  /** Masks (a pending poll command comes first) and ELCR. */
  get plainPorts(): readonly PlainPort[] {
    const port = (chip: Chip, data: number, elcr: number): PlainPort[] => {
      const base = (chip.state as unknown as { words: Uint32Array }).words.byteOffset;
      return [{ port: data, value: base + PIC.offsetOf('mask'), unless: base + PIC.offsetOf('poll') }, { port: elcr, value: base + PIC.offsetOf('level') }];
    };
    return [...port(this.#master, PIC_MASTER_DATA, PIC_ELCR_MASTER), ...port(this.#slave, PIC_SLAVE_DATA, PIC_ELCR_SLAVE)];
  }

  /** ISA line 0..15 (2 is the cascade and has no pin). */
  setLine(line: number, asserted: boolean): void {
    if (line === CASCADE_INPUT) return;
    if (line < 8) this.#master.setLine(line, asserted);
    else this.#slave.setLine(line - 8, asserted);
    this.#update();
  }

  #update(): void {
    this.#master.setLine(CASCADE_INPUT, this.#slave.pending() >= 0);
    this.#output(this.#master.pending() >= 0);
  }

  /** INT output of the master. */
  get asserted(): boolean { return this.#master.pending() >= 0; }

  /** The two INTA cycles: the vector. Nothing pending gives the spurious vector (input 7) without an in-service bit. */
  acknowledge(): number {
    const master = this.#master;
    const slave = this.#slave;
    const input = master.pending();
    let vector: number;
    if (input < 0) vector = master.state.vectorBase | 7;
    else {
      master.acknowledge(input);
      vector = master.state.vectorBase | input;
      if (input === CASCADE_INPUT) {
        const slaveInput = slave.pending();
        if (slaveInput >= 0) slave.acknowledge(slaveInput);
        vector = slave.state.vectorBase | (slaveInput < 0 ? 7 : slaveInput);
      }
    }
    this.#update();
    return vector;
  }

  portRead(port: number, _size: AccessSize): number {
    if (port === PIC_ELCR_MASTER) return this.#master.state.level;
    if (port === PIC_ELCR_SLAVE) return this.#slave.state.level;
    const chip = port < PIC_SLAVE_COMMAND ? this.#master : this.#slave;
    const s = chip.state;
    if (s.poll) { // poll word: bit 7 = interrupt, low bits its number; the read is the acknowledge
      s.poll = 0;
      const input = chip.pending();
      if (input < 0) return 0;
      chip.acknowledge(input);
      this.#update();
      return 0x80 | input;
    }
    if (port & 1) return s.mask;
    return s.readInService ? s.inService : s.request;
  }

  portWrite(port: number, _size: AccessSize, value: number): void {
    value &= 0xff;
    if (port === PIC_ELCR_MASTER) this.#master.state.level = value & 0xf8; // 0, 1, 2 are always edge
    else if (port === PIC_ELCR_SLAVE) this.#slave.state.level = value & 0xde; // 8 and 13 too
    else {
      const chip = port < PIC_SLAVE_COMMAND ? this.#master : this.#slave;
      if (port & 1) chip.writeData(value);
      else chip.writeCommand(value);
    }
    this.#update();
  }
}
