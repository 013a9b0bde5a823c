/**
 * Malformed and hostile packets (generator.ts): no trap, no object that stays, nothing written that is not the core's, each frame counted under exactly one name, each name
 * reached. The whole machine under the same attacks: test/net/hostile-system.test.ts.
 */
import { describe, expect, test } from 'vitest';
import { NET } from '../../servers/protocols/net.ts';
import { CLASSES, Generator, Observer, Random } from './generator.ts';
import { HostileWorld, TARGET } from './hostile-world.ts';
import { End, Pair, connect, transfer } from './pair.ts';
import * as P from './packet.ts';
import { Stack } from './stack.ts';

const FULL = process.env['KINTSUGI_FULL'] !== undefined;
const ME = P.mac('52:54:00:12:34:56'), PEER = P.mac('02:00:00:00:00:02'), ALL = P.mac('ff:ff:ff:ff:ff:ff');
const A = P.ip('10.0.2.15'), B = P.ip('10.0.2.2');

interface World { stack: Stack; iss: number; next: number }
async function world(options: Parameters<typeof Stack.start>[0] = {}): Promise<World> {
  const stack = await Stack.start({ sockets: 64, ...options });
  stack.input(P.ethernet(ALL, PEER, 0x806, P.arp(1, PEER, B, new Uint8Array(6), A)));
  stack.ok('socket', [1, 2, 1, 0]); stack.ok('bind', [1, stack.putAddress(0, '0.0.0.0', 80)]); stack.ok('listen', [1, 5]);
  stack.ok('socket', [2, 2, 2, 0]); stack.ok('bind', [2, stack.putAddress(0, '0.0.0.0', 7)]);
  stack.ok('socket', [3, 2, 3, 0]); stack.ok('bind', [3, stack.putAddress(0, '0.0.0.0', 500)]);
  stack.out.length = 0;
  const t = (f: Partial<P.TcpFields>): void => { stack.input(P.ethernet(ME, PEER, 0x800, P.ipv4({ protocol: 6, source: B, destination: A }, P.tcp(B, A, { sourcePort: 4000, destinationPort: 80, seq: 1, ack: 0, flags: P.ACK, window: 60000, ...f })))); };
  t({ seq: 1000, flags: P.SYN, options: Uint8Array.from([2, 4, 5, 0xb4, 4, 2, 3, 3, 7, 1]) });
  const iss = P.parse(stack.out[0]!).tcp!.seq;
  t({ seq: 1001, ack: iss + 1 >>> 0 });
  stack.ok('accept', [1, 10, 0xffffffff, 0]);
  stack.out.length = 0;
  return { stack, iss, next: 1001 };
}
describe('the generator', () => {
  test('each class reaches the counters that it is there for', async () => {
    let w = await HostileWorld.start(1, { sockets: 256 });
    for (const [n, c] of CLASSES.entries()) {
      if (n % 15 === 14) w = await HostileWorld.start(n, { sockets: 256 });
      w.advance(10e9);
      const before = w.stack.counters();
      for (let k = 0; k < 20; k++) { w.ensure(); w.attack(c); w.programs(k); }
      const after = w.stack.counters();
      expect(c.reaches.filter((name) => after[name] === before[name]), c.name).toEqual([]);
    }
  });
  test.each(FULL ? [1, 2, 3, 4, 5, 6] : [1, 2])('all classes, seed %i: each frame ends in one place, nothing stays, nothing else is written', { timeout: 600_000 }, async (seed) => {
    const w = await HostileWorld.start(seed, { sockets: 256 }), { stack } = w, { r } = w.g;
    stack.fence();
    const end = Date.now() + 60_000;
    for (let n = 0; FULL ? Date.now() < end : n < 4000; n++) {
      w.storm();
      if (n % 20 === 0) { w.ensure(); w.advance(r.below(2_000_000_000)); }
      w.programs(n);
      if (n % 1000 === 999) { expect(stack.fenceBroken(), `seed ${seed}, round ${n}`).toBeUndefined(); stack.kill(); stack.fence(); }
    }
    expect(w.finish()).toEqual({ ...w.clean, sockets: 0, reassemblies: 0, parked: 0, queries: 0 });
    expect(stack.fenceBroken()).toBeUndefined();
  });
  test.each(FULL ? [1, 2, 3, 4, 5, 6] : [1, 2])('blind attackers, seed %i: two streams go through all of it', { timeout: 600_000 }, async (seed) => {
    const pair = await Pair.start(seed, { loss: 3 }), blind = CLASSES.filter((c) => c.blind);
    const victim = pair.stacks[1], seen = new Observer(P.ip('10.0.0.2'));
    pair.stacks.forEach((s) => { const wire = s.onFrame!; s.onFrame = (f): void => { seen.see(f); wire(f); }; });
    const g = new Generator(seed, { mac: P.mac(victim.options.mac), ip: P.ip('10.0.0.2'), gatewayMac: P.mac(pair.stacks[0].options.mac), gateway: P.ip('10.0.0.1'), listens: [80], datagrams: [7], mtu: 1500 }, seen);
    pair.run(1, (s) => { s.ok('socket', [900, 2, 2, 0]); s.ok('bind', [900, s.putAddress(0, '0.0.0.0', 7)]); });
    connect(pair, 100, 80, 10, 50);
    const bytes = FULL ? 4_000_000 : 400_000, ends = [new End(pair, 0, 10, bytes, 1, 51, 0), new End(pair, 1, 50, bytes, 51, 1, 0)];
    const step = pair.step.bind(pair);
    let frames = 0;
    pair.step = (): boolean => {
      for (let n = g.r.below(5); n > 0; n--) pair.run(1, (s) => { for (const f of g.next(blind).frames) { s.push(f); frames++; } s.settle(); s.call('recvfrom', [900, 64, 700_000, 70000, 1]); });
      return step();
    };
    transfer(pair, ends, 1_000_000);
    expect(ends.map((e) => e.received)).toEqual([bytes, bytes]);
    expect(frames).toBeGreaterThan(1000);
    expect(victim.counters()['tcp_rst_in']).toBe(0);
  });
});

