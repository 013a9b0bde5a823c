/**
 * Fault hooks: what a fault injector may do to a deterministic machine while it runs. What it does to one that stands still is in vm/faults.ts.
 *
 *   access     each port and device-memory access, before the device sees it: stop behind the instruction, another value, an access that is lost
 *   interrupt  a vCPU takes an interrupt: stop in front of the first instruction of its handler
 *   line       a device raises or lowers its interrupt line: lost, or later
 *   message    an interrupt message arrives at a local APIC (from the IOAPIC, its own timer, another vCPU): lost, or later
 *
 * Transfers of disks fail through `Disk.intercept`, frames through `VirtualNetwork.intercept`; exact instructions, addresses and accesses to memory stop
 * through `DeterministicMachine.runFor`, `Engine.setMark` and `DebugPlan`.
 *
 * Without hooks the price is one comparison for a device access or an interrupt, in TypeScript; generated code knows nothing of them, and
 * reads no port itself (Engine.readPlainPorts) while there is a hook for accesses.
 * The hooks themselves are the host's: neither saved nor hashed. What they hold back is the machine's (`Delayed`): it is in snapshots and in the state hash, for
 * two states of which one has an interrupt still to come are not the same.
 */
import type { AccessSize } from './devices/bus.ts';
import type { DeviceBlocks } from './devices/device.ts';
import { GLOBAL, type EventQueue } from './devices/events.ts';
import { FieldList, f64s, u32, u32s, type FieldView } from './fields.ts';

export interface DeviceAccess {
  readonly cpu: number;
  readonly space: 'port' | 'memory';
  /** Port, or physical address. */
  readonly address: number;
  readonly size: AccessSize;
  readonly write: boolean;
  /** Of a write, else 0. */
  readonly value: number;
}
export interface AccessFault {
  /** run() is left (pause `hook`) behind the instruction; in a REP, behind the iteration. */
  readonly stop?: boolean;
  /** A read finds this, and the device is not asked; a write writes this. */
  readonly value?: number;
  /** Nobody is there: a read finds all ones, a write does nothing. */
  readonly lost?: boolean;
}
/** What becomes of an interrupt: nothing of it arrives, or it does so many ns of virtual time later. Undefined: as always. */
export type InterruptFault = 'lost' | { readonly delayNs: number } | undefined;

export interface FaultHooks {
  access?(access: DeviceAccess): AccessFault | undefined;
  /** True: run() is left (pause `hook`) with the interrupt delivered and no instruction of its handler executed. */
  interrupt?(cpu: number, vector: number): boolean;
  /** 0 to 15: the ISA lines, at the 8259 pair and the IOAPIC; from 16 on PCI. A level stays what it was until a change arrives. */
  line?(line: number, asserted: boolean): InterruptFault;
  message?(cpu: number, vector: number, level: boolean): InterruptFault;
}

/** Interrupts held back at the same time; one more arrives at once. */
export const MOST_DELAYED = 32;
const FIELDS = { count: u32, pad: u32, due: f64s(MOST_DELAYED), what: u32s(MOST_DELAYED) } as const;
const LIST = new FieldList('delayed interrupts', FIELDS);
const LINE = 0x8000_0000, HIGH = 0x100;

export interface Arrival { line(line: number, asserted: boolean): void; message(cpu: number, vector: number, level: boolean): void }

/** Interrupts on their way, in the order in which they arrive. */
export class Delayed {
  readonly #s: FieldView<typeof FIELDS>;
  readonly #events: EventQueue;
  readonly #slot: number;
  readonly #arrival: Arrival;

  constructor(blocks: DeviceBlocks, events: EventQueue, arrival: Arrival) {
    this.#s = blocks.place(LIST);
    this.#events = events;
    this.#arrival = arrival;
    this.#slot = events.register('delayed interrupts', GLOBAL, (due) => this.#arrive(due));
  }
  reset(): void {
    const s = this.#s;
    s.count = 0;
    s.due.fill(0);
    s.what.fill(0);
    this.#events.cancel(this.#slot);
  }
  get count(): number { return this.#s.count; }
  line(dueNs: number, line: number, asserted: boolean): void { this.#add(dueNs, LINE | (asserted ? HIGH : 0) | line); }
  message(dueNs: number, cpu: number, vector: number, level: boolean): void { this.#add(dueNs, cpu << 16 | (level ? HIGH : 0) | vector); }

  #add(dueNs: number, what: number): void {
    const s = this.#s;
    if (s.count === MOST_DELAYED) { this.#deliver(what >>> 0); return; }
    let at = s.count++;
    for (; at > 0 && s.due[at - 1] > dueNs; at--) { s.due[at] = s.due[at - 1]; s.what[at] = s.what[at - 1]; }
    s.due[at] = dueNs;
    s.what[at] = what;
    this.#events.arm(this.#slot, s.due[0]);
  }
  #arrive(dueNs: number): void {
    const s = this.#s;
    while (s.count > 0 && s.due[0] <= dueNs) {
      const what = s.what[0];
      s.count--;
      s.due.copyWithin(0, 1, s.count + 1);
      s.what.copyWithin(0, 1, s.count + 1);
      s.due[s.count] = s.what[s.count] = 0;
      this.#deliver(what);
    }
    if (s.count > 0) this.#events.arm(this.#slot, s.due[0]);
  }
  #deliver(what: number): void {
    if (what >= LINE) this.#arrival.line(what & 0xff, (what & HIGH) !== 0);
    else this.#arrival.message(what >>> 16, what & 0xff, (what & HIGH) !== 0);
  }
}
