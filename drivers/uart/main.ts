/**
 * Driver of a 16550A serial port (National Semiconductor PC16550D, 1995): worker of one SERIAL ring of tty.
 *
 * It keeps nothing that matters: on attach it sets the chip up again, announces its epoch (tty posts again what a dead one had taken) and scans the
 * ring once. Two queues of taken entries, both in the order of posting: `transmit` entries whose bytes go out, `receive` buffers to fill.
 *
 * Output is at most once: the number of bytes given to the chip, and the id they belong to, are stored in the (taken) status entry before each
 * port write; a successor that finds its entry posted again under the same id goes on behind them. Input likewise: the bytes in a buffer are counted in its status entry, so a
 * death costs at most the byte in hand, each way. The chip is not emptied on attach: what is in its FIFOs is still wanted.
 *
 * Ports of the range: 0 RBR/THR (DLL), 1 IER (DLM), 2 IIR/FCR, 3 LCR, 4 MCR, 5 LSR, 6 MSR. Trigger level 1: no byte waits for a time-out.
 */
import { inb, outb, barrier } from 'kintsugi/x86';
import { NOTIFY_BITS_IRQ, RING_SLOTS, RING_STATUS_ENTRY_R0, RING_STATUS_ENTRY_R1, RING_STATUS_ENTRY_R2, ROLE_DEVICE, SERIAL_BUFFER_BYTES, SERIAL_RECEIVE, SERIAL_TRANSMIT, SERVERS_UART0, SERVERS_UART1 } from 'kintsugi/protocols';
import { serverInit, serverLoop } from '../../servers/lib/server';
import { needHandle, ownEpoch, ownName, ownNotify, ownSpace, ready } from '../../servers/lib/startup';
import { Request, RingWorker, ringWorker } from '../../servers/lib/ring';
import { inRange } from '../../servers/lib/mem';
import { mustAlloc } from '../../servers/lib/alloc';
import * as log from '../../servers/lib/log';
import { line } from '../../servers/lib/fmt';
import * as sys from '../../servers/lib/sys';

const IER: u32 = 1, FCR: u32 = 2, IIR: u32 = 2, LCR: u32 = 3, MCR: u32 = 4, LSR: u32 = 5, MSR: u32 = 6;
const IER_RECEIVE: u32 = 1, IER_TRANSMIT: u32 = 2;
const FCR_ON: u32 = 1, FCR_ON_AND_CLEAR: u32 = 7;
const LCR_8N1: u32 = 3, LCR_DIVISOR: u32 = 0x80;
const MCR_DTR_RTS_OUT2: u32 = 11; // OUT2 gates the interrupt line on a PC
const LSR_DATA: u32 = 1, LSR_OVERRUN: u32 = 2, LSR_ERRORS: u32 = 0x1e, LSR_THR_EMPTY: u32 = 0x20;
const FIFO_BYTES: u32 = 16;
const IRQ_BIT: u32 = 1 << NOTIFY_BITS_IRQ;
const EINVAL: i32 = -22;

let base: u32 = 0;
let irq: u32 = 0;
let worker: RingWorker = changetype<RingWorker>(0);

/** FIFO of taken requests: copies of them, a ring can hold no more than RING_SLOTS. */
@unmanaged @final class Queue {
  first: u32; count: u32; at: usize;
  head(): Request { return changetype<Request>(this.at + <usize>(this.first & (RING_SLOTS - 1)) * offsetof<Request>()); }
  push(request: Request): void {
    memory.copy(this.at + <usize>((this.first + this.count) & (RING_SLOTS - 1)) * offsetof<Request>(), changetype<usize>(request), offsetof<Request>());
    this.count++;
  }
  pop(): void { this.first++; this.count--; }
}
function newQueue(): Queue {
  const q = changetype<Queue>(mustAlloc(offsetof<Queue>()));
  q.at = mustAlloc(RING_SLOTS * <u32>offsetof<Request>());
  return q;
}
let transmit: Queue = changetype<Queue>(0);
let receive: Queue = changetype<Queue>(0);
let fresh: Request = changetype<Request>(0);
let sent: u32 = 0; // bytes of transmit.head() given to the chip
let received: u32 = 0; // bytes in the buffer of receive.head()
let errors: u32 = 0; // LSR error bits seen since the last completed buffer
let enabled: u32 = 0; // what IER is
let answered: bool = false;

export function main(page: usize): void {
  serverInit(page);
  const ports = needHandle(ROLE_DEVICE + 1);
  irq = needHandle(ROLE_DEVICE);
  sys.check(sys.setPorts(ownSpace, ports), 1);
  sys.check(sys.deviceInfo(ports), 2);
  base = sys.R.w1;
  transmit = newQueue();
  receive = newQueue();
  fresh = changetype<Request>(mustAlloc(offsetof<Request>()));
  reset();
  worker = ringWorker(0);
  sys.check(sys.deviceBind(irq, ownNotify, IRQ_BIT), 3);
  sys.deviceAck(irq);
  onBits(0xffffffff);
  ready(load<u8>(ownName(), 4) == 49 ? SERVERS_UART1 : SERVERS_UART0);
  serverLoop(onBits);
}

