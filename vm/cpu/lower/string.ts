/**
 * String instructions. A REP prefix makes a loop whose every iteration is one retired instruction: the block paid for the
 * first one, each further one is taken from the budget, and when the budget is used up the instruction is left with EIP at
 * itself and registers as after the last completed iteration. Interrupts therefore see only architectural states.
 *
 * MOVS and STOS run forward through `memory.copy` and `memory.fill`, in pieces whose pages lie one behind the other in host memory too
 * (4 KiB by `memory.copy` take 32 ns, 128 KiB 1.07 us, as natively; one piece per page took 68 ns each).
 */
import { FLAG, S, SEG, segSelector } from '../state.ts';
import * as w from '../wasm.ts';
import type { N } from '../wasm.ts';
import type { Cx, Semantics } from './context.ts';

const k = w.k;
/** Elements of one piece at most: others want to be heard meanwhile. */
const MOST = 1 << 18;

const indexBits = (c: Cx): number => c.address16() ? 16 : 32;
const source = (c: Cx, bytes: number): N => c.implicitLinear(c.let(c.getReg(6, indexBits(c))), bytes);
const destination = (c: Cx, bytes: number, write: boolean): N => {
  const offset = c.let(c.getReg(7, indexBits(c)));
  return c.implicitSegment() ? c.segmented(k(segSelector(SEG.ES)), offset, bytes, write) : offset;
};
/** +bytes or -bytes by DF. */
const stride = (c: Cx, bytes: number): N => w.select(k(-bytes), k(bytes), w.and(c.state(S.eflags), k(FLAG.DF)));
const advance = (c: Cx, reg: number, by: N): void => c.setReg(reg, indexBits(c), w.add(c.getReg(reg, indexBits(c)), by));

/** One iteration; returns what the REPE/REPNE prefix compares (ZF), or nothing. */
type Iteration = (c: Cx, bytes: number) => void;
/** Tries many iterations at once: sets local `done` to their number (0: none possible). */
type Bulk = (c: Cx, bytes: number, done: number) => void;

function string(iteration: Iteration, compares: boolean, bulk?: Bulk): Semantics {
  return c => {
    const fn = c.fn, bytes = c.size >> 3, repeat = c.repeat();
    if (!repeat) { iteration(c, bytes); return; }
    const bits = indexBits(c);
    fn.block(finished => {
      fn.brIf(finished, w.eqz(c.getReg(1, bits)));
      fn.loop(again => {
        if (bulk && bits === 32 && !c.implicitSegment()) {
          const done = fn.newLocal();
          fn.set(done, k(0));
          bulk(c, bytes, done);
          fn.if(w.local(done), () => {
            // The block paid for one.
            c.setState(S.budget, w.sub(c.state(S.budget), w.sub(w.local(done), k(1))));
            c.setReg(1, 32, w.sub(c.getReg(1, 32), w.local(done)));
          }, () => {
            iteration(c, bytes);
            c.setReg(1, 32, w.sub(c.getReg(1, 32), k(1)));
          });
        } else {
          iteration(c, bytes);
          c.setReg(1, bits, w.sub(c.getReg(1, bits), k(1)));
        }
        fn.brIf(finished, w.eqz(c.getReg(1, bits)));
        if (compares) fn.brIf(finished, repeat === 3 ? w.ne(c.flagRes(), k(0)) : w.eqz(c.flagRes()));
        // It has stored to its own code, or to the tables that map it, or a device wants attention: what comes next is fetched anew.
        const died = c.died();
        if (died) fn.if(died, () => c.restart(), undefined, 0);
        const budget = c.let(c.state(S.budget));
        fn.if(w.eqz(budget), () => c.restart());
        c.setState(S.budget, w.sub(budget, k(1)));
        fn.br(again);
      });
    });
    c.jumpTo(c.nextEip());
  };
}

/**
 * Lowers local `count` to the elements from `va` on whose pages lie in one piece of host memory: pages with the same entry do. `entry` is that of
 * the first page.
 */
function limitToRun(c: Cx, count: number, table: () => N, va: N, entry: N, bytes: number): void {
  const fn = c.fn, shift = k(Math.log2(bytes)), room = fn.newLocal();
  fn.set(room, w.sub(k(4096), w.and(va, k(4095))));
  const enough = (): N => w.geu(w.shr(w.local(room), shift), w.local(count)), next = (): N => w.add(va, w.local(room));
  // Four pages at a time: V8 runs its first, slow code of this for a while.
  const same = c.let(w.op1(w.simd(0x11), w.V, entry));
  fn.block(over => fn.loop(more => {
    fn.brIf(over, w.or(enough(), w.gtu(next(), k(0xffff0000))));
    fn.brIf(over, w.eqz(w.op1(w.simd(0xa3), w.I, w.op2(w.simd(0x37), w.V, w.load128(w.add(table(), w.shl(w.shr(next(), k(12)), k(2)))), same))));
    fn.set(room, w.add(w.local(room), k(4 * 4096)));
    fn.br(more);
  }));
  fn.block(over => fn.loop(more => {
    fn.brIf(over, enough());
    fn.brIf(over, w.ne(c.entry(table(), next()), entry));
    // The end of the address space is the end of a piece: what comes next is not an address behind it.
    fn.brIf(over, w.eqz(next()));
    fn.set(room, w.add(w.local(room), k(4096)));
    fn.br(more);
  }));
  const pinned = c.let(w.shr(w.local(room), shift));
  fn.if(w.ltu(pinned, w.local(count)), () => fn.set(count, pinned));
}
/** min(ECX, budget + 1, MOST) */
function begin(c: Cx, count: number): void {
  c.fn.set(count, c.getReg(1, 32));
  const most = c.let(w.add(c.state(S.budget), k(1)));
  c.fn.if(w.ltu(most, w.local(count)), () => c.fn.set(count, most));
  c.fn.if(w.gtu(w.local(count), k(MOST)), () => c.fn.set(count, k(MOST)));
}
const forward = (c: Cx): N => w.eqz(w.and(c.state(S.eflags), k(FLAG.DF)));

