/**
 * Recordings of deterministic runs (kind "RECO", vm/container.ts): everything that came from outside, with the moment at which the guest got it, and hashes
 * to prove that a replay is the same run.
 *
 *   HEAD   msgpack: layout, size, images, disks of the machine; whatever the application needs to build it again (`app`)
 *   INPT   msgpack: inputs in order (vm/inputs.ts)
 *   HASH   msgpack: {instructions, hash}, now and then
 *   META.. a snapshot inside (vm/snapshot-file.ts), with the number of inputs delivered before it in its header: a replay can begin there
 *   LAST   msgpack: how the run ended; then the end. A file without it was cut off, and replays up to where it ends
 *
 * A deterministic machine has no other input: disks change only through it, the network's peer is part of it, and a live network (vm/net/live-wire.ts) is input. Recording costs its inputs and, where they are
 * wanted, hashes and snapshots.
 */
import { Packr, Unpackr } from 'msgpackr';
import { FileError, containerEnd, containerHead, readContainer, section } from './container.ts';
import type { InputRecord } from './inputs.ts';
import type { DeterministicMachine, MachineResult, Milestones } from './machine.ts';
import { describeSnapshot, readSnapshotSections, snapshotSections, type SnapshotMeta, type StoredSnapshot } from './snapshot-file.ts';

export const RECORDING_KIND = 'RECO', RECORDING_FORMAT = 1;
const packr = new Packr({ useRecords: false }), unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true });
/** Inputs are written out when so many have gathered, or at the next hash. */
const INPUT_BATCH = 64;

export interface RecorderOptions {
  /** Instructions between two hashes. Default 5,000,000. */
  readonly hashEvery?: number;
  /** Instructions between two snapshots inside; 0 (default): none. */
  readonly snapshotEvery?: number;
}
export type RecordingHead = Omit<SnapshotMeta, 'instructions' | 'virtualNs' | 'stateHash' | 'waiting'>;
export interface RecordingEnd { readonly reason: string; readonly status: number; readonly instructions: number; readonly virtualNs: number; readonly stateHash: string }
export interface Rung { readonly instructions: number; readonly hash: string }
export interface Recording {
  readonly subject: string;
  readonly head: RecordingHead;
  readonly inputs: readonly InputRecord[];
  readonly rungs: readonly Rung[];
  /** By position, in order. */
  readonly snapshots: readonly StoredSnapshot[];
  /** Undefined: the file was cut off. */
  readonly end: RecordingEnd | undefined;
}

/** Hand its `record` and `milestones` to the machine's configuration, `begin` it with the machine, `finish` it with the result. */
export class Recorder implements Milestones {
  next = Infinity;
  readonly #write: (bytes: Uint8Array) => void;
  readonly #app: unknown;
  readonly #hashEvery: number;
  readonly #snapshotEvery: number;
  #snapshotAt: number;
  #hashAt: number;
  #inputs: InputRecord[] = [];
  /** Of hashes and snapshots; inputs are not counted. */
  readonly counters = { inputs: 0, hashes: 0, snapshots: 0 };

