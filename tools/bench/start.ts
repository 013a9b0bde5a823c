/**
 * The start rows of `bench vm`: how long until something is seen, how much memory it takes, how soon it runs at full speed.
 *
 *   first byte    wall time from the start of the process to the first byte on the serial line, of an image that writes at once
 *   peak rows     peak resident memory of the process (VmHWM) with a 128 MiB one-vCPU guest that has run every row of the bench
 *   peak idle     the same with the booted system, once its shell has answered; peak work: after commands that read every file and sort
 *   to 90 %       CPU time of the machine's thread from a program's first instruction until slices of it run at 90 % of their steady speed
 *   stall         the longest slice on that way
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { REPOSITORY_ROOT, workerUrl } from '../../vm/entry.ts';
import { BenchError, median, type Stamped } from './lines.ts';
import type { PeerEnd, PeerJob } from './peer.worker.ts';
import { hereArguments, qemuArguments } from './processes.ts';
import { BENCH_PROGRAMS } from './programs.ts';
import type { Peer } from './vm.ts';

export interface StartRow {
  readonly name: string;
  readonly unit: 'ms' | 'MiB';
  /** What this VM should reach at most. */
  readonly goal: number;
  readonly here: number | null; readonly v86: number | null; readonly qemu: number | null;
  readonly what: string;
}

const LAUNCHES = 9;
const MEMORY_MIB = 128;
const TIMEOUT_MS = 60_000, BUILD_MS = 600_000;
/** Programs whose warm-up is measured: iterations to a slice of about 0.3 ms at full speed, and hardly more than the interpreter does in a millisecond. */
const WARM: readonly (readonly [string, number])[] = [['dhry', 32], ['interp', 6], ['modexp', 4], ['calls', 2]];
const SLICES = 3000;
/** Slices looked at together: one alone is at the mercy of the host's other half of the core. */
const WINDOW = 20;

/** v86 as a process of its own, without a BIOS: the fastest way it has. */
const v86Script = (image: string, plan: string): string => {
  const build = path.join(REPOSITORY_ROOT, 'node_modules/v86/build');
  return `import{V86}from${JSON.stringify(pathToFileURL(path.join(build, 'libv86.mjs')).href)};import{readFileSync}from'node:fs';const i=readFileSync(${JSON.stringify(image)});let s='';`
    + `const m=new V86({wasm_path:${JSON.stringify(path.join(build, 'v86.wasm'))},memory_size:${MEMORY_MIB}<<20,vga_memory_size:1<<20,autostart:true,cmdline:${JSON.stringify(`hold ${plan}`)},multiboot:{buffer:i.buffer.slice(i.byteOffset,i.byteOffset+i.byteLength)},acpi:true,disable_keyboard:true,disable_mouse:true,disable_speaker:true,log_level:0});`
    + `m.add_listener('serial0-output-byte',b=>{const c=String.fromCharCode(b);process.stdout.write(c);s=c==='\\n'?'':s+c;if(s==='E')setTimeout(()=>process.exit(0),50)});`;
};
const command = (peer: Peer, image: string, plan: string): [string, string[]] => peer === 'here' ? [process.execPath, hereArguments(image, plan, 1, MEMORY_MIB)]
  : peer === 'qemu' ? ['qemu-system-i386', qemuArguments(image, plan, 1, MEMORY_MIB)] : [process.execPath, ['--input-type=module', '-e', v86Script(image, plan)]];

interface Launched { /** Wall ms to the first byte of output. */ readonly firstMs: number; /** VmHWM, MiB, as last seen. */ readonly peakMiB: number; readonly output: string }

/** Peak resident memory so far, MiB; 0 when the process is gone. */
function peakOf(pid: number): number {
  try { return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) / 1024; } catch { return 0; }
}

