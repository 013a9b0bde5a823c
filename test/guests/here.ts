/** Runs a test guest on our machine. */
import { createMachine, type JitMode } from '../../vm/machine.ts';
import type { CpuModel } from '../../vm/cpu/isa/models.ts';
import { guestDisk } from './build.ts';
import type { Guest } from './catalog.ts';
import type { GuestRun } from './qemu.ts';

export interface HereOptions { readonly mode?: 'deterministic' | 'parallel'; readonly jit?: JitMode; readonly seed?: number; readonly quantum?: number; readonly cpu?: CpuModel }
export interface HereRun extends GuestRun { readonly instructions: number; readonly stateHash: string }

export async function runHere(guest: Guest, elf: string, options: HereOptions = {}): Promise<HereRun> {
  let output = '';
  const machine = createMachine({
    kernel: elf, memoryMiB: 64, cpus: guest.cpus ?? 1, mode: options.mode ?? 'deterministic', jit: options.jit ?? 'on', timeoutMs: 60_000,
    ...(options.cpu ? { cpuModel: options.cpu } : {}),
    ...(options.seed === undefined ? {} : { seed: options.seed }), ...(options.quantum === undefined ? {} : { quantum: options.quantum }),
    com1: bytes => { output += Buffer.from(bytes).toString('latin1'); },
    ...(guest.net ? { net: { backend: { kind: 'user' } } } : {}),
    ...(guest.disk ? { disks: [{ bytes: guestDisk() }] } : {}),
  });
  try {
    const result = await machine.run();
    if (result.reason !== 'exit') output += `\n[machine] ${result.reason} ${result.detail ?? ''} after ${result.instructions} instructions\n`;
    return { output, status: result.reason === 'exit' ? result.status >> 1 : null, instructions: result.instructions, stateHash: result.stateHash };
  } finally { machine.close(); }
}
