/**
 * Death and restart of a server, phase by phase. Each phase is written to the journal before the next begins and may be repeated:
 * a supervisor that dies in the middle finds the phase and does the rest again.
 *
 *   detected -> stopped (runs on no CPU) -> quiet (interrupt masked and unbound, no bus mastering) -> revoked (the incarnation is gone) -> built
 *   -> started -> done (it attached to its state and rings and said ready) -> served (it answered its first request)
 *
 * The next incarnation usually waits as a twin: then `built` only joins it to rings, state and devices. `refill` prepares the next twin in the
 * memory of the dead one, when there is nothing better to do.
 *
 * What clients hold (doorbells, rings, badges, parked calls) belongs to the supervisor and is not touched: a dead server is an unconsumed ring.
 * What happens to the requests at a dead server is decided in pending.ts.
 * Restart intensity: more than MAX_DEATHS within PERIOD and the server is given up, loudly: it stays dead, `ps` shows it failed, and every request to it,
 * present and future, is answered with an error.
 */
import { ERR_OK, ERR_MEMORY } from 'kintsugi/abi';
import { mark } from 'kintsugi/x86';
import { MARKS_RESTART, SERVERS_PROCESS, SERVERS_SUPERVISOR, NOTIFY_BITS_SUPERVISOR } from 'kintsugi/protocols';
import * as sys from '../lib/sys';
import { line } from '../lib/fmt';
import { ownThread } from '../lib/startup';
import { print } from '../lib/console';
import { Server, resetTargets, serverOf, serverAt, serverCount, CALLABLE, STATE_DEAD, STATE_FAILED, STATE_UP, STATE_STARTING } from './tables';
import { attachServer, build, prepare, start, regrantThread, functionOf, failedStatus, failedStep } from './incarnation';
import { publish, drain, tellFailed, tellPhases } from './report';
import { pciQuiet, pciMaster } from './pci';
import { inService, settlePending, forgiveAll } from './pending';
import { readSigns, tellRestart, report, send } from './telemetry';
import { CAUSE_KILL, causeOf, globals, journalCause, journalPhase, PHASES, PHASE_SERVED, PHASE_DETECTED, PHASE_STOPPED, PHASE_QUIET, PHASE_REVOKED, PHASE_BUILT, PHASE_STARTED, PHASE_DONE } from './journal';

const MAX_DEATHS: u32 = 5;
const PERIOD_NS: u64 = 10_000_000_000;

/** The next twin waits until the server has answered somebody, or this long: it would only compete with the recovery for the CPU. */
const REFILL_DELAY_NS: u64 = 20_000_000;
let refillAt: u64 = 0;
/** When `refill` may run, ns. */
export function refillDue(): u64 { return refillAt; }

/** ns are counted from the death, which `lastDeathNs` of the record keeps. */
function phase(s: Server, p: u32): void {
  s.phase = p;
  mark(MARKS_RESTART, s.number | p << 8, s.generation, s.epoch);
  sys.trace(0, 0, 0);
  const instructions = sys.R.w0 == s.deathCpu ? sys.R.w1 - s.deathCount : 0;
  journalPhase(s.number, p, <u32>(sys.clock() - s.lastDeathNs), instructions);
  const g = globals();
  if (g.dieAt == p && p != 0) { // `failpoint=PHASE`: once
    g.dieAt = 0;
    print(line().lit('supervisor dies at phase ').dec(p).lit(' of ').str(s.name));
    sys.fault(CAUSE_KILL, p, 0);
  }
}
/** From here time and instructions of a recovery are counted. */
function death(s: Server, now: u64): void {
  s.lastDeathNs = now;
  refillAt = now + REFILL_DELAY_NS;
  sys.trace(0, 0, 0);
  s.deathCpu = sys.R.w0; s.deathCount = sys.R.w1;
  for (let p: u32 = 0; p < PHASES; p++) journalPhase(s.number, p, 0, 0);
}

