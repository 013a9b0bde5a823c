/** Error numbers in words, and what kernel statuses become. */
import { ERR_FAULT, ERR_GONE, ERR_MEMORY, ERR_OK, ERR_RANGE, ERR_RIGHTS } from 'kintsugi/abi';
import { EPERM, ENOENT, EINTR, EIO, E2BIG, ENOEXEC, EAGAIN, ENOMEM, EACCES, EFAULT, ENODEV, ENOTDIR, EISDIR, ENFILE, ENAMETOOLONG, ELOOP } from '../lib/errno';
export * from '../lib/errno';

/** Why a program could not be started, in words. */
export function errnoText(errno: i32): string {
  switch (errno) {
    case EPERM: return 'operation not permitted';
    case ENOENT: return 'no such file';
    case EIO: return 'input/output error (the disk, or the file system on it, is damaged)';
    case E2BIG: return 'arguments too long';
    case ENOEXEC: return 'not a program of this system';
    case EAGAIN: return 'too many programs';
    case ENOMEM: return 'not enough memory';
    case EACCES: return 'permission denied: not executable';
    case ENODEV: return 'no file system (no disk, or no ext2 on it)';
    case ENOTDIR: return 'not a directory';
    case EISDIR: return 'is a directory';
    case ENFILE: return 'too many open files';
    case ENAMETOOLONG: return 'name too long';
    case ELOOP: return 'too many symbolic links';
  }
  return 'unknown error';
}

/** A kernel status of an operation on a program's memory as 0 or a negative errno. */
export function errnoOf(status: u32): i32 {
  switch (status) {
    case ERR_OK: return 0;
    case ERR_MEMORY: return -ENOMEM;
    case ERR_FAULT: case ERR_RANGE: case ERR_RIGHTS: return -EFAULT;
    case ERR_GONE: return -EINTR;
  }
  return -EIO;
}
