/**
 * tty (owner) <- uart driver (worker). Ring entries: `transmit` (data in the shared area), `receive` (empty buffers posted ahead).
 * Shared data area: RING.slots buffers of 256 bytes, slot s owns buffer s.
 */
export const SERIAL = {
  boundMs: 5000, // in which an entry is taken and, unless it waits for the outside world, answered: later is a hang
  bufferBytes: 256,
  ops: {
    transmit: { op: 1, args: ['offset in data area', 'bytes'], results: ['bytes sent'], readonly: false },
    receive: { op: 2, args: ['offset in data area', 'bytes'], results: ['bytes received', 'line errors'], readonly: false },
  },
} as const;
