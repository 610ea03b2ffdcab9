"""The commands of HyperLogLog, which is a string: see worker/values/hyperloglog.py.

When a string becomes dense depends on hll-sparse-max-bytes, and commands for strings see and change
its bytes; so that is logged, and while the log is read, at the time 0, no string becomes dense for
its size.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from shoal.proto import errors
from shoal.proto.errors import ReplyError
from shoal.proto.numbers import INT64_MAX
from shoal.proto.replies import OK, ONE, ZERO, Reply, array, bulk, integer, simple
from shoal.proto.spec import CommandFlag, KeySpec, key_at
from shoal.worker.commands.parse import word
from shoal.worker.keyspace import Keyspace
from shoal.worker.registry import command
from shoal.worker.values.hyperloglog import (
    SPARSE,
    Data,
    HyperLogLog,
    estimate,
    merge,
    registers_of,
    self_test,
)
from shoal.worker.values.string import String

WRITE, READONLY = CommandFlag.WRITE, CommandFlag.READONLY
DENYOOM, FAST, ADMIN = CommandFlag.DENYOOM, CommandFlag.FAST, CommandFlag.ADMIN
HYPERLOGLOG: Final = ("hyperloglog",)

NO_REGISTERS: Final = bytes(16384)


# Of a sparse string: none that it could reach.
_NO_LIMIT: Final = INT64_MAX


def _limit(ks: Keyspace) -> int | None:
    return None if ks.now_ms else _NO_LIMIT


def _log_dense(ks: Keyspace, key: bytes, *argv: bytes) -> None:
    """Log the command by which a string has become dense, and that it has."""
    ks.propagate(*argv)
    ks.propagate(b"PFDEBUG", b"TODENSE", key)


def _create(ks: Keyspace, key: bytes) -> HyperLogLog:
    value = HyperLogLog()
    ks.set(key, String(value))
    return value


@command(
    "PFADD",
    since="2.8.9",
    arity=-2,
    group="hyperloglog",
    flags=WRITE | DENYOOM | FAST,
    keys=key_at(1, "RW insert"),
    acl=HYPERLOGLOG,
    complexity="O(1) to add every element.",
)
def pfadd(ks: Keyspace, key: bytes, *elements: bytes) -> Reply:
    """Adds elements to a HyperLogLog key. Creates the key if it doesn't exist."""
    value: HyperLogLog | None = ks.lookup_buffer(key, HyperLogLog)
    changed = value is None
    if value is None:
        value = _create(ks, key)
    elif len(elements) == 1 and value.has(elements[0]):  # as usual
        return ZERO
    limit = _limit(ks)
    sparse = not value.dense
    try:
        for element in elements:
            if value.add(element, limit):
                changed = True
    except ReplyError:  # damaged: what came before was added nevertheless, as in Redis
        if changed:
            ks.changed(key)
            ks.propagate(b"SET", key, bytes(value), b"KEEPTTL")  # the log holds no errors
        raise
    if not changed:
        return ZERO
    value.forget()
    ks.changed(key)
    ks.notify(b"$", b"pfadd", key)
    if sparse and value.dense:
        _log_dense(ks, key, b"PFADD", key, *elements)
    return ONE


def _merged(ks: Keyspace, keys: Iterable[bytes]) -> tuple[Data, bool]:
    """Return the highest registers of all keys, and whether one of them is dense."""
    registers: Data | None = None
    dense = False
    for key in keys:
        data = ks.lookup_read(key, bytes)
        if data is not None:
            found = registers_of(data)
            registers = found if registers is None else merge(registers, found)
            dense = dense or data[4] != SPARSE
    return NO_REGISTERS if registers is None else registers, dense


def _count(number: int) -> Reply:
    # A C long long: the estimate of impossible registers is its least number.
    return integer(number if number <= INT64_MAX else number - (1 << 64))


