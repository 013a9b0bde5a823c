import { describe, expect, it } from 'vitest';
import { EscapeFilter } from '../../tools/cli/terminal.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array): string => new TextDecoder().decode(data);

describe('the escape key of the console', () => {
  const make = (): { filter: EscapeFilter; seen: string[] } => {
    const seen: string[] = [];
    return { filter: new EscapeFilter({ quit: () => seen.push('quit'), help: () => seen.push('help') }), seen };
  };
  it('passes Ctrl-C, Ctrl-D and everything else to the guest', () => {
    const { filter, seen } = make();
    expect(text(filter.filter(bytes('ls\x03\x04\x1b[A')))).toBe('ls\x03\x04\x1b[A');
    expect(seen).toEqual([]);
  });
  it('quits on Ctrl-A X, also when the two keys arrive apart', () => {
    const { filter, seen } = make();
    expect(text(filter.filter(bytes('a\x01')))).toBe('a');
    expect(seen).toEqual([]);
    expect(text(filter.filter(bytes('x')))).toBe('');
    expect(seen).toEqual(['quit']);
  });
  it('sends one Ctrl-A for Ctrl-A A and for Ctrl-A Ctrl-A, and swallows unknown keys', () => {
    const { filter } = make();
    expect([...filter.filter(bytes('\x01a\x01\x01\x01q.'))]).toEqual([1, 1, 46]);
  });
});
