/*
 * Runs instruction snippets on the real CPU and reports all state afterwards. Static i386 Linux program without a C library.
 *
 * Each snippet is started by *returning from a signal*: the handler of the previous one records the saved context (registers,
 * flags, trap number, error code, CR2, x87/SSE image), puts the next case's state into the same context and returns; sigreturn
 * loads everything at once, ESP and EFLAGS included. Snippets end in INT3 or in the fault under test, so one mechanism sees all.
 * The handler has its own stack; therefore a snippet may do anything to ESP.
 *
 * stdin: case records, stdout: result records, both little-endian u32 words, described at `struct input` and `struct output`.
 * LOW, READ_ONLY, DATA, CODE and their _BYTES come from environment.ts through -D.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

struct input { u32 size, flags, codeAddr, codeLen, regs[8], eflags, mxcsr, patches; /* code padded, xmm[128]?, fpu[108]?, {addr, len, bytes padded}* */ };
struct output { u32 size, regs[8], eip, eflags, trapno, err, cr2, mxcsr, diffs; /* xmm[128]?, fpu[108]?, {addr, len, bytes padded}* */ };
enum { HAS_XMM = 1, HAS_FPU = 2 };

struct fpstate {
  u32 cw, sw, tag, ipoff, cssel, dataoff, datasel; u8 st[80]; u16 status, magic;
  u32 fxenv[6], mxcsr, mxcsrMask; u8 fxst[128]; u8 xmm[128]; u8 rest[224]; u32 xstateLow, xstateHigh;
};
struct context {
  u32 flags, link, stack[3];
  u32 gs, fs, es, ds, edi, esi, ebp, esp, ebx, edx, ecx, eax, trapno, err, eip, cs, eflags, espAtSignal, ss;
  struct fpstate *fp; u32 oldmask, cr2;
};

static int sys(int n, u32 a, u32 b, u32 c, u32 d, u32 e) {
  int r;
  asm volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
  return r;
}
static void die(const char *why) { u32 n = 0; while (why[n]) n++; sys(4, 2, (u32)why, n, 0, 0); sys(1, 2, 0, 0, 0, 0); for (;;); }
static void *map(u32 addr, u32 len, int prot) {
  u32 args[6] = { addr, len, prot, addr ? 0x32 : 0x22, -1, 0 };
  int r = sys(90, (u32)args, 0, 0, 0, 0);
  if ((u32)r > 0xfffff000u) die("harness: mmap failed\n");
  return (void *)r;
}
static void copy(void *d, const void *s, u32 n) { asm volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory"); }
static void fill(void *d, u8 v, u32 n) { asm volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(v) : "memory"); }
static u8 pattern(u32 a) { return (a * 0x9e3779b1u) >> 24; }

static const struct { u32 base, len; } window[2] = { { LOW, LOW_BYTES }, { DATA, DATA_BYTES } };
static u8 *pristine[2], *before[2];
static u8 *in, *inEnd, *out, *outStart, *codeAlias;
static struct input *current;

static void capture(struct context *c) {
  struct output *o = (struct output *)out;
  u8 *p = (u8 *)(o + 1);
  u32 *r = o->regs;
  r[0] = c->eax; r[1] = c->ecx; r[2] = c->edx; r[3] = c->ebx; r[4] = c->esp; r[5] = c->ebp; r[6] = c->esi; r[7] = c->edi;
  o->eip = c->eip; o->eflags = c->eflags; o->trapno = c->trapno; o->err = c->err; o->cr2 = c->cr2; o->mxcsr = c->fp->mxcsr; o->diffs = 0;
  if (current->flags & HAS_XMM) { copy(p, c->fp->xmm, 128); p += 128; }
  if (current->flags & HAS_FPU) { copy(p, c->fp, 108); p += 108; }
  for (int w = 0; w < 2; w++) {
    u32 *now = (u32 *)window[w].base, *was = (u32 *)before[w];
    for (u32 i = 0; i < window[w].len / 4; i++) {
      if (now[i] == was[i]) continue;
      u32 from = i;
      while (i < window[w].len / 4 && now[i] != was[i]) i++;
      u32 *d = (u32 *)p;
      d[0] = window[w].base + from * 4; d[1] = (i - from) * 4;
      copy(d + 2, now + from, d[1]);
      p += 8 + d[1]; o->diffs++;
    }
  }
  o->size = p - out; out = p;
}

