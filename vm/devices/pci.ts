/**
 * PCI bus 0 with configuration mechanism 1.
 * Manual: PCI Local Bus 3.0, 3.2.2.3.2 (mechanism 1), 6.1 configuration header, 6.2.5 base addresses; host bridge: Intel 440FX (290549).
 *
 *   port CF8h (32 bit)  enable(31) bus(23:16) device(15:11) function(10:8) register(7:2)
 *   port CFCh..CFFh     data window of that register, 8/16/32 bit
 *
 * A function is 256 bytes of configuration space on the board and a mask of the bits software can write; base address registers
 * get their size from the mask, as on hardware. The interrupt line register (3Ch) holds the IOAPIC input: 16 + (device & 3) for INTA.
 */
import { FieldList, u32, u8s, type FieldView } from '../fields.ts';
import type { AccessSize } from './bus.ts';
import type { DeviceBlocks, PortDevice } from './device.ts';

export const PCI_CONFIG_ADDRESS = 0xcf8;
export const PCI_CONFIG_DATA = 0xcfc;
export const PCI = {
  VENDOR: 0, DEVICE: 2, COMMAND: 4, STATUS: 6, REVISION: 8, CLASS: 9, HEADER_TYPE: 0xe, BAR0: 0x10,
  SUBSYSTEM_VENDOR: 0x2c, SUBSYSTEM: 0x2e, CAPABILITIES: 0x34, INTERRUPT_LINE: 0x3c, INTERRUPT_PIN: 0x3d,
} as const;
export const PCI_COMMAND_MEMORY = 2;
export const PCI_COMMAND_MASTER = 4;
export const PCI_COMMAND_INTX_DISABLE = 0x400;
export const PCI_STATUS_INTERRUPT = 8;
export const PCI_STATUS_CAPABILITIES = 0x10;
/** IOAPIC input of INTA of a device on bus 0. */
export const pciLine = (device: number): number => 16 + (device & 3);

const CONFIG = { config: u8s(256) } as const;
const CONFIG_LIST = new FieldList('PCI function', CONFIG);
const BUS_FIELDS = { address: u32, pad: u32 } as const;
const BUS_LIST = new FieldList('PCI bus', BUS_FIELDS);

export interface Identity { readonly vendor: number; readonly device: number; readonly revision: number; readonly classCode: number; readonly subsystemVendor: number; readonly subsystem: number }

/** One function. Devices extend or hold it; `afterWrite` lets them react. */
export class PciFunction {
  readonly config: Uint8Array;
  readonly view: DataView;
  readonly #writable = new Uint8Array(256);
  readonly #defaults = new Uint8Array(256);
  beforeRead: (register: number) => void = () => {};
  afterWrite: (register: number) => void = () => {};

  constructor(blocks: DeviceBlocks, name: string, identity: Identity) {
    this.config = blocks.place(CONFIG_LIST, `${name} configuration`).config;
    this.view = new DataView(this.config.buffer, this.config.byteOffset, 256);
    const d = new DataView(this.#defaults.buffer);
    d.setUint16(PCI.VENDOR, identity.vendor, true);
    d.setUint16(PCI.DEVICE, identity.device, true);
    d.setUint8(PCI.REVISION, identity.revision);
    d.setUint8(PCI.CLASS, identity.classCode & 0xff);
    d.setUint16(PCI.CLASS + 1, identity.classCode >> 8, true);
    d.setUint16(PCI.SUBSYSTEM_VENDOR, identity.subsystemVendor, true);
    d.setUint16(PCI.SUBSYSTEM, identity.subsystem, true);
    this.writable(PCI.COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE | 1);
    this.writable(PCI.INTERRUPT_LINE, 1, 0xff);
  }

  /** Declares which bits of a register software may change. */
  writable(register: number, bytes: number, mask: number): void { for (let k = 0; k < bytes; k++) this.#writable[register + k] = (mask >>> (8 * k)) & 0xff; }
  /** Value after reset. */
  initial(register: number, bytes: number, value: number): void { for (let k = 0; k < bytes; k++) this.#defaults[register + k] = (value >>> (8 * k)) & 0xff; }
  initialBytes(register: number, bytes: readonly number[]): void { this.#defaults.set(bytes, register); }

  /** A 32-bit memory BAR of `size` bytes (a power of two), assigned by the firmware to `address`. */
  memoryBar(index: number, size: number, address: number): void {
    this.writable(PCI.BAR0 + 4 * index, 4, -size);
    this.initial(PCI.BAR0 + 4 * index, 4, address);
  }

  reset(): void { this.config.set(this.#defaults); }

  /** Base of a memory BAR, or -1 while memory decoding is off. */
  memoryBase(index: number): number {
    if (!(this.config[PCI.COMMAND] & PCI_COMMAND_MEMORY)) return -1;
    return (this.view.getUint32(PCI.BAR0 + 4 * index, true) & ~0xf) >>> 0;
  }

  read(register: number): number { this.beforeRead(register & ~3); return this.config[register]; }
  write(register: number, bytes: number, value: number): void {
    for (let k = 0; k < bytes; k++) {
      const at = register + k;
      const mask = this.#writable[at];
      this.config[at] = (this.config[at] & ~mask) | ((value >>> (8 * k)) & mask);
    }
    this.afterWrite(register & ~3);
  }
}

export class PciBus implements PortDevice {
  readonly #s: FieldView<typeof BUS_FIELDS>;
  readonly #functions = new Map<number, PciFunction>();
  constructor(blocks: DeviceBlocks) {
    this.#s = blocks.place(BUS_LIST);
    // 440FX host bridge at 00.0 and the PIIX3 ISA bridge at 01.0: what operating systems expect to find on such a board.
    const bridge = new PciFunction(blocks, '440FX', { vendor: 0x8086, device: 0x1237, revision: 2, classCode: 0x060000, subsystemVendor: 0, subsystem: 0 });
    const isa = new PciFunction(blocks, 'PIIX3', { vendor: 0x8086, device: 0x7000, revision: 0, classCode: 0x060100, subsystemVendor: 0, subsystem: 0 });
    this.attach(0, bridge);
    this.attach(1, isa);
  }

  attach(device: number, fn: PciFunction): void { this.#functions.set(device << 3, fn); }
  reset(): void { this.#s.address = 0; for (const fn of this.#functions.values()) fn.reset(); }

  #selected(): PciFunction | undefined {
    const address = this.#s.address;
    if (address >>> 31 === 0 || (address >>> 16 & 0xff) !== 0) return undefined;
    return this.#functions.get(address >>> 8 & 0xff);
  }

  portRead(port: number, size: AccessSize): number {
    if (port < PCI_CONFIG_DATA) return port === PCI_CONFIG_ADDRESS && size === 4 ? this.#s.address : 0xffff_ffff;
    const fn = this.#selected();
    if (!fn) return 0xffff_ffff;
    const register = (this.#s.address & 0xfc) + (port & 3);
    let value = 0;
    for (let k = 0; k < size && (port & 3) + k < 4; k++) value |= fn.read(register + k) << (8 * k);
    return value;
  }

  portWrite(port: number, size: AccessSize, value: number): void {
    if (port < PCI_CONFIG_DATA) { if (port === PCI_CONFIG_ADDRESS && size === 4) this.#s.address = value & 0x80ff_fffc; return; }
    const register = (this.#s.address & 0xfc) + (port & 3);
    this.#selected()?.write(register, Math.min(size, 4 - (port & 3)), value);
  }
}
