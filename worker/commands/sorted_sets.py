"""The commands of sorted sets, except those that read scores as positions (geo).

Every range becomes a pair of ranks, whether it is given by rank, by score or by member; so the
commands that return, store, count or remove a range differ only in what they do with that pair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, Final, NamedTuple

from shoal.proto import errors
from shoal.proto.limits import MAX_RANDOM_ELEMENTS
from shoal.proto.numbers import INT64_MAX, format_double, parse_double, parse_int
from shoal.proto.replies import (
    EMPTY_ARRAY,
    NULL,
    NULL_ARRAY,
    ONE,
    ZERO,
    Reply,
    array,
    bulk,
    bulk_list,
    double,
    integer,
    member_and_score,
    scored,
)
from shoal.proto.spec import CommandFlag, KeySpec, key_at
from shoal.worker.commands import parse
from shoal.worker.commands.store import store_result
from shoal.worker.keyspace import Keyspace, Value
from shoal.worker.registry import Borrowed, Wait, command
from shoal.worker.values.limits import LIMITS
from shoal.worker.values.set import Set
from shoal.worker.values.sorted_set import Columns, Element, SortedSet

WRITE, READONLY = CommandFlag.WRITE, CommandFlag.READONLY
DENYOOM, FAST, BLOCKING = CommandFlag.DENYOOM, CommandFlag.FAST, CommandFlag.BLOCKING
SORTED_SET: Final = ("sortedset",)

# -- shared by several commands --------------------------------------------------------------------


def store(ks: Keyspace, key: bytes, zset: SortedSet, event: bytes) -> Reply:
    """Put a computed sorted set at key, or nothing if it is empty; `event` is the STORE command's.

    Returns: its size, the reply of these commands.
    """
    store_result(ks, key, zset or None, b"z", event)
    return integer(len(zset))


# -- adding ----------------------------------------------------------------------------------------

_ADD_OPTIONS: Final = frozenset({b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"})


_RANGE_COST: Final = (
    "O(log(N)+M) with N being the number of elements in the sorted set and M the number "
    "of elements being returned. If M is constant (e.g. always asking for the first 10 "
    "elements with LIMIT), you can consider it O(log(N))."
)
_REMOVE_RANGE_COST: Final = (
    "O(log(N)+M) with N being the number of elements in the sorted set and M the number "
    "of elements removed by the operation."
)


@command(
    "ZADD",
    since="1.2.0",
    arity=-4,
    group="sorted-set",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW update"),
    acl=SORTED_SET,
    complexity="O(log(N)) for each item added, where N is the number of elements in the sorted "
    "set.",
    history=(
        ("2.4.0", "Accepts multiple elements."),
        ("3.0.2", "Added the `XX`, `NX`, `CH` and `INCR` options."),
        ("6.2.0", "Added the `GT` and `LT` options."),
    ),
)
def zadd(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Adds one or more members to a sorted set, or updates their scores. Creates the key if it doesn't exist."""  # noqa: E501  COMMAND DOCS shows it whole
    if len(args) == 2:
        score = parse_double(args[0])
        if score is not None:
            return add_one(ks, key, args[1], score)
    options: set[bytes] = set()
    at = 0
    while at < len(args) and (word := parse.word(args[at])) in _ADD_OPTIONS:
        options.add(word)
        at += 1
    pairs = args[at:]
    if not pairs or len(pairs) % 2:
        raise errors.syntax_error()
    if {b"NX", b"XX"} <= options:
        raise errors.nx_with_xx()
    if len(options & {b"NX", b"GT", b"LT"}) > 1:
        raise errors.gt_lt_nx()
    if b"INCR" in options:
        if len(pairs) > 2:
            raise errors.incr_of_several()
        return _increment(ks, key, pairs[1], parse.double(pairs[0]), options)
    return add(ks, key, [parse.double(score) for score in pairs[::2]], pairs[1::2], options)


def add_one(ks: Keyspace, key: bytes, member: bytes, score: float) -> Reply:
    """Add one member to the sorted set at key, or change its score, as ZADD without options."""
    zset = ks.lookup_write(key, SortedSet)
    if zset is None:
        ks.set(key, SortedSet(((member, score),)))
        ks.notify(b"z", b"zadd", key)
        return ONE
    old = zset.put(member, score)
    if old == score:
        return ZERO
    ks.changed(key)
    ks.notify(b"z", b"zadd", key)
    return ONE if old is None else ZERO


def add(
    ks: Keyspace, key: bytes, scores: list[float], members: Sequence[bytes], options: set[bytes]
) -> Reply:
    """Add members to the sorted set at key, or change their scores, as ZADD with these options (NX
    or XX, GT or LT, CH) does.
    """
    zset: SortedSet | None = ks.lookup_write(key, SortedSet)
    is_new = zset is None
    if zset is None:
        if b"XX" in options:
            return ZERO
        zset = SortedSet(
            listpack=len(members) <= LIMITS.zset_max_listpack_entries
            and len(members[0]) <= LIMITS.zset_max_listpack_value  # the others, as they come
        )
    else:
        zset.expect(len(members))
    added = updated = 0
    for member, score in zip(members, scores, strict=True):
        old = zset.score(member)
        if old is None:
            if b"XX" not in options:
                zset.insert(member, score)
                added += 1
        elif old != score and _allowed(options, old, score):
            zset.move(member, old, score)
            updated += 1
    if added or updated:
        if is_new:
            ks.set(key, zset)
        else:
            ks.changed(key)
        ks.notify(b"z", b"zadd", key)
    return integer(added + updated if b"CH" in options else added)


