import { describe, expect, it } from 'vitest';
import { NET_CONTROL, NET_CONTROL_MAC, NET_CONTROL_RX, NET_FEATURE, NET_QUEUE, NET_STATUS } from '../../vm/devices/virtio-net.ts';
import { COMMON, VIRTIO_STATUS } from '../../vm/devices/virtio-pci.ts';
import type { ScriptedPeer, ScriptedWire } from '../../vm/net/config.ts';
import { PROTOCOL, get16 } from '../../vm/net/frames.ts';
import { ADDRESS } from '../../vm/net/user/network.ts';
import { GUEST_FEATURES, NicDriver, ethernet, parse, tcp } from './driver.ts';
import { NetRig } from './rig.ts';
import { Rig } from '../machine/rig.ts';

/** The other end of the wire: keeps what comes, sends what it is told to. */
class Recorder implements ScriptedPeer {
  readonly seen: Uint8Array[] = [];
  wire: ScriptedWire | undefined;
  frame(frame: Uint8Array, _now: number, wire: ScriptedWire): void { this.seen.push(frame); this.wire = wire; }
}
function recorded(features?: number, queue?: number): { r: NetRig; peer: Recorder; d: NicDriver; send: (frame: Uint8Array) => void } {
  const peer = new Recorder();
  const r = new NetRig({ backend: { kind: 'scripted', peer } }, features, queue);
  r.driver.send(ethernet(new Uint8Array(6).fill(0xff), r.driver.mac, 0x88b5, new Uint8Array(46)));
  r.rig.advance(1e6);
  peer.seen.length = 0;
  return { r, peer, d: r.driver, send: (frame) => { peer.wire!.send(frame); r.rig.advance(1e6); } };
}
const OTHER = Uint8Array.of(0x52, 0x55, 1, 2, 3, 4);
const bytes = (count: number, from = 0): Uint8Array => new Uint8Array(count).map((_, k) => from + k * 7);

