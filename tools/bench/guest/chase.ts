/** Pointer chase through 16,384 nodes of 16 bytes in pseudo-random order: one dependent load after another, 256 KiB. */
const NODES: u32 = 16384;
const nodes = memory.data(262144, 16);
let ready: bool = false;

function link(): void {
  // A full-period linear congruential walk (Hull-Dobell): every node once.
  let at: u32 = 0;
  for (let i: u32 = 0; i < NODES; i++) {
    const next = (at * 4093 + 1021) & (NODES - 1);
    store<u32>(nodes + (at << 4), <u32>nodes + (next << 4));
    store<u32>(nodes + (at << 4), i, 4);
    at = next;
  }
  ready = true;
}

export function chase(): u32 {
  if (!ready) link();
  let p = <u32>nodes, sum: u32 = 0;
  for (let i: u32 = 0; i < NODES * 2; i++) { sum += load<u32>(p, 4); p = load<u32>(p); }
  return sum;
}
