/**
 * The taxonomy of outcomes: every experiment gets exactly one, the first in this list that applies.
 */
export const OUTCOMES = ['tool-error', 'not-activated', 'kernel-crash', 'crash-loop', 'hang', 'sdc', 'failstop', 'degraded', 'recovered', 'latent', 'masked'] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** What each means, for tables and documentation. */
export const MEANING: Readonly<Record<Outcome, string>> = {
  'tool-error': 'the laboratory failed; not a result',
  'not-activated': 'the fault could not be placed or was never met',
  'kernel-crash': 'ring 0 stopped the machine, or the machine went down unasked',
  'crash-loop': 'a server died too often and was given up',
  hang: 'not finished after 10 x (golden run + time bound), or nothing can ever run again, and nobody said why',
  sdc: 'wrong output, lost or wrong file, or a damaged file system, and no error told',
  failstop: 'a server was given up and said so; what was told done is right',
  degraded: 'a program saw an error; everything told done is right',
  recovered: 'a server was restarted; output and files are right',
  latent: 'output and files are right, the final state differs from the golden run',
  masked: 'the state met the golden run again',
};

/** What was observed of a finished experiment. */
export interface Observation {
  readonly activated: boolean;
  /** How the run ended. `stuck`: over budget, or nothing left to wake anybody. */
  readonly end: 'poweroff' | 'machine-down' | 'stuck' | 'converged';
  /** Servers that the supervisor has given up; those among them that died too often. */
  readonly failed: number;
  readonly loops: number;
  readonly restarts: number;
  /** From the check of output and final image. */
  readonly wrong: boolean;
  readonly errors: boolean;
  readonly sameState: boolean;
}
export function classify(o: Observation): Outcome {
  if (!o.activated) return 'not-activated';
  if (o.end === 'machine-down') return 'kernel-crash';
  if (o.loops > 0) return 'crash-loop';
  if (o.end === 'converged') return 'masked';
  if (o.end === 'stuck') return o.failed > 0 ? 'failstop' : 'hang';
  if (o.wrong) return 'sdc';
  if (o.failed > 0 && o.errors) return 'failstop';
  if (o.errors) return 'degraded';
  if (o.restarts > 0) return 'recovered';
  return o.sameState ? 'masked' : 'latent';
}
