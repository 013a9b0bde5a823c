/** Every counter of the network server is reached: by the storm of hostile frames, or by what is done here. One that never moves names something that cannot happen, or that no test asks for. */
import { expect, test } from 'vitest';
import { NET } from '../../servers/protocols/net.ts';
import { CLASSES, Random } from './generator.ts';
import { A, ALL, B, HostileWorld, ME, PEER } from './hostile-world.ts';
import * as P from './packet.ts';
import { HALF_BYTES, RECORDS_AT, Stack, type StackOptions } from './stack.ts';

const S = 1_000_000_000n, ZERO = new Uint8Array(6), NO = 0xffffffff;
const meet = (stack: Stack): void => { stack.input(P.ethernet(ALL, PEER, 0x806, P.arp(1, PEER, B, ZERO, A))); };
const ip = (protocol: number, payload: Uint8Array, source = B): Uint8Array => P.ethernet(ME, PEER, 0x800, P.ipv4({ protocol, source, destination: A }, payload));
const tcp = (stack: Stack, f: Partial<P.TcpFields>): void => stack.input(ip(6, P.tcp(B, A, { sourcePort: 4000, destinationPort: 80, seq: 1, ack: 0, flags: P.ACK, window: 60000, ...f })));
const last = (stack: Stack): NonNullable<P.Parsed['tcp']> => { for (let n = stack.out.length - 1; n >= 0; n--) { const p = P.parse(stack.out[n]!).tcp; if (p !== undefined) return p; } throw new Error('no segment left'); };
const udp = (stack: Stack, id: number, port: number): void => { stack.ok('socket', [id, 2, 2, 0]); stack.ok('bind', [id, stack.putAddress(0, '0.0.0.0', port)]); };
/** A connection from the peer's port as socket `id`, through listener 1 on port 80. What it has got. */
function connection(stack: Stack, id: number, from = 4000, options: readonly number[] = [2, 4, 3, 232, 4, 2, 1, 1]): { iss: number } {
  if (stack.call('option', [1, NET.option.nodelay, 0, 0]).status !== 0) { stack.ok('socket', [1, 2, 1, 0]); stack.ok('bind', [1, stack.putAddress(0, '0.0.0.0', 80)]); stack.ok('listen', [1, 100]); }
  tcp(stack, { sourcePort: from, flags: P.SYN, seq: 0, options: Uint8Array.from(options) });
  const iss = last(stack).seq;
  tcp(stack, { sourcePort: from, seq: 1, ack: iss + 1 >>> 0 });
  stack.ok('accept', [1, id, NO, 0]);
  return { iss };
}
const send = (stack: Stack, id: number, bytes: number): number => stack.ok('send', [id, 0, 4096, bytes, 1]).r0;
const sack = (from: number, to: number): Uint8Array => { const b = new Uint8Array(12), v = new DataView(b.buffer); b.set([1, 1, 5, 10]); v.setUint32(4, from); v.setUint32(8, to); return b; };

