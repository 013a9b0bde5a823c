/** The real gdb against a machine of this process. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { serveGdb } from '../../tools/gdb/server.ts';
import type { Ending, MachineTarget } from '../../tools/gdb/machine-target.ts';

/** Why gdb cannot be used here, or null. */
export const gdbMissing: string | null = spawnSync('gdb', ['--version']).status === 0 ? null : 'gdb is not installed: the tests with the real gdb are skipped (apt-get install gdb)';
if (gdbMissing !== null) console.warn(gdbMissing);

/** Runs gdb in batch mode on a script (connected already) and gives what it said. */
export async function gdbSession(target: MachineTarget, script: readonly string[], before: readonly string[] = []): Promise<{ said: string; ending: Ending | 'lost' }> {
  const folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-gdb-'));
  let closed: () => void = () => undefined;
  const gone = new Promise<void>((resolve) => { closed = resolve; });
  let said = '';
  const served = serveGdb(target, { host: '127.0.0.1', port: 0 }, (_host, port) => {
    const file = path.join(folder, 'script');
    writeFileSync(file, ['set pagination off', 'set confirm off', 'set width 0', 'set architecture i386', ...before, `target remote :${port}`, ...script, ''].join('\n'));
    const gdb = spawn('gdb', ['-nx', '-batch', '-x', file], { cwd: folder });
    gdb.stdout.on('data', (bytes: Buffer) => { said += bytes.toString(); });
    gdb.stderr.on('data', (bytes: Buffer) => { said += bytes.toString(); });
    gdb.on('close', closed);
  });
  await gone;
  const ending = await Promise.race([served, new Promise<'lost'>((resolve) => { setTimeout(() => resolve('lost'), 500); })]);
  return { said, ending };
}
