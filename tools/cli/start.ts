/**
 * `./kintsugi`: boots the system with the console on this terminal. Ctrl-C goes to the guest, Ctrl-A X quits.
 * Exit status: 0 after power-off or Ctrl-A X, 124 at the timeout, 125 when the machine stopped by itself.
 */
import { createMachine } from '../../vm/machine.ts';
import { EXIT } from './errors.ts';
import { ensureGuest } from './guest.ts';
import { systemConfig, type SystemOptions } from './system.ts';
import { attachTerminal } from './terminal.ts';
import { traced } from './tracing.ts';

export async function start(options: SystemOptions): Promise<number> {
  ensureGuest();
  const trace = await traced(options.trace);
  const machine = await createMachine({ ...systemConfig(options, undefined, { com1: (bytes) => process.stdout.write(bytes) }), ...trace.config });
  const terminal = attachTerminal((bytes) => machine.serialInput(0, bytes), () => machine.stop(), () => machine.serialInput(0, Uint8Array.of(4)));
  try {
    const result = await machine.run().finally(() => machine.close());
    if (result.reason === 'poweroff' || result.reason === 'stopped' || result.reason === 'exit') return EXIT.ok;
    if (result.reason === 'timeout') {
      process.stderr.write(`\r\nkintsugi: timed out after ${options.timeoutSeconds} s\r\n`);
      return EXIT.timeout;
    }
    process.stderr.write(`\r\nkintsugi: the machine stopped: ${result.reason}\r\n`);
    return EXIT.internal;
  } finally {
    terminal.restore();
    trace.done(machine);
  }
}