/** What reaches what the storm does not: a scene, and the counters that it must move. */
const SCENES: readonly (readonly [reaches: string, options: StackOptions, scene: (stack: Stack) => void])[] = [
  ['frame_down', {}, (s) => { s.ok('configure', [2, NET.configure.down, 0, 0]); s.input(ip(1, P.icmp(8, 0, 0, ZERO))); }],
  ['frame_no_link', {}, (s) => { udp(s, 5, 9); s.nic(false); s.ok('sendto', [5, s.putAddress(0, '10.0.2.2', 9), 4096, 9, 1]); s.settle(); }],
  ['frame_transmitted_wrong', {}, (s) => { s.sent(0); s.settle(); }],
  ['ops_bad', {}, (s) => { s.call('socket', [0, 2, 1, 0]); s.call('bind', [77, 0]); }],
  ['ip_no_route', { gateway: '' }, (s) => s.input(ip(1, P.icmp(8, 0, 0, ZERO), P.ip('203.0.113.1')))],
  ['icmp_replies_in', {}, (s) => { s.ok('socket', [5, 2, 3, 0]); s.put(4096, Uint8Array.of(8, 0, 0, 0, 0, 0, 0, 0, 1)); s.ok('sendto', [5, s.putAddress(0, '10.0.2.2', 0), 4096, 9, 1]); const asked = P.parse(s.out.at(-1)!).icmp!; s.input(ip(1, P.icmp(0, 0, asked.rest, Uint8Array.of(1)))); }],
  ['arp_pending_dropped arp_timeout', {}, (s) => { udp(s, 5, 9); for (let n = 0; n < 5; n++) s.ok('sendto', [5, s.putAddress(0, '10.0.2.9', 9), 4096, 9, 1]); s.advance(10n * S); }],
  ['arp_full', { prefix: 16 }, (s) => {
    udp(s, 5, 9);
    for (let n = 1; n <= 64; n++) { const from = P.ip(`10.0.9.${n}`); s.input(P.ethernet(ALL, PEER, 0x806, P.arp(1, PEER, from, ZERO, A))); s.ok('sendto', [5, s.putAddress(0, P.ipText(from), 9), 4096, 9, 1]); }
    s.input(P.ethernet(ALL, PEER, 0x806, P.arp(1, PEER, P.ip('10.0.8.1'), ZERO, A)));
  }],
  ['datagram_arena', {}, (s) => { for (let id = 5; id < 9; id++) { udp(s, id, id); for (let n = 0; n < 40; n++) s.input(ip(17, P.udp(B, A, 9, id, new Uint8Array(1200)))); } }],
  ['tcp_backlog', {}, (s) => { connection(s, 10); s.ok('listen', [1, 1]); for (const from of [4001, 4002]) { tcp(s, { sourcePort: from, flags: P.SYN, seq: 0 }); const { seq } = last(s); tcp(s, { sourcePort: from, seq: 1, ack: seq + 1 >>> 0 }); } tcp(s, { sourcePort: 4003, flags: P.SYN, seq: 0 }); }],
  ['tcp_keepalives tcp_keepalive_dead', {}, (s) => { connection(s, 10); s.ok('option', [10, NET.option.keepalive, 5, 1]); s.advance(2000n * S); }],
  ['tcp_given_up tcp_timeouts tcp_retransmitted', {}, (s) => { connection(s, 10); send(s, 10, 100); s.advance(4000n * S); }],
  ['tcp_fast_retransmit tcp_lost_again tcp_sack_bad', {}, (s) => {
    const { iss } = connection(s, 10), at = iss + 1;
    s.ok('option', [10, NET.option.congestion, 0, 1]);
    send(s, 10, 20000);
    const ack = (to: number): void => tcp(s, { seq: 1, ack: at >>> 0, window: 65535, options: sack(at + 1000 >>> 0, at + to >>> 0) });
    for (const to of [4000, 8000, 10000, 12000, 13000, 60000]) ack(to);
  }],
  ['tcp_dsacks tcp_reordered tcp_tail_probes tcp_probe_repaired tcp_flight_full', {}, (s) => {
    const { iss } = connection(s, 10), at = iss + 1;
    s.ok('option', [10, NET.option.nodelay, 1, 1]);
    const more = (position: number, bytes: number): void => { s.ok('send', [10, position, 4096, bytes, 1]); };
    const ack = (to: number, from = 0, end = 0): void => tcp(s, { seq: 1, ack: at + to >>> 0, window: 65535, ...(end === 0 ? {} : { options: sack(at + from >>> 0, at + end >>> 0) }) });
    more(0, 3000); ack(0, 1000, 2000); ack(3000); ack(3000, 0, 1000);
    more(3000, 2000); s.advance(S / 50n); ack(5000);
    more(5000, 1000); ack(6000);
    more(6000, 8000);
    for (let n = 0; n < 60; n++) ack(6000, 6001 + 2 * n, 6002 + 2 * n);
  }],
  ['dns_streams', {}, (s) => {
    s.ok('configure', [2, NET.configure.resolver, s.putAddress(0, '10.0.2.2', 0), 0]);
    s.call('resolve', [s.put(4096, new TextEncoder().encode('a.test')), 6, 8192, 8, 0]);
    const q = s.out.map((f) => P.parse(f)).findLast((p) => p.udp?.destinationPort === 53)!.udp!;
    s.input(ip(17, P.udp(B, A, 53, q.sourcePort, Uint8Array.from([...q.payload.slice(0, 2), 0x83, 0x80, ...q.payload.slice(4)]))));
  }],
  ['tcp_no_page', { stateBytes: (8192 + 64 * 896 + 4096 & ~4095) + 18 * 4096 }, (s) => {
    const iss = Array.from({ length: 10 }, (_, n) => connection(s, 10 + n, 4000 + n).iss); // each was promised 64 KiB
    for (let n = 0; n < 10; n++) for (let k = 0; k < 40; k++) tcp(s, { sourcePort: 4000 + n, seq: 1 + k * 1000, ack: iss[n]! + 1 >>> 0, payload: new Uint8Array(1000) });
  }],
  ['tcp_revived', {}, (s) => { connection(s, 10); s.kill(); }],
  ['record_bad tcp_victims', {}, (s) => { connection(s, 10); for (let at = RECORDS_AT; at < RECORDS_AT + 128 * HALF_BYTES; at += HALF_BYTES) if (s.state[at] !== 0) s.state[at + 90]! ^= 1; s.kill(); }],
  ['record_pages', {}, (s) => {
    connection(s, 10);
    send(s, 10, 5000);
    s.ok('close', [10]); // an orphan: it has no name that could be there twice, but pages
    const pair = 2 * HALF_BYTES, view = new DataView(s.state.buffer, s.state.byteOffset);
    const used = (slot: number): boolean => view.getUint32(RECORDS_AT + slot * pair, true) !== 0;
    let free = 0;
    while (used(free)) free++;
    for (let slot = 0; slot < free; slot++) s.state.copyWithin(RECORDS_AT + (free + slot) * pair, RECORDS_AT + slot * pair, RECORDS_AT + (slot + 1) * pair);
    s.kill();
  }],
  ['sockets_full', {}, (s) => { for (let id = 1; id < 70; id++) s.call('socket', [id, 2, 2, 0]); }],
  ['time_wait_recycled', {}, (s) => {
    for (let id = 100; id < 180; id++) { const { iss } = connection(s, id, id * 10); s.ok('close', [id]); tcp(s, { sourcePort: id * 10, flags: P.ACK | P.FIN, seq: 1, ack: iss + 2 >>> 0 }); }
  }],
  ['tcp_time_wait_reused', {}, (s) => { const { iss } = connection(s, 10); s.ok('close', [10]); tcp(s, { flags: P.ACK | P.FIN, seq: 1, ack: iss + 2 >>> 0 }); tcp(s, { flags: P.SYN, seq: 100_000 }); }],
  ['tcp_half_open_displaced cookies_good', {}, (s) => {
    connection(s, 10);
    for (let n = 0; n < 100; n++) tcp(s, { sourcePort: 10000 + n, flags: P.SYN, seq: 0 });
    for (let id = 20; id < 40; id++) { s.call('socket', [id, 2, 2, 0]); }
    tcp(s, { sourcePort: 9000, flags: P.SYN, seq: 0 });
    const { seq } = last(s);
    tcp(s, { sourcePort: 9000, seq: 1, ack: seq + 1 >>> 0 });
    s.ok('accept', [1, 50, NO, 1]);
  }],
  ['tcp_reset_deaf tcp_aborted', {}, (s) => { connection(s, 10); tcp(s, { seq: 1, ack: last(s).ack, payload: new Uint8Array(9), flags: P.ACK | P.PSH }); const p = last(s); tcp(s, { seq: 1, ack: p.seq, payload: new Uint8Array(9), flags: P.ACK | P.PSH }); s.ok('close', [10]); }],
  ['dhcp_sent dhcp_bad dhcp_unwanted dhcp_nak dhcp_leases dhcp_expired', { address: '' }, (s) => {
    s.ok('configure', [2, NET.configure.dhcp, 0, 0]);
    const answer = (options: readonly number[], yours = A, xid?: number): void => {
      const asked = s.out.map((f) => P.parse(f)).findLast((p) => p.udp?.destinationPort === 67)!.udp!.payload, b = new Uint8Array(300), v = new DataView(b.buffer);
      b.set([2, 1, 6]); v.setUint32(4, xid ?? P.get32(asked, 4)); v.setUint32(16, yours); b.set(ME, 28); v.setUint32(236, 0x63825363); b.set(options, 240);
      s.input(P.ethernet(ALL, PEER, 0x800, P.ipv4({ protocol: 17, source: B, destination: NO }, P.udp(B, NO, 67, 68, b))));
    };
    const server = [54, 4, 10, 0, 2, 2], lease = [51, 4, 0, 0, 0, 60, 1, 4, 255, 255, 255, 0];
    answer([53, 1, 2, ...server, 255], A, 1); // another transaction
    answer([53, 1, 2, 255]); // an offer of nobody
    answer([53, 1, 2, ...server, 255]);
    answer([53, 1, 6, ...server, 255]);
    answer([53, 1, 2, ...server, 255]);
    answer([53, 1, 5, ...server, ...lease, 255]);
    s.advance(100n * S);
  }],
  ['dns_queries dns_bad dns_spoof dns_timeout dns_cached', {}, (s) => {
    s.ok('configure', [2, NET.configure.resolver, s.putAddress(0, '10.0.2.2', 0), 0]);
    const name = new TextEncoder().encode('a.test');
    const ask = (): void => { s.call('resolve', [s.put(4096, name), name.length, 8192, 8, 0]); };
    const answer = (flags: number, records: readonly number[], id = 0): void => {
      const q = s.out.map((f) => P.parse(f)).findLast((p) => p.udp?.destinationPort === 53)!.udp!, b = Uint8Array.from([q.payload[0]! ^ id, q.payload[1]!, flags >> 8, flags & 255, 0, 1, 0, 1, 0, 0, 0, 0, ...q.payload.slice(12), ...records]);
      s.input(ip(17, P.udp(B, A, 53, q.sourcePort, b)));
    };
    ask();
    answer(0x8180, [], 1);
    answer(0x0180, []);
    s.advance(60n * S);
    ask();
    answer(0x8180, [0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 10, 0, 2, 9]);
    ask();
  }],
];

