/**
 * The state block of one vCPU: every byte the CPU engine keeps between two instructions lives here, in the shared
 * memory, at fixed offsets from the vCPU's block (64 KiB, placed by vm/board.ts).
 *
 * Why in memory and not in JavaScript: generated code, wasm helpers, TypeScript helpers, devices on other threads and the
 * snapshot code must all see one truth. Tier 0 works directly on these fields; tier 1 keeps registers in wasm locals
 * inside a region and spills them here at every exit.
 *
 * Invariants
 *  - `ARCH_FIELDS` is the architectural state: what saveState/hashState cover. Everything else is derived or is a cache.
 *  - Arithmetic flags are never in `eflags`; they live in (flagRes, flagAux), see below, and are materialised by
 *    `readEflags`. `eflags` holds the other bits with bit 1 set and the arithmetic bits zero.
 *  - `retired` is exact whenever no engine.run is in progress, and whenever the bus is called.
 *
 * Flags: the "carry vector" form. Every flag-writing instruction leaves
 *     flagRes = the result, sign-extended from its operand size
 *     flagAux = bit 31 CF | bit 30 CF^OF | bits 8-15 parity delta | bit 3 AF of bit 4 | bit 0 sign delta
 *   ZF = flagRes == 0          SF = bit 31 of (flagRes ^ flagAux << 31)
 *   CF = bit 31 of flagAux     OF = bit 31 of (flagAux ^ flagAux << 1)
 *   AF = bit 3 of flagAux      PF = even parity of byte (flagRes ^ flagAux >> 8)
 * There is no operation code to dispatch on: a condition is a handful of ALU operations whatever produced the flags.
 * The two deltas make every combination of flags representable (POPF may load ZF = SF = 1).
 */

/** Bytes reserved per vCPU. */
export const VCPU_BLOCK_BYTES = 0x10000;

/** Bytes of one soft-MMU table. `tlbWrite` is always `tlbRead` + this (views.ts). */
export const TABLE_BYTES = 4 << 20;

