/**
 * Control registers, model-specific registers and CPUID: what the processor says of itself and how the system reconfigures it.
 */
import { GuestFault } from '../mmu.ts';
import { CR0, CR4, S, VEC } from '../state.ts';
import type { Feature, Model } from '../isa/models.ts';
import type { Cpu } from './cpu.ts';

/** CR4 bits by the feature they belong to; the others raise #GP (SDM vol. 3 2.5). */
const CR4_BITS: readonly (readonly [Feature, number])[] = [
  ['base', CR4.TSD | CR4.DE | CR4.PSE | CR4.PAE | CR4.MCE | CR4.PGE | CR4.PCE], ['fxsr', CR4.OSFXSR], ['sse', CR4.OSXMMEXCPT],
  ['umip', CR4.UMIP], ['smep', CR4.SMEP], ['smap', CR4.SMAP],
];
const supportedControl = ({ features }: Model): number => CR4_BITS.reduce((bits, [feature, of]) => features.has(feature) ? bits | of : bits, 0);

const paging = (cpu: Cpu): boolean => cpu.get(S.cr0) < 0;

export function writeControl(cpu: Cpu, number: number, value: number): void {
  switch (number) {
    case 0: {
      const old = cpu.get(S.cr0);
      if ((value < 0 && !(value & CR0.PE)) || (value & CR0.NW && !(value & CR0.CD))) throw new GuestFault(VEC.GP, 0);
      const next = (value & (CR0.PE | CR0.MP | CR0.EM | CR0.TS | CR0.NE | CR0.WP | CR0.AM | CR0.NW | CR0.CD | CR0.PG)) | CR0.ET;
      const changed = old ^ next;
      // A change of PG, CD or NW loads the page-directory pointers (SDM vol. 3 4.4.1).
      const pointers = (changed & (CR0.PG | CR0.CD | CR0.NW)) !== 0 && next < 0 && (cpu.get(S.cr4) & CR4.PAE) !== 0;
      if (pointers && !cpu.mmu.loadPdptes(cpu.get(S.cr3))) throw new GuestFault(VEC.GP, 0);
      cpu.set(S.cr0, next);
      if (pointers || changed & (CR0.PG | CR0.WP | CR0.PE)) cpu.mmu.flush();
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
      if (value & ~supportedControl(cpu.model)) throw new GuestFault(VEC.GP, 0);
      const changed = cpu.get(S.cr4) ^ value;
      if (paging(cpu) && value & CR4.PAE && changed & (CR4.PAE | CR4.PGE | CR4.PSE | CR4.SMEP) && !cpu.mmu.loadPdptes(cpu.get(S.cr3))) throw new GuestFault(VEC.GP, 0);
      cpu.set(S.cr4, value);
      if (changed & (CR4.PAE | CR4.PGE | CR4.PSE | CR4.SMEP | CR4.SMAP)) cpu.mmu.flush();
      return;
    }
    default: throw new GuestFault(VEC.UD);
  }
}

/** MSRs of features that a model may lack; those it has not are unknown. */
const MSR_FEATURES = new Map<number, Feature>([
  [0x174, 'sep'], [0x175, 'sep'], [0x176, 'sep'], [0x277, 'pat'], [0xc0000080, 'nx'], [0x1a0, 'sse'],
  [0x309, 'pmu'], [0x38d, 'pmu'], [0x38e, 'pmu'], [0x38f, 'pmu'], [0x390, 'pmu'],
]);
function requireMsr(cpu: Cpu, number: number): void {
  const feature = MSR_FEATURES.get(number >>> 0);
  if (feature !== undefined && !cpu.model.features.has(feature)) unknown();
}
const unknown = (): never => { throw new GuestFault(VEC.GP, 0); };

