// root and supervisor as wasm over a model of the kernel: what they build, in which order, with which rights; what they do when a server dies.
import { beforeAll, describe, expect, it } from 'vitest';
import { server } from './harness.ts';
import { elf, TEXT, DATA } from './elf-file.ts';
import { KernelModel, Blocked, Untyped, Table, Space, Frames, Thread, Device, Notify, Endpoint, type Cap, type Event } from './kernel-model.ts';
import { BOOTINFO } from '../../microkernel/abi/bootinfo.ts';
import { VM_MAP } from '../../microkernel/abi/layout.ts';
import { OBJECTS } from '../../microkernel/abi/objects.ts';
import { RING } from '../../servers/protocols/ring.ts';
import { STARTUP, ROLE, REGION, SERVERS, SERVER_TABLE, SUPERVISOR_BITS, LOG } from '../../servers/protocols/startup.ts';

const MODULES = ['supervisor', 'process', 'fs', 'tty', 'uart', 'virtio-blk', 'net', 'virtio-net'];
const number = (name: (typeof SERVERS)[number]): number => SERVERS.indexOf(name);

interface Machine { kernel: KernelModel; console: () => string; powered: () => boolean; pci: Map<number, number>; run(events: Event[]): void }
/** PCI configuration space of one virtio-blk function: BAR1 4 KiB at 0xfebf1000, BAR4 16 KiB 64-bit at 0xfe000000, line 11. */
function pciSpace(): Map<number, number> {
  return new Map([[0x00, 0x10421af4], [0x04, 0x00100003], [0x08, 0x01000001], [0x0c, 0], [0x10, 0xc001], [0x14, 0xfebf1000], [0x20, 0xfe00000c], [0x24, 0], [0x34, 0x98], [0x3c, 0x010b]]);
}
async function boot(options: { modules?: string[]; disk?: boolean; cmdline?: string; cpus?: number } = {}): Promise<Machine> {
  const names = options.modules ?? MODULES;
  const table = new Table(4096), space = new Space(), thread = new Thread(), paddr = { next: 0x1000000 };
  const root = new KernelModel(table, space, thread, paddr);
  const h = BOOTINFO.handles;
  const put = (slot: number, cap: Cap['object']): void => { root.put(table, slot, { object: cap, rights: 0xff, badge: 0 }); };
  put(h.table, table); put(h.space, space); put(h.thread, thread); put(h.ioPorts, new Device('ports'));
  const info = Buffer.alloc(4096), f = BOOTINFO.fields;
  let slot: number = h.firstFree;
  const set = (offset: number, value: number): void => { info.writeUInt32LE(value >>> 0, offset); };
  set(f.magic, BOOTINFO.magic); set(f.version, 1); set(f.cpus, options.cpus ?? 4); set(f.memoryPages, 32768);
  set(f.untypedFirst, slot); set(f.untypedCount, 6);
  for (const bits of [25, 25, 25, 23, 22, 12]) put(slot++, new Untyped(bits));
  set(f.moduleFirst, slot); set(f.moduleCount, names.length);
  let at: number = f.names;
  names.forEach((name, n) => {
    const file = elf([TEXT, DATA], 0x08048010 + n);
    const frames = new Frames(file.length / 4096, paddr.next);
    frames.data.set(file);
    put(slot++, frames);
    set(f.modules + n * 16, file.length); set(f.modules + n * 16 + 4, at);
    const text = n % 2 === 0 ? name : `build/guest/${name}.elf`; // both forms occur
    at += info.write(`${text}\0`, at, 'latin1');
  });
  set(f.irqFirst, slot); set(f.irqCount, 24);
  const irqs = Array.from({ length: 24 }, (_, n) => new Device(`irq${n}`));
  for (const d of irqs) put(slot++, d);
  set(f.mmioFirst, slot); set(f.mmioCount, 1);
  put(slot++, new Untyped(25, 0xfd000000, true));
  info.write(`${options.cmdline ?? 'place=pin run=sh%00-c'}\0`, f.cmdline, 'latin1');

  let text = '', on = true, address = 0;
  const pci = pciSpace();
  const sizing = new Set<number>();
  const intrinsics = (k: () => KernelModel): Record<string, (...a: number[]) => number | undefined> => ({ sys_enter: (regs) => k().sysEnter(regs ?? 0), barrier: () => undefined, mark: () => undefined });
  const portIn = (port: number): number => {
    if (port === 0x3fd) return 0x20;
    if (port !== 0xcfc || options.disk === false || ((address >>> 11) & 31) !== 3 || ((address >>> 8) & 7) !== 0) return -1;
    const reg = address & 0xfc;
    if (sizing.has(reg)) return reg === 0x10 ? 0xffffff81 : reg === 0x14 ? 0xfffff000 : reg === 0x20 ? 0xffffc00c : reg === 0x24 ? 0xffffffff : 0;
    return pci.get(reg) ?? 0;
  };
  const portOut = (port: number, _bytes: number, v: number): void => {
    if (port === 0x3f8) text += String.fromCharCode(v);
    else if (port === 0x604 && v === 0x2000) on = false;
    else if (port === 0xcf8) address = v >>> 0;
    else if (port === 0xcfc) {
      const reg = address & 0xfc;
      if (reg < 0x10 || reg >= 0x28) pci.set(reg, v >>> 0);
      else if (v >>> 0 === 0xffffffff) sizing.add(reg);
      else { sizing.delete(reg); pci.set(reg, v >>> 0); }
    }
  };
  root.portIn = portIn; root.portOut = portOut;
  const rootProcess = await server('servers/root/main.ts', intrinsics(() => root));
  root.process = rootProcess;
  rootProcess.u8.set(info, BOOTINFO.va);
  expect(() => rootProcess.exports['main']!(BOOTINFO.va)).toThrow(Blocked);
  expect(root.failures, text).toEqual([]);
  root.syncOut();

  const target = [...table.slots.values()].map((c) => c.object).find((o): o is Thread => o instanceof Thread && o.running);
  expect(target, text).toBeDefined();
  const kernel = new KernelModel(target!.table!, target!.space!, target!, paddr);
  kernel.portIn = portIn; kernel.portOut = portOut;
  const supervisor = await server('servers/supervisor/main.ts', intrinsics(() => kernel));
  kernel.process = supervisor;
  kernel.syncIn();
  let started = false;
  return {
    kernel, pci, console: () => text, powered: () => on,
    run(events) {
      kernel.events = events;
      // The wasm instance cannot be resumed after Blocked: the whole life of the supervisor is one run.
      expect(started).toBe(false);
      started = true;
      expect(() => supervisor.exports['main']!(VM_MAP.startupPage)).toThrow(Blocked);
      kernel.syncOut();
      expect(text, kernel.failures.join()).toContain('kintsugi: ');
    },
  };
}
/** What a target finds on its startup page. */
function startup(t: Thread): { name: string; epoch: number; cpu: number; handles: Map<number, number>; regions: Map<number, { va: number; pages: number; flags: number }>; args: string[] } {
  const m = t.space!.mappings.find((k) => k.va === VM_MAP.startupPage)!;
  expect(m.rights).toBe(1);
  const p = m.frames.data, f = STARTUP.fields;
  expect(p.readUInt32LE(f.magic)).toBe(STARTUP.magic);
  const handles = new Map<number, number>(), regions = new Map<number, { va: number; pages: number; flags: number }>();
  for (let n = 0; n < p.readUInt32LE(f.handleCount); n++) handles.set(p.readUInt32LE(STARTUP.handles + n * 8), p.readUInt32LE(STARTUP.handles + n * 8 + 4));
  for (let n = 0; n < p.readUInt32LE(f.regionCount); n++) { const at = STARTUP.regions + n * 16; regions.set(p.readUInt32LE(at), { va: p.readUInt32LE(at + 4), pages: p.readUInt32LE(at + 8), flags: p.readUInt32LE(at + 12) }); }
  const args = p.subarray(STARTUP.args, STARTUP.args + p.readUInt32LE(f.argBytes)).toString('latin1').split('\0').slice(0, p.readUInt32LE(f.argc));
  return { name: p.subarray(f.name, f.name + 32).toString('latin1').replace(/\0.*$/s, ''), epoch: p.readUInt32LE(f.epoch), cpu: p.readUInt32LE(f.cpu), handles, regions, args };
}
function threads(m: Machine): Map<string, Thread> {
  const found = new Map<string, Thread>();
  for (const c of m.kernel.table.slots.values()) if (c.object instanceof Thread && !c.object.dead && c.object.space && c.object !== m.kernel.thread) found.set(startup(c.object).name, c.object);
  return found;
}
const capOf = (t: Thread, role: number): Cap => { const c = t.table!.slots.get(startup(t).handles.get(role)! & 0xfffff); expect(c, `role ${role}`).toBeDefined(); return c!; };
const bits = (...names: (typeof SERVERS)[number][]): Event => ({ bits: names.reduce((b, n) => b | (1 << number(n)), 0) });

