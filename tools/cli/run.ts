/**
 * `./kintsugi run -- CMD`: boots, runs one command and ends with its status. The command's stdout and stderr come over the framed
 * channel (COM2) and nothing else is printed there; the system log (COM1) is kept and shown only when something went wrong. Standard
 * input, when it is a pipe or a file, goes to the command: as it comes in parallel mode, read to its end before the boot in
 * deterministic mode, where its moment of arrival must not depend on the host.
 *
 * Ctrl-C and SIGTERM go to the command as signals; a second one ends the machine. When the reader of our stdout goes away, the command
 * gets SIGPIPE.
 *
 * Exit status: the command's (128 + signal as a shell would say), 126 or 127 when it could not be started, 124 at the timeout, 125 when
 * the system failed before the command ended.
 */
import { fstatSync } from 'node:fs';
import { createMachine, type Machine, type MachineConfig, type MachineResult } from '../../vm/machine.ts';
import { ChannelDecoder, encodeInput, encodeSignal, neverStarted } from './channel.ts';
import { EXIT } from './errors.ts';
import { ensureGuest } from './guest.ts';
import { onReaderGone, readerGone } from './output.ts';
import { systemConfig, type SystemOptions } from './system.ts';
import { traced } from './tracing.ts';
import type { Rewind } from './rewind.ts';
import type { ReplayReport } from '../../vm/recording.ts';

export interface RunReport {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly instructions: number;
  readonly virtualNs: number;
  readonly stateHash: string;
  /** Of a replay: what was compared. */
  readonly replay?: ReplayReport;
}
export interface RunOutcome extends RunReport { readonly reason: MachineResult['reason']; readonly log: string; readonly problem?: string }

export interface RunSinks {
  stdout?(data: Uint8Array): void;
  stderr?(data: Uint8Array): void;
  log?(data: Uint8Array): void;
  /** Called once the command can get signals and before it ends. */
  running?(control: RunControl): void;
}
export interface RunControl {
  /** Sends a signal to the command. */
  signal(number: number): void;
  /** Ends the machine as a power cut does. */
  stop(): void;
}

/** Somebody who looks at the machine while it runs (profile.ts). */
export interface Observer {
  /** More of the machine's configuration. */
  readonly config: Partial<MachineConfig>;
  /** Before its first instruction. */
  created(machine: Machine): void;
  /** After its last one, while it is open. */
  finished(machine: Machine): void;
}

/** Bytes waiting for the serial line above which the source of the input is left alone. */
const INPUT_AHEAD_BYTES = 256 * 1024;
const INPUT_PATIENCE_MS = 5;

/** Boots and runs `argv`; input, when given, becomes the command's standard input. The library form of the command. */
export async function runCommand(options: SystemOptions, argv: readonly string[], sinks: RunSinks = {}, input?: Uint8Array | AsyncIterable<Uint8Array>, rewind?: Rewind, observer?: Observer): Promise<RunOutcome> {
  ensureGuest();
  const out: Record<1 | 2, Uint8Array[]> = { 1: [], 2: [] };
  const log: Uint8Array[] = [];
  let status: number | undefined;
  let problem: string | undefined;
  /** What was said before a snapshot comes again. */
  let resuming = false;
  const decoder = new ChannelDecoder((frame) => {
    if (frame.kind === 'output') {
      out[frame.stream].push(frame.data);
      if (!resuming) (frame.stream === 1 ? sinks.stdout : sinks.stderr)?.(frame.data);
    } else if (frame.kind === 'exit') {
      status = frame.status;
      if (neverStarted(status)) {
        status &= 255;
        if (status !== EXIT.notFound) problem ??= `the command was not started${options.disk === undefined ? '' : `; the disk image is ${options.disk}`}`;
      }
    } else if (frame.kind === 'log') log.push(frame.data);
    else if (frame.kind === 'ready') start(); // not before: the driver resets its chip, and what was in it is lost
  }, (message) => { problem = `the guest sent ${message}`; });
  const trace = await traced(options.trace);
  const machine = await createMachine({
    postMortem: true,
    ...systemConfig(options, argv, {
      com1: (bytes) => { log.push(bytes.slice()); sinks.log?.(bytes); rewind?.said(0, bytes); },
      com2: (bytes) => { rewind?.said(1, bytes); decoder.push(bytes); },
    }), ...trace.config, ...rewind?.config(), ...observer?.config,
  });
  observer?.created(machine);
  let started = false;
  const start = (): void => {
    if (started) return;
    started = true;
    sinks.running?.({ signal: (number) => machine.serialInput(1, encodeSignal(number)), stop: () => machine.stop() });
    if (resuming || rewind?.replays) return; // it has been sent, or comes from the file
    if (input === undefined || input instanceof Uint8Array) sendAll(machine, input ?? new Uint8Array(0));
    else void sendStream(machine, input, () => status !== undefined);
  };
  let replay: ReplayReport | undefined, result: MachineResult;
  try {
    if (rewind) {
      const said = rewind.created(machine);
      resuming = true;
      log.push(said.com1);
      decoder.push(said.com2);
      resuming = false;
    }
    result = await (options.gdb === undefined ? machine.run() : (await import('./debugging.ts')).runUnderGdb(machine, options.gdb, true));
    observer?.finished(machine);
    replay = rewind?.finished(machine, result);
  } finally { machine.close(); }
  trace.done(machine);
  if (result.reason === 'timeout') status = EXIT.timeout;
  else if (status === undefined) {
    problem ??= result.reason === 'exit' ? 'the system gave up before the command ended' : `the machine stopped (${result.detail ?? result.reason}) before the command ended`;
    status = EXIT.internal;
  }
  const text = (chunks: readonly Uint8Array[]): string => Buffer.concat(chunks).toString('utf8');
  return {
    exit: status, stdout: text(out[1]), stderr: text(out[2]), instructions: result.instructions, virtualNs: result.virtualNs,
    stateHash: result.stateHash, reason: result.reason, log: text(log), ...(replay === undefined ? {} : { replay }), ...(problem === undefined ? {} : { problem }),
  };
}

