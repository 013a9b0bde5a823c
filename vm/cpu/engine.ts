/**
 * The CPU engine of one vCPU: `run(budget)` executes guest instructions until something outside the CPU must act.
 *
 * The interrupt rule. run() retires exactly `budget` instructions unless it returns earlier for a reason of its own (halt,
 * shutdown, stop). Interrupts are accepted when run() is entered, after instructions that can open the window or touch
 * devices (STI + 1, POPF, IRET, MOV CR8..., IN, OUT, MMIO), and, in parallel mode only, at block boundaries when the attention
 * word is set. A faulting instruction does not count; every REP iteration counts one. Exceptions, INT n and interrupt
 * deliveries are not instructions.
 *
 * All CPU state is in the vCPU block (state.ts): an engine object is only caches and may be made anew at any time.
 */
import { type Board } from '../board.ts';
import type { Bus } from '../devices/bus.ts';
import type { BlockWatch, DebugPlan, Engine as EngineInterface, EngineOptions, Exit, Mark } from '../engine.ts';
import { keptBytes } from '../entry.ts';
import { BlockCache, type Block } from './blocks.ts';
import { decode } from './isa/decode.ts';
import { Coherence } from './coherence.ts';
import { ACCESS, GuestFault, Mmu, PAGE_CODE, PAGE_TABLE } from './mmu.ts';
import { REPEAT_IN_TIER0 } from './jit/exit.ts';
import { HEAT_TO_COMPILE, RegionManager } from './jit/manager.ts';
import { ARCH_FIELDS, ATTN, CR0, DR7_ENABLES, FLAG, HITS_SHIFT, MODE, RUN, S, SEG, SHADOW, STORM, VEC, VCPU_BLOCK_BYTES, plainPortSlot, readEflags, writeEflags } from './state.ts';
import { FloatUnit } from './float/unit.ts';
import { X87Unit } from './float/stack.ts';
import { X87 } from './lower/fpu.ts';
import { Cpu } from './system/cpu.ts';
import { Shutdown, deliver } from './system/exceptions.ts';
import { CpuTrace } from './trace.ts';
import { fpuInit } from './system/fpu.ts';
import { Breakpoints } from './system/breakpoints.ts';
import { NearTransfers } from './system/near.ts';
import { execute } from './system/operations.ts';
import { seedRandom } from './system/random.ts';
import type { Form } from './tier0/forms.ts';
import { FAST_OPERATIONS } from './tier0/system.ts';
import { TRACE_EVENT } from '../trace.ts';
import { HOT_FORMS, hotKinds, rareModule, tier0Module } from './tier0/module.ts';


/** Compiled tier 0 modules per mode; post them to workers to share native code. */
const modules = new Map<boolean, WebAssembly.Module>();
export function compiledTier0(parallel: boolean): WebAssembly.Module {
  let module = modules.get(parallel);
  if (!module) modules.set(parallel, module = new WebAssembly.Module(keptBytes(parallel ? 'tier0-parallel.wasm' : 'tier0.wasm', () => tier0Module({ parallel }))));
  return module;
}
let watchedModule: WebAssembly.Module | undefined;
const watchedTier0 = (): WebAssembly.Module => watchedModule ??= new WebAssembly.Module(tier0Module({ parallel: false, watch: true }));
/** A module that another thread compiled: its native code is shared. */
export function adoptTier0(parallel: boolean, module: WebAssembly.Module): void { modules.set(parallel, module); }
const rareModules = new Map<string, WebAssembly.Module>();
const kindsOf = hotKinds(HOT_FORMS());

const LEAVE = 1;
/** BS of DR6 (SDM vol. 3 17.2.3). */
const DR6_STEP = 0x4000;
/** Soft-MMU entries that `restored` keeps. */
const MOST_RETAINED = 8192;
const SLICE_INSNS = 20_000, MAX_SLICE_INSNS = 1_000_000, MAX_HALTED_SLICE_INSNS = 50_000;

export class Engine implements EngineInterface {
  readonly board: Board;
  readonly index: number;
  readonly cpu: Cpu;
  readonly mmu: Mmu;
  readonly blocks: BlockCache;
  private readonly coherence: Coherence;
  private readonly words: Int32Array;
  private readonly bus: Bus;
  private readonly runTier0: (cpu: number) => number;
  /** Delivery in wasm for the usual case; 0: nothing was done (tier0/system.ts). */
  private readonly gate: (cpu: number, vector: number, error: number, returnEip: number, how: number) => number;
  private exit: Exit = 'budget';
  private retiredEnd = 0;
  /** True while generated code is running: `budget` in the state block is live. */
  private running = false;
  private busTouched = false;
  /** Before the next block attention is looked at: an iteration of a REP has touched a device. */
  private interrupted = false;
  private readonly regions: RegionManager | undefined;
  /** Budget of this run() not yet given to generated code; length of the next slice. */
  private later = 0;
  private slice = SLICE_INSNS;
  /** Of the running slice: instructions given to generated code, and not yet given. A run() that HLT or STOP ended leaves the rest to the next one. */
  private sliced = 0;
  private unfinished = 0;
  private halts = false;
  /** countInRegions when the slice began, low word. */
  private inRegionsBefore = 0;
  /** Start of the block that the end of the last run() cut in two, -1: none. A region should begin there, not in the middle of a loop body. */
  private cut = -1;
  private currentRest = 0;
  private readonly trace: CpuTrace | undefined;
  /** The guest's own, in DR0 to DR3. */
  private readonly breakpoints: Breakpoints;
  private readonly nearTransfers: NearTransfers;
  private readonly watch: BlockWatch | undefined;
  private debug: DebugPlan | undefined;
  /** A watched access asked to stop behind its instruction. */
  private stopPending = false;
  /** An exception or interrupt is being delivered: the instruction, if there was one, counts no more. */
  private delivering = false;
  /** By the EIP that follows the marked instruction. */
  private readonly marks = new Map<number, Mark>();
  /** What the soft MMU assumes: CR0, CR4, EFER. */
  private paging: [number, number, number] = [0, 0, 0];

