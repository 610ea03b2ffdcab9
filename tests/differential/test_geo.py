"""The geo commands beside redis-server: tables, and random searches from fixed seeds."""

from __future__ import annotations

from itertools import permutations
from random import Random

import pytest
from support.differential import Case, Compare, Line, Step, Table, cases

COMMANDS = (
    *("GEOADD", "GEODIST", "GEOHASH", "GEOPOS", "GEORADIUS", "GEORADIUS_RO", "GEORADIUSBYMEMBER"),
    *("GEORADIUSBYMEMBER_RO", "GEOSEARCH", "GEOSEARCHSTORE"),
)
SICILY = "GEOADD {t}k 13.361389 38.115556 Palermo 15.087269 37.502669 Catania"
MORE = "GEOADD {t}k 12.758489 38.788135 edge1 17.241510 38.788135 edge2 15 37 centre"
EVERYWHERE = "GEOADD {t}k " + " ".join(
    f"{lon} {lat} p{lon},{lat}"
    for lon in (-180, -179.9, -90, -0.0001, 0, 90, 179.9, 180)
    for lat in (-85.05112878, -80, -66, 0, 45, 66.5, 85, 85.05112878)
)
AROUND = "FROMLONLAT 15 37 BYRADIUS 200 km"

ARITY: Table = {
    f"{name} with any number of arguments": [
        " ".join([name, *["{t}k", "{t}l", "1", "2", "3", "km", "7", "8"][:n]]) for n in range(9)
    ]
    for name in COMMANDS
}