/** Offsets of the fields inside a vCPU block. 32-bit unless said otherwise. */
export const S = {
  // General registers in encoding order. Byte registers are addressed directly: AH is offset 1, and so on.
  eax: 0x00, ecx: 0x04, edx: 0x08, ebx: 0x0c, esp: 0x10, ebp: 0x14, esi: 0x18, edi: 0x1c,
  /** Always zero: the absent base or index register of an address. */
  zero: 0x20,
  eip: 0x24,
  eflags: 0x28,
  flagRes: 0x2c,
  flagAux: 0x30,
  /** Decode mode: MODE_* bits; derived from segment caches and CR0. */
  mode: 0x34,
  /** Instructions left in this run() beyond the running block. */
  budget: 0x38,
  /** Non-zero: the instruction just attempted raised `faultVector`. */
  fault: 0x3c,
  /** With the three behind it one aligned vector: a change of ring is one store, and what is loaded next is forwarded from it (tier0/system.ts). */
  cpl: 0x40,
  /** Byte addresses of the current view's read and write tables and of its jump cache. Derived. */
  tlbRead: 0x44, tlbWrite: 0x48, jumpCache: 0x4c,
  /** i64: instructions completed since reset. Exact outside run(); inside, use engine.retiredNow(). */
  retired: 0x50,
  /** i64: RDTSC = retired + tscOffset. */
  tscOffset: 0x58,
  /** i64: `retired` when the budget will be zero. Derived. */
  retiredEnd: 0x60,
  /** Attention word: ATTN_* bits, set by anyone with Atomics.or, cleared by the engine. */
  attention: 0x68,
  /** RUN_* */
  runState: 0x6c,
  /** Vector page of the pending SIPI. */
  sipiVector: 0x70,
  /** SHADOW bits: what instruction boundaries owe. Bit 0 after STI, MOV SS, POP SS: no interrupt before the next instruction has completed. */
  shadow: 0x74,
  /** Vector, error code (or -1) and faulting linear address of the pending fault. */
  faultVector: 0x78, faultError: 0x7c, faultAddress: 0x80,
  /** Tier 0: record of the instruction in the slow path, and EIP of its block. */
  rec: 0x84, blockEip: 0x88,
  /** Counted, visible events: unimplemented instructions met, and the EIP of the last. */
  unimplemented: 0x94, unimplementedEip: 0x98,
  /** `retired` (low word) at the last fault that was delivered, and how many before it in a row found it so: beyond STORM each counts as an instruction. */
  stormAt: 0x8c, stormCount: 0x90,
  /** 1 while an NMI handler runs (until IRET). */
  nmiBlocked: 0x9c,
  /** Length of the instruction a TypeScript helper executes. */
  instrLength: 0xa0,
  /** Byte addresses of the shared page map (one byte per physical page) and of guest physical page 0. Derived. */
  pageMap: 0xa4, ramBase: 0xa8, ramBytes: 0xac,
  /** A20-free scratch words for generated code. */
  scratch0: 0xb0, scratch1: 0xb4, scratch2: 0xb8, scratch3: 0xbc,

  // Segment caches: selector, base, limit (bytes, inclusive), attributes. ES CS SS DS FS GS LDTR TR.
  seg: 0x100,
  gdtrBase: 0x180, gdtrLimit: 0x184, idtrBase: 0x188, idtrLimit: 0x18c,
  cr0: 0x190, cr2: 0x194, cr3: 0x198, cr4: 0x19c,
  dr0: 0x1a0, dr1: 0x1a4, dr2: 0x1a8, dr3: 0x1ac, dr6: 0x1b0, dr7: 0x1b4,
  /** i64 each: PAE page-directory pointers as loaded by MOV CR3. */
  pdpte0: 0x1c0,
  // MSRs
  sysenterCs: 0x1e0, sysenterEsp: 0x1e4, sysenterEip: 0x1e8,
  efer: 0x1ec,
  /** i64 */
  apicBase: 0x1f0, pat: 0x1f8,
  /** i64 each: 8 variable-range MTRR pairs, 11 fixed, default type. Stored, without effect. */
  mtrrVariable: 0x200, mtrrFixed: 0x280, mtrrDefault: 0x2d8,
  /** i64 */
  miscEnable: 0x2e0,
  /** i64: state of the RDRAND generator, never 0; and the EIP of the instruction issued under single step or breakpoints. */
  random: 0x2e8, issuedEip: 0x2f0,
  // SSE: 8 x 16 bytes
  xmm: 0x300,
  mxcsr: 0x380,
  // x87: 8 physical registers of 16 bytes (10 used); control word, status word without TOP, a bit per physical register that holds a value, TOP;
  // opcode and addresses of the last instruction and of its memory operand
  fpr: 0x400,
  fpuControl: 0x480, fpuStatus: 0x484, fpuTag: 0x488, fpuTop: 0x48c, fpuOpcode: 0x490,
  fpuIp: 0x494, fpuCs: 0x498, fpuDp: 0x49c, fpuDs: 0x4a0,
  /** 48 bytes for vm/cpu/float. Derived. */
  fpuScratch: 0x4b0,
  // Counters (derived, never hashed)
  countBlocks: 0x500, countMisses: 0x504, countSlow: 0x508, countWalks: 0x50c, countFaults: 0x510, countInterrupts: 0x514,
  countJsOps: 0x518, countSmc: 0x51c, countFlushes: 0x520, countRegions: 0x524,
  /** Blocks decoded afresh are `countBlocks`; taken over from the same bytes elsewhere: */
  countCopied: 0x528,
  /** Of `countRegions`: those that lived before, put back without compiling. */
  countReturned: 0x52c,
  /** Stores into operands of decoded instructions that cost no block: */
  countPatched: 0x538,
  /** i64: instructions completed in regions, whole ones and parts; exact while none runs. */
  countInRegions: 0x530,
  // Views as MOV CR3 in generated code needs them (mmu.ts, tier0/system.ts). Derived.
  /** Number of the current view; CR3 loads so far; addresses of view 0, of its jump caches, and of the count of coherence events processed. */
  viewIndex: 0x540, viewUses: 0x544, viewBase: 0x548, viewCaches: 0x54c, coherence: 0x550,
  /** What most soft-MMU entries filled of late have in common (mmu.ts): generated code expects it. Derived. */
  linear: 0x554,
  /** By view: `viewUses` when it was last loaded. 32 words. */
  viewUse: 0x580,
  /** 32 x {CR3, view number + 1 or 0, 2 spare words, 4 x PDPTE i64, 4 spare words}, by viewSlot of CR3: views that may be continued as they are. */
  viewDirectory: 0x600,
  /** Records of truncated blocks (budget smaller than the block). */
  truncated: 0x1000,
  /** Not 0: blocks that end with a check ask the engine even when nobody wants attention (marks). Derived, and kept by resets. */
  asks: 0x1800,
  /** PLAIN_PORTS x {port | 10000h, address of its value, address of a word that must be 0, -}, by plainPortSlot: ports that generated code reads. Derived, and kept by resets. */
  plainPorts: 0x1900,
  // What INVLPG in generated code needs of the views. Derived, and kept by resets.
  /** Views there are; by view: the page in View.devicePage. 32 words. */
  viewCount: 0x1b00, viewDevice: 0x1c00,
  /** Bits: stretches of 4 MiB that some view has translated by large pages (1024), and pages modulo 4096 that some view has code of. Some may be left over. */
  largeFilter: 0x1b40, codeFilter: 0x1d00,
  // Page walks by generated code (tier0/walk.ts, mmu/translations.ts). Derived, and kept by resets.
  /** Number + 1 of the view whose last directory and table (addresses; the stretch of 4 MiB it maps) these are, 0: none; how many fills there is room for; fills made; whether a walk was. */
  walkView: 0x1f00, walkDirectory: 0x1f04, walkTable: 0x1f08, walkStretch: 0x1f0c, walkRoom: 0x1f10, walkFills: 0x1f14, walked: 0x1f18,
  /** Fills for which the present value of `linear` has been right more often than wrong. */
  votes: 0x1f1c,
  /** Stores to entries that are not present of the page table in View.devicePage, by generated code: physical address (-1: none may be), the CPL-3 bit of the memo, stores before the patience ends. */
  storeTable: 0x1f20, storeUser: 0x1f24, storeRoom: 0x1f28,
  /** WALK_FILLS x {page number * 2 + user | bit 31: a new entry | bit 30: a new write entry}: fills that the view has not in its lists yet. */
  walkFilled: 0x2000,
  /** Ring of pages other vCPUs want dropped (see mmu): head, tail, then entries. */
  flushRing: 0x4000,
} as const;

