import { describe, test } from 'vitest';
import { PASSIVE, PASSIVE_PATH, PASSIVE_SACK, script, segments } from './script.ts';

describe('the retransmission timer (RFC 6298)', () => {
  test('doubles: 200, 400, 800 ms, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, then 60 s; given up after 15', async () => {
    const wait = [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000, 60000, 60000, 60000, 60000];
    await script(`${PASSIVE}
      send 100
      > P. 1:101(100) ack 1 win 65535
      ${wait.map((ms) => `+${ms}ms > P. 1:101(100) ack 1 win 65535`).join('\n')}
      +60s > R. 101:101(0) ack 1
      recv 1 = -110
      objects sockets 2`);
  });
  test('the first round trip sets it: RTT + 4 x RTT/2', async () => {
    await script(`
      listen
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      +100ms
      < . 1:1(0) ack 1 win 65535
      accept
      send 100
      > P. 1:101(100) ack 1 win 65535
      +300ms > P. 1:101(100) ack 1 win 65535`);
  });
  test('further ones are smoothed: 7/8 and 3/4', async () => {
    // RTT 100 ms: srtt 100, rttvar 50. RTT 200: rttvar 3/4*50 + 1/4*100 = 62.5, srtt 112.5; RTO 362.5 ms
    await script(`
      listen
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      +100ms
      < . 1:1(0) ack 1 win 65535
      accept
      send 100
      > P. 1:101(100) ack 1 win 65535
      +200ms
      < . 1:1(0) ack 101 win 65535
      send 100
      > P. 101:201(100) ack 1 win 65535
      +362.5ms > P. 101:201(100) ack 1 win 65535`);
  });
  test('Karn: the acknowledgement of what went twice is no measurement, the backed off time stays', async () => {
    await script(`
      listen
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      +100ms
      < . 1:1(0) ack 1 win 65535
      accept
      option nodelay 1
      send 100
      > P. 1:101(100) ack 1 win 65535
      send 100
      > P. 101:201(100) ack 1 win 65535
      +300ms > P. 1:201(200) ack 1 win 65535
      +10ms
      < . 1:1(0) ack 101 win 65535
      +600ms > P. 101:201(100) ack 1 win 65535`);
  });
  test('after a timeout one segment, then slow start through what was sent', async () => {
    await script(`${PASSIVE}
      send 5000
      ${segments(1, 4)}
      > P. 4001:5001(1000) ack 1 win 65535
      +200ms > . 1:1001(1000) ack 1 win 65535
      cwnd 1000
      < . 1:1(0) ack 1001 win 65535
      > . 1001:2001(1000) ack 1 win 65535
      > . 2001:3001(1000) ack 1 win 65535
      cwnd 2000
      < . 1:1(0) ack 5001 win 65535`);
  });
  test('an acknowledgement starts the timer anew', async () => {
    await script(`${PASSIVE}
      send 2000
      > . 1:1001(1000) ack 1 win 65535
      > P. 1001:2001(1000) ack 1 win 65535
      +1us
      < . 1:1(0) ack 1001 win 65535
      +200ms > P. 1001:2001(1000) ack 1 win 65535`);
  });
});

