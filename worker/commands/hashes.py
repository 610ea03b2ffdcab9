"""The commands of hashes, those that let single fields expire included.

Fields expire lazily and by the expire cycle (`worker/expire.py`), and are logged as HDEL either
way. Until then an expired field is hidden from whoever asks for it or for all fields, but counts in
HLEN, HDEL deletes it, and HSET, HEXPIRE and their kind find it. Who asks for it by name removes it,
except HTTL and its kind, which only look.

What is logged holds no relative time, no condition and no sum of decimals: an expire time becomes
HPEXPIREAT or PXAT, one in the past the HDEL that it means, HINCRBYFLOAT the value it led to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from shoal.proto import errors
from shoal.proto.limits import MAX_RANDOM_ELEMENTS
from shoal.proto.numbers import (
    INFINITE,
    INT32_MAX,
    INT64_MAX,
    INT64_MIN,
    add_long_double,
    format_long_double,
    parse_int,
    parse_long_double,
)
from shoal.proto.replies import (
    EMPTY_ARRAY,
    NULL,
    OK,
    ONE,
    ZERO,
    MapTemplate,
    Reply,
    array,
    bulk,
    bulk_list,
    bulk_map,
    bulk_pairs,
    integer,
)
from shoal.proto.spec import CommandFlag, KeySpec, key_at
from shoal.worker.commands import parse
from shoal.worker.keyspace import Keyspace
from shoal.worker.registry import command
from shoal.worker.values.hash import FLAT_MAX, Hash, Pair

WRITE, READONLY = CommandFlag.WRITE, CommandFlag.READONLY
DENYOOM, FAST = CommandFlag.DENYOOM, CommandFlag.FAST

HASH: Final = ("hash",)

EMPTY_MAP: Final = bulk_map((), ())

# The latest expire time of a field, ms since the epoch: 46 bits, as in Redis.
MAX_FIELD_EXPIRE_MS: Final = (1 << 46) - 1

# Replies of the commands about expire times, for each field.
NO_FIELD: Final = b":-2\r\n"
NO_TIME: Final = b":-1\r\n"
NOT_ALLOWED: Final = ZERO
DONE: Final = ONE
DELETED: Final = b":2\r\n"

_SECONDS: Final = frozenset({b"EX", b"EXAT"})
_RELATIVE: Final = frozenset({b"EX", b"PX"})
_TIMES: Final = frozenset({b"EX", b"PX", b"EXAT", b"PXAT"})

# -- shared by several commands --------------------------------------------------------------------


def get_live(ks: Keyspace, key: bytes, value: Hash, field: bytes) -> bytes | None:
    """Return a field's value, None if there is none or it has expired: then it goes, and the hash
    with its last field.
    """
    if not value.has_expired(field, ks.now_ms):
        return value.get(field)
    ks.expire_fields(key, value, (field,))
    ks.remove_if_empty(key, value)
    return None


def _expire_named(ks: Keyspace, key: bytes, value: Hash, fields: Sequence[bytes]) -> None:
    """Let those of the fields go that have expired; `remove_if_empty` has to follow."""
    if value.times is None:
        return
    now_ms = ks.now_ms
    gone = [field for field in dict.fromkeys(fields) if value.has_expired(field, now_ms)]
    if gone:
        ks.expire_fields(key, value, gone)


def _shrunk(ks: Keyspace, key: bytes, value: Hash, had: bool) -> None:
    """Say that fields were deleted, `had` as in `field_times_changed`; the hash goes with the last
    of them.
    """
    ks.field_times_changed(key, value, had)
    ks.removed(key, value, b"h", b"hdel")


def _delete_fields(ks: Keyspace, key: bytes, value: Hash, fields: Sequence[bytes]) -> None:
    """Delete fields that are there, as an expire time in the past does."""
    had = value.times is not None
    value.remove(fields)
    for field in fields:
        ks.propagate(b"HDEL", key, field)
    _shrunk(ks, key, value, had)


def _values(found: Sequence[bytes | None]) -> Reply:
    """Return an array of bulk strings and nulls."""
    if None in found:
        return array([NULL if data is None else bulk(data) for data in found])
    return bulk_list(found)  # type: ignore[arg-type]  # none of them is None


def _fields(
    args: Sequence[bytes], not_positive: Callable[[], errors.ReplyError]
) -> Sequence[bytes]:
    """Return what follows `FIELDS numfields`, to the end of the command.

    Args:
        args: from FIELDS on, at least two.
        not_positive: the error of a number that is no integer, or below 1.
    Raises: ReplyError.
    """
    if parse.word(args[0]) != b"FIELDS":
        raise errors.fields_missing()
    number = parse_int(args[1])
    if number is None or number < 1:
        raise not_positive()
    if number != len(args) - 2:
        raise errors.numfields_mismatch()
    return args[2:]


def _expire_ms(text: bytes, unit_ms: int, base_ms: int, name: bytes) -> int:
    """Return the expire time base_ms + text * unit_ms, ms since the epoch.

    Raises: ReplyError if it is no integer, negative or too large; `name` is whose error.
    """
    number = parse.integer(text)
    if number < 0:
        raise errors.expire_is_negative()
    at_ms = base_ms + number * unit_ms
    if at_ms > MAX_FIELD_EXPIRE_MS:
        raise errors.invalid_expire(name)
    return at_ms


def _option_ms(ks: Keyspace, unit: bytes, text: bytes, name: bytes) -> int:
    """Return the expire time of EX, PX, EXAT or PXAT (`unit`) and its number; as `_expire_ms`."""
    base_ms = ks.now_ms if unit in _RELATIVE else 0
    return _expire_ms(text, 1000 if unit in _SECONDS else 1, base_ms, name)


# -- fields: get -----------------------------------------------------------------------------------


@command(
    "HGET",
    since="2.0.0",
    arity=3,
    group="hash",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=HASH,
    complexity="O(1)",
)
def hget(ks: Keyspace, key: bytes, field: bytes) -> Reply:
    """Returns the value of a field in a hash."""
    value: Hash | None = ks.lookup_read(key, Hash)
    if value is None:
        return NULL
    data = value.get(field) if value.times is None else get_live(ks, key, value, field)
    return NULL if data is None else bulk(data)


@command(
    "HMGET",
    since="2.0.0",
    arity=-3,
    group="hash",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=HASH,
    complexity="O(N) where N is the number of fields being requested.",
)
def hmget(ks: Keyspace, key: bytes, *fields: bytes) -> Reply:
    """Returns the values of all fields in a hash."""
    value: Hash | None = ks.lookup_read(key, Hash)
    if value is None:
        return array([NULL] * len(fields))
    if value.times is None:
        return _values([value.get(field) for field in fields])
    _expire_named(ks, key, value, fields)
    ks.remove_if_empty(key, value)
    now_ms = ks.now_ms
    return _values([value.live(field, now_ms) for field in fields])


@command(
    "HGETALL",
    since="2.0.0",
    arity=2,
    group="hash",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=HASH,
    complexity="O(N) where N is the size of the hash.",
    tips=("nondeterministic_output_order",),
)
def hgetall(ks: Keyspace, key: bytes) -> Reply:
    """Returns all fields and values in a hash."""
    value: Hash | None = ks.lookup_read(key, Hash)
    if value is None:
        return EMPTY_MAP
    shape = value.shape
    if shape is None:
        return bulk_map(*value.live_columns(ks.now_ms))
    template: MapTemplate | None = shape.reply
    if template is None:
        template = shape.reply = MapTemplate(shape.fields)
    return template.fill(value.data)


@command(
    "HKEYS",
    since="2.0.0",
    arity=2,
    group="hash",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=HASH,
    complexity="O(N) where N is the size of the hash.",
    tips=("nondeterministic_output_order",),
)
def hkeys(ks: Keyspace, key: bytes) -> Reply:
    """Returns all fields in a hash."""
    value: Hash | None = ks.lookup_read(key, Hash)
    if value is None:
        return EMPTY_ARRAY
    return bulk_list(value.live_columns(ks.now_ms)[0])


@command(
    "HVALS",
    since="2.0.0",
    arity=2,
    group="hash",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=HASH,
    complexity="O(N) where N is the size of the hash.",
    tips=("nondeterministic_output_order",),
)
def hvals(ks: Keyspace, key: bytes) -> Reply:
    """Returns all values in a hash."""
    value: Hash | None = ks.lookup_read(key, Hash)
    if value is None:
        return EMPTY_ARRAY
    return bulk_list(value.live_columns(ks.now_ms)[1])


@command(
    "HLEN",
    since="2.0.0",
    arity=2,
    group="hash",
    flags=READONLY | FAST,
    keys=key_at(1, "RO"),
    acl=HASH,
    complexity="O(1)",
)
def hlen(ks: Keyspace, key: bytes) -> Reply:
    """Returns the number of fields in a hash."""
    value: Hash | None = ks.lookup_read(key, Hash)
    return ZERO if value is None else integer(len(value.data))


@command(
    "HEXISTS",
    since="2.0.0",
    arity=3,
    group="hash",
    flags=READONLY | FAST,
    keys=key_at(1, "RO"),
    acl=HASH,
    complexity="O(1)",
)
def hexists(ks: Keyspace, key: bytes, field: bytes) -> Reply:
    """Determines whether a field exists in a hash."""
    value: Hash | None = ks.lookup_read(key, Hash)
    if value is None:
        return ZERO
    data = value.get(field) if value.times is None else get_live(ks, key, value, field)
    return ZERO if data is None else ONE


@command(
    "HSTRLEN",
    since="3.2.0",
    arity=3,
    group="hash",
    flags=READONLY | FAST,
    keys=key_at(1, "RO"),
    acl=HASH,
    complexity="O(1)",
)
def hstrlen(ks: Keyspace, key: bytes, field: bytes) -> Reply:
    """Returns the length of the value of a field."""
    value: Hash | None = ks.lookup_read(key, Hash)
    if value is None:
        return ZERO
    data = value.get(field) if value.times is None else get_live(ks, key, value, field)
    return ZERO if data is None else integer(len(data))


# -- fields: set and delete ------------------------------------------------------------------------


def _set_pairs(ks: Keyspace, key: bytes, args: Sequence[bytes]) -> int:
    """Set fields, given as field, value and so on; return how many are new. Raises: ReplyError."""
    value: Hash | None = ks.lookup_write(key, Hash)
    if value is None:
        value = Hash()
        added = value.put_pairs(args)
        ks.set(key, value)
    elif value.times is None:
        added = value.put(*args) if len(args) == 2 else value.put_pairs(args)
        ks.changed(key)
    else:
        added = value.set_pairs(args)
        ks.field_times_changed(key, value, True)
        ks.changed(key)
    ks.notify(b"h", b"hset", key)
    return added


@command(
    "HSET",
    since="2.0.0",
    arity=-4,
    group="hash",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW update"),
    acl=HASH,
    complexity="O(1) for each field/value pair added, so O(N) to add N field/value pairs when the "
    "command is called with multiple field/value pairs.",
    history=(("4.0.0", "Accepts multiple `field` and `value` arguments."),),
)
def hset(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Creates or modifies the value of a field in a hash."""
    if len(args) & 1:
        raise errors.wrong_arity(b"hset")
    return integer(_set_pairs(ks, key, args))


