"""A hash table of small dicts, for collections that may grow without bound.

A dict of a million entries stops the worker when it grows (28 ms at 0.7 million, 127 ms at 2.8) and
when it is freed, and has no place to which a cursor could return. Here the entries lie in buckets,
dicts of at most BUCKET_MAX entries. A bucket owns an interval of positions; the position of a key
is made of its hash, so it never changes. A full bucket is split in the middle of its interval, and
a bucket and its other half become one again when both are nearly empty: extendible hashing (Fagin,
Nievergelt, Pippenger, Strong, ACM TODS 1979), here with the leading bits, so that the buckets are
in the order of their positions. Therefore:

- a scan goes through the positions from 0 up, and its cursor is a position: it keeps no state, and
  an entry that is there from its start to its end is given, whatever comes and goes meanwhile,
  because no split moves an entry to another position;
- growing, shrinking and freeing cost one bucket at a time. (The directory doubles as a whole, 8
  bytes for some 64 entries: a tenth of a millisecond at a million entries.)

What always holds:
- `_directory` has 2**_depth entries; entry i is the bucket of the positions whose leading _depth
  bits are i. A bucket of depth d fills 2**(_depth - d) entries in a row, the first a multiple of
  that.
- `_depths[i]` is the depth of `_directory[i]`; `_at_depth[d]` is the number of buckets of depth d.
- no bucket has more than BUCKET_MAX entries, unless it is of MAX_DEPTH.
- no bucket has more than `_densest` entries for each of its places in the directory. That bound is
  what a random choice is made by; it is BUCKET_MAX until `_measure` looks for the real one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice, repeat
from operator import rshift, sub
from random import Random
from typing import Any, Final

POSITION_BITS: Final = 48
BUCKET_MAX: Final = 96
# A bucket and its other half are joined when they have no more than this together.
BUCKET_MIN: Final = 24
# Hashes are salted, so that nobody can choose them: 2**32 buckets are never wanted.
MAX_DEPTH: Final = 32
# Places of the directory up to which `_measure` goes through it: it takes 1 ms then.
MEASURED_MAX: Final = 1 << 14

# Places of the directory that are looked at to tell the size of the buckets.
_SIZED: Final = 1024

_MASK: Final = (1 << POSITION_BITS) - 1

Bucket = dict[bytes, Any]


class Table:
    """A mapping of bytes to values; see the module's text. It has the methods of a dict that are
    needed, and those that a dict cannot offer: `scan`, `random_item`, `free`.
    """

    __slots__ = (
        "_at_depth",
        "_densest",
        "_depth",
        "_depths",
        "_directory",
        "_measured",
        "_shift",
        "_size",
    )

    def __init__(self, items: Iterable[tuple[bytes, Any]] = ()) -> None:
        """Hold the items; of equal keys the last counts."""
        self._directory: list[Bucket] = [{}]
        self._depths: list[int] = [0]
        self._depth = 0
        self._shift = POSITION_BITS
        self._at_depth: list[int] = [1]
        self._densest = BUCKET_MAX
        self._measured = 0  # the size when `_densest` was looked for, 0: it has to be
        self._size = 0
        for key, value in items:
            self[key] = value

    # -- as of a dict ------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return the number of entries."""
        return self._size

    def __contains__(self, key: bytes) -> bool:
        """Tell whether key is there."""
        return key in self._directory[(hash(key) & _MASK) >> self._shift]

    def get(self, key: bytes, default: Any = None) -> Any:
        """Return key's value, or the default."""
        return self._directory[(hash(key) & _MASK) >> self._shift].get(key, default)

    def bucket(self, key: bytes) -> Bucket:
        """Return the dict that holds key if it is there: to look at it and change its value, no
        more.
        """
        return self._directory[(hash(key) & _MASK) >> self._shift]

    def __getitem__(self, key: bytes) -> Any:
        """Return key's value. Raises: KeyError."""
        return self._directory[(hash(key) & _MASK) >> self._shift][key]

    def __setitem__(self, key: bytes, value: Any) -> None:
        """Give key a value; of a key that is there already the old object stays."""
        position = hash(key) & _MASK
        bucket = self._directory[position >> self._shift]
        before = len(bucket)
        bucket[key] = value
        if len(bucket) != before:
            self._size += 1
            # Either may be the smaller: `_densest` also counts what a split does not part at once.
            if before >= self._densest or before >= BUCKET_MAX:
                self._crowd(position, before + 1)

    def pop(self, key: bytes, default: Any = None) -> Any:
        """Remove key; return its value, or the default if it was not there."""
        position = hash(key) & _MASK
        bucket = self._directory[position >> self._shift]
        before = len(bucket)
        value = bucket.pop(key, default)
        if len(bucket) != before:
            self._size -= 1
            if before <= BUCKET_MIN // 2:
                self._join(position)
        return value

    def __delitem__(self, key: bytes) -> None:
        """Remove key. Raises: KeyError."""
        if key not in self:
            raise KeyError(key)
        self.pop(key)

    def buckets(self) -> Iterator[Bucket]:
        """Iterate over the dicts that hold the entries, in order; nothing may change meanwhile."""
        at, end = 0, len(self._directory)
        depth = self._depth
        while at < end:
            yield self._directory[at]
            at += 1 << (depth - self._depths[at])

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the keys; nothing may change meanwhile."""
        for bucket in self.buckets():
            yield from bucket

    def keys(self) -> Iterator[bytes]:
        """Iterate over the keys; nothing may change meanwhile."""
        return iter(self)

    def values(self) -> Iterator[Any]:
        """Iterate over the values; nothing may change meanwhile."""
        for bucket in self.buckets():
            yield from bucket.values()

    def items(self) -> Iterator[tuple[bytes, Any]]:
        """Iterate over keys and values; nothing may change meanwhile."""
        for bucket in self.buckets():
            yield from bucket.items()

    def copy(self) -> Table:
        """Return a table with the same keys and values."""
        twin = Table()
        twin._depths = self._depths.copy()
        twin._depth, twin._shift = self._depth, self._shift
        twin._at_depth = self._at_depth.copy()
        twin._densest, twin._measured = self._densest, self._measured
        twin._size = self._size
        directory: list[Bucket] = []
        for bucket, depth in self._distinct():
            directory += [bucket.copy()] * (1 << (self._depth - depth))
        twin._directory = directory
        return twin

    # -- as no dict can ----------------------------------------------------------------------------

    def scan(self, position: int, count: int) -> tuple[int, list[tuple[bytes, Any]]]:
        """Return what lies from a position on: whole buckets, until `count` entries are met.

        Args:
            position: 0 to begin, then what the last call returned; any other number is no error.
            count: at least 1.
        Returns: the next position, 0 at the end, and the entries.
        """
        found: list[tuple[bytes, Any]] = []
        directory, depths, depth = self._directory, self._depths, self._depth
        at, end = (position & _MASK) >> self._shift, len(directory)
        while at < end:
            span = 1 << (depth - depths[at])
            at &= -span  # a join since may have taken the cursor into the middle of a bucket
            found += directory[at].items()
            at += span
            if len(found) >= count:
                break
        return (at << self._shift if at < end else 0), found

    def random_item(self, random: Random) -> tuple[bytes, Any]:
        """Return an entry, each with the same chance; the table is not empty."""
        bucket, key = self._draw(random)
        return key, bucket[key]

    def random_key(self, random: Random) -> bytes:
        """Return a key, each with the same chance; the table is not empty."""
        return self._draw(random)[1]

    def pop_random(self, random: Random) -> bytes:
        """Remove an entry, each with the same chance, and return its key; the table is not
        empty.
        """
        bucket, key = self._draw(random)
        del bucket[key]
        self._size -= 1
        if len(bucket) < BUCKET_MIN // 2:
            self._join(hash(key) & _MASK)
        return key

    def free(self, steps: int) -> int:
        """Let go of up to about `steps` entries; return how many. The table is of no use then."""
        freed = 0
        directory = self._directory
        while directory and freed < steps:
            bucket = directory.pop()
            if not directory or directory[-1] is not bucket:
                freed += len(bucket)
        self._size -= freed
        return freed

    def memory_bytes(self) -> int:
        """Return the bytes of the table itself, without keys and values; of large ones about
        _SIZED buckets are looked at.
        """
        directory, depths, depth = self._directory, self._depths, self._depth
        step = max(1, len(directory) // _SIZED)
        shares = [
            sys.getsizeof(directory[at]) >> (depth - depths[at])
            for at in range(0, len(directory), step)
        ]
        return sum(shares) * step + sys.getsizeof(directory) + sys.getsizeof(depths)

    def check(self) -> None:
        """Assert what the module's text says always holds."""
        directory, depths, depth = self._directory, self._depths, self._depth
        assert len(directory) == len(depths) == 1 << depth
        assert self._shift == POSITION_BITS - depth
        counts = [0] * len(self._at_depth)
        size = at = 0
        while at < len(directory):
            bucket, own = directory[at], depths[at]
            span = 1 << (depth - own)
            assert not at % span
            assert all(one is bucket for one in directory[at : at + span])
            assert depths[at : at + span] == [own] * span
            assert len(bucket) <= BUCKET_MAX or own == MAX_DEPTH
            assert len(bucket) <= self._densest * span
            for key in bucket:
                assert at <= (hash(key) & _MASK) >> self._shift < at + span
            counts[own] += 1
            size += len(bucket)
            at += span
        assert size == self._size
        assert counts == self._at_depth
        assert len({id(bucket) for bucket in self.buckets()}) == sum(counts)

    # -- inside ------------------------------------------------------------------------------------

    def _distinct(self) -> Iterator[tuple[Bucket, int]]:
        at = 0
        while at < len(self._directory):
            depth = self._depths[at]
            yield self._directory[at], depth
            at += 1 << (self._depth - depth)

    def _draw(self, random: Random) -> tuple[Bucket, bytes]:
        """Return a key, each with the same chance, and its bucket."""
        directory, depths, depth = self._directory, self._depths, self._depth
        bits, fraction = random.getrandbits, random.random
        # A place in the directory hits a bucket in proportion to its interval, so one of twice the
        # interval must be thrown away twice as often, and one half full half the time.
        while True:
            at = bits(depth)
            bucket = directory[at]
            pick = int(fraction() * (self._densest << (depth - depths[at])))
            behind = len(bucket) - pick
            if behind > 0:
                # From the nearer end, as it is the keys on the way there that take the time.
                if pick < behind:
                    return bucket, next(islice(bucket, pick, None))
                return bucket, next(islice(reversed(bucket), behind - 1, None))
            if not 3 * self._measured <= 4 * self._size <= 6 * self._measured:
                self._measure()

    def _measure(self) -> None:
        """Look for the most entries that a bucket has for each of its places."""
        self._measured = self._size
        if len(self._directory) <= MEASURED_MAX:
            spans = map(sub, repeat(self._depth), self._depths)  # their logarithms
            self._densest = 1 + max(map(rshift, map(len, self._directory), spans))

    def _crowd(self, position: int, size: int) -> None:
        """Do what is to be done after the bucket of a position grew to so many entries, which may
        be too many for it or for `_densest`.
        """
        at = position >> self._shift
        if size > BUCKET_MAX and self._depths[at] < MAX_DEPTH:
            self._split(position)
        else:
            span = 1 << (self._depth - self._depths[at])
            self._densest = max(self._densest, -(-size // span))

    def _split(self, position: int) -> None:
        """Split the bucket of a position, again if all its entries fall into one half."""
        while True:
            at = position >> self._shift
            depth = self._depths[at]
            if depth == MAX_DEPTH or len(self._directory[at]) <= BUCKET_MAX:
                return
            if depth == self._depth:
                self._double()
                at = position >> self._shift
            span = 1 << (self._depth - depth)
            first = at & -span
            middle = first + span // 2
            bit = 1 << (POSITION_BITS - 1 - depth)
            low: Bucket = {}
            high: Bucket = {}
            for key, value in self._directory[at].items():
                (high if hash(key) & bit else low)[key] = value
            half = span // 2
            self._directory[first:middle] = [low] * half
            self._directory[middle : first + span] = [high] * half
            self._depths[first : first + span] = [depth + 1] * span
            self._at_depth[depth] -= 1
            self._at_depth[depth + 1] += 2
            self._densest = max(self._densest, len(low), len(high))

    def _double(self) -> None:
        # By slices, which is ten times as quick: it is the one step that grows with the table.
        directory, depths = self._directory * 2, self._depths * 2
        directory[::2] = directory[1::2] = self._directory
        depths[::2] = depths[1::2] = self._depths
        self._directory, self._depths = directory, depths
        self._depth += 1
        self._shift -= 1
        self._measured = 0
        if len(self._at_depth) <= self._depth:
            self._at_depth.append(0)

    def _join(self, position: int) -> None:
        """Join the bucket of a position with its other half while they have few entries."""
        while True:
            at = position >> self._shift
            depth = self._depths[at]
            if not depth:
                return
            span = 1 << (self._depth - depth)
            first = at & -(2 * span)
            if self._depths[first] != depth or self._depths[first + span] != depth:
                return
            low, high = self._directory[first], self._directory[first + span]
            if len(low) + len(high) > BUCKET_MIN:
                return
            joined = low | high
            self._directory[first : first + 2 * span] = [joined] * (2 * span)
            self._depths[first : first + 2 * span] = [depth - 1] * (2 * span)
            self._at_depth[depth] -= 2
            self._at_depth[depth - 1] += 1
            while self._depth and not self._at_depth[self._depth]:
                del self._directory[1::2], self._depths[1::2]
                self._at_depth.pop()
                self._depth -= 1
                self._shift += 1
                # Each bucket has half the places now, and none is of MAX_DEPTH.
                self._densest, self._measured = BUCKET_MAX, 0
