/**
 * Birth, signals and death of programs.
 *
 * Death: `condemn` marks a program DYING and stops its Thread; whatever fiber works for it is let go from its wait and unwinds; then `bury` (in that
 * fiber, or in one of its own) closes the files, gives the memory back, and leaves a zombie for the parent, or nothing. A program cannot see
 * or stop any of this, and nothing here can fail.
 */
import { mark } from 'kintsugi/x86';
import * as P from 'kintsugi/protocols';
import { cancel, hasWaiters, spawn, wakeAll } from '../lib/fiber';
import { FOREVER } from '../lib/sys';
import * as sys from '../lib/sys';
import { copyString } from '../lib/str';
import * as E from './errno';
import { closeAll, closeFile, openPath, opened } from './files';
import { Arguments, buildProgram } from './loader';
import { giveMemory } from './memory';
import { fsResult } from './peers';
import * as R from './records';
import { OpenFile, Program } from './records';
import { pause } from './wait';
import { giveReply } from './replies';

export const SIGHUP: u32 = 1, SIGINT: u32 = 2, SIGQUIT: u32 = 3, SIGILL: u32 = 4, SIGTRAP: u32 = 5, SIGBUS: u32 = 7, SIGFPE: u32 = 8, SIGKILL: u32 = 9, SIGSEGV: u32 = 11, SIGPIPE: u32 = 13;
/** Signals that do nothing to a program that does not catch them: 0, CHLD, CONT, URG, WINCH. */
function ignored(signal: u32): bool { return signal == 0 || signal == 17 || signal == 18 || signal == 23 || signal == 28; }

/** Called when a program has ended and is to be forgotten or awaited: the boot logic looks for its own. */
let onEnd: u32 = 0;
export function setOnEnd(handler: (pid: u32, waitStatus: u32) => void): void { onEnd = handler.index; }

/**
 * A program from a file. `parent` may be null (process's own children). The fds are descriptions or null, each gets one more reference.
 * Pid, or a negative errno. `cwd` texts are copied from `like` or "/".
 */
export function spawnProgram(parent: Program, path: usize, args: Arguments, input: OpenFile, output: OpenFile, error: OpenFile, group: u32): i32 {
  const hasParent = changetype<usize>(parent) != 0;
  const p = R.newProgram();
  if (changetype<usize>(p) == 0) return -E.EAGAIN;
  p.parent = hasParent ? parent.pid : 0;
  if (group != 0) p.group = group;
  p.cwdInode = hasParent ? parent.cwdInode : P.EXT2_ROOT_INODE;
  if (hasParent) copyString(p.cwd, parent.cwd, R.CWD_BYTES); else { store<u8>(p.cwd, 47); store<u8>(p.cwd + 1, 0); }
  nameOf(p, path);
  let status = openPath(p.cwdInode, path, 0, 0);
  if (status == 0) {
    const f = opened();
    const size = fsResult().r2, high = fsResult().r3;
    if (f.kind == R.FILE || f.kind == R.DIRECTORY) status = high != 0 ? -E.EFBIG : buildProgram(p, f.inode, f.mode, size, args);
    else status = -E.EACCES;
    closeFile(f);
  }
  // The parent may have died meanwhile: nobody will ask for this child.
  if (status < 0 || (hasParent && parent.state == R.DYING)) {
    giveMemory(p);
    p.state = R.FREE;
    return status < 0 ? status : -E.EINTR;
  }
  inherit(p, 0, input);
  inherit(p, 1, output);
  inherit(p, 2, error);
  p.state = R.RUNNING;
  const badge = p.index + 1; // of its fault endpoint (loader.ts)
  for (let at: u32 = 0; at < 16; at += 8) mark(P.MARKS_PROGRAM_NAME, badge | at << 16, load<u32>(p.name + at), load<u32>(p.name + at, 4));
  mark(P.MARKS_PROGRAM, badge, p.pid, p.parent);
  sys.check(sys.threadResume(p.thread), 0x30);
  return p.pid;
}
function inherit(p: Program, fd: u32, f: OpenFile): void {
  if (changetype<usize>(f) == 0) return;
  f.refs++;
  R.setFd(p, fd, f);
}
/** The last part of the path names the program in `ps`. */
function nameOf(p: Program, path: usize): void {
  let last = path;
  for (let q = path; load<u8>(q) != 0; q++) if (load<u8>(q) == 47 && load<u8>(q, 1) != 0) last = q + 1;
  memory.fill(p.name, 0, R.NAME_BYTES);
  copyString(p.name, last, R.NAME_BYTES);
}

