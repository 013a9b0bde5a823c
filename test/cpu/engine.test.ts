/** The engine on small byte programs: integer code, exceptions, rings, REP, self-modifying code, interrupts, exact budgets. */
import { describe, expect, test } from 'vitest';
import { Bench } from '../../vm/cpu/testdriver.ts';
import { ATTN, CR0, CR4, RUN, S, VEC } from '../../vm/cpu/state.ts';

const CODE = 0x1000;
function bench(code: number[], registers: Parameters<Bench['registers']>[0] = {}): Bench {
  const b = new Bench();
  b.load(CODE, code);
  b.registers({ eip: CODE, esp: 0x9000, ...registers });
  return b;
}

describe('integer instructions', () => {
  test('add sets the carry and the zero flag when the sum wraps to zero', () => {
    const b = bench([0x01, 0xd8], { eax: -1, ebx: 1 }); // add eax, ebx
    expect(b.run(1)).toBe('budget');
    expect(b.read().eax).toBe(0);
    expect(b.read().eflags & 0x8d5).toBe(0x55);
  });
  test('flags that a later instruction overwrites are still exact at every budget', () => {
    const code = [0x01, 0xd8, 0x29, 0xc3, 0x40, 0x39, 0xd8, 0x75, 0x00]; // add, sub, inc, cmp, jnz
    const whole: number[] = [];
    for (let n = 1; n <= 5; n++) {
      const once = bench(code, { eax: 0x7fffffff, ebx: 1 });
      once.run(n);
      const steps = bench(code, { eax: 0x7fffffff, ebx: 1 });
      for (let i = 0; i < n; i++) steps.run(1);
      expect(once.read()).toEqual(steps.read());
      whole.push(once.read().eflags);
    }
    expect(new Set(whole).size).toBeGreaterThan(2);
  });
});

describe('budget', () => {
  test('run retires exactly its budget in the middle of blocks and loops', () => {
    const b = bench([0x40, 0x43, 0x49, 0x75, 0xfb, 0xf4], { ecx: 1000 }); // inc eax, inc ebx, dec ecx, jnz, hlt
    for (const n of [1, 2, 3, 5, 7, 11, 100]) { const before = b.engine.retired; b.run(n); expect(b.engine.retired - before).toBe(n); }
    expect(b.run(100000)).toBe('halt');
    expect(b.engine.retired).toBe(4001);
  });
  test('every REP iteration counts one, and the registers are architectural when the budget ends inside', () => {
    const b = bench([0xf3, 0xa4, 0xf4], { ecx: 100, esi: 0x3000, edi: 0x4000 }); // rep movsb
    b.board.ram.set(Array.from({ length: 100 }, (_, i) => i + 1), 0x3000);
    b.run(37);
    expect([b.read().ecx, b.read().esi, b.read().edi, b.read().eip]).toEqual([63, 0x3025, 0x4025, CODE]);
    b.run(63);
    expect([b.read().ecx, b.read().eip]).toEqual([0, CODE + 2]);
    expect([...b.peek(0x4000, 100)]).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
  });
  test('a faulting instruction does not count', () => {
    const b = bench([0x40, 0x0f, 0x0b]); // inc eax; ud2
    expect(b.run(100)).toBe('halt');
    expect(b.fault).toMatchObject({ vector: VEC.UD, eip: CODE + 1 });
    expect(b.engine.retired).toBe(2); // inc and the HLT of the handler
  });
});

/** Identity map of the first 4 MiB with 4 KiB pages at 10000h/11000h; returns the table's address. */
function paged(b: Bench): number {
  b.poke32(0x10000, 0x11007);
  for (let i = 0; i < 1024; i++) b.poke32(0x11000 + i * 4, i << 12 | 7);
  b.words[S.cr3 >> 2] = 0x10000;
  b.words[S.cr0 >> 2] |= CR0.PG | CR0.WP;
  b.engine.stateChanged();
  return 0x11000;
}

