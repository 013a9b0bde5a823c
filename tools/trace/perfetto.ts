/**
 * Perfetto TrackEvent (protobuf) from a timeline, and back. ui.perfetto.dev and trace_processor open the file as it is.
 *
 * Field numbers: perfetto protos/perfetto/trace/{trace_packet,interned_data/interned_data}.proto and trace/track_event/{track_event,
 * track_descriptor,thread_descriptor,process_descriptor,debug_annotation}.proto. Wire format: protobuf.dev/programming-guides/encoding.
 * One packet sequence; names, categories and annotation names are interned (iid 1, 2, ...) in the packet that first uses them.
 */
import type { Argument, Timeline, TimelineEvent, Track } from './timeline.ts';

const TRACE = { packet: 1 } as const;
const PACKET = { timestamp: 8, sequenceId: 10, trackEvent: 11, internedData: 12, sequenceFlags: 13, trackDescriptor: 60 } as const;
const DESCRIPTOR = { uuid: 1, name: 2, process: 3, thread: 4, parentUuid: 5, childOrdering: 11, siblingOrderRank: 12 } as const;
const PROCESS = { pid: 1, name: 6 } as const;
const THREAD = { pid: 1, tid: 2, name: 5 } as const;
const EVENT = { categoryIids: 3, annotations: 4, type: 9, nameIid: 10, trackUuid: 11, flowIds: 47, terminatingFlowIds: 48 } as const;
const ANNOTATION = { nameIid: 1, int: 4, text: 6 } as const;
const INTERNED = { categories: 1, names: 2, annotationNames: 3 } as const;
const NAMED = { iid: 1, name: 2 } as const;
const TYPE = { begin: 1, end: 2, instant: 3 } as const;
/** SEQ_INCREMENTAL_STATE_CLEARED, then SEQ_NEEDS_INCREMENTAL_STATE. */
const FIRST = 1 | 2, LATER = 2;
const EXPLICIT_ORDER = 3;
const SEQUENCE = 1;

// ---- writing ----------------------------------------------------------------------------------------------------------------------

