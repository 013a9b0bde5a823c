/**
 * What lies beyond the gateway, as the address translation sees it: live sockets (live.ts) or the virtual services of the deterministic
 * peer (services.ts). One conversation, two implementations.
 *
 * TCP is pulled: the connection tells its stream that there is something to read or room to write, and the stream takes or gives as much as
 * it can. What it does not take stays in the receive buffer and closes the guest's window; what the guest does not take leaves no room, and
 * the stream stops reading.
 */
import type { TcpConnection } from './connection.ts';

export interface HostStream {
  /** Bytes of the guest are there (`peek`, `consume`), or its end (`atEnd`). */
  readable(): void;
  /** There is room again (`sendSpace`) after there was none. */
  writable(): void;
  /** The guest reset the connection or cannot be reached any more. */
  aborted(): void;
  /** Both directions have ended in good order. */
  closed(): void;
}

export type ConnectFailure = 'refused' | 'unreachable' | 'timeout' | 'forbidden';

/** Datagrams between one port of the guest and one address beyond. */
export interface UdpFlow {
  readonly id: number;
  readonly guestAddress: number;
  readonly guestPort: number;
  /** As the guest sees it. */
  readonly peerAddress: number;
  readonly peerPort: number;
  lastUsedNs: number;
}

export interface Outside {
  /** A guest wants this connection. Sets `connection.stream`, then calls `connected` or `failed`, at once or later. */
  connect(connection: TcpConnection): void;
  /** A datagram of the guest. `payload` is valid during the call only. */
  datagram(flow: UdpFlow, payload: Uint8Array): void;
  flowClosed(flow: UdpFlow): void;
  /** Who answers echo requests besides the gateway and the name server. */
  answersEcho(address: number): boolean;
}