describe('paging', () => {
  test('a store that crosses into a missing page writes nothing and reports the second page', () => {
    const b = bench([0xa3, 0xfe, 0x5f, 0, 0], { eax: 0x11223344 }); // mov [5ffeh], eax
    const table = paged(b);
    b.poke32(table + 6 * 4, 0);
    b.run(10);
    expect(b.fault).toMatchObject({ vector: VEC.PF, error: 2, eip: CODE });
    expect(b.words[S.cr2 >> 2]).toBe(0x6000);
    expect(b.peek32(0x5ffc)).toBe(0);
  });
  test('REP STOS stops at the faulting page with the registers of the completed iterations', () => {
    const b = bench([0xf3, 0xab], { ecx: 2048, edi: 0x5000, eax: 7 });
    const table = paged(b);
    b.poke32(table + 6 * 4, 0x6005);
    b.run(5000);
    expect(b.fault).toMatchObject({ vector: VEC.PF, error: 3, eip: CODE });
    expect([b.read().ecx, b.read().edi]).toEqual([1024, 0x6000]);
  });
  test('a page table edited through its mapping takes effect after INVLPG in a retained view', () => {
    // mov eax,[5000h]; mov dword [11014h],7007h; invlpg [5000h]; mov ebx,[5000h]; hlt
    const b = bench([0xa1, 0, 0x50, 0, 0, 0xc7, 0x05, 0x14, 0x10, 0x01, 0, 0x07, 0x70, 0, 0, 0x0f, 0x01, 0x3d, 0, 0x50, 0, 0, 0x8b, 0x1d, 0, 0x50, 0, 0, 0xf4]);
    paged(b);
    b.poke32(0x5000, 5); b.poke32(0x7000, 7);
    expect(b.run(10)).toBe('halt');
    expect([b.read().eax, b.read().ebx]).toEqual([5, 7]);
  });
  test('a CR3 reload sees every page-table change since the view was left', () => {
    // loop: mov cr3,ebx; mov eax,[5000h]; mov cr3,ecx; mov edx,[5000h]; hlt
    const b = bench([0x0f, 0x22, 0xdb, 0xa1, 0, 0x50, 0, 0, 0x0f, 0x22, 0xd9, 0x8b, 0x15, 0, 0x50, 0, 0, 0xf4], { ebx: 0x12000, ecx: 0x10000 });
    paged(b);
    b.poke32(0x12000, 0x13007);
    for (let i = 0; i < 1024; i++) b.poke32(0x13000 + i * 4, i << 12 | 7);
    b.poke32(0x13000 + 5 * 4, 0x6007);
    b.poke32(0x5000, 50); b.poke32(0x6000, 60); b.poke32(0x7000, 70);
    expect(b.run(10)).toBe('halt');
    expect([b.read().eax, b.read().edx]).toEqual([60, 50]);
    // The other space's table is changed from this one, by guest code: mov dword [13014h], 7007h; then the same again.
    b.load(0x2000, [0xc7, 0x05, 0x14, 0x30, 0x01, 0, 0x07, 0x70, 0, 0, 0xe9, 0xf1, 0xef, 0xff, 0xff]);
    b.registers({ eip: 0x2000 });
    b.words[S.runState >> 2] = RUN.running;
    expect(b.run(20)).toBe('halt');
    expect([b.read().eax, b.read().edx]).toEqual([70, 50]);
  });
  test('ring 3 gets no access to supervisor pages, and the frame lies on the ring 0 stack', () => {
    const b = bench([0xa1, 0, 0x50, 0, 0]);
    const table = paged(b);
    b.poke32(table + 5 * 4, 0x5003);
    b.enterRing3();
    b.run(10);
    expect(b.fault).toMatchObject({ vector: VEC.PF, error: 5, cs: 0x23 });
    expect(b.read().esp).toBe(b.system + 0x8000 - 24);
  });
  test('no-execute pages fault on fetch only with EFER.NXE', () => {
    const b = bench([0x90, 0xf4]);
    for (let i = 0; i < 4; i++) b.poke32(0x14000 + i * 8, i === 0 ? 0x15001 : 0);
    b.poke32(0x15000, 0x16007);
    b.poke32(0x15008, 0x200087);
    for (let i = 0; i < 512; i++) b.poke32(0x16000 + i * 8, i << 12 | 7);
    b.poke32(0x16000 + 8 + 4, 0x80000000 | 0);
    b.words[S.cr3 >> 2] = 0x14000; b.words[S.cr4 >> 2] = CR4.PAE; b.words[S.efer >> 2] = 0x800;
    b.words[S.pdpte0 >> 2] = 0x15001;
    b.words[S.cr0 >> 2] |= CR0.PG;
    b.engine.stateChanged();
    b.run(10);
    expect(b.fault).toMatchObject({ vector: VEC.PF, error: 0x11, eip: CODE });
  });
});

