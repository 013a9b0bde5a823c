/**
 * A hostile guest: its driver misuses registers and rings of the card, its stack sends what no stack sends. Nothing is thrown out of the machine, everything has a name,
 * and after a reset (for the card) or some time (for the gateway) all is as before.
 */
import { describe, expect, it } from 'vitest';
import { NET_QUEUE } from '../../vm/devices/virtio-net.ts';
import { COMMON } from '../../vm/devices/virtio-pci.ts';
import { ADDRESS } from '../../vm/net/user/network.ts';
import { CLASSES, Generator, Observer, Random } from '../net/generator.ts';
import { GATEWAY_MAC, NicDriver, arp, echo, parse } from './driver.ts';
import { NetRig, Program, patternBytes } from './rig.ts';

const FULL = process.env['KINTSUGI_FULL'] !== undefined;
const SEEDS = FULL ? Array.from({ length: 40 }, (_, n) => n + 1) : [1, 2, 3];
const { guest, gateway } = ADDRESS;
/** The same card under a driver that behaves: the gateway answers. */
function works(r: NetRig): void {
  const d = new NicDriver(r.driver.metal);
  expect(d.start()).toBe(0xf);
  d.send(arp(1, d.mac, guest, gateway));
  r.rig.advance(1e6);
  d.frames();
  d.send(echo(d.mac, guest, gateway, 3, patternBytes(100)));
  r.rig.advance(1e6);
  expect(d.frames().map(parse).map((p) => [p.flags, p.source, p.data.length])).toEqual([[0, gateway, 100]]);
}

describe('the card', () => {
  it.each(SEEDS)('registers at random, seed %i', (seed) => {
    const x = new Random(seed), r = new NetRig(), { driver } = r, bar = driver.common & ~0xffff;
    const value = (): number => x.pick([0, 1, 2, 3, 0xf, 0x80, 0xff, 0xffff, 0xffff_ffff, 0x8000_0000, 255, 256, 257, x.next(), x.below(65536), x.below(16 << 20)]);
    for (let n = 0; n < 20_000; n++) {
      const size = x.pick([1, 2, 4] as const), offset = x.chance(700) ? x.below(0x40) : x.below(0x10000);
      switch (x.below(5)) {
        case 0: driver.read(bar + offset, size); break;
        case 1: driver.setConfig(x.below(256), x.next()); driver.setConfig(4, x.pick([2, 6, 6, 0x406])); driver.setConfig(0x10 + 4 * 4, bar); break;
        case 2: driver.write(driver.notify + 4 * x.below(6), 2, x.below(4)); break;
        default: driver.write(bar + offset, size, value());
      }
      if (n % 500 === 0) { r.rig.advance(1e6); driver.setConfig(4, 6); driver.start(); r.stack.poll(); }
    }
    driver.setConfig(4, 6);
    works(r);
  });
  it.each(SEEDS)('rings and descriptors at random, seed %i', (seed) => {
    const x = new Random(seed), r = new NetRig();
    const { ram } = r.driver.metal, seen = new Set<string>();
    for (let n = 0; n < 600; n++) {
      const d = new NicDriver(r.driver.metal, x.pick([4, 16, 256]));
      expect(d.start()).toBe(0xf);
      d.send(arp(1, d.mac, guest, gateway));
      const address = (): number => x.pick([0, 1, 0x24_0000, 0x34_0000, ram.length - 1, ram.length, ram.length - 100, 0xffff_fff0, 0x20_0000 + x.below(0x3_0000), x.next()]);
      const length = (): number => x.pick([0, 1, 11, 12, 13, 26, 60, 1526, 2048, 65535, 0x7fff_ffff, 0xffff_ffff, 1 << 20, x.below(3000)]);
      for (let k = x.below(30); k > 0; k--) {
        const q = x.below(3);
        switch (x.below(8)) {
          case 0: case 1: case 2: d.descriptor(q, x.below(d.size), address(), length(), x.pick([0, 0, 1, 1, 2, 2, 3, 4, 7, 0xffff]), x.below(x.chance(900) ? d.size : 65536)); break;
          case 3: d.words[(0x20_0000 + q * 0x1_0000 + 16 * x.below(d.size)) / 4 + 1] = x.chance(100) ? 1 : 0; break; // beyond 4 GiB
          case 4: d.halves[(0x20_0000 + q * 0x1_0000 + 0x4000) / 2 + x.below(3 + d.size)] = x.pick([0, 1, 2, d.size, d.size + 1, 65535, x.below(65536)]); break; // flags, index, heads
          case 5: ram[0x20_0000 + x.below(0x3_0000)] = x.below(256); break;
          case 6: d.post(q, x.below(x.chance(900) ? d.size : 65536)); break;
          default: d.write(d.notify + 4 * q, 2, q);
        }
      }
      for (const q of [NET_QUEUE.RX, NET_QUEUE.TX, NET_QUEUE.CONTROL]) d.write(d.notify + 4 * q, 2, q);
      r.rig.advance(2e6);
      const { violation } = r.rig.chipset.nic as unknown as { violation: { name: string } };
      seen.add(violation.name);
    }
    expect([...seen].sort()).toEqual(expect.arrayContaining(['avail index ran ahead', 'buffer of the wrong direction', 'buffer outside RAM', 'descriptor index', 'descriptor loop', 'indirect descriptor', 'request too short']));
    works(r);
  });
  it('queues that lie over each other, over themselves and outside of memory', () => {
    const x = new Random(9), r = new NetRig();
    for (let n = 0; n < 500; n++) {
      const d = new NicDriver(r.driver.metal, 16);
      d.start();
      d.write(d.common + COMMON.DEVICE_STATUS, 1, 0);
      for (const status of [1, 3]) d.write(d.common + COMMON.DEVICE_STATUS, 1, status);
      d.write(d.common + COMMON.DRIVER_FEATURE_SELECT, 4, 1); d.write(d.common + COMMON.DRIVER_FEATURE, 4, 1);
      d.write(d.common + COMMON.DEVICE_STATUS, 1, 0xb);
      const spot = 0x20_0000 + 16 * x.below(8), places = [spot, spot + 2, spot + 4, spot + 16, 0x20_0000, 0xff_fff0, 0xffff_fff0, 0];
      for (let q = 0; q < 3; q++) {
        d.write(d.common + COMMON.QUEUE_SELECT, 2, q);
        d.write(d.common + COMMON.QUEUE_SIZE, 2, x.pick([1, 2, 16, 256]));
        for (const field of [COMMON.QUEUE_DESC, COMMON.QUEUE_DRIVER, COMMON.QUEUE_DEVICE]) d.write(d.common + field, 4, x.pick(places));
        d.write(d.common + COMMON.QUEUE_ENABLE, 2, 1);
      }
      for (let at = 0; at < 4096; at += 2) d.halves[(0x20_0000 + at) / 2] = x.pick([0, 0, 1, 2, 3, 16, 0x20, 60, x.below(65536)]);
      d.write(d.common + COMMON.DEVICE_STATUS, 1, 0xf);
      for (let k = 0; k < 9; k++) { d.write(d.notify + 4 * (k % 3), 2, k % 3); d.halves[0x10_0000 + x.below(64)] = x.below(20); }
      r.rig.advance(1e6);
    }
    works(r);
  });
});

