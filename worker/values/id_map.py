"""A sorted mapping of stream IDs to values, for pending entries.

The IDs lie in blocks, sorted lists of at most BLOCK_MAX, with the values in lists beside them: 16
bytes for an entry instead of the 100 of a dict, no pause when it grows or is freed, and its order
for nothing. IDs nearly always come in ascending order and leave at the front, which are the short
paths; anything else is two bisections.

What always holds: no block is empty; the IDs ascend within a block and from block to block;
`_lasts[i]` is the last ID of block i; `_size` is the number of entries.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final, Generic, TypeVar

# Of blocks that are appended to; inserting may grow one to twice that before it is split.
BLOCK_MAX: Final = 512

V = TypeVar("V")


class IdMap(Generic[V]):
    """See the module's text."""

    __slots__ = ("_blocks", "_lasts", "_size", "_values")

    def __init__(self) -> None:
        """Hold nothing."""
        self._blocks: list[list[int]] = []
        self._values: list[list[V]] = []
        self._lasts: list[int] = []
        self._size = 0

    def __len__(self) -> int:
        """Return the number of entries."""
        return self._size

    def first(self) -> int:
        """Return the smallest ID; there is one."""
        return self._blocks[0][0]

    def last(self) -> int:
        """Return the greatest ID; there is one."""
        return self._lasts[-1]

    def get(self, entry_id: int) -> V | None:
        """Return the value of an ID, None if it is missing."""
        at = bisect_left(self._lasts, entry_id)
        if at == len(self._lasts):
            return None
        block = self._blocks[at]
        index = bisect_left(block, entry_id)
        return self._values[at][index] if block[index] == entry_id else None

    def add(self, entry_id: int, value: V) -> None:
        """Give an ID, which is new, its value."""
        if self.append(entry_id, value):
            return
        lasts = self._lasts
        at = bisect_left(lasts, entry_id)
        block, values = self._blocks[at], self._values[at]
        index = bisect_left(block, entry_id)
        assert block[index] != entry_id, "an ID twice"
        block.insert(index, entry_id)
        values.insert(index, value)
        self._size += 1
        if len(block) > 2 * BLOCK_MAX:
            self._blocks.insert(at + 1, block[BLOCK_MAX:])
            self._values.insert(at + 1, values[BLOCK_MAX:])
            del block[BLOCK_MAX:], values[BLOCK_MAX:]
            lasts.insert(at, block[-1])

    def append(self, entry_id: int, value: V) -> bool:
        """Add an ID if it is greater than those that are there; tell whether it is."""
        lasts = self._lasts
        if lasts:
            if entry_id <= lasts[-1]:
                return False
            block = self._blocks[-1]
            if len(block) < BLOCK_MAX:
                block.append(entry_id)
                self._values[-1].append(value)
                lasts[-1] = entry_id
                self._size += 1
                return True
        self.extend((entry_id,), (value,))
        return True

    def extend(self, ids: Sequence[int], values: Sequence[V]) -> None:
        """Add ascending IDs, at least one, all of them greater than those that are there."""
        size = len(ids)
        done = 0
        if self._blocks:
            block = self._blocks[-1]
            done = BLOCK_MAX - len(block)
            if done > 0:
                block.extend(ids[:done])
                self._values[-1].extend(values[:done])
                self._lasts[-1] = block[-1]
            else:
                done = 0
        while done < size:
            block = list(ids[done : done + BLOCK_MAX])
            self._blocks.append(block)
            self._values.append(list(values[done : done + BLOCK_MAX]))
            self._lasts.append(block[-1])
            done += BLOCK_MAX
        self._size += size

    def pop(self, entry_id: int) -> V | None:
        """Remove an ID and return its value, None if it is missing."""
        blocks = self._blocks
        if blocks and blocks[0][0] == entry_id and len(blocks[0]) > 1:  # the usual case
            del blocks[0][0]
            self._size -= 1
            return self._values[0].pop(0)
        lasts = self._lasts
        at = bisect_left(lasts, entry_id)
        if at == len(lasts):
            return None
        block = blocks[at]
        index = bisect_left(block, entry_id)
        if block[index] != entry_id:
            return None
        value = self._values[at].pop(index)
        del block[index]
        self._size -= 1
        if not block:
            del blocks[at], self._values[at], lasts[at]
        elif index == len(block):
            lasts[at] = block[-1]
        return value

    def walk(self, start: int = 0) -> Iterator[tuple[int, V]]:
        """Iterate over entries from an ID on; those already given may be removed meanwhile."""
        while True:
            at = bisect_left(self._lasts, start)
            if at == len(self._lasts):
                return
            index = bisect_left(self._blocks[at], start)
            ids = self._blocks[at][index:]
            yield from zip(ids, self._values[at][index:], strict=True)
            start = ids[-1] + 1

    def free(self, steps: int) -> int:
        """Let go of about so many entries; return how many."""
        freed = 0
        while self._blocks and freed < steps:
            freed += len(self._blocks.pop())
            self._values.pop()
            self._lasts.pop()
        self._size -= freed
        return freed

    def memory_bytes(self) -> int:
        """Return the bytes of the structure, without those of IDs and values."""
        lists = (self._blocks, self._values, self._lasts, *self._blocks, *self._values)
        return sum(map(sys.getsizeof, lists))

    def check(self) -> None:
        """Assert what the module's text says."""
        assert len(self._blocks) == len(self._values) == len(self._lasts)
        ids: list[int] = []
        for block, values, last in zip(self._blocks, self._values, self._lasts, strict=True):
            assert block, "an empty block"
            assert len(block) == len(values), "an ID without a value"
            assert block[-1] == last, "another last ID"
            assert len(block) <= 2 * BLOCK_MAX
            ids += block
        assert ids == sorted(set(ids)), "out of order"
        assert len(ids) == self._size
