"""The commands of lists.

A list that has become empty is deleted. What pops from a list after waiting for it logs the command
that pops without waiting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shoal.proto import errors
from shoal.proto.numbers import INT64_MAX, parse_int
from shoal.proto.replies import (
    EMPTY_ARRAY,
    NULL,
    NULL_ARRAY,
    OK,
    ZERO,
    Reply,
    array,
    bulk,
    bulk_list,
    bulks,
    integer,
)
from shoal.proto.spec import CommandFlag, KeySpec, key_at
from shoal.worker.commands import parse
from shoal.worker.keyspace import Keyspace, Value
from shoal.worker.registry import Borrowed, Wait, command
from shoal.worker.values.list import List

WRITE, READONLY, FAST = CommandFlag.WRITE, CommandFlag.READONLY, CommandFlag.FAST
DENYOOM, BLOCKING = CommandFlag.DENYOOM, CommandFlag.BLOCKING
LIST: Final = ("list",)

# -- shared by several commands --------------------------------------------------------------------


def _symmetric(arg: bytes) -> int:
    """Return a 64-bit integer whose negation is one too. Raises: ReplyError."""
    number = parse.integer(arg)
    if number < -INT64_MAX:
        raise errors.out_of_bounds(-INT64_MAX, INT64_MAX)
    return number


_SIDES: Final = frozenset({b"LEFT", b"RIGHT"})


def _is_left(where: bytes) -> bool:
    word = parse.word(where)
    if word not in _SIDES:
        raise errors.syntax_error()
    return word == b"LEFT"


def _removed(ks: Keyspace, key: bytes, value: List, event: bytes) -> None:
    """Say that elements were removed from the list at key, which goes if it is empty."""
    value.shrunk()
    ks.removed(key, value, b"l", event)


# -- push ------------------------------------------------------------------------------------------


_PUSH_COST: Final = (
    "O(1) for each element added, so O(N) to add N elements when the command is called "
    "with multiple arguments."
)


def _push(ks: Keyspace, key: bytes, elements: tuple[bytes, ...], left: bool, event: bytes) -> Reply:
    value = ks.lookup_write(key, List)
    if value is None:
        value = List()
        value.push(elements, left)
        ks.set(key, value)
    else:
        value.push(elements, left)
        ks.changed(key)
    ks.notify(b"l", event, key)
    return integer(len(value))


@command(
    "LPUSH",
    since="1.0.0",
    arity=-3,
    group="list",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW insert"),
    acl=LIST,
    complexity=_PUSH_COST,
    history=(("2.4.0", "Accepts multiple `element` arguments."),),
)
def lpush(ks: Keyspace, key: bytes, *elements: bytes) -> Reply:
    """Prepends one or more elements to a list. Creates the key if it doesn't exist."""
    return _push(ks, key, elements, True, b"lpush")


@command(
    "RPUSH",
    since="1.0.0",
    arity=-3,
    group="list",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW insert"),
    acl=LIST,
    complexity=_PUSH_COST,
    history=(("2.4.0", "Accepts multiple `element` arguments."),),
)
def rpush(ks: Keyspace, key: bytes, *elements: bytes) -> Reply:
    """Appends one or more elements to a list. Creates the key if it doesn't exist."""
    return _push(ks, key, elements, False, b"rpush")


@command(
    "LPUSHX",
    since="2.2.0",
    arity=-3,
    group="list",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW insert"),
    acl=LIST,
    complexity=_PUSH_COST,
    history=(("4.0.0", "Accepts multiple `element` arguments."),),
)
def lpushx(ks: Keyspace, key: bytes, *elements: bytes) -> Reply:
    """Prepends one or more elements to a list only when the list exists."""
    return lpush(ks, key, *elements) if ks.lookup_write(key, List) is not None else ZERO


@command(
    "RPUSHX",
    since="2.2.0",
    arity=-3,
    group="list",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW insert"),
    acl=LIST,
    complexity=_PUSH_COST,
    history=(("4.0.0", "Accepts multiple `element` arguments."),),
)
def rpushx(ks: Keyspace, key: bytes, *elements: bytes) -> Reply:
    """Appends an element to a list only when the list exists."""
    return rpush(ks, key, *elements) if ks.lookup_write(key, List) is not None else ZERO