def _allowed(options: set[bytes], old: float, new: float) -> bool:
    """Tell whether the options let a member that is there get this score."""
    if not options:
        return True
    return (
        b"NX" not in options
        and (b"GT" not in options or new > old)
        and (b"LT" not in options or new < old)
    )


def _increment(ks: Keyspace, key: bytes, member: bytes, step: float, options: set[bytes]) -> Reply:
    """Add to member's score; reply it, or NULL if the options forbid it."""
    zset = ks.lookup_write(key, SortedSet)
    if zset is not None:
        zset.expect(1)
    old = None if zset is None else zset.score(member)
    if old is None:
        if b"XX" in options:
            return NULL
        score = step
        if zset is None:
            ks.set(key, SortedSet(((member, score),)))
        else:
            zset.insert(member, score)
            ks.changed(key)
    else:
        if b"NX" in options:
            return NULL
        score = old + step
        if score != score:
            raise errors.score_not_a_number()
        if not _allowed(options, old, score):
            return NULL
        if score == old:
            return double(score)
        zset.move(member, old, score)
        ks.changed(key)
    ks.notify(b"z", b"zincr", key)
    return double(score)


_NO_OPTIONS: Final[set[bytes]] = set()


@command(
    "ZINCRBY",
    since="1.2.0",
    arity=4,
    group="sorted-set",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW access update"),
    acl=SORTED_SET,
    complexity="O(log(N)) where N is the number of elements in the sorted set.",
)
def zincrby(ks: Keyspace, key: bytes, increment: bytes, member: bytes) -> Reply:
    """Increments the score of a member in a sorted set."""
    step = parse_double(increment)
    if step is None:  # read by ZADD's grammar, where an option is no number
        raise (
            errors.syntax_error() if parse.word(increment) in _ADD_OPTIONS else errors.not_a_float()
        )
    return _increment(ks, key, member, step, _NO_OPTIONS)


# -- removing --------------------------------------------------------------------------------------


@command(
    "ZREM",
    since="1.2.0",
    arity=-3,
    group="sorted-set",
    flags=WRITE | FAST,
    keys=key_at(1, "RW delete"),
    acl=SORTED_SET,
    complexity="O(M*log(N)) with N being the number of elements in the sorted set and M the number "
    "of elements to be removed.",
    history=(("2.4.0", "Accepts multiple elements."),),
)
def zrem(ks: Keyspace, key: bytes, *members: bytes) -> Reply:
    """Removes one or more members from a sorted set. Deletes the sorted set if all members were removed."""  # noqa: E501  COMMAND DOCS shows it whole
    zset = ks.lookup_write(key, SortedSet)
    if zset is None:
        return ZERO
    if len(members) == 1:
        removed = int(zset.remove(members[0]))
    else:
        removed = sum([zset.remove(member) for member in members])
    if removed:
        ks.removed(key, zset, b"z", b"zrem")
    return integer(removed)


def _remove_ranks(
    ks: Keyspace, key: bytes, ranks: Callable[[SortedSet], tuple[int, int]], event: bytes
) -> Reply:
    zset = ks.lookup_write(key, SortedSet)
    if zset is None:
        return ZERO
    start, stop = ranks(zset)
    if start >= stop:
        return ZERO
    zset.pop_at(start, stop)
    ks.removed(key, zset, b"z", event)
    return integer(stop - start)


@command(
    "ZREMRANGEBYRANK",
    since="2.0.0",
    arity=4,
    group="sorted-set",
    flags=WRITE,
    keys=key_at(1, "RW delete"),
    acl=SORTED_SET,
    complexity=_REMOVE_RANGE_COST,
)
def zremrangebyrank(ks: Keyspace, key: bytes, start: bytes, stop: bytes) -> Reply:
    """Removes members in a sorted set within a range of indexes. Deletes the sorted set if all members were removed."""  # noqa: E501  COMMAND DOCS shows it whole
    first, last = parse.integer(start), parse.integer(stop)
    return _remove_ranks(
        ks, key, lambda zset: parse.index_range(first, last, len(zset)), b"zremrangebyrank"
    )


@command(
    "ZREMRANGEBYSCORE",
    since="1.2.0",
    arity=4,
    group="sorted-set",
    flags=WRITE,
    keys=key_at(1, "RW delete"),
    acl=SORTED_SET,
    complexity=_REMOVE_RANGE_COST,
)
def zremrangebyscore(ks: Keyspace, key: bytes, low: bytes, high: bytes) -> Reply:
    """Removes members in a sorted set within a range of scores. Deletes the sorted set if all members were removed."""  # noqa: E501  COMMAND DOCS shows it whole
    scores = parse.score_range(low, high)
    return _remove_ranks(ks, key, lambda zset: zset.ranks_by_score(*scores), b"zremrangebyscore")


@command(
    "ZREMRANGEBYLEX",
    since="2.8.9",
    arity=4,
    group="sorted-set",
    flags=WRITE,
    keys=key_at(1, "RW delete"),
    acl=SORTED_SET,
    complexity=_REMOVE_RANGE_COST,
)
def zremrangebylex(ks: Keyspace, key: bytes, low: bytes, high: bytes) -> Reply:
    """Removes members in a sorted set within a lexicographical range. Deletes the sorted set if all members were removed."""  # noqa: E501  COMMAND DOCS shows it whole
    ends = parse.lex_range(low, high)
    return _remove_ranks(ks, key, lambda zset: zset.ranks_by_member(*ends), b"zremrangebylex")


# -- one member ------------------------------------------------------------------------------------


