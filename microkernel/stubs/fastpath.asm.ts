/**
 * SYSENTER: hygiene, the fast paths of `call` and `reply_recv`, and the way to everything else (core/syscall.ts).
 *
 * A fast path is taken when every unusual thing is absent: no capabilities, lease or deadline in the tag; the partner is on this CPU and blocked where it
 * should be; the flag words of both Threads are zero (debug, FPU, TLS, pending Notify, window, suspension); nobody ready is more important. Until the
 * line "no return" nothing is written but the caller's own frame, so every test may go to the slow path, which does the same thing in general.
 *
 * Registers: EBP = the calling Thread, EDX = its partner, ESP = Cpu (the stack is empty). Accesses through EBP and ESP use SS, which SYSENTER has loaded.
 * ring 3 may arrive with any DS and ES and with TF, NT, AC or DF set; a #DB at the first instruction is its own trap flag (arch/trap.ts).
 *
 * Instructions from SYSENTER to SYSEXIT: `kintsugi bench ipc` counts them, in all and between the `phase_` labels (tools/bench/phases.ts).
 */
import type { Assembler } from '../../tools/build/asm/assembler.ts';
import { addr, cr3, ds, dword, eax, ebp, ebx, ecx, edi, edx, es, esi, esp, byte, ptr } from '../../tools/build/x86/operands.ts';
import {
  CPU_BLOCK, CPU_TSS, C_CR3, C_CURRENT, C_TOP_READY, E_CALL, E_EPOCH, E_RECV, E_RECV_TAIL, R_CALLER, R_STATE, SC_THREAD, SLOT_SHIFT, S_BADGE, S_HANDLE, S_OBJECT, S_RIGHTS, S_TYPE,
  TB_COUNT, TB_SLOTS, T_CPU, T_CR3, T_DELIVERED, T_DELIVERIES, T_EAX, T_EBP, T_EBX, T_EDI, T_EIP, T_ENDPOINT, T_ESI, T_ESP, T_FLAGS, T_FRAME_END, T_KIND, T_MP, T_OWED, T_OWN, T_PRIO,
  T_QNEXT, T_REPLY, T_SCHED, T_SEND_BADGE, T_SEQ, T_SERIAL, T_STATE, T_TABLE,
} from '../offsets.ts';
import { HANDLE, MESSAGE_PAGE as MP, SELECTOR, TAG } from '../abi/layout.ts';
import { OBJECTS, THREAD_STATE } from '../abi/objects.ts';
import { CALLS } from '../abi/calls.ts';

const field = ([low, width]: readonly [number, number]): number => ((2 ** width - 1) * 2 ** low) | 0;
/** Anything here and the message is not a plain one. */
const UNUSUAL = field(TAG.op) | field(TAG.caps) | field(TAG.leases) | field(TAG.deadline) | field(TAG.fault);
const REPLY_RECV = (CALLS.reply_recv.op << TAG.op[0]) | 0;
/** Bits of the word count that mean "more than 3". */
const MANY = (0x1c << TAG.words[0]) | 0;
const F_FOLLOW = 1024; // core/state.ts; the only flag that is no reason for the slow path
const ESP0 = CPU_TSS - CPU_BLOCK + 4; // TSS.esp0, relative to Cpu

