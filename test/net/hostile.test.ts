/**
 * Malformed and hostile packets. The generator starts from good frames of every kind, towards ports and connections that exist, and harms them: truncation, wrong
 * lengths and checksums, flipped bits, mad options, fragments; checksums are made right again half of the time, so that damage gets past them. No trap, no object that
 * stays, and each drop counted under a name.
 */
import { describe, expect, test } from 'vitest';
import { Random } from './pair.ts';
import * as P from './packet.ts';
import { Stack } from './stack.ts';

const ME = P.mac('52:54:00:12:34:56'), PEER = P.mac('02:00:00:00:00:02'), ALL = P.mac('ff:ff:ff:ff:ff:ff');
const A = P.ip('10.0.2.15'), B = P.ip('10.0.2.2');
const put16 = (b: Uint8Array, at: number, v: number): void => { b[at] = v >> 8 & 255; b[at + 1] = v & 255; };

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
/** A frame that makes sense, of a kind that the stack listens to. */
function good(r: Random, w: World): Uint8Array {
  const bytes = (n: number): Uint8Array => Uint8Array.from({ length: n }, () => r.below(256));
  const v4 = (protocol: number, payload: Uint8Array, more: Partial<P.IpFields> = {}): Uint8Array => P.ethernet(ME, PEER, 0x800, P.ipv4({ protocol, source: B, destination: A, id: r.below(8), ...more }, payload));
  switch (r.below(10)) {
    case 0: return P.ethernet(ALL, PEER, 0x806, P.arp(1 + r.below(2), PEER, r.chance(500) ? B : P.ip(`10.0.2.${r.below(256)}`), ME, A));
    case 1: return v4(1, P.icmp(r.chance(500) ? 8 : 0, 0, r.next(), bytes(r.below(200))));
    case 2: return v4(1, P.icmp([3, 4, 5, 11, 12][r.below(5)]!, r.below(6), r.below(1500), P.ipv4({ protocol: [1, 6, 17][r.below(3)]!, source: A, destination: B }, P.tcp(A, B, { sourcePort: 80, destinationPort: 4000, seq: w.iss + r.below(10) >>> 0, ack: w.next, flags: P.ACK, window: 1 })).slice(0, 20 + r.below(30))));
    case 3: return v4(17, P.udp(B, A, 5000 + r.below(10), [7, 9, 68, 0][r.below(4)]!, bytes(r.below(300))));
    case 4: { const d = P.udp(B, A, 5000, 7, bytes(2000)), from = r.below(240) * 8; return v4(17, d.slice(from, from + 8 * (1 + r.below(60))), { fragment: (r.chance(700) ? 0x2000 : 0) | from >> 3 }); }
    case 5: return v4(6, P.tcp(B, A, { sourcePort: 1 + r.below(65535), destinationPort: r.chance(700) ? 80 : r.below(65536), seq: r.next(), ack: r.next(), flags: r.below(64), window: r.below(65536), options: bytes(4 * r.below(11)), payload: bytes(r.below(50)) }));
    default: {
      const wild = r.chance(300);
      return v4(6, P.tcp(B, A, {
        sourcePort: 4000, destinationPort: 80, seq: wild ? r.next() : w.next + r.below(4000) - 1000 >>> 0, ack: wild ? r.next() : w.iss + r.below(40) - 10 >>> 0,
        flags: r.chance(500) ? P.ACK : r.below(64) & (r.chance(900) ? ~(P.RST | P.SYN) : 63), window: r.below(65536), urgent: r.below(65536),
        options: r.chance(500) ? new Uint8Array(0) : r.chance(500) ? Uint8Array.from([1, 1, 5, 10, ...bytes(8)]) : bytes(4 * r.below(11)), payload: bytes(r.below(1400)),
      }));
    }
  }
}
function harm(r: Random, frame: Uint8Array): Uint8Array {
  let f = frame.slice();
  for (let n = r.below(4); n > 0; n--) switch (r.below(7)) {
    case 0: f = f.slice(0, r.below(f.length + 1)); break;
    case 1: if (f.length > 18) put16(f, 16, r.below(65536)); break; // total length
    case 2: if (f.length > 14) f[14] = r.below(256); break; // version, header length
    case 3: if (f.length > 48) f[46] = r.below(256); break; // TCP data offset
    case 4: if (f.length !== 0) f[r.below(f.length)]! ^= 1 << r.below(8); break;
    case 5: if (f.length > 40) put16(f, 38, r.below(65536)); break; // UDP length, and others
    case 6: { const longer = new Uint8Array(Math.min(f.length + r.below(100), 1514)); longer.set(f.subarray(0, longer.length)); f = longer; break; }
  }
  if (r.chance(500) && f.length >= 34 && P.get16(f, 12) === 0x800) { // lengths and checksums made right
    if (r.chance(500)) put16(f, 16, f.length - 14);
    const header = (f[14]! & 15) * 4;
    if (header >= 20 && 14 + header <= f.length) { put16(f, 24, 0); put16(f, 24, P.checksum(f.subarray(14, 14 + header))); }
  }
  return f;
}

