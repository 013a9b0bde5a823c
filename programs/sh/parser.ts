/**
 * Recursive descent over the grammar of POSIX.1-2017 2.10, without here-documents inside substitutions. `parse` reads one complete command line (up to a newline
 * at top level) and says GOOD, INCOMPLETE (give me another line and start again) or MALFORMED (`parseError`, the word it stopped at).
 */
import { isName, isNameStart, sliceIs } from '../lib/text';
import * as L from './lexer';
import * as T from './tree';
import { Tree, Redirection, NO_TREE, NO_WORD, newRedirection, newTree, newWord, Word } from './tree';

let status: i32 = 0;
let errorAt: usize = 0;
let errorLength: i32 = 0;
let lastEnd: usize = 0;
let hereFirst: Redirection = changetype<Redirection>(0); // bodies still to be read at the next newline
let hereLast: Redirection = changetype<Redirection>(0);
let depth: i32 = 0;
const MAX_DEPTH: i32 = 100;

export function parseErrorAt(): usize { return errorAt; }
export function parseErrorLength(): i32 { return errorLength; }
/** Behind the command line that was parsed. */
export function parseEnd(): usize { return L.lexPosition(); }

let parsed: Tree = changetype<Tree>(0);
/** The tree of the last `parse` that was GOOD; 0 for an empty line. */
export function parsedTree(): Tree { return parsed; }

export function parse(source: usize, length: i32): i32 {
  L.lexBegin(source, length);
  status = L.GOOD;
  hereFirst = changetype<Redirection>(0);
  depth = 0;
  advance();
  parsed = NO_TREE;
  while (L.token == L.T_NEWLINE) {
    // an empty line is a command line of its own, unless it is the last thing there is
    if (L.lexPosition() >= L.lexEnd()) return L.GOOD;
    advance();
  }
  if (L.token == L.T_END) return L.lexStatus == L.GOOD ? L.GOOD : L.lexStatus;
  const tree = sequence(false);
  if (status == L.GOOD && L.token != L.T_NEWLINE && L.token != L.T_END) fail();
  if (status == L.GOOD && hereFirst) { if (L.token == L.T_END) status = L.INCOMPLETE; }
  if (L.lexStatus != L.GOOD && status == L.GOOD) status = L.lexStatus;
  parsed = tree;
  return status;
}

function advance(): void {
  lastEnd = L.tokenEnd;
  L.lexNext();
  if (L.lexStatus != L.GOOD && status == L.GOOD) status = L.lexStatus;
  if (L.token == L.T_NEWLINE && hereFirst) hereBodies();
}

function fail(): void {
  if (status != L.GOOD) return;
  if (L.token == L.T_END) { status = L.INCOMPLETE; return; }
  status = L.MALFORMED;
  errorAt = L.tokenAt;
  errorLength = <i32>(L.tokenEnd - L.tokenAt);
}

function isWord(literal: string): bool { return L.token == L.T_WORD && sliceIs(L.tokenAt, <i32>(L.tokenEnd - L.tokenAt), literal); }
function expectWord(literal: string): void {
  if (isWord(literal)) advance(); else fail();
}
function newlines(): void { while (L.token == L.T_NEWLINE && status == L.GOOD) advance(); }

function closesList(): bool {
  return L.token == L.T_END || L.token == L.T_CLOSE || L.token == L.T_ARM_END || isWord('then') || isWord('else') || isWord('elif') || isWord('fi') || isWord('do') || isWord('done') || isWord('esac') || isWord('}');
}

/** and-or lists with ; & or (when `many`) newlines between them. */
function sequence(many: bool): Tree {
  const tree = newTree(T.SEQUENCE, L.tokenAt);
  if (++depth > MAX_DEPTH) { fail(); status = L.MALFORMED; errorAt = L.tokenAt; errorLength = 0; return tree; }
  let last = NO_TREE;
  if (many) newlines();
  while (status == L.GOOD) {
    if (many ? closesList() : L.token == L.T_END || L.token == L.T_NEWLINE) break;
    const item = andOr();
    if (status != L.GOOD) break;
    if (last) last.next = item; else tree.first = item;
    last = item;
    if (L.token == L.T_BACKGROUND) { item.flags |= T.BACKGROUND; advance(); }
    else if (L.token == L.T_SEMICOLON) advance();
    else if (L.token != L.T_NEWLINE) break;
    if (many) newlines();
  }
  if (status == L.GOOD && !last) fail();
  tree.end = lastEnd;
  depth--;
  return tree;
}

/** A list inside a construct: must not be empty. */
function block(): Tree { return sequence(true); }

