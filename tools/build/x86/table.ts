/**
 * The instructions this project emits, as data. One line per mnemonic; forms are tried from left to right and the first that fits wins,
 * so shorter encodings stand first.
 *
 *   form      = operands ':' bytes
 *   operands  = r8 r16 r32 rv (16/32 by operand size)   rm8 rm16 rm32 rmv   m (memory, any size) m64
 *               i8 (8-bit immediate) s8 (fits sign-extended 8 bits) i16 i32 iv (16/32) one (the constant 1)
 *               rg (register in ModRM r/m)   moffs (address without registers)   al cl dx eav (AX/EAX)   x (xmm) xm32 xm64 xm128   sreg cr dr
 *   bytes     = hex opcode bytes, then /r /0../7 (ModRM), +r (register in the opcode), ib iw id iv (immediate)
 *   A leading 66, F2 or F3 in an SSE form is its mandatory prefix; the operand-size prefix of rv/rmv forms is added by the encoder.
 *
 * Source: Intel SDM volume 2. Checked form by form against iced-x86 (test/build/encode.test.ts).
 */
const alu = (d: number): string => {
  const h = (n: number): string => (d * 8 + n).toString(16).padStart(2, '0');
  return `rmv,s8:83 /${d} ib | al,i8:${h(4)} ib | eav,iv:${h(5)} iv | rm8,i8:80 /${d} ib | rmv,iv:81 /${d} iv | rm8,r8:${h(0)} /r | rmv,rv:${h(1)} /r | r8,rm8:${h(2)} /r | rv,rmv:${h(3)} /r`;
};
const shift = (d: number): string => `rm8,one:d0 /${d} | rmv,one:d1 /${d} | rm8,cl:d2 /${d} | rmv,cl:d3 /${d} | rm8,i8:c0 /${d} ib | rmv,i8:c1 /${d} ib`;
const unary = (d: number): string => `rm8:f6 /${d} | rmv:f7 /${d}`;
const sse = (op: string): string => `x,xm64:f2 0f ${op} /r`;
const sss = (op: string): string => `x,xm32:f3 0f ${op} /r`;

