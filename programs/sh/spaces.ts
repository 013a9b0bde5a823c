/** Behind blanks and newlines in [at, end). */
export function skipSpaces(at: usize, end: usize): usize {
  while (at < end && (load<u8>(at) == 32 || load<u8>(at) - 9 < 5)) at++;
  return at;
}
