/**
 * process -> fs (worker). Paths and file data travel in the shared data area (offset, bytes); fs checks every range.
 * Status 0 or a negative Linux errno. Files are named by inode and a file id chosen by process (so a restart can re-open by id).
 */
export const FS = {
  boundMs: 15000, // in which an entry is taken and, unless it waits for the outside world, answered: later is a hang
  dataBytes: 1 << 20,
  ops: {
    open: { op: 1, args: ['file id', 'directory inode', 'path offset', 'path bytes', 'flags (Linux O_*)', 'mode'], results: ['inode', 'mode', 'size lo', 'size hi'], readonly: false },
    close: { op: 2, args: ['file id'], results: [], readonly: false },
    read: { op: 3, args: ['inode', 'position lo', 'position hi', 'data offset', 'bytes'], results: ['bytes'], readonly: true },
    write: { op: 4, args: ['inode', 'position lo', 'position hi', 'data offset', 'bytes', 'flags append=1'], results: ['bytes', 'end position lo', 'end position hi'], readonly: false },
    truncate: { op: 5, args: ['inode', 'size lo', 'size hi'], results: [], readonly: false },
    stat: { op: 6, args: ['directory inode', 'path offset', 'path bytes (0: the inode itself)', 'result offset', 'flags nofollow=1'], results: ['inode'], readonly: true },
    readdir: { op: 7, args: ['inode', 'position', 'result offset', 'bytes'], results: ['bytes', 'next position'], readonly: true },
    mkdir: { op: 8, args: ['directory inode', 'path offset', 'path bytes', 'mode'], results: ['inode'], readonly: false },
    unlink: { op: 9, args: ['directory inode', 'path offset', 'path bytes'], results: [], readonly: false },
    rmdir: { op: 10, args: ['directory inode', 'path offset', 'path bytes'], results: [], readonly: false },
    rename: { op: 11, args: ['old directory inode', 'old offset', 'old bytes', 'new directory inode', 'new offset', 'new bytes'], results: [], readonly: false },
    link: { op: 12, args: ['directory inode', 'old offset', 'old bytes', 'new directory', 'new offset', 'new bytes'], results: [], readonly: false },
    symlink: { op: 13, args: ['directory inode', 'path offset', 'path bytes', 'target offset', 'target bytes'], results: ['inode'], readonly: false },
    readlink: { op: 14, args: ['directory inode', 'path offset', 'path bytes', 'result offset', 'bytes'], results: ['bytes'], readonly: true },
    chmod: { op: 15, args: ['directory inode', 'path offset', 'path bytes', 'mode'], results: [], readonly: false },
    sync: { op: 16, args: [], results: [], readonly: false },
    retain: { op: 18, args: ['ids offset (u32 each)', 'number of ids'], results: ['closed'], readonly: false }, // a restarted process: these files are still open, close the others
    statfs: { op: 17, args: ['result offset'], results: ['free blocks', 'blocks', 'block size'], readonly: true },
  },
  /** Result of stat, u32 fields at byte offsets. */
  stat: { inode: 0, mode: 4, links: 8, uid: 12, gid: 16, sizeLo: 20, sizeHi: 24, mtime: 28, ctime: 32, atime: 36, blocks512: 40, size: 48 },
  /** Directory entry in readdir: {inode u32, next position u32, type u8, name bytes u8, name...} padded to 4. */
  dirent: { inode: 0, next: 4, type: 8, nameBytes: 9, name: 10 },
} as const;
