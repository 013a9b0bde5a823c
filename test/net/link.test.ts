// The wire is cut and joined: net hears of it at once, through the driver (NETDEV.watch), also when either of them dies meanwhile.
import { beforeAll, describe, expect, it } from 'vitest';
import { createHash } from 'node:crypto';
import { ensureGuest } from '../../tools/cli/guest.ts';
import { ChannelDecoder } from '../../tools/cli/channel.ts';
import { systemConfig, type SystemOptions } from '../../tools/cli/system.ts';
import { createEngine } from '../../vm/cpu/engine.ts';
import { DeterministicMachine } from '../../vm/machine.ts';
import { pattern } from '../../vm/net/user/pattern.ts';

const options: SystemOptions = { place: 'follow', smp: 1, memoryMiB: 128, deterministic: true, seed: 1, timeoutSeconds: 200, jit: 'on', append: '' };
const SECOND = 1e9;
beforeAll(() => ensureGuest(), 600_000);

interface Outcome { section: (name: string) => string; log: string }
/** `wire`: when it is cut and joined in turn, virtual ns; 0 = it is cut from the beginning. */
async function run(wire: readonly number[], text: string): Promise<Outcome> {
  const out: Buffer[] = [], log: Buffer[] = [];
  const decoder = new ChannelDecoder((frame) => { if (frame.kind === 'output') out.push(Buffer.from(frame.data)); }, (message) => { throw new Error(message); });
  const machine = new DeterministicMachine(systemConfig({ ...options, net: { backend: { kind: 'user' } } }, ['sh', '-c', text], { com1: (bytes) => log.push(Buffer.from(bytes)), com2: (bytes) => decoder.push(bytes) }), createEngine);
  let up = true, next = 0;
  machine.net!.intercept = () => (up ? undefined : 'drop');
  while (true) {
    while (next < wire.length && machine.virtualNs >= wire[next]!) { up = !up; next++; machine.chipset.nic!.setLink(up); }
    const { pause } = machine.runFor(100_000);
    if (pause === 'stopped' || pause === 'idle') break;
    if (machine.virtualNs > 300 * SECOND) throw new Error('it does not end');
  }
  const parts = new Map(Buffer.concat(out).toString().split(/^== /m).slice(1).map((s) => [s.slice(0, s.indexOf('\n')), s.slice(s.indexOf('\n') + 1)]));
  return { log: Buffer.concat(log).toString(), section: (name) => parts.get(name) ?? `(no section ${name}; log: ${Buffer.concat(log).toString()})` };
}
const sum = ((): string => { const all = new Uint8Array(3_000_000); pattern(0, 0, all); return createHash('sha256').update(all).digest('hex'); })();
const count = (text: string, name: string): number => Number(new RegExp(`^ *(\\d+)  ${name}$`, 'm').exec(text)?.[1] ?? 0);

describe('the wire', () => {
  it('is cut and joined under a stream: DOWN is seen, DHCP asks at once, the stream goes on', { timeout: 300_000 }, async () => {
    const r = await run([1.005 * SECOND, 1.7 * SECOND], `
wget -q -O - http://10.0.2.2/ > /tmp/x; echo == before; ifconfig eth0; netstat -s
sleep 0.9; (wget -q -O - http://10.0.2.2/bytes/3000000 | sha256sum > /tmp/sum) &
while ifconfig eth0 | grep -q RUNNING; do sleep 0.05; done
echo == down; ifconfig eth0; echo lost | nc -u -w 0.1 10.0.2.2 7; ping -c 1 -W 0.1 10.0.2.2 | tail -1; ifconfig eth0
until ifconfig eth0 | grep -q RUNNING; do sleep 0.05; done
sleep 0.02; echo == up; ifconfig eth0; netstat -s; ping -c 1 -W 1 10.0.2.2 | grep transmitted
wait; echo == after; cat /tmp/sum; netstat -s
echo == end
`);
    expect(r.section('before')).toContain('flags=<UP,RUNNING,BROADCAST,DHCP>');
    expect(r.section('down').match(/flags=<UP,BROADCAST,DHCP>/g), r.section('down')).toHaveLength(2);
    expect(r.section('down')).toContain('inet 10.0.2.15');
    expect(r.section('down')).not.toContain('lost');
    expect(r.section('up')).toContain('flags=<UP,RUNNING,BROADCAST,DHCP>');
    expect(r.section('up')).toContain('1 received');
    expect([count(r.section('before'), 'dhcp_leases'), count(r.section('up'), 'dhcp_leases')]).toEqual([1, 2]);
    expect(count(r.section('up'), 'frame_no_link')).toBeGreaterThan(2);
    expect(r.section('after')).toContain(`${sum}  -\n`);
    expect(r.log).not.toMatch(/died|restart/);
  });
  it('comes when the machine is up already', { timeout: 300_000 }, async () => {
    const r = await run([0, 20 * SECOND], `
echo == none; ifconfig eth0
sleep 19.9; netstat -s; sleep 0.15; echo == there; ifconfig eth0; wget -q -O - http://10.0.2.2/bytes/3000000 | sha256sum
echo == end
`);
    expect(r.section('none')).toContain('flags=<UP,BROADCAST,DHCP>');
    expect(r.section('there')).toContain('inet 10.0.2.15');
    expect(r.section('there')).toContain(sum);
  });
  it('comes and goes while net and the driver are killed', { timeout: 300_000 }, async () => {
    const cuts = Array.from({ length: 24 }, (_, n) => (0.6 + 0.05 * n + (n % 2 === 0 ? 0 : 0.01 * (n % 7 - 3))) * SECOND);
    const r = await run(cuts, `
wget -q -O - http://10.0.2.2/ > /tmp/x; (wget -q -O - http://10.0.2.2/bytes/3000000 | sha256sum > /tmp/sum) &
sleep 0.4; for n in $(seq 1 12); do sleep 0.047; kill net; sleep 0.031; kill virtio-net; done
wait; echo == after; ifconfig eth0; cat /tmp/sum; wget -q -O - http://10.0.2.2/bytes/3000000 | sha256sum
echo == end
`);
    expect(r.section('after')).toContain('flags=<UP,RUNNING,BROADCAST,DHCP>');
    expect(r.section('after').split(`${sum}  -\n`)).toHaveLength(3);
    expect(r.log).not.toMatch(/given up/);
  });
});
