import { describe, expect, test } from 'vitest';
import * as P from './packet.ts';
import { ACTIVE, PASSIVE, script } from './script.ts';

describe('opening', () => {
  test('passive open, data both ways, the peer closes first', async () => {
    await script(`${PASSIVE}
      state established
      < P. 1:101(100) ack 1 win 65535
      recv 200 = 100
      +40ms > . 1:1(0) ack 101 win 65535
      send 50
      > P. 1:51(50) ack 101 win 65535
      < F. 101:101(0) ack 51 win 65535
      > . 51:51(0) ack 102 win 65535
      state closeWait
      recv 10 = 0
      close
      > F. 51:51(0) ack 102 win 65535
      state lastAck
      < . 102:102(0) ack 52 win 65535
      state none
      objects sockets 1`);
  });
  test('active open', async () => { await script(`${ACTIVE}\n state established`); });
  test('active open with every option agreed: windows are scaled, segments stamped', async () => {
    await script(`
      connect
      > S 0:0(0) win 65535 <mss 1460,sackOK,TS val 0 ecr 0,wscale 2>
      < S. 0:0(0) ack 1 win 65535 <mss 1460,sackOK,TS val 0 ecr 0,wscale 7>
      > . 1:1(0) ack 1 win 63488 <TS val 0 ecr 0>
      connected = 0
      +10ms
      send 100
      > P. 1:101(100) ack 1 win 63488 <TS val 10 ecr 0>
      < . 1:1(0) ack 101 win 500 <TS val 10 ecr 10>`);
  });
  test('an option that the peer does not offer is not used', async () => {
    await script(`
      listen
      < S 0:0(0) win 65535 <mss 1460,TS val 0 ecr 0>
      > S. 0:0(0) ack 1 win 65535 <mss 1460,TS val 0 ecr 0>
      < . 1:1(0) ack 1 win 65535 <TS val 1 ecr 0>
      accept`);
  });
  test('no MSS option means 536', async () => {
    await script(`
      listen
      < S 0:0(0) win 65535
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      < . 1:1(0) ack 1 win 65535
      accept
      send 600
      > . 1:537(536) ack 1 win 65535`);
  });
  test('a SYN without answer goes again after 1, 2, 4, 8, 16, 32 s; then ETIMEDOUT', async () => {
    const syn = 'S 0:0(0) win 65535 <mss 1460,sackOK,TS val';
    await script(`
      connect
      > ${syn} 0 ecr 0,wscale 2>
      +1s > ${syn} 1000 ecr 0,wscale 2>
      +2s > ${syn} 3000 ecr 0,wscale 2>
      +4s > ${syn} 7000 ecr 0,wscale 2>
      +8s > ${syn} 15000 ecr 0,wscale 2>
      +16s > ${syn} 31000 ecr 0,wscale 2>
      +32s > ${syn} 63000 ecr 0,wscale 2>
      connected = waits
      +59s
      connected = waits
      +1s
      connected = -110`);
  });
  test('a reset of the SYN: ECONNREFUSED', async () => {
    await script(`
      connect
      > S 0:0(0) win 65535 <mss 1460,sackOK,TS val 0 ecr 0,wscale 2>
      < R. 0:0(0) ack 1 win 0
      connected = -111`);
  });
  test('a reset that acknowledges nothing of ours does not end the attempt', async () => {
    await script(`
      connect
      > S 0:0(0) win 65535 <mss 1460,sackOK,TS val 0 ecr 0,wscale 2>
      < R. 0:0(0) ack 100 win 0
      < R 0:0(0) win 0
      connected = waits
      counter tcp_rst_wrong 1
      counter tcp_ack_future 1`);
  });
  test('an acknowledgement of something never sent is reset (RFC 9293 3.10.7.3)', async () => {
    await script(`
      connect
      > S 0:0(0) win 65535 <mss 1460,sackOK,TS val 0 ecr 0,wscale 2>
      < S. 0:0(0) ack 77 win 65535 <mss 1000>
      > R 77:77(0)
      connected = waits`);
  });
  test('simultaneous open', async () => {
    await script(`
      connect
      > S 0:0(0) win 65535 <mss 1460,sackOK,TS val 0 ecr 0,wscale 2>
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      state synReceived
      < S. 0:0(0) ack 1 win 65535 <mss 1000>
      connected = 0
      state established
      < P. 1:11(10) ack 1 win 65535
      recv 10
      send 10
      > P. 1:11(10) ack 11 win 65535`);
  });
  test('simultaneous open, the acknowledgement comes alone', async () => {
    await script(`
      connect
      > S 0:0(0) win 65535 <mss 1460,sackOK,TS val 0 ecr 0,wscale 2>
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      < . 1:1(0) ack 1 win 65535
      connected = 0
      state established`);
  });
  test('a repeated SYN gets the same SYN-ACK', async () => {
    await script(`
      listen
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      < . 1:1(0) ack 1 win 65535
      accept`);
  });
  test('a SYN-ACK without answer goes again after 1, 2, 4, 8, 16 s; then the half-open connection is forgotten', async () => {
    await script(`
      listen
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      +1s > S. 0:0(0) ack 1 win 65535 <mss 1460>
      +2s > S. 0:0(0) ack 1 win 65535 <mss 1460>
      +4s > S. 0:0(0) ack 1 win 65535 <mss 1460>
      +8s > S. 0:0(0) ack 1 win 65535 <mss 1460>
      +16s > S. 0:0(0) ack 1 win 65535 <mss 1460>
      objects sockets 2
      +32s
      objects sockets 1`);
  });
  test('a reset ends a half-open connection', async () => {
    await script(`
      listen
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      < R 1:1(0) win 0
      objects sockets 1`);
  });
  test('a wrong acknowledgement of the SYN-ACK is reset, the connection waits on', async () => {
    await script(`
      listen
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      < . 1:1(0) ack 500 win 65535
      > R 500:500(0)
      < . 1:1(0) ack 1 win 65535
      accept`);
  });
  test('data with the acknowledgement that opens', async () => {
    await script(`
      listen
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      < P. 1:11(10) ack 1 win 65535
      accept
      recv 10
      +40ms > . 1:1(0) ack 11 win 65535`);
  });
  test('nobody listens: SYN and ACK are reset, RST is not answered', async () => {
    await script(`
      < S 0:0(0) win 65535
      > R. 0:0(0) ack 1
      < . 1:1(0) ack 50 win 65535
      > R 50:50(0)
      < R 1:1(0) win 0
      counter tcp_no_port 3`);
  });
  test('a full backlog drops SYNs', async () => {
    const stack = await script(`
      listen 1
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      < . 1:1(0) ack 1 win 65535`);
    const before = stack.events;
    const from = P.ip('10.0.2.2'), to = P.ip('10.0.2.15');
    const sent: Uint8Array[] = [];
    stack.onFrame = (f): void => { sent.push(f); };
    stack.input(P.ethernet(P.mac('52:54:00:12:34:56'), P.mac('02:00:00:00:00:02'), 0x800, P.ipv4({ protocol: 6, source: from, destination: to }, P.tcp(from, to, { sourcePort: 4001, destinationPort: 80, seq: 1, ack: 0, flags: P.SYN, window: 1000 }))));
    expect(sent).toEqual([]);
    expect(stack.events).toBeGreaterThan(before);
    expect(stack.counters()['tcp_backlog']).toBe(1);
  });
  test('sequence numbers wrap', async () => {
    await script(`${PASSIVE}
      < P. 1:1001(1000) ack 1 win 65535
      < P. 1001:2001(1000) ack 1 win 65535
      > . 1:1(0) ack 2001 win 65535
      recv 4000 = 2000`, { peerIss: 0xfffffc00 });
  });
  test('half open and dead: the SYN-ACK goes out again, the handshake ends with the successor', async () => {
    await script(`
      listen
      < S 0:0(0) win 65535 <mss 1000>
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      kill
      > S. 0:0(0) ack 1 win 65535 <mss 1460>
      < . 1:1(0) ack 1 win 65535
      accept
      state established`);
  });
  test('a SYN sent and dead: the successor sends it again and connects', async () => {
    await script(`
      connect
      > S 0:0(0) win 65535 <mss 1460,sackOK,TS val 0 ecr 0,wscale 2>
      kill
      > S 0:0(0) win 65535 <mss 1460,sackOK,TS val 0 ecr 0,wscale 2>
      < S. 0:0(0) ack 1 win 65535 <mss 1000>
      > . 1:1(0) ack 1 win 65535
      connected = 0`);
  });
});
