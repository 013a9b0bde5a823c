/**
 * Building a program out of an ELF file: Space, Table, Thread, Sched, segments, stack, arguments, startup page. Runs in the fiber of the request
 * (reading the file waits for fs). What fails leaves the program without memory (the caller gives the chunks back) and a negative errno.
 *
 * Address map (VM_MAP): text and data where the ELF says, heap behind its end, stack below stackTop growing on demand, arguments from ARGS on,
 * message page and startup page at the top.
 */
import { ERR_OK, OBJ_FRAMES, OBJ_SCHED, OBJ_SPACE, OBJ_TABLE, OBJ_THREAD, VM_HEAP_END, VM_MESSAGE_PAGE, VM_STACK_TOP, VM_STARTUP_PAGE, VM_TEXT } from 'kintsugi/abi';
import * as P from 'kintsugi/protocols';
import { ELF_IMAGE_BYTES, ELF_OK, ElfImage, SEGMENT_W, SEGMENT_X, elfImage, elfParse } from '../lib/elf';
import { alloc, free, mustAlloc } from '../lib/alloc';
import { homeCpu, ownSpace, ownTable } from '../lib/startup';
import { pagesOf } from '../lib/mem';
import * as sys from '../lib/sys';
import { EIO, ENOEXEC, ENOMEM, EACCES, EISDIR, errnoOf } from './errno';
import { donateTables, makeObject, mapInto, moreMemory, provide } from './memory';
import { READONLY, fsArea, fsCall, fsResult } from './peers';
import { Program } from './records';

/** Highest address of the arguments region: right above the stack, ARGS_PAGES at most. */
export const ARGS: usize = VM_STACK_TOP;
export const ARGS_BYTES: u32 = 65536;
const STACK_PAGES: u32 = 8; // mapped at start
export const STACK_LIMIT_BYTES: u32 = 0x100000; // grows on demand down to here
const HEAP_PAGES: u32 = 16; // mapped at start
const PRIORITY: u32 = 16;
const SLICE_NS: u32 = 10000000;
const PIECE: u32 = 65536;
const ENDPOINT_SEND: u32 = 1;
const TABLE_BITS: u32 = 4;

let endpoint: u32 = 0; // unbadged send | grant on the own endpoint
let faultEndpoints: usize = 0; // u32[PROGRAMS]: badged send capabilities in the own Table
let flags: u32 = 0;

export function loaderInit(processEndpoint: u32, programs: u32, follow: bool): void {
  endpoint = processEndpoint;
  flags = follow ? sys.FOLLOW : 0;
  faultEndpoints = mustAlloc(programs * 4);
  for (let n: u32 = 0; n < programs; n++) {
    sys.check(sys.capMint(ownTable, endpoint, ENDPOINT_SEND, 0, 0, n + 1), 0x20);
    store<u32>(faultEndpoints + (<usize>n << 2), sys.R.w0);
  }
}

/** Arguments of a program: `strings` = argv then environment, NUL terminated. */
@unmanaged @final export class Arguments { at: usize; argc: u32; argBytes: u32; envBytes: u32 }

/** Builds `p` from the file `inode`; the Thread is ready to be resumed. 0 or a negative errno. */
export function buildProgram(p: Program, inode: u32, mode: u32, size: u32, args: Arguments): i32 {
  if ((mode & 0xf000) == 0x4000) return -EISDIR;
  if ((mode & 0xf000) != 0x8000 || (mode & 0o111) == 0) return -EACCES;
  const header = alloc(4096 + ELF_IMAGE_BYTES);
  if (header == 0) return -ENOMEM;
  const status = build(p, inode, size, args, header, elfImage(header + 4096));
  free(header);
  return status;
}

