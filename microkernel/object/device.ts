/**
 * Device: an interrupt line, or a range of I/O ports. Made by the kernel at boot, never destroyed.
 *
 * Layout: 64 bytes. IRQ line: an interrupt signals `bits` to `notify` and masks the line until `ack`. A level line is masked in the IOAPIC; an edge
 * line is masked in thought only, because the IOAPIC forgets edges while masked: what arrives meanwhile is latched and fires at `ack` or at the
 * next `bind`. Ports: `first`, `count`; a capability's badge (first | count << 16) narrows them.
 * Invariants: notify != 0 => notify.devices counts this Device. IPC lock for IRQ state.
 */
import {
  ERR_OK, ERR_TYPE, ERR_RIGHTS, ERR_RANGE, ERR_ARG, OBJ_NOTIFY, OBJ_DEVICE, NOTIFY_RIGHTS_SIGNAL, DEVICE_BIND, DEVICE_ACK, DEVICE_MASK, DEVICE_RESET,
  DEVICE_PORT_IN, DEVICE_PORT_OUT, DEVICE_ALLOW_DMA, DEVICE_INFO, DEVICE_RIGHTS_USE, DEVICE_RIGHTS_OWN,
} from 'kintsugi/abi';
import { inb, inw, inl, outb, outw, outl } from 'kintsugi/x86';
import { KObject, Slot, findTyped } from '../core/capability';
import { Thread } from './thread';
import { Notify, signal } from './notify';
import { lockIpc, unlockIpc } from '../core/lock';
import { maskLine, unmaskLine, lineIsLevel, routeLine } from '../arch/ioapic';
import { Cpu } from '../arch/cpu';
import { nil, none, same } from '../core/pointer';

@unmanaged @final export class Device extends KObject {
  kind: u32;
  line: u32; // GSI
  first: u32; count: u32; // ports
  notify: Notify;
  bits: u32;
  masked: u32; // not to be delivered
  latched: u32; // arrived meanwhile
}
export const IRQ: u32 = 1;
export const PORTS: u32 = 2;
export const MMIO: u32 = 3;
export const DEVICE_BYTES: u32 = 64;
export const MAX_LINES: u32 = 64;
const LINES: usize = memory.data(64 * 4, 4);

export function deviceOfLine(line: u32): Device { return changetype<Device>(load<usize>(LINES + (<usize>line << 2))); }
export function irqDeviceInit(d: Device, line: u32): void {
  d.kind = IRQ; d.line = line; d.masked = 1;
  store<usize>(LINES + (<usize>line << 2), changetype<usize>(d));
}
export function portDeviceInit(d: Device, first: u32, count: u32): void { d.kind = PORTS; d.first = first; d.count = count; }

/** A Notify goes away: its lines are masked and unbound. IPC lock held. */
export function forgetNotify(n: Notify): void {
  for (let k: u32 = 0; k < MAX_LINES; k++) {
    const d = deviceOfLine(k);
    if (nil(d) || !same(d.notify, n)) continue;
    maskLine(d.line);
    d.masked = 1;
    d.notify = none<Notify>();
  }
}
/** An interrupt on `line`. IPC lock held; the LAPIC is acknowledged by the caller afterwards. */
export function deviceInterrupt(cpu: Cpu, line: u32): void {
  const d = deviceOfLine(line);
  if (nil(d)) { maskLine(line); return; }
  if (lineIsLevel(line)) maskLine(line);
  if (d.masked != 0 || nil(d.notify)) { d.latched = 1; return; }
  d.masked = 1;
  signal(cpu, d.notify, d.bits, false);
}
/** Lets the line deliver; what was latched fires at once. A level line that is still asserted interrupts by itself. */
function unmask(cpu: Cpu, d: Device): void {
  d.masked = 0;
  if (d.latched != 0 && !nil(d.notify)) {
    d.latched = 0;
    if (!lineIsLevel(d.line)) { d.masked = 1; signal(cpu, d.notify, d.bits, false); return; }
  }
  unmaskLine(d.line);
}
function unbind(d: Device): void {
  if (!nil(d.notify)) d.notify.devices--;
  d.notify = none<Notify>();
}

