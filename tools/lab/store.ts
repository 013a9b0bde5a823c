/**
 * The record of a campaign: `.kintsugi/campaigns/<id>/` with `spec.json`, the disk image of the workload and `results.sqlite`. The id is a
 * hash of everything that decides the results (spec, images, version of this format), so the same question finds its own answers again and
 * a broken-off campaign goes on where it stopped. Row ids are `<id>:<index>`.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import { writeSparse } from '../image/file.ts';
import { buildExt2 } from '../image/writer.ts';
import type { Point, Result } from './experiment.ts';
import type { Outcome } from './outcome.ts';
import type { Spec } from './spec.ts';
import { moduleOf } from './symbols.ts';
import type { Workload } from './workload.ts';

const FORMAT = 1;
const IMAGE_MIB = 64;
export const CAMPAIGNS = path.join(REPOSITORY_ROOT, '.kintsugi', 'campaigns');

export interface Row {
  readonly id: string;
  readonly index: number;
  readonly outcome: Outcome;
  readonly target: string;
  readonly model: string;
  /** What exactly was broken. */
  readonly detail: string;
  /** Instructions of the machine since the beginning of the workload. */
  readonly instruction: number;
  readonly eip: number;
  readonly symbol: string;
  readonly line: string;
  readonly detectInstructions: number | null;
  readonly detectedIn: string | null;
  readonly recoverInstructions: number | null;
  readonly restarts: number;
  readonly stateHash: string;
  readonly ended: number;
  readonly note: string;
}

const COLUMNS = ['idx', 'outcome', 'target', 'model', 'detail', 'instruction', 'eip', 'symbol', 'line', 'detect_instructions', 'detected_in', 'recover_instructions', 'restarts', 'state_hash', 'ended', 'note'] as const;

export function campaignId(spec: Spec, images: string): string {
  const { name: _name, ...decides } = spec;
  return createHash('sha256').update(JSON.stringify({ format: FORMAT, images, ...decides })).digest('hex').slice(0, 8);
}

/** The workload's disk image, written once. */
export function workloadImage(workload: Workload): string {
  const image = buildExt2({ entries: workload.entries, sizeMiB: IMAGE_MIB, label: 'kintsugi' });
  const folder = path.join(REPOSITORY_ROOT, '.kintsugi', 'images');
  const file = path.join(folder, `${workload.name.replace(':', '-')}-${createHash('sha256').update(image).digest('hex').slice(0, 16)}.img`);
  if (!existsSync(file)) {
    mkdirSync(folder, { recursive: true });
    writeSparse(`${file}.${process.pid}`, image);
    renameSync(`${file}.${process.pid}`, file);
  }
  return file;
}

/** Joins plan and result of one experiment. */
export function rowOf(campaign: string, point: Point, result: Result): Row {
  const { fault } = point, eip = fault && fault.eip >= 0 ? fault.eip : 0;
  const { symbol, line } = eip > 0 ? moduleOf(point.target).place(eip) : { symbol: '', line: '' };
  return {
    id: `${campaign}:${point.index}`, index: point.index, outcome: result.outcome, target: point.target, model: point.model, detail: fault?.detail ?? '', instruction: fault?.offset ?? 0,
    eip, symbol, line, detectInstructions: result.detectInstructions ?? null, detectedIn: result.detectedIn ?? null, recoverInstructions: result.recoverInstructions ?? null,
    restarts: result.restarts, stateHash: result.stateHash, ended: result.ended, note: result.note,
  };
}

export class Store {
  readonly id: string;
  readonly folder: string;
  readonly #db: DatabaseSync;

