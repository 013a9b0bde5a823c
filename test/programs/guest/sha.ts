// Entry for tests: the digest code of sha256sum.
export { shaBegin, shaUpdate, shaEnd } from '../../../programs/lib/sha256';
export { globMatches } from '../../../programs/lib/glob';
export { matches } from '../../../programs/lib/match';
