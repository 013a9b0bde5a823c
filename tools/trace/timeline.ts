/**
 * What a trace shows, independent of any file format: tracks, and events on them in order of time. The model (model.ts) makes it from
 * records, the encoder (perfetto.ts) writes it and reads it back.
 *
 * Slices of one track nest: an `end` closes the youngest open `begin`. A flow is an arrow through all events that carry its number, in
 * order of time, until the event that names it in `ends`.
 */
export interface Track {
  /** > 0, unique in the timeline. */
  readonly id: number;
  readonly name: string;
  readonly kind: 'process' | 'thread' | 'custom';
  readonly parent?: number;
  /** process, thread */
  readonly pid?: number;
  /** thread */
  readonly tid?: number;
  /** Place among its siblings, small first. */
  readonly rank?: number;
}
export type Argument = string | number;
export interface TimelineEvent {
  readonly ns: number;
  readonly track: number;
  readonly type: 'begin' | 'end' | 'instant';
  readonly name?: string;
  readonly category?: string;
  readonly flows?: readonly number[];
  readonly ends?: readonly number[];
  readonly args?: Readonly<Record<string, Argument>>;
}
export interface Timeline { readonly tracks: readonly Track[]; readonly events: readonly TimelineEvent[] }
