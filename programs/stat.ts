/** stat path...: what the file system knows about a file. */
import { argument, argumentCount, begin, complain, failed, finish, operands, option, usage } from './lib/program';
import { S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, statBlocks, statGid, statInode, statLinks, statMode, statModified, statOf, statSize, statUid } from './lib/files';
import { putDate, putMode } from './lib/listing';
import { put, putByte, putNumber, putOctal, putText } from './lib/output';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  if (option('') != 0 || operands() == argumentCount) return usage('stat path...');
  for (let i = operands(); i < argumentCount; i++) {
    const status = statOf(argument(i), true);
    if (status < 0) { complain(argument(i), status); continue; }
    const kind = statMode() & S_IFMT;
    put('  file: '); putText(argument(i));
    put('\n  kind: '); put(kind == S_IFDIR ? 'directory' : kind == S_IFLNK ? 'symbolic link' : kind == S_IFCHR ? 'terminal' : kind == S_IFIFO ? 'pipe' : 'file');
    put('\n  size: '); putNumber(statSize()); put(' bytes in '); putNumber(statBlocks()); put(' blocks of 512');
    put('\n inode: '); putNumber(statInode()); put(', links '); putNumber(statLinks());
    put('\n  mode: '); putOctal(statMode() & 0xfff, 4); putByte(32); putMode(statMode()); put(', owner '); putNumber(statUid()); putByte(58); putNumber(statGid());
    put('\nchange: '); putDate(statModified()); putByte(10);
  }
  return failed();
}
