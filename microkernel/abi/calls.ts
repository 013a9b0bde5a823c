/** The 12 system calls (tag.op). The columns are the headings of docs/abi.md. */
export interface CallSpec { readonly op: number; readonly handle: string; readonly in: string; readonly out: string; readonly blocks: boolean; readonly notes: string }
export const CALLS = {
  call: { op: 0, handle: 'Endpoint (send)', in: 'words, caps, leases', out: 'reply: tag, words', blocks: true, notes: 'donates the Sched of the caller on the same CPU; the kernel stamps the key' },
  recv: { op: 1, handle: 'Endpoint (receive)', in: 'w0 = Reply handle (0 = the current one), deadline', out: 'request: tag, words, badge, key, deliveries', blocks: true, notes: 'also ends when the bound Notify fires: badge = NOTIFY_BADGE, bits in `pending`' },
  reply_recv: { op: 2, handle: 'Endpoint (receive)', in: 'the reply: tag, words, caps', out: 'as recv', blocks: true, notes: "answers the Thread's current Reply, arms it again, then receives" },
  reply: { op: 3, handle: 'Reply', in: 'tag, words, caps', out: '-', blocks: false, notes: 'answers an owing Reply; it becomes idle' },
  notify: { op: 4, handle: 'Notify (signal)', in: 'w0 = bits', out: '-', blocks: false, notes: 'ORs the bits, wakes one waiter' },
  wait: { op: 5, handle: 'Notify (wait) or 0', in: 'w0 = mask of bits to take, deadline (0 = poll)', out: 'pending = bits taken', blocks: true, notes: 'handle 0: sleeps until the deadline; wait(0) with deadline 0 is yield' },
  invoke: { op: 6, handle: 'any object', in: 'label = operation, words = arguments', out: 'words = results', blocks: false, notes: 'see objects.ts' },
  batch: { op: 7, handle: '0', in: 'w0 = number of entries in the message page', out: 'w0 = entries done', blocks: false, notes: 'stops at the first error: EAX = its status, w0 = its index' },
  window: { op: 8, handle: 'Frames (state, window right) or 0', in: 'w0 = 1 open, 0 close', out: '-', blocks: false, notes: "maps the server's own state writable for this Thread only; closed by every IPC" },
  fault: { op: 9, handle: '0', in: 'w0 = code, w1, w2 = free', out: 'as the fault endpoint replies', blocks: true, notes: 'a deliberate failure becomes a fault message' },
  trace: { op: 10, handle: '0', in: 'w0 = id, w1, w2 = free', out: 'w0 = CPU, w1, w2 = instructions it has retired (0 if not countable)', blocks: false, notes: 'a user event in the trace' },
  clock: { op: 11, handle: '0', in: '-', out: 'w0, w1 = ns since boot (low, high); w2 = CPU number', blocks: false, notes: 'monotonic, over all CPUs' },
} as const satisfies Record<string, CallSpec>;
export type CallName = keyof typeof CALLS;
