/**
 * The host's own stack at the other end of the user network (--net user, --hostfwd): curl and nc against servers of the guest, the guest against servers of the host; streams both
 * ways, many at once, half-closed and aborted, net and its driver dying under them. The capture is tshark's to judge.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import * as http from 'node:http';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureGuest, GUEST_FOLDER } from '../../tools/cli/guest.ts';
import { PATIENCE_MS, Process, endAll, freePort, judge, kintsugi, missing, section, tsharkAvailable, type Ended } from '../nic/peers.ts';
import { patternBytes } from '../nic/rig.ts';

const lacks = missing('curl', 'nc');
if (lacks.length > 0) console.log(`the host's stack as the peer needs ${lacks.join(', ')}: skipped`);

const BYTES = process.env['KINTSUGI_FULL'] === undefined ? 6_000_000 : 60_000_000;
const sha = (bytes: Uint8Array): string => `${createHash('sha256').update(bytes).digest('hex')}  -\n`;
const content = patternBytes(1_000_000, 3);
const sh = (): Buffer => readFileSync(path.join(GUEST_FOLDER, 'sh.elf'));
let folder = '';
afterAll(() => { endAll(); if (folder !== '') rmSync(folder, { recursive: true, force: true }); });

describe.skipIf(lacks.length > 0)("the host's stack through the user network", () => {
  let guest: Ended;
  let host: Ended;
  const on = (name: string): string => section(host.stdout, name), inGuest = (name: string): string => section(guest.stdout, name);
  beforeAll(async () => {
    ensureGuest();
    folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-host-'));
    writeFileSync(path.join(folder, 'content'), content);
    let over = false; // the guest asks for /end until the host's commands have all they want
    const web = http.createServer((request, response) => { if (request.url === '/end' && !over) response.statusCode = 404; response.end(content); });
    await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
    const [a, b, c] = [await freePort(), await freePort(), await freePort()];
    const forwards = [[a, 80], [b, 7001], [c, 7002]].flatMap(([from, to]) => ['--hostfwd', `tcp:127.0.0.1:${from}:${to}`]);
    const running = kintsugi([...forwards, '--pcap', path.join(folder, 'host.pcap')], `
httpd -p 80 /bin &
nc -l 7001 < /bin/sh | sha256sum > /tmp/half & half=$!
yes | head -c ${BYTES} | nc -l 7002 | sha256sum > /tmp/streams & streams=$!
sleep 0.1; ping -q -c 1 -W 20 10.0.2.2 > /dev/null; echo up
echo == wget; wget -q -O - http://10.0.2.2:${(web.address() as net.AddressInfo).port}/ | sha256sum
(for k in 1 2 3 4; do sleep 0.1; kill net; sleep 0.1; kill virtio-net; done) & storm=$!
echo == many; for k in $(seq 8); do wget -q -O - http://10.0.2.2:${(web.address() as net.AddressInfo).port}/ | sha256sum & all="$all $!"; done > /tmp/many; wait $all; sort /tmp/many | uniq -c
wait $storm $half $streams
echo == half; cat /tmp/half
echo == streams; cat /tmp/streams
until wget -q -O /dev/null http://10.0.2.2:${(web.address() as net.AddressInfo).port}/end 2> /dev/null; do sleep 0.2; done
echo == end
`);
    await running.said('up\n');
    const commands = new Process('sh', ['-c', `cd ${folder}
echo == curl; curl -sS http://127.0.0.1:${a}/sh | sha256sum
echo == many; for k in $(seq 16); do curl -sS http://127.0.0.1:${a}/sh | sha256sum & done | sort | uniq -c
echo == range; curl -sS -r 100-199 http://127.0.0.1:${a}/sh | sha256sum
echo == missing; curl -sS -o /dev/null -w '%{http_code}\\n' http://127.0.0.1:${a}/nothing
echo == abort; curl -sS --max-filesize 1 http://127.0.0.1:${a}/sh > /dev/null 2>&1; echo $?
echo == half; nc -N 127.0.0.1 ${b} < content | sha256sum
echo == streams; yes | head -c ${BYTES} | nc -N 127.0.0.1 ${c} | sha256sum
echo == end`]);
    void commands.ended.then(() => { over = true; });
    guest = await running.ended;
    if (guest.status !== 0) commands.kill();
    host = await commands.ended;
    web.close();
    web.closeAllConnections();
  }, PATIENCE_MS);
  it('both come to their end', () => { expect([guest.status, host.status, host.stderr], JSON.stringify([guest, host])).toEqual([0, 0, '']); });
  it('curl: the file, sixteen at a time, a part of it, and what is not there', () => {
    const sum = sha(sh());
    expect([on('curl'), on('many').trim(), on('range'), on('missing')]).toEqual([sum, `16 ${sum.trim()}`, sha(sh().subarray(100, 200)), '404\n']);
    expect(on('abort')).toBe('63\n');
  });
  it('wget: the file, and eight at a time while net and its driver die', () => { expect([inGuest('wget'), inGuest('many').trim()]).toEqual([sha(content), `8 ${sha(content).trim()}`]); });
  it('half-closed connections go on in the other direction', () => { expect([on('half'), inGuest('half')]).toEqual([sha(sh()), sha(content)]); });
  it('streams both ways at once', () => { const sum = sha(Buffer.alloc(BYTES, 'y\n')); expect([on('streams'), inGuest('streams')]).toEqual([sum, sum]); });
  it.runIf(tsharkAvailable)('tshark finds no error', () => { expect(judge(path.join(folder, 'host.pcap')).filter((v) => v.severity === 'error')).toEqual([]); });
});
