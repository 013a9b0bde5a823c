/**
 * The record of a sweep: one file for each victim in each operation, `.kintsugi/sweeps/<operation>-<victim>-<id>.jsonl`. The id is a hash of what
 * decides the results (images, sampling, machine), so that a sweep finds the kills it has done already. A line is a batch of kills, written
 * when the batch is done; a line that a death left half written is ignored, its kills are done again.
 */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import { OUTCOMES, type Outcome } from './outcome.ts';

export const SWEEPS = path.join(REPOSITORY_ROOT, '.kintsugi', 'sweeps');
const FORMAT = 1;

/** What became of one kill. `index`: which of the sampled instructions. */
export interface Kill { readonly index: number; readonly outcome: Outcome; readonly restarts: number; readonly recoverInstructions: number | null; readonly note: string }

export class SweepRecord {
  /** By index. */
  readonly kills = new Map<number, Kill>();
  readonly #file: number | undefined;

  /** `root` undefined: kept in memory alone. */
  constructor(root: string | undefined, name: string, decides: Readonly<Record<string, string | number>>) {
    if (root === undefined) return;
    const id = createHash('sha256').update(JSON.stringify({ format: FORMAT, name, ...decides })).digest('hex').slice(0, 12);
    mkdirSync(root, { recursive: true });
    const file = path.join(root, `${name}-${id}.jsonl`);
    const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
    for (const line of text.split('\n')) for (const kill of parse(line)) this.kills.set(kill.index, kill);
    this.#file = openSync(file, 'a');
    if (text !== '' && !text.endsWith('\n')) writeSync(this.#file, '\n');
  }

  /** A failure of the laboratory is no result: it is tried again by the next run. */
  add(kills: readonly Kill[]): void {
    for (const kill of kills) this.kills.set(kill.index, kill);
    const lasting = kills.filter(({ outcome }) => outcome !== 'tool-error');
    if (this.#file !== undefined && lasting.length > 0) writeSync(this.#file, `${JSON.stringify(lasting.map(({ index, outcome, restarts, recoverInstructions, note }) => [index, outcome, restarts, recoverInstructions, note]))}\n`);
  }
  close(): void { if (this.#file !== undefined) closeSync(this.#file); }
}

function parse(line: string): Kill[] {
  let value: unknown;
  try { value = JSON.parse(line); } catch { return []; }
  if (!Array.isArray(value)) return [];
  return value.flatMap((item: unknown): Kill[] => {
    if (!Array.isArray(item)) return [];
    const [index, outcome, restarts, recoverInstructions, note] = item as unknown[];
    if (typeof index !== 'number' || typeof outcome !== 'string' || !(OUTCOMES as readonly string[]).includes(outcome) || typeof restarts !== 'number' || typeof note !== 'string') return [];
    return [{ index, outcome: outcome as Outcome, restarts, recoverInstructions: typeof recoverInstructions === 'number' ? recoverInstructions : null, note }];
  });
}
