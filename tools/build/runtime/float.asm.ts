/**
 * Floating-point helpers with SSE2 only (no SSE4.1 roundings, no x87): rounding, min/max, conversions. Semantics are those of the wasm
 * specification, section 4.3.3. Arguments in XMM0, XMM1 (f64 unless said otherwise) or EAX, EDX; XMM registers are all scratch.
 */
import type { Assembler } from '../asm/assembler.ts';
import { addr, cl, eax, ebx, ecx, edx, qword, mem, xmm0, xmm1, xmm2, xmm3 } from '../x86/operands.ts';

/** f64 constant, 16-byte aligned with a zero upper half. */
function constant(asm: Assembler, label: string, high: number, low = 0): void {
  asm.section('rodata');
  asm.align(16);
  asm.label(label);
  asm.dword(low, high, 0, 0);
  asm.section('text');
}
const SIGN = [0x80000000, 0] as const;

/** One rounding of f64. `nearest`: adding and taking away 2^52 rounds to even; the others correct its result by one. */
export function round(kind: 'ceil' | 'floor' | 'trunc' | 'nearest'): (asm: Assembler) => void {
  return (asm) => {
    const name = `__${kind}_f64`, c = (s: string): ReturnType<typeof addr> => addr(`${name}${s}`);
    constant(asm, `${name}.sign`, ...SIGN);
    constant(asm, `${name}.two52`, 0x43300000);
    constant(asm, `${name}.one`, 0x3ff00000);
    asm.label(name);
    asm.ucomisd(xmm0, xmm0);
    asm.jcc('p', '.nan');
    asm.movaps(xmm1, xmm0);
    asm.andps(xmm1, mem(16, c('.sign'))); // sign of x
    asm.movaps(xmm2, xmm0);
    asm.xorps(xmm2, xmm1); // |x|
    asm.movsd(xmm3, qword(c('.two52')));
    asm.ucomisd(xmm2, xmm3);
    asm.jcc('ae', '.done'); // already an integer (or infinite)
    if (kind === 'trunc') {
      asm.movaps(xmm0, xmm2);
      asm.addsd(xmm2, xmm3);
      asm.subsd(xmm2, xmm3);
      asm.ucomisd(xmm2, xmm0);
      asm.jcc('be', '.sign');
      asm.subsd(xmm2, qword(c('.one')));
    } else {
      asm.addsd(xmm2, xmm3);
      asm.subsd(xmm2, xmm3);
      asm.orps(xmm2, xmm1); // nearest(x)
      if (kind === 'floor') {
        asm.ucomisd(xmm2, xmm0);
        asm.jcc('be', '.sign');
        asm.subsd(xmm2, qword(c('.one')));
        asm.movaps(xmm0, xmm2);
        asm.ret();
      } else if (kind === 'ceil') {
        asm.ucomisd(xmm2, xmm0);
        asm.jcc('ae', '.sign');
        asm.addsd(xmm2, qword(c('.one')));
      }
    }
    asm.label('.sign');
    asm.orps(xmm2, xmm1);
    asm.movaps(xmm0, xmm2);
    asm.label('.done');
    asm.ret();
    asm.label('.nan');
    asm.addsd(xmm0, xmm0);
    asm.ret();
  };
}
/** f32 by way of f64: both conversions are exact. */
export function round32(kind: string): (asm: Assembler) => void {
  return (asm) => {
    asm.label(`__${kind}_f32`);
    asm.cvtss2sd(xmm0, xmm0);
    asm.call(`__${kind}_f64`);
    asm.cvtsd2ss(xmm0, xmm0);
    asm.ret();
  };
}
export function extreme(kind: 'min' | 'max', type: 'f32' | 'f64'): (asm: Assembler) => void {
  return (asm) => {
    asm.label(`__${kind}_${type}`);
    if (type === 'f64') asm.ucomisd(xmm0, xmm1);
    else asm.ucomiss(xmm0, xmm1);
    asm.jcc('p', '.nan');
    asm.jcc('e', '.equal');
    if (type === 'f64') asm[kind === 'min' ? 'minsd' : 'maxsd'](xmm0, xmm1);
    else asm[kind === 'min' ? 'minss' : 'maxss'](xmm0, xmm1);
    asm.ret();
    asm.label('.equal'); // the zeros: -0 < +0
    if (kind === 'min') asm.orps(xmm0, xmm1);
    else asm.andps(xmm0, xmm1);
    asm.ret();
    asm.label('.nan');
    if (type === 'f64') asm.addsd(xmm0, xmm1);
    else asm.addss(xmm0, xmm1);
    asm.ret();
  };
}

