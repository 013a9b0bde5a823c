/**
 * The command line. Each command is a room of its own, loaded when it is asked for, so that a start does not pay for the tests.
 *
 *   kintsugi                start the system, shell on this terminal      start.ts
 *   kintsugi run -- CMD     boot, run one command, give its status        run.ts
 *   kintsugi profile        where a command's instructions go             profile.ts
 *   kintsugi vm             any multiboot kernel on the bare machine      vm.ts
 *   kintsugi build          build the guest and the root image            guest.ts
 *   kintsugi image          make an ext2 disk image from a folder         image.ts
 *   kintsugi bench          measure beside the peers                      bench.ts
 *   kintsugi demo           what it can do that others cannot             demo.ts
 *   kintsugi inject         fault-injection campaigns                     inject.ts
 *   kintsugi replay ID      one experiment again, watched                 inject.ts
 *   kintsugi show ID        its row                                       inject.ts
 *   kintsugi test           every check                                   testing.ts
 */
import type { CpuModel } from '../../vm/cpu/isa/models.ts';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { EXIT, UserError, reportError } from './errors.ts';
import { flushOutput, guardOutput, readerGone } from './output.ts';
import type { SystemOptions } from './system.ts';

/** A whole number between two bounds, or commander's own clear error. */
const whole = (least: number, most: number) => (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > most) throw new InvalidArgumentError(`Expected a whole number from ${least} to ${most}.`);
  return value;
};
const seconds = (text: string): number => {
  const value = Number(text);
  if (!(value > 0) || value > 1e6) throw new InvalidArgumentError('Expected seconds above 0.');
  return value;
};
const milliseconds = (text: string): number => {
  const value = Number(text);
  if (!(value >= 0.1) || value > 1e6) throw new InvalidArgumentError('Expected milliseconds from 0.1 on.');
  return value;
};

/** A command with a NIC: what it is plugged into (vm/net/config.ts checks the values). */
function withNetOptions(command: Command, standard: 'user' | 'none'): Command {
  if (standard === 'user') command.option('--ip <address>', 'static address of the guest, ADDRESS/BITS[,GATEWAY[,RESOLVER]] (default: DHCP asks the network)');
  return command
    .option('--net <spec>', 'network: user (NAT to the host; deterministic: the built-in peer), stream:HOST:PORT or stream-listen:HOST:PORT (QEMU -netdev stream), dgram:HOST:PORT:LOCALPORT (QEMU -netdev dgram), none', standard)
    .option('--hostfwd <spec>', 'host port that leads to a port of the guest, tcp:HOST:PORT:GUESTPORT or udp:..., repeatable', collect, [])
    .option('--pcap <file>', 'write every frame to a capture file (pcap, nanoseconds: wireshark, tshark)')
    .option('--mac <address>', 'hardware address of the NIC (default 52:54:00:12:34:56; with stream and dgram one made from the specification, other at the other end)');
}
interface RawNetOptions { net: string; hostfwd: string[]; pcap?: string; mac?: string; ip?: string }
async function netOptions(raw: RawNetOptions, deterministic: boolean): Promise<{ net?: import('../../vm/net/config.ts').NetConfig; ip?: string }> {
  if (raw.net === 'none' && raw.hostfwd.length === 0 && raw.pcap === undefined && raw.mac === undefined && raw.ip === undefined) return {};
  const { netConfig, checkIp } = await import('./network.ts');
  const net = netConfig(raw, deterministic);
  return net === undefined ? {} : { net, ...(raw.ip === undefined ? {} : { ip: checkIp(raw.ip) }) };
}

const DEMO_VICTIMS = 'virtio-blk,fs,tty,uart0,uart1';
const collect = (text: string, before: string[]): string[] => [...before, text];

const cpuOption = (): Option => new Option('--cpu <model>', 'what the vCPUs are: Pentium Pro, Pentium II, or all this machine has (docs/isa.md)').choices(['i686', 'pentium2', 'max']).default('max');

