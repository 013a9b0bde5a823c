/**
 * Multiboot 1 loader: puts a kernel, its modules and the boot information into guest RAM and says where to start.
 * Manual: Multiboot Specification 0.6.96: 3.1 header, 3.2 machine state, 3.3 boot information; ELF: TIS ELF 1.2.
 *
 * The kernel is an ELF32 executable loaded at its physical addresses, or any file whose header carries load addresses (flag 16,
 * the "a.out kludge"). Modules follow the kernel, page-aligned, then the boot information, as QEMU places them. Nothing of the file is believed
 * before it is checked: every error is a LoaderError that names the file and the reason.
 *
 * Machine state at entry: EAX 2BADB002h, EBX boot information, flat 4 GiB code and data segments, paging off, A20 on, IF clear.
 * Flag bits: 0 align modules (always done), 1 memory information (always given), 2 video mode (ignored: there is no video).
 */
import * as fs from 'node:fs';
import { PAGE_BYTES, PAGE_KIND_MASK, PAGE_KIND_RAM, PHYS, type Board } from './board.ts';

export const MULTIBOOT_HEADER_MAGIC = 0x1badb002;
export const MULTIBOOT_BOOT_MAGIC = 0x2badb002;
const SEARCH_BYTES = 8192;
const FLAG_ADDRESSES = 1 << 16;
const UNSUPPORTED_FLAGS = 0xfff8; // required features beyond bit 2
const INFO = { MEMORY: 1, CMDLINE: 4, MODULES: 8, MEMORY_MAP: 64, LOADER_NAME: 512 } as const;
const INFO_BYTES = 120;
const MAP_AVAILABLE = 1;
const MAP_RESERVED = 2;
const PT_LOAD = 1;
const LOADER_NAME = 'Kintsugi';

export class LoaderError extends Error {
  override readonly name = 'LoaderError';
  readonly file: string;
  readonly reason: string;
  constructor(file: string, reason: string, options?: ErrorOptions) {
    super(`${file}: ${reason}`, options);
    this.file = file;
    this.reason = reason;
  }
}

/** A file by path, or its bytes with a name for messages. */
export type FileSource = string | { readonly name: string; readonly bytes: Uint8Array };
/** `string` is the multiboot module string; default: the file's base name. */
export type ModuleSource = { readonly file: string; readonly string?: string } | { readonly data: Uint8Array; readonly string: string };
export interface LoadRequest { readonly kernel: FileSource; readonly modules?: readonly ModuleSource[]; readonly cmdline?: string }
/** Where the boot processor starts. */
export interface BootState { readonly entry: number; readonly eax: number; readonly ebx: number }

export function readSource(source: FileSource): { name: string; bytes: Uint8Array } {
  if (typeof source !== 'string') return source;
  try { return { name: source, bytes: fs.readFileSync(source) }; } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    throw new LoaderError(source, code === 'ENOENT' ? 'no such file' : code === 'EISDIR' ? 'is a directory' : (cause as Error).message, { cause });
  }
}

interface Segment { readonly address: number; readonly fileOffset: number; readonly fileBytes: number; readonly memoryBytes: number }
interface Image { readonly segments: readonly Segment[]; readonly entry: number }

/** Offset of the multiboot header, or an error. */
function findHeader(name: string, view: DataView): number {
  const limit = Math.min(SEARCH_BYTES, view.byteLength) - 12;
  for (let at = 0; at <= limit; at += 4) {
    if (view.getUint32(at, true) !== MULTIBOOT_HEADER_MAGIC) continue;
    const flags = view.getUint32(at + 4, true);
    if (((MULTIBOOT_HEADER_MAGIC + flags + view.getUint32(at + 8, true)) >>> 0) !== 0) continue;
    if (flags & UNSUPPORTED_FLAGS) throw new LoaderError(name, `its multiboot header requires unknown features (flags ${hex(flags)})`);
    return at;
  }
  throw new LoaderError(name, `no multiboot header in its first ${SEARCH_BYTES} bytes: not a multiboot 1 kernel`);
}

const hex = (value: number): string => `0x${value.toString(16)}`;

