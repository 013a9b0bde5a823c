/**
 * A CPU on a bench: one vCPU in flat 32-bit protected mode on a blank board, without devices. Tests and the vector runner
 * set registers and memory, run instructions, and read back.
 *
 *   const bench = new Bench();
 *   bench.load(0x1000, [0x01, 0xd8]);            // add eax, ebx
 *   bench.registers({ eax: 1, ebx: 2, eip: 0x1000 });
 *   bench.run(1);                                // -> 'budget'
 *   bench.read().eax                             // 3
 *
 * Exceptions: with an IDT of the test's own, as on any machine. Without (`catchFaults`, the default) every vector leads to a HLT
 * of its own, and `fault` tells which one, with error code and EIP of the faulting instruction.
 */
import { createBoard, type Board } from '../board.ts';
import type { Bus } from '../devices/bus.ts';
import type { EngineOptions, Exit } from '../engine.ts';
import { createEngine, type Engine } from './engine.ts';
import { S, SEG, readEflags, writeEflags } from './state.ts';

export interface Registers {
  eax: number; ecx: number; edx: number; ebx: number; esp: number; ebp: number; esi: number; edi: number; eip: number; eflags: number;
}
const GENERAL = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'] as const;

/** Where the bench keeps its IDT, GDT and fault stubs: the last 64 KiB of RAM. */
const SYSTEM_BYTES = 0x10000;

export class TestBus implements Bus {
  readonly log: string[] = [];
  ports = new Map<number, number>();
  vector = -1;
  onAccess: (what: string) => void = () => undefined;
  portRead(_cpu: number, port: number, size: number): number { this.log.push(`in${size} ${port.toString(16)}`); this.onAccess('in'); return this.ports.get(port) ?? -1; }
  portWrite(_cpu: number, port: number, size: number, value: number): void { this.log.push(`out${size} ${port.toString(16)} ${(value >>> 0).toString(16)}`); this.ports.set(port, value); this.onAccess('out'); }
  mmioRead(_cpu: number, address: number, size: number): number { this.log.push(`read${size} ${address.toString(16)}`); this.onAccess('read'); return -1; }
  mmioWrite(_cpu: number, address: number, size: number, value: number): void { this.log.push(`write${size} ${address.toString(16)} ${(value >>> 0).toString(16)}`); this.onAccess('write'); }
  interruptAcknowledge(): number { const vector = this.vector; this.vector = -1; return vector; }
}

export interface BenchOptions extends Partial<EngineOptions> { readonly memoryMiB?: number; readonly catchFaults?: boolean; readonly cpus?: number; readonly cpu?: number; readonly board?: Board }

export class Bench {
  readonly board: Board;
  readonly engine: Engine;
  readonly bus = new TestBus();
  readonly words: Int32Array;
  readonly system: number;

