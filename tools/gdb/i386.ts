/**
 * The registers of a vCPU as gdb has them: target.xml and the way to each of them in the vCPU block (vm/cpu/state.ts).
 *
 * Features org.gnu.gdb.i386.core and .sse are gdb's own (gdb manual, G.5.6), in its order; what only a system debugger wants to see, control, debug
 * and system-table registers, is in a feature of ours and in the group `system`.
 */
import { S, SEG, segBase, segSelector } from '../../vm/cpu/state.ts';
import { fullBits, tagWord } from '../../vm/cpu/system/fpu.ts';
import type { FaultPort } from '../../vm/faults.ts';

interface Register { readonly name: string; readonly bits: number; readonly type: string; readonly group?: string; read(words: Int32Array, port: FaultPort, cpu: number): Uint8Array; write?(words: Int32Array, value: Uint8Array, port: FaultPort, cpu: number): void }

const word = (value: number): Uint8Array => Uint8Array.of(value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24);
const value32 = (bytes: Uint8Array): number => (bytes[0]! | bytes[1]! << 8 | bytes[2]! << 16 | bytes[3]! << 24) | 0;
const bytesOf = (words: Int32Array, offset: number, count: number): Uint8Array => new Uint8Array(words.buffer, words.byteOffset + offset, count);

const general = (name: 'eax' | 'ecx' | 'edx' | 'ebx' | 'esp' | 'ebp' | 'esi' | 'edi' | 'eip' | 'eflags', type: string): Register => ({
  name, bits: 32, type, read: (_words, port, cpu) => word(port.register(cpu, name)), write: (_words, value, port, cpu) => port.setRegister(cpu, name, value32(value)),
});
const field = (name: string, offset: number, type = 'int', group?: string): Register => ({ name, bits: 32, type, ...(group ? { group } : {}), read: (words) => word(words[offset >> 2]!) });
const writable = (name: string, offset: number, mask = -1, type = 'int', group?: string): Register => ({
  ...field(name, offset, type, group), write: (words, value, port, cpu) => { words[offset >> 2] = value32(value) & mask; port.machine.engines[cpu]!.registersChanged(); },
});
/** TOP is kept beside the status word; gdb wants it in there. */
const fstat: Register = {
  name: 'fstat', bits: 32, type: 'int', group: 'float', read: (words) => word((words[S.fpuStatus >> 2]! & 0xc7ff) | (words[S.fpuTop >> 2]! & 7) << 11),
  write: (words, value) => { const status = value32(value); words[S.fpuStatus >> 2] = status & 0xc7ff; words[S.fpuTop >> 2] = status >> 11 & 7; },
};

/** We keep a bit for each register that holds a value; gdb wants the two-bit tags of FNSTENV (SDM vol. 1 8.1.7). */
const ftag: Register = {
  name: 'ftag', bits: 32, type: 'int', group: 'float', read: (words) => word(tagWord({ get: (offset) => words[offset >> 2]! })),
  write: (words, value) => { words[S.fpuTag >> 2] = fullBits(value32(value)); },
};

const CORE: readonly Register[] = [
  ...(['eax', 'ecx', 'edx', 'ebx'] as const).map((name) => general(name, 'int32')), general('esp', 'data_ptr'), general('ebp', 'data_ptr'), general('esi', 'int32'), general('edi', 'int32'),
  general('eip', 'code_ptr'), general('eflags', 'i386_eflags'),
  ...([['cs', SEG.CS], ['ss', SEG.SS], ['ds', SEG.DS], ['es', SEG.ES], ['fs', SEG.FS], ['gs', SEG.GS]] as const).map(([name, index]) => field(name, segSelector(index), 'int32')),
  ...Array.from({ length: 8 }, (_, n): Register => {
    const at = (words: Int32Array): number => S.fpr + ((words[S.fpuTop >> 2]! + n) & 7) * 16;
    return { name: `st${n}`, bits: 80, type: 'i387_ext', read: (words) => bytesOf(words, at(words), 10).slice(), write: (words, value) => bytesOf(words, at(words), 10).set(value) };
  }),
  writable('fctrl', S.fpuControl, 0xffff, 'int', 'float'), fstat, ftag, writable('fiseg', S.fpuCs, 0xffff, 'int', 'float'), writable('fioff', S.fpuIp, -1, 'int', 'float'),
  writable('foseg', S.fpuDs, 0xffff, 'int', 'float'), writable('fooff', S.fpuDp, -1, 'int', 'float'), writable('fop', S.fpuOpcode, 0x7ff, 'int', 'float'),
];
const SSE: readonly Register[] = [
  ...Array.from({ length: 8 }, (_, n): Register => ({ name: `xmm${n}`, bits: 128, type: 'vec128', read: (words) => bytesOf(words, S.xmm + n * 16, 16).slice(), write: (words, value) => bytesOf(words, S.xmm + n * 16, 16).set(value) })),
  writable('mxcsr', S.mxcsr, 0xffff, 'i386_mxcsr', 'vector'),
];
const SYSTEM: readonly Register[] = [
  ...(['cr0', 'cr2', 'cr3', 'cr4', 'dr0', 'dr1', 'dr2', 'dr3', 'dr6', 'dr7', 'efer', 'cpl', 'gdtrBase', 'gdtrLimit', 'idtrBase', 'idtrLimit'] as const)
    .map((name) => field(name.replace(/[A-Z]/, (letter) => `_${letter.toLowerCase()}`), S[name], name === 'cr2' || name.endsWith('Base') ? 'data_ptr' : 'int', 'system')),
  field('fs_base', segBase(SEG.FS), 'data_ptr', 'system'), field('gs_base', segBase(SEG.GS), 'data_ptr', 'system'), field('tr', segSelector(SEG.TR), 'int', 'system'), field('ldtr', segSelector(SEG.LDTR), 'int', 'system'),
];

