"""CLIENT: what a connection says about itself, and what one may do to others.

Subcommands about the caller run at its home. Those about others (LIST, KILL, PAUSE, UNPAUSE,
UNBLOCK) run on every worker, each over the clients it holds. Their `prepare` finds every error in
the arguments before a worker does anything, and tells the workers what they cannot know: who calls,
and by which clock a pause ends. So where a part's arguments begin with `caller`, that is the
caller's id, and the rest is what the client sent.

The id of a client is unique over all workers and ascends, so CLIENT LIST is sorted by it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shoal.proto import errors
from shoal.proto.numbers import INT64_MAX, parse_int
from shoal.proto.replies import (
    NULL,
    NULL_BULK_2,
    OK,
    ONE,
    ZERO,
    Array,
    Reply,
    array,
    bulk,
    integer,
    map_reply,
    set_reply,
    simple,
    verbatim,
)
from shoal.proto.spec import CommandFlag
from shoal.worker.client import DEFAULT_USER, Client, ReplyMode
from shoal.worker.registry import (
    LockScope,
    PartAnswer,
    Scope,
    Spanning,
    command,
    merge_same,
    merge_sum,
)
from shoal.worker.server import Server
from shoal.worker.tracking import check_caching, parse_options

COMMON: Final = CommandFlag.NOSCRIPT | CommandFlag.LOADING | CommandFlag.STALE
ADMIN: Final = CommandFlag.ADMIN | COMMON

CONNECTION: Final = ("connection",)
ALL_NODES: Final = ("request_policy:all_nodes", "response_policy:all_succeeded")

Args = tuple[bytes, ...]

_PRINTABLE: Final = re.compile(rb"[!-~]*")


def check_name(name: bytes) -> None:
    """Raise ReplyError for a client's name that would spoil the lines of CLIENT LIST."""
    _check_printable(b"Client names", name)


def _check_printable(what: bytes, text: bytes) -> None:
    if _PRINTABLE.fullmatch(text) is None:
        raise errors.special_characters(what)


def _is_on(word: bytes) -> bool:
    word = word.upper()
    if word not in (b"ON", b"OFF"):
        raise errors.syntax_error()
    return word == b"ON"


def _with_caller(client: Client, args: Args) -> Args:
    return (b"%d" % client.id, *args)


@command(
    "CLIENT",
    since="2.4.0",
    arity=-2,
    group="connection",
    complexity="Depends on subcommand.",
    scope=Scope.CLIENT,
)
def client_(_: Client, *__: bytes) -> Reply:
    """A container for client connection commands."""
    raise AssertionError("a subcommand runs, or there is an error before")


# -- about the caller ------------------------------------------------------------------------------


