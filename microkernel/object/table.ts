/**
 * Table: a flat array of 2^n capability slots.
 *
 * Layout: header 64 bytes; the slots (32 bytes each) lie apart, page-aligned when they fill pages. Slot 0 stays empty and names the Table.
 * Emptied slots are kept on a free list; slots above `fresh` were never used except by explicit index.
 * Invariants: every non-empty slot names a living object of its own type; free slots are linked both ways; slot.handle has its own index.
 * Handles that a Table hands out for several slots at once are consecutive: all get one generation.
 */
import {
  HANDLE_INDEX_MASK, HANDLE_GENERATION_SHIFT, ERR_OK, ERR_RIGHTS, ERR_EXISTS, ERR_RANGE, ERR_TYPE, ERR_ARG, ERR_MEMORY, ERR_BUSY,
  OBJ_TABLE, OBJ_ENDPOINT, OBJ_NOTIFY, OBJ_DEVICE, TABLE_COPY, TABLE_MINT, TABLE_MOVE, TABLE_DELETE, TABLE_REVOKE, TABLE_IDENTIFY,
  TABLE_RIGHTS_READ, TABLE_RIGHTS_WRITE,
} from 'kintsugi/abi';
import { KObject, Slot, slotAt, find, findTyped, fillSlot, moveSlot, clearSlot, orphanChildren, deepestChild, tableOf } from '../core/capability';
import { Thread } from './thread';
import { Device, PORTS } from './device';
import { Cpu } from '../arch/cpu';
import { nil, none, same } from '../core/pointer';
import { PREEMPTED, STEP_SLOTS } from '../core/state';
import { doom, destroyDoomed } from '../core/destroy';

@unmanaged @final export class Table extends KObject {
  slots: usize; // address of slot 0
  count: u32;
  free: Slot; // list of emptied slots
  fresh: u32; // slots from here on were never taken by `takeSlot`
  sweep: u32; // destruction has emptied the slots below
}
export const TABLE_BYTES: u32 = 64;

export function tableInit(t: Table, slots: usize, count: u32): void {
  t.slots = slots;
  t.count = count;
  t.fresh = 1;
  changetype<Slot>(slots).object = t;
}

export function checkTable(t: Table): bool {
  if (changetype<Slot>(t.slots).type != 0) return false;
  for (let n: u32 = 1; n < t.count; n++) {
    const s = slotAt(t, n);
    if (s.handle != 0 && (s.handle & HANDLE_INDEX_MASK) != n) return false;
    if (s.type != 0 && (nil(s.object) || s.object.type != s.type || s.object.caps == 0)) return false;
  }
  return true;
}

// ---- taking and giving slots -----------------------------------------------------------------------------------------------------------

