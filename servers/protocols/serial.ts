/**
 * tty (owner) <- uart driver (worker). Ring entries: `transmit` (data in the shared area), `receive` (empty buffers posted ahead).
 * Shared data area: RING.slots buffers of 256 bytes, slot s owns buffer s.
 */
export const SERIAL = {
  bufferBytes: 256,
  ops: {
    transmit: { op: 1, args: ['offset in data area', 'bytes'], results: ['bytes sent'], readonly: false },
    receive: { op: 2, args: ['offset in data area', 'bytes'], results: ['bytes received', 'line errors'], readonly: false },
  },
} as const;