  /** parallel: attention is tested at block boundaries and LOCK uses wasm atomics. */
  constructor(board: Board, cpu: number, bus: Bus, options: EngineOptions) {
    const parallel = options.parallel;
    this.board = board; this.index = cpu; this.bus = bus;
    const base = board.vcpuBase(cpu);
    this.words = new Int32Array(board.buffer, base, VCPU_BLOCK_BYTES >> 2);
    this.coherence = new Coherence(board, cpu, parallel);
    this.mmu = new Mmu(board, cpu, bus, this.words, this.coherence);
    this.cpu = new Cpu(board, cpu, this.mmu, bus, this.words);
    this.breakpoints = new Breakpoints(this.words);
    this.nearTransfers = new NearTransfers(this.cpu);
    this.cpu.breakpointsChanged = () => { if (this.breakpoints.update()) this.watchMemory(); };
    this.readPlainPorts(true);
    const float = new FloatUnit(board.buffer, base);
    const table = new WebAssembly.Table({ element: 'anyfunc', initial: 4096 });
    let nextSlot = FAST_OPERATIONS.length;
    const slots = new Map<string, number>();
    const env: Record<string, WebAssembly.ImportValue> = {
      memory: board.memory, table,
      slowRead: (_cpu: number, va: number, size: number, forWrite: number) => this.mmu.slowRead(va, size, forWrite),
      slowWrite: (_cpu: number, va: number, value: number, size: number) => this.mmu.slowWrite(va, value, size),
      slowAtomic: (_cpu: number, va: number, what: number, value: number, expected: number) => this.mmu.slowAtomic(va, what, value, expected),
      slowExchange64: (_cpu: number, va: number, expected: bigint, replacement: bigint) => this.mmu.slowExchange64(va, expected, replacement),
      floatUnit: (_cpu: number, op: number, shape: number, at: number, immediate: number) => float.run(op, shape, at, immediate),
      trace: (_cpu: number, point: number) => { this.syncRetired(); this.trace?.record(point, this.words[S.retired >> 2]); },
      breakpoint: (_cpu: number, eip: number, rest: number) => this.onBreakpoint(eip, rest),
      lookup: () => this.lookup(0), truncate: () => this.truncate(),
      revalidate: (slot: number) => this.regions?.revalidate(slot) ? 1 : 0, split: (slot: number) => this.regions?.split(slot) ? 1 : 0,
      operation: () => this.operation(), fault: () => this.fault(), check: () => this.check(),
      ...(options.watch ? { watch: (_cpu: number, eip: number) => this.onBlock(eip) } : {}),
    };
    this.watch = options.watch;
    const instance = new WebAssembly.Instance(options.watch ? watchedTier0() : compiledTier0(parallel), { env });
    this.runTier0 = instance.exports.run as (cpu: number) => number;
    this.gate = instance.exports.gate as Engine['gate'];
    const shared = { ...instance.exports, memory: board.memory } as Record<string, WebAssembly.ImportValue>;
    let x87: X87Unit | undefined;
    /** What rare and region modules import; the x87 functions are made when the first module wants them. */
    const imports = (withX87: boolean): Record<string, WebAssembly.ImportValue> => {
      if (withX87 && !x87) { x87 = new X87Unit(board.memory, base); Object.assign(shared, x87.exports); }
      return shared;
    };
    const rare = {
      slots: (forms: readonly Form[]): number[] => {
        const missing = [...new Map(forms.filter(({ key }) => !slots.has(key)).map(form => [form.key, form])).values()];
        if (missing.length) {
          const key = `${parallel}:${missing.map(form => form.key).join(' ')}`;
          let module = rareModules.get(key);
          if (!module) rareModules.set(key, module = new WebAssembly.Module(rareModule(missing, { parallel })));
          const exports = new WebAssembly.Instance(module, { env: imports(missing.some(({ name }) => name in X87)) }).exports;
          missing.forEach((form, i) => {
            if (nextSlot === table.length) table.grow(4096);
            table.set(nextSlot, exports[`f${i}`]);
            slots.set(form.key, nextSlot++);
          });
        }
        return forms.map(({ key }) => slots.get(key)!);
      },
    };
    this.blocks = new BlockCache(board, this.mmu, cpu, kindsOf, rare, parallel, this.coherence);
    if (options.jit !== 'off' && !options.watch) {
      this.regions = new RegionManager(board, this.mmu, this.blocks, this.words, parallel, imports, { heat: options.jitHeat ?? HEAT_TO_COMPILE, mixed: options.jit === 'mixed' }, () => this.retiredEnd - this.words[S.budget >> 2], (slot, fn) => {
        const at = slot ?? nextSlot++;
        if (at === table.length) table.grow(4096);
        table.set(at, fn as never);
        return at;
      });
    }
    this.trace = options.trace && new CpuTrace(options.trace.plan, options.trace.writer, this.mmu, this.words);
    this.blocks.trace = this.trace;
    this.mmu.code = {
      written: (physical, bytes) => this.blocks.written(physical, bytes),
      hits: (physical, bytes) => this.blocks.disturbs(physical, bytes),
      unmapped: (page, pages) => this.unmapped(page, pages),
      dropped: page => { if (page < 0) this.blocks.reset(); else this.blocks.dropPage(page); },
    };
    this.mmu.wrapVector = write => this.wrapVector(write);
    this.mmu.beforeBus = () => this.syncRetired();
    this.mmu.afterBus = () => this.afterBus();
    this.mmu.clearJumpCaches();
    this.blocks.setModel(this.cpu.model);
    this.cpu.update();
  }

