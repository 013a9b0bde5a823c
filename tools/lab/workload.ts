/**
 * Workloads whose right result the host knows. `files`: shell steps over the file system, each of which prints its own name when it is done and
 * `FAILED name` when a program told an error; and the model of what each step prints and leaves behind.
 *
 * The verdict on a finished run says two things apart: `errors` (a program saw an error: a step failed, a message on stderr, a bad exit
 * status) and `wrong` (something that was told done is not so: output, a file, a file that nobody touched, the structure of the volume).
 * A path counts as known when every step that touches it is done.
 */
import { createHash } from 'node:crypto';
import { rootEntries } from '../build/rootfs.ts';
import { PROGRAMS } from '../build/targets.ts';
import type { Entry } from '../image/entries.ts';
import { Ext2Reader } from '../image/reader.ts';
import type { Rule } from './net-peer.ts';

export interface Step {
  readonly name: string;
  /** Commands joined by &&; no output but what `output` says. */
  readonly commands: readonly string[];
  readonly output?: string;
  /** Contents that files have afterwards; null = gone, 'directory'. */
  readonly leaves: Readonly<Record<string, Uint8Array | null | 'directory'>>;
}
/** The gateway as it is, or a rule of the sweep's peer. */
export type LabNet = 'user' | Rule;
export interface Verdict { readonly errors: boolean; readonly wrong: boolean; /** What is wrong or was told, one line each. */ readonly notes: readonly string[] }
export interface Finished { readonly stdout: string; readonly stderr: string; readonly exit: number | undefined; /** The final image; undefined = as after the golden run. */ readonly image: Uint8Array | undefined }