describe('virtio-net', () => {
  it('shows itself as a modern virtio network device with MAC, MTU and link', () => {
    const { d } = recorded();
    expect(d.config(0)).toBe(0x1041_1af4);
    expect(d.config(8) >>> 8).toBe(0x020000);
    expect([...d.mac]).toEqual([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    expect(d.mtu).toBe(1500);
    expect(d.read(d.device + 6, 2)).toBe(NET_STATUS.LINK_UP);
    d.write(d.common + COMMON.DEVICE_FEATURE_SELECT, 4, 0);
    const offered = d.read(d.common + COMMON.DEVICE_FEATURE, 4);
    for (const bit of Object.values(NET_FEATURE)) expect(offered & bit).toBe(bit);
    expect(d.status).toBe(0xf);
  });

  it('finds room beside four disks, and the first disk is found before it', () => {
    const r = new Rig({ disks: [0, 1, 2, 3].map(() => ({ bytes: new Uint8Array(512) })), net: { backend: { kind: 'user' } } });
    const d = new NicDriver({ bus: r.chipset, ram: r.board.ram });
    expect(d.start()).toBe(0xf);
    expect(d.config(0x3c) & 0xff).toBe(16);
  });

  it('takes MAC and MTU from the configuration and refuses features it did not offer', () => {
    const r = new NetRig({ mac: Uint8Array.of(2, 0, 0, 0, 0, 9), mtu: 9000 });
    expect([[...r.driver.mac], r.driver.mtu]).toEqual([[2, 0, 0, 0, 0, 9], 9000]);
    expect(new NicDriver(r.driver.metal).start(GUEST_FEATURES | 1 << 11) & VIRTIO_STATUS.FEATURES_OK).toBe(0);
  });

  it('sends a frame scattered over odd descriptors as it is, and gives the chain back', () => {
    const { r, peer, d } = recorded();
    const frame = ethernet(OTHER, d.mac, 0x0800, bytes(200));
    const at = 0x3e_0000;
    d.metal.ram.fill(0, at, at + 12);
    d.metal.ram.set(frame, at + 12);
    d.descriptor(NET_QUEUE.TX, 0, at, 5, 1, 1);
    d.descriptor(NET_QUEUE.TX, 1, at + 5, 10, 1, 2);
    d.descriptor(NET_QUEUE.TX, 2, at + 15, 1, 1, 3);
    d.descriptor(NET_QUEUE.TX, 3, at + 16, frame.length - 4, 0);
    d.post(NET_QUEUE.TX, 0);
    d.kick(NET_QUEUE.TX);
    expect(d.used(NET_QUEUE.TX)).toEqual({ head: 0, bytes: 0 }); // the frame of `recorded`
    expect(d.used(NET_QUEUE.TX)).toEqual({ head: 0, bytes: 0 });
    r.rig.advance(1e6);
    expect(peer.seen.map((seen) => [...seen])).toEqual([[...frame]]);
  });

  it('completes a checksum that the guest left to it', () => {
    const { r, peer, d } = recorded();
    const frame = tcp(d.mac, ADDRESS.guest, 1000, ADDRESS.gateway, 80, { flags: 2, data: bytes(33) });
    const right = get16(frame, 34 + 16);
    frame[34 + 16] = frame[34 + 17] = 0;
    // Pseudo header sum into the field, as 5.1.6.2 wants it.
    const sum = (ADDRESS.guest >>> 16) + (ADDRESS.guest & 0xffff) + (ADDRESS.gateway >>> 16) + (ADDRESS.gateway & 0xffff) + PROTOCOL.tcp + 53;
    frame[34 + 16] = (sum >>> 8) + (sum >>> 24); frame[34 + 17] = sum + (sum >>> 16);
    d.send(frame, Uint8Array.of(1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0));
    r.rig.advance(1e6);
    expect(get16(peer.seen[0], 34 + 16)).toBe(right);
  });

  it('refuses frames that break the rules and counts them by reason, and goes on', () => {
    const { r, peer, d } = recorded();
    const good = ethernet(OTHER, d.mac, 0x0800, bytes(50));
    d.send(bytes(13));
    d.send(bytes(1519));
    d.send(good, Uint8Array.of(0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    d.send(good, Uint8Array.of(1, 0, 0, 0, 0, 0, 60, 0, 3, 0, 0, 0));
    d.send(good, Uint8Array.of(1, 0, 0, 0, 0, 0, 2, 0, 16, 0, 0, 0));
    d.send(good);
    r.rig.advance(1e6);
    expect(r.rig.chipset.nic!.counters.refused).toEqual({ short: 1, long: 1, segmentation: 1, checksum: 2 });
    expect(peer.seen.length).toBe(1);
    expect(d.status).toBe(0xf);
  });

  it('delivers a batch with one interrupt, until ISR is read', () => {
    const { r, peer, d } = recorded();
    r.rig.setLapic(0xf0, 0x1ff);
    r.rig.setIoapic(0x10 + 2 * 16, 0x8060);
    d.read(d.isr, 1);
    for (let k = 0; k < 5; k++) peer.wire!.send(ethernet(d.mac, OTHER, 0x0800, bytes(60, k)));
    r.rig.advance(1e6);
    expect(r.rig.acknowledge()).toBe(0x60);
    expect(d.read(d.isr, 1)).toBe(1);
    r.rig.setLapic(0xb0, 0);
    expect(r.rig.intr()).toBe(false);
    expect(d.frames().map((frame) => frame[14])).toEqual([0, 1, 2, 3, 4]);
  });

  it('merges buffers for a long frame and says how many', () => {
    const peer = new Recorder();
    const r = new NetRig({ backend: { kind: 'scripted', peer }, mtu: 9000 });
    r.driver.send(ethernet(OTHER, r.driver.mac, 0x88b5, bytes(46)));
    r.rig.advance(1e6);
    const long = ethernet(r.driver.mac, OTHER, 0x0800, bytes(8000));
    peer.wire!.send(long);
    peer.wire!.send(ethernet(r.driver.mac, OTHER, 0x0800, bytes(40)));
    r.rig.advance(1e6);
    const frames = r.driver.frames();
    expect(frames.map((frame) => frame.length)).toEqual([8014, 54]);
    expect([...frames[0]]).toEqual([...long]);
  });

  it('drops what no buffer can hold when buffers are not merged, and keeps what has to wait', () => {
    const peer = new Recorder();
    const r = new NetRig({ backend: { kind: 'scripted', peer }, mtu: 9000 }, GUEST_FEATURES & ~NET_FEATURE.MRG_RXBUF, 4);
    r.driver.send(ethernet(OTHER, r.driver.mac, 0x88b5, bytes(46)));
    r.rig.advance(1e6);
    peer.wire!.send(ethernet(r.driver.mac, OTHER, 0x0800, bytes(8000)));
    for (let k = 0; k < 6; k++) peer.wire!.send(ethernet(r.driver.mac, OTHER, 0x0800, bytes(40, k)));
    r.rig.advance(1e6);
    expect(r.rig.chipset.nic!.counters.dropped).toEqual({ 'no buffer is big enough': 1 });
    expect(r.driver.frames().map((frame) => frame[14])).toEqual([0, 1, 2, 3]);
    expect(r.driver.frames().map((frame) => frame[14])).toEqual([4, 5]); // handed over when buffers were posted
  });

  it('filters by address once the driver says so', () => {
    const { d, send } = recorded();
    const to = (mac: readonly number[]): void => send(ethernet(Uint8Array.from(mac), OTHER, 0x0800, bytes(46)));
    const count = (): number => d.frames().length;
    to([2, 0, 0, 0, 0, 1]);
    expect(count()).toBe(1); // promiscuous after reset
    expect(d.control([NET_CONTROL.RX, NET_CONTROL_RX.PROMISC, 0])).toBe(0);
    to([2, 0, 0, 0, 0, 1]);
    to([1, 0, 0x5e, 0, 0, 1]);
    expect(count()).toBe(0);
    to([...d.mac]);
    to([255, 255, 255, 255, 255, 255]);
    expect(count()).toBe(2);
    expect(d.control([NET_CONTROL.MAC, NET_CONTROL_MAC.TABLE_SET, 1, 0, 0, 0, 2, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 1])).toBe(0);
    to([2, 0, 0, 0, 0, 1]);
    to([1, 0, 0x5e, 0, 0, 1]);
    to([1, 0, 0x5e, 0, 0, 2]);
    expect(count()).toBe(2);
    expect(d.control([NET_CONTROL.RX, NET_CONTROL_RX.ALLMULTI, 1])).toBe(0);
    to([1, 0, 0x5e, 0, 0, 2]);
    expect(count()).toBe(1);
    expect(d.control([NET_CONTROL.MAC, NET_CONTROL_MAC.TABLE_SET, 0, 1, 0, 0])).toBe(1);
    expect(d.control([NET_CONTROL.RX, 9, 1])).toBe(1);
    expect(d.control([77, 1, 1])).toBe(1);
  });

  it('tells a change of the link by a configuration interrupt, and asks for an announcement when it is back', () => {
    const { r, d } = recorded(GUEST_FEATURES | NET_FEATURE.GUEST_ANNOUNCE);
    d.read(d.isr, 1);
    const generation = d.read(d.common + COMMON.CONFIG_GENERATION, 1);
    r.rig.chipset.nic!.setLink(false);
    expect(d.read(d.isr, 1)).toBe(2);
    expect(d.read(d.device + 6, 2)).toBe(0);
    expect(d.read(d.common + COMMON.CONFIG_GENERATION, 1)).not.toBe(generation);
    r.rig.chipset.nic!.setLink(true);
    expect(d.read(d.device + 6, 2)).toBe(NET_STATUS.LINK_UP | NET_STATUS.ANNOUNCE);
    expect(d.control([NET_CONTROL.ANNOUNCE, 0])).toBe(0);
    expect(d.read(d.device + 6, 2)).toBe(NET_STATUS.LINK_UP);
  });

  it('does no DMA after a reset, and works after the next start', () => {
    const { d, peer, r } = recorded();
    d.write(d.common + COMMON.DEVICE_STATUS, 1, 0);
    expect(d.status).toBe(0);
    const before = d.metal.ram.slice(0x20_0000, 0x3c_0000);
    peer.wire!.send(ethernet(d.mac, OTHER, 0x0800, bytes(60)));
    r.rig.advance(1e6);
    expect(d.metal.ram.subarray(0x20_0000, 0x3c_0000).every((byte, k) => byte === before[k])).toBe(true);
    expect(d.start()).toBe(0xf);
    expect(d.frames().length).toBe(1); // it waited for buffers
  });

  it('distrusts the rings: a violation stops it, a reset mends it', () => {
    const cases: [string, (d: NicDriver) => void][] = [
      ['descriptor index', (d) => { d.descriptor(NET_QUEUE.TX, 0, 0x3e_0000, 12, 1, 999); d.post(NET_QUEUE.TX, 0); }],
      ['descriptor loop', (d) => { d.descriptor(NET_QUEUE.TX, 0, 0x3e_0000, 12, 1, 0); d.post(NET_QUEUE.TX, 0); }],
      ['buffer outside RAM', (d) => { d.descriptor(NET_QUEUE.TX, 0, 0xffff_fff0, 64, 0); d.post(NET_QUEUE.TX, 0); }],
      ['buffer outside RAM', (d) => { d.descriptor(NET_QUEUE.TX, 0, 0x3e_0000, 0xffff_ffff, 0); d.post(NET_QUEUE.TX, 0); }],
      ['indirect descriptor', (d) => { d.descriptor(NET_QUEUE.TX, 0, 0x3e_0000, 64, 4); d.post(NET_QUEUE.TX, 0); }],
      ['buffer of the wrong direction', (d) => { d.descriptor(NET_QUEUE.TX, 0, 0x3e_0000, 64, 2); d.post(NET_QUEUE.TX, 0); }],
      ['request too short', (d) => { d.descriptor(NET_QUEUE.TX, 0, 0x3e_0000, 11, 0); d.post(NET_QUEUE.TX, 0); }],
      ['request too short', (d) => { d.control([1]); }],
      ['descriptor index', (d) => { d.post(NET_QUEUE.TX, 300); }],
    ];
    for (const [name, act] of cases) {
      const { r, d } = recorded();
      act(d);
      d.kick(NET_QUEUE.TX);
      const nic = r.rig.chipset.nic!;
      expect(nic.violation.name).toBe(name);
      expect(d.status & VIRTIO_STATUS.NEEDS_RESET).toBe(VIRTIO_STATUS.NEEDS_RESET);
      expect(d.read(d.isr, 1) & 2).toBe(2);
      expect(d.start()).toBe(0xf);
    }
    // Receive buffers are looked at when a frame comes.
    const { r, d, send } = recorded();
    for (let k = 0; k < 256; k++) d.descriptor(NET_QUEUE.RX, k, 0x34_0000, 2048, 0);
    send(ethernet(d.mac, OTHER, 0x0800, bytes(60)));
    expect(r.rig.chipset.nic!.violation.name).toBe('buffer of the wrong direction');
  });

  it('suppresses doorbells of the receive queue while nothing waits', () => {
    const { d, send } = recorded();
    send(ethernet(d.mac, OTHER, 0x0800, bytes(60)));
    d.frames();
    expect(d.halves[(0x20_0000 + 0x8000) >> 1] & 1).toBe(1);
    expect(parse(ethernet(d.mac, OTHER, 0x88b5, bytes(46))).type).toBe(0x88b5);
  });
});
