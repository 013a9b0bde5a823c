/**
 * The first Thread: loads the ELF of module 0, gives it all there is (microkernel/abi/bootinfo.ts), makes it ready.
 *
 * What the kernel keeps for root lies in its own Untyped, `bootMemory`, of which root has no capability. Root cannot be restarted; everything it
 * makes can.
 */
import {
  BOOTINFO_VA, BOOTINFO_MAGIC, BOOTINFO_FIELDS_MAGIC, BOOTINFO_FIELDS_VERSION, BOOTINFO_FIELDS_CPUS, BOOTINFO_FIELDS_MEMORY_PAGES, BOOTINFO_FIELDS_UNTYPED_FIRST,
  BOOTINFO_FIELDS_UNTYPED_COUNT, BOOTINFO_FIELDS_MODULE_FIRST, BOOTINFO_FIELDS_MODULE_COUNT, BOOTINFO_FIELDS_IRQ_FIRST, BOOTINFO_FIELDS_IRQ_COUNT,
  BOOTINFO_FIELDS_MMIO_FIRST, BOOTINFO_FIELDS_MMIO_COUNT, BOOTINFO_FIELDS_TSC_KHZ, BOOTINFO_FIELDS_FLAGS, BOOTINFO_FIELDS_MODULES, BOOTINFO_FIELDS_CMDLINE,
  BOOTINFO_FIELDS_NAMES, BOOTINFO_HANDLES_TABLE, BOOTINFO_HANDLES_SPACE, BOOTINFO_HANDLES_THREAD, BOOTINFO_HANDLES_SCHED, BOOTINFO_HANDLES_IO_PORTS,
  BOOTINFO_HANDLES_FIRST_FREE, OBJ_UNTYPED, OBJ_TABLE, OBJ_SPACE, OBJ_FRAMES, OBJ_THREAD, OBJ_SCHED, OBJ_DEVICE,
  VM_STACK_TOP, VM_MESSAGE_PAGE, FRAMES_RIGHTS_READ, FRAMES_RIGHTS_EXECUTE, FRAMES_RIGHTS_PHYSICAL,
} from 'kintsugi/abi';
import { Module, moduleAt, moduleCount, rangeAt, rangeCount, addRange, hasWord, COMMAND_LINE } from './multiboot';
import { early, earlyPage } from './early';
import { KObject, Slot, slotAt, fillSlot } from '../core/capability';
import { allRights } from '../core/rights';
import { reserveInit } from '../core/reserve';
import { Untyped, make, adopt, untypedInit, untypedInitRange, takeObject, takePages, UNTYPED_BYTES } from '../object/untyped';
import { Table, takeSlot, emptySlot } from '../object/table';
import { Space, mapRange, donatePages } from '../object/space';
import { Frames, framesInit, FRAMES_BYTES } from '../object/frames';
import { Device, irqDeviceInit, portDeviceInit, DEVICE_BYTES } from '../object/device';
import { Thread } from '../object/thread';
import { Sched } from '../object/sched';
import { makeReady } from '../core/schedule';
import { enableChecks } from '../core/invariants';
import { lockIpc, unlockIpc } from '../core/lock';
import { F_UNREADY } from '../core/state';
import { lineCount } from '../arch/ioapic';
import { tscKhz } from '../arch/clock';
import { Cpu } from '../arch/cpu';
import { virt, phys, KERNEL_BASE } from '../arch/paging';
import { die } from '../arch/panic';
import { none } from '../core/pointer';

const ROOT_TABLE_BITS: u32 = 12;
const STACK_PAGES: u32 = 16;
const ROOT_PRIORITY: u32 = 48;
let bootMemory: Untyped = changetype<Untyped>(0);
let table: Table = changetype<Table>(0);
let space: Space = changetype<Space>(0);
let nextSlot: u32 = 0;
const PROGRESS: usize = memory.data(8, 4);

function give(index: u32, o: KObject, rights: u32): void {
  const s = slotAt(table, index);
  s.handle = index;
  takeSlot(table, s);
  fillSlot(s, o, rights, 0, none<Slot>());
}
/** Cleared pages of boot memory as Frames. */
function framesOf(pages: u32): Frames {
  let at = takePages(bootMemory, pages);
  while (at == 1) at = takePages(bootMemory, pages);
  if (at == 0) die('boot memory is used up');
  const f = changetype<Frames>(takeObject(bootMemory, FRAMES_BYTES));
  adopt(bootMemory, f, OBJ_FRAMES);
  framesInit(f, <usize>phys(at), pages, 0);
  return f;
}
function mapIn(f: Frames, va: usize, rights: u32): void {
  store<u32>(PROGRESS, 0);
  let status: u32 = 0x100;
  while (status == 0x100) status = mapRange(space, f, va, 0, f.pages, rights, 7, PROGRESS);
  if (status != 0) die('root cannot be mapped');
}

