/** `./kintsugi image FILE`: a fresh ext2 image from a folder or, by default, from the root file system. Never overwrites. */
import { existsSync, statSync } from 'node:fs';
import { readFolder } from '../image/entries.ts';
import { writeSparse } from '../image/file.ts';
import { buildExt2 } from '../image/writer.ts';
import { rootImage } from '../build/rootfs.ts';
import { PROGRAMS } from '../build/targets.ts';
import { EXIT, UserError } from './errors.ts';
import { ensureGuest } from './guest.ts';

export interface ImageOptions { readonly from?: string; readonly size: number; readonly blockSize: number }

export async function image(file: string, options: ImageOptions): Promise<number> {
  const { blockSize } = options;
  if (blockSize !== 1024 && blockSize !== 2048 && blockSize !== 4096) throw new UserError(`block size ${blockSize}: ext2 here has 1024, 2048 or 4096`, EXIT.usage);
  if (existsSync(file)) throw new UserError(`${file} exists; remove it first or take another name`);
  if (options.from !== undefined && !(existsSync(options.from) && statSync(options.from).isDirectory())) throw new UserError(`${options.from} is not a folder`);
  let bytes: Uint8Array;
  try {
    if (options.from === undefined) ensureGuest();
    bytes = options.from === undefined ? rootImage(PROGRAMS, options.size, blockSize) : buildExt2({ entries: readFolder(options.from), sizeMiB: options.size, blockSize });
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`cannot make ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
  writeSparse(file, bytes);
  process.stderr.write(`${file}: ext2, ${options.size} MiB, ${blockSize} byte blocks\n`);
  return EXIT.ok;
}
