/**
 * Starting and awaiting programs. `process` has no fork: what a Unix shell does in a forked copy of itself runs here in a fresh `sh -c` with the
 * source text, the functions and all variables of this one.
 *
 * The three current streams are fds of this shell that a started program gets as 0, 1 and 2; redirections of compound commands and builtins
 * just change these numbers for a while.
 */
import * as E from '../lib/errors';
import { Bytes, List } from '../lib/memory';
import { flush, put, putByte, putText, toStream } from '../lib/output';
import { SIGINT, SIGPIPE, SIGQUIT, SIGSEGV, signalText } from '../lib/signals';
import { KILL_GROUP, KILL_PROCESS, secondResult, sysCatch, sysForeground, sysKill, sysSpawn, sysWait } from '../lib/sys';
import { Text, copyLiteral, find, lengthOf } from '../lib/text';
import * as V from './variables';

export let currentInput: u32 = 0;
export let currentOutput: u32 = 1;
export let currentError: u32 = 2;
export function setStreams(input: u32, output: u32, error: u32): void { currentInput = input; currentOutput = output; currentError = error; }

/** This shell talks to a person: every pipeline is a process group of its own, and the terminal goes to it while it runs. */
export let interactive: bool = false;
export function setInteractive(on: bool): void { interactive = on; }
/** A command died of ^C: what surrounds it stops, too. */
export let interrupted: bool = false;
export function setInterrupted(on: bool): void { interrupted = on; }

export const NEW_GROUP: u32 = 1;
export const FOREGROUND: u32 = 2;

/** "sh: what: reason" on the current error stream. */
export function shellError(what: Text, reason: string): void {
  flush();
  toStream(currentError);
  put('sh: ');
  if (what) { putText(what); put(': '); }
  put(reason);
  putByte(10);
  flush();
  toStream(currentOutput);
}

const PATH: usize = memory.data(512);
const DEFAULT_PATH: usize = memory.data(8);
const SHELL: usize = memory.data(16);

function fdMap(input: u32, output: u32, error: u32): u32 { return (input & 255) | (output & 255) << 8 | (error & 255) << 16; }

/** argv of a program; `environment` holds NAME=value strings. Pid, or a negative errno. */
function start(path: Text, argv: List, environment: Bytes, input: u32, output: u32, error: u32, flags: u32, group: u32): i32 {
  const block = Bytes.create();
  block.pushBytes(path, lengthOf(path) + 1);
  for (let i = 0; i < argv.length; i++) block.pushBytes(argv.get(i), lengthOf(argv.get(i)) + 1);
  let pid: i32;
  do pid = sysSpawn(block.at, block.length, argv.length, environment.at, environment.length, fdMap(input, output, error), flags, group); while (pid == -E.EINTR);
  block.free();
  return pid;
}

/** Looks a command up in PATH and starts it; complains and returns 0 with the status set (126, 127) when it cannot. */
export function spawnProgram(argv: List, assignments: Bytes, input: u32, output: u32, error: u32, flags: u32, group: u32): i32 {
  const name = argv.get(0), environment = Bytes.create();
  V.eachVariable(environment, true);
  environment.pushBytes(assignments.at, assignments.length); // later entries win: `env` and the shell read them in order
  let pid: i32 = -E.ENOENT;
  if (find(name, 47)) { store<u8>(copyBounded(PATH, name), 0); pid = script(PATH, argv, environment, input, output, error, flags, group); }
  else {
    copyLiteral(DEFAULT_PATH, '/bin');
    let list = V.valueOfLiteral('PATH');
    if (!list) list = DEFAULT_PATH;
    let p = list;
    while (pid == -E.ENOENT && load<u8>(name)) {
      let to = PATH;
      while (load<u8>(p) && load<u8>(p) != 58) { if (to < PATH + 250) store<u8>(to++, load<u8>(p)); p++; }
      if (to == PATH) store<u8>(to++, 46);
      store<u8>(to++, 47);
      store<u8>(copyBounded(to, name), 0);
      pid = script(PATH, argv, environment, input, output, error, flags, group);
      if (!load<u8>(p)) break;
      p++;
    }
  }
  environment.free();
  if (pid > 0) return pid;
  const plain = !find(name, 47) && pid == -E.ENOENT;
  shellError(name, plain ? 'command not found' : E.errorText(-pid));
  V.setStatus(pid == -E.ENOENT ? 127 : 126);
  return 0;
}
function copyBounded(to: usize, text: Text): usize {
  const limit = to + 250;
  while (load<u8>(text) && to < limit) store<u8>(to++, load<u8>(text++));
  return to;
}

