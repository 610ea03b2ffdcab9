"""What the geo commands log and announce, as redis-server 8.2 does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import shoal.worker.commands.geo
import shoal.worker.commands.strings  # noqa: F401, declares the commands
from support.keyspace import Partition, check_log
from support.raw import split_line

# name: (lines before, the line, what it logs, its events).
Row = tuple[Sequence[str], str, Sequence[str], Sequence[str]]

ADD = "GEOADD k 2 2 a"
TWO = "GEOADD k 2 2 a 3 3 b"
A, B = "3378191666521995", "3379368329318596"
HERE = "FROMLONLAT 2 2 BYRADIUS 10 km"
NOWHERE = "FROMLONLAT 50 50 BYRADIUS 10 km"

EFFECTS: dict[str, Row] = {
    "GEOADD": ([], ADD, [f"zadd k {A} a"], ["0 n:new k", "0 z:zadd k"]),
    "GEOADD of several": (
        [],
        f"{TWO} 3 3 b",
        [f"zadd k {A} a {B} b {B} b"],
        ["0 n:new k", "0 z:zadd k"],
    ),
    "GEOADD with options": (
        [ADD],
        "geoadd k ch XX ch 3 3 a 3 3 b",
        [f"zadd k ch XX ch {B} a {B} b"],
        ["0 z:zadd k"],
    ),
    "GEOADD of what is there": ([ADD], ADD, [], []),
    "GEOADD NX of what is there": ([ADD], "GEOADD k NX 3 3 a", [], []),
    "GEOADD XX of a missing key": ([], "GEOADD k XX 3 3 a", [], []),
    "GEOADD out of range": ([], "GEOADD k 3 3 a 3 86 b", [], []),
    "GEOPOS": ([ADD], "GEOPOS k a b", [], []),
    "GEOPOS of a missing key": ([], "GEOPOS k a", [], ["0 m:keymiss k"]),
    "GEOHASH of a missing key": ([], "GEOHASH k", [], ["0 m:keymiss k"]),
    "GEODIST of a missing key": ([], "GEODIST k a b", [], ["0 m:keymiss k"]),
    "GEOSEARCH": ([TWO], f"GEOSEARCH k {HERE}", [], []),
    "GEOSEARCH of a missing key": ([], f"GEOSEARCH k {HERE}", [], ["0 m:keymiss k"]),
    "GEORADIUS": ([TWO], "GEORADIUS k 2 2 10 km", [], []),
    "GEORADIUS STORE": (
        [TWO],
        "GEORADIUS k 2 2 10 km STORE t",
        ["GEORADIUS k 2 2 10 km STORE t"],
        ["0 n:new t", "0 z:georadiusstore t"],
    ),
    "GEORADIUS STOREDIST over a set": (
        [TWO, "GEOADD t 1 1 x"],
        "GEORADIUS k 2 2 10 km STOREDIST t",
        ["GEORADIUS k 2 2 10 km STOREDIST t"],
        ["0 o:overwritten t", "0 z:georadiusstore t"],
    ),
    "GEORADIUSBYMEMBER STORE over a string": (
        [TWO, "SET t v EX 9"],
        "GEORADIUSBYMEMBER k a 10 km STORE t",
        ["GEORADIUSBYMEMBER k a 10 km STORE t"],
        ["0 o:overwritten t", "0 c:type_changed t", "0 z:georadiusstore t"],
    ),
    "GEORADIUS STORE of nothing": (
        [TWO, "SET t v"],
        "GEORADIUS k 50 2 10 km STORE t",
        ["GEORADIUS k 50 2 10 km STORE t"],
        ["0 g:del t"],
    ),
    "GEORADIUS STORE of nothing at nothing": ([TWO], "GEORADIUS k 50 2 10 km STORE t", [], []),
    "GEORADIUS STORE of a missing key": (
        ["SET t v"],
        "GEORADIUS k 50 2 10 km STORE t",
        ["GEORADIUS k 50 2 10 km STORE t"],
        ["0 m:keymiss k", "0 g:del t"],
    ),
    "GEOSEARCHSTORE": (
        [TWO],
        f"GEOSEARCHSTORE t k {HERE}",
        [f"GEOSEARCHSTORE t k {HERE}"],
        ["0 n:new t", "0 z:geosearchstore t"],
    ),
    "GEOSEARCHSTORE onto itself": (
        [TWO],
        f"GEOSEARCHSTORE k k {HERE} STOREDIST",
        [f"GEOSEARCHSTORE k k {HERE} STOREDIST"],
        ["0 o:overwritten k", "0 z:geosearchstore k"],
    ),
    "GEOSEARCHSTORE of nothing": (
        [TWO, ADD.replace("k", "t")],
        f"GEOSEARCHSTORE t k {NOWHERE}",
        [f"GEOSEARCHSTORE t k {NOWHERE}"],
        ["0 g:del t"],
    ),
    "GEOSEARCHSTORE of nothing at nothing": ([TWO], f"GEOSEARCHSTORE t k {NOWHERE}", [], []),
}


@pytest.mark.parametrize("row", EFFECTS.values(), ids=EFFECTS.keys())
def test_what_is_logged_and_announced(row: Row) -> None:
    before, line, logged, events = row
    partition = Partition.after(*before)
    partition.run(split_line(line))
    assert partition.logged == [(0, tuple(split_line(effect))) for effect in logged]
    assert partition.events == events


@pytest.mark.parametrize("row", EFFECTS.values(), ids=EFFECTS.keys())
def test_the_log_leads_to_the_same_keys(row: Row) -> None:
    before, line, *_ = row
    check_log(before, line)


@pytest.mark.parametrize(
    "line",
    [
        "GEORADIUS k 2 2 10 km STORE t STORE u",
        "GEORADIUS k 2 2 10 km STORE STOREDIST STOREDIST u",
        "GEORADIUSBYMEMBER k a 10 km STOREDIST STORE STOREDIST u",
    ],
)
def test_a_target_that_the_router_did_not_see_is_refused(line: str) -> None:
    """Redis takes the last of several; here it might be a key of another partition."""
    partition = Partition.after(TWO)
    assert partition.run(split_line(line)) == b"-ERR syntax error\r\n"
    assert partition.run(b"GEORADIUS k 2 2 10 km STORE t STOREDIST t".split()) == b":1\r\n"