describe('the gateway', () => {
  const hostile = (seed: number, r: NetRig): { attack: (classes: typeof CLASSES, k: number) => number } => {
    const seen = new Observer(gateway), x = new Random(seed + 100);
    const g = new Generator(seed, { mac: GATEWAY_MAC, ip: gateway, gatewayMac: r.driver.mac, gateway: guest, listens: [7, 9, 19, 80, 5001, 5002], datagrams: [7, 9, 53], mtu: 1500 }, seen);
    r.net.intercept = (toGuest, _, frame) => { if (toGuest && frame[12] === 8 && frame[13] === 0) seen.see(frame); return undefined; };
    return {
      attack: (classes, count) => {
        let frames = 0;
        for (let n = 0; n < count; n++) for (const f of g.next(classes).frames) {
          if (f.length > 2000) continue;
          frames++;
          if (r.driver.txBuffer() < 0) { r.rig.advance(1e5); r.driver.frames(); }
          r.driver.send(f, x.chance(50) ? Uint8Array.of(1, 0, 0, 0, 0, 0, x.below(100), 0, x.below(30), 0, 0, 0) : undefined);
        }
        return frames;
      },
    };
  };
  it.each(SEEDS)('anything from the guest, seed %i: nothing thrown, nothing stays', (seed) => {
    const r = new NetRig();
    r.hello();
    const { attack } = hostile(seed, r), network = r.net.network!;
    for (let n = 0; n < (FULL ? 3000 : 500); n++) {
      attack(CLASSES, 3);
      r.rig.advance(n % 50 === 0 ? 1e9 : 1e5);
      r.driver.frames();
    }
    expect(r.driver.status).toBe(0xf);
    expect(network.counters.size).toBeGreaterThan(30);
    expect(network.tcp.connections.size).toBeLessThanOrEqual(4096);
    expect(network.flows.size).toBeLessThanOrEqual(512);
    r.rig.advance(3600e9);
    r.driver.frames();
    expect([network.tcp.connections.size, network.flows.size]).toEqual([0, 0]);
    works(r);
  });
  it.each(SEEDS)('a stream of the guest goes through while somebody in the guest guesses, seed %i', (seed) => {
    const r = new NetRig({ link: { bytesPerSecond: 4_000_000, loss: 0.002 } });
    r.hello();
    const { attack } = hostile(seed, r), sent = patternBytes(FULL ? 3_000_000 : 300_000, seed), program = new Program(sent);
    program.start(r.stack.connect(gateway, 7, 4321, program));
    // Those that speak for the guest's address in ARP are the guest to this gateway: it has no other.
    const blind = CLASSES.filter((c) => c.blind && !c.name.startsWith('ARP'));
    let frames = 0;
    for (let n = 0; n < 200_000 && !program.ended; n++) { if (n % 8 === 0) frames += attack(blind, 1); r.run(100_000); }
    expect([program.ended, program.gone, program.received.length]).toEqual([true, false, sent.length]);
    expect(Buffer.from(program.received).equals(Buffer.from(sent))).toBe(true);
    expect(frames).toBeGreaterThan(500);
  });
});
