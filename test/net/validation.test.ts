import { describe, test } from 'vitest';
import { PASSIVE, script } from './script.ts';

const STAMPED = `
  listen
  < S 0:0(0) win 65535 <mss 1000,TS val 0 ecr 0>
  > S. 0:0(0) ack 1 win 65535 <mss 1460,TS val 0 ecr 0>
  < . 1:1(0) ack 1 win 65535 <TS val 1 ecr 0>
  accept`;

describe('resets and SYNs in a connection (RFC 5961)', () => {
  test('a reset with exactly the next number ends it: ECONNRESET', async () => {
    await script(`${PASSIVE}
      < R 1:1(0) win 0
      state closed
      events 29
      recv 1 = -104
      recv 1 = 0`);
  });
  test('a reset elsewhere in the window is challenged', async () => {
    await script(`${PASSIVE}
      < R 100:100(0) win 0
      > . 1:1(0) ack 1 win 65535
      state established
      counter tcp_rst_window 1
      counter tcp_challenges 1`);
  });
  test('a reset outside of the window is dropped', async () => {
    await script(`${PASSIVE}
      < R 0:0(0) win 0
      < R 70000:70000(0) win 0
      state established
      counter tcp_rst_wrong 2`);
  });
  test('a SYN in the window is challenged; an honest peer resets with the right number', async () => {
    await script(`${PASSIVE}
      < S 50:50(0) win 65535 <mss 1000>
      > . 1:1(0) ack 1 win 65535
      < R 1:1(0) win 0
      state closed
      counter tcp_syn_in_window 1`);
  });
  test('at most five challenges a second', async () => {
    await script(`${PASSIVE}
      ${'< R 100:100(0) win 0\n > . 1:1(0) ack 1 win 65535\n'.repeat(5)}
      < R 100:100(0) win 0
      < R 100:100(0) win 0
      counter tcp_challenges_held 2
      +1s
      < R 100:100(0) win 0
      > . 1:1(0) ack 1 win 65535`);
  });
  test('an acknowledgement of something never sent is challenged, its data are not taken', async () => {
    await script(`${PASSIVE}
      < P. 1:11(10) ack 500 win 65535
      > . 1:1(0) ack 1 win 65535
      recv 10 = -11
      counter tcp_ack_future 1`);
  });
  test('an acknowledgement from before any window is challenged (blind data injection)', async () => {
    await script(`${PASSIVE}
      < P. 1:11(10) ack -100000 win 65535
      > . 1:1(0) ack 1 win 65535
      recv 10 = -11
      counter tcp_ack_old 1`);
  });
  test('a segment without ACK is dropped', async () => {
    await script(`${PASSIVE}
      < P 1:11(10) win 65535
      recv 10 = -11
      counter tcp_no_ack 1`);
  });
  test('a reset with data already received: they are read first', async () => {
    await script(`${PASSIVE}
      < P. 1:11(10) ack 1 win 65535
      < R 11:11(0) win 0
      recv 10 = 10
      recv 10 = -104`);
  });
});

describe('timestamps (RFC 7323)', () => {
  test('PAWS: an older stamp is dropped and acknowledged', async () => {
    await script(`${STAMPED}
      < P. 1:11(10) ack 1 win 65535 <TS val 100 ecr 0>
      recv 10
      +40ms > . 1:1(0) ack 11 win 65535 <TS val 40 ecr 100>
      < P. 11:21(10) ack 1 win 65535 <TS val 99 ecr 0>
      > . 1:1(0) ack 11 win 65535 <TS val 40 ecr 100>
      recv 10 = -11
      counter tcp_paws 1`);
  });
  test('a segment without a stamp is dropped once stamps are agreed, a reset is not', async () => {
    await script(`${STAMPED}
      < P. 1:11(10) ack 1 win 65535
      recv 10 = -11
      counter tcp_paws 1
      < R 1:1(0) win 0
      state closed`);
  });
  test('the stamp echoed is that of the last segment in order that came before the acknowledgement', async () => {
    await script(`${STAMPED}
      < . 1001:2001(1000) ack 1 win 65535 <TS val 20 ecr 0>
      > . 1:1(0) ack 1 win 65535 <TS val 0 ecr 1>
      < . 1:1001(1000) ack 1 win 65535 <TS val 30 ecr 0>
      > . 1:1(0) ack 2001 win 65535 <TS val 0 ecr 30>`);
  });
  test('stamps count on over a restart', async () => {
    await script(`${STAMPED}
      < P. 1:11(10) ack 1 win 65535 <TS val 100 ecr 0>
      recv 10
      +40ms > . 1:1(0) ack 11 win 65535 <TS val 40 ecr 100>
      +1s
      kill
      > . 1:1(0) ack 11 win 65535 <TS val 1040 ecr 100>`);
  });
  test('a segment is smaller by the stamp', async () => {
    await script(`${STAMPED}
      send 2000
      > . 1:989(988) ack 1 win 65535 <TS val 0 ecr 1>
      > . 989:1977(988) ack 1 win 65535 <TS val 0 ecr 1>
      < . 1:1(0) ack 1977 win 65535 <TS val 2 ecr 0>
      > P. 1977:2001(24) ack 1 win 65535 <TS val 0 ecr 2>`);
  });
});

