"""The commands that take keys of every type, and those that take whole databases.

An expire time is always logged as `PEXPIREAT key ms`: no relative time and no condition, both of
which would mean something else when the log is read. An expire time in the past is logged as the
DEL that it is.

SCAN's cursor, 64 bits: the low 14 are the slot to go on with, the others a position inside of it. A
partition gives whole slots until COUNT is met; after its last one the cursor names the next
partition's first, and `route` takes the client there. So there is no state, and a key that stays is
found. A slot of more than WHOLE_SLOT keys ({tag} abuse) is given in pieces: a key's position is its
hash, which no insert or delete changes, and a piece is all keys with positions in one interval. It
costs a pass over the slot, so a piece grows with the slot. `hash` is salted when the server starts:
a client cannot choose its positions, and a scan of such a slot that is under way when the server
starts anew loses its guarantee, as any scan of Redis does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import compress
from math import log
from typing import Final

from shoal.proto import errors
from shoal.proto.glob import compile_glob
from shoal.proto.numbers import INT32_MAX, INT32_MIN, parse_int, parse_int32
from shoal.proto.replies import (
    NULL,
    OK,
    ONE,
    ZERO,
    Array,
    Reply,
    array,
    bulk,
    bulk_array,
    integer,
    simple,
)
from shoal.proto.slots import SLOTS, key_slot
from shoal.proto.spec import CommandFlag, KeySpec, key_at, keys_from
from shoal.worker.commands import parse
from shoal.worker.keyspace import NO_EXPIRE, NO_KEY, Database, Keyspace, Table, Value, expire_of
from shoal.worker.registry import (
    Borrowed,
    LockScope,
    PartAnswer,
    Spanning,
    command,
    merge_arrays,
    merge_same,
    merge_sum,
)
from shoal.worker.values import copy_value, encoding, type_name

WRITE, READONLY, FAST = CommandFlag.WRITE, CommandFlag.READONLY, CommandFlag.FAST
DENYOOM, LOADING, STALE = CommandFlag.DENYOOM, CommandFlag.LOADING, CommandFlag.STALE

KEYSPACE: Final = ("keyspace",)
DANGEROUS: Final = ("keyspace", "dangerous")
MULTI_SHARD: Final = ("request_policy:multi_shard", "response_policy:agg_sum")
ALL_SHARDS: Final = ("request_policy:all_shards", "response_policy:all_succeeded")

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1

SLOT_BITS: Final = 14
POSITION_MASK: Final = (1 << (64 - SLOT_BITS)) - 1
# Keys of one slot that SCAN gives at once: at most that many more than COUNT.
WHOLE_SLOT: Final = 512
# Passes over a larger slot until all of it has been given.
SLOT_PASSES: Final = 64


_SUMMED: Final = Spanning(LockScope.KEYS, merge_sum)


# -- is it there, delete it ------------------------------------------------------------------------


def _delete(ks: Keyspace, keys: Sequence[bytes]) -> Reply:
    deleted = 0
    for key in keys:
        if ks.delete(key):
            ks.notify(b"g", b"del", key)
            deleted += 1
    return integer(deleted)


@command(
    "DEL",
    since="1.0.0",
    arity=-2,
    group="generic",
    flags=WRITE,
    keys=keys_from(1, "RM delete"),
    acl=KEYSPACE,
    complexity="O(N) where N is the number of keys that will be removed. When a key to remove "
    "holds a value other than a string, the individual complexity for this key is O(M) where M "
    "is the number of elements in the list, set, sorted set or hash. Removing a single key that "
    "holds a string value is O(1).",
    tips=MULTI_SHARD,
    spanning=_SUMMED,
)
def del_(ks: Keyspace, *keys: bytes) -> Reply:
    """Deletes one or more keys."""
    return _delete(ks, keys)


@command(
    "UNLINK",
    since="4.0.0",
    arity=-2,
    group="generic",
    flags=WRITE | FAST,
    keys=keys_from(1, "RM delete"),
    acl=KEYSPACE,
    complexity="O(1) for each key removed regardless of its size. Then the command does O(N) "
    "work in a different thread in order to reclaim memory, where N is the number of allocations "
    "the deleted objects where composed of.",
    tips=MULTI_SHARD,
    spanning=_SUMMED,
)
def unlink(ks: Keyspace, *keys: bytes) -> Reply:
    """Asynchronously deletes one or more keys."""
    return _delete(ks, keys)  # DEL frees in slices too


@command(
    "EXISTS",
    since="1.0.0",
    arity=-2,
    group="generic",
    flags=READONLY | FAST,
    keys=keys_from(1, "RO"),
    acl=KEYSPACE,
    complexity="O(N) where N is the number of keys to check.",
    tips=MULTI_SHARD,
    spanning=_SUMMED,
    history=(("3.0.3", "Accepts multiple `key` arguments."),),
)
def exists(ks: Keyspace, *keys: bytes) -> Reply:
    """Determines whether one or more keys exist."""
    return integer(sum([ks.lookup_read(key) is not None for key in keys]))


@command(
    "TOUCH",
    since="3.2.1",
    arity=-2,
    group="generic",
    flags=READONLY | FAST,
    keys=keys_from(1, "RO"),
    acl=KEYSPACE,
    complexity="O(N) where N is the number of keys that will be touched.",
    tips=MULTI_SHARD,
    spanning=_SUMMED,
)
def touch(ks: Keyspace, *keys: bytes) -> Reply:
    """Returns the number of existing keys out of those specified after updating the time they were last accessed."""  # noqa: E501  COMMAND DOCS shows it whole
    return integer(sum([ks.lookup_read(key) is not None for key in keys]))


@command(
    "TYPE",
    since="1.0.0",
    arity=2,
    group="generic",
    flags=READONLY | FAST,
    keys=key_at(1, "RO"),
    acl=KEYSPACE,
    complexity="O(1)",
)
def type_(ks: Keyspace, key: bytes) -> Reply:
    """Determines the type of value stored at a key."""
    value = ks.find(key) if ks.lookup_read(key) is not None else None
    return simple(b"none" if value is None else type_name(value))


# -- expire times ----------------------------------------------------------------------------------


_CONDITIONS: Final = frozenset({b"NX", b"XX", b"GT", b"LT"})
_EXPIRE_HISTORY: Final = (("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`."),)


def _conditions(options: Sequence[bytes]) -> set[bytes]:
    given = set()
    for option in options:
        word = parse.word(option)
        if word not in _CONDITIONS:
            raise errors.unsupported_option(option)
        given.add(word)
    if b"NX" in given and len(given) > 1:
        raise errors.nx_with_xx_gt_lt()
    if b"GT" in given and b"LT" in given:
        raise errors.gt_with_lt()
    return given


def _allowed(conditions: set[bytes], old_ms: int, at_ms: int) -> bool:
    """Tell whether the conditions let `at_ms` replace `old_ms`, which is NO_EXPIRE for a key that
    never expires.
    """
    never = old_ms == NO_EXPIRE
    for condition in conditions:
        if condition == b"NX":
            fine = never
        elif condition == b"XX":
            fine = not never
        elif condition == b"GT":
            fine = not never and at_ms > old_ms
        else:
            fine = never or at_ms < old_ms
        if not fine:
            return False
    return True


def _expire(
    ks: Keyspace,
    name: bytes,
    key: bytes,
    time: bytes,
    options: Sequence[bytes],
    unit_ms: int,
    base_ms: int,
) -> Reply:
    """Set the expire time base_ms + time * unit_ms (ms since the epoch), if the options allow
    it.
    """
    conditions = _conditions(options)
    number = parse_int(time)
    if number is None:
        raise errors.not_an_integer()
    if not INT64_MIN <= number * unit_ms <= INT64_MAX:
        raise errors.invalid_expire(name)
    at_ms = number * unit_ms + base_ms
    if at_ms > INT64_MAX:
        raise errors.invalid_expire(name)
    old_ms = ks.expire_at(key)
    if old_ms == NO_KEY or not _allowed(conditions, old_ms, at_ms):
        return ZERO
    if at_ms <= ks.now_ms:
        ks.delete(key)
        ks.propagate(b"DEL", key)
        ks.notify(b"g", b"del", key)
    else:
        ks.set_expire(key, at_ms)
        ks.propagate(b"PEXPIREAT", key, b"%d" % at_ms)
        ks.notify(b"g", b"expire", key)
    return ONE


@command(
    "EXPIRE",
    since="1.0.0",
    arity=-3,
    group="generic",
    flags=WRITE | FAST,
    keys=key_at(1, "RW update"),
    acl=KEYSPACE,
    complexity="O(1)",
    history=_EXPIRE_HISTORY,
)
def expire(ks: Keyspace, key: bytes, seconds: bytes, *options: bytes) -> Reply:
    """Sets the expiration time of a key in seconds."""
    return _expire(ks, b"expire", key, seconds, options, 1000, ks.now_ms)


@command(
    "PEXPIRE",
    since="2.6.0",
    arity=-3,
    group="generic",
    flags=WRITE | FAST,
    keys=key_at(1, "RW update"),
    acl=KEYSPACE,
    complexity="O(1)",
    history=_EXPIRE_HISTORY,
)
def pexpire(ks: Keyspace, key: bytes, milliseconds: bytes, *options: bytes) -> Reply:
    """Sets the expiration time of a key in milliseconds."""
    return _expire(ks, b"pexpire", key, milliseconds, options, 1, ks.now_ms)


@command(
    "EXPIREAT",
    since="1.2.0",
    arity=-3,
    group="generic",
    flags=WRITE | FAST,
    keys=key_at(1, "RW update"),
    acl=KEYSPACE,
    complexity="O(1)",
    history=_EXPIRE_HISTORY,
)
def expireat(ks: Keyspace, key: bytes, seconds: bytes, *options: bytes) -> Reply:
    """Sets the expiration time of a key to a Unix timestamp."""
    return _expire(ks, b"expireat", key, seconds, options, 1000, 0)


@command(
    "PEXPIREAT",
    since="2.6.0",
    arity=-3,
    group="generic",
    flags=WRITE | FAST,
    keys=key_at(1, "RW update"),
    acl=KEYSPACE,
    complexity="O(1)",
    history=_EXPIRE_HISTORY,
)
def pexpireat(ks: Keyspace, key: bytes, milliseconds: bytes, *options: bytes) -> Reply:
    """Sets the expiration time of a key to a Unix milliseconds timestamp."""
    return _expire(ks, b"pexpireat", key, milliseconds, options, 1, 0)


def _expire_time(ks: Keyspace, key: bytes, base_ms: int) -> int:
    """Return key's expire time less base_ms in ms, or NO_EXPIRE, or NO_KEY; counts a hit or a
    miss.
    """
    if ks.lookup_read(key) is None:
        return NO_KEY
    at_ms = ks.expire_at(key)
    return at_ms if at_ms == NO_EXPIRE else at_ms - base_ms


def _rounded(ms: int) -> Reply:
    """Return a time in whole seconds, half a second rounded up; NO_EXPIRE and NO_KEY as they
    are.
    """
    return integer(ms if ms < 0 else (ms + 500) // 1000)


@command(
    "TTL",
    since="1.0.0",
    arity=2,
    group="generic",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=KEYSPACE,
    complexity="O(1)",
    tips=("nondeterministic_output",),
    history=(("2.8.0", "Added the -2 reply."),),
)
def ttl(ks: Keyspace, key: bytes) -> Reply:
    """Returns the expiration time in seconds of a key."""
    return _rounded(_expire_time(ks, key, ks.now_ms))


@command(
    "PTTL",
    since="2.6.0",
    arity=2,
    group="generic",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=KEYSPACE,
    complexity="O(1)",
    tips=("nondeterministic_output",),
    history=(("2.8.0", "Added the -2 reply."),),
)
def pttl(ks: Keyspace, key: bytes) -> Reply:
    """Returns the expiration time in milliseconds of a key."""
    return integer(_expire_time(ks, key, ks.now_ms))


@command(
    "EXPIRETIME",
    since="7.0.0",
    arity=2,
    group="generic",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=KEYSPACE,
    complexity="O(1)",
)
def expiretime(ks: Keyspace, key: bytes) -> Reply:
    """Returns the expiration time of a key as a Unix timestamp."""
    return _rounded(_expire_time(ks, key, 0))


@command(
    "PEXPIRETIME",
    since="7.0.0",
    arity=2,
    group="generic",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=KEYSPACE,
    complexity="O(1)",
)
def pexpiretime(ks: Keyspace, key: bytes) -> Reply:
    """Returns the expiration time of a key as a Unix milliseconds timestamp."""
    return integer(_expire_time(ks, key, 0))


@command(
    "PERSIST",
    since="2.2.0",
    arity=2,
    group="generic",
    flags=WRITE | FAST,
    keys=key_at(1, "RW update"),
    acl=KEYSPACE,
    complexity="O(1)",
)
def persist(ks: Keyspace, key: bytes) -> Reply:
    """Removes the expiration time of a key."""
    if not ks.persist(key):
        return ZERO
    ks.notify(b"g", b"persist", key)
    return ONE


# -- a key under another name, or in another database ----------------------------------------------


def _replace(ks: Keyspace, key: bytes, value: Value, expire_ms: int) -> Value | None:
    """Store a value at key; return what it replaced, None for nothing."""
    old = ks.find(key)
    if old is not None:
        ks.delete(key)  # so that a `new` event follows, as in Redis
    ks.set(key, value, expire_ms)
    return old


def _notify_replaced(ks: Keyspace, key: bytes, old: Value | None, new: Value) -> None:
    if old is not None:
        ks.notify(b"o", b"overwritten", key)
        if type_name(old) != type_name(new):
            ks.notify(b"c", b"type_changed", key)


def _rename(ks: Keyspace, source: bytes, target: bytes, only_if_new: bool) -> bool:
    """Rename a key; tell whether the new name is now (or was before) that of the value. Raises:
    ReplyError.
    """
    value = ks.find(source)
    if value is None:
        raise errors.no_such_key()
    if only_if_new and ks.exists(target):  # so also if it is the source
        return False
    if source == target:
        return True
    expire_ms = expire_of(value)
    ks.take(source)
    old = _replace(ks, target, value, expire_ms)
    ks.notify(b"g", b"rename_from", source)
    ks.notify(b"g", b"rename_to", target)
    _notify_replaced(ks, target, old, value)
    return True


@command(
    "RENAME",
    since="1.0.0",
    arity=3,
    group="generic",
    flags=WRITE,
    keys=(
        KeySpec(1, flags=("RW", "access", "delete")),
        KeySpec(2, flags=("OW", "update")),
    ),
    acl=KEYSPACE,
    complexity="O(1)",
)
def rename(ks: Keyspace, source: bytes, target: bytes) -> Reply:
    """Renames a key and overwrites the destination."""
    _rename(ks, source, target, only_if_new=False)
    return OK


@command(
    "RENAMENX",
    since="1.0.0",
    arity=3,
    group="generic",
    flags=WRITE | FAST,
    keys=(
        KeySpec(1, flags=("RW", "access", "delete")),
        KeySpec(2, flags=("OW", "insert")),
    ),
    acl=KEYSPACE,
    complexity="O(1)",
    history=(
        (
            "3.2.0",
            "The command no longer returns an error when source and destination names are the "
            "same.",
        ),
    ),
)
def renamenx(ks: Keyspace, source: bytes, target: bytes) -> Reply:
    """Renames a key only when the target key name doesn't exist."""
    return ONE if _rename(ks, source, target, only_if_new=True) else ZERO


