/** `--trace FILE` of start, run and demo, and live counters: tools/trace around one machine. */
import { closeSync, openSync } from 'node:fs';
import type { Machine, MachineConfig } from '../../vm/machine.ts';
import type { LiveTrace } from '../trace/live.ts';
import { UserError } from './errors.ts';

export interface Tracing {
  /** To be spread into the machine's configuration. */
  readonly config: Pick<MachineConfig, 'trace'>;
  /** Counters while it runs. */
  readonly live?: LiveTrace;
  /** After the run: writes the file and says so on stderr. */
  done(machine: Machine): void;
}

/** Without a file and without `live`: nothing is traced and no code for it is loaded. */
export async function traced(file: string | undefined, live = false): Promise<Tracing> {
  if (file === undefined && !live) return { config: {}, done: () => undefined };
  if (file !== undefined) try { closeSync(openSync(file, 'w')); } catch (error) { throw new UserError(`cannot write the trace to ${file}: ${(error as Error).message}`); }
  const { openTrace } = await import('../trace/trace.ts');
  const trace = openTrace(file === undefined ? { limit: 0 } : {});
  if (trace.missing.length > 0) process.stderr.write(`kintsugi: this kernel lacks the trace points ${trace.missing.join(', ')}: their events are not in the trace\n`);
  return {
    config: { trace: trace.config },
    live: trace.live,
    done(machine) {
      if (file === undefined) return;
      const report = trace.write(file, machine.traceLost);
      process.stderr.write(`kintsugi: trace in ${file}: ${report.events} events of ${report.records} records on ${report.tracks} tracks${report.lost > 0 ? `, ${report.lost} records lost` : ''}\n`);
    },
  };
}
