/** Error numbers and what a person reads. */
import { EPERM, ENOENT, ESRCH, EINTR, EIO, E2BIG, ENOEXEC, EBADF, ECHILD, EAGAIN, ENOMEM, EACCES, EFAULT, EBUSY, EEXIST, EXDEV, ENOTDIR, EISDIR, EINVAL, ENFILE, EMFILE, ENOTTY, EFBIG, ENOSPC, ESPIPE, EROFS, EMLINK, EPIPE, ERANGE, ENAMETOOLONG, ENOSYS, ENOTEMPTY, ELOOP, EOVERFLOW, EPROTO, ENOTSOCK, EDESTADDRREQ, EMSGSIZE, EPROTOTYPE, ENOPROTOOPT, EPROTONOSUPPORT, EOPNOTSUPP, EAFNOSUPPORT, EADDRINUSE, EADDRNOTAVAIL, ENETDOWN, ENETUNREACH, ECONNABORTED, ECONNRESET, ENOBUFS, EISCONN, ENOTCONN, ETIMEDOUT, ECONNREFUSED, EHOSTUNREACH, EALREADY, EINPROGRESS } from '../../servers/lib/errno';
export * from '../../servers/lib/errno';

export function errorText(errno: i32): string {
  switch (errno) {
    case EPERM: return 'operation not permitted';
    case ENOENT: return 'no such file or directory';
    case ESRCH: return 'no such process';
    case EINTR: return 'interrupted';
    case EIO: return 'input/output error';
    case E2BIG: return 'argument list too long';
    case ENOEXEC: return 'not an executable of this system';
    case EBADF: return 'bad file descriptor';
    case ECHILD: return 'no child processes';
    case EAGAIN: return 'resource temporarily unavailable';
    case ENOMEM: return 'out of memory';
    case EACCES: return 'permission denied';
    case EFAULT: return 'bad address';
    case EBUSY: return 'device or resource busy';
    case EEXIST: return 'file exists';
    case EXDEV: return 'not on the same file system';
    case ENOTDIR: return 'not a directory';
    case EISDIR: return 'is a directory';
    case EINVAL: return 'invalid argument';
    case ENFILE: return 'too many open files in the system';
    case EMFILE: return 'too many open files';
    case ENOTTY: return 'not a terminal';
    case EFBIG: return 'file too large';
    case ENOSPC: return 'no space left on device';
    case ESPIPE: return 'cannot seek';
    case EROFS: return 'read-only file system';
    case EMLINK: return 'too many links';
    case EPIPE: return 'broken pipe';
    case ERANGE: return 'result too large';
    case ENAMETOOLONG: return 'file name too long';
    case ENOSYS: return 'function not implemented';
    case ENOTEMPTY: return 'directory not empty';
    case ELOOP: return 'too many levels of symbolic links';
    case EOVERFLOW: return 'value too large';
    case EPROTO: return 'protocol error';
    case ENOTSOCK: return 'not a socket';
    case EDESTADDRREQ: return 'destination address required';
    case EMSGSIZE: return 'message too long';
    case EPROTOTYPE: return 'protocol wrong type for socket';
    case ENOPROTOOPT: return 'protocol not available';
    case EPROTONOSUPPORT: return 'protocol not supported';
    case EOPNOTSUPP: return 'operation not supported';
    case EAFNOSUPPORT: return 'address family not supported';
    case EADDRINUSE: return 'address already in use';
    case EADDRNOTAVAIL: return 'cannot assign requested address';
    case ENETDOWN: return 'network is down';
    case ENETUNREACH: return 'network is unreachable';
    case ECONNABORTED: return 'connection aborted';
    case ECONNRESET: return 'connection reset by peer';
    case ENOBUFS: return 'no buffer space available';
    case EISCONN: return 'already connected';
    case ENOTCONN: return 'not connected';
    case ETIMEDOUT: return 'connection timed out';
    case ECONNREFUSED: return 'connection refused';
    case EHOSTUNREACH: return 'no route to host';
    case EALREADY: return 'operation already in progress';
    case EINPROGRESS: return 'operation in progress';
  }
  return 'unknown error';
}
