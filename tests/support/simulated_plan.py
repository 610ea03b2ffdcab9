"""What a run of the simulation is made of, all of it decided before: sizes, faults, commands.

A `Plan` can be cut down (`smaller`), so that of a run that fails the smallest can be looked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random
from typing import Any, Final

from shoal.proto.manifest import POLICIES
from shoal.proto.slots import key_slot, owner_of
from support.simulated_store import DATABASES, SCRIPTS, show

KEYS: Final = 6  # of each kind, spread over the workers

MANY_KEYS: Final = frozenset({"MGET", "MSET", "MSETNX", "DEL", "UNLINK", "EXISTS", "TOUCH"})
WIDE: Final = frozenset({"DBSIZE", "KEYS", "RANDOMKEY", "FLUSHDB", "FLUSHALL", "SWAPDB"})
BLOCKING: Final = frozenset({"BLPOP", "BLMOVE"})
TIMEOUTS: Final = (b"0", b"0", b"0.1", b"1", b"4")

Words = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ClientPlan:
    """What a client does: its database, and pipelines of commands.

    Besides the model's commands there is ("WATCH", keys); the conditions of an EXEC are what the
    client reads of watched keys on the way, and empty here.
    """

    db: int
    pipelines: tuple[tuple[Words, ...], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A run.

    Attributes:
        workers: how many.
        policy: appendfsync.
        clients: in the order of their numbers.
        deaths, crashes: how many workers may die, how often everything.
        death_rate: of a turn.
        power: how often the power fails in a crash, else the processes alone are killed.
        disks: whether they fail.
        hang_ups: whether clients go away.
        deadlines: whether a worker that is down may be found overdue.
        slow: how slow some pipes are.
    """

    workers: int
    policy: str
    clients: tuple[ClientPlan, ...]
    deaths: int
    crashes: int
    death_rate: float
    power: float
    disks: bool
    hang_ups: bool
    deadlines: bool
    slow: float

    def __str__(self) -> str:
        faults = [
            f"{self.deaths} deaths" if self.deaths else "",
            f"{self.crashes} crashes" if self.crashes else "",
            "failing disks" if self.disks else "",
            "clients that hang up" if self.hang_ups else "",
            "deadlines" if self.deadlines else "",
        ]
        lines = [
            f"{self.workers} workers, appendfsync {self.policy};"
            f" at most: {', '.join(filter(None, faults)) or 'no faults'}"
        ]
        for number, client in enumerate(self.clients):
            lines.append(f"client {number}, db{client.db}:")
            lines += [f"    {' | '.join(map(show, pipeline))}" for pipeline in client.pipelines]
        return "\n".join(lines)

    def smaller(self) -> Iterator[Plan]:
        """Yield what is left when one thing is taken away, the largest things first."""
        for field, least in (
            ("crashes", 0),
            ("deaths", 0),
            ("disks", False),
            ("hang_ups", False),
            ("deadlines", False),
            ("slow", 1.0),
        ):
            if getattr(self, field) != least:
                yield self._but(field, least)
        for field in ("crashes", "deaths"):
            if getattr(self, field) > 1:
                yield self._but(field, 1)
        for number in range(len(self.clients)):
            yield replace(self, clients=_without(self.clients, number))
        for number, client in enumerate(self.clients):
            for at in range(len(client.pipelines)):
                yield self._with(number, _without(client.pipelines, at))
        for number, client in enumerate(self.clients):
            for at, pipeline in enumerate(client.pipelines):
                if len(pipeline) > 1:
                    for which in range(len(pipeline)):
                        shorter = _without(pipeline, which)
                        before, behind = client.pipelines[:at], client.pipelines[at + 1 :]
                        yield self._with(number, (*before, shorter, *behind))

    def _but(self, field: str, value: Any) -> Plan:
        return replace(self, **{field: value})

    def _with(self, number: int, pipelines: tuple[tuple[Words, ...], ...]) -> Plan:
        client = replace(self.clients[number], pipelines=pipelines)
        before, behind = self.clients[:number], self.clients[number + 1 :]
        return replace(self, clients=(*before, *([client] if pipelines else []), *behind))


def _without(some: tuple[Any, ...], at: int) -> tuple[Any, ...]:
    return (*some[:at], *some[at + 1 :])


# -- keys ------------------------------------------------------------------------------------------


