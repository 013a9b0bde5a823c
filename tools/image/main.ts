/** Images from the command line: build one from a folder, look into one, check one. */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { readFolder } from './entries.ts';
import { writeSparse } from './file.ts';
import { Ext2Reader } from './reader.ts';
import { buildExt2 } from './writer.ts';

const USAGE = [
  'node tools/image/main.ts build <folder> <image> [--size MiB] [--block 1024|2048|4096] [--label text] [--uuid text] [--time seconds]',
  'node tools/image/main.ts list|verify <image>',
  'node tools/image/main.ts extract <image> <path> <file>',
].join('\n');

function main(argv: readonly string[]): number {
  const { values, positionals } = parseArgs({
    args: [...argv], allowPositionals: true,
    options: { size: { type: 'string' }, block: { type: 'string' }, label: { type: 'string' }, uuid: { type: 'string' }, time: { type: 'string' } },
  });
  const [command, first, second, third] = positionals;
  if (command === 'build' && first !== undefined && second !== undefined) {
    const blockSize = Number(values.block ?? 4096);
    if (blockSize !== 1024 && blockSize !== 2048 && blockSize !== 4096) throw new Error(`--block ${values.block}: 1024, 2048 or 4096`);
    const entries = readFolder(first);
    const bytes = entries.reduce((sum, entry) => sum + (entry.kind === 'file' ? entry.data.length : 0), 0);
    const sizeMiB = Number(values.size ?? Math.max(16, Math.ceil(bytes / 1048576 * 1.5) + 8));
    writeSparse(second, buildExt2({ entries, sizeMiB, blockSize, label: values.label, uuid: values.uuid, time: values.time === undefined ? undefined : Number(values.time) }));
    return 0;
  }
  if (command === 'list' && first !== undefined) {
    for (const entry of new Ext2Reader(readFileSync(first)).walk()) {
      console.log(`${entry.inode.toString().padStart(6)} ${entry.mode.toString(8).padStart(6, '0')} ${entry.links.toString().padStart(3)} ${entry.size.toString().padStart(10)} ${entry.path}${entry.target === undefined ? '' : ` -> ${entry.target}`}`);
    }
    return 0;
  }
  if (command === 'verify' && first !== undefined) {
    const problems = new Ext2Reader(readFileSync(first)).verify();
    for (const problem of problems) console.log(problem);
    return problems.length === 0 ? 0 : 1;
  }
  if (command === 'extract' && first !== undefined && second !== undefined && third !== undefined) {
    writeFileSync(third, new Ext2Reader(readFileSync(first)).read(second));
    return 0;
  }
  console.error(USAGE);
  return 2;
}

try { process.exitCode = main(process.argv.slice(2)); } catch (error) { console.error(`image: ${(error as Error).message}`); process.exitCode = 1; }
