/**
 * Untyped: a range of physical memory, the only source of kernel objects.
 *
 * Layout: header 64 bytes. Whole pages (Frames, Table arrays, page directories, smaller Untypeds) are taken from the low end, small objects from
 * the high end; when they meet, the Untyped is used up. Nothing is given back piece by piece: when the last child goes, both marks return.
 *     start |pages ...-> low|   free   |high <-... small objects| end
 * Pages are handed out zeroed, except as Untyped and from device memory: `zeroed` is how far clearing has come, so that clearing a large range
 * is restartable (at most 256 pages a step).
 * Invariants: start <= low <= high <= end; low is page-aligned; every child lies inside; children == length of the list.
 */
import {
  ERR_OK, ERR_TYPE, ERR_RIGHTS, ERR_RANGE, ERR_MEMORY, ERR_ARG, UNTYPED_RETYPE, UNTYPED_REVOKE, UNTYPED_INFO, UNTYPED_RIGHTS_RETYPE,
  OBJ_UNTYPED, OBJ_TABLE, OBJ_SPACE, OBJ_FRAMES, OBJ_THREAD, OBJ_SCHED, OBJ_ENDPOINT, OBJ_REPLY, OBJ_NOTIFY,
} from 'kintsugi/abi';
import { KObject, Slot, fillSlot, slotAt } from '../core/capability';
import { Thread, THREAD_BYTES, threadInit } from './thread';
import { Table, TABLE_BYTES, tableInit, destinationTable, emptyRange, levelGenerations, takeSlot } from './table';
import { Space, SPACE_BYTES, spaceInit } from './space';
import { Frames, FRAMES_BYTES, framesInit } from './frames';
import { SCHED_BYTES, Sched, schedInit } from './sched';
import { ENDPOINT_BYTES, Endpoint, endpointInit } from './endpoint';
import { REPLY_BYTES } from './reply';
import { NOTIFY_BYTES, Notify, notifyInit } from './notify';
import { allRights } from '../core/rights';
import { destroyStep } from '../core/destroy';
import { Cpu } from '../arch/cpu';
import { nil, none } from '../core/pointer';
import { PREEMPTED, STEP_PAGES } from '../core/state';
import { KERNEL_BASE } from '../arch/paging';
import { takeDeviceHeader, deviceHeadersLeft } from '../core/reserve';

@unmanaged @final export class Untyped extends KObject {
  start: usize; end: usize; // kernel addresses; for device memory physical addresses
  low: usize; high: usize;
  zeroed: usize; // [low, zeroed) is clear
  first: KObject; // children
  children: u32;
  device: u32;
}
export const UNTYPED_BYTES: u32 = 64;
const PAGE: usize = 4096;
let serial: u32 = 1;

export function untypedInit(u: Untyped, start: usize, bits: u32, device: u32): void {
  u.sizeBits = <u8>bits;
  u.start = start;
  u.end = start + (<usize>1 << bits);
  u.device = device;
  reset(u);
}
/** A range that is not a power of two: the kernel's own boot memory. */
export function untypedInitRange(u: Untyped, start: usize, end: usize): void {
  u.type = <u8>OBJ_UNTYPED;
  u.start = start; u.end = end; u.device = 0;
  reset(u);
}
function reset(u: Untyped): void { u.low = u.start; u.high = u.end; u.zeroed = u.start; }

export function checkUntyped(u: Untyped): bool {
  if (u.low < u.start || u.high > u.end || u.low > u.high || (u.low & (PAGE - 1)) != 0) return false;
  let n: u32 = 0;
  let o = u.first;
  while (!nil(o)) { n++; o = o.next; }
  return n == u.children;
}

// ---- taking memory ---------------------------------------------------------------------------------------------------------------------