@command(
    "ZCARD",
    since="1.2.0",
    arity=2,
    group="sorted-set",
    flags=READONLY | FAST,
    keys=key_at(1, "RO"),
    acl=SORTED_SET,
    complexity="O(1)",
)
def zcard(ks: Keyspace, key: bytes) -> Reply:
    """Returns the number of members in a sorted set."""
    zset = ks.lookup_read(key, SortedSet)
    return ZERO if zset is None else integer(len(zset))


@command(
    "ZSCORE",
    since="1.2.0",
    arity=3,
    group="sorted-set",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=SORTED_SET,
    complexity="O(1)",
)
def zscore(ks: Keyspace, key: bytes, member: bytes) -> Reply:
    """Returns the score of a member in a sorted set."""
    zset = ks.lookup_read(key, SortedSet)
    score = None if zset is None else zset.score(member)
    return NULL if score is None else double(score)


@command(
    "ZMSCORE",
    since="6.2.0",
    arity=-3,
    group="sorted-set",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=SORTED_SET,
    complexity="O(N) where N is the number of members being requested.",
)
def zmscore(ks: Keyspace, key: bytes, *members: bytes) -> Reply:
    """Returns the score of one or more members in a sorted set."""
    zset: SortedSet | None = ks.lookup_read(key, SortedSet)
    scores = [None if zset is None else zset.score(member) for member in members]
    return array([NULL if score is None else double(score) for score in scores])


def _rank(
    ks: Keyspace, name: bytes, key: bytes, member: bytes, options: tuple[bytes, ...], reverse: bool
) -> Reply:
    if options:
        if len(options) > 1:
            raise errors.wrong_arity(name)
        if parse.word(options[0]) != b"WITHSCORE":
            raise errors.syntax_error()
    zset = ks.lookup_read(key, SortedSet)
    rank = None if zset is None else zset.rank(member)
    if rank is None:
        return NULL_ARRAY if options else NULL
    if reverse:
        rank = len(zset) - 1 - rank
    return array([integer(rank), double(zset.score(member))]) if options else integer(rank)


@command(
    "ZRANK",
    since="2.0.0",
    arity=-3,
    group="sorted-set",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=SORTED_SET,
    complexity="O(log(N))",
    history=(("7.2.0", "Added the optional `WITHSCORE` argument."),),
)
def zrank(ks: Keyspace, key: bytes, member: bytes, *options: bytes) -> Reply:
    """Returns the index of a member in a sorted set ordered by ascending scores."""
    return _rank(ks, b"zrank", key, member, options, False)


@command(
    "ZREVRANK",
    since="2.0.0",
    arity=-3,
    group="sorted-set",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=SORTED_SET,
    complexity="O(log(N))",
    history=(("7.2.0", "Added the optional `WITHSCORE` argument."),),
)
def zrevrank(ks: Keyspace, key: bytes, member: bytes, *options: bytes) -> Reply:
    """Returns the index of a member in a sorted set ordered by descending scores."""
    return _rank(ks, b"zrevrank", key, member, options, True)


# -- ranges ----------------------------------------------------------------------------------------


class _Range(NamedTuple):
    """What a range command asks for.

    Attributes:
        by: RANK, SCORE or LEX.
        ends: of the range, by rank (start, stop), else the arguments of `ranks_by_score` or
            `ranks_by_member`.
        reverse: from the highest on.
        offset, limit: LIMIT; a negative limit takes all.
        withscores: whether the reply has the scores.
    """

    by: bytes
    ends: Any
    reverse: bool
    offset: int
    limit: int
    withscores: bool

    def ranks(self, zset: SortedSet) -> tuple[int, int]:
        """Return the ranks that are asked for."""
        if self.by == b"RANK":
            size = len(zset)
            first, last = self.ends
            start, stop = parse.index_range(first, last, size)
            return (size - stop, size - start) if self.reverse else (start, stop)
        if self.by == b"SCORE":
            start, stop = zset.ranks_by_score(*self.ends)
        else:
            start, stop = zset.ranks_by_member(*self.ends, backwards=self.reverse)
        if self.offset < 0:
            return 0, 0
        count = self.limit if self.limit >= 0 else stop
        if self.reverse:
            stop -= self.offset
            return max(start, stop - count), stop
        start += self.offset
        return start, min(stop, start + count)


def _range(
    first: bytes,
    last: bytes,
    options: Sequence[bytes],
    by: bytes = b"",
    reverse: bool | None = None,
    *,
    withscores: bool = True,
) -> _Range:
    """Read a range and its options.

    Args:
        first, last: of the range; from the highest on if it is reverse and not by rank.
        options: what follows.
        by: RANK, SCORE or LEX if the command says so, else the options BYSCORE and BYLEX may.
        reverse: the same for REV.
        withscores: whether WITHSCORES is an option.
    """
    scores = False
    offset, limit = 0, -1
    at = 0
    while at < len(options):
        word = parse.word(options[at])
        at += 1
        if word == b"WITHSCORES" and withscores:
            scores = True
        elif word == b"LIMIT" and at + 1 < len(options):
            offset, limit = parse.integer(options[at]), parse.integer(options[at + 1])
            at += 2
        elif word == b"REV" and reverse is None:  # not twice
            reverse = True
        elif word in (b"BYLEX", b"BYSCORE") and not by:
            by = word[2:]
        else:
            raise errors.syntax_error()
    by = by or b"RANK"
    if limit != -1 and by == b"RANK":
        raise errors.limit_without_by()
    if scores and by == b"LEX":
        raise errors.withscores_with_bylex()
    if reverse and by != b"RANK":
        first, last = last, first
    ends: Any
    if by == b"RANK":
        ends = parse.integer(first), parse.integer(last)
    elif by == b"SCORE":
        ends = parse.score_range(first, last)
    else:
        ends = parse.lex_range(first, last)
    return _Range(by, ends, bool(reverse), offset, limit, scores)