describe('root and supervisor', () => {
  let m: Machine, all: Map<string, Thread>;
  beforeAll(async () => {
    m = await boot();
    m.run([bits('virtio-blk', 'uart0', 'uart1'), bits('fs', 'tty', 'net'), bits('process')]);
    all = threads(m);
  });

  it('builds and starts every server without one refused operation', () => {
    expect(m.kernel.failures).toEqual([]);
    expect([...all.keys()].sort()).toEqual(['fs', 'net', 'process', 'tty', 'uart0', 'uart1', 'virtio-blk']);
    for (const t of all.values()) { expect(t.running).toBe(true); expect(t.registers[7]).toBe(VM_MAP.stackTop - 16); expect(t.registers[0]).toBe(VM_MAP.startupPage); }
  });
  it('places them as pinned, one line each with the vCPU', () => {
    for (const [name, cpu] of [['fs', 1], ['tty', 0], ['process', 0], ['uart0', 3], ['virtio-blk', 3], ['net', 2]] as const) {
      expect(all.get(name)!.cpu).toBe(cpu);
      expect(m.console()).toMatch(new RegExp(`cpu${cpu}  ${name} ready after [0-9]+\\.[0-9]{3} ms`));
    }
    expect(m.console().startsWith('kintsugi: 4 vCPUs, 128 MiB, placement pin')).toBe(true);
  });
  it('joins the two sides of a ring: same Frames, opposite rights, doorbells with the bit of the other side', () => {
    for (const [owner, ownerRing, worker, workerRing] of [['process', 0, 'fs', 0], ['process', 1, 'tty', 0], ['fs', 1, 'virtio-blk', 0], ['tty', 1, 'uart0', 0], ['tty', 2, 'uart1', 0]] as const) {
      const o = all.get(owner)!, w = all.get(worker)!;
      const find = (t: Thread, role: number): { frames: Frames; rights: number; pages: number } => { const r = startup(t).regions.get(role)!; return t.space!.mappings.find((k) => k.va === r.va)!; };
      const or = find(o, REGION.ringRequest + ownerRing), wr = find(w, REGION.ringRequest + workerRing);
      expect(or.frames).toBe(wr.frames); expect([or.rights, wr.rights]).toEqual([3, 1]);
      const os = find(o, REGION.ringStatus + ownerRing), ws = find(w, REGION.ringStatus + workerRing);
      expect(os.frames).toBe(ws.frames); expect([os.rights, ws.rights]).toEqual([1, 3]);
      if (owner !== 'fs') expect(find(o, REGION.ringData + ownerRing).frames).toBe(find(w, REGION.ringData + workerRing).frames);
      const ob = capOf(o, ROLE.peerNotify + ownerRing), wb = capOf(w, ROLE.peerNotify + workerRing);
      expect(ob.object).toBe(w.notify); expect(ob.badge).toBe(1 << workerRing); expect(ob.rights).toBe(OBJECTS.Notify.rights.signal);
      expect(wb.object).toBe(o.notify); expect(wb.badge).toBe(1 << ownerRing);
    }
  });
  it('gives process what it needs to be called and to run programs, and only process', () => {
    const p = all.get('process')!;
    expect(capOf(p, ROLE.endpoint)).toMatchObject({ rights: OBJECTS.Endpoint.rights.receive, badge: 0 });
    expect(capOf(p, ROLE.processEndpoint)).toMatchObject({ rights: OBJECTS.Endpoint.rights.send | OBJECTS.Endpoint.rights.grant, badge: 0 });
    expect(capOf(p, ROLE.endpoint).object).toBe(capOf(p, ROLE.processEndpoint).object);
    expect((capOf(p, ROLE.programsUntyped).object as Untyped).bits).toBe(25);
    const s = startup(p), pool = s.handles.get(ROLE.replyPool)!;
    expect(s.handles.get(ROLE.replyCount)).toBe(64);
    for (let n = 0; n < 64; n++) expect(p.table!.slots.get(pool + n)?.object.kind).toBe(OBJECTS.Reply.type);
    for (const name of ['fs', 'tty', 'virtio-blk'] as const) expect(capOf(p, ROLE.serverThread + number(name)).object).toBe(all.get(name));
    expect(s.args).toEqual(['process', 'place=pin', 'run=sh%00-c']);
    for (const [name, t] of all) if (name !== 'process') expect([...t.table!.slots.values()].some((c) => c.object instanceof Endpoint)).toBe(false);
  });
  it('maps state and cache of fs read-only, adjacent, declared to the window; drivers know the cache by address only', () => {
    const fs = all.get('fs')!, s = startup(fs);
    const state = s.regions.get(REGION.state)!, cache = s.regions.get(REGION.dma)!;
    expect(state).toMatchObject({ va: VM_MAP.state, pages: 256 });
    expect(cache).toMatchObject({ va: VM_MAP.state + 256 * 4096, pages: 4096 });
    for (const r of [state, cache]) expect(fs.space!.mappings.find((k) => k.va === r.va)).toMatchObject({ rights: 1, window: true });
    const blk = startup(all.get('virtio-blk')!);
    expect(blk.regions.get(REGION.dma + 1)).toEqual({ va: 0, pages: 4096, flags: cache.flags });
    expect(blk.regions.get(REGION.dma)!.pages).toBe(8);
  });
  it('gives the block driver its BARs at their addresses, its line and its configuration, with decoding and bus mastering on', () => {
    const blk = all.get('virtio-blk')!, s = startup(blk);
    const bar = (n: number): number => (blk.space!.mappings.find((k) => k.va === s.regions.get(REGION.mmio + n)!.va)!.frames).paddr;
    expect(bar(4)).toBe(0xfe000000);
    expect(bar(1)).toBe(0xfebf1000);
    expect((capOf(blk, ROLE.device).object as Device).name).toBe('irq11');
    expect(m.pci.get(4)! & 6).toBe(6);
    const config = blk.space!.mappings.find((k) => k.va === s.regions.get(REGION.pciConfig)!.va)!;
    expect(config.rights).toBe(1);
    expect(config.frames.data.readUInt32LE(0)).toBe(0x10421af4);
    expect(config.frames.data.readUInt32LE(0x20)).toBe(0xfe00000c);
  });
  it('gives the serial drivers their eight ports and line, and tells them the base', () => {
    for (const [name, port, line] of [['uart0', 0x3f8, 'irq4'], ['uart1', 0x2f8, 'irq3']] as const) {
      const t = all.get(name)!;
      expect((capOf(t, ROLE.device).object as Device).name).toBe(line);
      expect(capOf(t, ROLE.device + 1).badge).toBe(port | (8 << 16));
      expect(startup(t).args).toEqual([name, String(port)]);
    }
  });
  it('leaves a guard page below every stack and between image and heap', () => {
    for (const t of all.values()) {
      const s = startup(t), mapped = (va: number): boolean => t.space!.mappings.some((k) => va >= k.va && va < k.va + k.pages * 4096);
      expect(mapped(s.regions.get(REGION.stack)!.va - 4096)).toBe(false);
      expect(mapped(s.regions.get(REGION.heap)!.va - 4096)).toBe(false);
      const f = s.regions.get(REGION.fiberStacks)!;
      for (let n = 0; n < f.pages / f.flags; n++) {
        const low = f.va + n * (f.flags + 1) * 4096;
        expect(mapped(low)).toBe(true); expect(mapped(low + f.flags * 4096 - 1)).toBe(true); expect(mapped(low - 1)).toBe(false);
      }
    }
  });
  it('maps nothing both writable and executable', () => {
    for (const t of all.values()) for (const k of t.space!.mappings) expect(k.rights & 6).not.toBe(6);
  });
  it('publishes the server table to process', () => {
    const p = all.get('process')!, r = startup(p).regions.get(REGION.servers)!;
    const page = p.space!.mappings.find((k) => k.va === r.va)!;
    expect(page.rights).toBe(1);
    expect(page.frames.data.readUInt32LE(SERVER_TABLE.count)).toBe(SERVERS.length);
    SERVERS.forEach((name, n) => {
      const e = SERVER_TABLE.entries + n * SERVER_TABLE.entry.size;
      expect(page.frames.data.subarray(e + SERVER_TABLE.entry.name, e + SERVER_TABLE.entry.size).toString('latin1').replace(/\0.*$/s, '')).toBe(name);
      expect(page.frames.data.readUInt32LE(e + SERVER_TABLE.entry.state)).toBe(name === 'virtio-net' ? 0 : 2); // a machine without network
    });
  });
});