function build(p: Program, inode: u32, size: u32, args: Arguments, header: usize, image: ElfImage): i32 {
  const first = min(size, 4096);
  let status = readInto(inode, 0, first, header);
  if (status < 0) return status;
  // elfParse believes in `size` bytes at `header`; it touches the ELF header and the program headers only, which must lie in the first page.
  if (first < 52 || load<u32>(header) != 0x464c457f) return -ENOEXEC;
  if (load<u32>(header, 28) > 4096 || load<u32>(header, 28) + <u32>load<u16>(header, 44) * 32 > first) return -ENOEXEC;
  if (elfParse(header, size, VM_TEXT, VM_HEAP_END, image) != ELF_OK) return -ENOEXEC;

  if (!moreMemory(p)) return -ENOMEM;
  p.space = makeObject(p, OBJ_SPACE, 0);
  p.table = makeObject(p, OBJ_TABLE, TABLE_BITS);
  p.thread = makeObject(p, OBJ_THREAD, 0);
  const sched = makeObject(p, OBJ_SCHED, 0);
  if (p.space == 0 || p.table == 0 || p.thread == 0 || sched == 0 || !donateTables(p)) return -ENOMEM;

  for (let n: u32 = 0; n < image.count; n++) {
    const s = image.segment(n), skip = s.va & 4095, va = s.va - skip, pages = pagesOf(skip + s.memoryBytes);
    if (!provide(p, va, pages, sys.MAP_READ | sys.MAP_WRITE)) return -ENOMEM;
    status = fill(p, inode, s.offset, s.va, s.fileBytes);
    if (status < 0) return status;
    if ((s.flags & SEGMENT_W) == 0) {
      const rights = sys.MAP_READ | ((s.flags & SEGMENT_X) != 0 ? sys.MAP_EXECUTE : 0);
      if (sys.protect(p.space, va, pages, rights) != ERR_OK) return -EIO;
    }
  }
  p.heapStart = image.end + 4096;
  p.heapMapped = p.heapStart + (HEAP_PAGES << 12);
  p.heapEnd = p.heapMapped;
  p.stackLow = VM_STACK_TOP - (STACK_PAGES << 12);
  if (!provide(p, p.heapStart, HEAP_PAGES, sys.MAP_READ | sys.MAP_WRITE)) return -ENOMEM;
  if (!provide(p, p.stackLow, STACK_PAGES, sys.MAP_READ | sys.MAP_WRITE)) return -ENOMEM;
  const message = makeObject(p, OBJ_FRAMES, 12);
  if (message == 0 || !mapInto(p, message, VM_MESSAGE_PAGE, 1, sys.MAP_READ | sys.MAP_WRITE)) return -ENOMEM;
  const argPages = pagesOf(args.argBytes + args.envBytes);
  if (argPages != 0) {
    if (!provide(p, ARGS, argPages, sys.MAP_READ | sys.MAP_WRITE)) return -ENOMEM;
    const copied = sys.copyToSpace(ownSpace, args.at, p.space, ARGS, args.argBytes + args.envBytes);
    if (copied != ERR_OK) return errnoOf(copied);
  }
  if (sys.capMint(ownTable, endpoint, ENDPOINT_SEND, p.table, 0, p.index + 1) != ERR_OK) return -ENOMEM;
  status = startupPage(p, sys.R.w0, args, argPages, header);
  if (status < 0) return status;

  if (sys.threadConfigure(p.thread, p.space, p.table, message, VM_MESSAGE_PAGE, load<u32>(faultEndpoints + (<usize>p.index << 2))) != ERR_OK) return -EIO;
  if (sys.setSchedule(p.thread, PRIORITY, homeCpu(), flags) != ERR_OK) return -EIO;
  if (sys.schedConfigure(sched, SLICE_NS, 0, 0, 0, 0) != ERR_OK || sys.schedBind(sched, p.thread) != ERR_OK) return -EIO;
  if (sys.setEntry(p.thread, image.entry, VM_STACK_TOP - 16, VM_STARTUP_PAGE) != ERR_OK) return -EIO;
  return 0;
}

