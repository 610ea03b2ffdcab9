"""Hashes: fields, their values, and the times at which single fields expire.

A hash has one of three forms:

- Its values in a tuple, and its field names in a `Shape`, which is shared by all hashes with the
  same fields in the same order (as objects of one class share their layout in other dynamic
  languages): for up to MAX_SHAPE_FIELDS fields without expire times. A million hashes of five
  fields are a million tuples and one shape. A change makes a new tuple, so a copy shares it.
- A dict of its own: up to FLAT_MAX fields, when there are too many different shapes, or names or
  fields too long or too many for a shape, or when fields have expire times.
- A `Table` above: it grows without a pause, and a scan has a place to return to.

It goes from one form to the next and never back. The encoding that OBJECT ENCODING tells is another
matter: it follows the sizes that Redis's thresholds are about, and never goes back either.

What always holds:
- `shape` is None if and only if `data` is a dict or a Table; else `data` is a tuple, and as long as
  `shape.fields`.
- `times` is None or holds at least one field; all of them are in `data`, which is no tuple then.

Fields come in the order of Redis while the encoding is listpack (the order in which they came) or
listpackex (those with expire times first, by time, of equal times the last set first; then the
others, in the order in which they came or lost their time). In a hashtable any order will do.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from random import Random
from typing import Any, Final

from shoal.proto.limits import MAX_HASH_SHAPES, MAX_SHAPE_FIELDS, MAX_SHAPE_NAME_BYTES
from shoal.worker.values.limits import LIMITS
from shoal.worker.values.sorted_set import SortedSet
from shoal.worker.values.table import Table

FLAT_MAX: Final = 512
# Expire times in one dict; more are kept in order.
TIMES_FLAT_MAX: Final = 512
# Fields of one command that rebuilds a part of a hash.
_REBUILT_AT_ONCE: Final = 64

LISTPACK: Final = b"listpack"
LISTPACKEX: Final = b"listpackex"
HASHTABLE: Final = b"hashtable"

NEVER: Final = 1 << 63
"""Later than any expire time."""

Pair = tuple[bytes, bytes]
Time = tuple[bytes, int]

_time_of: Final = itemgetter(1)


class Shape:
    """The names of the fields of small hashes, in order.

    Attributes:
        fields: the names.
        index: the position of each.
        reply: what the commands that give the whole hash prepare at their first use.
    """

    __slots__ = ("fields", "index", "reply")

    def __init__(self, fields: tuple[bytes, ...]) -> None:
        """Share these names, which are all different."""
        self.fields = fields
        self.index = {field: at for at, field in enumerate(fields)}
        self.reply: Any = None


class Shapes:
    """The shapes of this process, at most `limit`."""

    # References to a shape that no hash has, as `_make_room` sees it: of the table, of its variable
    # and of its call. Should an interpreter count one less, a shape that one hash has may be
    # forgotten: that hash keeps it, others get another.
    _OWN_REFERENCES: Final = 3

    def __init__(self, limit: int) -> None:
        """Begin without any."""
        self.limit = limit
        self._known: dict[tuple[bytes, ...], Shape] = {}
        self._vain = 0  # how many more are refused before it looks for unused ones again

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._known)

    def find(self, fields: tuple[bytes, ...]) -> Shape | None:
        """Return the shape of these fields; None if there is none and is to be none, as for fields
        that are not all different.
        """
        shape = self._known.get(fields)
        return self._make(fields) if shape is None else shape

    def _make(self, fields: tuple[bytes, ...]) -> Shape | None:
        if len(fields) > MAX_SHAPE_FIELDS:
            return None
        if len(self._known) >= self.limit and not self._make_room():
            return None
        if max(map(len, fields), default=0) > MAX_SHAPE_NAME_BYTES:
            return None
        if len(set(fields)) != len(fields):
            return None
        shape = self._known[fields] = Shape(fields)
        return shape

    def _make_room(self) -> bool:
        """Forget the shapes that no hash has any more, and tell whether there were any.

        It goes through all of them, so it is done only once for every `limit` refusals.
        """
        if self._vain:
            self._vain -= 1
            return False
        self._vain = self.limit
        unused = [
            shape.fields
            for shape in self._known.values()
            if sys.getrefcount(shape) <= self._OWN_REFERENCES
        ]
        for fields in unused:
            del self._known[fields]
        return bool(unused)


SHAPES: Final = Shapes(MAX_HASH_SHAPES)

_NO_FIELDS: Final = Shape(())


class ManyTimes:
    """Expire times of many fields of a hash: a mapping of field to ms, kept in order."""

    __slots__ = ("_order",)

    def __init__(self, items: Iterable[Time]) -> None:
        """Hold the times of different fields."""
        # Times are far below 2**53, so a score holds them exactly.
        self._order = SortedSet((field, float(at_ms)) for field, at_ms in items)

    def __len__(self) -> int:
        """Return the number of fields."""
        return len(self._order)

    def __contains__(self, field: bytes) -> bool:
        """Tell whether a field has a time."""
        return self._order.score(field) is not None

    def get(self, field: bytes, default: int = 0) -> int:
        """Return a field's time, or the default."""
        at_ms = self._order.score(field)
        return default if at_ms is None else int(at_ms)

    def __setitem__(self, field: bytes, at_ms: int) -> None:
        """Give a field a time."""
        self._order.add(field, float(at_ms))

    def pop(self, field: bytes, default: int = 0) -> int:
        """Remove a field; return its time, or the default."""
        at_ms = self.get(field, default)
        self._order.remove(field)
        return at_ms

    def items(self) -> Iterator[Time]:
        """Iterate over fields and times, the earliest first."""
        return ((field, int(at_ms)) for field, at_ms in self._order.items())

    def earliest(self) -> int:
        """Return the earliest time; there is one."""
        return int(self._order.elements_at(0, 1)[0][1])

    def due(self, now_ms: int, limit: int) -> list[bytes]:
        """Return up to `limit` of the fields whose time has come, the earliest first."""
        count = self._order.rank_of_score(float(now_ms), after=True)
        return self._order.members_at(0, min(count, limit))

    def copy(self) -> ManyTimes:
        """Return the same times in another object."""
        return ManyTimes(self.items())

    def free(self, steps: int) -> int:
        """Let go of up to about `steps` times; return how many. The rest is of no use then."""
        return self._order.free(steps)

    def memory_bytes(self, samples: int) -> int:
        """Return about how many bytes it takes; the fields are counted by the hash too."""
        return sys.getsizeof(self) + self._order.memory_bytes(samples)

    def check(self) -> None:
        """Assert the invariants of the order."""
        self._order.check()


