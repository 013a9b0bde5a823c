/**
 * Campaign specifications: checked by hand, so that every message names the field, what stands there, what may stand there, and the nearest
 * name where a name is wrong. The canonical form has every field; it is stored with the results and names the campaign.
 */
import { SERVERS } from '../../servers/protocols/startup.ts';
import { MODEL_GROUPS, MODELS } from './models/index.ts';
import type { Trigger } from './models/model.ts';
import { KERNEL } from './points.ts';
import { WORKLOADS, type WorkloadName } from './workloads.ts';

export interface Spec {
  readonly name: string;
  readonly targets: readonly string[];
  readonly models: readonly string[];
  readonly n: number;
  readonly seed: number;
  readonly trigger: Trigger;
  readonly workload: WorkloadName;
  readonly cpus: number;
  readonly scheduleSeed: number;
  readonly memoryMiB: number;
  /** Time bound of the servers' ordinary requests in ms of virtual time (`hang=` of the supervisor; fs has three times that); 0: their own, 5 s. */
  readonly boundMs: number;
}

/** What is wrong with a spec, as `field: reason`. */
export class SpecError extends Error {
  override readonly name = 'SpecError';
  readonly reason = 'spec';
  readonly status = 2;
  readonly field: string;
  constructor(field: string, why: string) { super(`${field}: ${why}`); this.field = field; }
}

const DRIVERS = ['uart0', 'uart1', 'virtio-blk', 'virtio-net'];
const SERVER_NAMES = SERVERS.filter((name) => name !== 'root');
export const TARGET_GROUPS: Readonly<Record<string, readonly string[]>> = {
  all: SERVER_NAMES, drivers: DRIVERS, servers: SERVER_NAMES.filter((name) => !DRIVERS.includes(name)),
};
/**
 * So that hangs are found within an experiment, not after thousands of golden runs: five million instructions are a hundred times what a request
 * takes. The golden run is refused when it restarts a server.
 */
export const DEFAULT_BOUND_MS = 5;
const TARGETS = [...SERVERS, KERNEL];
const FIELDS = ['$schema', 'name', 'target', 'model', 'n', 'seed', 'trigger', 'workload', 'cpus', 'scheduleSeed', 'memory', 'boundMs'];
const TRIGGERS: Readonly<Record<Trigger['kind'], readonly string[]>> = { uniform: [], instruction: ['number'], symbol: ['symbol', 'hit'], ipc: ['nth'], disk: ['nth'] };

