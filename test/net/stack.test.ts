import { beforeEach, describe, expect, test } from 'vitest';
import { NET } from '../../servers/protocols/net.ts';
import * as P from './packet.ts';
import { Stack } from './stack.ts';

const ME = P.mac('52:54:00:12:34:56'), PEER = P.mac('02:00:00:00:00:02'), EVIL = P.mac('02:00:00:00:00:66'), ALL = P.mac('ff:ff:ff:ff:ff:ff'), ZERO = new Uint8Array(6);
const A = P.ip('10.0.2.15'), B = P.ip('10.0.2.2'), C = P.ip('10.0.2.99'), D = P.ip('8.8.8.8');
const text = (s: string): Uint8Array => new TextEncoder().encode(s);
const MS = 1_000_000n, S = 1_000_000_000n;
let stack: Stack;
const take = (): P.Parsed[] => stack.out.splice(0).map((f) => P.parse(f));
const fromPeer = (protocol: number, payload: Uint8Array, more: Partial<P.IpFields> = {}): Uint8Array => P.ethernet(ME, PEER, 0x800, P.ipv4({ protocol, source: B, destination: A, ...more }, payload));
const arpText = (p: P.Parsed): string => `${P.get16(p.payload, 6) === 1 ? 'who has' : 'reply'} ${P.ipText(P.get32(p.payload, 24))} to ${P.macText(p.to)}`;
const meet = (): void => { stack.input(P.ethernet(ALL, PEER, 0x806, P.arp(1, PEER, B, ZERO, A))); stack.out.length = 0; };
const udpSocket = (id: number, port = 0): number => { stack.ok('socket', [id, 2, 2, 0]); return stack.ok('bind', [id, stack.putAddress(0, '0.0.0.0', port)]).r0; };
const sendTo = (id: number, to: string, port: number, bytes: Uint8Array, flags = 1): number => { const p = stack.call('sendto', [id, stack.putAddress(0, to, port), stack.put(4096, bytes), bytes.length, flags]); return p.status === 0 ? p.r0 : p.status ?? -1000; };
const receive = (id: number): { bytes: Uint8Array; from: string; port: number } | number => {
  const p = stack.call('recvfrom', [id, 64, 4096, 70000, 1]);
  if (p.status !== 0) return p.status ?? -1000;
  const a = stack.getAddress(64);
  return { bytes: stack.get(4096, p.r0), from: a.address, port: a.port };
};
beforeEach(async () => { stack = await Stack.start(); });

describe('ARP', () => {
  test('a request for us is answered, others are not', () => {
    stack.input(P.ethernet(ALL, PEER, 0x806, P.arp(1, PEER, B, ZERO, A)));
    expect(take().map(arpText)).toEqual(['reply 10.0.2.2 to 02:00:00:00:00:02']);
    stack.input(P.ethernet(ALL, PEER, 0x806, P.arp(1, PEER, B, ZERO, C)));
    expect(take()).toEqual([]);
  });
  test('packets wait for the neighbour: three at most; they go when it answers', () => {
    udpSocket(1, 1000);
    for (let n = 0; n < 5; n++) expect(sendTo(1, '10.0.2.2', 7, text(`${n}`))).toBe(1);
    expect(take().map(arpText)).toEqual(['who has 10.0.2.2 to ff:ff:ff:ff:ff:ff']);
    stack.input(P.ethernet(ME, PEER, 0x806, P.arp(2, PEER, B, ME, A)));
    expect(take().map((p) => String.fromCharCode(...p.udp!.payload))).toEqual(['2', '3', '4']);
    expect(stack.counters()['arp_pending_dropped']).toBe(2);
  });
  test('asked three times, a second apart; then the packets are dropped and a connected socket hears EHOSTUNREACH', () => {
    udpSocket(1, 1000);
    stack.ok('connect', [1, stack.putAddress(0, '10.0.2.9', 7), 0]);
    sendTo(1, '10.0.2.9', 7, text('x'));
    expect(take().length).toBe(1);
    stack.advance(S);
    expect(take().length).toBe(1);
    stack.advance(S);
    expect(take().length).toBe(1);
    stack.advance(S);
    expect(take()).toEqual([]);
    expect(stack.counters()['arp_timeout']).toBe(1);
    expect(receive(1)).toBe(-113);
    expect(stack.objects('packets')).toBe(stack.options.packets);
  });
  test('a known gateway is not replaced by what nobody asked; it is asked, and keeps its place if it answers', () => {
    meet();
    udpSocket(1, 1000);
    stack.input(P.ethernet(ME, EVIL, 0x806, P.arp(2, EVIL, B, ME, A)));
    expect(take().map(arpText)).toEqual(['who has 10.0.2.2 to 02:00:00:00:00:02']);
    sendTo(1, '8.8.8.8', 7, text('x'));
    expect(take().map((p) => P.macText(p.to))).toEqual(['02:00:00:00:00:02']);
    stack.input(P.ethernet(ME, PEER, 0x806, P.arp(2, PEER, B, ME, A)));
    stack.input(P.ethernet(ALL, EVIL, 0x806, P.arp(1, EVIL, B, ZERO, A)));
    stack.input(P.ethernet(ALL, EVIL, 0x806, P.arp(1, EVIL, B, ZERO, B)));
    stack.out.length = 0;
    sendTo(1, '8.8.8.8', 7, text('y'));
    expect(take().filter((p) => p.udp !== undefined).map((p) => P.macText(p.to))).toEqual(['02:00:00:00:00:02']);
    expect(stack.counters()['arp_spoof']).toBe(3);
  });
  test('a neighbour that went silent under doubt is forgotten and asked for anew', () => {
    meet();
    udpSocket(1, 1000);
    stack.input(P.ethernet(ME, EVIL, 0x806, P.arp(2, EVIL, B, ME, A)));
    stack.advance(5n * S);
    stack.out.length = 0;
    sendTo(1, '10.0.2.2', 7, text('x'));
    expect(take().map(arpText)).toEqual(['who has 10.0.2.2 to ff:ff:ff:ff:ff:ff']);
  });
  test('replies to nothing, sources that lie and malformed messages are counted', () => {
    stack.input(P.ethernet(ME, PEER, 0x806, P.arp(2, PEER, C, ME, A)));
    stack.input(P.ethernet(ME, PEER, 0x806, P.arp(2, EVIL, C, ME, A)));
    stack.input(P.ethernet(ME, PEER, 0x806, P.arp(2, PEER, P.ip('1.2.3.4'), ME, A)));
    stack.input(P.ethernet(ME, PEER, 0x806, P.arp(2, PEER, A, ME, A)));
    stack.input(P.ethernet(ME, PEER, 0x806, P.arp(7, PEER, C, ME, A)));
    stack.input(P.ethernet(ME, PEER, 0x806, P.arp(1, PEER, C, ME, A).slice(0, 27)));
    expect(stack.counters()).toMatchObject({ arp_not_asked: 1, arp_source: 2, arp_conflict: 1, arp_format: 1, arp_short: 1 });
    expect(take()).toEqual([]);
  });
  test('neighbours survive death', () => {
    meet();
    stack.kill();
    udpSocket(1, 1000);
    sendTo(1, '10.0.2.2', 7, text('x'));
    expect(take().some((p) => p.udp !== undefined && P.macText(p.to) === '02:00:00:00:00:02')).toBe(true);
  });
  test('an old neighbour is asked by unicast while it is used', () => {
    meet();
    udpSocket(1, 1000);
    stack.advance(61n * S);
    sendTo(1, '10.0.2.2', 7, text('x'));
    expect(take().map((p) => (p.udp !== undefined ? 'udp' : arpText(p)))).toEqual(['who has 10.0.2.2 to 02:00:00:00:00:02', 'udp']);
  });
});