ADD: Table = {
    "add and read": [
        *(SICILY, SICILY, "GEOPOS {t}k Palermo Catania no", "GEOHASH {t}k Palermo Catania no"),
        *("ZRANGE {t}k 0 -1 WITHSCORES", "GEOPOS {t}k", "GEOHASH {t}k", "OBJECT ENCODING {t}k"),
        *("TYPE {t}k", "ZSCORE {t}k Palermo"),
    ],
    "missing key": [
        *("GEOPOS k", "GEOPOS k a b", "GEOHASH k", "GEOHASH k a b", "GEODIST k a b"),
        "GEODIST k a b km",
    ],
    "corners": [
        *(EVERYWHERE, "ZRANGE {t}k 0 -1 WITHSCORES"),
        *(
            f"{name} {{t}}k {' '.join(f'p{lon},{lat}' for lon in (-180, 180, 0) for lat in lats)}"
            for name in ("GEOPOS", "GEOHASH")
            for lats in [(-85.05112878, 0, 85.05112878, 85)]
        ),
    ],
    "conditions": [
        *("GEOADD k 1 1 a", "GEOADD k NX 2 2 a 2 2 b", "GEOADD k XX 3 3 a 3 3 c", "GEOPOS k a b c"),
        *("GEOADD k CH 4 4 a 5 5 d", "GEOADD k ch XX CH 5 5 a", "GEOADD k nx ch 5 5 a 6 6 e"),
        *("GEOADD no XX 1 1 a", "EXISTS no", "GEOADD k CH 5 5 a", "GEOADD k 7 7 f 8 8 f"),
        "ZRANGE k 0 -1 WITHSCORES",
    ],
    "bad options": [
        *("GEOADD k NX XX 1 1 a", "GEOADD k nx ch ch", "GEOADD k CH CH CH 1 1 a"),
        *("GEOADD k 1 1 a b", "GEOADD k 1 1 a 2 2", "GEOADD k GT 1 1 a", "GEOADD k 1 1 a NX"),
        *("GEOADD k INCR 1 1 a", "GEOADD k NX NX NX", "GEOADD k 1 NX XX", "EXISTS k"),
    ],
    "bad numbers": [
        *(f"GEOADD k {x} 1 a" for x in ("x", "nan", "inf", "-inf", "1e300", "180.0001", "-181")),
        *(
            f"GEOADD k 1 {x} a"
            for x in ("x", "nan", "inf", "1e30", "85.0512", "-90", "0x10", "'1 '")
        ),
        *("GEOADD k 1 90 a x 3 c", "GEOADD k 1 1 a x 3 c", "GEOADD k 1 1 a 3 90 c", "EXISTS k"),
        *(
            'GEOADD k "" 1 a',
            'GEOADD k 1 "" a',
            "GEOADD k +1 1. a",
            "GEOADD k .5 1e1 b",
            "GEOPOS k a b",
        ),
        *("GEOADD k -0 -0.0 c 001 00.5 d 1.123456789012345678901 0 e", "GEOPOS k c d e"),
        f"GEOADD k 0.{'0' * 400}1 1 a",
    ],
    "wrong type": [
        "SET {t}s v",
        *("GEOADD {t}s 1 1 a", "GEOADD {t}s x 1 a", "GEOADD {t}s NX XX 1 1 a", "GEOPOS {t}s a"),
        *(
            "GEOPOS {t}s",
            "GEOHASH {t}s",
            "GEODIST {t}s a b",
            "GEODIST {t}s a b x",
            "GEODIST {t}s a b c d",
        ),
        *("GEORADIUS {t}s 1 1 1 km", "GEORADIUS {t}s x 1 1 km", "GEORADIUSBYMEMBER {t}s a 1 km"),
        *(
            f"GEOSEARCH {{t}}s {AROUND}",
            "GEOSEARCH {t}s a b c d e",
            f"GEOSEARCHSTORE {{t}}t {{t}}s {AROUND}",
        ),
    ],
    "binary members": [
        (b"GEOADD", b"k", b"1", b"1", b"\x00\r\n\xff", b"2", b"2", b""),
        *((name, b"k", b"\x00\r\n\xff", b"", b"x") for name in (b"GEOPOS", b"GEOHASH")),
        (b"GEODIST", b"k", b"\x00\r\n\xff", b""),
        (b"GEOSEARCH", b"k", b"FROMMEMBER", b"", b"BYRADIUS", b"999", b"KM", b"WITHDIST"),
        (b"GEORADIUSBYMEMBER", b"k", b"\x00\r\n\xff", b"999", b"km", b"DESC"),
    ],
    "encodings": [
        "GEOADD k " + " ".join(f"{n} {n} m{n}" for n in range(64)),
        "OBJECT ENCODING k",
        "GEOADD k " + " ".join(f"-{n} {n} n{n}" for n in range(65)),
        "OBJECT ENCODING k",
        "GEOADD l " + " ".join(["1 1 a"] * 129),
        *("OBJECT ENCODING l", "ZCARD l", f"GEOADD m 1 1 {'x' * 64}", "OBJECT ENCODING m"),
        *(f"GEOADD m 1 1 {'x' * 65}", "OBJECT ENCODING m"),
    ],
    "an expired key": ["GEOADD k 1 1 a", "PEXPIREAT k 1", "GEOADD k 2 2 b", "ZCARD k", "TTL k"],
    "an expire time stays": [
        "GEOADD k 1 1 a",
        "PEXPIREAT k 9999999999999",
        "GEOADD k 2 2 b",
        "PEXPIRETIME k",
    ],
}

