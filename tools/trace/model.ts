/**
 * From records to a timeline: who ran where, who called whom, what it waited for, which generation served.
 *
 * Tracks
 *   CPUs          one track per vCPU: slices named after the Thread in ring 3 (or in the kernel on its behalf), instants for interrupts
 *   a process     per server and per program; a server's `generation` track shows its incarnations and, between them, the restart by phases
 *     a Thread      `running` and `call <operation>` (blocked in a call, a fault or an INT 0x80), one after the other
 *       serving       lanes of requests in service: by IPC (process) or by ring (fs, tty, drivers)
 *
 * Flows. A call has one number from the caller's slice through the server's, and every ring request it leads to (the key names the
 * caller), to the caller's next run. A Notify that wakes somebody has one from `wake` to the sleeper's next run.
 *
 * Times. Records come in the order in which things happened. In deterministic mode a later one may carry an earlier virtual time (vCPUs take
 * turns within a round): an event is then moved forward, at most a quantum, to where its track and its arrows allow it.
 *
 * Two passes: names and generations are told by marks that may come after a Thread's first instruction.
 */
import { ERRORS } from '../../microkernel/abi/errors.ts';
import { BLOCK } from '../../servers/protocols/block.ts';
import { FS } from '../../servers/protocols/fs.ts';
import { NET } from '../../servers/protocols/net.ts';
import { NETDEV } from '../../servers/protocols/netdev.ts';
import { PROCESS } from '../../servers/protocols/process.ts';
import { SERIAL } from '../../servers/protocols/serial.ts';
import { SERVERS } from '../../servers/protocols/startup.ts';
import { TTY } from '../../servers/protocols/tty.ts';
import { readRecords, type TraceRecord } from './records.ts';
import type { Argument, Timeline, TimelineEvent, Track } from './timeline.ts';

export const RESTART_PHASES = ['none', 'detected', 'stopped', 'quiet', 'revoked', 'built', 'started', 'done'] as const;
const PHASE_DETECTED = 1, PHASE_DONE = 7;
export const EXCEPTIONS: Readonly<Record<number, string>> = { 0: '#DE', 1: '#DB', 3: '#BP', 4: '#OF', 6: '#UD', 7: '#NM', 8: '#DF', 12: '#SS', 13: '#GP', 14: '#PF', 17: '#AC', 19: '#XM', 32: 'deliberate fault', 33: 'reserve overrun', 34: 'budget' };
export const KIND_FAULT = 1, KIND_SYSCALL = 2;
type Ops = Readonly<Record<string, { readonly op: number }>>;
const namesOf = (ops: Ops): Map<number, string> => new Map(Object.entries(ops).map(([name, { op }]) => [op, name]));
export const CALL_NAMES = namesOf(PROCESS.ops);
export const RING_NAMES: Readonly<Record<string, Map<number, string>>> = { fs: namesOf(FS.ops), tty: namesOf(TTY.ops), uart0: namesOf(SERIAL.ops), uart1: namesOf(SERIAL.ops), 'virtio-blk': namesOf(BLOCK.ops), net: namesOf(NET.ops), 'virtio-net': namesOf(NETDEV.ops) };
const STATUS = new Map<number, string>(Object.entries(ERRORS).map(([name, [code]]) => [code, name]));

/** Who a Thread is. */
export interface Identity { readonly process: string; readonly pid: number; readonly generation: number; readonly server: boolean }

/** Pass 1: identity of every Thread serial. */
export function identify(records: Iterable<TraceRecord>): Map<number, Identity> {
  const found = new Map<number, Identity>([[1, server(0, 1)]]);
  const programs = new Map<number, Identity>(), names = new Map<number, string>();
  for (const { kind, words: [a, b, c] } of records) {
    if (kind === 'mark.server' && c !== 0) found.set(c, server(a & 0xff, b));
    else if (kind === 'mark.programName') names.set(a & 0xffff, (a >>> 16 === 0 ? '' : names.get(a & 0xffff) ?? '') + characters(b) + characters(c));
    else if (kind === 'mark.program') programs.set(a, { process: names.get(a) || `program ${a}`, pid: b, generation: 0, server: false });
    else if (kind === 'resume' && c !== 0 && !found.has(a)) { const program = programs.get(c); if (program) found.set(a, program); }
  }
  return found;
}
const server = (number: number, generation: number): Identity => ({ process: SERVERS[number] ?? `server ${number}`, pid: number, generation, server: true });
const characters = (word: number): string => [0, 8, 16, 24].map((shift) => word >>> shift & 0xff).filter((c) => c !== 0).map((c) => String.fromCharCode(c)).join('');