export default (asm: Assembler): void => {
  asm.section('text');
  const slot = (right: number): void => {
    // EAX handle -> ECX slot; the IPC lock is taken first, so that the object cannot go away
    asm.mov(ecx, 1);
    asm.xchg(dword(addr('ipcLock')), ecx);
    asm.test(ecx, ecx);
    asm.jcc('ne', '.slow');
    asm.mov(edx, dword(ebp, T_TABLE));
    asm.mov(ecx, eax);
    asm.and(ecx, HANDLE.indexMask);
    asm.cmp(ecx, dword(edx, TB_COUNT));
    asm.jcc('ae', '.slowUnlock');
    asm.shl(ecx, SLOT_SHIFT);
    asm.add(ecx, dword(edx, TB_SLOTS));
    asm.cmp(dword(ecx, S_HANDLE), eax);
    asm.jcc('ne', '.slowUnlock');
    asm.cmp(byte(ecx, S_TYPE), OBJECTS.Endpoint.type);
    asm.jcc('ne', '.slowUnlock');
    asm.test(byte(ecx, S_RIGHTS), right);
    asm.jcc('e', '.slowUnlock');
  };
  /** The partner EDX becomes current; its registers EAX, EBX are set; `from` holds the words. Ends in ring 3. */
  const resume = (): void => {
    asm.mov(dword(edx, T_STATE), THREAD_STATE.running);
    asm.mov(dword(esp, C_CURRENT), edx);
    asm.lea(ecx, ptr(edx, T_FRAME_END));
    asm.mov(dword(esp, ESP0), ecx);
    asm.mov(ecx, dword(edx, T_CR3));
    asm.cmp(ecx, dword(esp, C_CR3));
    asm.mov(esi, dword(ebp, T_ESI));
    asm.mov(edi, dword(ebp, T_EDI));
    asm.mov(ebp, dword(ebp, T_EBP));
  };
  const exit = (same: string): void => {
    asm.jcc('e', same);
    asm.mov(dword(esp, C_CR3), ecx);
    asm.mov(cr3, ecx);
    asm.label(same);
    asm.label(same === '.callSame' ? 'phase_call_exit' : 'phase_reply_exit');
    asm.mov(ecx, dword(edx, T_ESP));
    asm.mov(edx, dword(edx, T_EIP));
    asm.xor(eax, eax);
    asm.mov(dword(addr('ipcLock')), eax);
    asm.sti();
    asm.sysexit();
  };
  /** Words 3.. from the page of EBP's Thread to EDX's; ECX, ESI, EDI are free. */
  const copyWords = (back: string): void => {
    asm.mov(ecx, ebx);
    asm.shr(ecx, TAG.words[0]);
    asm.and(ecx, 31);
    asm.sub(ecx, 3);
    asm.mov(esi, dword(ebp, T_MP));
    asm.mov(edi, dword(edx, T_MP));
    asm.add(esi, MP.words + 12);
    asm.add(edi, MP.words + 12);
    asm.rep();
    asm.movsd_();
    asm.jmp(back);
  };

  asm.align(16);
  asm.label('sysenterEntry');
  asm.push(ebp);
  asm.mov(ebp, dword(esp, 4 + C_CURRENT));
  asm.mov(dword(ebp, T_ESP), ecx);
  asm.mov(dword(ebp, T_EIP), edx);
  asm.mov(edx, ds);
  asm.mov(ecx, es);
  asm.cmp(ecx, edx);
  asm.jcc('ne', '.segments');
  asm.cmp(edx, SELECTOR.userData);
  asm.jcc('ne', '.segments');
  asm.label('.clean');
  asm.push(2);
  asm.popfd();
  asm.pop(dword(ebp, T_EBP));
  asm.mov(dword(ebp, T_EBX), ebx);
  asm.mov(dword(ebp, T_ESI), esi);
  asm.mov(dword(ebp, T_EDI), edi);
  asm.mov(dword(ebp, T_EAX), eax);
  asm.label('phase_validate');
  asm.test(ebx, UNUSUAL);
  asm.jcc('ne', '.notCall');

  // ---- call ----
  slot(OBJECTS.Endpoint.rights.send);
  asm.mov(eax, dword(ecx, S_OBJECT)); // Endpoint
  asm.mov(edx, dword(eax, E_RECV));
  asm.test(edx, edx);
  asm.jcc('e', '.slowUnlock');
  asm.cmp(dword(edx, T_CPU), esp);
  asm.jcc('ne', '.slowUnlock');
  asm.mov(edi, dword(edx, T_FLAGS));
  asm.or(edi, dword(ebp, T_FLAGS));
  asm.test(edi, ~F_FOLLOW);
  asm.jcc('ne', '.slowUnlock');
  asm.mov(edi, dword(edx, T_PRIO));
  asm.cmp(edi, dword(esp, C_TOP_READY));
  asm.jcc('l', '.slowUnlock');
  asm.cmp(ebx, 17 << TAG.words[0]); // READONLY lies above the words: 17..31 words or READONLY
  asm.jcc('ae', '.countCall');
  asm.label('.callGo');
  // ---- no return ----
  asm.label('lin_call');
  asm.mov(esi, dword(edx, T_QNEXT));
  asm.mov(dword(eax, E_RECV), esi);
  asm.mov(esi, dword(edx, T_REPLY));
  asm.mov(dword(esi, R_STATE), 2);
  asm.mov(dword(esi, R_CALLER), ebp);
  asm.mov(dword(ebp, T_OWED), esi);
  asm.mov(dword(ebp, T_STATE), THREAD_STATE.owed);
  asm.mov(dword(ebp, T_ENDPOINT), eax);
  asm.mov(ecx, dword(ecx, S_BADGE));
  asm.mov(edi, dword(edx, T_MP));
  asm.mov(dword(ebp, T_SEND_BADGE), ecx);
  asm.mov(dword(edi, MP.badge), ecx);
  asm.mov(dword(edi, MP.keyBadge), ecx);
  asm.mov(ecx, dword(ebp, T_SERIAL));
  asm.mov(dword(edi, MP.keySerial), ecx);
  asm.mov(ecx, dword(ebp, T_SEQ));
  asm.inc(ecx);
  asm.mov(dword(ebp, T_SEQ), ecx);
  asm.mov(dword(edi, MP.keySeq), ecx);
  asm.mov(ecx, 1);
  asm.mov(dword(edi, MP.deliveries), ecx);
  asm.mov(dword(ebp, T_DELIVERIES), ecx);
  asm.inc(dword(addr('deliveryCount')));
  asm.mov(ecx, dword(addr('deliveryCount')));
  asm.mov(dword(ebp, T_DELIVERED), ecx);
  asm.mov(ecx, dword(eax, E_EPOCH));
  asm.mov(dword(edi, MP.epoch), ecx);
  asm.mov(ecx, dword(ebp, T_SCHED)); // lent
  asm.mov(dword(edx, T_SCHED), ecx);
  asm.mov(dword(ecx, SC_THREAD), edx);
  asm.test(ebx, MANY);
  asm.jcc('ne', '.copyCall');
  asm.label('.callWords');
  asm.label('phase_call_switch');
  resume();
  exit('.callSame');

  // ---- reply_recv ----
  asm.align(16);
  asm.label('.notCall');
  asm.mov(ecx, ebx);
  asm.and(ecx, UNUSUAL);
  asm.cmp(ecx, REPLY_RECV);
  asm.jcc('ne', '.slow');
  slot(OBJECTS.Endpoint.rights.receive);
  asm.mov(eax, dword(ecx, S_OBJECT)); // Endpoint
  asm.mov(edi, dword(eax, E_CALL));
  asm.or(edi, dword(eax, E_RECV));
  asm.jcc('ne', '.slowUnlock');
  asm.mov(ecx, dword(ebp, T_REPLY));
  asm.test(ecx, ecx);
  asm.jcc('e', '.slowUnlock');
  asm.mov(edx, dword(ecx, R_CALLER)); // not 0 only while owing
  asm.test(edx, edx);
  asm.jcc('e', '.slowUnlock');
  asm.cmp(dword(edx, T_CPU), esp);
  asm.jcc('ne', '.slowUnlock');
  asm.mov(edi, dword(edx, T_FLAGS));
  asm.or(edi, dword(ebp, T_FLAGS));
  asm.and(edi, ~F_FOLLOW);
  asm.or(edi, dword(edx, T_KIND));
  asm.jcc('ne', '.slowUnlock');
  asm.mov(edi, dword(edx, T_PRIO));
  asm.cmp(edi, dword(esp, C_TOP_READY));
  asm.jcc('l', '.slowUnlock');
  asm.mov(esi, dword(ebp, T_SCHED));
  asm.cmp(esi, dword(edx, T_SCHED));
  asm.jcc('ne', '.slowUnlock');
  asm.and(ebx, ~field(TAG.op));
  asm.cmp(ebx, 17 << TAG.words[0]);
  asm.jcc('ae', '.countReply');
  asm.label('.replyGo');
  // ---- no return ----
  asm.label('lin_reply_recv');
  asm.mov(dword(esi, SC_THREAD), edx); // the Sched goes home
  asm.mov(esi, dword(ebp, T_OWN));
  asm.mov(dword(ebp, T_SCHED), esi);
  asm.xor(esi, esi);
  asm.mov(dword(ecx, R_STATE), 1);
  asm.mov(dword(ecx, R_CALLER), esi);
  asm.mov(dword(edx, T_OWED), esi);
  asm.mov(dword(ebp, T_QNEXT), esi);
  asm.mov(dword(ebp, T_STATE), THREAD_STATE.receiving);
  asm.mov(dword(ebp, T_ENDPOINT), eax);
  asm.mov(dword(eax, E_RECV), ebp);
  asm.mov(dword(eax, E_RECV_TAIL), ebp);
  asm.test(ebx, MANY);
  asm.jcc('ne', '.copyReply');
  asm.label('.replyWords');
  asm.label('phase_reply_switch');
  resume();
  exit('.replySame');

  // ---- rare ----
  asm.label('.copyCall');
  copyWords('.callWords');
  asm.label('.copyReply');
  copyWords('.replyWords');
  const count = (go: string): void => {
    asm.mov(edi, ebx);
    asm.and(edi, field(TAG.words));
    asm.cmp(edi, 16 << TAG.words[0]);
    asm.jcc('be', go);
    asm.jmp('.slowUnlock');
  };
  asm.label('.countCall');
  count('.callGo');
  asm.label('.countReply');
  count('.replyGo');
  asm.label('.segments');
  asm.mov(ecx, SELECTOR.userData);
  asm.mov(ds, ecx);
  asm.mov(es, ecx);
  asm.jmp('.clean');
  asm.label('.slowUnlock');
  asm.mov(dword(addr('ipcLock')), 0);
  asm.label('.slow');
  asm.call('syscallEntry');
  asm.jmp('leaveKernel');
};
