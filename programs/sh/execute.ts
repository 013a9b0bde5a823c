/**
 * Running the tree. `execute` returns the exit status of a node; `unwind` is set when something wants out of the constructs around it (break,
 * continue, return, exit, an interrupt), and everyone who sees it returns at once.
 */
import { List, Bytes, release } from '../lib/memory';
import { flush, put, putByte, putText, toStream } from '../lib/output';
import { errorText } from '../lib/errors';
import { globMatches } from '../lib/glob';
import { O_APPEND, O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, openRetry } from '../lib/files';
import { secondResult, sysClose, sysPipe } from '../lib/sys';
import { Text, find, isNumber, lengthOf, parseNumber, same } from '../lib/text';
import { arenaMark, arenaRewind, arenaText } from './arena';
import { builtin, isBuiltin } from './builtins';
import { clearExpansion, expandPattern, expandText, expandWord, expansionFailed } from './expand';
import { addJob } from './jobs';
import * as C from './launch';
import { GOOD, INCOMPLETE } from './lexer';
import { isIdentifier, parse, parseEnd, parseErrorAt, parseErrorLength, parsedTree } from './parser';
import { clearSubstitution, substitutionStatus } from './substitute';
import * as T from './tree';
import { Tree, Word, Redirection } from './tree';
import * as V from './variables';

export const U_NONE: i32 = 0;
export const U_BREAK: i32 = 1;
export const U_CONTINUE: i32 = 2;
export const U_RETURN: i32 = 3;
export const U_EXIT: i32 = 4;
export const U_INTERRUPT: i32 = 5;
export let unwind: i32 = 0;
let unwindLevels: i32 = 0;
export function startUnwind(kind: i32, levels: i32): void { unwind = kind; unwindLevels = levels; }
export let loopDepth: i32 = 0;
export let functionDepth: i32 = 0;
/** `return` means something inside functions and files that are read by `.`. */
export function returnable(by: i32): void { functionDepth += by; }
let conditionDepth: i32 = 0; // inside if/while conditions, && and ||, `set -e` does not apply
let callDepth: i32 = 0;
const MAX_CALLS: i32 = 64;

/** Parses and runs all of a text. INCOMPLETE text is a syntax error here: there is no more. */
export function runText(text: usize, length: i32): i32 {
  let status = 0, at = text;
  const end = text + length;
  while (at < end && unwind == U_NONE) {
    const mark = arenaMark(), result = parse(at, <i32>(end - at)), next = parseEnd();
    if (result != GOOD) {
      syntaxError(result == INCOMPLETE);
      status = 2;
      V.setStatus(2);
      arenaRewind(mark);
      break;
    }
    const tree = parsedTree();
    if (tree) status = execute(tree);
    arenaRewind(mark);
    if (next <= at) break;
    at = next;
  }
  return status;
}

export function syntaxError(incomplete: bool): void {
  const bytes = Bytes.create();
  if (incomplete) bytes.pushLiteral('the command ends too early');
  else {
    bytes.pushLiteral('syntax error at `');
    if (parseErrorLength() && load<u8>(parseErrorAt()) == 10) bytes.pushLiteral('newline'); else bytes.pushBytes(parseErrorAt(), parseErrorLength());
    bytes.push(39);
  }
  flush(); toStream(C.currentError);
  put('sh: '); putText(bytes.finish()); putByte(10);
  flush(); toStream(C.currentOutput);
  bytes.free();
}

function settle(status: i32): i32 {
  V.setStatus(status);
  return status;
}

export function execute(tree: Tree): i32 {
  if (unwind != U_NONE) return V.lastStatus;
  switch (tree.kind) {
    case T.SEQUENCE: return sequence(tree);
    case T.PIPELINE: return pipeline(tree);
    case T.AND: case T.OR: {
      conditionDepth++;
      const left = execute(tree.first);
      conditionDepth--;
      if (unwind != U_NONE) return left;
      return (left == 0) == (tree.kind == T.AND) ? execute(tree.second) : left;
    }
  }
  return command(tree);
}