def _target_db(argv: Sequence[bytes]) -> int | None:
    """Return the database that COPY's DB names, None if it names none that could be one."""
    found = None
    for at in range(3, len(argv) - 1):
        if parse.word(argv[at]) == b"DB":
            found = parse_int(argv[at + 1])
    return found


@command(
    "COPY",
    since="6.2.0",
    arity=-3,
    group="generic",
    flags=WRITE | DENYOOM,
    keys=(
        KeySpec(1, flags=("RO", "access")),
        KeySpec(2, flags=("OW", "update")),
    ),
    acl=KEYSPACE,
    complexity="O(N) worst case for collections, where N is the number of nested items. O(1) for "
    "string values.",
    borrowed=Borrowed(database=_target_db),
)
def copy(ks: Keyspace, source: bytes, target: bytes, *options: bytes) -> Reply:
    """Copies the value of a key to a new key."""
    there = ks
    replace = False
    rest = iter(options)
    for option in rest:
        word = parse.word(option)
        if word == b"REPLACE":
            replace = True
        elif word == b"DB" and (index := next(rest, None)) is not None:
            there = ks.other(parse_int32(index))
        else:
            raise errors.syntax_error()
    if there is ks and source == target:
        raise errors.same_object()
    if ks.lookup_read(source) is None:
        return ZERO
    value = ks.find(source)
    if there.exists(target) and not replace:
        return ZERO
    old = _replace(there, target, copy_value(value), expire_of(value))
    there.notify(b"g", b"copy_to", target)
    _notify_replaced(there, target, old, value)
    return ONE


