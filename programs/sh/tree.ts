/** The syntax tree of the shell. Words stay as they were written (slices of the source, quotes and all) until they are expanded, at every execution. */
import { arenaAllocate } from './arena';

export const SIMPLE: i32 = 1; // words, redirections
export const PIPELINE: i32 = 2; // first..next; flag NEGATED
export const AND: i32 = 3; // first && second
export const OR: i32 = 4;
export const SEQUENCE: i32 = 5; // first..next, each may carry BACKGROUND
export const IF: i32 = 6; // first condition, second then, third else (or 0)
export const WHILE: i32 = 7; // first condition, second body; flag NEGATED = until
export const FOR: i32 = 8; // words[0] the name, the others the values (flag ALL_ARGUMENTS: none were given); second body
export const CASE: i32 = 9; // words[0] the subject; first..next = ARM
export const ARM: i32 = 10; // words patterns; first body (or 0)
export const GROUP: i32 = 11; // first
export const SUBSHELL: i32 = 12; // first
export const FUNCTION: i32 = 13; // words[0] the name; first body

export const NEGATED: i32 = 1;
export const BACKGROUND: i32 = 2;
export const ALL_ARGUMENTS: i32 = 4;

@unmanaged @final export class Word {
  next: Word;
  at: usize;
  length: i32;
}
export function newWord(at: usize, length: i32): Word {
  const word = changetype<Word>(arenaAllocate(offsetof<Word>()));
  word.at = at;
  word.length = length;
  return word;
}

export const INPUT: i32 = 1; // <
export const OUTPUT: i32 = 2; // >
export const APPEND: i32 = 3; // >>
export const DUPLICATE: i32 = 4; // >& <&
export const BOTH: i32 = 5; // &> : stdout and stderr
export const HERE: i32 = 6; // << : target is the body; `literal` when the delimiter was quoted
export const UPDATE: i32 = 7; // <>

@unmanaged @final export class Redirection {
  next: Redirection;
  fd: i32;
  kind: i32;
  literal: i32;
  target: Word;
}
export function newRedirection(fd: i32, kind: i32): Redirection {
  const redirection = changetype<Redirection>(arenaAllocate(offsetof<Redirection>()));
  redirection.fd = fd;
  redirection.kind = kind;
  return redirection;
}

@unmanaged @final export class Tree {
  kind: i32;
  flags: i32;
  /** The source text of this node: what a sub-shell gets to run. */
  start: usize;
  end: usize;
  next: Tree;
  first: Tree;
  second: Tree;
  third: Tree;
  words: Word;
  redirections: Redirection;
}
export function newTree(kind: i32, start: usize): Tree {
  const tree = changetype<Tree>(arenaAllocate(offsetof<Tree>()));
  tree.kind = kind;
  tree.start = start;
  return tree;
}
export const NO_TREE: Tree = changetype<Tree>(0);
export const NO_WORD: Word = changetype<Word>(0);
