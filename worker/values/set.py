"""Sets.

What OBJECT ENCODING says of a set, and how it is kept, are two things here. The encoding follows
Redis's rules, which clients can see: a set of integers is an `intset`, given in numerical order;
a small one of short members is a `listpack`, given in the order of insertion; everything else is a
`hashtable`, given in no order. Only growing changes it, so it depends on the history. Kept are:

- an intset as a sorted array of 64-bit integers: 8 bytes each, a member costs a binary search;
- other sets of up to LIST_MAX members as a list, 8 bytes and the member itself for each: looking
  through so few takes no longer than an attribute, and a dict would be three times as large;
- up to TABLE_ABOVE members as a dict, which keeps the order of insertion;
- above that as a `Table`, in no order (also a listpack, if set-max-listpack-entries allows one so
  large). It goes back to a dict at TABLE_BELOW members.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import chain, islice, repeat
from random import Random
from typing import Any, Final

from shoal.proto.numbers import parse_int
from shoal.worker.values.limits import LIMITS
from shoal.worker.values.table import Table

INTSET: Final = b"intset"
LISTPACK: Final = b"listpack"
HASHTABLE: Final = b"hashtable"

LIST_MAX: Final = 16
TABLE_ABOVE: Final = 512
TABLE_BELOW: Final = 128

_MISSING: Final = object()

# Members of one SADD in the rewritten log.
_AT_ONCE: Final = 64


def _keep(members: list[bytes]) -> Any:
    """Return what members, all different, are kept in when they are no intset."""
    if len(members) <= LIST_MAX:
        return members
    if len(members) <= TABLE_ABOVE:
        return dict.fromkeys(members)
    return Table(zip(members, repeat(None)))


class Set:
    """A set of bytes; see the module's text.

    Attributes:
        encoding: INTSET, LISTPACK or HASHTABLE; changes to it follow the thresholds in `LIMITS` as
            they are when a member is added.
        expire_ms: of the key, ms since the epoch, 0 for never; the keyspace's.
    """

    __slots__ = ("_members", "encoding", "expire_ms")

    type_name = b"set"

    def __init__(self, encoding: bytes = INTSET) -> None:
        """Make an empty set that has this encoding for now."""
        self.encoding = encoding
        self.expire_ms = 0
        # array of q, list, dict with None for values, or Table with None for values
        self._members: Any = array("q") if encoding is INTSET else []

    @classmethod
    def of(cls, members: Iterable[bytes], encoding: bytes) -> Set:
        """Make a set of different members in this encoding, whatever the thresholds."""
        new = cls(encoding)
        if encoding is INTSET:
            new._members = array("q", sorted(map(int, members)))
        else:
            new._members = _keep(list(members))
        return new

    @classmethod
    def sized(cls, first: bytes, size: int) -> Set:
        """Make an empty set, encoded as Redis does for this first member and an expected size."""
        if size <= LIMITS.set_max_intset_entries and parse_int(first) is not None:
            return cls(INTSET)
        return cls(LISTPACK if size <= LIMITS.set_max_listpack_entries else HASHTABLE)

    # -- reading -----------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self._members)

    def __contains__(self, member: bytes) -> bool:
        """Tell whether member is in the set."""
        members = self._members
        if members.__class__ is not array:
            return member in members
        number = parse_int(member)
        if number is None:
            return False
        at = bisect_left(members, number)
        return at < len(members) and members[at] == number

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the members in SMEMBERS's order; nothing may change meanwhile."""
        members = self._members
        kind = members.__class__
        if kind is array:
            return iter([b"%d" % number for number in members])
        return chain.from_iterable(members.buckets()) if kind is Table else iter(members)

    def members(self) -> list[bytes]:
        """Return the members in SMEMBERS's order."""
        return list(self)

    @property
    def lookup(self) -> Any:
        """A container that tells fastest whether the set has a member; valid until it changes."""
        return self if self._members.__class__ is array else self._members

    # -- changing ----------------------------------------------------------------------------------

    def add(self, member: bytes) -> bool:
        """Add a member; tell whether it is new."""
        members = self._members
        encoding = self.encoding
        if encoding is INTSET:
            number = parse_int(member)
            if number is not None:
                return self._add_integer(number)
            self._leave_intset(member)
            members = self._members
        elif member in members:
            return False
        elif encoding is LISTPACK and (
            len(members) >= LIMITS.set_max_listpack_entries
            or len(member) > LIMITS.set_max_listpack_value
        ):
            self.encoding = HASHTABLE
        if members.__class__ is list:
            members.append(member)
            if len(members) > LIST_MAX:
                self._members = _keep(members)
        else:
            members[member] = None
            if len(members) > TABLE_ABOVE and members.__class__ is dict:
                self._members = Table(members.items())
        return True

    def _add_integer(self, number: int) -> bool:
        numbers = self._members
        at = bisect_left(numbers, number)
        if at < len(numbers) and numbers[at] == number:
            return False
        numbers.insert(at, number)
        if len(numbers) > LIMITS.set_max_intset_entries:
            self.to_hashtable()
        return True

    def _leave_intset(self, member: bytes) -> None:
        """Change the encoding to one that takes a member that is no integer."""
        numbers = self._members
        longest = max(len(b"%d" % numbers[0]), len(b"%d" % numbers[-1])) if numbers else 0
        packed = (
            len(numbers) < LIMITS.set_max_listpack_entries
            and max(len(member), longest) <= LIMITS.set_max_listpack_value
        )
        self.encoding = LISTPACK if packed else HASHTABLE
        self._members = _keep([b"%d" % number for number in numbers])

    def update(self, members: Iterable[bytes]) -> int:
        """Add members; return how many are new."""
        before = len(self._members)
        add = self.add
        for member in members:
            add(member)
        return len(self._members) - before

    def expect(self, count: int) -> None:
        """Be ready for `count` members to be added: what is too many for the encoding makes it a
        hashtable, even if the members are there already.
        """
        encoding = self.encoding
        if (encoding is LISTPACK and count > LIMITS.set_max_listpack_entries) or (
            encoding is INTSET and count > LIMITS.set_max_intset_entries
        ):
            self.to_hashtable()

    def to_hashtable(self) -> None:
        """Change the encoding to HASHTABLE."""
        if self.encoding is INTSET:
            self._members = _keep(self.members())
        self.encoding = HASHTABLE

    def to_intset(self) -> None:
        """Change the encoding to INTSET; all members are integers."""
        if self.encoding is not INTSET:
            self._members = array("q", sorted(map(int, self._members)))
            self.encoding = INTSET

    def remove(self, member: bytes) -> bool:
        """Remove a member; tell whether it was there."""
        members = self._members
        kind = members.__class__
        if kind is array:
            number = parse_int(member)
            if number is None:
                return False
            at = bisect_left(members, number)
            if at == len(members) or members[at] != number:
                return False
            del members[at]
            return True
        if kind is list:
            if member not in members:
                return False
            members.remove(member)
            return True
        if members.pop(member, _MISSING) is _MISSING:
            return False
        if kind is Table and len(members) <= TABLE_BELOW:
            self._members = dict.fromkeys(members)
        return True

    def pop_random(self, random: Random) -> bytes:
        """Remove a member, each with the same chance, and return it; the set is not empty."""
        members = self._members
        if members.__class__ is not Table:
            member = self.random_member(random)
            self.remove(member)
            return member
        popped: bytes = members.pop_random(random)
        if len(members) <= TABLE_BELOW:
            self._members = dict.fromkeys(members)
        return popped

    def pop_one(self, random: Random) -> bytes | None:
        """Remove and return a member as `pop_random` does; None if it is the only one."""
        return self.pop_random(random) if len(self._members) > 1 else None

    # -- random ------------------------------------------------------------------------------------

    def random_member(self, random: Random) -> bytes:
        """Return a member, each with the same chance; the set is not empty."""
        members = self._members
        kind = members.__class__
        found: Any
        if kind is Table:
            found = members.random_key(random)
        else:
            at = int(random.random() * len(members))
            found = next(islice(members, at, None)) if kind is dict else members[at]
        member: bytes = b"%d" % found if kind is array else found
        return member

    def draw(self, random: Random, count: int) -> list[bytes]:
        """Return `count` random members, each time any of them; the set is not empty."""
        if count < len(self):
            return [self.random_member(random) for _ in range(count)]
        return random.choices(self.members(), k=count)

    def sample(self, random: Random, count: int) -> list[bytes]:
        """Return `count` different random members, fewer than all, every choice with the same
        chance; takes time in proportion to `count`, or to TABLE_ABOVE.
        """
        members = self._members
        size = len(members)
        if members.__class__ is not Table:
            if members.__class__ is dict:
                members = list(members)
            picked = [members[at] for at in random.sample(range(size), count)]
            return [b"%d" % number for number in picked] if self.encoding is INTSET else picked
        if count > size // 2:
            left = frozenset(self.sample(random, size - count))
            return [member for member in members if member not in left]
        chosen: dict[bytes, None] = {}
        while len(chosen) < count:  # at most every second draw on average is in vain
            chosen[members.random_key(random)] = None
        return list(chosen)

    # -- as every value ----------------------------------------------------------------------------

    def scan(self, position: int, count: int) -> tuple[int, list[bytes]]:
        """Return the next position, 0 at the end, and what SSCAN gives from a position on: all of
        what is no Table, else about `count` members; see `Table.scan`.
        """
        if self._members.__class__ is not Table:
            return 0, self.members()
        after, found = self._members.scan(position, count)
        return after, [member for member, _ in found]

    def copy(self) -> Set:
        """Return a set of the same members and encoding that never expires."""
        twin = Set.__new__(Set)
        twin.encoding, twin.expire_ms = self.encoding, 0
        members = self._members
        twin._members = members[:] if members.__class__ is array else members.copy()
        return twin

    def commands(self, key: bytes) -> Iterator[tuple[bytes, ...]]:
        """Yield the commands that make this set at key."""
        members = iter(self)
        while some := tuple(islice(members, _AT_ONCE)):
            yield (b"SADD", key, *some)

    def memory_bytes(self, samples: int) -> int:
        """Return about how many bytes it takes, from the sizes of so many members (0: all)."""
        members = self._members
        size = sys.getsizeof(self)
        if members.__class__ is array:
            return size + sys.getsizeof(members)
        count = len(members)
        step = 1
        if members.__class__ is Table:  # in the order of hashes: the first are as random as any
            size += members.memory_bytes()
        else:
            size += sys.getsizeof(members)
            step = max(count // samples, 1) if samples else 1
        sizes = list(map(sys.getsizeof, islice(members, 0, samples * step or None, step)))
        return size + sum(sizes) * count // max(len(sizes), 1)

    def free(self, steps: int) -> int:
        """Let go of up to about `steps` members (or of all, if they are no Table and no array);
        return how many.
        """
        members = self._members
        if members.__class__ is Table:
            freed: int = members.free(steps)
            return freed
        freed = len(members)
        self._members = []
        return freed

    def check(self) -> None:
        """Assert what the module's text says always holds."""
        members = self._members
        kind = members.__class__
        assert self.encoding in (INTSET, LISTPACK, HASHTABLE)
        assert (kind is array) == (self.encoding == INTSET)
        if kind is array:
            numbers = members.tolist()
            assert numbers == sorted(set(numbers))
            return
        assert all(member.__class__ is bytes for member in members)
        if kind is list:
            assert len(members) <= LIST_MAX
            assert len(set(members)) == len(members)
            return
        assert set(members.values()) <= {None}
        if kind is dict:
            assert len(members) <= TABLE_ABOVE
        else:
            assert kind is Table
            assert len(members) > TABLE_BELOW
            members.check()
