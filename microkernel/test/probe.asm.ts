/**
 * `sys_enter` with the time stamp right before SYSENTER and right after SYSEXIT. On a machine whose TSC counts retired instructions, the difference
 * between one Thread's `before` and the other's `after` is the kernel's path plus PROBE_OVERHEAD instructions: RDTSC, three MOVs and SYSENTER here, one
 * MOV behind SYSEXIT.
 */
import type { Assembler } from '../../tools/build/asm/assembler.ts';
import { addr, dword, eax, ebp, ebx, ecx, edi, edx, esi, esp } from '../../tools/build/x86/operands.ts';

export default (asm: Assembler): void => {
  asm.label('probeEnter');
  asm.push(ebx);
  asm.push(esi);
  asm.push(edi);
  asm.push(ebp);
  asm.push(dword(eax)); // handle
  asm.push(0); // time before
  asm.push(eax);
  asm.mov(ebx, dword(eax, 4));
  asm.mov(esi, dword(eax, 8));
  asm.mov(edi, dword(eax, 12));
  asm.mov(ebp, dword(eax, 16));
  asm.mov(ecx, esp);
  asm.rdtsc();
  asm.mov(dword(ecx, 4), eax);
  asm.mov(eax, dword(ecx, 8));
  asm.mov(edx, addr('probeBack'));
  asm.sysenter();
  asm.label('probeBack');
  asm.mov(ecx, eax);
  asm.rdtsc();
  asm.pop(edx);
  asm.mov(dword(edx, 56), eax); // Ctx.after
  asm.pop(eax);
  asm.mov(dword(edx, 52), eax); // Ctx.before
  asm.mov(dword(edx, 4), ebx);
  asm.mov(dword(edx, 8), esi);
  asm.mov(dword(edx, 12), edi);
  asm.mov(dword(edx, 16), ebp);
  asm.mov(eax, ecx);
  asm.pop(ecx);
  asm.pop(ebp);
  asm.pop(edi);
  asm.pop(esi);
  asm.pop(ebx);
  asm.ret();
  // x87Series(control, steps, result): fldcw; sum of 1/n, the counter passing through memory, everything else on the register stack
  asm.label('x87Series');
  asm.push(eax);
  asm.byte(0xdb, 0xe3); // fninit
  asm.byte(0xd9, 0x2c, 0x24); // fldcw [esp]
  asm.byte(0xd9, 0xee); // fldz
  asm.label('.next');
  asm.mov(dword(esp), edx);
  asm.byte(0xdb, 0x04, 0x24); // fild dword [esp]
  asm.byte(0xd9, 0xe8); // fld1
  asm.byte(0xde, 0xf1); // fdivrp st1, st0
  asm.byte(0xde, 0xc1); // faddp st1, st0
  asm.dec(edx);
  asm.jcc('ne', '.next');
  asm.byte(0xdb, 0x39); // fstp tword [ecx]
  asm.pop(eax);
  asm.ret();
};
