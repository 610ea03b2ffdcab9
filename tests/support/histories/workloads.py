"""What the clients of a round do. A workload has a history of its own and a checker for it."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

import hiredis
from shoal.proto.slots import key_slot, owner_of
from support.histories import bank, list_append, registers, sets
from support.histories.bank import Balances, Deed, Move, MoveAny, Places, Start, Transfer
from support.histories.history import Anomaly, Call, Outcome
from support.histories.link import (
    Argv,
    Link,
    OddError,
    Recorder,
    RefusedError,
    Rotation,
    UnsureError,
    answer_of,
    keys_of,
)
from support.histories.list_append import Append, Micro, Read
from support.histories.registers import Access
from support.histories.sets import Add, Shift

REGISTER_USES: Final = 120  # of a key: the search for an order is short
WIDE: Final = 0.3  # of the commands on registers, those on wide ones
ALONE: Final = 0.6  # the other transactions have one key
PLAIN: Final = 0.8  # and behind this they are one command
# Of each partition: few, and transactions meet; more, and a death finds some in their middle, not
# all of them waiting for locks.
LISTS: Final = 5
LIST_USES: Final = 60  # of a key, half of them appends: every read returns the whole list

TRANSACTION: Final = b"""
local replies = {}
for at, key in ipairs(KEYS) do
  if ARGV[at] == '' then replies[at] = redis.call('LRANGE', key, 0, -1)
  else replies[at] = redis.call('RPUSH', key, ARGV[at]) end
