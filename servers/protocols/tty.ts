/** process -> tty (worker). Line 0 = console (COM1, line discipline), line 1 = host channel (COM2, frames of channel.ts, no discipline). */
export const TTY = {
  boundMs: 5000, // in which an entry is taken and, unless it waits for the outside world, answered: later is a hang
  dataBytes: 1 << 16,
  ops: {
    read: { op: 1, args: ['line', 'offset in data area', 'bytes'], results: ['bytes, 0 = end of file'], readonly: false, blocking: true },
    write: { op: 2, args: ['line', 'stream', 'offset in data area', 'bytes'], results: ['bytes'], readonly: false, blocking: true },
    control: { op: 3, args: ['line', 'what: 1 set mode, 2 get mode, 3 foreground pid, 4 exit status frame, 5 drain', 'value'], results: ['value'], readonly: false, blocking: true },
    cancel: { op: 4, args: ['id of the entry to cancel'], results: [], readonly: true },
    signal: { op: 5, args: ['line'], results: ['signal', 'foreground pid'], readonly: false, blocking: true }, // posted ahead; completes on ^C, ^\, hang-up
    watch: { op: 6, args: ['line'], results: [], readonly: true, blocking: true }, // completes when a read would not wait
  },
  mode: { canonical: 1, echo: 2, signals: 4, crlf: 8 },
} as const;
