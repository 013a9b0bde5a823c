/**
 * The driver distrusts the device: a card that lies in its used rings and headers, changes its configuration, interrupts for nothing or falls back to its reset state under
 * the driver. Either the driver goes on, or it ends and the supervisor starts it anew; programs see a slow network at worst, and when the card behaves again all is well.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { createHash } from 'node:crypto';
import { ensureGuest } from '../../tools/cli/guest.ts';
import { ChannelDecoder } from '../../tools/cli/channel.ts';
import { systemConfig, type SystemOptions } from '../../tools/cli/system.ts';
import { createEngine } from '../../vm/cpu/engine.ts';
import { NET_QUEUE, type VirtioNet } from '../../vm/devices/virtio-net.ts';
import { VIRTIO_REGION } from '../../vm/devices/virtio-pci.ts';
import { DeterministicMachine } from '../../vm/machine.ts';
import type { FrameBatch } from '../../vm/net/frames.ts';
import { pattern } from '../../vm/net/user/pattern.ts';
import { Random } from '../net/generator.ts';

const FULL = process.env['KINTSUGI_FULL'] !== undefined;
const options: SystemOptions = { place: 'follow', smp: 1, memoryMiB: 128, deterministic: true, seed: 1, timeoutSeconds: 200, jit: 'on', append: '' };

/** The parts of the card that only it should touch. */
interface Inside {
  s: { usedLow: Uint32Array; usedNext: Uint32Array; descLow: Uint32Array; queueSize: Uint32Array; isr: number; status: number };
  memory: { words: Uint32Array; halves: Uint16Array };
  interruptQueue(): void; interruptConfig(): void; violate(violation: string): void;
}
class Liar {
  readonly x: Random; readonly nic: VirtioNet; readonly inside: Inside;
  lies = 0;
  readonly now: () => number;
  constructor(nic: VirtioNet, seed: number, now: () => number, window: readonly [from: number, to: number], share: number, lie: (l: Liar, q: number, before: number) => void) {
    this.now = now;
    this.x = new Random(seed); this.nic = nic; this.inside = nic as unknown as Inside;
    const wrap = <T extends unknown[]>(q: number, call: (...a: T) => number) => (...a: T): number => {
      const before = this.inside.s.usedNext[q]!, n = call(...a);
      if (now() >= window[0] && now() < window[1] && this.inside.s.usedNext[q] !== before && this.x.chance(share)) { this.lies++; lie(this, q, before); }
      return n;
    };
    const receive = nic.receive.bind(nic), transmit = nic.transmit.bind(nic);
    nic.receive = wrap(NET_QUEUE.RX, (batch: FrameBatch, most?: number) => receive(batch, most));
    nic.transmit = wrap(NET_QUEUE.TX, (batch: FrameBatch) => transmit(batch));
  }
  /** The used entry written last, as index of words. */
  entry(q: number, back = 1): number { const { s } = this.inside; return (s.usedLow[q]! + 4 + 8 * (s.usedNext[q]! - back & s.queueSize[q]! - 1)) >> 2; }
  index(q: number, value: number): void { const { s, memory } = this.inside; memory.halves[s.usedLow[q]! + 2 >> 1] = value; }
}
type Lie = (l: Liar, q: number, before: number) => void;
const LIES: Record<string, Lie> = {
  'ids out of range, of no head': (l, q) => { l.inside.memory.words[l.entry(q)] = l.x.pick([0xffff_ffff, 256, 1, 65535, l.inside.s.queueSize[q]!]); },
  'the same id again': (l, q) => { l.inside.memory.words[l.entry(q)] = l.inside.memory.words[l.entry(q, 2)]!; },
  'lengths': (l, q) => { l.inside.memory.words[l.entry(q) + 1] = l.x.pick([0, 5, 12, 25, 26, 2049, 65535, 0xffff_ffff]); },
  'headers': (l, q) => {
    const { words, halves } = l.inside.memory, head = words[l.entry(q)]!, header = words[l.inside.s.descLow[q]! + 16 * head >> 2]!;
    for (let k = 0; k < 6; k++) halves[(header >> 1) + k] = l.x.pick([0, 1, 2, 65535, l.x.next() & 65535]);
  },
  'the index runs ahead': (l, q) => l.index(q, l.inside.s.usedNext[q]! + l.x.pick([1, 5, 300, 32768])),
  'the index goes back': (l, q, before) => l.index(q, before - l.x.pick([0, 1, 200])),
  'buffers kept': (l, q, before) => { l.inside.s.usedNext[q] = before; l.index(q, before); },
  'interrupts for nothing': (l) => { for (let n = 0; n < 3; n++) { l.inside.interruptQueue(); l.inside.interruptConfig(); } },
  'the configuration changes': (l) => { const { state } = l.nic; state.mtu = l.x.pick([0, 1, 67, 576, 1500, 65535]); state.status = l.x.below(4); l.inside.interruptConfig(); },
  'reset': (l) => l.nic.reset(),
  'needs a reset, it says': (l) => l.inside.violate('queue size'),
};
/** The line stays up whatever the driver reads, for seconds. */
const scream: Lie = (l) => {
  if (l.lies > 1) return;
  const read = l.nic.read.bind(l.nic);
  l.nic.read = (offset, size) => { const value = read(offset, size); if (offset === VIRTIO_REGION.ISR && l.now() < 6e9) l.inside.interruptQueue(); return value; };
  l.inside.interruptQueue();
};
const ENDINGS = new Set(['reset', 'needs a reset, it says']);

