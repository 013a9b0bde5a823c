/**
 * Allocated machine instructions -> bytes: peephole improvements, frame layout, block order, branches, jump tables and the line map.
 *
 * Frame, from high to low addresses:  stack arguments | return address | saved EBP EDI ESI EBX (those used) | spill slots | outgoing arguments <- ESP
 */
import { BuildError } from './errors.ts';
import { EAX, ECX, ESP, type Ins, M, type MBlock, type MFunction, type Op, R, readsFlags } from './mir.ts';
import { NO_FLAGS } from './regalloc/liveness.ts';
import { CodeBuffer, type Finished, type Place } from './x86/encode.ts';
import type { Mem, Operand, Reg, RegClass } from './x86/operands.ts';

export interface LineEntry { readonly offset: number; readonly pos: number }
export interface FunctionCode {
  readonly name: string;
  readonly code: Finished;
  readonly lines: readonly LineEntry[];
  readonly tables: readonly { symbol: string; offsets: readonly number[] }[];
  /** Bytes between ESP in the body and the return address. */
  readonly frame: number;
  readonly saved: readonly number[];
  /** [offset, distance from ESP to the return address] wherever it changes. */
  readonly depths: readonly (readonly [number, number])[];
  readonly instructions: number;
}

const reg = (cls: RegClass, num: number): Reg => ({ kind: 'reg', cls, num });
const bySize = (size: number): RegClass => (size === 1 ? 'r8' : size === 2 ? 'r16' : 'r32');

export function emitFunction(f: MFunction, saved: readonly number[]): FunctionCode {
  return new Emitter(f, saved).run();
}

class Emitter {
  private readonly f: MFunction;
  private readonly saved: readonly number[];
  private readonly local: number;
  private readonly frame: number;
  private readonly buf: CodeBuffer;
  private readonly lines: { place: Place; pos: number }[] = [];
  private readonly depths: { place: Place; depth: number }[] = [];
  private count = 0;

  constructor(f: MFunction, saved: readonly number[]) {
    this.f = f;
    this.saved = saved;
    this.local = f.outgoing + f.slots * 4;
    this.frame = this.local + saved.length * 4;
    this.buf = new CodeBuffer(f.name);
  }

  run(): FunctionCode {
    const { f, buf } = this;
    this.thread();
    f.blocks.forEach((b, i) => (b.id = i));
    for (const b of f.blocks) peephole(b);
    const depth = (d: number): void => void this.depths.push({ place: buf.here(), depth: d });
    const sp = reg('r32', ESP);
    let d = 0;
    depth(0);
    this.lines.push({ place: buf.here(), pos: f.blocks[0]?.ins[0]?.pos ?? 0 });
    for (const r of this.saved) {
      buf.ins('push', [reg('r32', r)]);
      depth((d += 4));
      this.count++;
    }
    if (this.local > 0) {
      buf.ins('sub', [sp, { kind: 'imm', value: this.local }]);
      depth(this.frame);
      this.count++;
    }
    const epilogue = (): void => {
      let e = this.frame;
      if (this.local > 0) {
        buf.ins('add', [sp, { kind: 'imm', value: this.local }]);
        depth((e -= this.local));
        this.count++;
      }
      for (const r of [...this.saved].reverse()) {
        buf.ins('pop', [reg('r32', r)]);
        depth((e -= 4));
        this.count++;
      }
      buf.ins('ret', []);
      this.count++;
      if (this.frame > 0) depth(this.frame);
    };
    let pos = -1;
    f.blocks.forEach((b, i) => {
      const following = f.blocks[i + 1];
      buf.label(`.b${b.id}`);
      for (const x of b.ins) {
        if (x.pos !== pos && x.pos > 0) {
          pos = x.pos;
          this.lines.push({ place: buf.here(), pos });
        }
        if (x.op === 'ret') epilogue();
        else {
          this.instruction(x);
          this.count++;
        }
      }
      const jumps = b.jumps;
      const last = jumps[jumps.length - 1];
      jumps.forEach((j, k) => {
        this.count++;
        if (j === last && j.to === following && b.next !== undefined && b.next !== following) buf.jcc(j.cc ^ 1, `.b${b.next.id}`);
        else if (j === last && j.to === b.next) this.count--;
        else buf.jcc(j.cc, `.b${j.to.id}`);
        void k;
      });
      if (b.next !== undefined && b.next !== following && !(last !== undefined && last.to === following && last.to !== b.next)) {
        buf.jmp(`.b${b.next.id}`);
        this.count++;
      }
    });
    const code = buf.finish();
    const offset = (b: MBlock): number => code.labels.get(`.b${b.id}`) as number;
    return {
      name: f.name,
      code,
      lines: this.lines.map((l) => ({ offset: code.place(l.place), pos: l.pos })),
      tables: f.tables.map((t) => ({ symbol: t.symbol, offsets: t.targets.map(offset) })),
      frame: this.frame,
      saved: this.saved,
      depths: this.depths.map((x) => [code.place(x.place), x.depth] as const),
      instructions: this.count,
    };
  }

