/** QEMU at the other end of the wires: its user network (slirp) behind -netdev stream and -netdev dgram, our guest and our NIC at this end. */
import { spawn, type ChildProcess } from 'node:child_process';
import * as dgram from 'node:dgram';
import * as net from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { createMachine } from '../../vm/machine.ts';
import type { Backend } from '../../vm/net/config.ts';
import { buildGuest, guestsUnavailable } from '../guests/build.ts';
import { GUESTS } from '../guests/catalog.ts';
import { parseKtap } from '../guests/ktap.ts';
import { qemuAvailable } from '../guests/qemu.ts';

const missing = guestsUnavailable() ?? (qemuAvailable() ? null : 'no QEMU here');
const running: ChildProcess[] = [];
afterEach(() => { for (const child of running.splice(0)) child.kill('SIGKILL'); });

async function tcpPort(): Promise<number> {
  const probe = net.createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as net.AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
async function udpPort(): Promise<number> {
  const probe = dgram.createSocket('udp4');
  await new Promise<void>((resolve) => probe.bind(0, '127.0.0.1', resolve));
  const { port } = probe.address();
  await new Promise<void>((resolve) => probe.close(resolve));
  return port;
}
/** QEMU without a machine: a hub between its user network and a wire. Resolves when it is up. */
async function hub(wire: string): Promise<ChildProcess> {
  const child = spawn('qemu-system-i386', ['-machine', 'none', '-nodefaults', '-display', 'none', '-monitor', 'stdio', '-netdev', 'user,id=u', '-netdev', `${wire},id=w`,
    '-netdev', 'hubport,id=a,hubid=0,netdev=u', '-netdev', 'hubport,id=b,hubid=0,netdev=w'], { stdio: ['pipe', 'pipe', 'pipe'] });
  running.push(child);
  let said = '';
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (data) => { said += String(data); if (said.includes('(qemu)')) resolve(); });
    child.stderr.on('data', (data) => { said += String(data); });
    child.on('exit', () => reject(new Error(`QEMU ended: ${said}`)));
  });
  return child;
}
/** What the guest looks for: QEMU's own default. */
const CARD = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
async function guestPasses(backend: Backend): Promise<void> {
  let output = '';
  const guest = GUESTS.find(({ name }) => name === 'virtio-net')!;
  const machine = createMachine({ kernel: buildGuest(guest), memoryMiB: 64, mode: 'parallel', net: { backend, mac: CARD }, timeoutMs: 100_000, com1: (bytes) => { output += new TextDecoder().decode(bytes); }, note: (text) => { output += `[${text}]`; } });
  const result = await machine.run();
  machine.close();
  expect(result.reason, output).toBe('exit');
  expect(parseKtap(output).lines.filter((line) => !line.ok).map((line) => line.name), output).toEqual([]);
}

describe.skipIf(missing !== null)("QEMU's network at the other end", () => {
  it('of a stream that QEMU listens on', { timeout: 110_000 }, async () => {
    const port = await tcpPort();
    await hub(`stream,server=on,addr.type=inet,addr.host=127.0.0.1,addr.port=${port}`);
    await guestPasses({ kind: 'stream', host: '127.0.0.1', port });
  });
  it('of datagrams', { timeout: 110_000 }, async () => {
    const [here, there] = [await udpPort(), await udpPort()];
    await hub(`dgram,local.type=inet,local.host=127.0.0.1,local.port=${there},remote.type=inet,remote.host=127.0.0.1,remote.port=${here}`);
    await guestPasses({ kind: 'dgram', host: '127.0.0.1', port: there, localPort: here });
  });
});
