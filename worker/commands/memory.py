"""MEMORY: what a key takes, and what is known of the memory of all processes.

The figures are Python's own: sizes of objects as `sys.getsizeof` tells them, and the resident
memory of the workers. Of Redis's figures of its allocator there is none here, and of STATS only
those that are known.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from shoal.proto import errors
from shoal.proto.replies import (
    NULL,
    OK,
    ZERO,
    Reply,
    array,
    bulk,
    double,
    integer,
    map_reply,
    simple,
    verbatim,
)
from shoal.proto.slots import key_slot
from shoal.proto.spec import CommandFlag, key_at
from shoal.worker.client import Client
from shoal.worker.commands import parse
from shoal.worker.keyspace import Keyspace
from shoal.worker.registry import LockScope, PartAnswer, Scope, Spanning, command, merge_same
from shoal.worker.server import Server
from shoal.worker.values import memory_bytes

READONLY: Final = CommandFlag.READONLY
LOADING_STALE: Final = CommandFlag.LOADING | CommandFlag.STALE
SPECIAL: Final = ("nondeterministic_output", "request_policy:all_shards", "response_policy:special")

DEFAULT_SAMPLES: Final = 5
_EMPTY_DICT_BYTES: Final = sys.getsizeof({})


@command(
    "MEMORY",
    since="4.0.0",
    arity=-2,
    group="server",
    complexity="Depends on subcommand.",
    scope=Scope.CLIENT,
)
def memory(client: Client, *_: bytes) -> Reply:
    """A container for memory diagnostics commands."""
    raise AssertionError("a subcommand runs, or there is an error before")


# -- one key ---------------------------------------------------------------------------------------


@command(
    "MEMORY|USAGE",
    since="4.0.0",
    arity=-3,
    group="server",
    flags=READONLY,
    keys=key_at(2, "RO"),
    complexity="O(N) where N is the number of samples.",
)
def memory_usage(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Estimates the memory usage of a key."""
    samples = DEFAULT_SAMPLES
    for at in range(0, len(args), 2):
        if parse.word(args[at]) != b"SAMPLES" or at + 1 == len(args):
            raise errors.syntax_error()
        samples = parse.integer(args[at + 1])
        if samples < 0:
            raise errors.syntax_error()
    value = ks.find(key)  # Redis also tells of one that has expired but has not been removed yet
    if value is None:
        return NULL
    table = ks.db.keys_in(key_slot(key))
    # A slot has its dict, also without keys: what it takes beyond an empty one is its keys'.
    entry_bytes = (sys.getsizeof(table) - _EMPTY_DICT_BYTES) // len(table)
    return integer(sys.getsizeof(key) + entry_bytes + memory_bytes(value, samples))


# -- all workers -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Figures:
    """Of all workers.

    Attributes:
        resident_bytes, peak_bytes: what they have in memory, and the most each had, added up.
        databases: index -> [keys, bytes of the tables that hold them], without empty databases.
    """

    resident_bytes: int = 0
    peak_bytes: int = 0
    databases: dict[int, list[int]] = field(default_factory=dict)

    @property
    def keys(self) -> int:
        return sum(keys for keys, _ in self.databases.values())


def _figures(server: Server) -> bytes:
    """Return a worker's figures, as JSON."""
    resident = server.sampler.see_memory(server.memory_bytes())
    databases = [
        (db.index, db.size, sum([sys.getsizeof(db.keys_in(slot)) for slot in db.slots]))
        for db in server.store.databases()
        if db.size
    ]
    return json.dumps((resident, server.sampler.peak_memory_bytes, databases)).encode()


def _add_up(answers: Sequence[PartAnswer]) -> _Figures:
    figures = _Figures()
    for answer in answers:
        assert isinstance(answer.reply, bytes)
        resident, peak, databases = json.loads(answer.reply)
        figures.resident_bytes += resident
        figures.peak_bytes += peak
        for index, keys, table_bytes in databases:
            sums = figures.databases.setdefault(index, [0, 0])
            sums[0] += keys
            sums[1] += table_bytes
    return figures


