/**
 * Space: an address space. A root (PDPT) with three page directories for the user GiBs, the fourth being the kernel's; page tables and mapping
 * records come from a pool of donated pages, never from elsewhere.
 *
 * Layout: header 192 bytes, aligned to 64: object header, fields, then at 128 two PDPTs of 32 bytes: `root` and, beside it, the root of the
 * `window`. The window root shares everything with the first except those page tables of GiB 1 (0x40000000-0x7fffffff) in which pages were
 * declared by `window`: they exist twice, read-only in the first root and writable in the second. Every change of an entry goes to both.
 *
 * A mapping record (32 bytes) describes adjacent pages of one Frames within one page table (2 MiB); records hang on the page table
 * (pageInfo of its page) and on their Frames. `extent` = pages | rights << 16, the rights being those of the capability that mapped it.
 * Invariants: a user PTE is present if and only if exactly one record covers it; poolCount pages are on the pool list.
 *
 * Structural lock held throughout. A range operation works on at most 256 pages and then offers a preemption point; `progress` of the Thread
 * says how far it came. Translations are flushed before the lock is released.
 */
import { ERR_OK, ERR_ARG, ERR_RANGE, ERR_MEMORY, ERR_EXISTS, ERR_RIGHTS, ERR_FAULT, FRAMES_RIGHTS_READ, FRAMES_RIGHTS_WRITE, FRAMES_RIGHTS_EXECUTE } from 'kintsugi/abi';
import { KObject, OBJ_POOL } from '../core/capability';
import { Frames } from './frames';
import { Untyped, adopt, disown, hasRoom, takePages, takeObject } from './untyped';
import { threadsLoseSpace } from './thread';
import { Cpu } from '../arch/cpu';
import { forgetPorts } from '../arch/extras';
import { lockIpc, unlockIpc } from '../core/lock';
import { nil, none, same } from '../core/pointer';
import { PREEMPTED, STEP_PAGES } from '../core/state';
import { flushRoot, flushPage, abandonRoot } from '../core/shootdown';
import { P, W, U, PCD, PWT, A, D, NX, ADDRESS, entryAt, setEntry, virt, phys, infoOf, kernelPd, KERNEL_BASE, DIRECT_BYTES } from '../arch/paging';

@unmanaged @final export class Mapping {
  frames: Frames;
  space: Space;
  va: usize;
  first: u32; // page in the Frames
  extent: u32; // pages (1..512) | rights << 16
  next: Mapping; // same page table
  nextOfFrames: Mapping; prevOfFrames: Mapping;
}
/** Ties donated pages to the Untyped they came from. */
@unmanaged @final export class Pool extends KObject {
  space: Space;
  nextPool: Pool;
}
@unmanaged @final export class Space extends KObject {
  root: u32; // physical address of the PDPT
  pds: usize; // three page directories
  windowPd: usize; // second directory of GiB 1, 0 = no window declared
  poolFree: usize; poolCount: u32;
  records: Mapping; // free records
  recordCount: u32;
  pools: Pool;
  portCount: u32;
  ports0: u32; ports1: u32; ports2: u32; ports3: u32; // first | count << 16
  destroyed: u32; // page directory entries below are gone
  threads: u32; // Threads configured with this Space
}
export const SPACE_BYTES: u32 = 192;
const ROOTS: usize = 128;
const WINDOW_GIB: u32 = 1;
const RECORDS_PER_PAGE: u32 = 128;
export const USER_END: usize = 0xc0000000;

export function spaceInit(s: Space, pds: usize): void {
  const root = changetype<usize>(s) + ROOTS;
  s.pds = pds;
  s.root = phys(root);
  for (let n: u32 = 0; n < 3; n++) {
    const e = <u64>phys(pds + (<usize>n << 12)) | <u64>P;
    setEntry(root, n, e);
    setEntry(root + 32, n, e);
  }
  setEntry(root, 3, <u64>phys(kernelPd) | <u64>P);
  setEntry(root + 32, 3, <u64>phys(kernelPd) | <u64>P);
}

