"""How many nodes Redis's radix tree of some keys has, which XINFO STREAM tells.

The keys are the first IDs of a stream's nodes, 16 bytes each, in a tree whose chains of single
children are compressed into one node. Its shape follows from the set of keys, so adding or removing
one changes the count by what its nearest neighbours tell: no tree is needed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

KEY_BYTES: Final = 16
# of a tree without keys: its root
EMPTY: Final = 1


def _common(a: int, b: int) -> int:
    """Return how many leading bytes two different keys share."""
    return (8 * KEY_BYTES - (a ^ b).bit_length()) // 8


def nodes_of(keys: Sequence[int], key: int, start: int = 0) -> int:
    """Return how many nodes `key` adds to the tree of `keys` from `start` on; these are sorted and
    do not contain it.
    """
    size = len(keys)
    if start == size:
        return 1  # the root becomes the chain to a leaf
    at = bisect_left(keys, key, start)
    depth = max(_common(keys[i], key) for i in (at - 1, at) if start <= i < size)
    # The keys that share these bytes with it: where do they part from the others, and where from
    # each other?
    unit = 1 << 8 * (KEY_BYTES - depth)
    low = bisect_left(keys, key - key % unit, start)
    high = bisect_left(keys, key - key % unit + unit, start)
    ends = _common(keys[low], keys[high - 1]) if high - low > 1 else KEY_BYTES
    added = 1 + (depth + 1 < KEY_BYTES)  # a leaf, and the chain to it
    if ends == depth:
        return added  # one more child of a node that branches here
    # A chain that ran from `begins` to `ends` gets a branch: what is left of it before and behind?
    begins = 0
    if low > start:
        begins = _common(keys[low - 1], keys[low]) + 1
    if high < size:
        begins = max(begins, _common(keys[high - 1], keys[high]) + 1)
    return added + (depth > begins) + (ends > depth + 1)
