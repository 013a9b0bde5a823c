/** How a region function (vm/cpu/jit/region.ts) comes back to tier 0's dispatcher. Both sides import it from here. */
export const EXIT = {
  /** Go on at state.eip. */
  GO: 0,
  /** A fault is pending for the instruction at state.eip. */
  FAULT: 1,
  /** A page of the region is mapped elsewhere in this view: nothing ran. */
  MISS: 2,
  /** Go on at state.eip: a group of accesses (groups.ts) cannot be made through one look-up this time. */
  SPLIT: 3,
} as const;

/** `faultVector` of an access that a region leaves to tier 0 for good: a device. */
export const REPEAT_IN_TIER0 = -1;
/** The same for this once: the access changes translations, of code or of addresses. */
export const ONCE_IN_TIER0 = -2;
