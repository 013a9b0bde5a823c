/** ps: every thread of the system. Servers have a number and a generation (how often they were started again), programs a pid and a parent. */
import * as P from 'kintsugi/protocols';
import { THREAD_STATE_INACTIVE } from 'kintsugi/abi';
import { begin, complain, finish } from './lib/program';
import { line, put, putByte, putLeft, putLiteralLeft, putRight, putZeros } from './lib/output';
import { stateName } from './lib/state';
import { sysPs } from './lib/sys';

const LIMIT: u32 = 96;
const RECORDS: usize = memory.data(6144, 8);

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  const count = sysPs(RECORDS, LIMIT * P.PROCESS_PS_RECORD_SIZE);
  if (count < 0) { complain(0, count); return 1; }
  line('   ID PARENT CPU GEN STATE    CPU-SECONDS NAME');
  for (let i = 0; i < count; i++) {
    const record = RECORDS + <usize>i * P.PROCESS_PS_RECORD_SIZE;
    const server = load<u32>(record + P.PROCESS_PS_RECORD_KIND) == 0;
    if (server) { putByte(32); putByte(83); putRight(load<u32>(record + P.PROCESS_PS_RECORD_ID), 3); }
    else putRight(load<u32>(record + P.PROCESS_PS_RECORD_ID), 5);
    if (server) put('      -'); else putRight(load<u32>(record + P.PROCESS_PS_RECORD_PARENT), 7);
    putRight(load<u32>(record + P.PROCESS_PS_RECORD_CPU), 4);
    if (server) putRight(load<u32>(record + P.PROCESS_PS_RECORD_GENERATION), 4); else put('   -');
    putByte(32);
    const state = load<u32>(record + P.PROCESS_PS_RECORD_STATE);
    putLiteralLeft(!server && state == THREAD_STATE_INACTIVE ? 'zombie' : stateName(state), 8);
    const ns = <u64>load<u32>(record + P.PROCESS_PS_RECORD_RUN_NS_LO) | (<u64>load<u32>(record + P.PROCESS_PS_RECORD_RUN_NS_HI) << 32);
    putRight(ns / 1000000000, 8); putByte(46); putZeros(ns / 1000000 % 1000, 3);
    putByte(32);
    putLeft(record + P.PROCESS_PS_RECORD_NAME, 0);
    putByte(10);
  }
  return 0;
}
