/** nslookup name...: the addresses of names, by the resolver of the network stack. */
import { argument, argumentCount, begin, complain, complainText, failed, finish, operands, option, usage } from './lib/program';
import { EAGAIN, ENOENT, ETIMEDOUT } from './lib/errors';
import { helped } from './lib/help';
import { ADDRESS_BYTES, bytesOf, putAddress } from './lib/net';
import { nextRecord, startQuery } from './lib/netinfo';
import { flush, put, putByte, putText } from './lib/output';
import { allocate } from './lib/memory';
import { sysResolve } from './lib/sys';
import { Text } from './lib/text';
import * as P from 'kintsugi/protocols';

const ROOM: u32 = 16;
export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  if (helped('nslookup name...\nExample: nslookup example.org')) return 0;
  if (option('') != 0 || operands() == argumentCount) return usage('nslookup name...');
  startQuery(P.NET_WHAT_RESOLVERS, P.NET_ADDRESS_SIZE);
  for (let r = nextRecord(); r; r = nextRecord()) { put('Server:    '); putAddress(bytesOf(r)); putByte(10); }
  flush();
  const addresses = allocate(<usize>ROOM * ADDRESS_BYTES);
  for (let i = operands(); i < argumentCount; i++) {
    const name = argument(i), found = sysResolve(name, addresses, ROOM);
    if (found < 0) {
      if (found == -ENOENT) complainText(name, 'no such name');
      else if (found == -EAGAIN || found == -ETIMEDOUT) complainText(name, 'no answer from the name server');
      else complain(name, found);
      continue;
    }
    if (found == 0) { complainText(name, 'the name has no address'); continue; }
    put('\nName:      '); putText(name); putByte(10);
    for (let n = 0; n < found; n++) { put('Address:   '); putAddress(bytesOf(addresses + <usize>n * ADDRESS_BYTES)); putByte(10); }
    flush();
  }
  return failed();
}
