/**
 * Constant propagation: a register whose only definition is a constant needs no register where an immediate or an absolute address will do.
 * The optimiser before us puts addresses that are used twice into locals, which on i386 is a loss.
 */
import { FIRST_VIRTUAL, type ImmOp, type MFunction, type Op, rolesOf } from '../mir.ts';

const SECOND_IMMEDIATE = new Set(['mov', 'add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp', 'test']);

/** Expects webs to be split; repeats while copies of constants become constants. */
export function propagateConstants(f: MFunction): void {
  for (let again = true; again; ) {
    again = false;
    const count = new Uint8Array(f.cls.length);
    const value: (ImmOp | undefined)[] = [];
    for (const b of f.blocks) for (const x of b.ins) {
      const roles = rolesOf(x);
      x.ops.forEach((o, k) => {
        if (o.k !== 'r' || o.r < FIRST_VIRTUAL || roles[k] === 'r') return;
        count[o.r] = Math.min(2, (count[o.r] as number) + 1);
        const source = x.ops[1];
        value[o.r] = x.op === 'mov' && x.size === 4 && source?.k === 'i' ? source : undefined;
      });
    }
    const known = (r: number): ImmOp | undefined => (r >= FIRST_VIRTUAL && count[r] === 1 ? value[r] : undefined);
    for (const b of f.blocks) for (const x of b.ins) {
      for (let k = 0; k < x.ops.length; k++) {
        const o = x.ops[k] as Op;
        if (o.k === 'm') {
          let m = o;
          const base = m.base >= 0 ? known(m.base) : undefined;
          if (base !== undefined && (base.sym === undefined || m.sym === undefined)) m = { ...m, base: -1, disp: (m.disp + base.v) | 0, sym: base.sym ?? m.sym };
          const index = m.index >= 0 ? known(m.index) : undefined;
          if (index !== undefined && index.sym === undefined) m = { ...m, index: -1, scale: 1, disp: (m.disp + Math.imul(index.v, m.scale)) | 0 };
          if (m !== o) x.ops[k] = m;
        } else if (o.k === 'r' && k === 1 && x.size === 4 && SECOND_IMMEDIATE.has(x.op)) {
          const c = known(o.r);
          if (c === undefined) continue;
          x.ops[1] = c;
          if (x.op === 'mov' && x.ops[0]?.k === 'r' && x.ops[0].r >= FIRST_VIRTUAL) again = true;
        }
      }
    }
  }
}
