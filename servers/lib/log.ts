/**
 * Log lines to the console, through the supervisor.
 *
 * A server appends bytes to its LOG page and rings the supervisor, which prints whole lines with the server's name before them. Nothing here
 * waits: a supervisor that is behind loses bytes and says so. Without a LOG page (a program, or before startup) lines are dropped.
 * Usage: `log.info(fmt.line().lit("mounted ").dec(n))`, or `log.infoLit("ready")`. The newline is added here.
 */
import { LOG_MAGIC, LOG_FIELDS_MAGIC, LOG_FIELDS_HEAD, LOG_FIELDS_LEVEL, LOG_DATA, LOG_BYTES, LOG_LEVELS_ERROR, LOG_LEVELS_WARN, LOG_LEVELS_INFO, LOG_LEVELS_DEBUG, REGION_LOG, SUPERVISOR_BITS_LOG } from 'kintsugi/protocols';
import { barrier } from 'kintsugi/x86';
import { Text, line } from './fmt';
import { regionVa, tellSupervisor } from './startup';

let page: usize = 0;
let head: u32 = 0;
let level: u32 = LOG_LEVELS_INFO;

/** After `startupInit`. Lines of a previous incarnation that were not printed yet stay. */
export function logInit(): void {
  page = regionVa(REGION_LOG);
  if (page == 0) return;
  if (load<u32>(page, LOG_FIELDS_MAGIC) != LOG_MAGIC) {
    store<u32>(page, 0, LOG_FIELDS_HEAD);
    store<u32>(page, LOG_LEVELS_INFO, LOG_FIELDS_LEVEL);
    store<u32>(page, LOG_MAGIC, LOG_FIELDS_MAGIC);
  }
  head = load<u32>(page, LOG_FIELDS_HEAD);
  level = load<u32>(page, LOG_FIELDS_LEVEL);
}
export function setLevel(value: u32): void { level = value; }

function put(c: u32): void {
  store<u8>(page + LOG_DATA + (head & (LOG_BYTES - 1)), <u8>c);
  head++;
}
function emit(at: u32, t: Text): void {
  if (page == 0 || at > level) return;
  if (at == LOG_LEVELS_ERROR) { put(33); put(32); }
  for (let n: u32 = 0; n < t.length; n++) put(load<u8>(t.at + n));
  put(10);
  barrier();
  store<u32>(page, head, LOG_FIELDS_HEAD);
  tellSupervisor(SUPERVISOR_BITS_LOG);
}
export function error(t: Text): void { emit(LOG_LEVELS_ERROR, t); }
export function warn(t: Text): void { emit(LOG_LEVELS_WARN, t); }
export function info(t: Text): void { emit(LOG_LEVELS_INFO, t); }
export function debug(t: Text): void { emit(LOG_LEVELS_DEBUG, t); }
export function infoLit(s: string): void { info(line().lit(s)); }
export function errorLit(s: string): void { error(line().lit(s)); }