@command(
    "CLIENT|ID",
    since="5.0.0",
    arity=2,
    group="connection",
    flags=COMMON,
    acl=CONNECTION,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def client_id(client: Client) -> Reply:
    """Returns the unique client ID of the connection."""
    return integer(client.id)


@command(
    "CLIENT|INFO",
    since="6.2.0",
    arity=2,
    group="connection",
    flags=COMMON,
    acl=CONNECTION,
    complexity="O(1)",
    tips=("nondeterministic_output",),
    scope=Scope.CLIENT,
)
def client_info(client: Client) -> Reply:
    """Returns information about the connection."""
    return verbatim(describe(client, client.id))


@command(
    "CLIENT|SETNAME",
    since="2.6.9",
    arity=3,
    group="connection",
    flags=COMMON,
    acl=CONNECTION,
    complexity="O(1)",
    tips=ALL_NODES,
    scope=Scope.CLIENT,
)
def client_setname(client: Client, name: bytes) -> Reply:
    """Sets the connection name."""
    check_name(name)
    client.name = name
    return OK


@command(
    "CLIENT|GETNAME",
    since="2.6.9",
    arity=2,
    group="connection",
    flags=COMMON,
    acl=CONNECTION,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def client_getname(client: Client) -> Reply:
    """Returns the name of the connection."""
    return bulk(client.name) if client.name else NULL


@command(
    "CLIENT|SETINFO",
    since="7.2.0",
    arity=4,
    group="connection",
    flags=COMMON,
    acl=CONNECTION,
    complexity="O(1)",
    tips=ALL_NODES,
    scope=Scope.CLIENT,
)
def client_setinfo(client: Client, option: bytes, value: bytes) -> Reply:
    """Sets information specific to the client or connection."""
    attribute = {b"LIB-NAME": "lib_name", b"LIB-VER": "lib_ver"}.get(option.upper())
    if attribute is None:
        raise errors.unrecognized_option(option)
    _check_printable(option, value)
    setattr(client, attribute, value)
    return OK


@command(
    "CLIENT|NO-EVICT",
    since="7.0.0",
    arity=3,
    group="connection",
    flags=ADMIN,
    acl=CONNECTION,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def client_no_evict(client: Client, enabled: bytes) -> Reply:
    """Sets the client eviction mode of the connection."""
    client.no_evict = _is_on(enabled)
    return OK


@command(
    "CLIENT|NO-TOUCH",
    since="7.2.0",
    arity=3,
    group="connection",
    flags=COMMON,
    acl=CONNECTION,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def client_no_touch(client: Client, enabled: bytes) -> Reply:
    """Controls whether commands sent by the client affect the LRU/LFU of accessed keys."""
    client.no_touch = _is_on(enabled)
    return OK


@command(
    "CLIENT|REPLY",
    since="3.2.0",
    arity=3,
    group="connection",
    flags=COMMON,
    acl=CONNECTION,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def client_reply(client: Client, action: bytes) -> Reply:
    """Instructs the server whether to reply to commands."""
    action = action.upper()
    if action == b"ON":
        client.set_reply_mode(ReplyMode.ON)
    elif action == b"OFF":
        client.set_reply_mode(ReplyMode.OFF)
    elif action != b"SKIP":
        raise errors.syntax_error()
    elif client.reply_mode is not ReplyMode.OFF:
        client.set_reply_mode(ReplyMode.SKIP_NEXT)
    return OK  # which only ON lets out


@command(
    "CLIENT|GETREDIR",
    since="6.0.0",
    arity=2,
    group="connection",
    flags=COMMON,
    acl=CONNECTION,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def client_getredir(client: Client) -> Reply:
    """Returns the client ID to which the connection's tracking notifications are redirected."""
    return integer(_redirect(client))


def _redirect(client: Client) -> int:
    return -1 if client.tracking is None else client.tracking.redirect


@command(
    "CLIENT|TRACKING",
    since="6.0.0",
    arity=-3,
    group="connection",
    flags=COMMON,
    acl=CONNECTION,
    complexity="O(1). Some options may introduce additional complexity.",
    scope=Scope.CLIENT,
)
def client_tracking(client: Client, *args: bytes) -> Reply:
    """Controls server-assisted client-side caching for the connection."""
    return client.server.broker.track(client, parse_options(args))


@command(
    "CLIENT|CACHING",
    since="6.0.0",
    arity=3,
    group="connection",
    flags=COMMON,
    acl=CONNECTION,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def client_caching(client: Client, mode: bytes) -> Reply:
    """Instructs the server whether to track the keys in the next request."""
    check_caching(client.tracking, mode)
    assert client.tracking is not None
    client.tracking.given = True
    return OK


@command(
    "CLIENT|TRACKINGINFO",
    since="6.2.0",
    arity=2,
    group="connection",
    flags=COMMON,
    acl=CONNECTION,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def client_trackinginfo(client: Client) -> Reply:
    """Returns information about server-assisted client-side caching for the connection."""
    state = client.tracking
    flags, prefixes = [b"off"], []
    if state is not None:
        prefixes = sorted(state.prefixes)
        words = [
            (True, b"on"),
            (state.bcast, b"bcast"),
            (state.optin, b"optin"),
            (state.optin and state.given, b"caching-yes"),
            (state.optout, b"optout"),
            (state.optout and state.given, b"caching-no"),
            (state.noloop, b"noloop"),
            (state.broken, b"broken_redirect"),
        ]
        flags = [word for is_set, word in words if is_set]
    return map_reply(
        [
            (bulk(b"flags"), set_reply(list(map(bulk, flags)))),
            (bulk(b"redirect"), integer(_redirect(client))),
            (bulk(b"prefixes"), array(list(map(bulk, prefixes)))),
        ]
    )


_HELP: Final = (
    b"CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"CACHING (YES|NO)",
    b"    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
    b"GETREDIR",
    b"    Return the client ID we are redirecting to when tracking is enabled.",
    b"GETNAME",
    b"    Return the name of the current connection.",
    b"ID",
    b"    Return the ID of the current connection.",
    b"INFO",
    b"    Return information about the current client connection.",
    b"KILL <ip:port>",
    b"    Kill connection made from <ip:port>.",
    b"KILL <option> <value> [<option> <value> [...]]",
    b"    Kill connections. Options are:",
    b"    * ADDR (<ip:port>|<unixsocket>:0)",
    b"      Kill connections made from the specified address",
    b"    * LADDR (<ip:port>|<unixsocket>:0)",
    b"      Kill connections made to specified local address",
    b"    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    b"      Kill connections by type.",
    b"    * USER <username>",
    b"      Kill connections authenticated by <username>.",
    b"    * SKIPME (YES|NO)",
    b"      Skip killing current connection (default: yes).",
    b"    * ID <client-id>",
    b"      Kill connections by client id.",
    b"    * MAXAGE <maxage>",
    b"      Kill connections older than the specified age.",
    b"LIST [options ...]",
    b"    Return information about client connections. Options:",
    b"    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    b"      Return clients of specified type.",
    b"UNPAUSE",
    b"    Stop the current client pause, resuming traffic.",
    b"PAUSE <timeout> [WRITE|ALL]",
    b"    Suspend all, or just write, clients for <timeout> milliseconds.",
    b"REPLY (ON|OFF|SKIP)",
    b"    Control the replies sent to the current connection.",
    b"SETNAME <name>",
    b"    Assign the name <name> to the current connection.",
    b"SETINFO <option> <value>",
    b"    Set client meta attr. Options are:",
    b"    * LIB-NAME: the client lib name.",
    b"    * LIB-VER: the client lib version.",
    b"UNBLOCK <clientid> [TIMEOUT|ERROR]",
    b"    Unblock the specified blocked client.",
    b"TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    b"         [OPTIN] [OPTOUT] [NOLOOP]",
    b"    Control server assisted client side caching.",
    b"TRACKINGINFO",
    b"    Report tracking status for the current connection.",
    b"NO-EVICT (ON|OFF)",
    b"    Protect current client connection from eviction.",
    b"NO-TOUCH (ON|OFF)",
    b"    Will not touch LRU/LFU stats when this mode is on.",
    b"HELP",
    b"    Print this help.",
)


@command(
    "CLIENT|HELP",
    since="5.0.0",
    arity=2,
    group="connection",
    flags=CommandFlag.LOADING | CommandFlag.STALE,
    acl=CONNECTION,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def client_help(_: Client) -> Reply:
    """Returns helpful text about the different subcommands."""
    return array([simple(line) for line in _HELP])


# -- LIST ------------------------------------------------------------------------------------------

_TYPES: Final = frozenset({b"normal", b"master", b"slave", b"replica", b"pubsub"})
_NORMAL: Final = b"normal"
_PUBSUB: Final = b"pubsub"


def _parse_type(word: bytes) -> bytes:
    name = word.lower()
    if name not in _TYPES:
        raise errors.unknown_client_type(word)
    return name


def _type_of(client: Client) -> bytes:
    subs = client.pubsub
    return _PUBSUB if subs is not None and subs.is_subscriber else _NORMAL


def _flags(client: Client) -> bytes:
    subs = client.pubsub
    letters = [
        (client.multi is not None, b"x"),
        (subs is not None and subs.is_monitor, b"O"),
        (subs is not None and subs.is_subscriber, b"P"),
        (client.is_paused or client.link.is_blocked(), b"b"),
        (client.tracking is not None, b"t"),
        (client.tracking is not None and client.tracking.broken, b"R"),
        (client.tracking is not None and client.tracking.bcast, b"B"),
        (client.watching is not None and client.watching.touched, b"d"),
        (client.close_after_reply, b"c"),
        (client.is_unix, b"U"),
        (client.no_evict, b"e"),
        (client.no_touch, b"T"),
    ]
    return b"".join([letter for is_set, letter in letters if is_set]) or b"N"


def _subscriptions(client: Client) -> list[tuple[bytes, bytes]]:
    names = client.pubsub.names if client.pubsub is not None else ((), (), ())
    fields = zip((b"sub", b"psub", b"ssub"), names, strict=False)
    return [(field, b"%d" % len(topics)) for field, topics in fields]


def _last_command(client: Client) -> bytes:
    name = client.last_command
    return name if name == b"NULL" else name.lower()


def describe(client: Client, caller: int) -> bytes:
    """Return a client's line of CLIENT LIST, its newline included.

    Fields and order are those of Redis 8.2. Of Redis's buffers Shoal has no counterpart for those
    that are 0: it keeps what is no complete command (qbuf), what MULTI has queued (multi-mem) and
    the replies that are not sent (oll of them, omem bytes), and tot-mem is these together.

    Args:
        caller: id of the client that asks, whose running command does not count in tot-cmds.
    """
    now_ms = client.server.store.now_ms
    query = client.query_bytes
    replies, reply_bytes = client.output_queue
    multi_bytes = 0 if client.multi is None else client.multi.memory_bytes
    fields = [
        (b"id", b"%d" % client.id),
        (b"addr", client.addr),
        (b"laddr", client.laddr),
        (b"fd", b"%d" % client.fd),
        (b"name", client.name),
        (b"age", b"%d" % (max(now_ms - client.created_ms, 0) // 1000)),
        (b"idle", b"%d" % (max(now_ms - client.last_ms, 0) // 1000)),
        (b"flags", _flags(client)),
        (b"db", b"%d" % client.db),
        *_subscriptions(client),
        (b"multi", b"%d" % (-1 if client.multi is None else len(client.multi.commands))),
        (b"watch", b"%d" % (0 if client.watching is None else len(client.watching.keys))),
        (b"qbuf", b"%d" % query),
        (b"qbuf-free", b"0"),
        (b"argv-mem", b"0"),
        (b"multi-mem", b"%d" % multi_bytes),
        (b"rbs", b"0"),
        (b"rbp", b"0"),
        (b"obl", b"0"),
        (b"oll", b"%d" % replies),
        (b"omem", b"%d" % reply_bytes),
        (b"tot-mem", b"%d" % (query + reply_bytes + multi_bytes)),
        (b"events", b"rw" if reply_bytes else b"r"),
        (b"cmd", _last_command(client)),
        (b"user", client.user),
        (b"redir", b"%d" % _redirect(client)),
        (b"resp", b"%d" % client.resp),
        (b"lib-name", client.lib_name),
        (b"lib-ver", client.lib_ver),
        (b"io-thread", b"0"),
        (b"tot-net-in", b"%d" % client.input_bytes),
        (b"tot-net-out", b"%d" % client.output_bytes),
        (b"tot-cmds", b"%d" % (client.commands - (client.id == caller))),
    ]
    return b" ".join([b"%b=%b" % field for field in fields]) + b"\n"


@dataclass(frozen=True, slots=True)
class _Listed:
    """The filter of CLIENT LIST: a type, or ids in the order asked for; None for no filter."""

    type: bytes | None = None
    ids: tuple[int, ...] | None = None


def _parse_list(args: Args) -> _Listed:
    if not args:
        return _Listed()
    option = args[0].upper()
    if option == b"TYPE" and len(args) == 2:
        return _Listed(type=_parse_type(args[1]))
    if option == b"ID" and len(args) > 1:
        ids = [parse_int(arg) for arg in args[1:]]
        if None in ids:
            raise errors.invalid_client_id()
        return _Listed(ids=tuple([number for number in ids if number is not None]))
    raise errors.syntax_error()


def _check_list(client: Client, args: Args) -> Args:
    _parse_list(args)
    return _with_caller(client, args)


_RANK_DIGITS: Final = 20  # of a line's place in the list, in front of it, for the merge alone


def _merge_list(parts: Sequence[PartAnswer]) -> Reply:
    lines: list[bytes] = []
    for part in parts:
        assert isinstance(part.reply, list)
        lines += part.reply
    lines.sort()
    return verbatim(b"".join([line[_RANK_DIGITS:] for line in lines]))


@command(
    "CLIENT|LIST",
    since="2.4.0",
    arity=-2,
    group="connection",
    flags=ADMIN,
    acl=CONNECTION,
    complexity="O(N) where N is the number of client connections",
    tips=("nondeterministic_output",),
    history=(
        ("2.8.12", "Added unique client `id` field."),
        ("5.0.0", "Added optional `TYPE` filter."),
        ("6.0.0", "Added `user` field."),
        (
            "6.2.0",
            "Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the optional `ID` filter.",
        ),
        ("7.0.0", "Added `resp`, `multi-mem`, `rbs` and `rbp` fields."),
        ("7.0.3", "Added `ssub` field."),
        ("7.2.0", "Added `lib-name` and `lib-ver` fields."),
        ("7.4.0", "Added `watch` field."),
        ("8.0.0", "Added `io-thread` field."),
    ),
    scope=Scope.SERVER,
    spanning=Spanning(LockScope.NOTHING, _merge_list, prepare=_check_list),
)
def client_list(server: Server, caller: bytes, *args: bytes) -> Reply:
    """Lists open connections."""
    listed = _parse_list(args)
    clients = server.clients
    found: list[tuple[int, Client]]
    if listed.ids is None:
        found = [
            (client.id, client)
            for client in clients.values()
            if listed.type in (None, _type_of(client))
        ]
    else:
        found = [(at, clients[number]) for at, number in enumerate(listed.ids) if number in clients]
    asking = int(caller)
    return Array([b"%020d%b" % (rank, describe(client, asking)) for rank, client in found])


# -- KILL ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Kill:
    """The filters of CLIENT KILL, all of which a client has to pass; None for no filter.

    Attributes:
        addr, laddr: as CLIENT LIST shows them.
        max_age: seconds; younger clients stay.
        skip_me: the caller stays.
        by_addr: the old form, which answers OK or an error instead of a count.
    """

    id: int | None = None
    type: bytes | None = None
    user: bytes | None = None
    addr: bytes | None = None
    laddr: bytes | None = None
    max_age: int | None = None
    skip_me: bool = True
    by_addr: bool = False

    def fits(self, client: Client, caller: int) -> bool:
        """Tell whether the client is to be killed."""
        age = (client.server.store.now_ms - client.created_ms) // 1000
        return (
            self.id in (None, client.id)
            and self.type in (None, _type_of(client))
            and self.user in (None, client.user)
            and self.addr in (None, client.addr)
            and self.laddr in (None, client.laddr)
            and (self.max_age is None or age >= self.max_age)
            and not (self.skip_me and client.id == caller)
        )


def _parse_kill(args: Args) -> _Kill:
    if len(args) == 1:
        return _Kill(addr=args[0], skip_me=False, by_addr=True)
    if len(args) % 2:
        # Redis too looks at the pairs first, and finds what is wrong with them.
        _parse_filters(args[:-1])
        raise errors.syntax_error()
    return _parse_filters(args)


def _parse_filters(args: Args) -> _Kill:
    kill = _Kill()
    for option, value in zip(args[::2], args[1::2], strict=True):
        match option.upper():
            case b"ID":
                kill.id = parse_int(value)
                if kill.id is None or kill.id < 1:
                    raise errors.client_id_not_positive()
            case b"MAXAGE":
                kill.max_age = parse_int(value)
                if kill.max_age is None:
                    raise errors.maxage_not_an_integer()
                if kill.max_age < 1:
                    raise errors.maxage_not_positive()
            case b"TYPE":
                kill.type = _parse_type(value)
            case b"USER":
                if value != DEFAULT_USER:
                    raise errors.no_such_user(value)
                kill.user = value
            case b"ADDR":
                kill.addr = value
            case b"LADDR":
                kill.laddr = value
            case b"SKIPME":
                word = value.upper()
                if word not in (b"YES", b"NO"):
                    raise errors.syntax_error()
                kill.skip_me = word == b"YES"
            case _:
                raise errors.syntax_error()
    return kill


def _check_kill(client: Client, args: Args) -> Args:
    _parse_kill(args)
    return _with_caller(client, args)


def _merge_kill(parts: Sequence[PartAnswer]) -> Reply:
    replies = [part.reply for part in parts]
    if OK in replies:
        return OK
    if NULL_BULK_2 in replies:
        raise errors.no_such_client()
    return merge_sum(parts)


@command(
    "CLIENT|KILL",
    since="2.4.0",
    arity=-3,
    group="connection",
    flags=ADMIN,
    acl=CONNECTION,
    complexity="O(N) where N is the number of client connections",
    history=(
        ("2.8.12", "Added new filter format."),
        ("2.8.12", "`ID` option."),
        ("3.2.0", "Added `master` type in for `TYPE` option."),
        (
            "5.0.0",
            "Replaced `slave` `TYPE` with `replica`. `slave` still supported for backward "
            "compatibility.",
        ),
        ("6.2.0", "`LADDR` option."),
        ("7.4.0", "`MAXAGE` option."),
    ),
    scope=Scope.SERVER,
    spanning=Spanning(LockScope.NOTHING, _merge_kill, prepare=_check_kill),
)
def client_kill(server: Server, caller: bytes, *args: bytes) -> Reply:
    """Terminates open connections."""
    kill, asking = _parse_kill(args), int(caller)
    condemned = [client for client in server.clients.values() if kill.fits(client, asking)]
    for client in condemned:
        if client.id == asking:
            client.close_soon()  # it still gets the reply
        else:
            client.link.close("CLIENT KILL")
    if kill.by_addr:
        return OK if condemned else NULL_BULK_2
    return integer(len(condemned))


# -- PAUSE and UNPAUSE -----------------------------------------------------------------------------


def _prepare_pause(client: Client, args: Args) -> Args:
    if len(args) > 2:
        raise errors.subcommand_syntax(b"client", b"PAUSE")
    mode = args[1].upper() if len(args) == 2 else b"ALL"
    if mode not in (b"WRITE", b"ALL"):
        raise errors.bad_pause_mode()
    timeout_ms = parse_int(args[0])
    if timeout_ms is None:
        raise errors.timeout_not_an_integer()
    if timeout_ms < 0:
        raise errors.timeout_is_negative()
    until_ms = client.server.store.now_ms + timeout_ms
    if until_ms > INT64_MAX:
        raise errors.timeout_out_of_range()
    return (b"%d" % until_ms, mode)


@command(
    "CLIENT|PAUSE",
    since="3.0.0",
    arity=-3,
    group="connection",
    flags=ADMIN,
    acl=CONNECTION,
    complexity="O(1)",
    history=(("6.2.0", "`CLIENT PAUSE WRITE` mode added along with the `mode` option."),),
    scope=Scope.SERVER,
    # The lock ends what is under way in every partition, so that the pause begins everywhere at
    # once: after its OK nothing is written any more.
    spanning=Spanning(LockScope.STORE, merge_same, prepare=_prepare_pause),
)
def client_pause(server: Server, until_ms: bytes, mode: bytes) -> Reply:
    """Suspends commands processing."""
    server.set_pause(int(until_ms), mode == b"WRITE")
    return OK


@command(
    "CLIENT|UNPAUSE",
    since="6.2.0",
    arity=2,
    group="connection",
    flags=ADMIN,
    acl=CONNECTION,
    complexity="O(N) Where N is the number of paused clients",
    scope=Scope.SERVER,
    spanning=Spanning(LockScope.STORE, merge_same),
)
def client_unpause(server: Server) -> Reply:
    """Resumes processing commands from paused clients."""
    server.set_pause(0, False)
    return OK


# -- UNBLOCK ---------------------------------------------------------------------------------------


def _check_unblock(_: Client, args: Args) -> Args:
    if len(args) > 2:
        raise errors.subcommand_syntax(b"client", b"UNBLOCK")
    if len(args) == 2 and args[1].upper() not in (b"TIMEOUT", b"ERROR"):
        raise errors.bad_unblock_reason()
    if parse_int(args[0]) is None:
        raise errors.not_an_integer()
    return args


@command(
    "CLIENT|UNBLOCK",
    since="5.0.0",
    arity=-3,
    group="connection",
    flags=ADMIN,
    acl=CONNECTION,
    complexity="O(log N) where N is the number of client connections",
    scope=Scope.SERVER,
    spanning=Spanning(LockScope.NOTHING, merge_sum, prepare=_check_unblock),
)
def client_unblock(server: Server, client_id: bytes, *reason: bytes) -> Reply:
    """Unblocks a client blocked by a blocking command from a different connection."""
    client = server.clients.get(int(client_id))
    if client is None:
        return ZERO
    with_error = bool(reason) and reason[0].upper() == b"ERROR"
    return ONE if client.link.unblock(with_error=with_error) else ZERO
