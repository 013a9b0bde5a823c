import { describe, expect, it } from 'vitest';
import { Rig } from './rig.ts';

const COM1 = 0x3f8;
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** COM1 with FIFOs (trigger 14), OUT2, and its line as the only one unmasked. */
function rig(ier: number): Rig {
  const r = new Rig();
  r.initialisePics(0xef, 0xff);
  r.out8(COM1 + 2, 0xc7);
  r.out8(COM1 + 4, 0x0b);
  r.out8(COM1 + 1, ier);
  return r;
}
const service = (r: Rig): void => { expect(r.acknowledge()).toBe(0x24); r.out8(0x20, 0x20); };

describe('16550', () => {
  it('sends bytes to the host in order, both ports apart', () => {
    const r = new Rig();
    for (const byte of encode('hello')) { expect(r.in8(COM1 + 5) & 0x60).toBe(0x60); r.out8(COM1, byte); }
    r.out8(0x2f8, 0x41);
    expect(r.output[0]).toEqual([...encode('hello')]);
    expect(r.output[1]).toEqual([0x41]);
  });

  it('keeps scratch, divisor and line control; DLAB switches the first two registers', () => {
    const r = new Rig();
    r.out8(COM1 + 7, 0x5a);
    r.out8(COM1 + 3, 0x83);
    r.out8(COM1, 0x0c); r.out8(COM1 + 1, 0x01);
    expect([r.in8(COM1), r.in8(COM1 + 1)]).toEqual([0x0c, 0x01]);
    r.out8(COM1 + 3, 0x03);
    expect([r.in8(COM1 + 7), r.in8(COM1 + 3), r.in8(COM1 + 1)]).toEqual([0x5a, 0x03, 0]);
    expect(r.output[0]).toEqual([]);
  });

  it('reports FIFOs in IIR only when enabled', () => {
    const r = new Rig();
    expect(r.in8(COM1 + 2)).toBe(0x01);
    r.out8(COM1 + 2, 0x01);
    expect(r.in8(COM1 + 2)).toBe(0xc1);
  });

  it('transmitter empty: interrupts when enabled, once per byte, cleared by reading IIR', () => {
    const r = rig(0x02);
    service(r);
    expect(r.in8(COM1 + 2) & 0xf).toBe(0x02);
    expect(r.in8(COM1 + 2) & 0xf).toBe(0x01);
    r.out8(COM1, 0x41);
    expect(r.intr()).toBe(true);
    service(r);
    r.out8(COM1, 0x42); // without reading IIR in between: a new edge all the same
    expect(r.intr()).toBe(true);
  });

  it('received data: available above the trigger level, timeout below it', () => {
    const r = rig(0x01);
    r.chipset.uarts[0].receive(encode('ab'));
    service(r);
    expect(r.in8(COM1 + 2) & 0xf).toBe(0x0c);
    r.chipset.uarts[0].receive(encode('cdefghijklmn'));
    expect(r.in8(COM1 + 2) & 0xf).toBe(0x04);
    expect(r.in8(COM1 + 5) & 1).toBe(1);
    let text = '';
    while (r.in8(COM1 + 5) & 1) text += String.fromCharCode(r.in8(COM1));
    expect(text).toBe('abcdefghijklmn');
    expect(r.in8(COM1 + 2) & 0xf).toBe(0x01);
    expect(r.intr()).toBe(false);
  });

  it('more input than the FIFO holds arrives completely', () => {
    const r = rig(0x01);
    const sent = encode('x'.repeat(100) + 'end');
    expect(r.chipset.uarts[0].receive(sent)).toBe(103);
    let count = 0;
    while (r.intr()) {
      service(r);
      for (let k = 0; k < 14 && r.in8(COM1 + 5) & 1; k++) { r.in8(COM1); count++; }
      if (!(r.in8(COM1 + 5) & 1)) break;
    }
    while (r.in8(COM1 + 5) & 1) { r.in8(COM1); count++; }
    expect(count).toBe(103);
  });

  it('what was typed before the driver reset the FIFO is not lost', () => {
    const r = new Rig();
    r.chipset.uarts[0].receive(encode('early'));
    r.in8(COM1 + 5); // a boot console polls
    r.out8(COM1 + 2, 0x07);
    let text = '';
    while (r.in8(COM1 + 5) & 1) text += String.fromCharCode(r.in8(COM1));
    expect(text).toBe('early');
  });

  it('takes only what the wire holds', () => {
    const r = new Rig();
    expect(r.chipset.uarts[0].receive(new Uint8Array(5000))).toBe(4096);
    expect(r.chipset.uarts[0].room).toBe(0);
  });

  it('OUT2 gates the interrupt', () => {
    const r = rig(0x02);
    r.out8(COM1 + 4, 0x03);
    expect(r.intr()).toBe(false);
    r.out8(COM1 + 4, 0x0b);
    expect(r.intr()).toBe(true);
  });

  it('loopback: transmitted bytes come back, modem outputs appear as inputs, nothing leaves', () => {
    const r = new Rig();
    r.out8(COM1 + 4, 0x1e);
    r.out8(COM1, 0xae);
    expect(r.in8(COM1 + 5) & 1).toBe(1);
    expect(r.in8(COM1)).toBe(0xae);
    expect(r.in8(COM1 + 6)).toBe(0xd0);
    expect(r.output[0]).toEqual([]);
    r.out8(COM1 + 4, 0x0f);
    expect(r.in8(COM1 + 6) & 0xf0).toBe(0xb0);
  });

  it('a break is a line status interrupt', () => {
    const r = rig(0x04);
    r.chipset.uarts[0].receiveBreak();
    service(r);
    expect(r.in8(COM1 + 2) & 0xf).toBe(0x06);
    expect(r.in8(COM1 + 5) & 0x10).toBe(0x10);
    expect(r.in8(COM1 + 2) & 0xf).toBe(0x01);
  });
});