def _moved_to(argv: Sequence[bytes]) -> int | None:
    return parse_int(argv[2])


@command(
    "MOVE",
    since="1.0.0",
    arity=3,
    group="generic",
    flags=WRITE | FAST,
    keys=key_at(1, "RW access update"),
    acl=KEYSPACE,
    complexity="O(1)",
    borrowed=Borrowed(database=_moved_to),
)
def move(ks: Keyspace, key: bytes, db: bytes) -> Reply:
    """Moves a key to another database."""
    there = ks.other(parse_int32(db))
    if there is ks:
        raise errors.same_object()
    value = ks.find(key)
    if value is None or there.exists(key):
        return ZERO
    expire_ms = expire_of(value)
    ks.take(key)
    there.set(key, value, expire_ms)
    ks.notify(b"g", b"move_from", key)
    there.notify(b"g", b"move_to", key)
    return ONE


# -- all keys of a database ------------------------------------------------------------------------


def _pattern_slot(pattern: bytes) -> int | None:
    """Return the slot of all keys that match, None if they may lie in several.

    Up to the end of the hash tag the pattern must be literal; without a tag, all of it.
    """
    special = re.search(rb"[*?\[\\]", pattern)
    literal = pattern if special is None else pattern[: special.start()]
    start = literal.find(b"{")
    if start >= 0 and literal.find(b"}", start) > start + 1:
        return key_slot(literal)
    return key_slot(pattern) if special is None else None


