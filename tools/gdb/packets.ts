/**
 * Framing of the gdb remote serial protocol (gdb manual, E.1 Overview): `$payload#checksum`, acknowledged by `+` or `-` until both sides agree
 * not to; a byte 03h outside a packet is ^C. Knows nothing of what packets mean.
 */

/** A packet longer than this is damage, not a request. Sent as PacketSize. */
export const PACKET_BYTES = 0x10000;

export type Received = { readonly kind: 'packet'; readonly payload: Uint8Array } | { readonly kind: 'interrupt' } | { readonly kind: 'ack' } | { readonly kind: 'nack' } | { readonly kind: 'damaged' };

const DOLLAR = 0x24, HASH = 0x23, ESCAPE = 0x7d, PLUS = 0x2b, MINUS = 0x2d, STAR = 0x2a, BREAK = 3;

/** Takes the stream apart. Payloads come with escapes undone. */
export class PacketReader {
  #payload: number[] = [];
  #state: 'idle' | 'payload' | 'escaped' | 'first' | 'second' = 'idle';
  #sum = 0;
  #check = 0;

  push(bytes: Uint8Array): Received[] {
    const out: Received[] = [];
    for (const byte of bytes) {
      switch (this.#state) {
        case 'idle':
          if (byte === DOLLAR) { this.#state = 'payload'; this.#payload = []; this.#sum = 0; }
          else if (byte === PLUS) out.push({ kind: 'ack' });
          else if (byte === MINUS) out.push({ kind: 'nack' });
          else if (byte === BREAK) out.push({ kind: 'interrupt' });
          break;
        case 'payload':
          if (byte === HASH) { this.#state = 'first'; break; }
          if (byte === DOLLAR) { this.#payload = []; this.#sum = 0; break; } // the last one was cut off
          this.#sum = (this.#sum + byte) & 255;
          if (byte === ESCAPE) this.#state = 'escaped'; else this.#payload.push(byte);
          if (this.#payload.length > PACKET_BYTES) { this.#state = 'idle'; out.push({ kind: 'damaged' }); }
          break;
        case 'escaped':
          this.#sum = (this.#sum + byte) & 255;
          this.#payload.push(byte ^ 0x20);
          this.#state = 'payload';
          break;
        case 'first': this.#check = digit(byte) << 4; this.#state = 'second'; break;
        case 'second':
          this.#state = 'idle';
          out.push((this.#check | digit(byte)) === this.#sum ? { kind: 'packet', payload: Uint8Array.from(this.#payload) } : { kind: 'damaged' });
      }
    }
    return out;
  }
}
/** -1 for what is no digit: no checksum equals it. */
function digit(byte: number): number {
  const value = '0123456789abcdef'.indexOf(String.fromCharCode(byte).toLowerCase());
  return value < 0 ? -1 : value;
}

/** A packet with its checksum; what would be read as framing is escaped. */
export function packet(payload: string | Uint8Array): Uint8Array {
  const from = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload;
  const out: number[] = [DOLLAR];
  let sum = 0;
  const put = (byte: number): void => { out.push(byte); sum = (sum + byte) & 255; };
  for (const byte of from) if (byte === DOLLAR || byte === HASH || byte === ESCAPE || byte === STAR) { put(ESCAPE); put(byte ^ 0x20); } else put(byte);
  out.push(HASH, ...Buffer.from(sum.toString(16).padStart(2, '0')));
  return Uint8Array.from(out);
}

export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
/** Undefined where it is no whole number of hexadecimal bytes. */
export const fromHex = (text: string): Uint8Array | undefined => (text.length % 2 === 0 && /^[0-9a-fA-F]*$/.test(text) ? new Uint8Array(Buffer.from(text, 'hex')) : undefined);
