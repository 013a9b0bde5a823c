/**
 * A hostile guest at the devices: every register of the board with random sizes, alignments and values while time passes and interrupts come, and virtqueues as no driver
 * makes them. Nothing is thrown, nothing outside of RAM is written, nothing takes for ever. `KINTSUGI_FULL` goes on for a minute; a failure names its seed.
 */
import { describe, expect, it } from 'vitest';
import { DEVICE_BASE, DEVICE_BYTES, ENGINE_SHARED_BASE, GUEST_RAM_BASE, HEADER_BASE, HOST_RING_BASE, MAX_DEVICES, PHYS } from '../../vm/board.ts';
import { BLK_TYPE } from '../../vm/devices/virtio-blk.ts';
import { COMMON, VIRTIO_REGION } from '../../vm/devices/virtio-pci.ts';
import { Random } from '../net/generator.ts';
import { Rig } from './rig.ts';

const FULL = process.env['KINTSUGI_FULL'] !== undefined;
const FULL_MS = 30_000; // two tests take a minute together

/** The seeds 1 to 30, or with KINTSUGI_FULL as many as half a minute holds. */
function seeds(run: (seed: number) => void): void {
  const end = performance.now() + FULL_MS;
  for (let seed = 1; FULL ? performance.now() < end : seed <= 30; seed++) {
    try { run(seed); } catch (cause) { throw new Error(`seed ${seed}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause }); }
  }
}

const SIZES = [1, 2, 4] as const;
/** Debug exit and the three reset ports stop the machine, which is what they are for; so does PM1 control. */
const STOPPING = [0xf4, 0x64, 0x92, 0xcf9, 0x604, 0x605];
const PORTS = [[0x20, 2], [0xa0, 2], [0x4d0, 2], [0x40, 4], [0x61, 1], [0x70, 2], [0x3f8, 8], [0x2f8, 8], [0x600, 12], [0xcf8, 8], [0x60, 5], [0x80, 1], [0xe9, 1], [0x92, 1], [0xcf9, 1]] as const;
const DISK_SLOT = 3, NIC_SLOT = 8, DISK_BAR = PHYS.pciMmio, NIC_BAR = PHYS.pciMmio + 4 * 0x4000;

/** What no guest may change: the ROM, the video hole, the board around RAM. */
function outside(r: Rig): () => void {
  const { board } = r, buffer = board.buffer;
  const regions = [
    new Uint8Array(buffer, GUEST_RAM_BASE + PHYS.vgaHole, PHYS.highMemory - PHYS.vgaHole), new Uint8Array(buffer, GUEST_RAM_BASE - 65536, 65536),
    new Uint8Array(buffer, GUEST_RAM_BASE + board.ramBytes, 65536), new Uint8Array(buffer, ENGINE_SHARED_BASE, 65536), new Uint8Array(buffer, HOST_RING_BASE, 65536),
    new Uint8Array(buffer, HEADER_BASE, 24), new Uint8Array(buffer, DEVICE_BASE + (MAX_DEVICES - 1) * DEVICE_BYTES, DEVICE_BYTES), board.pageMap,
  ];
  const before = regions.map((region) => Buffer.from(region).toString('latin1'));
  return () => { for (const [n, region] of regions.entries()) if (Buffer.from(region).toString('latin1') !== before[n]) throw new Error(`region ${n} outside of RAM has changed`); };
}

const rig = (x: Random): Rig => new Rig({ cpus: 1 + x.below(3), memoryMiB: 2, disks: [{ bytes: new Uint8Array(64 * 512) }, { bytes: new Uint8Array(512), readOnly: true }], diskLatencyNs: x.pick([0, 1, 20_000]), net: { backend: { kind: 'user' } } });

/** An access of the guest's, as the engine makes it: aligned or not, within a page. */
function access(r: Rig, x: Random, value: number): void {
  const cpu = x.below(r.board.cpus), size = x.pick(SIZES);
  const mmio = (base: number, most: number): void => {
    const at = base + (x.chance(800) ? x.below(most) & ~3 : x.below(most));
    const address = (at & 0xfff) + size > 4096 ? at & ~3 : at;
    if (x.chance(400)) r.read(address, size, cpu); else r.write(address, value, size, cpu);
  };
  switch (x.below(10)) {
    case 0: case 1: case 2: {
      const [base, count] = x.pick(PORTS), port = base + x.below(count);
      if (x.chance(400)) r.chipset.portRead(cpu, port, size); else if (!STOPPING.some((stop) => stop >= port && stop < port + size)) r.chipset.portWrite(cpu, port, size, value);
      break;
    }
    case 3: { const port = x.below(0x10000); if (!STOPPING.some((stop) => stop >= port && stop < port + size)) { r.chipset.portRead(cpu, port, size); r.chipset.portWrite(cpu, port, size, value); } break; }
    case 4: mmio(PHYS.ioapic, x.pick([0x20, 0x1000])); if (x.chance(500)) { r.write(PHYS.ioapic, x.below(0x40), 4, cpu); r.write(PHYS.ioapic + 16, value, 4, cpu); } break;
    case 5: mmio(PHYS.lapic, x.pick([0x400, 0x1000])); break;
    case 6: { // PCI configuration, bases and commands put right more often than not: else nothing answers any more
      const slot = x.pick([0, 1, DISK_SLOT, DISK_SLOT + 1, NIC_SLOT, x.below(32)]);
      r.out32(0xcf8, (0x8000_0000 | slot << 11 | x.below(256)) >>> 0);
      r.chipset.portWrite(cpu, 0xcfc + x.below(4), size, value);
      if (x.chance(700)) for (const [where, bar] of [[DISK_SLOT, DISK_BAR], [DISK_SLOT + 1, DISK_BAR + 0x4000], [NIC_SLOT, NIC_BAR]]) {
        r.out32(0xcf8, 0x8000_0000 | where! << 11 | 0x20); r.out32(0xcfc, bar!);
        r.out32(0xcf8, 0x8000_0000 | where! << 11 | 4); r.out32(0xcfc, x.pick([6, 6, 6, 2, 0x406]));
      }
      break;
    }
    case 7: mmio(x.pick([DISK_BAR, DISK_BAR + 0x4000, NIC_BAR]) + x.pick(Object.values(VIRTIO_REGION)), x.pick([0x40, 0x40, 0x1000])); break;
    case 8: mmio(0xa_0000, 0x2_0000); break;
    default: mmio(0xfe00_0000, 0x0200_0000 - 4);
  }
}

describe('devices', () => {
  it('registers at random, while time passes and interrupts come', { timeout: 120_000 }, () => {
    let taken = 0;
    seeds((seed) => {
      const x = new Random(seed), r = rig(x), check = outside(r);
      const value = (): number => x.pick([0, 1, 2, 3, 0x10, 0x11, 0x34, 0xff, 0x1ff, 0xffff, 0xffff_ffff, 0x8000_0000, 0x2_0030, 1 << x.below(32), x.next(), x.next(), x.below(256), x.below(65536)]) >>> 0;
      for (let n = 0; n < 8000; n++) {
        access(r, x, value());
        if (x.chance(100)) r.advance(x.pick([1, 100, 1000, 10_000, 100_000]));
        if (x.chance(300)) for (let cpu = 0; cpu < r.board.cpus; cpu++) if (r.intr(cpu) && r.acknowledge(cpu) >= 0) taken++;
        if (x.chance(30)) r.chipset.uarts[x.below(2)]!.receive(new Uint8Array(x.below(200)));
      }
      expect(r.cpus.stopped).toBe(undefined);
      check();
    });
    expect(taken).toBeGreaterThan(30);
  });

  it('virtqueues at random: loops, lengths, addresses at the ends of RAM and beyond 4 GiB, jumping indices, rings over rings', { timeout: 120_000 }, () => {
    const seen = new Set<string>();
    let served = 0;
    seeds((seed) => {
      const x = new Random(seed), r = rig(x), check = outside(r), { ram, ramBytes } = r.board, { memory } = r.chipset;
      for (let round = 0; round < 120; round++) {
        const [slot, bar, queues] = x.pick([[DISK_SLOT, DISK_BAR, 1], [DISK_SLOT + 1, DISK_BAR + 0x4000, 1], [NIC_SLOT, NIC_BAR, 3]] as const);
        r.out32(0xcf8, 0x8000_0000 | slot << 11 | 4); r.out32(0xcfc, x.chance(950) ? 6 : 2);
        r.write(bar + COMMON.DEVICE_STATUS, 0, 1); r.write(bar + COMMON.DEVICE_STATUS, 3, 1);
        r.write(bar + COMMON.DRIVER_FEATURE_SELECT, 0); r.write(bar + COMMON.DRIVER_FEATURE, x.chance(500) ? 0 : r.read(bar + COMMON.DEVICE_FEATURE));
        r.write(bar + COMMON.DRIVER_FEATURE_SELECT, 1); r.write(bar + COMMON.DRIVER_FEATURE, 1); r.write(bar + COMMON.DEVICE_STATUS, 0xb, 1);
        const size = x.pick([1, 2, 8, 256]), table = 0x10_0000 + x.below(4) * 0x1000, avail = table + x.pick([0x4000, 0, 2, 0x10]), used = table + x.pick([0x8000, 0, 0x4000, 0x4004]);
        const edge = (): number => x.pick([0, 0xa_0000 - 16, 0xf_0000, ramBytes, ramBytes - 4096, ramBytes - 16, 0xffff_fff0, PHYS.lapic, 0x8000_0000]);
        for (let q = 0; q < queues; q++) {
          const odd = x.chance(150);
          r.write(bar + COMMON.QUEUE_SELECT, q, 2); r.write(bar + COMMON.QUEUE_SIZE, odd ? x.below(1000) : size, 2);
          const put = (field: number, low: number, high: number): void => { r.write(bar + field, low); r.write(bar + field + 4, high); };
          put(COMMON.QUEUE_DESC, odd && x.chance(500) ? edge() : table, x.chance(990) ? 0 : 1);
          put(COMMON.QUEUE_DRIVER, odd && x.chance(500) ? edge() : avail, x.chance(990) ? 0 : x.next());
          put(COMMON.QUEUE_DEVICE, odd && x.chance(500) ? edge() : used, x.chance(990) ? 0 : 0xffff_ffff);
          r.write(bar + COMMON.QUEUE_ENABLE, 1, 2);
        }
        const address = (): number => x.pick([edge(), table, avail, used, 0x12_0000, 0x12_0000, 0x12_0000 + x.below(0x1_0000)]);
        const descriptor = (index: number): void => {
          const at = table + 16 * index;
          memory.writeU32(at, address() >>> 0); memory.writeU32(at + 4, x.chance(970) ? 0 : x.next());
          memory.writeU32(at + 8, x.pick([0, 1, 12, 16, 17, 512, 513, 4096, 65536, ramBytes, 0x7fff_ffff, 0xffff_ffff, x.below(2000)]));
          memory.writeU16(at + 12, x.pick([0, 1, 1, 1, 2, 2, 3, 3, 4, 0xffff])); memory.writeU16(at + 14, x.chance(900) ? x.below(size) : x.below(65536));
        };
        for (let index = 0; index < Math.min(size, 16); index++) descriptor(index);
        if (x.chance(400)) { // a request that is right but for what comes after it
          memory.writeU32(0x12_0000, x.pick(Object.values(BLK_TYPE))); memory.writeU32(0x12_0004, 0); memory.writeU32(0x12_0008, x.below(70)); memory.writeU32(0x12_000c, 0);
          for (const [index, where, bytes, flags] of [[0, 0x12_0000, 16, 1], [1, x.chance(500) ? 0x12_1000 : address(), 512, x.pick([1, 3])], [2, address(), 1, 2]]) {
            const at = table + 16 * index!;
            memory.writeU32(at, where! >>> 0); memory.writeU32(at + 4, 0); memory.writeU32(at + 8, bytes!); memory.writeU16(at + 12, flags!); memory.writeU16(at + 14, index! + 1);
          }
        }
        for (let k = 0; k < Math.min(size, 16); k++) memory.writeU16(avail + 4 + 2 * k, x.chance(500) ? 0 : x.chance(900) ? x.below(size) : x.below(65536));
        memory.writeU16(avail, x.below(2)); memory.writeU16(avail + 2, x.chance(700) ? 1 : x.pick([0, size, size + 1, 65535, x.below(65536)]));
        const before = memory.ok(used, 4) ? memory.readU16(used + 2) : 0;
        r.write(bar + COMMON.DEVICE_STATUS, 0xf, 1);
        for (let k = 0; k < 4; k++) {
          r.write(bar + VIRTIO_REGION.NOTIFY + 4 * x.below(4), 0, 2);
          r.advance(x.pick([1, 30_000, 1_000_000]));
          if (x.chance(300)) memory.writeU16(avail + 2, memory.readU16(avail + 2) + x.pick([1, 2, 300]) & 0xffff);
          if (x.chance(100)) ram[table + x.below(0x9000)] = x.below(256);
        }
        if (memory.ok(used, 4) && memory.readU16(used + 2) !== before) served++;
        for (const device of [...r.chipset.disks, r.chipset.nic!]) seen.add(device.violation.name);
      }
      check();
    });
    expect([...seen].sort()).toEqual(['avail index ran ahead', 'buffer of the wrong direction', 'buffer outside RAM', 'bus mastering off', 'descriptor index', 'descriptor loop', 'indirect descriptor', 'none',
      'queue size', 'readable descriptor after writable', 'request too short', 'ring outside RAM']);
    expect(served).toBeGreaterThan(50);
  });

  it('a disk whose sectors are written over the ring and ask for the next one does not keep the machine for ever', () => {
    // Sector n, read to the index of the avail ring, says that n + 1 requests are there: one doorbell serves a ring full, the next one another.
    const SECTORS = 64, disk = new Uint8Array(SECTORS * 512), TABLE = 0x10_0000, AVAIL = 0x11_0000, USED = 0x12_0000, HEADER = AVAIL + 512 - 16;
    const view = new DataView(disk.buffer);
    for (let n = 0; n < SECTORS; n++) { view.setUint16(n * 512, 2 + n, true); view.setUint32(n * 512 + 510 - 16 + 8, (n + 1) % SECTORS, true); }
    const r = new Rig({ memoryMiB: 2, disks: [{ bytes: disk }], diskLatencyNs: 0 }), { memory } = r.chipset;
    r.out32(0xcf8, 0x8000_0000 | DISK_SLOT << 11 | 4); r.out32(0xcfc, 6);
    r.write(DISK_BAR + COMMON.DEVICE_STATUS, 3, 1);
    r.write(DISK_BAR + COMMON.DRIVER_FEATURE_SELECT, 1); r.write(DISK_BAR + COMMON.DRIVER_FEATURE, 1); r.write(DISK_BAR + COMMON.DEVICE_STATUS, 0xb, 1);
    r.write(DISK_BAR + COMMON.QUEUE_SIZE, 4, 2);
    r.write(DISK_BAR + COMMON.QUEUE_DESC, TABLE); r.write(DISK_BAR + COMMON.QUEUE_DRIVER, AVAIL); r.write(DISK_BAR + COMMON.QUEUE_DEVICE, USED); r.write(DISK_BAR + COMMON.QUEUE_ENABLE, 1, 2);
    [[HEADER, 16, 1, 1], [AVAIL + 2, 512, 3, 2], [0x13_0000, 1, 2, 0]].forEach(([address, bytes, flags, next], k) => {
      memory.writeU32(TABLE + 16 * k, address!); memory.writeU32(TABLE + 16 * k + 8, bytes!); memory.writeU16(TABLE + 16 * k + 12, flags!); memory.writeU16(TABLE + 16 * k + 14, next!);
    });
    memory.writeU16(AVAIL + 2, 1);
    r.write(DISK_BAR + COMMON.DEVICE_STATUS, 0xf, 1);
    expect([r.chipset.disks[0]!.violation.count, memory.readU16(USED + 2)]).toEqual([0, 4]);
    r.write(DISK_BAR + VIRTIO_REGION.NOTIFY, 0, 2);
    expect([r.chipset.disks[0]!.violation.count, memory.readU16(USED + 2)]).toEqual([0, 8]);
  });

  it('unclaimed places are told apart up to a limit', () => {
    const r = new Rig();
    for (let port = 0x1000; port < 0x8000; port++) r.in8(port);
    expect(r.chipset.unclaimed.size).toBe(4097);
    expect(r.chipset.unclaimed.get('port elsewhere')).toBe(0x7000 - 4096);
  });

  it('more memory than the machine can have is refused by name', () => {
    expect(() => new Rig({ memoryMiB: 2048 })).toThrow(/^2048 MiB of memory: at most 2047 MiB with 1 CPU$/);
    expect(new Rig({ memoryMiB: 2047 }).in8(0x21)).toBe(0);
  });
});
