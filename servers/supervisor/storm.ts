/**
 * A kill storm on order, for demonstrations and tests: `storm=KILLS:PERIOD_US:SEED:NAME+NAME...[:REST_US:RUN_US]` on the command line. With the last two it
 * rests and kills in turn, so that what it costs can be measured against the same machine at peace: {"storm":"rests"} and {"storm":"kills"} tell the turns,
 * {"kill":"net","at":NS} each kill at the moment of the decision (telemetry.ts).
 *
 * Every period a victim is drawn. From then on the storm looks at its rings at random moments, 5-60 us apart, and kills it as soon as a look finds
 * a request in service. After three quarters of a period (at least of PATIENCE) any other victim with a request in service will do; after a whole one (eight,
 * as long as fewer than half of the kills hit a request) the one that was drawn is killed, idle or not. The look comes by a timer interrupt, so the victim,
 * on this CPU or another, is stopped at whatever instruction it has reached. A kill is the same as `kill NAME` in a shell: nothing here knows what a
 * server does.
 * The supervisor may be a victim; the state of the storm is in the journal.
 */
import { SERVERS_SUPERVISOR } from 'kintsugi/protocols';
import * as sys from '../lib/sys';
import * as str from '../lib/str';
import { line } from '../lib/fmt';
import { print } from '../lib/console';
import { Server, serverOf, serverAt, serverCount, STATE_UP, STORM_AT } from './tables';
import { commandLine } from './boot';
import { CAUSE_KILL, journalAt } from './journal';
import { inService } from './pending';
import { restart } from './recovery';
import { report, send } from './telemetry';

@unmanaged @final class Storm {
  left: u32; done: u32; random: u32;
  victims: u32; // 1 << server number
  target: u32; // server number, 0 = to be drawn
  hits: u32; // kills that hit a request
  periodNs: u64; dueNs: u64 /* of the present kill */; lookNs: u64 /* next look, 0 = not started */;
  restNs: u64; runNs: u64; // turns; 0 = no rest
  turnNs: u64; // the present turn ends
  rests: u32;
}
function storm(): Storm { return changetype<Storm>(journalAt(STORM_AT)); }

/** Reads the order; a wrong one is said and refused. */
export function stormInit(): void {
  let p = str.option(commandLine(), 'storm');
  if (p == 0) return;
  const s = storm();
  const kills = number(p);
  s.periodNs = <u64>number(next) * 1000;
  s.random = number(next) * 0x9e3779b1 + 0x7f4a7c15;
  if (s.random == 0) s.random = 1;
  let ok = kills != 0 && s.periodNs != 0 && next != 0;
  p = next;
  while (ok && load<u8>(p) > 32) {
    let e = p;
    while (load<u8>(e) > 32 && load<u8>(e) != 43 && load<u8>(e) != 58) e++;
    const victim = byName(p, <u32>(e - p));
    if (victim == 0) ok = false;
    s.victims |= <u32>1 << victim;
    p = load<u8>(e) == 43 ? e + 1 : e;
    if (load<u8>(e) != 58) continue;
    s.restNs = <u64>number(e + 1) * 1000;
    s.runNs = <u64>number(next) * 1000;
    ok = ok && s.restNs != 0 && s.runNs != 0;
    break;
  }
  if (!ok || s.victims == 0) { print(line().lit('storm= is not KILLS:PERIOD_US:SEED:NAME+NAME[:REST_US:RUN_US], or names an unknown server: no storm')); return; }
  s.left = kills;
}
let next: usize = 0;
/** The number at p; `next` is behind its colon, 0 when there is none. */
const END: usize = memory.data(4, 4);
function number(p: usize): u32 {
  if (p == 0) return 0;
  const v = str.parseU32(p, END), e = load<usize>(END);
  next = e != p && load<u8>(e) == 58 ? e + 1 : 0;
  return v;
}
function byName(at: usize, bytes: u32): u32 {
  if (bytes == 10 && str.startsWithLit(at, bytes, 'supervisor')) return SERVERS_SUPERVISOR;
  for (let n: u32 = 0; n < serverCount(); n++) {
    const name = serverAt(n).name;
    if (str.length(name) != bytes) continue;
    let same: u32 = 0;
    while (same < bytes && load<u8>(name + same) == load<u8>(at + same)) same++;
    if (same == bytes) return serverAt(n).number;
  }
  return 0;
}
function random(): u32 {
  const s = storm();
  let x = s.random;
  x ^= x << 13; x ^= x >> 17; x ^= x << 5;
  s.random = x;
  return x * 0x9e3779b1 >> 8;
}
function draw(): u32 {
  const mask = storm().victims;
  let n = random() % <u32>popcnt<u32>(mask), left = mask;
  while (n-- > 0) left &= left - 1;
  return <u32>ctz<u32>(left);
}

