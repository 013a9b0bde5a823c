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
import { LineStamper } from './lines.ts';

export interface PeerJob { readonly peer: 'here' | 'v86'; readonly image: string; readonly plan: string; readonly jit: 'on' | 'off' | 'mixed'; /** Pieces stay short: for repetitions of a fraction of a millisecond. */ readonly fine?: boolean }
/** What the thread says: lines as they come (Stamped), then how it ended; undefined: well. */
export interface PeerEnd { readonly problem: string | undefined }

// Before any WebAssembly is compiled, as the machine's own vCPU workers do.
v8.setFlagsFromString('--experimental-wasm-branch-hinting');

/**
 * Instructions per call of the machine, so that a call takes about PIECE_MS: a call costs some microseconds, and a line is stamped when the one
 * that printed it returns. With one vCPU the schedule has nothing to interleave.
 */
const LEAST_PIECE = 20_000, MOST_PIECE = 4_000_000, PIECE_MS = 0.5;

/**
 * User and system time of this thread, ns. Linux brings a thread's count up to date only at ticks (4 ms) and switches, but for the thread that asks
 * about its whole process: so that is asked first. `threadCpuUsage` is in Node 24; its types are not yet.
 */
const threadNs = (): number => {
  process.cpuUsage();
  const usage = (process as unknown as { threadCpuUsage(): { user: number; system: number } }).threadCpuUsage();
  return (usage.user + usage.system) * 1000;
};

const say = (message: unknown): void => { parentPort?.postMessage(message); };

async function here(job: PeerJob): Promise<string | undefined> {
  const { createEngine } = await import('../../vm/cpu/engine.ts');
  const { DeterministicMachine } = await import('../../vm/machine.ts');
  const stamper = new LineStamper(threadNs, say);
  const machine = new DeterministicMachine({
    kernel: job.image, cmdline: job.plan, memoryMiB: 64, cpus: 1, mode: 'deterministic', quantum: MOST_PIECE, jit: job.jit,
    com1: (bytes: Uint8Array) => { stamper.push(Buffer.from(bytes).toString('latin1')); },
  }, createEngine);
  try {
    // Output is handed over when runFor returns: a stamp is late by one piece at most, about a hundredth of a repetition.
    for (let pieces = 0, piece = LEAST_PIECE, at = performance.now(); ; pieces++) {
      const before = machine.instructions, { pause } = machine.runFor(piece), ran = machine.instructions - before, now = performance.now();
      if (ran > piece) return `the engine ran ${ran} instructions of ${piece}: stamps are worthless`;
      if (pause === 'stopped') return undefined;
      if (pause === 'idle') return 'the machine halted before the end';
      // Slower at once, faster by and by: a piece must not outlast a repetition that begins in it.
      if (!job.fine) piece = Math.round(Math.min(Math.max(ran / (now - at) * PIECE_MS, LEAST_PIECE), piece * 1.25, MOST_PIECE));
      at = now;
      // The event loop must turn now and then: translations finished by other threads arrive through it.
      if (pieces % 64 === 0) await new Promise<void>(resolve => { setImmediate(resolve); });
    }
  } finally { machine.close(); }
}

interface V86Machine { add_listener(event: string, listener: (byte: number) => void): void; destroy(): Promise<void> }

/** v86 ends its thread when a guest writes to the debug-exit port; `hold` makes the image halt instead. */
async function v86(job: PeerJob): Promise<string | undefined> {
  const directory = path.join(REPOSITORY_ROOT, 'node_modules/v86/build');
  const { V86 } = (await import(pathToFileURL(path.join(directory, 'libv86.mjs')).href)) as { V86: new (options: object) => V86Machine };
  const image = readFileSync(job.image);
  let ended: () => void;
  const end = new Promise<void>(resolve => { ended = resolve; });
  const stamper = new LineStamper(threadNs, stamped => { say(stamped); if (stamped.line === 'E') ended(); });
  const machine = new V86({
    wasm_path: path.join(directory, 'v86.wasm'), memory_size: 64 << 20, vga_memory_size: 1 << 20, autostart: true, cmdline: `hold ${job.plan}`,
    multiboot: { buffer: image.buffer.slice(image.byteOffset, image.byteOffset + image.byteLength) }, acpi: true, disable_keyboard: true, disable_mouse: true, disable_speaker: true, log_level: 0,
  });
  try {
    machine.add_listener('serial0-output-byte', byte => { stamper.push(String.fromCharCode(byte)); });
    await end;
    return undefined;
  } finally { await machine.destroy(); }
}

const job = workerData as PeerJob;
const problem = await (job.peer === 'here' ? here(job) : v86(job)).catch((e: unknown): string => e instanceof Error ? e.message : String(e));
say({ problem } satisfies PeerEnd);