def _draw(ks: Keyspace) -> Reply:
    """Return a random key with a score that grows slower the more keys there are; nothing without
    keys.
    """
    key = ks.random_key()
    if key is None:
        return Array([])
    # The smallest of several exponentially distributed numbers is each one's with a chance in
    # proportion to its rate, here the number of keys: a weighted choice that needs no randomness
    # where the answers meet.
    score = -log(1.0 - ks.random.random()) / len(ks)
    return array([integer(int(score * (1 << 62))), bulk(key)])


def _merge_drawn(parts: Sequence[PartAnswer]) -> Reply:
    drawn = []
    for part in parts:
        assert isinstance(part.reply, list)
        if part.reply:
            score, key = part.reply
            drawn.append((int(score[1:-2]), key))
    return min(drawn)[1] if drawn else NULL


@command(
    "RANDOMKEY",
    since="1.0.0",
    arity=1,
    group="generic",
    flags=READONLY,
    acl=KEYSPACE,
    complexity="O(1)",
    tips=("request_policy:all_shards", "response_policy:special", "nondeterministic_output"),
    spanning=Spanning(LockScope.DB, _merge_drawn, part=_draw),
)
def randomkey(ks: Keyspace) -> Reply:
    """Returns a random key name from the database."""
    key = ks.random_key()
    return NULL if key is None else bulk(key)


