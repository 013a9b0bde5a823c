/** A build worker: receives targets, builds them one after the other with a warm AssemblyScript, answers with results or reasons. */
import { parentPort } from 'node:worker_threads';
import { build } from './build.ts';
import type { Target } from './targets.ts';

parentPort?.on('message', (t: Target) => {
  build(t).then(
    (result) => parentPort?.postMessage({ name: t.name, result }),
    (error: unknown) => parentPort?.postMessage({ name: t.name, error: error instanceof Error ? (error.name === 'BuildError' ? error.message : error.stack ?? error.message) : String(error) }),
  );
});
