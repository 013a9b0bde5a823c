/** Live variables per block (backward data flow over bit sets), and the splitting of registers into independent webs. */
import { FIRST_VIRTUAL, forEachDef, forEachUse, type Ins, type MBlock, type MFunction, type Op, rolesOf } from '../mir.ts';

export interface Liveness { readonly words: number; readonly in: Uint32Array[]; readonly out: Uint32Array[] }

export function liveness(f: MFunction): Liveness {
  const words = (f.cls.length + 31) >>> 5;
  const n = f.blocks.length;
  const make = (): Uint32Array[] => f.blocks.map(() => new Uint32Array(words));
  const use = make(), def = make(), liveIn = make(), liveOut = make();
  f.blocks.forEach((b, i) => {
    b.id = i;
    const u = use[i] as Uint32Array, d = def[i] as Uint32Array;
    for (const x of b.ins) {
      forEachUse(x, (r) => {
        if (((d[r >>> 5] as number) & (1 << (r & 31))) === 0) u[r >>> 5] = (u[r >>> 5] as number) | (1 << (r & 31));
      });
      forEachDef(x, (r) => (d[r >>> 5] = (d[r >>> 5] as number) | (1 << (r & 31))));
    }
  });
  for (let changed = true; changed; ) {
    changed = false;
    for (let i = n - 1; i >= 0; i--) {
      const o = liveOut[i] as Uint32Array, l = liveIn[i] as Uint32Array, u = use[i] as Uint32Array, d = def[i] as Uint32Array;
      for (const s of (f.blocks[i] as MBlock).succ) {
        const x = liveIn[s.id] as Uint32Array;
        for (let w = 0; w < words; w++) o[w] = (o[w] as number) | (x[w] as number);
      }
      for (let w = 0; w < words; w++) {
        const v = ((u[w] as number) | ((o[w] as number) & ~(d[w] as number))) >>> 0;
        if (v !== l[w]) {
          l[w] = v;
          changed = true;
        }
      }
    }
  }
  return { words, in: liveIn, out: liveOut };
}

export function forEachBit(set: Uint32Array, f: (r: number) => void): void {
  for (let w = 0; w < set.length; w++) {
    let v = set[w] as number;
    while (v !== 0) {
      const b = 31 - Math.clz32(v & -v);
      f(w * 32 + b);
      v &= v - 1;
    }
  }
}

/** Renames the registers of an instruction; uses and definitions may differ (not for modified operands). */
export function renameIns(i: Ins, use: (r: number) => number, def: (r: number) => number): void {
  const roles = rolesOf(i);
  const ops = i.ops;
  for (let k = 0; k < ops.length; k++) {
    const o = ops[k] as Op;
    if (o.k === 'r') {
      const r = roles[k] === 'w' ? def(o.r) : use(o.r);
      if (r !== o.r) ops[k] = { k: 'r', r };
    } else if (o.k === 'm' && (o.base >= 0 || o.index >= 0)) {
      const base = o.base >= 0 ? use(o.base) : -1, index = o.index >= 0 ? use(o.index) : -1;
      if (base !== o.base || index !== o.index) ops[k] = { ...o, base, index };
    }
  }
}

/**
 * Splits every virtual register into webs: definitions connected through common uses. Wasm locals are reused for unrelated values by
 * the optimiser before us, and a joined live range is harder to colour. Each definition gets a name; names that meet at a block entry
 * where the register is live are united.
 */