export const REGISTERS: readonly Register[] = [...CORE, ...SSE, ...SYSTEM];
export const REGISTER_BYTES: readonly number[] = REGISTERS.map(({ bits }) => bits / 8);
export const registerNumber = (name: string): number => REGISTERS.findIndex((register) => register.name === name);

export function readRegister(port: FaultPort, cpu: number, register: number): Uint8Array | undefined { return REGISTERS[register]?.read(port.machine.cpus.words(cpu), port, cpu); }
/** False for registers that have side effects which a debugger cannot make right: segments, control and system-table registers. */
export function writeRegister(port: FaultPort, cpu: number, register: number, value: Uint8Array): boolean {
  const found = REGISTERS[register];
  if (!found?.write || value.length !== found.bits / 8) return false;
  found.write(port.machine.cpus.words(cpu), value, port, cpu);
  return true;
}

const xml = (list: readonly Register[], first: number): string => list.map(({ name, bits, type, group }, n) => `    <reg name="${name}" bitsize="${bits}" type="${type}" regnum="${first + n}"${group ? ` group="${group}"` : ''}/>`).join('\n');
const FLAGS: readonly (readonly [string, number])[] = [['CF', 0], ['', 1], ['PF', 2], ['AF', 4], ['ZF', 6], ['SF', 7], ['TF', 8], ['IF', 9], ['DF', 10], ['OF', 11], ['NT', 14], ['RF', 16], ['VM', 17], ['AC', 18], ['VIF', 19], ['VIP', 20], ['ID', 21]];
const MXCSR: readonly (readonly [string, number])[] = [['IE', 0], ['DE', 1], ['ZE', 2], ['OE', 3], ['UE', 4], ['PE', 5], ['DAZ', 6], ['IM', 7], ['DM', 8], ['ZM', 9], ['OM', 10], ['UM', 11], ['PM', 12], ['FZ', 15]];
const flags = (list: readonly (readonly [string, number])[]): string => list.map(([name, bit]) => `      <field name="${name}" start="${bit}" end="${bit}"/>`).join('\n');

/** target.xml: what QEMU and gdbserver call their i386, plus the system registers. */
export const TARGET_XML = `<?xml version="1.0"?>
<!DOCTYPE target SYSTEM "gdb-target.dtd">
<target version="1.0">
  <architecture>i386</architecture>
  <osabi>none</osabi>
  <feature name="org.gnu.gdb.i386.core">
    <flags id="i386_eflags" size="4">
${flags(FLAGS)}
    </flags>
${xml(CORE, 0)}
  </feature>
  <feature name="org.gnu.gdb.i386.sse">
    <vector id="v8bf16" type="bfloat16" count="8"/>
    <vector id="v4f" type="ieee_single" count="4"/>
    <vector id="v2d" type="ieee_double" count="2"/>
    <vector id="v16i8" type="int8" count="16"/>
    <vector id="v8i16" type="int16" count="8"/>
    <vector id="v4i32" type="int32" count="4"/>
    <vector id="v2i64" type="int64" count="2"/>
    <union id="vec128">
      <field name="v8_bfloat16" type="v8bf16"/>
      <field name="v4_float" type="v4f"/>
      <field name="v2_double" type="v2d"/>
      <field name="v16_int8" type="v16i8"/>
      <field name="v8_int16" type="v8i16"/>
      <field name="v4_int32" type="v4i32"/>
      <field name="v2_int64" type="v2i64"/>
      <field name="uint128" type="uint128"/>
    </union>
    <flags id="i386_mxcsr" size="4">
${flags(MXCSR)}
    </flags>
${xml(SSE, CORE.length)}
  </feature>
  <feature name="org.kintsugi.i386.system">
${xml(SYSTEM, CORE.length + SSE.length)}
  </feature>
</target>
`;
