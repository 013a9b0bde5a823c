/** What the protocol needs of a machine that is debugged. session.ts speaks it to gdb, machine-target.ts answers it for our machine. */

export interface TargetThread { readonly id: number; readonly name: string; /** What it does, for `info threads`. */ readonly extra: string; readonly core?: number }
/** Kinds of Z packets. */
export const POINT = { software: 0, hardware: 1, write: 2, read: 3, access: 4 } as const;
export type PointKind = 0 | 1 | 2 | 3 | 4;

export type StopReply =
  | { readonly kind: 'signal'; readonly signal: number; readonly thread: number; readonly why?: 'swbreak' | 'hwbreak' | 'begin' | 'end'; readonly watch?: { readonly kind: 'watch' | 'rwatch' | 'awatch'; readonly address: number }; /** A sentence for the user. */ readonly text?: string }
  | { readonly kind: 'exited'; readonly status: number }
  | { readonly kind: 'killed'; readonly signal: number };

/** `range`: until the thread has left [from, to). */
export type Resume =
  | { readonly kind: 'continue' | 'reverse-continue' }
  | { readonly kind: 'step' | 'reverse-step'; readonly thread: number }
  | { readonly kind: 'range'; readonly thread: number; readonly from: number; readonly to: number };

export interface Target {
  /** target.xml. */
  readonly features: string;
  readonly memoryMap: string;
  /** Registers of target.xml in order: bytes of each. */
  readonly registerBytes: readonly number[];
  threads(): readonly TargetThread[];
  /** The thread the last stop was about. */
  readonly current: number;
  /** Undefined: not known for this thread. */
  readRegister(thread: number, register: number): Uint8Array | undefined;
  /** False: it cannot be written. */
  writeRegister(thread: number, register: number, value: Uint8Array): boolean;
  /** As many bytes as there are, none: undefined. */
  readMemory(thread: number, address: number, bytes: number): Uint8Array | undefined;
  writeMemory(thread: number, address: number, value: Uint8Array): boolean;
  /** False: no such breakpoint here. */
  insert(kind: PointKind, address: number, bytes: number): boolean;
  remove(kind: PointKind, address: number, bytes: number): boolean;
  resume(how: Resume): Promise<StopReply>;
  /** ^C: the resume under way ends. */
  interrupt(): void;
  /** `monitor` of gdb: prints and says whether the command was understood. */
  monitor(thread: number, command: string, print: (text: string) => void): Promise<void>;
  detach(): void;
  /** gdb is gone without a word: its breakpoints go, the machine stays as it is. */
  lost(): void;
  kill(): void;
}
