/**
 * root: the first user process. It starts the supervisor from module 1 and guards it, and does nothing else.
 *
 * What must survive the supervisor is made here and kept here ("masters"): its Table, and with it every capability it has; the Endpoint at which
 * it receives the faults of the servers, its Reply, the Notify whose signal rights every server holds, its Sched, and the journal Frames with
 * all it must remember. The supervisor's incarnation (Space, Thread, private memory) lives in an Untyped of its own: when the supervisor dies, root
 * revokes that, loads the module again, and the new supervisor goes on from the journal; the servers do not notice.
 *
 * The Table mirrors root's: every boot capability (Untypeds, modules, interrupt lines, device memory, I/O ports) has the same handle there as here,
 * so that the boot-info page is true in both.
 *
 * A supervisor that runs on and on without ever waiting is taken for dead as well: root stands above it and looks.
 *
 * root has no heap, no fibers, no rings; it is small enough to be read in one sitting and has nothing to lose.
 */
import {
  ERR_OK, ERR_TIMEOUT, THREAD_STATE_READY, THREAD_STATE_RUNNING, BOOTINFO_FIELDS_CMDLINE, OBJ_UNTYPED, OBJ_ENDPOINT, OBJ_REPLY, OBJ_NOTIFY, OBJ_SCHED, OBJ_FRAMES, OBJ_TABLE, VM_SHARED, VM_STATE, FAULT_MESSAGE_VECTOR, FAULT_MESSAGE_ERROR_CODE, FAULT_MESSAGE_EIP, FAULT_MESSAGE_CR2,
  BOOTINFO_VA, BOOTINFO_MAGIC, BOOTINFO_FIELDS_MAGIC, BOOTINFO_FIELDS_UNTYPED_FIRST, BOOTINFO_FIELDS_UNTYPED_COUNT, BOOTINFO_FIELDS_MODULE_FIRST,
  BOOTINFO_FIELDS_MODULE_COUNT, BOOTINFO_FIELDS_IRQ_FIRST, BOOTINFO_FIELDS_IRQ_COUNT, BOOTINFO_FIELDS_MMIO_FIRST, BOOTINFO_FIELDS_MMIO_COUNT,
  BOOTINFO_FIELDS_MODULES, BOOTINFO_HANDLES_TABLE, BOOTINFO_HANDLES_SPACE, BOOTINFO_HANDLES_THREAD, BOOTINFO_HANDLES_IO_PORTS, THREAD_RIGHTS_QUERY,
} from 'kintsugi/abi';
import { ROLE_ENDPOINT, ROLE_REPLY, ROLE_NOTIFY, ROLE_TABLE, ROLE_SPACE, ROLE_THREAD, REGION_STATE, SERVERS_SUPERVISOR } from 'kintsugi/protocols';
import * as sys from '../lib/sys';
import { line } from '../lib/fmt';
import { consoleInit, print } from '../lib/console';
import { pagesOf } from '../lib/mem';
import {
  Target, targetInitTable, targetLoad, targetStacks, targetMap, targetStartup, targetThread, newFrames, fillFrames, grant, startupHandle, startupRegion,
  startupIdentity, builderInit, builderTable,
} from '../lib/build';
import * as str from '../lib/str';
import { putLiteral } from '../lib/str';

const SUPERVISOR_BITS: u32 = 22; // 4 MiB for its incarnation
const MASTERS_BITS: u32 = 19; // Table, Endpoint, Reply, Notify, Sched, journal, root's own page tables
const JOURNAL_PAGES: u32 = 8; // servers/supervisor/journal.ts
const MAX_DEATHS: u32 = 5; // within PERIOD_NS; deaths on request do not count
const PERIOD_NS: u64 = 10_000_000_000;
const CAUSE_KILL: u32 = 0x4b494c4c; // servers/supervisor/recovery.ts
const GUARD_PRIORITY: u32 = 62; // above the supervisor: one that spins must not keep root from looking
const SPIN_MS: u32 = 15_000; // run time without waiting after which it counts as hung
const ORDINARY_MS: u32 = 5_000; // what `hang=MS` on the command line stands for (servers/supervisor/pending.ts)
const TABLE_BITS: u32 = 12; // as many slots as root has, so that handles can mirror
const PRIORITY: u32 = 60;
const SLICE_NS: u32 = 10_000_000;

const TARGET: Target = changetype<Target>(memory.data(offsetof<Target>(), 4));
const STARTUP_PAGE: usize = memory.data(4096, 4);
const NAME: usize = memory.data(32);

let boot: usize = 0;
function field(offset: u32): u32 { return load<u32>(boot + offset); }

/** Reports and stops: without a supervisor there is no system. */
function fatal(what: string, a: u32, b: u32): void {
  print(line().lit('root: ').lit(what).lit(' ').dec(a).lit(' ').dec(b));
  while (true) sys.sleepUntil(sys.FOREVER);
}
function must(status: u32, step: u32): void { if (status != ERR_OK) fatal('cannot start, status and step', status, step); }

