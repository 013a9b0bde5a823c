/**
 * The workload `net` of campaigns: one program looks up a name, sends an echo request and a datagram, uploads, downloads, and sends a stream there and back, against the
 * deterministic gateway. Streams are checked to the last byte by both ends; datagrams, which may be lost, are repeated by the program until one comes back.
 */
import { conversationOutput } from './net-operations.ts';
import { programWorkload, type Workload } from './workload.ts';

const CONVERSATIONS = [['name', 0], ['ping', 200], ['udp', 400], ['sink', 16_000], ['source', 16_000], ['echo', 6000]] as const;

export function netWorkload(): Workload {
  const steps = CONVERSATIONS.map(([what, bytes]) => ({ name: `done ${what}`, commands: [], output: conversationOutput(what, bytes), leaves: {} }));
  return programWorkload('net', ['netop', ...CONVERSATIONS.flatMap(([what, bytes]) => (bytes > 0 ? [what, String(bytes)] : [what]))], 'none', steps, 'left 0\n');
}
