/**
 * The high-level form of a function: a control-flow graph whose blocks hold statements over variables, and whose statements hold
 * expression trees. Built from wasm by wasm/trees.ts, consumed by select/.
 *
 * Invariant: an expression tree has no side effect (calls, stores and variable writes are statements), so it may be evaluated anywhere
 * between the last write to something it reads and the next one. Nodes are immutable and may be shared by copies of a block.
 */
import type { Signature } from './wasm/decode.ts';
import type { Type } from './wasm/opcodes.ts';

export type NodeKind = 'const' | 'get' | 'load' | 'gget' | 'op' | 'select';
export interface Node {
  readonly k: NodeKind;
  readonly t: Type;
  /** Wasm opcode (op, load). */
  readonly op: number;
  readonly a: Node | undefined;
  readonly b: Node | undefined;
  readonly c: Node | undefined;
  /** const: low word; get: variable; gget: global; load: offset. */
  readonly v: number;
  /** const: high word. */
  readonly hi: number;
  readonly pos: number;
  /** Bloom set of the variables read. */
  readonly vars: number;
  /** Reads memory or a mutable global. */
  readonly mem: boolean;
  readonly depth: number;
}
export type Statement =
  | { readonly k: 'set'; readonly v: number; readonly e: Node; readonly pos: number }
  | { readonly k: 'store'; readonly op: number; readonly a: Node; readonly off: number; readonly e: Node; readonly pos: number }
  | { readonly k: 'gset'; readonly g: number; readonly e: Node; readonly pos: number }
  | { readonly k: 'drop'; readonly e: Node; readonly pos: number }
  /** `target`: function index, or -1 = through the table at `e`. `result`: variable or -1. */
  | { readonly k: 'call'; readonly target: number; readonly e: Node | undefined; readonly args: readonly Node[]; readonly result: number; readonly sig: Signature; readonly pos: number }
  /** memory.copy, memory.fill; memory.grow (result in `result`), memory.size. */
  | { readonly k: 'bulk'; readonly what: 'copy' | 'fill' | 'grow' | 'size'; readonly args: readonly Node[]; readonly result: number; readonly pos: number };
export type Terminator =
  | { readonly k: 'jump'; to: Block }
  | { readonly k: 'branch'; readonly e: Node; yes: Block; no: Block; readonly pos: number }
  | { readonly k: 'switch'; readonly e: Node; to: Block[]; readonly pos: number }
  | { readonly k: 'return'; readonly e: Node | undefined; readonly pos: number }
  | { readonly k: 'trap'; readonly pos: number };
export interface Block { id: number; readonly body: Statement[]; term: Terminator; loop: number; isLoopHeader: boolean }
export interface Graph { readonly name: string; readonly sig: Signature; readonly vars: Type[]; blocks: Block[] }

export const successors = (b: Block): Block[] => (b.term.k === 'jump' ? [b.term.to] : b.term.k === 'branch' ? [b.term.yes, b.term.no] : b.term.k === 'switch' ? b.term.to : []);

export const constant = (t: Type, v: number, hi: number, pos: number): Node => ({ k: 'const', t, op: 0, a: undefined, b: undefined, c: undefined, v, hi, pos, vars: 0, mem: false, depth: 0 });
export const getVar = (t: Type, v: number, pos: number): Node => ({ k: 'get', t, op: 0, a: undefined, b: undefined, c: undefined, v, hi: 0, pos, vars: 1 << (v & 31), mem: false, depth: 0 });
export function node(k: NodeKind, t: Type, op: number, a: Node | undefined, b: Node | undefined, c: Node | undefined, v: number, pos: number, mem: boolean): Node {
  const da = a?.depth ?? 0, db = b?.depth ?? 0, dc = c?.depth ?? 0;
  return {
    k, t, op, a, b, c, v, hi: 0, pos,
    vars: (a?.vars ?? 0) | (b?.vars ?? 0) | (c?.vars ?? 0),
    mem: mem || (a?.mem ?? false) || (b?.mem ?? false) || (c?.mem ?? false),
    depth: 1 + Math.max(da, db, dc),
  };
}
export function reads(n: Node, v: number): boolean {
  if ((n.vars & (1 << (v & 31))) === 0) return false;
  if (n.k === 'get') return n.v === v;
  return (n.a !== undefined && reads(n.a, v)) || (n.b !== undefined && reads(n.b, v)) || (n.c !== undefined && reads(n.c, v));
}
/** Whether two trees certainly have the same value when evaluated at the same place. */
export function same(a: Node | undefined, b: Node | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined) return false;
  return a.k === b.k && a.t === b.t && a.op === b.op && a.v === b.v && a.hi === b.hi && same(a.a, b.a) && same(a.b, b.b) && same(a.c, b.c);
}
