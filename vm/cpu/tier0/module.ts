/**
 * Generates the tier 0 module: `run`, the block loop around one br_table over the hot forms, plus the slow paths every
 * generated module shares. Rare forms are generated on demand by `rareModule`, against the functions this module exports.
 *
 * run(cpu) -> 0: budget used up · 1: a helper asks to leave (HLT, STOP, shutdown...) · 2: attention (parallel mode).
 * In every case state.eip, budget and everything else is exact.
 *
 * Measured form (reference/jit.md): one function, br_table, records of 32 bytes, registers in memory: 510 MIPS in hot loops.
 */
import { Tier0Cx, rareExits, type Exits } from './context.ts';
import { hotForms, type Form } from './forms.ts';
import { defineFastOperations } from './system.ts';
import { defineTableStore, defineWalk, PAGE_FAULT } from './walk.ts';
import { FAST, JUMP_CACHE_ENTRIES, KIND, R, RARE, RECORD_BYTES } from './record.ts';
import { EXIT, ONCE_IN_TIER0 } from '../jit/exit.ts';
import type { SlowCalls } from '../lower/context.ts';
import { X87_FUNCTIONS, X87_PARTS } from '../float/x87.ts';
import { X87 } from '../lower/fpu.ts';
import { SEMANTICS } from '../lower/index.ts';
import { CONDITION_NAMES } from '../isa/table.ts';
import { ATTN, FLAG, S, STORM } from '../state.ts';
import * as w from '../wasm.ts';
import { I, L, ModuleBuilder, type Fn, type N, type T } from '../wasm.ts';

const k = w.k;
export interface Tier0Options { readonly parallel: boolean; /** Calls the import `watch` at the start of every block. */ readonly watch?: boolean }

/** Kind number of every hot form. */
export function hotKinds(forms: readonly Form[]): Map<string, number> {
  return new Map(forms.map((form, i) => [form.key, KIND.FIRST_FORM + i]));
}
let cachedForms: Form[] | undefined;
export const HOT_FORMS = (): readonly Form[] => cachedForms ??= hotForms();

const ATOMIC_TYPE = [I, I, I, I, I, I, I], EXCHANGE64_TYPE = [I, I, L, L, I, I];
const SIZES = [8, 16, 32, 64] as const;
const valueType = (size: number): T => size === 64 ? L : I;
/** Names under which the slow paths are exported and imported. */
const slowName = (what: string, size: number): string => `${what}${size}`;

/** Imports the slow paths into a rare or region module; with `x87` also the functions of the x87 module. */
export function importSlowCalls(module: ModuleBuilder, x87: boolean): SlowCalls {
  const read: Record<number, number> = {}, readForWrite: Record<number, number> = {}, write: Record<number, number> = {};
  for (const size of SIZES) {
    read[size] = module.import(slowName('read', size), [I, I, I, I], [valueType(size)]);
    readForWrite[size] = module.import(slowName('readForWrite', size), [I, I, I, I], [valueType(size)]);
    write[size] = module.import(slowName('write', size), [I, I, valueType(size), I, I], []);
  }
  return {
    read, readForWrite, write, atomic: module.import('atomic', ATOMIC_TYPE, [I]), exchange64: module.import('exchange64', EXCHANGE64_TYPE, [L]),
    segment: module.import('segment', [I, I, I, I], [I]), raise: module.import('raise', [I, I, I], []), float: module.import('float', [I, I, I, I, I], [I]),
    ...(x87 ? { x87: Object.fromEntries(Object.entries({ ...X87_FUNCTIONS, ...X87_PARTS }).map(([name, { params, result }]) => [name, module.import(`x87_${name}`, [I, ...params], result === undefined ? [] : [result])])) } : {}),
  };
}

/** Runs the lowering of a form (and of the jump fused to it) in context `c`. */
export function lowerForm(c: Tier0Cx, form: Form): void {
  c.begin(form);
  const semantics = SEMANTICS[form.name];
  if (!semantics) throw new Error(`no semantics for ${form.name}`);
  semantics(c);
  if (form.fused >= 0) { c.beginFusedJump(); SEMANTICS[`j${CONDITION_NAMES[form.fused]}`](c); }
}

