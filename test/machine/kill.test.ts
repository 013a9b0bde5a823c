/**
 * The thread of a vCPU is ended from outside: a dead CPU, reported, no device lock held, and the rest of the machine goes on or stops with a message.
 * At random instants of disk, serial and APIC accesses, misaligned LOCKs and self-modifying code: 4 times, 300 with KINTSUGI_FULL.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { DeviceLock } from '../../vm/devices/lock.ts';
import { ParallelMachine } from '../../vm/parallel.ts';
import { PHYS, type PhysAddr } from '../../vm/board.ts';
import { COMMON, VIRTIO_REGION } from '../../vm/devices/virtio-pci.ts';
import { bareKernel, CODE, le32 } from './bare.ts';
import { Random } from './random-code.ts';

/** Rounds of CPU 0 and of CPU 1; CPU 0 ends the machine with status 3 when END is not 0. */
const ROUNDS = [0x20_0000, 0x1000] as const, END = 0x20_0100;
const store = (address: number, value: number): number[] => [0xc7, 0x05, ...le32(address), ...le32(value)];
/** Both vCPUs do nothing but touch devices; CPU 1 in real mode at 8000h. */
const twoAtDevices = (): number[] => {
  const other = [0xe4, 0x61, 0xff, 0x06, ...le32(ROUNDS[1]).slice(0, 2), 0xeb, 0xf8]; // in al, 61h; inc word [1000h]; jmp
  const start = [...store(0xfee0_00f0, 0x1ff), ...store(0xfee0_0300, 0xc_4500), ...store(0xfee0_0300, 0xc_4608)]; // INIT and SIPI to all but self
  const copy = (text: number): number[] => [0xbe, ...le32(text), 0xbf, ...le32(0x8000), 0xb9, ...le32(other.length), 0xf3, 0xa4];
  const loop = [0xe4, 0x61, 0xff, 0x05, ...le32(ROUNDS[0]), 0x80, 0x3d, ...le32(END), 0, 0x74, 0xef, 0xb0, 1, 0xe6, 0xf4]; // in; inc; cmp byte [END], 0; je; out f4h
  return [...copy(CODE + copy(0).length + start.length + loop.length), ...start, ...loop, ...other];
};
const machine = (): ParallelMachine => new ParallelMachine({ kernel: { name: 'two', bytes: bareKernel(twoAtDevices()) }, memoryMiB: 4, cpus: 2, mode: 'parallel', timeoutMs: 50_000 });
const lockOf = (m: ParallelMachine): DeviceLock => m.chipset.lock as DeviceLock;
/** Until the vCPU has gone some more rounds, or the machine has stopped. */
async function moves(m: ParallelMachine, cpu: 0 | 1): Promise<void> {
  const read = (): number => m.board.ramWords[ROUNDS[cpu] >> 2]!, before = read();
  while (!m.cpus.stopped && (read() - before & 0xffff) < 20) await new Promise((resolve) => { setTimeout(resolve, 2); });
}

describe('a vCPU whose thread is ended', { timeout: 60_000 }, () => {
  it.each([1, 2])('while both are at devices all the time (%i): the other goes on', async () => {
    const m = machine(), done = m.run();
    await moves(m, 0); await moves(m, 1);
    await m.killCpu(1);
    await moves(m, 0); // it has the lock again and again
    m.board.ram[END] = 1;
    const result = await done;
    expect([result.reason, result.status]).toEqual(['exit', 3]);
    expect(result.detail).toMatch(/^CPU 1: worker exited with code 1$/);
    expect(lockOf(m).owner).toBe(-1);
    m.close();
  });

  it('while it holds the lock: the host takes it over, and the boot processor may be the dead one', async () => {
    const m = machine(), done = m.run();
    await moves(m, 0); await moves(m, 1);
    lockOf(m).acquire(0); // in the name of CPU 0, which waits for it with CPU 1
    await m.killCpu(0);
    await moves(m, 1);
    m.stop();
    const result = await done;
    expect(result.reason).toBe('stopped');
    expect(result.detail).toMatch(/^CPU 0: worker exited with code 1$/);
    expect(lockOf(m).owner).toBe(-1);
    m.close();
  });

  it('when the rest waits for it for ever, the machine stops and says why', async () => {
    // CPU 0 halts with interrupts off; CPU 1, which could have sent it an NMI, dies.
    const code = twoAtDevices(), jump = code.findIndex((_, k) => code[k] === 0xe4 && code[k + 1] === 0x61);
    code.splice(jump, 2, 0xfa, 0xf4); // cli; hlt in place of in al, 61h
    const m = new ParallelMachine({ kernel: { name: 'two', bytes: bareKernel(code) }, memoryMiB: 4, cpus: 2, mode: 'parallel', timeoutMs: 50_000 }), done = m.run();
    await moves(m, 1);
    await m.killCpu(1);
    const result = await done;
    expect(result.reason).toBe('stopped');
    expect(result.detail).toBe('CPU 1: worker exited with code 1\nall vCPUs are halted and nothing will wake them');
    m.close();
  });
});

