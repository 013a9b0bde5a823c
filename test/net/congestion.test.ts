/** The congestion window and what limits it: slow start and its end (RFC 5681, RFC 9406), idleness and applications that send little (RFC 7661), limited transmit (RFC 3042), CUBIC (RFC 9438), path MTU (RFC 1191). */
import { describe, test } from 'vitest';
import { ACTIVE, PASSIVE, PASSIVE_PATH, PASSIVE_SACK, script, segments } from './script.ts';

describe('slow start', () => {
  test('grows by what is acknowledged, up to eight segments for one acknowledgement (RFC 9406, L = 8)', async () => {
    await script(`${PASSIVE_PATH}
      send 60000
      ${segments(1, 10)}
      +20ms
      < . 1:1(0) ack 2001 win 65535
      ${segments(10001, 4)}
      cwnd 12000
      < . 1:1(0) ack 12001 win 65535
      ${segments(14001, 18)}
      cwnd 20000`);
  });
  test('ends when the round trip grows (HyStart++, RFC 9406): then a quarter of the pace', async () => {
    await script(`${PASSIVE_PATH}
      send 200000
      ${segments(1, 10)}
      +20ms
      ${Array.from({ length: 10 }, (_, n) => `< . 1:1(0) ack ${1001 + 1000 * n} win 65535\n${segments(10001 + 2000 * n, 2)}`).join('\n')}
      cwnd 20000
      +28ms
      ${Array.from({ length: 8 }, (_, n) => `< . 1:1(0) ack ${11001 + 1000 * n} win 65535\n${n < 7 ? segments(30001 + 2000 * n, 2) : segments(44001, 1)}`).join('\n')}
      cwnd 27250`);
  });
  test('the same round trip: it goes on doubling', async () => {
    await script(`${PASSIVE_PATH}
      send 200000
      ${segments(1, 10)}
      +20ms
      ${Array.from({ length: 10 }, (_, n) => `< . 1:1(0) ack ${1001 + 1000 * n} win 65535\n${segments(10001 + 2000 * n, 2)}`).join('\n')}
      +20ms
      ${Array.from({ length: 8 }, (_, n) => `< . 1:1(0) ack ${11001 + 1000 * n} win 65535\n${segments(30001 + 2000 * n, 2)}`).join('\n')}
      cwnd 28000`);
  });
});

describe('who does not use the window', () => {
  test('a program that sends little does not make it grow (RFC 7661)', async () => {
    await script(`${PASSIVE_PATH}
      ${Array.from({ length: 6 }, (_, n) => `send 1000\n> P. ${1 + 1000 * n}:${1001 + 1000 * n}(1000) ack 1 win 65535\n+20ms\n< . 1:1(0) ack ${1001 + 1000 * n} win 65535`).join('\n')}
      cwnd 10000`);
  });
  test('idle for a timeout: the initial window again (RFC 5681, 4.1)', async () => {
    await script(`${PASSIVE_PATH}
      send 10000
      ${segments(1, 9)}
      > P. 9001:10001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 10001 win 65535
      cwnd 18000
      +1s
      send 30000
      ${segments(10001, 10)}
      cwnd 10000`);
  });
});

describe('limited transmit (RFC 3042)', () => {
  test('without SACK: each of the first two duplicates lets a new segment go', async () => {
    await script(`${PASSIVE}
      send 20000
      ${segments(1, 10)}
      < . 1:1(0) ack 1 win 65535
      > . 10001:11001(1000) ack 1 win 65535
      < . 1:1(0) ack 1 win 65535
      > . 11001:12001(1000) ack 1 win 65535`);
  });
  test('not into a window that the peer has closed', async () => {
    await script(`
      listen
      < S 0:0(0) win 3000 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      < . 1:1(0) ack 1 win 3000
      accept
      send 9000
      ${segments(1, 3)}
      < . 1:1(0) ack 1 win 3000
      < . 1:1(0) ack 1 win 3000`);
  });
});

describe('CUBIC (RFC 9438)', () => {
  test('a loss takes three tenths, not half', async () => {
    await script(`${PASSIVE_PATH}
      send 40000
      ${segments(1, 10)}
      +20ms
      < . 1:1(0) ack 1 win 65535 <sack 1001:4001>
      > . 1:1001(1000) ack 1 win 65535
      +1ms
      < . 1:1(0) ack 1 win 65535 <sack 1001:10001>
      ${segments(10001, 6)}
      +20ms
      < . 1:1(0) ack 16001 win 65535
      ${segments(16001, 7)}
      cwnd 7000`);
  });
});

