/** Runs the kernel's own test root (microkernel/test) and reads the KTAP it prints. */
import { spawn, spawnSync } from 'node:child_process';
import path from 'node:path';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import { createMachine } from '../../vm/machine.ts';

const guest = (name: string): string => path.join(REPOSITORY_ROOT, 'build', 'guest', `${name}.elf`);
export const hasQemu = spawnSync('qemu-system-i386', ['--version']).status === 0;

export interface Ktap {
  readonly passed: number;
  readonly failed: readonly string[];
  readonly planned: number;
  /** Instructions by `path words space`, where asked for. */
  readonly counts: ReadonlyMap<string, number>;
  readonly status: number;
  readonly output: string;
}
function read(output: string, status: number): Ktap {
  const lines = output.split(/\r?\n/);
  const failed = lines.flatMap((l, i) => l.startsWith('not ok') ? [`${lines.slice(Math.max(0, i - 4), i).filter((x) => x.startsWith('#')).join('\n')}\n${l}`] : []);
  const counts = new Map<string, number>();
  for (const l of lines) {
    const m = /^# count (\S+) words=(\d+) space=(\w+) (\d+)$/.exec(l);
    if (m) counts.set(`${m[1]} ${m[2]} ${m[3]}`, Number(m[4]));
  }
  return { passed: lines.filter((l) => l.startsWith('ok ')).length, failed, planned: Number(/^1\.\.(\d+)$/m.exec(output.replaceAll('\r', ''))?.[1] ?? -1), counts, status, output };
}

export async function runVm(cpus: number, mode: 'deterministic' | 'parallel', cmdline = '', modules = true): Promise<Ktap> {
  let output = '';
  const machine = createMachine({
    kernel: guest('kernel'), modules: modules ? [{ file: guest('kernel-test'), string: 'root' }] : [], cmdline, cpus, mode, memoryMiB: 128, timeoutMs: 110_000,
    com1: (bytes) => { output += Buffer.from(bytes).toString('latin1'); },
  });
  const result = await machine.run();
  return read(output, result.reason === 'exit' ? result.status : -1);
}

export function runQemu(cpus: number, cmdline = ''): Promise<Ktap> {
  return new Promise((resolve) => {
    const child = spawn('qemu-system-i386', ['-kernel', guest('kernel'), '-initrd', `${guest('kernel-test')} root`, '-append', cmdline, '-smp', String(cpus), '-m', '128', '-cpu', 'max', '-serial', 'stdio', '-display', 'none',
      '-no-reboot', '-device', 'isa-debug-exit,iobase=0xf4,iosize=4'], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (d: Buffer) => { output += d.toString('latin1'); });
    const timer = setTimeout(() => child.kill('SIGKILL'), 100_000);
    child.on('exit', (code) => { clearTimeout(timer); resolve(read(output, code ?? -1)); });
  });
}
