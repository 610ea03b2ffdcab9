"""The commands of sets.

What SPOP removed is logged as SREM, and as DEL if it was everything. The commands that combine sets
choose their ways as Redis does, as far as the encoding of a stored result tells which it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import filterfalse, islice
from typing import Final

from shoal.proto import errors
from shoal.proto.limits import MAX_RANDOM_ELEMENTS
from shoal.proto.numbers import INT64_MAX, parse_int
from shoal.proto.replies import (
    EMPTY_ARRAY,
    NULL,
    ONE,
    ZERO,
    Reply,
    array,
    bulk,
    bulk_set,
    bulks,
    integer,
)
from shoal.proto.spec import CommandFlag, KeySpec, key_at
from shoal.worker.commands import parse
from shoal.worker.commands.store import store_result
from shoal.worker.keyspace import Keyspace, Value
from shoal.worker.registry import Borrowed, command
from shoal.worker.values.limits import LIMITS
from shoal.worker.values.set import HASHTABLE, INTSET, LISTPACK, Set

WRITE, READONLY = CommandFlag.WRITE, CommandFlag.READONLY
DENYOOM, FAST = CommandFlag.DENYOOM, CommandFlag.FAST
SET: Final = ("set",)
UNORDERED: Final = ("nondeterministic_output_order",)
RANDOM: Final = ("nondeterministic_output",)

SOURCES: Final = (KeySpec(1, last=-1, flags=("RO", "access")),)
TARGET_AND_SOURCES: Final = (
    KeySpec(1, flags=("OW", "update")),
    KeySpec(2, last=-1, flags=("RO", "access")),
)

EMPTY_SET: Final = bulk_set(())

# Members of one logged SREM.
_SREM_AT_ONCE: Final = 1024
# SPOP makes a new set of what stays, if that is less than this part of what goes; Redis's number.
_STAY_SHARE: Final = 5

# -- members ---------------------------------------------------------------------------------------


_UNION_COST: Final = "O(N) where N is the total number of elements in all given sets."
_INTER_COST: Final = (
    "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets."
)


@command(
    "SADD",
    since="1.0.0",
    arity=-3,
    group="set",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW insert"),
    acl=SET,
    complexity="O(1) for each element added, so O(N) to add N elements when the command is called "
    "with multiple arguments.",
    history=(("2.4.0", "Accepts multiple `member` arguments."),),
)
def sadd(ks: Keyspace, key: bytes, *members: bytes) -> Reply:
    """Adds one or more members to a set. Creates the key if it doesn't exist."""
    value: Set | None = ks.lookup_write(key, Set)
    if value is None:
        value = Set.sized(members[0], len(members))
        added = value.update(members)
        ks.set(key, value)
    else:
        value.expect(len(members))
        added = value.add(members[0]) if len(members) == 1 else value.update(members)
        if not added:
            return ZERO
        ks.changed(key)
    ks.notify(b"s", b"sadd", key)
    return integer(added)


@command(
    "SREM",
    since="1.0.0",
    arity=-3,
    group="set",
    flags=WRITE | FAST,
    keys=key_at(1, "RW delete"),
    acl=SET,
    complexity="O(N) where N is the number of members to be removed.",
    history=(("2.4.0", "Accepts multiple `member` arguments."),),
)
def srem(ks: Keyspace, key: bytes, *members: bytes) -> Reply:
    """Removes one or more members from a set. Deletes the set if the last member was removed."""
    value: Set | None = ks.lookup_write(key, Set)
    if value is None:
        return ZERO
    removed = sum(map(value.remove, members))
    if removed:
        ks.removed(key, value, b"s", b"srem")
    return integer(removed)


def _lend_member(argv: Sequence[bytes], _: bytes, value: Value) -> Value | None:
    """Lend SMOVE of a set its member, if it is in there, and another that says there are more."""
    if value.__class__ is not Set:
        return None
    member = argv[3]
    lent = [member] if member in value else []
    if len(value) > len(lent):
        lent.append(next(one for one in value if one != member))
    return Set.of(lent, LISTPACK)


