/**
 * For whoever measures: one JSON line for each restart on the debug console (port E9h of Bochs, QEMU and our VM), which nobody shares and no server
 * serves. On with the word `telemetry` on the command line. Written after the recovery, never during it.
 *
 *   {"restart":"fs","generation":3,"cause":"kill","mid":1,"redelivered":12,"ns":[...],"instructions":[...]}
 *
 * `ns` and `instructions` by phase (journal.ts): detected, stopped, quiet, revoked, built, started, ready, served. ns count from the detection; 0 = not reached.
 * Instructions up to `started` are those of the supervisor's CPU, of `ready` and `served` those of the server's CPU since the server's birth.
 */
import { BOOTINFO_HANDLES_IO_PORTS, DEVICE_PORT_OUT } from 'kintsugi/abi';
import { LOG_FIELDS_GENERATION, LOG_FIELDS_READY_NS, LOG_FIELDS_SERVED_NS, LOG_FIELDS_READY_INSTRUCTIONS, LOG_FIELDS_SERVED_INSTRUCTIONS } from 'kintsugi/protocols';
import * as sys from '../lib/sys';
import { Text, textInit } from '../lib/fmt';
import { Server, serverAt, serverCount } from './tables';
import { globals, journalPhase, phaseNs, phaseInstructions, causeOf, CAUSE_KILL, CAUSE_HANG, PHASE_DETECTED, PHASE_DONE, PHASE_SERVED } from './journal';
import { redelivered } from './pending';

const PORT: u32 = 0xe9;
const BATCH: u32 = 64;
const ROOM: u32 = 512;
const BUFFER: usize = memory.data(512);
const TEXT: Text = changetype<Text>(memory.data(12, 4));

/** A line to fill and `send`. */
export function report(): Text { return textInit(TEXT, BUFFER, ROOM); }
export function send(t: Text): void {
  if (globals().telemetry == 0) return;
  t.newline();
  let n: u32 = 0;
  while (n < t.length) {
    sys.batchStart();
    for (let k: u32 = 0; k < BATCH && n < t.length; k++) { sys.batchAdd(BOOTINFO_HANDLES_IO_PORTS, DEVICE_PORT_OUT, PORT, 1, load<u8>(t.at + n), 0, 0); n++; }
    sys.batchRun();
  }
}

/** Takes the signs of life of the present incarnation into the journal. True: it has answered its first request. They are its allegations: times must lie between its death and now. */
export function readSigns(s: Server): bool {
  const p = s.logVa, now = sys.clock();
  if (p == 0 || load<u32>(p, LOG_FIELDS_GENERATION) != s.generation) return false;
  const ready = load<u64>(p, LOG_FIELDS_READY_NS), served = load<u64>(p, LOG_FIELDS_SERVED_NS);
  if (ready >= s.lastDeathNs && ready <= now) journalPhase(s.number, PHASE_DONE, <u32>(ready - s.lastDeathNs), load<u32>(p, LOG_FIELDS_READY_INSTRUCTIONS));
  if (served < s.lastDeathNs || served > now) return false;
  journalPhase(s.number, PHASE_SERVED, <u32>(served - s.lastDeathNs), load<u32>(p, LOG_FIELDS_SERVED_INSTRUCTIONS));
  return true;
}
/** Once for each restart: when it serves again, or when it dies or the machine stops before. */
export function tellRestart(s: Server): void {
  if (globals().telemetry == 0 || s.restarts == 0 || s.told == s.generation) return;
  s.told = s.generation;
  const cause = causeOf(s.number), t = report();
  t.lit('{"restart":"').str(s.name).lit('","generation":').dec(s.generation).lit(',"cause":"').lit(cause == CAUSE_KILL ? 'kill' : cause == CAUSE_HANG ? 'hang' : 'fault').lit('","mid":').dec(s.mid).lit(',"redelivered":').dec(redelivered()).lit(',"ns":[');
  for (let p = PHASE_DETECTED; p <= PHASE_SERVED; p++) { if (p != PHASE_DETECTED) t.byte(44); t.dec(phaseNs(s.number, p)); }
  t.lit('],"instructions":[');
  for (let p = PHASE_DETECTED; p <= PHASE_SERVED; p++) { if (p != PHASE_DETECTED) t.byte(44); t.dec(phaseInstructions(s.number, p)); }
  send(t.lit(']}'));
}
export function tellAll(): void { for (let n: u32 = 0; n < serverCount(); n++) { readSigns(serverAt(n)); tellRestart(serverAt(n)); } }
