/**
 * Kernel objects, capability slots and derivation.
 *
 * Object header (32 bytes, the base class of all object types):
 *     type | flags | sizeBits    caps    firstCap    untyped    next    prev    id    doomed
 * An object lies in the memory of exactly one Untyped, on whose list of children it is. `caps` counts the slots that name it; when the last
 * one goes, the object is destroyed (core/destroy.ts).
 *
 * Slot (32 bytes):
 *     handle    type | rights | flags    object    badge    parent    child    next    prev
 * `handle` holds generation << 20 | own index at all times, so that one compare checks index and generation; type 0 = empty. Emptying a slot
 * advances its generation; a slot whose generation would wrap is retired (flags) until its Table goes.
 * Derivation is an explicit tree per object: copies and mints are children of the slot they came from; `firstCap` of the object is the list of
 * slots without a parent. Deleting a slot hands its children to its parent, so that revocation still reaches them.
 *
 * Locks: the tree belongs to the structural lock. What IPC reads of a slot (handle, type, rights, object, badge) is changed under the IPC lock
 * as well, so that a look-up under either lock sees a whole slot of a living object.
 */
import { HANDLE_GENERATION_SHIFT, HANDLE_INDEX_MASK, ERR_HANDLE, ERR_STALE, ERR_TYPE, ERR_RIGHTS } from 'kintsugi/abi';
import { nil, none, same } from './pointer';
import { lockIpc, unlockIpc } from './lock';
import { Table } from '../object/table';
import { Untyped } from '../object/untyped';
import { Cpu } from '../arch/cpu';
import { SLOT_SHIFT } from '../offsets';

@unmanaged export class KObject {
  type: u8; dead: u8; sizeBits: u8; pad: u8;
  caps: u32;
  firstCap: Slot; // slots without a parent
  untyped: Untyped;
  next: KObject; prev: KObject; // siblings in the Untyped
  id: u32;
  doomed: KObject; // next on the list of objects without capabilities
}
/** Type of the hidden object that ties donated page-table pages to their Untyped. */
export const OBJ_POOL: u32 = 11;

@unmanaged @final export class Slot {
  handle: u32;
  type: u8; rights: u8; retired: u8; fresh: u8;
  object: KObject;
  badge: u32;
  parent: Slot;
  child: Slot;
  next: Slot; prev: Slot; // siblings; of an empty slot: the free list of its Table
}

/** Slot `index` of a Table; the index must be below its count. */
@inline export function slotAt(t: Table, index: u32): Slot { return changetype<Slot>(t.slots + (<usize>index << SLOT_SHIFT)); }
/** Slot 0 is never used for a capability; it names the Table that the slots belong to. */
export function tableOf(s: Slot): Table {
  const index = s.handle & HANDLE_INDEX_MASK;
  return changetype<Table>(changetype<Slot>(changetype<usize>(s) - (<usize>index << SLOT_SHIFT)).object);
}

/** The slot a handle names, whatever its type; none when there is none, with the reason in cpu.failure. Structural or IPC lock held. */
export function find(cpu: Cpu, t: Table, handle: u32): Slot {
  const index = handle & HANDLE_INDEX_MASK;
  cpu.failure = ERR_HANDLE;
  if (index == 0 || index >= t.count) return none<Slot>();
  const s = slotAt(t, index);
  if (s.handle != handle && (s.handle != 0 || handle != index)) { cpu.failure = ERR_STALE; return none<Slot>(); }
  if (s.type == 0) return none<Slot>();
  return s;
}
/** The same, of one type and with all of `rights`. */
export function findTyped(cpu: Cpu, t: Table, handle: u32, type: u32, rights: u32): Slot {
  const s = find(cpu, t, handle);
  if (nil(s)) return s;
  if (<u32>s.type != type) { cpu.failure = ERR_TYPE; return none<Slot>(); }
  if ((<u32>s.rights & rights) != rights) { cpu.failure = ERR_RIGHTS; return none<Slot>(); }
  return s;
}