/** Clears up to 256 pages of [low, low + bytes); false = more to do. */
function clear(u: Untyped, bytes: usize): bool {
  const end = u.low + bytes;
  if (u.zeroed < u.low) u.zeroed = u.low;
  for (let n: u32 = 0; n < STEP_PAGES && u.zeroed < end; n++) {
    memory.fill(u.zeroed, 0, PAGE);
    u.zeroed += PAGE;
  }
  return u.zeroed >= end;
}
function takePagesRaw(u: Untyped, bytes: usize): usize {
  const at = u.low;
  u.low += bytes;
  return at;
}
/** `bytes` of cleared small memory, aligned to 64. The caller has checked `room`. */
function takeSmall(u: Untyped, bytes: usize): usize {
  u.high = (u.high - bytes) & ~(<usize>63);
  if (u.zeroed > u.high) u.zeroed = u.high & ~(PAGE - 1);
  memory.fill(u.high, 0, bytes);
  return u.high;
}
/** Is there room for `count` times `pages` bytes of pages and `small` bytes? */
function room(u: Untyped, pages: u32, small: u32, count: u32): bool {
  const free = u.high - u.low;
  const each = <u64>pages + ((small + 63) & ~63);
  return each * <u64>count <= <u64>free;
}
/** Puts a new object on the list of children. */
export function adopt(u: Untyped, o: KObject, type: u32): void {
  o.type = <u8>type;
  o.id = serial++;
  o.untyped = u;
  o.prev = none<KObject>();
  o.next = u.first;
  if (!nil(u.first)) u.first.prev = o;
  u.first = o;
  u.children++;
}
/** Takes a destroyed object off; the memory comes back with the last one. */
export function disown(o: KObject): void {
  const u = o.untyped;
  if (!nil(o.next)) o.next.prev = o.prev;
  if (!nil(o.prev)) o.prev.next = o.next; else u.first = o.next;
  if (--u.children == 0) reset(u);
}
export function newSerial(): u32 { return serial++; }

/** Cleared pages for the page-table pool of a Space; 0 when used up, 1 when clearing needs another step. */
export function takePages(u: Untyped, pages: u32): usize {
  const bytes = <usize>pages << 12;
  if (u.device != 0 || bytes > u.high - u.low) return 0;
  if (!clear(u, bytes)) return 1;
  return takePagesRaw(u, bytes);
}
export function hasRoom(u: Untyped, pages: u32, small: u32): bool { return u.device == 0 && pages <= 0x20000 && room(u, pages << 12, small, 1); }
export function takeObject(u: Untyped, bytes: u32): usize { return takeSmall(u, bytes); }

// ---- object sizes ----------------------------------------------------------------------------------------------------------------------

function smallBytes(type: u32, bits: u32): u32 {
  if (type == OBJ_UNTYPED) return UNTYPED_BYTES;
  if (type == OBJ_TABLE) return TABLE_BYTES + (bits < 7 ? <u32>32 << bits : 0);
  if (type == OBJ_SPACE) return SPACE_BYTES;
  if (type == OBJ_FRAMES) return FRAMES_BYTES;
  if (type == OBJ_THREAD) return THREAD_BYTES;
  if (type == OBJ_SCHED) return SCHED_BYTES;
  if (type == OBJ_ENDPOINT) return ENDPOINT_BYTES;
  if (type == OBJ_REPLY) return REPLY_BYTES;
  if (type == OBJ_NOTIFY) return NOTIFY_BYTES;
  return 0;
}
function pageBytes(type: u32, bits: u32): u32 {
  if (type == OBJ_UNTYPED || type == OBJ_FRAMES) return <u32>1 << bits;
  if (type == OBJ_TABLE) return bits < 7 ? 0 : <u32>32 << bits;
  if (type == OBJ_SPACE) return 3 << 12;
  return 0;
}
/** Makes one object of memory for which there is room (cleared where needed). Cannot fail. */
export function make(u: Untyped, type: u32, bits: u32): KObject {
  const pages = pageBytes(type, bits);
  let at: usize = 0;
  if (u.device != 0) {
    const f = changetype<Frames>(takeDeviceHeader());
    framesInit(f, takePagesRaw(u, pages), <u32>1 << (bits - 12), 1);
    adopt(u, f, OBJ_FRAMES);
    return f;
  }
  if (pages != 0) at = takePagesRaw(u, pages);
  const o = changetype<KObject>(takeSmall(u, smallBytes(type, bits)));
  adopt(u, o, type);
  if (type == OBJ_UNTYPED) untypedInit(changetype<Untyped>(o), at, bits, 0);
  else if (type == OBJ_FRAMES) framesInit(changetype<Frames>(o), at - KERNEL_BASE, <u32>1 << (bits - 12), 0);
  else if (type == OBJ_TABLE) tableInit(changetype<Table>(o), at != 0 ? at : changetype<usize>(o) + TABLE_BYTES, <u32>1 << bits);
  else if (type == OBJ_SPACE) spaceInit(changetype<Space>(o), at);
  else if (type == OBJ_THREAD) threadInit(changetype<Thread>(o));
  else if (type == OBJ_SCHED) schedInit(changetype<Sched>(o));
  else if (type == OBJ_ENDPOINT) endpointInit(changetype<Endpoint>(o));
  else if (type == OBJ_NOTIFY) notifyInit(changetype<Notify>(o));
  return o;
}

