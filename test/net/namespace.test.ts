/**
 * The host's whole Linux stack on a /24 of its own (a tap device in a network namespace, no NAT between): what its everyday tools say of the guest, and what the guest says
 * of them. Each run is captured, and tshark has to find nothing but what the scenario is about.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureGuest, GUEST_FOLDER } from '../../tools/cli/guest.ts';
import { PATIENCE_MS, endAll, freePort, judge, kintsugi, linux, namespaceNeeds, section, troubles, tsharkAvailable, type Ended, type Verdict } from '../nic/peers.ts';
import { patternBytes } from '../nic/rig.ts';

const needs = namespaceNeeds('curl', 'nc', 'ping', 'arping', 'traceroute', 'nsenter');
if (needs.length > 0) console.log(`the host's Linux as the peer needs ${needs.join(', ')}: skipped`);

const FULL = process.env['KINTSUGI_FULL'] !== undefined;
const BYTES = FULL ? 60_000_000 : 8_000_000;
const sha = (bytes: Uint8Array): string => `${createHash('sha256').update(bytes).digest('hex')}  -\n`;
const yes = (bytes: number): Buffer => Buffer.alloc(bytes, 'y\n');
const program = (name: string): Buffer => readFileSync(path.join(GUEST_FOLDER, `${name}.elf`));
const content = patternBytes(1_500_000, 9);
let folder = '';
beforeAll(() => { ensureGuest(); folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-peers-')); writeFileSync(path.join(folder, 'content'), content); writeFileSync(path.join(folder, 'datagram'), content.subarray(0, 9000)); }, 600_000);
afterAll(() => { endAll(); if (folder !== '') rmSync(folder, { recursive: true, force: true }); });

/** Linux writes a TCP checksum of 0 as ffff (CSUM_MANGLED_0), once in 65536 segments: not ours to judge. */
const OURS = '!(ip.src == 10.1.0.1 && tcp.checksum == 0xffff)';
interface Met { readonly guest: Ended; readonly host: Ended; readonly verdicts: Verdict[] }
async function meet(name: string, guestScript: string, hostScript: string, options: readonly string[] = []): Promise<Met> {
  const port = await freePort(), pcap = path.join(folder, `${name}.pcap`);
  const guest = kintsugi(['--net', `stream-listen:127.0.0.1:${port}`, '--ip', '10.1.0.2/24,10.1.0.1', '--pcap', pcap, ...options], guestScript);
  await guest.said('up\n');
  const host = linux(port, `cd ${folder}\n${hostScript}`);
  const ended = await guest.ended;
  if (ended.status !== 0) host.kill(); // nobody will answer it any more
  return { guest: ended, host: await host.ended, verdicts: tsharkAvailable ? judge(pcap, OURS) : [] };
}

/** What belongs to these scenarios: aborts, readers slower than the wire, and timers that fire early on a busy host. Checksums, lengths and lost segments do not. */
const EXPECTED = [/^Connection reset \(RST\)/, /^TCP Zero Window segment/, /^TCP window specified by the receiver is now completely full/, /^D-SACK Sequence/, /\(suspected\) out-of-order segment/];
const unexpected = (v: Verdict): boolean => v.severity === 'error' || !EXPECTED.some((one) => one.test(v.summary));

