import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StateHasher } from '../../vm/hash.ts';
import { Checkpoint } from '../../vm/checkpoint.ts';
import { SnapshotError, Snapshots } from '../../vm/snapshot.ts';
import type { LinkConfig } from '../../vm/net/config.ts';
import { PROTOCOL } from '../../vm/net/frames.ts';
import { ADDRESS } from '../../vm/net/user/network.ts';
import { crc32 } from 'node:zlib';
import { insert } from '../../vm/net/user/ring.ts';
import { tcp, parse, type Seen, type TcpFields } from './driver.ts';
import { NetRig, Program, patternBytes } from './rig.ts';

const { guest, gateway } = ADDRESS;
const FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16;
const text = (s: string): Uint8Array => new TextEncoder().encode(s);

/** A hand-made end of one connection: segments out and in, in the words of the one who writes the script. */
class Script {
  readonly r: NetRig;
  readonly port: number;
  readonly peerPort: number;
  seq = 1000;
  peer = 0;
  constructor(r: NetRig, peerPort: number, port = 7777) { this.r = r; this.peerPort = peerPort; this.port = port; }
  /** Sends one segment at our position plus `at`; returns the answers. */
  send(fields: Omit<TcpFields, 'seq'> & { at?: number; seq?: number }, ns = 1e6): Seen[] {
    const { at = 0, ...rest } = fields;
    this.r.driver.send(tcp(this.r.driver.mac, guest, this.port, gateway, this.peerPort, { seq: (this.seq + at) >>> 0, ack: fields.flags & ACK ? this.peer : 0, ...rest }));
    return this.wait(ns);
  }
  wait(ns: number): Seen[] {
    this.r.rig.advance(ns);
    return this.r.driver.frames().map(parse).filter((seen) => seen.protocol === PROTOCOL.tcp);
  }
  /** Handshake without options but those given. */
  open(options: readonly number[] = [], window = 65535): Seen {
    const [synAck] = this.send({ flags: SYN, options, window });
    this.seq++;
    this.peer = (synAck.seq + 1) >>> 0;
    this.send({ flags: ACK, window });
    return synAck;
  }
}
function script(peerPort: number, link: LinkConfig = {}): Script { const r = new NetRig({ link }); r.hello(); return new Script(r, peerPort); }
const shape = (seen: Seen, s: Script): [number, number, number, number] => [seen.flags, (seen.seq - s.peer) >>> 0, (seen.ack - s.seq) >>> 0, seen.data.length];

