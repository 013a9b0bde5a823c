/**
 * The supervisor: builds every server from the manifest, starts them, watches over them, and prints what happens.
 *
 * One Thread, no fibers, never blocked on a server: it only receives (faults of servers as IPC, everything else as bits of its Notify) and
 * signals. It calls nobody. Whatever it does in answer to an event is bounded.
 */
import { ERR_OK, ERR_MEMORY, ERR_TIMEOUT, FAULT_MESSAGE_VECTOR, FAULT_MESSAGE_ERROR_CODE, FAULT_MESSAGE_EIP, FAULT_MESSAGE_CR2, FAULT_MESSAGE_ESP, FAULT_MESSAGE_EBP, BOOTINFO_HANDLES_IO_PORTS } from 'kintsugi/abi';
import { ROLE_ENDPOINT, ROLE_REPLY, REGION_STATE, SUPERVISOR_BITS_LOG, SUPERVISOR_BITS_POWER_OFF, SUPERVISOR_BITS_REBOOT, SUPERVISOR_BITS_KILL, SERVERS_SUPERVISOR, SERVERS_VIRTIO_NET } from 'kintsugi/protocols';
import * as sys from '../lib/sys';
import * as str from '../lib/str';
import { line } from '../lib/fmt';
import { allocInit } from '../lib/alloc';
import { consoleInit, print } from '../lib/console';
import { startupInit, needHandle, needRegion, generation, ownSpace, ownTable, ownNotify } from '../lib/startup';
import { builderInit, builderTable } from '../lib/build';
import { tablesFit, serverAt, serverCount, serverOf, ringAt, ringCount, MAX_SERVERS, PCI_FUNCTION, STATE_ABSENT, STATE_STARTING, STATE_UP } from './tables';
import { manifest } from './manifest';
import { cpus, memoryPages, commandLine, takeUntyped, takeFrames } from './boot';
import { incarnationInit, takeObjectMemory, equip, equipRing, equipFunctions, build, start, failedStep, failedStatus } from './incarnation';
import { serverTableInit, publish, drainAll, tellReady, tellAbsent, tellFailed, tellFault } from './report';
import { CAUSE_HANG, CAUSE_KILL, journalInit, globals } from './journal';
import { recovered, refill, refillDue, restart, served, takeOver } from './recovery';
import { spinning } from './busy';
import { neverComes, overdue, setBounds, viewRings, watchNs } from './pending';
import { stormDeadline, stormInit, stormStart, stormStep } from './storm';
import { report, send, tellAll } from './telemetry';

const OWN_BITS: u32 = 19; // page tables of the supervisor's own Space
const DEBUG_EXIT: u32 = 0xf4;
const READY_LIMIT_NS: u64 = 10_000_000_000;

let faults: u32 = 0;
let reply: u32 = 0;

/** Nothing is watched over any more; what can still be done without the tables is to switch off. */
function fatal(what: string): void {
  print(line().lit('supervisor: ').lit(what).lit(', argument ').dec(sys.errArg()).lit(', status ').dec(sys.R.status));
  while (sys.recv(faults, reply, sys.FOREVER) == ERR_OK) {
    if (!sys.notified()) { sys.reply(reply, sys.tag(1, 0), 0, 0, 0); continue; } // a server died: it stays stopped
    if ((sys.pending() & SUPERVISOR_BITS_POWER_OFF) != 0) switchOff();
    if ((sys.pending() & SUPERVISOR_BITS_REBOOT) != 0) pulseReset();
  }
  while (true) sys.sleepUntil(sys.FOREVER);
}
/** ACPI S5 of the i440FX board and of our own (PM1a control block at 0x604). */
function switchOff(): void { sys.portOut(BOOTINFO_HANDLES_IO_PORTS, 0x604, 2, 0x2000); }
/** Pulse of the keyboard controller's reset line. */
function pulseReset(): void { sys.portOut(BOOTINFO_HANDLES_IO_PORTS, 0x64, 1, 0xfe); }
/** The boot cannot be finished: says why and stops the machine with a failure (debug-exit of the board: status 2 * 0 + 1). */
function bootFailed(what: string): void {
  drainAll();
  const text = line().lit('supervisor: cannot boot: ').lit(what);
  if (failedStatus == ERR_MEMORY || failedStep == 0) text.lit(': out of memory, ').dec(memoryPages() >> 8).lit(' MiB are too few');
  print(text);
  sys.portOut(BOOTINFO_HANDLES_IO_PORTS, DEBUG_EXIT, 1, 0);
  while (true) sys.sleepUntil(sys.FOREVER); // a board without debug-exit
}
function powerOff(): void {
  drainAll();
  tellAll();
  if (globals().quiet == 0) print(line().lit('power off'));
  switchOff();
}
function reboot(): void {
  drainAll();
  print(line().lit('reboot'));
  pulseReset();
}

