/**
 * Trace: what happened on the machine, recorded by the VM at no cost to the guest.
 *
 * A trace *point* is the virtual address of an instruction. Just before that instruction runs, the vCPU writes one record of 32 bytes to
 * its ring on the board: time, the point's number and up to four words, each read from a register or through a chain of pointers. A *mark*
 * is a point the guest's compiler left in its code, `nop [MARK_BASE + id]`, with EAX, EDX, ECX as its words, and as the fourth how many of the
 * vCPU's instructions ran in regions (low 32 bits; of the JIT, not of the architecture). The VM adds *events* of its own
 * (interrupts taken, HLT). What points and marks mean is the business of those who set them (tools/trace); nothing here knows a kernel.
 *
 *      0            8       10    11     12          16     20     24     28
 *     +------------+-------+-----+------+-----------+------+------+------+------+
 *     | time ns f64| id u16| cpu | 0    | retired   | w0   | w1   | w2   | w3   |     retired: low 32 bits of this vCPU's count
 *     +------------+-------+-----+------+-----------+------+------+------+------+
 *
 * Cost. Without points nothing in decoded blocks or regions differs. With points, a block ends before each, the traced instruction has a
 * block of its own that begins with a TRACE record (tier 0), and regions leave it to tier 0. Reading words through pointers sets no accessed
 * bits: the state hash of a run is the same with and without tracing.
 *
 * Rings. One per vCPU; the deterministic machine, one thread, writes all into the first, so that records keep the order in which things
 * happened (within a round, every vCPU lives through the same virtual time). `stream`: whoever reads takes records out, and a vCPU that finds its ring full waits for the reader (parallel mode, at most
 * FULL_PATIENCE_MS, then records are lost and counted). `ring`: the last RING_RECORDS records stay, older ones are overwritten.
 */
import { MACHINE_BLOCK, MACHINE_BLOCK_BASE, MACHINE_BLOCK_BYTES, TRACE_BYTES, type Board } from './board.ts';

export const TRACE_RECORD_BYTES = 32;
export const RING_RECORDS = TRACE_BYTES / TRACE_RECORD_BYTES;
/** Field offsets of a record. */
export const TRACE_RECORD = { time: 0, id: 8, cpu: 10, retired: 12, words: 16 } as const;
/** Ids that points may not use: events of the VM, and marks, which are MARK + their id (below 0x1000). */
export const TRACE_EVENT = { mark: 0xe000, interrupt: 0xff01, halt: 0xff02 } as const;
/** Displacement of a mark's `nop dword [MARK_BASE + id]` (0F 1F 05 disp32): "KT" in the upper half. */
export const MARK_BASE = 0x4b54_0000;
export const MARK_LIMIT = 0x1000;

export const CAPTURE_REGISTERS = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi', 'cr2'] as const;
/** One word of a record: a register plus `add`, then for every offset in `load` the dword at (word + offset). 0 where nothing is mapped. */
export interface TraceWord { readonly from: (typeof CAPTURE_REGISTERS)[number]; readonly add?: number; readonly load?: readonly number[] }
export interface TracePoint {
  /** Below TRACE_EVENT.mark. */
  readonly id: number;
  readonly address: number;
  /** At most four. */
  readonly words: readonly TraceWord[];
  /** The code expected at the address; where other code stands (another program's space) the point is not there. */
  readonly code?: Uint8Array;
}
/** What to record; plain data, because it travels to worker threads. */
export interface TracePlan {
  readonly points: readonly TracePoint[];
  readonly marks: boolean;
  /** Interrupts and HLT. */
  readonly events: boolean;
  readonly keep: 'stream' | 'ring';
}
export class TraceError extends Error { override readonly name = 'TraceError'; }

export function checkPlan(plan: TracePlan): void {
  for (const { id, address, words } of plan.points) {
    if (!Number.isInteger(id) || id < 0 || id >= TRACE_EVENT.mark) throw new TraceError(`trace point id ${id}: expected 0..${TRACE_EVENT.mark - 1}`);
    if (!Number.isInteger(address) || address < 0 || address > 0xffff_ffff) throw new TraceError(`trace point ${id}: address ${address} is none`);
    if (words.length > 4) throw new TraceError(`trace point ${id}: ${words.length} words, at most 4`);
    for (const word of words) if (!CAPTURE_REGISTERS.includes(word.from)) throw new TraceError(`trace point ${id}: there is no register ${String(word.from)}`);
  }
}

/** A vCPU waits this long in all for the reader of a full ring before it begins to lose records. */
const FULL_PATIENCE_MS = 2000;
const STREAM = 1;
const word = (name: 'traceHead' | 'traceTail' | 'traceLost' | 'traceStream'): number => MACHINE_BLOCK.offsetOf(name) >> 2;
const HEAD = word('traceHead'), TAIL = word('traceTail'), LOST = word('traceLost'), KEEP = word('traceStream');
const control = (board: Board, cpu: number): Int32Array => new Int32Array(board.buffer, MACHINE_BLOCK_BASE + cpu * MACHINE_BLOCK_BYTES, MACHINE_BLOCK_BYTES >> 2);

/** Before the machine starts. */
export function prepareRings(board: Board, plan: TracePlan): void {
  checkPlan(plan);
  for (let cpu = 0; cpu < board.cpus; cpu++) {
    const words = control(board, cpu);
    words[HEAD] = words[TAIL] = words[LOST] = 0;
    words[KEEP] = plan.keep === 'stream' ? STREAM : 0;
  }
}