const bulkMove: Bulk = (c, bytes, done) => {
  const fn = c.fn, count = fn.newLocal();
  const from = c.let(c.getReg(6, 32)), to = c.let(c.getReg(7, 32));
  const read = c.let(c.entry(c.tlbRead(), from)), write = c.let(c.entry(c.tlbWrite(), to));
  fn.if(w.and(w.and(w.and(read, write), k(1)), forward(c)), () => {
    begin(c, count);
    limitToRun(c, count, () => c.tlbRead(), from, read, bytes); limitToRun(c, count, () => c.tlbWrite(), to, write, bytes);
    const hostFrom = c.let(w.add(w.add(from, read), k(3))), hostTo = c.let(w.add(w.add(to, write), k(3)));
    // A destination shortly after the source repeats a pattern: memory.copy would not, so it goes no farther than one period.
    const period = c.let(w.shr(w.sub(hostTo, hostFrom), k(Math.log2(bytes))));
    fn.if(w.ltu(period, w.local(count)), () => fn.set(count, period));
    fn.if(w.gtu(w.local(count), k(1)), () => {
      const length = c.let(w.mul(w.local(count), k(bytes)));
      fn.memoryCopy(hostTo, hostFrom, length);
      c.setReg(6, 32, w.add(from, length)); c.setReg(7, 32, w.add(to, length));
      fn.set(done, w.local(count));
    });
  });
};
const bulkStore: Bulk = (c, bytes, done) => {
  const fn = c.fn, count = fn.newLocal();
  const to = c.let(c.getReg(7, 32)), value = c.let(c.getReg(0, bytes * 8));
  const write = c.let(c.entry(c.tlbWrite(), to));
  fn.if(w.and(w.and(write, k(1)), forward(c)), () => {
    begin(c, count);
    limitToRun(c, count, () => c.tlbWrite(), to, write, bytes);
    const host = c.let(w.add(w.add(to, write), k(3))), length = c.let(w.mul(w.local(count), k(bytes)));
    fn.if(w.gtu(w.local(count), k(1)), () => {
      const uniform = bytes === 1 ? k(1) : w.eq(value, w.mul(w.and(value, k(255)), k(bytes === 2 ? 0x101 : 0x01010101)));
      fn.if(uniform, () => fn.memoryFill(host, value, length), () => {
        const pattern = c.let(w.op1(w.simd(bytes === 2 ? 0x10 : 0x11), w.V, value)), at = fn.newLocal();
        fn.set(at, host);
        const end = c.let(w.add(host, length)), left = (): N => w.sub(end, w.local(at));
        const pieces = (size: number, put: () => void): void => fn.block(over => fn.loop(more => {
          fn.brIf(over, w.ltu(left(), k(size)));
          put();
          fn.set(at, w.add(w.local(at), k(size)));
          fn.br(more);
        }));
        pieces(64, () => { for (let offset = 0; offset < 64; offset += 16) fn.store128(w.local(at), pattern, offset); });
        pieces(bytes, () => { if (bytes === 2) fn.store16(w.local(at), value); else fn.store(w.local(at), value); });
      });
      c.setReg(7, 32, w.add(to, length));
      fn.set(done, w.local(count));
    });
  });
};

const move: Iteration = (c, bytes) => {
  const value = c.readMemory(source(c, bytes), bytes * 8);
  c.writeMemory(destination(c, bytes, true), bytes * 8, value);
  const by = c.let(stride(c, bytes));
  advance(c, 6, by); advance(c, 7, by);
};
const store: Iteration = (c, bytes) => {
  c.writeMemory(destination(c, bytes, true), bytes * 8, c.getReg(0, bytes * 8));
  advance(c, 7, stride(c, bytes));
};
const loadString: Iteration = (c, bytes) => {
  const value = c.readMemory(source(c, bytes), bytes * 8);
  c.setReg(0, bytes * 8, value);
  advance(c, 6, stride(c, bytes));
};
const compare: Iteration = (c, bytes) => {
  const a = c.readMemory(source(c, bytes), bytes * 8), b = c.readMemory(destination(c, bytes, false), bytes * 8);
  const by = c.let(stride(c, bytes));
  advance(c, 6, by); advance(c, 7, by);
  c.needFlags = true;
  c.flags('sub', bytes * 8, a, b, c.let(w.sub(a, b)));
};
const scan: Iteration = (c, bytes) => {
  const b = c.readMemory(destination(c, bytes, false), bytes * 8), a = c.let(c.getReg(0, bytes * 8));
  advance(c, 7, stride(c, bytes));
  c.needFlags = true;
  c.flags('sub', bytes * 8, a, b, c.let(w.sub(a, b)));
};

export const STRING: Record<string, Semantics> = {
  movsb: string(move, false, bulkMove), movsv: string(move, false, bulkMove),
  stosb: string(store, false, bulkStore), stosv: string(store, false, bulkStore),
  lodsb: string(loadString, false), lodsv: string(loadString, false),
  cmpsb: string(compare, true), cmpsv: string(compare, true), scasb: string(scan, true), scasv: string(scan, true),
};