  /** Jumps through empty blocks go to the end of the chain; blocks nobody reaches any more disappear. */
  private thread(): void {
    const { f } = this;
    const end = (b: MBlock): MBlock => {
      for (let n = 0; n < 64 && b.ins.length === 0 && b.jumps.length === 0 && b.next !== undefined && b.next !== b; n++) b = b.next;
      return b;
    };
    for (const b of f.blocks) {
      for (const j of b.jumps) j.to = end(j.to);
      if (b.next !== undefined) b.next = end(b.next);
      if (b.table !== undefined) b.table = b.table.map(end);
    }
    for (const t of f.tables) for (let i = 0; i < t.targets.length; i++) t.targets[i] = end(t.targets[i] as MBlock);
    const seen = new Set<MBlock>();
    const work = [f.blocks[0] as MBlock];
    for (let b = work.pop(); b !== undefined; b = work.pop()) {
      if (seen.has(b)) continue;
      seen.add(b);
      for (const j of b.jumps) work.push(j.to);
      if (b.next !== undefined) work.push(b.next);
      if (b.table !== undefined) work.push(...b.table);
    }
    f.blocks = f.blocks.filter((b) => seen.has(b));
    this.straighten();
  }

  /** Puts a block behind the one that jumps to it when nothing falls into it where it stands: one jump less, hottest first. */
  private straighten(): void {
    const { f } = this;
    const falls = (a: MBlock | undefined, b: MBlock): boolean => a !== undefined && (a.next === b || (a.jumps.length > 0 && a.jumps[a.jumps.length - 1]?.to === b));
    for (const b of [...f.blocks].sort((x, y) => y.loop - x.loop)) {
      const to = b.next;
      if (to === undefined || to.next === undefined && to.ins[to.ins.length - 1]?.op === 'ud2') continue;
      const at = f.blocks.indexOf(b), from = f.blocks.indexOf(to);
      if (from === at + 1 || from === 0 || falls(f.blocks[from - 1], to)) continue;
      if (at + 1 < f.blocks.length && falls(b, f.blocks[at + 1] as MBlock)) continue;
      let end = from + 1;
      while (end < f.blocks.length && falls(f.blocks[end - 1], f.blocks[end] as MBlock)) end++;
      if (at >= from && at < end) continue;
      const moved = f.blocks.splice(from, end - from);
      f.blocks.splice(f.blocks.indexOf(b) + 1, 0, ...moved);
    }
  }

  private mem(o: Op & { k: 'm' }, size: number): Mem {
    const sym = o.sym === undefined ? {} : { sym: { name: o.sym } };
    if (o.slot >= 0) return { kind: 'mem', size, base: ESP, index: -1, scale: 1, disp: this.f.outgoing + o.slot * 4 + o.disp };
    if (o.slot === -2) return { kind: 'mem', size, base: ESP, index: -1, scale: 1, disp: this.frame + 4 + o.disp };
    if (o.index === ESP) return { kind: 'mem', size, base: ESP, index: o.base, scale: 1, disp: o.disp, ...sym };
    return { kind: 'mem', size, base: o.base, index: o.index, scale: o.scale, disp: o.disp, ...sym };
  }
  private operand(o: Op, cls: RegClass, size: number): Operand {
    if (o.k === 'r') return o.r >= 8 ? reg('xmm', o.r - 8) : reg(cls, o.r);
    if (o.k === 'i') return o.sym === undefined ? { kind: 'imm', value: o.v } : { kind: 'imm', value: o.v, sym: { name: o.sym } };
    return this.mem(o, size);
  }

