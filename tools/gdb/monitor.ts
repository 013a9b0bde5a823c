/** `monitor ...` of gdb: what gdb itself has no command for. Names follow QEMU's and rr's where they have the same thing. */
import { FLAG, S } from '../../vm/cpu/state.ts';
import type { MachineTarget } from './machine-target.ts';

type Print = (text: string) => void;
interface MonitorCommand { readonly usage: string; readonly help: string; run(target: MachineTarget, thread: number, words: readonly string[], print: Print): void | Promise<void> }

class MonitorError extends Error {}
const hex = (value: number): string => (value >>> 0).toString(16).padStart(8, '0');
const grouped = (value: number): string => value.toLocaleString('en-US');
/** A number as C writes it, or with separators as we print it. */
function parse(text: string | undefined, what: string): number {
  const value = Number((text ?? '').replace(/[,_]/g, ''));
  if (text === undefined || text === '' || !Number.isInteger(value) || value < 0) throw new MonitorError(`${what}: a whole number is wanted${text === undefined ? '' : `, not "${text}"`}`);
  return value;
}
const FLUSH = 'gdb does not know that registers have changed: say "maintenance flush register-cache"\n';

/** Mapped stretches of an address space: pages that follow each other, in both spaces, with equal rights. */
function* stretches({ debug: { port } }: MachineTarget, cr3: number): Generator<{ from: number; to: number; physical: number; rights: string }> {
  let last: { from: number; to: number; physical: number; rights: string } | undefined;
  for (const { va, physical } of port.pages(cr3, 0, 2 ** 32)) {
    const { writable, user } = port.mapping(cr3, va)!, rights = `${user ? 'u' : '-'}r${writable ? 'w' : '-'}`;
    if (last && last.to === va && last.rights === rights && last.physical + (va - last.from) === physical) last.to = va + 4096;
    else { if (last) yield last; last = { from: va, to: va + 4096, physical, rights }; }
  }
  if (last) yield last;
}

const INFO: Readonly<Record<string, (target: MachineTarget, thread: number, print: Print) => void>> = {
  cpus(target, _thread, print) {
    const { machine, awareness } = target;
    for (let cpu = 0; cpu < machine.cpus.cpus; cpu++) {
      const words = machine.cpus.words(cpu), state = target.runWords(cpu);
      print(`CPU#${cpu}  ${state.padEnd(14)} eip ${hex(words[S.eip >> 2]!)} ring ${words[S.cpl >> 2]!} cr3 ${hex(words[S.cr3 >> 2]!)} ${words[S.eflags >> 2]! & FLAG.IF ? 'interrupts on ' : 'interrupts off'} retired ${grouped(machine.cpus.retired(cpu))}${awareness ? `  ${awareness.describe(cpu)}` : ''}\n`);
    }
  },
  threads(target, _thread, print) { for (const { id, name, extra } of target.threads()) print(`${String(id).padStart(5)}  ${name.padEnd(14)} ${extra}\n`); },
  tlb(target, thread, print) {
    const cpu = target.cpuOf(thread) ?? 0, words = target.machine.cpus.words(cpu), cr3 = words[S.cr3 >> 2]! >>> 0;
    if (words[S.cr0 >> 2]! >= 0) { print('paging is off: linear addresses are physical\n'); return; }
    print(`address space ${hex(cr3)}: linear, physical, rights (u = ring 3)\n`);
    for (const { from, to, physical, rights } of stretches(target, cr3)) print(`${hex(from)}-${hex(to - 1)}  ${hex(physical)}  ${rights}  ${grouped((to - from) / 4096)} pages\n`);
  },
  snapshots({ debug: { timeline } }, _thread, print) {
    print(`${timeline.snapshots.length} snapshots, about ${grouped(Math.round(timeline.pages / 256))} MiB, ${grouped(timeline.counters.again)} instructions run again so far\n`);
    print(`${timeline.snapshots.map(grouped).join('  ')}\n`);
  },
};

