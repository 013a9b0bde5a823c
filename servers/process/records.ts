/**
 * The records of the personality: programs, open files, pipes. Fixed arrays of plain data, found by index; the memory comes from the state region
 * when the supervisor granted one (so that a later incarnation can find them at the same address), else from the heap.
 *
 * A program is one slot from spawn to the moment its parent has waited: FREE -> STARTING (being built; invisible to signals) -> RUNNING ->
 * DYING (nothing it asks is answered any more) -> ZOMBIE (memory and files are gone, the wait status stays) -> FREE.
 * Badge of its endpoint capability = index + 1.
 *
 * Invariants: refs of an open file = fds that name it + operations in flight; a pipe exists while an open file names it.
 */
import { REGION_STATE } from 'kintsugi/protocols';
import { Fiber, WaitQueue, queueInit } from '../lib/fiber';
import { mustAlloc } from '../lib/alloc';
import { regionBytes, regionVa } from '../lib/startup';

export const PROGRAMS: u32 = 48;
export const FDS: u32 = 254;
export const OPEN_FILES: u32 = 2048;
export const PIPES: u32 = 64;
export const CWD_BYTES: u32 = 256;
export const NAME_BYTES: u32 = 32;

export const FREE: u32 = 0;
export const STARTING: u32 = 1;
export const RUNNING: u32 = 2;
export const DYING: u32 = 3;
export const ZOMBIE: u32 = 4;

@unmanaged @final export class Program {
  index: u32; state: u32;
  pid: u32; parent: u32; group: u32; // parent 0: nobody waits for it
  waitStatus: u32; // Linux encoding, once it is a zombie; why it dies while DYING
  caught: u32; pending: u32; // signals, bit n = signal n
  chunks: u32; // first memory chunk + 1 (memory.ts)
  space: u32; thread: u32; table: u32; // handles
  heapStart: usize; heapEnd: usize; heapMapped: usize; // brk: [heapStart, heapEnd), mapped up to heapMapped
  stackLow: usize;
  cwdInode: u32;
  files: usize; // u32[FDS]: index of the open file + 1
  cwd: usize; // CWD_BYTES, NUL terminated
  name: usize; // NAME_BYTES
  // The request in work: copied when it arrives, so that a fiber can take its time.
  reply: u32; // the Reply that owes the answer, 0 = no request
  label: u32; w0: u32; w1: u32; w2: u32; w3: u32;
  lease0: u32; lease1: u32; // lengths that the program says its leases have
  keySerial: u32; keySeq: u32; keySub: u32;
  r1: u32; r2: u32; // second and third word of the answer
  fiber: Fiber; // works on it; null = none
  waitsFor: u32; // 1 = in a wait that a signal may end
  interrupted: u32; // a caught signal came during this request
  queued: u32; // waits in the backlog for a free fiber
  children: WaitQueue; // it waits here for the end of a child
}

export const NOTHING: u32 = 0;
export const FILE: u32 = 1;
export const DIRECTORY: u32 = 2;
export const TERMINAL: u32 = 3;
export const PIPE_READ: u32 = 4;
export const PIPE_WRITE: u32 = 5;
export const NULL_DEVICE: u32 = 6;
export const ZERO_DEVICE: u32 = 7;
export const SOCKET: u32 = 8;

/** An open file description: shared by every fd that was made from it. */
@unmanaged @final export class OpenFile {
  kind: u32; refs: u32;
  flags: u32; // O_* of open
  inode: u32; mode: u32;
  position: u64;
  line: u32; stream: u32; // TERMINAL
  pipe: u32; // index, PIPE_*
  index: u32;
  socket: u32; type: u32; // SOCKET: id at net, NET.type
  sent: u32; received: u32; // positions of its streams: bytes that net accepted, bytes that were handed out
  busy: u32; // in use: 1 sending, 2 receiving; FILE, DIRECTORY: POSITION
}

/** `busy` of a file whose position somebody is about to move. */
export const POSITION: u32 = 4;

@unmanaged @final export class Pipe {
  used: u32; index: u32;
  readers: u32; writers: u32; // open files, 0 or 1 each (descriptions, not fds)
  at: usize; head: u32; count: u32;
  canRead: WaitQueue; canWrite: WaitQueue;
}
export const PIPE_BYTES: u32 = 16384;

let programs: usize = 0;
let openFiles: usize = 0;
let pipes: usize = 0;
let next: usize = 0;
let end: usize = 0;

function take(bytes: u32): usize {
  const size = (bytes + 7) & ~7;
  if (next + size > end) return mustAlloc(size);
  const at = next;
  next += size;
  return at;
}

export function recordsInit(): void {
  next = regionVa(REGION_STATE);
  end = next + regionBytes(REGION_STATE);
  // State Frames are read-only outside `window`: until the commit protocol writes them, records live in private memory.
  next = end;
  programs = take(PROGRAMS * <u32>offsetof<Program>());
  openFiles = take(OPEN_FILES * <u32>offsetof<OpenFile>());
  pipes = take(PIPES * <u32>offsetof<Pipe>());
  for (let n: u32 = 0; n < PROGRAMS; n++) {
    const p = programAt(n);
    p.index = n;
    p.files = take(FDS * 4);
    p.cwd = take(CWD_BYTES);
    p.name = take(NAME_BYTES);
    p.children = changetype<WaitQueue>(take(8));
    queueInit(p.children);
  }
  for (let n: u32 = 0; n < OPEN_FILES; n++) openFileAt(n).index = n;
  for (let n: u32 = 0; n < PIPES; n++) {
    const pipe = pipeAt(n);
    pipe.index = n;
    pipe.canRead = changetype<WaitQueue>(take(8));
    pipe.canWrite = changetype<WaitQueue>(take(8));
    queueInit(pipe.canRead);
    queueInit(pipe.canWrite);
  }
}

