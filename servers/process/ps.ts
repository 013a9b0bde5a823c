/** ps: the servers from the supervisor's table and a query of their Threads, then the programs. */
import * as P from 'kintsugi/protocols';
import { ERR_OK, THREAD_STATE_INACTIVE } from 'kintsugi/abi';
import { alloc, free } from '../lib/alloc';
import { handle, regionVa } from '../lib/startup';
import * as sys from '../lib/sys';
import * as E from './errno';
import * as R from './records';
import { Program } from './records';

const SERVERS_LIMIT: u32 = 32;
const LIMIT: u32 = SERVERS_LIMIT + R.PROGRAMS;

/** Fills lease 0 (`w0` bytes) with records; how many. */
export function list(p: Program): i32 {
  const room = min(p.w0 / P.PROCESS_PS_RECORD_SIZE, LIMIT);
  const at = alloc(LIMIT * P.PROCESS_PS_RECORD_SIZE);
  if (at == 0) return -E.ENOMEM;
  let count: u32 = 0;
  const table = regionVa(P.REGION_SERVERS);
  const servers: u32 = table == 0 ? 0 : min(load<u32>(table + P.SERVER_TABLE_COUNT), SERVERS_LIMIT);
  for (let n: u32 = 0; n < servers && count < room; n++) {
    const entry = table + P.SERVER_TABLE_ENTRIES + <usize>n * P.SERVER_TABLE_ENTRY_SIZE, record = at + <usize>count * P.PROCESS_PS_RECORD_SIZE;
    const number = load<u32>(entry + P.SERVER_TABLE_ENTRY_NUMBER);
    store<u32>(record + P.PROCESS_PS_RECORD_KIND, 0);
    store<u32>(record + P.PROCESS_PS_RECORD_ID, number);
    store<u32>(record + P.PROCESS_PS_RECORD_CPU, load<u32>(entry + P.SERVER_TABLE_ENTRY_CPU));
    store<u32>(record + P.PROCESS_PS_RECORD_GENERATION, load<u32>(entry + P.SERVER_TABLE_ENTRY_GENERATION));
    memory.copy(record + P.PROCESS_PS_RECORD_NAME, entry + P.SERVER_TABLE_ENTRY_NAME, 31);
    query(record, handle(P.ROLE_SERVER_THREAD + number));
    count++;
  }
  for (let n: u32 = 0; n < R.PROGRAMS && count < room; n++) {
    const one = R.programAt(n);
    if (one.state < R.RUNNING) continue;
    const record = at + <usize>count * P.PROCESS_PS_RECORD_SIZE;
    store<u32>(record + P.PROCESS_PS_RECORD_KIND, 1);
    store<u32>(record + P.PROCESS_PS_RECORD_ID, one.pid);
    store<u32>(record + P.PROCESS_PS_RECORD_PARENT, one.parent);
    memory.copy(record + P.PROCESS_PS_RECORD_NAME, one.name, 31);
    query(record, one.thread);
    count++;
  }
  const status = E.errnoOf(sys.copyToLease(p.reply, at, 0, 0, count * P.PROCESS_PS_RECORD_SIZE));
  free(at);
  return status < 0 ? status : count;
}

function query(record: usize, thread: u32): void {
  if (thread == 0 || sys.threadQuery(thread) != ERR_OK) { store<u32>(record + P.PROCESS_PS_RECORD_STATE, THREAD_STATE_INACTIVE); return; }
  store<u32>(record + P.PROCESS_PS_RECORD_STATE, sys.result(0));
  store<u32>(record + P.PROCESS_PS_RECORD_CPU, sys.result(1));
  store<u32>(record + P.PROCESS_PS_RECORD_RUN_NS_LO, sys.result(4));
  store<u32>(record + P.PROCESS_PS_RECORD_RUN_NS_HI, sys.result(5));
}
