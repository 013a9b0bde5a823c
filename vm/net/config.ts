/**
 * How a machine is connected: what a user may ask for, checked, with errors that name the field.
 */
import { parseIpv4 } from './frames.ts';

export type NetErrorCode = 'spec' | 'port-in-use' | 'forbidden' | 'address' | 'refused' | 'unreachable' | 'file' | 'mode';

/** What is wrong with the network a user asked for, in words for the user. */
export class NetError extends Error {
  override readonly name = 'NetError';
  readonly code: NetErrorCode;
  /** The option or address it is about. */
  readonly subject: string;
  readonly reason: string;
  constructor(code: NetErrorCode, subject: string, reason: string, options?: ErrorOptions) {
    super(`${subject}: ${reason}`, options);
    this.code = code;
    this.subject = subject;
    this.reason = reason;
  }
}

export interface HostForward { readonly protocol: 'tcp' | 'udp'; readonly host: string; readonly port: number; readonly guestPort: number }

/** What the deterministic link does to frames, each way. Everything 0: a perfect wire. */
export interface LinkConfig {
  /** One way, ns. Default 50,000: a round trip of 100 us. */
  readonly delayNs?: number;
  /** More delay, even between 0 and this; frames keep their order unless `reorder` says otherwise. */
  readonly jitterNs?: number;
  /** Bytes a second, each way; 0 = no limit. */
  readonly bytesPerSecond?: number;
  /** Parts of all frames, 0..1. */
  readonly loss?: number;
  readonly duplicate?: number;
  readonly corrupt?: number;
  /** Part of the frames that are held back by `reorderNs` (default 1 ms). */
  readonly reorder?: number;
  readonly reorderNs?: number;
  /** Frames on the wire, each way; more are dropped. Default 1024. */
  readonly queue?: number;
  readonly seed?: number;
}

/** A connection that the deterministic peer opens to the guest. */
export interface PeerCall {
  readonly port: number;
  /** Sent at once; then the peer ends its half and reads to the end. */
  readonly send: string | Uint8Array;
  /** Virtual ns of the first attempt (default 0; Infinity: when `Services.start` says so). A refused or unanswered one is tried again 10 ms later. */
  readonly atNs?: number;
}

export type Backend =
  /** `resolver`: where names are asked for; default: the host's first. */
  | { readonly kind: 'user'; readonly resolver?: { readonly host: string; readonly port: number } }
  | { readonly kind: 'stream'; readonly host: string; readonly port: number; readonly listen?: boolean }
  | { readonly kind: 'dgram'; readonly host: string; readonly port: number; readonly localPort: number }
  /** Tests: frames in, frames out (deterministic mode). */
  | { readonly kind: 'scripted'; readonly peer: ScriptedPeer };

/** A peer made by a test. Its state is its own matter: a machine with one takes no snapshots unless it has save and load. */
export interface ScriptedPeer {
  /** A frame from the guest, complete, at virtual time `nowNs`. `send` puts a frame on the wire to the guest, `wake` asks for `woken` at a time. */
  frame(frame: Uint8Array, nowNs: number, wire: ScriptedWire): void;
  woken?(nowNs: number, wire: ScriptedWire): void;
  save?(): Uint8Array;
  load?(saved: Uint8Array): void;
}
export interface ScriptedWire { send(frame: Uint8Array): void; wakeAt(ns: number): void }

export interface NetConfig {
  readonly backend: Backend;
  /** Six bytes. Default: `defaultMac`. */
  readonly mac?: Uint8Array;
  /** Largest IP packet, bytes: 576..9000. Default 1500. */
  readonly mtu?: number;
  readonly forwards?: readonly HostForward[];
  /** Capture file: pcap with nanoseconds. */
  readonly pcap?: string;
  /** Deterministic machine: the wire, and what the built-in peer does by itself. */
  readonly link?: LinkConfig;
  readonly calls?: readonly PeerCall[];
}

