"""What a command states about itself, in the terms of COMMAND INFO.

A `CommandSpec` is declared where the command is implemented (`worker/registry.py`). COMMAND,
COMMAND DOCS, ACL categories, key extraction, routing and the docs page are derived from it and from
nothing else.
Source: "Command key specifications" and "Command tips" of the Redis documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import Final

REDIS_VERSION: Final = "8.2.3"
"""The Redis whose commands and replies these are; clients choose their features by it."""

ACL_CATEGORIES: Final = (
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
)
"""Every ACL category without its `@`, in Redis's order."""


class CommandFlag(Flag):
    """Command flags, under the names COMMAND INFO shows (lower case) and in its order."""

    NONE = 0
    WRITE = auto()
    READONLY = auto()
    DENYOOM = auto()
    ADMIN = auto()
    PUBSUB = auto()
    NOSCRIPT = auto()
    BLOCKING = auto()
    LOADING = auto()
    STALE = auto()
    SKIP_MONITOR = auto()
    SKIP_SLOWLOG = auto()
    ASKING = auto()
    FAST = auto()
    NO_AUTH = auto()
    MAY_REPLICATE = auto()
    NO_MANDATORY_KEYS = auto()
    NO_ASYNC_LOADING = auto()
    NO_MULTI = auto()
    ALLOW_BUSY = auto()
    MOVABLEKEYS = auto()  # need not be declared: `CommandSpec.all_flags` derives it from the keys


@dataclass(frozen=True, slots=True)
class KeySpec:
    """Where keys stand in argv: at an index or after a keyword, as a range or counted (`keynum`).

    Attributes:
        begin: index of the first key, or of the count of keys for `keynum`; with `keyword`, the
            index from which it is searched, backwards from the end if negative.
        last: index of the last key relative to the first; negative counts from the end of argv.
        step: distance between two keys.
        limit: with last -1: 0 or 1 no limit, 2 half of the arguments, and so on.
        flags: words such as `RO`, `RW`, `OW`, `RM`, `access`, `update`, `insert`, `delete`.
        keynum: True when `begin` is the index of an argument that holds the number of keys.
        notes: text that COMMAND INFO shows with the specification, if any.
        keyword: the word, upper case, after which the first key stands, if it is searched.
        unknown: True when no rule tells the keys (SORT's BY and GET).
        find: argv -> indexes of the keys, where the rest of this does not tell (SORT's STORE).
    """

    begin: int
    last: int = 0
    step: int = 1
    limit: int = 0
    flags: tuple[str, ...] = ()
    keynum: bool = False
    notes: str | None = None
    keyword: str | None = None
    unknown: bool = False
    find: Callable[[Sequence[bytes]], Sequence[int]] | None = None

    def positions(self, argv: Sequence[bytes]) -> Sequence[int]:
        """Return the indexes of the keys in argv; empty when argv is too short or malformed."""
        if self.find is not None:
            return self.find(argv)
        if self.keynum:
            try:
                count = int(argv[self.begin])
            except (IndexError, ValueError):
                return ()
            first = self.begin + 1
            if first + (count - 1) * self.step >= len(argv):
                return ()
            return range(first, first + count * self.step, self.step)
        if self.unknown:
            return ()
        begin = self.begin if self.keyword is None else self._after_keyword(argv)
        last = begin + self.last if self.last >= 0 else len(argv) + self.last
        if self.last < 0 and self.limit > 1:
            last = begin + (len(argv) - begin) // self.limit - 1
        return range(begin, min(last, len(argv) - 1) + 1, self.step)

    def _after_keyword(self, argv: Sequence[bytes]) -> int:
        assert self.keyword is not None
        count, wanted = len(argv), self.keyword.encode()
        backwards = self.begin < 0
        search = range(count + self.begin, 0, -1) if backwards else range(self.begin, count)
        return next((at + 1 for at in search if word(argv[at]) == wanted), count)


