/**
 * The I/O worker as the host's main thread sees it: started late or before the boot, told to stop, buried when it dies.
 */
import { Worker } from 'node:worker_threads';
import { workerUrl } from '../entry.ts';
import type { DiskDescriptor } from '../io/disk.ts';
import { describeNet, NetError, type Backend, type NetConfig } from './config.ts';
import type { IoMessage, IoWorkerData } from './io.worker.ts';

const STOP_PATIENCE_MS = 2000;

export interface IoHostParts {
  readonly memory: WebAssembly.Memory;
  readonly clockBase: bigint;
  readonly disks: readonly DiskDescriptor[];
  readonly config: NetConfig;
  note(text: string): void;
  /** The worker is gone though nobody asked it to stop. */
  died(cause: string): void;
}

export class IoHost {
  readonly #parts: IoHostParts;
  #worker: Worker | undefined;
  #gone: Promise<void> = Promise.resolve();
  #opened: Promise<void> | undefined;
  #stopping = false;
  #counters: ReadonlyMap<string, number> = new Map();
  #asked: ((counters: ReadonlyMap<string, number>) => void)[] = [];

  constructor(parts: IoHostParts) { this.#parts = parts; }

  /** Sockets that the user named: whether they can be had is told before the guest starts. */
  get early(): boolean { const { backend, forwards = [], pcap } = this.#parts.config; return backend.kind !== 'user' || forwards.length > 0 || pcap !== undefined; }
  get started(): boolean { return this.#worker !== undefined; }

  /** Resolves when all sockets are open; rejects with the NetError that says why not. */
  start(): Promise<void> {
    if (this.#opened) return this.#opened;
    const { memory, clockBase, disks, config } = this.#parts;
    const { backend, forwards = [], pcap } = config;
    const workerData: IoWorkerData = {
      memory, clockBase, disks, net: describeNet(config), backend: backend as Exclude<Backend, { kind: 'scripted' }>, forwards, ...(pcap === undefined ? {} : { pcap }),
    };
    const worker = this.#worker = new Worker(workerUrl('vm/net/io.worker.ts'), { workerData, execArgv: [] });
    let cause = '';
    this.#opened = new Promise<void>((resolve, reject) => {
      worker.on('message', (message: IoMessage) => {
        if (message.kind === 'open') resolve();
        else if (message.kind === 'failed') { this.#stopping = true; reject(new NetError(message.code, message.subject, message.reason)); }
        else if (message.kind === 'note') this.#parts.note(message.text);
        else { this.#counters = new Map(message.counters); for (const answer of this.#asked.splice(0)) answer(this.#counters); }
      });
      worker.on('error', (error: unknown) => { cause = error instanceof Error ? error.stack ?? error.message : String(error); reject(error as Error); });
    });
    this.#opened.catch(() => undefined);
    this.#gone = new Promise((resolve) => {
      worker.on('exit', (code) => {
        if (!this.#stopping) this.#parts.died(cause || `exited with code ${code}`);
        for (const answer of this.#asked.splice(0)) answer(this.#counters);
        resolve();
      });
    });
    return this.#opened;
  }

  /** What the backend has refused or dropped so far, by reason. */
  async counters(): Promise<ReadonlyMap<string, number>> {
    if (!this.#worker || this.#stopping) return this.#counters;
    return new Promise((resolve) => { this.#asked.push(resolve); this.#worker?.postMessage('counters'); });
  }

  async stop(): Promise<void> {
    if (!this.#worker) return;
    this.#stopping = true;
    this.#worker.postMessage('stop');
    const patience = setTimeout(() => { void this.#worker?.terminate(); }, STOP_PATIENCE_MS);
    await this.#gone;
    clearTimeout(patience);
  }
  /** For tests and fault injection: ends the worker as a crash would. */
  async kill(): Promise<void> { await this.#worker?.terminate(); }
}
