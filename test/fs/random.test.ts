/**
 * Random operation sequences against a model: results, error numbers, contents and e2fsck must agree - with a cache too small for the
 * volume, and with the server dying at random points (window, device request, also during its own recovery) under the same sequences.
 */
import { afterAll, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ext2Reader } from '../../tools/image/reader.ts';
import { buildExt2 } from '../../tools/image/writer.ts';
import { FileServer } from './machine.ts';
import { e2fsck, haveE2fsprogs, pattern } from './helpers.ts';

// ---- the model: a tree of nodes; files may have several names ------------------------------------------------------------------------
interface File { kind: 'file'; data: Uint8Array; links: number }
interface Link { kind: 'symlink'; target: string }
interface Directory { kind: 'directory'; children: Map<string, Node> }
type Node = File | Link | Directory;
class Failure extends Error {}
const fail = (code: string): never => { throw new Failure(code); };

class Model {
  readonly root: Directory = { kind: 'directory', children: new Map([['lost+found', { kind: 'directory', children: new Map() } as Directory]]) };
  #find(path: string): { parent: Directory; name: string; node: Node | undefined } {
    const parts = path.split('/').filter(Boolean);
    let node: Node = this.root;
    for (const part of parts.slice(0, -1)) {
      if (node.kind !== 'directory') return fail('ENOTDIR');
      const next: Node | undefined = node.children.get(part);
      if (next === undefined) return fail('ENOENT');
      if (next.kind === 'symlink') return fail('ENOENT'); // the generator's symlinks dangle
      node = next;
    }
    if (node.kind !== 'directory') return fail('ENOTDIR');
    const name = parts.at(-1)!;
    return { parent: node, name, node: node.children.get(name) };
  }
  create(path: string): void {
    const { parent, name, node } = this.#find(path);
    if (node === undefined) parent.children.set(name, { kind: 'file', data: new Uint8Array(0), links: 1 });
    else if (node.kind === 'directory') fail('EISDIR');
    else if (node.kind === 'symlink') fail('ELOOP');
  }
  file(path: string): File {
    const { node } = this.#find(path);
    if (node === undefined) return fail('ENOENT');
    if (node.kind === 'directory') return fail('EISDIR');
    if (node.kind === 'symlink') return fail('EINVAL');
    return node;
  }
  write(path: string, position: number, data: Uint8Array): void {
    const file = this.file(path);
    if (data.length > 0 && position + data.length > file.data.length) { const grown = new Uint8Array(position + data.length); grown.set(file.data); file.data = grown; }
    if (data.length > 0) file.data.set(data, position);
  }
  truncate(path: string, size: number): void { const file = this.file(path), cut = new Uint8Array(size); cut.set(file.data.subarray(0, size)); file.data = cut; }
  mkdir(path: string): void { const { parent, name, node } = this.#find(path); if (node !== undefined) fail('EEXIST'); parent.children.set(name, { kind: 'directory', children: new Map() }); }
  symlink(path: string, target: string): void { const { parent, name, node } = this.#find(path); if (node !== undefined) fail('EEXIST'); parent.children.set(name, { kind: 'symlink', target }); }
  unlink(path: string): void {
    const { parent, name, node } = this.#find(path);
    if (node === undefined) return fail('ENOENT');
    if (node.kind === 'directory') fail('EISDIR');
    if (node.kind === 'file') node.links--;
    parent.children.delete(name);
  }
  rmdir(path: string): void {
    const { parent, name, node } = this.#find(path);
    if (node === undefined) return fail('ENOENT');
    if (node.kind !== 'directory') return fail('ENOTDIR');
    if (node.children.size > 0) fail('ENOTEMPTY');
    parent.children.delete(name);
  }
  link(from: string, to: string): void {
    const source = this.#find(from).node;
    if (source === undefined) return fail('ENOENT');
    if (source.kind === 'directory') return fail('EPERM');
    const { parent, name, node } = this.#find(to);
    if (node !== undefined) fail('EEXIST');
    if (source.kind === 'file') source.links++;
    parent.children.set(name, source);
  }
  rename(from: string, to: string): void {
    const old = this.#find(from), source = old.node;
    if (source === undefined) return fail('ENOENT');
    const target = this.#find(to);
    if (target.node === source) return;
    if (source.kind === 'directory' && `${to}/`.startsWith(`${from}/`)) fail('EINVAL');
    if (target.node !== undefined) {
      if (target.node.kind === 'directory') { if (source.kind !== 'directory') fail('EISDIR'); if (target.node.children.size > 0) fail('ENOTEMPTY'); }
      else if (source.kind === 'directory') fail('ENOTDIR');
      if (target.node.kind === 'file') target.node.links--;
    }
    old.parent.children.delete(old.name);
    target.parent.children.set(target.name, source);
  }
}

// ---- operations ---------------------------------------------------------------------------------------------------------------------
type Step =
  | { op: 'create' | 'mkdir' | 'unlink' | 'rmdir' | 'read' | 'symlink'; path: string; long: boolean }
  | { op: 'write'; path: string; position: number; bytes: number; seed: number }
  | { op: 'truncate'; path: string; size: number }
  | { op: 'link' | 'rename'; path: string; to: string }
  | { op: 'sync' };
const NAMES = ['a', 'b', 'c', 'dd', 'eee'.repeat(20)];
const path = fc.array(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 3 }).map((parts) => '/' + parts.join('/'));
const position = fc.oneof({ weight: 3, arbitrary: fc.nat(5000) }, { weight: 2, arbitrary: fc.nat(200_000) }, { weight: 1, arbitrary: fc.nat(2_000_000) });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constantFrom('create', 'mkdir', 'unlink', 'rmdir', 'read', 'symlink'), path, long: fc.boolean() }) as fc.Arbitrary<Step> },
  { weight: 5, arbitrary: fc.record({ op: fc.constant('write'), path, position, bytes: fc.oneof(fc.nat(3000), fc.nat(120_000)), seed: fc.nat(255) }) as fc.Arbitrary<Step> },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('truncate'), path, size: position }) as fc.Arbitrary<Step> },
  { weight: 4, arbitrary: fc.record({ op: fc.constantFrom('link', 'rename', 'rename'), path, to: path }) as fc.Arbitrary<Step> },
  { weight: 1, arbitrary: fc.constant({ op: 'sync' } as Step) },
);