/** Loads the segments of the ELF at `image` (kernel address, `bytes` long); its entry point. Everything in the file is checked against its length. */
function loadElf(image: usize, bytes: u32): u32 {
  if (bytes < 52 || load<u32>(image) != 0x464c457f || load<u32>(image, 4) != 0x00010101 || load<u32>(image, 16) != 0x00030002) { die('module 0 (root) is not an i386 ELF executable'); return 0; }
  const headers = load<u32>(image, 28), count = <u32>load<u16>(image, 44);
  if (headers > bytes || count * 32 > bytes - headers) { die('module 0 (root): program headers lie outside the file'); return 0; }
  for (let n: u32 = 0; n < count; n++) {
    const h = image + headers + n * 32;
    if (load<u32>(h) != 1) continue;
    const offset = load<u32>(h, 4), va = load<u32>(h, 8), size = load<u32>(h, 16), room = load<u32>(h, 20), flags = load<u32>(h, 24);
    if (room == 0) continue;
    if (offset > bytes || size > bytes - offset || size > room || va < 4096 || va >= 0xb0000000 || room > 0x4000000) { die('module 0 (root): a segment lies outside the file or the user space'); return 0; }
    const start = va & ~4095;
    const f = framesOf((va + room - start + 4095) >> 12);
    memory.copy(virt(f.paddr) + (va - start), image + offset, size);
    mapIn(f, start, 1 | ((flags & 2) != 0 ? 2 : 0) | ((flags & 1) != 0 ? 4 : 0));
  }
  return load<u32>(image, 24);
}

function giveUntyped(start: usize, bits: u32, device: u32): void {
  const u = changetype<Untyped>(takeObject(bootMemory, UNTYPED_BYTES));
  adopt(bootMemory, u, OBJ_UNTYPED);
  untypedInit(u, start, bits, device);
  give(nextSlot++, u, allRights(OBJ_UNTYPED));
}
/** Free RAM as naturally aligned powers of two, the largest first; pieces below 64 KiB are not worth a slot. */
function giveMemory(): u32 {
  let pages: u32 = 0;
  for (let bits: u32 = 28; bits >= 16; bits--) {
    for (let n: u32 = 0; n < rangeCount; n++) {
      const r = rangeAt(n);
      // cut out every aligned piece of this size that no larger one has taken
      while (r.end > r.start) {
        const at = (r.start + (<u32>1 << bits) - 1) & ~((<u32>1 << bits) - 1);
        if (at < r.start || at >= r.end || r.end - at < <u32>1 << bits) break;
        giveUntyped(virt(at), bits, 0);
        pages += <u32>1 << (bits - 12);
        const end = at + (<u32>1 << bits);
        if (at == r.start) r.start = end;
        else if (end == r.end) r.end = at;
        else { split(n, at, end); }
      }
    }
  }
  return pages;
}
function split(n: u32, at: u32, end: u32): void {
  const r = rangeAt(n);
  addRange(end, r.end);
  r.end = at;
}

function device(kind: u32): Device {
  const d = changetype<Device>(takeObject(bootMemory, DEVICE_BYTES));
  adopt(bootMemory, d, OBJ_DEVICE);
  return d;
}

