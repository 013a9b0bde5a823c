/**
 * Text into a fixed buffer: a `Text` is {address, room, length}; what does not fit is cut, never written past the end.
 * One static line buffer (`line`) serves the whole Thread: fill it and hand it over before the next fiber switch.
 */
@unmanaged @final export class Text {
  at: usize; room: u32; length: u32;
  byte(c: u32): void {
    if (this.length >= this.room) return;
    store<u8>(this.at + this.length, <u8>c);
    this.length++;
  }
  /** A text literal (ASCII). */
  lit(s: string): Text {
    const n = <usize>s.length;
    const p = changetype<usize>(s);
    for (let i: usize = 0; i < n; i++) this.byte(<u32>load<u16>(p + (i << 1)));
    return this;
  }
  bytes(s: usize, n: u32): Text {
    for (let i: u32 = 0; i < n; i++) this.byte(load<u8>(s + i));
    return this;
  }
  /** A NUL-terminated byte string. */
  str(s: usize): Text {
    while (true) {
      const c = load<u8>(s);
      if (c == 0) break;
      this.byte(c);
      s++;
    }
    return this;
  }
  dec(v: u32): Text { return this.dec64(<u64>v); }
  sdec(v: i32): Text {
    if (v < 0) { this.byte(45); return this.dec64(<u64>(0 - <i64>v)); }
    return this.dec64(<u64>v);
  }
  dec64(v: u64): Text {
    let n: u32 = 20;
    do {
      n--;
      const q = v / 10;
      store<u8>(DIGITS + n, <u8>(48 + <u32>(v - q * 10)));
      v = q;
    } while (v != 0);
    return this.bytes(DIGITS + n, 20 - n);
  }
  /** Decimal, padded with spaces on the left to `width`. */
  decPad(v: u32, width: u32): Text {
    let digits: u32 = 1;
    let q = v;
    while (q >= 10) { q /= 10; digits++; }
    while (digits < width) { this.byte(32); digits++; }
    return this.dec(v);
  }
  hex(v: u32): Text {
    this.byte(48); this.byte(120);
    return this.hexDigits(v, 8);
  }
  hexDigits(v: u32, digits: u32): Text {
    while (digits > 0) {
      digits--;
      const d = (v >> (digits << 2)) & 15;
      this.byte(d < 10 ? 48 + d : 87 + d);
    }
    return this;
  }
  newline(): Text { this.byte(10); return this; }
  clear(): Text { this.length = 0; return this; }
}
const DIGITS: usize = memory.data(20);
const LINE_BYTES: u32 = 240;
const LINE_BUFFER: usize = memory.data(240);
const LINE: Text = changetype<Text>(memory.data(12, 4));

/** A Text over own memory. */
export function textInit(t: Text, at: usize, room: u32): Text { t.at = at; t.room = room; t.length = 0; return t; }
/** The Thread's line buffer, emptied. */
export function line(): Text { return textInit(LINE, LINE_BUFFER, LINE_BYTES); }