  private instruction(x: Ins): void {
    const { buf } = this;
    const { ops, size } = x;
    const at = (k: number, s = size): Operand => this.operand(ops[k] as Op, bySize(s), s);
    let { op } = x;
    if (op.startsWith('lock_')) {
      buf.u8(0xf0);
      op = op.slice(5);
    }
    switch (op) {
      case 'call': {
        const t = ops[0];
        if (t?.k !== 'i' || t.sym === undefined) throw new BuildError('internal: call without a symbol', this.f.name);
        buf.u8(0xe8);
        return buf.reloc('rel32', { name: t.sym }, -4);
      }
      case 'icall': return buf.ins('call', [at(0)]);
      case 'jmptable': return buf.ins('jmp', [at(0)]);
      case 'movzx':
      case 'movsx': return buf.ins(op, [at(0, 4), at(1)]);
      case 'shl': case 'shr': case 'sar': case 'rol': case 'ror':
        return buf.ins(op, [at(0), ops[1]?.k === 'r' ? reg('r8', ECX) : at(1)]);
      case 'shld':
      case 'shrd': return buf.ins(op, [at(0), at(1), ops[2]?.k === 'r' ? reg('r8', ECX) : at(2)]);
      case 'lea': return buf.ins('lea', [at(0), this.operand(ops[1] as Op, 'r32', 0)]);
      case 'test':
        if (ops[1]?.k === 'm') return buf.ins('test', [at(1), at(0)]);
        if (ops[0]?.k === 'r' && ops[0].r < 4 && ops[1]?.k === 'i' && ops[1].sym === undefined && ops[1].v >= 0 && ops[1].v < 128) return buf.ins('test', [at(0, 1), at(1)]);
        return buf.ins('test', [at(0), at(1)]);
      case 'in': return buf.ins('in', [reg(bySize(size), EAX), reg('r16', 2)]);
      case 'out': return buf.ins('out', [reg('r16', 2), reg(bySize(size), EAX)]);
      case 'movfromcr': return buf.ins('mov', [at(0), reg('cr', (ops[1] as { v: number }).v)]);
      case 'movtocr': return buf.ins('mov', [reg('cr', (ops[0] as { v: number }).v), at(1)]);
      case 'movfromdr': return buf.ins('mov', [at(0), reg('dr', (ops[1] as { v: number }).v)]);
      case 'movtodr': return buf.ins('mov', [reg('dr', (ops[0] as { v: number }).v), at(1)]);
      case 'ltr': case 'lldt': return buf.ins(op, [at(0, 2)]);
      case 'rep_movsb': case 'rep_movsd': case 'rep_stosb': case 'rep_stosd':
        buf.u8(0xf3);
        return buf.u8({ rep_movsb: 0xa4, rep_movsd: 0xa5, rep_stosb: 0xaa, rep_stosd: 0xab }[op]);
      default:
        if (op.startsWith('set')) return buf.ins(op, [at(0, 1)]);
        return buf.ins(op, ops.map((o) => this.operand(o, bySize(size === 8 || size === 16 ? 4 : size), size)));
    }
  }
}

