/**
 * Names for addresses: the build's debug data and the code bytes of every guest image, by module name. Which image a server runs is said in
 * `MODULE_OF`; everything else of that name is a program of /bin.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { MODE } from '../../vm/cpu/state.ts';
import { decode, type Insn } from '../../vm/cpu/isa/decode.ts';
import { locate, type DebugInfo } from '../build/debug.ts';
import { GUEST_FOLDER } from '../cli/guest.ts';

const MODULE_OF: Readonly<Record<string, string>> = { uart0: 'uart', uart1: 'uart' };
export interface Place { readonly symbol: string; readonly line: string }

interface Segment { readonly address: number; readonly bytes: Uint8Array }
export class Module {
  readonly name: string;
  readonly debug: DebugInfo | undefined;
  readonly #segments: readonly Segment[];
  readonly #decoded = new Map<number, Insn | undefined>();

  constructor(name: string) {
    this.name = name;
    const info = path.join(GUEST_FOLDER, `${name}.dbg.json`), elf = path.join(GUEST_FOLDER, `${name}.elf`);
    this.debug = existsSync(info) ? (JSON.parse(readFileSync(info, 'utf8')) as DebugInfo) : undefined;
    this.#segments = existsSync(elf) ? executable(new Uint8Array(readFileSync(elf))) : [];
  }
  /** Function + offset, and the TypeScript line; empty where the image has no debug data for the address. */
  place(eip: number): Place {
    const at = this.debug && locate(this.debug, eip);
    if (!at) return { symbol: '', line: '' };
    return { symbol: at.offset === 0 ? at.name : `${at.name}+0x${at.offset.toString(16)}`, line: at.file === '' ? '' : `${at.file}:${at.line}` };
  }
  /** Address of a function, or the functions whose name ends in it when it is not exact. */
  symbol(name: string): number | undefined {
    const functions = this.debug?.functions ?? [];
    const exact = functions.find((f) => f.name === name);
    if (exact) return exact.address;
    const like = functions.filter((f) => f.name.endsWith(`/${name}`));
    return like.length === 1 ? like[0]!.address : undefined;
  }
  /** The function that holds an address. */
  functionAt(eip: number): DebugInfo['functions'][number] | undefined {
    const functions = this.debug?.functions ?? [];
    let low = 0;
    for (let high = functions.length; low < high;) { const mid = (low + high) >> 1; if (functions[mid]!.address <= eip) low = mid + 1; else high = mid; }
    const f = functions[low - 1];
    return f && eip < f.address + f.size ? f : undefined;
  }
  /** Code bytes as the linker wrote them; undefined outside the text. */
  bytes(eip: number, count: number): Uint8Array | undefined {
    const segment = this.#segments.find((s) => eip >= s.address && eip < s.address + s.bytes.length);
    return segment?.bytes.subarray(eip - segment.address, eip - segment.address + count);
  }
  instruction(eip: number): Insn | undefined {
    if (!this.#decoded.has(eip)) {
      const code = this.bytes(eip, 15);
      this.#decoded.set(eip, (code && decode(code, 0, code.length, FLAT)) ?? undefined);
    }
    return this.#decoded.get(eip);
  }
}
const FLAT = MODE.CODE32 | MODE.STACK32 | MODE.DS_FLAT | MODE.ES_FLAT | MODE.SS_FLAT | MODE.CS_FLAT | MODE.PROTECTED;

/** Executable PT_LOAD segments of an ELF32 file. */
function executable(file: Uint8Array): Segment[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const out: Segment[] = [];
  for (let n = 0, at = view.getUint32(28, true); n < view.getUint16(44, true); n++, at += view.getUint16(42, true)) {
    if (view.getUint32(at, true) !== 1 || (view.getUint32(at + 24, true) & 1) === 0) continue;
    const offset = view.getUint32(at + 4, true);
    out.push({ address: view.getUint32(at + 8, true), bytes: file.subarray(offset, offset + view.getUint32(at + 16, true)) });
  }
  return out;
}

const modules = new Map<string, Module>();
/** The image behind a server or program name; `kernel` is the kernel. */
export function moduleOf(name: string): Module {
  const file = MODULE_OF[name] ?? name;
  let module = modules.get(file);
  if (!module) modules.set(file, module = new Module(file));
  return module;
}