class Writer {
  #bytes = new Uint8Array(256);
  length = 0;
  #room(count: number): void {
    if (this.length + count <= this.#bytes.length) return;
    const more = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + count));
    more.set(this.#bytes.subarray(0, this.length));
    this.#bytes = more;
  }
  get bytes(): Uint8Array { return this.#bytes.subarray(0, this.length); }
  clear(): this { this.length = 0; return this; }
  /** A non-negative integer below 2^53. */
  varint(value: number): void {
    this.#room(10);
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.#bytes[this.length++] = rest % 0x80 | 0x80;
    this.#bytes[this.length++] = rest;
  }
  #raw(bytes: Uint8Array): void { this.#room(bytes.length); this.#bytes.set(bytes, this.length); this.length += bytes.length; }
  uint(field: number, value: number): void { this.varint(field * 8); this.varint(value); }
  /** int64: negative numbers are ten bytes of two's complement. */
  int(field: number, value: number): void {
    if (value >= 0) { this.uint(field, value); return; }
    this.varint(field * 8);
    this.#room(10);
    let rest = BigInt.asUintN(64, BigInt(value));
    for (; rest >= 0x80n; rest >>= 7n) this.#bytes[this.length++] = Number(rest & 0x7fn) | 0x80;
    this.#bytes[this.length++] = Number(rest);
  }
  fixed64(field: number, value: number): void {
    this.varint(field * 8 + 1);
    this.#room(8);
    new DataView(this.#bytes.buffer).setBigUint64(this.length, BigInt(value), true);
    this.length += 8;
  }
  message(field: number, bytes: Uint8Array): void { this.varint(field * 8 + 2); this.varint(bytes.length); this.#raw(bytes); }
  text(field: number, text: string): void { this.message(field, new TextEncoder().encode(text)); }
}

export function encodePerfetto(timeline: Timeline): Uint8Array {
  const out = new Writer(), packet = new Writer(), inner = new Writer(), part = new Writer();
  let first = true;
  const emit = (): void => {
    packet.uint(PACKET.sequenceId, SEQUENCE);
    packet.uint(PACKET.sequenceFlags, first ? FIRST : LATER);
    first = false;
    out.message(TRACE.packet, packet.bytes);
  };
  for (const track of timeline.tracks) {
    inner.clear();
    inner.uint(DESCRIPTOR.uuid, track.id);
    if (track.parent !== undefined) inner.uint(DESCRIPTOR.parentUuid, track.parent);
    part.clear();
    if (track.kind === 'process') { part.uint(PROCESS.pid, track.pid ?? 0); part.text(PROCESS.name, track.name); inner.message(DESCRIPTOR.process, part.bytes); }
    else if (track.kind === 'thread') { part.uint(THREAD.pid, track.pid ?? 0); part.uint(THREAD.tid, track.tid ?? 0); part.text(THREAD.name, track.name); inner.message(DESCRIPTOR.thread, part.bytes); }
    else inner.text(DESCRIPTOR.name, track.name);
    if (track.rank !== undefined) inner.uint(DESCRIPTOR.siblingOrderRank, track.rank);
    if (track.kind !== 'thread') inner.uint(DESCRIPTOR.childOrdering, EXPLICIT_ORDER);
    packet.clear().message(PACKET.trackDescriptor, inner.bytes);
    emit();
  }
  const interned = { categories: new Map<string, number>(), names: new Map<string, number>(), annotationNames: new Map<string, number>() };
  for (const event of timeline.events) {
    const fresh = new Writer();
    const iid = (kind: keyof typeof interned, text: string): number => {
      const known = interned[kind].get(text);
      if (known !== undefined) return known;
      const id = interned[kind].size + 1;
      interned[kind].set(text, id);
      const named = new Writer();
      named.uint(NAMED.iid, id);
      named.text(NAMED.name, text);
      fresh.message(INTERNED[kind], named.bytes);
      return id;
    };
    inner.clear();
    inner.uint(EVENT.type, TYPE[event.type]);
    inner.uint(EVENT.trackUuid, event.track);
    if (event.category !== undefined) inner.uint(EVENT.categoryIids, iid('categories', event.category));
    if (event.name !== undefined) inner.uint(EVENT.nameIid, iid('names', event.name));
    for (const [key, value] of Object.entries(event.args ?? {})) {
      part.clear();
      part.uint(ANNOTATION.nameIid, iid('annotationNames', key));
      if (typeof value === 'number') part.int(ANNOTATION.int, Math.trunc(value)); else part.text(ANNOTATION.text, value);
      inner.message(EVENT.annotations, part.bytes);
    }
    for (const flow of event.flows ?? []) inner.fixed64(EVENT.flowIds, flow);
    for (const flow of event.ends ?? []) inner.fixed64(EVENT.terminatingFlowIds, flow);
    packet.clear().uint(PACKET.timestamp, Math.max(0, Math.round(event.ns)));
    if (fresh.length > 0) packet.message(PACKET.internedData, fresh.bytes);
    packet.message(PACKET.trackEvent, inner.bytes);
    emit();
  }
  return out.bytes.slice();
}

// ---- reading ----------------------------------------------------------------------------------------------------------------------

export class PerfettoError extends Error { override readonly name = 'PerfettoError'; }
interface Field { readonly number: number; readonly value: number; readonly bytes: Uint8Array }

function* fieldsOf(bytes: Uint8Array): Generator<Field> {
  let at = 0;
  const varint = (): number => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined || shift > 63n) throw new PerfettoError('a varint runs past the end of its message');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return Number(BigInt.asIntN(64, value));
    }
  };
  while (at < bytes.length) {
    const key = varint(), number = Math.floor(key / 8), wire = key % 8;
    if (wire === 0) yield { number, value: varint(), bytes: EMPTY };
    else if (wire === 1 || wire === 5) {
      const count = wire === 1 ? 8 : 4;
      if (at + count > bytes.length) throw new PerfettoError('a fixed field runs past the end of its message');
      const view = new DataView(bytes.buffer, bytes.byteOffset + at, count);
      yield { number, value: wire === 1 ? Number(view.getBigUint64(0, true)) : view.getUint32(0, true), bytes: EMPTY };
      at += count;
    } else if (wire === 2) {
      const count = varint();
      if (count < 0 || at + count > bytes.length) throw new PerfettoError(`field ${number} runs past the end of its message`);
      yield { number, value: 0, bytes: bytes.subarray(at, at + count) };
      at += count;
    } else throw new PerfettoError(`wire type ${wire} of field ${number} is none that Perfetto uses`);
  }
}
const EMPTY = new Uint8Array(0);
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** The timeline of a file that encodePerfetto wrote (or another that stays within the same fields). Throws PerfettoError. */
export function decodePerfetto(file: Uint8Array): Timeline {
  const tracks: Track[] = [], events: TimelineEvent[] = [];
  const names = new Map<string, string>();
  const lookup = (kind: number, iid: number): string => {
    const name = names.get(`${kind}:${iid}`);
    if (name === undefined) throw new PerfettoError(`interned string ${iid} of kind ${kind} was never defined`);
    return name;
  };
  for (const { number, bytes } of fieldsOf(file)) {
    if (number !== TRACE.packet) throw new PerfettoError(`a trace consists of packets, not of field ${number}`);
    let ns = 0, event: Uint8Array | undefined;
    for (const field of fieldsOf(bytes)) {
      if (field.number === PACKET.timestamp) ns = field.value;
      else if (field.number === PACKET.trackEvent) event = field.bytes;
      else if (field.number === PACKET.trackDescriptor) tracks.push(descriptor(field.bytes));
      else if (field.number === PACKET.internedData) for (const entry of fieldsOf(field.bytes)) {
        let iid = 0, name = '';
        for (const part of fieldsOf(entry.bytes)) if (part.number === NAMED.iid) iid = part.value; else if (part.number === NAMED.name) name = textOf(part.bytes);
        names.set(`${entry.number}:${iid}`, name);
      }
    }
    if (event) events.push(trackEvent(ns, event, lookup));
  }
  return { tracks, events };
}
function descriptor(bytes: Uint8Array): Track {
  let id = 0, name = '', kind: Track['kind'] = 'custom', parent: number | undefined, pid: number | undefined, tid: number | undefined, rank: number | undefined;
  for (const field of fieldsOf(bytes)) {
    if (field.number === DESCRIPTOR.uuid) id = field.value;
    else if (field.number === DESCRIPTOR.name) name = textOf(field.bytes);
    else if (field.number === DESCRIPTOR.parentUuid) parent = field.value;
    else if (field.number === DESCRIPTOR.siblingOrderRank) rank = field.value;
    else if (field.number === DESCRIPTOR.process) {
      kind = 'process';
      for (const part of fieldsOf(field.bytes)) if (part.number === PROCESS.pid) pid = part.value; else if (part.number === PROCESS.name) name = textOf(part.bytes);
    } else if (field.number === DESCRIPTOR.thread) {
      kind = 'thread';
      for (const part of fieldsOf(field.bytes)) if (part.number === THREAD.pid) pid = part.value; else if (part.number === THREAD.tid) tid = part.value; else if (part.number === THREAD.name) name = textOf(part.bytes);
    }
  }
  return { id, name, kind, ...(parent === undefined ? {} : { parent }), ...(pid === undefined ? {} : { pid }), ...(tid === undefined ? {} : { tid }), ...(rank === undefined ? {} : { rank }) };
}
function trackEvent(ns: number, bytes: Uint8Array, lookup: (kind: number, iid: number) => string): TimelineEvent {
  let track = 0, type: TimelineEvent['type'] | undefined, name: string | undefined, category: string | undefined;
  const flows: number[] = [], ends: number[] = [], args: Record<string, Argument> = {};
  for (const field of fieldsOf(bytes)) {
    if (field.number === EVENT.type) type = (Object.keys(TYPE) as (keyof typeof TYPE)[]).find((t) => TYPE[t] === field.value);
    else if (field.number === EVENT.trackUuid) track = field.value;
    else if (field.number === EVENT.nameIid) name = lookup(INTERNED.names, field.value);
    else if (field.number === EVENT.categoryIids) category = lookup(INTERNED.categories, field.value);
    else if (field.number === EVENT.flowIds) flows.push(field.value);
    else if (field.number === EVENT.terminatingFlowIds) ends.push(field.value);
    else if (field.number === EVENT.annotations) {
      let key = '', value: Argument = 0;
      for (const part of fieldsOf(field.bytes)) if (part.number === ANNOTATION.nameIid) key = lookup(INTERNED.annotationNames, part.value); else if (part.number === ANNOTATION.int) value = part.value; else if (part.number === ANNOTATION.text) value = textOf(part.bytes);
      args[key] = value;
    }
  }
  if (type === undefined) throw new PerfettoError('a track event has no type');
  return { ns, track, type, ...(name === undefined ? {} : { name }), ...(category === undefined ? {} : { category }), ...(flows.length ? { flows } : {}), ...(ends.length ? { ends } : {}), ...(Object.keys(args).length ? { args } : {}) };
}
