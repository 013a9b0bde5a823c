/**
 * Symbol files for gdb, made of the build's debug data (tools/build/debug.ts): an ELF file without code, with
 *
 *   .symtab        every symbol                           .debug_line   address -> TypeScript file and line (DWARF 4, 6.2)
 *   .debug_info    one unit, one entry a function         .debug_frame  how to find the caller at every instruction (DWARF 4, 6.4)
 *
 * Compiled code has no frame pointer; without .debug_frame gdb cannot walk its stack. Functions are known to gdb by the last part of their name
 * (`deliver` for `microkernel/core/ipc/deliver`; `FILE:deliver` tells two apart); types and variables are not described.
 */
import { MODE } from '../../vm/cpu/state.ts';
import { decode } from '../../vm/cpu/isa/decode.ts';
import type { DebugInfo } from '../build/debug.ts';

const TEXT = 1; // section number of .text
const DW = { compileUnit: 0x11, subprogram: 0x2e, name: 0x03, stmtList: 0x10, lowPc: 0x11, highPc: 0x12, language: 0x13, compDir: 0x1b, external: 0x3f, producer: 0x25, addr: 0x01, data2: 0x05, data4: 0x06, string: 0x08, secOffset: 0x17, flagPresent: 0x19, c99: 0x0c } as const;
const ESP = 4, EIP = 8;

class Bytes {
  readonly out: number[] = [];
  get length(): number { return this.out.length; }
  u8(...values: number[]): void { for (const value of values) this.out.push(value & 255); }
  u16(value: number): void { this.u8(value, value >> 8); }
  u32(value: number): void { this.u8(value, value >>> 8, value >>> 16, value >>> 24); }
  uleb(value: number): void { do { const more = value > 127; this.u8((value & 127) | (more ? 128 : 0)); value = Math.floor(value / 128); } while (value > 0); }
  sleb(value: number): void { for (;;) { const byte = value & 127; value >>= 7; const last = (value === 0 && !(byte & 64)) || (value === -1 && (byte & 64) !== 0); this.u8(last ? byte : byte | 128); if (last) return; } }
  text(text: string): void { this.u8(...Buffer.from(text, 'utf8'), 0); }
  /** A block with its length in front. */
  sized(body: (bytes: Bytes) => void): void { const inner = new Bytes(); body(inner); this.u32(inner.length); for (const byte of inner.out) this.out.push(byte); }
}

const FLAT = MODE.CODE32 | MODE.STACK32 | MODE.DS_FLAT | MODE.ES_FLAT | MODE.SS_FLAT | MODE.CS_FLAT | MODE.PROTECTED;
const CALLEE_SAVED = new Set([3, 5, 6, 7]);

/**
 * The debug data with stack depths for the hand-written stubs too, as far as their pushes and pops tell; `bytes` gives code. Not for the kernel, whose
 * entries begin on a stack of their own.
 */
export function withStubDepths(debug: DebugInfo, bytes: (address: number, count: number) => Uint8Array | undefined): DebugInfo {
  return { ...debug, functions: debug.functions.map((f) => {
    const code = f.depths.length > 0 ? undefined : bytes(f.address, f.size);
    if (!code || code.length < f.size) return f;
    const depths: [number, number][] = [[0, 0]], saved: number[] = [];
    let depth = 0, most = 0;
    for (let at = 0; at < code.length;) {
      const insn = decode(code, at, code.length, FLAT);
      if (!insn) break;
      const { name } = insn.entry, [first, second] = insn.ops;
      if (name === 'push') {
        if (first?.c === 'R' && CALLEE_SAVED.has(first.reg) && saved.length * 4 === depth && !saved.includes(first.reg)) saved.push(first.reg);
        depth += 4;
      } else if (name === 'pop') depth -= 4;
      else if ((name === 'add' || name === 'sub') && first?.c === 'R' && first.reg === ESP && first.size === 32 && second?.c === 'I') depth += name === 'sub' ? second.value : -second.value;
      at += insn.length;
      if (depth < 0) break;
      if (depth !== depths.at(-1)![1]) depths.push([at, depth]);
      most = Math.max(most, depth);
    }
    return { ...f, depths, saved, frame: most };
  }) };
}

