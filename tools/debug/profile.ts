/**
 * Where the guest's instructions go: boots the system (deterministic, tier 0), runs a command and counts retired instructions by server (address space) and function.
 *
 *     node tools/debug/profile.ts [--from TEXT] [--units N] [--top N] [--depth function|file|server] [--place pin|follow] [--smp N] [--call PORT:COUNT] -- CMD ...
 *
 * Counting begins when the command has printed TEXT (at its first output without) and ends with its next line "NAME COUNT NS" or with the command. `--units` divides
 * (instructions per ping, connection, ...). `--call` has the peer connect to the guest COUNT times, one call after the other.
 */
import { parseArgs } from 'node:util';
import { ChannelDecoder } from '../cli/channel.ts';
import { ensureGuest } from '../cli/guest.ts';
import { systemConfig } from '../cli/system.ts';
import { spaceOf } from '../lab/guest-view.ts';
import { moduleOf } from '../lab/symbols.ts';
import { S } from '../../vm/cpu/state.ts';
import { CALLS as CALL_SPECS } from '../../microkernel/abi/calls.ts';
import { FaultPort } from '../../vm/faults.ts';
import { createDeterministicMachine, type DeterministicMachine } from '../../vm/machine.ts';
import type { NetConfig, PeerCall } from '../../vm/net/config.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    from: { type: 'string' }, units: { type: 'string' }, top: { type: 'string' }, depth: { type: 'string' }, place: { type: 'string' }, smp: { type: 'string' }, call: { type: 'string' }, send: { type: 'string' }, memory: { type: 'string' },
  },
});
ensureGuest();
const units = Number(values.units ?? 1), top = Number(values.top ?? 40);
let on = false, over = false, out = '';
let calls: PeerCall[] | undefined;
if (values.call !== undefined) {
  const [port, count] = values.call.split(':').map(Number);
  calls = Array.from({ length: count }, (_, k) => ({ port, send: (values.send ?? 'hello\\n').replaceAll('\\n', '\n').replaceAll('\\r', '\r'), atNs: 150e6 + k * 3e6 }));
}
const net: NetConfig = { backend: { kind: 'user' }, ...(calls ? { calls } : {}) };
let port: FaultPort;
const counts = new Map<number, Map<number, number>>(); // owner -> eip of block -> instructions
const owners: string[] = [];
const ownerByKey = new Map<string, number>();
interface Last { cr3: number; user: boolean; owner: number; eip: number; retired: number; counts: Map<number, number> }
const last: Last[] = [];
const sysenter = moduleOf('kernel').symbol('sysenterEntry') ?? 0;
const CALLS: readonly string[] = Object.keys(CALL_SPECS);
const calls_ = new Map<string, number>();
const watch = (cpu: number, retired: number, eip: number): boolean => {
  const words = machine.cpus.words(cpu), cr3 = words[S.cr3 >> 2]! >>> 0, user = words[S.cpl >> 2] === 3;
  const l = (last[cpu] ??= { cr3: -1, user: false, owner: -1, eip: 0, retired, counts: new Map() });
  if (on && !over && l.owner >= 0 && retired > l.retired) l.counts.set(l.eip, (l.counts.get(l.eip) ?? 0) + retired - l.retired);
  const from = l.owner;
  l.retired = retired;
  l.eip = eip;
  if (!on) return false;
  if (eip === sysenter && !user && from >= 0 && !over) {
    const tag = words[S.ebx >> 2]! >>> 0, key = `${owners[from]} ${CALLS[tag >>> 28] ?? tag >>> 28}${tag >>> 28 === 7 ? ` ${tag & 0xffff}` : ''}`;
    calls_.set(key, (calls_.get(key) ?? 0) + 1);
  }
  if (l.cr3 !== cr3 || l.user !== user || l.owner < 0) {
    l.cr3 = cr3; l.user = user;
    const key = user ? String(cr3) : 'kernel';
    let owner = ownerByKey.get(key);
    if (owner === undefined) { owner = owners.push(user ? spaceOf(port, cr3).name : 'kernel') - 1; ownerByKey.set(key, owner); counts.set(owner, new Map()); }
    l.owner = owner;
    l.counts = counts.get(owner)!;
  }
  return false;
};
let startAt = 0, startNs = 0, endAt = 0, endNs = 0;
const decoder = new ChannelDecoder((frame) => {
  if (frame.kind !== 'output') return;
  const text = Buffer.from(frame.data).toString('latin1');
  process.stderr.write(text);
  out += text;
  if (!on && out.includes(values.from ?? '')) { on = true; startAt = machine.instructions; startNs = machine.virtualNs; }
  else if (on && !over && /^\w+ \d+ \d+$/m.test(out)) { over = true; endAt = machine.instructions; endNs = machine.virtualNs; }
}, () => {});
const machine: DeterministicMachine = createDeterministicMachine({
  ...systemConfig({ place: values.place === 'pin' ? 'pin' : 'follow', smp: Number(values.smp ?? 1), memoryMiB: Number(values.memory ?? 128), deterministic: true, seed: 1, jit: 'off', append: '', net }, positionals, { com1: () => {}, com2: (bytes) => decoder.push(bytes) }),
  watch, ...(Number(values.smp ?? 1) === 1 ? { quantum: 20_000 } : {}), timeoutMs: 300_000,
});
port = new FaultPort(machine);
await machine.run();
if (!over) { endAt = machine.instructions; endNs = machine.virtualNs; }
for (const call of machine.net?.calls ?? []) if (!call.done) { console.error('a call did not end'); break; }
const per = (n: number): string => (n / units).toFixed(units === 1 ? 0 : 1).padStart(11);
const rows: { name: string; owner: string; n: number }[] = [], totals = new Map<string, number>();
for (const [owner, blocks] of counts) {
  const module = moduleOf(owners[owner]!), functions = new Map<string, number>();
  for (const [eip, n] of blocks) {
    const name = module.place(eip).symbol.replace(/\+0x.*/, '') || '?';
    functions.set(name, (functions.get(name) ?? 0) + n);
    totals.set(owners[owner]!, (totals.get(owners[owner]!) ?? 0) + n);
  }
  for (const [name, n] of functions) rows.push({ name, owner: owners[owner]!, n });
}
console.log(`instructions ${per(endAt - startAt)}, virtual ns ${per(endNs - startNs)} per unit (${units})`);
for (const [name, n] of [...totals].sort((a, b) => b[1] - a[1])) console.log(`${per(n)}  ${name}`);
console.log('');
rows.sort((a, b) => b.n - a.n);
for (const { name, owner, n } of rows.slice(0, top)) console.log(`${per(n)}  ${owner.padEnd(12)} ${name}`);
console.log('\nsystem calls');
for (const [name, n] of [...calls_].sort((a, b) => b[1] - a[1]).slice(0, 24)) console.log(`${(n / units).toFixed(2).padStart(11)}  ${name}`);
machine.close();
