/**
 * net (owner) <- NIC driver (worker). Two rings: `receive` entries are empty buffers posted ahead, `transmit` entries are frames. Frames move by DMA
 * straight between the device and net's packet buffers (`dma` Frames of net, byte offsets from their beginning).
 *
 * A buffer starts with `headroom` bytes that belong to driver and device (virtio-net header); the Ethernet frame follows, without its checksum.
 */
export const NETDEV = {
  boundMs: 5000, // in which an entry is taken and, unless it waits for the outside world, answered: later is a hang
  headroom: 16,
  bufferBytes: 2048,
  ops: {
    info: { op: 1, args: [], results: ['MAC, low 4 bytes', 'MAC, high 2 bytes', 'MTU | flags << 16: link=1 checksums=2', 'queue entries'], readonly: true }, // on the transmit ring
    transmit: { op: 2, args: ['byte offset of the buffer', 'frame bytes', 'flags: checksum to be filled=1', 'where its bytes start | where it goes, from there << 16'], results: ['bytes'], readonly: false },
    receive: { op: 3, args: ['byte offset of the buffer', 'bytes of the buffer'], results: ['frame bytes', 'flags: checksum verified=1'], readonly: false },
    /** On the receive ring, where entries wait for the outside world anyway: answered as soon as MAC, MTU or flags are not (no longer) those that it names. Posted again by the owner with what it says then. */
    watch: { op: 5, args: ['MAC, low 4 bytes', 'MAC, high 2 bytes', 'MTU | flags << 16'], results: ['MAC, low 4 bytes', 'MAC, high 2 bytes', 'MTU | flags << 16', 'queue entries'], readonly: true, blocking: true },
    counters: { op: 4, args: ['first counter'], results: ['four of: frames out, frames in, refused, bad answers of the device'], readonly: true }, // on the transmit ring
  },
  flags: { link: 1, checksums: 2, fillChecksum: 1, checksumVerified: 1 },
  /** Positive: errors of the driver. */
  status: { ok: 0, ioError: 5, range: 34, unsupported: 38 },
} as const;
