/**
 * Counts every retired guest instruction of a deterministic machine, by address space and block, and samples call stacks by virtual time.
 *
 * Exact. The engine tells `watch` (vm/engine.ts) of every block before it runs; what the vCPU has retired since it was told last belongs to the block of
 * that time, from its first instruction on: a fault, an interrupt or the end of a slice only make it fewer. A REP instruction ends its block, so what is
 * more than the block's instructions is its iterations. Nothing is estimated and nothing is lost: the sum is the machine's own count.
 *
 * Passive. Watching switches regions off and changes no state of the guest: the run has the same instructions, in the same order, and the same state
 * hash as one that nobody watches (test/profile).
 *
 * A sample is the first block that begins `every` instructions (ns of virtual time) after the last sample of its vCPU; its weight is what was retired
 * since then, so that weights add up to the exact total too. Kernel frames lie above the user stack of the space that was mapped, as it was when that
 * space last entered the kernel.
 */
import type { BlockWatch } from '../../vm/engine.ts';
import { CR0, S } from '../../vm/cpu/state.ts';
import { FaultPort } from '../../vm/faults.ts';
import type { DeterministicMachine } from '../../vm/machine.ts';
import { CALLS } from '../../microkernel/abi/calls.ts';
import { VM_MAP } from '../../microkernel/abi/layout.ts';
import { STARTUP } from '../../servers/protocols/startup.ts';
import { spaceOf } from '../lab/guest-view.ts';
import { moduleOf, type Module } from '../lab/symbols.ts';
import { withStubDepths } from '../gdb/symbols.ts';

/** `command`: from the first instruction of the first program on; `boot`: from the reset. */
export type From = 'boot' | 'command';
export interface CollectOptions {
  readonly from: From;
  /** Instructions between two samples of a vCPU; 0: no stacks. */
  readonly every: number;
  /** Symbols and code by name; default: those of the build. */
  readonly codeOf?: (name: string) => Code;
}
export type Code = Pick<Module, 'debug' | 'place' | 'functionAt' | 'bytes' | 'instruction'>;

/** A run of instructions that begins at `eip`: how often the first n of it were executed. */
export class BlockCount {
  readonly eip: number;
  /** Address of its function; -1: unknown. */
  readonly owner: number;
  /** The usual length and how often; other lengths. */
  length = 0;
  times = 0;
  readonly others = new Map<number, number>();
  /** It is the first of its function, and that was called (or jumped to) so often. */
  calls = 0;
  /** Its last instruction, at the usual length, is a call: found out when asked. */
  endsInCall: boolean | undefined;
  /** The first of the kernel's entry for system calls. */
  systemCall = false;
  constructor(eip: number, owner: number) { this.eip = eip; this.owner = owner; }
  add(n: number): void {
    if (this.length === n) this.times++;
    else if (this.length === 0) { this.length = n; this.times = 1; }
    else this.others.set(n, (this.others.get(n) ?? 0) + 1);
  }
  /** [instructions, times] */
  *runs(): Generator<readonly [number, number]> {
    if (this.times > 0) yield [this.length, this.times];
    yield* this.others;
  }
}

/** What executes: the kernel, a server, a program; instances of one name are one. */
export interface Party { readonly name: string; readonly module: Code; readonly blocks: Map<number, BlockCount>; readonly places: Map<number, Place>; readonly stubs: ReadonlyMap<number, Depths> }
/** Of a function: [offset, bytes from ESP to the return address] wherever that changes, and at its calls. */
interface Depths { readonly depths: readonly (readonly [number, number])[]; readonly frame: number }
/** What a stack walk wants to know of an address: its function's frame number (-1: none), stack depth there (-1: unknown) and at calls. */
interface Place { readonly frame: number; readonly depth: number; readonly most: number }