def _show(ks: Keyspace, key: bytes, wanted: _Range) -> Reply:
    zset: SortedSet | None = ks.lookup_read(key, SortedSet)
    if zset is None:
        return EMPTY_ARRAY
    start, stop = wanted.ranks(zset)
    if not wanted.withscores:
        members = zset.members_at(start, stop)
        if wanted.reverse:
            members.reverse()
        return bulk_list(members)
    members, scores = zset.columns_at(start, stop)
    if wanted.reverse:
        members.reverse()
        scores.reverse()
    return scored(members, scores)


@command(
    "ZRANGE",
    since="1.2.0",
    arity=-4,
    group="sorted-set",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=SORTED_SET,
    complexity="O(log(N)+M) with N being the number of elements in the sorted set and M the number "
    "of elements returned.",
    history=(("6.2.0", "Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options."),),
)
def zrange(ks: Keyspace, key: bytes, start: bytes, stop: bytes, *options: bytes) -> Reply:
    """Returns members in a sorted set within a range of indexes."""
    if options:
        return _show(ks, key, _range(start, stop, options))
    first, last = parse.integer(start), parse.integer(stop)
    zset = ks.lookup_read(key, SortedSet)
    if zset is None:
        return EMPTY_ARRAY
    return bulk_list(zset.members_at(*parse.index_range(first, last, len(zset))))


@command(
    "ZREVRANGE",
    since="1.2.0",
    arity=-4,
    group="sorted-set",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=SORTED_SET,
    complexity="O(log(N)+M) with N being the number of elements in the sorted set and M the number "
    "of elements returned.",
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `REV` argument",
)
def zrevrange(ks: Keyspace, key: bytes, start: bytes, stop: bytes, *options: bytes) -> Reply:
    """Returns members in a sorted set within a range of indexes in reverse order."""
    return _show(ks, key, _range(start, stop, options, b"RANK", True))


@command(
    "ZRANGEBYSCORE",
    since="1.0.5",
    arity=-4,
    group="sorted-set",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=SORTED_SET,
    complexity=_RANGE_COST,
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `BYSCORE` argument",
    history=(("2.0.0", "Added the `WITHSCORES` modifier."),),
)
def zrangebyscore(ks: Keyspace, key: bytes, low: bytes, high: bytes, *options: bytes) -> Reply:
    """Returns members in a sorted set within a range of scores."""
    if not options or (len(options) == 3 and options[0].upper() == b"LIMIT"):
        offset, limit = map(parse.integer, options[1:] or (b"0", b"-1"))
        ends = parse.score_range(low, high)
        zset = ks.lookup_read(key, SortedSet)
        if zset is None or offset < 0:
            return EMPTY_ARRAY
        return bulk_list(zset.members_between(ends, offset, limit))
    return _show(ks, key, _range(low, high, options, b"SCORE", False))


@command(
    "ZREVRANGEBYSCORE",
    since="2.2.0",
    arity=-4,
    group="sorted-set",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=SORTED_SET,
    complexity=_RANGE_COST,
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `REV` and `BYSCORE` arguments",
    history=(("2.1.6", "`min` and `max` can be exclusive."),),
)
def zrevrangebyscore(ks: Keyspace, key: bytes, high: bytes, low: bytes, *options: bytes) -> Reply:
    """Returns members in a sorted set within a range of scores in reverse order."""
    return _show(ks, key, _range(high, low, options, b"SCORE", True))


@command(
    "ZRANGEBYLEX",
    since="2.8.9",
    arity=-4,
    group="sorted-set",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=SORTED_SET,
    complexity=_RANGE_COST,
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `BYLEX` argument",
)
def zrangebylex(ks: Keyspace, key: bytes, low: bytes, high: bytes, *options: bytes) -> Reply:
    """Returns members in a sorted set within a lexicographical range."""
    return _show(ks, key, _range(low, high, options, b"LEX", False))


@command(
    "ZREVRANGEBYLEX",
    since="2.8.9",
    arity=-4,
    group="sorted-set",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=SORTED_SET,
    complexity=_RANGE_COST,
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`ZRANGE` with the `REV` and `BYLEX` arguments",
)
def zrevrangebylex(ks: Keyspace, key: bytes, high: bytes, low: bytes, *options: bytes) -> Reply:
    """Returns members in a sorted set within a lexicographical range in reverse order."""
    return _show(ks, key, _range(high, low, options, b"LEX", True))


@command(
    "ZRANGESTORE",
    since="6.2.0",
    arity=-5,
    group="sorted-set",
    flags=WRITE | DENYOOM,
    keys=(
        KeySpec(1, flags=("OW", "update")),
        KeySpec(2, flags=("RO", "access")),
    ),
    acl=SORTED_SET,
    complexity="O(log(N)+M) with N being the number of elements in the sorted set and M the number "
    "of elements stored into the destination key.",
)
def zrangestore(
    ks: Keyspace, destination: bytes, source: bytes, low: bytes, high: bytes, *options: bytes
) -> Reply:
    """Stores a range of members from sorted set in a key."""
    wanted = _range(low, high, options, withscores=False)
    zset: SortedSet | None = ks.lookup_read(source, SortedSet)
    found = SortedSet() if zset is None else SortedSet(zset.elements_at(*wanted.ranks(zset)))
    return store(ks, destination, found, b"zrangestore")


