import { describe, expect, it } from 'vitest';
import { createDeterministicMachine } from '../../vm/machine.ts';
import { checkIp, netConfig, type NetOptions } from '../../tools/cli/network.ts';
import { checkNet, defaultMac, parseForward, parseMac, parseNet } from '../../vm/net/config.ts';
import { FrameBatch, checksum, finishChecksum, ipv4, parseIpv4, pseudoSum, put16, showIpv4 } from '../../vm/net/frames.ts';
import { crc32 } from 'node:zlib';
import { pattern } from '../../vm/net/user/pattern.ts';

const message = (body: () => unknown): string => { try { body(); return 'no error'; } catch (error) { return (error as Error).message; } };

describe('network options', () => {
  it('say what they mean', () => {
    expect(parseNet('user')).toEqual({ kind: 'user' });
    expect(parseNet('none')).toBeUndefined();
    expect(parseNet('stream:localhost:5000')).toEqual({ kind: 'stream', host: '127.0.0.1', port: 5000 });
    expect(parseNet('stream-listen:0.0.0.0:5000')).toEqual({ kind: 'stream', listen: true, host: '0.0.0.0', port: 5000 });
    expect(parseNet('dgram:127.0.0.1:5001:5002')).toEqual({ kind: 'dgram', host: '127.0.0.1', port: 5001, localPort: 5002 });
    expect(parseForward('tcp:127.0.0.1:8080:80')).toEqual({ protocol: 'tcp', host: '127.0.0.1', port: 8080, guestPort: 80 });
    expect(parseForward('udp::53:5353')).toEqual({ protocol: 'udp', host: '127.0.0.1', port: 53, guestPort: 5353 });
    expect([...parseMac('52:54:00:aB:cd:EF')]).toEqual([0x52, 0x54, 0, 0xab, 0xcd, 0xef]);
  });

  it('bad values are refused by option and field', () => {
    expect(message(() => parseNet('slirp'))).toMatch(/^--net slirp: there is no 'slirp'; there are user, /);
    expect(message(() => parseNet('stream:host'))).toBe('--net stream:host: PORT is missing; expected stream:HOST:PORT');
    expect(message(() => parseNet('stream:host:0'))).toBe("--net stream:host:0: PORT '0' is not a number from 1 to 65535");
    expect(message(() => parseNet('dgram:1.2.3.4:1:2:3'))).toBe("--net dgram:1.2.3.4:1:2:3: '3' is one field too many; expected dgram:HOST:PORT:LOCALPORT");
    expect(message(() => parseNet('stream:1.2.3:5'))).toBe("--net stream:1.2.3:5: address '1.2.3' is not an IPv4 address");
    expect(message(() => parseForward('http:1:2:3'))).toMatch(/protocol 'http' is neither tcp nor udp/);
    expect(message(() => parseForward('tcp:127.0.0.1:8080'))).toBe('--hostfwd tcp:127.0.0.1:8080: GUESTPORT is missing; expected tcp:HOST:PORT:GUESTPORT');
    expect(message(() => parseForward('tcp:127.0.0.1:x:80'))).toMatch(/PORT 'x' is not a number/);
    expect(message(() => parseForward('tcp:127.0.0.1:80:70000'))).toMatch(/GUESTPORT '70000' is not a number/);
    expect(message(() => parseMac('52:54:00'))).toMatch(/expected six bytes in hexadecimal/);
    expect(message(() => parseMac('53:54:00:12:34:56'))).toMatch(/group address/);
    expect(message(() => parseMac('00:00:00:00:00:00'))).toMatch(/no address/);
  });

  it('the two ends of a wire have different hardware addresses, the same ones each time', () => {
    const mac = (text: string): string => Buffer.from(defaultMac(parseNet(text)!)).toString('hex');
    expect(mac('user')).toBe('525400123456');
    for (const [here, there] of [['stream:h:7000', 'stream-listen:h:7000'], ['dgram:h:1:2', 'dgram:h:2:1'], ['dgram:127.0.0.1:5000:5001', 'dgram:127.0.0.1:5001:5000']]) {
      expect(mac(here)).not.toBe(mac(there));
      expect(mac(here)).toMatch(/^525400/);
      expect(mac(here)).toBe(mac(here));
    }
    expect(mac('stream:h:7000')).not.toBe(mac('stream:h:7001'));
  });

  it('a static address is checked before the boot', () => {
    expect(['10.1.0.2/24', '10.1.0.2/24,10.1.0.1', '10.1.0.2/16,10.1.9.1,10.1.0.3,8.8.8.8'].map(checkIp)).toEqual(['10.1.0.2/24', '10.1.0.2/24,10.1.0.1', '10.1.0.2/16,10.1.9.1,10.1.0.3,8.8.8.8']);
    expect(message(() => checkIp('10.1.0.2'))).toMatch(/^--ip 10\.1\.0\.2: expected ADDRESS\/BITS/);
    expect(message(() => checkIp('10.1.0.2/33'))).toMatch(/1 to 32 bits/);
    expect(message(() => checkIp('10.1.2/24'))).toMatch(/'10\.1\.2' is not an IPv4 address/);
    expect(message(() => checkIp('224.0.0.1/4'))).toMatch(/cannot be the address of a station/);
    expect(message(() => checkIp('10.1.0.2/24,10.2.0.1'))).toMatch(/the gateway 10\.2\.0\.1 is not in the network of 10\.1\.0\.2\/24/);
    expect(message(() => checkIp('10.1.0.2/24,10.1.0.1,x'))).toMatch(/'x' is not an IPv4 address/);
    expect(message(() => netConfig({ net: 'none', hostfwd: [], ip: '10.1.0.2/24' }, false))).toMatch(/^--ip: means nothing without a network card/);
  });

  it('that do not go together are refused', () => {
    const options = (more: Partial<NetOptions>): NetOptions => ({ net: 'user', hostfwd: [], ...more });
    expect(message(() => netConfig(options({ net: 'none', hostfwd: ['tcp::8080:80'] }), false))).toMatch(/^--hostfwd: means nothing without a network card/);
    expect(message(() => netConfig(options({ hostfwd: ['tcp::8080:80'] }), true))).toMatch(/never talks to live sockets/);
    expect(message(() => netConfig(options({ net: 'stream:h:1' }), true))).toMatch(/never talks to live sockets/);
    expect(message(() => netConfig(options({ net: 'stream:h:1', hostfwd: ['tcp::8080:80'] }), false))).toMatch(/needs --net user/);
    expect(message(() => netConfig(options({ hostfwd: ['tcp::8080:80', 'tcp:localhost:8080:81'] }), false))).toMatch(/given twice/);
    expect(message(() => checkNet({ backend: { kind: 'user' }, mtu: 100 }, 'parallel'))).toMatch(/MTU: 100/);
    expect(netConfig(options({}), true)).toEqual({ backend: { kind: 'user' }, forwards: [] });
    expect(netConfig(options({ net: 'none' }), false)).toBeUndefined();
    expect(message(() => createDeterministicMachine({ kernel: { name: 'x', bytes: new Uint8Array(4) }, net: { backend: { kind: 'dgram', host: 'h', port: 1, localPort: 2 } } }))).toMatch(/never talks to live sockets/);
  });
});

