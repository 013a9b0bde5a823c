/**
 * One gdb: packets in, packets out (gdb manual, E.2 to E.15). All-stop mode, threads as the target names them, reverse execution.
 *
 * Requests are answered in order; only ^C is looked at while the target runs. An unknown packet gets the empty answer, a wrong one E01, an unreadable
 * address E14, as gdb expects.
 */
import { PACKET_BYTES, PacketReader, fromHex, packet, toHex } from './packets.ts';
import type { PointKind, Resume, StopReply, Target } from './target.ts';

const WRONG = 'E01', FAULT = 'E14', OK = 'OK';
const BAD_PACKETS_BEFORE_GIVING_UP = 16;
const LAST = 0x7fffffff;

export class Session {
  readonly #target: Target;
  readonly #send: (bytes: Uint8Array) => void;
  readonly #ended: () => void;
  readonly #reader = new PacketReader();
  #queue: Uint8Array[] = [];
  #busy = false;
  #running = false;
  #acknowledge = true;
  #damaged = 0;
  #lastSent: Uint8Array | undefined;
  #closed = false;
  /** Threads for register and memory packets (`g`), and for step and continue (`c`); 0 = any. */
  readonly #thread = { g: 0, c: 0 };
  #threadList: string[] = [];

  /** `ended`: gdb has detached or killed; no packet will follow. */
  constructor(target: Target, send: (bytes: Uint8Array) => void, ended: () => void) {
    this.#target = target;
    this.#send = send;
    this.#ended = ended;
  }