describe('IPv4 and ICMP', () => {
  beforeEach(meet);
  const udpTo = (port: number, bytes: Uint8Array): Uint8Array => P.udp(B, A, 5000, port, bytes);
  test('echo', () => {
    stack.input(fromPeer(1, P.icmp(8, 0, 0x12340001, text('ping'))));
    const [p] = take();
    expect([p!.icmp!.type, p!.icmp!.rest, new TextDecoder().decode(p!.icmp!.payload)]).toEqual([0, 0x12340001, 'ping']);
  });
  test('no echo for broadcasts', () => {
    stack.input(P.ethernet(ALL, PEER, 0x800, P.ipv4({ protocol: 1, source: B, destination: 0xffffffff }, P.icmp(8, 0, 1, text('x')))));
    expect(take()).toEqual([]);
    expect(stack.counters()['icmp_echo_many']).toBe(1);
  });
  test('nobody on the port: port unreachable, with the head of the datagram; nobody for the protocol: protocol unreachable', () => {
    stack.input(fromPeer(17, udpTo(9, text('x'))));
    const [p] = take();
    expect([p!.icmp!.type, p!.icmp!.code]).toEqual([3, 3]);
    expect(P.get32(p!.icmp!.payload, 16)).toBe(A);
    stack.input(fromPeer(99, text('what')));
    expect(take().map((q) => [q.icmp!.type, q.icmp!.code])).toEqual([[3, 2]]);
  });
  test('errors are limited: twenty at once, then one in 10 ms', () => {
    for (let n = 0; n < 50; n++) stack.input(fromPeer(17, udpTo(9, text('x'))));
    expect(take().length).toBe(20);
    stack.advance(50n * MS);
    for (let n = 0; n < 50; n++) stack.input(fromPeer(17, udpTo(9, text('x'))));
    expect(take().length).toBe(5);
    expect(stack.counters()['icmp_limited']).toBe(75);
  });
  test('fragments in any order are put together; repetitions do no harm', () => {
    udpSocket(1, 7);
    const bytes = Uint8Array.from({ length: 3000 }, (_, i) => i * 13 & 255), datagram = udpTo(7, bytes);
    const piece = (from: number, to: number): Uint8Array => fromPeer(17, datagram.slice(from, to), { id: 77, fragment: (to < datagram.length ? 0x2000 : 0) | from >> 3 });
    stack.input(piece(2400, datagram.length)); stack.input(piece(0, 800)); stack.input(piece(0, 800)); stack.input(piece(1600, 2400));
    expect(receive(1)).toBe(-11);
    stack.input(piece(800, 1600));
    expect(receive(1)).toEqual({ bytes, from: '10.0.2.2', port: 5000 });
    expect(stack.objects('reassemblies')).toBe(0);
  });
  test('overlapping fragments spoil the datagram', () => {
    udpSocket(1, 7);
    const datagram = udpTo(7, new Uint8Array(1000));
    stack.input(fromPeer(17, datagram.slice(0, 800), { id: 7, fragment: 0x2000 }));
    stack.input(fromPeer(17, datagram.slice(792), { id: 7, fragment: 99 }));
    stack.input(fromPeer(17, datagram.slice(800), { id: 7, fragment: 100 }));
    expect(receive(1)).toBe(-11);
    expect(stack.counters()['fragment_overlap']).toBe(2);
    stack.advance(31n * S);
    expect(stack.objects('reassemblies')).toBe(0);
    expect(take()).toEqual([]);
  });
  test('an unfinished datagram is given up after 30 s: time exceeded', () => {
    stack.input(fromPeer(17, udpTo(7, new Uint8Array(800)).slice(0, 800), { id: 7, fragment: 0x2000 }));
    stack.advance(31n * S);
    expect(take().filter((p) => p.icmp !== undefined).map((p) => [p.icmp!.type, p.icmp!.code])).toEqual([[11, 1]]);
  });
  test('fragments: three datagrams of one source, four in all; no piece behind 64 KiB', () => {
    for (let id = 0; id < 6; id++) stack.input(fromPeer(17, new Uint8Array(800), { id, fragment: 0x2000 }));
    expect(stack.objects('reassemblies')).toBe(3);
    for (let n = 0; n < 10; n++) stack.input(fromPeer(17, new Uint8Array(800), { id: 1, source: P.ip(`10.0.2.${100 + n}`), fragment: 0x2000 }));
    expect(stack.objects('reassemblies')).toBe(4);
    stack.input(fromPeer(17, new Uint8Array(800), { id: 9, fragment: 0x1fff }));
    expect(stack.counters()).toMatchObject({ fragment_limit: 3, fragment_long: 1, fragment_evicted: 9 });
  });
  test('a large datagram goes out in fragments that the peer can put together', () => {
    udpSocket(1, 7);
    const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i * 3 & 255);
    expect(sendTo(1, '10.0.2.2', 9, bytes)).toBe(5000);
    const frames = take();
    expect(frames.map((p) => p.ip!.payload.length)).toEqual([1480, 1480, 1480, 568]);
    const whole = new Uint8Array(5008);
    for (const f of frames) whole.set(f.ip!.payload, (f.ip!.fragment & 0x1fff) * 8);
    expect(P.parse(P.ethernet(ME, PEER, 0x800, P.ipv4({ protocol: 17, source: A, destination: B }, whole))).udp!.payload).toEqual(bytes);
    expect(new Set(frames.map((p) => p.ip!.id)).size).toBe(1);
  });
  test('source routes are refused, other options skipped, broken options refused', () => {
    udpSocket(1, 7);
    const d = udpTo(7, text('o'));
    stack.input(fromPeer(17, d, { options: Uint8Array.from([131, 7, 4, 1, 2, 3, 4, 0]) }));
    stack.input(fromPeer(17, d, { options: Uint8Array.from([7, 77, 4, 1]) }));
    expect(receive(1)).toBe(-11);
    stack.input(fromPeer(17, d, { options: Uint8Array.from([148, 4, 0, 0]) }));
    expect(receive(1)).toMatchObject({ port: 5000 });
    expect(stack.counters()['ip_source_route']).toBe(2);
  });
  test('martians: our own address from outside (LAND), loopback, multicast and broadcast as source', () => {
    for (const [source, destination] of [[A, A], [P.ip('127.0.0.1'), A], [B, P.ip('127.0.0.1')], [P.ip('224.0.0.1'), A], [0xffffffff, A], [P.ip('10.0.2.255'), A], [0, A], [B, C]] as const)
      stack.input(fromPeer(6, P.tcp(source, destination, { sourcePort: 80, destinationPort: 80, seq: 1, ack: 0, flags: P.SYN, window: 1 }), { source, destination }));
    expect(take()).toEqual([]);
    expect(stack.counters()).toMatchObject({ ip_spoofed_own: 1, ip_martian: 6, ip_forward: 1 });
  });
  test('fragmentation needed: TCP sends smaller, if the message quotes something under way', () => {
    stack.ok('socket', [1, 2, 1, 0]); stack.ok('bind', [1, stack.putAddress(0, '0.0.0.0', 80)]); stack.ok('listen', [1, 5]);
    const t = (f: Partial<P.TcpFields>): void => { stack.input(fromPeer(6, P.tcp(B, A, { sourcePort: 4000, destinationPort: 80, seq: 1, ack: 0, flags: P.ACK, window: 60000, ...f }))); };
    t({ seq: 0, flags: P.SYN, options: Uint8Array.from([2, 4, 5, 0xb4]) });
    const iss = take()[0]!.tcp!.seq;
    t({ ack: iss + 1 >>> 0 });
    stack.ok('accept', [1, 2, 0xffffffff, 0]);
    stack.ok('option', [2, NET.option.nodelay, 1, 1]);
    stack.ok('send', [2, 0, 4096, 5000, 0]);
    const sent = take();
    expect(sent.map((p) => p.tcp!.payload.length)).toEqual([1460, 1460, 1460, 620]);
    const needed = (quote: Uint8Array, mtu: number): Uint8Array => fromPeer(1, P.icmp(3, 4, mtu, quote));
    const forged = sent[0]!.ip!.bytes.slice(0, 28);
    forged[24]! ^= 0x55;
    stack.input(needed(forged, 600));
    expect(take()).toEqual([]);
    expect(stack.counters()['tcp_icmp_sequence']).toBe(1);
    stack.input(needed(sent[0]!.ip!.bytes.slice(0, 28), 1000));
    expect(take().map((p) => p.tcp!.payload.length)).toEqual([960, 960, 960, 960, 960, 200]);
    stack.input(needed(sent[0]!.ip!.bytes.slice(0, 28), 68));
    expect(stack.counters()['pmtu_tiny']).toBe(1);
    expect(take().every((p) => p.tcp!.payload.length <= 512)).toBe(true);
  });
  test('a port unreachable reaches the connected socket', () => {
    udpSocket(1, 1000);
    stack.ok('connect', [1, stack.putAddress(0, '10.0.2.2', 9), 0]);
    sendTo(1, '10.0.2.2', 9, text('x'));
    const [p] = take();
    stack.input(fromPeer(1, P.icmp(3, 3, 0, p!.ip!.bytes.slice(0, 28))));
    expect(receive(1)).toBe(-111);
    expect(receive(1)).toBe(-11);
  });
});