/** One module with a function per form, exported as f0, f1...: (cpu, pc, blockEip) -> RARE.*. */
export function rareModule(forms: readonly Form[], options: Tier0Options): Uint8Array {
  const module = new ModuleBuilder('rare');
  const slow = importSlowCalls(module, forms.some(({ name }) => name in X87));
  forms.forEach((form, i) => {
    const index = module.declare(`f${i}`, [I, I, I], [I], true);
    module.define(index, fn => {
      lowerForm(new Tier0Cx(fn, rareExits(fn), slow, options.parallel), form);
      fn.ret(k(RARE.NEXT));
    });
  });
  return module.build();
}

/** Defines the slow paths: a page walk here, the rest by JavaScript imports. */
function defineSlowCalls(module: ModuleBuilder, parallel: boolean, js: { read: number; write: number; atomic: number; exchange64: number; float: number }): SlowCalls {
  const calls = { read: {} as Record<number, number>, readForWrite: {} as Record<number, number>, write: {} as Record<number, number>, atomic: 0, exchange64: 0, segment: 0, raise: 0, float: 0 };
  for (const size of SIZES) {
    calls.read[size] = module.declare(slowName('read', size), [I, I, I, I], [valueType(size)], true);
    calls.readForWrite[size] = module.declare(slowName('readForWrite', size), [I, I, I, I], [valueType(size)], true);
    calls.write[size] = module.declare(slowName('write', size), [I, I, valueType(size), I, I], [], true);
  }
  calls.atomic = module.declare('atomic', ATOMIC_TYPE, [I], true);
  calls.exchange64 = module.declare('exchange64', EXCHANGE64_TYPE, [L], true);
  calls.segment = module.declare('segment', [I, I, I, I], [I], true);
  calls.raise = module.declare('raise', [I, I, I], [], true);
  calls.float = module.declare('float', [I, I, I, I, I], [I], true);
  module.define(calls.float, fn => fn.emit(w.call(js.float, I, ...[0, 1, 2, 3, 4].map(i => w.local(i)))));

  const walk = defineWalk(module, parallel), tableStore = defineTableStore(module);
  const cpu = w.local(0), va = w.local(1);
  const entryOf = (table: number): N => w.load(w.add(w.load(cpu, table), w.shl(w.shr(va, k(12)), k(2))));
  /** Valid entry and the access does not leave the page. */
  const within = (entry: N, bytes: number): N => w.and(w.and(entry, k(1)), w.leu(w.and(va, k(4095)), k(4096 - bytes)));
  const note = (fn: Fn, rec: N, blockEip: N): void => { fn.store(cpu, rec, S.rec); fn.store(cpu, blockEip, S.blockEip); };
  /** The page walk of an access inside one page, if it is one for generated code. */
  const walked = (fn: Fn, size: number, write: N, fault: () => void, through: (found: N) => void): void => {
    fn.if(w.leu(w.and(va, k(4095)), k(4096 - (size >> 3))), () => {
      const found = fn.let(w.call(walk, I, cpu, va, write));
      fn.if(found, () => { fn.if(w.eq(found, k(PAGE_FAULT)), fault); through(found); });
    });
  };
  const reader = (size: number, forWrite: boolean) => (fn: Fn): void => {
    const rec = w.local(2), blockEip = w.local(3);
    const entry = fn.let(entryOf(forWrite ? S.tlbWrite : S.tlbRead));
    const through = (found: N): void => {
      const host = w.add(va, found);
      fn.ret(size === 8 ? w.load8u(host, 3) : size === 16 ? w.load16u(host, 3) : size === 32 ? w.load(host, 3) : w.load64(host, 3));
    };
    fn.if(within(entry, size >> 3), () => { through(entry); });
    note(fn, rec, blockEip);
    if (size < 64) {
      walked(fn, size, k(forWrite ? 1 : 0), () => { fn.ret(k(0)); }, through);
      fn.emit(w.call(js.read, I, cpu, va, k(size >> 3), k(forWrite ? 1 : 0)));
      return;
    }
    const half = forWrite ? calls.readForWrite[32] : calls.read[32];
    fn.if(w.and(va, k(7)), () => { fn.drop(w.call(js.read, I, cpu, va, k(8), k(0))); fn.if(w.load(cpu, S.fault), () => fn.ret(w.k64(0n))); });
    const low = fn.let(w.call(half, I, cpu, va, rec, blockEip));
    fn.if(w.load(cpu, S.fault), () => fn.ret(w.k64(0n)));
    const high = w.call(half, I, cpu, w.add(va, k(4)), rec, blockEip);
    fn.emit(w.op2(0x84, L, w.op2(0x86, L, w.op1(0xad, L, high), w.k64(32n)), w.op1(0xad, L, low)));
  };
  const writer = (size: number) => (fn: Fn): void => {
    const value = w.local(2, valueType(size)), rec = w.local(3), blockEip = w.local(4);
    const entry = fn.let(entryOf(S.tlbWrite));
    const through = (found: N): void => {
      const host = w.add(va, found);
      if (size === 8) fn.store8(host, value, 3); else if (size === 16) fn.store16(host, value, 3);
      else if (size === 32) fn.store(host, value, 3); else fn.store64(host, value, 3);
      fn.ret();
    };
    fn.if(within(entry, size >> 3), () => { through(entry); });
    note(fn, rec, blockEip);
    if (size < 64) {
      walked(fn, size, k(1), () => { fn.ret(); }, through);
      if (size === 32) fn.if(w.call(tableStore, I, cpu, va, value), () => { fn.ret(); });
      fn.do(w.call(js.write, 0x40, cpu, va, value, k(size >> 3)));
      return;
    }
    fn.if(w.and(va, k(7)), () => { fn.drop(w.call(js.read, I, cpu, va, k(8), k(0))); fn.if(w.load(cpu, S.fault), () => fn.ret()); });
    // No partial write: both halves must be writable first.
    fn.drop(w.call(calls.readForWrite[32], I, cpu, va, rec, blockEip));
    fn.if(w.load(cpu, S.fault), () => fn.ret());
    fn.drop(w.call(calls.readForWrite[32], I, cpu, w.add(va, k(4)), rec, blockEip));
    fn.if(w.load(cpu, S.fault), () => fn.ret());
    fn.do(w.call(calls.write[32], 0x40, cpu, va, w.op1(0xa7, I, value), rec, blockEip));
    fn.do(w.call(calls.write[32], 0x40, cpu, w.add(va, k(4)), w.op1(0xa7, I, w.op2(0x88, L, value, w.k64(32n))), rec, blockEip));
  };
  for (const size of SIZES) {
    module.define(calls.read[size], reader(size, false));
    module.define(calls.readForWrite[size], reader(size, true));
    module.define(calls.write[size], writer(size));
  }
  module.define(calls.atomic, fn => {
    note(fn, w.local(5), w.local(6));
    fn.emit(w.call(js.atomic, I, cpu, va, w.local(2), w.local(3), w.local(4)));
  });
  module.define(calls.exchange64, fn => {
    note(fn, w.local(4), w.local(5));
    fn.emit(w.call(js.exchange64, L, cpu, va, w.local(2, L), w.local(3, L)));
  });
  module.define(calls.raise, fn => {
    fn.store(cpu, w.local(1), S.faultVector);
    fn.store(cpu, w.local(2), S.faultError);
    fn.store(cpu, k(1), S.fault);
  });
  // segment(cpu, selector field | write, offset, bytes): SDM vol. 3 5.3, 5.5. Null and wrong types: #GP(0), stack: #SS(0).
  module.define(calls.segment, fn => {
    const offset = w.local(2), bytes = w.local(3);
    const write = fn.let(w.and(w.local(1), k(1)));
    const cache = fn.let(w.add(cpu, w.and(w.local(1), k(-2))));
    const attr = fn.let(w.load(cache, 12)), limit = fn.let(w.load(cache, 8));
    const last = fn.let(w.add(offset, w.sub(bytes, k(1))));
    const code = w.and(attr, k(8));
    const typeBad = w.select(w.or(write, w.eqz(w.and(attr, k(2)))), w.and(write, w.eqz(w.and(attr, k(2)))), code);
    const expandDown = w.eq(w.and(attr, k(12)), k(4));
    const top = w.select(k(-1), k(0xffff), w.and(attr, k(0x4000)));
    const limitBad = w.select(w.or(w.leu(offset, limit), w.gtu(last, top)), w.gtu(last, limit), expandDown);
    const wraps = w.ltu(last, offset);
    fn.if(w.or(w.or(w.eqz(w.and(attr, k(0x80))), typeBad), w.or(limitBad, wraps)), () => {
      const isStack = w.eq(w.and(w.local(1), k(-2)), k(S.seg + 32));
      fn.do(w.call(calls.raise, 0x40, cpu, w.select(k(12), k(13), isStack), k(0)));
    });
    fn.emit(w.add(w.load(cache, 4), offset));
  });
  return calls;
}

