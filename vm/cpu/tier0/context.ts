/**
 * Tier 0's binding of the lowering context: operands are fields of the record at `pc`, registers live in the state block.
 * The same class serves the cases inside the big function and the functions of rare forms; they differ only in how they leave.
 */
import { Cx, type SlowCalls } from '../lower/context.ts';
import { S } from '../state.ts';
import * as w from '../wasm.ts';
import type { Fn, N } from '../wasm.ts';
import type { Form } from './forms.ts';
import { KIND, R, RARE, RECORD_BYTES } from './record.ts';

/** How generated code leaves: the big function branches, a rare function returns. */
export interface Exits {
  readonly cpu: N;
  readonly pc: N;
  readonly blockEip: N;
  readonly tlbRead: () => N;
  readonly tlbWrite: () => N;
  fault(condition?: N): void;
  /** Continue at an EIP that is not linked. */
  goto(eip: N): void;
  /** Continue at block EIP + imm of the jump record at `record`, through its link field at `linkAt`. */
  follow?(record: N, eipDelta: N, linkAt: number): void;
}

export class Tier0Cx extends Cx {
  readonly exits: Exits;
  form!: Form;
  /** Offset of the jump record relative to pc: RECORD_BYTES in the second half of a fused pair. */
  private jumpAt = 0;
  /** Record offsets of register operands, by operand. */
  private slots: number[] = [];

  constructor(fn: Fn, exits: Exits, slow: SlowCalls, parallel: boolean) { super(fn, exits.cpu, slow, parallel); this.exits = exits; }

  begin(form: Form): void {
    this.form = form;
    this.name = form.name;
    this.size = form.size;
    this.operandSize = form.operandSize;
    this.needFlags = form.needFlags;
    this.lock = form.lock;
    this.pending = null;
    this.fpuUsable = false;
    this.jumpAt = 0;
    this.bitStringOffset = null;
    const registers = [R.reg0, R.reg1, R.index];
    let next = 0;
    this.slots = form.classes.map(c => c === 'R' || c === 'V' || c === 'P' || c === 'T' ? registers[next++] : 0);
  }
  /** Prepares for the conditional jump fused behind the current instruction. */
  beginFusedJump(): void { this.jumpAt = RECORD_BYTES; this.form = { ...this.form, classes: ['J'], sizes: [32] }; }

  operandClass(i: number): string { return this.form.classes[i]; }
  operandSizeOf(i: number): number { return this.form.sizes[i]; }
  operandCount(): number { return this.form.classes.length; }
  private field(offset: number): N { return w.load(this.exits.pc, offset); }

  readRegister(i: number): N {
    const address = this.field(this.slots[i]);
    const size = this.form.sizes[i];
    return size === 8 ? w.load8u(address) : size === 16 ? w.load16u(address) : w.load(address);
  }
  writeRegister(i: number, value: N): void {
    const address = this.field(this.slots[i]);
    const size = this.form.sizes[i];
    if (size === 8) this.fn.store8(address, value); else if (size === 16) this.fn.store16(address, value); else this.fn.store(address, value);
  }
  override writeFull(i: number, value: N): void {
    if (this.form.operandSize === 32) this.fn.store(this.field(this.slots[i]), value); else this.writeRegister(i, value);
  }
  getReg(reg: number, size: number): N {
    if (size === 8) return w.load8u(this.cpu, (reg & 3) * 4 + (reg >> 2));
    return size === 16 ? w.load16u(this.cpu, reg * 4) : w.load(this.cpu, reg * 4);
  }
  setReg(reg: number, size: number, value: N): void {
    if (size === 8) this.fn.store8(this.cpu, value, (reg & 3) * 4 + (reg >> 2));
    else if (size === 16) this.fn.store16(this.cpu, value, reg * 4); else this.fn.store(this.cpu, value, reg * 4);
  }
  xmmAddress(i: number): N { return this.field(this.slots[i]); }
  mmxAddress(i: number): N { return this.field(this.slots[i]); }
  stackIndex(i: number): N { return this.field(this.slots[i]); }
  fpuOpcode(): N { return this.field(R.imm); }
  instructionEip(): N { return w.add(this.exits.blockEip, w.load16u(this.exits.pc, R.delta)); }
  operandSelector(): N { return w.load(w.add(this.cpu, w.shl(w.and(w.load8u(this.exits.pc, R.seg), w.k(7)), w.k(4))), S.seg); }
  imm(): N { return this.field(R.imm); }

