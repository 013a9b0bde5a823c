/** What runs inside the shell: because it changes the shell itself, or because starting a program for it would be silly. */
import { condition, conditionError } from '../lib/condition';
import { errorText, EINTR } from '../lib/errors';
import { O_RDONLY, openRetry } from '../lib/files';
import { readRetry } from '../lib/input';
import { Bytes, List, allocate, keep, release } from '../lib/memory';
import { flush, put, putByte, putBytes, putText } from '../lib/output';
import { KILL_GROUP, KILL_PROCESS, sysChdir, sysClose, sysGetcwd, sysKill, sysRead } from '../lib/sys';
import { SIGTERM, signalNumber } from '../lib/signals';
import { Text, find, isNumber, lengthOf, parseNumber, same, isSpace } from '../lib/text';
import { arenaText } from './arena';
import { U_BREAK, U_CONTINUE, U_EXIT, U_NONE, U_RETURN, functionDepth, loopDepth, returnable, runText, startUnwind, unwind } from './execute';
import { jobPid, listJobs, waitJobs } from './jobs';
import * as C from './launch';
import { isIdentifier } from './parser';
import * as V from './variables';

const CWD: usize = memory.data(1025);

export function isBuiltin(name: Text): bool {
  switch (load<u8>(name)) {
    case 46: return same(name, '.');
    case 58: return same(name, ':');
    case 91: return same(name, '[');
    case 98: return same(name, 'break');
    case 99: return same(name, 'cd') || same(name, 'continue') || same(name, 'command');
    case 101: return same(name, 'echo') || same(name, 'exit') || same(name, 'export') || same(name, 'eval') || same(name, 'exec');
    case 102: return same(name, 'false');
    case 104: return same(name, 'help');
    case 106: return same(name, 'jobs');
    case 108: return same(name, 'local');
    case 107: return same(name, 'kill');
    case 112: return same(name, 'pwd') || same(name, 'printf');
    case 114: return same(name, 'read') || same(name, 'return') || same(name, 'readonly');
    case 115: return same(name, 'set') || same(name, 'shift');
    case 116: return same(name, 'true') || same(name, 'test') || same(name, 'type');
    case 117: return same(name, 'unset');
    case 119: return same(name, 'wait');
  }
  return false;
}

/** Runs argv[0]; output goes to the current stream. */
export function builtin(argv: List): i32 {
  const name = argv.get(0);
  if (same(name, ':') || same(name, 'true')) return 0;
  if (same(name, 'false')) return 1;
  if (same(name, 'echo')) return echo(argv);
  if (same(name, 'test') || same(name, '[')) return test(argv);
  if (same(name, 'printf')) return printf(argv);
  if (same(name, 'cd')) return changeDirectory(argv);
  if (same(name, 'pwd')) return printDirectory();
  if (same(name, 'exit') || same(name, 'return')) return leave(argv, same(name, 'exit'));
  if (same(name, 'break') || same(name, 'continue')) return jump(argv, same(name, 'break'));
  if (same(name, 'export') || same(name, 'readonly') || same(name, 'local')) return declare(argv);
  if (same(name, 'unset')) return remove(argv);
  if (same(name, 'set')) return options(argv);
  if (same(name, 'shift')) return shift(argv);
  if (same(name, 'read')) return readLine(argv);
  if (same(name, 'eval')) return evaluate(argv);
  if (same(name, '.')) return source(argv);
  if (same(name, 'exec') || same(name, 'command')) return direct(argv, same(name, 'exec'));
  if (same(name, 'type')) return describe(argv);
  if (same(name, 'jobs')) { listJobs(); return 0; }
  if (same(name, 'wait')) return await_(argv);
  if (same(name, 'kill')) return kill(argv);
  return help();
}

function echo(argv: List): i32 {
  const quiet = argv.length > 1 && same(argv.get(1), '-n');
  const start = quiet ? 2 : 1;
  for (let i = start; i < argv.length; i++) {
    if (i > start) putByte(32);
    putText(argv.get(i));
  }
  if (!quiet) putByte(10);
  return 0;
}

function test(argv: List): i32 {
  let last = argv.length;
  if (same(argv.get(0), '[')) {
    if (!same(argv.get(last - 1), ']')) { C.shellError(argv.get(0), 'the closing ] is missing'); return 2; }
    last--;
  }
  const status = condition(argv, 1, last);
  if (status == 2) C.shellError(argv.get(0), conditionError());
  return status;
}

