/** Frames for tests: building and taking apart Ethernet, ARP, IPv4, ICMP, UDP and TCP, independently of servers/net. */
export const FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32;

export const mac = (text: string): Uint8Array => Uint8Array.from(text.split(':').map((x) => parseInt(x, 16)));
export const ip = (text: string): number => text.split('.').reduce((a, x) => (a << 8 | Number(x)) >>> 0, 0);
export const ipText = (a: number): string => [a >>> 24, a >>> 16 & 255, a >>> 8 & 255, a & 255].join('.');
export const macText = (b: Uint8Array): string => [...b].map((x) => x.toString(16).padStart(2, '0')).join(':');

/** RFC 1071 over a list of byte ranges (each but the last of even length), complemented. */
export function checksum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const p of parts) for (let i = 0; i < p.length; i++) sum += i % 2 === 0 ? p[i]! << 8 : p[i]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65536);
  return ~sum & 0xffff;
}
const put16 = (b: Uint8Array, at: number, v: number): void => { b[at] = v >>> 8 & 255; b[at + 1] = v & 255; };
const put32 = (b: Uint8Array, at: number, v: number): void => { put16(b, at, v >>> 16); put16(b, at + 2, v & 0xffff); };
export const get16 = (b: Uint8Array, at: number): number => b[at]! << 8 | b[at + 1]!;
export const get32 = (b: Uint8Array, at: number): number => (get16(b, at) << 16 | get16(b, at + 2)) >>> 0;

export function ethernet(to: Uint8Array, from: Uint8Array, type: number, payload: Uint8Array): Uint8Array {
  const f = new Uint8Array(14 + payload.length);
  f.set(to, 0); f.set(from, 6); put16(f, 12, type); f.set(payload, 14);
  return f;
}
export function arp(operation: number, senderMac: Uint8Array, sender: number, targetMac: Uint8Array, target: number): Uint8Array {
  const b = new Uint8Array(28);
  put16(b, 0, 1); put16(b, 2, 0x800); b[4] = 6; b[5] = 4; put16(b, 6, operation);
  b.set(senderMac, 8); put32(b, 14, sender); b.set(targetMac, 18); put32(b, 24, target);
  return b;
}
export interface IpFields { protocol: number; source: number; destination: number; ttl?: number; id?: number; fragment?: number; options?: Uint8Array }
export function ipv4(f: IpFields, payload: Uint8Array): Uint8Array {
  const options = f.options ?? new Uint8Array(0), header = 20 + options.length;
  const b = new Uint8Array(header + payload.length);
  b[0] = 0x40 | header >> 2; put16(b, 2, b.length); put16(b, 4, f.id ?? 0); put16(b, 6, f.fragment ?? 0);
  b[8] = f.ttl ?? 64; b[9] = f.protocol; put32(b, 12, f.source); put32(b, 16, f.destination);
  b.set(options, 20);
  put16(b, 10, checksum(b.subarray(0, header)));
  b.set(payload, header);
  return b;
}
const pseudo = (source: number, destination: number, protocol: number, bytes: number): Uint8Array => {
  const b = new Uint8Array(12);
  put32(b, 0, source); put32(b, 4, destination); b[9] = protocol; put16(b, 10, bytes);
  return b;
};
export interface TcpFields { sourcePort: number; destinationPort: number; seq: number; ack: number; flags: number; window: number; urgent?: number; options?: Uint8Array; payload?: Uint8Array }
export function tcp(source: number, destination: number, f: TcpFields): Uint8Array {
  const options = f.options ?? new Uint8Array(0), payload = f.payload ?? new Uint8Array(0), header = 20 + (options.length + 3 & ~3);
  const b = new Uint8Array(header + payload.length);
  put16(b, 0, f.sourcePort); put16(b, 2, f.destinationPort); put32(b, 4, f.seq); put32(b, 8, f.ack);
  b[12] = header << 2; b[13] = f.flags; put16(b, 14, f.window); put16(b, 18, f.urgent ?? 0);
  b.set(options, 20); b.set(payload, header);
  put16(b, 16, checksum(pseudo(source, destination, 6, b.length), b));
  return b;
}
export function udp(source: number, destination: number, sourcePort: number, destinationPort: number, payload: Uint8Array): Uint8Array {
  const b = new Uint8Array(8 + payload.length);
  put16(b, 0, sourcePort); put16(b, 2, destinationPort); put16(b, 4, b.length); b.set(payload, 8);
  put16(b, 6, checksum(pseudo(source, destination, 17, b.length), b) || 0xffff);
  return b;
}
export function icmp(type: number, code: number, rest: number, payload: Uint8Array): Uint8Array {
  const b = new Uint8Array(8 + payload.length);
  b[0] = type; b[1] = code; put32(b, 4, rest); b.set(payload, 8);
  put16(b, 2, checksum(b));
  return b;
}

