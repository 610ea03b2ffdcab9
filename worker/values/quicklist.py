"""A chain of nodes of bounded size: what holds a list that is too large for one node.

Redis cuts a long list into nodes, listpacks of some kilobytes, and what becomes of the nodes is
visible: a list is one node again, "listpack" to OBJECT ENCODING, only if every other node has gone.
So the nodes here are Redis's: they are filled, split and joined at the same moments, and an element
counts the bytes it would take in a listpack (`entry_size`).

In memory a node is one of:
- loose, a Python list of elements, 49 bytes and more for each besides its own;
- packed, the elements joined to one bytes object, one byte for each besides its own. Joining and
  splitting cost 10 and 20 ns an element, looking for an element in the joined bytes much less.

What always holds:
- a packed node lies between the first and the last one; those may be packed only until they are
  used;
- a loose node between them is among the last WARM ones that were used, or not worth packing;
- no node is empty; `_ends` is None or counts the elements up to each node between the ends.
"""

from __future__ import annotations

import marshal
import sys
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import accumulate, islice
from typing import Any, Final

from shoal.proto.numbers import parse_int

# Header and end of a listpack.
LISTPACK_BYTES: Final = 7

# Nodes between the ends that stay loose after use, so that neighbours are at hand.
WARM: Final = 2

# Bytes per element up to which a node is packed: above, a loose one takes a third more at most.
_PACK_BELOW: Final = 128

# Bytes that may separate the elements of a packed node: what text, UTF-8 or numbers lack.
_MARKS: Final = (b"\n", b"\xff", b"\0")

# What list-max-listpack-size -1, -2, ... mean: bytes of a node.
_NODE_BYTES: Final = (4096, 8192, 16384, 32768, 65536)
LEAST_NODE_BYTES: Final = _NODE_BYTES[0]
# Bytes of a node if the directive says how many elements it may have.
_SAFE_NODE_BYTES: Final = 8192
_NO_LIMIT: Final = sys.maxsize
# Redis keeps the directive of a quicklist in 16 bits.
_FILL_MAX: Final = (1 << 15) - 1

# Added to the size of an element when Redis estimates whether it fits into a node.
_ESTIMATED_OVERHEAD: Final = 8

# Bytes of an integer in a listpack by its bit length, of the complement if it is negative.
_MINUS, _ZERO, _NINE = b"-09"
_INTEGER_SIZES: Final = [2] * 8 + [3] * 5 + [4] * 3 + [5] * 8 + [6] * 8 + [10] * 32


def entry_size(element: bytes) -> int:
    """Return the bytes that an element takes in a listpack."""
    size = len(element)
    if 0 < size < 21 and element[0] <= _NINE:  # digits and the minus sign; letters are above
        if element.isdigit():
            if element[0] != _ZERO or size == 1:
                bits = int(element).bit_length()
                if bits < 64:
                    return _INTEGER_SIZES[bits]
        elif element[0] == _MINUS and (number := parse_int(element)) is not None:
            return max(3, _INTEGER_SIZES[(~number).bit_length()])
    if size < 64:
        return size + 2
    if size < 4096:
        return size + (3 if size < 126 else 4)
    return size + (7 if size < 16378 else 8 if size < 2097146 else 9 if size < 268435450 else 10)


def node_limits(fill: int) -> tuple[int, int]:
    """Return the bytes and the elements a node may have, by list-max-listpack-size."""
    if fill < 0:
        return _NODE_BYTES[min(-fill, len(_NODE_BYTES)) - 1], _NO_LIMIT
    return _SAFE_NODE_BYTES, fill or 1


def shrunk_limits(fill: int) -> tuple[int, int]:
    """Return the bytes and the elements up to which a list is one node again when it shrinks."""
    if fill < 0:
        return node_limits(fill)[0] // 2, _NO_LIMIT
    return _NO_LIMIT, (fill or 1) // 2


