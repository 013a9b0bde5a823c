/**
 * Our machine as gdb's target: vCPUs and, with a guest-awareness module, the kernel's Threads as gdb threads.
 *
 * Thread 1 + n is vCPU n, always. Kernel Threads are 1000h + serial: they can be looked at (registers as the kernel saved them, memory through their own
 * page tables) and stepped only while they run in ring 3, by way of their vCPU. Stops are always those of a vCPU.
 *
 * Breakpoints are the engine's (vm/engine.ts): the guest's memory is never patched. A breakpoint below the kernel counts in every address space, or in
 * the one chosen with `monitor space NAME`.
 */
import { CR0, S } from '../../vm/cpu/state.ts';
import { Debugger, type Stop } from '../../vm/debugger.ts';
import type { Watch } from '../../vm/engine.ts';
import type { DeterministicMachine } from '../../vm/machine.ts';
import { REGISTERS, REGISTER_BYTES, TARGET_XML, readRegister, writeRegister } from './i386.ts';
import type { Awareness, GuestThread } from './awareness.ts';
import { monitor } from './monitor.ts';
import { POINT, type PointKind, type Resume, type StopReply, type Target, type TargetThread } from './target.ts';

const FIRST_GUEST_THREAD = 0x1000;
const SIGINT = 2, SIGTRAP = 5, SIGTERM = 15;
/** Instructions between two looks at gdb. */
const PIECE = 4_000_000;
const MOST_WATCHED_BYTES = 4096;
const MEMORY_MAP = '<?xml version="1.0"?>\n<!DOCTYPE memory-map PUBLIC "+//IDN gnu.org//DTD GDB Memory Map V1.0//EN" "http://sourceware.org/gdb/gdb-memory-map.dtd">\n<memory-map>\n  <memory type="ram" start="0x0" length="0x100000000"/>\n</memory-map>\n';

export type Ending = 'detached' | 'killed' | 'ended';

export class MachineTarget implements Target {
  readonly features = TARGET_XML;
  readonly memoryMap = MEMORY_MAP;
  readonly registerBytes = REGISTER_BYTES;
  readonly machine: DeterministicMachine;
  readonly debug: Debugger;
  readonly awareness: Awareness | undefined;
  current = 1;
  /** `monitor space`: breakpoints in user code count only there. */
  space: string | undefined;
  panicStop = false;
  ending: Ending | undefined;
  /** Breakpoints that gdb took away for a step of one vCPU: they still count on the others. */
  #lifted: number[] = [];
  #cancelled = false;
  /** The end of the machine has been shown. */
  #endShown = false;
  #threads: readonly GuestThread[] | undefined;

  constructor(machine: DeterministicMachine, awareness?: (debug: Debugger) => Awareness, debug = new Debugger(machine)) {
    this.machine = machine;
    this.debug = debug;
    this.awareness = awareness?.(this.debug);
    this.debug.applies = (cpu, linear) => this.space === undefined || [undefined, this.space].includes(this.awareness?.spaceOf(cpu, linear));
    if (this.awareness) this.pauseOnPanic(true);
  }

