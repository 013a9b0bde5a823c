/** What a campaign says: a table for people, an object for programs. No proportion without its interval. */
import type { CampaignReport } from './campaign.ts';
import { MEANING, OUTCOMES, type Outcome } from './outcome.ts';
import { quantile, wilson } from './statistics.ts';
import type { Row } from './store.ts';

export interface JsonReport {
  readonly id: string;
  readonly n: number;
  readonly seed: number;
  readonly outcomes: Readonly<Record<Outcome, number>>;
  /** Experiments per second of host time in this run (0: all were in the record), CPU time of one. */
  readonly perSecond: number;
  readonly cpuMsPerExperiment: number;
  readonly goldenInstructions: number;
  readonly targetInstructions: Readonly<Record<string, number>>;
  readonly idleTargets: readonly string[];
  readonly rows: readonly Pick<Row, 'id' | 'outcome' | 'instruction' | 'symbol' | 'line' | 'target' | 'model' | 'detail' | 'detectInstructions' | 'detectedIn' | 'recoverInstructions' | 'restarts' | 'stateHash' | 'note'>[];
}

export function countOutcomes(rows: readonly Row[]): Record<Outcome, number> {
  const counts = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0])) as Record<Outcome, number>;
  for (const { outcome } of rows) counts[outcome]++;
  return counts;
}

export function jsonReport(report: CampaignReport): JsonReport {
  return {
    id: report.id, n: report.rows.length, seed: report.spec.seed, outcomes: countOutcomes(report.rows),
    perSecond: report.ran > 0 ? round(report.ran / report.seconds, 2) : 0, cpuMsPerExperiment: report.ran > 0 ? round((report.cpuSeconds * 1000) / report.ran, 2) : 0,
    goldenInstructions: report.golden, targetInstructions: Object.fromEntries(report.instructions), idleTargets: report.idle,
    rows: report.rows.map(({ id, outcome, instruction, symbol, line, target, model, detail, detectInstructions, detectedIn, recoverInstructions, restarts, stateHash, note }) =>
      ({ id, outcome, instruction, symbol, line, target, model, detail, detectInstructions, detectedIn, recoverInstructions, restarts, stateHash, note })),
  };
}
const round = (value: number, digits: number): number => Math.round(value * 10 ** digits) / 10 ** digits;
const thousands = (value: number): string => value.toLocaleString('en-US');
const percent = (value: number): string => `${(value * 100).toFixed(1)} %`;

