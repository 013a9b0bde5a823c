/*
 * virtio-net by the modern PCI interface (virtio 1.2, 5.1), and the user network behind it as QEMU has it: ARP, echo, DHCP, a refused
 * connection. One receive buffer at a time, so that it is known where a frame comes to lie.
 */
#include "lib/guest.h"
static u32 cfg(u32 dev, u32 off) { outl(0xcf8, 0x80000000 | dev << 11 | (off & 0xfc)); return inl(0xcfc); }
static void set_cfg(u32 dev, u32 off, u32 v) { outl(0xcf8, 0x80000000 | dev << 11 | (off & 0xfc)); outl(0xcfc, v); }
static u8 cfg8(u32 dev, u32 off) { return cfg(dev, off) >> (off & 3) * 8; }
static u32 dev = 32, common, notify, isr_at, device, multiplier, features;
#define R8(o) (*(volatile u8 *)(common + (o)))
#define R16(o) (*(volatile u16 *)(common + (o)))
#define R32(o) (*(volatile u32 *)(common + (o)))
#define SIZE 8
struct queue {
  struct { u64 addr; u32 len; u16 flags, next; } desc[SIZE] __attribute__((aligned(4096)));
  struct { u16 flags, idx, ring[SIZE], event; } avail __attribute__((aligned(4096)));
  volatile struct { u16 flags, idx; struct { u32 id, len; } ring[SIZE]; u16 event; } used __attribute__((aligned(4096)));
  u32 notify_at; u16 seen;
};
static struct queue rx, tx, control;
#define HEADER 12
static u8 in[4096] __attribute__((aligned(4096))), out[2048] __attribute__((aligned(4096)));
static u8 mac[6], gateway_mac[6];
static const u8 guest_ip[4] = { 10, 0, 2, 15 }, gateway_ip[4] = { 10, 0, 2, 2 };
#define F_CSUM 1u
#define F_MAC (1u << 5)
#define F_STATUS (1u << 16)
#define F_CTRL_VQ (1u << 17)
#define F_CTRL_RX (1u << 18)

