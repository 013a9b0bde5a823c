/**
 * Helpers the compiler calls for what i386 has no instruction for: 64-bit division and variable shifts, bit counts, block moves.
 * Convention: words in EAX, EDX, ECX, then the stack; result in EAX or EDX:EAX; EBX ESI EDI EBP preserved.
 */
import type { Assembler } from '../asm/assembler.ts';
import { al, byte, cl, dword, eax, ebp, ebx, ecx, edi, edx, esi, esp, ptr } from '../x86/operands.ts';

/** Quotient EDX:EAX and remainder ESI:EDI of EDX:EAX / EBX:ECX. Clobbers everything. */
function core(asm: Assembler): void {
  asm.label('.core');
  asm.test(ebx, ebx);
  asm.jcc('ne', '.wide');
  asm.mov(esi, eax);
  asm.mov(eax, edx);
  asm.xor(edx, edx);
  asm.div(ecx); // #DE for a zero divisor, as wasm traps
  asm.mov(ebp, eax);
  asm.mov(eax, esi);
  asm.div(ecx);
  asm.mov(edi, edx);
  asm.xor(esi, esi);
  asm.mov(edx, ebp);
  asm.ret();
  // Divisor >= 2^32: shift both right until it fits 32 bits; the quotient is then right or one too large.
  asm.label('.wide');
  asm.mov(edi, eax);
  asm.mov(esi, edx);
  asm.push(ecx);
  asm.push(ebx);
  asm.mov(ebp, ecx);
  asm.bsr(ecx, ebx);
  asm.shrd(ebp, ebx, cl);
  asm.shr(ebx, cl);
  asm.shrd(ebp, ebx, 1);
  asm.shrd(eax, edx, cl);
  asm.shr(edx, cl);
  asm.shrd(eax, edx, 1);
  asm.shr(edx, 1);
  asm.div(ebp);
  asm.pop(ebx);
  asm.pop(ecx);
  asm.mov(ebp, eax);
  asm.mov(eax, ebx);
  asm.mul(ebp);
  asm.push(edx); // overflow of quotient * divisor, counted up by the carries below
  asm.push(eax);
  asm.mov(eax, ecx);
  asm.mul(ebp);
  asm.add(edx, dword(esp));
  asm.adc(dword(esp, 4), 0);
  asm.sub(edi, eax);
  asm.sbb(esi, edx);
  asm.adc(dword(esp, 4), 0);
  asm.pop(eax);
  asm.pop(edx);
  asm.test(edx, edx);
  asm.jcc('e', '.exact');
  asm.dec(ebp);
  asm.add(edi, ecx);
  asm.adc(esi, ebx);
  asm.label('.exact');
  asm.mov(eax, ebp);
  asm.xor(edx, edx);
  asm.ret();
}
const negate = (asm: Assembler, low: typeof eax, high: typeof eax): void => {
  asm.neg(low);
  asm.adc(high, 0);
  asm.neg(high);
};

export function division(name: '__udivdi3' | '__umoddi3' | '__divdi3' | '__moddi3'): (asm: Assembler) => void {
  const signed = !name.startsWith('__u'), remainder = name.endsWith('moddi3');
  return (asm) => {
    asm.label(name);
    asm.push(ebx);
    asm.push(esi);
    asm.push(edi);
    asm.push(ebp);
    asm.mov(ebx, dword(esp, 20));
    if (signed) {
      asm.mov(esi, edx);
      if (!remainder) asm.xor(esi, ebx);
      asm.push(esi); // the sign of the result is the sign of this
      asm.test(edx, edx);
      asm.jcc('ns', '.a');
      negate(asm, eax, edx);
      asm.label('.a');
      asm.test(ebx, ebx);
      asm.jcc('ns', '.b');
      negate(asm, ecx, ebx);
      asm.label('.b');
    }
    asm.call('.core');
    if (remainder) {
      asm.mov(eax, edi);
      asm.mov(edx, esi);
    }
    if (signed) {
      asm.pop(esi);
      asm.test(esi, esi);
      asm.jcc('ns', '.c');
      negate(asm, eax, edx);
      if (!remainder) asm.jmp('.d');
      asm.label('.c');
      if (!remainder) {
        asm.test(edx, edx); // INT64_MIN / -1 does not fit: a trap in wasm
        asm.jcc('s', '.overflow');
        asm.label('.d');
      }
    }
    asm.pop(ebp);
    asm.pop(edi);
    asm.pop(esi);
    asm.pop(ebx);
    asm.ret();
    if (signed && !remainder) {
      asm.label('.overflow');
      asm.ud2();
    }
    core(asm);
  };
}

