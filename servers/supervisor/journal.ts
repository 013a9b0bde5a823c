/**
 * The recovery journal: everything the supervisor must remember, in Frames that root owns, so that a supervisor that is itself restarted goes on
 * where its predecessor died. Its own heap and data hold nothing that cannot be made again.
 *
 * Layout (pages from the start of the region, JOURNAL_PAGES of them, always at the same address, so that pointers into it stay true):
 *   0x0000  header {magic, version}, then per server number 96 bytes {phase, epoch, cause, address, ns since detection of each phase, instructions of each}
 *   0x0800  Globals; 0x0a80 Storm (storm.ts); 0x0b00 strikes (pending.ts)
 *   0x1000  Server records, 0x3000 Targets, 0x4000 Rings, 0x4400 names (tables.ts)
 *   0x5000  PCI functions in use, 512 bytes each (pci.ts)
 * One store of `phase` is the transition of a recovery; its arguments are stored before. Every phase is repeatable: doing it twice is doing it once.
 * `booted` says that the tables are complete; a supervisor that dies before cannot be restarted.
 */
import { barrier } from 'kintsugi/x86';

/** Phases, in order (docs: hot restart). */
export const PHASE_NONE: u32 = 0;
export const PHASE_DETECTED: u32 = 1; // a fault, a kill request, an overrun
export const PHASE_STOPPED: u32 = 2; // runs on no CPU
export const PHASE_QUIET: u32 = 3; // its devices are reset, interrupts masked
export const PHASE_REVOKED: u32 = 4; // its incarnation is gone
export const PHASE_BUILT: u32 = 5; // the next one exists, suspended
export const PHASE_STARTED: u32 = 6; // it runs and attaches
export const PHASE_DONE: u32 = 7; // it reported ready
export const PHASE_SERVED: u32 = 8; // it answered its first request
export const PHASES: u32 = 9;

/** Causes other than an exception's vector: killed on request (does not count as a failure of the server), late with an answer. */
export const CAUSE_KILL: u32 = 0x4b494c4c;
export const CAUSE_HANG: u32 = 0x48414e47;

const MAGIC: u32 = 0x4a524e4c;
const ENTRY: usize = 96;
const MAX_SERVERS: usize = 16;
export const JOURNAL_PAGES: u32 = 8;
const GLOBALS: usize = 0x800;
const FUNCTIONS: usize = 0x5000;
const FUNCTION: usize = 512;
export const MAX_FUNCTIONS: u32 = 8;
let base: usize = 0;

/** What is not about one server. */
@unmanaged @final export class Globals {
  booted: u32; restarts: u32;
  own: u32; objects: u32; shared: u32; programs: u32; follow: u32; tableFrames: u32; // handles
  servers: u32; rings: u32; // records in use
  functions: u32; // PCI functions in use
  quiet: u32; // `quiet` on the command line: no boot log
  telemetry: u32; dieAt: u32; // words `telemetry` and `failpoint=PHASE`
}
export function globals(): Globals { return changetype<Globals>(base + GLOBALS); }
export function functionRecord(n: u32): usize { return base + FUNCTIONS + <usize>n * FUNCTION; }
/** Memory of the tables at a fixed place. */
export function journalAt(offset: usize): usize { return base + offset; }

/** True when a predecessor left complete records. A first supervisor (`first`) gets an empty journal; anybody else's is left as it is. */
export function journalInit(va: usize, first: bool): bool {
  base = va;
  if (load<u32>(base) == MAGIC && globals().booted != 0) return true;
  if (!first) return false;
  memory.fill(base, 0, <usize>JOURNAL_PAGES << 12);
  store<u32>(base, 1, 4);
  barrier();
  store<u32>(base, MAGIC);
  return false;
}
function entry(server: u32): usize { return base + 16 + <usize>server * ENTRY; }
export function phaseOf(server: u32): u32 { return load<u32>(entry(server)); }
export function epochOf(server: u32): u32 { return load<u32>(entry(server), 4); }
export function journalCause(server: u32, epoch: u32, cause: u32, address: u32): void {
  const e = entry(server);
  store<u32>(e, epoch, 4); store<u32>(e, cause, 8); store<u32>(e, address, 12);
}
export function causeOf(server: u32): u32 { return load<u32>(entry(server), 8); }
export function journalPhase(server: u32, phase: u32, sinceNs: u32, instructions: u32): void {
  const e = entry(server);
  store<u32>(e + 16 + (<usize>phase << 2), sinceNs);
  store<u32>(e + 52 + (<usize>phase << 2), instructions);
  barrier();
  store<u32>(e, phase);
}
/** ns since detection at which a phase was reached. */
export function phaseNs(server: u32, phase: u32): u32 { return load<u32>(entry(server) + 16 + (<usize>phase << 2)); }
/** Instructions up to a phase: of the supervisor's CPU since detection until `started`, of the server's own CPU since its birth after that. */
export function phaseInstructions(server: u32, phase: u32): u32 { return load<u32>(entry(server) + 52 + (<usize>phase << 2)); }
