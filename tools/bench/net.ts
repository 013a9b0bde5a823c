/**
 * `./kintsugi bench net`: what the network path of the machine costs, from a program of the guest through process, net, driver, card and the user network of the
 * VM to a socket of the host, and back. programs/netbench.ts is the guest's end, net.worker.ts the host's.
 *
 *   ping       round trip to the gateway, median (ms)             peer: UDP echo over the host's loopback, the same kind of program
 *   incoming   connections a second, host to guest, 8 at a time   peer: the same client, a server of Node in the guest's place
 *   outgoing   connections a second, guest to host, 6 programs    peer: a client of Node, 6 at a time, to the same server
 *   receive    MB/s host to guest, one connection                 peer: the same client and a sink of Node
 *   send       MB/s guest to host                                 peer: likewise
 *
 * Each run is a fresh boot for each row, guest and peer by turns; medians over the runs. Instructions are those of the whole guest in deterministic mode against the
 * built-in peer: the difference of a long and a short run, so boot and program start are not in them. They are exact, and the same on every host.
 */
import { Worker } from 'node:worker_threads';
import { createServer } from 'node:net';
import { workerUrl } from '../../vm/entry.ts';
import type { NetConfig, PeerCall } from '../../vm/net/config.ts';
import { runCommand, type RunOutcome } from '../cli/run.ts';
import type { SystemOptions } from '../cli/system.ts';
import { BenchError } from './lines.ts';
import type { NetAnswer, NetJob } from './net.worker.ts';

export const NET_ROWS = ['ping', 'incoming', 'outgoing', 'receive', 'send'] as const;
export type NetRow = (typeof NET_ROWS)[number];
export const NET_UNITS: Readonly<Record<NetRow, string>> = { ping: 'ms', incoming: 'conn/s', outgoing: 'conn/s', receive: 'MB/s', send: 'MB/s' };
export interface NetFigures {
  /** Median over the runs, in NET_UNITS; `ratio` = guest / peer. null: not measured. */
  readonly guest: number | null; readonly peer: number | null; readonly ratio: number | null;
  /** Guest instructions per ping, connection, or KiB of data. */
  readonly instructions: number | null;
}
export interface BenchNetOptions {
  readonly runs: number;
  readonly place: SystemOptions['place'];
  readonly smp?: number;
  readonly rows?: readonly NetRow[];
  /** Only the exact part, or only the timed one. */
  readonly only?: 'instructions' | 'times';
  /** A tenth of the work. */
  readonly quick?: boolean;
  readonly progress?: (line: string) => void;
}
export interface BenchNetResult { readonly place: SystemOptions['place']; readonly smp: number; readonly runs: number; readonly rows: Readonly<Partial<Record<NetRow, NetFigures>>> }

const PORT = 7;
const MB = 1e6;
const median = (values: readonly number[]): number | null => (values.length === 0 ? null : [...values].sort((a, b) => a - b)[values.length >> 1]!);

