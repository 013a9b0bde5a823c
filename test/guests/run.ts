/**
 * Run test guests by hand:
 *
 *     node test/guests/run.ts [--qemu | --bochs | --parallel] [--jit=on|off|mixed] [--seed=n] [--cpu=model] [-v] [names...]      default: on our machine, all guests
 */
import { buildGuest } from './build.ts';
import { GUESTS } from './catalog.ts';
import { parseKtap } from './ktap.ts';
import { runOnBochs } from './bochs.ts';
import { runOnQemu } from './qemu.ts';

const args = process.argv.slice(2), qemu = args.includes('--qemu'), bochs = args.includes('--bochs'), verbose = args.includes('-v'), names = args.filter(a => !a.startsWith('-'));
const option = (name: string): string | undefined => args.find(a => a.startsWith(`--${name}=`))?.slice(name.length + 3);
let failed = 0;
for (const guest of GUESTS) {
  if (names.length > 0 && !names.includes(guest.name)) continue;
  if (bochs && (guest.disk || guest.net)) continue;   // no virtio there
  const elf = buildGuest(guest), start = performance.now();
  const run = qemu ? runOnQemu(guest, elf, 30_000) : bochs ? runOnBochs(guest, elf, 30_000) : await (await import('./here.ts')).runHere(guest, elf, { mode: args.includes('--parallel') ? 'parallel' : 'deterministic', jit: (option('jit') ?? 'on') as 'on', ...(option('seed') ? { seed: Number(option('seed')) } : {}), ...(option('cpu') ? { cpu: option('cpu') as 'max' } : {}) });
  const report = parseKtap(run.output);
  const bad = report.lines.filter(l => !l.ok).length, good = run.status === 0x10 && report.problems.length === 0 && bad === 0;
  const [, checks, deviations] = /^# (\d+) checks(?:.* in (\d+))?/m.exec(run.output) ?? [];
  console.log(`${good ? 'ok  ' : 'FAIL'} ${guest.name.padEnd(12)} ${report.lines.length - bad}/${report.planned ?? '?'} exit ${run.status} ${Math.round(performance.now() - start)} ms ${checks ? `${checks} checks ` : ''}${deviations ? `${deviations} not as the manual says ` : ''}${report.problems.join('; ')}`);
  if (!good || verbose) console.log(run.output.split('\n').map(l => `     ${l}`).join('\n'));
  if (!good) failed++;
}
process.exitCode = failed > 0 ? 1 : 0;
