/**
 * A row opened again: the same experiment on a machine that is traced and watched block by block. The state at the end must be the row's to the bit;
 * on the way the last trace records and places before the fault and the first ones after it are kept.
 */
import { S } from '../../vm/cpu/state.ts';
import { prepareCampaign, CampaignError } from './campaign.ts';
import { Executor, type Result } from './experiment.ts';
import { spaceOf } from './guest-view.ts';
import { Store, type Row } from './store.ts';
import { Subject } from './subject.ts';
import { moduleOf } from './symbols.ts';
import type { TraceConfig } from '../../vm/machine.ts';
import { TRACE_RECORD_BYTES, joinRecords } from '../../vm/trace.ts';
import { NAMING, describer } from '../trace/describe.ts';
import { kernelPlan } from '../trace/points.ts';
import { readRecords } from '../trace/records.ts';

/** A stay in one function. */
export interface Passage { readonly offset: number; readonly who: string; readonly symbol: string; readonly line: string; readonly instructions: number }
/** A trace record (vm/trace.ts) in words. `us`: virtual time since the beginning of the workload. */
export interface Traced { readonly us: number; readonly cpu: number; readonly kind: string; readonly who: string; readonly text: string }
export interface Replay {
  readonly row: Row;
  readonly result: Result;
  readonly same: boolean;
  /** Functions, from the blocks that ran. */
  readonly before: readonly Passage[];
  readonly after: readonly Passage[];
  /** Trace records: calls, notifications, switches, interrupts, faults, ring requests, restarts. */
  readonly tracedBefore: readonly Traced[];
  readonly tracedAfter: readonly Traced[];
}

const KEPT = 4096;
/** A run that goes on for ever fills no memory: from this number of records on, those far behind the fault are dropped. */
const MOST_RECORDS = 2_000_000, KEPT_BATCHES = 1000;

/** `id` is `<campaign>:<index>`; the campaign may be given by the beginning of its id. */
export function openRow(id: string, root?: string): { readonly store: Store; readonly row: Row } {
  const match = /^([0-9a-f]{2,}):(\d+)$/.exec(id);
  if (!match) throw new CampaignError(`"${id}" is no row id; it looks like a94c9421:17`);
  const store = Store.open(match[1]!, root);
  if (!store) throw new CampaignError(`there is no campaign ${match[1]}, or several; see .kintsugi/campaigns`);
  const row = store.row(Number(match[2]));
  if (!row) { store.close(); throw new CampaignError(`campaign ${store.id} has no row ${match[2]}`); }
  return { store, row };
}

/** The last `count` records before record `first`, and as many from there on. Marks that only name things are left out. */
function describe(bytes: Uint8Array, first: number, count: number, startNs: number): Pick<Replay, 'tracedBefore' | 'tracedAfter'> {
  const all = [...readRecords(bytes)], tell = describer(all, (process, eip) => { const { symbol, line } = moduleOf(process).place(eip); return line || symbol || `0x${eip.toString(16)}`; });
  const traced = (from: number, to: number): Traced[] => all.slice(from, to).map((record) => ({ record, told: tell(record) })).filter(({ record }) => !NAMING.has(record.kind))
    .map(({ told: { ns, cpu, kind, who, text } }) => ({ us: Math.round(ns - startNs) / 1000, cpu, kind, who, text }));
  return { tracedBefore: traced(Math.max(0, first - 8 * count), first).slice(-count), tracedAfter: traced(first, first + 8 * count).slice(0, count) };
}

/** Runs a row again. `count`: records and passages to keep on either side. */
export function replayRow(id: string, options: { readonly count?: number; readonly root?: string; readonly log?: (line: string) => void } = {}): Replay {
  const { store, row } = openRow(id, options.root);
  const { spec } = store, images = store.get('images');
  store.close();
  const prepared = prepareCampaign(spec, options.log);
  if (prepared.images !== images) throw new CampaignError(`the images have changed since campaign ${store.id}: this row can be run again only on the build that it came from`);
  const point = prepared.plan.points[row.index]!;
  const count = options.count ?? 12, ring: { at: number; eip: number; cr3: number; user: boolean; who: string }[] = [], later: typeof ring = [];
  const faultAt = point.fault?.offset ?? 0;
  let watching = false, subject: Subject;
  const watch = (cpu: number, retired: number, eip: number): boolean => {
    if (!watching) return false;
    let at = retired - subject.start;
    const { cpus } = subject.machine;
    for (let other = 0; other < cpus.cpus; other++) if (other !== cpu) at += cpus.retired(other);
    if (at < faultAt - 50_000 || later.length >= KEPT) return false;
    const words = cpus.words(cpu), cr3 = words[S.cr3 >> 2]! >>> 0, user = words[S.cpl >> 2] === 3, last = ring.at(-1);
    // Names are asked for when the address space changes: later the page may be another's.
    const who = !user ? 'kernel' : last?.user && last.cr3 === cr3 ? last.who : spaceOf(subject.port, cr3).name;
    const list = at < faultAt ? ring : later;
    list.push({ at, eip, cr3, user, who });
    if (ring.length > 2 * KEPT) ring.splice(0, KEPT);
    return false;
  };
  const batches: Uint8Array[] = [];
  let taken = 0;
  const trace: TraceConfig = {
    ...kernelPlan().plan,
    sink: (records) => {
      batches.push(records);
      taken += records.length / TRACE_RECORD_BYTES;
      if (taken > MOST_RECORDS) batches.splice(kept);
    },
  };
  let kept = Infinity;
  subject = new Subject(prepared.golden.subject, { watch, jit: 'off', trace });
  const executor = new Executor(prepared.golden, prepared.workload, subject);
  try {
    watching = true;
    executor.walkTo(faultAt);
    const firstAfter = taken;
    kept = batches.length + KEPT_BATCHES;
    const result = executor.runOnce(point);
    const passages = (list: typeof ring, end: number): Passage[] => {
      const out: { offset: number; who: string; symbol: string; line: string; instructions: number }[] = [];
      list.forEach(({ at, eip, who }, n) => {
        const { symbol, line } = moduleOf(who).place(eip), name = symbol.replace(/\+0x.*$/, '') || `0x${eip.toString(16)}`;
        const instructions = (list[n + 1]?.at ?? Math.max(end, at)) - at, last = out.at(-1);
        if (last && last.who === who && last.symbol === name) last.instructions += instructions;
        else out.push({ offset: at, who, symbol: name, line, instructions });
      });
      return out;
    };
    return {
      row, result, same: result.stateHash === row.stateHash && result.outcome === row.outcome,
      ...describe(joinRecords(batches), firstAfter, count, subject.startNs),
      before: passages(ring, faultAt).slice(-count), after: passages(later, later.at(-1)?.at ?? faultAt).slice(0, count),
    };
  } finally { executor.close(); }
}
