"""XREAD BLOCK and XREADGROUP BLOCK beside redis-server: who waits for what, and what wakes them."""

import pytest
from support.differential import (
    Case,
    Compare,
    Line,
    Step,
    Table,
    blocked,
    cases,
    mask,
    near,
    on,
    reply,
    sends,
)

BOTH = ("XADD {t}a 5 f v", "XADD {t}b 5 f v", "XGROUP CREATE {t}a g $", "XGROUP CREATE {t}b g $")
BLOCKERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("XREAD BLOCK 0 STREAMS {t}a {t}b $ $", ()),
    ("XREAD BLOCK 60000 STREAMS {t}b {t}a $ 5", BOTH),
    ("XREAD COUNT 1 BLOCK 0 STREAMS {t}a {t}b 7 7", BOTH),
    ("XREAD BLOCK 0 STREAMS {t}a {t}b + +", ()),
    ("XREAD BLOCK 0 STREAMS {t}a {t}b $ $", ("XADD {t}a 5 f v", "XADD {t}a 6 f v", "XDEL {t}a 6")),
    ("XREADGROUP GROUP g c BLOCK 0 STREAMS {t}a {t}b > >", BOTH),
    ("XREADGROUP GROUP g c COUNT 1 BLOCK 60000 STREAMS {t}b {t}a > >", BOTH),
    ("XREADGROUP GROUP g c BLOCK 0 NOACK STREAMS {t}a {t}b > >", BOTH),
)
# What makes an entry appear at {t}a or {t}b.
MAKERS = {
    "XADD": ["XADD {t}a 8 f v"],
    "XADD to the other key": ["XADD {t}b 8-* f v g w"],
    "an entry in between": ["XADD {t}a 6-7 f v", "XADD {t}a 8 f v"],
    "trimmed at once": ["XADD {t}a MAXLEN 0 8 f v", "XADD {t}a 9 f v"],
    "trimmed to one": ["XADD {t}a 6-9 f v", "XADD {t}a MAXLEN 1 9 f v"],
}
# Only for those who need no group.
RENAMERS = {
    "RENAME": ["XADD {t}z 8 f v", "XADD {t}z 9 f v", "RENAME {t}z {t}a"],
    "COPY": ["XADD {t}z 8 f v", "COPY {t}z {t}b REPLACE"],
    "RENAME over another type": ["SET {t}a v", "XADD {t}z 8 f v", "RENAME {t}z {t}a"],
    "a set, then XADD": ["DEL {t}a", "SADD {t}a m", "XADD {t}b 8 f v"],
    "deleted, then XADD": ["DEL {t}a", "XADD {t}a 6 f v", "XADD {t}a 9 f v"],
}
STATE: tuple[Line | Step, ...] = (
    *("XLEN {t}a", "XLEN {t}b", "XINFO GROUPS {t}a", "XINFO GROUPS {t}b"),
    *(near(5000, "XPENDING {t}a g - + 9"), near(5000, "XPENDING {t}b g - + 9")),
    mask(rb"(?m)^:\d{13}\r$", "XINFO STREAM {t}a FULL"),
)


def served(before: tuple[str, ...], line: str, made: list[str]) -> list[Line | Step]:
    return [*before, on("b", sends(line)), blocked(1), *made, on("b", reply()), *STATE]


SERVED: Table = {
    f"{line} after {', '.join(before) or 'nothing'}, then {name}": served(before, line, made)
    for line, before in BLOCKERS
    for name, made in (MAKERS if "GROUP" in line else MAKERS | RENAMERS).items()
}

GROUP = ("XADD {t}a 5 f v", "XGROUP CREATE {t}a g $")
READ = "XREADGROUP GROUP g c BLOCK 0 STREAMS {t}a >"
ENDED: Table = {
    f"{READ}, then {', '.join(lines)}": [
        *(*GROUP, on("b", sends(READ)), blocked(1), *lines, on("b", reply()), blocked(0)),
        *("TYPE {t}a", on("b", "PING")),
    ]
    for lines in (
        ("DEL {t}a",),
        ("PEXPIRE {t}a 30",),
        ("UNLINK {t}a",),
        ("SET {t}a v",),
        ("RENAME {t}a {t}b",),
        ("XADD {t}z 7 f v", "RENAME {t}z {t}a"),
        ("SADD {t}z m", "COPY {t}z {t}a REPLACE"),
        ("MOVE {t}a 1", "SELECT 1", "DEL {t}a", "SELECT 0"),
        ("FLUSHDB",),
        ("FLUSHALL",),
        ("XGROUP DESTROY {t}a g",),
        ("PEXPIREAT {t}a 1",),
    )
} | {
    "the group of one of two keys": [
        *(*BOTH, on("b", sends("XREADGROUP GROUP g c BLOCK 0 STREAMS {t}a {t}b > >")), blocked(1)),
        *("XGROUP DESTROY {t}b g", on("b", reply()), "XADD {t}a 7 f v", *STATE[:3]),
    ],
    "all that wait for a group": [
        *(*GROUP, on("b", sends(READ)), on("c", sends(READ)), blocked(2)),
        *("XGROUP DESTROY {t}a g", on("b", reply()), on("c", reply()), blocked(0)),
    ],
    "a group that comes back": [
        *(*GROUP, on("b", sends(READ)), blocked(1), "DEL {t}a", on("b", reply()), *GROUP),
        *(on("b", sends(READ)), blocked(1), "XADD {t}a 7 f v", on("b", reply()), *STATE[:3]),
    ],
}