@command(
    "KEYS",
    since="1.0.0",
    arity=2,
    group="generic",
    flags=READONLY,
    acl=DANGEROUS,
    complexity="O(N) with N being the number of keys in the database, under the assumption that "
    "the key names in the database and the given pattern have limited length.",
    tips=("request_policy:all_shards", "nondeterministic_output_order"),
    spanning=Spanning(LockScope.DB, merge_arrays, slot=_pattern_slot),
)
def keys(ks: Keyspace, pattern: bytes) -> Reply:
    """Returns all key names that match a pattern."""
    slots: Sequence[int] = ks.db.slots
    fixed = _pattern_slot(pattern)
    if fixed is not None:
        slots = [fixed] if fixed in slots else []
    live = (key for slot in slots if ks.db.tables[slot] for key, _ in ks.live_keys(slot))
    return bulk_array(live if pattern == b"*" else filter(compile_glob(pattern), live))


def scan_tables(
    db: Database, cursor: int, count: int, only: int | None = None
) -> tuple[int, list[tuple[bytes, Value]]]:
    """Return the next cursor (0 at the end) and what one call of SCAN finds, expired keys included.

    Args:
        db: a database of the partition that owns the cursor's slot.
        cursor: see the module's text.
        count: stop after the slot (or piece of a slot) that brings so many keys.
        only: the one slot that matters, None for all.
    """
    slot, position = cursor & (SLOTS - 1), cursor >> SLOT_BITS
    end = db.slots.stop
    if only is not None:
        if slot > only:
            return 0, []
        if slot < only:
            slot, position = only, 0
        end = only + 1
    found: list[tuple[bytes, Value]] = []
    # compress: empty slots are passed over at C speed, all 16384 of them in a fraction of a
    # millisecond.
    for at in compress(range(slot, end), db.tables[slot:end]):
        if len(found) >= count:
            return at, found
        table = db.keys_in(at)
        start = position if at == slot else 0
        if start or len(table) > WHOLE_SLOT:
            stop, piece = _piece(table, start, count - len(found))
            found += piece
            if stop:
                return stop << SLOT_BITS | at, found
        else:
            found += table.items()
    return 0 if end == SLOTS or only is not None else end, found