const shortName = (name: string): string => name.slice(name.lastIndexOf('/') + 1);

function frames({ functions }: DebugInfo): Bytes {
  const out = new Bytes();
  const aligned = (body: (bytes: Bytes) => void): void => out.sized((bytes) => { body(bytes); while (bytes.length % 4 !== 0) bytes.u8(0); });
  aligned((cie) => {
    cie.u32(0xffffffff); cie.u8(1); cie.text(''); cie.uleb(1); cie.sleb(-4); cie.u8(EIP);
    cie.u8(0x0c); cie.uleb(ESP); cie.uleb(4); // def_cfa esp + 4
    cie.u8(0x80 | EIP); cie.uleb(1); // the return address lies at cfa - 4
  });
  for (const { address, size, saved, depths } of functions) {
    if (depths.length === 0) {
      // Entries from elsewhere: nobody called them.
      aligned((fde) => { fde.u32(0); fde.u32(address); fde.u32(size); fde.u8(0x07); fde.uleb(EIP); });
      continue;
    }
    aligned((fde) => {
      fde.u32(0); fde.u32(address); fde.u32(size);
      let at = 0, pushed = 0;
      for (const [offset, depth] of depths) {
        if (offset > at) { fde.u8(0x04); fde.u32(offset - at); at = offset; }
        fde.u8(0x0e); fde.uleb(depth + 4); // def_cfa_offset
        // Saved registers are pushed first, in order: register n lies at cfa - 8 - 4n once the stack is that deep.
        const now = Math.min(saved.length, depth >> 2);
        for (; pushed < now; pushed++) { fde.u8(0x80 | saved[pushed]!); fde.uleb(pushed + 2); }
        for (; pushed > now; pushed--) fde.u8(0xc0 | saved[pushed - 1]!); // restore
      }
    });
  }
  return out;
}

function lines({ files, functions, lines: entries }: DebugInfo): Bytes {
  const out = new Bytes();
  out.sized((unit) => {
    unit.u16(4);
    unit.sized((header) => {
      header.u8(1, 1, 1, -5, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1);
      header.u8(0);
      for (const file of files) { header.text(file); header.uleb(0); header.uleb(0); header.uleb(0); }
      header.u8(0);
    });
    let next = 0;
    for (const { address, size } of functions) {
      while (next < entries.length && entries[next]![0] < address) next++;
      if (next >= entries.length || entries[next]![0] >= address + size) continue;
      unit.u8(0); unit.uleb(5); unit.u8(2); unit.u32(address); // set_address
      let at = address, file = 1, line = 1;
      for (; next < entries.length && entries[next]![0] < address + size; next++) {
        const [place, index, wanted] = entries[next]!;
        if (place > at) { unit.u8(2); unit.uleb(place - at); at = place; }
        if (index + 1 !== file) { unit.u8(4); unit.uleb(file = index + 1); }
        if (wanted !== line) { unit.u8(3); unit.sleb(wanted - line); line = wanted; }
        unit.u8(1); // copy
      }
      unit.u8(2); unit.uleb(address + size - at);
      unit.u8(0, 1, 1); // end_sequence
    }
  });
  return out;
}

function info({ name, functions }: DebugInfo, folder: string, from: number, to: number): Bytes {
  const out = new Bytes();
  out.sized((unit) => {
    unit.u16(4); unit.u32(0); unit.u8(4);
    unit.uleb(1); unit.text('kintsugi'); unit.text(name); unit.text(folder); unit.u16(DW.c99); unit.u32(0); unit.u32(from); unit.u32(to - from);
    for (const f of functions) { unit.uleb(2); unit.text(shortName(f.name)); unit.u32(f.address); unit.u32(f.size); }
    unit.u8(0);
  });
  return out;
}
function abbreviations(): Bytes {
  const out = new Bytes();
  out.uleb(1); out.uleb(DW.compileUnit); out.u8(1);
  for (const [attribute, form] of [[DW.producer, DW.string], [DW.name, DW.string], [DW.compDir, DW.string], [DW.language, DW.data2], [DW.stmtList, DW.secOffset], [DW.lowPc, DW.addr], [DW.highPc, DW.data4], [0, 0]]) { out.uleb(attribute!); out.uleb(form!); }
  out.uleb(2); out.uleb(DW.subprogram); out.u8(0);
  for (const [attribute, form] of [[DW.external, DW.flagPresent], [DW.name, DW.string], [DW.lowPc, DW.addr], [DW.highPc, DW.data4], [0, 0]]) { out.uleb(attribute!); out.uleb(form!); }
  out.uleb(0);
  // external has no bytes in the entries.
  return out;
}

