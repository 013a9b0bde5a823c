/** Flips in registers and memory: the transient faults of hardware. */
import { FAULT_REGISTERS, FLIPPABLE_FLAGS, type FaultRegister } from '../../../vm/faults.ts';
import { faultAt, momentOf, type FaultModel } from './model.ts';

const WORD_REGISTERS = FAULT_REGISTERS.slice(0, 9);
const REGISTER_BITS = WORD_REGISTERS.length * 32 + FLIPPABLE_FLAGS.length;

/** One bit of one register: eight general ones, EIP, and the flags of ring 3. Uniform over bits. */
export const registerFlip: FaultModel = {
  name: 'reg.flip', about: 'one bit of a general register, EIP or the flags', kernel: true,
  plan(context) {
    const moment = momentOf(context);
    if (!moment) return undefined;
    const drawn = context.random.below(REGISTER_BITS);
    const [register, bit] = drawn < WORD_REGISTERS.length * 32 ? [WORD_REGISTERS[drawn >> 5]!, drawn & 31] : ['eflags', FLIPPABLE_FLAGS[drawn - WORD_REGISTERS.length * 32]!];
    return faultAt(moment, `${register} bit ${bit}`, { register, bit });
  },
  place({ port }, { cpu, parameters }) {
    const register = parameters['register'] as FaultRegister;
    port.setRegister(cpu, register, port.register(cpu, register) ^ (1 << (parameters['bit'] as number)));
    return true;
  },
};

/** One bit of the target's own memory (data, heap, stacks, state), of pages that hold anything. */
export const memoryFlip: FaultModel = {
  name: 'mem.flip', about: 'one bit of the target\'s data, heap, stacks or state (pages that hold anything)', kernel: true,
  plan(context) {
    const moment = momentOf(context);
    const pages = moment && context.pages(moment.owner.space.cr3);
    if (!moment || !pages || pages.length === 0) return undefined;
    const va = context.random.pick(pages) + context.random.below(4096), bit = context.random.below(8);
    return faultAt(moment, `byte 0x${(va >>> 0).toString(16)} bit ${bit}`, { va, bit });
  },
  place({ port, machine }, { cpu, parameters }) {
    const physical = port.translate(port.position(cpu).cr3, parameters['va'] as number);
    if (physical < 0 || physical >= machine.board.ramBytes) return false;
    port.writePhysical(physical, Uint8Array.of(machine.board.ram[physical]! ^ (1 << (parameters['bit'] as number))));
    return true;
  },
};