# -- pop -------------------------------------------------------------------------------------------


def _pop(ks: Keyspace, key: bytes, count: tuple[bytes, ...], left: bool) -> Reply:
    name = b"lpop" if left else b"rpop"
    if count:
        return _pop_count(ks, key, count, left, name)
    value = ks.lookup_write(key, List)
    if value is None:
        return NULL
    element = value.pop(left)
    _removed(ks, key, value, name)
    return bulk(element)


def _pop_count(
    ks: Keyspace, key: bytes, count: tuple[bytes, ...], left: bool, name: bytes
) -> Reply:
    if len(count) > 1:
        raise errors.wrong_arity(name)
    number = parse_int(count[0])
    if number is None or number < 0:
        raise errors.must_be_positive()
    value = ks.lookup_write(key, List)
    if value is None:
        return NULL_ARRAY
    if not number:
        return EMPTY_ARRAY
    return _pop_several(ks, key, value, min(number, len(value)), left)


def _pop_several(ks: Keyspace, key: bytes, value: List, number: int, left: bool) -> bytes:
    """Pop so many elements, at least one, and return them as an array."""
    if left:
        pieces = [bulks(part) for part in value.range(0, number)]
    else:
        size = len(value)
        pieces = [bulks(part[::-1]) for part in value.range(size - number, size)][::-1]
    value.cut(number, left)
    _removed(ks, key, value, b"lpop" if left else b"rpop")
    return b"".join([b"*%d\r\n" % number, *pieces])


def _pop_first(ks: Keyspace, keys: Sequence[bytes], left: bool, most: int) -> bytes | None:
    """Pop up to `most` elements from the first key that is there; None if none is."""
    for key in keys:
        value = ks.lookup_write(key, List)
        if value is not None:
            number = min(most, len(value))
            elements = _pop_several(ks, key, value, number, left)
            ks.propagate(b"LPOP" if left else b"RPOP", key, b"%d" % number)
            return b"*2\r\n" + bulk(key) + elements
    return None


@command(
    "LPOP",
    since="1.0.0",
    arity=-2,
    group="list",
    flags=WRITE | FAST,
    keys=key_at(1, "RW access delete"),
    acl=LIST,
    complexity="O(N) where N is the number of elements returned",
    history=(("6.2.0", "Added the `count` argument."),),
)
def lpop(ks: Keyspace, key: bytes, *count: bytes) -> Reply:
    """Returns the first elements in a list after removing it. Deletes the list if the last element was popped."""  # noqa: E501  COMMAND DOCS shows it whole
    return _pop(ks, key, count, True)


@command(
    "RPOP",
    since="1.0.0",
    arity=-2,
    group="list",
    flags=WRITE | FAST,
    keys=key_at(1, "RW access delete"),
    acl=LIST,
    complexity="O(N) where N is the number of elements returned",
    history=(("6.2.0", "Added the `count` argument."),),
)
def rpop(ks: Keyspace, key: bytes, *count: bytes) -> Reply:
    """Returns and removes the last elements of a list. Deletes the list if the last element was popped."""  # noqa: E501  COMMAND DOCS shows it whole
    return _pop(ks, key, count, False)


def _lend_popped(argv: Sequence[bytes], _: bytes, value: Value) -> Value | None:
    """Lend LMPOP or BLMPOP what it may pop, and one element more if there is one."""
    if value.__class__ is not List:
        return None
    try:
        _keys, side, count = parse.pops(argv[2 if argv[0][:1] in b"bB" else 1 :], _SIDES)
    except errors.ReplyError:
        return None  # as the command itself will find
    return _end_of(value, count + 1, side == b"LEFT")


@command(
    "LMPOP",
    since="7.0.0",
    arity=-4,
    group="list",
    flags=WRITE,
    keys=(KeySpec(1, keynum=True, flags=("RW", "access", "delete")),),
    acl=LIST,
    complexity=(
        "O(N+M) where N is the number of provided keys and M is the number of elements returned."
    ),
    borrowed=Borrowed(lend=_lend_popped),
)
def lmpop(ks: Keyspace, *args: bytes) -> Reply:
    """Returns multiple elements from a list after removing them. Deletes the list if the last element was popped."""  # noqa: E501  COMMAND DOCS shows it whole
    keys, side, count = parse.pops(args, _SIDES)
    return _pop_first(ks, keys, side == b"LEFT", count) or NULL_ARRAY