/** A child Untyped of 2^bits bytes from the smallest Untyped that has room: the large ones are for programs and caches. */
function takeUntyped(bits: u32): u32 {
  const first = field(BOOTINFO_FIELDS_UNTYPED_FIRST), count = field(BOOTINFO_FIELDS_UNTYPED_COUNT);
  let best: u32 = 0, bestFree: u32 = 0xffffffff;
  for (let n: u32 = 0; n < count; n++) {
    if (sys.untypedInfo(first + n) != ERR_OK) continue;
    const free = sys.R.w1;
    if (free >= (1 << bits) + 4096 && free < bestFree) { best = first + n; bestFree = free; }
  }
  if (best == 0) fatal('no Untyped with 2^n bytes, n =', bits, count);
  must(sys.retype(best, OBJ_UNTYPED, bits, 1, 0, 0), 1);
  return sys.R.w0;
}
function make(untyped: u32, type: u32, bits: u32): u32 {
  must(sys.retype(untyped, type, bits, 1, 0, 0), 2);
  return sys.R.w0;
}
/** Copies boot capabilities into the same slots of the supervisor's Table. */
function mirror(first: u32, count: u32, rights: u32): void {
  for (let n: u32 = 0; n < count; n++) {
    const status = sys.capCopy(BOOTINFO_HANDLES_TABLE, first + n, rights, table, first + n);
    if (status != ERR_OK) fatal('cannot hand over capability', first + n, status);
  }
}

let generation: u32 = 0;
let deaths: u32 = 0;
let lastDeathNs: u64 = 0;
let incarnation: u32 = 0;
let table: u32 = 0, guardBadged: u32 = 0, faults: u32 = 0, reply: u32 = 0, notify: u32 = 0, sched: u32 = 0, journal: u32 = 0;
// Handles in the supervisor's Table that stay from one incarnation to the next.
let itsTable: u32 = 0, itsFaults: u32 = 0, itsReply: u32 = 0, itsNotify: u32 = 0;

/** Run time and IPCs of the supervisor when it was last seen to wait or to have got anywhere. */
let rested: u64 = 0, exchanges: u32 = 0;
/** It has used up `bound` ns of run time since then. Its faults come by themselves; this finds the one that goes round in circles. */
function spins(bound: u64): bool {
  if (sys.threadQuery(TARGET.thread) != ERR_OK) return false;
  const state = sys.result(0), run = <u64>sys.result(4) | <u64>sys.result(5) << 32, ipcs = sys.result(6);
  if ((state == THREAD_STATE_READY || state == THREAD_STATE_RUNNING) && ipcs == exchanges) return run - rested >= bound;
  rested = run;
  exchanges = ipcs;
  return false;
}

/** Builds and starts the next supervisor. */
function raise(): void {
  const t = TARGET;
  generation++;
  rested = 0;
  targetInitTable(t, incarnation, table, TABLE_BITS, 96, STARTUP_PAGE);
  if (t.status != ERR_OK) fatal('no objects for the supervisor, status and step', t.status, t.step);
  startupIdentity(t, NAME, generation, generation, 0);
  targetLoad(t, VM_SHARED, field(BOOTINFO_FIELDS_MODULES));
  targetStacks(t, 128, 8, 0, 0);
  if (generation == 1) {
    itsTable = grant(t, 0, table, 3);
    itsFaults = grant(t, 0, faults, 0xff);
    itsReply = grant(t, 0, reply, 0xff);
    itsNotify = grant(t, 0, notify, 0xff);
  }
  startupHandle(t, ROLE_TABLE, itsTable);
  startupHandle(t, ROLE_ENDPOINT, itsFaults);
  startupHandle(t, ROLE_REPLY, itsReply);
  startupHandle(t, ROLE_NOTIFY, itsNotify);
  grant(t, ROLE_SPACE, t.space, 3);
  grant(t, ROLE_THREAD, t.thread, 2);
  targetMap(t, journal, VM_STATE, 0, JOURNAL_PAGES, sys.MAP_READ | sys.MAP_WRITE);
  startupRegion(t, REGION_STATE, VM_STATE, JOURNAL_PAGES, 0);
  const copyOfBoot = newFrames(t, 1);
  if (t.status == ERR_OK) must(fillFrames(copyOfBoot, 0, boot, 4096), 7);
  targetMap(t, copyOfBoot, BOOTINFO_VA, 0, 1, sys.MAP_READ);
  targetStartup(t);
  targetThread(t, guardBadged, sched, PRIORITY, 0, 0);
  if (t.status != ERR_OK) fatal('cannot build the supervisor, status and step', t.status, t.step);
  must(sys.bindNotify(t.thread, notify), 8);
  must(sys.threadResume(t.thread), 9);
}

