/**
 * `demo tcp` as a function: one TCP connection between a host program and a guest program carries streams down and up, while the guest's supervisor kills
 * net, the NIC driver and fs (servers/supervisor/storm.ts). The guest reads what it sends from its disk and writes what it gets to it (programs/streamd.ts).
 * The host compares every byte that comes down with what it put on the disk, the checksum of what went up with its own, and the file on the disk at the end.
 *
 * Live, the host's end is a socket (tcp-live.ts) and time is the host's. In the deterministic machine it is part of the peer on the virtual wire
 * (tcp-virtual.ts), time is virtual, and the same seed gives the same run: a pause found there can be looked at again.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createMachine, type MachineResult } from '../../vm/machine.ts';
import type { NetConfig } from '../../vm/net/config.ts';
import { PROGRAMS } from '../build/targets.ts';
import { rootEntries } from '../build/rootfs.ts';
import { ensureGuest } from '../cli/guest.ts';
import { systemConfig, type SystemOptions } from '../cli/system.ts';
import { buildExt2 } from '../image/writer.ts';
import { Ext2Reader } from '../image/reader.ts';
import { content, Conversation, FILE_BYTES } from './conversation.ts';
import { Ledger, type Direction, type Flow, type Stall } from './ledger.ts';
import { freePort, LiveWire } from './tcp-live.ts';
import { VirtualPeer } from './tcp-virtual.ts';

export const TCP_VICTIMS = ['net', 'virtio-net', 'fs', 'virtio-blk', 'tty', 'uart0', 'uart1', 'supervisor'] as const;
export interface TcpOptions extends SystemOptions {
  /** Goes on until so many kills; at least one stream each way. */
  readonly kills: number;
  readonly periodMs: number;
  readonly victims: readonly string[];
  /** Bytes of one stream. */
  readonly bytes: number;
  /** The storm rests and kills in turn, and the report says what the kills cost. */
  readonly compare: boolean;
  /** Capture file. */
  readonly pcap?: string;
}
export interface TcpReport {
  readonly kills: number;
  readonly killsByVictim: Readonly<Record<string, number>>;
  readonly streams: number;
  readonly bytesDown: number;
  readonly bytesUp: number;
  /** MB/s of payload. */
  readonly goodputDown: number;
  readonly goodputUp: number;
  /** With `compare`: MB/s while the storm rests and while it kills, kills in the latter, and the part of the throughput that they cost (0.1 = a tenth). */
  readonly compared?: { readonly rest: Readonly<Record<Direction, number>>; readonly kills: Readonly<Record<Direction, number>>; readonly seconds: number; readonly lost: number };
  /** Segments that the guest sent again; in the deterministic machine also those of the peer. */
  readonly retransmitted: number;
  readonly retransmittedByPeer?: number;
  /** Deterministic machine: segments that reached the peer a second time. */
  readonly receivedAgain?: number;
  readonly longestStallMs: number;
  /** The longest pauses, and how many there are below 10, 20, 50, 100, 200, 500 ms and above. */
  readonly stalls: readonly Stall[];
  readonly histogram: readonly number[];
  readonly resets: number;
  readonly wrongBytes: number;
  readonly wrongChecksums: number;
  /** Median time from a death to the first request served, ms of guest time. */
  readonly recoveryMs: number;
  readonly e2fsck: string;
  readonly problems: readonly string[];
  readonly reason: MachineResult['reason'];
  readonly mode: 'parallel' | 'deterministic';
  readonly seed: number;
  readonly place: string;
  readonly smp: number;
  readonly stateHash: string;
  readonly hostSeconds: number;
}
export interface TcpTick { readonly kills: number; readonly direction: Direction; readonly done: number; readonly bytes: number; readonly rate: number; readonly longestStallMs: number }

const GUEST_PORT = 7000;
const EVERLASTING = 1_000_000;
/** Kills in one turn of the storm. */
const TURN_KILLS = 4;
const SHOWN_STALLS = 10;

export interface TcpEvent { restart?: string; failed?: string; why?: string; mid?: number; ns?: number[]; kill?: string; at?: number; storm?: string }