const PATIENCE_NS: u64 = 20_000_000;
function onePeriod(): u64 { return storm().periodNs > PATIENCE_NS ? storm().periodNs : PATIENCE_NS; }
function patience(): u64 {
  const s = storm(), one = onePeriod();
  return s.hits * 2 < s.done ? one * 8 : one;
}
function isUp(s: Server): bool { return changetype<usize>(s) != 0 && s.state_ == STATE_UP; }
/** The victim with a request in service that was restarted least; null when there is none. */
function anyBusy(): Server {
  let best = changetype<Server>(0);
  for (let n: u32 = 0; n < serverCount(); n++) {
    const s = serverAt(n);
    if ((storm().victims & (<u32>1 << s.number)) == 0 || !isUp(s) || !inService(s)) continue;
    if (changetype<usize>(best) == 0 || s.restarts < best.restarts) best = s;
  }
  return best;
}

/** When `stormStep` wants to be called next, ns. */
export function stormDeadline(): u64 { return storm().left == 0 || storm().lookNs == 0 ? sys.FOREVER : storm().lookNs; }
/** All servers are up: from now on the storm's time runs. */
export function stormStart(now: u64): void {
  const s = storm();
  if (s.left == 0 || s.lookNs != 0) return;
  if (s.restNs != 0) { rest(now); return; }
  s.dueNs = now + s.periodNs;
  s.lookNs = s.dueNs;
}
function rest(now: u64): void {
  const s = storm();
  s.rests = 1; s.target = 0;
  s.turnNs = now + s.restNs;
  s.lookNs = s.turnNs;
  send(report().lit('{"storm":"rests"}'));
}
/** The first kill comes half a period after the turn's beginning: as many as fit have their consequences in it. */
function run(now: u64): void {
  const s = storm();
  s.rests = 0;
  s.turnNs = now + s.runNs;
  s.dueNs = now + (s.periodNs >> 1);
  s.lookNs = s.dueNs;
  send(report().lit('{"storm":"kills"}'));
}
function tellKill(itself: bool, v: Server, now: u64): void {
  const t = report().lit('{"kill":"');
  if (itself) t.lit('supervisor'); else t.str(v.name);
  send(t.lit('","at":').dec64(now).lit('}'));
}
export function stormStep(now: u64): void {
  const s = storm();
  if (s.left == 0 || s.lookNs == 0 || now < s.lookNs) return;
  if (s.restNs != 0 && now >= s.turnNs) { if (s.rests != 0) run(now); else rest(now); return; }
  if (s.target == 0) s.target = draw();
  let v = serverOf(s.target);
  const itself = s.target == SERVERS_SUPERVISOR, late = now - s.dueNs;
  if (!itself) {
    if (!isUp(v) && late > patience()) { s.target = 0; s.dueNs = now; s.lookNs = now + s.periodNs; return; } // given up or absent: another one
    let busy = isUp(v) && inService(v);
    if (!busy && late > onePeriod() - (onePeriod() >> 2)) {
      const other = anyBusy();
      if (changetype<usize>(other) != 0) { v = other; busy = true; }
    }
    if (!busy && (!isUp(v) || late < patience())) {
      const then = sys.clock(); // looking takes at most a tenth of the time, however slow this machine is
      s.lookNs = then + 10 * (then - now) + 5_000 + <u64>(random() % 55_000);
      return;
    }
  }
  s.target = 0;
  s.done++;
  s.left--;
  s.dueNs = s.dueNs + s.periodNs > now ? s.dueNs + s.periodNs : now;
  s.lookNs = s.restNs != 0 && s.turnNs < s.dueNs ? s.turnNs : s.dueNs;
  tellKill(itself, v, now);
  if (itself) sys.fault(CAUSE_KILL, 0, 0); // root starts the next one, which goes on from here
  restart(v, CAUSE_KILL, 0);
  s.hits += v.mid;
  if (s.left == 0) send(report().lit('{"storm":"over","kills":').dec(s.done).lit('}'));
}
