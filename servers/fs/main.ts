/**
 * fs: the file server. Worker of ring 0 (FS, process posts), owner of ring 1 (BLOCK, the block driver serves).
 *
 * Each request runs in a fiber; fibers switch only in `pause` (host.ts) while a transfer is under way or another request writes. State and
 * cache Frames are mapped read-only and opened by `window` for single stores and block copies. A successor of a dead fs finds both, replays
 * the last commit if needed, waits until the driver is done with the transfers of the dead one, and serves the same requests again.
 *
 * Without a usable volume every request is answered with ENODEV; the log says why.
 */
import { FS_DATA_BYTES, REGION_DMA, REGION_STATE, ROLE_STATE_FRAMES, SERVERS_FS } from 'kintsugi/protocols';
import * as fiber from '../lib/fiber';
import { line } from '../lib/fmt';
import * as log from '../lib/log';
import { pages } from '../lib/alloc';
import { Request, RingOwner, RingWorker, ringOwner, ringWorker, serve as serveRing } from '../lib/ring';
import { serverInit, serverLoop } from '../lib/server';
import { handle, needRegion, ready } from '../lib/startup';
import * as sys from '../lib/sys';
import { cacheSlots, dirtySlots, droppedSlots, readErrors, transfers, writeBack, writeErrors } from './cache';
import { DISK_MEMORY, deviceBytes, deviceReadOnly, diskAnswers, diskInfo, diskInit, diskKnock, diskKnown, diskSubmit, diskTune, maxSectors } from './disk';
import { privateMemory, setCurrent, setHost, windowClose, windowOpen } from './host';
import { attached, mount, orphansFreed } from './mount';
import { OP_MEMORY, Op, newOp } from './op';
import { serve, serviceInit, suspicious } from './service';
import { HEADER_DOUBT, rememberDevice, rememberedDevice, state, stateAt } from './state';
import { SHADOWS, replayed } from './transaction';
import { REFUSED_BLOCK_SIZE, REFUSED_DESCRIPTOR, REFUSED_DEVICE, REFUSED_FEATURE, REFUSED_GEOMETRY, REFUSED_INODE_SIZE, REFUSED_MAGIC, REFUSED_MEMORY, blockSize, blocks, lastWritten, readOnly, unclean, unknownFeatures } from './volume';

const WORKERS: u32 = 8; // of the 12 fibers; one more mounts and then writes back
const EIO: i32 = 5;
const ENODEV: i32 = 19;
const NO_DEVICE: i32 = -1000;
const WRITE_BACK_NS: u64 = 1_000_000_000; // dirty data waits at most about this long
const EARLIEST: u32 = 1767225600; // 2026-01-01: the clock when nothing knows better

let stateFrames: u32 = 0;
let requests: RingWorker = changetype<RingWorker>(0);
let device: RingOwner = changetype<RingOwner>(0);
let progress: fiber.WaitQueue = changetype<fiber.WaitQueue>(0); // fibers in `pause`
let dirty: fiber.WaitQueue = changetype<fiber.WaitQueue>(0); // the write-back fiber, while nothing is dirty
let mounted: bool = false;
let clockBase: u32 = EARLIEST;

function pauseFiber(): void { diskKnock(); fiber.waitOn(progress, sys.FOREVER); }
function openWindow(): void { if (stateFrames != 0) sys.window(stateFrames, 1); }
function closeWindow(): void { if (stateFrames != 0) sys.window(stateFrames, 0); }
function seconds(): u32 { return clockBase + <u32>(sys.clock() / 1_000_000_000); }

/** One request of process. */
function answer(worker: RingWorker, request: Request): void {
  const me = fiber.current();
  if (me.local == 0) me.local = changetype<usize>(newOp());
  const op = changetype<Op>(me.local);
  op.code = request.op; op.ringSlot = request.slot;
  op.keyBadge = request.keyBadge; op.keySerial = request.keySerial; op.keySeq = request.keySeq; op.keySub = request.keySub;
  op.a0 = request.a0; op.a1 = request.a1; op.a2 = request.a2; op.a3 = request.a3; op.a4 = request.a4; op.a5 = request.a5;
  op.r0 = 0; op.r1 = 0; op.r2 = 0; op.r3 = 0;
  setCurrent(changetype<usize>(op));
  const status = mounted ? serve(op) : -ENODEV;
  if (status == -EIO || suspicious) doubt();
  if (status == -EIO && !toldDamage) { // once: what it is about, the caller knows by its path
    toldDamage = true;
    log.error(line().lit("input/output error: the file system is damaged (e2fsck says where) or the device fails; operation ").dec(op.code));
  }
  worker.answer(request.slot, status, op.r0, op.r1, op.r2, op.r3);
  fiber.wakeAll(progress); // the transaction may be free
  diskKnock(); // read-ahead
  if (dirtySlots != 0) fiber.wakeAll(dirty);
}

let toldDamage: bool = false;