  // ---- state
  get runState(): number { return this.words[S.runState >> 2]; }
  /** Exact outside run() and during bus calls. */
  get retired(): number { return (this.words[(S.retired >> 2) + 1] * 2 ** 32) + (this.words[S.retired >> 2] >>> 0); }
  private setRetired(value: number): void {
    this.words[S.retired >> 2] = value % 2 ** 32 | 0;
    this.words[(S.retired >> 2) + 1] = Math.floor(value / 2 ** 32);
  }
  get eflags(): number { return readEflags(this.words, 0); }

  /** Power-on or INIT state (SDM vol. 3 table 10-1). The boot CPU starts running at F000:FFF0, others wait for SIPI. */
  reset(kind: 'power' | 'init' = 'power'): void {
    const words = this.words, cpu = this.cpu;
    const kept = kind === 'init' ? [S.retired, S.retired + 4, S.tscOffset, S.tscOffset + 4].map(offset => [offset, cpu.get(offset)]) : [];
    const keepBlocks: [number, Int32Array][] = kind === 'init' ? [[S.sysenterCs >> 2, words.slice(S.sysenterCs >> 2, S.xmm >> 2)], [S.xmm >> 2, words.slice(S.xmm >> 2, (S.fpuDs >> 2) + 1)]] : [];
    // The attention word and the SIPI vector belong to others while this runs: INIT leaves them alone.
    words.fill(0, 0, S.attention >> 2);
    words.fill(0, S.shadow >> 2, S.truncated >> 2);
    if (kind === 'power') { Atomics.store(words, S.attention >> 2, 0); words[S.sipiVector >> 2] = 0; }
    for (const [offset, value] of kept) cpu.set(offset, value);
    for (const [i, values] of keepBlocks) words.set(values, i);
    writeEflags(words, 0, 2);
    cpu.setReg(2, cpu.model.signature);
    for (const seg of [SEG.ES, SEG.SS, SEG.DS, SEG.FS, SEG.GS]) cpu.setSegment(seg, 0, 0, 0xffff, 0x93);
    cpu.setSegment(SEG.CS, 0xf000, 0xffff0000 | 0, 0xffff, 0x93);
    cpu.setSegment(SEG.LDTR, 0, 0, 0xffff, 0x82);
    cpu.setSegment(SEG.TR, 0, 0, 0xffff, 0x8b);
    words[S.eip >> 2] = 0xfff0;
    words[S.gdtrLimit >> 2] = words[S.idtrLimit >> 2] = 0xffff;
    words[S.cr0 >> 2] = CR0.ET | CR0.CD | CR0.NW;
    words[S.dr6 >> 2] = 0xffff0ff0 | 0; words[S.dr7 >> 2] = 0x400;
    if (kind === 'power') {
      words[S.pat >> 2] = 0x00070406; words[(S.pat >> 2) + 1] = 0x00070406;
      words[S.mxcsr >> 2] = 0x1f80;
      words[S.apicBase >> 2] = 0xfee00800 | (this.index === 0 ? 0x100 : 0);
      fpuInit(cpu);
      seedRandom(words, this.board.header.randomSeed, this.index);
    }
    words[S.runState >> 2] = this.index === 0 && kind === 'power' ? RUN.running : RUN.waitSipi;
    this.mmu.flush();
    cpu.update();
  }
  /** 32-bit flat protected mode as multiboot hands over (multiboot 1, 3.2): the loader sets EIP, EAX, EBX. */
  enterFlatProtectedMode(): void {
    const cpu = this.cpu;
    this.words[S.cr0 >> 2] = CR0.PE | CR0.ET;
    cpu.setSegment(SEG.CS, 0x10, 0, -1, 0xc09b);
    for (const seg of [SEG.DS, SEG.ES, SEG.SS, SEG.FS, SEG.GS]) cpu.setSegment(seg, 0x18, 0, -1, 0xc093);
    this.words[S.runState >> 2] = RUN.running;
    this.mmu.flush();
    cpu.update();
  }
  /** After the state block was written from outside (restore, loader, debugger): rebuild everything derived. */
  stateChanged(): void { this.blocks.setModel(this.cpu.model); this.mmu.flush(); this.cpu.update(); }
  /** Guest memory or CPU state was replaced as a whole. */
  invalidateAll(): void {
    this.blocks.reset();
    this.stateChanged();
  }
  restored(pages: readonly number[]): void {
    const words = this.words;
    this.blocks.setModel(this.cpu.model);
    // Forked again and again, the views would gather entries of a thousand runs, and every clean-up looks at all of them.
    if (this.mmu.entries > MOST_RETAINED) this.mmu.flush(); else this.mmu.dropAllWriteEntries();
    for (const page of pages) this.memoryWritten(page * 4096, 4096);
    const [cr0, cr4, efer] = this.paging;
    if (cr0 !== words[S.cr0 >> 2] || cr4 !== words[S.cr4 >> 2] || efer !== words[S.efer >> 2]) this.mmu.flush();
    this.mmu.switchSpace();
    this.cpu.update();
  }
  registersChanged(): void { this.cpu.update(); }
  raiseException(vector: number, error: number): void {
    try { this.raise(new GuestFault(vector, error)); } catch (problem) {
      if (!(problem instanceof Shutdown)) throw problem;
      this.words[S.runState >> 2] = RUN.dead;
    }
  }
  setMark(eip: number, physical: number, mark: Mark): void {
    const insn = decode(this.board.ram, physical, (physical & ~0xfff) + 4096, this.words[S.mode >> 2] | MODE.CODE32);
    if (!insn || insn.entry.end) throw new RangeError(`no mark on the instruction at ${(eip >>> 0).toString(16)}: ${insn ? `${insn.entry.name} ends its block` : 'it crosses a page'}`);
    this.marks.set(eip + insn.length | 0, mark);
    this.words[S.asks >> 2] = 1;
    this.blocks.endBlockAt(physical);
  }
  clearMarks(): void { this.marks.clear(); this.words[S.asks >> 2] = 0; }
  setDebug(plan: DebugPlan | undefined): void {
    this.debug = plan;
    if (plan) this.blocks.stopAt([...plan.breakpoints].map(linear => linear & 0xfff)); else this.blocks.clearStops();
    this.watchMemory();
  }
  /** Watchpoints of the debugger outside, and data breakpoints of the guest. */
  private watchMemory(): void {
    const plan = this.debug, before = this.mmu.watch, watches = plan?.watches ?? [], own = this.breakpoints.data;
    if (watches.length === 0 && own.length === 0) { this.mmu.watch = undefined; return; }
    const pages = new Set<number>();
    for (const { linear, bytes } of [...watches, ...own]) for (let page = linear >>> 12; page <= (linear + bytes - 1) >>> 12; page++) pages.add(page);
    this.mmu.watch = {
      pages,
      overlaps: (va, bytes) => watches.some(watch => overlap(watch, va, bytes)) || own.some(watch => overlap(watch, va, bytes)),
      accessed: (va, bytes, write) => {
        if (!this.running) return;
        for (const watch of own) if ((write || watch.read) && overlap(watch, va, bytes)) this.breakpoints.hit(1 << watch.index);
        for (const watch of watches) if ((write ? watch.write : watch.read) && overlap(watch, va, bytes)) this.onAccess(plan!, watch, write);
      },
    };
    if (before === undefined || [...pages].some(page => !before.pages.has(page))) this.mmu.flush();
  }
  /** A BREAK record: its block has paid for `rest` instructions that have not run. 1: leave. */
  private onBreakpoint(eip: number, rest: number): number {
    const words = this.words, plan = this.debug, linear = this.cpu.segmentBase(SEG.CS) + eip >>> 0;
    if (!plan || !plan.breakpoints.has(linear) || !plan.breakpoint(this.index, this.retiredEnd - words[S.budget >> 2] - rest, linear)) return 0;
    // Not issued after all.
    const shadow = words[S.shadow >> 2];
    if (shadow !== 0) { words[S.shadow >> 2] = (shadow & (SHADOW.ISSUED | SHADOW.PENDING) ? SHADOW.PENDING : 0) | shadow & SHADOW.HITS; this.cpu.update(); }
    return this.leave('stop');
  }
  private onAccess(plan: DebugPlan, watch: DebugPlan['watches'][number], write: boolean): void {
    const rest = this.restOfCurrent();
    if (plan.access(this.index, this.retiredEnd - this.words[S.budget >> 2] - rest, watch, write)) this.stopBehind();
  }
  readPlainPorts(allowed: boolean): void {
    const zero = this.board.vcpuBase(this.index) + S.zero;
    for (const { port, value, unless } of this.bus.plainPorts ?? []) this.words.set(allowed ? [port | 0x10000, value, unless ?? zero, 0] : [0, 0, zero, 0], (S.plainPorts >> 2) + plainPortSlot(port) * 4);
  }
  stopBehind(): void {
    const words = this.words;
    if (this.stopPending || !this.running) return;
    this.stopPending = true;
    // No block begins any more; the running one ends behind this instruction.
    this.withdraw();
    if (this.delivering || this.currentRest || !words[S.rec >> 2]) return;
    const physical = this.mmu.inspect(this.currentEip() + this.cpu.segmentBase(SEG.CS) | 0);
    if (physical >= 0) this.blocks.endBlockAt(physical);
  }
  /** Takes back what is left of the slice, but `keep`. */
  private withdraw(keep = 0): void {
    const budget = this.words[S.budget >> 2] - keep;
    this.later += budget; this.unfinished += budget; this.sliced -= budget;
    this.retiredEnd -= budget;
    this.words[S.budget >> 2] = keep;
    this.publishRetiredEnd();
  }
  private onBlock(eip: number): number {
    if (!this.watch!(this.index, this.retiredEnd - this.words[S.budget >> 2], eip >>> 0)) return 0;
    return this.leave('stop');
  }
  /** The dirty map was cleaned: writes must be seen again. */
  dropWriteTranslations(): void { this.mmu.dropAllWriteEntries(); }
  /** A store has unmapped code. If tier 0 is running some of it, its block ends: what comes next is looked up in the tables as they are now. */
  private unmapped(page: number, pages: number): void {
    const rec = this.words[S.rec >> 2];
    if (!this.running || !rec) return;
    const here = this.currentEip() + this.cpu.segmentBase(SEG.CS) >>> 12;
    if (here >= page && here < page + pages) this.blocks.dropRunning(rec);
  }
  /** Somebody else wrote guest memory. */
  memoryWritten(address: number, bytes: number): void {
    for (let at = address; at < address + bytes;) {
      const count = Math.min(address + bytes - at, 4096 - (at & 0xfff));
      if (this.board.pageMap[at >>> 12] & PAGE_CODE) this.blocks.written(at, count);
      if (this.board.pageMap[at >>> 12] & PAGE_TABLE) this.mmu.tableWritten(at >>> 12);
      at += count;
    }
  }

