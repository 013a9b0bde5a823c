/** Doubly recursive Fibonacci: calls, returns and stack traffic, nothing else. */
function step(n: u32): u32 { return n < 2 ? n : step(n - 1) + step(n - 2); }
export function fib(): u32 { return step(22); }
