"""Pub/sub, and MONITOR, which works the same way (`worker/broker.py`).

All of it runs at the client's home. Who has subscribed to what every worker knows, so PUBSUB asks
nobody. Shard channels are a namespace of their own, as in Redis without cluster mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shoal.proto import errors
from shoal.proto.replies import Reply, array, bulk, bulk_array, integer, simple
from shoal.proto.spec import CommandFlag, KeySpec, key_at
from shoal.worker.client import Client
from shoal.worker.pubsub import CHANNEL, PATTERN, SHARD
from shoal.worker.registry import Scope, command

LOADING_STALE: Final = CommandFlag.LOADING | CommandFlag.STALE
COMMON: Final = CommandFlag.PUBSUB | LOADING_STALE
LISTEN: Final = COMMON | CommandFlag.NOSCRIPT
SEND: Final = COMMON | CommandFlag.FAST

ACL: Final = ("pubsub",)
SHARD_CHANNELS: Final = (KeySpec(1, last=-1, flags=("not_key",)),)

CONTAINER: Final = b"pubsub"


@command(
    "SUBSCRIBE",
    since="2.0.0",
    arity=-2,
    group="pubsub",
    flags=LISTEN,
    acl=ACL,
    complexity="O(N) where N is the number of channels to subscribe to.",
    scope=Scope.CLIENT,
)
def subscribe(client: Client, *channels: bytes) -> Reply:
    """Listens for messages published to channels."""
    return client.server.broker.subscribe(client, CHANNEL, channels)


@command(
    "UNSUBSCRIBE",
    since="2.0.0",
    arity=-1,
    group="pubsub",
    flags=LISTEN,
    acl=ACL,
    complexity="O(N) where N is the number of channels to unsubscribe.",
    scope=Scope.CLIENT,
)
def unsubscribe(client: Client, *channels: bytes) -> Reply:
    """Stops listening to messages posted to channels."""
    return client.server.broker.unsubscribe(client, CHANNEL, channels)


@command(
    "PSUBSCRIBE",
    since="2.0.0",
    arity=-2,
    group="pubsub",
    flags=LISTEN,
    acl=ACL,
    complexity="O(N) where N is the number of patterns to subscribe to.",
    scope=Scope.CLIENT,
)
def psubscribe(client: Client, *patterns: bytes) -> Reply:
    """Listens for messages published to channels that match one or more patterns."""
    return client.server.broker.subscribe(client, PATTERN, patterns)


@command(
    "PUNSUBSCRIBE",
    since="2.0.0",
    arity=-1,
    group="pubsub",
    flags=LISTEN,
    acl=ACL,
    complexity="O(N) where N is the number of patterns to unsubscribe.",
    scope=Scope.CLIENT,
)
def punsubscribe(client: Client, *patterns: bytes) -> Reply:
    """Stops listening to messages published to channels that match one or more patterns."""
    return client.server.broker.unsubscribe(client, PATTERN, patterns)


@command(
    "PUBLISH",
    since="2.0.0",
    arity=3,
    group="pubsub",
    flags=SEND,
    acl=ACL,
    complexity="O(N+M) where N is the number of clients subscribed to the receiving channel and M "
    "is the total number of subscribed patterns (by any client).",
    scope=Scope.CLIENT,
)
def publish(client: Client, channel: bytes, message: bytes) -> Reply:
    """Posts a message to a channel."""
    return client.server.broker.publish(client, CHANNEL, channel, message)


@command(
    "SSUBSCRIBE",
    since="7.0.0",
    arity=-2,
    group="pubsub",
    flags=LISTEN,
    keys=SHARD_CHANNELS,
    acl=ACL,
    complexity="O(N) where N is the number of shard channels to subscribe to.",
    scope=Scope.CLIENT,
)
def ssubscribe(client: Client, *channels: bytes) -> Reply:
    """Listens for messages published to shard channels."""
    return client.server.broker.subscribe(client, SHARD, channels)


@command(
    "SUNSUBSCRIBE",
    since="7.0.0",
    arity=-1,
    group="pubsub",
    flags=LISTEN,
    keys=SHARD_CHANNELS,
    acl=ACL,
    complexity="O(N) where N is the number of shard channels to unsubscribe.",
    scope=Scope.CLIENT,
)
def sunsubscribe(client: Client, *channels: bytes) -> Reply:
    """Stops listening to messages posted to shard channels."""
    return client.server.broker.unsubscribe(client, SHARD, channels)


@command(
    "SPUBLISH",
    since="7.0.0",
    arity=3,
    group="pubsub",
    flags=SEND,
    keys=key_at(1, "not_key"),
    acl=ACL,
    complexity="O(N) where N is the number of clients subscribed to the receiving shard channel.",
    scope=Scope.CLIENT,
)
def spublish(client: Client, channel: bytes, message: bytes) -> Reply:
    """Post a message to a shard channel"""
    return client.server.broker.publish(client, SHARD, channel, message)


@command(
    "PUBSUB",
    since="2.8.0",
    arity=-2,
    group="pubsub",
    complexity="Depends on subcommand.",
    scope=Scope.CLIENT,
)
def pubsub(_: Client, *__: bytes) -> Reply:
    """A container for Pub/Sub commands."""
    raise AssertionError("a subcommand runs, or there is an error before")


def _names(client: Client, kind: int, name: bytes, pattern: Sequence[bytes]) -> Reply:
    if len(pattern) > 1:
        raise errors.subcommand_syntax(CONTAINER, name)
    registry = client.server.broker.registry
    return bulk_array(registry.names(kind, pattern[0] if pattern else None))


def _counts(client: Client, kind: int, channels: Sequence[bytes]) -> Reply:
    registry = client.server.broker.registry
    counts: list[Reply] = []
    for channel in channels:
        counts += (bulk(channel), integer(registry.count(kind, channel)))
    return array(counts)


@command(
    "PUBSUB|CHANNELS",
    since="2.8.0",
    arity=-2,
    group="pubsub",
    flags=COMMON,
    acl=ACL,
    complexity="O(N) where N is the number of active channels, and assuming constant time pattern "
    "matching (relatively short channels and patterns)",
    scope=Scope.CLIENT,
)
def pubsub_channels(client: Client, *pattern: bytes) -> Reply:
    """Returns the active channels."""
    return _names(client, CHANNEL, b"CHANNELS", pattern)


@command(
    "PUBSUB|NUMPAT",
    since="2.8.0",
    arity=2,
    group="pubsub",
    flags=COMMON,
    acl=ACL,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def pubsub_numpat(client: Client) -> Reply:
    """Returns a count of unique pattern subscriptions."""
    return integer(len(client.server.broker.registry.topics[PATTERN]))


@command(
    "PUBSUB|NUMSUB",
    since="2.8.0",
    arity=-2,
    group="pubsub",
    flags=COMMON,
    acl=ACL,
    complexity="O(N) for the NUMSUB subcommand, where N is the number of requested channels",
    scope=Scope.CLIENT,
)
def pubsub_numsub(client: Client, *channels: bytes) -> Reply:
    """Returns a count of subscribers to channels."""
    return _counts(client, CHANNEL, channels)


@command(
    "PUBSUB|SHARDCHANNELS",
    since="7.0.0",
    arity=-2,
    group="pubsub",
    flags=COMMON,
    acl=ACL,
    complexity="O(N) where N is the number of active shard channels, and assuming constant time "
    "pattern matching (relatively short shard channels).",
    scope=Scope.CLIENT,
)
def pubsub_shardchannels(client: Client, *pattern: bytes) -> Reply:
    """Returns the active shard channels."""
    return _names(client, SHARD, b"SHARDCHANNELS", pattern)


@command(
    "PUBSUB|SHARDNUMSUB",
    since="7.0.0",
    arity=-2,
    group="pubsub",
    flags=COMMON,
    acl=ACL,
    complexity="O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard "
    "channels",
    scope=Scope.CLIENT,
)
def pubsub_shardnumsub(client: Client, *channels: bytes) -> Reply:
    """Returns the count of subscribers of shard channels."""
    return _counts(client, SHARD, channels)


_HELP: Final = (
    b"PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"CHANNELS [<pattern>]",
    b"    Return the currently active channels matching a <pattern> (default: '*').",
    b"NUMPAT",
    b"    Return number of subscriptions to patterns.",
    b"NUMSUB [<channel> ...]",
    b"    Return the number of subscribers for the specified channels, excluding",
    b"    pattern subscriptions(default: no channels).",
    b"SHARDCHANNELS [<pattern>]",
    b"    Return the currently active shard level channels matching a <pattern> (default: '*').",
    b"SHARDNUMSUB [<shardchannel> ...]",
    b"    Return the number of subscribers for the specified shard level channel(s)",
    b"HELP",
    b"    Print this help.",
)


@command(
    "PUBSUB|HELP",
    since="6.2.0",
    arity=2,
    group="pubsub",
    flags=LOADING_STALE,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def pubsub_help(_: Client) -> Reply:
    """Returns helpful text about the different subcommands."""
    return array([simple(line) for line in _HELP])


@command(
    "MONITOR",
    since="1.0.0",
    arity=1,
    group="server",
    flags=CommandFlag.ADMIN | CommandFlag.NOSCRIPT | LOADING_STALE,
    scope=Scope.CLIENT,
)
def monitor(client: Client) -> Reply:
    """Listens for all requests received by the server in real-time."""
    return client.server.broker.monitor(client)
