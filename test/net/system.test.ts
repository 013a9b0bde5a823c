// The network on the machine: kernel, net, virtio-net, process and programs against the built-in peer of the deterministic machine.
import { beforeAll, describe, expect, it } from 'vitest';
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ensureGuest, GUEST_FOLDER } from '../../tools/cli/guest.ts';
import { runCommand, type RunOutcome } from '../../tools/cli/run.ts';
import { systemConfig, type SystemOptions } from '../../tools/cli/system.ts';
import { createEngine } from '../../vm/cpu/engine.ts';
import { DeterministicMachine } from '../../vm/machine.ts';
import type { NetConfig } from '../../vm/net/config.ts';
import { pattern } from '../../vm/net/user/pattern.ts';

beforeAll(() => ensureGuest(), 600_000);

const options: SystemOptions = { place: 'follow', smp: 1, memoryMiB: 128, deterministic: true, seed: 1, timeoutSeconds: 200, jit: 'on', append: '' };
const user: NetConfig = { backend: { kind: 'user' } };
/** Runs a script; `section` is what it printed between lines "== name". */
async function script(text: string, more: Partial<SystemOptions> = {}): Promise<{ outcome: RunOutcome; section: (name: string) => string }> {
  const outcome = await runCommand({ ...options, net: user, ...more }, ['sh'], {}, Buffer.from(text));
  const parts = new Map(outcome.stdout.split(/^== /m).slice(1).map((s) => [s.slice(0, s.indexOf('\n')), s.slice(s.indexOf('\n') + 1)]));
  return { outcome, section: (name) => parts.get(name) ?? `(no section ${name}; stderr: ${outcome.stderr}; log: ${outcome.log})` };
}
const patternSum = (bytes: number): string => { const all = new Uint8Array(bytes); pattern(0, 0, all); return createHash('sha256').update(all).digest('hex'); };
const program = (name: string): Buffer => readFileSync(path.join(GUEST_FOLDER, `${name}.elf`));

describe('programs on the network', () => {
  let run: Awaited<ReturnType<typeof script>>;
  beforeAll(async () => {
    run = await script(`
echo == ifconfig; ifconfig
echo == ping; ping -c 2 -i 0.01 10.0.2.2
echo == arp; arp
echo == routes; netstat -r
echo == get; cd /tmp; wget -q http://10.0.2.2/bytes/300000; sha256sum < 300000; wget -q -O - http://gateway.test/
echo == missing; wget http://10.0.2.2/nope 2>&1; echo $?
echo == put; head -c 20000 /bin/sh | nc 10.0.2.2 5002
echo == echo; head -c 50000 /bin/sh | nc 10.0.2.2 7 | sha256sum
echo == datagram; echo twice | nc -u -w 1 10.0.2.2 7
echo == names; nslookup peer.test alias.test nope.test big.test 2>&1
echo == refused; nc 10.0.2.2 81 2>&1; nc 198.51.100.99 80 2>&1; ping -c 1 -W 0.1 198.51.100.100; echo $?
echo == loopback; (sleep 0.05; echo across | nc 127.0.0.1 9000) & nc -l 9000 < /dev/null; wait
echo == busy; nc -l 9001 < /dev/null & sleep 0.05; nc -l 9001 2>&1 < /dev/null; nc 127.0.0.1 9001 < /dev/null; wait
echo == killed; nc -l 9002 < /dev/null & sleep 0.05; kill $!; wait $!; echo $?; netstat -alt | grep -c 9002
echo == interrupted; ping 10.0.2.2 > /tmp/p & sleep 0.05; kill -INT $!; wait $!; echo $?; grep -c transmitted /tmp/p
echo == end
`);
  });
  it('get an address by DHCP', () => {
    expect(run.section('ifconfig')).toContain('inet 10.0.2.15  netmask 255.255.255.0');
    expect(run.section('ifconfig')).toContain('flags=<UP,RUNNING,LOOPBACK>');
    expect(run.section('routes')).toMatch(/^default {12}10\.0\.2\.2 {11}eth0$/m);
  });
  it('ping the gateway', () => {
    expect(run.section('ping')).toMatch(/64 bytes from 10\.0\.2\.2: icmp_seq=2 time=/);
    expect(run.section('ping')).toMatch(/2 packets transmitted, 2 received, 0% packet loss/);
    expect(run.section('arp')).toMatch(/^10\.0\.2\.2 .* reachable/m);
  });
  it('fetch by HTTP, by address and by name', () => expect(run.section('get')).toBe(`${patternSum(300000)}  -\nKintsugi deterministic peer\n`));
  it('tell what the server said', () => expect(run.section('missing')).toBe('wget: http://10.0.2.2/nope: 404 Not Found\n8\n'));
  it('send a stream whole', () => expect(run.section('put')).toBe(`20000 ${crc32(program('sh').subarray(0, 20000)).toString(16).padStart(8, '0')}\n`));
  it('get back what they sent', () => expect(run.section('echo')).toBe(`${createHash('sha256').update(program('sh').subarray(0, 50000)).digest('hex')}  -\n`));
  it('exchange datagrams', () => expect(run.section('datagram')).toBe('twice\n'));
  it('resolve names', () => {
    expect(run.section('names')).toMatch(/Name: +peer\.test\nAddress: +10\.0\.2\.100\n/);
    expect(run.section('names')).toMatch(/Name: +alias\.test\nAddress: +10\.0\.2\.100\n/);
    expect(run.section('names')).toContain('nslookup: nope.test: no such name\n');
    expect(run.section('names')).toMatch(/Name: +big\.test\nAddress: +198\.51\.100\.1\nAddress: +198\.51\.100\.2\n/); // cut short over UDP
  });
  it('name what went wrong', () => {
    expect(run.section('refused')).toMatch(/^nc: 10\.0\.2\.2:81: connection refused\nnc: 198\.51\.100\.99:80: no route to host\n/);
    expect(run.section('refused')).toMatch(/1 packets transmitted, 0 received, 100% packet loss, time \d+ms\n1\n$/);
    expect(run.section('busy')).toBe('nc: 9001: address already in use\n');
  });
  it('talk to each other over the loopback', () => expect(run.section('loopback')).toBe('across\n'));
  it('leave nothing behind when they are killed in a call', () => expect(run.section('killed')).toBe('143\n0\n'));
  it('catch ^C in a poll', () => expect(run.section('interrupted')).toBe('0\n1\n'));
});