export const CONDITIONS = ['o', 'no', 'b', 'ae', 'e', 'ne', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'] as const;
export type Condition = (typeof CONDITIONS)[number];
const perCondition = (prefix: string, form: (h: string) => string): Record<string, string> =>
  Object.fromEntries(CONDITIONS.map((c, i) => [prefix + c, form(i.toString(16))]));

const SPEC = {
  add: alu(0), or: alu(1), adc: alu(2), sbb: alu(3), and: alu(4), sub: alu(5), xor: alu(6), cmp: alu(7),
  rol: shift(0), ror: shift(1), rcl: shift(2), rcr: shift(3), shl: shift(4), shr: shift(5), sar: shift(7),
  not: unary(2), neg: unary(3), mul: unary(4), div: unary(6), idiv: unary(7),
  imul: `${unary(5)} | rv,rmv:0f af /r | rv,rmv,s8:6b /r ib | rv,rmv,iv:69 /r iv`,
  inc: 'r16:40 +r | r32:40 +r | rm8:fe /0 | rmv:ff /0',
  dec: 'r16:48 +r | r32:48 +r | rm8:fe /1 | rmv:ff /1',
  test: 'al,i8:a8 ib | eav,iv:a9 iv | rm8,i8:f6 /0 ib | rmv,iv:f7 /0 iv | rm8,r8:84 /r | rmv,rv:85 /r',
  mov: 'al,moffs:a0 mo | eav,moffs:a1 mo | moffs,al:a2 mo | moffs,eav:a3 mo | rm8,r8:88 /r | rmv,rv:89 /r | r8,rm8:8a /r | rv,rmv:8b /r | r8,i8:b0 +r ib | rv,iv:b8 +r iv | rm8,i8:c6 /0 ib | rmv,iv:c7 /0 iv | rmv,sreg:8c /r | sreg,rm:8e /r | r32,cr:0f 20 /R | cr,r32:0f 22 /R | r32,dr:0f 21 /R | dr,r32:0f 23 /R',
  movzx: 'rv,rm8:0f b6 /r | r32,rm16:0f b7 /r',
  movsx: 'rv,rm8:0f be /r | r32,rm16:0f bf /r',
  lea: 'rv,m:8d /r',
  xchg: 'eav,rv:90 +r | rm8,r8:86 /r | rmv,rv:87 /r',
  xadd: 'rm8,r8:0f c0 /r | rmv,rv:0f c1 /r',
  cmpxchg: 'rm8,r8:0f b0 /r | rmv,rv:0f b1 /r',
  cmpxchg8b: 'm:0f c7 /1',
  shld: 'rmv,rv,cl:0f a5 /r | rmv,rv,i8:0f a4 /r ib',
  shrd: 'rmv,rv,cl:0f ad /r | rmv,rv,i8:0f ac /r ib',
  bsf: 'rv,rmv:0f bc /r', bsr: 'rv,rmv:0f bd /r', bswap: 'r32:0f c8 +r', popcnt: 'rv,rmv:f3 0f b8 /r',
  bt: 'rmv,rv:0f a3 /r | rmv,i8:0f ba /4 ib', bts: 'rmv,rv:0f ab /r | rmv,i8:0f ba /5 ib', btr: 'rmv,rv:0f b3 /r | rmv,i8:0f ba /6 ib', btc: 'rmv,rv:0f bb /r | rmv,i8:0f ba /7 ib',
  push: 'rv:50 +r | s8:6a ib | i32:68 id | rmv:ff /6 | es:06 | cs:0e | ss:16 | ds:1e | fs:0f a0 | gs:0f a8',
  pop: 'rv:58 +r | rmv:8f /0 | es:07 | ss:17 | ds:1f | fs:0f a1 | gs:0f a9',
  pushad: ':60', popad: ':61', pushfd: ':9c', popfd: ':9d', cdq: ':99', cwde: ':98', sahf: ':9e', lahf: ':9f',
  nop: ':90', nopm: 'm:0f 1f /0', pause: ':f3 90', hlt: ':f4', cli: ':fa', sti: ':fb', cld: ':fc', std: ':fd', clc: ':f8', stc: ':f9', leave: ':c9',
  ret: ':c3 | i16:c2 iw', iretd: ':cf', int3: ':cc', int: 'i8:cd ib', ud2: ':0f 0b',
  sysenter: ':0f 34', sysexit: ':0f 35', rdmsr: ':0f 32', wrmsr: ':0f 30', rdtsc: ':0f 31', rdpmc: ':0f 33', cpuid: ':0f a2',
  clts: ':0f 06', invd: ':0f 08', wbinvd: ':0f 09', invlpg: 'm:0f 01 /7', rdrand: 'rg:0f c7 /6', stac: ':0f 01 cb', clac: ':0f 01 ca',
  lgdt: 'm:0f 01 /2', lidt: 'm:0f 01 /3', sgdt: 'm:0f 01 /0', sidt: 'm:0f 01 /1', lldt: 'rm:0f 00 /2', ltr: 'rm:0f 00 /3', str: 'rmv:0f 00 /1', lmsw: 'rm:0f 01 /6', smsw: 'rmv:0f 01 /4',
  in: 'al,i8:e4 ib | eav,i8:e5 ib | al,dx:ec | eav,dx:ed',
  out: 'i8,al:e6 ib | i8,eav:e7 ib | dx,al:ee | dx,eav:ef',
  movsb: ':a4', movsw: ':66 a5', movsd_: ':a5', stosb: ':aa', stosw: ':66 ab', stosd: ':ab', lodsb: ':ac', lodsd: ':ad', scasb: ':ae', cmpsb: ':a6', cmpsd_: ':a7', insb: ':6c', insw: ':66 6d', insd: ':6d', outsb: ':6e', outsw: ':66 6f', outsd: ':6f',
  rep: ':f3', repne: ':f2', lock: ':f0',
  mfence: ':0f ae f0', lfence: ':0f ae e8', sfence: ':0f ae f8', fxsave: 'm:0f ae /0', fxrstor: 'm:0f ae /1', ldmxcsr: 'm:0f ae /2', stmxcsr: 'm:0f ae /3', fninit: ':db e3', fwait: ':9b', emms: ':0f 77',
  jmp: 'rm32:ff /4', call: 'rm32:ff /2', ljmp: 'm:ff /5', lcall: 'm:ff /3',
  ...perCondition('set', (h) => `rm8:0f 9${h} /0`),
  ...perCondition('cmov', (h) => `rv,rmv:0f 4${h} /r`),
  movss: `${sss('10')} | xm32,x:f3 0f 11 /r`, movsd: `${sse('10')} | xm64,x:f2 0f 11 /r`,
  movaps: 'x,xm128:0f 28 /r | xm128,x:0f 29 /r', movups: 'x,xm128:0f 10 /r | xm128,x:0f 11 /r', movd: 'x,rm32:66 0f 6e /r | rm32,x:66 0f 7e /r', movq: 'x,xm64:f3 0f 7e /r | xm64,x:66 0f d6 /r',
  addsd: sse('58'), mulsd: sse('59'), subsd: sse('5c'), divsd: sse('5e'), sqrtsd: sse('51'), minsd: sse('5d'), maxsd: sse('5f'),
  addss: sss('58'), mulss: sss('59'), subss: sss('5c'), divss: sss('5e'), sqrtss: sss('51'), minss: sss('5d'), maxss: sss('5f'),
  ucomisd: 'x,xm64:66 0f 2e /r', ucomiss: 'x,xm32:0f 2e /r', cvtsi2sd: 'x,rm32:f2 0f 2a /r', cvtsi2ss: 'x,rm32:f3 0f 2a /r', cvttsd2si: 'r32,xm64:f2 0f 2c /r', cvttss2si: 'r32,xm32:f3 0f 2c /r',
  cvtsd2ss: 'x,xm64:f2 0f 5a /r', cvtss2sd: 'x,xm32:f3 0f 5a /r',
  andps: 'x,xm128:0f 54 /r', andnps: 'x,xm128:0f 55 /r', orps: 'x,xm128:0f 56 /r', xorps: 'x,xm128:0f 57 /r', movmskpd: 'r32,xr:66 0f 50 /r', movmskps: 'r32,xr:0f 50 /r',
  psrlq: 'xr,i8:66 0f 73 /2 ib', psllq: 'xr,i8:66 0f 73 /6 ib', pshufd: 'x,xm128,i8:66 0f 70 /r ib', punpckldq: 'x,xm128:66 0f 62 /r', pxor: 'x,xm128:66 0f ef /r',
} as const;

export type Mnemonic = keyof typeof SPEC | `set${Condition}` | `cmov${Condition}`;

export interface Form {
  readonly mnemonic: string;
  readonly operands: readonly string[];
  /** Mandatory prefix (SSE, pause), 0 = none. */
  readonly prefix: number;
  readonly opcode: readonly number[];
  /** -1 = no ModRM; 0-7 = digit; 8 = /r; 9 = /R (register in rm, for mov r32, cr). */
  readonly modrm: number;
  readonly plusReg: boolean;
  readonly imm: '' | 'ib' | 'iw' | 'id' | 'iv' | 'mo';
}

function parse(mnemonic: string, text: string): Form {
  const [ops, bytes] = text.trim().split(':') as [string, string];
  const opcode: number[] = [];
  let prefix = 0, modrm = -1, plusReg = false;
  let imm: Form['imm'] = '';
  for (const t of bytes.trim().split(' ')) {
    if (t === '/r') modrm = 8;
    else if (t === '/R') modrm = 9;
    else if (t[0] === '/') modrm = Number(t[1]);
    else if (t === '+r') plusReg = true;
    else if (t === 'ib' || t === 'iw' || t === 'id' || t === 'iv' || t === 'mo') imm = t;
    else opcode.push(parseInt(t, 16));
  }
  const first = opcode[0] as number;
  if (opcode.length > 1 && (first === 0x66 || first === 0xf2 || first === 0xf3)) {
    prefix = first;
    opcode.shift();
  }
  return { mnemonic, operands: ops === '' ? [] : ops.split(','), prefix, opcode, modrm, plusReg, imm };
}

export const FORMS: ReadonlyMap<string, readonly Form[]> = new Map(Object.entries(SPEC).map(([m, text]) => [m, (text as string).split(' | ').map((f) => parse(m, f))]));
export const MNEMONICS = Object.keys(SPEC) as readonly Mnemonic[];