class HostEnd {
  readonly #worker = new Worker(workerUrl('tools/bench/net.worker.ts'), { execArgv: [] });
  ask(job: NetJob): Promise<NetAnswer> {
    return new Promise((resolve, reject) => {
      this.#worker.once('message', resolve);
      this.#worker.once('error', reject);
      this.#worker.postMessage(job);
    });
  }
  async port(job: NetJob): Promise<number> { const answer = await this.ask(job); if (!('port' in answer)) throw new BenchError('problem' in answer ? answer.problem : 'no port'); return answer.port; }
  async ms(job: NetJob): Promise<number> { const answer = await this.ask(job); if (!('ms' in answer)) throw new BenchError('problem' in answer ? answer.problem : 'no time'); return answer.ms; }
  close(): Promise<number> { return this.#worker.terminate(); }
}
const freePort = (): Promise<number> => new Promise((resolve) => { const server = createServer().listen(0, '127.0.0.1', () => { const { port } = server.address() as { port: number }; server.close(() => resolve(port)); }); });

/** One boot with `argv`; `said` is called with all of its output so far. */
async function boot(options: SystemOptions, argv: readonly string[], said?: (text: string) => void): Promise<RunOutcome> {
  let text = '';
  const outcome = await runCommand(options, argv, { stdout: (data) => { text += Buffer.from(data).toString('latin1'); said?.(text); } });
  if (outcome.exit !== 0) throw new BenchError(`${argv.join(' ')} ended with ${outcome.exit}: ${outcome.stderr.trim() || outcome.problem || outcome.log.trim().split('\n').at(-1)}`);
  return outcome;
}
export async function benchNet(options: BenchNetOptions): Promise<BenchNetResult> {
  const smp = options.smp ?? (options.place === 'follow' ? 1 : 4), scale = options.quick ? 0.1 : 1, rows = options.rows ?? NET_ROWS;
  const system = (net: NetConfig, deterministic: boolean): SystemOptions => ({ place: options.place, smp: deterministic ? 1 : smp, memoryMiB: 128, deterministic, seed: 1, timeoutSeconds: 120, jit: 'on', append: '', net });
  const guest = new Map<NetRow, number[]>(rows.map((row) => [row, []])), peer = new Map<NetRow, number[]>(rows.map((row) => [row, []]));
  const instructions = new Map<NetRow, number>();
  if (options.only !== 'instructions') {
    const client = new HostEnd(), other = new HostEnd();
    try {
      for (let run = 0; run < options.runs; run++) {
        for (const row of rows) {
          options.progress?.(`run ${run + 1} of ${options.runs}: ${row}`);
          const [theirs, ours] = await timeRow(row, scale, (net) => system(net, false), client, other);
          guest.get(row)!.push(ours);
          peer.get(row)!.push(theirs);
        }
      }
    } finally { await Promise.all([client.close(), other.close()]); }
  }
  if (options.only !== 'times') {
    for (const row of rows) {
      options.progress?.(`instructions: ${row}`);
      instructions.set(row, await countRow(row, (net) => system(net, true)));
    }
  }
  const figures = Object.fromEntries(rows.map((row): [NetRow, NetFigures] => {
    const ours = median(guest.get(row)!), theirs = median(peer.get(row)!);
    return [row, { guest: ours, peer: theirs, ratio: ours === null || theirs === null ? null : ours / theirs, instructions: instructions.get(row) ?? null }];
  }));
  return { place: options.place, smp, runs: options.runs, rows: figures };
}

/** Peer and guest, in the row's unit. */
async function timeRow(row: NetRow, scale: number, system: (net: NetConfig) => SystemOptions, client: HostEnd, other: HostEnd): Promise<[number, number]> {
  const user: NetConfig = { backend: { kind: 'user' } };
  const forwarded = (port: number): NetConfig => ({ ...user, forwards: [{ protocol: 'tcp', host: '127.0.0.1', port, guestPort: PORT }] });
  /** Boots `netbench WHAT PORT COUNT` and, once it listens, has the client do `job`; ms of the job. */
  const served = async (what: string, count: number, job: (port: number) => Promise<number>): Promise<number> => {
    const port = await freePort();
    let ms: Promise<number> | undefined;
    await boot(system(forwarded(port)), ['netbench', what, String(PORT), String(count)], (text) => { if (text.includes('listening')) ms ??= job(port); });
    return await ms!;
  };
  switch (row) {
    case 'ping': {
      const theirs = await client.ms({ kind: 'roundTrips', port: await other.port({ kind: 'echo' }), count: 500 });
      const outcome = await boot(system(user), ['ping', '-c', String(Math.ceil(500 * scale)), '-i', '0.004', '10.0.2.2']);
      const times = [...outcome.stdout.matchAll(/time=([\d.]+) ms/g)].map((match) => Number(match[1]));
      return [theirs, median(times.slice(times.length >> 2))!];
    }
    case 'incoming': {
      const count = Math.ceil(1500 * scale), warm = count >> 2, parallel = 8;
      const one = async (port: number): Promise<number> => { await client.ms({ kind: 'connections', port, count: warm, parallel }); return client.ms({ kind: 'connections', port, count: count - warm, parallel }); };
      const theirs = await one(await other.port({ kind: 'serve' })), ours = await served('accept', count, one);
      return [(count - warm) / theirs * 1000, (count - warm) / ours * 1000];
    }
    case 'outgoing': {
      const programs = 6, count = Math.ceil(400 * scale), port = await other.port({ kind: 'serve' });
      await client.ms({ kind: 'connections', port, count: count >> 2, parallel: programs });
      const theirs = await client.ms({ kind: 'connections', port, count: count * programs, parallel: programs });
      const outcome = await boot(system(user), ['sh', '-c', `for k in $(seq ${programs}); do netbench connect 10.0.2.2 ${port} ${count} & done; wait`]);
      const each = [...outcome.stdout.matchAll(/^connect (\d+) (\d+)$/gm)].map(([, timed, ns]) => Number(timed) / Number(ns) * 1e9);
      if (each.length !== programs) throw new BenchError(`of ${programs} netbench ${each.length} came to an end: ${outcome.stderr.trim()}`);
      return [count * programs / theirs * 1000, each.reduce((sum, rate) => sum + rate, 0)];
    }
    case 'receive': {
      const bytes = Math.ceil(64 * scale) * 2 ** 20;
      const theirs = await client.ms({ kind: 'push', port: await other.port({ kind: 'sink', bytes }), bytes });
      const ours = await served('recv', bytes, (port) => client.ms({ kind: 'push', port, bytes }));
      return [bytes / MB / theirs * 1000, bytes / MB / ours * 1000];
    }
    case 'send': {
      const bytes = Math.ceil(64 * scale) * 2 ** 20;
      const theirs = await client.ms({ kind: 'pull', port: await other.port({ kind: 'source', bytes }), bytes });
      const ours = await served('send', bytes, (port) => client.ms({ kind: 'pull', port, bytes }));
      return [bytes / MB / theirs * 1000, bytes / MB / ours * 1000];
    }
  }
}

/** Instructions per unit: of a long run less those of a short one. */
async function countRow(row: NetRow, system: (net: NetConfig) => SystemOptions): Promise<number> {
  const user: NetConfig = { backend: { kind: 'user' } };
  const of = async (net: NetConfig, argv: readonly string[]): Promise<number> => (await boot(system(net), argv)).instructions;
  const difference = async (few: number, many: number, run: (n: number) => Promise<number>): Promise<number> => (await run(many) - await run(few)) / (many - few);
  switch (row) {
    case 'ping': return difference(100, 300, (n) => of(user, ['ping', '-q', '-c', String(n), '-i', '0.001', '10.0.2.2']));
    case 'incoming': return difference(20, 80, (n) => of({ ...user, calls: Array.from({ length: n }, (_, k): PeerCall => ({ port: PORT, send: 'hello\n', atNs: 150e6 + k * 1e6 })) }, ['netbench', 'accept', String(PORT), String(n)]));
    case 'outgoing': return difference(20, 80, (n) => of(user, ['netbench', 'connect', '10.0.2.2', '7', String(n)]));
    case 'receive': return 1024 * await difference(2 ** 20, 5 * 2 ** 20, (n) => of(user, ['sh', '-c', `wget -q -O /dev/null http://10.0.2.2/bytes/${n}`]));
    case 'send': return 1024 * await difference(2 ** 20, 5 * 2 ** 20, (n) => of({ ...user, calls: [{ port: PORT, send: '', atNs: 150e6 }] }, ['netbench', 'send', String(PORT), String(n)]));
  }
}

export function formatBenchNet(result: BenchNetResult): string {
  const cell = (value: number | null | undefined, digits: number): string => (value === null || value === undefined ? '-' : value.toFixed(digits)).padStart(10);
  const digits: Readonly<Record<NetRow, number>> = { ping: 3, incoming: 0, outgoing: 0, receive: 1, send: 1 };
  return [
    `network: place=${result.place}, ${result.smp} vCPU, median of ${result.runs}`,
    `${''.padEnd(10)}${'guest'.padStart(10)}${'host'.padStart(10)}  ${''.padEnd(7)}${'ratio'.padStart(10)}${'instructions'.padStart(14)}`,
    ...NET_ROWS.flatMap((row) => { const f = result.rows[row]; return f === undefined ? [] : [`${row.padEnd(10)}${cell(f.guest, digits[row])}${cell(f.peer, digits[row])}  ${NET_UNITS[row].padEnd(7)}${cell(f.ratio, 3)}${cell(f.instructions, 0).padStart(14)}`]; }),
    'host: the same client with a program of the host in the guest\'s place, over the loopback; instructions: of the whole guest, per ping, connection or KiB (deterministic)', '',
  ].join('\n');
}
