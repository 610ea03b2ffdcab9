"""The store of the simulation: databases of integers, and commands that are cut into parts.

Values are ints, and every value written is a new one, so a reply tells which write it saw. The same
`execute` runs on one partition (a simulated worker) and on all the keys (`StoreModel`, what one
Redis would answer).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from random import Random
from typing import Any, Final, NamedTuple

from shoal.worker.participant import Part

DATABASES: Final = 2
KEYS: Final = tuple(b"%d" % number for number in range(6))

Table = dict[bytes, int]
Tables = list[Table]
State = tuple[frozenset[tuple[bytes, int]], ...]  # of the whole store, by database

READS: Final = frozenset({"GET", "MGET", "EXISTS", "TOUCH", "DBSIZE", "KEYS", "RANDOMKEY"})
COUNTS: Final = frozenset({"DEL", "UNLINK", "EXISTS", "TOUCH", "DBSIZE"})
MANY_KEYS: Final = frozenset({"MGET", "MSET", "DEL", "UNLINK", "EXISTS", "TOUCH"})
WHOLE_DB: Final = frozenset({"DBSIZE", "KEYS", "RANDOMKEY", "FLUSHDB"})
WHOLE_STORE: Final = frozenset({"FLUSHALL", "SWAPDB"})


class Command(NamedTuple):
    """A command; the tag tells equal commands apart in the logs."""

    name: str
    db: int
    keys: tuple[bytes, ...] = ()
    values: tuple[int, ...] = ()
    tag: int = 0

    def __str__(self) -> str:
        pairs = zip(self.keys, self.values, strict=True) if self.values else None
        args = [f"{k.decode()}={v}" for k, v in pairs] if pairs else [k.decode() for k in self.keys]
        return " ".join([self.name, f"db{self.db}", *args])


def execute(tables: Tables, command: Command) -> Any:
    """Run a command on the databases, which it changes; on one partition or on all keys.

    RANDOMKEY has many right answers: with a key it says whether that may be one, without one
    whether "no key" may be.
    """
    name, db, keys, values, _ = command
    table = tables[db]
    if name in {"GET", "MGET"}:
        return [table.get(key) for key in keys]
    if name in {"SET", "MSET"}:
        table.update(zip(keys, values, strict=True))
        return None
    if name == "INCR":
        table[keys[0]] = value = table.get(keys[0], 0) + 1
        return value
    if name in {"DEL", "UNLINK"}:
        return sum(table.pop(key, None) is not None for key in keys)
    if name in {"EXISTS", "TOUCH"}:
        return sum(key in table for key in keys)
    if name == "DBSIZE":
        return len(table)
    if name == "KEYS":
        return sorted(table)
    if name == "RANDOMKEY":
        return keys[0] in table if keys else not table
    if name == "FLUSHDB":
        table.clear()
    elif name == "FLUSHALL":
        for each in tables:
            each.clear()
    else:
        assert name == "SWAPDB", name
        tables[0], tables[1] = tables[1], tables[0]
    return None


def touched(tables: Tables, command: Command) -> Any:
    """Return what a command finds: the values of its keys, or of all that it concerns."""
    if command.name in WHOLE_STORE:
        return [dict(table) for table in tables]
    if command.name in WHOLE_DB:
        return dict(tables[command.db])
    return [tables[command.db].get(key) for key in command.keys]


def overlap(one: Command, other: Command) -> bool:
    """Tell whether two commands concern a common key."""
    if one.name in WHOLE_STORE or other.name in WHOLE_STORE:
        return True
    if one.db != other.db:
        return False
    if one.name in WHOLE_DB or other.name in WHOLE_DB:
        return True
    return not set(one.keys).isdisjoint(other.keys)


def empty_tables() -> Tables:
    """Return empty databases."""
    return [{} for _ in range(DATABASES)]


# -- parts ----------------------------------------------------------------------------------------


def owner(key: bytes, workers: int) -> int:
    """Return the worker that owns a key."""
    return int(key) % workers


def split(command: Command, workers: int) -> dict[int, Part]:
    """Return each worker's part."""
    name, db, keys, values, tag = command
    write = name not in READS
    if name in WHOLE_STORE:
        return {worker: Part(None, None, write, command) for worker in range(workers)}
    if name in WHOLE_DB:
        return {worker: Part(db, None, write, command) for worker in range(workers)}
    positions: dict[int, list[int]] = {}
    for position, key in enumerate(keys):
        positions.setdefault(owner(key, workers), []).append(position)
    parts = {}
    for worker, some in positions.items():
        mine = tuple(keys[position] for position in some)
        args = tuple(values[position] for position in some) if values else ()
        parts[worker] = Part(db, mine, write, Command(name, db, mine, args, tag))
    return parts


def run_part(tables: Tables, command: Command, random: Random) -> object:
    """Run a part and return its answer: RESP for a write, since the log keeps it."""
    if command.name == "RANDOMKEY":
        table = tables[command.db]
        return (random.choice(sorted(table)) if table else None, len(table))
    reply = execute(tables, command)
    if command.name in READS:
        return reply
    return b"+OK\r\n" if reply is None else b":%d\r\n" % reply


def merge(command: Command, replies: dict[int, Any], workers: int, random: Random) -> Any:
    """Merge the parts' answers into the command's reply."""
    if command.name in {"DEL", "UNLINK"}:
        return sum(int(reply[1:-2]) for reply in replies.values())
    if command.name in COUNTS:
        return sum(replies.values())
    if command.name == "KEYS":
        return sorted(key for some in replies.values() for key in some)
    if command.name == "RANDOMKEY":
        drawn = [key for key, _ in replies.values()]
        sizes = [size for _, size in replies.values()]
        return random.choices(drawn, sizes)[0] if any(sizes) else None
    if command.name == "MGET":
        left = {worker: iter(some) for worker, some in replies.items()}
        return [next(left[owner(key, workers)]) for key in command.keys]
    assert set(replies.values()) == {b"+OK\r\n"}, f"{command} -> {replies}"
    return None


# -- the log --------------------------------------------------------------------------------------


def to_argv(command: Command) -> tuple[bytes, ...]:
    """Return a write as it stands in the log; its db is what SELECT says."""
    name, _, keys, values, tag = command
    args = [b"%d" % value for value in values]
    return (name.encode(), b"%d" % tag, b"%d" % len(keys), *keys, *args)


def from_argv(argv: Sequence[bytes], db: int) -> Command:
    """Return what `to_argv` was called on."""
    name, tag, count = argv[0].decode(), int(argv[1]), int(argv[2])
    keys, values = tuple(argv[3 : 3 + count]), tuple(map(int, argv[3 + count :]))
    return Command(name, db, keys, values, tag)


# -- the model ------------------------------------------------------------------------------------


def state_of(all_tables: Sequence[Tables]) -> State:
    """Return the state of the whole store, out of the partitions' databases."""
    return tuple(
        frozenset(item for tables in all_tables for item in tables[db].items())
        for db in range(DATABASES)
    )


class StoreModel:
    """The whole store as one object: what one Redis would answer."""

    def __init__(self, initial: State = (frozenset(),) * DATABASES) -> None:
        self._initial = initial

    def initial(self) -> State:
        """Return the state before the first command."""
        return self._initial

    @staticmethod
    @lru_cache(maxsize=100_000)
    def step(state: State, command: Command) -> tuple[State, Any]:
        """Run a command."""
        tables = [dict(table) for table in state]
        reply = execute(tables, command)
        return tuple(frozenset(table.items()) for table in tables), reply

    def reads(self, command: Command) -> bool:
        """Tell whether a command never changes anything."""
        return command.name in READS
