/**
 * What root finds: its startup registers are EAX = va of the boot-info page (BOOTINFO.va), ESP = top of its stack. Root is ELF module 0,
 * loaded by the kernel; everything else is loaded by guest code. Root's Table has 2^12 slots, generation 0 at boot.
 * All of physical memory that the kernel does not use is given to root as Untyped (largest naturally aligned powers of two first).
 */
export const BOOTINFO = {
  va: 0xbfffd000,
  magic: 0x4b494e54, // "KINT"
  /** u32 fields, byte offsets */
  fields: {
    magic: 0, version: 4, cpus: 8, memoryPages: 12,
    untypedFirst: 16, untypedCount: 20, // handles are consecutive
    moduleFirst: 24, moduleCount: 28, // Frames with rights r|x|physical, in the order of the multiboot modules 1..; root itself is module 0
    irqFirst: 32, irqCount: 36, // Device of each IRQ line (GSI) 0..count-1
    mmioFirst: 40, mmioCount: 44, // device Untypeds (retype to Frames only, never zeroed): the PCI memory window, outside LAPIC and IOAPIC
    tscKhz: 48, flags: 52, // flags bit 0: deterministic virtual time
    modules: 256, // moduleCount x {bytes u32, nameOffset u32 (in this page), 0, 0}
    cmdline: 1024, // NUL-terminated, at most 1024 bytes; then the module names
    names: 2048,
  },
  /** Fixed handles of root (generation 0). */
  handles: { table: 1, space: 2, thread: 3, sched: 4, ioPorts: 5, firstFree: 64 },
} as const;
