/**
 * The instruction table: the one place that says which instructions exist. The decoder, the lowering's operand forms, the
 * disassembler, flag liveness and the test generators all read it.
 *
 * One row:  opcode  mnemonic  operands  flags-written  flags-read  attributes
 *
 * opcode     hex bytes; a leading 66, F2 or F3 before 0F is a mandatory prefix; `/n` = ModRM.reg extension; `+r` = register in
 *            the low three bits. x87 and 0F01: `.XX` = that very ModRM byte, `.XX+` = it and the seven behind it.
 * mnemonic   also the name of the lowering (vm/cpu/lower) or, with attribute `js`, of the TypeScript helper (vm/cpu/system).
 * operands   a trailing `:m` / `:r` restricts ModRM.mod to memory / register; two rows of one `/n` may differ in that. Letter + size. E register or memory by ModRM · G register by ModRM.reg · M memory only · Z register in the opcode ·
 *            I immediate · J relative target · O absolute offset · A far pointer · S segment register · C/D control/debug
 *            register (register in ModRM.rm) · V/W xmm register by reg / xmm or memory by rm · P/Q the same for MMX ·
 *            N xmm register by rm only, H mmx register by rm only · T x87 register by rm, T0 its top · AL AX.. DX CL fixed registers · 1 3 constants.
 *            sizes: b 8, w 16, d 32, q 64, t 80, x 128, v 16 or 32 by operand size, bs = 8 sign-extended to operand size, p = far
 *            pointer by operand size, y none (address only).
 * flags      letters of OSZAPC; written includes undefined (we leave a deterministic value), `?` suffix = may keep the old
 *            value (shift by a zero count); `-` none.
 * attributes lock  LOCK allowed with a memory destination · end  ends the block · js  runs in TypeScript, ends the block
 *            stack  uses the stack (slow form unless SS is flat and 32-bit) · rare  out of line in tier 0 · fault  may fault
 *            without a memory operand · str  string operation · b / w / d fix the operand size · n64 reserved for long mode
 *            np  66, F2 or F3 makes it undefined (the SDM's NP) · norep  F2 or F3 does, 66 is an operand size
 *            sse / fpu / mmx  checks CR0.TS/EM, CR4.OSFXSR first; fpu and mmx also pending x87 exceptions
 */