function initialise(s: Slot, index: u32): void { if (s.handle == 0) s.handle = index; }
function unlinkFree(t: Table, s: Slot): void {
  if (s.fresh == 0) return; // not on the list
  if (!nil(s.next)) s.next.prev = s.prev;
  if (!nil(s.prev)) s.prev.next = s.next; else t.free = s.next;
  s.fresh = 0;
}
/** The empty slot `index`, or for index 0 one that the kernel chooses; none (cpu.failure) when it is occupied, retired or outside. No change yet. */
export function emptySlot(cpu: Cpu, t: Table, index: u32): Slot {
  if (index == 0) {
    if (!nil(t.free)) return t.free;
    while (t.fresh < t.count) {
      const s = slotAt(t, t.fresh);
      if (s.type == 0 && s.retired == 0) { initialise(s, t.fresh); return s; }
      t.fresh++;
    }
    cpu.failure = ERR_MEMORY;
    return none<Slot>();
  }
  if (index >= t.count) { cpu.failure = ERR_RANGE; return none<Slot>(); }
  const s = slotAt(t, index);
  if (s.type != 0 || s.retired != 0) { cpu.failure = ERR_EXISTS; return none<Slot>(); }
  initialise(s, index);
  return s;
}
/** First of `count` adjacent empty slots from `index` on (0 = anywhere), 0 when there are none (cpu.failure). No change yet. */
export function emptyRange(cpu: Cpu, t: Table, index: u32, count: u32): u32 {
  if (count == 1) {
    const s = emptySlot(cpu, t, index);
    return nil(s) ? 0 : s.handle & HANDLE_INDEX_MASK;
  }
  if (index != 0) {
    if (index >= t.count || count > t.count - index) { cpu.failure = ERR_RANGE; return 0; }
    for (let n: u32 = 0; n < count; n++) if (nil(emptySlot(cpu, t, index + n))) return 0;
    return index;
  }
  let run: u32 = 0;
  for (let n: u32 = t.fresh > 1 ? t.fresh : 1; n < t.count; n++) {
    const s = slotAt(t, n);
    run = s.type == 0 && s.retired == 0 ? run + 1 : 0;
    if (run == count) {
      const first = n + 1 - count;
      for (let k = first; k <= n; k++) initialise(slotAt(t, k), k);
      return first;
    }
  }
  cpu.failure = ERR_MEMORY;
  return 0;
}
/** Takes a slot that `emptySlot` named. Commit. */
export function takeSlot(t: Table, s: Slot): void {
  unlinkFree(t, s);
  s.next = none<Slot>(); s.prev = none<Slot>(); s.parent = none<Slot>(); s.child = none<Slot>();
}
/** Gives `count` empty slots the same generation: the highest of theirs. Commit. */
export function levelGenerations(t: Table, first: u32, count: u32): void {
  let generation: u32 = 0;
  for (let n: u32 = 0; n < count; n++) {
    const g = slotAt(t, first + n).handle >> HANDLE_GENERATION_SHIFT;
    if (g > generation) generation = g;
  }
  for (let n: u32 = 0; n < count; n++) slotAt(t, first + n).handle = (generation << HANDLE_GENERATION_SHIFT) | (first + n);
}
/** After `clearSlot`: advances the generation and puts the slot on the free list, or retires it. */
export function giveSlot(s: Slot): void {
  const t = tableOf(s);
  const next = s.handle + (1 << HANDLE_GENERATION_SHIFT);
  s.prev = none<Slot>();
  s.next = none<Slot>();
  if (next < s.handle) { s.retired = 1; return; }
  s.handle = next;
  s.fresh = 1; // = on the free list
  s.next = t.free;
  if (!nil(t.free)) t.free.prev = s;
  t.free = s;
}
/** Empties `s`; an object without capabilities joins the list of the doomed. PREEMPTED when more children are left than one step takes. */
export function deleteSlot(s: Slot): u32 {
  if (!orphanChildren(s)) return PREEMPTED;
  const o = clearSlot(s);
  giveSlot(s);
  if (o.caps == 0) doom(o);
  return ERR_OK;
}

// ---- destruction -----------------------------------------------------------------------------------------------------------------------

/** Empties the slots, 64 at a time; true when done. */
export function tableDestroy(t: Table): bool {
  let steps: u32 = 0;
  while (t.sweep < t.count) {
    const s = slotAt(t, t.sweep);
    if (s.type != 0) {
      if (deleteSlot(s) != ERR_OK) return false;
      if (++steps >= STEP_SLOTS) return false;
    }
    t.sweep++;
  }
  return true;
}

// ---- decode and commit -----------------------------------------------------------------------------------------------------------------

/** A `dst` argument: cap:Table with write right, 0 = the caller's own. */
export function destinationTable(cpu: Cpu, caller: Thread, handle: u32): Table {
  if (handle == 0) return caller.table;
  const s = findTyped(cpu, caller.table, handle, OBJ_TABLE, TABLE_RIGHTS_WRITE);
  return nil(s) ? none<Table>() : changetype<Table>(s.object);
}

