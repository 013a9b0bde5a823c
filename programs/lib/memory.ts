/**
 * The heap of a program: power-of-two size classes from 16 bytes on, each with a free list; fresh memory is cut from the heap region of the
 * startup page, which `brk` moves up. A block has an 8-byte header with its class. Out of memory ends the program with a message: no
 * program here can do anything better, and `process` has already refused with ENOMEM.
 *
 * `Bytes` is the growable byte buffer everything else is made of; `List` the same for words.
 */
import { sysBrk, sysExit, sysWrite } from './sys';
import { copyLiteral } from './text';

const HEADER: usize = 8;
const FIRST_CLASS: u32 = 4;
const CLASSES: u32 = 28;
const FREE: usize = memory.data(112, 4); // u32[CLASSES]
const GROW: usize = 65536;
let top: usize = 0;
let end: usize = 0;

/** The heap may use [start, limit) now, and more by brk. */
export function useHeap(start: usize, limit: usize): void {
  top = (start + 15) & ~15;
  end = limit;
}

function classOf(bytes: usize): u32 {
  let size: u32 = FIRST_CLASS;
  while ((<usize>1 << size) < bytes) size++;
  return size;
}

function outOfMemory(): void {
  const at = memory.data(32);
  const stop = copyLiteral(at, 'out of memory\n');
  sysWrite(2, at, <u32>(stop - at));
  sysExit(125);
}

/** `bytes` bytes, not zeroed. */
export function allocate(bytes: usize): usize {
  const size = classOf(bytes + HEADER);
  if (size >= CLASSES) outOfMemory();
  const list = FREE + (<usize>size << 2);
  const free = <usize>load<u32>(list);
  if (free) {
    store<u32>(list, load<u32>(free));
    return free;
  }
  const length = <usize>1 << size;
  if (top + length > end) {
    const wanted = (top + length + GROW - 1) & ~(GROW - 1);
    const got = <usize>sysBrk(wanted);
    if (<isize>got < 0 || got < wanted) outOfMemory();
    end = got;
  }
  const block = top;
  top += length;
  store<u32>(block, size);
  return block + HEADER;
}

export function release(block: usize): void {
  if (!block) return;
  const list = FREE + (<usize>load<u32>(block - HEADER) << 2);
  store<u32>(block, load<u32>(list));
  store<u32>(list, <u32>block);
}

export function zeroed(bytes: usize): usize {
  const block = allocate(bytes);
  memory.fill(block, 0, bytes);
  return block;
}

/** A copy of `length` bytes with a NUL behind. */
export function keep(at: usize, length: i32): usize {
  const block = allocate(length + 1);
  memory.copy(block, at, length);
  store<u8>(block + length, 0);
  return block;
}

/** Growable bytes. `finish()` puts a NUL behind (not counted) and returns the address, valid until the next push. */
@unmanaged @final export class Bytes {
  at: usize;
  length: i32;
  capacity: i32;

  static create(): Bytes {
    const self = changetype<Bytes>(allocate(offsetof<Bytes>()));
    self.capacity = 56;
    self.at = allocate(56);
    self.length = 0;
    return self;
  }
  free(): void { release(this.at); release(changetype<usize>(this)); }
  reserve(more: i32): void {
    const wanted = this.length + more + 1;
    if (wanted <= this.capacity) return;
    let capacity = this.capacity * 2 + 8;
    if (capacity < wanted) capacity = wanted + 8;
    const at = allocate(capacity);
    memory.copy(at, this.at, this.length);
    release(this.at);
    this.at = at;
    this.capacity = capacity;
  }
  push(byte: u32): void {
    if (this.length + 1 >= this.capacity) this.reserve(1);
    store<u8>(this.at + this.length, <u8>byte);
    this.length++;
  }
  pushBytes(at: usize, length: i32): void {
    this.reserve(length);
    memory.copy(this.at + this.length, at, length);
    this.length += length;
  }
  pushText(text: usize): void {
    while (load<u8>(text)) this.push(load<u8>(text++));
  }
  pushLiteral(literal: string): void {
    for (let i = 0; i < literal.length; i++) this.push(literal.charCodeAt(i));
  }
  get(index: i32): u32 { return load<u8>(this.at + index); }
  finish(): usize {
    if (this.length + 1 >= this.capacity) this.reserve(1);
    store<u8>(this.at + this.length, 0);
    return this.at;
  }
  /** An own copy of the content, NUL terminated. */
  take(): usize { return keep(this.at, this.length); }
}

/** Growable list of words (addresses, numbers). */
@unmanaged @final export class List {
  at: usize;
  length: i32;
  capacity: i32;

  static create(): List {
    const self = changetype<List>(allocate(offsetof<List>()));
    self.capacity = 14;
    self.at = allocate(56);
    self.length = 0;
    return self;
  }
  free(): void { release(this.at); release(changetype<usize>(this)); }
  push(value: usize): void {
    if (this.length == this.capacity) {
      const capacity = this.capacity * 2 + 2;
      const at = allocate(capacity << 2);
      memory.copy(at, this.at, this.length << 2);
      release(this.at);
      this.at = at;
      this.capacity = capacity;
    }
    store<u32>(this.at + (this.length << 2), <u32>value);
    this.length++;
  }
  get(index: i32): usize { return <usize>load<u32>(this.at + (index << 2)); }
  set(index: i32, value: usize): void { store<u32>(this.at + (index << 2), <u32>value); }
}
