/**
 * Runs a static i386 Linux executable on the CPU engine, so that one and the same file can run on the host's CPU and here.
 *
 * Ring 3 code runs with paging on the selectors of a 64-bit Linux; every gate of the IDT leads to `hlt`, and what Linux would do there
 * (a few dozen system calls, signals) is done from outside, on the vCPU block and guest memory. This is a test harness, not a guest: what is under
 * test is the machine code of the program. Not there: files, threads, blocked signals, no-execute.
 */
import { createBoard, GUEST_RAM_BASE, type Board } from '../../vm/board.ts';
import { createEngine, type Engine } from '../../vm/cpu/engine.ts';
import { CR0, CR4, RUN, S, SEG, segAttr, segBase, segLimit, segSelector, writeEflags } from '../../vm/cpu/state.ts';
import type { Bus } from '../../vm/devices/bus.ts';
import type { JitMode } from '../../vm/machine.ts';

/** Linear base of the monitor (supervisor only), mapped to physical 0: 256 KiB. */
const MONITOR = 0xc0000000, MONITOR_BYTES = 0x40000;
const DIRECTORY = 0x1000, GDT = 0x2000, LDT = 0x3000, TSS = 0x5000, STACK_TOP = 0x8000, STUBS = 0x9000, IRET = 0xa000, IDT = 0xb000;
const CS = 0x23, DS = 0x2b, TSS_SELECTOR = 0x40, LDT_SELECTOR = 0x50, TLS_ENTRY = 12;
const STACK = 0xbffe0000, STACK_BYTES = 0x20000, MMAP = 0xa0000000;
const PAGE = 4096;
const EFAULT = -14, EINVAL = -22, ENOMEM = -12, ENOSYS = -38, ENOTTY = -25, EBADF = -9, ENOENT = -2;
const SIGNAL: Readonly<Record<number, readonly [signal: number, code: number]>> = {
  0: [8, 1], 1: [5, 2], 3: [5, 128], 4: [11, 128], 5: [11, 128], 6: [4, 2], 10: [11, 128], 11: [7, 128], 12: [7, 128], 13: [11, 128], 14: [11, 1], 16: [8, 0], 17: [7, 1], 19: [8, 0],
};
const silentBus: Bus = { portRead: () => -1, portWrite: () => {}, mmioRead: () => -1, mmioWrite: () => {}, interruptAcknowledge: () => -1 };

export interface LinuxRun {
  /** Bytes written to descriptors 1 and 2. */
  readonly output: Uint8Array;
  /** Exit status, null when it did not end by itself. */
  readonly status: number | null;
  /** Why it ended otherwise, or ''. */
  readonly problem: string;
  readonly instructions: number;
  /** System calls that were refused with ENOSYS. */
  readonly refused: readonly number[];
}
export interface LinuxOptions { readonly jit: JitMode; readonly input?: Uint8Array; readonly budget?: number; readonly memoryMiB?: number; readonly arguments?: readonly string[]; readonly jitHeat?: number }

interface Action { handler: number; flags: number; restorer: number; info: boolean }

class Linux {
  readonly board: Board;
  readonly engine: Engine;
  readonly words: Int32Array;
  readonly view: DataView;
  readonly ram: Uint8Array;
  readonly output: Uint8Array[] = [];
  readonly refused = new Set<number>();
  readonly actions = new Map<number, Action>();
  /** Next free physical page: above the hole for devices below 1 MiB. */
  free = 1 << 20;
  brk = 0;
  mmapTop = MMAP;
  input: Uint8Array;
  inputAt = 0;
  alternate = 0;
  alternateBytes = 0;
  ended: number | null = null;
  readonly options: LinuxOptions;
  constructor(options: LinuxOptions) {
    this.options = options;
    const board = this.board = createBoard({ cpus: 1, memoryMiB: options.memoryMiB ?? 96 });
    this.words = new Int32Array(board.buffer, board.vcpuBase(0), 0x1000 >> 2);
    this.view = new DataView(board.buffer, GUEST_RAM_BASE, board.ramBytes);
    this.ram = new Uint8Array(board.buffer, GUEST_RAM_BASE, board.ramBytes);
    this.engine = createEngine(board, 0, silentBus, { parallel: false, jit: options.jit, ...(options.jitHeat === undefined ? {} : { jitHeat: options.jitHeat }) });
    this.input = options.input ?? new Uint8Array(0);
    this.#tables();
    this.engine.invalidateAll();
  }
  put32(at: number, v: number): void { this.view.setUint32(at, v >>> 0, true); }
  set(offset: number, v: number): void { this.words[offset >> 2] = v; }
  get(offset: number): number { return this.words[offset >> 2]!; }

