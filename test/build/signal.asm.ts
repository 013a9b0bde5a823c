/** SIGILL handler for debug.test.ts: writes EIP, ESP and 64 words of the interrupted stack to stdout and exits. */
import type { Assembler } from '../../tools/build/asm/assembler.ts';
import { addr, dword, eax, ebx, ecx, edx, esp } from '../../tools/build/x86/operands.ts';

export default (asm: Assembler): void => {
  asm.section('rodata');
  asm.label('action'); // struct old_sigaction: handler, mask, flags, restorer
  asm.dword(addr('on_signal'), 0, 0, 0);
  asm.section('bss');
  asm.label('stopped');
  asm.space(8);
  asm.section('text');
  asm.label('install_handler');
  asm.push(ebx);
  asm.mov(eax, 67);
  asm.mov(ebx, 4);
  asm.mov(ecx, addr('action'));
  asm.xor(edx, edx);
  asm.int(0x80);
  asm.pop(ebx);
  asm.ret();
  asm.label('on_signal'); // [esp + 8]: struct sigcontext, ESP at +28, EIP at +56
  asm.mov(eax, dword(esp, 8 + 56));
  asm.mov(dword(addr('stopped')), eax);
  asm.mov(eax, dword(esp, 8 + 28));
  asm.mov(dword(addr('stopped', 4)), eax);
  const write = (n: number): void => {
    asm.mov(eax, 4);
    asm.mov(ebx, 1);
    asm.mov(edx, n);
    asm.int(0x80);
  };
  asm.mov(ecx, addr('stopped'));
  write(8);
  asm.mov(ecx, dword(addr('stopped', 4)));
  write(256);
  asm.mov(eax, 1);
  asm.xor(ebx, ebx);
  asm.int(0x80);
};
