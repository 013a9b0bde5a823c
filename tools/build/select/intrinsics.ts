/**
 * `kintsugi/x86`: functions that become instructions in place. To the wasm optimiser they are unknown calls, so it neither merges nor drops
 * nor moves them across memory accesses: that is what makes them right for device registers and shared memory.
 * The declarations guests see are generated from INTRINSICS, so the list exists once.
 */
import { MARK_BASE, MARK_LIMIT } from '../../../vm/trace.ts';
import type { Node } from '../ir.ts';
import { EAX, EBX, ECX, EDI, EDX, ESI, ESP, I, M, type Op, R, slotOp } from '../mir.ts';
import type { Signature } from '../wasm/decode.ts';
import { CLOBBERED, emitCall } from './calls.ts';
import type { Selector } from './selector.ts';

/** d, h: registers of the result (h only for u64). */
type Emit = (s: Selector, a: readonly Node[], d: number, h: number) => void;
interface Intrinsic { readonly params: string; readonly result: string; readonly doc: string; readonly emit: Emit }

const NO_DESTINATION = -1;
const table: Record<string, Intrinsic> = {};
const define = (name: string, params: string, result: string, doc: string, emit: Emit): void => {
  table[name] = { params, result, doc, emit };
};
const arg = (a: readonly Node[], i: number): Node => a[i] as Node;
const constantArg = (s: Selector, a: readonly Node[], i: number, what: string): number => {
  const n = arg(a, i);
  if (n.k !== 'const') s.fail(`${what} must be a constant`);
  return n.v;
};

for (const op of ['cli', 'sti', 'hlt', 'pause', 'mfence', 'wbinvd', 'clts', 'ud2', 'int3'] as const) define(op, '', 'void', `The instruction ${op.toUpperCase()}.`, (s) => void s.emit(op, []));
define('stiHlt', '', 'void', 'STI; HLT: sleeps with interrupts open, without a gap between the two.', (s) => {
  s.emit('sti', []);
  s.emit('hlt', []);
});
define('barrier', '', 'void', 'Keeps the compiler from moving or merging memory accesses across it (the CPU orders loads and stores itself).', () => undefined);

for (const [suffix, size] of [['b', 1], ['w', 2], ['l', 4]] as const) {
  define(`in${suffix}`, 'port: u32', 'u32', `Reads ${size} byte(s) from an I/O port.`, (s, a, d) => {
    s.mov(EDX, s.value(arg(a, 0)));
    s.emit('in', [], size, [EDX], [EAX]);
    if (size === 4) s.mov(d, R(EAX));
    else s.emit('movzx', [R(d), R(EAX)], size);
  });
  define(`out${suffix}`, 'port: u32, value: u32', 'void', `Writes ${size} byte(s) to an I/O port.`, (s, a) => {
    const port = s.value(arg(a, 0)), v = s.value(arg(a, 1));
    const held = port.k === 'm' ? R(s.toReg(port)) : port;
    s.mov(EAX, v);
    s.mov(EDX, held);
    s.emit('out', [], size, [EAX, EDX], []);
  });
}
for (const n of [0, 2, 3, 4]) {
  define(`readCr${n}`, '', 'u32', `CR${n}.`, (s, _a, d) => void s.emit('movfromcr', [R(d), I(n)]));
  define(`writeCr${n}`, 'value: u32', 'void', `CR${n} = value.`, (s, a) => void s.emit('movtocr', [I(n), R(s.register(arg(a, 0)))]));
}
for (const n of [0, 1, 2, 3, 6, 7]) {
  define(`readDr${n}`, '', 'u32', `DR${n}.`, (s, _a, d) => void s.emit('movfromdr', [R(d), I(n)]));
  define(`writeDr${n}`, 'value: u32', 'void', `DR${n} = value.`, (s, a) => void s.emit('movtodr', [I(n), R(s.register(arg(a, 0)))]));
}
for (const [name, doc] of [['invlpg', 'Drops the TLB entry of an address.'], ['lgdt', 'Loads GDTR from {limit u16, base u32}.'], ['lidt', 'Loads IDTR from {limit u16, base u32}.'], ['fxsave', 'Saves FPU and SSE state (512 bytes, 16-byte aligned).'], ['fxrstor', 'Loads FPU and SSE state.']] as const)
  define(name, 'address: usize', 'void', doc, (s, a) => void s.emit(name, [s.address(arg(a, 0), 0)]));