describe('self-modifying code', () => {
  test('a store into the running block takes effect at the next instruction', () => {
    // mov byte [100dh], 0x43 (inc ebx instead of inc eax); nop...; inc eax; hlt
    const b = bench([0xc6, 0x05, 0x0d, 0x10, 0, 0, 0x43, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x40, 0xf4], { eax: 0, ebx: 0 });
    expect(b.run(20)).toBe('halt');
    expect([b.read().eax, b.read().ebx]).toEqual([0, 1]);
  });
  test('data beside code does not disturb it', () => {
    const b = bench([0xff, 0x05, 0x00, 0x18, 0, 0, 0x49, 0x75, 0xf7, 0xf4], { ecx: 1000 }); // inc dword [1800h]
    expect(b.run(10000)).toBe('halt');
    expect(b.peek32(0x1800)).toBe(1000);
    expect(b.words[S.countSmc >> 2]).toBe(0);
  });
});

describe('interrupts', () => {
  test('STI opens the window after the next instruction', () => {
    const b = bench([0xfb, 0x40, 0x43, 0xf4], { eax: 0, ebx: 0 }); // sti; inc eax; inc ebx
    b.bus.vector = 0x40;
    Atomics.or(b.words, S.attention >> 2, ATTN.INTR);
    b.bus.interruptAcknowledge = () => { Atomics.and(b.words, S.attention >> 2, ~ATTN.INTR); return 0x40; };
    b.run(100);
    expect(b.fault).toMatchObject({ vector: 0x40, eip: CODE + 2 });
    expect([b.read().eax, b.read().ebx]).toEqual([1, 0]);
  });
  test('HLT waits, and an interrupt continues behind it', () => {
    const b = bench([0xf4, 0x40, 0xf4], { eax: 0, eflags: 0x202 });
    expect(b.run(100)).toBe('halt');
    Atomics.or(b.words, S.attention >> 2, ATTN.INTR);
    b.bus.interruptAcknowledge = () => { Atomics.and(b.words, S.attention >> 2, ~ATTN.INTR); return 0x41; };
    b.run(100);
    expect(b.fault).toMatchObject({ vector: 0x41, eip: CODE + 1 });
  });
  test('a triple fault is a shutdown', () => {
    const b = bench([0x0f, 0x0b]);
    b.words[S.idtrLimit >> 2] = 0;
    expect(b.run(10)).toBe('shutdown');
    expect(b.run(10)).toBe('shutdown');
  });
});