function andOr(): Tree {
  let left = pipeline();
  while (status == L.GOOD && (L.token == L.T_AND || L.token == L.T_OR)) {
    const tree = newTree(L.token == L.T_AND ? T.AND : T.OR, left.start);
    advance();
    newlines();
    tree.first = left;
    tree.second = pipeline();
    tree.end = lastEnd;
    left = tree;
  }
  return left;
}

function pipeline(): Tree {
  const tree = newTree(T.PIPELINE, L.tokenAt);
  while (isWord('!')) { tree.flags ^= T.NEGATED; advance(); }
  tree.first = command();
  let last = tree.first;
  while (status == L.GOOD && L.token == L.T_PIPE) {
    advance();
    newlines();
    last.next = command();
    last = last.next;
  }
  tree.end = lastEnd;
  return tree;
}

function command(): Tree {
  const start = L.tokenAt;
  if (L.token == L.T_OPEN) {
    const tree = newTree(T.SUBSHELL, start);
    advance();
    tree.first = block();
    if (L.token == L.T_CLOSE) advance(); else fail();
    return finished(tree);
  }
  if (L.token != L.T_WORD) {
    if (L.token == L.T_REDIRECT) return simple();
    fail();
    return newTree(T.SIMPLE, start);
  }
  if (isWord('if')) { advance(); return finished(conditional(start)); }
  if (isWord('while') || isWord('until')) {
    const tree = newTree(T.WHILE, start);
    if (isWord('until')) tree.flags |= T.NEGATED;
    advance();
    tree.first = block();
    expectWord('do');
    tree.second = block();
    expectWord('done');
    return finished(tree);
  }
  if (isWord('for')) return finished(loop());
  if (isWord('case')) return finished(choice());
  if (isWord('{')) {
    const tree = newTree(T.GROUP, start);
    advance();
    tree.first = block();
    expectWord('}');
    return finished(tree);
  }
  if (closesList()) { fail(); return newTree(T.SIMPLE, start); }
  return simple();
}

/** Redirections behind a compound command, and its source range. */
function finished(tree: Tree): Tree {
  let last = changetype<Redirection>(0);
  while (status == L.GOOD && L.token == L.T_REDIRECT) {
    const redirection = redirect();
    if (last) last.next = redirection; else tree.redirections = redirection;
    last = redirection;
  }
  tree.end = lastEnd;
  return tree;
}

/** Behind `if` or `elif`. */
function conditional(start: usize): Tree {
  const tree = newTree(T.IF, start);
  tree.first = block();
  expectWord('then');
  tree.second = block();
  if (isWord('elif')) {
    const inner = L.tokenAt;
    advance();
    tree.third = conditional(inner);
    tree.end = lastEnd;
    return tree;
  }
  if (isWord('else')) { advance(); tree.third = block(); }
  expectWord('fi');
  tree.end = lastEnd;
  return tree;
}

function takeWord(): Word {
  if (L.token != L.T_WORD) { fail(); return newWord(L.tokenAt, 0); }
  const word = newWord(L.tokenAt, <i32>(L.tokenEnd - L.tokenAt));
  advance();
  return word;
}

export function isIdentifier(at: usize, length: i32): bool {
  if (length == 0 || !isNameStart(load<u8>(at))) return false;
  for (let i = 1; i < length; i++) if (!isName(load<u8>(at + i))) return false;
  return true;
}

function loop(): Tree {
  const tree = newTree(T.FOR, L.tokenAt);
  advance();
  if (L.token != L.T_WORD || !isIdentifier(L.tokenAt, <i32>(L.tokenEnd - L.tokenAt))) fail();
  tree.words = takeWord();
  let last = tree.words;
  newlines();
  if (isWord('in')) {
    advance();
    while (status == L.GOOD && L.token == L.T_WORD) { last.next = takeWord(); last = last.next; }
  } else tree.flags |= T.ALL_ARGUMENTS;
  if (L.token == L.T_SEMICOLON) advance();
  newlines();
  expectWord('do');
  tree.second = block();
  expectWord('done');
  return tree;
}

function choice(): Tree {
  const tree = newTree(T.CASE, L.tokenAt);
  advance();
  tree.words = takeWord();
  newlines();
  expectWord('in');
  newlines();
  let last = NO_TREE;
  while (status == L.GOOD && !isWord('esac')) {
    const arm = newTree(T.ARM, L.tokenAt);
    if (L.token == L.T_OPEN) advance();
    arm.words = takeWord();
    let pattern = arm.words;
    while (status == L.GOOD && L.token == L.T_PIPE) { advance(); pattern.next = takeWord(); pattern = pattern.next; }
    if (L.token == L.T_CLOSE) advance(); else fail();
    newlines();
    if (status == L.GOOD && L.token != L.T_ARM_END && !isWord('esac')) arm.first = block();
    if (L.token == L.T_ARM_END) { advance(); newlines(); } else if (!isWord('esac')) fail();
    arm.end = lastEnd;
    if (last) last.next = arm; else tree.first = arm;
    last = arm;
  }
  expectWord('esac');
  return tree;
}

