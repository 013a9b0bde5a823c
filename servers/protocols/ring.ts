/**
 * A ring = two Frames. The request half is written by the owner (the long-lived server that posts), read by the worker (driver or server
 * that serves); the status half is the reverse. Whoever reads copies a field once and checks index, length and epoch before use.
 *
 *   posted (request half: seq = slot's next number) -> taken(epoch) -> done (status half)
 *
 * A slot s is free for the owner when status[s].seq == request[s].seq and status[s].state == done (or never used).
 * Slots are independent: completion may be out of order. `head` counts posts ever made (mod 2^32) and `taken`, `done` of the status half count
 * likewise, so that looking and finding nothing costs one load. Owner and worker both walk the slots round-robin, which keeps the order of posting.
 * Entries `taken` by a dead epoch are posted again by the owner (same key, same id, next seq), and counted. The worker of a new epoch
 * announces itself in the status header; a worker takes a slot only when request seq != status seq.
 * Entries that were posted when a worker attached are taken in the order of their ids, which is the order of posting.
 * `reposted` counts entries posted again; `greeted` is the last epoch of a worker for which that is done. `running` is 1 + the slot whose request the worker's Thread works on at this very moment (0: none): if
 * it dies there, that request alone gets a strike. `failed` is written by the supervisor when it gives the worker up for good: the owner answers
 * everything with `gone`. `poison` is the supervisor's answer to a request that killed its worker twice, `restart` (r0 = the new epoch) to one that a worker without journal may have
 * done halfway. All three are i32 below every errno.
 * After posting, the owner signals the worker's Notify (doorbell bit); after completing, the worker signals the owner's.
 *
 * Messages that get lost, doubled or damaged on the way: `guard` is a check word over the entry, its seq and its slot (servers/lib/guard.ts). The worker answers an
 * entry whose guard is wrong with `damaged`, the owner reads no answer whose guard is wrong; in both cases the owner posts its private copy of the request again
 * (same id, next seq), three times at most, and then gives it up with `damaged`. An id that the worker has had in this slot is not done again: an answer that
 * was given is given again. The owner looks after what is in flight when it has been so for a while (ringWatch): it restores entries that are not what it posted,
 * raises `again` and rings; a worker that finds `again` raised restores answers that are not what it gave and looks at every slot.
 * `order` numbers the entries as they were posted first: a worker that finds one ahead of its turn takes nothing, raises `missing` and rings; the owner looks after
 * its entries at once. Then it takes what there is.
 * Counters: `repaired` entries posted or restored again, `damaged` entries refused, `doubled` entries that came again and were not done again.
 */
export const RING = {
  magic: 0x52494e47,
  slots: 64, // entries of every ring (power of two)
  request: {
    header: { magic: 0, version: 4, slots: 8, head: 12, epoch: 16, ownerState: 20, dataBytes: 24, reposted: 28, again: 32, repaired: 36, greeted: 40, size: 64 },
    entry: { seq: 0, id: 4, op: 8, flags: 12, keyBadge: 16, keySerial: 20, keySeq: 24, keySub: 28, a0: 32, a1: 36, a2: 40, a3: 44, a4: 48, a5: 52, order: 56, guard: 60, size: 64 },
  },
  status: {
    header: { magic: 0, version: 4, epoch: 8, running: 12, taken: 16, done: 20, failed: 24, damaged: 28, doubled: 32, missing: 36, size: 64 },
    entry: { seq: 0, state: 4, epoch: 8, status: 12, r0: 16, r1: 20, r2: 24, r3: 28, guard: 32, size: 40 },
  },
  state: { idle: 0, taken: 1, done: 2 },
  flags: { readonly: 1 },
  poison: 0xffffeffe, // -4098
  gone: 0xffffeffd, // -4099
  restart: 0xffffeffc, // -4100
  damaged: 0xffffeffb, // -4101
} as const;
