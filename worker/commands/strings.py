"""The commands of strings, except the bit operations.

A string is stored as `bytes`, or as a `bytearray` once APPEND or SETRANGE changed it in place: then
a growing string is not copied at each step. `data` names either; a reply never aliases a bytearray.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shoal.proto import errors
from shoal.proto.limits import MAX_STRING_BYTES
from shoal.proto.numbers import INT64_MAX, INT64_MIN, parse_int
from shoal.proto.numbers import incrbyfloat as add_float
from shoal.proto.replies import (
    NULL,
    OK,
    ONE,
    ZERO,
    Array,
    Reply,
    array,
    bulk,
    integer,
    map_reply,
)
from shoal.proto.spec import CommandFlag, KeySpec, key_at, keys_from
from shoal.worker.commands import parse
from shoal.worker.keyspace import Keyspace
from shoal.worker.registry import LockScope, Spanning, command, merge_by_key, merge_same

WRITE, READONLY = CommandFlag.WRITE, CommandFlag.READONLY
DENYOOM, FAST = CommandFlag.DENYOOM, CommandFlag.FAST
STRING: Final = ("string",)

EMPTY: Final = bulk(b"")

# -- shared by several commands --------------------------------------------------------------------


def _integer(arg: bytes) -> int:
    number = parse_int(arg)
    if number is None:
        raise errors.not_an_integer()
    return number


def _check_length(size: int, more: int) -> None:
    if size + more > MAX_STRING_BYTES:
        raise errors.string_too_long()


def _put(
    ks: Keyspace, key: bytes, value: bytes, expire_ms: int = 0, *, keep_expire: bool = False
) -> None:
    old = ks.lookup_write(key)  # an expired key goes first, with its own DEL and event
    if keep_expire:
        ks.update(key, value)
    else:
        ks.set(key, value, expire_ms)
    if old is not None:
        ks.notify(b"o", b"overwritten", key)
        if not isinstance(old, (bytes, bytearray)):
            ks.notify(b"c", b"type_changed", key)
    ks.notify(b"$", b"set", key)


_CONDITIONS: Final = frozenset({b"NX", b"XX"})
_RELATIVE: Final = frozenset({b"EX", b"PX"})
_SECONDS: Final = frozenset({b"EX", b"EXAT"})
_TIMES: Final = frozenset({b"EX", b"PX", b"EXAT", b"PXAT"})
_SET_OPTIONS: Final = _TIMES | _CONDITIONS | {b"GET", b"KEEPTTL"}
_GETEX_OPTIONS: Final = _TIMES | {b"PERSIST"}


@dataclass(slots=True)
class _Options:
    """The options of SET and GETEX.

    Attributes:
        condition: NX, XX or empty.
        get: whether GET is among them.
        expiry: EX, PX, EXAT, PXAT, KEEPTTL, PERSIST or empty.
        time: the argument of the first four, as it came.
    """

    condition: bytes = b""
    get: bool = False
    expiry: bytes = b""
    time: bytes | None = None


def _parse_options(args: Sequence[bytes], known: frozenset[bytes]) -> _Options:
    """Read options in any order; one may be repeated, then its last argument counts."""
    options = _Options()
    rest = iter(args)
    for arg in rest:
        word = arg.upper()
        if word not in known and (word := parse.word(arg)) not in known:
            raise errors.syntax_error()
        if word == b"GET":
            options.get = True
        elif word in _CONDITIONS:
            if options.condition not in (b"", word):
                raise errors.syntax_error()
            options.condition = word
        else:
            if options.expiry not in (b"", word):
                raise errors.syntax_error()
            options.expiry = word
            if word in _TIMES:
                options.time = next(rest, None)
                if options.time is None:
                    raise errors.syntax_error()
    return options


def _expire_ms(ks: Keyspace, unit: bytes, time: bytes, name: bytes) -> int:
    """Return the expire time that `unit` (EX, PX, EXAT, PXAT) and `time` mean, ms since the epoch.

    Raises: ReplyError if it is no integer, not positive, or beyond 64 bits; `name` is whose error.
    """
    number = _integer(time)
    at_ms = number * 1000 if unit in _SECONDS else number
    if unit in _RELATIVE:
        at_ms += ks.now_ms
    if number <= 0 or at_ms > INT64_MAX:
        raise errors.invalid_expire(name)
    return at_ms


# -- one key: get and set --------------------------------------------------------------------------


@command(
    "GET",
    since="1.0.0",
    arity=2,
    group="string",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=STRING,
    complexity="O(1)",
)
def get(ks: Keyspace, key: bytes) -> Reply:
    """Returns the string value of a key."""
    data = ks.lookup_read(key, bytes)
    return NULL if data is None else bulk(data)


def _set_key_flags(argv: Sequence[bytes]) -> tuple[str, ...]:
    reads = any(parse.word(arg) == b"GET" for arg in argv[3:])
    return ("RW", "access", "update") if reads else ("OW", "update")


@command(
    "SET",
    since="1.0.0",
    arity=-3,
    group="string",
    flags=WRITE | DENYOOM,
    keys=(
        KeySpec(
            1,
            flags=("RW", "access", "update", "variable_flags"),
            notes="RW and ACCESS due to the optional `GET` argument",
        ),
    ),
    acl=STRING,
    complexity="O(1)",
    history=(
        ("2.6.12", "Added the `EX`, `PX`, `NX` and `XX` options."),
        ("6.0.0", "Added the `KEEPTTL` option."),
        ("6.2.0", "Added the `GET`, `EXAT` and `PXAT` option."),
        ("7.0.0", "Allowed the `NX` and `GET` options to be used together."),
    ),
    key_flags=_set_key_flags,
)
def set_(ks: Keyspace, key: bytes, value: bytes, *args: bytes) -> Reply:
    """Sets the string value of a key, ignoring its type. The key is created if it doesn't exist."""
    if not args:
        _put(ks, key, value)
        return OK
    options = _parse_options(args, _SET_OPTIONS)
    expire_ms = 0
    if options.time is not None:
        expire_ms = _expire_ms(ks, options.expiry, options.time, b"set")
    old = get(ks, key) if options.get else None
    if options.condition and ks.exists(key) == (options.condition == b"NX"):
        return NULL if old is None else old
    _put(ks, key, value, expire_ms, keep_expire=options.expiry == b"KEEPTTL")
    if expire_ms:
        ks.notify(b"g", b"expire", key)
    if expire_ms and options.expiry != b"PXAT":
        ks.propagate(b"SET", key, value, b"PXAT", b"%d" % expire_ms)
    elif options.get:  # a replica has nobody to hand the old value to
        ks.propagate(b"SET", key, value, *[arg for arg in args if parse.word(arg) != b"GET"])
    return OK if old is None else old


