/**
 * `kintsugi bench ipc`: what a call to a server costs, as an instrument.
 *
 *   { server in the same, in its own Space } x { same CPU, follow, spinning, parked } x { 0, 3, 8, 16 words, 4 KiB leased } x { tier 0, cold, hot }
 *
 * Instructions are exact (ipc/phases.ts): counted twice, by the guest and by the VM, which must agree. Host times come from `launches` machines of
 * either tier, each measuring every configuration (ipc/launch.ts, microkernel/bench/root.ts), in an order that is rotated from launch to launch. A
 * sample is the mean of 64 round trips where server and caller share a CPU, of 8 where the other CPU is awake (`spinning`), one where it sleeps
 * (`parked`), less the median overhead of empty samples taken between them. `hot` and `tier0`: after the warm-up. `cold`: the first round trip of its
 * kind in a launch with the JIT; the order makes a different one the very first each time. A row is hot when the engine's counters say so: at least
 * HOT_SHARE of the caller's instructions ran in compiled regions; else it has no `hot` column. Beside it the host's own IPC (ipc/peers.ts).
 *
 * It refuses to measure on a machine that is not steady (ipc/environment.ts), and to report when too many launches were disturbed (ipc/stability.ts).
 */
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import { buildGuests } from '../build/guests.ts';
import { checkStability, environment, type Environment, type Stability } from './ipc/environment.ts';
import { figure, type Bar, type Curve, type Sweep } from './ipc/figure.ts';
import { measurePeers, type Peers } from './ipc/peers.ts';
import { exactCounts, IpcBenchError, PHASES, type ExactCounts, type PhaseBreakdown, type PhaseCounts } from './ipc/phases.ts';
import { CPUS, key, launch, SIZES, SPACES, type Launch } from './ipc/launch.ts';
import { stabilityOfLaunches, type LaunchStability } from './ipc/stability.ts';
import { Latencies, median, type Timing } from './ipc/statistics.ts';

export { IpcBenchError } from './ipc/phases.ts';
export { CPUS, SIZES, SPACES } from './ipc/launch.ts';
export const TIERS = ['tier0', 'cold', 'hot'] as const;
export type Tier = (typeof TIERS)[number];
const CONFIGURATIONS = SPACES.length * CPUS.length * SIZES.length;
/** Instructions in compiled regions that make a row hot. What only tier 0 runs leaves 2 % of a call on one CPU, 8 % of one across CPUs. */
export const HOT_SHARE = 0.75;

export interface BenchIpcRow {
  readonly space: 'same' | 'other';
  readonly cpu: (typeof CPUS)[number];
  readonly words: number;
  readonly leaseBytes: number;
  /** SYSENTER to SYSEXIT, exact; null across CPUs, where the stamps come from two counters. */
  readonly kernelInstructions: { readonly call: number; readonly replyRecv: number } | null;
  /** Caller's stamp to caller's stamp, both stubs included; exact, null across CPUs. */
  readonly roundTripInstructions: number | null;
  /** Sums to roundTripInstructions; null across CPUs. */
  readonly phases: PhaseBreakdown | null;
  /** Of the `hot` tier. */
  readonly hostNs: Timing | null;
  /** Part of the instructions of the caller's CPU that ran in compiled regions, after the warm-up of the launches with the JIT. Below HOT_SHARE there is no `hot`. */
  readonly hotShare: number;
  readonly tiers: Readonly<Record<Tier, Timing | null>>;
}
export interface BenchIpcPeer { readonly name: string; readonly placement: 'one' | 'free'; readonly hostNs: Timing }
export interface BenchIpcResult {
  readonly environment: Environment;
  /** Before the measurement, and in its launches. */
  readonly stability: Stability;
  readonly launchStability: LaunchStability;
  /** ns of an empty sample, warm: the median of each launch, tier 0 and hot in turn. */
  readonly overheadNs: readonly number[];
  /** CPUs used by other processes during each launch; null where that cannot be known. */
  readonly othersCpus: readonly (number | null)[];
  readonly launches: number;
  readonly rows: readonly BenchIpcRow[];
  readonly peers: readonly BenchIpcPeer[];
  readonly skipped: readonly string[];
}
export interface BenchIpcOptions {
  /** Machines per tier. Default 10. */
  readonly launches?: number;
  /** Two launches, few samples: a look, not a measurement. */
  readonly quick?: boolean;
  /** Measure on a machine that is not steady too. */
  readonly force?: boolean;
  readonly cpus?: readonly (typeof CPUS)[number][];
  /** Write the figure here. */
  readonly svg?: string;
  /** Append a line to docs/history/ipc.jsonl. */
  readonly record?: boolean;
  readonly progress?: (text: string) => void;
  /** For tests. */
  readonly check?: () => Stability;
  readonly launch?: typeof launch;
}
export const HISTORY = path.join(REPOSITORY_ROOT, 'docs', 'history', 'ipc.jsonl');
/** Round trips before the first sample (ipc/launch.ts): regions need some ten million instructions of the same code, tier 0 decoded code and V8's optimiser. */
const WARM = { on: { warm: 40_000, warmFar: 5000 }, off: { warm: 2000, warmFar: 200 } } as const;