/** The command line has this word. */
function hasWord(word: string): bool {
  let p = commandLine();
  const n = <u32>word.length;
  while (load<u8>(p) != 0) {
    let e = p;
    while (load<u8>(e) > 32) e++;
    if (<u32>(e - p) == n && str.startsWithLit(p, n, word)) return true;
    p = load<u8>(e) == 0 ? e : e + 1;
  }
  return false;
}
/** The first supervisor: everything from nothing. */
function boot(): void {
  const g = globals();
  g.quiet = hasWord('quiet') ? 1 : 0;
  g.telemetry = hasWord('telemetry') ? 1 : 0;
  const failpoint = str.option(commandLine(), 'failpoint');
  if (failpoint != 0) g.dieAt = str.parseU32(failpoint, 0);
  if (!tablesFit()) fatal('the journal is too small for the tables');
  g.own = takeUntyped(OWN_BITS);
  if (g.own == 0 || builderInit(ownSpace, g.own, 64) != ERR_OK) bootFailed('page tables of the supervisor');
  let cache: u32 = 256; // pages: an eighth of the memory, 1-64 MiB, a power of two
  while (cache < 16384 && cache * 14 <= memoryPages()) cache <<= 1;
  manifest(cache, cache < 1024 ? 256 : cache > 8192 ? 2048 : cache >> 2);
  const follow = str.optionIs(str.option(commandLine(), 'place'), 'follow');
  if (!takeObjectMemory(follow)) bootFailed('objects of the servers');
  g.tableFrames = takeFrames(1);
  if (!serverTableInit()) fatal('no server table');
  for (let n: u32 = 0; n < serverCount(); n++) if (!equip(serverAt(n))) bootFailed('memory of the servers');
  for (let n: u32 = 0; n < ringCount(); n++) if (!equipRing(ringAt(n))) bootFailed('a ring');
  if (!viewRings()) fatal('cannot map the rings');
  const bound = str.option(commandLine(), 'hang');
  if (bound != 0) setBounds(str.parseU32(bound, 0));
  stormInit();
  if (g.quiet == 0) print(line().lit('kintsugi: ').dec(cpus()).lit(' vCPUs, ').dec(memoryPages() >> 8).lit(' MiB, placement ').lit(follow ? 'follow' : 'pin'));
  equipFunctions();
  for (let n: u32 = 0; n < serverCount(); n++) serverAt(n).state_ = STATE_ABSENT;
  for (let n: u32 = 0; n < serverCount(); n++) {
    const s = serverAt(n);
    if ((s.flags & PCI_FUNCTION) != 0 && s.function == 0) {
      if (s.number != SERVERS_VIRTIO_NET) tellAbsent(s, 'no virtio block device'); // a machine without network is a whole one
      neverComes(s);
      publish(s);
      continue;
    }
    if (!build(s)) {
      if (failedStep != 0) tellFailed(s, failedStep, failedStatus, sys.errArg()); else tellAbsent(s, 'its module was not loaded');
      neverComes(s);
      publish(s);
      if (failedStep != 0 && failedStatus == ERR_MEMORY) bootFailed('a server');
      continue;
    }
    start(s);
    publish(s);
  }
  g.booted = 1;
}
/** A later one: the servers run, the journal says what they are. */
function resume(): void {
  const g = globals();
  g.restarts++;
  if (builderInit(ownSpace, g.own, 64) != ERR_OK) fatal('no memory for its own page tables');
  if (!serverTableInit()) fatal('no server table');
  if (!viewRings()) fatal('cannot map the rings');
  print(line().lit('supervisor restarted, generation ').dec(generation()));
  send(report().lit('{"restart":"supervisor","generation":').dec(generation()).lit('}'));
  if (sys.replyPeek(reply) == ERR_OK && sys.result(0) == 2) sys.replyRequeue(reply, faults); // the fault it was handling
  takeOver();
}

