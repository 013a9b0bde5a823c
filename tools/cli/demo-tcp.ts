/** `./kintsugi demo tcp`: the live line, the summary, the exit status. The run itself is tools/demo/tcp.ts. */
import { demoTcp, TCP_VICTIMS, type TcpOptions, type TcpReport } from '../demo/tcp.ts';
import { STALL_CLASSES } from '../demo/ledger.ts';
import { EXIT, UserError } from './errors.ts';

const MiB = (bytes: number): string => `${Math.round(bytes / 1048576)} MiB`;
function longest(r: TcpReport): string {
  const [stall] = r.stalls;
  return stall?.after === undefined ? '' : `, ended ${Math.round(stall.sinceKillMs!)} ms after the kill of ${stall.after}`;
}
function summary(r: TcpReport): string {
  const names = Object.entries(r.killsByVictim).map(([name, count]) => `${name} ${count}`).join(', ');
  return [
    `${r.kills} kills (${names}) under one connection: ${MiB(r.bytesDown)} down at ${r.goodputDown} MB/s, ${MiB(r.bytesUp)} up at ${r.goodputUp} MB/s`,
    `${r.resets} resets, ${r.wrongBytes} wrong bytes, ${r.wrongChecksums} wrong checksums; ${r.retransmitted} segments of the guest sent again; death to first answer ${r.recoveryMs} ms (median); e2fsck: ${r.e2fsck}`,
    `pauses: ${STALL_CLASSES.map((end, n) => `${r.histogram[n]} ${end === Infinity ? `above ${STALL_CLASSES.at(-2)}` : `below ${end}`}`).filter((_, n) => r.histogram[n]! > 0).join(', ') || 'none'} ms; longest ${r.longestStallMs} ms${longest(r)}`,
    ...(r.compared === undefined ? [] : [`the kills cost ${(100 * r.compared.lost).toFixed(1)} % of the throughput: at rest ${r.compared.rest.down} MB/s down, ${r.compared.rest.up} up; with kills ${r.compared.kills.down} down, ${r.compared.kills.up} up (${r.compared.seconds} s)`]),
  ].join('\n') + '\n';
}
export async function demoTcpCommand(options: TcpOptions, show: { readonly json: boolean; readonly log: boolean }): Promise<number> {
  for (const name of options.victims) if (!(TCP_VICTIMS as readonly string[]).includes(name)) throw new UserError(`no victim ${name}; there are: ${TCP_VICTIMS.join(', ')}`);
  if (options.disk !== undefined) throw new UserError('demo tcp works on an image of its own; leave --disk out', EXIT.usage);
  const live = process.stderr.isTTY === true;
  let width = 0, shown = 0;
  const report = await demoTcp(options, {
    ...(show.log ? { log: (bytes: Uint8Array) => { process.stderr.write(bytes); } } : {}),
    tick: (t) => {
      if (!live || performance.now() - shown < 200) return;
      shown = performance.now();
      const text = `kills ${t.kills}/${options.kills}  ${t.direction} ${MiB(t.done)}/${MiB(t.bytes)}  ${t.rate.toFixed(1)} MB/s  longest stall ${Math.round(t.longestStallMs)} ms`.slice(0, (process.stderr.columns || 80) - 1);
      process.stderr.write(`\r${text.padEnd(width)}`);
      width = text.length;
    },
  });
  if (live && width > 0) process.stderr.write('\n');
  for (const problem of report.problems) process.stderr.write(`kintsugi: ${problem}\n`);
  process.stdout.write(show.json ? `${JSON.stringify(report)}\n` : summary(report));
  return report.problems.length === 0 ? EXIT.ok : EXIT.failure;
}
