/**
 * The network options of the command line, as a machine wants them. Bad values are refused by option and field (vm/net/config.ts).
 */
import { EXIT, UserError } from './errors.ts';
import { checkNet, parseForward, parseMac, parseNet, NetError, type NetConfig } from '../../vm/net/config.ts';

export interface NetOptions { readonly net: string; readonly hostfwd: readonly string[]; readonly pcap?: string; readonly mac?: string }

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
    const useless = forwards.length > 0 ? '--hostfwd' : options.pcap !== undefined ? '--pcap' : mac ? '--mac' : undefined;
    if (useless !== undefined) throw new NetError('spec', useless, 'means nothing without a network card; give --net user');
    return undefined;
  }
  const config: NetConfig = { backend, forwards, ...(mac ? { mac } : {}), ...(options.pcap === undefined ? {} : { pcap: options.pcap }) };
  checkNet(config, deterministic ? 'deterministic' : 'parallel');
  return config;
}
