/**
 * Clean-up of the statement graph: jumps to jumps, unreachable blocks, chains merged into one block, and loops turned so that their test
 * stands at the bottom (one taken branch per round instead of two). Variables are not in SSA form, so a block may simply be copied.
 */
import { type Block, type Graph, type Node, reads, successors, type Terminator } from '../ir.ts';
import { OP } from '../wasm/opcodes.ts';
import { isBoolean } from './i32.ts';

const retarget = (t: Terminator, f: (b: Block) => Block): void => {
  if (t.k === 'jump') t.to = f(t.to);
  else if (t.k === 'branch') {
    t.yes = f(t.yes);
    t.no = f(t.no);
  } else if (t.k === 'switch') t.to = t.to.map(f);
};

export function cleanGraph(g: Graph): void {
  const entry = g.blocks[0] as Block;
  const forward = (b: Block): Block => {
    for (let n = 0; n < 64 && b.body.length === 0 && b.term.k === 'jump' && b.term.to !== b; n++) b = b.term.to;
    return b;
  };
  const prune = (): void => {
    for (const b of g.blocks) {
      retarget(b.term, forward);
      if (b.term.k === 'branch') {
        if (b.term.e.k === 'const') b.term = { k: 'jump', to: b.term.e.v !== 0 ? b.term.yes : b.term.no };
        else if (b.term.yes === b.term.no && !b.term.e.mem) b.term = { k: 'jump', to: b.term.yes };
      }
    }
    const seen = new Set<Block>([entry]);
    const work = [entry];
    for (let b = work.pop(); b !== undefined; b = work.pop())
      for (const s of successors(b)) if (!seen.has(s)) seen.add(s), work.push(s);
    g.blocks = g.blocks.filter((b) => seen.has(b));
  };
  prune();
  merge(g, entry);
  threadBooleans(g);
  splitConditions(g);
  prune();
  merge(g, entry);
  invertLoops(g);
  prune();
  merge(g, entry);
  layout(g, entry);
  for (let i = 0; i < g.blocks.length; i++) (g.blocks[i] as Block).id = i;
}

function predecessorCounts(g: Graph): Map<Block, number> {
  const count = new Map<Block, number>();
  for (const b of g.blocks) for (const s of successors(b)) count.set(s, (count.get(s) ?? 0) + 1);
  return count;
}

function merge(g: Graph, entry: Block): void {
  const count = predecessorCounts(g);
  const gone = new Set<Block>();
  for (const b of g.blocks) {
    if (gone.has(b)) continue;
    while (b.term.k === 'jump' && b.term.to !== b && b.term.to !== entry && count.get(b.term.to) === 1) {
      const next = b.term.to;
      b.body.push(...next.body);
      b.term = next.term;
      b.loop = Math.max(b.loop, next.loop);
      gone.add(next);
    }
    // A return is cheaper than a jump to it.
    if (b.term.k === 'jump' && b.term.to.body.length === 0 && b.term.to.term.k === 'return') b.term = b.term.to.term;
  }
  g.blocks = g.blocks.filter((b) => !gone.has(b));
}

/** How often each variable is read. */
function readCounts(g: Graph): Map<number, number> {
  const count = new Map<number, number>();
  const walk = (n: Node | undefined): void => {
    if (n === undefined) return;
    if (n.k === 'get') count.set(n.v, (count.get(n.v) ?? 0) + 1);
    walk(n.a);
    walk(n.b);
    walk(n.c);
  };
  for (const b of g.blocks) {
    for (const s of b.body) {
      if ('e' in s) walk(s.e);
      if (s.k === 'store') walk(s.a);
      if (s.k === 'call' || s.k === 'bulk') s.args.forEach(walk);
    }
    if (b.term.k === 'branch' || b.term.k === 'switch' || b.term.k === 'return') walk(b.term.e);
  }
  return count;
}

/**
 * `if (a && b)` arrives as a block whose 0/1 result is tested right after it: the predecessors branch themselves instead. Applies to a
 * variable set last in the block that jumps to the test: to any value when the test alone reads it, else to a constant.
 */
