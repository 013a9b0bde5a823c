/** Source map (revision 3) of a wasm file: sorted list of (file offset -> source position). All segments are on "line" 0. */
export interface SourcePosition { readonly file: string; readonly line: number; readonly column: number }
export interface SourceMap { find(offset: number): SourcePosition | undefined }

const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
export function parseSourceMap(json: string): SourceMap {
  if (json === '') return { find: () => undefined };
  const map = JSON.parse(json) as { sources: string[]; mappings: string };
  const offsets: number[] = [], positions: [number, number, number][] = [];
  let offset = 0, source = 0, line = 0, column = 0;
  for (const segment of map.mappings.split(';')[0]?.split(',') ?? []) {
    const fields: number[] = [];
    let value = 0, shift = 0;
    for (const ch of segment) {
      const d = BASE64.indexOf(ch);
      value |= (d & 31) << shift;
      shift += 5;
      if ((d & 32) === 0) {
        fields.push((value & 1) !== 0 ? -(value >>> 1) : value >>> 1);
        value = shift = 0;
      }
    }
    offset += fields[0] ?? 0;
    if (fields.length < 4) continue;
    source += fields[1] ?? 0;
    line += fields[2] ?? 0;
    column += fields[3] ?? 0;
    offsets.push(offset);
    positions.push([source, line, column]);
  }
  return {
    find(at) {
      let lo = 0, hi = offsets.length - 1, best = -1;
      while (lo <= hi) {
        const mid = (lo + hi) >> 1;
        if ((offsets[mid] as number) <= at) {
          best = mid;
          lo = mid + 1;
        } else hi = mid - 1;
      }
      const p = positions[best];
      return p === undefined ? undefined : { file: (map.sources[p[0]] ?? '?').replace(/^\.\//, ''), line: p[1] + 1, column: p[2] + 1 };
    },
  };
}