/** EDX:EAX of an MSR as [low, high]; #GP for unknown ones. */
export function readMsr(cpu: Cpu, number: number): [number, number] {
  const pair = (offset: number): [number, number] => [cpu.get(offset), cpu.get(offset + 4)];
  requireMsr(cpu, number);
  switch (number >>> 0) {
    // P5_MC_ADDR, P5_MC_TYPE; platform id, microcode revision; machine check: no banks, no status (SDM vol. 3 16.3)
    case 0: case 1: case 0x17: case 0x8b: case 0x179: case 0x17a: return [0, 0];
    case 0x10: return timestamp(cpu);
    case 0x1b: return pair(S.apicBase);
    case 0x174: return [cpu.get(S.sysenterCs), 0];
    case 0x175: return [cpu.get(S.sysenterEsp), 0];
    case 0x176: return [cpu.get(S.sysenterEip), 0];
    case 0x277: return pair(S.pat);
    case 0x2ff: return pair(S.mtrrDefault);
    case 0xfe: return [MTRR_CAPABILITIES, 0];
    case 0x1a0: return pair(S.miscEnable);
    // The fixed counter counts always, in all rings, without overflow status (SDM vol. 3 20.2.2).
    case 0x309: return instructionsRetired(cpu);
    case 0x38d: return [3, 0];
    case 0x38e: case 0x390: return [0, 0];
    case 0x38f: return [0, 1];
    case 0xc0000080: return [cpu.get(S.efer), 0];
    default:
      if (number >= 0x200 && number < 0x210) return pair(S.mtrrVariable + (number - 0x200) * 8);
      if (fixedMtrr(number) >= 0) return pair(S.mtrrFixed + fixedMtrr(number) * 8);
      return unknown();
  }
}
/** Eight variable ranges, fixed ranges, write combining (SDM vol. 3 12.11.1). There are no caches: MTRRs and PAT are data, but data with rules. */
const MTRR_CAPABILITIES = 0x508;
const MAX_PHYSICAL_HIGH = 0xf;
const memoryType = (type: number): boolean => type === 0 || type === 1 || type === 4 || type === 5 || type === 6;
const bytesOf = (low: number, high: number): number[] => [low, high].flatMap(word => [0, 8, 16, 24].map(shift => word >>> shift & 0xff));
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
  const require = (valid: boolean): void => { if (!valid) unknown(); };
  requireMsr(cpu, number);
  switch (number >>> 0) {
    case 0x10: {
      const offset = (BigInt(high) << 32n | BigInt(low >>> 0)) - joined(cpu.words, S.retired);
      cpu.set(S.tscOffset, Number(offset & 0xffffffffn) | 0); cpu.set(S.tscOffset + 4, Number(offset >> 32n & 0xffffffffn) | 0);
      return;
    }
    case 0x1b:
      // The LAPIC stays where it is and on: moving or disabling it is refused loudly.
      require((low & 0xfffff800) === (0xfee00800 | 0) && high === 0 && !(low & 0x6ff));
      cpu.set(S.apicBase, low & ~0x100 | (cpu.index === 0 ? 0x100 : 0));
      return;
    case 0x174: cpu.set(S.sysenterCs, low); return;
    case 0x175: cpu.set(S.sysenterEsp, low); return;
    case 0x176: cpu.set(S.sysenterEip, low); return;
    case 0x277: require(bytesOf(low, high).every(type => memoryType(type) || type === 7)); pair(S.pat); return;
    case 0x2ff: require(high === 0 && !(low & ~0xcff) && memoryType(low & 0xff)); pair(S.mtrrDefault); return;
    case 0x1a0: pair(S.miscEnable); return;
    // An update of the microcode, or the signature being cleared; machine check status can be cleared only.
    case 0x79: case 0x8b: return;
    case 0: case 1: case 0x17a: require(low === 0 && high === 0); return;
    case 0x38d: require(low === 3 && high === 0); return;
    case 0x38f: require(low === 0 && high === 1); return;
    case 0x390: return;
    case 0xc0000080:
      require(!(low & ~0x800) && high === 0);
      cpu.set(S.efer, low);
      cpu.mmu.flush();
      return;
    default:
      if (number >= 0x200 && number < 0x210) {
        require(!(high & ~MAX_PHYSICAL_HIGH) && (number & 1 ? !(low & 0x7ff) : !(low & 0xf00) && memoryType(low & 0xff)));
        pair(S.mtrrVariable + (number - 0x200) * 8);
        return;
      }
      if (fixedMtrr(number) >= 0) { require(bytesOf(low, high).every(memoryType)); pair(S.mtrrFixed + fixedMtrr(number) * 8); return; }
      unknown();
  }
}