/** One signal to one program. */
export function signal(p: Program, number: u32): void {
  if (p.state != R.RUNNING || ignored(number)) return;
  if (number != SIGKILL && (p.caught & (1 << number)) != 0) {
    p.pending |= 1 << number;
    if (p.reply != 0) p.interrupted = 1;
    if (p.waitsFor != 0) cancel(p.fiber);
    return;
  }
  condemn(p, number);
}
/** To every program of a group; how many there were. */
export function signalGroup(group: u32, number: u32): u32 {
  let count: u32 = 0;
  for (let n: u32 = 0; n < R.PROGRAMS; n++) {
    const p = R.programAt(n);
    if (p.state != R.RUNNING || p.group != group) continue;
    count++;
    signal(p, number);
  }
  return count;
}

/** The end begins. `waitStatus`: a signal number, or exit status << 8. */
export function condemn(p: Program, waitStatus: u32): void {
  if (p.state != R.RUNNING) return;
  p.state = R.DYING;
  p.waitStatus = waitStatus;
  sys.threadSuspend(p.thread);
  if (changetype<usize>(p.fiber) != 0) {
    if (p.waitsFor != 0) cancel(p.fiber);
    return; // its fiber buries it when the request has unwound
  }
  if (p.queued != 0) return; // whoever takes it from the backlog does
  startBurial(p);
}
let graveyard: u32 = 0; // programs that wait for a fiber to bury them
function startBurial(p: Program): void {
  const f = spawn(buryFiber, changetype<usize>(p));
  if (changetype<usize>(f) == 0) { graveyard++; p.queued = 2; } else p.queued = 0;
}
function buryFiber(argument: usize): void { bury(changetype<Program>(argument)); }
/** Fibers are free again: burials that had to wait. */
export function retryBurials(): void {
  for (let n: u32 = 0; graveyard > 0 && n < R.PROGRAMS; n++) {
    const p = R.programAt(n);
    if (p.state != R.DYING || p.queued != 2) continue;
    graveyard--;
    startBurial(p);
    if (p.queued == 2) return;
  }
}

/** Everything of a DYING program goes; its parent learns it. Runs in a fiber (closing files asks fs). */
export function bury(p: Program): void {
  closeAll(p);
  giveMemory(p);
  if (p.reply != 0) { giveReply(p.reply); p.reply = 0; }
  const pid = p.pid, status = p.waitStatus;
  for (let n: u32 = 0; n < R.PROGRAMS; n++) {
    const child = R.programAt(n);
    if (child.state == R.FREE || child.parent != pid) continue;
    child.parent = 0;
    if (child.state == R.ZOMBIE) child.state = R.FREE;
  }
  const parent = p.parent == 0 ? changetype<Program>(0) : R.programOf(p.parent);
  if (changetype<usize>(parent) != 0 && parent.state == R.RUNNING) {
    p.state = R.ZOMBIE;
    wakeAll(parent.children);
  } else p.state = R.FREE;
  if (onEnd != 0) call_indirect<void>(onEnd, pid, status);
}

/** wait: pid of a child that ended (its status in `waited()`), 0 with nohang, or a negative errno. */
export function waitChild(p: Program, pid: i32, nohang: bool): i32 {
  while (true) {
    let any = false;
    for (let n: u32 = 0; n < R.PROGRAMS; n++) {
      const child = R.programAt(n);
      if (child.state == R.FREE || child.parent != p.pid || (pid > 0 && child.pid != <u32>pid)) continue;
      any = true;
      if (child.state != R.ZOMBIE) continue;
      child.state = R.FREE;
      waitStatus = child.waitStatus;
      return child.pid;
    }
    if (!any) return -E.ECHILD;
    if (nohang) { waitStatus = 0; return 0; }
    if (!pause(p.children, FOREVER)) return -E.EINTR;
  }
}
let waitStatus: u32 = 0;
export function waited(): u32 { return waitStatus; }

/** The signal for an exception (SDM 3A table 6-1). */
export function signalOfVector(vector: u32): u32 {
  switch (vector) {
    case 0: case 16: case 19: return SIGFPE;
    case 1: case 3: return SIGTRAP;
    case 6: return SIGILL;
    case 17: return SIGBUS;
  }
  return SIGSEGV;
}
