/**
 * A guest that generates functions, calls each once and jumps to some of them often. As a program of its own it says what that cost:
 *
 *     node test/machine/functions.ts 1000000 on       {"functions":1000000,"residentMiB":385}
 */
import { S } from '../../vm/cpu/state.ts';
import type { JitMode } from '../../vm/engine.ts';
import type { DeterministicMachine } from '../../vm/machine.ts';
import { bareMachine, le32 } from './bare.ts';

export const FIRST = 0x20_0000, SPACING = 64;

/** for (ebx = 0; ebx < n; ebx++) { [edi] = "mov eax, ebx; in al, 61h; ret"; call edi; edi += 64 } Then debug exit. */
const generator = (n: number): number[] => {
  const loop = [0xc6, 0x07, 0xb8, 0x89, 0x5f, 0x01, 0xc7, 0x47, 0x05, 0xe4, 0x61, 0xc3, 0x90, 0xff, 0xd7, 0x03, 0xe8, 0x83, 0xc7, SPACING, 0x43, 0x81, 0xfb, ...le32(n), 0x75];
  return [0xbc, ...le32(0x9_0000), 0xbf, ...le32(FIRST), 0x31, 0xdb, 0x31, 0xed, ...loop, -(loop.length + 1) & 0xff, 0xb0, 1, 0xe6, 0xf4];
};
export const functionsMachine = (n: number, jit: JitMode = 'on', memoryMiB = 4 + Math.ceil(n * SPACING / 2 ** 20)): DeterministicMachine => bareMachine(generator(n), { memoryMiB, jitHeat: 2000, jit });

if (process.argv[1] === import.meta.filename) {
  const machine = functionsMachine(Number(process.argv[2]), process.argv[3] as JitMode, 128);
  while (machine.runFor(1_000_000).pause === 'limit');
  console.log(JSON.stringify({ functions: machine.cpus.words(0)[S.ebx >> 2], residentMiB: Math.round(process.resourceUsage().maxRSS / 1024) }));
  machine.close();
}
