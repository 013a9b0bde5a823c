/**
 * Destruction: by the loss of the last capability, or by the revocation of an Untyped.
 *
 * An object that lost its last capability joins the list of the doomed; every structural operation finishes that list before its own work, so
 * that an interrupted destruction is nobody's and everybody's business. `destroyStep` works from the leaves: an Untyped's children before
 * itself. Each step is bounded (64 objects or slots, 256 pages) and leaves a consistent system.
 * Order for one object: its capabilities go first (nobody finds it any more), then what refers to it is told, then its memory is free.
 * Structural lock held throughout; the IPC lock is taken inside for each transition that IPC can see.
 */
import { OBJ_UNTYPED, OBJ_TABLE, OBJ_SPACE, OBJ_FRAMES, OBJ_THREAD, OBJ_SCHED, OBJ_ENDPOINT, OBJ_REPLY, OBJ_NOTIFY, OBJ_DEVICE, ERR_OK } from 'kintsugi/abi';
import { KObject, clearSlot, OBJ_POOL } from './capability';
import { nil, none, same } from './pointer';
import { Untyped, disown } from '../object/untyped';
import { Table, giveSlot, tableDestroy } from '../object/table';
import { Space, spaceDestroy, poolDestroy, Pool } from '../object/space';
import { Frames, framesDestroy } from '../object/frames';
import { Thread, threadDestroy, threadsLoseTable } from '../object/thread';
import { Sched, schedDestroy } from '../object/sched';
import { Endpoint, endpointDestroy } from '../object/endpoint';
import { Reply, replyDestroy } from '../object/reply';
import { Notify, notifyDestroy } from '../object/notify';
import { giveDeviceHeader } from './reserve';
import { Cpu } from '../arch/cpu';
import { STEP_SLOTS } from './state';

let doomed: KObject = changetype<KObject>(0);

/** Notes an object without capabilities. */
export function doom(o: KObject): void {
  if (o.dead != 0 || <u32>o.type == OBJ_DEVICE) return;
  o.dead = 1;
  o.doomed = doomed;
  doomed = o;
}
function undoom(o: KObject): void {
  if (o.dead == 0) return;
  o.dead = 0;
  if (same(doomed, o)) { doomed = o.doomed; return; }
  let p = doomed;
  while (!nil(p)) {
    if (same(p.doomed, o)) { p.doomed = o.doomed; return; }
    p = p.doomed;
  }
}

/** Works on the list of the doomed; true when it is empty. At most 64 objects. */
export function destroyDoomed(cpu: Cpu): bool {
  for (let n: u32 = 0; n < STEP_SLOTS; n++) {
    const o = doomed;
    if (nil(o)) return true;
    if (<u32>o.type == OBJ_UNTYPED && !nil(changetype<Untyped>(o).first)) {
      if (!destroyStep(cpu, changetype<Untyped>(o))) return false;
      continue;
    }
    if (!destroyOne(cpu, o)) return false;
  }
  return nil(doomed);
}

/** Destroys up to 64 descendants of `u`, leaves first; false when a preemption point was reached inside one of them. */
export function destroyStep(cpu: Cpu, u: Untyped): bool {
  for (let n: u32 = 0; n < STEP_SLOTS; n++) {
    let o = u.first;
    if (nil(o)) return true;
    while (<u32>o.type == OBJ_UNTYPED && !nil(changetype<Untyped>(o).first)) o = changetype<Untyped>(o).first;
    if (!destroyOne(cpu, o)) return false;
  }
  return true;
}

/** One object without children; false = not finished, come again. */
function destroyOne(cpu: Cpu, o: KObject): bool {
  for (let n: u32 = 0; !nil(o.firstCap); n++) {
    if (n == STEP_SLOTS) return false;
    let s = o.firstCap;
    while (!nil(s.child)) s = s.child;
    clearSlot(s);
    giveSlot(s);
  }
  const type = <u32>o.type;
  if (type == OBJ_TABLE) {
    threadsLoseTable(cpu, changetype<Table>(o));
    if (!tableDestroy(changetype<Table>(o))) return false;
  } else if (type == OBJ_SPACE) {
    if (!spaceDestroy(cpu, changetype<Space>(o))) return false;
  } else if (type == OBJ_POOL) {
    if (!poolDestroy(cpu, changetype<Pool>(o))) return false;
  } else if (type == OBJ_FRAMES) {
    if (!framesDestroy(cpu, changetype<Frames>(o))) return false;
  } else if (type == OBJ_THREAD) {
    if (!threadDestroy(cpu, changetype<Thread>(o))) return false;
  } else if (type == OBJ_SCHED) schedDestroy(cpu, changetype<Sched>(o));
  else if (type == OBJ_ENDPOINT) endpointDestroy(cpu, changetype<Endpoint>(o));
  else if (type == OBJ_REPLY) replyDestroy(cpu, changetype<Reply>(o));
  else if (type == OBJ_NOTIFY) notifyDestroy(cpu, changetype<Notify>(o));
  undoom(o);
  const device = type == OBJ_FRAMES && changetype<Frames>(o).device != 0;
  o.type = 0;
  if (!nil(o.untyped)) disown(o);
  if (device) giveDeviceHeader(o);
  return true;
}
