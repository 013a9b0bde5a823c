/** fs (owner) <- block driver (worker). One ring; data moves by DMA straight to the fs's cache Frames (`dma` Frames, page index). */
export const BLOCK = {
  boundMs: 5000, // in which an entry is taken and, unless it waits for the outside world, answered: later is a hang
  ops: {
    info: { op: 1, args: [], results: ['sectors lo', 'sectors hi', 'flags readonly=1 flush=2', 'max sectors per request'], readonly: true },
    read: { op: 2, args: ['sector lo', 'sector hi', 'sectors', 'byte offset in the DMA Frames'], results: ['sectors done'], readonly: true },
    write: { op: 3, args: ['sector lo', 'sector hi', 'sectors', 'byte offset in the DMA Frames'], results: ['sectors done'], readonly: false },
    flush: { op: 4, args: [], results: [], readonly: true },
  },
  /** Positive: errors of the driver. busy: a write on these sectors is outstanding, the owner must wait for it. */
  status: { ok: 0, ioError: 5, busy: 16, readonly: 30, range: 34, unsupported: 38 },
} as const;
