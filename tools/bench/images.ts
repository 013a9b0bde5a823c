/** Builds the two bench images with our own compiler: build/bench/bench-freestanding.elf and bench-linux.elf, by content. */
import { mkdirSync, writeFileSync, chmodSync, existsSync, readFileSync, readdirSync } from 'node:fs';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import { buildTarget } from '../build/build.ts';
import { generate } from '../build/generate.ts';
import type { Target } from '../build/targets.ts';

const GUEST = 'tools/bench/guest';
const TARGETS: readonly Target[] = [
  { name: 'bench-freestanding', entry: `${GUEST}/freestanding.ts`, kind: 'freestanding', runtime: 'stub', stubs: [`${GUEST}/boot.asm.ts`, `${GUEST}/rep.asm.ts`, `${GUEST}/x87.asm.ts`, `${GUEST}/kernel.asm.ts`, `${GUEST}/smp.asm.ts`], assertions: false },
  { name: 'bench-linux', entry: `${GUEST}/linux.ts`, kind: 'linux', runtime: 'stub', stubs: [`${GUEST}/rep.asm.ts`, `${GUEST}/x87.asm.ts`], assertions: false },
];

export interface BenchImages { readonly freestanding: string; readonly linux: string }

/** Everything the images depend on: their sources and the compiler. */
function contentHash(): string {
  const hash = createHash('sha256');
  const walk = (directory: string): void => {
    for (const entry of readdirSync(directory, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const full = path.join(directory, entry.name);
      if (entry.isDirectory()) walk(full);
      else if (entry.name.endsWith('.ts')) hash.update(entry.name).update(readFileSync(full));
    }
  };
  walk(path.join(REPOSITORY_ROOT, GUEST));
  walk(path.join(REPOSITORY_ROOT, 'tools/build'));
  return hash.digest('hex').slice(0, 16);
}

export async function benchImages(): Promise<BenchImages> {
  const directory = path.join(REPOSITORY_ROOT, 'build/bench'), key = contentHash();
  const file = (t: Target): string => path.join(directory, `${t.name}-${key}.elf`);
  mkdirSync(directory, { recursive: true });
  if (!TARGETS.every(t => existsSync(file(t)))) {
    await generate();
    for (const t of TARGETS) {
      const built = await buildTarget(t);
      writeFileSync(file(t), built.elf);
      chmodSync(file(t), 0o755);
    }
  }
  return { freestanding: file(TARGETS[0]!), linux: file(TARGETS[1]!) };
}
