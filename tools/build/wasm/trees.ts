/**
 * Function body -> statement graph (ir.ts). The wasm operand stack is kept symbolically: pushing builds a tree, and a tree stays on the
 * stack unevaluated until something it reads is about to change; then it is put into a fresh variable ("flushed"). Thus a load is
 * found next to its use and can become an operand of the instruction that uses it.
 */
import { BuildError } from '../errors.ts';
import { type Block, constant, getVar, type Graph, node, type Node, reads, type Statement, type Terminator } from '../ir.ts';
import { type FunctionBody, type Module, Reader, type Signature } from './decode.ts';
import { ACCESSES, OP, SHAPES, type Type } from './opcodes.ts';

interface Label { readonly kind: 'block' | 'loop' | 'if' | 'else' | 'function'; readonly target: Block; readonly after: Block; readonly resultVar: number; readonly resultType: Type | undefined; readonly height: number; elseBlock: Block | undefined }

/** Divisions and conversions to integers that trap: their result may be dropped, the trap may not. */
const TRAPPING: ReadonlySet<number> = new Set([...['div_s', 'div_u', 'rem_s', 'rem_u', 'trunc_f32_s', 'trunc_f32_u', 'trunc_f64_s', 'trunc_f64_u'].flatMap((n) => ['i32', 'i64'].map((t) => OP[`${t}.${n}`]))].filter((n) => n !== undefined));
const mayTrap = (n: Node): boolean => (n.k === 'op' && TRAPPING.has(n.op)) || [n.a, n.b, n.c].some((x) => x !== undefined && mayTrap(x));
const BLOCK_TYPES: Readonly<Record<number, Type>> = { 0x7f: 'i32', 0x7e: 'i64', 0x7d: 'f32', 0x7c: 'f64' };

export function buildGraph(m: Module, f: FunctionBody): Graph {
  return new TreeBuilder(m, f).run();
}

class TreeBuilder {
  private readonly m: Module;
  private readonly f: FunctionBody;
  private readonly r: Reader;
  private readonly graph: Graph;
  private readonly stack: Node[] = [];
  private readonly labels: Label[] = [];
  private block: Block;
  private loopDepth = 0;
  private pos = 0;
  /** After an unconditional branch: nesting of blocks to skip, or -1 when code is reachable. */
  private dead = -1;
  /** Variables assigned once, at the place that pushed them: reading them later gives the same value. */
  private readonly stable = new Set<number>();

  constructor(m: Module, f: FunctionBody) {
    this.m = m;
    this.f = f;
    this.r = new Reader(m.bytes, f.start);
    this.graph = { name: f.name, sig: f.signature, vars: [...f.locals], blocks: [] };
    this.block = this.newBlock();
  }

  private newBlock(): Block {
    return { id: -1, body: [], term: { k: 'trap', pos: 0 }, loop: this.loopDepth, isLoopHeader: false };
  }
  private newVar(t: Type): number {
    return this.graph.vars.push(t) - 1;
  }
  private fail(what: string): never {
    throw new BuildError(what, `${this.f.name}@${this.pos}`);
  }
  private push(n: Node): void {
    this.stack.push(n);
  }
  private pop(): Node {
    const n = this.stack.pop();
    if (n === undefined) this.fail('wasm operand stack underflow');
    return n;
  }
  private emit(s: Statement): void {
    this.block.body.push(s);
  }
  private assign(v: number, e: Node): void {
    if (e.k === 'get' && e.v === v) return;
    this.emit({ k: 'set', v, e, pos: this.pos });
  }

  private flush(test: (n: Node) => boolean): void {
    for (let i = 0; i < this.stack.length; i++) {
      const n = this.stack[i] as Node;
      if (n.k === 'const' || (n.k === 'get' && this.stable.has(n.v)) || !test(n)) continue;
      const v = this.newVar(n.t);
      this.stable.add(v);
      this.emit({ k: 'set', v, e: n, pos: n.pos });
      this.stack[i] = getVar(n.t, v, n.pos);
    }
  }
  private flushMemory(): void {
    this.flush((n) => n.mem);
  }
  private flushAll(): void {
    this.flush(() => true);
  }

  private end(t: Terminator, next: Block | undefined): void {
    this.block.term = t;
    this.graph.blocks.push(this.block);
    if (next === undefined) this.dead = 0;
    else this.block = next;
  }

