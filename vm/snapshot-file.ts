/**
 * A snapshot as a file (kind "SNAP", vm/container.ts): the whole state of a deterministic machine, to go on from in another process.
 *
 *   META   msgpack: layout fingerprint, size, position, images and disks it was taken with, input that waits, whatever the application adds
 *   CPU    msgpack: vCPU states, declared fields of header and devices, state outside the board
 *   PAGE   up to 1024 RAM pages: their number u32, page numbers u32 each, the pages one after the other, zstd. Pages of zeros are not in the file
 *   DISK   overlay blocks of one disk: number of the disk, then as PAGE
 *
 * The layout fingerprint is a checksum over names, offsets and sizes of all fields that are saved: a program with another layout refuses the file.
 * A disk is known by its size and the checksum of its image: overlay blocks over another image would be a broken file system.
 */
import { readSync, fstatSync } from 'node:fs';
import { constants, crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { Packr, Unpackr } from 'msgpackr';
import { PAGE_BYTES } from './board.ts';
import { FileError, containerEnd, containerHead, readContainer, section } from './container.ts';
import type { SerialLine } from './inputs.ts';
import type { DeterministicMachine } from './machine.ts';
import { SNAPSHOT_VERSION, SnapshotError, type Snapshot } from './snapshot.ts';

export const SNAPSHOT_KIND = 'SNAP', SNAPSHOT_FORMAT = 1;
const PAGES_A_SECTION = 1024;
const packr = new Packr({ useRecords: false, variableMapSize: true }), unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true });

export interface SnapshotMeta {
  readonly layout: string;
  readonly cpus: number;
  readonly ramBytes: number;
  readonly instructions: number;
  readonly virtualNs: number;
  readonly stateHash: string;
  /** Kernel and modules the machine was started with: name and CRC-32. */
  readonly images: readonly { readonly name: string; readonly crc: number }[];
  readonly disks: readonly { readonly name: string; readonly sectors: number; readonly crc: number }[];
  readonly net: boolean;
  /** Serial input that the guest's chips had not taken yet. */
  readonly waiting: readonly { readonly line: SerialLine; readonly bytes: Uint8Array }[];
  /** Of whoever saved it. */
  readonly app: unknown;
}
export interface StoredSnapshot { readonly meta: SnapshotMeta; readonly snapshot: Snapshot; readonly subject: string }

// ---- writing
function blocksSection(tag: string, pages: readonly (readonly [number, Uint8Array])[], disk?: number): Uint8Array {
  const numbers = Uint32Array.from([...(disk === undefined ? [] : [disk]), pages.length, ...pages.map(([number]) => number)]);
  const data = new Uint8Array(pages.length * PAGE_BYTES);
  pages.forEach(([, bytes], n) => data.set(bytes, n * PAGE_BYTES));
  const packed = zstdCompressSync(data, { params: { [constants.ZSTD_c_compressionLevel]: 1 } });
  const payload = new Uint8Array(numbers.byteLength + packed.length);
  payload.set(new Uint8Array(numbers.buffer));
  payload.set(packed, numbers.byteLength);
  return section(tag, payload);
}
function* chunks<T>(list: readonly T[], size: number): Generator<readonly T[]> { for (let at = 0; at < list.length; at += size) yield list.slice(at, at + size); }

/** The sections of a snapshot without head and end; a recording has some inside. */
export function* snapshotSections(meta: SnapshotMeta, snapshot: Snapshot): Generator<Uint8Array> {
  yield section('META', packr.pack(meta));
  yield section('CPU ', packr.pack({ version: snapshot.version, cpuStates: snapshot.cpuStates, blocks: [...snapshot.blocks], outside: [...snapshot.outside] }));
  for (const part of chunks([...snapshot.pages].sort(([a], [b]) => a - b), PAGES_A_SECTION)) yield blocksSection('PAGE', part);
  for (const [disk, overlay] of snapshot.overlays.entries()) for (const part of chunks([...overlay].sort(([a], [b]) => a - b), PAGES_A_SECTION)) yield blocksSection('DISK', part, disk);
}
export const describeSnapshot = (machine: DeterministicMachine, app: unknown): SnapshotMeta => ({
  layout: machine.layoutFingerprint, cpus: machine.board.cpus, ramBytes: machine.board.ramBytes, instructions: machine.instructions, virtualNs: machine.virtualNs, stateHash: machine.hash(),
  images: machine.images, disks: diskFingerprints(machine), net: machine.hasNet, waiting: machine.waitingInput, app: app ?? null,
});
/** The machine as it stands, as the bytes of a file. */
export function encodeSnapshot(machine: DeterministicMachine, app?: unknown): Uint8Array {
  return Buffer.concat([containerHead(SNAPSHOT_KIND, SNAPSHOT_FORMAT), ...snapshotSections(describeSnapshot(machine, app), machine.snapshot()), containerEnd()]);
}

