/**
 * The golden run: the workload without a fault, made twice by different engines, and everything an experiment is planned from.
 *
 * First pass: tier 0 with a watch at every block of instructions. It records which address space ran which code from which instruction
 * count on (`trace`), every system call, and every disk transfer. Second pass: the ordinary machine with the JIT. Both leave the same
 * ladder of state hashes, a rung every RUNG instructions, or the campaign is refused with the first rung that differs.
 *
 * Instructions are counted over all vCPUs from the beginning of the workload ("offset").
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { VM_MAP } from '../../microkernel/abi/layout.ts';
import { SERVERS } from '../../servers/protocols/startup.ts';
import { S } from '../../vm/cpu/state.ts';
import { MODULES } from '../cli/system.ts';
import { GUEST_FOLDER } from '../cli/guest.ts';
import { SERVER_STATE, readServers, serverTableAt, spaceOf, type ServerState, type Space } from './guest-view.ts';
import type { Mark } from './net-peer.ts';
import { Subject, type SubjectOptions } from './subject.ts';
import { moduleOf } from './symbols.ts';
import { BEGIN } from './workload.ts';

export const RUNG = 1 << 14;
const GOLDEN_LIMIT = 400_000_000;

export interface SystemCall { readonly at: number; readonly space: number; readonly cpu: number; readonly eax: number; readonly ebx: number }
/** What the peer of a sweep says: the handling of its frame begins, is over. */
export interface PeerMark { readonly at: number; readonly mark: Mark }
export interface DiskTransfer { readonly at: number; readonly operation: 'read' | 'write'; readonly offset: number; readonly bytes: number }

/** What the workers need: plain data. */
export interface Golden {
  readonly subject: SubjectOptions;
  /** Instructions of boot and workload, virtual ns of the workload. */
  readonly start: number;
  readonly length: number;
  readonly ns: number;
  readonly startHash: string;
  /** rungs[k]: hash after (k + 1) * RUNG instructions; the last is the end. */
  readonly rungs: readonly string[];
  readonly endHash: string;
  readonly stdout: string;
  /** Blocks of the disk overlay at the end: number -> SHA-256. */
  readonly overlay: ReadonlyMap<number, string>;
  /** Physical address of the server table; servers as they were at the end. */
  readonly serverTable: number;
  readonly servers: readonly ServerState[];
  /** CR3 of each server. */
  readonly spaces: ReadonlyMap<string, number>;
}

/** Block starts in order. A block ends where the next of the same vCPU begins. */
export interface Trace {
  readonly count: number;
  /** Offset at which the block begins, its EIP, its owner (index into `owners`). */
  readonly at: Uint32Array;
  readonly eip: Uint32Array;
  readonly owner: Uint16Array;
  readonly owners: readonly Owner[];
  readonly calls: readonly SystemCall[];
  readonly transfers: readonly DiskTransfer[];
  readonly marks: readonly PeerMark[];
}
/** Who runs: an address space in ring 3, or the kernel, on a vCPU. */
export interface Owner { readonly name: string; readonly kernel: boolean; readonly cpu: number; readonly space: Space }

export class GoldenError extends Error {
  override readonly name = 'GoldenError';
  readonly reason = 'golden';
}

/** Collects a trace. Made before its Subject; `attach` it then, and switch it on at the beginning of the workload. */
export class Recorder {
  on = false;
  #count = 0;
  #at = new Uint32Array(1 << 20);
  #eip = new Uint32Array(1 << 20);
  #owner = new Uint16Array(1 << 20);
  readonly owners: Owner[] = [];
  readonly calls: SystemCall[] = [];
  readonly transfers: DiskTransfer[] = [];
  readonly marks: PeerMark[] = [];
  #subject: Subject | undefined;
  readonly #byKey = new Map<string, number>();
  /** Per vCPU: CR3 and ring of the last block, its owner. */
  readonly #last: { cr3: number; user: boolean; owner: number }[] = [];
  readonly #sysenter = moduleOf('kernel').symbol('sysenterEntry') ?? 0;