  effective(i: number): N {
    const disp = this.bitStringOffset ? w.add(this.field(R.disp), this.bitStringOffset) : this.field(R.disp);
    const base = w.add(w.load(this.field(R.base)), disp);
    if (this.form.classes[i] === 'B') return base;
    const full = w.add(base, w.shl(w.load(this.field(R.index)), w.load8u(this.exits.pc, R.scale)));
    if (this.form.classes[i] === 'X') return full;
    return w.and(full, w.select(w.k(0xffff), w.k(-1), w.and(w.load8u(this.exits.pc, R.seg), w.k(0x80))));
  }
  linear(i: number, bytes: number, write: boolean): N {
    if (this.form.classes[i] !== 'M') return this.effective(i);
    return this.segmented(this.segmentField(), this.let(this.effective(i)), bytes, write);
  }
  /** State offset of the record's segment register. */
  private segmentField(): N { return w.add(w.shl(w.and(w.load8u(this.exits.pc, R.seg), w.k(7)), w.k(4)), w.k(S.seg)); }
  implicitSegment(): N | null { return this.form.segmented ? this.segmentField() : null; }

  tlbRead(): N { return this.exits.tlbRead(); }
  tlbWrite(): N { return this.exits.tlbWrite(); }
  where(): [N, N] { return [this.exits.pc, this.exits.blockEip]; }
  faultIf(condition?: N): void { this.exits.fault(condition); }
  nextEip(): N { return w.add(w.add(this.exits.blockEip, w.load16u(this.exits.pc, R.delta)), w.load8u(this.exits.pc, R.len)); }
  flatStack(): boolean { return !this.form.slowStack; }
  address16(): boolean { return this.form.addr16; }
  repeat(): 0 | 2 | 3 { return this.form.repeat; }
  settleFlags(): void { /* flags are always stored in tier 0 */ }

  private targetEip(delta: N): N {
    const eip = w.add(this.exits.blockEip, delta);
    return this.form.operandSize === 16 ? w.and(eip, w.k(0xffff)) : eip;
  }
  jump(): void {
    if (this.exits.follow && this.form.operandSize === 32) this.exits.follow(this.exits.pc, this.field(R.imm), R.link);
    else this.exits.goto(this.targetEip(this.field(R.imm)));
  }
  branch(condition: N): void {
    const { pc } = this.exits, at = this.jumpAt;
    const next = (): N => w.add(w.load16u(pc, at + R.delta), w.load8u(pc, at + R.len));
    this.fn.if(condition, () => {
      if (this.exits.follow && this.form.operandSize === 32) this.exits.follow(pc, w.load(pc, at + R.imm), at + R.link);
      else this.exits.goto(this.targetEip(w.load(pc, at + R.imm)));
    });
    if (this.exits.follow) this.exits.follow(pc, next(), at + R.disp); else this.exits.goto(this.targetEip(next()));
  }
  jumpTo(eip: N): void { this.exits.goto(eip); }
  override died(): N { return w.eq(w.load16u(this.exits.pc, R.kind), w.k(KIND.LEAVE)); }
  restart(): void { this.exits.goto(w.add(this.exits.blockEip, w.load16u(this.exits.pc, R.delta))); }
}

/** Exits of a rare function (cpu, pc, blockEip) -> RARE.*. */
export function rareExits(fn: Fn): Exits {
  const cpu = w.local(0);
  return {
    cpu, pc: w.local(1), blockEip: w.local(2),
    tlbRead: () => w.load(cpu, S.tlbRead), tlbWrite: () => w.load(cpu, S.tlbWrite),
    fault(condition) {
      if (condition) fn.if(condition, () => fn.ret(w.k(RARE.FAULT)), undefined, 0); else fn.ret(w.k(RARE.FAULT));
    },
    goto(eip) { fn.store(cpu, eip, S.eip); fn.ret(w.k(RARE.JUMP)); },
  };
}