@command(
    "HMSET",
    since="2.0.0",
    arity=-4,
    group="hash",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW update"),
    acl=HASH,
    complexity="O(N) where N is the number of fields being set.",
    doc_flags=("deprecated",),
    deprecated_since="4.0.0",
    replaced_by="`HSET` with multiple field-value pairs",
)
def hmset(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Sets the values of multiple fields."""
    if len(args) & 1:
        raise errors.wrong_arity(b"hmset")
    _set_pairs(ks, key, args)
    return OK


def _put(ks: Keyspace, key: bytes, value: Hash | None, field: bytes, data: bytes) -> None:
    """Give a field a value, in a new hash if there is none (any more); its expire time stays."""
    if value is None or not len(value):
        value = Hash()
        value.put(field, data)
        ks.set(key, value)
    else:
        value.put(field, data)
        ks.changed(key)


@command(
    "HSETNX",
    since="2.0.0",
    arity=4,
    group="hash",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW insert"),
    acl=HASH,
    complexity="O(1)",
)
def hsetnx(ks: Keyspace, key: bytes, field: bytes, data: bytes) -> Reply:
    """Sets the value of a field in a hash only when the field doesn't exist."""
    value: Hash | None = ks.lookup_write(key, Hash)
    if value is not None:
        old = value.get(field) if value.times is None else get_live(ks, key, value, field)
        if old is not None:
            return ZERO
    _put(ks, key, value, field, data)
    ks.notify(b"h", b"hset", key)
    return ONE


@command(
    "HDEL",
    since="2.0.0",
    arity=-3,
    group="hash",
    flags=WRITE | FAST,
    keys=key_at(1, "RW delete"),
    acl=HASH,
    complexity="O(N) where N is the number of fields to be removed.",
    history=(("2.4.0", "Accepts multiple `field` arguments."),),
)
def hdel(ks: Keyspace, key: bytes, *fields: bytes) -> Reply:
    """Deletes one or more fields and their values from a hash. Deletes the hash if no fields remain."""  # noqa: E501
    value: Hash | None = ks.lookup_write(key, Hash)
    if value is None:
        return ZERO
    had = value.times is not None
    deleted = value.remove(fields)
    if deleted:
        _shrunk(ks, key, value, had)
    return integer(deleted)


@command(
    "HGETDEL",
    since="8.0.0",
    arity=-5,
    group="hash",
    flags=WRITE | FAST,
    keys=key_at(1, "RW access delete"),
    acl=HASH,
    complexity="O(N) where N is the number of specified fields",
)
def hgetdel(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Returns the value of a field and deletes it from the hash."""
    value: Hash | None = ks.lookup_write(key, Hash)
    fields = _fields(args, errors.number_of_fields_not_positive)
    if value is None:
        return array([NULL] * len(fields))
    _expire_named(ks, key, value, fields)
    if ks.remove_if_empty(key, value):
        return array([NULL] * len(fields))
    had = value.times is not None
    found = []
    for field in fields:
        found.append(value.live(field, ks.now_ms))
        if found[-1] is not None:
            value.remove((field,))
    if found.count(None) < len(found):
        ks.propagate(b"HDEL", key, *fields)
        _shrunk(ks, key, value, had)
    return _values(found)


# -- numbers ---------------------------------------------------------------------------------------


@command(
    "HINCRBY",
    since="2.0.0",
    arity=4,
    group="hash",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW access update"),
    acl=HASH,
    complexity="O(1)",
)
def hincrby(ks: Keyspace, key: bytes, field: bytes, increment: bytes) -> Reply:
    """Increments the integer value of a field in a hash by a number. Uses 0 as initial value if the field doesn't exist."""  # noqa: E501
    number = parse.integer(increment)
    value: Hash | None = ks.lookup_write(key, Hash)
    if value is not None:
        old = value.get(field) if value.times is None else get_live(ks, key, value, field)
        if old is not None:
            before = parse_int(old)
            if before is None:
                raise errors.hash_value_not_an_integer()
            number += before
            if not INT64_MIN <= number <= INT64_MAX:
                raise errors.overflow()
    _put(ks, key, value, field, b"%d" % number)
    ks.notify(b"h", b"hincrby", key)
    return integer(number)


@command(
    "HINCRBYFLOAT",
    since="2.6.0",
    arity=4,
    group="hash",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW access update"),
    acl=HASH,
    complexity="O(1)",
)
def hincrbyfloat(ks: Keyspace, key: bytes, field: bytes, increment: bytes) -> Reply:
    """Increments the floating point value of a field by a number. Uses 0 as initial value if the field doesn't exist."""  # noqa: E501
    step = parse_long_double(increment)
    if step is None:
        raise errors.not_a_float()
    if step is INFINITE:
        raise errors.increment_not_finite()
    value: Hash | None = ks.lookup_write(key, Hash)
    total = step
    if value is not None:
        old = value.get(field) if value.times is None else get_live(ks, key, value, field)
        if old is not None:
            before = parse_long_double(old)
            if before is None:
                raise errors.hash_value_not_a_float()
            summed = add_long_double(before, step)
            if summed is None:
                raise errors.sum_not_finite()
            total = summed
    data = format_long_double(total)
    _put(ks, key, value, field, data)
    ks.propagate(b"HSETEX", key, b"KEEPTTL", b"FIELDS", b"1", field, data)
    ks.notify(b"h", b"hincrbyfloat", key)
    return bulk(data)


# -- some of the fields ----------------------------------------------------------------------------


def _distinct(ks: Keyspace, value: Hash, count: int) -> list[Pair]:
    """Return `count` different fields, chosen at random, and their values; there are more."""
    size = len(value)
    if 3 * count > size or size <= FLAT_MAX:
        return ks.random.sample(list(value.items()), count)
    chosen: dict[bytes, bytes] = {}
    while len(chosen) < count:
        field, data = value.random_item(ks.random)
        chosen[field] = data
    return list(chosen.items())


def _draw(ks: Keyspace, key: bytes) -> Hash | None:
    """Return the hash at key for reading, without the fields that have expired; None if there is
    none. Raises: ReplyError.
    """
    value: Hash | None = ks.lookup_read(key, Hash)
    if value is None or value.times is None:
        return value
    due = value.due(ks.now_ms, len(value))
    if due:
        ks.expire_fields(key, value, due)
        if ks.remove_if_empty(key, value):
            return None
    if ks.store.expire_paused and value.earliest() <= ks.now_ms:  # they stay, and must be hidden
        live = Hash()
        for field, data in value.live_items(ks.now_ms):
            live.put(field, data)
        return live if len(live) else None
    return value


@command(
    "HRANDFIELD",
    since="6.2.0",
    arity=-2,
    group="hash",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=HASH,
    complexity="O(N) where N is the number of fields returned",
    tips=("nondeterministic_output",),
)
def hrandfield(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Returns one or more random fields from a hash."""
    if not args:
        value = _draw(ks, key)
        return NULL if value is None else bulk(value.random_item(ks.random)[0])
    count = parse.integer(args[0])
    if count < -INT64_MAX:
        raise errors.out_of_bounds(-INT64_MAX, INT64_MAX)
    with_values = len(args) == 2 and parse.word(args[1]) == b"WITHVALUES"
    if len(args) > 1 and not with_values:
        raise errors.syntax_error()
    if with_values and abs(count) > INT64_MAX // 2:
        raise errors.out_of_range()
    value = _draw(ks, key)
    if value is None or not count:
        return EMPTY_ARRAY
    if count < -MAX_RANDOM_ELEMENTS:
        raise errors.out_of_bounds(-MAX_RANDOM_ELEMENTS, INT64_MAX)
    if count < 0:
        pairs = [value.random_item(ks.random) for _ in range(-count)]
    elif count >= len(value):
        pairs = list(value.live_items(ks.now_ms))
    else:
        pairs = _distinct(ks, value, count)
    return bulk_pairs(pairs) if with_values else bulk_list([field for field, _ in pairs])


@command(
    "HSCAN",
    since="2.8.0",
    arity=-3,
    group="hash",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=HASH,
    complexity="O(1) for every call. O(N) for a complete iteration, including enough command calls "
    "for the cursor to return back to 0. N is the number of elements inside the "
    "collection.",
    tips=("nondeterministic_output",),
)
def hscan(ks: Keyspace, key: bytes, cursor_text: bytes, *options: bytes) -> Reply:
    """Iterates over fields and values of a hash."""
    cursor = parse.cursor(cursor_text)
    value: Hash | None = ks.lookup_read(key, Hash)
    if value is None:
        return array([bulk(b"0"), EMPTY_ARRAY])
    limit, matches, _, novalues = parse.scan_options(options, b"hscan")
    after, pairs = value.scan(cursor, limit, ks.now_ms)
    found: list[bytes] = []
    for field, data in pairs:
        if matches is None or matches(field):
            found.append(field)
            if not novalues:
                found.append(data)
    return array([bulk(b"%d" % after), bulk_list(found)])


# -- expire times of fields ------------------------------------------------------------------------


_NX, _XX, _GT, _LT = b"NX", b"XX", b"GT", b"LT"


def _allowed(condition: bytes, old_ms: int, at_ms: int) -> bool:
    """Tell whether a condition, or none (empty), lets `at_ms` replace `old_ms`, 0 for never."""
    if not condition:
        return True
    if condition == _NX:
        return not old_ms
    if condition == _XX:
        return bool(old_ms)
    if condition == _GT:
        return 0 < old_ms < at_ms
    return not old_ms or at_ms < old_ms


def _expire(
    ks: Keyspace, name: bytes, key: bytes, args: Sequence[bytes], unit_ms: int, base_ms: int
) -> Reply:
    """Set the expire time of fields.

    Args:
        ks: the keys.
        name: the command's name in errors.
        key: of the hash.
        args: time, condition or none, FIELDS, numfields, fields.
        unit_ms: of the time.
        base_ms: since when it counts, ms since the epoch.
    Returns: for each field NO_FIELD, NOT_ALLOWED, DONE or DELETED. Raises: ReplyError.
    """
    value: Hash | None = ks.lookup_write(key, Hash)
    at_ms = _expire_ms(args[0], unit_ms, base_ms, name)
    condition = parse.word(args[1])
    if condition in (_NX, _XX, _GT, _LT):
        fields = _fields(args[2:], errors.numfields_not_positive)
    else:
        condition = b""
        fields = _fields(args[1:], errors.numfields_not_positive)
    if value is None:
        return array([NO_FIELD] * len(fields))
    value.become_listpackex()
    past = at_ms <= ks.now_ms
    had = value.times is not None
    done: list[bytes] = []
    deleted: set[bytes] = set()
    replies: list[Reply] = []
    for field in fields:
        if field in deleted or value.get(field) is None:
            replies.append(NO_FIELD)
        elif not _allowed(condition, value.expire_at(field), at_ms):
            replies.append(NOT_ALLOWED)
        else:
            done.append(field)
            if past:
                deleted.add(field)
                replies.append(DELETED)
            else:
                value.set_expire(field, at_ms)
                replies.append(DONE)
    if done and past:
        _delete_fields(ks, key, value, done)
    elif done:
        _timed(ks, key, value, had, at_ms, done)
    return array(replies)


def _timed(
    ks: Keyspace, key: bytes, value: Hash, had: bool, at_ms: int, fields: Sequence[bytes]
) -> None:
    """Say that fields got an expire time, `had` as in `field_times_changed`."""
    ks.field_times_changed(key, value, had, at_ms)
    ks.changed(key)
    ks.propagate(b"HPEXPIREAT", key, b"%d" % at_ms, b"FIELDS", b"%d" % len(fields), *fields)
    ks.notify(b"h", b"hexpire", key)


@command(
    "HEXPIRE",
    since="7.4.0",
    arity=-6,
    group="hash",
    flags=WRITE | FAST,
    keys=key_at(1, "RW update"),
    acl=HASH,
    complexity="O(N) where N is the number of specified fields",
)
def hexpire(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Set expiry for hash field using relative time to expire (seconds)"""
    return _expire(ks, b"hexpire", key, args, 1000, ks.now_ms)


@command(
    "HPEXPIRE",
    since="7.4.0",
    arity=-6,
    group="hash",
    flags=WRITE | FAST,
    keys=key_at(1, "RW update"),
    acl=HASH,
    complexity="O(N) where N is the number of specified fields",
)
def hpexpire(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Set expiry for hash field using relative time to expire (milliseconds)"""
    return _expire(ks, b"hpexpire", key, args, 1, ks.now_ms)


@command(
    "HEXPIREAT",
    since="7.4.0",
    arity=-6,
    group="hash",
    flags=WRITE | FAST,
    keys=key_at(1, "RW update"),
    acl=HASH,
    complexity="O(N) where N is the number of specified fields",
)
def hexpireat(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Set expiry for hash field using an absolute Unix timestamp (seconds)"""
    return _expire(ks, b"hexpireat", key, args, 1000, 0)


@command(
    "HPEXPIREAT",
    since="7.4.0",
    arity=-6,
    group="hash",
    flags=WRITE | FAST,
    keys=key_at(1, "RW update"),
    acl=HASH,
    complexity="O(N) where N is the number of specified fields",
)
def hpexpireat(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Set expiry for hash field using an absolute Unix timestamp (milliseconds)"""
    return _expire(ks, b"hpexpireat", key, args, 1, 0)


def _times(ks: Keyspace, key: bytes, args: Sequence[bytes], unit_ms: int, base_ms: int) -> Reply:
    """Return when fields expire, counted from base_ms in units of unit_ms, rounded up; args from
    FIELDS on. Raises: ReplyError.
    """
    value: Hash | None = ks.lookup_read(key, Hash)
    fields = _fields(args, errors.number_of_fields_not_positive)
    if value is None:
        return array([NO_FIELD] * len(fields))
    replies: list[Reply] = []
    for field in fields:
        at_ms = value.expire_at(field)
        if value.live(field, ks.now_ms) is None:
            replies.append(NO_FIELD)
        elif not at_ms:
            replies.append(NO_TIME)
        else:
            replies.append(integer(-(-(at_ms - base_ms) // unit_ms)))
    return array(replies)


@command(
    "HTTL",
    since="7.4.0",
    arity=-5,
    group="hash",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=HASH,
    complexity="O(N) where N is the number of specified fields",
    tips=("nondeterministic_output",),
)
def httl(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Returns the TTL in seconds of a hash field."""
    return _times(ks, key, args, 1000, ks.now_ms)


@command(
    "HPTTL",
    since="7.4.0",
    arity=-5,
    group="hash",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=HASH,
    complexity="O(N) where N is the number of specified fields",
    tips=("nondeterministic_output",),
)
def hpttl(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Returns the TTL in milliseconds of a hash field."""
    return _times(ks, key, args, 1, ks.now_ms)


@command(
    "HEXPIRETIME",
    since="7.4.0",
    arity=-5,
    group="hash",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=HASH,
    complexity="O(N) where N is the number of specified fields",
)
def hexpiretime(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Returns the expiration time of a hash field as a Unix timestamp, in seconds."""
    return _times(ks, key, args, 1000, 0)


@command(
    "HPEXPIRETIME",
    since="7.4.0",
    arity=-5,
    group="hash",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=HASH,
    complexity="O(N) where N is the number of specified fields",
)
def hpexpiretime(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Returns the expiration time of a hash field as a Unix timestamp, in msec."""
    return _times(ks, key, args, 1, 0)


@command(
    "HPERSIST",
    since="7.4.0",
    arity=-5,
    group="hash",
    flags=WRITE | FAST,
    keys=key_at(1, "RW update"),
    acl=HASH,
    complexity="O(N) where N is the number of specified fields",
)
def hpersist(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Removes the expiration time for each specified field"""
    value: Hash | None = ks.lookup_write(key, Hash)
    fields = _fields(args, errors.number_of_fields_not_positive)
    if value is None:
        return array([NO_FIELD] * len(fields))
    had = value.times is not None
    replies: list[Reply] = []
    for field in fields:
        if value.live(field, ks.now_ms) is None:
            replies.append(NO_FIELD)
        else:
            replies.append(DONE if value.persist(field) else NO_TIME)
    if DONE in replies:
        ks.field_times_changed(key, value, had)
        ks.changed(key)
        ks.notify(b"h", b"hpersist", key)
    return array(replies)


@command(
    "HGETEX",
    since="8.0.0",
    arity=-5,
    group="hash",
    flags=WRITE | FAST,
    keys=(
        KeySpec(
            1,
            flags=(
                "RW",
                "access",
                "update",
            ),
            notes="RW and UPDATE because it changes the TTL",
        ),
    ),
    acl=HASH,
    complexity="O(N) where N is the number of specified fields",
)
def hgetex(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Get the value of one or more fields of a given hash key, and optionally set their expiration."""  # noqa: E501
    value: Hash | None = ks.lookup_write(key, Hash)
    option = parse.word(args[0])
    at_ms = 0
    if option in _TIMES:
        at_ms = _option_ms(ks, option, args[1], b"hgetex")
        args = args[2:]
    elif option == b"PERSIST":
        args = args[1:]
    else:
        option = b""
    if len(args) < 2:
        raise errors.wrong_arity(b"hgetex")
    fields = _fields(args, errors.number_of_fields_not_positive)
    if value is None:
        return array([NULL] * len(fields))
    _expire_named(ks, key, value, fields)
    if ks.remove_if_empty(key, value):
        return array([NULL] * len(fields))
    if not option:
        return _values([value.live(field, ks.now_ms) for field in fields])
    value.become_listpackex()
    past = option != b"PERSIST" and at_ms <= ks.now_ms
    had = value.times is not None
    done: list[bytes] = []
    deleted: set[bytes] = set()
    found: list[bytes | None] = []
    for field in fields:
        data = None if field in deleted else value.live(field, ks.now_ms)
        found.append(data)
        if data is None:
            continue
        if option != b"PERSIST":
            done.append(field)
            if past:
                deleted.add(field)
            else:
                value.set_expire(field, at_ms)
        elif value.persist(field):
            done.append(field)
    if not done:
        return _values(found)
    if option == b"PERSIST":
        ks.field_times_changed(key, value, had)
        ks.changed(key)
        ks.propagate(b"HPERSIST", key, b"FIELDS", b"%d" % len(done), *done)
        ks.notify(b"h", b"hpersist", key)
    elif past:
        _delete_fields(ks, key, value, done)
    else:
        _timed(ks, key, value, had, at_ms, done)
    return _values(found)


class _SetOptions(NamedTuple):
    """The arguments of HSETEX.

    Attributes:
        condition: FNX, FXX or empty.
        keep_times: KEEPTTL.
        at_ms: when the fields expire, ms since the epoch; None if they do not.
        pairs: field, value and so on.
    """

    condition: bytes
    keep_times: bool
    at_ms: int | None
    pairs: Sequence[bytes]


def _set_options(ks: Keyspace, args: Sequence[bytes]) -> _SetOptions:
    condition, keep_times = b"", False
    at_ms: int | None = None
    at = 0
    while at < len(args):
        word = parse.word(args[at])
        left = len(args) - at - 1
        if word == b"FIELDS":
            if left < 3:
                break
            number = parse_int(args[at + 1])
            if number is None or not 0 < number <= INT32_MAX:
                raise errors.invalid_number_of_fields()
            if left - 1 != 2 * number:
                break
            return _SetOptions(condition, keep_times, at_ms, args[at + 2 :])
        if word in (b"FNX", b"FXX"):
            if condition:
                raise errors.fxx_with_fnx()
            condition = word
        elif word == b"KEEPTTL" or (word in _TIMES and left):
            if keep_times or at_ms is not None:
                raise errors.several_expire_options()
            if word == b"KEEPTTL":
                keep_times = True
            else:
                at += 1
                at_ms = _option_ms(ks, word, args[at], b"hsetex")
        else:
            raise errors.unknown_argument(args[at])
        at += 1
    raise errors.wrong_arity(b"hsetex")


def _met(ks: Keyspace, key: bytes, value: Hash | None, options: _SetOptions) -> bool:
    """Tell whether the condition of HSETEX is met; the expired fields it looks at go."""
    if value is None:
        return options.condition == b"FNX"
    wanted = options.condition == b"FXX"
    for field in options.pairs[::2]:
        _expire_named(ks, key, value, (field,))
        if (value.live(field, ks.now_ms) is not None) != wanted:
            ks.remove_if_empty(key, value)
            return False
    return True


@command(
    "HSETEX",
    since="8.0.0",
    arity=-6,
    group="hash",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW update"),
    acl=HASH,
    complexity="O(N) where N is the number of fields being set.",
)
def hsetex(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Set the value of one or more fields of a given hash key, and optionally set their expiration."""  # noqa: E501
    options = _set_options(ks, args)
    _, keep_times, at_ms, pairs = options
    value: Hash | None = ks.lookup_write(key, Hash)
    if options.condition and not _met(ks, key, value, options):
        return ZERO
    is_new = value is None
    if value is None:
        value = Hash()
    had = value.times is not None
    if keep_times:
        value.put_pairs(pairs)
    else:
        value.set_pairs(pairs)
    fields = pairs[::2]
    past = at_ms is not None and at_ms <= ks.now_ms
    if at_ms is not None:
        value.become_listpackex()
        if not past:
            for field in fields:
                value.set_expire(field, at_ms)
    if is_new:
        ks.set(key, value)
    else:
        ks.field_times_changed(key, value, had, 0 if past else at_ms or 0)
        ks.changed(key)
    ks.notify(b"h", b"hset", key)
    if past:
        _delete_fields(ks, key, value, tuple(dict.fromkeys(fields)))
        return ONE
    how: tuple[bytes, ...] = (b"KEEPTTL",) if keep_times else ()
    if at_ms is not None:
        how = (b"PXAT", b"%d" % at_ms)
        ks.notify(b"h", b"hexpire", key)
    ks.propagate(b"HSETEX", key, *how, b"FIELDS", b"%d" % len(fields), *pairs)
    return ONE