export function tableInvoke(cpu: Cpu, caller: Thread, cap: Slot, op: u32): u32 {
  const t = changetype<Table>(cap.object);
  if (op == TABLE_COPY || op == TABLE_MINT) return copyOrMint(cpu, caller, cap, t, op == TABLE_MINT);
  if (op == TABLE_IDENTIFY) {
    if ((cap.rights & <u8>TABLE_RIGHTS_READ) == 0) { cpu.argument = 0; return ERR_RIGHTS; }
    const s = find(cpu, t, cpu.w0);
    if (nil(s)) { cpu.argument = 2; return cpu.failure; }
    cpu.r0 = s.type; cpu.r1 = s.rights; cpu.r2 = s.badge; cpu.r3 = s.object.id;
    cpu.results = 4;
    return ERR_OK;
  }
  if (op != TABLE_MOVE && op != TABLE_DELETE && op != TABLE_REVOKE) { cpu.argument = 1; return ERR_TYPE; }
  if ((cap.rights & <u8>TABLE_RIGHTS_WRITE) == 0) { cpu.argument = 0; return ERR_RIGHTS; }
  const s = find(cpu, t, cpu.w0);
  if (nil(s)) { cpu.argument = 2; return cpu.failure; }
  if (op == TABLE_MOVE) {
    const to = destinationTable(cpu, caller, cpu.w1);
    if (nil(to)) { cpu.argument = 3; return cpu.failure; }
    const slot = emptySlot(cpu, to, cpu.w2);
    if (nil(slot)) { cpu.argument = 4; return cpu.failure; }
    // ---- commit ----
    takeSlot(to, slot);
    const handle = moveSlot(s, slot);
    giveSlot(s);
    cpu.r0 = handle; cpu.results = 1;
    return ERR_OK;
  }
  if (op == TABLE_REVOKE) {
    // ---- commit, in steps ----
    for (let n: u32 = 0; n < STEP_SLOTS; n++) {
      const c = deepestChild(s);
      if (nil(c)) return ERR_OK;
      clearSlot(c);
      giveSlot(c);
    }
    return PREEMPTED;
  }
  // ---- commit: delete; what it destroys may take further steps, which are done before any other structural operation ----
  if (deleteSlot(s) != ERR_OK) return PREEMPTED;
  destroyDoomed(cpu);
  return ERR_OK;
}

function copyOrMint(cpu: Cpu, caller: Thread, cap: Slot, t: Table, mint: bool): u32 {
  if ((cap.rights & <u8>TABLE_RIGHTS_READ) == 0) { cpu.argument = 0; return ERR_RIGHTS; }
  const s = find(cpu, t, cpu.w0);
  if (nil(s)) { cpu.argument = 2; return cpu.failure; }
  const to = destinationTable(cpu, caller, cpu.w2);
  if (nil(to)) { cpu.argument = 4; return cpu.failure; }
  let badge = s.badge;
  if (mint) {
    badge = cpu.w4;
    const type = <u32>s.type;
    if (type == OBJ_ENDPOINT) {
      if (s.badge != 0) { cpu.argument = 2; return ERR_RIGHTS; } // a badge is given once
    } else if (type == OBJ_NOTIFY) {
      if (s.badge != 0 && (badge & ~s.badge) != 0) { cpu.argument = 6; return ERR_RIGHTS; }
    } else if (type == OBJ_DEVICE) {
      if (!narrows(changetype<Device>(s.object), s.badge, badge)) { cpu.argument = 6; return ERR_RANGE; }
    } else { cpu.argument = 2; return ERR_TYPE; }
  }
  const slot = emptySlot(cpu, to, cpu.w3);
  if (nil(slot)) { cpu.argument = 5; return cpu.failure; }
  if (same(slot, s)) { cpu.argument = 5; return ERR_EXISTS; }
  // ---- commit ----
  takeSlot(to, slot);
  cpu.r0 = fillSlot(slot, s.object, <u32>s.rights & cpu.w1, badge, s);
  cpu.results = 1;
  return ERR_OK;
}
/** first | count << 16 must lie within the range the source names (0 = all ports of the Device). */
function narrows(d: Device, have: u32, want: u32): bool {
  if (d.kind != PORTS || want == 0) return false;
  const first = want & 0xffff, count = want >> 16;
  const from = have == 0 ? d.first : have & 0xffff, room = have == 0 ? d.count : have >> 16;
  return count != 0 && first >= from && first - from + count <= room;
}