// ---- tables ----------------------------------------------------------------------------------------------------------------------------

@inline function pdOf(s: Space, va: usize): usize { return s.pds + ((va >> 30) << 12); }
@inline function pdIndex(va: usize): u32 { return <u32>(va >> 21) & 511; }
@inline function ptIndex(va: usize): u32 { return <u32>(va >> 12) & 511; }
/** Kernel address of the page table for `va`, 0 = none. */
@inline function tableOfVa(s: Space, va: usize): usize {
  const e = <u32>entryAt(pdOf(s, va), pdIndex(va));
  return (e & P) == 0 ? 0 : virt(e & 0xfffff000);
}
/** The table of the window root, 0 when it is the same one. */
function windowTable(s: Space, va: usize): usize {
  if (s.windowPd == 0 || <u32>(va >> 30) != WINDOW_GIB) return 0;
  const e = <u32>entryAt(s.windowPd, pdIndex(va));
  if ((e & P) == 0) return 0;
  const t = virt(e & 0xfffff000);
  return t == tableOfVa(s, va) ? 0 : t;
}
/** The user PTE of `va`, 0 when nothing is mapped there. */
export function entryOf(s: Space, va: usize): u64 {
  if (va >= USER_END) return 0;
  const t = tableOfVa(s, va);
  return t == 0 ? 0 : entryAt(t, ptIndex(va));
}
/** A pool page, cleared. The caller has counted. */
function takePage(s: Space): usize {
  const p = s.poolFree;
  s.poolFree = load<usize>(p);
  s.poolCount--;
  store<usize>(p, 0);
  return p;
}
function takeRecord(s: Space): Mapping {
  if (nil(s.records)) {
    const page = takePage(s);
    for (let n: usize = 0; n < <usize>RECORDS_PER_PAGE; n++) giveRecord(s, changetype<Mapping>(page + (n << 5)));
  }
  const m = s.records;
  s.records = m.next;
  s.recordCount--;
  return m;
}
function giveRecord(s: Space, m: Mapping): void {
  m.next = s.records;
  s.records = m;
  s.recordCount++;
}
/** Are `tables` pages and `records` records to be had? */
function poolHas(s: Space, tables: u32, records: u32): bool {
  const more = records > s.recordCount ? (records - s.recordCount + RECORDS_PER_PAGE - 1) / RECORDS_PER_PAGE : 0;
  return tables + more <= s.poolCount;
}
function makeTable(s: Space, va: usize): usize {
  const t = takePage(s);
  store<usize>(infoOf(phys(t)), 0);
  const e = <u64>phys(t) | <u64>(P | W | U);
  setEntry(pdOf(s, va), pdIndex(va), e);
  if (s.windowPd != 0 && <u32>(va >> 30) == WINDOW_GIB) setEntry(s.windowPd, pdIndex(va), e);
  return t;
}
@inline function firstRecord(table: usize): Mapping { return changetype<Mapping>(load<usize>(infoOf(phys(table)))); }
@inline function setFirstRecord(table: usize, m: Mapping): void { store<usize>(infoOf(phys(table)), changetype<usize>(m)); }