function onReady(bits: u32): void {
  for (let n: u32 = 0; n < MAX_SERVERS; n++) {
    if ((bits & (<u32>1 << n)) == 0) continue;
    const s = serverOf(n);
    if (changetype<usize>(s) == 0) continue;
    if (s.state_ == STATE_UP) served(s); // the second time
    if (s.state_ != STATE_STARTING) continue;
    s.state_ = STATE_UP;
    s.readyNs = sys.clock();
    tellReady(s);
    publish(s);
    if (s.restarts != 0) recovered(s);
  }
}
function onKill(bits: u32): void {
  for (let n: u32 = 0; n < 13; n++) {
    if ((bits & (<u32>1 << (SUPERVISOR_BITS_KILL + n))) == 0) continue;
    if (n == SERVERS_SUPERVISOR) { // itself: root will see the fault and start the next one
      print(line().lit('supervisor is killed on request'));
      sys.fault(CAUSE_KILL, 0, 0);
    }
    const s = serverOf(n);
    if (changetype<usize>(s) == 0) continue;
    print(line().str(s.name).lit(' is killed on request'));
    restart(s, CAUSE_KILL, 0);
  }
}
function onFault(): void {
  const number = sys.badge();
  const vector = sys.word(FAULT_MESSAGE_VECTOR), error = sys.word(FAULT_MESSAGE_ERROR_CODE), eip = sys.word(FAULT_MESSAGE_EIP), address = sys.word(FAULT_MESSAGE_CR2), esp = sys.word(FAULT_MESSAGE_ESP), ebp = sys.word(FAULT_MESSAGE_EBP);
  sys.reply(reply, sys.tag(1, 0), 0, 0, 0); // it stays stopped
  const s = serverOf(number);
  if (changetype<usize>(s) == 0) { print(line().lit('fault of nobody, badge ').dec(number)); return; }
  drainAll();
  tellFault(s, vector, error, eip, address, esp, ebp);
  restart(s, vector, eip);
}
/** A server that is late with an answer is as good as dead. */
function onWatch(now: u64): void {
  const spins = spinning(), late = changetype<usize>(spins) != 0 ? spins : overdue(now);
  if (changetype<usize>(late) != 0) restart(late, CAUSE_HANG, 0);
}
function earliest(a: u64, b: u64): u64 { return a < b ? a : b; }
/** Once, when the time to start is over: who is missing. */
function reportMissing(): void {
  for (let n: u32 = 0; n < serverCount(); n++) {
    const s = serverAt(n);
    if (s.state_ == STATE_STARTING) print(line().str(s.name).lit(' does not say ready'));
  }
}

function allUp(): bool {
  for (let n: u32 = 0; n < serverCount(); n++) if (serverAt(n).state_ == STATE_STARTING) return false;
  return true;
}

export function main(page: usize): void {
  startupInit(page);
  allocInit();
  consoleInit(BOOTINFO_HANDLES_IO_PORTS);
  faults = needHandle(ROLE_ENDPOINT);
  reply = needHandle(ROLE_REPLY);
  builderTable(ownTable);
  incarnationInit(faults, ownNotify);
  if (journalInit(needRegion(REGION_STATE).va, generation() == 1)) resume();
  else if (generation() == 1) boot();
  else fatal('the journal of its predecessor is damaged: the servers run on, nobody restarts them');
  let limit = sys.clock() + READY_LIMIT_NS, watch = sys.clock() + watchNs();
  const twinsOff = str.optionIs(str.option(commandLine(), 'twin'), 'off');
  let twins = !twinsOff; // some may be missing
  while (true) {
    // Twins are made when nothing is waiting and everybody is up, one at a time.
    const up = allUp();
    const wanted = twins && (limit == sys.FOREVER || up);
    if (up) stormStart(sys.clock());
    const due = earliest(limit, earliest(stormDeadline(), watch));
    const status = sys.recv(faults, reply, wanted ? earliest(due, refillDue()) : due);
    if (status == ERR_TIMEOUT) {
      const now = sys.clock();
      if (wanted && now >= refillDue()) twins = refill();
      stormStep(now);
      if (now >= watch) { watch = now + watchNs(); onWatch(now); }
      if (now >= limit) { drainAll(); reportMissing(); limit = sys.FOREVER; }
      continue;
    }
    twins = twins || !twinsOff;
    if (status != ERR_OK) fatal('cannot receive');
    if (!sys.notified()) { onFault(); continue; }
    const bits = sys.pending();
    if ((bits & SUPERVISOR_BITS_LOG) != 0) drainAll();
    onReady(bits);
    onKill(bits);
    if ((bits & SUPERVISOR_BITS_POWER_OFF) != 0) powerOff();
    if ((bits & SUPERVISOR_BITS_REBOOT) != 0) reboot();
  }
}