describe('TCP toward the guest, segment by segment', () => {
  it('opens: options are answered only when asked for', () => {
    const s = script(7);
    const plain = s.open();
    expect([plain.flags, plain.ack, plain.window, [...plain.options]]).toEqual([SYN | ACK, 1001, 65535, [2, 4, 5, 180]]);
    const t = script(7);
    const full = t.open([2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7]);
    expect([full.options[4], full.options[6], full.options[16], full.options[17]]).toEqual([4, 8, 1, 3]);
    expect([...full.options.subarray(12, 16)]).toEqual([0, 0, 0, 9]); // our stamp comes back
  });

  it('refuses a closed port with a reset, and segments of no connection', () => {
    const s = script(81);
    const [rst] = s.send({ flags: SYN });
    expect([rst.flags, rst.seq, rst.ack]).toEqual([RST | ACK, 0, 1001]);
    const [stray] = s.send({ flags: ACK, ack: 0x1234_5678 });
    expect([stray.flags, stray.seq]).toEqual([RST, 0x1234_5678]);
    const [data] = s.send({ flags: FIN | PSH, data: text('abc') });
    expect([data.flags, data.ack]).toEqual([RST | ACK, 1004]);
    expect(s.send({ flags: RST })).toEqual([]);
  });

  it('acknowledges data and echoes it; a duplicate is acknowledged and not delivered again', () => {
    const s = script(7);
    s.open();
    const [reply] = s.send({ flags: ACK | PSH, data: text('hello') });
    s.seq += 5;
    expect(shape(reply, s)).toEqual([ACK | PSH, 0, 0, 5]);
    const [again] = s.send({ flags: ACK | PSH, at: -5, data: text('hello'), ack: s.peer + 5 });
    expect(shape(again, s)).toEqual([ACK, 5, 0, 0]);
  });

  it('keeps what is ahead of a hole, tells it by SACK, and delivers in order', () => {
    const s = script(7);
    s.open([2, 4, 5, 180, 4, 2, 1, 1]);
    const [hole] = s.send({ flags: ACK, at: 3, data: text('def') });
    expect(shape(hole, s)).toEqual([ACK, 0, 0, 0]);
    expect([...hole.options.subarray(2, 4)]).toEqual([5, 10]);
    const [more] = s.send({ flags: ACK, at: 9, data: text('jkl') });
    expect([...more.options.subarray(2, 4)]).toEqual([5, 18]);
    expect(more.options[4 + 3] - (s.seq & 255)).toBe(9); // the last one first
    const filled = s.send({ flags: ACK, data: text('abc') });
    expect(filled.map((seen) => String.fromCharCode(...seen.data)).join('')).toBe('abcdef');
    const rest = s.send({ flags: ACK, at: 6, data: text('ghi') });
    expect(rest.map((seen) => String.fromCharCode(...seen.data)).join('')).toBe('ghijkl');
  });

  it('closes: the guest first, then the far side; a FIN again is acknowledged again, a new SYN opens again', () => {
    const s = script(7);
    s.open();
    const [fin] = s.send({ flags: ACK | FIN });
    s.seq++;
    expect(shape(fin, s)).toEqual([FIN | ACK, 0, 0, 0]);
    s.peer++;
    expect(s.send({ flags: ACK })).toEqual([]);
    const [again] = s.send({ flags: ACK | FIN, at: -1 });
    expect(shape(again, s)).toEqual([ACK, 0, 0, 0]);
    s.seq += 1000;
    const [next] = s.send({ flags: SYN });
    expect(next.flags).toBe(SYN | ACK);
    const gone = script(7);
    gone.open();
    gone.send({ flags: ACK | FIN });
    gone.send({ flags: ACK, at: 1, ack: gone.peer + 1 });
    gone.wait(6e9);
    expect(gone.r.net.network!.tcp.connections.size).toBe(0); // TIME-WAIT is over
  });

  it('half-close: the far side goes on after the guest has ended', () => {
    const s = script(5001);
    s.open([2, 4, 5, 180]);
    const first = s.send({ flags: ACK | PSH | FIN, data: text('4000 1\n') });
    s.seq += 8;
    expect(first.every((seen) => (seen.ack - s.seq) >>> 0 === 0)).toBe(true);
    const got = first.flatMap((seen) => [...seen.data]);
    expect(got).toEqual([...patternBytes(4000, 1)]);
    expect(first.at(-1)!.flags & FIN).toBe(FIN);
  });

  it('RST: exact ends the connection, in the window is challenged, outside is ignored (RFC 5961)', () => {
    const s = script(7);
    s.open();
    expect(s.send({ flags: RST, at: -5 })).toEqual([]);
    const [challenge] = s.send({ flags: RST, at: 100 });
    expect(shape(challenge, s)).toEqual([ACK, 0, 0, 0]);
    const [syn] = s.send({ flags: SYN, at: 0 });
    expect(shape(syn, s)).toEqual([ACK, 0, 0, 0]);
    expect(s.r.net.network!.tcp.connections.size).toBe(1);
    expect(s.send({ flags: RST })).toEqual([]);
    expect(s.r.net.network!.tcp.connections.size).toBe(0);
  });

  it('sends again after the time-out, then twice as late', () => {
    const s = script(5001);
    s.open([2, 4, 5, 180]);
    const [first] = s.send({ flags: ACK, data: text('100\n') });
    s.seq += 4;
    expect(shape(first, s)).toEqual([ACK | PSH, 0, 0, 100]);
    expect(s.wait(800e6)).toEqual([]); // its FIN went with it; nothing new before the time-out
    const again = s.wait(500e6);
    expect(again.map((seen) => shape(seen, s))).toEqual([[ACK | PSH, 0, 0, 100], [FIN | ACK, 100, 0, 0]]);
    expect(s.wait(1600e6)).toEqual([]);
    expect(s.wait(200e6).map((seen) => seen.data.length)).toEqual([100, 0]);
  });

  it('gives up on a guest that is gone', () => {
    const s = script(5001);
    s.open([2, 4, 5, 180]);
    s.send({ flags: ACK, data: text('100\n') });
    s.wait(900e9);
    expect(s.r.net.network!.tcp.connections.size).toBe(0);
    expect(s.r.net.counters.get('guest is gone')).toBe(1);
  });

  it('fast retransmit: three duplicates bring the missing segment, and the window shrinks', () => {
    const s = script(5001);
    s.open([2, 4, 5, 180]);
    const first = s.send({ flags: ACK, data: text('100000\n') });
    s.seq += 7;
    const sent = first.filter((seen) => seen.data.length > 0);
    expect(sent.length).toBe(10); // the initial window (RFC 6928)
    s.send({ flags: ACK });
    s.send({ flags: ACK });
    const [third] = s.send({ flags: ACK });
    expect(shape(third, s)).toEqual([ACK, 0, 0, 1460]);
    expect(s.r.net.network!.tcp.retransmitted).toBe(1);
    const rest = s.send({ flags: ACK, ack: s.peer + 14_600 });
    expect(rest.length).toBeLessThanOrEqual(7); // half of ten, and a little
  });

  it('a retransmission that is lost goes again when three segments sent after it have come, without the time-out', () => {
    const s = script(5001);
    s.open([2, 4, 5, 180, 4, 2, 1, 1]);
    const sack = (from: number, to: number): number[] => [1, 1, 5, 10, ...[s.peer + from, s.peer + to].flatMap((n) => [n >>> 24 & 255, n >>> 16 & 255, n >>> 8 & 255, n & 255])];
    expect(s.send({ flags: ACK, data: text('100000\n') }).filter((seen) => seen.data.length > 0).length).toBe(10);
    s.seq += 7;
    expect(s.send({ flags: ACK, options: sack(1460, 4 * 1460) }).map((seen) => shape(seen, s)[1])).toEqual([0]);
    const fresh = s.send({ flags: ACK, options: sack(1460, 10 * 1460) });
    expect(fresh.map((seen) => shape(seen, s)[1])).toEqual([14_600, 16_060, 17_520, 18_980]);
    expect(s.send({ flags: ACK, options: sack(1460, 12 * 1460) }).map((seen) => shape(seen, s)[1])).toEqual([20_440, 21_900]);
    expect(s.send({ flags: ACK, options: sack(1460, 13 * 1460) }).map((seen) => shape(seen, s)[1])).toContain(0);
    expect(s.r.net.counters.get('retransmission lost') ?? 0).toBe(1);
  });

  it('a probe that was needless (D-SACK) brings nothing again', () => {
    const s = script(5001);
    s.open([2, 4, 5, 180, 4, 2, 1, 1]);
    s.send({ flags: ACK, data: text('3000\n') });
    s.seq += 5;
    s.peer += 1460;
    s.send({ flags: ACK });
    expect(s.wait(30e6).map((seen) => seen.data.length)).toEqual([0]); // the FIN is the tail
    const at = s.peer - 1460;
    expect(s.send({ flags: ACK, options: [1, 1, 5, 10, ...[at, s.peer].flatMap((n) => [n >>> 24 & 255, n >>> 16 & 255, n >>> 8 & 255, n & 255])] })).toEqual([]);
  });

  it('probes the tail after two round trips, and an answer without news brings everything again (RFC 8985)', () => {
    const s = script(5001);
    s.open([2, 4, 5, 180]);
    s.send({ flags: ACK, data: text('3000\n') });
    s.seq += 5;
    s.peer += 1460;
    s.send({ flags: ACK }); // a round trip is known now, 1,540 bytes and the FIN are in flight
    expect(s.wait(30e6).map((seen) => shape(seen, s))).toEqual([[FIN | ACK, 1540, 0, 0]]);
    expect(s.send({ flags: ACK }).map((seen) => shape(seen, s))).toEqual([[ACK, 0, 0, 1460], [ACK | PSH, 1460, 0, 80], [FIN | ACK, 1540, 0, 0]]);
  });

  it('a duplicate long after the last segment comes from a receiver that has lost what it had', () => {
    const s = script(5001);
    s.open([2, 4, 5, 180]);
    s.send({ flags: ACK, data: text('4000\n') });
    s.seq += 5;
    s.peer += 1460;
    s.send({ flags: ACK });
    s.wait(6e6);
    expect(s.send({ flags: ACK }).map((seen) => seen.data.length)).toEqual([1460, 1080, 0]);
  });

  it('a closed window stops it; probes keep asking, for as long as the guest answers', () => {
    const s = script(5001);
    s.open([2, 4, 5, 180], 1000);
    const got = s.send({ flags: ACK, data: text('3000\n'), window: 1000 });
    s.seq += 5;
    expect(got.map((seen) => seen.data.length).filter((n) => n > 0)).toEqual([1000]);
    s.peer += 1000;
    expect(s.send({ flags: ACK, window: 0 })).toEqual([]);
    let probes = 0;
    for (let k = 0; k < 400; k++) for (const probe of s.wait(2e9)) { expect(probe.data.length).toBe(1); probes++; s.send({ flags: ACK, window: 0 }); }
    expect(probes).toBeGreaterThan(10);
    const opened = s.send({ flags: ACK, window: 5000 });
    expect(opened.map((seen) => [seen.data.length, (seen.seq - s.peer) >>> 0])).toContainEqual([1460, 0]);
    expect(s.r.net.network!.tcp.connections.size).toBe(1);
  });

  it('never sends into a silly window', () => {
    const s = script(5001);
    s.open([2, 4, 5, 180], 3000);
    s.send({ flags: ACK, data: text('100000\n'), window: 3000 });
    s.seq += 7;
    s.peer += 1460;
    const got = s.send({ flags: ACK, window: 1560 });
    expect(got.every((seen) => seen.data.length === 0 || seen.data.length === 1460)).toBe(true);
  });

  it('refuses what lies beyond its window and an acknowledgement of what was never sent', () => {
    const s = script(7);
    s.open();
    const [beyond] = s.send({ flags: ACK, at: 70_000, data: text('x') });
    expect(shape(beyond, s)).toEqual([ACK, 0, 0, 0]);
    const [early] = s.send({ flags: ACK, ack: s.peer + 500, data: text('x') });
    expect(shape(early, s)).toEqual([ACK, 0, 0, 0]);
    expect([s.r.net.counters.get('segment beyond the window'), s.r.net.counters.get('ACK of what was not sent')]).toEqual([1, 1]);
  });

  it('old duplicates by their time stamp are refused (PAWS)', () => {
    const s = script(7);
    const stamp = (value: number): number[] => [1, 1, 8, 10, 0, 0, value >> 8, value & 255, 0, 0, 0, 0];
    s.open([2, 4, 5, 180, ...stamp(500)]);
    s.send({ flags: ACK, options: stamp(600), data: text('a') });
    s.seq++;
    const [old] = s.send({ flags: ACK, options: stamp(550), data: text('b') });
    expect(old.data.length).toBe(0);
    expect((old.ack - s.seq) >>> 0).toBe(0);
    expect(s.r.net.counters.get('old timestamp')).toBe(1);
  });
});

