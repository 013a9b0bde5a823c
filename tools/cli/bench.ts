/** `./kintsugi bench vm|ipc|fs|net|rewind`: each benchmark is a room in tools/bench; this finds it and shows its table or JSON. */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import type { Peer } from '../bench/vm.ts';
import { EXIT, UserError } from './errors.ts';

export interface BenchOptions {
  readonly json: boolean;
  readonly runs: number;
  /** Of `ipc` and `vm`. */
  readonly svg?: string;
  readonly record?: boolean;
  /** Of `ipc` only. */
  readonly launches?: number;
  readonly quick?: boolean;
  readonly force?: boolean;
  /** Of `vm` and `net`. */
  readonly rows?: string;
  /** Of `vm` only. */
  readonly peers?: string;
  /** Of `net` only. */
  readonly place: 'pin' | 'follow';
  readonly smp?: number;
  readonly only?: 'instructions' | 'times';
}

export async function bench(what: string, options: BenchOptions): Promise<number> {
  const progress = (text: string): void => { process.stderr.write(`${text}\n`); };
  if (what === 'vm') {
    const { HISTORY, TABLE_IN, benchVm, formatBenchVm, historyLine, withTable } = await import('../bench/vm.ts'), { BenchError } = await import('../bench/lines.ts');
    const result = await benchVm({ runs: options.runs, progress, ...(options.rows === undefined ? {} : { rows: options.rows.split(',') }), ...(options.peers === undefined ? {} : { peers: options.peers.split(',') as Peer[] }) }).catch((error: unknown) => {
      throw error instanceof BenchError ? new UserError(error.message, EXIT.usage) : error;
    });
    if (options.svg !== undefined) writeFileSync(options.svg, (await import('../bench/vm-figure.ts')).vmFigure(result));
    if (options.record) {
      appendFileSync(HISTORY, historyLine(result));
      writeFileSync(TABLE_IN, withTable(readFileSync(TABLE_IN, 'utf8'), result));
    }
    process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : `${formatBenchVm(result)}\n`);
    return result.problems.some((problem) => problem.includes('checksums differ')) ? EXIT.failure : EXIT.ok;
  }
  if (what === 'fs') {
    const { benchFs, formatBenchFs } = await import('../bench/fs.ts');
    const result = await benchFs({ runs: options.runs, place: 'follow', progress });
    process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : `${formatBenchFs(result)}\n`);
    return EXIT.ok;
  }
  if (what === 'net') {
    const { benchNet, formatBenchNet, NET_ROWS } = await import('../bench/net.ts');
    const wanted = options.rows?.split(',') ?? NET_ROWS, unknown = wanted.find((name) => !NET_ROWS.some((row) => row === name));
    if (unknown !== undefined) throw new UserError(`--rows: there is no row "${unknown}"; there are: ${NET_ROWS.join(', ')}`, EXIT.usage);
    const { place, runs, smp, only, quick } = options;
    const result = await benchNet({ runs, place, rows: NET_ROWS.filter((row) => wanted.includes(row)), progress, ...(smp === undefined ? {} : { smp }), ...(only === undefined ? {} : { only }), ...(quick ? { quick } : {}) });
    process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : `${formatBenchNet(result)}\n`);
    return EXIT.ok;
  }
  if (what === 'rewind') {
    const { benchRewind, formatRewind } = await import('../bench/rewind.ts'), { systemConfig } = await import('./system.ts'), { ensureGuest } = await import('./guest.ts');
    ensureGuest();
    const config = systemConfig({ place: 'pin', smp: 1, memoryMiB: 128, deterministic: true, seed: 1, jit: 'on', append: '' }, ['sh', '-c', 'while true; do sha256sum /bin/*; done'], {});
    const result = await benchRewind(config, 20_000_000, { runs: options.runs, progress });
    process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : `${formatRewind(result)}\n`);
    return EXIT.ok;
  }
  if (what === 'ipc') {
    const { benchIpc, formatBenchIpc, IpcBenchError } = await import('../bench/ipc.ts');
    try {
      const { launches, quick, force, svg, record } = options;
      const result = await benchIpc({ progress, ...(launches === undefined ? {} : { launches }), ...(quick ? { quick } : {}), ...(force ? { force } : {}), ...(svg === undefined ? {} : { svg }), ...(record ? { record } : {}) });
      process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : `${formatBenchIpc(result)}\n`);
      return EXIT.ok;
    } catch (error) {
      if (error instanceof IpcBenchError) throw new UserError(error.message, EXIT.failure);
      throw error;
    }
  }
  throw new UserError(`there is no benchmark "${what}"; there are: vm, ipc, fs, net, rewind`, EXIT.usage);
}
