/**
 * Register allocation of a function: webs, dead code, colouring, spilling until it colours. Spilled registers live in 4-byte slots of
 * the frame and are used as memory operands where the instruction allows one; constants and stack arguments are never stored.
 */
import { BuildError } from '../errors.ts';
import { FIRST_VIRTUAL, type Ins, type MFunction, type MemOp, type Op, R, rolesOf, setSuccessors, slotOp } from '../mir.ts';
import { CALLEE_SAVED, color, isMove } from './color.ts';
import { propagateConstants } from './constants.ts';
import { reuseSlots } from './reuse.ts';
import { liveness, removeDead, splitWebs } from './liveness.ts';

export interface Allocation { readonly saved: readonly number[] }

export function allocate(f: MFunction): Allocation {
  setSuccessors(f);
  splitWebs(f);
  propagateConstants(f);
  removeDead(f);
  splitWebs(f); // dead code may have joined webs
  const apart = new Set<Ins>();
  for (let round = 0; ; round++) {
    if (round > 80) throw new BuildError('register allocation does not end', f.name);
    const live = liveness(f);
    const general = color(f, live, 0, apart);
    const floats = f.cls.includes(1, FIRST_VIRTUAL) ? color(f, live, 1, apart) : { color: general.color, spilled: [] };
    const spilled = [...general.spilled, ...floats.spilled];
    if (spilled.length === 0) {
      const used = new Set<number>();
      const assign = (r: number): number => {
        const c = r < FIRST_VIRTUAL ? r : ((f.cls[r] === 1 ? floats.color[r] : general.color[r]) as number);
        if (c < 0) return 0; // never live: any register will do
        used.add(c);
        return c;
      };
      for (const b of f.blocks) {
        for (const x of b.ins) {
          for (const d of x.defs) used.add(d);
          rewrite(x, assign);
        }
        b.ins = b.ins.filter((x) => !(isMove(x) && (x.ops[0] as { r: number }).r === (x.ops[1] as { r: number }).r));
      }
      if (f.slots > 0) reuseSlots(f);
      return { saved: CALLEE_SAVED.filter((r) => used.has(r)) };
    }
    for (const { r } of spilled) if (f.noSpill.has(r)) throw new BuildError(`internal: no register left for a spill temporary`, f.name);
    const pieces = takeApart(f, spilled, apart);
    spill(f, spilled.filter(({ root }) => !pieces.has(root)));
  }
}

/**
 * What coalescing put together may be too long for a register although its parts are not: such nodes are taken apart once, and only what
 * still finds no register is spilled. Returns the roots of those nodes.
 */
function takeApart(f: MFunction, spilled: readonly { r: number; root: number }[], apart: Set<Ins>): ReadonlySet<number> {
  const rootOf = new Map(spilled.map(({ r, root }) => [r, root])), pieces = new Set<number>();
  for (const b of f.blocks) for (const x of b.ins) {
    if (!isMove(x) || apart.has(x)) continue;
    const to = rootOf.get((x.ops[0] as { r: number }).r), from = rootOf.get((x.ops[1] as { r: number }).r);
    if (to === undefined || to !== from) continue;
    apart.add(x);
    pieces.add(to);
  }
  return pieces;
}

function rewrite(x: Ins, assign: (r: number) => number): void {
  for (let k = 0; k < x.ops.length; k++) {
    const o = x.ops[k] as Op;
    if (o.k === 'r') x.ops[k] = R(assign(o.r));
    else if (o.k === 'm' && (o.base >= 0 || o.index >= 0)) x.ops[k] = { ...o, base: o.base >= 0 ? assign(o.base) : -1, index: o.index >= 0 ? assign(o.index) : -1 };
  }
}

const FIRST_MEMORY = new Set('mov add or adc sbb and sub xor cmp test shl shr sar rol ror not neg inc dec push pop mul div idiv icall shld shrd sete setne setb setae setbe seta setl setge setle setg sets setns setp setnp seto setno bt'.split(' '));
const SECOND_MEMORY = new Set('mov add or adc sbb and sub xor cmp imul bsf bsr movzx movsx cmove cmovne cmovb cmovae cmovbe cmova cmovl cmovge cmovle cmovg cmovs cmovns cmovp cmovnp cvtsi2sd cvtsi2ss'.split(' '));
const SECOND_FLOAT = new Set('addsd subsd mulsd divsd addss subss mulss divss sqrtsd sqrtss ucomisd ucomiss cvttsd2si cvttss2si cvtsd2ss cvtss2sd minsd maxsd minss maxss movaps movsd movss'.split(' '));

interface Home { readonly op: MemOp; readonly value: Op | undefined; readonly dropDefinition: boolean }

