/**
 * Boots a multiboot kernel on the machine, for development of the machine itself:
 *
 *     node tools/debug/vmrun.ts --kernel k.elf [--module file=string]... [--append text] [--smp n] [--memory MiB] [--disk file]
 *                               [--parallel] [--seed n] [--quantum n] [--jit on|off|mixed] [--timeout ms] [--max instructions] [--interactive] [--hash]
 */
import { parseArgs } from 'node:util';
import { createMachine, type JitMode } from '../../vm/machine.ts';

const { values } = parseArgs({
  options: {
    kernel: { type: 'string' }, module: { type: 'string', multiple: true }, append: { type: 'string' }, smp: { type: 'string' }, memory: { type: 'string' },
    disk: { type: 'string', multiple: true }, parallel: { type: 'boolean' }, seed: { type: 'string' }, quantum: { type: 'string' }, jit: { type: 'string' },
    timeout: { type: 'string' }, max: { type: 'string' }, interactive: { type: 'boolean' }, com2: { type: 'string' },
  },
});
if (values.kernel === undefined) { console.error('--kernel is missing'); process.exit(2); }
const number = (text: string | undefined): number | undefined => (text === undefined ? undefined : Number(text));

const started = performance.now();
const machine = createMachine({
  kernel: values.kernel,
  modules: (values.module ?? []).map((spec) => { const [file, string] = spec.split('='); return { file, string }; }),
  cmdline: values.append, cpus: number(values.smp), memoryMiB: number(values.memory),
  disks: (values.disk ?? []).map((file) => ({ file, overlay: true })),
  mode: values.parallel ? 'parallel' : 'deterministic',
  seed: number(values.seed), quantum: number(values.quantum), jit: values.jit as JitMode | undefined,
  timeoutMs: number(values.timeout) ?? 20_000, maxInstructions: number(values.max), interactive: values.interactive,
  com1: (bytes) => process.stdout.write(bytes), com2: (bytes) => process.stderr.write(bytes), debug: (bytes) => process.stderr.write(bytes),
});
if (values.interactive) {
  if (process.stdin.isTTY) process.stdin.setRawMode(true);
  process.stdin.on('data', (bytes: Buffer) => { if (bytes[0] === 0x1d) machine.stop(); else machine.serialInput(0, bytes); });
}
const created = performance.now();
const result = await machine.run();
const ended = performance.now();
console.error(`\n${JSON.stringify(result)}`);
console.error(`created ${(created - started).toFixed(0)} ms, ran ${(ended - created).toFixed(0)} ms, ${(result.instructions / (ended - created) / 1000).toFixed(1)} MIPS, rss ${(process.memoryUsage().rss / 1e6).toFixed(0)} MB`);
for (const [what, count] of machine.unclaimed) console.error(`unclaimed: ${what} x ${count}`);
machine.close();
if (process.stdin.isTTY) process.stdin.setRawMode(false);
process.exit(0);
