/**
 * A model of `process` for programs that run as wasm in Node: files in memory, pipes without limit, spawn runs the child to its end at once. What a
 * program says in its system calls goes through the very protocol (servers/protocols/process.ts); only waiting does not exist here.
 */
import { guestMemory, guestModule, instantiate } from './build.ts';
import { VM_MAP, MESSAGE_PAGE as MP, TAG } from '../../microkernel/abi/layout.ts';
import { CALLS } from '../../microkernel/abi/calls.ts';
import { PROCESS } from '../../servers/protocols/process.ts';
import { FS } from '../../servers/protocols/fs.ts';
import { STARTUP, ROLE, REGION } from '../../servers/protocols/startup.ts';

const [ENOENT, EBADF, ECHILD, EEXIST, ENOTDIR, EISDIR, EINVAL, ENOTTY, EPIPE, ENOEXEC, ESRCH, ENOTEMPTY] = [2, 9, 10, 17, 20, 21, 22, 25, 32, 8, 3, 39];
const HEAP = 0x0100_0000, HEAP_LIMIT = 0x0400_0000, ARGS = 0x00f0_0000, ENDPOINT = 0x40;

export interface Node { kind: 'file' | 'dir' | 'link' | 'program'; data: Buffer; entries: Map<string, Node>; mode: number; inode: number }
let inodes = 2;
const node = (kind: Node['kind'], data = Buffer.alloc(0), mode = kind === 'dir' ? 0o755 : 0o644): Node => ({ kind, data, entries: new Map(), mode, inode: inodes++ });

interface Pipe { data: Buffer; readers: number; writers: number }
interface Open { kind: 'file' | 'dir' | 'read' | 'write' | 'sink' | 'source' | 'null'; node?: Node; pipe?: Pipe; position: number; flags: number; refs: number; chunks?: Buffer[] }
interface Proc { pid: number; parent: number; fds: (Open | undefined)[]; cwd: string; children: Map<number, number>; group: number }
class Exit extends Error { readonly status: number; constructor(status: number) { super(`exit ${status}`); this.status = status; } }

export interface Outcome { status: number; stdout: string; stderr: string }
/** A memory and what runs in it; free ones are used again. */
interface Machine { memory: WebAssembly.Memory; u8: Uint8Array; u32: Uint32Array; heapTop: number }

export class System {
  readonly root = node('dir');
  private readonly modules = new Map<string, WebAssembly.Module>();
  private readonly idle: Machine[] = [];
  private pids = 1;
  readonly requests: string[] = [];
  clock = 1_500_000_000n;

  constructor() { for (const d of ['/bin', '/etc', '/tmp']) this.mkdir(d); }

  mkdir(path: string): void { const [dir, name] = this.parentOf(path, '/'); dir!.entries.set(name, node('dir')); }
  write(path: string, text: string | Buffer): void { const [dir, name] = this.parentOf(path, '/'); dir!.entries.set(name, node('file', Buffer.from(text))); }
  read(path: string): string { const n = this.find(path, '/'); if (typeof n === 'number' || n.kind !== 'file') throw new Error(`${path}: no file`); return n.data.toString('latin1'); }
  has(path: string): boolean { return typeof this.find(path, '/') !== 'number'; }

  /** Makes programs available in /bin: compiled before they can be spawned synchronously. */
  async install(...names: string[]): Promise<void> {
    const bin = this.find('/bin', '/') as Node;
    for (const name of names) {
      this.modules.set(name, await guestModule(`programs/${name}.ts`));
      bin.entries.set(name, { ...node('program', Buffer.from(name)), mode: 0o755 });
    }
  }
  private machine(): Machine {
    const m = this.idle.pop();
    if (m === undefined) { const memory = guestMemory(); return { memory, u8: new Uint8Array(memory.buffer), u32: new Uint32Array(memory.buffer), heapTop: 0 }; }
    m.u8.fill(0, 0x10000, 0x80000);
    m.u8.fill(0, HEAP, m.heapTop);
    m.u8.fill(0, VM_MAP.startupPage, VM_MAP.startupPage + 4096);
    return m;
  }

