/**
 * The whole machine under the hostile frames of generator.ts: kernel, driver, net, process and programs, with streams under way. The peer is the built-in gateway with its
 * services; beside it somebody sends what no gateway would. The books must balance: each frame put on the wire was lost there by name, refused by the card by name, or
 * counted by net under exactly one name.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ensureGuest, GUEST_FOLDER } from '../../tools/cli/guest.ts';
import { systemConfig, type SystemOptions } from '../../tools/cli/system.ts';
import { ChannelDecoder } from '../../tools/cli/channel.ts';
import { createEngine } from '../../vm/cpu/engine.ts';
import { DeterministicMachine } from '../../vm/machine.ts';
import type { ScriptedPeer, ScriptedWire } from '../../vm/net/config.ts';
import { FrameBatch } from '../../vm/net/frames.ts';
import { ADDRESS, UserNetwork } from '../../vm/net/user/network.ts';
import { Services } from '../../vm/net/user/services.ts';
import { CLASSES, Generator, Observer, type HostileClass } from './generator.ts';
import { OUTCOMES } from './hostile-world.ts';
import * as P from './packet.ts';

const FULL = process.env['KINTSUGI_FULL'] !== undefined;
const options: SystemOptions = { place: 'follow', smp: 1, memoryMiB: 128, deterministic: true, seed: 1, timeoutSeconds: 900, jit: 'on', append: '' };
const ATTACK_PORT = 6666; // a SYN to this port of the gateway starts the attack

class HostilePeer implements ScriptedPeer {
  /** While streams go one way, others ask the guest's server. */
  readonly services = new Services(() => 1.77e9, [0.4e9, 0.45e9, 0.5e9].map((atNs) => ({ port: 80, send: 'GET /motd HTTP/1.0\r\n\r\n', atNs })));
  readonly network: UserNetwork;
  readonly seen = new Observer(ADDRESS.guest);
  readonly g: Generator;
  /** Hostile frames sent, and all frames. */
  hostile = 0;
  sent = 0;
  readonly #classes: readonly HostileClass[];
  readonly #most: number;
  #now = 0; #random = 1; #attackNs = Infinity;
  constructor(seed: number, classes: readonly HostileClass[], most: number) {
    this.#classes = classes;
    this.#most = most;
    this.network = new UserNetwork({ now: () => this.#now }, 1500, () => (this.#random = Math.imul(this.#random, 1_103_515_245) + 12_345 >>> 0), this.services);
    this.services.network = this.network;
    this.g = new Generator(seed, { mac: P.mac('52:54:00:12:34:56'), ip: ADDRESS.guest, gatewayMac: P.mac('52:55:0a:00:02:02'), gateway: ADDRESS.gateway, listens: [80], datagrams: [7], mtu: 1500 }, this.seen);
  }
  #send(wire: ScriptedWire, frame: Uint8Array): void { this.sent++; wire.send(frame); }
  #drain(wire: ScriptedWire): void {
    const { out } = this.network;
    while (out.count > 0) {
      for (let k = 0; k < out.count; k++) { out.finish(k); const f = out.frame(k).slice(); this.seen.see(f); this.#send(wire, f); }
      out.clear();
      this.network.drained();
    }
    const next = Math.min(this.network.wakeNs, this.services.wakeNs, this.#attackNs);
    if (next !== Infinity) wire.wakeAt(Math.max(next, this.#now));
  }
  frame(frame: Uint8Array, nowNs: number, wire: ScriptedWire): void {
    this.#now = nowNs;
    this.seen.see(frame);
    if (frame.length > 50 && frame[12] === 8 && frame[13] === 0 && frame[23] === 6 && P.get16(frame, 36) === ATTACK_PORT && this.#attackNs === Infinity) this.#attackNs = nowNs;
    const batch = new FrameBatch(1, frame.length + 8);
    batch.push(frame, 0, 0);
    this.network.input(batch);
    this.#drain(wire);
  }
  woken(nowNs: number, wire: ScriptedWire): void {
    this.#now = nowNs;
    if (this.services.wakeNs <= nowNs) { this.services.expire(); this.network.settle(); }
    if (this.network.wakeNs <= nowNs) this.network.expire();
    if (this.#attackNs <= nowNs) {
      const { frames } = this.g.next(this.#classes);
      for (const f of frames) if (f.length > 0) { this.hostile++; this.#send(wire, f); }
      this.#attackNs = this.hostile < this.#most ? nowNs + 50_000 + 25_000 * frames.length : Infinity;
    }
    this.#drain(wire);
  }
}
const program = (name: string): Buffer => readFileSync(path.join(GUEST_FOLDER, `${name}.elf`));
async function run(peer: HostilePeer, text: string, seed = 1): Promise<{ section: (name: string) => string; log: string; machine: DeterministicMachine }> {
  const out: Buffer[] = [], log: Buffer[] = [];
  const decoder = new ChannelDecoder((frame) => { if (frame.kind === 'output') out.push(Buffer.from(frame.data)); }, (message) => { throw new Error(message); });
  const machine = new DeterministicMachine(systemConfig({ ...options, seed, net: { backend: { kind: 'scripted', peer } } }, ['sh', '-c', text], { com1: (bytes) => log.push(Buffer.from(bytes)), com2: (bytes) => decoder.push(bytes) }), createEngine);
  await machine.run();
  const parts = new Map(Buffer.concat(out).toString().split(/^== /m).slice(1).map((s) => [s.slice(0, s.indexOf('\n')), s.slice(s.indexOf('\n') + 1)]));
  return { machine, log: Buffer.concat(log).toString(), section: (name) => parts.get(name) ?? `(no section ${name}; log: ${Buffer.concat(log).toString()})` };
}
beforeAll(() => ensureGuest(), 600_000);

const sum = createHash('sha256').update(program('sh')).digest('hex');
const frames = FULL ? 60_000 : 4000;
const SCRIPT = (transfers: number): string => `
httpd /etc & nc -u -l 7 > /tmp/datagrams & sleep 0.2; wget -q -O - http://10.0.2.2/ > /tmp/x
echo == before; netstat -a | sort; ps
echo == transfers; nc 10.0.2.2 ${ATTACK_PORT} 2>&1; for k in $(seq 1 ${transfers}); do cat /bin/sh | nc -w 5 10.0.2.2 7 | sha256sum; done
sleep 700
echo == after; netstat -a | sort; ps
echo == again; cat /bin/sh | nc 10.0.2.2 7 | sha256sum
echo == counters; netstat -s; ifconfig eth0
echo == end
kill %1 %2
`;
/** Sockets (whoever sent the first datagram to nc does not matter), servers with their generation, programs. */
const objects = (text: string): string[] => text.split('\n').filter((l) => !/ (ps|sort)$| zombie /.test(l)).map((l) => l.replace(/^(udp .{37}).*/, '$1').replace(/ (serving|waiting|running|blocked|ready) +[\d.]+ /, ' ').trim()).filter(Boolean);
/** What the machine says happened is what happened: a frame of the wire is lost on it, refused by the card, or ends at net in one place. */
function balance(peer: HostilePeer, r: Awaited<ReturnType<typeof run>>): void {
  const count = (name: string): number => Number(new RegExp(`^ *(\\d+)  ${name}$`, 'm').exec(r.section('counters'))?.[1] ?? 0);
  const { nic, dropped } = r.machine.net!;
  const onWire = [...dropped.values()].reduce((a, b) => a + b, 0), byCard = Object.values(nic.counters.dropped).reduce((a, b) => a + b, 0);
  let ended = count('frame_refused') - count('reassembled');
  for (const name of OUTCOMES) ended += count(name);
  expect({ card: nic.counters.framesIn, net: ended }).toEqual({ card: peer.sent - onWire - byCard, net: peer.sent - onWire - byCard });
  expect(peer.hostile).toBeGreaterThanOrEqual(frames);
  expect(count('frame_refused')).toBeLessThan(frames / 50);
}

describe('the machine under attack', () => {
  it('by somebody who guesses: streams go through, and what was there before is there after', { timeout: 600_000 }, async () => {
    const peer = new HostilePeer(1, CLASSES.filter((c) => c.blind), frames), r = await run(peer, SCRIPT(FULL ? 40 : 4));
    expect(r.section('transfers')).toMatch(new RegExp(`^[^\\n]*\\n(${sum}  -\\n)+$`));
    for (const { answer } of peer.services.calls) expect(Buffer.from(answer).toString()).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    balance(peer, r);
    expect(objects(r.section('after'))).toEqual(objects(r.section('before')));
    expect(r.section('again')).toBe(`${sum}  -\n`);
    expect(r.log).not.toMatch(/given up|died|restart/);
  });
  it('by somebody who reads along: connections may end, nothing else does', { timeout: 600_000 }, async () => {
    const peer = new HostilePeer(2, CLASSES, frames), r = await run(peer, SCRIPT(FULL ? 40 : 4));
    balance(peer, r);
    expect(objects(r.section('after'))).toEqual(objects(r.section('before')));
    expect(r.section('again')).toBe(`${sum}  -\n`);
    expect(r.log).not.toMatch(/given up|died|restart/);
  });
  it('by somebody who guesses, while net and its driver are killed', { timeout: 600_000 }, async () => {
    const peer = new HostilePeer(3, CLASSES.filter((c) => c.blind), frames);
    const r = await run(peer, SCRIPT(4).replace('for k in', `(for n in $(seq 1 6); do sleep 0.011; kill net; sleep 0.013; kill virtio-net; done) & for k in`), 3);
    expect(r.section('transfers')).toMatch(new RegExp(`^[^\\n]*\\n(${sum}  -\\n)+$`));
    expect(r.section('again')).toBe(`${sum}  -\n`);
    expect(objects(r.section('after')).map((l) => l.replace(/^(S +\d+ +- +\d+) +\d+/, '$1'))).toEqual(objects(r.section('before')).map((l) => l.replace(/^(S +\d+ +- +\d+) +\d+/, '$1')));
    expect(r.log).not.toMatch(/given up|died/);
  });
});
