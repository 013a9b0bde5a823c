/**
 * Ring 3 loops and their ring 0 ends, for the kernel rows of the bench image (kernel.ts sets up the tables).
 *
 *   selectors   08 code 0, 10 data 0, 18 code 3, 20 data 3 (as SYSENTER and SYSEXIT want them), 28 TSS
 *   enterUser(entry, count)   runs ring 3 code with EBX = count; INT 81h comes back with EAX as the result
 */
import type { Assembler } from '../../build/asm/assembler.ts';
import { addr, al, bl, byte, cr2, cr3, ds, dword, dx, eax, ebp, ebx, ecx, edi, edx, es, esi, esp, ptr, ss } from '../../build/x86/operands.ts';

const UNMAPPED = 0xf0000000 | 0, PRIVATE = 0x00c00000, LAPIC = 0xfee00000 | 0;

export default (asm: Assembler): void => {
  const loop = (label: string, body: () => void): void => {
    asm.align(16);
    asm.label(label);
    asm.label(`.${label}`);
    body();
    asm.dec(ebx);
    asm.jcc('ne', `.${label}`);
    asm.mov(eax, 1);
    asm.int(0x81);
  };
  asm.section('text');
  asm.label('loadSegments');
  asm.ljmp(8, addr('.flat'));
  asm.label('.flat');
  asm.mov(eax, 0x10);
  asm.mov(ds, eax);
  asm.mov(es, eax);
  asm.mov(ss, eax);
  asm.ret();
  asm.label('enterUser');
  for (const r of [ebx, esi, edi, ebp]) asm.push(r);
  asm.mov(ecx, esp);
  asm.mov(dword(addr('benchReturn')), ecx);
  asm.mov(dword(addr('benchTss', 4)), ecx);
  asm.mov(dword(addr('benchClient', 12)), ecx);
  asm.mov(ebx, edx);
  asm.mov(ecx, 0x23);
  asm.mov(ds, ecx);
  asm.mov(es, ecx);
  asm.push(0x23);
  asm.push(addr('benchUserStack'));
  asm.push(2);
  asm.push(0x1b);
  asm.push(eax);
  asm.iretd();
  asm.label('benchLeave'); // INT 81h
  asm.mov(esp, dword(addr('benchReturn')));
  for (const r of [ebp, edi, esi, ebx]) asm.pop(r);
  asm.ret();

  // INT 80h and nothing
  loop('userInterrupt', () => { asm.int(0x80); });
  asm.label('benchNothing');
  asm.iretd();
  // INT 82h into compiled code: EAX number, EDX argument
  loop('userCall', () => { asm.mov(eax, ebx); asm.and(eax, 3); asm.mov(edx, ebx); asm.int(0x82); });
  asm.label('benchCall');
  asm.push(ecx);
  asm.push(edx);
  asm.call('benchServe');
  asm.pop(edx);
  asm.pop(ecx);
  asm.iretd();
  // SYSENTER and SYSEXIT
  loop('userSysenter', () => { asm.mov(ecx, esp); asm.mov(edx, addr('.back')); asm.sysenter(); asm.label('.back'); });
  asm.label('benchSysenter');
  asm.sysexit();
  // a page fault whose handler steps over the five bytes of the access
  loop('userFault', () => { asm.mov(eax, dword(UNMAPPED)); });
  asm.label('benchSkip');
  asm.add(esp, 4);
  asm.push(eax);
  asm.mov(eax, cr2);
  asm.mov(dword(addr('benchAddress')), eax);
  asm.pop(eax);
  asm.add(dword(esp), 5);
  asm.iretd();

  // ping-pong between two address spaces
  loop('userPing', () => { asm.inc(dword(PRIVATE)); asm.int(0x84); });
  asm.label('userPong');
  asm.inc(dword(PRIVATE));
  asm.int(0x84);
  asm.jmp('userPong');
  asm.label('benchSwitch'); // INT 84h; a context: ESP, the next one, CR3, ESP0
  for (const r of [eax, ecx, edx, ebx, ebp, esi, edi]) asm.push(r);
  asm.mov(eax, dword(addr('benchCurrent')));
  asm.mov(dword(eax), esp);
  asm.mov(eax, dword(eax, 4));
  asm.mov(dword(addr('benchCurrent')), eax);
  asm.mov(ecx, dword(eax, 8));
  asm.mov(cr3, ecx);
  asm.mov(ecx, dword(eax, 12));
  asm.mov(dword(addr('benchTss', 4)), ecx);
  asm.mov(esp, dword(eax));
  for (const r of [edi, esi, ebp, ebx, edx, ecx, eax]) asm.pop(r);
  asm.iretd();

  // mapFaults(count, pte, page): unmap, INVLPG, touch; the fault maps it again
  asm.label('mapFaults');
  for (const r of [ebx, esi, edi]) asm.push(r);
  asm.mov(ebx, eax);
  asm.mov(esi, edx);
  asm.mov(edi, ecx);
  asm.mov(dword(addr('benchPte')), edx);
  asm.label('.map');
  asm.mov(dword(esi), 0);
  asm.invlpg(ptr(edi));
  asm.mov(eax, dword(edi));
  asm.dec(ebx);
  asm.jcc('ne', '.map');
  for (const r of [edi, esi, ebx]) asm.pop(r);
  asm.ret();
  asm.label('benchMap');
  asm.add(esp, 4);
  asm.push(eax);
  asm.push(ecx);
  asm.mov(eax, cr2);
  asm.mov(ecx, dword(addr('benchPte')));
  asm.and(eax, 0xfffff000 | 0);
  asm.or(eax, 3);
  asm.mov(dword(ecx), eax);
  asm.pop(ecx);
  asm.pop(eax);
  asm.iretd();

  // spaces(count, a, b): two CR3 loads, eight pages touched after each; EAX = sum
  asm.label('spaces');
  for (const r of [ebx, esi, edi]) asm.push(r);
  asm.mov(ebx, eax);
  asm.mov(esi, edx);
  asm.mov(edi, ecx);
  asm.xor(eax, eax);
  asm.label('.spaces');
  for (const root of [esi, edi]) {
    asm.mov(cr3, root);
    for (let p = 0; p < 8; p++) asm.add(eax, dword(PRIVATE + 0x2000 + p * 4096));
  }
  asm.dec(ebx);
  asm.jcc('ne', '.spaces');
  asm.mov(cr3, esi);
  for (const r of [edi, esi, ebx]) asm.pop(r);
  asm.ret();

  // ports(count)
  asm.label('ports');
  asm.mov(ecx, eax);
  asm.mov(edx, 0x21);
  asm.label('.ports');
  asm.in(al, dx);
  asm.dec(ecx);
  asm.jcc('ne', '.ports');
  asm.ret();

  // patches(count, code): a byte of an instruction is written, then the instruction runs
  asm.label('patches');
  for (const r of [ebx, esi, edi]) asm.push(r);
  asm.mov(ebx, eax);
  asm.mov(esi, edx);
  asm.xor(edi, edi);
  asm.label('.patches');
  asm.mov(byte(esi, 1), bl);
  asm.call(esi);
  asm.add(edi, eax);
  asm.dec(ebx);
  asm.jcc('ne', '.patches');
  asm.mov(eax, edi);
  for (const r of [edi, esi, ebx]) asm.pop(r);
  asm.ret();

  // callAll(base, count): functions 16 bytes apart; EAX = what they count
  asm.label('callAll');
  for (const r of [ebx, esi]) asm.push(r);
  asm.mov(ebx, eax);
  asm.mov(esi, edx);
  asm.xor(eax, eax);
  asm.xor(edx, edx);
  asm.label('.callAll');
  asm.call(ebx);
  asm.add(ebx, 16);
  asm.dec(esi);
  asm.jcc('ne', '.callAll');
  for (const r of [esi, ebx]) asm.pop(r);
  asm.ret();

  // sweep(base, pages): a load from each page
  asm.label('sweep');
  asm.push(ebx);
  asm.mov(ecx, eax);
  asm.xor(eax, eax);
  asm.label('.sweep');
  asm.add(eax, dword(ecx));
  asm.add(ecx, 4096);
  asm.dec(edx);
  asm.jcc('ne', '.sweep');
  asm.pop(ebx);
  asm.ret();

  // ticks(count): sleeps until so many timer interrupts have come
  asm.label('ticks');
  asm.mov(dword(addr('benchCount')), 0);
  asm.label('.ticks');
  asm.sti();
  asm.hlt();
  asm.cli();
  asm.cmp(dword(addr('benchCount')), eax);
  asm.jcc('b', '.ticks');
  asm.ret();
  asm.label('benchTick');
  asm.inc(dword(addr('benchCount')));
  asm.push(eax);
  asm.mov(al, 0x20);
  asm.out(0x20, al);
  asm.pop(eax);
  asm.iretd();

  // selfInterrupts(count): through the local APIC
  asm.label('selfInterrupts');
  asm.mov(dword(addr('benchCount')), 0);
  asm.xor(ecx, ecx);
  asm.sti();
  asm.label('.self');
  asm.mov(dword(LAPIC + 0x300), 0x44040);
  asm.inc(ecx);
  asm.label('.wait');
  asm.cmp(dword(addr('benchCount')), ecx);
  asm.jcc('b', '.wait');
  asm.cmp(ecx, eax);
  asm.jcc('b', '.self');
  asm.cli();
  asm.ret();
  asm.label('benchSelf');
  asm.inc(dword(addr('benchCount')));
  asm.mov(dword(LAPIC + 0xb0), 0);
  asm.iretd();
  asm.label('benchSpurious');
  asm.iretd();

  asm.section('data');
  asm.align(16);
  for (const name of ['benchReturn', 'benchAddress', 'benchPte', 'benchCount']) { asm.label(name); asm.dword(0); }
  asm.label('benchCurrent');
  asm.dword(addr('benchClient'));
  asm.align(16);
  asm.label('benchClient');
  asm.dword(0, addr('benchServer'), 0, 0);
  asm.label('benchServer');
  asm.dword(addr('benchServerFrame'), addr('benchClient'), 0, addr('benchServerStack'));
  asm.align(16);
  asm.label('benchTss');
  asm.dword(0, 0, 0x10);
  asm.space(104 - 12 - 2);
  asm.word(104);
  asm.align(16);
  asm.label('benchGdt');
  asm.dword(0, 0, 0xffff, 0xcf9a00, 0xffff, 0xcf9200, 0xffff, 0xcffa00, 0xffff, 0xcff200, 0, 0);
  asm.space(1024);
  asm.label('benchServerFrame');
  for (let r = 0; r < 7; r++) asm.dword(0);
  asm.dword(addr('userPong'), 0x1b, 2, addr('benchPongStack'), 0x23);
  asm.label('benchServerStack');
  asm.section('bss');
  asm.align(16);
  asm.space(4096);
  asm.label('benchUserStack');
  asm.space(4096);
  asm.label('benchPongStack');
  asm.space(4096);
  asm.label('benchSysenterStack');
};
