/**
 * Driver of a virtio block device (virtio 1.2, section 5.2; modern PCI transport): worker of the BLOCK ring of fs.
 *
 * It moves data between the device and the cache of fs by DMA; it has no mapping of that memory, only its physical address, and checks every
 * range of every request against it. It keeps nothing: on attach it resets the device (which ends all DMA of a dead predecessor) and only
 * then announces its epoch, upon which fs posts again what was taken. Then: bind the interrupt, enable it, scan the ring once.
 * It refuses a write that overlaps an outstanding write (fs never asks for one: two writes of one block have no order on the device).
 */
import { mmioRead32 } from 'kintsugi/x86';
import {
  BLOCK_FLUSH, BLOCK_INFO, BLOCK_READ, BLOCK_STATUS_BUSY, BLOCK_STATUS_IO_ERROR, BLOCK_STATUS_OK, BLOCK_STATUS_RANGE, BLOCK_STATUS_READONLY,
  BLOCK_STATUS_UNSUPPORTED, BLOCK_WRITE, REGION_DMA, SERVERS_VIRTIO_BLK,
} from 'kintsugi/protocols';
import { mustAlloc } from '../../servers/lib/alloc';
import { line } from '../../servers/lib/fmt';
import * as log from '../../servers/lib/log';
import { Request, RingWorker, ringWorker } from '../../servers/lib/ring';
import { serverInit } from '../../servers/lib/server';
import { needRegion } from '../../servers/lib/startup';
import * as sys from '../../servers/lib/sys';
import { bindInterrupt, config, deviceOpen, deviceServe, enableInterrupt, features, notify, refuse } from '../lib/device';
import { configGeneration, virtioGiveUp, virtioGo } from '../lib/virtio';
import { collect, describeRequest, describes, freeRequest, kick, queueRequest, requestHeader, requestSlots, requestStatus, requestsInit } from './requests';

const FEATURE_READONLY: u32 = 1 << 5;
const FEATURE_FLUSH: u32 = 1 << 9;
// Request types and status, 5.2.6
const TYPE_IN: u32 = 0, TYPE_OUT: u32 = 1, TYPE_FLUSH: u32 = 4;
const STATUS_OK: u32 = 0;
const FAULT_REFUSED: u32 = 0x424c4b;
const SECTOR_SHIFT: u32 = 9;
const MAX_SECTORS: u32 = 2048;

/** What is in flight, by request slot of the queue. */
@unmanaged @final class Job { ringSlot: u32; sectors: u32; first: u64; write: u32; active: u32 }
const JOB: usize = 24;
let jobs: usize = 0;
let worker: RingWorker = changetype<RingWorker>(0);
let fresh: Request = changetype<Request>(0);
let waiting: bool = false; // `fresh` was taken but found no free request slot
let sectors: u64 = 0;
let readOnly: bool = false;
let canFlush: bool = false;
let cachePhysical: u32 = 0;
let cacheBytes: u32 = 0;

function job(n: u32): Job { return changetype<Job>(jobs + <usize>n * JOB); }

function start(): void {
  if (!deviceOpen(FAULT_REFUSED, 8, FEATURE_READONLY | FEATURE_FLUSH)) return;
  readOnly = (features & FEATURE_READONLY) != 0;
  canFlush = (features & FEATURE_FLUSH) != 0;
  const queue = needRegion(REGION_DMA), cache = needRegion(REGION_DMA + 1);
  cachePhysical = cache.flags; cacheBytes = cache.pages << 12;
  if (!requestsInit(queue.va, queue.flags, queue.pages, notify)) { virtioGiveUp(); refuse('no usable queue'); return; }
  virtioGo();
  let generation: u32 = 0;
  for (let n = 0; n < 16; n++) { // capacity is two reads: again when it changed between (4.1.4.3.1)
    generation = configGeneration();
    sectors = <u64>mmioRead32(config.va) | <u64>mmioRead32(config.va + 4) << 32;
    if (configGeneration() == generation) break;
  }
}

