/**
 * Rings whose other side lies: to net its driver, to process net, to net process. The words of the rings are changed in the machine's memory between two instructions, by rules drawn
 * from a seed, with check words that are right where a liar would have made them so; meanwhile streams go both ways. Against the driver nothing may go wrong at all; against
 * net and process a program may hear nonsense, but no server dies of it, and when the liar has been replaced everything works.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { RING } from '../../servers/protocols/ring.ts';
import { NET } from '../../servers/protocols/net.ts';
import { REGION } from '../../servers/protocols/startup.ts';
import { ensureGuest, GUEST_FOLDER } from '../../tools/cli/guest.ts';
import { ChannelDecoder } from '../../tools/cli/channel.ts';
import { systemConfig, type SystemOptions } from '../../tools/cli/system.ts';
import { regionsOf, spaceOf } from '../../tools/lab/guest-view.ts';
import { createEngine } from '../../vm/cpu/engine.ts';
import { FaultPort } from '../../vm/faults.ts';
import { DeterministicMachine } from '../../vm/machine.ts';
import { Random } from './generator.ts';

const FULL = process.env['KINTSUGI_FULL'] !== undefined;
const options: SystemOptions = { place: 'follow', smp: 1, memoryMiB: 128, deterministic: true, seed: 1, timeoutSeconds: 900, jit: 'on', append: '' };
const SERVED = 0, TRANSMIT = 1, RECEIVE = 2; // net's rings
const { request: REQUEST, status: STATUS } = RING;
const SEQ_KEY = 0x9e3779b1;
const STATUS_KEYS = [0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f, 0x165667b1, 0xd3a2646d];
const REQUEST_KEYS = [SEQ_KEY, 0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f, 0x165667b1, 0xd3a2646d, 0xfd7046c5, 0xb55a4f09, 0x8da6b343, 0xd8163841, 0xcb1ab31f, 0xa54ff53b, 0x6c8e9cf5, 0x7feb352d, 0x846ca68b];
const weigh = (words: readonly number[], keys: readonly number[]): number => words.reduce((sum, word, n) => (sum + Math.imul(word, keys[n]!)) | 0, 0);

/** A ring as it lies in the machine, seen through net's mappings. */
class Ring {
  readonly port: FaultPort; readonly cr3: number; readonly request: number; readonly status: number;
  constructor(port: FaultPort, cr3: number, n: number) {
    const regions = regionsOf(port, cr3), va = (role: number): number => regions.find((r) => r.role === role + n)!.va;
    this.port = port; this.cr3 = cr3; this.request = va(REGION.ringRequest); this.status = va(REGION.ringStatus);
  }
  get(at: number): number { return this.port.readWord(this.cr3, at)!; }
  set(at: number, value: number): void { this.port.writeWord(this.cr3, at, value >>> 0); }
  add(at: number, more: number): void { this.set(at, this.get(at) + more); }
  entry(n: number): number { return this.request + REQUEST.header.size + n * REQUEST.entry.size; }
  answer(n: number): number { return this.status + STATUS.header.size + n * STATUS.entry.size; }
  slots(which: (seq: number, answered: number, state: number) => boolean): number[] {
    return Array.from({ length: RING.slots }, (_, n) => n).filter((n) => { const seq = this.get(this.entry(n) + REQUEST.entry.seq); return seq !== 0 && which(seq, this.get(this.answer(n) + STATUS.entry.seq), this.get(this.answer(n) + STATUS.entry.state)); });
  }
  /** Taken and not answered. */
  inWork(): number[] { return this.slots((seq, answered, state) => answered === seq && state === RING.state.taken); }
  /** Posted and not taken. */
  posted(): number[] { return this.slots((seq, answered) => answered !== seq); }
  /** An answer to what slot n asks, with everything about it right but what it says. */
  answerWith(n: number, words: readonly [status: number, r0: number, r1: number, r2: number, r3: number]): void {
    const at = this.answer(n), seq = this.get(this.entry(n) + REQUEST.entry.seq);
    this.set(at + STATUS.entry.seq, seq);
    words.forEach((word, k) => this.set(at + STATUS.entry.status + 4 * k, word));
    this.set(at + STATUS.entry.guard, Math.imul(n, 0x5bd1e995) + 0x53544154 + Math.imul(seq, SEQ_KEY) + weigh(words, STATUS_KEYS) | 0);
    this.set(at + STATUS.entry.state, RING.state.done);
    this.add(this.status + STATUS.header.done, 1);
  }
  /** Entry n says something else, and says it well. */
  alter(n: number, at: number, value: number): void {
    const e = this.entry(n);
    this.set(e + at, value);
    this.set(e + REQUEST.entry.guard, Math.imul(n, 0x5bd1e995) + 0x52494e47 + weigh(Array.from({ length: 15 }, (_, k) => this.get(e + 4 * k)), REQUEST_KEYS) | 0);
  }
}
/** Says something wrong in ring r, if there is something to say it about. */
type Lie = (x: Random, ring: (n: number) => Ring) => boolean;
const some = (x: Random, slots: readonly number[], lie: (n: number) => void): boolean => { if (slots.length === 0) return false; lie(x.pick(slots)); return true; };
const driverRing = (x: Random, ring: (n: number) => Ring): Ring => ring(x.chance(300) ? TRANSMIT : RECEIVE);
const LENGTHS = [0, 5, 13, 14, 20, 60, 1000, 1514, 2014, 2015, 2016, 2032, 2033, 2048, 65535, 0x8000_0000, 0xffff_ffff];
const STATUSES = [1, 5, 34, 38, 0x7fff_ffff, -1, -4095, -4096, -5000, RING.poison, RING.gone, RING.restart, RING.damaged, 0x8000_0000];