/** Fills an empty slot that was taken from its Table (object/table.ts). Structural lock held. Commit: cannot fail. */
export function fillSlot(s: Slot, o: KObject, rights: u32, badge: u32, parent: Slot): u32 {
  lockIpc();
  const handle = fillLocked(s, o, rights, badge, parent);
  unlockIpc();
  return handle;
}
/** The same with the IPC lock held already. */
export function fillLocked(s: Slot, o: KObject, rights: u32, badge: u32, parent: Slot): u32 {
  s.object = o;
  s.badge = badge;
  s.rights = <u8>rights;
  s.type = o.type;
  o.caps++;
  s.child = none<Slot>();
  attach(s, parent, o);
  return s.handle;
}
function attach(s: Slot, parent: Slot, o: KObject): void {
  s.parent = parent;
  s.prev = none<Slot>();
  const first = nil(parent) ? o.firstCap : parent.child;
  s.next = first;
  if (!nil(first)) first.prev = s;
  if (nil(parent)) o.firstCap = s; else parent.child = s;
}
function detach(s: Slot): void {
  if (!nil(s.next)) s.next.prev = s.prev;
  if (!nil(s.prev)) s.prev.next = s.next;
  else if (!nil(s.parent)) s.parent.child = s.next;
  else s.object.firstCap = s.next;
}

/**
 * Hands at most 64 children of `s` to its parent; true when none is left. A preemption point lies after each 64 (structural lock held).
 */
export function orphanChildren(s: Slot): bool {
  for (let n: u32 = 0; n < 64; n++) {
    const c = s.child;
    if (nil(c)) return true;
    detach(c);
    attach(c, s.parent, s.object);
  }
  return nil(s.child);
}

/** Empties a slot without children. The object may be left without capabilities: the caller looks at `caps`. Structural lock held. */
export function clearSlot(s: Slot): KObject {
  const o = s.object;
  detach(s);
  lockIpc();
  s.type = 0;
  s.rights = 0;
  s.object = none<KObject>();
  s.badge = 0;
  o.caps--;
  unlockIpc();
  return o;
}

/** Moves a capability to an empty slot that was taken; children and place in the tree move along. Structural lock held. */
export function moveSlot(from: Slot, to: Slot): u32 {
  lockIpc();
  to.object = from.object;
  to.badge = from.badge;
  to.rights = from.rights;
  to.type = from.type;
  from.type = 0;
  unlockIpc();
  to.parent = from.parent; to.child = from.child; to.next = from.next; to.prev = from.prev;
  if (!nil(to.next)) to.next.prev = to;
  if (!nil(to.prev)) to.prev.next = to;
  else if (!nil(to.parent)) to.parent.child = to;
  else to.object.firstCap = to;
  let c = to.child;
  while (!nil(c)) { c.parent = to; c = c.next; }
  from.object = none<KObject>();
  from.badge = 0; from.rights = 0;
  from.parent = none<Slot>(); from.child = none<Slot>(); from.next = none<Slot>(); from.prev = none<Slot>();
  return to.handle;
}

/** A slot below `s` without children, or none: what a revoke deletes next. */
export function deepestChild(s: Slot): Slot {
  let c = s.child;
  if (nil(c)) return c;
  while (!nil(c.child)) c = c.child;
  return c;
}

/** Every child names its parent and the parent's object; the count fits. For tests and the debug build. */
export function checkTree(o: KObject): bool {
  let count: u32 = 0;
  let s = o.firstCap;
  while (!nil(s)) {
    if (!same(s.object, o) || s.type != o.type) return false;
    count++;
    if (!nil(s.child)) { if (!same(s.child.parent, s)) return false; s = s.child; continue; }
    while (!nil(s) && nil(s.next)) s = s.parent;
    if (!nil(s)) { if (!same(s.next.prev, s)) return false; s = s.next; }
  }
  return count == o.caps;
}
export function generationOf(handle: u32): u32 { return handle >> HANDLE_GENERATION_SHIFT; }
