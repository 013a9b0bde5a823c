/** `node tools/build/main.ts [names...] [--force] [--json] [--quiet]`: builds guest ELFs. Exit status 1 when one fails. */
import { buildGuests } from './guests.ts';

const args = process.argv.slice(2);
const flag = (f: string): boolean => args.includes(f);
const start = Date.now();
try {
  const r = await buildGuests({
    names: args.filter((a) => !a.startsWith('--')),
    force: flag('--force'),
    progress: flag('--json') || flag('--quiet') ? () => undefined : (line) => process.stderr.write(`${line}\n`),
  });
  if (flag('--json')) process.stdout.write(`${JSON.stringify({ ms: Date.now() - start, ...r })}\n`);
  else if (!flag('--quiet')) process.stderr.write(`${r.built.length} images (${r.built.filter((b) => b.cached).length} from the cache), ${r.failed.length} failed, ${Date.now() - start} ms\n`);
  if (flag('--quiet')) for (const f of r.failed) process.stderr.write(`${f.name}: ${f.error}\n`);
  process.exitCode = r.failed.length > 0 ? 1 : 0;
} catch (e) {
  process.stderr.write(`build: ${e instanceof Error ? (e.name === 'BuildError' ? e.message : e.stack ?? e.message) : String(e)}\n`);
  process.exitCode = 1;
}
