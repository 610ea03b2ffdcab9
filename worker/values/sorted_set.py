"""Sorted sets: members in the order of (score, member), and each member's score.

Two structures hold the same elements. A map from member to score answers ZSCORE; an order answers
everything about ranks and ranges. Both grow with the set:

- up to MAP_ABOVE members there is no map, as looking through so few is as quick;
- up to FLAT_MAX the map is a dict and the order is flat: an array of scores beside a list of
  members, sorted;
- above, the map is a `Table`, which never stops to grow, and the order is made of such pairs, the
  blocks, of at most BLOCK_MAX. It keeps each block's last element, so two binary searches find any
  place, and the number of elements in each GROUP of blocks, so a rank is a short sum.

A set goes back to a smaller form only at half the size, so that one that stays around a limit does
not change its form each time. Scores lie in an `array`, as a binary search through it touches one
cache line at the end, where a list of floats touches an object at every step. Blocks and map share
the member's object.

Every range is a pair of ranks: `rank_of_score` and `ranks_by_member` translate the ends of a range
into ranks. A score is any double but NaN; -0.0 equals 0.0, so the order of those is by member. As
long as the encoding is listpack, -0.0 becomes 0.0: Redis stores it there as an integer.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from operator import itemgetter
from random import Random
from typing import Any, Final

from shoal.worker.values.limits import LIMITS
from shoal.worker.values.table import Table

MAP_ABOVE: Final = 16
FLAT_MAX: Final = 512
BLOCK_MAX: Final = 512
BLOCK_MIN: Final = 64
_GROUP_BITS: Final = 6
GROUP: Final = 1 << _GROUP_BITS

# Elements of one ZADD that rebuilds a part of the set.
_REBUILT_AT_ONCE: Final = 64

Element = tuple[bytes, float]
Range = tuple[float, float]  # of scores, from the first to the second (exclusive)
Part = tuple[Sequence[bytes], Sequence[float], int, int]
"""Members, their scores, and the first and the last (exclusive) of those that are meant."""
Columns = tuple[list[bytes], list[float]]  # as many members as scores
LexEnd = tuple[bytes | None, bool]
ScoreRange = tuple[float, float, bool, bool]  # low, high, and whether each is left out

_order_of: Final = itemgetter(1, 0)


class _Flat:
    """Elements in order, in one array of scores and one list of members."""

    __slots__ = ("members", "scores")

    def __init__(self, members: list[bytes], scores: array[float]) -> None:
        self.members = members
        self.scores = scores

    def __len__(self) -> int:
        return len(self.members)

    def insert(self, member: bytes, score: float) -> None:
        """Add an element that is not there."""
        scores, members = self.scores, self.members
        at = bisect_left(scores, score)
        if at < len(scores) and scores[at] == score:
            at = bisect_left(members, member, at, bisect_right(scores, score, at))
        scores.insert(at, score)
        members.insert(at, member)

    def rank(self, member: bytes, score: float) -> int:
        """Return the rank of an element that is there."""
        scores, members = self.scores, self.members
        at = bisect_left(scores, score)
        if members[at] != member:
            at = bisect_left(members, member, at, bisect_right(scores, score, at))
        return at

    def remove(self, member: bytes, score: float) -> bytes:
        """Remove an element that is there; return the member that was kept."""
        at = self.rank(member, score)
        del self.scores[at]
        return self.members.pop(at)

    def move(self, member: bytes, score: float, new: float) -> None:
        """Give an element that is there another score."""
        scores, members = self.scores, self.members
        at = self.rank(member, score)
        if (not at or scores[at - 1] < new) and (at == len(scores) - 1 or new < scores[at + 1]):
            scores[at] = new
            return
        member = members.pop(at)
        del scores[at]
        self.insert(member, new)

    def between(self, ranges: Iterable[Range]) -> Iterator[Part]:
        """Iterate over the elements of each range of scores, block by block."""
        members, scores = self.members, self.scores
        for low, high in ranges:
            start = bisect_left(scores, low)
            stop = bisect_left(scores, high, start)
            if start < stop:
                yield members, scores, start, stop

    def rank_of_score(self, score: float, after: bool) -> int:
        """Return how many elements are below a score, or (after) not above it."""
        return bisect_right(self.scores, score) if after else bisect_left(self.scores, score)

    def rank_of_member(self, member: bytes, after: bool) -> int:
        """The same for a member, where all scores are equal."""
        return bisect_right(self.members, member) if after else bisect_left(self.members, member)

    def ends(self) -> tuple[float, float]:
        """Return the lowest and the highest score."""
        return self.scores[0], self.scores[-1]

    def members_at(self, start: int, stop: int) -> list[bytes]:
        """Return the members of these ranks, in order."""
        return self.members[start:stop]

    def columns_at(self, start: int, stop: int) -> Columns:
        """Return the elements of these ranks, in order."""
        return self.members[start:stop], self.scores[start:stop].tolist()

    def members_between(self, ends: ScoreRange, offset: int, limit: int) -> list[bytes]:
        """Return the members of a range of scores, in order, but for the first `offset` of them,
        and at most `limit`.
        """
        low, high, low_open, high_open = ends
        scores = self.scores
        start = (bisect_right if low_open else bisect_left)(scores, low) + offset
        stop = (bisect_left if high_open else bisect_right)(scores, high)
        return self.members[start : min(stop, start + limit)]

    def pop_at(self, start: int, stop: int) -> Columns:
        """Remove the elements of these ranks; return them."""
        removed = self.columns_at(start, stop)
        del self.scores[start:stop], self.members[start:stop]
        return removed

    def pop_end(self, highest: bool) -> Element:
        """Remove the lowest or the highest element; return it."""
        at = -1 if highest else 0
        return self.members.pop(at), self.scores.pop(at)

    def __iter__(self) -> Iterator[Element]:
        return iter(zip(self.members, self.scores, strict=True))

    def copy(self) -> _Flat:
        return _Flat(self.members.copy(), self.scores[:])

    def memory_bytes(self) -> int:
        return sys.getsizeof(self) + sys.getsizeof(self.members) + sys.getsizeof(self.scores)

    def check(self) -> None:
        assert len(self.members) == len(self.scores)
        found = list(self)
        assert found == sorted(found, key=_order_of)


class _Blocks:
    """Elements in order, in blocks: the methods of `_Flat`.

    `_members[k]` and `_scores[k]` are block k, never empty; `_last_members[k]` and
    `_last_scores[k]` its last element; `_groups[g]` is the number of elements in the blocks from
    g * GROUP on, GROUP of them or what is left. There is at least one block. `_found` is (rank,
    block, place) of the last score looked for, None after a change: who asks for a range of scores
    asks for the elements from there on next.
    """

    __slots__ = ("_found", "_groups", "_last_members", "_last_scores", "_members", "_scores")

    def __init__(self, members: list[bytes], scores: array[float]) -> None:
        """Hold at least one element, given in order."""
        half = BLOCK_MAX // 2
        starts = range(0, len(members), half)
        self._members = [members[at : at + half] for at in starts]
        self._scores = [scores[at : at + half] for at in starts]
        self._last_members = [block[-1] for block in self._members]
        self._last_scores = array("d", [block[-1] for block in self._scores])
        self._groups: list[int] = []
        self._found: tuple[int, int, int] | None = None
        self._count(0)

    def __len__(self) -> int:
        return sum(self._groups)

    def insert(self, member: bytes, score: float) -> None:
        """Add an element that is not there."""
        self._found = None
        last_scores = self._last_scores
        at = bisect_left(last_scores, score)
        count = len(last_scores)
        if at < count and last_scores[at] == score:
            end = bisect_right(last_scores, score, at)
            at = bisect_left(self._last_members, member, at, end)
        if at < count:
            members, scores = self._members[at], self._scores[at]
            place = bisect_left(scores, score)
            if scores[place] == score:
                place = bisect_left(members, member, place, bisect_right(scores, score, place))
            scores.insert(place, score)
            members.insert(place, member)
        else:
            at -= 1
            members = self._members[at]
            self._scores[at].append(score)
            members.append(member)
            last_scores[at] = score
            self._last_members[at] = member
        self._groups[at >> _GROUP_BITS] += 1
        if len(members) > BLOCK_MAX:
            self._split(at)

    def _find(self, member: bytes, score: float) -> tuple[int, int]:
        """Return block and place of an element that is there."""
        last_scores = self._last_scores
        at = bisect_left(last_scores, score)
        if last_scores[at] == score and self._last_members[at] != member:
            at = bisect_left(self._last_members, member, at, bisect_right(last_scores, score, at))
        members, scores = self._members[at], self._scores[at]
        place = bisect_left(scores, score)
        if members[place] != member:
            place = bisect_left(members, member, place, bisect_right(scores, score, place))
        return at, place

    def rank(self, member: bytes, score: float) -> int:
        """Return the rank of an element that is there."""
        at, place = self._find(member, score)
        return self._before(at) + place

    def remove(self, member: bytes, score: float) -> bytes:
        """Remove an element that is there; return the member that was kept."""
        return self._remove(*self._find(member, score))

    def _remove(self, at: int, place: int) -> bytes:
        self._found = None
        members, scores = self._members[at], self._scores[at]
        member = members.pop(place)
        del scores[place]
        size = len(members)
        self._groups[at >> _GROUP_BITS] -= 1
        if size < BLOCK_MIN and len(self._members) > 1:
            self._join(at)
        elif place == size:
            self._last_members[at] = members[-1]
            self._last_scores[at] = scores[-1]
        return member

    def move(self, member: bytes, score: float, new: float) -> None:
        """Give an element that is there another score."""
        at, place = self._find(member, score)
        scores = self._scores[at]
        last = len(scores) - 1
        if not 0 < place < last or last < BLOCK_MIN:
            self.insert(self._remove(at, place), new)
        elif scores[place - 1] < new < scores[place + 1]:
            self._found = None
            scores[place] = new
        else:  # as `_remove`, without its questions
            del scores[place]
            self._groups[at >> _GROUP_BITS] -= 1
            self.insert(self._members[at].pop(place), new)

    def between(self, ranges: Iterable[Range]) -> Iterator[Part]:
        """Iterate over the elements of each range of scores, block by block."""
        last_scores = self._last_scores
        count = len(last_scores)
        for low, high in ranges:
            at = bisect_left(last_scores, low)
            while at < count:
                scores = self._scores[at]
                start = bisect_left(scores, low)
                stop = bisect_left(scores, high, start)
                if start < stop:
                    yield self._members[at], scores, start, stop
                if stop < len(scores):
                    break
                at += 1

    def rank_of_score(self, score: float, after: bool) -> int:
        """Return how many elements are below a score, or (after) not above it."""
        bisect = bisect_right if after else bisect_left
        at = bisect(self._last_scores, score)
        if at == len(self._last_scores):
            return sum(self._groups)
        place = bisect(self._scores[at], score)
        rank = self._before(at) + place
        self._found = rank, at, place
        return rank

    def rank_of_member(self, member: bytes, after: bool) -> int:
        """The same for a member, where all scores are equal."""
        bisect = bisect_right if after else bisect_left
        at = bisect(self._last_members, member)
        if at == len(self._last_members):
            return sum(self._groups)
        return self._before(at) + bisect(self._members[at], member)

    def ends(self) -> tuple[float, float]:
        """Return the lowest and the highest score."""
        return self._scores[0][0], self._last_scores[-1]

    def members_at(self, start: int, stop: int) -> list[bytes]:
        """Return the members of these ranks, in order."""
        blocks = self._members
        if stop <= len(blocks[0]):
            return blocks[0][start:stop]
        at, place = self._place(start)
        size = stop - start
        found = blocks[at][place : place + size]
        while len(found) < size:
            at += 1
            found += blocks[at][: size - len(found)]
        return found

    def columns_at(self, start: int, stop: int) -> Columns:
        """Return the elements of these ranks, in order."""
        at, place = self._place(start)
        size = stop - start
        members = self._members[at][place : place + size]
        scores = self._scores[at][place : place + size]
        while len(members) < size:
            at += 1
            left = size - len(members)
            members += self._members[at][:left]
            scores += self._scores[at][:left]
        return members, scores.tolist()

    def members_between(self, ends: ScoreRange, offset: int, limit: int) -> list[bytes]:
        """Return the members of a range of scores, in order, but for the first `offset` of them,
        and at most `limit`.
        """
        low, high, low_open, high_open = ends
        first = bisect_right if low_open else bisect_left
        behind = bisect_left if high_open else bisect_right
        found: list[bytes] = []
        block = first(self._last_scores, low)
        if block == len(self._scores):
            return found
        start = first(self._scores[block], low) + offset
        for at in range(block, len(self._scores)):
            scores = self._scores[at]
            stop = behind(scores, high)
            if start < stop:
                found += self._members[at][start : min(stop, start + limit - len(found))]
            if stop < len(scores) or len(found) >= limit:
                break
            start = max(start - len(scores), 0)
        return found

    def pop_end(self, highest: bool) -> Element:
        """Remove the lowest or the highest element, which is not the only one; return it."""
        at = len(self._scores) - 1 if highest else 0
        place = len(self._scores[at]) - 1 if highest else 0
        score = self._scores[at][place]
        return self._remove(at, place), score

    def pop_at(self, start: int, stop: int) -> Columns:
        """Remove the elements of these ranks, which are not all; return them."""
        removed = self.columns_at(start, stop)
        self._found = None
        first, place = self._place(start)
        last, end = self._place(stop - 1)
        end += 1
        blocks = len(self._members)
        in_first = min(len(self._members[first]) - place, stop - start)
        if first == last:
            del self._members[first][place:end], self._scores[first][place:end]
        else:
            del self._members[first][place:], self._scores[first][place:]
            del self._members[last][:end], self._scores[last][:end]
            inner = slice(first + 1, last)
            del self._members[inner], self._scores[inner]
            del self._last_members[inner], self._last_scores[inner]
            last = first + 1
        for at in range(last, first - 1, -1):
            if self._members[at]:
                self._last_members[at] = self._members[at][-1]
                self._last_scores[at] = self._scores[at][-1]
            else:
                self._drop(at)
        if len(self._members) == blocks:
            self._groups[first >> _GROUP_BITS] -= in_first
            self._groups[last >> _GROUP_BITS] -= stop - start - in_first
        else:
            self._count(first >> _GROUP_BITS)
        for at in (first + 1, first):
            if at < len(self._members) > 1 and len(self._members[at]) < BLOCK_MIN:
                self._join(at)
        return removed

    def __iter__(self) -> Iterator[Element]:
        return zip(
            chain.from_iterable(self._members), chain.from_iterable(self._scores), strict=True
        )

    def copy(self) -> _Blocks:
        twin = _Blocks.__new__(_Blocks)
        twin._members = [block.copy() for block in self._members]
        twin._scores = [block[:] for block in self._scores]
        twin._last_members = self._last_members.copy()
        twin._last_scores = self._last_scores[:]
        twin._groups = self._groups.copy()
        twin._found = None
        return twin

    def flat(self) -> _Flat:
        """Return the elements in the other form."""
        scores = array("d")
        for block in self._scores:
            scores += block
        return _Flat(list(chain.from_iterable(self._members)), scores)

    def free(self, steps: int) -> None:
        """Let go of at least so many elements, or of all; the order is of no use then."""
        while self._members and steps > 0:
            steps -= len(self._members.pop())
            self._scores.pop()

    def memory_bytes(self) -> int:
        size = sum(map(sys.getsizeof, self._members)) + sum(map(sys.getsizeof, self._scores))
        for side in (self._members, self._scores, self._last_members, self._last_scores):
            size += sys.getsizeof(side)
        return size + sys.getsizeof(self) + sys.getsizeof(self._groups)

    def check(self) -> None:
        sizes = [len(block) for block in self._members]
        assert sizes == [len(block) for block in self._scores]
        assert sizes
        assert all(0 < size <= BLOCK_MAX for size in sizes)
        assert self._last_members == [block[-1] for block in self._members]
        assert list(self._last_scores) == [block[-1] for block in self._scores]
        starts = range(0, len(sizes), GROUP)
        assert self._groups == [sum(sizes[at : at + GROUP]) for at in starts]
        if self._found is not None:
            rank, block, place = self._found
            assert rank == sum(sizes[:block]) + place
            assert place < sizes[block]
        found = list(self)
        assert found == sorted(found, key=_order_of)

    # -- inside ------------------------------------------------------------------------------------

    def _before(self, at: int) -> int:
        """Return how many elements the blocks before this one have."""
        group = at >> _GROUP_BITS
        members = self._members
        return sum(self._groups[:group]) + sum(map(len, members[group << _GROUP_BITS : at]))

    def _place(self, rank: int) -> tuple[int, int]:
        """Return block and place of a rank, which exists."""
        found = self._found
        if found is not None and found[0] == rank:
            return found[1], found[2]
        at = 0
        for count in self._groups:
            if rank < count:
                break
            rank -= count
            at += GROUP
        blocks = self._members
        size = len(blocks[at])
        while rank >= size:
            rank -= size
            at += 1
            size = len(blocks[at])
        return at, rank

    def _split(self, at: int) -> None:
        """Cut a block in the middle."""
        members, scores = self._members[at], self._scores[at]
        half = len(members) // 2
        self._members[at : at + 1] = [members[:half], members[half:]]
        self._scores[at : at + 1] = [scores[:half], scores[half:]]
        self._last_members.insert(at, members[half - 1])
        self._last_scores.insert(at, scores[half - 1])
        # In each group after this one a block comes in at the start and one leaves at the end.
        blocks, groups = self._members, self._groups
        group = at >> _GROUP_BITS
        for edge in range((group + 1) << _GROUP_BITS, len(blocks), GROUP):
            moved = len(blocks[edge])
            groups[group] -= moved
            group += 1
            if group == len(groups):
                groups.append(0)
            groups[group] += moved

    def _join(self, at: int) -> None:
        """Put a block and the next (the last one: the one before) together."""
        if at == len(self._members) - 1:
            at -= 1
        self._members[at] += self._members[at + 1]
        self._scores[at] += self._scores[at + 1]
        self._last_members[at] = self._members[at][-1]
        self._last_scores[at] = self._scores[at][-1]
        self._drop(at + 1)
        self._count(at >> _GROUP_BITS)
        if len(self._members[at]) > BLOCK_MAX:
            self._split(at)

    def _drop(self, at: int) -> None:
        """Forget a block; the groups are counted afterwards."""
        del self._members[at], self._scores[at], self._last_members[at], self._last_scores[at]

    def _count(self, group: int) -> None:
        """Count the groups from this one on."""
        blocks = self._members
        starts = range(group << _GROUP_BITS, len(blocks), GROUP)
        self._groups[group:] = [sum(map(len, blocks[at : at + GROUP])) for at in starts]


class SortedSet:
    """A sorted set; see the module's text.

    Elements are (member, score). Ranks count from 0, in the order of (score, member); a pair of
    ranks is start and stop, stop not included, both within the set.

    Attributes:
        expire_ms: of the key, 0 for never.
    """

    __slots__ = ("_listpack", "_map", "_order", "expire_ms")

    type_name = b"zset"

    def __init__(self, items: Iterable[Element] = (), *, listpack: bool = True) -> None:
        """Hold the items, in any order; of equal members the last counts.

        Args:
            items: the elements.
            listpack: whether OBJECT ENCODING may say so, as far as the limits allow.
        """
        self.expire_ms = 0
        scores = dict(items)
        entries = LIMITS.zset_max_listpack_entries
        self._listpack = listpack and len(scores) <= entries
        if self._listpack and scores:
            self._listpack = max(map(len, scores)) <= LIMITS.zset_max_listpack_value
        if self._listpack:
            scores = {member: score + 0.0 for member, score in scores.items()}
        pairs = sorted(scores.items(), key=_order_of)
        members = [member for member, _ in pairs]
        in_order = array("d", [score for _, score in pairs])
        self._map: dict[bytes, float] | Table | None = None
        self._order: _Flat | _Blocks
        if len(scores) > FLAT_MAX:
            self._map = Table(scores.items())
            self._order = _Blocks(members, in_order)
        else:
            self._order = _Flat(members, in_order)
            if len(scores) > MAP_ABOVE:
                self._map = scores

    def assume_listpack(self) -> None:
        """Take the encoding of a listpack that was dumped, in which members may be longer than they
        may become now.
        """
        self._listpack = len(self) <= LIMITS.zset_max_listpack_entries

    @property
    def encoding(self) -> bytes:
        """What OBJECT ENCODING says."""
        return b"listpack" if self._listpack else b"skiplist"

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self._order if self._map is None else self._map)

    def __contains__(self, member: bytes) -> bool:
        """Tell whether member is there."""
        return self.score(member) is not None

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the members, in order; nothing may change meanwhile."""
        return (member for member, _ in self._order)

    def items(self) -> Iterator[Element]:
        """Iterate over the elements, in order; nothing may change meanwhile."""
        return iter(self._order)

    def expect(self, count: int) -> None:
        """Be ready for `count` members to be added: what is too many for the encoding changes it,
        even if the members are there already.
        """
        if count > LIMITS.zset_max_listpack_entries:
            self._listpack = False

    def to_skiplist(self) -> None:
        """Say `skiplist` from now on."""
        self._listpack = False

    # -- one member --------------------------------------------------------------------------------

    def score(self, member: bytes) -> float | None:
        """Return member's score, None if it is not there."""
        scores = self._map
        if scores is not None:
            return scores.get(member)
        order: Any = self._order
        return order.scores[order.members.index(member)] if member in order.members else None

    def add(self, member: bytes, score: float) -> bool:
        """Add member or give it another score; tell whether it is new."""
        return self.put(member, score) is None

    def put(self, member: bytes, score: float) -> float | None:
        """Add member or give it another score; return the score it had, None if it is new.

        As ZADD of one member, `expect` included.
        """
        scores = self._map
        if scores.__class__ is Table:  # looked up once, as it takes longest there
            bucket = scores.bucket(member)
            old: float | None = bucket.get(member)
            if old is not None:
                if old != score:
                    if self._listpack:
                        score += 0.0
                    self._order.move(member, old, score)
                    bucket[member] = score
                return old
        else:
            if not LIMITS.zset_max_listpack_entries:
                self._listpack = False
            old = self.score(member)
            if old is not None:
                if old != score:
                    self.move(member, old, score)
                return old
        self.insert(member, score)
        return None

    def insert(self, member: bytes, score: float) -> None:
        """Add a member that is not there."""
        if self._listpack:
            if (
                len(self) >= LIMITS.zset_max_listpack_entries
                or len(member) > LIMITS.zset_max_listpack_value
            ):
                self._listpack = False
            else:
                score += 0.0
        self._order.insert(member, score)
        scores = self._map
        if scores is None:
            if len(self._order) > MAP_ABOVE:
                self._map = dict(self._order)
        else:
            scores[member] = score
            if scores.__class__ is dict and len(scores) > FLAT_MAX:
                self._map = Table(scores.items())
                order: Any = self._order
                self._order = _Blocks(order.members, order.scores)

    def move(self, member: bytes, old: float, score: float) -> None:
        """Give a member, whose score is `old`, another score."""
        if self._listpack:
            score += 0.0
        self._order.move(member, old, score)
        scores = self._map
        if scores.__class__ is Table:
            scores.bucket(member)[member] = score
        elif scores is not None:
            scores[member] = score

    def remove(self, member: bytes) -> bool:
        """Remove member; tell whether it was there."""
        scores = self._map
        score = self.score(member) if scores is None else scores.pop(member, None)
        if score is None:
            return False
        self._order.remove(member, score)
        if scores is not None:
            self._shrink()
        return True

    def rank(self, member: bytes) -> int | None:
        """Return member's rank, None if it is not there."""
        score = self.score(member)
        return None if score is None else self._order.rank(member, score)

    # -- ranks -------------------------------------------------------------------------------------

    def members_at(self, start: int, stop: int) -> list[bytes]:
        """Return the members of these ranks, in order."""
        return self._order.members_at(start, stop) if start < stop else []

    def columns_at(self, start: int, stop: int) -> Columns:
        """Return members and scores of these ranks, in order."""
        return self._order.columns_at(start, stop) if start < stop else ([], [])

    def elements_at(self, start: int, stop: int) -> list[Element]:
        """Return the elements of these ranks, in order."""
        return list(zip(*self.columns_at(start, stop), strict=True))

    def pop_at(self, start: int, stop: int) -> Columns:
        """Remove the elements of these ranks; return their members and scores, in order."""
        if start >= stop:
            return [], []
        if stop - start == len(self):
            removed = self._order.columns_at(start, stop)
            self._order, self._map = _Flat([], array("d")), None
            return removed
        removed = self._order.pop_at(start, stop)
        scores = self._map
        if scores is not None:
            for member in removed[0]:
                scores.pop(member)
            self._shrink()
        return removed

    def pop_end(self, highest: bool) -> Element:
        """Remove the lowest or the highest element and return it; the set is not empty."""
        member, score = self._order.pop_end(highest)
        scores = self._map
        if scores is not None:
            scores.pop(member)
            self._shrink()
        return member, score

    def members_between(self, ends: ScoreRange, offset: int, limit: int) -> list[bytes]:
        """Return the members of a range of scores, in order, but for the first `offset` of them,
        and at most `limit` (negative: all). Quicker than by ranks, which nobody needs to know.
        """
        return self._order.members_between(ends, offset, limit if limit >= 0 else sys.maxsize)

    def rank_of_score(self, score: float, after: bool = False) -> int:
        """Return how many elements are below a score, or (after) not above it."""
        return self._order.rank_of_score(score, after)

    def between(self, ranges: Iterable[Range]) -> Iterator[Part]:
        """Iterate over the elements of each range of scores, in order, some at a time; nothing may
        change meanwhile. Quicker than by ranks, which nobody needs to know.
        """
        return self._order.between(ranges)

    def ranks_by_score(
        self, low: float, high: float, low_open: bool = False, high_open: bool = False
    ) -> tuple[int, int]:
        """Return the ranks of the scores from low to high; an open end is not in the range."""
        stop = self._order.rank_of_score(high, not high_open)
        start = self._order.rank_of_score(low, low_open)
        return start, max(start, stop)

    def ranks_by_member(
        self, low: LexEnd, high: LexEnd, *, backwards: bool = False
    ) -> tuple[int, int]:
        """Return the ranks of the members between two ends, all scores being equal.

        Where they are not, Redis gives what its search happens to find. That is kept for small
        sets, as a walk: from the first member not below the range up to one above it, or backwards.

        Args:
            low: member and whether the range begins behind it; member None is above every member.
            high: member and whether the range ends behind it.
            backwards: whether the walk is from the last member to the first.
        """
        order = self._order
        size = len(self)
        if order.__class__ is _Flat and size:
            first, last = order.ends()
            if first != last:
                return _walk(order.members_at(0, size), low, high, backwards)
        start, stop = self._rank_of_end(low), self._rank_of_end(high)
        return start, max(start, stop)

    def _rank_of_end(self, end: LexEnd) -> int:
        member, behind = end
        return len(self) if member is None else self._order.rank_of_member(member, behind)

    # -- as a whole --------------------------------------------------------------------------------

    def scan(self, position: int, count: int) -> tuple[int, list[Element]]:
        """Return elements from a position on, as `Table.scan`; of a small set all, in order."""
        if self._map.__class__ is Table:
            return self._map.scan(position, count)
        return 0, list(self._order)

    def random_element(self, random: Random) -> Element:
        """Return an element, each with the same chance; the set is not empty."""
        if self._map.__class__ is Table:
            return self._map.random_item(random)
        at = random.randrange(len(self))
        return self.elements_at(at, at + 1)[0]

    def copy(self) -> SortedSet:
        """Return a sorted set of the same elements and encoding, without an expire time."""
        twin = SortedSet.__new__(SortedSet)
        twin.expire_ms = 0
        twin._listpack = self._listpack
        twin._map = None if self._map is None else self._map.copy()
        twin._order = self._order.copy()
        return twin

    def commands(self, key: bytes) -> Iterator[tuple[bytes, ...]]:
        """Yield the ZADDs that make the set again, highest score last, so that each appends."""
        elements = iter(self._order)
        while batch := list(islice(elements, _REBUILT_AT_ONCE)):
            words = [word for member, score in batch for word in (repr(score).encode(), member)]
            yield b"ZADD", key, *words

    def memory_bytes(self, samples: int) -> int:
        """Return about how many bytes the set takes; members are measured up to `samples`, 0 for
        all.
        """
        size = sys.getsizeof(self) + self._order.memory_bytes()
        count = len(self)
        scores = self._map
        if scores is not None:
            size += sys.getsizeof(scores) if isinstance(scores, dict) else scores.memory_bytes()
            size += count * sys.getsizeof(0.0)
        if not count:
            return size
        if samples:
            ranks = range(0, count, max(1, count // samples))
            seen = [sys.getsizeof(self._order.members_at(at, at + 1)[0]) for at in ranks]
        else:
            seen = list(map(sys.getsizeof, self))
        return size + sum(seen) * count // len(seen)

    def free(self, steps: int) -> int:
        """Let go of about `steps` elements; return their number."""
        scores = self._map
        if isinstance(scores, Table):
            order: Any = self._order
            order.free(steps)
            return scores.free(steps)
        size = len(self)
        self._map = None
        self._order = _Flat([], array("d"))
        return size

    def check(self) -> None:
        """Assert what the module's text says always holds."""
        order, scores = self._order, self._map
        order.check()
        elements = list(order)
        assert not any(score != score for _, score in elements)
        if scores is None:
            assert order.__class__ is _Flat
            assert len(elements) <= MAP_ABOVE
        else:
            assert (order.__class__ is _Blocks) == (scores.__class__ is Table)
            if isinstance(scores, Table):
                scores.check()
                assert len(scores) > FLAT_MAX // 2
            else:
                assert MAP_ABOVE // 2 < len(scores) <= FLAT_MAX
            assert len(scores) == len(elements)
            kept = {id(member) for member in scores}
            for member, score in elements:
                assert scores.get(member) == score
                assert id(member) in kept, "the member is kept twice"

    def _shrink(self) -> None:
        """Go back to a smaller form if there are few members left."""
        scores: Any = self._map
        size = len(scores)
        if size > FLAT_MAX // 2:
            return
        if size <= MAP_ABOVE // 2:
            if isinstance(self._order, _Blocks):
                self._order = self._order.flat()
            self._map = None
        elif isinstance(self._order, _Blocks):
            self._order = self._order.flat()
            self._map = dict(scores.items())


def _walk(members: list[bytes], low: LexEnd, high: LexEnd, backwards: bool) -> tuple[int, int]:
    """Return the ranks that a walk through members in no order finds; see `ranks_by_member`."""

    def reaches(member: bytes) -> bool:
        end, behind = low
        return end is not None and (member > end if behind else member >= end)

    def within(member: bytes) -> bool:
        end, behind = high
        return end is None or (member <= end if behind else member < end)

    size = len(members)
    if not (reaches(members[-1]) and within(members[0])):
        return 0, 0
    if backwards:
        stop = next((at + 1 for at in range(size - 1, -1, -1) if within(members[at])), 0)
        start = stop
        while start and reaches(members[start - 1]):
            start -= 1
        return start, stop
    start = next((at for at in range(size) if reaches(members[at])), size)
    stop = start
    while stop < size and within(members[stop]):
        stop += 1
    return start, stop