function simple(): Tree {
  const tree = newTree(T.SIMPLE, L.tokenAt);
  let word = NO_WORD;
  let redirection = changetype<Redirection>(0);
  while (status == L.GOOD) {
    if (L.token == L.T_REDIRECT) {
      const fresh = redirect();
      if (redirection) redirection.next = fresh; else tree.redirections = fresh;
      redirection = fresh;
    } else if (L.token == L.T_WORD) {
      const fresh = takeWord();
      if (word) word.next = fresh; else tree.words = fresh;
      word = fresh;
    } else if (L.token == L.T_OPEN && word && word == tree.words && !tree.redirections && isIdentifier(word.at, word.length)) {
      tree.kind = T.FUNCTION;
      advance();
      if (L.token == L.T_CLOSE) advance(); else fail();
      newlines();
      tree.first = command();
      break;
    } else break;
  }
  tree.end = lastEnd;
  return tree;
}

function redirect(): Redirection {
  const operator = L.redirectOperator;
  const kind = operator == L.R_LESS ? T.INPUT : operator == L.R_GREAT ? T.OUTPUT : operator == L.R_APPEND ? T.APPEND
    : operator == L.R_AND_GREAT ? T.BOTH : operator == L.R_UPDATE ? T.UPDATE : operator == L.R_HERE || operator == L.R_HERE_TABS ? T.HERE : T.DUPLICATE;
  const redirection = newRedirection(L.redirectFd, kind);
  advance();
  if (L.token != L.T_WORD) fail();
  if (kind == T.HERE) {
    redirection.literal = operator == L.R_HERE_TABS ? 2 : 0;
    // queued before the delimiter is consumed: the newline right behind it is where the body begins
    redirection.target = newWord(L.tokenAt, <i32>(L.tokenEnd - L.tokenAt));
    if (hereFirst) pendingNext(hereLast, redirection); else hereFirst = redirection;
    hereLast = redirection;
    advance();
    return redirection;
  }
  redirection.target = takeWord();
  return redirection;
}

// The redirections that wait for a body form a chain through `pending`, beside `next`, which belongs to the command.
const PENDING: i32 = 16;
const pending: usize = memory.data(128);
let pendingCount: i32 = 0;
function pendingNext(last: Redirection, redirection: Redirection): void {
  if (pendingCount == PENDING) { fail(); return; }
  store<u32>(pending + (pendingCount << 3), <u32>changetype<usize>(last));
  store<u32>(pending + (pendingCount << 3), <u32>changetype<usize>(redirection), 4);
  pendingCount++;
}
function pendingAfter(redirection: Redirection): Redirection {
  for (let i = 0; i < pendingCount; i++) {
    if (load<u32>(pending + (i << 3)) == <u32>changetype<usize>(redirection)) return changetype<Redirection>(<usize>load<u32>(pending + (i << 3), 4));
  }
  return changetype<Redirection>(0);
}

/** At a newline: the lines up to each delimiter become the bodies. */
function hereBodies(): void {
  let p = L.lexPosition();
  const end = L.lexEnd();
  for (let one = hereFirst; one; one = pendingAfter(one)) {
    const delimiter = one.target;
    let from = delimiter.at, length = delimiter.length;
    const tabs = one.literal == 2, quote = load<u8>(from);
    one.literal = 0;
    if ((quote == 39 || quote == 34) && length >= 2) { from++; length -= 2; one.literal = 1; }
    else if (quote == 92) { from++; length--; one.literal = 1; }
    const body = p;
    let found = false;
    while (p < end) {
      let line = p;
      while (p < end && load<u8>(p) != 10) p++;
      const stop = p;
      if (p < end) p++;
      if (tabs) while (line < stop && load<u8>(line) == 9) line++;
      if (<i32>(stop - line) == length && sameSlice(line, from, length)) { one.target = newWord(body, <i32>(line - body)); found = true; break; }
    }
    if (!found) { if (status == L.GOOD) status = L.INCOMPLETE; break; }
  }
  hereFirst = changetype<Redirection>(0);
  pendingCount = 0;
  L.lexSeek(p);
}
function sameSlice(a: usize, b: usize, length: i32): bool {
  for (let i = 0; i < length; i++) if (load<u8>(a + i) != load<u8>(b + i)) return false;
  return true;
}
