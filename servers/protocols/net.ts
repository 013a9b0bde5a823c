/**
 * process (owner) -> net (worker): sockets. Addresses and data travel in the shared data area (offset, bytes); net checks every range.
 *
 * Every operation may come twice (the ring posts again what a dead net had taken), and twice is once, without stored replies:
 *   - sockets are named by ids that process chooses and never uses again; `socket`, `bind`, `connect`, `listen`, `accept`, `close` name the state they lead to;
 *   - `send` says at which position of the stream its bytes go (bytes ever accepted, mod 2^32): what is there already is not taken again;
 *   - `recv` says from which position it reads, and thereby that everything before it may be forgotten.
 * Datagrams may be lost or repeated. Status 0 or a negative Linux errno.
 */
export const NET = {
  boundMs: 15000, // in which an entry is taken and, unless it waits for the outside world, answered: later is a hang
  dataBytes: 1 << 20,
  ops: {
    socket: { op: 1, args: ['id', 'family', 'type', 'protocol (0 = the usual one)'], results: [], readonly: false },
    bind: { op: 2, args: ['id', 'address offset'], results: ['port'], readonly: false },
    connect: { op: 3, args: ['id', 'address offset', 'flags nonblock=1'], results: [], readonly: false, blocking: true },
    listen: { op: 4, args: ['id', 'backlog'], results: ['port'], readonly: false },
    accept: { op: 5, args: ['id', 'id of the new socket', 'address offset for the peer, 0xffffffff = none', 'flags nonblock=1'], results: [], readonly: false, blocking: true },
    send: { op: 6, args: ['id', 'position', 'data offset', 'bytes', 'flags nonblock=1 urgent=2'], results: ['bytes'], readonly: false, blocking: true },
    recv: { op: 7, args: ['id', 'position', 'data offset', 'bytes', 'flags nonblock=1 peek=2'], results: ['bytes, 0 = end of stream'], readonly: false, blocking: true },
    sendto: { op: 8, args: ['id', 'address offset, 0xffffffff = the connected one', 'data offset', 'bytes', 'flags nonblock=1'], results: ['bytes'], readonly: false, blocking: true },
    recvfrom: { op: 9, args: ['id', 'address offset for the sender, 0xffffffff = none', 'data offset', 'bytes', 'flags nonblock=1 peek=2'], results: ['bytes', 'bytes of the whole datagram'], readonly: false, blocking: true },
    shutdown: { op: 10, args: ['id', 'how: 0 receive, 1 send, 2 both'], results: [], readonly: false },
    close: { op: 11, args: ['id'], results: [], readonly: false },
    option: { op: 12, args: ['id', 'option', 'value', 'set=1'], results: ['value'], readonly: false },
    name: { op: 13, args: ['id', 'own=0 peer=1', 'address offset'], results: [], readonly: true },
    watch: { op: 14, args: ['id', 'events wanted'], results: ['events'], readonly: true, blocking: true },
    cancel: { op: 15, args: ['id of the entry to cancel'], results: [], readonly: true },
    query: { op: 16, args: ['what', 'first', 'result offset', 'bytes'], results: ['records', 'next, 0 = no more'], readonly: true },
    configure: { op: 17, args: ['interface', 'what', 'address offset', 'value'], results: [], readonly: false },
    resolve: { op: 18, args: ['name offset', 'bytes of it', 'result offset (address records)', 'room for', 'flags'], results: ['addresses'], readonly: true, blocking: true },
    retain: { op: 19, args: ['ids offset (u32 each)', 'number of ids'], results: ['closed'], readonly: false }, // a restarted process: these sockets live, close the others
    poll: { op: 20, args: ['list offset (pollRecord each)', 'records', 'flags nonblock=1'], results: ['records with events'], readonly: true, blocking: true },
  },
  family: { inet: 2, inet6: 10 },
  type: { stream: 1, datagram: 2, echo: 3 /* ICMP echo: the stack fills identifier and checksum; a datagram is type, code, checksum, identifier, sequence, data */ },
  pollRecord: { id: 0, events: 4 /* wanted; error and hangup always count */, found: 8, size: 12 },
  events: { readable: 1, writable: 4, error: 8, hangup: 16 }, // as poll(2)
  option: { error: 1 /* read and clear, positive errno */, reuse: 2, keepalive: 3 /* seconds, 0 = off */, nodelay: 4, congestion: 5 /* 0 NewReno, 1 CUBIC */, receiveBuffer: 6, sendBuffer: 7, linger: 8 /* seconds, -1 = off */, ttl: 9, broadcast: 10 },
  /** Address: 16 bytes in network order, IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2); the port in host order. */
  address: { family: 0 /* u16 */, port: 2 /* u16 */, bytes: 4 /* 16 bytes */, scope: 20, size: 24 },
  what: { interfaces: 1, sockets: 2, neighbours: 3, routes: 4, counters: 5, resolvers: 6, objects: 7 /* counter records: what is in use now */, memory: 8 /* counter records */ },
  configure: { address: 1 /* value = prefix bits */, gateway: 2, resolver: 3, up: 4, down: 5, dhcp: 6 },
  records: {
    interface: { index: 0, flags: 4 /* up=1 link=2 loopback=4 dhcp=8 */, mtu: 8, prefix: 12, address: 16 /* 16 bytes */, mac: 32 /* 6 bytes */, name: 40 /* 8 bytes */, rxFrames: 48, txFrames: 52, rxBytesLo: 56, rxBytesHi: 60, txBytesLo: 64, txBytesHi: 68, rxErrors: 72, txErrors: 76, size: 80 },
    socket: { id: 0, type: 4, state: 8 /* tcpState, 0 for others */, localPort: 12, peerPort: 16, receiveQueue: 20, sendQueue: 24, local: 28 /* 16 bytes */, peer: 44 /* 16 bytes */, retransmitted: 60, rttUs: 64, congestionWindow: 68, size: 72 },
    neighbour: { address: 0 /* 16 bytes */, mac: 16 /* 6 bytes */, state: 24 /* 1 asked, 2 known, 3 old */, ageMs: 28, size: 32 },
    route: { address: 0 /* 16 bytes */, gateway: 16 /* 16 bytes */, prefix: 32, interface: 36, size: 40 },
    counter: { name: 0 /* 28 bytes, NUL padded */, value: 28, size: 32 },
  },
  tcpState: { closed: 1, listen: 2, synSent: 3, synReceived: 4, established: 5, finWait1: 6, finWait2: 7, closeWait: 8, closing: 9, lastAck: 10, timeWait: 11 },
} as const;