const ALU = ['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp'];
const CC = ['o', 'no', 'b', 'ae', 'z', 'nz', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'];
const CC_FLAGS = ['O', 'O', 'C', 'C', 'Z', 'Z', 'ZC', 'ZC', 'S', 'S', 'P', 'P', 'SO', 'SO', 'SZO', 'SZO'];
const SHIFT = ['rol', 'ror', 'rcl', 'rcr', 'shl', 'shr', 'shl', 'sar'];
const hex = (n: number): string => n.toString(16).padStart(2, '0').toUpperCase();

function* alu(): Generator<string> {
  for (let i = 0; i < 8; i++) {
    const name = ALU[i], reads = name === 'adc' || name === 'sbb' ? 'C' : '-', lock = name === 'cmp' ? '' : 'lock';
    const base = i * 8;
    yield `${hex(base)} ${name} Eb,Gb OSZAPC ${reads} ${lock}`;
    yield `${hex(base + 1)} ${name} Ev,Gv OSZAPC ${reads} ${lock}`;
    yield `${hex(base + 2)} ${name} Gb,Eb OSZAPC ${reads}`;
    yield `${hex(base + 3)} ${name} Gv,Ev OSZAPC ${reads}`;
    yield `${hex(base + 4)} ${name} AL,Ib OSZAPC ${reads}`;
    yield `${hex(base + 5)} ${name} eAX,Iv OSZAPC ${reads}`;
    yield `80/${i} ${name} Eb,Ib OSZAPC ${reads} ${lock}`;
    yield `81/${i} ${name} Ev,Iv OSZAPC ${reads} ${lock}`;
    yield `82/${i} ${name} Eb,Ib OSZAPC ${reads}`;
    yield `83/${i} ${name} Ev,Ibs OSZAPC ${reads} ${lock}`;
  }
}
function* shifts(): Generator<string> {
  for (let i = 0; i < 8; i++) {
    const name = SHIFT[i], rotate = i < 4, reads = i === 2 || i === 3 ? 'C' : '-';
    const written = rotate ? 'OC' : 'OSZAPC';
    for (const [op, e] of [['C0', 'Eb'], ['C1', 'Ev']]) yield `${op}/${i} ${name} ${e},Ib ${written}? ${reads}`;
    for (const [op, e] of [['D0', 'Eb'], ['D1', 'Ev']]) yield `${op}/${i} ${name} ${e},1 ${written} ${reads}`;
    for (const [op, e] of [['D2', 'Eb'], ['D3', 'Ev']]) yield `${op}/${i} ${name} ${e},CL ${written}? ${reads}`;
  }
}
function* conditions(): Generator<string> {
  for (let i = 0; i < 16; i++) {
    yield `${hex(0x70 + i)} j${CC[i]} Jb - ${CC_FLAGS[i]} end`;
    yield `0F${hex(0x80 + i)} j${CC[i]} Jv - ${CC_FLAGS[i]} end`;
    yield `0F${hex(0x90 + i)} set${CC[i]} Eb - ${CC_FLAGS[i]}`;
    yield `0F${hex(0x40 + i)} cmov${CC[i]} Gv,Ev - ${CC_FLAGS[i]}`;
  }
}

const INTEGER = `
40+r inc Zv OSZAP - ; 48+r dec Zv OSZAP - ; 50+r push Zv - - stack ; 58+r pop Zv - - stack
FE/0 inc Eb OSZAP - lock ; FF/0 inc Ev OSZAP - lock ; FE/1 dec Eb OSZAP - lock ; FF/1 dec Ev OSZAP - lock
06 push_es - - - stack rare ; 0E push_cs - - - stack rare ; 16 push_ss - - - stack rare ; 1E push_ds - - - stack rare
0FA0 push_fs - - - stack rare ; 0FA8 push_gs - - - stack rare
07 pop_es - - - js ; 17 pop_ss - - - js ; 1F pop_ds - - - js ; 0FA1 pop_fs - - - js ; 0FA9 pop_gs - - - js
27 daa - OSZAPC AC rare ; 2F das - OSZAPC AC rare ; 37 aaa - OSZAPC A rare ; 3F aas - OSZAPC A rare
D4 aam Ib OSZAPC - rare fault ; D5 aad Ib OSZAPC - rare
60 pusha - - - stack rare ; 61 popa - - - stack rare ; 62 bound Gv,My:m - - js ; 63 arpl Ew,Gw Z - js
68 push Iv - - stack ; 6A push Ibs - - stack ; 69 imul3 Gv,Ev,Iv OSZAPC - ; 6B imul3 Gv,Ev,Ibs OSZAPC -
6C insb - - - js ; 6D insv - - - js ; 6E outsb - - - js ; 6F outsv - - - js
84 test Eb,Gb OSZAPC - ; 85 test Ev,Gv OSZAPC - ; A8 test AL,Ib OSZAPC - ; A9 test eAX,Iv OSZAPC -
F6/0 test Eb,Ib OSZAPC - ; F7/0 test Ev,Iv OSZAPC - ; F6/1 test Eb,Ib OSZAPC - ; F7/1 test Ev,Iv OSZAPC -
86 xchg Eb,Gb - - lock ; 87 xchg Ev,Gv - - lock ; 90 nop - - - ; F390 pause - - - js ; 90+r xchg Zv,eAX - -
88 mov Eb,Gb - - ; 89 mov Ev,Gv - - ; 8A mov Gb,Eb - - ; 8B mov Gv,Ev - - ; C6/0 mov Eb,Ib - - ; C7/0 mov Ev,Iv - -
A0 mov AL,Ob - - ; A1 mov eAX,Ov - - ; A2 mov Ob,AL - - ; A3 mov Ov,eAX - - ; B0+r mov Zb,Ib - - ; B8+r mov Zv,Iv - -
8C mov_from_seg Ew,Sw - - rare ; 8E mov_to_seg Sw,Ew - - js ; 8D lea Gv,My:m - - ; 8F/0 pop_e Ev - - stack rare
98 cbw - - - ; 99 cwd - - - ; 9A callf Ap - - js ; 9B fwait - - - fpu rare fault ; 9C pushf - - OSZAPC stack rare ; 9D popf - OSZAPC - js
9E sahf - SZAPC - rare ; 9F lahf - - SZAPC rare
A4 movsb - - - str b ; A5 movsv - - - str ; A6 cmpsb - OSZAPC? - str b ; A7 cmpsv - OSZAPC? - str
AA stosb - - - str b ; AB stosv - - - str ; AC lodsb - - - str b ; AD lodsv - - - str ; AE scasb - OSZAPC? - str b ; AF scasv - OSZAPC? - str
C2 ret Iw - - end stack ; C3 ret - - - end stack ; C4 les Gv,Mp:m - - js ; C5 lds Gv,Mp:m - - js
C8 enter - - - js ; C9 leave - - - stack ; CA retf Iw - - js ; CB retf - - - js
CC int3 - - - js ; CD int Ib - - js ; CE into - - O js ; CF iret - OSZAPC - js ; D6 salc - - C rare ; D7 xlat - - - rare fault
E0 loopne Jb - Z end ; E1 loope Jb - Z end ; E2 loop Jb - - end ; E3 jcxz Jb - - end
E4 in AL,Ib - - js ; E5 in eAX,Ib - - js ; E6 out Ib,AL - - js ; E7 out Ib,eAX - - js
EC in AL,DX - - js ; ED in eAX,DX - - js ; EE out DX,AL - - js ; EF out DX,eAX - - js
E8 call Jv - - end stack ; E9 jmp Jv - - end ; EA jmpf Ap - - js ; EB jmp Jb - - end
F1 int1 - - - js ; F4 hlt - - - js ; F5 cmc - C C rare ; F8 clc - C - rare ; F9 stc - C - rare
FA cli - - - rare fault ; FB sti - - - js ; FC cld - - - rare ; FD std - - - rare
F6/2 not Eb - - lock ; F7/2 not Ev - - lock ; F6/3 neg Eb OSZAPC - lock ; F7/3 neg Ev OSZAPC - lock
F6/4 mul Eb OSZAPC - ; F7/4 mul Ev OSZAPC - ; F6/5 imul1 Eb OSZAPC - ; F7/5 imul1 Ev OSZAPC -
F6/6 div Eb OSZAPC? - fault ; F7/6 div Ev OSZAPC? - fault ; F6/7 idiv Eb OSZAPC? - fault ; F7/7 idiv Ev OSZAPC? - fault
FF/2 call_ind Ev - - end stack ; FF/3 callf_ind Mp:m - - js ; FF/4 jmp_ind Ev - - end ; FF/5 jmpf_ind Mp:m - - js ; FF/6 push Ev - - stack
0F1F/0 nop Ev - - ; 0F18 nop Ev - - ; 0F19 nop Ev - - ; 0F1A nop Ev - - ; 0F1B nop Ev - - ; 0F1C nop Ev - - ; 0F1D nop Ev - - ; 0F1E nop Ev - - ; 0F0D nop Ev - -
0FA3 bt Ev,Gv C - rare ; 0FAB bts Ev,Gv C - rare lock ; 0FB3 btr Ev,Gv C - rare lock ; 0FBB btc Ev,Gv C - rare lock
0FBA/4 bti Ev,Ib C - rare ; 0FBA/5 btsi Ev,Ib C - rare lock ; 0FBA/6 btri Ev,Ib C - rare lock ; 0FBA/7 btci Ev,Ib C - rare lock
0FA4 shld Ev,Gv,Ib OSZAPC? - ; 0FA5 shld Ev,Gv,CL OSZAPC? - rare ; 0FAC shrd Ev,Gv,Ib OSZAPC? - ; 0FAD shrd Ev,Gv,CL OSZAPC? - rare
0FAF imul2 Gv,Ev OSZAPC - ; 0FB0 cmpxchg Eb,Gb OSZAPC - rare lock ; 0FB1 cmpxchg Ev,Gv OSZAPC - rare lock
0FC0 xadd Eb,Gb OSZAPC - rare lock ; 0FC1 xadd Ev,Gv OSZAPC - rare lock ; 0FC7/1 cmpxchg8b Mq:m Z - rare lock
0FB6 movzx Gv,Eb - - ; 0FB7 movzx Gv,Ew - - ; 0FBE movsx Gv,Eb - - ; 0FBF movsx Gv,Ew - -
0FBC bsf Gv,Ev OSZAPC - rare ; 0FBD bsr Gv,Ev OSZAPC - rare ; F30FB8 popcnt Gv,Ev OSZAPC - rare ; 0FC8+r bswap Zd - -
0FB2 lss Gv,Mp:m - - js ; 0FB4 lfs Gv,Mp:m - - js ; 0FB5 lgs Gv,Mp:m - - js ; 0FC3 mov Md,Gd:m - - np
F30FBC bsf Gv,Ev OSZAPC - rare ; F30FBD bsr Gv,Ev OSZAPC - rare
`;

const SYSTEM = `
0F00/0 sldt Ew - - js ; 0F00/1 str Ew - - js ; 0F00/2 lldt Ew - - js ; 0F00/3 ltr Ew - - js ; 0F00/4 verr Ew Z - js ; 0F00/5 verw Ew Z - js
0F01/0 sgdt My:m - - js ; 0F01/1 sidt My:m - - js ; 0F01/2 lgdt My:m - - js ; 0F01/3 lidt My:m - - js
0F01.CA clac - - - js ; 0F01.CB stac - - - js ; 0F01/4 smsw Ew - - js ; 0F01/6 lmsw Ew - - js ; 0F01/7 invlpg My:m - - js
0F02 lar Gv,Ew Z - js ; 0F03 lsl Gv,Ew Z - js ; 0F06 clts - - - js ; 0F08 invd - - - js ; 0F09 wbinvd - - - js ; 0F0B ud2 - - - js ; 0FB9 ud1 - - - js ; 0FFF ud0 - - - js
0F20 mov_from_cr Rd,Cd - - rare fault ; 0F22 mov_to_cr Cd,Rd - - js ; 0F21 mov_from_dr Rd,Dd - - js ; 0F23 mov_to_dr Dd,Rd - - js
0F30 wrmsr - - - js ; 0F31 rdtsc - - - js ; 0F32 rdmsr - - - js ; 0F33 rdpmc - - - js ; 0F34 sysenter - - - js ; 0F35 sysexit - - - js ; 0FA2 cpuid - - - js
0FAE/0 fxsave My:m - - js np ; 0FAE/1 fxrstor My:m - - js np ; 0FAE/2 ldmxcsr Md:m - - js np ; 0FAE/3 stmxcsr Md:m - - js np
0FAE/5 lfence -:r - - ; 0FAE/6 mfence -:r - - ; 0FAE/7 sfence -:r - - ; 0FAE/7 clflush Mb:m - - js np ; 660FAE/6 clwb Mb:m - - js ; 0FC7/6 rdrand Ev:r OSZAPC - js norep
`;

// x87: all 80-bit exact (vm/cpu/float). What only changes control state or touches environments runs in TypeScript.
const X87 = `
D8/0 fadd Md:m ; D8/1 fmul Md:m ; D8/2 fcom Md:m ; D8/3 fcomp Md:m ; D8/4 fsub Md:m ; D8/5 fsubr Md:m ; D8/6 fdiv Md:m ; D8/7 fdivr Md:m
D8.C0+ fadd T0,Ti ; D8.C8+ fmul T0,Ti ; D8.D0+ fcom Ti ; D8.D8+ fcomp Ti ; D8.E0+ fsub T0,Ti ; D8.E8+ fsubr T0,Ti ; D8.F0+ fdiv T0,Ti ; D8.F8+ fdivr T0,Ti
D9/0 fld Md:m ; D9/2 fst Md:m ; D9/3 fstp Md:m ; D9/4 fldenv My:m js ; D9/5 fldcw Mw:m ; D9/6 fnstenv My:m js ; D9/7 fnstcw Mw:m
D9.C0+ fld Ti ; D9.C8+ fxch Ti ; D9.D0 fnop ; D9.E0 fchs ; D9.E1 fabs ; D9.E4 ftst ; D9.E5 fxam
D9.E8 fld1 ; D9.E9 fldl2t ; D9.EA fldl2e ; D9.EB fldpi ; D9.EC fldlg2 ; D9.ED fldln2 ; D9.EE fldz
D9.F0 f2xm1 ; D9.F1 fyl2x ; D9.F2 fptan ; D9.F3 fpatan ; D9.F4 fxtract ; D9.F5 fprem1 ; D9.F6 fdecstp ; D9.F7 fincstp
D9.F8 fprem ; D9.F9 fyl2xp1 ; D9.FA fsqrt ; D9.FB fsincos ; D9.FC frndint ; D9.FD fscale ; D9.FE fsin ; D9.FF fcos
DA/0 fiadd Md:m ; DA/1 fimul Md:m ; DA/2 ficom Md:m ; DA/3 ficomp Md:m ; DA/4 fisub Md:m ; DA/5 fisubr Md:m ; DA/6 fidiv Md:m ; DA/7 fidivr Md:m
DA.C0+ fcmovb T0,Ti reads=C ; DA.C8+ fcmove T0,Ti reads=Z ; DA.D0+ fcmovbe T0,Ti reads=ZC ; DA.D8+ fcmovu T0,Ti reads=P ; DA.E9 fucompp
DB/0 fild Md:m ; DB/1 fisttp Md:m ; DB/2 fist Md:m ; DB/3 fistp Md:m ; DB/5 fld Mt:m ; DB/7 fstp Mt:m
DB.C0+ fcmovnb T0,Ti reads=C ; DB.C8+ fcmovne T0,Ti reads=Z ; DB.D0+ fcmovnbe T0,Ti reads=ZC ; DB.D8+ fcmovnu T0,Ti reads=P
DB.E0 fneni js ; DB.E1 fndisi js ; DB.E2 fnclex js ; DB.E3 fninit js ; DB.E4 fnsetpm js ; DB.E8+ fucomi T0,Ti writes ; DB.F0+ fcomi T0,Ti writes
DC/0 fadd Mq:m ; DC/1 fmul Mq:m ; DC/2 fcom Mq:m ; DC/3 fcomp Mq:m ; DC/4 fsub Mq:m ; DC/5 fsubr Mq:m ; DC/6 fdiv Mq:m ; DC/7 fdivr Mq:m
DC.C0+ fadd Ti,T0 ; DC.C8+ fmul Ti,T0 ; DC.D0+ fcom Ti ; DC.D8+ fcomp Ti ; DC.E0+ fsubr Ti,T0 ; DC.E8+ fsub Ti,T0 ; DC.F0+ fdivr Ti,T0 ; DC.F8+ fdiv Ti,T0
DD/0 fld Mq:m ; DD/1 fisttp Mq:m ; DD/2 fst Mq:m ; DD/3 fstp Mq:m ; DD/4 frstor My:m js ; DD/6 fnsave My:m js ; DD/7 fnstsw Mw:m
DD.C0+ ffree Ti ; DD.C8+ fxch Ti ; DD.D0+ fst Ti ; DD.D8+ fstp Ti ; DD.E0+ fucom Ti ; DD.E8+ fucomp Ti
DE/0 fiadd Mw:m ; DE/1 fimul Mw:m ; DE/2 ficom Mw:m ; DE/3 ficomp Mw:m ; DE/4 fisub Mw:m ; DE/5 fisubr Mw:m ; DE/6 fidiv Mw:m ; DE/7 fidivr Mw:m
DE.C0+ faddp Ti,T0 ; DE.C8+ fmulp Ti,T0 ; DE.D0+ fcomp Ti ; DE.D9 fcompp ; DE.E0+ fsubrp Ti,T0 ; DE.E8+ fsubp Ti,T0 ; DE.F0+ fdivrp Ti,T0 ; DE.F8+ fdivp Ti,T0
DF/0 fild Mw:m ; DF/1 fisttp Mw:m ; DF/2 fist Mw:m ; DF/3 fistp Mw:m ; DF/4 fbld Mt:m ; DF/5 fild Mq:m ; DF/6 fbstp Mt:m ; DF/7 fistp Mq:m
DF.C0+ ffreep Ti ; DF.C8+ fxch Ti ; DF.D0+ fstp Ti ; DF.D8+ fstp Ti ; DF.E0 fnstsw AX ; DF.E8+ fucomip T0,Ti writes ; DF.F0+ fcomip T0,Ti writes
`;
const x87Rows = (): string[] => X87.trim().split(/\s*[;\n]\s*/).map(row => {
  const [opcode, name, ...rest] = row.split(' '), operands = /^[MTA]/.test(rest[0] ?? '') ? rest[0] : '-';
  const reads = rest.find(word => word.startsWith('reads='))?.slice(6) ?? '-';
  return `${opcode} ${name} ${operands} ${rest.includes('writes') ? 'OSZAPC' : '-'} ${reads} ${rest.includes('js') ? 'js' : 'fpu rare fault'}`;
});

// Packed and scalar SSE/SSE2: 128-bit operands are aligned (#GP) unless the mnemonic says u; scalar memory operands are d or q.
const SSE_MOVES = `
0F10 movups Vx,Wx ; 0F11 movups Wx,Vx ; 660F10 movups Vx,Wx ; 660F11 movups Wx,Vx ; F30F6F movups Vx,Wx ; F30F7F movups Wx,Vx ; F20FF0 movups Vx,Mx:m
0F28 movaps Vx,Wx ; 0F29 movaps Wx,Vx ; 660F28 movaps Vx,Wx ; 660F29 movaps Wx,Vx ; 660F6F movaps Vx,Wx ; 660F7F movaps Wx,Vx
0F2B movaps Mx,Vx:m ; 660F2B movaps Mx,Vx:m ; 660FE7 movaps Mx,Vx:m
F30F10 movss_load Vx,Wd ; F30F11 movss_store Wd,Vx ; F20F10 movsd_load Vx,Wq ; F20F11 movsd_store Wq,Vx
660F6E movd_to Vx,Ed ; 660F7E movd_from Ed,Vx ; F30F7E movq_load Vx,Wq ; 660FD6 movq_store Wq,Vx
0F12 movlps_load Vx,Wq ; 660F12 movlps_load Vx,Mq:m ; 0F13 movlps_store Mq,Vx:m ; 660F13 movlps_store Mq,Vx:m
0F16 movhps_load Vx,Wq ; 660F16 movhps_load Vx,Mq:m ; 0F17 movhps_store Mq,Vx:m ; 660F17 movhps_store Mq,Vx:m
F20F12 movddup Vx,Wq ; F30F12 movsldup Vx,Wx ; F30F16 movshdup Vx,Wx
0F50 movmskps Gd,Nx ; 660F50 movmskpd Gd,Nx ; 660FD7 pmovmskb Gd,Nx
0F14 unpcklps Vx,Wx ; 0F15 unpckhps Vx,Wx ; 660F14 punpcklqdq Vx,Wx ; 660F15 punpckhqdq Vx,Wx ; 0FC6 shufps Vx,Wx,Ib ; 660FC6 shufpd Vx,Wx,Ib
660F70 pshufd Vx,Wx,Ib ; F20F70 pshuflw Vx,Wx,Ib ; F30F70 pshufhw Vx,Wx,Ib ; 660FC4 pinsrw Vx,Ed,Ib ; 660FC5 pextrw Gd,Nx,Ib
`;
const sse = (prefix: string, rows: string): string[] => rows.trim().split(/\s*[;\n]\s*/).filter(Boolean).map(row => {
  const [op, name, operands] = row.split(/\s+/);
  return `${prefix}${op} ${name} ${operands ?? 'Vx,Wx'} - - sse rare`;
});
/** 660Fxx integer operations on Vx,Wx. */
const SSE_INTEGER = `
60 punpcklbw ; 61 punpcklwd ; 62 punpckldq ; 63 packsswb ; 64 pcmpgtb ; 65 pcmpgtw ; 66 pcmpgtd ; 67 packuswb ; 68 punpckhbw ; 69 punpckhwd ; 6A punpckhdq
6B packssdw ; 6C punpcklqdq ; 6D punpckhqdq ; 74 pcmpeqb ; 75 pcmpeqw ; 76 pcmpeqd ; D1 psrlw ; D2 psrld ; D3 psrlq ; D4 paddq ; D5 pmullw
D8 psubusb ; D9 psubusw ; DA pminub ; DB pand ; DC paddusb ; DD paddusw ; DE pmaxub ; DF pandn ; E0 pavgb ; E1 psraw ; E2 psrad ; E3 pavgw ; E4 pmulhuw
E5 pmulhw ; E8 psubsb ; E9 psubsw ; EA pminsw ; EB por ; EC paddsb ; ED paddsw ; EE pmaxsw ; EF pxor ; F1 psllw ; F2 pslld ; F3 psllq ; F4 pmuludq
F5 pmaddwd ; F6 psadbw ; F8 psubb ; F9 psubw ; FA psubd ; FB psubq ; FC paddb ; FD paddw ; FE paddd
`;
const SSE_SHIFT_IMM = `
71/2 psrlw Nx,Ib ; 71/4 psraw Nx,Ib ; 71/6 psllw Nx,Ib ; 72/2 psrld Nx,Ib ; 72/4 psrad Nx,Ib ; 72/6 pslld Nx,Ib
73/2 psrlq Nx,Ib ; 73/3 psrldq Nx,Ib ; 73/6 psllq Nx,Ib ; 73/7 pslldq Nx,Ib
`;
function* sseFloat(): Generator<string> {
  const scalarOps: [string, string][] = [['51', 'sqrt'], ['58', 'add'], ['59', 'mul'], ['5C', 'sub'], ['5D', 'min'], ['5E', 'div'], ['5F', 'max']];
  for (const [op, name] of scalarOps) {
    yield `0F${op} ${name}ps Vx,Wx - - sse rare fault`;
    yield `660F${op} ${name}pd Vx,Wx - - sse rare fault`;
    yield `F30F${op} ${name}ss Vx,Wd - - sse rare fault`;
    yield `F20F${op} ${name}sd Vx,Wq - - sse rare fault`;
  }
  yield* '0F53 rcpps Vx,Wx ; F30F53 rcpss Vx,Wd ; 0F52 rsqrtps Vx,Wx ; F30F52 rsqrtss Vx,Wd'.split(' ; ').map(row => `${row} - - sse rare fault`);
  yield* '660F7C haddpd ; F20F7C haddps ; 660F7D hsubpd ; F20F7D hsubps ; 660FD0 addsubpd ; F20FD0 addsubps'.split(' ; ').map(row => `${row} Vx,Wx - - sse rare fault`);
  for (const [op, name] of [['54', 'pand'], ['55', 'pandn'], ['56', 'por'], ['57', 'pxor']]) {
    yield `0F${op} ${name} Vx,Wx - - sse rare`;
    yield `660F${op} ${name} Vx,Wx - - sse rare`;
  }
  yield* `0F2E ucomiss Vx,Wd ; 0F2F comiss Vx,Wd ; 660F2E ucomisd Vx,Wq ; 660F2F comisd Vx,Wq`.split(' ; ').map(row => `${row} OSZAPC - sse rare fault`);
  yield* `F20F2A cvtsi2sd Vx,Ed ; F30F2A cvtsi2ss Vx,Ed ; F20F2C cvttsd2si Gd,Wq ; F30F2C cvttss2si Gd,Wd ; F20F2D cvtsd2si Gd,Wq ; F30F2D cvtss2si Gd,Wd
F20F5A cvtsd2ss Vx,Wq ; F30F5A cvtss2sd Vx,Wd ; 660F5A cvtpd2ps Vx,Wx ; 0F5A cvtps2pd Vx,Wq ; 0F5B cvtdq2ps Vx,Wx ; F30F5B cvttps2dq Vx,Wx ; 660F5B cvtps2dq Vx,Wx
F30FE6 cvtdq2pd Vx,Wq ; 660FE6 cvttpd2dq Vx,Wx ; F20FE6 cvtpd2dq Vx,Wx ; 0FC2 cmpps Vx,Wx,Ib ; 660FC2 cmppd Vx,Wx,Ib ; F30FC2 cmpss Vx,Wd,Ib ; F20FC2 cmpsd Vx,Wq,Ib
`.trim().split(/\s*[;\n]\s*/).map(row => `${row} - - sse rare fault`);
}

// MMX, with 64-bit memory operands but where said; the last lines belong to SSE, SSE2 and need their OS support as well.
const MMX_INTEGER = `
60 punpcklbw Pq,Qd ; 61 punpcklwd Pq,Qd ; 62 punpckldq Pq,Qd ; 63 packsswb ; 64 pcmpgtb ; 65 pcmpgtw ; 66 pcmpgtd ; 67 packuswb ; 68 punpckhbw ; 69 punpckhwd ; 6A punpckhdq ; 6B packssdw
6E movd_to Pq,Ed ; 6F movq_load ; 70 pshufw Pq,Qq,Ib ; 71/2 psrlw Hq,Ib ; 71/4 psraw Hq,Ib ; 71/6 psllw Hq,Ib ; 72/2 psrld Hq,Ib ; 72/4 psrad Hq,Ib ; 72/6 pslld Hq,Ib ; 73/2 psrlq Hq,Ib ; 73/6 psllq Hq,Ib
74 pcmpeqb ; 75 pcmpeqw ; 76 pcmpeqd ; 7E movd_from Ed,Pq ; 7F movq_store Qq,Pq ; C4 pinsrw Pq,Ed,Ib ; C5 pextrw Gd,Hq,Ib ; D1 psrlw ; D2 psrld ; D3 psrlq ; D4 paddq ; D5 pmullw ; D7 pmovmskb Gd,Hq
D8 psubusb ; D9 psubusw ; DA pminub ; DB pand ; DC paddusb ; DD paddusw ; DE pmaxub ; DF pandn ; E0 pavgb ; E1 psraw ; E2 psrad ; E3 pavgw ; E4 pmulhuw ; E5 pmulhw
E8 psubsb ; E9 psubsw ; EA pminsw ; EB por ; EC paddsb ; ED paddsw ; EE pmaxsw ; EF pxor ; F1 psllw ; F2 pslld ; F3 psllq ; F4 pmuludq ; F5 pmaddwd ; F6 psadbw
F8 psubb ; F9 psubw ; FA psubd ; FB psubq ; FC paddb ; FD paddw ; FE paddd
`;
const MMX_OTHER = `
0F77 emms - ; 0FE7 movntq Mq,Pq:m ; 0F2A cvtpi2ps Vx,Qq ; 660F2A cvtpi2pd Vx,Qq ; 0F2C cvttps2pi Pq,Wq ; 0F2D cvtps2pi Pq,Wq ; 660F2C cvttpd2pi Pq,Wx ; 660F2D cvtpd2pi Pq,Wx
F20FD6 movdq2q Pq,Nx ; F30FD6 movq2dq Vx,Hq
`;
const words = (rows: string): string[][] => rows.trim().split(/\s*[;\n]\s*/).map(row => row.split(' '));
const mmxRows = (): string[] => [
  ...words(MMX_INTEGER).map(([op, name, operands]) => `0F${op} ${name}_mm ${operands ?? 'Pq,Qq'} - - mmx rare fault`),
  ...words(MMX_OTHER).map(([op, name, operands]) => `${op} ${name} ${operands} - - mmx rare fault`),
  '0FF7 maskmovq Pq,Hq - - js np', '660FF7 maskmovdqu Vx,Nx - - js norep',
];

/** All rows, one string each. */
export const ROWS: readonly string[] = [
  ...alu(), ...shifts(), ...conditions(),
  ...`${INTEGER}\n${SYSTEM}`.split(/\s*[;\n]\s*/).filter(Boolean),
  ...x87Rows(), ...mmxRows(), ...sse('', SSE_MOVES), ...sse('660F', SSE_INTEGER), ...sse('660F', SSE_SHIFT_IMM), ...sseFloat(),
].map(row => row.trim());

export const CONDITION_NAMES: readonly string[] = CC;
