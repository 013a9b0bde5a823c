/**
 * Null for references: kernel classes are `@unmanaged`, their references plain addresses, and 0 is "none". (A nullable type would make asc
 * insert checks on every access; the kernel decides itself where a reference may be absent.)
 */
export function nil<T>(x: T): bool { return changetype<usize>(x) == 0; }
export function none<T>(): T { return changetype<T>(0); }
export function same<T>(a: T, b: T): bool { return changetype<usize>(a) == changetype<usize>(b); }
