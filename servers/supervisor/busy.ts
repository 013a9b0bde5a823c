/**
 * Servers that run without getting anywhere. A server that spins keeps everybody of lower priority on its CPU from running: nobody may ever ask it anything
 * again, so no entry of a ring becomes late by it, and the first that is late is one that starves. So each watch looks at the Threads as well:
 *
 *   - a server that has used up the time bound of its own requests in run time, without blocking at any look and without moving one of its rings, is late;
 *   - a server that is ready and has not run since the last look starves, and is not late whatever waits for it.
 *
 * Only servers that work a ring are judged: process is called through the kernel, which leaves no trace of a fast call.
 */
import { ERR_OK, THREAD_STATE_READY, THREAD_STATE_RUNNING } from 'kintsugi/abi';
import * as sys from '../lib/sys';
import { line } from '../lib/fmt';
import { print } from '../lib/console';
import { Server, serverAt, serverCount, STATE_UP } from './tables';
import { boundOf, movesOf } from './pending';

const MAX_SERVERS: u32 = 16;
const RECORD: usize = 32;
/** For each server: {u64 run time at the last move, u64 at the last look, generation, moves, starves}. */
const RECORDS: usize = memory.data(512, 8);
const AT_MOVE: usize = 0, AT_LOOK: usize = 8, GENERATION: usize = 16, MOVES: usize = 20, STARVES: usize = 24;
function recordOf(s: Server): usize { return RECORDS + <usize>(s.number & (MAX_SERVERS - 1)) * RECORD; }

/** Looks at all servers; one that runs and gets nowhere, or null. */
export function spinning(): Server {
  let found = changetype<Server>(0);
  for (let n: u32 = 0; n < serverCount(); n++) {
    const s = serverAt(n), r = recordOf(s), bound = boundOf(s);
    store<u32>(r, 0, STARVES);
    if (bound == 0 || s.state_ != STATE_UP || sys.threadQuery(s.target.thread) != ERR_OK) { store<u32>(r, 0, GENERATION); continue; }
    const state = sys.result(0), run = <u64>sys.result(4) | <u64>sys.result(5) << 32, moves = movesOf(s), before = load<u64>(r, AT_LOOK);
    const runs = state == THREAD_STATE_READY || state == THREAD_STATE_RUNNING;
    store<u64>(r, run, AT_LOOK);
    if (!runs || load<u32>(r, GENERATION) != s.generation || load<u32>(r, MOVES) != moves) {
      store<u32>(r, s.generation, GENERATION);
      store<u32>(r, moves, MOVES);
      store<u64>(r, run, AT_MOVE);
      continue;
    }
    if (run == before) { store<u32>(r, state == THREAD_STATE_READY ? 1 : 0, STARVES); continue; }
    if (run - load<u64>(r, AT_MOVE) < bound || changetype<usize>(found) != 0) continue;
    print(line().str(s.name).lit(' is late: has run for ').dec(<u32>((run - load<u64>(r, AT_MOVE)) / 1_000_000)).lit(' ms and got nowhere'));
    found = s;
  }
  return found;
}
/** Ready and not running since the last look but one. */
export function starves(s: Server): bool { return load<u32>(recordOf(s), STARVES) != 0; }
