/**
 * Making servers: the supervisor's own objects once (`equip`), an incarnation as often as needed (`build`).
 *
 * Address map of every server (VM_MAP): text, data and heap by the ELF image; state Frames at VM_STATE, DMA memory behind them; ring n at
 * VM_RINGS + n * 64 KiB {request half, 0x4000: status half}; small shared pages (log, PCI configuration, server table) after the rings; data area
 * of ring n at VM_SHARED + n * 16 MiB; BARs at 0x72000000; fiber stacks at FIBER_STACKS; main stack, message page and startup page on top.
 * State and the cache of fs are mapped read-only and declared to `window`; DMA memory of a driver and the packets of net are plainly writable.
 *
 * An incarnation comes in two steps. `prepare` makes everything private: Untyped, Space, text, heap, stacks, and maps DMA memory (4096 pages of
 * cache cost 1 ms; no Thread of the twin can touch them); the result may wait as the twin of a running server. `activate` gives it a generation and an epoch and joins it to what outlives it: rings, state, devices, endpoints. Both create
 * nothing outside the incarnation, so a revoke of its Untyped undoes them.
 */
import {
  ERR_OK, ERR_MEMORY, ERR_BUSY, OBJ_ENDPOINT, OBJ_FRAMES, OBJ_NOTIFY, OBJ_REPLY, OBJ_SCHED, VM_RINGS, VM_SHARED, VM_STATE, BOOTINFO_HANDLES_IO_PORTS, BOOTINFO_HANDLES_THREAD,
  ENDPOINT_RIGHTS_RECEIVE, ENDPOINT_RIGHTS_SEND, ENDPOINT_RIGHTS_GRANT, NOTIFY_RIGHTS_SIGNAL, NOTIFY_RIGHTS_WAIT, DEVICE_RIGHTS_USE, REPLY_RIGHTS_ANSWER,
  THREAD_RIGHTS_QUERY, FRAMES_RIGHTS_READ, FRAMES_RIGHTS_WINDOW, FRAMES_RIGHTS_WRITE, UNTYPED_RIGHTS_RETYPE,
} from 'kintsugi/abi';
import {
  ROLE_ENDPOINT, ROLE_REPLY, ROLE_NOTIFY, ROLE_PROCESS_ENDPOINT, ROLE_SUPERVISOR_NOTIFY, ROLE_UNTYPED, ROLE_PROGRAMS_UNTYPED, ROLE_REPLY_POOL,
  ROLE_REPLY_COUNT, ROLE_DEVICE, ROLE_PEER_NOTIFY, ROLE_STATE_FRAMES, ROLE_SERVER_THREAD, REGION_LOG, REGION_PCI_CONFIG, REGION_STATE,
  REGION_RING_REQUEST, REGION_RING_STATUS, REGION_RING_DATA, REGION_DMA, REGION_MMIO, REGION_SERVERS, SUPERVISOR_BITS_LOG, SUPERVISOR_BITS_POWER_OFF,
  SUPERVISOR_BITS_REBOOT, SUPERVISOR_BITS_KILL, LOG_MAGIC, LOG_FIELDS_MAGIC, LOG_FIELDS_LEVEL, LOG_LEVELS_WARN, LOG_LEVELS_INFO,
  SERVERS_ROOT, SERVERS_SUPERVISOR, SERVERS_PROCESS, SERVERS_NET,
} from 'kintsugi/protocols';
import * as sys from '../lib/sys';
import * as str from '../lib/str';
import { log2Ceil, pagesOf } from '../lib/mem';
import { mustAlloc } from '../lib/alloc';
import { line } from '../lib/fmt';
import { ownTable, ownSpace, ownThread } from '../lib/startup';
import {
  Target, targetInit, targetLoad, targetStacks, targetMap, targetStartup, targetThread, grant, grantBadged, grantSelf, startupHandle, startupRegion,
  startupIdentity, startupArgument, startupPatch, fillFrames, targetMessagePage, targetIntact, STEP_UNTYPED, STEP_ELF, STEP_FILL, STEP_WINDOW, STEP_CAP, STEP_THREAD,
} from '../lib/build';
import { Server, Ring, ringAt, ringCount, serverAt, serverCount, serverOf, CALLABLE, LEGACY_UART, PCI_FUNCTION, PLAIN_DMA, STATE_STARTING } from './tables';
import { takeUntyped, takeFrames, programsUntyped, findModule, irqDevice, deviceFrames, commandLine, cpus } from './boot';
import { PciFunction, pciFind } from './pci';
import { globals, functionRecord, MAX_FUNCTIONS } from './journal';
import { print } from '../lib/console';