/** Everything a worker thread needs: plain data. */
export interface NetDescriptor {
  readonly mac: Uint8Array;
  readonly mtu: number;
}

export const DEFAULT_MAC = Uint8Array.of(0x52, 0x54, 0x00, 0x12, 0x34, 0x56);
export const DEFAULT_MTU = 1500;
export const LEAST_MTU = 576;
export const MOST_MTU = 9000;

/**
 * Behind the user network everybody is 52:54:00:12:34:56, as with QEMU. On a wire of its own a card is 52:54:00 and 24 bits that follow from the
 * specification alone; the last bit says which end this is, so that the two ends of one wire differ. Who joins more machines than two gives --mac.
 */
export function defaultMac(backend: Backend): Uint8Array {
  if (backend.kind !== 'stream' && backend.kind !== 'dgram') return DEFAULT_MAC.slice();
  const end = backend.kind === 'stream' ? backend.listen === true : backend.localPort > backend.port;
  const text = backend.kind === 'stream' ? `stream:${backend.host}:${backend.port}` : `dgram:${backend.host}:${Math.min(backend.port, backend.localPort)}:${Math.max(backend.port, backend.localPort)}`;
  let hash = 0x811c_9dc5; // FNV-1a
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x0100_0193) >>> 0;
  return Uint8Array.of(0x52, 0x54, 0x00, hash >>> 24, hash >>> 16 & 255, (hash & 0xfe) | (end ? 0 : 1));
}

export function describeNet(config: NetConfig): NetDescriptor {
  const mac = config.mac ?? defaultMac(config.backend);
  if (mac.length !== 6 || (mac[0] & 1) !== 0 || mac.every((byte) => byte === 0)) throw new NetError('spec', 'MAC address', 'six bytes of a single station (lowest bit of the first byte clear, not all zero)');
  const mtu = config.mtu ?? DEFAULT_MTU;
  if (!Number.isInteger(mtu) || mtu < LEAST_MTU || mtu > MOST_MTU) throw new NetError('spec', 'MTU', `${mtu}: from ${LEAST_MTU} to ${MOST_MTU} bytes`);
  return { mac: mac.slice(), mtu };
}

function port(text: string, option: string, field: string): number {
  if (!/^\d+$/.test(text) || Number(text) < 1 || Number(text) > 65535) throw new NetError('spec', option, `${field} '${text}' is not a number from 1 to 65535`);
  return Number(text);
}
function host(text: string, option: string): string {
  if (text === '' || text === 'localhost') return '127.0.0.1';
  if (/^[\d.]+$/.test(text) && parseIpv4(text) === undefined) throw new NetError('spec', option, `address '${text}' is not an IPv4 address`);
  if (!/^[A-Za-z0-9.-]+$/.test(text)) throw new NetError('spec', option, `host '${text}' is neither a name nor an IPv4 address`);
  return text;
}

/** `user`, `none`, `stream:HOST:PORT`, `stream-listen:HOST:PORT`, `dgram:HOST:PORT:LOCALPORT`. Undefined: no NIC. */
export function parseNet(text: string): Backend | undefined {
  const [kind, ...parts] = text.split(':');
  const option = `--net ${text}`;
  const count = (fields: readonly string[]): void => {
    if (parts.length < fields.length) throw new NetError('spec', option, `${fields[parts.length]} is missing; expected ${[kind, ...fields].join(':')}`);
    if (parts.length > fields.length) throw new NetError('spec', option, `'${parts[fields.length]}' is one field too many; expected ${[kind, ...fields].join(':')}`);
  };
  switch (kind) {
    case 'none': count([]); return undefined;
    case 'user': count([]); return { kind };
    case 'stream': count(['HOST', 'PORT']); return { kind, host: host(parts[0], option), port: port(parts[1], option, 'PORT') };
    case 'stream-listen': count(['HOST', 'PORT']); return { kind: 'stream', listen: true, host: host(parts[0], option), port: port(parts[1], option, 'PORT') };
    case 'dgram': count(['HOST', 'PORT', 'LOCALPORT']); return { kind, host: host(parts[0], option), port: port(parts[1], option, 'PORT'), localPort: port(parts[2], option, 'LOCALPORT') };
    default: throw new NetError('spec', option, `there is no '${kind}'; there are user, stream:HOST:PORT, stream-listen:HOST:PORT, dgram:HOST:PORT:LOCALPORT, none`);
  }
}