class _Extra:
    """The encoding and the expire times of a hash that is more than a plain listpack."""

    __slots__ = ("encoding", "times")

    def __init__(self) -> None:
        self.encoding = LISTPACK
        self.times: Any = None


class Hash:
    """A hash; see the module's text.

    What has expired is still there, and counts, until somebody removes it (`due`, `has_expired`):
    only `live` and `live_items` hide it.

    Attributes:
        shape: the field names while they are shared, else None.
        data: the values beside `shape`, or a dict or Table of field to value.
        extra: what a listpack whose fields do not expire has not; None for such a one.
        times: when fields expire, ms since the epoch, by field; None if none does.
        encoding: what OBJECT ENCODING tells.
        expire_ms: when the key expires, ms since the epoch, 0 for never.
    """

    # Four slots: a fifth, for the encoding, would make every small hash 16 bytes larger.
    __slots__ = ("data", "expire_ms", "extra", "shape")

    type_name: Final = b"hash"

    def __init__(self) -> None:
        """Make an empty one, to be filled before it is stored."""
        self.shape: Shape | None = _NO_FIELDS
        self.data: Any = ()
        self.extra: _Extra | None = None
        self.expire_ms = 0

    @property
    def times(self) -> Any:
        """When fields expire, by field; None if none does."""
        return None if self.extra is None else self.extra.times

    @times.setter
    def times(self, times: Any) -> None:
        if self.extra is None:
            if times is None:
                return
            self.extra = _Extra()
        self.extra.times = times

    @property
    def encoding(self) -> bytes:
        """What OBJECT ENCODING tells."""
        return LISTPACK if self.extra is None else self.extra.encoding

    @encoding.setter
    def encoding(self, encoding: bytes) -> None:
        if self.extra is None:
            if encoding == LISTPACK:
                return
            self.extra = _Extra()
        self.extra.encoding = encoding

    # -- reading -----------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return the number of fields, expired ones included."""
        return len(self.data)

    def get(self, field: bytes) -> bytes | None:
        """Return a field's value, expired or not; None if there is none."""
        shape = self.shape
        if shape is None:
            found: bytes | None = self.data.get(field)
            return found
        at = shape.index.get(field)
        if at is None:
            return None
        value: bytes = self.data[at]
        return value

    def live(self, field: bytes, now_ms: int) -> bytes | None:
        """Return a field's value; None if there is none or it has expired."""
        return None if self.has_expired(field, now_ms) else self.get(field)

    def expire_at(self, field: bytes) -> int:
        """Return a field's expire time, ms since the epoch; 0 if it has none."""
        if self.times is None:
            return 0
        at_ms: int = self.times.get(field, 0)
        return at_ms

    def has_expired(self, field: bytes, now_ms: int) -> bool:
        """Tell whether a field is there and has expired."""
        return self.times is not None and bool(self.times.get(field, NEVER) <= now_ms)

    def earliest(self) -> int:
        """Return when the first of the fields expires, NEVER if none does."""
        times = self.times
        if times is None:
            return NEVER
        first: int = min(times.values()) if times.__class__ is dict else times.earliest()
        return first

    def due(self, now_ms: int, limit: int) -> list[bytes]:
        """Return up to `limit` of the fields that have expired, the earliest first."""
        times = self.times
        if times is None:
            return []
        if times.__class__ is dict:
            found = [field for field, at_ms in _in_order(times) if at_ms <= now_ms]
            return found[:limit]
        fields: list[bytes] = times.due(now_ms, limit)
        return fields

    def items(self) -> Iterable[Pair]:
        """Return all fields and values, in the order of the form."""
        if self.shape is not None:
            return zip(self.shape.fields, self.data, strict=True)
        pairs: Iterable[Pair] = self.data.items()
        return pairs

    def live_items(self, now_ms: int) -> Iterable[Pair]:
        """Return the fields that have not expired, and their values, in Redis's order."""
        times, data = self.times, self.data
        if times is None:
            return self.items()
        if times.__class__ is dict and data.__class__ is dict:
            pairs = [(field, data[field]) for field, at_ms in _in_order(times) if at_ms > now_ms]
            pairs += [pair for pair in data.items() if pair[0] not in times]
            return pairs
        return (pair for pair in data.items() if times.get(pair[0], NEVER) > now_ms)

    def live_columns(self, now_ms: int) -> tuple[Sequence[bytes], Sequence[bytes]]:
        """Return the names and the values of `live_items`."""
        if self.times is not None:
            pairs = list(self.live_items(now_ms))
            return [field for field, _ in pairs], [value for _, value in pairs]
        if self.shape is not None:
            return self.shape.fields, self.data
        return list(self.data), list(self.data.values())

    def scan(self, position: int, count: int, now_ms: int) -> tuple[int, Iterable[Pair]]:
        """Return the next position and a part of the fields that have not expired, as `Table.scan`
        does; a small hash is given at once.
        """
        if self.data.__class__ is not Table:
            return 0, self.live_items(now_ms)
        after, pairs = self.data.scan(position, count)
        if self.times is not None:
            pairs = [pair for pair in pairs if not self.has_expired(pair[0], now_ms)]
        return after, pairs

    def random_item(self, random: Random) -> Pair:
        """Return a field, expired or not, each with the same chance, and its value; it is not
        empty.
        """
        data, shape = self.data, self.shape
        if shape is not None:
            at = random.randrange(len(data))
            return shape.fields[at], data[at]
        pair: Pair
        if data.__class__ is dict:
            pair = next(islice(data.items(), random.randrange(len(data)), None))
        else:
            pair = data.random_item(random)
        return pair

    # -- changing ----------------------------------------------------------------------------------

    def put(self, field: bytes, value: bytes) -> bool:
        """Give a field a value; its expire time stays. Return whether it is new."""
        limit = LIMITS.hash_max_listpack_value
        if len(value) > limit or len(field) > limit:
            self.encoding = HASHTABLE
        shape, data = self.shape, self.data
        before = len(data)
        if shape is None:
            data[field] = value
        else:
            at = shape.index.get(field)
            if at is None:
                self._extend({field: value})
            else:
                values = list(data)
                values[at] = value
                self.data = tuple(values)
        self._settle()
        return len(self.data) != before

    def put_pairs(self, args: Sequence[bytes]) -> int:
        """Give fields values, in turn; those that are there keep their expire time.

        Args:
            args: field, value, field, value and so on.
        Returns: how many fields are new.
        """
        self._fit(args)
        before = len(self.data)
        shape = self.shape
        if shape is None:
            data = self.data
            for at in range(0, len(args), 2):
                data[args[at]] = args[at + 1]
        elif not before and (shape := SHAPES.find(tuple(args[::2]))) is not None:
            self.shape, self.data = shape, tuple(args[1::2])
        else:
            self._put_beside(args)
        self._settle()
        return len(self.data) - before

    def set_pairs(self, args: Sequence[bytes]) -> int:
        """Give fields values, in turn, and take their expire times away; else as `put_pairs`."""
        if self.times is None:
            return self.put_pairs(args)
        self._fit(args)
        data = self.data
        before = len(data)
        for at in range(0, len(args), 2):
            self.persist(args[at])
            data[args[at]] = args[at + 1]
        self._settle()
        return len(self.data) - before

    def remove(self, fields: Sequence[bytes]) -> int:
        """Remove fields and their expire times; return how many there were."""
        shape, data = self.shape, self.data
        before = len(data)
        if shape is None:
            for field in fields:
                data.pop(field, None)
                if self.times is not None:
                    self._forget_time(field)
            return before - len(data)
        index = shape.index
        gone = {index[field] for field in fields if field in index}
        if gone:
            kept = [at for at in range(before) if at not in gone]
            self._arrange(
                tuple([shape.fields[at] for at in kept]), tuple([data[at] for at in kept])
            )
        return len(gone)

    def set_expire(self, field: bytes, at_ms: int) -> None:
        """Give a field that is there an expire time, ms since the epoch."""
        self.become_listpackex()
        if self.shape is not None:
            self._unfold()
        times = self.times
        if times is None:
            times = self.times = {}
        elif times.__class__ is dict:
            times.pop(field, None)  # it goes to the end, which tells what was set last
        times[field] = at_ms
        if times.__class__ is dict and len(times) > TIMES_FLAT_MAX:
            self.times = ManyTimes(times.items())

    def persist(self, field: bytes) -> bool:
        """Take a field's expire time away; tell whether it had one."""
        if self.times is None or not self._forget_time(field):
            return False
        if self.data.__class__ is dict:
            self.data[field] = self.data.pop(field)
        return True

    def become_listpackex(self) -> None:
        """Take the encoding of a hash on which field expiration was used."""
        if self.encoding == LISTPACK:
            self.encoding = LISTPACKEX

    # -- as a value --------------------------------------------------------------------------------

    def copy(self) -> Hash:
        """Return a hash with the same fields, values, times and encoding."""
        twin = Hash()
        twin.shape = self.shape
        twin.data = self.data if self.shape is not None else self.data.copy()
        twin.times = None if self.times is None else self.times.copy()
        twin.encoding = self.encoding
        return twin

    def commands(self, key: bytes) -> Iterator[tuple[bytes, ...]]:
        """Yield the commands that make it again, of a bounded number of fields each."""
        pairs = iter(self.items())
        while piece := list(islice(pairs, _REBUILT_AT_ONCE)):
            yield b"HSET", key, *[side for pair in piece for side in pair]
        if self.times is None:
            return
        times = self.times.items()
        if self.times.__class__ is dict:
            times = sorted(times, key=_time_of)  # stable, and the last set comes last
        group: list[bytes] = []
        of_group = 0
        for field, at_ms in times:
            if group and (at_ms != of_group or len(group) == _REBUILT_AT_ONCE):
                yield _expire_command(key, of_group, group)
                group = []
            of_group = at_ms
            group.append(field)
        yield _expire_command(key, of_group, group)

    def memory_bytes(self, samples: int) -> int:
        """Return about how many bytes it takes; names that are shared count for nothing.

        Args:
            samples: fields to look at, 0 for all.
        """
        data = self.data
        size = sys.getsizeof(self)
        if data.__class__ is Table:
            size += sys.getsizeof(data) + data.memory_bytes()
        else:
            size += sys.getsizeof(data)
        timed = 0
        if self.times.__class__ is dict:
            timed = len(self.times)
            size += sys.getsizeof(self.times) + timed * sys.getsizeof(1 << 40)
        elif self.times is not None:
            size += self.times.memory_bytes(samples)
        if not data:
            return size
        step = 1
        if samples and data.__class__ is not Table:  # in its order the first are as random as any
            step = max(1, len(data) // samples)
        names = values = seen = 0
        for field, value in islice(self.items(), 0, samples * step or None, step):
            names += sys.getsizeof(field)
            values += sys.getsizeof(value)
            seen += 1
        # Names are counted again for their times, which came with another command, mostly.
        copies = timed + (len(data) if self.shape is None else 0)
        return size + (names * copies + values * len(data)) // seen

    def free(self, steps: int) -> int:
        """Let go of up to about `steps` fields; return how many. The rest is of no use then."""
        times, data = self.times, self.data
        freed = 0
        if times.__class__ is ManyTimes and len(times):
            return int(times.free(steps))
        self.times = None
        if data.__class__ is Table:
            return int(data.free(steps))
        if data.__class__ is dict:
            while data and freed < steps:
                data.popitem()
                freed += 1
            return freed
        freed = len(data)
        self.shape, self.data = _NO_FIELDS, ()
        return freed

    def check(self) -> None:
        """Assert what the module's text says always holds."""
        data, shape, times = self.data, self.shape, self.times
        if shape is not None:
            assert data.__class__ is tuple
            assert len(data) == len(shape.fields) <= MAX_SHAPE_FIELDS
            assert [*shape.index.items()] == [(name, at) for at, name in enumerate(shape.fields)]
            assert times is None
        elif data.__class__ is dict:
            assert len(data) <= FLAT_MAX
        else:
            data.check()
        if times is not None:
            assert len(times)
            assert all(data.get(field) is not None for field, _ in times.items())
            if times.__class__ is dict:
                assert len(times) <= TIMES_FLAT_MAX
            else:
                times.check()
            assert self.encoding != LISTPACK
        assert self.encoding in (LISTPACK, LISTPACKEX, HASHTABLE)

    # -- inside ------------------------------------------------------------------------------------

    def _put_beside(self, args: Sequence[bytes]) -> None:
        """Do what `put_pairs` says to a hash that has a shape."""
        shape = self.shape
        assert shape is not None
        index, values = shape.index, list(self.data)
        new: dict[bytes, bytes] = {}
        for at in range(0, len(args), 2):
            place = index.get(args[at])
            if place is None:
                new[args[at]] = args[at + 1]
            else:
                values[place] = args[at + 1]
        self.data = tuple(values)
        if new:
            self._extend(new)

    def _extend(self, new: dict[bytes, bytes]) -> None:
        """Add fields that are not there to a hash that has a shape."""
        assert self.shape is not None
        self._arrange(self.shape.fields + tuple(new), self.data + tuple(new.values()))

    def _arrange(self, fields: tuple[bytes, ...], values: tuple[bytes, ...]) -> None:
        """Take these fields and values in place of what is there; no field has an expire time."""
        shape = SHAPES.find(fields)
        self.shape = shape
        self.data = dict(zip(fields, values, strict=True)) if shape is None else values

    def _unfold(self) -> None:
        """Take a dict in place of a shape; it has the shape's own names, so they stay shared."""
        self.data = dict(self.items())
        self.shape = None

    def _fit(self, args: Sequence[bytes]) -> None:
        """Take the encoding that fields and values of these sizes, and as many, need."""
        if self.encoding != HASHTABLE and (
            max(map(len, args)) > LIMITS.hash_max_listpack_value
            or len(args) > 2 * LIMITS.hash_max_listpack_entries
        ):
            self.encoding = HASHTABLE

    def _settle(self) -> None:
        """Take the encoding and the form that the number of fields needs, after one was set."""
        size = len(self.data)
        if size > LIMITS.hash_max_listpack_entries:
            self.encoding = HASHTABLE
        if size > FLAT_MAX and self.data.__class__ is dict:
            self.data = Table(self.data.items())

    def _forget_time(self, field: bytes) -> bool:
        """Drop a field's expire time, if it has one; tell whether it had."""
        if not self.times.pop(field, 0):
            return False
        if not len(self.times):
            self.times = None
        return True


def _in_order(times: dict[bytes, int]) -> list[Time]:
    """Return fields and times in the order of a listpackex: of equal times the last set first."""
    return sorted(reversed(times.items()), key=_time_of)  # noqa: C414  it is stable


def _expire_command(key: bytes, at_ms: int, fields: Sequence[bytes]) -> tuple[bytes, ...]:
    return b"HPEXPIREAT", key, b"%d" % at_ms, b"FIELDS", b"%d" % len(fields), *fields