function sequence(tree: Tree): i32 {
  let status = 0;
  for (let item = tree.first; item; item = item.next) {
    if (item.flags & T.BACKGROUND) { status = background(item); continue; }
    status = execute(item);
    if ((C.interrupted || C.interruptPending()) && unwind == U_NONE) startUnwind(U_INTERRUPT, 0);
    if (unwind != U_NONE) return status;
    if (status && V.exitOnError && conditionDepth == 0 && item.kind == T.PIPELINE && !(item.flags & T.NEGATED)) { startUnwind(U_EXIT, 0); return status; }
  }
  return status;
}

function background(tree: Tree): i32 {
  const one = tree.kind == T.PIPELINE && !(tree.flags & T.NEGATED) && !tree.first.next ? tree.first : tree;
  const pid = one.kind == T.SIMPLE ? launched(one, C.currentInput, C.currentOutput, C.NEW_GROUP, 0) : C.spawnShell(tree.start, <i32>(tree.end - tree.start), C.currentInput, C.currentOutput, C.currentError, C.NEW_GROUP, 0);
  if (pid <= 0) return settle(V.lastStatus ? V.lastStatus : 126);
  V.setLastBackground(pid);
  addJob(pid, tree.start, <i32>(tree.end - tree.start));
  return settle(0);
}

function pipeline(tree: Tree): i32 {
  let status: i32;
  if (!tree.first.next) {
    if (tree.flags & T.NEGATED) conditionDepth++;
    status = command(tree.first);
    if (tree.flags & T.NEGATED) conditionDepth--;
  } else status = connected(tree);
  if (tree.flags & T.NEGATED) status = status ? 0 : 1;
  return settle(status);
}

/** Two or more commands with pipes between them, all at once; the status is that of the last. */
function connected(tree: Tree): i32 {
  const pids = List.create();
  let input = C.currentInput, group: u32 = 0, last = 0, lastStatus = 126;
  for (let one = tree.first; one; one = one.next) {
    let output = C.currentOutput, next: i32 = -1;
    if (one.next) {
      next = sysPipe();
      if (next < 0) { C.shellError(0, errorText(-next)); break; }
      output = secondResult();
    }
    const pid = launched(one, input, output, C.interactive ? (group ? C.FOREGROUND : C.NEW_GROUP | C.FOREGROUND) : 0, group);
    if (input != C.currentInput) sysClose(input);
    if (output != C.currentOutput) sysClose(output);
    if (pid > 0) { pids.push(pid); if (!group) group = pid; }
    last = pid;
    if (pid <= 0) lastStatus = V.lastStatus;
    input = one.next ? next : C.currentInput;
  }
  if (input != C.currentInput) sysClose(input);
  for (let i = 0; i < pids.length; i++) {
    const pid = <i32>pids.get(i), status = C.waitFor(pid, 0);
    if (pid == last) lastStatus = status;
  }
  if (pids.length) C.takeTerminal();
  pids.free();
  return lastStatus;
}

/** One member of a pipeline, started: a plain program directly, everything else in a shell of its own. Pid, or 0 with the status set. */
function launched(tree: Tree, input: u32, output: u32, flags: u32, group: u32): i32 {
  const outerInput = C.currentInput, outerOutput = C.currentOutput, outerError = C.currentError;
  flush();
  C.setStreams(input, output, outerError);
  let pid = 0;
  if (tree.kind == T.SIMPLE && isProgram(tree)) pid = startSimple(tree, flags, group);
  else {
    pid = C.spawnShell(tree.start, <i32>(tree.end - tree.start), input, output, outerError, flags, group);
    if (pid <= 0) { V.setStatus(126); pid = 0; }
  }
  C.setStreams(outerInput, outerOutput, outerError);
  return pid;
}
/** Certainly the name of a program: a plain first word that is neither builtin nor function nor assignment. */
function isProgram(tree: Tree): bool {
  let word = tree.words;
  while (word && assignmentLength(word)) word = word.next;
  if (!word) return false;
  for (let i = 0; i < word.length; i++) {
    const byte = load<u8>(word.at + i);
    if (byte == 36 || byte == 96 || byte == 61 || byte == 42 || byte == 63 || byte == 91) return false;
  }
  const name = expandText(word);
  return !isBuiltin(name) && !V.functionNamed(name, lengthOf(name));
}

