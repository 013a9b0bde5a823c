/**
 * Kill sweep: one exchange with a segment of each kind, and the core dies at its n-th contact with the outside (window, transmit, answer, clock), for every n. The peer is a
 * plain TCP that retransmits; the program asks again. Connection and bytes must be whole each time.
 */
import { expect, test } from 'vitest';
import { End, Pair, connect, transfer } from './pair.ts';

/** Handshake, data both ways in several sizes, a hole that fills, a zero window, closing: `death` = event of stack `which` at which it dies (0: never). Events of that stack. */
async function exchange(which: number, death: number): Promise<number> {
  const pair = await Pair.start(5);
  const victim = pair.stacks[which]!;
  const before = victim.events;
  let left = death;
  // A death can come anywhere: the countdown goes on from run to run.
  const run = pair.run.bind(pair);
  pair.run = (n, f): boolean => {
    if (n !== which || left === 0) return run(n, f);
    victim.now = pair.now;
    victim.countdown = left;
    const from = victim.events;
    const whole = victim.guard(() => { f(victim); });
    left = whole ? left - (victim.events - from) : 0;
    victim.countdown = Infinity;
    return whole;
  };
  pair.stacks[1 - which]!.ok('socket', [900, 2, 2, 0]);
  connect(pair, 1, 80, 10, 11);
  let frames = 0;
  // The wire loses frame 20 and repeats frame 24.
  for (const s of pair.stacks) { const send = s.onFrame!; s.onFrame = (f): void => { frames++; if (frames !== 20) send(f); if (frames === 24) send(f); }; }
  const a = new End(pair, 0, 10, 40_000, 1, 2, 0, 7000), b = new End(pair, 1, 11, 20_000, 2, 1, 1, 5000);
  transfer(pair, [a, b], 20_000);
  expect([a.received, b.received]).toEqual([20_000, 40_000]);
  pair.run = run;
  pair.run(0, (s) => { s.ok('close', [10]); });
  pair.run(1, (s) => { s.ok('close', [11]); });
  while (pair.step()) { /* to the end of TIME-WAIT */ }
  for (const s of pair.stacks) for (const name of ['tcp_aborted', 'record_bad', 'record_pages', 'tcp_given_up']) expect(s.counters()[name], name).toBe(0);
  expect(pair.stacks[1]!.objects('sockets')).toBe(which === 0 ? 2 : 1);
  expect(victim.deaths).toBe(death === 0 ? 0 : 1);
  return victim.events - before;
}
test.each([0, 1])('stack %i dies at each of its contacts with the outside', async (which) => {
  const events = await exchange(which, 0);
  expect(events).toBeGreaterThan(100);
  const every = process.env['KINTSUGI_FULL'] === undefined ? 3 : 1;
  for (let n = 1 + which; n < events - 60; n += every) {
    try { await exchange(which, n); } catch (error) { throw new Error(`stack ${which}, event ${n} of ${events}: ${(error as Error).message}`, { cause: error }); }
  }
});
