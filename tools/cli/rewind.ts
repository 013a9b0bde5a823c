/**
 * What start and run can do with the past of a deterministic machine: write and read snapshot files, record a run and run it again.
 *
 * A file carries what is needed to build its machine again (options, command), so `--snapshot-in` and `--replay` need nothing else: what the command line says
 * about CPUs, memory, seed or network is not looked at then.
 */
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import type { DeterministicMachine, Machine, MachineConfig, MachineResult, Milestones, SerialLine } from '../../vm/machine.ts';
import { FileError } from '../../vm/container.ts';
import { Recorder, ReplayChecker, decodeRecording, type Recording, type ReplayReport } from '../../vm/recording.ts';
import { decodeSnapshot, encodeSnapshot, restoreStored, type StoredSnapshot } from '../../vm/snapshot-file.ts';
import { EXIT, UserError } from './errors.ts';
import type { SystemOptions } from './system.ts';

export interface RewindOptions {
  readonly snapshotOut?: string;
  /** Instruction count of `snapshotOut`; absent: the end of the run. */
  readonly at?: number;
  readonly snapshotIn?: string;
  readonly record?: string;
  /** Instructions between snapshots in a recording; 0: none. */
  readonly recordSnapshots?: number;
  /** Record with the network of the host in the place of the built-in peer. */
  readonly liveNet?: boolean;
  readonly replay?: string;
  /** A replay begins at the last snapshot of the recording not after this instruction. */
  readonly from?: number;
}
/** What our files say beside the machine. */
interface App { readonly kind: 'run' | 'start'; readonly argv: readonly string[]; readonly options: Pick<SystemOptions, 'place' | 'smp' | 'memoryMiB' | 'disk' | 'seed' | 'append' | 'net'>; /** Frames of the network are in the recording. */ readonly liveNet?: boolean; /** Output so far. */ readonly com1: Uint8Array; readonly com2: Uint8Array }

const isApp = (app: unknown): app is App => {
  const { kind, argv, options } = (app ?? {}) as Partial<App>;
  return (kind === 'run' || kind === 'start') && Array.isArray(argv) && typeof options === 'object' && options !== null && typeof options.smp === 'number' && typeof options.memoryMiB === 'number' && (options.place === 'pin' || options.place === 'follow');
};
const readInput = (file: string): Uint8Array => {
  try { return readFileSync(file); } catch (error) { throw new UserError(`${file}: ${(error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : (error as Error).message}`); }
};