class Node:
    """Elements that lie together.

    Attributes:
        items: the elements, None while packed.
        data: the elements joined, None while the node is loose and has been changed since.
        mark: what joins them; empty if `data` is marshalled.
        count: number of elements.
        size: bytes of the listpack.
        plain: it is one element that is too large for any node, and takes no other.
    """

    __slots__ = ("count", "data", "items", "mark", "plain", "size")

    def __init__(self, items: list[bytes], *, plain: bool = False) -> None:
        """Hold the elements; the list is kept, not copied."""
        self.items: list[bytes] | None = items
        self.data: bytes | None = None
        self.mark = b""
        self.count = len(items)
        self.size = len(items[0]) if plain else LISTPACK_BYTES + sum(map(entry_size, items))
        self.plain = plain

    def elements(self) -> list[bytes]:
        """Return the elements, and leave the node as it is; the list must not be changed."""
        items = self.items
        if items is not None:
            return items
        assert self.data is not None
        if self.mark:
            return self.data.split(self.mark)
        loaded: list[bytes] = marshal.loads(self.data)
        return loaded

    def lacks(self, element: bytes) -> bool:
        """Tell, without unpacking it, that the element is not in here; False may be wrong."""
        return self.items is None and self.data is not None and element not in self.data

    def pack(self) -> None:
        """Pack the node if it is worth it."""
        items = self.items
        if items is None:
            return
        if self.data is None:
            if self.size > _PACK_BELOW * self.count:
                return
            content = b"".join(items)
            for mark in _MARKS:
                if mark not in content:  # by far quicker than to count it in the joined elements
                    self.data, self.mark = mark.join(items), mark
                    break
            else:
                self.data, self.mark = marshal.dumps(items, 2), b""
        self.items = None

    def replace(self, items: list[bytes]) -> None:
        """Hold other elements."""
        self.items, self.data = items, None
        self.count = len(items)
        self.size = LISTPACK_BYTES + sum(map(entry_size, items))

    def copy(self) -> Node:
        """Return a copy that shares only what cannot change."""
        twin = Node.__new__(Node)
        twin.items = None if self.items is None else self.items.copy()
        twin.data, twin.mark = self.data, self.mark
        twin.count, twin.size, twin.plain = self.count, self.size, self.plain
        return twin