@command(
    "ZCOUNT",
    since="2.0.0",
    arity=4,
    group="sorted-set",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=SORTED_SET,
    complexity="O(log(N)) with N being the number of elements in the sorted set.",
)
def zcount(ks: Keyspace, key: bytes, low: bytes, high: bytes) -> Reply:
    """Returns the count of members in a sorted set that have scores within a range."""
    scores = parse.score_range(low, high)
    zset = ks.lookup_read(key, SortedSet)
    if zset is None:
        return ZERO
    start, stop = zset.ranks_by_score(*scores)
    return integer(stop - start)


@command(
    "ZLEXCOUNT",
    since="2.8.9",
    arity=4,
    group="sorted-set",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=SORTED_SET,
    complexity="O(log(N)) with N being the number of elements in the sorted set.",
)
def zlexcount(ks: Keyspace, key: bytes, low: bytes, high: bytes) -> Reply:
    """Returns the number of members in a sorted set within a lexicographical range."""
    ends = parse.lex_range(low, high)
    zset = ks.lookup_read(key, SortedSet)
    if zset is None:
        return ZERO
    start, stop = zset.ranks_by_member(*ends)
    return integer(stop - start)


# -- several sets ----------------------------------------------------------------------------------

_Source = tuple[Any, float]  # a SortedSet, a Set or None for a missing key, and its weight


def _elements(value: Any) -> Iterable[Element]:
    """Return the elements of a sorted set or, each with the score 1, of a set."""
    return value.items() if value.__class__ is SortedSet else ((member, 1.0) for member in value)


def _score_in(value: Any, member: bytes) -> float | None:
    """Return member's score in a sorted set or set."""
    if value.__class__ is SortedSet:
        score: float | None = value.score(member)
        return score
    return 1.0 if member in value else None


def _sum(a: float, b: float) -> float:
    total = a + b
    return total if total == total else 0.0


def _min(a: float, b: float) -> float:
    return b if b < a else a


def _max(a: float, b: float) -> float:
    return b if b > a else a


_AGGREGATES: Final = {b"SUM": _sum, b"MIN": _min, b"MAX": _max}


class _Inputs(NamedTuple):
    """The keys of ZUNION and the like, and their options.

    Attributes:
        sources: as the keys came.
        aggregate: joins two scores of one member.
        withscores: whether the reply has the scores.
        limit: of ZINTERCARD, 0 for none.
    """

    sources: list[_Source]
    aggregate: Callable[[float, float], float]
    withscores: bool
    limit: int


def _inputs(
    ks: Keyspace, name: bytes, number: bytes, args: Sequence[bytes], options: frozenset[bytes]
) -> _Inputs:
    """Read a number of keys, the keys, and those of the options that the command has."""
    count = parse.integer(number)
    if count < 1:
        raise errors.no_input_key(name)
    keys, rest = parse.keys_by_number(args, count)
    values = [_input(ks, key) for key in keys]
    weights = [1.0] * count
    aggregate, withscores, limit = _sum, False, 0
    at = 0
    while at < len(rest):
        word = parse.word(rest[at])
        at += 1
        if word not in options:
            raise errors.syntax_error()
        if word == b"WITHSCORES":
            withscores = True
        elif word == b"WEIGHTS" and at + count <= len(rest):
            weights = [_weight(arg) for arg in rest[at : at + count]]
            at += count
        elif word == b"AGGREGATE" and at < len(rest):
            chosen = _AGGREGATES.get(parse.word(rest[at]))
            if chosen is None:
                raise errors.syntax_error()
            aggregate = chosen
            at += 1
        elif word == b"LIMIT" and at < len(rest):
            number_or_none = parse_int(rest[at])
            if number_or_none is None or number_or_none < 0:
                raise errors.limit_is_negative()
            limit = number_or_none
            at += 1
        else:
            raise errors.syntax_error()
    return _Inputs(list(zip(values, weights, strict=True)), aggregate, withscores, limit)


def _input(ks: Keyspace, key: bytes) -> Any:
    value = ks.lookup_read(key)
    if value is not None and value.__class__ not in (SortedSet, Set):
        raise errors.wrong_type()
    return value


def _weight(arg: bytes) -> float:
    weight = parse_double(arg)
    if weight is None:
        raise errors.weight_not_a_float()
    return weight


def _size(source: _Source) -> int:
    return 0 if source[0] is None else len(source[0])


def _union(inputs: _Inputs) -> dict[bytes, float]:
    # From the smallest set on, as Redis does: sums of doubles depend on the order.
    found: dict[bytes, float] = {}
    for value, weight in sorted(inputs.sources, key=_size):
        for member, score in () if value is None else _elements(value):
            score = _weighted(score, weight)
            old = found.get(member)
            found[member] = score if old is None else inputs.aggregate(old, score)
    return found


def _weighted(score: float, weight: float) -> float:
    product = score * weight
    return product if product == product else 0.0


def _inter(inputs: _Inputs) -> Iterator[Element]:
    (first, weight), *others = sorted(inputs.sources, key=_size)
    if first is None:
        return
    for member, score in _elements(first):
        total = _weighted(score, weight)
        for value, other_weight in others:
            found = _score_in(value, member)
            if found is None:
                break
            total = inputs.aggregate(total, found * other_weight)
        else:
            yield member, total


def _diff(inputs: _Inputs) -> Iterator[Element]:
    (first, _), *rest = inputs.sources
    if first is None:
        return
    others = [value for value, _ in rest if value is not None]
    for member, score in _elements(first):
        if not any(member in value for value in others):
            yield member, score


def _show_result(elements: Iterable[Element], withscores: bool) -> Reply:
    return _show_elements(sorted(elements, key=itemgetter(1, 0)), withscores)


def _show_elements(elements: Sequence[Element], withscores: bool) -> Reply:
    members = [member for member, _ in elements]
    return scored(members, [score for _, score in elements]) if withscores else bulk_list(members)


