/**
 * `./kintsugi bench fs`: sequential throughput of the file server, from a program through process, ring and cache to the disk and back.
 *
 * programs/fsbench.ts does the work and prints a line when a phase begins and when it ends; here both are stamped with wall time and the CPU time
 * of this process (the machine with all its vCPUs, and the JIT: hence the phase `warm`). Each run is a fresh boot with a fresh overlay over the root image, so nothing is cached.
 * The goal (DESIGN section 7 of the first milestone): read and write at >= 40 MB/s with place=follow.
 */
import { runCommand } from '../cli/run.ts';
import type { SystemOptions } from '../cli/system.ts';
import { BenchError } from './lines.ts';

export interface BenchFsOptions {
  readonly runs: number;
  readonly place: SystemOptions['place'];
  readonly smp?: number;
  readonly jit?: SystemOptions['jit'];
  readonly deterministic?: boolean;
  readonly progress?: (line: string) => void;
}
export const FS_PHASES = ['warm', 'write', 'sync', 'read', 'verify'] as const;
export type FsPhase = (typeof FS_PHASES)[number];
/** MB/s (10^6 bytes) of one phase: by wall time, by CPU time of the host, and by the guest's own clock. null: over too soon to be measured. */
export interface FsRates { readonly wall: number | null; readonly cpu: number | null; readonly guest: number | null }
const TOO_SOON_MS = 2;
export interface BenchFsResult {
  readonly place: SystemOptions['place'];
  readonly smp: number;
  readonly mode: 'parallel' | 'deterministic';
  readonly jit: SystemOptions['jit'];
  readonly bytes: number;
  readonly runs: number;
  /** Medians over the runs. */
  readonly phases: Readonly<Record<FsPhase, FsRates>>;
}

interface Stamp { readonly wallMs: number; readonly cpuMs: number }
const stamp = (): Stamp => { const cpu = process.cpuUsage(); return { wallMs: performance.now(), cpuMs: (cpu.user + cpu.system) / 1000 }; };
const median = (values: readonly number[]): number => { const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1; return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2; };

/** Reads the program's lines as they come. */
export class PhaseReader {
  readonly rates = new Map<FsPhase, FsRates>();
  bytes = 0;
  #text = '';
  #began: { readonly phase: string; readonly at: Stamp } | undefined;

  push(data: string, at: Stamp): void {
    this.#text += data;
    for (let end = this.#text.indexOf('\n'); end >= 0; end = this.#text.indexOf('\n')) {
      this.#line(this.#text.slice(0, end), at);
      this.#text = this.#text.slice(end + 1);
    }
  }
  #line(line: string, at: Stamp): void {
    const begun = /^begin (\w+)$/.exec(line);
    if (begun !== null) { this.#began = { phase: begun[1], at }; return; }
    const ended = /^(\w+) (\d+) bytes (\d+) ns$/.exec(line);
    const phase = FS_PHASES.find((name) => name === ended?.[1]);
    if (ended === null || phase === undefined || this.#began?.phase !== phase) throw new BenchError(`fsbench printed "${line}"`);
    const bytes = Number(ended[2]), rate = (ms: number): number | null => (ms < TOO_SOON_MS ? null : bytes / 1000 / ms);
    this.bytes = Math.max(this.bytes, bytes);
    this.rates.set(phase, { wall: rate(at.wallMs - this.#began.at.wallMs), cpu: rate(at.cpuMs - this.#began.at.cpuMs), guest: rate(Number(ended[3]) / 1e6) });
    this.#began = undefined;
  }
}

export async function benchFs(options: BenchFsOptions): Promise<BenchFsResult> {
  const smp = options.smp ?? 1, jit = options.jit ?? 'on', deterministic = options.deterministic ?? false;
  const seen: PhaseReader[] = [];
  for (let n = 0; n < options.runs; n++) {
    options.progress?.(`run ${n + 1} of ${options.runs}`);
    const reader = new PhaseReader(), decoder = new TextDecoder();
    const outcome = await runCommand({ place: options.place, smp, memoryMiB: 128, deterministic, seed: 0, timeoutSeconds: 120, jit, append: '' }, ['fsbench'], {
      stdout: (data) => reader.push(decoder.decode(data, { stream: true }), stamp()),
    });
    if (outcome.exit !== 0) throw new BenchError(`fsbench ended with ${outcome.exit}: ${outcome.stderr.trim() || outcome.problem || outcome.log.trim().split('\n').at(-1)}`);
    for (const phase of FS_PHASES) if (!reader.rates.has(phase)) throw new BenchError(`fsbench printed no result for ${phase}`);
    seen.push(reader);
  }
  const phases = Object.fromEntries(FS_PHASES.map((phase) => {
    const of = (what: keyof FsRates): number | null => {
      const values = seen.map((reader) => reader.rates.get(phase)![what]);
      return values.every((value) => value !== null) ? median(values) : null;
    };
    return [phase, { wall: of('wall'), cpu: of('cpu'), guest: of('guest') }];
  })) as Record<FsPhase, FsRates>;
  return { place: options.place, smp, mode: deterministic ? 'deterministic' : 'parallel', jit, bytes: seen[0]?.bytes ?? 0, runs: options.runs, phases };
}

export function formatBenchFs(result: BenchFsResult): string {
  const cell = (value: number | null): string => (value === null ? '-' : value.toFixed(1)).padStart(9);
  const rows = FS_PHASES.map((phase) => `${phase.padEnd(8)}${cell(result.phases[phase].wall)}${cell(result.phases[phase].cpu)}${cell(result.phases[phase].guest)}`);
  return [
    `fs: ${result.bytes / 1048576} MiB in sequence, place=${result.place}, ${result.smp} vCPU, ${result.mode}, jit ${result.jit}, median of ${result.runs}`,
    'MB/s         wall      CPU    guest', ...rows,
    'MB = 10^6 bytes; wall and CPU: of the host (all vCPUs and the compiler), guest: by its own clock; -: over within 2 ms', '',
  ].join('\n');
}
