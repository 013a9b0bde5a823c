/**
 * Every guest ELF. Add yours here; `node tools/build/main.ts <name>` builds it to build/guest/<name>.elf and .dbg.json.
 *
 *   kind          entry symbol   text at         data at        start
 *   kernel        _start (stub)  VM.kernelText   +1 MiB         multiboot, e_entry and p_paddr are physical
 *   server driver
 *   program       _start (ours)  VM.text         VM.data        AssemblyScript start, then main(startupPage), then UD2
 *   freestanding  _start (stub)  1 MiB           2 MiB          own stub with a multiboot header
 *   linux         _start (ours)  VM.text         VM.data        main(stack): i32, exit; static Linux executable for the host
 */
export type Kind = 'kernel' | 'server' | 'driver' | 'program' | 'freestanding' | 'linux';
export interface Target {
  readonly name: string;
  /** AssemblyScript entry, relative to the repository root; its exports are visible to stubs. */
  readonly entry: string;
  readonly kind: Kind;
  readonly runtime: 'stub' | 'minimal' | 'incremental';
  /** Stub files (`*.asm.ts`, default export). */
  readonly stubs?: readonly string[];
  /** Bytes of heap after the static data, mapped by the loader as part of the last segment (`new`, managed runtimes). */
  readonly heap?: number;
  /** `path/function` that AssemblyScript's abort calls; without it abort is UD2 (or an exported function named abort). */
  readonly abort?: string;
  /** Keep assert() (default: servers, drivers and programs yes, kernel no). */
  readonly assertions?: boolean;
  readonly textBase?: number;
  readonly memoryBase?: number;
  readonly flags?: readonly string[];
}

const server = (name: string, entry = `servers/${name}/main.ts`): Target => ({ name, entry, kind: 'server', runtime: 'stub' });
const driver = (name: string): Target => ({ name, entry: `drivers/${name}/main.ts`, kind: 'driver', runtime: 'stub' });
const program = (name: string): Target => ({ name, entry: `programs/${name}.ts`, kind: 'program', runtime: 'stub', assertions: false });

/** Each becomes /bin/<name> of the root file system. */
export const PROGRAMS: readonly string[] = [
  'arp', 'cat', 'chmod', 'cp', 'crash', 'dd', 'df', 'echo', 'env', 'false', 'fileop', 'find', 'fsbench', 'grep', 'head', 'hexdump', 'httpd', 'ifconfig', 'kill', 'ln', 'ls', 'mkdir', 'mv', 'nc', 'netbench', 'netop', 'netstat', 'nslookup', 'ping', 'poweroff', 'ps', 'pwd', 'rm', 'rmdir', 'seq', 'sh',
  'sha256sum', 'sleep', 'sort', 'stat', 'streamd', 'sync', 'tail', 'tee', 'test', 'touch', 'true', 'uname', 'uniq', 'uptime', 'wc', 'wget', 'workload', 'yes',
];

export const TARGETS: readonly Target[] = [
  { name: 'kernel', entry: 'microkernel/kernel.ts', kind: 'kernel', runtime: 'stub', abort: 'microkernel/arch/panic/panic', stubs: ['microkernel/stubs/boot.asm.ts', 'microkernel/stubs/entry.asm.ts', 'microkernel/stubs/fastpath.asm.ts'] },
  { name: 'ipc-bench', entry: 'microkernel/bench/root.ts', kind: 'server', runtime: 'stub', stubs: ['microkernel/test/probe.asm.ts'] },
  { name: 'kernel-test', entry: 'microkernel/test/root.ts', kind: 'server', runtime: 'stub', stubs: ['microkernel/test/probe.asm.ts'] },
  server('root'),
  server('supervisor'),
  server('process'),
  server('fs'),
  server('tty'),
  server('net'),
  driver('uart'),
  driver('virtio-blk'),
  driver('virtio-net'),
  ...PROGRAMS.map(program),
];
