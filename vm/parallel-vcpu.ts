/**
 * One vCPU in parallel mode: the loop of its worker thread, which never returns to the event loop while the machine runs.
 *
 * Slices. The engine runs about half a millisecond at a time (less when a timer is due), as a budget of instructions at the measured
 * rate. Between slices the vCPU fires due timers, its own and the global ones, and slews its time stamp counter: TSC = host ns, by an
 * offset that only grows, so within a slice it advances with instructions and never runs back. A timer armed for before the end of
 * the slice by this vCPU itself ends the slice (STOP on itself), and so does any device access that reads the clock after it.
 *
 * Halting. When all vCPUs halt with interrupts off the machine stops. Otherwise HLT parks with Atomics.wait on the attention word until
 * somebody raises attention or the next timer is due. Parking and waking cost 20 to 60 us, so a vCPU first spins, while the executing vCPUs
 * fit the host's cores and its allowance reaches. A spin in vain is paid from the allowance; time and short halts, spun or slept, earn it
 * again. So vCPUs that talk to each other spin even on a host that disturbs them now and then, and an idle guest, whatever wakes it, spends no
 * more than SPIN_SHARE of a core on it.
 *
 * PAUSE. A guest that spins waits for another vCPU, and that one may wait for this host core: woken on it, or preempted with a lock held.
 * So after many pauses with little else between them the vCPU parks for REST_MS; attention ends the rest at once. How many: some 15 us worth
 * of them when more vCPUs execute than there are cores; else 200 us, because then the host itself must be busy with something else.
 */
import type { Board } from './board.ts';
import type { Chipset } from './devices/chipset.ts';
import type { Engine } from './engine.ts';
import { ATTN, FLAG, RUN, S } from './cpu/state.ts';
import { WORKER, type VCpus } from './vcpu.ts';

const SLICE_NS = 500_000;
const MINIMUM_BUDGET = 1000;
const MAXIMUM_BUDGET = 5_000_000;
/** A vCPU's first slice: long enough for a trampoline, short enough that whoever waits for it goes on soon. */
const FIRST_BUDGET = 3000;
const SPIN_NS = 50_000;
/** Part of the time that spins in vain may take, how much of it can be saved up, and what a short halt earns: four pay for a spin in vain. */
const SPIN_SHARE = 0.005;
const SPIN_SAVINGS_NS = 1_000_000;
const SHORT_HALT_EARNS_NS = SPIN_NS / 4;
/** A spin would have been worth it: SPIN_NS and what waking up costs. */
const SHORT_HALT_NS = SPIN_NS + 30_000;
const LONGEST_PARK_MS = 1000;
const PAUSES_CROWDED = 200;
const PAUSES_ALONE = 3000;
/** A spin loop is at most this many instructions from PAUSE to PAUSE. */
const SPIN_LOOP = 100;
const REST_MS = 0.05;

/** The worker's clock: devices read it, which tells a polling guest's slice that its time is over. */
export interface SliceClock { now(): number; onRead: ((ns: number) => void) | undefined }

export interface ParallelVcpuParts {
  readonly board: Board;
  readonly cpus: VCpus;
  readonly cpu: number;
  readonly chipset: Chipset;
  readonly engine: Engine;
  readonly clock: SliceClock;
  /** Host cores available. */
  readonly cores: number;
}

