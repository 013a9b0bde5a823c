/**
 * 16550A serial port. COM1 = 3F8h, line 4; COM2 = 2F8h, line 3.
 * Manual: National Semiconductor PC16550D datasheet, section 8 "Registers", 8.6 interrupt identification, 8.4 FIFO control.
 *
 *   +0 RBR/THR (DLAB: DLL)  +1 IER (DLM)  +2 IIR/FCR  +3 LCR  +4 MCR  +5 LSR  +6 MSR  +7 SCR
 *
 * Transmission takes no time: a byte written to THR goes to the host at once, THRE falls and rises within the write (so an
 * edge-triggered line sees an edge per byte). The baud rate is stored, not obeyed.
 *
 * Reception: the host puts bytes on the *wire*, a ring in the device's state. They enter the 16-byte FIFO (1 without FIFO) when the
 * guest listens: receive interrupt enabled, or LSR read. A FIFO reset by FCR puts unread bytes back on the wire instead of losing
 * what the user typed before the driver was ready; that is the one deliberate difference from the chip. Overrun cannot happen.
 * The character timeout (fewer bytes than the trigger level) is indicated at once instead of after four character times.
 */
import { FieldList, derived, u32, u8s, type FieldView } from '../fields.ts';
import type { AccessSize } from './bus.ts';
import type { DeviceBlocks, InterruptLines, PortDevice } from './device.ts';

export const UART = { RBR: 0, THR: 0, IER: 1, IIR: 2, FCR: 2, LCR: 3, MCR: 4, LSR: 5, MSR: 6, SCR: 7 } as const;
export const COM1_PORT = 0x3f8;
export const COM1_LINE = 4;
export const COM2_PORT = 0x2f8;
export const COM2_LINE = 3;

const IER_RDA = 1;
const IER_THRE = 2;
const IER_LSR = 4;
const IIR_NONE = 0x01;
const IIR_LSR = 0x06;
const IIR_RDA = 0x04;
const IIR_TIMEOUT = 0x0c;
const IIR_THRE = 0x02;
const IIR_FIFOS = 0xc0;
const FCR_ENABLE = 1;
const FCR_RESET_RX = 2;
const LCR_DLAB = 0x80;
const MCR_OUT2 = 8;
const MCR_LOOP = 0x10;
const LSR_DR = 1;
const LSR_BREAK = 0x10;
const LSR_THRE = 0x20;
const LSR_TEMT = 0x40;
const MSR_CTS_DSR_DCD = 0xb0;
const TRIGGER = [1, 4, 8, 14];
const FIFO_BYTES = 16;
export const WIRE_BYTES = 4096;

const FIELDS = {
  ier: u32, fcr: u32, lcr: u32, mcr: u32, errors: u32, scr: u32, divisor: u32, thrPending: u32,
  /** Bytes of the wire that are in the FIFO already. */
  fifoCount: u32, wireHead: u32, wireTail: u32, loopCount: u32,
  /** The host has more bytes than the wire held: tell it when there is room again. */
  hostWaiting: derived(u32), pad: derived(u32),
  loop: u8s(FIFO_BYTES), wire: u8s(WIRE_BYTES),
} as const;
const LIST = new FieldList('16550', FIELDS);

export class Uart implements PortDevice {
  readonly #s: FieldView<typeof FIELDS>;
  readonly #base: number;
  readonly #line: number;
  readonly #lines: InterruptLines;
  readonly #emit: (byte: number) => void;
  readonly #drained: () => void;

  constructor(blocks: DeviceBlocks, name: string, base: number, line: number, lines: InterruptLines, emit: (byte: number) => void, drained: () => void = () => {}) {
    this.#s = blocks.place(LIST, name);
    this.#base = base;
    this.#line = line;
    this.#lines = lines;
    this.#emit = emit;
    this.#drained = drained;
  }

  reset(): void {
    const s = this.#s;
    s.ier = s.fcr = s.mcr = s.errors = s.scr = s.fifoCount = s.wireHead = s.wireTail = s.loopCount = 0;
    s.lcr = 3;
    s.divisor = 1;
    s.thrPending = 0;
    s.loop.fill(0);
    s.wire.fill(0);
  }

  // ---- host side ----------------------------------------------------------------------------------------------------------

