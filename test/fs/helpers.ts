/** Shared by the file system tests: judges from e2fsprogs and recognisable file contents. */
import { execFileSync, spawnSync } from 'node:child_process';

/** `bytes` bytes that differ by seed and position (no period that divides a block). */
export function pattern(seed: number, bytes: number): Uint8Array {
  const data = new Uint8Array(bytes);
  let state = (seed * 2654435761 + 12345) >>> 0;
  for (let i = 0; i < bytes; i++) { state = (Math.imul(state, 1664525) + 1013904223) >>> 0; data[i] = state >>> 24; }
  return data;
}

const tool = (name: string): string => `/usr/sbin/${name}`;
let present: boolean | undefined;
export function haveE2fsprogs(): boolean {
  present ??= ['e2fsck', 'mke2fs', 'debugfs'].every((name) => spawnSync(tool(name), ['-V']).status === 0);
  return present;
}
/** Throws with e2fsck's words unless it finds the image clean. */
export function e2fsck(image: string): void {
  const result = spawnSync(tool('e2fsck'), ['-fn', image], { encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`e2fsck -fn exits ${result.status}:\n${result.stdout}${result.stderr}`);
}
export function debugfs(image: string, request: string): string {
  return execFileSync(tool('debugfs'), ['-R', request, image], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}
export function mkfs(image: string, options: readonly string[]): void {
  execFileSync(tool('mke2fs'), ['-q', '-F', '-t', 'ext2', ...options, image], { stdio: ['ignore', 'ignore', 'pipe'] });
}
