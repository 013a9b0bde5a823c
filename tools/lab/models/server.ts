/** Death and hang of a server. */
import { faultAt, momentOf, type FaultModel } from './model.ts';

/** #MC, machine check: what a processor raises when it gives up on the running code. No server can cause it by itself. */
export const KILL_VECTOR = 18;

export const serverKill: FaultModel = {
  name: 'server.kill', about: 'the target dies of an exception at this instruction', kernel: false,
  plan(context) { const moment = momentOf(context); return moment && faultAt(moment, 'machine check', {}); },
  place({ port }, { cpu }) { port.raise(cpu, KILL_VECTOR); return true; },
};

const JUMP_TO_ITSELF = Uint8Array.of(0xeb, 0xfe);
export const serverHang: FaultModel = {
  name: 'server.hang', about: 'the target spins at this instruction for ever', kernel: false,
  plan(context) { const moment = momentOf(context); return moment && faultAt(moment, 'jmp $', {}); },
  place({ port }, { cpu, eip }) { return port.write(port.position(cpu).cr3, eip, JUMP_TO_ITSELF); },
};