describe('hostile operations', () => {
  test.each(FULL ? Array.from({ length: 40 }, (_, n) => n + 1) : [1, 2, 3])('of a process that names sockets, positions and memory that are not its own, seed %i', { timeout: 600_000 }, async (seed) => {
    const stack = await Stack.start({ sockets: 64, seed }), r = new Random(seed);
    const clean = { packets: stack.objects('packets'), chunks: stack.objects('chunks'), pages: stack.objects('pages') };
    stack.fence();
    const refused = new Map<number, number>(), names = Object.keys(NET.ops).filter((name) => name !== 'configure' && name !== 'poll') as (keyof typeof NET.ops)[];
    const id = (): number => r.pick([r.below(8), r.below(8), r.below(8), r.below(8), r.next(), 0xffffffff]);
    const place = (): number => r.pick([0, 64, 4096, r.below(NET.dataBytes), NET.dataBytes - 24, NET.dataBytes - 23, NET.dataBytes, 0xffffffff, 0xfffffff0, r.next()]);
    const size = (): number => r.pick([0, 1, 24, 1000, 65535, 65536, NET.dataBytes, NET.dataBytes + 1, 0x7fffffff, 0xffffffff, r.below(5000)]);
    const some = (): number => r.pick([id, place, size, (): number => r.below(4), (): number => r.next()])();
    for (let n = 0; n < 20_000; n++) {
      if (r.chance(200)) stack.putAddress(r.pick([0, 64]), r.pick(['127.0.0.1', '0.0.0.0', '10.0.2.15', '10.0.2.2', '255.255.255.255', '224.0.0.1', '8.8.8.8']), r.pick([0, 7, 80, 80, 81, r.below(65536)]));
      if (r.chance(20)) stack.put(4096, r.bytes(300)); // names, lists, data
      const op = r.pick(names);
      const args = op === 'socket' ? [id(), r.pick([2, 2, 2, 10, r.next()]), r.pick([1, 1, 2, 2, 3, r.next()]), r.pick([0, 0, 0, 6, r.next()])]
        : ['send', 'recv'].includes(op) ? [id(), some(), place(), size(), r.below(8)] : ['sendto', 'recvfrom'].includes(op) ? [id(), place(), place(), size(), r.below(8)]
        : op === 'retain' && r.chance(900) ? [place(), 0xffffffff] : op === 'accept' ? [id(), id(), place(), r.below(2)] : [id(), some(), some(), some(), some(), some()];
      const p = stack.call(op, args);
      if (p.status === undefined) { if (stack.pending.size > 40 || r.chance(300)) stack.call('cancel', [p.entry]); }
      else if (p.status < 0) { if (p.status < -133) throw new Error(`${op}(${args.join(', ')}): ${p.status}`); refused.set(p.status, (refused.get(p.status) ?? 0) + 1); }
      if (n % 50 === 0) stack.advance(BigInt(r.below(1_000_000_000)));
      if (n % 500 === 499) { for (const waiting of [...stack.pending.keys()]) stack.call('cancel', [waiting]); expect(stack.objects('parked')).toBe(0); }
      if (n % 5000 === 4999) { expect(stack.fenceBroken(), `seed ${seed}, operation ${n}`).toBeUndefined(); stack.kill(); stack.fence(); }
      stack.out.length = 0;
    }
    expect([...refused.keys()].sort((a, b) => b - a)).toEqual(expect.arrayContaining([-9, -14, -22])); // EBADF, EFAULT, EINVAL
    for (const waiting of [...stack.pending.keys()]) stack.call('cancel', [waiting]);
    stack.ok('retain', [0, 0]); // nobody has any socket
    for (let n = 0; n < 3; n++) stack.advance(2_000_000_000_000n);
    expect({ packets: stack.objects('packets'), chunks: stack.objects('chunks'), pages: stack.objects('pages'), sockets: stack.objects('sockets'), parked: stack.objects('parked'), queries: stack.objects('queries') }).toEqual({ ...clean, sockets: 0, parked: 0, queries: 0 });
    expect(stack.fenceBroken()).toBeUndefined();
  });
});

