/**
 * Control registers, model-specific registers and CPUID: what the processor says of itself and how the system reconfigures it.
 */
import { GuestFault } from '../mmu.ts';
import { CR0, CR4, S, VEC } from '../state.ts';
import type { Cpu } from './cpu.ts';

const CR4_SUPPORTED = CR4.TSD | CR4.DE | CR4.PSE | CR4.PAE | CR4.MCE | CR4.PGE | CR4.PCE | CR4.OSFXSR | CR4.OSXMMEXCPT | CR4.UMIP | CR4.SMEP | CR4.SMAP;

const paging = (cpu: Cpu): boolean => cpu.get(S.cr0) < 0;

export function writeControl(cpu: Cpu, number: number, value: number): void {
  switch (number) {
    case 0: {
      const old = cpu.get(S.cr0);
      if ((value < 0 && !(value & CR0.PE)) || (value & CR0.NW && !(value & CR0.CD))) throw new GuestFault(VEC.GP, 0);
      const next = (value & (CR0.PE | CR0.MP | CR0.EM | CR0.TS | CR0.NE | CR0.WP | CR0.AM | CR0.NW | CR0.CD | CR0.PG)) | CR0.ET;
      const changed = old ^ next;
      if (changed < 0 && next < 0 && cpu.get(S.cr4) & CR4.PAE && !cpu.mmu.loadPdptes(cpu.get(S.cr3))) throw new GuestFault(VEC.GP, 0);
      cpu.set(S.cr0, next);
      if (changed & (CR0.PG | CR0.WP | CR0.PE)) cpu.mmu.flush();
      cpu.update();
      return;
    }
    case 2: cpu.set(S.cr2, value); return;
    case 3:
      if (paging(cpu) && cpu.get(S.cr4) & CR4.PAE && !cpu.mmu.loadPdptes(value)) throw new GuestFault(VEC.GP, 0);
      cpu.set(S.cr3, value);
      if (paging(cpu)) cpu.mmu.switchSpace();
      return;
    case 4: {
      if (value & ~CR4_SUPPORTED) throw new GuestFault(VEC.GP, 0);
      const changed = cpu.get(S.cr4) ^ value;
      if (paging(cpu) && value & CR4.PAE && changed & (CR4.PAE | CR4.PGE | CR4.PSE | CR4.SMEP) && !cpu.mmu.loadPdptes(cpu.get(S.cr3))) throw new GuestFault(VEC.GP, 0);
      cpu.set(S.cr4, value);
      if (changed & (CR4.PAE | CR4.PGE | CR4.PSE | CR4.SMEP | CR4.SMAP)) cpu.mmu.flush();
      return;
    }
    default: throw new GuestFault(VEC.UD);
  }
}

/** EDX:EAX of an MSR as [low, high]; #GP for unknown ones. */
export function readMsr(cpu: Cpu, number: number): [number, number] {
  const pair = (offset: number): [number, number] => [cpu.get(offset), cpu.get(offset + 4)];
  switch (number >>> 0) {
    case 0x10: { const t = timestamp(cpu); return t; }
    case 0x1b: return pair(S.apicBase);
    case 0x174: return [cpu.get(S.sysenterCs), 0];
    case 0x175: return [cpu.get(S.sysenterEsp), 0];
    case 0x176: return [cpu.get(S.sysenterEip), 0];
    case 0x277: return pair(S.pat);
    case 0x2ff: return pair(S.mtrrDefault);
    case 0xfe: return [0x508, 0];
    case 0x1a0: return pair(S.miscEnable);
    case 0x17: case 0x8b: case 0x179: case 0x17a: case 0x17b: return [0, 0];
    case 0xc0000080: return [cpu.get(S.efer), 0];
    default:
      if (number >= 0x200 && number < 0x210) return pair(S.mtrrVariable + (number - 0x200) * 8);
      if (fixedMtrr(number) >= 0) return pair(S.mtrrFixed + fixedMtrr(number) * 8);
      throw new GuestFault(VEC.GP, 0);
  }
}
const fixedMtrr = (number: number): number => [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f].indexOf(number);
export function timestamp(cpu: Cpu): [number, number] {
  const u = cpu.words;
  const now = BigInt.asUintN(64, joined(u, S.retired) + joined(u, S.tscOffset));
  return [Number(now & 0xffffffffn) | 0, Number(now >> 32n) | 0];
}
/** Fixed counter 0, INST_RETIRED.ANY (SDM vol. 3, 20.2.2): always counting, in all rings, 48 bits. ECX of RDPMC. */
export const FIXED_COUNTER = 0x4000_0000;
export const instructionsRetired = (cpu: Cpu): [number, number] => [cpu.words[S.retired >> 2]!, cpu.words[(S.retired >> 2) + 1]! & 0xffff];
const joined = (words: Int32Array, offset: number): bigint => BigInt(words[(offset >> 2) + 1]) << 32n | BigInt(words[offset >> 2] >>> 0);

