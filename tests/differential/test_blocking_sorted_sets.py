"""BZPOPMIN, BZPOPMAX and BZMPOP beside redis-server: who waits for what, and who is served when."""

import pytest
from support.differential import Case, Compare, Line, Step, Table, blocked, cases, on, reply, sends

BLOCKERS = (
    *("BZPOPMIN {t}a {t}b 0", "BZPOPMAX {t}a {t}b 0", "BZPOPMIN {t}b {t}a {t}b 60"),
    *("BZMPOP 0 2 {t}a {t}b MIN", "BZMPOP 0 2 {t}a {t}b MAX COUNT 2"),
    "BZMPOP 60 2 {t}b {t}a MIN COUNT 10",
)
# What makes a sorted set appear at {t}a.
MAKERS = {
    "ZADD": ["ZADD {t}a 2 x"],
    "ZADD of several": ["ZADD {t}a 3 z 2 y 1 x"],
    "ZADD to the other key": ["ZADD {t}b 3 z 2 y 1 x"],
    "ZADD INCR": ["ZADD {t}a INCR -0.5 x"],
    "ZINCRBY": ["ZINCRBY {t}a 1e100 x"],
    "ZUNIONSTORE": ["SADD {t}s x y", "ZUNIONSTORE {t}a 1 {t}s"],
    "ZINTERSTORE": ["SADD {t}s x y", "ZINTERSTORE {t}b 1 {t}s WEIGHTS 3"],
    "ZDIFFSTORE": ["ZADD {t}z 1 x inf y", "ZDIFFSTORE {t}a 1 {t}z"],
    "ZRANGESTORE": ["ZADD {t}z 1 x -0 y", "ZRANGESTORE {t}a {t}z 0 0"],
    "GEOADD": ["GEOADD {t}a 13.361389 38.115556 Palermo"],
    "RENAME": ["ZADD {t}z 1 x 2 y", "RENAME {t}z {t}a"],
    "COPY": ["ZADD {t}z 1 x 2 y", "COPY {t}z {t}b"],
    "RENAME over another type": ["SET {t}a v", "ZADD {t}z 1 x", "RENAME {t}z {t}a"],
    "a set, then ZADD": ["SADD {t}a m", "ZADD {t}b 1 x"],
}
STATE = ("ZRANGE {t}a 0 -1 WITHSCORES", "ZRANGE {t}b 0 -1 WITHSCORES")

SERVED: Table = {
    f"{line}, then {name}": [on("b", sends(line)), blocked(1), *made, on("b", reply()), *STATE]
    for line in BLOCKERS
    for name, made in MAKERS.items()
}

