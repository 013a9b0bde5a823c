/**
 * Operations on the network as workloads: one conversation of programs/netop.ts with the peer of net-peer.ts. What is swept is the handling of one segment, named by
 * the rule of the peer, or one system call of the program. What the program prints when nothing was lost, doubled, reset or left behind is fixed.
 */
import { PROCESS } from '../../servers/protocols/process.ts';
import { CALL_BYTES, SEGMENTS, sumOf, type Rule, type Segment } from './net-peer.ts';
import { BEGIN, checkImage, withBase, type Workload } from './workload.ts';

/** System calls on sockets, each in a conversation that has it. */
export const REQUESTS = ['socket', 'connect', 'send', 'recv', 'shutdown', 'close', 'bind', 'listen', 'accept', 'sendto', 'recvfrom', 'resolve', 'configure'] as const;
export type Request = (typeof REQUESTS)[number];
export type NetOperation = Segment | `call-${Request}`;
export const NET_OPERATIONS: readonly NetOperation[] = [...SEGMENTS, ...REQUESTS.map((request) => `call-${request}` as const)];

/** The system call that is the operation: label of the call on the endpoint of `process`. Undefined: the peer's marks say. */
export const requestLabel = (operation: NetOperation): number | undefined => {
  const { ops } = PROCESS;
  switch (operation) {
    case 'call-socket': return ops.socket.op;
    case 'call-connect': return ops.connect.op;
    case 'call-send': case 'call-sendto': return ops.send.op;
    case 'call-recv': case 'call-recvfrom': return ops.recv.op;
    case 'call-shutdown': return ops.shutdown.op;
    case 'call-close': return ops.close.op;
    case 'call-bind': return ops.bind.op;
    case 'call-listen': return ops.listen.op;
    case 'call-accept': return ops.accept.op;
    case 'call-resolve': return ops.resolve.op;
    case 'call-configure': return ops.netconfigure.op;
    default: return undefined;
  }
};

/** The program counts the stack's objects before its first operation. */
export const COUNT_LABEL = PROCESS.ops.netquery.op;

type Conversation = 'echo' | 'near' | 'source' | 'early' | 'sink' | 'server' | 'reset' | 'udp' | 'ping' | 'name' | 'arp' | 'dhcp';
/** Each conversation is as short as its operation allows: every kill pays for all of it. */
function conversation(operation: NetOperation): readonly [Conversation, number] {
  switch (operation) {
    case 'syn-ack': case 'data': case 'duplicate': case 'timeout': case 'call-connect': case 'call-send': case 'call-recv': case 'call-shutdown': case 'call-close': return ['echo', 700];
    case 'out-of-order': case 'hole': case 'sack': return ['echo', 5000];
    case 'zero-window': case 'window-update': case 'window-probe': return ['sink', 24_000];
    case 'icmp-too-big': return ['sink', 5000];
    case 'ack-fin-wait-1': case 'fin-fin-wait-1': case 'fin-fin-wait-2': case 'fin-time-wait': return ['sink', 300];
    case 'fin': case 'fin-close-wait': case 'fin-last-ack': case 'ack-last-ack': return ['source', 500];
    case 'fin-simultaneous': case 'ack-closing': return ['early', 500];
    case 'syn': case 'handshake-ack': case 'call-bind': case 'call-listen': case 'call-accept': return ['server', 900];
    case 'rst': return ['reset', 0];
    case 'echo-reply': return ['ping', 200];
    case 'arp-request': return ['arp', 0];
    case 'arp-reply': return ['near', 300];
    case 'dhcp-offer': case 'dhcp-ack': case 'call-configure': return ['dhcp', 0];
    case 'udp': case 'call-socket': case 'call-sendto': case 'call-recvfrom': return ['udp', 400];
    case 'dns': case 'call-resolve': return ['name', 0];
    case 'fragment': case 'last-fragment': return ['udp', 3000];
  }
}

const pattern = (bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, k) => 97 + (k + (k >> 8)) % 23);
/** vm/net/user/pattern.ts with seed 1, written a second time. */
function sourceBytes(bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, k) => { const word = Math.imul((k >> 2) + 1, 0x9e37_79b1), mixed = word ^ word >>> 15; return mixed >>> 8 * (k & 3); });
}
const received = (bytes: Uint8Array): string => `received ${bytes.length} crc ${sumOf(bytes)}\n`;
/** What netop prints about a conversation, without the first line and the last. */
export function conversationOutput(what: Conversation, bytes: number): string {
  const data = pattern(bytes);
  switch (what) {
    case 'echo': case 'near': return `connect 0\nsent ${bytes}\n${received(data)}shutdown 0\nend 0\nclose 0\n`;
    case 'source': case 'early': {
      const line = `${bytes} 1\n`;
      return `connect 0\nsent ${line.length}\n${what === 'early' ? 'shutdown 0\n' : ''}${received(sourceBytes(bytes))}close 0\n`;
    }
    case 'sink': {
      const verdict = `${bytes} ${sumOf(data)}\n`;
      return `connect 0\nsent ${bytes}\nshutdown 0\n${received(new TextEncoder().encode(verdict))}${verdict}close 0\n`;
    }
    case 'server': return `bind 7000\nlisten 7000\naccepted\n${received(CALL_BYTES)}sent ${bytes}\nclose 0\nthe peer has ${bytes} ${sumOf(data)}\nclose 0\n`;
    case 'reset': return `connect 0\nsent 100\n${received(pattern(100))}reset\nclose 0\n`;
    case 'udp': return `connect 0\n${received(data)}close 0\n`;
    case 'ping': return `connect 0\nreceived ${bytes} crc ${sumOf(data.subarray(8))}\nclose 0\n`;
    case 'name': return 'found 1 10.0.2.100\n';
    case 'arp': return 'answered\n';
    case 'dhcp': return 'configure 0\ndhcp 0\naddress 10.0.2.15\n';
  }
}

export function netOperationWorkload(operation: NetOperation): Workload {
  const [what, bytes] = conversation(operation);
  const rule: Rule = requestLabel(operation) === undefined ? operation as Segment : 'none';
  const entries = withBase([]), stdout = `${BEGIN}\n${conversationOutput(what, bytes)}done ${what}\nleft 0\n`;
  return {
    name: `sweep:${operation}`, command: ['netop', what, ...(bytes > 0 ? [String(bytes)] : [])], entries, stdout, net: rule,
    judge(finished) {
      const notes: string[] = [];
      if (finished.exit !== 0) notes.push(`exit status ${finished.exit ?? 'missing'}`);
      if (finished.stdout !== stdout) notes.push(`stdout ${difference(finished.stdout, stdout)}`);
      if (finished.stderr !== '') notes.push(`stderr ${JSON.stringify(finished.stderr.slice(0, 80))}`);
      if (finished.image) notes.push(...checkImage(entries, new Map(), new Set(), finished.image));
      return { errors: false, wrong: notes.length > 0, notes };
    },
  };
}
/** The first line that is not as it should be. */
function difference(found: string, wanted: string): string {
  const lines = found.split('\n'), right = wanted.split('\n'), n = lines.findIndex((line, k) => line !== right[k]);
  return n < 0 ? 'ends early' : `${JSON.stringify(lines[n])} instead of ${JSON.stringify(right[n] ?? '')}`;
}
