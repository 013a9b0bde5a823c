/** net, until the stack is there: every request is answered with ENETDOWN. */
import { SERVERS_NET } from 'kintsugi/protocols';
import { mustAlloc } from '../lib/alloc';
import { ENETDOWN } from '../lib/errno';
import { Request, RingWorker, ringWorker } from '../lib/ring';
import { serverInit, serverLoop } from '../lib/server';
import { ready } from '../lib/startup';

let requests: RingWorker = changetype<RingWorker>(0);
let fresh: Request = changetype<Request>(0);
function onBits(bits: u32): void { while (requests.next(fresh)) requests.answer(fresh.slot, -ENETDOWN, 0, 0, 0, 0); }

export function main(page: usize): void {
  serverInit(page);
  fresh = changetype<Request>(mustAlloc(<u32>offsetof<Request>()));
  requests = ringWorker(0);
  ready(SERVERS_NET);
  onBits(0);
  serverLoop(onBits);
}