_JOIN_OPTIONS: Final = frozenset({b"WEIGHTS", b"AGGREGATE"})
_JOIN_SHOWN: Final = _JOIN_OPTIONS | {b"WITHSCORES"}


@command(
    "ZUNION",
    since="6.2.0",
    arity=-3,
    group="sorted-set",
    flags=READONLY,
    keys=(KeySpec(1, keynum=True, flags=("RO", "access")),),
    acl=SORTED_SET,
    complexity="O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M "
    "being the number of elements in the resulting sorted set.",
)
def zunion(ks: Keyspace, number: bytes, *args: bytes) -> Reply:
    """Returns the union of multiple sorted sets."""
    inputs = _inputs(ks, b"zunion", number, args, _JOIN_SHOWN)
    return _show_result(_union(inputs).items(), inputs.withscores)


@command(
    "ZINTER",
    since="6.2.0",
    arity=-3,
    group="sorted-set",
    flags=READONLY,
    keys=(KeySpec(1, keynum=True, flags=("RO", "access")),),
    acl=SORTED_SET,
    complexity="O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being "
    "the number of input sorted sets and M being the number of elements in the resulting "
    "sorted set.",
)
def zinter(ks: Keyspace, number: bytes, *args: bytes) -> Reply:
    """Returns the intersect of multiple sorted sets."""
    inputs = _inputs(ks, b"zinter", number, args, _JOIN_SHOWN)
    return _show_result(_inter(inputs), inputs.withscores)


@command(
    "ZDIFF",
    since="6.2.0",
    arity=-3,
    group="sorted-set",
    flags=READONLY,
    keys=(KeySpec(1, keynum=True, flags=("RO", "access")),),
    acl=SORTED_SET,
    complexity="O(L + (N-K)log(N)) worst case where L is the total number of elements in all the "
    "sets, N is the size of the first set, and K is the size of the result set.",
)
def zdiff(ks: Keyspace, number: bytes, *args: bytes) -> Reply:
    """Returns the difference between multiple sorted sets."""
    inputs = _inputs(ks, b"zdiff", number, args, frozenset({b"WITHSCORES"}))
    return _show_result(_diff(inputs), inputs.withscores)


@command(
    "ZUNIONSTORE",
    since="2.0.0",
    arity=-4,
    group="sorted-set",
    flags=WRITE | DENYOOM,
    keys=(
        KeySpec(1, flags=("OW", "update")),
        KeySpec(2, keynum=True, flags=("RO", "access")),
    ),
    acl=SORTED_SET,
    complexity="O(N)+O(M log(M)) with N being the sum of the sizes of the input sorted sets, and M "
    "being the number of elements in the resulting sorted set.",
)
def zunionstore(ks: Keyspace, destination: bytes, number: bytes, *args: bytes) -> Reply:
    """Stores the union of multiple sorted sets in a key."""
    inputs = _inputs(ks, b"zunionstore", number, args, _JOIN_OPTIONS)
    return store(ks, destination, SortedSet(_union(inputs).items()), b"zunionstore")


@command(
    "ZINTERSTORE",
    since="2.0.0",
    arity=-4,
    group="sorted-set",
    flags=WRITE | DENYOOM,
    keys=(
        KeySpec(1, flags=("OW", "update")),
        KeySpec(2, keynum=True, flags=("RO", "access")),
    ),
    acl=SORTED_SET,
    complexity="O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being "
    "the number of input sorted sets and M being the number of elements in the resulting "
    "sorted set.",
)
def zinterstore(ks: Keyspace, destination: bytes, number: bytes, *args: bytes) -> Reply:
    """Stores the intersect of multiple sorted sets in a key."""
    inputs = _inputs(ks, b"zinterstore", number, args, _JOIN_OPTIONS)
    return store(ks, destination, SortedSet(_inter(inputs)), b"zinterstore")


@command(
    "ZDIFFSTORE",
    since="6.2.0",
    arity=-4,
    group="sorted-set",
    flags=WRITE | DENYOOM,
    keys=(
        KeySpec(1, flags=("OW", "update")),
        KeySpec(2, keynum=True, flags=("RO", "access")),
    ),
    acl=SORTED_SET,
    complexity="O(L + (N-K)log(N)) worst case where L is the total number of elements in all the "
    "sets, N is the size of the first set, and K is the size of the result set.",
)
def zdiffstore(ks: Keyspace, destination: bytes, number: bytes, *args: bytes) -> Reply:
    """Stores the difference of multiple sorted sets in a key."""
    inputs = _inputs(ks, b"zdiffstore", number, args, frozenset())
    return store(ks, destination, SortedSet(_diff(inputs)), b"zdiffstore")


@command(
    "ZINTERCARD",
    since="7.0.0",
    arity=-3,
    group="sorted-set",
    flags=READONLY,
    keys=(KeySpec(1, keynum=True, flags=("RO", "access")),),
    acl=SORTED_SET,
    complexity="O(N*K) worst case with N being the smallest input sorted set, K being the number "
    "of input sorted sets.",
)
def zintercard(ks: Keyspace, number: bytes, *args: bytes) -> Reply:
    """Returns the number of members of the intersect of multiple sorted sets."""
    inputs = _inputs(ks, b"zintercard", number, args, frozenset({b"LIMIT"}))
    found = _inter(inputs)
    return integer(sum(1 for _ in islice(found, inputs.limit or None)))


# -- popping ---------------------------------------------------------------------------------------

_POPS: Final = {b"MIN": b"ZPOPMIN", b"MAX": b"ZPOPMAX"}


