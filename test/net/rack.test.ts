/** RACK-TLP (RFC 8985), with PRR (RFC 6937) and D-SACK (RFC 2883): exact segments over a path of 20 ms. */
import { describe, test } from 'vitest';
import { PASSIVE_PATH, script, segments } from './script.ts';

describe('tail loss probe (RFC 8985, 7)', () => {
  test('the last two of four are lost: the probe goes after two round trips, its answer repairs the rest, no timeout', async () => {
    await script(`${PASSIVE_PATH}
      send 4000
      ${segments(1, 3)}
      > P. 3001:4001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 2001 win 65535
      +40ms > P. 3001:4001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 2001 win 65535 <sack 3001:4001>
      > . 2001:3001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 4001 win 65535
      counter tcp_timeouts 0
      counter tcp_tail_probes 1
      counter tcp_retransmitted 2`);
  });
  test('the very last is lost: the probe is the repair, and the window comes down when more was acknowledged (7.4.2)', async () => {
    await script(`${PASSIVE_PATH}
      option congestion 0
      send 10000
      ${segments(1, 9)}
      > P. 9001:10001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 8001 win 65535
      +40ms > P. 9001:10001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 10001 win 65535
      send 1000
      > P. 10001:11001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 11001 win 65535
      counter tcp_probe_repaired 1
      counter tcp_timeouts 0`);
  });
  test('something new goes rather than something again', async () => {
    await script(`${PASSIVE_PATH}
      send 12000
      ${segments(1, 10)}
      +40ms > . 10001:11001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 10001 win 65535
      > P. 11001:12001(1000) ack 1 win 65535
      < . 1:1(0) ack 12001 win 65535
      counter tcp_retransmitted 0`);
  });
  test('only one: then the retransmission timer', async () => {
    await script(`${PASSIVE_PATH}
      send 2000
      > . 1:1001(1000) ack 1 win 65535
      > P. 1001:2001(1000) ack 1 win 65535
      +40ms > P. 1001:2001(1000) ack 1 win 65535
      +200ms > . 1:1001(1000) ack 1 win 65535
      +400ms > . 1:1001(1000) ack 1 win 65535
      counter tcp_tail_probes 1
      counter tcp_timeouts 2`);
  });
  test('a lone segment waits for an acknowledgement that may be delayed by 200 ms: here the timer comes first', async () => {
    await script(`${PASSIVE_PATH}
      send 1000
      > P. 1:1001(1000) ack 1 win 65535
      +200ms > P. 1:1001(1000) ack 1 win 65535
      counter tcp_tail_probes 0`);
  });
  test('a needless probe: D-SACK says so, nothing comes down', async () => {
    await script(`${PASSIVE_PATH}
      option congestion 0
      send 2000
      > . 1:1001(1000) ack 1 win 65535
      > P. 1001:2001(1000) ack 1 win 65535
      +40ms > P. 1001:2001(1000) ack 1 win 65535
      +5ms
      < . 1:1(0) ack 2001 win 65535
      < . 1:1(0) ack 2001 win 65535 <sack 1001:2001>
      send 1000
      > P. 2001:3001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 3001 win 65535
      counter tcp_dsacks 1
      counter tcp_probe_repaired 0`);
  });
  test('the FIN is probed like data', async () => {
    await script(`${PASSIVE_PATH}
      send 2000
      > . 1:1001(1000) ack 1 win 65535
      > P. 1001:2001(1000) ack 1 win 65535
      shutdown 1
      > F. 2001:2001(0) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 1001 win 65535
      +40ms > FP. 1001:2001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 2002 win 65535
      counter tcp_timeouts 0`);
  });
  test('a shut window is no tail: the persist timer asks', async () => {
    await script(`${PASSIVE_PATH}
      send 2000
      > . 1:1001(1000) ack 1 win 65535
      > P. 1001:2001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 2001 win 0
      send 1000
      +200ms > . 2001:2002(1) ack 1 win 65535
      counter tcp_tail_probes 0`);
  });
});