function withSystemOptions(command: Command): Command {
  return command
    .addOption(new Option('--place <policy>', 'where servers run: pin = each on its home vCPU, follow = idle servers run on the caller\'s').choices(['pin', 'follow']).default('pin'))
    .option('--smp <n>', 'virtual CPUs', whole(1, 8), 4)
    .option('--memory <MiB>', 'guest memory', whole(48, 512), 128)
    .option('--disk <image>', 'ext2 disk image to use and change (default: a fresh copy of the built root, changes are dropped)')
    .option('--overlay', 'keep changes of --disk in memory and drop them at the end', false)
    .option('--deterministic', 'one thread, virtual time: the same seed gives the same run to the instruction', false)
    .option('--seed <n>', 'schedule seed of the deterministic machine', whole(0, 2 ** 31 - 1), 1)
    .option('--timeout <s>', 'give up after this many seconds (exit status 124)', seconds)
    .addOption(new Option('--jit <mode>', 'translation tiers').choices(['on', 'off', 'mixed']).default('on'))
    .addOption(cpuOption())
    .option('--trace <file>', 'write what happened as Perfetto TrackEvent: threads, IPC, interrupts, restarts (open it in ui.perfetto.dev)')
    .option('--append <text>', 'more kernel command line', '');
}

/** What can be done to a machine from outside: debug it. */
function withDebugOptions(command: Command): Command {
  return command.option('--gdb <[host:]port>', 'wait for gdb there before the first instruction; runs the deterministic machine (docs/debugging.md)');
}
/** Past and future of a deterministic machine (tools/cli/rewind.ts). */
function withRewindOptions(command: Command): Command {
  return command
    .option('--snapshot-out <file>', 'write the whole machine to a file at --at, or at the end')
    .option('--at <instruction>', 'instruction count at which --snapshot-out is written; the run goes on', whole(0, Number.MAX_SAFE_INTEGER))
    .option('--snapshot-in <file>', 'go on from a snapshot file; options and command are the file\'s')
    .option('--record <file>', 'record everything that comes from outside, so that --replay makes the same run')
    .option('--record-snapshots <n>', 'instructions between snapshots inside the recording, for --from', whole(100_000, Number.MAX_SAFE_INTEGER))
    .option('--live-net', 'with --record: the network of the host (--net user, --hostfwd) in the place of the built-in peer; its frames are recorded', false)
    .option('--replay <file>', 'make a recorded run again and compare its hashes; with --gdb: debug it')
    .option('--from <instruction>', 'begin the replay at the last snapshot before this instruction', whole(0, Number.MAX_SAFE_INTEGER));
}
type RawRewindOptions = import('./rewind.ts').RewindOptions;
async function rewindOf(raw: RawRewindOptions, kind: 'run' | 'start', options: SystemOptions, argv: readonly string[], asked: boolean): Promise<import('./rewind.ts').Rewind | undefined> {
  if ([raw.snapshotOut, raw.at, raw.snapshotIn, raw.record, raw.replay, raw.from].every((option) => option === undefined) && !raw.liveNet) return undefined;
  if (!asked && options.gdb === undefined && raw.snapshotIn === undefined && raw.replay === undefined) process.stderr.write('kintsugi: snapshots and recordings are of the deterministic machine (one thread, virtual time)\n');
  return new (await import('./rewind.ts')).Rewind(raw, kind, options, argv);
}
const rewinds = (raw: RawRewindOptions): boolean => [raw.snapshotOut, raw.snapshotIn, raw.record, raw.replay].some((option) => option !== undefined);
async function debugOptions<T extends { deterministic: boolean; gdb?: string }>(raw: T): Promise<T> {
  return raw.gdb === undefined ? raw : { ...raw, deterministic: (await import('./debugging.ts')).gdbMode(raw.gdb, raw.deterministic) };
}