DISTANCES: Table = {
    "units": [
        SICILY,
        *(
            f"GEODIST {{t}}k Palermo Catania {u}"
            for u in ("", "m", "km", "FT", "Mi", "x", "meter", "''")
        ),
        *("GEODIST {t}k Palermo Palermo", "GEODIST {t}k Palermo no", "GEODIST {t}k no no km"),
        *("GEODIST {t}k Palermo Catania m x", "GEODIST no a b x", "GEODIST no a b m m"),
    ],
    "far apart": [
        EVERYWHERE,
        *(f"GEODIST {{t}}k p0,0 p{lon},{lat}" for lon in (180, -180, 90) for lat in (0, 85, -66)),
        *(
            f"GEODIST {{t}}k p-180,85.05112878 p{lon},{lat} mi"
            for lon in (180, 0)
            for lat in (85.05112878, -85.05112878)
        ),
    ],
    "antipodes": [
        step
        for n in range(0, 90, 7)
        for step in (f"GEOADD k {n} {n * 0.9} a {n - 180} {-n * 0.9} b", "GEODIST k a b", "DEL k")
    ],
    "scores that are no positions": [
        "ZADD k 1.5 a -1 b 1e300 c inf d -inf e 9.3e18 f -9.4e18 g 1.9e19 h 4503599627370496 i 0 j",
        *("GEOPOS k a b c d e f g h i j", "GEOHASH k a b c d e f g h i j", "GEODIST k a b"),
        *("GEODIST k d e", "GEODIST k f g", "GEODIST k i j ft"),
        *(
            f"GEOSEARCH k FROMMEMBER {m} BYRADIUS 30000 km WITHHASH WITHDIST WITHCOORD"
            for m in "abdef"
        ),
        "GEOSEARCH k FROMLONLAT 0 0 BYBOX 60000 60000 km WITHHASH",
    ],
}

