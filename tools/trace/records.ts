/** Trace records (vm/trace.ts) as objects, with names for what the kernel's points and the guest's marks mean. */
import { TRACE_EVENT, TRACE_RECORD, TRACE_RECORD_BYTES } from '../../vm/trace.ts';
import { MARKS } from '../../servers/protocols/trace.ts';
import { POINT, type PointName } from './points.ts';

export type RecordKind = PointName | 'interrupt' | 'halt' | `mark.${keyof typeof MARKS}` | 'unknown';
export interface TraceRecord {
  readonly ns: number;
  readonly cpu: number;
  readonly kind: RecordKind;
  readonly id: number;
  /** Low 32 bits of the instructions this vCPU had completed. */
  readonly retired: number;
  readonly words: readonly [number, number, number, number];
}
const KINDS = new Map<number, RecordKind>([
  ...Object.entries(POINT).map(([name, id]): [number, RecordKind] => [id, name as PointName]),
  ...Object.entries(MARKS).map(([name, id]): [number, RecordKind] => [TRACE_EVENT.mark + id, `mark.${name as keyof typeof MARKS}`]),
  [TRACE_EVENT.interrupt, 'interrupt'], [TRACE_EVENT.halt, 'halt'],
]);

export function* readRecords(records: Uint8Array): Generator<TraceRecord> {
  const view = new DataView(records.buffer, records.byteOffset, records.length);
  for (let at = 0; at + TRACE_RECORD_BYTES <= records.length; at += TRACE_RECORD_BYTES) {
    const id = view.getUint16(at + TRACE_RECORD.id, true), word = (n: number): number => view.getUint32(at + TRACE_RECORD.words + n * 4, true);
    yield {
      ns: view.getFloat64(at + TRACE_RECORD.time, true), cpu: view.getUint8(at + TRACE_RECORD.cpu), kind: KINDS.get(id) ?? 'unknown', id,
      retired: view.getUint32(at + TRACE_RECORD.retired, true), words: [word(0), word(1), word(2), word(3)],
    };
  }
}
/** One line of text per record, for `replay` and debugging. */
export function formatRecord(r: TraceRecord): string {
  const hex = r.words.map((w) => (w < 10_000 ? String(w) : `0x${w.toString(16)}`)).join(' ');
  return `${(r.ns / 1000).toFixed(3).padStart(14)} us  cpu${r.cpu}  ${r.kind.padEnd(18)} ${hex}`;
}
