/**
 * Doubly linked circular lists with the links inside the element: a `Link` is the first member (or base class) of what is listed; a list
 * head is a Link that points to itself when empty. An element that is on no list points to itself as well, so that `remove` is idempotent.
 */
@unmanaged export class Link { next: Link; prev: Link }
export function linkInit(l: Link): void { l.next = l; l.prev = l; }
export function isEmpty(head: Link): bool { return changetype<usize>(head.next) == changetype<usize>(head); }
export function isLinked(l: Link): bool { return changetype<usize>(l.next) != changetype<usize>(l); }
export function append(head: Link, l: Link): void {
  const last = head.prev;
  l.prev = last; l.next = head; last.next = l; head.prev = l;
}
export function prepend(head: Link, l: Link): void {
  const first = head.next;
  l.next = first; l.prev = head; first.prev = l; head.next = l;
}
/** Before `at`: insertion into a sorted list. */
export function insertBefore(at: Link, l: Link): void { append(at, l); }
export function remove(l: Link): void {
  const n = l.next, p = l.prev;
  p.next = n; n.prev = p;
  l.next = l; l.prev = l;
}
/** The first element, or the head itself when the list is empty. */
export function first(head: Link): Link { return head.next; }