const DOUBT_SECONDS: u32 = 60;
/**
 * A request is about to fail with an input/output error, and no device told of one, or as nonsense: either the volume or the client is damaged, or this incarnation is. It dies, once
 * in DOUBT_SECONDS; its successor has a fresh text, does the request again, and is believed.
 */
function doubt(): void {
  if (!mounted || readErrors != 0 || writeErrors != 0) return;
  const at = seconds(), last = load<u32>(state, HEADER_DOUBT);
  if (last != 0 && at - last < DOUBT_SECONDS) return;
  openWindow();
  store<u32>(state, at, HEADER_DOUBT);
  closeWindow();
  log.error(line().lit("metadata or a request looks damaged: starting again before that is believed"));
  sys.fault(FAULT_DOUBT, 0, 0);
}
/** Code of the deliberate fault. */
const FAULT_DOUBT: u32 = 0x44425400;

function refusal(status: i32): string {
  switch (status) {
    case REFUSED_MAGIC: return "no ext2 superblock (bad magic)";
    case REFUSED_BLOCK_SIZE: return "block size other than 1, 2 or 4 KiB";
    case REFUSED_GEOMETRY: return "the geometry in the superblock is impossible";
    case REFUSED_INODE_SIZE: return "the inode size is impossible";
    case REFUSED_FEATURE: return "incompatible features";
    case REFUSED_DESCRIPTOR: return "a group descriptor points outside its group";
    case NO_DEVICE: return "no block device";
    case REFUSED_DEVICE: return "the device is smaller than the file system, or unreadable";
    case REFUSED_MEMORY: return "too little memory for this volume";
    default: return "unknown reason";
  }
}
/** Mounts, starts the workers, then writes back what stays dirty. */
function mountFiber(argument: usize): void {
  device.waitOrphans(); // transfers of a dead predecessor may still reach the cache
  let status: i32 = NO_DEVICE;
  const cache = needRegion(REGION_DMA), kept = needRegion(REGION_STATE);
  const op = newOp();
  setCurrent(changetype<usize>(op));
  stateAt(kept.va, kept.pages << 12);
  const known = rememberedDevice(); // a predecessor asked the driver already
  if (known != 0) diskKnown(known);
  if (known != 0 || diskInfo()) {
    setCurrent(changetype<usize>(op));
    status = mount(deviceBytes, deviceReadOnly, kept.va, kept.pages << 12, cache.va, cache.pages << 12);
  }
  if (status == 0) {
    diskTune();
    if (attached != 1) { windowOpen(); rememberDevice(deviceBytes, deviceReadOnly, maxSectors); windowClose(); }
    mounted = true;
    if (lastWritten > clockBase) clockBase = lastWritten;
    log.info(line().lit(attached == 1 ? "taken over: " : "mounted: ").dec(blocks).lit(" blocks of ").dec(blockSize).lit(readOnly ? ", read-only" : "").lit(unclean ? ", not clean: run e2fsck" : "").lit(", cache ").dec(cacheSlots()).lit(" blocks, orphans freed ").dec(orphansFreed));
    if (replayed != 0 || droppedSlots != 0) log.info(line().lit("last commit applied again ").dec(replayed).lit(", slots dropped ").dec(droppedSlots));
  } else {
    const t = line().lit("no volume: ").lit(refusal(status));
    if (status == REFUSED_FEATURE) t.lit(" ").hex(unknownFeatures);
    log.error(t);
  }
  serveRing(requests, answer, WORKERS);
  while (true) {
    if (dirtySlots == 0) { fiber.waitOn(dirty, sys.FOREVER); continue; }
    fiber.sleep(WRITE_BACK_NS);
    if (transfers < 16) writeBack(32);
    diskKnock();
  }
}
function onBits(bits: u32): void {
  if (diskAnswers()) fiber.wakeAll(progress);
  diskKnock();
}

export function main(page: usize): void {
  serverInit(page);
  stateFrames = handle(ROLE_STATE_FRAMES);
  progress = fiber.newQueue(); dirty = fiber.newQueue();
  device = ringOwner(1);
  const slots = needRegion(REGION_DMA).pages << 2; // of 1 KiB
  const memory = (slots < 40000 ? slots : 40000) * 20 + SHADOWS * 4096 + (WORKERS + 2) * OP_MEMORY + DISK_MEMORY + 65536;
  const heap = pages((memory + 4095) >> 12);
  if (heap == 0) sys.fault(0x4653, memory, 0); // the manifest gives fs too little heap
  privateMemory(heap, memory);
  setHost(pauseFiber, openWindow, closeWindow, diskSubmit, seconds);
  diskInit(device);
  requests = ringWorker(0);
  serviceInit(requests.data, requests.dataBytes < FS_DATA_BYTES ? requests.dataBytes : FS_DATA_BYTES);
  fiber.spawn(mountFiber, 0);
  ready(SERVERS_FS);
  serverLoop(onBits);
}