describe('hostile packets', () => {
  test('a SYN flood: 64 half-open connections, then cookies; a real peer still gets through, also with its options', async () => {
    const w = await world({ sockets: 256 }), { stack } = w;
    stack.ok('listen', [1, 100]);
    const syn = (port: number, source = B, options = new Uint8Array(0)): void => stack.input(P.ethernet(ME, PEER, 0x800, P.ipv4({ protocol: 6, source, destination: A }, P.tcp(source, A, { sourcePort: port, destinationPort: 80, seq: 7000, ack: 0, flags: P.SYN, window: 60000, options }))));
    for (let n = 0; n < 2000; n++) syn(1024 + n);
    expect(stack.objects('sockets')).toBeLessThanOrEqual(64 + 4);
    expect(stack.counters()['cookies_sent']).toBe(2000 - 64);
    stack.out.length = 0;
    // With timestamps the options live in the stamp.
    syn(9000, B, Uint8Array.from([2, 4, 5, 0x78, 4, 2, 8, 10, 0, 0, 0, 50, 0, 0, 0, 0, 1, 3, 3, 7]));
    const p = P.parse(stack.out[0]!).tcp!;
    expect(p.flags).toBe(P.SYN | P.ACK);
    const stamp = P.get32(p.options, p.options.findIndex((x, i) => x === 8 && p.options[i + 1] === 10) + 2);
    const ackOptions = Uint8Array.from([1, 1, 8, 10, 0, 0, 0, 51, stamp >>> 24, stamp >>> 16 & 255, stamp >>> 8 & 255, stamp & 255]);
    const ack = (number: number): void => stack.input(P.ethernet(ME, PEER, 0x800, P.ipv4({ protocol: 6, source: B, destination: A }, P.tcp(B, A, { sourcePort: 9000, destinationPort: 80, seq: 7001, ack: number, flags: P.ACK | P.PSH, window: 500, options: ackOptions, payload: new TextEncoder().encode('cookie') }))));
    ack(p.seq + 2 >>> 0);
    expect(stack.counters()['cookies_bad']).toBe(1);
    stack.kill(); // cookies outlive the server that baked them
    ack(p.seq + 1 >>> 0);
    expect(stack.counters()['cookies_good']).toBe(1);
    stack.ok('accept', [1, 50, 64, 0]);
    expect(stack.getAddress(64)).toEqual({ address: '10.0.2.2', port: 9000 });
    expect(stack.ok('recv', [50, 0, 4096, 100, 1]).r0).toBe(6);
    stack.out.length = 0;
    stack.ok('send', [50, 0, 4096, 3000, 0]);
    expect(P.parse(stack.out[0]!).tcp!.payload.length).toBe(1400 - 12); // the MSS of the cookie's table, below 1400
    stack.advance(200_000_000_000n);
    expect(stack.objects('sockets')).toBeLessThan(8);
  });
  test('a cookie is good for three minutes and no longer', async () => {
    const w = await world({ sockets: 256 }), { stack } = w;
    stack.ok('listen', [1, 100]);
    const syn = (port: number): void => stack.input(P.ethernet(ME, PEER, 0x800, P.ipv4({ protocol: 6, source: B, destination: A }, P.tcp(B, A, { sourcePort: port, destinationPort: 80, seq: 7000, ack: 0, flags: P.SYN, window: 60000 }))));
    for (let n = 0; n < 64; n++) syn(1024 + n);
    stack.out.length = 0;
    syn(9000);
    const cookie = P.parse(stack.out[0]!).tcp!.seq;
    stack.advance(260_000_000_000n);
    stack.out.length = 0;
    stack.input(P.ethernet(ME, PEER, 0x800, P.ipv4({ protocol: 6, source: B, destination: A }, P.tcp(B, A, { sourcePort: 9000, destinationPort: 80, seq: 7001, ack: cookie + 1 >>> 0, flags: P.ACK, window: 500 }))));
    expect(stack.counters()['cookies_good']).toBe(0);
    expect(P.parse(stack.out.find((f) => P.get16(f, 12) === 0x800)!).tcp!.flags).toBe(P.RST);
  });
  test('blind attacks on a connection: resets, SYNs and data with guessed numbers do not end or change it', async () => {
    const w = await world(), { stack } = w, r = new Random(3);
    for (let n = 0; n < 3000; n++) {
      const seq = r.next();
      if ((seq - w.next >>> 0) < 70_000) continue; // a lucky guess is a different matter
      stack.input(P.ethernet(ME, PEER, 0x800, P.ipv4({ protocol: 6, source: B, destination: A }, P.tcp(B, A, { sourcePort: 4000, destinationPort: 80, seq, ack: r.next(), flags: [P.RST, P.SYN, P.ACK, P.RST | P.ACK, P.ACK | P.FIN][r.below(5)]!, window: 1000, payload: r.chance(300) ? new Uint8Array(100) : new Uint8Array(0) }))));
    }
    expect(stack.call('recv', [10, 0, 4096, 100, 1]).status).toBe(-11);
    stack.input(P.ethernet(ME, PEER, 0x800, P.ipv4({ protocol: 6, source: B, destination: A }, P.tcp(B, A, { sourcePort: 4000, destinationPort: 80, seq: w.next, ack: w.iss + 1 >>> 0, flags: P.ACK, window: 1000, payload: new TextEncoder().encode('honest') }))));
    expect(stack.ok('recv', [10, 0, 4096, 100, 1]).r0).toBe(6);
  });
  test('a SYN flood of 100,000: memory stays, and who is honest gets through all the time', async () => {
    const { stack } = await world({ sockets: 256 }), r = new Random(5);
    stack.ok('listen', [1, 100]);
    const tcp = (source: number, f: Partial<P.TcpFields>): void => stack.push(P.ethernet(ME, PEER, 0x800, P.ipv4({ protocol: 6, source, destination: A }, P.tcp(source, A, { sourcePort: 1 + r.below(65535), destinationPort: 80, seq: r.next(), ack: 0, flags: P.SYN, window: 60000, ...f }))));
    const sockets: number[] = [], pages = stack.objects('pages'), packets = stack.objects('packets');
    for (let n = 0; n < 100; n++) {
      for (let k = 0; k < 1000; k++) { tcp(P.ip('198.18.0.0') + r.below(65536), { options: Uint8Array.of(2, 4, 5, 180) }); if (k % 50 === 49) { stack.settle(); stack.out.length = 0; } }
      tcp(B, { sourcePort: 5000 + n, seq: 1, options: Uint8Array.of(2, 4, 5, 180) });
      stack.settle();
      const cookie = stack.out.map((f) => P.parse(f).tcp).find((t) => t?.destinationPort === 5000 + n)!.seq;
      tcp(B, { sourcePort: 5000 + n, seq: 2, ack: cookie + 1 >>> 0, flags: P.ACK | P.PSH, payload: new TextEncoder().encode(`honest ${n}`) });
      stack.settle();
      stack.ok('accept', [1, 100 + n, 0xffffffff, 1]);
      expect(new TextDecoder().decode(stack.get(4096, stack.ok('recv', [100 + n, 0, 4096, 100, 1]).r0))).toBe(`honest ${n}`);
      stack.ok('option', [100 + n, NET.option.linger, 0, 1]);
      stack.ok('close', [100 + n]);
      stack.advance(10_000_000n);
      stack.out.length = 0;
      sockets.push(stack.objects('sockets'));
    }
    expect(Math.max(...sockets)).toBeLessThanOrEqual(64 + 4);
    expect({ pages: stack.objects('pages'), packets: stack.objects('packets') }).toEqual({ pages, packets });
    expect(stack.counters()).toMatchObject({ tcp_syns: 100_101, cookies_good: 100 });
  });
  test('the gateway stays who it is under 20,000 claims, also when the table of neighbours is flooded between them', async () => {
    const w = await HostileWorld.start(6), { stack } = w, { r } = w.g, spoof = CLASSES.filter((c) => c.name.startsWith('ARP: somebody else') || c.name.startsWith('ARP: the table'));
    const echo = P.ethernet(ME, PEER, 0x800, P.ipv4({ protocol: 1, source: B, destination: A }, P.icmp(8, 0, 7, new Uint8Array(8))));
    const heard: string[] = [], before = stack.onFrame!;
    stack.onFrame = (f): void => { before(f); if (P.get16(f, 12) === 0x800 && f[23] === 1) heard.push(P.macText(f.subarray(0, 6))); };
    for (let claims = 0; claims < 20_000; claims = w.count('arp_spoof')) { w.attack(r.chance(20) ? spoof[1]! : spoof[0]!); if (r.chance(100)) { stack.push(echo); w.settle(); } if (r.chance(10)) w.advance(3e9); }
    expect(new Set(heard)).toEqual(new Set([P.macText(PEER)]));
    expect(heard.length).toBeGreaterThan(500);
  });
  test('blind segments in the window: five challenges a second and no more', async () => {
    const w = await HostileWorld.start(7), names = ['reset', 'SYN', 'data with an acknowledgement out of range'];
    const classes = CLASSES.filter((c) => names.some((name) => c.name === `blind, in the window: ${name}`));
    expect(classes.length).toBe(3);
    for (let n = 0; n < 1000; n++) { w.attack(w.g.r.pick(classes)); w.advance(1e7); }
    expect(w.count('tcp_challenges')).toBeGreaterThan(40);
    expect(w.count('tcp_challenges')).toBeLessThanOrEqual(55); // in ten seconds
    expect(w.count('tcp_challenges_held')).toBeGreaterThan(1000);
    expect(w.count('tcp_rst_in')).toBe(0);
  });
  test('path MTU attacks: guessed ones change nothing, known ones cost no more than segments of 512 bytes', async () => {
    const w = await HostileWorld.start(8), sizes: number[] = [], before = w.stack.onFrame!;
    w.stack.onFrame = (f): void => { before(f); const t = P.parse(f).tcp; if (t !== undefined && t.payload.length > 0) sizes.push(t.payload.length); };
    const again = (): number => { sizes.length = 0; w.advance(60e9); return Math.min(...sizes); };
    for (let n = 0; n < 500; n++) w.attack(CLASSES.find((c) => c.name === 'ICMP: errors about a connection, its numbers guessed')!);
    expect(again()).toBeGreaterThan(540); // the end of 2000 bytes in segments of 1460
    for (let n = 0; n < 500; n++) w.attack(CLASSES.find((c) => c.name === 'ICMP: the path of a connection is tiny')!);
    const least = again();
    expect(least).toBeLessThanOrEqual(512);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(512);
    expect(sizes.filter((n) => n < 400).length).toBeLessThanOrEqual(1); // the last piece
    expect(w.seen.connections().some((c) => c.open)).toBe(true);
  });
  test('the host gives back frames that are none of ours', async () => {
    const { stack } = await world();
    for (const frame of [0, 1, 0xffffffff, 32 << 20, (32 << 20) + 18, (32 << 20) + 2048 * 200 + 18]) stack.sent(frame);
    stack.settle();
    expect(stack.counters()['frame_transmitted_wrong']).toBe(6);
    expect(stack.objects('packets')).toBe(stack.options.packets);
  });
});
