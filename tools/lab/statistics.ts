/** Interval estimates for counts. Proportions are never shown without one (Leveugle et al., DATE 2009; Schirmeier et al., DSN 2015). */

/** Wilson score interval of k successes in n trials; z = 1.96 for 95 %. n = 0 gives [0, 1]. */
export function wilson(k: number, n: number, z = 1.959964): { readonly low: number; readonly high: number } {
  if (n === 0) return { low: 0, high: 1 };
  const p = k / n, zz = z * z, middle = (p + zz / (2 * n)) / (1 + zz / n);
  const half = (z / (1 + zz / n)) * Math.sqrt((p * (1 - p)) / n + zz / (4 * n * n));
  return { low: k === 0 ? 0 : Math.max(0, middle - half), high: k === n ? 1 : Math.min(1, middle + half) };
}
/** The q-quantile (0..1) of values, nearest rank; undefined of none. */
export function quantile(values: readonly number[], q: number): number | undefined {
  if (values.length === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))];
}

/** 2 -> "2nd", 11 -> "11th", 1,305 -> "1,305th". */
export function ordinal(value: number): string {
  const suffix = value % 100 >= 11 && value % 100 <= 13 ? 'th' : ['th', 'st', 'nd', 'rd'][value % 10] ?? 'th';
  return `${value.toLocaleString('en-US')}${suffix}`;
}