/** `tcp:HOST:PORT:GUESTPORT`; HOST may be empty (127.0.0.1). */
export function parseForward(text: string): HostForward {
  const option = `--hostfwd ${text}`;
  const parts = text.split(':');
  const fields = ['tcp', 'HOST', 'PORT', 'GUESTPORT'];
  if (parts[0] !== 'tcp' && parts[0] !== 'udp') throw new NetError('spec', option, `protocol '${parts[0]}' is neither tcp nor udp; expected tcp:HOST:PORT:GUESTPORT`);
  if (parts.length < 4) throw new NetError('spec', option, `${fields[parts.length]} is missing; expected ${parts[0]}:HOST:PORT:GUESTPORT`);
  if (parts.length > 4) throw new NetError('spec', option, `'${parts[4]}' is one field too many; expected ${parts[0]}:HOST:PORT:GUESTPORT`);
  return { protocol: parts[0], host: host(parts[1], option), port: port(parts[2], option, 'PORT'), guestPort: port(parts[3], option, 'GUESTPORT') };
}

/** `52:54:00:12:34:56`. */
export function parseMac(text: string): Uint8Array {
  const option = `--mac ${text}`;
  const parts = text.split(/[:-]/);
  if (parts.length !== 6 || !parts.every((part) => /^[0-9a-fA-F]{2}$/.test(part))) throw new NetError('spec', option, 'expected six bytes in hexadecimal, as 52:54:00:12:34:56');
  const mac = Uint8Array.from(parts, (part) => Number.parseInt(part, 16));
  if (mac[0] & 1) throw new NetError('spec', option, `a group address (first byte ${parts[0]} is odd) cannot be a station's`);
  if (mac.every((byte) => byte === 0)) throw new NetError('spec', option, 'all zero is no address');
  return mac;
}

const ANY_ADDRESS = '0.0.0.0';
/** What the options mean together. */
export function checkNet(config: NetConfig, mode: 'parallel' | 'deterministic'): void {
  describeNet(config);
  const { backend, forwards = [] } = config;
  if (mode === 'deterministic') {
    if (backend.kind === 'stream' || backend.kind === 'dgram') throw new NetError('mode', `--net ${backend.kind}`, 'a deterministic machine never talks to live sockets; its built-in peer answers with --net user');
    if (forwards.length > 0) throw new NetError('mode', '--hostfwd', 'a deterministic machine never talks to live sockets; run without --deterministic');
  } else {
    if (backend.kind === 'scripted') throw new NetError('mode', 'scripted peer', 'exists in deterministic mode only');
  }
  if (forwards.length > 0 && backend.kind !== 'user') throw new NetError('spec', '--hostfwd', `needs --net user; with ${backend.kind} the other end decides what reaches the guest`);
  for (const [k, one] of forwards.entries()) {
    const other = forwards.slice(0, k).find(({ protocol, host: address, port: number }) => protocol === one.protocol && number === one.port && (address === one.host || address === ANY_ADDRESS || one.host === ANY_ADDRESS));
    if (!other) continue;
    const key = `--hostfwd ${one.protocol}:${one.host}:${one.port}`;
    throw new NetError('spec', key, other.host === one.host ? 'is given twice' : `port ${one.port} of ${other.host} is forwarded already, and ${ANY_ADDRESS} is every address of this host`);
  }
}