def word(arg: bytes) -> bytes:
    """Return an option's name in upper case. Redis compares C strings: a NUL ends it."""
    return arg.upper() if b"\0" not in arg else arg.partition(b"\0")[0].upper()


def key_at(index: int, flags: str = "") -> tuple[KeySpec, ...]:
    """Declare one key at a fixed index; `flags` are key-spec words, e.g. "RW access update"."""
    return (KeySpec(index, flags=tuple(flags.split())),)


def keys_from(index: int, flags: str = "", step: int = 1, last: int = -1) -> tuple[KeySpec, ...]:
    """Declare keys from an index to the end (`last` -1) or to `last` arguments after the first."""
    return (KeySpec(index, last=last, step=step, flags=tuple(flags.split())),)


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """Everything COMMAND tells about a command or subcommand.

    Attributes:
        name: lower case; a subcommand is `container|name`.
        arity: as in COMMAND INFO: the number of arguments including the name; negative means at
            least.
        flags: command flags.
        keys: key specifications, in order.
        acl: explicit ACL categories without the `@`; the implicit ones follow from the flags.
        since: version of Redis that has it.
        group: group of COMMAND DOCS.
        summary: one line; the handler's docstring.
        complexity: as COMMAND DOCS shows it.
        tips: command tips, e.g. `request_policy:multi_shard`.
        key_flags: argv -> flags of the keys of this call, where a key specification says
            `variable_flags`.
    """

    name: str
    arity: int
    flags: CommandFlag
    since: str
    group: str
    summary: str
    complexity: str = ""
    keys: tuple[KeySpec, ...] = ()
    acl: tuple[str, ...] = ()
    tips: tuple[str, ...] = ()
    doc_flags: tuple[str, ...] = ()
    deprecated_since: str | None = None
    replaced_by: str | None = None
    history: tuple[tuple[str, str], ...] = field(default=())
    key_flags: Callable[[Sequence[bytes]], tuple[str, ...]] | None = None

    @property
    def all_flags(self) -> CommandFlag:
        """The flags, with MOVABLEKEYS if a key specification is no range at a fixed index."""
        movable = any(spec.keynum or spec.keyword or spec.unknown for spec in self.keys)
        return self.flags | CommandFlag.MOVABLEKEYS if movable else self.flags

    def arity_fits(self, count: int) -> bool:
        """Tell whether `count` arguments, the name included, are allowed."""
        return count == self.arity if self.arity >= 0 else count >= -self.arity

    def key_positions(self, argv: Sequence[bytes]) -> list[int]:
        """Return the indexes of all keys in argv, in the order of the specifications."""
        return [at for spec in self.keys for at in spec.positions(argv)]

    def categories(self) -> tuple[str, ...]:
        """Return the ACL categories without `@`, implied by the flags or declared, in order."""
        flags, found = self.flags, {*self.acl}
        if CommandFlag.WRITE in flags:
            found.add("write")
        if CommandFlag.READONLY in flags and "scripting" not in found:
            found.add("read")
        if CommandFlag.ADMIN in flags:
            found |= {"admin", "dangerous"}
        if CommandFlag.PUBSUB in flags:
            found.add("pubsub")
        found.add("fast" if CommandFlag.FAST in flags else "slow")
        if CommandFlag.BLOCKING in flags:
            found.add("blocking")
        return tuple(category for category in ACL_CATEGORIES if category in found)

    def key_range(self) -> tuple[int, int, int]:
        """Return first key, last key and step as COMMAND INFO shows them; zeros without keys."""
        first = last = step = 0
        for spec in self.keys:
            if spec.keynum or spec.keyword is not None or spec.unknown:
                continue
            if not first:
                first, step = spec.begin, spec.step
                last = spec.begin + spec.last if spec.last >= 0 else spec.last
            elif spec.begin == last + 1:  # goes on where the one before ends
                last = spec.begin + spec.last if spec.last >= 0 else spec.last
        return first, last, step