def _merge_stats(answers: Sequence[PartAnswer]) -> Reply:
    figures = _add_up(answers)
    pairs: list[tuple[Reply, Reply]] = [
        (bulk(b"peak.allocated"), integer(figures.peak_bytes)),
        (bulk(b"total.allocated"), integer(figures.resident_bytes)),
    ]
    for index, (_, table_bytes) in sorted(figures.databases.items()):
        overhead: list[tuple[Reply, Reply]] = [
            (bulk(b"overhead.hashtable.main"), integer(table_bytes)),
            # An expire time is kept with its value, in no table.
            (bulk(b"overhead.hashtable.expires"), ZERO),
        ]
        pairs.append((bulk(b"db.%d" % index), map_reply(overhead)))
    tables_bytes = sum(table_bytes for _, table_bytes in figures.databases.values())
    percentage = 100 * figures.resident_bytes / figures.peak_bytes if figures.peak_bytes else 0.0
    pairs += [
        (bulk(b"overhead.total"), integer(tables_bytes)),
        (bulk(b"keys.count"), integer(figures.keys)),
        (bulk(b"peak.percentage"), double(percentage)),
    ]
    return map_reply(pairs)


@command(
    "MEMORY|STATS",
    since="4.0.0",
    arity=2,
    group="server",
    complexity="O(1)",
    tips=SPECIAL,
    scope=Scope.SERVER,
    spanning=Spanning(LockScope.NOTHING, _merge_stats),
)
def memory_stats(server: Server) -> Reply:
    """Returns details about memory usage."""
    return _figures(server)


def _merge_doctor(answers: Sequence[PartAnswer]) -> Reply:
    figures = _add_up(answers)
    if not figures.keys:
        text = _EMPTY
    elif figures.peak_bytes > 1.5 * figures.resident_bytes:
        text = _AFTER_A_PEAK
    else:
        text = _NO_ISSUE
    return verbatim(text)


_EMPTY: Final = (
    b"Hi Sam, this instance is empty or is using very little memory, my issues detector can't be "
    b"used in these conditions. Please, leave for your mission on Earth and fill it with some data."
    b" The new Sam and I will be back to our programming as soon as I finished rebooting.\n"
)
_NO_ISSUE: Final = (
    b"Hi Sam, I can't find any memory issue in your instance. I can only account for what occurs "
    b"on this base.\n"
)
_AFTER_A_PEAK: Final = (
    b"Sam, I detected an issue in the memory of this instance:\n\n * Peak memory: its workers had "
    b"more than 150% of the memory that they have now. What they gave back to the allocator they "
    b"use again before they grow; MEMORY PURGE gives it back to the system.\n"
)


@command(
    "MEMORY|DOCTOR",
    since="4.0.0",
    arity=2,
    group="server",
    complexity="O(1)",
    tips=SPECIAL,
    scope=Scope.SERVER,
    spanning=Spanning(LockScope.NOTHING, _merge_doctor),
)
def memory_doctor(server: Server) -> Reply:
    """Outputs a memory problems report."""
    return _figures(server)


@command(
    "MEMORY|PURGE",
    since="4.0.0",
    arity=2,
    group="server",
    complexity="Depends on how much memory is allocated, could be slow",
    tips=("request_policy:all_shards", "response_policy:all_succeeded"),
    scope=Scope.SERVER,
    spanning=Spanning(LockScope.NOTHING, merge_same),
)
def memory_purge(server: Server) -> Reply:
    """Asks the allocator to release memory."""
    server.release_memory()
    return OK


@command(
    "MEMORY|MALLOC-STATS",
    since="4.0.0",
    arity=2,
    group="server",
    complexity="Depends on how much memory is allocated, could be slow",
    tips=SPECIAL,
    scope=Scope.CLIENT,
)
def memory_malloc_stats(_: Client) -> Reply:
    """Returns the allocator statistics."""
    # What a redis-server says that does not bring its own allocator.
    return bulk(b"Stats not supported for the current allocator")


_HELP: Final = (
    b"MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"DOCTOR",
    b"    Return memory problems reports.",
    b"MALLOC-STATS",
    b"    Return internal statistics report from the memory allocator.",
    b"PURGE",
    b"    Attempt to purge dirty pages for reclamation by the allocator.",
    b"STATS",
    b"    Return information about the memory usage of the server.",
    b"USAGE <key> [SAMPLES <count>]",
    b"    Return memory in bytes used by <key> and its value. Nested values are",
    b"    sampled up to <count> times (default: 5, 0 means sample all).",
    b"HELP",
    b"    Print this help.",
)


@command(
    "MEMORY|HELP",
    since="4.0.0",
    arity=2,
    group="server",
    flags=LOADING_STALE,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def memory_help(_: Client) -> Reply:
    """Returns helpful text about the different subcommands."""
    return array([simple(line) for line in _HELP])
