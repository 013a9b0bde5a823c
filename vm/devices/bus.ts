/**
 * The bus between a CPU engine and the devices: the one interface that vm/cpu knows of vm/devices.
 *
 * All four accesses are synchronous and never throw for anything a guest can do: an access nobody claims reads as all ones and
 * is counted (`Machine.unclaimed`). Sizes are 1, 2 or 4 bytes; the engine splits accesses that cross a page. Values are
 * unsigned 32-bit numbers on the way in, any 32-bit integer (signed or not) on the way out; the engine masks to the size.
 *
 * Contract for the engine:
 *  - call portRead/portWrite/mmioRead/mmioWrite with the retired count in the vCPU block exact for *this* instruction: devices
 *    derive virtual time from it;
 *  - after the instruction that made the access, test the attention word again: the access may have raised STOP (debug exit,
 *    power off, reset), INTR (a self-IPI, an unmasked line) or INIT on this very vCPU. In both modes the engine leaves on STOP
 *    right after that instruction, and takes INTR as if the instruction had opened the window;
 *  - interruptAcknowledge is called only when INTR is set and the CPU is about to take the interrupt. -1 means: it went away
 *    (masked or withdrawn meanwhile); the bit has then been cleared by the bus, and a halted CPU stays halted. Only the bus
 *    sets and clears INTR;
 *  - IA32_APIC_BASE is the engine's (S.apicBase, FEE00900h on the BSP, FEE00800h elsewhere); the LAPIC reads its enable bit.
 *    The LAPIC page cannot be moved: a write that changes the base is #GP.
 */
import type { PhysAddr } from '../board.ts';

export type AccessSize = 1 | 2 | 4;

/**
 * A byte port whose read is the low byte of one board word and has no effect at all, as long as another word is 0. Both words are written under the
 * device lock only; a load sees what a read that took the lock at that moment would. Generated code reads such ports itself.
 */
export interface PlainPort {
  readonly port: number;
  /** Byte offsets on the board. `unless` undefined: always. */
  readonly value: number;
  readonly unless?: number;
}

export interface Bus {
  readonly plainPorts?: readonly PlainPort[];
  portRead(cpu: number, port: number, size: AccessSize): number;
  portWrite(cpu: number, port: number, size: AccessSize, value: number): void;
  mmioRead(cpu: number, address: PhysAddr, size: AccessSize): number;
  mmioWrite(cpu: number, address: PhysAddr, size: AccessSize, value: number): void;
  /** The vector to deliver now (0..255), or -1. LAPIC first, then the 8259 pair through LINT0. */
  interruptAcknowledge(cpu: number): number;
  /**
   * PAUSE: the guest is spinning. In parallel mode a long spin gives the host core away now and then (vm/parallel-vcpu.ts). In
   * deterministic mode it does nothing.
   */
  relax?(cpu: number): void;
}
