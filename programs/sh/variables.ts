/** Shell variables, positional parameters, functions (kept as source text) and the options of `set`. */
import { Bytes, List, allocate, keep, release } from '../lib/memory';
import { environment, environmentBytes } from '../lib/program';
import { Text, find, formatNumber, lengthOf, sameBytes } from '../lib/text';

@unmanaged @final export class Variable {
  next: Variable;
  name: Text;
  value: Text; // 0: exported by name only
  exported: bool;
  readonly: bool;
}
const NONE: Variable = changetype<Variable>(0);
let first: Variable = NONE;

export let lastStatus: i32 = 0;
export function setStatus(status: i32): void { lastStatus = status; }
export let shellPid: i32 = 0;
export function setShellPid(pid: i32): void { shellPid = pid; }
export let lastBackground: i32 = 0;
export function setLastBackground(pid: i32): void { lastBackground = pid; }
export let exitOnError: bool = false;
export let traceCommands: bool = false;
export function setOption(letter: u32, on: bool): bool {
  if (letter == 101) exitOnError = on;
  else if (letter == 120) traceCommands = on;
  else return false;
  return true;
}

/** Positional parameters: $0 is `shellName`. */
export let shellName: Text = 0;
export function setShellName(name: Text): void { shellName = name; }
export let parameters: List = changetype<List>(0);
export function setParameters(list: List): void { parameters = list; }

export function variablesBegin(): void {
  parameters = List.create();
  let p = environment();
  const end = p + environmentBytes();
  for (; p < end; p += lengthOf(p) + 1) {
    const equals = find(p, 61);
    if (equals) { assign(p, <i32>(equals - p), equals + 1); exportName(p, <i32>(equals - p)); }
  }
}

export function variable(name: usize, length: i32): Variable {
  for (let one = first; one; one = one.next) if (sameBytes(one.name, name, length) && load<u8>(one.name + length) == 0) return one;
  return NONE;
}
/** Value of a variable, 0 when it is not set. */
export function valueOf(name: usize, length: i32): Text {
  const one = variable(name, length);
  return one ? one.value : 0;
}
const NAME: usize = memory.data(64);
export function valueOfLiteral(literal: string): Text {
  for (let i = 0; i < literal.length; i++) store<u8>(NAME + i, <u8>literal.charCodeAt(i));
  return valueOf(NAME, literal.length);
}
export function assignLiteral(literal: string, value: Text): void {
  for (let i = 0; i < literal.length; i++) store<u8>(NAME + i, <u8>literal.charCodeAt(i));
  assign(NAME, literal.length, value);
}

function make(name: usize, length: i32): Variable {
  let one = variable(name, length);
  if (one) return one;
  one = changetype<Variable>(allocate(offsetof<Variable>()));
  one.name = keep(name, length);
  one.value = 0;
  one.exported = false;
  one.readonly = false;
  one.next = first;
  first = one;
  return one;
}
/** False: the variable is read-only. The value is copied. */
export function assign(name: usize, length: i32, value: Text): bool {
  const one = make(name, length);
  if (one.readonly) return false;
  const copy = keep(value, lengthOf(value));
  release(one.value);
  one.value = copy;
  return true;
}
export function exportName(name: usize, length: i32): void { make(name, length).exported = true; }
export function protectName(name: usize, length: i32): void { make(name, length).readonly = true; }
export function unset(name: usize, length: i32): bool {
  let previous = NONE;
  for (let one = first; one; one = one.next) {
    if (sameBytes(one.name, name, length) && load<u8>(one.name + length) == 0) {
      if (one.readonly) return false;
      if (previous) previous.next = one.next; else first = one.next;
      release(one.name); release(one.value); release(changetype<usize>(one));
      return true;
    }
    previous = one;
  }
  return true;
}
/** All variables, exported or not, as NAME=value strings. */
export function eachVariable(into: Bytes, exportedOnly: bool): void {
  for (let one = first; one; one = one.next) {
    if (!one.value || (exportedOnly && !one.exported)) continue;
    into.pushText(one.name);
    into.push(61);
    into.pushText(one.value);
    into.push(0);
  }
}

/** Variables that are not exported, as assignments in source text: for a sub-shell. */
export function eachPrivate(into: Bytes): void {
  for (let one = first; one; one = one.next) {
    if (!one.value || one.exported) continue;
    into.pushText(one.name);
    into.pushLiteral("='");
    for (let p = one.value; load<u8>(p); p++) { if (load<u8>(p) == 39) into.pushLiteral("'\\''"); else into.push(load<u8>(p)); }
    into.pushLiteral("'\n");
  }
}

const NUMBER: usize = memory.data(24);
/** A number as text, in a buffer that the next call overwrites. */
export function numberText(value: i64): Text {
  let at = NUMBER;
  if (value < 0) { store<u8>(at++, 45); value = -value; }
  store<u8>(at + formatNumber(at, <u64>value, 10), 0);
  return NUMBER;
}

// Functions: name and the source of the body.
@unmanaged @final export class Function_ {
  next: Function_;
  name: Text;
  body: Text;
}
let functions: Function_ = changetype<Function_>(0);
export function defineFunction(name: usize, length: i32, body: usize, bodyLength: i32): void {
  let one = functionNamed(name, length);
  if (!one) {
    one = changetype<Function_>(allocate(offsetof<Function_>()));
    one.name = keep(name, length);
    one.next = functions;
    functions = one;
  } else release(one.body);
  one.body = keep(body, bodyLength);
}
export function functionNamed(name: usize, length: i32): Function_ {
  for (let one = functions; one; one = one.next) if (sameBytes(one.name, name, length) && load<u8>(one.name + length) == 0) return one;
  return changetype<Function_>(0);
}
/** Definitions as source text, for a sub-shell. */
export function eachFunction(into: Bytes): void {
  for (let one = functions; one; one = one.next) {
    into.pushText(one.name);
    into.pushLiteral('() ');
    into.pushText(one.body);
    into.push(10);
  }
}