STILL: Table = {
    f"{READ} goes on after {', '.join(lines)}": [
        *(*GROUP, "XGROUP CREATE {t}a h 0", on("b", sends(READ)), blocked(1), *lines, blocked(1)),
        *("XADD {t}a 9 f v", on("b", reply()), blocked(0), *STATE[:3]),
    ]
    for lines in (
        ("XGROUP SETID {t}a g 0",),
        ("XGROUP SETID {t}a g 7",),
        ("XGROUP DELCONSUMER {t}a g c",),
        ("XGROUP CREATECONSUMER {t}a g d",),
        ("XGROUP DESTROY {t}a h",),
        ("XDEL {t}a 5",),
        ("XTRIM {t}a MAXLEN 0",),
        ("XSETID {t}a 8",),
        ("XREADGROUP GROUP h c STREAMS {t}a >",),
        ("XREADGROUP GROUP g d STREAMS {t}a >",),
        ("XCLAIM {t}a g d 0 5 FORCE", "XACK {t}a g 5"),
        ("XADD {t}a MAXLEN 0 8 f v",),
    )
}

SEVERAL: Table = {
    "readers share all, groups share out": [
        *(*BOTH, on("b", sends("XREAD BLOCK 0 STREAMS {t}a $")), blocked(1)),
        *(on("c", sends("XREADGROUP GROUP g c BLOCK 0 STREAMS {t}a >")), blocked(2)),
        *(on("d", sends("XREADGROUP GROUP g d BLOCK 0 STREAMS {t}a >")), blocked(3)),
        *(on("e", sends("XREAD BLOCK 0 STREAMS {t}b {t}a $ $")), blocked(4), "XADD {t}a 7 f v"),
        *(on("b", reply()), on("c", reply()), on("e", reply()), blocked(1), "XADD {t}a 8 f v"),
        *(on("d", reply()), *STATE),
    ],
    "what is piped behind waits": [
        *(on("b", sends("XREAD BLOCK 0 STREAMS {t}a $")), blocked(1), on("b", sends("PING"))),
        *(on("b", sends("XLEN {t}a")), "XADD {t}a 7 f v", on("b", reply(3))),
    ],
    "what is there already is given at once": [
        *(*BOTH, "XREAD BLOCK 0 STREAMS {t}a {t}b 0 5", "XREAD BLOCK 0 STREAMS {t}a +"),
        *("XGROUP SETID {t}a g 0", "XREADGROUP GROUP g c BLOCK 0 STREAMS {t}a {t}b > >"),
        *(
            "XREADGROUP GROUP g c BLOCK 0 STREAMS {t}a 0",
            "XREADGROUP GROUP g c BLOCK 0 STREAMS {t}a 9",
        ),
        "XREADGROUP GROUP g c BLOCK 0 STREAMS {t}a {t}b > 0",
    ],
    "the time is over": [
        *("XREAD BLOCK 1 STREAMS {t}a $", *BOTH, "XREAD BLOCK 20 STREAMS {t}a {t}b $ 5"),
        *("XREADGROUP GROUP g c BLOCK 1 STREAMS {t}a >", *STATE, blocked(0)),
    ],
    "a consumer is made before it waits": [
        *(*GROUP, on("b", sends(READ)), blocked(1), near(5000, "XINFO CONSUMERS {t}a g")),
        *("XADD {t}a 7 f v", on("b", reply()), near(5000, "XINFO CONSUMERS {t}a g")),
    ],
    "a reader does not mind that the key goes": [
        *(*BOTH, on("b", sends("XREAD BLOCK 0 STREAMS {t}a $")), blocked(1), "DEL {t}a"),
        *("SET {t}a v", "DEL {t}a", "XADD {t}a 3 f v", "FLUSHALL", blocked(1), "XADD {t}a 7 f v"),
        on("b", reply()),
    ],
    "errors come at once": [
        *(
            *GROUP,
            "SET {t}s v",
            "XREAD BLOCK 0 STREAMS {t}s $",
            "XREAD BLOCK 0 STREAMS {t}a {t}s $ $",
        ),
        *(
            "XREADGROUP GROUP h c BLOCK 0 STREAMS {t}a >",
            "XREADGROUP GROUP g c BLOCK 0 STREAMS {t}b >",
        ),
        *("XREADGROUP GROUP g c BLOCK 0 STREAMS {t}a {t}s > >", "XREAD BLOCK 0 STREAMS {t}a x"),
        *("XREAD BLOCK -1 STREAMS {t}a $", "XREAD BLOCK 1.5 STREAMS {t}a $"),
        f"XREAD BLOCK {2**63 - 1} STREAMS {{t}}a $",
    ],
    "one key twice": [
        *(on("b", sends("XREAD BLOCK 0 STREAMS {t}a {t}a $ 7")), blocked(1), "XADD {t}a 7 f v"),
        *(on("b", reply()), on("b", sends("XREAD BLOCK 0 STREAMS {t}a {t}a $ 7")), blocked(1)),
        *("XADD {t}a 8 f v", on("b", reply())),
    ],
}


@pytest.mark.parametrize("script", cases(SERVED))
def test_who_is_served(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(ENDED, STILL))
def test_what_ends_the_wait_of_a_group(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(SEVERAL))
def test_several(script: Case, compare: Compare) -> None:
    compare(script)