def _smove_apart(argv: Sequence[bytes], reply: bytes) -> list[tuple[bytes, ...]]:
    """Return what SMOVE, if it moved something, did to each of its two sets."""
    if reply != ONE:
        return []
    return [(b"SREM", argv[1], argv[3]), (b"SADD", argv[2], argv[3])]


@command(
    "SMOVE",
    since="1.0.0",
    arity=4,
    group="set",
    flags=WRITE | FAST,
    keys=(
        KeySpec(1, flags=("RW", "access", "delete")),
        KeySpec(2, flags=("RW", "insert")),
    ),
    acl=SET,
    complexity="O(1)",
    borrowed=Borrowed(lend=_lend_member, apart=_smove_apart),
)
def smove(ks: Keyspace, source: bytes, target: bytes, member: bytes) -> Reply:
    """Moves a member from one set to another."""
    value = ks.lookup_write(source)
    there = ks.lookup_write(target)
    if value is None:
        return ZERO
    if value.__class__ is not Set or (there is not None and there.__class__ is not Set):
        raise errors.wrong_type()
    if value is there:
        return ONE if member in value else ZERO
    if not value.remove(member):
        return ZERO
    ks.removed(source, value, b"s", b"srem")
    if there is None:
        there = Set.sized(member, 1)
        there.add(member)
        ks.set(target, there)
    elif there.add(member):
        ks.changed(target)
    else:
        return ONE
    ks.notify(b"s", b"sadd", target)
    return ONE


@command(
    "SISMEMBER",
    since="1.0.0",
    arity=3,
    group="set",
    flags=READONLY | FAST,
    keys=key_at(1, "RO"),
    acl=SET,
    complexity="O(1)",
)
def sismember(ks: Keyspace, key: bytes, member: bytes) -> Reply:
    """Determines whether a member belongs to a set."""
    value: Set | None = ks.lookup_read(key, Set)
    return ONE if value is not None and member in value else ZERO


@command(
    "SMISMEMBER",
    since="6.2.0",
    arity=-3,
    group="set",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=SET,
    complexity="O(N) where N is the number of elements being checked for membership",
)
def smismember(ks: Keyspace, key: bytes, *members: bytes) -> Reply:
    """Determines whether multiple members belong to a set."""
    value: Set | None = ks.lookup_read(key, Set)
    found = () if value is None else value.lookup
    answers = b"".join([ONE if member in found else ZERO for member in members])
    return b"*%d\r\n%b" % (len(members), answers)


@command(
    "SCARD",
    since="1.0.0",
    arity=2,
    group="set",
    flags=READONLY | FAST,
    keys=key_at(1, "RO"),
    acl=SET,
    complexity="O(1)",
)
def scard(ks: Keyspace, key: bytes) -> Reply:
    """Returns the number of members in a set."""
    value: Set | None = ks.lookup_read(key, Set)
    return ZERO if value is None else integer(len(value))


@command(
    "SMEMBERS",
    since="1.0.0",
    arity=2,
    group="set",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=SET,
    complexity="O(N) where N is the set cardinality.",
    tips=UNORDERED,
)
def smembers(ks: Keyspace, key: bytes) -> Reply:
    """Returns all members of a set."""
    value: Set | None = ks.lookup_read(key, Set)
    return EMPTY_SET if value is None else bulk_set(value.members())


