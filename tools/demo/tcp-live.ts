/** The conversation over a socket of this host, through the port that leads to the guest. */
import { connect, createServer, type Socket } from 'node:net';
import type { Conversation, Wire } from './conversation.ts';

/** Nothing moves for so long: the connection is dead. */
const DEAD_MS = 60_000;

export const freePort = (): Promise<number> => new Promise((resolve, reject) => {
  const probe = createServer().on('error', reject).listen(0, '127.0.0.1', () => {
    const { port } = probe.address() as { port: number };
    probe.close(() => resolve(port));
  });
});

export class LiveWire implements Wire {
  #socket: Socket | undefined;
  #full = false;
  send(bytes: Buffer): number {
    if (this.#full || this.#socket === undefined) return 0;
    this.#full = !this.#socket.write(bytes);
    return bytes.length;
  }
  end(): void { this.#socket?.end(); }
  /** Until the conversation is over, or the connection: then the sentence that says why. */
  carry(port: number, conversation: Conversation): Promise<string | undefined> {
    return new Promise((resolve) => {
      const socket = this.#socket = connect(port, '127.0.0.1');
      let why: string | undefined, alive = true;
      const watch = setInterval(() => { if (!alive) { why = `nothing moved for ${DEAD_MS / 1000} s`; socket.destroy(); } alive = false; }, DEAD_MS);
      socket.setNoDelay(true);
      socket.on('connect', () => conversation.start());
      socket.on('data', (chunk) => { alive = true; conversation.received(chunk); });
      socket.on('drain', () => { alive = true; this.#full = false; conversation.room(); });
      socket.on('error', (error) => { why ??= `the connection ended: ${error.message}`; });
      socket.on('close', () => { clearInterval(watch); resolve(conversation.over ? undefined : why ?? 'the connection ended: closed by the guest'); });
    });
  }
  destroy(): void { this.#socket?.destroy(); }
}
