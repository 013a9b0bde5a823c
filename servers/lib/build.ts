/**
 * Building a process out of kernel objects: what root does for the supervisor and the supervisor for every server.
 *
 * A `Target` is an incarnation: its Untyped holds Space, Table, Thread, page tables and private Frames, so that one `revoke` takes all of it
 * away. Errors stick: after the first failed step every later one does nothing, and `status`, `step` say which and why; the caller looks
 * once, at the end. Contents go in through a scratch window in the builder's own Space (SCRATCH), mapped for the copy only.
 *
 * Order: targetInit, targetLoad, targetMemory ..., startup page (StartupPage, closed by targetStartup), targetThread. The Thread starts by
 * `sys.threadResume(t.thread)`.
 */
import {
  ERR_OK, OBJ_TABLE, OBJ_SPACE, OBJ_FRAMES, OBJ_THREAD, VM_TEXT, VM_STATE, VM_STACK_TOP, VM_MESSAGE_PAGE, VM_STARTUP_PAGE,
} from 'kintsugi/abi';
import {
  STARTUP_MAGIC, STARTUP_FIELDS_MAGIC, STARTUP_FIELDS_GENERATION, STARTUP_FIELDS_EPOCH, STARTUP_FIELDS_CPU, STARTUP_FIELDS_HANDLE_COUNT,
  STARTUP_FIELDS_REGION_COUNT, STARTUP_FIELDS_ARG_BYTES, STARTUP_FIELDS_ARGC, STARTUP_FIELDS_NAME, STARTUP_FIELDS_TEXT_AT, STARTUP_FIELDS_TEXT_BYTES, STARTUP_FIELDS_TEXT_HIGH, STARTUP_FIELDS_TEXT_LOW, STARTUP_HANDLES, STARTUP_REGIONS, STARTUP_ARGS,
  ROLE_TABLE, ROLE_SPACE, ROLE_THREAD, REGION_HEAP, REGION_STACK, REGION_FIBER_STACKS,
} from 'kintsugi/protocols';
import * as sys from './sys';
import { log2Ceil, pagesOf } from './mem';
import { fingerprint, fingerprintHigh } from './fingerprint';
import { ElfImage, elfParse, elfImage, SEGMENT_X, SEGMENT_W } from './elf';

/** Where the builder maps what it fills; up to SCRATCH_PAGES at a time. The builder's Space must have page-table pages for it. */
export const SCRATCH: usize = 0x70000000;
export const SCRATCH_PAGES: u32 = 512;
/** Base of the fiber stacks of every server. */
export const FIBER_STACKS: usize = 0xbe000000;

/** Steps, for the report of a failure. */
export const STEP_UNTYPED: u32 = 1;
export const STEP_OBJECTS: u32 = 2;
export const STEP_DONATE: u32 = 3;
export const STEP_ELF: u32 = 4; // status = ELF_* error
export const STEP_FRAMES: u32 = 5;
export const STEP_MAP: u32 = 6;
export const STEP_FILL: u32 = 7;
export const STEP_CAP: u32 = 8;
export const STEP_THREAD: u32 = 9;
export const STEP_WINDOW: u32 = 10;

@unmanaged @final export class Target {
  untyped: u32; space: u32; table: u32; thread: u32; message: u32; // handles in the builder's Table
  status: u32; step: u32;
  entry: u32; end: u32; stackPages: u32; // end = first free page after the ELF image
  page: usize; // the startup page, in private memory until targetStartup
  argBytes: u32;
  startupFrames: u32;
  textFrames: u32; textOffset: u32; textBytes: u32; textLow: u32; textHigh: u32; // the executable segment, as it was in the file
}
const IMAGE: ElfImage = elfImage(memory.data(180, 4));

function failed(t: Target, status: u32, step: u32): bool {
  if (t.status != ERR_OK) return true;
  if (status == ERR_OK) return false;
  t.status = status; t.step = step;
  return true;
}

