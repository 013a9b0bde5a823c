import { describe, expect, it } from 'vitest';
import { ETHERTYPE, PROTOCOL, get16, get32, ipv4, put16, put32 } from '../../vm/net/frames.ts';
import { ADDRESS } from '../../vm/net/user/network.ts';
import { crc32 } from 'node:zlib';
import { PEER } from '../../vm/net/user/services.ts';
import { GATEWAY_MAC, arp, echo, ethernet, ip, parse, tcp, udp, udpPayload, type Seen } from './driver.ts';
import { NetRig, Program, patternBytes } from './rig.ts';

const { guest, gateway, dns } = ADDRESS;
const FAR = ipv4(198, 51, 100, 1);

/** Sends a frame, waits a round trip and gives what came back. */
function ask(r: NetRig, frame: Uint8Array, ns = 1e6): Seen[] {
  r.driver.send(frame);
  r.rig.advance(ns);
  return r.driver.frames().map(parse);
}
function ready(config: ConstructorParameters<typeof NetRig>[0] = {}): NetRig { const r = new NetRig(config); r.hello(); return r; }

describe('the gateway', () => {
  it('answers ARP for itself, the name server and the peer, and for nobody else', () => {
    const r = new NetRig();
    const [reply] = ask(r, arp(1, r.driver.mac, guest, gateway));
    expect([...reply.frame.subarray(0, 6)]).toEqual([...r.driver.mac]);
    expect(get16(reply.frame, 14 + 6)).toBe(2);
    expect([...reply.frame.subarray(22, 28)]).toEqual([...GATEWAY_MAC]);
    expect(ask(r, arp(1, r.driver.mac, guest, dns)).length).toBe(1);
    expect(ask(r, arp(1, r.driver.mac, guest, PEER)).length).toBe(1);
    expect(ask(r, arp(1, r.driver.mac, guest, ipv4(10, 0, 2, 77))).length).toBe(0);
    expect(ask(r, arp(1, r.driver.mac, guest, guest)).length).toBe(0);
  });

  it('leases 10.0.2.15 by DHCP, refuses another address, answers INFORM', () => {
    const r = new NetRig();
    const message = (type: number, options: number[] = []): Uint8Array => {
      const b = new Uint8Array(300);
      b[0] = 1; b[1] = 1; b[2] = 6; put32(b, 4, 0xabcd_1234); put16(b, 10, 0x8000);
      b.set(r.driver.mac, 28); put32(b, 236, 0x6382_5363);
      b.set([53, 1, type, ...options, 255], 240);
      return udp(r.driver.mac, 0, 68, 0xffff_ffff, 67, b);
    };
    const options = (b: Uint8Array): Map<number, Uint8Array> => {
      const found = new Map<number, Uint8Array>();
      for (let o = 240; b[o] !== 255; o += 2 + b[o + 1]) found.set(b[o], b.subarray(o + 2, o + 2 + b[o + 1]));
      return found;
    };
    const [offer] = ask(r, message(1));
    expect([offer.source, offer.destination, offer.sourcePort, offer.port]).toEqual([gateway, 0xffff_ffff, 67, 68]);
    expect([get32(offer.data, 4), get32(offer.data, 16)]).toEqual([0xabcd_1234, guest]);
    const given = options(offer.data);
    expect([given.get(53)?.[0], get32(given.get(1)!, 0), get32(given.get(3)!, 0), get32(given.get(6)!, 0), get32(given.get(54)!, 0)]).toEqual([2, ADDRESS.mask, gateway, dns, gateway]);
    const wanted = (address: number): number[] => [50, 4, address >>> 24, (address >>> 16) & 255, (address >>> 8) & 255, address & 255, 54, 4, 10, 0, 2, 2];
    const [ack] = ask(r, message(3, wanted(guest)));
    expect(options(ack.data).get(53)?.[0]).toBe(5);
    expect(get32(options(ack.data).get(51)!, 0)).toBe(86_400);
    const [nak] = ask(r, message(3, wanted(ipv4(10, 0, 2, 99))));
    expect([options(nak.data).get(53)?.[0], get32(nak.data, 16)]).toEqual([6, 0]);
    const [inform] = ask(r, message(8));
    expect([options(inform.data).get(53)?.[0], options(inform.data).has(51)]).toEqual([5, false]);
    expect(ask(r, message(3, [50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 99]))).toEqual([]); // meant for another server
  });

  it('answers echo requests, in one piece and in fragments', () => {
    const r = ready();
    const data = patternBytes(56);
    const [reply] = ask(r, echo(r.driver.mac, guest, gateway, 9, data));
    expect([reply.flags, reply.source, reply.destination]).toEqual([0, gateway, guest]);
    expect([...reply.data]).toEqual([...data]);
    expect(ask(r, echo(r.driver.mac, guest, dns, 1, data)).length).toBe(1);
    const large = echo(r.driver.mac, guest, gateway, 10, patternBytes(3000)).subarray(34);
    r.driver.send(ip(r.driver.mac, guest, gateway, PROTOCOL.icmp, large.subarray(1480, 2960), { id: 5, fragment: 0x2000 | 185 }));
    r.driver.send(ip(r.driver.mac, guest, gateway, PROTOCOL.icmp, large.subarray(0, 1480), { id: 5, fragment: 0x2000 }));
    const pieces = ask(r, ip(r.driver.mac, guest, gateway, PROTOCOL.icmp, large.subarray(2960), { id: 5, fragment: 370 }));
    expect(pieces.map((piece) => [piece.payload.length, piece.fragment & 0x1fff])).toEqual([[1480, 0], [1480, 185], [48, 370]]);
    const whole = new Uint8Array(3008);
    for (const piece of pieces) whole.set(piece.payload, (piece.fragment & 0x1fff) * 8);
    expect([...whole.subarray(8)]).toEqual([...patternBytes(3000)]);
  });

  it('says what cannot be reached, and by whom', () => {
    const r = ready();
    const code = (frame: Uint8Array): [number, number, number] => { const [seen] = ask(r, frame); return [seen.source, seen.flags, seen.seq]; };
    expect(code(echo(r.driver.mac, guest, ipv4(8, 8, 8, 8), 1, new Uint8Array(8)))).toEqual([gateway, 3, 13]);
    expect(code(echo(r.driver.mac, guest, FAR, 1, new Uint8Array(8), { ttl: 1 }))).toEqual([gateway, 11, 0]);
    expect(code(udp(r.driver.mac, guest, 5000, gateway, 4444, new Uint8Array(4)))).toEqual([gateway, 3, 3]);
    expect(code(udp(r.driver.mac, guest, 5000, ipv4(198, 51, 100, 99), 7, new Uint8Array(4)))).toEqual([gateway, 3, 1]);
    expect(code(tcp(r.driver.mac, guest, 5000, ipv4(198, 51, 100, 99), 80, { flags: 2, seq: 77 }))).toEqual([gateway, 3, 1]);
    expect(code(ip(r.driver.mac, guest, gateway, 99, new Uint8Array(20)))).toEqual([gateway, 3, 2]);
    const [quoted] = ask(r, udp(r.driver.mac, guest, 5000, gateway, 4444, new Uint8Array(4)));
    expect([get32(quoted.payload, 8 + 12), get32(quoted.payload, 8 + 16), get16(quoted.payload, 8 + 20), get16(quoted.payload, 8 + 22)]).toEqual([guest, gateway, 5000, 4444]);
  });

  it('counts what is malformed by reason and answers none of it', () => {
    const r = ready();
    const { mac } = r.driver;
    const damaged = (frame: Uint8Array, at: number, value: number): Uint8Array => { const copy = frame.slice(); copy[at] = value; return copy; };
    const ping = echo(mac, guest, gateway, 1, new Uint8Array(16));
    const syn = tcp(mac, guest, 1000, gateway, 7, { flags: 2 });
    const datagram = udp(mac, guest, 1000, gateway, 7, new Uint8Array(8));
    const withChecksum = (frame: Uint8Array): Uint8Array => { const copy = frame.slice(); put16(copy, 24, 0); let sum = 0; for (let k = 14; k < 34; k += 2) sum += get16(copy, k); sum = (sum & 0xffff) + (sum >>> 16); put16(copy, 24, ~sum & 0xffff); return copy; };
    const cases: [string, Uint8Array][] = [
      ['IP header cut short', ethernet(GATEWAY_MAC, mac, ETHERTYPE.ipv4, new Uint8Array(19).fill(0x45))],
      ['IP header cut short', damaged(ping, 14, 0x65)],
      ['IP length', withChecksum(damaged(ping, 14, 0x44))],
      ['IP length', withChecksum(damaged(ping, 17, 0xff))],
      ['IP checksum', damaged(ping, 24, 0x77)],
      ['ICMP checksum', damaged(ping, 40, 0x77)],
      ['ICMP message cut short', ip(mac, guest, gateway, PROTOCOL.icmp, new Uint8Array(7))],
      ['source address', echo(mac, ipv4(9, 9, 9, 9), gateway, 1, new Uint8Array(8))],
      ['source address', echo(mac, gateway, gateway, 1, new Uint8Array(8))],
      ['TCP segment cut short', ip(mac, guest, gateway, PROTOCOL.tcp, new Uint8Array(19))],
      ['TCP checksum', damaged(syn, 34 + 14, 1)],
      ['UDP checksum', damaged(datagram, 34 + 8, 1)],
      ['UDP datagram cut short', ip(mac, guest, gateway, PROTOCOL.udp, new Uint8Array(7))],
      ['UDP length', ip(mac, guest, gateway, PROTOCOL.udp, Uint8Array.of(1, 1, 0, 7, 0, 99, 0, 0, 0))],
      ['UDP port 0', udp(mac, guest, 0, gateway, 7, new Uint8Array(1))],
      ['multicast or broadcast datagram', udp(mac, guest, 5353, ipv4(224, 0, 0, 251), 5353, new Uint8Array(1))],
      ['bad fragment', ip(mac, guest, gateway, PROTOCOL.udp, new Uint8Array(9), { fragment: 0x2000 })],
      ['bad fragment', ip(mac, guest, gateway, PROTOCOL.udp, new Uint8Array(64), { fragment: 0x1fff })],
      ['ARP malformed', ethernet(GATEWAY_MAC, mac, ETHERTYPE.arp, new Uint8Array(28))],
      ['ARP from another network', arp(1, mac, ipv4(192, 168, 0, 1), gateway)],
      ['IPv6', ethernet(GATEWAY_MAC, mac, ETHERTYPE.ipv6, new Uint8Array(40))],
      ['unknown EtherType', ethernet(GATEWAY_MAC, mac, 0x1234, new Uint8Array(46))],
      ['frame for somebody else', ethernet(Uint8Array.of(2, 0, 0, 0, 0, 7), mac, ETHERTYPE.ipv4, new Uint8Array(46))],
      ['DHCP message malformed', udp(mac, 0, 68, 0xffff_ffff, 67, new Uint8Array(20))],
    ];
    for (const [reason, frame] of cases) {
      const before = r.net.counters.get(reason) ?? 0;
      expect([reason, ask(r, frame)]).toEqual([reason, []]);
      expect([reason, (r.net.counters.get(reason) ?? 0) - before]).toEqual([reason, 1]);
    }
    const overlapping = (offset: number): Uint8Array => ip(mac, guest, gateway, PROTOCOL.udp, new Uint8Array(16), { id: 9, fragment: 0x2000 | offset });
    ask(r, overlapping(0));
    ask(r, overlapping(1));
    expect(r.net.counters.get('overlapping fragments')).toBe(1);
    // Still there.
    expect(ask(r, ping).length).toBe(1);
  });

  it('survives any frame: random bytes behind a plausible beginning', () => {
    const r = ready();
    let x = 99;
    const random = (): number => { x ^= x << 13; x ^= x >>> 17; x ^= x << 5; return x >>> 0; };
    const seeds = [
      echo(r.driver.mac, guest, gateway, 1, new Uint8Array(64)), tcp(r.driver.mac, guest, 1000, gateway, 7, { flags: 2, options: [2, 4, 5, 180, 4, 2, 3, 3] }),
      udp(r.driver.mac, guest, 1000, dns, 53, new Uint8Array(40)), arp(1, r.driver.mac, guest, gateway), udp(r.driver.mac, 0, 68, 0xffff_ffff, 67, new Uint8Array(300)),
    ];
    for (let round = 0; round < 4000; round++) {
      const frame = seeds[random() % seeds.length].slice(0, 14 + random() % 400);
      for (let changes = random() % 8; changes >= 0; changes--) frame[12 + random() % Math.max(1, frame.length - 12)] = random();
      // Right IP checksum half of the time, so that the layers above see it.
      if (round & 1 && frame.length >= 34) { put16(frame, 24, 0); let sum = 0; for (let k = 14; k < 34; k += 2) sum += get16(frame, k); sum = (sum & 0xffff) + (sum >>> 16); sum = (sum & 0xffff) + (sum >>> 16); put16(frame, 24, ~sum & 0xffff); }
      const header = random() % 4 === 0 ? Uint8Array.of(1, 0, 0, 0, 0, 0, 14 + random() % 40, 0, random() % 20, 0, 0, 0) : undefined;
      r.driver.send(frame, header);
      if (round % 16 === 0) { r.rig.advance(1e6); r.driver.receive(() => undefined); }
    }
    r.rig.advance(1e9);
    r.driver.receive(() => undefined);
    r.hello();
    expect(ask(r, echo(r.driver.mac, guest, gateway, 1, new Uint8Array(8))).length).toBe(1);
    expect(r.net.network!.tcp.connections.size).toBeLessThan(200);
  });
});