/** End of the part of [va, end) that lies in the page table of `va`. */
@inline function endInTable(va: usize, end: usize): usize {
  const e = (va & ~(<usize>0x1fffff)) + 0x200000;
  return e < end ? e : end;
}
/** PTE flags of r=1 w=2 x=4 uncached=8. */
function flagsOf(rights: u32): u64 {
  return <u64>(P | U | ((rights & 2) != 0 ? W : 0) | ((rights & 8) != 0 ? PCD | PWT : 0)) | ((rights & 4) != 0 ? 0 : NX);
}
function record(s: Space, table: usize, f: Frames, va: usize, first: u32, pages: u32, rights: u32): void {
  const m = takeRecord(s);
  m.frames = f; m.space = s; m.va = va; m.first = first; m.extent = pages | (rights << 16);
  m.next = firstRecord(table);
  setFirstRecord(table, m);
  m.prevOfFrames = none<Mapping>();
  m.nextOfFrames = f.maps;
  if (!nil(f.maps)) f.maps.prevOfFrames = m;
  f.maps = m;
  f.mapCount++;
}
function unlinkRecord(table: usize, m: Mapping): void {
  const f = m.frames;
  if (same(firstRecord(table), m)) setFirstRecord(table, m.next);
  else {
    let p = firstRecord(table);
    while (!same(p.next, m)) p = p.next;
    p.next = m.next;
  }
  if (!nil(m.nextOfFrames)) m.nextOfFrames.prevOfFrames = m.prevOfFrames;
  if (!nil(m.prevOfFrames)) m.prevOfFrames.nextOfFrames = m.nextOfFrames; else f.maps = m.nextOfFrames;
  f.mapCount--;
  giveRecord(m.space, m);
}
/** The record that covers `va`; there is one if the PTE is present. */
export function recordOf(s: Space, va: usize): Mapping {
  const t = tableOfVa(s, va);
  if (t == 0) return none<Mapping>();
  let m = firstRecord(t);
  while (!nil(m)) {
    if (va >= m.va && va - m.va < (<usize>(m.extent & 0xffff) << 12)) return m;
    m = m.next;
  }
  return m;
}
function clearEntries(s: Space, table: usize, va: usize, pages: u32): void {
  const second = windowTable(s, va);
  for (let n: u32 = 0; n < pages; n++) {
    setEntry(table, ptIndex(va) + n, 0);
    if (second != 0) setEntry(second, ptIndex(va) + n, 0);
  }
}

// ---- range operations on decoded arguments ---------------------------------------------------------------------------------------------

/** va and pages name a page-aligned range of user addresses, not empty. */
export function validRange(va: usize, pages: u32): bool {
  return pages != 0 && pages <= 0xc0000 && (va & 4095) == 0 && va < USER_END && (<usize>pages << 12) <= USER_END - va;
}
/** Nothing mapped in the range, and tables that would be needed for it in `missing`. */
function rangeFree(s: Space, va: usize, end: usize): bool {
  while (va < end) {
    const stop = endInTable(va, end);
    const t = tableOfVa(s, va);
    if (t != 0 && !nil(firstRecord(t))) {
      for (let a = va; a < stop; a += 4096) if (entryAt(t, ptIndex(a)) != 0) return false;
    }
    va = stop;
  }
  return true;
}
function missingTables(s: Space, va: usize, end: usize): u32 {
  let n: u32 = 0;
  while (va < end) {
    if (tableOfVa(s, va) == 0) n++;
    va = endInTable(va, end);
  }
  return n;
}
export function mapRange(s: Space, f: Frames, va: usize, first: u32, pages: u32, rights: u32, capRights: u32, caller: usize): u32 {
  // `caller` points to the progress word of the Thread
  let done = load<u32>(caller);
  if (done > pages) done = 0;
  const step = pages - done < STEP_PAGES ? pages - done : STEP_PAGES;
  let at = va + (<usize>done << 12);
  const end = at + (<usize>step << 12);
  if (!rangeFree(s, at, done == 0 && pages <= 4096 ? va + (<usize>pages << 12) : end)) return ERR_EXISTS;
  const tables = missingTables(s, at, end);
  if (!poolHas(s, tables, 2)) return ERR_MEMORY;
  // ---- commit ----
  let page = first + done;
  while (at < end) {
    const stop = endInTable(at, end);
    const n = <u32>((stop - at) >> 12);
    let t = tableOfVa(s, at);
    if (t == 0) t = makeTable(s, at);
    const second = windowTable(s, at);
    const flags = flagsOf(rights);
    for (let k: u32 = 0; k < n; k++) {
      const e = (<u64>f.paddr + (<u64>(page + k) << 12)) | flags;
      setEntry(t, ptIndex(at) + k, e);
      if (second != 0) setEntry(second, ptIndex(at) + k, e);
    }
    extendOrRecord(s, t, f, at, page, n, capRights);
    page += n;
    at = stop;
  }
  done += step;
  if (done < pages) { store<u32>(caller, done); return PREEMPTED; }
  return ERR_OK;
}
/** Joins the pages to the record that ends right before them, if it is of the same Frames and rights. */
function extendOrRecord(s: Space, t: usize, f: Frames, va: usize, first: u32, pages: u32, rights: u32): void {
  const m = firstRecord(t);
  if (!nil(m)) {
    const have = m.extent & 0xffff;
    if (same(m.frames, f) && m.va + (<usize>have << 12) == va && m.first + have == first && (m.extent >> 16) == rights) { m.extent += pages; return; }
  }
  record(s, t, f, va, first, pages, rights);
}