@command(
    "SSCAN",
    since="2.8.0",
    arity=-3,
    group="set",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=SET,
    complexity="O(1) for every call. O(N) for a complete iteration, including enough command calls "
    "for the cursor to return back to 0. N is the number of elements inside the collection.",
    tips=RANDOM,
)
def sscan(ks: Keyspace, key: bytes, cursor: bytes, *options: bytes) -> Reply:
    """Iterates over members of a set."""
    position = parse.cursor(cursor)
    value: Set | None = ks.lookup_read(key, Set)
    if value is None:
        return array([bulk(b"0"), EMPTY_ARRAY])
    limit, matches, _, _ = parse.scan_options(options, b"sscan")
    after, found = value.scan(position, limit)
    if matches is not None:
        found = list(filter(matches, found))
    return array([bulk(b"%d" % after), _bulk_array(found)])


def _bulk_array(items: Sequence[bytes]) -> bytes:
    return b"*%d\r\n%b" % (len(items), bulks(items))


# -- random members --------------------------------------------------------------------------------


@command(
    "SPOP",
    since="1.0.0",
    arity=-2,
    group="set",
    flags=WRITE | FAST,
    keys=key_at(1, "RW access delete"),
    acl=SET,
    complexity="Without the count argument O(1), otherwise O(N) where N is the value of the passed "
    "count.",
    tips=RANDOM,
    history=(("3.2.0", "Added the `count` argument."),),
)
def spop(ks: Keyspace, key: bytes, *count: bytes) -> Reply:
    """Returns one or more random members from a set after removing them. Deletes the set if the last member was popped."""  # noqa: E501
    if count:
        if len(count) > 1:
            raise errors.syntax_error()
        return _pop_several(ks, key, count[0])
    value: Set | None = ks.lookup_write(key, Set)
    if value is None:
        return NULL
    member = value.pop_random(ks.random)
    ks.propagate(b"SREM", key, member)
    ks.removed(key, value, b"s", b"spop")
    return bulk(member)


def _pop_several(ks: Keyspace, key: bytes, text: bytes) -> Reply:
    count = parse_int(text)
    if count is None or count < 0:
        raise errors.must_be_positive()
    value: Set | None = ks.lookup_write(key, Set)
    if value is None or not count:
        return EMPTY_SET
    left = len(value) - count
    if left <= 0:
        popped = value.members()
        ks.notify(b"s", b"spop", key)
        ks.delete(key)
        ks.notify(b"g", b"del", key)
        ks.propagate(b"DEL", key)
        return bulk_set(popped)
    if left * _STAY_SHARE > count or value.encoding is LISTPACK:
        popped = value.sample(ks.random, count)
        for member in popped:
            value.remove(member)
        ks.changed(key)
    else:
        stay = value.sample(ks.random, left)
        smaller = Set(INTSET if value.encoding is INTSET else LISTPACK)
        smaller.update(stay)
        popped = list(filterfalse(smaller.lookup.__contains__, value))
        ks.set(key, smaller, value.expire_ms)
    ks.notify(b"s", b"spop", key)
    for at in range(0, count, _SREM_AT_ONCE):
        ks.propagate(b"SREM", key, *popped[at : at + _SREM_AT_ONCE])
    return bulk_set(popped)


@command(
    "SRANDMEMBER",
    since="1.0.0",
    arity=-2,
    group="set",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=SET,
    complexity="Without the count argument O(1), otherwise O(N) where N is the absolute value of "
    "the passed count.",
    tips=RANDOM,
    history=(("2.6.0", "Added the optional `count` argument."),),
)
def srandmember(ks: Keyspace, key: bytes, *count: bytes) -> Reply:
    """Get one or multiple random members from a set"""
    if count:
        if len(count) > 1:
            raise errors.syntax_error()
        return _draw_several(ks, key, count[0])
    value: Set | None = ks.lookup_read(key, Set)
    return NULL if value is None else bulk(value.random_member(ks.random))