describe('supervisor', () => {
  it('goes on without a disk and without a module, and says so', async () => {
    const m = await boot({ disk: false, modules: ['supervisor', 'process', 'tty', 'uart'] });
    m.run([]);
    expect(m.kernel.failures).toEqual([]);
    expect(m.console()).toContain('virtio-blk absent: no virtio block device');
    expect(m.console()).toContain('fs absent: its module was not loaded');
    expect([...threads(m).keys()].sort()).toEqual(['process', 'tty', 'uart0', 'uart1']);
  });
  it('follows the caller when told so, and folds homes onto fewer CPUs', async () => {
    const m = await boot({ cmdline: 'place=follow', cpus: 2 });
    m.run([]);
    for (const t of threads(m).values()) { expect(t.flags).toBe(1); expect(t.cpu).toBeLessThan(2); }
  });
  it('prints whole log lines under the server name, keeps the rest for later, and believes no head', async () => {
    const m = await boot();
    const u8 = (): Uint8Array => m.kernel.process!.u8;
    const page = (name: (typeof SERVERS)[number]): number => 0x61000000 + number(name) * 4096;
    const write = (name: (typeof SERVERS)[number], text: string): void => {
      const p = page(name), v = new DataView(u8().buffer);
      v.setUint32(p + LOG.fields.magic, LOG.magic, true);
      let head = v.getUint32(p + LOG.fields.head, true);
      for (const c of Buffer.from(text, 'latin1')) u8()[p + LOG.data + (head++ & (LOG.bytes - 1))] = c;
      v.setUint32(p + LOG.fields.head, head, true);
    };
    m.run([
      { run: () => { write('fs', 'mounted\nnext '); write('tty', 'a\x1b[2Jb\n'); } }, { bits: SUPERVISOR_BITS.log },
      { run: () => write('fs', 'line\n') }, { bits: SUPERVISOR_BITS.log },
      { run: () => new DataView(u8().buffer).setUint32(page('tty') + LOG.fields.head, 0x80000000, true) }, { bits: SUPERVISOR_BITS.log },
    ]);
    expect(m.console()).toContain('fs: mounted\r\n');
    expect(m.console()).toContain('fs: next line\r\n');
    expect(m.console()).toContain('tty: a?[2Jb\r\n');
    expect(m.console()).toMatch(/tty: [0-9]+ bytes of log lost/);
  });
  it('restarts a driver that faulted: device reset, a new incarnation with the next epoch, the same rings and Notify', async () => {
    const m = await boot();
    let before: Thread | undefined;
    m.run([
      bits('virtio-blk', 'uart0', 'uart1', 'fs', 'tty', 'net', 'process'),
      { run: () => { before = threads(m).get('uart0'); } },
      { badge: number('uart0'), words: [14, 6, 0x08048123, 0xdeadbeef, 0xbeffff00, 0x202, 9] },
      bits('uart0'),
    ]);
    expect(m.kernel.failures).toEqual([]);
    expect(m.kernel.replies).toEqual([1]);
    const after = threads(m).get('uart0')!;
    expect(before!.dead).toBe(true);
    expect(after.running).toBe(true);
    expect(after.notify).toBe(before!.notify);
    expect(startup(after).epoch).toBe(2);
    expect((capOf(after, ROLE.device).object as Device).resets).toBe(1);
    expect(m.console()).toContain('uart0 died on cpu3: page fault at 0x08048123 error 0x00000006 address 0xdeadbeef');
    expect(m.console()).toMatch(/cpu3 {2}uart0 restarted, epoch 2 ready after/);
    expect(capOf(threads(m).get('process')!, ROLE.serverThread + number('uart0')).object).toBe(after);
    const tty = threads(m).get('tty')!;
    expect(capOf(tty, ROLE.peerNotify + 1).object).toBe(after.notify); // the doorbell still rings
  });
  it('prepares twins when everybody is up, and a restart activates one: no loading, the next twin in the memory of the dead', async () => {
    const m = await boot();
    const up = bits('virtio-blk', 'uart0', 'uart1', 'fs', 'tty', 'net', 'process');
    const waiting = (): Thread[] => [...m.kernel.table.slots.values()].map((c) => c.object).filter((o): o is Thread => o instanceof Thread && !o.dead && o.space === undefined && o.parent !== undefined);
    let before = 0, prepared: Thread[] = [], moduleMaps = 0, after: Thread | undefined;
    m.run([
      { run: () => { before = waiting().length; } }, up, { idle: true },
      { run: () => { prepared = waiting(); moduleMaps = m.kernel.moduleMaps; } },
      { badge: number('tty'), words: [14, 6, 0x08048123, 0, 0, 0, 0, 0] },
      { run: () => { after = threads(m).get('tty'); expect(m.kernel.moduleMaps).toBe(moduleMaps); expect(waiting().length).toBe(5); } },
      bits('tty'), { idle: true },
    ]);
    expect(m.kernel.failures).toEqual([]);
    expect(before).toBe(0);
    expect(prepared.length).toBe(6); // all but process
    expect(prepared).toContain(after);
    expect(startup(after!).epoch).toBe(2);
    expect(waiting().length).toBe(6);
  });
  it('does not activate a twin whose text was damaged', async () => {
    const m = await boot();
    let twin: Thread | undefined;
    m.run([
      bits('virtio-blk', 'uart0', 'uart1', 'fs', 'tty', 'net', 'process'), { idle: true },
      { run: () => {
        for (const c of m.kernel.table.slots.values()) if (c.object instanceof Thread && !c.object.dead && c.object.space === undefined && c.object.parent !== undefined) {
          const u = c.object.parent!;
          for (const f of u.children) if (f instanceof Frames && f.data.length === 0x2000) f.data[0x100]! ^= 1; // the text segment
          twin = c.object;
        }
      } },
      { badge: number('tty'), words: [14, 6, 0x08048123, 0, 0, 0, 0, 0] }, bits('tty'),
    ]);
    expect(m.kernel.failures).toEqual([]);
    const after = threads(m).get('tty')!;
    expect(after.running).toBe(true);
    expect(twin).not.toBe(after);
    const text = after.space!.mappings.find((k) => k.va === 0x08048000)!;
    expect(text.frames.data[0x100]).toBe(0);
  });
  it('kills on request of process, and takes bus mastering away while the block driver is down', async () => {
    const m = await boot();
    m.run([bits('virtio-blk'), { bits: (1 << (16 + number('virtio-blk'))) >>> 0 }, bits('virtio-blk')]);
    expect(m.console()).toContain('virtio-blk is killed on request');
    expect(m.console()).toMatch(/virtio-blk restarted, epoch 2/);
    expect(m.pci.get(4)! & 6).toBe(6);
  });
  it('gives up a server that dies six times in a row', async () => {
    const m = await boot();
    const die: Event = { badge: number('tty'), words: [6, 0, 0x08048000, 0, 0, 0, 0] };
    m.run([die, die, die, die, die, die, die]);
    expect(m.console()).toContain('tty is given up: died too often');
    expect(m.console().match(/tty died on/g)!.length).toBe(7);
    expect(threads(m).get('tty')?.running ?? false).toBe(false);
  });
  it('repeated restarts leak no capability slots', async () => {
    const m = await boot();
    let slots = 0;
    const die: Event = { badge: number('fs'), words: [6, 0, 0x08048000, 0, 0, 0, 0] };
    m.run([die, { run: () => { slots = m.kernel.table.slots.size; } }, die, die, die]);
    expect(m.kernel.table.slots.size).toBe(slots);
    expect(m.kernel.failures).toEqual([]);
  });
  it('powers off when process asks', async () => {
    const m = await boot();
    m.run([{ bits: SUPERVISOR_BITS.powerOff }]);
    expect(m.powered()).toBe(false);
    expect(m.console()).toContain('power off');
  });
  it('only process may ask for power off or kills', async () => {
    const m = await boot();
    m.run([]);
    for (const [name, t] of threads(m)) {
      const c = capOf(t, ROLE.supervisorNotify);
      expect(c.object).toBeInstanceOf(Notify);
      const mine = (1 << number(name as (typeof SERVERS)[number])) | SUPERVISOR_BITS.log;
      if (name === 'process') expect(c.badge & ~mine).not.toBe(0); else expect(c.badge).toBe(mine);
    }
  });
});

