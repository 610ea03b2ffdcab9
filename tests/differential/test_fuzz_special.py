"""What the fuzzer does not just send to both servers: what it accepts, and what it does not."""

from collections.abc import Iterator

import pytest
from support.fuzz.segments import check_log
from support.fuzz.special import Both, special_of
from support.raw import split_line
from support.servers import Oracle, Shoal


def corners(degrees: float) -> str:
    """GEOADD of eight places as far from the origin, two in each corner."""
    signs = [(a, b) for a in (1, -1) for b in (1, -1)]
    pairs = [f"{a * degrees} {b * degrees} {name}{a}{b}" for a, b in signs for name in "mn"]
    return f"GEOADD {{t}}s {' '.join(pairs)}"


PLACES = corners(1)


@pytest.fixture
def both(oracle: Oracle, subject: Shoal, resp: int) -> Iterator[Both]:
    with oracle.client() as redis, subject.client() as shoal:
        servers = Both(redis, shoal, resp)
        servers.call(b"HELLO", b"%d" % resp)
        servers.call(b"FLUSHALL")
        yield servers


def same(both: Both, *lines: str) -> None:
    for line in lines:
        theirs, ours = both.call(*split_line(line))
        assert theirs == ours, line


def special(both: Both, line: str) -> tuple[bytes, bytes] | None:
    argv = tuple(split_line(line))
    run = special_of(argv)
    assert run is not None, line
    return run(both, argv)


STORES = [
    "GEOSEARCHSTORE {t}d {t}s FROMLONLAT 0 0 BYBOX 900 900 km COUNT 3 DESC",
    "GEOSEARCHSTORE {t}d {t}s FROMLONLAT 0 0 BYRADIUS 900 km STOREDIST COUNT 3 ANY",
    "GEORADIUS {t}s 0 0 900 km COUNT 3 STORE {t}d",
    "GEORADIUSBYMEMBER {t}s m11 900 km STOREDIST {t}d COUNT 5",
    "GEORADIUSBYMEMBER {t}s m11 900 km STORE {t}s COUNT 5",
]


@pytest.mark.parametrize("line", STORES)
def test_of_places_at_the_same_distance_any_may_be_stored(both: Both, line: str) -> None:
    same(both, PLACES)
    assert special(both, line) is None
    for key in ("{t}d", "{t}s"):
        same(both, f"ZRANGE {key} 0 -1 WITHSCORES", f"OBJECT ENCODING {key}")
    same(both, "DBSIZE")


SEARCHES = [
    "GEOSEARCH {t}s FROMLONLAT 0 0 BYBOX 900 900 km COUNT 3 DESC",
    "GEOSEARCH {t}s FROMMEMBER m11 BYRADIUS 900 km COUNT 5 ASC WITHCOORD WITHDIST",
    "GEORADIUS {t}s 0 0 900 km COUNT 3 ANY",
    "GEORADIUS_RO {t}s 0 0 900 km WITHHASH COUNT 3",
    "GEORADIUSBYMEMBER_RO {t}s m11 900 km COUNT 5",
]


@pytest.mark.parametrize("line", SEARCHES)
def test_of_places_at_the_same_distance_any_may_be_found(both: Both, line: str) -> None:
    same(both, PLACES)
    assert special(both, line) is None
    same(both, "DBSIZE")


@pytest.mark.parametrize("line", [line for line in SEARCHES + STORES if "ANY" not in line])
def test_a_place_at_another_distance_may_not(both: Both, line: str) -> None:
    same(both, PLACES, "GEOADD {t}s 2.5 2.5 p")
    both.shoal.call(*split_line("GEOADD {t}s .5 .5 p"))
    assert special(both, line) is not None


@pytest.mark.parametrize("line", [*STORES, SEARCHES[1], SEARCHES[3]])
def test_a_place_may_not_be_elsewhere(both: Both, line: str) -> None:
    same(both, PLACES)
    both.shoal.call(*split_line(corners(1.2)))
    assert special(both, line) is not None


def test_a_search_with_an_error_is_compared_as_it_is(both: Both) -> None:
    same(both, PLACES)
    for options in ("COUNT 0", "COUNT x", "COUNT 3 STORE", "COUNT 3 WITHDIST", "COUNT"):
        assert special(both, f"GEORADIUS {{t}}s 0 0 900 km STORE {{t}}d {options}") is None
    same(both, "DBSIZE")


ACKED = [
    *("XADD s 1-1 a b", "XADD s 2-1 a b", "XADD s 3-1 a b"),
    *("XGROUP CREATE s high 3-1", "XGROUP CREATE s low {low}", "XTRIM s MAXLEN 2 ACKED"),
]


@pytest.mark.parametrize("low", ["0", "1-1", "2-1"])
def test_acked_after_a_group_is_destroyed(both: Both, low: str) -> None:
    same(both, *(line.format(low=low) for line in ACKED))
    assert special(both, "XGROUP DESTROY s low") is None
    same(both, "XTRIM s MAXLEN 1 ACKED", "XLEN s", "XINFO GROUPS s")
    for missing in ("s", "none"):
        assert special(both, f"XGROUP DESTROY {missing} low") is None


def test_acked_when_a_real_redis_reads_the_log() -> None:
    with Shoal("--save", "", "--appendonly", "yes") as shoal:
        with shoal.client() as client:
            for line in (*ACKED, "XGROUP destroy s low", "XTRIM s MAXLEN 0 ACKED", "XLEN s"):
                reply = client.call(*split_line(line.format(low="1-1")))
        assert reply == b":0\r\n"
        assert check_log(shoal, 3) == []


DELETED = ["XADD s 1-1 a b", "XADD s 2-1 c d", "XADD s 3-1 e f", "XDEL s 1-1"]


def test_a_dumped_stream_with_deleted_entries_lies_in_the_same_nodes(both: Both) -> None:
    for line in ("CONFIG SET stream-node-max-entries 2", *DELETED, "XADD s 4-1 g h", "XDEL s 4-1"):
        same(both, line)
    assert special(both, "DUMP s") is None
    try:
        same(both, "XADD s 5-1 x y", "XINFO STREAM s FULL")
    finally:
        same(both, "CONFIG SET stream-node-max-entries 100")


def test_its_entries_are_compared(both: Both) -> None:
    same(both, *DELETED)
    both.shoal.call(*split_line("XADD s 4-1 other one"))
    assert special(both, "DUMP s") is not None


def test_what_is_simply_sent() -> None:
    for line in (
        "XGROUP CREATE s g 0",
        "XGROUP",
        "GEOSEARCHSTORE d s FROMLONLAT 0 0 BYRADIUS 1 km",
        "GEORADIUS s 0 0 1 km STORE d",
        "GEORADIUS_RO s 0 0 1 km",
        "GET k",
    ):
        assert special_of(tuple(split_line(line))) is None, line
