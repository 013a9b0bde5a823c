/**
 * What a debugger of the machine can know of the Kintsugi above it: kernel Threads with their saved registers, whose address space is whose, where
 * the kernel panics, which symbol file belongs to whom. Everything is read from guest memory by the layouts of microkernel/offsets.ts and from the
 * build's debug data; the guest is not asked and nothing in it changes.
 *
 * Threads are found by the kernel's own list of them. Its head is a variable without a name in the image, so it is looked for: the word of the kernel's data
 * that points to a Thread without a predecessor whose successors all point back.
 */
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { THREAD_STATE } from '../../microkernel/abi/objects.ts';
import { SELECTOR, VM_MAP } from '../../microkernel/abi/layout.ts';
import { C_CURRENT, T_CPU, T_CR3, T_EAX, T_EBP, T_EBX, T_ECX, T_EDI, T_EDX, T_EFLAGS, T_EIP, T_ESI, T_ESP, T_IRET, T_NEXT, T_PREV, T_PRIO, T_SERIAL, T_STATE, C_INDEX } from '../../microkernel/offsets.ts';
import { S } from '../../vm/cpu/state.ts';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import type { FaultPort, FaultRegister } from '../../vm/faults.ts';
import { spaceOf } from '../lab/guest-view.ts';
import { moduleOf } from '../lab/symbols.ts';
import { GUEST_FOLDER } from '../cli/guest.ts';
import { MODULES } from '../cli/system.ts';
import { walkStack, type DebugInfo } from '../build/debug.ts';
import { symbolFile, withStubDepths } from './symbols.ts';

export interface GuestThread {
  readonly serial: number;
  readonly name: string;
  /** State, priority, place in the source. */
  readonly extra: string;
  readonly cr3: number;
  /** vCPU whose registers are the Thread's: it runs in ring 3. */
  readonly runsOn: number | undefined;
  /** Saved registers; after a SYSENTER those that the kernel will restore. */
  readonly registers: ReadonlyMap<FaultRegister | 'cs' | 'ss', number>;
}
/** What a debugger asks about the system above the machine. */
export interface Awareness {
  threads(): readonly GuestThread[];
  /** Who runs on a vCPU, in words. */
  describe(cpu: number): string;
  /** Name of the address space that `cpu` is in; undefined in code that all of them share. */
  spaceOf(cpu: number, linear: number): string | undefined;
  readonly spaceNames: readonly string[];
  readonly panics: readonly number[];
  /** Makes the symbol files of the names and says the gdb command that loads each; unknown names are left out. */
  symbols(names: readonly string[]): readonly { readonly name: string; readonly command: string }[];
}

const THREAD_TYPE = 5;
/** Where a system call is made for others: the place that is told is their caller's. */
const WRAPPERS = /^(servers|programs)\/lib\/(sys|fiber)\.ts$/;
const MOST_THREADS = 4096;
const STATE_NAMES = new Map<number, string>(Object.entries(THREAD_STATE).map(([name, value]) => [value, name]));
const PANICS = ['microkernel/arch/panic/panicFrame', 'panicDouble', 'microkernel/arch/panic/panicDouble', 'microkernel/arch/panic/die'];
const FRAME: readonly (readonly [FaultRegister, number])[] = [['eax', T_EAX], ['ecx', T_ECX], ['edx', T_EDX], ['ebx', T_EBX], ['esp', T_ESP], ['ebp', T_EBP], ['esi', T_ESI], ['edi', T_EDI], ['eip', T_EIP], ['eflags', T_EFLAGS]];

export class KintsugiAwareness implements Awareness {
  readonly #port: FaultPort;
  readonly spaceNames: readonly string[] = [...MODULES.filter((name) => name !== 'uart'), 'uart0', 'uart1'];
  readonly panics: readonly number[];
  #head: number | undefined;
  readonly #debug = new Map<string, DebugInfo | undefined>();

  constructor(port: FaultPort) {
    this.#port = port;
    const { debug } = moduleOf('kernel');
    this.panics = [...new Set(PANICS.map((name) => debug?.functions.find((f) => f.name === name)?.address ?? debug?.symbols[name]).filter((address) => address !== undefined))];
  }