const OF_THE_DRIVER: Record<string, Lie> = {
  'frames that nobody received, of any length': (x, ring) => { const r = ring(RECEIVE); return some(x, r.inWork(), (n) => r.answerWith(n, [0, x.pick(LENGTHS), x.pick([0, 0, 2, 0xffff_fffe]), x.next(), x.next()])); },
  'sent, before it is': (x, ring) => { const r = ring(TRANSMIT); return some(x, r.inWork(), (n) => r.answerWith(n, [0, x.next(), x.next(), x.next(), x.next()])); },
  'answers to what it has not taken': (x, ring) => { const r = ring(x.chance(700) ? TRANSMIT : RECEIVE); return some(x, r.posted(), (n) => r.answerWith(n, [x.pick([0, 5, 34]), x.pick(LENGTHS), 0, 0, 0])); },
  'a status that is none': (x, ring) => { const r = driverRing(x, ring); return some(x, r.inWork(), (n) => r.answerWith(n, [x.pick(STATUSES), x.next(), x.next(), x.next(), x.next()])); },
  'check words, and what they are over': (x, ring) => { const r = driverRing(x, ring); return some(x, r.inWork(), (n) => { r.answerWith(n, [0, 60, 1, 0, 0]); r.set(r.answer(n) + 4 * (3 + x.below(6)), x.next()); }); },
  'numbers of entries': (x, ring) => { const r = driverRing(x, ring); return some(x, r.inWork(), (n) => r.add(r.answer(n) + STATUS.entry.seq, x.pick([1, -1, 1000, -1000]))); },
  'states that are none': (x, ring) => { const r = driverRing(x, ring); return some(x, r.inWork(), (n) => { r.set(r.answer(n) + STATUS.entry.state, x.pick([0, 3, 255, 0xffff_ffff])); r.add(r.status + STATUS.header.done, 1); }); },
  'epochs of entries': (x, ring) => { const r = driverRing(x, ring); return some(x, r.inWork(), (n) => { r.answerWith(n, [0, 60, 0, 0, 0]); r.add(r.answer(n) + STATUS.entry.epoch, x.pick([1, 5, 1000, -1, -7])); }); },
  'its epoch': (x, ring) => { const r = driverRing(x, ring); r.add(r.status + STATUS.header.epoch, x.pick([1, 2, -1, 1000])); r.add(r.status + STATUS.header.done, 1); return true; },
  'counts of the header': (x, ring) => { const r = driverRing(x, ring), { taken, done, running, damaged, doubled, missing } = STATUS.header; const at = r.status + x.pick([taken, done, done, running, damaged, doubled, missing, missing]); r.set(at, x.pick([0, 1, r.get(at) + 1, r.get(at) - 1, r.get(at) + 64, x.next()])); return true; },
  'an answer is lost': (x, ring) => { const r = driverRing(x, ring); return some(x, r.slots((seq, answered, state) => answered === seq && state === RING.state.done), (n) => { r.set(r.answer(n) + STATUS.entry.state, RING.state.taken); r.add(r.status + STATUS.header.done, -1); }); },
  'an answer once more, for another': (x, ring) => {
    const r = driverRing(x, ring), done = r.slots((seq, answered, state) => answered === seq && state === RING.state.done), open = r.inWork();
    if (done.length === 0 || open.length === 0) return false;
    const from = r.answer(x.pick(done)), to = r.answer(x.pick(open));
    for (let k = x.below(2); k < STATUS.entry.size >> 2; k++) r.set(to + 4 * k, r.get(from + 4 * k));
    r.add(r.status + STATUS.header.done, 1);
    return true;
  },
  'a card that cannot be, another link and MTU': (x, ring) => {
    for (const [n, op] of [[TRANSMIT, 1], [RECEIVE, 5]] as const) {
      const r = ring(n), slot = r.inWork().find((k) => r.get(r.entry(k) + REQUEST.entry.op) === op);
      if (slot !== undefined) { r.answerWith(slot, [x.pick([0, 0, 5]), x.pick([0x12005452, 0x12005452, 1, 0x12005453]), 0x5634, x.pick([1500 | 3 << 16, 1500, 0, 68 | 3 << 16, 0xffff_ffff]), x.next()]); return true; }
    }
    return false;
  },
};
/** After these only another driver helps. */
const NO_DRIVER: Record<string, Lie> = {
  'that it never was': (x, ring) => { ring(RECEIVE).set(ring(RECEIVE).status + STATUS.header.magic, 0); ring(TRANSMIT).set(ring(TRANSMIT).status + STATUS.header.magic, x.next()); return true; },
  'that it will never come': (x, ring) => { const r = driverRing(x, ring); r.set(r.status + STATUS.header.failed, 1); r.add(r.status + STATUS.header.missing, 1); return true; },
};
const OF_NET: Record<string, Lie> = {
  'lengths and positions': (x, ring) => { const r = ring(SERVED); return some(x, r.inWork(), (n) => r.answerWith(n, [0, x.pick(LENGTHS), x.pick(LENGTHS), x.next(), x.next()])); },
  'a status that is none': (x, ring) => { const r = ring(SERVED); return some(x, r.inWork(), (n) => r.answerWith(n, [x.pick(STATUSES), x.pick(LENGTHS), x.next(), x.next(), x.next()])); },
  'before it has taken it': (x, ring) => { const r = ring(SERVED); return some(x, r.posted(), (n) => r.answerWith(n, [x.pick([0, ...STATUSES]), x.pick(LENGTHS), x.next(), x.next(), x.next()])); },
  'header and numbers': (x, ring) => { const r = ring(SERVED); r.set(r.status + x.pick([8, 12, 16, 20, 24 + 4 * 1, 32, 36]), x.next()); return some(x, r.inWork(), (n) => r.add(r.answer(n) + STATUS.entry.seq, x.pick([1, -1, 77]))); },
};
const KEPT: readonly number[] = [NET.ops.configure.op, NET.ops.retain.op]; // process may configure the network away, and close everything: that is no damage
const CODES = Object.values(NET.ops).map(({ op }) => op as number).filter((op) => !KEPT.includes(op));
const OF_PROCESS: Record<string, Lie> = {
  'arguments': (x, ring) => { const r = ring(SERVED); return some(x, r.posted().filter((n) => !KEPT.includes(r.get(r.entry(n) + REQUEST.entry.op))), (n) => r.alter(n, REQUEST.entry.a0 + 4 * x.below(6), x.pick([0, 1, 3, 4095, 65537, 1 << 20, (1 << 20) - 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff_f001, x.next()]))); },
  'operations': (x, ring) => { const r = ring(SERVED); return some(x, r.posted(), (n) => r.alter(n, REQUEST.entry.op, x.pick([0, 21, 99, 0xffff_ffff, ...CODES]))); },
  'ids, order, flags': (x, ring) => { const r = ring(SERVED); return some(x, r.posted(), (n) => r.alter(n, x.pick([REQUEST.entry.id, REQUEST.entry.order, REQUEST.entry.flags, REQUEST.entry.keySub]), x.next())); },
  'check words': (x, ring) => { const r = ring(SERVED); return some(x, r.posted(), (n) => r.set(r.entry(n) + REQUEST.entry.guard, x.next())); },
  'header': (x, ring) => { const r = ring(SERVED), { head, again, epoch, ownerState, dataBytes, reposted, repaired } = REQUEST.header; r.set(r.request + x.pick([head, head, again, epoch, ownerState, dataBytes, reposted, repaired]), x.next()); return true; },
};