interface RawSystemOptions { place: 'pin' | 'follow'; smp: number; memory: number; disk?: string; overlay: boolean; deterministic: boolean; seed: number; timeout?: number; jit: 'on' | 'off' | 'mixed'; cpu: CpuModel; append: string; trace?: string; gdb?: string }
const systemOptions = (raw: RawSystemOptions): SystemOptions => ({
  place: raw.place, smp: raw.smp, memoryMiB: raw.memory, disk: raw.disk, overlay: raw.overlay, deterministic: raw.deterministic, seed: raw.seed,
  timeoutSeconds: raw.timeout, jit: raw.jit, cpu: raw.cpu, append: raw.append, trace: raw.trace, gdb: raw.gdb,
});

async function main(argv: readonly string[]): Promise<number> {
  let status: number = EXIT.ok;
  const program = new Command('kintsugi')
    .description('A microkernel laboratory: a capability kernel and its servers as real i386 machine code on a JIT-translating x86 VM.')
    .version('0.1.0')
    .showHelpAfterError('(see kintsugi --help)')
    .exitOverride()
    .configureOutput({ writeErr: (text) => process.stderr.write(text.replace(/^error: /, 'kintsugi: ')) })
    .enablePositionalOptions()
    .addHelpText('after', '\nExamples:\n  $ ./kintsugi                                   boot to a shell (Ctrl-A X quits)\n  $ ./kintsugi run -- sh -c \'cat /etc/motd\'       one command, its output, its status\n  $ ./kintsugi test                              every check\n');

  withRewindOptions(withDebugOptions(withNetOptions(withSystemOptions(program.command('start', { isDefault: true }).description('boot the system; the shell is on this terminal')), 'user')))
    .addHelpText('after', '\nExamples:\n  $ ./kintsugi --disk my.img --smp 2             changes in my.img survive power-off\n  $ ./kintsugi --hostfwd tcp:127.0.0.1:8080:80   port 8080 of this host is port 80 of the guest\n  $ ./kintsugi --net none                        without a network card\n  $ ./kintsugi --net stream-listen:127.0.0.1:7000 --ip 10.1.0.1/24   one end of a wire; the other: --net stream:... --ip 10.1.0.2/24\n')
    .action(async (raw: RawSystemOptions & RawNetOptions & RawRewindOptions) => {
      const asked = await debugOptions(raw), deterministic = asked.deterministic || rewinds(raw), options = { ...systemOptions(asked), deterministic, ...await netOptions(asked, deterministic && !raw.liveNet) };
      const rewind = await rewindOf(raw, 'start', options, [], asked.deterministic);
      status = await (await import('./start.ts')).start(rewind?.options ?? options, rewind);
    });

  withRewindOptions(withDebugOptions(withNetOptions(withSystemOptions(program.command('run').description('boot, run one command, print its stdout and stderr, exit with its status')), 'user')))
    .option('--json', 'one object: {exit, stdout, stderr, instructions, virtualNs, stateHash}', false)
    .option('--log', 'also show the system log (COM1) on stderr', false)
    .passThroughOptions()
    .option('--verify [jit]', 'make the run twice, the second time with this --jit (default: the same), and name the first instruction after which they differ')
    .argument('[command...]', 'program and arguments (none with --snapshot-in and --replay)')
    .addHelpText('after', '\nExamples:\n  $ ./kintsugi run --deterministic --seed 7 --json -- sh -c \'cat /etc/motd; exit 7\'\n  $ ./kintsugi run --hostfwd tcp:127.0.0.1:8080:80 --pcap httpd.pcap -- httpd /www\n  $ ./kintsugi run --record r.kin -- ls /bin && ./kintsugi run --replay r.kin\n  $ ./kintsugi run --snapshot-out s.kin --at 20000000 -- sha256sum /bin/sh; ./kintsugi run --snapshot-in s.kin\n  $ ./kintsugi run --verify off -- ls /bin            the JIT against the interpreter\n')
    .action(async (command: string[], raw: RawSystemOptions & RawNetOptions & RawRewindOptions & { json: boolean; log: boolean; verify?: string | true }) => {
      const asked = await debugOptions(raw), deterministic = asked.deterministic || rewinds(raw) || raw.verify !== undefined, options = { ...systemOptions(asked), deterministic, ...await netOptions(asked, deterministic && !raw.liveNet) };
      const rewind = await rewindOf(raw, 'run', options, command, asked.deterministic);
      if (rewind === undefined && command.length === 0) throw new UserError("missing required argument 'command'\n(see kintsugi run --help)", EXIT.usage);
      if (raw.verify !== undefined) {
        if (rewind || raw.gdb !== undefined) throw new UserError('--verify makes two runs from the beginning: not with gdb, snapshots or recordings', EXIT.usage);
        status = await (await import('./verify.ts')).verify(options, command, raw.verify === true ? raw.jit : raw.verify, { json: raw.json });
        return;
      }
      status = await (await import('./run.ts')).run(rewind?.options ?? options, rewind?.argv ?? command, { json: raw.json, log: raw.log, ...(rewind ? { rewind } : {}) });
    });

  withNetOptions(withSystemOptions(program.command('profile').description('run one command on the deterministic machine and count its instructions by server, function and TypeScript line (docs/profile.md)')), 'user')
    .addOption(new Option('--by <what>', 'rows of the table').choices(['server', 'function', 'line']).default('function'))
    .option('--lines', 'the same as --by line', false)
    .option('--top <n>', 'rows printed (--json: all of them)', whole(1, 1_000_000), 30)
    .option('--boot', 'count from the reset on, not from the first instruction of the command', false)
    .option('--every <n>', 'instructions of a vCPU between two samples of its stack; 0: no stacks', whole(0, 2 ** 31 - 1), 1000)
    .option('--speedscope <file>', 'write the samples for speedscope (www.speedscope.app)')
    .option('--collapsed <file>', 'write the samples as collapsed stacks, for flame graphs')
    .option('--vm', 'the other side: where the host\'s CPU time goes (tier 0, JIT code, decoding, compiling, soft MMU, devices, ...), of the ordinary run', false)
    .option('--cpuprofile <file>', 'with --vm: write V8\'s own profile (DevTools, speedscope)')
    .option('--quiet', 'only the report, not what the command prints', false)
    .option('--json', 'one object: {exit, stdout, stderr, instructions, virtualNs, stateHash, profile: {by, from, start, instructions, every, samples, rows, systemCalls}}; with --vm {..., vm: {threadMs, processMs, samples, rows}}', false)
    .option('--log', 'also show the system log (COM1) on stderr', false)
    .passThroughOptions()
    .argument('<command...>', 'program and arguments')
    .addHelpText('after', '\nInstructions and calls are exact; "incl. %" (with everything called) is sampled.\n\nExamples:\n  $ ./kintsugi profile -- sha256sum /bin/sh\n  $ ./kintsugi profile --by server --boot --quiet -- true\n  $ ./kintsugi profile --lines --top 50 --smp 1 -- ls -l /bin\n  $ ./kintsugi profile --speedscope ls.speedscope.json --collapsed ls.folded --every 100 -- ls /bin\n  $ ./kintsugi profile --vm -- sha256sum /bin/sh\n')
    .action(async (command: string[], raw: RawSystemOptions & RawNetOptions & { by: 'server' | 'function' | 'line'; lines: boolean; top: number; boot: boolean; every: number; speedscope?: string; collapsed?: string; quiet: boolean; json: boolean; log: boolean; vm: boolean; cpuprofile?: string }, self: Command) => {
      const asked = (name: string): boolean => self.getOptionValueSource(name) === 'cli';
      const options = { ...systemOptions(raw), deterministic: true, ...await netOptions(raw, true) };
      const { top, every, quiet, json, log, cpuprofile } = raw;
      if (raw.vm) {
        const given = ['by', 'lines', 'top', 'boot', 'every', 'speedscope', 'collapsed'].filter((name) => asked(name)).map((name) => `--${name}`);
        if (given.length > 0) throw new UserError(`--vm looks at the host, ${given.join(' and ')} at the guest: not together (--cpuprofile writes what --vm sampled)`, EXIT.usage);
        status = await (await import('./profile.ts')).profileVm(options, command, { json, quiet, log, ...(cpuprofile === undefined ? {} : { cpuprofile }) });
        return;
      }
      if (cpuprofile !== undefined) throw new UserError('--cpuprofile goes with --vm', EXIT.usage);
      if (asked('jit')) throw new UserError('--jit goes with --vm: instructions are counted in tier 0 (the run is the same, whatever the tier)', EXIT.usage);
      if (raw.lines && asked('by') && raw.by !== 'line') throw new UserError(`--lines is --by line: not with --by ${raw.by}`, EXIT.usage);
      status = await (await import('./profile.ts')).profile(options, command, {
        by: raw.lines ? 'line' : raw.by, from: raw.boot ? 'boot' : 'command', top, every, quiet, json, log,
        ...(raw.speedscope === undefined ? {} : { speedscope: raw.speedscope }), ...(raw.collapsed === undefined ? {} : { collapsed: raw.collapsed }),
      });
    });

  withDebugOptions(withNetOptions(program.command('vm'), 'none')).description('run any multiboot 1 kernel on the bare machine; debug-exit (port 0xf4) sets the status 2v+1')
    .requiredOption('--kernel <elf>', 'multiboot 1 kernel')
    .option('--append <text>', 'kernel command line', '')
    .option('--module <file[ string]>', 'multiboot module, repeatable', collect, [])
    .option('--memory <MiB>', 'guest memory', whole(2, 1024), 128)
    .option('--smp <n>', 'virtual CPUs', whole(1, 8), 1)
    .addOption(new Option('--serial <sink>', 'where COM1 goes').choices(['stdio', 'none']).default('stdio'))
    .option('--disk <image>', 'disk image behind virtio-blk')
    .option('--deterministic', 'one thread, virtual time', false)
    .option('--seed <n>', 'schedule seed', whole(0, 2 ** 31 - 1), 1)
    .addOption(new Option('--jit <mode>', 'translation tiers').choices(['on', 'off', 'mixed']).default('on'))
    .addOption(cpuOption())
    .option('--timeout <s>', 'give up after this many seconds (exit status 124)', seconds)
    .option('--json', 'print {reason, exit, instructions, virtualNs, stateHash} on stdout at the end', false)
    .addHelpText('after', '\nExample:\n  $ ./kintsugi vm --kernel kernel.elf --append \'loglevel=3\' --memory 128 --serial stdio --timeout 10\n')
    .action(async (raw: Omit<import('./vm.ts').VmOptions, 'network'> & RawNetOptions) => { const asked = await debugOptions(raw), { net } = await netOptions(asked, asked.deterministic); status = await (await import('./vm.ts')).vm({ ...asked, ...(net === undefined ? {} : { network: net }) }); });

  program.command('build').description('build the guest and the root image (a second build does nothing)')
    .option('--json', 'report as JSON', false)
    .addHelpText('after', '\nExample:\n  $ ./kintsugi build\n')
    .action(async (raw: { json: boolean }) => { (await import('./guest.ts')).ensureGuest({ always: true, json: raw.json }); });

  program.command('image <file>').description('make an ext2 disk image from a folder (default: the root file system)')
    .option('--from <folder>', 'what goes in')
    .option('--size <MiB>', 'size of the image', whole(1, 2048), 64)
    .addOption(new Option('--block-size <bytes>', 'size of a block').choices(['1024', '2048', '4096']).default('4096'))
    .addHelpText('after', '\nExample:\n  $ ./kintsugi image my.img --size 128\n')
    .action(async (file: string, raw: { from?: string; size: number; blockSize: string }) => {
      status = await (await import('./image.ts')).image(file, { ...raw, blockSize: Number(raw.blockSize) });
    });

  program.command('bench <what>').description('measure beside the peers: vm, ipc, fs or net; rewind: what snapshots and the way back cost')
    .option('--json', 'rows as JSON', false)
    .option('--runs <n>', 'vm, fs, net, rewind: repetitions (the median counts)', whole(1, 50), 3)
    .option('--launches <n>', 'ipc: machines per tier (default 10)', whole(1, 100))
    .option('--quick', 'ipc: two launches, few samples; net: a tenth of the work: a look, not a measurement', false)
    .addOption(new Option('--place <policy>', 'net: where servers run').choices(['pin', 'follow']).default('follow'))
    .option('--smp <n>', 'net: virtual CPUs (default: follow 1, pin 4)', whole(1, 16))
    .option('--rows <names>', 'net: some of ping,incoming,outgoing,receive,send; vm: rows by name, or kinds of them: integer,memory,float,kernel,smp,start')
    .option('--peers <names>', 'vm: some of native,here,v86,qemu')
    .addOption(new Option('--only <part>', 'net: leave the other part out').choices(['instructions', 'times']))
    .option('--force', 'ipc: measure although the machine is not steady', false)
    .option('--svg <file>', 'write the figure: vm: multiples of native time; ipc: distributions and size sweep')
    .option('--record', 'vm, ipc: append a line to docs/history; vm: also write its table into docs/machine.md', false)
    .addHelpText('after', '\nExamples:\n  $ ./kintsugi bench vm --svg vm.svg --record\n  $ ./kintsugi bench vm --rows smp,start --peers here,qemu\n  $ ./kintsugi bench vm --rows ipc,fault --runs 9\n  $ ./kintsugi bench ipc --quick\n  $ ./kintsugi bench ipc --svg ipc.svg --record   about a minute on a quiet machine\n  $ ./kintsugi bench net --rows ping,incoming --json\n')
    .action(async (what: string, raw: import('./bench.ts').BenchOptions) => { status = await (await import('./bench.ts')).bench(what, raw); });

  withSystemOptions(program.command('demo <what>').description('restart: kill servers under running programs, again and again, and check every byte afterwards; tcp: kill net, its driver and fs under one TCP connection'))
    .option('--kills <n>', 'how many', whole(1, 1_000_000), 40)
    .option('--period <ms>', 'one kill every so many milliseconds of guest time (default 200, tcp 500)', milliseconds)
    .option('--victims <names>', `comma-separated: virtio-blk, fs, tty, uart0, uart1, supervisor; tcp also net, virtio-net (default ${DEMO_VICTIMS}; tcp net,virtio-net,fs)`)
    .option('--bytes <MiB>', 'tcp: one stream, down and then up, as often as --kills needs', whole(1, 1024), 64)
    .option('--compare', 'tcp: kills and rests in turn, four kills long each, and says what the kills cost', false)
    .option('--pcap <file>', 'tcp: write every frame')
    .option('--sweep', 'the proof instead of the show: one operation at a time, its servers killed at every instruction of the handling (restart: fs and virtio-blk; tcp: net and virtio-net, one segment of each kind)', false)
    .option('--operations <names>', 'sweep: files (write, append, rename, ...; default of restart), net (syn, data, fin, call-send, ...; default of tcp), or some by name')
    .option('--limit <n>', 'sweep: most kills of one victim in one operation; where there are more instructions every k-th is taken', whole(1, 1_000_000), 20_000)
    .option('--jobs <n>', 'sweep: threads; the results do not depend on it', whole(1, 64), 2)
    .option('--workers <n>', 'programs at work', whole(1, 16), 3)
    .option('--keep <image>', 'keep the final disk image')
    .option('--log', 'also show the system log (COM1) on stderr', false)
    .option('--json', 'one object: {kills, midRequest, restarts, redelivered, lost, wrongChecksums, recoveryNs, recoveryInstructions, phases, ...}', false)
    .addHelpText('after', '\nExit status 1 when anything was lost or is wrong.\n\nExamples:\n  $ ./kintsugi demo restart\n  $ ./kintsugi demo restart --kills 200 --period 50 --seed 7 --place follow --json\n  $ ./kintsugi demo restart --deterministic --kills 20 --period 5 --victims fs\n  $ ./kintsugi demo restart --sweep --limit 200\n  $ ./kintsugi demo tcp --sweep --operations syn,data,fin --limit 500\n  $ ./kintsugi demo tcp --kills 20 --place follow\n  $ ./kintsugi demo tcp --compare --period 1000 --place follow\n  $ ./kintsugi demo tcp --deterministic --kills 20 --period 20 --bytes 4 --json\n')
    .action(async (what: string, raw: RawSystemOptions & { sweep: boolean; compare: boolean; pcap?: string; operations?: string; limit: number; jobs: number; kills: number; period?: number; victims?: string; bytes: number; workers: number; keep?: string; log: boolean; json: boolean }) => {
      if (raw.sweep && (what === 'restart' || what === 'tcp')) {
        const victims = raw.victims ?? 'fs,virtio-blk,net,virtio-net', operations = raw.operations ?? (what === 'tcp' ? 'net' : 'files');
        status = await (await import('./sweep.ts')).sweepCommand({ victims: victims.split(','), operations: operations.split(','), limit: raw.limit, jobs: raw.jobs, cpus: 1, seed: 0, json: raw.json });
        return;
      }
      if (what === 'tcp') {
        status = await (await import('./demo-tcp.ts')).demoTcpCommand({ ...systemOptions(raw), kills: raw.kills, periodMs: raw.period ?? 500, victims: (raw.victims ?? 'net,virtio-net,fs').split(','), bytes: raw.bytes * 1048576, compare: raw.compare, ...(raw.pcap === undefined ? {} : { pcap: raw.pcap }) }, { json: raw.json, log: raw.log });
        return;
      }
      const { keep } = raw;
      status = await (await import('./demo.ts')).demo(what, { ...systemOptions(raw), kills: raw.kills, periodMs: raw.period ?? 200, victims: (raw.victims ?? DEMO_VICTIMS).split(','), workers: raw.workers, ...(keep === undefined ? {} : { keep }) }, { json: raw.json, log: raw.log });
    });

  program.command('inject').description('a fault-injection campaign: break servers, drivers or the kernel at many points of a workload and see what becomes of it')
    .argument('[spec]', 'JSON file: {target, model, n, seed, trigger, workload, cpus, scheduleSeed, memory, boundMs}')
    .option('--target <names>', 'comma-separated: supervisor, process, fs, tty, net, uart0, uart1, virtio-blk, virtio-net, kernel; or all, servers, drivers')
    .option('--model <names>', 'comma-separated: reg.flip, mem.flip, text, nop, src, dst, ptr, loop, interface, ipc.drop, ipc.dup, ipc.corrupt, disk.error, server.kill, server.hang; or swifi, flips, ipc, all')
    .option('--n <count>', 'number of experiments (default 100)', whole(1, 10_000_000))
    .option('--seed <n>', 'seed of the campaign (default 1)', whole(0, 2 ** 31 - 1))
    .option('--symbol <function>', 'strike when the target enters this function')
    .option('--nth <n>', 'at the n-th hit of the symbol, the n-th message (ipc models), the n-th disk transfer (disk.error)', whole(1, 2 ** 31 - 1))
    .option('--cpus <n>', 'virtual CPUs (default 1)', whole(1, 8))
    .option('--workload <name>', 'what runs meanwhile: files (shell and file system, no network card) or net (name, echo, datagram, HTTP, a stream; the deterministic gateway) (default files)')
    .option('--bound <ms>', 'time bound of requests in guest time, after which a server counts as hung (fs three times that; default 5, 0: the real 5 s)', whole(0, 60_000))
    .option('--workers <n>', 'threads; the results do not depend on it', whole(1, 64), 2)
    .option('--json', 'one object: {id, n, seed, outcomes, perSecond, rows: [...]}', false)
    .option('--failures', 'Markdown instead of the table: spec, images and the row of every failure, by class, target and model', false)
    .addHelpText('after', '\nThe same command goes on where it stopped: results are kept in .kintsugi/campaigns.\n\nExamples:\n  $ ./kintsugi inject --target fs --model reg.flip --n 500 --seed 1\n  $ ./kintsugi inject --target all --model swifi --n 3000\n  $ ./kintsugi inject --target fs --model server.kill --symbol servers/fs/names/rename --n 1\n  $ ./kintsugi inject --workload net --target net,virtio-net --model all --n 1000\n  $ ./kintsugi inject campaign.json --workers 4 --json\n')
    .action(async (file: string | undefined, raw: import('./inject.ts').InjectOptions) => { status = await (await import('./inject.ts')).inject(file, raw); });
  program.command('replay <id>').description('run one experiment of a campaign again, to the same state hash, and print the trace records and functions before and after the fault')
    .option('--count <n>', 'lines on either side of the fault', whole(1, 1000), 12)
    .option('--gdb <[host:]port>', 'stop at the injected instruction and wait for gdb there (docs/debugging.md)')
    .option('--json', 'one object', false)
    .addHelpText('after', '\nExample:\n  $ ./kintsugi replay a94c9421:17\n  $ ./kintsugi replay a94c9421:17 --gdb 1234\n')
    .action(async (id: string, raw: { count: number; json: boolean; gdb?: string }) => { const { debugReplay, replay } = await import('./inject.ts'); status = raw.gdb === undefined ? replay(id, raw) : await debugReplay(id, raw.gdb); });
  program.command('show <id>').description('print one row of a campaign')
    .option('--json', 'one object', false)
    .addHelpText('after', '\nExample:\n  $ ./kintsugi show a94c9421:17\n')
    .action(async (id: string, raw: { json: boolean }) => { status = (await import('./inject.ts')).show(id, raw.json); });

  program.command('test').description('every check: types, guest build, suites')
    .argument('[filters...]', 'only test files whose path contains one of these')
    .option('--full', 'the slow suites too', false)
    .option('--no-typecheck', 'skip the type check')
    .addHelpText('after', '\nExample:\n  $ ./kintsugi test test/fs\n')
    .action(async (filters: string[], raw: { full: boolean; typecheck: boolean }) => {
      status = (await import('./testing.ts')).runTests({ full: raw.full, filters, typecheck: raw.typecheck });
    });

  const word = argv[0];
  if (word !== undefined && !word.startsWith('-') && word !== 'help' && !program.commands.some((command) => command.name() === word)) {
    process.stderr.write(`kintsugi: unknown command '${word}'; there are: ${program.commands.map((command) => command.name()).join(', ')}\n(see kintsugi --help)\n`);
    return EXIT.usage;
  }
  try {
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return reportError(error);
  }
  return status;
}

// Started by a launcher on an older Node: when that is killed, nobody waits for us any more.
const launcher = Number(process.env['KINTSUGI_LAUNCHER']);
delete process.env['KINTSUGI_LAUNCHER'];
if (launcher > 1 && process.ppid === launcher) setInterval(() => { if (process.ppid !== launcher) process.exit(EXIT.internal); }, 500).unref();

guardOutput();
const status = await main(process.argv.slice(2));
await flushOutput();
// Workers and stdin may still hold the process.
process.exit(readerGone() && status === EXIT.ok ? EXIT.pipe : status);
