/**
 * Standard output and error of the command line. A pipe takes what is written in its own time: what was written must be out before the
 * process ends, and a reader that has gone away is no crash.
 */
type Gone = () => void;
const gone: Gone[] = [];
let broken = false;

/** Calls `act` once when the reader of standard output goes away (EPIPE), as SIGPIPE tells a program. */
export function onReaderGone(act: Gone): void {
  if (broken) act(); else gone.push(act);
}

/** Call before anything is written: from then on EPIPE is an event, not an uncaught error. */
export function guardOutput(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      if (broken) return;
      broken = true;
      for (const act of gone.splice(0)) act();
    });
  }
}
export function readerGone(): boolean { return broken; }

/** Resolves when everything written so far has left the process, or has nobody to go to. */
export async function flushOutput(): Promise<void> {
  await Promise.all([process.stdout, process.stderr].map((stream) => new Promise<void>((resolve) => {
    if (stream.destroyed || stream.writableLength === 0) resolve();
    else { stream.once('error', () => resolve()); stream.write('', () => resolve()); }
  })));
}
