// Test entry: servers/lib through plain exported functions.
import { heapInit, alloc, free, pages, Pool, poolInit } from '../../../servers/lib/alloc';
import { CommitLog, Transaction, commitAttach } from '../../../servers/lib/commit';
import { elfParse, elfImage } from '../../../servers/lib/elf';
import { ringDispatch, ringOwnerAt, ringWorkerAt, RingOwner, RingWorker, Request } from '../../../servers/lib/ring';
import { fibersInitEmpty } from '../../../servers/lib/fiber';
import { textInit, Text } from '../../../servers/lib/fmt';
import * as crc from '../../../servers/lib/crc32';
import * as print from '../../../servers/lib/fingerprint';
import * as bm from '../../../servers/lib/bitmap';
import * as str from '../../../servers/lib/str';
import * as mem from '../../../servers/lib/mem';

export function init(heap: usize, bytes: usize): void { heapInit(heap, bytes); fibersInitEmpty(); }
export function crc32(at: usize, bytes: u32): u32 { return crc.crc32(0, at, bytes); }
export function fingerprint(at: usize, bytes: u32): u32 { return print.fingerprint(at, bytes); }
export function fingerprintHigh(): u32 { return print.fingerprintHigh; }
export function bitmapFindClear(map: usize, bits: u32, from: u32): i32 { return bm.findClear(map, bits, from); }
export function bitmapCount(map: usize, bits: u32): u32 { return bm.count(map, bits); }
export function option(line: usize, room: usize): usize { store<u32>(room, 0); return str.option(line, "run"); }
export function inRange(offset: u32, bytes: u32, size: u32): bool { return mem.inRange(offset, bytes, size); }
export function format(at: usize, room: u32, n: u32, s: i32): u32 {
  const t = changetype<Text>(alloc(12));
  textInit(t, at, room).lit("n=").dec(n).lit(" s=").sdec(s).lit(" h=").hex(n).lit(" p=").decPad(n, 6);
  return t.length;
}
export function allocate(bytes: u32): usize { return alloc(bytes); }
export function release(at: usize): void { free(at); }
export function takePages(n: u32): usize { return pages(n); }
export function poolNew(bytes: u32, count: u32): usize { const p = alloc(offsetof<Pool>()); poolInit(changetype<Pool>(p), bytes, count); return p; }
export function poolTake(p: usize): usize { return changetype<Pool>(p).take(); }
export function poolGive(p: usize, e: usize): void { changetype<Pool>(p).give(e); }

export function elf(file: usize, bytes: u32, lowest: u32, highest: u32, out: usize): u32 { return elfParse(file, bytes, lowest, highest, elfImage(out)); }

// commit
export function attach(base: usize, bytes: u32, limit: u32, window: u32, record: u32, replies: u32): usize { return changetype<usize>(commitAttach(base, bytes, limit, window, record, replies)); }
export function attached(c: usize): u32 { return changetype<CommitLog>(c).attached; }
export function formatDone(c: usize): void { changetype<CommitLog>(c).formatDone(); }
export function payload(c: usize): usize { return changetype<CommitLog>(c).payload(); }
export function lookup(c: usize, kb: u32, ks: u32, kq: u32, sub: u32, op: u32): u32 { return changetype<CommitLog>(c).lookup(kb, ks, kq, sub, op); }
export function answer0(c: usize): u32 { return changetype<CommitLog>(c).answer.r0; }
export function evicted(c: usize): u32 { return changetype<CommitLog>(c).evicted; }
export function transaction(c: usize): usize { return changetype<usize>(changetype<CommitLog>(c).transaction()); }
export function begin(t: usize, kb: u32, ks: u32, kq: u32, sub: u32, op: u32): void { changetype<Transaction>(t).begin(kb, ks, kq, sub, op); }
export function put(t: usize, to: usize, from: usize, bytes: u32): void { changetype<Transaction>(t).put(to, from, bytes); }
export function put32(t: usize, to: usize, value: u32): void { changetype<Transaction>(t).put32(to, value); }
export function reply(t: usize, status: i32, r0: u32): void { changetype<Transaction>(t).reply(status, r0, 0, 0, 0); }
export function commit(c: usize, t: usize): u32 { return changetype<CommitLog>(c).commit(changetype<Transaction>(t)); }

// rings
export function owner(n: u32, request: usize, status: usize, epoch: u32): usize { return changetype<usize>(ringOwnerAt(n, request, status, 0, 0, 1, 1, epoch)); }
export function worker(n: u32, request: usize, status: usize, epoch: u32): usize { return changetype<usize>(ringWorkerAt(n, request, status, 0, 0, 1, 1, epoch)); }
export function claim(o: usize, op: u32, cookie: u32): i32 {
  const n = changetype<RingOwner>(o).claim(op, 0);
  if (n >= 0) changetype<RingOwner>(o).slot(n).cookie = cookie;
  return n;
}
export function post(o: usize, n: u32): void { changetype<RingOwner>(o).post(n); }
export function reap(o: usize): u32 { return changetype<RingOwner>(o).reap(); }
export function poll(o: usize): i32 { return changetype<RingOwner>(o).poll(); }
export function slotStatus(o: usize, n: u32): i32 { return changetype<RingOwner>(o).slot(n).status; }
export function slotResult(o: usize, n: u32): u32 { return changetype<RingOwner>(o).slot(n).r0; }
export function slotCookie(o: usize, n: u32): u32 { return changetype<RingOwner>(o).slot(n).cookie; }
export function slotRelease(o: usize, n: u32): void { changetype<RingOwner>(o).release(n); }
export function abandon(o: usize, n: u32): void { changetype<RingOwner>(o).abandon(n); }
export function freeSlots(o: usize): u32 { return changetype<RingOwner>(o).free; }
export function orphans(o: usize): u32 { return changetype<RingOwner>(o).orphans; }
export function reposted(o: usize): u32 { return changetype<RingOwner>(o).reposted; }
export function repaired(o: usize): u32 { return changetype<RingOwner>(o).repaired; }
export function damaged(w: usize): u32 { return changetype<RingWorker>(w).damaged; }
export function doubled(w: usize): u32 { return changetype<RingWorker>(w).doubled; }
export function argument(o: usize, n: u32, index: u32, value: u32): void { changetype<RingOwner>(o).arg(n, index, value); }
export function knock(o: usize): void { changetype<RingOwner>(o).knock(); }
export function dispatch(bits: u32): void { ringDispatch(bits); }
export function refused(o: usize): u32 { return changetype<RingOwner>(o).refused; }
const REQUEST: Request = changetype<Request>(memory.data(128, 4));
/** Slot taken, -1 when there is nothing; the request's op is `takenOp()`, its id `takenId()`. */
export function take(w: usize): i32 { return changetype<RingWorker>(w).next(REQUEST) ? <i32>REQUEST.slot : -1; }
export function takenOp(): u32 { return REQUEST.op; }
export function takenId(): u32 { return REQUEST.id; }
export function complete(w: usize, slot: u32, status: i32, r0: u32): void { changetype<RingWorker>(w).complete(slot, status, r0, 0, 0, 0); }
