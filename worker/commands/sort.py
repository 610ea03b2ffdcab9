"""SORT and SORT_RO.

Without ALPHA elements are sorted by score and, where scores are equal, by their bytes. With ALPHA
texts are compared as C strings in the C locale, up to the first NUL; with STORE they are compared
by all their bytes. Equal ones keep their order, in both directions.

A result that is stored is logged as what it is, DEL and RPUSH: to compute it again would read keys
that may look otherwise by then, and some orders depend on the salt of `hash`.

The keys that BY and GET make of a pattern are not among the command's keys: routing cannot see
them. If some belong to other partitions, the command is run again as one that borrows them
(`NeedKeys`): once for those of BY, once for those of GET.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from shoal.proto import errors
from shoal.proto.replies import NULL, Reply, array, bulk, bulks, integer
from shoal.proto.spec import CommandFlag, KeySpec
from shoal.worker.commands import parse
from shoal.worker.commands.hashes import get_live
from shoal.worker.commands.store import store_result
from shoal.worker.keyspace import Keyspace
from shoal.worker.registry import NeedKeys, command
from shoal.worker.values.hash import Hash
from shoal.worker.values.list import List
from shoal.worker.values.set import Set
from shoal.worker.values.sorted_set import SortedSet

WRITE, READONLY, DENYOOM = CommandFlag.WRITE, CommandFlag.READONLY, CommandFlag.DENYOOM

SORTED_KEY: Final = KeySpec(1, flags=("RO", "access"))
LOOKED_UP: Final = KeySpec(
    0,
    unknown=True,
    flags=("RO", "access"),
    notes="For the optional BY/GET keyword. It is marked 'unknown' because the key names derive "
    "from the content of the key we sort",
)
ACL: Final = ("set", "sortedset", "list", "dangerous")
COMPLEXITY: Final = (
    "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number "
    "of returned elements. When the elements are not sorted, complexity is O(N)."
)

# Elements of one logged RPUSH.
_RPUSH_AT_ONCE: Final = 1024

# What C++'s from_chars takes, as far as float() takes it too.
_NUMBER: Final = re.compile(
    rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?[iI][nN][fF](?:[iI][nN][iI][tT][yY])?"
)


def _c_string(text: bytes) -> bytes:
    """Return what C takes for the string: up to the first NUL."""
    return text.partition(b"\0")[0]


class _Pattern:
    """What BY or GET looks up for an element.

    `#` is the element itself; else `*` stands for the element in the name of a key, a string, or of
    a hash if `->field` follows. Without `*` there is nothing to be found.
    """

    __slots__ = ("_field", "_prefix", "_suffix", "itself")

    def __init__(self, pattern: bytes) -> None:
        text = _c_string(pattern)
        self.itself = text == b"#"
        self._prefix: bytes | None = None
        self._suffix = b""
        self._field: bytes | None = None
        star = text.find(b"*")
        if star < 0:
            return
        self._prefix, self._suffix = pattern[:star], pattern[star + 1 :]
        arrow = text.find(b"->", star)
        if 0 <= arrow < len(text) - 2:
            self._suffix, self._field = pattern[star + 1 : arrow], pattern[arrow + 2 :]

    def missing(self, ks: Keyspace, elements: Sequence[bytes]) -> list[bytes]:
        """Return the keys looked up for these elements that are not here."""
        prefix = self._prefix
        if self.itself or prefix is None:
            return []
        keys = [prefix + element + self._suffix for element in elements]
        return [key for key in keys if not ks.owns(key)]

    def look_up(self, ks: Keyspace, element: bytes) -> bytes | None:
        """Return what there is for an element, None for nothing."""
        if self.itself:
            return element
        if self._prefix is None:
            return None
        key = self._prefix + element + self._suffix
        value = ks.lookup_read(key)
        if self._field is not None:
            return get_live(ks, key, value, self._field) if isinstance(value, Hash) else None
        return bytes(value) if isinstance(value, (bytes, bytearray)) else None


class _Options:
    """What stands behind the key. Raises: ReplyError.

    Attributes:
        by: what to sort by, None for the elements themselves.
        sort: False if BY is constant, which means: as they are.
        start, count: of LIMIT; a negative count is none.
        gets: what to give for each element, if not the element.
        target: where to store the result, None for nowhere.
    """

    __slots__ = ("alpha", "by", "count", "desc", "gets", "sort", "start", "target")

    def __init__(self, args: Sequence[bytes], may_store: bool) -> None:
        self.desc = self.alpha = False
        self.by: _Pattern | None = None
        self.sort = True
        self.start, self.count = 0, -1
        self.gets: list[_Pattern] = []
        self.target: bytes | None = None
        at = 0
        while at < len(args):
            word = parse.word(args[at])
            left = len(args) - at - 1
            if word in (b"ASC", b"DESC"):
                self.desc = word == b"DESC"
            elif word == b"ALPHA":
                self.alpha = True
            elif word == b"LIMIT" and left >= 2:
                self.start, self.count = parse.integer(args[at + 1]), parse.integer(args[at + 2])
                at += 2
            elif word == b"STORE" and left and may_store:
                at += 1
                self.target = args[at]
            elif word == b"BY" and left:
                at += 1
                self.by = _Pattern(args[at])
                if b"*" not in _c_string(args[at]):
                    self.sort = False  # also if another BY follows
            elif word == b"GET" and left:
                at += 1
                self.gets.append(_Pattern(args[at]))
            else:
                raise errors.syntax_error()
            at += 1

    def limit(self, size: int) -> tuple[int, int]:
        """Return the range of `size` elements that LIMIT selects, its end exclusive."""
        start = min(max(self.start, 0), size)
        return start, size if self.count < 0 else min(start + self.count, size)


def _score(text: bytes | None) -> float | None:
    """Return a weight as a number, 0 for a missing one, None if it is no number."""
    if text is None or not (text := _c_string(text)):
        return 0.0
    return float(text) if text.isdigit() or _NUMBER.fullmatch(text) else None


def _require(ks: Keyspace, patterns: Sequence[_Pattern], elements: Sequence[bytes]) -> None:
    """Raises: NeedKeys, if what the patterns look up for the elements is not all here."""
    if ks.is_whole:
        return
    missing = [key for pattern in patterns for key in pattern.missing(ks, elements)]
    if missing:
        raise NeedKeys([(ks.db.index, key) for key in missing])


def _sort(ks: Keyspace, elements: list[bytes], options: _Options) -> list[bytes]:
    by, desc = options.by, options.desc
    weights: Sequence[bytes | None] = elements
    if by is not None:
        _require(ks, [by], elements)
        weights = [by.look_up(ks, element) for element in elements]
    if not options.alpha:
        pairs = []
        for text, element in zip(weights, elements, strict=True):
            score = _score(text)
            if score is None:
                raise errors.scores_not_numbers()
            pairs.append((score, element))
        pairs.sort(reverse=desc)
        return [element for _, element in pairs]
    if by is None:
        return sorted(elements, key=_c_string if options.target is None else None, reverse=desc)
    texts = [b"" if weight is None else weight for weight in weights]
    if options.target is None:
        texts = list(map(_c_string, texts))
    keys = [(weight is not None, text) for weight, text in zip(weights, texts, strict=True)]
    order = sorted(range(len(elements)), key=keys.__getitem__, reverse=desc)
    return [elements[at] for at in order]


def _part(value: List | SortedSet, start: int, end: int) -> list[bytes]:
    """Return the elements from start to end (exclusive) in their order."""
    if start >= end:
        return []
    if isinstance(value, List):
        return [element for some in value.range(start, end) for element in some]
    return value.members_at(start, end)


def _elements(ks: Keyspace, key: bytes, options: _Options) -> list[bytes]:
    """Return the elements to give, in order. Raises: ReplyError."""
    value = ks.lookup_read(key)
    if value is None:
        return []
    if value.__class__ not in (List, Set, SortedSet):
        raise errors.wrong_type()
    if value.__class__ is SortedSet:
        value.to_skiplist()  # as OBJECT ENCODING shows in Redis
    start, end = options.limit(len(value))
    if options.sort:
        return _sort(ks, list(value), options)[start:end]
    if value.__class__ is not Set:
        if not options.desc:
            return _part(value, start, end)
        return _part(value, len(value) - end, len(value) - start)[::-1]
    elements = value.members()
    if options.target is not None:  # not in the order of hashes, which is another each time
        elements.sort(reverse=options.desc)
    return elements[start:end]


def _run(ks: Keyspace, key: bytes, args: Sequence[bytes], may_store: bool) -> Reply:
    store = ks.store
    hits, misses = store.hits, store.misses
    try:
        return _sorted(ks, key, _Options(args, may_store))
    except NeedKeys:
        store.hits, store.misses = hits, misses  # it will look all of it up again
        raise


def _sorted(ks: Keyspace, key: bytes, options: _Options) -> Reply:
    found = _elements(ks, key, options)
    gets, target = options.gets, options.target
    if not gets and target is None:
        return b"*%d\r\n%b" % (len(found), bulks(found))
    values: Sequence[bytes | None] = found
    if gets:
        _require(ks, gets, found)
        values = [pattern.look_up(ks, element) for element in found for pattern in gets]
    if target is None:
        return array([NULL if value is None else bulk(value) for value in values])
    stored = [b"" if value is None else value for value in values]
    if ks.exists(target):
        ks.propagate(b"DEL", target)
    store_result(ks, target, List.stored(stored) if stored else None, b"l", b"sortstore")
    for at in range(0, len(stored), _RPUSH_AT_ONCE):
        ks.propagate(b"RPUSH", target, *stored[at : at + _RPUSH_AT_ONCE])
    return integer(len(stored))


_SKIPPED: Final = {b"LIMIT": 2, b"BY": 1, b"GET": 1}


def _store_key(argv: Sequence[bytes]) -> Sequence[int]:
    """Return the index of the key behind the last STORE, if there is one."""
    found: tuple[int, ...] = ()
    at = 2
    while at < len(argv):
        word = parse.word(argv[at])
        if word == b"STORE" and at + 1 < len(argv):
            found = (at + 1,)
        at += 1 + _SKIPPED.get(word, 0)
    return found


@command(
    "SORT",
    since="1.0.0",
    arity=-2,
    group="generic",
    flags=WRITE | DENYOOM,
    keys=(
        SORTED_KEY,
        LOOKED_UP,
        KeySpec(
            0,
            unknown=True,
            find=_store_key,
            flags=("OW", "update"),
            notes="For the optional STORE keyword. It is marked 'unknown' because the keyword can "
            "appear anywhere in the argument array",
        ),
    ),
    acl=ACL,
    complexity=COMPLEXITY,
)
def sort(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Sorts the elements in a list, a set, or a sorted set, optionally storing the result."""
    return _run(ks, key, args, may_store=True)


@command(
    "SORT_RO",
    since="7.0.0",
    arity=-2,
    group="generic",
    flags=READONLY,
    keys=(SORTED_KEY, LOOKED_UP),
    acl=ACL,
    complexity=COMPLEXITY,
)
def sort_ro(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Returns the sorted elements of a list, a set, or a sorted set."""
    return _run(ks, key, args, may_store=False)