/** The vCPU's side. */
export class TraceWriter {
  readonly #control: Int32Array;
  readonly #words: Int32Array;
  readonly #times: Float64Array;
  readonly #cpu: number;
  readonly #now: () => number;
  readonly #parallel: boolean;
  readonly #ringReader: () => void;
  #patience = FULL_PATIENCE_MS;
  #latest = 0;

  /** `now`: ns. `ringReader`: somebody should empty the rings soon. */
  constructor(board: Board, cpu: number, parallel: boolean, now: () => number, ringReader: () => void) {
    const ring = parallel ? cpu : 0;
    this.#cpu = cpu; this.#parallel = parallel; this.#now = now; this.#ringReader = ringReader;
    this.#control = control(board, ring);
    this.#words = new Int32Array(board.buffer, board.traceBase(ring), TRACE_BYTES >> 2);
    this.#times = new Float64Array(board.buffer, board.traceBase(ring), TRACE_BYTES >> 3);
  }
  write(id: number, retired: number, w0: number, w1: number, w2: number, w3: number): void {
    const state = this.#control, head = state[HEAD];
    if (state[KEEP] === STREAM && !this.#room(head)) { state[LOST]++; return; }
    const at = (head & RING_RECORDS - 1) * 8, words = this.#words;
    // The host's clock steps back when the guest's time is frozen for a while; the records of a vCPU do not.
    this.#times[at >> 1] = this.#latest = this.#parallel ? Math.max(this.#latest, this.#now()) : this.#now();
    words[at + 2] = id | this.#cpu << 16;
    words[at + 3] = retired;
    words[at + 4] = w0; words[at + 5] = w1; words[at + 6] = w2; words[at + 7] = w3;
    Atomics.store(state, HEAD, head + 1 | 0);
  }
  #room(head: number): boolean {
    const state = this.#control, used = head - Atomics.load(state, TAIL) >>> 0;
    if (used < RING_RECORDS) {
      if (used === RING_RECORDS >> 1) this.#ringReader();
      return true;
    }
    if (!this.#parallel) return false;
    this.#ringReader();
    for (; this.#patience > 0; this.#patience -= 10) {
      const tail = Atomics.load(state, TAIL);
      if ((head - tail >>> 0) < RING_RECORDS) break;
      if (Atomics.wait(state, TAIL, tail, 10) !== 'timed-out') this.#patience += 10;
    }
    const room = (head - Atomics.load(state, TAIL) >>> 0) < RING_RECORDS;
    if (room) this.#patience = FULL_PATIENCE_MS;
    return room;
  }
}

/** The host's side: takes out what is there (`stream`), or copies the last records (`ring`). */
export class TraceReader {
  readonly #rings: readonly { readonly control: Int32Array; readonly bytes: Uint8Array }[];
  constructor(board: Board) {
    this.#rings = Array.from({ length: board.header.parallel ? board.cpus : 1 }, (_, cpu) => ({ control: control(board, cpu), bytes: new Uint8Array(board.buffer, board.traceBase(cpu), TRACE_BYTES) }));
  }
  /** Records lost so far, over all vCPUs. */
  get lost(): number { return this.#rings.reduce((sum, ring) => sum + ring.control[LOST], 0); }
  /** Calls `sink` with the new records of each ring, oldest first; the bytes are the sink's own. */
  drain(sink: (records: Uint8Array) => void): void {
    for (const { control: state, bytes } of this.#rings) {
      const head = Atomics.load(state, HEAD), tail = state[TAIL], count = head - tail >>> 0;
      if (count === 0) continue;
      sink(copy(bytes, tail, count));
      Atomics.store(state, TAIL, head);
      Atomics.notify(state, TAIL);
    }
  }
  /** The last records of a `ring`, of all vCPUs, as they happened. */
  last(): Uint8Array {
    const parts = this.#rings.map(({ control: state, bytes }) => {
      const head = Atomics.load(state, HEAD), count = Math.min(head >>> 0, RING_RECORDS);
      return copy(bytes, head - count, count);
    });
    return parts.length === 1 ? parts[0] : sortRecords(parts);
  }
  /** Forgets what is in the rings: after a restore the past of another timeline is no past. */
  clear(): void { for (const { control: state } of this.#rings) { state[HEAD] = state[TAIL] = state[LOST] = 0; } }
}
function copy(ring: Uint8Array, from: number, count: number): Uint8Array {
  const out = new Uint8Array(count * TRACE_RECORD_BYTES);
  const first = from & RING_RECORDS - 1, run = Math.min(count, RING_RECORDS - first);
  out.set(ring.subarray(first * TRACE_RECORD_BYTES, (first + run) * TRACE_RECORD_BYTES));
  out.set(ring.subarray(0, (count - run) * TRACE_RECORD_BYTES), run * TRACE_RECORD_BYTES);
  return out;
}
/** Joins batches in the order given. */
export function joinRecords(batches: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(batches.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const batch of batches) { all.set(batch, at); at += batch.length; }
  return all;
}
/** Joins batches of several rings in order of time; records of one vCPU keep their order. */
export function sortRecords(batches: readonly Uint8Array[]): Uint8Array {
  const all = joinRecords(batches), total = all.length;
  const count = total / TRACE_RECORD_BYTES, times = new Float64Array(all.buffer, 0, total >> 3);
  const order = new Uint32Array(count);
  for (let i = 0; i < count; i++) order[i] = i;
  order.sort((a, b) => times[a * 4] - times[b * 4] || a - b);
  const out = new Uint8Array(total), from = new Int32Array(all.buffer), to = new Int32Array(out.buffer);
  for (let i = 0; i < count; i++) for (let k = 0, source = order[i] * 8; k < 8; k++) to[i * 8 + k] = from[source + k];
  return out;
}
