/** Which accesses of a region go through one look-up (vm/cpu/jit/groups.ts): by hand-assembled code. */
import { describe, expect, it } from 'vitest';
import { discover } from '../../vm/cpu/jit/cfg.ts';
import { groupAccesses, type Access, type Groups } from '../../vm/cpu/jit/groups.ts';
import { planRegion } from '../../vm/cpu/jit/plan.ts';

function analyse(code: readonly number[], apart: readonly number[] = []): { at: (eip: number) => { explicit?: Access; stack?: Access }; groups: Groups; plan: ReturnType<typeof planRegion>; block: (eip: number) => number } {
  const page = new Uint8Array(4096).fill(0xf4);
  page.set(code);
  const region = discover(0, 0x7f, { page: p => (p === 0 ? page : null), avoid: () => false, peek: () => undefined })!;
  const groups = groupAccesses(region, new Set(apart));
  const at = (eip: number): { explicit?: Access; stack?: Access } => {
    for (const [b, block] of region.blocks.entries()) for (const [n, insn] of block.insns.entries()) if (insn.eip === eip) return groups[b].get(n) ?? {};
    throw new Error(`no instruction at ${eip}`);
  };
  return { at, groups, plan: planRegion(region, groups), block: eip => region.index.get(eip)! };
}

describe('groups', () => {
  it('follow ESP through pushes and pops, and a frame is one look-up', () => {
    // 0 push ebx ; 1 push esi ; 2 mov eax,[esp+12] ; 6 mov [esp+4],eax ; 10 pop esi ; 11 pop ebx ; 12 ret
    const { at } = analyse([0x53, 0x56, 0x8b, 0x44, 0x24, 0x0c, 0x89, 0x44, 0x24, 0x04, 0x5e, 0x5b, 0xc3]);
    const all = [at(0).stack, at(1).stack, at(2).explicit, at(6).explicit, at(10).stack, at(11).stack, at(12).stack];
    expect(new Set(all.map(access => access?.group)).size).toBe(1);
    expect(all.map(access => access?.offset)).toEqual([0, -4, 8, 0, -4, 0, 4]);
    expect(all.map(access => access?.first)).toEqual([true, false, false, false, false, false, false]);
    expect(all[0]!.group).toMatchObject({ low: -4, span: 16, write: true, oneAddress: false });
  });
  it('end where the register becomes something else, and follow copies, LEA and INC', () => {
    // 0 mov eax,[ebx] ; 2 lea ecx,[ebx+8] ; 5 inc ecx ; 6 mov dl,[ecx-1] ; 9 mov ebx,[ebx+4] ; 12 mov eax,[ebx] ; 14 jmp 0
    const { at } = analyse([0x8b, 0x03, 0x8d, 0x4b, 0x08, 0x41, 0x8a, 0x51, 0xff, 0x8b, 0x5b, 0x04, 0x8b, 0x03, 0xeb, 0xf0]);
    expect(at(0).explicit!.group).toBe(at(6).explicit!.group);
    expect(at(6).explicit!.offset).toBe(8);
    expect(at(9).explicit!.group).toBe(at(0).explicit!.group);
    expect(at(0).explicit!.group).toMatchObject({ write: false, low: 0, span: 9 });
    expect(at(12).explicit).toBeUndefined();
  });
  it('know a variable that is read and written back through an index', () => {
    // 0 inc dword [esi+edi*4+16] ; 4 cmp dword [esi+edi*4+16],9 ; 9 jb 0
    const { at } = analyse([0xff, 0x44, 0xbe, 0x10, 0x83, 0x7c, 0xbe, 0x10, 0x09, 0x72, 0xf5]);
    expect(at(0).explicit).toMatchObject({ first: true, group: { oneAddress: true, write: true, span: 4 } });
    expect(at(4).explicit).toMatchObject({ first: false, offset: 0 });
  });
  it('take no LOCKed or string instruction, nothing far away, and nobody who has to be apart', () => {
    // 0 lock inc dword [ebx] ; 3 mov eax,[ebx] ; 5 movsd ; 6 mov eax,[ebx+0x1000] ; 12 mov eax,[ebx+4] ; 15 jmp 0
    const code = [0xf0, 0xff, 0x03, 0x8b, 0x03, 0xa5, 0x8b, 0x83, 0x00, 0x10, 0x00, 0x00, 0x8b, 0x43, 0x04, 0xeb, 0xef];
    const { at } = analyse(code);
    expect(at(0)).toEqual({});
    expect(at(3)).toEqual({});
    expect(at(5)).toEqual({});
    expect(at(6).explicit).toBeUndefined();
    const pair = [0x8b, 0x03, 0x8b, 0x43, 0x04, 0xeb, 0xf9];
    expect(analyse(pair).at(2).explicit).toBeDefined();
    expect(analyse(pair, [2]).at(2).explicit).toBeUndefined();
    expect(analyse(pair, [2]).at(0).explicit).toBeUndefined();
  });
  it('reach along a path with one way in', () => {
    // 0 mov eax,[ebx] ; 2 test eax,eax ; 4 jz 12 ; 6 add ecx,1 ; 9 mov edx,[ebx+8] ; 12 inc ecx ; 13 mov esi,[ebx+12] (two ways in) ; 16 jmp 0
    const { at } = analyse([0x8b, 0x03, 0x85, 0xc0, 0x74, 0x06, 0x83, 0xc1, 0x01, 0x8b, 0x53, 0x08, 0x41, 0x8b, 0x73, 0x0c, 0xeb, 0xee]);
    expect(at(9).explicit).toMatchObject({ first: false, offset: 8 });
    expect(at(9).explicit!.group).toBe(at(0).explicit!.group);
    expect(at(13).explicit).toBeUndefined();
  });
  it('make the flags in front of a later access invisible', () => {
    // 0 mov eax,[ebx] ; 2 add ecx,1 ; 5 mov edx,[ebx+8] ; 8 cmp eax,edx ; 10 jz 0
    const code = [0x8b, 0x03, 0x83, 0xc1, 0x01, 0x8b, 0x53, 0x08, 0x39, 0xd0, 0x74, 0xf4];
    const needed = (apart: readonly number[]): boolean => { const { plan, block } = analyse(code, apart); return plan.flagsNeeded[block(0)][1]; };
    expect(needed([])).toBe(false);
    expect(needed([5])).toBe(true);
  });
});
