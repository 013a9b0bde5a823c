/**
 * checkInvariants(): every object, queue and tree of the kernel against the invariants its file states. For tests: with the word `check` on the command
 * line, `trace(CHECK, ..)` runs it under both locks, and a violation ends the machine with the name of what is wrong.
 */
import { OBJ_UNTYPED, OBJ_TABLE, OBJ_SPACE, OBJ_FRAMES, OBJ_THREAD, OBJ_SCHED, OBJ_ENDPOINT, OBJ_REPLY, OBJ_NOTIFY } from 'kintsugi/abi';
import { KObject, checkTree } from './capability';
import { checkRunQueue } from './runqueue';
import { checkTimers } from './timer';
import { lockIpc, unlockIpc } from './lock';
import { nil, same } from './pointer';
import { Untyped, checkUntyped } from '../object/untyped';
import { Table, checkTable } from '../object/table';
import { Space, checkSpace } from '../object/space';
import { Frames, checkFrames } from '../object/frames';
import { Thread, checkThread } from '../object/thread';
import { Sched, checkSched } from '../object/sched';
import { Endpoint, checkEndpoint } from '../object/endpoint';
import { Reply, checkReply } from '../object/reply';
import { Notify, checkNotify } from '../object/notify';
import { cpuAt, cpuCount } from '../arch/cpu';
import { print, printDec, newline } from '../arch/console';
import { die } from '../arch/panic';

/** First word of the `trace` call that asks for a check. */
export const CHECK: u32 = 0x6b636863;
let enabled: bool = false;
let top: Untyped = changetype<Untyped>(0);
/** `all`: the Untyped from which every other object descends. */
export function enableChecks(all: Untyped): void { enabled = true; top = all; }
export function checksEnabled(): bool { return enabled; }

function holds(o: KObject): bool {
  const type = <u32>o.type;
  if (!checkTree(o)) return false;
  if (type == OBJ_UNTYPED) return checkUntyped(changetype<Untyped>(o));
  if (type == OBJ_TABLE) return checkTable(changetype<Table>(o));
  if (type == OBJ_SPACE) return checkSpace(changetype<Space>(o));
  if (type == OBJ_FRAMES) return checkFrames(changetype<Frames>(o));
  if (type == OBJ_THREAD) return checkThread(changetype<Thread>(o));
  if (type == OBJ_SCHED) return checkSched(changetype<Sched>(o));
  if (type == OBJ_ENDPOINT) return checkEndpoint(changetype<Endpoint>(o));
  if (type == OBJ_REPLY) return checkReply(changetype<Reply>(o));
  if (type == OBJ_NOTIFY) return checkNotify(changetype<Notify>(o));
  return true;
}
function fail(what: string, n: u32): void {
  print('invariant broken: '); print(what); print(' '); printDec(n); newline();
  die('an invariant does not hold');
}

/** Structural lock held. Returns the number of objects seen. */
export function checkInvariants(): u32 {
  let count: u32 = 0;
  lockIpc();
  for (let n: u32 = 0; n < cpuCount; n++) {
    if (!checkRunQueue(cpuAt(n))) fail('run queue of CPU', n);
    if (!checkTimers(cpuAt(n))) fail('timers of CPU', n);
    const t = cpuAt(n).current;
    if (!nil(t) && !same(t.cpu, cpuAt(n))) fail('current Thread belongs to another CPU than', n);
  }
  let o = top.first;
  while (!nil(o)) {
    count++;
    if (!holds(o)) { fail('object of type', o.type); fail('object', o.id); }
    if (<u32>o.type == OBJ_UNTYPED && !nil(changetype<Untyped>(o).first)) { o = changetype<Untyped>(o).first; continue; }
    while (!nil(o) && nil(o.next)) o = o.untyped === top ? changetype<KObject>(0) : o.untyped;
    if (!nil(o)) o = o.next;
  }
  unlockIpc();
  return count;
}
