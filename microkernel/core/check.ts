/** The class layouts agree with what the stubs assume: checked when the kernel is compiled. */
import {
  C_CURRENT, C_TOP_READY, C_CR3, C_FPU_LIVE, C_ESP0, C_INDEX, T_EDI, T_EAX, T_EIP, T_ESP, T_SS, T_CPU, T_FLAGS, T_STATE, T_MP, T_TABLE, T_CR3, T_PRIO, T_REPLY,
  T_SCHED, T_OWN, T_SEQ, T_SERIAL, T_IRET, T_QNEXT, T_OWED, T_DELIVERIES, T_KIND, T_ENDPOINT, T_SEND_BADGE, T_FAULT_ENDPOINT, T_FAULT_BADGE, T_DELIVERED, T_NEXT, T_PREV, S_TYPE, S_RIGHTS, S_OBJECT, S_BADGE, TB_SLOTS, TB_COUNT,
  E_RECV, E_RECV_TAIL, E_CALL, E_EPOCH, R_STATE, R_CALLER, R_HOLDER, SC_THREAD,
} from '../offsets';
import { Cpu } from '../arch/cpu';
import { Thread, THREAD_BYTES, T_FPU } from '../object/thread';
import { Slot } from './capability';
import { Table } from '../object/table';
import { Endpoint } from '../object/endpoint';
import { Reply, REPLY_BYTES } from '../object/reply';
import { Sched, SCHED_BYTES } from '../object/sched';
import { Notify, NOTIFY_BYTES } from '../object/notify';
import { Space } from '../object/space';

export function agree(): void {
  if (offsetof<Cpu>('current') != C_CURRENT || offsetof<Cpu>('topReady') != C_TOP_READY || offsetof<Cpu>('cr3') != C_CR3 || offsetof<Cpu>('fpuLive') != C_FPU_LIVE || offsetof<Cpu>('esp0') != C_ESP0 || offsetof<Cpu>('index') != C_INDEX || offsetof<Cpu>() > 0x400) ERROR('Cpu');
  if (offsetof<Thread>('edi') != T_EDI || offsetof<Thread>('eax') != T_EAX || offsetof<Thread>('eip') != T_EIP || offsetof<Thread>('esp') != T_ESP || offsetof<Thread>('ss') != T_SS) ERROR('Thread frame');
  if (offsetof<Thread>('cpu') != T_CPU || offsetof<Thread>('flags') != T_FLAGS || offsetof<Thread>('state') != T_STATE || offsetof<Thread>('mp') != T_MP || offsetof<Thread>('table') != T_TABLE || offsetof<Thread>('cr3') != T_CR3 || offsetof<Thread>('prio') != T_PRIO || offsetof<Thread>('reply') != T_REPLY) ERROR('Thread');
  if (offsetof<Thread>('sched') != T_SCHED || offsetof<Thread>('own') != T_OWN || offsetof<Thread>('seq') != T_SEQ || offsetof<Thread>('serial') != T_SERIAL || offsetof<Thread>('iret') != T_IRET || offsetof<Thread>('qnext') != T_QNEXT || offsetof<Thread>('owed') != T_OWED) ERROR('Thread');
  if (offsetof<Thread>('deliveries') != T_DELIVERIES || offsetof<Thread>('kind') != T_KIND || offsetof<Thread>('endpoint') != T_ENDPOINT || offsetof<Thread>('sendBadge') != T_SEND_BADGE || offsetof<Thread>('delivered') != T_DELIVERED || offsetof<Thread>('faultEndpoint') != T_FAULT_ENDPOINT || offsetof<Thread>('faultBadge') != T_FAULT_BADGE || offsetof<Thread>('nextThread') != T_NEXT || offsetof<Thread>('prevThread') != T_PREV || offsetof<Thread>() > T_FPU || THREAD_BYTES != 1024) ERROR('Thread');
  if (offsetof<Slot>('type') != S_TYPE || offsetof<Slot>('rights') != S_RIGHTS || offsetof<Slot>('object') != S_OBJECT || offsetof<Slot>('badge') != S_BADGE || offsetof<Slot>() != 32) ERROR('Slot');
  if (offsetof<Table>('slots') != TB_SLOTS || offsetof<Table>('count') != TB_COUNT || offsetof<Endpoint>('recv') != E_RECV || offsetof<Endpoint>('recvLast') != E_RECV_TAIL || offsetof<Endpoint>('call') != E_CALL || offsetof<Endpoint>('epoch') != E_EPOCH) ERROR('Table, Endpoint');
  if (offsetof<Reply>('state') != R_STATE || offsetof<Reply>('caller') != R_CALLER || offsetof<Reply>('holder') != R_HOLDER) ERROR('Reply');
  if (offsetof<Sched>('thread') != SC_THREAD || offsetof<Sched>() > SCHED_BYTES || offsetof<Notify>() > NOTIFY_BYTES || offsetof<Reply>() > REPLY_BYTES || offsetof<Space>() > 128) ERROR('object sizes');
}
