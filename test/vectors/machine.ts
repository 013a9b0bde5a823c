/**
 * Runs vectors on the CPU engine: a ring 0 monitor of a few bytes, built directly in guest memory, plays the operating system.
 *
 *   monitor page tables (PAE, NX on data), GDT with Linux's selectors, IDT whose 32 + 224 gates lead to `hlt`, TSS with a ring 0 stack;
 *   enter:  pop gs..ds, popa, iret        loads the whole integer state from a frame that is written per vector
 *   leave:  gate n -> stub n: hlt         the vector number is where the machine halted; the CPU's own frame has the rest
 *
 * So that what is under test runs in ring 3 with paging exactly as it did natively, and exceptions are delivered by the engine and
 * not by this file. Works on any engine and tier: only the vCPU block and guest RAM are touched.
 */
import { createBoard, GUEST_RAM_BASE, type Board } from '../../vm/board.ts';
import { CR0, CR4, readEflags, RUN, S, SEG, segAttr, segBase, segLimit, segSelector, writeEflags } from '../../vm/cpu/state.ts';
import type { Bus } from '../../vm/devices/bus.ts';
import type { Tier, VectorEngine, VectorEngineFactory } from './engine.ts';
import { CODE, CODE_BYTES, DATA, DATA_BYTES, LOW, LOW_BYTES, patternByte, READ_ONLY, READ_ONLY_BYTES, SELECTOR } from './environment.ts';
import type { Captured } from './capture/native.ts';
import type { Vector } from './format.ts';

/** Linear base of the monitor (supervisor only), mapped to physical 0. */
const MONITOR = 0xc0000000;
const PDPT = 0x1000, DIRECTORY = 0x2000, TABLES = 0x6000;
const GDT = 0x10000, IDT = 0x11000, TSS = 0x12000, STACK_TOP = 0x14000, STUBS = 0x15000, ENTER = 0x17000;
const FRAME = STACK_TOP - 68;
/** Instructions of the entry sequence, IRET included. */
const ENTER_INSTRUCTIONS = 6;
const PHYSICAL = { low: 0x20000, readOnly: 0x22000, data: 0x24000, code: 0x30000 } as const;
const WINDOWS = [{ base: LOW, bytes: LOW_BYTES, at: PHYSICAL.low }, { base: DATA, bytes: DATA_BYTES, at: PHYSICAL.data }] as const;

const silentBus: Bus = { portRead: () => -1, portWrite: () => {}, mmioRead: () => -1, mmioWrite: () => {}, interruptAcknowledge: () => -1 };

export interface Outcome extends Captured {
  /** Set when the snippet did not end in an exception within the budget. */
  stuck: string | null;
  /** The engine said that it does not implement an instruction it met. */
  unimplemented: boolean;
}

export type Checked = Outcome & { memoryProblem: string | null };

export class VectorMachine {
  /** Snippets that ran as compiled regions. */
  compiled = 0;
  readonly #jit: Tier;
  readonly board: Board;
  readonly engine: VectorEngine;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #all: Int32Array;
  readonly #cpu: number;
  /** What the windows should hold now; compared as a whole after every vector. */
  readonly #golden = WINDOWS.map(w => Buffer.from(Array.from({ length: w.bytes }, (_, i) => patternByte(w.base + i))));
  readonly #actual: Buffer[];

  constructor(createEngine: VectorEngineFactory, jit: Tier) {
    this.#jit = jit;
    const board = this.board = createBoard({ cpus: 1, memoryMiB: 8 });
    this.#cpu = board.vcpuBase(0);
    this.#all = new Int32Array(board.buffer, 0, (this.#cpu + 0x10000) >> 2);
    this.#words = new Int32Array(board.buffer, this.#cpu, 0x1000 >> 2);
    this.#bytes = new Uint8Array(board.buffer, this.#cpu, 0x1000);
    this.#view = new DataView(board.buffer, GUEST_RAM_BASE, board.ramBytes);
    this.#actual = WINDOWS.map(w => Buffer.from(board.buffer as unknown as ArrayBuffer, GUEST_RAM_BASE + w.at, w.bytes));
    this.engine = createEngine(board, silentBus, jit);
    this.#build();
    this.engine.replaced();
  }

  #put32(at: number, v: number): void { this.#view.setUint32(at, v >>> 0, true); }
  #put64(at: number, lo: number, hi: number): void { this.#put32(at, lo); this.#put32(at + 4, hi); }
  #set(offset: number, value: number): void { this.#words[offset >> 2] = value; }

