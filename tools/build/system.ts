/**
 * `node tools/build/system.ts [--json]`: everything that a start needs, the guest ELFs and the root image. Both are cached, by content
 * and by the programs' ELFs; progress goes to stderr, one rewritten line on a terminal, plain lines elsewhere.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import { writeSparse } from '../image/file.ts';
import { buildExt2 } from '../image/writer.ts';
import { buildGuests } from './guests.ts';
import { rootEntries } from './rootfs.ts';
import { PROGRAMS } from './targets.ts';

const ROOT_MIB = 64;
const image = path.join(REPOSITORY_ROOT, 'build', 'image', 'root.img');
const json = process.argv.includes('--json');
const terminal = process.stderr.isTTY === true;

/** One image line; an ETA from the rate so far. */
function progressLine(line: string, started: number): void {
  const match = /^\[(\d+)\/(\d+)\] (\S+)/.exec(line);
  if (line.includes('FAILED') || !match) { process.stderr.write(`${terminal ? '\r\x1b[K' : ''}${line}\n`); return; }
  const [, done, all, name] = match;
  const seconds = (Date.now() - started) / 1000, rate = Number(done) / seconds, eta = (Number(all) - Number(done)) / rate;
  const text = `building the guest  ${done!.padStart(all!.length)}/${all}  ${rate.toFixed(1)}/s  ETA ${eta.toFixed(0)} s  ${name}`;
  process.stderr.write(terminal ? `\r\x1b[K${text}` : `${text}\n`);
}

async function main(): Promise<number> {
  const started = Date.now();
  const result = await buildGuests({ progress: (line) => progressLine(line, started) });
  if (terminal && result.built.some((b) => !b.cached)) process.stderr.write('\r\x1b[K');
  if (result.failed.length > 0) {
    process.stderr.write(`${result.failed.length} guest images failed: ${result.failed.map((f) => f.name).join(', ')}\n`);
    return 1;
  }
  const entries = rootEntries(PROGRAMS);
  const hash = createHash('sha256').update(String(ROOT_MIB));
  for (const entry of entries) hash.update(`${entry.kind}\0${entry.path}\0`).update(entry.kind === 'file' ? entry.data : 'target' in entry ? entry.target : '');
  const digest = hash.digest('hex'), stamp = `${image}.sha256`;
  const fresh = existsSync(image) && existsSync(stamp) && readFileSync(stamp, 'utf8') === digest;
  if (!fresh) {
    mkdirSync(path.dirname(image), { recursive: true });
    const temporary = `${image}.${process.pid}`; // several may build at once
    writeSparse(temporary, buildExt2({ entries, sizeMiB: ROOT_MIB, label: 'kintsugi' }));
    renameSync(temporary, image);
    writeFileSync(stamp, digest);
  }
  const cached = result.built.filter((b) => b.cached).length;
  if (json) process.stdout.write(`${JSON.stringify({ ms: Date.now() - started, images: result.built.length, cached, rootImage: image, rootImageFresh: fresh })}\n`);
  else process.stderr.write(`built ${result.built.length - cached} guest images (${cached} from the cache) and the root image in ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
  return 0;
}

process.exitCode = await main();
