/**
 * The 10 object types and every operation of `invoke`. Operation label = `label`, arguments are words w0.. (w0-w2 in ESI EDI EBP,
 * w3.. in the message page), results come back the same way. An argument of kind `cap:X` is a handle in the caller's Table.
 * `dst` arguments name a Table (cap:Table, 0 = own) and a slot index (0 = kernel chooses); the result is always the new handle.
 */
export interface OperationSpec {
  readonly label: number;
  readonly args: readonly string[];
  readonly results: readonly string[];
  readonly rights?: string;
  readonly notes?: string;
}
export interface ObjectSpec { readonly type: number; readonly rights: Readonly<Record<string, number>>; readonly ops: Readonly<Record<string, OperationSpec>> }

export const OBJECTS = {
  Untyped: {
    type: 1,
    rights: { retype: 1 },
    ops: {
      retype: { label: 1, args: ['type', 'sizeBits (Untyped, Frames: log2 bytes; Table: log2 slots; else 0)', 'count', 'dstTable cap:Table', 'dstSlot'], results: ['first handle', 'count'], rights: 'retype' },
      revoke: { label: 2, args: [], results: [], rights: 'retype', notes: 'destroys everything made of it; preemptible, restartable (at most 256 pages or 64 slots between preemption points)' },
      info: { label: 3, args: [], results: ['sizeBits', 'bytes free', 'paddr >> 12', 'objects'] },
    },
  },
  Table: {
    type: 2,
    rights: { read: 1, write: 2 },
    ops: {
      copy: { label: 1, args: ['src handle (in this Table)', 'rights mask', 'dstTable cap:Table', 'dstSlot'], results: ['handle'], rights: 'read' },
      mint: { label: 2, args: ['src handle (in this Table)', 'rights mask', 'dstTable cap:Table', 'dstSlot', 'badge'], results: ['handle'], rights: 'read', notes: 'Endpoint: badge of the sender; Notify: bits the holder may signal; I/O-port Device: badge = first port | count << 16 narrows the range (one port more is never reachable)' },
      move: { label: 3, args: ['src handle (in this Table)', 'dstTable cap:Table', 'dstSlot'], results: ['handle'], rights: 'write' },
      delete: { label: 4, args: ['handle (in this Table)'], results: [], rights: 'write', notes: 'the last capability destroys the object' },
      revoke: { label: 5, args: ['handle (in this Table)'], results: [], rights: 'write', notes: 'deletes every capability derived from it; restartable' },
      identify: { label: 6, args: ['handle (in this Table)'], results: ['type', 'rights', 'badge', 'object id'], rights: 'read' },
    },
  },
  Space: {
    type: 3,
    rights: { map: 1, copy: 2 },
    ops: {
      map: { label: 1, args: ['frames cap:Frames', 'va', 'first page in frames', 'pages', 'rights r=1 w=2 x=4 | uncached=8'], results: [], rights: 'map' },
      unmap: { label: 2, args: ['va', 'pages'], results: ['pages unmapped'], rights: 'map' },
      protect: { label: 3, args: ['va', 'pages', 'rights'], results: [], rights: 'map' },
      clone_range: { label: 4, args: ['dst cap:Space', 'va', 'pages', 'rights'], results: ['pages'], rights: 'map', notes: 'maps the same pages at the same va in dst' },
      query: { label: 5, args: ['va'], results: ['rights (0 = unmapped)', 'accessed=1 dirty=2', 'page in frames'], rights: 'map' },
      copy: { label: 6, args: ['own va', 'other cap:Space', 'other va', 'bytes', 'direction 0 = read other, 1 = write other'], results: ['bytes'], rights: 'copy' },
      donate: { label: 7, args: ['pool cap:Untyped', 'pages'], results: ['pool pages'], rights: 'map', notes: 'pages for page tables' },
      set_ports: { label: 8, args: ['device cap:Device'], results: [], rights: 'map', notes: 'lets ring 3 of this Space use the I/O ports of the Device directly' },
      window: { label: 9, args: ['frames cap:Frames', 'va', 'pages'], results: [], rights: 'map', notes: 'declares the range that `window` opens: read-only in the first root, writable in the second' },
    },
  },
  Frames: {
    type: 4,
    rights: { read: 1, write: 2, execute: 4, physical: 8, window: 16 },
    ops: {
      info: { label: 1, args: [], results: ['log2 pages', 'mappings'] },
      paddr: { label: 2, args: [], results: ['physical address'], rights: 'physical' },
      unmap_all: { label: 3, args: [], results: ['mappings removed'], rights: 'write', notes: 'from every Space; restartable' },
    },
  },
  Thread: {
    type: 5,
    rights: { control: 1, query: 2 },
    ops: {
      configure: { label: 1, args: ['space cap:Space', 'table cap:Table', 'message Frames cap:Frames', 'message page va', 'fault endpoint handle IN THE TARGET TABLE OWNER (caller) cap:Endpoint'], results: [], rights: 'control' },
      set_syscall_endpoint: { label: 2, args: ['cap:Endpoint (0 = none)'], results: [], rights: 'control' },
      set_schedule: { label: 3, args: ['priority 0..63', 'cpu', 'flags follow=1'], results: [], rights: 'control' },
      bind_notify: { label: 4, args: ['cap:Notify (0 = none)'], results: [], rights: 'control' },
      bind_reply: { label: 5, args: ['cap:Reply'], results: [], rights: 'control', notes: "becomes the Thread's current Reply" },
      resume: { label: 6, args: [], results: [], rights: 'control' },
      suspend: { label: 7, args: [], results: [], rights: 'control', notes: 'returns when the Thread runs on no CPU' },
      get_registers: { label: 8, args: [], results: ['results[0..11] = REGISTERS'], rights: 'control' },
      set_registers: { label: 9, args: ['words[3..14] = REGISTERS'], results: [], rights: 'control' },
      cancel_ipc: { label: 10, args: [], results: [], rights: 'control', notes: 'a blocked call or wait ends with E_INTR' },
      debug: { label: 11, args: ['dr7', 'dr0', 'dr1', 'dr2', 'dr3', 'singleStep'], results: [], rights: 'control' },
      set_tls: { label: 12, args: ['gs base', 'fs base'], results: [], rights: 'control' },
      query: { label: 13, args: [], results: ['state', 'cpu', 'priority', 'serial', 'run ns lo', 'run ns hi', 'ipcs'], rights: 'query' },
    },
  },
  Sched: {
    type: 6,
    rights: { control: 1 },
    ops: {
      configure: { label: 1, args: ['budget ns', 'period ns (0 = round-robin slice)', 'deadline ns', 'weight', 'reserve 0|1'], results: [], rights: 'control' },
      bind: { label: 2, args: ['cap:Thread (0 = unbind)'], results: [], rights: 'control' },
      info: { label: 3, args: [], results: ['budget left ns', 'consumed lo', 'consumed hi'], rights: 'control' },
    },
  },
  Endpoint: {
    type: 7,
    rights: { send: 1, receive: 2, grant: 4, own: 8 },
    ops: {
      epoch: { label: 1, args: [], results: ['epoch', 'queued callers'] },
      bump: { label: 2, args: [], results: ['new epoch'], rights: 'own' },
      cancel_badge: { label: 3, args: ['badge'], results: ['callers cancelled'], rights: 'own', notes: 'queued calls with this badge end with E_INTR' },
    },
  },
  Reply: {
    type: 8,
    rights: { answer: 1, own: 2 },
    ops: {
      peek: { label: 1, args: [], results: ['state idle=0 armed=1 owing=2', 'badge', 'caller serial', 'seq', 'tag', 'deliveries', 'age ns (saturated)'], rights: 'own' },
      requeue: { label: 2, args: ['cap:Endpoint'], results: [], rights: 'own', notes: 'the owing call goes back to the head of the queue, in delivery order' },
      fail: { label: 3, args: ['status'], results: [], rights: 'own', notes: 'the owing call ends with this status' },
      copy: { label: 4, args: ['own va', 'lease 0|1', 'offset in lease', 'bytes', 'direction 0 = read lease, 1 = write lease'], results: ['bytes'], rights: 'answer' },
      disarm: { label: 5, args: [], results: [], rights: 'own', notes: 'armed becomes idle' },
    },
  },
  Notify: {
    type: 9,
    rights: { signal: 1, wait: 2 },
    ops: {
      alarm: { label: 1, args: ['bits', 'deadline lo', 'deadline hi'], results: [], rights: 'wait', notes: 'one alarm; deadline 0 cancels' },
      clear: { label: 2, args: ['bits'], results: ['bits that were set'], rights: 'wait' },
    },
  },
  Device: {
    type: 10,
    rights: { use: 1, own: 2 },
    ops: {
      bind: { label: 1, args: ['cap:Notify', 'bits'], results: [], rights: 'use', notes: 'IRQ line: each interrupt signals the bits and masks the line' },
      ack: { label: 2, args: [], results: [], rights: 'use', notes: 'unmasks; a latched interrupt fires at once' },
      mask: { label: 3, args: [], results: [], rights: 'own' },
      reset: { label: 4, args: [], results: [], rights: 'own', notes: 'masks, unbinds, forgets latched interrupts, forgets the DMA filter' },
      port_in: { label: 5, args: ['port', 'bytes 1|2|4'], results: ['value'], rights: 'use' },
      port_out: { label: 6, args: ['port', 'bytes 1|2|4', 'value'], results: [], rights: 'use' },
      allow_dma: { label: 7, args: ['cap:Frames'], results: [], rights: 'own', notes: 'the DMA filter of the VM lets the function reach these Frames only' },
      info: { label: 8, args: [], results: ['kind irq=1 ports=2 mmio=3', 'irq or first port or paddr >> 12', 'count'] },
    },
  },
} as const satisfies Record<string, ObjectSpec>;
export type ObjectName = keyof typeof OBJECTS;

/** Thread.query: state. */
export const THREAD_STATE = { inactive: 0, ready: 1, running: 2, calling: 3, owed: 4, receiving: 5, waiting: 6, faulted: 7, suspended: 8 } as const;
