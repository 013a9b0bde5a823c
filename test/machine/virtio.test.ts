import { describe, expect, it } from 'vitest';
import { BLK_FEATURE, BLK_TYPE } from '../../vm/devices/virtio-blk.ts';
import { COMMON, VIRTIO_STATUS } from '../../vm/devices/virtio-pci.ts';
import { Rig } from './rig.ts';

const SLOT = 3;
const SECTORS = 64;
const DESC = 0x10_0000;
const AVAIL = 0x10_1000;
const USED = 0x10_2000;
const REQUEST = 0x10_3000;
const DATA = 0x10_4000;
const STATUS = 0x10_3800;
const QUEUE = 8;

/** A driver as the specification's section 3.1 and 4.1 prescribe it. */
class Driver {
  readonly r: Rig;
  readonly disk = new Uint8Array(SECTORS * 512).map((_, k) => (k >> 9) ^ k);
  bar = 0;
  common = 0;
  isr = 0;
  device = 0;
  notify = 0;
  avail = 0;

  constructor(options: { readOnly?: boolean; latencyNs?: number } = {}) {
    this.r = new Rig({ disks: [{ bytes: this.disk, readOnly: options.readOnly, serial: 'serial-7' }], diskLatencyNs: options.latencyNs ?? 0 });
  }
  config(register: number): number { this.r.out32(0xcf8, 0x8000_0000 | (SLOT << 11) | (register & 0xfc)); return this.r.in32(0xcfc); }
  setConfig(register: number, value: number): void { this.r.out32(0xcf8, 0x8000_0000 | (SLOT << 11) | (register & 0xfc)); this.r.out32(0xcfc, value); }

  find(): void {
    this.bar = (this.config(0x20) & ~15) >>> 0;
    for (let at = this.config(0x34) & 0xff; at; at = (this.config(at) >> 8) & 0xff) {
      const head = this.config(at);
      expect(head & 0xff).toBe(9);
      const type = head >>> 24;
      const address = this.bar + this.config(at + 8);
      if (type === 1) this.common = address;
      if (type === 2) { this.notify = address; expect(this.config(at + 16)).toBe(4); }
      if (type === 3) this.isr = address;
      if (type === 4) this.device = address;
    }
    this.setConfig(4, 6);
  }
  get8(offset: number): number { return this.r.read(this.common + offset, 1); }
  set8(offset: number, value: number): void { this.r.write(this.common + offset, value, 1); }
  set16(offset: number, value: number): void { this.r.write(this.common + offset, value, 2); }
  set32(offset: number, value: number): void { this.r.write(this.common + offset, value, 4); }

  /** Up to DRIVER_OK. Returns the status read back. */
  start(featuresLow = BLK_FEATURE.FLUSH, featuresHigh = 1): number {
    this.find();
    this.set8(COMMON.DEVICE_STATUS, 0);
    this.set8(COMMON.DEVICE_STATUS, VIRTIO_STATUS.ACKNOWLEDGE);
    this.set8(COMMON.DEVICE_STATUS, 3);
    this.set32(COMMON.DRIVER_FEATURE_SELECT, 0); this.set32(COMMON.DRIVER_FEATURE, featuresLow);
    this.set32(COMMON.DRIVER_FEATURE_SELECT, 1); this.set32(COMMON.DRIVER_FEATURE, featuresHigh);
    this.set8(COMMON.DEVICE_STATUS, 3 | VIRTIO_STATUS.FEATURES_OK);
    if (!(this.get8(COMMON.DEVICE_STATUS) & VIRTIO_STATUS.FEATURES_OK)) return this.get8(COMMON.DEVICE_STATUS);
    this.set16(COMMON.QUEUE_SELECT, 0);
    this.set16(COMMON.QUEUE_SIZE, QUEUE);
    this.set32(COMMON.QUEUE_DESC, DESC); this.set32(COMMON.QUEUE_DRIVER, AVAIL); this.set32(COMMON.QUEUE_DEVICE, USED);
    this.set16(COMMON.QUEUE_ENABLE, 1);
    this.set8(COMMON.DEVICE_STATUS, 0xf);
    return this.get8(COMMON.DEVICE_STATUS);
  }
  u16(address: number): number { return this.r.chipset.memory.readU16(address); }
  u32(address: number): number { return this.r.chipset.memory.readU32(address); }
  put16(address: number, value: number): void { this.r.chipset.memory.writeU16(address, value); }
  put32(address: number, value: number): void { this.r.chipset.memory.writeU32(address, value); }

