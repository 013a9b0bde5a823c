/**
 * The person's terminal while a guest console is attached: raw mode, so that Ctrl-C and friends reach the guest, and an escape key as in
 * QEMU: Ctrl-A X quits, Ctrl-A A sends a Ctrl-A, Ctrl-A H helps. The terminal is restored whatever happens: normal exit, uncaught
 * error, or a signal (all paths end in process 'exit').
 */
import type { ReadStream } from 'node:tty';

const CTRL_A = 1;

export interface Terminal { readonly raw: boolean; restore(): void }

/** Splits the escape key off a byte stream; state lives across chunks. Exported for tests. */
export class EscapeFilter {
  #escaped = false;
  readonly #act: { quit(): void; help(): void };
  constructor(act: { quit(): void; help(): void }) {
    this.#act = act;
  }
  /** Bytes that go to the guest. */
  filter(bytes: Uint8Array): Uint8Array {
    const out: number[] = [];
    for (const byte of bytes) {
      if (!this.#escaped) {
        if (byte === CTRL_A) this.#escaped = true;
        else out.push(byte);
        continue;
      }
      this.#escaped = false;
      const key = String.fromCharCode(byte).toLowerCase();
      if (key === 'x') this.#act.quit();
      else if (key === 'h' || key === '?') this.#act.help();
      else if (byte === CTRL_A || key === 'a') out.push(CTRL_A);
    }
    return Uint8Array.from(out);
  }
}

/** Attaches stdin: `send` gets the guest's bytes, `quit` is called on Ctrl-A X and, when stdin is not a terminal, never. */
export function attachTerminal(send: (bytes: Uint8Array) => void, quit: () => void, end: () => void): Terminal {
  const stdin = process.stdin as ReadStream;
  const raw = stdin.isTTY === true;
  const filter = new EscapeFilter({
    quit,
    help: () => process.stderr.write('\r\n[Ctrl-A X quits, Ctrl-A A sends Ctrl-A]\r\n'),
  });
  const restore = (): void => {
    if (raw && stdin.isRaw) stdin.setRawMode(false);
  };
  if (raw) {
    stdin.setRawMode(true);
    process.on('exit', restore);
    for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.once(signal, () => { restore(); quit(); });
  }
  stdin.on('data', (bytes: Buffer) => send(raw ? filter.filter(bytes) : bytes));
  stdin.on('end', end);
  return { raw, restore: () => { restore(); stdin.pause(); stdin.removeAllListeners('data'); } };
}