export function tier0Module(options: Tier0Options): Uint8Array {
  const module = new ModuleBuilder('tier0');
  const memory = {
    read: module.import('slowRead', [I, I, I, I], [I]), write: module.import('slowWrite', [I, I, I, I], []),
    atomic: module.import('slowAtomic', [I, I, I, I, I], [I]), exchange64: module.import('slowExchange64', [I, I, L, L], [L]),
    float: module.import('floatUnit', [I, I, I, I, I], [I]),
  };
  const jsLookup = module.import('lookup', [I], [I]);
  const jsTruncate = module.import('truncate', [I], [I]);
  const jsOperation = module.import('operation', [I], [I]);
  const jsFault = module.import('fault', [I], [I]);
  const jsCheck = module.import('check', [I], [I]);
  const jsTrace = module.import('trace', [I, I], []);
  const jsBreak = module.import('breakpoint', [I, I, I], [I]);
  const jsRevalidate = module.import('revalidate', [I], [I]);
  const jsSplit = module.import('split', [I], [I]);
  const jsWatch = options.watch ? module.import('watch', [I, I], [I]) : -1;
  module.importTable = true;
  const rareType = module.typeIndex({ params: [I, I, I], results: [I] });
  const regionType = module.typeIndex({ params: [I, I], results: [I] });
  const slow = defineSlowCalls(module, options.parallel, memory);
  const gate = defineFastOperations(module, slow);
  const run = module.declare('run', [I], [I], true);
  const forms = HOT_FORMS();
  module.define(run, fn => {
    const cpu = w.local(0);
    const pcIndex = fn.newLocal(), eipIndex = fn.newLocal(), readIndex = fn.newLocal(), writeIndex = fn.newLocal();
    const pc = w.local(pcIndex), blockEip = w.local(eipIndex);
    const note = (): void => { fn.store(cpu, pc, S.rec); fn.store(cpu, blockEip, S.blockEip); };
    fn.set(eipIndex, w.load(cpu, S.eip));
    fn.loop(top => {
      fn.set(readIndex, w.load(cpu, S.tlbRead));
      fn.set(writeIndex, w.load(cpu, S.tlbWrite));
      /** Calls a helper that answers 0 (go on at state.eip) or an exit code. */
      const helper = (callee: number): void => {
        note();
        const code = fn.let(w.call(callee, I, cpu));
        fn.if(code, () => fn.ret(code));
        fn.set(eipIndex, w.load(cpu, S.eip));
        fn.br(top);
      };
      fn.scope(() => {
        const hash = w.xor(blockEip, w.shr(blockEip, k(12)));
        const slot = fn.let(w.add(w.load(cpu, S.jumpCache), w.shl(w.and(hash, k(JUMP_CACHE_ENTRIES - 1)), k(4))));
        fn.if(w.and(w.eq(w.load(slot), blockEip), w.eq(w.load(slot, 4), w.load(cpu, S.mode))), () => fn.set(pcIndex, w.load(slot, 8)), () => {
          fn.store(cpu, blockEip, S.eip);
          fn.set(pcIndex, w.call(jsLookup, I, cpu));
          fn.set(readIndex, w.load(cpu, S.tlbRead));
          fn.set(writeIndex, w.load(cpu, S.tlbWrite));
          fn.if(w.lt(pc, k(1)), () => {
            fn.if(pc, () => fn.ret(w.sub(k(0), pc)));
            fn.set(eipIndex, w.load(cpu, S.eip));
            fn.br(top);
          }, undefined, 0);
        }, 1);
      });
      fn.loop(enter => {
        fn.scope(() => {
          if (options.parallel) fn.if(w.load(cpu, S.attention), () => {
            // INTR alone waits until IF is set; an instruction in the STI shadow runs first.
            fn.if(w.and(w.eqz(w.load(cpu, S.shadow)), w.ne(w.or(w.and(w.load(cpu, S.attention), k(~ATTN.INTR)), w.and(w.load(cpu, S.eflags), k(FLAG.IF))), k(0))), () => { fn.store(cpu, blockEip, S.eip); fn.ret(k(2)); });
          }, undefined, 0);
          if (jsWatch >= 0) fn.if(w.call(jsWatch, I, cpu, blockEip), () => { fn.store(cpu, blockEip, S.eip); fn.ret(k(1)); });
          const count = fn.let(w.load8u(pc, R.rest)), budget = fn.let(w.load(cpu, S.budget));
          fn.if(w.ltu(budget, count), () => {
            fn.store(cpu, blockEip, S.eip);
            fn.if(w.eqz(budget), () => fn.ret(k(0)));
            fn.set(pcIndex, w.call(jsTruncate, I, cpu));
            fn.if(w.lt(pc, k(1)), () => {
              fn.if(pc, () => fn.ret(w.sub(k(0), pc)));
              fn.set(eipIndex, w.load(cpu, S.eip));
              fn.br(top);
            });
            // Not simply 0: a dead block that the jump cache still had may have been longer than the code that is there now.
            fn.store(cpu, w.sub(budget, w.load8u(pc, R.rest)), S.budget);
          }, () => fn.store(cpu, w.sub(budget, count), S.budget), 0);
        });
        fn.block(fault => {
          const exits: Exits = {
            cpu, pc, blockEip, tlbRead: () => w.local(readIndex), tlbWrite: () => w.local(writeIndex),
            fault(condition) { if (condition) fn.brIf(fault, condition, 0); else fn.br(fault); },
            goto(eip) { fn.set(eipIndex, eip); fn.br(top); },
            follow(record, delta, linkAt) {
              const link = fn.let(w.load(record, linkAt));
              fn.set(eipIndex, w.add(blockEip, delta));
              fn.if(link, () => { fn.set(pcIndex, link); fn.br(enter); });
              fn.br(top);
            },
          };
          fn.loop(insn => {
            const bodies: (() => void)[] = [];
            const next = (): void => { fn.set(pcIndex, w.add(pc, k(RECORD_BYTES))); fn.br(insn); };
            bodies[KIND.LEAVE] = () => {
              // The block was invalidated under us: nothing from this record on has run.
              fn.store(cpu, w.add(w.load(cpu, S.budget), w.load8u(pc, R.rest)), S.budget);
              fn.store(cpu, w.add(blockEip, w.load16u(pc, R.delta)), S.eip);
              helper(jsCheck);
            };
            bodies[KIND.END] = () => exits.follow!(pc, w.load16u(pc, R.delta), R.link);
            // Behind an instruction that has touched a device: mostly it wants nothing.
            bodies[KIND.END_CHECK] = () => {
              fn.if(w.or(w.load(cpu, S.attention), w.load(cpu, S.asks)), () => { fn.store(cpu, w.add(blockEip, w.load16u(pc, R.delta)), S.eip); helper(jsCheck); });
              exits.follow!(pc, w.load16u(pc, R.delta), R.link);
            };
            bodies[KIND.RARE] = () => {
              const code = fn.let(w.callIndirect(rareType, I, cpu, pc, blockEip, w.load(pc, R.link)));
              fn.if(code, () => {
                fn.brIf(fault, w.eq(code, k(RARE.FAULT)));
                fn.set(eipIndex, w.load(cpu, S.eip));
                fn.br(top);
              });
              next();
            };
            bodies[KIND.JS] = () => helper(jsOperation);
            // Tier 1 (jit/region.ts). Its blocks pay for themselves; without progress the shadow of this block runs instead.
            bodies[KIND.REGION] = () => {
              const rest = fn.let(w.load8u(pc, R.rest)), before = fn.let(w.add(w.load(cpu, S.budget), rest));
              fn.if(w.eq(blockEip, w.load(pc, R.disp)), () => {
                fn.store(cpu, before, S.budget);
                fn.store(cpu, blockEip, S.eip);
                const code = fn.let(w.callIndirect(regionType, I, cpu, w.load(pc, R.imm), w.load(pc, R.link)));
                fn.store64(cpu, w.op2(0x7c, L, w.load64(cpu, S.countInRegions), w.op1(0xad, L, w.sub(before, w.load(cpu, S.budget)))), S.countInRegions);
                fn.if(w.eq(code, k(EXIT.FAULT)), () => {
                  fn.if(w.eq(w.load(cpu, S.faultVector), k(ONCE_IN_TIER0)), () => fn.store(cpu, k(0), S.fault), () => {
                    fn.set(pcIndex, k(0));
                    fn.set(eipIndex, w.load(cpu, S.eip));
                    fn.br(fault);
                  });
                });
                fn.if(w.eq(code, k(EXIT.SPLIT)), () => fn.if(w.call(jsSplit, I, w.load(pc, R.link)), () => { fn.set(eipIndex, w.load(cpu, S.eip)); fn.br(top); }), undefined, 0);
                fn.if(w.or(w.ne(w.load(cpu, S.eip), blockEip), w.ne(w.load(cpu, S.budget), before)), () => {
                  fn.set(eipIndex, w.load(cpu, S.eip));
                  fn.br(top);
                });
                fn.store(cpu, w.sub(before, rest), S.budget);
                fn.if(w.eq(code, k(EXIT.MISS)), () => fn.if(w.call(jsRevalidate, I, w.load(pc, R.link)), () => fn.br(insn)));
              });
              fn.set(pcIndex, w.load(pc, R.reg0));
              fn.br(insn);
            };
            bodies[KIND.SYSTEM] = () => {
              const code = fn.let(w.callIndirect(rareType, I, cpu, pc, blockEip, w.load(pc, R.reg0)));
              fn.if(w.eq(code, k(FAST.NEXT)), next);
              fn.if(code, () => { fn.set(eipIndex, w.load(cpu, S.eip)); fn.br(top); });
              helper(jsOperation);
            };
            bodies[KIND.TRACE] = () => { note(); fn.do(w.call(jsTrace, 0x40, cpu, w.load(pc, R.link))); next(); };
            bodies[KIND.BREAK] = () => {
              const rest = fn.let(w.load8u(pc, R.rest));
              note();
              fn.if(w.call(jsBreak, I, cpu, blockEip, rest), () => {
                fn.store(cpu, w.add(w.load(cpu, S.budget), rest), S.budget);
                fn.store(cpu, blockEip, S.eip);
                fn.ret(k(1));
              });
              next();
            };
            const c = new Tier0Cx(fn, exits, slow, options.parallel);
            for (const form of forms) bodies.push(() => { lowerForm(c, form); next(); });
            const labels: w.Label[] = [];
            const nest = (i: number): void => {
              if (i < 0) { fn.brTable(labels, labels[0], w.load16u(pc, R.kind)); return; }
              fn.block(label => { labels[i] = label; nest(i - 1); });
              fn.scope(bodies[i]);
            };
            nest(bodies.length - 1);
          });
        });
        // The instruction at pc (or, from a region, at blockEip) faulted.
        fn.scope(() => {
          const rest = fn.let(w.select(w.load8u(pc, R.rest), k(0), pc)), delta = w.select(w.load16u(pc, R.delta), k(0), pc);
          const vector = fn.let(w.load(cpu, S.faultVector)), eip = fn.let(w.add(blockEip, delta));
          // The gate's tree of flags is read before it changes them; #DB pushes no RF.
          fn.if(w.ltu(vector, k(32)), () => {
            fn.if(w.call(gate, I, cpu, vector, w.load(cpu, S.faultError), eip, w.shl(w.ne(vector, k(1)), k(1))), () => {
              fn.store(cpu, k(0), S.fault);
              const budget = fn.let(w.add(w.load(cpu, S.budget), rest)), at = fn.let(w.sub(w.load(cpu, S.retiredEnd), budget));
              fn.store(cpu, budget, S.budget);
              fn.store(cpu, w.add(w.load(cpu, S.countFaults), k(1)), S.countFaults);
              // Faults in a row (STORM); Engine.raise does the same.
              fn.store(cpu, w.select(w.add(w.load(cpu, S.stormCount), k(1)), k(0), w.eq(at, w.load(cpu, S.stormAt))), S.stormCount);
              fn.store(cpu, at, S.stormAt);
              fn.if(w.and(w.ltu(k(STORM), w.load(cpu, S.stormCount)), w.ne(budget, k(0))), () => {
                fn.store(cpu, w.sub(budget, k(1)), S.budget);
                fn.store(cpu, w.add(at, k(1)), S.stormAt);
              });
              fn.set(eipIndex, w.load(cpu, S.eip));
              fn.br(top);
            });
          });
        });
        helper(jsFault);
      });
    });
    fn.unreachable();
  });
  return module.build();
}
