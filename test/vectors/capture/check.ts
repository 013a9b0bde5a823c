/**
 * Does every snippet say what its form's name says? iced-x86, a decoder nobody here wrote, decodes the first instruction; its
 * mnemonic must be the first word of the form's name (sizes and prefixes stripped) unless the form is about undefined opcodes.
 */
import { Decoder, DecoderOptions, Mnemonic } from 'iced-x86';
import type { Sheet } from './sheet.ts';

const SYNONYMS: Readonly<Record<string, readonly string[]>> = {
  sal: ['sal', 'shl'], pusha: ['pusha', 'pushad'], popa: ['popa', 'popad'], pushf: ['pushf', 'pushfd'], popf: ['popf', 'popfd'],
  jecxz: ['jecxz', 'jcxz'], xlat: ['xlatb'], retf: ['retf'], iret: ['iretd', 'iret'], movs: ['movsb', 'movsw', 'movsd'], cmps: ['cmpsb', 'cmpsw', 'cmpsd'],
  stos: ['stosb', 'stosw', 'stosd'], lods: ['lodsb', 'lodsw', 'lodsd'], scas: ['scasb', 'scasw', 'scasd'], inc: ['inc'], fence: ['lfence', 'mfence', 'sfence'], prefetch: ['prefetchnta', 'prefetcht0', 'prefetcht1', 'prefetcht2'],
  load: ['mov'], store: ['mov'], int3: ['int3', 'int'], xchg: ['xchg', 'nop'], setcc: [],
};

/** Condition suffixes have several spellings; iced prints one of them. */
const PREFIX_ONLY = /^(set|cmov|j|loop)/;

export async function checkDecoding(sheet: Sheet): Promise<void> {
  const wrong: string[] = [];
  const reported = new Set<number>();
  for (const { form, scene } of sheet.cases) {
    const name = sheet.forms[form]!;
    if (sheet.group === 'fault' || sheet.group === 'pair' || sheet.group === 'undefined' || reported.has(form)) continue;
    // Named by opcode: what the mnemonic is is another group's question.
    if (name.startsWith('0f ')) continue;
    const word = name.replace(/^(lock|rep|repne) /, '').split(/[ ,:]/)[0]!.replace(/(8|16|32)$/, '');
    const decoder = new Decoder(32, Uint8Array.from([...scene.code, 0xcc, 0xcc, 0xcc, 0xcc]), DecoderOptions.None);
    const instruction = decoder.decode();
    const got = (Mnemonic[instruction.mnemonic] ?? '?').toLowerCase(), length = instruction.length;
    instruction.free(); decoder.free();
    if (/ after an instruction$/.test(name)) continue;
    const accepted = SYNONYMS[word] ?? [word, `${word}8b`];
    const prefix = PREFIX_ONLY.exec(word)?.[1];
    const single = !/then|back by|as a loop|after|return|through|near|wraps|completed|pending/.test(name);
    if (!(accepted.includes(got) || (prefix !== undefined && got.startsWith(prefix)) || /^(load|fetch)/.test(name)) || (single && length > scene.code.length)) {
      wrong.push(`${name}: ${Buffer.from(scene.code).toString('hex')} decodes as ${got}, ${length} bytes`);
      reported.add(form);
    }
  }
  if (wrong.length > 0) throw new Error(`${sheet.group}: the generator and iced-x86 disagree\n  ${wrong.slice(0, 20).join('\n  ')}`);
}