/** Unmaps one record wholly: for the reverse map. */
export function unmapRecord(cpu: Cpu, m: Mapping): void {
  const s = m.space;
  const t = tableOfVa(s, m.va);
  const pages = m.extent & 0xffff;
  const va = m.va;
  clearEntries(s, t, va, pages);
  unlinkRecord(t, m);
  if (pages == 1) flushPage(cpu, s.root, va); else flushRoot(cpu, s.root);
}

/**
 * Unmaps [va, end) within one page table, splitting records; counts pages in cpu.r0. ERR_MEMORY when a split needs a record and the pool is empty.
 */
function unmapInTable(cpu: Cpu, s: Space, t: usize, va: usize, end: usize): u32 {
  let m = firstRecord(t);
  while (!nil(m)) {
    const next = m.next;
    const have = m.extent & 0xffff, rights = m.extent >> 16;
    const from = m.va, to = m.va + (<usize>have << 12);
    const a = from > va ? from : va, b = to < end ? to : end;
    if (a < b) {
      const cut = <u32>((b - a) >> 12);
      if (a > from && b < to && !poolHas(s, 0, 1)) return ERR_MEMORY;
      clearEntries(s, t, a, cut);
      cpu.r0 += cut;
      if (a == from && b == to) unlinkRecord(t, m);
      else if (a == from) { m.va = b; m.first += cut; m.extent = (have - cut) | (rights << 16); }
      else {
        m.extent = <u32>((a - from) >> 12) | (rights << 16);
        if (b < to) record(s, t, m.frames, b, m.first + <u32>((b - from) >> 12), <u32>((to - b) >> 12), rights);
      }
    }
    m = next;
  }
  return ERR_OK;
}
export function unmapRange(cpu: Cpu, s: Space, va: usize, pages: u32, caller: usize): u32 {
  const done = load<u32>(caller); // bytes of address space passed << 0 in pages; unmapped pages are counted apart
  let at = va + (<usize>done << 12);
  const end = va + (<usize>pages << 12);
  let tables: u32 = 0;
  let status = ERR_OK;
  cpu.r0 = load<u32>(caller, 4);
  while (at < end) {
    const stop = endInTable(at, end);
    const t = tableOfVa(s, at);
    if (t != 0 && !nil(firstRecord(t))) {
      status = unmapInTable(cpu, s, t, at, stop);
      if (status != ERR_OK) break;
      tables++;
    }
    at = stop;
    if (tables == 1 && at < end) { // 512 pages at most, 256 on average: a preemption point
      store<u32>(caller, <u32>((at - va) >> 12));
      store<u32>(caller, cpu.r0, 4);
      status = PREEMPTED;
      break;
    }
  }
  if (pages == 1) flushPage(cpu, s.root, va); else flushRoot(cpu, s.root);
  cpu.results = 1;
  return status;
}