const COMMANDS: Readonly<Record<string, MonitorCommand>> = {
  help: {
    usage: 'help', help: 'this list',
    run(_target, _thread, _words, print) { for (const { usage, help } of Object.values(COMMANDS)) print(`${usage.padEnd(34)} ${help}\n`); },
  },
  when: {
    usage: 'when', help: 'instructions executed so far, virtual time, those of each vCPU',
    run({ machine, debug }, _thread, _words, print) {
      print(`instruction ${grouped(machine.instructions)}${debug.timeline.frontier > machine.instructions ? ` of ${grouped(debug.timeline.frontier)} run so far` : ''}, virtual time ${(machine.virtualNs / 1e6).toFixed(3)} ms\n`);
      if (machine.cpus.cpus > 1) for (let cpu = 0; cpu < machine.cpus.cpus; cpu++) print(`  CPU#${cpu} ${grouped(machine.cpus.retired(cpu))}\n`);
    },
  },
  goto: {
    usage: 'goto INSTRUCTION', help: 'forwards or backwards to a count of instructions (as `when` says it)',
    run({ debug }, _thread, [count], print) {
      const wanted = parse(count, 'goto');
      if (!debug.seek(wanted)) print(wanted < debug.timeline.begin ? `history begins at instruction ${grouped(debug.timeline.begin)}\n` : `the run ended at instruction ${grouped(debug.timeline.now)}\n`);
      print(`at instruction ${grouped(debug.timeline.now)}; ${FLUSH}`);
    },
  },
  snapshot: {
    usage: 'snapshot', help: 'keeps a snapshot of this moment for good, so that going back to it is quick',
    run({ debug }, _thread, _words, print) { debug.timeline.pin(); print(`kept instruction ${grouped(debug.timeline.now)}\n`); },
  },
  info: {
    usage: 'info cpus|threads|tlb|snapshots', help: 'vCPUs; kernel Threads; mapped pages of the current address space; history',
    run(target, thread, [what], print) {
      const show = INFO[what === 'pages' || what === 'mem' ? 'tlb' : what ?? ''];
      if (!show) throw new MonitorError(`info ${what ?? ''}: there are ${Object.keys(INFO).join(', ')}`);
      show(target, thread, print);
    },
  },
  symbols: {
    usage: 'symbols [NAME...]', help: 'the gdb commands that load symbols of the kernel, a server or a program (default: kernel and who runs here)',
    run(target, thread, names, print) {
      const { awareness } = target;
      if (!awareness) throw new MonitorError('symbols: nothing is known of this guest');
      const wanted = names.length > 0 ? names : ['kernel', ...[awareness.spaceOf(target.cpuOf(thread) ?? 0, 0)].filter((name) => name !== undefined)];
      const found = awareness.symbols(wanted);
      for (const { command } of found) print(`${command}\n`);
      for (const name of wanted) if (!found.some((f) => f.name === name)) print(`# no debug data for ${name}\n`);
    },
  },
  space: {
    usage: 'space [NAME|all]', help: 'breakpoints and watchpoints below the kernel count only in the address space of this server or program',
    run(target, _thread, [name], print) {
      if (name !== undefined && !target.awareness) throw new MonitorError('space: nothing is known of the address spaces of this guest');
      if (name !== undefined) target.space = name === 'all' ? undefined : name;
      print(`breakpoints in user code count in ${target.space ?? 'all address spaces'}\n`);
    },
  },
  panic: {
    usage: 'panic [on|off]', help: 'whether a panic of the kernel stops like a breakpoint',
    run(target, _thread, [word], print) {
      if (word !== undefined && word !== 'on' && word !== 'off') throw new MonitorError(`panic: on or off, not "${word}"`);
      if (word !== undefined && !target.awareness) throw new MonitorError('panic: nothing is known of this guest');
      if (word !== undefined) target.pauseOnPanic(word === 'on');
      print(`a panic of the kernel ${target.panicStop ? 'stops' : 'does not stop'}\n`);
    },
  },
  xp: {
    usage: 'xp ADDRESS [WORDS]', help: 'words of physical memory',
    run({ machine: { board } }, _thread, [address, count], print) {
      const at = parse(address, 'xp') & ~3, words = count === undefined ? 4 : parse(count, 'xp');
      if ((at >>> 0) + words * 4 > board.ramBytes) throw new MonitorError(`xp: RAM ends at ${hex(board.ramBytes)}`);
      for (let n = 0; n < words; n += 4) print(`${hex(at + n * 4)}: ${Array.from({ length: Math.min(4, words - n) }, (_, k) => `0x${hex(board.ramWords[(at >>> 2) + n + k]!)}`).join(' ')}\n`);
    },
  },
  wp: {
    usage: 'wp ADDRESS VALUE', help: 'writes a word of physical memory',
    run(target, _thread, [address, value], print) {
      const at = parse(address, 'wp'), word = parse(value, 'wp');
      if (at + 4 > target.machine.board.ramBytes) throw new MonitorError(`wp: RAM ends at ${hex(target.machine.board.ramBytes)}`);
      target.debug.port.writePhysical(at, Uint8Array.of(word & 255, (word >>> 8) & 255, (word >>> 16) & 255, word >>> 24));
      target.changed();
      print(`${hex(at)}: 0x${hex(word)}\n`);
    },
  },
  hash: { usage: 'hash', help: 'the state hash of this moment', run({ machine }, _thread, _words, print) { print(`${machine.hash()}\n`); } },
};

/** Runs one command; what is wrong is printed. */
export async function monitor(target: MachineTarget, thread: number, line: string, print: Print): Promise<void> {
  const [name = '', ...words] = line.split(/\s+/).filter((word) => word !== '');
  const command = COMMANDS[name === '' ? 'help' : name];
  if (!command) { print(`there is no command "${name}"; monitor help lists them\n`); return; }
  try { await command.run(target, thread, words, print); } catch (error) {
    if (!(error instanceof MonitorError)) throw error;
    print(`${error.message}\n`);
  }
}