interface Outcome { section: (name: string) => string; log: string; lies: Map<string, number> }
/** Runs `text`, with `most` lies from 0.3 s of virtual time on. */
async function run(seed: number, lies: Record<string, Lie>, most: number, text: string): Promise<Outcome> {
  const out: Buffer[] = [], log: Buffer[] = [], said = new Map<string, number>(), x = new Random(seed), names = Object.keys(lies);
  const decoder = new ChannelDecoder((frame) => { if (frame.kind === 'output') out.push(Buffer.from(frame.data)); }, (message) => { throw new Error(message); });
  const machine = new DeterministicMachine(systemConfig({ ...options, seed, net: { backend: { kind: 'user' } } }, ['sh', '-c', text], { com1: (bytes) => log.push(Buffer.from(bytes)), com2: (bytes) => decoder.push(bytes) }), createEngine);
  const port = new FaultPort(machine);
  let net = 0, left = most;
  while (true) {
    const lying = left > 0 && machine.virtualNs > 0.3e9;
    const { pause } = machine.runFor(lying ? 100 + x.below(1500) : 50_000);
    if (pause === 'stopped' || pause === 'idle') break;
    if (machine.virtualNs > 600e9) throw new Error(`it does not end; log: ${Buffer.concat(log).toString()}`);
    const { cr3, user } = port.position(0), name = user ? spaceOf(port, cr3).name : '';
    if (name === 'net') net = cr3;
    if (!lying || net === 0 || spaceOf(port, net).name !== 'net' || !(name === 'net' || name === 'virtio-net' || name === 'process' || x.chance(20))) continue;
    const what = x.pick(names), at = net;
    if (lies[what]!(x, (n) => new Ring(port, at, n))) { left--; said.set(what, (said.get(what) ?? 0) + 1); }
  }
  const parts = new Map(Buffer.concat(out).toString().split(/^== /m).slice(1).map((s) => [s.slice(0, s.indexOf('\n')), s.slice(s.indexOf('\n') + 1)]));
  return { lies: said, log: Buffer.concat(log).toString(), section: (name) => parts.get(name) ?? `(no section ${name}; log: ${Buffer.concat(log).toString()})` };
}
beforeAll(() => ensureGuest(), 600_000);
const sumOf = (name: string): string => createHash('sha256').update(readFileSync(path.join(GUEST_FOLDER, `${name}.elf`))).digest('hex');
const count = (r: Outcome, name: string): number => Number(new RegExp(`^ *(\\d+)  ${name}$`, 'm').exec(r.section('counters'))?.[1] ?? 0);
/** The servers' generations. */
const generations = (r: Outcome, section: string): string[] => [...r.section(section).matchAll(/^ *S +\d+ +- +\d+ +(\d+) .* (process|net|virtio-net|fs|tty)$/gm)].map((m) => `${m[2]} ${m[1]}`);
const ECHO = 'cat /bin/sh | nc 10.0.2.2 7 | sha256sum';

