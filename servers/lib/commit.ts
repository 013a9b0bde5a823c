/**
 * The commit protocol of a stateful server: all changes of one request, or none, whatever instruction it dies at.
 *
 *   1 compute in private memory: a `Transaction` collects deltas (address, bytes) and the reply; outside effects only if keyed or read-only
 *   2 validate (the server), 3 open the window on the state Frames
 *   4 write the redo record {lsn, key, operation hash, reply, deltas, CRC} into the log half lsn & 1, then header.lsn: THIS STORE IS THE COMMIT
 *   5 apply the deltas and the stored reply in place, then header.applied = lsn
 *   6 close the window; the server answers
 * Attach replays lsn > applied. Applying twice is applying once: deltas are absolute values, the reply slot is named in the record.
 *
 * State region (Frames owned by the supervisor, mapped read-only, writable only between 3 and 6):
 *   page 0       header: HEADER below
 *   log          2 halves of `recordBytes`: RECORD header (64 bytes), then deltas {offset u32, bytes u32, data, padded to 4}
 *   replies      `replyCount` x 64 bytes: REPLY
 *   payload      the server's own state; `limit` may reach beyond the region when more memory is windowed right behind it
 *
 * Stored replies: a reply with a key (badge, Thread serial, seq, sub) stays until a later seq of the same (badge, serial) needs the room, so a
 * request that comes again after a restart gets the same answer, and its sub-requests too. A key that returns with another operation hash is
 * refused. With no room left the oldest reply goes, counted in `evicted`.
 *
 * Who may call: one fiber at a time between `begin` and `commit` on the same data (the server's own mutexes); `commit` itself never switches.
 * A transaction does not see its own deltas in place before `commit`.
 */
import { barrier } from 'kintsugi/x86';
import * as sys from './sys';
import { crc32 } from './crc32';
import { mustAlloc } from './alloc';
import { inRange } from './mem';

export const ATTACH_FRESH: u32 = 0; // zeroed Frames: initialise the payload between openWindow and formatDone
export const ATTACH_CLEAN: u32 = 1;
export const ATTACH_REPLAYED: u32 = 2;
export const ATTACH_CORRUPT: u32 = 3; // header or the committed record fails its checks: the state is not to be believed

export const KEY_NEW: u32 = 0;
export const KEY_DONE: u32 = 1; // committed before: the answer is in `answer`
export const KEY_MISMATCH: u32 = 2; // the key came before with another operation: refuse
export const KEY_CORRUPT: u32 = 3; // the stored reply fails its CRC: answer EIO

export const COMMIT_OK: u32 = 0;
export const COMMIT_RANGE: u32 = 1; // a delta lies outside the state
export const COMMIT_FULL: u32 = 2; // more deltas than a record holds: commit in bounded steps

const MAGIC: u32 = 0x4b434d54; // "TMCK"
const RECORD_MAGIC: u32 = 0x4f444552;
const HEADER_BYTES: u32 = 4096;
const RECORD_HEADER: u32 = 64;
const REPLY_BYTES: u32 = 64;
const NO_REPLY: u32 = 0xffffffff;
const BUCKETS: u32 = 256;
const NONE: u32 = 0xffff;

@unmanaged @final class Header { magic: u32; version: u32; bytes: u32; recordBytes: u32; replyCount: u32; crc: u32 /* of the fields before */; lsn: u32; applied: u32 }
@unmanaged @final class Record {
  magic: u32; lsn: u32; bytes: u32; crc: u32; // crc of everything after it, and of lsn and bytes
  keyBadge: u32; keySerial: u32; keySeq: u32; keySub: u32;
  operation: u32; status: i32; r0: u32; r1: u32; r2: u32; r3: u32;
  deltas: u32; replySlot: u32;
}
@unmanaged @final export class StoredReply {
  lsn: u32; // 0 = never used
  keyBadge: u32; keySerial: u32; keySeq: u32; keySub: u32;
  operation: u32; status: i32; r0: u32; r1: u32; r2: u32; r3: u32;
  crc: u32; // of the fields before
  free0: u32; free1: u32; free2: u32; free3: u32;
}
const REPLY_CRC_BYTES: u32 = 44;

/** Collected in private memory; one per fiber, reused. `error` sticks until `begin`. */
@unmanaged @final export class Transaction {
  log: CommitLog; record: Record; room: u32; error: u32;