/** Starts a target in `untyped` (the incarnation); `page` = 4096 zeroed private bytes for the startup page. */
export function targetInit(t: Target, untyped: u32, tableBits: u32, tablePages: u32, page: usize): void { targetInitTable(t, untyped, 0, tableBits, tablePages, page); }
/** The same with a Table that exists already and outlives the incarnation, when `table` != 0. */
export function targetInitTable(t: Target, untyped: u32, table: u32, tableBits: u32, tablePages: u32, page: usize): void {
  memory.fill(changetype<usize>(t), 0, offsetof<Target>());
  t.untyped = untyped; t.page = page;
  memory.fill(page, 0, 4096);
  store<u32>(page, STARTUP_MAGIC, STARTUP_FIELDS_MAGIC);
  t.space = newObject(t, OBJ_SPACE, 0);
  t.table = table != 0 ? table : newObject(t, OBJ_TABLE, tableBits);
  t.thread = newObject(t, OBJ_THREAD, 0);
  if (t.status == ERR_OK) failed(t, sys.donate(t.space, untyped, tablePages), STEP_DONATE);
}
export function newObject(t: Target, type: u32, bits: u32): u32 {
  if (t.status != ERR_OK) return 0;
  return failed(t, sys.retype(t.untyped, type, bits, 1, 0, 0), STEP_OBJECTS) ? 0 : sys.R.w0;
}
/** Frames of at least `pages` pages (rounded to a power of two) out of the incarnation. */
export function newFrames(t: Target, pages: u32): u32 {
  if (t.status != ERR_OK) return 0;
  return failed(t, sys.retype(t.untyped, OBJ_FRAMES, 12 + log2Ceil(pages), 1, 0, 0), STEP_FRAMES) ? 0 : sys.R.w0;
}
export function targetMap(t: Target, frames: u32, va: usize, first: u32, pages: u32, rights: u32): void {
  if (t.status == ERR_OK) failed(t, sys.map(t.space, frames, va, first, pages, rights), STEP_MAP);
}
/** Private zeroed memory at va. */
export function targetMemory(t: Target, va: usize, pages: u32, rights: u32): u32 {
  const frames = newFrames(t, pages);
  targetMap(t, frames, va, 0, pages, rights);
  return frames;
}

/** Copies (from, bytes) to byte `offset` of Frames, through the scratch window. Returns the status of the mapping. */
export function fillFrames(frames: u32, offset: u32, from: usize, bytes: u32): u32 {
  while (bytes > 0) {
    const first = offset >> 12, skip = offset & 4095;
    let n = pagesOf(skip + bytes);
    if (n > SCRATCH_PAGES) n = SCRATCH_PAGES;
    let part = (n << 12) - skip;
    if (part > bytes) part = bytes;
    const status = sys.map(builderSpace, frames, SCRATCH, first, n, sys.MAP_READ | sys.MAP_WRITE);
    if (status != ERR_OK) return status;
    memory.copy(SCRATCH + skip, from, part);
    sys.unmap(builderSpace, SCRATCH, n);
    offset += part; from += part; bytes -= part;
  }
  return ERR_OK;
}
let builderSpace: u32 = 0;
/** The builder's own Space; donates `pages` for the scratch window out of `untyped`. */
export function builderInit(space: u32, untyped: u32, pages: u32): u32 {
  builderSpace = space;
  return sys.donate(space, untyped, pages);
}

