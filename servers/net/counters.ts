/**
 * Counters: every drop has its own, and what else is worth counting. Each frame received, and each datagram put together from fragments, ends in exactly one of: the
 * refusals of Ethernet, ARP, IP, ICMP and the first checks of UDP and TCP; `arp_in`, `fragments`, `udp_in`, `icmp_*_in`, `tcp_segments_in`
 * (test/net/hostile.test.ts holds them to it; `frame_refused` is what the driver could not make sense of, or this server of the driver). Names are those of the constants in lower case, in the same order (a test compares them); new ones come last. They lie in private memory and are saved to the
 * state now and then, so they go on after a restart, less the last tenth of a second.
 */
export const C_FRAME_DOWN: u32 = 0;
export const C_FRAME_LONG: u32 = 1;
export const C_FRAME_NOT_OURS: u32 = 2;
export const C_FRAME_SHORT: u32 = 3;
export const C_FRAME_SOURCE: u32 = 4;
export const C_FRAME_TRANSMITTED_WRONG: u32 = 5;
export const C_FRAME_TYPE: u32 = 6;
export const C_ARP_CONFLICT: u32 = 7;
export const C_ARP_EVICTED: u32 = 8;
export const C_ARP_FORMAT: u32 = 9;
export const C_ARP_NOT_ASKED: u32 = 10;
export const C_ARP_PENDING_DROPPED: u32 = 11;
export const C_ARP_SHORT: u32 = 12;
export const C_ARP_SOURCE: u32 = 13;
export const C_ARP_SPOOF: u32 = 14;
export const C_ARP_TIMEOUT: u32 = 15;
export const C_IP_CHECKSUM: u32 = 16;
export const C_IP_FORWARD: u32 = 17;
export const C_IP_HEADER: u32 = 18;
export const C_IP_LENGTH: u32 = 19;
export const C_IP_MARTIAN: u32 = 20;
export const C_IP_NO_ROUTE: u32 = 21;
export const C_IP_PROTOCOL: u32 = 22;
export const C_IP_SHORT: u32 = 23;
export const C_IP_SOURCE_ROUTE: u32 = 24;
export const C_IP_SPOOFED_OWN: u32 = 25;
export const C_IP_VERSION: u32 = 26;
export const C_FRAGMENT_EVICTED: u32 = 27;
export const C_FRAGMENT_LIMIT: u32 = 28;
export const C_FRAGMENT_LONG: u32 = 29;
export const C_FRAGMENT_OVERLAP: u32 = 30;
export const C_FRAGMENT_SIZE: u32 = 31;
export const C_FRAGMENT_TIMEOUT: u32 = 32;
export const C_FRAGMENTS: u32 = 33;
export const C_REASSEMBLED: u32 = 34;
export const C_ICMP_CHECKSUM: u32 = 35;
export const C_ICMP_ECHO_IN: u32 = 36;
export const C_ICMP_ECHO_LONG: u32 = 37;
export const C_ICMP_ECHO_MANY: u32 = 38;
export const C_ICMP_ERRORS_IN: u32 = 39;
export const C_ICMP_ERRORS_OUT: u32 = 40;
export const C_ICMP_LIMITED: u32 = 41;
export const C_ICMP_QUOTE: u32 = 42;
export const C_ICMP_SHORT: u32 = 43;
export const C_ICMP_TYPE: u32 = 44;
export const C_ICMP_UNWANTED: u32 = 45;
export const C_PMTU_EVICTED: u32 = 46;
export const C_PMTU_TINY: u32 = 47;
export const C_UDP_CHECKSUM: u32 = 48;
export const C_UDP_LENGTH: u32 = 49;
export const C_UDP_NO_PORT: u32 = 50;
export const C_UDP_PORT_ZERO: u32 = 51;
export const C_UDP_SHORT: u32 = 52;
export const C_DATAGRAM_ARENA: u32 = 53;
export const C_DATAGRAM_QUEUE: u32 = 54;
export const C_TCP_ABORTED: u32 = 55;
export const C_TCP_ACCEPTED: u32 = 56;
export const C_TCP_ACKS_OUT: u32 = 57;
export const C_TCP_ACK_FUTURE: u32 = 58;
export const C_TCP_ACK_OLD: u32 = 59;
export const C_TCP_AFTER_CLOSE: u32 = 60;
export const C_TCP_BACKLOG: u32 = 61;
export const C_TCP_CHALLENGES: u32 = 62;
export const C_TCP_CHALLENGES_HELD: u32 = 63;
export const C_TCP_CHECKSUM: u32 = 64;
export const C_TCP_DSACKS: u32 = 65;
export const C_TCP_DUPLICATE: u32 = 66;
export const C_TCP_FAST_RETRANSMIT: u32 = 67;
export const C_TCP_FLIGHT_FULL: u32 = 68;
export const C_TCP_GIVEN_UP: u32 = 69;
export const C_TCP_HEADER: u32 = 70;
export const C_TCP_ICMP_SEQUENCE: u32 = 71;
export const C_TCP_KEEPALIVES: u32 = 72;
export const C_TCP_KEEPALIVE_DEAD: u32 = 73;
export const C_TCP_LOST_AGAIN: u32 = 74;
export const C_TCP_MANY: u32 = 75;
export const C_TCP_NO_ACK: u32 = 76;
export const C_TCP_NO_PAGE: u32 = 77;
export const C_TCP_NO_PORT: u32 = 78;
export const C_TCP_OPENED: u32 = 79;
export const C_TCP_OPTION: u32 = 80;
export const C_TCP_OUT_OF_ORDER: u32 = 81;
export const C_TCP_OUT_OF_WINDOW: u32 = 82;
export const C_TCP_PAWS: u32 = 83;
export const C_TCP_PORT_ZERO: u32 = 84;
export const C_TCP_PROBE_REPAIRED: u32 = 85;
export const C_TCP_PROBES: u32 = 86;
export const C_TCP_RANGES_FULL: u32 = 87;
export const C_TCP_REORDERED: u32 = 88;
export const C_TCP_RESET_DEAF: u32 = 89;
export const C_TCP_RETRANSMITTED: u32 = 90;
export const C_TCP_REVIVED: u32 = 91;
export const C_TCP_RST_IN: u32 = 92;
export const C_TCP_RST_OUT: u32 = 93;
export const C_TCP_RST_WINDOW: u32 = 94;
export const C_TCP_RST_WRONG: u32 = 95;
export const C_TCP_SACK_BAD: u32 = 96;
export const C_TCP_SEGMENTS_IN: u32 = 97;
export const C_TCP_SEGMENTS_OUT: u32 = 98;
export const C_TCP_SHORT: u32 = 99;
export const C_TCP_SYNS: u32 = 100;
export const C_TCP_TAIL_PROBES: u32 = 101;
export const C_TCP_SYN_IN_WINDOW: u32 = 102;
export const C_TCP_TIMEOUTS: u32 = 103;
export const C_TCP_TIME_WAIT_REUSED: u32 = 104;
export const C_TCP_TRIMMED: u32 = 105;
export const C_TCP_URGENT: u32 = 106;
export const C_TCP_VICTIMS: u32 = 107;
export const C_COOKIES_BAD: u32 = 108;
export const C_COOKIES_GOOD: u32 = 109;
export const C_COOKIES_SENT: u32 = 110;
export const C_TIME_WAIT_RECYCLED: u32 = 111;
export const C_SOCKETS_FULL: u32 = 112;
export const C_RECORD_BAD: u32 = 113;
export const C_RECORD_PAGES: u32 = 114;
export const C_COMMITS: u32 = 115;
export const C_DHCP_BAD: u32 = 116;
export const C_DHCP_EXPIRED: u32 = 117;
export const C_DHCP_LEASES: u32 = 118;
export const C_DHCP_NAK: u32 = 119;
export const C_DHCP_SENT: u32 = 120;
export const C_DHCP_UNWANTED: u32 = 121;
export const C_DNS_BAD: u32 = 122;
export const C_DNS_CACHED: u32 = 123;
export const C_DNS_QUERIES: u32 = 124;
export const C_DNS_SPOOF: u32 = 125;
export const C_DNS_STREAMS: u32 = 126;
export const C_DNS_TIMEOUT: u32 = 127;
export const C_PACKETS_EXHAUSTED: u32 = 128;
export const C_OPS_BAD: u32 = 129;
export const C_ARP_IN: u32 = 130;
export const C_UDP_IN: u32 = 131;
export const C_ICMP_REPLIES_IN: u32 = 132;
export const C_TCP_LISTEN_ODD: u32 = 133;
export const C_ARP_FULL: u32 = 134;
export const C_TCP_HALF_OPEN_DISPLACED: u32 = 135;
export const C_FRAME_REFUSED: u32 = 136;
export const C_FRAME_NO_LINK: u32 = 137;
export const C_FRAME_UNSENT: u32 = 138;
export const C_DRIVER_ANSWER_BAD: u32 = 139;
export const C_RING_REFUSED: u32 = 140;
export const C_RING_REPAIRED: u32 = 141;
export const COUNTERS: u32 = 142;
const NAMES: string = 'frame_down frame_long frame_not_ours frame_short frame_source frame_transmitted_wrong frame_type arp_conflict arp_evicted arp_format arp_not_asked arp_pending_dropped arp_short arp_source arp_spoof arp_timeout ip_checksum ip_forward ip_header ip_length ip_martian ip_no_route ip_protocol ip_short ip_source_route ip_spoofed_own ip_version fragment_evicted fragment_limit fragment_long fragment_overlap fragment_size fragment_timeout fragments reassembled icmp_checksum icmp_echo_in icmp_echo_long icmp_echo_many icmp_errors_in icmp_errors_out icmp_limited icmp_quote icmp_short icmp_type icmp_unwanted pmtu_evicted pmtu_tiny udp_checksum udp_length udp_no_port udp_port_zero udp_short datagram_arena datagram_queue tcp_aborted tcp_accepted tcp_acks_out tcp_ack_future tcp_ack_old tcp_after_close tcp_backlog tcp_challenges tcp_challenges_held tcp_checksum tcp_dsacks tcp_duplicate tcp_fast_retransmit tcp_flight_full tcp_given_up tcp_header tcp_icmp_sequence tcp_keepalives tcp_keepalive_dead tcp_lost_again tcp_many tcp_no_ack tcp_no_page tcp_no_port tcp_opened tcp_option tcp_out_of_order tcp_out_of_window tcp_paws tcp_port_zero tcp_probe_repaired tcp_probes tcp_ranges_full tcp_reordered tcp_reset_deaf tcp_retransmitted tcp_revived tcp_rst_in tcp_rst_out tcp_rst_window tcp_rst_wrong tcp_sack_bad tcp_segments_in tcp_segments_out tcp_short tcp_syns tcp_tail_probes tcp_syn_in_window tcp_timeouts tcp_time_wait_reused tcp_trimmed tcp_urgent tcp_victims cookies_bad cookies_good cookies_sent time_wait_recycled sockets_full record_bad record_pages commits dhcp_bad dhcp_expired dhcp_leases dhcp_nak dhcp_sent dhcp_unwanted dns_bad dns_cached dns_queries dns_spoof dns_streams dns_timeout packets_exhausted ops_bad arp_in udp_in icmp_replies_in tcp_listen_odd arp_full tcp_half_open_displaced frame_refused frame_no_link frame_unsent driver_answer_bad ring_refused ring_repaired ';
export const COUNTER_BYTES: u32 = COUNTERS << 2;
const VALUES: usize = memory.data(4 * 512, 4);

