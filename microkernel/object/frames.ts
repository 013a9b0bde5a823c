/**
 * Frames: contiguous pages of memory that can be mapped, wholly or in part, into Spaces.
 *
 * Layout: header 64 bytes; `paddr`, `pages` (a power of two, except for boot modules), `maps` = list of mapping records (object/space.ts),
 * which is the reverse map. Pages were cleared at retype, except device memory (`device`), which never is.
 * Invariants: every record on `maps` names these Frames and lies within `pages`.
 */
import { ERR_OK, ERR_TYPE, ERR_RIGHTS, FRAMES_INFO, FRAMES_PADDR, FRAMES_UNMAP_ALL, FRAMES_RIGHTS_PHYSICAL, FRAMES_RIGHTS_WRITE } from 'kintsugi/abi';
import { KObject, Slot } from '../core/capability';
import { Mapping, unmapRecord } from './space';
import { threadsLosePages } from './thread';
import { Cpu } from '../arch/cpu';
import { nil, none, same } from '../core/pointer';
import { PREEMPTED, STEP_PAGES } from '../core/state';

@unmanaged @final export class Frames extends KObject {
  paddr: u32;
  pages: u32;
  maps: Mapping;
  mapCount: u32;
  device: u32;
  messagePages: u32; // Threads whose message page lies here
}
export const FRAMES_BYTES: u32 = 64;

export function framesInit(f: Frames, paddr: usize, pages: u32, device: u32): void {
  f.paddr = <u32>paddr;
  f.pages = pages;
  f.device = device;
}
export function checkFrames(f: Frames): bool {
  let n: u32 = 0;
  let m = f.maps;
  while (!nil(m)) {
    if (!same(m.frames, f) || m.first + (m.extent & 0xffff) > f.pages) return false;
    n++;
    m = m.nextOfFrames;
  }
  return n == f.mapCount;
}
/** log2, rounded up. */
function log2(n: u32): u32 { return n <= 1 ? 0 : 32 - <u32>clz<u32>(n - 1); }

/** Removes up to 256 pages of mappings; true when none is left. */
function unmapAll(cpu: Cpu, f: Frames): bool {
  let pages: u32 = 0;
  while (!nil(f.maps)) {
    if (pages >= STEP_PAGES) return false;
    pages += f.maps.extent & 0xffff;
    unmapRecord(cpu, f.maps);
  }
  return true;
}
export function framesDestroy(cpu: Cpu, f: Frames): bool {
  if (f.messagePages != 0) threadsLosePages(cpu, f);
  return unmapAll(cpu, f);
}

export function framesInvoke(cpu: Cpu, cap: Slot, op: u32): u32 {
  const f = changetype<Frames>(cap.object);
  if (op == FRAMES_INFO) {
    cpu.r0 = log2(f.pages); cpu.r1 = f.mapCount; cpu.r2 = f.pages;
    cpu.results = 3;
    return ERR_OK;
  }
  if (op == FRAMES_PADDR) {
    if ((cap.rights & <u8>FRAMES_RIGHTS_PHYSICAL) == 0) { cpu.argument = 0; return ERR_RIGHTS; }
    cpu.r0 = f.paddr; cpu.results = 1;
    return ERR_OK;
  }
  if (op == FRAMES_UNMAP_ALL) {
    if ((cap.rights & <u8>FRAMES_RIGHTS_WRITE) == 0) { cpu.argument = 0; return ERR_RIGHTS; }
    if (cpu.current.progress == 0) cpu.current.progress = f.mapCount + 1; // what the first step saw
    // ---- commit, in steps ----
    if (!unmapAll(cpu, f)) return PREEMPTED;
    cpu.r0 = cpu.current.progress - 1; cpu.results = 1;
    return ERR_OK;
  }
  cpu.argument = 1;
  return ERR_TYPE;
}