/** A compound or simple command with its redirections. */
function command(tree: Tree): i32 {
  if (tree.kind == T.SIMPLE) return settle(simple(tree));
  if (tree.kind == T.FUNCTION) {
    V.defineFunction(tree.words.at, tree.words.length, tree.first.start, <i32>(tree.first.end - tree.first.start));
    return settle(0);
  }
  const outerInput = C.currentInput, outerOutput = C.currentOutput, outerError = C.currentError, opened = List.create();
  let status = 1;
  if (redirect(tree.redirections, opened)) status = compound(tree);
  restore(opened, outerInput, outerOutput, outerError);
  return settle(status);
}

function restore(opened: List, input: u32, output: u32, error: u32): void {
  flush();
  C.setStreams(input, output, error);
  toStream(output);
  for (let i = 0; i < opened.length; i++) sysClose(<u32>opened.get(i));
  opened.free();
}

function compound(tree: Tree): i32 {
  switch (tree.kind) {
    case T.GROUP: return execute(tree.first);
    case T.SUBSHELL: {
      const flags: u32 = C.interactive ? C.NEW_GROUP | C.FOREGROUND : 0;
      const pid = C.spawnShell(tree.first.start, <i32>(tree.first.end - tree.first.start), C.currentInput, C.currentOutput, C.currentError, flags, 0);
      if (pid <= 0) return 126;
      const status = C.waitFor(pid, 0);
      C.takeTerminal();
      return status;
    }
    case T.IF: {
      if (condition(tree.first)) return execute(tree.second);
      if (unwind != U_NONE) return V.lastStatus;
      if (!tree.third) return 0;
      return tree.third.kind == T.IF ? compound(tree.third) : execute(tree.third);
    }
    case T.WHILE: return loop(tree);
    case T.FOR: return each(tree);
    case T.CASE: return choice(tree);
  }
  return execute(tree);
}

function condition(tree: Tree): bool {
  conditionDepth++;
  const status = execute(tree);
  conditionDepth--;
  return unwind == U_NONE && status == 0;
}

/** After the body of a loop: go on? Also the place where ^C stops loops of builtins. */
function again(): bool {
  if (C.interruptPending() && unwind == U_NONE) startUnwind(U_INTERRUPT, 0);
  if (unwind == U_NONE) return true;
  if (unwind > U_CONTINUE) return false;
  if (--unwindLevels > 0) return false; // for a loop further out
  const next = unwind == U_CONTINUE;
  unwind = U_NONE;
  return next;
}

function loop(tree: Tree): i32 {
  let status = 0;
  loopDepth++;
  while (true) {
    const holds = condition(tree.first);
    if (unwind != U_NONE || holds == ((tree.flags & T.NEGATED) != 0)) break;
    const mark = arenaMark();
    status = execute(tree.second);
    arenaRewind(mark);
    if (!again()) break;
  }
  loopDepth--;
  return status;
}

function each(tree: Tree): i32 {
  const values = List.create();
  let status = 0;
  if (tree.flags & T.ALL_ARGUMENTS) for (let i = 0; i < V.parameters.length; i++) values.push(arenaText(V.parameters.get(i), lengthOf(V.parameters.get(i))));
  clearExpansion();
  for (let word = tree.words.next; word; word = word.next) expandWord(word, values);
  if (expansionFailed) { values.free(); return 1; }
  loopDepth++;
  for (let i = 0; i < values.length; i++) {
    V.assign(tree.words.at, tree.words.length, values.get(i));
    const mark = arenaMark();
    status = execute(tree.second);
    arenaRewind(mark);
    if (!again()) break;
  }
  loopDepth--;
  values.free();
  return status;
}