static u32 bar(u32 n) { u32 v = cfg(dev, 0x10 + n * 4); return v & ~15u; }
static void barrier(void) { asm volatile("lock addl $0, (%%esp)" ::: "memory"); }
static void find(void) {
  for (u32 d = 0; d < 32; d++) { u32 id = cfg(d, 0); if (id == 0x10411af4 || id == 0x10001af4) dev = d; }
  CHECK(dev < 32);
  if (dev == 32) return;
  EQUAL(cfg(dev, 8) >> 16, 0x0200);
  set_cfg(dev, 4, (cfg(dev, 4) & 0xffff) | 6);
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
static void setup(u32 n, struct queue *q) {
  R16(0x16) = n; CHECK(R16(0x18) >= SIZE); R16(0x18) = SIZE;
  memset(&q->avail, 0, sizeof q->avail); memset((void *)&q->used, 0, sizeof q->used); q->seen = 0;
  R32(0x20) = (u32)q->desc; R32(0x24) = 0; R32(0x28) = (u32)&q->avail; R32(0x2c) = 0; R32(0x30) = (u32)&q->used; R32(0x34) = 0;
  q->notify_at = notify + R16(0x1e) * multiplier;
  R16(0x1c) = 1;
}
static void post(struct queue *q, u32 n, u32 head) {
  q->avail.ring[q->avail.idx % SIZE] = head;
  barrier(); q->avail.idx++; barrier();
  *(volatile u16 *)q->notify_at = n;
}
static void start_device(void) {
  R8(0x14) = 0; for (u32 i = 0; i < 1000000 && R8(0x14); i++);
  EQUAL(R8(0x14), 0);
  R8(0x14) = 1; R8(0x14) = 3;
  R32(0) = 1; CHECK(R32(4) & 1);
  R32(0) = 0; features = R32(4) & (F_CSUM | F_MAC | F_STATUS | F_CTRL_VQ | F_CTRL_RX);
  R32(8) = 0; R32(12) = features; R32(8) = 1; R32(12) = 1;
  R8(0x14) = 11; CHECK(R8(0x14) & 8);
  setup(0, &rx); setup(1, &tx);
  if (features & F_CTRL_VQ) setup(2, &control);
  R8(0x14) = 15;
  for (u32 i = 0; i < 6; i++) mac[i] = *(volatile u8 *)(device + i);
}
static void offer(void) { rx.desc[0].addr = (u32)in; rx.desc[0].len = sizeof in; rx.desc[0].flags = 2; rx.desc[0].next = 0; post(&rx, 0, 0); }
static void send(u32 n) {
  tx.desc[0].addr = (u32)out; tx.desc[0].len = HEADER + n; tx.desc[0].flags = 0; tx.desc[0].next = 0;
  post(&tx, 1, 0);
  for (u32 i = 0; i < 200000000 && tx.used.idx == tx.seen; i++) asm volatile("pause");
  EQUAL((u16)(tx.used.idx - tx.seen), 1); tx.seen = tx.used.idx;
}
static u32 be16(const u8 *p) { return p[0] << 8 | p[1]; }
static void put16(u8 *p, u32 v) { p[0] = v >> 8; p[1] = v; }
static u32 sum(const u8 *p, u32 n, u32 s) { for (u32 i = 0; i + 1 < n; i += 2) s += be16(p + i); if (n & 1) s += p[n - 1] << 8; while (s >> 16) s = (s & 0xffff) + (s >> 16); return s; }
#define FRAME (in + HEADER)
/* Waits for a frame of this type (and protocol); what else comes is let go. A buffer has been offered. Its length, or 0. */
static u32 receive(u32 type, u32 protocol) {
  for (u32 tries = 0; tries < 50; tries++) {
    for (u32 i = 0; i < 400000000 && rx.used.idx == rx.seen; i++) asm volatile("pause");
    if (rx.used.idx == rx.seen) return 0;
    u32 n = rx.used.ring[rx.seen % SIZE].len - HEADER;
    rx.seen++;
    if (be16(FRAME + 12) == type && (type != 0x800 || FRAME[23] == protocol)) return n;
    offer();
  }
  return 0;
}
static u8 *ethernet(const u8 *to, u32 type) { memset(out, 0, sizeof out); u8 *f = out + HEADER; memcpy(f, to, 6); memcpy(f + 6, mac, 6); put16(f + 12, type); return f + 14; }
/* IP header for n bytes of payload; where the payload goes. */
static u8 *ip(const u8 *to_mac, const u8 *from, const u8 *to, u32 protocol, u32 n) {
  u8 *p = ethernet(to_mac, 0x800);
  p[0] = 0x45; put16(p + 2, 20 + n); put16(p + 4, 7); p[8] = 64; p[9] = protocol; memcpy(p + 12, from, 4); memcpy(p + 16, to, 4);
  put16(p + 10, ~sum(p, 20, 0));
  return p + 20;
}
static const u8 everybody[6] = { 255, 255, 255, 255, 255, 255 };

static void negotiate(void) {
  start_device();
  static const u8 want[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
  CHECK(features & F_MAC);
  EQUAL(memcmp(mac, want, 6), 0);
  if (features & F_STATUS) EQUAL(*(volatile u16 *)(device + 6) & 1, 1);
}
static void arp(void) {
  u8 *a = ethernet(everybody, 0x806);
  put16(a, 1); put16(a + 2, 0x800); a[4] = 6; a[5] = 4; put16(a + 6, 1);
  memcpy(a + 8, mac, 6); memcpy(a + 14, guest_ip, 4); memcpy(a + 24, gateway_ip, 4);
  offer(); send(14 + 28);
  u32 n = receive(0x806, 0);
  CHECK(n >= 42); if (!n) return;
  EQUAL(be16(FRAME + 14 + 6), 2); EQUAL(memcmp(FRAME + 14 + 14, gateway_ip, 4), 0); EQUAL(memcmp(FRAME, mac, 6), 0);
  memcpy(gateway_mac, FRAME + 14 + 8, 6);
}
static u32 ping(u32 sequence, const u8 *data, u32 n) {
  u8 *p = ip(gateway_mac, guest_ip, gateway_ip, 1, 8 + n);
  p[0] = 8; put16(p + 4, 77); put16(p + 6, sequence); memcpy(p + 8, data, n);
  put16(p + 2, ~sum(p, 8 + n, 0));
  offer(); send(34 + 8 + n);
  u32 got = receive(0x800, 1);
  if (got < 34 + 8 + n) return 0;
  u8 *r = FRAME + 34;
  EQUAL(sum(FRAME + 14, 20, 0), 0xffff); EQUAL(sum(r, 8 + n, 0), 0xffff);
  EQUAL(r[0], 0); EQUAL(be16(r + 6), sequence); EQUAL(memcmp(r + 8, data, n), 0);
  return got;
}
static void echo(void) {
  static u8 data[1400];
  for (u32 n = 0; n < 20; n++) { for (u32 i = 0; i < sizeof data; i++) data[i] = i * 7 + n; CHECK(ping(n, data, n * 73) != 0); }
}
static void dhcp(void) {
  static const u8 nobody[4], all[4] = { 255, 255, 255, 255 };
  u8 *u = ip(everybody, nobody, all, 17, 8 + 300), *d = u + 8;
  put16(u, 68); put16(u + 2, 67); put16(u + 4, 308);
  d[0] = 1; d[1] = 1; d[2] = 6; put16(d + 4, 0xabcd); put16(d + 10, 0x8000); memcpy(d + 28, mac, 6);
  d[236] = 0x63; d[237] = 0x82; d[238] = 0x53; d[239] = 0x63; d[240] = 53; d[241] = 1; d[242] = 1; d[243] = 255;
  offer(); send(34 + 308);
  u32 n = receive(0x800, 17);
  CHECK(n > 34 + 8 + 240); if (!n) return;
  u8 *r = FRAME + 34 + 8;
  EQUAL(be16(FRAME + 34 + 2), 68); EQUAL(r[0], 2); EQUAL(be16(r + 4), 0xabcd); EQUAL(memcmp(r + 16, guest_ip, 4), 0);
}
static void refused(void) {
  u8 *t = ip(gateway_mac, guest_ip, gateway_ip, 6, 20);
  put16(t, 4321); put16(t + 2, 1); put16(t + 4, 0x1122); put16(t + 6, 0x3344); t[12] = 5 << 4; t[13] = 2; put16(t + 14, 1000);
  u32 pseudo = sum(guest_ip, 4, sum(gateway_ip, 4, 6 + 20));
  if (features & F_CSUM) { put16(t + 16, pseudo); out[0] = 1; out[6] = 34; out[8] = 16; }   /* 5.1.6.2: left to the device */
  else put16(t + 16, ~sum(t, 20, pseudo));
  offer(); send(34 + 20);
  u32 n = receive(0x800, 6);
  CHECK(n >= 54); if (!n) return;
  u8 *r = FRAME + 34;
  EQUAL(be16(r), 1); EQUAL(be16(r + 2), 4321); EQUAL(r[13], 0x14); EQUAL(be16(r + 8), 0x1122); EQUAL(be16(r + 10), 0x3345);
  EQUAL(sum(r, 20, sum(gateway_ip, 4, sum(guest_ip, 4, 6 + 20))), 0xffff);
}
/* A frame that comes to lie where code has run: the new bytes are what runs next. */
static void code(void) {
  u8 body[6] = { 0xb8, 0, 0, 0, 0, 0xc3 };                       /* mov eax, n; ret */
  u32 (*run)(void) = (u32 (*)(void))(FRAME + 34 + 8);
  for (u32 n = 1; n < 60; n++) {
    body[1] = n; body[2] = n * 3;
    CHECK(ping(100 + n, body, 6) != 0);
    for (u32 k = 0; k < 40; k++) EQUAL(run(), n | (n * 3 & 255) << 8);
  }
}
static void control_queue(void) {
  if (!(features & F_CTRL_RX)) { skip("no control queue for receive modes"); return; }
  static u8 command[3]; static volatile u8 acknowledge;
  command[0] = 0; command[1] = 0; command[2] = 0; acknowledge = 0xee; /* promiscuous off */
  control.desc[0].addr = (u32)command; control.desc[0].len = 3; control.desc[0].flags = 1; control.desc[0].next = 1;
  control.desc[1].addr = (u32)&acknowledge; control.desc[1].len = 1; control.desc[1].flags = 2; control.desc[1].next = 0;
  post(&control, 2, 0);
  for (u32 i = 0; i < 200000000 && control.used.idx == control.seen; i++) asm volatile("pause");
  EQUAL((u16)(control.used.idx - control.seen), 1); control.seen = control.used.idx;
  EQUAL(acknowledge, 0);
  CHECK(ping(200, command, 3) != 0);
}
static void reset(void) { start_device(); u8 data[4] = { 1, 2, 3, 4 }; CHECK(ping(300, data, 4) != 0); }
const struct test tests[] = {
  { "found on PCI with its capabilities", find }, { "features, queues, address", negotiate }, { "ARP of the gateway", arp }, { "echo", echo }, { "DHCP offer", dhcp },
  { "a refused connection, checksum left to the device", refused }, { "frames over code that has run", code }, { "control queue", control_queue }, { "reset and start again", reset }, { 0, 0 } };
