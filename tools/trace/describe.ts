/**
 * Trace records as sentences, one line each: who did what to whom. Threads are named by the marks of the records before (model.ts `identify`), so
 * give `describer` all records from the boot on, also those that are not shown.
 */
import { CALLS } from '../../microkernel/abi/calls.ts';
import { ERRORS } from '../../microkernel/abi/errors.ts';
import { MARKS } from '../../servers/protocols/trace.ts';
import { SERVERS } from '../../servers/protocols/startup.ts';
import { identify, EXCEPTIONS, KIND_FAULT, KIND_SYSCALL, RESTART_PHASES, CALL_NAMES, RING_NAMES } from './model.ts';
import { formatRecord, type TraceRecord } from './records.ts';

export interface Described {
  readonly ns: number;
  readonly cpu: number;
  /** Low 32 bits of the instructions this vCPU had completed. */
  readonly retired: number;
  readonly kind: TraceRecord['kind'];
  /** Whose Thread did it or had it done to it; empty: the machine's or nobody's. */
  readonly who: string;
  readonly text: string;
}
const STATUS = new Map<number, string>(Object.entries(ERRORS).map(([name, [code]]) => [code, name]));
const STATES = ['absent', 'starting', 'up', 'dead', 'given up'] as const;
/** Vectors below are exceptions. */
const FIRST_INTERRUPT = 32;
const SYSTEM_CALLS = new Map<number, string>(Object.entries(CALLS).map(([name, { op }]) => [op, name]));
function systemCall(handle: number, tag: number): string {
  const name = SYSTEM_CALLS.get(tag >>> 28) ?? `system call ${tag >>> 28}`;
  return `${name}${handle === 0 ? '' : ` on handle ${hex(handle)}`}${name === 'invoke' ? `, operation ${tag & 0xffff}` : ''}`;
}
const hex = (value: number): string => `0x${value.toString(16)}`;

/** `place`: names a code address of a server or program, for faults. */
export function describer(all: Iterable<TraceRecord>, place: (process: string, eip: number) => string = (_process, eip) => hex(eip)): (record: TraceRecord) => Described {
  const identities = identify(all);
  const nameOf = (serial: number): string => {
    if (serial === 0) return '';
    const who = identities.get(serial);
    return who === undefined ? `thread ${serial}` : who.server ? `${who.process} #${who.generation}` : `${who.process} (pid ${who.pid})`;
  };
  const processOf = (serial: number): string => identities.get(serial)?.process ?? '';
  const at = (serial: number, eip: number): string => place(processOf(serial), eip);
  const request = (kind: number, tag: number): string => (kind === KIND_FAULT ? 'a fault message' : kind === KIND_SYSCALL ? 'INT 0x80' : CALL_NAMES.get(tag & 0xffff) ?? `label ${tag & 0xffff}`);
  const tell = ({ kind, words: [a, b, c, d] }: TraceRecord): readonly [who: string, text: string] | undefined => {
    switch (kind) {
      case 'resume': return [nameOf(a), 'goes on'];
      case 'fastCall': return [nameOf(a), `calls ${nameOf(b)}: ${request(0, d)}`];
      case 'fastReply': return [nameOf(a), `answers ${nameOf(b)}`];
      case 'send': return [nameOf(a), `sends ${request(d, c)}`];
      case 'deliver': return [nameOf(b), `gets ${request(d, c)} of ${nameOf(a)}`];
      case 'answer': return [nameOf(a), b === 0 ? 'answers somebody who is gone' : `answers ${nameOf(b)}`];
      case 'broken': return [nameOf(a), `stops waiting: ${STATUS.get(b) ?? b}`];
      case 'requeue': return [nameOf(a), 'is queued again with its request'];
      case 'signal': return [nameOf(a), `signals a Notify, bits ${hex(c)}`];
      case 'wake': return [nameOf(a), `wakes ${nameOf(b)}`];
      case 'trap': return [nameOf(a), `${b >= FIRST_INTERRUPT ? `interrupted (${hex(b)})` : EXCEPTIONS[b] ?? `vector ${b}`} at ${at(a, c)}${b === 14 ? `, address ${hex(d)}` : ''}`];
      case 'syscall': return [nameOf(a), systemCall(b, c)];
      case 'fault': return [nameOf(a), `faults: ${EXCEPTIONS[b] ?? `vector ${b}`} at ${at(a, c)}`];
      case 'interrupt': return ['', `interrupt ${hex(a)}`];
      case 'halt': return ['', 'halts'];
      case 'mark.server': return [SERVERS[a & 0xff] ?? `server ${a & 0xff}`, `is ${STATES[a >>> 8] ?? `in state ${a >>> 8}`}, generation ${b}`];
      case 'mark.restart': return [SERVERS[a & 0xff] ?? `server ${a & 0xff}`, `restart: ${RESTART_PHASES[a >>> 8] ?? `phase ${a >>> 8}`}`];
      case 'mark.requestTaken': return ['', `takes ring ${a >>> 8 & 0xff} slot ${a & 0xff}: ${operation(a >>> 16)}`];
      case 'mark.requestDone': return ['', `has done ring ${a >>> 8 & 0xff} slot ${a & 0xff}: status ${b | 0}`];
      default: return undefined;
    }
  };
  // Marks do not say who runs: the last one seen on that vCPU does.
  const running: string[] = [], processes: string[] = [];
  let worker = '';
  const operation = (op: number): string => RING_NAMES[worker]?.get(op) ?? `operation ${op}`;
  return (record) => {
    const { kind, cpu, words: [a, b] } = record;
    const runs = kind === 'resume' ? a : kind === 'fastCall' || kind === 'fastReply' ? b : 0;
    worker = processes[cpu] ?? '';
    const told = tell(record) ?? ['', formatRecord(record).replace(/^.*cpu\d+ +/, '')];
    const result = { ns: record.ns, cpu, retired: record.retired, kind, who: told[0] !== '' || !kind.startsWith('mark.') ? told[0] : running[cpu] ?? '', text: told[1] };
    if (runs !== 0) { running[cpu] = nameOf(runs); processes[cpu] = processOf(runs); }
    return result;
  };
}
/** Marks that only name things, and say nothing about what happens. */
export const NAMING = new Set<TraceRecord['kind']>((['program', 'programName'] as const).filter((name) => name in MARKS).map((name) => `mark.${name}` as const));
