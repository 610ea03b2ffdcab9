"""A client without its socket: what commands may know and change of the connection they came on."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from shoal.proto.replies import Node
from shoal.worker.registry import LATER

if TYPE_CHECKING:
    from shoal.worker.broker import Subscriptions
    from shoal.worker.multi import Transaction, Watching
    from shoal.worker.server import Server
    from shoal.worker.tracking import Caching


class ReplyMode(Enum):
    """CLIENT REPLY: whether the client wants replies."""

    ON = auto()
    OFF = auto()
    SKIP_NEXT = auto()  # CLIENT REPLY SKIP itself: it has no reply, then SKIP
    SKIP = auto()  # the reply to this command is left out, then ON


DEFAULT_USER: Final = b"default"


class Client:
    """A connected client.

    Attributes:
        id: unique over all workers and restarts of them, ascending in the order of arrival.
        addr, laddr: `ip:port` of either end; for a unix socket `path:0`.
        fd: number of the socket in this worker.
        db: selected database.
        resp: protocol version, 2 or 3.
        authenticated: False while a password is wanted.
        created_ms, last_ms: wall clock of the connection and of its last command, ms since the
            epoch.
        last_command: name of the last command, `client|list` style, in any case; NULL before it.
        input_bytes, output_bytes: received and sent since the connection, in bytes.
        close_after_reply: the connection closes once what is queued has been sent.
        multi: what was queued since MULTI, None outside; kept_multi: the same object, kept for the
            next MULTI; watching: the keys of WATCH, None for none.
        pubsub: what it has subscribed to, None for nothing; MONITOR counts.
        tracking: of client-side caching, None while that is off; changed by `Tracking.set_state`.
    """

    __slots__ = (
        "addr",
        "authenticated",
        "close_after_reply",
        "commands",
        "created_ms",
        "db",
        "fd",
        "id",
        "input_bytes",
        "is_unix",
        "kept_multi",
        "laddr",
        "last_command",
        "last_ms",
        "lib_name",
        "lib_ver",
        "link",
        "multi",
        "name",
        "no_evict",
        "no_touch",
        "output_bytes",
        "pubsub",
        "reply_mode",
        "resp",
        "server",
        "tracking",
        "user",
        "watching",
    )

    def __init__(self, server: Server, client_id: int, addr: bytes, laddr: bytes, fd: int) -> None:
        """Describe a client that has just connected to `server`."""
        self.server = server
        self.id = client_id
        self.addr, self.laddr, self.fd = addr, laddr, fd
        self.is_unix = False
        self.name = b""
        self.lib_name = b""
        self.lib_ver = b""
        self.user = DEFAULT_USER
        self.db = 0
        self.resp = 2
        self.authenticated = not server.config.get("requirepass")
        self.no_evict = False
        self.no_touch = False
        self.reply_mode = ReplyMode.ON
        self.created_ms = self.last_ms = server.store.now_ms
        self.last_command = b"NULL"
        self.input_bytes = self.output_bytes = 0
        self.commands = 0
        self.close_after_reply = False
        self.multi: Transaction | None = None
        self.kept_multi: Transaction | None = None
        self.watching: Watching | None = None
        self.pubsub: Subscriptions | None = None
        self.tracking: Caching | None = None
        self.link: Link = _NO_LINK

    def select(self, db: int) -> None:
        """Change the database. Raises: ReplyError if there is no such database."""
        self.server.store.database(db)
        self.db = db
        self.link.state_changed()

    def set_protocol(self, resp: int) -> None:
        """Change the protocol version for the replies to come, this command's own included."""
        self.resp = resp
        self.link.state_changed()

    def set_authenticated(self, user: bytes) -> None:
        """Let the client in as `user`."""
        self.authenticated, self.user = True, user
        self.link.state_changed()

    def set_reply_mode(self, mode: ReplyMode) -> None:
        """Change CLIENT REPLY."""
        self.reply_mode = mode
        self.link.state_changed()

    def reset(self) -> None:
        """Return to the state of a new connection, the name included (RESET).

        What CLIENT SETINFO said stays: the library behind the connection is still the same.
        """
        self.forget_transaction()
        if self.tracking is not None:
            self.server.tracking.end(self)
        self.db, self.resp, self.name = 0, 2, b""
        self.user = DEFAULT_USER
        self.authenticated = not self.server.config.get("requirepass")
        self.no_evict = self.no_touch = False
        if self.reply_mode is ReplyMode.OFF:  # a SKIP stays: it skips the reply to RESET itself
            self.reply_mode = ReplyMode.ON
        self.link.state_changed()

    def forget_transaction(self) -> None:
        """Drop what was queued, and what is watched."""
        if self.multi is not None or self.watching is not None:
            self.server.transactions.discard(self)

    def gone(self) -> None:
        """The connection has closed."""
        if self.kept_multi is not None or self.watching is not None:
            self.server.transactions.client_gone(self)
        if self.tracking is not None:
            self.server.tracking.end(self)

    def close_soon(self) -> None:
        """Close the connection after the replies queued so far and the current one (QUIT)."""
        self.close_after_reply = True

    def call_supervisor(self, *request: Any) -> Node:
        """Send the supervisor a request (marshal-able values, its name first); return LATER.

        The reply the supervisor gives takes the place of this command's reply; until then the
        client's further commands wait.
        """
        self.link.call_supervisor(request)
        return LATER

    # What CLIENT LIST shows of the connection's buffers, in bytes.

    @property
    def query_bytes(self) -> int:
        """Bytes received that are no complete command yet."""
        return self.link.query_bytes()

    @property
    def output_queue(self) -> tuple[int, int]:
        """Number and bytes of the replies that are queued and not sent."""
        return self.link.output_queue()

    @property
    def is_paused(self) -> bool:
        """Whether CLIENT PAUSE holds a command of this client back."""
        return self.link.is_paused()


class Link:
    """What a client needs of its connection; `worker/connection.py` implements it."""

    def state_changed(self) -> None:
        """The database, protocol, authentication or reply mode changed."""

    def call_supervisor(self, request: tuple[Any, ...]) -> None:
        """Send a request whose answer will be this command's reply."""
        raise NotImplementedError

    def close(self, reason: str) -> None:
        """Close the connection now, queued replies unsent."""

    def push(self, data: bytes) -> None:
        """Send bytes that are no reply, in front of replies that have not come."""

    def push_behind(self, data: bytes, *, ahead: bool = False) -> None:
        """Send bytes that are no reply, behind replies that have come; see `Connection`."""

    def query_bytes(self) -> int:
        """Return the bytes of the incomplete command."""
        return 0

    def output_queue(self) -> tuple[int, int]:
        """Return number and bytes of the replies not sent."""
        return 0, 0

    def is_paused(self) -> bool:
        """Tell whether CLIENT PAUSE holds a command of the client back."""
        return False

    def is_blocked(self) -> bool:
        """Tell whether the client is in a blocking command."""
        return False

    def unblock(self, *, with_error: bool) -> bool:
        """End a blocking command as after its timeout, or with an error; tell whether there is
        one.
        """
        return False


_NO_LINK: Final = Link()
