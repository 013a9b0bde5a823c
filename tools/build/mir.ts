/**
 * Machine instructions over virtual registers: what select/ produces, regalloc/ rewrites and emit.ts encodes.
 *
 * Registers 0-7 are the general registers in hardware order, 8-15 are xmm0-7, from 16 on they are virtual. An instruction has its operands
 * in Intel order; what it does with each is in ROLES. Fixed registers (division, calls) are the implicit `uses` and `defs`.
 */
export const EAX = 0, ECX = 1, EDX = 2, EBX = 3, ESP = 4, EBP = 5, ESI = 6, EDI = 7, XMM0 = 8, FIRST_VIRTUAL = 16;

export interface RegOp { readonly k: 'r'; readonly r: number }
export interface ImmOp { readonly k: 'i'; readonly v: number; readonly sym: string | undefined }
/** `slot` >= 0: spill slot; -2: incoming stack argument at `disp`; -1: ordinary address. */
export interface MemOp { readonly k: 'm'; readonly base: number; readonly index: number; readonly scale: number; readonly disp: number; readonly sym: string | undefined; readonly slot: number }
export type Op = RegOp | ImmOp | MemOp;

export const R = (r: number): RegOp => ({ k: 'r', r });
export const I = (v: number, sym?: string): ImmOp => ({ k: 'i', v: v | 0, sym });
export const M = (base: number, disp: number, sym?: string, index = -1, scale = 1): MemOp => ({ k: 'm', base, index, scale, disp: disp | 0, sym, slot: -1 });
export const slotOp = (slot: number, disp = 0): MemOp => ({ k: 'm', base: -1, index: -1, scale: 1, disp, sym: undefined, slot });

export interface Ins {
  op: string;
  ops: Op[];
  /** Operand size in bytes: 1, 2, 4; for movzx/movsx that of the source; for SSE that of memory. */
  size: number;
  readonly uses: readonly number[];
  readonly defs: readonly number[];
  pos: number;
}
export interface MBlock {
  id: number;
  ins: Ins[];
  /** Conditional exits in order (condition code number), then `next`; neither after ret, a tail jump or a trap. */
  jumps: { cc: number; to: MBlock }[];
  next: MBlock | undefined;
  /** Targets of a jump table. */
  table: MBlock[] | undefined;
  loop: number;
  succ: MBlock[];
}
export interface MFunction {
  readonly name: string;
  blocks: MBlock[];
  /** Class of each register: 0 general, 1 xmm. Index = register number. */
  readonly cls: number[];
  /** Bytes of outgoing stack arguments at the bottom of the frame. */
  outgoing: number;
  slots: number; // 4-byte spill slots
  /** Registers that spilling must not choose (made by spilling). */
  readonly noSpill: Set<number>;
  readonly tables: { symbol: string; targets: MBlock[] }[];
}

/** w write, r read, m modify (read and write), a address only. */
const roles = (text: string): Map<string, string> => {
  const map = new Map<string, string>();
  for (const part of text.split(';')) {
    const [names, r] = part.trim().split(':') as [string, string];
    for (const n of names.trim().split(' ')) map.set(n, r.trim());
  }
  return map;
};
export const ROLES = roles(`
  mov movzx movsx bsf bsr movaps movss movsd movd movq sqrtsd sqrtss cvtsi2sd cvtsi2ss cvttsd2si cvttss2si cvtsd2ss cvtss2sd movmskpd pshufd : wrr;
  lea : wa; imul3 : wrr;
  add or adc sbb and sub xor imul shl shr sar rol ror addsd subsd mulsd divsd addss subss mulss divss minsd maxsd minss maxss andps andnps orps xorps psrlq psllq punpckldq : mr;
  shld shrd : mrr; cmp test ucomisd ucomiss bt : rr; not neg inc dec bswap : m;
  xchg xadd : mm; cmpxchg bts btr : mr; cmpxchg8b : a; push mul div idiv icall jmptable : r; pop : w; invlpg lgdt lidt fxsave fxrstor ldmxcsr stmxcsr sgdt sidt nopm : a; ltr : r; lldt : r;
  sete setne setb setae setbe seta setl setge setle setg sets setns setp setnp seto setno : w;
  cmove cmovne cmovb cmovae cmovbe cmova cmovl cmovge cmovle cmovg cmovs cmovns cmovp cmovnp : mr;
  call ret ud2 cdq cli sti hlt pause rdmsr wrmsr rdtsc rdpmc cpuid mfence in out movcr movdr clts nop wbinvd rep_movsb rep_movsd rep_stosb rep_stosd barrier cld int3 pushfd popfd : rr;
  movfromcr movfromdr : wr; movtocr movtodr : rr`);