interface Outcome { section: (name: string) => string; log: string; lies: number }
async function run(seed: number, lie: Lie, share: number, window: readonly [number, number]): Promise<Outcome> {
  const out: Buffer[] = [], log: Buffer[] = [];
  const decoder = new ChannelDecoder((frame) => { if (frame.kind === 'output') out.push(Buffer.from(frame.data)); }, (message) => { throw new Error(message); });
  const text = `
wget -q -O - http://10.0.2.2/ > /tmp/x; (for k in $(seq 1 9); do sleep 0.7; ping -c 1 -W 0.1 10.0.2.2; done) > /tmp/ping &
for k in $(seq 1 8); do wget -q -O - http://10.0.2.2/bytes/200000 | sha256sum; sleep 0.3; done
wait
echo == after; sleep 30; wget -q -O - http://10.0.2.2/bytes/200000 | sha256sum; ping -c 3 -i 0.1 10.0.2.2 | grep -c 'icmp_seq'
echo == ps; ps
echo == end
`;
  const machine = new DeterministicMachine(systemConfig({ ...options, seed, net: { backend: { kind: 'user' } } }, ['sh', '-c', text], { com1: (bytes) => log.push(Buffer.from(bytes)), com2: (bytes) => decoder.push(bytes) }), createEngine);
  const liar = new Liar(machine.chipset.nic!, seed, () => machine.virtualNs, window, share, lie);
  // Afterwards the card behaves again: what it said last of its link and MTU is not what it stays with.
  for (let honest = false, pause = ''; pause !== 'stopped' && pause !== 'idle';) {
    ({ pause } = machine.runFor(200_000));
    if (machine.virtualNs > 600e9) throw new Error('it does not end');
    if (honest || machine.virtualNs < window[1]) continue;
    honest = true;
    liar.nic.state.mtu = 1500;
    liar.nic.setLink(true);
    liar.inside.interruptConfig();
  }
  const parts = new Map(Buffer.concat(out).toString().split(/^== /m).slice(1).map((s) => [s.slice(0, s.indexOf('\n')), s.slice(s.indexOf('\n') + 1)]));
  const logText = Buffer.concat(log).toString();
  return { lies: liar.lies, log: logText, section: (name) => parts.get(name) ?? `(no section ${name}; log: ${logText})` };
}
const sum = ((): string => { const all = new Uint8Array(200_000); pattern(0, 0, all); return createHash('sha256').update(all).digest('hex'); })();
function well(r: Outcome): void {
  expect(r.section('after')).toBe(`${sum}  -\n3\n`);
  expect(r.section('ps')).toMatch(/ waiting .* net\n.* waiting .* virtio-net\n/);
  expect(r.log).not.toMatch(/ is given up/);
}
beforeAll(() => ensureGuest(), 600_000);

/** In the suite several lies at once, each alone with KINTSUGI_FULL. */
const TOGETHER: Record<string, readonly string[]> = {
  'with ids, lengths, headers, interrupts and configuration': ['ids out of range, of no head', 'the same id again', 'lengths', 'headers', 'interrupts for nothing', 'the configuration changes'],
  'with the index, and keeps buffers': ['the index runs ahead', 'the index goes back', 'buffers kept'],
  'by falling back': Object.keys(LIES).filter((name) => ENDINGS.has(name)),
};
type Case = [name: string, seed: number, lies: readonly string[]];
describe('a card that lies', () => {
  const together = Object.entries(TOGETHER), alone = FULL ? Object.keys(LIES).flatMap((name) => [1, 2, 3].map((seed): Case => [name, seed, [name]])) : [];
  const cases: Case[] = [...alone, ...together.map(([name, all]): Case => [name, 4, all])];
  it.each(cases)('%s, seed %i', { timeout: 600_000 }, async (_, seed, names) => {
    const r = await run(seed, (l, q, before) => LIES[l.x.pick(names)]!(l, q, before), names.some((name) => ENDINGS.has(name)) ? 20 : 50, [0.3e9, 4e9]);
    expect(r.lies).toBeGreaterThan(0);
    well(r);
  });
  it('that it has something to say, without end: it does not keep the processor', { timeout: 600_000 }, async () => {
    const r = await run(1, scream, 1000, [0.3e9, 4e9]);
    expect(r.log).toContain('device stopped: it interrupts for nothing');
    well(r);
  });
});
