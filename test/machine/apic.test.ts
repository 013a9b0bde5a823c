import { describe, expect, it } from 'vitest';
import { ATTN, S } from '../../vm/cpu/state.ts';
import { LAPIC } from '../../vm/devices/lapic.ts';
import { Rig } from './rig.ts';

const enabled = (cpus: number): Rig => {
  const r = new Rig({ cpus });
  for (let cpu = 0; cpu < cpus; cpu++) r.setLapic(LAPIC.SVR, 0x1ff, cpu);
  r.initialisePics(0xff, 0xff);
  return r;
};
const fixed = (vector: number): number => 0x4000 | vector;

describe('LAPIC', () => {
  it('has id, version and reset values', () => {
    const r = new Rig({ cpus: 2 });
    expect(r.lapic(LAPIC.ID, 1)).toBe(1 << 24);
    expect(r.lapic(LAPIC.VERSION) & 0xff).toBe(0x14);
    expect(r.lapic(LAPIC.SVR, 1)).toBe(0xff);
    expect(r.lapic(LAPIC.LVT_TIMER)).toBe(0x10000);
    expect(r.lapic(LAPIC.DFR)).toBe(0xffff_ffff);
  });

  it('sends a fixed IPI to one, to all, to all but itself', () => {
    const r = enabled(3);
    r.setLapic(LAPIC.ICR_HIGH, 2 << 24);
    r.setLapic(LAPIC.ICR_LOW, fixed(0x50));
    expect([0, 1, 2].map((cpu) => r.intr(cpu))).toEqual([false, false, true]);
    expect(r.acknowledge(2)).toBe(0x50);
    r.setLapic(LAPIC.ICR_LOW, fixed(0x60) | (3 << 18), 1);
    expect([0, 1, 2].map((cpu) => r.intr(cpu))).toEqual([true, false, true]);
    r.setLapic(LAPIC.ICR_LOW, fixed(0x70) | (1 << 18), 1);
    expect(r.acknowledge(1)).toBe(0x70);
    expect(r.lapic(LAPIC.ICR_LOW, 1) & 0x1000).toBe(0); // delivery status idle
  });

  it('nests by priority class and holds equal classes until EOI', () => {
    const r = enabled(1);
    r.setLapic(LAPIC.ICR_LOW, fixed(0x51) | (1 << 18));
    expect(r.acknowledge()).toBe(0x51);
    r.setLapic(LAPIC.ICR_LOW, fixed(0x5f) | (1 << 18));
    expect(r.intr()).toBe(false);
    expect(r.acknowledge()).toBe(-1);
    r.setLapic(LAPIC.ICR_LOW, fixed(0x61) | (1 << 18));
    expect(r.acknowledge()).toBe(0x61);
    expect(r.lapic(LAPIC.PPR)).toBe(0x60);
    r.setLapic(LAPIC.EOI, 0);
    expect(r.intr()).toBe(false);
    r.setLapic(LAPIC.EOI, 0);
    expect(r.acknowledge()).toBe(0x5f);
  });

  it('TPR masks classes up to its own', () => {
    const r = enabled(1);
    r.setLapic(LAPIC.TPR, 0x50);
    r.setLapic(LAPIC.ICR_LOW, fixed(0x5f) | (1 << 18));
    expect(r.intr()).toBe(false);
    r.setLapic(LAPIC.TPR, 0x40);
    expect(r.acknowledge()).toBe(0x5f);
  });

  it('logical destinations, flat and cluster', () => {
    const r = enabled(3);
    for (let cpu = 0; cpu < 3; cpu++) r.setLapic(LAPIC.LDR, (1 << cpu) << 24, cpu);
    r.setLapic(LAPIC.ICR_HIGH, 0b101 << 24, 1);
    r.setLapic(LAPIC.ICR_LOW, fixed(0x40) | (1 << 11), 1);
    expect([0, 1, 2].map((cpu) => r.intr(cpu))).toEqual([true, false, true]);
    const c = enabled(3);
    for (let cpu = 0; cpu < 3; cpu++) { c.setLapic(LAPIC.DFR, 0, cpu); c.setLapic(LAPIC.LDR, (0x10 | (1 << cpu)) << 24, cpu); }
    c.setLapic(LAPIC.LDR, 0x21 << 24, 2);
    c.setLapic(LAPIC.ICR_HIGH, 0x13 << 24, 1);
    c.setLapic(LAPIC.ICR_LOW, fixed(0x40) | (1 << 11), 1);
    expect([0, 1, 2].map((cpu) => c.intr(cpu))).toEqual([true, true, false]);
  });

  it('lowest priority chooses the CPU with the lowest PPR', () => {
    const r = enabled(2);
    r.setLapic(LAPIC.TPR, 0x30, 0);
    r.setLapic(LAPIC.ICR_LOW, 0x4140 | (2 << 18));
    expect([0, 1].map((cpu) => r.intr(cpu))).toEqual([false, true]);
  });

  it('INIT resets the target and SIPI carries the start page', () => {
    const r = enabled(2);
    r.setLapic(LAPIC.TPR, 0x70, 1);
    r.setLapic(LAPIC.ICR_HIGH, 1 << 24);
    r.setLapic(LAPIC.ICR_LOW, 0xc500); // INIT, level assert
    expect(r.attention(1) & ATTN.INIT).toBe(ATTN.INIT);
    expect(r.lapic(LAPIC.TPR, 1)).toBe(0);
    r.cpus.words(1)[S.attention >> 2] = 0;
    r.setLapic(LAPIC.ICR_LOW, 0x8500); // INIT, level de-assert: nothing
    expect(r.attention(1)).toBe(0);
    r.setLapic(LAPIC.ICR_LOW, 0x4608);
    expect(r.attention(1) & ATTN.SIPI).toBe(ATTN.SIPI);
    expect(r.cpus.words(1)[S.sipiVector >> 2]).toBe(8);
    expect(r.attention(0)).toBe(0);
  });

  it('NMI goes to the NMI pin', () => {
    const r = enabled(2);
    r.setLapic(LAPIC.ICR_HIGH, 1 << 24);
    r.setLapic(LAPIC.ICR_LOW, 0x4400);
    expect(r.attention(1)).toBe(ATTN.NMI);
  });

  it('illegal vectors set the error status and raise the error interrupt', () => {
    const r = enabled(1);
    r.setLapic(LAPIC.LVT_ERROR, 0xe0);
    r.setLapic(LAPIC.ICR_LOW, fixed(3) | (1 << 18));
    expect(r.acknowledge()).toBe(0xe0);
    expect(r.lapic(LAPIC.ESR)).toBe(0);
    r.setLapic(LAPIC.ESR, 0);
    expect(r.lapic(LAPIC.ESR)).toBe(0x20);
    r.setLapic(LAPIC.ESR, 0);
    expect(r.lapic(LAPIC.ESR)).toBe(0);
  });

  it('software-disabled: nothing accepted, LVT masked', () => {
    const r = enabled(1);
    r.setLapic(LAPIC.LVT_TIMER, 0x40);
    r.setLapic(LAPIC.SVR, 0xff);
    expect(r.lapic(LAPIC.LVT_TIMER)).toBe(0x10040);
    r.chipset.lapics.accept(0, 0x40, false);
    expect(r.intr()).toBe(false);
  });

  it('passes the 8259 through LINT0 on the boot processor only (virtual wire mode)', () => {
    const r = new Rig({ cpus: 2 });
    r.initialisePics(0xee, 0xff);
    r.chipset.pic.setLine(4, true);
    expect([r.intr(0), r.intr(1)]).toEqual([true, false]);
    r.setLapic(LAPIC.LVT_LINT0, 0x10700);
    expect(r.intr(0)).toBe(false);
    r.setLapic(LAPIC.LVT_LINT0, 0x700);
    expect(r.acknowledge(0)).toBe(0x24);
  });
});

