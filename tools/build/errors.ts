/**
 * The one error of the build. Whatever the compiler cannot do is refused loudly, with the guest function and the TypeScript line
 * that caused it; a person can act on the message without knowing the compiler.
 */
export class BuildError extends Error {
  readonly reason: string;
  /** Guest function or stub, when known. */
  readonly where: string;
  constructor(reason: string, where = '') {
    super(where === '' ? reason : `${reason} (in ${where})`);
    this.name = 'BuildError';
    this.reason = reason;
    this.where = where;
  }
}
