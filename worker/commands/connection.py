"""The commands of a connection's own state, but for CLIENT.

They run at the client's home and touch no key. Only the user `default` exists; its password is
`requirepass`, and without one it takes any (Redis's nopass).
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Final

from shoal.proto import errors
from shoal.proto.numbers import parse_int, parse_int32
from shoal.proto.replies import (
    EMPTY_ARRAY,
    OK,
    PONG,
    Reply,
    bulk,
    integer,
    map_reply,
    simple,
)
from shoal.proto.spec import REDIS_VERSION, CommandFlag
from shoal.worker.client import DEFAULT_USER, Client
from shoal.worker.commands.client import check_name
from shoal.worker.registry import Scope, command

NOSCRIPT, LOADING, STALE = CommandFlag.NOSCRIPT, CommandFlag.LOADING, CommandFlag.STALE
FAST, NO_AUTH, ALLOW_BUSY = CommandFlag.FAST, CommandFlag.NO_AUTH, CommandFlag.ALLOW_BUSY

CONNECTION: Final = ("connection",)
ALWAYS: Final = NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY


def _authenticate(client: Client, user: bytes, password: bytes) -> None:
    wanted: bytes = client.server.config.requirepass
    right = not wanted or compare_digest(password, wanted)
    if user != DEFAULT_USER or not right:
        raise errors.wrongpass()
    client.set_authenticated(user)


@command(
    "AUTH",
    since="1.0.0",
    arity=-2,
    group="connection",
    flags=ALWAYS,
    acl=CONNECTION,
    complexity="O(N) where N is the number of passwords defined for the user",
    history=(("6.0.0", "Added ACL style (username and password)."),),
    scope=Scope.CLIENT,
)
def auth(client: Client, *args: bytes) -> Reply:
    """Authenticates the connection."""
    if len(args) > 2:
        raise errors.syntax_error()
    if len(args) == 1 and not client.server.config.requirepass:
        raise errors.no_password_is_set()
    _authenticate(client, DEFAULT_USER if len(args) == 1 else args[0], args[-1])
    return OK


@command(
    "HELLO",
    since="6.0.0",
    arity=-1,
    group="connection",
    flags=ALWAYS,
    acl=CONNECTION,
    complexity="O(1)",
    history=(
        (
            "6.2.0",
            "`protover` made optional; when called without arguments the command reports the "
            "current connection's context.",
        ),
    ),
    scope=Scope.CLIENT,
)
def hello(client: Client, *args: bytes) -> Reply:
    """Handshakes with the Redis server."""
    resp = client.resp
    if args:
        version = parse_int(args[0])
        if version is None:
            raise errors.bad_protocol_version()
        if version not in (2, 3):
            raise errors.noproto()
        resp = version
    credentials = name = None
    at = 1
    while at < len(args):
        option, follow = args[at].upper(), len(args) - at - 1
        if option == b"AUTH" and follow >= 2:
            credentials = args[at + 1], args[at + 2]
            at += 3
        elif option == b"SETNAME" and follow >= 1:
            name = args[at + 1]
            check_name(name)
            at += 2
        else:
            raise errors.bad_hello_option(args[at])
    if credentials is not None:
        _authenticate(client, *credentials)
    if not client.authenticated:
        raise errors.hello_noauth()
    if name is not None:
        client.name = name
    client.set_protocol(resp)
    return map_reply(
        [
            (bulk(b"server"), bulk(b"redis")),
            (bulk(b"version"), bulk(REDIS_VERSION.encode())),
            (bulk(b"proto"), integer(resp)),
            (bulk(b"id"), integer(client.id)),
            (bulk(b"mode"), bulk(b"standalone")),
            (bulk(b"role"), bulk(b"master")),
            (bulk(b"modules"), EMPTY_ARRAY),
        ]
    )


@command(
    "PING",
    since="1.0.0",
    arity=-1,
    group="connection",
    flags=FAST,
    acl=CONNECTION,
    complexity="O(1)",
    tips=("request_policy:all_shards", "response_policy:all_succeeded"),
    scope=Scope.CLIENT,
)
def ping(_: Client, *args: bytes) -> Reply:
    """Returns the server's liveliness response."""
    if len(args) > 1:
        raise errors.wrong_arity(b"ping")
    return bulk(args[0]) if args else PONG


@command(
    "ECHO",
    since="1.0.0",
    arity=2,
    group="connection",
    flags=LOADING | STALE | FAST,
    acl=CONNECTION,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def echo(_: Client, message: bytes) -> Reply:
    """Returns the given string."""
    return bulk(message)


@command(
    "SELECT",
    since="1.0.0",
    arity=2,
    group="connection",
    flags=LOADING | STALE | FAST,
    acl=CONNECTION,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def select(client: Client, index: bytes) -> Reply:
    """Changes the selected database."""
    client.select(parse_int32(index))
    return OK


@command(
    "QUIT",
    since="1.0.0",
    arity=-1,
    group="connection",
    flags=ALWAYS,
    acl=CONNECTION,
    complexity="O(1)",
    scope=Scope.CLIENT,
    doc_flags=("deprecated",),
    deprecated_since="7.2.0",
    replaced_by="just closing the connection",
)
def quit_(client: Client, *_: bytes) -> Reply:
    """Closes the connection."""
    client.close_soon()
    return OK


@command(
    "RESET",
    since="6.2.0",
    arity=1,
    group="connection",
    flags=ALWAYS,
    acl=CONNECTION,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def reset(client: Client) -> Reply:
    """Resets the connection."""
    reply = simple(b"RESET")
    if client.pubsub is not None:
        return client.server.broker.reset(client, reply)
    client.reset()
    return reply
