/** One stack and one neighbour, for tests that look at frames: addresses, and what one says to the stack and takes from it. */
import * as P from './packet.ts';
import { Stack } from './stack.ts';

export const ME = P.mac('52:54:00:12:34:56'), PEER = P.mac('02:00:00:00:00:02'), EVIL = P.mac('02:00:00:00:00:66'), ALL = P.mac('ff:ff:ff:ff:ff:ff'), ZERO = new Uint8Array(6);
export const A = P.ip('10.0.2.15'), B = P.ip('10.0.2.2'), C = P.ip('10.0.2.99'), D = P.ip('8.8.8.8');
export const MS = 1_000_000n, S = 1_000_000_000n;
/** The stack of the present test. */
export let stack: Stack;
export const start = async (...how: Parameters<typeof Stack.start>): Promise<void> => { stack = await Stack.start(...how); };
export const text = (s: string): Uint8Array => new TextEncoder().encode(s);
export const take = (): P.Parsed[] => stack.out.splice(0).map((f) => P.parse(f));
export const fromPeer = (protocol: number, payload: Uint8Array, more: Partial<P.IpFields> = {}): Uint8Array => P.ethernet(ME, PEER, 0x800, P.ipv4({ protocol, source: B, destination: A, ...more }, payload));
export const meet = (): void => { stack.input(P.ethernet(ALL, PEER, 0x806, P.arp(1, PEER, B, ZERO, A))); stack.out.length = 0; };
export const udpSocket = (id: number, port = 0): number => { stack.ok('socket', [id, 2, 2, 0]); return stack.ok('bind', [id, stack.putAddress(0, '0.0.0.0', port)]).r0; };
export const sendTo = (id: number, to: string, port: number, bytes: Uint8Array, flags = 1): number => { const p = stack.call('sendto', [id, stack.putAddress(0, to, port), stack.put(4096, bytes), bytes.length, flags]); return p.status === 0 ? p.r0 : p.status ?? -1000; };
export const receive = (id: number): { bytes: Uint8Array; from: string; port: number } | number => {
  const p = stack.call('recvfrom', [id, 64, 4096, 70000, 1]);
  if (p.status !== 0) return p.status ?? -1000;
  const a = stack.getAddress(64);
  return { bytes: stack.get(4096, p.r0), from: a.address, port: a.port };
};