SEARCH: Table = {
    "scores that are no geohashes": [
        "GEOADD {t}k 13.990795 -63.8135 g 179.9 85 h",
        *("ZUNIONSTORE {t}k 1 {t}k WEIGHTS 2", "GEOPOS {t}k g h"),
        *(
            f"GEOSEARCH {{t}}k FROMMEMBER {member} {extent} ASC WITHDIST WITHHASH"
            for member in "gh"
            for extent in ("BYRADIUS 200 km", "BYBOX 200 200 km", "BYRADIUS 1e300 m")
        ),
    ],
    "circle and box": [
        *(SICILY, MORE, f"GEOSEARCH {{t}}k {AROUND}", f"GEOSEARCH {{t}}k {AROUND} ASC"),
        *(
            f"GEOSEARCH {{t}}k {AROUND} DESC WITHDIST",
            "GEOSEARCH {t}k FROMLONLAT 15 37 BYBOX 400 400 km",
        ),
        *(
            "GEOSEARCH {t}k FROMMEMBER Palermo BYBOX 10 10 mi",
            "GEOSEARCH {t}k FROMMEMBER Palermo BYRADIUS 0 m",
        ),
        *(
            "GEOSEARCH {t}k FROMMEMBER Palermo BYBOX 0 0 m",
            "GEOSEARCH {t}k FROMLONLAT 50 50 BYRADIUS 1 km",
        ),
        "GEOSEARCH {t}k FROMLONLAT 15 37 BYBOX 999999 2 m WITHDIST",
    ],
    "details in every order": [
        *(SICILY, MORE),
        *(
            f"GEOSEARCH {{t}}k {AROUND} {' '.join(words)}"
            for n in (1, 2, 3)
            for words in permutations(["WITHDIST", "withhash", "WithCoord", "ASC", "COUNT 2"], n)
        ),
    ],
    "options in every order": [
        *(SICILY, MORE),
        *(
            f"GEOSEARCH {{t}}k {' '.join(words)}"
            for words in permutations(["FROMLONLAT 15 37", "BYRADIUS 200 km", "ASC", "COUNT 2 ANY"])
        ),
    ],
    "COUNT": [
        *(SICILY, MORE),
        *(
            f"GEOSEARCH {{t}}k {AROUND} COUNT {n}"
            for n in ("1", "2", "5", "100", "0", "-1", "x", "''", "1.5")
        ),
        *(f"GEOSEARCH {{t}}k {AROUND} COUNT {n} ANY" for n in (1, 2, 3, 5, 100)),
        *(f"GEOSEARCH {{t}}k {AROUND} ANY COUNT 3 {order} WITHDIST" for order in ("ASC", "DESC")),
        *(f"GEOSEARCH {{t}}k {AROUND} {tail}" for tail in ("ANY", "COUNT", "COUNT ANY", "ANY ASC")),
        f"GEOSEARCH {{t}}k {AROUND} COUNT 1 COUNT 3 DESC ASC",
    ],
    "units": [
        *(SICILY, MORE),
        *(
            f"GEOSEARCH {{t}}k FROMLONLAT 15 37 BYRADIUS 150 {u} WITHDIST"
            for u in ("m", "KM", "ft", "mI", "x", "''")
        ),
        *(
            f"GEOSEARCH {{t}}k FROMLONLAT 15 37 BYBOX 300 150 {u} WITHDIST"
            for u in ("m", "km", "FT", "mi", "y")
        ),
    ],
    "bad searches": [
        *(
            SICILY,
            "GEOSEARCH {t}k FROMLONLAT 15 37 ASC COUNT 1",
            "GEOSEARCH {t}k BYRADIUS 1 km ASC COUNT 3",
        ),
        *(
            "GEOSEARCH {t}k FROMLONLAT 1 1 FROMMEMBER Palermo BYRADIUS 1 km",
            "GEOSEARCH {t}k ASC DESC ASC DESC ASC",
        ),
        *(
            "GEOSEARCH {t}k FROMMEMBER Palermo FROMLONLAT 1 1 BYRADIUS 1 km",
            "GEOSEARCH {t}k a b c d e",
        ),
        *(f"GEOSEARCH {{t}}k {AROUND} BYBOX 1 1 km", f"GEOSEARCH {{t}}k {AROUND} STOREDIST"),
        *(
            "GEOSEARCH {t}k FROMLONLAT 1 1 BYBOX 1 1 km BYRADIUS 1 km",
            f"GEOSEARCH {{t}}k {AROUND} STORE {{t}}x",
        ),
        *(f"GEOSEARCH {{t}}k {AROUND} FROMLONLAT 13 38", f"GEOSEARCH {{t}}k {AROUND} BYRADIUS 1 m"),
        *(f"GEOSEARCH {{t}}k {AROUND} FROMLONLAT 13", f"GEOSEARCH {{t}}k {AROUND} BYRADIUS 1"),
        *(
            "GEOSEARCH {t}k FROMMEMBER no BYRADIUS 1 km",
            "GEOSEARCH {t}no FROMMEMBER no BYRADIUS 1 km",
        ),
        *(
            "GEOSEARCH {t}no FROMMEMBER no BYRADIUS x km",
            "GEOSEARCH {t}no FROMLONLAT 1 91 BYRADIUS 1 km",
        ),
        *(
            "GEOSEARCH {t}no FROMMEMBER no ASC ASC ASC",
            "GEOSEARCH {t}k FROMMEMBER no BYRADIUS x km",
        ),
        "GEOSEARCH {t}k FROMMEMBER Palermo FROMMEMBER Catania BYRADIUS 1 km",
        "GEOSEARCH {t}k BYBOX 1 1 km BYBOX 999 999 km FROMMEMBER Palermo",
        "GEOSEARCH {t}k ANY ANY ANY BYBOX 1 1 km",
    ],
    "bad numbers": [
        SICILY,
        *(
            f"GEOSEARCH {{t}}k FROMLONLAT 15 37 BYRADIUS {r} km"
            for r in ("x", "-1", "-0", "nan", "inf", "1e308", "''", "1e-300")
        ),
        *(
            "GEOSEARCH {t}k FROMLONLAT 15 37 BYRADIUS -1 x",
            "GEOSEARCH {t}k FROMLONLAT 15 37 BYBOX x y km",
        ),
        *(
            f"GEOSEARCH {{t}}k FROMLONLAT 15 37 BYBOX {w} 1 km"
            for w in ("x", "-1", "nan", "inf", "1e300")
        ),
        *(
            f"GEOSEARCH {{t}}k FROMLONLAT 15 37 BYBOX 1 {h} km"
            for h in ("x", "-1", "nan", "inf", "1e300")
        ),
        *(
            "GEOSEARCH {t}k FROMLONLAT 15 37 BYBOX -1 x km",
            "GEOSEARCH {t}k FROMLONLAT 15 37 BYBOX 1 -1 x",
        ),
        *(
            "GEOSEARCH {t}k FROMLONLAT x 91 BYBOX 1 1 m",
            "GEOSEARCH {t}k FROMLONLAT 15 x BYBOX 1 1 m",
        ),
        "GEOSEARCH {t}k FROMLONLAT 181 37 BYBOX 1 1 m",
    ],
    "an expired key": [
        *(
            "GEOADD k 15 37 a",
            "PEXPIREAT k 1",
            f"GEOSEARCH k {AROUND}",
            "GEOPOS k a",
            "GEODIST k a a",
        ),
    ],
    "GEORADIUS": [
        *(SICILY, MORE, "GEORADIUS {t}k 15 37 200 km", "GEORADIUS_RO {t}k 15 37 200 km WITHDIST"),
        *(
            "GEORADIUS {t}k 15 37 200 km WITHCOORD WITHHASH DESC COUNT 2",
            "GEORADIUS {t}k 15 37 x km",
        ),
        *(
            "GEORADIUS {t}k 15 37 200 km COUNT 2 ANY",
            "GEORADIUS {t}k 15 37 -1 foo",
            "GEORADIUS {t}k 15 37 1 foo",
        ),
        *("GEORADIUS {t}k x 37 y foo", "GEORADIUS {t}k 15 97 y foo", "GEORADIUS {t}no 15 97 1 km"),
        *(
            "GEORADIUS {t}no 15 37 1 km",
            "GEORADIUS {t}no 15 37 1 x",
            "GEORADIUS {t}k 15 37 200 km ASC x",
        ),
        *("GEORADIUS {t}k 15 37 200 km BYRADIUS 1 m", "GEORADIUS {t}k 15 37 200 km STORE"),
        "GEORADIUS_RO {t}k 15 37 200 km STORE {t}a",
    ],
    "GEORADIUSBYMEMBER": [
        *(
            SICILY,
            MORE,
            "GEORADIUSBYMEMBER {t}k centre 200 km",
            "GEORADIUSBYMEMBER_RO {t}k centre 9 ft WITHDIST",
        ),
        *(
            "GEORADIUSBYMEMBER {t}k no 1 km",
            "GEORADIUSBYMEMBER {t}k no x y",
            "GEORADIUSBYMEMBER {t}no m x y",
        ),
        *(
            "GEORADIUSBYMEMBER {t}no m 1 km z",
            "GEORADIUSBYMEMBER {t}k centre x km",
            "GEORADIUSBYMEMBER {t}k centre 1 z",
        ),
        *(
            "GEORADIUSBYMEMBER {t}k centre 200 km desc any count 2 withdist",
            "GEORADIUSBYMEMBER {t}no m x y COUNT 0",
        ),
        "GEORADIUSBYMEMBER_RO {t}k centre 200 km STORE {t}a",
    ],
}

