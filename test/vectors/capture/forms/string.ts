/** String instructions: sizes, directions, repeat prefixes, counts, overlap, 16-bit addressing, faults in the middle of a REP. */
import { DATA, EAX, ECX, EDI, ESI, FLAG, HOLE, LOW, READ_ONLY } from '../../environment.ts';
import { littleEndian, operand, SIZES, type Scene, type Size } from '../scene.ts';
import type { Sheet } from '../sheet.ts';

const OPS = [['movs', 0xa4, 3], ['cmps', 0xa6, 3], ['stos', 0xaa, 2], ['lods', 0xac, 1], ['scas', 0xae, 2]] as const;
const COUNTS = [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 64, 100];

function opcode(size: Size, base: number, repeat: number, a16: boolean): number[] {
  return [...(a16 ? [0x67] : []), ...(repeat ? [repeat] : []), ...(size === 16 ? [0x66] : []), base + (size === 8 ? 0 : 1)];
}

/** Equal prefixes make REPE run on, a run of the accumulator makes REPNE stop somewhere inside. */
function contents(s: Scene, name: string, size: Size, si: number, di: number, count: number, down: boolean): void {
  const bytes = size / 8, n = Math.min(count, 20);
  if (n === 0) return;
  const first = (p: number): number => down ? p - (n - 1) * bytes : p;
  const differ = s.r.below(n + 2);
  const element = (i: number, flip: boolean): number[] => littleEndian(0x41424344 + i * 0x01010101 ^ (flip ? 1 << s.r.below(size) : 0), size);
  const list = (flip: number): number[] => Array.from({ length: n }, (_, i) => element(i, (down ? n - 1 - i : i) === flip)).flat();
  if (name === 'cmps') { s.poke(first(si), list(-1)); if (Math.abs(si - di) >= n * bytes) s.poke(first(di), list(differ)); }
  if (name === 'scas') {
    const v = operand(s.r, size), hit = s.r.chance(50);
    s.setReg(EAX, size, v);
    s.poke(first(di), Array.from({ length: n }, (_, i) => littleEndian(((down ? n - 1 - i : i) === differ) !== hit ? v ^ 1 : v, size)).flat());
  }
}

export function string(sheet: Sheet): void {
  for (const [name, base, uses] of OPS) for (const size of SIZES) {
    const bytes = size / 8, compares = name === 'cmps' || name === 'scas';
    for (const [label, prefix] of [['', 0], ['rep ', 0xf3], ['repne ', 0xf2]] as const) {
      // F2 in front of movs/stos/lods repeats like F3 on every processor; only F3 is architectural, so F2 is left to cmps/scas.
      if (prefix === 0xf2 && !compares) continue;
      for (const down of [false, true]) {
        const suffix = `${down ? ' down' : ''}`;
        const setup = (s: Scene, count: number): void => {
          s.flag(FLAG.DF, down);
          s.setReg(EAX, 32, operand(s.r, 32));
          s.regs[ECX] = prefix ? count : operand(s.r, 32);
        };
        sheet.form(`${label}${name}${size}${suffix}`, prefix ? COUNTS.length * (compares ? 4 : 2) : 16, (s, i) => {
          const count = prefix ? COUNTS[i % COUNTS.length]! : 1;
          setup(s, count);
          const span = count * bytes, room = 0x480;
          const si = DATA + room + s.r.below(64);
          const overlap = name === 'movs' && s.r.chance(30);
          const di = overlap ? si + s.r.below(17) - 8 : s.r.chance(20) ? DATA + 0x1000 + (down ? 1 : -1) * Math.floor(span / 2) - (down ? 0 : s.r.below(4)) : DATA + 0xb00 + s.r.below(64);
          s.regs[ESI] = si; s.regs[EDI] = di;
          contents(s, name, size, si, di, count, down);
          s.code.push(...opcode(size, base, prefix, false));
        });
        sheet.form(`${label}${name}${size}${suffix} a16`, prefix ? 10 : 4, s => {
          const count = s.r.pick([0, 1, 3, 9]);
          setup(s, count);
          // Only CX, SI, DI count and only their low halves change.
          const high = (): number => s.r.u32() << 16;
          s.regs[ECX] = high() | (prefix ? count : 5);
          const si = LOW + 0x300 + s.r.below(64), di = LOW + 0x800 + s.r.below(64);
          s.regs[ESI] = high() | si; s.regs[EDI] = high() | di;
          contents(s, name, size, si, di, count, down);
          s.code.push(...opcode(size, base, prefix, true));
        });
        // The fault leaves index and count registers as after the completed elements (SDM vol. 2, REP, "continue").
        sheet.form(`${label}${name}${size}${suffix} fault`, prefix ? 16 : 8, s => {
          const count = s.r.pick([2, 5, 9, 20]);
          setup(s, count);
          const before = s.r.below(5) * bytes + (s.r.chance(30) ? s.r.below(bytes) : 0);
          const ok = DATA + 0x600 + s.r.below(64);
          // Downwards the window ends at READ_ONLY for stores and below it for loads; upwards at HOLE.
          const edgeUp = HOLE - before, store = name === 'movs' || name === 'stos';
          const edgeDown = (store ? DATA : READ_ONLY) + (store ? before - bytes : before - bytes);
          const edge = down ? edgeDown : edgeUp;
          const onSource = (uses & 1) !== 0 && (uses === 1 || s.r.chance(50));
          s.regs[ESI] = onSource ? (down ? READ_ONLY + before - bytes : edge) : ok;
          s.regs[EDI] = onSource ? ok + 0x200 : edge;
          if (compares && prefix === 0xf3 && name === 'scas') s.poke(HOLE - 32, Array(32).fill(s.regs[EAX]! & 255)), s.regs[EAX] = Math.imul(s.regs[EAX]! & 255, 0x01010101);
          s.code.push(...opcode(size, base, prefix, false));
        });
      }
    }
  }
}
