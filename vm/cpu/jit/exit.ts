/** How a region function (vm/cpu/jit/region.ts) comes back to tier 0's dispatcher. Both sides import it from here. */
export const EXIT = {
  /** Go on at state.eip. */
  GO: 0,
  /** A fault is pending for the instruction at state.eip. */
  FAULT: 1,
  /** A page of the region is mapped elsewhere in this view: nothing ran. */
  MISS: 2,
  /** Go on at state.eip after looking at attention and smc. */
  CHECK: 3,
} as const;
