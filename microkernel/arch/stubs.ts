/** The assembler stubs that AssemblyScript calls (stubs/*.asm.ts). */
export declare function stubFxsave(at: usize): void;
export declare function stubFxrstor(at: usize): void;
export declare function stubFninit(): void;
export declare function stubClts(): void;
export declare function stubSetTs(): void;
export declare function stubLoadSegments(gs: u32, fs: u32): void;
export declare function stubLoadDebug(at: usize): void; // dr0 dr1 dr2 dr3 dr7
export declare function stubReadDr6(): u32;
export declare function stubLoadKernelSegments(): void; // after lgdt: reloads CS DS ES SS
export declare function stubResume(cpu: usize): void; // leaves the kernel with cpu.current; does not return
export declare function stubOnStack(stack: usize): void; // continues in kernelOnStack on that stack