// ---- decode and commit -----------------------------------------------------------------------------------------------------------------

export function untypedInvoke(cpu: Cpu, caller: Thread, cap: Slot, op: u32): u32 {
  const u = changetype<Untyped>(cap.object);
  if (op == UNTYPED_INFO) {
    cpu.r0 = u.sizeBits;
    cpu.r1 = <u32>(u.high - u.low);
    cpu.r2 = <u32>((u.device != 0 ? u.start : u.start - KERNEL_BASE) >> 12);
    cpu.r3 = u.children;
    cpu.results = 4;
    return ERR_OK;
  }
  if (op != UNTYPED_RETYPE && op != UNTYPED_REVOKE) { cpu.argument = 1; return ERR_TYPE; }
  if ((cap.rights & <u8>UNTYPED_RIGHTS_RETYPE) == 0) { cpu.argument = 0; return ERR_RIGHTS; }
  if (op == UNTYPED_REVOKE) {
    // ---- commit, in steps: the deepest child first ----
    if (nil(u.first)) return ERR_OK;
    return destroyStep(cpu, u) && nil(u.first) ? ERR_OK : PREEMPTED;
  }
  return retype(cpu, caller, cap, u);
}

function retype(cpu: Cpu, caller: Thread, cap: Slot, u: Untyped): u32 {
  const type = cpu.w0, bits = cpu.w1, count = cpu.w2;
  const small = smallBytes(type, 0);
  if (small == 0 || (u.device != 0 && type != OBJ_FRAMES)) { cpu.argument = 2; return ERR_TYPE; }
  if (type == OBJ_UNTYPED || type == OBJ_FRAMES) {
    if (bits < 12 || bits > 29) { cpu.argument = 3; return ERR_RANGE; }
  } else if (type == OBJ_TABLE) {
    if (bits < 1 || bits > 20) { cpu.argument = 3; return ERR_RANGE; }
  } else if (bits != 0) { cpu.argument = 3; return ERR_ARG; }
  if (count == 0 || count > 4096) { cpu.argument = 4; return ERR_RANGE; }
  const table = destinationTable(cpu, caller, cpu.w3);
  if (nil(table)) { cpu.argument = 5; return cpu.failure; }
  if (!room(u, pageBytes(type, bits), u.device != 0 ? 0 : smallBytes(type, bits), count)) { cpu.argument = 0; return ERR_MEMORY; }
  if (u.device != 0 && count > deviceHeadersLeft()) { cpu.argument = 4; return ERR_MEMORY; }
  const first = emptyRange(cpu, table, cpu.w4, count);
  if (first == 0) { cpu.argument = 6; return cpu.failure; }
  if (u.device == 0 && type != OBJ_UNTYPED && pageBytes(type, bits) != 0 && !clear(u, <usize>pageBytes(type, bits) * count)) return PREEMPTED;
  // ---- commit ----
  if (count > 1) levelGenerations(table, first, count);
  let handle: u32 = 0;
  for (let n: u32 = 0; n < count; n++) {
    const s = slotAt(table, first + n);
    takeSlot(table, s);
    const h = fillSlot(s, make(u, type, bits), allRights(type), 0, none<Slot>());
    if (n == 0) handle = h;
  }
  cpu.r0 = handle; cpu.r1 = count; cpu.results = 2;
  return ERR_OK;
}