function choice(tree: Tree): i32 {
  clearExpansion();
  const subject = expandText(tree.words);
  for (let arm = tree.first; arm; arm = arm.next) {
    for (let word = arm.words; word; word = word.next) {
      const pattern = expandPattern(word.at, word.length, false), fits = globMatches(pattern, subject);
      release(pattern);
      if (expansionFailed) return 1;
      if (fits) return arm.first ? execute(arm.first) : 0;
    }
  }
  return 0;
}

// ---- simple commands ----------------------------------------------------------------------------------------------------------------

/** Length of the name in NAME=..., 0 when the word is no assignment. */
function assignmentLength(word: Word): i32 {
  for (let i = 0; i < word.length; i++) {
    if (load<u8>(word.at + i) == 61) return isIdentifier(word.at, i) ? i : 0;
  }
  return 0;
}

let prefix: Bytes = changetype<Bytes>(0); // NAME=value strings before the command
/** Splits the words into `prefix` assignments and argv; false when an expansion failed. */
function arguments_(tree: Tree, argv: List): bool {
  clearExpansion();
  let word = tree.words;
  prefix = Bytes.create();
  const own = prefix;
  while (word && assignmentLength(word)) {
    const length = assignmentLength(word);
    const value = expandText(T.newWord(word.at + length + 1, word.length - length - 1));
    own.pushBytes(word.at, length + 1);
    own.pushText(value);
    own.push(0);
    word = word.next;
  }
  for (; word; word = word.next) expandWord(word, argv);
  prefix = own;
  return !expansionFailed;
}

function assignAll(own: Bytes): i32 {
  own.finish();
  for (let p = own.at; p < own.at + own.length; p += lengthOf(p) + 1) {
    const equals = find(p, 61);
    if (!V.assign(p, <i32>(equals - p), equals + 1)) { C.shellError(p, 'read-only'); return 1; }
  }
  return 0;
}

function simple(tree: Tree): i32 {
  const argv = List.create();
  clearSubstitution();
  if (!arguments_(tree, argv)) { argv.free(); prefix.free(); if (!C.interactive) startUnwind(U_EXIT, 0); return 1; }
  const own = prefix;
  const outerInput = C.currentInput, outerOutput = C.currentOutput, outerError = C.currentError, opened = List.create();
  let status = 1;
  if (redirect(tree.redirections, opened)) {
    if (argv.length == 0) status = assignAll(own) ? 1 : substitutionStatus();
    else {
      if (V.traceCommands) trace(argv);
      const name = argv.get(0), body = V.functionNamed(name, lengthOf(name));
      if (body) { assignAll(own); status = call(body.body, argv); }
      else if (isBuiltin(name)) {
        status = assignAll(own);
        if (!status) {
          toStream(C.currentOutput);
          status = builtin(argv);
        }
      } else status = program(argv, own);
    }
  }
  restore(opened, outerInput, outerOutput, outerError);
  own.free();
  argv.free();
  return status;
}

function trace(argv: List): void {
  flush(); toStream(C.currentError);
  put('+');
  for (let i = 0; i < argv.length; i++) { putByte(32); putText(argv.get(i)); }
  putByte(10);
  flush(); toStream(C.currentOutput);
}

function program(argv: List, own: Bytes): i32 {
  flush();
  const pid = C.spawnProgram(argv, own, C.currentInput, C.currentOutput, C.currentError, C.interactive ? C.NEW_GROUP | C.FOREGROUND : 0, 0);
  if (!pid) return V.lastStatus;
  const status = C.waitFor(pid, argv.get(0));
  C.takeTerminal();
  return status;
}

/** The first half of `simple` for a member of a pipeline. */
function startSimple(tree: Tree, flags: u32, group: u32): i32 {
  const argv = List.create(), opened = List.create();
  const outerInput = C.currentInput, outerOutput = C.currentOutput, outerError = C.currentError;
  let pid = 0;
  V.setStatus(1);
  if (arguments_(tree, argv)) {
    const own = prefix;
    if (argv.length && redirect(tree.redirections, opened)) pid = C.spawnProgram(argv, own, C.currentInput, C.currentOutput, C.currentError, flags, group);
  }
  prefix.free();
  restore(opened, outerInput, outerOutput, outerError);
  argv.free();
  return pid;
}

