/**
 * The second CPU of the SMP rows (smp.ts has the compiled half): its trampoline, its wait for work, and both ends of each row.
 *
 *   9000  trampoline, copied there; 9f00 parameter: page directory
 *   vectors   41 answered (counts in benchAcks)   42 wakes and nothing else
 *
 * No loop here has a PAUSE but the spin lock's, whose users have one everywhere: how long a peer's PAUSE rests is another matter.
 */
import type { Assembler } from '../../build/asm/assembler.ts';
import { addr, ax, cr0, cr3, cr4, diff, ds, dword, eax, ebx, ecx, edi, edx, es, esi, esp, ptr, ss } from '../../build/x86/operands.ts';

const LAPIC = 0xfee00000 | 0, AT = 0x9000, ROOT = 0x9f00;

export default (asm: Assembler): void => {
  asm.section('text');
  asm.label('otherStart');
  asm.code16();
  asm.cli();
  asm.xor(ax, ax);
  asm.mov(ds, ax);
  asm.lgdt(ptr(diff('.pointer', 'otherStart', AT)));
  asm.mov(eax, cr0);
  asm.or(eax, 1);
  asm.mov(cr0, eax);
  asm.ljmp(8, diff('.flat32', 'otherStart', AT));
  asm.code32();
  asm.label('.flat32');
  asm.mov(ax, 16);
  asm.mov(ds, ax);
  asm.mov(es, ax);
  asm.mov(ss, ax);
  asm.mov(eax, cr4);
  asm.or(eax, 0x600);
  asm.mov(cr4, eax);
  asm.mov(eax, dword(ROOT));
  asm.mov(cr3, eax);
  asm.mov(eax, cr0);
  asm.and(eax, 0x9ffffffb | 0); // caches on, no FPU emulation
  asm.or(eax, 0x80000002 | 0);
  asm.mov(cr0, eax);
  asm.mov(esp, addr('otherStackTop'));
  asm.mov(eax, addr('otherEntry'));
  asm.jmp(eax);
  asm.align(8);
  asm.label('.gdt');
  asm.dword(0, 0, 0x0000ffff, 0x00cf9a00, 0x0000ffff, 0x00cf9200);
  asm.label('.pointer');
  asm.word(23);
  asm.dword(diff('.gdt', 'otherStart', AT));
  asm.label('otherStartEnd');
  asm.byte(0);

  asm.section('text');
  asm.label('otherEntry');
  asm.call('otherMain'); // tables and local APIC; sets otherOnline
  asm.label('.idle');
  asm.cli();
  asm.cmp(dword(addr('otherJob')), 0);
  asm.jcc('ne', '.work');
  asm.sti();
  asm.hlt();
  asm.jmp('.idle');
  asm.label('.work');
  asm.call('otherWork');
  asm.mov(dword(addr('otherJob')), 0);
  asm.jmp('.idle');

  asm.label('benchAck');
  asm.inc(dword(addr('benchAcks')));
  asm.mov(dword(LAPIC + 0xb0), 0);
  asm.iretd();
  asm.label('benchWake');
  asm.mov(dword(LAPIC + 0xb0), 0);
  asm.iretd();

  // lockedAdds(count, word): LOCK INC
  asm.label('lockedAdds');
  asm.label('.add');
  asm.lock();
  asm.inc(dword(edx));
  asm.dec(eax);
  asm.jcc('ne', '.add');
  asm.ret();

  // lockedSections(count, lock): a test-and-set lock around INC of the word behind it
  asm.label('lockedSections');
  asm.label('.take');
  asm.mov(ecx, 1);
  asm.xchg(dword(edx), ecx);
  asm.test(ecx, ecx);
  asm.jcc('e', '.taken');
  asm.label('.held');
  asm.pause();
  asm.cmp(dword(edx), 0);
  asm.jcc('ne', '.held');
  asm.jmp('.take');
  asm.label('.taken');
  asm.inc(dword(edx, 64));
  asm.mov(dword(edx), 0);
  asm.dec(eax);
  asm.jcc('ne', '.take');
  asm.ret();

  // bounce(count, word, first): waits for the word to be `first`, adds one, and so on in steps of two
  asm.label('bounce');
  asm.label('.mine');
  asm.cmp(dword(edx), ecx);
  asm.jcc('ne', '.mine');
  asm.inc(ecx);
  asm.mov(dword(edx), ecx);
  asm.inc(ecx);
  asm.dec(eax);
  asm.jcc('ne', '.mine');
  asm.ret();

  // interruptOther(count, target, halted): fixed interrupt 41h, waits for the answer; `halted`: only when the other has announced its HLT
  asm.label('interruptOther');
  for (const r of [ebx, esi, edi]) asm.push(r);
  asm.mov(ebx, eax);
  asm.mov(edi, edx);
  asm.label('.next');
  asm.mov(esi, dword(addr('benchAcks')));
  asm.test(ecx, ecx);
  asm.jcc('e', '.send');
  asm.lea(edx, ptr(esi, 1));
  asm.label('.awake');
  asm.cmp(dword(addr('otherHalts')), edx);
  asm.jcc('ne', '.awake');
  asm.label('.send');
  asm.mov(dword(LAPIC + 0x310), edi);
  asm.mov(dword(LAPIC + 0x300), 0x4041);
  asm.label('.answer');
  asm.cmp(dword(addr('benchAcks')), esi);
  asm.jcc('e', '.answer');
  asm.dec(ebx);
  asm.jcc('ne', '.next');
  for (const r of [edi, esi, ebx]) asm.pop(r);
  asm.ret();

  // spinForInterrupts(last) and haltForInterrupts(last): take interrupts until so many have been answered
  asm.label('spinForInterrupts');
  asm.sti();
  asm.label('.spin');
  asm.cmp(dword(addr('benchAcks')), eax);
  asm.jcc('ne', '.spin');
  asm.cli();
  asm.ret();
  asm.label('haltForInterrupts');
  asm.label('.halt');
  asm.cli();
  asm.mov(ecx, dword(addr('benchAcks')));
  asm.cmp(ecx, eax);
  asm.jcc('e', '.done');
  asm.inc(ecx);
  asm.mov(dword(addr('otherHalts')), ecx);
  asm.sti();
  asm.hlt();
  asm.jmp('.halt');
  asm.label('.done');
  asm.ret();

  asm.section('data');
  // Lines of their own: what one CPU writes does not disturb the other by accident.
  for (const name of ['otherOnline', 'otherJob', 'otherArgument', 'otherReady', 'otherHalts', 'benchAcks', 'benchLine', 'benchTotal']) {
    asm.align(64);
    asm.label(name);
    asm.dword(0);
  }
  asm.align(64);
  asm.dword(0);
  asm.section('bss');
  asm.align(16);
  asm.space(16384);
  asm.label('otherStackTop');
};