function attempt(work: () => void): string { try { work(); return 'ok'; } catch (error) { return (error as Error).message; } }
const target = (long: boolean): string => (long ? 'nowhere/'.repeat(20) : 'nowhere');

function onModel(model: Model, s: Step): void {
  switch (s.op) {
    case 'create': model.create(s.path); return;
    case 'mkdir': model.mkdir(s.path); return;
    case 'unlink': model.unlink(s.path); return;
    case 'rmdir': model.rmdir(s.path); return;
    case 'read': model.file(s.path); return;
    case 'symlink': model.symlink(s.path, target(s.long)); return;
    case 'write': model.write(s.path, s.position, pattern(s.seed, s.bytes)); return;
    case 'truncate': model.truncate(s.path, s.size); return;
    case 'link': model.link(s.path, s.to); return;
    case 'rename': model.rename(s.path, s.to); return;
    case 'sync': return;
  }
}
function onServer(fs: FileServer, model: Model, s: Step): void {
  switch (s.op) {
    case 'create': fs.open(1, s.path, 0x20040); fs.close(1); return;
    case 'mkdir': fs.mkdir(s.path); return;
    case 'unlink': fs.unlink(s.path); return;
    case 'rmdir': fs.rmdir(s.path); return;
    case 'symlink': fs.symlink(target(s.long), s.path); return;
    case 'link': fs.link(s.path, s.to); return;
    case 'rename': fs.rename(s.path, s.to); return;
    case 'sync': fs.sync(); return;
    case 'truncate': fs.truncate(fs.stat(s.path).inode, s.size); return;
    case 'write': {
      const inode = fs.stat(s.path).inode, data = pattern(s.seed, s.bytes);
      if (fs.write(inode, s.position, data) !== s.bytes) throw new Error('a short write');
      return;
    }
    case 'read': {
      const inode = fs.stat(s.path).inode, expected = model.file(s.path).data;
      const at = Math.max(0, expected.length - 5000), got = fs.read(inode, at, 6000);
      if (Buffer.compare(got, expected.subarray(at)) !== 0) throw new Error('read: other bytes');
      return;
    }
  }
}
function compare(fs: FileServer, directory: Directory, at: string): void {
  const entries = fs.readdir(fs.stat(at === '' ? '/' : at).inode).filter((entry) => entry.name !== '.' && entry.name !== '..');
  expect(entries.map((entry) => entry.name).sort()).toEqual([...directory.children.keys()].sort());
  for (const [name, node] of directory.children) {
    const full = `${at}/${name}`;
    if (node.kind === 'directory') compare(fs, node, full);
    else if (node.kind === 'symlink') expect(fs.readlink(full)).toBe(node.target);
    else {
      expect(fs.stat(full)).toMatchObject({ size: node.data.length, links: node.links });
      expect(Buffer.compare(fs.readWhole(full), node.data), full).toBe(0);
    }
  }
}
function judge(fs: FileServer): void {
  fs.sync();
  expect(new Ext2Reader(fs.disk).verify()).toEqual([]);
  expect(new Ext2Reader(fs.disk).clean).toBe(true);
  if (!haveE2fsprogs()) return;
  const folder = mkdtempSync(join(tmpdir(), 'kintsugi-fs-'));
  try { writeFileSync(join(folder, 'disk'), fs.disk); e2fsck(join(folder, 'disk')); } finally { rmSync(folder, { recursive: true }); }
}
async function play(steps: readonly Step[], blockSize: 1024 | 4096, cacheBytes: number, deaths: readonly number[]): Promise<void> {
  const fs = await FileServer.start(buildExt2({ entries: [], sizeMiB: 12, blockSize }), { cacheBytes }), model = new Model();
  let next = 0;
  for (const s of steps) {
    if (next < deaths.length && fs.countdown === Infinity) fs.countdown = deaths[next++]! + 1;
    const expected = attempt(() => onModel(model, s)), got = attempt(() => onServer(fs, model, s));
    expect(got, JSON.stringify(s)).toBe(expected);
    if (fs.countdown === Infinity) expect(fs.check(), `invariants after ${JSON.stringify(s)}`).toBe(0);
  }
  fs.countdown = Infinity;
  deathsSeen += fs.deaths; tearsSeen += fs.tears;
  compare(fs, model.root, '');
  judge(fs);
}