@lru_cache
def keys_of(workers: int, prefix: str) -> tuple[bytes, ...]:
    """Return KEYS keys, owned by the workers in turn."""
    found: list[bytes] = []
    for number in range(KEYS):
        names = (f"{prefix}{number}.{at}".encode() for at in range(10_000))
        found.append(next(name for name in names if owner(name, workers) == number % workers))
    return tuple(found)


@lru_cache(maxsize=10_000)
def owner(key: bytes, workers: int) -> int:
    """Return the worker that owns a key."""
    return owner_of(key_slot(key), workers)


@lru_cache(maxsize=100)
def all_keys(workers: int) -> frozenset[bytes]:
    """Return all keys of a run."""
    return frozenset((*keys_of(workers, "k"), *keys_of(workers, "l")))


def keys_in(words: Words, workers: int) -> frozenset[bytes]:
    """Return the keys that a command names, those in EXEC's commands and declared by EVAL."""
    if words[0] == "EXEC":
        return frozenset().union(*(keys_in(inner, workers) for inner in words[2]))
    if words[0] == "EVAL":
        return frozenset(words[2])
    named = [word for word in words[1:] if isinstance(word, bytes)]
    if words[0] == "WATCH":
        named = list(words[1])
    return all_keys(workers).intersection(named)


def is_wide(words: Words) -> bool:
    """Tell whether a command concerns all partitions."""
    return words[0] in WIDE or (words[0] == "EXEC" and any(one[0] in WIDE for one in words[2]))


# -- making it up ----------------------------------------------------------------------------------

# What the clients of a run like: everything in one partition or several; counters and deletes; hot
# keys; halves of an MSET; values that move; transactions; scripts; clients that wait.
_MENUS: Final[tuple[tuple[int, str], ...]] = (
    (
        3,
        "GET SET MGET MSET GET SET MGET MSET INCR DEL UNLINK EXISTS TOUCH DBSIZE KEYS RANDOMKEY"
        " FLUSHDB FLUSHALL SWAPDB",
    ),
    (2, "INCR INCR GET DEL UNLINK MSET MGET EXISTS DBSIZE"),
    (2, "GET SET MGET MSET"),
    (2, "GET GET MSET"),
    (3, "GET SET RENAME RENAME COPY MSETNX DEL LMOVE LMOVE RPUSH RPUSH LPOP LRANGE MGET"),
    (3, "EXEC EXEC EXEC WATCH WATCH WATCH SET GET MGET"),
    (2, "EVAL EVAL EVAL SET GET INCR MSET"),
    (3, "BLPOP BLPOP BLPOP BLMOVE RPUSH RPUSH RPUSH RPUSH LPOP LRANGE LMOVE"),
    (3, "BLPOP RPUSH EXEC WATCH EVAL RENAME LMOVE MGET MSET GET SET SET LRANGE INCR FLUSHDB"),
)
_IN_EXEC: Final = ("GET", "SET", "SET", "INCR", "MSET", "MGET", "RENAME", "LMOVE", "RPUSH", "DEL")
_WIDE_IN_EXEC: Final = ("DBSIZE", "FLUSHDB")