/** A server died or is to die. `cause` and `address` go to the journal. */
export function restart(s: Server, cause: u32, address: u32): void {
  if (s.state_ != STATE_UP && s.state_ != STATE_STARTING) return;
  const now = sys.clock();
  if (now - s.firstDeathNs > PERIOD_NS) { s.strikes = 0; s.firstDeathNs = now; }
  readSigns(s);
  tellRestart(s); // the one before, if nobody asked anything of it
  death(s, now);
  s.state_ = STATE_DEAD;
  journalCause(s.number, s.epoch, cause, address);
  phase(s, PHASE_DETECTED);
  quiet(s);
  forgiveAll();
  decideAndRevive(s, cause);
}
/** Every pending request gets its decision before the next incarnation runs. */
function decideAndRevive(s: Server, cause: u32): void {
  const guilty = cause != CAUSE_KILL;
  if (guilty && s.struck != s.generation) { s.struck = s.generation; s.strikes++; }
  if ((s.flags & CALLABLE) != 0) giveUp(s, 'has no journal yet'); // its programs would lose their state with it: CAVEATS
  else if (guilty && s.strikes > MAX_DEATHS) giveUp(s, 'died too often');
  else {
    settlePending(s, guilty, true);
    revive(s);
  }
}
/** Stops it and its devices. */
function quiet(s: Server): void {
  sys.threadSuspend(s.target.thread); // its handle is stale when it was revoked already: nothing to stop then
  s.mid = inService(s) ? 1 : 0;
  phase(s, PHASE_STOPPED);
  if (s.irqDevice != 0) sys.deviceReset(s.irqDevice);
  if (s.function != 0) pciQuiet(functionOf(s));
  drain(s);
  phase(s, PHASE_QUIET);
  publish(s);
}
/** From `quiet` on. */
function revive(s: Server): void {
  if (s.untyped != 0 && sys.untypedRevoke(s.untyped) != ERR_OK) { giveUp(s, 'cannot be revoked'); return; }
  phase(s, PHASE_REVOKED);
  if (s.twinUntyped == 0) { // memory was too scarce for a twin: the next incarnation gets the dead one's. Order of stores: settleSwap
    s.spare = s.untyped;
    s.untyped = 0;
    s.twinUntyped = s.spare;
    s.spare = 0;
  }
  if (!build(s)) {
    tellFailed(s, failedStep, failedStatus, sys.errArg());
    giveUp(s, 'cannot be rebuilt');
    return;
  }
  phase(s, PHASE_BUILT);
  s.restarts++;
  regrantThread(serverOf(SERVERS_PROCESS), s.number, s.target.thread);
  if (s.function != 0) pciMaster(functionOf(s));
  if (!start(s)) { giveUp(s, 'cannot be started'); return; }
  phase(s, PHASE_STARTED);
  publish(s);
}
/**
 * A new supervisor takes over: the records are in the journal, the servers run. Twins are made anew (their startup pages were in the heap of the
 * dead one), and a restart in the middle of which it died is done again from its beginning.
 */
export function takeOver(): void {
  for (let n: u32 = 0; n < serverCount(); n++) {
    const s = serverAt(n);
    settleSwap(s, n);
    if (!attachServer(s)) { giveUp(s, 'has no log page any more'); continue; }
    s.twinReady = 0; s.twinFailed = 0;
    if (s.twinUntyped != 0) sys.untypedRevoke(s.twinUntyped);
    if (s.state_ != STATE_DEAD) continue;
    quiet(s);
    decideAndRevive(s, causeOf(s.number));
  }
  regrantThread(serverOf(SERVERS_PROCESS), SERVERS_SUPERVISOR, ownThread);
}
/** `activate` (incarnation.ts) exchanges twin and incarnation by several stores; whichever of them were done, both Untypeds are found again. */
function settleSwap(s: Server, n: u32): void {
  if (s.spare != 0 && s.untyped == s.twinUntyped) s.untyped = s.spare;
  s.spare = 0;
  if (changetype<usize>(s.target) == changetype<usize>(s.twin)) resetTargets(s, n);
}
/** Prepares one missing twin; false when none is missing. */
export function refill(): bool {
  for (let n: u32 = 0; n < serverCount(); n++) {
    const s = serverAt(n);
    if (s.state_ != STATE_UP || s.twinReady != 0 || s.twinFailed != 0 || (s.flags & CALLABLE) != 0) continue;
    if (!prepare(s)) { s.twinFailed = 1; print(line().str(s.name).lit(' has no twin: a restart will build it anew')); if (failedStatus != ERR_MEMORY) tellFailed(s, failedStep, failedStatus, sys.errArg()); }
    return true;
  }
  return false;
}
function giveUp(s: Server, why: string): void {
  s.state_ = STATE_FAILED;
  publish(s);
  settlePending(s, false, false);
  send(report().lit('{"failed":"').str(s.name).lit('","why":"').lit(why).lit('"}'));
  print(line().str(s.name).lit(' is given up: ').lit(why));
}
/** It answered its first request, or says ready: the report, once. */
export function served(s: Server): void {
  if (s.phase != PHASE_DONE || !readSigns(s)) return;
  s.phase = PHASE_SERVED;
  refillAt = 0;
  tellRestart(s);
}
/** It said ready after a restart. */
export function recovered(s: Server): void {
  phase(s, PHASE_DONE);
  tellPhases(s);
  served(s);
  const process = serverOf(SERVERS_PROCESS);
  if (changetype<usize>(process) != 0 && process.notify != 0) sys.notify(process.notify, <u32>1 << NOTIFY_BITS_SUPERVISOR);
}