@command(
    "PFCOUNT",
    since="2.8.9",
    arity=-2,
    group="hyperloglog",
    flags=READONLY,
    keys=(
        KeySpec(
            1,
            last=-1,
            flags=("RW", "access"),
            notes="RW because it may change the internal representation of the key, and "
            "propagate to replicas",
        ),
    ),
    acl=HYPERLOGLOG,
    complexity=(
        "O(1) with a very small average constant time when called with a single key. O(N) with N "
        "being the number of keys, and much bigger constant times, when called with multiple keys."
    ),
)
def pfcount(ks: Keyspace, key: bytes, *others: bytes) -> Reply:
    """Returns the approximated cardinality of the set(s) observed by the HyperLogLog key(s)."""
    if others:
        return _count(estimate(_merged(ks, (key, *others))[0]))
    if ks.lookup_read(key, bytes) is None:
        return ZERO
    value: HyperLogLog = ks.lookup_buffer(key, HyperLogLog)
    number = value.cached
    if number is None:
        number = estimate(registers_of(value))
        value.remember(number)
        # A read that changes the string, and is logged, as in Redis: GET shows it.
        ks.changed(key)
    return _count(number)


@command(
    "PFMERGE",
    since="2.8.9",
    arity=-2,
    group="hyperloglog",
    flags=WRITE | DENYOOM,
    keys=(
        KeySpec(1, flags=("RW", "access", "insert")),
        KeySpec(2, last=-1, flags=("RO", "access")),
    ),
    acl=HYPERLOGLOG,
    complexity="O(N) to merge N HyperLogLogs, but with high constant times.",
)
def pfmerge(ks: Keyspace, destination: bytes, *sources: bytes) -> Reply:
    """Merges one or more HyperLogLog values into a single key."""
    registers, dense = _merged(ks, (destination, *sources))
    value: HyperLogLog | None = ks.lookup_buffer(destination, HyperLogLog)
    if value is None:
        value = _create(ks, destination)
    sparse = not value.dense
    value.raise_to(registers, dense=dense, limit=_limit(ks))
    value.forget()
    ks.changed(destination)
    ks.notify(b"$", b"pfadd", destination)
    if sparse and value.dense:
        _log_dense(ks, destination, b"PFMERGE", destination, *sources)
    return OK


@command(
    "PFDEBUG",
    since="2.8.9",
    arity=3,
    group="hyperloglog",
    flags=WRITE | DENYOOM | ADMIN,
    keys=key_at(2, "RW access"),
    acl=HYPERLOGLOG,
    complexity="N/A",
    doc_flags=("syscmd",),
)
def pfdebug(ks: Keyspace, name: bytes, key: bytes) -> Reply:
    """Internal commands for debugging HyperLogLog values."""
    wanted = word(name)
    if wanted == b"SIMD":  # there is one implementation: it says what was asked for
        choice = word(key)
        if choice not in (b"ON", b"OFF"):
            raise errors.pfdebug_on_or_off()
        return simple(b"enabled" if choice == b"ON" else b"disabled")
    value: HyperLogLog | None = ks.lookup_buffer(key, HyperLogLog)
    if value is None:
        raise errors.pfdebug_no_such_key()
    if wanted in (b"GETREG", b"TODENSE"):
        converted = value.to_dense()
        if converted:
            ks.changed(key)
        if wanted == b"TODENSE":
            return ONE if converted else ZERO
        return array([integer(register) for register in registers_of(value)])
    if wanted == b"DECODE":
        if value.dense:
            raise errors.pfdebug_not_sparse()
        return bulk(value.opcodes())
    if wanted == b"ENCODING":
        return simple(b"dense" if value.dense else b"sparse")
    raise errors.pfdebug_unknown(name.partition(b"\0")[0])


@command(
    "PFSELFTEST",
    since="2.8.9",
    arity=1,
    group="hyperloglog",
    flags=ADMIN,
    acl=HYPERLOGLOG,
    complexity="N/A",
    doc_flags=("syscmd",),
)
def pfselftest(ks: Keyspace) -> Reply:
    """An internal command for testing HyperLogLog values."""
    wrong = self_test(ks.random)
    if wrong:
        raise errors.pfselftest_failed(wrong)
    return OK
