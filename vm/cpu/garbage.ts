/**
 * Asks V8 to collect garbage, for the moment in which a code cache of a hundred megabytes has just been dropped.
 *
 * V8 sets the size of its heap at which it collects next by what was alive at the last collection, up to four times as much: a cache that fills up and is
 * dropped again and again stands in that memory several times over (a million functions generated: 1.2 GiB resident, 385 MiB with this). A collection costs what
 * is alive, some milliseconds right after the drop, and the caches hold a second's worth of cold code.
 */
import * as v8 from 'node:v8';
import { runInNewContext } from 'node:vm';

let collect: (() => void) | undefined;

/** Collects what can be collected now; does nothing where V8 does not let itself be asked. */
export function collectGarbage(): void {
  if (collect === undefined) {
    v8.setFlagsFromString('--expose-gc'); // contexts made from now on have `gc`
    try { collect = runInNewContext('gc') as () => void; } catch { collect = () => undefined; }
  }
  collect();
}