const diskSums = new WeakMap<object, number>();
/** Size and checksum of the images under the overlays. The file is read once a machine. */
function diskFingerprints(machine: DeterministicMachine): SnapshotMeta['disks'] {
  return machine.chipset.disks.map(({ disk: { descriptor } }) => {
    let crc = diskSums.get(descriptor);
    if (crc === undefined) diskSums.set(descriptor, crc = descriptor.fd < 0 ? 0 : fileSum(descriptor.fd));
    return { name: descriptor.name, sectors: descriptor.sectors, crc };
  });
}
function fileSum(fd: number): number {
  const buffer = Buffer.alloc(1 << 20), { size } = fstatSync(fd);
  let crc = 0;
  for (let at = 0; at < size;) {
    const count = readSync(fd, buffer, 0, buffer.length, at);
    if (count === 0) break;
    crc = crc32(buffer.subarray(0, count), crc);
    at += count;
  }
  return crc;
}

// ---- reading
/** Refuses what does not have the shape it should: a file whose checksums are right may still have been made by a liar. */
function unpackWith<T>(subject: string, payload: Uint8Array, what: string, ok: (value: any) => boolean): T {
  let value: unknown;
  try { value = unpackr.unpack(payload); } catch (cause) { throw new FileError('damaged', subject, `${what} cannot be read`, { cause }); }
  let good = false;
  try { good = ok(value); } catch { /* a shape that even the question did not expect */ }
  if (!good) throw new FileError('damaged', subject, `${what} has not the shape it should have`);
  return value as T;
}
const count = (value: unknown): boolean => typeof value === 'number' && Number.isInteger(value) && value >= 0;
const bytesOf = (value: unknown): boolean => value instanceof Uint8Array;
const isMeta = (value: SnapshotMeta): boolean => typeof value.layout === 'string' && count(value.cpus) && count(value.ramBytes) && count(value.instructions) && typeof value.virtualNs === 'number' && typeof value.stateHash === 'string'
  && Array.isArray(value.images) && value.images.every(({ name, crc }) => typeof name === 'string' && count(crc)) && Array.isArray(value.disks) && value.disks.every(({ name, sectors, crc }) => typeof name === 'string' && count(sectors) && count(crc))
  && typeof value.net === 'boolean' && Array.isArray(value.waiting) && value.waiting.every(({ line, bytes }) => (line === 0 || line === 1) && bytesOf(bytes));
interface CpuPart { readonly version: number; readonly cpuStates: readonly Uint8Array[]; readonly blocks: readonly (readonly [string, Uint8Array])[]; readonly outside: readonly (readonly [string, Uint8Array])[] }
const named = (list: unknown): boolean => Array.isArray(list) && list.every((entry) => Array.isArray(entry) && typeof entry[0] === 'string' && bytesOf(entry[1]));
const isCpuPart = (value: CpuPart): boolean => count(value.version) && Array.isArray(value.cpuStates) && value.cpuStates.every(bytesOf) && named(value.blocks) && named(value.outside);