  /** Architectural state in ARCH_FIELDS order, flags materialised. */
  saveState(): Uint8Array {
    const bytes = new Uint8Array(this.board.buffer, this.board.vcpuBase(this.index), VCPU_BLOCK_BYTES);
    const out = new Uint8Array(ARCH_FIELDS.reduce((sum, field) => sum + field.bytes, 0));
    const view = new DataView(out.buffer);
    let at = 0;
    for (const { name, offset, bytes: count } of ARCH_FIELDS) {
      if (name === 'eflags') view.setInt32(at, this.eflags, true);
      else if (name === 'attention') view.setInt32(at, this.words[S.attention >> 2] & (ATTN.INIT | ATTN.SIPI | ATTN.NMI), true);
      else out.set(bytes.subarray(offset, offset + count), at);
      at += count;
    }
    return out;
  }
  loadState(saved: Uint8Array): void {
    const bytes = new Uint8Array(this.board.buffer, this.board.vcpuBase(this.index), VCPU_BLOCK_BYTES);
    let at = 0;
    for (const { name, offset, bytes: count } of ARCH_FIELDS) {
      if (name === 'eflags') writeEflags(this.words, 0, new DataView(saved.buffer, saved.byteOffset).getInt32(at, true));
      else bytes.set(saved.subarray(at, at + count), offset);
      at += count;
    }
    this.stateChanged();
  }
  /** FNV-1a over saveState. */
  hashState(): number {
    let hash = 0x811c9dc5;
    for (const byte of this.saveState()) hash = Math.imul(hash ^ byte, 0x01000193);
    return hash >>> 0;
  }