describe('UDP and echo sockets', () => {
  beforeEach(meet);
  test('both ways; sizes 0 and largest; peek', () => {
    udpSocket(1, 7);
    stack.input(fromPeer(17, P.udp(B, A, 5000, 7, text('hello'))));
    const peek = stack.ok('recvfrom', [1, 64, 4096, 3, 3]);
    expect([peek.r0, peek.r1]).toEqual([3, 5]);
    expect(receive(1)).toEqual({ bytes: text('hello'), from: '10.0.2.2', port: 5000 });
    stack.input(fromPeer(17, P.udp(B, A, 5000, 7, new Uint8Array(0))));
    expect(receive(1)).toEqual({ bytes: new Uint8Array(0), from: '10.0.2.2', port: 5000 });
    expect(sendTo(1, '10.0.2.2', 9, new Uint8Array(65507))).toBe(65507);
    expect(sendTo(1, '10.0.2.2', 9, new Uint8Array(65508))).toBe(-90);
  });
  test('checksum 0 is none; a wrong one is dropped; one that the device verified is believed', () => {
    udpSocket(1, 7);
    const none = P.udp(B, A, 5000, 7, text('a')), wrong = P.udp(B, A, 5000, 7, text('b'));
    none[6] = 0; none[7] = 0; wrong[7]! ^= 1;
    stack.input(fromPeer(17, none)); stack.input(fromPeer(17, wrong)); stack.input(fromPeer(17, wrong), 1);
    expect([receive(1), receive(1), receive(1)]).toMatchObject([{ bytes: text('a') }, { bytes: text('b') }, -11]);
    expect(stack.counters()['udp_checksum']).toBe(1);
  });
  test('a reader that waits is answered; a queue is bounded', () => {
    const chunks = stack.objects('chunks');
    udpSocket(1, 7);
    const p = stack.call('recvfrom', [1, 64, 4096, 100, 0]);
    expect(p.status).toBe(undefined);
    stack.input(fromPeer(17, P.udp(B, A, 5000, 7, text('now'))));
    expect([p.status, p.r0]).toEqual([0, 3]);
    for (let n = 0; n < 200; n++) stack.input(fromPeer(17, P.udp(B, A, 5000, 7, new Uint8Array(1400))));
    expect(stack.counters()['datagram_queue']).toBeGreaterThan(50);
    while (typeof receive(1) !== 'number') { /* all of them */ }
    stack.ok('close', [1]);
    expect(stack.objects('chunks')).toBe(chunks);
  });
  test('ports: in use, any, the one bound to the address before the one bound to any', () => {
    expect(udpSocket(1, 7)).toBe(7);
    stack.ok('socket', [2, 2, 2, 0]);
    expect(stack.call('bind', [2, stack.putAddress(0, '10.0.2.15', 7)]).status).toBe(-98);
    const port = stack.ok('bind', [2, stack.putAddress(0, '0.0.0.0', 0)]).r0;
    expect(port).toBeGreaterThanOrEqual(49152);
    expect(stack.ok('bind', [2, stack.putAddress(0, '0.0.0.0', 0)]).r0).toBe(port);
    expect(stack.call('bind', [2, stack.putAddress(0, '0.0.0.0', 99)]).status).toBe(-22);
    stack.ok('socket', [3, 2, 2, 0]);
    expect(stack.call('bind', [3, stack.putAddress(0, '10.9.9.9', 8)]).status).toBe(-99);
  });
  test('broadcast needs leave', () => {
    udpSocket(1, 7);
    expect(sendTo(1, '10.0.2.255', 9, text('x'))).toBe(-13);
    stack.ok('option', [1, NET.option.broadcast, 1, 1]);
    expect(sendTo(1, '10.0.2.255', 9, text('x'))).toBe(1);
    expect(take().map((p) => P.macText(p.to))).toEqual(['ff:ff:ff:ff:ff:ff']);
  });
  test('an echo socket: the stack fills identifier and checksum and hears only its own', () => {
    stack.ok('socket', [1, 2, 3, 0]);
    const request = Uint8Array.from([8, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3]);
    expect(sendTo(1, '10.0.2.2', 0, request)).toBe(11);
    const [p] = take(), identifier = p!.icmp!.rest >>> 16;
    expect([p!.icmp!.type, p!.icmp!.rest & 0xffff, [...p!.icmp!.payload]]).toEqual([8, 5, [1, 2, 3]]);
    stack.input(fromPeer(1, P.icmp(0, 0, ((identifier ^ 1) << 16 | 5) >>> 0, Uint8Array.from([9]))));
    expect(receive(1)).toBe(-11);
    stack.input(fromPeer(1, P.icmp(0, 0, (identifier << 16 | 5) >>> 0, Uint8Array.from([1, 2, 3]))));
    expect([...(receive(1) as { bytes: Uint8Array }).bytes.slice(6)]).toEqual([0, 5, 1, 2, 3]);
  });
  test('sockets survive death, datagrams do not', () => {
    udpSocket(1, 7);
    stack.input(fromPeer(17, P.udp(B, A, 5000, 7, text('lost'))));
    stack.kill();
    expect(receive(1)).toBe(-11);
    stack.input(fromPeer(17, P.udp(B, A, 5000, 7, text('kept'))));
    expect(receive(1)).toMatchObject({ bytes: text('kept') });
  });
});

