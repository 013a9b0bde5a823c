/** A live NIC without a CPU: the devices of a parallel machine, the real I/O worker, and a driver and stack on the test's thread. */
import { createBoard, type Board } from '../../vm/board.ts';
import { Chipset } from '../../vm/devices/chipset.ts';
import { HostClock } from '../../vm/io/host-clock.ts';
import { describeNet, type NetConfig } from '../../vm/net/config.ts';
import { IoHost } from '../../vm/net/io-host.ts';
import { VCpus } from '../../vm/vcpu.ts';
import { GuestStack, NicDriver } from './driver.ts';

/** Nothing has come: the other threads need the cores. */
const pause = (): Promise<void> => new Promise((resolve) => { setTimeout(resolve, 1); });

export class LiveRig {
  readonly board: Board;
  readonly chipset: Chipset;
  readonly io: IoHost;
  readonly driver: NicDriver;
  readonly stack: GuestStack;
  readonly notes: string[] = [];
  died: string | undefined;

  constructor(config: NetConfig = { backend: { kind: 'user' } }) {
    const clockBase = process.hrtime.bigint();
    const board = this.board = createBoard({ cpus: 1, memoryMiB: 16, viewsPerCpu: 1 });
    board.header.parallel = 1;
    this.chipset = new Chipset(board, { clock: new HostClock(board, clockBase), cpus: new VCpus(board), parallel: true, disks: [], diskLatencyNs: 0, net: describeNet(config), emit: () => undefined });
    this.chipset.powerOn();
    this.io = new IoHost({ memory: board.memory, clockBase, disks: [], config, note: (text) => this.notes.push(text), died: (cause) => { this.died = cause; } });
    this.driver = new NicDriver({ bus: this.chipset, ram: board.ram });
    this.stack = new GuestStack(this.driver, () => performance.now() * 1e6);
  }
  async start(): Promise<this> {
    await this.io.start();
    this.driver.start();
    return this;
  }
  /** The stack works until `done`. */
  async until(done: () => boolean): Promise<void> {
    while (!done()) { if (this.stack.poll() > 0) await new Promise((resolve) => setImmediate(resolve)); else await pause(); }
  }
  readonly #waiting: Uint8Array[] = [];
  /** Takes raw frames in order until one pleases. */
  async frame(wanted: (frame: Uint8Array) => boolean): Promise<Uint8Array> {
    for (;;) {
      this.#waiting.push(...this.driver.frames());
      for (let frame = this.#waiting.shift(); frame; frame = this.#waiting.shift()) if (wanted(frame)) return frame;
      await pause();
    }
  }
  async stop(): Promise<void> { await this.io.stop(); }
}
