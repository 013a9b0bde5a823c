/**
 * The first programs. Without `run=` on the command line: a shell on the console, and a new one whenever it ends. With it: that command, its
 * stdin, stdout and stderr on the host channel; at its end the exit frame and power off.
 *
 * run=<argv with %XX escapes, NUL (%00) between the arguments>
 */
import { alloc } from '../lib/alloc';
import { sleep, spawn } from '../lib/fiber';
import { line } from '../lib/fmt';
import { argc, argv } from '../lib/startup';
import { startsWithLit, length, putLiteral } from '../lib/str';
import * as log from '../lib/log';
import * as sys from '../lib/sys';
import { ENOENT, errnoText } from './errno';
import { closeFile, openTerminal, writeOwn } from './files';
import { setOnEnd, signalGroup, spawnProgram } from './lifecycle';
import { Arguments } from './loader';
import { CONTROL_FOREGROUND, ttyCall, ttyControl, ttyResult } from './peers';
import { OpenFile, Program, programOf } from './records';
import { CHANNEL_NEVER_STARTED, TTY_SIGNAL } from 'kintsugi/protocols';
import { powerOff } from './system';

const CONSOLE: u32 = 0, CHANNEL: u32 = 1;
const STDOUT: u32 = 1, STDERR: u32 = 2;
const O_RDONLY: u32 = 0, O_WRONLY: u32 = 1, O_RDWR: u32 = 2;
const NO_PROGRAM: Program = changetype<Program>(0);
// As a shell would say.
const NOT_EXECUTABLE: u32 = 126, NOT_FOUND: u32 = 127;
const QUICK_NS: u64 = 1000000000;
const MAX_QUICK: u32 = 3;

let first: u32 = 0; // pid of the program whose end matters
let line_: u32 = CONSOLE;
let quick: u32 = 0; // shells in a row that ended within a second
let startedAt: u64 = 0;
let endStatus: u32 = 0;

export function startFirst(): void {
  setOnEnd(ended);
  spawn(signalFiber, CONSOLE);
  spawn(signalFiber, CHANNEL);
  const command = runOption();
  line_ = command != 0 ? CHANNEL : CONSOLE;
  spawn(command != 0 ? runFiber : shellFiber, command);
}
/** The value of `run=` among the words of the command line, 0 when there is none. */
function runOption(): usize {
  for (let n: u32 = 1; n < argc(); n++) {
    const word = argv(n);
    if (startsWithLit(word, length(word), 'run=')) return word + 4;
  }
  return 0;
}

/** Keyboard signals of one line go to its foreground group. */
function signalFiber(argument: usize): void {
  while (true) {
    const status = ttyCall(TTY_SIGNAL, <u32>argument, 0, 0, 0);
    if (status < 0) { sleep(QUICK_NS); continue; }
    if (ttyResult().r1 != 0) signalGroup(ttyResult().r1, ttyResult().r0);
  }
}

function hex(byte: u32): u32 {
  if (byte - 48 < 10) return byte - 48;
  const letter = (byte | 32) - 97;
  return letter < 6 ? letter + 10 : 255;
}

const ENVIRONMENT: usize = memory.data(128);
function environment(): u32 {
  let n = putLiteral(ENVIRONMENT, 'PATH=/bin') + 1;
  n += putLiteral(ENVIRONMENT + n, 'HOME=/') + 1;
  return n + putLiteral(ENVIRONMENT + n, 'TERM=ansi') + 1;
}

/** argv texts at `at`, `bytes` in all, started with these streams. Pid or a negative errno. */
function start(path: usize, at: usize, count: u32, bytes: u32, input: OpenFile, output: OpenFile, error: OpenFile): i32 {
  const args = changetype<Arguments>(alloc(16)), envBytes = environment(), block = alloc(bytes + envBytes);
  memory.copy(block, at, bytes);
  memory.copy(block + bytes, ENVIRONMENT, envBytes);
  args.at = block; args.argc = count; args.argBytes = bytes; args.envBytes = envBytes;
  const pid = spawnProgram(NO_PROGRAM, path, args, input, output, error, 0);
  closeFile(input);
  closeFile(output);
  closeFile(error);
  if (pid > 0) {
    const p = programOf(pid);
    if (changetype<usize>(p) != 0) ttyControl(line_, CONTROL_FOREGROUND, p.group);
  }
  return pid;
}

function runFiber(encoded: usize): void {
  // decoded in place of a copy: never longer than the encoded text
  const size = length(encoded), path = alloc(size + 8), text = path + putLiteral(path, '/bin/');
  let bytes: u32 = 0, count: u32 = 1, slash = false;
  for (let n: u32 = 0; n < size; n++) {
    let byte = <u32>load<u8>(encoded + n);
    if (byte == 37 && n + 2 < size && hex(load<u8>(encoded + n + 1)) < 16 && hex(load<u8>(encoded + n + 2)) < 16) {
      byte = hex(load<u8>(encoded + n + 1)) << 4 | hex(load<u8>(encoded + n + 2));
      n += 2;
    }
    if (byte == 47 && count == 1) slash = true;
    if (byte == 0) count++;
    store<u8>(text + bytes++, <u8>byte);
  }
  store<u8>(text + bytes++, 0);
  startedAt = sys.clock();
  const pid = start(slash ? text : path, text, count, bytes, openTerminal(CHANNEL, 0, O_RDONLY), openTerminal(CHANNEL, STDOUT, O_WRONLY), openTerminal(CHANNEL, STDERR, O_WRONLY));
  if (pid > 0) { first = pid; return; }
  const t = line().lit('kintsugi: ').str(text).lit(pid == -ENOENT ? ': command not found\n' : ': cannot be started: ');
  if (pid != -ENOENT) t.lit(errnoText(-pid)).lit('\n');
  const copy = alloc(t.length), copied = t.length;
  memory.copy(copy, t.at, copied);
  writeOwn(CHANNEL, STDERR, copy, copied);
  powerOff(CHANNEL_NEVER_STARTED | <u32>(pid == -ENOENT ? NOT_FOUND : NOT_EXECUTABLE));
}

const SHELL: usize = memory.data(16);
function shellFiber(argument: usize): void {
  const n = putLiteral(SHELL, '/bin/sh');
  startedAt = sys.clock();
  const pid = start(SHELL, SHELL + 5, 1, n - 5 + 1, openTerminal(CONSOLE, 0, O_RDWR), openTerminal(CONSOLE, STDOUT, O_RDWR), openTerminal(CONSOLE, STDERR, O_RDWR));
  if (pid > 0) { first = pid; return; }
  log.error(line().lit('/bin/sh cannot be started: ').lit(errnoText(-pid)));
  powerOff(CHANNEL_NEVER_STARTED | NOT_EXECUTABLE);
}

/** A program has ended: was it the first one? */
function ended(pid: u32, waitStatus: u32): void {
  if (pid != first) return;
  first = 0;
  endStatus = (waitStatus & 127) != 0 ? 128 + (waitStatus & 127) : (waitStatus >> 8) & 255;
  if (line_ == CHANNEL) { spawn(endFiber, 0); return; }
  quick = sys.clock() - startedAt < QUICK_NS ? quick + 1 : 0;
  if (quick == MAX_QUICK) {
    log.error(line().lit('/bin/sh ends at once, status ').dec(endStatus).lit(': no more of it'));
    spawn(endFiber, 0);
    endStatus = CHANNEL_NEVER_STARTED | NOT_EXECUTABLE;
    return;
  }
  spawn(shellFiber, 0);
}
function endFiber(argument: usize): void { powerOff(endStatus); }