/** Everything is set up, CPUs included: makes root. */
export function startRoot(cpu: Cpu, cpus: u32, memoryPages: u32): void {
  if (moduleCount == 0) { die('no modules: module 0 must be root.elf'); return; }
  const image = moduleAt(0);
  const bytes = ((image.end - image.start) * 4 + 0x180000 + 4095) & ~4095;
  const start = early(bytes, 4096);
  bootMemory = changetype<Untyped>(earlyPage());
  untypedInitRange(bootMemory, start, start + bytes);
  if (hasWord('check')) enableChecks(bootMemory);
  reserveInit(earlyPage());

  table = changetype<Table>(make(bootMemory, OBJ_TABLE, ROOT_TABLE_BITS));
  space = changetype<Space>(make(bootMemory, OBJ_SPACE, 0));
  const thread = changetype<Thread>(make(bootMemory, OBJ_THREAD, 0));
  const sched = changetype<Sched>(make(bootMemory, OBJ_SCHED, 0));
  while (donatePages(space, bootMemory, 64) == 0x100) {}
  give(BOOTINFO_HANDLES_TABLE, table, allRights(OBJ_TABLE));
  give(BOOTINFO_HANDLES_SPACE, space, allRights(OBJ_SPACE));
  give(BOOTINFO_HANDLES_THREAD, thread, allRights(OBJ_THREAD));
  give(BOOTINFO_HANDLES_SCHED, sched, allRights(OBJ_SCHED));
  const ports = device(2);
  portDeviceInit(ports, 0, 0x10000);
  give(BOOTINFO_HANDLES_IO_PORTS, ports, allRights(OBJ_DEVICE));

  const entry = loadElf(virt(image.start), image.end - image.start);
  mapIn(framesOf(STACK_PAGES), VM_STACK_TOP - STACK_PAGES * 4096, 3);
  const message = framesOf(1);
  mapIn(message, VM_MESSAGE_PAGE, 3);
  const page = framesOf(1);
  mapIn(page, BOOTINFO_VA, 1);
  const info = virt(page.paddr);

  nextSlot = BOOTINFO_HANDLES_FIRST_FREE;
  store<u32>(info, nextSlot, BOOTINFO_FIELDS_MODULE_FIRST);
  store<u32>(info, moduleCount - 1, BOOTINFO_FIELDS_MODULE_COUNT);
  let names = BOOTINFO_FIELDS_NAMES;
  for (let n: u32 = 1; n < moduleCount; n++) {
    const m = moduleAt(n);
    const f = changetype<Frames>(takeObject(bootMemory, FRAMES_BYTES));
    adopt(bootMemory, f, OBJ_FRAMES);
    const pages = (m.end - m.start + 4095) >> 12;
    framesInit(f, m.start & ~4095, pages == 0 ? 1 : pages, 0);
    if ((m.end & 4095) != 0) memory.fill(virt(m.end), 0, 4096 - (m.end & 4095));
    give(nextSlot++, f, FRAMES_RIGHTS_READ | FRAMES_RIGHTS_EXECUTE | FRAMES_RIGHTS_PHYSICAL);
    const at = info + BOOTINFO_FIELDS_MODULES + ((<usize>n - 1) << 4);
    store<u32>(at, m.end - m.start);
    store<u32>(at, names, 4);
    let k: usize = 0;
    while (names < 4000) {
      const c = load<u8>(m.name + k);
      store<u8>(info + names, c);
      names++; k++;
      if (c == 0) break;
    }
  }
  store<u32>(info, nextSlot, BOOTINFO_FIELDS_IRQ_FIRST);
  store<u32>(info, lineCount, BOOTINFO_FIELDS_IRQ_COUNT);
  for (let n: u32 = 0; n < lineCount; n++) {
    const d = device(1);
    irqDeviceInit(d, n);
    give(nextSlot++, d, allRights(OBJ_DEVICE));
  }
  store<u32>(info, nextSlot, BOOTINFO_FIELDS_MMIO_FIRST);
  store<u32>(info, 6, BOOTINFO_FIELDS_MMIO_COUNT);
  giveUntyped(0xe0000000, 28, 1);
  giveUntyped(0xf0000000, 27, 1);
  giveUntyped(0xf8000000, 26, 1);
  giveUntyped(0xfc000000, 25, 1);
  giveUntyped(0xfe000000, 23, 1);
  giveUntyped(0xfe800000, 22, 1);
  const first = nextSlot;
  giveMemory();
  store<u32>(info, first, BOOTINFO_FIELDS_UNTYPED_FIRST);
  store<u32>(info, nextSlot - first, BOOTINFO_FIELDS_UNTYPED_COUNT);
  store<u32>(info, BOOTINFO_MAGIC, BOOTINFO_FIELDS_MAGIC);
  store<u32>(info, 1, BOOTINFO_FIELDS_VERSION);
  store<u32>(info, cpus, BOOTINFO_FIELDS_CPUS);
  store<u32>(info, memoryPages, BOOTINFO_FIELDS_MEMORY_PAGES);
  store<u32>(info, tscKhz, BOOTINFO_FIELDS_TSC_KHZ);
  store<u32>(info, 0, BOOTINFO_FIELDS_FLAGS);
  for (let k: usize = 0; k < 1023; k++) {
    const c = load<u8>(COMMAND_LINE + k);
    store<u8>(info + BOOTINFO_FIELDS_CMDLINE + k, c);
    if (c == 0) break;
  }
  table.fresh = nextSlot;

  thread.space = space; space.threads++;
  thread.cr3 = space.root;
  thread.table = table;
  thread.mp = virt(message.paddr);
  thread.messageFrames = message; message.messagePages++;
  thread.flags &= ~F_UNREADY;
  thread.prio = ROOT_PRIORITY;
  thread.eip = entry;
  thread.esp = VM_STACK_TOP;
  thread.eax = BOOTINFO_VA;
  sched.owner = thread;
  thread.own = sched;
  thread.sched = sched;
  sched.thread = thread;
  lockIpc();
  makeReady(cpu, thread, false);
  unlockIpc();
}