export interface StackFrame { readonly party: string; readonly name: string; readonly file: string; readonly line: number }
/** `frames`: outermost first, as numbers of `Collected.frames`. `weight`: instructions; `cpu`, in the order in which they were taken. */
export interface Sample { readonly cpu: number; readonly stack: number; readonly weight: number }
export interface Collected {
  readonly parties: readonly Party[];
  /** Instructions counted, and where counting began. */
  readonly counted: number;
  readonly startInstructions: number;
  readonly startNs: number;
  readonly frames: readonly StackFrame[];
  readonly stacks: readonly (readonly number[])[];
  readonly samples: readonly Sample[];
  /** System calls, exact; most first. */
  readonly systemCalls: readonly SystemCalls[];
}
/** `call`: its name in microkernel/abi. */
export interface SystemCalls { readonly server: string; readonly call: string; readonly count: number }

interface Cpu {
  cr3: number; user: boolean;
  party: Party | undefined;
  block: BlockCount | undefined;
  retired: number;
  /** Executed before it. */
  previous: BlockCount | undefined;
  sampled: number;
  /** Last block in user mode and ESP in front of it. */
  userEip: number; userEsp: number;
  /** Who entered the kernel last, and EBX where it did. */
  caller: string; tag: number;
}

const { fields } = STARTUP;
const SYSTEM_CALL_ENTRY = 'sysenterEntry';
const CALL_NAMES = new Map<number, string>(Object.entries(CALLS).map(([name, { op }]) => [op, name]));
const MOST_FRAMES = 64;

export class Collector {
  readonly #options: CollectOptions;
  #machine: DeterministicMachine | undefined;
  #port: FaultPort | undefined;
  #words: Int32Array[] = [];
  readonly #cpus: Cpu[] = [];
  #on = false;
  readonly #parties = new Map<string, Party>();
  /** Name of a space by CR3, as long as its start-up page says the same instance. */
  readonly #spaces = new Map<number, { generation: number; pid: number; party: Party }>();
  /** Where a space last left user mode. */
  readonly #entered = new Map<number, { readonly eip: number; readonly esp: number; readonly party: Party }>();
  #counted = 0;
  #startInstructions = 0;
  #startNs = 0;
  readonly #frames: StackFrame[] = [];
  readonly #frameNumbers = new Map<string, number>();
  readonly #stacks: number[][] = [];
  readonly #stackNumbers = new Map<string, number>();
  readonly #samples: Sample[] = [];
  readonly #systemCalls = new Map<string, number>();

