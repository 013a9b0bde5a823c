// The line discipline of tty as wasm in Node.
import { beforeEach, describe, expect, it } from 'vitest';
import { guestMemory, guestModule, instantiate } from '../programs/build.ts';

const memory = guestMemory(), u8 = new Uint8Array(memory.buffer);
let g: Record<string, (...a: number[]) => number>;
beforeEach(async () => { u8.fill(0, 0x10000, 0x20000); u8.fill(0, 0x200000, 0x320000); g = instantiate(await guestModule('test/process/guest/line.ts'), memory, {}); g['init']!(); });
const type = (text: string): void => { for (const b of Buffer.from(text)) g['type']!(b); };
const screen = (): string => { const n = g['screen']!(); return Buffer.from(u8.subarray(0x310000, 0x310000 + n)).toString(); };
/** undefined: a read would wait. */
const read = (bytes = 4096): string | undefined => { if (g['canRead']!() === 0) return undefined; const n = g['take']!(bytes); return Buffer.from(u8.subarray(0x300000, 0x300000 + n)).toString(); };

describe('canonical mode', () => {
  it('echoes and gives whole lines, one to a read', () => {
    type('ab');
    expect(read()).toBe(undefined);
    type('c\rdef\n');
    expect(screen()).toBe('abc\r\ndef\r\n');
    expect(read()).toBe('abc\n');
    expect(read(2)).toBe('de'); expect(read()).toBe('f\n'); expect(read()).toBe(undefined);
  });
  it('erases characters, words and lines, also on the screen', () => {
    type('abx\x7fc'); expect(screen()).toBe('abx\b \bc');
    type('\x15'); expect(screen()).toBe('\b \b'.repeat(3));
    type('one two  \x17\n'); screen(); expect(read()).toBe('one \n');
    type('\x7f\x7fz\n'); expect(read()).toBe('z\n');
  });
  it('erases a whole UTF-8 character as one column', () => { type('é'); screen(); type('\x7f'); expect(screen()).toBe('\b \b'); type('\n'); expect(read()).toBe('\n'); });
  it('^D ends the file at the beginning of a line and hands over what was typed elsewhere', () => {
    type('\x04'); expect(read()).toBe('');
    type('ab\x04'); expect(read()).toBe('ab'); expect(read()).toBe(undefined);
    type('c\n\x04'); expect(read()).toBe('c\n'); expect(read()).toBe('');
  });
  it('^C and ^\\ signal and throw away what was typed', () => {
    type('old\nabc\x03'); expect(g['signal']!()).toBe(2); expect(g['signal']!()).toBe(0); expect(screen()).toContain('^C');
    expect(read()).toBe(undefined);
    type('\x1c'); expect(g['signal']!()).toBe(3);
    type('x\n'); expect(read()).toBe('x\n');
  });
  it('^V takes the next key as it is', () => { type('\x16\x03\n'); expect(g['signal']!()).toBe(0); expect(read()).toBe('\x03\n'); });
  it('rings and drops when a line is too long, and loses nothing else', () => {
    type('x'.repeat(1030)); expect(g['dropped']!()).toBe(6); type('\n'); expect(read()).toBe(`${'x'.repeat(1024)}\n`);
  });
  it('holds type-ahead up to its limit', () => { for (let n = 0; n < 1000; n++) { type('abcdefg\n'); screen(); } let lines = 0; while (read() === 'abcdefg\n') lines++; expect(lines).toBe(512); });
});

describe('raw mode', () => {
  it('gives every byte at once, signals included', () => { g['mode']!(8); type('a\x03\x04\r'); expect(screen()).toBe(''); expect(read()).toBe('a\x03\x04\r'); });
  it('gets what was typed before the switch', () => { type('ls'); g['mode']!(8); expect(read()).toBe('ls'); });
});

describe('output', () => {
  const written = (): string => Buffer.from(u8.subarray(0x310000, 0x310000 + g['written']!())).toString();
  it('turns newlines into CR LF, never splits the two, and stops when the buffer is full', () => {
    u8.set(Buffer.from('a\nb'), 0x300000); expect(g['put']!(3, 256)).toBe(3); expect(written()).toBe('a\r\nb');
    u8.fill(10, 0x300000, 0x302000); expect(g['put']!(8192, 256)).toBe(128); expect(written()).toBe('\r\n'.repeat(128));
    expect(g['put']!(8192, 255)).toBe(127);
    g['mode']!(0); expect(g['put']!(8192, 256)).toBe(255); // room for two at every step
  });
});

describe('host channel', () => {
  const frame = (type_: number, payload: string): void => { for (const b of [type_, 0, payload.length & 255, payload.length >> 8, ...Buffer.from(payload)]) g['channel']!(b); };
  beforeEach(() => { g['mode']!(0); });
  it('unpacks input, end of file and signals', () => {
    frame(16, 'hello'); expect(read()).toBe('hello');
    frame(18, '\x0f'); expect(g['signal']!()).toBe(15);
    frame(17, ''); expect(read()).toBe('');
  });
  it('keeps the end of the input apart from the data before it', () => { frame(16, 'hello'); frame(17, ''); expect(read()).toBe('hello'); expect(read()).toBe(''); });
  it('gives the end of the input to every read after it, as a pipe does', () => { frame(16, 'x'); frame(17, ''); expect(read()).toBe('x'); for (let n = 0; n < 3; n++) expect(read()).toBe(''); });
  it('finds the next frame behind rubbish', () => { for (const b of [0, 255, 3, 200]) g['channel']!(b); frame(16, 'ok'); expect(read()).toBe('ok'); });
  it('packs output', () => { u8.set(Buffer.from('abc'), 0x300000); g['frame']!(2, 1, 3); expect(screen()).toBe('\x02\x01\x03\0abc'); });
});
