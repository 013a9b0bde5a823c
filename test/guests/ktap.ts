/** Reads what a guest printed: KTAP version 1 lines (Linux Documentation/dev-tools/ktap.rst). */
export interface KtapLine { ok: boolean; number: number; name: string; skipped: string | null }
export interface KtapReport { planned: number | null; lines: KtapLine[]; problems: string[] }

export function parseKtap(text: string): KtapReport {
  const lines: KtapLine[] = [], problems: string[] = [];
  let planned: number | null = null;
  for (const raw of text.split('\n')) {
    const line = raw.trim();
    const plan = /^1\.\.(\d+)$/.exec(line);
    if (plan) { planned = Number(plan[1]); continue; }
    const result = /^(not )?ok (\d+) (.*?)(?: # SKIP (.*))?$/.exec(line);
    if (result) lines.push({ ok: !result[1], number: Number(result[2]), name: result[3]!, skipped: result[4] ?? null });
    if (line.startsWith('Bail out!')) problems.push('the guest bailed out');
  }
  if (planned === null) problems.push('no plan was printed');
  else if (lines.length !== planned) problems.push(`${lines.length} of ${planned} results were printed`);
  return { planned, lines, problems };
}
