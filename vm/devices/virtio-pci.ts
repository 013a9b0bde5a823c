/**
 * Virtio over PCI, modern transport, with split virtqueues: what every virtio device shares.
 * Manual: OASIS virtio 1.2: 2.1 device status, 2.7 split virtqueues, 3.1 initialisation, 4.1 virtio over PCI (4.1.4 layout).
 *
 * BAR 4, 16 KiB of memory space:
 *   0000h common configuration (4.1.4.3)   1000h ISR (4.1.4.5)   2000h device configuration   3000h notify, 4 bytes per queue
 * INTx only (MSI-X is optional in the specification; the msix fields read FFFFh). No legacy interface.
 *
 * The driver is not trusted. Every ring address, descriptor index, chain and length is an allegation until checked; what does not
 * hold sets DEVICE_NEEDS_RESET with a configuration interrupt (2.1.2) and the device stops serving until it is reset. A violation
 * is counted and named (`violation`).
 */
import { FieldList, u32, u32s, type FieldView } from '../fields.ts';
import type { AccessSize } from './bus.ts';
import type { DeviceBlocks, InterruptLines } from './device.ts';
import type { GuestMemory } from './guest-memory.ts';
import { PCI, PCI_COMMAND_INTX_DISABLE, PCI_COMMAND_MASTER, PCI_STATUS_CAPABILITIES, PCI_STATUS_INTERRUPT, PciFunction, type PciBus, pciLine } from './pci.ts';

export const VIRTIO_VENDOR = 0x1af4;
export const VIRTIO_BAR = 4;
export const VIRTIO_BAR_BYTES = 0x4000;
export const VIRTIO_REGION = { COMMON: 0x0000, ISR: 0x1000, DEVICE: 0x2000, NOTIFY: 0x3000 } as const;
export const VIRTIO_STATUS = { ACKNOWLEDGE: 1, DRIVER: 2, DRIVER_OK: 4, FEATURES_OK: 8, NEEDS_RESET: 0x40, FAILED: 0x80 } as const;
/** Common configuration offsets (4.1.4.3). */
export const COMMON = {
  DEVICE_FEATURE_SELECT: 0x00, DEVICE_FEATURE: 0x04, DRIVER_FEATURE_SELECT: 0x08, DRIVER_FEATURE: 0x0c, CONFIG_MSIX: 0x10, NUM_QUEUES: 0x12,
  DEVICE_STATUS: 0x14, CONFIG_GENERATION: 0x15, QUEUE_SELECT: 0x16, QUEUE_SIZE: 0x18, QUEUE_MSIX: 0x1a, QUEUE_ENABLE: 0x1c, QUEUE_NOTIFY_OFF: 0x1e,
  QUEUE_DESC: 0x20, QUEUE_DRIVER: 0x28, QUEUE_DEVICE: 0x30, QUEUE_NOTIFY_DATA: 0x38, QUEUE_RESET: 0x3a,
} as const;
const COMMON_BYTES = 0x3c;
const ISR_QUEUE = 1;
const ISR_CONFIG = 2;
export const FEATURE_VERSION_1_HIGH = 1; // bit 32
export const DESC_NEXT = 1;
export const DESC_WRITE = 2;
export const DESC_INDIRECT = 4;
export const AVAIL_NO_INTERRUPT = 1;
export const QUEUE_SIZE_MAX = 256;
const MAX_QUEUES = 4;

export const VIOLATIONS = [
  'none', 'ring outside RAM', 'queue size', 'avail index ran ahead', 'descriptor index', 'descriptor loop', 'buffer outside RAM', 'readable descriptor after writable',
  'indirect descriptor', 'request too short', 'bus mastering off', 'buffer of the wrong direction',
] as const;
export type Violation = (typeof VIOLATIONS)[number];

const FIELDS = {
  status: u32, deviceFeatureSelect: u32, driverFeatureSelect: u32, queueSelect: u32, isr: u32, generation: u32,
  driverFeatures: u32s(2),
  queueSize: u32s(MAX_QUEUES), queueEnable: u32s(MAX_QUEUES),
  descLow: u32s(MAX_QUEUES), descHigh: u32s(MAX_QUEUES), availLow: u32s(MAX_QUEUES), availHigh: u32s(MAX_QUEUES), usedLow: u32s(MAX_QUEUES), usedHigh: u32s(MAX_QUEUES),
  /** Next avail entry to take, next used entry to write (free-running, 16 bits used). */
  availNext: u32s(MAX_QUEUES), usedNext: u32s(MAX_QUEUES),
  violation: u32, violations: u32,
} as const;
const LIST = new FieldList('virtio', FIELDS);

