/** What was collected, by server, function or TypeScript line, and the table a person reads. */
import { locate } from '../build/debug.ts';
import type { Collected, Party } from './collect.ts';

export const GROUPINGS = ['server', 'function', 'line'] as const;
export type Grouping = (typeof GROUPINGS)[number];

export interface Row {
  readonly server: string;
  /** '' by server; an address in brackets where there are no symbols. */
  readonly function: string;
  /** Of the line; by function: where it is defined. '' = hand-written code. */
  readonly file: string;
  readonly line: number;
  /** Executed there itself. Exact. */
  readonly instructions: number;
  /** By function: times it was entered, exact. */
  readonly calls?: number;
  /** With what it called, from the samples, instructions. By function and server only. */
  readonly inclusive?: number;
}

/** Rows with the most instructions first; their sum is `collected.counted`. */
export function rowsOf(collected: Collected, by: Grouping): Row[] {
  const rows = collected.parties.flatMap((party) => [...partyRows(party, by).values()]);
  const inclusive = by === 'line' ? undefined : inclusiveOf(collected, by);
  return rows.map((row) => (inclusive ? { ...row, inclusive: inclusive.get(by === 'server' ? row.server : `${row.server}\0${row.function}`) ?? 0 } : row))
    .sort((a, b) => b.instructions - a.instructions || (a.server + a.function < b.server + b.function ? -1 : 1) || a.line - b.line);
}

type Open = { -readonly [K in keyof Row]: Row[K] };
function partyRows({ name: server, module, blocks }: Party, by: Grouping): Map<string, Row> {
  const rows = new Map<string, Open>(), { debug } = module;
  const row = (key: string, make: () => Partial<Open>): Open => {
    let found = rows.get(key);
    if (!found) rows.set(key, found = { server, function: '', file: '', line: 0, instructions: 0, ...make() });
    return found;
  };
  const functionRow = (eip: number, known: boolean): Open => {
    const at = known && debug ? locate(debug, eip) : undefined;
    if (!at) return row('?', () => ({ function: '[no symbols]', calls: 0 }));
    return row(at.name, () => { const first = locate(debug!, eip - at.offset)!; return { function: at.name, file: first.file, line: first.line, calls: 0 }; });
  };
  for (const block of blocks.values()) {
    const known = block.owner >= 0 && debug !== undefined;
    if (by === 'server' || !known) {
      const into = by === 'server' ? row('', () => ({})) : by === 'function' ? functionRow(block.eip, false) : row('?', () => ({ function: '[no symbols]' }));
      for (const [n, times] of block.runs()) into.instructions += n * times;
      continue;
    }
    if (by === 'function') functionRow(block.eip, true).calls! += block.calls;
    for (const [n, times] of block.runs()) {
      let eip = block.eip;
      for (let done = 0; done < n;) {
        const insn = module.instruction(eip), at = locate(debug, eip);
        // What a REP did more than its block's other instructions are iterations; the same where nothing can be decoded.
        const count = !insn || (insn.entry.str && insn.rep) ? n - done : 1;
        // Instruction by instruction: a hand-written block may go on in the next function.
        const into = by === 'function' ? functionRow(eip, at !== undefined)
          : row(at ? `${at.name}\0${at.file}:${at.line}` : '?', () => (at ? { function: at.name, file: at.file, line: at.line } : { function: '[no symbols]' }));
        into.instructions += count * times;
        done += count;
        eip += insn?.length ?? 0;
      }
    }
  }
  for (const [key, { instructions }] of rows) if (instructions === 0) rows.delete(key);
  return rows;
}

/** Weight of the samples whose stack has the function (the server) anywhere. */
function inclusiveOf({ frames, stacks, samples }: Collected, by: 'server' | 'function'): Map<string, number> | undefined {
  if (samples.length === 0) return undefined;
  const weights = new Float64Array(stacks.length), out = new Map<string, number>();
  for (const { stack, weight } of samples) weights[stack]! += weight;
  stacks.forEach((stack, n) => {
    // The root frame is the server itself.
    const names = new Set((by === 'server' ? stack.slice(0, 1) : stack.slice(1)).map((frame) => { const { party, name } = frames[frame]!; return by === 'server' ? party : `${party}\0${name}`; }));
    if (by === 'server') for (const frame of stack.slice(1)) names.add(frames[frame]!.party);
    for (const name of names) out.set(name, (out.get(name) ?? 0) + weights[n]!);
  });
  return out;
}

const grouped = (n: number): string => Math.round(n).toLocaleString('en-US');
/** `top` rows and what is left. */
export function table(collected: Collected, rows: readonly Row[], by: Grouping, top: number): string {
  const total = collected.counted, percent = (n: number): string => (total === 0 ? '-' : (n / total * 100).toFixed(2));
  const calls = by === 'function', inclusive = by !== 'line' && collected.samples.length > 0;
  const head = ['%', 'instructions', ...(calls ? ['calls'] : []), ...(inclusive ? ['incl. %'] : []), 'server'];
  const lines: string[][] = rows.slice(0, top).map((row) => [
    percent(row.instructions), grouped(row.instructions), ...(calls ? [grouped(row.calls ?? 0)] : []), ...(inclusive ? [`~${percent(row.inclusive ?? 0)}`] : []), row.server,
  ]);
  const rest = rows.slice(top), restSum = rest.reduce((sum, { instructions }) => sum + instructions, 0), blanks = [...(calls ? [''] : []), ...(inclusive ? [''] : [])];
  if (rest.length > 0) lines.push([percent(restSum), grouped(restSum), ...blanks, `${rest.length} more`]);
  lines.push([total === 0 ? '-' : '100.00', grouped(total), ...blanks, 'total']);
  const what = (row: Row | undefined): string => {
    if (!row || by === 'server') return '';
    const at = row.file === '' ? '' : `${row.file}:${row.line}`;
    return by === 'line' ? (at === '' ? row.function : `${at}  ${shortName(row.function)}`) : row.function;
  };
  const widths = head.map((title, n) => Math.max(title.length, ...lines.map((line) => line[n]!.length)));
  const print = (cells: readonly string[], last: string): string => cells.map((cell, n) => (n === cells.length - 1 ? cell.padEnd(widths[n]!) : cell.padStart(widths[n]!))).join('  ').concat('  ', last).trimEnd();
  return [print(head, by === 'server' ? '' : by), ...lines.map((line, n) => print(line, n < Math.min(top, rows.length) ? what(rows[n]) : '')), ''].join('\n');
}
const shortName = (name: string): string => name.slice(name.lastIndexOf('/') + 1);

/** Who made which system calls, `top` of them and the rest. Empty when there were none. */
export function systemCallTable({ systemCalls }: Pick<Collected, 'systemCalls'>, top: number): string {
  if (systemCalls.length === 0) return '';
  const sum = (rows: Collected['systemCalls']): number => rows.reduce((total, { count }) => total + count, 0), rest = systemCalls.slice(top), width = Math.max(12, grouped(sum(systemCalls)).length);
  const line = (count: number, what: string): string => `${grouped(count).padStart(width)}  ${what}`, server = Math.max(...systemCalls.map((row) => row.server.length));
  return ['system calls'.padStart(width), ...systemCalls.slice(0, top).map((row) => line(row.count, `${row.server.padEnd(server)}  ${row.call}`)), ...(rest.length > 0 ? [line(sum(rest), `${rest.length} more`)] : []), line(sum(systemCalls), 'total'), ''].join('\n');
}