/** Fills of the soft MMU by generated code between two looks of TypeScript at its views. */
export const WALK_FILLS = 256;
export const PLAIN_PORTS = 32;
export const plainPortSlot = (port: number): number => (port ^ port >> 4 ^ port >> 8) & PLAIN_PORTS - 1;

/** Index of a segment register (encoding order) and of the two system segments. */
export const SEG = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5, LDTR: 6, TR: 7 } as const;
/** Offset of a field of segment cache `index`. */
export const segSelector = (index: number): number => S.seg + index * 16;
export const segBase = (index: number): number => S.seg + index * 16 + 4;
export const segLimit = (index: number): number => S.seg + index * 16 + 8;
/** Attributes as descriptor bits 40-55: type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15. 0 = unusable (null). */
export const segAttr = (index: number): number => S.seg + index * 16 + 12;

/** Bits of `mode`: what the decoder must know beside the bytes. */
export const MODE = {
  CODE32: 1, STACK32: 2, DS_FLAT: 4, ES_FLAT: 8, SS_FLAT: 16, CS_FLAT: 32, PROTECTED: 64, V86: 128,
  /** Decode one instruction only (interrupt shadow, single step). */
  SINGLE: 256,
} as const;

export const RUN = { running: 0, halted: 1, waitSipi: 2, dead: 3 } as const;

/**
 * Bits of `shadow`. PENDING: the next instruction is in an interrupt shadow; ISSUED: that instruction was issued; STEPPED: it was issued with TF set;
 * CHECKED: with breakpoints in DR7; STACK: the shadow is that of MOV SS or POP SS, which holds debug exceptions back too; REPEATS: it is a REP at
 * `issuedEip`; HITS: breakpoints that matched, as DR6 has them.
 */
export const SHADOW = { PENDING: 1, ISSUED: 2, STEPPED: 4, CHECKED: 8, STACK: 16, REPEATS: 32, HITS: 0xf00 } as const;
export const HITS_SHIFT = 8;
/** DR7: L0, G0... G3 (SDM vol. 3 17.2.4). */
export const DR7_ENABLES = 0xff;

/**
 * Faults in a row, without an instruction completed between them, that are free. A handler that faults at its own first instruction goes on for ever on a
 * stack that wraps: the guest's time must pass, or the host would never get its thread back.
 */
export const STORM = 256;

/** Attention bits. */
export const ATTN = { INTR: 1, NMI: 2, INIT: 4, SIPI: 8, STOP: 16, FLUSH: 32 } as const;

