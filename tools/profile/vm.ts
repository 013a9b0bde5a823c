/**
 * Where the VM's own time goes: V8's sampling profiler (node:inspector) over the thread of a deterministic machine, its frames mapped to what the VM was
 * doing, beside the VM's own counters. Nothing in vm/ is slowed for it.
 *
 * A sample belongs to the innermost frame that says what it is for: shared helpers (Maps, typed arrays, the wasm encoder) count for their caller. The wasm
 * modules are told apart by the names the VM gives them. Samples are counted, not timed, and scaled to the CPU time of the thread: a host that takes the core away
 * shows nowhere. What V8 does on threads of its own (optimising wasm, collecting garbage) is the CPU time of the process that this thread does not have.
 */
import { existsSync, readFileSync } from 'node:fs';
import { Session, type Profiler } from 'node:inspector';
import { SourceMap } from 'node:module';
import { fileURLToPath } from 'node:url';
import { S } from '../../vm/cpu/state.ts';
import type { DeterministicMachine } from '../../vm/machine.ts';

export const CATEGORIES = {
  tier0: 'tier 0 (generated interpreter)', regions: 'regions (JIT code)', decode: 'decode: blocks, records, forms', building: 'region building', compile: 'wasm compile and instantiate',
  mmu: 'soft MMU: slow accesses, walks, views', system: 'system instructions in TypeScript', float: 'x87 and SSE helpers', engine: 'engine: slices, look-ups, exceptions',
  devices: 'devices, disk, network', runner: 'runner: rounds, events, inputs', hash: 'state hash, snapshots', host: 'command line, loading, output', gc: 'garbage collection', other: 'other native code',
} as const;
export type Category = keyof typeof CATEGORIES;
export interface VmRow { readonly what: Category | 'threads'; readonly name: string; readonly cpuMs: number; readonly percent: number; readonly samples: number; readonly counts: Readonly<Record<string, number>> }
export interface VmReport {
  /** CPU time of the machine's thread, of the whole process. */
  readonly threadMs: number;
  readonly processMs: number;
  readonly samples: number;
  readonly rows: readonly VmRow[];
}