/** Edit distance (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, n) => n);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next[j] = Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length]!;
}
function nearest(name: string, names: readonly string[]): string {
  const best = [...names].sort((a, b) => distance(name, a) - distance(name, b))[0];
  return best !== undefined && distance(name, best) <= Math.max(2, name.length / 2) ? `; did you mean "${best}"?` : '';
}
const show = (value: unknown): string => (value === undefined ? 'nothing' : JSON.stringify(value).slice(0, 60));

function whole(object: Readonly<Record<string, unknown>>, key: string, field: string, least: number, most: number, normally?: number): number {
  let value = object[key];
  if (value === undefined && normally !== undefined) return normally;
  if (typeof value === 'string' && /^0x[0-9a-f]+$/i.test(value)) value = Number(value);
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) throw new SpecError(field, `expected a whole number from ${least} to ${most}, found ${show(value)}`);
  return value;
}
function names(value: unknown, field: string, known: readonly string[], groups: Readonly<Record<string, readonly string[]>>): string[] {
  const list = typeof value === 'string' ? value.split(',') : value;
  if (!Array.isArray(list) || list.length === 0) throw new SpecError(field, `expected a name or a list of names, found ${show(value)}`);
  return [...new Set(list.flatMap((item: unknown, n) => {
    const where = list.length > 1 ? `${field}[${n}]` : field;
    if (typeof item !== 'string') throw new SpecError(where, `expected a name, found ${show(item)}`);
    const group = groups[item];
    if (group) return group;
    if (!known.includes(item)) throw new SpecError(where, `there is no "${item}"${nearest(item, [...known, ...Object.keys(groups)])} (known: ${[...known, ...Object.keys(groups)].join(', ')})`);
    return [item];
  }))];
}
const unknownKeys = (object: object, known: readonly string[], prefix: string): void => {
  for (const key of Object.keys(object)) if (!known.includes(key)) throw new SpecError(`${prefix}${key}`, `there is no such field${nearest(key, known)}`);
};

function parseTrigger(value: unknown): Trigger {
  if (value === undefined) return { kind: 'uniform' };
  if (typeof value !== 'object' || value === null) throw new SpecError('trigger', `expected an object with a "kind", found ${show(value)}`);
  const object = value as Record<string, unknown>, kind = object['kind'];
  if (typeof kind !== 'string' || !(kind in TRIGGERS)) throw new SpecError('trigger.kind', `expected one of ${Object.keys(TRIGGERS).join(', ')}, found ${show(kind)}${typeof kind === 'string' ? nearest(kind, Object.keys(TRIGGERS)) : ''}`);
  unknownKeys(object, ['kind', ...TRIGGERS[kind as Trigger['kind']]], 'trigger.');
  const count = (key: string, least: number): number => whole(object, key, `trigger.${key}`, least, 2 ** 31);
  switch (kind as Trigger['kind']) {
    case 'uniform': return { kind: 'uniform' };
    case 'instruction': return { kind: 'instruction', number: count('number', 0) };
    case 'ipc': return { kind: 'ipc', nth: count('nth', 1) };
    case 'disk': return { kind: 'disk', nth: count('nth', 1) };
    case 'symbol': {
      if (typeof object['symbol'] !== 'string' || object['symbol'] === '') throw new SpecError('trigger.symbol', `expected the name of a function, found ${show(object['symbol'])}`);
      return { kind: 'symbol', symbol: object['symbol'], hit: object['hit'] === undefined ? 1 : count('hit', 1) };
    }
  }
}

/** Checks a parsed JSON document. Throws SpecError. */
export function parseSpec(value: unknown): Spec {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new SpecError('(document)', `expected a JSON object, found ${show(value)}`);
  const object = value as Record<string, unknown>;
  unknownKeys(object, FIELDS, '');
  const targets = names(object['target'], 'target', TARGETS, TARGET_GROUPS), models = names(object['model'], 'model', [...MODELS.keys()], MODEL_GROUPS);
  if (targets.includes(KERNEL)) for (const name of models) if (!MODELS.get(name)!.kernel) throw new SpecError('model', `${name} does not apply to the kernel`);
  const workload = object['workload'] ?? 'files';
  if (typeof workload !== 'string' || !(WORKLOADS as readonly string[]).includes(workload)) throw new SpecError('workload', `there is no workload ${show(workload)}${typeof workload === 'string' ? nearest(workload, WORKLOADS) : ''} (known: ${WORKLOADS.join(', ')})`);
  if (object['name'] !== undefined && typeof object['name'] !== 'string') throw new SpecError('name', `expected a text, found ${show(object['name'])}`);
  return {
    name: (object['name'] as string | undefined) ?? `${targets.join('+')} ${models.join('+')}`, targets, models,
    n: whole(object, 'n', 'n', 1, 10_000_000), seed: whole(object, 'seed', 'seed', 0, 2 ** 31 - 1, 1), trigger: parseTrigger(object['trigger']), workload: workload as WorkloadName,
    cpus: whole(object, 'cpus', 'cpus', 1, 8, 1), scheduleSeed: whole(object, 'scheduleSeed', 'scheduleSeed', 0, 2 ** 31 - 1, 0), memoryMiB: whole(object, 'memory', 'memory', 128, 512, 128),
    boundMs: whole(object, 'boundMs', 'boundMs', 0, 60_000, DEFAULT_BOUND_MS),
  };
}
/** A spec file's text, its fields unchecked. */
export function parseSpecJson(text: string, file: string): Record<string, unknown> {
  let value: unknown;
  try { value = JSON.parse(text); } catch (error) { throw new SpecError(file, `not JSON: ${(error as Error).message}`); }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new SpecError(file, `expected a JSON object, found ${show(value)}`);
  return value as Record<string, unknown>;
}
