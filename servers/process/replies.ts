/**
 * The pool of Replies. One is the Thread's current one: armed while the loop receives, owing once a request was delivered. If that request is
 * answered before the loop receives again, the answer waits for it and goes out with `reply_recv`, the kernel's fast path; if not, the Reply stays
 * with the program and the loop goes on with another from the pool.
 */
import { ROLE_REPLY_COUNT, ROLE_REPLY_POOL } from 'kintsugi/protocols';
import { mustAlloc } from '../lib/alloc';
import { handle, needHandle } from '../lib/startup';
import * as sys from '../lib/sys';

let stack: usize = 0;
let count: u32 = 0;

let current: u32 = 0;
let owing: bool = false; // `current` owes an answer
let answered: bool = false; // and this is it
let answer0: u32 = 0, answer1: u32 = 0, answer2: u32 = 0;

export function repliesInit(): void {
  const first = needHandle(ROLE_REPLY_POOL), total = handle(ROLE_REPLY_COUNT);
  stack = mustAlloc(total * 4);
  while (count < total) put(first + count);
}
function put(reply: u32): void {
  store<u32>(stack + (<usize>count << 2), reply);
  count++;
}
/** More Replies than program slots: the pool is never empty. */
function take(): u32 {
  count--;
  return load<u32>(stack + (<usize>count << 2));
}

/** Sends the answer that waits, if any, and receives. */
export function receive(endpoint: u32, deadline: u64): u32 {
  if (answered) {
    answered = false;
    owing = false;
    return sys.replyRecv(endpoint, sys.tag(0, 3), answer0, answer1, answer2, deadline);
  }
  if (owing || current == 0) {
    current = take();
    owing = false;
  }
  return sys.recv(endpoint, current, deadline);
}
/** A request or fault has arrived: the Reply that owes its answer. */
export function delivered(): u32 {
  owing = true;
  return current;
}
/** Answers and takes the Reply back. */
export function answerReply(reply: u32, w0: u32, w1: u32, w2: u32): void {
  if (reply == current && owing) {
    answered = true;
    answer0 = w0; answer1 = w1; answer2 = w2;
    return;
  }
  sys.reply(reply, sys.tag(0, 3), w0, w1, w2);
  put(reply);
}
/** Takes back a Reply whose caller is gone or stopped for ever: an answer to nobody makes it idle. */
export function giveReply(reply: u32): void { answerReply(reply, 0, 0, 0); }