function launch([file, args]: [string, string[]], timeoutMs = TIMEOUT_MS): Promise<Launched> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    let firstMs = NaN, peakMiB = 0, output = '';
    const look = (): void => { peakMiB = Math.max(peakMiB, peakOf(child.pid ?? 0)); };
    const looking = setInterval(look, 20), timer = setTimeout(() => { child.kill('SIGKILL'); }, timeoutMs);
    child.stdout.on('data', (bytes: Buffer) => { if (Number.isNaN(firstMs)) firstMs = performance.now() - started; output += bytes.toString('latin1'); look(); });
    child.on('error', reject);
    child.on('close', () => { clearInterval(looking); clearTimeout(timer); resolve({ firstMs, peakMiB, output }); });
  });
}

const round = (value: number, digits = 0): number => Math.round(value * 10 ** digits) / 10 ** digits;
const byPeer = async (peers: readonly Peer[], of: (peer: 'here' | 'v86' | 'qemu') => Promise<number>): Promise<Pick<StartRow, 'here' | 'v86' | 'qemu'>> => {
  const value = async (peer: 'here' | 'v86' | 'qemu'): Promise<number | null> => { if (!peers.includes(peer)) return null; const v = await of(peer); return Number.isFinite(v) ? v : null; };
  return { here: await value('here'), v86: await value('v86'), qemu: await value('qemu') };
};

/** Warm-up from the lines of a program's repetitions, a slice each. */
export function warmUp(lines: readonly Stamped[]): { readonly to90Ms: number; readonly stallMs: number } {
  const stamps = lines.filter(({ line }) => /^[SR] /.test(line)).map(({ cpuNs }) => cpuNs);
  if (stamps.length < 4 * WINDOW) throw new BenchError(`${stamps.length} slices are too few to see a warm-up`);
  const slices = stamps.slice(1).map((at, i) => at - stamps[i]!), steadyNs = median(slices.slice(slices.length >> 1));
  // The first window in whose like, from there on, the usual one is at speed: one that a neighbour disturbed later says nothing.
  const windows: number[] = [];
  for (let i = 0; i + WINDOW <= slices.length; i += WINDOW) windows.push(slices.slice(i, i + WINDOW).reduce((sum, ns) => sum + ns, 0) / WINDOW);
  const fast = windows.findIndex((ns, i) => ns * 0.9 <= steadyNs && median(windows.slice(i, i + 5)) * 0.9 <= steadyNs), last = Math.max(0, fast) * WINDOW;
  return { to90Ms: (stamps[last]! - stamps[0]!) / 1e6, stallMs: Math.max(...slices.slice(0, slices.length >> 1)) / 1e6 };
}

function slices(peer: 'here' | 'v86', image: string, plan: string): Promise<readonly Stamped[]> {
  return new Promise((resolve, reject) => {
    const lines: Stamped[] = [], workerData: PeerJob = { peer, image, plan, jit: 'on', fine: true };
    const worker = new Worker(workerUrl('tools/bench/peer.worker.ts'), { workerData, execArgv: [] });
    const timer = setTimeout(() => { void worker.terminate(); reject(new BenchError(`${peer}: not finished after ${TIMEOUT_MS} ms`)); }, TIMEOUT_MS);
    worker.on('message', (message: Stamped | PeerEnd) => {
      if ('line' in message) { lines.push(message); return; }
      clearTimeout(timer);
      void worker.terminate();
      if (message.problem === undefined) resolve(lines); else reject(new BenchError(`${peer}: ${message.problem}`));
    });
    worker.once('error', reject);
  });
}

export interface StartOptions { readonly peers: readonly Peer[]; readonly runs: number; readonly progress?: ((text: string) => void) | undefined }