  /** Empties the transaction. The key is that of the request; all 0 = unkeyed (no stored reply). */
  begin(keyBadge: u32, keySerial: u32, keySeq: u32, keySub: u32, operation: u32): void {
    const r = this.record;
    memory.fill(changetype<usize>(r), 0, RECORD_HEADER);
    r.magic = RECORD_MAGIC; r.bytes = RECORD_HEADER;
    r.keyBadge = keyBadge; r.keySerial = keySerial; r.keySeq = keySeq; r.keySub = keySub; r.operation = operation;
    this.error = COMMIT_OK;
  }
  /** `bytes` bytes at `from` will be written to `to`, an address in the state. */
  put(to: usize, from: usize, bytes: u32): void {
    const p = this.reserve(to, bytes);
    if (p != 0) memory.copy(p, from, bytes);
  }
  putZero(to: usize, bytes: u32): void {
    const p = this.reserve(to, bytes);
    if (p != 0) memory.fill(p, 0, bytes);
  }
  put8(to: usize, value: u32): void { const p = this.reserve(to, 1); if (p != 0) store<u8>(p, <u8>value); }
  put16(to: usize, value: u32): void { const p = this.reserve(to, 2); if (p != 0) store<u16>(p, <u16>value); }
  put32(to: usize, value: u32): void { const p = this.reserve(to, 4); if (p != 0) store<u32>(p, value); }
  put64(to: usize, value: u64): void { const p = this.reserve(to, 8); if (p != 0) store<u64>(p, value); }
  private reserve(to: usize, bytes: u32): usize {
    const r = this.record, log = this.log;
    const offset = <u32>(to - log.base);
    if (to < log.base || offset < log.payloadOffset || !inRange(offset, bytes, log.limit)) { this.error = COMMIT_RANGE; return 0; }
    const padded = (bytes + 3) & ~3;
    if (padded < bytes || padded + 8 > this.room - r.bytes) { if (this.error == COMMIT_OK) this.error = COMMIT_FULL; return 0; }
    const p = changetype<usize>(r) + r.bytes;
    store<u32>(p, offset); store<u32>(p, bytes, 4);
    if (padded != bytes) store<u32>(p + 4 + padded, 0);
    r.bytes += 8 + padded;
    r.deltas++;
    return p + 8;
  }
  /** Bytes of deltas that still fit (8 + length rounded to 4, each). */
  left(): u32 { return this.room - this.record.bytes; }
  /** The answer that a repetition of this key will get. */
  reply(status: i32, r0: u32, r1: u32, r2: u32, r3: u32): void {
    const r = this.record;
    r.status = status; r.r0 = r0; r.r1 = r1; r.r2 = r2; r.r3 = r3;
  }
}

@unmanaged @final export class CommitLog {
  base: usize; bytes: u32; limit: u32; windowFrames: u32;
  recordBytes: u32; replyCount: u32; repliesOffset: u32; payloadOffset: u32;
  attached: u32; // ATTACH_*
  heads: usize; nexts: usize; freeReply: u32; // private index of the replies: u16 buckets over (badge, serial), u16 chains
  commits: u32; evicted: u32; duplicates: u32;
  answer: StoredReply; // of the last lookup that said KEY_DONE

  payload(): usize { return this.base + this.payloadOffset; }
  payloadBytes(): u32 { return this.bytes - this.payloadOffset; }
  private header(): Header { return changetype<Header>(this.base); }
  private half(lsn: u32): usize { return this.base + HEADER_BYTES + <usize>((lsn & 1) * this.recordBytes); }
  private replyAt(n: u32): StoredReply { return changetype<StoredReply>(this.base + this.repliesOffset + <usize>n * REPLY_BYTES); }
  lsn(): u32 { return this.header().lsn; }

  openWindow(): void { if (this.windowFrames != 0) sys.check(sys.window(this.windowFrames, 1), FAULT_WINDOW); }
  closeWindow(): void { if (this.windowFrames != 0) sys.window(this.windowFrames, 0); }

  /** After ATTACH_FRESH and after the payload was initialised inside the window: from now on the state exists. */
  formatDone(): void {
    this.openWindow();
    const h = this.header();
    h.version = 1; h.bytes = this.bytes; h.recordBytes = this.recordBytes; h.replyCount = this.replyCount;
    h.lsn = 0; h.applied = 0;
    const sum = headerCrc(MAGIC, h);
    h.crc = sum;
    barrier();
    h.magic = MAGIC;
    this.closeWindow();
    this.attached = ATTACH_CLEAN;
  }

