/** The system call stub of every user ELF. */
export declare function sys_enter(regs: usize): u32;
/** The same with time stamps (probe.asm.ts). */
export declare function probeEnter(ctx: usize): u32;
