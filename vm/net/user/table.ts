/** Connections by both ends and by id. */
import type { TcpConnection } from './connection.ts';

export class ConnectionTable {
  readonly byId = new Map<number, TcpConnection>();
  readonly #buckets = new Map<number, TcpConnection[]>();
  /** The one that was found last: frames come in runs. */
  #last: TcpConnection | undefined;

  #key(guestAddress: number, guestPort: number, peerAddress: number, peerPort: number): number {
    return ((Math.imul(peerAddress, 0x9e37_79b1) ^ Math.imul(peerPort, 0x85eb_ca77) ^ guestAddress) >>> 0) * 65536 + guestPort;
  }
  find(guestAddress: number, guestPort: number, peerAddress: number, peerPort: number): TcpConnection | undefined {
    const last = this.#last;
    if (last && last.guestPort === guestPort && last.peerPort === peerPort && last.peerAddress === peerAddress && last.guestAddress === guestAddress) return last;
    const bucket = this.#buckets.get(this.#key(guestAddress, guestPort, peerAddress, peerPort));
    if (!bucket) return undefined;
    for (const c of bucket) if (c.guestPort === guestPort && c.peerPort === peerPort && c.peerAddress === peerAddress && c.guestAddress === guestAddress) { this.#last = c; return c; }
    return undefined;
  }
  enter(c: TcpConnection): void {
    const key = this.#key(c.guestAddress, c.guestPort, c.peerAddress, c.peerPort);
    const bucket = this.#buckets.get(key);
    if (bucket) bucket.push(c); else this.#buckets.set(key, [c]);
    this.byId.set(c.id, c);
  }
  remove(c: TcpConnection): void {
    const key = this.#key(c.guestAddress, c.guestPort, c.peerAddress, c.peerPort);
    const bucket = this.#buckets.get(key);
    if (bucket) {
      bucket.splice(bucket.indexOf(c), 1);
      if (bucket.length === 0) this.#buckets.delete(key);
    }
    this.byId.delete(c.id);
    if (this.#last === c) this.#last = undefined;
  }
  clear(): void { this.byId.clear(); this.#buckets.clear(); this.#last = undefined; }
}