function readBlocks(subject: string, payload: Uint8Array, what: string, at: number, into: Map<number, Uint8Array>, limit: number): void {
  const wrong = (cause?: unknown): FileError => new FileError('damaged', subject, `${what} has not the shape it should have`, { cause });
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  if (payload.length < at + 4) throw wrong();
  const pages = view.getUint32(at, true), first = at + 4 + pages * 4;
  if (pages > PAGES_A_SECTION || payload.length < first) throw wrong();
  let data: Uint8Array;
  try { data = zstdDecompressSync(payload.subarray(first), { maxOutputLength: pages * PAGE_BYTES || 1 }); } catch (cause) { throw wrong(cause); }
  if (data.length !== pages * PAGE_BYTES) throw wrong();
  for (let n = 0; n < pages; n++) {
    const number = view.getUint32(at + 4 + n * 4, true);
    if (number >= limit || into.has(number)) throw wrong();
    into.set(number, data.subarray(n * PAGE_BYTES, (n + 1) * PAGE_BYTES));
  }
}
/** The snapshot whose sections begin at `from` (META); `next` is the first section behind it. */
export function readSnapshotSections(sections: readonly { readonly tag: string; readonly payload: Uint8Array }[], subject: string, from = 0): { readonly stored: StoredSnapshot; readonly next: number } {
  const tagged = (index: number, tag: string): Uint8Array => {
    if (sections[index]?.tag !== tag) throw new FileError('damaged', subject, `a section "${tag.trim()}" is missing`);
    return sections[index].payload;
  };
  const meta = unpackWith<SnapshotMeta>(subject, tagged(from, 'META'), 'the description', isMeta);
  const cpu = unpackWith<CpuPart>(subject, tagged(from + 1, 'CPU '), 'the state of the CPUs and devices', isCpuPart);
  const pages = new Map<number, Uint8Array>(), overlays = meta.disks.map(() => new Map<number, Uint8Array>());
  let next = from + 2;
  for (; sections[next]?.tag === 'PAGE'; next++) readBlocks(subject, sections[next]!.payload, 'memory', 0, pages, meta.ramBytes / PAGE_BYTES);
  for (; sections[next]?.tag === 'DISK'; next++) {
    const { payload } = sections[next]!, disk = payload.length >= 4 ? new DataView(payload.buffer, payload.byteOffset).getUint32(0, true) : -1;
    if (!overlays[disk]) throw new FileError('damaged', subject, 'the overlay of a disk that is not there');
    readBlocks(subject, payload, 'the overlay of a disk', 4, overlays[disk], Math.ceil(meta.disks[disk]!.sectors / 8));
  }
  const snapshot: Snapshot = { version: cpu.version, cpus: meta.cpus, ramBytes: meta.ramBytes, cpuStates: cpu.cpuStates, blocks: new Map(cpu.blocks), pages, overlays, outside: new Map(cpu.outside) };
  return { stored: { meta, snapshot, subject }, next };
}
/** `subject`: the file's name, for messages. */
export function decodeSnapshot(bytes: Uint8Array, subject: string): StoredSnapshot {
  const { sections } = readContainer(bytes, subject, SNAPSHOT_KIND, SNAPSHOT_FORMAT);
  const { stored, next } = readSnapshotSections(sections, subject);
  if (next !== sections.length) throw new FileError('damaged', subject, `a section "${sections[next]!.tag}" has no place here`);
  return stored;
}

/** Brings a machine, made with the same configuration, to a stored state. What does not fit is refused before anything is changed. */
export function restoreStored(machine: DeterministicMachine, { meta, snapshot, subject }: StoredSnapshot): void {
  const refuse = (reason: string): never => { throw new FileError('mismatch', subject, reason); };
  if (snapshot.version !== SNAPSHOT_VERSION) refuse(`snapshot version ${snapshot.version}, this program knows ${SNAPSHOT_VERSION}`);
  if (meta.cpus !== machine.board.cpus) refuse(`it is of a machine with ${meta.cpus} CPUs, this one has ${machine.board.cpus}`);
  if (meta.ramBytes !== machine.board.ramBytes) refuse(`it is of a machine with ${meta.ramBytes >> 20} MiB of memory, this one has ${machine.board.ramBytes >> 20}`);
  if (meta.net !== machine.hasNet) refuse(meta.net ? 'it is of a machine with a network card' : 'it is of a machine without a network card');
  if (meta.layout !== machine.layoutFingerprint) refuse('it was written by a version of the VM whose state is laid out differently, or with other devices');
  const disks = diskFingerprints(machine);
  if (meta.disks.length !== disks.length) refuse(`it is of a machine with ${meta.disks.length} disks, this one has ${disks.length}`);
  meta.disks.forEach(({ name, sectors, crc }, n) => { if (sectors !== disks[n]!.sectors || crc !== disks[n]!.crc) refuse(`the disk image ${disks[n]!.name} is not the one it was taken with (${name})`); });
  const why = machine.implausible(snapshot);
  if (why !== undefined) throw new FileError('damaged', subject, `it is of no machine: ${why}`);
  try { machine.restore(snapshot); } catch (cause) {
    if (cause instanceof SnapshotError) throw new FileError('damaged', subject, cause.message, { cause });
    throw cause;
  }
  for (const { line, bytes } of meta.waiting) machine.serialInput(line, bytes);
}