# -- move from list to list ------------------------------------------------------------------------


def _lend_ends(argv: Sequence[bytes], key: bytes, value: Value) -> Value | None:
    """Lend LMOVE and RPOPLPUSH the element that they move, and the next, which says whether the
    list goes; of the target only that it is a list.
    """
    if value.__class__ is not List or key != argv[1]:
        return None
    left = len(argv) > 4 and parse.word(argv[3]) == b"LEFT"
    return _end_of(value, 2, left)


def _end_of(value: List, count: int, left: bool) -> List:
    """Return a list of so many elements of one end of the list, or of all that it has."""
    size = len(value)
    count = min(count, size)
    start = 0 if left else size - count
    return List.stored([one for some in value.range(start, start + count) for one in some])


def _move_apart(argv: Sequence[bytes], reply: bytes) -> list[tuple[bytes, ...]]:
    """Return what LMOVE or RPOPLPUSH, with this reply, did to each of its two lists."""
    left = len(argv) == 5 and parse.word(argv[3]) == b"LEFT"
    to_left = len(argv) == 3 or parse.word(argv[4]) == b"LEFT"
    element = reply[reply.index(b"\n") + 1 : -2]
    return [
        (b"LPOP" if left else b"RPOP", argv[1]),
        (b"LPUSH" if to_left else b"RPUSH", argv[2], element),
    ]


_MOVES: Final = Borrowed(lend=_lend_ends, apart=_move_apart)


def _move(
    ks: Keyspace, source: bytes, target: bytes, from_left: bool, to_left: bool
) -> bytes | None:
    """Pop from source, push to target, return the element as a bulk; None if there is no source."""
    value = ks.lookup_write(source, List)
    if value is None:
        return None
    other = ks.lookup_write(target, List)
    if other is None:
        other = List()
        element = value.move(other, from_left, to_left)
        ks.set(target, other)
    else:
        element = value.move(other, from_left, to_left)
        ks.changed(target)
    ks.notify(b"l", b"lpush" if to_left else b"rpush", target)
    _removed(ks, source, value, b"lpop" if from_left else b"rpop")
    return bulk(element)


@command(
    "LMOVE",
    since="6.2.0",
    arity=5,
    group="list",
    flags=WRITE | DENYOOM,
    keys=(
        KeySpec(1, flags=("RW", "access", "delete")),
        KeySpec(2, flags=("RW", "insert")),
    ),
    acl=LIST,
    complexity="O(1)",
    borrowed=_MOVES,
)
def lmove(ks: Keyspace, source: bytes, target: bytes, wherefrom: bytes, whereto: bytes) -> Reply:
    """Returns an element after popping it from one list and pushing it to another. Deletes the list if the last element was moved."""  # noqa: E501  COMMAND DOCS shows it whole
    from_left, to_left = _is_left(wherefrom), _is_left(whereto)
    return _move(ks, source, target, from_left, to_left) or NULL


@command(
    "RPOPLPUSH",
    since="1.2.0",
    arity=3,
    group="list",
    flags=WRITE | DENYOOM,
    keys=(
        KeySpec(1, flags=("RW", "access", "delete")),
        KeySpec(2, flags=("RW", "insert")),
    ),
    acl=LIST,
    complexity="O(1)",
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`LMOVE` with the `RIGHT` and `LEFT` arguments",
    borrowed=_MOVES,
)
def rpoplpush(ks: Keyspace, source: bytes, target: bytes) -> Reply:
    """Returns the last element of a list after removing and pushing it to another list. Deletes the list if the last element was popped."""  # noqa: E501  COMMAND DOCS shows it whole
    return _move(ks, source, target, False, True) or NULL


# -- look and search -------------------------------------------------------------------------------


@command(
    "LLEN",
    since="1.0.0",
    arity=2,
    group="list",
    flags=READONLY | FAST,
    keys=key_at(1, "RO"),
    acl=LIST,
    complexity="O(1)",
)
def llen(ks: Keyspace, key: bytes) -> Reply:
    """Returns the length of a list."""
    value = ks.lookup_read(key, List)
    return ZERO if value is None else integer(len(value))


