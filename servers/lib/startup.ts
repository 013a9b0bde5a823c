/**
 * What a fresh server finds: handles and regions by role, arguments, its name, epoch and home CPU.
 *
 * The supervisor writes the startup page (servers/protocols/startup.ts) and maps it read-only; it is trusted. A server asks for what it
 * needs: `handle`, `region` answer 0 / null-like when the role is absent, `need*` fault deliberately with the role as code, so that a wrong
 * manifest is reported by name. Call `startupInit(page)` first in `main`.
 */
import {
  STARTUP_MAGIC, STARTUP_FIELDS_MAGIC, STARTUP_FIELDS_GENERATION, STARTUP_FIELDS_EPOCH, STARTUP_FIELDS_CPU, STARTUP_FIELDS_HANDLE_COUNT,
  STARTUP_FIELDS_REGION_COUNT, STARTUP_FIELDS_ARGC, STARTUP_FIELDS_ARG_BYTES, STARTUP_FIELDS_ENV_BYTES, STARTUP_FIELDS_PID,
  STARTUP_FIELDS_NAME, STARTUP_HANDLES, STARTUP_REGIONS, STARTUP_ARGS,
  LOG_FIELDS_GENERATION, LOG_FIELDS_BORN_NS, LOG_FIELDS_READY_NS, LOG_FIELDS_SERVED_NS, LOG_FIELDS_READY_INSTRUCTIONS, LOG_FIELDS_SERVED_INSTRUCTIONS,
  REGION_LOG,
  ROLE_TABLE, ROLE_SPACE, ROLE_THREAD, ROLE_NOTIFY, ROLE_SUPERVISOR_NOTIFY,
} from 'kintsugi/protocols';
import * as sys from './sys';

/** Codes of deliberate faults of this library: {code, detail...}. Servers use codes below 0x100. */
export const FAULT_STARTUP: u32 = 0x53540000; // | role that is missing
export const FAULT_ASSERT: u32 = 0x41530000;
export const FAULT_MEMORY: u32 = 0x4d450000;

@unmanaged @final export class Region { role: u32; va: u32; pages: u32; flags: u32 }

let page: usize = 0;
// Handles every server uses all the time.
export let ownTable: u32 = 0;
export let ownSpace: u32 = 0;
export let ownThread: u32 = 0;
export let ownNotify: u32 = 0;
let supervisor: u32 = 0;

export function startupInit(startupPage: usize): void {
  page = startupPage;
  if (load<u32>(page, STARTUP_FIELDS_MAGIC) != STARTUP_MAGIC) { sys.fault(FAULT_STARTUP, load<u32>(page, STARTUP_FIELDS_MAGIC), 0); return; }
  ownTable = handle(ROLE_TABLE); ownSpace = handle(ROLE_SPACE); ownThread = handle(ROLE_THREAD); ownNotify = handle(ROLE_NOTIFY);
  supervisor = handle(ROLE_SUPERVISOR_NOTIFY);
  signs = regionVa(REGION_LOG);
  if (signs != 0) born();
}

// ---- signs of life (servers/protocols/startup.ts, LOG) ------------------------------------------------------------------------------------
let signs: usize = 0;
let bornCpu: u32 = 0, bornCount: u32 = 0, ownNumber: u32 = 0;
/** The first ring request of this incarnation has been answered (servers/lib/ring.ts looks at it). */
export let served: bool = false;
function born(): void {
  store<u64>(signs, 0, LOG_FIELDS_READY_NS); store<u64>(signs, 0, LOG_FIELDS_SERVED_NS);
  store<u32>(signs, 0, LOG_FIELDS_READY_INSTRUCTIONS); store<u32>(signs, 0, LOG_FIELDS_SERVED_INSTRUCTIONS);
  store<u32>(signs, generation(), LOG_FIELDS_GENERATION);
  store<u64>(signs, sys.clock(), LOG_FIELDS_BORN_NS);
  sys.trace(0, 0, 0);
  bornCpu = sys.R.w0; bornCount = sys.R.w1;
}
/** Instructions of this CPU since `born`. */
function count(): u32 {
  sys.trace(0, 0, 0);
  return sys.R.w0 == bornCpu ? sys.R.w1 - bornCount : 0;
}
export function firstServed(): void {
  served = true;
  if (signs == 0) return;
  store<u32>(signs, count(), LOG_FIELDS_SERVED_INSTRUCTIONS);
  store<u64>(signs, sys.clock(), LOG_FIELDS_SERVED_NS);
  if (ownNumber != 0) tellSupervisor(1 << ownNumber);
}

