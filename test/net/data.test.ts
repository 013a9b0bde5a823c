import { describe, test } from 'vitest';
import { PASSIVE, script } from './script.ts';

const OPEN = (options: string, window = 65535): string => `
  listen
  < S 0:0(0) win ${window} <${options}>
  > S. 0:0(0) ack 1 win 65535 <mss 1460>
  < . 1:1(0) ack 1 win ${window}
  accept`;
/** A listener with a small receive buffer. */
const SMALL = `
  listen 5 4000
  < S 0:0(0) win 65535 <mss 1000>
  > S. 0:0(0) ack 1 win 4000 <mss 1460>
  < . 1:1(0) ack 1 win 65535
  accept`;

describe('acknowledging', () => {
  test('one segment: after 40 ms', async () => { await script(`${PASSIVE}\n < P. 1:101(100) ack 1 win 65535\n +40ms > . 1:1(0) ack 101 win 65535`); });
  test('two full segments: at once', async () => {
    await script(`${PASSIVE}
      < . 1:1001(1000) ack 1 win 65535
      < . 1001:2001(1000) ack 1 win 65535
      > . 1:1(0) ack 2001 win 65535`);
  });
  test('data going out carry the acknowledgement, the timer stops', async () => {
    await script(`${PASSIVE}
      < P. 1:101(100) ack 1 win 65535
      +10ms
      send 10
      > P. 1:11(10) ack 101 win 65535
      +100ms
      < . 101:101(0) ack 11 win 65535`);
  });
  test('out of order: at once, each time; in order when the gap fills', async () => {
    await script(`${PASSIVE}
      < . 1001:2001(1000) ack 1 win 65535
      > . 1:1(0) ack 1 win 65535
      < . 2001:3001(1000) ack 1 win 65535
      > . 1:1(0) ack 1 win 65535
      < . 1:1001(1000) ack 1 win 65535
      > . 1:1(0) ack 3001 win 65535
      recv 5000 = 3000`);
  });
  test('what is old is acknowledged at once', async () => {
    await script(`${PASSIVE}
      < . 1:1001(1000) ack 1 win 65535
      +40ms > . 1:1(0) ack 1001 win 65535
      < . 1:1001(1000) ack 1 win 65535
      > . 1:1(0) ack 1001 win 65535
      recv 5000 = 1000
      counter tcp_duplicate 1`);
  });
  test('a segment that overlaps what is there: its new part counts', async () => {
    await script(`${PASSIVE}
      < . 1:1001(1000) ack 1 win 65535
      < . 501:1501(1000) ack 1 win 65535
      > . 1:1(0) ack 1501 win 65535
      recv 5000 = 1500
      counter tcp_trimmed 1`);
  });
});

describe('the receive window', () => {
  test('fills, closes, opens when the program has read', async () => {
    await script(`${SMALL}
      < . 1:1001(1000) ack 1 win 65535
      < . 1001:2001(1000) ack 1 win 65535
      > . 1:1(0) ack 2001 win 2000
      < . 2001:3001(1000) ack 1 win 65535
      < . 3001:4001(1000) ack 1 win 65535
      > . 1:1(0) ack 4001 win 0
      < P. 4001:4002(1) ack 1 win 65535
      > . 1:1(0) ack 4001 win 0
      recv 4000
      recv 10 = -11
      > . 1:1(0) ack 4001 win 4000
      < P. 4001:4101(100) ack 1 win 65535
      recv 100
      +40ms > . 1:1(0) ack 4101 win 3900`);
  });
  test('data beyond the window are cut off', async () => {
    await script(`${SMALL}
      < . 1:1401(1400) ack 1 win 65535
      < . 1401:2801(1400) ack 1 win 65535
      > . 1:1(0) ack 2801 win 1200
      < . 2801:4201(1400) ack 1 win 65535
      > . 1:1(0) ack 4001 win 0
      recv 9000 = 4000
      counter tcp_trimmed 1`);
  });
  test('what lies wholly beyond the window is dropped and answered', async () => {
    await script(`${SMALL}
      < . 5001:5101(100) ack 1 win 65535
      > . 1:1(0) ack 1 win 4000
      counter tcp_out_of_window 1`);
  });
  test('a little room is not worth a window update (silly window)', async () => {
    await script(`${SMALL}
      < . 1:1001(1000) ack 1 win 65535
      < . 1001:2001(1000) ack 1 win 65535
      > . 1:1(0) ack 2001 win 2000
      < . 2001:3001(1000) ack 1 win 65535
      < . 3001:4001(1000) ack 1 win 65535
      > . 1:1(0) ack 4001 win 0
      recv 100
      recv 10
      +1s`);
  });
});

