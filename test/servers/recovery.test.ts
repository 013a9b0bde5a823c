// What becomes of requests and servers in the cases that no kill on request makes: a request that kills its server, a server that spins, a server that
// cannot be helped, a supervisor that dies in the middle of a recovery. The faults are put into the servers' own machine code.
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import { createMachine } from '../../vm/machine.ts';
import { ChannelDecoder } from '../../tools/cli/channel.ts';
import { ensureGuest, GUEST_FOLDER } from '../../tools/cli/guest.ts';
import { MODULES, systemConfig } from '../../tools/cli/system.ts';

beforeAll(() => ensureGuest(), 600_000);
vi.setConfig({ testTimeout: 500_000 }); // a few seconds of CPU each; the limit is for machines with other things to do

const UD2 = [0x0f, 0x0b], SPIN = [0xeb, 0xfe]; // jmp to itself

/** A guest ELF with `code` over the first instruction of the source line that contains `text`. */
function broken(module: string, file: string, text: string, code: readonly number[]): Uint8Array {
  const info = JSON.parse(readFileSync(path.join(GUEST_FOLDER, `${module}.dbg.json`), 'utf8')) as { files: string[]; lines: [number, number, number, number][] };
  const line = readFileSync(path.join(REPOSITORY_ROOT, file), 'utf8').split('\n').findIndex((l) => l.includes(text)) + 1;
  const address = info.lines.find(([, f, l]) => info.files[f] === file && l === line)?.[0];
  if (line === 0 || address === undefined) throw new Error(`${file} has no code for "${text}"`);
  const elf = new Uint8Array(readFileSync(path.join(GUEST_FOLDER, `${module}.elf`))), view = new DataView(elf.buffer);
  for (let n = 0, at = view.getUint32(28, true); n < view.getUint16(44, true); n++, at += 32) {
    const offset = view.getUint32(at + 4, true), va = view.getUint32(at + 8, true), bytes = view.getUint32(at + 16, true);
    if (address >= va && address < va + bytes) { elf.set(code, offset + address - va); return elf; }
  }
  throw new Error(`no segment holds ${address.toString(16)}`);
}
interface Outcome { reason: string; log: string; stdout: string; stderr: string; status: number | undefined; virtualNs: number }
async function run(script: string, options: { fs?: Uint8Array; append?: string } = {}): Promise<Outcome> {
  let log = '', stdout = '', stderr = '', status: number | undefined;
  const decoder = new ChannelDecoder((frame) => {
    if (frame.kind === 'output') { if (frame.stream === 1) stdout += Buffer.from(frame.data).toString(); else stderr += Buffer.from(frame.data).toString(); } else if (frame.kind === 'exit') status = frame.status;
  }, (problem) => { stderr += problem; });
  const config = systemConfig({ place: 'pin', smp: 2, memoryMiB: 128, deterministic: true, seed: 1, timeoutSeconds: 400, jit: 'on', append: options.append ?? '' }, ['sh', '-c', script], {
    com1: (bytes: Uint8Array) => { log += Buffer.from(bytes).toString('latin1'); }, com2: (bytes: Uint8Array) => decoder.push(bytes),
  });
  const modules = MODULES.map((name) => (name === 'fs' && options.fs ? { data: options.fs, string: name } : { file: path.join(GUEST_FOLDER, `${name}.elf`), string: name }));
  const { reason, virtualNs } = await createMachine({ ...config, modules }).run();
  return { reason, log, stdout, stderr, status, virtualNs };
}
const count = (text: string, what: RegExp): number => text.match(what)?.length ?? 0;

describe('a request that kills its server', () => {
  it('is refused after two deaths, alone: others in service meanwhile are done, later ones too', async () => {
    const fs = broken('fs', 'servers/fs/service.ts', 'return bad < 0 ? bad : rename(', UD2);
    const o = await run('(for i in 1 2 3 4 5 6; do cp /bin/cat /tmp/c$i; done; cat /tmp/c6 | wc -c) & echo one > /tmp/a; mv /tmp/a /tmp/b; echo "mv $?"; cat /tmp/a; wait; echo end', { fs });
    expect(o.reason, o.log).toBe('poweroff');
    expect(count(o.log, /fs died on cpu/g)).toBe(2);
    expect(o.log).toMatch(/fs: operation 11 of process is poison/);
    expect(o.stdout).toContain('mv 1\none\n');
    expect(o.stderr).toContain('mv: ');
    expect(o.stdout).toContain(`${readFileSync(path.join(GUEST_FOLDER, 'cat.elf')).length}\n`);
    expect(o.stdout).toContain('end');
  });
});

describe('a server that spins', () => {
  it('is found by the time bound of the operation, and the operation that makes it spin is refused', async () => {
    const fs = broken('fs', 'servers/fs/service.ts', 'return bad < 0 ? bad : chmod(', SPIN);
    const o = await run('echo one > /tmp/a; chmod 600 /tmp/a; echo "chmod $?"; cat /tmp/a', { fs, append: 'hang=40' });
    expect(o.reason, o.log).toBe('poweroff');
    expect(count(o.log, /fs is late: operation 15 of process taken/g)).toBe(2);
    expect(o.stdout).toBe('chmod 1\none\n');
  });
  it('is not suspected while it waits for the outside world', async () => {
    const o = await run('sleep 0.5; echo done', { append: 'hang=40' });
    expect(o.stdout).toBe('done\n');
    expect(o.log).not.toContain('is late');
  });
});

describe('a server that cannot be helped', () => {
  it('is given up after more than five deaths in ten seconds, and its clients get errors instead of waiting for ever', async () => {
    const fs = broken('fs', 'servers/fs/service.ts', 'const sb = superblock();', UD2);
    const o = await run('df; df; df; echo "df $?"; echo x > /tmp/f; echo "write $?"', { fs });
    expect(o.reason, o.log).toBe('poweroff');
    expect(count(o.log, /fs died on cpu/g)).toBe(6);
    expect(o.log).toContain('fs is given up: died too often');
    expect(o.stdout).toMatch(/df 1\n[\s\S]*write [12]\n/);
  });
});

describe('a supervisor that dies in the middle of a recovery', () => {
  // detected, stopped, quiet, revoked, built, started
  const phases = process.env['KINTSUGI_FULL'] === undefined ? [2, 4, 5] : [1, 2, 3, 4, 5, 6];
  it.each(phases)('at phase %i goes on from its journal: the server comes back, programs notice nothing', async (phase) => {
    const o = await run('cp /bin/cat /tmp/c & kill fs; wait; cat /tmp/c | wc -c; sleep 0.05; ps', { append: `failpoint=${phase}` });
    expect(o.reason, o.log).toBe('poweroff');
    expect(o.log).toContain(`supervisor dies at phase ${phase} of fs`);
    expect(o.log).toContain('supervisor restarted, generation 2');
    expect(o.log).not.toMatch(/given up|cannot/);
    expect(o.stdout).toContain(`${readFileSync(path.join(GUEST_FOLDER, 'cat.elf')).length}\n`);
    expect(o.stdout).toMatch(/S {2}1 +- +\d+ +2 .*supervisor/);
    expect(o.stdout).toMatch(/S {2}3 +- +\d+ +[23] .*fs/);
  });
});
