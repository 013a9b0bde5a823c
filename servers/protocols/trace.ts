/**
 * Trace marks: what guest programs tell a tracing machine (`mark` of kintsugi/x86: a NOP with three words; nothing happens without a trace).
 * Read by tools/trace/model.ts. A new mark gets the next number and a line here.
 */
export const MARKS = {
  /** A server as the supervisor publishes it. a = number | state << 8, b = generation, c = Thread serial (0 = none yet). */
  server: 1,
  /** A phase of a restart. a = number | phase << 8 (servers/supervisor/journal.ts), b = generation, c = epoch. */
  restart: 2,
  /** process is about to start a program. a = badge of its fault endpoint, b = pid, c = pid of its parent. */
  program: 3,
  /** Its name. a = badge | first character << 16, b, c = eight characters from there on. */
  programName: 4,
  /** A ring worker took a request. a = slot | ring << 8 | operation << 16, b, c = serial and sequence number of the key. */
  requestTaken: 5,
  /** ... and completed it. a = slot | ring << 8, b = status. */
  requestDone: 6,
  /** Free for experiments: shown with their words. */
  user: 16,
} as const;
