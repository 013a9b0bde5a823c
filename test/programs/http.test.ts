// What httpd and wget understand of HTTP: heads, fields, paths that cannot leave the root, numbers.
import { beforeAll, describe, expect, it } from 'vitest';
import { guestMemory, guestModule, instantiate } from './build.ts';

type Guest = Record<'headLength' | 'field' | 'fieldLength' | 'fieldHas' | 'requestPath' | 'decimal' | 'parseV4' | 'parsePort' | '__new', (...a: (number | bigint)[]) => number | bigint>;
const AT = 0x100000, OUT = 0x200000;
let guest: Guest, u8: Uint8Array;
beforeAll(async () => {
  const memory = guestMemory();
  guest = instantiate(await guestModule('test/programs/guest/http.ts'), memory, {}) as unknown as Guest;
  u8 = new Uint8Array(memory.buffer);
});
const put = (text: string, at = AT): number => { const bytes = Buffer.from(text, 'latin1'); u8.set(bytes, at); u8[at + bytes.length] = 0; return bytes.length; };
const path = (text: string): string | number => {
  const length = Number(guest.requestPath(AT, put(text), OUT));
  return length < 0 ? length : Buffer.from(u8.subarray(OUT, OUT + length)).toString('latin1');
};
/** A literal of the guest: AssemblyScript strings are UTF-16 with the length in bytes in front. */
const literal = (text: string): number => { const at = 0x300020, bytes = Buffer.from(text, 'utf16le'); u8.set(bytes, at); new DataView(u8.buffer).setUint32(at - 4, bytes.length, true); return at; };
const field = (head: string, name: string): string | undefined => {
  const at = Number(guest.field(AT, put(head), literal(name)));
  return at === 0 ? undefined : Buffer.from(u8.subarray(at, at + Number(guest.fieldLength()))).toString('latin1');
};

describe('a request path', () => {
  it.each([
    ['/', '/'], ['/a/b', '/a/b'], ['/a/b/', '/a/b/'], ['//a///b', '/a/b'], ['/a/./b/.', '/a/b/'], ['/a/../b', '/b'], ['/..', '/'], ['/../../etc/passwd', '/etc/passwd'], ['/a/b/..', '/a/'],
    ['/%61%2fb', '/a/b'], ['/%2e%2e/%2e%2e/x', '/x'], ['/a?b=/../c', '/a'], ['/a#b', '/a'], ['/a%20b', '/a b'], ['http://host:80/a/../b', '/b'], ['http://host', '/'], ['/...', '/...'], ['/a..', '/a..'],
  ])('%s is %s', (text, wanted) => expect(path(text)).toBe(wanted));
  it.each(['', 'a', '*', '/%', '/%4', '/%zz', '/%00', '/a%00b'])('%s is none', (text) => expect(path(text)).toBe(-1));
  it('never leaves the root, whatever it is made of', () => {
    let x = 12345;
    const draw = (n: number): number => { x = (Math.imul(x, 1664525) + 1013904223) >>> 0; return (x >>> 8) % n; };
    const parts = ['/', '/', '.', '..', '%2e', '%2F', 'a', '%41', '//', '?', '%'];
    for (let round = 0; round < 5000; round++) {
      const text = `/${Array.from({ length: draw(12) }, () => parts[draw(parts.length)]).join('')}`, out = path(text);
      if (out === -1) continue;
      expect(String(out), text).toMatch(/^\//);
      expect(`${out}/`, text).not.toMatch(/\/\.\.?\/|\/\/\/|\0/);
    }
  });
});

describe('a head', () => {
  const head = 'GET / HTTP/1.1\r\nHost: here\r\nX-Empty:\r\nConnection:  keep-alive , Close \r\nContent-Length: 12\r\n\r\n';
  it('ends with an empty line', () => {
    expect(Number(guest.headLength(AT, put(`${head}body`)))).toBe(head.length);
    for (let n = 0; n < head.length; n++) expect(Number(guest.headLength(AT, n)), String(n)).toBe(0);
    expect(Number(guest.headLength(AT, put('GET /\n\nx')))).toBe(7);
  });
  it('has fields, whatever the case of their names', () => {
    expect(field(head, 'host')).toBe('here');
    expect(field(head.toUpperCase(), 'content-length')).toBe('12');
    expect(field(head, 'x-empty')).toBe('');
    expect(field(head, 'get / http/1.1')).toBeUndefined();
    expect(field(head, 'none')).toBeUndefined();
  });
  it('has tokens in its lists', () => {
    const has = (token: string): boolean => { const length = put(head); const name = literal('connection'); const at = 0x310020, bytes = Buffer.from(token, 'utf16le'); u8.set(bytes, at); new DataView(u8.buffer).setUint32(at - 4, bytes.length, true); return Number(guest.fieldHas(AT, length, name, at)) !== 0; };
    expect([has('keep-alive'), has('close'), has('clos'), has('upgrade')]).toEqual([true, true, false, false]);
  });
});

describe('numbers', () => {
  it('are whole or none', () => {
    const decimal = (text: string): number => Number(guest.decimal(AT, put(text)));
    expect(['0', '12', '9007199254740991', '9007199254740992', '', '1x', '-1', ' 1'].map(decimal)).toEqual([0, 12, 9007199254740991, -1, -1, -1, -1, -1]);
  });
  it('addresses have four parts of one byte', () => {
    const v4 = (text: string): string | undefined => (Number(guest.parseV4(AT, put(text), OUT)) === 0 ? undefined : [...u8.subarray(OUT + 16, OUT + 20)].join('.'));
    expect(['10.0.2.15', '255.255.255.255', '0.0.0.0'].map(v4)).toEqual(['10.0.2.15', '255.255.255.255', '0.0.0.0']);
    for (const bad of ['', '1.2.3', '1.2.3.4.5', '256.1.1.1', '1..2.3', 'a.b.c.d', '1.2.3.4 ', '01234.1.1.1']) expect(v4(bad), bad).toBeUndefined();
  });
  it('ports are 1 to 65535', () => expect(['1', '80', '65535', '0', '65536', '', 'x', '80x'].map((text) => { put(text); return Number(guest.parsePort(AT)); })).toEqual([1, 80, 65535, -1, -1, -1, -1, -1]));
});