def _draw_several(ks: Keyspace, key: bytes, text: bytes) -> Reply:
    count = parse.integer(text)
    if count < -INT64_MAX:
        raise errors.out_of_bounds(-INT64_MAX, INT64_MAX)
    value: Set | None = ks.lookup_read(key, Set)
    if value is None or not count:
        return EMPTY_ARRAY
    if count < 0:
        if count < -MAX_RANDOM_ELEMENTS:
            raise errors.out_of_bounds(-MAX_RANDOM_ELEMENTS, INT64_MAX)
        return _bulk_array(value.draw(ks.random, -count))
    if count >= len(value):
        return _bulk_array(value.members())
    return _bulk_array(value.sample(ks.random, count))


# -- several sets ----------------------------------------------------------------------------------


def _sets(ks: Keyspace, keys: Iterable[bytes]) -> list[Set | None]:
    """Return the sets at these keys, None for a missing one. Raises: ReplyError."""
    return [ks.lookup_read(key, Set) for key in keys]


def _are_intsets(sets: Iterable[Set | None]) -> bool:
    return all(value is None or value.encoding is INTSET for value in sets)


def _outgrows(value: Set) -> bool:
    """Tell whether a set is so large that what is made of all its members is a hashtable."""
    limit = max(LIMITS.set_max_intset_entries, LIMITS.set_max_listpack_entries)
    return value.encoding is HASHTABLE and len(value) > limit


def _common(sets: Sequence[Set]) -> Iterator[bytes]:
    """Return the members that all sets have, in the order of the first, the smallest one."""
    found = iter(sets[0])
    for value in sets[1:]:
        if value is not sets[0]:
            found = filter(value.lookup.__contains__, found)
    return found


def _by_size(sets: Iterable[Set | None]) -> list[Set]:
    """Return the sets, the smallest first; nothing if one of them is missing."""
    present = [value for value in sets if value is not None]
    return sorted(present, key=len) if None not in sets else []


@command(
    "SINTER",
    since="1.0.0",
    arity=-2,
    group="set",
    flags=READONLY,
    keys=SOURCES,
    acl=SET,
    complexity=_INTER_COST,
    tips=UNORDERED,
)
def sinter(ks: Keyspace, *keys: bytes) -> Reply:
    """Returns the intersect of multiple sets."""
    sets = _by_size(_sets(ks, keys))
    return bulk_set(list(_common(sets))) if sets else EMPTY_SET


@command(
    "SINTERCARD",
    since="7.0.0",
    arity=-3,
    group="set",
    flags=READONLY,
    keys=(KeySpec(1, keynum=True, flags=("RO", "access")),),
    acl=SET,
    complexity=_INTER_COST,
)
def sintercard(ks: Keyspace, numkeys: bytes, *args: bytes) -> Reply:
    """Returns the number of members of the intersect of multiple sets."""
    number = parse_int(numkeys)
    if number is None or number < 1:
        raise errors.numkeys_not_positive()
    if number > len(args):
        raise errors.numkeys_too_large()
    limit: int | None = 0
    options = iter(args[number:])
    for option in options:
        text = next(options, None)
        if parse.word(option) != b"LIMIT" or text is None:
            raise errors.syntax_error()
        limit = parse_int(text)
        if limit is None or limit < 0:
            raise errors.limit_is_negative()
    sets = _by_size(_sets(ks, args[:number]))
    if not sets:
        return ZERO
    return integer(sum(1 for _ in islice(_common(sets), limit or None)))


@command(
    "SINTERSTORE",
    since="1.0.0",
    arity=-3,
    group="set",
    flags=WRITE | DENYOOM,
    keys=TARGET_AND_SOURCES,
    acl=SET,
    complexity=_INTER_COST,
)
def sinterstore(ks: Keyspace, target: bytes, *keys: bytes) -> Reply:
    """Stores the intersect of multiple sets in a key."""
    sets = _by_size(_sets(ks, keys))
    result = Set()
    if sets:
        if sets[0].encoding is not INTSET:
            result = Set(LISTPACK)
        result.update(_common(sets))
        few = len(result) <= LIMITS.set_max_intset_entries
        if few and all(parse_int(member) is not None for member in result):
            result.to_intset()
    return _stored(ks, target, result, b"sinterstore")


