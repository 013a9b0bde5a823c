/**
 * Where the code of this process lies. The same sources run in two forms: as TypeScript files (tests, tools) and as the bundle that the
 * launcher makes (`build/host/<hash>/`). A worker is named by its source file below the repository root, `vm/io/io.worker.ts`; this is
 * the only place that knows how the name becomes a URL. The bundler sets `__kintsugi` as the first act of every bundled file.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Worker } from 'node:worker_threads';

interface BundleInfo { readonly root: string; readonly bundle: string }
const bundleInfo = (globalThis as { __kintsugi?: BundleInfo }).__kintsugi;

/** Root of the repository, absolute. */
export const REPOSITORY_ROOT = bundleInfo?.root ?? fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');

/** URL of a worker entry; `source` is relative to the root and ends in `.worker.ts`. */
export function workerUrl(source: `${string}.worker.ts`): URL {
  if (bundleInfo) return pathToFileURL(`${bundleInfo.bundle}/${source.replace(/\.ts$/, '.mjs')}`);
  return pathToFileURL(`${REPOSITORY_ROOT}/${source}`);
}

/** What code makes from nothing but itself, kept beside the bundle: the bundle's name is a hash of all sources. Without a bundle it is made anew. */
export function keptBytes(name: string, make: () => Uint8Array): Uint8Array<ArrayBuffer> {
  if (!bundleInfo) return make() as Uint8Array<ArrayBuffer>;
  const file = `${bundleInfo.bundle}/${name}`;
  try { return readFileSync(file); } catch { /* the first time */ }
  const bytes = make() as Uint8Array<ArrayBuffer>, temporary = `${file}.${process.pid}`;
  try { mkdirSync(bundleInfo.bundle, { recursive: true }); writeFileSync(temporary, bytes); renameSync(temporary, file); } catch { /* read-only: made anew each time */ }
  return bytes;
}

/** A vCPU's worker that the launcher started early, when it saw a command that will want one (`kintsugi`); once. It waits for its data as a message. */
export function takeSpareWorker(): Worker | undefined {
  const holder = globalThis as { __kintsugiSpare?: Worker }, worker = holder.__kintsugiSpare;
  delete holder.__kintsugiSpare;
  return worker;
}