  descriptor(index: number, address: number, bytes: number, flags: number, next = 0): void {
    this.put32(DESC + 16 * index, address); this.put32(DESC + 16 * index + 4, 0); this.put32(DESC + 16 * index + 8, bytes);
    this.put16(DESC + 16 * index + 12, flags); this.put16(DESC + 16 * index + 14, next);
  }
  /** Header, data, status as three descriptors from `first`. */
  request(type: number, sector: number, bytes: number, first = 0): void {
    this.put32(REQUEST, type); this.put32(REQUEST + 4, 0); this.put32(REQUEST + 8, sector); this.put32(REQUEST + 12, 0);
    this.r.chipset.memory.writeU8(STATUS, 0xff);
    this.descriptor(first, REQUEST, 16, 1, first + 1);
    this.descriptor(first + 1, DATA, bytes, type === BLK_TYPE.OUT ? 1 : 3, first + 2);
    this.descriptor(first + 2, STATUS, 1, 2);
    this.post(first);
  }
  post(head: number): void {
    this.put16(AVAIL + 4 + 2 * (this.avail % QUEUE), head);
    this.avail++;
    this.put16(AVAIL + 2, this.avail & 0xffff);
    this.r.write(this.notify, 0, 2);
  }
  get status(): number { return this.r.chipset.memory.readU8(STATUS); }
  get violation(): string { return this.r.chipset.disks[0].violation.name; }
  get needsReset(): boolean { return (this.get8(COMMON.DEVICE_STATUS) & VIRTIO_STATUS.NEEDS_RESET) !== 0; }
}

describe('PCI', () => {
  it('shows host bridge, ISA bridge and the disk, and nothing elsewhere', () => {
    const d = new Driver();
    d.r.out32(0xcf8, 0x8000_0000);
    expect(d.r.in32(0xcfc)).toBe(0x1237_8086);
    expect(d.config(0)).toBe(0x1042_1af4);
    expect(d.config(8) >>> 8).toBe(0x018000);
    d.r.out32(0xcf8, 0x8000_0000 | (9 << 11));
    expect(d.r.in32(0xcfc)).toBe(0xffff_ffff);
    d.r.out32(0xcf8, 0);
    expect(d.r.in32(0xcfc)).toBe(0xffff_ffff);
  });

  it('sizes and moves a base address register', () => {
    const d = new Driver();
    d.setConfig(0x20, 0xffff_ffff);
    expect(d.config(0x20)).toBe(0xffff_c000);
    d.setConfig(0x20, 0xfe00_0000);
    expect(d.r.read(0xfe00_0014, 1)).toBe(0);
    expect(d.r.read(0xfeb0_0014, 1)).toBe(0xff);
  });

  it('the interrupt line register holds the IOAPIC input', () => {
    expect(new Driver().config(0x3c) & 0xffff).toBe(0x0100 | (16 + SLOT));
  });

  it('reads configuration by bytes and words', () => {
    const d = new Driver();
    d.config(0);
    expect(d.r.in16(0xcfe)).toBe(0x1042);
    expect(d.r.in8(0xcfd)).toBe(0x1a);
  });
});