/** BLOCK_STATUS_OK, or why the transfer cannot be. */
function judge(r: Request): u32 {
  const first = <u64>r.a0 | <u64>r.a1 << 32, count = r.a2;
  if (count == 0 || count > MAX_SECTORS || first >= sectors || <u64>count > sectors - first) return BLOCK_STATUS_RANGE;
  const bytes = count << SECTOR_SHIFT;
  if ((r.a3 & 511) != 0 || bytes > cacheBytes || r.a3 > cacheBytes - bytes) return BLOCK_STATUS_RANGE;
  if (r.op != BLOCK_WRITE) return BLOCK_STATUS_OK;
  if (readOnly) return BLOCK_STATUS_READONLY;
  for (let n: u32 = 0; n < requestSlots; n++) {
    const j = job(n);
    if (j.active != 0 && j.write != 0 && first < j.first + <u64>j.sectors && j.first < first + <u64>count) return BLOCK_STATUS_BUSY;
  }
  return BLOCK_STATUS_OK;
}
/** Answers at once, or gives it to the device. False: no request slot is free now. True in `answered` / `queued`. */
let answered: bool = false;
let queued: bool = false;
function begin(r: Request): bool {
  if (r.op == BLOCK_INFO) { worker.complete(r.slot, BLOCK_STATUS_OK, <u32>sectors, <u32>(sectors >> 32), (readOnly ? 1 : 0) | (canFlush ? 2 : 0), MAX_SECTORS); answered = true; return true; }
  if (r.op == BLOCK_FLUSH && !canFlush) { worker.complete(r.slot, BLOCK_STATUS_OK, 0, 0, 0, 0); answered = true; return true; } // write-through device
  if (r.op != BLOCK_READ && r.op != BLOCK_WRITE && r.op != BLOCK_FLUSH) { worker.complete(r.slot, BLOCK_STATUS_UNSUPPORTED, 0, 0, 0, 0); answered = true; return true; }
  const flush = r.op == BLOCK_FLUSH;
  if (!flush) {
    const bad = judge(r);
    if (bad != BLOCK_STATUS_OK) { worker.complete(r.slot, bad, 0, 0, 0, 0); answered = true; return true; }
  }
  const n = freeRequest();
  if (n < 0) return false;
  const j = job(n), header = requestHeader(n);
  j.ringSlot = r.slot; j.sectors = flush ? 0 : r.a2; j.first = <u64>r.a0 | <u64>r.a1 << 32; j.write = r.op == BLOCK_WRITE ? 1 : 0; j.active = 1;
  store<u32>(header, flush ? TYPE_FLUSH : r.op == BLOCK_READ ? TYPE_IN : TYPE_OUT);
  store<u32>(header, 0, 4);
  store<u64>(header, flush ? 0 : j.first, 8);
  describeRequest(n, cachePhysical + r.a3, flush ? 0 : r.a2 << SECTOR_SHIFT, r.op == BLOCK_READ);
  if (!asAsked(n, r)) sys.fault(FAULT_NOT_ASKED, r.op, r.a0);
  queueRequest(n);
  queued = true;
  return true;
}
/** Code of the deliberate fault when the device was about to be asked for something else than fs asked. */
const FAULT_NOT_ASKED: u32 = 0x424c4c;
/** The header and the descriptors of request n say what the (guarded) ring entry says: the last look before data moves. */
function asAsked(n: u32, r: Request): bool {
  const header = requestHeader(n), type = load<u32>(header), j = job(n);
  if (j.ringSlot != r.slot) return false;
  if (r.op == BLOCK_FLUSH) return type == TYPE_FLUSH && describes(n, 0, 0, false);
  if (type != (r.op == BLOCK_WRITE ? TYPE_OUT : TYPE_IN) || load<u32>(header, 8) != r.a0 || load<u32>(header, 12) != r.a1) return false;
  return describes(n, r.a3 + cachePhysical, r.a2 * 512, r.op != BLOCK_WRITE);
}
/** Everything there is to do: answers of the device, then requests of fs. */
function pump(): void {
  answered = false; queued = false;
  while (true) {
    const n = collect();
    if (n < 0) break;
    const j = job(n);
    j.active = 0;
    const ok = requestStatus(n) == STATUS_OK;
    worker.complete(j.ringSlot, ok ? BLOCK_STATUS_OK : BLOCK_STATUS_IO_ERROR, ok ? j.sectors : 0, 0, 0, 0);
    answered = true;
  }
  while (waiting || worker.next(fresh)) {
    waiting = !begin(fresh);
    if (waiting) break;
  }
  if (queued) kick();
  if (answered) worker.knock();
}

export function main(page: usize): void {
  serverInit(page);
  jobs = mustAlloc(64 * <u32>JOB);
  fresh = changetype<Request>(mustAlloc(<u32>offsetof<Request>()));
  start();
  bindInterrupt();
  worker = ringWorker(0); // announces this epoch: only now, after the reset
  enableInterrupt();
  log.info(line().lit("virtio-blk: ").dec(<u32>(sectors >> 11)).lit(" MiB").lit(readOnly ? ", read-only" : "").lit(", ").dec(requestSlots).lit(" requests"));
  deviceServe(SERVERS_VIRTIO_BLK, pump);
}