/** printf format [argument...]: %s %d %c %x %%, \n \t \\ and octal; the format is used again while arguments are left. */
function printf(argv: List): i32 {
  if (argv.length < 2) { C.shellError(argv.get(0), 'a format is needed'); return 2; }
  let next = 2, used = true;
  while (used && (next == 2 || next < argv.length)) {
    used = false;
    for (let p = argv.get(1); load<u8>(p); p++) {
      const byte = <u32>load<u8>(p);
      if (byte == 92) {
        const escape = <u32>load<u8>(++p);
        if (!escape) { putByte(92); break; }
        if (escape - 48 < 8) {
          let value: u32 = 0;
          for (let i = 0; i < 3 && <u32>load<u8>(p) - 48 < 8; i++) value = value * 8 + (load<u8>(p++) - 48);
          p--;
          putByte(value);
        } else putByte(escape == 110 ? 10 : escape == 116 ? 9 : escape == 114 ? 13 : escape == 101 ? 27 : escape == 97 ? 7 : escape);
        continue;
      }
      if (byte != 37) { putByte(byte); continue; }
      p++;
      let width = 0, fill: u32 = 32, left = false;
      if (load<u8>(p) == 45) { left = true; p++; }
      if (load<u8>(p) == 48) { fill = 48; p++; }
      while (<u32>load<u8>(p) - 48 < 10) width = width * 10 + (load<u8>(p++) - 48);
      const kind = <u32>load<u8>(p);
      if (kind == 37 || !kind) { putByte(37); if (!kind) break; continue; }
      const value = next < argv.length ? argv.get(next++) : 0;
      used = true;
      let text = value ? value : CWD + 1024, length = value ? lengthOf(value) : 0;
      if (kind == 100 || kind == 105 || kind == 117) { text = V.numberText(value ? parseNumber(value) : 0); length = lengthOf(text); }
      else if (kind == 99) length = min(length, 1);
      else if (kind == 120) { text = hex(value ? parseNumber(value) : 0); length = lengthOf(text); }
      if (!left) for (let i = length; i < width; i++) putByte(fill);
      putBytes(text, length);
      if (left) for (let i = length; i < width; i++) putByte(32);
    }
  }
  return 0;
}
const HEX: usize = memory.data(20);
function hex(value: i64): Text {
  let at = HEX + 18, rest = <u64>value;
  store<u8>(at, 0);
  do { const digit = <u32>(rest & 15); store<u8>(--at, <u8>(digit < 10 ? 48 + digit : 87 + digit)); rest >>= 4; } while (rest);
  return at;
}

function changeDirectory(argv: List): i32 {
  let target = argv.length > 1 ? argv.get(1) : V.valueOfLiteral('HOME');
  if (!target) { C.shellError(argv.get(0), 'HOME is not set'); return 1; }
  const back = same(target, '-');
  if (back) { target = V.valueOfLiteral('OLDPWD'); if (!target) { C.shellError(argv.get(0), 'OLDPWD is not set'); return 1; } }
  const status = sysChdir(target);
  if (status < 0) { C.shellError(target, errorText(-status)); return 1; }
  const old = V.valueOfLiteral('PWD');
  if (old) V.assignLiteral('OLDPWD', arenaText(old, lengthOf(old)));
  rememberDirectory();
  if (back) { putText(CWD); putByte(10); }
  return 0;
}
/** PWD = where we are. */
export function rememberDirectory(): void {
  const bytes = sysGetcwd(CWD, 1024);
  if (bytes < 0) return;
  store<u8>(CWD + bytes, 0);
  V.assignLiteral('PWD', CWD);
}
function printDirectory(): i32 {
  const bytes = sysGetcwd(CWD, 1024);
  if (bytes < 0) { C.shellError(0, errorText(-bytes)); return 1; }
  putBytes(CWD, bytes);
  putByte(10);
  return 0;
}

function leave(argv: List, exit: bool): i32 {
  let status = V.lastStatus;
  if (argv.length > 1) {
    if (!isNumber(argv.get(1))) { C.shellError(argv.get(1), 'not a status'); status = 2; }
    else status = <i32>parseNumber(argv.get(1)) & 255;
  }
  V.setStatus(status);
  startUnwind(exit || !functionDepth ? U_EXIT : U_RETURN, 0);
  return status;
}

function jump(argv: List, out: bool): i32 {
  if (!loopDepth) { C.shellError(argv.get(0), 'not inside a loop'); return 0; }
  let levels = 1;
  if (argv.length > 1) {
    if (!isNumber(argv.get(1)) || parseNumber(argv.get(1)) < 1) { C.shellError(argv.get(1), 'not a number of loops'); return 1; }
    levels = <i32>min<i64>(parseNumber(argv.get(1)), loopDepth);
  }
  startUnwind(out ? U_BREAK : U_CONTINUE, levels);
  return 0;
}