@command(
    "LINDEX",
    since="1.0.0",
    arity=3,
    group="list",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=LIST,
    complexity=(
        "O(N) where N is the number of elements to traverse to get to the element at index. "
        "This makes asking for the first or the last element of the list O(1)."
    ),
)
def lindex(ks: Keyspace, key: bytes, index: bytes) -> Reply:
    """Returns an element from a list by its index."""
    value = ks.lookup_read(key, List)
    if value is None:
        return NULL
    size = len(value)
    at = parse.integer(index)
    if at < 0:
        at += size
    return bulk(value.get(at)) if 0 <= at < size else NULL


@command(
    "LRANGE",
    since="1.0.0",
    arity=4,
    group="list",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=LIST,
    complexity=(
        "O(S+N) where S is the distance of start offset from HEAD for small lists, from "
        "nearest end (HEAD or TAIL) for large lists; and N is the number of elements in the "
        "specified range."
    ),
)
def lrange(ks: Keyspace, key: bytes, start: bytes, stop: bytes) -> Reply:
    """Returns a range of elements from a list."""
    first, last = parse.integer(start), parse.integer(stop)
    value = ks.lookup_read(key, List)
    if value is None:
        return EMPTY_ARRAY
    first, end = parse.index_range(first, last, len(value))
    if first >= end:
        return EMPTY_ARRAY
    parts = value.range(first, end)
    if parts.__class__ is tuple:
        return bulk_list(parts[0])
    return b"".join([b"*%d\r\n" % (end - first), *map(bulks, parts)])


def _lpos_options(args: Sequence[bytes]) -> tuple[int, int | None, int]:
    """Return RANK, COUNT (None if it is not asked for) and MAXLEN; of equal ones the last."""
    rank, count, limit = 1, None, 0
    rest = iter(args)
    for option in rest:
        word = parse.word(option)
        number = next(rest, None)
        if number is None or word not in (b"RANK", b"COUNT", b"MAXLEN"):
            raise errors.syntax_error()
        if word == b"RANK":
            rank = _symmetric(number)
            if not rank:
                raise errors.rank_is_zero()
            continue
        size = parse_int(number)
        if size is None or size < 0:
            raise errors.option_is_negative(word.decode())
        if word == b"COUNT":
            count = size
        else:
            limit = size
    return rank, count, limit


@command(
    "LPOS",
    since="6.0.6",
    arity=-3,
    group="list",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=LIST,
    complexity=(
        "O(N) where N is the number of elements in the list, for the average case. When "
        "searching for elements near the head or the tail of the list, or when the MAXLEN "
        "option is provided, the command may run in constant time."
    ),
)
def lpos(ks: Keyspace, key: bytes, element: bytes, *args: bytes) -> Reply:
    """Returns the index of matching elements in a list."""
    rank, count, limit = _lpos_options(args)
    value = ks.lookup_read(key, List)
    if value is None:
        return NULL if count is None else EMPTY_ARRAY
    found: list[Reply] = []
    for nth, index in enumerate(value.matches(element, rank < 0, limit), 1):
        if nth >= abs(rank):
            found.append(integer(index))
            if len(found) == (1 if count is None else count):
                break
    if count is None:
        return found[0] if found else NULL
    return array(found)


# -- change in the middle --------------------------------------------------------------------------


@command(
    "LSET",
    since="1.0.0",
    arity=4,
    group="list",
    flags=WRITE | DENYOOM,
    keys=key_at(1, "RW update"),
    acl=LIST,
    complexity=(
        "O(N) where N is the length of the list. Setting either the first or the last element"
        " of the list is O(1)."
    ),
)
def lset(ks: Keyspace, key: bytes, index: bytes, element: bytes) -> Reply:
    """Sets the value of an element in a list by its index."""
    value = ks.lookup_write(key, List)
    if value is None:
        raise errors.no_such_key()
    at = (parse.integer(index) + (1 << 31)) % (1 << 32) - (1 << 31)  # Redis keeps 32 bits of it
    value.make_room(len(element), 1)
    size = len(value)
    if at < 0:
        at += size
    if not 0 <= at < size:
        raise errors.index_out_of_range()
    value.set(at, element)
    ks.changed(key)
    ks.notify(b"l", b"lset", key)
    value.shrunk()
    return OK