let deathsSeen = 0, tearsSeen = 0;
const RUNS = Number(process.env['KINTSUGI_FS_RUNS'] ?? (process.env['KINTSUGI_FULL'] ? 100 : 6));
describe('random operations against a model', () => {
  it.each([[1024, 4 << 20], [4096, 4 << 20], [1024, (300 << 10) + 4096], [4096, (1100 << 10)]] as const)('%i-byte blocks, %i bytes of cache', async (blockSize, cacheBytes) => {
    await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 120, size: 'max' }), (steps) => play(steps, blockSize, cacheBytes, [])), { numRuns: RUNS, endOnFailure: false });
  }, 300_000);
});
describe('exactly once: the server dies at random points, its successor takes over', () => {
  afterAll(() => { expect(deathsSeen).toBeGreaterThan(0); expect(tearsSeen).toBeGreaterThan(0); }); // the test would be worth nothing without them
  it.each([[1024, 4 << 20], [4096, 4 << 20], [1024, (300 << 10) + 4096]] as const)('%i-byte blocks, %i bytes of cache', async (blockSize, cacheBytes) => {
    await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 80, size: 'max' }), fc.array(fc.nat(30), { minLength: 5, maxLength: 60, size: 'max' }), (steps, deaths) => play(steps, blockSize, cacheBytes, deaths)), { numRuns: RUNS });
  }, 300_000);
});
