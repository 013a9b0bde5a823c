/**
 * The startup page (VM_MAP.startupPage), read-only: what a fresh server, driver or program finds. Registers at entry: ESP = its stack.
 * `handles` and `regions` are tables of {role, value...} so that a server asks for what it needs by role and finds out what is absent.
 */
export const STARTUP = {
  magic: 0x53544152,
  fields: { magic: 0, generation: 4, epoch: 8, cpu: 12, handleCount: 16, regionCount: 20, argBytes: 24, envBytes: 28, argc: 32, pid: 36, textAt: 40, textBytes: 44, textLow: 48, textHigh: 52 /* own text and its fingerprint (servers/lib/fingerprint.ts) */, name: 64 /* 32 bytes */ },
  handles: 128, // handleCount x {role u32, handle u32}, up to 64
  regions: 640, // regionCount x {role u32, va u32, pages u32, flags u32}, up to 32
  args: 1152, // NUL-terminated strings, argc of them, then the environment; up to 2944 bytes
} as const;

/** Roles of handles. The Table, Space and Thread of oneself are always there. */
export const ROLE = {
  table: 1, space: 2, thread: 3,
  endpoint: 4, // receive right on the own endpoint
  reply: 5,
  notify: 6, // own Notify, wait right, bound to the Thread
  processEndpoint: 7, // a program: its badged send right; process: unbadged send | grant on its own endpoint, to mint from
  supervisorNotify: 8, // signal right towards the supervisor
  untyped: 9, // private memory of this incarnation
  programsUntyped: 10, // process: memory of all programs (Spaces, Threads, Tables, Scheds, Frames)
  replyPool: 11, // process: the first of `replyCount` Replies in consecutive slots (same generation): one per program thread, and one more
  replyCount: 12, // the number itself, not a handle
  device: 16, // +n: Device of the driver: 16 irq, 17 ports, 18 mmio Frames, 19 DMA Frames
  peerNotify: 32, // +n: doorbell of ring n
  stateFrames: 48, // +n
  ringFrames: 64, // +2n request half, +2n+1 status half
  sharedFrames: 96, // +n data area of ring n
  serverThread: 128, // +n: query right on the Thread of server n (process, for ps)
} as const;

/** Roles of mapped regions. */
export const REGION = {
  text: 1, heap: 2, stack: 3,
  fiberStacks: 4, // flags = pages of one stack; stacks lie (flags + 1) pages apart, an unmapped guard page below each; pages = number of stacks * flags
  log: 5, // the LOG page
  args: 7, // a program: its arguments and environment (STARTUP.args is empty), argBytes and envBytes of them
  pciConfig: 6, // 256 bytes of PCI configuration space of the driver's function, as found at enumeration
  state: 16, ringRequest: 32, ringStatus: 48, ringData: 64, dma: 80, mmio: 96, servers: 112 /* the server table, read-only, for ps */,
} as const; // mmio + n = BAR n (flags = offset of the BAR in the first page), dma flags = physical address of the first page

/** The servers of this system, in start order; index = server number in the server table, badges and doorbell bits. */
export const SERVERS = ['root', 'supervisor', 'process', 'fs', 'tty', 'uart0', 'uart1', 'virtio-blk', 'net', 'virtio-net'] as const;

/** The server table (a page the supervisor writes and process maps): n x 64 bytes. */
export const SERVER_TABLE = { magic: 0, count: 4, entries: 64, entry: { number: 0, generation: 4, state: 8, cpu: 12, threadSerial: 16, restarts: 20, startNsLo: 24, startNsHi: 28, name: 32, size: 64 } } as const;

/** Bits of the supervisor's Notify. */
export const SUPERVISOR_BITS = { ready: 0 /* 1 << server number: "attached and serving" */, kill: 16 /* 1 << (16 + server number), process only, servers 0-12 */, log: 1 << 29, powerOff: 1 << 30, reboot: 1 << 31 } as const;

/**
 * Bits of every server's own Notify. Local ring n (in the order of the manifest, the n of ROLE.peerNotify and REGION.ringRequest) rings bit n,
 * whether the server owns or works it; interrupt line n of a driver is bit irq + n; the server's own alarm is `alarm`.
 */
export const NOTIFY_BITS = { ring: 0 /* 1 << n, n < 16 */, irq: 16 /* 1 << (16 + n), n < 4 */, alarm: 24, supervisor: 30 /* something changed in the server table */, stop: 31 } as const;

/**
 * The log page: the server appends bytes, the supervisor prints whole lines with the server's name before them. `head` counts bytes ever
 * written (mod 2^32), data is a ring of `bytes`. The writer never waits: a reader that fell behind reports the bytes it lost.
 * The other fields are signs of life of the present incarnation, for the report of a restart: when it began, said ready, answered its first
 * ring request (ns of `clock`, 0 = not yet), and what that took on its CPU since `bornNs` (0 = moved to another CPU, or not countable).
 */
export const LOG = { magic: 0x4c4f4720, fields: { magic: 0, head: 4, level: 8, generation: 12, bornNs: 16, readyNs: 24, servedNs: 32, readyInstructions: 40, servedInstructions: 44 }, data: 2048, bytes: 2048, levels: { error: 0, warn: 1, info: 2, debug: 3 } } as const;