interface Thread { readonly serial: number; readonly track: number; readonly name: string; readonly who: Identity | undefined; open: 'running' | 'call' | null; /** Flow of the open call. */ flow: number; /** Flows that end at its next run. */ wakes: number[]; readonly lanes: Lane[] }
interface Lane { readonly track: number; /** What is in service: caller serial, or -1 - (ring << 8 | slot); null = nothing. */ busy: number | null }

const PROGRAM_PIDS = 1000;

/** `records` in the order in which things happened (tools/trace/trace.ts). */
export function buildTimeline(records: Uint8Array): Timeline {
  return new Model(identify(readRecords(records))).run(readRecords(records));
}

class Model {
  readonly #who: Map<number, Identity>;
  readonly #tracks: Track[] = [];
  readonly #events: TimelineEvent[] = [];
  readonly #threads = new Map<number, Thread>();
  readonly #processes = new Map<string, { track: number; pid: number }>();
  readonly #generations = new Map<number, { track: number; open: number }>();
  readonly #cpus: { track: number; thread: Thread | null }[] = [];
  #nextTrack = 1;
  #nextFlow = 1;
  /** Of the record in hand. */
  #ns = 0;
  /** Time of the last event by track, and by flow. */
  readonly #latest = new Map<number, number>();
  readonly #flowNs = new Map<number, number>();