/** f64 -> 32-bit integer in EAX. */
export function toWord(name: '__sat_i32' | '__trunc_i32' | '__sat_u32' | '__trunc_u32'): (asm: Assembler) => void {
  const sat = name.startsWith('__sat'), c = (s: string): ReturnType<typeof addr> => addr(`${name}${s}`);
  return (asm) => {
    const outside = (): void => {
      if (!sat) asm.ud2();
    };
    if (name.endsWith('i32')) {
      constant(asm, `${name}.low`, 0xc1e00000, 0x00200000); // -2147483649
      asm.label(name);
      asm.cvttsd2si(eax, xmm0);
      asm.cmp(eax, 0x80000000 | 0);
      asm.jcc('e', '.check');
      asm.ret();
      asm.label('.check');
      asm.xorps(xmm1, xmm1);
      asm.ucomisd(xmm0, xmm1);
      if (sat) {
        asm.jcc('p', '.zero');
        asm.jcc('b', '.done');
        asm.dec(eax);
        asm.ret();
        asm.label('.zero');
        asm.xor(eax, eax);
      } else {
        asm.jcc('p', '.bad');
        asm.jcc('ae', '.bad');
        asm.ucomisd(xmm0, qword(c('.low')));
        asm.jcc('be', '.bad');
      }
      asm.label('.done');
      asm.ret();
      asm.label('.bad');
      asm.ud2();
      return;
    }
    constant(asm, `${name}.two31`, 0x41e00000);
    constant(asm, `${name}.two32`, 0x41f00000);
    constant(asm, `${name}.minus1`, 0xbff00000);
    asm.label(name);
    asm.ucomisd(xmm0, qword(c('.minus1')));
    asm.jcc('p', '.bad');
    asm.jcc('be', '.bad');
    asm.movsd(xmm1, qword(c('.two31')));
    asm.ucomisd(xmm0, xmm1);
    asm.jcc('ae', '.high');
    asm.cvttsd2si(eax, xmm0);
    asm.ret();
    asm.label('.high');
    asm.ucomisd(xmm0, qword(c('.two32')));
    asm.jcc('ae', '.large');
    asm.subsd(xmm0, xmm1);
    asm.cvttsd2si(eax, xmm0);
    asm.xor(eax, 0x80000000 | 0);
    asm.ret();
    asm.label('.bad');
    outside();
    asm.xor(eax, eax);
    asm.ret();
    asm.label('.large');
    outside();
    asm.mov(eax, -1);
    asm.ret();
  };
}