  #map(va: number, pa: number, flags: number, noExecute: boolean): void {
    const directory = DIRECTORY + (va >>> 30) * 0x1000 + ((va >>> 21) & 511) * 8;
    let table = this.#view.getUint32(directory, true) & ~0xfff;
    if (table === 0) {
      table = TABLES + this.#tables++ * 0x1000;
      if (table >= GDT) throw new Error('out of page tables');
      this.#put64(directory, table | 7, 0);
    }
    this.#put64(table + ((va >>> 12) & 511) * 8, pa | flags, noExecute ? 0x80000000 : 0);
  }
  #tables = 0;

  #build(): void {
    for (let i = 0; i < 4; i++) this.#put64(PDPT + i * 8, (DIRECTORY + i * 0x1000) | 1, 0);
    const user = 7, userReadOnly = 5, supervisor = 3;
    for (let p = 0; p < 32; p++) this.#map(MONITOR + p * 0x1000, p * 0x1000, supervisor, false);
    for (let p = 0; p < LOW_BYTES; p += 0x1000) this.#map(LOW + p, PHYSICAL.low + p, user, true);
    for (let p = 0; p < DATA_BYTES; p += 0x1000) this.#map(DATA + p, PHYSICAL.data + p, user, true);
    this.#map(READ_ONLY, PHYSICAL.readOnly, userReadOnly, true);
    this.#map(CODE, PHYSICAL.code, userReadOnly, false);
    for (let i = 0; i < READ_ONLY_BYTES; i++) this.#view.setUint8(PHYSICAL.readOnly + i, patternByte(READ_ONLY + i));
    for (let i = 0; i < CODE_BYTES; i++) this.#view.setUint8(PHYSICAL.code + i, 0xcc);
    this.#restoreAll();

    // GDT: 1 ring 0 code, 2 ring 0 data, 3 unused, 4 ring 3 code (23h), 5 ring 3 data (2bh), 6 TSS.
    const flat = (access: number): [number, number] => [0x0000ffff, 0x00cf0000 | access << 8];
    this.#put64(GDT + 8, ...flat(0x9b)); this.#put64(GDT + 16, ...flat(0x93));
    this.#put64(GDT + 32, ...flat(0xfb)); this.#put64(GDT + 40, ...flat(0xf3));
    const tss = MONITOR + TSS;
    this.#put64(GDT + 48, (tss & 0xffff) << 16 | 103, (tss & 0xff000000) | 0x8b00 | (tss >>> 16 & 0xff));
    this.#put32(TSS + 4, MONITOR + STACK_TOP); this.#put32(TSS + 8, 0x10); this.#put32(TSS + 100, 104 << 16);
    for (let v = 0; v < 256; v++) {
      const stub = MONITOR + STUBS + v * 16, dpl = v === 3 || v === 4 || v === 0x80 ? 0xee00 : 0x8e00;
      this.#put64(IDT + v * 8, 0x08 << 16 | (stub & 0xffff), (stub & 0xffff0000) | dpl);
      this.#view.setUint8(STUBS + v * 16, 0xf4);
    }
    [0x0f, 0xa9, 0x0f, 0xa1, 0x07, 0x1f, 0x61, 0xcf].forEach((b, i) => { this.#view.setUint8(ENTER + i, b); });

    for (const index of [SEG.ES, SEG.CS, SEG.SS, SEG.DS, SEG.FS, SEG.GS]) {
      this.#set(segSelector(index), index === SEG.CS ? 8 : 0x10); this.#set(segBase(index), 0); this.#set(segLimit(index), -1);
      this.#set(segAttr(index), index === SEG.CS ? 0xc09b : 0xc093);
    }
    this.#set(segSelector(SEG.LDTR), 0); this.#set(segAttr(SEG.LDTR), 0);
    this.#set(segSelector(SEG.TR), 0x30); this.#set(segBase(SEG.TR), tss); this.#set(segLimit(SEG.TR), 103); this.#set(segAttr(SEG.TR), 0x8b);
    this.#set(S.gdtrBase, MONITOR + GDT); this.#set(S.gdtrLimit, 55); this.#set(S.idtrBase, MONITOR + IDT); this.#set(S.idtrLimit, 0x7ff);
    this.#set(S.cr0, CR0.PE | CR0.MP | CR0.ET | CR0.NE | CR0.WP | CR0.AM | CR0.PG);
    this.#set(S.cr3, PDPT); this.#set(S.cr4, CR4.PAE | CR4.OSFXSR | CR4.OSXMMEXCPT);
    for (let i = 0; i < 4; i++) { this.#set(S.pdpte0 + i * 8, (DIRECTORY + i * 0x1000) | 1); this.#set(S.pdpte0 + i * 8 + 4, 0); }
    this.#set(S.efer, 0x800); this.#set(S.cpl, 0);
    this.#set(S.apicBase, 0xfee00900 | 0);
    this.#set(S.fpuControl, 0x37f); this.#set(S.fpuTag, 0);
    writeEflags(this.#all, this.#cpu, 2);
  }

  #restoreAll(): void {
    WINDOWS.forEach((w, n) => { for (let i = 0; i < w.bytes; i++) { const b = patternByte(w.base + i); this.#view.setUint8(w.at + i, b); this.#golden[n]![i] = b; } });
  }
  #window(addr: number): { n: number; offset: number } {
    const n = addr >= DATA ? 1 : 0;
    return { n, offset: addr - WINDOWS[n]!.base };
  }

  /** The 108 bytes of FNSAVE: environment without addresses, ST(0) to ST(7). */
  #loadFpu(image: Uint8Array | null): void {
    const words = this.#words, view = image ? new DataView(image.buffer, image.byteOffset) : null;
    const status = view?.getUint16(4, true) ?? 0, tags = view?.getUint16(8, true) ?? 0xffff, top = status >> 11 & 7;
    words[S.fpuControl >> 2] = view?.getUint16(0, true) ?? 0x37f;
    words[S.fpuStatus >> 2] = status & 0xc7ff;
    words[S.fpuTop >> 2] = top;
    let full = 0;
    for (let i = 0; i < 8; i++) if ((tags >> i * 2 & 3) !== 3) full |= 1 << i;
    words[S.fpuTag >> 2] = full;
    for (let i = 0; i < 8; i++) {
      const to = S.fpr + (top + i & 7) * 16;
      this.#bytes.fill(0, to, to + 16);
      if (image) this.#bytes.set(image.subarray(28 + i * 10, 38 + i * 10), to);
    }
    for (const field of [S.fpuOpcode, S.fpuIp, S.fpuCs, S.fpuDp, S.fpuDs]) words[field >> 2] = 0;
  }
  #fpuImage(): Uint8Array {
    const words = this.#words, image = new Uint8Array(108), view = new DataView(image.buffer), top = words[S.fpuTop >> 2]!;
    view.setUint16(0, words[S.fpuControl >> 2]!, true);
    view.setUint16(4, words[S.fpuStatus >> 2]! & 0xc7ff | top << 11, true);
    let tags = 0;
    for (let i = 0; i < 8; i++) {
      const at = S.fpr + i * 16, exponent = words[(at + 8) >> 2]! & 0x7fff, low = words[at >> 2], high = words[(at + 4) >> 2]!;
      tags |= (!(words[S.fpuTag >> 2]! >> i & 1) ? 3 : exponent === 0 && low === 0 && high === 0 ? 1 : exponent === 0 || exponent === 0x7fff || high >= 0 ? 2 : 0) << i * 2;
    }
    view.setUint16(8, tags, true);
    for (let i = 0; i < 8; i++) { const from = S.fpr + (top + i & 7) * 16; image.set(this.#bytes.subarray(from, from + 10), 28 + i * 10); }
    return image;
  }

  /**
   * One vector; `memoryProblem` of the result says where memory differs from what is expected. With the JIT the snippet runs once in
   * the interpreter, which makes its page known as code, is compiled, and runs again from the same state: the second run counts.
   */
  run(v: Vector, budget = 4000, piece = budget): Checked {
    const code = PHYSICAL.code + v.codeAddr - CODE;
    for (let i = 0; i < v.code.length; i++) this.#view.setUint8(code + i, v.code[i]!);
    this.engine.codeWritten(code, v.code.length);
    let result = this.#once(v, budget, piece, false);
    if (this.#jit !== 'off' && result.stuck === null) result = this.#once(v, budget, piece, true);
    for (let i = 0; i < v.code.length; i++) this.#view.setUint8(code + i, 0xcc);
    this.engine.codeWritten(code, v.code.length);
    return result;
  }

  #once(v: Vector, budget: number, piece: number, compile: boolean): Checked {
    const words = this.#words, touched: { addr: number; length: number }[] = [];
    for (const p of v.patches) {
      const { n, offset } = this.#window(p.addr);
      this.#actual[n]!.set(p.bytes, offset); this.#golden[n]!.set(p.bytes, offset);
      touched.push({ addr: p.addr, length: p.bytes.length });
    }
    let at = FRAME;
    const push = (x: number): void => { this.#put32(at, x); at += 4; };
    push(0); push(0); push(SELECTOR.data); push(SELECTOR.data);
    for (const r of [7, 6, 5, 4, 3, 2, 1, 0]) push(v.regs[r]!);
    push(v.codeAddr); push(SELECTOR.code); push(v.eflags); push(v.regs[4]!); push(SELECTOR.data);
    words[S.esp >> 2] = MONITOR + FRAME;
    words[S.eip >> 2] = MONITOR + ENTER;
    words[S.runState >> 2] = RUN.running;
    words[S.cr2 >> 2] = 0;
    words[S.mxcsr >> 2] = v.mxcsr;
    if (v.xmm) this.#bytes.set(v.xmm, S.xmm);
    this.#loadFpu(v.fpu);
    const unimplemented = words[S.unimplemented >> 2]!;

    let exit = 'budget', left = budget;
    if (compile) {
      exit = this.engine.run(ENTER_INSTRUCTIONS);
      left -= ENTER_INSTRUCTIONS;
      if (this.engine.compile()) this.compiled++;
    }
    let overrun: string | null = null;
    for (; exit === 'budget' && left > 0; left -= piece) {
      const asked = Math.min(piece, left), before = words[S.retired >> 2]!;
      exit = this.engine.run(asked);
      const ran = words[S.retired >> 2]! - before | 0;
      if (ran < 0 || ran > asked || (exit === 'budget' && ran !== asked)) overrun ??= `run(${asked}) retired ${ran} instructions (${exit})`;
    }
    const regs = Uint32Array.from([S.eax, S.ecx, S.edx, S.ebx, S.esp, S.ebp, S.esi, S.edi], o => words[o >> 2]!);
    const eip = words[S.eip >> 2]! >>> 0, stub = eip - 1 - (MONITOR + STUBS);
    let outcome: Outcome;
    if (overrun !== null || exit !== 'halt' || stub < 0 || stub >= 4096 || stub % 16 !== 0) {
      outcome = { regs, eip, eflags: readEflags(this.#all, this.#cpu), trap: -1, error: 0, cr2: 0, mxcsr: 0, xmm: null, fpu: null, changes: [], stuck: overrun ?? `${exit} at ${eip.toString(16)}`, unimplemented: words[S.unimplemented >> 2] !== unimplemented };
      this.#build();
      this.engine.replaced();
    } else {
      const trap = stub / 16, hasError = trap === 8 || (trap >= 10 && trap <= 14) || trap === 17;
      let p = regs[4]! - MONITOR;
      const pop = (): number => { p += 4; return this.#view.getUint32(p - 4, true); };
      const error = hasError ? pop() : 0, returnEip = pop();
      pop();
      const eflags = pop();
      regs[4] = pop();
      outcome = {
        regs, eip: returnEip, eflags, trap, error, cr2: trap === 14 ? words[S.cr2 >> 2]! >>> 0 : 0, mxcsr: words[S.mxcsr >> 2]! >>> 0,
        xmm: v.xmm ? this.#bytes.slice(S.xmm, S.xmm + 128) : null, fpu: v.fpu ? this.#fpuImage() : null, changes: [], stuck: null, unimplemented: words[S.unimplemented >> 2] !== unimplemented,
      };
    }
    for (const c of v.expected.changes) { const { n, offset } = this.#window(c.addr); this.#golden[n]!.set(c.bytes, offset); touched.push({ addr: c.addr, length: c.bytes.length }); }
    let memoryProblem: string | null = null;
    for (let n = 0; n < WINDOWS.length; n++) {
      if (this.#golden[n]!.compare(this.#actual[n]!) === 0) continue;
      const i = this.#golden[n]!.findIndex((b, k) => b !== this.#actual[n]![k]), base = WINDOWS[n]!.base;
      const hex = (b: Buffer): string => b.subarray(i & ~3, (i & ~3) + 16).toString('hex');
      if (!v.undefinedMemory) memoryProblem = `memory at ${(base + (i & ~3)).toString(16)}: expected ${hex(this.#golden[n]!)}, got ${hex(this.#actual[n]!)}`;
      this.#restoreAll();
      touched.length = 0;
    }
    for (const t of touched) { const { n, offset } = this.#window(t.addr); for (let i = 0; i < t.length; i++) { const b = patternByte(t.addr + i); this.#golden[n]![offset + i] = b; this.#actual[n]![offset + i] = b; } }
    return { ...outcome, memoryProblem };
  }
}
