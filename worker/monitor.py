"""MONITOR's lines, and the commands that they show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shoal.proto.errors import ReplyError
from shoal.proto.numbers import parse_int32
from shoal.proto.quoting import quote_arg
from shoal.proto.spec import CommandFlag
from shoal.worker.registry import Command

if TYPE_CHECKING:
    from shoal.worker.client import Client

_HIDDEN: Final = CommandFlag.ADMIN | CommandFlag.SKIP_MONITOR
_REDACTED: Final = b"(redacted)"


def is_shown(command: Command, client: Client) -> bool:
    """Tell whether a command that this client sends is shown: administrative ones are not, nor what
    is refused for want of AUTH.
    """
    return not command.spec.flags & _HIDDEN and (client.authenticated or command.no_auth)


def shown_db(command: Command, client: Client, argv: list[bytes]) -> int:
    """Return the number of the database that is shown: the one after the command has run."""
    if command.name == b"reset":
        return 0
    if command.name != b"select":
        return client.db
    try:
        db = parse_int32(argv[1])
    except ReplyError:
        return client.db
    return db if 0 <= db < client.server.store.count else client.db


def command_line(
    time_us: int, client: Client, command: Command, argv: list[bytes], db: int
) -> bytes:
    """Return MONITOR's line of a command, a simple string; time_us since the epoch."""
    # A unix socket's address is its path and `:0`.
    address = b"unix:" + client.addr[:-2] if client.is_unix else client.addr
    words = b" ".join(map(quote_arg, _redacted(command, argv)))
    return b"+%d.%06d [%d %b] %b\r\n" % (*divmod(time_us, 1_000_000), db, address, words)


def _redacted(command: Command, argv: list[bytes]) -> list[bytes]:
    """Return the arguments without passwords."""
    if command.name == b"auth":
        return [argv[0], *[_REDACTED] * (len(argv) - 1)]
    if command.name not in (b"hello", b"migrate"):
        return argv
    shown = list(argv)
    at = 2
    while at < len(shown):
        option = shown[at].upper()
        follow = len(shown) - at - 1
        hidden = 0
        if command.name == b"hello":
            hidden = 2 if option == b"AUTH" and follow >= 2 else 0
        elif option == b"AUTH" and follow >= 1:
            hidden = 1
        elif option == b"AUTH2" and follow >= 2:
            hidden = 2
        elif option == b"KEYS":
            break
        shown[at + 1 : at + 1 + hidden] = [_REDACTED] * hidden
        at += 1 + hidden
    return shown
