"""How commands on a big collection are undone without a copy of it (no I/O).

Only where that is easy: the command names the elements that it changes, or adds and takes them at
an end, and the collection is so large that it keeps its encoding. For all others `undo_of` returns
None, and the whole value has to be copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final

from shoal.proto.numbers import parse_int
from shoal.worker.values.hash import Hash
from shoal.worker.values.list import List
from shoal.worker.values.set import Set
from shoal.worker.values.sorted_set import SortedSet

Argv = Sequence[bytes]
Undo = Callable[[Any], object]
"""Is called with the value as the command has left it."""

# Elements up to which a copy is cheap, a few microseconds.
COPIED_UP_TO: Final = 512

# More than this is popped from lists too rarely.
_MAX_POPPED: Final = 64

_ZADD_OPTIONS: Final = frozenset({b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"})

# Which fields, or members, a command names.
_FIELDS: Final[dict[bytes, Callable[[Argv], Argv]]] = {
    b"hset": lambda argv: argv[2::2],
    b"hmset": lambda argv: argv[2::2],
    b"hsetnx": lambda argv: argv[2:3],
    b"hincrby": lambda argv: argv[2:3],
    b"hincrbyfloat": lambda argv: argv[2:3],
    b"hdel": lambda argv: argv[2:],
}
_MEMBERS: Final[dict[bytes, Callable[[Argv], Argv]]] = {
    b"sadd": lambda argv: argv[2:],
    b"srem": lambda argv: argv[2:],
}
_SCORED: Final[dict[bytes, Callable[[Argv], Argv]]] = {
    b"zadd": lambda argv: _added(argv),
    b"zincrby": lambda argv: argv[3:4],
    b"zrem": lambda argv: argv[2:],
}
_PUSHES: Final = {b"lpush": True, b"lpushx": True, b"rpush": False, b"rpushx": False}
_POPS: Final = {b"lpop": True, b"rpop": False}


def _added(argv: Argv) -> Argv:
    at = 2
    while at < len(argv) and argv[at].upper() in _ZADD_OPTIONS:
        at += 1
    return argv[at + 1 :: 2]


def undo_of(name: bytes, argv: Argv, value: Any) -> Undo | None:
    """Return what undoes a command on a stored value, None if a copy is needed.

    Args: name: of the command, in lower case; value: as it is before.
    """
    kind = value.__class__
    if kind not in _BY_KIND or len(value) <= COPIED_UP_TO or len(argv) >= len(value) // 2:
        return None
    return _BY_KIND[kind](name, argv, value)


def _of_hash(name: bytes, argv: Argv, value: Hash) -> Undo | None:
    fields = _FIELDS.get(name)
    if fields is None or value.encoding != b"hashtable" or value.times is not None:
        return None
    return partial(_restore_fields, {field: value.get(field) for field in fields(argv)})


def _restore_fields(before: dict[bytes, bytes | None], value: Hash) -> None:
    value.remove([field for field, text in before.items() if text is None])
    pairs = [(field, text) for field, text in before.items() if text is not None]
    if pairs:
        value.set_pairs(list(chain.from_iterable(pairs)))


def _of_set(name: bytes, argv: Argv, value: Set) -> Undo | None:
    members = _MEMBERS.get(name)
    if members is None or value.encoding != b"hashtable":
        return None
    return partial(_restore_members, {one: one in value for one in members(argv)})


def _restore_members(before: dict[bytes, bool], value: Set) -> None:
    for member, was_there in before.items():
        if was_there:
            value.add(member)
        else:
            value.remove(member)


def _of_sorted_set(name: bytes, argv: Argv, value: SortedSet) -> Undo | None:
    members = _SCORED.get(name)
    if members is None or value.encoding != b"skiplist":
        return None
    return partial(_restore_scores, {one: value.score(one) for one in members(argv)})


def _restore_scores(before: dict[bytes, float | None], value: SortedSet) -> None:
    for member, score in before.items():
        if score is None:
            value.remove(member)
        else:
            value.add(member, score)


def _of_list(name: bytes, argv: Argv, value: List) -> Undo | None:
    if value.chain is None:
        return None
    size = len(value)
    if name in _PUSHES:
        return partial(_cut_to, size, _PUSHES[name])
    if name not in _POPS:
        return None
    count = parse_int(argv[2]) if len(argv) > 2 else 1
    if count is None or count < 0:
        count = 0  # an error
    # Far from where it would become a listpack: some nodes are left.
    if count > min(_MAX_POPPED, len(value.chain.nodes) - 3):
        return None
    left = _POPS[name]
    start = 0 if left else size - count
    popped = list(chain.from_iterable(value.range(start, start + count)))
    return partial(_push_back, size, popped[::-1] if left else popped, left)


def _cut_to(size: int, left: bool, value: List) -> None:
    value.cut(len(value) - size, left)


def _push_back(size: int, popped: list[bytes], left: bool, value: List) -> None:
    if len(value) < size:  # else it was an error
        value.push(popped, left)


_BY_KIND: Final[dict[type, Callable[[bytes, Argv, Any], Undo | None]]] = {
    Hash: _of_hash,
    Set: _of_set,
    SortedSet: _of_sorted_set,
    List: _of_list,
}
