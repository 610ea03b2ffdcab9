"""What one Redis would answer: the commands that the simulation uses, over immutable states.

A value is a string (bytes) or a list (a tuple of bytes). Every value that a client writes is a new
one, so a reply tells which write it saw. A command is a tuple, its name first; those that are more
than one line to the server have a form of their own:

- ("EXEC", conditions, commands): MULTI ... EXEC. The conditions are (key, value) pairs, what was
  read of watched keys; it answers only if they hold, and answers nothing that a client could have
  heard if they do not.
- ("EVAL", script, keys, arguments): one of `SCRIPTS`.

An error is the reply `Error(code)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple

DATABASES: Final = 2

Value = bytes | tuple[bytes, ...]
Table = dict[bytes, Value]
State = tuple[frozenset[tuple[bytes, Value]], ...]  # by database
EMPTY: Final[State] = (frozenset(),) * DATABASES

READS: Final = frozenset(
    {"GET", "MGET", "EXISTS", "TOUCH", "DBSIZE", "KEYS", "RANDOMKEY", "LRANGE", "LLEN", "DUMP"}
)


class Error(NamedTuple):
    """An error reply, without its words."""

    code: str


class Command(NamedTuple):
    """What the model runs."""

    db: int
    words: tuple[Any, ...]

    def __str__(self) -> str:
        return f"db{self.db} {show(self.words)}"


class _Failed(Exception):  # noqa: N818  a reply, that ends a script
    def __init__(self, code: str) -> None:
        self.error = Error(code)


def show(words: Iterable[Any]) -> str:
    """Return a command as a human writes it."""
    return " ".join(_shown(word) for word in words)


def _shown(word: Any) -> str:
    if isinstance(word, bytes):
        return word.decode()
    if isinstance(word, tuple):
        return (
            f"[{', '.join(show(one) if isinstance(one, tuple) else _shown(one) for one in word)}]"
        )
    return str(word)


class Script(NamedTuple):
    """A script twice: in Lua, and as the model runs it."""

    lua: bytes
    run: Callable[[list[Table], int, tuple[bytes, ...], tuple[bytes, ...]], Any]


def _swap(tables: list[Table], db: int, keys: tuple[bytes, ...], args: tuple[bytes, ...]) -> Any:
    found = [call(tables, db, ("GET", key)) for key in keys]
    for key, value in zip(keys, reversed(found), strict=True):
        call(tables, db, ("DEL", key) if value is None else ("SET", key, value))
    return found


def _named_by(table: list[Table], db: int, key: bytes, names: tuple[bytes, ...]) -> bytes:
    value = call(table, db, ("GET", key))
    return names[int(value or 0) // 100 % len(names)]


def _follow(tables: list[Table], db: int, keys: tuple[bytes, ...], args: tuple[bytes, ...]) -> Any:
    name = _named_by(tables, db, keys[0], args)
    return [name, call(tables, db, ("GET", name))]


def _fetch(tables: list[Table], db: int, keys: tuple[bytes, ...], args: tuple[bytes, ...]) -> Any:
    name = _named_by(tables, db, keys[0], args[1:])
    value = call(tables, db, ("GET", name))
    call(tables, db, ("SET", keys[1], args[0]))
    return [name, value]


_NAMED_BY: Final = b"""
    local function named(first)
        local value = tonumber(redis.call('GET', KEYS[1]) or 0)
        return ARGV[first + math.floor(value / 100) % (#ARGV - first + 1)]
    end
"""

SCRIPTS: Final = {
    "swap": Script(
        b"""
        local found = {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])}
        for at = 1, 2 do
            local value = found[3 - at]
            if value then redis.call('SET', KEYS[at], value) else redis.call('DEL', KEYS[at]) end
        end
        return found
        """,
        _swap,
    ),
    # Those that read a key that only their run can name.
    "follow": Script(
        _NAMED_BY
        + b"""
        local name = named(1)
        return {name, redis.call('GET', name)}
        """,
        _follow,
    ),
    "fetch": Script(
        _NAMED_BY
        + b"""
        local name = named(2)
        local value = redis.call('GET', name)
        redis.call('SET', KEYS[2], ARGV[1])
        return {name, value}
        """,
        _fetch,
    ),
}


# -- running ---------------------------------------------------------------------------------------


def call(tables: list[Table], db: int, words: tuple[Any, ...]) -> Any:
    """Run a command on the databases, which it changes. Raises: _Failed."""
    return _HANDLERS[words[0]](tables, db, *words[1:])


def run(tables: list[Table], db: int, words: tuple[Any, ...]) -> Any:
    """Run a command and return its reply, errors too."""
    try:
        return call(tables, db, words)
    except _Failed as failed:
        return failed.error


def _string(table: Table, key: bytes) -> bytes | None:
    value = table.get(key)
    if isinstance(value, tuple):
        raise _Failed("WRONGTYPE")
    return value


def _list(table: Table, key: bytes) -> tuple[bytes, ...]:
    value = table.get(key, ())
    if isinstance(value, bytes):
        raise _Failed("WRONGTYPE")
    return value


def _put(table: Table, key: bytes, elements: tuple[bytes, ...]) -> None:
    if elements:
        table[key] = elements
    else:
        table.pop(key, None)


def _get(tables: list[Table], db: int, key: bytes) -> Any:
    return _string(tables[db], key)


def _mget(tables: list[Table], db: int, *keys: bytes) -> Any:
    found = [tables[db].get(key) for key in keys]
    return [value if isinstance(value, bytes) else None for value in found]


def _mset(tables: list[Table], db: int, *pairs: bytes) -> Any:
    tables[db].update(zip(pairs[::2], pairs[1::2], strict=True))
    return b"OK"


def _msetnx(tables: list[Table], db: int, *pairs: bytes) -> Any:
    if any(key in tables[db] for key in pairs[::2]):
        return 0
    _mset(tables, db, *pairs)
    return 1


def _incr(tables: list[Table], db: int, key: bytes) -> Any:
    number = int(_string(tables[db], key) or 0) + 1
    tables[db][key] = b"%d" % number
    return number


def _del(tables: list[Table], db: int, *keys: bytes) -> Any:
    return sum(tables[db].pop(key, None) is not None for key in keys)


def _exists(tables: list[Table], db: int, *keys: bytes) -> Any:
    return sum(key in tables[db] for key in keys)


def _rename(tables: list[Table], db: int, key: bytes, other: bytes) -> Any:
    if key not in tables[db]:
        raise _Failed("ERR")
    tables[db][other] = tables[db].pop(key)
    return b"OK"


def _copy(tables: list[Table], db: int, key: bytes, other: bytes, *replace: bytes) -> Any:
    table = tables[db]
    if key == other:
        raise _Failed("ERR")
    if key not in table or (other in table and not replace):
        return 0
    table[other] = table[key]
    return 1


def _rpush(tables: list[Table], db: int, key: bytes, *elements: bytes) -> Any:
    tables[db][key] = found = _list(tables[db], key) + elements
    return len(found)


def _lpop(tables: list[Table], db: int, key: bytes) -> Any:
    found = _list(tables[db], key)
    _put(tables[db], key, found[1:])
    return found[0] if found else None


def _lrange(tables: list[Table], db: int, key: bytes, *_: bytes) -> Any:
    return list(_list(tables[db], key))


def _llen(tables: list[Table], db: int, key: bytes) -> Any:
    return len(_list(tables[db], key))


def _lmove(tables: list[Table], db: int, key: bytes, other: bytes, *_: bytes) -> Any:
    """From left to right; also BLMOVE, which answers null when its time is over."""
    table = tables[db]
    found = _list(table, key)
    if not found:
        return None
    _list(table, other)
    _put(table, key, found[1:])
    table[other] = (*_list(table, other), found[0])
    return found[0]


def _blpop(tables: list[Table], db: int, *keys: bytes) -> Any:
    """With the timeout as the last word."""
    for key in keys[:-1]:
        found = _list(tables[db], key)
        if found:
            _put(tables[db], key, found[1:])
            return [key, found[0]]
    return None


def _randomkey(tables: list[Table], db: int, *key: bytes) -> Any:
    """Tell whether a key, or without one that there is none, is a right answer."""
    return key[0] in tables[db] if key else not tables[db]


def _flushall(tables: list[Table], _: int) -> Any:
    for table in tables:
        table.clear()
    return b"OK"


def _flushdb(tables: list[Table], db: int) -> Any:
    tables[db].clear()
    return b"OK"


def _swapdb(tables: list[Table], _: int, *__: bytes) -> Any:
    tables[0], tables[1] = tables[1], tables[0]
    return b"OK"


def _exec(tables: list[Table], db: int, conditions: Any, commands: Any) -> Any:
    if any(tables[db].get(key) != value for key, value in conditions):
        return NOT_RUN
    return [run(tables, db, words) for words in commands]


def _eval(tables: list[Table], db: int, name: str, keys: Any, args: Any) -> Any:
    return SCRIPTS[name].run(tables, db, keys, args)


NOT_RUN: Final = Error("a watched key was touched, so this cannot have been answered")

_HANDLERS: Final[dict[str, Callable[..., Any]]] = {
    "GET": _get,
    "SET": _mset,
    "MGET": _mget,
    "MSET": _mset,
    "MSETNX": _msetnx,
    "INCR": _incr,
    "DEL": _del,
    "UNLINK": _del,
    "EXISTS": _exists,
    "TOUCH": _exists,
    "RENAME": _rename,
    "COPY": _copy,
    "RPUSH": _rpush,
    "LPOP": _lpop,
    "LRANGE": _lrange,
    "LLEN": _llen,
    "LMOVE": _lmove,
    "BLMOVE": _lmove,
    "BLPOP": _blpop,
    "DBSIZE": lambda tables, db: len(tables[db]),
    "KEYS": lambda tables, db, *_: sorted(tables[db]),
    "RANDOMKEY": _randomkey,
    "FLUSHDB": _flushdb,
    "FLUSHALL": _flushall,
    "SWAPDB": _swapdb,
    "EXEC": _exec,
    "EVAL": _eval,
    # What a test sees, all at once.
    "DUMP": lambda tables, _: [sorted(table.items()) for table in tables],
}


class StoreModel:
    """The whole store as one object, for `support/linearizability.py`."""

    def __init__(self, initial: State = EMPTY) -> None:
        self._initial = initial

    def initial(self) -> State:
        """Return the state before the first command."""
        return self._initial

    @staticmethod
    @lru_cache(maxsize=100_000)
    def step(state: State, command: Command) -> tuple[State, Any]:
        """Run a command."""
        tables = [dict(table) for table in state]
        reply = run(tables, *command)
        return tuple(frozenset(table.items()) for table in tables), reply

    def reads(self, command: Command) -> bool:
        """Tell whether a command never changes anything."""
        return command.words[0] in READS
