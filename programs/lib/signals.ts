/** Signal numbers (Linux) and names. A native program has no handlers: a signal ends it unless it is caught (`sysCatch`), which only makes it pending. */
import { Text, isNumber, parseNumber, same, startsWith } from './text';

export const SIGHUP: u32 = 1;
export const SIGINT: u32 = 2;
export const SIGQUIT: u32 = 3;
export const SIGILL: u32 = 4;
export const SIGTRAP: u32 = 5;
export const SIGABRT: u32 = 6;
export const SIGBUS: u32 = 7;
export const SIGFPE: u32 = 8;
export const SIGKILL: u32 = 9;
export const SIGUSR1: u32 = 10;
export const SIGSEGV: u32 = 11;
export const SIGUSR2: u32 = 12;
export const SIGPIPE: u32 = 13;
export const SIGALRM: u32 = 14;
export const SIGTERM: u32 = 15;

export function signalName(signal: u32): string {
  switch (signal) {
    case SIGHUP: return 'HUP';
    case SIGINT: return 'INT';
    case SIGQUIT: return 'QUIT';
    case SIGILL: return 'ILL';
    case SIGTRAP: return 'TRAP';
    case SIGABRT: return 'ABRT';
    case SIGBUS: return 'BUS';
    case SIGFPE: return 'FPE';
    case SIGKILL: return 'KILL';
    case SIGUSR1: return 'USR1';
    case SIGSEGV: return 'SEGV';
    case SIGUSR2: return 'USR2';
    case SIGPIPE: return 'PIPE';
    case SIGALRM: return 'ALRM';
    case SIGTERM: return 'TERM';
  }
  return '';
}
/** What a shell says about a program that a signal ended. */
export function signalText(signal: u32): string {
  switch (signal) {
    case SIGHUP: return 'hung up';
    case SIGQUIT: return 'quit';
    case SIGILL: return 'illegal instruction';
    case SIGTRAP: return 'trap';
    case SIGABRT: return 'aborted';
    case SIGBUS: return 'bus error';
    case SIGFPE: return 'arithmetic error';
    case SIGKILL: return 'killed';
    case SIGSEGV: return 'segmentation fault';
    case SIGTERM: return 'terminated';
  }
  return 'ended by a signal';
}

/** "9", "KILL" or "SIGKILL"; 0 when it is none of them. */
export function signalNumber(text: Text): u32 {
  if (isNumber(text)) { const value = parseNumber(text); return value > 0 && value < 32 ? <u32>value : 0; }
  const bare = startsWith(text, 'SIG') ? text + 3 : text;
  for (let signal: u32 = 1; signal <= SIGTERM; signal++) if (same(bare, signalName(signal))) return signal;
  return 0;
}