describe('TCP between two ends', () => {
  it('a guest that does not read stops the far side, and one that reads again gets all', () => {
    const r = new NetRig();
    r.hello();
    const program = new Program('3000000\n', false, false);
    program.stalled = true;
    program.start(r.stack.connect(gateway, 5001, 1000, program));
    r.run(30e9, 50e6);
    const [connection] = r.net.network!.tcp.connections.values();
    expect(connection.sndEnd).toBeLessThan(1e6); // the source was stopped
    expect(connection.sndWnd).toBe(0);
    program.stalled = false;
    program.readable();
    r.stack.tcp.settle();
    r.until(() => program.ended);
    expect([program.bytes, program.crc]).toEqual([3_000_000, crc32(patternBytes(3_000_000))]);
  });

  it('a far side that does not read stops the guest by its window', () => {
    const r = new NetRig();
    r.hello();
    const program = new Program(patternBytes(2_000_000), true, false);
    program.start(r.stack.connect(gateway, 7, 1000, program));
    program.stalled = true; // the echo has no room, so it stops reading
    r.run(5e9, 20e6);
    const [connection] = r.net.network!.tcp.connections.values();
    expect(connection.rcvNxt).toBeLessThan(1_500_000);
    expect(connection.available).toBeGreaterThan(0);
    program.stalled = false;
    program.readable();
    r.stack.tcp.settle();
    r.until(() => program.bytes === 2_000_000);
    expect(program.crc).toBe(crc32(patternBytes(2_000_000)));
  });

  it('1,000 connections at a time, all different, all right', () => {
    const r = new NetRig();
    r.hello();
    const programs = Array.from({ length: 1000 }, (_, k) => new Program(`${1000 + k} ${k}\n`));
    programs.forEach((program, k) => { program.start(r.stack.connect(gateway, 5001, 3000 + k, program)); if (k % 50 === 0) { r.rig.advance(20_000); r.stack.poll(); } });
    expect(r.net.network!.tcp.connections.size).toBeGreaterThan(500);
    r.until(() => programs.every(({ over, gone }) => over || gone));
    programs.forEach((program, k) => expect([k, program.gone, program.received.length, crc32(Uint8Array.from(program.received))]).toEqual([k, false, 1000 + k, crc32(patternBytes(1000 + k, k))]));
    r.run(20e9, 1e9);
    expect([r.net.network!.tcp.connections.size, r.stack.tcp.connections.size]).toEqual([0, 0]);
  });

  it('streams arrive whole both ways over a wire that loses, doubles, damages and reorders', () => {
    fc.assert(fc.property(
      fc.record({ loss: fc.double({ min: 0, max: 0.15, noNaN: true }), duplicate: fc.double({ min: 0, max: 0.1, noNaN: true }), corrupt: fc.double({ min: 0, max: 0.05, noNaN: true }), reorder: fc.double({ min: 0, max: 0.1, noNaN: true }), delayNs: fc.integer({ min: 1000, max: 20_000_000 }), jitterNs: fc.integer({ min: 0, max: 1_000_000 }), seed: fc.integer({ min: 1, max: 1e9 }) }),
      fc.integer({ min: 0, max: 150_000 }), fc.integer({ min: 0, max: 150_000 }),
      (link, down, up) => {
        const r = new NetRig({ link });
        for (let k = 0; k < 5; k++) r.hello();
        const a = new Program(`${down} 9\n`, false);
        const b = new Program(patternBytes(up, 4));
        a.start(r.stack.connect(gateway, 5001, 1000, a));
        b.start(r.stack.connect(gateway, 5002, 1001, b));
        r.until(() => (a.ended || a.gone) && (b.ended || b.gone), 3000e9);
        expect([a.gone, b.gone]).toEqual([false, false]);
        expect([a.bytes, a.crc]).toEqual([down, crc32(patternBytes(down, 9))]);
        expect(b.text).toBe(`${up} ${crc32(patternBytes(up, 4)).toString(16).padStart(8, '0')}\n`);
      },
    ), { numRuns: 25 });
  });

  it('under 1 % loss and 20 ms it comes near what the formula promises', () => {
    // Mathis et al. 1997: MSS / RTT * C / sqrt(p), C about 1.22 for an acknowledgement of every segment. Of a guest with timestamps: MSS 1448.
    let total = 0;
    for (let seed = 1; seed <= 3; seed++) {
      const r = new NetRig({ link: { loss: 0.01, delayNs: 10e6, seed } });
      for (let k = 0; k < 3; k++) r.hello();
      const program = new Program('3000000\n', false);
      const started = r.rig.now;
      program.start(r.stack.connect(gateway, 5001, 1000, program));
      r.until(() => program.ended);
      total += 3e6 / (r.rig.now - started) * 1e9;
    }
    const formula = 1448 / 0.02 * 1.22 / Math.sqrt(0.01);
    expect(total / 3).toBeGreaterThan(formula * 0.6);
    expect(total / 3).toBeLessThan(formula * 1.4);
  });
});