export async function benchStart(image: string, options: StartOptions): Promise<StartRow[]> {
  const { peers, progress } = options, rows: StartRow[] = [];
  progress?.('start: first byte');
  const first = new Map<Peer, number[]>(peers.map(peer => [peer, []]));
  for (let n = 0; n < LAUNCHES; n++) for (const peer of peers) if (peer !== 'native') first.get(peer)!.push((await launch(command(peer, image, '1 1:1'))).firstMs);
  rows.push({ name: 'first byte', unit: 'ms', goal: 150, ...await byPeer(peers, peer => Promise.resolve(round(median(first.get(peer)!)))), what: 'wall time from process start to the first serial byte' });

  progress?.('start: peak memory');
  const all = `2 ${BENCH_PROGRAMS.filter(p => p.kind !== 'smp' && p.name !== 'timer' && p.name !== 'selfipi').map(p => `${p.number}:${Math.max(1, p.nativeIterations >> 3)}`).join(' ')}`;
  rows.push({ name: 'peak rows', unit: 'MiB', goal: 300, ...await byPeer(peers, async peer => round((await launch(command(peer, image, all))).peakMiB)), what: 'peak resident memory, 128 MiB guest, after all rows' });
  if (peers.includes('here')) {
    const launcher = path.join(REPOSITORY_ROOT, 'kintsugi');
    await launch([process.execPath, [launcher, 'build']], BUILD_MS);
    const system = async (commands: readonly string[]): Promise<number> => {
      const { output, peakMiB } = await launch([process.execPath, [launcher, 'run', '--smp', '1', '--memory', String(MEMORY_MIB), '--', 'sh', '-c', `${commands.join('; ')}; echo done`]]);
      if (!output.includes('done')) throw new BenchError(`the system did not do ${commands.join('; ')}`);
      return round(peakMiB);
    };
    rows.push({ name: 'peak idle', unit: 'MiB', goal: 300, here: await system(['sleep 1']), v86: null, qemu: null, what: 'peak resident memory, booted system, idle' });
    rows.push({ name: 'peak work', unit: 'MiB', goal: 300, here: await system(['for i in 1 2 3 4; do sha256sum /bin/* > /tmp/a; sort /tmp/a | grep -c sh; cat /bin/* > /tmp/b; cp /tmp/b /tmp/c; done']), v86: null, qemu: null, what: 'peak resident memory, booted system, after sha256sum, sort, cat and cp of all programs' });
  }

  const to90: Record<string, number[]> = {}, stall: Record<string, number[]> = {};
  for (const peer of peers) {
    if (peer !== 'here' && peer !== 'v86') continue;
    progress?.(`start: warm-up: ${peer}`);
    const all: { to90: number[]; stall: number[] } = { to90: [], stall: [] };
    for (const [name, iterations] of WARM) {
      const runs: { to90Ms: number; stallMs: number }[] = [];
      for (let run = 0; run < options.runs; run++) runs.push(warmUp(await slices(peer, image, `${SLICES} ${BENCH_PROGRAMS.find(p => p.name === name)!.number}:${iterations}`)));
      all.to90.push(median(runs.map(r => r.to90Ms)));
      all.stall.push(median(runs.map(r => r.stallMs)));
    }
    to90[peer] = all.to90; stall[peer] = all.stall;
  }
  WARM.forEach(([name], i) => {
    const of = (table: Record<string, number[]>): Pick<StartRow, 'here' | 'v86' | 'qemu'> => ({ here: table['here'] ? round(table['here'][i]!, 1) : null, v86: table['v86'] ? round(table['v86'][i]!, 1) : null, qemu: null });
    rows.push({ name: `to 90 % ${name}`, unit: 'ms', goal: 300, ...of(to90), what: `CPU time until ${name} runs at 90 % of its steady speed` });
    rows.push({ name: `stall ${name}`, unit: 'ms', goal: 20, ...of(stall), what: `longest slice of ${name} on that way, CPU time` });
  });
  return rows;
}

/** A `>` marks what misses its goal. */
export function formatStart(rows: readonly StartRow[]): string {
  const cell = (value: number | null, unit: string): string => value === null ? '-' : `${value} ${unit}`;
  const lines = [['start', 'here', 'v86', 'qemu', 'goal'], ...rows.map(r => [`${r.here !== null && r.here > r.goal ? '>' : ' '} ${r.name}`, cell(r.here, r.unit), cell(r.v86, r.unit), cell(r.qemu, r.unit), `<= ${r.goal}`])];
  const widths = lines[0]!.map((_, i) => Math.max(...lines.map(line => line[i]!.length)));
  return lines.map(line => line.map((c, i) => i === 0 ? c.padEnd(widths[i]!) : c.padStart(widths[i]!)).join('  ')).join('\n');
}
