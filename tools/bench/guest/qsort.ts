/** Quicksort (Hoare partition, middle pivot) of 8,192 words: unpredictable branches, loads both ways. */
const COUNT: u32 = 8192;
const array = memory.data(32768, 16);

function sort(lo: i32, hi: i32): void {
  while (lo < hi) {
    const pivot = load<u32>(array + (((lo + hi) >> 1) << 2));
    let i = lo - 1, j = hi + 1;
    while (true) {
      do i++; while (load<u32>(array + (i << 2)) < pivot);
      do j--; while (load<u32>(array + (j << 2)) > pivot);
      if (i >= j) break;
      const t = load<u32>(array + (i << 2));
      store<u32>(array + (i << 2), load<u32>(array + (j << 2)));
      store<u32>(array + (j << 2), t);
    }
    sort(lo, j);
    lo = j + 1;
  }
}

export function qsort(): u32 {
  let x: u32 = 1;
  for (let i: u32 = 0; i < COUNT; i++) { x = x * 1103515245 + 12345; store<u32>(array + (i << 2), x >> 1); }
  sort(0, COUNT - 1);
  let sum: u32 = 0;
  for (let i: u32 = 0; i < COUNT; i++) sum = sum * 31 + load<u32>(array + (i << 2));
  return sum;
}
