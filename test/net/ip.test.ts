/** ARP (RFC 826), IPv4 (RFC 791), ICMP (RFC 792, 1122), UDP and the loopback, frame by frame. */
import { beforeEach, describe, expect, test } from 'vitest';
import { NET } from '../../servers/protocols/net.ts';
import * as P from './packet.ts';
import { A, ALL, B, C, EVIL, fromPeer, ME, meet, MS, PEER, receive, S, sendTo, stack, start, take, text, udpSocket, ZERO } from './world.ts';

const arpText = (p: P.Parsed): string => `${P.get16(p.payload, 6) === 1 ? 'who has' : 'reply'} ${P.ipText(P.get32(p.payload, 24))} to ${P.macText(p.to)}`;
beforeEach(() => start());

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
    await start({ address: '', nic: false });
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