function declare(argv: List): i32 {
  const readonly = load<u8>(argv.get(0)) == 114, exporting = load<u8>(argv.get(0)) == 101;
  let status = 0;
  if (argv.length == 1) {
    const all = Bytes.create();
    V.eachVariable(all, exporting);
    for (let p = all.at; p < all.at + all.length; p += lengthOf(p) + 1) { putText(argv.get(0)); putByte(32); putText(p); putByte(10); }
    all.free();
    return 0;
  }
  for (let i = 1; i < argv.length; i++) {
    const word = argv.get(i), equals = find(word, 61), length = equals ? <i32>(equals - word) : lengthOf(word);
    if (!isIdentifier(word, length)) { C.shellError(word, 'not a variable name'); status = 1; continue; }
    if (equals && !V.assign(word, length, equals + 1)) { C.shellError(word, 'read-only'); status = 1; continue; }
    if (exporting) V.exportName(word, length);
    if (readonly) V.protectName(word, length);
  }
  return status;
}
function remove(argv: List): i32 {
  let status = 0;
  for (let i = 1; i < argv.length; i++) if (!V.unset(argv.get(i), lengthOf(argv.get(i)))) { C.shellError(argv.get(i), 'read-only'); status = 1; }
  return status;
}

function options(argv: List): i32 {
  if (argv.length == 1) {
    const all = Bytes.create();
    V.eachVariable(all, false);
    for (let p = all.at; p < all.at + all.length; p += lengthOf(p) + 1) { putText(p); putByte(10); }
    all.free();
    return 0;
  }
  let i = 1;
  for (; i < argv.length; i++) {
    const word = argv.get(i), sign = load<u8>(word);
    if (same(word, '--')) { i++; break; }
    if ((sign != 45 && sign != 43) || !load<u8>(word, 1)) break;
    for (let p = word + 1; load<u8>(p); p++) if (!V.setOption(load<u8>(p), sign == 45)) { C.shellError(word, 'unknown option'); return 2; }
  }
  if (i < argv.length || same(argv.get(argv.length - 1), '--')) {
    const list = List.create();
    for (; i < argv.length; i++) list.push(keep(argv.get(i), lengthOf(argv.get(i))));
    V.setParameters(list);
  }
  return 0;
}
function shift(argv: List): i32 {
  const count = argv.length > 1 ? <i32>parseNumber(argv.get(1)) : 1;
  if (count < 0 || count > V.parameters.length) { C.shellError(argv.get(0), 'there are not so many parameters'); return 1; }
  const list = List.create();
  for (let i = count; i < V.parameters.length; i++) list.push(V.parameters.get(i));
  V.parameters.length = 0;
  for (let i = 0; i < list.length; i++) V.parameters.push(list.get(i));
  list.free();
  return 0;
}

/** read [-r] name...: one line, byte by byte so that nothing behind it is taken from others. The last name gets the rest. */
function readLine(argv: List): i32 {
  const line = Bytes.create(), byte = memory.data(1);
  flush();
  let ended = false, got = 0;
  while (true) {
    got = sysRead(C.currentInput, byte, 1);
    if (got == -EINTR) { line.free(); return 130; }
    if (got <= 0) { ended = true; break; }
    if (load<u8>(byte) == 10) break;
    line.push(load<u8>(byte));
  }
  let first = 1;
  if (argv.length > 1 && same(argv.get(1), '-r')) first = 2;
  const text = line.finish();
  let p = text;
  while (isSpace(load<u8>(p))) p++;
  for (let i = first; i < argv.length; i++) {
    const start = p;
    if (i == argv.length - 1) { p = text + line.length; let stop = p; while (stop > start && isSpace(load<u8>(stop - 1))) stop--; store<u8>(stop, 0); }
    else { while (load<u8>(p) && !isSpace(load<u8>(p))) p++; if (load<u8>(p)) store<u8>(p++, 0); while (isSpace(load<u8>(p))) p++; }
    if (!isIdentifier(argv.get(i), lengthOf(argv.get(i))) || !V.assign(argv.get(i), lengthOf(argv.get(i)), start)) { C.shellError(argv.get(i), 'cannot be assigned'); line.free(); return 2; }
  }
  const empty = ended && line.length == 0;
  line.free();
  return empty ? 1 : 0;
}

