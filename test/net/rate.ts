/** Goodput of one connection between two network cores over a simulated wire, and what the formula says. */
import { NET } from '../../servers/protocols/net.ts';
import { End, Pair, connect, transfer } from './pair.ts';

/** Payload of a full segment: 1500 less headers and timestamps. */
const MSS = 1448;
export interface Path { /** Frames lost, each way, percent. */ readonly lossPercent: number; /** One way. */ readonly delayMs: number }

/** Bytes a second of virtual time, from the SYN to the last byte read. The same seed gives the same rate. */
export async function coreRate(congestion: 'CUBIC' | 'NewReno', path: Path, bytes: number, seed: number): Promise<number> {
  const pair = await Pair.start(seed, { loss: path.lossPercent * 10, delayNs: BigInt(Math.round(path.delayMs * 1e6)) });
  const began = pair.now;
  pair.stacks[0].ok('socket', [10, 2, 1, 0]);
  pair.stacks[0].ok('option', [10, NET.option.congestion, congestion === 'CUBIC' ? 1 : 0, 1]);
  connect(pair, 1, 80, 10, 11);
  transfer(pair, [new End(pair, 0, 10, bytes, 1, 2, 0, 60_000), new End(pair, 1, 11, 0, 2, 1, 0, 60_000)], 100_000_000);
  return bytes * 1e9 / Number(pair.now - began);
}
/** Mathis et al. 1997: MSS/RTT * sqrt(3/2p), bytes a second; undefined without loss. */
export const formulaRate = (lossPercent: number, rttMs: number): number | undefined => (lossPercent === 0 ? undefined : MSS / (rttMs / 1000) * Math.sqrt(3 / (2 * lossPercent / 100)));