  constructor(options: CollectOptions) { this.#options = options; }

  /** Before its first instruction. */
  attach(machine: DeterministicMachine): void {
    this.#machine = machine;
    this.#port = new FaultPort(machine);
    for (let cpu = 0; cpu < machine.board.cpus; cpu++) {
      this.#words.push(machine.cpus.words(cpu));
      this.#cpus.push({ cr3: -1, user: false, party: undefined, block: undefined, retired: 0, previous: undefined, sampled: 0, userEip: 0, userEsp: 0, caller: '', tag: 0 });
    }
    if (this.#options.from === 'boot') this.#start();
  }

  readonly watch: BlockWatch = (cpu, retired, eip) => {
    const at = this.#cpus[cpu]!, words = this.#words[cpu]!;
    if (retired > at.retired) this.#charge(at, retired);
    const cr3 = words[S.cr3 >> 2]! >>> 0, user = words[S.cpl >> 2] === 3;
    if (at.cr3 !== cr3 || at.user !== user || at.party === undefined) {
      if (at.user && !user && at.party) at.caller = at.party.name;
      if (at.user && !user && at.party) this.#entered.set(at.cr3, { eip: at.userEip, esp: at.userEsp, party: at.party });
      at.cr3 = cr3; at.user = user;
      at.party = user ? this.#space(cr3) : this.#party('kernel');
    }
    if (user) { at.userEip = eip; at.userEsp = words[S.esp >> 2]! >>> 0; }
    if (!this.#on) { if (!user || this.#spaces.get(cr3)?.pid === 0) return false; this.#start(); }
    const { party } = at;
    let block = party.blocks.get(eip);
    if (block === undefined) {
      party.blocks.set(eip, block = new BlockCount(eip, this.#ownerOf(party, cpu, eip)));
      block.systemCall = !user && block.owner === eip && party.module.functionAt(eip)?.name === SYSTEM_CALL_ENTRY;
    }
    if (block.systemCall) at.tag = words[S.ebx >> 2]!;
    at.block = block;
    const { every } = this.#options;
    if (every > 0 && retired - at.sampled >= every) this.#sample(cpu, at, eip, retired);
    return false;
  };
  #charge(at: Cpu, retired: number): void {
    const { block } = at, n = retired - at.retired;
    at.retired = retired;
    if (!this.#on || block === undefined) return;
    this.#counted += n;
    block.add(n);
    if (block.systemCall) {
      const key = `${at.caller}\0${CALL_NAMES.get(at.tag >>> 28) ?? `number ${at.tag >>> 28}`}`;
      this.#systemCalls.set(key, (this.#systemCalls.get(key) ?? 0) + 1);
    }
    if (block.eip === block.owner && (at.previous === undefined || at.previous.owner !== block.owner || this.#endsInCall(at.party!, at.previous))) block.calls++;
    at.previous = block;
  }
  #endsInCall(party: Party, block: BlockCount): boolean {
    if (block.endsInCall !== undefined) return block.endsInCall;
    let eip = block.eip, name = '';
    for (let n = 0; n < block.length; n++) {
      const insn = party.module.instruction(eip);
      if (!insn) break;
      name = insn.entry.name;
      eip += insn.length;
    }
    return block.endsInCall = name.startsWith('call');
  }

  /** Counting begins here; what vCPUs have done of their present blocks is not ours. */
  #start(): void {
    this.#on = true;
    const machine = this.#machine!;
    this.#cpus.forEach((at, cpu) => {
      at.retired = at.sampled = Math.max(at.retired, machine.cpus.retired(cpu));
      at.block = at.previous = undefined;
    });
    this.#startInstructions = this.#cpus.reduce((sum, { retired }) => sum + retired, 0);
    this.#startNs = machine.virtualNs;
  }
  /** After the run. */
  finish(): Collected {
    const machine = this.#machine!;
    if (!this.#on) this.#start();
    this.#cpus.forEach((at, cpu) => {
      const retired = machine.cpus.retired(cpu);
      if (retired > at.retired) this.#charge(at, retired);
      if (this.#options.every > 0 && at.retired > at.sampled && at.block) this.#sample(cpu, at, at.block.eip, at.retired);
    });
    return {
      parties: [...this.#parties.values()].filter(({ blocks }) => blocks.size > 0), counted: this.#counted, startInstructions: this.#startInstructions, startNs: this.#startNs,
      frames: this.#frames, stacks: this.#stacks, samples: this.#samples,
      systemCalls: [...this.#systemCalls].map(([key, count]) => { const [server, call] = key.split('\0') as [string, string]; return { server, call, count }; }).sort((a, b) => b.count - a.count || (a.server + a.call < b.server + b.call ? -1 : 1)),
    };
  }

  #party(name: string): Party {
    let party = this.#parties.get(name);
    if (!party) {
      const module = (this.#options.codeOf ?? moduleOf)(name);
      // Hand-written functions have no depths; the kernel's are entries.
      const stubs = module.debug && name !== 'kernel' ? withStubDepths(module.debug, (at, count) => module.bytes(at, count)).functions.filter((f, n) => f !== module.debug!.functions[n]) : [];
      this.#parties.set(name, party = { name, module, blocks: new Map(), places: new Map(), stubs: new Map(stubs.map((f) => [f.address, f])) });
    }
    return party;
  }
  #space(cr3: number): Party {
    const port = this.#port!, physical = port.translate(cr3, VM_MAP.startupPage), { ramWords } = this.#machine!.board;
    const word = (offset: number): number => (physical < 0 ? 0 : ramWords[(physical + offset) >>> 2]!);
    const generation = word(fields.generation), pid = word(fields.pid), known = this.#spaces.get(cr3);
    if (known && known.generation === generation && known.pid === pid) return known.party;
    const party = this.#party(spaceOf(port, cr3).name);
    this.#spaces.set(cr3, { generation, pid, party });
    return party;
  }
  /** Address of the function at `eip`; -1 where there are no symbols, or not of this code. */
  #ownerOf({ module }: Party, cpu: number, eip: number): number {
    const words = this.#words[cpu]!, { board } = this.#machine!;
    const f = module.functionAt(eip), expected = f && module.bytes(eip, 8);
    if (!f || !expected) return -1;
    const physical = words[S.cr0 >> 2]! & CR0.PG ? this.#port!.translate(words[S.cr3 >> 2]! >>> 0, eip) : eip;
    const count = Math.min(expected.length, 4096 - (eip & 4095), f.address + f.size - eip);
    if (physical < 0 || physical + count > board.ramBytes) return -1;
    for (let n = 0; n < count; n++) if (board.ram[physical + n] !== expected[n]) return -1;
    return f.address;
  }

  // ---- stacks
  #frame(party: string, name: string, line: string): number {
    const key = `${party}\0${name}`;
    let number = this.#frameNumbers.get(key);
    if (number === undefined) {
      const colon = line.lastIndexOf(':');
      number = this.#frames.push({ party, name, file: colon < 0 ? '' : line.slice(0, colon), line: colon < 0 ? 0 : Number(line.slice(colon + 1)) }) - 1;
      this.#frameNumbers.set(key, number);
    }
    return number;
  }
  #placeOf({ name: party, module, places, stubs }: Party, eip: number): Place {
    let place = places.get(eip);
    if (place) return place;
    const f = module.functionAt(eip);
    if (!f) place = { frame: -1, depth: -1, most: -1 };
    else {
      let depth = 0;
      const { depths, frame } = stubs.get(f.address) ?? f;
      for (const [offset, bytes] of depths) if (f.address + offset <= eip) depth = bytes;
      place = { frame: this.#frame(party, f.name, module.place(f.address).line), depth: depths.length === 0 ? -1 : depth, most: frame };
    }
    places.set(eip, place);
    return place;
  }
  /** As walkStack (tools/build/debug.ts), innermost first, with what is known of an address remembered: sampling would cost more than running. */
  #walk(party: Party, cr3: number, eip: number, esp: number): number[] {
    const out: number[] = [], { ramWords, ramBytes } = this.#machine!.board;
    for (let innermost = true; out.length < MOST_FRAMES; innermost = false) {
      // A return address may lie just behind its function (a call that never returns): look at the call itself.
      const { frame, depth, most } = this.#placeOf(party, innermost ? eip : eip - 1);
      if (frame < 0) { if (innermost) out.push(this.#frame(party.name, `[0x${eip.toString(16)}]`, '')); return out; }
      out.push(frame);
      if (depth < 0) return out;
      const at = (esp + (innermost ? depth : most)) >>> 0, physical = this.#port!.translate(cr3, at);
      if (physical < 0 || physical & 3 || physical >= ramBytes) return out;
      esp = (at + 4) >>> 0;
      eip = ramWords[physical >>> 2]! >>> 0;
    }
    return out;
  }
  #sample(cpu: number, at: Cpu, eip: number, retired: number): void {
    const words = this.#words[cpu]!, paged = (words[S.cr0 >> 2]! & CR0.PG) !== 0, esp = words[S.esp >> 2]! >>> 0;
    const weight = retired - at.sampled;
    at.sampled = retired;
    const frames = paged ? this.#walk(at.party!, at.cr3, eip, esp) : [];
    const below = at.user ? undefined : this.#entered.get(at.cr3);
    if (below) frames.push(...this.#walk(below.party, at.cr3, below.eip, below.esp));
    const { name } = below?.party ?? at.party!;
    frames.push(this.#frame(name, name, ''));
    frames.reverse();
    const key = frames.join();
    let stack = this.#stackNumbers.get(key);
    if (stack === undefined) this.#stackNumbers.set(key, stack = this.#stacks.push(frames) - 1);
    this.#samples.push({ cpu, stack, weight });
  }
}
