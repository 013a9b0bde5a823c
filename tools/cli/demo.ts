/** `./kintsugi demo restart`: the live line, the summary, the exit status. The run itself is tools/demo/restart.ts. */
import { demoRestart, PHASES, VICTIMS, type DemoOptions, type DemoReport, type Tick } from '../demo/restart.ts';
import { EXIT, UserError } from './errors.ts';

const ms = (ns: number): string => `${(ns / 1e6).toFixed(3)} ms`;
/** In the order of the line; a terminal that is too narrow for all gets those that fit, by importance (1 first). */
const tickParts = (tick: Tick, kills: number): readonly (readonly [importance: number, text: string])[] => [
  [1, `kills ${tick.kills}/${kills}`],
  [4, [...tick.generations].map(([name, generation]) => `${name} g${generation}`).join(' ')],
  [3, `recovery ${ms(tick.recoveryNs.median)} p99 ${ms(tick.recoveryNs.p99)}`],
  [5, `redelivered ${tick.redelivered}`],
  [2, `lost ${tick.lost}`],
  ...(tick.calls === undefined ? [] : [[6, `calls ${tick.calls.count} ${ms(tick.calls.median)} p99 ${ms(tick.calls.p99)}`] as const]),
];
/** One line of at most `columns` characters: a longer one would wrap, and not be overwritten by the next. */
export function tickLine(tick: Tick, kills: number, columns = Infinity): string {
  const parts = tickParts(tick, kills), shown = new Set<string>();
  let width = -2;
  for (const [, text] of [...parts].sort(([a], [b]) => a - b)) if (width + 2 + text.length <= columns) { shown.add(text); width += 2 + text.length; }
  return parts.filter(([, text]) => shown.has(text)).map(([, text]) => text).join('  ');
}

function summary(report: DemoReport): string {
  const out: string[] = [];
  out.push(`${report.kills} kills, ${report.midRequest} of them with a request in service; ${report.restarts} restarts, ${report.redelivered} requests delivered again`);
  out.push(`${report.steps} steps of the programs (about ${report.operations} system calls on files), ${report.files} files checked by the host: ${report.lost} lost, ${report.wrongChecksums} wrong checksums; e2fsck: ${report.e2fsck}`);
  out.push(`checksum lines on the terminal: ${report.terminal.whole} of ${report.terminal.lines} whole, ${report.terminal.repeated} repeated`);
  out.push('', 'death to first answer      restarts  mid-request      median         p99   instructions         p99');
  const row = (name: string, restarts: number, mid: number, ns: DemoReport['recoveryNs'], cost: DemoReport['recoveryNs']): string =>
    `  ${name.padEnd(22)} ${String(restarts).padStart(10)} ${String(mid).padStart(12)} ${ms(ns.median).padStart(13)} ${ms(ns.p99).padStart(11)} ${String(cost.median).padStart(14)} ${String(cost.p99).padStart(11)}`;
  for (const [name, v] of Object.entries(report.victims)) out.push(row(name, v.restarts, v.midRequest, v.recoveryNs, v.recoveryInstructions));
  out.push(row('all', report.restarts, report.midRequest, report.recoveryNs, report.recoveryInstructions));
  out.push('', 'phase, since the death          median         p99   instructions         p99');
  for (const phase of PHASES) {
    const { ns, instructions } = report.phases[phase];
    out.push(`  ${phase.padEnd(20)} ${ms(ns.median).padStart(15)} ${ms(ns.p99).padStart(11)} ${String(instructions.median).padStart(14)} ${String(instructions.p99).padStart(11)}`);
  }
  return `${out.join('\n')}\n`;
}

export async function demo(what: string, options: DemoOptions, show: { readonly json: boolean; readonly log: boolean }): Promise<number> {
  if (what !== 'restart') throw new UserError(`no demo ${what}; there are: restart, tcp`);
  for (const name of options.victims) if (!(VICTIMS as readonly string[]).includes(name)) throw new UserError(`no victim ${name}; there are: ${VICTIMS.join(', ')}`);
  if (options.disk !== undefined) throw new UserError('demo restart works on a copy of the root image of its own; leave --disk out');
  const live = process.stderr.isTTY;
  let last = '', width = 0;
  const report = await demoRestart(options, {
    live,
    ...(show.log ? { log: (bytes: Uint8Array) => { process.stderr.write(bytes); } } : {}),
    tick: (tick) => {
      last = tickLine(tick, options.kills, live ? (process.stderr.columns || 80) - 1 : Infinity);
      if (live) { process.stderr.write(`\r${last.padEnd(width)}`); width = last.length; } else if (!show.json && tick.kills % 10 === 0) process.stdout.write(`${last}\n`);
    },
  });
  if (live && width > 0) process.stderr.write('\n');
  for (const problem of report.problems) process.stderr.write(`kintsugi: ${problem}\n`);
  process.stdout.write(show.json ? `${JSON.stringify(report)}\n` : summary(report));
  return report.lost === 0 && report.wrongChecksums === 0 ? EXIT.ok : EXIT.failure;
}
