/** Reader of .wast scripts (WebAssembly core specification, "script" of its reference interpreter): parenthesised forms with their source text. */
export type Form = string | Text | List;
/** A string literal, as bytes. */
export interface Text { readonly bytes: Uint8Array }
export interface List { readonly items: readonly Form[]; readonly from: number; readonly to: number; readonly line: number }
export class WastError extends Error {}

export const isList = (f: Form | undefined): f is List => typeof f === 'object' && 'items' in f;
export const isText = (f: Form | undefined): f is Text => typeof f === 'object' && 'bytes' in f;
export const head = (f: Form | undefined): string => { const h = isList(f) ? f.items[0] : undefined; return typeof h === 'string' ? h : ''; };
const ESCAPES: Readonly<Record<string, number>> = { n: 10, t: 9, r: 13, '"': 34, "'": 39, '\\': 92 };

/** All top-level forms. Comments and annotations are dropped. */
export function readWast(source: string): List[] {
  let at = 0, line = 1;
  const fail = (what: string): never => { throw new WastError(`line ${line}: ${what}`); };
  const blank = (): void => {
    for (;;) {
      const c = source[at];
      if (c === '\n') { line++; at++; } else if (c === ' ' || c === '\t' || c === '\r') at++;
      else if (c === ';' && source[at + 1] === ';') { while (at < source.length && source[at] !== '\n') at++; } else if (c === '(' && source[at + 1] === ';') {
        let depth = 0;
        do {
          if (source.startsWith('(;', at)) { depth++; at += 2; } else if (source.startsWith(';)', at)) { depth--; at += 2; } else { if (at >= source.length) fail('a comment without end'); if (source[at] === '\n') line++; at++; }
        } while (depth > 0);
      } else return;
    }
  };
  const text = (): Text => {
    const out: number[] = [];
    for (at++; source[at] !== '"'; ) {
      const c = source[at];
      if (c === undefined || c === '\n') fail('a string without end');
      if (c !== '\\') { const point = String.fromCodePoint(source.codePointAt(at)!); out.push(...new TextEncoder().encode(point)); at += point.length; continue; }
      const e = source[at + 1]!, simple = ESCAPES[e];
      if (simple !== undefined) { out.push(simple); at += 2; } else if (e === 'u') {
        const end = source.indexOf('}', at);
        out.push(...new TextEncoder().encode(String.fromCodePoint(parseInt(source.slice(at + 3, end).replaceAll('_', ''), 16))));
        at = end + 1;
      } else { out.push(parseInt(source.slice(at + 1, at + 3), 16)); at += 3; }
    }
    at++;
    return { bytes: Uint8Array.from(out) };
  };
  const form = (): Form => {
    const c = source[at];
    if (c === '"') return text();
    if (c === '(') {
      const from = at++, first = line, items: Form[] = [];
      for (blank(); source[at] !== ')'; blank()) {
        if (at >= source.length) fail('a form without end');
        const f = form();
        if (!(typeof head(f) === 'string' && head(f).startsWith('@'))) items.push(f);
      }
      at++;
      return { items, from, to: at, line: first };
    }
    const from = at;
    while (at < source.length && !' \t\r\n()";'.includes(source[at]!)) at++;
    if (at === from) fail(`unexpected ${c}`);
    return source.slice(from, at);
  };
  const out: List[] = [];
  for (blank(); at < source.length; blank()) {
    const f = form();
    if (isList(f)) out.push(f); else fail('a word outside of a form');
  }
  return out;
}