  /** Leaves the value a branch carries in the label's variable; the operand stays on the stack. */
  private carry(l: Label): void {
    if (l.kind === 'loop' || l.resultType === undefined) return;
    const e = this.stack[this.stack.length - 1] as Node;
    this.stack.pop();
    this.flush((n) => reads(n, l.resultVar));
    this.assign(l.resultVar, e);
    this.push(e.k === 'const' ? e : getVar(e.t, l.resultVar, this.pos));
  }
  private labelAt(depth: number): Label {
    return this.labels[this.labels.length - 1 - depth] as Label;
  }

  run(): Graph {
    const result = this.f.signature.results[0];
    const exit = this.newBlock();
    const resultVar = result === undefined ? -1 : this.newVar(result);
    // Locals start as zero; the ones never read before written lose this in dead-code elimination.
    for (let v = this.f.signature.params.length; v < this.f.locals.length; v++) {
      const t = this.f.locals[v] as Type;
      this.emit({ k: 'set', v, e: constant(t, 0, 0, this.f.start), pos: this.f.start });
    }
    this.labels.push({ kind: 'function', target: exit, after: exit, resultVar, resultType: result, height: 0, elseBlock: undefined });
    while (this.r.at < this.f.end) {
      this.pos = this.r.at;
      if (this.dead >= 0) this.skip();
      else this.instruction(this.r.u8());
    }
    exit.term = { k: 'return', e: result === undefined ? undefined : getVar(result, resultVar, this.f.end - 1), pos: this.f.end - 1 };
    this.graph.blocks.push(exit);
    return this.graph;
  }

  /** Unreachable code: only its nesting matters. */
  private skip(): void {
    const op = this.r.u8();
    if (op === 0x02 || op === 0x03 || op === 0x04) {
      this.r.s32();
      this.dead++;
    } else if (op === 0x0b) {
      if (this.dead > 0) this.dead--;
      else this.endLabel(false);
    } else if (op === 0x05) {
      if (this.dead === 0) this.elseLabel(false);
    } else this.immediates(op);
  }
  private immediates(op: number): void {
    const r = this.r;
    if (op === 0x0e) for (let n = r.u32() + 1; n > 0; n--) r.u32();
    else if (op === 0x11) r.u32(), r.u32();
    else if (op === 0x0c || op === 0x0d || op === 0x10 || (op >= 0x20 && op <= 0x24)) r.u32();
    else if (op >= 0x28 && op <= 0x3e) r.u32(), r.u32();
    else if (op === 0x3f || op === 0x40) r.u8();
    else if (op === 0x41) r.s32();
    else if (op === 0x42) r.s64();
    else if (op === 0x43) r.at += 4;
    else if (op === 0x44) r.at += 8;
    else if (op === 0x1c) for (let n = r.u32(); n > 0; n--) r.u8();
    else if (op === 0xfc) {
      const sub = r.u32();
      if (sub === 10) r.at += 2;
      else if (sub === 11) r.at += 1;
      else if (sub > 7) this.fail(`wasm opcode 0xfc ${sub} is not supported`);
    } else if (op >= 0xfb) this.fail(`wasm opcode 0x${op.toString(16)} is not supported (SIMD, atomics, GC)`);
  }

  private blockType(): Type | undefined {
    const n = this.r.s32();
    if (n === -64) return undefined;
    const t = BLOCK_TYPES[n & 0x7f];
    if (n >= 0 || t === undefined) this.fail('a block with several values is not supported');
    return t;
  }

  private openLabel(kind: 'block' | 'loop' | 'if'): void {
    const t = this.blockType();
    const resultVar = t === undefined ? -1 : this.newVar(t);
    if (kind === 'block') {
      this.labels.push({ kind, target: this.newBlock(), after: undefined as unknown as Block, resultVar, resultType: t, height: this.stack.length, elseBlock: undefined });
      return;
    }
    if (kind === 'loop') {
      this.flushAll();
      const after = this.newBlock();
      this.loopDepth++;
      const header = this.newBlock();
      header.isLoopHeader = true;
      this.end({ k: 'jump', to: header }, header);
      this.labels.push({ kind, target: header, after, resultVar, resultType: t, height: this.stack.length, elseBlock: undefined });
      return;
    }
    const e = this.pop();
    this.flushAll();
    const yes = this.newBlock(), no = this.newBlock(), after = this.newBlock();
    this.end({ k: 'branch', e, yes, no, pos: this.pos }, yes);
    this.labels.push({ kind, target: after, after, resultVar, resultType: t, height: this.stack.length, elseBlock: no });
  }

