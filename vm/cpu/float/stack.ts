/** The x87 functions of one vCPU: an instance of the module of x87.ts, and the transcendental instructions in TypeScript. */
import { x87Module } from './x87.ts';

export class X87Unit {
  readonly exports: WebAssembly.Exports;
  constructor(memory: WebAssembly.Memory, _base: number) {
    this.exports = new WebAssembly.Instance(x87Module(), { env: { memory, transcendental: () => { throw new Error('not yet'); } } }).exports;
  }
}
