/**
 * `--gdb [HOST:]PORT` of start, run and vm: the machine waits for a gdb and runs as it says. Needs the deterministic machine: stops are exact there and the
 * way back exists.
 */
import type { DeterministicMachine, Machine, MachineResult } from '../../vm/machine.ts';
import { KintsugiAwareness } from '../gdb/awareness.ts';
import { MachineTarget } from '../gdb/machine-target.ts';
import { parseGdbAddress, serveGdb } from '../gdb/server.ts';

/** Runs the machine under gdb, then, if gdb has detached, to its end. `kintsugi`: the guest is ours, so its Threads are known. */
export async function runUnderGdb(machine: Machine, address: string, kintsugi: boolean): Promise<MachineResult> {
  const deterministic = machine as DeterministicMachine;
  const target = new MachineTarget(deterministic, kintsugi ? (debug) => new KintsugiAwareness(debug.port) : undefined);
  const ending = await serveGdb(target, parseGdbAddress(address), (host, port) => {
    const where = host === '127.0.0.1' ? `:${port}` : `${host}:${port}`;
    process.stderr.write(`kintsugi: waiting for gdb: gdb -ex 'set architecture i386' -ex 'target remote ${where}'${kintsugi ? '   (then: monitor symbols, monitor help)' : ''}\n`);
  });
  if (ending === 'killed') machine.stop();
  return ending === 'ended' ? deterministic.result() : machine.run();
}
/** Whether the machine must be deterministic: says so when it was not asked for. */
export function gdbMode(gdb: string | undefined, deterministic: boolean): boolean {
  if (gdb === undefined || deterministic) return deterministic;
  parseGdbAddress(gdb);
  process.stderr.write('kintsugi: --gdb runs the deterministic machine (one thread, virtual time); parallel machines cannot be debugged\n');
  return true;
}
