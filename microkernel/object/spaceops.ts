/**
 * Decoding of the operations on Spaces: handles and ranges become objects and checked numbers; object/space.ts does the work.
 */
import {
  ERR_OK, ERR_ARG, ERR_TYPE, ERR_RIGHTS, ERR_RANGE, ERR_MEMORY, OBJ_FRAMES, OBJ_SPACE, OBJ_UNTYPED, OBJ_DEVICE, SPACE_RIGHTS_MAP, SPACE_RIGHTS_COPY,
  UNTYPED_RIGHTS_RETYPE, DEVICE_RIGHTS_USE, FRAMES_RIGHTS_WINDOW, FRAMES_RIGHTS_WRITE,
  SPACE_MAP, SPACE_UNMAP, SPACE_PROTECT, SPACE_CLONE_RANGE, SPACE_QUERY, SPACE_COPY, SPACE_DONATE, SPACE_SET_PORTS, SPACE_WINDOW,
} from 'kintsugi/abi';
import { Slot, findTyped } from '../core/capability';
import { Space, validRange, mapRange, unmapRange, protectRange, rightsAllowed, cloneRange, entryOf, recordOf, copyUser, donatePages, declareWindow, USER_END } from './space';
import { Frames } from './frames';
import { Untyped } from './untyped';
import { Device, PORTS } from './device';
import { Thread, threadsGainPorts } from './thread';
import { Cpu } from '../arch/cpu';
import { nil, none, same } from '../core/pointer';
import { P, W, A, D, PCD } from '../arch/paging';

/** Where the Thread keeps how far a preempted range operation came. */
function progressOf(t: Thread): usize { return changetype<usize>(t) + offsetof<Thread>('progress'); }