define('ltr', 'selector: u32', 'void', 'Loads the task register.', (s, a) => void s.emit('ltr', [R(s.register(arg(a, 0)))]));
define('lldt', 'selector: u32', 'void', 'Loads the LDT register.', (s, a) => void s.emit('lldt', [R(s.register(arg(a, 0)))]));
define('rdmsr', 'msr: u32', 'u64', 'Reads a model-specific register.', (s, a, d, h) => {
  s.mov(ECX, s.value(arg(a, 0)));
  s.emit('rdmsr', [], 4, [ECX], [EAX, EDX]);
  s.mov(d, R(EAX));
  s.mov(h, R(EDX));
});
define('wrmsr', 'msr: u32, value: u64', 'void', 'Writes a model-specific register.', (s, a) => {
  const msr = s.regOrImm(arg(a, 0));
  const [l, u] = s.pair(arg(a, 1));
  const high = u.k === 'm' ? R(s.toReg(u)) : u;
  s.mov(EAX, l);
  s.mov(EDX, high);
  s.mov(ECX, msr);
  s.emit('wrmsr', [], 4, [EAX, ECX, EDX], []);
});
define('rdtsc', '', 'u64', 'The time stamp counter.', (s, _a, d, h) => {
  s.emit('rdtsc', [], 4, [], [EAX, EDX]);
  s.mov(d, R(EAX));
  s.mov(h, R(EDX));
});
define('rdpmc', 'counter: u32', 'u64', 'Reads a performance counter (bit 30: a fixed-function one).', (s, a, d, h) => {
  s.mov(ECX, s.value(arg(a, 0)));
  s.emit('rdpmc', [], 4, [ECX], [EAX, EDX]);
  s.mov(d, R(EAX));
  s.mov(h, R(EDX));
});
define('cpuid', 'leaf: u32, subleaf: u32, out: usize', 'void', 'CPUID; stores EAX, EBX, ECX, EDX at out.', (s, a) => {
  const leaf = s.regOrImm(arg(a, 0)), sub = s.regOrImm(arg(a, 1));
  const out = s.copy(R(s.register(arg(a, 2))));
  s.mov(EAX, leaf);
  s.mov(ECX, sub);
  s.emit('cpuid', [], 4, [EAX, ECX], [EAX, EBX, ECX, EDX]);
  [EAX, EBX, ECX, EDX].forEach((r, i) => s.emit('mov', [M(out, i * 4), R(r)]));
});

for (const [bits, size] of [[8, 1], [16, 2], [32, 4]] as const) {
  define(`mmioRead${bits}`, 'address: usize', 'u32', `One ${bits}-bit read, exactly once and in order.`, (s, a, d) => {
    const m = s.address(arg(a, 0), 0);
    if (size === 4) s.mov(d, m);
    else s.emit('movzx', [R(d), m], size);
  });
  define(`mmioWrite${bits}`, 'address: usize, value: u32', 'void', `One ${bits}-bit write, exactly once and in order.`, (s, a) => {
    const v = s.regOrImm(arg(a, 1));
    const value = v.k === 'i' && size < 4 ? I(size === 1 ? (v.v << 24) >> 24 : (v.v << 16) >> 16) : v;
    s.emit('mov', [s.address(arg(a, 0), 0), value], size);
  });
}