describe('loopback', () => {
  test('a connection to ourselves, and datagrams, without the device', async () => {
    stack = await Stack.start({ address: '', nic: false });
    stack.ok('socket', [1, 2, 1, 0]); stack.ok('bind', [1, stack.putAddress(0, '127.0.0.1', 80)]); stack.ok('listen', [1, 5]);
    stack.ok('socket', [2, 2, 1, 0]); stack.ok('connect', [2, stack.putAddress(0, '127.0.0.1', 80), 0]);
    stack.ok('accept', [1, 3, 0xffffffff, 1]);
    const bytes = Uint8Array.from({ length: 50000 }, (_, i) => i * 5 & 255);
    stack.put(8192, bytes);
    expect(stack.ok('send', [2, 0, 8192, 50000, 1]).r0).toBe(50000);
    let got = 0;
    for (let n = 0; n < 100 && got < 50000; n++) { const p = stack.ok('recv', [3, got, 100_000, 50000, 1]); expect(stack.get(100_000, p.r0)).toEqual(bytes.slice(got, got + p.r0)); got += p.r0; }
    expect(got).toBe(50000);
    udpSocket(4, 7);
    expect(sendTo(4, '127.0.0.1', 7, text('me'))).toBe(2);
    expect(receive(4)).toEqual({ bytes: text('me'), from: '127.0.0.1', port: 7 });
    expect(stack.out).toEqual([]);
    stack.kill();
    stack.ok('send', [3, 0, 8192, 10, 1]);
    stack.advance(S);
    expect(stack.ok('recv', [2, 0, 100_000, 100, 1]).r0).toBe(10);
  });
  test('a connection to oneself on one socket (simultaneous open)', () => {
    stack.ok('socket', [1, 2, 1, 0]); stack.ok('bind', [1, stack.putAddress(0, '127.0.0.1', 99)]);
    stack.ok('connect', [1, stack.putAddress(0, '127.0.0.1', 99), 0]);
    stack.ok('send', [1, 0, stack.put(8192, text('echo')), 4, 1]);
    expect(stack.ok('recv', [1, 0, 100_000, 10, 1]).r0).toBe(4);
  });
  test('nobody listens: ECONNREFUSED', () => {
    stack.ok('socket', [1, 2, 1, 0]);
    expect(stack.call('connect', [1, stack.putAddress(0, '127.0.0.1', 81), 0]).status).toBe(-111);
  });
});

describe('DHCP', () => {
  const option = (code: number, ...bytes: number[]): number[] => [code, bytes.length, ...bytes];
  const reply = (request: Uint8Array, type: number, yours: string, options: number[]): Uint8Array => {
    const b = new Uint8Array(300);
    b[0] = 2; b[1] = 1; b[2] = 6;
    b.set(request.subarray(4, 8), 4); b.set(P.ip(yours) === 0 ? [0, 0, 0, 0] : [P.ip(yours) >>> 24, P.ip(yours) >>> 16 & 255, P.ip(yours) >>> 8 & 255, P.ip(yours) & 255], 16); b.set(ME, 28);
    b.set([0x63, 0x82, 0x53, 0x63, ...option(53, type), ...option(54, 10, 0, 2, 2), ...options, 255], 236);
    return P.ethernet(ALL, PEER, 0x800, P.ipv4({ protocol: 17, source: B, destination: 0xffffffff }, P.udp(B, 0xffffffff, 67, 68, b)));
  };
  const LEASE = [...option(1, 255, 255, 255, 0), ...option(3, 10, 0, 2, 2), ...option(6, 10, 0, 2, 3), ...option(51, 0, 0, 14, 16)]; // 3600 s
  const type = (p: P.Parsed): number => p.udp!.payload[242]!;
  const dhcp = (): P.Parsed[] => take().filter((p) => p.udp?.destinationPort === 67);
  beforeEach(async () => { stack = await Stack.start({ address: '' }); });
  const bind = (): void => {
    stack.ok('configure', [2, NET.configure.dhcp, 0, 0]);
    const [discover] = dhcp();
    expect(type(discover!)).toBe(1);
    stack.input(reply(discover!.udp!.payload, 2, '10.0.2.15', LEASE));
    const [request] = dhcp();
    expect(type(request!)).toBe(3);
    stack.input(reply(request!.udp!.payload, 5, '10.0.2.15', LEASE));
  };
  const address = (): string => { const p = stack.ok('query', [NET.what.interfaces, 0, 8192, 200]); return p.r0 < 2 ? '' : [...stack.get(8192 + 80 + 16 + 12, 4)].join('.'); };
  test('discover, offer, request, lease; the resolver is learnt', () => {
    bind();
    expect(address()).toBe('10.0.2.15');
    expect(stack.ok('query', [NET.what.resolvers, 0, 8192, 100]).r0).toBe(1);
    expect(stack.ok('query', [NET.what.routes, 0, 8192, 200]).r0).toBe(3);
    expect(stack.counters()['dhcp_leases']).toBe(1);
  });
  test('discover goes again after 2, 4, 8 s (and up to a second)', () => {
    stack.ok('configure', [2, NET.configure.dhcp, 0, 0]);
    const times: number[] = [];
    stack.onFrame = (): void => { times.push(Number(stack.now / MS)); };
    const from = Number(stack.now / MS);
    dhcp();
    stack.advance(20n * S);
    expect(times.length).toBe(3);
    [2000, 6000, 14000].forEach((t, i) => { expect(times[i]! - from).toBeGreaterThanOrEqual(t); expect(times[i]! - from).toBeLessThan(t + 1100 * (i + 1)); });
  });
  test('the lease outlives death; T1 renews by unicast, T2 rebinds by broadcast, its end takes the address', () => {
    bind();
    stack.input(P.ethernet(ALL, PEER, 0x806, P.arp(1, PEER, B, ZERO, A)));
    stack.kill();
    expect(address()).toBe('10.0.2.15');
    take();
    stack.advance(1799n * S);
    expect(dhcp()).toEqual([]);
    stack.input(P.ethernet(ALL, PEER, 0x806, P.arp(1, PEER, B, ZERO, A)));
    stack.advance(2n * S);
    stack.input(P.ethernet(ME, PEER, 0x806, P.arp(2, PEER, B, ME, A)));
    const [renew] = dhcp();
    expect([type(renew!), renew!.ip!.destination]).toEqual([3, B]);
    stack.input(reply(renew!.udp!.payload, 5, '10.0.2.15', LEASE));
    stack.advance(1700n * S);
    expect(dhcp()).toEqual([]);
    stack.advance(1500n * S);
    const later = dhcp();
    expect(later.some((p) => p.ip!.destination === 0xffffffff)).toBe(true);
    stack.advance(1000n * S);
    expect(address()).toBe('0.0.0.0');
    expect(stack.counters()['dhcp_expired']).toBe(1);
  });
  const wire = (up: boolean): void => { stack.nic(up); stack.settle(); };
  const optionsOf = (p: P.Parsed): Map<number, number[]> => { const b = p.udp!.payload, all = new Map<number, number[]>(); for (let n = 240; b[n] !== 255; n += 2 + b[n + 1]!) all.set(b[n]!, [...b.subarray(n + 2, n + 2 + b[n + 1]!)]); return all; };
  test('when the wire comes back with a lease, its holder asks at once whether it still has it: yes, no, silence', () => {
    bind();
    wire(false);
    stack.advance(30n * S);
    expect(dhcp()).toEqual([]);
    wire(true);
    const [first] = dhcp(), asked = optionsOf(first!);
    expect([type(first!), first!.ip!.source, first!.ip!.destination, asked.get(50), asked.get(54), P.get32(first!.udp!.payload, 12)]).toEqual([3, 0, 0xffffffff, [10, 0, 2, 15], undefined, 0]);
    stack.input(reply(first!.udp!.payload, 5, '10.0.2.15', LEASE));
    expect([address(), stack.counters()['dhcp_leases']]).toEqual(['10.0.2.15', 2]);
    wire(false); wire(true);
    expect(dhcp().map(type)).toEqual([3]);
    stack.advance(20n * S);
    expect(dhcp().map(type)).toEqual([3, 3]); // nobody there: the lease goes on
    stack.advance(600n * S);
    expect([dhcp(), address()]).toEqual([[], '10.0.2.15']);
    wire(false); wire(true);
    stack.input(reply(dhcp()[0]!.udp!.payload, 6, '0.0.0.0', []));
    expect([address(), dhcp().map(type)]).toEqual(['0.0.0.0', [1]]);
  });
  test('when it comes back without one, DISCOVER goes at once; nothing goes meanwhile', () => {
    wire(false);
    stack.ok('configure', [2, NET.configure.dhcp, 0, 0]);
    stack.advance(100n * S);
    expect([dhcp(), stack.counters()['frame_no_link']! > 3, stack.objects('packets')]).toEqual([[], true, stack.options.packets]);
    wire(true);
    expect(dhcp().map(type)).toEqual([1]);
  });
  test('a card that cannot be is none', () => {
    bind();
    expect([stack.nic(false, '00:00:00:00:00:00'), stack.nic(false, '53:54:00:12:34:56'), stack.nic(true, 'ff:ff:ff:ff:ff:ff')]).toEqual([false, false, false]);
    stack.settle();
    expect(dhcp()).toEqual([]);
  });
  test('answers with another id, without sense or of another server are not believed', () => {
    stack.ok('configure', [2, NET.configure.dhcp, 0, 0]);
    const [discover] = dhcp(), asked = discover!.udp!.payload;
    const other = asked.slice();
    other[4]! ^= 1;
    stack.input(reply(other, 2, '10.0.2.15', LEASE));
    stack.input(reply(asked, 2, '224.0.0.1', LEASE));
    stack.input(reply(asked, 5, '10.0.2.15', LEASE));
    const torn = reply(asked, 2, '10.0.2.15', [51, 200]);
    stack.input(torn);
    expect(dhcp()).toEqual([]);
    expect(address()).toBe('0.0.0.0');
    const c = stack.counters();
    expect([c['dhcp_unwanted']! + c['dhcp_bad']!, c['dhcp_leases']]).toEqual([4, 0]);
  });
});

