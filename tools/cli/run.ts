/**
 * `./kintsugi run -- CMD`: boots, runs one command and ends with its status. The command's stdout and stderr come over the framed
 * channel (COM2) and nothing else is printed there; the system log (COM1) is kept and shown only when something went wrong.
 *
 * Exit status: the command's (128 + signal as a shell would say), 124 at the timeout, 125 when the system failed before the command ended.
 */
import { createMachine, type MachineResult } from '../../vm/machine.ts';
import { ChannelDecoder, encodeInput } from './channel.ts';
import { EXIT } from './errors.ts';
import { ensureGuest } from './guest.ts';
import { systemConfig, type SystemOptions } from './system.ts';
import { traced } from './tracing.ts';

export interface RunReport {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly instructions: number;
  readonly virtualNs: number;
  readonly stateHash: string;
}
export interface RunOutcome extends RunReport { readonly reason: MachineResult['reason']; readonly log: string; readonly problem?: string }

export interface RunSinks { stdout?(data: Uint8Array): void; stderr?(data: Uint8Array): void; log?(data: Uint8Array): void }

/** Boots and runs `argv`; input, when given, becomes the command's standard input. The library form of the command. */
export async function runCommand(options: SystemOptions, argv: readonly string[], sinks: RunSinks = {}, input?: Uint8Array): Promise<RunOutcome> {
  ensureGuest();
  const out: Record<1 | 2, Uint8Array[]> = { 1: [], 2: [] };
  const log: Uint8Array[] = [];
  let status: number | undefined;
  let problem: string | undefined;
  const decoder = new ChannelDecoder((frame) => {
    if (frame.kind === 'output') {
      out[frame.stream].push(frame.data);
      (frame.stream === 1 ? sinks.stdout : sinks.stderr)?.(frame.data);
    } else if (frame.kind === 'exit') status = frame.status;
    else if (frame.kind === 'log') log.push(frame.data);
    else if (frame.kind === 'ready') sendInput(); // not before: the driver resets its chip, and what was in it is lost
  }, (message) => { problem = `the guest sent ${message}`; });
  const trace = await traced(options.trace);
  const machine = await createMachine({
    ...systemConfig(options, argv, {
      com1: (bytes) => { log.push(bytes.slice()); sinks.log?.(bytes); },
      com2: (bytes) => decoder.push(bytes),
    }), ...trace.config,
  });
  let sent = false;
  const sendInput = (): void => {
    if (sent) return;
    sent = true;
    for (const frame of encodeInput(input ?? new Uint8Array(0))) machine.serialInput(1, frame);
    if (input !== undefined && input.length > 0) for (const frame of encodeInput(new Uint8Array(0))) machine.serialInput(1, frame);
  };
  const result = await machine.run().finally(() => machine.close());
  trace.done(machine);
  if (result.reason === 'timeout') status = EXIT.timeout;
  else if (status === undefined) {
    problem ??= `the machine stopped (${result.reason}) before the command ended`;
    status = EXIT.internal;
  }
  const text = (chunks: readonly Uint8Array[]): string => Buffer.concat(chunks).toString('utf8');
  return {
    exit: status, stdout: text(out[1]), stderr: text(out[2]), instructions: result.instructions, virtualNs: result.virtualNs,
    stateHash: result.stateHash, reason: result.reason, log: text(log), ...(problem === undefined ? {} : { problem }),
  };
}

/** The command itself; returns the exit status. */
export async function run(options: SystemOptions, argv: readonly string[], show: { readonly json: boolean; readonly log: boolean }): Promise<number> {
  const outcome = await runCommand(options, argv, {
    ...(show.json ? {} : { stdout: (d: Uint8Array) => process.stdout.write(d), stderr: (d: Uint8Array) => process.stderr.write(d) }),
    ...(show.log ? { log: (d: Uint8Array) => process.stderr.write(d) } : {}),
  });
  if (show.json) {
    const { exit, stdout, stderr, instructions, virtualNs, stateHash } = outcome;
    process.stdout.write(`${JSON.stringify({ exit, stdout, stderr, instructions, virtualNs, stateHash } satisfies RunReport)}\n`);
  }
  if (outcome.exit === EXIT.timeout && outcome.reason === 'timeout') process.stderr.write(`kintsugi: timed out after ${options.timeoutSeconds} s\n`);
  if (outcome.problem !== undefined) {
    if (!show.log) process.stderr.write(lastLines(outcome.log, 30));
    process.stderr.write(`kintsugi: ${outcome.problem}\n`);
  }
  return outcome.exit & 255;
}

const lastLines = (text: string, count: number): string => text.split('\n').slice(-count - 1).map((line) => `  | ${line}\n`).join('');