  /** Bytes from gdb. */
  receive(bytes: Uint8Array): void {
    for (const received of this.#reader.push(bytes)) {
      switch (received.kind) {
        case 'interrupt': if (this.#running) this.#target.interrupt(); break;
        case 'packet':
          this.#damaged = 0;
          if (this.#acknowledge) this.#send(Uint8Array.of(0x2b));
          this.#queue.push(received.payload);
          break;
        case 'damaged':
          if (!this.#acknowledge || ++this.#damaged > BAD_PACKETS_BEFORE_GIVING_UP) { this.close(); return; }
          this.#send(Uint8Array.of(0x2d));
          break;
        case 'nack': if (this.#lastSent) this.#send(this.#lastSent); break;
        case 'ack':
      }
    }
    void this.#work();
  }
  /** The connection is gone: a running target stops being waited for. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue = [];
    if (this.#running) this.#target.interrupt();
    this.#ended();
  }

  async #work(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let payload = this.#queue.shift(); payload && !this.#closed; payload = this.#queue.shift()) {
        let answer: string | undefined;
        try { answer = await this.#answer(payload); } catch (error) {
          this.#console(`the debugger's own fault: ${error instanceof Error ? error.message : String(error)}\n`);
          answer = WRONG;
        }
        if (answer !== undefined && !this.#closed) this.#reply(answer);
      }
    } finally { this.#busy = false; }
  }
  #reply(text: string): void { this.#lastSent = packet(text); this.#send(this.#lastSent); }
  /** Text for gdb's console; only while gdb waits for a stop or for the end of a monitor command. */
  #console(text: string): void {
    const bytes = Buffer.from(text, 'utf8');
    for (let at = 0; at < bytes.length; at += 4096) this.#send(packet(`O${toHex(bytes.subarray(at, at + 4096))}`));
  }

  // ---- packets
  async #answer(payload: Uint8Array): Promise<string | undefined> {
    const text = Buffer.from(payload).toString('latin1'), target = this.#target;
    const rest = text.slice(1);
    switch (text[0]) {
      case '?': return this.#stop({ kind: 'signal', signal: 5, thread: target.current });
      case 'g': return this.#general((thread) => target.registerBytes.map((_, register) => this.#register(thread, register)).join(''));
      case 'G': return this.#writeAll(rest);
      case 'p': return this.#general((thread) => { const register = number(rest); return register < target.registerBytes.length ? this.#register(thread, register) : WRONG; });
      case 'P': {
        const [register, value] = rest.split('='), bytes = fromHex(value ?? '');
        return this.#general((thread) => (bytes && target.writeRegister(thread, number(register), bytes) ? OK : WRONG));
      }
      case 'm': {
        const [address, length] = rest.split(',').map(number);
        if (!valid(address) || !valid(length)) return WRONG;
        return this.#general((thread) => { const bytes = target.readMemory(thread, address, Math.min(length, PACKET_BYTES / 2)); return bytes ? toHex(bytes) : length === 0 ? '' : FAULT; });
      }
      case 'M': {
        const [place, data] = rest.split(':'), [address, length] = (place ?? '').split(',').map(number), bytes = fromHex(data ?? '');
        return this.#general((thread) => (!bytes || bytes.length !== length || !valid(address) ? WRONG : target.writeMemory(thread, address, bytes) ? OK : FAULT));
      }
      case 'X': {
        const colon = payload.indexOf(0x3a), [address, length] = text.slice(1, Math.max(1, colon)).split(',').map(number), bytes = payload.subarray(colon + 1);
        return this.#general((thread) => (colon < 0 || bytes.length !== length || !valid(address) ? WRONG : length === 0 || target.writeMemory(thread, address, bytes) ? OK : FAULT));
      }
      case 'Z': case 'z': {
        const [kind, address, bytes] = (rest.split(';')[0] ?? '').split(',').map(number);
        if (!(kind! >= 0 && kind! <= 4)) return '';
        if (!valid(address) || !valid(bytes)) return WRONG;
        return (text[0] === 'Z' ? target.insert(kind as PointKind, address, bytes) : target.remove(kind as PointKind, address, bytes)) ? OK : WRONG;
      }
      case 'H': {
        const thread = threadOf(rest.slice(1));
        if ((rest[0] !== 'g' && rest[0] !== 'c') || thread === undefined || (thread > 0 && !this.#exists(thread))) return WRONG;
        this.#thread[rest[0]] = Math.max(thread, 0);
        return OK;
      }
      case 'T': return this.#exists(threadOf(rest) ?? 0) ? OK : WRONG;
      case 'c': case 'C': case 's': case 'S': return this.#resumeOld(text);
      case 'b': return rest === 's' ? this.#resume({ kind: 'reverse-step', thread: this.#chosen('c') }) : rest === 'c' ? this.#resume({ kind: 'reverse-continue' }) : '';
      case 'D': target.detach(); this.#reply(OK); this.close(); return undefined;
      case 'k': target.kill(); this.close(); return undefined;
      case 'v': return this.#verbose(text);
      case 'q': case 'Q': return this.#query(text);
      default: return '';
    }
  }
  #exists(thread: number): boolean { return this.#target.threads().some(({ id }) => id === thread); }
  #chosen(what: 'g' | 'c'): number { const thread = this.#thread[what]; return thread > 0 && this.#exists(thread) ? thread : this.#target.current; }
  #general(body: (thread: number) => string): string { return body(this.#chosen('g')); }
  #register(thread: number, register: number): string {
    const value = this.#target.readRegister(thread, register);
    return value ? toHex(value) : 'x'.repeat(this.#target.registerBytes[register]! * 2);
  }
  #writeAll(hex: string): string {
    const { registerBytes } = this.#target, bytes = fromHex(hex.replace(/x/g, '0'));
    if (!bytes || bytes.length < registerBytes[0]!) return WRONG;
    return this.#general((thread) => {
      let at = 0, refused = false;
      registerBytes.forEach((count, register) => {
        if (at + count > bytes.length) return;
        if (!hex.slice(at * 2, (at + count) * 2).includes('x')) {
          const value = bytes.subarray(at, at + count), present = this.#target.readRegister(thread, register);
          if (!present || Buffer.compare(present, value) !== 0) refused = !this.#target.writeRegister(thread, register, value) || refused;
        }
        at += count;
      });
      return refused ? WRONG : OK;
    });
  }

  // ---- running
  /** `c`, `s` with an optional address, which nothing here can begin at. */
  #resumeOld(text: string): Promise<string | undefined> | string {
    const match = /^([cCsS])(?:[0-9a-f]{2})?;?([0-9a-f]*)$/i.exec(text);
    if (!match || match[2] !== '') return WRONG;
    return this.#resume(match[1]!.toLowerCase() === 'c' ? { kind: 'continue' } : { kind: 'step', thread: this.#chosen('c') });
  }
  #verbose(text: string): Promise<string | undefined> | string | undefined {
    if (text === 'vCont?') return 'vCont;c;C;s;S;r';
    if (text.startsWith('vCont;')) {
      for (const action of text.slice(6).split(';')) {
        const [what, who] = action.split(':'), thread = who === undefined ? undefined : threadOf(who);
        if (who !== undefined && thread === undefined) return WRONG;
        const stepped = thread !== undefined && thread > 0 ? thread : this.#chosen('c');
        if (/^[sS]/.test(what!)) return this.#resume({ kind: 'step', thread: stepped });
        const range = /^r([0-9a-f]+),([0-9a-f]+)$/i.exec(what!);
        if (range) return this.#resume({ kind: 'range', thread: stepped, from: number(range[1]), to: number(range[2]) });
        if (!/^[cC]/.test(what!)) return WRONG;
      }
      return this.#resume({ kind: 'continue' });
    }
    if (text.startsWith('vKill')) { this.#target.kill(); this.#reply(OK); this.close(); return undefined; }
    return '';
  }
  async #resume(how: Resume): Promise<string | undefined> {
    this.#running = true;
    try {
      const stop = await this.#target.resume(how), text = this.#stop(stop);
      if (stop.kind === 'signal') return text;
      this.#reply(text);
      this.close();
      return undefined;
    } finally { this.#running = false; }
  }
  #stop(stop: StopReply): string {
    if (stop.kind === 'exited') return `W${byte(stop.status)}`;
    if (stop.kind === 'killed') return `X${byte(stop.signal)}`;
    if (stop.text !== undefined && this.#running) this.#console(`${stop.text}\n`);
    const why = stop.why === undefined ? '' : stop.why === 'begin' ? 'replaylog:begin;' : stop.why === 'end' ? 'replaylog:end;' : `${stop.why}:;`;
    const watch = stop.watch ? `${stop.watch.kind}:${stop.watch.address.toString(16)};` : '';
    this.#thread.g = this.#thread.c = 0;
    return `T${byte(stop.signal)}thread:${stop.thread.toString(16)};${why}${watch}`;
  }