  private elseLabel(reachable: boolean): void {
    const l = this.labels[this.labels.length - 1] as Label;
    if (reachable) {
      this.carry(l);
      this.end({ k: 'jump', to: l.target }, l.elseBlock);
    }
    this.dead = -1;
    this.block = l.elseBlock as Block;
    l.elseBlock = undefined;
    this.stack.length = l.height;
  }

  private endLabel(reachable: boolean): void {
    const l = this.labels.pop() as Label;
    if (l.kind === 'loop') {
      this.loopDepth--;
      if (!reachable) {
        this.dead = 0;
        this.stack.length = l.height;
        return; // nothing reaches the end of this loop: what follows is dead too
      }
      // Falling out of a loop: the value stays a tree on the stack.
      if (l.resultType !== undefined && this.stack.length > l.height) this.flushAll();
      this.end({ k: 'jump', to: l.after }, l.after);
      return;
    }
    if (reachable) {
      if (l.kind === 'function' || l.resultType !== undefined) this.carry(l);
      this.stack.length = l.height;
      this.flushAll();
      this.end({ k: 'jump', to: l.target }, l.target);
    }
    this.stack.length = l.height;
    if (l.kind === 'function') {
      this.dead = 0;
      return;
    }
    if (l.elseBlock !== undefined) { // `if` without else
      l.elseBlock.term = { k: 'jump', to: l.target };
      this.graph.blocks.push(l.elseBlock);
    }
    this.dead = -1;
    this.block = l.target;
    // What lay below the block on the stack was flushed when control first split; see `branchTo`.
    if (l.resultType !== undefined) this.push(getVar(l.resultType, l.resultVar, this.pos));
  }

  private branch(depth: number): void {
    const l = this.labelAt(depth);
    this.carry(l);
    this.end({ k: 'jump', to: l.target }, undefined);
  }

  private instruction(op: number): void {
    const r = this.r;
    switch (op) {
      case 0x00:
        return this.end({ k: 'trap', pos: this.pos }, undefined);
      case 0x01:
        return;
      case 0x02:
        // A branch may leave this block: everything below must have its value before.
        this.flushAll();
        return this.openLabel('block');
      case 0x03:
        return this.openLabel('loop');
      case 0x04:
        return this.openLabel('if');
      case 0x05:
        return this.elseLabel(true);
      case 0x0b:
        return this.endLabel(true);
      case 0x0c:
        return this.branch(r.u32());
      case 0x0d: {
        const depth = r.u32();
        const e = this.pop();
        const l = this.labelAt(depth);
        let c = e;
        if (l.kind !== 'loop' && l.resultType !== undefined && reads(e, l.resultVar)) {
          const v = this.newVar('i32');
          this.assign(v, e);
          c = getVar('i32', v, this.pos);
        }
        this.carry(l);
        this.flushAll();
        const next = this.newBlock();
        return this.end({ k: 'branch', e: c, yes: l.target, no: next, pos: this.pos }, next);
      }
      case 0x0e: {
        const depths: number[] = [];
        for (let n = r.u32() + 1; n > 0; n--) depths.push(r.u32());
        let e = this.pop();
        const carrying = [...new Set(depths.map((d) => this.labelAt(d)))].filter((l) => l.kind !== 'loop' && l.resultType !== undefined);
        if (carrying.length > 0) {
          // Every target gets the value: what is read behind a label was written on the way that leads there.
          const value = this.pop(), v = this.newVar(value.t), index = this.newVar('i32');
          this.assign(v, value);
          this.assign(index, e);
          for (const l of carrying) this.assign(l.resultVar, getVar(value.t, v, this.pos));
          e = getVar('i32', index, this.pos);
        }
        return this.end({ k: 'switch', e, to: depths.map((d) => this.labelAt(d).target), pos: this.pos }, undefined);
      }
      case 0x0f:
        return this.branch(this.labels.length - 1);
      case 0x10: {
        const target = r.u32();
        const sig = target < this.m.imports.length ? this.m.imports[target]?.signature : this.m.functions[target - this.m.imports.length]?.signature;
        return this.call(target, undefined, sig as Signature);
      }
      case 0x11: {
        const sig = this.m.types[r.u32()] as Signature;
        r.u32();
        return this.call(-1, this.pop(), sig);
      }
      case 0x1a: {
        const e = this.pop();
        if (e.mem || mayTrap(e)) this.emit({ k: 'drop', e, pos: this.pos });
        return;
      }
      case 0x1c:
        for (let n = r.u32(); n > 0; n--) r.u8();
      // falls through
      case 0x1b: {
        const c = this.pop(), b = this.pop(), a = this.pop();
        return this.push(node('select', a.t, 0, a, b, c, 0, this.pos, false));
      }
      case 0x20: {
        const v = r.u32();
        return this.push(getVar(this.f.locals[v] as Type, v, this.pos));
      }
      case 0x21:
      case 0x22: {
        const v = r.u32(), e = this.pop();
        this.flush((n) => reads(n, v));
        this.assign(v, e);
        if (op === 0x22) this.push(e.k === 'const' ? e : getVar(e.t, v, this.pos));
        return;
      }
      case 0x23: {
        const g = r.u32(), d = this.m.globals[g];
        if (d === undefined) this.fail(`global ${g} does not exist`);
        return this.push(d.mutable ? node('gget', d.type, 0, undefined, undefined, undefined, g, this.pos, true) : constant(d.type, d.low, d.high, this.pos));
      }
      case 0x24: {
        const g = r.u32(), e = this.pop();
        this.flushMemory();
        return this.emit({ k: 'gset', g, e, pos: this.pos });
      }
      case 0x3f:
        r.u8();
        return this.bulk('size', 0);
      case 0x40:
        r.u8();
        return this.bulk('grow', 1);
      case 0x41:
        return this.push(constant('i32', r.s32(), 0, this.pos));
      case 0x42: {
        const v = r.s64();
        return this.push(constant('i64', Number(BigInt.asIntN(32, v)), Number(BigInt.asIntN(32, v >> 32n)), this.pos));
      }
      case 0x43:
        r.at += 4;
        return this.push(constant('f32', r.view.getInt32(r.at - 4, true), 0, this.pos));
      case 0x44:
        r.at += 8;
        return this.push(constant('f64', r.view.getInt32(r.at - 8, true), r.view.getInt32(r.at - 4, true), this.pos));
      case 0xfc: {
        const sub = r.u32();
        if (sub === 10) return (r.at += 2), this.bulk('copy', 3);
        if (sub === 11) return (r.at += 1), this.bulk('fill', 3);
        return this.operator(0xfc00 + sub);
      }
      default:
        return this.operator(op);
    }
  }