describe('IOAPIC', () => {
  const route = (r: Rig, pin: number, low: number, destination = 0): void => { r.setIoapic(0x11 + 2 * pin, destination << 24); r.setIoapic(0x10 + 2 * pin, low); };

  it('has 24 masked entries after reset', () => {
    const r = new Rig();
    expect(r.ioapic(1)).toBe(0x170011);
    for (let pin = 0; pin < 24; pin++) expect(r.ioapic(0x10 + 2 * pin)).toBe(0x10000);
  });

  it('routes ISA line n to pin n, and the timer to pin 2', () => {
    const r = enabled(2);
    route(r, 4, 0x44, 1);
    r.chipset.ioapic.setLine(4, true);
    expect(r.acknowledge(1)).toBe(0x44);
    route(r, 2, 0x42, 0);
    r.out8(0x43, 0x34); r.out8(0x40, 0x00); r.out8(0x40, 0x10);
    r.advance(4e6);
    expect(r.acknowledge(0)).toBe(0x42);
  });

  it('edge: one message per rising edge', () => {
    const r = enabled(1);
    route(r, 4, 0x44);
    r.chipset.ioapic.setLine(4, true);
    expect(r.acknowledge()).toBe(0x44);
    r.setLapic(LAPIC.EOI, 0);
    r.chipset.ioapic.setLine(4, true);
    expect(r.intr()).toBe(false);
    r.chipset.ioapic.setLine(4, false);
    r.chipset.ioapic.setLine(4, true);
    expect(r.intr()).toBe(true);
  });

  it('level: remote IRR holds until EOI, then a still-asserted line interrupts again', () => {
    const r = enabled(1);
    route(r, 19, 0x8050);
    r.chipset.ioapic.setLine(19, true);
    expect(r.ioapic(0x10 + 38) & 0x4000).toBe(0x4000);
    expect(r.acknowledge()).toBe(0x50);
    expect(r.lapic(LAPIC.TMR + 0x20) & (1 << 16)).toBe(1 << 16);
    r.setLapic(LAPIC.EOI, 0);
    expect(r.acknowledge()).toBe(0x50);
    r.chipset.ioapic.setLine(19, false);
    r.setLapic(LAPIC.EOI, 0);
    expect(r.intr()).toBe(false);
    expect(r.ioapic(0x10 + 38) & 0x4000).toBe(0);
  });

  it('a masked level line interrupts at unmask, a masked edge is kept', () => {
    const r = enabled(1);
    route(r, 19, 0x18050);
    r.chipset.ioapic.setLine(19, true);
    expect(r.intr()).toBe(false);
    route(r, 19, 0x8050);
    expect(r.acknowledge()).toBe(0x50);
    const e = enabled(1);
    route(e, 4, 0x10044);
    e.chipset.ioapic.setLine(4, true);
    route(e, 4, 0x44);
    expect(e.acknowledge()).toBe(0x44);
  });

  it('logical lowest-priority delivery reaches one of the set', () => {
    const r = enabled(2);
    for (let cpu = 0; cpu < 2; cpu++) r.setLapic(LAPIC.LDR, (1 << cpu) << 24, cpu);
    r.setLapic(LAPIC.TPR, 0x20, 0);
    route(r, 4, 0x944, 3);
    r.chipset.ioapic.setLine(4, true);
    expect([r.intr(0), r.intr(1)]).toEqual([false, true]);
  });
});