  /** Has this key been committed? Ask before computing. `operation` = hash of the operation and its arguments (`operationHash`). */
  lookup(keyBadge: u32, keySerial: u32, keySeq: u32, keySub: u32, operation: u32): u32 {
    if ((keyBadge | keySerial) == 0) return KEY_NEW;
    let n = this.chain(keyBadge, keySerial);
    while (n != NONE) {
      const r = this.replyAt(n);
      if (r.keySeq == keySeq && r.keySub == keySub && r.keyBadge == keyBadge && r.keySerial == keySerial) {
        if (r.crc != crc32(0, changetype<usize>(r), REPLY_CRC_BYTES)) return KEY_CORRUPT;
        if (r.operation != operation) return KEY_MISMATCH;
        this.answer = r;
        this.duplicates++;
        return KEY_DONE;
      }
      n = load<u16>(this.nexts + (<usize>n << 1));
    }
    return KEY_NEW;
  }

  /** Steps 3-6. COMMIT_OK, or the transaction's error, and then nothing happened. */
  commit(t: Transaction): u32 {
    if (t.error != COMMIT_OK) return t.error;
    const h = this.header();
    const r = t.record;
    const slot = this.chooseReply(r.keyBadge, r.keySerial, r.keySeq);
    const lsn = h.lsn + 1;
    r.lsn = lsn; r.replySlot = slot;
    r.crc = recordCrc(changetype<usize>(r));
    this.openWindow();
    const at = this.half(lsn);
    memory.copy(at, changetype<usize>(r), r.bytes);
    barrier();
    h.lsn = lsn; // committed
    barrier();
    this.apply(at);
    barrier();
    h.applied = lsn;
    this.closeWindow();
    this.commits++;
    if (slot != NO_REPLY) this.index(slot);
    return COMMIT_OK;
  }
  /** Writes a record's deltas and reply in place. */
  private apply(at: usize): void {
    const r = changetype<Record>(at);
    let p = at + RECORD_HEADER;
    for (let n: u32 = 0; n < r.deltas; n++) {
      const bytes = load<u32>(p, 4);
      memory.copy(this.base + load<u32>(p), p + 8, bytes);
      p += 8 + ((bytes + 3) & ~3);
    }
    if (r.replySlot == NO_REPLY) return;
    const s = this.replyAt(r.replySlot);
    s.lsn = r.lsn;
    s.keyBadge = r.keyBadge; s.keySerial = r.keySerial; s.keySeq = r.keySeq; s.keySub = r.keySub;
    s.operation = r.operation; s.status = r.status; s.r0 = r.r0; s.r1 = r.r1; s.r2 = r.r2; s.r3 = r.r3;
    s.crc = crc32(0, changetype<usize>(s), REPLY_CRC_BYTES);
  }
  /** A committed record: lengths within bounds and CRC right. */
  private valid(at: usize, lsn: u32): bool {
    const r = changetype<Record>(at);
    if (r.magic != RECORD_MAGIC || r.lsn != lsn || r.bytes < RECORD_HEADER || r.bytes > this.recordBytes) return false;
    if (r.crc != recordCrc(at)) return false;
    if (r.replySlot != NO_REPLY && r.replySlot >= this.replyCount) return false;
    let p: u32 = RECORD_HEADER;
    for (let n: u32 = 0; n < r.deltas; n++) {
      if (!inRange(p, 8, r.bytes)) return false;
      const offset = load<u32>(at + p), bytes = load<u32>(at + p, 4);
      if (offset < this.payloadOffset || !inRange(offset, bytes, this.limit) || !inRange(p + 8, bytes, r.bytes)) return false;
      p += 8 + ((bytes + 3) & ~3);
    }
    return p == r.bytes;
  }

  // Private index of the stored replies.
  private bucket(keyBadge: u32, keySerial: u32): usize { return this.heads + (<usize>((keyBadge * 0x9e3779b1 + keySerial * 0x85ebca6b) >> 24) << 1); }
  private chain(keyBadge: u32, keySerial: u32): u32 { return load<u16>(this.bucket(keyBadge, keySerial)); }
  private index(n: u32): void {
    const r = this.replyAt(n);
    const b = this.bucket(r.keyBadge, r.keySerial);
    store<u16>(this.nexts + (<usize>n << 1), load<u16>(b));
    store<u16>(b, <u16>n);
  }
  private unindex(n: u32): void {
    const r = this.replyAt(n);
    let link = this.bucket(r.keyBadge, r.keySerial);
    while (load<u16>(link) != <u16>n) {
      if (load<u16>(link) == <u16>NONE) return;
      link = this.nexts + (<usize>load<u16>(link) << 1);
    }
    store<u16>(link, load<u16>(this.nexts + (<usize>n << 1)));
  }
  /** The slot for the reply of a key: one of an earlier seq of the same caller, a fresh one, or the oldest. Unindexed on return. */
  private chooseReply(keyBadge: u32, keySerial: u32, keySeq: u32): u32 {
    if ((keyBadge | keySerial) == 0 || this.replyCount == 0) return NO_REPLY;
    let n = this.chain(keyBadge, keySerial);
    while (n != NONE) {
      const r = this.replyAt(n);
      if (r.keyBadge == keyBadge && r.keySerial == keySerial && r.keySeq != keySeq) { this.unindex(n); return n; }
      n = load<u16>(this.nexts + (<usize>n << 1));
    }
    if (this.freeReply < this.replyCount) { n = this.freeReply; this.freeReply++; return n; }
    let oldest: u32 = 0;
    for (let k: u32 = 1; k < this.replyCount; k++) if (<i32>(this.replyAt(k).lsn - this.replyAt(oldest).lsn) < 0) oldest = k;
    this.evicted++;
    this.unindex(oldest);
    return oldest;
  }

