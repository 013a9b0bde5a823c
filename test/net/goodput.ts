/**
 * Goodput under random loss: our TCP against Linux's and against the formula, under the same loss and delay. See `--help`.
 *
 *   core     two network cores in Node over a simulated wire (pair.ts): exact in virtual time, every run the same
 *   machine  the guest on the deterministic machine (kernel, net, driver, programs) against the built-in peer: virtual time, from the capture file
 *   linux    two stacks of this host in network namespaces, joined by tap devices and a relay that delays and loses (linux-pair.py): real time, root only
 *   formula  Mathis et al. 1997: MSS/RTT * sqrt(3/2p). It holds for CUBIC too: below its own growth it follows AIMD(0.53, 0.7), whose window is the same
 *            (RFC 9438, 4.3 and 5.1: at 20 ms and 1 % the cubic term alone would give 1.8 segments, AIMD 12.2)
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { coreRate, formulaRate } from './rate.ts';

const HELP = `usage: node test/net/goodput.ts [options]

Goodput of one connection under random loss, in bytes a second: the core in Node, the guest on the deterministic machine, Linux, the formula.

  --loss PERCENT     frames lost, each way (default 1)
  --delay MS         one way (default 10: a round trip of 20 ms)
  --bytes N          of one transfer (default 8000000)
  --runs N           transfers of each row, seeds 1 to N (default 5)
  --only ROWS        of core, machine, linux; comma separated (default all)
  --json             one object on stdout

The rows of Linux need root and /dev/net/tun and are left out (with a line on stderr) without them. Each takes N times the transfer in real time.

examples:
  node test/net/goodput.ts
  node test/net/goodput.ts --only core --loss 3 --runs 20 --json
`;
interface Row { readonly row: string; readonly bytesPerSecond: number; readonly least: number; readonly most: number; readonly runs: number; readonly rttMs: number }

const { values } = parseArgs({ options: {
  loss: { type: 'string', default: '1' }, delay: { type: 'string', default: '10' }, bytes: { type: 'string', default: '8000000' }, runs: { type: 'string', default: '5' },
  only: { type: 'string', default: 'core,machine,linux' }, json: { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h', default: false },
} });
if (values.help) { process.stdout.write(HELP); process.exit(0); }
const fail = (text: string): never => { process.stderr.write(`goodput: ${text}\n`); process.exit(2); };
const number = (name: 'loss' | 'delay' | 'bytes' | 'runs', least: number, most: number): number => {
  const n = Number(values[name]);
  return Number.isFinite(n) && n >= least && n <= most ? n : fail(`--${name} ${values[name]}: a number from ${least} to ${most}`);
};
const loss = number('loss', 0, 50), delayMs = number('delay', 0.05, 1000), bytes = Math.floor(number('bytes', 10_000, 1e9)), runs = Math.floor(number('runs', 1, 1000));
const only = values.only.split(',');
for (const o of only) if (!['core', 'machine', 'linux'].includes(o)) fail(`--only ${o}: not one of core, machine, linux`);
const rows: Row[] = [];
const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;
const add = (row: string, rates: readonly number[], rttMs = 2 * delayMs): void => {
  rows.push({ row, rttMs, bytesPerSecond: Math.round(mean(rates)), least: Math.round(Math.min(...rates)), most: Math.round(Math.max(...rates)), runs: rates.length });
};
const seeds = Array.from({ length: runs }, (_, n) => n + 1);

/** The same transfer down and up through the machine: bytes a second of the gateway's TCP and of the guest's. */
async function machine(seed: number, folder: string): Promise<{ down: number; up: number }> {
  const { ensureGuest } = await import('../../tools/cli/guest.ts');
  const { runCommand } = await import('../../tools/cli/run.ts');
  await ensureGuest();
  const pcap = path.join(folder, `${seed}.pcap`);
  const outcome = await runCommand({
    place: 'follow', smp: 1, memoryMiB: 128, deterministic: true, seed: 1, timeoutSeconds: 3600, jit: 'on', append: '',
    net: { backend: { kind: 'user' }, pcap, link: { loss: loss / 100, delayNs: delayMs * 1e6, seed } },
  }, ['sh'], {}, Buffer.from(`cd /tmp; wget -q http://10.0.2.2/bytes/${bytes}; nc 10.0.2.2 5002 < ${bytes}\n`));
  const said = new RegExp(`${bytes} [0-9a-f]+`).test(outcome.stdout);
  if (!said) throw new Error(`the transfer failed: ${outcome.stdout} ${outcome.stderr}`);
  const span = flows(pcap);
  return { down: bytes / span(80), up: bytes / span(5002) };
}
/** Seconds from the SYN to the guest's last acknowledgement of data, or to the peer's answer, of the connection to `port`. */
function flows(file: string): (port: number) => number {
  const b = readFileSync(file);
  const first = new Map<number, number>(), last = new Map<number, number>();
  for (let at = 24; at + 16 <= b.length;) {
    const t = b.readUInt32LE(at) + b.readUInt32LE(at + 4) / 1e9, length = b.readUInt32LE(at + 8), frame = at + 16;
    at = frame + length;
    if (b.readUInt16BE(frame + 12) !== 0x800 || b[frame + 23] !== 6) continue;
    const source = b.readUInt16BE(frame + 34), destination = b.readUInt16BE(frame + 36), port = source < 10_000 ? source : destination;
    if (!first.has(port)) first.set(port, t);
    if (b.readUInt16BE(frame + 16) > 100) last.set(port, t); // full segments: the end is when the last one came
  }
  return (port) => (last.get(port) ?? Number.NaN) - (first.get(port) ?? Number.NaN);
}
/** Bytes a second and the round trip that the sender measured, s: a busy host makes the wire slower than it was asked to be. */
function linux(congestion: string): { rate: number; rtt: number }[] | undefined {
  const run = spawnSync('python3', [path.join(import.meta.dirname, 'linux-pair.py'), congestion, String(loss / 100), String(delayMs / 1000), String(bytes), String(runs)], { encoding: 'utf8' });
  if (run.status !== 0) { process.stderr.write(`goodput: no row of Linux ${congestion}: ${(run.stderr ?? run.error?.message ?? '').trim().split('\n').at(-1)}\n`); return undefined; }
  return run.stdout.trim().split('\n').map((line) => { const [seconds, rtt] = line.split(' ').map(Number) as [number, number]; return { rate: bytes / seconds, rtt }; });
}

