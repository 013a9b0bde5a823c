/**
 * Thread flags, kinds of blocking and the status that is not an ABI status.
 *
 * `flags` is one word that is zero for a Thread the fast path may touch: everything unusual is a bit here.
 */
export const F_SUSPENDED: u32 = 1; // not to run until `resume`
export const F_RESTART: u32 = 2; // its call was preempted: enter it again instead of returning to ring 3
export const F_DEBUG: u32 = 4; // debug registers or single step
export const F_TLS: u32 = 8; // GS and FS bases to load
export const F_NOTIFY: u32 = 16; // bits are pending in its bound Notify
export const F_WINDOW: u32 = 32; // runs on the second root
export const F_PORTS: u32 = 64; // its Space owns I/O ports
export const F_THROTTLED: u32 = 128; // its Sched has no budget left
export const F_TIMEOUT: u32 = 256; // blocked with a deadline: a timer is armed
export const F_UNREADY: u32 = 512; // not configured: no Space, Table or message page
export const F_FPU: u32 = 2048; // its registers are live in the FPU
export const F_FOLLOW: u32 = 1024; // runs on the CPU of whoever wakes it; looked at only when the CPUs differ, so not a reason for the slow path

/** What the fast path stubs test. */
export const F_SLOW: u32 = ~F_FOLLOW;

/** Why a Thread is blocked on an endpoint or a Reply. */
export const KIND_CALL: u32 = 0;
export const KIND_FAULT: u32 = 1;
export const KIND_SYSCALL: u32 = 2;

/** Status of a step that stopped at a preemption point: the same call is to be entered again. Never seen in ring 3. */
export const PREEMPTED: u32 = 0x100;
/** Status of a call that blocked or has set the Thread's registers itself. */
export const NO_STATUS: u32 = 0x101;

export const NEVER: u64 = u64.MAX_VALUE;
/** Pages and slots between preemption points. */
export const STEP_PAGES: u32 = 256;
export const STEP_SLOTS: u32 = 64;
