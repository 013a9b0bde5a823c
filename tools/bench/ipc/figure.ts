/**
 * The figure of an IPC measurement as SVG, without a library: the distribution of round trips (ECDF over a logarithmic axis) with medians and 99th
 * percentiles in its legend, the sweep over message sizes, and where the instructions of one round trip go.
 */
export interface Curve {
  readonly name: string;
  /** [ns, fraction], both ascending. */
  readonly points: readonly (readonly [number, number])[];
  /** What it is compared with: dashed. */
  readonly peer?: boolean;
}
export interface Sweep {
  readonly name: string;
  /** Without compiled regions: dashed, no band. */
  readonly secondary?: boolean;
  /** Bytes of payload; median and p99 in ns. */
  readonly points: readonly { readonly bytes: number; readonly median: number; readonly p99: number }[];
}
/** One bar, cut into parts. */
export interface Bar { readonly title: string; readonly parts: readonly { readonly group: string; readonly name: string; readonly count: number }[] }
export interface Figure {
  readonly title: string;
  readonly subtitle: string;
  readonly curves: readonly Curve[];
  readonly sweeps: readonly Sweep[];
  /** Beneath each size of the sweep. */
  readonly notes?: ReadonlyMap<number, string>;
  readonly bar?: Bar;
}

const WIDTH = 1200, TOP = 96, PLOT = { width: 480, height: 330 } as const, LEFT = 76, RIGHT = 676;
const BOTTOM = TOP + PLOT.height, LEGEND = BOTTOM + 74, LINE = 19;
/** Okabe and Ito's palette, which the colour-blind can tell apart, then greys and two more. */
const COLOURS = ['#0072b2', '#56b4e9', '#009e73', '#cc79a7', '#d55e00', '#e69f00', '#8a6d3b', '#555555', '#999999', '#7a5195'];
const PHASE_COLOURS: Readonly<Record<string, string>> = { entry: '#0072b2', validate: '#56b4e9', copy: '#009e73', switch: '#e69f00', exit: '#d55e00', 'ring 3': '#bbbbbb' };
const INK = '#222', SOFT = '#666', GRID = '#e3e3e3', FAINT = '#f3f3f3';

const escape = (text: string): string => text.replace(/[&<>"]/g, (c) => (c === '&' ? '&amp;' : c === '<' ? '&lt;' : c === '>' ? '&gt;' : '&quot;'));
const round3 = (value: number): string => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1).replace(/\.0$/, '') : value.toFixed(2).replace(/\.?0+$/, ''));
/** Three digits and a unit. */
export const nsText = (ns: number): string => (ns < 999.5 ? `${round3(ns)} ns` : ns < 999_500 ? `${round3(ns / 1e3)} µs` : ns < 999_500_000 ? `${round3(ns / 1e6)} ms` : `${round3(ns / 1e9)} s`);
const bytesText = (bytes: number): string => (bytes < 1024 ? `${bytes} B` : `${bytes / 1024} KiB`);
const colour = (i: number): string => COLOURS[i % COLOURS.length]!;
/** The value that a fraction of the samples does not exceed. */
const at = ({ points }: Curve, fraction: number): number => (points.find(([, f]) => f >= fraction) ?? points[points.length - 1]!)[0];

interface Style { readonly size?: number; readonly fill?: string; readonly anchor?: 'start' | 'middle' | 'end'; readonly weight?: 600; readonly turn?: boolean }
const text = (x: number, y: number, content: string, { size = 12, fill = INK, anchor = 'start', weight, turn = false }: Style = {}): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" font-size="${size}" fill="${fill}"${anchor === 'start' ? '' : ` text-anchor="${anchor}"`}${weight ? ` font-weight="${weight}"` : ''}${turn ? ` transform="rotate(-90 ${x.toFixed(1)} ${y.toFixed(1)})"` : ''}>${escape(content)}</text>`;
const line = (x1: number, y1: number, x2: number, y2: number, stroke: string, width = 1, dash = ''): string =>
  `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="${stroke}" stroke-width="${width}"${dash === '' ? '' : ` stroke-dasharray="${dash}"`}/>`;
