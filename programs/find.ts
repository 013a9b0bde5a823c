/** find [path...] [-name pattern] [-type f|d|l]: paths below directories that fit. */
import { argument, argumentCount, begin, complain, complainText, failed, finish } from './lib/program';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, enterDirectory, joinPath, leaveDirectory, listDirectory, releaseNames, statMode, statOf } from './lib/files';
import { globMatches } from './lib/glob';
import { List, release } from './lib/memory';
import { putByte, putText } from './lib/output';
import { Text, baseName, copyLiteral, same } from './lib/text';

let pattern: Text = 0, kind: u32 = 0;
const DOT: usize = memory.data(2);

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  let paths = 1;
  while (paths < argumentCount && load<u8>(argument(paths)) != 45) paths++;
  for (let i = paths; i < argumentCount; i += 2) {
    const what = argument(i), value = argument(i + 1);
    if (!value) { complainText(what, 'needs a value'); return 2; }
    if (same(what, '-name')) pattern = value;
    else if (same(what, '-type')) {
      kind = same(value, 'f') ? S_IFREG : same(value, 'd') ? S_IFDIR : same(value, 'l') ? S_IFLNK : 0;
      if (!kind) { complainText(value, 'unknown type'); return 2; }
    } else { complainText(what, 'unknown test'); return 2; }
  }
  copyLiteral(DOT, '.');
  if (paths == 1) walk(DOT);
  for (let i = 1; i < paths; i++) walk(argument(i));
  return failed();
}

function walk(path: Text): void {
  const status = statOf(path, true);
  if (status < 0) { complain(path, status); return; }
  const type = statMode() & S_IFMT;
  if ((!kind || type == kind) && (!pattern || globMatches(pattern, baseName(path)))) { putText(path); putByte(10); }
  if (type != S_IFDIR || !enterDirectory(path)) return;
  const names = List.create(), listed = listDirectory(path, names, false);
  if (listed < 0) complain(path, listed);
  for (let i = 0; i < names.length; i++) {
    const inner = joinPath(path, names.get(i));
    walk(inner);
    release(inner);
  }
  releaseNames(names);
  leaveDirectory();
}
