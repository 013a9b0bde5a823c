/** All semantics by mnemonic. */
import type { Semantics } from './context.ts';
import { CONTROL } from './control.ts';
import { MMX } from './mmx.ts';
import { X87 } from './fpu.ts';
import { INTEGER } from './integer.ts';
import { SSE } from './sse.ts';
import { SHIFT } from './shift.ts';
import { STRING } from './string.ts';

export const SEMANTICS: Record<string, Semantics> = { ...INTEGER, ...SHIFT, ...CONTROL, ...STRING, ...SSE, ...X87, ...MMX };