describe('sending', () => {
  test('the initial window: ten segments', async () => {
    await script(`${OPEN('mss 1000')}
      send 20000
      ${Array.from({ length: 10 }, (_, i) => `> . ${1 + 1000 * i}:${1001 + 1000 * i}(1000) ack 1 win 65535`).join('\n')}
      < . 1:1(0) ack 2001 win 65535
      ${Array.from({ length: 4 }, (_, i) => `> . ${10001 + 1000 * i}:${11001 + 1000 * i}(1000) ack 1 win 65535`).join('\n')}`);
  });
  test("never beyond the peer's window", async () => {
    await script(`${OPEN('mss 1000', 2500)}
      send 5000
      > . 1:1001(1000) ack 1 win 65535
      > . 1001:2001(1000) ack 1 win 65535
      < . 1:1(0) ack 2001 win 3000
      > . 2001:3001(1000) ack 1 win 65535
      > . 3001:4001(1000) ack 1 win 65535
      > P. 4001:5001(1000) ack 1 win 65535`);
  });
  test('a zero window is probed with one byte after 200, 400, 800 ms; what opens it lets the rest go', async () => {
    await script(`
      listen
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      < . 1:1(0) ack 1 win 0
      accept
      send 1500
      +200ms > . 1:2(1) ack 1 win 65535
      < . 1:1(0) ack 1 win 0
      +400ms > . 1:2(1) ack 1 win 65535
      < . 1:1(0) ack 1 win 0
      +800ms > . 1:2(1) ack 1 win 65535
      < . 1:1(0) ack 1 win 5000
      > . 1:1001(1000) ack 1 win 65535
      < . 1:1(0) ack 1001 win 5000
      > P. 1001:1501(500) ack 1 win 65535`);
  });
  test('a probe that is accepted moves on', async () => {
    await script(`
      listen
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      < . 1:1(0) ack 1 win 0
      accept
      send 100
      +200ms > . 1:2(1) ack 1 win 65535
      < . 1:1(0) ack 2 win 0
      +200ms > . 2:3(1) ack 1 win 65535
      < . 1:1(0) ack 3 win 500
      > P. 3:101(98) ack 1 win 65535`);
  });
  test('Nagle: a small segment waits for the acknowledgement of the one before', async () => {
    await script(`${PASSIVE}
      send 10
      > P. 1:11(10) ack 1 win 65535
      send 10
      send 10
      < . 1:1(0) ack 11 win 65535
      > P. 11:31(20) ack 1 win 65535`);
  });
  test('Nagle lets a full segment go', async () => {
    await script(`${PASSIVE}
      send 10
      > P. 1:11(10) ack 1 win 65535
      send 500
      send 600
      > . 11:1011(1000) ack 1 win 65535
      < . 1:1(0) ack 1011 win 65535
      > P. 1011:1111(100) ack 1 win 65535`);
  });
  test('without Nagle everything goes', async () => {
    await script(`${PASSIVE}
      option nodelay 1
      send 10
      > P. 1:11(10) ack 1 win 65535
      send 10
      > P. 11:21(10) ack 1 win 65535`);
  });
  test('switching Nagle off lets go what waits', async () => {
    await script(`${PASSIVE}
      send 10
      > P. 1:11(10) ack 1 win 65535
      send 10
      option nodelay 1
      > P. 11:21(10) ack 1 win 65535`);
  });
  test('a window half as large as ever is used (silly window, sender)', async () => {
    await script(`${OPEN('mss 1000', 400)}
      send 1000
      > . 1:401(400) ack 1 win 65535
      < . 1:1(0) ack 401 win 100
      +200ms > . 401:501(100) ack 1 win 65535`);
  });
  test('a shrunken window is obeyed for what is new', async () => {
    await script(`${OPEN('mss 1000', 3000)}
      send 6000
      > . 1:1001(1000) ack 1 win 65535
      > . 1001:2001(1000) ack 1 win 65535
      > . 2001:3001(1000) ack 1 win 65535
      < . 1:1(0) ack 1001 win 1000
      < . 1:1(0) ack 3001 win 1000
      > . 3001:4001(1000) ack 1 win 65535`);
  });
  test('a tiny MSS is taken as 64', async () => {
    await script(`${OPEN('mss 1')}
      send 100
      > . 1:65(64) ack 1 win 65535
      < . 1:1(0) ack 65 win 65535
      > P. 65:101(36) ack 1 win 65535`);
  });
  test('urgent data: the pointer names the byte behind them (RFC 6093)', async () => {
    await script(`${PASSIVE}
      urgent 10
      > PU. 1:11(10) ack 1 win 65535 urg 10
      < . 1:1(0) ack 11 win 65535
      send 10
      > P. 11:21(10) ack 1 win 65535`);
  });
  test('urgent data that come stay in the stream', async () => {
    await script(`${PASSIVE}
      < PU. 1:11(10) ack 1 win 65535 urg 5
      recv 20 = 10
      counter tcp_urgent 1
      +40ms > . 1:1(0) ack 11 win 65535`);
  });
  test('an urgent pointer without data does no harm', async () => {
    await script(`${PASSIVE}
      < U. 1:1(0) ack 1 win 65535 urg 60000
      recv 20 = -11
      < P. 1:11(10) ack 1 win 65535
      recv 20 = 10
      +40ms > . 1:1(0) ack 11 win 65535`);
  });
  test('asking twice for the same bytes sends them once', async () => {
    const stack = await script(`${PASSIVE}\n send 100\n > P. 1:101(100) ack 1 win 65535`);
    const again = stack.call('send', [2, 0, 4096, 100, 1]), hole = stack.call('send', [2, 200, 4096, 10, 1]), overlap = stack.call('send', [2, 50, 4096 + 50, 50, 1]);
    if (again.status !== 0 || again.r0 !== 100 || overlap.r0 !== 50 || hole.status !== -22 || stack.out.length !== 0) throw new Error('positions are not kept');
  });
});
