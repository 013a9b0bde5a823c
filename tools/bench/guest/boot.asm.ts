/** Multiboot 1 header and entry of the bench image: a stack, AssemblyScript's start function, main(multiboot information). */
import type { Assembler } from '../../build/asm/assembler.ts';
import { addr, eax, ebx, esp } from '../../build/x86/operands.ts';

const MAGIC = 0x1badb002;

export default (asm: Assembler): void => {
  asm.section('boot');
  asm.align(4);
  asm.dword(MAGIC, 3, -(MAGIC + 3) | 0);
  asm.label('_start');
  asm.cli();
  asm.cld();
  asm.mov(esp, addr('benchStackTop'));
  asm.push(ebx);
  asm.call('__as_start');
  asm.pop(eax);
  asm.call('main');
  asm.label('.halt');
  asm.cli();
  asm.hlt();
  asm.jmp('.halt');
  asm.label('__nothing');
  asm.ret();
  asm.section('bss');
  asm.align(16);
  asm.space(65536);
  asm.label('benchStackTop');
};