  // ---- running
  run(budget: number): Exit {
    const words = this.words;
    if (words[S.runState >> 2] === RUN.dead) return 'shutdown';
    this.exit = 'budget';
    this.stopPending = false;
    this.interrupted = false;
    this.retiredEnd = this.retired;
    words[S.budget >> 2] = 0;
    this.later = budget;
    this.startSlice();
    this.running = true;
    this.coherence.setRunning(true);
    if (this.coherence.pending) this.mmu.drain();
    try {
      if (this.serviceAttention()) return this.exit;
      if (words[S.runState >> 2] === RUN.halted) return 'halt';
      if (words[S.runState >> 2] === RUN.waitSipi) return 'halt';
      for (;;) {
        const code = this.runTier0(this.cpu.base);
        if (code === 0 || (code === LEAVE && this.exit === 'budget')) {
          if (this.stopPending) return 'stop';
          if (this.later === 0) return 'budget';
          this.startSlice();
          continue;
        }
        if (code === LEAVE) return this.exit;
        if (this.serviceAttention()) return this.exit;
      }
    } catch (problem) {
      if (!(problem instanceof Shutdown)) throw problem;
      words[S.runState >> 2] = RUN.dead;
      return 'shutdown';
    } finally {
      if (words[S.shadow >> 2] & (SHADOW.ISSUED | SHADOW.CHECKED)) { this.completeIssued(); this.cpu.update(); }
      this.running = false;
      this.paging = [words[S.cr0 >> 2], words[S.cr4 >> 2], words[S.efer >> 2]];
      this.coherence.setRunning(false);
      const left = words[S.budget >> 2];
      this.sliced -= left;
      this.halts = left + this.later > 0;
      this.unfinished = this.halts ? this.unfinished + left : 0;
      this.setRetired(this.retiredEnd - words[S.budget >> 2]);
    }
  }
  /**
   * Gives generated code its next slice of the budget. Slices exist to show the JIT where time goes and to let V8 replace a running
   * function by its optimised form, which it does only when the function returns: short while regions are being made, long later.
   */
  private startSlice(): void {
    if (this.regions?.waits) this.regions.putBack();
    // A guest that halts every thousand instructions has slices like any other: else each would end behind its HLT, or in step with it.
    if (this.unfinished === 0) {
      const inRegions = this.words[S.countInRegions >> 2];
      if (this.regions) this.slice = this.regions.sample(this.cut >= 0 ? this.cut : this.words[S.eip >> 2] >>> 0, this.sliced, inRegions - this.inRegionsBefore >>> 0) ? SLICE_INSNS : Math.min(this.slice + (this.slice >> 3), this.halts ? MAX_HALTED_SLICE_INSNS : MAX_SLICE_INSNS);
      this.inRegionsBefore = inRegions;
      this.cut = -1;
      this.sliced = 0;
      this.unfinished = this.regions ? this.slice : Infinity;
    }
    const slice = Math.min(this.later, this.unfinished);
    this.unfinished -= slice;
    this.sliced += slice;
    this.later -= slice;
    this.words[S.budget >> 2] += slice;
    this.retiredEnd += slice;
    this.publishRetiredEnd();
  }
  /** For RDTSC in generated code. */
  private publishRetiredEnd(): void {
    this.words[S.retiredEnd >> 2] = this.retiredEnd % 2 ** 32 | 0;
    this.words[(S.retiredEnd >> 2) + 1] = Math.floor(this.retiredEnd / 2 ** 32);
  }
  /** What the code caches hold, for tests of their bounds. */
  get cacheSizes(): BlockCache['sizes'] & { readonly jit?: RegionManager['sizes'] } { return { ...this.blocks.sizes, ...(this.regions ? { jit: this.regions.sizes } : {}) }; }
  /** For tests and tools: compiles the code at state.eip now, if this engine has a JIT and has executed that page. */
  compileRegion(): boolean { return this.regions?.compile(this.words[S.eip >> 2] >>> 0, this.words[S.mode >> 2]) ?? false; }
  /** A region met a device at state.eip: from now on tier 0 runs that instruction, at the end of a block of its own. */
  private repeatInTier0(): number {
    const physical = this.mmu.inspect(this.words[S.eip >> 2] + this.cpu.segmentBase(SEG.CS) | 0);
    if (physical >= 0) this.blocks.endBlockAt(physical);
    return 0;
  }
  private traceEvent(id: number, w0: number, w1: number): void {
    if (!this.trace?.events) return;
    this.syncRetired();
    this.trace.event(id, this.words[S.retired >> 2], w0, w1);
  }
  private leave(exit: Exit): number { this.exit = exit; return LEAVE; }
  private syncRetired(): void {
    if (!this.running) return;
    this.setRetired(this.retiredEnd - this.words[S.budget >> 2] - this.restOfCurrent());
  }
  /** Instructions of the running block not completed, this one included. Those behind one that faulted have been given back. */
  private restOfCurrent(): number {
    if (this.delivering) return 0;
    const rec = this.words[S.rec >> 2];
    return this.currentRest || (rec ? this.blocks.rest(rec) : 0);
  }
  private afterBus(): void {
    this.busTouched = true;
    const rec = this.words[S.rec >> 2];
    // A slow path (not a helper instruction) met a device: the instruction ends its block from now on.
    if (this.running && !this.delivering && !this.currentRest && rec && this.words[S.attention >> 2]) {
      const linear = this.words[S.blockEip >> 2] + this.blocks.delta(rec) + this.cpu.segmentBase(SEG.CS) | 0;
      const physical = this.mmu.inspect(linear);
      if (physical < 0) return;
      this.blocks.endBlockAt(physical);
      // A REP does not come to the end of its block: it stops behind this iteration, and whatever comes next is looked up.
      if (!this.blocks.isRepeated(physical)) return;
      this.interrupted = true;
      this.blocks.dropRunning(rec);
      for (const eip of [this.currentEip(), this.currentEip() + this.blocks.length(rec) | 0]) this.mmu.jumpCacheDrop(eip);
    }
  }
  /** EIP of the instruction in a slow path. */
  private currentEip(): number {
    const rec = this.words[S.rec >> 2];
    return this.words[S.blockEip >> 2] + (rec ? this.blocks.delta(rec) : 0) | 0;
  }
  /** An access of 2 or 4 bytes at FFFFFFFFh through a flat segment is beyond the limit; which segment, the instruction tells. */
  private wrapVector(write: boolean): number {
    const bytes = new Uint8Array(15), start = this.cpu.segmentBase(SEG.CS) + this.currentEip() | 0;
    for (let i = 0; i < 15; i++) bytes[i] = this.mmu.inspectByte(start + i | 0);
    const insn = decode(bytes, 0, 15, this.words[S.mode >> 2]);
    const memory = insn?.ops.find(op => op.c === 'M');
    if (insn?.entry.stack && (write || !memory)) return VEC.SS;
    const seg = memory?.c === 'M' ? memory.seg : SEG.DS;
    if (this.cpu.segmentBase(seg) !== 0) return -1;
    return seg === SEG.SS ? VEC.SS : VEC.GP;
  }