export interface Segment { readonly address: number; readonly bytes: number }
/** A descriptor chain, checked: all segments are RAM, readable ones first. */
export interface Chain { readonly head: number; readonly readable: Segment[]; readonly writable: Segment[] }

export interface VirtioIdentity {
  readonly name: string;
  /** PCI device number on bus 0 and firmware-assigned BAR address. */
  readonly slot: number;
  readonly bar: number;
  /** Virtio device id (5): PCI device id is 1040h + id. */
  readonly virtioId: number;
  readonly classCode: number;
  readonly queues: number;
  /** Offered features, bits 0..31; VERSION_1 is always offered. */
  readonly features: number;
}

export abstract class VirtioPci {
  readonly fn: PciFunction;
  readonly identity: VirtioIdentity;
  protected readonly s: FieldView<typeof FIELDS>;
  protected readonly memory: GuestMemory;
  readonly #lines: InterruptLines;
  readonly #line: number;

  constructor(blocks: DeviceBlocks, pci: PciBus, memory: GuestMemory, lines: InterruptLines, identity: VirtioIdentity) {
    this.identity = identity;
    this.memory = memory;
    this.#lines = lines;
    this.#line = pciLine(identity.slot);
    this.s = blocks.place(LIST, identity.name);
    this.fn = new PciFunction(blocks, identity.name, {
      vendor: VIRTIO_VENDOR, device: 0x1040 + identity.virtioId, revision: 1, classCode: identity.classCode, subsystemVendor: VIRTIO_VENDOR, subsystem: 0x1100,
    });
    const fn = this.fn;
    fn.initial(PCI.STATUS, 2, PCI_STATUS_CAPABILITIES);
    fn.initial(PCI.COMMAND, 2, 2);
    fn.initial(PCI.INTERRUPT_LINE, 1, this.#line);
    fn.initial(PCI.INTERRUPT_PIN, 1, 1);
    fn.memoryBar(VIRTIO_BAR, VIRTIO_BAR_BYTES, identity.bar);
    this.#capabilities();
    fn.afterWrite = (register) => { if (register === PCI.COMMAND) this.#updateLine(); else if (register === PCI_CFG_DATA) this.#windowWrite(); };
    fn.beforeRead = (register) => { if (register === PCI_CFG_DATA) this.#windowRead(); };
    pci.attach(identity.slot, fn);
  }

  /** Handles new avail entries of `queue`. */
  protected abstract notify(queue: number): void;
  /** Forgets everything in flight. */
  protected abstract deviceReset(): void;
  protected abstract configRead(offset: number): number;

  // ---- capabilities (4.1.4) -------------------------------------------------------------------------------------------------

  #capabilities(): void {
    const fn = this.fn;
    const cap = (at: number, next: number, bytes: number, type: number, offset: number, length: number): void => {
      fn.initialBytes(at, [9, next, bytes, type, VIRTIO_BAR, 0, 0, 0]);
      fn.initial(at + 8, 4, offset);
      fn.initial(at + 12, 4, length);
    };
    fn.initial(PCI.CAPABILITIES, 1, 0x40);
    cap(0x40, 0x50, 16, 1, VIRTIO_REGION.COMMON, COMMON_BYTES);
    cap(0x50, 0x64, 20, 2, VIRTIO_REGION.NOTIFY, 0x1000);
    fn.initial(0x60, 4, 4); // notify_off_multiplier
    cap(0x64, 0x74, 16, 3, VIRTIO_REGION.ISR, 1);
    cap(0x74, 0x84, 16, 4, VIRTIO_REGION.DEVICE, 0x1000);
    cap(0x84, 0, 20, 5, 0, 0); // PCI configuration access (4.1.4.9)
    fn.writable(0x88, 1, 0xff);
    fn.writable(0x8c, 4, 0xffff_ffff);
    fn.writable(0x90, 4, 0xffff_ffff);
    fn.writable(PCI_CFG_DATA, 4, 0xffff_ffff);
  }

  #window(): { offset: number; size: AccessSize } | undefined {
    const { view } = this.fn;
    const offset = view.getUint32(0x8c, true);
    const size = view.getUint32(0x90, true);
    if (view.getUint8(0x88) !== VIRTIO_BAR || (size !== 1 && size !== 2 && size !== 4) || offset + size > VIRTIO_BAR_BYTES) return undefined;
    return { offset, size };
  }
  #windowRead(): void {
    const window = this.#window();
    if (window) this.fn.view.setUint32(PCI_CFG_DATA, this.read(window.offset, window.size) >>> 0, true);
  }
  #windowWrite(): void {
    const window = this.#window();
    if (window) this.write(window.offset, window.size, this.fn.view.getUint32(PCI_CFG_DATA, true));
  }

  // ---- status, interrupts -----------------------------------------------------------------------------------------------------

  reset(): void {
    const s = this.s;
    s.status = s.deviceFeatureSelect = s.driverFeatureSelect = s.queueSelect = s.isr = s.generation = 0;
    for (const field of [s.driverFeatures, s.queueEnable, s.descLow, s.descHigh, s.availLow, s.availHigh, s.usedLow, s.usedHigh, s.availNext, s.usedNext]) field.fill(0);
    s.queueSize.fill(QUEUE_SIZE_MAX);
    this.deviceReset();
    this.#updateLine();
  }

  #updateLine(): void {
    const status = this.fn.view.getUint16(PCI.STATUS, true);
    const asserted = this.s.isr !== 0;
    this.fn.view.setUint16(PCI.STATUS, asserted ? status | PCI_STATUS_INTERRUPT : status & ~PCI_STATUS_INTERRUPT, true);
    this.#lines.set(this.#line, asserted && !(this.fn.view.getUint16(PCI.COMMAND, true) & PCI_COMMAND_INTX_DISABLE));
  }

  protected interruptQueue(): void { this.s.isr |= ISR_QUEUE; this.#updateLine(); }
  /** This device's configuration has changed (4.1.4.5.1). */
  protected interruptConfig(): void {
    this.s.generation = (this.s.generation + 1) & 0xff;
    if (this.running) { this.s.isr |= ISR_CONFIG; this.#updateLine(); }
  }

  /** The driver broke the rules: stop serving until reset (2.1.2). */
  protected violate(violation: Violation): void {
    const s = this.s;
    s.violation = VIOLATIONS.indexOf(violation);
    s.violations++;
    s.status |= VIRTIO_STATUS.NEEDS_RESET;
    if (s.status & VIRTIO_STATUS.DRIVER_OK) { s.isr |= ISR_CONFIG; this.#updateLine(); }
  }

  get violation(): { name: Violation; count: number } { return { name: VIOLATIONS[this.s.violation], count: this.s.violations }; }
  protected get running(): boolean { return (this.s.status & (VIRTIO_STATUS.DRIVER_OK | VIRTIO_STATUS.NEEDS_RESET | VIRTIO_STATUS.FAILED)) === VIRTIO_STATUS.DRIVER_OK; }
  protected featureLow(mask: number): boolean { return (this.s.driverFeatures[0] & mask) !== 0; }

  // ---- queues -------------------------------------------------------------------------------------------------------------------

  /** Whether the three parts of a queue lie in RAM. */
  protected ringsOk(q: number): boolean {
    const s = this.s;
    const size = s.queueSize[q];
    if (s.descHigh[q] || s.availHigh[q] || s.usedHigh[q] || (s.descLow[q] & 15) || (s.availLow[q] & 1) || (s.usedLow[q] & 3)) return false;
    return this.memory.ok(s.descLow[q], 16 * size) && this.memory.ok(s.availLow[q], 6 + 2 * size) && this.memory.ok(s.usedLow[q], 6 + 8 * size);
  }

  /** Whether a queue may be served now. */
  protected queueReady(q: number): boolean {
    if (!this.running || !this.s.queueEnable[q]) return false;
    if (!(this.fn.view.getUint16(PCI.COMMAND, true) & PCI_COMMAND_MASTER)) { this.violate('bus mastering off'); return false; }
    if (!this.ringsOk(q)) { this.violate('ring outside RAM'); return false; }
    return true;
  }

  /** Takes the next available head, or -1. */
  protected takeHead(q: number): number {
    const s = this.s;
    if (!this.queueReady(q)) return -1;
    const size = s.queueSize[q];
    const ahead = (this.memory.readU16(s.availLow[q] + 2) - s.availNext[q]) & 0xffff;
    if (ahead === 0) return -1;
    if (ahead > size) { this.violate('avail index ran ahead'); return -1; }
    const head = this.memory.readU16(s.availLow[q] + 4 + 2 * (s.availNext[q] % size));
    if (head >= size) { this.violate('descriptor index'); return -1; }
    s.availNext[q] = (s.availNext[q] + 1) & 0xffff;
    return head;
  }

  /** Walks and checks the chain at `head`. */
  protected chain(q: number, head: number): Chain | undefined {
    const s = this.s;
    const size = s.queueSize[q];
    if (!this.running || !this.ringsOk(q)) { if (this.running) this.violate('ring outside RAM'); return undefined; }
    const readable: Segment[] = [];
    const writable: Segment[] = [];
    let index = head;
    for (let count = 0; ; count++) {
      if (index >= size) { this.violate('descriptor index'); return undefined; }
      if (count >= size) { this.violate('descriptor loop'); return undefined; }
      const at = s.descLow[q] + 16 * index;
      const address = this.memory.readU32(at);
      const high = this.memory.readU32(at + 4);
      const bytes = this.memory.readU32(at + 8);
      const flags = this.memory.readU16(at + 12);
      if (flags & DESC_INDIRECT) { this.violate('indirect descriptor'); return undefined; } // not offered
      if (high !== 0 || !this.memory.ok(address, bytes)) { this.violate('buffer outside RAM'); return undefined; }
      if (flags & DESC_WRITE) writable.push({ address, bytes });
      else if (writable.length > 0) { this.violate('readable descriptor after writable'); return undefined; }
      else readable.push({ address, bytes });
      if (!(flags & DESC_NEXT)) return { head, readable, writable };
      index = this.memory.readU16(at + 14);
    }
  }

  /** Gives a chain back; the index store comes last. Interrupts unless the driver asked not to. */
  protected complete(q: number, head: number, writtenBytes: number): void {
    const s = this.s;
    const size = s.queueSize[q];
    const used = s.usedLow[q];
    const slot = used + 4 + 8 * (s.usedNext[q] % size);
    this.memory.writeU32(slot, head);
    this.memory.writeU32(slot + 4, writtenBytes);
    s.usedNext[q] = (s.usedNext[q] + 1) & 0xffff;
    this.memory.writeU16(used + 2, s.usedNext[q]);
    if (!(this.memory.readU16(s.availLow[q]) & AVAIL_NO_INTERRUPT)) this.interruptQueue();
  }

  // ---- BAR ----------------------------------------------------------------------------------------------------------------------

  /** Whether `address` is in this device's BAR; the offset, or -1. */
  decode(address: number): number {
    const base = this.fn.memoryBase(VIRTIO_BAR);
    const offset = address - base;
    return base > 0 && offset >= 0 && offset < VIRTIO_BAR_BYTES ? offset : -1;
  }

  read(offset: number, size: AccessSize): number {
    if (offset >= VIRTIO_REGION.NOTIFY) return 0;
    if (offset >= VIRTIO_REGION.DEVICE) {
      let value = 0;
      for (let k = 0; k < size; k++) value |= this.configRead(offset - VIRTIO_REGION.DEVICE + k) << (8 * k);
      return value;
    }
    if (offset >= VIRTIO_REGION.ISR) {
      if (offset !== VIRTIO_REGION.ISR) return 0;
      const isr = this.s.isr; // read to clear (4.1.4.5)
      this.s.isr = 0;
      this.#updateLine();
      return isr;
    }
    // Fields may be read by parts (4.1.3.1 wants natural width; 64-bit fields are two 32-bit accesses).
    const word = offset & ~3;
    return this.#commonWord(word) >>> (8 * (offset & 3));
  }

  #commonWord(word: number): number {
    const s = this.s;
    const q = s.queueSelect;
    const valid = q < this.identity.queues;
    switch (word) {
      case 0x00: return s.deviceFeatureSelect;
      case 0x04: return s.deviceFeatureSelect === 0 ? this.identity.features : s.deviceFeatureSelect === 1 ? FEATURE_VERSION_1_HIGH : 0;
      case 0x08: return s.driverFeatureSelect;
      case 0x0c: return s.driverFeatureSelect < 2 ? s.driverFeatures[s.driverFeatureSelect] : 0;
      case 0x10: return 0xffff | (this.identity.queues << 16);
      case 0x14: return s.status | (s.generation & 0xff) << 8 | q << 16;
      case 0x18: return (valid ? s.queueSize[q] : 0) | 0xffff << 16;
      case 0x1c: return (valid ? s.queueEnable[q] : 0) | (valid ? q : 0) << 16;
      case 0x20: return valid ? s.descLow[q] : 0;
      case 0x24: return valid ? s.descHigh[q] : 0;
      case 0x28: return valid ? s.availLow[q] : 0;
      case 0x2c: return valid ? s.availHigh[q] : 0;
      case 0x30: return valid ? s.usedLow[q] : 0;
      case 0x34: return valid ? s.usedHigh[q] : 0;
      default: return 0;
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset >= VIRTIO_REGION.NOTIFY) {
      const queue = (offset - VIRTIO_REGION.NOTIFY) >> 2;
      if (queue < this.identity.queues && this.running) this.notify(queue);
      return;
    }
    if (offset >= VIRTIO_REGION.ISR) return; // ISR and this device's configuration are read-only
    const s = this.s;
    const q = s.queueSelect;
    if (size < 4) value &= (1 << (8 * size)) - 1;
    switch (offset) {
      case COMMON.DEVICE_FEATURE_SELECT: s.deviceFeatureSelect = value; return;
      case COMMON.DRIVER_FEATURE_SELECT: s.driverFeatureSelect = value; return;
      case COMMON.DRIVER_FEATURE:
        if (s.driverFeatureSelect < 2 && !(s.status & VIRTIO_STATUS.FEATURES_OK)) s.driverFeatures[s.driverFeatureSelect] = value;
        return;
      case COMMON.DEVICE_STATUS: this.#writeStatus(value & 0xff); return;
      case COMMON.QUEUE_SELECT: s.queueSelect = value & 0xffff; return;
    }
    if (q >= this.identity.queues) return;
    if (s.queueEnable[q]) return; // a live queue is only changed by reset (4.1.4.3.2)
    switch (offset) {
      case COMMON.QUEUE_SIZE:
        if (value > 0 && value <= QUEUE_SIZE_MAX && (value & (value - 1)) === 0) s.queueSize[q] = value;
        else this.violate('queue size');
        return;
      case COMMON.QUEUE_ENABLE: if (value === 1) s.queueEnable[q] = 1; return;
      case COMMON.QUEUE_DESC: s.descLow[q] = value; return;
      case COMMON.QUEUE_DESC + 4: s.descHigh[q] = value; return;
      case COMMON.QUEUE_DRIVER: s.availLow[q] = value; return;
      case COMMON.QUEUE_DRIVER + 4: s.availHigh[q] = value; return;
      case COMMON.QUEUE_DEVICE: s.usedLow[q] = value; return;
      case COMMON.QUEUE_DEVICE + 4: s.usedHigh[q] = value; return;
    }
  }

  #writeStatus(value: number): void {
    const s = this.s;
    if (value === 0) { this.reset(); return; }
    // FEATURES_OK sticks only for a subset of what was offered that includes VERSION_1 (3.1.1 step 5, 6.1).
    if (value & VIRTIO_STATUS.FEATURES_OK && !(s.status & VIRTIO_STATUS.FEATURES_OK)) {
      const acceptable = (s.driverFeatures[0] & ~this.identity.features) === 0 && s.driverFeatures[1] === FEATURE_VERSION_1_HIGH;
      if (!acceptable) value &= ~VIRTIO_STATUS.FEATURES_OK;
    }
    const needsReset = s.status & VIRTIO_STATUS.NEEDS_RESET;
    const wasRunning = this.running;
    s.status = value & ~VIRTIO_STATUS.NEEDS_RESET | needsReset;
    if (!wasRunning && this.running) for (let q = 0; q < this.identity.queues; q++) this.notify(q);
  }
}

/** pci_cfg_data of the configuration access capability. */
const PCI_CFG_DATA = 0x94;