/** Instructions of one round trip on one CPU, exactly. */
export async function exactIpc(space: 'same' | 'other', words: number): Promise<{ call: number; replyRecv: number; trip: number }> { return exactCounts(space, 'same', words); }

export async function benchIpc(options: BenchIpcOptions = {}): Promise<BenchIpcResult> {
  const quick = options.quick ?? false, launches = options.launches ?? (quick ? 2 : 10), cpus = options.cpus ?? CPUS;
  const built = await buildGuests({ names: ['kernel', 'ipc-bench'] });
  if (built.failed.length > 0) throw new IpcBenchError(`bench ipc: ${built.failed.map((f) => f.name).join(', ')} cannot be built`);
  const stability = (options.check ?? checkStability)(), where = environment();
  if (!stability.steady && !(options.force ?? false)) throw new IpcBenchError(`this machine is not steady enough to measure on: ${stability.reason}. Wait, or measure anyway with --force`);

  const exact = new Map<string, ExactCounts>();
  for (const space of SPACES) for (const cpu of ['same', 'follow'] as const) for (const [words, lease] of SIZES) {
    if (!cpus.includes(cpu)) continue;
    options.progress?.(`instructions: ${space} Space, ${cpu} CPU, ${lease ? `${lease} bytes leased` : `${words} words`}`);
    exact.set(key(space, cpu, words, lease), await exactCounts(space, cpu, words, lease !== 0));
  }

  const samples = new Map<string, Record<Tier, Latencies>>();
  for (const space of SPACES) for (const cpu of cpus) for (const [words, lease] of SIZES) samples.set(key(space, cpu, words, lease), { tier0: new Latencies(), cold: new Latencies(), hot: new Latencies() });
  const made: Launch[] = [], shares = new Map<string, { retired: number; inRegions: number }>();
  const began = performance.now();
  for (let n = 0; n < launches * 2; n++) {
    const jit = n % 2 === 0 ? 'off' : 'on', number = n >> 1;
    const per = n === 0 ? 0 : (performance.now() - began) / n / 1000;
    options.progress?.(`launch ${n + 1}/${launches * 2}${n === 0 ? '' : `  ${(1 / per).toFixed(2)}/s  ETA ${Math.ceil(per * (launches * 2 - n))} s`}`);
    const step = Math.max(1, Math.floor(CONFIGURATIONS / launches));
    const one = await (options.launch ?? launch)({ jit, cpus, rotate: (number * step + number) % CONFIGURATIONS, batches: quick ? 20 : 60, limitUs: quick ? 6000 : 15_000, ...WARM[jit] });
    made.push(one);
    for (const [at, { cold, samples: taken, share }] of one.configurations) {
      const row = samples.get(at);
      if (row === undefined) continue;
      for (const value of taken) row[one.tier].add(value);
      if (one.tier === 'tier0') continue;
      row.cold.add(cold);
      const sum = shares.get(at) ?? { retired: 0, inRegions: 0 };
      shares.set(at, { retired: sum.retired + share.retired, inRegions: sum.inRegions + share.inRegions });
    }
  }
  const launchStability = stabilityOfLaunches(made);
  if (!launchStability.steady && !(options.force ?? false)) throw new IpcBenchError(`this machine was not steady: ${launchStability.reason}. Wait until it is quiet, or measure anyway with --force`);

  options.progress?.('pipe, Unix socket, futex, MessagePort, Atomics.wait');
  const peers = await measurePeers(quick ? 100 : 1000);
  const rows = SPACES.flatMap((space) => cpus.flatMap((cpu) => SIZES.map(([words, leaseBytes]): BenchIpcRow => {
    const at = key(space, cpu, words, leaseBytes), counts = exact.get(at), tiers = samples.get(at)!, share = shares.get(at);
    const hotShare = share === undefined || share.retired === 0 ? 0 : Math.round(share.inRegions / share.retired * 1000) / 1000, hot = hotShare >= HOT_SHARE ? tiers.hot.timing() : null;
    return {
      space, cpu, words, leaseBytes, kernelInstructions: counts ? { call: counts.call, replyRecv: counts.replyRecv } : null, roundTripInstructions: counts?.trip ?? null, phases: counts?.phases ?? null,
      hostNs: hot, hotShare, tiers: { tier0: tiers.tier0.timing(), cold: tiers.cold.timing(), hot },
    };
  })));
  const result: BenchIpcResult = {
    environment: where, stability, launchStability, launches, rows, othersCpus: made.map(({ othersCpus }) => (othersCpus === null ? null : Math.round(othersCpus * 100) / 100)),
    overheadNs: made.map(({ configurations }) => median([...configurations.values()].flatMap(({ empty }) => empty))),
    skipped: [...rows.filter(({ hostNs }) => hostNs === null).map((r) => `${sizeText(r)} to ${r.space === 'same' ? 'the same' : 'another'} Space, ${r.cpu}, hot: ${Math.round(r.hotShare * 100)} % of its instructions ran in compiled regions, ${HOT_SHARE * 100} % are wanted`), ...peers.skipped],
    peers: peers.rows.map(({ name, placement, latencies }) => ({ name, placement, hostNs: latencies.timing()! })),
  };
  if (options.svg !== undefined) writeFileSync(options.svg, draw(result, samples, peers));
  if (options.record) {
    mkdirSync(path.dirname(HISTORY), { recursive: true });
    appendFileSync(HISTORY, `${JSON.stringify({ date: new Date().toISOString(), quick, forced: options.force ?? false, ...result })}\n`);
  }
  return result;
}