  attach(subject: Subject): void {
    this.#subject = subject;
    if (subject.peer) subject.peer.onMark = (mark) => { if (this.on) this.marks.push({ at: subject.offset, mark }); };
    subject.disk.intercept = (operation, offset, bytes) => {
      if (this.on && operation !== 'flush') this.transfers.push({ at: subject.offset, operation, offset, bytes });
      return false;
    };
  }
  get count(): number { return this.#count; }

  readonly watch = (cpu: number, retired: number, eip: number): boolean => {
    if (this.on) this.#record(cpu, retired, eip);
    return false;
  };

  #record(cpu: number, retired: number, eip: number): void {
    const subject = this.#subject!, { cpus } = subject.machine;
    let at = retired - subject.start;
    for (let other = 0; other < cpus.cpus; other++) if (other !== cpu) at += cpus.retired(other);
    const words = cpus.words(cpu), cr3 = words[S.cr3 >> 2]! >>> 0, user = words[S.cpl >> 2] === 3;
    const last = (this.#last[cpu] ??= { cr3: -1, user: false, owner: -1 });
    if (last.cr3 !== cr3 || last.user !== user) {
      last.cr3 = cr3;
      last.user = user;
      last.owner = this.#ownerOf(cpu, cr3, user);
    }
    let n = this.#count - 1;
    // Told again of a block that got nowhere (a cut, or an interrupt taken before its first instruction): the last one counts.
    if (n < 0 || this.#at[n] !== at || this.owners[this.#owner[n]!]!.cpu !== cpu) n = this.#count++;
    if (n === this.#at.length) this.#grow();
    this.#at[n] = at;
    this.#eip[n] = eip;
    if (eip === this.#sysenter && !user && n > 0) {
      const from = this.#previousOf(cpu, n);
      if (from >= 0 && !this.owners[from]!.kernel) this.calls.push({ at: at - 1, space: from, cpu, eax: words[S.eax >> 2]! >>> 0, ebx: words[S.ebx >> 2]! >>> 0 });
    }
    this.#owner[n] = last.owner;
  }
  #previousOf(cpu: number, n: number): number {
    for (let k = n - 1; k >= 0 && k > n - 64; k--) if (this.owners[this.#owner[k]!]!.cpu === cpu) return this.#owner[k]!;
    return -1;
  }
  #ownerOf(cpu: number, cr3: number, user: boolean): number {
    const space = user ? spaceOf(this.#subject!.port, cr3) : KERNEL_SPACE;
    const key = user ? `${cpu} ${cr3} ${space.name} ${space.generation} ${space.pid}` : `${cpu} kernel`;
    let owner = this.#byKey.get(key);
    if (owner === undefined) this.#byKey.set(key, owner = this.owners.push({ name: space.name, kernel: !user, cpu, space }) - 1);
    return owner;
  }
  #grow(): void {
    const more = <A extends Uint32Array | Uint16Array>(from: A, to: A): A => { to.set(from as never); return to; };
    const size = this.#at.length * 2;
    this.#at = more(this.#at, new Uint32Array(size));
    this.#eip = more(this.#eip, new Uint32Array(size));
    this.#owner = more(this.#owner, new Uint16Array(size));
  }
  trace(): Trace {
    const n = this.#count;
    return { count: n, at: this.#at.slice(0, n), eip: this.#eip.slice(0, n), owner: this.#owner.slice(0, n), owners: this.owners, calls: this.calls, transfers: this.transfers, marks: this.marks };
  }
}
const KERNEL_SPACE: Space = { name: 'kernel', generation: 1, pid: 0, cr3: 0 };

interface Pass { readonly startHash: string; readonly rungs: string[]; readonly endHash: string }
/** Runs a booted subject to its end, a hash at every rung. */
function climb(subject: Subject): Pass {
  const startHash = subject.machine.hash();
  const rungs: string[] = [];
  for (;;) {
    const { pause } = subject.machine.runFor((rungs.length + 1) * RUNG - subject.offset);
    if (pause === 'stopped') return { startHash, rungs, endHash: subject.machine.hash() };
    if (pause === 'idle' || pause === 'waiting' || subject.offset > GOLDEN_LIMIT) throw new GoldenError(`the workload does not end without a fault (${pause} after ${subject.offset} instructions)`);
    rungs.push(subject.machine.hash());
  }
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Both passes. */
export function runGolden(options: SubjectOptions, expectedStdout: string): { readonly golden: Golden; readonly trace: Trace; readonly pages: OwnPages } {
  const recorder = new Recorder();
  const first = new Subject(options, { watch: recorder.watch, jit: 'off' });
  try {
    recorder.attach(first);
    first.boot(BEGIN);
    recorder.on = true;
    const pass = climb(first);
    const output = first.output();
    if (output.exit !== 0 || output.stdout !== expectedStdout || output.stderr !== '') {
      throw new GoldenError(`the run without a fault is not right: exit ${output.exit}, stdout ${JSON.stringify(output.stdout)}, stderr ${JSON.stringify(output.stderr)}\nexpected ${JSON.stringify(expectedStdout)}\n${output.log.split('\n').slice(-5).join('\n')}`);
    }
    const trace = recorder.trace();
    const process = trace.owners.find(({ name }) => name === 'process');
    const serverTable = process && serverTableAt(first.port, process.space.cr3);
    if (serverTable === undefined) throw new GoldenError('the server table was not found');
    const restarted = readServers(first.port, serverTable).filter(({ generation, state }) => generation > 1 || state === SERVER_STATE.failed);
    if (restarted.length > 0) throw new GoldenError(`the run without a fault restarts ${restarted.map(({ name }) => name).join(', ')}${options.boundMs ? `: a time bound of ${options.boundMs} ms (boundMs) is too tight for it` : ''}`);
    const golden: Golden = {
      subject: options, start: first.start, length: first.offset, ns: first.machine.virtualNs - first.startNs, ...pass, stdout: output.stdout,
      overlay: new Map([...first.overlay()].map(([block, bytes]) => [block, sha256(bytes)])), serverTable, servers: readServers(first.port, serverTable),
      spaces: new Map(trace.owners.filter(({ kernel, space }) => !kernel && space.pid === 0).map(({ name, space }) => [name, space.cr3])),
    };
    return { golden, trace, pages: verifyGolden(golden, trace) };
  } finally { first.close(); }
}
/** By CR3 (0: the kernel): virtual pages of own memory that hold anything at the beginning of the workload. */
export type OwnPages = ReadonlyMap<number, readonly number[]>;
/** What mem.flip may strike: data and heap, state, stacks. Rings and shared areas belong to two. */
const OWN_RANGES = [[VM_MAP.data, VM_MAP.heapEnd], [VM_MAP.state, VM_MAP.rings], [VM_MAP.stackTop - 0x0100_0000, VM_MAP.stackTop]] as const;
function ownPages({ port, machine }: Subject, trace: Trace): OwnPages {
  const holds = (physical: number): boolean => physical + 4096 <= machine.board.ramBytes && machine.board.ramWords.subarray(physical >>> 2, (physical >>> 2) + 1024).some((word) => word !== 0);
  const out = new Map<number, readonly number[]>();
  const servers = new Set<string>(SERVERS);
  for (const { kernel, space } of trace.owners) {
    if (kernel || out.has(space.cr3) || !servers.has(space.name)) continue;
    out.set(space.cr3, OWN_RANGES.flatMap(([from, to]) => [...port.pages(space.cr3, from, to)].filter(({ physical }) => holds(physical)).map(({ va }) => va)));
  }
  const symbols = moduleOf('kernel').debug?.symbols ?? {};
  const cr3 = [...out.keys()][0];
  const from = symbols['__data_start'], to = symbols['__bss_end'];
  if (cr3 !== undefined && from !== undefined && to !== undefined) out.set(0, [...port.pages(cr3, (from & ~4095) >>> 0, to)].filter(({ physical }) => holds(physical)).map(({ va }) => va));
  return out;
}

/** The second pass: another engine, the same states. */
function verifyGolden(golden: Golden, trace: Trace): OwnPages {
  const second = new Subject(golden.subject);
  try {
    second.boot(BEGIN);
    const pages = ownPages(second, trace);
    const { startHash, rungs, endHash } = climb(second);
    const differs = (what: string): never => { throw new GoldenError(`two golden runs differ: ${what}; no experiment on this workload would mean anything`); };
    if (startHash !== golden.startHash || second.start !== golden.start) differs('at the beginning of the workload');
    rungs.forEach((hash, k) => { if (hash !== golden.rungs[k]) differs(`between instruction ${k * RUNG} and ${(k + 1) * RUNG}`); });
    if (endHash !== golden.endHash || second.offset !== golden.length) differs('at the end');
    return pages;
  } finally { second.close(); }
}

/** SHA-256 over every image that takes part: kernel, modules, disk. */
export function imageHash(disk: string): string {
  const hash = createHash('sha256');
  for (const name of ['kernel', ...MODULES]) hash.update(readFileSync(path.join(GUEST_FOLDER, `${name}.elf`)));
  return hash.update(readFileSync(disk)).digest('hex');
}