const OBJECTS_BITS: u32 = 19; // Endpoints, Replies, Notifies, Scheds
const SHARED_BITS: u32 = 22; // ring halves, data areas, state Frames, log pages
const SLICE_NS: u32 = 10_000_000;
const LOGS_VA: usize = 0x61000000; // where the supervisor reads the log pages
const MODULE_VA: usize = 0x62000000; // where it reads the module being loaded
const RING_STRIDE: usize = 0x10000;
const STATUS_OFFSET: usize = 0x4000;
const SMALL_PAGES: usize = 0x100000; // from VM_RINGS
const DATA_STRIDE: usize = 0x1000000;
const DMA_VA: usize = 0x71000000;
const MMIO_VA: usize = 0x72000000;
const MMIO_STRIDE: usize = 0x100000;
const REPLY_SLOT: u32 = 1024; // in the Table of process
const THREAD_SLOT: u32 = 2048;

let faults: u32 = 0;
let notify: u32 = 0;

/** Why `build` or `equip` failed, for the report. */
export let failedStep: u32 = 0;
export let failedStatus: u32 = 0;

/** Handles that the startup page gives anew to each supervisor. */
export function incarnationInit(faultEndpoint: u32, ownNotify: u32): void { faults = faultEndpoint; notify = ownNotify; }
/** First boot: memory for the supervisor's objects. */
export function takeObjectMemory(followCaller: bool): bool {
  const g = globals();
  g.follow = followCaller ? sys.FOLLOW : 0;
  programsUntyped();
  g.objects = takeUntyped(OBJECTS_BITS);
  g.shared = takeUntyped(SHARED_BITS);
  return g.objects != 0 && g.shared != 0;
}
function make(type: u32, bits: u32, count: u32): u32 { return sys.retype(globals().objects, type, bits, count, 0, 0) == ERR_OK ? sys.R.w0 : 0; }
function makeFrames(pages: u32): u32 { return sys.retype(globals().shared, OBJ_FRAMES, 12 + log2Ceil(pages), 1, 0, 0) == ERR_OK ? sys.R.w0 : 0; }

/** State and DMA memory: small pieces together, large ones straight from boot memory. */
function lastingFrames(pages: u32): u32 { return pages > 64 ? takeFrames(pages) : makeFrames(pages); }

// ---- the supervisor's objects ---------------------------------------------------------------------------------------------------------