/** All mapped pages of the range may have `rights`? */
export function rightsAllowed(s: Space, va: usize, pages: u32, rights: u32): bool {
  const end = va + (<usize>pages << 12);
  while (va < end) {
    const stop = endInTable(va, end);
    const t = tableOfVa(s, va);
    if (t != 0) {
      let m = firstRecord(t);
      while (!nil(m)) {
        if (m.va < stop && m.va + (<usize>(m.extent & 0xffff) << 12) > va && (rights & 7 & ~(m.extent >> 16)) != 0) return false;
        m = m.next;
      }
    }
    va = stop;
  }
  return true;
}
/** Sets the rights of the mapped pages of the range; holes are skipped. A declared window loses its second rights. Decoded before. */
export function protectRange(cpu: Cpu, s: Space, va: usize, pages: u32, rights: u32, caller: usize): u32 {
  let at = va + (<usize>load<u32>(caller) << 12);
  const end = va + (<usize>pages << 12);
  let changed: u32 = 0;
  while (at < end && changed < STEP_PAGES) {
    const t = tableOfVa(s, at);
    if (t == 0) { at = endInTable(at, end); continue; }
    const second = windowTable(s, at);
    const e = entryAt(t, ptIndex(at));
    if (e != 0) {
      const keep = e & (ADDRESS | <u64>(A | D | PCD | PWT));
      setEntry(t, ptIndex(at), keep | (flagsOf(rights & 7)));
      if (second != 0) setEntry(second, ptIndex(at), keep | (flagsOf(rights & 7)));
      changed++;
    }
    at += 4096;
  }
  if (pages == 1) flushPage(cpu, s.root, va); else flushRoot(cpu, s.root);
  if (at < end) { store<u32>(caller, <u32>((at - va) >> 12)); return PREEMPTED; }
  return ERR_OK;
}

/** Maps what `s` has mapped in the range at the same addresses of `to`. Counts pages in cpu.r0. */
export function cloneRange(cpu: Cpu, s: Space, to: Space, va: usize, pages: u32, rights: u32, caller: usize): u32 {
  let at = va + (<usize>load<u32>(caller) << 12);
  const end = va + (<usize>pages << 12);
  cpu.r0 = load<u32>(caller, 4);
  cpu.results = 1;
  while (at < end) {
    const stop = endInTable(at, end);
    const t = tableOfVa(s, at);
    if (t != 0 && !nil(firstRecord(t))) {
      if (!rangeFree(to, at, stop)) return ERR_EXISTS;
      let count: u32 = 0;
      let m = firstRecord(t);
      while (!nil(m)) { count++; m = m.next; }
      if (!poolHas(to, 1, count)) return ERR_MEMORY;
      // ---- commit of this table ----
      let d = tableOfVa(to, at);
      if (d == 0) d = makeTable(to, at);
      const second = windowTable(to, at);
      m = firstRecord(t);
      while (!nil(m)) {
        const have = m.extent & 0xffff;
        const a = m.va > at ? m.va : at, mEnd = m.va + (<usize>have << 12), b = mEnd < stop ? mEnd : stop;
        if (a < b) {
          const n = <u32>((b - a) >> 12);
          for (let k: u32 = 0; k < n; k++) {
            const source = entryAt(t, ptIndex(a) + k);
            const e = (source & (ADDRESS | <u64>(PCD | PWT))) | flagsOf(rights & 7);
            setEntry(d, ptIndex(a) + k, e);
            if (second != 0) setEntry(second, ptIndex(a) + k, e);
          }
          record(to, d, m.frames, a, m.first + <u32>((a - m.va) >> 12), n, m.extent >> 16);
          cpu.r0 += n;
        }
        m = m.next;
      }
      at = stop;
      if (at < end) { store<u32>(caller, <u32>((at - va) >> 12)); store<u32>(caller, cpu.r0, 4); return PREEMPTED; }
    }
    at = stop;
  }
  return ERR_OK;
}