@command(
    "LINSERT",
    since="2.2.0",
    arity=5,
    group="list",
    flags=WRITE | DENYOOM,
    keys=key_at(1, "RW insert"),
    acl=LIST,
    complexity=(
        "O(N) where N is the number of elements to traverse before seeing the value pivot. "
        "This means that inserting somewhere on the left end on the list (head) can be "
        "considered O(1) and inserting somewhere on the right end (tail) is O(N)."
    ),
)
def linsert(ks: Keyspace, key: bytes, where: bytes, pivot: bytes, element: bytes) -> Reply:
    """Inserts an element before or after another element in a list."""
    word = parse.word(where)
    if word not in (b"BEFORE", b"AFTER"):
        raise errors.syntax_error()
    value = ks.lookup_write(key, List)
    if value is None:
        return ZERO
    value.make_room(len(element), 1)  # as Redis does, whether the pivot is there or not
    at = next(value.matches(pivot), None)
    if at is None:
        return integer(-1)
    value.insert(at, element, after=word == b"AFTER")
    ks.changed(key)
    ks.notify(b"l", b"linsert", key)
    return integer(len(value))


@command(
    "LREM",
    since="1.0.0",
    arity=4,
    group="list",
    flags=WRITE,
    keys=key_at(1, "RW delete"),
    acl=LIST,
    complexity="O(N+M) where N is the length of the list and M is the number of elements removed.",
)
def lrem(ks: Keyspace, key: bytes, count: bytes, element: bytes) -> Reply:
    """Removes elements from a list. Deletes the list if the last element was removed."""
    number = _symmetric(count)
    value = ks.lookup_write(key, List)
    if value is None:
        return ZERO
    removed = value.remove(element, abs(number), number < 0)
    if removed:
        _removed(ks, key, value, b"lrem")
    return integer(removed)


@command(
    "LTRIM",
    since="1.0.0",
    arity=4,
    group="list",
    flags=WRITE,
    keys=key_at(1, "RW delete"),
    acl=LIST,
    complexity="O(N) where N is the number of elements to be removed by the operation.",
)
def ltrim(ks: Keyspace, key: bytes, start: bytes, stop: bytes) -> Reply:
    """Removes elements from both ends a list. Deletes the list if all elements were trimmed."""
    first, last = parse.integer(start), parse.integer(stop)
    value = ks.lookup_write(key, List)
    if value is None:
        return OK
    size = len(value)
    first, end = parse.index_range(first, last, size)
    if first >= end:
        first, end = size, size
    if first == 0 and end == size:
        ks.notify(b"l", b"ltrim", key)
        value.shrunk()
        ks.touched(key)
        return OK
    value.cut(size - end, left=False)
    value.cut(first, left=True)
    _removed(ks, key, value, b"ltrim")
    return OK


# -- wait until there is something to pop ----------------------------------------------------------


def _blocking_pop(ks: Keyspace, args: tuple[bytes, ...], left: bool) -> Reply:
    keys = args[:-1]
    timeout_ms = parse.timeout_ms(args[-1], ks.now_ms)
    for key in keys:
        value = ks.lookup_write(key, List)
        if value is not None:
            element = value.pop(left)
            _removed(ks, key, value, b"lpop" if left else b"rpop")
            ks.propagate(b"LPOP" if left else b"RPOP", key)
            return b"*2\r\n" + bulk(key) + bulk(element)
    return Wait(keys, timeout_ms, List, NULL_ARRAY)


def _lend_first(argv: Sequence[bytes], _: bytes, value: Value) -> Value | None:
    """Lend BLPOP or BRPOP the element that it pops, and the next."""
    if value.__class__ is not List:
        return None
    return _end_of(value, 2, argv[0].upper() == b"BLPOP")


_POPPED: Final = Borrowed(lend=_lend_first)


def _wait_to_move(source: bytes, timeout_ms: int) -> Wait:
    return Wait((source,), timeout_ms, List, NULL_ARRAY, denied_reply=NULL)


@command(
    "BLPOP",
    since="2.0.0",
    arity=-3,
    group="list",
    flags=WRITE | BLOCKING,
    keys=(KeySpec(1, last=-2, flags=("RW", "access", "delete")),),
    acl=LIST,
    complexity="O(N) where N is the number of provided keys.",
    history=(("6.0.0", "`timeout` is interpreted as a double instead of an integer."),),
    borrowed=_POPPED,
)
def blpop(ks: Keyspace, *args: bytes) -> Reply:
    """Removes and returns the first element in a list. Blocks until an element is available otherwise. Deletes the list if the last element was popped."""  # noqa: E501  COMMAND DOCS shows it whole
    return _blocking_pop(ks, args, True)