describe.skipIf(needs.length > 0)('what Linux says of the guest', () => {
  let met: Met;
  const on = (name: string): string => section(met.host.stdout, name);
  const inGuest = (name: string): string => section(met.guest.stdout, name);
  beforeAll(async () => {
    met = await meet('tools', `
httpd -p 80 /bin &
nc -l 7001 < /bin/sh | sha256sum > /tmp/half &
(echo hello; sleep 30) | nc -l 7002 2> /tmp/abort > /dev/null &
yes | nc -l 7003 > /dev/null 2> /tmp/gone &
nc -u -l 7004 > /tmp/datagrams < /dev/null & datagrams=$!
yes | head -c ${BYTES} | nc -l 7005 | sha256sum > /tmp/streams &
sleep 0.1; echo up
nc -l 7999 < /dev/null
kill $datagrams; wait %2 %3 %4 %6
echo == half; cat /tmp/half
echo == abort; cat /tmp/abort
echo == gone; cat /tmp/gone
echo == datagrams; sha256sum < /tmp/datagrams
echo == streams; cat /tmp/streams
echo == counters; netstat -s
echo == end
`, `
echo == ping; ping -q -c 20 -i 0.01 -W 20 10.1.0.2 | grep received
echo == big; ping -q -c 3 -i 0.2 -W 20 -s 8000 10.1.0.2 | grep received; ping -q -c 2 -i 0.2 -W 20 -s 65507 10.1.0.2 | grep received
echo == arping; arping -c 2 -w 30 -I tap0 10.1.0.2 | grep Received; arping -D -w 30 -I tap0 10.1.0.2 > /dev/null; echo taken $?
echo == route; traceroute -n -q 1 -w 20 -m 4 10.1.0.2 | tail -n 1; traceroute -I -n -q 1 -w 20 -m 4 10.1.0.2 | tail -n 1; traceroute -T -p 80 -n -q 1 -w 20 -m 4 10.1.0.2 | tail -n 1
echo == curl; curl -sS http://10.1.0.2/sh | sha256sum
echo == many; for k in $(seq 40); do curl -sS http://10.1.0.2/sh | sha256sum & done | sort | uniq -c; wait
echo == refused; curl -sS http://10.1.0.2:81/ 2> /dev/null; echo $?; nc -u -w 1 10.1.0.2 82 < datagram; echo $?
echo == half; nc -N 10.1.0.2 7001 < content | sha256sum
echo == abort; python3 -c "import socket, struct
s = socket.create_connection(('10.1.0.2', 7002)); s.recv(1); s.sendall(b'x' * 1000); s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); s.close()
s = socket.create_connection(('10.1.0.2', 7003)); s.recv(100000); s.close()"
echo == datagrams; nc -u -w 1 10.1.0.2 7004 < datagram
echo == streams; yes | head -c ${BYTES} | nc -N 10.1.0.2 7005 | sha256sum
echo == neighbour; ip neigh show 10.1.0.2 | cut -d ' ' -f 4,5
nc -N 10.1.0.2 7999 < /dev/null
echo == end
`);
  }, PATIENCE_MS);
  it('both come to their end', () => { expect([met.host.status, met.host.stderr, met.guest.status, troubles(met.guest.stderr)]).toEqual([0, '', 0, []]); });
  it('ping: every echo is answered, also one in 45 fragments', () => {
    expect(on('ping')).toMatch(/^20 packets transmitted, 20 received/);
    expect(on('big')).toMatch(/^3 packets transmitted, 3 received.*\n2 packets transmitted, 2 received/);
  });
  it('arping: answered; a probe for its address is, too (RFC 5227)', () => { expect(on('arping')).toMatch(/^Received [2-9] response\(s\)\ntaken 1\n$/); expect(on('neighbour')).toMatch(/^lladdr 52:54:00:/); });
  it('traceroute: one hop away by closed ports, echoes and SYN', () => { expect(on('route')).toMatch(/^( 1 {2}10\.1\.0\.2 .*\n){3}$/); });
  it('curl: the file, alone and forty at a time', () => {
    const sum = sha(program('sh'));
    expect(on('curl')).toBe(sum);
    expect(on('many').trim()).toBe(`40 ${sum.trim()}`);
  });
  it('closed ports refuse', () => { expect(on('refused')).toMatch(/^7\n/); });
  it('half-closed connections go on in the other direction', () => { expect([on('half'), inGuest('half')]).toEqual([sha(program('sh')), sha(content)]); });
  it('an abort reaches the program; one that goes on writing hears it', () => { expect(inGuest('abort')).toMatch(/reset/); expect(inGuest('gone')).toMatch(/reset|broken pipe|^$/); });
  it('a datagram in fragments arrives whole', () => { expect(inGuest('datagrams')).toBe(sha(content.subarray(0, 9000))); });
  it('streams both ways at once', () => { expect([on('streams'), inGuest('streams')]).toEqual([sha(yes(BYTES)), sha(yes(BYTES))]); });
  it.runIf(tsharkAvailable)('tshark finds nothing else', () => { expect(met.verdicts.filter(unexpected)).toEqual([]); });
});