export function splitWebs(f: MFunction): void {
  const live = liveness(f);
  const parent: number[] = [];
  const cls: number[] = [];
  const fresh = (c: number): number => {
    cls.push(c);
    return parent.push(parent.length) - 1;
  };
  const find = (x: number): number => {
    while (parent[x] !== x) {
      parent[x] = parent[parent[x] as number] as number;
      x = parent[x] as number;
    }
    return x;
  };
  const entryNames: Map<number, number>[] = [];
  const exitNames: Map<number, number>[] = [];
  f.blocks.forEach((b, i) => {
    const m = new Map<number, number>();
    forEachBit(live.in[i] as Uint32Array, (r) => {
      if (r >= FIRST_VIRTUAL) m.set(r, fresh(f.cls[r] as number));
    });
    entryNames[i] = m;
  });
  f.blocks.forEach((b, i) => {
    const now = new Map(entryNames[i]);
    const name = (r: number): number => {
      if (r < FIRST_VIRTUAL) return r;
      let n = now.get(r);
      if (n === undefined) now.set(r, (n = fresh(f.cls[r] as number))); // read before written: any value will do
      return n + FIRST_VIRTUAL;
    };
    for (const x of b.ins) {
      renameIns(x, name, (r) => {
        if (r < FIRST_VIRTUAL) return r;
        const n = fresh(f.cls[r] as number);
        now.set(r, n);
        return n + FIRST_VIRTUAL;
      });
    }
    exitNames[i] = now;
  });
  f.blocks.forEach((b, i) => {
    for (const s of b.succ) {
      for (const [r, n] of entryNames[s.id] as Map<number, number>) {
        const mine = exitNames[i]?.get(r);
        if (mine !== undefined) parent[find(mine)] = find(n);
      }
    }
  });
  const final = new Map<number, number>();
  const newCls = f.cls.slice(0, FIRST_VIRTUAL);
  const rename = (r: number): number => {
    if (r < FIRST_VIRTUAL) return r;
    const root = find(r - FIRST_VIRTUAL);
    let n = final.get(root);
    if (n === undefined) {
      n = newCls.push(cls[root] as number) - 1;
      final.set(root, n);
    }
    return n;
  };
  for (const b of f.blocks) for (const x of b.ins) renameIns(x, rename, rename);
  f.cls.length = 0;
  f.cls.push(...newCls);
}

const PURE = new Set('mov movzx movsx lea add sub and or xor imul shl shr sar rol ror not neg inc dec adc sbb shld shrd bswap movaps movss movsd movd movq addsd subsd mulsd divsd addss subss mulss divss andps orps xorps cvtsi2sd cvtsi2ss cvtsd2ss cvtss2sd punpckldq psrlq sqrtsd sqrtss bsf bsr'.split(' '));

/** Removes instructions whose results nobody reads. Loads stay: they may be meant to fault or to be device accesses. */
export function removeDead(f: MFunction): void {
  for (let again = true; again; ) {
    again = false;
    const live = liveness(f);
    f.blocks.forEach((b, i) => {
      const now = (live.out[i] as Uint32Array).slice();
      const has = (r: number): boolean => ((now[r >>> 5] as number) & (1 << (r & 31))) !== 0;
      const kept: Ins[] = [];
      let flags = b.jumps.length > 0;
      for (let k = b.ins.length - 1; k >= 0; k--) {
        const x = b.ins[k] as Ins;
        let wanted = true;
        const reads = x.op === 'adc' || x.op === 'sbb' || x.op.startsWith('set') || x.op.startsWith('cmov');
        const target = x.ops[0];
        if ((PURE.has(x.op) || reads) && x.defs.length === 0 && target?.k === 'r' && target.r >= FIRST_VIRTUAL && !x.ops.some((o) => o.k === 'm' && x.op !== 'lea')) {
          if (!has(target.r) && !(flags && !NO_FLAGS.has(x.op) && !x.op.startsWith('cmov') && !x.op.startsWith('set'))) wanted = false;
        }
        if (!wanted) {
          again = true;
          continue;
        }
        if (!NO_FLAGS.has(x.op) && !x.op.startsWith('cmov') && !x.op.startsWith('set')) flags = false;
        if (reads || x.op === 'pushfd') flags = true;
        kept.push(x);
        forEachDef(x, (r) => (now[r >>> 5] = (now[r >>> 5] as number) & ~(1 << (r & 31))));
        forEachUse(x, (r) => (now[r >>> 5] = (now[r >>> 5] as number) | (1 << (r & 31))));
      }
      b.ins = kept.reverse();
    });
  }
}
export const NO_FLAGS = new Set('mov movzx movsx lea movaps movss movsd movd movq addsd subsd mulsd divsd addss subss mulss divss andps orps xorps cvtsi2sd cvtsi2ss cvtsd2ss cvtss2sd cvttsd2si cvttss2si punpckldq psrlq psllq sqrtsd sqrtss not push pop bswap xchg jmptable cdq'.split(' '));
