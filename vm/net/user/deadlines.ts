/**
 * Deadlines of connections: a binary heap of (deadline, connection id), two numbers each, so that it is saved as it is. A connection has one entry that counts, `queued`; a deadline
 * moved later leaves it where it is, and is looked at again when it comes up (each acknowledgement moves the retransmission timer).
 */
import type { TcpConnection } from './connection.ts';

export class Deadlines {
  heap: number[] = [];

  /** When the first is due, ns; Infinity = never. */
  get next(): number { return this.heap.length > 0 ? this.heap[0] : Infinity; }
  arm(c: TcpConnection, deadline: number): void {
    c.deadline = deadline;
    if (deadline < c.queued) { c.queued = deadline; this.#push(deadline, c.id); }
  }
  /** Calls `fire` for each connection whose deadline has passed; it has none then. */
  expire(now: number, find: (id: number) => TcpConnection | undefined, fire: (c: TcpConnection) => void): void {
    while (this.heap.length > 0 && this.heap[0] <= now) {
      const at = this.heap[0];
      const c = find(this.heap[1]);
      this.#pop();
      if (!c || c.queued !== at) continue;
      c.queued = Infinity;
      if (c.deadline <= now) { c.deadline = Infinity; fire(c); }
      else if (c.deadline < Infinity) this.arm(c, c.deadline);
    }
  }
  #push(deadline: number, id: number): void {
    const heap = this.heap;
    let at = heap.length;
    heap.push(deadline, id);
    while (at > 0) {
      const up = ((at / 2 - 1) >> 1) * 2;
      if (heap[up] < deadline || (heap[up] === deadline && heap[up + 1] <= id)) break;
      heap[at] = heap[up]; heap[at + 1] = heap[up + 1];
      at = up;
    }
    heap[at] = deadline; heap[at + 1] = id;
  }
  #pop(): void {
    const heap = this.heap;
    const id = heap.pop() as number;
    const deadline = heap.pop() as number;
    const count = heap.length;
    if (count === 0) return;
    let at = 0;
    for (;;) {
      let down = 2 * at + 2;
      if (down >= count) break;
      if (down + 2 < count && (heap[down + 2] < heap[down] || (heap[down + 2] === heap[down] && heap[down + 3] < heap[down + 1]))) down += 2;
      if (deadline < heap[down] || (deadline === heap[down] && id < heap[down + 1])) break;
      heap[at] = heap[down]; heap[at + 1] = heap[down + 1];
      at = down;
    }
    heap[at] = deadline; heap[at + 1] = id;
  }
}