/** By path; the first that fits. `undefined`: the caller says. */
const PLACES: readonly (readonly [RegExp, Category | undefined])[] = [
  [/\/vm\/cpu\/(wasm|trace)\.ts$|\/vm\/cpu\/lower\/|\/vm\/cpu\/tier0\/(context|forms|record|module)\.ts$/, undefined],
  [/\/vm\/cpu\/jit\//, 'building'],
  [/\/vm\/cpu\/(blocks|templates)\.ts$|\/vm\/cpu\/isa\//, 'decode'],
  [/\/vm\/cpu\/((mmu|views|coherence|dma)|mmu\/\w+)\.ts$/, 'mmu'],
  [/\/vm\/cpu\/float\//, 'float'],
  [/\/vm\/cpu\/system\//, 'system'],
  [/\/vm\/cpu\/engine\.ts$|\/vm\/cpu\/tier0\//, 'engine'],
  [/\/vm\/(devices|io|net)\//, 'devices'],
  [/\/vm\/(hash|hash-page|snapshot|snapshot-file|checkpoint)\.ts$/, 'hash'],
  [/\/vm\/(deterministic|vcpu|inputs|machine|fields|cpu-fields)\.ts$/, 'runner'],
  [/\/vm\/|\/tools\/|\/servers\/|\/microkernel\/|^node:|\/node_modules\//, 'host'],
];
const WASM_COMPILE = new Set(['Module', 'Instance', 'compile', 'instantiate']);

/** By the name of the module (vm/cpu/wasm.ts). A few instructions are modules of their own, called by tier 0. */
const MODULES: Readonly<Record<string, Category>> = { tier0: 'tier0', rare: 'tier0', region: 'regions', x87: 'float', hash: 'hash' };

type Frame = Profiler.ProfileNode['callFrame'];
/** What a frame says of itself; undefined: ask the caller. */
export function categoryOf({ functionName, url }: Frame): Category | undefined {
  if (functionName === '(garbage collector)') return 'gc';
  if (functionName === '(program)') return 'other';
  if (url.startsWith('wasm://')) return MODULES[/^wasm:\/\/wasm\/(\w+)-/.exec(url)?.[1] ?? ''] ?? 'other';
  if (url === '') return WASM_COMPILE.has(functionName) ? 'compile' : undefined;
  return PLACES.find(([pattern]) => pattern.test(url))?.[1];
}

/** A session whose commands are answered at once: the inspector of our own thread. */
class Inspector {
  readonly session = new Session();
  post<T>(method: string, parameters: object = {}): T {
    let answer: T | undefined, problem: Error | null = null;
    this.session.post(method, parameters, (error: Error | null, result?: object) => { problem = error; answer = result as T; });
    if (problem) throw problem;
    return answer!;
  }
}

/** The profile with the frames of bundles (tools/build/bundle.mjs) under their sources. */
function unbundled(profile: Profiler.Profile): Profiler.Profile {
  const maps = new Map<string, SourceMap | undefined>();
  const mapOf = (url: string): SourceMap | undefined => {
    if (!maps.has(url)) {
      const file = url.startsWith('file:') ? `${fileURLToPath(url)}.map` : '';
      maps.set(url, file !== '' && existsSync(file) ? new SourceMap(JSON.parse(readFileSync(file, 'utf8')) as ConstructorParameters<typeof SourceMap>[0]) : undefined);
    }
    return maps.get(url);
  };
  return { ...profile, nodes: profile.nodes.map((node) => {
    const { callFrame } = node, entry = mapOf(callFrame.url)?.findEntry(callFrame.lineNumber, callFrame.columnNumber);
    if (!entry || !('originalSource' in entry)) return node;
    return { ...node, callFrame: { ...callFrame, url: new URL(entry.originalSource, callFrame.url).href, lineNumber: entry.originalLine, columnNumber: entry.originalColumn } };
  }) };
}

const SAMPLE_US = 200;

export class VmProfiler {
  readonly #inspector = new Inspector();
  #thread = process.threadCpuUsage();
  #process = process.cpuUsage();

  start(): void {
    this.#inspector.session.connect();
    this.#inspector.post('Profiler.enable');
    this.#inspector.post('Profiler.setSamplingInterval', { interval: SAMPLE_US });
    this.#inspector.post('Profiler.start');
    this.#thread = process.threadCpuUsage();
    this.#process = process.cpuUsage();
  }
  stop(machine: DeterministicMachine): { readonly report: VmReport; readonly profile: Profiler.Profile } {
    const thread = process.threadCpuUsage(this.#thread), whole = process.cpuUsage(this.#process);
    const profile = unbundled(this.#inspector.post<{ profile: Profiler.Profile }>('Profiler.stop').profile);
    this.#inspector.session.disconnect();
    return { profile, report: vmReport(profile, machine, (thread.user + thread.system) / 1000, (whole.user + whole.system) / 1000) };
  }
}

/** Samples by category. '(idle)' has used no CPU and counts nowhere. */
export function samplesByCategory({ nodes, samples = [] }: Profiler.Profile): Map<Category, number> {
  const parents = new Map<number, Profiler.ProfileNode>(), byId = new Map(nodes.map((node) => [node.id, node]));
  for (const node of nodes) for (const child of node.children ?? []) parents.set(child, node);
  const known = new Map<number, Category>(), out = new Map<Category, number>();
  const find = (id: number): Category => {
    let category = known.get(id);
    if (category === undefined) {
      const parent = parents.get(id);
      category = categoryOf(byId.get(id)!.callFrame) ?? (parent ? find(parent.id) : 'other');
      known.set(id, category);
    }
    return category;
  };
  for (const id of samples) {
    if (byId.get(id)!.callFrame.functionName === '(idle)') continue;
    const category = find(id);
    out.set(category, (out.get(category) ?? 0) + 1);
  }
  return out;
}

function vmReport(profile: Profiler.Profile, machine: DeterministicMachine, threadMs: number, processMs: number): VmReport {
  const byCategory = samplesByCategory(profile), samples = [...byCategory.values()].reduce((a, b) => a + b, 0);
  const counted = (field: number): number => machine.engines.reduce((sum, _, cpu) => sum + (machine.cpus.words(cpu)[field >> 2]! >>> 0), 0);
  const inRegions = counted(S.countInRegions) + counted(S.countInRegions + 4) * 2 ** 32;
  const counts: Partial<Record<Category, Record<string, number>>> = {
    tier0: { instructions: machine.instructions - inRegions }, regions: { instructions: inRegions },
    decode: { decoded: counted(S.countBlocks), copied: counted(S.countCopied) }, building: { regions: counted(S.countRegions), returned: counted(S.countReturned) },
    mmu: { 'slow accesses': counted(S.countSlow), walks: counted(S.countWalks) }, system: { instructions: counted(S.countJsOps) },
    engine: { 'look-ups': counted(S.countMisses), exceptions: counted(S.countFaults) },
  };
  const rows: VmRow[] = (Object.keys(CATEGORIES) as Category[]).map((what) => {
    const n = byCategory.get(what) ?? 0, cpuMs = samples === 0 ? 0 : threadMs * n / samples;
    return { what, name: CATEGORIES[what], cpuMs, percent: processMs === 0 ? 0 : cpuMs / processMs * 100, samples: n, counts: counts[what] ?? {} };
  });
  rows.sort((a, b) => b.cpuMs - a.cpuMs);
  const elsewhere = Math.max(0, processMs - threadMs);
  rows.push({ what: 'threads', name: "V8's other threads: optimising, GC", cpuMs: elsewhere, percent: processMs === 0 ? 0 : elsewhere / processMs * 100, samples: 0, counts: {} });
  return { threadMs, processMs, samples, rows };
}

export function vmTable({ rows, processMs, threadMs, samples }: VmReport): string {
  const cells = rows.filter(({ cpuMs, counts }) => cpuMs > 0 || Object.values(counts).some((n) => n > 0))
    .map(({ percent, cpuMs, name, counts }) => [percent.toFixed(1), cpuMs.toFixed(1), name, Object.entries(counts).map(([what, n]) => `${n.toLocaleString('en-US')} ${what}`).join(', ')]);
  cells.unshift(['%', 'CPU ms', 'what', 'counts']);
  cells.push(['100.0', processMs.toFixed(1), 'total', `${samples.toLocaleString('en-US')} samples of the machine's thread, ${threadMs.toFixed(1)} ms`]);
  const width = (column: number): number => Math.max(...cells.map((row) => row[column]!.length));
  const widths = [width(0), width(1), width(2)];
  return cells.map(([percent, ms, name, counts]) => `${percent!.padStart(widths[0]!)}  ${ms!.padStart(widths[1]!)}  ${name!.padEnd(widths[2]!)}  ${counts!}`.trimEnd()).join('\n').concat('\n');
}
