/**
 * Status codes of the kernel: returned in EAX. `word` of the message page at `errArg` names the index of the guilty argument
 * (0 = the handle in EAX, 1 = the tag, 2.. = words 0..).
 */
export const ERRORS = {
  OK: [0, 'done'],
  HANDLE: [1, 'the handle names an empty slot or lies outside the Table'],
  STALE: [2, 'the slot was reused: the generation in the handle is not the one of the slot'],
  TYPE: [3, 'the capability is of another object type, or the object has no such operation'],
  RIGHTS: [4, 'the capability lacks a right that the operation needs'],
  ARG: [5, 'an argument is malformed or a reserved field is not zero'],
  RANGE: [6, 'an address, index or length lies outside its object'],
  MEMORY: [7, 'the Untyped or the page-table pool is used up'],
  BUSY: [8, 'the object is in a state that forbids the operation'],
  EXISTS: [9, 'the destination slot or mapping is occupied'],
  RESTART: [10, 'the server died and cannot take this request again; the new epoch is in the message page'],
  INTR: [11, 'the wait was cancelled by cancel_ipc'],
  TIMEOUT: [12, 'the deadline passed'],
  FAULT: [13, 'a memory access of the operation hit an unmapped or protected page'],
  POISON: [14, 'this very request killed the server twice'],
  GONE: [15, 'the object was destroyed while it was used'],
} as const satisfies Record<string, readonly [number, string]>;
export type ErrorName = keyof typeof ERRORS;