/** Reads exactly `bytes` (<= one piece) of a file into own memory. */
function readInto(inode: u32, position: u32, bytes: u32, to: usize): i32 {
  const at = fsArea.take(bytes);
  const status = fsCall(P.FS_READ, READONLY, inode, position, 0, at, bytes, 0);
  const got: u32 = status < 0 ? 0 : min(fsResult().r0, bytes);
  if (got == bytes) memory.copy(to, fsArea.address(at), bytes);
  fsArea.give(at, bytes);
  return status < 0 ? status : got < bytes ? -ENOEXEC : 0;
}
/** File bytes straight from the shared area into the program. */
function fill(p: Program, inode: u32, offset: u32, va: usize, bytes: u32): i32 {
  while (bytes > 0) {
    const part = min(bytes, PIECE), at = fsArea.take(part);
    let status = fsCall(P.FS_READ, READONLY, inode, offset, 0, at, part, 0);
    if (status == 0 && fsResult().r0 != part) status = -ENOEXEC;
    if (status == 0) status = errnoOf(sys.copyToSpace(ownSpace, fsArea.address(at), p.space, va, part));
    fsArea.give(at, part);
    if (status < 0) return status;
    offset += part; va += part; bytes -= part;
  }
  return 0;
}

function startupPage(p: Program, handle: u32, args: Arguments, argPages: u32, page: usize): i32 {
  memory.fill(page, 0, 4096);
  store<u32>(page + P.STARTUP_FIELDS_MAGIC, P.STARTUP_MAGIC);
  store<u32>(page + P.STARTUP_FIELDS_CPU, homeCpu());
  store<u32>(page + P.STARTUP_FIELDS_ARG_BYTES, args.argBytes);
  store<u32>(page + P.STARTUP_FIELDS_ENV_BYTES, args.envBytes);
  store<u32>(page + P.STARTUP_FIELDS_ARGC, args.argc);
  store<u32>(page + P.STARTUP_FIELDS_PID, p.pid);
  memory.copy(page + P.STARTUP_FIELDS_NAME, p.name, 32);
  store<u32>(page + P.STARTUP_FIELDS_HANDLE_COUNT, 1);
  store<u32>(page + P.STARTUP_HANDLES, P.ROLE_PROCESS_ENDPOINT);
  store<u32>(page + P.STARTUP_HANDLES + 4, handle);
  store<u32>(page + P.STARTUP_FIELDS_REGION_COUNT, 3);
  region(page, 0, P.REGION_HEAP, p.heapStart, HEAP_PAGES);
  region(page, 1, P.REGION_STACK, p.stackLow, STACK_PAGES);
  region(page, 2, P.REGION_ARGS, ARGS, argPages);
  if (!provide(p, VM_STARTUP_PAGE, 1, sys.MAP_READ | sys.MAP_WRITE)) return -ENOMEM;
  const copied = sys.copyToSpace(ownSpace, page, p.space, VM_STARTUP_PAGE, 4096);
  if (copied != ERR_OK) return errnoOf(copied);
  return sys.protect(p.space, VM_STARTUP_PAGE, 1, sys.MAP_READ) == ERR_OK ? 0 : -EIO;
}
function region(page: usize, n: u32, role: u32, va: usize, pages: u32): void {
  const at = page + P.STARTUP_REGIONS + (<usize>n << 4);
  store<u32>(at, role);
  store<u32>(at, <u32>va, 4);
  store<u32>(at, pages, 8);
}

/** A fault at `va`: the stack grows (false: this is no stack fault, or there is no memory). */
export function growStack(p: Program, va: usize): bool {
  if (va >= p.stackLow || va < VM_STACK_TOP - STACK_LIMIT_BYTES) return false;
  const low = max<usize>((va & ~4095) - (3 << 12), VM_STACK_TOP - STACK_LIMIT_BYTES);
  if (!provide(p, low, <u32>((p.stackLow - low) >> 12), sys.MAP_READ | sys.MAP_WRITE)) return false;
  p.stackLow = low;
  return true;
}

/** brk: the new end of the heap, or the old one's errno. 0 asks. */
export function setHeapEnd(p: Program, end: usize): i32 {
  if (end == 0) return <i32>p.heapEnd;
  if (end < p.heapStart || end > VM_HEAP_END) return -ENOMEM;
  const top = (end + 4095) & ~4095;
  if (top > p.heapMapped) {
    if (!provide(p, p.heapMapped, <u32>((top - p.heapMapped) >> 12), sys.MAP_READ | sys.MAP_WRITE)) return -ENOMEM;
    p.heapMapped = top;
  }
  p.heapEnd = end;
  return <i32>end;
}
