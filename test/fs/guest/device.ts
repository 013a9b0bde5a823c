/** Host imports of the harness (module "device"). */
export declare function pause(): void;
export declare function windowOpen(): void;
export declare function windowClose(): void;
export declare function submit(operation: u32, sector: u32, sectors: u32, offset: u32): i32;
export declare function clock(): u32;