/** What a server needs in the memory of this supervisor: buffers for startup pages, its log page. */
export function attachServer(s: Server): bool {
  s.target.page = mustAlloc(4096);
  s.twin.page = mustAlloc(4096);
  s.logVa = LOGS_VA + (<usize>s.number << 12);
  return sys.map(ownSpace, s.logFrames, s.logVa, 0, 1, sys.MAP_READ | sys.MAP_WRITE) == ERR_OK;
}
/** Everything of a server that outlives its incarnations. False: out of memory. */
export function equip(s: Server): bool {
  s.notify = make(OBJ_NOTIFY, 0, 1);
  s.sched = make(OBJ_SCHED, 0, 1);
  s.logFrames = makeFrames(1);
  if (s.notify == 0 || s.sched == 0 || s.logFrames == 0) return false;
  if (sys.schedConfigure(s.sched, SLICE_NS, 0, 0, 0, 0) != ERR_OK) return false;
  if (!attachServer(s)) return false;
  store<u32>(s.logVa, globals().quiet != 0 ? LOG_LEVELS_WARN : LOG_LEVELS_INFO, LOG_FIELDS_LEVEL);
  store<u32>(s.logVa, LOG_MAGIC, LOG_FIELDS_MAGIC);
  if (sys.capMint(ownTable, faults, ENDPOINT_RIGHTS_SEND, 0, 0, s.number) != ERR_OK) return false;
  s.faultCap = sys.R.w0;
  if ((s.flags & CALLABLE) != 0) {
    s.endpoint = make(OBJ_ENDPOINT, 0, 1);
    s.reply = make(OBJ_REPLY, 0, 1);
    s.replies = make(OBJ_REPLY, 0, s.replyCount);
    s.programs = programsUntyped();
    if (s.endpoint == 0 || s.reply == 0 || s.replies == 0) return false;
  }
  if (s.statePages != 0) { s.stateFrames = lastingFrames(s.statePages); if (s.stateFrames == 0) return false; }
  if (s.dmaPages != 0) { s.dmaFrames = lastingFrames(s.dmaPages); if (s.dmaFrames == 0) return false; }
  if ((s.flags & LEGACY_UART) != 0) {
    s.irqDevice = irqDevice(s.irq);
    if (sys.capMint(ownTable, BOOTINFO_HANDLES_IO_PORTS, 0xff, 0, 0, s.port | (8 << 16)) != ERR_OK) return false;
    s.portDevice = sys.R.w0;
  }
  return true;
}
export function equipRing(r: Ring): bool {
  r.requestFrames = makeFrames(2);
  r.statusFrames = makeFrames(1);
  if (r.dataPages != 0) r.dataFrames = makeFrames(r.dataPages);
  return r.requestFrames != 0 && r.statusFrames != 0 && (r.dataPages == 0 || r.dataFrames != 0);
}
/** Finds the PCI functions of all servers and takes Frames for their BARs, in ascending order of addresses over all of them (deviceFrames). */
export function equipFunctions(): void {
  for (let n: u32 = 0; n < serverCount(); n++) {
    const s = serverAt(n);
    if ((s.flags & PCI_FUNCTION) == 0 || globals().functions == MAX_FUNCTIONS) continue;
    const f = pciFind(s.pciModern, s.pciTransitional, functionRecord(globals().functions));
    if (changetype<usize>(f) == 0) continue;
    globals().functions++;
    s.function = globals().functions;
    s.irqDevice = irqDevice(f.irq);
  }
  let done: u32 = 0; // highest address taken
  while (true) {
    let next: u32 = 0, lowest: usize = 0;
    for (let k: u32 = 0; k < globals().functions; k++) {
      const f = changetype<PciFunction>(functionRecord(k));
      for (let n: u32 = 0; n < 6; n++) {
        const b = f.bar(n);
        if (b.bytes == 0 || b.paddr <= done || (lowest != 0 && b.paddr >= changetype<PciFunction>(lowest).bar(next).paddr)) continue;
        next = n; lowest = changetype<usize>(f);
      }
    }
    if (lowest == 0) return;
    const f = changetype<PciFunction>(lowest), b = f.bar(next);
    done = b.paddr;
    store<u32>(f.frames + (<usize>next << 2), deviceFrames(b.paddr & ~4095, b.bytes <= 4096 ? 12 : log2Ceil(b.bytes)));
  }
}
/** The PCI function of a server; null when it has none. */
export function functionOf(s: Server): PciFunction { return changetype<PciFunction>(s.function == 0 ? <usize>0 : functionRecord(s.function - 1)); }

// ---- incarnations ---------------------------------------------------------------------------------------------------------------------

export function cpuOf(s: Server): u32 { return s.home % cpus(); }