export function spaceInvoke(cpu: Cpu, caller: Thread, cap: Slot, op: u32): u32 {
  const s = changetype<Space>(cap.object);
  if (op == 0 || op > SPACE_WINDOW) { cpu.argument = 1; return ERR_TYPE; }
  if ((<u32>cap.rights & (op == SPACE_COPY ? SPACE_RIGHTS_COPY : SPACE_RIGHTS_MAP)) == 0) { cpu.argument = 0; return ERR_RIGHTS; }
  const progress = progressOf(caller);
  if (op == SPACE_MAP) {
    const f = findTyped(cpu, caller.table, cpu.w0, OBJ_FRAMES, 0);
    if (nil(f)) { cpu.argument = 2; return cpu.failure; }
    const frames = changetype<Frames>(f.object);
    const rights = cpu.w4 & 15;
    if (!validRange(cpu.w1, cpu.w3)) { cpu.argument = 3; return ERR_RANGE; }
    if (cpu.w2 >= frames.pages || cpu.w3 > frames.pages - cpu.w2) { cpu.argument = 4; return ERR_RANGE; }
    if ((cpu.w4 & ~15) != 0 || (rights & 1) == 0) { cpu.argument = 6; return ERR_ARG; }
    if ((rights & 7 & ~<u32>f.rights) != 0) { cpu.argument = 6; return ERR_RIGHTS; }
    cpu.argument = 3;
    return mapRange(s, frames, cpu.w1, cpu.w2, cpu.w3, rights, <u32>f.rights & 7, progress);
  }
  if (op == SPACE_UNMAP || op == SPACE_PROTECT) {
    if (!validRange(cpu.w0, cpu.w1)) { cpu.argument = 2; return ERR_RANGE; }
    if (op == SPACE_UNMAP) { cpu.argument = 0; return unmapRange(cpu, s, cpu.w0, cpu.w1, progress); }
    if ((cpu.w2 & ~7) != 0 || (cpu.w2 & 1) == 0) { cpu.argument = 4; return ERR_ARG; }
    if (!rightsAllowed(s, cpu.w0, cpu.w1, cpu.w2)) { cpu.argument = 4; return ERR_RIGHTS; }
    return protectRange(cpu, s, cpu.w0, cpu.w1, cpu.w2, progress);
  }
  if (op == SPACE_CLONE_RANGE) {
    const d = findTyped(cpu, caller.table, cpu.w0, OBJ_SPACE, SPACE_RIGHTS_MAP);
    if (nil(d)) { cpu.argument = 2; return cpu.failure; }
    if (same(d.object, cap.object)) { cpu.argument = 2; return ERR_ARG; }
    if (!validRange(cpu.w1, cpu.w2)) { cpu.argument = 3; return ERR_RANGE; }
    if ((cpu.w3 & ~7) != 0 || (cpu.w3 & 1) == 0) { cpu.argument = 5; return ERR_ARG; }
    if (!rightsAllowed(s, cpu.w1, cpu.w2, cpu.w3)) { cpu.argument = 5; return ERR_RIGHTS; }
    cpu.argument = 2;
    return cloneRange(cpu, s, changetype<Space>(d.object), cpu.w1, cpu.w2, cpu.w3, progress);
  }
  if (op == SPACE_QUERY) {
    if (<usize>cpu.w0 >= USER_END) { cpu.argument = 2; return ERR_RANGE; }
    const e = entryOf(s, cpu.w0);
    cpu.results = 3;
    cpu.r0 = 0; cpu.r1 = 0; cpu.r2 = 0;
    if (e == 0) return ERR_OK;
    const low = <u32>e;
    cpu.r0 = 1 | ((low & W) != 0 ? 2 : 0) | (<i64>e < 0 ? 0 : 4) | ((low & PCD) != 0 ? 8 : 0);
    cpu.r1 = ((low & A) != 0 ? 1 : 0) | ((low & D) != 0 ? 2 : 0);
    const m = recordOf(s, cpu.w0);
    cpu.r2 = m.first + <u32>((<usize>cpu.w0 - m.va) >> 12);
    return ERR_OK;
  }
  if (op == SPACE_COPY) {
    const o = findTyped(cpu, caller.table, cpu.w1, OBJ_SPACE, SPACE_RIGHTS_COPY);
    if (nil(o)) { cpu.argument = 3; return cpu.failure; }
    const own = <usize>cpu.w0, other = <usize>cpu.w2;
    const bytes = cpu.w3;
    if (bytes > 0x100000) { cpu.argument = 5; return ERR_RANGE; }
    if (own >= USER_END || <usize>bytes > USER_END - own) { cpu.argument = 2; return ERR_RANGE; }
    if (other >= USER_END || <usize>bytes > USER_END - other) { cpu.argument = 4; return ERR_RANGE; }
    if (cpu.w4 > 1) { cpu.argument = 6; return ERR_ARG; }
    // ---- commit ----
    const there = changetype<Space>(o.object);
    cpu.argument = 4;
    return cpu.w4 == 0 ? copyUser(cpu, there, other, s, own, bytes) : copyUser(cpu, s, own, there, other, bytes);
  }
  if (op == SPACE_DONATE) {
    const u = findTyped(cpu, caller.table, cpu.w0, OBJ_UNTYPED, UNTYPED_RIGHTS_RETYPE);
    if (nil(u)) { cpu.argument = 2; return cpu.failure; }
    if (cpu.w1 == 0 || cpu.w1 > 4096) { cpu.argument = 3; return ERR_RANGE; }
    const status = donatePages(s, changetype<Untyped>(u.object), cpu.w1);
    if (status == ERR_MEMORY) cpu.argument = 2;
    cpu.r0 = s.poolCount; cpu.results = 1;
    return status;
  }
  if (op == SPACE_SET_PORTS) {
    const d = findTyped(cpu, caller.table, cpu.w0, OBJ_DEVICE, DEVICE_RIGHTS_USE);
    if (nil(d)) { cpu.argument = 2; return cpu.failure; }
    const device = changetype<Device>(d.object);
    if (device.kind != PORTS) { cpu.argument = 2; return ERR_TYPE; }
    if (s.portCount == 4) { cpu.argument = 0; return ERR_MEMORY; }
    const range = d.badge != 0 ? d.badge : device.first | ((device.count > 0xffff ? 0xffff : device.count) << 16);
    // ---- commit ----
    store<u32>(changetype<usize>(s) + offsetof<Space>('ports0') + (<usize>s.portCount << 2), range);
    s.portCount++;
    threadsGainPorts(cpu, s);
    return ERR_OK;
  }
  const f = findTyped(cpu, caller.table, cpu.w0, OBJ_FRAMES, FRAMES_RIGHTS_WINDOW | FRAMES_RIGHTS_WRITE);
  if (nil(f)) { cpu.argument = 2; return cpu.failure; }
  if (!validRange(cpu.w1, cpu.w2)) { cpu.argument = 3; return ERR_RANGE; }
  if (cpu.w2 > 32768) { cpu.argument = 4; return ERR_RANGE; }
  cpu.argument = 3;
  return declareWindow(cpu, s, changetype<Frames>(f.object), cpu.w1, cpu.w2);
}