if (only.includes('core')) for (const name of ['CUBIC', 'NewReno'] as const) {
  const rates: number[] = [];
  for (const seed of seeds) rates.push(await coreRate(name, { lossPercent: loss, delayMs }, bytes, seed));
  add(`core, ${name}`, rates);
}
if (only.includes('machine')) {
  const folder = mkdtempSync(path.join(tmpdir(), 'goodput-'));
  const down: number[] = [], up: number[] = [];
  try { for (const seed of seeds) { const r = await machine(seed, folder); down.push(r.down); up.push(r.up); } } finally { rmSync(folder, { recursive: true, force: true }); }
  add('machine, guest sends (CUBIC)', up);
  add('machine, gateway sends (NewReno)', down);
}
if (only.includes('linux')) for (const name of ['cubic', 'reno']) { const of = linux(name); if (of) add(`Linux, ${name}`, of.map((r) => r.rate), mean(of.map((r) => r.rtt)) * 1000); }
const formula = (rttMs: number): number | undefined => formulaRate(loss, rttMs);
const toFormula = (row: Row): number => row.bytesPerSecond / (formula(row.rttMs) ?? 1);
const reference = (row: Row): Row | undefined => rows.find((r) => r.row === (/NewReno/.test(row.row) ? 'Linux, reno' : 'Linux, cubic'));
const round = (n: number): number => Math.round(n * 100) / 100;
const table = rows.map((row) => {
  const linuxRow = row.row.startsWith('Linux') ? undefined : reference(row);
  return { ...row, rttMs: round(row.rttMs), toFormula: loss === 0 ? undefined : round(toFormula(row)), toLinux: linuxRow ? round(toFormula(row) / toFormula(linuxRow)) : undefined };
});
if (values.json) process.stdout.write(`${JSON.stringify({ lossPercent: loss, delayMs, bytes, runs, formulaBytesPerSecond: Math.round(formula(2 * delayMs) ?? 0), rows: table }, undefined, 2)}\n`);
else {
  console.log(`${loss} % of the frames lost each way, round trip ${2 * delayMs} ms, ${runs} transfers of ${bytes} bytes; KB/s`);
  console.log(`${'row'.padEnd(34)}${'mean'.padStart(7)}${'least'.padStart(7)}${'most'.padStart(7)}${'rtt ms'.padStart(8)}${'/formula'.padStart(10)}${'/Linux'.padStart(8)}`);
  const kb = (n: number): string => String(Math.round(n / 1000)).padStart(7);
  for (const r of table) console.log(`${r.row.padEnd(34)}${kb(r.bytesPerSecond)}${kb(r.least)}${kb(r.most)}${r.rttMs.toFixed(1).padStart(8)}${(r.toFormula?.toFixed(2) ?? '-').padStart(10)}${(r.toLinux?.toFixed(2) ?? '-').padStart(8)}`);
  const plain = formula(2 * delayMs);
  if (plain !== undefined) console.log(`${'formula (Mathis)'.padEnd(34)}${kb(plain)}`);
  console.log('/formula is for the round trip of the row, /Linux the ratio of these');
}