@command(
    "BRPOP",
    since="2.0.0",
    arity=-3,
    group="list",
    flags=WRITE | BLOCKING,
    keys=(KeySpec(1, last=-2, flags=("RW", "access", "delete")),),
    acl=LIST,
    complexity="O(N) where N is the number of provided keys.",
    history=(("6.0.0", "`timeout` is interpreted as a double instead of an integer."),),
    borrowed=_POPPED,
)
def brpop(ks: Keyspace, *args: bytes) -> Reply:
    """Removes and returns the last element in a list. Blocks until an element is available otherwise. Deletes the list if the last element was popped."""  # noqa: E501  COMMAND DOCS shows it whole
    return _blocking_pop(ks, args, False)


@command(
    "BLMPOP",
    since="7.0.0",
    arity=-5,
    group="list",
    flags=WRITE | BLOCKING,
    keys=(KeySpec(2, keynum=True, flags=("RW", "access", "delete")),),
    acl=LIST,
    complexity=(
        "O(N+M) where N is the number of provided keys and M is the number of elements returned."
    ),
    borrowed=Borrowed(lend=_lend_popped),
)
def blmpop(ks: Keyspace, timeout: bytes, *args: bytes) -> Reply:
    """Pops the first element from one of multiple lists. Blocks until an element is available otherwise. Deletes the list if the last element was popped."""  # noqa: E501  COMMAND DOCS shows it whole
    keys, side, count = parse.pops(args, _SIDES)
    timeout_ms = parse.timeout_ms(timeout, ks.now_ms)
    return _pop_first(ks, keys, side == b"LEFT", count) or Wait(
        tuple(keys), timeout_ms, List, NULL_ARRAY
    )


@command(
    "BLMOVE",
    since="6.2.0",
    arity=6,
    group="list",
    flags=WRITE | DENYOOM | BLOCKING,
    keys=(
        KeySpec(1, flags=("RW", "access", "delete")),
        KeySpec(2, flags=("RW", "insert")),
    ),
    acl=LIST,
    complexity="O(1)",
    borrowed=_MOVES,
)
def blmove(
    ks: Keyspace,
    source: bytes,
    target: bytes,
    wherefrom: bytes,
    whereto: bytes,
    timeout: bytes,
) -> Reply:
    """Pops an element from a list, pushes it to another list and returns it. Blocks until an element is available otherwise. Deletes the list if the last element was moved."""  # noqa: E501  COMMAND DOCS shows it whole
    from_left, to_left = _is_left(wherefrom), _is_left(whereto)
    timeout_ms = parse.timeout_ms(timeout, ks.now_ms)
    moved = _move(ks, source, target, from_left, to_left)
    if moved is None:
        return _wait_to_move(source, timeout_ms)
    ks.propagate(b"LMOVE", source, target, wherefrom, whereto)
    return moved


@command(
    "BRPOPLPUSH",
    since="2.2.0",
    arity=4,
    group="list",
    flags=WRITE | DENYOOM | BLOCKING,
    keys=(
        KeySpec(1, flags=("RW", "access", "delete")),
        KeySpec(2, flags=("RW", "insert")),
    ),
    acl=LIST,
    complexity="O(1)",
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`BLMOVE` with the `RIGHT` and `LEFT` arguments",
    history=(("6.0.0", "`timeout` is interpreted as a double instead of an integer."),),
    borrowed=_MOVES,
)
def brpoplpush(ks: Keyspace, source: bytes, target: bytes, timeout: bytes) -> Reply:
    """Pops an element from a list, pushes it to another list and returns it. Block until an element is available otherwise. Deletes the list if the last element was popped."""  # noqa: E501  COMMAND DOCS shows it whole
    timeout_ms = parse.timeout_ms(timeout, ks.now_ms)
    moved = _move(ks, source, target, False, True)
    if moved is None:
        return _wait_to_move(source, timeout_ms)
    ks.propagate(b"RPOPLPUSH", source, target)
    return moved
