import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { ChannelDecoder, encodeInput, type ChannelFrame } from '../../tools/cli/channel.ts';
import { CHANNEL } from '../../servers/protocols/channel.ts';

const frame = (type: number, stream: number, payload: Uint8Array): Uint8Array => Uint8Array.of(type, stream, payload.length & 255, payload.length >> 8, ...payload);
const decode = (pieces: readonly Uint8Array[]): { frames: ChannelFrame[]; errors: string[] } => {
  const frames: ChannelFrame[] = [];
  const errors: string[] = [];
  const decoder = new ChannelDecoder((f) => frames.push(f), (e) => errors.push(e));
  for (const piece of pieces) decoder.push(piece);
  return { frames, errors };
};

describe('frames from the guest', () => {
  it('come out the same however the bytes are cut', () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 8 }), fc.array(fc.nat(40), { maxLength: 20 }), (payloads, cuts) => {
      const stream = Uint8Array.from(payloads.flatMap((p, i) => [...frame(CHANNEL.toHost.output, 1 + (i & 1), p)]));
      const pieces: Uint8Array[] = [];
      let at = 0;
      for (const cut of cuts) { pieces.push(stream.subarray(at, Math.min(stream.length, at + cut))); at = Math.min(stream.length, at + cut); }
      pieces.push(stream.subarray(at));
      const { frames, errors } = decode(pieces);
      expect(errors).toEqual([]);
      expect(frames.map((f) => (f.kind === 'output' ? [f.stream, [...f.data]] : f))).toEqual(payloads.map((p, i) => [1 + (i & 1), [...p]]));
    }));
  });
  it('carry the exit status as a signed number', () => {
    expect(decode([frame(CHANNEL.toHost.exit, 0, Uint8Array.of(255, 255, 255, 255))]).frames).toEqual([{ kind: 'exit', status: -1 }]);
  });
  it('that are malformed are reported once with their offset, and nothing after them is believed', () => {
    const good = frame(CHANNEL.toHost.output, 1, Uint8Array.of(65));
    for (const bad of [frame(99, 0, new Uint8Array(0)), frame(CHANNEL.toHost.output, 7, new Uint8Array(1)), frame(CHANNEL.toHost.exit, 0, new Uint8Array(3)), Uint8Array.of(CHANNEL.toHost.output, 1, 255, 255)]) {
      const { frames, errors } = decode([good, bad, good]);
      expect(frames).toHaveLength(1);
      expect(errors).toHaveLength(1);
      expect(errors[0]).toContain('at byte 5 of the host channel');
    }
  });
});

describe('frames to the guest', () => {
  it('are cut at the largest payload and an empty input is end of file', () => {
    const sizes = [...encodeInput(new Uint8Array(CHANNEL.maxPayload + 3))].map((f) => f.length - CHANNEL.header);
    expect(sizes).toEqual([CHANNEL.maxPayload, 3]);
    expect([...encodeInput(new Uint8Array(0))]).toEqual([Uint8Array.of(CHANNEL.toGuest.eof, 0, 0, 0)]);
  });
});
