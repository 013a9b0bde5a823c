/** Code that a device writes: into the function that runs, at every instruction boundary of a round, in tier 0 and in regions. What was not executed yet is the new code. */
import { describe, expect, it } from 'vitest';
import { S } from '../../vm/cpu/state.ts';
import { bareMachine, CODE, le32 } from './bare.ts';

// xor ebx, ebx; mov esp; mov ecx, 200; loop: call f; add ebx, eax; dec ecx; jnz loop; out f4h. f: nop; mov eax, 1; ret
const PROGRAM = [0x31, 0xdb, 0xbc, ...le32(0x9_0000), 0xb9, ...le32(200), 0xe8, 9, 0, 0, 0, 0x01, 0xc3, 0x49, 0x75, 0xf6, 0xb0, 1, 0xe6, 0xf4, 0x90, 0xb8, ...le32(1), 0xc3];
const FUNCTION = CODE + PROGRAM.length - 7, MOV = FUNCTION + 1, PER_ROUND = 7;

describe.each([['tier 0', false], ['regions', true]] as const)('DMA to code that is running, %s', (_name, jit) => {
  it('the next execution sees it', () => {
    for (let at = 300; at < 300 + 2 * PER_ROUND; at++) {
      const m = bareMachine(PROGRAM, { jit: jit ? 'on' : 'off' }), words = m.cpus.words(0);
      m.runFor(100);
      if (jit) expect((m.engines[0] as unknown as { compileRegion(): boolean }).compileRegion()).toBe(true);
      m.runFor(at - 100);
      const rounds = words[S.ecx >> 2]!, eip = words[S.eip >> 2]!, sum = words[S.ebx >> 2]!, eax = words[S.eax >> 2]!;
      // Rounds whose MOV is still to come; the one under way may have done it and not yet added.
      const added = eip === CODE + 19 || eip === CODE + 20, done = eip === MOV + 5 || eip === CODE + 17;
      const left = added ? (eip === CODE + 19 ? rounds - 1 : rounds) : done ? rounds - 1 : rounds;
      m.chipset.memory.write(MOV + 1, new Uint8Array(le32(1000)));
      m.runFor(100_000);
      expect(m.stopReason).toBe('exit');
      expect({ at, sum: words[S.ebx >> 2] }).toEqual({ at, sum: sum + (done ? eax : 0) + 1000 * left });
      m.close();
    }
  });
});