describe('a machine without a network card', () => {
  it('has the loopback and says so of the rest', async () => {
    const run = await script(`
echo == ping; ping -c 1 127.0.0.1 | grep -c received; ping -c 1 10.0.2.2 2>&1 | head -n 2 | tail -n 1
echo == ps; ps | grep virtio-net
echo == end
`, { net: undefined as never });
    expect(run.section('ping')).toBe('1\nping: 10.0.2.2: network is unreachable\n');
    expect(run.section('ps')).toContain('inactive');
    expect(run.outcome.log).not.toMatch(/absent|given up|died/);
  });
});

describe('restart in the middle of transfers', () => {
  const SEEDS = process.env['KINTSUGI_FULL'] === undefined ? [2] : Array.from({ length: 12 }, (_, n) => n + 1);
  it.each(SEEDS)('of net and of virtio-net changes no byte and ends no connection (schedule seed %i)', async (seed) => {
    const run = await script(`
(for k in $(seq 1 6); do sleep 0.011; kill net; sleep 0.013; kill virtio-net; done) &
cd /tmp; echo == down; wget -q http://10.0.2.2/bytes/4000000; sha256sum < 4000000
echo == up; cat /bin/sh /bin/sh /bin/sh /bin/sh | nc 10.0.2.2 5002
wait; echo == servers; ps | grep net
echo == end
`, { seed, smp: 4, place: 'pin' });
    const sh = program('sh'), sent = Buffer.concat([sh, sh, sh, sh]);
    expect(run.section('down')).toBe(`${patternSum(4_000_000)}  -\n`);
    expect(run.section('up')).toBe(`${sent.length} ${crc32(sent).toString(16).padStart(8, '0')}\n`);
    expect(run.section('servers')).toMatch(/ 7 waiting .* net\n.* 7 waiting .* virtio-net\n/);
    expect(run.outcome.log).not.toMatch(/given up|died/);
  });
});

describe('httpd', () => {
  const get = (request: string, atNs = 0): { port: number; send: string; atNs: number } => ({ port: 80, send: request.replaceAll('\n', '\r\n'), atNs });
  it('answers the peer, several at once', async () => {
    const calls = [
      get('GET /motd HTTP/1.1\nHost: x\nConnection: close\n\n'), get('HEAD /motd HTTP/1.1\nHost: x\nConnection: close\n\n'), get('GET / HTTP/1.0\n\n'), get('GET /../etc/motd HTTP/1.1\nHost: x\nConnection: close\n\n'),
      get('GET /none HTTP/1.1\nHost: x\nConnection: close\n\n'), get('POST / HTTP/1.1\nHost: x\nContent-Length: 3\n\nabc'), get('GET /%zz HTTP/1.1\nHost: x\nConnection: close\n\n'), get('nonsense\n\n'), get('GET / HTTP/2.0\n\n'),
      get('GET /motd HTTP/1.1\nHost: x\n\nGET /profile HTTP/1.1\nHost: x\nRange: bytes=2-5\n\nGET /motd HTTP/1.1\nHost: x\nConnection: close\n\n'), get('GET /motd HTTP/1.1\nConnection: close\n\n'),
    ];
    const net: NetConfig = { ...user, calls };
    const machine = new DeterministicMachine(systemConfig({ ...options, timeoutSeconds: 60, net }, ['sh', '-c', 'httpd /etc & sleep 2; kill $!'], { com1: () => {}, com2: () => {} }), createEngine);
    await machine.run();
    const answers = machine.net!.calls.map((c) => Buffer.from(c.answer).toString('latin1'));
    const motd = readFileSync(path.resolve('programs/rootfs/etc/motd'), 'latin1'), profile = readFileSync(path.resolve('programs/rootfs/etc/profile'), 'latin1');
    expect(answers[0]).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(answers[0]!.endsWith(`\r\n\r\n${motd}`)).toBe(true);
    expect(answers[1]).toContain(`Content-Length: ${motd.length}\r\n`);
    expect(answers[1]!.endsWith('\r\n\r\n')).toBe(true);
    expect(answers[2]).toContain('<a href="./motd">motd</a>');
    expect(answers[3]).toMatch(/^HTTP\/1\.1 404/); // the root cannot be left: /etc/motd below /etc
    expect(answers.slice(4, 9).map((a) => a.slice(9, 12))).toEqual(['404', '405', '400', '400', '505']);
    expect(answers[9]!.match(/HTTP\/1\.1 (\d+)/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 206', 'HTTP/1.1 200']);
    expect(answers[9]).toContain(`Content-Range: bytes 2-5/${profile.length}\r\n`);
    expect(answers[9]).toContain(`\r\n\r\n${profile.slice(2, 6)}HTTP/1.1`);
    expect(answers[10]).toMatch(/^HTTP\/1\.1 400/); // no Host
  });
});
