/**
 * kill [-s signal | -signal] target...: a target is a pid, -pid for its whole group, or the name of a server (`kill fs`): the
 * supervisor ends that server, as a fault would.
 */
import * as P from 'kintsugi/protocols';
import { argument, argumentCount, begin, complain, complainText, failed, finish, usage } from './lib/program';
import { line, put, putByte } from './lib/output';
import { SIGKILL, SIGTERM, signalName, signalNumber } from './lib/signals';
import { KILL_GROUP, KILL_PROCESS, KILL_SERVER, sysKill, sysPs } from './lib/sys';
import { Text, equal, isDigit, isNumber, parseNumber, same } from './lib/text';

const LIMIT: u32 = 96;
const RECORDS: usize = memory.data(6144, 8);

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  let signal = SIGTERM, i = 1;
  if (argumentCount > 1 && same(argument(1), '-l')) {
    for (let s: u32 = 1; s <= SIGTERM; s++) { put(signalName(s)); putByte(s == SIGTERM ? 10 : 32); }
    return 0;
  }
  if (argumentCount > 2 && load<u8>(argument(1)) == 45) {
    const text = same(argument(1), '-s') ? argument(2) : argument(1) + 1;
    if (same(argument(1), '-s')) i++;
    if (!same(argument(1), '--')) signal = signalNumber(text);
    i++;
    if (!signal && !same(text, '0')) { complainText(text, 'no such signal'); return 2; }
  }
  if (i >= argumentCount) return usage('kill [-signal] pid|-group|server...');
  for (; i < argumentCount; i++) {
    const target = argument(i);
    let status: i32;
    if (isNumber(target)) {
      const id = parseNumber(target);
      status = id < 0 ? sysKill(<u32>-id, signal, KILL_GROUP) : sysKill(<u32>id, signal, KILL_PROCESS);
    } else {
      const number = server(target);
      if (number < 0) { complainText(target, 'neither a pid nor a server'); continue; }
      status = sysKill(number, SIGKILL, KILL_SERVER);
    }
    if (status < 0) complain(target, status);
  }
  return failed();
}

function server(name: Text): i32 {
  const count = sysPs(RECORDS, LIMIT * P.PROCESS_PS_RECORD_SIZE);
  for (let i = 0; i < count; i++) {
    const record = RECORDS + <usize>i * P.PROCESS_PS_RECORD_SIZE;
    if (load<u32>(record + P.PROCESS_PS_RECORD_KIND) == 0 && equal(record + P.PROCESS_PS_RECORD_NAME, name)) return load<i32>(record + P.PROCESS_PS_RECORD_ID);
  }
  return -1;
}
