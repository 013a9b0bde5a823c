/**
 * What the supervisor tells: the boot log and fault reports on COM1, the log lines of the servers, and the server table page that process reads.
 */
import { mark } from 'kintsugi/x86';
import { MARKS_SERVER, LOG_MAGIC, LOG_FIELDS_MAGIC, LOG_FIELDS_HEAD, LOG_DATA, LOG_BYTES, SERVER_TABLE_MAGIC, SERVER_TABLE_COUNT, SERVER_TABLE_ENTRIES, SERVER_TABLE_ENTRY_NUMBER,
  SERVER_TABLE_ENTRY_GENERATION, SERVER_TABLE_ENTRY_STATE, SERVER_TABLE_ENTRY_CPU, SERVER_TABLE_ENTRY_THREAD_SERIAL, SERVER_TABLE_ENTRY_RESTARTS,
  SERVER_TABLE_ENTRY_START_NS_LO, SERVER_TABLE_ENTRY_START_NS_HI, SERVER_TABLE_ENTRY_NAME, SERVER_TABLE_ENTRY_SIZE, SERVERS_ROOT, SERVERS_SUPERVISOR, SERVERS_COUNT } from 'kintsugi/protocols';
import { ERR_OK, ERR_MEMORY, FAULT_VECTOR_DELIBERATE, FAULT_VECTOR_RESERVE_OVERRUN, FAULT_VECTOR_BUDGET } from 'kintsugi/abi';
import * as sys from '../lib/sys';
import * as str from '../lib/str';
import { Text, line } from '../lib/fmt';
import { print } from '../lib/console';
import { ownSpace, ownThread, generation, FAULT_STARTUP, FAULT_MEMORY, FAULT_ASSERT } from '../lib/startup';
import { Server, serverAt, serverCount } from './tables';
import { cpuOf } from './incarnation';
import { globals, phaseNs, PHASE_STOPPED, PHASE_QUIET, PHASE_REVOKED, PHASE_BUILT, PHASE_STARTED, PHASE_DONE } from './journal';

const TABLE_VA: usize = 0x61100000;
const TABLE_MAGIC: u32 = 0x53525654;
/** Maps the page, whose Frames are in the journal, and enters root and this supervisor. */
export function serverTableInit(): bool {
  const frames = globals().tableFrames;
  if (frames == 0 || sys.map(ownSpace, frames, TABLE_VA, 0, 1, sys.MAP_READ | sys.MAP_WRITE) != ERR_OK) return false;
  entry(SERVERS_ROOT, 'root', 1, 2, 0, 0);
  sys.threadQuery(ownThread);
  entry(SERVERS_SUPERVISOR, 'supervisor', generation(), 2, 0, sys.result(3));
  store<u32>(at(SERVERS_SUPERVISOR), generation() - 1, SERVER_TABLE_ENTRY_RESTARTS);
  store<u32>(TABLE_VA, SERVERS_COUNT, SERVER_TABLE_COUNT);
  store<u32>(TABLE_VA, TABLE_MAGIC, SERVER_TABLE_MAGIC);
  return true;
}
function at(number: u32): usize { return TABLE_VA + <usize>SERVER_TABLE_ENTRIES + <usize>number * SERVER_TABLE_ENTRY_SIZE; }
function entry(number: u32, name: string, incarnation: u32, state: u32, cpu: u32, serial: u32): void {
  const e = at(number);
  store<u32>(e, number, SERVER_TABLE_ENTRY_NUMBER); store<u32>(e, incarnation, SERVER_TABLE_ENTRY_GENERATION);
  store<u32>(e, state, SERVER_TABLE_ENTRY_STATE); store<u32>(e, cpu, SERVER_TABLE_ENTRY_CPU); store<u32>(e, serial, SERVER_TABLE_ENTRY_THREAD_SERIAL);
  str.putLiteral(e + SERVER_TABLE_ENTRY_NAME, name);
  mark(MARKS_SERVER, number | state << 8, incarnation, serial);
}
/** Writes what is known of a server into the page. */
export function publish(s: Server): void {
  const e = at(s.number);
  store<u32>(e, s.number, SERVER_TABLE_ENTRY_NUMBER);
  store<u32>(e, s.generation, SERVER_TABLE_ENTRY_GENERATION);
  store<u32>(e, s.state_, SERVER_TABLE_ENTRY_STATE);
  store<u32>(e, cpuOf(s), SERVER_TABLE_ENTRY_CPU);
  store<u32>(e, s.restarts, SERVER_TABLE_ENTRY_RESTARTS);
  store<u32>(e, <u32>s.startNs, SERVER_TABLE_ENTRY_START_NS_LO); store<u32>(e, <u32>(s.startNs >> 32), SERVER_TABLE_ENTRY_START_NS_HI);
  str.copyString(e + SERVER_TABLE_ENTRY_NAME, s.name, 32);
  if (s.generation != 0 && sys.threadQuery(s.target.thread) == ERR_OK) store<u32>(e, sys.result(3), SERVER_TABLE_ENTRY_THREAD_SERIAL);
  mark(MARKS_SERVER, s.number | s.state_ << 8, s.generation, load<u32>(e, SERVER_TABLE_ENTRY_THREAD_SERIAL));
}

