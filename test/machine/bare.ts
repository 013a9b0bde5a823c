/** Machines whose kernel is a few bytes of machine code: multiboot, flat protected mode, no paging; code begins at CODE. */
import { createDeterministicMachine, type DeterministicMachine, type MachineConfig } from '../../vm/machine.ts';
import { FaultPort } from '../../vm/faults.ts';
import { MULTIBOOT_HEADER_MAGIC } from '../../vm/loader.ts';

const BASE = 0x10_0000;
export const CODE = BASE + 0x20;

export function bareKernel(code: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(Math.max(64, 32 + code.length));
  const v = new DataView(bytes.buffer), flags = 0x10000;
  [MULTIBOOT_HEADER_MAGIC, flags, -(MULTIBOOT_HEADER_MAGIC + flags), BASE, BASE, 0, 0, CODE].forEach((word, k) => v.setUint32(4 * k, word, true));
  bytes.set(code, 32);
  return bytes;
}
export const bareMachine = (code: readonly number[], config: Partial<MachineConfig> = {}): DeterministicMachine =>
  createDeterministicMachine({ kernel: { name: 'bare', bytes: bareKernel(code) }, memoryMiB: 4, ...config });
export const le32 = (value: number): number[] => [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24];

/** Addresses of `counting`: the loop, the function (its store, its load, its return), the word it writes. */
export const COUNTING = { loop: CODE + 15, store: CODE + 28, load: CODE + 33, ret: CODE + 39, word: 0x20_0000, setup: 3, perRound: 7 } as const;
/** for (n rounds) { eax++; f(); }, f: [word] = eax; ebx += [word]. Then debug exit with status 1. Seven instructions a round behind three of setup. */
export const counting = (rounds: number): number[] => [
  0xb8, ...le32(0), 0xbc, ...le32(0x9_0000), 0xb9, ...le32(rounds), // mov eax, 0; mov esp, 90000h; mov ecx, rounds
  0x40, 0xe8, ...le32(7), 0x49, 0x75, 0xf7, // loop: inc eax; call f; dec ecx; jnz loop
  0xb0, 0, 0xe6, 0xf4, // mov al, 0; out f4h, al
  0xa3, ...le32(COUNTING.word), 0x03, 0x1d, ...le32(COUNTING.word), 0xc3, // f: mov [word], eax; add ebx, [word]; ret
];

/** Starts the second vCPU at `eip`, in the mode of the first and with registers of its own. */
export function startSecond(machine: DeterministicMachine, eip: number): void {
  const port = new FaultPort(machine);
  for (const name of ['seg', 'cr0', 'cpl', 'runState', 'eflags']) port.writeState(`cpu1.${name}`, port.readState(`cpu0.${name}`)!);
  port.writeState('cpu1.eip', Uint8Array.from(le32(eip)));
}
/** n times: in al, 61h; ebx += eax; eax++; out 80h, al; six instructions a round behind three of setup. Then debug exit. */
export const portLoop = (n: number): number[] => [0xb9, ...le32(n), 0x31, 0xdb, 0x31, 0xc0, 0xe4, 0x61, 0x01, 0xc3, 0x40, 0xe6, 0x80, 0x49, 0x75, 0xf6, 0xe6, 0xf4];