define('atomicXchg', 'address: usize, value: u32', 'u32', 'Swaps; returns the old value.', (s, a, d) => {
  const t = s.copy(s.regOrImm(arg(a, 1)));
  s.emit('xchg', [s.address(arg(a, 0), 0), R(t)]);
  s.mov(d, R(t));
});
define('atomicAdd', 'address: usize, value: u32', 'u32', 'LOCK XADD; returns the old value.', (s, a, d) => {
  const t = s.copy(s.regOrImm(arg(a, 1)));
  s.emit('lock_xadd', [s.address(arg(a, 0), 0), R(t)]);
  s.mov(d, R(t));
});
define('atomicCas', 'address: usize, expected: u32, value: u32', 'u32', 'LOCK CMPXCHG; returns the old value (== expected when it was stored).', (s, a, d) => {
  const v = s.register(arg(a, 2)), e = s.regOrImm(arg(a, 1));
  const m = s.address(arg(a, 0), 0);
  s.mov(EAX, e);
  s.emit('lock_cmpxchg', [m, R(v)], 4, [EAX], [EAX]);
  s.mov(d, R(EAX));
});
define('atomicCas64', 'address: usize, expected: u64, value: u64', 'u64', 'LOCK CMPXCHG8B; returns the old value.', (s, a, d, h) => {
  const reg = (o: Op): Op => (o.k === 'm' ? R(s.toReg(o)) : o);
  const [el, eh] = s.pair(arg(a, 1)).map(reg) as [Op, Op];
  const [vl, vh] = s.pair(arg(a, 2)).map(reg) as [Op, Op];
  const p = s.register(arg(a, 0));
  s.mov(ESI, R(p)); // a fixed base leaves the allocator nothing to run out of
  s.mov(EAX, el);
  s.mov(EDX, eh);
  s.mov(EBX, vl);
  s.mov(ECX, vh);
  s.emit('lock_cmpxchg8b', [M(ESI, 0)], 8, [EAX, EDX, EBX, ECX], [EAX, EDX]);
  s.mov(d, R(EAX));
  s.mov(h, R(EDX));
});
for (const op of ['or', 'and', 'xor', 'add', 'sub'] as const)
  define(`lock${op[0]?.toUpperCase()}${op.slice(1)}`, 'address: usize, value: u32', 'void', `LOCK ${op.toUpperCase()} [address], value.`, (s, a) => {
    const v = s.regOrImm(arg(a, 1));
    s.emit(`lock_${op}`, [s.address(arg(a, 0), 0), v]);
  });
for (const [name, op] of [['atomicOr', '__fetch_or'], ['atomicAnd', '__fetch_and']] as const)
  define(name, 'address: usize, value: u32', 'u32', 'Returns the old value (a CMPXCHG loop; use lockOr/lockAnd when the old value does not matter).', (s, a, d) => {
    emitCall(s, op, [s.regOrImm(arg(a, 0)), s.regOrImm(arg(a, 1))], []);
    s.mov(d, R(EAX));
  });
for (const [name, op] of [['atomicBts', 'lock_bts'], ['atomicBtr', 'lock_btr']] as const)
  define(name, 'address: usize, bit: u32', 'u32', `LOCK ${op.slice(5).toUpperCase()} dword [address], bit (0-31); returns the old bit.`, (s, a, d) => {
    const b = arg(a, 1);
    const t = s.reg();
    if (b.k === 'const') s.emit(op, [s.address(arg(a, 0), 0), I(b.v & 31)]);
    else {
      const r = s.copy(R(s.register(b)));
      s.emit('and', [R(r), I(31)]);
      s.emit(op, [s.address(arg(a, 0), 0), R(r)]);
    }
    s.emit('setb', [R(t)], 1);
    s.emit('movzx', [R(d), R(t)], 1);
  });

