"""Lists: one Python list while small, a chain of nodes above.

Which of the two it is follows Redis, whose OBJECT ENCODING calls them "listpack" and "quicklist":

- before elements are added, the listpack is given up if it would exceed list-max-listpack-size;
- after elements were removed or replaced, a chain of one node is a listpack again if it has no more
  than half of that.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from shoal.proto.numbers import parse_int
from shoal.worker.values.limits import LIMITS
from shoal.worker.values.quicklist import (
    LEAST_NODE_BYTES,
    LISTPACK_BYTES,
    Node,
    Quicklist,
    elements_bytes,
    entry_size,
    node_limits,
    offsets,
    remove_from,
    shrunk_limits,
)

# Elements of one command when the list is written down.
_ELEMENTS_PER_COMMAND: Final = 64


class List:
    """A list of byte strings.

    Either `chain` is None, `_items` has the elements and `_size` the bytes of the listpack they
    would be; or `chain` has them and `_items` is empty. Indexes are from 0 and exist, unless said.
    """

    __slots__ = ("_items", "_size", "chain", "expire_ms")

    type_name = b"list"

    def __init__(self) -> None:
        """Make an empty list, which is a listpack."""
        self._items: list[bytes] = []
        self._size = LISTPACK_BYTES
        self.chain: Quicklist | None = None
        self.expire_ms = 0

    @classmethod
    def stored(cls, elements: Iterable[bytes]) -> List:
        """Make the list that a command stores as its result (SORT): a listpack if it may be one."""
        new = cls()
        chain = new.chain = Quicklist(LIMITS.list_max_listpack_size)
        for element in elements:
            chain.push(element, left=False)
        new._become_listpack(*node_limits(LIMITS.list_max_listpack_size))
        return new

    @classmethod
    def of_nodes(cls, nodes: Iterable[tuple[list[bytes], bool]], *, listpack: bool = True) -> List:
        """Make a list of given nodes: their elements, at least one, and whether it is one that is
        too large for a listpack. It is a listpack if it may be one and `listpack` says so.
        """
        new = cls()
        chain = new.chain = Quicklist(LIMITS.list_max_listpack_size)
        for elements, plain in nodes:
            chain.take(Node(elements, plain=plain))
        if listpack:
            new._become_listpack(*node_limits(LIMITS.list_max_listpack_size))
        return new

    @property
    def encoding(self) -> bytes:
        """As OBJECT ENCODING calls it."""
        return b"listpack" if self.chain is None else b"quicklist"

    def __len__(self) -> int:
        """Return the number of elements."""
        return len(self._items) if self.chain is None else self.chain.length

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the elements; nothing may change meanwhile."""
        if self.chain is None:
            yield from self._items
        else:
            for node in self.chain.nodes:
                yield from node.elements()

    def nodes(self) -> list[tuple[list[bytes], bool]]:
        """Return the nodes as `of_nodes` takes them; the lists are not to be changed."""
        if self.chain is None:
            return [(self._items, False)]
        return [(node.elements(), node.plain) for node in self.chain.nodes]

    # -- the ends ----------------------------------------------------------------------------------

    def push(self, elements: Sequence[bytes], left: bool) -> None:
        """Add elements one by one in front, so that the last one becomes the first, or at the
        end.
        """
        if self.chain is None:
            self.make_room(sum(map(len, elements)), len(elements))
            if self.chain is None:
                if left:
                    self._items[:0] = elements[::-1]
                else:
                    self._items += elements
                self._size += sum(map(entry_size, elements))
                return
        for element in elements:
            self.chain.push(element, left)

    def push_one(self, element: bytes, left: bool) -> int:
        """Add one element as `push` does; return how many there are now."""
        chain = self.chain
        if chain is None:
            self.push((element,), left)
            return len(self)
        return chain.push(element, left)

    def pop(self, left: bool) -> bytes:
        """Remove the first or the last element and return it; the list is not empty."""
        if self.chain is None:
            element = self._items.pop(0 if left else -1)
            self._size -= entry_size(element)
            return element
        return self.chain.pop(left)

    def pop_one(self, left: bool) -> bytes | None:
        """Remove an element and return it, as `pop` and `shrunk` do; None if it is the only one."""
        chain = self.chain
        if chain is None:
            return self.pop(left) if len(self._items) > 1 else None
        if chain.length < 2:
            return None
        element = chain.pop(left)
        if len(chain.nodes) == 1:
            self.shrunk()
        return element

    def move(self, target: List, from_left: bool, to_left: bool) -> bytes:
        """Pop an element, push it to another list or to this one, and return it."""
        was_chain = self.chain is not None
        element = self.pop(from_left)
        if target.chain is None:
            # As in Redis, where an integer out of a quicklist is no string, and so has no length.
            number = was_chain and parse_int(element) is not None
            target.make_room(0 if number else len(element), 1)
        if target.chain is None:
            target._items.insert(0 if to_left else len(target._items), element)
            target._size += entry_size(element)
        else:
            target.chain.push(element, to_left)
        return element

    def cut(self, count: int, left: bool) -> None:
        """Remove so many elements in front or at the end; there are as many."""
        if self.chain is not None:
            self.chain.cut(count, left)
        elif count:
            gone = slice(0, count) if left else slice(-count, None)
            self._size -= sum(map(entry_size, self._items[gone]))
            del self._items[gone]

    # -- by index ----------------------------------------------------------------------------------

    def get(self, index: int) -> bytes:
        """Return the element at an index."""
        return self._items[index] if self.chain is None else self.chain.get(index)

    def set(self, index: int, element: bytes) -> None:
        """Replace the element at an index. `make_room` comes before, `shrunk` after it."""
        if self.chain is None:
            self._size += entry_size(element) - entry_size(self._items[index])
            self._items[index] = element
        else:
            self.chain.set(index, element)

    def range(self, start: int, end: int) -> Iterable[list[bytes]]:
        """Return the elements of a range (end exclusive, not empty) in lists that are not to be
        changed, as a tuple if it is only one; nothing may change until they have been read.
        """
        if self.chain is None:
            return (self._items[start:end],)
        return self.chain.range(start, end)

    # -- by element --------------------------------------------------------------------------------

    def matches(self, element: bytes, backwards: bool = False, limit: int = 0) -> Iterator[int]:
        """Yield the indexes of an element, from the first or from the last on, among the first or
        last `limit` elements (0: all); nothing may change meanwhile.
        """
        size = len(self)
        limit = min(limit, size) if limit else size
        if self.chain is not None:
            yield from self.chain.matches(element, backwards, limit)
            return
        for index in offsets(self._items, element, backwards):
            if (size - 1 - index if backwards else index) >= limit:
                return
            yield index

    def insert(self, index: int, element: bytes, *, after: bool) -> None:
        """Add an element before or after the one at an index. `make_room` comes before it."""
        if self.chain is None:
            self._items.insert(index + after, element)
            self._size += entry_size(element)
        else:
            self.chain.insert(index, element, after=after)

    def remove(self, element: bytes, most: int, backwards: bool) -> int:
        """Remove up to `most` occurrences (0: all), the first or the last ones; return how many."""
        if self.chain is not None:
            return self.chain.remove(element, most, backwards)
        removed = remove_from(self._items, element, most, backwards)
        self._size -= removed * entry_size(element)
        return removed

    # -- encoding ----------------------------------------------------------------------------------

    def make_room(self, size: int, count: int) -> None:
        """Become a quicklist if elements of so many bytes would make the listpack too large."""
        fill = LIMITS.list_max_listpack_size
        if self.chain is not None or (fill < 0 and self._size + size <= LEAST_NODE_BYTES):
            return
        max_size, max_count = node_limits(fill)
        if self._size + size <= max_size and len(self._items) + count <= max_count:
            return
        self.chain = Quicklist(fill)
        if self._items:
            self.chain.take(Node(self._items))
        self._items = []

    def shrunk(self) -> None:
        """Become a listpack again if that is small enough; elements were removed or replaced."""
        chain = self.chain
        if chain is not None and len(chain.nodes) == 1:
            self._become_listpack(*shrunk_limits(LIMITS.list_max_listpack_size))

    def _become_listpack(self, max_size: int, max_count: int) -> None:
        assert self.chain is not None
        if len(self.chain.nodes) != 1:
            return
        node = self.chain.nodes[0]
        if node.plain or node.size > max_size or node.count > max_count:
            return
        self._items, self._size, self.chain = node.elements(), node.size, None

    # -- as every value ----------------------------------------------------------------------------

    def copy(self) -> List:
        """Return a list of the same elements, in the same encoding and nodes, without expire."""
        twin = List()
        twin._items, twin._size = self._items.copy(), self._size
        twin.chain = None if self.chain is None else self.chain.copy()
        return twin

    def commands(self, key: bytes) -> Iterator[tuple[bytes, ...]]:
        """Yield the commands that rebuild the list, of at most 64 elements each."""
        chunk: list[bytes] = []
        for element in self:
            chunk.append(element)
            if len(chunk) == _ELEMENTS_PER_COMMAND:
                yield b"RPUSH", key, *chunk
                chunk.clear()
        if chunk:
            yield b"RPUSH", key, *chunk

    def memory_bytes(self, samples: int) -> int:
        """Return about how many bytes the list takes; of the elements that are not packed about
        `samples` are looked at, 0 for all.
        """
        total = sys.getsizeof(self) + sys.getsizeof(self._items)
        if self.chain is not None:
            return total + self.chain.memory_bytes(samples)
        return total + elements_bytes(self._items, samples)

    def free(self, steps: int) -> int:
        """Let go of about so many elements; return their number."""
        if self.chain is not None:
            return self.chain.free(steps)
        freed = len(self._items[-steps:])
        del self._items[-steps:]
        return freed

    def check(self) -> None:
        """Assert the invariants."""
        if self.chain is None:
            assert self._size == LISTPACK_BYTES + sum(map(entry_size, self._items))
        else:
            assert not self._items
            self.chain.check()
