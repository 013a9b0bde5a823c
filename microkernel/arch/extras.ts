/**
 * What only some Threads have: FPU state, TLS segments, debug registers, I/O ports. IPC lock held.
 *
 * FPU: CR0.TS is set while nobody's registers are live. The first use (#NM) loads the Thread's image and makes it live (`cpu.fpuLive`); leaving the
 * CPU saves it and sets TS. The fast path only looks at the flag. TLS: two GDT slots and a reload of GS and FS. Ports: the I/O bitmap
 * behind the TSS belongs to one Space at a time; others get a bitmap base beyond the TSS limit, which denies all.
 */
import { Thread, T_FPU } from '../object/thread';
import { Space } from '../object/space';
import { KObject } from '../core/capability';
import { Cpu, CPU_GDT, cpuAt, cpuCount } from './cpu';
import { nil, none, same } from '../core/pointer';
import { F_TLS, F_PORTS, F_DEBUG, F_FPU } from '../core/state';
import { CPU_TSS, CPU_BLOCK } from '../offsets';
import { SELECTOR_FS, SELECTOR_GS } from 'kintsugi/abi';
import { stubFxsave, stubFxrstor, stubFninit, stubClts, stubSetTs, stubLoadSegments, stubLoadDebug } from './stubs';

export const IOMAP: u32 = 104;
const DENY_ALL: u16 = 0xffff;
export const SSE_DEFAULT: u32 = 0x1f80;

function fpuArea(t: Thread): usize { return changetype<usize>(t) + T_FPU; }
/** #NM in ring 3: the current Thread uses the FPU. */
export function enterFpu(cpu: Cpu, t: Thread): void {
  stubClts();
  if (t.fpuUsed == 0) {
    t.fpuUsed = 1;
    memory.fill(fpuArea(t), 0, 512);
    store<u16>(fpuArea(t), 0x37f); // FCW: all exceptions masked, extended precision
    store<u32>(fpuArea(t), SSE_DEFAULT, 24);
  }
  stubFxrstor(fpuArea(t));
  cpu.fpuLive = 1;
  t.flags |= F_FPU;
  cpu.fpuOwner = t;
}
/** The Thread whose registers are live leaves the CPU. */
export function leaveFpu(cpu: Cpu, t: Thread): void {
  stubFxsave(fpuArea(t));
  stubSetTs();
  cpu.fpuLive = 0;
  t.flags &= ~F_FPU;
}

function segment(at: usize, base: u32): void {
  store<u32>(at, 0x0000ffff | (base << 16));
  store<u32>(at, ((base >> 16) & 255) | 0x00cff200 | (base & 0xff000000), 4); // data, writable, ring 3, 4 GiB
}
/** Loads what `t` has, or takes away what the previous one had. */
export function loadExtras(cpu: Cpu, t: Thread): void {
  if ((t.flags & F_TLS) != 0 && !same(cpu.tlsOwner, t)) {
    const gdt = changetype<usize>(cpu) + CPU_GDT;
    segment(gdt + (SELECTOR_FS & ~7), t.fsBase);
    segment(gdt + (SELECTOR_GS & ~7), t.gsBase);
    cpu.tlsOwner = t;
  }
  if ((t.flags & F_TLS) != 0) stubLoadSegments(t.gsBase != 0 ? SELECTOR_GS : 0, t.fsBase != 0 ? SELECTOR_FS : 0);
  const wants = (t.flags & F_PORTS) != 0 ? changetype<KObject>(t.space) : none<KObject>();
  if (!same(cpu.portsOwner, wants)) loadPorts(cpu, changetype<Space>(wants));
  if ((t.flags & F_DEBUG) != 0) {
    if (!same(cpu.debugOwner, t)) stubLoadDebug(changetype<usize>(t) + offsetof<Thread>('dr0'));
    cpu.debugOwner = t;
    if (t.iret == 0) { t.ecx = t.esp; t.edx = t.eip; t.iret = 1; } // SYSEXIT would not restore TF
  } else if (!nil(cpu.debugOwner)) {
    cpu.debugOwner = none<Thread>();
    stubLoadDebug(NO_DEBUG);
  }
}
const NO_DEBUG: usize = memory.data(20, 4);

/** Sets or clears the bits of `count` ranges in the bitmap: set = denied. */
function markPorts(map: usize, ranges: usize, count: u32, deny: bool): void {
  for (let n: u32 = 0; n < count; n++) {
    const range = load<u32>(ranges + (<usize>n << 2));
    let p = range & 0xffff;
    const end = p + (range >> 16);
    while (p < end) {
      const at = map + (<usize>p >> 3);
      if ((p & 7) == 0 && end - p >= 8) { // whole bytes
        memory.fill(at, deny ? 0xff : 0, <usize>(end - p) >> 3);
        p = end & ~7;
        continue;
      }
      const bit = <u8>1 << <u8>(p & 7);
      store<u8>(at, deny ? load<u8>(at) | bit : load<u8>(at) & ~bit);
      p++;
    }
  }
}
/** The bitmap keeps what was loaded last (cpu.portRanges), so that a driver that comes and goes costs one store. */
function loadPorts(cpu: Cpu, s: Space): void {
  const tss = cpu.area + CPU_TSS;
  cpu.portsOwner = changetype<KObject>(s);
  if (nil(s)) { store<u16>(tss, DENY_ALL, 102); return; }
  const loaded = changetype<usize>(cpu) + offsetof<Cpu>('portRange0'), wanted = changetype<usize>(s) + offsetof<Space>('ports0');
  let differ = cpu.portRanges != s.portCount;
  for (let n: u32 = 0; n < s.portCount; n++) if (load<u32>(loaded + (<usize>n << 2)) != load<u32>(wanted + (<usize>n << 2))) differ = true;
  if (differ) {
    const map = tss + IOMAP;
    if (cpu.portRanges == 0) memory.fill(map, 0xff, 8193); else markPorts(map, loaded, cpu.portRanges, true);
    markPorts(map, wanted, s.portCount, false);
    memory.copy(loaded, wanted, 16);
    cpu.portRanges = s.portCount;
  }
  store<u16>(tss, <u16>IOMAP, 102);
}
/** The ports of `s` changed, or it goes away: whoever has them loaded looks again at the next switch. IPC lock held. */
export function forgetPorts(s: Space): void {
  for (let n: u32 = 0; n < cpuCount; n++) if (same(cpuAt(n).portsOwner, changetype<KObject>(s))) cpuAt(n).portsOwner = changetype<KObject>(STALE);
}
/** An owner that is nobody: neither a Space nor none. */
const STALE: usize = 1;