const path = (points: readonly (readonly [number, number])[]): string => points.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`).join('');
const frame = (left: number): string => `<rect x="${left}" y="${TOP}" width="${PLOT.width}" height="${PLOT.height}" fill="none" stroke="#aaa"/>`;

/**
 * A logarithmic axis from the 1-2-5 step at or below the least value to the one at or above the greatest, at least a decade. Labels: the decades and,
 * where there is room, the ends; on an axis of less than `fullLabels` decades every 1-2-5 step.
 */
interface Axis { readonly part: (ns: number) => number; readonly ticks: readonly { readonly ns: number; readonly label: boolean }[] }
function logAxis(values: readonly number[], fullLabels: number): Axis {
  const least = Math.max(1, Math.min(...values, 1e9)), most = Math.max(...values, least * 10);
  const steps = [1, 2, 5].flatMap((m) => Array.from({ length: 13 }, (_, e) => m * 10 ** e)).sort((a, b) => a - b);
  const low = [...steps].reverse().find((step) => step <= least * 0.97) ?? 1, high = steps.find((step) => step >= most * 1.03) ?? 1e12;
  const decades = Math.log10(high / low), part = (ns: number): number => Math.min(1, Math.max(0, Math.log10(Math.max(1, ns) / low) / decades));
  const isEnd = (ns: number): boolean => (Math.abs(ns / low - 1) < 0.001 || Math.abs(ns / high - 1) < 0.001) && Math.abs(Math.log10(ns) - Math.round(Math.log10(ns))) > 0.28;
  const ticks = Array.from({ length: 13 }, (_, e) => Array.from({ length: 9 }, (_m, m) => (m + 1) * 10 ** e).map((ns, m) => ({ ns, label: m === 0 || (decades < fullLabels && (m === 1 || m === 4)) || isEnd(ns) }))).flat();
  return { part, ticks: ticks.filter(({ ns }) => ns >= low * 0.999 && ns <= high * 1.001) };
}

function distribution(curves: readonly Curve[]): string[] {
  const out = [text(LEFT, TOP - 14, 'Distribution of round trips of 3 words, and of the host’s own IPC', { size: 14, weight: 600 })];
  const axis = logAxis(curves.flatMap((curve) => [at(curve, 0), at(curve, 0.99)]), 2.4); // one straggler would squeeze the rest
  const x = (ns: number): number => LEFT + axis.part(ns) * PLOT.width, y = (f: number): number => BOTTOM - f * PLOT.height;
  for (const { ns, label } of axis.ticks) {
    out.push(line(x(ns), TOP, x(ns), BOTTOM, label ? GRID : FAINT));
    if (label) out.push(line(x(ns), BOTTOM, x(ns), BOTTOM + 5, '#aaa'), text(x(ns), BOTTOM + 19, nsText(ns), { anchor: 'middle' }));
  }
  for (const f of [0, 0.25, 0.5, 0.75, 1]) out.push(line(LEFT, y(f), LEFT + PLOT.width, y(f), GRID), text(LEFT - 8, y(f) + 4, `${f * 100} %`, { anchor: 'end' }));
  out.push(text(LEFT + PLOT.width / 2, BOTTOM + 42, 'host time of a round trip', { anchor: 'middle', fill: SOFT }), text(LEFT - 54, TOP + PLOT.height / 2, 'samples at or below', { anchor: 'middle', fill: SOFT, turn: true }));
  out.push(`<clipPath id="left"><rect x="${LEFT}" y="${TOP}" width="${PLOT.width}" height="${PLOT.height}"/></clipPath><g clip-path="url(#left)">`);
  curves.forEach((curve, i) => {
    // An ECDF is a staircase.
    const steps: [number, number][] = [];
    for (const [ns, f] of curve.points) { const before = steps[steps.length - 1]; if (before) steps.push([x(ns), before[1]]); steps.push([x(ns), y(f)]); }
    out.push(`<path d="${path(steps)}" fill="none" stroke="${colour(i)}" stroke-width="${curve.peer ? 1.4 : 2}" stroke-linejoin="round"${curve.peer ? ' stroke-dasharray="5 3"' : ''}/>`);
    out.push(`<circle cx="${x(at(curve, 0.5)).toFixed(1)}" cy="${y(0.5).toFixed(1)}" r="3" fill="${colour(i)}"/>`);
  });
  out.push('</g>', frame(LEFT));
  out.push(text(LEFT + 390, LEGEND, 'median', { anchor: 'end', fill: SOFT }), text(LEFT + PLOT.width, LEGEND, 'p99', { anchor: 'end', fill: SOFT }));
  curves.forEach((curve, i) => {
    const row = LEGEND + (i + 1) * LINE;
    out.push(line(LEFT, row - 4, LEFT + 26, row - 4, colour(i), curve.peer ? 1.6 : 2.4, curve.peer ? '5 3' : ''), text(LEFT + 36, row, curve.name));
    out.push(text(LEFT + 390, row, nsText(at(curve, 0.5)), { anchor: 'end' }), text(LEFT + PLOT.width, row, nsText(at(curve, 0.99)), { anchor: 'end' }));
  });
  return out;
}

function sweep(sweeps: readonly Sweep[], notes: ReadonlyMap<number, string>): string[] {
  const out = [text(RIGHT, TOP - 14, 'Round trip on one CPU by message size', { size: 14, weight: 600 })];
  const axis = logAxis(sweeps.flatMap(({ points, secondary }) => points.flatMap(({ median, p99 }) => (secondary ? [median] : [median, p99]))), 3.5);
  const sizes = [...new Set(sweeps.flatMap(({ points }) => points.map(({ bytes }) => bytes)))].sort((a, b) => a - b);
  const x = (bytes: number): number => RIGHT + ((sizes.indexOf(bytes) + 0.5) / Math.max(1, sizes.length)) * PLOT.width, y = (ns: number): number => BOTTOM - axis.part(ns) * PLOT.height;
  for (const { ns, label } of axis.ticks) {
    out.push(line(RIGHT, y(ns), RIGHT + PLOT.width, y(ns), label ? GRID : FAINT));
    if (label) out.push(line(RIGHT - 5, y(ns), RIGHT, y(ns), '#aaa'), text(RIGHT - 9, y(ns) + 4, nsText(ns), { anchor: 'end' }));
  }
  for (const bytes of sizes) {
    out.push(line(x(bytes), BOTTOM, x(bytes), BOTTOM + 5, '#aaa'), text(x(bytes), BOTTOM + 19, bytesText(bytes), { anchor: 'middle' }));
    if (notes.has(bytes)) out.push(text(x(bytes), BOTTOM + 34, notes.get(bytes)!, { anchor: 'middle', size: 11, fill: SOFT }));
  }
  out.push(text(RIGHT + PLOT.width / 2, BOTTOM + 52, 'payload (a leased page at the right)', { anchor: 'middle', fill: SOFT }), text(RIGHT - 66, TOP + PLOT.height / 2, 'host time of a round trip', { anchor: 'middle', fill: SOFT, turn: true }));
  const place = (p: { bytes: number }, ns: number): [number, number] => [x(p.bytes), y(ns)];
  sweeps.forEach(({ points, secondary }, i) => {
    if (secondary || points.length < 2) return;
    const sorted = [...points].sort((a, b) => a.bytes - b.bytes);
    out.push(`<path d="${path([...sorted.map((p) => place(p, p.median)), ...[...sorted].reverse().map((p) => place(p, p.p99))])}Z" fill="${colour(i)}" fill-opacity="0.1"/>`);
  });
  sweeps.forEach(({ points, secondary }, i) => {
    const sorted = [...points].sort((a, b) => a.bytes - b.bytes);
    out.push(`<path d="${path(sorted.map((p) => place(p, p.median)))}" fill="none" stroke="${colour(i)}" stroke-width="${secondary ? 1.4 : 2}" stroke-linejoin="round"${secondary ? ' stroke-dasharray="5 3"' : ''}/>`);
    for (const p of sorted) out.push(`<circle cx="${x(p.bytes).toFixed(1)}" cy="${y(p.median).toFixed(1)}" r="${secondary ? 2.5 : 3.5}" fill="${secondary ? 'white' : colour(i)}" stroke="${colour(i)}"/>`);
  });
  out.push(frame(RIGHT));
  sweeps.forEach(({ name, secondary }, i) => {
    const row = LEGEND + (i + 1) * LINE;
    out.push(line(RIGHT, row - 4, RIGHT + 26, row - 4, colour(i), secondary ? 1.6 : 2.4, secondary ? '5 3' : ''), text(RIGHT + 36, row, `${name}${secondary ? '' : ': median, band to p99'}`));
  });
  return out;
}

function bar({ title, parts }: Bar, top: number): string[] {
  const out = [text(RIGHT, top, title, { size: 14, weight: 600 })], total = parts.reduce((sum, { count }) => sum + count, 0), scale = PLOT.width / Math.max(1, total);
  let x = RIGHT, groupAt = RIGHT;
  parts.forEach(({ group, name, count }, i) => {
    const width = count * scale;
    out.push(`<rect x="${x.toFixed(1)}" y="${top + 12}" width="${width.toFixed(1)}" height="26" fill="${PHASE_COLOURS[name] ?? '#999'}" stroke="white"><title>${escape(`${group} ${name}: ${count}`)}</title></rect>`);
    if (width > 14) out.push(text(x + width / 2, top + 29, String(count), { anchor: 'middle', size: 11, fill: /^(entry|copy|exit)$/.test(name) ? 'white' : INK }));
    x += width;
    if (parts[i + 1]?.group === group) return;
    out.push(line(groupAt + 2, top + 44, x - 2, top + 44, SOFT), text((groupAt + x) / 2, top + 58, group, { anchor: 'middle', size: 11, fill: SOFT }));
    groupAt = x;
  });
  let legend = RIGHT;
  for (const name of [...new Set(parts.map((part) => part.name))]) {
    out.push(`<rect x="${legend}" y="${top + 72}" width="10" height="10" fill="${PHASE_COLOURS[name] ?? '#999'}"/>`, text(legend + 15, top + 81, name, { size: 11 }));
    legend += 32 + name.length * 6.5;
  }
  return out;
}

export function figure({ title, subtitle, curves, sweeps, notes = new Map(), bar: parts }: Figure): string {
  const drawn = curves.filter(({ points }) => points.length > 0), barTop = LEGEND + (sweeps.length + 2) * LINE;
  const height = Math.max(LEGEND + (drawn.length + 1) * LINE, parts === undefined ? 0 : barTop + 96, LEGEND + (sweeps.length + 1) * LINE) + 12;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif">`,
    '<rect width="100%" height="100%" fill="white"/>', text(LEFT, 32, title, { size: 20, weight: 600 }), text(LEFT, 54, subtitle, { fill: SOFT }),
    ...(drawn.length > 0 ? distribution(drawn) : []), ...(sweeps.some(({ points }) => points.length > 0) ? sweep(sweeps, notes) : []), ...(parts === undefined ? [] : bar(parts, barTop)),
    '</svg>',
  ].join('\n')}\n`;
}