/** What runs on the machine, what it needs on the disk, what it prints without a fault (the first line is `begin`), and who judges it. */
export interface Workload {
  readonly name: string;
  readonly command: readonly string[];
  readonly entries: readonly Entry[];
  readonly stdout: string;
  /** What the NIC is plugged into: the deterministic gateway, or that of a sweep with a rule (net-peer.ts). Absent: no NIC. */
  readonly net?: LabNet;
  judge(finished: Finished): Verdict;
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const sumLine = (bytes: Uint8Array, path: string): string => `${sha(bytes)}  ${path}\n`;

/** About two million instructions: a file made and appended to, one copied and moved into a new directory, both checksummed. */
export function filesWorkload(): Workload {
  const motd = fileOf('/etc/motd');
  const notes = utf8('one two three\nfour five six\n');
  return stepsWorkload('files', [
    { name: 'write', commands: ['echo one two three > /tmp/notes'], leaves: { '/tmp/notes': utf8('one two three\n') } },
    { name: 'append', commands: ['echo four five six >> /tmp/notes'], leaves: { '/tmp/notes': notes } },
    { name: 'copy', commands: ['cp /etc/motd /tmp/copy'], leaves: { '/tmp/copy': motd } },
    { name: 'rename', commands: ['mkdir /tmp/d', 'mv /tmp/copy /tmp/d/moved'], leaves: { '/tmp/copy': null, '/tmp/d': 'directory', '/tmp/d/moved': motd } },
    { name: 'sum', commands: ['sha256sum /tmp/d/moved /tmp/notes'], output: sumLine(motd, '/tmp/d/moved') + sumLine(notes, '/tmp/notes'), leaves: {} },
  ]);
}

let base: readonly Entry[] | undefined;
const baseEntries = (): readonly Entry[] => base ??= rootEntries(PROGRAMS);
function fileOf(path: string): Uint8Array {
  const entry = baseEntries().find((candidate) => candidate.path === path);
  if (entry?.kind !== 'file') throw new Error(`the root file system has no ${path}`);
  return entry.data;
}

export const BEGIN = 'begin';
/** Steps that a program does by itself, each told by its name behind its output or by `FAILED name`. */
export function programWorkload(name: string, command: readonly string[], net: LabNet, steps: readonly Step[], last: string): Workload {
  const entries = baseEntries(), stdout = [`${BEGIN}\n`, ...steps.map((step) => `${step.output ?? ''}${step.name}\n`), last].join('');
  return { name, command, entries, stdout, net, judge: (finished) => judgeSteps(steps, stdout, entries, finished, last) };
}
/** A shell script of steps as a workload. */
export function stepsWorkload(name: string, steps: readonly Step[]): Workload {
  const script = [`echo ${BEGIN}`, ...steps.map((step) => `${step.commands.join(' && ')} && echo ${step.name} || echo FAILED ${step.name}`), ''].join('\n');
  const path = '/etc/workload';
  const entries: Entry[] = [...baseEntries(), { kind: 'file', path, data: utf8(script), mode: 0o644 }];
  const stdout = [`${BEGIN}\n`, ...steps.map((step) => `${step.output ?? ''}${step.name}\n`)].join('');
  return { name, command: ['sh', path], entries, stdout, judge: (finished) => judgeSteps(steps, stdout, entries, finished) };
}
/** The root file system with more in it. */
export const withBase = (entries: readonly Entry[]): readonly Entry[] => [...baseEntries(), ...entries];

/** Judges a run of steps that has ended. */
function judgeSteps(steps: readonly Step[], stdout: string, entries: readonly Entry[], finished: Finished, last = ''): Verdict {
  const notes: string[] = [];
  let wrong = false, errors = false;
  const isWrong = (note: string): void => { wrong = true; notes.push(note); };
  const told = (note: string): void => { errors = true; notes.push(note); };
  if (finished.exit === undefined) told('no exit status'); else if (finished.exit !== 0) told(`exit status ${finished.exit}`);
  if (finished.stderr !== '') told(`stderr: ${finished.stderr.trim().split('\n')[0]}`);

  const done = new Set<string>();
  if (finished.stdout === stdout) for (const { name } of steps) done.add(name);
  else {
    let rest = finished.stdout;
    const take = (text: string): boolean => { if (text !== '' && !rest.startsWith(text)) return false; rest = rest.slice(text.length); return true; };
    if (!take(`${BEGIN}\n`)) isWrong('the first line is wrong');
    for (const { name, output } of steps) {
      if (take(`${output ?? ''}${name}\n`)) { done.add(name); continue; }
      const failed = rest.indexOf(`FAILED ${name}\n`);
      // What a failing step printed before it failed must be lines of what it should print.
      if (failed >= 0 && rest.slice(0, failed).split('\n').every((line) => line === '' || (output ?? '').split('\n').includes(line))) { rest = rest.slice(failed); take(`FAILED ${name}\n`); told(`step ${name} failed`); continue; }
      if (!errors) isWrong(`step ${name}: output wrong or missing`);
      else notes.push(`step ${name}: nothing told`);
    }
    if (last !== '' && !take(last)) { if (errors) notes.push('the end is missing'); else isWrong('the end is missing'); }
    if (rest !== '') { if (done.size === steps.length || !errors) isWrong(`more output: ${JSON.stringify(rest.slice(0, 60))}`); else notes.push('output behind the last step told'); }
  }

  const leaves = new Map<string, FileState>(), unknown = new Set<string>();
  for (const { name, leaves: after } of steps) {
    for (const [path, content] of Object.entries(after)) if (done.has(name)) leaves.set(path, content); else unknown.add(path);
  }
  if (finished.image) for (const note of checkImage(entries, leaves, unknown, finished.image)) isWrong(note);
  return { errors, wrong, notes };
}

/** null: must not exist. */
export type FileState = Uint8Array | null | 'directory';
/** What is not as it must be: the files of `entries`, changed by `leaves`, and nothing else but paths in `unknown`. */
export function checkImage(entries: readonly Entry[], leaves: ReadonlyMap<string, FileState>, unknown: ReadonlySet<string>, image: Uint8Array): string[] {
  const notes: string[] = [];
  const expected = new Map<string, FileState>();
  for (const entry of entries) if (entry.kind === 'file') expected.set(entry.path, entry.data); else if (entry.kind === 'directory') expected.set(entry.path, 'directory');
  for (const [path, content] of leaves) expected.set(path, content);
  let reader: Ext2Reader, found: Map<string, { kind: string; inode: number }>;
  try {
    reader = new Ext2Reader(image);
    notes.push(...reader.verify().slice(0, 3));
    found = new Map([...reader.walk()].map(({ path, kind, inode }) => [path, { kind, inode }]));
  } catch (error) { return [`volume: ${(error as Error).message}`]; }
  for (const [path, content] of expected) {
    if (unknown.has(path)) continue;
    const entry = found.get(path);
    if (content === null) { if (entry) notes.push(`${path} should be gone`); continue; }
    if (!entry) { notes.push(`${path} is missing`); continue; }
    if (content === 'directory') { if (entry.kind !== 'directory') notes.push(`${path} is no directory`); continue; }
    try { if (Buffer.compare(reader.content(entry.inode), content) !== 0) notes.push(`${path} has wrong content`); }
    catch (error) { notes.push(`${path}: ${(error as Error).message}`); }
  }
  for (const path of found.keys()) if (!expected.has(path) && !unknown.has(path) && path !== '/' && path !== '/lost+found') notes.push(`${path} should not be there`);
  return notes;
}