  // ---- threads
  #guestThreads(): readonly GuestThread[] { return this.#threads ??= this.awareness?.threads() ?? []; }
  #guest(thread: number): GuestThread | undefined { return thread >= FIRST_GUEST_THREAD ? this.#guestThreads().find(({ serial }) => serial === thread - FIRST_GUEST_THREAD) : undefined; }
  /** The vCPU behind a thread; undefined for a kernel Thread that runs on none. */
  cpuOf(thread: number): number | undefined { return thread >= FIRST_GUEST_THREAD ? this.#guest(thread)?.runsOn : thread - 1; }
  threads(): readonly TargetThread[] {
    const { cpus } = this.machine;
    return [
      ...Array.from({ length: cpus.cpus }, (_, cpu) => ({ id: cpu + 1, name: `CPU#${cpu}`, core: cpu, extra: this.awareness ? `${this.runWords(cpu)}: ${this.awareness.describe(cpu)}` : this.runWords(cpu) })),
      ...this.#guestThreads().map(({ serial, name, extra, runsOn }) => ({ id: FIRST_GUEST_THREAD + serial, name, extra, ...(runsOn === undefined ? {} : { core: runsOn }) })),
    ];
  }
  runWords(cpu: number): string { return ['running', 'halted', 'waits for SIPI', 'dead'][this.machine.cpus.runState(cpu)] ?? '?'; }

  // ---- registers
  readRegister(thread: number, register: number): Uint8Array | undefined {
    const cpu = this.cpuOf(thread);
    if (cpu !== undefined) return readRegister(this.debug.port, cpu, register);
    const value = this.#guest(thread)?.registers.get(REGISTERS[register]!.name as 'eax');
    return value === undefined ? undefined : Uint8Array.of(value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24);
  }
  writeRegister(thread: number, register: number, value: Uint8Array): boolean {
    const cpu = this.cpuOf(thread);
    if (cpu === undefined || !writeRegister(this.debug.port, cpu, register, value)) return false;
    this.changed();
    return true;
  }
  changed(): void { this.#threads = undefined; this.debug.changed(); }

  // ---- memory
  /** Physical address as the thread sees `linear`, -1 where nothing is mapped. */
  translate(thread: number, linear: number): number {
    const guest = this.#guest(thread), cpu = this.cpuOf(thread) ?? 0, words = this.machine.cpus.words(cpu);
    if (!(words[S.cr0 >> 2]! & CR0.PG)) return linear;
    return this.debug.port.translate(guest?.cr3 ?? words[S.cr3 >> 2]! >>> 0, linear);
  }
  readMemory(thread: number, address: number, bytes: number): Uint8Array | undefined {
    const { board } = this.machine, out = new Uint8Array(bytes);
    let done = 0;
    while (done < bytes && address + done <= 0xffffffff) {
      const linear = address + done, physical = this.translate(thread, linear), count = Math.min(bytes - done, 4096 - (linear & 0xfff));
      if (physical < 0 || physical + count > board.ramBytes) break;
      out.set(board.ram.subarray(physical, physical + count), done);
      done += count;
    }
    return done === 0 ? undefined : out.subarray(0, done);
  }
  writeMemory(thread: number, address: number, value: Uint8Array): boolean {
    const { board } = this.machine, pieces: [number, Uint8Array][] = [];
    for (let done = 0; done < value.length;) {
      const linear = address + done, physical = this.translate(thread, linear), count = Math.min(value.length - done, 4096 - (linear & 0xfff));
      if (linear > 0xffffffff || physical < 0 || physical + count > board.ramBytes) return false;
      pieces.push([physical, value.subarray(done, done + count)]);
      done += count;
    }
    for (const [physical, bytes] of pieces) this.debug.port.writePhysical(physical, bytes);
    if (pieces.length > 0) this.changed();
    return true;
  }

  // ---- breakpoints
  insert(kind: PointKind, address: number, bytes: number): boolean {
    if (kind === POINT.software || kind === POINT.hardware) {
      const lifted = this.#lifted.indexOf(address);
      if (lifted >= 0) this.#lifted.splice(lifted, 1); else this.debug.insertBreakpoint(address);
      return true;
    }
    if (bytes < 1 || bytes > MOST_WATCHED_BYTES) return false;
    this.debug.insertWatch(watchOf(kind, address, bytes));
    return true;
  }
  remove(kind: PointKind, address: number, bytes: number): boolean {
    if (kind === POINT.software || kind === POINT.hardware) {
      if (!this.debug.hasBreakpoint(address)) return false;
      this.#lifted.push(address); // taken out at the next resume, unless gdb puts it back
      return true;
    }
    return this.debug.removeWatch(watchOf(kind, address, bytes));
  }
  pauseOnPanic(on: boolean): void {
    if (on === this.panicStop) return;
    this.panicStop = on;
    for (const address of this.awareness?.panics ?? []) if (on) this.debug.insertBreakpoint(address); else this.debug.removeBreakpoint(address);
  }

  // ---- running
  interrupt(): void { this.#cancelled = true; }
  resume(how: Resume): Promise<StopReply> {
    this.#cancelled = false;
    return this.#resume(how);
  }
  async #resume(how: Resume): Promise<StopReply> {
    const stepping = how.kind === 'step' || how.kind === 'range', cpu = 'thread' in how ? this.cpuOf(how.thread) : undefined;
    if ('thread' in how && cpu === undefined) return this.#signal(SIGTRAP, how.thread, 'this kernel Thread runs on no vCPU now: step the vCPU, or set a breakpoint where the Thread will go on');
    // While gdb steps one vCPU off a breakpoint the others must not slip past it.
    const lifted = stepping && this.machine.cpus.cpus > 1 ? [] : this.#lifted.splice(0);
    for (const address of lifted) this.debug.removeBreakpoint(address);
    this.#threads = undefined;
    try {
      switch (how.kind) {
        case 'reverse-step': return this.#reply(this.debug.reverseStep(cpu!));
        case 'reverse-continue': return this.#reply(await this.debug.reverseContinue(async () => { await breath(); return !this.#cancelled; }));
        case 'continue': return await this.#forward(() => this.debug.forward(PIECE));
        case 'step': return await this.#forward(() => this.debug.step(cpu!, PIECE));
        default: return await this.#range(cpu!, how.from, how.to);
      }
    } finally {
      for (const address of this.#lifted.splice(0)) this.debug.removeBreakpoint(address);
      this.#threads = undefined;
      this.#endShown &&= this.machine.stopReason !== undefined;
    }
  }
  async #range(cpu: number, from: number, to: number): Promise<StopReply> {
    for (let n = 1; ; n++) {
      const reply = await this.#forward(() => this.debug.step(cpu, PIECE)), { eip } = this.debug.port.position(cpu);
      if (reply.kind !== 'signal' || reply.signal !== SIGTRAP || reply.why || reply.watch || eip < from || eip >= to) return reply;
      if (n % 1000 === 0) { await breath(); if (this.#cancelled) return this.#signal(SIGINT, cpu + 1); }
    }
  }
  async #forward(piece: () => Stop): Promise<StopReply> {
    const { machine } = this;
    for (;;) {
      const stop = piece();
      switch (stop.kind) {
        case 'limit': case 'waiting': await breath(); break;
        case 'idle':
          if (!machine.config.interactive || machine.cpus.asleepForGood()) return this.#end();
          await Promise.race([machine.waitForInput(), new Promise<void>((resolve) => { setTimeout(resolve, 20); })]);
          break;
        default: return this.#reply(stop);
      }
      if (this.#cancelled) return this.#signal(SIGINT, this.current);
    }
  }
  #reply(stop: Stop): StopReply {
    switch (stop.kind) {
      case 'breakpoint': {
        const panic = this.panicStop && this.awareness!.panics.includes(stop.linear);
        return { ...this.#signal(SIGTRAP, stop.cpu + 1, panic ? 'the kernel panics (monitor panic off: do not stop here)' : undefined), ...(panic ? {} : { why: 'swbreak' as const }) };
      }
      case 'watch': {
        const { read, write, linear } = stop.watch;
        return { ...this.#signal(SIGTRAP, stop.cpu + 1), watch: { kind: read ? (write ? 'awatch' : 'rwatch') : 'watch', address: linear } };
      }
      case 'step': return this.#signal(SIGTRAP, stop.cpu + 1);
      case 'begin': return { ...this.#signal(SIGTRAP, this.current), why: 'begin' };
      case 'cancelled': return this.#signal(SIGINT, this.current);
      default: return this.#end();
    }
  }
  /** The machine can run no further. gdb may look around and go back; the next attempt to go on ends the session. */
  #end(): StopReply {
    const { reason, status, detail } = this.machine.result();
    if (this.#endShown) {
      this.ending = 'ended';
      return reason === 'shutdown' ? { kind: 'killed', signal: SIGTERM } : { kind: 'exited', status: status & 255 };
    }
    this.#endShown = true;
    return { ...this.#signal(SIGTRAP, this.current, `the machine has stopped: ${detail ?? reason}${reason === 'exit' ? `, status ${status}` : ''}; continue again to end, or go back`), why: 'end' };
  }
  #signal(signal: number, thread: number, text?: string): StopReply & { readonly kind: 'signal' } {
    if (thread < FIRST_GUEST_THREAD) this.current = thread;
    return { kind: 'signal', signal, thread: this.current, ...(text === undefined ? {} : { text }) };
  }

  monitor(thread: number, command: string, print: (text: string) => void): Promise<void> { return monitor(this, thread, command, print); }
  detach(): void { this.ending ??= 'detached'; this.debug.detach(); }
  lost(): void {
    const panic = this.panicStop;
    this.debug.clear();
    this.#lifted = [];
    this.space = undefined;
    this.panicStop = false;
    this.pauseOnPanic(panic);
  }
  kill(): void { this.ending = 'killed'; this.debug.detach(); }
}

const watchOf = (kind: PointKind, linear: number, bytes: number): Watch => ({ linear, bytes, read: kind !== POINT.write, write: kind !== POINT.read });
/** Lets the host's event loop run: ^C comes in, output goes out. */
const breath = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve); });
