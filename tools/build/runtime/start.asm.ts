/**
 * How programs begin, by kind of target. AssemblyScript's start function (top-level initialisers) runs first.
 * `user`: servers, drivers, programs of Kintsugi. `linux`: static Linux executables, for measurements and tests on the host.
 */
import { VM_MAP } from '../../../microkernel/abi/layout.ts';
import type { Assembler } from '../asm/assembler.ts';
import { addr, dword, eax, ebp, ebx, ecx, edi, edx, esi, esp } from '../x86/operands.ts';

/** The system call: EAX -> {handle, tag, w0, w1, w2}; stores tag and words back, returns the status (microkernel/abi/layout.ts). */
function sysEnter(asm: Assembler): void {
  asm.label('sys_enter');
  asm.push(ebx);
  asm.push(esi);
  asm.push(edi);
  asm.push(ebp);
  asm.push(eax);
  asm.mov(ebx, dword(eax, 4));
  asm.mov(esi, dword(eax, 8));
  asm.mov(edi, dword(eax, 12));
  asm.mov(ebp, dword(eax, 16));
  asm.mov(eax, dword(eax));
  asm.mov(ecx, esp);
  asm.mov(edx, addr('.back'));
  asm.sysenter();
  asm.label('.back');
  asm.pop(ecx);
  asm.mov(dword(ecx, 4), ebx);
  asm.mov(dword(ecx, 8), esi);
  asm.mov(dword(ecx, 12), edi);
  asm.mov(dword(ecx, 16), ebp);
  asm.pop(ebp);
  asm.pop(edi);
  asm.pop(esi);
  asm.pop(ebx);
  asm.ret();
}
export const nothing = (asm: Assembler): void => {
  asm.label('__nothing');
  asm.ret();
};

export function user(asm: Assembler): void {
  asm.label('_start');
  asm.call('__as_start');
  asm.mov(eax, VM_MAP.startupPage | 0);
  asm.call('main');
  asm.label('.stop'); // main must not return
  asm.ud2();
  asm.jmp('.stop');
  nothing(asm);
  sysEnter(asm);
  heap(asm);
}

/** memory.size and memory.grow of a managed program: within what the ELF's static segment maps (`heap` of the target), or `__memory_limit`. */
function heap(asm: Assembler): void {
  asm.section('data');
  asm.label('__memory_end'); // in bytes, a multiple of 64 KiB
  asm.dword(addr('__heap_end'));
  asm.label('__memory_limit'); // guests may raise it with the address they got from process (brk)
  asm.dword(addr('__heap_end'));
  asm.section('text');
  asm.label('__memory_size');
  asm.mov(eax, dword(addr('__memory_end')));
  asm.shr(eax, 16);
  asm.ret();
  asm.label('__memory_grow'); // EAX = pages
  asm.mov(edx, dword(addr('__memory_end')));
  asm.and(edx, 0xffff0000 | 0);
  asm.shl(eax, 16);
  asm.add(eax, edx);
  asm.cmp(eax, dword(addr('__memory_limit')));
  asm.jcc('a', '.full');
  asm.cmp(eax, edx);
  asm.jcc('b', '.full');
  asm.mov(dword(addr('__memory_end')), eax);
  asm.mov(eax, edx);
  asm.shr(eax, 16);
  asm.ret();
  asm.label('.full');
  asm.mov(eax, -1);
  asm.ret();
}

export function linux(asm: Assembler): void {
  asm.label('_start');
  asm.call('__as_start');
  asm.mov(eax, esp);
  asm.call('main'); // main(stack: usize): i32, the exit status
  asm.mov(ebx, eax);
  asm.mov(eax, 1);
  asm.int(0x80);
  asm.ud2();
  // linux_syscall(number, a, b, c): i32
  asm.label('linux_syscall');
  asm.push(ebx);
  asm.mov(ebx, edx);
  asm.mov(edx, dword(esp, 8));
  asm.int(0x80);
  asm.pop(ebx);
  asm.ret();
  nothing(asm);
  heap(asm);
}
