/**
 * What the supervisor knows: servers, rings, and who owns what.
 *
 * Two kinds of capabilities are kept strictly apart, because a restart destroys one kind and keeps the other:
 *   - the supervisor's: Notify, Endpoint, Replies, Sched, state / log / DMA Frames, ring Frames, Devices. They outlive every incarnation, and
 *     every capability that another party keeps (a doorbell, a badge) is derived from them;
 *   - the incarnation's: one Untyped with Space, Thread, Table, page tables and private Frames. `untypedRevoke` of it is the end of the server.
 *
 * The records live in the journal (journal.ts): a restarted supervisor finds them as they were.
 */
import { Target } from '../lib/build';
import { globals, journalAt } from './journal';

export const MAX_SERVERS: u32 = 16;
export const MAX_RINGS: u32 = 16;

/** Life of a server. */
export const STATE_ABSENT: u32 = 0; // its module or device is missing
export const STATE_STARTING: u32 = 1; // running, not ready yet
export const STATE_UP: u32 = 2;
export const STATE_DEAD: u32 = 3; // stopped by a fault, waits for its restart
export const STATE_FAILED: u32 = 4; // given up

/** Flags of a server. */
export const CALLABLE: u32 = 1; // has an Endpoint that programs call, Replies and the programs' Untyped
export const LEGACY_UART: u32 = 2; // device: ports `port`..+8 and line `irq`
export const PCI_FUNCTION: u32 = 4; // device: the first PCI function with id `pciModern` or `pciTransitional`
export const PLAIN_DMA: u32 = 8; // has state, and DMA memory that is none of it: plainly writable, not behind `window`
export const NO_JOURNAL: u32 = 16; // cannot tell what its predecessor did of a request

@unmanaged @final export class Server {
  number: u32; name: usize; module: usize; // NUL-terminated byte strings
  flags: u32; home: u32; priority: u32;
  // sizes, in pages unless said otherwise
  heap: u32; stack: u32; fibers: u32; fiberPages: u32; tableBits: u32; untypedBits: u32; pageTables: u32;
  statePages: u32; dmaPages: u32;
  port: u32; irq: u32;
  pciModern: u32; pciTransitional: u32; function: u32; // vendor | device << 16; 1 + number of the record (pci.ts), 0 = not found
  dmaOf: u32; // number of the server whose DMA memory its device may reach, 0 = none
  // supervisor's capabilities
  notify: u32; endpoint: u32; reply: u32; replies: u32; replyCount: u32; sched: u32; faultCap: u32;
  state_: u32; stateFrames: u32; dmaFrames: u32; logFrames: u32; logVa: usize; logTail: u32;
  programs: u32; irqDevice: u32; portDevice: u32;
  // the incarnation
  untyped: u32; target: Target;
  twinUntyped: u32; twin: Target; twinReady: u32; twinFailed: u32; spare: u32; // the next incarnation, prepared up to what touches state and rings
  generation: u32; epoch: u32; restarts: u32; startNs: u64; readyNs: u64;
  strikes: u32; // deaths within the restart-intensity period
  struck: u32; // generation of the last one counted
  lastDeathNs: u64;
  firstDeathNs: u64; // of that period
  phase: u32; // of a restart in progress (journal.ts)
  mid: u32; // it died with a request in service
  deathCpu: u32; deathCount: u32; // where and when its death was detected, in retired instructions
  told: u32; // generation whose restart was reported (telemetry.ts)
}
@unmanaged @final export class Ring {
  owner: Server; ownerLocal: u32; worker: Server; workerLocal: u32;
  dataPages: u32; requestFrames: u32; statusFrames: u32; dataFrames: u32;
  waiting: u32; // operations (1 << op) that wait for the outside world: never a sign of work, never late
  blocking: u32; // operations that may take any time once taken (flow control), but must be taken
  boundNs: u64; // in which every other operation is answered
}

const SERVERS_AT: usize = 0x1000;
const SERVER_STRIDE: usize = 512;
const TARGETS_AT: usize = 0x3000;
const TARGET_STRIDE: usize = 128;
const RINGS_AT: usize = 0x4000;
const RING_STRIDE: usize = 64;
const NAMES_AT: usize = 0x4400;
const NAME_STRIDE: usize = 32;

export function serverCount(): u32 { return globals().servers; }
export function ringCount(): u32 { return globals().rings; }
/** In start order. */
export function serverAt(n: u32): Server { return changetype<Server>(journalAt(SERVERS_AT + <usize>n * SERVER_STRIDE)); }
export const STORM_AT: usize = 0xa80;
export const STRIKES_AT: usize = 0xb00;
export function ringAt(n: u32): Ring { return changetype<Ring>(journalAt(RINGS_AT + <usize>n * RING_STRIDE)); }
/** By server number; may be null. */
export function serverOf(number: u32): Server {
  for (let n: u32 = 0; n < serverCount(); n++) if (serverAt(n).number == number) return serverAt(n);
  return changetype<Server>(0);
}
/** A new record; its name and module name are buffers of 32 bytes. */
export function newServer(number: u32): Server {
  const n = globals().servers;
  const s = serverAt(n);
  s.number = number;
  s.name = journalAt(NAMES_AT + <usize>(n * 2) * NAME_STRIDE); s.module = s.name + NAME_STRIDE;
  resetTargets(s, n);
  globals().servers = n + 1;
  return s;
}
/** Record n points to its two Targets again. */
export function resetTargets(s: Server, n: u32): void {
  s.target = changetype<Target>(journalAt(TARGETS_AT + <usize>(n * 2) * TARGET_STRIDE));
  s.twin = changetype<Target>(journalAt(TARGETS_AT + <usize>(n * 2 + 1) * TARGET_STRIDE));
}
export function newRing(): Ring {
  const n = globals().rings;
  globals().rings = n + 1;
  return ringAt(n);
}
/** The records fit their places. */
export function tablesFit(): bool {
  return offsetof<Server>() <= SERVER_STRIDE && offsetof<Target>() <= TARGET_STRIDE && offsetof<Ring>() <= RING_STRIDE;
}