/** Loads an ELF file (mapped in the builder) into private Frames: text is never shared with another incarnation. */
export function targetLoad(t: Target, file: usize, bytes: u32): void {
  if (t.status != ERR_OK) return;
  if (failed(t, elfParse(file, bytes, VM_TEXT, VM_STATE, IMAGE), STEP_ELF)) return;
  for (let n: u32 = 0; n < IMAGE.count; n++) {
    const s = IMAGE.segment(n);
    const skip = s.va & 4095;
    const pages = pagesOf(skip + s.memoryBytes);
    const frames = newFrames(t, pages);
    if (t.status != ERR_OK) return;
    if (failed(t, fillFrames(frames, skip, file + s.offset, s.fileBytes), STEP_FILL)) return;
    let rights = sys.MAP_READ;
    if ((s.flags & SEGMENT_W) != 0) rights |= sys.MAP_WRITE;
    if ((s.flags & SEGMENT_X) != 0) rights |= sys.MAP_EXECUTE;
    if ((s.flags & SEGMENT_X) != 0) {
      t.textFrames = frames; t.textOffset = skip; t.textBytes = s.fileBytes; t.textLow = fingerprint(file + s.offset, s.fileBytes); t.textHigh = fingerprintHigh;
      store<u32>(t.page, s.va, STARTUP_FIELDS_TEXT_AT); store<u32>(t.page, s.fileBytes, STARTUP_FIELDS_TEXT_BYTES);
      store<u32>(t.page, t.textLow, STARTUP_FIELDS_TEXT_LOW); store<u32>(t.page, t.textHigh, STARTUP_FIELDS_TEXT_HIGH);
    }
    targetMap(t, frames, s.va - skip, 0, pages, rights);
  }
  t.entry = IMAGE.entry;
  t.end = IMAGE.end;
}
/** The text of a target that waited in memory is still that of the file. */
export function targetIntact(t: Target): bool {
  if (t.textFrames == 0) return true;
  const pages = pagesOf(t.textOffset + t.textBytes);
  if (pages > SCRATCH_PAGES || sys.map(builderSpace, t.textFrames, SCRATCH, 0, pages, sys.MAP_READ) != ERR_OK) return false;
  const low = fingerprint(SCRATCH + t.textOffset, t.textBytes);
  sys.unmap(builderSpace, SCRATCH, pages);
  return low == t.textLow && fingerprintHigh == t.textHigh;
}
/** Heap behind the image (one guard page between), main stack and fiber stacks (a guard page below each), and their regions. */
export function targetStacks(t: Target, heapPages: u32, stackPages: u32, fibers: u32, fiberPages: u32): void {
  const heap = <usize>t.end + 4096;
  if (heapPages != 0) {
    targetMemory(t, heap, heapPages, sys.MAP_READ | sys.MAP_WRITE);
    startupRegion(t, REGION_HEAP, heap, heapPages, 0);
  }
  t.stackPages = stackPages;
  const low = VM_STACK_TOP - (stackPages << 12);
  targetMemory(t, low, stackPages, sys.MAP_READ | sys.MAP_WRITE);
  startupRegion(t, REGION_STACK, low, stackPages, 0);
  if (fibers == 0) return;
  const frames = newFrames(t, fibers * fiberPages);
  for (let n: u32 = 0; n < fibers; n++) targetMap(t, frames, FIBER_STACKS + (n * (fiberPages + 1) << 12) + 4096, n * fiberPages, fiberPages, sys.MAP_READ | sys.MAP_WRITE);
  startupRegion(t, REGION_FIBER_STACKS, FIBER_STACKS + 4096, fibers * fiberPages, fiberPages);
}

// ---- startup page ---------------------------------------------------------------------------------------------------------------------

/** A handle that is valid in the target's Table. */
export function startupHandle(t: Target, role: u32, handle: u32): void {
  const n = load<u32>(t.page, STARTUP_FIELDS_HANDLE_COUNT);
  if (n >= 64) { failed(t, 1, STEP_CAP); return; }
  store<u32>(t.page + STARTUP_HANDLES + (<usize>n << 3), role);
  store<u32>(t.page + STARTUP_HANDLES + (<usize>n << 3), handle, 4);
  store<u32>(t.page, n + 1, STARTUP_FIELDS_HANDLE_COUNT);
}
/** Copies a capability of the builder into the target's Table and enters it under `role`. */
export function grant(t: Target, role: u32, handle: u32, rights: u32): u32 {
  if (t.status != ERR_OK) return 0;
  if (failed(t, sys.capCopy(builderOwnTable, handle, rights, t.table, 0), STEP_CAP)) return 0;
  const h = sys.R.w0;
  if (role != 0) startupHandle(t, role, h);
  return h;
}
export function grantBadged(t: Target, role: u32, handle: u32, rights: u32, badge: u32): u32 {
  if (t.status != ERR_OK) return 0;
  if (failed(t, sys.capMint(builderOwnTable, handle, rights, t.table, 0, badge), STEP_CAP)) return 0;
  const h = sys.R.w0;
  if (role != 0) startupHandle(t, role, h);
  return h;
}
let builderOwnTable: u32 = 0;
export function builderTable(table: u32): void { builderOwnTable = table; }