export function programAt(n: u32): Program { return changetype<Program>(programs + <usize>n * offsetof<Program>()); }
export function openFileAt(n: u32): OpenFile { return changetype<OpenFile>(openFiles + <usize>n * offsetof<OpenFile>()); }
export function pipeAt(n: u32): Pipe { return changetype<Pipe>(pipes + <usize>n * offsetof<Pipe>()); }

const NO_PROGRAM: Program = changetype<Program>(0);
/** A program that lives (or is a zombie) by pid; null when there is none. */
export function programOf(pid: u32): Program {
  for (let n: u32 = 0; n < PROGRAMS; n++) {
    const p = programAt(n);
    if (p.state >= RUNNING && p.pid == pid) return p;
  }
  return NO_PROGRAM;
}

let lastPid: u32 = 0;
const PID_LIMIT: u32 = 30000;
function pidInUse(pid: u32): bool {
  for (let n: u32 = 0; n < PROGRAMS; n++) {
    const p = programAt(n);
    if (p.state != FREE && (p.pid == pid || p.group == pid)) return true;
  }
  return false;
}
/** A fresh slot with a fresh pid, STARTING, no files, nothing built; null when the table is full. */
export function newProgram(): Program {
  for (let n: u32 = 0; n < PROGRAMS; n++) {
    const p = programAt(n);
    if (p.state != FREE) continue;
    do lastPid = lastPid >= PID_LIMIT ? 1 : lastPid + 1; while (pidInUse(lastPid));
    p.state = STARTING;
    p.pid = lastPid;
    p.parent = 0; p.group = lastPid; p.waitStatus = 0;
    p.caught = 0; p.pending = 0; p.chunks = 0;
    p.space = 0; p.thread = 0; p.table = 0;
    p.heapStart = 0; p.heapEnd = 0; p.heapMapped = 0; p.stackLow = 0;
    p.reply = 0; p.fiber = changetype<Fiber>(0); p.waitsFor = 0; p.interrupted = 0; p.queued = 0;
    memory.fill(p.files, 0, FDS * 4);
    return p;
  }
  return NO_PROGRAM;
}

/** The open file behind an fd; null for a bad one. */
export function fileOf(p: Program, fd: u32): OpenFile {
  if (fd >= FDS) return changetype<OpenFile>(0);
  const n = load<u32>(p.files + (<usize>fd << 2));
  return n == 0 ? changetype<OpenFile>(0) : openFileAt(n - 1);
}
export function setFd(p: Program, fd: u32, f: OpenFile): void { store<u32>(p.files + (<usize>fd << 2), f.index + 1); }
export function clearFd(p: Program, fd: u32): void { store<u32>(p.files + (<usize>fd << 2), 0); }
/** Lowest fd from `from` on that is not in use, -1 when all are. */
export function freeFd(p: Program, from: u32): i32 {
  for (let fd = from; fd < FDS; fd++) if (load<u32>(p.files + (<usize>fd << 2)) == 0) return fd;
  return -1;
}

let nextFile: u32 = 0; // where a free description is looked for first
/** A fresh description with one reference; null when all are in use. */
export function newOpenFile(kind: u32, flags: u32): OpenFile {
  for (let n: u32 = 0; n < OPEN_FILES; n++) {
    const f = openFileAt(nextFile);
    nextFile = nextFile + 1 == OPEN_FILES ? 0 : nextFile + 1;
    if (f.kind != NOTHING) continue;
    f.kind = kind; f.refs = 1; f.flags = flags;
    f.inode = 0; f.mode = 0; f.position = 0; f.line = 0; f.stream = 0; f.pipe = 0;
    f.socket = 0; f.type = 0; f.sent = 0; f.received = 0; f.busy = 0;
    return f;
  }
  return changetype<OpenFile>(0);
}

/** Everything the tables must satisfy between two requests; 0, or which rule is broken. For tests and the idle audit. */
export function checkRecords(): u32 {
  for (let n: u32 = 0; n < OPEN_FILES; n++) {
    const f = openFileAt(n);
    let names: u32 = 0;
    for (let k: u32 = 0; k < PROGRAMS; k++) for (let fd: u32 = 0; fd < FDS; fd++) if (load<u32>(programAt(k).files + (<usize>fd << 2)) == n + 1) names++;
    if (f.kind == NOTHING) { if (names != 0) return 1; }
    else if (f.refs < names) return 2;
    if ((f.kind == PIPE_READ || f.kind == PIPE_WRITE) && (f.pipe >= PIPES || pipeAt(f.pipe).used == 0)) return 3;
  }
  for (let n: u32 = 0; n < PROGRAMS; n++) {
    const p = programAt(n);
    if (p.state > ZOMBIE) return 4;
    if (p.state == ZOMBIE && (p.chunks != 0 || p.parent == 0)) return 5;
  }
  return 0;
}