describe('DNS', () => {
  const name = (s: string): number[] => [...s.split('.').flatMap((l) => [l.length, ...text(l)]), 0];
  const answer = (query: P.Parsed, records: number[][], flags = 0x8180, change: (b: Uint8Array) => void = () => undefined): void => {
    const q = query.udp!.payload, b = Uint8Array.from([q[0]!, q[1]!, flags >> 8, flags & 255, 0, 1, 0, records.length, 0, 0, 0, 0, ...q.slice(12), ...records.flat()]);
    change(b);
    stack.input(P.ethernet(ME, PEER, 0x800, P.ipv4({ protocol: 17, source: P.ip('10.0.2.3'), destination: A }, P.udp(P.ip('10.0.2.3'), A, 53, query.udp!.sourcePort, b))));
  };
  const a = (owner: number[], ttl: number, ...ip4: number[]): number[] => [...owner, 0, 1, 0, 1, 0, 0, ttl >> 8, ttl & 255, 0, 4, ...ip4];
  const cname = (owner: number[], to: string): number[] => { const n = name(to); return [...owner, 0, 5, 0, 1, 0, 0, 1, 0, 0, n.length, ...n]; };
  const ask = (host: string): ReturnType<Stack['call']> => stack.call('resolve', [stack.put(4096, text(host)), host.length, 8192, 8, 0]);
  const result = (n: number): string[] => Array.from({ length: n }, (_, i) => stack.getAddress(8192 + 24 * i).address);
  const DNS3 = P.mac('02:00:00:00:00:03');
  beforeEach(() => {
    meet();
    stack.input(P.ethernet(ALL, DNS3, 0x806, P.arp(1, DNS3, P.ip('10.0.2.3'), ZERO, A)));
    stack.out.length = 0;
    stack.ok('configure', [2, NET.configure.resolver, stack.putAddress(0, '10.0.2.3', 0), 0]);
  });
  const query = (): P.Parsed => { const p = take().find((x) => x.udp?.destinationPort === 53); if (p === undefined) throw new Error('no query'); return p; };
  test('addresses; kept for their time to live', () => {
    const p = ask('Example.ORG');
    const q = query();
    expect(new TextDecoder().decode(q.udp!.payload.slice(13, 20))).toBe('example');
    answer(q, [a([0xc0, 12], 100, 1, 2, 3, 4), a([0xc0, 12], 100, 1, 2, 3, 5)]);
    expect([p.status, p.r0, result(2)]).toEqual([0, 2, ['1.2.3.4', '1.2.3.5']]);
    expect(ask('example.org').r0).toBe(2);
    expect(take()).toEqual([]);
    stack.advance(101n * S);
    take();
    ask('example.org');
    query();
    expect(stack.counters()['dns_cached']).toBe(1);
  });
  test('an alias: followed in the answer, or asked for', () => {
    let p = ask('www.a.org');
    answer(query(), [cname([0xc0, 12], 'b.org'), a(name('b.org'), 60, 9, 9, 9, 9)]);
    expect([p.status, result(1)]).toEqual([0, ['9.9.9.9']]);
    p = ask('www.c.org');
    answer(query(), [cname([0xc0, 12], 'd.org')]);
    const q = query();
    expect(new TextDecoder().decode(q.udp!.payload.slice(13, 14))).toBe('d');
    answer(q, [a([0xc0, 12], 60, 7, 7, 7, 7)]);
    expect([p.status, result(1)]).toEqual([0, ['7.7.7.7']]);
  });
  test('no such name: ENOENT; nobody answers: asked again after 1, 2, 4 s, then ETIMEDOUT', () => {
    let p = ask('no.org');
    answer(query(), [], 0x8183);
    expect(p.status).toBe(-2);
    p = ask('slow.org');
    const at: number[] = [], from = Number(stack.now / MS);
    stack.onFrame = (f): void => { if (P.get16(f, 12) === 0x800) at.push(Number(stack.now / MS) - from); };
    stack.advance(20n * S);
    expect(at).toEqual([1000, 3000, 7000]);
    expect(p.status).toBe(-110);
    expect(stack.objects('queries')).toBe(0);
  });
  test('an answer that was not asked for is not believed: other id, other question, other server', () => {
    const p = ask('real.org'), q = query();
    answer(q, [a([0xc0, 12], 60, 6, 6, 6, 6)], 0x8180, (b) => { b[0]! ^= 1; });
    answer(q, [a([0xc0, 12], 60, 6, 6, 6, 6)], 0x8180, (b) => { b[13]! ^= 1; });
    const evil = q.udp!.payload.slice();
    evil[2] = 0x81; evil[3] = 0x80;
    stack.input(P.ethernet(ME, PEER, 0x800, P.ipv4({ protocol: 17, source: B, destination: A }, P.udp(B, A, 53, q.udp!.sourcePort, evil))));
    expect(p.status).toBe(undefined);
    expect(stack.counters()['dns_spoof']).toBe(3);
    answer(q, [a([0xc0, 12], 60, 5, 5, 5, 5)]);
    expect([p.status, result(1)]).toEqual([0, ['5.5.5.5']]);
  });
  test('pointers that loop, records that end too early: no answer, no harm', () => {
    const p = ask('loop.org'), q = query();
    answer(q, [[0xc0, 26, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4]]);
    expect(p.status).toBe(-2);
    expect(stack.counters()['dns_bad']).toBe(1);
  });
  describe('an answer cut short (TC) is asked for over TCP (RFC 7766)', () => {
    const SERVER = P.ip('10.0.2.3'), ISS = 7000;
    let port = 0, iss = 0;
    const segment = (flags: number, seq: number, ack: number, payload: Uint8Array = new Uint8Array(0)): void => {
      stack.input(P.ethernet(ME, DNS3, 0x800, P.ipv4({ protocol: 6, source: SERVER, destination: A }, P.tcp(SERVER, A, { sourcePort: 53, destinationPort: port, seq: ISS + seq, ack: iss + ack >>> 0, flags, window: 60000, options: new Uint8Array(0), payload, urgent: 0 }))));
    };
    const many = Array.from({ length: 40 }, (_, n) => a([0xc0, 12], 100, 1, 2, 3, n));
    const wire = (q: Uint8Array, records: readonly number[][], flags = 0x8180): Uint8Array => {
      const m = [...q.slice(0, 2), flags >> 8, flags & 255, 0, 1, records.length >> 8, records.length & 255, 0, 0, 0, 0, ...q.slice(12), ...records.flat()];
      return Uint8Array.from([m.length >> 8, m.length & 255, ...m]);
    };
    /** To the question over TCP; without its length. */
    const toStream = (host: string): { p: ReturnType<Stack['call']>; question: Uint8Array } => {
      const p = ask(host);
      answer(query(), [a([0xc0, 12], 60, 6, 6, 6, 6)], 0x8380); // what came does not count
      expect(p.status).toBe(undefined);
      const syn = take().find((x) => x.tcp?.destinationPort === 53)!;
      expect(syn.tcp!.flags).toBe(P.SYN);
      port = syn.tcp!.sourcePort; iss = syn.tcp!.seq;
      segment(P.SYN | P.ACK, 0, 1);
      const asked = take().find((x) => (x.tcp?.payload.length ?? 0) !== 0)!.tcp!.payload;
      expect(P.get16(asked, 0)).toBe(asked.length - 2);
      return { p, question: asked.slice(2) };
    };
    test('in pieces; the connection is closed behind it', () => {
      const { p, question } = toStream('big.org');
      const m = wire(question, many), n = question.length + 2;
      segment(P.ACK, 1, 1 + n, m.slice(0, 1));
      segment(P.ACK, 2, 1 + n, m.slice(1, 300));
      expect(p.status).toBe(undefined);
      segment(P.ACK | P.PSH, 301, 1 + n, m.slice(300));
      expect([p.status, p.r0, result(2)]).toEqual([0, 8, ['1.2.3.0', '1.2.3.1']]);
      const fin = take().find((x) => ((x.tcp?.flags ?? 0) & P.FIN) !== 0);
      expect(fin).toBeDefined();
      segment(P.FIN | P.ACK, 1 + m.length, 2 + n);
      stack.advance(61n * S);
      expect([stack.objects('sockets'), stack.objects('queries'), stack.objects('pages')]).toEqual([0, 0, stack.objects('pages')]);
    });
    test('refused, ended early, silent: the next server, in the end EIO or ETIMEDOUT; nothing stays', () => {
      for (const [host, end] of [['a.org', (n: number): void => { segment(P.RST | P.ACK, 1, 1 + n); }], ['b.org', (n: number): void => { segment(P.FIN | P.ACK, 1, 1 + n); }], ['c.org', (): void => { stack.advance(5n * S); }]] as const) {
        const { p, question } = toStream(host);
        end(question.length + 2);
        expect(p.status).toBe(undefined);
        answer(query(), [a([0xc0, 12], 60, 7, 7, 7, 7)]);
        expect([p.status, result(1)]).toEqual([0, ['7.7.7.7']]);
      }
      stack.advance(1000n * S);
      take();
      expect([stack.objects('sockets'), stack.objects('queries'), stack.objects('parked')]).toEqual([0, 0, 0]);
    });
    test('another id, another question: not believed', () => {
      const { p, question } = toStream('d.org');
      const m = wire(question, many);
      m[2]! ^= 1;
      segment(P.ACK, 1, 3 + question.length, m);
      expect(p.status).toBe(undefined);
      expect(stack.counters()['dns_spoof']).toBe(1);
    });
    test('dead in between: the successor ends the connection and asks anew', () => {
      const { p, question } = toStream('e.org');
      stack.kill();
      const out = take();
      expect(out.some((x) => ((x.tcp?.flags ?? 0) & P.RST) !== 0)).toBe(true);
      const again = out.find((x) => x.udp?.destinationPort === 53)!;
      expect(question.length).toBeGreaterThan(12);
      answer(again, [a([0xc0, 12], 60, 8, 8, 8, 8)]);
      expect([p.status, result(1)]).toEqual([0, ['8.8.8.8']]);
      expect([stack.objects('sockets'), stack.objects('queries')]).toEqual([0, 0]);
    });
  });
  test('literals, localhost, names that are none', () => {
    expect(ask('10.1.2.3').r0).toBe(1);
    expect(result(1)).toEqual(['10.1.2.3']);
    expect(ask('localhost').r0).toBe(1);
    expect(result(1)).toEqual(['127.0.0.1']);
    for (const bad of ['', '.', 'a..b', 'x'.repeat(64), `${'a.'.repeat(130)}b`, 'a b']) expect(ask(bad).status).toBe(-22);
    expect(take()).toEqual([]);
  });
});

