/**
 * Guest <-> host frames on the second serial line (COM2, 0x2f8): {type u8, stream u8, length u16 LE, payload}.
 * `./kintsugi run` prints stdout and stderr from here; the log stays on COM1.
 */
export const CHANNEL = {
  header: 4,
  maxPayload: 4096,
  toHost: { ready: 1, output: 2 /* stream 1 stdout, 2 stderr */, exit: 3 /* payload: i32 status */, bootLog: 4 },
  neverStarted: 0x100, /* added to the status of an exit frame: the command could not be started, stderr and the log say why */
  toGuest: { input: 16 /* stream 0 */, eof: 17, signal: 18 },
} as const;
