/**
 * What every virtio driver does the same way: find the structures of its function, reset it, agree on features, bind its interrupt, and wait.
 *
 *   deviceOpen(fault, bytes, wanted)   reset (which ends all DMA of a dead predecessor), features; then the driver opens its queues and calls virtioGo
 *   bindInterrupt()                    before the rings announce this epoch
 *   deviceServe(number, pump)          interrupts on, ready, `pump` now and after every doorbell and interrupt, for ever
 */
import { mmioRead8 } from 'kintsugi/x86';
import { NOTIFY_BITS_IRQ, ROLE_DEVICE } from 'kintsugi/protocols';
import { line } from '../../servers/lib/fmt';
import * as log from '../../servers/lib/log';
import { serverLoop } from '../../servers/lib/server';
import { needHandle, ownNotify, ready } from '../../servers/lib/startup';
import * as sys from '../../servers/lib/sys';
import { Structure, VIRTIO_COMMON, VIRTIO_DEVICE, VIRTIO_ISR, VIRTIO_NOTIFY, virtioStructure } from './pci';
import { COMMON_BYTES, virtioAccept, virtioGiveUp, virtioOffered, virtioReset, virtioServes, chainsTaken } from './virtio';

const IRQ_BIT: u32 = 1 << NOTIFY_BITS_IRQ;
const ISR_CONFIG: u32 = 2; // the configuration changed, the status perhaps (4.1.4.5)
const common: Structure = changetype<Structure>(memory.data(12, 4));
const isr: Structure = changetype<Structure>(memory.data(12, 4));
export const notify: Structure = changetype<Structure>(memory.data(12, 4));
export const config: Structure = changetype<Structure>(memory.data(12, 4));
/** Features 0-31 agreed upon. */
export let features: u32 = 0;
const LEAST_LIFE_NS: u64 = 2_500_000_000; // less than the bounds of the rings
let opened: u64 = 0;
/** Interrupts that said that the configuration changed. */
export let configurations: u32 = 0;
let irq: u32 = 0;
let fault: u32 = 0;
/** Interrupts in a row that brought nothing: a device that screams must not keep the processor. */
const MOST_FOR_NOTHING: u32 = 5000;
let forNothing: u32 = 0, takenBefore: u32 = 0;
let work: () => void = nothing;
function nothing(): void {}

/** Says why, leaves the device stopped; the supervisor sees a driver that never gets ready. */
export function refuse(why: string): void {
  log.error(line().lit('device refused: ').lit(why));
  sys.fault(fault, 0, 0);
}
/** `code` of the deliberate fault when the device is of no use, bytes of its configuration that are needed, features that are wanted if offered. */
export function deviceOpen(code: u32, configBytes: u32, wanted: u32): bool {
  fault = code;
  opened = sys.clock();
  if (!virtioStructure(VIRTIO_COMMON, COMMON_BYTES, common) || !virtioStructure(VIRTIO_NOTIFY, 2, notify) || !virtioStructure(VIRTIO_ISR, 1, isr) || !virtioStructure(VIRTIO_DEVICE, configBytes, config)) {
    refuse('its capabilities name no usable structures');
    return false;
  }
  if (!virtioReset(common)) { refuse('it does not reset'); return false; }
  features = virtioOffered() & wanted;
  if (!virtioAccept(features)) { virtioGiveUp(); refuse('it does not speak virtio 1'); return false; }
  return true;
}
/**
 * The device does what no device may. The driver ends: its successor resets the device, and what was under way is posted again. Not before a while after its start, so
 * that a device that lies now and then costs pauses, and is not given up for good (six deaths within ten seconds).
 */
export function distrust(why: string): void {
  virtioGiveUp(); // it does nothing more meanwhile
  log.error(line().lit('device stopped: ').lit(why));
  sys.sleepUntil(opened + LEAST_LIFE_NS);
  sys.fault(fault, 1, 0);
}
export function bindInterrupt(): void {
  irq = needHandle(ROLE_DEVICE);
  sys.deviceBind(irq, ownNotify, IRQ_BIT);
}
/** Interrupts that came since `bindInterrupt` are delivered from here on. */
export function enableInterrupt(): void { sys.deviceAck(irq); }
/** Never returns. */
export function deviceServe(number: u32, pump: () => void): void {
  work = pump;
  ready(number);
  pump();
  serverLoop(onBits);
}
function onBits(bits: u32): void {
  const interrupted = (bits & IRQ_BIT) != 0;
  if (interrupted && (mmioRead8(isr.va) & ISR_CONFIG) != 0) { // reading lowers the line
    configurations++;
    if (!virtioServes()) distrust('it wants to be reset');
  }
  work();
  if (!interrupted) return;
  if (chainsTaken != takenBefore) { takenBefore = chainsTaken; forNothing = 0; }
  else if (++forNothing == MOST_FOR_NOTHING) distrust('it interrupts for nothing');
  sys.deviceAck(irq);
}
