/**
 * A Kintsugi system as the machine sees it: kernel, boot modules in their fixed order, command line, disk. Used by start, run, the
 * benchmarks and the tests, so that all of them boot the same thing.
 */
import type { CpuModel } from '../../vm/cpu/isa/models.ts';
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { MachineConfig, NetConfig } from '../../vm/machine.ts';
import { UserError } from './errors.ts';
import { GUEST_FOLDER, ROOT_IMAGE } from './guest.ts';

export interface SystemOptions {
  readonly place: 'pin' | 'follow';
  readonly smp: number;
  readonly memoryMiB: number;
  readonly disk?: string;
  /** Changes of `disk` stay in memory and are dropped at the end. */
  readonly overlay?: boolean;
  readonly deterministic: boolean;
  readonly seed: number;
  readonly timeoutSeconds?: number;
  readonly jit: 'on' | 'off' | 'mixed';
  /** What the vCPUs are; default max. */
  readonly cpu?: CpuModel;
  /** Instructions before a region is made (vm/engine.ts), deterministic machine. */
  readonly jitHeat?: number;
  readonly append: string;
  /** A NIC and what it is plugged into; undefined: none. */
  readonly net?: NetConfig;
  /** Static address of the guest, ADDRESS/BITS[,GATEWAY[,RESOLVER]]; undefined: DHCP. */
  readonly ip?: string;
  /** File for a Perfetto trace of the run. */
  readonly trace?: string;
  /** `[HOST:]PORT` at which to wait for gdb. Needs `deterministic`. */
  readonly gdb?: string;
}

/** Multiboot modules: root first (the kernel loads it), then in the order in which the supervisor looks for them. */
export const MODULES = ['root', 'supervisor', 'process', 'fs', 'tty', 'uart', 'virtio-blk', 'net', 'virtio-net'] as const;

/** Words of the command line are separated by spaces; argv is NUL-separated and percent-encoded in one word. */
export function encodeRun(argv: readonly string[]): string {
  const bytes = new TextEncoder().encode(argv.join('\0'));
  return [...bytes].map((b) => ((b >= 48 && b <= 57) || (b >= 65 && b <= 90) || (b >= 97 && b <= 122) || b === 45 || b === 46 || b === 47 || b === 95 ? String.fromCharCode(b) : `%${b.toString(16).padStart(2, '0')}`)).join('');
}

const KERNEL_COMMAND_LINE_BYTES = 1024;

export function systemConfig(options: SystemOptions, run: readonly string[] | undefined, serial: Pick<MachineConfig, 'com1' | 'com2'>): MachineConfig {
  const cmdline = [`place=${options.place}`, ...(run ? ['quiet', `run=${encodeRun(run)}`] : []), ...(options.ip === undefined ? [] : [`ip=${options.ip}`]), ...(options.append === '' ? [] : [options.append])].join(' ');
  if (cmdline.length >= KERNEL_COMMAND_LINE_BYTES) throw new UserError(`the command is too long: ${cmdline.length} bytes encoded, at most ${KERNEL_COMMAND_LINE_BYTES - 1}; put it into a script on the disk`);
  if (options.disk !== undefined && !existsSync(options.disk)) throw new UserError(`no disk image at ${options.disk}; make one with: kintsugi image ${options.disk}`);
  return {
    kernel: path.join(GUEST_FOLDER, 'kernel.elf'),
    modules: MODULES.map((name) => ({ file: path.join(GUEST_FOLDER, `${name}.elf`), string: name })),
    cmdline,
    memoryMiB: options.memoryMiB,
    cpus: options.smp,
    disks: [options.disk === undefined ? { file: ROOT_IMAGE, overlay: true } : { file: options.disk, overlay: options.overlay === true }],
    ...(options.net === undefined ? {} : { net: options.net, note: (text: string) => process.stderr.write(`kintsugi: ${text}\n`) }),
    mode: options.deterministic ? 'deterministic' : 'parallel',
    seed: options.seed,
    ...(options.cpu === undefined ? {} : { cpuModel: options.cpu }),
    jit: options.jit, ...(options.jitHeat === undefined ? {} : { jitHeat: options.jitHeat }),
    ...(options.timeoutSeconds === undefined ? {} : { timeoutMs: options.timeoutSeconds * 1000 }),
    ...serial,
  };
}