function threadBooleans(g: Graph): void {
  for (let again = true; again; ) {
    again = false;
    const count = readCounts(g);
    for (const join of g.blocks) {
      // A few copies of constants and variables may stand before the test: they are repeated in each predecessor.
      if (join.term.k !== 'branch' || join.body.length > 2 || !join.body.every((s) => s.k === 'set' && s.e.depth === 0 && s.e.k !== 'gget')) continue;
      let e = join.term.e, { yes, no } = join.term;
      while (e.k === 'op' && e.op === OP['i32.eqz']) {
        e = e.a as Node;
        [yes, no] = [no, yes];
      }
      if (e.k !== 'get' || yes === join || no === join) continue;
      const only = count.get(e.v) === 1;
      const v = e.v;
      if (join.body.some((s) => s.k === 'set' && (s.v === v || reads(s.e, v)))) continue;
      for (const b of g.blocks) {
        const last = b.body[b.body.length - 1];
        if (b === join || b.term.k !== 'jump' || b.term.to !== join || last?.k !== 'set' || last.v !== v) continue;
        if (join.body.some((s) => s.k === 'set' && reads(last.e, s.v))) continue;
        // A variable that lives on keeps its value; then only a constant tells the way.
        if (!only && last.e.k !== 'const') continue;
        if (only) b.body.pop();
        b.body.push(...join.body);
        b.term = last.e.k === 'const' ? { k: 'jump', to: last.e.v !== 0 ? yes : no } : { k: 'branch', e: last.e, yes, no, pos: last.pos };
        again = true;
      }
    }
  }
}

/** A branch on `x & y` or `x | y` of truth values becomes two branches: shorter than making the values. */
function splitConditions(g: Graph): void {
  for (let i = 0; i < g.blocks.length; i++) {
    const b = g.blocks[i] as Block;
    const t = b.term;
    // c ? x : constant
    if (t.k === 'branch' && t.e.k === 'select' && ((t.e.a as Node).k === 'const' || (t.e.b as Node).k === 'const')) {
      const constantFirst = (t.e.a as Node).k === 'const';
      const fixed = ((constantFirst ? t.e.a : t.e.b) as Node).v !== 0 ? t.yes : t.no;
      const other: Block = { id: -1, body: [], term: { k: 'branch', e: (constantFirst ? t.e.b : t.e.a) as Node, yes: t.yes, no: t.no, pos: t.pos }, loop: b.loop, isLoopHeader: false };
      b.term = constantFirst ? { k: 'branch', e: t.e.c as Node, yes: fixed, no: other, pos: t.pos } : { k: 'branch', e: t.e.c as Node, yes: other, no: fixed, pos: t.pos };
      g.blocks.splice(i + 1, 0, other);
      i--;
      continue;
    }
    if (t.k !== 'branch' || t.e.k !== 'op' || (t.e.op !== OP['i32.and'] && t.e.op !== OP['i32.or'])) continue;
    const x = t.e.a as Node, y = t.e.b as Node;
    if (!isBoolean(x) || !isBoolean(y)) continue;
    const second: Block = { id: -1, body: [], term: { k: 'branch', e: y, yes: t.yes, no: t.no, pos: t.pos }, loop: b.loop, isLoopHeader: false };
    b.term = t.e.op === OP['i32.and'] ? { k: 'branch', e: x, yes: second, no: t.no, pos: t.pos } : { k: 'branch', e: x, yes: t.yes, no: second, pos: t.pos };
    g.blocks.splice(i + 1, 0, second);
    i--; // x may be such a condition itself
  }
}

/** Copies a short, conditional loop header to the jumps that go back to it. */
function invertLoops(g: Graph): void {
  for (const h of g.blocks) {
    if (!h.isLoopHeader || h.term.k !== 'branch' || h.body.length > 4 || h.term.yes === h || h.term.no === h) continue;
    if (h.body.some((s) => s.k === 'call' || s.k === 'bulk')) continue;
    const size = h.body.reduce((n, s) => n + ('e' in s && s.e !== undefined ? s.e.depth : 0), h.term.e.depth);
    if (size > 12) continue;
    const at = g.blocks.indexOf(h);
    for (let i = at + 1; i < g.blocks.length; i++) {
      const b = g.blocks[i] as Block;
      if (b.term.k !== 'jump' || b.term.to !== h) continue;
      b.body.push(...h.body);
      b.term = { ...h.term };
    }
  }
}

/** Source order, except that blocks that end in a trap go to the end of the function. */
function layout(g: Graph, entry: Block): void {
  const cold = (b: Block): boolean => b !== entry && b.term.k === 'trap';
  g.blocks = [...g.blocks.filter((b) => !cold(b)), ...g.blocks.filter(cold)];
  if (g.blocks[0] !== entry) g.blocks = [entry, ...g.blocks.filter((b) => b !== entry)];
}
