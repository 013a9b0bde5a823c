import { describe, expect, it } from 'vitest';
import { Rig } from './rig.ts';

/** Lines without the 8254 in the way: a masked IRQ 0. */
function rig(masterMask = 1, slaveMask = 0, icw4 = 1): Rig {
  const r = new Rig();
  r.initialisePics(masterMask, slaveMask, icw4);
  return r;
}

describe('8259 pair', () => {
  it('delivers the programmed vector and interrupts again only after EOI', () => {
    const r = rig();
    r.chipset.pic.setLine(4, true);
    expect(r.intr()).toBe(true);
    expect(r.acknowledge()).toBe(0x24);
    expect(r.intr()).toBe(false);
    r.chipset.pic.setLine(4, false);
    r.chipset.pic.setLine(4, true);
    expect(r.intr()).toBe(false); // in service
    r.out8(0x20, 0x20);
    expect(r.intr()).toBe(true);
    expect(r.acknowledge()).toBe(0x24);
  });

  it('an edge-triggered line that stays high interrupts once', () => {
    const r = rig();
    r.chipset.pic.setLine(4, true);
    r.acknowledge();
    r.out8(0x20, 0x20);
    expect(r.intr()).toBe(false);
  });

  it('a level-triggered line (ELCR) interrupts again while it stays high', () => {
    const r = rig();
    r.out8(0x4d0, 0x20);
    expect(r.in8(0x4d0)).toBe(0x20);
    r.chipset.pic.setLine(5, true);
    expect(r.acknowledge()).toBe(0x25);
    r.out8(0x20, 0x20);
    expect(r.intr()).toBe(true);
    expect(r.acknowledge()).toBe(0x25);
    r.chipset.pic.setLine(5, false);
    r.out8(0x20, 0x20);
    expect(r.intr()).toBe(false);
  });

  it('a higher priority nests, a lower one waits', () => {
    const r = rig();
    r.chipset.pic.setLine(4, true);
    expect(r.acknowledge()).toBe(0x24);
    r.chipset.pic.setLine(6, true);
    expect(r.intr()).toBe(false);
    r.chipset.pic.setLine(3, true);
    expect(r.acknowledge()).toBe(0x23);
    r.out8(0x20, 0x20); // ends 3
    expect(r.intr()).toBe(false);
    r.out8(0x20, 0x20); // ends 4
    expect(r.acknowledge()).toBe(0x26);
  });

  it('the slave comes through the cascade and needs two EOIs', () => {
    const r = rig();
    r.chipset.pic.setLine(12, true);
    expect(r.acknowledge()).toBe(0x2c);
    r.out8(0x20, 0x0b);
    r.out8(0xa0, 0x0b);
    expect([r.in8(0x20), r.in8(0xa0)]).toEqual([0x04, 0x10]);
    r.out8(0xa0, 0x20);
    r.out8(0x20, 0x20);
    expect([r.in8(0x20), r.in8(0xa0)]).toEqual([0, 0]);
  });

  it('a line that falls before the acknowledge gives the spurious vector without an in-service bit', () => {
    const r = rig();
    r.chipset.pic.setLine(4, true);
    r.chipset.pic.setLine(4, false);
    expect(r.chipset.pic.acknowledge()).toBe(0x27);
    r.out8(0x20, 0x0b);
    expect(r.in8(0x20)).toBe(0);
  });

  it('a slave request withdrawn before the acknowledge lowers the output again', () => {
    const r = rig();
    r.chipset.pic.setLine(10, true);
    expect(r.intr()).toBe(true);
    r.chipset.pic.setLine(10, false);
    expect(r.intr()).toBe(false);
  });

  it('masking hides a request and keeps it', () => {
    const r = rig(0xff);
    r.chipset.pic.setLine(4, true);
    expect(r.intr()).toBe(false);
    r.out8(0x20, 0x0a);
    expect(r.in8(0x20)).toBe(0x10);
    r.out8(0x21, 0xef);
    expect(r.acknowledge()).toBe(0x24);
  });

  it('rotates priority with the rotating EOI', () => {
    const r = rig();
    r.chipset.pic.setLine(3, true);
    expect(r.acknowledge()).toBe(0x23);
    r.out8(0x20, 0xa0); // rotate on non-specific EOI: 3 becomes lowest
    r.chipset.pic.setLine(3, false);
    r.chipset.pic.setLine(3, true);
    r.chipset.pic.setLine(4, true);
    expect(r.acknowledge()).toBe(0x24);
  });

  it('specific EOI ends that input alone', () => {
    const r = rig();
    r.chipset.pic.setLine(6, true);
    r.acknowledge();
    r.chipset.pic.setLine(3, true);
    r.acknowledge();
    r.out8(0x20, 0x66);
    r.out8(0x20, 0x0b);
    expect(r.in8(0x20)).toBe(0x08);
  });

  it('automatic EOI leaves nothing in service', () => {
    const r = rig(1, 0, 3);
    r.chipset.pic.setLine(4, true);
    expect(r.acknowledge()).toBe(0x24);
    r.out8(0x20, 0x0b);
    expect(r.in8(0x20)).toBe(0);
  });

  it('special mask mode lets lower priorities through a masked in-service input', () => {
    const r = rig();
    r.chipset.pic.setLine(3, true);
    r.acknowledge();
    r.chipset.pic.setLine(5, true);
    expect(r.intr()).toBe(false);
    r.out8(0x21, 0x09);
    r.out8(0x20, 0x68);
    expect(r.intr()).toBe(true);
    expect(r.acknowledge()).toBe(0x25);
  });

  it('the poll command acknowledges by reading', () => {
    const r = rig();
    r.chipset.pic.setLine(5, true);
    r.out8(0x20, 0x0c);
    expect(r.in8(0x20)).toBe(0x85);
    r.out8(0x20, 0x0c);
    expect(r.in8(0x20)).toBe(0);
  });

  it('reads the mask back and starts initialisation with a clear mask', () => {
    const r = rig(0xa5, 0x5a);
    expect([r.in8(0x21), r.in8(0xa1)]).toEqual([0xa5, 0x5a]);
    r.out8(0x20, 0x11);
    r.out8(0x21, 0x40); r.out8(0x21, 4); r.out8(0x21, 1);
    expect(r.in8(0x21)).toBe(0);
  });
});
