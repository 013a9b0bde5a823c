/**
 * Errors that a person sees. A UserError names the thing, the reason and, where there is one, the next step; it is printed without a
 * stack. Everything else that reaches the top is our own mistake and is printed with one.
 */
export const EXIT = { ok: 0, failure: 1, usage: 2, timeout: 124, internal: 125, notFound: 127, interrupted: 130, pipe: 141 } as const;

export class UserError extends Error {
  readonly status: number;
  constructor(message: string, status: number = EXIT.failure) {
    super(message);
    this.name = 'UserError';
    this.status = status;
  }
}

/** What the host's file system may answer to anybody: the message names the path, a stack adds nothing. */
const HOST_REFUSALS = new Set(['ENOENT', 'EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EISDIR', 'ENOTDIR', 'EMFILE', 'EDQUOT', 'ELOOP', 'ENAMETOOLONG']);

/** Prints an error as the command line does and returns the exit status. */
export function reportError(error: unknown): number {
  if (error instanceof Error && 'status' in error && typeof error.status === 'number') {
    process.stderr.write(`kintsugi: ${error.message}\n`);
    return error.status;
  }
  // Typed errors of the layers below (disk, loader, build) carry a `reason` and a message fit for people.
  if (error instanceof Error && 'reason' in error) {
    process.stderr.write(`kintsugi: ${error.message}\n`);
    return EXIT.failure;
  }
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  if (error instanceof Error && (error.name === 'BoardError' || (code !== undefined && HOST_REFUSALS.has(code)))) {
    process.stderr.write(`kintsugi: ${error.message}\n`);
    return EXIT.failure;
  }
  process.stderr.write(`kintsugi: internal error: ${error instanceof Error ? error.stack : String(error)}\n`);
  return EXIT.internal;
}