// ---- logs of the servers --------------------------------------------------------------------------------------------------------------

/** Prints the complete lines of one server's log page. `head` is the server's allegation: whatever it says, at most LOG_BYTES are read. */
export function drain(s: Server): void {
  const p = s.logVa;
  if (p == 0 || load<u32>(p, LOG_FIELDS_MAGIC) != LOG_MAGIC) return;
  const head = load<u32>(p, LOG_FIELDS_HEAD);
  if (head - s.logTail > LOG_BYTES) {
    print(line().str(s.name).lit(': ').dec(head - s.logTail - LOG_BYTES).lit(' bytes of log lost'));
    s.logTail = head - LOG_BYTES;
  }
  let start = s.logTail, n = start;
  while (n != head) {
    if (load<u8>(p + LOG_DATA + (n & (LOG_BYTES - 1))) == 10) {
      print(logLine(s, p, start, n));
      start = n + 1;
    }
    n++;
  }
  s.logTail = start;
}
function logLine(s: Server, p: usize, from: u32, to: u32): Text {
  const t = line().str(s.name).lit(': ');
  while (from != to) {
    const c = load<u8>(p + LOG_DATA + (from & (LOG_BYTES - 1)));
    t.byte(c >= 32 && c < 127 ? c : 63);
    from++;
  }
  return t;
}
export function drainAll(): void { for (let n: u32 = 0; n < serverCount(); n++) drain(serverAt(n)); }

// ---- lines ----------------------------------------------------------------------------------------------------------------------------

function micros(t: Text, ns: u64): Text {
  const us = <u32>(ns / 1000);
  t.dec(us / 1000); t.byte(46);
  t.byte(48 + us / 100 % 10); t.byte(48 + us / 10 % 10); t.byte(48 + us % 10);
  return t.lit(' ms');
}
export function tellReady(s: Server): void {
  if (globals().quiet != 0) return;
  const t = line().lit('cpu').dec(cpuOf(s)).lit('  ').str(s.name);
  if (s.restarts != 0) t.lit(' restarted, epoch ').dec(s.epoch);
  t.lit(' ready after ');
  print(micros(t, s.readyNs - s.startNs));
}
/** The phases of a restart in microseconds since the death was detected. */
export function tellPhases(s: Server): void {
  if (globals().quiet != 0) return;
  const t = line().str(s.name).lit(' phases, us: stopped ').dec(phaseNs(s.number, PHASE_STOPPED) / 1000).lit(' quiet ').dec(phaseNs(s.number, PHASE_QUIET) / 1000);
  t.lit(' revoked ').dec(phaseNs(s.number, PHASE_REVOKED) / 1000).lit(' built ').dec(phaseNs(s.number, PHASE_BUILT) / 1000);
  print(t.lit(' started ').dec(phaseNs(s.number, PHASE_STARTED) / 1000).lit(' ready ').dec(phaseNs(s.number, PHASE_DONE) / 1000));
}
export function tellAbsent(s: Server, why: string): void { print(line().str(s.name).lit(' absent: ').lit(why)); }
export function tellFailed(s: Server, step: u32, status: u32, argument: u32): void {
  const t = line().str(s.name).lit(' cannot be built: ');
  if (status == ERR_MEMORY) t.lit('out of memory, ');
  print(t.lit('step ').dec(step).lit(' status ').dec(status).lit(' argument ').dec(argument));
}
function vectorName(t: Text, vector: u32): Text {
  if (vector == 0) return t.lit('divide error');
  if (vector == 1) return t.lit('debug');
  if (vector == 3) return t.lit('breakpoint');
  if (vector == 6) return t.lit('invalid opcode');
  if (vector == 13) return t.lit('general protection');
  if (vector == 14) return t.lit('page fault');
  if (vector == FAULT_VECTOR_DELIBERATE) return t.lit('deliberate');
  if (vector == FAULT_VECTOR_RESERVE_OVERRUN) return t.lit('reserve overrun');
  if (vector == FAULT_VECTOR_BUDGET) return t.lit('budget');
  return t.lit('vector ').dec(vector);
}
/** A fault message: registers of an exception, or code and two details of a deliberate fault. */
export function tellFault(s: Server, vector: u32, error: u32, eip: u32, address: u32, esp: u32, ebp: u32): void {
  const t = line().str(s.name).lit(' died on cpu').dec(cpuOf(s)).lit(': ');
  vectorName(t, vector).lit(' at ').hex(eip);
  if (vector == FAULT_VECTOR_DELIBERATE) {
    t.lit(' code ').hex(error).lit(' details ').hex(address).lit(' ').hex(ebp);
    const kind = error & 0xffff0000;
    if (kind == FAULT_STARTUP) t.lit((error & 0x8000) != 0 ? ' (no region of this role)' : ' (no handle of this role)');
    else if (kind == FAULT_MEMORY) t.lit(' (heap)');
    else if (kind == FAULT_ASSERT) t.lit(' (assertion)');
  } else t.lit(' error ').hex(error).lit(' address ').hex(address).lit(' esp ').hex(esp).lit(' ebp ').hex(ebp);
  print(t);
}
