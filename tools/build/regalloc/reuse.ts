/**
 * After allocation: a spilled value that is still in a register is taken from there instead of from its slot, and slots nobody reads any
 * more are not written. Memory accesses are what a translated guest pays most for, so this is worth a pass of its own.
 *
 * Frame slots have no address anyone could take, so only instructions that name them change them. The knowledge "register r holds slot s"
 * is kept along blocks and carried into blocks with a single, already visited predecessor.
 */
import { ESP, forEachDef, type Ins, type MBlock, type MemOp, type MFunction, type Op, R, rolesOf } from '../mir.ts';

const READ_FROM_REGISTER = new Set('mov add or adc sbb and sub xor cmp test imul mul div idiv cmove cmovne cmovb cmovae cmovbe cmova cmovl cmovge cmovle cmovg cmovs cmovns cmovp cmovnp push icall bsf bsr'.split(' '));
/** Identity of a slot; undefined for other memory. */
const keyOf = (o: Op): number | undefined => (o.k === 'm' && o.slot !== -1 ? (o.slot >= 0 ? o.slot * 4 + o.disp : -1000000 - o.disp) : undefined);

export function reuseSlots(f: MFunction): void {
  const predecessors = new Map<MBlock, MBlock[]>();
  for (const b of f.blocks) for (const s of b.succ) predecessors.set(s, [...(predecessors.get(s) ?? []), b]);
  const after = new Map<MBlock, Map<number, number>>();
  f.blocks.forEach((b, i) => {
    const from = predecessors.get(b) ?? [];
    const known = from.length === 1 && i > 0 ? after.get(from[0] as MBlock) : undefined;
    after.set(b, block(b, new Map(known)));
  });
  dropDeadStores(f);
}

function block(b: MBlock, held: Map<number, number>): Map<number, number> {
  const holder = (key: number): number | undefined => {
    for (const [r, k] of held) if (k === key) return r;
    return undefined;
  };
  const out: Ins[] = [];
  for (const x of b.ins) {
    const roles = rolesOf(x);
    if (x.size === 4 && READ_FROM_REGISTER.has(x.op)) {
      let redundant = false;
      for (let k = 0; k < x.ops.length; k++) {
        const o = x.ops[k] as Op;
        const key = keyOf(o);
        if (key === undefined) continue;
        const source = x.ops[1];
        if (x.op === 'mov' && k === 0) {
          if (source?.k === 'r' && held.get(source.r) === key) redundant = true;
          continue;
        }
        if (roles[k] !== 'r') continue;
        const target = x.ops[0];
        if (x.op === 'mov' && target?.k === 'r' && held.get(target.r) === key) {
          redundant = true;
          continue;
        }
        const r = holder(key);
        if (r !== undefined) x.ops[k] = R(r);
      }
      if (redundant) continue;
    }
    out.push(x);
    forEachDef(x, (r) => held.delete(r));
    x.ops.forEach((o, k) => {
      const key = keyOf(o);
      if (key !== undefined && roles[k] !== 'r' && roles[k] !== 'a') for (const [r, s] of [...held]) if (s === key) held.delete(r);
    });
    if (x.op === 'mov' && x.size === 4) {
      const [to, from] = x.ops as [Op, Op];
      const toKey = keyOf(to), fromKey = keyOf(from);
      if (toKey !== undefined && from.k === 'r' && from.r < 8) held.set(from.r, toKey);
      else if (to.k === 'r' && to.r < 8 && to.r !== ESP) {
        const key = fromKey ?? (from.k === 'r' ? held.get(from.r) : undefined);
        if (key !== undefined) held.set(to.r, key);
      }
    }
  }
  b.ins = out;
  return held;
}

/** Removes stores to slots that no instruction reads. */
function dropDeadStores(f: MFunction): void {
  const read = new Set<number>();
  const isStore = (x: Ins): boolean => (x.op === 'mov' || x.op === 'movsd') && x.ops[0]?.k === 'm' && (x.ops[0] as MemOp).slot >= 0;
  for (const b of f.blocks) for (const x of b.ins) x.ops.forEach((o, k) => {
    if (o.k === 'm' && o.slot >= 0 && !(k === 0 && isStore(x))) read.add(o.slot);
  });
  for (const b of f.blocks) b.ins = b.ins.filter((x) => !(isStore(x) && !read.has((x.ops[0] as MemOp).slot)));
}