/** f64 -> 64-bit integer in EDX:EAX, from the bits: mantissa shifted by the exponent. */
export function toPair(name: '__sat_i64' | '__trunc_i64' | '__sat_u64' | '__trunc_u64'): (asm: Assembler) => void {
  const sat = name.startsWith('__sat'), signed = name.endsWith('i64');
  return (asm) => {
    asm.label(name);
    asm.push(ebx);
    asm.movd(eax, xmm0);
    asm.movaps(xmm1, xmm0);
    asm.psrlq(xmm1, 32);
    asm.movd(edx, xmm1);
    asm.mov(ebx, edx); // sign and exponent
    asm.mov(ecx, edx);
    asm.shr(ecx, 20);
    asm.and(ecx, 0x7ff);
    asm.sub(ecx, 1023);
    asm.jcc('l', '.zero'); // |x| < 1
    asm.cmp(ecx, signed ? 63 : 64);
    asm.jcc('ge', '.large');
    if (!signed) {
      asm.test(ebx, ebx);
      asm.jcc('s', '.negative');
    }
    asm.and(edx, 0xfffff);
    asm.or(edx, 0x100000);
    asm.sub(ecx, 52);
    asm.jcc('ge', '.left');
    asm.neg(ecx);
    asm.shrd(eax, edx, cl);
    asm.shr(edx, cl);
    asm.test(ecx, 32);
    asm.jcc('e', '.sign');
    asm.mov(eax, edx);
    asm.xor(edx, edx);
    asm.jmp('.sign');
    asm.label('.left');
    asm.shld(edx, eax, cl);
    asm.shl(eax, cl);
    asm.label('.sign');
    if (signed) {
      asm.test(ebx, ebx);
      asm.jcc('ns', '.done');
      asm.neg(eax);
      asm.adc(edx, 0);
      asm.neg(edx);
    }
    asm.label('.done');
    asm.pop(ebx);
    asm.ret();
    asm.label('.negative');
    if (!sat) asm.ud2();
    asm.label('.zero');
    asm.xor(eax, eax);
    asm.xor(edx, edx);
    asm.pop(ebx);
    asm.ret();
    asm.label('.large');
    if (!sat) {
      if (signed) { // only -2^63 itself is left
        asm.cmp(ebx, 0xc3e00000 | 0);
        asm.jcc('ne', '.bad');
        asm.test(eax, eax);
        asm.jcc('ne', '.bad');
        asm.mov(edx, 0x80000000 | 0);
        asm.pop(ebx);
        asm.ret();
        asm.label('.bad');
      }
      asm.ud2();
      return;
    }
    asm.ucomisd(xmm0, xmm0);
    asm.jcc('p', '.zero');
    asm.test(ebx, ebx);
    asm.jcc('s', '.lowest');
    asm.mov(eax, -1);
    asm.mov(edx, signed ? 0x7fffffff : -1);
    asm.pop(ebx);
    asm.ret();
    asm.label('.lowest');
    asm.xor(eax, eax);
    asm.mov(edx, signed ? 0x80000000 | 0 : 0);
    asm.pop(ebx);
    asm.ret();
  };
}

/**
 * 64-bit integer EDX:EAX -> f32 in XMM0. Above 2^53 the bits that f64 would lose are folded into one sticky bit, so that the second
 * rounding (f64 -> f32) is the only one.
 */
export function toFloat(name: '__f32_from_i64' | '__f32_from_u64'): (asm: Assembler) => void {
  const signed = name.endsWith('i64'), c = (s: string): ReturnType<typeof addr> => addr(`${name}${s}`);
  return (asm) => {
    constant(asm, `${name}.bias`, 0x43300000);
    constant(asm, `${name}.two32`, 0x41f00000);
    asm.label(name);
    asm.push(ebx);
    asm.mov(ebx, edx);
    if (signed) {
      asm.test(edx, edx);
      asm.jcc('ns', '.positive');
      asm.neg(eax);
      asm.adc(edx, 0);
      asm.neg(edx);
      asm.label('.positive');
    }
    asm.cmp(edx, 1 << 21);
    asm.jcc('b', '.exact');
    asm.test(eax, 0x7ff);
    asm.jcc('e', '.exact');
    asm.and(eax, ~0x7ff);
    asm.or(eax, 0x800);
    asm.label('.exact');
    asm.movsd(xmm2, qword(c('.bias')));
    asm.movd(xmm0, edx);
    asm.orps(xmm0, xmm2);
    asm.subsd(xmm0, xmm2);
    asm.mulsd(xmm0, qword(c('.two32')));
    asm.movd(xmm1, eax);
    asm.orps(xmm1, xmm2);
    asm.subsd(xmm1, xmm2);
    asm.addsd(xmm0, xmm1);
    asm.cvtsd2ss(xmm0, xmm0);
    if (signed) {
      asm.test(ebx, ebx);
      asm.jcc('ns', '.done');
      asm.movd(eax, xmm0);
      asm.xor(eax, 0x80000000 | 0);
      asm.movd(xmm0, eax);
      asm.label('.done');
    }
    asm.pop(ebx);
    asm.ret();
  };
}
