/**
 * The command line as a person meets it: the launcher itself, in a process of its own. Bad input is refused with a sentence that names the
 * thing and the reason, on stderr, and never changes a disk; pipes, signals and the terminal behave as with any other program.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rootImage } from '../../tools/build/rootfs.ts';
import { PROGRAMS } from '../../tools/build/targets.ts';
import { ensureGuest } from '../../tools/cli/guest.ts';
import { runCommand } from '../../tools/cli/run.ts';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';

const LAUNCHER = path.join(REPOSITORY_ROOT, 'kintsugi');
const folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-line-'));
const at = (name: string): string => path.join(folder, name);
const image = rootImage(PROGRAMS, 16);
const corrupted = (name: string, change: (view: DataView) => void): string => {
  const bytes = image.slice();
  change(new DataView(bytes.buffer));
  writeFileSync(at(name), bytes);
  return at(name);
};
/** Outcome of a run of the launcher; stdin is empty unless given. */
function kintsugi(args: readonly string[], input: string | Uint8Array = ''): { status: number | null; stdout: Buffer; stderr: string } {
  const result = spawnSync(process.execPath, [LAUNCHER, ...args], { input, maxBuffer: 1 << 28, timeout: 110_000 });
  return { status: result.status, stdout: result.stdout, stderr: result.stderr.toString() };
}
beforeAll(() => {
  ensureGuest();
  expect(kintsugi(['--version']).status).toBe(0); // the bundle is there from now on
}, 600_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('bad input', () => {
  it.each([
    [['frob'], /unknown command 'frob'; there are: start, run, profile, vm/],
    [['--frob'], /unknown option '--frob'/],
    [['run'], /missing required argument 'command'/],
    [['run', '--memory', '8', '--', 'ls'], /--memory <MiB>' argument '8' is invalid.*48 to 512/],
    [['run', '--smp', '9', '--', 'ls'], /--smp <n>' argument '9' is invalid.*1 to 8/],
    [['run', '--timeout', '0', '--', 'ls'], /--timeout <s>' argument '0' is invalid/],
    [['vm'], /required option '--kernel <elf>' not specified/],
    [['bench', 'frob'], /no benchmark "frob"/],
    [['profile', '--vm', '--every', '100', '--top', '3', '--', 'true'], /--vm looks at the host, --top and --every at the guest/],
    [['profile', '--vm', '--by', 'function', '--', 'true'], /--vm looks at the host, --by at the guest/],
    [['profile', '--jit', 'on', '--', 'true'], /--jit goes with --vm/],
    [['profile', '--lines', '--by', 'server', '--', 'true'], /--lines is --by line: not with --by server/],
    [['image', at('x.img'), '--block-size', '1000'], /argument '1000' is invalid/],
  ] as const)('%j is a usage error: status 2, one sentence', (args, message) => {
    const { status, stdout, stderr } = kintsugi(args);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^kintsugi: /);
    expect([status, stdout.length]).toEqual([2, 0]);
  });
  it('a file that is missing, empty, truncated, a folder or no kernel is named, with the reason', () => {
    writeFileSync(at('empty'), '');
    writeFileSync(at('short.img'), image.subarray(0, 1_000_000));
    mkdirSync(at('folder'));
    for (const [args, message] of [
      [['run', '--disk', at('none.img'), '--', 'ls'], /no disk image at .*none\.img; make one with/],
      [['run', '--disk', at('empty'), '--', 'ls'], /empty: the image is empty/],
      [['run', '--disk', at('short.img'), '--', 'ls'], /short\.img: 1000000 bytes is not a multiple of 512/],
      [['run', '--disk', at('folder'), '--', 'ls'], /folder: not a regular file/],
      [['vm', '--kernel', at('none.elf')], /none\.elf: no such file/],
      [['vm', '--kernel', at('short.img')], /short\.img: no multiboot header/],
      [['image', at('no/such/x.img')], /no\/such\/x\.img/],
    ] as const) {
      const { status, stderr } = kintsugi(args);
      expect(stderr).toMatch(message);
      expect(stderr).not.toContain('internal error');
      expect(status).toBe(1);
    }
  });
  it.each([
    ['magic.img', /no ext2 superblock/, (view: DataView) => view.setUint16(1024 + 56, 0x1234, true)],
    ['feature.img', /incompatible features 0x00000040/, (view: DataView) => view.setUint32(1024 + 96, 0x42, true)],
    ['geometry.img', /geometry in the superblock is impossible/, (view: DataView) => view.setUint32(1024 + 40, 0, true)],
  ] as const)('a disk that cannot be mounted (%s) ends the run with 126, says why, and stays as it was', (name, message, change) => {
    const disk = corrupted(name, change), before = readFileSync(disk);
    const { status, stderr } = kintsugi(['run', '--timeout', '100', '--disk', disk, '--', 'ls', '/']);
    expect(stderr).toMatch(message);
    expect(stderr).toContain(`the disk image is ${disk}`);
    expect(status, stderr).toBe(126);
    expect(readFileSync(disk).equals(before)).toBe(true);
  });
  it('a disk in use is refused under any of its names', async () => {
    const disk = at('busy.img');
    writeFileSync(disk, image);
    symlinkSync(disk, at('other.img'));
    const holder = spawn(process.execPath, [LAUNCHER, 'run', '--disk', disk, '--', 'sh', '-c', 'echo up; sleep 100'], { stdio: ['ignore', 'pipe', 'ignore'] });
    const ended = new Promise((resolve) => holder.on('exit', resolve));
    await new Promise((resolve) => holder.stdout.once('data', resolve));
    const { status, stderr } = kintsugi(['run', '--disk', at('other.img'), '--', 'true']);
    holder.kill('SIGTERM'); // reaches the command in the guest
    expect(await ended).toBe(143);
    expect(stderr).toMatch(/other\.img: in use by /);
    expect(status).toBe(1);
    expect(kintsugi(['run', '--disk', at('other.img'), '--', 'true']).status).toBe(0);
  });
  it('too little memory stops the boot with a reason; 48 MiB are enough', async () => {
    const options = { place: 'pin', smp: 1, deterministic: true, seed: 1, timeoutSeconds: 100, jit: 'on', append: '' } as const;
    for (const memoryMiB of [24, 32, 40]) {
      const short = await runCommand({ ...options, memoryMiB }, ['true']);
      expect(short.log).toMatch(/supervisor: cannot boot: .*out of memory, \d+ MiB are too few/);
      expect(short).toMatchObject({ exit: 125, reason: 'exit' });
    }
    expect(await runCommand({ ...options, memoryMiB: 48 }, ['sh', '-c', 'ls / | wc -l'])).toMatchObject({ exit: 0 });
  });
});

describe('pipes', () => {
  it('large and binary output arrives whole, in --json too', () => {
    const raw = kintsugi(['run', '--', 'cat', '/bin/sh']);
    expect(createHash('sha256').update(raw.stdout).digest('hex')).toBe(createHash('sha256').update(readFileSync(path.join(REPOSITORY_ROOT, 'build', 'guest', 'sh.elf'))).digest('hex'));
    const { stdout } = kintsugi(['run', '--json', '--', 'seq', '1', '40000']);
    const report = JSON.parse(stdout.toString()) as Record<string, unknown>;
    expect(Object.keys(report)).toEqual(['exit', 'stdout', 'stderr', 'instructions', 'virtualNs', 'stateHash']);
    expect(report['stdout']).toBe(Array.from({ length: 40000 }, (_, n) => `${n + 1}\n`).join(''));
  });
  it('standard input goes to the command, and a deterministic run depends on it alone', () => {
    const input = Buffer.from(Array.from({ length: 20_000 }, (_, n) => n * 7 & 255));
    expect(kintsugi(['run', '--', 'cat'], input).stdout.equals(input)).toBe(true);
    const runs = [1, 2].map(() => kintsugi(['run', '--deterministic', '--json', '--', 'sha256sum'], input).stdout.toString());
    expect(runs[0]).toContain(createHash('sha256').update(input).digest('hex'));
    expect(runs[1]).toBe(runs[0]);
  });
  it('what is piped into the console before the system is up is not lost', () => {
    const { status, stdout } = kintsugi(['--timeout', '100'], 'echo ev""ery byte; poweroff\n');
    expect(stdout.toString()).toMatch(/\nevery byte\r\n/);
    expect(status).toBe(0);
  });
  it('a reader that goes away ends the command by SIGPIPE, quietly', async () => {
    const child = spawn(process.execPath, [LAUNCHER, 'run', '--', 'yes'], { stdio: ['ignore', 'pipe', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (data: Buffer) => { stderr += data.toString(); });
    child.stdout.once('data', () => child.stdout.destroy());
    expect(await new Promise((resolve) => child.on('exit', resolve)), stderr).toBe(141);
    expect(stderr).toBe('');
  });
});

describe.skipIf(spawnSync('script', ['--version']).error !== undefined)('a terminal', () => {
  /** Runs a shell line under a pty (util-linux script), types each text when what stands before it has appeared, and returns the screen. */
  async function session(line: string, talk: readonly (readonly [RegExp, string])[], last?: (screen: string) => void): Promise<string> {
    const child = spawn('script', ['-qec', line, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, SHELL: '/bin/sh' } });
    let screen = '', seen = 0;
    const left = [...talk];
    child.stdout.on('data', (data: Buffer) => {
      screen += data.toString();
      const match = left.length > 0 ? left[0][0].exec(screen.slice(seen)) : null;
      if (match === null) return;
      seen += match.index + match[0].length;
      child.stdin.write((left.shift() as readonly [RegExp, string])[1]);
      if (left.length === 0) last?.(screen);
    });
    await new Promise((resolve) => child.on('exit', resolve));
    return screen;
  }
  const start = `"${process.execPath}" "${LAUNCHER}" --timeout 100`;
  const restored = (screen: string): boolean => { const settings = [...screen.matchAll(/^([0-9a-f]+(?::[0-9a-f]+)+)\r?$/gm)].map((match) => match[1]); return settings.length === 2 && settings[0] === settings[1]; };

  it('Ctrl-C ends what runs in the guest, Ctrl-A X the machine, and the settings are as before', async () => {
    const screen = await session(`stty -g; ${start}; echo "status $?"; stty -g`, [[/\/\$ $/, 'echo ru""ns; sleep 1000\r'], [/runs\r+\n/, '\x03'], [/\/\$ $/, 'echo it ended with $?\r'], [/it ended with 130\r+\n/, '\x01x']]);
    for (const server of ['tty', 'fs', 'process', 'uart0', 'virtio-blk']) expect(screen).toMatch(new RegExp(`cpu\\d  ${server} ready`));
    expect(screen).toMatch(/status 0\r\n/);
    expect(restored(screen), screen).toBe(true);
  });
  it('has its settings back after SIGKILL too', async () => {
    const screen = await session(`stty -g; sh -c 'echo "pid $$"; exec ${start}'; echo "status $?"; sleep 2; stty -g`, [[/pid \d+[^]*\/\$ $/, '']], (text) => process.kill(Number(/pid (\d+)/.exec(text)?.[1]), 'SIGKILL'));
    expect(screen).toMatch(/status 137\r\n/);
    expect(restored(screen), screen).toBe(true);
  });
});
