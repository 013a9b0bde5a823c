/**
 * ACPI: the tables in the firmware area, and the power management registers they name.
 * Manual: ACPI 6.5: 5.2.5 RSDP, 5.2.7 RSDT, 5.2.9 FADT, 5.2.10 FACS, 5.2.12 MADT, 4.8.3 PM1 registers; 20 AML encoding.
 *
 *   E0000h RSDP (revision 0), then RSDT, FADT, FACS, DSDT, MADT, each 16-aligned (FACS 64)
 *   port 600h PM1a_EVT_BLK (4 bytes)   604h PM1a_CNT_BLK (2)   608h PM_TMR_BLK (4, 3.579545 MHz, 32 bits)
 *
 * Power off: PM1a_CNT with SLP_EN and SLP_TYP 0 (the value of \_S5 in the DSDT, so 2000h as on QEMU's PIIX4).
 */
import { PHYS, type Board } from '../board.ts';
import { FieldList, u32, type FieldView } from '../fields.ts';
import type { AccessSize } from './bus.ts';
import type { Clock, DeviceBlocks, PortDevice, StopLine } from './device.ts';
import { IOAPIC_ID } from './ioapic.ts';

export const PM1_EVENT = 0x600;
export const PM1_CONTROL = 0x604;
export const PM_TIMER = 0x608;
const PM_TIMER_HZ = 3_579_545;
const SLP_EN = 1 << 13;
const SLP_TYP = (value: number): number => (value >> 10) & 7;
const SLEEP_TYPE_S5 = 0;
const SCI_EN = 1;
const SCI_LINE = 9;
const FADT_FLAGS = (1 << 0) | (1 << 2) | (1 << 4) | (1 << 5) | (1 << 8) | (1 << 10); // WBINVD, PROC_C1, PWR_BUTTON, SLP_BUTTON, TMR_VAL_EXT, RESET_REG_SUP

const FIELDS = { status: u32, enable: u32, control: u32, pad: u32 } as const;
const LIST = new FieldList('ACPI PM1', FIELDS);

export class AcpiPm implements PortDevice {
  readonly #s: FieldView<typeof FIELDS>;
  readonly #clock: Clock;
  readonly #stop: StopLine;
  constructor(blocks: DeviceBlocks, clock: Clock, stop: StopLine) {
    this.#s = blocks.place(LIST);
    this.#clock = clock;
    this.#stop = stop;
  }