describe('fast retransmission, NewReno (RFC 5681, RFC 6582)', () => {
  const OPEN = `${PASSIVE}\n option congestion 0\n`;
  test('the third duplicate sends the head again; the window is halved and inflated', async () => {
    await script(`${OPEN}
      send 20000
      ${segments(1, 10)}
      < . 1:1(0) ack 1 win 65535
      > . 10001:11001(1000) ack 1 win 65535
      < . 1:1(0) ack 1 win 65535
      > . 11001:12001(1000) ack 1 win 65535
      < . 1:1(0) ack 1 win 65535
      > . 1:1001(1000) ack 1 win 65535
      cwnd 8000
      < . 1:1(0) ack 1 win 65535
      < . 1:1(0) ack 1 win 65535
      cwnd 10000
      < . 1:1(0) ack 12001 win 65535
      > . 12001:13001(1000) ack 1 win 65535
      > . 13001:14001(1000) ack 1 win 65535
      cwnd 2000`);
  });
  test('a partial acknowledgement sends the next hole at once', async () => {
    await script(`${OPEN}
      send 10000
      ${segments(1, 9)}
      > P. 9001:10001(1000) ack 1 win 65535
      < . 1:1(0) ack 1 win 65535
      < . 1:1(0) ack 1 win 65535
      < . 1:1(0) ack 1 win 65535
      > . 1:1001(1000) ack 1 win 65535
      < . 1:1(0) ack 3001 win 65535
      > . 3001:4001(1000) ack 1 win 65535
      < . 1:1(0) ack 10001 win 65535
      cwnd 2000`);
  });
  test('two duplicates are reordering: nothing is sent again', async () => {
    await script(`${OPEN}
      send 3000
      > . 1:1001(1000) ack 1 win 65535
      > . 1001:2001(1000) ack 1 win 65535
      > P. 2001:3001(1000) ack 1 win 65535
      < . 1:1(0) ack 1 win 65535
      < . 1:1(0) ack 1 win 65535
      < . 1:1(0) ack 3001 win 65535
      counter tcp_retransmitted 0`);
  });
  test('a changed window is no duplicate', async () => {
    await script(`${OPEN}
      send 3000
      > . 1:1001(1000) ack 1 win 65535
      > . 1001:2001(1000) ack 1 win 65535
      > P. 2001:3001(1000) ack 1 win 65535
      < . 1:1(0) ack 1 win 65534
      < . 1:1(0) ack 1 win 65533
      < . 1:1(0) ack 1 win 65532
      < . 1:1(0) ack 1 win 65531
      counter tcp_fast_retransmit 0`);
  });
  test('congestion avoidance: one segment a window', async () => {
    await script(`${OPEN}
      send 60000
      ${segments(1, 10)}
      < . 1:1(0) ack 1 win 65535
      > . 10001:11001(1000) ack 1 win 65535
      < . 1:1(0) ack 1 win 65535
      > . 11001:12001(1000) ack 1 win 65535
      < . 1:1(0) ack 1 win 65535
      > . 1:1001(1000) ack 1 win 65535
      < . 1:1(0) ack 12001 win 65535
      > . 12001:13001(1000) ack 1 win 65535
      > . 13001:14001(1000) ack 1 win 65535
      cwnd 2000
      < . 1:1(0) ack 14001 win 65535
      ${segments(14001, 4)}
      < . 1:1(0) ack 18001 win 65535
      ${segments(18001, 5)}
      cwnd 5000
      < . 1:1(0) ack 20001 win 65535
      > . 23001:24001(1000) ack 1 win 65535
      > . 24001:25001(1000) ack 1 win 65535
      < . 1:1(0) ack 23001 win 65535
      ${segments(25001, 4)}
      cwnd 6000`);
  });
});