/** Local improvements after allocation. Flags are tracked backwards: a replacement that destroys them needs them dead. */
function peephole(b: MBlock): void {
  const dead = new Array<boolean>(b.ins.length); // flags are dead after instruction k
  let needed = b.jumps.length > 0;
  for (let k = b.ins.length - 1; k >= 0; k--) {
    const x = b.ins[k] as Ins;
    dead[k] = !needed;
    const writes = !NO_FLAGS.has(x.op) && !x.op.startsWith('set') && !x.op.startsWith('cmov') && !/^(shl|shr|sar|rol|ror|shld|shrd|rep_)/.test(x.op);
    if (writes) needed = false;
    if (readsFlags(x)) needed = true;
  }
  const out: Ins[] = [];
  for (let k = 0; k < b.ins.length; k++) {
    const x = b.ins[k] as Ins;
    const next = b.ins[k + 1];
    const a = x.ops[0], c = x.ops[1];
    if (x.op === 'mov' && x.size === 4 && a?.k === 'r') {
      if (c?.k === 'i' && c.v === 0 && c.sym === undefined && dead[k] === true) {
        out.push({ ...x, op: 'xor', ops: [a, a] });
        continue;
      }
      // mov d, x; add d, y  ->  lea d, [x + y]
      if (c?.k === 'r' && next !== undefined && next.size === 4 && dead[k + 1] === true && next.ops[0]?.k === 'r' && next.ops[0].r === a.r) {
        const y = next.ops[1];
        let m: Op | undefined;
        if (next.op === 'add' && y?.k === 'i') m = M(c.r, y.v, y.sym);
        else if (next.op === 'sub' && y?.k === 'i' && y.sym === undefined) m = M(c.r, -y.v);
        else if (next.op === 'add' && y?.k === 'r' && y.r !== a.r && y.r !== ESP) m = M(c.r, 0, undefined, y.r, 1);
        else if (next.op === 'inc' || next.op === 'dec') m = M(c.r, next.op === 'inc' ? 1 : -1);
        else if (next.op === 'shl' && y?.k === 'i' && y.v === 1) m = M(c.r, 0, undefined, c.r, 1);
        if (m !== undefined) {
          out.push({ ...next, op: 'lea', ops: [a, m] });
          k++;
          continue;
        }
      }
    }
    if (x.op === 'lea' && a?.k === 'r' && c?.k === 'm' && c.slot === -1 && c.sym === undefined) {
      if (c.index < 0 && c.base === a.r && dead[k] === true) {
        if (c.disp === 0) continue;
        out.push(c.disp === 1 || c.disp === -1 ? { ...x, op: c.disp === 1 ? 'inc' : 'dec', ops: [a] } : { ...x, op: 'add', ops: [a, { k: 'i', v: c.disp, sym: undefined }] });
        continue;
      }
      if (c.index < 0 && c.disp === 0 && c.base >= 0) {
        out.push({ ...x, op: 'mov', ops: [a, R(c.base)] });
        continue;
      }
      if (c.base >= 0 && c.index >= 0 && c.scale === 1 && c.disp === 0 && dead[k] === true && (c.base === a.r || c.index === a.r)) {
        out.push({ ...x, op: 'add', ops: [a, R(c.base === a.r ? c.index : c.base)] });
        continue;
      }
    }
    if ((x.op === 'add' || x.op === 'sub') && c?.k === 'i' && c.sym === undefined && dead[k] === true) {
      if (c.v === 0) continue;
      if (c.v === 1 || c.v === -1) {
        out.push({ ...x, op: (x.op === 'add') === (c.v === 1) ? 'inc' : 'dec', ops: [a as Op] });
        continue;
      }
    }
    if (x.op === 'test' && x.size === 4 && a?.k === 'r' && c?.k === 'r' && a.r === c.r && setBefore(out, a.r, k === b.ins.length - 1 && b.jumps.every((j) => j.cc === 4 || j.cc === 5))) continue;
    out.push(x);
  }
  b.ins = out;
}

/** Whether the flags already describe register r: the last instruction that writes flags computed it. `zeroOnly`: only ZF will be read. */
function setBefore(out: readonly Ins[], r: number, zeroOnly: boolean): boolean {
  for (let i = out.length - 1; i >= 0; i--) {
    const x = out[i] as Ins;
    const target = x.ops[0];
    const writes = target?.k === 'r' && target.r === r;
    if (/^(and|or|xor)$/.test(x.op) || (zeroOnly && /^(add|sub|inc|dec|neg)$/.test(x.op))) return writes && x.size === 4;
    if (!/^(mov|movzx|movsx|lea)$/.test(x.op) || writes) return false;
  }
  return false;
}
