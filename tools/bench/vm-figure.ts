/** The figure of `bench vm` as SVG, without a library: one group of bars a row, multiples of native time (kernel rows: of this VM's) on a logarithmic axis. */
import type { BenchVmResult, BenchVmRow } from './vm.ts';

const PEERS = [['here', 'this VM', '#0072b2'], ['v86', 'v86', '#e69f00'], ['qemu', 'QEMU TCG', '#999999']] as const;
const LEFT = 110, WIDTH = 760, BAR = 7, GAP = 9, GROUP = 34, TOP = 70;

/** What a row's bars are multiples of. */
const unit = (row: BenchVmRow): number | null => row.kind === 'kernel' ? row.here : row.native;

export function vmFigure(result: BenchVmResult): string {
  const rows = result.rows.filter(row => unit(row));
  const ratios = rows.flatMap(row => PEERS.flatMap(([peer]) => row[peer] ? [row[peer]! / unit(row)!] : []));
  const low = Math.min(0, Math.floor(Math.log10(Math.min(1, ...ratios)))), high = Math.max(1, Math.ceil(Math.log10(Math.max(1, ...ratios))));
  const x = (ratio: number): number => LEFT + (Math.log10(ratio) - low) / (high - low) * WIDTH;
  const parts: string[] = [];
  let y = TOP, kind = '';
  for (const row of rows) {
    if (row.kind !== kind) {
      kind = row.kind;
      y += GROUP;
      parts.push(`<text x="${LEFT}" y="${y - 8}" font-weight="600">${kind === 'kernel' ? 'kernel operations, multiples of this VM' : `${kind === 'float' ? 'floating point' : kind}, multiples of native`}</text>`);
    }
    parts.push(`<text x="${LEFT - 8}" y="${y + BAR * 2}" text-anchor="end">${row.name}</text>`);
    for (const [peer, , colour] of PEERS) {
      const value = row[peer];
      if (value) {
        const ratio = value / unit(row)!, from = Math.min(x(1), x(ratio)), to = Math.max(x(1), x(ratio));
        parts.push(`<rect x="${from.toFixed(1)}" y="${y}" width="${Math.max(1, to - from).toFixed(1)}" height="${BAR - 1}" fill="${colour}"><title>${row.name}, ${peer}: ${ratio.toFixed(2)}</title></rect>`);
      }
      y += BAR;
    }
    y += GAP;
  }
  const grid = Array.from({ length: high - low + 1 }, (_, i) => low + i).map(decade =>
    `<line x1="${x(10 ** decade).toFixed(1)}" y1="${TOP}" x2="${x(10 ** decade).toFixed(1)}" y2="${y}" stroke="${decade === 0 ? '#444' : '#ddd'}"/><text x="${x(10 ** decade).toFixed(1)}" y="${y + 16}" text-anchor="middle">${10 ** decade}</text>`);
  const legend = PEERS.map(([, name, colour], i) => `<rect x="${LEFT + i * 110}" y="42" width="12" height="12" fill="${colour}"/><text x="${LEFT + 17 + i * 110}" y="52">${name}</text>`);
  const { date, cpu } = result.environment;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${LEFT + WIDTH + 40}" height="${y + 30}" font-family="system-ui, sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
<text x="${LEFT}" y="28" font-size="16" font-weight="600">CPU time: this VM, v86 and QEMU</text><text x="${LEFT + WIDTH}" y="28" text-anchor="end" fill="#666">${String(cpu).replace(/[<&]/g, '')}, ${String(date).slice(0, 10)}</text>
${[...legend, ...grid, ...parts].join('\n')}
</svg>
`;
}