/** Reset in the sense of the contract: interrupts off and read back as off before anything is posted again. */
function reset(): void {
  outb(base + IER, 0);
  if (inb(base + IER) != 0) log.error(line().lit("no 16550 at port ").hex(base));
  outb(base + LCR, LCR_DIVISOR);
  outb(base, 1); // 115200 baud
  outb(base + IER, 0);
  outb(base + LCR, LCR_8N1);
  outb(base + FCR, ownEpoch() == 1 ? FCR_ON_AND_CLEAR : FCR_ON); // noise from before the system goes; what comes from now on is somebody's input
  outb(base + MCR, MCR_DTR_RTS_OUT2);
  inb(base + LSR);
  inb(base + IIR); inb(base + MSR);
  enabled = 0;
}

function onBits(bits: u32): void {
  takeRequests();
  service();
  if ((bits & IRQ_BIT) != 0) {
    // The line is an edge: it must have been low before it is unmasked, so every cause is served until the chip reports none.
    for (let rounds = 0; rounds < 64 && (inb(base + IIR) & 1) == 0; rounds++) service();
    sys.deviceAck(irq);
  }
  if (answered) { answered = false; worker.knock(); }
}

function takeRequests(): void {
  while (worker.next(fresh)) {
    const known = fresh.op == SERIAL_TRANSMIT || fresh.op == SERIAL_RECEIVE;
    if (!known || fresh.a1 == 0 || fresh.a1 > SERIAL_BUFFER_BYTES || !inRange(fresh.a0, fresh.a1, worker.dataBytes)) {
      worker.complete(fresh.slot, EINVAL, 0, 0, 0, 0);
      answered = true;
    } else if (fresh.op == SERIAL_RECEIVE) {
      if (receive.count == 0) resumeReceive(fresh);
      receive.push(fresh);
    } else {
      if (transmit.count == 0) resume(fresh);
      transmit.push(fresh);
    }
  }
}
/** Where a predecessor was with this very entry, else at its beginning. */
function resume(request: Request): void {
  const entry = worker.statusEntry(request.slot);
  sent = load<u32>(entry, RING_STATUS_ENTRY_R1) == request.id && load<u32>(entry, RING_STATUS_ENTRY_R0) <= request.a1 ? load<u32>(entry, RING_STATUS_ENTRY_R0) : 0;
}

function resumeReceive(request: Request): void {
  const entry = worker.statusEntry(request.slot);
  if (load<u32>(entry, RING_STATUS_ENTRY_R2) != request.id || load<u32>(entry, RING_STATUS_ENTRY_R0) > request.a1) {
    store<u32>(entry, 0, RING_STATUS_ENTRY_R0);
    barrier();
    store<u32>(entry, request.id, RING_STATUS_ENTRY_R2);
  }
  received = load<u32>(entry, RING_STATUS_ENTRY_R0);
}

function service(): void {
  let status = inb(base + LSR);
  while ((status & LSR_DATA) != 0 && receive.count != 0) {
    errors |= status & LSR_ERRORS;
    const buffer = receive.head();
    store<u8>(worker.data + buffer.a0 + received, <u8>inb(base));
    received++;
    store<u32>(worker.statusEntry(buffer.slot), received, RING_STATUS_ENTRY_R0);
    if (received == buffer.a1) finishReceive();
    status = inb(base + LSR);
  }
  if (received != 0 && receive.count != 0) finishReceive();
  while ((status & LSR_THR_EMPTY) != 0 && transmit.count != 0) {
    send();
    status = inb(base + LSR);
  }
  // No buffer: the receive interrupt would fire for ever; the chip holds its 16 bytes until a buffer is posted.
  const wanted = (receive.count != 0 ? IER_RECEIVE : 0) | (transmit.count != 0 ? IER_TRANSMIT : 0);
  if (wanted != enabled) { enabled = wanted; outb(base + IER, wanted); }
}

function finishReceive(): void {
  worker.complete(receive.head().slot, 0, received, errors, 0, 0);
  receive.pop();
  received = 0;
  if (receive.count != 0) resumeReceive(receive.head());
  errors = 0;
  answered = true;
}

/** The transmit FIFO is empty: up to 16 bytes fit. */
function send(): void {
  const request = transmit.head(), entry = worker.statusEntry(request.slot);
  let room = FIFO_BYTES;
  store<u32>(entry, request.id, RING_STATUS_ENTRY_R1);
  while (room > 0 && sent < request.a1) {
    const byte = load<u8>(worker.data + request.a0 + sent);
    sent++;
    store<u32>(entry, sent, RING_STATUS_ENTRY_R0);
    barrier();
    outb(base, byte);
    room--;
  }
  if (sent < request.a1) return;
  worker.complete(request.slot, 0, sent, 0, 0, 0);
  answered = true;
  transmit.pop();
  if (transmit.count != 0) resume(transmit.head()); else sent = 0;
}