describe('the state of the peer is plain data', () => {
  /** The test's driver writes memory behind the dirty map's back. */
  const seen = (r: NetRig): void => r.rig.board.markDirty(0, r.rig.board.ramBytes);
  const parts = (r: NetRig): [StateHasher, Snapshots] => [new StateHasher(r.rig.board, r.rig.chipset.blocks.blocks, [], [r.net]), new Snapshots(r.rig.board, r.rig.chipset.blocks.blocks, [], [r.net])];
  /** A busy scene: frames in flight, holes, a half-open call, fragments, datagrams. */
  function scene(seed: number): NetRig {
    const r = new NetRig({ link: { loss: 0.05, reorder: 0.05, duplicate: 0.02, delayNs: 200_000, jitterNs: 50_000, seed }, calls: [{ port: 80, send: 'x', atNs: 2e6 }] });
    r.hello();
    const a = new Program('400000 3\n', false);
    const b = new Program(patternBytes(200_000, 8));
    a.start(r.stack.connect(gateway, 5001, 1000, a));
    b.start(r.stack.connect(gateway, 7, 1001, b));
    r.run(20e6);
    return r;
  }
  it('the same seed gives the same hash, another seed another', () => {
    const hash = (seed: number): string => { const r = scene(seed); seen(r); return parts(r)[0].compute(); };
    expect(hash(5)).toBe(hash(5));
    expect(hash(5)).not.toBe(hash(6));
  });

  it('save and load is the identity, and a machine goes on from a snapshot as if nothing had been', () => {
    const r = scene(7);
    const saved = r.net.save();
    r.net.load(saved);
    expect([...r.net.save()]).toEqual([...saved]);
    seen(r);
    const [hasher, snapshots] = parts(r);
    const at = r.rig.now;
    const snapshot = snapshots.take();
    snapshots.restore(snapshot); // the rig's CPU was never reset: its flags are put in order by this
    const before = hasher.compute();
    r.rig.advance(50e6);
    const after = hasher.compute();
    expect(after).not.toBe(before);
    for (let k = 0; k < 3; k++) {
      snapshots.restore(snapshot);
      r.rig.now = at;
      expect(hasher.compute()).toBe(before);
      r.rig.advance(50e6);
      expect(hasher.compute()).toBe(after);
    }
  });

  it('a checkpoint brings it back, and costs nothing while nothing happens', () => {
    const r = scene(8);
    seen(r);
    const checkpoint = new Checkpoint(r.rig.board, r.rig.chipset.blocks.blocks, [], [r.net]);
    const hasher = new StateHasher(r.rig.board, r.rig.chipset.blocks.blocks, [], [r.net]);
    const at = r.rig.now;
    checkpoint.take();
    const before = hasher.compute();
    r.rig.advance(5e6);
    const after = hasher.compute();
    checkpoint.restore();
    r.rig.now = at;
    expect(hasher.compute()).toBe(before);
    r.rig.advance(5e6);
    expect(hasher.compute()).toBe(after);
    let saves = 0;
    const save = r.net.save.bind(r.net);
    r.net.save = () => { saves++; return save(); };
    checkpoint.take();
    checkpoint.take();
    checkpoint.restore();
    expect(saves).toBe(1);
  });

  it('a scripted peer without save is named as the obstacle', () => {
    const r = new NetRig({ backend: { kind: 'scripted', peer: { frame: () => undefined } } });
    expect(() => parts(r)[1].take()).toThrow(SnapshotError);
  });

  it('an idle network arms nothing', () => {
    const r = new NetRig();
    expect(r.rig.chipset.events.armed().some(({ name }) => name === 'network')).toBe(false);
  });
});

describe('ranges', () => {
  it('stay ascending and disjoint whatever is added', () => {
    fc.assert(fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 1, max: 20 })), { maxLength: 30 }), (pieces) => {
      const ranges: number[] = [];
      const model = new Set<number>();
      for (const [from, length] of pieces) {
        const news = Array.from({ length }, (_, k) => from + k).some((n) => !model.has(n));
        expect(insert(ranges, from, from + length, 100)).toBe(news);
        for (let k = 0; k < length; k++) model.add(from + k);
      }
      const listed: number[] = [];
      for (let k = 0; k < ranges.length; k += 2) { for (let n = ranges[k]; n < ranges[k + 1]; n++) listed.push(n); if (k > 0) expect(ranges[k]).toBeGreaterThan(ranges[k - 1]); }
      expect(listed).toEqual([...model].sort((a, b) => a - b));
    }));
  });
});