  private operator(op: number): void {
    const access = ACCESSES.get(op);
    if (access !== undefined) {
      this.r.u32();
      const off = this.r.u32() | 0;
      if (!access.store) {
        const a = this.pop();
        return this.push(node('load', access.type, op, a, undefined, undefined, off, this.pos, true));
      }
      const e = this.pop(), a = this.pop();
      this.flushMemory();
      return this.emit({ k: 'store', op, a, off, e, pos: this.pos });
    }
    const s = SHAPES.get(op);
    if (s === undefined) this.fail(`wasm opcode 0x${op.toString(16)} is not supported (SIMD, atomics, GC)`);
    const b = s.operands.length === 2 ? this.pop() : undefined;
    const a = this.pop();
    if (a.k === 'const' && a.t === 'i32' && op === OP['i32.eqz']) return this.push(constant('i32', a.v === 0 ? 1 : 0, 0, this.pos));
    const n = node('op', s.result, op, a, b, undefined, 0, this.pos, false);
    this.push(n);
    // Very deep trees would need more registers than there are: cut them.
    if (n.depth > 12) {
      const v = this.newVar(n.t);
      this.stack.pop();
      this.assign(v, n);
      this.push(getVar(n.t, v, this.pos));
    }
  }

  private call(target: number, e: Node | undefined, sig: Signature): void {
    const args: Node[] = [];
    for (let i = 0; i < sig.params.length; i++) args.unshift(this.pop());
    this.flushMemory();
    const t = sig.results[0];
    const result = t === undefined ? -1 : this.newVar(t);
    this.stable.add(result);
    this.emit({ k: 'call', target, e, args, result, sig, pos: this.pos });
    if (t !== undefined) this.push(getVar(t, result, this.pos));
  }
  private bulk(what: 'copy' | 'fill' | 'grow' | 'size', n: number): void {
    const args: Node[] = [];
    for (let i = 0; i < n; i++) args.unshift(this.pop());
    this.flushMemory();
    const result = what === 'grow' || what === 'size' ? this.newVar('i32') : -1;
    this.emit({ k: 'bulk', what, args, result, pos: this.pos });
    if (result >= 0) this.push(getVar('i32', result, this.pos));
  }
}
