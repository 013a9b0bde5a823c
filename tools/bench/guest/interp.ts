/** A bytecode interpreter running a small program (sum of squares with a branch): an indirect jump or compare chain per operation. */
const PUSH: u8 = 0, ADD: u8 = 1, MUL: u8 = 2, LOAD: u8 = 3, STORE: u8 = 4, SUB: u8 = 5, JNZ: u8 = 6, HALT: u8 = 7, AND: u8 = 8, JZ: u8 = 9, XOR: u8 = 10;
//  v0 = 400; v1 = 0; do { v1 += v0 * v0; if (v0 & 1) v1 ^= 21; v0 -= 1 } while (v0)
const program = memory.data<u8>([
  PUSH, 200, PUSH, 2, MUL, STORE, 0, PUSH, 0, STORE, 1,
  LOAD, 1, LOAD, 0, LOAD, 0, MUL, ADD, STORE, 1,
  LOAD, 0, PUSH, 1, AND, JZ, 35,
  LOAD, 1, PUSH, 21, XOR, STORE,  1,
  LOAD, 0, PUSH, 1, SUB, STORE, 0, LOAD, 0, JNZ, 11, HALT,
]);
const stack = memory.data(256, 16);
const variables = memory.data(64, 16);

export function interp(): u32 {
  let pc: u32 = 0, sp: usize = stack;
  while (true) {
    const op = load<u8>(program + pc), arg: u32 = load<u8>(program + pc + 1);
    switch (op) {
      case PUSH: store<u32>(sp, arg); sp += 4; pc += 2; break;
      case ADD: sp -= 4; store<u32>(sp - 4, load<u32>(sp - 4) + load<u32>(sp)); pc++; break;
      case MUL: sp -= 4; store<u32>(sp - 4, load<u32>(sp - 4) * load<u32>(sp)); pc++; break;
      case LOAD: store<u32>(sp, load<u32>(variables + (arg << 2))); sp += 4; pc += 2; break;
      case STORE: sp -= 4; store<u32>(variables + (arg << 2), load<u32>(sp)); pc += 2; break;
      case SUB: sp -= 4; store<u32>(sp - 4, load<u32>(sp - 4) - load<u32>(sp)); pc++; break;
      case JNZ: sp -= 4; pc = load<u32>(sp) != 0 ? arg : pc + 2; break;
      case JZ: sp -= 4; pc = load<u32>(sp) == 0 ? arg : pc + 2; break;
      case AND: sp -= 4; store<u32>(sp - 4, load<u32>(sp - 4) & load<u32>(sp)); pc++; break;
      case XOR: sp -= 4; store<u32>(sp - 4, load<u32>(sp - 4) ^ load<u32>(sp)); pc++; break;
      default: return load<u32>(variables + 4);
    }
  }
}
