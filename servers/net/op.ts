/**
 * An operation of servers/protocols/net.ts on its way: made by the host (main.ts: one for each ring slot), given to `submit` (core.ts), the core's until `answer(op)`. An
 * operation that cannot be answered now is parked: on its socket (in order of arrival), or on a query of the resolver.
 */
import { Socket, wake } from './socket';

/** The operation waits; every other value is its status. */
export const PARKED: i32 = -100000;

@unmanaged @final export class Op {
  next: Op; // list of its socket, of its query, of answers
  code: u32; entry: u32 /* ring id, by which NET.cancel names it */; cookie: u32 /* the host's */;
  a0: u32; a1: u32; a2: u32; a3: u32; a4: u32; a5: u32;
  status: i32; r0: u32; r1: u32; r2: u32; r3: u32;
  socket: Socket; // parked there
  query: usize; // or there (dns.ts)
  begun: bool; // was parked once: a retry, not a first attempt
  cancelled: bool;
  listAll: Op; // all parked ones
}
export const OP_BYTES: usize = (offsetof<Op>() + 15) & ~15;

const NONE: Op = changetype<Op>(0);
let parkedFirst: Op = changetype<Op>(0);
export let parked: u32 = 0;
let answersFirst: Op = changetype<Op>(0);
let answersLast: Op = changetype<Op>(0);
export function opsInit(): void { parkedFirst = NONE; parked = 0; answersFirst = NONE; answersLast = NONE; }

function register(op: Op): void { op.begun = true; op.listAll = parkedFirst; parkedFirst = op; parked++; }
function unregister(op: Op): void {
  parked--;
  if (parkedFirst == op) { parkedFirst = op.listAll; return; }
  let p = parkedFirst;
  while (p.listAll != op) p = p.listAll;
  p.listAll = op.listAll;
}
/** At the end of the socket's list. */
export function park(op: Op, s: Socket): void {
  op.socket = s; op.next = NONE;
  if (s.ops == NONE) s.ops = op;
  else {
    let p = s.ops;
    while (p.next != NONE) p = p.next;
    p.next = op;
  }
  register(op);
}
export function parkOnQuery(op: Op, query: usize): void { op.query = query; register(op); }
/** Takes a parked operation out of its lists. */
export function unpark(op: Op): void {
  const s = op.socket;
  if (changetype<usize>(s) != 0) {
    if (s.ops == op) s.ops = op.next;
    else {
      let p = s.ops;
      while (p.next != op) p = p.next;
      p.next = op.next;
    }
  }
  op.socket = changetype<Socket>(0); op.query = 0; op.next = NONE;
  unregister(op);
}
/** The parked operation that came with this ring id, null when there is none. */
export function findParked(entry: u32): Op {
  let p = parkedFirst;
  while (p != NONE && p.entry != entry) p = p.listAll;
  return p;
}
/** Any parked operation that waits for this query. */
export function findByQuery(query: usize): Op {
  let p = parkedFirst;
  while (p != NONE && p.query != query) p = p.listAll;
  return p;
}
/** Goes out after the commit of this batch. */
export function complete(op: Op, status: i32): void {
  op.status = status; op.next = NONE;
  if (answersFirst == NONE) answersFirst = op; else answersLast.next = op;
  answersLast = op;
}
export function nextAnswer(): Op {
  const op = answersFirst;
  if (op != NONE) answersFirst = op.next;
  return op;
}
/** Everything parked on a socket that ends. */
export function failAll(s: Socket, status: i32): void {
  while (s.ops != NONE) {
    const op = s.ops;
    unpark(op);
    complete(op, status);
  }
}
export function wakeSocket(s: Socket): void { wake(s); }
