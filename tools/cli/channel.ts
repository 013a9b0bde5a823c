/**
 * The host end of the framed channel on COM2 (servers/protocols/channel.ts): bytes from the guest become frames, host input becomes
 * frames to the guest. The guest is not trusted: a frame that is malformed is reported once with its offset and decoding stops.
 */
import { CHANNEL } from '../../servers/protocols/channel.ts';

export type ChannelFrame =
  | { readonly kind: 'ready' }
  | { readonly kind: 'output'; readonly stream: 1 | 2; readonly data: Uint8Array }
  | { readonly kind: 'exit'; readonly status: number }
  | { readonly kind: 'log'; readonly data: Uint8Array };

export class ChannelDecoder {
  readonly #onFrame: (frame: ChannelFrame) => void;
  readonly #onError: (message: string) => void;
  #pending = new Uint8Array(0);
  #offset = 0;
  #broken = false;

  constructor(onFrame: (frame: ChannelFrame) => void, onError: (message: string) => void) {
    this.#onFrame = onFrame;
    this.#onError = onError;
  }

  push(bytes: Uint8Array): void {
    if (this.#broken || bytes.length === 0) return;
    const joined = new Uint8Array(this.#pending.length + bytes.length);
    joined.set(this.#pending);
    joined.set(bytes, this.#pending.length);
    let at = 0;
    while (joined.length - at >= CHANNEL.header) {
      const type = joined[at];
      const stream = joined[at + 1];
      const length = joined[at + 2] | (joined[at + 3] << 8);
      const frame = this.#check(type, stream, length);
      if (frame !== undefined) {
        this.#broken = true;
        this.#onError(`${frame} at byte ${this.#offset + at} of the host channel`);
        return;
      }
      if (joined.length - at < CHANNEL.header + length) break;
      this.#deliver(type, stream, joined.subarray(at + CHANNEL.header, at + CHANNEL.header + length));
      at += CHANNEL.header + length;
    }
    this.#offset += at;
    this.#pending = joined.slice(at);
  }

  /** Why this header is refused, or undefined. */
  #check(type: number, stream: number, length: number): string | undefined {
    const { toHost } = CHANNEL;
    if (length > CHANNEL.maxPayload) return `a frame of ${length} bytes (at most ${CHANNEL.maxPayload})`;
    if (type === toHost.output) return stream === 1 || stream === 2 ? undefined : `output on unknown stream ${stream}`;
    if (type === toHost.exit) return length === 4 ? undefined : `an exit frame of ${length} bytes`;
    if (type === toHost.ready || type === toHost.bootLog) return undefined;
    return `an unknown frame type ${type}`;
  }

  #deliver(type: number, stream: number, data: Uint8Array): void {
    const { toHost } = CHANNEL;
    if (type === toHost.output) this.#onFrame({ kind: 'output', stream: stream as 1 | 2, data: data.slice() });
    else if (type === toHost.exit) this.#onFrame({ kind: 'exit', status: data[0] | (data[1] << 8) | (data[2] << 16) | (data[3] << 24) });
    else if (type === toHost.ready) this.#onFrame({ kind: 'ready' });
    else this.#onFrame({ kind: 'log', data: data.slice() });
  }
}

/** A status of the exit frame that says: there was no command to end, it could not be started. Its low byte is 126 or 127. */
export const neverStarted = (status: number): boolean => status >> 8 === CHANNEL.neverStarted >> 8;

/** A signal for the command's process group. */
export const encodeSignal = (number: number): Uint8Array => Uint8Array.of(CHANNEL.toGuest.signal, 0, 1, 0, number);

/** Frames of host input for the guest: data in pieces of at most maxPayload, an empty array = end of file. */
export function* encodeInput(data: Uint8Array): Generator<Uint8Array> {
  if (data.length === 0) {
    yield Uint8Array.of(CHANNEL.toGuest.eof, 0, 0, 0);
    return;
  }
  for (let at = 0; at < data.length; at += CHANNEL.maxPayload) {
    const piece = data.subarray(at, at + CHANNEL.maxPayload);
    const frame = new Uint8Array(CHANNEL.header + piece.length);
    frame.set([CHANNEL.toGuest.input, 0, piece.length & 255, piece.length >> 8]);
    frame.set(piece, CHANNEL.header);
    yield frame;
  }
}
