/**
 * The container of snapshot files and recordings: sections with checksums, readable up to where a file was cut off.
 *
 *      0  magic "KINTSUGI"    8  kind, 4 letters    12  format version, u32    16  CRC-32 of bytes 0..15
 *     20  sections:  tag, 4 letters | length of the payload, u32 | CRC-32 of the payload | CRC-32 of these twelve bytes | payload
 *         the last section is "END ", empty; nothing follows it
 *
 * All integers are little-endian. Payloads are msgpack or raw bytes, as the kind says. A reader trusts nothing: whatever is wrong with a file is a FileError
 * with the file's name, a code and one sentence.
 */
import { crc32 } from 'node:zlib';

export type FileErrorCode = 'not-ours' | 'kind' | 'version' | 'truncated' | 'damaged' | 'mismatch' | 'missing';
export class FileError extends Error {
  override readonly name = 'FileError';
  readonly code: FileErrorCode;
  readonly subject: string;
  readonly reason: string;
  constructor(code: FileErrorCode, subject: string, reason: string, options?: ErrorOptions) {
    super(`${subject}: ${reason}`, options);
    this.code = code;
    this.subject = subject;
    this.reason = reason;
  }
}

export interface Section { readonly tag: string; readonly payload: Uint8Array }

const MAGIC = 'KINTSUGI', HEAD_BYTES = 20, SECTION_HEAD_BYTES = 16;
const END = 'END ';
const letters = (text: string): Uint8Array => Uint8Array.from(text, (letter) => letter.charCodeAt(0));
const text = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

/** The first bytes of a file. */
export function containerHead(kind: string, version: number): Uint8Array {
  const out = new Uint8Array(HEAD_BYTES), view = new DataView(out.buffer);
  out.set(letters(MAGIC));
  out.set(letters(kind), 8);
  view.setUint32(12, version, true);
  view.setUint32(16, crc32(out.subarray(0, 16)), true);
  return out;
}
export function section(tag: string, payload: Uint8Array): Uint8Array {
  const out = new Uint8Array(SECTION_HEAD_BYTES + payload.length), view = new DataView(out.buffer);
  out.set(letters(tag));
  view.setUint32(4, payload.length, true);
  out.set(payload, SECTION_HEAD_BYTES);
  view.setUint32(8, crc32(payload), true);
  view.setUint32(12, crc32(out.subarray(0, 12)), true);
  return out;
}
export const containerEnd = (): Uint8Array => section(END, new Uint8Array(0));

/** What a file of this kind is called in messages. */
const KIND_NAMES: Readonly<Record<string, string>> = { SNAP: 'a snapshot', RECO: 'a recording' };
/**
 * The sections of a file. `cut`: the file may end anywhere (a recording whose writer was killed); then `complete` is false. Otherwise the end must be there.
 */
export function readContainer(bytes: Uint8Array, subject: string, kind: string, version: number, cut = false): { readonly sections: readonly Section[]; readonly complete: boolean } {
  const what = KIND_NAMES[kind] ?? kind;
  if (bytes.length < HEAD_BYTES) throw bytes.length >= 8 && text(bytes.subarray(0, 8)) === MAGIC ? new FileError('truncated', subject, `the file ends after ${bytes.length} bytes`) : new FileError('not-ours', subject, `this is not ${what}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (text(bytes.subarray(0, 8)) !== MAGIC) throw new FileError('not-ours', subject, `this is not ${what}`);
  if (view.getUint32(16, true) !== crc32(bytes.subarray(0, 16))) throw new FileError('damaged', subject, 'the head of the file is damaged');
  const found = text(bytes.subarray(8, 12));
  if (found !== kind) throw new FileError('kind', subject, `this is ${KIND_NAMES[found] ?? 'some other file of Kintsugi'}, not ${what}`);
  const format = view.getUint32(12, true);
  if (format !== version) throw new FileError('version', subject, `${what} of format ${format}, this program reads format ${version}`);
  const sections: Section[] = [];
  for (let at = HEAD_BYTES; ;) {
    const left = bytes.length - at;
    // Before the length is believed: a wrong one would look like the end of the file.
    if (left >= SECTION_HEAD_BYTES && view.getUint32(at + 12, true) !== crc32(bytes.subarray(at, at + 12))) throw new FileError('damaged', subject, `the head of the section at byte ${at} is damaged`);
    const length = left >= SECTION_HEAD_BYTES ? view.getUint32(at + 4, true) : 0;
    if (left < SECTION_HEAD_BYTES + length) {
      if (cut) return { sections, complete: false };
      throw new FileError('truncated', subject, left === 0 ? 'the end of the file is missing' : `the file ends in the middle of a section, at byte ${bytes.length}`);
    }
    const payload = bytes.subarray(at + SECTION_HEAD_BYTES, at + SECTION_HEAD_BYTES + length);
    if (view.getUint32(at + 8, true) !== crc32(payload)) throw new FileError('damaged', subject, `the checksum of the section at byte ${at} is wrong`);
    const tag = text(bytes.subarray(at, at + 4));
    at += SECTION_HEAD_BYTES + length;
    if (tag === END) {
      if (at !== bytes.length) throw new FileError('damaged', subject, `${bytes.length - at} bytes follow the end`);
      return { sections, complete: true };
    }
    sections.push({ tag, payload });
  }
}
