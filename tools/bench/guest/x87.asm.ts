/** The inner loops of matmul87 and daxpy87 as gcc -O2 -m32 -mfpmath=387 writes them. The stub assembler has no x87 forms: bytes. */
import type { Assembler } from '../../build/asm/assembler.ts';
import { eax, ebx, ecx, edx } from '../../build/x86/operands.ts';

export default (asm: Assembler): void => {
  asm.section('text');
  // x87Init()
  asm.label('x87Init');
  asm.byte(0xdb, 0xe3); // fninit
  asm.ret();
  // x87Dot(p, q, result): 48 products of doubles, q in steps of 48
  asm.label('x87Dot');
  asm.push(ebx);
  asm.mov(ebx, 48);
  asm.byte(0xd9, 0xee); // fldz
  asm.label('.dot');
  asm.byte(0xdd, 0x00); // fld qword [eax]
  asm.add(eax, 8);
  asm.byte(0xdc, 0x0a); // fmul qword [edx]
  asm.add(edx, 384);
  asm.dec(ebx);
  asm.byte(0xde, 0xc1); // faddp st1, st0
  asm.jcc('ne', '.dot');
  asm.byte(0xdd, 0x19); // fstp qword [ecx]
  asm.pop(ebx);
  asm.ret();
  // x87Axpy(y, x, a): y += *a * x over 4096 doubles
  asm.label('x87Axpy');
  asm.byte(0xdd, 0x01); // fld qword [ecx]
  asm.xor(ecx, ecx);
  asm.label('.axpy');
  asm.byte(0xdd, 0x04, 0xca); // fld qword [edx+ecx*8]
  asm.byte(0xd8, 0xc9); // fmul st0, st1
  asm.byte(0xdc, 0x04, 0xc8); // fadd qword [eax+ecx*8]
  asm.byte(0xdd, 0x1c, 0xc8); // fstp qword [eax+ecx*8]
  asm.inc(ecx);
  asm.cmp(ecx, 4096);
  asm.jcc('ne', '.axpy');
  asm.byte(0xdd, 0xd8); // fstp st0
  asm.ret();
};
