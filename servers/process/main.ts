/**
 * process: the personality. Programs `call` its endpoint; it never blocks in doing so for any of them: a request is copied, its Reply put aside, a fiber
 * works on it, and the loop receives the next one with another Reply. Files live in fs, terminals in tty, behind rings.
 *
 * The loop: run fibers -> receive (with the earliest deadline of a sleeping fiber) -> a request, a fault, or Notify bits.
 * A program has one Thread, so at most one request or fault in work; a second one from the same badge is refused.
 */
import { ERR_OK, FAULT_MESSAGE_EIP } from 'kintsugi/abi';
import { PROCESS_EXIT, ROLE_ENDPOINT, ROLE_PROCESS_ENDPOINT, SERVERS_PROCESS } from 'kintsugi/protocols';
import { Fiber, current, expireTimers, nextDeadline, runReady, spawn } from '../lib/fiber';
import { line } from '../lib/fmt';
import * as log from '../lib/log';
import { ringDispatch } from '../lib/ring';
import { serverInit } from '../lib/server';
import { argc, argv, needHandle, ready } from '../lib/startup';
import { isLit } from '../lib/str';
import * as sys from '../lib/sys';
import { EINVAL } from './errno';
import { bury, condemn, retryBurials, signalOfVector } from './lifecycle';
import { growStack, loaderInit } from './loader';
import { memoryInit } from './memory';
import { peersInit, ttyWatch } from './peers';
import * as R from './records';
import { Program } from './records';
import { answerReply, delivered, giveReply, receive, repliesInit } from './replies';
import { serve, serviceInit } from './service';
import { startFirst } from './start';

let backlog: u32 = 0; // programs whose request waits for a free fiber

export function main(page: usize): void {
  serverInit(page);
  R.recordsInit();
  repliesInit();
  memoryInit();
  peersInit();
  serviceInit();
  let follow = false;
  for (let n: u32 = 1; n < argc(); n++) if (isLit(argv(n), 'place=follow')) follow = true;
  loaderInit(needHandle(ROLE_PROCESS_ENDPOINT), R.PROGRAMS, follow);
  const endpoint = needHandle(ROLE_ENDPOINT);
  ready(SERVERS_PROCESS);
  startFirst();
  while (true) {
    runReady();
    if (backlog > 0) startBacklog();
    retryBurials();
    if (receive(endpoint, nextDeadline()) == ERR_OK) {
      if (sys.notified()) { ringDispatch(sys.pending()); ttyWatch(); }
      else received(delivered());
    }
    expireTimers();
  }
}

/** A request has been delivered; `reply` owes its answer. */
function received(reply: u32): void {
  const index = sys.badge() - 1;
  if (index >= R.PROGRAMS) { answerReply(reply, <u32>-EINVAL, 0, 0); return; }
  const p = R.programAt(index);
  if (sys.isFault()) { fault(p, reply); return; }
  if (p.state != R.RUNNING || p.reply != 0) { if (p.state == R.RUNNING) answerReply(reply, <u32>-EINVAL, 0, 0); else giveReply(reply); return; }
  const words = sys.words(), leases = sys.leaseCount();
  p.reply = reply;
  p.label = sys.label();
  p.w0 = sys.word(0); p.w1 = sys.word(1); p.w2 = sys.word(2);
  p.w3 = words > 3 ? sys.word(3) : 0;
  p.lease0 = words > 4 && leases > 0 ? sys.word(4) : 0;
  p.lease1 = words > 5 && leases > 1 ? sys.word(5) : 0;
  p.keySerial = sys.keySerial(); p.keySeq = sys.keySeq(); p.keySub = 0;
  p.r1 = 0; p.r2 = 0;
  p.interrupted = 0;
  if (!begin(p)) { p.queued = 1; backlog++; }
}
function begin(p: Program): bool {
  const f = spawn(work, changetype<usize>(p));
  if (changetype<usize>(f) == 0) return false;
  f.local = changetype<usize>(p);
  p.fiber = f;
  return true;
}
function startBacklog(): void {
  for (let n: u32 = 0; backlog > 0 && n < R.PROGRAMS; n++) {
    const p = R.programAt(n);
    if (p.queued != 1) continue;
    if (!begin(p)) return;
    p.queued = 0;
    backlog--;
  }
  runReady();
}

/** One request from its first line to the answer, or to the grave. */
function work(argument: usize): void {
  const p = changetype<Program>(argument);
  let result: i32 = 0;
  if (p.state == R.RUNNING) {
    if (p.label == PROCESS_EXIT) condemn(p, (p.w0 & 255) << 8);
    else result = serve(p);
  }
  p.waitsFor = 0;
  current().local = 0; // what follows is process's own work
  if (p.state == R.DYING) { bury(p); p.fiber = changetype<Fiber>(0); return; }
  p.fiber = changetype<Fiber>(0);
  const reply = p.reply;
  p.reply = 0;
  answerReply(reply, result, p.r1, p.r2);
}

const PAGE_FAULT: u32 = 14;
const FAULT_ANSWER_RESUME: u32 = 0;
/** An exception in a program: its stack grows, or it dies and the log says where. */
function fault(p: Program, reply: u32): void {
  const vector = sys.word(0), error = sys.word(1), eip = sys.word(FAULT_MESSAGE_EIP), address = sys.word(3);
  if (p.state != R.RUNNING) { giveReply(reply); return; }
  if (vector == PAGE_FAULT && (error & 1) == 0 && growStack(p, address)) { answerReply(reply, FAULT_ANSWER_RESUME, 0, 0); return; }
  const t = line().lit('program ').dec(p.pid).lit(' (').str(p.name).lit('): exception ').dec(vector).lit(' at ').hex(eip);
  if (vector == PAGE_FAULT) t.lit((error & 2) != 0 ? ', writing ' : (error & 16) != 0 ? ', executing ' : ', reading ').hex(address);
  log.warn(t);
  p.reply = reply;
  condemn(p, signalOfVector(vector));
}