function spill(f: MFunction, spilled: readonly { r: number; root: number }[]): void {
  const homes = new Map<number, Home>();
  const set = new Set(spilled.map((x) => x.r));
  const members = new Map<number, number>();
  for (const { root } of spilled) members.set(root, (members.get(root) ?? 0) + 1);
  const shared = new Map<number, Home>();
  const definitions = new Map<number, Ins[]>();
  for (const b of f.blocks) for (const x of b.ins) {
    const roles = rolesOf(x);
    x.ops.forEach((o, k) => {
      if (o.k === 'r' && set.has(o.r) && roles[k] !== 'r') {
        const list = definitions.get(o.r);
        if (list === undefined) definitions.set(o.r, [x]);
        else list.push(x);
      }
    });
  }
  for (const { r, root } of spilled) {
    if ((members.get(root) as number) > 1) { // coalesced registers never hold different values at once: one slot for all
      let home = shared.get(root);
      if (home === undefined) {
        shared.set(root, (home = { op: slotOp(f.slots), value: undefined, dropDefinition: false }));
        f.slots += f.cls[r] === 1 ? 2 : 1;
      }
      homes.set(r, home);
      continue;
    }
    const defs = definitions.get(r) ?? [];
    const only = defs.length === 1 ? (defs[0] as Ins) : undefined;
    const source = only?.op === 'mov' && only.size === 4 ? only.ops[1] : undefined;
    if (source?.k === 'i') homes.set(r, { op: slotOp(0), value: source, dropDefinition: true });
    else if (source?.k === 'm' && source.slot === -2) homes.set(r, { op: source, value: undefined, dropDefinition: true });
    else {
      homes.set(r, { op: slotOp(f.slots), value: undefined, dropDefinition: false });
      f.slots += f.cls[r] === 1 ? 2 : 1;
    }
  }
  for (const b of f.blocks) {
    const out: Ins[] = [];
    for (const x of b.ins) spillIns(f, x, homes, out);
    b.ins = out;
  }
}

function spillIns(f: MFunction, x: Ins, homes: ReadonlyMap<number, Home>, out: Ins[]): void {
  const roles = rolesOf(x);
  const after: Ins[] = [];
  const temps = new Map<number, number>();
  const make = (op: string, ops: Op[], size: number): Ins => ({ op, ops, size, uses: [], defs: [], pos: x.pos });
  const load = (r: number, t: number, h: Home): Ins => (f.cls[r] === 1 ? make('movsd', [R(t), h.op], 8) : make('mov', [R(t), h.value ?? h.op], 4));
  const temp = (r: number, needed: boolean): number => {
    let t = temps.get(r);
    if (t === undefined) {
      t = f.cls.push(f.cls[r] as number) - 1;
      f.noSpill.add(t);
      temps.set(r, t);
      if (needed) out.push(load(r, t, homes.get(r) as Home));
    }
    return t;
  };
  const target = x.ops[0], source = x.ops[1];
  if (isMove(x) && target?.k === 'r' && source?.k === 'r' && homes.has(target.r) && homes.get(target.r) === homes.get(source.r)) return;
  if (target?.k === 'r' && homes.get(target.r)?.dropDefinition === true && roles[0] === 'w') return;
  let memories = x.ops.some((o) => o.k === 'm') ? 1 : 0;
  // Addresses first: they need registers.
  for (let k = 0; k < x.ops.length; k++) {
    const o = x.ops[k] as Op;
    if (o.k !== 'm') continue;
    const base = o.base >= 0 && homes.has(o.base) ? temp(o.base, true) : o.base;
    const index = o.index >= 0 && homes.has(o.index) ? temp(o.index, true) : o.index;
    if (base !== o.base || index !== o.index) x.ops[k] = { ...o, base, index };
  }
  const same = x.ops.length === 2 && x.ops[0]?.k === 'r' && x.ops[1]?.k === 'r' && x.ops[0].r === x.ops[1].r;
  for (let k = 0; k < x.ops.length; k++) {
    const o = x.ops[k] as Op;
    if (o.k !== 'r') continue;
    const h = homes.get(o.r);
    if (h === undefined) continue;
    const role = roles[k];
    const isFloat = f.cls[o.r] === 1;
    const known = temps.get(o.r);
    if (known === undefined && memories === 0 && !same) {
      // x.size 1 on a first operand would name a register's low byte: the slot's low byte is the same place.
      if (isFloat) {
        if (k === 0 && x.op === 'movaps') {
          memories++;
          x.op = 'movsd';
          x.size = 8;
          x.ops[0] = h.op;
          continue;
        }
        if (k === 1 && SECOND_FLOAT.has(x.op)) {
          memories++;
          if (x.op === 'movaps') {
            x.op = 'movsd';
            x.size = 8;
          }
          x.ops[1] = h.op;
          continue;
        }
      } else if (h.value !== undefined) {
        if (k === 1 && roles[1] === 'r' && (x.op === 'mov' || /^(add|or|and|sub|xor|cmp|adc|sbb|test)$/.test(x.op)) && x.size === 4) {
          x.ops[1] = h.value;
          continue;
        }
      } else if (k === 0 && FIRST_MEMORY.has(x.op) && !(x.op === 'imul') && (x.ops[1]?.k !== 'm') && !(x.op === 'mov' && x.size !== 4)) {
        memories++;
        x.ops[0] = h.op;
        continue;
      } else if (k === 1 && SECOND_MEMORY.has(x.op) && !(x.op === 'mov' && x.size !== 4) && !(x.size === 1 && x.op !== 'movzx' && x.op !== 'movsx')) {
        memories++;
        x.ops[1] = h.op;
        continue;
      } else if (k === 1 && x.op === 'test' && x.ops[0]?.k === 'r' && !homes.has(x.ops[0].r)) {
        memories++;
        x.ops = [h.op, x.ops[0]];
        continue;
      }
    }
    const t = known ?? temp(o.r, role !== 'w');
    x.ops[k] = R(t);
    if (role === 'w' || role === 'm') {
      if (h.value !== undefined || h.dropDefinition) throw new BuildError('internal: a constant home is written', f.name);
      after.push(isFloat ? make('movsd', [h.op, R(t)], 8) : make('mov', [h.op, R(t)], 4));
    }
  }
  out.push(x, ...after);
}
