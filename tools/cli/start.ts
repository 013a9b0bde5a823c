/**
 * `./kintsugi`: boots the system with the console on this terminal. Ctrl-C goes to the guest, Ctrl-A X quits.
 * Exit status: 0 after power-off or Ctrl-A X, 124 at the timeout, 126 when there is no shell on the disk, 125 when the machine stopped by
 * itself, 128 + signal after a signal.
 */
import { createMachine } from '../../vm/machine.ts';
import { ChannelDecoder, neverStarted } from './channel.ts';
import { EXIT } from './errors.ts';
import { ensureGuest } from './guest.ts';
import { systemConfig, type SystemOptions } from './system.ts';
import { onReaderGone } from './output.ts';
import { attachTerminal } from './terminal.ts';
import { traced } from './tracing.ts';
import type { Rewind } from './rewind.ts';

export async function start(options: SystemOptions, rewind?: Rewind): Promise<number> {
  ensureGuest();
  const trace = await traced(options.trace);
  let noShell = 0;
  const decoder = new ChannelDecoder((frame) => { if (frame.kind === 'exit' && neverStarted(frame.status)) noShell = frame.status & 255; }, () => undefined);
  const machine = await createMachine({
    postMortem: true,
    ...systemConfig(options, undefined, { com1: (bytes) => { rewind?.said(0, bytes); process.stdout.write(bytes); }, com2: (bytes) => decoder.push(bytes) }),
    interactive: !rewind?.replays,
    ...trace.config, ...rewind?.config(),
  });
  // A replay gets what was typed then, and nothing that is typed now.
  const type = (bytes: Uint8Array): void => { if (!rewind?.replays) machine.serialInput(0, bytes); };
  const terminal = attachTerminal(type, () => machine.stop(), () => type(Uint8Array.of(4)));
  onReaderGone(() => machine.stop());
  try {
    let result, replay;
    try {
      const said = rewind?.created(machine);
      if (said) process.stdout.write(said.com1);
      result = await (options.gdb === undefined ? machine.run() : (await import('./debugging.ts')).runUnderGdb(machine, options.gdb, true));
      terminal.restore();
      replay = rewind?.finished(machine, result);
    } finally { machine.close(); }
    if (replay?.divergence) return EXIT.internal;
    if (terminal.signal !== 0) return 128 + terminal.signal;
    if (noShell !== 0) {
      process.stderr.write(`kintsugi: there is no shell: the log above says why${options.disk === undefined ? '' : `; the disk image is ${options.disk}`}\n`);
      return noShell;
    }
    if (result.reason === 'poweroff' || (result.reason === 'stopped' && result.detail === undefined)) return EXIT.ok;
    if (result.reason === 'timeout') {
      process.stderr.write(`\nkintsugi: timed out after ${options.timeoutSeconds} s\n`);
      return EXIT.timeout;
    }
    process.stderr.write(`\nkintsugi: the machine stopped: ${result.reason === 'exit' ? 'the system gave up' : result.detail ?? result.reason}\n`);
    return EXIT.internal;
  } finally {
    terminal.restore();
    trace.done(machine);
  }
}
