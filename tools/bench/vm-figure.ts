/** The figure of `bench vm` as SVG, without a library: a group of bars a row on a logarithmic axis; multiples of native time, where there is none of this VM's. */
import type { BenchVmResult } from './vm.ts';

const PEERS = [['here', 'this VM', '#0072b2'], ['v86', 'v86', '#e69f00'], ['qemu', 'QEMU TCG', '#999999']] as const;
const LEFT = 130, WIDTH = 760, BAR = 7, GAP = 9, GROUP = 34, TOP = 70;
const TITLES = {
  integer: 'integer, multiples of native', memory: 'memory, multiples of native', float: 'floating point, multiples of native',
  kernel: 'kernel operations, multiples of this VM', smp: 'SMP, two vCPUs: wall time, multiples of this VM', start: 'start, multiples of the goal',
} as const;

/** One group of bars: `values` are multiples. */
interface Bars { readonly group: keyof typeof TITLES; readonly name: string; readonly values: Readonly<Record<'here' | 'v86' | 'qemu', number | null>> }

function bars(result: BenchVmResult): Bars[] {
  const over = (unit: number | null, values: Bars['values']): Bars['values'] | undefined => {
    if (!unit) return undefined;
    const part = (value: number | null): number | null => value ? value / unit : null;
    return { here: part(values.here), v86: part(values.v86), qemu: part(values.qemu) };
  };
  return [
    ...result.rows.map(row => row.wall ? { group: row.kind, name: row.name, values: over(row.wall.here, { ...row.wall, v86: null }) } : { group: row.kind, name: row.name, values: over(row.kind === 'kernel' ? row.here : row.native, row) }),
    ...result.start.map(row => ({ group: 'start' as const, name: row.name, values: over(row.goal, row) })),
  ].filter((b): b is Bars => b.values !== undefined);
}

export function vmFigure(result: BenchVmResult): string {
  const rows = bars(result);
  const ratios = rows.flatMap(({ values }) => PEERS.flatMap(([peer]) => values[peer] ?? []));
  const low = Math.min(0, Math.floor(Math.log10(Math.min(1, ...ratios)))), high = Math.max(1, Math.ceil(Math.log10(Math.max(1, ...ratios))));
  const x = (ratio: number): number => LEFT + (Math.log10(ratio) - low) / (high - low) * WIDTH;
  const parts: string[] = [];
  let y = TOP, group = '';
  for (const row of rows) {
    if (row.group !== group) {
      group = row.group;
      y += GROUP;
      parts.push(`<text x="${LEFT}" y="${y - 8}" font-weight="600">${TITLES[row.group]}</text>`);
    }
    parts.push(`<text x="${LEFT - 8}" y="${y + BAR * 2}" text-anchor="end">${row.name}</text>`);
    for (const [peer, , colour] of PEERS) {
      const ratio = row.values[peer];
      if (ratio) {
        const from = Math.min(x(1), x(ratio)), to = Math.max(x(1), x(ratio));
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
<text x="${LEFT}" y="28" font-size="16" font-weight="600">This VM, v86 and QEMU: shorter is faster</text><text x="${LEFT + WIDTH}" y="28" text-anchor="end" fill="#666">${String(cpu).replace(/[<&]/g, '')}, ${String(date).slice(0, 10)}</text>
${[...legend, ...grid, ...parts].join('\n')}
</svg>
`;
}