const PEER_NAMES: Readonly<Record<string, string>> = { pipe: 'Linux pipe', 'unix socket': 'Unix socket', futex: 'Linux futex', MessagePort: 'Node MessagePort', 'Atomics.wait': 'Node Atomics.wait' };
function draw(result: BenchIpcResult, samples: ReadonlyMap<string, Record<Tier, Latencies>>, peers: Peers): string {
  const curve = (name: string, latencies: Latencies | undefined, peer = false): Curve[] => (latencies !== undefined && latencies.count > 0 ? [{ name, points: latencies.ecdf(), peer }] : []);
  const of = (space: string, cpu: string, tier: Tier): Latencies | undefined => {
    const row = result.rows.find((r) => r.space === space && r.cpu === cpu && r.words === 3);
    return tier === 'hot' && row?.hostNs == null ? undefined : samples.get(key(space, cpu, 3, 0))?.[tier];
  };
  const curves = [
    ...curve('call, other Space, same CPU, hot', of('other', 'same', 'hot')), ...curve('call, other Space, same CPU, tier 0', of('other', 'same', 'tier0')),
    ...curve('call, other Space, another CPU that spins, hot', of('other', 'spinning', 'hot')), ...curve('call, other Space, another CPU that sleeps, hot', of('other', 'parked', 'hot')),
    ...peers.rows.filter(({ placement }) => placement === 'free').flatMap(({ name, latencies }) => curve(PEER_NAMES[name] ?? name, latencies, true)),
  ];
  const sweeps = (['hot', 'tier0'] as const).flatMap((tier) => SPACES.map((space): Sweep => ({
    name: `${space === 'same' ? 'the same Space' : 'another Space'}, ${tier === 'hot' ? 'hot' : 'tier 0'}`, secondary: tier === 'tier0',
    points: result.rows.filter((row) => row.space === space && row.cpu === 'same').flatMap((row) => { const timing = row.tiers[tier]; return timing === null ? [] : [{ bytes: row.leaseBytes || row.words * 4, median: timing.median, p99: timing.p99 }]; }),
  }))).filter(({ points }) => points.length > 0);
  const e = result.environment, typical = result.rows.find((r) => r.phases && r.space === 'other' && r.cpu === 'same' && r.words === 3) ?? result.rows.find((r) => r.phases && r.leaseBytes === 0);
  const notes = new Map(result.rows.filter((r) => r.space === 'other' && r.cpu === 'same' && r.roundTripInstructions !== null).map((r) => [r.leaseBytes || r.words * 4, `${r.roundTripInstructions} instr.`]));
  const parts = (group: string, counts: PhaseCounts): Bar['parts'] => PHASES.map((name) => ({ group, name, count: counts[name] }));
  return figure({
    title: 'Kintsugi: IPC round trips, call and reply_recv', subtitle: `${e.cpu}, ${e.cores} cores${e.hypervisor ? ' (virtual)' : ''}, ${e.kernel}, Node ${e.node}, ${result.launches} launches per tier, commit ${e.commit}${result.stability.steady && result.launchStability.steady ? '' : '; NOT STEADY'}`, curves, sweeps, notes,
    ...(typical?.phases ? { bar: { title: `The ${typical.roundTripInstructions} instructions of ${typical.words} words to ${typical.space === 'other' ? 'another' : 'the same'} Space`, parts: [{ group: 'in ring 3', name: 'ring 3', count: typical.phases.stub }, ...parts('call', typical.phases.call), ...parts('reply_recv', typical.phases.replyRecv)] } } : {}),
  });
}