describe('UDP and names', () => {
  it('echoes datagrams, larger than a frame too', () => {
    const r = ready();
    const [small] = ask(r, udp(r.driver.mac, guest, 1234, gateway, 7, patternBytes(100)));
    expect([small.source, small.sourcePort, small.port]).toEqual([gateway, 7, 1234]);
    expect([...small.data]).toEqual([...patternBytes(100)]);
    const whole = udpPayload(guest, 1234, gateway, 7, patternBytes(4000));
    for (let at = 0; at < whole.length; at += 1480) r.driver.send(ip(r.driver.mac, guest, gateway, PROTOCOL.udp, whole.subarray(at, at + 1480), { id: 3, fragment: (at + 1480 < whole.length ? 0x2000 : 0) | at / 8 }));
    r.rig.advance(1e6);
    const pieces = r.driver.frames().map(parse);
    expect(pieces.length).toBe(3);
    const back = new Uint8Array(whole.length);
    for (const piece of pieces) back.set(piece.payload, (piece.fragment & 0x1fff) * 8);
    expect([...back.subarray(8)]).toEqual([...patternBytes(4000)]);
  });

  it('forgets flows that are not used', () => {
    const r = ready();
    for (let port = 2000; port < 2600; port++) { r.driver.send(udp(r.driver.mac, guest, port, gateway, 9, new Uint8Array(1))); if (port % 100 === 0) r.rig.advance(1e6); }
    r.rig.advance(1e6);
    expect(r.net.network!.flows.size).toBe(512); // no more than that
    r.rig.advance(70e9);
    expect(r.net.network!.flows.size).toBe(0);
    expect(r.rig.chipset.events.armed().some(({ name }) => name === 'network')).toBe(false);
  });

  it('resolves the names of the scripted zone', () => {
    const r = ready();
    const query = (name: string, type = 1): Uint8Array => Uint8Array.from([0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...name.split('.').flatMap((label) => [label.length, ...new TextEncoder().encode(label)]), 0, 0, type, 0, 1]);
    const answer = (name: string, type = 1): Seen | undefined => ask(r, udp(r.driver.mac, guest, 4000, dns, 53, query(name, type)))[0];
    const peer = answer('peer.test')!.data;
    expect([get16(peer, 0), peer[3] & 15, get16(peer, 6), get32(peer, peer.length - 4)]).toEqual([0x1234, 0, 1, PEER]);
    const alias = answer('ALIAS.test')!.data;
    expect([get16(alias, 6), get32(alias, alias.length - 4)]).toEqual([2, PEER]);
    expect(answer('nobody.test')!.data[3] & 15).toBe(3);
    expect(answer('broken.test')!.data[3] & 15).toBe(2);
    expect(get16(answer('peer.test', 28)!.data, 6)).toBe(0);
    expect(answer('lost.test')).toBeUndefined();
    expect(get16(answer('lost.test')!.data, 6)).toBe(1);
    expect(answer('big.test')!.data[2] & 2).toBe(2); // cut short: ask by TCP
    const asked = query('big.test');
    const program = new Program(Uint8Array.from([0, asked.length, ...asked]));
    program.start(r.stack.connect(dns, 53, 4001, program));
    r.until(() => program.over);
    expect(get16(Uint8Array.from(program.received), 2 + 6)).toBe(40);
    expect(answer('100.2.0.10.in-addr.arpa', 12)!.data.length).toBeGreaterThan(40);
  });
});

