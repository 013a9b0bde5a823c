/** All guest images: looks into the cache, builds the stale ones on two workers (or here, when it is one). */
import { Worker } from 'node:worker_threads';
import { workerUrl } from '../../vm/entry.ts';
import { build, type BuildResult, fromCache } from './build.ts';
import { BuildError } from './errors.ts';
import { generate } from './generate.ts';
import { type Target, TARGETS } from './targets.ts';

export interface GuestOptions { readonly names?: readonly string[]; readonly force?: boolean; readonly progress?: (line: string) => void }
export interface GuestsResult { readonly built: readonly BuildResult[]; readonly failed: readonly { name: string; error: string }[] }

export async function buildGuests(options: GuestOptions = {}): Promise<GuestsResult> {
  const names = options.names ?? [];
  const targets = names.length === 0 ? TARGETS : names.map((n) => {
    const t = TARGETS.find((x) => x.name === n);
    if (t === undefined) throw new BuildError(`no guest target ${n}; tools/build/targets.ts lists ${TARGETS.map((x) => x.name).join(', ')}`);
    return t;
  });
  await generate();
  const built: BuildResult[] = [], failed: { name: string; error: string }[] = [], stale: Target[] = [];
  for (const t of targets) {
    const hit = options.force === true ? undefined : fromCache(t, Date.now());
    if (hit !== undefined) built.push(hit);
    else stale.push(t);
  }
  let done = 0;
  const finish = (name: string, result: BuildResult | undefined, error: string | undefined): void => {
    done++;
    if (result !== undefined) {
      built.push(result);
      options.progress?.(`[${done}/${stale.length}] ${name}  ${result.functions} functions, ${result.text} bytes of code, ${result.ms} ms${result.warnings === '' ? '' : `\n${result.warnings}`}`);
    } else {
      failed.push({ name, error: error ?? 'unknown' });
      options.progress?.(`[${done}/${stale.length}] ${name}  FAILED: ${error ?? ''}`);
    }
  };
  if (stale.length <= 1) {
    for (const t of stale) await build(t).then((r) => finish(t.name, r, undefined), (e: unknown) => finish(t.name, undefined, e instanceof BuildError ? e.message : e instanceof Error ? e.stack : String(e)));
  } else {
    const queue = [...stale];
    await Promise.all([0, 1].map(() => new Promise<void>((resolve, reject) => {
      const w = new Worker(workerUrl('tools/build/compile.worker.ts'), { execArgv: [] });
      const next = (): void => {
        const t = queue.shift();
        if (t !== undefined) w.postMessage(t);
        else void w.terminate().then(() => resolve());
      };
      w.on('message', (m: { name: string; result?: BuildResult; error?: string }) => {
        finish(m.name, m.result, m.error);
        next();
      });
      w.on('error', reject);
      next();
    })));
  }
  return { built: built.sort((a, b) => targets.findIndex((t) => t.name === a.name) - targets.findIndex((t) => t.name === b.name)), failed };
}
