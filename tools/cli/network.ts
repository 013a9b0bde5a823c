/**
 * The network options of the command line, as a machine wants them. Bad values are refused by option and field (vm/net/config.ts).
 */
import { EXIT, UserError } from './errors.ts';
import { checkNet, parseForward, parseMac, parseNet, NetError, type NetConfig } from '../../vm/net/config.ts';
import { parseIpv4 } from '../../vm/net/frames.ts';

export interface NetOptions { readonly net: string; readonly hostfwd: readonly string[]; readonly pcap?: string; readonly mac?: string; readonly ip?: string }

/** Undefined: no NIC. What cannot be is a UserError of usage. */
export function netConfig(options: NetOptions, deterministic: boolean): NetConfig | undefined {
  try { return configure(options, deterministic); } catch (error) {
    if (error instanceof NetError) throw new UserError(error.message, EXIT.usage);
    throw error;
  }
}

function configure(options: NetOptions, deterministic: boolean): NetConfig | undefined {
  const backend = parseNet(options.net);
  const mac = options.mac === undefined ? undefined : parseMac(options.mac);
  const forwards = options.hostfwd.map(parseForward);
  if (!backend) {
    const useless = forwards.length > 0 ? '--hostfwd' : options.pcap !== undefined ? '--pcap' : mac ? '--mac' : options.ip !== undefined ? '--ip' : undefined;
    if (useless !== undefined) throw new NetError('spec', useless, 'means nothing without a network card; give --net user');
    return undefined;
  }
  const config: NetConfig = { backend, forwards, ...(mac ? { mac } : {}), ...(options.pcap === undefined ? {} : { pcap: options.pcap }) };
  checkNet(config, deterministic ? 'deterministic' : 'parallel');
  return config;
}

/** `ADDRESS/BITS[,GATEWAY[,RESOLVER...]]` as the guest's net wants it (servers/net/config.ts). What cannot be is a UserError of usage. */
export function checkIp(text: string): string {
  const [own, ...others] = text.split(',');
  const refuse = (reason: string): never => { throw new UserError(`--ip ${text}: ${reason}`, EXIT.usage); };
  const [address, bits, more] = own.split('/');
  const value = parseIpv4(address) ?? refuse(`'${address}' is not an IPv4 address`);
  if (more !== undefined || bits === undefined || !/^\d{1,2}$/.test(bits) || Number(bits) < 1 || Number(bits) > 32) refuse('expected ADDRESS/BITS[,GATEWAY[,RESOLVER]] with 1 to 32 bits, as 10.1.0.2/24,10.1.0.1');
  const first = value >>> 24;
  if (first === 0 || first === 127 || first >= 224) refuse(`'${address}' cannot be the address of a station`);
  if (others.length > 4) refuse('more than three resolvers');
  for (const other of others) if ((parseIpv4(other) ?? 0) === 0) refuse(`'${other}' is not an IPv4 address`);
  if (others.length > 0 && (((parseIpv4(others[0]) ?? 0) ^ value) >>> (32 - Number(bits))) !== 0 && Number(bits) < 32) refuse(`the gateway ${others[0]} is not in the network of ${own}`);
  return text;
}