export function shift64(kind: 'shl' | 'shr_u' | 'shr_s' | 'rotl' | 'rotr'): (asm: Assembler) => void {
  return (asm) => {
    asm.label(`__${kind}64`);
    if (kind === 'rotl' || kind === 'rotr') {
      asm.test(ecx, 32);
      asm.jcc('e', '.a');
      asm.xchg(eax, edx);
      asm.label('.a');
      asm.push(ebx);
      asm.mov(ebx, edx);
      if (kind === 'rotl') {
        asm.shld(edx, eax, cl);
        asm.shld(eax, ebx, cl);
      } else {
        asm.shrd(edx, eax, cl);
        asm.shrd(eax, ebx, cl);
      }
      asm.pop(ebx);
      asm.ret();
      return;
    }
    if (kind === 'shl') {
      asm.shld(edx, eax, cl);
      asm.shl(eax, cl);
    } else {
      asm.shrd(eax, edx, cl);
      if (kind === 'shr_s') asm.sar(edx, cl);
      else asm.shr(edx, cl);
    }
    asm.test(ecx, 32);
    asm.jcc('e', '.done');
    if (kind === 'shl') {
      asm.mov(edx, eax);
      asm.xor(eax, eax);
    } else {
      asm.mov(eax, edx);
      if (kind === 'shr_s') asm.sar(edx, 31);
      else asm.xor(edx, edx);
    }
    asm.label('.done');
    asm.ret();
  };
}

export function clz64(asm: Assembler): void {
  asm.label('__clz64');
  asm.bsr(ecx, edx);
  asm.jcc('ne', '.high');
  asm.bsr(ecx, eax);
  asm.mov(eax, 64);
  asm.jcc('e', '.none');
  asm.xor(ecx, 31);
  asm.lea(eax, ptr(ecx, 32));
  asm.label('.none');
  asm.ret();
  asm.label('.high');
  asm.mov(eax, ecx);
  asm.xor(eax, 31);
  asm.ret();
}
export function ctz64(asm: Assembler): void {
  asm.label('__ctz64');
  asm.bsf(eax, eax);
  asm.jcc('ne', '.done');
  asm.bsf(eax, edx);
  asm.lea(eax, ptr(eax, 32));
  asm.jcc('ne', '.done');
  asm.mov(eax, 64);
  asm.label('.done');
  asm.ret();
}
/** Population count of EAX by parallel addition; clobbers EDX. */
function count(asm: Assembler): void {
  asm.mov(edx, eax);
  asm.shr(edx, 1);
  asm.and(edx, 0x55555555);
  asm.sub(eax, edx);
  asm.mov(edx, eax);
  asm.shr(edx, 2);
  asm.and(eax, 0x33333333);
  asm.and(edx, 0x33333333);
  asm.add(eax, edx);
  asm.mov(edx, eax);
  asm.shr(edx, 4);
  asm.add(eax, edx);
  asm.and(eax, 0x0f0f0f0f);
  asm.imul(eax, eax, 0x01010101);
  asm.shr(eax, 24);
}
export function popcnt32(asm: Assembler): void {
  asm.label('__popcnt32');
  count(asm);
  asm.ret();
}
export function popcnt64(asm: Assembler): void {
  asm.label('__popcnt64');
  asm.push(ebx);
  asm.mov(ebx, edx);
  count(asm);
  asm.xchg(eax, ebx);
  count(asm);
  asm.add(eax, ebx);
  asm.pop(ebx);
  asm.ret();
}