const rate = ({ bytes, ms }: Flow): number => (ms === 0 ? 0 : Math.round(bytes / ms / 10) / 100);
const round = (ms: number): number => Math.round(ms * 1000) / 1000;

export async function demoTcp(options: TcpOptions, watch: { tick?(tick: TcpTick): void; log?(bytes: Uint8Array): void; /** What the supervisor tells (servers/supervisor/telemetry.ts); `at`: now, or the moment of a kill, in ms of the ledger's clock. */ event?(event: TcpEvent, at: number): void } = {}): Promise<TcpReport> {
  ensureGuest();
  const folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-demo-')), disk = path.join(folder, 'disk.img'), data = content(options.seed), started = performance.now();
  writeFileSync(disk, buildExt2({ entries: [...rootEntries(PROGRAMS), { kind: 'file', path: '/stream.bin', data, mode: 0o644 }], sizeMiB: 64, label: 'kintsugi' }));
  try {
    const problems: string[] = [], byVictim: Record<string, number> = Object.fromEntries(options.victims.map((name) => [name, 0])), recovery: number[] = [];
    const peer = options.deterministic ? new VirtualPeer(GUEST_PORT) : undefined, live = peer ? undefined : new LiveWire(), now = peer ? () => peer.nowMs : () => performance.now();
    const ledger = new Ledger(now);
    let kills = 0, turns = 0, output = '', rest = '', resets = 0, begun = false, ahead = -Infinity;
    let talk: Promise<void> = Promise.resolve();
    const conversation = new Conversation(data, options.bytes, peer ?? live!, ledger, () => kills < options.kills || (options.compare && turns < 5));
    const dropped = (why: string): void => { resets++; problems.push(why); machine.stop(); };
    if (peer) { peer.conversation = conversation; peer.onEnd = () => dropped(peer.ended!); }
    const begin = now();
    conversation.moved = (direction, done) => watch.tick?.({ kills, direction, done, bytes: options.bytes, rate: (conversation.bytesDown + conversation.bytesUp + done) / 1000 / (now() - begin), longestStallMs: ledger.longestMs });
    const port = peer ? 0 : await freePort(), pcap = options.pcap === undefined ? {} : { pcap: options.pcap };
    const net: NetConfig = peer ? { backend: { kind: 'scripted', peer }, ...pcap } : { backend: { kind: 'user' }, forwards: [{ protocol: 'tcp', host: '127.0.0.1', port, guestPort: GUEST_PORT }], ...pcap };
    const turnUs = Math.round(options.periodMs * 1000 * TURN_KILLS);
    const storm = `storm=${EVERLASTING}:${Math.round(options.periodMs * 1000)}:${options.seed}:${options.victims.join('+')}${options.compare ? `:${turnUs}:${turnUs}` : ''}`;
    const happened = (event: TcpEvent): void => {
      if (event.failed !== undefined) { problems.push(`${event.failed} was given up: ${event.why}`); machine.stop(); }
      if (event.storm === 'rests' || event.storm === 'kills') {
        ledger.turn(event.storm === 'rests' ? 'rest' : 'kills');
        if (turns++ === 2) ledger.restart(); // the first turn of each kind is the warming up
      }
      if (event.kill !== undefined) {
        // The guest's clock against ours: lines come late, never early. The virtual clocks are one.
        const guest = event.at! / 1e6;
        if (!peer) ahead = Math.max(ahead, guest - now());
        const at = peer ? guest : guest - ahead;
        if (conversation.over || at < conversation.beganAt) return; // nothing was under way
        kills++;
        byVictim[event.kill] = (byVictim[event.kill] ?? 0) + 1;
        ledger.kill(event.kill, at);
      }
      watch.event?.(event, event.kill === undefined ? now() : ledger.kills.at(-1)!.at);
      const served = event.ns?.at(-1) ?? 0;
      if (served > 0 && event.mid === 1) recovery.push(served / 1e6);
    };
    const machine = await createMachine({
      ...systemConfig({ ...options, disk, overlay: false, append: `telemetry ${storm} ${options.append}`.trim(), net }, ['streamd', '-p', String(GUEST_PORT), '/stream.bin', '/upload.bin'], {
        com1: (bytes) => watch.log?.(bytes),
        com2: (bytes) => {
          output += Buffer.from(bytes).toString('latin1');
          if (begun || !output.includes('listening')) return;
          begun = true;
          if (live) talk = live.carry(port, conversation).then((why) => { if (why !== undefined) dropped(why); });
        },
      }),
      debug: (bytes) => {
        const lines = (rest + Buffer.from(bytes).toString('latin1')).split('\n');
        rest = lines.pop()!;
        for (const line of lines) happened(JSON.parse(line) as TcpEvent);
      },
    });
    const result = await machine.run().finally(() => machine.close());
    await talk;
    live?.destroy();
    problems.push(...conversation.problems);
    if (result.reason !== 'poweroff') problems.push(`the machine did not power off: ${result.reason}${result.detail === undefined ? '' : ` (${result.detail})`}`);
    if (!begun) problems.push(`the guest program did not start: ${output.replace(/[^\x20-\x7e]+/g, ' ').trim()}`);
    const fsck = spawnSync('e2fsck', ['-fn', disk], { encoding: 'utf8', env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/sbin:/usr/sbin` } });
    const e2fsck = fsck.error !== undefined ? 'not installed' : fsck.status === 0 ? 'clean' : `status ${fsck.status}: ${fsck.stdout.trim()}`;
    let { wrongBytes } = conversation;
    if (wrongBytes > 0) problems.push(`${wrongBytes} bytes came down wrong`);
    if (result.reason === 'poweroff' && conversation.streams > 0) {
      if (e2fsck !== 'clean' && e2fsck !== 'not installed') problems.push(`e2fsck: ${e2fsck}`);
      const reader = new Ext2Reader(readFileSync(disk)), inode = reader.lookup('/upload.bin'), there = inode === undefined ? Buffer.alloc(0) : Buffer.from(reader.content(inode));
      const wanted = data.subarray(0, Math.min(options.bytes, FILE_BYTES));
      if (!there.equals(wanted)) {
        let differ = Math.abs(there.length - wanted.length);
        for (let n = 0; n < Math.min(there.length, wanted.length); n++) if (there[n] !== wanted[n]) differ++;
        wrongBytes += differ;
        problems.push(`the file on the disk differs in ${differ} bytes`);
      }
    }
    const sorted = recovery.toSorted((a, b) => a - b), lost = ledger.lost(), both = (turn: 'rest' | 'kills'): Record<Direction, number> => ({ down: rate(ledger.flow(turn, 'down')), up: rate(ledger.flow(turn, 'up')) });
    return {
      kills, killsByVictim: byVictim, streams: conversation.streams, bytesDown: conversation.bytesDown, bytesUp: conversation.bytesUp,
      goodputDown: rate(ledger.total('down')), goodputUp: rate(ledger.total('up')),
      ...(options.compare && lost !== undefined ? { compared: { rest: both('rest'), kills: both('kills'), seconds: Math.round((ledger.total('down').ms + ledger.total('up').ms) / 100) / 10, lost: Math.round(lost * 1000) / 1000 } } : {}),
      retransmitted: Number(/retransmitted (\d+)/.exec(output)?.[1] ?? 0), ...(peer ? { retransmittedByPeer: peer.retransmitted, receivedAgain: peer.receivedAgain } : {}),
      longestStallMs: round(ledger.longestMs), stalls: ledger.stalls().slice(0, SHOWN_STALLS).map((s) => ({ ...s, ms: round(s.ms), at: round(s.at), ...(s.sinceKillMs === undefined ? {} : { sinceKillMs: round(s.sinceKillMs) }) })), histogram: ledger.histogram(),
      resets, wrongBytes, wrongChecksums: conversation.wrongChecksums,
      recoveryMs: round(sorted[sorted.length >> 1] ?? 0), e2fsck, problems, reason: result.reason, mode: options.deterministic ? 'deterministic' : 'parallel', seed: options.seed, place: options.place, smp: options.smp,
      stateHash: result.stateHash, hostSeconds: Math.round((performance.now() - started) / 100) / 10,
    };
  } finally { rmSync(folder, { recursive: true, force: true }); }
}
