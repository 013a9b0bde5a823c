/** The x87 functions of one vCPU: an instance of the module of x87.ts, and the transcendental instructions beside it. */
import { Transcendental, type Rounded } from './transcendental.ts';
import { x87Module } from './x87.ts';

export class X87Unit {
  readonly exports: WebAssembly.Exports;
  constructor(memory: WebAssembly.Memory, base: number) {
    this.exports = new WebAssembly.Instance(x87Module(), { env: { memory, transcendental: (_cpu: number, which: number) => { functions.run(which); } } }).exports;
    const functions = new Transcendental(memory.buffer as unknown as SharedArrayBuffer, base, this.exports['x87_rounded'] as unknown as Rounded);
  }
}