describe('virtio-blk', () => {
  it('negotiates VERSION_1 and refuses features it did not offer', () => {
    const d = new Driver();
    expect(d.start()).toBe(0xf);
    expect(new Driver().start(BLK_FEATURE.FLUSH, 0) & VIRTIO_STATUS.FEATURES_OK).toBe(0);
    expect(new Driver().start(1 << 28) & VIRTIO_STATUS.FEATURES_OK).toBe(0);
  });

  it('reports capacity and block size', () => {
    const d = new Driver();
    d.find();
    expect([d.r.read(d.device), d.r.read(d.device + 4), d.r.read(d.device + 0x14)]).toEqual([SECTORS, 0, 512]);
  });

  it('reads sectors and interrupts on the PCI line until ISR is read', () => {
    const d = new Driver();
    d.start();
    d.r.setLapic(0xf0, 0x1ff);
    d.r.setIoapic(0x10 + 2 * 19, 0x8050);
    d.request(BLK_TYPE.IN, 3, 1024);
    expect(d.status).toBe(0);
    expect(d.u16(USED + 2)).toBe(1);
    expect([d.u32(USED + 4), d.u32(USED + 8)]).toEqual([0, 1025]);
    expect([...d.r.chipset.memory.bytes(DATA, 1024)]).toEqual([...d.disk.subarray(3 * 512, 5 * 512)]);
    expect(d.r.acknowledge()).toBe(0x50);
    expect(d.r.read(d.isr, 1)).toBe(1);
    expect(d.r.read(d.isr, 1)).toBe(0);
    d.r.setLapic(0xb0, 0);
    expect(d.r.intr()).toBe(false);
  });

  it('writes and reads back, flushes, identifies itself', () => {
    const d = new Driver();
    d.start();
    d.r.chipset.memory.bytes(DATA, 512).fill(0x77);
    d.request(BLK_TYPE.OUT, 9, 512);
    expect(d.status).toBe(0);
    d.r.chipset.memory.bytes(DATA, 512).fill(0);
    d.request(BLK_TYPE.IN, 9, 512);
    expect(d.r.chipset.memory.bytes(DATA, 512).every((byte) => byte === 0x77)).toBe(true);
    d.request(BLK_TYPE.FLUSH, 0, 512);
    expect(d.status).toBe(0);
    d.request(BLK_TYPE.GET_ID, 0, 20);
    expect(new TextDecoder().decode(d.r.chipset.memory.bytes(DATA, 8).slice())).toBe('serial-7');
  });

  it('accepts a request scattered over odd pieces', () => {
    const d = new Driver();
    d.start();
    d.put32(REQUEST, BLK_TYPE.IN); d.put32(REQUEST + 4, 0); d.put32(REQUEST + 8, 1); d.put32(REQUEST + 12, 0);
    d.descriptor(0, REQUEST, 5, 1, 1);
    d.descriptor(1, REQUEST + 5, 11, 1, 2);
    d.descriptor(2, DATA, 100, 3, 3);
    d.descriptor(3, DATA + 1000, 413, 2); // 412 bytes of data and the status byte
    d.post(0);
    expect([...d.r.chipset.memory.bytes(DATA, 100)]).toEqual([...d.disk.subarray(512, 612)]);
    expect([...d.r.chipset.memory.bytes(DATA + 1000, 412)]).toEqual([...d.disk.subarray(612, 1024)]);
    expect(d.r.chipset.memory.readU8(DATA + 1412)).toBe(0);
  });

  it('answers IOERR beyond the end, for half sectors, and to writes on a read-only disk; UNSUPP to unknown types', () => {
    const d = new Driver({ readOnly: true });
    d.find();
    expect(d.r.read(d.common + COMMON.DEVICE_FEATURE) & BLK_FEATURE.RO).toBe(BLK_FEATURE.RO);
    d.start();
    d.request(BLK_TYPE.IN, SECTORS - 1, 1024);
    expect(d.status).toBe(1);
    d.request(BLK_TYPE.IN, 0, 100);
    expect(d.status).toBe(1);
    d.request(BLK_TYPE.OUT, 0, 512);
    expect(d.status).toBe(1);
    d.request(99, 0, 512);
    expect(d.status).toBe(2);
    expect(d.needsReset).toBe(false);
  });

  it('completes after the latency, in order, and not before', () => {
    const d = new Driver({ latencyNs: 20_000 });
    d.start();
    d.request(BLK_TYPE.IN, 1, 512);
    d.r.advance(10_000);
    d.request(BLK_TYPE.IN, 1, 512, 3);
    d.r.advance(9_999);
    expect(d.u16(USED + 2)).toBe(0);
    d.r.advance(1);
    expect(d.u16(USED + 2)).toBe(1);
    d.r.advance(10_000);
    expect([d.u16(USED + 2), d.u32(USED + 12)]).toEqual([2, 3]);
  });

  it('reset forgets what is in flight', () => {
    const d = new Driver({ latencyNs: 20_000 });
    d.start();
    d.request(BLK_TYPE.IN, 1, 512);
    d.set8(COMMON.DEVICE_STATUS, 0);
    expect(d.get8(COMMON.DEVICE_STATUS)).toBe(0);
    d.r.advance(1e6);
    expect(d.status).toBe(0xff);
  });

  it('NO_INTERRUPT suppresses the interrupt', () => {
    const d = new Driver();
    d.start();
    d.put16(AVAIL, 1);
    d.request(BLK_TYPE.IN, 1, 512);
    expect(d.u16(USED + 2)).toBe(1);
    expect(d.r.read(d.isr, 1)).toBe(0);
  });

  describe('distrusts the driver', () => {
    const broken = (name: string, act: (d: Driver) => void): void => it(`${name}: NEEDS_RESET, a configuration interrupt, and recovery by reset`, () => {
      const d = new Driver();
      d.start();
      act(d);
      expect(d.violation).toBe(name);
      expect(d.needsReset).toBe(true);
      expect(d.r.read(d.isr, 1) & 2).toBe(2);
      d.avail = 0;
      d.put16(AVAIL + 2, 0);
      d.put16(USED + 2, 0);
      expect(d.start()).toBe(0xf);
      d.request(BLK_TYPE.IN, 0, 512);
      expect(d.status).toBe(0);
    });
    broken('descriptor loop', (d) => { d.descriptor(0, REQUEST, 16, 1, 1); d.descriptor(1, REQUEST, 16, 1, 0); d.post(0); });
    broken('descriptor index', (d) => { d.descriptor(0, REQUEST, 16, 1, 200); d.post(0); });
    broken('buffer outside RAM', (d) => { d.descriptor(0, 0xffff_fff0, 0x100, 1, 1); d.post(0); });
    broken('readable descriptor after writable', (d) => { d.descriptor(0, DATA, 16, 3, 1); d.descriptor(1, REQUEST, 16, 0); d.post(0); });
    broken('request too short', (d) => { d.descriptor(0, REQUEST, 15, 1, 1); d.descriptor(1, STATUS, 1, 2); d.post(0); });
    broken('indirect descriptor', (d) => { d.descriptor(0, REQUEST, 16, 4); d.post(0); });
    broken('avail index ran ahead', (d) => { d.put16(AVAIL + 2, QUEUE + 1); d.r.write(d.notify, 0, 2); });
  });

  it('rings outside RAM and the VGA hole are violations, not crashes', () => {
    for (const address of [0xfff0_0000, 0xa_0000, 16 << 20]) {
      const d = new Driver();
      d.find();
      d.set8(COMMON.DEVICE_STATUS, 3);
      d.set32(COMMON.DRIVER_FEATURE_SELECT, 1); d.set32(COMMON.DRIVER_FEATURE, 1);
      d.set8(COMMON.DEVICE_STATUS, 0xb);
      d.set32(COMMON.QUEUE_DESC, address); d.set32(COMMON.QUEUE_DRIVER, AVAIL); d.set32(COMMON.QUEUE_DEVICE, USED);
      d.set16(COMMON.QUEUE_ENABLE, 1);
      d.set8(COMMON.DEVICE_STATUS, 0xf);
      expect(d.violation).toBe('ring outside RAM');
    }
  });

  it('the PCI configuration window reaches the same registers', () => {
    const d = new Driver();
    d.find();
    d.r.out32(0xcf8, 0x8000_0000 | (SLOT << 11) | 0x88);
    d.r.out8(0xcfc, 4);
    d.setConfig(0x8c, 0x2000);
    d.setConfig(0x90, 4);
    expect(d.config(0x94)).toBe(SECTORS);
  });
});