export function deviceInvoke(cpu: Cpu, caller: Thread, cap: Slot, op: u32): u32 {
  const d = changetype<Device>(cap.object);
  if (op == 0 || op > DEVICE_INFO) { cpu.argument = 1; return ERR_TYPE; }
  if (op == DEVICE_INFO) {
    cpu.r0 = d.kind;
    cpu.r1 = d.kind == IRQ ? d.line : cap.badge != 0 ? cap.badge & 0xffff : d.first;
    cpu.r2 = d.kind == IRQ ? 1 : cap.badge != 0 ? cap.badge >> 16 : d.count;
    cpu.results = 3;
    return ERR_OK;
  }
  const own = op == DEVICE_MASK || op == DEVICE_RESET || op == DEVICE_ALLOW_DMA;
  if ((<u32>cap.rights & (own ? DEVICE_RIGHTS_OWN : DEVICE_RIGHTS_USE)) == 0) { cpu.argument = 0; return ERR_RIGHTS; }
  if (op == DEVICE_PORT_IN || op == DEVICE_PORT_OUT) return ports(cpu, d, cap.badge, op == DEVICE_PORT_OUT);
  if (op == DEVICE_ALLOW_DMA || d.kind != IRQ) { cpu.argument = op == DEVICE_ALLOW_DMA ? 1 : 0; return ERR_TYPE; }
  if (op == DEVICE_BIND) {
    const s = findTyped(cpu, caller.table, cpu.w0, OBJ_NOTIFY, NOTIFY_RIGHTS_SIGNAL);
    if (nil(s)) { cpu.argument = 2; return cpu.failure; }
    if (cpu.w1 == 0 || (s.badge != 0 && (cpu.w1 & ~s.badge) != 0)) { cpu.argument = 3; return ERR_RIGHTS; }
    const n = changetype<Notify>(s.object);
    // ---- commit ----
    lockIpc();
    unbind(d);
    d.notify = n;
    d.bits = cpu.w1;
    n.devices++;
    routeLine(d.line, nil(n.bound) ? cpu.lapicId : n.bound.home.lapicId);
    unmask(cpu, d);
    unlockIpc();
    return ERR_OK;
  }
  // ---- commit ----
  lockIpc();
  if (op == DEVICE_ACK) { if (!nil(d.notify)) unmask(cpu, d); }
  else {
    if (lineIsLevel(d.line) || op == DEVICE_RESET) maskLine(d.line);
    d.masked = 1;
    if (op == DEVICE_RESET) { unbind(d); d.latched = 0; }
  }
  unlockIpc();
  return ERR_OK;
}

function ports(cpu: Cpu, d: Device, badge: u32, output: bool): u32 {
  if (d.kind != PORTS) { cpu.argument = 0; return ERR_TYPE; }
  const port = cpu.w0, bytes = cpu.w1;
  const first = badge != 0 ? badge & 0xffff : d.first, count = badge != 0 ? badge >> 16 : d.count;
  if (bytes != 1 && bytes != 2 && bytes != 4) { cpu.argument = 3; return ERR_ARG; }
  if (port < first || port - first >= count || bytes > count - (port - first)) { cpu.argument = 2; return ERR_RANGE; }
  // ---- commit ----
  if (output) {
    if (bytes == 1) outb(port, cpu.w2); else if (bytes == 2) outw(port, cpu.w2); else outl(port, cpu.w2);
  } else {
    cpu.r0 = bytes == 1 ? inb(port) & 255 : bytes == 2 ? inw(port) & 65535 : inl(port);
    cpu.results = 1;
  }
  return ERR_OK;
}