describe.skipIf(needs.length > 0 || !FULL)('what the guest says of Linux', () => {
  let met: Met;
  const on = (name: string): string => section(met.guest.stdout, name);
  beforeAll(async () => {
    // Behind the host a second namespace whose link takes 1000 bytes: the host is the router that says "fragmentation needed".
    met = await meet('guest', `
echo up
until nc -z 10.1.0.1 8000 2> /dev/null < /dev/null; do sleep 0.1; done
echo == ping; ping -q -c 10 -i 0.02 -W 20 10.1.0.1 | grep received
echo == big; ping -q -c 3 -i 0.1 -W 20 -s 8000 10.1.0.1 | grep received; ping -q -c 2 -i 0.1 -W 20 -s 65507 10.1.0.1 | grep received
echo == wget; wget -q -O - http://10.1.0.1:8000/content | sha256sum
echo == many; for k in $(seq 12); do wget -q -O - http://10.1.0.1:8000/content | sha256sum & done > /tmp/many; wait; sort /tmp/many | uniq -c
echo == refused; nc 10.1.0.1 81 2>&1 < /dev/null; echo x | nc -u -w 2 10.1.0.1 82 2>&1; ping -c 1 -W 1 10.1.0.77 | grep -c received; nc 10.1.0.77 80 2>&1 < /dev/null
echo == unreachable; for a in 10.9.9.9 10.9.8.8 10.9.7.7; do nc $a 80 2>&1 < /dev/null; done
echo == narrow; wget -q -O - http://10.5.0.2:8000/content | sha256sum; cat /bin/sh /bin/sh /bin/sh | nc 10.5.0.2 7100; ping -q -c 2 -i 0.1 -W 20 -s 3000 10.5.0.2 | grep received
echo == datagrams; head -c 1400 /bin/sh | nc -u -w 1 10.1.0.1 7200; head -c 1400 /bin/sh | nc -u -w 1 10.5.0.2 7201
echo == storm; (for k in 1 2 3 4 5 6; do sleep 0.15; kill net; sleep 0.1; kill virtio-net; done) & storm=$!; for k in 1 2 3; do wget -q -O - http://10.1.0.1:8000/content | sha256sum; done; wait $storm; ps | grep net
echo == address; ifconfig eth0 | grep inet; netstat -r | grep default
ifconfig eth0 10.1.0.3 netmask 255.255.255.0 10.1.0.1; kill net; ifconfig eth0 | grep inet; wget -q -O - http://10.1.0.1:8000/content | sha256sum
echo == end; nc 10.1.0.1 7999 < /dev/null
`, `
python3 -m http.server 8000 > /dev/null 2>&1 & server=$!
nc -l -p 7999 < /dev/null > /dev/null & last=$!
echo 1 > /proc/sys/net/ipv4/ip_forward
ip route add unreachable 10.9.9.0/24; ip route add prohibit 10.9.8.0/24
unshare -n sleep 200 & far=$!
until [ "$(readlink /proc/$far/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link add v0 mtu 1000 type veth peer name v1 mtu 1000 netns $far
ip address add 10.5.0.1/24 dev v0; ip link set v0 up
inner="nsenter -n -t $far"
$inner ip address add 10.5.0.2/24 dev v1; $inner ip link set v1 up; $inner ip link set lo up; $inner ip route add default via 10.5.0.1
$inner python3 -m http.server 8000 > /dev/null 2>&1 & more=$!
$inner nc -l -p 7100 > narrow < /dev/null & up=$!
nc -u -l -p 7200 > datagram1 < /dev/null & one=$!
$inner nc -u -l -p 7201 > datagram2 < /dev/null & two=$!
wait $last
wait $up
echo == narrow; sha256sum < narrow
echo == datagrams; sha256sum < datagram1; sha256sum < datagram2
kill $server $more $one $two $far
echo == end
`);
  }, PATIENCE_MS);
  it('both come to their end', () => { expect([met.host.status, met.host.stderr, met.guest.status]).toEqual([0, '', 0]); });
  it('ping: every echo is answered, also one in 45 fragments', () => {
    expect(on('ping')).toMatch(/^10 packets transmitted, 10 received/);
    expect(on('big')).toMatch(/^3 packets transmitted, 3 received.*\n2 packets transmitted, 2 received/);
  });
  it('wget: the file, alone and twelve at a time', () => { expect(on('wget')).toBe(sha(content)); expect(on('many').trim()).toBe(`12 ${sha(content).trim()}`); });
  it('closed ports refuse, an address that nobody has cannot be reached', () => {
    expect(on('refused')).toBe('nc: 10.1.0.1:81: connection refused\nnc: connection refused\n1\nnc: 10.1.0.77:80: no route to host\n');
  });
  it('ICMP errors of a router are told as what they are', () => {
    expect(on('unreachable')).toMatch(/^nc: 10\.9\.9\.9:80: no route to host\nnc: 10\.9\.8\.8:80: no route to host\nnc: 10\.9\.7\.7:80: network is unreachable\n$/);
  });
  it('a path of 1000 bytes is found by "fragmentation needed", both ways', () => {
    const sh = program('sh');
    expect(on('narrow')).toMatch(new RegExp(`^${sha(content).trim()}\n2 packets transmitted, 2 received`));
    expect(section(met.host.stdout, 'narrow')).toBe(sha(Buffer.concat([sh, sh, sh])));
  });
  it('datagrams arrive, those of the narrow path in fragments', () => { const sum = sha(program('sh').subarray(0, 1400)); expect(section(met.host.stdout, 'datagrams')).toBe(sum + sum); });
  it('net and its driver die in the middle: connections, address and gateway stay', () => {
    expect(on('storm').split('\n').slice(0, 3).join('\n') + '\n').toBe(sha(content).repeat(3));
    expect(on('storm')).toMatch(/ [4-7] \w+ .* net\n.* [4-7] \w+ .* virtio-net\n/); // a death while the last one is mended counts with it
    expect(on('address')).toBe(`        inet 10.1.0.2  netmask 255.255.255.0\ndefault            10.1.0.1           eth0\n        inet 10.1.0.3  netmask 255.255.255.0\n${sha(content)}`);
  });
  it.runIf(tsharkAvailable)('tshark finds nothing else', () => { expect(met.verdicts.filter(unexpected)).toEqual([]); });
});
