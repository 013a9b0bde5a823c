/**
 * The life of a program: `begin` finds arguments, environment and heap in the startup page; `complain` says what went wrong on stderr in the
 * form "name: thing: reason"; `finish` flushes and exits. Every program is
 *
 *   export function main(page: usize): void { begin(page); finish(run()); }
 *
 * and its `run` returns the exit status: 0 done, 1 failed, 2 used wrongly.
 */
import * as P from 'kintsugi/protocols';
import { errorText } from './errors';
import { useHeap } from './memory';
import { flush, outputFailed, put, putByte, putText, toStream } from './output';
import { sysExit, useEndpoint } from './sys';
import { Text, isDigit, lengthOf, parseNumber, numberEnd, baseName, same } from './text';

let startup: usize = 0;
let first: usize = 0; // argv[0]
let environmentAt: usize = 0;
export let argumentCount: i32 = 0;
let failures: i32 = 0;

export function begin(page: usize): void {
  startup = page;
  const handles = <i32>load<u32>(page + P.STARTUP_FIELDS_HANDLE_COUNT);
  for (let i = 0; i < handles; i++) {
    const entry = page + P.STARTUP_HANDLES + (<usize>i << 3);
    if (load<u32>(entry) == P.ROLE_PROCESS_ENDPOINT) useEndpoint(load<u32>(entry, 4));
  }
  first = page + P.STARTUP_ARGS;
  const regions = <i32>load<u32>(page + P.STARTUP_FIELDS_REGION_COUNT);
  for (let i = 0; i < regions; i++) {
    const entry = page + P.STARTUP_REGIONS + (<usize>i << 4);
    if (load<u32>(entry) == P.REGION_ARGS) first = load<u32>(entry, 4);
    if (load<u32>(entry) == P.REGION_HEAP) useHeap(load<u32>(entry, 4), load<u32>(entry, 4) + (load<u32>(entry, 8) << 12));
  }
  argumentCount = <i32>load<u32>(page + P.STARTUP_FIELDS_ARGC);
  environmentAt = first + load<u32>(page + P.STARTUP_FIELDS_ARG_BYTES);
}

/** argv[index]; 0 when there are not so many. */
export function argument(index: i32): Text {
  if (index < 0 || index >= argumentCount) return 0;
  let p = first;
  while (index-- > 0) p += lengthOf(p) + 1;
  return p;
}
/** The name under which the program was called. */
export function programName(): Text { return argumentCount ? baseName(argument(0)) : first; }

/** NAME=value strings, NUL terminated, `environmentBytes()` in all. */
export function environment(): usize { return environmentAt; }
export function environmentBytes(): i32 { return <i32>load<u32>(startup + P.STARTUP_FIELDS_ENV_BYTES); }

export function finish(status: i32): void {
  flush();
  const failed = outputFailed();
  if (failed && status == 0) {
    toStream(2);
    putText(programName()); put(': write error: '); put(errorText(failed)); putByte(10);
    flush();
    status = 1;
  }
  sysExit(status);
}

/** "name: subject: reason" for a negative errno. Remembered by `failed()`. */
export function complain(subject: Text, status: i32): void { complainText(subject, errorText(-status)); }
export function complainText(subject: Text, reason: string): void {
  toStream(2);
  putText(programName());
  put(': ');
  if (subject) { putText(subject); put(': '); }
  put(reason);
  putByte(10);
  flush();
  toStream(1);
  failures++;
}
/** 1 when anything was complained about, else 0. */
export function failed(): i32 { return failures ? 1 : 0; }

/** Wrong use: says how it is meant, status 2. */
export function usage(text: string): i32 {
  toStream(2);
  put('usage: ');
  put(text);
  putByte(10);
  flush();
  toStream(1);
  return 2;
}

// Options: single letters, combined or not, before the operands; `--` ends them. A letter followed by ':' in `allowed` takes a value.
let optionIndex: i32 = 1;
let optionAt: Text = 0;
let optionText: Text = 0;

/** Next option letter; 0 at the end of the options; 63 ('?') after complaining about an unknown one. */
export function option(allowed: string): u32 {
  if (!optionAt || load<u8>(optionAt) == 0) {
    const next = argument(optionIndex);
    if (!next || load<u8>(next) != 45 || load<u8>(next, 1) == 0) return 0;
    optionIndex++;
    if (same(next, '--')) return 0;
    optionAt = next + 1;
  }
  const letter = <u32>load<u8>(optionAt++);
  for (let i = 0; i < allowed.length; i++) {
    if (<u32>allowed.charCodeAt(i) != letter || letter == 58) continue;
    if (i + 1 < allowed.length && allowed.charCodeAt(i + 1) == 58) {
      if (load<u8>(optionAt)) { optionText = optionAt; optionAt = 0; return letter; }
      optionText = argument(optionIndex++);
      optionAt = 0;
      if (!optionText) break;
    }
    return letter;
  }
  toStream(2);
  putText(programName()); put(': unknown option -'); putByte(letter); putByte(10);
  flush();
  toStream(1);
  return 63;
}
export function optionValue(): Text { return optionText; }
/** Index of the first operand, once `option` has returned 0. */
export function operands(): i32 { return optionIndex; }

/** "-5" as in `head -5`: number of the argument at the option position, -1 when it is not one; consumes it. */
export function numberOption(): i32 {
  const text = argument(optionIndex);
  if (!text || load<u8>(text) != 45 || !isDigit(load<u8>(text, 1))) return -1;
  const value = parseNumber(text + 1);
  if (load<u8>(numberEnd())) return -1;
  optionIndex++;
  return value > 0x7fffffff ? 0x7fffffff : <i32>value;
}
