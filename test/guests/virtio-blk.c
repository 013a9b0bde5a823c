/* virtio-blk by the modern PCI interface (virtio 1.2, 4.1, 5.2): capabilities, feature negotiation, one queue, read, write, flush, INTx, reset. */
#include "lib/guest.h"
static u32 cfg(u32 dev, u32 off) { outl(0xcf8, 0x80000000 | dev << 11 | (off & 0xfc)); return inl(0xcfc); }
static void set_cfg(u32 dev, u32 off, u32 v) { outl(0xcf8, 0x80000000 | dev << 11 | (off & 0xfc)); outl(0xcfc, v); }
static u8 cfg8(u32 dev, u32 off) { return cfg(dev, off) >> (off & 3) * 8; }
static u32 dev = 32, common, notify, isr_at, device, multiplier;
#define R8(o) (*(volatile u8 *)(common + (o)))
#define R16(o) (*(volatile u16 *)(common + (o)))
#define R32(o) (*(volatile u32 *)(common + (o)))
static struct { u64 addr; u32 len; u16 flags, next; } desc[8] __attribute__((aligned(4096)));
static struct { u16 flags, idx, ring[8], event; } avail __attribute__((aligned(4096)));
static volatile struct { u16 flags, idx; struct { u32 id, len; } ring[8]; u16 event; } used __attribute__((aligned(4096)));
static struct { u32 type, reserved; u64 sector; } header;
static u8 data[4096] __attribute__((aligned(512))), copy[4096] __attribute__((aligned(512)));
static volatile u8 status;
static u32 notify_at;

static u32 bar(u32 n) { u32 v = cfg(dev, 0x10 + n * 4); return v & ~15u; }
static void find(void) {
  for (u32 d = 0; d < 32; d++) { u32 id = cfg(d, 0); if (id == 0x10421af4 || id == 0x10011af4) dev = d; }
  CHECK(dev < 32);
  if (dev == 32) return;
  set_cfg(dev, 4, (cfg(dev, 4) & 0xffff) | 6);
  CHECK(cfg(dev, 4) >> 20 & 1);
  for (u32 at = cfg8(dev, 0x34); at; at = cfg8(dev, at + 1)) {
    if (cfg8(dev, at) != 9) continue;
    u32 type = cfg8(dev, at + 3), where = bar(cfg8(dev, at + 4)) + cfg(dev, at + 8);
    if (type == 1) common = where;
    if (type == 2) { notify = where; multiplier = cfg(dev, at + 16); }
    if (type == 3) isr_at = where;
    if (type == 4) device = where;
  }
  CHECK(common && notify && isr_at && device);
}
static void start_device(void) {
  R8(0x14) = 0; for (u32 i = 0; i < 1000000 && R8(0x14); i++);
  EQUAL(R8(0x14), 0);
  R8(0x14) = 1; R8(0x14) = 3;
  R32(0) = 1; u32 high = R32(4); CHECK(high & 1);               /* VIRTIO_F_VERSION_1 */
  R32(8) = 0; R32(12) = 0; R32(8) = 1; R32(12) = 1;
  R8(0x14) = 11; CHECK(R8(0x14) & 8);
  CHECK(R16(0x12) >= 1);
  R16(0x16) = 0; CHECK(R16(0x18) >= 8); R16(0x18) = 8;
  R32(0x20) = (u32)desc; R32(0x24) = 0; R32(0x28) = (u32)&avail; R32(0x2c) = 0; R32(0x30) = (u32)&used; R32(0x34) = 0;
  memset(&avail, 0, sizeof avail); memset((void *)&used, 0, sizeof used);
  notify_at = notify + R16(0x1e) * multiplier;
  R16(0x1c) = 1;
  R8(0x14) = 15;
}
static u8 request(u32 type, u32 sector, void *buffer, u32 n) {
  header.type = type; header.reserved = 0; header.sector = sector; status = 0xee;
  desc[0].addr = (u32)&header; desc[0].len = 16; desc[0].flags = 1; desc[0].next = 1;
  desc[1].addr = (u32)buffer; desc[1].len = n; desc[1].flags = 1 | (type == 0 ? 2 : 0); desc[1].next = 2;
  desc[2].addr = (u32)&status; desc[2].len = 1; desc[2].flags = 2; desc[2].next = 0;
  if (n == 0) desc[0].next = 2;
  u16 before = used.idx;
  avail.ring[avail.idx & 7] = 0;
  asm volatile("lock addl $0, (%%esp)" ::: "memory");
  avail.idx++;
  asm volatile("lock addl $0, (%%esp)" ::: "memory");
  *(volatile u16 *)notify_at = 0;
  for (u32 i = 0; i < 200000000 && used.idx == before; i++) asm volatile("pause");
  EQUAL((u16)(used.idx - before), 1);
  return status;
}
static void negotiate(void) { start_device(); EQUAL(*(volatile u32 *)device, 2048); EQUAL(*(volatile u32 *)(device + 4), 0); }
static void read(void) {
  EQUAL(request(0, 0, data, 512), 0);
  for (u32 i = 0; i < 512; i++) if (data[i] != (u8)(i * 3)) { EQUAL(data[i], (u8)(i * 3)); break; }
  EQUAL(used.ring[(used.idx - 1) & 7].len, 513);
  EQUAL(request(0, 7, data, 4096), 0);
  for (u32 i = 0; i < 4096; i++) if (data[i] != (u8)(i * 3 + (i / 512 + 7))) { EQUAL(data[i], (u8)(i * 3 + (i / 512 + 7))); break; }
}
static void write(void) {
  for (u32 i = 0; i < 4096; i++) data[i] = i * 13 + (i >> 8);
  EQUAL(request(1, 100, data, 4096), 0);
  EQUAL(request(4, 0, 0, 0) & ~2, 0);                            /* flush: OK or unsupported */
  EQUAL(request(0, 100, copy, 4096), 0); EQUAL(memcmp(data, copy, 4096), 0);
  EQUAL(request(0, 104, copy, 512), 0); EQUAL(memcmp(data + 4 * 512, copy, 512), 0);
}
static void beyond_the_end(void) { EQUAL(request(0, 2048, copy, 512), 1); EQUAL(request(0, 2040, copy, 512), 0); EQUAL(request(0x40, 0, copy, 512), 2); }
static volatile u32 irqs, isr_status;
static void irq(struct frame *f) { irqs++; isr_status = *(volatile u8 *)isr_at; u32 v = f->vector; if (v >= 0x28) outb(0xa0, 0x20); outb(0x20, 0x20); }
static void interrupt(void) {
  u32 line = cfg(dev, 0x3c) & 255;
  if (line > 15) { skip("the interrupt line is an I/O APIC input"); return; }
  (void)*(volatile u8 *)isr_at;
  handlers[0x20 + line] = irq;
  pic_unmask(line);
  EQUAL(request(0, 1, copy, 512), 0);
  sti(); for (u32 i = 0; i < 100000000 && !irqs; i++) asm volatile("pause"); cli();
  EQUAL(irqs, 1); EQUAL(isr_status & 1, 1);
  EQUAL(*(volatile u8 *)isr_at, 0);
  pic_mask_all();
}
static void reset(void) { start_device(); EQUAL(request(0, 0, copy, 512), 0); EQUAL(copy[5], 15); }
const struct test tests[] = { { "found on PCI with its capabilities", find }, { "features, queue, capacity", negotiate }, { "read", read }, { "write, flush, read back", write }, { "errors: out of range, unknown request", beyond_the_end }, { "INTx interrupt", interrupt }, { "reset and start again", reset }, { 0, 0 } };
