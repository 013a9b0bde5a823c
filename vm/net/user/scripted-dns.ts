/**
 * The name server of the deterministic peer (RFC 1035): a fixed zone, and names that make a resolver work.
 *
 *   gateway.test 10.0.2.2   dns.test 10.0.2.3   guest.test 10.0.2.15   peer.test 10.0.2.100   far.test 198.51.100.1
 *   alias.test   CNAME peer.test          big.test      40 addresses: cut short over UDP (TC), whole over TCP
 *   lost.test    every other query is not answered      broken.test   SERVFAIL      everything else: NXDOMAIN
 */
import { get16, ipv4, put16, put32 } from '../frames.ts';

const TYPE = { A: 1, CNAME: 5, PTR: 12, AAAA: 28 } as const;
const RCODE = { ok: 0, format: 1, failure: 2, name: 3, unsupported: 4 } as const;
const TTL_SECONDS = 300;
const UDP_MOST = 512;
export const ZONE: Readonly<Record<string, number>> = {
  'gateway.test': ipv4(10, 0, 2, 2), 'dns.test': ipv4(10, 0, 2, 3), 'guest.test': ipv4(10, 0, 2, 15), 'peer.test': ipv4(10, 0, 2, 100), 'far.test': ipv4(198, 51, 100, 1),
  'lost.test': ipv4(10, 0, 2, 100),
};

/** The answer to a query, or undefined for none. `lose` is asked whether a query for lost.test is lost. */
export function answerDns(query: Uint8Array, overTcp: boolean, lose: () => boolean): Uint8Array | undefined {
  if (query.length < 12 || query[2] & 0x80) return undefined;
  const header = (rcode: number, answers: number, truncated = false): Uint8Array => {
    const out = query.slice(0, 12);
    out[2] = 0x84 | (query[2] & 0x79) | (truncated ? 2 : 0); // answer, authoritative, opcode and RD as asked
    out[3] = 0x80 | rcode;
    put16(out, 6, answers);
    put16(out, 8, 0); put16(out, 10, 0);
    return out;
  };
  const failure = (rcode: number): Uint8Array => { const out = header(rcode, 0); put16(out, 4, 0); return out; };
  if ((query[2] >> 3 & 15) !== 0) return failure(RCODE.unsupported);
  if (get16(query, 4) !== 1) return failure(RCODE.format);
  const labels: string[] = [];
  let at = 12;
  while (at < query.length && query[at] !== 0) {
    const size = query[at];
    if (size > 63 || at + 1 + size > query.length || labels.length > 32) return failure(RCODE.format);
    labels.push(String.fromCharCode(...query.subarray(at + 1, at + 1 + size)).toLowerCase());
    at += 1 + size;
  }
  if (at + 5 > query.length) return failure(RCODE.format);
  const type = get16(query, at + 1);
  const question = query.subarray(12, at + 5);
  const name = labels.join('.');
  const record = (kind: number, data: Uint8Array, owner = 0xc00c): Uint8Array => {
    const out = new Uint8Array(12 + data.length);
    put16(out, 0, owner); put16(out, 2, kind); put16(out, 4, 1); put32(out, 6, TTL_SECONDS); put16(out, 10, data.length);
    out.set(data, 12);
    return out;
  };
  const a = (address: number): Uint8Array => { const data = new Uint8Array(4); put32(data, 0, address); return data; };
  const encode = (text: string): Uint8Array => Uint8Array.from([...text.split('.').flatMap((label) => [label.length, ...new TextEncoder().encode(label)]), 0]);
  const answer = (rcode: number, records: readonly Uint8Array[]): Uint8Array => {
    const bytes = 12 + question.length + records.reduce((sum, { length }) => sum + length, 0);
    const truncated = !overTcp && bytes > UDP_MOST;
    const parts = [header(rcode, truncated ? 0 : records.length, truncated), question, ...(truncated ? [] : records)];
    const out = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
    let o = 0;
    for (const part of parts) { out.set(part, o); o += part.length; }
    return out;
  };
  if (name === 'lost.test' && lose()) return undefined;
  if (name === 'broken.test') return answer(RCODE.failure, []);
  if (name === 'alias.test') {
    const cname = record(TYPE.CNAME, encode('peer.test'));
    const target = 12 + question.length + 12; // where the CNAME's data lies
    return answer(RCODE.ok, type === TYPE.A ? [cname, record(TYPE.A, a(ZONE['peer.test']), 0xc000 | target)] : [cname]);
  }
  if (name === 'big.test') return answer(RCODE.ok, type === TYPE.A ? Array.from({ length: 40 }, (_, k) => record(TYPE.A, a(ipv4(198, 51, 100, k + 1)))) : []);
  const reverse = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa$/.exec(name);
  if (reverse) {
    const address = ipv4(Number(reverse[4]), Number(reverse[3]), Number(reverse[2]), Number(reverse[1]));
    const found = Object.entries(ZONE).find(([, value]) => value === address);
    return found ? answer(RCODE.ok, type === TYPE.PTR ? [record(TYPE.PTR, encode(found[0]))] : []) : answer(RCODE.name, []);
  }
  const address = ZONE[name];
  if (address === undefined) return answer(RCODE.name, []);
  return answer(RCODE.ok, type === TYPE.A ? [record(TYPE.A, a(address))] : []);
}