function sendAll(machine: Machine, input: Uint8Array): void {
  for (const frame of encodeInput(input)) machine.serialInput(1, frame);
  if (input.length > 0) for (const frame of encodeInput(new Uint8Array(0))) machine.serialInput(1, frame);
}
/** Passes input on as it comes and as the guest takes it; then end of file. */
async function sendStream(machine: Machine, input: AsyncIterable<Uint8Array>, ended: () => boolean): Promise<void> {
  try {
    for await (const bytes of input) {
      for (const frame of encodeInput(bytes)) if (bytes.length > 0) machine.serialInput(1, frame);
      while (machine.inputBytes > INPUT_AHEAD_BYTES && !ended()) await new Promise((resolve) => setTimeout(resolve, INPUT_PATIENCE_MS));
      if (ended()) return;
    }
  } catch (error) {
    process.stderr.write(`kintsugi: standard input: ${error instanceof Error ? error.message : String(error)}\n`);
  }
  for (const frame of encodeInput(new Uint8Array(0))) machine.serialInput(1, frame);
}

export interface RunShow {
  readonly json: boolean;
  readonly log: boolean;
  readonly rewind?: Rewind;
  /** Nothing of what the command says on its stdout and stderr. */
  readonly quiet?: boolean;
  readonly observer?: Observer;
  /** After the command's output: what else is to be said, and fields for the JSON object. */
  report?(outcome: RunOutcome): object;
}
/** The command itself; returns the exit status. */
export async function run(options: SystemOptions, argv: readonly string[], show: RunShow): Promise<number> {
  const interrupts = new Interrupts();
  const input = !show.rewind?.resumes && !show.rewind?.replays && hasInput() ? options.deterministic ? await readInput() : process.stdin as AsyncIterable<Uint8Array> : undefined;
  const outcome = await runCommand(options, argv, {
    ...(show.json || show.quiet ? {} : {
      stdout: (d: Uint8Array) => { if (!readerGone()) process.stdout.write(d); },
      stderr: (d: Uint8Array) => process.stderr.write(d),
    }),
    ...(show.log ? { log: (d: Uint8Array) => process.stderr.write(d) } : {}),
    running: (control) => interrupts.attach(control),
  }, input, show.rewind, show.observer);
  const more = show.report?.(outcome);
  if (show.json) {
    const { exit, stdout, stderr, instructions, virtualNs, stateHash, replay } = outcome;
    process.stdout.write(`${JSON.stringify({ exit, stdout, stderr, instructions, virtualNs, stateHash, ...(replay === undefined ? {} : { replay }), ...more } satisfies RunReport)}\n`);
  }
  if (outcome.exit === EXIT.timeout && outcome.reason === 'timeout') {
    if (!show.log) process.stderr.write(lastLines(outcome.log, 30));
    process.stderr.write(`kintsugi: timed out after ${options.timeoutSeconds} s\n`);
  }
  if (outcome.problem !== undefined) {
    if (interrupts.stoppedBy !== 0) return 128 + interrupts.stoppedBy;
    if (!show.log) process.stderr.write(lastLines(outcome.log, 30));
    process.stderr.write(`kintsugi: ${outcome.problem}\n`);
  }
  return outcome.replay?.divergence ? EXIT.internal : outcome.exit & 255;
}

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
const SIGPIPE = 13;

/** Host signals: the first of each goes to the command when it runs; before that, and for the second, the machine ends. */
class Interrupts {
  /** The signal that ended the machine, 0 = none did. */
  stoppedBy = 0;
  #control: RunControl | undefined;
  #count = 0;
  constructor() {
    for (const [name, number] of Object.entries(SIGNALS)) process.on(name, () => this.#on(number));
  }
  attach(control: RunControl): void {
    this.#control = control;
    onReaderGone(() => control.signal(SIGPIPE));
  }
  #on(number: number): void {
    this.#count++;
    if (this.#control === undefined) process.exit(128 + number); // nothing has been written to a disk yet
    if (this.#count === 1) { this.#control.signal(number); return; }
    this.stoppedBy = number;
    this.#control.stop();
  }
}

/** A terminal is not read: a job in the background would be stopped for it. */
function hasInput(): boolean {
  try { return !process.stdin.isTTY && !fstatSync(0).isCharacterDevice(); } catch { return false; }
}
const SLOW_INPUT_MS = 2000;
/** All of standard input. Says what it waits for when that takes long. */
async function readInput(): Promise<Uint8Array> {
  const hint = setTimeout(() => process.stderr.write('kintsugi: reading standard input to its end (a deterministic run needs all of it; < /dev/null for none)\n'), SLOW_INPUT_MS);
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) chunks.push(chunk);
  } catch (error) {
    process.stderr.write(`kintsugi: standard input: ${error instanceof Error ? error.message : String(error)}\n`);
  } finally { clearTimeout(hint); }
  return Buffer.concat(chunks);
}

const lastLines = (text: string, count: number): string => text === '' ? '' : text.trimEnd().split('\n').slice(-count).map((line) => `  | ${line.trimEnd()}\n`).join('');
