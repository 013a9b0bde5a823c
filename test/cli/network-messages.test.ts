/** What is wrong with a network option is said in one line that names the option and the reason, before the guest starts; the launcher itself where sockets and files are concerned. */
import { spawn } from 'node:child_process';
import dgram from 'node:dgram';
import net from 'node:net';
import path from 'node:path';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureGuest } from '../../tools/cli/guest.ts';
import { netConfig } from '../../tools/cli/network.ts';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import { hostError } from '../../vm/net/wires.ts';

const LAUNCHER = path.join(REPOSITORY_ROOT, 'kintsugi');
/** Not spawnSync: the sockets that are in the way are ours. */
const run = (args: readonly string[]): Promise<{ status: number | null; stdout: string; stderr: string }> => new Promise((resolve) => {
  const child = spawn(process.execPath, [LAUNCHER, 'run', ...args, '--', 'echo', 'here'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '', stderr = '';
  child.stdout.on('data', (text: Buffer) => { stdout += text.toString(); });
  child.stderr.on('data', (text: Buffer) => { stderr += text.toString(); });
  child.on('close', (status) => resolve({ status, stdout, stderr: stderr.replace(/^built .*\n/m, '') }));
});
const tcp = net.createServer(), udp = dgram.createSocket('udp4');
let tcpPort = 0, udpPort = 0;
beforeAll(async () => {
  ensureGuest();
  await new Promise<void>((resolve) => { tcp.listen(0, '127.0.0.1', resolve); });
  await new Promise<void>((resolve) => { udp.bind(0, '127.0.0.1', resolve); });
  tcpPort = (tcp.address() as net.AddressInfo).port;
  udpPort = udp.address().port;
}, 600_000);
afterAll(() => { tcp.close(); udp.close(); });

describe('network options', () => {
  it.each([
    ['tcp:127.0.0.1:80', 'GUESTPORT is missing'], ['tcp', 'HOST is missing'], ['tcp:127.0.0.1', 'PORT is missing'], ['', "protocol '' is neither tcp nor udp"], ['sctp:127.0.0.1:80:80', "protocol 'sctp' is neither"],
    ['TCP:127.0.0.1:80:80', "protocol 'TCP' is neither"], ['tcp:127.0.0.1:0:80', "PORT '0' is not a number from 1 to 65535"], ['tcp:127.0.0.1:80:0', "GUESTPORT '0' is not"], ['tcp:127.0.0.1:-1:80', "PORT '-1' is not"],
    ['tcp:127.0.0.1:65536:80', "PORT '65536' is not"], ['tcp:127.0.0.1:80:1e3', "GUESTPORT '1e3' is not"], ['tcp:127.0.0.1: 80:80', "PORT ' 80' is not"], ['tcp:127.0.0.1::80', "PORT '' is not"], ['tcp:127.0.0.1:80:', "GUESTPORT '' is not"],
    ['tcp:300.0.0.1:80:80', "address '300.0.0.1' is not an IPv4 address"], ['tcp:1.2.3:80:80', "address '1.2.3' is not"], ['tcp:a b:80:80', "host 'a b' is neither a name nor"], ['tcp:::1:80:80', 'one field too many'], ['tcp:127.0.0.1:80:80:80', "'80' is one field too many"],
  ])('--hostfwd %s: %s', (text, reason) => {
    expect(() => netConfig({ net: 'user', hostfwd: [text] }, false)).toThrow(expect.objectContaining({ status: 2, message: expect.stringMatching(new RegExp(`^--hostfwd ${text.replaceAll('.', '\\.')}: [^\\n]*$`)) as string }) as Error);
    expect(() => netConfig({ net: 'user', hostfwd: [text] }, false)).toThrow(reason);
  });
  it.each([
    ['tcp:127.0.0.1:80:80', 'tcp:localhost:80:81', '--hostfwd tcp:127.0.0.1:80: is given twice'], ['tcp:0.0.0.0:80:80', 'tcp:127.0.0.1:80:81', '--hostfwd tcp:127.0.0.1:80: port 80 of 0.0.0.0 is forwarded already, and 0.0.0.0 is every address of this host'],
    ['udp:10.0.0.1:80:80', 'udp:0.0.0.0:80:81', '--hostfwd udp:0.0.0.0:80: port 80 of 10.0.0.1 is forwarded already, and 0.0.0.0 is every address of this host'],
  ])('the same port twice: %s and %s', (one, other, message) => expect(() => netConfig({ net: 'user', hostfwd: [one, other] }, false)).toThrow(message));
  it('ports of TCP and UDP, and of different addresses, are different ports', () => {
    expect(netConfig({ net: 'user', hostfwd: ['tcp:127.0.0.1:80:80', 'udp:127.0.0.1:80:80', 'tcp:127.0.0.2:80:80', 'tcp:127.0.0.1:81:80'] }, false)?.forwards?.length).toBe(4);
  });
  it.each(['01:00:5e:00:00:01', 'ff:ff:ff:ff:ff:ff', '00:00:00:00:00:00', '52:54:00:12:34', '52:54:00:12:34:56:78', '52:54:0:12:34:56', '52:54:00:12:34:5g', ''])('--mac %s is refused by name', (text) => {
    expect(() => netConfig({ net: 'user', hostfwd: [], mac: text }, false)).toThrow(new RegExp(`^--mac ${text}: [^\\n]+$`));
  });
  it.each(['stream', 'stream:h', 'stream:h:0', 'stream:h:70000', 'stream:h:1:2', 'stream:1.2.3.999:80', 'stream-listen:h_h:1', 'dgram:h:1', 'dgram:h:1:x', 'user:1', 'none:1', 'tap', ''])('--net %s is refused by name', (text) => {
    expect(() => netConfig({ net: text, hostfwd: [] }, false)).toThrow(new RegExp(`^--net ${text}: [^\\n]+$`));
  });
  it('what the host refuses: the address, the reason, what could help', () => {
    const say = (code: string): string => hostError(Object.assign(new Error('x'), { code }), '--hostfwd tcp:h:80:80', 'port 80 of h', 'h').message;
    expect(say('EACCES')).toBe('--hostfwd tcp:h:80:80: port 80 of h may not be opened (ports below 1024 need rights)');
    expect(say('EADDRNOTAVAIL')).toBe('--hostfwd tcp:h:80:80: h is no address of this host');
    expect(say('ENOTFOUND')).toBe('--hostfwd tcp:h:80:80: the name h cannot be resolved');
    expect(hostError(Object.assign(new Error('x'), { code: 'ENOTFOUND' }), '--net stream:h:80', 'h:80').message).toBe('--net stream:h:80: the name h cannot be resolved');
  });
});

describe('the launcher', () => {
  it('a port in use: which, and the status of a failure; the guest does not start', async () => {
    expect(await run(['--hostfwd', `tcp:127.0.0.1:${tcpPort}:80`])).toEqual({ status: 1, stdout: '', stderr: `kintsugi: --hostfwd tcp:127.0.0.1:${tcpPort}:80: port ${tcpPort} of 127.0.0.1 is in use by another process\n` });
    expect(await run(['--hostfwd', `udp:127.0.0.1:${udpPort}:80`])).toEqual({ status: 1, stdout: '', stderr: `kintsugi: --hostfwd udp:127.0.0.1:${udpPort}:80: port ${udpPort} of 127.0.0.1 is in use by another process\n` });
    expect(await run(['--net', `dgram:127.0.0.1:9:${udpPort}`])).toMatchObject({ status: 1, stdout: '', stderr: expect.stringMatching(/^kintsugi: --net dgram:[^\n]* is in use by another process\n$/) as string });
  });
  it('bad options: status 2, one line', async () => {
    expect(await run(['--hostfwd', 'tcp:127.0.0.1:x:80'])).toMatchObject({ status: 2, stdout: '', stderr: "kintsugi: --hostfwd tcp:127.0.0.1:x:80: PORT 'x' is not a number from 1 to 65535\n" });
  });
  it('a capture file that cannot be: before the boot; a disk that is full: once, and the guest goes on', async () => {
    expect(await run(['--pcap', '/nowhere/x'])).toEqual({ status: 1, stdout: '', stderr: 'kintsugi: --pcap /nowhere/x: its folder does not exist\n' });
    expect(await run(['--pcap', tmpdir()])).toEqual({ status: 1, stdout: '', stderr: `kintsugi: --pcap ${tmpdir()}: is a folder\n` });
    for (const more of [[], ['--deterministic']]) expect(await run([...more, '--pcap', '/dev/full'])).toEqual({ status: 0, stdout: 'here\n', stderr: 'kintsugi: --pcap /dev/full: no space left for it; the capture ends here\n' });
  });
});
