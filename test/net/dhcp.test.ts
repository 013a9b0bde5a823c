/** The DHCP client (RFC 2131), its lease over deaths and unplugged wires. */
import { beforeEach, describe, expect, test } from 'vitest';
import { NET } from '../../servers/protocols/net.ts';
import * as P from './packet.ts';
import { A, ALL, B, ME, MS, PEER, S, stack, start, take, ZERO } from './world.ts';

beforeEach(() => start());

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
  beforeEach(async () => { await start({ address: '' }); });
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