describe('the driver', () => {
  it.each(FULL ? [1, 2, 3, 4, 5, 6, 7, 8] : [1, 2])('lies to net in its rings: no byte is wrong, no server dies (seed %i)', { timeout: 600_000 }, async (seed) => {
    const most = FULL ? 3000 : 600;
    const r = await run(seed, OF_THE_DRIVER, most, `
wget -q -O - http://10.0.2.2/ > /tmp/x; echo == before; ps; sleep 0.2
echo == streams; for k in $(seq 1 ${FULL ? 40 : 8}); do for t in 1 2 3; do cat /bin/sh | nc 10.0.2.2 7 > /tmp/o && break; done; sha256sum < /tmp/o; done 2> /tmp/errors
echo == counters; netstat -s; echo == after; ps; kill virtio-net; sleep 0.1; echo == again; ${ECHO}; ping -c 2 -i 0.01 10.0.2.2 | grep transmitted; ifconfig eth0
echo == end
`);
    const all = `${sumOf('sh')}  -\n`;
    expect([...r.lies.keys()].sort()).toEqual(Object.keys(OF_THE_DRIVER).sort());
    // An attempt to connect may find no neighbour (its answers were lost), but what goes through is right.
    expect(r.section('streams')).toBe(all.repeat(FULL ? 40 : 8));
    const others = (section: string): string[] => generations(r, section).filter((g) => !g.startsWith('virtio-net'));
    expect(others('after'), r.log).toEqual(others('before'));
    for (const name of ['frame_refused', 'driver_answer_bad', 'ring_refused', 'ring_repaired']) expect(count(r, name), name).toBeGreaterThan(0);
    expect(r.section('again')).toContain(all);
    expect(r.section('again')).toContain('2 received');
    expect(r.section('again')).toContain('RUNNING');
    expect(r.log).not.toMatch(/given up/);
  });
  it.each(Object.keys(NO_DRIVER))('says %s: the next one is believed', { timeout: 600_000 }, async (name) => {
    const r = await run(1, { [name]: NO_DRIVER[name]! }, 3, `
wget -q -O - http://10.0.2.2/ > /tmp/x; echo == before; ps; sleep 0.2
(${ECHO} > /tmp/sum) & sleep 0.3; kill virtio-net; wait
echo == after; cat /tmp/sum; ${ECHO}; ifconfig eth0; ps
echo == end
`);
    expect(r.section('after')).toContain(`${sumOf('sh')}  -\n`.repeat(2));
    expect(r.section('after')).toContain('RUNNING');
    expect(generations(r, 'after').find((g) => g.startsWith('net '))).toBe('net 1');
  });
});
const AFTER = `
wget -q -O - http://10.0.2.2/ > /tmp/x; echo == before; ps; sleep 0.2
echo == streams; for k in $(seq 1 ${FULL ? 60 : 15}); do
  nc -w 2 10.0.2.2 7 < /bin/true > /tmp/n & P=$!; wget -q -O /tmp/y http://10.0.2.2/bytes/20000 & P="$P $!"; ping -c 2 -i 0.01 -W 0.1 10.0.2.2 & P="$P $!"
  nslookup peer.test & P="$P $!"; netstat -a & P="$P $!"; ifconfig & P="$P $!"; sleep 0.1; kill -9 $P; wait
done > /tmp/said 2>&1
echo == counters; netstat -s; echo == after; ps; kill net; sleep 1; echo == again; ${ECHO}; netstat -s > /tmp/z; wc -l < /tmp/z
echo == end
`;
describe.each([['net', 'process', OF_NET], ['process', 'net', OF_PROCESS]] as const)('%s', (who, victim, lies) => {
  it.each(FULL ? [1, 2, 3, 4] : [1])(`lies to ${victim} in their ring: nobody dies of it, and then all is well (seed %i)`, { timeout: 600_000 }, async (seed) => {
    const r = await run(seed, lies, FULL ? 1000 : 250, AFTER);
    expect([...r.lies.keys()].sort()).toEqual(Object.keys(lies).sort());
    expect(generations(r, 'after'), r.log).toEqual(generations(r, 'before'));
    expect(r.section('again')).toMatch(new RegExp(`^${sumOf('sh')}  -\n *\\d+\n$`));
    if (who === 'process') expect(count(r, 'ops_bad')).toBeGreaterThan(0);
    expect(r.log).not.toMatch(/given up/);
  });
});