  /** A transaction of this log (from the heap, once per fiber). */
  transaction(): Transaction {
    const t = changetype<Transaction>(mustAlloc(offsetof<Transaction>()));
    t.log = this; t.room = this.recordBytes;
    t.record = changetype<Record>(mustAlloc(this.recordBytes));
    t.begin(0, 0, 0, 0, 0);
    return t;
  }

  attach(): u32 {
    const h = this.header();
    memory.fill(this.heads, 0xff, BUCKETS << 1);
    this.freeReply = 0;
    if (h.magic == 0) { this.attached = ATTACH_FRESH; return ATTACH_FRESH; }
    this.attached = ATTACH_CORRUPT;
    if (h.magic != MAGIC || h.bytes != this.bytes || h.recordBytes != this.recordBytes || h.replyCount != this.replyCount || h.crc != headerCrc(MAGIC, h)) return ATTACH_CORRUPT;
    if (h.lsn != h.applied) {
      const at = this.half(h.lsn);
      if (h.lsn != h.applied + 1 || !this.valid(at, h.lsn)) return ATTACH_CORRUPT;
      this.openWindow();
      this.apply(at);
      barrier();
      h.applied = h.lsn;
      this.closeWindow();
      this.attached = ATTACH_REPLAYED;
    } else this.attached = ATTACH_CLEAN;
    // Slots are given out in order, so the unused ones are at the end.
    for (let n: u32 = 0; n < this.replyCount; n++) if (this.replyAt(n).lsn != 0) { this.index(n); this.freeReply = n + 1; }
    return this.attached;
  }
}
/** Code of the deliberate fault when the window cannot be opened. */
export const FAULT_WINDOW: u32 = 0x57490000;

function headerCrc(magic: u32, h: Header): u32 {
  store<u32>(SCRATCH, magic); store<u32>(SCRATCH, h.version, 4); store<u32>(SCRATCH, h.bytes, 8);
  store<u32>(SCRATCH, h.recordBytes, 12); store<u32>(SCRATCH, h.replyCount, 16);
  return crc32(0, SCRATCH, 20);
}
const SCRATCH: usize = memory.data(20, 4);
function recordCrc(at: usize): u32 {
  const r = changetype<Record>(at);
  return crc32(crc32(0, at + 4, 8), at + 16, r.bytes - 16);
}
/** Hash of an operation and its arguments, for keys: FNV-1a over words; start with `operationHash(0, op)` and chain. */
export function operationHash(hash: u32, value: u32): u32 {
  let h = hash == 0 ? 0x811c9dc5 : hash;
  for (let n = 0; n < 4; n++) {
    h = (h ^ (value & 255)) * 0x01000193;
    value >>= 8;
  }
  return h;
}
export function operationHashBytes(hash: u32, at: usize, bytes: u32): u32 { return operationHash(hash, crc32(0, at, bytes)); }

/**
 * Attaches to the state region at `base`. `limit` >= bytes: how far behind `base` deltas may reach (windowed memory behind the state).
 * `windowFrames` = handle with the window right, 0 = the region is plainly writable. `recordBytes` (multiple of 64) bounds one transaction,
 * `replies` (< 65535) the stored replies. Look at `attached` of the result.
 */
export function commitAttach(base: usize, bytes: u32, limit: u32, windowFrames: u32, recordBytes: u32, replies: u32): CommitLog {
  const c = changetype<CommitLog>(mustAlloc(offsetof<CommitLog>()));
  c.base = base; c.bytes = bytes; c.limit = limit; c.windowFrames = windowFrames;
  c.recordBytes = recordBytes; c.replyCount = replies;
  c.repliesOffset = HEADER_BYTES + 2 * recordBytes;
  c.payloadOffset = (c.repliesOffset + replies * REPLY_BYTES + 4095) & ~4095;
  c.heads = mustAlloc(BUCKETS << 1);
  c.nexts = mustAlloc(replies << 1);
  c.attach();
  return c;
}