const sizeText = (r: { readonly words: number; readonly leaseBytes: number }): string => (r.leaseBytes ? '4 KiB leased' : `${r.words} words`);
const ns = (value: number | undefined): string => (value === undefined ? '-' : value < 10_000 ? String(value) : value < 1e6 ? `${(value / 1000).toFixed(1)} us` : `${(value / 1e6).toFixed(1)} ms`);
export function formatBenchIpc(result: BenchIpcResult): string {
  const e = result.environment;
  const lines = [
    `${e.cpu}, ${e.cores} cores${e.hypervisor ? ' (virtual)' : ''}, governor ${e.governor}, load ${e.load[0]}; ${e.kernel}, Node ${e.node}, V8 ${e.v8}; ${e.commit}`,
    `${result.launches} launches per tier, overhead of a sample ${median(result.overheadNs).toFixed(0)} ns (taken off)${result.launchStability.disturbed.length === 0 ? '' : `; disturbed: ${new Set(result.launchStability.disturbed.map(({ launch: n }) => n)).size} of ${result.launches * 2} launches`}`,
    ...[result.stability, result.launchStability].filter(({ steady }) => !steady).map(({ reason }) => `NOT STEADY: ${reason}`), '',
    'space  cpu       words   instructions           host ns per round trip',
    '                         call reply_recv trip   hot median      p99   in regions   tier 0     cold       n',
  ];
  for (const r of result.rows) {
    const size = r.leaseBytes ? '4 KiB' : String(r.words), cell = (value: unknown, width: number): string => String(value ?? '-').padStart(width);
    lines.push(`${r.space.padEnd(6)} ${r.cpu.padEnd(9)} ${size.padEnd(6)} ${cell(r.kernelInstructions?.call, 5)} ${cell(r.kernelInstructions?.replyRecv, 10)} ${cell(r.roundTripInstructions, 4)}   ${cell(ns(r.hostNs?.median), 10)} ${cell(ns(r.hostNs?.p99), 8)} ${cell(`${(r.hotShare * 100).toFixed(1)} %`, 12)} ${cell(ns(r.tiers.tier0?.median), 8)} ${cell(ns(r.tiers.cold?.median), 8)} ${cell(r.hostNs?.n, 7)}`);
  }
  for (const p of result.peers) lines.push(`${`${p.name}${p.placement === 'one' ? ', one CPU' : ''}`.padEnd(46)}   ${ns(p.hostNs.median).padStart(10)} ${ns(p.hostNs.p99).padStart(8)} ${''.padStart(30)} ${String(p.hostNs.n).padStart(7)}`);
  for (const why of result.skipped) lines.push(`not measured: ${why}`);
  for (const [words, lease] of [[3, 0], [0, 4096]] as const) {
    const phased = result.rows.find((r) => r.phases && r.space === 'other' && r.words === words && r.leaseBytes === lease);
    if (!phased?.phases) continue;
    const { stub, call, replyCopy, replyRecv } = phased.phases;
    const line = (name: string, p: PhaseCounts): string => `  ${name.padEnd(11)} ${PHASES.map((phase) => `${phase} ${p[phase]}`).join('  ')}`;
    lines.push('', `where the ${phased.roundTripInstructions} instructions of ${sizeText(phased)} to another Space go:`, line('call', call), ...(replyCopy ? [line('Reply.copy', replyCopy)] : []), line('reply_recv', replyRecv), `  in ring 3   ${stub}`);
  }
  return lines.join('\n');
}