/** Where each vCPU has its ring, its counter, its code that changes; a doubleword across two pages for both. */
const BUSY = [0, 1].map((cpu) => ({ ring: 0x21_0000 + cpu * 0x4_0000, rounds: 0x20_0200 + cpu * 64, code: 0x20_4000 + cpu * 0x1000, bar: PHYS.pciMmio + cpu * 0x4000 })), SPLIT = 0x20_1ffe, GDT = 0x900, DATA_BYTES = 128 << 10;
/** Disk request, misaligned LOCK across a page, code that changes itself, ports, own APIC; count; end when END is not 0. */
function busyLoop({ ring, rounds, code, bar }: typeof BUSY[number]): number[] {
  const body = [
    0x66, 0xff, 0x05, ...le32(ring + 0x4002), 0x66, 0xc7, 0x05, ...le32(bar + VIRTIO_REGION.NOTIFY), 0, 0, // inc word [avail index]; mov word [doorbell], 0
    0xf0, 0xff, 0x05, ...le32(SPLIT), 0xb8, ...le32(code), 0xff, 0xd0, 0xfe, 0x05, ...le32(code + 1), // lock inc dword [SPLIT]; mov eax, code; call eax; inc byte [code + 1]
    0xe4, 0x61, 0x66, 0xba, 0xf8, 0x03, 0xee, 0xc7, 0x05, ...le32(0xfee0_0080), 0, 0, 0, 0, // in al, 61h; mov dx, 3f8h; out dx, al; mov [TPR], 0
    0xff, 0x05, ...le32(rounds), 0x80, 0x3d, ...le32(END), 0, // inc dword [rounds]; cmp byte [END], 0
  ];
  return [...body, 0x0f, 0x84, ...le32(-(body.length + 6)), 0xb0, 1, 0xe6, 0xf4];
}
function busyMachine(files: readonly string[]): ParallelMachine {
  const flat = [0x66, 0xb8, 0x10, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, ...le32(0x20_8000)]; // mov ax, 10h; mov ds, es, ss; mov esp
  const real = (entry: number): number[] => [0x66, 0x0f, 0x01, 0x16, GDT & 0xff, GDT >> 8, 0x0f, 0x20, 0xc0, 0x0c, 1, 0x0f, 0x22, 0xc0, 0x66, 0xea, ...le32(entry), 8, 0]; // lgdt; cr0 |= 1; jmp far
  const other = [...flat, ...busyLoop(BUSY[1]!)], wake = [...store(0xfee0_00f0, 0x1ff), ...store(0xfee0_0300, 0xc_4500), ...store(0xfee0_0300, 0xc_4608)];
  const copy = (from: number, bytes: number): number[] => [0xbc, ...le32(0x9_0000), 0xbe, ...le32(from), 0xbf, ...le32(0x8000), 0xb9, ...le32(bytes), 0xf3, 0xa4];
  const loop = busyLoop(BUSY[0]!), head = copy(0, 0).length + wake.length + loop.length, at = CODE + head, trampoline = real(at);
  const code = [...copy(at + other.length, trampoline.length), ...wake, ...loop, ...other, ...trampoline];
  const m = new ParallelMachine({ kernel: { name: 'busy', bytes: bareKernel(code) }, memoryMiB: 4, cpus: 2, mode: 'parallel', timeoutMs: 50_000, disks: files.map((file) => ({ file, overlay: true })) });
  const { chipset, board } = m, out = (port: number, value: number): void => chipset.portWrite(0, port, 4, value >>> 0), words = board.ramWords;
  words.set([23 | 0x910 << 16, 0], GDT >> 2);
  words.set([0, 0, 0xffff, 0x00cf_9b00, 0xffff, 0x00cf_9300], 0x910 >> 2);
  BUSY.forEach(({ ring, code: changing, bar }, cpu) => {
    const put = (register: number, value: number, size: 1 | 2 | 4 = 4): void => chipset.mmioWrite(0, bar + register as PhysAddr, size, value);
    words[changing >> 2] = 0x00c3_00b3; // mov bl, 0; ret
    out(0xcf8, 0x8000_0000 | 3 + cpu << 11 | 4); out(0xcfc, 6);
    put(COMMON.DEVICE_STATUS, 3, 1);
    put(COMMON.DRIVER_FEATURE_SELECT, 1); put(COMMON.DRIVER_FEATURE, 1); put(COMMON.DEVICE_STATUS, 0xb, 1);
    put(COMMON.QUEUE_SIZE, 4, 2); put(COMMON.QUEUE_DESC, ring); put(COMMON.QUEUE_DRIVER, ring + 0x4000); put(COMMON.QUEUE_DEVICE, ring + 0x5000); put(COMMON.QUEUE_ENABLE, 1, 2);
    // CPU 0 reads, CPU 1 writes: header, data, status. All entries of the ring are request 0.
    const header = ring + 0x6000;
    words.set([cpu, 0, 8, 0], header >> 2);
    [[header, 16, 1, 1], [ring + 0x8000, DATA_BYTES, cpu === 0 ? 3 : 1, 2], [header + 32, 1, 2, 0]].forEach(([address, bytes, flags, next], k) => words.set([address!, 0, bytes!, flags! | next! << 16], (ring >> 2) + 4 * k));
    put(COMMON.DEVICE_STATUS, 0xf, 1);
  });
  return m;
}

