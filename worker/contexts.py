"""The tables of connections that may not call everything, or whose commands are shown to others.

A connection finds the fused commands in its `hot` (`worker/dispatch.py`): a function of a command's
name that returns a method of argv, or None for the generic way. While a client is subscribed in
RESP2, or runs MONITOR, or somebody else does, that function is one of these. So what they do costs
nothing for everybody else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from shoal.proto import errors
from shoal.proto.replies import bulk
from shoal.proto.spec import CommandFlag
from shoal.worker.monitor import command_line, is_shown, shown_db
from shoal.worker.registry import COMMANDS, MAY_REPLICATE, Command, find

if TYPE_CHECKING:
    from shoal.worker.broker import Broker
    from shoal.worker.client import Client

Find = Callable[[bytes], Any]

# What a client may call in RESP2 that has subscribed to something.
_ALLOWED: Final = frozenset(
    {
        b"subscribe",
        b"unsubscribe",
        b"psubscribe",
        b"punsubscribe",
        b"ssubscribe",
        b"sunsubscribe",
        b"ping",
        b"quit",
        b"reset",
    }
)
_READS_OR_WRITES: Final = CommandFlag.WRITE | CommandFlag.READONLY | CommandFlag.MAY_REPLICATE


def find_for(
    client: Client,
    find_hot: Find,
    broker: Broker,
    count_error: Callable[[bytes], None],
    *,
    plain: bool,
) -> Find:
    """Return how a connection finds its commands.

    Args:
        find_hot: how it would find the fused ones.
        count_error: told the text of an error reply.
        plain: nothing holds its commands or replies back.
    """
    subs = client.pubsub
    in_context = subs is not None and subs.is_subscriber and client.resp == 2
    if in_context:
        find_hot = _find_ping if plain else find_nothing
    elif subs is not None:
        find_hot = _without_publish(find_hot)
    if broker.fed:
        find_hot = Watched(client, broker, find_hot)
    if subs is not None and subs.is_monitor:
        find_hot = Restricted(find_hot, _refuse_keyspace, count_error)
    if in_context:
        find_hot = Restricted(find_hot, _refuse_others, count_error)
    return find_hot


def called(argv: list[bytes]) -> Command | None:
    """Return the command or subcommand that argv calls, None if there is an error in that."""
    entry = find(argv[0])
    if entry is None:
        return None
    if entry.subcommands and len(argv) > 1:
        entry = entry.subcommands.get(argv[1].lower())
    elif entry.subcommands:
        return None
    return entry if entry is not None and entry.spec.arity_fits(len(argv)) else None


class Restricted:
    """Refuses some commands, behind the checks that come first."""

    __slots__ = ("_count_error", "_find", "_refuse")

    def __init__(
        self,
        find_inner: Find,
        refuse: Callable[[Command], errors.ReplyError | None],
        count_error: Callable[[bytes], None],
    ) -> None:
        """Find what is not refused by `find_inner`."""
        self._find = find_inner
        self._refuse = refuse
        self._count_error = count_error

    def __call__(self, _: bytes) -> Any:
        """Return what runs the command of this name."""
        return self._run

    def _run(self, argv: list[bytes]) -> Any:
        entry = called(argv)
        error = None if entry is None else self._refuse(entry)
        if error is None:
            inner = self._find(argv[0])
            return None if inner is None else inner(argv)
        assert entry is not None
        entry.rejected += 1
        self._count_error(error.text)
        return (error.encode(),)  # a tuple: CLIENT REPLY may keep it back


class Watched:
    """Shows a client's commands to those who MONITOR."""

    __slots__ = ("_broker", "_client", "_find", "_last")

    def __init__(self, client: Client, broker: Broker, find_inner: Find) -> None:
        """Find the commands by `find_inner`."""
        self._client = client
        self._broker = broker
        self._find = find_inner
        self._last: list[bytes] | None = None

    def __call__(self, _: bytes) -> Any:
        """Return what runs the command of this name."""
        return self._run

    def _run(self, argv: list[bytes]) -> Any:
        if argv is not self._last:  # else it had to wait, and was shown before
            entry = called(argv)
            if entry is None or not self._broker.is_paused(entry):
                self._last = argv
                if entry is not None and is_shown(entry, self._client):
                    self._show(entry, argv)
        inner = self._find(argv[0])
        return None if inner is None else inner(argv)

    def _show(self, entry: Command, argv: list[bytes]) -> None:
        client = self._client
        db = shown_db(entry, client, argv)
        line = command_line(client.server.time_us(), client, entry, argv, db)
        self._broker.feed(line, client if entry.name == b"reset" else None)


def _refuse_others(entry: Command) -> errors.ReplyError | None:
    return None if entry.name in _ALLOWED else errors.not_while_subscribed(entry.name)


def _refuse_keyspace(entry: Command) -> errors.ReplyError | None:
    touches = entry.spec.flags & _READS_OR_WRITES or entry.name in MAY_REPLICATE
    return errors.not_while_monitoring() if touches else None


def _ping(argv: list[bytes]) -> tuple[bytes] | None:
    """PING as a message, which a client that only reads messages can take."""
    if len(argv) > 2:
        return None
    COMMANDS[b"ping"].calls += 1
    return (b"*2\r\n$4\r\npong\r\n" + bulk(argv[1] if len(argv) == 2 else b""),)


def _without_publish(find_hot: Find) -> Find:
    """Let PUBLISH go the generic way, behind which the publisher's own message comes at once."""

    def find_other(name: bytes) -> Any:
        return None if name.lower() == b"publish" else find_hot(name)

    return find_other


def _find_ping(name: bytes) -> Any:
    return _ping if name.lower() == b"ping" else None


def find_nothing(_: bytes) -> Any:
    """Let every command go the generic way."""
    return None
