/** `--trace FILE` of start and run: tools/trace around one machine. */
import { closeSync, openSync } from 'node:fs';
import type { Machine, MachineConfig } from '../../vm/machine.ts';
import { UserError } from './errors.ts';

export interface Tracing {
  /** To be spread into the machine's configuration. */
  readonly config: Pick<MachineConfig, 'trace'>;
  /** After the run: writes the file and says so on stderr. */
  done(machine: Machine): void;
}

/** Without a file: nothing is traced and no code for it is loaded. */
export async function traced(file: string | undefined): Promise<Tracing> {
  if (file === undefined) return { config: {}, done: () => undefined };
  try { closeSync(openSync(file, 'w')); } catch (error) { throw new UserError(`cannot write the trace to ${file}: ${(error as Error).message}`); }
  const { openTrace } = await import('../trace/trace.ts');
  const trace = openTrace();
  if (trace.missing.length > 0) process.stderr.write(`kintsugi: this kernel lacks the trace points ${trace.missing.join(', ')}: their events are not in the trace\n`);
  return {
    config: { trace: trace.config },
    done(machine) {
      const report = trace.write(file, machine.traceLost);
      process.stderr.write(`kintsugi: trace in ${file}: ${report.events} events of ${report.records} records on ${report.tracks} tracks${report.lost > 0 ? `, ${report.lost} records lost` : ''}\n`);
    },
  };
}
