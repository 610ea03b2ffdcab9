"""What a command states about itself, in the terms of COMMAND INFO.

A `CommandSpec` is declared where the command is implemented (`worker/registry.py`). COMMAND,
COMMAND DOCS, ACL categories, key extraction, routing and the docs page are derived from it and from
nothing else.
Source: "Command key specifications" and "Command tips" of the Redis documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Flag, auto


class CommandFlag(Flag):
    """Command flags, under the names COMMAND INFO shows (lower case)."""

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
    NO_ASYNC_LOADING = auto()
    NO_MULTI = auto()
    ALLOW_BUSY = auto()
    MOVABLEKEYS = auto()


@dataclass(frozen=True, slots=True)
class KeySpec:
    """Where keys stand in argv: `begin index`, then `range` or `keynum`.

    Attributes:
        begin: index of the first key, or of the count of keys for `keynum`.
        last: index of the last key relative to the first; negative counts from the end of argv.
        step: distance between two keys.
        limit: with last -1: 0 or 1 no limit, 2 half of the arguments, and so on.
        flags: words such as `RO`, `RW`, `OW`, `RM`, `access`, `update`, `insert`, `delete`.
        keynum: True when `begin` is the index of an argument that holds the number of keys.
        notes: text that COMMAND INFO shows with the specification, if any.
    """

    begin: int
    last: int = 0
    step: int = 1
    limit: int = 0
    flags: tuple[str, ...] = ()
    keynum: bool = False
    notes: str | None = None

    def positions(self, argv: Sequence[bytes]) -> Sequence[int]:
        """Return the indexes of the keys in argv; empty when argv is too short or malformed."""
        if self.keynum:
            try:
                count = int(argv[self.begin])
            except (IndexError, ValueError):
                return ()
            first = self.begin + 1
            return range(first, min(first + count * self.step, len(argv)), self.step)
        last = self.begin + self.last if self.last >= 0 else len(argv) + self.last
        if self.last < 0 and self.limit > 1:
            last = self.begin + (len(argv) - self.begin) // self.limit - 1
        return range(self.begin, min(last, len(argv) - 1) + 1, self.step)


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

    def arity_fits(self, count: int) -> bool:
        """Tell whether `count` arguments, the name included, are allowed."""
        return count == self.arity if self.arity >= 0 else count >= -self.arity

    def key_positions(self, argv: Sequence[bytes]) -> list[int]:
        """Return the indexes of all keys in argv, in the order of the specifications."""
        return [at for spec in self.keys for at in spec.positions(argv)]

    def categories(self) -> tuple[str, ...]:
        """Return the ACL categories without `@`: those the flags imply, then the declared ones."""
        flags, implied = self.flags, []
        if CommandFlag.WRITE in flags:
            implied.append("write")
        if CommandFlag.READONLY in flags and "scripting" not in self.acl:
            implied.append("read")
        if CommandFlag.ADMIN in flags:
            implied += ["admin", "dangerous"]
        if CommandFlag.PUBSUB in flags:
            implied.append("pubsub")
        implied.append("fast" if CommandFlag.FAST in flags else "slow")
        if CommandFlag.BLOCKING in flags:
            implied.append("blocking")
        return (*dict.fromkeys([*implied, *self.acl]),)

    def key_range(self) -> tuple[int, int, int]:
        """Return first key, last key and step as COMMAND INFO shows them; zeros without keys."""
        plain = [spec for spec in self.keys if not spec.keynum]
        if not plain:
            return 0, 0, 0
        first = min(spec.begin for spec in plain)
        if any(spec.last < 0 for spec in plain):
            last = min(spec.last for spec in plain if spec.last < 0)
        else:
            last = max(spec.begin + spec.last for spec in plain)
        return first, last, plain[0].step