export const FLAG = {
  CF: 1, PF: 4, AF: 0x10, ZF: 0x40, SF: 0x80, TF: 0x100, IF: 0x200, DF: 0x400, OF: 0x800,
  IOPL: 0x3000, NT: 0x4000, RF: 0x10000, VM: 0x20000, AC: 0x40000, VIF: 0x80000, VIP: 0x100000, ID: 0x200000,
} as const;
export const ARITH_FLAGS = 0x8d5;
export const CR0 = { PE: 1, MP: 2, EM: 4, TS: 8, ET: 16, NE: 32, WP: 0x10000, AM: 0x40000, NW: 0x20000000, CD: 0x40000000, PG: 0x80000000 | 0 } as const;
export const CR4 = { VME: 1, PVI: 2, TSD: 4, DE: 8, PSE: 16, PAE: 32, MCE: 64, PGE: 128, PCE: 256, OSFXSR: 512, OSXMMEXCPT: 1024, UMIP: 2048, SMEP: 0x100000, SMAP: 0x200000 } as const;
/** Exception vectors. */
export const VEC = { DE: 0, DB: 1, NMI: 2, BP: 3, OF: 4, BR: 5, UD: 6, NM: 7, DF: 8, TS: 10, NP: 11, SS: 12, GP: 13, PF: 14, MF: 16, AC: 17, MC: 18, XM: 19 } as const;

/** One declared field of the architectural state: name, offset, bytes. */
export interface StateField { readonly name: string; readonly offset: number; readonly bytes: number }

const words = (...names: (keyof typeof S)[]): StateField[] => names.map(name => ({ name, offset: S[name], bytes: 4 }));
const block = (name: keyof typeof S, bytes: number): StateField => ({ name, offset: S[name], bytes });

/**
 * The architectural state, in snapshot order. `eflags` is written with the arithmetic flags materialised; attention
 * bits are included because a pending INIT or SIPI is state (INTR is a level owned by the interrupt controller).
 */
export const ARCH_FIELDS: readonly StateField[] = [
  ...words('eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi', 'eip', 'eflags', 'cpl'),
  block('retired', 8), block('tscOffset', 8),
  ...words('attention', 'runState', 'sipiVector', 'shadow', 'nmiBlocked', 'stormAt', 'stormCount'),
  block('seg', 128),
  ...words('gdtrBase', 'gdtrLimit', 'idtrBase', 'idtrLimit', 'cr0', 'cr2', 'cr3', 'cr4', 'dr0', 'dr1', 'dr2', 'dr3', 'dr6', 'dr7'),
  block('pdpte0', 32),
  ...words('sysenterCs', 'sysenterEsp', 'sysenterEip', 'efer'),
  block('apicBase', 8), block('pat', 8), block('mtrrVariable', 128), block('mtrrFixed', 88), block('mtrrDefault', 8), block('miscEnable', 8), block('random', 8), ...words('issuedEip'),
  block('xmm', 128), ...words('mxcsr'),
  block('fpr', 128), ...words('fpuControl', 'fpuStatus', 'fpuTag', 'fpuTop', 'fpuOpcode', 'fpuIp', 'fpuCs', 'fpuDp', 'fpuDs'),
];

const evenParity = (byte: number): boolean => {
  let b = byte & 0xff;
  b ^= b >> 4; b ^= b >> 2; b ^= b >> 1;
  return (b & 1) === 0;
};

/** EFLAGS with the arithmetic flags materialised. `i32` views the whole memory; `cpu` is the block's byte address. */
export function readEflags(i32: Int32Array, cpu: number): number {
  const res = i32[(cpu + S.flagRes) >>> 2], aux = i32[(cpu + S.flagAux) >>> 2];
  let flags = i32[(cpu + S.eflags) >>> 2];
  if (aux < 0) flags |= FLAG.CF;
  if (evenParity(res ^ (aux >>> 8))) flags |= FLAG.PF;
  if (aux & 8) flags |= FLAG.AF;
  if (res === 0) flags |= FLAG.ZF;
  if ((res ^ (aux << 31)) < 0) flags |= FLAG.SF;
  if ((aux ^ (aux << 1)) < 0) flags |= FLAG.OF;
  return flags;
}

/** Stores all of EFLAGS: arithmetic flags into (flagRes, flagAux), the rest into `eflags`. No masking of reserved bits but bit 1. */
export function writeEflags(i32: Int32Array, cpu: number, flags: number): void {
  const zf = (flags & FLAG.ZF) !== 0, sf = (flags & FLAG.SF) !== 0, pf = (flags & FLAG.PF) !== 0;
  const cf = (flags & FLAG.CF) !== 0, of = (flags & FLAG.OF) !== 0;
  const res = zf ? 0 : 1;
  // Parity of byte 0 is even, of byte 1 odd: flip one delta bit when PF must be the other.
  const delta = pf === zf ? 0 : 0x100;
  i32[(cpu + S.flagRes) >>> 2] = res;
  i32[(cpu + S.flagAux) >>> 2] = (cf ? 0x80000000 : 0) | (cf !== of ? 0x40000000 : 0) | delta | (flags & FLAG.AF ? 8 : 0) | (sf ? 1 : 0);
  i32[(cpu + S.eflags) >>> 2] = (flags & ~ARITH_FLAGS) | 2;
}