class _Inventor:
    """Makes up commands; each value written is a new one."""

    def __init__(self, random: Random, workers: int) -> None:
        self.random = random
        few = random.choice((2, 3, 4, 6))
        self.strings = keys_of(workers, "k")[:few]
        self.lists = keys_of(workers, "l")[: random.choice((2, 3))]
        weights = [weight for weight, _ in _MENUS]
        self.menu = random.choices(_MENUS, weights)[0][1].split()
        self._last = 0

    def command(self, name: str) -> Words:
        random = self.random
        kind = self.lists if name in _OF_LISTS else self.strings
        if name in {"RENAME", "COPY"} and random.random() < 0.3:
            kind = self.lists
        if name in _OF_LISTS | {"RENAME", "COPY", "DEL"} and random.random() < 0.05:
            kind = self.strings + self.lists
        if name in MANY_KEYS:
            keys = self._some(kind, random.randint(1, len(kind)))
        else:
            keys = self._some(kind, 2 if name in _OF_TWO else 1)
        if name in {"SET", "MSET", "MSETNX"}:
            pairs: list[bytes] = []
            for key in dict.fromkeys(keys):
                pairs += (key, self._value())
            return (name, *pairs)
        if name == "RPUSH":
            return (name, *keys, *(self._value() for _ in range(random.choice((1, 1, 2)))))
        if name == "LMOVE":
            return (name, *keys, b"LEFT", b"RIGHT")
        if name == "BLMOVE":
            return (name, *keys, b"LEFT", b"RIGHT", random.choice(TIMEOUTS))
        if name == "BLPOP":
            keys = self._some(kind, random.randint(1, len(kind)))
            return (name, *dict.fromkeys(keys), random.choice(TIMEOUTS))
        if name == "COPY" and random.random() < 0.7:
            return (name, *keys, b"REPLACE")
        if name == "LRANGE":
            return (name, *keys, b"0", b"-1")
        if name == "KEYS":
            return (name, b"*")
        if name == "SWAPDB":
            return (name, b"0", b"1")
        if name in WIDE:
            return (name,)
        return (name, *keys)

    def unit(self) -> list[list[Words]]:
        """Return what a client does in a row: pipelines."""
        random = self.random
        name = random.choice(self.menu)
        if name == "EXEC":
            return [[self._exec()]]
        if name == "EVAL":
            return [[self._eval()]]
        if name == "WATCH":
            keys = tuple(dict.fromkeys(self._some(self.strings, random.choice((1, 1, 2)))))
            reads: list[Words] = [("GET", key) for key in keys]
            unit: list[list[Words]] = [[("WATCH", keys)], reads, [self._exec()]]
            if random.random() < 0.5:  # all that needs no answer at once
                unit = [[("WATCH", keys), *reads], [self._exec()]]
            if random.random() < 0.3:
                unit = [[one for pipeline in unit for one in pipeline]]
            return unit
        return [[self.command(name)]]

    def _exec(self) -> Words:
        random = self.random
        names = random.choices(_IN_EXEC, k=random.randint(1, 4))
        if random.random() < 0.1:
            names.append(random.choice(_WIDE_IN_EXEC))
        return ("EXEC", (), tuple(self.command(name) for name in names))

    def _eval(self) -> Words:
        name = self.random.choice(list(SCRIPTS))
        if name == "swap":
            keys = tuple(self.random.sample(self.strings, 2))
            return ("EVAL", name, keys, ())
        others = tuple(self.random.sample(self.strings, 2))
        if name == "follow":
            return ("EVAL", name, tuple(self._some(self.strings, 1)), others)
        keys = tuple(self.random.sample(self.strings, 2))
        return ("EVAL", name, keys, (self._value(), *others))

    def _value(self) -> bytes:
        self._last += 100
        return b"%d" % self._last

    def _some(self, kind: Sequence[bytes], count: int) -> list[bytes]:
        if self.random.random() < 0.1:
            return self.random.choices(kind, k=count)  # a key may be named twice
        return self.random.sample(kind, min(count, len(kind)))


_OF_LISTS: Final = frozenset({"RPUSH", "LPOP", "LRANGE", "LLEN", "LMOVE", "BLPOP", "BLMOVE"})
_OF_TWO: Final = frozenset({"RENAME", "COPY", "LMOVE", "BLMOVE"})


def make_plan(seed: int, clients: int = 6, commands: int = 6) -> Plan:
    """Make up a run."""
    random = Random(f"plan {seed}")
    workers = random.randint(2, 4)
    inventor = _Inventor(random, workers)
    databases = random.choice((1, 1, DATABASES))
    plans: list[ClientPlan] = []
    for _ in range(clients):
        pipelines: list[tuple[Words, ...]] = []
        todo = commands
        while todo > 0:
            unit = inventor.unit()
            for _ in range(random.choice((0, 0, 0, 1, 2))):  # and more behind it, in one write
                if unit[0][0][0] != "WATCH":
                    more = inventor.unit()
                    unit = [*unit[:-1], [*unit[-1], *more[0]], *more[1:]]
            pipelines += map(tuple, unit)
            todo -= sum(map(len, unit))
        plans.append(ClientPlan(random.randrange(databases), tuple(pipelines)))
    return Plan(
        workers=workers,
        policy=random.choice(POLICIES),
        clients=tuple(plans),
        deaths=random.choice((0, 0, 1, 1, 2, 4)),
        crashes=random.choice((0, 0, 1, 1, 2, 3)),
        death_rate=random.choice((0.01, 0.03, 0.1)),
        power=0.7,
        disks=random.random() < 0.7,
        hang_ups=random.random() < 0.4,
        deadlines=random.random() < 0.7,
        slow=random.choice((1.0, 0.3, 0.03)),
    )
