/**
 * The event queue: one slot per timer of the board, each a deadline in virtual ns (Infinity: idle). There are about twenty, so
 * "the queue ordered by virtual time" is a scan for the minimum; ties go to the lower slot, which makes the order total.
 *
 * Slots are registered in construction order, so a slot number means the same timer in every worker and every snapshot.
 * Slots of a vCPU's own timer carry its number: in parallel mode that vCPU alone runs them, global ones are run by whoever
 * notices first, under the device lock.
 */
import { FieldList, f64s, type FieldView } from '../fields.ts';
import type { DeviceBlocks } from './device.ts';

export const EVENT_SLOTS = 64;
const EVENTS = new FieldList('events', { deadline: f64s(EVENT_SLOTS) });
/** Slot owner of timers that belong to no vCPU. */
export const GLOBAL = -1;

interface Slot { readonly name: string; readonly cpu: number; readonly fire: (deadlineNs: number) => void }

export class EventQueue {
  readonly #state: FieldView<{ deadline: ReturnType<typeof f64s> }>;
  readonly #deadline: Float64Array;
  readonly #slots: Slot[] = [];
  constructor(blocks: DeviceBlocks) {
    this.#state = blocks.place(EVENTS);
    this.#deadline = this.#state.deadline;
  }

  /** Called once at power on, on the thread that made the board. */
  reset(): void { this.#deadline.fill(Infinity); }

  /** `fire` gets the deadline that was due, so that periodic timers do not drift. The slot is idle when it is called. */
  register(name: string, cpu: number, fire: (deadlineNs: number) => void): number {
    if (this.#slots.length === EVENT_SLOTS) throw new RangeError(`no event slot left for ${name}`);
    return this.#slots.push({ name, cpu, fire }) - 1;
  }

  /** Called when a timer is armed: a running vCPU may have to come back earlier than it planned (parallel mode). */
  onArm: ((deadlineNs: number) => void) | undefined;

  arm(slot: number, deadlineNs: number): void {
    this.#deadline[slot] = deadlineNs;
    this.onArm?.(deadlineNs);
  }
  cancel(slot: number): void { this.#deadline[slot] = Infinity; }
  deadlineOf(slot: number): number { return this.#deadline[slot]; }

  /** Earliest deadline of all slots. */
  next(): number {
    let earliest = Infinity;
    for (let slot = 0; slot < this.#slots.length; slot++) if (this.#deadline[slot] < earliest) earliest = this.#deadline[slot];
    return earliest;
  }

  /** Earliest deadline that vCPU `cpu` has to keep in parallel mode: its own and the global ones. */
  nextFor(cpu: number): number {
    let earliest = Infinity;
    for (let slot = 0; slot < this.#slots.length; slot++) {
      const owner = this.#slots[slot].cpu;
      if ((owner === GLOBAL || owner === cpu) && this.#deadline[slot] < earliest) earliest = this.#deadline[slot];
    }
    return earliest;
  }

  /**
   * Fires everything due at `nowNs`, in order of (deadline, slot). With `cpu`, only that vCPU's and global slots.
   * Handlers may arm slots again, also for times already past: those fire too.
   */
  run(nowNs: number, cpu?: number): void {
    for (;;) {
      let due = -1;
      let earliest = nowNs;
      for (let slot = 0; slot < this.#slots.length; slot++) {
        const at = this.#deadline[slot];
        if (at > earliest || (due >= 0 && at === earliest)) continue;
        const owner = this.#slots[slot].cpu;
        if (cpu !== undefined && owner !== GLOBAL && owner !== cpu) continue;
        due = slot;
        earliest = at;
      }
      if (due < 0) return;
      this.#deadline[due] = Infinity;
      this.#slots[due].fire(earliest);
    }
  }

  /** Armed timers, earliest first, for the debugger. */
  armed(): { name: string; deadlineNs: number }[] {
    return this.#slots.map((slot, index) => ({ name: slot.name, deadlineNs: this.#deadline[index] }))
      .filter((event) => event.deadlineNs !== Infinity).sort((a, b) => a.deadlineNs - b.deadlineNs);
  }
}
