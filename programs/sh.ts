/**
 * sh [-c command [name [argument...]] | -i | file [argument...]]: the shell. With a terminal as input it prompts and edits lines; otherwise it reads
 * commands from its input. Exit status: that of the last command, 2 after a syntax error, 127 when a command was not found.
 */
import * as P from 'kintsugi/protocols';
import { argument, argumentCount, begin, finish } from './lib/program';
import { O_RDONLY, openRetry } from './lib/files';
import { fromStream, getLine } from './lib/input';
import { Bytes } from './lib/memory';
import { flush, put, putByte, toStream } from './lib/output';
import { SIGINT, SIGQUIT } from './lib/signals';
import { sysCatch, sysForeground, sysGetpid, sysIsTerminal, sysRead, sysTerminalMode, sysClose } from './lib/sys';
import { Text, copyLiteral, lengthOf, same } from './lib/text';
import { arenaMark, arenaRewind } from './sh/arena';
import { fileText, rememberDirectory } from './sh/builtins';
import { DROPPED, EDITING, END, LINE, editorBegin, editorFeed, editorLine } from './sh/edit';
import { U_EXIT, U_NONE, execute, runText, startUnwind, syntaxError, unwind } from './sh/execute';
import { jobsBegin, reapJobs, setAnnounce } from './sh/jobs';
import * as C from './sh/launch';
import { GOOD, INCOMPLETE } from './sh/lexer';
import { parse, parsedTree } from './sh/parser';
import * as V from './sh/variables';

const PROFILE: usize = memory.data(16);
const PROMPT: usize = memory.data(256);
const INPUT: usize = memory.data(64);
const RAW: i32 = P.TTY_MODE_CRLF;
const COOKED: i32 = P.TTY_MODE_CANONICAL | P.TTY_MODE_ECHO | P.TTY_MODE_SIGNALS | P.TTY_MODE_CRLF;

export function main(page: usize): void {
  begin(page);
  V.variablesBegin();
  jobsBegin();
  V.setShellPid(sysGetpid());
  const status = run();
  finish(status);
}

function run(): i32 {
  let at = 1, text: Text = 0, person = false;
  V.setShellName(argument(0));
  while (at < argumentCount && load<u8>(argument(at)) == 45 && load<u8>(argument(at), 1)) {
    const word = argument(at++);
    if (same(word, '--')) break;
    let takesText = false;
    for (let p = word + 1; load<u8>(p); p++) {
      if (load<u8>(p) == 99) takesText = true;
      else if (load<u8>(p) == 105) person = true;
      else if (!V.setOption(load<u8>(p), true)) { C.shellError(word, 'unknown option'); return 2; }
    }
    if (takesText) {
      if (at >= argumentCount) { C.shellError(word, 'a command is needed'); return 2; }
      text = argument(at++);
      break;
    }
  }
  rememberDirectory();
  if (text) {
    if (at < argumentCount) V.setShellName(argument(at++));
    rest(at);
    return runText(text, lengthOf(text));
  }
  if (at < argumentCount) {
    V.setShellName(argument(at++));
    rest(at);
    const content = fileText(V.shellName);
    return content ? runText(content.at, content.length) : 127;
  }
  if (person || (sysIsTerminal(0) && sysIsTerminal(1))) return conversation();
  return stream();
}
function rest(at: i32): void { for (; at < argumentCount; at++) V.parameters.push(argument(at)); }

/** Commands from the input, line by line; a command may need several. */
function stream(): i32 {
  const line = Bytes.create(), command = Bytes.create();
  let status = 0;
  fromStream(0);
  while (unwind == U_NONE && getLine(line)) {
    command.pushBytes(line.at, line.length);
    const mark = arenaMark(), result = parse(command.finish(), command.length);
    if (result == INCOMPLETE) { arenaRewind(mark); continue; }
    if (result == GOOD) { const tree = parsedTree(); if (tree) status = execute(tree); flush(); }
    else { syntaxError(false); status = 2; }
    arenaRewind(mark);
    command.length = 0;
  }
  if (command.length && unwind == U_NONE) { syntaxError(true); status = 2; }
  return unwind == U_EXIT ? V.lastStatus : status;
}

/** A person at a terminal. */
function conversation(): i32 {
  C.setInteractive(true);
  setAnnounce(true);
  sysCatch(1 << SIGINT | 1 << SIGQUIT);
  sysForeground(0, V.shellPid);
  copyLiteral(PROFILE, '/etc/profile');
  const profile = openRetry(PROFILE, O_RDONLY, 0);
  if (profile >= 0) {
    sysClose(profile);
    const content = fileText(PROFILE);
    if (content) { runText(content.at, content.length); content.free(); }
    if (unwind == U_EXIT) return V.lastStatus;
    startUnwind(U_NONE, 0);
  }
  const command = Bytes.create();
  while (true) {
    sysCatch(1 << SIGINT | 1 << SIGQUIT);
    C.setInterrupted(false);
    reapJobs(true);
    const got = readCommandLine(command.length > 0);
    if (got == DROPPED) { command.length = 0; V.setStatus(130); continue; }
    if (got == END) {
      if (command.length) { syntaxError(true); command.length = 0; continue; }
      put('exit\n');
      break;
    }
    command.pushBytes(editorLine().at, editorLine().length);
    command.push(10);
    const mark = arenaMark(), result = parse(command.finish(), command.length);
    if (result == INCOMPLETE) { arenaRewind(mark); continue; }
    sysTerminalMode(0, COOKED);
    if (result == GOOD) { const tree = parsedTree(); if (tree) execute(tree); flush(); }
    else { syntaxError(false); V.setStatus(2); }
    arenaRewind(mark);
    command.length = 0;
    if (unwind == U_EXIT) break;
    if (C.interrupted) { V.setStatus(130); putByte(10); }
    startUnwind(U_NONE, 0);
  }
  flush();
  sysTerminalMode(0, COOKED);
  return V.lastStatus;
}

function makePrompt(more: bool): Text {
  if (more) { copyLiteral(PROMPT, '> '); return PROMPT; }
  const custom = V.valueOfLiteral('PS1'), where = V.valueOfLiteral('PWD');
  let to = PROMPT;
  const limit = PROMPT + 240;
  if (custom) {
    for (let p = custom; load<u8>(p) && to < limit; p++) {
      if (load<u8>(p) == 92 && load<u8>(p, 1) == 119) { p++; if (where) for (let q = where; load<u8>(q) && to < limit; q++) store<u8>(to++, load<u8>(q)); }
      else store<u8>(to++, load<u8>(p));
    }
  } else {
    if (where) for (let q = where; load<u8>(q) && to < limit; q++) store<u8>(to++, load<u8>(q));
    store<u8>(to++, 36);
    store<u8>(to++, 32);
  }
  store<u8>(to, 0);
  return PROMPT;
}

let waiting: i32 = 0, waitingAt: i32 = 0; // bytes read ahead of the line that was finished: pasted text
function readCommandLine(more: bool): i32 {
  toStream(1);
  flush();
  sysTerminalMode(0, RAW);
  editorBegin(makePrompt(more));
  while (true) {
    while (waitingAt < waiting) {
      const result = editorFeed(load<u8>(INPUT + waitingAt++));
      if (result != EDITING) { flush(); return result; }
    }
    flush();
    waitingAt = 0;
    waiting = sysRead(0, INPUT, 64);
    if (waiting <= 0) {
      const interrupted = waiting == -4;
      waiting = 0;
      if (!interrupted) return END;
    }
  }
}
