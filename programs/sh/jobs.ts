/** Background commands of this shell: who they are, and reaping those that ended. */
import { List, keep, release } from '../lib/memory';
import { ECHILD, EINTR } from '../lib/errors';
import { flush, put, putByte, putNumber, putText } from '../lib/output';
import { secondResult, sysWait } from '../lib/sys';
import { exitStatus, setInterrupted } from './launch';

// Parallel lists: pid (0 = ended and reported), text, exit status or -1 while it runs.
let pids: List = changetype<List>(0);
let texts: List = changetype<List>(0);
let statuses: List = changetype<List>(0);
export let announce: bool = false;
export function setAnnounce(on: bool): void { announce = on; }

export function jobsBegin(): void {
  pids = List.create();
  texts = List.create();
  statuses = List.create();
}
export function addJob(pid: i32, at: usize, length: i32): void {
  pids.push(pid);
  texts.push(keep(at, length));
  statuses.push(<usize>-1);
  if (announce) { put('['); putNumber(pids.length); put('] '); putNumber(pid); putByte(10); flush(); }
}

/** Notes which jobs have ended; says so once when `report`. */
export function reapJobs(report: bool): void {
  for (let i = 0; i < pids.length; i++) {
    const pid = <i32>pids.get(i);
    if (!pid) continue;
    if (<i32>statuses.get(i) < 0 && sysWait(pid, true) == pid) statuses.set(i, <usize>exitStatus(secondResult()));
    if (<i32>statuses.get(i) >= 0 && report) { show(i); forget(i); }
  }
  while (pids.length && !pids.get(pids.length - 1)) { pids.length--; texts.length--; statuses.length--; }
}
function show(i: i32): void {
  put('['); putNumber(i + 1); put('] ');
  const status = <i32>statuses.get(i);
  if (status < 0) put('running');
  else if (status == 0) put('done');
  else { put('exit '); putNumber(status); }
  put('  ');
  putText(texts.get(i));
  putByte(10);
}
function forget(i: i32): void {
  release(texts.get(i));
  texts.set(i, 0);
  pids.set(i, 0);
}
export function listJobs(): void {
  reapJobs(false);
  for (let i = 0; i < pids.length; i++) {
    if (!pids.get(i)) continue;
    show(i);
    if (<i32>statuses.get(i) >= 0) forget(i);
  }
}
/** Pid of job number n (1..), 0 when there is none. */
export function jobPid(number: i32): i32 { return number > 0 && number <= pids.length ? <i32>pids.get(number - 1) : 0; }

/** Waits for one job (pid), or all with 0; the exit status. */
export function waitJobs(pid: i32): i32 {
  let status = pid ? 127 : 0;
  for (let i = 0; i < pids.length; i++) {
    const one = <i32>pids.get(i);
    if (!one || (pid && one != pid)) continue;
    while (<i32>statuses.get(i) < 0) {
      const got = sysWait(one, false);
      if (got == -EINTR) { setInterrupted(true); return 130; }
      statuses.set(i, got == -ECHILD || got < 0 ? 127 : <usize>exitStatus(secondResult()));
    }
    if (pid) status = <i32>statuses.get(i);
    forget(i);
  }
  return status;
}