LOOK = ["ZRANGE {t}d 0 -1 WITHSCORES", "TYPE {t}d", "PTTL {t}d", "OBJECT ENCODING {t}d"]
STORE: Table = {
    "GEOSEARCHSTORE": [
        *(SICILY, MORE, f"GEOSEARCHSTORE {{t}}d {{t}}k {AROUND}", *LOOK),
        *(f"GEOSEARCHSTORE {{t}}d {{t}}k {AROUND} STOREDIST", *LOOK),
        *(
            "EXPIRE {t}d 100",
            f"GEOSEARCHSTORE {{t}}d {{t}}k {AROUND} storedist COUNT 1 DESC",
            *LOOK,
        ),
        *(f"GEOSEARCHSTORE {{t}}d {{t}}k {AROUND} STOREDIST COUNT 2 ANY STOREDIST", *LOOK),
        *("GEOSEARCHSTORE {t}d {t}k FROMLONLAT 15 37 BYBOX 9 9 ft STOREDIST", *LOOK),
        *("GEOSEARCHSTORE {t}d {t}k FROMLONLAT 50 50 BYBOX 9 9 ft STOREDIST", *LOOK),
        *("SET {t}d v", f"GEOSEARCHSTORE {{t}}d {{t}}k {AROUND}", *LOOK),
        *("SET {t}d v", f"GEOSEARCHSTORE {{t}}d {{t}}no {AROUND}", *LOOK),
        *("SET {t}d v", f"GEOSEARCHSTORE {{t}}d {{t}}d {AROUND}", *LOOK),
        *(f"GEOSEARCHSTORE {{t}}k {{t}}k {AROUND}", "ZRANGE {t}k 0 -1 WITHSCORES"),
        *(
            f"GEOSEARCHSTORE {{t}}d {{t}}k {AROUND} {w}"
            for w in ("WITHDIST", "WITHHASH", "WITHCOORD", "ANY", "x")
        ),
        *(
            "GEOSEARCHSTORE {t}d {t}k FROMLONLAT 1 1 ASC ASC",
            "GEOSEARCHSTORE {t}d {t}k BYRADIUS 1 km ASC ASC",
        ),
        *(
            "GEOSEARCHSTORE {t}d {t}k ASC WITHDIST ASC ASC ASC",
            "GEOSEARCHSTORE {t}d {t}k FROMMEMBER no BYRADIUS 1 km",
        ),
        f"GEOSEARCHSTORE {{t}}d {{t}}no {AROUND} ANY",
    ],
    "STORE and STOREDIST": [
        *(SICILY, MORE, "GEORADIUS {t}k 15 37 200 km STORE {t}d", *LOOK),
        *("GEORADIUS {t}k 15 37 200 mi COUNT 2 STOREDIST {t}d", *LOOK),
        *("GEORADIUSBYMEMBER {t}k centre 200 km store {t}d ASC", *LOOK),
        *("GEORADIUSBYMEMBER {t}k centre 1 km StoreDist {t}d", *LOOK),
        *("GEORADIUS {t}k 15 37 200 km STORE {t}e STOREDIST {t}d", *LOOK, "EXISTS {t}e"),
        *("GEORADIUS {t}k 15 37 200 km STOREDIST {t}e STORE {t}d", *LOOK, "EXISTS {t}e"),
        *("GEORADIUS {t}k 55 37 1 km STORE {t}d", *LOOK, "GEORADIUS {t}k 55 37 1 km STORE {t}d"),
        *("SET {t}d v", "GEORADIUS {t}no 15 37 200 km STORE {t}d", *LOOK),
        *("SET {t}d v", "GEORADIUSBYMEMBER {t}no m x y STORE {t}d", *LOOK),
        *(
            f"GEORADIUS {{t}}k 15 37 200 km STORE {{t}}d {w}"
            for w in ("WITHDIST", "WITHHASH", "WITHCOORD", "ANY")
        ),
        *("GEORADIUS {t}k 15 37 200 km STORE {t}k", "ZRANGE {t}k 0 -1 WITHSCORES"),
    ],
    "encodings": Case(
        *("CONFIG SET zset-max-listpack-entries 2 zset-max-listpack-value 6", SICILY),
        *(
            "OBJECT ENCODING {t}k",
            f"GEOSEARCHSTORE {{t}}d {{t}}k {AROUND}",
            "OBJECT ENCODING {t}d",
            MORE,
        ),
        *("GEOSEARCHSTORE {t}d {t}k FROMMEMBER edge1 BYRADIUS 100 km", *LOOK),
        *("GEOSEARCHSTORE {t}d {t}k FROMMEMBER edge1 BYRADIUS 1 km", *LOOK),
        f"GEOADD {{t}}e 1 1 {'a' * 6} 2 2 b",
        *("OBJECT ENCODING {t}e", "GEOADD {t}e 1 1 c", "OBJECT ENCODING {t}e"),
        cleanup=["CONFIG SET zset-max-listpack-entries 128 zset-max-listpack-value 64"],
    ),
}