  /** Runs a program with these arguments; stdin is a file or text. */
  run(argv: string[], stdin = '', cwd = '/'): Outcome {
    const out: Buffer[] = [], err: Buffer[] = [];
    const fds: (Open | undefined)[] = [
      { kind: 'source', node: node('file', Buffer.from(stdin)), position: 0, flags: 0, refs: 1 },
      { kind: 'sink', chunks: out, position: 0, flags: 1, refs: 1 }, { kind: 'sink', chunks: err, position: 0, flags: 1, refs: 1 },
    ];
    const p: Proc = { pid: this.pids++, parent: 0, fds, cwd, children: new Map(), group: 0 };
    const status = this.execute(argv[0]!.includes('/') ? argv[0]! : `/bin/${argv[0]!}`, argv, ['PATH=/bin', 'HOME=/'], p);
    return { status: status < 0 ? status : (status & 127) !== 0 ? 128 + (status & 127) : status >> 8, stdout: Buffer.concat(out).toString('latin1'), stderr: Buffer.concat(err).toString('latin1') };
  }

  /** Wait status of the program, or a negative errno. */
  private execute(path: string, argv: string[], env: string[], p: Proc): number {
    const file = this.find(path, p.cwd);
    if (typeof file === 'number') return file;
    if (file.kind === 'dir') return -EISDIR;
    if (file.kind !== 'program') return -ENOEXEC;
    const m = this.machine();
    m.heapTop = HEAP + 0x10000;
    const page = VM_MAP.startupPage;
    const args = Buffer.from(argv.map((a) => `${a}\0`).join(''), 'latin1'), environment = Buffer.from(env.map((e) => `${e}\0`).join(''), 'latin1');
    m.u8.set(args, ARGS);
    m.u8.set(environment, ARGS + args.length);
    const set = (at: number, ...values: number[]): void => { values.forEach((v, i) => { m.u32[(page + at >>> 2) + i] = v; }); };
    const f = STARTUP.fields;
    set(f.magic, STARTUP.magic); set(f.handleCount, 1); set(f.regionCount, 2); set(f.argBytes, args.length); set(f.envBytes, environment.length); set(f.argc, argv.length); set(f.pid, p.pid);
    set(STARTUP.handles, ROLE.processEndpoint, ENDPOINT);
    set(STARTUP.regions, REGION.heap, HEAP, 16, 0, REGION.args, ARGS, 16, 0);
    let status = 0;
    try {
      instantiate(this.modules.get(file.data.toString())!, m.memory, { sys_enter: (regs) => this.enter(m, p, regs!) })['main']!(page);
      throw new Error(`${path}: main returned`);
    } catch (error) {
      if (!(error instanceof Exit)) throw error;
      status = error.status;
    } finally {
      this.idle.push(m);
    }
    p.fds.forEach((_, fd) => this.close(p, fd));
    return status;
  }

  // ---- the kernel's side ----

  private enter(m: Machine, p: Proc, regs: number): number {
    const r = regs >>> 2, u32 = m.u32, tag = u32[r + 1]!, op = tag >>> 28;
    if (op === CALLS.clock.op) { this.clock += 1000n; u32[r + 2] = Number(this.clock & 0xffffffffn); u32[r + 3] = Number(this.clock >> 32n); return 0; }
    if (op !== CALLS.call.op || u32[r] !== ENDPOINT) throw new Error(`system call ${op} on ${u32[r]}`);
    const words = [u32[r + 2]!, u32[r + 3]!, u32[r + 4]!, 0, 0, 0];
    const count = tag >>> TAG.words[0] & 31;
    for (let n = 3; n < count; n++) words[n] = u32[(VM_MAP.messagePage + MP.words >>> 2) + n]!;
    const leases = Array.from({ length: tag >>> TAG.leases[0] & 3 }, (_, n) => {
      const at = (VM_MAP.messagePage + MP.leases >>> 2) + 4 * n;
      return { va: u32[at + 1]!, bytes: u32[at + 2]!, rights: u32[at + 3]! };
    });
    const result = this.serve(m, p, tag & 0xffff, words, leases);
    const list = typeof result === 'number' ? [result, 0, 0] : result;
    for (let n = 0; n < 3; n++) u32[r + 2 + n] = (list[n] ?? 0) >>> 0;
    return 0;
  }