def _piece(table: Table, start: int, count: int) -> tuple[int, list[tuple[bytes, Value]]]:
    """Return the keys at about `count` or more positions from `start` on, and the next position, 0
    at the end.
    """
    size = len(table)
    wanted = max(count, size // SLOT_PASSES)
    stop = start + ((POSITION_MASK * wanted // size) or 1) if wanted < size else POSITION_MASK + 1
    mask = POSITION_MASK
    piece = [item for item in table.items() if start <= hash(item[0]) & mask < stop]
    return (stop if stop <= mask else 0), piece


def _scan_pattern_slot(args: Sequence[bytes]) -> int | None:
    """Return the slot that SCAN's MATCH leaves, if it leaves one; args from the first option on."""
    patterns = [
        args[at + 1] for at in range(0, len(args) - 1, 2) if parse.word(args[at]) == b"MATCH"
    ]
    return _pattern_slot(patterns[-1]) if patterns else None


def _scan_route(argv: list[bytes]) -> int:
    fixed = _scan_pattern_slot(argv[2:])
    if fixed is not None:
        return fixed
    try:
        return parse.cursor(argv[1]) & (SLOTS - 1)
    except errors.ReplyError:
        return 0  # whoever runs it says the same error


@command(
    "SCAN",
    since="2.8.0",
    arity=-2,
    group="generic",
    flags=READONLY,
    acl=KEYSPACE,
    complexity="O(1) for every call. O(N) for a complete iteration, including enough command "
    "calls for the cursor to return back to 0. N is the number of elements inside the "
    "collection.",
    tips=("nondeterministic_output", "request_policy:special", "response_policy:special"),
    route=_scan_route,
    history=(("6.0.0", "Added the `TYPE` subcommand."),),
)
def scan(ks: Keyspace, cursor_text: bytes, *options: bytes) -> Reply:
    """Iterates over the key names in the database."""
    cursor = parse.cursor(cursor_text)
    limit, matches, kind, _ = parse.scan_options(options, b"scan")
    after, found = scan_tables(ks.db, cursor, limit, _scan_pattern_slot(options))
    now_ms = ks.now_ms
    names, expired = [], []
    for key, stored in found:
        if matches is not None and not matches(key):
            continue
        if kind and type_name(stored) != kind:
            continue
        if stored.__class__ is not bytes and 0 < stored.expire_ms <= now_ms:
            expired.append(key)
        else:
            names.append(key)
    for key in expired:
        ks.expire_now(key)
    return array([bulk(b"%d" % after), bulk_array(names)])


@command(
    "DBSIZE",
    since="1.0.0",
    arity=1,
    group="server",
    flags=READONLY | FAST,
    acl=KEYSPACE,
    complexity="O(1)",
    tips=("request_policy:all_shards", "response_policy:agg_sum"),
    spanning=Spanning(LockScope.DB, merge_sum),
)
def dbsize(ks: Keyspace) -> Reply:
    """Returns the number of keys in the database."""
    return integer(len(ks))


# -- whole databases -------------------------------------------------------------------------------


def _check_flush(options: Sequence[bytes]) -> None:
    """Check ASYNC or SYNC. Both are the same here: the keys are gone at once, their memory is freed
    in slices.
    """
    if len(options) > 1 or (options and parse.word(options[0]) not in (b"ASYNC", b"SYNC")):
        raise errors.syntax_error()


_FLUSH_HISTORY: Final = (
    ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
    ("6.2.0", "Added the `SYNC` flushing mode modifier."),
)


@command(
    "FLUSHDB",
    since="1.0.0",
    arity=-1,
    group="server",
    flags=WRITE,
    acl=DANGEROUS,
    complexity="O(N) where N is the number of keys in the selected database",
    tips=ALL_SHARDS,
    spanning=Spanning(LockScope.DB, merge_same),
    history=_FLUSH_HISTORY,
)
def flushdb(ks: Keyspace, *options: bytes) -> Reply:
    """Remove all keys from the current database."""
    _check_flush(options)
    ks.flush()
    ks.store.flushed()
    return OK


@command(
    "FLUSHALL",
    since="1.0.0",
    arity=-1,
    group="server",
    flags=WRITE,
    acl=DANGEROUS,
    complexity="O(N) where N is the total number of keys in all databases",
    tips=ALL_SHARDS,
    spanning=Spanning(LockScope.STORE, merge_same),
    history=_FLUSH_HISTORY,
)
def flushall(ks: Keyspace, *options: bytes) -> Reply:
    """Removes all keys from all databases."""
    _check_flush(options)
    for database in ks.store.databases():
        ks.other(database.index).flush()
    ks.store.flushed()
    return OK


@command(
    "SWAPDB",
    since="4.0.0",
    arity=3,
    group="server",
    flags=WRITE | FAST,
    acl=DANGEROUS,
    complexity="O(N) where N is the count of clients watching or blocking on keys from both "
    "databases.",
    spanning=Spanning(LockScope.STORE, merge_same),
)
def swapdb(ks: Keyspace, first: bytes, second: bytes) -> Reply:
    """Swaps two Redis databases."""
    indexes = []
    for which, text in (("first", first), ("second", second)):
        number = parse_int(text)
        if number is None or not INT32_MIN <= number <= INT32_MAX:
            raise errors.invalid_db_index(which)
        indexes.append(number)
    ks.store.swap(*indexes)
    ks.store.dirty += 1
    return OK


# -- OBJECT ----------------------------------------------------------------------------------------


@command(
    "OBJECT",
    since="2.2.3",
    arity=-2,
    group="generic",
    complexity="Depends on subcommand.",
)
def object_(ks: Keyspace, *_: bytes) -> Reply:
    """A container for object introspection commands."""
    raise AssertionError("a subcommand runs, or there is an error before")


def _object(ks: Keyspace, key: bytes) -> Value | None:
    """Return what is stored at key; counts a hit or a miss, without the keymiss event of
    `lookup_read`.
    """
    value = ks.find(key)
    if value is None:
        ks.store.misses += 1
    else:
        ks.store.hits += 1
    return value


@command(
    "OBJECT|ENCODING",
    since="2.2.3",
    arity=3,
    group="generic",
    flags=READONLY,
    keys=key_at(2, "RO"),
    acl=KEYSPACE,
    complexity="O(1)",
    tips=("nondeterministic_output",),
)
def object_encoding(ks: Keyspace, key: bytes) -> Reply:
    """Returns the internal encoding of a Redis object."""
    value = _object(ks, key)
    return NULL if value is None else bulk(encoding(key, value))


@command(
    "OBJECT|REFCOUNT",
    since="2.2.3",
    arity=3,
    group="generic",
    flags=READONLY,
    keys=key_at(2, "RO"),
    acl=KEYSPACE,
    complexity="O(1)",
    tips=("nondeterministic_output",),
)
def object_refcount(ks: Keyspace, key: bytes) -> Reply:
    """Returns the reference count of a value of a key."""
    return NULL if _object(ks, key) is None else ONE  # Redis 8.2 shares no stored value either


@command(
    "OBJECT|IDLETIME",
    since="2.2.3",
    arity=3,
    group="generic",
    flags=READONLY,
    keys=key_at(2, "RO"),
    acl=KEYSPACE,
    complexity="O(1)",
    tips=("nondeterministic_output",),
)
def object_idletime(ks: Keyspace, key: bytes) -> Reply:
    """Returns the time since the last access to a Redis object."""
    return NULL if _object(ks, key) is None else ZERO  # access times are not tracked


@command(
    "OBJECT|FREQ",
    since="4.0.0",
    arity=3,
    group="generic",
    flags=READONLY,
    keys=key_at(2, "RO"),
    acl=KEYSPACE,
    complexity="O(1)",
    tips=("nondeterministic_output",),
)
def object_freq(ks: Keyspace, key: bytes) -> Reply:
    """Returns the logarithmic access frequency counter of a Redis object."""
    if _object(ks, key) is None:
        return NULL
    raise errors.no_access_frequency()


_OBJECT_HELP: Final = (
    b"OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"ENCODING <key>",
    b"    Return the kind of internal representation used in order to store the value",
    b"    associated with a <key>.",
    b"FREQ <key>",
    b"    Return the access frequency index of the <key>. The returned integer is",
    b"    proportional to the logarithm of the recent access frequency of the key.",
    b"IDLETIME <key>",
    b"    Return the idle time of the <key>, that is the approximated number of",
    b"    seconds elapsed since the last access to the key.",
    b"REFCOUNT <key>",
    b"    Return the number of references of the value associated with the specified",
    b"    <key>.",
    b"HELP",
    b"    Print this help.",
)


@command(
    "OBJECT|HELP",
    since="6.2.0",
    arity=2,
    group="generic",
    flags=LOADING | STALE,
    acl=KEYSPACE,
    complexity="O(1)",
)
def object_help(ks: Keyspace) -> Reply:
    """Returns helpful text about the different subcommands."""
    return array([simple(line) for line in _OBJECT_HELP])