for (const op of ['bsf', 'bsr'] as const) define(op, 'value: u32', 'u32', `Index of the ${op === 'bsf' ? 'lowest' : 'highest'} set bit; undefined for 0 (unlike ctz, clz: one instruction).`, (s, a, d) => void s.emit(op, [R(d), s.regOrMem(arg(a, 0))]));
define('bswap', 'value: u32', 'u32', 'Reverses the bytes.', (s, a, d) => {
  s.mov(d, s.value(arg(a, 0)));
  s.emit('bswap', [R(d)]);
});
define('mulHigh', 'a: u32, b: u32', 'u32', 'High word of the 64-bit product.', (s, a, d) => {
  const x = s.regOrImm(arg(a, 0)), y = s.regOrMem(arg(a, 1));
  s.mov(EAX, x);
  s.emit('mul', [y], 4, [EAX], [EAX, EDX]);
  s.mov(d, R(EDX));
});
define('div64', 'high: u32, low: u32, divisor: u32', 'u32', 'DIV: (high:low) / divisor; #DE unless high < divisor.', (s, a, d) => {
  const x = s.regOrImm(arg(a, 0)), y = s.regOrImm(arg(a, 1)), z = s.regOrMem(arg(a, 2));
  s.mov(EDX, x);
  s.mov(EAX, y);
  s.emit('div', [z], 4, [EAX, EDX], [EAX, EDX]);
  s.mov(d, R(EAX));
});

define('codeAddr', 'index: u32', 'usize', 'Address of a function: codeAddr(f.index).', (s, a, d) => {
  const n = arg(a, 0);
  let index = n.k === 'const' ? n.v : undefined;
  if (n.k === 'load' && n.a?.k === 'const') index = s.p.readU32((n.a.v + n.v) >>> 0);
  const symbol = index === undefined ? undefined : s.p.tableSymbol(index);
  if (symbol !== undefined) return s.mov(d, I(0, symbol));
  s.mov(d, M(-1, 0, 'table:functions', s.register(n), 4));
});
define('symbol', 'name: string', 'usize', 'Address of a stub label, of an exported function or of a linker symbol; the name must be a literal.', (s, a, d) => {
  const at = constantArg(s, a, 0, 'the argument of symbol()');
  const name = s.p.readString(at >>> 0);
  if (name === undefined) s.fail('the argument of symbol() must be a string literal');
  s.mov(d, I(0, name));
});
for (let n = 0; n <= 3; n++)
  define(`icall${n}`, ['target: usize', 'a0: u32', 'a1: u32', 'a2: u32'].slice(0, n + 1).join(', '), 'u32', `Calls a code address with ${n} word(s) in EAX, EDX, ECX; returns EAX.`, (s, a, d) => {
    const held = a.map((x) => s.regOrImm(x));
    const target = held[0] as Op;
    const regs = [EAX, EDX, ECX].slice(0, n);
    regs.forEach((r, i) => s.mov(r, held[i + 1] as Op));
    s.emit('icall', [target.k === 'i' ? R(s.toReg(target)) : target], 4, regs, CLOBBERED);
    s.mov(d, R(EAX));
  });