describe('operations', () => {
  beforeEach(meet);
  test('twice is once', () => {
    for (let n = 0; n < 2; n++) {
      stack.ok('socket', [5, 2, 1, 0]);
      expect(stack.ok('bind', [5, stack.putAddress(0, '0.0.0.0', 80)]).r0).toBe(80);
      expect(stack.ok('listen', [5, 3]).r0).toBe(80);
    }
    stack.ok('close', [5]);
    stack.ok('close', [5]);
    expect(stack.objects('sockets')).toBe(0);
  });
  test('what does not exist, lies outside or makes no sense is refused', () => {
    const bad = (op: Parameters<Stack['call']>[0], args: number[]): number | undefined => stack.call(op, args).status;
    expect(bad('recv', [77, 0, 0, 10, 0])).toBe(-9);
    expect(bad('socket', [0, 2, 1, 0])).toBe(-22);
    expect(bad('socket', [5, 10, 1, 0])).toBe(-97);
    expect(bad('socket', [5, 2, 9, 0])).toBe(-93);
    expect(bad('socket', [5, 2, 1, 17])).toBe(-93);
    stack.ok('socket', [5, 2, 1, 0]);
    expect(bad('socket', [5, 2, 2, 0])).toBe(-17);
    expect(bad('bind', [5, 0xfffffff0])).toBe(-14);
    expect(bad('connect', [5, NET.dataBytes - 10, 0])).toBe(-14);
    expect(bad('send', [5, 0, 0, 10, 0])).toBe(-107);
    expect(bad('send', [5, 0, 1, 0xffffffff, 0])).toBe(-14);
    expect(bad('recv', [5, 0, NET.dataBytes, 1, 0])).toBe(-14);
    expect(bad('accept', [5, 6, 0xffffffff, 0])).toBe(-22);
    expect(bad('shutdown', [5, 1])).toBe(-107);
    expect(bad('option', [5, 99, 0, 0])).toBe(-92);
    expect(bad('query', [99, 0, 0, 1000])).toBe(-22);
    expect(bad('query', [NET.what.counters, 0xffffffff, 0, 1000])).toBe(0);
    expect(bad('configure', [1, NET.configure.dhcp, 0, 0])).toBe(-19);
    expect(bad('retain', [NET.dataBytes - 4, 2])).toBe(-14);
    expect(bad('resolve', [0, 4, 0, 1000, 0])).toBe(-14);
    expect(bad('cancel', [12345])).toBe(-2);
  });
  test('cancel: what waits is answered EINTR', () => {
    udpSocket(1, 7);
    const p = stack.call('recvfrom', [1, 64, 4096, 100, 0]);
    stack.ok('cancel', [p.entry]);
    expect(p.status).toBe(-4);
    expect(stack.objects('parked')).toBe(0);
  });
  test('watch waits for what was wanted', () => {
    udpSocket(1, 7);
    const p = stack.call('watch', [1, NET.events.readable]);
    expect(p.status).toBe(undefined);
    expect(stack.call('watch', [1, NET.events.readable | NET.events.writable]).r0).toBe(NET.events.writable);
    stack.input(fromPeer(17, P.udp(B, A, 5000, 7, text('x'))));
    expect([p.status, p.r0]).toEqual([0, NET.events.readable]);
  });
  test('a closed socket answers who waits on it', () => {
    udpSocket(1, 7);
    const p = stack.call('recvfrom', [1, 64, 4096, 100, 0]);
    stack.ok('close', [1]);
    expect(p.status).toBe(-9);
  });
  test('retain closes what the restarted process does not know', () => {
    for (let id = 1; id <= 5; id++) udpSocket(id);
    stack.put(8192, new Uint8Array(Uint32Array.from([2, 4, 99]).buffer));
    expect(stack.ok('retain', [8192, 3]).r0).toBe(3);
    expect(stack.objects('sockets')).toBe(2);
  });
  test('sockets run out: ENFILE; TIME-WAIT gives way', async () => {
    stack = await Stack.start({ sockets: 16 });
    for (let id = 1; id <= 16; id++) stack.ok('socket', [id, 2, 2, 0]);
    expect(stack.call('socket', [17, 2, 1, 0]).status).toBe(-23);
    expect(stack.counters()['sockets_full']).toBe(1);
    stack.ok('close', [3]);
    stack.ok('socket', [17, 2, 1, 0]);
  });
  test('a neighbour that does not answer: connect fails after three seconds, EHOSTUNREACH', () => {
    stack.ok('socket', [1, 2, 1, 0]);
    const p = stack.call('connect', [1, stack.putAddress(0, '10.0.2.77', 80), 0]);
    stack.advance(2_900n * MS);
    expect(p.status).toBe(undefined);
    stack.advance(200n * MS);
    expect(p.status).toBe(-113);
  });
  test('a socket bound to loopback does not reach out', () => {
    stack.ok('socket', [1, 2, 1, 0]); stack.ok('bind', [1, stack.putAddress(0, '127.0.0.1', 0)]);
    expect(stack.call('connect', [1, stack.putAddress(0, '10.0.2.2', 80), 0]).status).toBe(-22);
    stack.ok('socket', [2, 2, 2, 0]); stack.ok('bind', [2, stack.putAddress(0, '127.0.0.1', 0)]);
    expect(sendTo(2, '10.0.2.2', 80, text('x'))).toBe(-22);
  });
  test('the pool runs out: senders wait, and go on when others give back', async () => {
    stack = await Stack.start({ stateBytes: (8192 + 64 * 896 + 4096 & ~4095) + 40 * 4096, address: '', nic: false });
    stack.ok('socket', [1, 2, 1, 0]); stack.ok('bind', [1, stack.putAddress(0, '127.0.0.1', 80)]); stack.ok('listen', [1, 5]);
    for (const n of [0, 1]) { stack.ok('socket', [10 + n, 2, 1, 0]); stack.ok('connect', [10 + n, stack.putAddress(0, '127.0.0.1', 80), 0]); stack.ok('accept', [1, 20 + n, 0xffffffff, 1]); }
    // The first connection fills the pool: nobody reads.
    let sent = 0;
    for (let n = 0; n < 50; n++) { const p = stack.call('send', [10, sent, 65536, 20000, 1]); if (p.status === 0) sent += p.r0; stack.advance(10n * MS); }
    expect(stack.objects('pages')).toBeLessThan(10);
    const p = stack.call('send', [11, 0, 65536, 60000, 0]), watch = stack.call('watch', [11, NET.events.writable]);
    stack.advance(100n * MS);
    expect(p.status).toBe(undefined);
    for (let got = 0, n = 0; n < 2000 && got < sent; n++) { const q = stack.call('recv', [20, got, 200_000, 20000, 1]); if (q.status === 0) got += q.r0; stack.advance(10n * MS); }
    stack.call('recv', [20, sent, 200_000, 20000, 1]);
    stack.advance(100n * MS);
    expect(p.status).toBe(0);
    for (let got = 0, n = 0; n < 100 && got < p.r0; n++) { const q = stack.call('recv', [21, got, 200_000, 20000, 1]); if (q.status === 0) got += q.r0; stack.advance(10n * MS); }
    expect(watch.status).toBe(0);
  });
  test('no route: ENETUNREACH', async () => {
    stack = await Stack.start({ address: '' });
    stack.ok('socket', [1, 2, 1, 0]);
    expect(stack.call('connect', [1, stack.putAddress(0, '8.8.8.8', 80), 0]).status).toBe(-101);
    void D;
  });
  test('offload: checksums are left to the device when it does them', async () => {
    stack = await Stack.start({ checksums: true });
    meet();
    udpSocket(1, 7);
    expect(sendTo(1, '10.0.2.2', 9, text('offload'))).toBe(7);
    expect(take()[0]!.udp!.payload).toEqual(text('offload'));
    stack.input(fromPeer(6, P.tcp(B, A, { sourcePort: 9, destinationPort: 9, seq: 1, ack: 0, flags: P.SYN, window: 1 })));
    expect(take()[0]!.tcp!.flags).toBe(P.RST | P.ACK);
  });
  test('the internet checksum agrees with the plain definition for every length and place', () => {
    for (let at = 0; at < 8; at++) for (let n = 0; n < 80; n++) {
      const bytes = Uint8Array.from({ length: n }, (_, i) => 255 - (i * 37 & 255));
      stack.u8.set(bytes, (47 << 20) + at);
      const got = stack.probe((47 << 20) + at, n), want = ~P.checksum(bytes) & 0xffff;
      expect((got << 8 | got >> 8) & 0xffff, `${at} ${n}`).toBe(want);
    }
  });
});