KEYS: Table = {
    "COMMAND GETKEYS": [
        *(
            f"COMMAND GETKEYS GEORADIUS k 1 1 1 km {tail}"
            for tail in ("", "STORE a", "STOREDIST a ASC")
        ),
        *(
            f"COMMAND GETKEYS GEORADIUS k 1 1 1 km {tail}"
            for tail in ("STORE", "STORE a STOREDIST b", "STORE a STORE b")
        ),
        *(
            "COMMAND GETKEYS GEORADIUSBYMEMBER k m 1 km STORE a",
            "COMMAND GETKEYS GEORADIUSBYMEMBER k store store 1 km",
        ),
        *("COMMAND GETKEYS GEOSEARCHSTORE d k x x x x x", "COMMAND GETKEYS GEOSEARCH k x x x x x"),
        "COMMAND GETKEYSANDFLAGS GEORADIUS k 1 1 1 km STORE a",
    ],
}


@pytest.mark.parametrize("script", cases(ARITY, ADD, DISTANCES))
def test_positions(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(SEARCH))
def test_searches(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(STORE, KEYS))
def test_stored_searches(script: Case, compare: Compare) -> None:
    compare(script)


def positions(random: Random) -> list[tuple[float, float]]:
    """Return positions of one kind: a town, the world, around a pole, at the date line."""
    kind = random.choice(["town", "world", "pole", "date line"])
    count = random.choice([3, 30, 300, 1500])
    if kind == "town":
        return [(random.gauss(13.4, 0.1), random.gauss(52.5, 0.1)) for _ in range(count)]
    if kind == "world":
        return [(random.uniform(-180, 180), random.uniform(-85, 85)) for _ in range(count)]
    if kind == "pole":
        return [(random.uniform(-180, 180), random.uniform(80, 85.05)) for _ in range(count)]
    side = random.choice([-1, 1])
    return [
        (random.choice([side, side, -side]) * random.uniform(179, 180), random.uniform(-9, 9))
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_random_searches(seed: int, compare: Compare) -> None:
    random = Random(seed)
    found = positions(random)
    members = [b"m%d" % at for at in range(len(found))]
    add: list[bytes] = [b"GEOADD", b"{t}k"]
    for member, (lon, lat) in zip(members, found, strict=True):
        add += (b"%.17g" % lon, b"%.17g" % lat, member)
    steps: list[Line | Step] = [tuple(add)]
    for _ in range(80):
        lon, lat = (
            random.choice(found) if random.random() < 0.5 else random.choice(positions(random))
        )
        unit, metres = random.choice([(b"m", 1.0), (b"km", 1e3), (b"ft", 0.3048), (b"mi", 1609.34)])
        sides = [b"%.6g" % (10 ** random.uniform(0, 7.5) / metres) for _ in range(2)]
        words = [
            random.choice(
                [
                    [b"FROMLONLAT", b"%.9g" % lon, b"%.9g" % lat],
                    [b"FROMMEMBER", random.choice(members)],
                ]
            ),
            random.choice([[b"BYRADIUS", sides[0], unit], [b"BYBOX", *sides, unit]]),
        ]
        if random.random() < 0.4:
            words.append([random.choice([b"ASC", b"DESC"])])
        if random.random() < 0.4:
            count = b"%d" % random.choice([1, 2, 10, 100])
            words.append([b"COUNT", count, *random.choice([[], [b"ANY"]])])
        if random.random() < 0.3:
            words += random.choice([[], [[b"STOREDIST"]]])
            head = (b"GEOSEARCHSTORE", b"{t}d", b"{t}k")
            random.shuffle(words)
            steps += [(*head, *(w for ws in words for w in ws)), "ZRANGE {t}d 0 -1 WITHSCORES"]
            continue
        words += [[w] for w in (b"WITHDIST", b"WITHHASH", b"WITHCOORD") if random.random() < 0.5]
        random.shuffle(words)
        steps.append((b"GEOSEARCH", b"{t}k", *(w for ws in words for w in ws)))
    for _ in range(20):
        some = random.choices(members, k=2)
        steps += [
            (b"GEODIST", b"{t}k", *some),
            (b"GEOPOS", b"{t}k", *some),
            (b"GEOHASH", b"{t}k", *some),
        ]
    compare(steps)