  private constructor(id: string, folder: string) {
    this.id = id;
    this.folder = folder;
    this.#db = new DatabaseSync(path.join(folder, 'results.sqlite'));
    this.#db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 5000;
      CREATE TABLE IF NOT EXISTS campaign (key TEXT PRIMARY KEY, value TEXT NOT NULL);
      CREATE TABLE IF NOT EXISTS run (idx INTEGER PRIMARY KEY, outcome TEXT NOT NULL, target TEXT NOT NULL, model TEXT NOT NULL, detail TEXT NOT NULL, instruction INTEGER NOT NULL, eip INTEGER NOT NULL,
        symbol TEXT NOT NULL, line TEXT NOT NULL, detect_instructions INTEGER, detected_in TEXT, recover_instructions INTEGER, restarts INTEGER NOT NULL, state_hash TEXT NOT NULL, ended INTEGER NOT NULL, note TEXT NOT NULL);
      CREATE VIEW IF NOT EXISTS outcome_by_target AS SELECT target, model, outcome, count(*) AS runs FROM run GROUP BY target, model, outcome;`);
  }
  static create(id: string, spec: Spec, images: string, root = CAMPAIGNS): Store {
    const folder = path.join(root, id);
    mkdirSync(folder, { recursive: true });
    writeFileSync(path.join(folder, 'spec.json'), `${JSON.stringify(spec, null, 2)}\n`);
    const store = new Store(id, folder);
    store.#set('spec', JSON.stringify(spec));
    store.#set('images', images);
    return store;
  }
  /** An existing campaign by its id, or by the beginning of it. */
  static open(id: string, root = CAMPAIGNS): Store | undefined {
    const found = existsSync(root) ? readdirSync(root).filter((name) => name.startsWith(id) && existsSync(path.join(root, name, 'results.sqlite'))) : [];
    return found.length === 1 ? new Store(found[0]!, path.join(root, found[0]!)) : undefined;
  }
  #set(key: string, value: string): void { this.#db.prepare('INSERT OR REPLACE INTO campaign VALUES (?, ?)').run(key, value); }
  get(key: string): string | undefined { return (this.#db.prepare('SELECT value FROM campaign WHERE key = ?').get(key) as { value: string } | undefined)?.value; }
  get spec(): Spec { return JSON.parse(this.get('spec') ?? '{}') as Spec; }

  add(rows: readonly Row[]): void {
    const insert = this.#db.prepare(`INSERT OR REPLACE INTO run (${COLUMNS.join(', ')}) VALUES (${COLUMNS.map(() => '?').join(', ')})`);
    this.#db.exec('BEGIN');
    for (const r of rows) insert.run(r.index, r.outcome, r.target, r.model, r.detail, r.instruction, r.eip, r.symbol, r.line, r.detectInstructions, r.detectedIn, r.recoverInstructions, r.restarts, r.stateHash, r.ended, r.note);
    this.#db.exec('COMMIT');
  }
  /** Indices that have a result. Tool errors are tried again. */
  done(): Set<number> { return new Set((this.#db.prepare("SELECT idx FROM run WHERE outcome <> 'tool-error'").all() as { idx: number }[]).map(({ idx }) => idx)); }
  rows(): Row[] { return (this.#db.prepare('SELECT * FROM run ORDER BY idx').all() as unknown as Record<string, never>[]).map((raw) => this.#row(raw)); }
  row(index: number): Row | undefined {
    const raw = this.#db.prepare('SELECT * FROM run WHERE idx = ?').get(index) as unknown as Record<string, never> | undefined;
    return raw && this.#row(raw);
  }
  #row(r: Readonly<Record<string, never>>): Row {
    return {
      id: `${this.id}:${String(r['idx'])}`, index: r['idx']!, outcome: r['outcome']!, target: r['target']!, model: r['model']!, detail: r['detail']!, instruction: r['instruction']!, eip: r['eip']!, symbol: r['symbol']!, line: r['line']!,
      detectInstructions: r['detect_instructions']!, detectedIn: r['detected_in']!, recoverInstructions: r['recover_instructions']!, restarts: r['restarts']!, stateHash: r['state_hash']!, ended: r['ended']!, note: r['note']!,
    };
  }
  close(): void { this.#db.close(); }
}
