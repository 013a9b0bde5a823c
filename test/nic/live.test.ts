import { spawnSync } from 'node:child_process';
import { readFileSync, mkdtempSync, rmSync } from 'node:fs';
import * as dgram from 'node:dgram';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { NetError, type NetConfig } from '../../vm/net/config.ts';
import { PROTOCOL, get16, get32 } from '../../vm/net/frames.ts';
import { ADDRESS } from '../../vm/net/user/network.ts';
import { crc32 } from 'node:zlib';
import { SEND_BYTES } from '../../vm/net/user/connection.ts';
import { arp, echo, ethernet, parse, tcp, udp } from './driver.ts';
import { LiveRig } from './live-rig.ts';
import { Program, patternBytes } from './rig.ts';

const { guest, gateway } = ADDRESS;
const open: { close(): unknown }[] = [];
const rigs: LiveRig[] = [];
afterEach(async () => { for (const rig of rigs.splice(0)) await rig.stop(); for (const thing of open.splice(0)) thing.close(); });
async function rig(config?: NetConfig): Promise<LiveRig> { const r = new LiveRig(config); rigs.push(r); return r.start(); }
async function server(handle: (socket: net.Socket) => void): Promise<number> {
  const made = net.createServer({ allowHalfOpen: true }, (socket) => { socket.on('error', () => undefined); handle(socket); });
  open.push(made);
  await new Promise<void>((resolve) => made.listen(0, '127.0.0.1', resolve));
  return (made.address() as net.AddressInfo).port;
}
async function freePort(): Promise<number> {
  const probe = net.createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as net.AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
const failure = async (promise: Promise<unknown>): Promise<NetError> => { try { await promise; } catch (error) { expect(error).toBeInstanceOf(NetError); return error as NetError; } throw new Error('no error'); };
let ports = 5000;

describe('the user network of a live machine', () => {
  it('pings the gateway and reaches servers of the host, 3 MB each way, checksums right', async () => {
    const r = await rig();
    r.driver.send(echo(r.driver.mac, guest, gateway, 3, patternBytes(40)));
    const reply = parse(await r.frame((frame) => frame[23] === PROTOCOL.icmp));
    expect([reply.flags, [...reply.data]]).toEqual([0, [...patternBytes(40)]]);
    let crc = 0;
    let bytes = 0;
    const up = await server((socket) => { socket.on('data', (data) => { crc = crc32(data as Buffer, crc); bytes += data.length; }); socket.on('end', () => socket.end(`${bytes}`)); });
    const a = new Program(patternBytes(3_000_000, 1));
    a.start(r.stack.connect(gateway, up, ports++, a));
    await r.until(() => a.over || a.gone);
    expect([a.gone, a.text, bytes, crc]).toEqual([false, '3000000', 3_000_000, crc32(patternBytes(3_000_000, 1))]);
    const down = await server((socket) => socket.end(patternBytes(3_000_000, 2)));
    const b = new Program('', false);
    b.start(r.stack.connect(gateway, down, ports++, b));
    await r.until(() => b.over || b.gone);
    expect([b.gone, b.bytes, b.crc]).toEqual([false, 3_000_000, crc32(patternBytes(3_000_000, 2))]);
    expect([...(await r.io.counters())]).toEqual([]);
  });

  it('half-close goes through both ways, and resets do', async () => {
    const r = await rig();
    const late = await server((socket) => { const got: Buffer[] = []; socket.on('data', (data) => got.push(data as Buffer)); socket.on('end', () => socket.end(Buffer.concat(got).reverse())); });
    const a = new Program('after the end');
    a.start(r.stack.connect(gateway, late, ports++, a));
    await r.until(() => a.over);
    expect(a.text).toBe('dne eht retfa');
    // The host ends first, the guest goes on.
    let rest = '';
    const first = await server((socket) => { socket.end('bye'); socket.on('data', (data) => { rest += String(data); }); });
    const b = new Program('', true, false);
    b.start(r.stack.connect(gateway, first, ports++, b));
    await r.until(() => b.ended);
    b.connection.send(new TextEncoder().encode('still here'));
    b.connection.sendEnd();
    await r.until(() => b.over && rest === 'still here');
    const cut = await server((socket) => { socket.once('data', () => socket.resetAndDestroy()); });
    const c = new Program('x', true, false);
    c.start(r.stack.connect(gateway, cut, ports++, c));
    await r.until(() => c.gone);
    let broken: NodeJS.ErrnoException | undefined;
    const told = await server((socket) => { socket.on('error', (error) => { broken = error; }); });
    const d = new Program('x', true, false);
    d.start(r.stack.connect(gateway, told, ports++, d));
    await r.until(() => d.connection.state === 3 && d.connection.sndUna === 1);
    d.connection.abort();
    r.stack.flush();
    await r.until(() => broken !== undefined);
    expect(broken?.code).toBe('ECONNRESET');
  });

  it('a closed port is refused at once', async () => {
    const r = await rig();
    const a = new Program('x');
    a.start(r.stack.connect(gateway, await freePort(), ports++, a));
    await r.until(() => a.gone);
    expect((await r.io.counters()).get('connection refused')).toBe(1);
  });

  it('a host socket that does not read closes the window of the guest', async () => {
    const r = await rig();
    let socket: net.Socket | undefined;
    const slow = await server((s) => { socket = s.pause(); });
    const program = new Program(patternBytes(16_000_000, 1), false, false);
    program.start(r.stack.connect(gateway, slow, ports++, program));
    await r.until(() => program.connection.sndUna > 100_000 && program.connection.sndWnd === 0);
    const stuck = program.connection.sndUna;
    expect(stuck).toBeLessThan(16_000_000);
    let bytes = 0;
    let crc = 0;
    socket!.on('data', (data) => { bytes += data.length; crc = crc32(data as Buffer, crc); });
    socket!.resume();
    await r.until(() => bytes === 16_000_000);
    expect(crc).toBe(crc32(patternBytes(16_000_000, 1)));
  });

  it('a guest that does not read stops the host', async () => {
    const r = await rig();
    let written = 0;
    const piece = patternBytes(1 << 16);
    const eager = await server((socket) => { const more = (): void => { while (socket.write(piece)) written += piece.length; socket.once('drain', more); }; more(); });
    const program = new Program('', false, false);
    program.stalled = true;
    program.start(r.stack.connect(gateway, eager, ports++, program));
    await r.until(() => program.connection.rcvNxt >= 200_000);
    // What is under way has its limits: the guest's window, the gateway's ring, the kernel's socket buffers.
    for (let k = 0; k < 300; k++) { r.stack.poll(); await new Promise((resolve) => setImmediate(resolve)); }
    expect(program.connection.rcvNxt).toBeLessThanOrEqual(256 * 1024);
    expect(written).toBeLessThan(SEND_BYTES + 256 * 1024 + 16_000_000);
    program.stalled = false;
    program.readable();
    r.stack.tcp.settle();
    await r.until(() => program.bytes > 5_000_000);
  });

  it('datagrams go out and come back, a closed port is unreachable', async () => {
    const r = await rig();
    const socket = dgram.createSocket('udp4');
    open.push(socket);
    socket.on('message', (message, from) => socket.send(Buffer.from(message).reverse(), from.port, from.address));
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    r.driver.send(udp(r.driver.mac, guest, 900, gateway, socket.address().port, patternBytes(1200)));
    const back = parse(await r.frame((frame) => frame[23] === PROTOCOL.udp));
    expect([back.source, back.sourcePort, back.port, [...back.data]]).toEqual([gateway, socket.address().port, 900, [...patternBytes(1200).reverse()]]);
    r.driver.send(udp(r.driver.mac, guest, 901, gateway, await freePort(), patternBytes(10)));
    const refused = parse(await r.frame((frame) => frame[23] === PROTOCOL.icmp));
    expect([refused.flags, refused.seq]).toEqual([3, 3]);
  });

  it('names are asked of the resolver, over UDP and TCP', async () => {
    const resolver = dgram.createSocket('udp4');
    open.push(resolver);
    resolver.on('message', (message, from) => resolver.send(Buffer.concat([Buffer.from('answer to '), message]), from.port, from.address));
    const tcpPort = await server((socket) => socket.pipe(socket));
    await new Promise<void>((resolve) => resolver.bind(tcpPort, '127.0.0.1', resolve));
    const r = await rig({ backend: { kind: 'user', resolver: { host: '127.0.0.1', port: tcpPort } } });
    r.driver.send(udp(r.driver.mac, guest, 700, ADDRESS.dns, 53, new TextEncoder().encode('query')));
    const answer = parse(await r.frame((frame) => frame[23] === PROTOCOL.udp));
    expect([answer.source, answer.sourcePort, answer.port, String.fromCharCode(...answer.data)]).toEqual([ADDRESS.dns, 53, 700, 'answer to query']);
    const program = new Program('by TCP');
    program.start(r.stack.connect(ADDRESS.dns, 53, ports++, program));
    await r.until(() => program.over || program.gone);
    expect(program.text).toBe('by TCP');
    const other = new Program('x');
    other.start(r.stack.connect(ADDRESS.dns, 80, ports++, other));
    await r.until(() => other.over || other.gone);
    expect(other.gone).toBe(true);
  });

  it('200 connections at a time', async () => {
    const r = await rig();
    const echoes = await server((socket) => socket.pipe(socket));
    const programs = Array.from({ length: 200 }, (_, k) => new Program(patternBytes(2000 + k, k)));
    for (const program of programs) { program.start(r.stack.connect(gateway, echoes, ports++, program)); r.stack.poll(); }
    await r.until(() => programs.every(({ over, gone }) => over || gone));
    programs.forEach((program, k) => expect([program.gone, program.crc]).toEqual([false, crc32(patternBytes(2000 + k, k))]));
  });

  it('a driver that is reset in the middle of a transfer loses frames, not the stream', async () => {
    const r = await rig();
    const down = await server((socket) => socket.end(patternBytes(4_000_000, 6)));
    const program = new Program('', false);
    program.start(r.stack.connect(gateway, down, ports++, program));
    for (let reset = 1; reset <= 5; reset++) {
      await r.until(() => program.bytes > reset * 500_000);
      expect(r.driver.start()).toBe(0xf); // what was in its rings is gone
    }
    await r.until(() => program.over || program.gone);
    expect([program.gone, program.bytes, program.crc]).toEqual([false, 4_000_000, crc32(patternBytes(4_000_000, 6))]);
  });
});

describe('host forwards', () => {
  it('wait for the guest, then connect; a refusal resets the caller', async () => {
    const port = await freePort();
    const r = new LiveRig({ backend: { kind: 'user' }, forwards: [{ protocol: 'tcp', host: '127.0.0.1', port, guestPort: 80 }] });
    rigs.push(r);
    await r.io.start();
    // Nobody drives the NIC yet: the caller waits.
    let broken: NodeJS.ErrnoException | undefined;
    const caller = net.connect(port, '127.0.0.1');
    caller.on('error', (error) => { broken = error; });
    await new Promise((resolve) => caller.once('connect', resolve));
    r.driver.start();
    r.driver.send(arp(1, r.driver.mac, guest, gateway));
    const syn = parse(await r.frame((frame) => frame[23] === PROTOCOL.tcp && (frame[47] & 2) !== 0));
    expect([syn.source, syn.destination, syn.port]).toEqual([gateway, guest, 80]);
    r.driver.send(tcp(r.driver.mac, guest, 80, gateway, syn.sourcePort, { flags: 0x14, ack: (syn.seq + 1) >>> 0 }));
    await r.until(() => broken !== undefined);
    expect(broken?.code).toBe('ECONNRESET');
  });

  it('datagrams to a forwarded port reach the guest, and its answers the caller', async () => {
    const port = await freePort();
    const r = await rig({ backend: { kind: 'user' }, forwards: [{ protocol: 'udp', host: '127.0.0.1', port, guestPort: 69 }] });
    r.driver.send(arp(1, r.driver.mac, guest, gateway));
    await r.frame((frame) => get16(frame, 12) === 0x0806);
    const caller = dgram.createSocket('udp4');
    open.push(caller);
    const came = new Promise<Buffer>((resolve) => caller.once('message', resolve));
    caller.send('hello', port, '127.0.0.1');
    const asked = parse(await r.frame((frame) => frame[23] === PROTOCOL.udp));
    expect([asked.source, asked.destination, asked.port, String.fromCharCode(...asked.data)]).toEqual([gateway, guest, 69, 'hello']);
    r.driver.send(udp(r.driver.mac, guest, 69, gateway, asked.sourcePort, new TextEncoder().encode('world')));
    expect(String(await came)).toBe('world');
  });

  it('a port in use, one that may not be had and an address that is not ours are named before the guest starts', async () => {
    const taken = await server(() => undefined);
    const forward = (port: number, host = '127.0.0.1'): Promise<unknown> => { const r = new LiveRig({ backend: { kind: 'user' }, forwards: [{ protocol: 'tcp', host, port, guestPort: 80 }] }); rigs.push(r); return r.io.start(); };
    const inUse = await failure(forward(taken));
    expect([inUse.code, inUse.message]).toEqual(['port-in-use', `--hostfwd tcp:127.0.0.1:${taken}:80: port ${taken} of 127.0.0.1 is in use by another process`]);
    expect((await failure(forward(await freePort(), '198.51.100.7'))).code).toBe('address');
  });
});

describe('wires to other processes', () => {
  const message = (bytes: Uint8Array): Buffer => { const head = Buffer.alloc(4); head.writeUInt32BE(bytes.length); return Buffer.concat([head, bytes]); };
  /** Frames out of the bytes of a stream. */
  const frames = (stream: Buffer): Buffer[] => { const all: Buffer[] = []; for (let at = 0; at + 4 <= stream.length; at += 4 + stream.readUInt32BE(at)) all.push(stream.subarray(at + 4, at + 4 + stream.readUInt32BE(at))); return all; };

  it('stream: frames with their length, both ways; link down while the peer is away; up when it is back', async () => {
    const port = await freePort();
    const r = await rig({ backend: { kind: 'stream', host: '127.0.0.1', port, listen: true } });
    const linkUp = (): boolean => (r.driver.read(r.driver.device + 6, 2) & 1) === 1;
    await r.until(() => !linkUp());
    const peer = net.connect(port, '127.0.0.1');
    peer.on('error', () => undefined);
    const chunks: Buffer[] = [];
    peer.on('data', (data) => chunks.push(data as Buffer));
    await r.until(linkUp);
    const frame = ethernet(new Uint8Array(6).fill(255), r.driver.mac, 0x88b5, patternBytes(100));
    r.driver.send(frame);
    await r.until(() => Buffer.concat(chunks).length >= frame.length + 4);
    expect([...Buffer.concat(chunks)]).toEqual([0, 0, 0, frame.length, ...frame]);
    // Two frames, cut in odd places, and one that is too long between them.
    const stream = Buffer.concat([message(ethernet(r.driver.mac, frame.subarray(6, 12), 0x88b5, patternBytes(300, 1))), message(new Uint8Array(3000)), message(ethernet(r.driver.mac, frame.subarray(6, 12), 0x88b5, patternBytes(60, 2)))]);
    for (let at = 0; at < stream.length; at += 101) { peer.write(stream.subarray(at, at + 101)); await new Promise((resolve) => setImmediate(resolve)); }
    const lengths: number[] = [];
    while (lengths.length < 2) lengths.push((await r.frame((f) => get16(f, 12) === 0x88b5)).length);
    expect(lengths).toEqual([314, 74]);
    expect((await r.io.counters()).get('frame too long')).toBe(1);
    peer.destroy();
    await r.until(() => !linkUp());
    await r.until(() => r.notes.some((note) => note.includes(`the peer at 127.0.0.1:${port}`)));
    const again = net.connect(port, '127.0.0.1');
    open.push({ close: () => again.destroy() });
    await r.until(linkUp);
    again.write(Buffer.from([0x7f, 0, 0, 0, 1]));
    await r.until(() => r.notes.some((note) => note.includes('does not speak this protocol')));
  });

  it('stream: a peer that does not take what it is sent stops the queue of the guest; nothing is lost, and the order stays', async () => {
    const port = await freePort();
    const r = await rig({ backend: { kind: 'stream', host: '127.0.0.1', port, listen: true } });
    const peer = net.connect(port, '127.0.0.1');
    open.push({ close: () => peer.destroy() });
    await r.until(() => (r.driver.read(r.driver.device + 6, 2) & 1) === 1);
    peer.pause();
    const frame = ethernet(Uint8Array.of(2, 0, 0, 0, 0, 1), r.driver.mac, 0x88b5, patternBytes(1400));
    let sent = 0;
    const more = (): void => { while (r.driver.txBuffer() >= 0) { frame[20] = sent; frame[21] = sent >> 8; r.driver.send(frame); sent++; } };
    // What the kernel's buffers and the wire take ahead has an end; then the ring stays full.
    let still = 0;
    for (let before = 0; still < 100; before = sent) { more(); still = sent === before ? still + 1 : 0; await new Promise((resolve) => setTimeout(resolve, 2)); }
    expect(r.driver.txBuffer()).toBe(-1);
    const chunks: Buffer[] = [];
    let bytes = 0;
    peer.on('data', (data) => { chunks.push(data as Buffer); bytes += data.length; });
    peer.resume();
    await r.until(() => bytes === sent * (frame.length + 4));
    expect(frames(Buffer.concat(chunks)).findIndex((f, k) => f.length !== frame.length || f.readUInt16LE(20) !== (k & 65535))).toBe(-1);
    expect([...(await r.io.counters())]).toEqual([]);
  });

  it('stream: a second peer is turned away while the first is there; a peer may come and go many times', async () => {
    const port = await freePort();
    const r = await rig({ backend: { kind: 'stream', host: '127.0.0.1', port, listen: true } });
    const linkUp = (): boolean => (r.driver.read(r.driver.device + 6, 2) & 1) === 1;
    for (let round = 0; round < 5; round++) {
      const peer = net.connect(port, '127.0.0.1');
      open.push({ close: () => peer.destroy() });
      await r.until(linkUp);
      const second = net.connect(port, '127.0.0.1');
      const turnedAway = new Promise<void>((resolve) => second.on('error', () => undefined).on('close', () => resolve()));
      await turnedAway;
      peer.write(message(ethernet(r.driver.mac, Uint8Array.of(2, 0, 0, 0, 0, 1), 0x88b5, patternBytes(60 + round))));
      expect((await r.frame((f) => get16(f, 12) === 0x88b5)).length).toBe(74 + round);
      peer.write(Buffer.from([0, 0, 0, 90, 1, 2, 3])); // a frame that never comes whole
      peer.end();
      await r.until(() => !linkUp());
    }
    expect([...(await r.io.counters())]).toEqual([['second peer refused', 5], ['frame cut off', 5]]);
  });

  it('stream: another protocol is cut off with one sentence, and tried again ever later', async () => {
    let tries = 0;
    const port = await server((socket) => { tries++; socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'); });
    const r = await rig({ backend: { kind: 'stream', host: '127.0.0.1', port } });
    await r.until(() => r.notes.length > 0);
    expect(r.notes).toEqual([`network: the peer at 127.0.0.1:${port} does not speak this protocol (a frame of ${0x4854_5450} bytes): connection closed; trying again in 2 s`]);
    expect([tries, (await r.io.counters()).get('not this protocol')]).toEqual([1, 1]);
  });

  it('two machines with one hardware address: the user is told once', async () => {
    const port = await freePort();
    const r = await rig({ backend: { kind: 'stream', host: '127.0.0.1', port, listen: true } });
    const peer = net.connect(port, '127.0.0.1');
    open.push({ close: () => peer.destroy() });
    for (let k = 0; k < 3; k++) peer.write(message(ethernet(new Uint8Array(6).fill(255), r.driver.mac, 0x88b5, patternBytes(60))));
    for (let k = 0; k < 3; k++) await r.frame((f) => get16(f, 12) === 0x88b5);
    const mac = [...r.driver.mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
    expect(r.notes).toEqual([expect.stringContaining(`a frame came in from ${mac}, the address of this machine's own card`)]);
    expect((await r.io.counters()).get('frame with our own hardware address')).toBe(3);
  });

  it('stream: nobody there is a clear error', async () => {
    const r = new LiveRig({ backend: { kind: 'stream', host: '127.0.0.1', port: await freePort() } });
    rigs.push(r);
    const error = await failure(r.io.start());
    expect([error.code, error.message]).toEqual(['refused', expect.stringMatching(/^--net stream:127\.0\.0\.1:\d+: nobody listens at/)]);
  });

  it('dgram: one datagram, one frame', async () => {
    const peer = dgram.createSocket('udp4');
    open.push(peer);
    await new Promise<void>((resolve) => peer.bind(0, '127.0.0.1', resolve));
    const localPort = await freePort();
    const r = await rig({ backend: { kind: 'dgram', host: '127.0.0.1', port: peer.address().port, localPort } });
    const frame = ethernet(new Uint8Array(6).fill(255), r.driver.mac, 0x88b5, patternBytes(200));
    const came = new Promise<Buffer>((resolve) => peer.once('message', resolve));
    r.driver.send(frame);
    expect([...await came]).toEqual([...frame]);
    peer.send(ethernet(r.driver.mac, frame.subarray(6, 12), 0x88b5, patternBytes(80)), localPort, '127.0.0.1');
    expect((await r.frame(() => true)).length).toBe(94);
  });
});

describe('capture', () => {
  it('is a pcap with nanoseconds that holds every frame with complete checksums', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-pcap-'));
    try {
      const file = path.join(folder, 'x.pcap');
      const r = await rig({ backend: { kind: 'user' }, pcap: file });
      const echoes = await server((socket) => socket.pipe(socket));
      const program = new Program(patternBytes(20_000));
      program.start(r.stack.connect(gateway, echoes, ports++, program));
      await r.until(() => program.over);
      await rigs.pop()!.stop();
      const b = readFileSync(file);
      expect([b.readUInt32LE(0), b.readUInt16LE(4), b.readUInt16LE(6), b.readUInt32LE(20)]).toEqual([0xa1b2_3c4d, 2, 4, 1]);
      let out = 0;
      let back = 0;
      for (let at = 24; at < b.length;) {
        const kept = b.readUInt32LE(at + 8);
        expect(b.readUInt32LE(at + 12)).toBe(kept);
        expect(b.readUInt32LE(at + 4)).toBeLessThan(1e9);
        const seen = parse(new Uint8Array(b.subarray(at + 16, at + 16 + kept))); // checks the checksums
        if (seen.source === guest) out += seen.data.length;
        if (seen.destination === guest) back += seen.data.length;
        at += 16 + kept;
      }
      expect([out, back]).toEqual([20_000, 20_000]);
      expect(get32(b, 0)).toBe(0x4d3c_b2a1);
      // Where there is tshark, it is the judge: nothing malformed, no wrong checksum, no warning.
      const judge = spawnSync('tshark', ['-r', file, '-o', 'tcp.check_checksum:TRUE', '-o', 'ip.check_checksum:TRUE', '-Y', '_ws.malformed || _ws.expert.severity >= 0x600000'], { encoding: 'utf8' });
      if (judge.status === 0) expect(judge.stdout).toBe('');
    } finally { rmSync(folder, { recursive: true, force: true }); }
  });

  it('a file that cannot be made is named', async () => {
    const r = new LiveRig({ backend: { kind: 'user' }, pcap: '/nonexistent/x.pcap' });
    rigs.push(r);
    expect((await failure(r.io.start())).message).toBe('--pcap /nonexistent/x.pcap: its folder does not exist');
  });
});

describe('the I/O worker', () => {
  it('that dies is reported', async () => {
    const r = await rig();
    await r.io.kill();
    expect(r.died).toMatch(/exited/);
    // As the parallel machine does then: the guest sees the link go down, and its frames do not pile up.
    r.chipset.nic!.unplug();
    expect(r.driver.read(r.driver.device + 6, 2)).toBe(0);
    for (let k = 0; k < 600; k++) r.driver.send(echo(r.driver.mac, guest, gateway, k, new Uint8Array(8)));
  });
});