  constructor(write: (bytes: Uint8Array) => void, app: unknown, options: RecorderOptions = {}) {
    this.#write = write;
    this.#app = app;
    this.#hashEvery = options.hashEvery ?? 5_000_000;
    this.#snapshotEvery = options.snapshotEvery ?? 0;
    this.#hashAt = this.#hashEvery;
    this.#snapshotAt = this.#snapshotEvery || Infinity;
  }
  readonly record = (input: InputRecord): void => {
    this.counters.inputs++;
    if (this.#inputs.push(input) >= INPUT_BATCH) this.#flush();
  };
  begin(machine: DeterministicMachine): void {
    const { instructions, virtualNs, stateHash, waiting, ...head } = describeSnapshot(machine, this.#app);
    void virtualNs; void stateHash; void waiting;
    if (instructions !== 0) throw new RangeError('a recording begins with the machine');
    this.#write(containerHead(RECORDING_KIND, RECORDING_FORMAT));
    this.#write(section('HEAD', packr.pack(head)));
    this.next = Math.min(this.#hashAt, this.#snapshotAt);
  }
  reached(machine: DeterministicMachine): void {
    const { instructions } = machine;
    this.#flush();
    if (instructions >= this.#hashAt) {
      this.counters.hashes++;
      this.#write(section('HASH', packr.pack({ instructions, hash: machine.hash() } satisfies Rung)));
      this.#hashAt = (Math.floor(instructions / this.#hashEvery) + 1) * this.#hashEvery;
    }
    if (instructions >= this.#snapshotAt) {
      this.counters.snapshots++;
      // Input that waits comes from the recording itself.
      for (const bytes of snapshotSections({ ...describeSnapshot(machine, null), waiting: [] }, machine.snapshot())) this.#write(bytes);
      this.#snapshotAt = (Math.floor(instructions / this.#snapshotEvery) + 1) * this.#snapshotEvery;
    }
    this.next = Math.min(this.#hashAt, this.#snapshotAt);
  }
  finish(result: MachineResult): void {
    this.#flush();
    const { reason, status, instructions, virtualNs, stateHash } = result;
    this.#write(section('LAST', packr.pack({ reason, status, instructions, virtualNs, stateHash } satisfies RecordingEnd)));
    this.#write(containerEnd());
  }
  #flush(): void {
    if (this.#inputs.length === 0) return;
    this.#write(section('INPT', packr.pack(this.#inputs)));
    this.#inputs = [];
  }
}

const count = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value) && value >= 0;
const isInput = (value: InputRecord): boolean => count(value.instructions) && count(value.ns) && (value.line === 0 || value.line === 1 || value.line === 'net') && value.bytes instanceof Uint8Array;
const isHead = (value: RecordingHead): boolean => typeof value.layout === 'string' && count(value.cpus) && count(value.ramBytes) && Array.isArray(value.images) && Array.isArray(value.disks) && typeof value.net === 'boolean';
const isRung = (value: Rung): boolean => count(value.instructions) && typeof value.hash === 'string';
const isEnd = (value: RecordingEnd): boolean => typeof value.reason === 'string' && count(value.status) && count(value.instructions) && count(value.virtualNs) && typeof value.stateHash === 'string';

export function decodeRecording(bytes: Uint8Array, subject: string): Recording {
  const { sections } = readContainer(bytes, subject, RECORDING_KIND, RECORDING_FORMAT, true);
  const unpack = <T>(payload: Uint8Array, what: string, ok: (value: T) => boolean): T => {
    let value: T, good = false;
    try { value = unpackr.unpack(payload) as T; good = ok(value); } catch (cause) { throw new FileError('damaged', subject, `${what} cannot be read`, { cause }); }
    if (!good) throw new FileError('damaged', subject, `${what} has not the shape it should have`);
    return value;
  };
  if (sections[0]?.tag !== 'HEAD') throw sections.length === 0 ? new FileError('truncated', subject, 'the file ends before the description of the run') : new FileError('damaged', subject, 'the description of the run is missing');
  const head = unpack<RecordingHead>(sections[0].payload, 'the description of the run', isHead);
  const inputs: InputRecord[] = [], rungs: Rung[] = [], snapshots: StoredSnapshot[] = [];
  let end: RecordingEnd | undefined;
  for (let n = 1; n < sections.length; n++) {
    const { tag, payload } = sections[n]!;
    if (tag === 'INPT') inputs.push(...unpack<InputRecord[]>(payload, 'a batch of inputs', (value) => Array.isArray(value) && value.every(isInput)));
    else if (tag === 'HASH') rungs.push(unpack(payload, 'a hash', isRung));
    else if (tag === 'LAST') end = unpack(payload, 'the end of the run', isEnd);
    else if (tag === 'META') {
      let read;
      // A snapshot may have been cut off; what came before it counts.
      try { read = readSnapshotSections(sections, subject, n); } catch (error) { if (error instanceof FileError && n + 2 >= sections.length) break; throw error; }
      snapshots.push(read.stored);
      n = read.next - 1;
    } else throw new FileError('damaged', subject, `a section "${tag}" has no place here`);
  }
  return { subject, head, inputs, rungs, snapshots, end };
}

/** What a replay found. `divergence`: the first rung (or the end) at which it was another run; undefined: the same to the bit. */
export interface ReplayReport { readonly instructions: number; readonly inputs: number; readonly checked: number; readonly divergence: { readonly after: number; readonly at: number; readonly expected: string; readonly found: string } | undefined }

/** Checks a machine that replays against the recording's hashes: its `milestones`. */
export class ReplayChecker implements Milestones {
  readonly #recording: Recording;
  #rung = 0;
  #last = 0;
  #divergence: ReplayReport['divergence'];
  checked = 0;
  constructor(recording: Recording, from = 0) {
    this.#recording = recording;
    this.#last = from;
    while (this.#rung < recording.rungs.length && recording.rungs[this.#rung]!.instructions <= from) this.#rung++;
  }
  get next(): number { return this.#recording.rungs[this.#rung]?.instructions ?? Infinity; }
  reached(machine: DeterministicMachine): void {
    const rung = this.#recording.rungs[this.#rung++]!;
    this.#compare(rung.instructions, rung.hash, machine.hash());
  }
  #compare(at: number, expected: string, found: string): void {
    this.checked++;
    if (expected === found) this.#last = at; else this.#divergence ??= { after: this.#last, at, expected, found };
  }
  finish(result: MachineResult): ReplayReport {
    const { end, inputs } = this.#recording;
    if (end) this.#compare(end.instructions, `${end.instructions} ${end.stateHash}`, `${result.instructions} ${result.stateHash}`);
    return { instructions: result.instructions, inputs: inputs.length, checked: this.checked, divergence: this.#divergence };
  }
}
