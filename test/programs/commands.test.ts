// The commands as wasm in Node over the model of process, and the algorithms under them.
import { createHash, randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { guestMemory, guestModule, instantiate } from './build.ts';
import { System } from './model.ts';

let system: System;
const NAMES = ['cat', 'cp', 'dd', 'env', 'find', 'grep', 'head', 'hexdump', 'kill', 'ln', 'ls', 'mkdir', 'mv', 'pwd', 'rm', 'rmdir', 'seq', 'sha256sum', 'sleep', 'sort', 'stat', 'tail', 'tee', 'test', 'touch', 'uniq', 'uptime', 'wc', 'echo'];
beforeAll(async () => { system = new System(); await system.install(...NAMES); });
const run = (line: string, stdin = ''): { status: number; stdout: string; stderr: string } => system.run(line.split(' '), stdin);
const out = (line: string, stdin = ''): string => { const o = run(line, stdin); expect(o).toMatchObject({ status: 0, stderr: '' }); return o.stdout; };

describe('files', () => {
  it('cp, mv, rm, mkdir, ls', () => {
    out('mkdir -p /tmp/a/b/c');
    system.write('/tmp/a/f', 'data');
    out('cp /tmp/a/f /tmp/a/b');
    expect(system.read('/tmp/a/b/f')).toBe('data');
    out('cp -r /tmp/a /tmp/copy');
    expect(out('ls -a /tmp/copy')).toBe('.\n..\nb\nf\n');
    out('mv /tmp/copy/f /tmp/copy/b /tmp/a/b/c');
    expect(out('ls /tmp/a/b/c')).toBe('b\nf\n');
    expect(run('rm /tmp/a')).toMatchObject({ status: 1, stderr: 'rm: /tmp/a: is a directory\n' });
    out('rm -r /tmp/a /tmp/copy');
    expect(out('find /tmp')).toBe('/tmp\n');
    expect(run('rm /tmp/a').status).toBe(1);
    out('rm -f /tmp/a');
  });
  it('refuses to copy a tree into itself and a file onto itself', () => {
    out('mkdir /tmp/s');
    system.write('/tmp/s/f', 'x');
    expect(run('cp -r /tmp/s /tmp/s/in').status).toBe(1);
    expect(run('cp /tmp/s/f /tmp/s').status).toBe(1);
    expect(system.read('/tmp/s/f')).toBe('x');
  });
  it('ls -l shows mode, size and link targets', () => {
    system.write('/tmp/s/g', '12345');
    out('ln -s g /tmp/s/l');
    const lines = out('ls -l /tmp/s').split('\n');
    expect(lines.find((l) => l.endsWith(' g'))).toMatch(/^-rw-r--r--\s+1 0 0\s+5 1970-01-01 00:00 g$/);
    expect(lines.find((l) => l.includes(' l '))).toMatch(/^lrw.* l -> g$/);
    expect(out('cat /tmp/s/l')).toBe('12345');
  });
  it('goes on after a file that is missing, and says so by the status', () => expect(run('cat /nope /tmp/s/g')).toEqual({ status: 1, stdout: '12345', stderr: 'cat: /nope: no such file or directory\n' }));
  it('moves large files unchanged', () => {
    const data = randomBytes(300_001);
    system.write('/tmp/big', data);
    out('cp /tmp/big /tmp/big2');
    expect(out('sha256sum /tmp/big2')).toBe(`${createHash('sha256').update(data).digest('hex')}  /tmp/big2\n`);
    expect(run('dd if=/tmp/big of=/tmp/part bs=4k count=3 skip=1').status).toBe(0);
    expect(Buffer.from(system.read('/tmp/part'), 'latin1').equals(data.subarray(4096, 16384))).toBe(true);
  });
});

describe('filters', () => {
  const text = 'b 2\na 10\nc 1\na 10\n';
  it('head and tail', () => {
    expect(out('head -n 2', text)).toBe('b 2\na 10\n'); expect(out('head -1', text)).toBe('b 2\n'); expect(out('head -c 3', text)).toBe('b 2');
    expect(out('tail -n 2', text)).toBe('c 1\na 10\n'); expect(out('tail -n +3', text)).toBe('c 1\na 10\n'); expect(out('tail -c 4', text)).toBe(' 10\n');
    expect(out('tail -n 0', text)).toBe('');
  });
  it('sort and uniq', () => {
    expect(out('sort', text)).toBe('a 10\na 10\nb 2\nc 1\n'); expect(out('sort -u -r', text)).toBe('c 1\nb 2\na 10\n');
    expect(out('sort -n', '10\n9\n-1\n100\n')).toBe('-1\n9\n10\n100\n');
    expect(out('uniq -c', 'a\na\nb\n')).toBe('      2 a\n      1 b\n');
  });
  it('wc, tee, seq', () => {
    expect(out('wc', text)).toBe('      4       8      18\n');
    expect(out('tee /tmp/t', 'x\n')).toBe('x\n'); expect(system.read('/tmp/t')).toBe('x\n');
    expect(out('seq 3 -1 1')).toBe('3\n2\n1\n'); expect(out('seq 3 1')).toBe(''); expect(run('seq 1 0 2').status).toBe(2);
  });
  it('grep', () => {
    expect(out('grep -n ^a', text)).toBe('2:a 10\n4:a 10\n'); expect(run('grep x', text).status).toBe(1); expect(out('grep -v -c a', text)).toBe('2\n');
    expect(out('grep -i B.[0-9]$', text)).toBe('b 2\n'); expect(out('grep -F .', 'a.b\nab\n')).toBe('a.b\n');
  });
  it('hexdump shows offsets, bytes and characters', () => expect(out('hexdump', 'Kintsugi\n0123456789')).toBe('00000000  4b 69 6e 74 73 75 67 69  0a 30 31 32 33 34 35 36  |Kintsugi.0123456|\n00000010  37 38 39                                          |789|\n00000013\n'));
});

describe('others', () => {
  it('test', () => { expect(run('test 1 -lt 2 -a ! -d /nope').status).toBe(0); expect(run('test -f /tmp').status).toBe(1); expect(run('test 1 -lt x').status).toBe(2); expect(run('test ( 1 = 1 -o a = b ) -a x').status).toBe(0); });
  it('kill addresses processes and groups and refuses nonsense', () => {
    system.requests.length = 0;
    out('kill 5'); out('kill -9 5'); out('kill -s INT -- -7'.replace(' --', ''));
    expect(system.requests).toEqual(['kill 5 15 0', 'kill 5 9 0', 'kill 7 2 1']);
    expect(run('kill -FOO 5').status).toBe(2);
  });
  it('sleep wants a number', () => { expect(run('sleep x').status).toBe(2); expect(run('sleep 0.25').status).toBe(0); });
  it('complains about unknown options', () => expect(run('ls -Q').status).toBe(2));
});

describe('algorithms', () => {
  it('SHA-256 agrees with node:crypto at every length up to three blocks, in any pieces', async () => {
    const memory = guestMemory(), g = instantiate(await guestModule('test/programs/guest/sha.ts'), memory, { sys_enter: () => 0 }), u8 = new Uint8Array(memory.buffer), at = 0x200000;
    for (let n = 0; n <= 200; n++) {
      const data = randomBytes(n), cut = n === 0 ? 0 : data[0]! % (n + 1);
      u8.set(data, at);
      g['shaBegin']!(); g['shaUpdate']!(at, cut); g['shaUpdate']!(at + cut, n - cut); g['shaEnd']!(0x300000);
      expect(Buffer.from(u8.subarray(0x300000, 0x300020)).toString('hex')).toBe(createHash('sha256').update(data).digest('hex'));
    }
  });
  it('patterns match as a shell does', async () => {
    const memory = guestMemory(), g = instantiate(await guestModule('test/programs/guest/sha.ts'), memory, { sys_enter: () => 0 }), u8 = new Uint8Array(memory.buffer);
    const matches = (pattern: string, name: string): boolean => { u8.set(Buffer.from(`${pattern}\0`, 'latin1'), 0x200000); u8.set(Buffer.from(`${name}\0`, 'latin1'), 0x300000); return g['globMatches']!(0x200000, 0x300000) !== 0; };
    for (const [p, n, yes] of [['*', '', true], ['*.c', 'a.c', true], ['*.c', 'a.h', false], ['a*b*c', 'aXbYc', true], ['a*b*c', 'acb', false], ['?', '', false], ['[a-c]x', 'bx', true], ['[!a-c]x', 'bx', false], ['[]x', '[]x', true], ['\x01*', '*', true], ['\x01*', 'a', false], ['[]]', ']', true], ['*a*a*a*a*a*b', 'a'.repeat(60), false]] as const) {
      expect(matches(p, n), `${p} ${n}`).toBe(yes);
    }
  });
});