  constructor(options: BenchOptions = {}) {
    this.board = options.board ?? createBoard({ cpus: options.cpus ?? 1, memoryMiB: options.memoryMiB ?? 4, viewsPerCpu: 4 });
    const cpu = options.cpu ?? 0;
    this.engine = createEngine(this.board, cpu, this.bus, { parallel: false, jit: 'off', jitHeat: 20_000, ...options });
    this.words = new Int32Array(this.board.buffer, this.board.vcpuBase(cpu), 0x4000);
    this.system = this.board.ramBytes - SYSTEM_BYTES;
    this.engine.reset();
    this.engine.enterFlatProtectedMode();
    if (options.catchFaults ?? true) this.installFaultCatcher();
  }
  /** GDT: 08 code0 10 code0(bench) 18 data0 20 code3 28 data3 30 TSS; IDT: every vector to a HLT; TSS with ESP0. */
  private installFaultCatcher(): void {
    const { system, board } = this;
    const words = board.ramWords;
    const gdt = system + 0x1000, idt = system, stubs = system + 0x2000, tss = system + 0x3000;
    const put = (at: number, low: number, high: number): void => { words[at >> 2] = low >>> 0; words[(at >> 2) + 1] = high >>> 0; };
    put(gdt, 0, 0); put(gdt + 8, 0x0000ffff, 0x00cf9b00); put(gdt + 16, 0x0000ffff, 0x00cf9b00); put(gdt + 24, 0x0000ffff, 0x00cf9300);
    put(gdt + 32, 0x0000ffff, 0x00cffb00); put(gdt + 40, 0x0000ffff, 0x00cff300);
    put(gdt + 48, (tss & 0xffff) << 16 | 0x67, tss & 0xff000000 | 0x8b00 | tss >> 16 & 0xff);
    for (let v = 0; v < 256; v++) {
      const stub = stubs + v * 8;
      board.ram[stub] = 0xf4;
      put(idt + v * 8, 0x10 << 16 | stub & 0xffff, stub & 0xffff0000 | 0xee00);
    }
    words[(tss + 4) >> 2] = system + 0x8000; words[(tss + 8) >> 2] = 0x18;
    this.words[S.gdtrBase >> 2] = gdt; this.words[S.gdtrLimit >> 2] = 0x37;
    this.words[S.idtrBase >> 2] = idt; this.words[S.idtrLimit >> 2] = 0x7ff;
    this.engine.cpu.setSegment(SEG.TR, 0x30, tss, 0x67, 0x8b);
    this.words[4] = system + 0x8000;
    this.engine.stateChanged();
  }
  /** Writes guest physical memory. */
  load(address: number, bytes: ArrayLike<number>): void { this.board.ram.set(bytes, address); this.engine.memoryWritten(address, bytes.length); }
  peek(address: number, count: number): Uint8Array { return this.board.ram.slice(address, address + count); }
  peek32(address: number): number { return new DataView(this.board.buffer, this.board.ram.byteOffset + address, 4).getInt32(0, true); }
  poke32(address: number, value: number): void { new DataView(this.board.buffer, this.board.ram.byteOffset + address, 4).setInt32(0, value, true); }

  /** Sets the given registers; general registers and EIP as any 32-bit integer. */
  registers(values: Partial<Registers>): void {
    for (const [i, name] of GENERAL.entries()) if (values[name] !== undefined) this.words[i] = values[name];
    if (values.eip !== undefined) this.words[S.eip >> 2] = values.eip;
    if (values.eflags !== undefined) { writeEflags(this.words, 0, values.eflags); this.engine.stateChanged(); }
  }
  /** All registers, unsigned. */
  read(): Registers {
    const result = { eip: this.words[S.eip >> 2] >>> 0, eflags: readEflags(this.words, 0) >>> 0 } as Registers;
    for (const [i, name] of GENERAL.entries()) result[name] = this.words[i] >>> 0;
    return result;
  }
  /** 16 bytes of XMM register n. */
  xmm(n: number): Uint8Array { return new Uint8Array(this.board.buffer, this.board.vcpuBase(this.engine.index) + S.xmm + n * 16, 16); }
  run(instructions: number): Exit { return this.engine.run(instructions); }

  /** With the fault catcher: what happened, or null. The stack holds the frame. `ring3`: SS:ESP were pushed too. */
  get fault(): { vector: number; error: number; eip: number; cs: number; eflags: number } | null {
    const eip = this.words[S.eip >> 2], first = this.system + 0x2000;
    if (eip < first || eip >= first + 256 * 8) return null;
    const vector = eip - first >> 3;
    const withError = [8, 10, 11, 12, 13, 14, 17].includes(vector);
    const esp = this.words[4];
    const at = withError ? esp + 4 : esp;
    return { vector, error: withError ? this.peek32(esp) : 0, eip: this.peek32(at) >>> 0, cs: this.peek32(at + 4), eflags: this.peek32(at + 8) };
  }
  /** Continues in ring 3 with flat segments. */
  enterRing3(): void {
    const cpu = this.engine.cpu;
    this.words[S.cpl >> 2] = 3;
    cpu.setSegment(SEG.CS, 0x23, 0, -1, 0xc0fb);
    for (const seg of [SEG.DS, SEG.ES, SEG.SS, SEG.FS, SEG.GS]) cpu.setSegment(seg, 0x2b, 0, -1, 0xc0f3);
    this.engine.stateChanged();
  }
}
