/** ls [-l] [-a] [-d] [-1] [-R] [path...]: names in directories, in byte order, one per line, or in columns when the output is a terminal. */
import { argument, argumentCount, begin, complain, failed, finish, operands, option, usage } from './lib/program';
import { S_IFDIR, S_IFLNK, S_IFMT, enterDirectory, joinPath, leaveDirectory, listDirectory, releaseNames, sortTexts, statBlocks, statInode, statMode, statOf } from './lib/files';
import { putDetails } from './lib/listing';
import { put, putByte, putBytes, putNumber, putRight, putSpaces, putText } from './lib/output';
import { List, allocate, release } from './lib/memory';
import { sysIsTerminal, sysReadlink } from './lib/sys';
import { Text, copyLiteral, lengthOf } from './lib/text';

let long: bool = false, all: bool = false, columns: bool = false, asFile: bool = false, deep: bool = false, inodes: bool = false;
const TARGET: usize = memory.data(1024);
const DOT: usize = memory.data(4);
const SCREEN: i32 = 80;

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  columns = sysIsTerminal(1);
  let letter: u32;
  while ((letter = option('lad1Ri')) != 0) {
    if (letter == 108) long = true;
    else if (letter == 97) all = true;
    else if (letter == 100) asFile = true;
    else if (letter == 49) columns = false;
    else if (letter == 82) deep = true;
    else if (letter == 105) inodes = true;
    else return usage('ls [-l] [-a] [-d] [-i] [-1] [-R] [path...]');
  }
  const start = operands();
  if (start == argumentCount) {
    copyLiteral(DOT, '.');
    if (asFile) entry(DOT, DOT); else directory(DOT, deep);
    return failed();
  }
  const files = List.create(), directories = List.create();
  for (let i = start; i < argumentCount; i++) {
    const path = argument(i);
    const status = statOf(path, long);
    if (status < 0) { complain(path, status); continue; }
    if ((statMode() & S_IFMT) == S_IFDIR && !asFile) directories.push(path); else files.push(path);
  }
  sortTexts(files.at, files.length);
  sortTexts(directories.at, directories.length);
  show(0, files);
  for (let i = 0; i < directories.length; i++) {
    if (i || files.length) putByte(10);
    directory(directories.get(i), deep || argumentCount - start > 1);
  }
  return failed();
}

function directory(path: Text, heading: bool): void {
  if (!deep) { oneDirectory(path, heading); return; }
  const status = statOf(path, false);
  if (status < 0) { complain(path, status); return; }
  if (!enterDirectory(path)) return;
  oneDirectory(path, heading);
  leaveDirectory();
}

function oneDirectory(path: Text, heading: bool): void {
  const names = List.create();
  const status = listDirectory(path, names, all);
  if (status < 0) { complain(path, status); releaseNames(names); return; }
  if (heading) { putText(path); put(':\n'); }
  if (!all) hideDots(names);
  if (long) total(path, names);
  show(path, names);
  if (deep) {
    for (let i = 0; i < names.length; i++) {
      const name = names.get(i);
      if (load<u8>(name) == 46 && (!load<u8>(name, 1) || (load<u8>(name, 1) == 46 && !load<u8>(name, 2)))) continue;
      const inner = joinPath(path, name);
      if (statOf(inner, true) >= 0 && (statMode() & S_IFMT) == S_IFDIR) { putByte(10); directory(inner, true); }
      release(inner);
    }
  }
  releaseNames(names);
}

function hideDots(names: List): void {
  let kept = 0;
  for (let i = 0; i < names.length; i++) {
    if (load<u8>(names.get(i)) == 46) release(names.get(i));
    else names.set(kept++, names.get(i));
  }
  names.length = kept;
}

function total(path: Text, names: List): void {
  let blocks: u32 = 0;
  for (let i = 0; i < names.length; i++) {
    const full = joinPath(path, names.get(i));
    if (statOf(full, true) >= 0) blocks += statBlocks();
    release(full);
  }
  put('total '); putNumber(blocks >> 1); putByte(10);
}

function show(path: Text, names: List): void {
  if (!columns || long) {
    for (let i = 0; i < names.length; i++) {
      const name = names.get(i);
      if (!long && !inodes) { putText(name); putByte(10); continue; }
      const full = path ? joinPath(path, name) : name;
      entry(full, name);
      if (path) release(full);
    }
    return;
  }
  let width = 1;
  for (let i = 0; i < names.length; i++) width = max(width, lengthOf(names.get(i)) + 2);
  const across = max(1, SCREEN / width), down = (names.length + across - 1) / across;
  for (let row = 0; row < down; row++) {
    for (let i = row; i < names.length; i += down) {
      putText(names.get(i));
      if (i + down < names.length) putSpaces(width - lengthOf(names.get(i)));
    }
    putByte(10);
  }
}

function entry(path: Text, name: Text): void {
  const status = statOf(path, true);
  if (status < 0) { complain(path, status); return; }
  if (inodes) { putRight(statInode(), 7); putByte(32); }
  if (long) putDetails();
  putText(name);
  if (long && (statMode() & S_IFMT) == S_IFLNK) {
    const bytes = sysReadlink(path, TARGET, 1024);
    if (bytes > 0) { put(' -> '); putBytes(TARGET, bytes); }
  }
  putByte(10);
}
