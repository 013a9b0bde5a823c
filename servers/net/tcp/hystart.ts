/**
 * HyStart++ (RFC 9406): the first slow start ends when the round trip grows, before the queue overflows. After a suspicion the window grows at a quarter of the pace for
 * CSS_ROUNDS; if the round trip falls again, it was wrong. Needs a sample with each acknowledgement, so connections with SACK only.
 */
import { Socket, le } from '../socket';
import { SLOWER } from './rack';

const LEAST_RISE: u32 = 4_000; // us
const MOST_RISE: u32 = 16_000;
const SAMPLES: u32 = 8;
const CSS_ROUNDS: u32 = 5;
const CSS_DIVISOR: u32 = 4;
const UNKNOWN: u32 = 0xffffffff;

export function hystartBegin(s: Socket): void { s.loss &= ~SLOWER; s.roundEnd = s.sndNxt; s.roundMin = UNKNOWN; s.roundMinBefore = UNKNOWN; s.roundSamples = 0; }
/** Growth of the window for `more` that slow start would add; `rtt` (us) of this acknowledgement. */
export function hystart(s: Socket, rtt: u32, more: u32): u32 {
  if (rtt < s.roundMin) s.roundMin = rtt;
  s.roundSamples++;
  if (s.roundSamples >= SAMPLES) {
    if ((s.loss & SLOWER) == 0) {
      if (s.roundMinBefore != UNKNOWN) {
        let rise = s.roundMinBefore >> 3;
        if (rise < LEAST_RISE) rise = LEAST_RISE;
        if (rise > MOST_RISE) rise = MOST_RISE;
        if (s.roundMin >= s.roundMinBefore + rise) { s.loss |= SLOWER; s.cssBase = s.roundMin; s.cssRounds = 0; }
      }
    } else if (s.roundMin < s.cssBase) s.loss &= ~SLOWER; // the rise was none
  }
  const grown = (s.loss & SLOWER) != 0 ? more / CSS_DIVISOR : more;
  if (le(s.roundEnd, s.sndUna)) {
    if ((s.loss & SLOWER) != 0 && ++s.cssRounds >= CSS_ROUNDS) { s.loss &= ~SLOWER; s.ssthresh = s.cwnd; }
    s.roundMinBefore = s.roundMin; s.roundMin = UNKNOWN; s.roundSamples = 0; s.roundEnd = s.sndNxt;
  }
  return grown;
}