describe('the services of the deterministic peer', () => {
  let ports = 20_000;
  const talk = (r: NetRig, port: number, send: string | Uint8Array, address = gateway): Program => {
    const program = new Program(send);
    program.start(r.stack.connect(address, port, ports++, program));
    r.until(() => program.over || program.gone);
    return program;
  };
  it('answer as they say', () => {
    const r = ready();
    expect(talk(r, 7, 'hello').text).toBe('hello');
    expect(talk(r, 9, patternBytes(100_000)).bytes).toBe(0);
    expect(talk(r, 13, '').text).toMatch(/^2026-02-03T16:05:06\.\d+Z\r\n$/);
    expect(talk(r, 5001, '10000 5\n').received).toEqual([...patternBytes(10_000, 5)]);
    expect(talk(r, 5001, 'what\n').text).toMatch(/^not a length/);
    expect(talk(r, 5002, patternBytes(70_000, 2)).text).toBe(`70000 ${crc32(patternBytes(70_000, 2)).toString(16).padStart(8, '0')}\n`);
    expect(talk(r, 80, 'GET / HTTP/1.0\r\n\r\n').text).toContain('200 OK');
    const page = talk(r, 80, 'GET /bytes/5000?3 HTTP/1.1\r\nHost: x\r\n\r\n', FAR);
    expect(page.received.slice(-5000)).toEqual([...patternBytes(5000, 3)]);
    const posted = Uint8Array.from([...new TextEncoder().encode('POST /x HTTP/1.0\r\nContent-Length: 3000\r\n\r\n'), ...patternBytes(3000)]);
    expect(talk(r, 80, posted).text).toContain(`3000 ${crc32(patternBytes(3000)).toString(16)}`);
    expect(talk(r, 80, 'GET /no HTTP/1.0\r\n\r\n').text).toContain('404');
    expect(talk(r, 81, 'x').gone).toBe(true); // refused
  });

  it('call the guest when told to, again and again until it is there', () => {
    const r = new NetRig({ calls: [{ port: 80, send: 'ping', atNs: 5e6 }] });
    r.rig.advance(3e9);
    expect(r.net.calls[0].done).toBe(false);
    // The guest appears, refuses once, then answers: here with bare segments.
    r.driver.frames();
    const asked = ask(r, arp(1, r.driver.mac, guest, gateway), 10e6).filter((seen) => seen.protocol === PROTOCOL.tcp);
    expect([asked[0].flags, asked[0].port, asked[0].source]).toEqual([2, 80, gateway]);
    const again = ask(r, tcp(r.driver.mac, guest, 80, gateway, asked[0].sourcePort, { flags: 0x14, ack: asked[0].seq + 1 }), 30e6);
    const syn = again.find((seen) => seen.flags === 2)!;
    expect(syn.sourcePort).not.toBe(asked[0].sourcePort);
    const data = ask(r, tcp(r.driver.mac, guest, 80, gateway, syn.sourcePort, { flags: 0x12, seq: 500, ack: syn.seq + 1, options: [2, 4, 5, 0xb4] }));
    expect(data.filter((seen) => seen.data.length > 0).map((seen) => String.fromCharCode(...seen.data))).toEqual(['ping']);
    expect(data.at(-1)!.flags & 1).toBe(1);
    ask(r, tcp(r.driver.mac, guest, 80, gateway, syn.sourcePort, { flags: 0x19, seq: 501, ack: syn.seq + 6, data: new TextEncoder().encode('pong') }));
    expect(r.net.calls[0]).toMatchObject({ done: true, bytes: 4, crc32: crc32(new TextEncoder().encode('pong')) });
  });
});