  /** INIT, SIPI, NMI, INTR, STOP. True: leave run() with this.exit. */
  private serviceAttention(): boolean {
    const words = this.words;
    const attention = words[S.attention >> 2];
    if (!attention) return false;
    if (attention & ATTN.INIT) {
      Atomics.and(words, S.attention >> 2, ~ATTN.INIT);
      const retired = this.retiredEnd, budget = words[S.budget >> 2];
      this.reset('init');
      this.retiredEnd = retired; words[S.budget >> 2] = budget;
      this.publishRetiredEnd();
      if (!(attention & ATTN.SIPI)) { this.exit = 'halt'; return true; }
    }
    if (attention & ATTN.SIPI) {
      Atomics.and(words, S.attention >> 2, ~ATTN.SIPI);
      if (words[S.runState >> 2] === RUN.waitSipi) {
        const vector = words[S.sipiVector >> 2];
        this.cpu.setSegment(SEG.CS, vector << 8, vector << 12, 0xffff, 0x93);
        words[S.eip >> 2] = 0;
        words[S.runState >> 2] = RUN.running;
        this.mmu.flush();
        this.cpu.update();
      }
    }
    if (attention & ATTN.FLUSH) { Atomics.and(words, S.attention >> 2, ~ATTN.FLUSH); this.mmu.drain(); }
    if (attention & ATTN.STOP) { this.exit = 'stop'; return true; }
    if (words[S.runState >> 2] === RUN.waitSipi || words[S.shadow >> 2]) return false;
    if (attention & ATTN.NMI && !words[S.nmiBlocked >> 2]) {
      Atomics.and(words, S.attention >> 2, ~ATTN.NMI);
      words[S.nmiBlocked >> 2] = 1;
      words[S.runState >> 2] = RUN.running;
      this.currentRest = 0; words[S.rec >> 2] = 0;
      deliver(this.cpu, VEC.NMI, -1, 'external', words[S.eip >> 2]);
    } else if (attention & ATTN.INTR && words[S.eflags >> 2] & FLAG.IF) {
      words[S.rec >> 2] = 0;
      this.syncRetired();
      const vector = this.bus.interruptAcknowledge(this.index);
      if (vector >= 0) {
        this.traceEvent(TRACE_EVENT.interrupt, vector, words[S.eip >> 2]);
        words[S.runState >> 2] = RUN.running;
        if (!this.gate(this.cpu.base, vector, -1, words[S.eip >> 2], 0)) deliver(this.cpu, vector, -1, 'external', words[S.eip >> 2]);
      }
    }
    return false;
  }