  // ---- queries
  #query(text: string): Promise<string | undefined> | string {
    const target = this.#target;
    if (text.startsWith('qSupported')) {
      return `PacketSize=${PACKET_BYTES.toString(16)};QStartNoAckMode+;qXfer:features:read+;qXfer:memory-map:read+;qXfer:threads:read+;vContSupported+;swbreak+;hwbreak+;ReverseStep+;ReverseContinue+`;
    }
    if (text === 'QStartNoAckMode') { this.#acknowledge = false; return OK; }
    if (text === 'qC') return `QC${target.current.toString(16)}`;
    if (text === 'qAttached' || text.startsWith('qAttached:')) return '1';
    if (text === 'qfThreadInfo') { this.#threadList = target.threads().map(({ id }) => id.toString(16)); return this.#threadBatch(); }
    if (text === 'qsThreadInfo') return this.#threadBatch();
    if (text.startsWith('qThreadExtraInfo,')) {
      const thread = target.threads().find(({ id }) => id === threadOf(text.slice(17)));
      return thread ? toHex(Buffer.from(`${thread.name}  ${thread.extra}`)) : WRONG;
    }
    if (text === 'qTStatus') return '';
    if (text.startsWith('qSymbol')) return OK;
    if (text.startsWith('qRcmd,')) return this.#command(text.slice(6));
    const transfer = /^qXfer:(features|memory-map|threads):read:([^:]*):([0-9a-f]+),([0-9a-f]+)$/i.exec(text);
    if (transfer) {
      const [, what, annex, at, count] = transfer;
      if (what === 'features' && annex !== 'target.xml') return 'E00';
      return part(what === 'features' ? target.features : what === 'memory-map' ? target.memoryMap : threadsXml(target), number(at), number(count));
    }
    return '';
  }
  #threadBatch(): string {
    const batch = this.#threadList.splice(0, 64);
    return batch.length > 0 ? `m${batch.join(',')}` : 'l';
  }
  async #command(hex: string): Promise<string> {
    const bytes = fromHex(hex);
    if (!bytes) return WRONG;
    await this.#target.monitor(this.#chosen('g'), Buffer.from(bytes).toString('utf8').trim(), (text) => this.#console(text));
    return OK;
  }
}

const number = (text: string | undefined): number => (text !== undefined && /^[0-9a-f]+$/i.test(text) ? parseInt(text, 16) : NaN);
/** A 32-bit address or a count. */
const valid = (value: number | undefined): value is number => value !== undefined && value >= 0 && value <= 0xffffffff;
const byte = (value: number): string => (value & 255).toString(16).padStart(2, '0');
/** `p1.2`, `2`, `-1` (all: -1), `0` (any). */
function threadOf(text: string): number | undefined {
  const match = /^(?:p-?[0-9a-f]+\.)?(-1|[0-9a-f]+)$/i.exec(text);
  if (!match) return undefined;
  const thread = match[1] === '-1' ? -1 : parseInt(match[1]!, 16);
  return thread <= LAST ? thread : undefined;
}
/** A piece of a document: `m` = there is more, `l` = the last. */
function part(text: string, at: number, count: number): string {
  const bytes = Buffer.from(text, 'utf8').toString('latin1');
  return at + count < bytes.length ? `m${bytes.slice(at, at + count)}` : `l${bytes.slice(at)}`;
}
const escapeXml = (text: string): string => text.replace(/[<>&"']/g, (c) => `&#${c.charCodeAt(0)};`);
const threadsXml = (target: Target): string => `<?xml version="1.0"?>\n<threads>\n${target.threads().map(({ id, name, extra, core }) => `<thread id="${id.toString(16)}"${core === undefined ? '' : ` core="${core}"`} name="${escapeXml(name)}">${escapeXml(extra)}</thread>\n`).join('')}</threads>\n`;
