/**
 * The servers of this system, declared: who they are, where they live, how much they get, which rings join them. Everything the supervisor does
 * is driven by these tables; a new server is a few lines here and a number in servers/protocols/startup.ts.
 *
 * Start order = order of declaration. `home` is the vCPU under place=pin, taken modulo the number of CPUs. Sizes in pages.
 * The numbers of rings are local to each side: the n of ROLE.peerNotify, REGION.ringRequest and of the Notify bit.
 */
import {
  BLOCK_BOUND_MS, FS_BOUND_MS, FS_DATA_BYTES, TTY_BOUND_MS, TTY_DATA_BYTES, TTY_READ, TTY_WRITE, TTY_CONTROL, TTY_SIGNAL, TTY_WATCH, SERIAL_BOUND_MS, SERIAL_BUFFER_BYTES, SERIAL_RECEIVE, SERIAL_TRANSMIT, RING_SLOTS,
  SERVERS_PROCESS, SERVERS_FS, SERVERS_TTY, SERVERS_UART0, SERVERS_UART1, SERVERS_VIRTIO_BLK, SERVERS_NET, SERVERS_VIRTIO_NET,
  NET_ACCEPT, NET_BOUND_MS, NET_CONNECT, NET_DATA_BYTES, NET_POLL, NET_RECV, NET_RECVFROM, NET_RESOLVE, NET_SEND, NET_SENDTO, NET_WATCH, NETDEV_BOUND_MS, NETDEV_RECEIVE, NETDEV_WATCH,
} from 'kintsugi/protocols';
import { Ring, Server, newServer, newRing, CALLABLE, LEGACY_UART, PCI_FUNCTION, PLAIN_DMA } from './tables';
import { putLiteral } from '../lib/str';

function server(number: u32, name: string, module: string, home: u32, priority: u32): Server {
  const s = newServer(number);
  putLiteral(s.name, name);
  putLiteral(s.module, module);
  s.home = home; s.priority = priority;
  s.stack = 4; s.fiberPages = 2; s.fibers = 4; s.heap = 64;
  s.tableBits = 7; s.untypedBits = 20; s.pageTables = 32;
  return s;
}
function ring(owner: Server, ownerLocal: u32, worker: Server, workerLocal: u32, dataBytes: u32, boundMs: u32): Ring {
  const r = newRing();
  r.owner = owner; r.ownerLocal = ownerLocal; r.worker = worker; r.workerLocal = workerLocal;
  r.dataPages = (dataBytes + 4095) >> 12;
  r.boundNs = <u64>boundMs * 1_000_000;
  return r;
}

/** `cachePages`: cache of fs; `netPages`: connections and their data. The packets of net, and behind them its private memory for sockets (2 KiB each), are DMA memory: no twin has them twice. */
export function manifest(cachePages: u32, netPages: u32): void {
  const blk = server(SERVERS_VIRTIO_BLK, 'virtio-blk', 'virtio-blk', 3, 50);
  blk.flags = PCI_FUNCTION; blk.pciModern = 0x10421af4; blk.pciTransitional = 0x10011af4;
  blk.untypedBits = 19; blk.dmaPages = 8; blk.dmaOf = SERVERS_FS;

  const uart0 = server(SERVERS_UART0, 'uart0', 'uart', 3, 50);
  uart0.untypedBits = 19; uart0.flags = LEGACY_UART; uart0.port = 0x3f8; uart0.irq = 4;
  const uart1 = server(SERVERS_UART1, 'uart1', 'uart', 3, 50);
  uart1.untypedBits = 19; uart1.flags = LEGACY_UART; uart1.port = 0x2f8; uart1.irq = 3;

  const fs = server(SERVERS_FS, 'fs', 'fs', 1, 40);
  fs.heap = 512; fs.fibers = 12; fs.fiberPages = 4; fs.untypedBits = 22; fs.pageTables = 96;
  fs.statePages = 256; fs.dmaPages = cachePages;

  const tty = server(SERVERS_TTY, 'tty', 'tty', 0, 40);
  tty.heap = 96; tty.fibers = 1; tty.statePages = 16;

  const nic = server(SERVERS_VIRTIO_NET, 'virtio-net', 'virtio-net', 3, 50);
  nic.flags = PCI_FUNCTION; nic.pciModern = 0x10411af4; nic.pciTransitional = 0x10001af4;
  nic.untypedBits = 19; nic.heap = 16; nic.fibers = 1; nic.dmaPages = 16; nic.dmaOf = SERVERS_NET;

  const net = server(SERVERS_NET, 'net', 'net', 2, 40);
  net.flags = PLAIN_DMA;
  net.fibers = 1; net.statePages = netPages; net.dmaPages = netPages < 1024 ? 512 : 1024;

  const process = server(SERVERS_PROCESS, 'process', 'process', 0, 30);
  process.flags = CALLABLE; process.replyCount = 64;
  process.heap = 512; process.fibers = 64; process.tableBits = 12; process.untypedBits = 22; process.pageTables = 96; process.statePages = 16;

  ring(process, 0, fs, 0, FS_DATA_BYTES, FS_BOUND_MS);
  const terminal = ring(process, 1, tty, 0, TTY_DATA_BYTES, TTY_BOUND_MS);
  terminal.waiting = 1 << TTY_READ | 1 << TTY_SIGNAL | 1 << TTY_WATCH;
  terminal.blocking = 1 << TTY_WRITE | 1 << TTY_CONTROL;
  ring(fs, 1, blk, 0, 0, BLOCK_BOUND_MS);
  const sockets = ring(process, 2, net, 0, NET_DATA_BYTES, NET_BOUND_MS);
  sockets.waiting = 1 << NET_CONNECT | 1 << NET_ACCEPT | 1 << NET_RECV | 1 << NET_RECVFROM | 1 << NET_WATCH | 1 << NET_POLL;
  sockets.blocking = 1 << NET_SEND | 1 << NET_SENDTO | 1 << NET_RESOLVE; // the peer may hold them up
  ring(net, 1, nic, 0, 0, NETDEV_BOUND_MS); // transmit
  ring(net, 2, nic, 1, 0, NETDEV_BOUND_MS).waiting = 1 << NETDEV_RECEIVE | 1 << NETDEV_WATCH;
  for (let n: u32 = 0; n < 2; n++) {
    const serial = ring(tty, 1 + n, n == 0 ? uart0 : uart1, 0, SERIAL_BUFFER_BYTES * RING_SLOTS, SERIAL_BOUND_MS);
    serial.waiting = 1 << SERIAL_RECEIVE;
    serial.blocking = 1 << SERIAL_TRANSMIT; // the other end may hold it up
  }
}