def _pop(ks: Keyspace, key: bytes, zset: SortedSet, where: bytes, count: int) -> Columns:
    """Remove the `count` lowest (where is MIN) or highest elements, or all; return members and
    scores.
    """
    size = len(zset)
    count = min(count, size)
    if where == b"MIN":
        members, scores = zset.pop_at(0, count)
        ks.removed(key, zset, b"z", b"zpopmin")
    else:
        members, scores = zset.pop_at(size - count, size)
        members.reverse()
        scores.reverse()
        ks.removed(key, zset, b"z", b"zpopmax")
    return members, scores


def _pop_from_one(ks: Keyspace, key: bytes, args: tuple[bytes, ...], where: bytes) -> Reply:
    count = 1
    if args:
        if len(args) > 1:
            raise errors.syntax_error()
        number = parse_int(args[0])
        if number is None or number < 0:
            raise errors.must_be_positive()
        count = number
    zset = ks.lookup_write(key, SortedSet)
    if zset is None or not count:
        return EMPTY_ARRAY
    if args:
        return scored(*_pop(ks, key, zset, where, count))
    member, score = zset.pop_end(where == b"MAX")
    ks.removed(key, zset, b"z", b"zpopmax" if where == b"MAX" else b"zpopmin")
    return member_and_score(member, score)