export function startupRegion(t: Target, role: u32, va: usize, pages: u32, flags: u32): void {
  const n = load<u32>(t.page, STARTUP_FIELDS_REGION_COUNT);
  if (n >= 32) { failed(t, 2, STEP_CAP); return; }
  const p = t.page + STARTUP_REGIONS + (<usize>n << 4);
  store<u32>(p, role); store<usize>(p, va, 4); store<u32>(p, pages, 8); store<u32>(p, flags, 12);
  store<u32>(t.page, n + 1, STARTUP_FIELDS_REGION_COUNT);
}
export function startupArgument(t: Target, at: usize, bytes: u32): void {
  if (t.argBytes + bytes + 1 > 4096 - STARTUP_ARGS) { failed(t, 3, STEP_CAP); return; }
  memory.copy(t.page + STARTUP_ARGS + t.argBytes, at, bytes);
  t.argBytes += bytes + 1;
  store<u32>(t.page, t.argBytes, STARTUP_FIELDS_ARG_BYTES);
  store<u32>(t.page, load<u32>(t.page, STARTUP_FIELDS_ARGC) + 1, STARTUP_FIELDS_ARGC);
}
export function startupIdentity(t: Target, name: usize, generation: u32, epoch: u32, cpu: u32): void {
  store<u32>(t.page, generation, STARTUP_FIELDS_GENERATION);
  store<u32>(t.page, epoch, STARTUP_FIELDS_EPOCH);
  store<u32>(t.page, cpu, STARTUP_FIELDS_CPU);
  for (let n: usize = 0; n < 31; n++) {
    const c = load<u8>(name + n);
    store<u8>(t.page + STARTUP_FIELDS_NAME + n, c);
    if (c == 0) break;
  }
}
/** Own Table, Space and Thread of the target, as everybody has them. */
export function grantSelf(t: Target): void {
  grant(t, ROLE_TABLE, t.table, 3);
  grant(t, ROLE_SPACE, t.space, 3);
  grant(t, ROLE_THREAD, t.thread, 2);
}
/** Copies the startup page into place and maps it read-only. */
export function targetStartup(t: Target): void {
  const frames = newFrames(t, 1);
  if (t.status != ERR_OK) return;
  t.startupFrames = frames;
  if (failed(t, fillFrames(frames, 0, t.page, 4096), STEP_FILL)) return;
  targetMap(t, frames, VM_STARTUP_PAGE, 0, 1, sys.MAP_READ);
}
/** Changes the handle under a role that the startup page of a running target has. */
export function startupPatch(t: Target, role: u32, handle: u32): void {
  if (sys.map(builderSpace, t.startupFrames, SCRATCH, 0, 1, sys.MAP_READ | sys.MAP_WRITE) != ERR_OK) return;
  const count = load<u32>(SCRATCH, STARTUP_FIELDS_HANDLE_COUNT);
  for (let n: u32 = 0; n < count && n < 64; n++) {
    const p = SCRATCH + STARTUP_HANDLES + (<usize>n << 3);
    if (load<u32>(p) == role) store<u32>(p, handle, 4);
  }
  sys.unmap(builderSpace, SCRATCH, 1);
}
export function targetMessagePage(t: Target): void { t.message = targetMemory(t, VM_MESSAGE_PAGE, 1, sys.MAP_READ | sys.MAP_WRITE); }
/** Message page if there is none yet, fault endpoint (a handle of the builder, already badged), registers, schedule. The Thread stays suspended. */
export function targetThread(t: Target, faultEndpoint: u32, sched: u32, priority: u32, cpu: u32, flags: u32): void {
  if (t.message == 0) targetMessagePage(t);
  if (t.status != ERR_OK) return;
  if (failed(t, sys.threadConfigure(t.thread, t.space, t.table, t.message, VM_MESSAGE_PAGE, faultEndpoint), STEP_THREAD)) return;
  if (failed(t, sys.setSchedule(t.thread, priority, cpu, flags), STEP_THREAD)) return;
  if (failed(t, sys.schedBind(sched, t.thread), STEP_THREAD)) return;
  failed(t, sys.setEntry(t.thread, t.entry, VM_STACK_TOP - 16, VM_STARTUP_PAGE), STEP_THREAD);
}