describe('many', () => {
  test('a thousand idle connections: less than 8 MiB, no pages; a successor takes them all over; names and ports are found without a search', async () => {
    stack = await Stack.start({ sockets: 1100 });
    meet();
    expect(stack.needs + 1100 * 896).toBeLessThan(8 << 20);
    const pages = stack.objects('pages');
    stack.ok('socket', [1, 2, 1, 0]); stack.ok('bind', [1, stack.putAddress(0, '0.0.0.0', 80)]); stack.ok('listen', [1, 100]);
    const isses: number[] = [];
    for (let n = 0; n < 1000; n++) {
      const t = (f: Partial<P.TcpFields>): void => { stack.input(fromPeer(6, P.tcp(B, A, { sourcePort: 2000 + n, destinationPort: 80, seq: 1, ack: 0, flags: P.ACK, window: 60000, ...f }))); };
      t({ seq: 0, flags: P.SYN });
      isses.push(take()[0]!.tcp!.seq);
      t({ ack: isses[n]! + 1 >>> 0, payload: text('q'), flags: P.ACK | P.PSH });
      stack.ok('accept', [1, 10 + n, 0xffffffff, 1]);
      stack.ok('recv', [10 + n, 0, 4096, 10, 1]);
      stack.call('recv', [10 + n, 1, 4096, 10, 1]);
    }
    stack.out.length = 0;
    expect([stack.objects('sockets'), stack.objects('pages')]).toEqual([1001, pages]);
    stack.kill();
    expect([stack.objects('recordsTaken'), stack.objects('recordsBad'), stack.objects('sockets'), stack.objects('pages')]).toEqual([1001, 0, 1001, pages]);
    expect(new Set(take().filter((p) => p.tcp?.flags === P.ACK).map((p) => p.tcp!.destinationPort)).size).toBe(1000); // one duplicate ACK each
    expect(new Set(isses).size).toBe(1000);
    for (const n of [0, 500, 999]) {
      stack.ok('send', [10 + n, 0, stack.put(4096, text('answer')), 6, 1]);
      expect(take().map((p) => [p.tcp!.destinationPort, p.tcp!.seq])).toEqual([[2000 + n, isses[n]! + 1 >>> 0]]);
    }
  });
  test('connections that come and go: nothing stays but TIME-WAIT, which is bounded', async () => {
    stack = await Stack.start({ sockets: 64, address: '', nic: false });
    stack.ok('socket', [1, 2, 1, 0]); stack.ok('bind', [1, stack.putAddress(0, '127.0.0.1', 80)]); stack.ok('listen', [1, 5]);
    for (let n = 0; n < 300; n++) {
      const a = 10 + 2 * n, b = a + 1;
      stack.ok('socket', [a, 2, 1, 0]); stack.ok('connect', [a, stack.putAddress(0, '127.0.0.1', 80), 0]); stack.ok('accept', [1, b, 0xffffffff, 1]);
      stack.ok('send', [a, 0, 65536, 100, 1]);
      expect(stack.ok('recv', [b, 0, 65536, 1000, 1]).r0).toBe(100);
      stack.ok('close', [a]); stack.ok('close', [b]);
      if (n % 50 === 49) { stack.advance(200n * MS); stack.kill(); }
    }
    expect(stack.objects('sockets')).toBeLessThanOrEqual(64);
    expect(stack.counters()['time_wait_recycled']).toBeGreaterThan(200);
    stack.advance(130n * S);
    expect(stack.objects('sockets')).toBe(1);
  });
});

