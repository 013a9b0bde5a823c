/** `./kintsugi demo tcp`: the live line, the summary, the exit status. The run itself is tools/demo/tcp.ts. */
import { demoTcp, TCP_VICTIMS, type TcpOptions, type TcpReport } from '../demo/tcp.ts';
import { EXIT, UserError } from './errors.ts';

const MiB = (bytes: number): string => `${Math.round(bytes / 1048576)} MiB`;
function summary(r: TcpReport): string {
  const names = Object.entries(r.killsByVictim).map(([name, count]) => `${name} ${count}`).join(', ');
  return [
    `${r.kills} kills (${names}) under one connection: ${MiB(r.bytesDown)} down at ${r.goodputDown} MB/s, ${MiB(r.bytesUp)} up at ${r.goodputUp} MB/s`,
    `${r.resets} resets, ${r.wrongBytes} wrong bytes, ${r.wrongChecksums} wrong checksums; ${r.retransmitted} segments of the guest sent again; longest stall ${r.longestStallMs} ms; death to first answer ${r.recoveryMs} ms (median); e2fsck: ${r.e2fsck}`,
  ].join('\n') + '\n';
}
export async function demoTcpCommand(options: TcpOptions, show: { readonly json: boolean; readonly log: boolean }): Promise<number> {
  for (const name of options.victims) if (!(TCP_VICTIMS as readonly string[]).includes(name)) throw new UserError(`no victim ${name}; there are: ${TCP_VICTIMS.join(', ')}`);
  if (options.deterministic) throw new UserError('demo tcp talks to a program of the host: the deterministic machine has no live sockets; leave --deterministic out', EXIT.usage);
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
