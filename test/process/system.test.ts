// The personality on the machine: real kernel, real servers, programs over ext2, deterministic, one boot per group.
import { beforeAll, describe, expect, it } from 'vitest';
import { runCommand, type RunOutcome } from '../../tools/cli/run.ts';
import type { SystemOptions } from '../../tools/cli/system.ts';

const options: SystemOptions = { place: 'follow', smp: 1, memoryMiB: 128, deterministic: true, seed: 1, timeoutSeconds: 60, jit: 'on', append: '' };
/** Runs a script that arrives on the standard input of the shell; `sections` are what it printed between lines "== name". */
async function script(text: string): Promise<{ outcome: RunOutcome; section: (name: string) => string }> {
  const outcome = await runCommand(options, ['sh'], {}, Buffer.from(text));
  const parts = new Map(outcome.stdout.split(/^== /m).slice(1).map((s) => [s.slice(0, s.indexOf('\n')), s.slice(s.indexOf('\n') + 1)]));
  return { outcome, section: (name) => parts.get(name) ?? `(no section ${name}; stderr: ${outcome.stderr}; log: ${outcome.log})` };
}

describe('files and pipes', () => {
  let run: Awaited<ReturnType<typeof script>>;
  beforeAll(async () => {
    run = await script(`
echo == pipe; cat /etc/motd | grep ^Kin | wc -l
echo == files; mkdir /tmp/d; echo one > /tmp/d/a; cp /tmp/d/a /tmp/d/b; mv /tmp/d/b /tmp/d/c; echo two >> /tmp/d/a; cat /tmp/d/*; rm /tmp/d/a; ls /tmp/d
echo == large; seq 1 20000 > /tmp/n; sha256sum < /tmp/n; cp /tmp/n /tmp/m; cat /tmp/m | sha256sum; wc -c < /tmp/m
echo == sigpipe; yes | head -n 1
echo == cwd; cd /tmp/d; pwd; cd ..; pwd; cat d/c
echo == errors; cat /nope 2>&1; mkdir /etc 2>&1; rmdir /tmp 2>&1; cat /tmp 2>&1; echo x 2>&1 > /etc
echo == null; echo gone > /dev/null; wc -c < /dev/null; head -c 3 /dev/zero | wc -c
echo == link; ln -s c /tmp/d/l; cat /tmp/d/l; ln /tmp/d/c /tmp/d/h; rm /tmp/d/c; cat /tmp/d/h
echo == shared; for k in $(seq 40); do echo line $k & done > /tmp/s; wait; sort /tmp/s | uniq | wc -l
echo == ps; ps | grep -c -e 1
echo == end
exit 7
`);
  });
  it('ends with the status of the shell and switches off', () => { expect(run.outcome.exit).toBe(7); expect(run.outcome.reason).toBe('poweroff'); });
  it('moves data through pipes', () => expect(run.section('pipe')).toBe('1\n'));
  it('copies, renames, appends and removes', () => expect(run.section('files')).toBe('one\ntwo\none\nc\n'));
  it('keeps 100 KB unchanged through file, copy and pipe', () => { const [a, b, size] = run.section('large').split('\n'); expect(a).toBe(b); expect(a).toMatch(/^[0-9a-f]{64}/); expect(size).toBe('108894'); });
  it('ends a writer that nobody reads', () => expect(run.section('sigpipe')).toBe('y\n'));
  it('has working directories', () => expect(run.section('cwd')).toBe('/tmp/d\n/tmp\none\n'));
  it('names what went wrong', () => expect(run.section('errors')).toBe('cat: /nope: no such file or directory\nmkdir: /etc: file exists\nrmdir: /tmp: directory not empty\ncat: /tmp: is a directory\nsh: /etc: is a directory\n'));
  it('knows /dev/null and /dev/zero', () => expect(run.section('null')).toBe('0\n3\n'));
  it('shares one position among all who write through one description', () => expect(run.section('shared')).toMatch(/^40\n/));
  it('follows links', () => expect(run.section('link')).toBe('one\none\n'));
});

describe('programs that misbehave', () => {
  let run: Awaited<ReturnType<typeof script>>;
  beforeAll(async () => {
    run = await script(`
echo == faults; for how in read write text jump divide illegal port stack memory; do crash $how 2> /dev/null; echo $how $?; done
echo == garbage; crash garbage | wc -l
echo == kill; sleep 100 & kill -9 $!; wait $!; echo $?; kill 12345 2>&1
echo == wait; (exit 3) & (exit 4) & wait; echo $?
echo == many; i=0; while [ $i -lt 60 ]; do sleep 1 & i=$((i+1)); done 2> /tmp/e; wait; grep -c unavailable /tmp/e > /dev/null && echo refused; echo alive
echo == server; kill fs; cat /etc/profile | head -n 1; echo after > /tmp/x; kill virtio-blk; cat /tmp/x; kill tty; echo tty
echo == end
`);
  });
  it('end with the signal of their fault, and the shell goes on', () => expect(run.section('faults')).toBe('read 139\nwrite 139\ntext 139\njump 139\ndivide 136\nillegal 132\nport 139\nstack 139\nmemory 125\n'));
  it('get errors for random requests', () => expect(run.section('garbage')).toBe('1\n'));
  it('can be killed', () => expect(run.section('kill')).toBe('137\nkill: 12345: no such process\n'));
  it('are waited for', () => expect(run.section('wait')).toBe('0\n'));
  it('are refused when there are too many, and none is lost', () => expect(run.section('many')).toBe('refused\nalive\n'));
  it('do not notice that their servers are restarted', () => expect(run.section('server')).toBe('# Read by an interactive shell before its first prompt.\nafter\ntty\n'));
});

describe('the command of run=', () => {
  it('that does not exist: 127 and one sentence', async () => expect(await runCommand(options, ['nonesuch'])).toMatchObject({ exit: 127, stdout: '', stderr: 'kintsugi: nonesuch: command not found\n' }));
});