SEVERAL: Table = {
    "who came first is served first": [
        *(on("b", sends("BZPOPMIN {t}a 0")), blocked(1), on("c", sends("BZPOPMAX {t}a 0"))),
        *(blocked(2), "ZADD {t}a 1 x", on("b", reply()), blocked(1), "ZADD {t}a 2 y"),
        *(on("c", reply()), *STATE),
    ],
    "as many as there are members": [
        *(on("b", sends("BZPOPMIN {t}a 0")), blocked(1), on("c", sends("BZPOPMAX {t}a 0"))),
        *(blocked(2), on("d", sends("BZMPOP 0 1 {t}a MIN COUNT 2")), blocked(3)),
        *("ZADD {t}a 1 v 2 w 3 x 4 y 5 z", on("b", reply()), on("c", reply()), on("d", reply())),
        *(blocked(0), *STATE),
    ],
    "the last one stays": [
        *(on("b", sends("BZPOPMIN {t}a 0")), blocked(1), on("c", sends("BZPOPMAX {t}a 0"))),
        *(blocked(2), on("d", sends("BZPOPMIN {t}b {t}a 0")), blocked(3), "ZADD {t}a 1 x 2 y"),
        *(on("b", reply()), on("c", reply()), blocked(1), *STATE, "ZADD {t}b 3 z"),
        on("d", reply()),
    ],
    "the order of the keys counts": [
        *("ZADD {t}z 1 x", on("b", sends("BZPOPMIN {t}b {t}a 0")), blocked(1)),
        *("ZADD {t}a 1 x", on("b", reply()), "ZADD {t}a 1 x", "ZADD {t}b 2 y"),
        *(on("b", "BZPOPMIN {t}b {t}a 0"), on("b", "BZPOPMIN {t}b {t}a 0"), *STATE),
    ],
    "another type does not serve": [
        *(on("b", sends("BZPOPMIN {t}a 0")), blocked(1), "SET {t}a v", "RPUSH {t}b x"),
        *("DEL {t}a", "SADD {t}a x", "DEL {t}a", blocked(1), "ZADD {t}a 1 x", on("b", reply())),
    ],
    "what comes and goes in one command does not serve": [
        *(on("b", sends("BZPOPMIN {t}a 0")), blocked(1), "ZADD {t}z 1 x"),
        *("ZINTERSTORE {t}a 2 {t}z {t}none", "ZRANGESTORE {t}a {t}z 5 6", blocked(1)),
        *("ZADD {t}a 1 x", on("b", reply()), *STATE),
    ],
    "what is piped behind waits": [
        *(on("b", sends("BZPOPMIN {t}a 0")), blocked(1), on("b", sends("PING"))),
        *(on("b", sends("ZCARD {t}a")), "ZADD {t}a 1 x 2 y", on("b", reply(3)), *STATE),
    ],
    "a second wait": [
        *(on("b", sends("BZPOPMIN {t}a 0")), blocked(1), "ZADD {t}a 1 x", on("b", reply())),
        *(on("b", sends("BZPOPMAX {t}a 0")), blocked(1), "ZADD {t}a 2 y", on("b", reply())),
        *STATE,
    ],
    "a key that expired is missing": [
        *("ZADD {t}a 1 x", "PEXPIREAT {t}a 1", on("b", sends("BZPOPMIN {t}a 0")), blocked(1)),
        *("ZADD {t}a 2 y", on("b", reply())),
    ],
    "CLIENT UNBLOCK": [
        *(on("b", "CLIENT SETNAME waits"), on("b", sends("BZPOPMIN {t}a 0")), blocked(1)),
        *("CLIENT UNBLOCK 999999999", blocked(1), "ZADD {t}a 1 x", on("b", reply())),
    ],
}

TIMEOUTS: Table = {
    line: [on("b", sends(line)), on("b", reply()), "ZADD {t}a 1 x", *STATE, on("b", "PING")]
    for line in (
        *("BZPOPMIN {t}a 0.05", "BZPOPMAX {t}a {t}b 0.001", "BZMPOP 0.05 2 {t}a {t}b MIN"),
        *("BZMPOP 0.01 1 {t}a MAX COUNT 3", "BZPOPMIN {t}a 1e-7", "BZPOPMIN {t}a 0x1p-5"),
    )
}


@pytest.mark.parametrize("script", cases(SERVED))
def test_who_waits_is_served(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(SEVERAL))
def test_several(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(TIMEOUTS))
def test_timeouts(script: Case, compare: Compare) -> None:
    compare(script)


def test_many_clients_in_a_row(compare: Compare) -> None:
    steps: list[Line | Step] = []
    for number in range(12):
        line = "BZPOPMIN {t}a 0" if number % 3 else "BZMPOP 0 1 {t}a MAX COUNT 2"
        steps += [on(f"b{number}", sends(line)), blocked(number + 1)]
    steps.append("ZADD {t}a 1 a 2 b 3 c 4 d 5 e 6 f 7 g")
    # MAX 2, MIN 1, MIN 1, MAX 2, MIN 1: five of the twelve
    steps += [on(f"b{number}", reply()) for number in range(5)]
    steps += [blocked(7), *STATE]
    for number in range(5, 12):
        steps += [f"ZADD {{t}}a {number} m{number}", on(f"b{number}", reply())]
    compare([*steps, *STATE])
