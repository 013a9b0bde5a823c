/** The TCP side of the gdb stub: waits for one gdb at a time, runs the machine as gdb says, gives it back when gdb is done. */
import { createServer, type Server } from 'node:net';
import { UserError, EXIT } from '../cli/errors.ts';
import { MachineTarget, type Ending } from './machine-target.ts';
import { Session } from './session.ts';

export interface GdbAddress { readonly host: string; readonly port: number }
/** `[HOST:]PORT`; port 0: any free one. */
export function parseGdbAddress(text: string): GdbAddress {
  const match = /^(?:(.*):)?(\d{1,5})$/.exec(text), port = Number(match?.[2]);
  if (!match || port > 65535) throw new UserError(`--gdb ${text}: expected [HOST:]PORT, say 1234 or 127.0.0.1:1234`, EXIT.usage);
  return { host: match[1] === undefined || match[1] === '' ? '127.0.0.1' : match[1].replace(/^\[(.*)\]$/, '$1'), port };
}

/**
 * Listens, and serves gdb until one detaches or kills or the machine has ended. A connection that is lost leaves the machine as it is: the next gdb finds
 * it there. `listening` is told where.
 */
export async function serveGdb(target: MachineTarget, address: GdbAddress, listening: (host: string, port: number) => void): Promise<Ending> {
  const server: Server = createServer({ noDelay: true });
  const ending = new Promise<Ending>((resolve, reject) => {
    let busy = false;
    server.on('connection', (socket) => {
      if (busy) { socket.destroy(); return; }
      busy = true;
      const session = new Session(target, (bytes) => { if (!socket.destroyed) socket.write(bytes); }, () => { socket.end(); if (target.ending) resolve(target.ending); });
      socket.on('data', (bytes) => session.receive(bytes));
      socket.on('error', () => undefined);
      socket.on('close', () => { busy = false; session.close(); if (target.ending) resolve(target.ending); else target.lost(); });
    });
    server.on('error', (error: NodeJS.ErrnoException) => reject(new UserError(`--gdb: cannot listen on ${address.host}:${address.port}: ${error.code === 'EADDRINUSE' ? 'the port is in use' : error.message}`)));
    server.listen(address.port, address.host, () => { const at = server.address(); if (at && typeof at === 'object') listening(at.address, at.port); });
  });
  try { return await ending; } finally { server.close(); }
}