// Ring 0 of the manifest: process posts, fs serves. The test writes both halves where the supervisor has them mapped.
describe('the decision for what a dead worker had taken', () => {
  const VIEW = 0x63000000, STATUS = VIEW + 0x2000, FLAGS_OF_FS = VM_MAP.state + 0x1000 + 3 * 512 + 12, NO_JOURNAL = 16;
  const { request, status, state } = RING;
  const words = (m: Machine): DataView => new DataView(m.kernel.process!.u8.buffer);
  /** Slot `slot` holds request `id`: posted, and by now in `is` under `epoch`. */
  function entry(m: Machine, slot: number, id: number, is: 'posted' | 'taken' | 'done', epoch: number, readonly = false): void {
    const v = words(m), e = VIEW + request.header.size + slot * request.entry.size, a = STATUS + status.header.size + slot * status.entry.size;
    v.setUint32(e + request.entry.seq, id, true); v.setUint32(e + request.entry.id, id, true); v.setUint32(e + request.entry.op, 4, true); v.setUint32(e + request.entry.flags, readonly ? RING.flags.readonly : 0, true);
    v.setUint32(a + status.entry.seq, is === 'posted' ? id - 1 : id, true); v.setUint32(a + status.entry.state, is === 'taken' ? state.taken : state.done, true);
    v.setUint32(a + status.entry.epoch, epoch, true); v.setUint32(a + status.entry.status, 0, true);
  }
  const running = (m: Machine, slot: number): void => words(m).setUint32(STATUS + status.header.running, slot + 1, true);
  const look = (m: Machine, slot: number): { state: number; status: number; r0: number } => {
    const v = words(m), a = STATUS + status.header.size + slot * status.entry.size;
    return { state: v.getUint32(a + status.entry.state, true), status: v.getUint32(a + status.entry.status, true), r0: v.getUint32(a + status.entry.r0, true) };
  };
  const knocks = (m: Machine): number => (threads(m).get('process')!.notify as Notify).bits;
  const die: Event = { badge: number('fs'), words: [14, 6, 0x08048123, 0xdeadbeef, 0, 0, 0] };
  const kill: Event = { bits: (1 << (16 + number('fs'))) >>> 0 };
  const up = bits('virtio-blk', 'uart0', 'uart1', 'fs', 'tty', 'net', 'process');

  it('leaves what is answered, not taken, or can be done again to the ring: the owner posts it again', async () => {
    const m = await boot();
    m.run([up, { run: () => { entry(m, 0, 5, 'done', 1); entry(m, 1, 6, 'taken', 1); entry(m, 2, 7, 'posted', 0); running(m, 1); } }, die,
      { run: () => { expect([0, 1, 2].map((n) => look(m, n).state)).toEqual([state.done, state.taken, state.done]); expect(look(m, 1).status).toBe(0); expect(knocks(m) & 1).toBe(0); } }, bits('fs')]);
    expect(m.kernel.failures).toEqual([]);
  });
  it('poisons the request that ran at two deaths, and only that one', async () => {
    const m = await boot();
    m.run([up, { run: () => { entry(m, 1, 6, 'taken', 1); entry(m, 2, 7, 'taken', 1); running(m, 1); } }, die, bits('fs'),
      { run: () => { entry(m, 1, 8, 'taken', 2); words(m).setUint32(VIEW + request.header.size + request.entry.size + request.entry.id, 6, true); entry(m, 2, 9, 'taken', 2); running(m, 1); } }, die,
      { run: () => {
        expect(look(m, 1)).toMatchObject({ state: state.done, status: RING.poison });
        expect(look(m, 2).state).toBe(state.taken);
        expect(words(m).getUint32(STATUS + status.header.done, true)).toBe(1);
        expect(knocks(m) & 1).toBe(1);
      } }, bits('fs')]);
    expect(m.console()).toContain('fs: operation 4 of process is poison');
    expect(m.kernel.failures).toEqual([]);
  });
  it('gives no strike for a kill on request, nor to a request that only waited', async () => {
    const m = await boot();
    const again = (epoch: number, is: number): Event => ({ run: () => { entry(m, 1, 6, 'taken', epoch); entry(m, 2, 7, 'taken', epoch); running(m, is); } });
    m.run([up, again(1, 1), kill, bits('fs'), again(2, 1), kill, bits('fs'), again(3, 1), die, bits('fs'), again(4, 2), die, { run: () => { expect(look(m, 1).state).toBe(state.taken); expect(look(m, 2).state).toBe(state.taken); } }, bits('fs')]);
    expect(m.console()).not.toContain('poison');
  });
  it('answers RESTART with the new epoch for a worker without journal, but lets it do READONLY operations again', async () => {
    const m = await boot();
    m.run([up, { run: () => { words(m).setUint32(FLAGS_OF_FS, NO_JOURNAL, true); entry(m, 1, 6, 'taken', 1); entry(m, 2, 7, 'taken', 1, true); entry(m, 3, 8, 'posted', 0); } }, kill,
      { run: () => {
        expect(look(m, 1)).toEqual({ state: state.done, status: RING.restart, r0: 2 });
        expect(look(m, 2).state).toBe(state.taken);
        expect(look(m, 3).status).toBe(0);
        expect(knocks(m) & 1).toBe(1);
      } }, bits('fs')]);
    expect(m.kernel.failures).toEqual([]);
  });
  it('marks the ring of a server that is given up, and rings its owner', async () => {
    const m = await boot();
    m.run([up, die, die, die, die, die, { run: () => expect(words(m).getUint32(STATUS + status.header.failed, true)).toBe(0) }, die, { run: () => { expect(words(m).getUint32(STATUS + status.header.failed, true)).toBe(1); expect(knocks(m) & 1).toBe(1); } }]);
    expect(m.console()).toContain('fs is given up: died too often');
  });
});
