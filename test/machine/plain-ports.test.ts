/** Ports that are only a word on the board: generated code reads them itself, and sees what the device would answer. */
import { describe, expect, it } from 'vitest';
import type { Engine } from '../../vm/cpu/engine.ts';
import { FLAG, S, SEG, segLimit } from '../../vm/cpu/state.ts';
import { bareMachine, CODE, le32 } from './bare.ts';

const OUT = (port: number, value: number): number[] => [0xb0, value, 0xe6, port]; // mov al, value; out port, al
const ELCR = [0x66, 0xba, 0xd0, 0x04]; // mov dx, 4d0h
/** Bytes read are shifted into EBX. */
const KEEP = [0xc1, 0xe3, 0x08, 0x0f, 0xb6, 0xc0, 0x09, 0xc3]; // shl ebx, 8; movzx eax, al; or ebx, eax
const EXIT = OUT(0xf4, 0);

function run(code: readonly number[], fast = true): { ebx: number; esi: number; helpers: number; instructions: number } {
  const machine = bareMachine(code), engine = machine.engines[0] as Engine;
  engine.blocks.fastOperations = fast;
  for (let n = 0; n < 100 && machine.runFor(10_000).pause !== 'stopped'; n++) { /* on */ }
  const words = machine.cpus.words(0), result = { ebx: words[S.ebx >> 2]! >>> 0, esi: words[S.esi >> 2]!, helpers: words[S.countJsOps >> 2]!, instructions: machine.instructions };
  expect(machine.stopReason).toBe('exit');
  machine.close();
  return result;
}

describe('plain ports', () => {
  it('the masks and the ELCR, as they change, with and without a port number in DX', () => {
    const code = [...OUT(0x21, 0x5a), 0xe4, 0x21, ...KEEP, ...OUT(0xa1, 0xc3), 0xe4, 0xa1, ...KEEP, ...ELCR, 0xb0, 0x28, 0xee, 0xec, ...KEEP, ...OUT(0x21, 0x11), 0x66, 0xba, 0x21, 0, 0xec, ...KEEP, ...EXIT];
    const fast = run(code), slow = run(code, false);
    expect(fast.ebx).toBe(0x5ac32811);
    expect({ ...fast, helpers: 0 }).toEqual({ ...slow, helpers: 0 });
    expect([fast.helpers, slow.helpers]).toEqual([5, 9]); // OUT is no plain read
  });
  it('a thousand reads call no helper', () => {
    const loop = [0xe4, 0x21, 0x01, 0xc3, 0x49, 0x75, 0xf9]; // in al, 21h; add ebx, eax; dec ecx; jnz
    const fast = run([...OUT(0x21, 3), 0x31, 0xdb, 0x0f, 0xb6, 0xc0, 0xb9, ...le32(1000), ...loop, ...EXIT]);
    expect([fast.ebx, fast.helpers]).toEqual([3000, 2]);
  });
  it('a poll command is answered first', () => {
    // IRQ 0 is raised by programming the timer; poll by OCW3 0Ch; the read is its acknowledge, the next one the mask.
    const code = [...OUT(0x21, 0xfe), ...OUT(0x20, 0x0c), 0xe4, 0x21, ...KEEP, 0xe4, 0x21, ...KEEP, ...EXIT];
    const fast = run(code), slow = run(code, false);
    expect({ ...fast, helpers: 0 }).toEqual({ ...slow, helpers: 0 });
    expect(fast.ebx & 0xff).toBe(0xfe);
    expect(fast.helpers).toBe(4);
  });
  it('words and devices with effects ask the device', () => {
    const code = [...OUT(0x21, 0x77), 0x66, 0xe5, 0x21, 0x0f, 0xb7, 0xd8, 0xe4, 0x61, 0xe4, 0x70, ...EXIT]; // in ax, 21h; movzx ebx, ax; in al, 61h; in al, 70h
    const fast = run(code), slow = run(code, false);
    expect({ ...fast, helpers: 0 }).toEqual({ ...slow, helpers: 0 });
    expect([fast.helpers, slow.helpers]).toEqual([5, 5]);
  });
  it('a hook hears of each read and may answer it, and of none when it is gone', () => {
    const machine = bareMachine([0xe4, 0x21, 0x01, 0xc3, 0xeb, 0xfa]), words = machine.cpus.words(0), seen: number[] = []; // in al, 21h; add ebx, eax; jmp
    machine.runFor(30);
    const before = words[S.countJsOps >> 2]!;
    machine.setHooks({ access: ({ address }) => { seen.push(address); return { value: 5 }; } });
    const sum = words[S.ebx >> 2]!, high = words[S.eax >> 2]! & ~255;
    machine.runFor(30);
    expect([seen, words[S.countJsOps >> 2]! - before]).toEqual([new Array(10).fill(0x21), 10]);
    expect(words[S.ebx >> 2]).toBe((sum + 10 * (high | 5)) | 0);
    machine.setHooks(undefined);
    machine.runFor(30);
    expect([seen.length, words[S.countJsOps >> 2]! - before]).toEqual([10, 10]);
    machine.close();
  });
  it('a read behind EFLAGS.IOPL is #GP in ring 3, not a value', () => {
    for (const iopl of [0, 3]) {
      const machine = bareMachine([0xe4, 0x21, 0x90, 0xeb, 0xfe]), engine = machine.engines[0] as Engine, words = machine.cpus.words(0);
      machine.runFor(1);
      words[S.eip >> 2] = CODE;
      words[S.eflags >> 2] = (words[S.eflags >> 2]! & ~FLAG.IOPL) | iopl << 12;
      words[S.cpl >> 2] = 3;
      words[segLimit(SEG.TR) >> 2] = 50; // no permission map
      engine.stateChanged();
      // No IDT: the exception ends in a shutdown.
      const { pause } = machine.runFor(1000);
      expect([pause, machine.stopReason]).toEqual(iopl === 0 ? ['stopped', 'shutdown'] : ['limit', undefined]);
      machine.close();
    }
  });
});