export function main(page: usize): void {
  boot = BOOTINFO_VA; // root has no startup page, whatever its entry stub passes
  consoleInit(BOOTINFO_HANDLES_IO_PORTS);
  if (field(BOOTINFO_FIELDS_MAGIC) != BOOTINFO_MAGIC) fatal('no boot information at', <u32>boot, field(BOOTINFO_FIELDS_MAGIC));
  if (field(BOOTINFO_FIELDS_MODULE_COUNT) == 0) fatal('no supervisor: module 1 is missing', 0, 0);
  builderTable(BOOTINFO_HANDLES_TABLE);

  const masters = takeUntyped(MASTERS_BITS);
  must(builderInit(BOOTINFO_HANDLES_SPACE, masters, 16), 3);
  table = make(masters, OBJ_TABLE, TABLE_BITS);
  const guard = make(masters, OBJ_ENDPOINT, 0); // the supervisor's own faults come here
  const guardReply = make(masters, OBJ_REPLY, 0);
  faults = make(masters, OBJ_ENDPOINT, 0); // faults of the servers, received by the supervisor
  reply = make(masters, OBJ_REPLY, 0);
  notify = make(masters, OBJ_NOTIFY, 0);
  sched = make(masters, OBJ_SCHED, 0);
  journal = make(masters, OBJ_FRAMES, 15);
  must(sys.schedConfigure(sched, SLICE_NS, 0, 0, 0, 0), 4);
  must(sys.capMint(BOOTINFO_HANDLES_TABLE, guard, 0xff, 0, 0, SERVERS_SUPERVISOR), 5);
  guardBadged = sys.R.w0;
  incarnation = takeUntyped(SUPERVISOR_BITS);
  // Before anything else takes slots there.
  mirror(BOOTINFO_HANDLES_IO_PORTS, 1, 0xff);
  mirror(BOOTINFO_HANDLES_THREAD, 1, THREAD_RIGHTS_QUERY); // for ps
  mirror(field(BOOTINFO_FIELDS_UNTYPED_FIRST), field(BOOTINFO_FIELDS_UNTYPED_COUNT), 0xff);
  mirror(field(BOOTINFO_FIELDS_MODULE_FIRST), field(BOOTINFO_FIELDS_MODULE_COUNT), 0xff);
  mirror(field(BOOTINFO_FIELDS_IRQ_FIRST), field(BOOTINFO_FIELDS_IRQ_COUNT), 0xff);
  mirror(field(BOOTINFO_FIELDS_MMIO_FIRST), field(BOOTINFO_FIELDS_MMIO_COUNT), 0xff);
  // The supervisor is module 1 of the boot loader, the first in the boot information.
  must(sys.map(BOOTINFO_HANDLES_SPACE, field(BOOTINFO_FIELDS_MODULE_FIRST), VM_SHARED, 0, pagesOf(field(BOOTINFO_FIELDS_MODULES)), sys.MAP_READ), 6);
  putLiteral(NAME, 'supervisor');
  raise();

  must(sys.setSchedule(BOOTINFO_HANDLES_THREAD, GUARD_PRIORITY, 0, 0), 11);
  const hang = str.option(BOOTINFO_VA + <usize>BOOTINFO_FIELDS_CMDLINE, 'hang');
  const bound = <u64>SPIN_MS * 1_000_000 / ORDINARY_MS * <u64>(hang == 0 ? ORDINARY_MS : str.parseU32(hang, 0));
  while (true) {
    const status = sys.recv(guard, guardReply, sys.clock() + (bound >> 2));
    let error: u32 = 0;
    if (status == ERR_TIMEOUT) {
      if (!spins(bound)) continue;
      print(line().lit('root: the supervisor is late: has run for ').dec(<u32>(bound / 1_000_000)).lit(' ms and got nowhere'));
      must(sys.threadSuspend(TARGET.thread), 12);
    } else {
      if (status != ERR_OK) fatal('cannot guard the supervisor', status, 0);
      const vector = sys.word(FAULT_MESSAGE_VECTOR), eip = sys.word(FAULT_MESSAGE_EIP), address = sys.word(FAULT_MESSAGE_CR2);
      error = sys.word(FAULT_MESSAGE_ERROR_CODE);
      print(line().lit('root: the supervisor died: vector ').dec(vector).lit(' at ').hex(eip).lit(' error ').hex(error).lit(' address ').hex(address));
      sys.reply(guardReply, sys.tag(1, 0), 0, 0, 0); // stays stopped
    }
    const now = sys.clock();
    if (now - lastDeathNs > PERIOD_NS) deaths = 0;
    lastDeathNs = now;
    if (error != CAUSE_KILL && ++deaths > MAX_DEATHS) fatal('the supervisor died too often; the servers run on without it', generation, 0);
    must(sys.untypedRevoke(incarnation), 10);
    raise();
  }
}
