/**
 * What the host can see of the running system from outside: which address space is whose, and what the supervisor says of its servers.
 * All of it is read from guest memory by the layouts of microkernel/abi and servers/protocols; nothing is asked of the guest.
 */
import { VM_MAP } from '../../microkernel/abi/layout.ts';
import { REGION, ROLE, SERVER_TABLE, STARTUP } from '../../servers/protocols/startup.ts';
import type { FaultPort } from '../../vm/faults.ts';

export interface Space {
  /** From the startup page: a server's or program's name; `root` has none. */
  readonly name: string;
  readonly generation: number;
  readonly pid: number;
  readonly cr3: number;
}
export interface ServerState { readonly number: number; readonly name: string; readonly generation: number; readonly state: number; readonly restarts: number }
/** Values of ServerState.state (servers/supervisor/tables.ts). */
export const SERVER_STATE = { absent: 0, starting: 1, up: 2, dead: 3, failed: 4 } as const;

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1').replace(/\0.*$/s, '');

/** Whose address space `cr3` is. */
export function spaceOf(port: FaultPort, cr3: number): Space {
  const page = VM_MAP.startupPage, { fields } = STARTUP;
  if (port.readWord(cr3, page + fields.magic) !== STARTUP.magic) return { name: 'root', generation: 1, pid: 0, cr3 };
  return {
    name: text(port.read(cr3, page + fields.name, 32) ?? new Uint8Array()), generation: port.readWord(cr3, page + fields.generation) ?? 0,
    pid: port.readWord(cr3, page + fields.pid) ?? 0, cr3,
  };
}
export interface MappedRegion { readonly role: number; readonly va: number; readonly pages: number; readonly flags: number }
export function regionsOf(port: FaultPort, cr3: number): MappedRegion[] {
  const page = VM_MAP.startupPage;
  const count = Math.min(32, port.readWord(cr3, page + STARTUP.fields.regionCount) ?? 0);
  return Array.from({ length: count }, (_, n) => {
    const at = page + STARTUP.regions + n * 16;
    return { role: port.readWord(cr3, at) ?? 0, va: port.readWord(cr3, at + 4) ?? 0, pages: port.readWord(cr3, at + 8) ?? 0, flags: port.readWord(cr3, at + 12) ?? 0 };
  });
}
/** Local ring number whose doorbell `handle` is, or -1. */
export function doorbellRing(port: FaultPort, cr3: number, handle: number): number {
  const page = VM_MAP.startupPage;
  const count = Math.min(64, port.readWord(cr3, page + STARTUP.fields.handleCount) ?? 0);
  for (let n = 0; n < count; n++) {
    const at = page + STARTUP.handles + n * 8, role = port.readWord(cr3, at) ?? 0;
    if (role >= ROLE.peerNotify && role < ROLE.peerNotify + 16 && port.readWord(cr3, at + 4) === handle) return role - ROLE.peerNotify;
  }
  return -1;
}

/** Physical address of the server table, found through a space that maps it (process). */
export function serverTableAt(port: FaultPort, cr3: number): number | undefined {
  const region = regionsOf(port, cr3).find(({ role }) => role === REGION.servers);
  if (!region) return undefined;
  const physical = port.translate(cr3, region.va);
  return physical < 0 ? undefined : physical;
}
export function readServers(port: FaultPort, physical: number): ServerState[] {
  const { ram } = port.machine.board, { entry } = SERVER_TABLE;
  const view = new DataView(ram.buffer, ram.byteOffset + physical, 4096);
  const count = Math.min(16, view.getUint32(SERVER_TABLE.count, true));
  return Array.from({ length: count }, (_, n) => {
    const at = SERVER_TABLE.entries + n * entry.size, word = (field: number): number => view.getUint32(at + field, true);
    return { number: n, name: text(ram.slice(physical + at + entry.name, physical + at + entry.name + 32)), generation: word(entry.generation), state: word(entry.state), restarts: word(entry.restarts) };
  });
}
