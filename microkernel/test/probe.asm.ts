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
};
