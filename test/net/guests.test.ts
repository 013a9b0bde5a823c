/**
 * Two Kintsugi at the two ends of a wire (stream, datagrams), each a process of its own: fetch, send, echo, with checksums, while net and its driver die on one side and then on the
 * other; the wire cut and joined again; the same hardware address at both ends.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ensureGuest, GUEST_FOLDER } from '../../tools/cli/guest.ts';
import { PATIENCE_MS, endAll, freePort, freeUdpPort, judge, kintsugi, section, tsharkAvailable, type Verdict } from '../nic/peers.ts';

const sha = (...parts: Uint8Array[]): string => { const hash = createHash('sha256'); for (const part of parts) hash.update(part); return `${hash.digest('hex')}  -\n`; };
const program = (name: string): Buffer => readFileSync(path.join(GUEST_FOLDER, `${name}.elf`));
const FULL = process.env['KINTSUGI_FULL'] !== undefined;
const BYTES = 6_000_000;
let folder = '';
beforeAll(() => { ensureGuest(); folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-guests-')); }, 600_000);
afterEach(endAll);
afterAll(() => { if (folder !== '') rmSync(folder, { recursive: true, force: true }); });

/** Deaths and a driver that starts anew lose frames and send some twice; the reader in the guest is slower than the wire. */
const EXPECTED = [/^Connection reset \(RST\)/, /^TCP Zero Window segment/, /^TCP window specified by the receiver is now completely full/, /^D-SACK Sequence/, /\(suspected\) out-of-order segment/, /^Previous segment\(s\) not captured/, /^ACKed segment that wasn't captured/];
const unexpected = (v: Verdict): boolean => v.severity === 'error' || !EXPECTED.some((one) => one.test(v.summary));
const storm = '(for k in 1 2 3 4 5; do sleep 0.1; kill net; sleep 0.1; kill virtio-net; done)';

const server = (own: string): string => `
httpd -p 80 /bin > /dev/null 2>&1 &
nc -l 7001 < /bin/sh > /tmp/up & up=$!
nc -u -l 7002 < /dev/null > /tmp/datagram & datagram=$!
ifconfig eth0 | grep inet
sleep 0.1; echo up
nc -l 7999 < /dev/null
${storm} & storm=$!; nc -l 7998 < /dev/null; wait $storm
wait $up; kill $datagram
echo == up; sha256sum < /tmp/up
echo == datagram; sha256sum < /tmp/datagram
echo == own; ifconfig eth0 | grep inet; echo ${own}
echo == end
`;
/** Everything a guest at 10.1.0.2 asks of one at 10.1.0.1. */
const client = `
until ping -q -c 1 -W 1 10.1.0.1 > /dev/null; do true; done
echo == ping; ping -q -c 5 -i 0.05 -W 20 10.1.0.1 | grep received; ping -q -c 2 -i 0.5 -W 20 -s 8000 10.1.0.1 | grep received
echo == get; wget -q -O - http://10.1.0.1/sh | sha256sum
echo == both; cat /bin/wget /bin/httpd | nc 10.1.0.1 7001 | sha256sum
echo == datagram; head -c 1400 /bin/sh | nc -u -w 1 10.1.0.1 7002
echo == there; nc 10.1.0.1 7999 < /dev/null; for k in 1 2 3; do wget -q -O - http://10.1.0.1/sh | sha256sum; done
echo == here; ${storm} & storm=$!; for k in 1 2 3; do wget -q -O - http://10.1.0.1/sh | sha256sum; done; wait $storm
echo == own; ifconfig eth0 | grep inet; ifconfig eth0 | grep ether
nc 10.1.0.1 7998 < /dev/null
echo == end
`;

describe('two guests', () => {
  it.each(FULL ? ['stream', 'dgram'] as const : ['stream'] as const)('fetch, send and echo over %s, and deaths of net and its driver on either side change no byte', async (kind) => {
    const port = await freePort(), [a, b] = [await freeUdpPort(), await freeUdpPort()];
    const pcap = path.join(folder, `${kind}.pcap`);
    const one = kintsugi(['--net', kind === 'stream' ? `stream-listen:127.0.0.1:${port}` : `dgram:127.0.0.1:${a}:${b}`, '--ip', '10.1.0.1/24', '--pcap', pcap], server('one'));
    await one.said('up\n');
    const two = kintsugi(['--net', kind === 'stream' ? `stream:127.0.0.1:${port}` : `dgram:127.0.0.1:${b}:${a}`, '--ip', '10.1.0.2/24'], client);
    const [there, here] = await Promise.all([one.ended, two.ended]);
    const on = (name: string): string => section(here.stdout, name), sh = sha(program('sh'));
    const all = JSON.stringify([here, there]);
    expect([here.status, there.status], all).toEqual([0, 0]);
    expect(on('ping'), all).toMatch(/^5 packets transmitted, 5 received.*\n2 packets transmitted, 2 received/);
    expect([on('get'), on('both'), on('there'), on('here')], all).toEqual([sh, sh, sh.repeat(3), sh.repeat(3)]);
    expect([section(there.stdout, 'up'), section(there.stdout, 'datagram')], all).toEqual([sha(program('wget'), program('httpd')), sha(program('sh').subarray(0, 1400))]);
    expect(on('own')).toMatch(/inet 10\.1\.0\.2 .*\n.*ether 52:54:00:/);
    expect(section(there.stdout, 'own')).toMatch(/inet 10\.1\.0\.1 .*\none\n/);
    if (tsharkAvailable) expect(judge(pcap).filter(unexpected)).toEqual([]);
  }, PATIENCE_MS);

  it.runIf(FULL)('a wire that is cut and joined again: the connection goes on', async () => {
    const [inner, outer] = [await freePort(), await freePort()];
    const one = kintsugi(['--net', `stream-listen:127.0.0.1:${inner}`, '--ip', '10.1.0.1/24'], `sleep 0.1; echo up\nyes | head -c ${BYTES} | nc -l 7001\nnc -l 7002 < /dev/null\n`);
    await one.said('up\n');
    // Between the two a relay that is cut after every megabyte.
    let cuts = 0, passed = 0;
    const relay = net.createServer((client) => {
      const server = net.connect(inner, '127.0.0.1');
      for (const socket of [client, server]) socket.on('error', () => undefined);
      client.pipe(server);
      server.on('data', (data) => {
        client.write(data);
        passed += (data as Buffer).length;
        if (passed > (cuts + 1) * (BYTES / 4)) { cuts++; client.destroy(); server.destroy(); }
      });
      for (const socket of [client, server]) socket.on('close', () => { client.destroy(); server.destroy(); });
    });
    await new Promise<void>((resolve) => relay.listen(outer, '127.0.0.1', resolve));
    const two = kintsugi(['--net', `stream:127.0.0.1:${outer}`, '--ip', '10.1.0.2/24'], 'echo == sum; nc 10.1.0.1 7001 < /dev/null | sha256sum\necho == end; until nc 10.1.0.1 7002 < /dev/null; do sleep 0.1; done\n');
    const [there, here] = await Promise.all([one.ended, two.ended]);
    relay.close();
    expect([there.status, here.status, section(here.stdout, 'sum')], JSON.stringify([here, there])).toEqual([0, 0, sha(Buffer.alloc(BYTES, 'y\n'))]);
    expect(cuts).toBeGreaterThanOrEqual(3);
    expect(here.stderr).toContain(`network: the peer at 127.0.0.1:${outer} is back`);
    expect(there.stderr).toMatch(/the peer at 127\.0\.0\.1:\d+ (is gone|closed the connection).*; waiting for another/);
  }, PATIENCE_MS);

  it('with one hardware address cannot talk, and both are told why', async () => {
    const port = await freePort();
    const mac = ['--mac', '52:54:00:00:00:07'];
    const one = kintsugi(['--net', `stream-listen:127.0.0.1:${port}`, '--ip', '10.1.0.1/24', ...mac], 'echo up; sleep 200\n');
    await one.said('up\n');
    const two = kintsugi(['--net', `stream:127.0.0.1:${port}`, '--ip', '10.1.0.2/24', ...mac], 'ping -c 1 -W 1 10.1.0.1; echo == status; echo $?\n');
    const here = await two.ended;
    one.kill();
    expect(section(here.stdout, 'status')).toBe('0\n');
    expect(here.stdout).toMatch(/100% packet loss/);
    expect(one.stderr + here.stderr).toContain("a frame came in from 52:54:00:00:00:07, the address of this machine's own card");
  }, PATIENCE_MS);
});