/** Several milestones as one. */
class Together implements Milestones {
  readonly #all: readonly Milestones[];
  constructor(all: readonly Milestones[]) { this.#all = all; }
  get next(): number { return Math.min(Infinity, ...this.#all.map(({ next }) => next)); }
  reached(machine: DeterministicMachine): void { for (const each of this.#all) if (each.next <= machine.instructions) each.reached(machine); }
}

export class Rewind {
  /** The options and the command of the run: the file's when there is one. */
  readonly options: SystemOptions;
  readonly argv: readonly string[];
  readonly #asked: RewindOptions;
  readonly #kind: App['kind'];
  readonly #stored: StoredSnapshot | undefined;
  readonly #recording: Recording | undefined;
  readonly #recorder: Recorder | undefined;
  readonly #checker: ReplayChecker | undefined;
  #recordFile = -1;
  #saved = false;
  readonly #com1: Uint8Array[] = [];
  readonly #com2: Uint8Array[] = [];

  constructor(asked: RewindOptions, kind: App['kind'], options: SystemOptions, argv: readonly string[]) {
    this.#asked = asked;
    this.#kind = kind;
    const files = [asked.snapshotIn, asked.replay].filter((file) => file !== undefined);
    if (files.length > 1) throw new UserError('--snapshot-in and --replay: a machine can begin in one place only; --replay FILE --from N begins in the middle of a recording', EXIT.usage);
    if (asked.record !== undefined && files.length > 0) throw new UserError('--record begins with the machine: not with --snapshot-in or --replay', EXIT.usage);
    if (asked.at !== undefined && asked.snapshotOut === undefined) throw new UserError('--at says when --snapshot-out is written: give both', EXIT.usage);
    if (asked.liveNet && asked.record === undefined) throw new UserError('--live-net goes with --record: a run with a live network repeats only from its recording', EXIT.usage);
    if (asked.from !== undefined && asked.replay === undefined) throw new UserError('--from says where --replay begins: give both', EXIT.usage);
    if (options.gdb !== undefined && (asked.record !== undefined || asked.snapshotOut !== undefined)) throw new UserError('--gdb: record, or write snapshots, without gdb; then debug the recording (--replay FILE --gdb PORT)', EXIT.usage);
    if (asked.replay !== undefined) {
      const recording = this.#recording = decodeRecording(readInput(asked.replay), asked.replay);
      if (asked.from !== undefined) this.#stored = recording.snapshots.findLast(({ meta }) => meta.instructions <= asked.from!);
      this.#checker = new ReplayChecker(recording, this.#stored?.meta.instructions ?? 0);
    } else if (asked.snapshotIn !== undefined) this.#stored = decodeSnapshot(readInput(asked.snapshotIn), asked.snapshotIn);
    const head = this.#recording?.head ?? this.#stored?.meta, file = asked.replay ?? asked.snapshotIn;
    if (head !== undefined && file !== undefined) {
      const { app } = head;
      if (!isApp(app)) throw new FileError('mismatch', file, 'it was not written by start or run');
      if (app.kind !== kind) throw new UserError(`${file} is of "kintsugi ${app.kind}": say ./kintsugi ${app.kind} ${asked.replay === undefined ? '--snapshot-in' : '--replay'} ${file}`, EXIT.usage);
      if (argv.length > 0) throw new UserError(`${file} has its own command (${app.argv.join(' ')}); give none`, EXIT.usage);
      const net = app.options.net ?? undefined, disk = app.options.disk ?? undefined;
      this.argv = app.argv;
      this.options = { ...options, place: app.options.place, smp: app.options.smp, memoryMiB: app.options.memoryMiB, seed: app.options.seed, append: app.options.append, net, disk, overlay: true, deterministic: true };
    } else {
      if (kind === 'run' && argv.length === 0) throw new UserError("missing required argument 'command'", EXIT.usage);
      this.argv = argv;
      // A file is wanted: changes of a disk must stay in memory, where snapshots see them.
      this.options = { ...options, deterministic: true, ...(options.disk !== undefined && !options.overlay ? refuseRaw(options.disk) : {}) };
    }
    if (asked.record !== undefined) this.#recorder = new Recorder((bytes) => { writeSync(this.#recordFile, bytes); }, this.#app(), { snapshotEvery: asked.recordSnapshots ?? 0 });
  }
  /** Output goes on where the file stopped. */
  get resumes(): boolean { return this.#stored !== undefined; }
  get replays(): boolean { return this.#recording !== undefined; }

  #app(): App {
    const { place, smp, memoryMiB, disk, seed, append, net } = this.options;
    return { kind: this.#kind, argv: this.argv, options: { place, smp, memoryMiB, seed, append, ...(disk === undefined ? {} : { disk: path.resolve(disk) }), ...(net === undefined ? {} : { net }) }, ...(this.#asked.liveNet ? { liveNet: true } : {}), com1: Buffer.concat(this.#com1), com2: Buffer.concat(this.#com2) };
  }
  config(): Partial<MachineConfig> {
    const recording = this.#recording, last = recording && (recording.end === undefined ? Math.max(recording.inputs.at(-1)?.instructions ?? 0, recording.rungs.at(-1)?.instructions ?? 0) : recording.end.reason === 'stopped' || recording.end.reason === 'timeout' ? recording.end.instructions : undefined);
    const saver: Milestones = { next: this.#asked.snapshotOut !== undefined && this.#asked.at !== undefined ? this.#asked.at : Infinity, reached: (machine) => { (saver as { next: number }).next = Infinity; this.#save(machine); } };
    return {
      milestones: new Together([saver, ...(this.#recorder ? [this.#recorder] : []), ...(this.#checker ? [this.#checker] : [])]),
      ...(this.#asked.liveNet ? { liveNet: 'open' as const, interactive: true } : this.#recording && (this.#recording.head.app as App).liveNet ? { liveNet: 'recorded' as const } : {}),
      ...(this.#recorder ? { record: this.#recorder.record } : {}), ...(recording ? { replay: recording.inputs } : {}), ...(last === undefined ? {} : { maxInstructions: last }),
    };
  }
  /** What the machine said on a serial line: a snapshot takes it along. */
  said(line: SerialLine, bytes: Uint8Array): void { if (this.#asked.snapshotOut !== undefined) (line === 0 ? this.#com1 : this.#com2).push(bytes); }
  /** Before the first instruction. Gives the output that was said before the place where the machine begins now. */
  created(machine: Machine): { readonly com1: Uint8Array; readonly com2: Uint8Array } {
    const own = machine as DeterministicMachine;
    if (this.#recorder) { this.#recordFile = openSync(this.#asked.record!, 'w'); this.#recorder.begin(own); }
    if (this.#recording) this.#checkImages(own, this.#recording.head, this.#asked.replay!);
    if (!this.#stored) return { com1: new Uint8Array(0), com2: new Uint8Array(0) };
    if (!this.#recording) this.#checkImages(own, this.#stored.meta, this.#asked.snapshotIn!);
    restoreStored(own, this.#stored);
    const app = this.#stored.meta.app as App | null, said = { com1: app?.com1 ?? new Uint8Array(0), com2: app?.com2 ?? new Uint8Array(0) };
    this.said(0, said.com1);
    this.said(1, said.com2);
    return said;
  }
  #checkImages(machine: DeterministicMachine, head: { readonly layout: string; readonly images: readonly { readonly name: string; readonly crc: number }[] }, file: string): void {
    const changed = head.images.filter(({ name, crc }) => machine.images.find((image) => image.name === name)?.crc !== crc).map(({ name }) => name);
    if (changed.length === 0) return;
    // A snapshot brings its own memory along; a replay from the beginning loads the images of now.
    if (this.#stored === undefined) throw new FileError('mismatch', file, `these guest images have changed since it was recorded: ${changed.join(', ')}`);
    process.stderr.write(`kintsugi: ${file}: guest images have changed since (${changed.join(', ')}): symbols and traces will not fit\n`);
  }
  #save(machine: DeterministicMachine): void {
    this.#saved = true;
    const bytes = encodeSnapshot(machine, this.#app());
    writeFileSync(this.#asked.snapshotOut!, bytes);
    process.stderr.write(`kintsugi: ${this.#asked.snapshotOut}: instruction ${machine.instructions}, ${(bytes.length / 1048576).toFixed(1)} MiB\n`);
  }
  /** The machine has ended; it must not be closed yet. */
  finished(machine: Machine, result: MachineResult): ReplayReport | undefined {
    const { snapshotOut, at } = this.#asked;
    if (snapshotOut !== undefined && !this.#saved) {
      if (at !== undefined) process.stderr.write(`kintsugi: the run ended after ${result.instructions} instructions, before --at ${at}: no snapshot was written\n`);
      else this.#save(machine as DeterministicMachine);
    }
    if (this.#recorder) {
      this.#recorder.finish(result);
      closeSync(this.#recordFile);
      const { inputs, snapshots } = this.#recorder.counters;
      process.stderr.write(`kintsugi: ${this.#asked.record}: ${result.instructions} instructions, ${inputs} inputs${snapshots > 0 ? `, ${snapshots} snapshots` : ''}\n`);
    }
    if (!this.#checker || !this.#recording) return undefined;
    const report = this.#checker.finish(result), { divergence } = report;
    if (divergence) process.stderr.write(`kintsugi: ${this.#recording.subject}: ANOTHER RUN: after instruction ${divergence.after} it was still the recorded one, at ${divergence.at} it is not (${divergence.found}, recorded ${divergence.expected})\n`);
    else process.stderr.write(`kintsugi: ${this.#recording.subject}: the same run, ${report.checked} hashes compared${this.#recording.end ? '' : '; the recording was cut off there'}\n`);
    return report;
  }
}
function refuseRaw(disk: string): never { throw new UserError(`--disk ${disk} is written directly, so its past is gone; add --overlay to keep changes in memory`, EXIT.usage); }
