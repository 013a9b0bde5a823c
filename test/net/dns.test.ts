/** The resolver: RFC 1035, and RFC 7766 for what does not fit. */
import { beforeEach, describe, expect, test } from 'vitest';
import { NET } from '../../servers/protocols/net.ts';
import * as P from './packet.ts';
import type { Stack } from './stack.ts';
import { A, ALL, B, ME, meet, MS, PEER, S, stack, start, take, text, ZERO } from './world.ts';

beforeEach(() => start());

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
