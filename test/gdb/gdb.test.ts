/** The gdb stub: with the real gdb on a bare machine and on the booted system, and with packets that no gdb would send. */
import { beforeAll, describe, expect, it } from 'vitest';
import { ensureGuest } from '../../tools/cli/guest.ts';
import { systemConfig } from '../../tools/cli/system.ts';
import { KintsugiAwareness } from '../../tools/gdb/awareness.ts';
import { MachineTarget } from '../../tools/gdb/machine-target.ts';
import { PacketReader, fromHex, packet, toHex } from '../../tools/gdb/packets.ts';
import { Session } from '../../tools/gdb/session.ts';
import { createDeterministicMachine } from '../../vm/machine.ts';
import { COUNTING, bareMachine, counting, le32 } from '../machine/bare.ts';
import { gdbMissing, gdbSession } from './gdb.ts';

const bare = (rounds = 5000): MachineTarget => new MachineTarget(bareMachine(counting(rounds)));
const hex = (value: number): string => `0x${value.toString(16)}`;

describe('packets', () => {
  it('come out of any cutting of the stream as they went in', () => {
    const payloads = ['', 'qSupported', 'X100,4:$#}*', 'vCont;c'];
    const stream = Buffer.concat([Buffer.from('+'), ...payloads.map((text) => packet(text)), Buffer.of(3)]);
    for (const cut of [1, 2, 3, 7, stream.length]) {
      const reader = new PacketReader(), got = [];
      for (let at = 0; at < stream.length; at += cut) got.push(...reader.push(stream.subarray(at, at + cut)));
      expect(got.map((received) => (received.kind === 'packet' ? Buffer.from(received.payload).toString('latin1') : received.kind))).toEqual(['ack', ...payloads, 'interrupt']);
    }
  });
  it('with a wrong checksum are damaged', () => {
    expect(new PacketReader().push(Buffer.from('$g#68')).map(({ kind }) => kind)).toEqual(['damaged']);
    expect(new PacketReader().push(Buffer.from('$g#6x')).map(({ kind }) => kind)).toEqual(['damaged']);
  });
});

/** Sends packets to a session one after the other; the answers, console text left out. */
async function talk(target: MachineTarget, packets: readonly (string | Uint8Array)[]): Promise<string[]> {
  const answers: string[] = [], reader = new PacketReader();
  let told = (): void => undefined, over = false;
  const session = new Session(target, (bytes) => {
    for (const received of reader.push(bytes)) if (received.kind === 'packet') { const text = Buffer.from(received.payload).toString('latin1'); if (!/^O[0-9a-f]/.test(text)) { answers.push(text); told(); } }
  }, () => { over = true; told(); });
  for (const each of packets) {
    if (over) break;
    const answered = new Promise<void>((resolve) => { told = resolve; });
    session.receive(packet(each));
    await answered;
  }
  return answers;
}

describe('the protocol', () => {
  it('answers what it does not know with nothing, wrong packets with an error, and lives on', async () => {
    const target = bare();
    const odd = ['!', 'vMustReplyEmpty', 'qNoSuchThing', 'm', 'mzz,4', 'm0', 'm0,-1', 'mffffffff0,4', 'M0,4:00', 'M0,4:zz', 'X0,4:a', 'X', 'P', 'Pzz=00', 'P999=00000000', 'p999', 'p', 'Z0', 'Z9,0,1', 'Z2,0,0', 'Z2,0,ffffffff', 'z0,1234,1', 'Hx1', 'Hg999', 'T', 'T77',
      'vCont;', 'vCont;x', 'vCont;s:zz', 'cz', 'szz', 'bx', 'qRcmd,', 'qRcmd,7', 'qXfer:features:read:other.xml:0,10', 'qXfer:features:write:x:0,1', 'qXfer:threads:read::zz,1', 'G', 'Gzz', 'qThreadExtraInfo,99', 'vCont;s:1005', 'D2'].filter((each) => each !== 'D2');
    const answers = await talk(target, [...odd, 'qC']);
    expect(answers.length).toBe(odd.length + 1);
    for (const [n, answer] of answers.entries()) if (n < odd.length) expect(`${odd[n]} -> ${answer}`).toMatch(/-> (E[0-9a-f]{2}|OK|T05.*)?$/);
    expect(answers.at(-1)).toBe('QC1');
  });
  it('is not hurt by random packets', async () => {
    let seed = 12345;
    const below = (n: number): number => { seed = (Math.imul(seed, 1103515245) + 12345) >>> 0; return (seed >>> 8) % n; };
    const first = 'gGpPmMXzZHTqQvbscCS?!', alphabet = '0123456789abcdef,;:.-=pzXr \0\xff';
    const target = bare(100);
    const random = Array.from({ length: 3000 }, () => { const text = first[below(first.length)]! + Array.from({ length: below(14) }, () => alphabet[below(alphabet.length)]).join(''); return text; });
    const answers = await talk(target, [...random, 'qC', 'qC']);
    // Running on may well end the machine, and with it the session.
    expect(answers.length).toBeGreaterThan(0);
  });
  it('reads and writes memory and registers, and refuses what is not there', async () => {
    const target = bare();
    const answers = await talk(target, [`m${COUNTING.word.toString(16)},4`, `M${COUNTING.word.toString(16)},4:78563412`, `m${COUNTING.word.toString(16)},4`, 'm3ffffe,8', 'm400000,1', 'M400000,1:00', 'P0=11223344', 'p0', 'P28=00000000']);
    expect(answers).toEqual(['00000000', 'OK', '78563412', '0000', 'E14', 'E14', 'OK', '11223344', 'OK']);
    expect(fromHex(toHex(Uint8Array.of(1, 255)))).toEqual(Uint8Array.of(1, 255));
  });
});

