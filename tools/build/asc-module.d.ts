/**
 * The part of `assemblyscript/asc` that we call. The package's own typings declare globals of the guest language (a `console` without
 * `error`) for every file of a project that sees them.
 */
export interface AscIo {
  readFile?(name: string, base: string): string | null | Promise<string | null>;
  writeFile?(name: string, data: string | Uint8Array, base: string): void | Promise<void>;
  listFiles?(folder: string, base: string): string[] | null;
  stdout?: { write(text: string): void };
  stderr?: { write(text: string): void };
}
export interface AscResult { readonly error: Error | null; readonly stdout: { toString(): string }; readonly stderr: { toString(): string } }
export function main(argv: readonly string[], io?: AscIo): Promise<AscResult>;
