"""MULTI, EXEC, DISCARD, WATCH and UNWATCH; what they do is in `worker/multi.py`.

The variants of EXEC are what homes ask owners; a client that says one of them has given EXEC an
argument too many.
"""

from __future__ import annotations

from typing import Final

from shoal.proto import errors
from shoal.proto.replies import OK, Reply
from shoal.proto.spec import CommandFlag, KeySpec
from shoal.worker.client import Client
from shoal.worker.keyspace import Keyspace
from shoal.worker.registry import Scope, command, variant

NOSCRIPT, LOADING, STALE = CommandFlag.NOSCRIPT, CommandFlag.LOADING, CommandFlag.STALE
FAST, ALLOW_BUSY = CommandFlag.FAST, CommandFlag.ALLOW_BUSY

TRANSACTION: Final = ("transaction",)
COMMON: Final = NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY


@command(
    "MULTI",
    since="1.2.0",
    arity=1,
    group="transactions",
    flags=COMMON,
    acl=TRANSACTION,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def multi(client: Client) -> Reply:
    """Starts a transaction."""
    client.server.transactions.begin(client)
    return OK


def _not_from_clients(_: Client) -> None:
    raise errors.wrong_arity(b"exec")


@command(
    "EXEC",
    since="1.2.0",
    arity=1,
    group="transactions",
    flags=NOSCRIPT | LOADING | STALE | CommandFlag.SKIP_SLOWLOG,
    acl=TRANSACTION,
    complexity="Depends on commands in the transaction",
    scope=Scope.CLIENT,
)
def exec_(client: Client) -> Reply:
    """Executes all commands in a transaction."""
    return client.server.transactions.execute(client)


@variant("EXEC", "read", arity=3, scope=Scope.KEYSPACE, guard=_not_from_clients)
def exec_read(ks: Keyspace, block: bytes) -> Reply:
    """Runs the block of a transaction that writes nothing."""
    reply: bytes = ks.store.transactions.run_request(block)
    return reply


@variant("EXEC", "write", arity=3, scope=Scope.KEYSPACE, write=True, guard=_not_from_clients)
def exec_write(ks: Keyspace, block: bytes) -> Reply:
    """Runs the block of a transaction that writes."""
    reply: bytes = ks.store.transactions.run_request(block)
    return reply


@variant("EXEC", "watch", arity=-4, scope=Scope.KEYSPACE, guard=_not_from_clients)
def exec_watch(ks: Keyspace, number: bytes, *keys: bytes) -> Reply:
    """Lets a client of another worker watch keys."""
    ks.store.transactions.watches.watch(int(number), ks.db.index, keys)
    return OK


@variant("EXEC", "unwatch", arity=3, scope=Scope.KEYSPACE, guard=_not_from_clients)
def exec_unwatch(ks: Keyspace, number: bytes) -> Reply:
    """Ends what a client of another worker watches."""
    ks.store.transactions.watches.end(int(number))
    return OK


@command(
    "DISCARD",
    since="2.0.0",
    arity=1,
    group="transactions",
    flags=COMMON,
    acl=TRANSACTION,
    complexity="O(N), when N is the number of queued commands",
    scope=Scope.CLIENT,
)
def discard(client: Client) -> Reply:
    """Discards a transaction."""
    if client.multi is None:
        raise errors.discard_without_multi()
    client.server.transactions.discard(client)
    return OK


@command(
    "WATCH",
    since="2.2.0",
    arity=-2,
    group="transactions",
    flags=COMMON,
    keys=(KeySpec(1, last=-1, flags=("RO",)),),
    acl=TRANSACTION,
    complexity="O(1) for every key.",
    scope=Scope.CLIENT,
)
def watch(client: Client, *keys: bytes) -> Reply:
    """Monitors changes to keys to determine the execution of a transaction."""
    return client.server.transactions.watch(client, keys)


@command(
    "UNWATCH",
    since="2.2.0",
    arity=1,
    group="transactions",
    flags=COMMON,
    acl=TRANSACTION,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def unwatch(client: Client) -> Reply:
    """Forgets about watched keys of a transaction."""
    client.server.transactions.unwatch(client)
    return OK
