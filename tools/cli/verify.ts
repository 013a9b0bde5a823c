/** `run --verify`: the same run twice in step; the first instruction after which they differ, with what differs and the instruction in words. */
import { createDeterministicMachine, type DeterministicMachine } from '../../vm/machine.ts';
import { verifiedRun, verifyRuns, type VerifyReport } from '../../vm/verify.ts';
import { ChannelDecoder, encodeInput } from './channel.ts';
import { EXIT, UserError } from './errors.ts';
import { ensureGuest } from './guest.ts';
import { systemConfig, type SystemOptions } from './system.ts';

const JITS = ['on', 'off', 'mixed'] as const;
type Jit = (typeof JITS)[number];

/** Two machines of the same command; the command's standard input is at its end. */
export function verifiedPair(options: SystemOptions, argv: readonly string[], jit: Jit): [DeterministicMachine, DeterministicMachine] {
  return [options.jit, jit].map((tier) => {
    let machine: DeterministicMachine | undefined;
    const decoder = new ChannelDecoder((frame) => { if (frame.kind === 'ready') for (const bytes of encodeInput(new Uint8Array(0))) machine!.serialInput(1, bytes); }, () => undefined);
    return machine = createDeterministicMachine({ ...systemConfig({ ...options, jit: tier }, argv, { com2: (bytes) => decoder.push(bytes) }), mode: 'deterministic' });
  }) as [DeterministicMachine, DeterministicMachine];
}

export async function verify(options: SystemOptions, argv: readonly string[], jit: string, show: { readonly json: boolean }): Promise<number> {
  if (!JITS.includes(jit as Jit)) throw new UserError(`--verify ${jit}: expected one of ${JITS.join(', ')}; put -- in front of the command`, EXIT.usage);
  ensureGuest();
  const machines = verifiedPair(options, argv, jit as Jit), terminal = process.stderr.isTTY === true;
  try {
    const report = await verifyRuns(verifiedRun(machines[0]), verifiedRun(machines[1]), {
      ...(options.timeoutSeconds === undefined ? {} : { most: options.timeoutSeconds * 1e9 }),
      progress: (instructions) => { if (terminal) process.stderr.write(`\r\x1b[Kthe same up to instruction ${instructions.toLocaleString('en-US')}`); },
    });
    if (terminal) process.stderr.write('\r\x1b[K');
    process.stdout.write(show.json ? `${JSON.stringify(report)}\n` : describe(report));
    return report.divergence ? EXIT.failure : EXIT.ok;
  } finally { for (const machine of machines) machine.close(); }
}

export function describe({ instructions, rungs, stateHash, divergence }: VerifyReport): string {
  if (!divergence) return `the same: ${instructions.toLocaleString('en-US')} instructions, ${rungs} hashes compared, state hash ${stateHash}\n`;
  const { after, exact, cpu, eip, instruction, differences } = divergence, at = `0x${eip.toString(16).padStart(8, '0')}`;
  const head = exact
    ? `DIFFERENT after instruction ${after.toLocaleString('en-US')}: the next one, on CPU ${cpu} at ${at}, is the first:\n  ${instruction}\n`
    : `DIFFERENT: the same at instruction ${after.toLocaleString('en-US')}, not at ${instructions.toLocaleString('en-US')}, and from a snapshot it does not come again; CPU ${cpu} was at ${at}\n`;
  return `${head}${differences.map(({ where, a, b }) => `  ${where.padEnd(28)} ${a} ${b}\n`).join('')}`;
}