function call(body: Text, argv: List): i32 {
  if (callDepth >= MAX_CALLS) { C.shellError(argv.get(0), 'functions call each other too deeply'); return 1; }
  const outer = V.parameters, own = List.create(), length = lengthOf(body), source = arenaText(body, length);
  for (let i = 1; i < argv.length; i++) own.push(argv.get(i));
  V.setParameters(own);
  callDepth++;
  functionDepth++;
  const outerLoops = loopDepth;
  loopDepth = 0;
  let status = runText(source, length);
  loopDepth = outerLoops;
  functionDepth--;
  callDepth--;
  if (unwind == U_RETURN) { unwind = U_NONE; status = V.lastStatus; }
  V.setParameters(outer);
  own.free();
  return status;
}

// ---- redirections -------------------------------------------------------------------------------------------------------------------

/** Applies redirections to the current streams; `opened` collects what must be closed again. False after complaining. */
function redirect(first: Redirection, opened: List): bool {
  for (let one = first; one; one = one.next) {
    if (one.fd > 2) { C.shellError(V.numberText(one.fd), 'only streams 0, 1 and 2 can be redirected'); return false; }
    if (one.kind == T.HERE) { if (!document(one, opened)) return false; continue; }
    clearExpansion();
    const target = expandText(one.target);
    if (expansionFailed) return false;
    if (one.kind == T.DUPLICATE) {
      if (same(target, '-')) { setStream(one.fd, 255); continue; }
      if (!isNumber(target) || parseNumber(target) < 0 || parseNumber(target) > 2) { C.shellError(target, 'not a stream to duplicate'); return false; }
      const from = <i32>parseNumber(target);
      setStream(one.fd, from == 0 ? C.currentInput : from == 1 ? C.currentOutput : C.currentError);
      continue;
    }
    const flags = one.kind == T.INPUT ? O_RDONLY : one.kind == T.APPEND ? O_WRONLY | O_CREAT | O_APPEND : one.kind == T.UPDATE ? O_RDWR | O_CREAT : O_WRONLY | O_CREAT | O_TRUNC;
    const fd = openRetry(target, flags, 0o644);
    if (fd < 0) { C.shellError(target, errorText(-fd)); return false; }
    opened.push(fd);
    setStream(one.fd, fd);
    if (one.kind == T.BOTH) setStream(2, fd);
  }
  return true;
}
function setStream(which: i32, fd: u32): void {
  C.setStreams(which == 0 ? fd : C.currentInput, which == 1 ? fd : C.currentOutput, which == 2 ? fd : C.currentError);
}

/** A here-document goes through a pipe, which must be able to hold it: nobody reads before the command runs. */
const PIPE_ROOM: i32 = 4096;
function document(one: Redirection, opened: List): bool {
  const readEnd = sysPipe();
  if (readEnd < 0) { C.shellError(0, errorText(-readEnd)); return false; }
  const writeEnd = secondResult();
  opened.push(readEnd);
  const body = Bytes.create();
  if (one.literal) body.pushBytes(one.target.at, one.target.length);
  else {
    clearExpansion();
    const pattern = expandPattern(one.target.at, one.target.length, true);
    for (let p = pattern; load<u8>(p); p++) { if (load<u8>(p) == 1) p++; body.push(load<u8>(p)); }
    release(pattern);
  }
  const fits = body.length <= PIPE_ROOM && !expansionFailed;
  if (fits) {
    flush(); toStream(writeEnd);
    putText(body.finish());
    flush(); toStream(C.currentOutput);
  } else C.shellError(0, 'a here-document is longer than 4096 bytes');
  sysClose(writeEnd);
  body.free();
  if (fits) setStream(one.fd, readEnd);
  return fits;
}