function elfImage(name: string, view: DataView): Image {
  const bytes = view.byteLength;
  if (bytes < 52) throw new LoaderError(name, 'truncated: no room for an ELF header');
  if (view.getUint32(0, true) !== 0x464c457f) throw new LoaderError(name, 'neither an ELF file nor one with load addresses in its multiboot header');
  if (view.getUint8(4) !== 1) throw new LoaderError(name, 'is a 64-bit ELF file; this machine is 32-bit x86');
  if (view.getUint8(5) !== 1 || view.getUint16(18, true) !== 3) throw new LoaderError(name, 'is an ELF file for another architecture, not i386');
  if (view.getUint16(16, true) !== 2) throw new LoaderError(name, 'is not an executable ELF file (not linked, or position independent)');
  const table = view.getUint32(28, true);
  const entryBytes = view.getUint16(42, true);
  const count = view.getUint16(44, true);
  if (count === 0) throw new LoaderError(name, 'has no program headers');
  if (entryBytes < 32 || table + count * entryBytes > bytes) throw new LoaderError(name, 'truncated: its program headers lie beyond its end');
  const segments: Segment[] = [];
  const virtualEntry = view.getUint32(24, true);
  let entry = virtualEntry;
  for (let k = 0; k < count; k++) {
    const at = table + k * entryBytes;
    if (view.getUint32(at, true) !== PT_LOAD) continue;
    const fileOffset = view.getUint32(at + 4, true);
    const virtual = view.getUint32(at + 8, true);
    const address = view.getUint32(at + 12, true);
    const fileBytes = view.getUint32(at + 16, true);
    const memoryBytes = view.getUint32(at + 20, true);
    if (fileOffset + fileBytes > bytes) throw new LoaderError(name, `truncated: segment ${k} lies beyond its end`);
    if (fileBytes > memoryBytes) throw new LoaderError(name, `segment ${k} is larger in the file than in memory`);
    if (memoryBytes === 0) continue;
    segments.push({ address, fileOffset, fileBytes, memoryBytes });
    // The entry point may be virtual: start at the physical address of that byte.
    if (virtualEntry >= virtual && virtualEntry < virtual + memoryBytes) entry = virtualEntry - virtual + address;
  }
  if (segments.length === 0) throw new LoaderError(name, 'has nothing to load');
  return { segments, entry };
}

function addressedImage(name: string, view: DataView, header: number): Image {
  if (header + 32 > view.byteLength) throw new LoaderError(name, 'truncated: its multiboot header has no room for addresses');
  const field = (index: number): number => view.getUint32(header + 12 + 4 * index, true);
  const [headerAddress, loadAddress, loadEnd, bssEnd, entry] = [field(0), field(1), field(2), field(3), field(4)];
  const fileOffset = header - (headerAddress - loadAddress);
  if (headerAddress < loadAddress || fileOffset < 0) throw new LoaderError(name, 'its multiboot load addresses contradict the place of the header');
  const fileBytes = loadEnd === 0 ? view.byteLength - fileOffset : loadEnd - loadAddress;
  if (fileBytes < 0 || fileOffset + fileBytes > view.byteLength) throw new LoaderError(name, `truncated: its header wants ${fileBytes} bytes loaded`);
  const memoryBytes = bssEnd === 0 ? fileBytes : bssEnd - loadAddress;
  if (memoryBytes < fileBytes) throw new LoaderError(name, 'its bss ends before its data');
  return { segments: [{ address: loadAddress, fileOffset, fileBytes, memoryBytes }], entry };
}

function checkRam(board: Board, name: string, what: string, address: number, bytes: number): void {
  const end = address + bytes;
  const fail = (): never => { throw new LoaderError(name, `${what} (${hex(address)}..${hex(end)}) does not fit the machine's ${board.ramBytes >> 20} MiB of memory`); };
  if (end > board.ramBytes) fail();
  for (let page = Math.floor(address / PAGE_BYTES); page * PAGE_BYTES < end; page++) if ((board.pageMap[page] & PAGE_KIND_MASK) !== PAGE_KIND_RAM) fail();
}