export function writeMsr(cpu: Cpu, number: number, low: number, high: number): void {
  const pair = (offset: number): void => { cpu.set(offset, low); cpu.set(offset + 4, high); };
  switch (number >>> 0) {
    case 0x10: {
      const offset = (BigInt(high) << 32n | BigInt(low >>> 0)) - joined(cpu.words, S.retired);
      cpu.set(S.tscOffset, Number(offset & 0xffffffffn) | 0); cpu.set(S.tscOffset + 4, Number(offset >> 32n & 0xffffffffn) | 0);
      return;
    }
    case 0x1b:
      // The LAPIC stays where it is and on: moving or disabling it is refused loudly.
      if ((low & 0xfffff800) !== (0xfee00800 | 0) || high || low & 0x6ff) throw new GuestFault(VEC.GP, 0);
      cpu.set(S.apicBase, low & ~0x100 | (cpu.index === 0 ? 0x100 : 0));
      return;
    case 0x174: cpu.set(S.sysenterCs, low); return;
    case 0x175: cpu.set(S.sysenterEsp, low); return;
    case 0x176: cpu.set(S.sysenterEip, low); return;
    case 0x277: pair(S.pat); return;
    case 0x2ff: pair(S.mtrrDefault); return;
    case 0x1a0: pair(S.miscEnable); return;
    case 0x17: case 0x8b: case 0x179: case 0x17a: case 0x17b: return;
    case 0xc0000080:
      if (low & ~0x800 || high) throw new GuestFault(VEC.GP, 0);
      cpu.set(S.efer, low);
      cpu.mmu.flush();
      return;
    default:
      if (number >= 0x200 && number < 0x210) { pair(S.mtrrVariable + (number - 0x200) * 8); return; }
      if (fixedMtrr(number) >= 0) { pair(S.mtrrFixed + fixedMtrr(number) * 8); return; }
      throw new GuestFault(VEC.GP, 0);
  }
}

const text = (s: string): number => s.charCodeAt(0) | s.charCodeAt(1) << 8 | s.charCodeAt(2) << 16 | s.charCodeAt(3) << 24;
const VENDOR = 'KintsugiCPU!';
const BRAND = 'Kintsugi virtual i686 processor'.padEnd(48, '\0');

/** EAX, EBX, ECX, EDX of a leaf. Only what works is announced: no MONITOR, no SMAP. */
export function cpuid(cpu: Cpu, leaf: number, subleaf: number): [number, number, number, number] {
  const count = cpu.board.cpus;
  switch (leaf >>> 0) {
    case 0: return [10, text(VENDOR), text(VENDOR.slice(8)), text(VENDOR.slice(4))];
    case 1: {
      const features = [0, 2, 3, 4, 5, 6, 8, 9, 11, 13, 15, 16, 19, 23, 24, 25, 26, ...(count > 1 ? [28] : [])].reduce((bits, bit) => bits | 1 << bit, 0);
      return [0x6d1, cpu.index << 24 | count << 16 | 8 << 8, 1 << 31 | 1 << 23 | 1, features];
    }
    case 2: return [0x01, 0, 0, 0];
    case 4: return [0, 0, 0, 0];
    case 7: return [0, subleaf === 0 ? 1 << 7 : 0, 0, 0];
    // Architectural performance monitoring, version 2: no general counters, one fixed one of 48 bits.
    case 10: return [2, 0, 0, 1 | 48 << 5];
    case 0x40000000: return [0x40000010, text('Kint'), text('sugi'), text('VM\0\0')];
    // Timing leaf as other hypervisors have it: kHz of the TSC and of the APIC timer's input.
    case 0x40000010: return [1_000_000, 1_000_000, 0, 0];
    case 0x80000000: return [0x80000008 | 0, 0, 0, 0];
    case 0x80000001: return [0, 0, 0, 1 << 20];
    case 0x80000002: case 0x80000003: case 0x80000004: {
      const at = ((leaf & 0xf) - 2) * 16;
      return [text(BRAND.slice(at)), text(BRAND.slice(at + 4)), text(BRAND.slice(at + 8)), text(BRAND.slice(at + 12))];
    }
    case 0x80000008: return [36 | 32 << 8, 0, 0, 0];
    default: return [0, 0, 0, 0];
  }
}
