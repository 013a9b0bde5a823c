/**
 * The DHCP server of the gateway (RFC 2131, options RFC 2132): one lease, the same address for whoever asks; 24 hours.
 */
import { get32, put16, put32 } from '../frames.ts';

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;
const MAGIC = 0x6382_5363;
const FIXED_BYTES = 240;
const BOOT_REQUEST = 1;
const BOOT_REPLY = 2;
const MESSAGE = { discover: 1, offer: 2, request: 3, decline: 4, ack: 5, nak: 6, release: 7, inform: 8 } as const;
const OPTION = { pad: 0, mask: 1, router: 3, dns: 6, mtu: 26, requested: 50, lease: 51, type: 53, server: 54, renew: 58, rebind: 59, end: 255 } as const;
const LEASE_SECONDS = 86_400;

export interface DhcpAddresses { readonly guest: number; readonly gateway: number; readonly dns: number; readonly mask: number; readonly mtu: number }
export interface DhcpReply { readonly bytes: Uint8Array; /** To the guest's hardware address; else broadcast. */ readonly unicast: boolean; readonly mac: Uint8Array }

/** The answer to a client's message, or why there is none. */
export function answerDhcp(b: Uint8Array, at: number, bytes: number, addresses: DhcpAddresses): DhcpReply | string {
  if (bytes < FIXED_BYTES || b[at] !== BOOT_REQUEST || b[at + 1] !== 1 || b[at + 2] !== 6 || get32(b, at + 236) !== MAGIC) return 'DHCP message malformed';
  let type = 0;
  let requested = get32(b, at + 12); // ciaddr
  let server = 0;
  for (let o = at + FIXED_BYTES; o < at + bytes && b[o] !== OPTION.end;) {
    if (b[o] === OPTION.pad) { o++; continue; }
    const size = b[o + 1];
    if (o + 1 >= at + bytes || o + 2 + size > at + bytes) return 'DHCP option cut short';
    if (b[o] === OPTION.type && size === 1) type = b[o + 2];
    else if (b[o] === OPTION.requested && size === 4) requested = get32(b, o + 2);
    else if (b[o] === OPTION.server && size === 4) server = get32(b, o + 2);
    o += 2 + size;
  }
  let answer: number;
  switch (type) {
    case MESSAGE.discover: answer = MESSAGE.offer; break;
    case MESSAGE.request:
      if (server !== 0 && server !== addresses.gateway) return 'DHCP request for another server';
      answer = requested === addresses.guest ? MESSAGE.ack : MESSAGE.nak;
      break;
    case MESSAGE.inform: answer = MESSAGE.ack; break;
    case MESSAGE.release: case MESSAGE.decline: return 'DHCP release';
    default: return 'DHCP message type';
  }
  const out = new Uint8Array(300);
  out[0] = BOOT_REPLY; out[1] = 1; out[2] = 6;
  out.set(b.subarray(at + 4, at + 8), 4); // xid
  out.set(b.subarray(at + 10, at + 12), 10); // flags
  if (type === MESSAGE.inform) out.set(b.subarray(at + 12, at + 16), 12);
  else if (answer !== MESSAGE.nak) put32(out, 16, addresses.guest);
  put32(out, 20, addresses.gateway);
  out.set(b.subarray(at + 28, at + 44), 28); // chaddr
  put32(out, 236, MAGIC);
  let o = FIXED_BYTES;
  const option = (code: number, size: number, value: number): void => {
    out[o] = code; out[o + 1] = size;
    if (size === 4) put32(out, o + 2, value); else if (size === 2) put16(out, o + 2, value); else out[o + 2] = value;
    o += 2 + size;
  };
  option(OPTION.type, 1, answer);
  option(OPTION.server, 4, addresses.gateway);
  if (answer !== MESSAGE.nak) {
    if (type !== MESSAGE.inform) { option(OPTION.lease, 4, LEASE_SECONDS); option(OPTION.renew, 4, LEASE_SECONDS / 2); option(OPTION.rebind, 4, LEASE_SECONDS * 7 / 8); }
    option(OPTION.mask, 4, addresses.mask);
    option(OPTION.router, 4, addresses.gateway);
    option(OPTION.dns, 4, addresses.dns);
    if (addresses.mtu !== 1500) option(OPTION.mtu, 2, addresses.mtu);
  }
  out[o] = OPTION.end;
  const broadcast = (b[at + 10] & 0x80) !== 0 || answer === MESSAGE.nak;
  return { bytes: out, unicast: !broadcast, mac: b.slice(at + 28, at + 34) };
}