/** Loads everything; changes only guest RAM (and marks it dirty). */
export function loadMultiboot(board: Board, request: LoadRequest): BootState {
  const { name, bytes } = readSource(request.kernel);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length === 0) throw new LoaderError(name, 'is empty');
  const header = findHeader(name, view);
  const image = view.getUint32(header + 4, true) & FLAG_ADDRESSES ? addressedImage(name, view, header) : elfImage(name, view);
  let end: number = PHYS.highMemory;
  // All of them before anything is written. Those that overlap contradict each other, and thousands of large ones would take for ever.
  const inOrder = [...image.segments].sort((one, other) => one.address - other.address);
  inOrder.forEach((segment, k) => {
    checkRam(board, name, 'a segment', segment.address, segment.memoryBytes);
    const next = inOrder[k + 1];
    if (next && segment.address + segment.memoryBytes > next.address) throw new LoaderError(name, `two of its segments overlap (at ${hex(segment.address)} and ${hex(next.address)})`);
  });
  for (const segment of image.segments) {
    board.ram.set(bytes.subarray(segment.fileOffset, segment.fileOffset + segment.fileBytes), segment.address);
    board.ram.fill(0, segment.address + segment.fileBytes, segment.address + segment.memoryBytes);
    end = Math.max(end, segment.address + segment.memoryBytes);
  }
  if (!image.segments.some((segment) => image.entry >= segment.address && image.entry < segment.address + segment.memoryBytes)) {
    throw new LoaderError(name, `its entry point ${hex(image.entry)} lies outside its segments`);
  }

  const firstFree = end;
  const place = (what: string, size: number, align: number): number => {
    const address = Math.ceil(end / align) * align;
    checkRam(board, what, 'it', address, size);
    end = address + size;
    return address;
  };
  const modules = (request.modules ?? []).map((module) => {
    const source = 'data' in module ? { name: module.string, bytes: module.data } : readSource(module.file);
    const address = place(source.name, source.bytes.length, PAGE_BYTES);
    board.ram.set(source.bytes, address);
    return { start: address, end: address + source.bytes.length, string: module.string ?? (source.name.split('/').pop() as string) };
  });

  end = Math.ceil(end / PAGE_BYTES) * PAGE_BYTES;
  const text = (string: string): number => {
    const encoded = new TextEncoder().encode(string);
    const address = place('the boot information', encoded.length + 1, 4);
    board.ram.set(encoded, address);
    board.ram[address + encoded.length] = 0;
    return address;
  };
  const info = place('the boot information', INFO_BYTES, 16);
  board.ram.fill(0, info, info + INFO_BYTES);
  const put = (address: number, value: number): void => { board.ramWords[address >> 2] = value; };
  put(info, INFO.MEMORY | INFO.CMDLINE | INFO.MODULES | INFO.MEMORY_MAP | INFO.LOADER_NAME);
  put(info + 4, Math.floor(PHYS.conventionalEnd / 1024));
  put(info + 8, (board.ramBytes - PHYS.highMemory) / 1024);
  put(info + 16, text(request.cmdline ?? ''));
  const list = place('the boot information', 16 * modules.length, 16);
  modules.forEach((module, index) => {
    put(list + 16 * index, module.start);
    put(list + 16 * index + 4, module.end);
    put(list + 16 * index + 8, text(module.string));
    put(list + 16 * index + 12, 0);
  });
  put(info + 20, modules.length);
  put(info + 24, modules.length ? list : 0);
  const regions: [number, number, number][] = [
    [0, PHYS.conventionalEnd, MAP_AVAILABLE],
    [PHYS.conventionalEnd, PHYS.vgaHole - PHYS.conventionalEnd, MAP_RESERVED],
    [PHYS.biosRom, PHYS.highMemory - PHYS.biosRom, MAP_RESERVED],
    [PHYS.highMemory, board.ramBytes - PHYS.highMemory, MAP_AVAILABLE],
    [PHYS.pciMmio, 2 ** 32 - PHYS.pciMmio, MAP_RESERVED],
  ];
  const map = place('the boot information', 24 * regions.length, 16);
  regions.forEach(([base, length, type], index) => {
    const at = map + 24 * index;
    [20, base, 0, length, 0, type].forEach((word, k) => put(at + 4 * k, word));
  });
  put(info + 44, 24 * regions.length);
  put(info + 48, map);
  put(info + 64, text(LOADER_NAME));
  for (const segment of image.segments) board.markDirty(segment.address, segment.memoryBytes);
  board.markDirty(firstFree, end - firstFree);
  return { entry: image.entry, eax: MULTIBOOT_BOOT_MAGIC, ebx: info };
}
