/**
 * Copying and removing files and whole trees, shared by cp, mv and rm. Each function complains by itself, names the guilty path, goes on
 * with the rest of a tree, and returns whether everything went well.
 */
import { EISDIR, EEXIST, ENOENT } from './errors';
import { complain, complainText } from './program';
import { O_CREAT, O_RDONLY, O_TRUNC, O_WRONLY, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, enterDirectory, isDirectory, joinPath, leaveDirectory, listDirectory, openRetry, releaseNames, statInode, statMode, statOf } from './files';
import { copyFailedOnWrite, copyStream } from './copy';
import { List, allocate, release } from './memory';
import { sysClose, sysMkdir, sysReadlink, sysRmdir, sysSymlink, sysUnlink } from './sys';
import { Text, baseName, copyText, lengthOf } from './text';

/** Where `source` goes when `target` names a directory: inside it, under its own name. Allocated when different from `target`. */
export function destination(source: Text, target: Text): Text {
  return isDirectory(target) ? joinPath(target, stripped(baseName(source))) : target;
}
function stripped(name: Text): Text {
  let end = lengthOf(name);
  while (end > 1 && load<u8>(name + end - 1) == 47) end--;
  const copy = allocate(end + 1);
  memory.copy(copy, name, end);
  store<u8>(copy + end, 0);
  return copy;
}

export function copyFile(source: Text, target: Text): bool {
  let status = statOf(source, false);
  if (status < 0) { complain(source, status); return false; }
  const inode = statInode(), mode = statMode() & 0xfff;
  if (statOf(target, false) >= 0 && statInode() == inode) { complainText(source, 'is the same file as the target'); return false; }
  const from = openRetry(source, O_RDONLY, 0);
  if (from < 0) { complain(source, from); return false; }
  const to = openRetry(target, O_WRONLY | O_CREAT | O_TRUNC, mode);
  if (to < 0) { complain(target, to); sysClose(from); return false; }
  status = copyStream(from, to);
  if (status < 0) complain(copyFailedOnWrite() ? target : source, status);
  sysClose(from);
  const closed = sysClose(to);
  if (status >= 0 && closed < 0) { complain(target, closed); return false; }
  return status >= 0;
}

/** Is `inner` the directory `outer` or a path below it (as written)? Copying there would never end. */
function below(outer: Text, inner: Text): bool {
  const length = lengthOf(outer);
  for (let i = 0; i < length; i++) if (load<u8>(outer + i) != load<u8>(inner + i)) return false;
  const next = load<u8>(inner + length);
  return next == 0 || next == 47;
}

export function copyTree(source: Text, target: Text): bool {
  let status = statOf(source, true);
  if (status < 0) { complain(source, status); return false; }
  const kind = statMode() & S_IFMT, mode = statMode() & 0xfff;
  if (kind == S_IFLNK) return copyLink(source, target);
  if (kind == S_IFREG) return copyFile(source, target);
  if (kind != S_IFDIR) { complainText(source, 'neither file, link nor directory: not copied'); return false; }
  if (below(source, target)) { complainText(source, 'cannot be copied into itself'); return false; }
  if (!enterDirectory(source)) return false;
  status = sysMkdir(target, mode);
  if (status < 0 && !(status == -EEXIST && isDirectory(target))) { complain(target, status); leaveDirectory(); return false; }
  const names = List.create();
  status = listDirectory(source, names, false);
  if (status < 0) complain(source, status);
  let good = status >= 0;
  for (let i = 0; i < names.length; i++) {
    const from = joinPath(source, names.get(i)), to = joinPath(target, names.get(i));
    if (!copyTree(from, to)) good = false;
    release(from);
    release(to);
  }
  releaseNames(names);
  leaveDirectory();
  return good;
}

function copyLink(source: Text, target: Text): bool {
  const at = allocate(1025);
  const bytes = sysReadlink(source, at, 1024);
  if (bytes < 0) { complain(source, bytes); release(at); return false; }
  store<u8>(at + bytes, 0);
  let status = sysSymlink(at, target);
  if (status == -EEXIST) { sysUnlink(target); status = sysSymlink(at, target); }
  if (status < 0) complain(target, status);
  release(at);
  return status >= 0;
}

/** `force`: what is not there is no failure. */
export function removeTree(path: Text, recursive: bool, force: bool): bool {
  let status = statOf(path, true);
  if (status < 0) {
    if (force && status == -ENOENT) return true;
    complain(path, status);
    return false;
  }
  if ((statMode() & S_IFMT) != S_IFDIR) {
    status = sysUnlink(path);
    if (status < 0) complain(path, status);
    return status >= 0;
  }
  if (!recursive) { complain(path, -EISDIR); return false; }
  if (!enterDirectory(path)) return false;
  const names = List.create();
  status = listDirectory(path, names, false);
  if (status < 0) complain(path, status);
  let good = status >= 0;
  for (let i = 0; i < names.length; i++) {
    const inner = joinPath(path, names.get(i));
    if (!removeTree(inner, true, force)) good = false;
    release(inner);
  }
  releaseNames(names);
  leaveDirectory();
  if (!good) return false;
  status = sysRmdir(path);
  if (status < 0) complain(path, status);
  return status >= 0;
}