describe.skipIf(gdbMissing !== null)('the real gdb', () => {
  it('breakpoints, watchpoints, steps, registers, memory, and back', { timeout: 120_000 }, async () => {
    const { said, ending } = await gdbSession(bare(), [
      `break *${hex(COUNTING.load)}`, 'continue', 'printf "eax %d\\n", $eax', 'continue 3', 'printf "eax %d\\n", $eax', 'stepi', 'printf "at %x\\n", $pc',
      'delete', `hbreak *${hex(COUNTING.ret)}`, 'continue', 'printf "at %x\\n", $pc', 'delete',
      `watch *(int*)${hex(COUNTING.word)}`, 'continue', 'continue', 'reverse-continue', 'reverse-continue', 'delete',
      `rwatch *(int*)${hex(COUNTING.word)}`, 'continue', 'printf "at %x\\n", $pc', 'delete',
      'reverse-stepi', 'printf "at %x\\n", $pc', 'set var $ebx = 77', 'printf "ebx %d\\n", $ebx', `set var *(int*)${hex(COUNTING.word + 64)} = 4711`, `printf "word %d\\n", *(int*)${hex(COUNTING.word + 64)}`,
      'p $xmm3.v4_int32', 'p $st0', 'p $mxcsr', 'p/x $cr0', 'p $eflags', 'info registers fctrl', 'info threads', 'info mem',
      'monitor when', 'monitor help', 'monitor nonsense', 'monitor info tlb', `monitor xp ${COUNTING.word} 4`, 'monitor goto 100', 'maintenance flush register-cache', 'monitor when', 'monitor snapshot', 'monitor info snapshots',
      'continue', 'reverse-stepi', 'continue', 'continue', 'continue',
    ]);
    expect(ending).toBe('ended');
    for (const line of [
      'eax 1\n', 'eax 4\n', `at ${COUNTING.ret.toString(16)}\n`, 'Hardware watchpoint 3', 'Old value = 5\nNew value = 6', 'Old value = 6\nNew value = 7', 'Old value = 7\nNew value = 6', 'Old value = 6\nNew value = 5', 'Value = ', 'ebx 77', 'word 4711',
      '{0, 0, 0, 0}', 'CPU#0', '= 0x11', 'fctrl          0x37f', 'there is no command "nonsense"', 'paging is off', 'instruction 100, virtual', 'kept instruction 100', 'No more reverse-execution history', 'exited with code 01', 'the machine has stopped: exit, status 1',
    ]) expect(said).toContain(line);
  });
  it('x87 and SSE as target.xml has them: tags, stack, vectors, written and read by the guest; watches of every kind; physical memory', { timeout: 120_000 }, async () => {
    // fld1; fldz; movups [word], xmm1; mov eax, [word + 4]; mov [word + 64], eax; hlt
    const target = new MachineTarget(bareMachine([0x0f, 0x20, 0xe0, 0x0d, 0, 2, 0, 0, 0x0f, 0x22, 0xe0, 0xd9, 0xe8, 0xd9, 0xee, 0x0f, 0x11, 0x0d, ...le32(COUNTING.word), 0xa1, ...le32(COUNTING.word + 4), 0xa3, ...le32(COUNTING.word + 64), 0xf4]));
    const { said } = await gdbSession(target, [
      'stepi 5', 'info float', 'p $st0', 'p $st1', 'p/x $ftag', 'p/x $fstat', 'set var $xmm1.v4_int32[1] = 0x1234', 'p $xmm1.v4_int32', 'set var $mxcsr = 0x1fc0', 'p $mxcsr', 'set var $ftag = 0xffff', 'p/x $ftag',
      `awatch *(int*)${hex(COUNTING.word + 4)}`, 'continue', 'continue', 'p/x $eax', 'delete', `rwatch *(int*)${hex(COUNTING.word + 64)}`, `watch *(int*)${hex(COUNTING.word + 64)}`, 'continue', 'delete',
      `monitor wp ${hex(COUNTING.word + 128)} 0x89`, `monitor xp ${hex(COUNTING.word + 128)} 1`, `p *(unsigned char*)${hex(COUNTING.word + 128)}`, 'maintenance print xml-tdesc', 'detach',
    ]);
    for (const line of ['R7: Valid', 'R5: Empty', '=>R6: Zero', 'v4_int32', '{0, 4660, 0, 0}', '0xffff', 'Hardware access (read/write) watchpoint 1', 'Value = ', '= 0x1234', 'New value = 4660', "137 '\\211'", 'org.gnu.gdb.i386.sse', 'org.gnu.gdb.i386.core']) expect(said).toContain(line);
    expect(said).toMatch(/\$\d+ = 1\n/); // st1
    expect(said).toMatch(/\$\d+ = 0x1fff\n/); // R7 valid 00, R6 zero 01, the rest empty 11: 0001 1111 1111 1111
    expect(target.machine.board.ramWords[(COUNTING.word >> 2) + 16]).toBe(0x1234);
  });
  it('^C stops a machine that runs, detach lets it run on, kill ends it', { timeout: 120_000 }, async () => {
    const endless = (): MachineTarget => new MachineTarget(bareMachine([0x40, 0xeb, 0xfd])); // inc eax; jmp
    const stopped = endless();
    const again = setInterval(() => stopped.interrupt(), 300); // whenever gdb has come so far
    const first = await gdbSession(stopped, ['continue', 'printf "at %x\\n", $pc', 'detach']);
    clearInterval(again);
    expect(first.said).toMatch(/SIGINT/);
    expect(first.ending).toBe('detached');
    expect((await gdbSession(endless(), ['stepi', 'kill'])).ending).toBe('killed');
  });

  describe('on the booted system', () => {
    beforeAll(() => { ensureGuest(); }, 600_000);
    const system = (cpus: number, argv: readonly string[]): MachineTarget => new MachineTarget(createDeterministicMachine(systemConfig({ place: 'pin', smp: cpus, memoryMiB: 128, deterministic: true, seed: 1, jit: 'on', append: '' }, argv, {})), (debug) => new KintsugiAwareness(debug.port));
    it('knows Threads, address spaces, TypeScript lines and stacks', { timeout: 180_000 }, async () => {
      const target = system(2, ['cat', '/etc/motd']), files = target.awareness!.symbols(['kernel', 'fs', 'nobody']);
      expect(files.map(({ name }) => name)).toEqual(['kernel', 'fs']);
      const { said, ending } = await gdbSession(target, [
        ...files.map(({ command }) => command), 'monitor space fs', 'break resolve', 'continue', 'bt', 'info threads', 'monitor info cpus', 'stepi', 'stepi', 'reverse-stepi', 'finish', 'reverse-continue', 'monitor when',
        'monitor symbols', 'delete', 'break deliver', 'continue', 'bt', 'monitor info tlb', 'p/x $cr3', 'p $eip', 'monitor panic', 'monitor space all', 'monitor hash', 'monitor info threads', 'delete', 'next', 'step', 'printf "there %x\\n", $pc', 'step', 'reverse-step', 'printf "again %x\\n", $pc', 'reverse-next', 'reverse-finish', 'detach',
      ]);
      expect(ending).toBe('detached');
      expect(said).toMatch(/hit Breakpoint 1, resolve \(\) at servers\/fs\/path\.ts:\d+/);
      expect(said).toMatch(/#1 .* in open \(\) at servers\/fs\/names\.ts:\d+/);
      expect(said).toMatch(/Thread \d+ "fs" \(running on CPU 1, prio 40, servers\/fs\/path\.ts:\d+\)/);
      expect(said).toMatch(/Thread \d+ "virtio-blk" \(waiting, prio 50, (drivers|servers)\/[a-z/-]+\.ts:\d+\)/);
      expect(said).toMatch(/hit Breakpoint 2, deliver \(\) at microkernel\/core\/ipc\.ts:\d+/);
      expect(said).toMatch(/CPU#1 +running .*ring 3 .*servers\/fs\/path\.ts/);
      expect(said).toMatch(/c0100000-c0[0-9a-f]{6} {2}00100000 {2}-r-/);
      expect(said).toContain('a panic of the kernel stops');
      expect(said).toMatch(/^ *\d+ +fs +[a-z].*, prio 40, servers\/fs\/\w+\.ts:\d+$/m);
      // A line forward, a line back; then back to the line that called.
      expect(said).toMatch(/\n(\d+\t[^\n]*)\nthere [0-9a-f]+\n\d+\t[^\n]*\n\1\nagain [0-9a-f]+\n/);
      expect(said).toMatch(/again [0-9a-f]+\n[^\n]*\n(Run back to call of[^\n]*\n)?\w+ \(\) at microkernel\/core\/ipc\.ts:\d+/);
      expect(said).not.toMatch(/Remote failure|does not support this command|Cannot/);
      expect(target.machine.stopReason).toBeUndefined();
    });
    it('stops when the kernel panics, and goes back to before it', { timeout: 180_000 }, async () => {
      const target = system(1, ['true']), files = target.awareness!.symbols(['kernel']);
      const { said } = await gdbSession(target, [...files.map(({ command }) => command), 'break syscallEntry', 'continue', 'delete', 'set var $eip = 0xf0000000', 'continue', 'bt 1', 'detach']);
      expect(said).toContain('the kernel panics');
      expect(said).toMatch(/#0 .*panicFrame \(\) at microkernel\/arch\/panic\.ts/);
    });
  });
});