describe('a vCPU that is ended at a random instant', () => {
  const times = process.env['KINTSUGI_FULL'] === undefined ? 4 : 300, folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-kill-')), files = [0, 1].map((n) => path.join(folder, `${n}.img`));
  it(`in the middle of all it can be in the middle of, ${times} times: the other one goes on with disk and devices`, { timeout: 60_000 * times }, async () => {
    for (const file of files) writeFileSync(file, new Uint8Array(512 << 10).fill(0x5a));
    const random = new Random(11), rounds = (m: ParallelMachine, cpu: number): number => m.board.ramWords[BUSY[cpu]!.rounds >> 2]!;
    const goesOn = async (m: ParallelMachine, cpu: number, by: number): Promise<void> => {
      const before = rounds(m, cpu);
      while (!m.cpus.stopped && rounds(m, cpu) - before < by) await new Promise((resolve) => { setTimeout(resolve, 1); });
      expect(m.cpus.stopped).toBe(undefined);
    };
    let inLock = 0;
    for (let n = 0; n < times; n++) {
      const m = busyMachine(files), done = m.run(), victim = n % 3 === 2 ? 0 : 1, survivor = 1 - victim;
      await goesOn(m, 0, 3); await goesOn(m, 1, 3);
      const until = performance.now() + random.below(4000) / 1000;
      while (performance.now() < until) if (lockOf(m).owner === victim && random.below(40) === 0) { inLock++; break; }
      await m.killCpu(victim);
      expect([n, lockOf(m).owner === victim]).toEqual([n, false]);
      await goesOn(m, survivor, 30);
      const { ramWords } = m.board;
      expect(ramWords[BUSY[survivor]!.ring + 0x5000 >> 2]! >>> 16).toBeGreaterThan(0); // requests answered
      expect(ramWords[BUSY[survivor]!.ring + 0x6020 >> 2]! & 0xff).toBe(0); // and well
      if (victim === 0) m.stop(); else ramWords[END >> 2] = 1;
      const result = await done;
      expect([n, result.reason, result.status]).toEqual([n, victim === 0 ? 'stopped' : 'exit', victim === 0 ? 0 : 3]);
      expect(result.detail).toMatch(new RegExp(`^CPU ${victim}: worker exited with code 1$`));
      expect(lockOf(m).owner).toBe(-1);
      m.close();
    }
    rmSync(folder, { recursive: true });
    if (times > 4) console.log(`${times} deaths, ${inLock} of them aimed at the device lock`);
  });
});
