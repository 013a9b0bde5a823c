/**
 * Whole systems at the ends of a wire: a Kintsugi as a process of its own (./kintsugi run), the host's Linux in a network namespace (tap.py), and tshark as the judge of
 * what went over the wire.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { accessSync } from 'node:fs';
import * as net from 'node:net';
import * as dgram from 'node:dgram';
import { fileURLToPath } from 'node:url';

const LAUNCHER = fileURLToPath(new URL('../../kintsugi', import.meta.url));
const TAP = fileURLToPath(new URL('tap.py', import.meta.url));
/** For hooks and tests that wait for whole systems, on a host that has other things to do. */
export const PATIENCE_MS = 280_000;
const running = new Set<ChildProcess>();
/** Ends what a test has left. */
export function endAll(): void { for (const child of running) end(child, 'SIGKILL'); running.clear(); }
/** With everything it has started. */
function end(child: ChildProcess, signal: NodeJS.Signals): void { try { if (child.pid !== undefined) process.kill(-child.pid, signal); } catch { /* gone already */ } }

export interface Ended { readonly status: number; readonly stdout: string; readonly stderr: string }
/** What a script printed behind the line "== name". */
export function section(text: string, name: string): string {
  const parts = new Map(text.split(/^== /m).slice(1).map((s) => [s.slice(0, s.indexOf('\n')), s.slice(s.indexOf('\n') + 1)]));
  return parts.get(name) ?? `(no section ${name} in: ${text})`;
}

export class Process {
  stdout = '';
  stderr = '';
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  #status: number | undefined;
  #watchers = new Set<() => void>();
  constructor(command: string, argv: readonly string[], input = '', env: NodeJS.ProcessEnv = { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '/' }) { // no proxies of the host's
    const child = this.#child = spawn(command, argv, { stdio: ['pipe', 'pipe', 'pipe'], env, detached: true }); // a process group of its own
    running.add(child);
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    const look = (): void => { for (const watcher of [...this.#watchers]) watcher(); };
    child.stdout.on('data', (data) => { this.stdout += String(data); look(); });
    child.stderr.on('data', (data) => { this.stderr += String(data); look(); });
    this.ended = new Promise((resolve) => child.on('close', (code) => { running.delete(child); this.#status = code ?? 1; look(); resolve({ status: this.#status, stdout: this.stdout, stderr: this.stderr }); }));
  }
  /** Until it has printed `text`. Throws when it ends before. */
  async said(text: string): Promise<void> {
    if (this.#has(text)) return;
    await new Promise<void>((resolve, reject) => {
      const watcher = (): void => {
        if (this.#has(text)) { this.#watchers.delete(watcher); resolve(); }
        else if (this.#status !== undefined) reject(new Error(`ended (${this.#status}) without "${text}": ${this.stdout} ${this.stderr}`));
      };
      this.#watchers.add(watcher);
      watcher();
    });
  }
  #has(text: string): boolean { return this.stdout.includes(text) || this.stderr.includes(text); }
  kill(signal: NodeJS.Signals = 'SIGKILL'): void { end(this.#child, signal); }
}
/** A Kintsugi whose shell runs a script. Its standard error has the system log, too. */
export const kintsugi = (options: readonly string[], script: string): Process => new Process(LAUNCHER, ['run', '--log', '--timeout', '200', ...options, '--', 'sh'], script);
/** Lines of the log that tell of trouble. */
export const troubles = (log: string): string[] => log.split('\n').filter((line) => /died|hang|given up|refused|damaged|fault/.test(line));
/** Linux with a tap device that leads to a listening wire at `port`, in a namespace of its own; runs a shell script there. */
export const linux = (port: number, script: string, options: readonly string[] = ['--address', '10.1.0.1/24', '--gateway', 'none', '--mac', '52:54:00:00:00:01']): Process => new Process('python3', [TAP, ...options, String(port), 'sh', '-c', script]);

/** Which of the programs are not here. */
export const missing = (...programs: readonly string[]): string[] => programs.filter((program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0);
/** What a namespace with a tap device needs and is not here; empty: it works. */
export function namespaceNeeds(...programs: readonly string[]): string[] {
  const lacks = missing('python3', 'ip', ...programs);
  if (process.getuid?.() !== 0) lacks.unshift('root');
  else if (spawnSync('unshare', ['-n', 'true']).status !== 0) lacks.push('network namespaces');
  try { accessSync('/dev/net/tun'); } catch { lacks.push('/dev/net/tun'); }
  return lacks;
}
export async function freePort(): Promise<number> {
  const probe = net.createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as net.AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
export async function freeUdpPort(): Promise<number> {
  const probe = dgram.createSocket('udp4');
  await new Promise<void>((resolve) => probe.bind(0, '127.0.0.1', resolve));
  const { port } = probe.address();
  await new Promise<void>((resolve) => probe.close(resolve));
  return port;
}

/** One line of tshark's expert information. */
export interface Verdict { readonly severity: 'error' | 'warning'; readonly count: number; readonly protocol: string; readonly summary: string }
export const tsharkAvailable = missing('tshark').length === 0;
/** Errors and warnings of tshark about a capture, or about the frames that pass a display filter; checksums checked. Throws when it cannot read it. */
export function judge(file: string, filter = ''): Verdict[] {
  const sums = ['ip', 'tcp', 'udp'].flatMap((protocol) => ['-o', `${protocol}.check_checksum:TRUE`]);
  const run = spawnSync('tshark', ['-r', file, '-q', '-n', ...sums, '-z', `expert,warn${filter === '' ? '' : `,${filter}`}`], { encoding: 'utf8', maxBuffer: 1 << 26 });
  if (run.status !== 0) throw new Error(`tshark: ${run.stderr}`);
  const verdicts: Verdict[] = [];
  let severity: Verdict['severity'] = 'error';
  for (const line of run.stdout.split('\n')) {
    if (/^Errors /.test(line)) severity = 'error';
    if (/^Warns /.test(line)) severity = 'warning';
    const [, count, , protocol, summary] = /^\s+(\d+)\s+(\S+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    if (count !== undefined) verdicts.push({ severity, count: Number(count), protocol, summary: summary.trim() });
  }
  return verdicts;
}
