/** One line of `ls -l`: type and permission letters, links, owner, size, time, name. Pure formatting of the last stat record. */
import { S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, statGid, statLinks, statMode, statModified, statSize, statUid } from './files';
import { put, putByte, putNumber, putRight, putZeros } from './output';

export function putMode(mode: u32): void {
  const kind = mode & S_IFMT;
  putByte(kind == S_IFDIR ? 100 : kind == S_IFLNK ? 108 : kind == S_IFCHR ? 99 : kind == S_IFIFO ? 112 : 45);
  for (let shift: i32 = 6; shift >= 0; shift -= 3) {
    const bits = mode >> shift;
    putByte(bits & 4 ? 114 : 45);
    putByte(bits & 2 ? 119 : 45);
    putByte(bits & 1 ? 120 : 45);
  }
}

export function putDetails(): void {
  putMode(statMode());
  putRight(statLinks(), 4);
  putByte(32); putNumber(statUid());
  putByte(32); putNumber(statGid());
  putRight(statSize(), 10);
  putByte(32);
  putDate(statModified());
  putByte(32);
}

/** Days since 1970 to a date of the Gregorian calendar (H. Hinnant, "chrono-compatible low-level date algorithms"). */
let year: i32 = 0, month: i32 = 0, day: i32 = 0;
export function civil(days: i32): void {
  const shifted = days + 719468, era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
  const dayOfEra = shifted - era * 146097;
  const yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146096) / 365;
  const dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100);
  const march = (5 * dayOfYear + 2) / 153;
  day = dayOfYear - (153 * march + 2) / 5 + 1;
  month = march < 10 ? march + 3 : march - 9;
  year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
}
export function civilYear(): i32 { return year; }
export function civilMonth(): i32 { return month; }
export function civilDay(): i32 { return day; }

/** "2026-11-21 05:14", UTC. */
export function putDate(seconds: u32): void {
  civil(<i32>(seconds / 86400));
  const second = seconds % 86400;
  putZeros(year, 4); put('-'); putZeros(month, 2); put('-'); putZeros(day, 2);
  putByte(32);
  putZeros(second / 3600, 2); put(':'); putZeros(second / 60 % 60, 2);
}
