/**
 * From the boot loader to `kernelMain`: Multiboot 1 header, first page tables (2 MiB pages: 512 MiB at 0 and again at 0xC0000000), PAE, NX, paging on,
 * jump to the upper half. Runs at physical addresses until then; nothing may fault, so what the CPU must have is checked first and said on COM1.
 * Also the trampoline of the other CPUs, which does the same from real mode at 0x8000 with tables that are final already.
 */
import type { Assembler } from '../../tools/build/asm/assembler.ts';
import { addr, al, ax, bx, cr0, cr3, cr4, cx, diff, ds, dword, dx, eax, ebx, ecx, edi, edx, es, esi, esp, ebp, ptr, ss, word, byte, bp } from '../../tools/build/x86/operands.ts';

const HIGH = 0xc0000000;
const low = (label: string, offset = 0) => addr(label, (offset - HIGH) | 0);
const EFER = 0xc0000080;

export default (asm: Assembler): void => {
  asm.section('boot');
  asm.align(4);
  asm.dword(0x1badb002, 3, -(0x1badb002 + 3) | 0); // modules page-aligned, memory map
  asm.label('_start');
  asm.cli();
  asm.cld();
  asm.mov(ebp, eax);
  asm.mov(edi, ebx);
  asm.mov(esp, low('bootStackTop'));
  asm.mov(eax, 1);
  asm.cpuid();
  asm.and(edx, 0x840); // PAE, SEP
  asm.cmp(edx, 0x840);
  asm.jcc('ne', '.poor');
  asm.mov(eax, 0x80000000);
  asm.cpuid();
  asm.cmp(eax, 0x80000001);
  asm.jcc('b', '.poor');
  asm.mov(eax, 0x80000001);
  asm.cpuid();
  asm.test(edx, 1 << 20); // NX
  asm.jcc('e', '.poor');

  asm.mov(esi, low('bootTables', 4095));
  asm.and(esi, -4096); // page directory, then the PDPT
  asm.xor(ecx, ecx);
  asm.mov(eax, 0x83); // present, writable, 2 MiB
  asm.label('.fill');
  asm.mov(dword(esi, [ecx, 8]), eax);
  asm.mov(dword(esi, [ecx, 8], 4), 0);
  asm.add(eax, 0x200000);
  asm.inc(ecx);
  asm.cmp(ecx, 256);
  asm.jcc('ne', '.fill');
  asm.lea(eax, ptr(esi, 1));
  asm.add(esi, 4096);
  asm.mov(dword(esi), eax);
  asm.mov(dword(esi, 24), eax);
  asm.mov(cr3, esi);
  asm.mov(eax, cr4);
  asm.or(eax, 0x20);
  asm.mov(cr4, eax);
  asm.mov(ecx, EFER);
  asm.rdmsr();
  asm.or(eax, 0x800);
  asm.wrmsr();
  asm.mov(eax, cr0);
  asm.or(eax, 0x80010000 | 0);
  asm.mov(cr0, eax);
  asm.mov(eax, addr('.high'));
  asm.jmp(eax);
  asm.label('.high');
  asm.mov(esp, addr('bootStackTop'));
  asm.call('__as_start');
  asm.mov(eax, ebp);
  asm.mov(edx, edi);
  asm.call('kernelMain');
  asm.label('.stop');
  asm.cli();
  asm.hlt();
  asm.jmp('.stop');
  asm.label('.poor');
  asm.mov(esi, low('poorText'));
  asm.mov(edx, 0x3f8);
  asm.label('.next');
  asm.mov(al, byte(esi));
  asm.test(al, al);
  asm.jcc('e', '.stop');
  asm.out(dx, al);
  asm.inc(esi);
  asm.jmp('.next');

  asm.section('rodata');
  asm.label('poorText');
  asm.ascii('KERNEL: the CPU lacks PAE, NX or SYSENTER\r\n');
  asm.byte(0);
  // ---- trampoline: copied to 0x8000; parameters at 0x8f00 (root) and 0x8f04 (stack) ----
  asm.align(16);
  asm.label('trampoline');
  asm.code16();
  asm.cli();
  asm.xor(ax, ax);
  asm.mov(ds, ax);
  asm.lgdt(ptr(diff('.gdtPointer', 'trampoline', 0x8000)));
  asm.mov(eax, cr0);
  asm.or(eax, 1);
  asm.mov(cr0, eax);
  asm.ljmp(8, diff('.protected', 'trampoline', 0x8000));
  asm.code32();
  asm.label('.protected');
  asm.mov(ax, 16);
  asm.mov(ds, ax);
  asm.mov(es, ax);
  asm.mov(ss, ax);
  asm.mov(eax, cr4);
  asm.or(eax, 0x20);
  asm.mov(cr4, eax);
  asm.mov(eax, dword(0x8f00));
  asm.mov(cr3, eax);
  asm.mov(ecx, EFER);
  asm.rdmsr();
  asm.or(eax, 0x800);
  asm.wrmsr();
  asm.mov(eax, cr0);
  asm.or(eax, 0x80010000 | 0);
  asm.mov(cr0, eax);
  asm.mov(esp, dword(0x8f04));
  asm.mov(eax, addr('apEntry'));
  asm.jmp(eax);
  asm.align(8);
  asm.label('.gdt');
  asm.dword(0, 0, 0x0000ffff, 0x00cf9a00, 0x0000ffff, 0x00cf9200);
  asm.label('.gdtPointer');
  asm.word(23);
  asm.dword(diff('.gdt', 'trampoline', 0x8000));
  asm.label('trampolineEnd');
  asm.byte(0);

  asm.section('text');
  asm.label('apEntry');
  asm.call('apMain');
  asm.ud2();

  asm.section('bss');
  asm.label('bootTables');
  asm.space(3 * 4096);
  asm.align(16);
  asm.label('bootStack');
  asm.space(8192);
  asm.label('bootStackTop');
  asm.space(16);
};
