/**
 * Deliberate bugs of the kernel, written down before the specification: what checks the kernel has to find every one of them. Each is one
 * change of the source (`from` occurs exactly once in `file`), of the kind that a reviewer overlooks: a lost bit, a wrong bound, a forgotten case.
 */
export interface Mutant {
  readonly name: string;
  /** Below microkernel/. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
  /** What goes wrong, as a user of the kernel would see it. */
  readonly breaks: string;
}

export const MUTANTS: readonly Mutant[] = [
  // ---- capabilities ----
  { name: 'copy-keeps-mask-only', file: 'object/table.ts', from: 'fillSlot(slot, s.object, <u32>s.rights & cpu.w1, badge, s)', to: 'fillSlot(slot, s.object, cpu.w1 & 31, badge, s)', breaks: 'a copy has rights that its source does not have' },
  { name: 'transfer-amplifies', file: 'core/ipc.ts', from: 'fillLocked(d, s.object, s.rights, s.badge, s)', to: 'fillLocked(d, s.object, s.rights | 1, s.badge, s)', breaks: 'a capability sent in a message gains a right' },
  { name: 'transfer-without-parent', file: 'core/ipc.ts', from: 'fillLocked(d, s.object, s.rights, s.badge, s)', to: 'fillLocked(d, s.object, s.rights, s.badge, none<Slot>())', breaks: 'revoke does not reach a capability that was sent in a message' },
  { name: 'generation-ignored', file: 'core/capability.ts', from: 'if (s.handle != handle && (s.handle != 0 || handle != index)) {', to: 'if ((s.handle & HANDLE_INDEX_MASK) != index) {', breaks: 'a stale handle reaches what lies in the slot now' },
  { name: 'generation-stays', file: 'object/table.ts', from: 'const next = s.handle + (1 << HANDLE_GENERATION_SHIFT);', to: 'const next = s.handle;', breaks: 'a deleted handle names the next capability in its slot' },
  { name: 'any-right-will-do', file: 'core/capability.ts', from: 'if ((<u32>s.rights & rights) != rights)', to: 'if (rights != 0 && (<u32>s.rights & rights) == 0)', breaks: 'an operation that needs two rights is content with one' },
  { name: 'badge-twice', file: 'object/table.ts', from: 'if (s.badge != 0) { cpu.argument = 2; return ERR_RIGHTS; } // a badge is given once', to: '', breaks: 'the holder of a badged Endpoint mints itself another identity' },
  { name: 'notify-mask-widens', file: 'object/table.ts', from: 'if (s.badge != 0 && (badge & ~s.badge) != 0) { cpu.argument = 6; return ERR_RIGHTS; }', to: 'if (badge == 0) { cpu.argument = 6; return ERR_RIGHTS; }', breaks: 'a holder of some bits of a Notify mints itself all of them' },
  { name: 'one-port-more', file: 'object/table.ts', from: 'first - from + count <= room', to: 'first - from + count <= room + 1', breaks: 'a minted port range reaches one port beyond its source' },
  { name: 'children-become-roots', file: 'core/capability.ts', from: 'attach(c, s.parent, s.object);', to: 'attach(c, none<Slot>(), s.object);', breaks: 'after a capability in the middle is deleted, revoke of the first no longer reaches the third' },
  { name: 'revoke-stops-at-64', file: 'object/table.ts', from: '      giveSlot(c);\n    }\n    return PREEMPTED;', to: '      giveSlot(c);\n    }\n    return ERR_OK;', breaks: 'a revoke of more than 64 capabilities ends early and says that it is done' },
  { name: 'last-capability-leaks', file: 'object/table.ts', from: 'if (o.caps == 0) doom(o);', to: 'if (o.caps == 0 && s.fresh == 0) doom(o);', breaks: 'an object without capabilities lives on: its memory never comes back' },
  { name: 'batch-goes-on', file: 'core/syscall.ts', from: '    if (status != ERR_OK) break;\n', to: '', breaks: 'a batch does not stop at its first error' },
  // ---- memory ----
  { name: 'execute-unchecked', file: 'object/spaceops.ts', from: 'if ((rights & 7 & ~<u32>f.rights) != 0)', to: 'if ((rights & 3 & ~<u32>f.rights) != 0)', breaks: 'data Frames are mapped executable' },
  { name: 'mapping-forgets-rights', file: 'object/spaceops.ts', from: 'cpu.w1, cpu.w2, cpu.w3, rights, <u32>f.rights & 7, progress)', to: 'cpu.w1, cpu.w2, cpu.w3, rights, 7, progress)', breaks: 'protect makes a page writable that was mapped by a read-only capability' },
  { name: 'protect-looks-at-the-first', file: 'object/space.ts', from: 'if (m.va < stop && m.va', to: 'if (m.va <= va && m.va', breaks: 'protect checks the record at the beginning of the range and not those that follow' },
  { name: 'unmap-leaves-the-last', file: 'object/space.ts', from: '      clearEntries(s, t, a, cut);', to: '      clearEntries(s, t, a, cut > 1 ? cut - 1 : cut);', breaks: 'a page stays mapped after unmap' },
  { name: 'no-remote-flush', file: 'core/shootdown.ts', from: 'if (cpuCount == 1) return;\n  lockOr', to: 'if (cpuCount != 0) return;\n  lockOr', breaks: 'another CPU goes on using a page that was unmapped' },
  { name: 'no-local-flush', file: 'core/shootdown.ts', from: 'if (cpuCount == 1) { if ((cpu.cr3 & ~63) == root) invlpg(va); return; }', to: 'if (cpuCount == 1) return;', breaks: 'a page can be read after it was unmapped' },
  { name: 'memory-not-cleared', file: 'object/untyped.ts', from: 'if (u.device == 0 && type != OBJ_UNTYPED && pageBytes(type, bits) != 0 && !clear(', to: 'if (u.device == 0 && type != OBJ_UNTYPED && type != OBJ_FRAMES && pageBytes(type, bits) != 0 && !clear(', breaks: 'fresh Frames hold what was in that memory before' },
  { name: 'memory-back-too-early', file: 'object/untyped.ts', from: 'if (--u.children == 0) reset(u);', to: 'if (--u.children <= 1) reset(u);', breaks: 'memory is given out again while one object still lies in it' },
  { name: 'small-objects-are-free', file: 'object/untyped.ts', from: 'const each = <u64>pages + ((small + 63) & ~63);', to: 'const each = <u64>pages + (small & ~127);', breaks: 'the last objects of an Untyped overlap its pages' },
  { name: 'clone-keeps-write', file: 'object/space.ts', from: 'const e = (source & (ADDRESS | <u64>(PCD | PWT))) | flagsOf(rights & 7);', to: 'const e = (source & (ADDRESS | <u64>(PCD | PWT | W))) | flagsOf(rights & 7);', breaks: 'clone_range with read-only rights maps writable pages writable' },
  // ---- messages ----
  { name: 'callers-last-in-first-out', file: 'object/endpoint.ts', from: 'if (nil(e.call)) e.call = t; else e.callLast.qnext = t;\n  e.callLast = t;', to: 'if (nil(e.call)) { e.call = t; e.callLast = t; } else { t.qnext = e.call; e.call = t; }', breaks: 'queued callers are served in the wrong order' },
  { name: 'redelivery-reversed', file: 'object/endpoint.ts', from: 'after.delivered <= t.delivered', to: 'after.delivered >= t.delivered', breaks: 'requeued requests are not delivered in the order of their first delivery' },
  { name: 'settled-stays-armed', file: 'core/ipc.ts', from: '  r.state = IDLE;\n  r.caller = none<Thread>();', to: '  r.state = ARMED;\n  r.caller = none<Thread>();', breaks: 'a Reply that was answered says that it is armed' },
  { name: 'deadline-survives', file: 'core/ipc.ts', from: 'export function cancel(t: Thread): void {\n  endTimeout(t);', to: 'export function cancel(t: Thread): void {', breaks: 'the deadline of a wait that is over ends the next one' },
  { name: 'key-repeats', file: 'core/syscall.ts', from: '    t.deliveries = 0;\n    t.seq++;', to: '    t.deliveries = 0;', breaks: 'two requests of one Thread have the same key (on the slow path)' },
  { name: 'delivery-count-stays', file: 'core/syscall.ts', from: '    t.deliveries = 0;\n    t.seq++;', to: '    t.seq++;', breaks: 'a new request is delivered as if it had been delivered before' },
  { name: 'lease-bound', file: 'object/reply.ts', from: 'bytes > length - offset', to: 'bytes > length', breaks: 'copy reaches beyond the end of a lease' },
  { name: 'lease-direction', file: 'object/reply.ts', from: '(rights & (cpu.w4 == 0 ? 1 : 2)) == 0', to: '(rights & 3) == 0', breaks: 'a server writes through a lease that allows reading' },
  { name: 'cancel-badge-from-there-on', file: 'object/endpoint.ts', from: 'if (t.sendBadge == cpu.w0)', to: 'if (t.sendBadge >= cpu.w0)', breaks: 'cancel_badge cancels other clients too' },
  { name: 'window-stays-open', file: 'core/syscall.ts', from: '(op <= CALL_REPLY || op == CALL_WAIT || op == CALL_FAULT)', to: '(op < CALL_REPLY || op == CALL_WAIT || op == CALL_FAULT)', breaks: 'the window of a server is still open after it has replied' },
  // ---- notifications and devices ----
  { name: 'bit-31-stays', file: 'object/notify.ts', from: '  n.bits &= ~mask;\n  flagBound(n);', to: '  n.bits &= ~(mask & 0x7fffffff);\n  flagBound(n);', breaks: 'bit 31 is taken twice' },
  { name: 'waiter-takes-all', file: 'object/notify.ts', from: 'store<u32>(t.mp, takeBits(n, t.waitMask), MP_PENDING);', to: 'store<u32>(t.mp, takeBits(n, 0xffffffff), MP_PENDING);', breaks: 'a waiter takes bits that it did not ask for, and whose waiter sleeps on' },
  { name: 'bound-flag-lost', file: 'object/notify.ts', from: '    t = t.qnext;\n  }\n  flagBound(n);\n}', to: '    t = t.qnext;\n  }\n}', breaks: 'a server on the fast path does not see the bits of its bound Notify' },
  { name: 'interrupt-not-latched', file: 'object/device.ts', from: '{ d.latched = 1; return; }', to: 'return;', breaks: 'an interrupt that comes before `ack` is lost' },
  // ---- threads and time ----
  { name: 'resume-wakes-the-blocked', file: 'object/thread.ts', from: 'if (t.state == THREAD_STATE_READY && t.queued == 0) makeReady(cpu, t, false);\n  unlockIpc();\n  return ERR_OK;\n}\n\nfunction getRegisters', to: 'if (t.queued == 0 && !same(t.cpu.current, t)) makeReady(cpu, t, false);\n  unlockIpc();\n  return ERR_OK;\n}\n\nfunction getRegisters', breaks: 'a call returns although nobody has answered' },
  { name: 'ring-3-gets-iopl', file: 'object/thread.ts', from: '(flags & 0x0dd5) | 0x202', to: '(flags & 0x3dd5) | 0x202', breaks: 'set_registers gives a Thread all I/O ports' },
  { name: 'suspend-does-not-wait', file: 'object/thread.ts', from: 'while (same(other.current, t)) {', to: 'while (false) {', breaks: 'a Thread still runs on another CPU when suspend has returned' },
  { name: 'timers-out-of-order', file: 'core/timer.ts', from: 'after.deadline <= deadline', to: 'after.deadline >= deadline', breaks: 'a later deadline comes before an earlier one' },
  { name: 'lent-budget-for-ever', file: 'core/schedule.ts', from: 'if (!nil(s.owner)) { s.thread = s.owner; throttle(s.owner, s); }', to: 'if (!nil(s.owner)) { s.thread = s.owner; s.remaining = <i64>s.budget; }', breaks: 'a client with a small budget gets a new one for each call' },
  // ---- the fast path ----
  { name: 'fast-any-endpoint', file: 'stubs/fastpath.asm.ts', from: '    asm.test(byte(ecx, S_RIGHTS), right);\n', to: '    asm.test(byte(ecx, S_RIGHTS), right | 2);\n', breaks: 'a capability with the receive right alone may call' },
  { name: 'fast-answers-faults', file: 'stubs/fastpath.asm.ts', from: '  asm.or(edi, dword(edx, T_KIND));\n', to: '  asm.or(edi, edi);\n', breaks: 'the answer to a fault overwrites the registers of the Thread that faulted' },
  { name: 'fast-epoch-stale', file: 'stubs/fastpath.asm.ts', from: '  asm.mov(dword(edi, MP.epoch), ecx);\n', to: '', breaks: 'a request delivered by the fast path carries an old epoch' },
  { name: 'fast-one-word-less', file: 'stubs/fastpath.asm.ts', from: '    asm.sub(ecx, 3);\n', to: '    asm.sub(ecx, 4);\n', breaks: 'the last of more than three words does not arrive' },
  { name: 'fast-ignores-priority', file: 'stubs/fastpath.asm.ts', from: "  asm.cmp(edi, dword(esp, C_TOP_READY));\n  asm.jcc('l', '.slowUnlock');\n  asm.mov(esi, dword(ebp, T_SCHED));", to: '  asm.mov(esi, dword(ebp, T_SCHED));', breaks: 'a reply runs its caller although a more important Thread is ready' },
];