  /** Bytes that `receive` would take now. */
  get room(): number { return WIRE_BYTES - ((this.#s.wireHead - this.#s.wireTail) >>> 0); }

  /** Puts bytes on the wire; returns how many there was room for. */
  receive(bytes: Uint8Array): number {
    const s = this.#s;
    const taken = Math.min(bytes.length, this.room);
    for (let k = 0; k < taken; k++) s.wire[(s.wireHead + k) % WIRE_BYTES] = bytes[k];
    s.wireHead = (s.wireHead + taken) >>> 0;
    s.hostWaiting = taken < bytes.length ? 1 : 0;
    if (s.ier & IER_RDA) this.#pull();
    this.#update();
    return taken;
  }

  /** A break condition from the host. */
  receiveBreak(): void { this.#s.errors |= LSR_BREAK; this.#update(); }

  // ---- receiver -----------------------------------------------------------------------------------------------------------

  #pull(): void {
    const s = this.#s;
    s.fifoCount = Math.min((s.wireHead - s.wireTail) >>> 0, s.fcr & FCR_ENABLE ? FIFO_BYTES : 1);
  }

  #received(): number { return this.#s.mcr & MCR_LOOP ? this.#s.loopCount : this.#s.fifoCount; }

  #take(): number {
    const s = this.#s;
    if (s.mcr & MCR_LOOP) {
      if (s.loopCount === 0) return 0;
      const byte = s.loop[0];
      s.loop.copyWithin(0, 1);
      s.loopCount--;
      return byte;
    }
    if (s.fifoCount === 0) return 0;
    const byte = s.wire[s.wireTail % WIRE_BYTES];
    s.wireTail = (s.wireTail + 1) >>> 0;
    s.fifoCount--;
    if (s.hostWaiting && this.room >= WIRE_BYTES / 2) { s.hostWaiting = 0; this.#drained(); }
    if (s.fifoCount === 0 && s.ier & IER_RDA) this.#pull();
    return byte;
  }

  // ---- interrupts -----------------------------------------------------------------------------------------------------------

  #identification(): number {
    const s = this.#s;
    if (s.ier & IER_LSR && s.errors) return IIR_LSR;
    const received = this.#received();
    if (s.ier & IER_RDA && received > 0) {
      if (!(s.fcr & FCR_ENABLE) || received >= TRIGGER[s.fcr >> 6]) return IIR_RDA;
      return IIR_TIMEOUT;
    }
    if (s.ier & IER_THRE && s.thrPending) return IIR_THRE;
    return IIR_NONE;
  }

  #update(): void { this.#lines.set(this.#line, this.#identification() !== IIR_NONE && (this.#s.mcr & MCR_OUT2) !== 0 && !(this.#s.mcr & MCR_LOOP)); }

  // ---- registers ------------------------------------------------------------------------------------------------------------

  portRead(port: number, _size: AccessSize): number {
    const s = this.#s;
    const register = port - this.#base;
    const dlab = (s.lcr & LCR_DLAB) !== 0;
    switch (register) {
      case UART.RBR: {
        if (dlab) return s.divisor & 0xff;
        const byte = this.#take();
        this.#update();
        return byte;
      }
      case UART.IER: return dlab ? s.divisor >> 8 : s.ier;
      case UART.IIR: {
        const identification = this.#identification();
        if (identification === IIR_THRE) { s.thrPending = 0; this.#update(); }
        return identification | (s.fcr & FCR_ENABLE ? IIR_FIFOS : 0);
      }
      case UART.LCR: return s.lcr;
      case UART.MCR: return s.mcr;
      case UART.LSR: {
        if (!(s.mcr & MCR_LOOP)) this.#pull();
        const status = (this.#received() > 0 ? LSR_DR : 0) | s.errors | LSR_THRE | LSR_TEMT;
        if (s.errors) s.errors = 0;
        this.#update();
        return status;
      }
      case UART.MSR:
        // Loopback: RTS->CTS, DTR->DSR, OUT1->RI, OUT2->DCD (8.8).
        if (s.mcr & MCR_LOOP) return ((s.mcr & 2) << 3) | ((s.mcr & 1) << 5) | ((s.mcr & 4) << 4) | ((s.mcr & 8) << 4);
        return MSR_CTS_DSR_DCD;
      default: return s.scr;
    }
  }

  portWrite(port: number, _size: AccessSize, value: number): void {
    const s = this.#s;
    value &= 0xff;
    const register = port - this.#base;
    const dlab = (s.lcr & LCR_DLAB) !== 0;
    switch (register) {
      case UART.THR:
        if (dlab) { s.divisor = (s.divisor & 0xff00) | value; return; }
        s.thrPending = 0;
        this.#update();
        if (s.mcr & MCR_LOOP) {
          if (s.loopCount < FIFO_BYTES) s.loop[s.loopCount++] = value;
          else s.errors |= 2; // overrun
        } else this.#emit(value);
        s.thrPending = 1;
        break;
      case UART.IER: {
        if (dlab) { s.divisor = (s.divisor & 0xff) | (value << 8); return; }
        const enabled = value & ~s.ier;
        s.ier = value & 0x0f;
        if (enabled & IER_THRE) s.thrPending = 1; // THR is always empty: enabling the interrupt raises it (8.6.1)
        if (enabled & IER_RDA) this.#pull();
        break;
      }
      case UART.FCR:
        if ((value ^ s.fcr) & FCR_ENABLE) { s.fifoCount = 0; s.loopCount = 0; } // switching modes clears the FIFOs
        if (value & FCR_RESET_RX) { s.fifoCount = 0; s.loopCount = 0; }
        s.fcr = value & FCR_ENABLE ? value & 0xc9 : 0;
        if (s.ier & IER_RDA) this.#pull();
        break;
      case UART.LCR: s.lcr = value; return;
      case UART.MCR: s.mcr = value & 0x1f; break;
      case UART.SCR: s.scr = value; return;
      default: return; // LSR is for factory test, MSR read-only
    }
    this.#update();
  }
}