export function countersInit(): void { memory.fill(VALUES, 0, COUNTER_BYTES); }
export function countersAtPrivate(): usize { return VALUES; }
export function countMore(n: u32, more: u32): void { store<u32>(VALUES + (<usize>n << 2), load<u32>(VALUES + (<usize>n << 2)) + more); }
export function count(n: u32): void { store<u32>(VALUES + (<usize>n << 2), load<u32>(VALUES + (<usize>n << 2)) + 1); }
/** Counts what damage to this server would cause, among other things: wrong checksums, answers that do not come, packets nobody wants. */
export function troubles(): u32 {
  return counterValue(C_TCP_TIMEOUTS) + counterValue(C_TCP_CHECKSUM) + counterValue(C_IP_CHECKSUM) + counterValue(C_UDP_CHECKSUM) + counterValue(C_ICMP_CHECKSUM) + counterValue(C_ARP_TIMEOUT)
    + counterValue(C_DNS_TIMEOUT) + counterValue(C_TCP_NO_PORT) + counterValue(C_UDP_NO_PORT) + counterValue(C_TCP_DUPLICATE) + counterValue(C_FRAME_TYPE) + counterValue(C_FRAME_NOT_OURS);
}
export function counterValue(n: u32): u32 { return load<u32>(VALUES + (<usize>n << 2)); }
/** Writes the name of counter n as bytes (at most 27 and a NUL). */
export function counterName(n: u32, to: usize): void {
  const text = changetype<usize>(NAMES), end = <usize>NAMES.length;
  let at: usize = 0;
  for (let k: u32 = 0; k < n; k++) { while (at < end && load<u16>(text + (at << 1)) != 32) at++; at++; }
  let bytes: usize = 0;
  while (at < end && load<u16>(text + (at << 1)) != 32 && bytes < 27) { store<u8>(to + bytes++, <u8>load<u16>(text + (at << 1))); at++; }
  store<u8>(to + bytes, 0);
}
