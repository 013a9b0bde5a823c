/**
 * A server that looks at its own text now and then. A flipped bit in text stays there until the incarnation ends, and one that makes a server deaf, mute or slow
 * raises no exception: a stack that computes wrong checksums waits with its peer for ever. So while it works it compares its text with the fingerprint that the
 * supervisor wrote into the startup page, a tenth of a second after the last time or, where it sees signs of trouble, a hundredth. What does not compare is died
 * of: the successor has fresh text. About 1.1 instructions a byte.
 */
import { rdtsc } from 'kintsugi/x86';
import { STARTUP_FIELDS_TEXT_AT, STARTUP_FIELDS_TEXT_BYTES, STARTUP_FIELDS_TEXT_HIGH, STARTUP_FIELDS_TEXT_LOW } from 'kintsugi/protocols';
import { fingerprint, fingerprintHigh } from './fingerprint';
import * as sys from './sys';

/** Code of the deliberate fault; details: low lane found, low lane expected. */
export const FAULT_TEXT: u32 = 0x54580000;
/** Ticks of the time stamp counter: ns. */
const PERIOD: u64 = 100_000_000, IN_TROUBLE: u64 = 10_000_000;
let page: usize = 0;
let looked: u64 = 0;

/** The first look comes a period later: a recovery does not pay for it. */
export function scrubInit(startupPage: usize): void { page = startupPage; looked = rdtsc(); }
/** Between two pieces of work. `trouble`: something is not as it should be. */
export function scrub(trouble: bool): void {
  const at = rdtsc(), least = trouble ? IN_TROUBLE : PERIOD;
  if (<i64>(at - looked) < <i64>least) return; // signed: the counters of two CPUs differ by a little
  looked = at;
  const low = fingerprint(load<u32>(page, STARTUP_FIELDS_TEXT_AT), load<u32>(page, STARTUP_FIELDS_TEXT_BYTES));
  if (low != load<u32>(page, STARTUP_FIELDS_TEXT_LOW) || fingerprintHigh != load<u32>(page, STARTUP_FIELDS_TEXT_HIGH)) sys.fault(FAULT_TEXT, low, load<u32>(page, STARTUP_FIELDS_TEXT_LOW));
}