  // ---- called by generated code
  /** Record of the block at state.eip: > 0, or 0 to start over at state.eip, or minus an exit code. */
  private lookup(limit: number): number {
    const words = this.words, cpu = this.cpu;
    if (this.interrupted) {
      this.interrupted = false;
      return -this.after();
    }
    let single = false;
    const wasSingle = (words[S.mode >> 2] & MODE.SINGLE) !== 0;
    if (wasSingle && !limit) {
      const before = words[S.shadow >> 2];
      if (before & (SHADOW.ISSUED | SHADOW.CHECKED | SHADOW.STEPPED)) this.completeIssued();
      const shadow = words[S.shadow >> 2];
      if (shadow & (SHADOW.STEPPED | SHADOW.HITS) && !(shadow & SHADOW.STACK)) {
        // Traps of the instruction just completed: single step and data breakpoints (SDM vol. 3 17.3.1.2, 17.3.1.4).
        words[S.shadow >> 2] = 0;
        words[S.dr6 >> 2] |= (shadow & SHADOW.STEPPED ? DR6_STEP : 0) | (shadow & SHADOW.HITS) >> HITS_SHIFT;
        deliver(cpu, VEC.DB, -1, 'fault', words[S.eip >> 2]);
        cpu.update();
        return 0;
      }
      if (before & (SHADOW.ISSUED | SHADOW.CHECKED | SHADOW.STEPPED)) {
        cpu.update();
        // The instruction in the shadow is done: the window is open.
        if (this.serviceAttention()) return -LEAVE;
        return 0;
      }
      if (words[S.budget >> 2] === 0) return -this.leave('budget');
      const breakpoints = words[S.dr7 >> 2] & DR7_ENABLES;
      if (breakpoints) {
        const hits = shadow & SHADOW.STACK || words[S.eflags >> 2] & FLAG.RF ? 0 : this.breakpoints.execution(cpu.segmentBase(SEG.CS) + words[S.eip >> 2] >>> 0);
        if (hits) {
          words[S.dr6 >> 2] |= hits;
          return -this.raise(new GuestFault(VEC.DB));
        }
      }
      words[S.shadow >> 2] = (shadow & SHADOW.PENDING ? SHADOW.ISSUED : 0) | (words[S.eflags >> 2] & FLAG.TF ? SHADOW.STEPPED : 0) | (breakpoints ? SHADOW.CHECKED : 0) | shadow & SHADOW.HITS;
      words[S.eflags >> 2] &= ~FLAG.RF;
      single = true;
    }
    const eip = words[S.eip >> 2];
    try {
      words[S.countMisses >> 2]++;
      let mode = words[S.mode >> 2] & ~MODE.SINGLE;
      if (!(mode & MODE.CS_FLAT) && eip >>> 0 > cpu.segmentLimit(SEG.CS)) throw new GuestFault(VEC.GP, 0);
      const linear = cpu.segmentBase(SEG.CS) + eip | 0;
      const physical = this.mmu.fetchFrom(linear);
      if (single) mode |= MODE.SINGLE;
      else if (!limit && mode & MODE.CS_FLAT) {
        const record = this.blocks.leanRecord(linear, physical, mode);
        if (record !== 0) {
          this.mmu.jumpCacheSet(eip, mode, record);
          this.mmu.noteCodePage(linear, physical);
          return record;
        }
      }
      const block = this.blocks.block(linear, physical, mode, cpu.user, limit);
      if (single) this.issue(block);
      if (!(mode & MODE.CS_FLAT) && (eip >>> 0) + block.bytes - 1 > cpu.segmentLimit(SEG.CS)) {
        // One at a time up to the limit; the instruction that has a byte beyond it is #GP(0) (SDM vol. 3 5.3).
        if (block.count > 1) return this.lookup(1);
        throw new GuestFault(VEC.GP, 0);
      }
      if (!(mode & MODE.CS_FLAT) && cpu.segmentLimit(SEG.CS) !== 0xffffffff && this.nearTransfers.leaves(block, eip, mode)) {
        if (block.count > 1) return this.lookup(block.count - 1);
        this.nearTransfers.check(eip, mode);
      }
      if (!limit && !single && mode & MODE.CS_FLAT) {
        this.mmu.jumpCacheSet(eip, mode, block.record);
        this.mmu.noteCodePage(linear, physical);
        if (block.secondPage >= 0) this.mmu.noteCodePage(linear + 4096 | 0, block.secondPage * 4096 + (linear & 0xfff));
      }
      return block.record;
    } catch (fault) {
      if (!(fault instanceof GuestFault)) throw fault;
      return -this.raise(fault);
    }
  }
  /** An instruction that runs alone: of a REP one iteration. */
  private issue({ insns }: Block): void {
    const insn = insns?.[0];
    if (!insn?.entry.str || !insn.rep) return;
    const words = this.words;
    words[S.shadow >> 2] |= SHADOW.REPEATS;
    words[S.issuedEip >> 2] = words[S.eip >> 2];
    this.withdraw(1);
  }
  /** Behind the instruction that was issued alone. A REP that is not through sets RF: it meets its breakpoint once (SDM vol. 3 17.3.1.1). */
  private completeIssued(): void {
    const words = this.words, shadow = words[S.shadow >> 2];
    if (shadow & SHADOW.REPEATS && words[S.eip >> 2] === words[S.issuedEip >> 2]) words[S.eflags >> 2] |= FLAG.RF;
    // Behind MOV SS and POP SS there is no single-step trap, and others wait (SDM vol. 3 6.8.3).
    words[S.shadow >> 2] = shadow & (SHADOW.PENDING | SHADOW.STACK | SHADOW.HITS | (shadow & SHADOW.STACK ? 0 : SHADOW.STEPPED));
  }
  private truncate(): number {
    const words = this.words;
    if (this.stopPending) { this.withdraw(); return 0; }
    if (this.later > 0) { this.startSlice(); return 0; }
    this.cut = words[S.eip >> 2] >>> 0;
    const shadowed = words[S.shadow >> 2];
    const record = this.lookup(Math.min(words[S.budget >> 2], 48));
    words[S.shadow >> 2] = words[S.shadow >> 2] && shadowed;
    return record;
  }
  /** Delivers a fault of the instruction at state.eip. Not 0: leave. A stack may lie on a device, which then wants attention. */
  private raise(fault: GuestFault): number {
    const words = this.words;
    words[S.countFaults >> 2]++;
    if (words[S.shadow >> 2]) { words[S.shadow >> 2] = 0; }
    this.countStorm();
    this.delivering = true;
    this.busTouched = false;
    try { deliver(this.cpu, fault.vector, fault.error, 'fault', words[S.eip >> 2]); } finally { this.delivering = false; }
    this.cpu.update();
    return this.stopPending ? this.leave('stop') : this.busTouched && this.running ? this.after() : 0;
  }
  /** Faults in a row (STORM). Generated code does the same (tier0/module.ts). */
  private countStorm(): void {
    const words = this.words, budget = words[S.budget >> 2], at = (this.running ? this.retiredEnd - budget : this.retired) | 0;
    words[S.stormCount >> 2] = at === words[S.stormAt >> 2] ? words[S.stormCount >> 2] + 1 : 0;
    words[S.stormAt >> 2] = at;
    if (words[S.stormCount >> 2] <= STORM || budget <= 0 || !this.running) return;
    words[S.budget >> 2]--;
    words[S.stormAt >> 2] = at + 1 | 0;
  }
  /** A fault found by generated code at record state.rec. */
  private fault(): number {
    const words = this.words, rec = words[S.rec >> 2];
    words[S.fault >> 2] = 0;
    if (rec) {
      words[S.budget >> 2] += this.blocks.rest(rec);
      words[S.eip >> 2] = words[S.blockEip >> 2] + this.blocks.delta(rec);
    } else if (words[S.faultVector >> 2] === REPEAT_IN_TIER0) return this.repeatInTier0();
    return this.raise(new GuestFault(words[S.faultVector >> 2], words[S.faultError >> 2]));
  }
  /** The helper instruction at record state.rec. */
  private operation(): number {
    const words = this.words, rec = words[S.rec >> 2];
    const insn = this.blocks.insn(rec);
    words[S.eip >> 2] = words[S.blockEip >> 2] + this.blocks.delta(rec);
    words[S.countJsOps >> 2]++;
    this.busTouched = false;
    this.currentRest = 1;
    words[S.budget >> 2] += this.blocks.rest(rec) - 1; // a STI in the middle of its block ends it here
    try {
      execute(this.cpu, insn);
    } catch (fault) {
      if (!(fault instanceof GuestFault)) throw fault;
      words[S.budget >> 2] += 1;
      this.currentRest = 0;
      return this.raise(fault);
    } finally { this.currentRest = 0; }
    if (words[S.runState >> 2] === RUN.halted) return this.halted();
    return this.after();
  }
  private halted(): number {
    const words = this.words, shadow = words[S.shadow >> 2];
    // A trap that is due wakes; what only was watched is over, so that interrupts are seen.
    if (shadow & (SHADOW.STEPPED | SHADOW.HITS)) { words[S.runState >> 2] = RUN.running; return 0; }
    if (shadow & SHADOW.CHECKED) { this.completeIssued(); this.cpu.update(); }
    if (this.serviceAttention()) return LEAVE;
    if (this.words[S.runState >> 2] === RUN.running) return 0;
    this.words[S.rec >> 2] = 0; // HLT has completed
    this.traceEvent(TRACE_EVENT.halt, this.words[S.eip >> 2], 0);
    return this.leave('halt');
  }
  /** Interrupt window after an instruction that may have opened it. */
  private after(): number {
    const words = this.words;
    if (this.stopPending) return this.leave('stop');
    const attention = words[S.attention >> 2];
    if (attention === 0) return 0;
    if (words[S.shadow >> 2] === 0) { words[S.rec >> 2] = 0; if (this.serviceAttention()) return LEAVE; }
    else if (attention & ATTN.STOP) return this.leave('stop');
    return 0;
  }
  /** After LEAVE and END_CHECK records: EIP is in the state block. */
  private check(): number {
    // A dead block must not be found again.
    if (!this.blocks.ends(this.words[S.rec >> 2])) this.mmu.jumpCacheDrop(this.words[S.eip >> 2]);
    const mark = this.marks.size > 0 ? this.marks.get(this.words[S.eip >> 2]) : undefined;
    if (mark?.(this.index, this.retiredEnd - this.words[S.budget >> 2])) return this.leave('stop');
    return this.after();
  }
}

const overlap = (watch: { readonly linear: number; readonly bytes: number }, va: number, bytes: number): boolean => {
  const at = va >>> 0;
  return at < watch.linear + watch.bytes && watch.linear < at + bytes;
};

export function createEngine(board: Board, cpu: number, bus: Bus, options: EngineOptions): Engine { return new Engine(board, cpu, bus, options); }
export type { Block };