describe('RACK (RFC 8985, 6)', () => {
  test('one segment ahead of the others by less than the window (RTT/4): nothing is sent again', async () => {
    await script(`${PASSIVE_PATH}
      send 2000
      > . 1:1001(1000) ack 1 win 65535
      > P. 1001:2001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 1 win 65535 <sack 1001:2001>
      +4.9ms
      < . 1:1(0) ack 2001 win 65535
      +1s
      counter tcp_retransmitted 0
      counter tcp_reordered 1`);
  });
  test('... by more: lost when the window is over, two duplicates notwithstanding', async () => {
    await script(`${PASSIVE_PATH}
      send 2000
      > . 1:1001(1000) ack 1 win 65535
      > P. 1001:2001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 1 win 65535 <sack 1001:2001>
      +5ms > . 1:1001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 2001 win 65535
      counter tcp_timeouts 0`);
  });
  test('three segments ahead, not seen before on this path: lost at once, as with three duplicates', async () => {
    await script(`${PASSIVE_PATH}
      send 4000
      ${segments(1, 3)}
      > P. 3001:4001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 1 win 65535 <sack 1001:4001>
      > . 1:1001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 4001 win 65535`);
  });
  test('once reordering has been seen, three segments ahead are no loss within the window', async () => {
    await script(`${PASSIVE_PATH}
      send 2000
      > . 1:1001(1000) ack 1 win 65535
      > P. 1001:2001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 1 win 65535 <sack 1001:2001>
      +1ms
      < . 1:1(0) ack 2001 win 65535
      send 5000
      ${segments(2001, 4)}
      > P. 6001:7001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 2001 win 65535 <sack 3001:7001>
      +4ms
      < . 1:1(0) ack 7001 win 65535
      +1s
      counter tcp_retransmitted 0`);
  });
  test('D-SACK: the window was too small, it grows by a quarter of a round trip (6.2, step 4)', async () => {
    await script(`${PASSIVE_PATH}
      send 2000
      > . 1:1001(1000) ack 1 win 65535
      > P. 1001:2001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 1 win 65535 <sack 1001:2001>
      +5ms > . 1:1001(1000) ack 1 win 65535
      +1ms
      < . 1:1(0) ack 2001 win 65535
      +19ms
      < . 1:1(0) ack 2001 win 65535 <sack 1:1001>
      counter tcp_dsacks 1
      send 2000
      > . 2001:3001(1000) ack 1 win 65535
      > P. 3001:4001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 2001 win 65535 <sack 3001:4001>
      +9.9ms
      < . 1:1(0) ack 4001 win 65535
      +1s
      counter tcp_retransmitted 1`);
  });
  test('a retransmission that is lost: what was sent after it has come, so it goes once more, without the timer', async () => {
    await script(`${PASSIVE_PATH}
      option congestion 0
      send 20000
      ${segments(1, 10)}
      +20ms
      < . 1:1(0) ack 1 win 65535 <sack 1001:5001>
      > . 1:1001(1000) ack 1 win 65535
      +1ms
      < . 1:1(0) ack 1 win 65535 <sack 1001:10001>
      > . 10001:11001(1000) ack 1 win 65535
      > . 11001:12001(1000) ack 1 win 65535
      > . 12001:13001(1000) ack 1 win 65535
      > . 13001:14001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 1 win 65535 <sack 1001:11001>
      > . 1:1001(1000) ack 1 win 65535
      > . 14001:15001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 15001 win 65535
      ${segments(15001, 4)}
      > P. 19001:20001(1000) ack 1 win 65535
      counter tcp_lost_again 1
      counter tcp_timeouts 0
      counter tcp_retransmitted 2`);
  });
  test('an acknowledgement that comes too soon after a retransmission is that of the original: no sample, no loss from it', async () => {
    await script(`${PASSIVE_PATH}
      send 4000
      ${segments(1, 3)}
      > P. 3001:4001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 1 win 65535 <sack 1001:2001>
      +5ms > . 1:1001(1000) ack 1 win 65535
      +1ms
      < . 1:1(0) ack 2001 win 65535
      +1ms
      < . 1:1(0) ack 4001 win 65535
      counter tcp_retransmitted 1`);
  });
  test('dead in the middle: the successor begins anew and the stream is whole', async () => {
    await script(`${PASSIVE_PATH}
      send 6000
      ${segments(1, 5)}
      > P. 5001:6001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 1 win 65535 <sack 1001:3001>
      kill
      > . 1:1001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 3001 win 65535 <sack 4001:6001>
      > . 3001:4001(1000) ack 1 win 65535
      +20ms
      < . 1:1(0) ack 6001 win 65535
      counter tcp_timeouts 0`);
  });
});

describe('what we say as the receiver (RFC 2883)', () => {
  test('a segment that comes twice: D-SACK', async () => {
    await script(`${PASSIVE_PATH}
      < . 1:1001(1000) ack 1 win 65535
      < . 1001:2001(1000) ack 1 win 65535
      > . 1:1(0) ack 2001 win 65535
      < . 1001:2001(1000) ack 1 win 65535
      > . 1:1(0) ack 2001 win 65535 <sack 1001:2001>`);
  });
  test('the part of a segment that was there', async () => {
    await script(`${PASSIVE_PATH}
      < . 1:1001(1000) ack 1 win 65535
      +40ms > . 1:1(0) ack 1001 win 65535
      < . 501:1501(1000) ack 1 win 65535
      > . 1:1(0) ack 1501 win 65535 <sack 501:1001>`);
  });
  test('out of order and there already: both blocks, the ranges behind it', async () => {
    await script(`${PASSIVE_PATH}
      < . 2001:3001(1000) ack 1 win 65535
      > . 1:1(0) ack 1 win 65535 <sack 2001:3001>
      < . 2001:3001(1000) ack 1 win 65535
      > . 1:1(0) ack 1 win 65535 <sack 2001:3001 2001:3001>`);
  });
});