end
return replies
"""
TRANSFER: Final = b"""
local amount = tonumber(ARGV[1])
if tonumber(redis.call('GET', KEYS[1])) < amount then return 0 end
redis.call('DECRBY', KEYS[1], amount)
redis.call('INCRBY', KEYS[2], amount)
return 1
"""


class Workload(ABC):
    """Clients call `act` at the same time, each with a link and random numbers of its own."""

    name = ""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.recorder = Recorder()
        self._unique = itertools.count(1)  # next() is one bytecode: no lock is needed

    def owner(self, key: bytes) -> int:
        """Return the worker of a key."""
        return owner_of(key_slot(key), self.workers)

    def prepare(self, link: Link) -> None:  # noqa: B027
        """Write what has to be there at the start."""

    @abstractmethod
    def act(self, link: Link, random: Random) -> None:
        """Do one thing and record it. Raises: EOFError, OSError when the connection breaks."""

    @abstractmethod
    def end(self, link: Link) -> None:
        """Read what there is, after everybody has ended. Raises: RefusedError: try again."""

    @abstractmethod
    def check(self) -> list[Anomaly]:
        """Return what is wrong with the history, after `end`."""


class Registers(Workload):
    """Single commands on a few keys of each partition; and wide registers.

    A wide register is one key of each partition, always with the same value: it is set by MSET and
    MSETNX, read by MGET, deleted by DEL, and the history has it as one key.
    """

    name = "registers"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self._keys = Rotation(b"r", self.owner, workers, 2, REGISTER_USES)
        self._wide = Rotation(b"w", self.owner, workers, 1, REGISTER_USES)
        self._wide_used: dict[tuple[bytes, ...], None] = {}

    def act(self, link: Link, random: Random) -> None:
        if random.random() < WIDE:
            keys = self._wide.take(lambda current: [row[0] for row in current])
            self._wide_used[tuple(keys)] = None
            name = random.choice(["GET", "GET", "SET", "SETNX", "DEL"])
            self._access_wide(link, name, keys, next(self._unique))
            return
        (key,) = self._keys.take(lambda current: [random.choice(random.choice(current))])
        names = ["GET"] * 4 + ["INCR"] * 4 + ["SET", "SETNX", "SETGET", "GETDEL", "DEL"]
        self._access(link, Access(random.choice(names), key, 1000 * next(self._unique)))

    def _access(self, link: Link, access: Access) -> Call[Access]:
        name, key, value = access
        text = b"%d" % value
        argv: Argv
        match name:
            case "SET":
                argv = (b"SET", key, text)
            case "SETNX":
                argv = (b"SET", key, text, b"NX")
            case "SETGET":
                argv = (b"SET", key, text, b"GET")
            case _:
                argv = (name.encode(), key)
                access = Access(name, key)
        return self.recorder.run(link, access, [argv], _register_reply)

    def _access_wide(self, link: Link, name: str, keys: list[bytes], value: int) -> Call[Access]:
        pairs = [word for key in keys for word in (key, b"%d" % value)]
        argv: Argv
        read: Callable[[Any], Any] = _register_reply
        match name:
            case "GET":
                argv, value, read = (b"MGET", *keys), 0, _same
            case "SET":
                argv = (b"MSET", *pairs)
            case "SETNX":
                argv, read = (b"MSETNX", *pairs), lambda reply: registers.OK if reply else None
            case "DEL":
                argv, value, read = (b"DEL", *keys), 0, lambda reply: reply / len(keys)
            case _:
                raise AssertionError(name)
        return self.recorder.run(link, Access(name, b" ".join(keys), value), [argv], read)

    def end(self, link: Link) -> None:
        for key in self._keys.all:
            _done(self._access(link, Access("GET", key)))
        for keys in self._wide_used:
            _done(self._access_wide(link, "GET", list(keys), 0))

    def check(self) -> list[Anomaly]:
        return registers.check(self.recorder.calls)


class ListAppend(Workload):
    """Transactions of RPUSH and LRANGE over several partitions, by MULTI or EVAL; and alone."""

    name = "list-append"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self._keys = Rotation(b"l", self.owner, workers, LISTS, LIST_USES)

    def act(self, link: Link, random: Random) -> None:
        way = random.random()
        keys = self._keys.take(lambda current: _some_keys(current, random, alone=way > ALONE))
        steps = [self._micro(key, random) for key in keys]
        if way > PLAIN:  # without any transaction
            self._run(link, steps[:1], "plain")
            return
        if way <= ALONE:  # also on one key twice
            steps += [self._micro(random.choice(keys), random) for _ in range(random.randrange(5))]
        random.shuffle(steps)
        self._run(link, steps, random.choice(("multi", "script")))

    def _micro(self, key: bytes, random: Random) -> Micro:
        return Append(key, next(self._unique)) if random.random() < 0.5 else Read(key)

    def _run(self, link: Link, steps: list[Micro], way: str) -> Call[tuple[Micro, ...]]:
        what = tuple(steps)
        if way == "script":
            values = (b"%d" % s.value if isinstance(s, Append) else b"" for s in steps)
            keys = (step.key for step in steps)
            commands = [(b"EVAL", TRANSACTION, b"%d" % len(steps), *keys, *values)]
        else:
            commands = [
                (b"RPUSH", step.key, b"%d" % step.value)
                if isinstance(step, Append)
                else (b"LRANGE", step.key, b"0", b"-1")
                for step in steps
            ]
            if way == "plain":
                return self.recorder.run(link, what, commands, lambda reply: _steps_reply([reply]))
            commands = [(b"MULTI",), *commands, (b"EXEC",)]
        return self.recorder.run(link, what, commands, _steps_reply)

    def end(self, link: Link) -> None:
        for key in self._keys.all:
            _done(self._run(link, [Read(key)], "plain"))

    def check(self) -> list[Anomaly]:
        return list_append.check(self.recorder.calls)


class Bank(Workload):
    """Money between accounts, tokens between lists and between sets, of all partitions."""

    name = "bank"

    EACH = 2
    AMOUNT = 100
    TOKENS = 5

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.accounts = keys_of(b"account", self.owner, workers, self.EACH)
        self.lists = keys_of(b"list", self.owner, workers, self.EACH)
        self.sets = keys_of(b"set", self.owner, workers, self.EACH)
        tokens = itertools.count()
        places = [
            tuple(tuple(itertools.islice(tokens, self.TOKENS)) for _ in keys)
            for keys in (self.lists, self.sets)
        ]
        self.start = Start((self.AMOUNT,) * len(self.accounts), *places)
        self._tokens = [token for place in self.start.sets for token in place]
        self._where = {token: at for at, p in enumerate(self.start.sets) for token in p}

    def prepare(self, link: Link) -> None:
        commands: list[Argv] = [(b"SET", key, b"%d" % self.AMOUNT) for key in self.accounts]
        for name, keys, places in (
            (b"RPUSH", self.lists, self.start.lists),
            (b"SADD", self.sets, self.start.sets),
        ):
            for key, tokens in zip(keys, places, strict=True):
                commands.append((name, key, *(b"%d" % token for token in tokens)))
        for reply in link.ask(*commands):
            answer_of(reply)

    def act(self, link: Link, random: Random) -> None:
        deeds: list[tuple[Callable[[Link, Random], object], int]] = [
            (self._transfer_watched, 3),
            (self._transfer_by_script, 3),
            (self._move, 4),
            (self._move_any, 4),
            (self._read_balances, 3),
            (self._read_places, 1),
        ]
        (deed,) = random.choices([d for d, _ in deeds], [w for _, w in deeds])
        deed(link, random)

    def _transfer_watched(self, link: Link, random: Random) -> None:
        transfer = self._some_transfer(random)
        source, target = self.accounts[transfer.source], self.accounts[transfer.target]
        watched, *values = link.ask((b"WATCH", source, target), (b"GET", source), (b"GET", target))
        try:
            answer_of(watched)
            has, had = (int(answer_of(value)) for value in values)
        except (RefusedError, UnsureError):
            has = had = 0
        amount = transfer.amount
        if has < amount:
            link.ask((b"UNWATCH",))
            return
        commands: list[Argv] = [
            (b"MULTI",),
            (b"SET", source, b"%d" % (has - amount)),
            (b"SET", target, b"%d" % (had + amount)),
            (b"EXEC",),
        ]
        self.recorder.run(link, transfer, commands, _watched_reply)

    def _transfer_by_script(self, link: Link, random: Random) -> None:
        transfer = self._some_transfer(random)
        keys = self.accounts[transfer.source], self.accounts[transfer.target]
        argv = (b"EVAL", TRANSFER, b"2", *keys, b"%d" % transfer.amount)
        self.recorder.run(link, transfer, [argv], bool)

    def _some_transfer(self, random: Random) -> Transfer:
        source, target = random.sample(range(len(self.accounts)), 2)
        return Transfer(source, target, random.randint(1, 30))

    def _move(self, link: Link, random: Random) -> None:
        token = random.choice(self._tokens)
        source = self._where[token]  # a guess: others move it too
        if random.random() < 0.1:
            source = random.randrange(len(self.sets))
        target = random.choice([at for at in range(len(self.sets)) if at != source])
        argv = (b"SMOVE", self.sets[source], self.sets[target], b"%d" % token)
        call = self.recorder.run(link, Move(source, target, token), [argv], bool)
        if call.reply:
            self._where[token] = target

    def _move_any(self, link: Link, random: Random) -> None:
        source, target = random.sample(range(len(self.lists)), 2)
        ends = random.choice((b"LEFT", b"RIGHT")), random.choice((b"LEFT", b"RIGHT"))
        argv = (b"LMOVE", self.lists[source], self.lists[target], *ends)
        self.recorder.run(link, MoveAny(source, target), [argv], _integer)

    def _read_balances(self, link: Link, random: Random) -> None:
        if random.random() < 0.5:
            commands: list[Argv] = [(b"MGET", *self.accounts)]
        else:
            commands = [(b"MULTI",), *((b"GET", key) for key in self.accounts), (b"EXEC",)]
        self.recorder.run(link, Balances(), commands, _numbers)

    def _read_places(self, link: Link, random: Random) -> None:
        self._places(link, lists=random.random() < 0.5)

    def _places(self, link: Link, *, lists: bool) -> Call[Deed]:
        commands: list[Argv] = (
            [(b"LRANGE", key, b"0", b"-1") for key in self.lists]
            if lists
            else [(b"SMEMBERS", key) for key in self.sets]
        )
        commands = [(b"MULTI",), *commands, (b"EXEC",)]
        return self.recorder.run(
            link, Places(lists), commands, lambda reply: tuple(map(_numbers, reply))
        )

    def end(self, link: Link) -> None:
        for lists in (False, True):
            _done(self._places(link, lists=lists))
        argv = (b"MGET", *self.accounts)
        self._ending: Call[Deed] = self.recorder.run(link, Balances(), [argv], _numbers)
        _done(self._ending)

    def check(self) -> list[Anomaly]:
        return bank.check(self.start, self.recorder.calls, self._ending)


class Sets(Workload):
    """Unique elements are added to sets of all partitions, and moved on by who has added them."""

    name = "sets"

    EACH = 2
    MOST_KEPT = 50  # elements that a client may still move

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.keys = keys_of(b"elements", self.owner, workers, self.EACH)
        self._own: dict[int, list[tuple[int, int]]] = {}
        self._ending: list[tuple[int, ...]] = []

    def act(self, link: Link, random: Random) -> None:
        added: tuple[int, ...]
        argv: Argv
        own = self._own.setdefault(link.client, [])
        place = random.randrange(len(self.keys))
        if own and random.random() < 0.5:
            element, source = own.pop(random.randrange(len(own)))
            if source == place:
                place = (source + 1) % len(self.keys)
            argv = (b"SMOVE", self.keys[source], self.keys[place], b"%d" % element)
            call: Call[Any] = self.recorder.run(link, Shift(source, place, element), [argv], bool)
            added = (element,)
        else:
            added = tuple(itertools.islice(self._unique, random.choice((1, 1, 1, 3))))
            argv = (b"SADD", self.keys[place], *(b"%d" % element for element in added))
            call = self.recorder.run(link, Add(place, added), [argv], int)
        if call.outcome is Outcome.DONE:
            own += [(element, place) for element in added]
            del own[: -self.MOST_KEPT]

    def end(self, link: Link) -> None:
        self._ending = [_numbers(answer_of(r)) for r in link.ask(*self._reads())]

    def _reads(self) -> Iterator[Argv]:
        return ((b"SMEMBERS", key) for key in self.keys)

    def check(self) -> list[Anomaly]:
        return sets.check(self.recorder.calls, self._ending)


WORKLOADS: Final[dict[str, type[Workload]]] = {
    kind.name: kind for kind in (Registers, ListAppend, Bank, Sets)
}


def _some_keys(current: list[list[bytes]], random: Random, *, alone: bool) -> list[bytes]:
    """Pick one key, or two to four of at least two partitions."""
    if alone:
        return [random.choice(random.choice(current))]
    first, second, *_ = random.sample(current, len(current))
    keys = [random.choice(first), random.choice(second)]
    others = [key for row in current for key in row if key not in keys]
    return keys + random.sample(others, random.randrange(3))


def _done(call: Call[Any]) -> None:
    """Insist on an answer. Raises: RefusedError."""
    if call.outcome is not Outcome.DONE:
        raise RefusedError(str(call))


def _integer(reply: Any) -> int | None:
    return None if reply is None else int(reply)


def _inside(item: Any) -> Any:
    """Return an item of an array. Raises: OddError for an error: the whole runs, or nothing."""
    if isinstance(item, hiredis.ReplyError):
        raise OddError(str(item))
    return item


def _numbers(reply: Any) -> tuple[int, ...]:
    return tuple(int(_inside(item)) for item in reply)


def _register_reply(reply: Any) -> int | str | None:
    return registers.OK if reply == b"OK" else _integer(reply)


def _same(reply: Any) -> Any:
    """Return what all keys hold; all of it if they differ, which no register answers."""
    values = tuple(map(_integer, map(_inside, reply)))
    return values[0] if len(set(values)) == 1 else values


def _steps_reply(reply: Any) -> tuple[int | tuple[int, ...], ...]:
    if reply is None:
        raise OddError("EXEC without WATCH answered nil")
    items = map(_inside, reply)
    return tuple(_numbers(item) if isinstance(item, list) else int(item) for item in items)


def _watched_reply(reply: Any) -> bool:
    if reply is None:
        raise RefusedError("a watched key was touched")
    if reply != [b"OK", b"OK"]:
        raise OddError(repr(reply))
    return True