describe('hostile packets', () => {
  const rounds = process.env['KINTSUGI_FULL'] === undefined ? 40_000 : 1_000_000;
  test.each([1, 2])('malformed packets, seed %i: no trap, nothing stays, every reason has a name', async (seed) => {
    const r = new Random(seed), w = await world();
    const { stack } = w;
    const clean = { packets: stack.options.packets, chunks: stack.objects('chunks') };
    for (let n = 0; n < rounds; n++) {
      const verified = r.chance(300) ? 1 : 0; // the device may lie about checksums
      stack.push(harm(r, good(r, w)), verified);
      if (r.chance(300)) stack.settle();
      if (n % 100 === 0) {
        stack.advance(BigInt(r.below(2_000_000_000)));
        stack.out.length = 0;
        // The program reads now and then, and closes what came in.
        for (const id of [2, 3]) stack.call('recvfrom', [id, 64, 4096, 70000, 1]);
        const p = stack.call('accept', [1, 100 + n, 0xffffffff, 1]);
        if (p.status === 0) stack.ok('close', [100 + n]);
        if (stack.call('recv', [10, 0, 4096, 10, 3]).status === -9) throw new Error('the socket is gone');
      }
      if (n % 3000 === 2999) stack.kill();
    }
    for (const id of [10, 3, 2, 1]) stack.ok('close', [id]);
    stack.advance(2_000_000_000_000n);
    stack.advance(2_000_000_000_000n);
    expect({ packets: stack.objects('packets'), chunks: stack.objects('chunks') }).toEqual(clean);
    expect([stack.objects('sockets'), stack.objects('reassemblies'), stack.objects('parked')]).toEqual([0, 0, 0]);
    const fresh = await Stack.start({ sockets: 64 });
    expect(stack.objects('pages')).toBe(fresh.objects('pages'));
    const c = stack.counters();
    for (const name of ['frame_short', 'frame_not_ours', 'frame_type', 'arp_short', 'arp_format', 'ip_short', 'ip_version', 'ip_header', 'ip_length', 'ip_checksum', 'fragment_size', 'fragment_overlap', 'icmp_short', 'icmp_checksum',
      'udp_length', 'udp_checksum', 'udp_no_port', 'tcp_header', 'tcp_checksum', 'tcp_option', 'tcp_no_port', 'tcp_out_of_window', 'tcp_no_ack']) expect(c[name], name).toBeGreaterThan(0);
  });
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
  test('the host gives back frames that are none of ours', async () => {
    const { stack } = await world();
    for (const frame of [0, 1, 0xffffffff, 32 << 20, (32 << 20) + 18, (32 << 20) + 2048 * 200 + 18]) stack.sent(frame);
    stack.settle();
    expect(stack.counters()['frame_transmitted_wrong']).toBe(6);
    expect(stack.objects('packets')).toBe(stack.options.packets);
  });
});
