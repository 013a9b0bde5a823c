/** The figure of an IPC measurement as SVG: the distribution of round trips (ECDF, log scale) and the sweep over message sizes. No library: two plots of lines. */
export interface Curve { readonly name: string; /** [ns, fraction]. */ readonly points: readonly (readonly [number, number])[] }
export interface Sweep { readonly name: string; /** Bytes of payload, median and p99 in ns. */ readonly points: readonly { readonly bytes: number; readonly median: number; readonly p99: number }[] }

const WIDTH = 960, PLOT = { width: 380, height: 300, top: 60 } as const;
const COLOURS = ['#1b6ca8', '#c8553d', '#2d936c', '#8a5fb4', '#b8860b', '#555555', '#d1478f', '#14a3a8', '#7a8b22', '#000000'];
const escape = (text: string): string => text.replace(/[&<>]/g, (c) => (c === '&' ? '&amp;' : c === '<' ? '&lt;' : '&gt;'));
const nsText = (ns: number): string => (ns < 1000 ? `${ns} ns` : ns < 1e6 ? `${ns / 1000} µs` : ns < 1e9 ? `${ns / 1e6} ms` : `${ns / 1e9} s`);

export function figure(title: string, subtitle: string, curves: readonly Curve[], sweeps: readonly Sweep[]): string {
  const rows = Math.max(curves.length, sweeps.length), height = PLOT.top + PLOT.height + 60 + rows * 16;
  const out: string[] = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="100%" height="100%" fill="white"/><text x="70" y="22" font-size="15">${escape(title)}</text><text x="70" y="40" fill="#555">${escape(subtitle)}</text>`,
  ];
  // ECDF
  const all = curves.flatMap(({ points }) => points.map(([ns]) => Math.max(1, ns)));
  const low = Math.floor(Math.log10(Math.min(...all, 100))), high = Math.ceil(Math.log10(Math.max(...all, 1000)));
  const x = (ns: number): number => 70 + ((Math.log10(Math.max(1, ns)) - low) / (high - low)) * PLOT.width, y = (f: number): number => PLOT.top + (1 - f) * PLOT.height;
  out.push(frame(70, 'round trip, host time', 'fraction of samples'));
  for (let e = low; e <= high; e++) out.push(`<line x1="${x(10 ** e)}" x2="${x(10 ** e)}" y1="${PLOT.top}" y2="${PLOT.top + PLOT.height}" stroke="#ddd"/><text x="${x(10 ** e)}" y="${PLOT.top + PLOT.height + 14}" text-anchor="middle">${nsText(10 ** e)}</text>`);
  for (const f of [0, 0.25, 0.5, 0.75, 0.99]) out.push(`<line x1="70" x2="${70 + PLOT.width}" y1="${y(f)}" y2="${y(f)}" stroke="#ddd"/><text x="64" y="${y(f) + 4}" text-anchor="end">${f}</text>`);
  curves.forEach(({ name, points }, i) => {
    out.push(`<polyline fill="none" stroke="${colour(i)}" stroke-width="1.5" points="${points.map(([ns, f]) => `${x(ns).toFixed(1)},${y(f).toFixed(1)}`).join(' ')}"/>`, key(70, i, name));
  });
  // size sweep
  const left = 540, values = sweeps.flatMap(({ points }) => points.flatMap(({ median, p99 }) => [median, p99])).filter((v) => v > 0);
  const bottom = Math.floor(Math.log10(Math.min(...values, 100))), top = Math.ceil(Math.log10(Math.max(...values, 1000)));
  const sizes = [...new Set(sweeps.flatMap(({ points }) => points.map(({ bytes }) => bytes)))].sort((a, b) => a - b);
  const sx = (bytes: number): number => left + ((sizes.indexOf(bytes) + 0.5) / Math.max(1, sizes.length)) * PLOT.width;
  const sy = (ns: number): number => PLOT.top + (1 - (Math.log10(Math.max(1, ns)) - bottom) / (top - bottom)) * PLOT.height;
  out.push(frame(left, 'payload, bytes', ''));
  for (let e = bottom; e <= top; e++) out.push(`<line x1="${left}" x2="${left + PLOT.width}" y1="${sy(10 ** e)}" y2="${sy(10 ** e)}" stroke="#ddd"/><text x="${left - 6}" y="${sy(10 ** e) + 4}" text-anchor="end">${nsText(10 ** e)}</text>`);
  for (const bytes of sizes) out.push(`<text x="${sx(bytes)}" y="${PLOT.top + PLOT.height + 14}" text-anchor="middle">${bytes}</text>`);
  sweeps.forEach(({ name, points }, i) => {
    const sorted = [...points].sort((a, b) => a.bytes - b.bytes);
    const band = [...sorted.map((p) => `${sx(p.bytes).toFixed(1)},${sy(p.median).toFixed(1)}`), ...[...sorted].reverse().map((p) => `${sx(p.bytes).toFixed(1)},${sy(p.p99).toFixed(1)}`)];
    out.push(`<polygon fill="${colour(i)}" fill-opacity="0.12" points="${band.join(' ')}"/>`);
    out.push(`<polyline fill="none" stroke="${colour(i)}" stroke-width="1.5" points="${sorted.map((p) => `${sx(p.bytes).toFixed(1)},${sy(p.median).toFixed(1)}`).join(' ')}"/>`, key(left, i, `${name} (line: median, band: to p99)`));
  });
  out.push('</svg>');
  return `${out.join('\n')}\n`;
}
const colour = (i: number): string => COLOURS[i % COLOURS.length]!;
function frame(left: number, xTitle: string, yTitle: string): string {
  const bottom = PLOT.top + PLOT.height;
  return `<rect x="${left}" y="${PLOT.top}" width="${PLOT.width}" height="${PLOT.height}" fill="none" stroke="#999"/><text x="${left + PLOT.width / 2}" y="${bottom + 32}" text-anchor="middle">${xTitle}</text>${yTitle === '' ? '' : `<text x="${left - 46}" y="${PLOT.top + PLOT.height / 2}" text-anchor="middle" transform="rotate(-90 ${left - 46} ${PLOT.top + PLOT.height / 2})">${yTitle}</text>`}`;
}
const key = (left: number, i: number, name: string): string => `<rect x="${left}" y="${PLOT.top + PLOT.height + 46 + i * 16}" width="12" height="4" fill="${colour(i)}"/><text x="${left + 18}" y="${PLOT.top + PLOT.height + 52 + i * 16}">${escape(name)}</text>`;