static void load(struct context *c) {
  if (in >= inEnd) {
    u8 *p = outStart;
    while (p < out) { int n = sys(4, 1, (u32)p, out - p, 0, 0); if (n <= 0) die("harness: write failed\n"); p += n; }
    sys(1, 0, 0, 0, 0, 0);
  }
  struct input *i = current = (struct input *)in;
  u8 *p = (u8 *)(i + 1);
  in += i->size;
  static u32 oldAddr = CODE, oldLen = 0;
  fill(codeAlias + (oldAddr - CODE), 0xcc, oldLen);
  copy(codeAlias + (i->codeAddr - CODE), p, i->codeLen);
  oldAddr = i->codeAddr; oldLen = i->codeLen;
  p += (i->codeLen + 3) & ~3;
  c->fp->mxcsr = i->mxcsr; c->fp->xstateLow |= 3;
  if (i->flags & HAS_XMM) { copy(c->fp->xmm, p, 128); p += 128; }
  if (i->flags & HAS_FPU) { copy(c->fp, p, 108); p += 108; }
  else { c->fp->cw = 0x37f; c->fp->sw = 0; c->fp->tag = 0xffff; fill(c->fp->st, 0, 80); }
  for (int w = 0; w < 2; w++) copy((void *)window[w].base, pristine[w], window[w].len);
  for (u32 n = 0; n < i->patches; n++) {
    u32 *d = (u32 *)p;
    copy((void *)d[0], d + 2, d[1]);
    p += 8 + ((d[1] + 3) & ~3);
  }
  for (int w = 0; w < 2; w++) copy(before[w], (void *)window[w].base, window[w].len);
  c->eax = i->regs[0]; c->ecx = i->regs[1]; c->edx = i->regs[2]; c->ebx = i->regs[3];
  c->esp = i->regs[4]; c->ebp = i->regs[5]; c->esi = i->regs[6]; c->edi = i->regs[7];
  c->eflags = i->eflags; c->eip = i->codeAddr; c->cs = 0x23; c->ss = 0x2b; c->ds = 0x2b; c->es = 0x2b; c->fs = 0; c->gs = 0; c->cr2 = 0;
  asm volatile("" ::: "memory");
}

static void handler(int sig, void *info, struct context *c) {
  /* sigreturn does not load the ID flag: clear it here or a POPF that set it would leak into the next case. AC would check this code as well. */
  asm volatile("cld; pushf; andl $0xffdbffff, (%%esp); popf" ::: "cc");
  if (current) capture(c);
  load(c);
}
asm(".globl restorer\nrestorer: mov $173,%eax\n int $0x80\n");
extern void restorer(void);

void start(void) {
  u32 cap = 64 << 20, len = 0;
  in = map(0, cap, 3);
  for (;;) { int n = sys(3, 0, (u32)in + len, cap - len, 0, 0); if (n < 0) die("harness: read failed\n"); if (n == 0) break; len += n; if (len == cap) die("harness: too many cases\n"); }
  inEnd = in + len;
  out = outStart = map(0, 192 << 20, 3);
  for (int w = 0; w < 2; w++) {
    u8 *m = map(window[w].base, window[w].len, 3);
    pristine[w] = map(0, window[w].len, 3); before[w] = map(0, window[w].len, 3);
    for (u32 i = 0; i < window[w].len; i++) pristine[w][i] = pattern((u32)m + i);
  }
  u8 *ro = map(READ_ONLY, READ_ONLY_BYTES, 3);
  for (u32 i = 0; i < READ_ONLY_BYTES; i++) ro[i] = pattern((u32)ro + i);
  sys(125, (u32)ro, READ_ONLY_BYTES, 1, 0, 0);
  /* One memfd page mapped twice: snippets are written through the writable alias and fetched from the read-only mapping. */
  int fd = sys(356, (u32)"code", 0, 0, 0, 0);
  if (fd < 0 || sys(93, fd, CODE_BYTES, 0, 0, 0) < 0) die("harness: memfd failed\n");
  u32 a[6] = { 0, CODE_BYTES, 3, 1, fd, 0 };
  codeAlias = (u8 *)sys(90, (u32)a, 0, 0, 0, 0);
  u32 b[6] = { CODE, CODE_BYTES, 5, 0x11, fd, 0 };
  if ((u32)sys(90, (u32)b, 0, 0, 0, 0) != CODE) die("harness: code mapping failed\n");
  fill(codeAlias, 0xcc, CODE_BYTES);

  u32 ss[3] = { (u32)map(0, 1 << 20, 3), 0, 1 << 20 };
  sys(186, (u32)ss, 0, 0, 0, 0);
  struct { void *handler; u32 flags; void *restorer; u32 mask[2]; } act = { handler, 0x4 | 0x08000000 | 0x40000000 | 0x04000000, restorer, { 0, 0 } };
  static const int signals[] = { 4, 5, 7, 8, 11 };
  for (int i = 0; i < 5; i++) sys(174, signals[i], (u32)&act, 0, 8, 0);
  sys(27, 300, 0, 0, 0, 0);
  asm volatile("int3");
}
asm(".globl _start\n_start: cld\n call start\n hlt\n");