define('switchStack', 'saveEsp: usize, newEsp: usize', 'void', 'Pushes EBP EBX ESI EDI, stores ESP at saveEsp, loads newEsp, pops EDI ESI EBX EBP and returns there.', (s, a) => emitCall(s, '__switch_stack', [s.regOrImm(arg(a, 0)), s.regOrImm(arg(a, 1))], []));
define('differ', 'a: usize, b: usize, words: u32', 'u32', 'Index of the first 32-bit word that differs, `words` when none does (REPE CMPSD: one instruction a word).', (s, a, d) => {
  emitCall(s, '__differ', [0, 1, 2].map((n) => s.regOrImm(arg(a, n))), []);
  s.mov(d, R(EAX));
});
define('sys_enter', 'regs: usize', 'u32', 'The system call: regs -> {handle, tag, w0, w1, w2}, u32 each; stores tag and words back, returns the status.', (s, a, d) => {
  emitCall(s, 'sys_enter', [s.regOrImm(arg(a, 0))], []);
  s.mov(d, R(EAX));
});
define('mark', 'id: u32, a: u32, b: u32, c: u32', 'void', 'A trace mark (vm/trace.ts): a NOP that a tracing machine records with three words; id is a constant below 4096. Three moves and a NOP, traced or not.', (s, a) => {
  const id = constantArg(s, a, 0, 'the id of mark()');
  if (id < 0 || id >= MARK_LIMIT) s.fail(`the id of mark() is ${id}, it must be below ${MARK_LIMIT}`);
  const held = [1, 2, 3].map((n) => s.regOrImm(arg(a, n)));
  [EAX, EDX, ECX].forEach((r, n) => s.mov(r, held[n] as Op));
  s.emit('nopm', [M(-1, MARK_BASE + id)], 4, [EAX, EDX, ECX], []);
});
define('stackPointer', '', 'usize', 'ESP.', (s, _a, d) => s.mov(d, R(ESP)));
define('returnAddress', '', 'usize', 'Return address of the function this is compiled into (after inlining).', (s, _a, d) => s.mov(d, slotOp(-2, -4)));
define('frameAddress', '', 'usize', 'Address of the return address of the function this is compiled into.', (s, _a, d) => void s.emit('lea', [R(d), slotOp(-2, -4)]));
define('readFlags', '', 'u32', 'EFLAGS.', (s, _a, d) => {
  s.emit('pushfd', []);
  s.emit('pop', [R(d)]);
});
define('writeFlags', 'flags: u32', 'void', 'EFLAGS = flags.', (s, a) => {
  s.emit('push', [s.regOrImm(arg(a, 0))]);
  s.emit('popfd', []);
});
define('saveFlagsCli', '', 'u32', 'EFLAGS, then CLI.', (s, _a, d) => {
  s.emit('pushfd', []);
  s.emit('pop', [R(d)]);
  s.emit('cli', []);
});

const string = (name: string, params: string, doc: string, words: boolean, fill: boolean): void =>
  define(name, params, 'void', doc, (s, a) => {
    const [x, y, n] = a.map((v) => s.regOrImm(v)) as [Op, Op, Op];
    s.mov(EDI, x);
    s.mov(fill ? EAX : ESI, y);
    s.mov(ECX, n);
    const regs = fill ? [EDI, EAX, ECX] : [EDI, ESI, ECX];
    s.emit(`rep_${fill ? 'stos' : 'movs'}${words ? 'd' : 'b'}`, [], 4, regs, fill ? [EDI, ECX] : regs);
  });
string('memcpy', 'to: usize, from: usize, bytes: usize', 'REP MOVSB.', false, false);
string('memcpy32', 'to: usize, from: usize, words: usize', 'REP MOVSD.', true, false);
string('memset', 'to: usize, value: u32, bytes: usize', 'REP STOSB.', false, true);
string('memset32', 'to: usize, value: u32, words: usize', 'REP STOSD.', true, true);

export const INTRINSICS: Readonly<Record<string, Intrinsic>> = table;

export function intrinsic(s: Selector, name: string, args: readonly Node[], result: number, sig: Signature): void {
  const x = table[name];
  if (x === undefined) s.fail(`kintsugi/x86 has no intrinsic ${name}`);
  const wants = x.result === 'void' ? 0 : 1;
  if (sig.results.length !== wants || sig.params.length !== (x.params === '' ? 0 : x.params.split(',').length)) s.fail(`intrinsic ${name} is declared with another signature`);
  const d = result >= 0 ? (s.lo[result] as number) : NO_DESTINATION;
  const h = result >= 0 ? (s.hi[result] as number) : NO_DESTINATION;
  if (d < 0 || h >= 0) return x.emit(s, args, d, h);
  // The result may be an operand too (x = xchg(p, x) after coalescing): compute into a fresh register.
  const t = s.reg();
  x.emit(s, args, t, h);
  s.mov(d, R(t));
}
