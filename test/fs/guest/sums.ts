/** Exports for test/fs/checksum.test.ts. */
export { changed, checksum, wordChange } from '../../../servers/lib/checksum';
