"""MIGRATE: keys move to another server, which gets them by RESTORE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from shoal.proto import errors
from shoal.proto.replies import OK, Reply, simple
from shoal.proto.spec import CommandFlag, KeySpec
from shoal.worker.commands import parse
from shoal.worker.commands.dump import payload_of
from shoal.worker.keyspace import Keyspace, expire_of
from shoal.worker.registry import command

_DEFAULT_TIMEOUT_MS: Final = 1000
_FIRST_OPTION: Final = 6


@dataclass(slots=True)
class _Options:
    """Attributes: what the options of these names say; `auth` is the whole command, if any."""

    copy: bool = False
    replace: bool = False
    auth: list[bytes] = field(default_factory=list)
    keys: Sequence[bytes] = ()


def _parse(key: bytes, args: Sequence[bytes]) -> _Options:
    options = _Options(keys=(key,))
    at = 0
    while at < len(args):
        word, left = parse.word(args[at]), len(args) - at - 1
        if word == b"COPY":
            options.copy = True
        elif word == b"REPLACE":
            options.replace = True
        elif word == b"AUTH" and left:
            options.auth = [b"AUTH", args[at + 1]]
            at += 1
        elif word == b"AUTH2" and left > 1:
            options.auth = [b"AUTH", args[at + 1], args[at + 2]]
            at += 2
        elif word == b"KEYS":
            if key:
                raise errors.migrate_key_and_keys()
            options.keys = args[at + 1 :]
            break
        else:
            raise errors.syntax_error()
        at += 1
    return options


_SKIPPED: Final = {b"AUTH": 1, b"AUTH2": 2}


def _keys_option(argv: Sequence[bytes]) -> int:
    """Return the index of the word KEYS in argv, 0 if there is none with a key behind it."""
    at = _FIRST_OPTION
    while at < len(argv) - 1:
        word = parse.word(argv[at])
        if word == b"KEYS":
            return at
        at += 1 + _SKIPPED.get(word, 0)
    return 0


def _single(argv: Sequence[bytes]) -> Sequence[int]:
    return () if _keys_option(argv) else (3,)


def _several(argv: Sequence[bytes]) -> Sequence[int]:
    option = _keys_option(argv)
    return () if argv[3] or not option else range(option + 1, len(argv))


@command(
    "MIGRATE",
    since="2.6.0",
    arity=-6,
    group="generic",
    flags=CommandFlag.WRITE,
    keys=(
        KeySpec(3, flags=("RW", "access", "delete"), find=_single),
        KeySpec(
            -2,
            keyword="KEYS",
            last=-1,
            flags=("RW", "access", "delete", "incomplete"),
            find=_several,
        ),
    ),
    acl=("keyspace", "dangerous"),
    complexity="This command actually executes a DUMP+DEL in the source instance, and a RESTORE in "
    "the target instance. See the pages of these commands for time complexity. Also an "
    "O(N) data transfer between the two instances is performed.",
    tips=("nondeterministic_output",),
    history=(
        ("3.0.0", "Added the `COPY` and `REPLACE` options."),
        ("3.0.6", "Added the `KEYS` option."),
        ("4.0.7", "Added the `AUTH` option."),
        ("6.0.0", "Added the `AUTH2` option."),
    ),
)
def migrate(
    ks: Keyspace,
    host: bytes,
    port: bytes,
    key: bytes,
    destination_db: bytes,
    timeout: bytes,
    *args: bytes,
) -> Reply:
    """Atomically transfers a key from one Redis instance to another."""
    options = _parse(key, args)
    timeout_ms = parse.integer(timeout)
    db = parse.integer(destination_db)
    keys = [name for name in options.keys if ks.find(name) is not None]
    if not keys:
        return simple(b"NOKEY")
    commands = [options.auth] if options.auth else []
    commands.append([b"SELECT", b"%d" % db])
    before = len(commands)
    for name in keys:
        value = ks.find(name)
        expire_ms = expire_of(value)
        ttl_ms = max(expire_ms - ks.now_ms, 1) if expire_ms else 0
        restore = [b"RESTORE", name, b"%d" % ttl_ms, payload_of(value)]
        commands.append([*restore, b"REPLACE"] if options.replace else restore)
    replies, error = ks.store.transfer(
        host, port, timeout_ms if timeout_ms > 0 else _DEFAULT_TIMEOUT_MS, commands
    )
    refused = [reply for reply in replies[:before] if reply[:1] == b"-"]
    restored = replies[before:] if not refused else []
    moved = []
    for name, reply in zip(keys, restored, strict=False):
        if reply[:1] == b"-":
            refused.append(reply)
        elif not options.copy and ks.delete(name):
            ks.notify(b"g", b"del", name)
            moved.append(name)
    if moved:
        ks.propagate(b"DEL", *moved)
    # Not raised: keys have moved, and that has to be logged.
    if refused:
        return errors.migrate_refused(refused[0]).encode()
    return OK if error is None else error.encode()
