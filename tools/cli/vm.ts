/**
 * `./kintsugi vm --kernel FILE.elf`: any multiboot 1 kernel on the bare machine, COM1 on stdio. As in QEMU, a write of v to the
 * debug-exit port (0xf4) ends the run with status 2v+1. Power-off and Ctrl-A X give 0, the timeout 124, a triple fault or vCPUs that all
 * halted for good 125.
 */
import type { CpuModel } from '../../vm/cpu/isa/models.ts';
import { createMachine, type NetConfig } from '../../vm/machine.ts';
import { EXIT } from './errors.ts';
import { attachTerminal } from './terminal.ts';

export interface VmOptions {
  readonly kernel: string;
  readonly append: string;
  readonly module: readonly string[];
  readonly memory: number;
  readonly smp: number;
  readonly serial: 'stdio' | 'none';
  readonly disk?: string;
  readonly deterministic: boolean;
  readonly seed: number;
  readonly jit: 'on' | 'off' | 'mixed';
  readonly cpu: CpuModel;
  readonly timeout?: number;
  readonly network?: NetConfig;
  readonly json: boolean;
  /** `[HOST:]PORT` at which to wait for gdb. Needs `deterministic`. */
  readonly gdb?: string;
}

export async function vm(options: VmOptions): Promise<number> {
  const out = options.json ? process.stderr : process.stdout;
  const machine = await createMachine({
    postMortem: true,
    kernel: options.kernel,
    modules: options.module.map((text) => {
      const [file, ...words] = text.split(' ');
      return { file, string: words.length > 0 ? words.join(' ') : file };
    }),
    cmdline: options.append,
    memoryMiB: options.memory,
    cpus: options.smp,
    disks: options.disk === undefined ? [] : [{ file: options.disk, overlay: false }],
    ...(options.network === undefined ? {} : { net: options.network, note: (text: string) => process.stderr.write(`kintsugi: ${text}\n`) }),
    mode: options.deterministic ? 'deterministic' : 'parallel',
    seed: options.seed,
    cpuModel: options.cpu,
    jit: options.jit,
    ...(options.timeout === undefined ? {} : { timeoutMs: options.timeout * 1000 }),
    ...(options.serial === 'stdio' ? { com1: (bytes: Uint8Array) => out.write(bytes) } : {}),
  });
  const terminal = options.serial === 'stdio' ? attachTerminal((bytes) => machine.serialInput(0, bytes), () => machine.stop(), () => undefined) : undefined;
  try {
    const result = await (options.gdb === undefined ? machine.run() : (await import('./debugging.ts')).runUnderGdb(machine, options.gdb, false)).finally(() => machine.close());
    terminal?.restore();
    const asked = result.reason === 'poweroff' || (result.reason === 'stopped' && result.detail === undefined);
    const status = terminal !== undefined && terminal.signal !== 0 ? 128 + terminal.signal : result.reason === 'exit' ? result.status & 255 : asked ? EXIT.ok : result.reason === 'timeout' ? EXIT.timeout : EXIT.internal;
    if (options.json) process.stdout.write(`${JSON.stringify({ reason: result.reason, exit: status, instructions: result.instructions, virtualNs: result.virtualNs, stateHash: result.stateHash })}\n`);
    if (result.reason === 'timeout') process.stderr.write(`kintsugi: timed out after ${options.timeout} s\n`);
    else if (status === EXIT.internal && result.reason !== 'exit') process.stderr.write(`kintsugi: the machine stopped: ${result.detail ?? result.reason}\n`);
    return status;
  } finally {
    terminal?.restore();
  }
}