const text = (s: string): number => s.charCodeAt(0) | s.charCodeAt(1) << 8 | s.charCodeAt(2) << 16 | s.charCodeAt(3) << 24;
const VENDOR = 'KintsugiCPU!';
/** EDX and ECX of leaf 1, EBX and ECX of leaf 7, EDX of leaf 80000001, by feature (SDM vol. 2 CPUID). */
const BITS = {
  // FPU DE PSE TSC MSR PAE MCE CX8 APIC MTRR PGE MCA CMOV
  edx1: [['base', [0, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15]], ['sep', [11]], ['pat', [16]], ['clflush', [19]], ['mmx', [23]], ['fxsr', [24]], ['sse', [25]], ['sse2', [26]]],
  // the last: a hypervisor is present
  ecx1: [['sse3', [0]], ['popcnt', [23]], ['rdrand', [30]], ['base', [31]]],
  ebx7: [['smep', [7]], ['smap', [20]], ['clwb', [24]]],
  ecx7: [['umip', [2]]],
  extended: [['nx', [20]]],
} as const satisfies Record<string, readonly (readonly [Feature, readonly number[]])[]>;
const bits = ({ features }: Model, of: keyof typeof BITS): number => (BITS[of] as readonly (readonly [Feature, readonly number[]])[]).reduce((word, [feature, numbers]) => features.has(feature) ? numbers.reduce((w, bit) => w | 1 << bit, word) : word, 0);

/** EAX, EBX, ECX, EDX of a leaf. Only what works is announced; leaves that the model does not have are zero. */
export function cpuid(cpu: Cpu, leaf: number, subleaf: number): [number, number, number, number] {
  const count = cpu.board.cpus, { model } = cpu;
  if (leaf >>> 0 > model.leaves && leaf >>> 0 < 0x40000000) return [0, 0, 0, 0];
  if (leaf < 0 && !model.extended) return [0, 0, 0, 0];
  switch (leaf >>> 0) {
    case 0: return [model.leaves, text(VENDOR), text(VENDOR.slice(8)), text(VENDOR.slice(4))];
    case 1: return [model.signature, cpu.index << 24 | count << 16 | (model.features.has('clflush') ? 8 << 8 : 0), bits(model, 'ecx1'), bits(model, 'edx1') | (count > 1 ? 1 << 28 : 0)];
    case 2: return [0x01, 0, 0, 0];
    case 4: return [0, 0, 0, 0];
    case 7: return subleaf === 0 ? [0, bits(model, 'ebx7'), bits(model, 'ecx7'), 0] : [0, 0, 0, 0];
    // Architectural performance monitoring, version 2: no general counters, one fixed one of 48 bits.
    case 10: return [2, 0, 0, 1 | 48 << 5];
    case 0x40000000: return [0x40000010, text('Kint'), text('sugi'), text('VM\0\0')];
    // Timing leaf as other hypervisors have it: kHz of the TSC and of the APIC timer's input.
    case 0x40000010: return [1_000_000, 1_000_000, 0, 0];
    case 0x80000000: return [0x80000008 | 0, 0, 0, 0];
    case 0x80000001: return [0, 0, 0, bits(model, 'extended')];
    case 0x80000002: case 0x80000003: case 0x80000004: {
      const at = ((leaf & 0xf) - 2) * 16, brand = model.brand.padEnd(48, '\0');
      return [text(brand.slice(at)), text(brand.slice(at + 4)), text(brand.slice(at + 8)), text(brand.slice(at + 12))];
    }
    case 0x80000008: return [36 | 32 << 8, 0, 0, 0];
    default: return [0, 0, 0, 0];
  }
}