/** Instructions that leave flags alone. */
const KEEPS_FLAGS = new Set('mov movzx movsx lea movaps movss movsd movd movq sqrtsd sqrtss cvtsi2sd cvtsi2ss cvttsd2si cvttss2si cvtsd2ss cvtss2sd addsd subsd mulsd divsd addss subss mulss divss andps andnps orps xorps psrlq psllq punpckldq pshufd push pop not bswap xchg jmptable'.split(' '));
export const readsFlags = (i: Ins): boolean => i.op === 'adc' || i.op === 'sbb' || i.op.startsWith('set') || i.op.startsWith('cmov') || i.op === 'pushfd' || i.op === 'jcc';
export const writesFlags = (i: Ins): boolean => !KEEPS_FLAGS.has(i.op) && !i.op.startsWith('set') && !i.op.startsWith('cmov');

/** The three-operand form of imul has other roles than the two-operand one. */
export const rolesOf = (i: Ins): string => (i.op === 'imul' && i.ops.length !== 2 ? (i.ops.length === 3 ? 'wrr' : 'r') : ROLES.get(i.op) ?? (i.op.startsWith('lock_') ? ROLES.get(i.op.slice(5)) : undefined) ?? fail(i.op));
const fail = (op: string): never => {
  throw new Error(`internal: machine instruction ${op} has no roles`);
};

export function forEachUse(i: Ins, f: (r: number) => void): void {
  const roles = rolesOf(i);
  const ops = i.ops;
  for (let k = 0; k < ops.length; k++) {
    const o = ops[k] as Op;
    if (o.k === 'r') {
      if (roles[k] !== 'w') f(o.r);
    } else if (o.k === 'm') {
      if (o.base >= 0) f(o.base);
      if (o.index >= 0) f(o.index);
    }
  }
  for (const r of i.uses) f(r);
}
export function forEachDef(i: Ins, f: (r: number) => void): void {
  const roles = rolesOf(i);
  const ops = i.ops;
  for (let k = 0; k < ops.length; k++) {
    const o = ops[k] as Op;
    if (o.k === 'r' && (roles[k] === 'w' || roles[k] === 'm')) f(o.r);
  }
  for (const r of i.defs) f(r);
}
export function setSuccessors(f: MFunction): void {
  for (const b of f.blocks) {
    b.succ = [];
    for (const j of b.jumps) b.succ.push(j.to);
    if (b.next !== undefined) b.succ.push(b.next);
    if (b.table !== undefined) b.succ.push(...b.table);
  }
}
/** Registers that an 8-bit operand can name must be eax, ecx, edx or ebx. */
export function forEachByteReg(i: Ins, f: (r: number) => void): void {
  if (i.op.startsWith('set')) {
    if (i.ops[0]?.k === 'r') f(i.ops[0].r);
    return;
  }
  if (i.size !== 1) return;
  const from = i.op === 'movzx' || i.op === 'movsx' ? 1 : 0;
  for (let k = from; k < i.ops.length; k++) {
    const o = i.ops[k] as Op;
    if (o.k === 'r') f(o.r);
  }
}
