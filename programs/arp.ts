/** arp: the neighbours on the link and how old what is known of them is. */
import { argumentCount, begin, finish, option, usage } from './lib/program';
import { helped } from './lib/help';
import { putAddress, putMac } from './lib/net';
import { nextRecord, startQuery } from './lib/netinfo';
import { put, putByte, putNumber, putSpaces } from './lib/output';
import * as P from 'kintsugi/protocols';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  if (helped('arp [-a] [-n]\nAddresses are never looked up. Example: arp')) return 0;
  let letter: u32;
  while ((letter = option('an')) != 0) if (letter == 63) return usage('arp [-a] [-n]');
  put('Address            HWaddress          State      Age\n');
  startQuery(P.NET_WHAT_NEIGHBOURS, P.NET_RECORDS_NEIGHBOUR_SIZE);
  for (let r = nextRecord(); r; r = nextRecord()) {
    const state = load<u32>(r, P.NET_RECORDS_NEIGHBOUR_STATE), n = putAddress(r + P.NET_RECORDS_NEIGHBOUR_ADDRESS);
    putSpaces(max(19 - n, 1));
    if (state == 1) put('(incomplete)     '); else putMac(r + P.NET_RECORDS_NEIGHBOUR_MAC);
    put(state == 1 ? '  asked      ' : state == 2 ? '  reachable  ' : '  stale      ');
    putNumber(load<u32>(r, P.NET_RECORDS_NEIGHBOUR_AGE_MS) / 1000); put(' s'); putByte(10);
  }
  return 0;
}
