/** Peers that are processes: the same programs as a native Linux executable, and QEMU with TCG. */
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { BenchError, LineStamper, type Stamped } from './lines.ts';

/** CPU time of a process, ns: the first field of schedstat of all its tasks in /proc. Exact to a scheduler tick while a thread runs. */
export function processNs(pid: number): number {
  let sum = 0;
  try {
    for (const task of readdirSync(`/proc/${pid}/task`)) sum += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0]);
  } catch { /* a thread or the process has just ended */ }
  return sum;
}

function lines(command: string, args: readonly string[], timeoutMs: number, accept: (status: number | null) => boolean): Promise<Stamped[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const stamper = new LineStamper(() => processNs(child.pid ?? 0));
    let errors = '';
    const timer = setTimeout(() => { child.kill('SIGKILL'); }, timeoutMs);
    child.stdout.setEncoding('latin1').on('data', (text: string) => { stamper.push(text); });
    child.stderr.setEncoding('utf8').on('data', (text: string) => { errors += text; });
    child.on('error', reject);
    child.on('close', status => {
      clearTimeout(timer);
      if (accept(status)) resolve(stamper.lines);
      else reject(new BenchError(`${command} ended with ${status ?? 'a signal'} ${errors.trim()}`));
    });
  });
}

export const runNative = (image: string, plan: string, timeoutMs: number): Promise<Stamped[]> => lines(image, [plan], timeoutMs, status => status === 0);

export const qemuVersion = (): string | null => {
  const r = spawnSync('qemu-system-i386', ['--version'], { encoding: 'utf8' });
  return r.status === 0 ? (/version (\S+)/.exec(r.stdout)?.[1] ?? 'unknown') : null;
};

/** Debug exit 10h is process status 33. */
export const runQemu = (image: string, plan: string, timeoutMs: number): Promise<Stamped[]> => lines('qemu-system-i386', [
  '-accel', 'tcg', '-m', '64', '-kernel', image, '-append', plan, '-display', 'none', '-vga', 'none', '-net', 'none', '-serial', 'stdio', '-monitor', 'none', '-no-reboot', '-device', 'isa-debug-exit,iobase=0xf4,iosize=4',
], timeoutMs, status => status === 33);