test('every counter is reached', async () => {
  const reached = new Set<string>();
  let names: string[] = [];
  const note = (stack: Stack, what: string, wanted: readonly string[]): void => {
    const c = stack.counters();
    names = Object.keys(c);
    for (const name of names) if (c[name]! > 0) reached.add(name);
    expect(wanted.filter((name) => !c[name]), what).toEqual([]);
  };
  const w = await HostileWorld.start(1, { sockets: 256 }), r = new Random(7);
  for (let n = 0; n < 2000; n++) { w.attack(n < 2 * CLASSES.length ? CLASSES[n % CLASSES.length]! : r.pick(CLASSES)); if (n % 8 === 0) { w.ensure(); w.advance(r.below(2e9)); } w.programs(n); }
  w.finish();
  note(w.stack, 'the storm', []);
  for (const [wanted, options, scene] of SCENES) {
    const stack = await Stack.start({ sockets: 64, ...options });
    meet(stack);
    scene(stack);
    note(stack, wanted, wanted.split(' '));
  }
  for (const name of ['frame_refused', 'frame_unsent', 'driver_answer_bad', 'ring_refused', 'ring_repaired']) reached.add(name); // the server's host counts them: test/net/hostile-rings.test.ts
  expect(names.filter((name) => !reached.has(name))).toEqual([]);
});