describe('damaged state', () => {
  beforeEach(meet);
  const connectPeer = (port: number): number => {
    const t = (f: Partial<P.TcpFields>): void => { stack.input(fromPeer(6, P.tcp(B, A, { sourcePort: port, destinationPort: 80, seq: 1, ack: 0, flags: P.ACK, window: 60000, ...f }))); };
    t({ seq: 0, flags: P.SYN });
    const iss = take()[0]!.tcp!.seq;
    t({ ack: iss + 1 >>> 0 });
    return iss;
  };
  test('one record is damaged: that connection is reset, the others live', () => {
    stack.ok('socket', [1, 2, 1, 0]); stack.ok('bind', [1, stack.putAddress(0, '0.0.0.0', 80)]); stack.ok('listen', [1, 5]);
    for (let n = 0; n < 3; n++) { connectPeer(4000 + n); stack.ok('accept', [1, 10 + n, 0xffffffff, 0]); }
    // Slot 2 holds the second connection: a bit in both halves.
    const view = stack.state;
    view[8192 + 2 * 896 + 100]! ^= 4; view[8192 + 2 * 896 + 448 + 100]! ^= 4;
    stack.kill();
    expect(take().filter((p) => p.tcp !== undefined).map((p) => [p.tcp!.destinationPort, p.tcp!.flags]).sort()).toEqual([[4000, P.ACK], [4001, P.RST | P.ACK], [4002, P.ACK]]);
    expect([10, 11, 12].map((id) => stack.call('recv', [id, 0, 4096, 10, 1]).status)).toEqual([-11, -9, -11]);
    expect(stack.counters()).toMatchObject({ record_bad: 1, tcp_revived: 2 });
  });
  test('random damage anywhere in the state: no trap, and what is left works', () => {
    let r = 12345;
    const next = (n: number): number => { r = (Math.imul(r, 1664525) + 1013904223) >>> 0; return (r >>> 8) % n; };
    for (let round = 0; round < 40; round++) {
      stack.ok('socket', [1000 + round, 2, 1, 0]);
      stack.call('bind', [1000 + round, stack.putAddress(0, '0.0.0.0', 2000 + round)]);
      stack.call('listen', [1000 + round, 5]);
      const bits = 1 + next(30);
      for (let n = 0; n < bits; n++) stack.state[next(8192 + 64 * 896)]! ^= 1 << next(8);
      stack.kill();
    }
    stack.ok('query', [NET.what.sockets, 0, 8192, 8000]);
    stack.input(fromPeer(6, P.tcp(B, A, { sourcePort: 9, destinationPort: 1, seq: 1, ack: 0, flags: P.SYN, window: 1 })));
  });
});
