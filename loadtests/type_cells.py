"""The cells about data types: a command line for redis-benchmark, and the data it works on.

redis-benchmark replaces `__rand_int__` by twelve digits, below 100,000 unless a cell says
otherwise.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import hiredis

from loadtests.resp import Command, Connection

KEYS = 100_000
VALUE = "x" * 64
MILLION = 1_000_000

Lay = Callable[[Connection, int], None]
"""Lays down what so many requests need, over a connection; called before every measurement."""

_PIPELINE = 500


class LayError(Exception):
    """The server answered an error to a command that lays data down."""


@dataclass(frozen=True)
class TypeCell:
    """A command on a data type.

    Attributes:
        command: the name that INFO commandstats counts it under.
        line: what redis-benchmark sends.
        lay: the data.
        keys: how many values `__rand_int__` takes.
    """

    command: str
    line: tuple[str, ...]
    lay: Lay
    keys: int = KEYS


def _run(connection: Connection, commands: Iterator[Command]) -> None:
    while chunk := list(islice(commands, _PIPELINE)):
        for reply in connection.pipeline(chunk):
            if isinstance(reply, hiredis.ReplyError):
                raise LayError(f"{chunk[0][0]!r}: {reply}")


def _number(connection: Connection, *argv: str) -> int:
    reply = connection.call(*argv)
    if not isinstance(reply, int):
        raise LayError(f"{argv[0]}: {reply}")
    return reply


def _in_hundreds(words: Iterator[str], *start: str) -> Iterator[Command]:
    """Yield commands of up to 100 words each."""
    while chunk := list(islice(words, 100)):
        yield *start, *chunk


def _nothing(connection: Connection, requests: int) -> None:
    """Lay nothing down: any state will do."""


def _emptied(key: str) -> Lay:
    """Delete the key, so that it grows from nothing in every measurement."""
    return lambda connection, requests: _run(connection, iter([("DEL", key)]))


def _once(key: str, commands: Callable[[], Iterator[Command]]) -> Lay:
    """Run the commands unless the key is there already."""

    def lay(connection: Connection, requests: int) -> None:
        if not _number(connection, "EXISTS", key):
            _run(connection, commands())

    return lay


def _list_to_pop(connection: Connection, requests: int) -> None:
    missing = requests - _number(connection, "LLEN", "pops")
    _run(connection, _in_hundreds((VALUE for _ in range(missing)), "RPUSH", "pops"))


def _set_to_pop(connection: Connection, requests: int) -> None:
    members = (f"member:{i:012d}" for i in range(requests))
    _run(connection, _in_hundreds(members, "SADD", "picks"))


def _stream_to_read(connection: Connection, requests: int) -> None:
    missing = requests - _number(connection, "XLEN", "log")
    _run(connection, (("XADD", "log", "*", "field", VALUE) for _ in range(missing)))
    # Read again from the start, with nothing pending.
    connection.call("XGROUP", "DESTROY", "log", "group")
    _run(connection, iter([("XGROUP", "CREATE", "log", "group", "0")]))


def _list() -> Iterator[Command]:
    return _in_hundreds((VALUE for _ in range(1000)), "RPUSH", "list")


def _hashes() -> Iterator[Command]:
    fields = [word for n in range(10) for word in (f"field:{n}", f"value:{n:04d}")]
    return (("HSET", f"hash:{i:012d}", *fields) for i in range(KEYS))


def _scores(key: str, count: int) -> Iterator[Command]:
    # In an order that is neither that of the scores nor that of the members: 7919 is prime.
    numbers = ((i * 7919 % count, i) for i in range(count))
    words = (word for score, i in numbers for word in (str(score), f"element:{i:012d}"))
    return _in_hundreds(words, "ZADD", key)


def _places() -> Iterator[Command]:
    """Yield GEOADDs of places spread evenly over 100 by 10 degrees."""
    for i in range(KEYS):
        longitude, latitude = i * 7919 % KEYS / 1000, i % 10_000 / 1000
        yield "GEOADD", "geo", f"{longitude:.3f}", f"{latitude:.3f}", f"place:{i:012d}"


_HASHES = _once(f"hash:{KEYS - 1:012d}", _hashes)
_ZSET = _once("zset", lambda: _scores("zset", KEYS))
_PLACES = _once("geo", _places)
# Twelve digits as a longitude of 0 to 100 degrees, and a latitude of 0 to 10.
_LONGITUDE, _LATITUDE = "__rand_int__e-3", "__rand_int__e-4"

TYPE_CELLS = {
    "LPUSH": TypeCell("LPUSH", ("LPUSH", "pushed", VALUE), _emptied("pushed")),
    "RPOP": TypeCell("RPOP", ("RPOP", "pops"), _list_to_pop),
    "LRANGE 100": TypeCell("LRANGE", ("LRANGE", "list", "0", "99"), _once("list", _list)),
    "SADD": TypeCell("SADD", ("SADD", "set", "element:__rand_int__"), _nothing),
    "SPOP": TypeCell("SPOP", ("SPOP", "picks"), _set_to_pop),
    "HSET": TypeCell("HSET", ("HSET", "hash:__rand_int__", "field:3", "value:1234"), _HASHES),
    "HGET": TypeCell("HGET", ("HGET", "hash:__rand_int__", "field:3"), _HASHES),
    "HGETALL 10": TypeCell("HGETALL", ("HGETALL", "hash:__rand_int__"), _HASHES),
    "ZADD": TypeCell("ZADD", ("ZADD", "zset", "__rand_int__", "element:__rand_int__"), _ZSET),
    "ZADD 1M": TypeCell(
        "ZADD",
        ("ZADD", "million", "__rand_int__", "element:__rand_int__"),
        _once("million", lambda: _scores("million", MILLION)),
        MILLION,
    ),
    "ZRANGE 100": TypeCell("ZRANGE", ("ZRANGE", "zset", "0", "99"), _ZSET),
    "ZRANGEBYSCORE 10": TypeCell(
        "ZRANGEBYSCORE",
        ("ZRANGEBYSCORE", "zset", "__rand_int__", "+inf", "LIMIT", "0", "10"),
        _ZSET,
    ),
    "XADD": TypeCell("XADD", ("XADD", "added", "*", "field", VALUE), _emptied("added")),
    "XREADGROUP": TypeCell(
        "XREADGROUP",
        ("XREADGROUP", "GROUP", "group", "consumer", "COUNT", "1", "STREAMS", "log", ">"),
        _stream_to_read,
    ),
    "PFADD": TypeCell("PFADD", ("PFADD", "hll", "element:__rand_int__"), _nothing),
    "GEOADD": TypeCell(
        "GEOADD", ("GEOADD", "geo", _LONGITUDE, _LATITUDE, "place:__rand_int__"), _PLACES
    ),
    "GEOSEARCH": TypeCell(
        "GEOSEARCH",
        ("GEOSEARCH", "geo", "FROMLONLAT", _LONGITUDE, _LATITUDE, "BYRADIUS", "20", "km"),
        _PLACES,
    ),
    "SETBIT": TypeCell("SETBIT", ("SETBIT", "bits:__rand_int__", "100", "1"), _nothing),
}
"""By the name of the cell, in the order in which they are measured and shown."""