@command(
    "SETNX",
    since="1.0.0",
    arity=3,
    group="string",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "OW insert"),
    acl=STRING,
    complexity="O(1)",
    doc_flags=("deprecated",),
    deprecated_since="2.6.12",
    replaced_by="`SET` with the `NX` argument",
)
def setnx(ks: Keyspace, key: bytes, value: bytes) -> Reply:
    """Set the string value of a key only when the key doesn't exist."""
    if ks.exists(key):
        return ZERO
    _put(ks, key, value)
    return ONE


@command(
    "SETEX",
    since="2.0.0",
    arity=4,
    group="string",
    flags=WRITE | DENYOOM,
    keys=key_at(1, "OW update"),
    acl=STRING,
    complexity="O(1)",
    doc_flags=("deprecated",),
    deprecated_since="2.6.12",
    replaced_by="`SET` with the `EX` argument",
)
def setex(ks: Keyspace, key: bytes, seconds: bytes, value: bytes) -> Reply:
    """Sets the string value and expiration time of a key. Creates the key if it doesn't exist."""
    return _set_expiring(ks, key, value, _expire_ms(ks, b"EX", seconds, b"setex"))


@command(
    "PSETEX",
    since="2.6.0",
    arity=4,
    group="string",
    flags=WRITE | DENYOOM,
    keys=key_at(1, "OW update"),
    acl=STRING,
    complexity="O(1)",
    doc_flags=("deprecated",),
    deprecated_since="2.6.12",
    replaced_by="`SET` with the `PX` argument",
)
def psetex(ks: Keyspace, key: bytes, milliseconds: bytes, value: bytes) -> Reply:
    """Sets both string value and expiration time in milliseconds of a key. The key is created if it doesn't exist."""  # noqa: E501  COMMAND DOCS shows it whole
    return _set_expiring(ks, key, value, _expire_ms(ks, b"PX", milliseconds, b"psetex"))