  private serve(m: Machine, p: Proc, op: number, w: number[], leases: { va: number; bytes: number; rights: number }[]): number | number[] {
    const name = Object.entries(PROCESS.ops).find(([, o]) => o.op === op)?.[0] ?? `?${op}`;
    const fd = (n: number): Open | undefined => p.fds[n];
    const take = (n: number): Buffer => { const l = leases[n]!; if ((l.rights & 1) === 0) throw new Error(`${name}: lease ${n} is not readable`); return Buffer.from(m.u8.subarray(l.va, l.va + l.bytes)); };
    const path = (n: number): string => { const b = take(n); if (w[4 + n] !== b.length || b.at(-1) !== 0) throw new Error(`${name}: length of path lease ${n}`); return b.subarray(0, -1).toString('latin1'); };
    const give = (n: number, data: Uint8Array): void => { const l = leases[n]!; if ((l.rights & 2) === 0 || data.length > l.bytes) throw new Error(`${name}: lease ${n} is too short`); m.u8.set(data, l.va); };
    switch (name) {
      case 'exit': throw new Exit((w[0]! & 255) << 8);
      case 'getpid': return [p.pid, p.parent];
      case 'brk': if (w[0]! > HEAP_LIMIT) return -12; if (w[0]! !== 0) m.heapTop = w[0]!; return m.heapTop;
      case 'catch': return 0;
      case 'isatty': return 0;
      case 'sleep': this.clock += BigInt(w[0]!) | BigInt(w[1]!) << 32n; return 0;
      case 'sync': case 'fsync': return 0;
      case 'read': {
        const f = fd(w[0]!);
        if (f === undefined || f.kind === 'write' || f.kind === 'sink') return -EBADF;
        if (f.kind === 'dir') return -EISDIR;
        if (f.kind === 'null') return 0;
        const source = f.kind === 'read' ? f.pipe!.data : f.node!.data.subarray(f.position);
        const part = source.subarray(0, w[1]!);
        give(0, part);
        if (f.kind === 'read') f.pipe!.data = f.pipe!.data.subarray(part.length); else f.position += part.length;
        return part.length;
      }
      case 'write': {
        const f = fd(w[0]!), data = take(0).subarray(0, w[1]!);
        if (f === undefined || f.kind === 'read' || f.kind === 'dir' || f.kind === 'source') return -EBADF;
        if (f.kind === 'sink') f.chunks!.push(data);
        else if (f.kind === 'write') { if (f.pipe!.readers === 0) throw new Exit(13); f.pipe!.data = Buffer.concat([f.pipe!.data, data]); }
        else if (f.kind === 'file') {
          if ((f.flags & 3) === 0) return -EBADF;
          const old = f.node!.data, at = (f.flags & 0x400) !== 0 ? old.length : f.position;
          const fresh = Buffer.alloc(Math.max(old.length, at + data.length));
          old.copy(fresh); data.copy(fresh, at);
          f.node!.data = fresh; f.position = at + data.length;
        }
        return data.length;
      }
      case 'open': return this.open(p, path(0), w[0]!, w[1]!);
      case 'close': if (fd(w[0]!) === undefined) return -EBADF; this.close(p, w[0]!); return 0;
      case 'lseek': { const f = fd(w[0]!); if (f === undefined) return -EBADF; const base = w[2] === 0 ? 0 : w[2] === 1 ? f.position : f.node!.data.length; f.position = base + (w[1]! | 0); return f.position; }
      case 'dup2': { const f = fd(w[0]!); if (f === undefined) return -EBADF; let to = w[1]! | 0; if (to < 0) to = this.lowest(p); this.close(p, to); f.refs++; p.fds[to] = f; return to; }
      case 'pipe': {
        const pipe: Pipe = { data: Buffer.alloc(0), readers: 1, writers: 1 };
        const a = this.lowest(p); p.fds[a] = { kind: 'read', pipe, position: 0, flags: 0, refs: 1 };
        const b = this.lowest(p); p.fds[b] = { kind: 'write', pipe, position: 0, flags: 1, refs: 1 };
        return [a, b];
      }
      case 'stat': case 'fstat': {
        let target: Node | number;
        if (name === 'stat') target = this.find(path(0), p.cwd, w[0] === 1); else { const f = fd(w[0]!); if (f === undefined) return -EBADF; target = f.node ?? node('file'); }
        if (typeof target === 'number') return target;
        const record = Buffer.alloc(FS.stat.size), s = FS.stat;
        record.writeUInt32LE(target.inode, s.inode);
        record.writeUInt32LE((target.kind === 'dir' ? 0x4000 : target.kind === 'link' ? 0xa000 : 0x8000) | target.mode, s.mode);
        record.writeUInt32LE(1, s.links); record.writeUInt32LE(target.data.length, s.sizeLo); record.writeUInt32LE(Math.ceil(target.data.length / 512), s.blocks512);
        give(name === 'stat' ? 1 : 0, record);
        return 0;
      }
      case 'readdir': {
        const f = fd(w[0]!);
        if (f === undefined || f.kind !== 'dir') return -ENOTDIR;
        const names = ['.', '..', ...f.node!.entries.keys()], records: Buffer[] = [];
        let used = 0;
        while (f.position < names.length) {
          const text = Buffer.from(names[f.position]!), record = Buffer.alloc(FS.dirent.name + text.length + 3 & ~3);
          if (used + record.length > w[1]!) break;
          record.writeUInt32LE(7, FS.dirent.inode); record.writeUInt32LE(f.position + 1, FS.dirent.next); record[FS.dirent.nameBytes] = text.length; text.copy(record, FS.dirent.name);
          records.push(record); used += record.length; f.position++;
        }
        give(0, Buffer.concat(records));
        return used;
      }
      case 'mkdir': { const [dir, last] = this.parentOf(path(0), p.cwd); if (dir === undefined) return -ENOENT; if (dir.entries.has(last) || last === '') return -EEXIST; dir.entries.set(last, node('dir')); return 0; }
      case 'unlink': { const [dir, last] = this.parentOf(path(0), p.cwd), n = dir?.entries.get(last); if (n === undefined) return -ENOENT; if (n.kind === 'dir') return -EISDIR; dir!.entries.delete(last); return 0; }
      case 'rmdir': { const [dir, last] = this.parentOf(path(0), p.cwd), n = dir?.entries.get(last); if (n === undefined) return -ENOENT; if (n.kind !== 'dir') return -ENOTDIR; if (n.entries.size > 0) return -ENOTEMPTY; dir!.entries.delete(last); return 0; }
      case 'rename': case 'link': {
        const [from, a] = this.parentOf(path(0), p.cwd), [to, b] = this.parentOf(path(1), p.cwd), n = from?.entries.get(a);
        if (n === undefined || to === undefined) return -ENOENT;
        if (name === 'link' && to.entries.has(b)) return -EEXIST;
        to.entries.set(b, n);
        if (name === 'rename' && !(from === to && a === b)) from!.entries.delete(a);
        return 0;
      }
      case 'symlink': { const [dir, last] = this.parentOf(path(1), p.cwd); if (dir === undefined) return -ENOENT; if (dir.entries.has(last)) return -EEXIST; dir.entries.set(last, node('link', Buffer.from(path(0)))); return 0; }
      case 'readlink': { const n = this.find(path(0), p.cwd, true); if (typeof n === 'number') return n; if (n.kind !== 'link') return -EINVAL; give(1, n.data.subarray(0, w[0]!)); return Math.min(n.data.length, w[0]!); }
      case 'chdir': { const target = path(0), n = this.find(target, p.cwd); if (typeof n === 'number') return n; if (n.kind !== 'dir') return -ENOTDIR; p.cwd = this.normal(target, p.cwd); return 0; }
      case 'getcwd': give(0, Buffer.from(p.cwd)); return p.cwd.length;
      case 'chmod': { const n = this.find(path(0), p.cwd); if (typeof n === 'number') return n; n.mode = w[0]!; return 0; }
      case 'spawn': return this.spawn(p, take(0), leases.length > 1 ? take(1) : Buffer.alloc(0), w);
      case 'wait': {
        const wanted = w[0]! | 0, pid = wanted > 0 ? wanted : [...p.children.keys()][0];
        if (pid === undefined || !p.children.has(pid)) return -ECHILD;
        const status = p.children.get(pid)!;
        p.children.delete(pid);
        return [pid, status];
      }
      case 'kill': this.requests.push(`kill ${w[0]} ${w[1]} ${w[2]}`); return w[2] === 0 && w[0] === 999 ? -ESRCH : 0;
      case 'poweroff': this.requests.push(`poweroff ${w[0]}`); throw new Exit(0);
      case 'tcmode': case 'tcforeground': return -ENOTTY;
      case 'statfs': return [10, 100, 1024];
    }
    throw new Error(`${name} is not modelled`);
  }

