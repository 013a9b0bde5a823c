/**
 * ifconfig [interface]: shows interfaces. ifconfig interface up | down | dhcp | address/bits [gateway] | address netmask mask [gateway] | gateway address | dns address: changes one.
 */
import { argument, argumentCount, begin, complain, complainText, finish, usage } from './lib/program';
import { helped } from './lib/help';
import { anyAddress, newAddress, parseV4, putAddress, putMac } from './lib/net';
import { nextRecord, startQuery } from './lib/netinfo';
import { put, putByte, putNumber, putText } from './lib/output';
import { sysNetConfigure } from './lib/sys';
import { Text, equal, find, isNumber, lengthOf, parseNumber, same } from './lib/text';
import * as P from 'kintsugi/protocols';

const USAGE: string = 'ifconfig [interface [up | down | dhcp | address/bits [gateway] | address netmask mask [gateway] | gateway address | dns address]]';
const NONE: u32 = 0xffffffff;
const UP: u32 = 1, LINK: u32 = 2, LOOPBACK: u32 = 4, DHCP: u32 = 8;

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  if (helped('ifconfig [interface [up | down | dhcp | address/bits [gateway] | address netmask mask [gateway] | gateway address | dns address]]\nAn address ends DHCP; gateway 0.0.0.0 means none. What is configured outlives the death of net.\nExamples: ifconfig    ifconfig eth0 10.1.0.2/24 10.1.0.1    ifconfig eth0 gateway 10.0.2.2    ifconfig eth0 dhcp')) return 0;
  if (argumentCount > 6) return usage(USAGE);
  const wanted = argumentCount > 1 ? argument(1) : 0;
  let index: u32 = 0;
  startQuery(P.NET_WHAT_INTERFACES, P.NET_RECORDS_INTERFACE_SIZE);
  for (let r = nextRecord(); r; r = nextRecord()) {
    const name = r + P.NET_RECORDS_INTERFACE_NAME;
    if (wanted && !equal(wanted, name)) continue;
    index = load<u32>(r, P.NET_RECORDS_INTERFACE_INDEX);
    if (argumentCount < 3) show(r);
  }
  if (wanted && index == 0) { complainText(wanted, 'no such interface'); return 1; }
  return argumentCount < 3 ? 0 : change(index, argument(2), argument(3));
}
function change(index: u32, what: Text, value: Text): i32 {
  const address = newAddress();
  anyAddress(address, 0);
  let status = 0;
  const word = same(what, 'up') ? P.NET_CONFIGURE_UP : same(what, 'down') ? P.NET_CONFIGURE_DOWN : same(what, 'dhcp') ? P.NET_CONFIGURE_DHCP : NONE;
  const named = same(what, 'dns') ? P.NET_CONFIGURE_RESOLVER : same(what, 'gateway') ? P.NET_CONFIGURE_GATEWAY : NONE;
  if (word != NONE) {
    if (argumentCount > 3) return usage(USAGE);
    status = sysNetConfigure(index, word, 0, 0);
  } else if (named != NONE) {
    if (argumentCount != 4) return usage(USAGE);
    if (!parseV4(value, lengthOf(value), address)) { complainText(value, 'not an IPv4 address'); return 2; }
    status = sysNetConfigure(index, named, 0, address);
  } else {
    const slash = find(what, 47), masked = slash == 0 && value != 0 && same(value, 'netmask') && argumentCount > 4;
    const bits = masked ? maskBits(argument(4)) : slash && isNumber(slash + 1) ? parseNumber(slash + 1) : -1, rest = masked ? 5 : 3;
    if (argumentCount > rest + 1) return usage(USAGE);
    if (!parseV4(what, slash ? <i32>(slash - what) : lengthOf(what), address) || bits < 0 || bits > 32) { complainText(what, 'not an address with its network bits (10.0.2.20/24) or mask (10.0.2.20 netmask 255.255.255.0)'); return 2; }
    const gateway = newAddress();
    anyAddress(gateway, 0);
    if (argumentCount > rest && !parseV4(argument(rest), lengthOf(argument(rest)), gateway)) { complainText(argument(rest), 'not an IPv4 address'); return 2; }
    status = sysNetConfigure(index, P.NET_CONFIGURE_ADDRESS, <u32>bits, address);
    if (status >= 0 && argumentCount > rest) {
      status = sysNetConfigure(index, P.NET_CONFIGURE_GATEWAY, 0, gateway);
      if (status < 0) { complain(argument(rest), status); return 1; }
    }
  }
  if (status < 0) { complain(named != NONE ? value : argument(1), status); return 1; }
  return 0;
}
/** Bits of a mask in dots, -1 when it is none. */
function maskBits(text: Text): i64 {
  const a = newAddress();
  if (!parseV4(text, lengthOf(text), a)) return -1;
  const mask = bswap<u32>(load<u32>(a + P.NET_ADDRESS_BYTES, 12)), bits = popcnt<u32>(mask);
  return mask == (bits == 0 ? 0 : 0xffffffff << (32 - bits)) ? <i64>bits : -1;
}
function u64At(r: usize, low: usize): u64 { return <u64>load<u32>(r + low) | <u64>load<u32>(r + low + 4) << 32; }
function putMask(bits: u32): void {
  const mask: u32 = bits == 0 ? 0 : 0xffffffff << (32 - bits);
  for (let shift = 24; shift >= 0; shift -= 8) { putNumber(mask >> shift & 255); if (shift) putByte(46); }
}
function show(r: usize): void {
  const flags = load<u32>(r, P.NET_RECORDS_INTERFACE_FLAGS), address = r + P.NET_RECORDS_INTERFACE_ADDRESS;
  putText(r + P.NET_RECORDS_INTERFACE_NAME); put(': flags=<');
  put((flags & UP) != 0 ? 'UP' : 'DOWN');
  if ((flags & LINK) != 0) put(',RUNNING');
  if ((flags & LOOPBACK) != 0) put(',LOOPBACK'); else put(',BROADCAST');
  if ((flags & DHCP) != 0) put(',DHCP');
  put('>  mtu '); putNumber(load<u32>(r, P.NET_RECORDS_INTERFACE_MTU)); putByte(10);
  if (load<u32>(address, 12) != 0) { put('        inet '); putAddress(address); put('  netmask '); putMask(load<u32>(r, P.NET_RECORDS_INTERFACE_PREFIX)); putByte(10); }
  if ((flags & LOOPBACK) == 0) { put('        ether '); putMac(r + P.NET_RECORDS_INTERFACE_MAC); putByte(10); }
  put('        RX packets '); putNumber(load<u32>(r, P.NET_RECORDS_INTERFACE_RX_FRAMES)); put('  bytes '); putNumber(u64At(r, P.NET_RECORDS_INTERFACE_RX_BYTES_LO)); put('  errors '); putNumber(load<u32>(r, P.NET_RECORDS_INTERFACE_RX_ERRORS)); putByte(10);
  put('        TX packets '); putNumber(load<u32>(r, P.NET_RECORDS_INTERFACE_TX_FRAMES)); put('  bytes '); putNumber(u64At(r, P.NET_RECORDS_INTERFACE_TX_BYTES_LO)); put('  errors '); putNumber(load<u32>(r, P.NET_RECORDS_INTERFACE_TX_ERRORS)); putByte(10);
}
