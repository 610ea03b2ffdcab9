"""DUMP and RESTORE: a value as one string, which any Redis can read.

RESTORE is logged with an absolute expire time. What it is given may be anything: a value is made of
it only as a whole, before anything changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shoal.proto import errors
from shoal.proto.errors import DamagedValueError
from shoal.proto.numbers import INT64_MAX
from shoal.proto.rdb_format import Writer, read_value, seal, unseal
from shoal.proto.replies import NULL, OK, Reply, bulk
from shoal.proto.spec import CommandFlag, key_at
from shoal.worker.commands import parse
from shoal.worker.keyspace import Keyspace, Value
from shoal.worker.registry import command
from shoal.worker.values import rdb, type_name

WRITE, READONLY, DENYOOM = CommandFlag.WRITE, CommandFlag.READONLY, CommandFlag.DENYOOM

_MAX_FREQ: Final = 255


def payload_of(value: Value) -> bytes:
    """Return what DUMP gives of a stored value."""
    writer = Writer()
    kind = rdb.save(value, writer)
    return seal(kind, writer.take())


@command(
    "DUMP",
    since="2.6.0",
    arity=2,
    group="generic",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=("keyspace",),
    complexity="O(1) to access the key and additional O(N*M) to serialize it, where N is the "
    "number of Redis objects composing the value and M their average size. For small string "
    "values the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1).",
    tips=("nondeterministic_output",),
)
def dump(ks: Keyspace, key: bytes) -> Reply:
    """Returns a serialized representation of the value stored at a key."""
    if ks.lookup_read(key) is None:
        return NULL
    return bulk(payload_of(ks.find(key)))


def _restore_options(options: Sequence[bytes]) -> tuple[bool, bool]:
    """Return whether REPLACE and ABSTTL are given.

    IDLETIME and FREQ are checked; nothing here goes by them. Raises: ReplyError.
    """
    words = set()
    rest = iter(options)
    for option in rest:
        word = parse.word(option)
        if word == b"IDLETIME" and b"FREQ" not in words and (arg := next(rest, None)) is not None:
            if parse.integer(arg) < 0:
                raise errors.negative_idletime()
        elif word == b"FREQ" and b"IDLETIME" not in words and (arg := next(rest, None)) is not None:
            if not 0 <= parse.integer(arg) <= _MAX_FREQ:
                raise errors.freq_out_of_range()
        elif word not in (b"REPLACE", b"ABSTTL"):
            raise errors.syntax_error()
        words.add(word)
    return b"REPLACE" in words, b"ABSTTL" in words


def _value(payload: bytes) -> Value:
    """Return the value that DUMP gave. Raises: ReplyError."""
    reader = unseal(payload)
    if reader is None:
        raise errors.bad_checksum()
    try:
        return rdb.load(read_value(reader.byte(), reader))
    except DamagedValueError:
        raise errors.bad_data_format() from None


@command(
    "RESTORE",
    since="2.6.0",
    arity=-4,
    group="generic",
    flags=WRITE | DENYOOM,
    keys=key_at(1, "OW update"),
    acl=("keyspace", "dangerous"),
    complexity="O(1) to create the new key and additional O(N*M) to reconstruct the serialized "
    "value, where N is the number of Redis objects composing the value and M their "
    "average size. For small string values the time complexity is thus O(1)+O(1*M) where "
    "M is small, so simply O(1). However for sorted set values the complexity is "
    "O(N*M*log(N)) because inserting values into sorted sets is O(log(N)).",
    history=(
        ("3.0.0", "Added the `REPLACE` modifier."),
        ("5.0.0", "Added the `ABSTTL` modifier."),
        ("5.0.0", "Added the `IDLETIME` and `FREQ` options."),
    ),
)
def restore(ks: Keyspace, key: bytes, ttl: bytes, payload: bytes, *options: bytes) -> Reply:
    """Creates a key from the serialized representation of a value."""
    replace, absolute = _restore_options(options)
    old = ks.find(key)
    if old is not None and not replace:
        raise errors.busy_key()
    expire_ms = parse.integer(ttl)
    if expire_ms < 0:
        raise errors.negative_ttl()
    value = _value(payload)
    if old is not None:
        ks.delete(key)
    effect: tuple[bytes, ...] = ()
    if expire_ms:
        if not absolute:
            expire_ms += ks.now_ms
            effect = (b"RESTORE", key, b"%d" % expire_ms, payload, *options, b"ABSTTL")
        # To Redis a sum of more than 64 bits is a time in the past.
        if not ks.now_ms < expire_ms <= INT64_MAX:
            if old is not None:
                ks.propagate(b"DEL", key)
                ks.notify(b"g", b"del", key)
            return OK
    ks.set(key, value, expire_ms)
    if effect:
        ks.propagate(*effect)
    ks.notify(b"g", b"restore", key)
    if old is not None:
        ks.notify(b"o", b"overwritten", key)
        if type_name(old) != type_name(value):
            ks.notify(b"c", b"type_changed", key)
    return OK
