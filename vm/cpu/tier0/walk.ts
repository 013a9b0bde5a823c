/**
 * Page walks in wasm, for the commonest case: 32-bit paging with 4 KiB pages, through the directory and the table that the view's last walk went through
 * (mmu/translations.ts permits it and takes what was done into its books). A translation that is found is filled as Translations.fill does; an entry that is not present
 * is a page fault. Anything else is refused before anything has changed, and Mmu.slowRead and slowWrite do it.
 */
import { DIRTY_ALL, DIRTY_MAP_BASE, GUEST_RAM_BASE, PAGE_KIND_MASK, PAGE_KIND_RAM, PAGE_MAP_BASE } from '../../board.ts';
import { MAX_VOTES, PAGE_CODE, PAGE_TABLE, PATIENCE } from '../mmu/translations.ts';
import { CR0, S, VEC } from '../state.ts';
import * as w from '../wasm.ts';
import { I, type ModuleBuilder, type N } from '../wasm.ts';

const k = w.k;
/** Answer: #PF is in the state block. No entry has this value. */
export const PAGE_FAULT = 1;
const FRAME = 0xfffff000 | 0, PRESENT = 1, WRITABLE = 2, USER = 4, ACCESSED = 0x20, DIRTY_SHIFT = 6, LARGE = 0x80;

/** walk(cpu, va, write 0 or 1) -> the soft-MMU entry, PAGE_FAULT, or 0: refused. Returns its index. */
export function defineWalk(module: ModuleBuilder, parallel: boolean): number {
  const index = module.declare('walk', [I, I, I], [I]);
  module.define(index, fn => {
    const cpu = w.local(0), va = w.local(1), write = w.local(2);
    const state = (offset: number): N => w.load(cpu, offset), set = (offset: number, value: N): void => { fn.store(cpu, value, offset); };
    const require = (condition: N): void => { fn.if(w.eqz(condition), () => { fn.ret(k(0)); }, undefined, 0); };
    const view = fn.let(state(S.viewIndex)), cr0 = fn.let(state(S.cr0)), page = fn.let(w.shr(va, k(12)));
    require(w.eq(state(S.walkView), w.add(view, k(1))));
    require(w.eq(w.and(cr0, k(CR0.PG | CR0.AM)), k(CR0.PG)));
    const directory = fn.let(w.and(state(S.cr3), k(FRAME)));
    require(w.and(w.eq(state(S.walkDirectory), directory), w.eq(state(S.walkStretch), w.shr(va, k(22)))));
    require(w.ne(w.load(w.add(cpu, w.shl(view, k(2))), S.viewDevice), page));
    const pde = fn.let(w.load(w.add(directory, w.shl(w.shr(va, k(22)), k(2))), GUEST_RAM_BASE));
    require(w.eq(w.and(pde, k(FRAME | PRESENT | ACCESSED | LARGE)), w.or(state(S.walkTable), k(PRESENT | ACCESSED))));
    const at = fn.let(w.add(w.and(pde, k(FRAME)), w.and(w.shr(va, k(10)), k(0xffc))));
    const pte = fn.let(w.load(at, GUEST_RAM_BASE)), user = fn.let(w.eq(state(S.cpl), k(3)));
    const patience = k(PATIENCE);
    const done = (): void => {
      set(S.walked, k(1));
      const stored = fn.let(state(S.storeTable));
      fn.if(w.or(w.eq(stored, directory), w.eq(stored, state(S.walkTable))), () => { set(S.storeRoom, patience); });
      set(S.countSlow, w.add(state(S.countSlow), k(1)));
      set(S.countWalks, w.add(state(S.countWalks), k(1)));
    };
    fn.if(w.eqz(w.and(pte, k(PRESENT))), () => {
      done();
      set(S.cr2, va);
      set(S.faultVector, k(VEC.PF));
      set(S.faultError, w.or(w.shl(write, k(1)), w.shl(user, k(2))));
      set(S.fault, k(1));
      fn.ret(k(PAGE_FAULT));
    });
    const rights = fn.let(w.and(pde, pte)), frame = fn.let(w.shr(pte, k(12)));
    require(w.or(w.eqz(user), w.and(rights, k(USER))));
    require(w.or(w.or(w.eqz(write), w.and(rights, k(WRITABLE))), w.and(w.eqz(user), w.eqz(w.and(cr0, k(CR0.WP))))));
    require(w.eq(w.and(w.load8u(frame, PAGE_MAP_BASE), w.select(k(PAGE_KIND_MASK | PAGE_CODE | PAGE_TABLE), k(PAGE_KIND_MASK), write)), k(PAGE_KIND_RAM)));
    const readAt = fn.let(w.add(state(S.tlbRead), w.shl(page, k(2)))), writeAt = fn.let(w.add(state(S.tlbWrite), w.shl(page, k(2))));
    const fresh = fn.let(w.or(w.shl(w.eqz(w.load(readAt)), k(31)), w.shl(w.and(write, w.eqz(w.load(writeAt))), k(30)))), fills = fn.let(state(S.walkFills));
    require(w.or(w.eqz(fresh), w.ltu(fills, state(S.walkRoom))));
    const bits = fn.let(w.or(k(ACCESSED), w.shl(write, k(DIRTY_SHIFT))));
    fn.if(w.ne(w.and(pte, bits), bits), () => {
      // A locked update among several writers.
      if (parallel) { fn.ret(k(0)); return; }
      fn.store(at, w.or(pte, bits), GUEST_RAM_BASE);
      fn.store8(w.shr(at, k(12)), k(DIRTY_ALL), DIRTY_MAP_BASE);
    });
    done();
    fn.if(fresh, () => {
      fn.store(w.add(cpu, w.shl(fills, k(2))), w.or(fresh, w.or(w.shl(page, k(1)), user)), S.walkFilled);
      set(S.walkFills, w.add(fills, k(1)));
    });
    const entry = fn.let(w.sub(w.add(w.and(pte, k(FRAME)), k(GUEST_RAM_BASE - 3)), w.and(va, k(FRAME))));
    fn.store(readAt, entry);
    fn.if(write, () => { fn.store8(frame, k(DIRTY_ALL), DIRTY_MAP_BASE); fn.store(writeAt, entry); });
    // Translations.vote.
    const votes = fn.let(state(S.votes));
    fn.if(w.eq(state(S.linear), entry), () => { set(S.votes, w.select(w.add(votes, k(1)), votes, w.lt(votes, k(MAX_VOTES)))); }, () => {
      fn.if(w.gt(votes, k(0)), () => { set(S.votes, w.sub(votes, k(1))); }, () => { set(S.linear, entry); set(S.votes, k(1)); });
    });
    fn.emit(entry);
  });
  return index;
}

