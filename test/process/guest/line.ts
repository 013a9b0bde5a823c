// Entry for tests: the line discipline of tty on one line, and the frames of the host channel.
import * as D from '../../../servers/tty/discipline';
const L: D.Line = changetype<D.Line>(memory.data(64, 4));
const F: D.Frames = changetype<D.Frames>(memory.data(20, 4));
export function init(): void { D.lineInit(L, 0x200000); memory.fill(changetype<usize>(F), 0, 20); }
export function type(byte: u32): void { D.input(L, byte); }
export function channel(byte: u32): void { D.frameInput(F, L, byte); }
export function canRead(): bool { return D.readable(L); }
export function take(bytes: u32): u32 { return D.read(L, 0x300000, bytes); }
export function screen(): u32 { return D.outputTake(L, 0x310000, 8192); }
export function put(bytes: u32, room: u32): u32 { return D.outputWrite(L, 0x300000, bytes, 0x310000, room); }
export function written(): u32 { return D.writtenBytes(); }
export function mode(value: u32): void { D.setMode(L, value); }
export function signal(): u32 { return D.takeSignal(L); }
export function dropped(): u32 { return L.dropped; }
export function frame(type: u32, stream: u32, bytes: u32): void { D.frameOutput(L, type, stream, 0x300000, bytes); }