/** Runs until the machine stops. */
export function runVcpu(parts: ParallelVcpuParts): void {
  const { board, cpus, cpu, chipset, engine, clock, cores } = parts;
  const now = (): number => clock.now();
  const { headerWords } = board;
  const activeIndex = board.headerWord('active');
  const block = cpus.block(cpu);
  let instructionsPerNs = 0.05;
  let spinAllowanceNs = SPIN_SAVINGS_NS;
  let allowanceAtNs = now();
  let sliceEndNs = 0;
  let inEngine = false;
  let warm = false;
  const slew = (ns: number): void => {
    const offset = Math.floor(ns) - cpus.retired(cpu);
    if (offset <= block.timeOffset) return;
    cpus.advanceTsc(cpu, offset - block.timeOffset);
    block.timeOffset = offset;
  };
  // A device that reads the clock shows the guest host time: the time stamp counter must agree (calibration loops compare the two).
  // And a loop of device accesses is a thousand times slower than the budget assumes: the slice ends when its time is over.
  clock.onRead = (ns) => {
    if (!inEngine) return;
    slew(ns);
    if (ns >= sliceEndNs) cpus.requestStop(cpu);
  };
  chipset.events.onArm = (deadline) => { if (inEngine && deadline < sliceEndNs) cpus.requestStop(cpu); };

  /** Parks until attention is not `seen`; the others may count on this host core meanwhile. */
  const park = (seen: number, ms: number): void => {
    Atomics.sub(headerWords, activeIndex, 1);
    cpus.park(cpu, seen, ms);
    Atomics.add(headerWords, activeIndex, 1);
  };
  let pauses = 0;
  let pausedAt = 0;
  chipset.onPause = () => {
    const at = cpus.retired(cpu);
    pauses = at - pausedAt > SPIN_LOOP ? 1 : pauses + 1;
    pausedAt = at;
    if (pauses < PAUSES_CROWDED || (pauses < PAUSES_ALONE && Atomics.load(headerWords, activeIndex) <= cores)) return;
    pauses = 0;
    const seen = cpus.attention(cpu);
    const open = (cpus.words(cpu)[S.eflags >> 2] & FLAG.IF) !== 0;
    if (seen & ~ATTN.INTR || (seen !== 0 && open)) return; // there is something to do
    const ms = Math.min(REST_MS, (chipset.events.nextFor(cpu) - now()) / 1e6);
    if (ms > 0) park(seen, ms);
  };

  Atomics.add(headerWords, activeIndex, 1);
  for (;;) {
    if (cpus.stopped) break;
    let time = now();
    const due = chipset.events.nextFor(cpu);
    if (due <= time) { chipset.runEvents(time, cpu); continue; }
    if (cpus.runnable(cpu)) {
      slew(time);
      const sliceNs = Math.min(SLICE_NS, due - time);
      sliceEndNs = time + sliceNs;
      const before = cpus.retired(cpu);
      inEngine = true;
      const exit = engine.run(warm ? Math.max(MINIMUM_BUDGET, Math.min(MAXIMUM_BUDGET, Math.floor(sliceNs * instructionsPerNs))) : FIRST_BUDGET);
      inEngine = false;
      block.sliceCount++;
      const ended = now();
      const ran = cpus.retired(cpu) - before;
      if (!warm && ran > 0) {
        warm = true;
        cpus.setWorkerState(cpu, WORKER.warm);
      }
      if (exit === 'budget' && ended > time) instructionsPerNs = instructionsPerNs * 0.75 + 0.25 * (ran / (ended - time));
      time = ended;
      if (exit === 'shutdown') { cpus.setRunState(cpu, RUN.dead); cpus.stop('shutdown', cpu); break; }
      if (exit === 'stop' && !cpus.stopped) {
        cpus.clearStop(cpu);
        if (cpus.stopped) cpus.requestStop(cpu); // the machine stopped just now
      }
      if (exit !== 'halt') continue;
    }
    // Halted. From here on any new attention bit counts, one that was there before and has been serviced too: `seen` is read now, not before the
    // slice. STOP is taken back first, because a bit that is set already wakes nobody.
    cpus.clearStop(cpu);
    const seen = cpus.attention(cpu);
    if (cpus.stopped) break;
    if (cpus.runnable(cpu)) continue;
    if (cpus.asleepForGood()) { cpus.stop('stopped', 0); break; }
    spinAllowanceNs = Math.min(SPIN_SAVINGS_NS, spinAllowanceNs + (time - allowanceAtNs) * SPIN_SHARE);
    allowanceAtNs = time;
    let wokenNs = time;
    if (spinAllowanceNs >= SPIN_NS && Atomics.load(headerWords, activeIndex) <= cores) {
      const until = Math.min(time + SPIN_NS, chipset.events.nextFor(cpu));
      while (cpus.attention(cpu) === seen && wokenNs < until) {
        for (let k = 0; k < 64 && cpus.attention(cpu) === seen; k++);
        wokenNs = now();
      }
      if (cpus.attention(cpu) === seen) spinAllowanceNs -= wokenNs - time;
    }
    if (cpus.attention(cpu) === seen) {
      const waitMs = Math.min(LONGEST_PARK_MS, (chipset.events.nextFor(cpu) - now()) / 1e6);
      if (waitMs > 0) park(seen, waitMs);
      wokenNs = now();
    }
    if (cpus.attention(cpu) !== seen && wokenNs - time < SHORT_HALT_NS) {
      spinAllowanceNs = Math.min(SPIN_SAVINGS_NS, spinAllowanceNs + SHORT_HALT_EARNS_NS);
    }
  }
  Atomics.sub(headerWords, activeIndex, 1);
}
