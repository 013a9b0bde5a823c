/**
 * Registers, handles, message page and address map. All integers are little-endian 32-bit unless said otherwise.
 *
 * SYSENTER in:  EAX handle · EBX tag · ESI EDI EBP words 0-2 · ECX user ESP · EDX user EIP (return address)
 *          out: EAX status · EBX tag · ESI EDI EBP words 0-2 · ECX, EDX destroyed
 * A wait that ends in a delivery returns OK with badge, key and pending bits in the message page.
 */

/** Handle = generation(12) << 20 | index(20). Handle 0 (index 0) is never valid: slot 0 of every Table stays empty. */
export const HANDLE = { indexBits: 20, generationBits: 12, generationShift: 20, indexMask: 0xfffff } as const;

/** Fields of the tag in EBX: [lowest bit, width]. */
export const TAG = {
  label: [0, 16], // operation or message kind, the kernel does not look at it except for invoke and batch
  words: [16, 5], // message words that count, 0..16
  caps: [21, 2], // capabilities to transfer, 0..2 (handles in the message page)
  readonly: [23, 1], // the request may be executed twice without harm
  fault: [24, 1], // set by the kernel on fault messages; ignored on input
  leases: [25, 2], // number of leases in the message page, 0..2
  deadline: [27, 1], // recv, reply_recv, wait: the message page holds a deadline
  op: [28, 4], // which of the 12 calls (CALLS)
} as const satisfies Record<string, readonly [number, number]>;

/**
 * The message page: one page per Thread, pinned, mapped in the Thread's Space, the only user memory the kernel touches besides `copy`
 * and leases. Offsets in bytes.
 */
export const MESSAGE_PAGE = {
  size: 4096,
  words: 0x000, // u32[16]; words 0-2 travel in ESI EDI EBP and are not read or written here by SYSENTER paths
  badge: 0x040, // out: badge of the capability the sender used; 0xffffffff = the bound Notify fired (see pending)
  keyBadge: 0x044, // out: key of the request = (badge, Thread serial, seq)
  keySerial: 0x048,
  keySeq: 0x04c,
  deliveries: 0x050, // out: how often this request was delivered, 1 = first time
  sendCaps: 0x054, // in: u32[2] handles to transfer
  recvCaps: 0x05c, // out: u32[2] handles received
  leases: 0x064, // in: 2 x {space handle (0 = own), va, length, rights r=1 w=2}: 16 bytes each, up to 0x084
  errArg: 0x084, // out: index of the guilty argument when EAX != 0
  epoch: 0x088, // out: epoch of the endpoint (RESTART, and at every delivery)
  pending: 0x08c, // out: Notify bits taken (wait, or badge = 0xffffffff)
  deadlineLo: 0x090, // in: absolute time in ns of clock(), used when the tag's deadline bit is set
  deadlineHi: 0x094,
  recvSlot: 0x098, // in: first Table index where received capabilities go (0 = refuse capabilities)
  results: 0x0c0, // out: u32[16] results of invoke beyond the registers (see the operation)
  batch: 0x200, // batch entries, 32 bytes each (BATCH_ENTRY), up to 112
} as const;
export const NOTIFY_BADGE = 0xffffffff;

/** One entry of `batch`: the same operation as invoke(handle, label, w0..w4). The kernel writes `status`. */
export const BATCH_ENTRY = { size: 32, max: 112, handle: 0, label: 4, w0: 8, w1: 12, w2: 16, w3: 20, w4: 24, status: 28 } as const;

/** Fault message (tag.fault = 1, label = vector; of a deliberate fault: errorCode = w0, cr2 = w1, ebp = w2), sent by the kernel to the fault endpoint; a reply with label 0 resumes, label 1 leaves it stopped. */
export const FAULT_MESSAGE = { vector: 0, errorCode: 1, eip: 2, cr2: 3, esp: 4, eflags: 5, threadSerial: 6, ebp: 7, words: 8 } as const;
/** Pseudo vectors of fault messages above the 32 of the CPU. */
export const FAULT_VECTOR = { deliberate: 32, reserveOverrun: 33, budget: 34 } as const;

/** INT 0x80: label 0x80, words 0-6 = EAX EBX ECX EDX ESI EDI EBP; the reply's label says how the Thread goes on. */
export const SYSCALL_MESSAGE = { label: 0x80, words: 7 } as const;
export const SYSCALL_REPLY = { result: 0, restart: 1, setregs: 2 } as const;
/** Order of registers in get_registers / set_registers / SETREGS (words of the message page `results` / `words`). */
export const REGISTERS = ['eax', 'ebx', 'ecx', 'edx', 'esi', 'edi', 'ebp', 'esp', 'eip', 'eflags', 'gsbase', 'fsbase'] as const;

/** Where things live, virtual addresses. User space ends at kernelBase; native programs and servers follow the same map. */
export const VM_MAP = {
  text: 0x08048000,
  data: 0x10000000, // memoryBase of AssemblyScript (268435456)
  heapEnd: 0x30000000,
  state: 0x40000000, // state Frames of a server
  rings: 0x50000000,
  shared: 0x60000000, // data areas shared between servers
  stackTop: 0xbf000000,
  messagePage: 0xbfffe000,
  startupPage: 0xbffff000, // servers/protocols/startup.ts
  kernelBase: 0xc0000000, // direct map of physical memory from here, 512 MiB at most
  kernelText: 0xc0100000,
} as const;

/** Selectors: flat segments; SYSENTER_CS = kernel code. GS and FS of a Thread are the two TLS slots. */
export const SELECTOR = { kernelCode: 0x08, kernelData: 0x10, userCode: 0x1b, userData: 0x23, tss: 0x28, fs: 0x33, gs: 0x3b, doubleFaultTss: 0x40 } as const;