def _set_expiring(ks: Keyspace, key: bytes, value: bytes, expire_ms: int) -> Reply:
    _put(ks, key, value, expire_ms)
    ks.notify(b"g", b"expire", key)
    ks.propagate(b"SET", key, value, b"PXAT", b"%d" % expire_ms)
    return OK


@command(
    "GETSET",
    since="1.0.0",
    arity=3,
    group="string",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW access update"),
    acl=STRING,
    complexity="O(1)",
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`SET` with the `!GET` argument",
)
def getset(ks: Keyspace, key: bytes, value: bytes) -> Reply:
    """Returns the previous string value of a key after setting it to a new value."""
    old = get(ks, key)
    _put(ks, key, value)
    ks.propagate(b"SET", key, value)
    return old


@command(
    "GETDEL",
    since="6.2.0",
    arity=2,
    group="string",
    flags=WRITE | FAST,
    keys=key_at(1, "RW access delete"),
    acl=STRING,
    complexity="O(1)",
)
def getdel(ks: Keyspace, key: bytes) -> Reply:
    """Returns the string value of a key after deleting the key."""
    data = ks.lookup_read(key, bytes)
    if data is None:
        return NULL
    _delete(ks, key)
    return bulk(data)


@command(
    "GETEX",
    since="6.2.0",
    arity=-2,
    group="string",
    flags=WRITE | FAST,
    keys=(
        KeySpec(
            1,
            flags=("RW", "access", "update"),
            notes="RW and UPDATE because it changes the TTL",
        ),
    ),
    acl=STRING,
    complexity="O(1)",
)
def getex(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Returns the string value of a key after setting its expiration time."""
    options = _parse_options(args, _GETEX_OPTIONS)
    data = ks.lookup_read(key, bytes)
    if data is None:
        return NULL
    reply = bulk(data)
    if options.time is not None:
        expire_ms = _expire_ms(ks, options.expiry, options.time, b"getex")
        if expire_ms <= ks.now_ms:
            _delete(ks, key)
        else:
            ks.set_expire(key, expire_ms)
            ks.notify(b"g", b"expire", key)
            ks.propagate(b"PEXPIREAT", key, b"%d" % expire_ms)
    elif options.expiry == b"PERSIST" and ks.persist(key):
        ks.notify(b"g", b"persist", key)
        ks.propagate(b"PERSIST", key)
    return reply


def _delete(ks: Keyspace, key: bytes) -> None:
    ks.delete(key)
    ks.notify(b"g", b"del", key)
    ks.propagate(b"DEL", key)


@command(
    "STRLEN",
    since="2.2.0",
    arity=2,
    group="string",
    flags=READONLY | FAST,
    keys=key_at(1, "RO"),
    acl=STRING,
    complexity="O(1)",
)
def strlen(ks: Keyspace, key: bytes) -> Reply:
    """Returns the length of a string value."""
    return integer(len(ks.lookup_read(key, bytes) or b""))


# -- several keys ----------------------------------------------------------------------------------


@command(
    "MGET",
    since="1.0.0",
    arity=-2,
    group="string",
    flags=READONLY | FAST,
    keys=keys_from(1, "RO access"),
    acl=STRING,
    complexity="O(N) where N is the number of keys to retrieve.",
    tips=("request_policy:multi_shard",),
    spanning=Spanning(LockScope.KEYS, merge_by_key),
)
def mget(ks: Keyspace, *keys: bytes) -> Array:
    """Atomically returns the string values of one or more keys."""
    values = [ks.lookup_read(key) for key in keys]
    return array([bulk(v) if isinstance(v, (bytes, bytearray)) else NULL for v in values])


def _pairs(args: tuple[bytes, ...], name: bytes) -> list[tuple[bytes, bytes]]:
    if len(args) % 2:
        raise errors.wrong_arity(name)
    return list(zip(args[::2], args[1::2], strict=True))


def _check_pairs(_client: Any, args: tuple[bytes, ...]) -> tuple[bytes, ...]:
    # At the home: a part without its last value must not be refused when others have been stored.
    _pairs(args, b"mset")
    return args


@command(
    "MSET",
    since="1.0.1",
    arity=-3,
    group="string",
    flags=WRITE | DENYOOM,
    keys=keys_from(1, "OW update", step=2),
    acl=STRING,
    complexity="O(N) where N is the number of keys to set.",
    tips=("request_policy:multi_shard", "response_policy:all_succeeded"),
    spanning=Spanning(LockScope.KEYS, merge_same, prepare=_check_pairs),
)
def mset(ks: Keyspace, *args: bytes) -> Reply:
    """Atomically creates or modifies the string values of one or more keys."""
    for key, value in _pairs(args, b"mset"):
        _put(ks, key, value)
    return OK


@command(
    "MSETNX",
    since="1.0.1",
    arity=-3,
    group="string",
    flags=WRITE | DENYOOM,
    keys=keys_from(1, "OW insert", step=2),
    acl=STRING,
    complexity="O(N) where N is the number of keys to set.",
)
def msetnx(ks: Keyspace, *args: bytes) -> Reply:
    """Atomically modifies the string values of one or more keys only when all keys don't exist."""
    pairs = _pairs(args, b"msetnx")
    if any(ks.exists(key) for key, _ in pairs):
        return ZERO
    for key, value in pairs:
        _put(ks, key, value)
    return ONE


# -- parts of a string -----------------------------------------------------------------------------


@command(
    "APPEND",
    since="2.0.0",
    arity=3,
    group="string",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW insert"),
    acl=STRING,
    complexity=(
        "O(1). The amortized time complexity is O(1) assuming the appended value is small and the "
        "already present value is of any size, since the dynamic string library used by Redis "
        "will double the free space available on every reallocation."
    ),
)
def append(ks: Keyspace, key: bytes, value: bytes) -> Reply:
    """Appends a string to the value of a key. Creates the key if it doesn't exist."""
    data = ks.lookup_write(key, bytes)
    if data is None:
        ks.set(key, value)
        size = len(value)
    else:
        size = len(data) + len(value)
        _check_length(len(data), len(value))
        if data.__class__ is bytearray:
            data += value
            ks.changed(key)
        else:
            buffer = bytearray(data)
            buffer += value
            ks.update(key, buffer)
    ks.notify(b"$", b"append", key)
    return integer(size)


@command(
    "SETRANGE",
    since="2.2.0",
    arity=4,
    group="string",
    flags=WRITE | DENYOOM,
    keys=key_at(1, "RW update"),
    acl=STRING,
    complexity=(
        "O(1), not counting the time taken to copy the new string in place. Usually, this string "
        "is very small so the amortized complexity is O(1). Otherwise, complexity is O(M) with M "
        "being the length of the value argument."
    ),
)
def setrange(ks: Keyspace, key: bytes, offset: bytes, value: bytes) -> Reply:
    """Overwrites a part of a string value with another by an offset. Creates the key if it doesn't exist."""  # noqa: E501  COMMAND DOCS shows it whole
    start = _integer(offset)
    if start < 0:
        raise errors.offset_out_of_range()
    data = ks.lookup_write(key, bytes)
    if not value:  # changes nothing, and makes no key
        return integer(len(data or b""))
    _check_length(start, len(value))
    in_place = data.__class__ is bytearray
    if not in_place:
        data = bytearray(data or b"")
    if len(data) < start:
        data += bytes(start - len(data))
    data[start : start + len(value)] = value
    if in_place:
        ks.changed(key)
    else:
        ks.update(key, data)
    ks.notify(b"$", b"setrange", key)
    return integer(len(data))


_RANGE_COMPLEXITY: Final = (
    "O(N) where N is the length of the returned string. The complexity is ultimately determined by "
    "the returned length, but because creating a substring from an existing string is very cheap, "
    "it can be considered O(1) for small strings."
)


@command(
    "GETRANGE",
    since="2.4.0",
    arity=4,
    group="string",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=STRING,
    complexity=_RANGE_COMPLEXITY,
)
def getrange(ks: Keyspace, key: bytes, start: bytes, end: bytes) -> Reply:
    """Returns a substring of the string stored at a key."""
    first, last = _integer(start), _integer(end)
    data = ks.lookup_read(key, bytes)
    if data is None or (last < first and last < 0 and first < 0):
        return EMPTY
    # Out of bounds means the nearest byte: 0 to -100 is the first byte, not nothing.
    if first < 0:
        first = max(first + len(data), 0)
    if last < 0:
        last = max(last + len(data), 0)
    return bulk(data[first : last + 1])


@command(
    "SUBSTR",
    since="1.0.0",
    arity=4,
    group="string",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=STRING,
    complexity=_RANGE_COMPLEXITY,
    doc_flags=("deprecated",),
    deprecated_since="2.0.0",
    replaced_by="`GETRANGE`",
)
def substr(ks: Keyspace, key: bytes, start: bytes, end: bytes) -> Reply:
    """Returns a substring from a string value."""
    return getrange(ks, key, start, end)


# -- numbers ---------------------------------------------------------------------------------------


def _add(ks: Keyspace, key: bytes, delta: int) -> Reply:
    data = ks.lookup_write(key, bytes)
    number = (0 if data is None else _integer(data)) + delta
    if not INT64_MIN <= number <= INT64_MAX:
        raise errors.overflow()
    ks.update(key, b"%d" % number)
    ks.notify(b"$", b"incrby", key)
    return integer(number)


@command(
    "INCR",
    since="1.0.0",
    arity=2,
    group="string",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW access update"),
    acl=STRING,
    complexity="O(1)",
)
def incr(ks: Keyspace, key: bytes) -> Reply:
    """Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist."""  # noqa: E501  COMMAND DOCS shows it whole
    return _add(ks, key, 1)


@command(
    "DECR",
    since="1.0.0",
    arity=2,
    group="string",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW access update"),
    acl=STRING,
    complexity="O(1)",
)
def decr(ks: Keyspace, key: bytes) -> Reply:
    """Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist."""  # noqa: E501  COMMAND DOCS shows it whole
    return _add(ks, key, -1)


@command(
    "INCRBY",
    since="1.0.0",
    arity=3,
    group="string",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW access update"),
    acl=STRING,
    complexity="O(1)",
)
def incrby(ks: Keyspace, key: bytes, increment: bytes) -> Reply:
    """Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist."""  # noqa: E501  COMMAND DOCS shows it whole
    return _add(ks, key, _integer(increment))


@command(
    "DECRBY",
    since="1.0.0",
    arity=3,
    group="string",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW access update"),
    acl=STRING,
    complexity="O(1)",
)
def decrby(ks: Keyspace, key: bytes, decrement: bytes) -> Reply:
    """Decrements a number from the integer value of a key. Uses 0 as initial value if the key doesn't exist."""  # noqa: E501  COMMAND DOCS shows it whole
    number = _integer(decrement)
    if number == INT64_MIN:  # its negation is no 64-bit integer
        raise errors.decrement_overflow()
    return _add(ks, key, -number)


@command(
    "INCRBYFLOAT",
    since="2.6.0",
    arity=3,
    group="string",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW access update"),
    acl=STRING,
    complexity="O(1)",
)
def incrbyfloat(ks: Keyspace, key: bytes, increment: bytes) -> Reply:
    """Increment the floating point value of a key by a number. Uses 0 as initial value if the key doesn't exist."""  # noqa: E501  COMMAND DOCS shows it whole
    data = ks.lookup_write(key, bytes)
    total = add_float(b"0" if data is None else bytes(data), increment)
    ks.update(key, total)
    ks.notify(b"$", b"incrbyfloat", key)
    # The sum, not the increment: a replica's arithmetic might differ in the last digit.
    ks.propagate(b"SET", key, total, b"KEEPTTL")
    return bulk(total)


# -- longest common subsequence --------------------------------------------------------------------


@command(
    "LCS",
    since="7.0.0",
    arity=-3,
    group="string",
    flags=READONLY,
    keys=keys_from(1, "RO access", last=1),
    acl=STRING,
    complexity="O(N*M) where N and M are the lengths of s1 and s2, respectively",
)
def lcs(ks: Keyspace, key1: bytes, key2: bytes, *args: bytes) -> Reply:
    """Finds the longest common substring."""
    values = [b"" if v is None else v for v in (ks.lookup_read(key1), ks.lookup_read(key2))]
    if not all(isinstance(value, (bytes, bytearray)) for value in values):
        raise errors.lcs_needs_strings()
    want_length = want_indexes = want_sizes = False
    shortest = 0
    rest = iter(args)
    for arg in rest:
        word = parse.word(arg)
        if word == b"LEN":
            want_length = True
        elif word == b"IDX":
            want_indexes = True
        elif word == b"WITHMATCHLEN":
            want_sizes = True
        elif word == b"MINMATCHLEN" and (number := next(rest, None)) is not None:
            shortest = _integer(number)
        else:
            raise errors.syntax_error()
    if want_length and want_indexes:
        raise errors.lcs_len_and_idx()
    first, second = (bytes(value) for value in values)
    # The table of Redis's algorithm, by which it bounds the time as well. Ours takes a 32nd of it.
    if 4 * (len(first) + 1) * (len(second) + 1) > MAX_STRING_BYTES:
        raise errors.lcs_too_large()
    if want_length:
        return integer(lcs_length(first, second))
    pairs = lcs_pairs(first, second)
    if not want_indexes:
        return bulk(bytes([first[at] for at, _ in reversed(pairs)]))
    matches: list[Reply] = []
    for in_first, in_second, size in _matches(pairs):
        if size >= shortest:
            match: list[Reply] = [_range(in_first, size), _range(in_second, size)]
            matches.append(array([*match, integer(size)] if want_sizes else match))
    return map_reply([(bulk(b"matches"), array(matches)), (bulk(b"len"), integer(len(pairs)))])


def _range(start: int, size: int) -> Reply:
    return array([integer(start), integer(start + size - 1)])


def _matches(pairs: list[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Join pairs, as `lcs_pairs` gives them, into (index in first, index in second, size)."""
    size = 0
    for at, (i, j) in enumerate(pairs, 1):
        size += 1
        if at == len(pairs) or pairs[at] != (i - 1, j - 1):
            yield i, j, size
            size = 0


# Let L(i, j) be the length for the first i bytes of one string and the first j of the other. Along
# a row L grows by 0 or 1 from one j to the next, and down a column likewise. The growth along a row
# fits in one integer, a bit for each j, and the next row follows from it by an addition, whose
# carries are the growth from row to row. So a row costs a few operations on long integers.
# Source: Hyyrö, "Bit-parallel LCS-length computation revisited", 2004.


def _rows(short: bytes, long: bytes) -> Iterator[tuple[int, int]]:
    """Yield two bit sets for each prefix of `short`; bit j tells of the first j + 1 bytes.

    The first has a bit where the last of these bytes of `long` makes L grow, the second where the
    last byte of the prefix does.
    """
    full = (1 << len(long)) - 1
    backwards = long[::-1]  # int() reads the highest bit first
    places = {}
    for byte in set(short):
        digits = bytearray(b"0") * 256
        digits[byte] = ord("1")
        places[byte] = int(backwards.translate(digits) or b"0", 2)
    flat = full
    for byte in short:
        hits = flat & places[byte]
        total = flat + hits
        carries = total ^ flat ^ hits
        flat = (total | (flat - hits)) & full
        yield full ^ flat, carries >> 1


def lcs_length(first: bytes, second: bytes) -> int:
    """Return the length of the longest common subsequence."""
    short, long = sorted((first, second), key=len)
    grows = 0
    for grows, _ in _rows(short, long):  # noqa: B007, only the last row counts
        pass
    return grows.bit_count()


def lcs_pairs(first: bytes, second: bytes) -> list[tuple[int, int]]:
    """Return (index in first, index in second) of each byte of the subsequence, the last one first.

    Of several longest ones it is the one Redis finds: walking back from both ends, equal bytes
    belong to it; else the last byte of `first` is dropped if L is greater without it than without
    the last byte of `second`, which is dropped otherwise.
    """
    swapped = len(first) > len(second)
    short, long = (second, first) if swapped else (first, second)
    full = (1 << len(long)) - 1
    # Bit j: the walk, at unequal bytes after j + 1 bytes of `long`, drops the byte of `short`.
    drops = [full ^ down if swapped else along for along, down in _rows(short, long)]
    pairs = []
    left = len(long)
    for at in range(len(short) - 1, -1, -1):
        match = long.rfind(short[at], 0, left) + 1
        left = max(match, (drops[at] & ((1 << left) - 1)).bit_length())
        if left == 0:
            break
        if left == match:
            left -= 1
            pairs.append((left, at) if swapped else (at, left))
    return pairs