/** Declares pages that `window` opens: all mapped from `f`, in GiB 1. */
export function declareWindow(cpu: Cpu, s: Space, f: Frames, va: usize, pages: u32): u32 {
  const end = va + (<usize>pages << 12);
  if (<u32>(va >> 30) != WINDOW_GIB || <u32>((end - 1) >> 30) != WINDOW_GIB) return ERR_RANGE;
  let tables: u32 = s.windowPd == 0 ? 1 : 0;
  for (let at = va; at < end; at = endInTable(at, end)) {
    if (tableOfVa(s, at) == 0) return ERR_RANGE;
    if (windowTable(s, at) == 0) tables++;
  }
  for (let at = va; at < end;) {
    const m = recordOf(s, at);
    if (nil(m) || !same(m.frames, f)) return ERR_RANGE;
    if (((m.extent >> 16) & 2) == 0) return ERR_RIGHTS;
    at = m.va + (<usize>(m.extent & 0xffff) << 12);
  }
  if (!poolHas(s, tables, 0)) return ERR_MEMORY;
  // ---- commit ----
  if (s.windowPd == 0) {
    s.windowPd = takePage(s);
    memory.copy(s.windowPd, s.pds + (<usize>WINDOW_GIB << 12), 4096);
    setEntry(changetype<usize>(s) + ROOTS + 32, WINDOW_GIB, <u64>phys(s.windowPd) | <u64>P);
  }
  for (let at = va; at < end;) {
    const t = tableOfVa(s, at), stop = endInTable(at, end);
    let second = windowTable(s, at);
    if (second == 0) {
      second = takePage(s);
      memory.copy(second, t, 4096);
      setEntry(s.windowPd, pdIndex(at), <u64>phys(second) | <u64>(P | W | U));
    }
    for (; at < stop; at += 4096) {
      const e = entryAt(t, ptIndex(at));
      setEntry(second, ptIndex(at), e | <u64>W);
      setEntry(t, ptIndex(at), e & ~<u64>W);
    }
  }
  flushRoot(cpu, s.root);
  return ERR_OK;
}

/** Adds pages to the pool. PREEMPTED while they are being cleared. */
export function donatePages(s: Space, u: Untyped, pages: u32): u32 {
  if (!hasRoom(u, pages, 64)) return ERR_MEMORY;
  let page = takePages(u, pages);
  if (page == 1) return PREEMPTED;
  if (page == 0) return ERR_MEMORY;
  // ---- commit ----
  const pool = changetype<Pool>(takeObject(u, 64));
  adopt(u, pool, OBJ_POOL);
  pool.space = s;
  pool.nextPool = s.pools;
  s.pools = pool;
  for (let n: u32 = 0; n < pages; n++) {
    store<usize>(page, s.poolFree);
    s.poolFree = page;
    page += 4096;
  }
  s.poolCount += pages;
  return ERR_OK;
}

// ---- destruction -----------------------------------------------------------------------------------------------------------------------

