import { describe, expect, test } from 'vitest';
import * as P from './packet.ts';
import { ACTIVE, PASSIVE, script } from './script.ts';

describe('closing', () => {
  test('we first: FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT for 60 s', async () => {
    await script(`${PASSIVE}
      close
      > F. 1:1(0) ack 1 win 65535
      state finWait1
      < . 1:1(0) ack 2 win 65535
      state finWait2
      < F. 1:1(0) ack 2 win 65535
      > . 2:2(0) ack 2 win 65535
      state timeWait
      +59.9s
      state timeWait
      +100ms
      state none`);
  });
  test('FIN and its acknowledgement in one segment: straight to TIME-WAIT', async () => {
    await script(`${PASSIVE}
      close
      > F. 1:1(0) ack 1 win 65535
      < F. 1:1(0) ack 2 win 65535
      > . 2:2(0) ack 2 win 65535
      state timeWait`);
  });
  test('both at once: CLOSING', async () => {
    await script(`${PASSIVE}
      close
      > F. 1:1(0) ack 1 win 65535
      < F. 1:1(0) ack 1 win 65535
      > . 2:2(0) ack 2 win 65535
      state closing
      < . 2:2(0) ack 2 win 65535
      state timeWait`);
  });
  test('the peer first: CLOSE-WAIT, LAST-ACK', async () => {
    await script(`${PASSIVE}
      < F. 1:1(0) ack 1 win 65535
      > . 1:1(0) ack 2 win 65535
      state closeWait
      events 5
      send 100
      > P. 1:101(100) ack 2 win 65535
      close
      > F. 101:101(0) ack 2 win 65535
      state lastAck
      < . 2:2(0) ack 102 win 65535
      state none`);
  });
  test('half closed: we go on reading', async () => {
    await script(`${PASSIVE}
      shutdown 1
      > F. 1:1(0) ack 1 win 65535
      < . 1:1(0) ack 2 win 65535
      send 1 = -32
      < P. 1:101(100) ack 2 win 65535
      recv 200 = 100
      +40ms > . 2:2(0) ack 101 win 65535
      < F. 101:101(0) ack 2 win 65535
      > . 2:2(0) ack 102 win 65535
      recv 10 = 0
      events 21`);
  });
  test('a FIN that comes again in TIME-WAIT is acknowledged and starts the 60 s anew', async () => {
    await script(`${PASSIVE}
      close
      > F. 1:1(0) ack 1 win 65535
      < F. 1:1(0) ack 2 win 65535
      > . 2:2(0) ack 2 win 65535
      +30s
      < F. 1:1(0) ack 2 win 65535
      > . 2:2(0) ack 2 win 65535
      +59s
      state timeWait
      +1s
      state none`);
  });
  test('FIN after the data, in the same segment when it fits', async () => {
    await script(`${PASSIVE}
      send 10
      > P. 1:11(10) ack 1 win 65535
      send 100
      close
      > FP. 11:111(100) ack 1 win 65535`);
  });
  test('a FIN is sent again', async () => {
    await script(`${PASSIVE}
      close
      > F. 1:1(0) ack 1 win 65535
      +200ms > F. 1:1(0) ack 1 win 65535
      +400ms > F. 1:1(0) ack 1 win 65535
      < . 1:1(0) ack 2 win 65535
      state finWait2`);
  });
  test('a FIN ahead of missing data waits for them', async () => {
    await script(`${PASSIVE}
      < F. 101:101(0) ack 1 win 65535
      > . 1:1(0) ack 1 win 65535
      state established
      < P. 1:101(100) ack 1 win 65535
      < F. 101:101(0) ack 1 win 65535
      > . 1:1(0) ack 102 win 65535
      state closeWait`);
  });
  test('closing with unread data is a reset (RFC 2525, 2.17)', async () => {
    await script(`${PASSIVE}
      < P. 1:101(100) ack 1 win 65535
      close
      > R. 1:1(0) ack 101
      state none
      objects sockets 1`);
  });
  test('data for a socket that was closed: reset', async () => {
    await script(`${PASSIVE}
      close
      > F. 1:1(0) ack 1 win 65535
      < . 1:1(0) ack 2 win 65535
      < P. 1:101(100) ack 2 win 65535
      > R. 2:2(0) ack 1
      state none`);
  });
  test('linger 0: closing is a reset', async () => {
    await script(`${PASSIVE}
      option linger 0
      close
      > R. 1:1(0) ack 1
      objects sockets 1`);
  });
  test('FIN-WAIT-2 of a closed socket ends after 60 s', async () => {
    await script(`${PASSIVE}
      close
      > F. 1:1(0) ack 1 win 65535
      < . 1:1(0) ack 2 win 65535
      state finWait2
      +59.9s
      +100ms
      state none`);
  });
  test('a closed socket whose peer keeps its window shut is given up after 15 minutes', async () => {
    const stack = await script(`
      listen
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      < . 1:1(0) ack 1 win 0
      accept
      send 100
      close`);
    stack.onFrame = undefined;
    for (let s = 0; s < 880; s += 10) {
      stack.advance(10_000_000_000n);
      const last = stack.out.map((f) => P.parse(f)).filter((p) => p.tcp !== undefined).pop();
      stack.out.length = 0;
      if (last?.tcp === undefined || (last.tcp.flags & P.RST) !== 0) continue;
      const from = P.ip('10.0.2.2'), to = P.ip('10.0.2.15');
      stack.input(P.ethernet(P.mac('52:54:00:12:34:56'), P.mac('02:00:00:00:00:02'), 0x800, P.ipv4({ protocol: 6, source: from, destination: to }, P.tcp(from, to, { sourcePort: 4000, destinationPort: 80, seq: last.tcp.ack, ack: last.tcp.seq, flags: P.ACK, window: 0 }))));
    }
    expect(stack.objects('sockets')).toBe(2);
    stack.advance(20_000_000_000n);
    expect(stack.objects('sockets')).toBe(1);
  });
  test('closing before the SYN is answered is silent', async () => {
    await script(`
      connect
      > S 0:0(0) win 65535 <mss 1460,sackOK,TS val 0 ecr 0,wscale 2>
      close
      connected = -103
      objects sockets 0`);
  });
  test('a closed listener resets what it had not given away', async () => {
    await script(`
      listen
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      < . 1:1(0) ack 1 win 65535
      close listener
      > R. 1:1(0) ack 1
      objects sockets 0`);
  });
  test('a new SYN with a higher number ends TIME-WAIT (RFC 9293 3.10.7.4)', async () => {
    await script(`${PASSIVE}
      close
      > F. 1:1(0) ack 1 win 65535
      < F. 1:1(0) ack 2 win 65535
      > . 2:2(0) ack 2 win 65535
      < S 1000:1000(0) win 65535 <mss 1000>
      > anew S. 0:0(0) ack 1001 win 65535 <mss 1460>
      counter tcp_time_wait_reused 1`);
  });
  test('a reset does not end TIME-WAIT (RFC 1337)', async () => {
    await script(`${PASSIVE}
      close
      > F. 1:1(0) ack 1 win 65535
      < F. 1:1(0) ack 2 win 65535
      > . 2:2(0) ack 2 win 65535
      < R 2:2(0) win 0
      state timeWait`);
  });
  test('in CLOSE-WAIT and dead: FIN received is not forgotten', async () => {
    await script(`${PASSIVE}
      < FP. 1:101(100) ack 1 win 65535
      > . 1:1(0) ack 102 win 65535
      kill
      > . 1:1(0) ack 102 win 65535
      recv 200 = 100
      recv 10 = 0
      close
      > F. 1:1(0) ack 102 win 65535
      < . 102:102(0) ack 2 win 65535
      state none`);
  });
  test('in FIN-WAIT-1 and dead: FIN goes again', async () => {
    await script(`${PASSIVE}
      close
      > F. 1:1(0) ack 1 win 65535
      kill
      > F. 1:1(0) ack 1 win 65535
      < F. 1:1(0) ack 2 win 65535
      > . 2:2(0) ack 2 win 65535
      state timeWait`);
  });
  test('in TIME-WAIT and dead', async () => {
    await script(`${ACTIVE}
      close
      > F. 1:1(0) ack 1 win 65535
      < F. 1:1(0) ack 2 win 65535
      > . 2:2(0) ack 2 win 65535
      kill
      state timeWait
      +60s
      state none`);
  });
});