  reset(): void { this.#s.status = this.#s.enable = 0; this.#s.control = SCI_EN; }

  portRead(port: number, _size: AccessSize): number {
    const s = this.#s;
    if (port >= PM_TIMER) return (Math.floor(this.#clock.now() * (PM_TIMER_HZ / 1e9)) % 2 ** 32) >>> (8 * (port - PM_TIMER));
    if (port >= PM1_CONTROL) return s.control >>> (8 * (port - PM1_CONTROL));
    return ((s.status & 0xffff) | (s.enable << 16)) >>> (8 * (port - PM1_EVENT));
  }

  portWrite(port: number, size: AccessSize, value: number): void {
    const s = this.#s;
    if (port === PM1_CONTROL) {
      s.control = (value & 0x1c07 & ~SLP_EN) | SCI_EN;
      if (value & SLP_EN && SLP_TYP(value) === SLEEP_TYPE_S5) this.#stop.stop('poweroff', 0);
    } else if (port === PM1_EVENT) {
      s.status &= ~value;
      if (size === 4) s.enable = value >>> 16;
    } else if (port === PM1_EVENT + 2) s.enable = value & 0xffff;
  }
}

// ---- tables -------------------------------------------------------------------------------------------------------------------

class Bytes {
  readonly bytes: number[] = [];
  u8(...values: number[]): this { for (const value of values) this.bytes.push(value & 0xff); return this; }
  u16(value: number): this { return this.u8(value, value >>> 8); }
  u32(value: number): this { return this.u8(value, value >>> 8, value >>> 16, value >>> 24); }
  text(text: string, length: number): this { for (let k = 0; k < length; k++) this.u8(k < text.length ? text.charCodeAt(k) : 0x20); return this; }
  zero(count: number): this { for (let k = 0; k < count; k++) this.u8(0); return this; }
  get length(): number { return this.bytes.length; }
}

const checksum = (bytes: readonly number[]): number => (256 - bytes.reduce((sum, byte) => (sum + byte) & 0xff, 0)) & 0xff;

/** A table with the common 36-byte header (5.2.6), length and checksum filled in. */
function table(signature: string, revision: number, body: Bytes): number[] {
  const header = new Bytes().text(signature, 4).u32(36 + body.length).u8(revision, 0).text('KNTSGI', 6).text('KINTSUGI', 8).u32(1).text('KNTS', 4).u32(1);
  const bytes = [...header.bytes, ...body.bytes];
  bytes[9] = checksum(bytes);
  return bytes;
}

/** Package length (20.2.4) of a payload below 63 bytes: the byte counts itself. */
const packageLength = (payload: number): number => payload + 1;

/** AML of `Name (\_S5, Package () {0, 0, 0, 0})`. */
function dsdtBody(): Bytes {
  const elements = [4, 0, 0, 0, 0]; // NumElements, then ZeroOp x 4: SLP_TYPa, SLP_TYPb, reserved x 2
  return new Bytes().u8(0x08).text('\\_S5_', 5).u8(0x12, packageLength(elements.length), ...elements);
}

function madtBody(cpus: number): Bytes {
  const body = new Bytes().u32(PHYS.lapic).u32(1); // PCAT_COMPAT: a dual 8259 is present
  for (let cpu = 0; cpu < cpus; cpu++) body.u8(0, 8, cpu, cpu).u32(1);
  body.u8(1, 12, IOAPIC_ID, 0).u32(PHYS.ioapic).u32(0);
  const override = (isa: number, gsi: number, flags: number): void => { body.u8(2, 10, 0, isa).u32(gsi).u16(flags); };
  override(0, 2, 0); // the timer is wired to input 2
  override(SCI_LINE, SCI_LINE, 0xd); // active high, level
  body.u8(4, 6, 0xff).u16(0).u8(1); // LINT1 is NMI on all
  return body;
}

function fadtBody(facs: number, dsdt: number): Bytes {
  const body = new Bytes()
    .u32(facs).u32(dsdt).u8(0, 0).u16(SCI_LINE).u32(0).u8(0, 0, 0, 0) // no SMI command port: ACPI is always on
    .u32(PM1_EVENT).u32(0).u32(PM1_CONTROL).u32(0).u32(0).u32(PM_TIMER).u32(0).u32(0)
    .u8(4, 2, 0, 4, 0, 0, 0, 0).u16(0xfff).u16(0xfff).u16(0).u16(0).u8(0, 0, 0, 0, 0x32).u16(0x3).u8(0).u32(FADT_FLAGS)
    .u8(1, 8, 0, 1).u32(RESET_CONTROL).u32(0).u8(RESET_VALUE); // RESET_REG: port CF9h
  return body.zero(3);
}

export const RESET_CONTROL = 0xcf9;
const RESET_VALUE = 6;

/** Writes RSDP and tables into the firmware area. Called at power on, before the area is guest-visible. */
export function writeAcpiTables(board: Board): void {
  let at = PHYS.biosRom + 0x40;
  const place = (bytes: readonly number[], align = 16): number => {
    at = (at + align - 1) & -align;
    const address = at;
    board.ram.set(bytes, address);
    at += bytes.length;
    return address;
  };
  const facs = place(new Bytes().text('FACS', 4).u32(64).zero(24).u8(1).zero(31).bytes, 64);
  const dsdt = place(table('DSDT', 1, dsdtBody()));
  const fadt = place(table('FACP', 2, fadtBody(facs, dsdt)));
  const madt = place(table('APIC', 1, madtBody(board.cpus)));
  const rsdt = place(table('RSDT', 1, new Bytes().u32(fadt).u32(madt)));
  const rsdp = new Bytes().text('RSD PTR ', 8).u8(0).text('KNTSGI', 6).u8(0).u32(rsdt).bytes;
  rsdp[8] = checksum(rsdp);
  board.ram.set(rsdp, PHYS.biosRom);
}
