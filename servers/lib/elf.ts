/**
 * Strict parsing of ELF32 executables for i386. The file is hostile: every offset is an allegation until checked against the file size, every
 * address until checked against the user range. What passes can be mapped without further questions: segments sorted, disjoint by page, never
 * writable and executable at once, entry inside an executable one.
 * Manual: System V ABI, Edition 4.1, chapters 4 and 5; i386 supplement.
 */
import { VM_KERNEL_BASE } from 'kintsugi/abi';
import { inRange } from './mem';

export const ELF_OK: u32 = 0;
export const ELF_SHORT: u32 = 1; // smaller than its headers say
export const ELF_MAGIC: u32 = 2; // not \x7fELF
export const ELF_CLASS: u32 = 3; // not 32-bit little-endian version 1
export const ELF_TYPE: u32 = 4; // not ET_EXEC for EM_386
export const ELF_HEADERS: u32 = 5; // program headers: wrong entry size, none, or more than ELF_MAX_SEGMENTS PT_LOADs
export const ELF_SEGMENT: u32 = 6; // file size > memory size, or alignment of offset and address differ, or empty
export const ELF_RANGE: u32 = 7; // address outside [lowest, highest)
export const ELF_OVERLAP: u32 = 8; // PT_LOADs overlap in a page or are not sorted
export const ELF_WX: u32 = 9; // writable and executable
export const ELF_ENTRY: u32 = 10; // entry outside every executable segment
export const ELF_DYNAMIC: u32 = 11; // needs an interpreter: PT_INTERP

export const ELF_MAX_SEGMENTS: u32 = 8;
export const SEGMENT_X: u32 = 1;
export const SEGMENT_W: u32 = 2;
export const SEGMENT_R: u32 = 4;

@unmanaged @final export class Segment { offset: u32; va: u32; fileBytes: u32; memoryBytes: u32; flags: u32 }
/** Result: `count` segments; `end` = first page address behind the highest one. */
@unmanaged @final export class ElfImage {
  entry: u32; count: u32; end: u32; headersVa: u32; // headersVa: where the program headers are in memory (AT_PHDR), 0 = not mapped
  segments: usize; // ELF_MAX_SEGMENTS x Segment, memory of the caller
  segment(n: u32): Segment { return changetype<Segment>(this.segments + <usize>n * 20); }
}
/** Bytes of an ElfImage with its segments; `elfImage(memory)` binds them together. */
export const ELF_IMAGE_BYTES: u32 = 20 + 8 * 20;
export function elfImage(memory: usize): ElfImage {
  const i = changetype<ElfImage>(memory);
  i.segments = memory + 20;
  return i;
}

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;

/** Parses (file, bytes) into `out`; addresses must lie within [lowest, highest). ELF_OK or why not. */
export function elfParse(file: usize, bytes: u32, lowest: u32, highest: u32, out: ElfImage): u32 {
  out.count = 0; out.entry = 0; out.end = 0; out.headersVa = 0;
  if (bytes < 52) return ELF_SHORT;
  if (load<u32>(file) != 0x464c457f) return ELF_MAGIC;
  if (load<u8>(file, 4) != 1 || load<u8>(file, 5) != 1 || load<u8>(file, 6) != 1 || load<u32>(file, 20) != 1) return ELF_CLASS;
  if (load<u16>(file, 16) != 2 || load<u16>(file, 18) != 3) return ELF_TYPE;
  if (highest > VM_KERNEL_BASE) highest = VM_KERNEL_BASE;
  const phoff = load<u32>(file, 28);
  const phnum = <u32>load<u16>(file, 44);
  if (load<u16>(file, 42) != 32 || phnum == 0 || phnum > 64) return ELF_HEADERS;
  if (!inRange(phoff, phnum * 32, bytes)) return ELF_SHORT;
  let lastPage: u32 = 0; // first page number not covered yet
  let entryOk = false;
  const entry = load<u32>(file, 24);
  for (let n: u32 = 0; n < phnum; n++) {
    const ph = file + phoff + <usize>n * 32;
    const type = load<u32>(ph);
    if (type == PT_INTERP) return ELF_DYNAMIC;
    if (type != PT_LOAD) continue;
    const offset = load<u32>(ph, 4), va = load<u32>(ph, 8), fileBytes = load<u32>(ph, 16), memoryBytes = load<u32>(ph, 20), flags = load<u32>(ph, 24) & 7;
    if (memoryBytes == 0 && fileBytes == 0) continue;
    if (out.count >= ELF_MAX_SEGMENTS) return ELF_HEADERS;
    if (fileBytes > memoryBytes || ((offset ^ va) & 4095) != 0) return ELF_SEGMENT;
    if (!inRange(offset, fileBytes, bytes)) return ELF_SHORT;
    if (va < lowest || !inRange(va, memoryBytes, highest)) return ELF_RANGE;
    if ((flags & (SEGMENT_W | SEGMENT_X)) == (SEGMENT_W | SEGMENT_X)) return ELF_WX;
    if (va >> 12 < lastPage) return ELF_OVERLAP;
    lastPage = (va + memoryBytes + 4095) >> 12;
    if ((flags & SEGMENT_X) != 0 && entry >= va && entry - va < memoryBytes) entryOk = true;
    if (inRange(phoff - offset, phnum * 32, fileBytes) && phoff >= offset) out.headersVa = va + (phoff - offset);
    const s = out.segment(out.count);
    s.offset = offset; s.va = va; s.fileBytes = fileBytes; s.memoryBytes = memoryBytes; s.flags = flags;
    out.count++;
  }
  if (out.count == 0) return ELF_HEADERS;
  if (!entryOk) return ELF_ENTRY;
  out.entry = entry;
  out.end = lastPage << 12;
  return ELF_OK;
}
