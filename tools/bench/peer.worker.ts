/**
 * A machine that lives in JavaScript, run in a thread of its own so that its CPU time can be told from everything else's:
 * `here` is this project's VM (deterministic mode), `v86` is npm's v86. Compiler threads of V8 are not counted for either.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import v8 from 'node:v8';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import { LineStamper, type Stamped } from './lines.ts';

export interface PeerJob { readonly peer: 'here' | 'v86'; readonly image: string; readonly plan: string; readonly jit: 'on' | 'off' | 'mixed'; readonly timeoutMs: number }
export type PeerAnswer = { readonly lines: readonly Stamped[]; readonly instructions: number | null; readonly hostMs: number } | { readonly problem: string };

// Before any WebAssembly is compiled, as the machine's own vCPU workers do.
v8.setFlagsFromString('--experimental-wasm-branch-hinting');

/** Instructions per call of the engine; with one vCPU the schedule has nothing to interleave. */
const PIECE = 100_000;

/** User and system time of this thread, ns. Node 24 has it; its types do not yet. */
const threadNs = (): number => {
  const usage = (process as unknown as { threadCpuUsage(): { user: number; system: number } }).threadCpuUsage();
  return (usage.user + usage.system) * 1000;
};

async function here(job: PeerJob): Promise<PeerAnswer> {
  const { createEngine } = await import('../../vm/cpu/engine.ts');
  const { DeterministicMachine } = await import('../../vm/machine.ts');
  const stamper = new LineStamper(threadNs), start = performance.now();
  const machine = new DeterministicMachine({
    kernel: job.image, cmdline: job.plan, memoryMiB: 64, cpus: 1, mode: 'deterministic', quantum: PIECE, jit: job.jit,
    com1: (bytes: Uint8Array) => { stamper.push(Buffer.from(bytes).toString('latin1')); },
  }, createEngine);
  try {
    // Output is handed over when runFor returns: a stamp is late by one piece at most, about a hundredth of a repetition.
    for (let pieces = 0; ; pieces++) {
      const before = machine.instructions, { pause } = machine.runFor(PIECE), ran = machine.instructions - before;
      if (ran > PIECE) return { problem: `the engine ran ${ran} instructions of ${PIECE}: stamps are worthless` };
      if (pause === 'stopped') break;
      if (pause === 'idle') return { problem: 'the machine halted before the end' };
      if (performance.now() - start > job.timeoutMs) return { problem: `not finished after ${job.timeoutMs} ms` };
      // The event loop must turn now and then: translations finished by other threads arrive through it.
      if (pieces % 64 === 0) await new Promise<void>(resolve => { setImmediate(resolve); });
    }
    return { lines: stamper.lines, instructions: machine.instructions, hostMs: performance.now() - start };
  } finally { machine.close(); }
}

interface V86Machine { add_listener(event: string, listener: (byte: number) => void): void; destroy(): Promise<void> }

/** v86 ends its thread when a guest writes to the debug-exit port; `hold` makes the image halt instead. */
async function v86(job: PeerJob): Promise<PeerAnswer> {
  const directory = path.join(REPOSITORY_ROOT, 'node_modules/v86/build');
  const { V86 } = (await import(pathToFileURL(path.join(directory, 'libv86.mjs')).href)) as { V86: new (options: object) => V86Machine };
  const image = readFileSync(job.image), stamper = new LineStamper(threadNs), start = performance.now();
  const machine = new V86({
    wasm_path: path.join(directory, 'v86.wasm'), memory_size: 64 << 20, vga_memory_size: 1 << 20, autostart: true, cmdline: `hold ${job.plan}`,
    multiboot: { buffer: image.buffer.slice(image.byteOffset, image.byteOffset + image.byteLength) }, acpi: true, disable_keyboard: true, disable_mouse: true, disable_speaker: true, log_level: 0,
  });
  try {
    return await new Promise<PeerAnswer>(resolve => {
      const timer = setTimeout(() => { resolve({ problem: `not finished after ${job.timeoutMs} ms` }); }, job.timeoutMs);
      machine.add_listener('serial0-output-byte', byte => {
        stamper.push(String.fromCharCode(byte));
        if (stamper.lines[stamper.lines.length - 1]?.line === 'E') { clearTimeout(timer); resolve({ lines: stamper.lines, instructions: null, hostMs: performance.now() - start }); }
      });
    });
  } finally { await machine.destroy(); }
}

const job = workerData as PeerJob;
const answer = await (job.peer === 'here' ? here(job) : v86(job)).catch((e: unknown): PeerAnswer => ({ problem: e instanceof Error ? e.message : String(e) }));
parentPort?.postMessage(answer);