  /** A word at a kernel address: the direct map of physical memory. */
  #word(address: number): number {
    const physical = address - VM_MAP.kernelBase, { board } = this.#port.machine;
    return physical >= 0 && physical + 4 <= board.ramBytes && (physical & 3) === 0 ? board.ramWords[physical >>> 2]! : 0;
  }
  #isThread(address: number): boolean {
    return address >= VM_MAP.kernelBase && (this.#word(address) & 0xff) === THREAD_TYPE && STATE_NAMES.has(this.#word(address + T_STATE)) && this.#word(this.#word(address + T_CPU) + C_INDEX) < 16 && this.#word(address + T_CPU) >= VM_MAP.kernelBase;
  }
  #list(head: number): number[] | undefined {
    const found: number[] = [];
    for (let thread = head, before = 0; thread !== 0; before = thread, thread = this.#word(thread + T_NEXT)) {
      if (!this.#isThread(thread) || this.#word(thread + T_PREV) !== before || found.length === MOST_THREADS) return undefined;
      found.push(thread);
    }
    return found;
  }
  #threads(): number[] {
    if (this.#head !== undefined) { const known = this.#list(this.#word(this.#head)); if (known && known.length > 0) return known; }
    const symbols = moduleOf('kernel').debug?.symbols ?? {};
    for (let at = symbols['__data_start'] ?? 0; at < (symbols['__data_end'] ?? 0); at += 4) {
      const list = this.#isThread(this.#word(at)) ? this.#list(this.#word(at)) : undefined;
      if (list && list.length > 0) { this.#head = at; return list; }
    }
    return [];
  }
  /** The kernel's Cpu of a vCPU: what SYSENTER makes the stack pointer. */
  #cpuBlock(cpu: number): number { return this.#port.machine.cpus.words(cpu)[S.sysenterEsp >> 2]! >>> 0; }
  #user(cpu: number): boolean { return this.#port.machine.cpus.words(cpu)[S.cpl >> 2] === 3; }
  #name(cr3: number): string { return cr3 === 0 ? '-' : spaceOf(this.#port, cr3).name || '?'; }
  /** Debug data with the stubs' stack depths. */
  #debugOf(name: string): DebugInfo | undefined {
    const module = moduleOf(name);
    if (!this.#debug.has(name)) this.#debug.set(name, module.debug && (name === 'kernel' ? module.debug : withStubDepths(module.debug, (address, count) => module.bytes(address, count))));
    return this.#debug.get(name);
  }
  /** The TypeScript line a Thread is at: the first outside the wrappers of system calls, found by walking its stack. */
  #line(name: string, cr3: number, eip: number, esp: number): string {
    const debug = eip < VM_MAP.kernelBase ? this.#debugOf(name) : undefined;
    const frames = debug ? walkStack(debug, eip, esp, (address) => this.#port.readWord(cr3, address), 12).filter(({ file }) => file !== '') : [];
    const found = frames.find(({ file }) => !WRAPPERS.test(file)) ?? frames[0];
    return found ? `${found.file}:${found.line}` : this.#place(name, eip);
  }
  #place(name: string, eip: number): string {
    const { symbol, line } = moduleOf(eip >= VM_MAP.kernelBase ? 'kernel' : name).place(eip);
    return line || symbol || `0x${eip.toString(16)}`;
  }

  threads(): readonly GuestThread[] {
    const { cpus } = this.#port.machine, running = new Map<number, number>();
    for (let cpu = 0; cpu < cpus.cpus; cpu++) { const block = this.#cpuBlock(cpu); if (block !== 0) running.set(this.#word(block + C_CURRENT), cpu); }
    return this.#threads().map((thread) => {
      const word = (offset: number): number => this.#word(thread + offset);
      const cr3 = word(T_CR3), cpu = running.get(thread), runsOn = cpu !== undefined && this.#user(cpu) ? cpu : undefined, name = this.#name(cr3);
      const registers = new Map<FaultRegister | 'cs' | 'ss', number>(FRAME.map(([register, offset]) => [register, runsOn === undefined ? word(offset) : this.#port.register(runsOn, register)]));
      registers.set('cs', SELECTOR.userCode).set('ss', SELECTOR.userData);
      // A system call keeps no flags (docs: CAVEATS, kernel).
      if (runsOn === undefined && word(T_IRET) === 0) registers.set('eflags', 0x202);
      const state = word(T_STATE), where = cpu === undefined ? '' : runsOn === undefined ? ` in the kernel on CPU ${cpu}` : ` on CPU ${cpu}`;
      return { serial: word(T_SERIAL), name, extra: `${STATE_NAMES.get(state)}${where}, prio ${word(T_PRIO)}${cr3 === 0 ? '' : `, ${this.#line(name, cr3, registers.get('eip')!, registers.get('esp')!)}`}`, cr3, runsOn, registers };
    }).sort((a, b) => a.serial - b.serial);
  }
  describe(cpu: number): string {
    const words = this.#port.machine.cpus.words(cpu), eip = words[S.eip >> 2]! >>> 0, block = this.#cpuBlock(cpu), thread = block === 0 ? 0 : this.#word(block + C_CURRENT);
    if (thread === 0 || !this.#isThread(thread)) return `kernel, ${this.#place('kernel', eip)}`;
    const name = this.#name(this.#word(thread + T_CR3));
    return `${this.#user(cpu) ? name : `kernel for ${name}`}, ${this.#place(name, eip)}`;
  }
  spaceOf(cpu: number, linear: number): string | undefined {
    return linear >= VM_MAP.kernelBase ? undefined : this.#name(this.#port.machine.cpus.words(cpu)[S.cr3 >> 2]! >>> 0);
  }

  symbols(names: readonly string[]): readonly { readonly name: string; readonly command: string }[] {
    const folder = path.join(REPOSITORY_ROOT, '.kintsugi', 'gdb');
    mkdirSync(folder, { recursive: true });
    return names.flatMap((name) => {
      const debug = this.#debugOf(name);
      if (!debug) return [];
      const file = path.join(folder, `${debug.name}.sym`), from = path.join(GUEST_FOLDER, `${debug.name}.dbg.json`);
      if (!newer(file, from)) writeFileSync(file, symbolFile(debug, REPOSITORY_ROOT));
      return [{ name, command: `${name === 'kernel' ? 'symbol-file' : 'add-symbol-file'} ${file}` }];
    });
  }
}
function newer(file: string, than: string): boolean {
  try { return statSync(file).mtimeMs > statSync(than).mtimeMs && readFileSync(file).length > 0; } catch { return false; }
}
