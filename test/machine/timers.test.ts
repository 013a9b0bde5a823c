import { describe, expect, it } from 'vitest';
import { LAPIC } from '../../vm/devices/lapic.ts';
import { Rig } from './rig.ts';

const TICK_NS = 1e9 / 1_193_182;

describe('8254', () => {
  it('mode 2 interrupts at the programmed rate', () => {
    const r = new Rig();
    r.initialisePics();
    r.out8(0x43, 0x34);
    r.out8(0x40, 11932 & 0xff);
    r.out8(0x40, 11932 >> 8); // 100 Hz
    let count = 0;
    for (let ms = 0; ms < 1000; ms++) {
      r.advance(1e6);
      if (r.intr()) { count++; expect(r.acknowledge()).toBe(0x20); r.out8(0x20, 0x20); }
    }
    expect(count).toBeGreaterThanOrEqual(99);
    expect(count).toBeLessThanOrEqual(100);
  });

  it('does not drift: 10 s of 1 kHz are 10,000 interrupts', () => {
    const r = new Rig();
    r.initialisePics();
    r.out8(0x43, 0x34);
    r.out8(0x40, 1193 & 0xff);
    r.out8(0x40, 1193 >> 8);
    let count = 0;
    for (let k = 0; k < 20_000; k++) {
      r.advance(0.5e6);
      if (r.intr()) { count++; r.acknowledge(); r.out8(0x20, 0x20); }
    }
    expect(Math.abs(count - Math.floor(10e9 / (1193 * TICK_NS)))).toBeLessThanOrEqual(1);
  });

  it('mode 0 interrupts once, at terminal count', () => {
    const r = new Rig();
    r.initialisePics();
    r.out8(0x43, 0x30);
    r.out8(0x40, 100);
    r.out8(0x40, 0);
    r.acknowledge(); // whatever the firmware's counter left
    r.out8(0x20, 0x20);
    expect(r.intr()).toBe(false);
    r.advance(99 * TICK_NS);
    expect(r.intr()).toBe(false);
    r.advance(2 * TICK_NS);
    expect(r.intr()).toBe(true);
    r.acknowledge(); r.out8(0x20, 0x20);
    r.advance(1e9);
    expect(r.intr()).toBe(false);
  });

  it('latches a count while it runs on, and reads low byte first', () => {
    const r = new Rig();
    r.out8(0x43, 0x34);
    r.out8(0x40, 0x00); r.out8(0x40, 0x10); // 4096
    r.advance(10.5 * TICK_NS);
    r.out8(0x43, 0x00);
    r.advance(100 * TICK_NS);
    expect(r.in8(0x40) | (r.in8(0x40) << 8)).toBe(4096 - 10);
    expect(r.in8(0x40) | (r.in8(0x40) << 8)).toBe(4096 - 110);
  });

  it('read-back gives status with OUT, access and mode', () => {
    const r = new Rig();
    r.out8(0x43, 0xb0); // counter 2, both bytes, mode 0
    r.out8(0x43, 0xe8); // status of counter 2
    expect(r.in8(0x42)).toBe(0x40 | 0x30); // OUT low, null count
  });

  it('counter 2 runs behind the gate of port 61h and shows OUT in bit 5', () => {
    const r = new Rig();
    r.out8(0x61, 0); // gate off
    r.out8(0x43, 0xb0);
    r.out8(0x42, 50); r.out8(0x42, 0);
    r.advance(1e6);
    expect(r.in8(0x61) & 0x20).toBe(0);
    r.out8(0x61, 1);
    r.advance(49 * TICK_NS);
    expect(r.in8(0x61) & 0x20).toBe(0);
    r.advance(2 * TICK_NS);
    expect(r.in8(0x61) & 0x20).toBe(0x20);
  });

  it('counts in BCD', () => {
    const r = new Rig();
    r.out8(0x43, 0x35);
    r.out8(0x40, 0x00); r.out8(0x40, 0x10); // 1000 decimal
    r.advance(1.5 * TICK_NS);
    r.out8(0x43, 0x00);
    expect(r.in8(0x40) | (r.in8(0x40) << 8)).toBe(0x0999);
  });
});

