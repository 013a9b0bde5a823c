/** Host imports of the harness (module "device"). */
export declare function windowOpen(): void;
export declare function windowClose(): void;
export declare function transmit(frame: usize, bytes: u32, flags: u32, start: u32, offset: u32): void;
export declare function answer(op: usize, cookie: u32, status: i32, r0: u32, r1: u32): void;
export declare function clock(): u64;
export declare function random(): u32;
