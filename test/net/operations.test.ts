/** The ring operations of net: repeated, refused and cancelled ones; a thousand sockets; damaged state. */
import { beforeEach, describe, expect, test } from 'vitest';
import { NET } from '../../servers/protocols/net.ts';
import * as P from './packet.ts';
import type { Stack } from './stack.ts';
import { A, B, D, fromPeer, meet, MS, S, sendTo, stack, start, take, text, udpSocket } from './world.ts';

beforeEach(() => start());

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
    await start({ sockets: 16 });
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
    await start({ stateBytes: (8192 + 64 * 896 + 4096 & ~4095) + 40 * 4096, address: '', nic: false });
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
    await start({ address: '' });
    stack.ok('socket', [1, 2, 1, 0]);
    expect(stack.call('connect', [1, stack.putAddress(0, '8.8.8.8', 80), 0]).status).toBe(-101);
    void D;
  });
  test('offload: checksums are left to the device when it does them', async () => {
    await start({ checksums: true });
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
    await start({ sockets: 1100 });
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
    await start({ sockets: 64, address: '', nic: false });
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