export function memmove(asm: Assembler): void {
  asm.label('__memmove'); // EAX to, EDX from, ECX bytes
  asm.push(esi);
  asm.push(edi);
  asm.mov(edi, eax);
  asm.mov(esi, edx);
  asm.sub(eax, edx);
  asm.cmp(eax, ecx);
  asm.jcc('b', '.backward'); // 0 <= to - from < bytes
  asm.mov(edx, ecx);
  asm.shr(ecx, 2);
  asm.rep();
  asm.movsd_();
  asm.mov(ecx, edx);
  asm.and(ecx, 3);
  asm.jcc('e', '.done');
  asm.rep();
  asm.movsb();
  asm.label('.done');
  asm.pop(edi);
  asm.pop(esi);
  asm.ret();
  asm.label('.backward');
  asm.sub(ecx, 4);
  asm.jcc('b', '.tail');
  asm.label('.words');
  asm.mov(edx, dword(esi, ecx));
  asm.mov(dword(edi, ecx), edx);
  asm.sub(ecx, 4);
  asm.jcc('ae', '.words');
  asm.label('.tail');
  asm.add(ecx, 4);
  asm.jcc('e', '.done');
  asm.label('.bytes');
  asm.mov(al, byte(esi, ecx, -1));
  asm.mov(byte(edi, ecx, -1), al);
  asm.dec(ecx);
  asm.jcc('ne', '.bytes');
  asm.jmp('.done');
}
/** Index of the first word that differs; the number of words when none does. */
export function differ(asm: Assembler): void {
  asm.label('__differ'); // EAX a, EDX b, ECX words
  asm.push(esi);
  asm.push(edi);
  asm.mov(esi, eax);
  asm.mov(edi, edx);
  asm.mov(eax, ecx);
  asm.cmp(ecx, ecx); // no words: equal
  asm.rep();
  asm.cmpsd_();
  asm.jcc('e', '.equal');
  asm.sub(eax, ecx);
  asm.dec(eax);
  asm.label('.equal');
  asm.pop(edi);
  asm.pop(esi);
  asm.ret();
}
export function memset(asm: Assembler): void {
  asm.label('__memset'); // EAX to, EDX value, ECX bytes
  asm.push(edi);
  asm.mov(edi, eax);
  asm.and(edx, 255);
  asm.imul(eax, edx, 0x01010101);
  asm.mov(edx, ecx);
  asm.shr(ecx, 2);
  asm.rep();
  asm.stosd();
  asm.mov(ecx, edx);
  asm.and(ecx, 3);
  asm.jcc('e', '.done');
  asm.rep();
  asm.stosb();
  asm.label('.done');
  asm.pop(edi);
  asm.ret();
}
export function fetch(op: 'or' | 'and'): (asm: Assembler) => void {
  return (asm) => {
    asm.label(`__fetch_${op}`); // EAX address, EDX value
    asm.push(ebx);
    asm.mov(ecx, eax);
    asm.mov(eax, dword(ecx));
    asm.label('.again');
    asm.mov(ebx, eax);
    asm[op](ebx, edx);
    asm.lock();
    asm.cmpxchg(dword(ecx), ebx);
    asm.jcc('ne', '.again');
    asm.pop(ebx);
    asm.ret();
  };
}
export function switchStack(asm: Assembler): void {
  asm.label('__switch_stack'); // EAX where to save ESP, EDX new ESP
  asm.push(ebp);
  asm.push(ebx);
  asm.push(esi);
  asm.push(edi);
  asm.mov(dword(eax), esp);
  asm.mov(esp, edx);
  asm.pop(edi);
  asm.pop(esi);
  asm.pop(ebx);
  asm.pop(ebp);
  asm.ret();
}
/** A call through an empty entry of the function table, and `abort` when the program brings none. */
export function trap(name: string): (asm: Assembler) => void {
  return (asm) => {
    asm.label(name);
    asm.ud2();
  };
}