/** Removes all mappings, a page table a step; true when the Space is empty. */
function empty(cpu: Cpu, s: Space): bool {
  if (s.destroyed == 0) {
    threadsLoseSpace(cpu, s);
    lockIpc();
    forgetPorts(s);
    unlockIpc();
    abandonRoot(cpu, s.root);
  }
  let tables: u32 = 0;
  const last = s.pds + 3 * 4096; // the three directories are adjacent
  for (let at = s.pds + (<usize>(s.destroyed & ~3) << 3); at < last; at += 32) { // nearly all entries are empty: four at a time
    if (((load<u32>(at) | load<u32>(at, 8) | load<u32>(at, 16) | load<u32>(at, 24)) & P) == 0) continue;
    for (let n: u32 = 0; n < 4; n++) {
      const index = (<u32>(at - s.pds) >> 3) + n, e = <u32>entryAt(s.pds, index);
      if ((e & P) == 0) continue;
      if (tables >= 2) { s.destroyed = index; return false; }
      const t = virt(e & 0xfffff000);
      while (!nil(firstRecord(t))) unlinkRecord(t, firstRecord(t));
      setEntry(s.pds, index, 0);
      tables++;
    }
  }
  s.destroyed = 3 * 512;
  if (s.windowPd != 0) { memory.fill(s.windowPd, 0, 4096); s.windowPd = 0; }
  flushRoot(cpu, s.root);
  s.poolFree = 0; s.poolCount = 0; s.records = none<Mapping>(); s.recordCount = 0;
  return true;
}
export function spaceDestroy(cpu: Cpu, s: Space): bool {
  if (!empty(cpu, s)) return false;
  while (!nil(s.pools)) {
    const p = s.pools;
    s.pools = p.nextPool;
    p.type = 0;
    disown(p);
  }
  return true;
}
/** The memory of a pool goes: the Space loses all it has, and is of no further use. */
export function poolDestroy(cpu: Cpu, p: Pool): bool {
  const s = p.space;
  if (!empty(cpu, s)) return false;
  if (same(s.pools, p)) { s.pools = p.nextPool; return true; }
  let q = s.pools;
  while (!nil(q)) {
    if (same(q.nextPool, p)) { q.nextPool = p.nextPool; return true; }
    q = q.nextPool;
  }
  return true;
}

/** Records and entries agree. For tests. */
export function checkSpace(s: Space): bool {
  for (let i: u32 = 0; i < 3 * 512; i++) {
    const e = <u32>entryAt(s.pds, i);
    if ((e & P) == 0) continue;
    const t = virt(e & 0xfffff000);
    let present: u32 = 0, recorded: u32 = 0;
    for (let n: u32 = 0; n < 512; n++) if (entryAt(t, n) != 0) present++;
    let m = firstRecord(t);
    while (!nil(m)) {
      if (!same(m.space, s) || <u32>(m.va >> 21) != i) return false;
      recorded += m.extent & 0xffff;
      for (let k: u32 = 0; k < (m.extent & 0xffff); k++) {
        if ((entryAt(t, ptIndex(m.va) + k) & ADDRESS) != <u64>m.frames.paddr + (<u64>(m.first + k) << 12)) return false;
      }
      m = m.next;
    }
    if (present != recorded) return false;
  }
  return true;
}

// ---- memory access on behalf of user code ----------------------------------------------------------------------------------------------

/** Kernel address of the user byte at `va` if the Space allows the access, else 0. */
export function userByte(s: Space, va: usize, write: bool): usize {
  const e = entryOf(s, va);
  if ((<u32>e & (P | U)) != (P | U)) return 0;
  if (write && (<u32>e & W) == 0) {
    const second = windowTable(s, va); // a page declared by \`window\` may be filled by \`copy\` while the window is closed
    if (second == 0 || (<u32>entryAt(second, ptIndex(va)) & W) == 0) return 0;
  }
  const pa = e & ADDRESS;
  if (pa >= <u64>DIRECT_BYTES) return 0;
  if (write) {
    const t = tableOfVa(s, va);
    setEntry(t, ptIndex(va), e | <u64>(A | D));
  }
  return KERNEL_BASE + <usize>pa + (va & 4095);
}
/** Copies up to 1 MiB between two Spaces; the number of bytes that were possible in cpu.r0. */
export function copyUser(cpu: Cpu, from: Space, fromVa: usize, to: Space, toVa: usize, bytes: u32): u32 {
  let done: u32 = 0;
  cpu.results = 1;
  while (done < bytes) {
    const a = userByte(from, fromVa, false), b = userByte(to, toVa, true);
    if (a == 0 || b == 0) { cpu.r0 = done; return ERR_FAULT; }
    let n: u32 = bytes - done;
    const ra: u32 = 4096 - <u32>(fromVa & 4095), rb: u32 = 4096 - <u32>(toVa & 4095);
    if (n > ra) n = ra;
    if (n > rb) n = rb;
    memory.copy(b, a, n);
    fromVa += n; toVa += n; done += n;
  }
  cpu.r0 = done;
  return ERR_OK;
}
