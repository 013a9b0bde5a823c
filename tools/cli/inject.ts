/**
 * `./kintsugi inject`, `replay`, `show`: fault-injection campaigns from the command line. The laboratory itself is tools/lab.
 *
 * Exit status of inject: 0 when every experiment has a result, 1 when one is a tool error, 2 for a wrong spec.
 */
import { readFileSync } from 'node:fs';
import { runCampaign } from '../lab/campaign.ts';
import { openRow, replayRow, type Traced } from '../lab/replay.ts';
import { failureList, jsonReport, textReport, textRow } from '../lab/report.ts';
import { parseSpec, parseSpecJson, type Spec } from '../lab/spec.ts';
import { EXIT, UserError } from './errors.ts';

export interface InjectOptions {
  readonly target?: string;
  readonly model?: string;
  readonly n?: number;
  readonly seed?: number;
  readonly symbol?: string;
  readonly nth?: number;
  readonly cpus?: number;
  readonly bound?: number;
  readonly workload?: string;
  readonly workers: number;
  readonly json: boolean;
  readonly failures: boolean;
}

/** The spec of the command line: a file, or options, or a file with options on top. */
export function specOf(file: string | undefined, options: InjectOptions): Spec {
  let base: Record<string, unknown> = {};
  if (file !== undefined) {
    let text: string;
    try { text = readFileSync(file, 'utf8'); } catch (error) { throw new UserError(`spec ${file}: ${(error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : (error as Error).message}`, EXIT.usage); }
    base = parseSpecJson(text, file);
  } else if (options.target === undefined || options.model === undefined) throw new UserError('give a spec file, or --target and --model', EXIT.usage);
  const trigger = options.symbol !== undefined ? { kind: 'symbol', symbol: options.symbol, hit: options.nth ?? 1 }
    : options.nth !== undefined ? { kind: (options.model ?? '').startsWith('ipc') ? 'ipc' : 'disk', nth: options.nth } : undefined;
  return parseSpec({
    ...base, ...(options.target === undefined ? {} : { target: options.target }), ...(options.model === undefined ? {} : { model: options.model }),
    n: options.n ?? base['n'] ?? 100, ...(options.seed === undefined ? {} : { seed: options.seed }), ...(options.cpus === undefined ? {} : { cpus: options.cpus }), ...(options.bound === undefined ? {} : { boundMs: options.bound }), ...(trigger ? { trigger } : {}), ...(options.workload === undefined ? {} : { workload: options.workload }),
  });
}

export async function inject(file: string | undefined, options: InjectOptions): Promise<number> {
  const spec = specOf(file, options), terminal = process.stderr.isTTY === true;
  const started = performance.now();
  let first = -1;
  const report = await runCampaign(spec, {
    workers: options.workers,
    log: (line) => process.stderr.write(`${line}\n`),
    progress: (done, total) => {
      if (first < 0) first = done;
      const rate = (done - first) / ((performance.now() - started) / 1000);
      const text = `${done}/${total}${rate > 0 ? `  ${rate.toFixed(1)}/s  ETA ${Math.ceil((total - done) / rate)} s` : ''}`;
      if (terminal) process.stderr.write(`\r\x1b[K${text}${done === total ? '\r\x1b[K' : ''}`);
      else if (done === total || done % 600 < 12) process.stderr.write(`${text}\n`);
    },
  });
  if (options.failures) process.stdout.write(failureList(report));
  else process.stdout.write(options.json ? `${JSON.stringify(jsonReport(report))}\n` : textReport(report));
  return report.rows.some(({ outcome }) => outcome === 'tool-error') ? EXIT.failure : EXIT.ok;
}

export function show(id: string, json: boolean): number {
  const { store, row } = openRow(id);
  store.close();
  process.stdout.write(json ? `${JSON.stringify(row)}\n` : textRow(row));
  return EXIT.ok;
}

/** `replay ID --gdb`: gdb at the injected instruction. */
export async function debugReplay(id: string, address: string): Promise<number> {
  const { parseGdbAddress, serveGdb } = await import('../gdb/server.ts'), { debugRow } = await import('../lab/replay-debug.ts');
  const listen = parseGdbAddress(address), { row, target, subject, at } = debugRow(id, { log: (line) => process.stderr.write(`${line}\n`) });
  try {
    process.stderr.write(textRow(row));
    await serveGdb(target, listen, (host, port) => process.stderr.write(`kintsugi: at instruction ${at.toLocaleString('en-US')}, the fault is placed; waiting for gdb: gdb -ex 'set architecture i386' -ex 'target remote ${host === '127.0.0.1' ? '' : host}:${port}'   (then: monitor symbols, monitor help)\n`));
  } finally { subject.close(); }
  return EXIT.ok;
}

export function replay(id: string, options: { readonly json: boolean; readonly count: number }): number {
  const { row, result, same, before, after, tracedBefore, tracedAfter } = replayRow(id, { count: options.count, log: (line) => process.stderr.write(`${line}\n`) });
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ id: row.id, outcome: result.outcome, stateHash: result.stateHash, same, detectInstructions: result.detectInstructions ?? null, recoverInstructions: result.recoverInstructions ?? null, tracedBefore, tracedAfter, before, after })}\n`);
  } else {
    const line = ({ offset, who, symbol, line: at, instructions }: (typeof before)[number]): string => `  ${offset.toLocaleString('en-US').padStart(12)}  ${who.padEnd(10)} ${String(instructions).padStart(6)}  ${symbol}${at ? `  ${at}` : ''}`;
    const traced = ({ us, cpu, who, text }: Traced): string => `  ${us.toFixed(3).padStart(12)}  cpu${cpu}  ${who.padEnd(16)} ${text}`;
    const fault = `  ------------ ${row.target}: ${row.detail || row.model}`;
    process.stdout.write(`${textRow(row)}\n     trace, us        who\n${tracedBefore.map(traced).join('\n')}\n${fault}\n${tracedAfter.map(traced).join('\n')}\n`);
    process.stdout.write(`\n   instruction  who        count  where\n${before.map(line).join('\n')}\n${fault}\n${after.map(line).join('\n')}\n`);
    process.stdout.write(same ? `\nsame outcome, same state hash ${result.stateHash}\n` : `\nDIFFERENT: ${result.outcome}, state hash ${result.stateHash}\n`);
  }
  return same ? EXIT.ok : EXIT.failure;
}
