"""WAIT and WAITAOF: what was written before is in the log of this server, or of so many replicas.

There are no replicas yet: who waits for one waits until the timeout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shoal.proto import errors
from shoal.proto.numbers import INT64_MAX, parse_int
from shoal.proto.replies import ZERO, Array, Reply, array, integer
from shoal.proto.spec import CommandFlag
from shoal.worker.commands import parse
from shoal.worker.keyspace import Keyspace
from shoal.worker.registry import (
    LockScope,
    PartAnswer,
    Scope,
    Spanning,
    Wait,
    command,
)
from shoal.worker.server import Server

REPLICAS: Final = 0


@command(
    "WAIT",
    since="3.0.0",
    arity=3,
    group="generic",
    flags=CommandFlag.BLOCKING,
    acl=("connection",),
    complexity="O(1)",
    tips=("request_policy:all_shards", "response_policy:agg_min"),
)
def wait(_: Keyspace, numreplicas: bytes, timeout: bytes) -> Reply:
    """Blocks until the asynchronous replication of all preceding write commands sent by the connection is completed."""  # noqa: E501  COMMAND DOCS shows it whole
    wanted = parse.integer(numreplicas)
    timeout_ms = parse.milliseconds(timeout)
    reply = integer(REPLICAS)
    return reply if wanted <= REPLICAS else Wait((), timeout_ms, type(None), reply)


def _check(_: object, args: tuple[bytes, ...]) -> tuple[bytes, ...]:
    numlocal, numreplicas, timeout = args
    local = parse.integer(numlocal)
    if not 0 <= local <= 1:
        raise errors.out_of_bounds(0, 1)
    replicas = parse_int(numreplicas)
    if replicas is None or not 0 <= replicas <= INT64_MAX:
        raise errors.must_be_positive()
    return numlocal, numreplicas, b"%d" % parse.milliseconds(timeout)


def _merge(parts: Sequence[PartAnswer]) -> Reply:
    """Say whether every worker's log is durable, at once or after the timeout."""
    answers = []
    for part in parts:
        assert isinstance(part.reply, list)
        answers.append([int(item[1:-2]) for item in part.reply])
    durable = min(answer[0] for answer in answers)
    _, replicas, timeout_ms = answers[0]
    reply = array([integer(durable), integer(REPLICAS)])
    return reply if replicas <= REPLICAS else Wait((), timeout_ms, type(None), reply)


@command(
    "WAITAOF",
    since="7.2.0",
    arity=4,
    group="generic",
    flags=CommandFlag.BLOCKING,
    acl=("connection",),
    complexity="O(1)",
    tips=("request_policy:all_shards", "response_policy:agg_min"),
    scope=Scope.SERVER,
    spanning=Spanning(LockScope.NOTHING, _merge, prepare=_check),
)
def waitaof(server: Server, numlocal: bytes, numreplicas: bytes, timeout_ms: bytes) -> Reply:
    """Blocks until all of the preceding write commands sent by the connection are written to the append-only file of the master and/or replicas."""  # noqa: E501  COMMAND DOCS shows it whole
    segment = server.segment
    durable = ZERO
    if segment is not None:
        # Redis waits for its next fsync, this one does not: at most one fsync for who asks.
        done = server.sync_log() if numlocal == b"1" else segment.durable
        durable = integer(int(done))
    elif numlocal == b"1":
        raise errors.waitaof_without_log()
    return Array([durable, integer(int(numreplicas)), integer(int(timeout_ms))])