  private spawn(p: Proc, block: Buffer, env: Buffer, w: number[]): number {
    const texts = block.toString('latin1').split('\0').slice(0, -1);
    if (texts.length !== w[0]! + 1) throw new Error('spawn: argc');
    const child: Proc = { pid: this.pids++, parent: p.pid, fds: [], cwd: p.cwd, children: new Map(), group: 0 };
    for (let n = 0; n < 3; n++) { const f = p.fds[w[1]! >>> 8 * n & 255]; if (f !== undefined) { f.refs++; child.fds[n] = f; } }
    // A pipe of this model never waits, so a reader that is still to be spawned counts as one.
    const status = this.execute(texts[0]!, texts.slice(1), env.toString('latin1').split('\0').slice(0, -1), child);
    if (status < 0) { child.fds.forEach((_, n) => this.close(child, n)); return status; }
    p.children.set(child.pid, status);
    return child.pid;
  }

  private lowest(p: Proc): number { let n = 0; while (p.fds[n] !== undefined) n++; return n; }
  private close(p: Proc, n: number): void {
    const f = p.fds[n];
    if (f === undefined) return;
    p.fds[n] = undefined;
    if (--f.refs > 0) return;
    if (f.kind === 'read') f.pipe!.readers--;
    if (f.kind === 'write') f.pipe!.writers--;
  }
  private open(p: Proc, path: string, flags: number, mode: number): number {
    if (path === '/dev/null') { const n = this.lowest(p); p.fds[n] = { kind: 'null', position: 0, flags, refs: 1 }; return n; }
    let target = this.find(path, p.cwd);
    if (typeof target === 'number') {
      if (target !== -ENOENT || (flags & 0x40) === 0) return target;
      const [dir, last] = this.parentOf(path, p.cwd);
      if (dir === undefined) return -ENOENT;
      target = node('file', Buffer.alloc(0), mode);
      dir.entries.set(last, target);
    }
    if (target.kind === 'dir' && (flags & 3) !== 0) return -EISDIR;
    if (target.kind !== 'dir' && (flags & 0x10000) !== 0) return -ENOTDIR;
    if ((flags & 0x200) !== 0) target.data = Buffer.alloc(0);
    const n = this.lowest(p);
    p.fds[n] = { kind: target.kind === 'dir' ? 'dir' : 'file', node: target, position: 0, flags, refs: 1 };
    return n;
  }
  private normal(path: string, cwd: string): string {
    const parts: string[] = [];
    for (const part of (path.startsWith('/') ? path : `${cwd}/${path}`).split('/')) if (part === '..') parts.pop(); else if (part !== '' && part !== '.') parts.push(part);
    return `/${parts.join('/')}`;
  }
  private find(path: string, cwd: string, nofollow = false, depth = 0): Node | number {
    if (path === '') return -ENOENT;
    let n: Node = this.root;
    const parts = this.normal(path, cwd).split('/').filter((s) => s !== '');
    for (const [i, part] of parts.entries()) {
      if (n.kind !== 'dir') return -ENOTDIR;
      const next = n.entries.get(part);
      if (next === undefined) return -ENOENT;
      n = next;
      if (n.kind === 'link' && (i < parts.length - 1 || !nofollow)) {
        if (depth > 8) return -40;
        const to = this.find(n.data.toString(), `/${parts.slice(0, i).join('/')}`, false, depth + 1);
        if (typeof to === 'number') return to;
        n = to;
      }
    }
    return n;
  }
  private parentOf(path: string, cwd: string): [Node | undefined, string] {
    const parts = this.normal(path, cwd).split('/'), last = parts.pop()!;
    const dir = this.find(parts.join('/') || '/', '/');
    return [typeof dir === 'number' ? undefined : dir, last];
  }
}
void EPIPE;