describe('rings', () => {
  test('SYSENTER and SYSEXIT go to ring 0 and back', () => {
    const b = bench([0x0f, 0x34]);
    b.load(0x3000, [0x40, 0xba, 0x10, 0x10, 0, 0, 0xb9, 0, 0x80, 0, 0, 0x0f, 0x35]);
    b.words[S.sysenterCs >> 2] = 0x10; b.words[S.sysenterEip >> 2] = 0x3000; b.words[S.sysenterEsp >> 2] = 0x7000;
    b.enterRing3();
    b.registers({ eax: 0 });
    b.run(5);
    expect(b.read()).toMatchObject({ eax: 1, eip: 0x1010, esp: 0x8000 });
    expect(b.words[S.cpl >> 2]).toBe(3);
  });
  test('INT and IRET restore flags, stack and code segment', () => {
    const b = bench([0xcd, 0x80, 0x43, 0xeb, 0xfe], { ebx: 0 });
    b.poke32(b.system + 0x80 * 8, 0x10 << 16 | 0x3000); b.poke32(b.system + 0x80 * 8 + 4, 0xee00);
    b.load(0x3000, [0x31, 0xc0, 0xcf]); // xor eax,eax; iret
    b.enterRing3();
    b.registers({ eflags: 0xa97, esp: 0x8000 });
    b.run(3);
    expect(b.read()).toMatchObject({ eip: CODE + 2, esp: 0x8000, eflags: 0xa97 });
    b.run(1);
    expect(b.read().ebx).toBe(1);
  });
  test('the wasm forms of INT, IRET, SYSENTER and SYSEXIT leave the same state as the complete ones', () => {
    const run = (fast: boolean, code: number[], eflags: number, gate: number): number[] => {
      const b = bench(code, { eflags });
      b.engine.blocks.fastOperations = fast;
      b.poke32(b.system + 0x80 * 8, 0x10 << 16 | 0x3000); b.poke32(b.system + 0x80 * 8 + 4, gate);
      b.load(0x3000, [0x01, 0xc0, 0xcf]); // add eax,eax; iret
      b.load(0x3100, [0x0f, 0x35]);
      b.words[S.sysenterCs >> 2] = 0x10; b.words[S.sysenterEip >> 2] = 0x3100; b.words[S.sysenterEsp >> 2] = 0x7000;
      b.enterRing3();
      b.registers({ eflags, eax: 0x40000000, esp: 0x8000 });
      const hashes: number[] = [];
      for (let i = 0; i < 24; i++) { b.run(1 + i % 3); hashes.push(b.engine.hashState()); }
      return hashes;
    };
    const ints = [0xcd, 0x80, 0x9c, 0x58, 0xcd, 0x80, 0xeb, 0xf8]; // int 80h; pushf; pop eax; int 80h; jmp
    const enters = [0xba, 0x0c, 0x10, 0, 0, 0xb9, 0, 0x80, 0, 0, 0x0f, 0x34, 0x40, 0xeb, 0xf1];
    for (const eflags of [2, 0x202, 0x8d7, 0x3202, 0x240ed7, 0x4202]) {
      for (const gate of [0xee00, 0xef00, 0x8e00]) expect(run(true, ints, eflags, gate), `${eflags.toString(16)} ${gate.toString(16)}`).toEqual(run(false, ints, eflags, gate));
      expect(run(true, enters, eflags, 0xee00)).toEqual(run(false, enters, eflags, 0xee00));
    }
  });
  test('the wasm forms of POPF, RDTSC and segment loads leave the same state as the complete ones', () => {
    const run = (fast: boolean, selector: number, descriptor: [number, number], popped: number): number[] => {
      // push imm32; popf; mov ds,ax; mov es,ax; rdtsc; mov fs,bx; mov ds,cx; jmp
      const p = popped >>> 0;
      const b = bench([0x68, p & 255, p >> 8 & 255, p >> 16 & 255, p >>> 24, 0x9d, 0x8e, 0xd8, 0x8e, 0xc0, 0x89, 0xc6, 0x0f, 0x31, 0x8e, 0xe3, 0x89, 0xf0, 0x8e, 0xd9, 0xeb, 0xea], { eax: selector, ebx: 0, ecx: 0x18 });
      b.engine.blocks.fastOperations = fast;
      const gdt = b.words[S.gdtrBase >> 2];
      b.poke32(gdt + 0x20, descriptor[0]); b.poke32(gdt + 0x24, descriptor[1]);
      const hashes: number[] = [];
      for (let i = 0; i < 30; i++) { b.run(1 + i % 2); hashes.push(b.engine.hashState()); }
      return hashes;
    };
    for (const popped of [2, 0x246, 0x3202, 0x240cd7, 0x302]) {
      for (const selector of [0, 3, 0x18, 0x20, 0x23, 0x38, 0x1c, 0x10]) {
        for (const descriptor of [[0xffff, 0x00cff300], [0x1000ffff, 0x0040f301], [0xffff, 0x00cf9300], [0xffff, 0x00cff700], [0xffff, 0x00cf7300], [0xffff, 0x00cff100]] as [number, number][]) {
          expect(run(true, selector, descriptor, popped), `${selector.toString(16)} ${descriptor.map(x => x.toString(16)).join(' ')} ${popped.toString(16)}`).toEqual(run(false, selector, descriptor, popped));
          if (selector !== 0x20 && selector !== 0x23) break;
        }
      }
    }
  });
  test('STI in the middle of a block leaves the same state as the complete one, wherever a run is cut and an interrupt comes', () => {
    // cli; inc eax; sti; inc ebx; out 80h,al; sti; hlt; inc ecx; jmp
    const code = [0xfa, 0x40, 0xfb, 0x43, 0xe6, 0x80, 0xfb, 0xf4, 0x41, 0xeb, 0xf5];
    const run = (fast: boolean, step: number, every: number, atOut: boolean): { hashes: (number | string)[]; helpers: number } => {
      const b = bench(code);
      b.engine.blocks.fastOperations = fast;
      b.load(0x3000, [0x42, 0xcf]); // inc edx; iret
      b.poke32(b.system + 0x40 * 8, 0x10 << 16 | 0x3000); b.poke32(b.system + 0x40 * 8 + 4, 0x8e00);
      const raise = (): void => { b.words[S.attention >> 2] |= ATTN.INTR; };
      b.bus.interruptAcknowledge = () => { b.words[S.attention >> 2] &= ~ATTN.INTR; return 0x40; };
      if (atOut) b.bus.onAccess = raise;
      const hashes: (number | string)[] = [];
      for (let i = 0; i < 60; i++) {
        if (i % every === 0) raise();
        hashes.push(b.run(step), b.engine.hashState());
      }
      return { hashes, helpers: b.words[S.countJsOps >> 2] };
    };
    for (const step of [1, 2, 3, 4, 7]) for (const every of [1, 2, 5, 1000]) for (const atOut of [false, true]) {
      const fast = run(true, step, every, atOut), complete = run(false, step, every, atOut);
      expect(fast.hashes, `step ${step}, every ${every}, ${atOut}`).toEqual(complete.hashes);
      expect(fast.helpers).toBeLessThanOrEqual(complete.helpers);
    }
  });
  for (const pae of [false, true]) test(`MOV CR3 swaps views and still sees every change of the tables, ${pae ? 'PAE' : '32-bit'} paging`, () => {
    // loop: mov cr3,ebx; add edi,[5000h]; mov cr3,ecx; add esi,[5000h]; dec edx; jnz loop; hlt
    const code = [0x0f, 0x22, 0xdb, 0x03, 0x3d, 0, 0x50, 0, 0, 0x0f, 0x22, 0xd9, 0x03, 0x35, 0, 0x50, 0, 0, 0x4a, 0x75, 0xeb, 0xf4];
    const run = (fast: boolean): { hashes: number[]; helpers: number } => {
      const b = bench(code, { ebx: 0x12000, ecx: 0x10000, esi: 0, edi: 0 });
      b.engine.blocks.fastOperations = fast;
      const map = (root: number, table: number, page: number): void => {
        const entries = pae ? 512 : 1024, width = pae ? 8 : 4;
        for (let i = 0; i < entries; i++) b.poke32(table + i * width, (i === 5 ? page : i << 12) | 7);
        if (pae) { b.poke32(root, root + 0x1000 | 1); b.poke32(root + 0x1000, table | 7); b.poke32(root + 0x1008, 0x200087); } else b.poke32(root, table | 7);
      };
      map(0x10000, 0x18000, 0x5000); map(0x12000, 0x19000, 0x6000);
      b.words[S.cr3 >> 2] = 0x10000;
      if (pae) { b.words[S.cr4 >> 2] = CR4.PAE; b.words[S.pdpte0 >> 2] = 0x11001; }
      b.words[S.cr0 >> 2] |= CR0.PG | CR0.WP;
      b.engine.stateChanged();
      b.poke32(0x5000, 5); b.poke32(0x6000, 600); b.poke32(0x7000, 70_000);
      const hashes: number[] = [];
      const turns = (count: number): void => {
        b.registers({ eip: CODE, edx: count });
        b.words[S.runState >> 2] = RUN.running;
        for (let i = 0; i < 7; i++) { b.run(1 + i * count); hashes.push(b.engine.hashState()); }
      };
      turns(50);
      b.engine.memoryWritten(0x19000 + 5 * (pae ? 8 : 4), 4); // as a device would: the page of one space moves
      b.poke32(0x19000 + 5 * (pae ? 8 : 4), 0x7007);
      b.engine.memoryWritten(0x19000 + 5 * (pae ? 8 : 4), 4);
      turns(50);
      if (pae) { map(0x14000, 0x1a000, 0x6000); b.poke32(0x12000, 0x15001); turns(50); } // a PDPTE changes under a view that is away
      hashes.push(b.read().edi, b.read().esi);
      return { hashes, helpers: b.words[S.countJsOps >> 2] };
    };
    const fast = run(true), complete = run(false);
    expect(fast.hashes).toEqual(complete.hashes);
    expect(fast.hashes.at(-2)).toBe(pae ? 50 * 600 + 50 * 70_000 + 50 * 600 : 50 * 600 + 50 * 70_000);
    expect(complete.helpers).toBeGreaterThan(200);
    expect(fast.helpers).toBeLessThan(30);
  });
  test('POP to memory runs without a helper, changes nothing when the store faults, and knows ESP behind the pop', () => {
    const b = bench([0x8f, 0x05, 0, 0x60, 0, 0, 0x8f, 0x44, 0x24, 0x04, 0x8f, 0x05, 0, 0x70, 0, 0]); // pop [6000h]; pop [esp+4]; pop [7000h]
    const table = paged(b);
    b.poke32(table + 7 * 4, 0x7005);
    for (let i = 0; i < 8; i++) b.poke32(0x9000 + i * 4, 100 + i);
    b.run(1);
    expect([b.peek32(0x6000), b.read().esp, b.words[S.countJsOps >> 2]]).toEqual([100, 0x9004, 0]);
    b.run(1);
    expect([b.peek32(0x900c), b.read().esp]).toEqual([101, 0x9008]);
    b.run(1);
    expect(b.fault).toMatchObject({ vector: VEC.PF, error: 3, eip: CODE + 10 });
    expect(b.read().esp).toBe(0x9008 - 16);
  });
  test('privileged instructions are #GP in ring 3', () => {
    for (const code of [[0xf4], [0xfa], [0x0f, 0x22, 0xd8], [0x0f, 0x30], [0x0f, 0x01, 0x15, 0, 0x50, 0, 0], [0xee]]) {
      const b = bench(code);
      b.enterRing3();
      b.run(5);
      expect(b.fault, code.map(x => x.toString(16)).join(' ')).toMatchObject({ vector: VEC.GP, error: 0, eip: CODE });
    }
  });
});

describe('state', () => {
  test('saveState and loadState carry a run over to another engine', () => {
    const code = [0x40, 0x01, 0xc3, 0x49, 0x75, 0xfa, 0xf4];
    const a = bench(code, { ecx: 100, eax: 5, ebx: 0 });
    a.run(123);
    const c = bench(code);
    c.engine.loadState(a.engine.saveState());
    expect(c.engine.hashState()).toBe(a.engine.hashState());
    expect(a.run(1000)).toBe('halt');
    expect(c.run(1000)).toBe('halt');
    expect(c.read()).toEqual(a.read());
    expect(c.engine.hashState()).toBe(a.engine.hashState());
  });
});