/** The handle of a role, 0 when the supervisor did not grant it. */
export function handle(role: u32): u32 {
  const count = load<u32>(page, STARTUP_FIELDS_HANDLE_COUNT);
  let p = page + STARTUP_HANDLES;
  for (let n: u32 = 0; n < count; n++) {
    if (load<u32>(p) == role) return load<u32>(p, 4);
    p += 8;
  }
  return 0;
}
export function needHandle(role: u32): u32 {
  const h = handle(role);
  if (h == 0) sys.fault(FAULT_STARTUP | role, 0, 0);
  return h;
}
/** The region of a role; test `regionVa(role) != 0` before use, or use `needRegion`. */
export function region(role: u32): Region {
  const count = load<u32>(page, STARTUP_FIELDS_REGION_COUNT);
  let p = page + STARTUP_REGIONS;
  for (let n: u32 = 0; n < count; n++) {
    if (load<u32>(p) == role) return changetype<Region>(p);
    p += 16;
  }
  return changetype<Region>(0);
}
export function hasRegion(role: u32): bool { return changetype<usize>(region(role)) != 0; }
export function regionVa(role: u32): usize { const r = region(role); return changetype<usize>(r) == 0 ? 0 : r.va; }
export function regionBytes(role: u32): u32 { const r = region(role); return changetype<usize>(r) == 0 ? 0 : r.pages << 12; }
export function regionFlags(role: u32): u32 { const r = region(role); return changetype<usize>(r) == 0 ? 0 : r.flags; }
export function needRegion(role: u32): Region {
  const r = region(role);
  if (changetype<usize>(r) == 0) sys.fault(FAULT_STARTUP | 0x8000 | role, 0, 0);
  return r;
}

/** Incarnation number, 1 = the first. The epoch changes with it and is what rings and endpoints compare. */
export function generation(): u32 { return load<u32>(page, STARTUP_FIELDS_GENERATION); }
export function ownEpoch(): u32 { return load<u32>(page, STARTUP_FIELDS_EPOCH); }
export function homeCpu(): u32 { return load<u32>(page, STARTUP_FIELDS_CPU); }
export function ownPid(): u32 { return load<u32>(page, STARTUP_FIELDS_PID); }
export function ownName(): usize { return page + STARTUP_FIELDS_NAME; }

export function argc(): u32 { return load<u32>(page, STARTUP_FIELDS_ARGC); }
/** Argument n as a NUL-terminated byte string, 0 when there is none. */
export function argv(n: u32): usize {
  if (n >= argc()) return 0;
  let p = page + STARTUP_ARGS;
  while (n > 0) {
    while (load<u8>(p) != 0) p++;
    p++; n--;
  }
  return p;
}
/** First byte and number of bytes of the environment (NUL-terminated strings). */
export function environment(): usize { return page + STARTUP_ARGS + load<u32>(page, STARTUP_FIELDS_ARG_BYTES); }
export function environmentBytes(): u32 { return load<u32>(page, STARTUP_FIELDS_ENV_BYTES); }

/** Tells the supervisor: bits of SUPERVISOR_BITS; the capability carries only the ones this server may signal. */
export function tellSupervisor(bits: u32): void { if (supervisor != 0) sys.notify(supervisor, bits); }
/** "Attached and serving": the boot and every restart wait for it. Comes a second time with the first answer. */
export function ready(serverNumber: u32): void {
  ownNumber = serverNumber;
  if (signs != 0) {
    store<u32>(signs, count(), LOG_FIELDS_READY_INSTRUCTIONS);
    store<u64>(signs, sys.clock(), LOG_FIELDS_READY_NS);
  }
  tellSupervisor(1 << serverNumber);
}
