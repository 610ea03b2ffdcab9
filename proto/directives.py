"""The configuration: every directive, declared once, as an attribute of Config.

A declaration says the type, the default, whether CONFIG SET may change it, which processes act on
it, and what it is for. Names, defaults, limits, error texts and the way values are printed are
redis-server 8.2's; where Shoal cannot do what a value asks for, only the default is accepted and
the error says why (`only=`).

    config = Config()
    config.set_at_start(b"timeout", [b"300"])    # a line of the configuration file
    config.timeout                               # 300, an int to mypy as well
    change = config.set_many([(b"hz", b"20")])   # CONFIG SET: ReplyError, or all of it at once
    config.undo(change)                          # when acting on it failed
    config.get_matching([b"max*"])               # CONFIG GET

Text is bytes on the outside (arguments, lines, replies). Inside, a value has the type its
declaration shows: paths and words are str (a path keeps what is no UTF-8 as surrogates, so os
functions find it), secrets are bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shoal.proto.directive_types import (
    INT_MAX,
    LLONG_MAX,
    UINT_MAX,
    ULLONG_MAX,
    BindDirective,
    BoolDirective,
    BufferLimit,
    BufferLimits,
    BufferLimitsDirective,
    ControlPathDirective,
    Directive,
    DirectiveError,
    DirNameDirective,
    EnumDirective,
    EventsDirective,
    IntDirective,
    MemoryDirective,
    Mutability,
    OctalDirective,
    PathDirective,
    SaveDirective,
    Scope,
    SecretDirective,
    SocketPathDirective,
    WorkersDirective,
)
from shoal.proto.errors import ReplyError, syntax_error
from shoal.proto.glob import glob_match
from shoal.proto.log_line import LEVELS

SUPERVISOR, WORKER, BOTH = Scope.SUPERVISOR, Scope.WORKER, Scope.BOTH
MUTABLE, IMMUTABLE, PROTECTED = Mutability.MUTABLE, Mutability.IMMUTABLE, Mutability.PROTECTED


@dataclass(frozen=True, slots=True)
class Change:
    """What one CONFIG SET changed, by attribute name of Config; equal values are in it as well."""

    before: dict[str, Any]
    after: dict[str, Any]


class Config:
    """The values of all directives. Read them as attributes; change them by the methods only."""

    # Listeners
    port = IntDirective(
        6379,
        SUPERVISOR,
        IMMUTABLE,
        "TCP port; 0 takes a free one (no TCP: an empty `bind`).",
        high=65535,
    )
    bind = BindDirective(
        ("*", "-::*"), SUPERVISOR, IMMUTABLE, "Addresses to listen on; `-` before an optional one."
    )
    unixsocket = SocketPathDirective("", SUPERVISOR, IMMUTABLE, "Unix socket to listen on.")
    unixsocketperm = OctalDirective(
        0,
        SUPERVISOR,
        IMMUTABLE,
        "Permissions of the unix socket, octal; 0 leaves them to the umask.",
        high=0o777,
        unsigned=True,
    )
    tcp_backlog = IntDirective(
        511, SUPERVISOR, IMMUTABLE, "Connections that may wait to be accepted, of each listener."
    )
    tcp_keepalive = IntDirective(
        300, BOTH, MUTABLE, "Seconds of silence before TCP asks if the client is there; 0: never."
    )
    protected_mode = BoolDirective(
        True, BOTH, MUTABLE, "Without a password, serve only clients of this machine."
    )
    maxclients = IntDirective(
        10_000,
        SUPERVISOR,
        MUTABLE,
        "Clients of all workers together; more are turned away.",
        low=1,
        high=UINT_MAX,
        unsigned=True,
    )
    timeout = IntDirective(
        0, WORKER, MUTABLE, "Seconds after which an idle client is disconnected; 0: never."
    )
    requirepass = SecretDirective(b"", BOTH, MUTABLE, "Password of the default user.")
    tracking_table_max_keys = IntDirective(
        1_000_000,
        WORKER,
        MUTABLE,
        "Keys that are tracked for client-side caching, in all partitions together; 0: no limit.",
        low=0,
        unsigned=True,
    )

    # Process
    workers = WorkersDirective(
        None,
        SUPERVISOR,
        IMMUTABLE,
        "Worker processes; auto is one for each CPU this process may use.",
    )
    control_socket = ControlPathDirective(
        "shoal.sock",
        SUPERVISOR,
        IMMUTABLE,
        "Unix socket of `shoal ctl`, permissions 0600; not absolute: in `dir`.",
    )
    dir = PathDirective(".", BOTH, PROTECTED, "Folder of the data; an existing one.")
    daemonize = BoolDirective(
        False,
        SUPERVISOR,
        IMMUTABLE,
        "Only no: leave running in the background to a service manager.",
        only="Shoal stays in the foreground; run it under a service manager, or with nohup and &",
    )
    pidfile = PathDirective("", SUPERVISOR, IMMUTABLE, "File to keep the supervisor's pid in.")
    loglevel = EnumDirective("notice", LEVELS, BOTH, MUTABLE, "How much is logged.")
    logfile = PathDirective("", SUPERVISOR, IMMUTABLE, "File to log to; empty for standard output.")
    shutdown_timeout = IntDirective(
        10, SUPERVISOR, MUTABLE, "Seconds a shutdown waits for the workers before it ends them."
    )
    enable_debug_command = EnumDirective(
        "no",
        ("no", "yes", "local"),
        BOTH,
        IMMUTABLE,
        "Who may use DEBUG: nobody, everybody, clients of this machine.",
    )
    hz = IntDirective(
        10, WORKER, MUTABLE, "Runs of the background tasks per second.", clamp=(1, 500)
    )
    dynamic_hz = BoolDirective(True, WORKER, MUTABLE, "Raise hz while there are many clients.")

    # Clients
    proto_max_bulk_len = MemoryDirective(
        512 * 1024**2,
        WORKER,
        MUTABLE,
        "Largest argument of a command, and largest string.",
        low=1024**2,
        high=LLONG_MAX,
    )
    client_query_buffer_limit = MemoryDirective(
        1024**3,
        WORKER,
        MUTABLE,
        "Largest unfinished command of a client, which is then disconnected.",
        low=1024**2,
        high=LLONG_MAX,
        unsigned=True,
    )
    client_output_buffer_limit = BufferLimitsDirective(
        BufferLimits(
            BufferLimit(0, 0, 0),
            BufferLimit(256 * 1024**2, 64 * 1024**2, 60),
            BufferLimit(32 * 1024**2, 8 * 1024**2, 60),
        ),
        WORKER,
        MUTABLE,
        "Replies a client may leave unread: class, hard limit, soft limit, seconds over it.",
    )

    # Keys
    databases = IntDirective(16, BOTH, IMMUTABLE, "Number of databases.", low=1)
    maxmemory = MemoryDirective(
        0,
        WORKER,
        MUTABLE,
        "Only 0, no limit.",
        high=ULLONG_MAX,
        unsigned=True,
        only="a memory limit is not implemented yet",
    )
    maxmemory_policy = EnumDirective(
        "noeviction",
        (
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "noeviction",
        ),
        WORKER,
        MUTABLE,
        "Only noeviction.",
        only="eviction is not implemented yet",
    )
    active_expire_effort = IntDirective(
        1, WORKER, MUTABLE, "How hard to look for expired keys.", low=1, high=10
    )
    lazyfree_lazy_user_del = BoolDirective(False, WORKER, MUTABLE, "Let DEL act as UNLINK.")
    lazyfree_lazy_user_flush = BoolDirective(
        False, WORKER, MUTABLE, "Let FLUSHALL and FLUSHDB act as with ASYNC."
    )
    notify_keyspace_events = EventsDirective(
        b"",
        WORKER,
        MUTABLE,
        "Which keyspace events are published: K and E the channels, then the classes.",
    )

    # Persistence
    appendonly = BoolDirective(True, BOTH, IMMUTABLE, "Log every change; Redis's default is no.")
    appendfsync = EnumDirective(
        "everysec",
        ("everysec", "always", "no"),
        WORKER,
        MUTABLE,
        "When the log is forced to the disk.",
    )
    appenddirname = DirNameDirective(
        "appendonlydir", BOTH, IMMUTABLE, "Folder of the log, in `dir`."
    )
    aof_load_truncated = BoolDirective(
        True, BOTH, MUTABLE, "Start with a log that ends in the middle of a command."
    )
    auto_aof_rewrite_percentage = IntDirective(
        0,
        WORKER,
        MUTABLE,
        "Only 0: the log is not rewritten by itself; Redis's default is 100.",
        only="automatic rewriting is not implemented yet",
    )
    save = SaveDirective(
        (),
        WORKER,
        MUTABLE,
        "Only empty: no snapshots by the clock.",
        only="snapshots by the clock are not implemented yet, the log (appendonly) keeps the data",
    )

    # Measurements
    slowlog_log_slower_than = IntDirective(
        10_000,
        WORKER,
        MUTABLE,
        "Microseconds from which on a command is in SLOWLOG; -1 for none.",
        low=-1,
        high=LLONG_MAX,
    )
    slowlog_max_len = IntDirective(
        128, WORKER, MUTABLE, "Commands SLOWLOG keeps, in each worker.", high=LLONG_MAX
    )
    latency_monitor_threshold = IntDirective(
        0,
        WORKER,
        MUTABLE,
        "Milliseconds from which on LATENCY records an event; 0 for none.",
        high=LLONG_MAX,
    )

    # Sizes up to which OBJECT ENCODING reports the compact form
    list_max_listpack_size = IntDirective(
        -2,
        WORKER,
        MUTABLE,
        "Entries of a list's listpack; -1 to -5 for 4, 8, 16, 32, 64 kB.",
        low=-INT_MAX - 1,
        alias="list-max-ziplist-size",
    )
    hash_max_listpack_entries = IntDirective(
        512,
        WORKER,
        MUTABLE,
        "Fields of a listpack hash.",
        high=LLONG_MAX,
        unsigned=True,
        alias="hash-max-ziplist-entries",
    )
    hash_max_listpack_value = MemoryDirective(
        64,
        WORKER,
        MUTABLE,
        "Bytes of a field or value of a listpack hash.",
        high=LLONG_MAX,
        unsigned=True,
        alias="hash-max-ziplist-value",
    )
    set_max_intset_entries = IntDirective(
        512, WORKER, MUTABLE, "Members of an intset.", high=LLONG_MAX, unsigned=True
    )
    set_max_listpack_entries = IntDirective(
        128, WORKER, MUTABLE, "Members of a listpack set.", high=LLONG_MAX, unsigned=True
    )
    set_max_listpack_value = IntDirective(
        64, WORKER, MUTABLE, "Bytes of a member of a listpack set.", high=LLONG_MAX, unsigned=True
    )
    zset_max_listpack_entries = IntDirective(
        128,
        WORKER,
        MUTABLE,
        "Members of a listpack sorted set.",
        high=LLONG_MAX,
        unsigned=True,
        alias="zset-max-ziplist-entries",
    )
    zset_max_listpack_value = MemoryDirective(
        64,
        WORKER,
        MUTABLE,
        "Bytes of a member of a listpack sorted set.",
        high=LLONG_MAX,
        unsigned=True,
        alias="zset-max-ziplist-value",
    )
    stream_node_max_bytes = MemoryDirective(
        4096, WORKER, MUTABLE, "Bytes of a node of a stream.", high=LLONG_MAX, unsigned=True
    )
    stream_node_max_entries = IntDirective(
        100, WORKER, MUTABLE, "Entries of a node of a stream; 0: no limit.", high=LLONG_MAX
    )
    hll_sparse_max_bytes = MemoryDirective(
        3000, WORKER, MUTABLE, "Bytes of a sparse HyperLogLog.", high=LLONG_MAX, unsigned=True
    )

    # Scripts
    busy_reply_threshold = IntDirective(
        5000,
        WORKER,
        MUTABLE,
        "Milliseconds after which a script is slow: others are told BUSY; 0 or less: never.",
        high=LLONG_MAX,
        alias="lua-time-limit",
    )

    def __init__(self) -> None:
        """Start with the defaults, read from no file."""
        self.file = ""  # absolute path of the configuration file
        for directive in DIRECTIVES:
            self.__dict__[directive.attribute] = directive.default

    def get(self, name: str) -> Any:
        """Return the value of the directive of that name (`tcp-backlog`); KeyError if none."""
        return self.__dict__[BY_NAME[name.encode()].attribute]

    def get_matching(self, patterns: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
        """Return name and text of each directive that matches a glob pattern, in any case.

        A directive that is asked for by its name is called as it was spelled there.
        """
        patterns = list(patterns)
        found = []
        for name, directive in BY_NAME.items():
            first = next((p for p in patterns if glob_match(p, name, nocase=True)), None)
            if first is not None:
                text = directive.render(self.__dict__[directive.attribute])
                found.append((first if first.lower() == name else name, text))
        return found

    def set_many(self, pairs: Sequence[tuple[bytes, bytes]]) -> Change:
        """Change directives as CONFIG SET does: all of them, or none.

        This only checks and stores the values. To act on them (tell the workers of `scope`, ...) is
        up to the caller, who calls `undo` and answers `set_failed` if that goes wrong.

        Raises: ReplyError with Redis's text.
        """
        chosen: list[tuple[bytes, Directive[Any], bytes]] = []
        names: set[bytes] = set()
        for name, text in pairs:
            lower = name.lower()
            directive = BY_NAME.get(lower)
            if directive is None:
                raise unknown_option(name)
            if directive.mutability is not MUTABLE:
                raise set_failed(name, directive.mutability.value)
            if lower in names:
                raise set_failed(name, "duplicate parameter")
            names.add(lower)
            chosen.append((lower, directive, text))
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        for lower, directive, text in chosen:
            key = directive.attribute
            before[key] = self.__dict__[key]
            try:
                value = directive.parse(text, after.get(key, before[key]))
                after[key] = directive.accept(value)
            except DirectiveError as error:
                raise set_failed(lower, str(error)) from None
        self.__dict__.update(after)
        return Change(before, after)

    def undo(self, change: Change) -> None:
        """Bring back the values from before the change."""
        self.__dict__.update(change.before)

    def set_at_start(self, name: bytes, args: Sequence[bytes]) -> None:
        """Set a directive from a line of the configuration file, immutable ones too.

        Raises: DirectiveError; KeyError if there is no such directive.
        """
        directive = BY_NAME[name.lower()]
        current = self.__dict__[directive.attribute]
        value = directive.accept(directive.parse_args(args, current))
        self.__dict__[directive.attribute] = value

    def in_dir(self, path: str) -> str:
        """Return the path a path directive means: one that is not absolute starts in `dir`."""
        return path if path.startswith("/") else f"{self.dir.rstrip('/')}/{path}"


DIRECTIVES: Final[tuple[Directive[Any], ...]] = tuple(
    value for value in vars(Config).values() if isinstance(value, Directive)
)
"""All directives, as declared."""

BY_NAME: Final[dict[bytes, Directive[Any]]] = {
    name.encode(): directive
    for directive in DIRECTIVES
    for name in (directive.name, directive.alias)
    if name
}
"""The directives by name and alias, both lower case, in the order of CONFIG GET."""


def pairs_of(args: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Pair up the arguments of CONFIG SET; ReplyError if one is left over."""
    if len(args) % 2:
        raise syntax_error()
    return list(zip(args[::2], args[1::2], strict=True))


def set_failed(name: bytes, reason: str) -> ReplyError:
    """Build the error of a CONFIG SET that is not carried out because of the directive `name`."""
    return ReplyError(
        b"ERR CONFIG SET failed (possibly related to argument '%b') - %b" % (name, reason.encode())
    )


def unknown_option(name: bytes) -> ReplyError:
    """Build the error of CONFIG SET for a directive that does not exist."""
    return ReplyError(b"ERR Unknown option or number of arguments for CONFIG SET - '%b'" % name)