/** An ELF32 file with the symbols of an image. `folder`: where its source paths begin. */
export function symbolFile(debug: DebugInfo, folder: string): Uint8Array {
  const from = debug.symbols['__text_start'] ?? debug.functions[0]?.address ?? 0;
  const to = debug.symbols['__text_end'] ?? Math.max(...debug.functions.map(({ address, size }) => address + size), from);
  const strings = new Bytes(), table = new Bytes(), names = new Bytes();
  strings.u8(0); names.u8(0);
  const symbol = (name: string, value: number, size: number, type: number): void => {
    table.u32(strings.length); table.u32(value); table.u32(size); table.u8(0x10 | type, 0); table.u16(value >= from && value < to ? TEXT : 0xfff1);
    strings.text(name);
  };
  table.u32(0); table.u32(0); table.u32(0); table.u32(0);
  const functions = new Map(debug.functions.map((f) => [f.name, f]));
  for (const { name, address, size } of debug.functions) symbol(shortName(name), address, size, 2);
  for (const [name, value] of Object.entries(debug.symbols)) if (!functions.has(name)) symbol(shortName(name), value, 0, value >= from && value < to ? 2 : 1);

  const sections: { name: string; type: number; flags: number; address: number; bytes: Uint8Array; size?: number; link?: number; info?: number; entry?: number }[] = [
    { name: '', type: 0, flags: 0, address: 0, bytes: new Uint8Array(0) },
    { name: '.text', type: 8, flags: 6, address: from, bytes: new Uint8Array(0), size: to - from },
    { name: '.symtab', type: 2, flags: 0, address: 0, bytes: Uint8Array.from(table.out), link: 3, info: 1, entry: 16 },
    { name: '.strtab', type: 3, flags: 0, address: 0, bytes: Uint8Array.from(strings.out) },
    { name: '.debug_info', type: 1, flags: 0, address: 0, bytes: Uint8Array.from(info(debug, folder, from, to).out) },
    { name: '.debug_abbrev', type: 1, flags: 0, address: 0, bytes: Uint8Array.from(abbreviations().out) },
    { name: '.debug_line', type: 1, flags: 0, address: 0, bytes: Uint8Array.from(lines(debug).out) },
    { name: '.debug_frame', type: 1, flags: 0, address: 0, bytes: Uint8Array.from(frames(debug).out) },
    { name: '.shstrtab', type: 3, flags: 0, address: 0, bytes: new Uint8Array(0) },
  ];
  const nameAt = sections.map(({ name }) => { const at = names.length; names.text(name); return at; });
  sections.at(-1)!.bytes = Uint8Array.from(names.out);
  const header = new Bytes(), body = new Bytes();
  const at = sections.map(({ bytes }) => { while (body.length % 4 !== 0) body.u8(0); const place = 52 + body.length; for (const byte of bytes) body.out.push(byte); return place; });
  while (body.length % 4 !== 0) body.u8(0);
  header.u8(0x7f, 0x45, 0x4c, 0x46, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  header.u16(2); header.u16(3); header.u32(1); header.u32(from); header.u32(0); header.u32(52 + body.length); header.u32(0); header.u16(52); header.u16(32); header.u16(0); header.u16(40); header.u16(sections.length); header.u16(sections.length - 1);
  for (const byte of body.out) header.out.push(byte);
  sections.forEach(({ type, flags, address, bytes, size, link = 0, info: extra = 0, entry = 0 }, n) => {
    for (const value of [nameAt[n]!, type, flags, address, n === 0 ? 0 : at[n]!, size ?? bytes.length, link, extra, type === 0 ? 0 : 4, entry]) header.u32(value);
  });
  return Uint8Array.from(header.out);
}