def _stored(ks: Keyspace, target: bytes, result: Set, event: bytes) -> Reply:
    store_result(ks, target, result if len(result) else None, b"s", event)
    return integer(len(result))


@command(
    "SUNION",
    since="1.0.0",
    arity=-2,
    group="set",
    flags=READONLY,
    keys=SOURCES,
    acl=SET,
    complexity=_UNION_COST,
    tips=UNORDERED,
)
def sunion(ks: Keyspace, *keys: bytes) -> Reply:
    """Returns the union of multiple sets."""
    sets = _sets(ks, keys)
    members = set().union(*[value for value in sets if value is not None])
    return bulk_set(sorted(members, key=int) if _are_intsets(sets) else list(members))


@command(
    "SUNIONSTORE",
    since="1.0.0",
    arity=-3,
    group="set",
    flags=WRITE | DENYOOM,
    keys=TARGET_AND_SOURCES,
    acl=SET,
    complexity=_UNION_COST,
)
def sunionstore(ks: Keyspace, target: bytes, *keys: bytes) -> Reply:
    """Stores the union of multiple sets in a key."""
    sets = [value for value in _sets(ks, keys) if value is not None]
    result = Set()
    largest = max(sets, key=len, default=result)
    if _outgrows(largest):  # copied by buckets: member by member it would take ten times as long
        result = largest.copy()
        sets.remove(largest)
    for value in sets:
        result.update(value)
    return _stored(ks, target, result, b"sunionstore")


class _Difference:
    """What is in the first of some sets and in none of the others, and how to find it.

    Attributes:
        first: the first set, an empty one if it is missing, or one of the others.
        others: those that are there.
        search: whether to look for each member of the first in the others, the largest first; else
            all members of the others are taken out of a copy of the first. As Redis decides.
    """

    def __init__(self, sets: Sequence[Set | None]) -> None:
        first, *others = sets
        if first is None or first in others:
            first, others = Set(), []
        self.first = first
        self.others = [value for value in others if value is not None]
        removal = len(first) + sum(map(len, self.others))
        self.search = len(first) * (1 + len(self.others)) // 2 <= removal

    def found(self) -> Iterator[bytes]:
        """Return the members by search."""
        found = iter(self.first)
        for value in sorted(self.others, key=len, reverse=True):
            found = filterfalse(value.lookup.__contains__, found)
        return found

    def members(self) -> list[bytes]:
        """Return the members."""
        if self.search:
            return list(self.found())
        left = set(self.first).difference(*self.others)
        return [member for member in self.first if member in left]

    def as_set(self) -> Set:
        """Return a new set of the members, with the encoding that Redis's way leads to."""
        result = Set()
        if self.search:
            result.update(self.found())
            return result
        if _outgrows(self.first):
            result = self.first.copy()
        else:
            result.update(self.first)
        for value in self.others:
            for member in value:
                result.remove(member)
            if not len(result):
                break
        return result


@command(
    "SDIFF",
    since="1.0.0",
    arity=-2,
    group="set",
    flags=READONLY,
    keys=SOURCES,
    acl=SET,
    complexity=_UNION_COST,
    tips=UNORDERED,
)
def sdiff(ks: Keyspace, *keys: bytes) -> Reply:
    """Returns the difference of multiple sets."""
    return bulk_set(_Difference(_sets(ks, keys)).members())


@command(
    "SDIFFSTORE",
    since="1.0.0",
    arity=-3,
    group="set",
    flags=WRITE | DENYOOM,
    keys=TARGET_AND_SOURCES,
    acl=SET,
    complexity=_UNION_COST,
)
def sdiffstore(ks: Keyspace, target: bytes, *keys: bytes) -> Reply:
    """Stores the difference of multiple sets in a key."""
    return _stored(ks, target, _Difference(_sets(ks, keys)).as_set(), b"sdiffstore")