export interface Parsed {
  type: number; to: Uint8Array; from: Uint8Array; payload: Uint8Array;
  ip?: { source: number; destination: number; protocol: number; id: number; fragment: number; ttl: number; payload: Uint8Array; bytes: Uint8Array };
  tcp?: { sourcePort: number; destinationPort: number; seq: number; ack: number; flags: number; window: number; urgent: number; options: Uint8Array; payload: Uint8Array };
  udp?: { sourcePort: number; destinationPort: number; payload: Uint8Array };
  icmp?: { type: number; code: number; rest: number; payload: Uint8Array };
}
/** Takes a frame of the stack apart; a wrong length or checksum is thrown: the stack must never send one. */
export function parse(frame: Uint8Array): Parsed {
  if (frame.length < 14) throw new Error('frame too short');
  const p: Parsed = { to: frame.slice(0, 6), from: frame.slice(6, 12), type: get16(frame, 12), payload: frame.slice(14) };
  if (p.type !== 0x800) return p;
  const b = p.payload, header = (b[0]! & 15) * 4, total = get16(b, 2);
  if (b[0]! >> 4 !== 4 || header < 20 || total !== b.length) throw new Error(`bad IPv4 header: version/length ${b[0]}, total ${total} of ${b.length}`);
  if (checksum(b.subarray(0, header)) !== 0) throw new Error('IPv4 header checksum');
  const payload = b.slice(header);
  p.ip = { source: get32(b, 12), destination: get32(b, 16), protocol: b[9]!, id: get16(b, 4), fragment: get16(b, 6), ttl: b[8]!, payload, bytes: b };
  if ((p.ip.fragment & 0x3fff) !== 0) return p;
  if (p.ip.protocol === 6) {
    if (checksum(pseudo(p.ip.source, p.ip.destination, 6, payload.length), payload) !== 0) throw new Error('TCP checksum');
    const h = payload[12]! >> 4 << 2;
    p.tcp = { sourcePort: get16(payload, 0), destinationPort: get16(payload, 2), seq: get32(payload, 4), ack: get32(payload, 8), flags: payload[13]!, window: get16(payload, 14), urgent: get16(payload, 18), options: payload.slice(20, h), payload: payload.slice(h) };
  } else if (p.ip.protocol === 17) {
    if (get16(payload, 4) !== payload.length) throw new Error('UDP length');
    if (checksum(pseudo(p.ip.source, p.ip.destination, 17, payload.length), payload) !== 0) throw new Error('UDP checksum');
    p.udp = { sourcePort: get16(payload, 0), destinationPort: get16(payload, 2), payload: payload.slice(8) };
  } else if (p.ip.protocol === 1) {
    if (checksum(payload) !== 0) throw new Error('ICMP checksum');
    p.icmp = { type: payload[0]!, code: payload[1]!, rest: get32(payload, 4), payload: payload.slice(8) };
  }
  return p;
}