/** The private part of the next incarnation, in `s.twin`. False: `failedStep`, `failedStatus` say why; nothing is left of it. */
export function prepare(s: Server): bool {
  s.twinReady = 0;
  const module = findModule(s.module);
  failedStep = 0;
  if (changetype<usize>(module) == 0) return false;
  const moduleFrames = module.frames, bytes = module.bytes, pages = pagesOf(bytes);
  if (s.twinUntyped == 0) s.twinUntyped = takeUntyped(s.untypedBits);
  if (s.twinUntyped == 0) { failedStep = STEP_UNTYPED; failedStatus = ERR_MEMORY; return false; }
  const t = s.twin, page = t.page;
  targetInit(t, s.twinUntyped, s.tableBits, s.pageTables, page);
  const mapped = sys.map(ownSpace, moduleFrames, MODULE_VA, 0, pages, sys.MAP_READ);
  if (mapped == ERR_OK) {
    targetLoad(t, MODULE_VA, bytes);
    sys.unmap(ownSpace, MODULE_VA, pages);
  } else if (t.status == ERR_OK) { t.status = mapped; t.step = STEP_ELF; }
  targetStacks(t, s.heap, s.stack, s.fibers, s.fiberPages);
  if (t.status == ERR_OK) targetMessagePage(t);
  addDma(t, s);
  if (t.status != ERR_OK) {
    failedStep = t.step; failedStatus = t.status;
    sys.untypedRevoke(s.twinUntyped);
    return false;
  }
  s.twinReady = 1;
  return true;
}
/** The twin becomes the incarnation, suspended: identity, capabilities, rings, state, devices. The former one must be revoked. */
export function activate(s: Server): bool {
  const t = s.twin, untyped = s.twinUntyped, former = s.target, formerUntyped = s.untyped;
  s.twinReady = 0;
  s.spare = s.twinUntyped; // never only in registers: a supervisor that dies between these stores must not lose an Untyped
  s.twinUntyped = formerUntyped;
  s.untyped = untyped;
  s.spare = 0;
  s.twin = former; s.target = t;
  s.generation++;
  s.epoch++;
  startupIdentity(t, s.name, s.generation, s.epoch, cpuOf(s));
  grantSelf(t);
  grant(t, ROLE_NOTIFY, s.notify, NOTIFY_RIGHTS_WAIT | NOTIFY_RIGHTS_SIGNAL);
  let bits: u32 = (1 << s.number) | SUPERVISOR_BITS_LOG;
  if (s.number == SERVERS_PROCESS) bits |= SUPERVISOR_BITS_POWER_OFF | SUPERVISOR_BITS_REBOOT | (0x1fff << SUPERVISOR_BITS_KILL);
  grantBadged(t, ROLE_SUPERVISOR_NOTIFY, notify, NOTIFY_RIGHTS_SIGNAL, bits);
  const small = <usize>VM_RINGS + SMALL_PAGES;
  targetMap(t, s.logFrames, small, 0, 1, sys.MAP_READ | sys.MAP_WRITE);
  startupRegion(t, REGION_LOG, small, 1, 0);
  for (let n: u32 = 0; n < ringCount(); n++) {
    const r = ringAt(n);
    if (changetype<usize>(r.owner) == changetype<usize>(s)) joinRing(t, r, r.ownerLocal, r.worker.notify, r.workerLocal, true);
    if (changetype<usize>(r.worker) == changetype<usize>(s)) joinRing(t, r, r.workerLocal, r.owner.notify, r.ownerLocal, false);
  }
  if (s.statePages != 0) windowed(t, s.stateFrames, VM_STATE, s.statePages);
  if (s.statePages != 0) { startupRegion(t, REGION_STATE, VM_STATE, s.statePages, 0); grant(t, ROLE_STATE_FRAMES, s.stateFrames, FRAMES_RIGHTS_READ | FRAMES_RIGHTS_WRITE | FRAMES_RIGHTS_WINDOW); }
  addDevices(t, s);
  startupArgument(t, s.name, str.length(s.name));
  if ((s.flags & LEGACY_UART) != 0) { const l = line().dec(s.port); startupArgument(t, l.at, l.length); }
  if (s.number == SERVERS_NET) { const ip = str.option(commandLine(), 'ip'); if (ip != 0) startupArgument(t, ip, str.wordLength(ip)); }
  if ((s.flags & CALLABLE) != 0) addCallable(t, s);
  targetStartup(t);
  targetThread(t, s.faultCap, s.sched, s.priority, cpuOf(s), globals().follow);
  if (t.status == ERR_OK && sys.bindNotify(t.thread, s.notify) != ERR_OK) { t.status = ERR_BUSY; t.step = STEP_THREAD; }
  if (t.status == ERR_OK && s.reply != 0 && sys.bindReply(t.thread, s.reply) != ERR_OK) { t.status = ERR_BUSY; t.step = STEP_THREAD; }
  failedStep = t.step; failedStatus = t.status;
  return t.status == ERR_OK;
}
const BUILD_TRIES: i32 = 3;
/** The first incarnation, or one from the pristine module when there is no twin. A text that is not that of the module, of a twin or just written, is built anew. */
export function build(s: Server): bool {
  for (let n = 0; n < BUILD_TRIES; n++) {
    const waited = s.twinReady != 0;
    if (!waited && !prepare(s)) return false;
    if (s.generation == 0 || targetIntact(s.twin)) return activate(s);
    if (!waited) print(line().str(s.name).lit(' is built again: its text is not that of its module'));
    s.twinReady = 0;
    sys.untypedRevoke(s.twinUntyped);
  }
  failedStep = STEP_FILL; failedStatus = ERR_BUSY;
  return false;
}
/** Maps Frames read-only and declares them to `window`. */
function windowed(t: Target, frames: u32, va: usize, pages: u32): void {
  targetMap(t, frames, va, 0, pages, sys.MAP_READ);
  const status = t.status == ERR_OK ? sys.declareWindow(t.space, frames, va, pages) : t.status;
  if (t.status == ERR_OK && status != ERR_OK) { t.status = status; t.step = STEP_WINDOW; }
}
function joinRing(t: Target, r: Ring, local: u32, peer: u32, peerLocal: u32, owner: bool): void {
  const at = <usize>VM_RINGS + <usize>local * RING_STRIDE;
  const rw = sys.MAP_READ | sys.MAP_WRITE;
  targetMap(t, r.requestFrames, at, 0, 2, owner ? rw : sys.MAP_READ);
  targetMap(t, r.statusFrames, at + STATUS_OFFSET, 0, 1, owner ? sys.MAP_READ : rw);
  startupRegion(t, REGION_RING_REQUEST + local, at, 2, 0);
  startupRegion(t, REGION_RING_STATUS + local, at + STATUS_OFFSET, 1, 0);
  if (r.dataPages != 0) {
    const data = <usize>VM_SHARED + <usize>local * DATA_STRIDE;
    targetMap(t, r.dataFrames, data, 0, r.dataPages, rw);
    startupRegion(t, REGION_RING_DATA + local, data, r.dataPages, 0);
  }
  grantBadged(t, ROLE_PEER_NOTIFY + local, peer, NOTIFY_RIGHTS_SIGNAL, 1 << peerLocal);
}
function addDma(t: Target, s: Server): void {
  if (s.dmaPages != 0) {
    sys.framesPaddr(s.dmaFrames);
    const paddr = sys.R.w0;
    if (s.statePages != 0 && (s.flags & PLAIN_DMA) == 0) { // the cache of fs: right behind the state, one windowed range
      const va = <usize>VM_STATE + (<usize>s.statePages << 12);
      windowed(t, s.dmaFrames, va, s.dmaPages);
      startupRegion(t, REGION_DMA, va, s.dmaPages, paddr);
    } else {
      targetMap(t, s.dmaFrames, DMA_VA, 0, s.dmaPages, sys.MAP_READ | sys.MAP_WRITE);
      startupRegion(t, REGION_DMA, DMA_VA, s.dmaPages, paddr);
    }
  }
  if (s.dmaOf == 0) return;
  const other = serverOf(s.dmaOf);
  sys.framesPaddr(other.dmaFrames);
  startupRegion(t, REGION_DMA + 1, 0, other.dmaPages, sys.R.w0); // by address only: the driver has no mapping of it
}
function addDevices(t: Target, s: Server): void {
  if (s.irqDevice != 0) grant(t, ROLE_DEVICE, s.irqDevice, DEVICE_RIGHTS_USE);
  if (s.portDevice != 0) grant(t, ROLE_DEVICE + 1, s.portDevice, DEVICE_RIGHTS_USE);
  const f = functionOf(s);
  if (changetype<usize>(f) == 0) return;
  for (let n: u32 = 0; n < 6; n++) {
    const frames = f.framesOf(n);
    if (frames == 0) continue;
    const b = f.bar(n);
    const pages = pagesOf(b.bytes), va = MMIO_VA + <usize>n * MMIO_STRIDE;
    if (pages > <u32>(MMIO_STRIDE >> 12)) continue;
    targetMap(t, frames, va, 0, pages, sys.MAP_READ | sys.MAP_WRITE | sys.MAP_UNCACHED);
    startupRegion(t, REGION_MMIO + n, va, pages, b.paddr & 4095);
  }
  const config = sys.retype(t.untyped, OBJ_FRAMES, 12, 1, 0, 0) == ERR_OK ? sys.R.w0 : 0;
  const small = <usize>VM_RINGS + SMALL_PAGES + 4096;
  if (config != 0 && fillFrames(config, 0, f.config, 256) == ERR_OK) { targetMap(t, config, small, 0, 1, sys.MAP_READ); startupRegion(t, REGION_PCI_CONFIG, small, 1, 0); }
}
/** process: what makes it callable, and what it needs to run programs. */
function addCallable(t: Target, s: Server): void {
  grant(t, ROLE_ENDPOINT, s.endpoint, ENDPOINT_RIGHTS_RECEIVE);
  grant(t, ROLE_PROCESS_ENDPOINT, s.endpoint, ENDPOINT_RIGHTS_SEND | ENDPOINT_RIGHTS_GRANT);
  grant(t, ROLE_REPLY, s.reply, REPLY_RIGHTS_ANSWER);
  grant(t, ROLE_UNTYPED, s.untyped, UNTYPED_RIGHTS_RETYPE);
  grant(t, ROLE_PROGRAMS_UNTYPED, s.programs, UNTYPED_RIGHTS_RETYPE);
  for (let n: u32 = 0; n < s.replyCount && t.status == ERR_OK; n++) {
    const status = sys.capCopy(ownTable, s.replies + n, REPLY_RIGHTS_ANSWER, t.table, REPLY_SLOT + n);
    if (status != ERR_OK) { t.status = status; t.step = STEP_CAP; }
    if (n == 0) startupHandle(t, ROLE_REPLY_POOL, sys.R.w0);
  }
  startupHandle(t, ROLE_REPLY_COUNT, s.replyCount);
  const table = <usize>VM_RINGS + SMALL_PAGES + 8192;
  targetMap(t, globals().tableFrames, table, 0, 1, sys.MAP_READ);
  startupRegion(t, REGION_SERVERS, table, 1, 0);
  grantThread(t, SERVERS_ROOT, BOOTINFO_HANDLES_THREAD);
  grantThread(t, SERVERS_SUPERVISOR, ownThread);
  for (let n: u32 = 0; n < serverCount(); n++) {
    const other = serverAt(n);
    if (other.target.thread != 0 && other.target.status == ERR_OK) grantThread(t, other.number, other.target.thread);
  }
  // The words of the kernel command line.
  let p = commandLine();
  while (true) {
    while (load<u8>(p) == 32) p++;
    if (load<u8>(p) == 0) break;
    const bytes = str.wordLength(p);
    if (bytes == 0) break;
    startupArgument(t, p, bytes);
    p += bytes;
  }
}
/** Query right on a server's Thread, in a fixed slot of process' Table. */
function grantThread(t: Target, number: u32, thread: u32): void {
  if (t.status != ERR_OK) return;
  if (sys.capCopy(ownTable, thread, THREAD_RIGHTS_QUERY, t.table, THREAD_SLOT + number) == ERR_OK) startupHandle(t, ROLE_SERVER_THREAD + number, sys.R.w0);
}
/** After a restart: process gets the new Thread of server `number` under the old role. */
export function regrantThread(process: Server, number: u32, thread: u32): void {
  if (changetype<usize>(process) == 0 || process.generation == 0 || process.number == number) return;
  const t = process.target;
  if (t.status != ERR_OK) return;
  if (sys.capCopy(ownTable, thread, THREAD_RIGHTS_QUERY, t.table, THREAD_SLOT + number) == ERR_OK) startupPatch(t, ROLE_SERVER_THREAD + number, sys.R.w0);
}
/** Lets the incarnation run. */
export function start(s: Server): bool {
  s.state_ = STATE_STARTING;
  s.startNs = sys.clock();
  return sys.threadResume(s.target.thread) == ERR_OK;
}
