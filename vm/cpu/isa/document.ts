/**
 * docs/isa.md from the instruction table: what is implemented, by instruction and by CPU model.
 *
 *     node vm/cpu/isa/document.ts            write docs/isa.md
 *     node vm/cpu/isa/document.ts --check    exit status 1 when it is not current
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ENTRIES, type Entry } from './entries.ts';
import { CPU_MODELS, FEATURES, MODELS, type Model } from './models.ts';
import { mnemonic } from './disassemble.ts';

const FLAG_LETTERS = 'OSZAPC';
const flags = (mask: number): string => [...FLAG_LETTERS].filter((_, i) => mask & 1 << i).join('');
/** Columns from the least model to the most. */
const COLUMNS: readonly Model[] = [...MODELS].reverse();

const SECTIONS: readonly (readonly [string, (entry: Entry) => boolean])[] = [
  ['x87', entry => entry.fpu || /^D[89A-F]/.test(entry.opcode)],
  ['MMX', entry => entry.mmx || entry.name === 'maskmovq'],
  ['SSE, SSE2, SSE3', entry => entry.sse || ['sse', 'sse2', 'sse3'].includes(entry.feature)],
  ['System', entry => /^0F0[0-9]|^0F2[0-3]|^0F3[0-5]|^0FAE|^660FAE|^0FA2|^F4$|^0FC7\/6/.test(entry.opcode) && !entry.sse],
  ['Integer', () => true],
];

function rowsOf(entries: readonly Entry[]): string[] {
  const groups = new Map<string, Entry[]>();
  for (const entry of entries) {
    const key = `${mnemonic(entry.name)} ${entry.feature} ${entry.js}`;
    const group = groups.get(key);
    if (group) group.push(entry); else groups.set(key, [entry]);
  }
  return [...groups.values()].sort((a, b) => { const x = mnemonic(a[0].name), y = mnemonic(b[0].name); return x < y ? -1 : x > y ? 1 : 0; }).map(group => {
    const [first] = group, join = (texts: string[]): string => [...new Set(texts)].join(', ');
    const writes = group.reduce((mask, entry) => mask | entry.writes, 0), reads = group.reduce((mask, entry) => mask | entry.reads, 0);
    return `| ${mnemonic(first.name)} | ${join(group.map(({ opcode }) => opcode))} | ${flags(writes)} | ${flags(reads)} | ${group.some(({ lock }) => lock) ? 'yes' : ''} | ${first.js ? 'helper' : 'code'} | ${COLUMNS.map(({ features }) => features.has(first.feature) ? 'yes' : '#UD').join(' | ')} |`;
  });
}

/** The text of docs/isa.md. */
export function isaDocument(): string {
  const left = new Set(ENTRIES.filter(({ opcode, name }) => opcode !== '' && !/^ud[012]$/.test(name)));
  const sections = SECTIONS.map(([title, belongs]) => {
    const mine = [...left].filter(belongs);
    for (const entry of mine) left.delete(entry);
    return `## ${title}\n\n| instruction | encodings | flags written | read | LOCK | runs as | ${COLUMNS.map(({ name }) => name).join(' | ')} |\n|${'---|'.repeat(6 + COLUMNS.length)}\n${rowsOf(mine).join('\n')}\n`;
  });
  return `# Instructions

Written by \`node vm/cpu/isa/document.ts\` from the one instruction table (vm/cpu/isa/table.ts); a test compares them. Do not edit.

\`--cpu ${[...CPU_MODELS].reverse().join('|')}\` chooses what the vCPUs are. CPUID announces what a model has and nothing else; instructions of other features raise #UD,
their control register bits and MSRs #GP. All models have 32-bit and PAE paging with global and large pages, debug registers, MTRRs, machine check
registers without banks, and run 16- and 32-bit code segments.

* Encodings are written as in the table: \`/n\` is ModRM.reg, \`+r\` a register in the opcode, \`.XX\` that ModRM byte, \`.XX+\` it and the seven behind it.
* Flags: those written include undefined ones, which get the same value every time.
* Runs as: \`code\` is translated by both tiers (vm/cpu/lower), \`helper\` is a function of vm/cpu/system; the commonest of those have a translated
  form for the usual case (vm/cpu/tier0/system.ts).
* What is special or missing stands in CAVEATS.md.

## Features

| feature | ${COLUMNS.map(({ name }) => name).join(' | ')} |
|${'---|'.repeat(1 + COLUMNS.length)}
${FEATURES.map(feature => `| ${feature} | ${COLUMNS.map(({ features }) => features.has(feature) ? 'yes' : '-').join(' | ')} |`).join('\n')}

${sections.reverse().join('\n')}`;
}

export const ISA_DOCUMENT = path.join(import.meta.dirname, '..', '..', '..', 'docs', 'isa.md');

if (process.argv[1] === import.meta.filename) {
  const text = isaDocument();
  if (!process.argv.includes('--check')) writeFileSync(ISA_DOCUMENT, text);
  else if (readFileSync(ISA_DOCUMENT, 'utf8') !== text) { console.error('docs/isa.md is not current: node vm/cpu/isa/document.ts'); process.exitCode = 1; }
}