  #tables(): void {
    for (let p = 0; p < MONITOR_BYTES; p += PAGE) this.map(MONITOR + p, p, 3);
    const descriptor = (at: number, base: number, limit: number, access: number, flags: number): void => {
      this.put32(at, (base & 0xffff) << 16 | (limit & 0xffff));
      this.put32(at + 4, (base & 0xff000000) | flags << 20 | (limit & 0xf0000) | access << 8 | (base >>> 16 & 0xff));
    };
    descriptor(GDT + 8, 0, 0xfffff, 0x9b, 12); descriptor(GDT + 16, 0, 0xfffff, 0x93, 12);
    descriptor(GDT + (CS & ~7), 0, 0xfffff, 0xfb, 12); descriptor(GDT + (DS & ~7), 0, 0xfffff, 0xf3, 12);
    descriptor(GDT + TSS_SELECTOR, MONITOR + TSS, 103, 0x8b, 0); descriptor(GDT + LDT_SELECTOR, MONITOR + LDT, 0x1fff, 0x82, 0);
    this.put32(TSS + 4, MONITOR + STACK_TOP); this.put32(TSS + 8, 0x10); this.put32(TSS + 100, 104 << 16);
    for (let v = 0; v < 256; v++) {
      const stub = MONITOR + STUBS + v * 16;
      this.put32(IDT + v * 8, 8 << 16 | (stub & 0xffff));
      this.put32(IDT + v * 8 + 4, (stub & 0xffff0000) | (v === 3 || v === 4 || v === 0x80 ? 0xee00 : 0x8e00));
      this.ram[STUBS + v * 16] = 0xf4;
    }
    this.ram[IRET] = 0xcf;
    for (const i of [SEG.ES, SEG.CS, SEG.SS, SEG.DS, SEG.FS, SEG.GS]) {
      const none = i === SEG.FS || i === SEG.GS, user = i === SEG.DS || i === SEG.ES;
      this.set(segSelector(i), none ? 0 : i === SEG.CS ? 8 : user ? DS : 0x10); this.set(segBase(i), 0); this.set(segLimit(i), none ? 0 : -1);
      this.set(segAttr(i), none ? 0 : i === SEG.CS ? 0xc09b : user ? 0xc0f3 : 0xc093);
    }
    this.set(segSelector(SEG.LDTR), LDT_SELECTOR); this.set(segBase(SEG.LDTR), MONITOR + LDT); this.set(segLimit(SEG.LDTR), 0x1fff); this.set(segAttr(SEG.LDTR), 0x82);
    this.set(segSelector(SEG.TR), TSS_SELECTOR); this.set(segBase(SEG.TR), MONITOR + TSS); this.set(segLimit(SEG.TR), 103); this.set(segAttr(SEG.TR), 0x8b);
    this.set(S.gdtrBase, MONITOR + GDT); this.set(S.gdtrLimit, 127); this.set(S.idtrBase, MONITOR + IDT); this.set(S.idtrLimit, 0x7ff);
    this.set(S.cr0, CR0.PE | CR0.MP | CR0.ET | CR0.NE | CR0.WP | CR0.AM | CR0.PG);
    this.set(S.cr3, DIRECTORY); this.set(S.cr4, CR4.OSFXSR | CR4.OSXMMEXCPT);
    this.set(S.cpl, 0); this.set(S.apicBase, 0xfee00900 | 0); this.set(S.mxcsr, 0x1f80); this.set(S.fpuControl, 0x37f); this.set(S.fpuTag, 0);
    writeEflags(new Int32Array(this.board.buffer, 0, (this.board.vcpuBase(0) + 0x10000) >> 2), this.board.vcpuBase(0), 2);
  }
  page(): number {
    if (this.free + PAGE > this.ram.length) throw new RangeError('the executable wants more memory than the board has');
    this.free += PAGE;
    return this.free - PAGE;
  }
  #entry(va: number): number { return (this.view.getUint32(DIRECTORY + (va >>> 22) * 4, true) & ~0xfff) + (va >>> 12 & 1023) * 4; }
  map(va: number, pa: number, flags: number): void {
    const directory = DIRECTORY + (va >>> 22) * 4;
    if (this.view.getUint32(directory, true) === 0) this.put32(directory, (va >= MONITOR ? STACK_TOP + 0x8000 : this.page()) | 7);
    this.put32(this.#entry(va), pa | flags);
  }
  /** Physical address of a mapped byte of the program, -1 when there is none. */
  physical(va: number): number {
    if ((this.view.getUint32(DIRECTORY + (va >>> 22) * 4, true) & 1) === 0) return -1;
    const e = this.view.getUint32(this.#entry(va), true);
    return (e & 5) === 5 ? (e & ~0xfff) + (va & 0xfff) : -1;
  }
  /** Fresh zeroed pages, or what is there already. */
  provide(from: number, bytes: number, writable: boolean): void {
    for (let va = from & ~0xfff; (va >>> 0) < from + bytes; va = va + PAGE >>> 0) if (this.physical(va >>> 0) < 0) this.map(va >>> 0, this.page(), writable ? 7 : 5);
  }
  protect(from: number, bytes: number, flags: number): void {
    for (let va = from & ~0xfff; (va >>> 0) < from + bytes; va = va + PAGE >>> 0) {
      if ((this.view.getUint32(DIRECTORY + (va >>> 22) * 4, true) & 1) === 0) continue;
      const e = this.view.getUint32(this.#entry(va >>> 0), true);
      if ((e & ~0xfff) !== 0) this.put32(this.#entry(va >>> 0), flags === -4096 ? 0 : (e & ~0xfff) | flags); // without access the frame stays
    }
    this.engine.invalidateAll();
  }
  read32(va: number): number {
    let v = 0;
    for (let i = 3; i >= 0; i--) { const at = this.physical(va + i >>> 0); if (at < 0) throw new Fault(); v = v << 8 | this.ram[at]!; }
    return v >>> 0;
  }
  write(va: number, bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length;) {
      const at = this.physical(va + i >>> 0), n = Math.min(bytes.length - i, PAGE - (va + i & 0xfff));
      if (at < 0) throw new Fault();
      this.ram.set(bytes.subarray(i, i + n), at);
      this.engine.memoryWritten(at, n);
      i += n;
    }
  }
  write32(va: number, ...values: number[]): void { this.write(va, new Uint8Array(Uint32Array.from(values, v => v >>> 0).buffer)); }
  bytes(va: number, n: number): Uint8Array {
    const out = new Uint8Array(n);
    for (let i = 0; i < n;) {
      const at = this.physical(va + i >>> 0), k = Math.min(n - i, PAGE - (va + i & 0xfff));
      if (at < 0) throw new Fault();
      out.set(this.ram.subarray(at, at + k), i);
      i += k;
    }
    return out;
  }

  load(elf: Uint8Array): { entry: number; phdr: number; phnum: number } {
    const v = new DataView(elf.buffer, elf.byteOffset, elf.length);
    if (v.getUint32(0, true) !== 0x464c457f || elf[4] !== 1 || v.getUint16(16, true) !== 2 || v.getUint16(18, true) !== 3) throw new TypeError('not a static i386 ELF executable');
    const phoff = v.getUint32(28, true), phnum = v.getUint16(44, true);
    let phdr = 0;
    for (let i = 0; i < phnum; i++) {
      const h = phoff + i * 32, [type, offset, va, , filesz, memsz, flags] = Array.from({ length: 7 }, (_, k) => v.getUint32(h + k * 4, true)) as [number, number, number, number, number, number, number];
      if (type === 3) throw new TypeError('a dynamic executable: link it with -static');
      if (type !== 1 || memsz === 0) continue;
      this.provide(va, memsz, (flags & 2) !== 0);
      for (let k = 0; k < filesz; k++) this.ram[this.physical(va + k)] = elf[offset + k]!;
      if (phoff >= offset && phoff < offset + filesz) phdr = va + phoff - offset;
      this.brk = Math.max(this.brk, va + memsz + PAGE - 1 & ~0xfff);
    }
    return { entry: v.getUint32(24, true), phdr, phnum };
  }
  /** argc, argv, no environment, auxiliary vector. */
  stack(elf: { entry: number; phdr: number; phnum: number }): number {
    this.provide(STACK, STACK_BYTES, true);
    let at = STACK + STACK_BYTES - 64;
    const strings = ['program', ...(this.options.arguments ?? [])].map(s => { const b = new TextEncoder().encode(`${s}\0`); at -= b.length; this.write(at, b); return at; });
    at = (at & ~15) - 16;
    const random = at;
    this.write(random, Uint8Array.from({ length: 16 }, (_, i) => i * 17 + 1));
    const vector = [strings.length, ...strings, 0, 0, 3, elf.phdr, 4, 32, 5, elf.phnum, 6, PAGE, 9, elf.entry, 11, 0, 12, 0, 13, 0, 14, 0, 16, 0x078bfbff, 17, 100, 23, 0, 25, random, 0, 0];
    at = (at - vector.length * 4 & ~15) >>> 0;
    this.write32(at, ...vector);
    return at;
  }

  run(elf: Uint8Array): LinuxRun {
    const loaded = this.load(elf), esp = this.stack(loaded), frame = STACK_TOP - 20;
    [loaded.entry, CS, 0x202, esp, DS].forEach((v, i) => { this.put32(frame + i * 4, v); });
    this.set(S.esp, MONITOR + frame); this.set(S.eip, MONITOR + IRET);
    this.set(S.runState, RUN.running);
    this.engine.stateChanged();
    const budget = this.options.budget ?? 2_000_000_000;
    let problem = '', spent = 0;
    while (this.ended === null && problem === '') {
      const before = this.get(S.retired);
      const exit = this.engine.run(20_000_000);
      spent += this.get(S.retired) - before | 0;
      if (exit === 'budget') { if (spent > budget) problem = `more than ${budget} instructions`; continue; }
      const stub = (this.get(S.eip) >>> 0) - 1 - (MONITOR + STUBS);
      if (exit !== 'halt' || stub < 0 || stub >= 4096 || stub % 16 !== 0) { problem = `${exit} at ${(this.get(S.eip) >>> 0).toString(16)}`; break; }
      problem = this.#trap(stub / 16);
      if (problem === '' && this.ended === null) { this.set(S.eip, MONITOR + IRET); this.set(S.runState, RUN.running); this.engine.registersChanged(); }
    }
    return { output: Buffer.concat(this.output), status: this.ended, problem, instructions: spent, refused: [...this.refused] };
  }

  #trap(vector: number): string {
    const hasError = vector === 8 || (vector >= 10 && vector <= 14) || vector === 17;
    let at = (this.get(S.esp) >>> 0) - MONITOR, error = 0;
    if (hasError) { error = this.view.getUint32(at, true); at += 4; this.set(S.esp, MONITOR + at); }
    const eip = this.view.getUint32(at, true);
    if ((this.view.getUint32(at + 4, true) & 3) !== 3) return `exception ${vector} in the monitor at ${eip.toString(16)}`;
    if (vector === 0x80) {
      const n = this.get(S.eax);
      if (n === 173) { this.#return(at); return ''; }
      let result: number;
      try { result = this.#call(n, [S.ebx, S.ecx, S.edx, S.esi, S.edi, S.ebp].map(o => this.get(o) >>> 0)); } catch (e) { if (!(e instanceof Fault)) throw e; result = EFAULT; }
      this.set(S.eax, result);
      return '';
    }
    const what = SIGNAL[vector];
    if (!what) return `exception ${vector} at ${eip.toString(16)}`;
    const action = this.actions.get(what[0]);
    if (!action || action.handler <= 1) return `signal ${what[0]} (exception ${vector}, error ${error.toString(16)}) at ${eip.toString(16)}, address ${(this.get(S.cr2) >>> 0).toString(16)}`;
    try { this.#deliver(action, vector, error, what, at); } catch (e) { if (!(e instanceof Fault)) throw e; return `no room on the stack for signal ${what[0]} at ${eip.toString(16)}`; }
    return '';
  }
  /** Enters a handler: `at` is the physical address of the frame that IRET will take. */
  #deliver(action: Action, vector: number, error: number, [signal, code]: readonly [number, number], at: number): void {
    const [eip, cs, eflags, esp, ss] = [0, 4, 8, 12, 16].map(o => this.view.getUint32(at + o, true)) as [number, number, number, number, number];
    const cr2 = vector === 14 ? this.get(S.cr2) : 0;
    const context = [SEG.GS, SEG.FS, SEG.ES, SEG.DS].map(s => this.get(segSelector(s)));
    context.push(this.get(S.edi), this.get(S.esi), this.get(S.ebp), esp, this.get(S.ebx), this.get(S.edx), this.get(S.ecx), this.get(S.eax), vector, error, eip, cs, eflags, esp, ss, 0, 0, cr2);
    let top = esp;
    if ((action.flags & 0x08000000) !== 0 && this.alternateBytes > 0 && !(esp > this.alternate && esp <= this.alternate + this.alternateBytes)) top = this.alternate + this.alternateBytes;
    let stack: number;
    if (action.info) {
      const uc = top - 256 & ~15, info = uc - 128;
      stack = (info - 32 & ~15) - 4;
      this.write32(uc, 0, 0, this.alternate, 0, this.alternateBytes, ...context, 0, 0);
      this.write32(info, signal, 0, vector === 14 && (error & 1) !== 0 ? 2 : code, vector === 14 ? cr2 : code === 128 ? 0 : eip);
      this.write32(stack, action.restorer, signal, info, uc);
    } else {
      stack = (top - 160 & ~15) - 4;
      this.write32(stack, action.restorer, signal, ...context);
    }
    this.put32(at, action.handler); this.put32(at + 4, CS); this.put32(at + 8, eflags & ~0x50500); this.put32(at + 12, stack); this.put32(at + 16, DS);
    this.set(S.eax, signal); this.set(S.edx, 0); this.set(S.ecx, 0);
  }
  /** rt_sigreturn; segment registers but CS and SS stay what they are. */
  #return(at: number): void {
    const uc = this.read32(this.view.getUint32(at + 12, true) + 8), word = (i: number): number => this.read32(uc + 20 + i * 4);
    [S.edi, S.esi, S.ebp].forEach((o, i) => { this.set(o, word(4 + i)); });
    [S.ebx, S.edx, S.ecx, S.eax].forEach((o, i) => { this.set(o, word(8 + i)); });
    [14, 15, 16, 7, 18].forEach((w, i) => { this.put32(at + i * 4, i === 1 || i === 4 ? word(w) | 3 : word(w)); });
  }

  #call(n: number, [a, b, c, d, e]: number[] | [number, number, number, number, number]): number {
    [a, b, c, d, e] = [a!, b!, c!, d!, e!];
    switch (n) {
      case 1: case 252: this.ended = a & 255; return 0;
      case 3: {
        if (a !== 0) return EBADF;
        const part = this.input.subarray(this.inputAt, this.inputAt + c);
        this.write(b, part);
        this.inputAt += part.length;
        return part.length;
      }
      case 4: if (a !== 1 && a !== 2) return EBADF; this.output.push(this.bytes(b, c)); return c;
      case 146: { let sum = 0; for (let i = 0; i < c; i++) { const k = this.read32(b + i * 8 + 4); this.output.push(this.bytes(this.read32(b + i * 8), k)); sum += k; } return sum; }
      case 45: if (a > this.brk && a < MMAP) { this.provide(this.brk & ~0xfff, a - (this.brk & ~0xfff), true); this.brk = a; } return this.brk;
      case 192: {
        if ((d & 0x20) === 0) return ENOSYS; // only MAP_ANONYMOUS
        let at = a;
        if ((d & 0x10) === 0 && (a === 0 || this.physical(a) >= 0)) { at = this.mmapTop; this.mmapTop = this.mmapTop + b + PAGE - 1 & ~0xfff; this.mmapTop >>>= 0; }
        if (this.free + b > this.ram.length) return ENOMEM;
        this.provide(at, b, (c & 2) !== 0);
        return at | 0;
      }
      case 91: this.protect(a, b, -4096); return 0;
      case 125: this.protect(a, b, c === 0 ? 0 : (c & 2) !== 0 ? 7 : 5); return 0;
      case 67: case 174: {
        if (c !== 0) this.write(c, new Uint8Array(16));
        if (b !== 0) {
          const w = [0, 4, 8, 12].map(o => this.read32(b + o)) as [number, number, number, number], flags = n === 67 ? w[2] : w[1];
          this.actions.set(a, { handler: w[0], flags, restorer: n === 67 ? w[3] : w[2], info: n === 174 });
        }
        return 0;
      }
      case 186: if (a !== 0) { this.alternate = this.read32(a); this.alternateBytes = this.read32(a + 8); } return 0;
      case 175: case 126: return 0; // signals are never blocked
      case 243: {
        const entry = this.read32(a) | 0, base = this.read32(a + 4);
        if (entry !== -1 && entry !== TLS_ENTRY) return EINVAL;
        this.put32(GDT + TLS_ENTRY * 8, (base & 0xffff) << 16 | 0xffff);
        this.put32(GDT + TLS_ENTRY * 8 + 4, (base & 0xff000000) | 0x00cff300 | (base >>> 16 & 0xff));
        this.write32(a, TLS_ENTRY);
        return 0;
      }
      case 123: { // modify_ldt: read the table, write one entry
        if (a === 0) { this.write(b, this.ram.slice(LDT, LDT + Math.min(c, 4096))); return Math.min(c, 4096); }
        if (a !== 1 && a !== 0x11) return ENOSYS;
        const [entry, base, limit, f] = [0, 4, 8, 12].map(o => this.read32(b + o)) as [number, number, number, number];
        const contents = f >> 1 & 3, access = (contents << 2 | ((f >> 3 & 1) ^ 1) << 1 | 0xf1) & ((f >> 5 & 1) !== 0 ? 0x7f : 0xff);
        if (entry >= 512) return EINVAL;
        this.put32(LDT + entry * 8, (base & 0xffff) << 16 | (limit & 0xffff));
        this.put32(LDT + entry * 8 + 4, (base & 0xff000000) | (f & 1) << 22 | (f >> 4 & 1) << 23 | (a === 0x11 ? f >> 6 & 1 : 0) << 20 | (limit & 0xf0000) | access << 8 | (base >>> 16 & 0xff));
        return 0;
      }
      case 122: {
        const fields = ['Linux', 'host', '6.1.0', '#1', 'i686', ''];
        fields.forEach((s, i) => { this.write(a + i * 65, new TextEncoder().encode(`${s}\0`)); });
        return 0;
      }
      case 20: case 224: case 258: return 1;
      case 311: case 191: case 384: case 340: return n === 311 ? 0 : n === 384 && d !== 0 ? (this.write32(d, 8 << 20, 0, 0xffffffff, 0xffffffff), 0) : 0;
      case 355: this.write(a, new Uint8Array(b).fill(0x5a)); return b;
      case 54: return ENOTTY;
      case 197: this.write32(b, ...new Array<number>(24).fill(0)); this.write32(b + 16, 0o10600); return 0; // a pipe
      case 383: this.write32(e, ...new Array<number>(64).fill(0)); this.write32(e + 28, 0o10600); return 0;
      case 85: case 305: return ENOENT;
      default: this.refused.add(n); return ENOSYS;
    }
  }
}
class Fault extends Error {}

/** Runs the executable to its end. Does not throw for what the program does. */
export function runLinux(elf: Uint8Array, options: LinuxOptions): LinuxRun { return new Linux(options).run(elf); }