describe('SACK (RFC 2018, RFC 6675)', () => {
  test('what came out of order is reported, the latest first', async () => {
    await script(`${PASSIVE_SACK}
      < . 1001:2001(1000) ack 1 win 65535
      > . 1:1(0) ack 1 win 65535 <sack 1001:2001>
      < . 3001:4001(1000) ack 1 win 65535
      > . 1:1(0) ack 1 win 65535 <sack 3001:4001 1001:2001>
      < . 5001:6001(1000) ack 1 win 65535
      > . 1:1(0) ack 1 win 65535 <sack 5001:6001 3001:4001 1001:2001>
      < . 2001:3001(1000) ack 1 win 65535
      > . 1:1(0) ack 1 win 65535 <sack 1001:4001 5001:6001>
      < . 1:1001(1000) ack 1 win 65535
      > . 1:1(0) ack 4001 win 65535 <sack 5001:6001>
      < . 4001:5001(1000) ack 1 win 65535
      > . 1:1(0) ack 6001 win 65535
      recv 9000 = 6000`);
  });
  test('only the hole is sent again', async () => {
    await script(`${PASSIVE_PATH}
      option congestion 0
      send 10000
      ${segments(1, 9)}
      > P. 9001:10001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 1001 win 65535
      < . 1:1(0) ack 1001 win 65535 <sack 2001:3001>
      < . 1:1(0) ack 1001 win 65535 <sack 2001:4001>
      < . 1:1(0) ack 1001 win 65535 <sack 2001:5001>
      > . 1001:2001(1000) ack 1 win 65535
      < . 1:1(0) ack 1001 win 65535 <sack 2001:10001>
      +20ms
      < . 1:1(0) ack 10001 win 65535
      counter tcp_retransmitted 1
      counter tcp_timeouts 0`);
  });
  test('several holes in one round trip, each when its turn comes in proportion (RFC 6937)', async () => {
    await script(`${PASSIVE_PATH}
      option congestion 0
      send 12000
      ${segments(1, 10)}
      +20ms
      < . 1:1(0) ack 1 win 65535 <sack 1001:2001>
      > . 10001:11001(1000) ack 1 win 65535
      < . 1:1(0) ack 1 win 65535 <sack 3001:4001 1001:2001>
      > P. 11001:12001(1000) ack 1 win 65535
      < . 1:1(0) ack 1 win 65535 <sack 5001:6001 3001:4001 1001:2001>
      > . 1:1001(1000) ack 1 win 65535
      < . 1:1(0) ack 1 win 65535 <sack 5001:7001 3001:4001 1001:2001>
      < . 1:1(0) ack 1 win 65535 <sack 5001:9001 3001:4001 1001:2001>
      > . 2001:3001(1000) ack 1 win 65535
      < . 1:1(0) ack 1 win 65535 <sack 5001:10001 3001:4001 1001:2001>
      > . 4001:5001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 12001 win 65535
      counter tcp_retransmitted 3
      counter tcp_timeouts 0`);
  });
  test('a timeout forgets what was reported: the receiver may have', async () => {
    await script(`${PASSIVE_PATH}
      send 3000
      > . 1:1001(1000) ack 1 win 65535
      > . 1001:2001(1000) ack 1 win 65535
      > P. 2001:3001(1000) ack 1 win 65535
      +40ms > P. 2001:3001(1000) ack 1 win 65535
      < . 1:1(0) ack 1 win 65535 <sack 2001:3001>
      > . 1:1001(1000) ack 1 win 65535
      > . 1001:2001(1000) ack 1 win 65535
      +200ms > . 1:1001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 1001 win 65535
      > . 1001:2001(1000) ack 1 win 65535
      > P. 2001:3001(1000) ack 1 win 65535
      < . 1:1(0) ack 3001 win 65535`);
  });
  test('going back, what is reported again is skipped', async () => {
    await script(`${PASSIVE_PATH}
      send 4000
      > . 1:1001(1000) ack 1 win 65535
      > . 1001:2001(1000) ack 1 win 65535
      > . 2001:3001(1000) ack 1 win 65535
      > P. 3001:4001(1000) ack 1 win 65535
      +40ms > P. 3001:4001(1000) ack 1 win 65535
      +200ms > . 1:1001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 1001 win 65535 <sack 2001:3001>
      > . 1001:2001(1000) ack 1 win 65535
      > P. 3001:4001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 4001 win 65535`);
  });
  test('blocks outside of what is under way are refused', async () => {
    await script(`${PASSIVE_SACK}
      send 1000
      > P. 1:1001(1000) ack 1 win 65535
      < . 1:1(0) ack 1 win 65535 <sack 5001:6001>
      < . 1:1(0) ack 1 win 65535 <sack 901:501>
      < . 1:1(0) ack 1 win 65535 <sack 501:5001>
      counter tcp_sack_bad 3
      < . 1:1(0) ack 1001 win 65535`);
  });
  test('a damaged SACK option is counted', async () => {
    await script(`${PASSIVE_SACK}
      send 1000
      > P. 1:1001(1000) ack 1 win 65535
      < . 1:1(0) ack 1001 win 65535 <hex 0505ffffff>
      counter tcp_option 1`);
  });
});