/** A file that is no ELF is a script for this shell. */
function script(path: Text, argv: List, environment: Bytes, input: u32, output: u32, error: u32, flags: u32, group: u32): i32 {
  const pid = start(path, argv, environment, input, output, error, flags, group);
  if (pid != -E.ENOEXEC) return pid;
  copyLiteral(SHELL, '/bin/sh');
  const words = List.create();
  words.push(SHELL);
  words.push(path);
  for (let i = 1; i < argv.length; i++) words.push(argv.get(i));
  const again = start(SHELL, words, environment, input, output, error, flags, group);
  words.free();
  return again;
}

const DASH_C: usize = memory.data(4);
/** `sh -c text` with everything this shell knows. */
export function spawnShell(text: usize, length: i32, input: u32, output: u32, error: u32, flags: u32, group: u32): i32 {
  flush();
  copyLiteral(SHELL, '/bin/sh');
  copyLiteral(DASH_C, '-c');
  const environment = Bytes.create(), program = Bytes.create(), words = List.create();
  V.eachVariable(environment, true);
  V.eachPrivate(program);
  V.eachFunction(program);
  program.pushBytes(text, length);
  words.push(SHELL);
  words.push(DASH_C);
  words.push(program.finish());
  words.push(V.shellName);
  for (let i = 0; i < V.parameters.length; i++) words.push(V.parameters.get(i));
  const pid = start(SHELL, words, environment, input, output, error, flags, group);
  if (pid < 0) shellError(SHELL, E.errorText(-pid));
  environment.free();
  program.free();
  words.free();
  return pid;
}

/** Linux wait status to the shell's: exit status, or 128 + signal. */
export function exitStatus(wait: u32): i32 { return wait & 127 ? 128 + (wait & 127) : (wait >> 8) & 255; }

/**
 * A person's ^C that came while the shell itself had the terminal: between two commands of a list, or before the next one had started. It ends
 * the list, and the child that was started meanwhile.
 */
export function interruptPending(): bool {
  if (interactive && (sysCatch(1 << SIGINT | 1 << SIGQUIT) & (1 << SIGINT))) interrupted = true;
  return interactive && interrupted;
}

/** Waits for one child, called `name` (0: by its pid); its exit status. Says what signal ended it unless that is obvious. */
export function waitFor(pid: i32, name: Text): i32 {
  while (true) {
    if (interruptPending()) sysKill(pid, SIGINT, KILL_PROCESS);
    const got = sysWait(pid, false);
    if (got == -E.EINTR) continue;
    if (got < 0) return 127;
    const wait = <u32>secondResult(), signal = wait & 127;
    if (signal == SIGINT) interrupted = true;
    if (signal && signal != SIGINT && signal != SIGPIPE) {
      const core = signal == SIGSEGV ? 'segmentation fault' : signalText(signal);
      shellError(name ? name : V.numberText(pid), core);
    }
    return exitStatus(wait);
  }
}

/** After a foreground pipeline the terminal is the shell's again. */
export function takeTerminal(): void { if (interactive) sysForeground(0, V.shellPid); }
export function killGroup(group: u32, signal: u32): void { sysKill(group, signal, KILL_GROUP); }
