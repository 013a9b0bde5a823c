/** Linux error numbers (asm-generic/errno-base.h, errno.h) that process answers with, as negative values, and what kernel statuses become. */
import { ERR_FAULT, ERR_GONE, ERR_MEMORY, ERR_OK, ERR_RANGE, ERR_RIGHTS } from 'kintsugi/abi';

export const EPERM: i32 = 1;
export const ENOENT: i32 = 2;
export const ESRCH: i32 = 3;
export const EINTR: i32 = 4;
export const EIO: i32 = 5;
export const E2BIG: i32 = 7;
export const ENOEXEC: i32 = 8;
export const EBADF: i32 = 9;
export const ECHILD: i32 = 10;
export const EAGAIN: i32 = 11;
export const ENOMEM: i32 = 12;
export const EACCES: i32 = 13;
export const EFAULT: i32 = 14;
export const ENODEV: i32 = 19;
export const ENOTDIR: i32 = 20;
export const EISDIR: i32 = 21;
export const EINVAL: i32 = 22;
export const ENFILE: i32 = 23;
export const EMFILE: i32 = 24;
export const ENOTTY: i32 = 25;
export const EFBIG: i32 = 27;
export const ESPIPE: i32 = 29;
export const EPIPE: i32 = 32;
export const ERANGE: i32 = 34;
export const ENAMETOOLONG: i32 = 36;
export const ENOSYS: i32 = 38;
export const ELOOP: i32 = 40;

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