describe('answers to answers', () => {
  test('acknowledgements that do not fit are answered five times a second at most, data always', async () => {
    await script(`${PASSIVE}
      ${'< . -100:-100(0) ack 1 win 65535\n > . 1:1(0) ack 1 win 65535\n'.repeat(5)}
      < . -100:-100(0) ack 1 win 65535
      < . 90000:90000(0) ack 1 win 65535
      counter tcp_challenges_held 2
      < . -100:-90(10) ack 1 win 65535
      > . 1:1(0) ack 1 win 65535`);
  });
});

describe('keepalive (RFC 9293 3.8.4)', () => {
  test('asks after the idle time, then every 75 s; nine without answer end it', async () => {
    await script(`${PASSIVE}
      option keepalive 100
      +100s > . 0:0(0) ack 1 win 65535
      ${'+75s > . 0:0(0) ack 1 win 65535\n'.repeat(8)}
      +75s > R. 1:1(0) ack 1
      recv 1 = -110`);
  });
  test('any answer starts the idle time anew', async () => {
    await script(`${PASSIVE}
      option keepalive 100
      +100s > . 0:0(0) ack 1 win 65535
      < . 1:1(0) ack 1 win 65535
      +99s
      +1s > . 0:0(0) ack 1 win 65535
      counter tcp_keepalives 2`);
  });
  test('traffic keeps it quiet', async () => {
    await script(`${PASSIVE}
      option keepalive 100
      +60s
      < P. 1:11(10) ack 1 win 65535
      recv 10
      +40ms > . 1:1(0) ack 11 win 65535
      +99.9s
      +60ms > . 0:0(0) ack 11 win 65535`);
  });
  test('a keepalive of the peer is answered', async () => {
    await script(`${PASSIVE}
      < . 0:0(0) ack 1 win 65535
      > . 1:1(0) ack 1 win 65535`);
  });
});

describe('death', () => {
  test('idle: one duplicate acknowledgement', async () => { await script(`${PASSIVE}\n kill\n > . 1:1(0) ack 1 win 65535\n state established\n counter tcp_revived 1`); });
  test('with data under way: the head goes once; the rest when the peer says where it is', async () => {
    await script(`${PASSIVE}
      send 4000
      > . 1:1001(1000) ack 1 win 65535
      > . 1001:2001(1000) ack 1 win 65535
      > . 2001:3001(1000) ack 1 win 65535
      > P. 3001:4001(1000) ack 1 win 65535
      kill
      > . 1:1001(1000) ack 1 win 65535
      < . 1:1(0) ack 2001 win 65535
      > . 2001:3001(1000) ack 1 win 65535
      > P. 3001:4001(1000) ack 1 win 65535
      < . 1:1(0) ack 4001 win 65535`);
  });
  test('the peer had everything', async () => {
    await script(`${PASSIVE}
      send 2000
      > . 1:1001(1000) ack 1 win 65535
      > P. 1001:2001(1000) ack 1 win 65535
      kill
      > . 1:1001(1000) ack 1 win 65535
      < . 1:1(0) ack 2001 win 65535
      send 100
      > P. 2001:2101(100) ack 1 win 65535`);
  });
  test('no answer: the timer', async () => {
    await script(`${PASSIVE}
      send 1000
      > P. 1:1001(1000) ack 1 win 65535
      kill
      > P. 1:1001(1000) ack 1 win 65535
      +200ms > P. 1:1001(1000) ack 1 win 65535
      +400ms > P. 1:1001(1000) ack 1 win 65535`);
  });
  test('received and not read: still there; out of order data are asked for again', async () => {
    await script(`${PASSIVE}
      < P. 1:1001(1000) ack 1 win 65535
      < P. 2001:3001(1000) ack 1 win 65535
      > . 1:1(0) ack 1001 win 65535
      kill
      > . 1:1(0) ack 1001 win 65535
      recv 5000 = 1000
      < P. 1001:2001(1000) ack 1 win 65535
      +40ms > . 1:1(0) ack 2001 win 65535`);
  });
  test('zero window and dead: probing goes on', async () => {
    await script(`
      listen
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      < . 1:1(0) ack 1 win 0
      accept
      send 100
      kill
      > . 1:2(1) ack 1 win 65535
      < . 1:1(0) ack 1 win 0
      +200ms > . 1:2(1) ack 1 win 65535
      < . 1:1(0) ack 1 win 1000
      > P. 1:101(100) ack 1 win 65535`);
  });
});
