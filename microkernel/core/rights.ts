/** The rights a fresh capability carries: all that its type knows. */
import { OBJ_UNTYPED, OBJ_TABLE, OBJ_SPACE, OBJ_FRAMES, OBJ_THREAD, OBJ_SCHED, OBJ_ENDPOINT, OBJ_REPLY, OBJ_NOTIFY, OBJ_DEVICE } from 'kintsugi/abi';

export function allRights(type: u32): u32 {
  if (type == OBJ_FRAMES) return 31;
  if (type == OBJ_ENDPOINT) return 15;
  if (type == OBJ_UNTYPED || type == OBJ_SCHED) return 1;
  if (type == OBJ_TABLE || type == OBJ_SPACE || type == OBJ_THREAD || type == OBJ_REPLY || type == OBJ_NOTIFY || type == OBJ_DEVICE) return 3;
  return 0;
}