describe('path MTU (RFC 1191)', () => {
  test('fragmentation needed: smaller segments from the first unacknowledged one on', async () => {
    await script(`
      listen
      < S 0:0(0) win 65535 <mss 1460>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      < . 1:1(0) ack 1 win 65535
      accept
      send 2920
      > . 1:1461(1460) ack 1 win 65535
      > P. 1461:2921(1460) ack 1 win 65535
      unreachable 4 1 1040
      ${segments(1, 2)}
      > P. 2001:2921(920) ack 1 win 65535
      < . 1:1(0) ack 2921 win 65535`);
  });
  test('with SACK the same; what was reported does not go again', async () => {
    await script(`
      listen
      < S 0:0(0) win 65535 <mss 1460,sackOK>
      > S. 0:0(0) ack 1 win 65535 <mss 1460,sackOK>
      < . 1:1(0) ack 1 win 65535
      accept
      send 2920
      > . 1:1461(1460) ack 1 win 65535
      > P. 1461:2921(1460) ack 1 win 65535
      < . 1:1(0) ack 1 win 65535 <sack 1461:2921>
      unreachable 4 1 1040
      > . 1:1001(1000) ack 1 win 65535
      > . 1001:1461(460) ack 1 win 65535
      < . 1:1(0) ack 2921 win 65535`);
  });
  test('a message about what is not under way changes nothing', async () => {
    await script(`${PASSIVE}
      send 1000
      > P. 1:1001(1000) ack 1 win 65535
      unreachable 4 1 600 50000
      counter tcp_icmp_sequence 1
      < . 1:1(0) ack 1001 win 65535`);
  });
  test('port unreachable about a connection that stands is no end of it (RFC 1122, 4.2.3.9)', async () => {
    await script(`${PASSIVE_SACK}
      send 1000
      > P. 1:1001(1000) ack 1 win 65535
      unreachable 3 1 0
      state established
      < . 1:1(0) ack 1001 win 65535`);
  });
});

describe('states and odd segments', () => {
  test('data behind the FIN of the peer are not taken', async () => {
    await script(`${PASSIVE}
      < F. 1:1(0) ack 1 win 65535
      > . 1:1(0) ack 2 win 65535
      < . 2:102(100) ack 1 win 65535
      state closeWait
      recv 10 = 0`);
  });
  test('a FIN in the middle of out of order data is remembered by nobody and comes again', async () => {
    await script(`${PASSIVE_SACK}
      < F. 1001:2001(1000) ack 1 win 65535
      > . 1:1(0) ack 1 win 65535 <sack 1001:2001>
      < . 1:1001(1000) ack 1 win 65535
      > . 1:1(0) ack 2001 win 65535
      state established
      < F. 2001:2001(0) ack 1 win 65535
      > . 1:1(0) ack 2002 win 65535
      state closeWait`);
  });
  test('SYN and FIN in one segment to a listener: the FIN does not count', async () => {
    await script(`
      listen
      < SF 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      < . 1:1(0) ack 1 win 65535
      accept
      state established`);
  });
  test('the answer of a simultaneous close is lost: the FIN again, then TIME-WAIT', async () => {
    await script(`${ACTIVE}
      shutdown 1
      > F. 1:1(0) ack 1 win 65535
      < F. 1:1(0) ack 1 win 65535
      > . 2:2(0) ack 2 win 65535
      state closing
      +200ms > F. 1:1(0) ack 2 win 65535
      < . 2:2(0) ack 2 win 65535
      state timeWait`);
  });
  test('a window that closes while the tail is under way: probed, opened, finished', async () => {
    await script(`${PASSIVE_PATH}
      send 3000
      ${segments(1, 2)}
      > P. 2001:3001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 2001 win 0
      +200ms > . 2001:2002(1) ack 1 win 65535
      < . 1:1(0) ack 3001 win 0
      send 500
      +200ms > . 3001:3002(1) ack 1 win 65535
      < . 1:1(0) ack 3001 win 2000
      > P. 3001:3501(500) ack 1 win 65535
      < . 1:1(0) ack 3501 win 2000
      state established`);
  });
});
