/**
 * Headers for Frames of device memory: the only kernel objects that cannot lie in their own Untyped, because that is not RAM.
 * One page (64 headers) set aside at boot; destroyed headers come back.
 */
import { nil, none } from './pointer';
import { KObject } from './capability';

let free: KObject = changetype<KObject>(0);
let left: u32 = 0;

export function reserveInit(page: usize): void {
  for (let n: usize = 0; n < 64; n++) giveDeviceHeader(changetype<KObject>(page + (n << 6)));
}
export function deviceHeadersLeft(): u32 { return left; }
/** The caller has checked that one is left. */
export function takeDeviceHeader(): usize {
  const o = free;
  free = o.next;
  left--;
  memory.fill(changetype<usize>(o), 0, 64);
  return changetype<usize>(o);
}
export function giveDeviceHeader(o: KObject): void {
  o.next = free;
  free = o;
  left++;
}
