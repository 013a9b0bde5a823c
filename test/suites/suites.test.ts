/**
 * Other people's test suites, from the folder $KINTSUGI_SUITES (README.md beside this file); without it only the harness is tested, on a
 * script of our own.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { compare, MISSING as QEMU_MISSING, qemuFolder, runQemuTests } from './qemu-i386.ts';
import { MISSING, RESULTS, runFile, suiteFiles, type Summary, usableEngines } from './wasm.ts';
import { readWast, WastError } from './wast.ts';

const OWN = String.raw`
(module (memory 1 2)
  (func (export "pick") (param i32) (result i32)
    (i32.add (i32.const 1000) (block (result i32) (i32.add (i32.const 100) (block (result i32)
      (br_table 0 1 0 (i32.mul (local.get 0) (i32.const 7)) (local.get 0)))))))
  (func (export "dropped") (param i32 i32) (drop (i32.div_u (local.get 0) (local.get 1))))
  (func (export "wide") (param i32 i64) (i64.store (local.get 0) (local.get 1)))
  (func (export "word") (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "nan") (param f32) (result f32) (f32.neg (local.get 0)))
  (func $deep (export "deep") (call $deep)))
(assert_return (invoke "pick" (i32.const 0)) (i32.const 1100))
(assert_return (invoke "pick" (i32.const 1)) (i32.const 1007))
(assert_return (invoke "pick" (i32.const 9)) (i32.const 1163)) ;; the default
(assert_trap (invoke "dropped" (i32.const 1) (i32.const 0)) "integer divide by zero")
(assert_trap (invoke "wide" (i32.const 65532) (i64.const -1)) "out of bounds memory access")
(assert_return (invoke "word" (i32.const 0)) (i32.const 0)) (; comments (; nest ;) ;)
(assert_return (invoke "grow" (i32.const 1)) (i32.const 1))
(assert_return (invoke "word" (i32.const 65536)) (i32.const 0))
(assert_return (invoke "grow" (i32.const 1)) (i32.const -1))
(assert_return (invoke "nan" (f32.const nan:0x200000)) (f32.const -nan:0x200000))
(assert_return (invoke "nan" (f32.const -nan)) (f32.const nan:canonical))
(assert_exhaustion (invoke "deep") "call stack exhausted")
(assert_return (invoke "word" (i32.const 0)) (i32.const 1)) ;; wrong on purpose
`;

describe('the harness', () => {
  const { engines, note } = usableEngines();
  if (note !== null) console.warn(note);
  test('a script of our own: every assertion holds but the wrong one, on every engine', async () => {
    const r = await runFile('own.wast', OWN, engines);
    expect(r.refused).toEqual({});
    expect(r.executed).toBe(13);
    for (const e of engines) expect(r.failures[e], e).toEqual(['own.wast:24 word(0x0): expected 0x1, got 0x0']);
  });
  test('the reader of scripts knows comments, escapes and lines, and refuses what is not closed', () => {
    const [a, b] = readWast('(a "x\\n\\41\\u{e9}" (; ( (; ;) ;) $b)\n ;; (\n(c)');
    expect([...(a!.items[1] as { bytes: Uint8Array }).bytes]).toEqual([120, 10, 65, 0xc3, 0xa9]);
    expect(a!.items[2]).toBe('$b');
    expect(b!.line).toBe(3);
    for (const bad of ['(a', '"', '(; x', 'word']) expect(() => readWast(bad), bad).toThrow(WastError);
  });
  test('outputs are compared line by line, undefined results apart', () => {
    const native = 'shrdw      A=1 B=2 C=00000013 R=3 CC=0\nadd 1\nend\n', here = 'shrdw      A=1 B=2 C=00000013 R=4 CC=0\nadd 2\nend\n';
    const r = compare('x', native, { off: here, on: native }, '');
    expect(r.different).toEqual({ off: 1, on: 0 });
    expect(r.undefinedLines).toBe(1);
    expect(r.first).toEqual(['off, line 2: native add 1 | here add 2']);
  });
});

describe('WebAssembly core tests through the guest compiler', () => {
  const files = suiteFiles();
  if (files.length === 0) console.warn(MISSING);
  const known = new Map((JSON.parse(readFileSync(RESULTS, 'utf8')) as Summary[]).map(r => [r.file, r]));
  test('the committed table is whole: every row counts what it ran', () => {
    expect(known.size).toBeGreaterThan(0);
    for (const r of known.values()) for (const [e, n] of Object.entries(r.passed)) expect(n, `${r.file} ${e}`).toBeLessThanOrEqual(r.executed);
  });
  const wanted = process.env['KINTSUGI_FULL'] ? files : files.filter(f => /2020\/(br_table|i32|i64|f64|conversions|traps|memory_trap|left-to-right)\.wast$/.test(f));
  for (const f of wanted.filter(n => known.has(n))) {
    test(`${f}: as in the committed table`, async () => {
      const { engines } = usableEngines(), r = await runFile(f, readFileSync(path.join(process.env['KINTSUGI_SUITES']!, f), 'utf8'), engines), k = known.get(f)!;
      for (const e of engines) expect(r.passed[e], `${e}: ${r.failures[e]!.slice(0, 5).join('\n')}`).toBeGreaterThanOrEqual(k.passed[e]!);
    });
  }
});

describe('QEMU\'s CPU test of the i386', () => {
  const folder = qemuFolder();
  if (folder === null) console.warn(QEMU_MISSING);
  test.skipIf(folder === null || !process.env['KINTSUGI_FULL'])('prints here what it prints natively (KINTSUGI_FULL)', () => {
    for (const r of runQemuTests(folder!)) expect({ test: r.test, first: r.first, problem: r.problem }).toEqual({ test: r.test, first: [], problem: '' });
  }, 600_000);
});
