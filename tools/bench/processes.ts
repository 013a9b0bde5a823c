/** Peers that are processes: the same programs as a native Linux executable, and QEMU with TCG. */
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import { LineStamper, type Running, type Stamped } from './lines.ts';

/** CPU time of a process, ns: the first field of schedstat of all its tasks in /proc. That of a thread that runs is as old as the last tick (4 ms). */
export function processNs(pid: number): number {
  let sum = 0;
  try {
    for (const task of readdirSync(`/proc/${pid}/task`)) sum += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0]);
  } catch { /* a thread or the process has just ended */ }
  return sum;
}

/** Looks at a thread that is about to stop; some 10 us each. */
const STOP_PATIENCE = 200;
/** The same to the microsecond: the process is stopped for it, because a thread that is switched away has its time counted. */
export function stoppedNs(pid: number): number {
  try {
    process.kill(pid, 'SIGSTOP');
    for (const task of readdirSync(`/proc/${pid}/task`)) for (let look = 0; look < STOP_PATIENCE && !/\) [TZX]/.test(readFileSync(`/proc/${pid}/task/${task}/stat`, 'latin1')); look++);
  } catch { /* it has just ended */ }
  const ns = processNs(pid);
  try { process.kill(pid, 'SIGCONT'); } catch { /* it has just ended */ }
  return ns;
}

/** A process whose standard output is the serial line. `accept`: the exit statuses of a good end. */
export function runProcess(command: string, args: readonly string[], line: (stamped: Stamped) => void, accept: number, now: (pid: number) => number = processNs): Running {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const stamper = new LineStamper(() => child.pid === undefined ? 0 : now(child.pid), line);
  let errors = '';
  child.stdout.setEncoding('latin1').on('data', (text: string) => { stamper.push(text); });
  child.stderr.setEncoding('utf8').on('data', (text: string) => { errors += text; });
  return {
    kill: () => { child.kill('SIGKILL'); },
    problem: new Promise(resolve => {
      child.on('error', error => { resolve(error.message); });
      child.on('close', status => { resolve(status === accept ? undefined : `${command} ended with ${status ?? 'a signal'} ${errors.trim()}`); });
    }),
  };
}

export const runNative = (image: string, plan: string, line: (stamped: Stamped) => void): Running => runProcess(image, [plan], line, 0);

export const qemuVersion = (): string | null => {
  const r = spawnSync('qemu-system-i386', ['--version'], { encoding: 'utf8' });
  return r.status === 0 ? (/version (\S+)/.exec(r.stdout)?.[1] ?? 'unknown') : null;
};

/** Debug exit 10h is process status 33. */
export const qemuArguments = (image: string, plan: string, cpus: number, memoryMiB = 64): string[] => [
  '-accel', cpus > 1 ? 'tcg,thread=multi' : 'tcg', '-smp', String(cpus), '-m', String(memoryMiB), '-kernel', image, '-append', plan, '-display', 'none', '-vga', 'none', '-net', 'none', '-serial', 'stdio', '-monitor', 'none', '-no-reboot',
  '-device', 'isa-debug-exit,iobase=0xf4,iosize=4',
];
export const runQemu = (image: string, plan: string, line: (stamped: Stamped) => void, cpus = 1): Running => runProcess('qemu-system-i386', qemuArguments(image, plan, cpus), line, 33, cpus > 1 ? processNs : stoppedNs);

/** This VM as its users start it, in parallel mode. */
export const hereArguments = (image: string, plan: string, cpus: number, memoryMiB = 64): string[] => [path.join(REPOSITORY_ROOT, 'kintsugi'), 'vm', '--kernel', image, '--append', plan, '--smp', String(cpus), '--memory', String(memoryMiB)];
export const runHere = (image: string, plan: string, line: (stamped: Stamped) => void, cpus = 1): Running => runProcess(process.execPath, hereArguments(image, plan, cpus), line, 33);