describe('LAPIC timer', () => {
  const enable = (r: Rig, lvt: number): void => { r.setLapic(LAPIC.SVR, 0x1ff); r.setLapic(LAPIC.LVT_TIMER, lvt); };

  it('one-shot: fires once after initial count x divisor', () => {
    const r = new Rig();
    enable(r, 0x40);
    r.setLapic(LAPIC.TIMER_DIVIDE, 0x3); // by 16
    r.setLapic(LAPIC.TIMER_INITIAL, 1000);
    r.advance(8000);
    expect(r.lapic(LAPIC.TIMER_CURRENT)).toBe(500);
    r.advance(7999);
    expect(r.intr()).toBe(false);
    r.advance(1);
    expect(r.acknowledge()).toBe(0x40);
    r.setLapic(LAPIC.EOI, 0);
    expect(r.lapic(LAPIC.TIMER_CURRENT)).toBe(0);
    r.advance(1e6);
    expect(r.intr()).toBe(false);
  });

  it('periodic: reloads without drift', () => {
    const r = new Rig();
    enable(r, 0x20041);
    r.setLapic(LAPIC.TIMER_DIVIDE, 0xb); // by 1
    r.setLapic(LAPIC.TIMER_INITIAL, 10_000);
    let count = 0;
    for (let k = 0; k < 1000; k++) {
      r.advance(1_000);
      if (r.intr()) { expect(r.acknowledge()).toBe(0x41); r.setLapic(LAPIC.EOI, 0); count++; }
    }
    expect(count).toBe(100);
  });

  it('masked: counts and stays silent', () => {
    const r = new Rig();
    enable(r, 0x10040);
    r.setLapic(LAPIC.TIMER_INITIAL, 100);
    r.advance(1e6);
    expect(r.intr()).toBe(false);
    expect(r.lapic(LAPIC.TIMER_CURRENT)).toBe(0);
  });

  it('initial count 0 stops it', () => {
    const r = new Rig();
    enable(r, 0x40);
    r.setLapic(LAPIC.TIMER_INITIAL, 1000);
    r.setLapic(LAPIC.TIMER_INITIAL, 0);
    r.advance(1e6);
    expect(r.intr()).toBe(false);
  });

  it('changing the divisor keeps the current count', () => {
    const r = new Rig();
    enable(r, 0x40);
    r.setLapic(LAPIC.TIMER_DIVIDE, 0xb);
    r.setLapic(LAPIC.TIMER_INITIAL, 1000);
    r.advance(400);
    r.setLapic(LAPIC.TIMER_DIVIDE, 0x0); // by 2
    expect(r.lapic(LAPIC.TIMER_CURRENT)).toBe(600);
    r.advance(1199);
    expect(r.intr()).toBe(false);
    r.advance(1);
    expect(r.acknowledge()).toBe(0x40);
  });
});

describe('CMOS clock', () => {
  const read = (r: Rig, register: number): number => { r.out8(0x70, register); return r.in8(0x71); };
  const write = (r: Rig, register: number, value: number): void => { r.out8(0x70, register); r.out8(0x71, value); };

  it('tells the deterministic time in BCD and advances with virtual time', () => {
    const r = new Rig(); // 2026-02-03 16:05:06
    expect([4, 2, 0, 7, 8, 9, 0x32].map((register) => read(r, register))).toEqual([0x16, 0x05, 0x06, 0x03, 0x02, 0x26, 0x20]);
    r.advance(55e9);
    expect([4, 2, 0].map((register) => read(r, register))).toEqual([0x16, 0x06, 0x01]);
  });

  it('obeys binary and 12 hour formats', () => {
    const r = new Rig();
    write(r, 0xb, 0x06);
    expect(read(r, 4)).toBe(16);
    write(r, 0xb, 0x00);
    expect(read(r, 4)).toBe(0x84); // 4 pm
  });

  it('can be set', () => {
    const r = new Rig();
    write(r, 0xb, 0x82);
    for (const [register, value] of [[0, 0x59], [2, 0x59], [4, 0x23], [7, 0x31], [8, 0x12], [9, 0x99], [0x32, 0x19]]) write(r, register, value);
    write(r, 0xb, 0x02);
    r.advance(1e9);
    expect([4, 2, 0, 7, 8, 9, 0x32].map((register) => read(r, register))).toEqual([0, 0, 0, 1, 1, 0, 0x20]);
  });

  it('periodic interrupt on line 8 until register C is read', () => {
    const r = new Rig();
    r.initialisePics();
    r.out8(0x21, 0xfb); // cascade only
    write(r, 0xb, 0x42);
    r.advance(1e9 / 1024 + 1);
    expect(r.acknowledge()).toBe(0x28);
    r.out8(0xa0, 0x20); r.out8(0x20, 0x20);
    r.advance(10e6);
    expect(r.intr()).toBe(false); // not acknowledged in C: line still high, no new edge
    expect(read(r, 0xc)).toBe(0xc0);
    r.advance(1e9 / 1024 + 1);
    expect(r.intr()).toBe(true);
  });

  it('alarm fires at its time', () => {
    const r = new Rig();
    write(r, 1, 0x08); write(r, 3, 0xff); write(r, 5, 0xff); // any hour and minute, second 8
    write(r, 0xb, 0x22);
    r.advance(1e9);
    expect(read(r, 0xc) & 0x20).toBe(0);
    r.advance(1e9);
    expect(read(r, 0xc) & 0xa0).toBe(0xa0);
  });

  it('shows update in progress just before the second', () => {
    const r = new Rig();
    expect(read(r, 0xa) & 0x80).toBe(0);
    r.advance(1e9 - 100_000);
    expect(read(r, 0xa) & 0x80).toBe(0x80);
  });
});
