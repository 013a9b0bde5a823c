/** Every group of vectors, by file name. */
import { alu } from './forms/alu.ts';
import { decimal, muldiv } from './forms/arithmetic.ts';
import { branch, stack } from './forms/control.ts';
import { address, bits, move } from './forms/data.ts';
import { fault } from './forms/fault.ts';
import { alignment, edges, modes } from './forms/reach.ts';
import { undefinedOpcodes } from './forms/undefined.ts';
import { mmx, sse3 } from './forms/mmx.ts';
import { pair } from './forms/pair.ts';
import { sse, sseInteger } from './forms/sse.ts';
import { shift } from './forms/shift.ts';
import { x87, x87Functions, x87Stack } from './forms/x87.ts';
import { string } from './forms/string.ts';
import type { Sheet } from './sheet.ts';

export const SEED = 0x6b696e74;

export interface Group { plan: (sheet: Sheet) => void; /** Every form's count is multiplied by this. */ repeat: number }
export const GROUPS: Readonly<Record<string, Group>> = {
  alu: { plan: alu, repeat: 3 }, shift: { plan: shift, repeat: 2 }, muldiv: { plan: muldiv, repeat: 3 }, decimal: { plan: decimal, repeat: 1 },
  move: { plan: move, repeat: 3 }, address: { plan: address, repeat: 1 }, bits: { plan: bits, repeat: 3 }, string: { plan: string, repeat: 3 },
  branch: { plan: branch, repeat: 3 }, stack: { plan: stack, repeat: 3 }, fault: { plan: fault, repeat: 2 },
  pair: { plan: pair, repeat: 1 },
  sse: { plan: sse, repeat: 1 }, sseint: { plan: sseInteger, repeat: 1 },
  x87: { plan: x87, repeat: 1 }, x87stack: { plan: x87Stack, repeat: 1 }, x87functions: { plan: x87Functions, repeat: 1 },
  mmx: { plan: mmx, repeat: 1 }, sse3: { plan: sse3, repeat: 1 },
  modes: { plan: modes, repeat: 1 }, edges: { plan: edges, repeat: 1 }, alignment: { plan: alignment, repeat: 1 }, undefined: { plan: undefinedOpcodes, repeat: 1 },
};