function table(rows: readonly (readonly string[])[], left: readonly number[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => row.map((cell, column) => (left.includes(column) ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join('  ').trimEnd());
}

/** How many rows that need looking at are listed. */
const LISTED = 12;
const SERIOUS: readonly Outcome[] = ['tool-error', 'kernel-crash', 'crash-loop', 'hang', 'sdc', 'failstop'];

export function textReport(report: CampaignReport): string {
  const { rows, spec } = report, counts = countOutcomes(rows), n = rows.length, lines: string[] = [];
  lines.push(`campaign ${report.id}  ${spec.name}  n ${n}  seed ${spec.seed}`);
  lines.push(`golden run ${thousands(report.golden)} instructions, of these ${[...report.instructions].filter(([, count]) => count > 0).map(([name, count]) => `${name} ${thousands(count)}`).join(', ')}`);
  if (report.idle.length > 0) lines.push(`idle in this workload, not struck: ${report.idle.join(', ')}`);
  lines.push('', ...table([['outcome', 'n', 'share', '95 % interval', ''], ...OUTCOMES.filter((outcome) => counts[outcome] > 0).map((outcome) => {
    const { low, high } = wilson(counts[outcome], n);
    return [outcome, String(counts[outcome]), percent(counts[outcome] / n), `${percent(low)} - ${percent(high)}`, MEANING[outcome]];
  })], [0, 4]));
  const seen = OUTCOMES.filter((outcome) => counts[outcome] > 0);
  for (const [what, key] of [['target', 'target'], ['model', 'model']] as const) {
    const names = [...new Set(rows.map((row) => row[key]))];
    if (names.length < 2) continue;
    lines.push('', ...table([[what, 'n', ...seen], ...names.map((name) => {
      const of = rows.filter((row) => row[key] === name), own = countOutcomes(of);
      return [name, String(of.length), ...seen.map((outcome) => (own[outcome] === 0 ? '.' : String(own[outcome])))];
    })], [0]));
  }
  const detected = rows.flatMap(({ detectInstructions }) => (detectInstructions === null ? [] : [detectInstructions]));
  const recovered = rows.flatMap(({ recoverInstructions }) => (recoverInstructions === null ? [] : [recoverInstructions]));
  const figure = (values: readonly number[]): string => `median ${thousands(quantile(values, 0.5)!)}, p99 ${thousands(quantile(values, 0.99)!)} instructions (${values.length})`;
  lines.push('');
  if (detected.length > 0) lines.push(`fault to first exception     ${figure(detected)}`);
  if (recovered.length > 0) lines.push(`exception to all servers up  ${figure(recovered)}`);
  if (report.ran > 0) lines.push(`${report.ran} experiments in ${report.seconds.toFixed(1)} s: ${(report.ran / report.seconds).toFixed(1)} per second, ${((report.cpuSeconds * 1000) / report.ran).toFixed(1)} ms of CPU time each`);
  const serious = rows.filter(({ outcome }) => SERIOUS.includes(outcome)).sort((a, b) => OUTCOMES.indexOf(a.outcome) - OUTCOMES.indexOf(b.outcome) || a.index - b.index);
  if (serious.length > 0) {
    lines.push('', ...table([['to look at', 'outcome', 'target', 'model', 'what', 'where'], ...serious.slice(0, LISTED).map((row) => [row.id, row.outcome, row.target, row.model, row.detail, row.line || row.symbol])], [0, 1, 2, 3, 4, 5]));
    if (serious.length > LISTED) lines.push(`... and ${serious.length - LISTED} more, in .kintsugi/campaigns/${report.id}/results.sqlite`);
    lines.push(`./kintsugi replay ${serious[0]!.id}`);
  }
  return `${lines.join('\n')}\n`;
}

/** What is not a success of recovery. */
const FAILURES: readonly Outcome[] = ['tool-error', 'kernel-crash', 'crash-loop', 'hang', 'sdc', 'failstop', 'degraded'];
/**
 * Every failure of a campaign by class, target and model, as Markdown for the record: the numbers behind `<campaign>:`. The spec and the hash of the
 * images stand above it; with both anyone can run the row again.
 */
export function failureList(report: CampaignReport): string {
  const { rows, spec, id, images } = report, lines = [`# Campaign ${id}`, '', `Images ${images.slice(0, 16)}. Spec:`, '', '```json', JSON.stringify(spec), '```', '', `A number below stands for the row id \`${id}:number\`.`];
  for (const outcome of FAILURES) {
    const of = rows.filter((row) => row.outcome === outcome);
    if (of.length === 0) { lines.push('', `## ${outcome}: none`); continue; }
    const groups = new Map<string, number[]>();
    for (const { target, model, index } of of) groups.set(`${target} | ${model}`, [...groups.get(`${target} | ${model}`) ?? [], index]);
    lines.push('', `## ${outcome}: ${of.length} of ${rows.length}`, '', `${MEANING[outcome]}.`, '', '| target | model | n | rows |', '|---|---|---|---|', ...[...groups].sort(([a], [b]) => (a < b ? -1 : 1)).map(([group, indices]) => `| ${group} | ${indices.length} | ${indices.join(', ')} |`));
  }
  return `${lines.join('\n')}\n`;
}

/** One row, every field. */
export function textRow(row: Row): string {
  const fields: [string, string][] = [
    ['id', row.id], ['outcome', `${row.outcome}: ${MEANING[row.outcome]}`], ['target', row.target], ['model', row.model], ['what', row.detail],
    ['instruction', thousands(row.instruction)], ['where', row.eip > 0 ? `${row.symbol}  ${row.line}  (0x${row.eip.toString(16)})` : '-'],
    ['detected', row.detectInstructions === null ? '-' : `after ${thousands(row.detectInstructions)} instructions, in ${row.detectedIn ?? '?'}`],
    ['recovered', row.recoverInstructions === null ? '-' : `${thousands(row.recoverInstructions)} instructions later`],
    ['restarts', String(row.restarts)], ['ended', `after ${thousands(row.ended)} instructions`], ['state hash', row.stateHash || '-'], ['note', row.note || '-'],
  ];
  return `${fields.map(([name, value]) => `${name.padEnd(12)} ${value}`).join('\n')}\n`;
}