describe('frames', () => {
  it('a batch keeps frames in order, drops from the front and says when it is full', () => {
    const batch = new FrameBatch(4, 400);
    for (let k = 0; k < 4; k++) expect(batch.push(new Uint8Array(50 + k).fill(k), k, 2 * k)).toBe(true);
    expect(batch.push(new Uint8Array(1))).toBe(false);
    batch.drop(2);
    expect([batch.count, batch.length(0), batch.frame(0)[0], batch.checksumStart(1), batch.checksumOffset(1)]).toEqual([2, 52, 2, 3, 6]);
    expect(batch.push(new Uint8Array(300).fill(9))).toBe(false);
    expect(batch.push(new Uint8Array(200).fill(9))).toBe(true);
    expect([...batch.frame(1)].every((byte) => byte === 3)).toBe(true);
    expect([...batch.frame(2)].every((byte) => byte === 9)).toBe(true);
  });

  it('checksums are those of RFC 1071, odd lengths and all', () => {
    expect(checksum(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7), 0, 8)).toBe(0x220d); // the RFC's example
    for (let length = 8; length < 40; length++) {
      const bytes = new Uint8Array(length).map((_, k) => k * 37 + length);
      const sum = pseudoSum(ipv4(10, 0, 2, 15), ipv4(10, 0, 2, 2), 6, length);
      put16(bytes, 6, (sum >>> 16) + (sum & 0xffff));
      finishChecksum(bytes, 0, length, 6);
      expect(checksum(bytes, 0, length, sum)).toBe(0);
    }
  });

  it('addresses, pattern and CRC', () => {
    expect([showIpv4(ipv4(10, 0, 2, 255)), parseIpv4('10.0.2.255'), parseIpv4('10.0.2.256'), parseIpv4('1.2.3')]).toEqual(['10.0.2.255', ipv4(10, 0, 2, 255), undefined, undefined]);
    expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf4_3926);
    const whole = new Uint8Array(1000);
    pattern(7, 0, whole);
    for (const [from, length] of [[0, 5], [3, 9], [333, 1], [500, 400]]) { const part = new Uint8Array(length); pattern(7, from, part); expect([...part]).toEqual([...whole.subarray(from, from + length)]); }
  });
});
