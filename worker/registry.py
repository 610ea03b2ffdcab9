"""The command table, and the decorator that fills it.

A command is declared where it is implemented, by `@command`, with everything COMMAND tells about
it. The scopes say where a handler runs and what it gets first:

- `KEYSPACE`: on the owner of its keys, `handler(ks: Keyspace, *args)`; pure with respect to I/O.
- `CLIENT`: at the client's home, `handler(client: Client, *args)`.
- `SERVER`: on every worker, `handler(server: Server, *args)`; the answers are merged.
- `SCRIPT`: as `KEYSPACE`; the home sees to it that the owner has the script.

`args` are argv without the command's name (without container and name for a subcommand). A handler
returns a `Reply`, raises `ReplyError`, or returns `LATER` after it arranged for the reply to come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, Final, TypeVar

from shoal.proto import errors
from shoal.proto.replies import Array, Node, Reply
from shoal.proto.spec import CommandFlag, CommandSpec, KeySpec

Handler = Callable[..., Any]
F = TypeVar("F", bound=Handler)


class _Later(Node):
    def encode(self, resp: int) -> bytes:
        raise AssertionError("the reply comes later: nothing to encode")


LATER: Final[Node] = _Later()


class Wait(Node):
    """What a blocking command answers that cannot be served now.

    The dispatcher keeps it until it can: then the handler is called again, with the same arguments,
    and may answer, raise, or return a Wait again, by which it keeps its place and its time.

    Attributes:
        keys: any of them may serve it.
        timeout_ms: after which the client gets `timeout_reply`; 0 for never.
        kind: value class; it is tried again when a key of this class has appeared or changed.
        argv: arguments of the handler from now on, if not those it was called with (XREAD's `$`).
        on_nokey: it is tried again too when a key has gone or has another type (XREADGROUP).
        denied_reply: what the client gets if it may not wait (MULTI, scripts).
    """

    __slots__ = ("argv", "denied_reply", "keys", "kind", "on_nokey", "timeout_ms", "timeout_reply")

    def __init__(
        self,
        keys: tuple[bytes, ...],
        timeout_ms: int,
        kind: type,
        timeout_reply: Reply,
        argv: tuple[bytes, ...] | None = None,
        *,
        on_nokey: bool = False,
        denied_reply: Reply | None = None,
    ) -> None:
        self.keys = keys
        self.timeout_ms = timeout_ms
        self.kind = kind
        self.timeout_reply = timeout_reply
        self.argv = argv
        self.on_nokey = on_nokey
        self.denied_reply = timeout_reply if denied_reply is None else denied_reply

    def encode(self, resp: int) -> bytes:
        """Return the reply of one that may not wait."""
        reply = self.denied_reply
        return reply if isinstance(reply, bytes) else reply.encode(resp)


class Scope(Enum):
    """Where a command's handler runs."""

    KEYSPACE = auto()
    CLIENT = auto()
    SERVER = auto()
    SCRIPT = auto()


class LockScope(Enum):
    """What a one-shot spanning command locks in each partition that takes part."""

    KEYS = auto()  # its keys, in the partitions that own them
    DB = auto()  # the client's database, in every partition
    STORE = auto()  # every database, in every partition
    NOTHING = auto()  # no lock: it only collects the workers' answers


@dataclass(frozen=True, slots=True)
class PartAnswer:
    """What one partition answered to its part of a spanning command.

    Attributes:
        worker: who answered.
        keys: positions, among the command's keys, of the keys in this part.
        reply: encoded bytes, or a list of encoded items if the handler returned an `Array`.
    """

    worker: int
    keys: tuple[int, ...]
    reply: bytes | list[bytes]


Merge = Callable[[Sequence[PartAnswer]], Reply]


@dataclass(frozen=True, slots=True)
class Spanning:
    """How a one-shot command is done by several partitions.

    Attributes:
        locks: what each part locks.
        merge: makes the reply of the parts' answers; an error in any part is the reply before it is
            asked.
        part: handler of a part, if it is not the command's own.
        prepare: `prepare(client, args) -> args` run at the home, for what a part must know of the
            caller.
        supervisor: the supervisor answers too, as worker -1, with one JSON document of its own
            figures.
        slot: `slot(*args)` is the one slot that these arguments concern, None if there are others;
            a script may make such a call in the slot's partition.
    """

    locks: LockScope
    merge: Merge
    part: Handler | None = None
    prepare: Callable[[Any, tuple[bytes, ...]], tuple[bytes, ...]] | None = None
    supervisor: bool = False
    slot: Callable[..., int | None] | None = None


@dataclass(frozen=True, slots=True)
class Borrowed:
    """What is special about a command that runs over borrowed values (`worker/borrowing.py`).

    Attributes:
        lend: `lend(argv, key, value) -> value` makes the smaller value that will do in place of
            the one stored at key, for a command that needs little of it; None if anything of the
            type will do. It raises nothing.
        apart: `apart(argv, reply) -> commands`: an effect with keys in several partitions as
            effects with one key each, the key as their first argument; without it the changed
            values go back whole.
        database: argv -> the database of the keys that it overwrites, None for the client's.
    """

    lend: Callable[[Sequence[bytes], bytes, Any], Any] | None = None
    apart: Callable[[Sequence[bytes], bytes], Sequence[Sequence[bytes]]] | None = None
    database: Callable[[Sequence[bytes]], int | None] | None = None


UNLOGGED: Final[dict[bytes, Callable[..., None]]] = {}
"""Effects that are no commands, by a name that no command can have: `handler(ks, key, *args)` makes
the change at the owner of the key, or where a value is lent. They are never logged.
Each name is one byte of its own, those in `worker/borrowing.py` (WAIT, TRACK) included.
"""


class NeedKeys(Exception):  # noqa: N818  no error: the command is run again
    """A command has found out that it needs more than is here; all is as before it ran.

    Attributes:
        keys: database and key of what it needs: it will be run again as a borrowing command that
            has these too.
        everything: under locks on all partitions.
        names: databases whose keys it wants to list.
    """

    def __init__(
        self,
        keys: Iterable[tuple[int, bytes]],
        *,
        everything: bool = False,
        names: Iterable[int] = (),
    ) -> None:
        super().__init__(keys)
        self.keys = tuple(keys)
        self.everything = everything
        self.names = tuple(names)


@dataclass(slots=True, eq=False)
class Command:
    """A command or subcommand with its handler and this worker's statistics of it.

    Attributes:
        guard: `guard(client)` raises ReplyError if this client may not call it at all; asked at the
            home, before authentication, as Redis does for DEBUG.
        calls, rejected, failed: since the start or CONFIG RESETSTAT.
        usec, timed: the time of so many of the calls, in microseconds.
        variants: how it runs if its first argument is one of these words: see `variant`.
    """

    name: bytes
    spec: CommandSpec
    handler: Handler
    scope: Scope
    spanning: Spanning | None
    write: bool
    no_auth: bool
    blocks: bool
    arity: int
    route: Callable[[list[bytes]], int] | None = None
    guard: Callable[[Any], None] | None = None
    subcommands: dict[bytes, Command] = field(default_factory=dict)
    variants: dict[bytes, Command] = field(default_factory=dict)
    borrowed: Borrowed | None = None
    calls: int = 0
    timed: int = 0
    usec: int = 0
    rejected: int = 0
    failed: int = 0
    on_keys: bool = True  # its handler gets the keyspace
    roams: bool = False  # what it runs into may make it need other keys: `NeedKeys`
    skip: int = 1  # leading arguments that are the name: 2 for a subcommand or a variant


COMMANDS: Final[dict[bytes, Command]] = {}
"""Commands and containers by lower-case name."""

_BY_SPELLING: Final[dict[bytes, Command]] = {}


def command(
    name: str,
    *,
    since: str,
    arity: int,
    group: str,
    flags: CommandFlag = CommandFlag.NONE,
    keys: tuple[KeySpec, ...] = (),
    acl: tuple[str, ...] = (),
    complexity: str = "",
    tips: tuple[str, ...] = (),
    scope: Scope = Scope.KEYSPACE,
    spanning: Spanning | None = None,
    route: Callable[[list[bytes]], int] | None = None,
    doc_flags: tuple[str, ...] = (),
    deprecated_since: str | None = None,
    replaced_by: str | None = None,
    history: tuple[tuple[str, str], ...] = (),
    key_flags: Callable[[Sequence[bytes]], tuple[str, ...]] | None = None,
    guard: Callable[[Any], None] | None = None,
    borrowed: Borrowed | None = None,
    writes: bool = False,
) -> Callable[[F], F]:
    """Declare a command; its summary is the first line of the handler's docstring.

    Args: as in `CommandSpec`; `name` is `SET`, or `CLIENT|KILL` for a subcommand, declared after
        its container. route: for a command without keys that one partition answers: argv -> slot of
        the partition (SCAN). guard: see `Command`. writes: it may write, though its flags do not
        say so (scripts): to locks, to pauses, and when its worker dies, it is a write.
    """

    def declare(handler: F) -> F:
        assert handler.__doc__, f"{name}: the docstring is the summary"
        spec = CommandSpec(
            name=name.lower(),
            arity=arity,
            flags=flags,
            since=since,
            group=group,
            summary=handler.__doc__.strip().splitlines()[0],
            complexity=complexity,
            keys=keys,
            acl=acl,
            tips=tips,
            doc_flags=doc_flags,
            deprecated_since=deprecated_since,
            replaced_by=replaced_by,
            history=history,
            key_flags=key_flags,
        )
        container, _, sub = spec.name.partition("|")
        entry = Command(
            name=spec.name.encode(),
            spec=spec,
            handler=handler,
            scope=scope,
            spanning=spanning,
            write=writes or CommandFlag.WRITE in flags,
            no_auth=CommandFlag.NO_AUTH in flags,
            blocks=CommandFlag.BLOCKING in flags,
            arity=arity,
            route=route,
            guard=guard,
            borrowed=borrowed,
            on_keys=scope in (Scope.KEYSPACE, Scope.SCRIPT),
            roams=scope is Scope.SCRIPT or any(one.unknown and one.find is None for one in keys),
        )
        table = COMMANDS
        if sub:
            table = COMMANDS[container.encode()].subcommands
            entry.skip = 2
        key = (sub or container).encode()
        assert key not in table, f"{name} is declared twice"
        table[key] = entry
        return handler

    return declare


def variant(
    of: str,
    word: str,
    *,
    arity: int,
    scope: Scope,
    keys: tuple[KeySpec, ...] = (),
    spanning: Spanning | None = None,
    write: bool = False,
    guard: Callable[[Any], None] | None = None,
) -> Callable[[F], F]:
    """Declare how the command `of` runs if its first argument is `word` and `arity` fits (DEBUG).

    Clients, COMMAND and the statistics know no subcommand by this name; it is the command itself,
    in a scope or with keys of its own. What fits no variant goes to the command's handler. `args`
    of the handler come after the word. guard: see `Command`; if not given, that of the command.
    """

    def declare(handler: F) -> F:
        base = COMMANDS[of.lower().encode()]
        key = word.lower().encode()
        assert key not in base.variants, f"{of} {word} is declared twice"
        base.variants[key] = Command(
            name=base.name,
            spec=replace(base.spec, arity=arity, keys=keys),
            handler=handler,
            scope=scope,
            spanning=spanning,
            write=write,
            no_auth=base.no_auth,
            blocks=False,
            arity=arity,
            guard=guard or base.guard,
            on_keys=scope is Scope.KEYSPACE,
            skip=2,
        )
        return handler

    return declare


def find(name: bytes) -> Command | None:
    """Return the command of a name in any spelling, None if there is none."""
    entry = _BY_SPELLING.get(name)
    if entry is None:
        entry = COMMANDS.get(name.lower())
        if entry is not None:  # bounded: a table entry has 2**len spellings, clients use one or two
            if len(_BY_SPELLING) > 8 * len(COMMANDS):
                _BY_SPELLING.clear()
            _BY_SPELLING[name] = entry
    return entry


def every_command() -> Iterator[Command]:
    """Yield each command of the table, a container's subcommands right after it."""
    for entry in COMMANDS.values():
        yield entry
        yield from entry.subcommands.values()


MAY_REPLICATE: Final = frozenset({b"publish", b"spublish", b"pfcount"})
"""What counts as a write without being one: a flag of Redis's that COMMAND does not tell."""


def may_change(command: Command) -> bool:
    """Tell whether a command may change keys, or be logged: whether CLIENT PAUSE WRITE holds it
    back, and a script that only reads may not call it.
    """
    return command.write or command.name in MAY_REPLICATE


def is_wide(command: Command) -> bool:
    """Tell whether a command runs in every partition."""
    return command.spanning is not None and not command.spec.keys


def spans_databases(command: Command, argv: Sequence[bytes], db: int) -> bool:
    """Tell whether a command has keys in another database than its client's, `db` (COPY, MOVE): it
    has to lock both, so it locks everything.
    """
    borrowed = command.borrowed
    if borrowed is None or borrowed.database is None:
        return False
    return borrowed.database(argv) not in (None, db)


def resolve(argv: list[bytes]) -> Command:
    """Return the command or subcommand argv calls, its arity checked.

    Raises: ReplyError for an unknown command or subcommand or a wrong number of arguments, with
        Redis's texts.
    """
    entry = find(argv[0])
    if entry is None:
        raise errors.unknown_command(argv)
    if entry.subcommands and len(argv) > 1:
        sub = entry.subcommands.get(argv[1].lower())
        if sub is None:
            raise errors.unknown_subcommand(entry.name, argv[1])
        entry = sub
    if entry.variants and len(argv) > 1:
        found = entry.variants.get(argv[1].lower())
        if found is not None and found.spec.arity_fits(len(argv)):
            return found
    arity = entry.arity
    if len(argv) != arity and (arity >= 0 or len(argv) < -arity):
        entry.rejected += 1
        raise errors.wrong_arity(entry.name)
    return entry


# -- merging, by response policy -------------------------------------------------------------------


def merge_sum(parts: Sequence[PartAnswer]) -> Reply:
    """Add up integer replies (response policy agg_sum)."""
    return b":%d\r\n" % sum(int(_encoded(part)[1:-2]) for part in parts)


def merge_same(parts: Sequence[PartAnswer]) -> Reply:
    """Return the one reply that all parts gave (response policy all_succeeded)."""
    return _encoded(parts[0])


def merge_arrays(parts: Sequence[PartAnswer]) -> Reply:
    """Join the parts' arrays, in the order of the workers."""
    return Array([item for part in parts for item in _items(part)])


def merge_by_key(parts: Sequence[PartAnswer]) -> Reply:
    """Put each part's items where the command named their keys (MGET)."""
    items: list[Reply] = [b""] * sum(len(part.keys) for part in parts)
    for part in parts:
        for at, item in zip(part.keys, _items(part), strict=True):
            items[at] = item
    return Array(items)


def _encoded(part: PartAnswer) -> bytes:
    assert isinstance(part.reply, bytes)
    return part.reply


def _items(part: PartAnswer) -> list[bytes]:
    assert isinstance(part.reply, list)
    return part.reply
