/**
 * What a device is and what it may use.
 *
 * A device model is stateless code over a field list on the board: any worker can construct the same device over the same memory
 * and run it, one at a time, under the device lock (vm/devices/lock.ts; the bus takes it, devices never do). A device asks the
 * clock for virtual time, arms deadlines in the event queue, and drives interrupt lines; it never calls the host's clock, never
 * allocates, and never throws for anything a guest does.
 */
import { Board, DEVICE_BASE, DEVICE_BYTES, MAX_DEVICES, type BoardOffset } from '../board.ts';
import type { FieldList, FieldMap, FieldView } from '../fields.ts';
import type { AccessSize } from './bus.ts';

/** A range of I/O ports. `port` is absolute. */
export interface PortDevice {
  portRead(port: number, size: AccessSize, cpu: number): number;
  portWrite(port: number, size: AccessSize, value: number, cpu: number): void;
}

/** Virtual time. `now` is that of the vCPU whose access is being handled (deterministic mode) or the host's (parallel mode). */
export interface Clock { now(): number }

/** Interrupt lines by number: 0..15 are the ISA lines (8259 pair and IOAPIC), 16..23 the PCI ones (IOAPIC only). */
export interface InterruptLines { set(line: number, asserted: boolean): void }

/** What the chipset may do to vCPUs. The implementation is vm/vcpu.ts; tests use a recorder. */
export interface CpuLines {
  readonly cpus: number;
  /** Level of the INTR pin: something is deliverable to this vCPU. False: it was so before. */
  interrupt(cpu: number, asserted: boolean): boolean | void;
  nmi(cpu: number): void;
  init(cpu: number): void;
  sipi(cpu: number, vector: number): void;
}

/** Why a device wants the machine to stop. */
export interface StopLine { stop(reason: 'exit' | 'poweroff' | 'reset', status: number): void }

/** One block on the board, for snapshot, hash and the debugger. */
export interface StateBlock { readonly name: string; readonly list: FieldList<FieldMap>; readonly base: BoardOffset }

/** Hands out device blocks in construction order; every worker constructs the same devices in the same order. */
export class DeviceBlocks {
  readonly blocks: StateBlock[] = [];
  readonly #board: Board;
  constructor(board: Board) { this.#board = board; }

  place<M extends FieldMap>(list: FieldList<M>, name = list.name): FieldView<M> {
    const index = this.blocks.length;
    if (index >= MAX_DEVICES) throw new RangeError(`no device block left for ${name}`);
    if (list.bytes > DEVICE_BYTES) throw new RangeError(`state of ${name} is ${list.bytes} bytes, a device block has ${DEVICE_BYTES}`);
    return this.placeAt(list, (DEVICE_BASE + index * DEVICE_BYTES) as BoardOffset, name);
  }

  placeAt<M extends FieldMap>(list: FieldList<M>, base: BoardOffset, name = list.name): FieldView<M> {
    if (this.blocks.some((block) => block.name === name)) throw new RangeError(`two device blocks are called ${name}: a snapshot would keep one`);
    this.blocks.push({ name, list: list as unknown as FieldList<FieldMap>, base });
    return list.bind(this.#board.buffer, base);
  }
}