@command(
    "ZPOPMIN",
    since="5.0.0",
    arity=-2,
    group="sorted-set",
    flags=WRITE | FAST,
    keys=key_at(1, "RW access delete"),
    acl=SORTED_SET,
    complexity="O(log(N)*M) with N being the number of elements in the sorted set, and M being the "
    "number of elements popped.",
)
def zpopmin(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Returns the lowest-scoring members from a sorted set after removing them. Deletes the sorted set if the last member was popped."""  # noqa: E501  COMMAND DOCS shows it whole
    return _pop_from_one(ks, key, args, b"MIN")


@command(
    "ZPOPMAX",
    since="5.0.0",
    arity=-2,
    group="sorted-set",
    flags=WRITE | FAST,
    keys=key_at(1, "RW access delete"),
    acl=SORTED_SET,
    complexity="O(log(N)*M) with N being the number of elements in the sorted set, and M being the "
    "number of elements popped.",
)
def zpopmax(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Returns the highest-scoring members from a sorted set after removing them. Deletes the sorted set if the last member was popped."""  # noqa: E501  COMMAND DOCS shows it whole
    return _pop_from_one(ks, key, args, b"MAX")


def _first_of(ks: Keyspace, keys: Sequence[bytes]) -> tuple[bytes, SortedSet] | None:
    """Return the first of the keys that exists, and its value. Raises: ReplyError for another
    type.
    """
    for key in keys:
        zset = ks.lookup_write(key, SortedSet)
        if zset is not None:
            return key, zset
    return None


def _pop_several(ks: Keyspace, found: tuple[bytes, SortedSet], where: bytes, count: int) -> Reply:
    key, zset = found
    members, scores = _pop(ks, key, zset, where, count)
    ks.propagate(_POPS[where], key, b"%d" % len(members))
    return array([bulk(key), scored(members, scores, nested=True)])


def _lend_popped(argv: Sequence[bytes], _: bytes, value: Value) -> Value | None:
    """Lend ZMPOP or BZMPOP what it may pop, and one member more if there is one."""
    if value.__class__ is not SortedSet:
        return None
    try:
        _keys, where, count = parse.pops(argv[2 if argv[0][:1] in b"bB" else 1 :], _POPS)
    except errors.ReplyError:
        return None  # as the command itself will find
    return _end_of(value, count + 1, where)


def _end_of(value: SortedSet, count: int, where: bytes) -> SortedSet:
    """Return a sorted set of so many members of one end, or of all that there are."""
    size = len(value)
    count = min(count, size)
    start = 0 if where == b"MIN" else size - count
    return SortedSet(value.elements_at(start, start + count))


def _lend_first(argv: Sequence[bytes], _: bytes, value: Value) -> Value | None:
    """Lend BZPOPMIN or BZPOPMAX the member that it pops, and the next."""
    if value.__class__ is not SortedSet:
        return None
    return _end_of(value, 2, argv[0].upper()[-3:])


@command(
    "ZMPOP",
    since="7.0.0",
    arity=-4,
    group="sorted-set",
    flags=WRITE,
    keys=(KeySpec(1, keynum=True, flags=("RW", "access", "delete")),),
    acl=SORTED_SET,
    complexity="O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of "
    "elements in the sorted set, and M being the number of elements popped.",
    borrowed=Borrowed(lend=_lend_popped),
)
def zmpop(ks: Keyspace, number: bytes, *args: bytes) -> Reply:
    """Returns the highest- or lowest-scoring members from one or more sorted sets after removing them. Deletes the sorted set if the last member was popped."""  # noqa: E501  COMMAND DOCS shows it whole
    keys, where, count = parse.pops((number, *args), _POPS)
    found = _first_of(ks, keys)
    return NULL_ARRAY if found is None else _pop_several(ks, found, where, count)


@command(
    "BZMPOP",
    since="7.0.0",
    arity=-5,
    group="sorted-set",
    flags=WRITE | BLOCKING,
    keys=(KeySpec(2, keynum=True, flags=("RW", "access", "delete")),),
    acl=SORTED_SET,
    complexity="O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of "
    "elements in the sorted set, and M being the number of elements popped.",
    borrowed=Borrowed(lend=_lend_popped),
)
def bzmpop(ks: Keyspace, timeout: bytes, number: bytes, *args: bytes) -> Reply:
    """Removes and returns a member by score from one or more sorted sets. Blocks until a member is available otherwise. Deletes the sorted set if the last element was popped."""  # noqa: E501  COMMAND DOCS shows it whole
    keys, where, count = parse.pops((number, *args), _POPS)
    timeout_ms = parse.timeout_ms(timeout, ks.now_ms)
    found = _first_of(ks, keys)
    if found is None:
        return Wait(tuple(keys), timeout_ms, SortedSet, NULL_ARRAY)
    return _pop_several(ks, found, where, count)


def _pop_blocking(ks: Keyspace, args: tuple[bytes, ...], where: bytes) -> Reply:
    *keys, timeout = args
    timeout_ms = parse.timeout_ms(timeout, ks.now_ms)
    found = _first_of(ks, keys)
    if found is None:
        return Wait(tuple(keys), timeout_ms, SortedSet, NULL_ARRAY)
    key, zset = found
    members, scores = _pop(ks, key, zset, where, 1)
    ks.propagate(_POPS[where], key)
    return array([bulk(key), bulk(members[0]), double(scores[0])])


@command(
    "BZPOPMIN",
    since="5.0.0",
    arity=-3,
    group="sorted-set",
    flags=WRITE | BLOCKING | FAST,
    keys=(KeySpec(1, last=-2, flags=("RW", "access", "delete")),),
    acl=SORTED_SET,
    complexity="O(log(N)) with N being the number of elements in the sorted set.",
    history=(("6.0.0", "`timeout` is interpreted as a double instead of an integer."),),
    borrowed=Borrowed(lend=_lend_first),
)
def bzpopmin(ks: Keyspace, *args: bytes) -> Reply:
    """Removes and returns the member with the lowest score from one or more sorted sets. Blocks until a member is available otherwise. Deletes the sorted set if the last element was popped."""  # noqa: E501  COMMAND DOCS shows it whole
    return _pop_blocking(ks, args, b"MIN")


@command(
    "BZPOPMAX",
    since="5.0.0",
    arity=-3,
    group="sorted-set",
    flags=WRITE | BLOCKING | FAST,
    keys=(KeySpec(1, last=-2, flags=("RW", "access", "delete")),),
    acl=SORTED_SET,
    complexity="O(log(N)) with N being the number of elements in the sorted set.",
    history=(("6.0.0", "`timeout` is interpreted as a double instead of an integer."),),
    borrowed=Borrowed(lend=_lend_first),
)
def bzpopmax(ks: Keyspace, *args: bytes) -> Reply:
    """Removes and returns the member with the highest score from one or more sorted sets. Blocks until a member available otherwise.  Deletes the sorted set if the last element was popped."""  # noqa: E501  COMMAND DOCS shows it whole
    return _pop_blocking(ks, args, b"MAX")


# -- some of the members ---------------------------------------------------------------------------


@command(
    "ZRANDMEMBER",
    since="6.2.0",
    arity=-2,
    group="sorted-set",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=SORTED_SET,
    complexity="O(N) where N is the number of members returned",
    tips=("nondeterministic_output",),
)
def zrandmember(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Returns one or more random members from a sorted set."""
    if not args:
        zset = ks.lookup_read(key, SortedSet)
        return NULL if zset is None else bulk(zset.random_element(ks.random)[0])
    count = parse.integer(args[0])
    if count == -INT64_MAX - 1:
        raise errors.out_of_bounds(-INT64_MAX, INT64_MAX)
    withscores = len(args) > 1
    if withscores:
        if len(args) > 2 or parse.word(args[1]) != b"WITHSCORES":
            raise errors.syntax_error()
        if abs(count) > INT64_MAX // 2:
            raise errors.out_of_range()
    zset = ks.lookup_read(key, SortedSet)
    if zset is None or not count:
        return EMPTY_ARRAY
    elements = _random_elements(ks, zset, count)
    return _show_elements(elements, withscores)


def _random_elements(ks: Keyspace, zset: SortedSet, count: int) -> list[Element]:
    """Return `count` different elements, or -count that may repeat."""
    if count < -MAX_RANDOM_ELEMENTS:
        raise errors.out_of_range()
    if count < 0:
        return [zset.random_element(ks.random) for _ in range(-count)]
    size = len(zset)
    if count >= size:
        elements = zset.elements_at(0, size)
        elements.reverse()
        return elements
    ranks = ks.random.sample(range(size), count)
    if 8 * count < size:
        return [zset.elements_at(rank, rank + 1)[0] for rank in ranks]
    elements = zset.elements_at(0, size)
    return [elements[rank] for rank in ranks]


@command(
    "ZSCAN",
    since="2.8.0",
    arity=-3,
    group="sorted-set",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=SORTED_SET,
    complexity="O(1) for every call. O(N) for a complete iteration, including enough command calls "
    "for the cursor to return back to 0. N is the number of elements inside the "
    "collection.",
    tips=("nondeterministic_output",),
)
def zscan(ks: Keyspace, key: bytes, cursor: bytes, *options: bytes) -> Reply:
    """Iterates over members and scores of a sorted set."""
    position = parse.cursor(cursor)
    zset = ks.lookup_read(key, SortedSet)
    if zset is None:
        return array([bulk(b"0"), EMPTY_ARRAY])
    limit, matches, _, _ = parse.scan_options(options, b"zscan")
    after, found = zset.scan(position, limit)
    # A skiplist's scores are written here, and only here, with all their digits.
    shown = format_double if zset.encoding == b"listpack" else _all_digits
    words = [
        word
        for member, score in found
        if matches is None or matches(member)
        for word in (member, shown(score))
    ]
    return array([bulk(b"%d" % after), bulk_list(words)])


def _all_digits(score: float) -> bytes:
    return b"%.17g" % score
