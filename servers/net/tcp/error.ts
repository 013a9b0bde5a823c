/**
 * ICMP errors for TCP (RFC 9293 3.9.2.2, RFC 5927): believed only if the quoted sequence number is under way. They never end an established connection; an
 * attempt to connect ends at once, by soft ones, too (RFC 5461, 4: as Linux does, so that somebody hears of it before the SYNs have run out).
 */
import { NET_TCP_STATE_SYN_RECEIVED, NET_TCP_STATE_SYN_SENT } from 'kintsugi/protocols';
import { get16, get32 } from '../address';
import { C_TCP_ICMP_SEQUENCE, count } from '../counters';
import { Socket, findConnection, lt, le, touch, wantOutput, AFTER_RTO, FORCE } from '../socket';
import { toClosed } from './connection';
import { settleMss } from './output';

/** About a segment of ours from `source` to `destination`, whose header begins at `at` (8 bytes are there). `path` != 0: the payload that fits the path now. False: not ours. */
export function tcpError(source: usize, destination: usize, at: usize, error: u32, hard: bool, path: u32): bool {
  const s: Socket = findConnection(source, destination, get16(at), get16(at + 2));
  if (changetype<usize>(s) == 0) return false;
  const seq = get32(at + 4);
  if (lt(seq, s.sndUna) || !le(seq, s.sndMax) || (seq == s.sndMax && s.sndMax != s.sndUna)) { count(C_TCP_ICMP_SEQUENCE); return false; }
  if (path != 0) {
    const before = s.mss;
    settleMss(s);
    if (s.mss < before && s.sndNxt != s.sndUna) { s.sndNxt = s.sndUna; s.flags |= AFTER_RTO; wantOutput(s); } // what was too big goes again
    touch(s);
    return true;
  }
  if (error == 0) return true;
  if (s.state == NET_TCP_STATE_SYN_SENT || (hard && s.state == NET_TCP_STATE_SYN_RECEIVED)) { toClosed(s, error); return true; }
  s.softError = error;
  touch(s);
  return true;
}