class Quicklist:
    """A chain of nodes; see the module's text. Indexes are from 0 and exist, unless said."""

    __slots__ = ("_ends", "_full", "_max_count", "_max_size", "_warm", "length", "nodes")

    def __init__(self, fill: int) -> None:
        """Make an empty one whose nodes keep to list-max-listpack-size `fill`, for good."""
        self.nodes: deque[Node] = deque()
        self.length = 0
        self._max_size, self._max_count = node_limits(min(fill, _FILL_MAX))
        self._full = self._max_size - _ESTIMATED_OVERHEAD  # with an element to be added
        self._ends: list[int] | None = None
        self._warm: list[Node] = []

    def take(self, node: Node) -> None:
        """Add a node at the end, whatever its size."""
        nodes = self.nodes
        nodes.append(node)
        self.length += node.count
        self._ends = None
        if len(nodes) > 2:
            nodes[-2].pack()

    # -- the ends ----------------------------------------------------------------------------------

    def push(self, element: bytes, left: bool) -> int:
        """Add an element in front, or at the end; return how many there are now."""
        nodes = self.nodes
        self.length = length = self.length + 1
        if nodes:
            node = nodes[0 if left else -1]
            size = len(element)
            # Written out for the machine: `_takes`, and `entry_size` of what is no integer.
            after = node.size + size
            if after <= self._full and node.count < self._max_count and not node.plain:
                items: Any = node.items if node.data is None else self._change(node)
                if left:
                    items.insert(0, element)
                else:
                    items.append(element)
                node.count += 1
                if 20 < size < 126:
                    node.size = after + (2 if size < 64 else 3)
                else:
                    node.size += entry_size(element)
                return length
        new = self._node(element)
        if left:
            nodes.appendleft(new)
        else:
            nodes.append(new)
        self._ends = None
        if len(nodes) > 2:
            self._keep_warm(nodes[1 if left else -2])
        return length

    def pop(self, left: bool) -> bytes:
        """Remove the first, or the last element and return it."""
        node = self.nodes[0 if left else -1]
        items: Any = node.items if node.data is None else self._change(node)
        element: bytes = items.pop(0 if left else -1)
        node.count -= 1
        size = len(element)
        # As in `push`.
        if 20 < size < 126:
            node.size -= size + (2 if size < 64 else 3)
        else:
            node.size -= entry_size(element)
        self.length -= 1
        if not node.count:
            self._drop_end(left)
        return element

    def cut(self, count: int, left: bool) -> None:
        """Remove so many elements, at most all, in front or at the end."""
        nodes = self.nodes
        self.length -= count
        while count:
            node = nodes[0 if left else -1]
            if node.count <= count:
                count -= node.count
                self._drop_end(left)
            else:
                items = self._change(node)
                gone = slice(0, count) if left else slice(node.count - count, None)
                node.size -= sum(map(entry_size, items[gone]))
                node.count -= count
                del items[gone]
                count = 0

    def _drop_end(self, left: bool) -> None:
        if left:
            self.nodes.popleft()
        else:
            self.nodes.pop()
        self._ends = None

    # -- by index ----------------------------------------------------------------------------------

    def get(self, index: int) -> bytes:
        """Return the element at an index."""
        at, offset = self._find(index)
        return self._open(self.nodes[at])[offset]

    def set(self, index: int, element: bytes) -> None:
        """Replace the element at an index."""
        at, offset = self._find(index)
        node = self.nodes[at]
        large = len(element) > self._max_size
        if node.plain:
            if large:
                node.items, node.size = [element], len(element)
                return
            self._insert(at, 0, element, after=True)
            self._delete(at)
            self.length -= 1
        elif not large:
            items = self._change(node)
            node.size += entry_size(element) - entry_size(items[offset])
            items[offset] = element
        else:
            self._set_large(at, offset, element)

    def _set_large(self, at: int, offset: int, element: bytes) -> None:
        node = self.nodes[at]
        if offset != node.count - 1:
            self.nodes.insert(at + 1, self._split(node, offset + 1))
        self.nodes.insert(at + 1, self._node(element))
        if node.count == 1:
            self._delete(at)
            self._settle(at)
        else:
            node.replace(self._change(node)[:-1])
            self._join_around(at + 1)

    def range(self, start: int, end: int) -> Iterable[list[bytes]]:
        """Return the elements of a range (end exclusive, not empty) in lists that are not to be
        changed, as a tuple if it is only one; nothing may change until they have been read.
        """
        at, offset = self._find(start)
        items = self.nodes[at].items
        end += offset - start
        if items is not None and end <= len(items):
            return (items[offset:end],)
        return self._parts(at, offset, end - offset)

    def _parts(self, at: int, offset: int, left: int) -> Iterator[list[bytes]]:
        for node in islice(self.nodes, at, None):
            if node.count <= left and not offset:
                yield node.elements()
            else:  # the next range may well begin or end in here
                yield self._open(node)[offset : offset + left]
            left -= node.count - offset
            offset = 0
            if left <= 0:
                return

    def _find(self, index: int) -> tuple[int, int]:
        """Return which node an index is in, and the index in there."""
        nodes = self.nodes
        first = nodes[0].count
        if index < first:
            return 0, index
        before_last = self.length - nodes[-1].count
        if index >= before_last:
            return len(nodes) - 1, index - before_last
        ends = self._ends
        if ends is None:
            inner = islice(nodes, 1, len(nodes) - 1)
            ends = self._ends = list(accumulate(node.count for node in inner))
        index -= first
        at = bisect_right(ends, index)
        return at + 1, index - ends[at - 1] if at else index

    # -- by element --------------------------------------------------------------------------------

    def matches(self, element: bytes, backwards: bool, limit: int) -> Iterator[int]:
        """Yield the indexes of an element, from the first or from the last on, among so many
        elements; nothing may change meanwhile.
        """
        base = self.length if backwards else 0
        seen = 0
        for node in reversed(self.nodes) if backwards else self.nodes:
            if seen >= limit:
                return
            if backwards:
                base -= node.count
            if not node.lacks(element):
                for offset in offsets(node.elements(), element, backwards):
                    if seen + (node.count - 1 - offset if backwards else offset) >= limit:
                        return
                    yield base + offset
            if not backwards:
                base += node.count
            seen += node.count

    def insert(self, index: int, element: bytes, *, after: bool) -> None:
        """Add an element before or after the one at an index."""
        at, offset = self._find(index)
        self._insert(at, offset, element, after)

    def remove(self, element: bytes, most: int, backwards: bool) -> int:
        """Remove up to `most` occurrences (0: all), the first or the last ones; return how many."""
        removed = 0
        emptied = False
        nodes = self.nodes
        for node in reversed(nodes) if backwards else nodes:
            if node.lacks(element):
                continue
            items = node.elements()
            gone = remove_from(items, element, most - removed if most else 0, backwards)
            if not gone:
                continue
            node.items, node.data = items, None
            node.count -= gone
            node.size -= gone * entry_size(element)
            if not node.count:
                emptied = True
            elif node not in self._warm and node is not nodes[0] and node is not nodes[-1]:
                node.pack()
            removed += gone
            if removed == most:
                break
        if removed:
            self.length -= removed
            self._ends = None
        if emptied:
            self.nodes = deque(node for node in nodes if node.count)
        return removed

    # -- all of it ---------------------------------------------------------------------------------

    def copy(self) -> Quicklist:
        """Return a copy that shares only what cannot change, in the same nodes."""
        twin = Quicklist.__new__(Quicklist)
        twin.nodes = deque(node.copy() for node in self.nodes)
        for node in islice(twin.nodes, 1, max(1, len(twin.nodes) - 1)):
            node.pack()
        twin.length = self.length
        twin._max_size, twin._max_count = self._max_size, self._max_count
        twin._full = self._full
        twin._ends = None
        twin._warm = []
        return twin

    def free(self, steps: int) -> int:
        """Let go of about so many elements, by whole nodes; return their number."""
        freed = 0
        while self.nodes and freed < steps:
            freed += self.nodes.pop().count
        self.length -= freed
        self._ends = None
        self._warm.clear()
        return freed

    def memory_bytes(self, samples: int) -> int:
        """Return the bytes of nodes and elements; about `samples` of the loose ones are looked at,
        0 for all.
        """
        total = sys.getsizeof(self) + sys.getsizeof(self.nodes) + sys.getsizeof(self._warm)
        total += 36 * len(self._ends or ())
        share = samples and max(1, samples // (WARM + 2))
        for node in self.nodes:
            total += sys.getsizeof(node)
            if node.data is not None:
                total += sys.getsizeof(node.data)
            if node.items is not None:
                total += sys.getsizeof(node.items) + elements_bytes(node.items, share)
        return total

    def check(self) -> None:
        """Assert the invariants."""
        assert self.length == sum(node.count for node in self.nodes)
        for at, node in enumerate(self.nodes):
            elements = node.elements()
            assert node.count == len(elements) > 0
            if node.plain:
                assert node.count == 1
                assert node.size == len(elements[0])
            else:
                assert node.size == LISTPACK_BYTES + sum(map(entry_size, elements))
            if node.items is not None and node.data is not None:
                packed = node.copy()
                packed.pack()
                assert packed.items is None
                assert packed.elements() == node.items
            if node.items is not None and 0 < at < len(self.nodes) - 1:
                dense = node.size <= _PACK_BELOW * node.count
                assert node in self._warm or not dense, f"node {at} is loose for no reason"
        assert len(self._warm) <= WARM
        if self._ends is not None:
            inner = list(self.nodes)[1:-1]
            assert self._ends == list(accumulate(node.count for node in inner))

    # -- nodes -------------------------------------------------------------------------------------

    def _node(self, element: bytes) -> Node:
        return Node([element], plain=len(element) > self._max_size)

    def _takes(self, node: Node, size: int) -> bool:
        """Tell whether a node has room for an element of this length."""
        return node.size + size <= self._full and node.count < self._max_count and not node.plain

    def _open(self, node: Node) -> list[bytes]:
        """Return the elements of a node, which stays loose for a while."""
        items = node.items
        if items is None:
            items = node.items = node.elements()
            self._keep_warm(node)
        return items

    def _change(self, node: Node) -> list[bytes]:
        """Return the elements of a node, to be changed."""
        items = node.elements()
        node.items, node.data = items, None
        self._keep_warm(node)
        return items

    def _keep_warm(self, node: Node) -> None:
        warm = self._warm
        if node in warm:
            warm.remove(node)
        warm.append(node)
        if len(warm) > WARM:
            oldest = warm.pop(0)
            if oldest is not self.nodes[0] and oldest is not self.nodes[-1]:
                oldest.pack()

    def _delete(self, at: int) -> None:
        del self.nodes[at]
        self._ends = None

    def _split(self, node: Node, offset: int) -> Node:
        """Cut a node; it keeps what is before the offset, the rest is returned as a new one."""
        items = self._change(node)
        new = Node(items[offset:])
        node.replace(items[:offset])
        return new

    # Source of the rules from here on: the numbers of nodes that DEBUG OBJECT of redis-server 8.2
    # shows after each of many random commands.

    def _insert(self, at: int, offset: int, element: bytes, after: bool) -> None:
        nodes = self.nodes
        node = nodes[at]
        size = len(element)
        self.length += 1
        self._ends = None
        if self._takes(node, size):
            self._put(node, offset + after, element)
            return
        large = size > self._max_size
        at_edge = offset == node.count - 1 if after else offset == 0
        if at_edge:
            beside = at + 1 if after else at - 1
            if 0 <= beside < len(nodes) and self._takes(nodes[beside], size):
                self._put(nodes[beside], 0 if after else nodes[beside].count, element)
            else:
                nodes.insert(at + after, self._node(element))
                self._settle(at)
            return
        rest = self._split(node, offset + after)
        nodes.insert(at + 1, rest)
        if large:
            nodes.insert(at + 1, self._node(element))
            self._settle(at + 1)
        elif after:
            self._put(rest, 0, element)
            self._join_around(at)
        else:
            self._put(node, node.count, element)
            self._join_around(at + 1)

    def _put(self, node: Node, offset: int, element: bytes) -> None:
        self._change(node).insert(offset, element)
        node.count += 1
        node.size += entry_size(element)

    def _join_around(self, at: int) -> None:
        """After a split next to node `at`, join the neighbours that fit into one node."""
        self._ends = None
        if at >= 2 and self._join(at - 2):
            at -= 1
        if at + 2 < len(self.nodes):
            self._join(at + 1)
        if at and self._join(at - 1):
            at -= 1
        if at + 1 < len(self.nodes):
            self._join(at)
        self._settle(at)

    def _join(self, at: int) -> bool:
        """Join node `at` and the next one if they fit into one."""
        node, following = self.nodes[at], self.nodes[at + 1]
        if node.plain or following.plain:
            return False
        size = node.size + following.size - LISTPACK_BYTES
        if size > self._max_size or node.count + following.count > self._max_count:
            return False
        self._change(node).extend(following.elements())
        node.count += following.count
        node.size = size
        del self.nodes[at + 1]
        return True

    def _settle(self, at: int) -> None:
        """Pack loose nodes around `at` that came to lie between the ends, but the last ones."""
        for near in range(max(1, at - 2), min(at + 3, len(self.nodes) - 1)):
            node = self.nodes[near]
            if node.items is not None and node not in self._warm:
                self._keep_warm(node)


def offsets(items: list[bytes], element: bytes, backwards: bool) -> Iterable[int]:
    """Return the indexes of an element, the first or the last one first."""
    if element not in items:
        return ()
    found = [at for at, item in enumerate(items) if item == element]
    return reversed(found) if backwards else found


def remove_from(items: list[bytes], element: bytes, most: int, backwards: bool) -> int:
    """Remove up to `most` occurrences (0: all), the first or the last ones; return how many."""
    total = items.count(element)
    if not total:
        return 0
    if most == 0 or total <= most:
        items[:] = [item for item in items if item != element]
        return total
    found = [at for at, item in enumerate(items) if item == element]
    for at in reversed(found[-most:] if backwards else found[:most]):
        del items[at]
    return most


def elements_bytes(items: list[bytes], samples: int) -> int:
    """Return about how many bytes the elements take, of which so many are looked at, 0 for all."""
    step = max(1, len(items) // samples) if samples else 1
    looked_at = items[::step]
    if not looked_at:
        return 0
    return sum(map(sys.getsizeof, looked_at)) * len(items) // len(looked_at)
