/** Single functions of the core, for tests of their own. */
import { add, fold } from '../../../servers/net/checksum';
export function checksumOfRange(at: usize, bytes: u32): u32 { return fold(add(0, at, bytes)); }
