/**
 * The person's terminal while a guest console is attached: raw mode, so that Ctrl-C and friends reach the guest, and an escape key as in
 * QEMU: Ctrl-A X quits, Ctrl-A A sends a Ctrl-A, Ctrl-A H helps. The terminal is restored whatever happens: normal exit, uncaught
 * error, or a signal (all paths end in process 'exit'). Where nothing of ours runs any more (SIGKILL), a small guard process does it: it
 * waits for the end of a pipe that only we hold.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import type { Writable } from 'node:stream';
import type { ReadStream } from 'node:tty';

const CTRL_A = 1;

export interface Terminal {
  readonly raw: boolean;
  /** The host signal that asked us to end, 0 = none. */
  readonly signal: number;
  restore(): void;
}

const ENDING = { SIGTERM: 15, SIGHUP: 1, SIGINT: 2 } as const;

/** Restores the terminal's settings when this process is gone, however it went. Undefined when the host has no sh or stty. */
function guardTerminal(): ChildProcess | undefined {
  const saved = spawnSync('stty', ['-g'], { stdio: ['inherit', 'pipe', 'ignore'], encoding: 'utf8' });
  const settings = saved.status === 0 ? saved.stdout.trim() : '';
  if (!/^[0-9a-f:]+$/i.test(settings)) return undefined;
  // TTOU ignored: by then the guard may be in the background, where stty would be stopped.
  const guard = spawn('sh', ['-c', `trap '' TTOU INT HUP TERM QUIT; read -r bye <&3; [ "$bye" = bye ] || stty ${settings}`], { stdio: ['inherit', 'ignore', 'ignore', 'pipe'] });
  guard.on('error', () => undefined);
  guard.stdio[3]?.on('error', () => undefined);
  guard.unref();
  return guard;
}

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
  let endedBy = 0;
  let guard: ChildProcess | undefined;
  for (const [name, number] of Object.entries(ENDING)) process.once(name, () => { endedBy = number; restore(); quit(); });
  if (raw) {
    guard = guardTerminal();
    stdin.setRawMode(true);
    process.on('exit', restore);
  }
  stdin.on('data', (bytes: Buffer) => send(raw ? filter.filter(bytes) : bytes));
  stdin.on('end', end);
  return {
    raw,
    get signal() { return endedBy; },
    restore: () => {
      restore();
      stdin.pause();
      stdin.removeAllListeners('data');
      (guard?.stdio[3] as Writable | undefined)?.end('bye\n');
      guard = undefined;
    },
  };
}
