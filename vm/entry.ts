/**
 * Where the code of this process lies. The same sources run in two forms: as TypeScript files (tests, tools) and as the bundle that the
 * launcher makes (`build/host/<hash>/`). A worker is named by its source file below the repository root, `vm/io/io.worker.ts`; this is
 * the only place that knows how the name becomes a URL. The bundler sets `__kintsugi` as the first act of every bundled file.
 */
import { fileURLToPath, pathToFileURL } from 'node:url';

interface BundleInfo { readonly root: string; readonly bundle: string }
const bundleInfo = (globalThis as { __kintsugi?: BundleInfo }).__kintsugi;

/** Root of the repository, absolute. */
export const REPOSITORY_ROOT = bundleInfo?.root ?? fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');

/** URL of a worker entry; `source` is relative to the root and ends in `.worker.ts`. */
export function workerUrl(source: `${string}.worker.ts`): URL {
  if (bundleInfo) return pathToFileURL(`${bundleInfo.bundle}/${source.replace(/\.ts$/, '.mjs')}`);
  return pathToFileURL(`${REPOSITORY_ROOT}/${source}`);
}