/**
 * tableStore(cpu, va, value) -> 1 stored, 0 refused: a dword into an entry, not present so far, of the page table that stores of this privilege went to last. Nothing was
 * derived from such an entry (Mmu.absent), so that nothing has to go.
 */
export function defineTableStore(module: ModuleBuilder): number {
  const index = module.declare('tableStore', [I, I, I], [I]);
  module.define(index, fn => {
    const cpu = w.local(0), va = w.local(1), value = w.local(2);
    const state = (offset: number): N => w.load(cpu, offset);
    const require = (condition: N): void => { fn.if(w.eqz(condition), () => { fn.ret(k(0)); }, undefined, 0); };
    const view = fn.let(state(S.viewIndex)), table = fn.let(state(S.storeTable)), room = fn.let(state(S.storeRoom));
    require(w.eq(state(S.walkView), w.add(view, k(1))));
    require(w.and(w.ge(table, k(0)), w.gt(room, k(0))));
    require(w.eq(w.load(w.add(cpu, w.shl(view, k(2))), S.viewDevice), w.shr(va, k(12))));
    require(w.and(w.eqz(w.and(va, k(3))), w.eq(state(S.storeUser), w.eq(state(S.cpl), k(3)))));
    require(w.eq(w.and(state(S.cr0), k(CR0.PG | CR0.AM)), k(CR0.PG)));
    require(w.eq(w.and(w.load8u(w.shr(table, k(12)), PAGE_MAP_BASE), k(PAGE_KIND_MASK | PAGE_CODE | PAGE_TABLE)), k(PAGE_KIND_RAM | PAGE_TABLE)));
    const at = fn.let(w.or(table, w.and(va, k(0xffc))));
    require(w.eqz(w.and(w.load(at, GUEST_RAM_BASE), k(PRESENT))));
    fn.store(at, value, GUEST_RAM_BASE);
    fn.store8(w.shr(table, k(12)), k(DIRTY_ALL), DIRTY_MAP_BASE);
    fn.store(cpu, w.sub(room, k(1)), S.storeRoom);
    fn.store(cpu, w.add(state(S.countSlow), k(1)), S.countSlow);
    fn.emit(k(1));
  });
  return index;
}