function evaluate(argv: List): i32 {
  const text = Bytes.create();
  for (let i = 1; i < argv.length; i++) { if (i > 1) text.push(32); text.pushText(argv.get(i)); }
  const copy = arenaText(text.at, text.length), length = text.length;
  text.free();
  return runText(copy, length);
}

/** The whole content of a file, in the heap, NUL terminated; 0 after complaining. */
export function fileText(path: Text): Bytes {
  const fd = openRetry(path, O_RDONLY, 0);
  if (fd < 0) { C.shellError(path, errorText(-fd)); return changetype<Bytes>(0); }
  const content = Bytes.create(), piece = allocate(4096);
  let got: i32;
  while ((got = readRetry(fd, piece, 4096)) > 0) content.pushBytes(piece, got);
  release(piece);
  sysClose(fd);
  if (got < 0) { C.shellError(path, errorText(-got)); content.free(); return changetype<Bytes>(0); }
  content.finish();
  return content;
}
function source(argv: List): i32 {
  if (argv.length < 2) { C.shellError(argv.get(0), 'a file is needed'); return 2; }
  const content = fileText(argv.get(1));
  if (!content) return 1;
  returnable(1);
  let status = runText(content.at, content.length);
  returnable(-1);
  if (unwind == U_RETURN) { startUnwind(U_NONE, 0); status = V.lastStatus; }
  content.free();
  return status;
}

/** `command name...` runs a program or builtin past functions; `exec name...` besides ends the shell with its status (there is no exec in the native ABI). */
function direct(argv: List, last: bool): i32 {
  if (argv.length < 2) return 0;
  const rest = List.create(), none = Bytes.create();
  for (let i = 1; i < argv.length; i++) rest.push(argv.get(i));
  let status = 0;
  if (isBuiltin(rest.get(0))) status = builtin(rest);
  else {
    flush();
    const pid = C.spawnProgram(rest, none, C.currentInput, C.currentOutput, C.currentError, C.interactive ? C.NEW_GROUP | C.FOREGROUND : 0, 0);
    status = pid ? C.waitFor(pid, 0) : V.lastStatus;
    if (pid) C.takeTerminal();
  }
  rest.free();
  none.free();
  if (last) { V.setStatus(status); startUnwind(U_EXIT, 0); }
  return status;
}

function describe(argv: List): i32 {
  for (let i = 1; i < argv.length; i++) {
    putText(argv.get(i));
    if (V.functionNamed(argv.get(i), lengthOf(argv.get(i)))) put(' is a function\n');
    else if (isBuiltin(argv.get(i))) put(' is part of the shell\n');
    else put(' is a program, if there is one in PATH\n');
  }
  return 0;
}

function await_(argv: List): i32 {
  flush();
  if (argv.length == 1) return waitJobs(0);
  let status = 0;
  for (let i = 1; i < argv.length; i++) {
    const word = argv.get(i);
    const pid = load<u8>(word) == 37 ? jobPid(<i32>parseNumber(word + 1)) : <i32>parseNumber(word);
    status = pid > 0 ? waitJobs(pid) : 127;
  }
  return status;
}

/** kill %job: here, because only the shell knows its jobs; every other form is the program. */
function kill(argv: List): i32 {
  let job = false;
  for (let i = 1; i < argv.length; i++) if (load<u8>(argv.get(i)) == 37) job = true;
  if (!job) {
    const none = Bytes.create(), pid = C.spawnProgram(argv, none, C.currentInput, C.currentOutput, C.currentError, 0, 0);
    none.free();
    return pid ? C.waitFor(pid, 0) : V.lastStatus;
  }
  let signal = SIGTERM, status = 0;
  for (let i = 1; i < argv.length; i++) {
    const word = argv.get(i);
    if (load<u8>(word) == 45) { signal = signalNumber(word + 1); continue; }
    const isJob = load<u8>(word) == 37, pid = isJob ? jobPid(<i32>parseNumber(word + 1)) : <i32>parseNumber(word);
    const result = pid > 0 ? sysKill(pid, signal, isJob ? KILL_GROUP : KILL_PROCESS) : -3;
    if (result < 0) { C.shellError(word, errorText(-result)); status = 1; }
  }
  return status;
}

function help(): i32 {
  put('In the shell: cd exit export unset set shift read eval . exec command type wait jobs kill true false : test [ echo printf pwd break continue return local readonly\n');
  put('Syntax: a | b   a && b   a || b   a ; b   a &   < > >> 2> 2>&1 <<END   $x ${x:-y} $? $(a) $((1+2))   if while until for case { } ( )   name() { }\n');
  put('Programs: ls /bin\n');
  return 0;
}
