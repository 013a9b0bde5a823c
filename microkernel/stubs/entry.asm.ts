/**
 * Ways into and out of the kernel.
 *
 * Interrupts and exceptions from ring 3 arrive with the stack pointer at the end of the current Thread's frame (TSS.esp0): the CPU and PUSHAD fill the
 * frame, then the stack becomes the CPU's own, whose address the Thread knows. From ring 0 (idle, preemption points) they nest on the CPU's stack.
 * DS and ES: ring 3 may load what it likes into them, so the entries put the flat user selector back, which serves ring 0 as well; it stays loaded.
 * `leaveKernel` is the one way out: IRET when all registers count, else SYSEXIT.
 */
import type { Assembler } from '../../tools/build/asm/assembler.ts';
import { addr, ax, cr0, dr0, dr1, dr2, dr3, dr6, dr7, ds, dword, eax, ebp, ebx, ecx, edi, edx, es, esi, esp, fs, gs, ptr, byte, ss } from '../../tools/build/x86/operands.ts';
import { CPU_AREA, CPU_TSS, C_CURRENT, T_CPU, T_EAX, T_EBP, T_EBX, T_EDI, T_EIP, T_ESI, T_ESP, T_FRAME, T_IRET } from '../offsets.ts';
import { SELECTOR } from '../abi/layout.ts';

/** Vectors for which the CPU pushes an error code (Intel SDM 3A table 6-1). */
const WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17, 21]);
const CS_IN_FRAME = 44;

export default (asm: Assembler): void => {
  asm.section('text');
  for (let v = 0; v < 256; v++) {
    asm.label(`vector${v}`);
    if (!WITH_ERROR.has(v)) asm.push(0);
    asm.push(v);
    asm.jmp('commonEntry');
  }
  asm.align(16);
  asm.label('commonEntry');
  asm.pushad();
  asm.mov(ecx, SELECTOR.userData);
  asm.mov(ds, ecx);
  asm.mov(es, ecx);
  asm.cld();
  asm.test(byte(esp, CS_IN_FRAME), 3);
  asm.jcc('e', '.kernel');
  asm.mov(esp, dword(esp, T_CPU - T_FRAME));
  asm.call('userTrap');
  asm.label('leaveKernel'); // ESP = Cpu
  asm.mov(ebx, dword(esp, C_CURRENT));
  asm.cmp(dword(ebx, T_IRET), 0);
  asm.jcc('e', '.sysexit');
  asm.mov(dword(ebx, T_IRET), 0);
  asm.lea(esp, ptr(ebx, T_FRAME));
  asm.popad();
  asm.add(esp, 8);
  asm.iretd();
  asm.label('.sysexit');
  asm.mov(esi, dword(ebx, T_ESI));
  asm.mov(edi, dword(ebx, T_EDI));
  asm.mov(ebp, dword(ebx, T_EBP));
  asm.mov(eax, dword(ebx, T_EAX));
  asm.mov(ecx, dword(ebx, T_ESP));
  asm.mov(edx, dword(ebx, T_EIP));
  asm.mov(ebx, dword(ebx, T_EBX));
  asm.sti();
  asm.sysexit();
  asm.label('.kernel');
  asm.mov(eax, esp);
  asm.call('kernelTrap');
  asm.popad();
  asm.add(esp, 8);
  asm.iretd();

  asm.label('stubResume'); // (cpu)
  asm.mov(esp, eax);
  asm.jmp('leaveKernel');
  asm.label('stubOnStack'); // (cpu)
  asm.mov(esp, eax);
  asm.call('kernelOnStack');
  asm.ud2();

  // A task of its own: the interrupted registers are in the TSS of this CPU.
  asm.label('doubleFaultEntry');
  asm.mov(eax, esp);
  asm.and(eax, ~(CPU_AREA - 1)); // ESP is CPU_DF_STACK_TOP minus the error code
  asm.add(eax, CPU_TSS);
  asm.call('panicDouble');
  asm.ud2();

  asm.label('stubLoadKernelSegments');
  asm.ljmp(SELECTOR.kernelCode, addr('.reloaded'));
  asm.label('.reloaded');
  asm.mov(eax, SELECTOR.kernelData);
  asm.mov(ss, eax);
  asm.mov(eax, SELECTOR.userData);
  asm.mov(ds, eax);
  asm.mov(es, eax);
  asm.xor(eax, eax);
  asm.mov(fs, eax);
  asm.mov(gs, eax);
  asm.ret();

  asm.label('stubFxsave');
  asm.fxsave(ptr(eax));
  asm.ret();
  asm.label('stubFxrstor');
  asm.fxrstor(ptr(eax));
  asm.ret();
  asm.label('stubClts');
  asm.clts();
  asm.ret();
  asm.label('stubSetTs');
  asm.mov(eax, cr0);
  asm.or(eax, 8);
  asm.mov(cr0, eax);
  asm.ret();
  asm.label('stubLoadSegments'); // (gs, fs)
  asm.mov(gs, eax);
  asm.mov(fs, edx);
  asm.ret();
  asm.label('stubLoadDebug'); // (dr0 dr1 dr2 dr3 dr7)
  asm.mov(ecx, dword(eax)); asm.mov(dr0, ecx);
  asm.mov(ecx, dword(eax, 4)); asm.mov(dr1, ecx);
  asm.mov(ecx, dword(eax, 8)); asm.mov(dr2, ecx);
  asm.mov(ecx, dword(eax, 12)); asm.mov(dr3, ecx);
  asm.mov(ecx, dword(eax, 16)); asm.mov(dr7, ecx);
  asm.ret();
  asm.label('stubReadDr6');
  asm.mov(eax, dr6);
  asm.xor(ecx, ecx);
  asm.mov(dr6, ecx);
  asm.ret();

  asm.section('rodata');
  asm.align(4);
  asm.label('vectorTable');
  for (let v = 0; v < 256; v++) asm.dword(addr(`vector${v}`));
  asm.section('data');
  asm.align(16);
  asm.label('ipcLock');
  asm.dword(0, 0, 0, 0);
  asm.label('deliveryCount'); // deliveries of requests, under the IPC lock
  asm.dword(0);
};
