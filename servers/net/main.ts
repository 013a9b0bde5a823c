/** net: to come. */
import { SERVERS_NET } from 'kintsugi/protocols';
import { noBits, serverInit, serverLoop } from '../lib/server';
import { ready } from '../lib/startup';

export function main(page: usize): void {
  serverInit(page);
  ready(SERVERS_NET);
  serverLoop(noBits);
}
