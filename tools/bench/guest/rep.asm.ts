/** String instructions as programs use them: copying and filling by REP. */
import type { Assembler } from '../../build/asm/assembler.ts';
import { eax, edi, edx, esi } from '../../build/x86/operands.ts';

export default (asm: Assembler): void => {
  asm.section('text');
  // repMove(to, from, dwords)
  asm.label('repMove');
  asm.push(esi);
  asm.push(edi);
  asm.mov(edi, eax);
  asm.mov(esi, edx);
  asm.rep();
  asm.movsd_();
  asm.pop(edi);
  asm.pop(esi);
  asm.ret();
  // repFill(to, value, dwords)
  asm.label('repFill');
  asm.push(edi);
  asm.mov(edi, eax);
  asm.mov(eax, edx);
  asm.rep();
  asm.stosd();
  asm.pop(edi);
  asm.ret();
};