  constructor(who: Map<number, Identity>) { this.#who = who; }

  run(records: Iterable<TraceRecord>): Timeline {
    const machine = this.#track({ name: 'CPUs', kind: 'custom', rank: 0 });
    for (const record of records) {
      while (this.#cpus.length <= record.cpu) this.#cpus.push({ track: this.#track({ name: `cpu${this.#cpus.length}`, kind: 'custom', parent: machine, rank: this.#cpus.length }), thread: null });
      this.#ns = record.ns;
      this.#apply(record);
    }
    this.#closeAll();
    this.#events.sort((a, b) => a.ns - b.ns);
    return { tracks: this.#tracks, events: this.#events };
  }

  #apply({ kind, cpu, words: [a, b, c, d] }: TraceRecord): void {
    switch (kind) {
      case 'resume': this.#runs(cpu, this.#thread(a)); return;
      case 'halt': this.#leaves(cpu); return;
      case 'fastCall': this.#call(this.#thread(a), 0, d, b); this.#serve(this.#thread(b), this.#thread(a), 0, d); this.#runs(cpu, this.#thread(b)); return;
      case 'fastReply': this.#reply(this.#thread(a), this.#thread(b)); this.#runs(cpu, this.#thread(b)); return;
      case 'send': this.#call(this.#thread(a), d, c, 0); return;
      case 'deliver': this.#serve(this.#thread(b), this.#thread(a), d, c); return;
      case 'answer': this.#reply(this.#thread(a), b === 0 ? null : this.#thread(b)); return;
      case 'broken': {
        const thread = this.#thread(a);
        if (thread.open === 'call') this.#endCall(thread, { status: STATUS.get(b) ?? b });
        return;
      }
      case 'requeue': {
        this.#endLanesOf(a);
        this.#instant(this.#thread(a).track, 'requeued', 'ipc');
        return;
      }
      case 'signal': this.#instant(this.#here(a, cpu), 'notify', 'ipc', { bits: `0x${c.toString(16)}` }); return;
      case 'wake': {
        const sleeper = this.#thread(b), flow = this.#nextFlow++;
        this.#add({ track: this.#here(a, cpu), type: 'instant', name: `wake ${sleeper.name}`, category: 'ipc', flows: [flow] });
        sleeper.wakes.push(flow);
        return;
      }
      case 'trap': if (b < 32 && b !== 7) this.#instant(this.#thread(a).track, EXCEPTIONS[b] ?? `exception ${b}`, 'fault', { eip: hex(c), ...(b === 14 ? { address: hex(d) } : {}) }); return;
      case 'fault': this.#instant(this.#thread(a).track, `fault message: ${EXCEPTIONS[b] ?? b}`, 'fault', { eip: hex(c) }); return;
      case 'interrupt': this.#instant(this.#cpus[cpu]!.track, `interrupt ${hex(a)}`, 'irq', { eip: hex(b) }); return;
      case 'mark.server': this.#publish(a & 0xff, a >>> 8, b); return;
      case 'mark.restart': this.#phase(a & 0xff, a >>> 8, b); return;
      case 'mark.requestTaken': {
        const worker = this.#cpus[cpu]!.thread;
        if (!worker) return;
        const caller = this.#threads.get(b);
        const name = RING_NAMES[worker.who?.process ?? '']?.get(a >>> 16) ?? `operation ${a >>> 16}`;
        this.#enter(worker, -1 - (a & 0xffff), { name, category: 'ring', ...(caller?.open === 'call' ? { flows: [caller.flow] } : {}), args: { ring: a >>> 8 & 0xff, slot: a & 0xff, caller: caller?.name ?? b, seq: c } });
        return;
      }
      case 'mark.requestDone': {
        const worker = this.#cpus[cpu]!.thread;
        if (worker) this.#exit(worker, -1 - (a & 0xffff), { status: b | 0 });
        return;
      }
      case 'mark.user': this.#instant(this.#cpus[cpu]!.thread?.track ?? this.#cpus[cpu]!.track, 'mark', 'user', { a, b, c }); return;
      default:
    }
  }

  // ---- tracks
  #track(track: Omit<Track, 'id'>): number { const id = this.#nextTrack++; this.#tracks.push({ id, ...track }); return id; }
  #process(who: Identity | undefined): { track: number; pid: number } {
    const key = who ? `${who.server ? 's' : 'p'}${who.pid} ${who.process}` : 'unknown';
    let found = this.#processes.get(key);
    if (!found) {
      const pid = who ? (who.server ? who.pid + 1 : PROGRAM_PIDS + who.pid) : PROGRAM_PIDS - 1;
      const name = who ? (who.server ? who.process : `${who.process} (pid ${who.pid})`) : 'other threads';
      this.#processes.set(key, found = { track: this.#track({ name, kind: 'process', pid, rank: pid }), pid });
    }
    return found;
  }
  #thread(serial: number): Thread {
    let found = this.#threads.get(serial);
    if (!found) {
      const who = this.#who.get(serial);
      const { track, pid } = this.#process(who);
      const name = who ? (who.server ? `${who.process} #${who.generation}` : `${who.process}`) : `thread ${serial}`;
      found = { serial, track: this.#track({ name, kind: 'thread', parent: track, pid, tid: serial }), name, who, open: null, flow: 0, wakes: [], lanes: [] };
      this.#threads.set(serial, found);
    }
    return found;
  }
  /** Where something done by the current Thread, or by nobody, is shown. */
  #here(serial: number, cpu: number): number { return serial === 0 ? this.#cpus[cpu]!.track : this.#thread(serial).track; }

  // ---- slices
  #add(event: Omit<TimelineEvent, 'ns'>): void {
    const flows = [...event.flows ?? [], ...event.ends ?? []];
    const ns = Math.max(this.#ns, this.#latest.get(event.track) ?? 0, ...flows.map((flow) => this.#flowNs.get(flow) ?? 0));
    this.#latest.set(event.track, ns);
    for (const flow of flows) this.#flowNs.set(flow, ns);
    for (const flow of event.ends ?? []) this.#flowNs.delete(flow);
    this.#events.push({ ns, ...event });
  }
  #begin(track: number, event: Omit<TimelineEvent, 'ns' | 'track' | 'type'>): void { this.#add({ track, type: 'begin', ...event }); }
  #end(track: number, args?: Record<string, Argument>): void { this.#add({ track, type: 'end', ...(args ? { args } : {}) }); }
  #instant(track: number, name: string, category: string, args?: Record<string, Argument>): void { this.#add({ track, type: 'instant', name, category, ...(args ? { args } : {}) }); }

  /** `thread` goes on in ring 3 on `cpu`. */
  #runs(cpu: number, thread: Thread): void {
    const here = this.#cpus[cpu]!;
    if (here.thread !== thread) {
      this.#leaves(cpu);
      this.#begin(here.track, { name: thread.name, category: 'sched' });
      here.thread = thread;
    }
    if (thread.open === 'running' && thread.wakes.length === 0) return;
    if (thread.open === 'running') this.#end(thread.track); // woken while it ran: a second slice carries the arrow
    if (thread.open === 'call') this.#endCall(thread, { status: 'cancelled' });
    this.#begin(thread.track, { name: 'running', category: 'sched', ...(thread.wakes.length ? { ends: thread.wakes } : {}), args: { cpu } });
    thread.wakes = [];
    thread.open = 'running';
  }
  #leaves(cpu: number): void {
    const here = this.#cpus[cpu]!, thread = here.thread;
    if (!thread) return;
    this.#end(here.track);
    here.thread = null;
    // It may have gone on elsewhere already.
    if (thread.open === 'running' && !this.#cpus.some((other) => other.thread === thread)) { this.#end(thread.track); thread.open = null; }
  }
  #callName(kind: number, tag: number, callee: Identity | undefined): string {
    if (kind === KIND_FAULT) return 'fault';
    if (kind === KIND_SYSCALL) return 'int 0x80';
    const label = tag & 0xffff;
    return (callee === undefined || callee.process === 'process' ? CALL_NAMES.get(label) : undefined) ?? `label ${label}`;
  }
  #call(caller: Thread, kind: number, tag: number, server: number): void {
    if (caller.open === 'running') this.#end(caller.track);
    else if (caller.open === 'call') this.#endCall(caller, { status: 'overtaken' });
    caller.flow = this.#nextFlow++;
    caller.open = 'call';
    // Programs call process and nobody else; a server's fault goes to the supervisor.
    const callee = server ? this.#who.get(server) : caller.who && !caller.who.server ? SERVICE : undefined;
    this.#begin(caller.track, { name: `call ${this.#callName(kind, tag, callee)}`, category: 'ipc', flows: [caller.flow], args: { words: tag >>> 16 & 31 } });
  }
  #endCall(caller: Thread, args?: Record<string, Argument>): void { this.#end(caller.track, args); caller.open = null; }
  #serve(server: Thread, caller: Thread, kind: number, tag: number): void {
    this.#endLanesOf(caller.serial); // delivered again: the incarnation that had it is dead
    this.#enter(server, caller.serial, { name: this.#callName(kind, tag, server.who), category: 'ipc', ...(caller.open === 'call' ? { flows: [caller.flow] } : {}), args: { caller: caller.name } });
  }
  #reply(server: Thread, caller: Thread | null): void {
    if (!caller) return;
    this.#exit(server, caller.serial);
    if (caller.open !== 'call') return;
    caller.wakes.push(caller.flow);
    this.#endCall(caller);
  }

  // ---- lanes of requests in service
  #enter(server: Thread, what: number, event: Omit<TimelineEvent, 'ns' | 'track' | 'type'>): void {
    this.#exit(server, what);
    let lane = server.lanes.find(({ busy }) => busy === null);
    if (!lane) server.lanes.push(lane = { track: this.#track({ name: 'serving', kind: 'custom', parent: server.track, rank: server.lanes.length + 1 }), busy: null });
    lane.busy = what;
    this.#begin(lane.track, event);
  }
  #exit(server: Thread, what: number, args?: Record<string, Argument>): void {
    const lane = server.lanes.find(({ busy }) => busy === what);
    if (!lane) return;
    lane.busy = null;
    this.#end(lane.track, args);
  }
  #endLanesOf(caller: number): void { for (const thread of this.#threads.values()) this.#exit(thread, caller, { status: 'not answered' }); }

  // ---- generations
  #generation(number: number): { track: number; open: number } {
    let found = this.#generations.get(number);
    if (!found) {
      const { track } = this.#process(server(number, 1));
      this.#generations.set(number, found = { track: this.#track({ name: 'generation', kind: 'custom', parent: track, rank: 0 }), open: 0 });
    }
    return found;
  }
  #publish(number: number, state: number, generation: number): void {
    const track = this.#generation(number);
    if (generation === 0 || track.open !== 0 || state === 0) return;
    this.#begin(track.track, { name: `generation ${generation}`, category: 'restart' });
    track.open = 1;
  }
  /** Phases of a restart: an outer slice `restart` with one inner slice per phase. */
  #phase(number: number, phase: number, generation: number): void {
    const track = this.#generation(number);
    if (phase === PHASE_DETECTED) {
      for (; track.open > 0; track.open--) this.#end(track.track);
      for (const thread of this.#threads.values()) if (thread.who?.server && thread.who.pid === number) for (const lane of thread.lanes) if (lane.busy !== null) { lane.busy = null; this.#end(lane.track, { status: 'the server died' }); }
      this.#begin(track.track, { name: 'restart', category: 'restart', args: { generation } });
      this.#begin(track.track, { name: 'detected', category: 'restart' });
      track.open = 2;
      return;
    }
    for (; track.open > (phase === PHASE_DONE ? 0 : 1); track.open--) this.#end(track.track);
    this.#begin(track.track, { name: phase === PHASE_DONE ? `generation ${generation}` : RESTART_PHASES[phase] ?? `phase ${phase}`, category: 'restart' });
    track.open++;
  }

  #closeAll(): void {
    for (const cpu of this.#cpus.keys()) this.#leaves(cpu);
    for (const thread of this.#threads.values()) {
      if (thread.open !== null) this.#end(thread.track);
      for (const lane of thread.lanes) if (lane.busy !== null) this.#end(lane.track);
    }
    for (const generation of this.#generations.values()) for (; generation.open > 0; generation.open--) this.#end(generation.track);
  }
}
const SERVICE: Identity = { process: 'process', pid: SERVERS.indexOf('process'), generation: 0, server: true };
const hex = (value: number): string => `0x${value.toString(16)}`;
