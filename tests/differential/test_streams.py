"""The stream commands beside redis-server: tables, and random programs from fixed seeds."""

from collections.abc import Iterator
from random import Random

import pytest
from support.differential import Case, Compare, Line, Step, Table, cases, mask, near

MAX = (1 << 64) - 1


def untimed(line: Line) -> Step:
    """Compare a reply but for times in ms since the epoch, and IDs made of them."""
    return mask(rb"(?m)^:\d{13}\r$|\d{13}-\d+", line)


FULL = untimed("XINFO STREAM {t}s FULL COUNT 0")
INFO = ("XINFO STREAM {t}s", "XINFO GROUPS {t}s", FULL)

COMMANDS = (
    *("XADD", "XTRIM", "XDEL", "XDELEX", "XLEN", "XRANGE", "XREVRANGE", "XREAD", "XSETID"),
    *("XREADGROUP", "XACK", "XACKDEL", "XPENDING", "XCLAIM", "XAUTOCLAIM", "XGROUP", "XINFO"),
    *("XGROUP CREATE", "XGROUP SETID", "XGROUP DESTROY", "XGROUP CREATECONSUMER"),
    *("XGROUP DELCONSUMER", "XGROUP HELP", "XGROUP NONE", "XINFO STREAM", "XINFO GROUPS"),
    *("XINFO CONSUMERS", "XINFO HELP", "XINFO NONE"),
)
ARITY: Table = {
    f"{name} with any number of arguments": [
        " ".join([name, *["{t}k", "{t}g", "5", "f", "0", "1", "g"][:n]]) for n in range(8)
    ]
    for name in COMMANDS
}

# What may be taken for an ID, and mostly is none.
IDS = (
    *(b"0", b"0-0", b"5", b"5-3", b"05-03", b"5-", b"-5", b"-", b"+", b"*", b"5-*", b"*-5", b"$"),
    *(b">", b"(5", b"(5-3", b"((5", b"(", b"(-", b"(+", b"5-3-1", b"5--1", b"-5-1", b"+5", b" 5"),
    *(b"5 ", b"5- 3", b"\t5-\n3", b"0x5", b"5.0", b"5e3", b"", b"x", b"\xff", b"5\x00", b"\x005"),
    *(
        b"5-3\x00-1",
        b"5-*\x00",
        b"-05",
        b"5-+3",
        b"5-*x",
        b"**",
        b"%d" % MAX,
        b"%d-%d" % (MAX, MAX),
    ),
    *(b"%d" % (MAX + 1), b"5-%d" % (MAX + 1), b"-%d" % MAX, b"5-%d" % MAX, b"(%d-%d" % (MAX, MAX)),
    *(b"(0", b"(0-0", b"(5-%d" % MAX, b"0" * 126 + b"5", b"0" * 127 + b"5", b"1" * 40, b"-1"),
)
AROUND_FIVE = (
    "XADD {t}s 5-2 f v",
    "XADD {t}s 5-3 f w",
    "XADD {t}s 6 f x",
    "XGROUP CREATE {t}s g 0",
)
WITH_ID = (
    *("XADD {t}s ID f v", "XADD {t}s MINID ID 9-* f v", "XTRIM {t}s MINID ID", "XDEL {t}s ID"),
    *("XDEL {t}s 5-2 ID", "XDELEX {t}s IDS 1 ID", "XRANGE {t}s ID +", "XRANGE {t}s - ID"),
    *("XREVRANGE {t}s ID -", "XREVRANGE {t}s + ID", "XREAD STREAMS {t}s ID", "XSETID {t}s ID"),
    *("XSETID {t}s 9 ENTRIESADDED 9 MAXDELETEDID ID", "XREADGROUP GROUP g c STREAMS {t}s ID"),
    *(
        "XACK {t}s g ID",
        "XACKDEL {t}s g IDS 1 ID",
        "XPENDING {t}s g ID + 9",
        "XPENDING {t}s g - ID 9",
    ),
    *("XCLAIM {t}s g c 0 ID", "XCLAIM {t}s g c 0 5-3 ID", "XCLAIM {t}s g c 0 5-3 LASTID ID"),
    *("XAUTOCLAIM {t}s g c 0 ID", "XGROUP CREATE {t}s h ID", "XGROUP SETID {t}s g ID"),
)


def with_id(line: str) -> Iterator[Line | Step]:
    words = line.encode().split()
    for text in IDS:
        yield "DEL {t}s"
        yield from AROUND_FIVE
        argv = tuple(text if word == b"ID" else word for word in words)
        yield untimed(argv) if argv[0] == b"XADD" else near(5000, argv)
        yield FULL


EVERY_ID: Table = {line: list(with_id(line)) for line in WITH_ID}

# Numbers, in the places of commands that take one.
NUMBERS = (
    *(b"0", b"1", b"2", b"-1", b"-0", b"+1", b"01", b" 1", b"1 ", b"", b"x", b"1.0", b"0x1"),
    *(b"%d" % (2**63 - 1), b"%d" % 2**63, b"-%d" % 2**63, b"-%d" % (2**63 + 1), b"1\x00", b"\xff"),
)
WITH_NUMBER = (
    *("XADD {t}s MAXLEN N 9-* f v", "XADD {t}s MAXLEN ~ N 9-* f v", "XTRIM {t}s MAXLEN N"),
    *("XADD {t}s MAXLEN ~ 1 LIMIT N 9-* f v", "XTRIM {t}s MAXLEN = N", "XTRIM {t}s LIMIT N"),
    *("XTRIM {t}s MAXLEN ~ 0 LIMIT N", "XDELEX {t}s IDS N 5-2", "XACKDEL {t}s g IDS N 5-2"),
    *("XRANGE {t}s - + COUNT N", "XREVRANGE {t}s + - COUNT N", "XREAD COUNT N STREAMS {t}s 0"),
    *("XREAD BLOCK N STREAMS {t}s 0", "XREADGROUP GROUP g c BLOCK N STREAMS {t}s >"),
    *("XREADGROUP GROUP g c COUNT N STREAMS {t}s >", "XREADGROUP GROUP g c COUNT N STREAMS {t}s 0"),
    *("XPENDING {t}s g - + N", "XPENDING {t}s g IDLE N - + 9", "XCLAIM {t}s g c N 5-2"),
    *("XCLAIM {t}s g d 0 5-2 IDLE N", "XCLAIM {t}s g d 0 5-2 TIME N"),
    *("XCLAIM {t}s g d 0 5-2 RETRYCOUNT N", "XAUTOCLAIM {t}s g d N 0"),
    *("XGROUP CREATE {t}s h 0 ENTRIESREAD N", "XGROUP SETID {t}s g 5 ENTRIESREAD N"),
    *("XSETID {t}s 9 ENTRIESADDED N", "XINFO STREAM {t}s FULL COUNT N"),
)


def with_number(line: str) -> Iterator[Line | Step]:
    words = line.encode().split()
    idle = line.startswith(("XPENDING {t}s g IDLE", "XCLAIM {t}s g c N", "XAUTOCLAIM"))
    for text in NUMBERS:
        if idle and text in (b"1", b"2"):
            continue  # whether that time has passed is chance
        yield "DEL {t}s"
        yield from AROUND_FIVE
        yield "XREADGROUP GROUP g c COUNT 1 STREAMS {t}s >"
        argv = tuple(text if word == b"N" else word for word in words)
        yield untimed(argv) if argv[0] == b"XINFO" else near(5000, argv)
        yield near(5000, "XPENDING {t}s g - + 9")
        yield FULL


EVERY_NUMBER: Table = {line: list(with_number(line)) for line in WITH_NUMBER}
# Not with every number: Redis asks for memory for as many IDs.
COUNTS: Table = {
    "XAUTOCLAIM COUNT N": [
        *("XADD {t}s 5 f v", "XGROUP CREATE {t}s g 0", "XREADGROUP GROUP g c STREAMS {t}s >"),
        *(
            f"XAUTOCLAIM {{t}}s g c 0 0 COUNT {n}"
            for n in ("0", "-1", "x", "1.0", "01", 1, 7, 10**15, 2**59, 2**63 - 1, 2**63)
        ),
    ]
}

# Lines that are run on every kind of key: their errors, alone and together, in order.
LINES = (
    *(
        "XADD {t}s 7 f v",
        "XADD {t}s x f v",
        "XADD {t}s 7 f",
        "XADD {t}s x f v g",
        "XADD {t}s 0 f v",
    ),
    *("XADD {t}s NOMKSTREAM 7 f v", "XADD {t}s nomkstream NOMKSTREAM 7 f v", "XADD {t}s 1 f v"),
    *(
        "XADD {t}s MAXLEN 5 7 f",
        "XADD {t}s MAXLEN 5 NOMKSTREAM",
        "XADD {t}s MAXLEN 5 MINID 5 7 f v",
    ),
    *("XADD {t}s MAXLEN ~ 7 f v", "XADD {t}s MAXLEN = 7 f v", "XADD {t}s MAXLEN 5 LIMIT 5 7 f v"),
    *("XADD {t}s LIMIT 5 7 f v", "XADD {t}s LIMIT 0 7 f v", "XADD {t}s LIMIT 5 x f v"),
    *("XADD {t}s LIMIT 5 MAXLEN ~ 1 7 f v", "XADD {t}s LIMIT 5 LIMIT 6 MAXLEN ~ 1 7 f v"),
    *("XADD {t}s KEEPREF 7 f v", "XADD {t}s delref acked 7 f v", "XADD {t}s ACKED ACKED 7 f v"),
    *("XADD {t}s ACKED MAXLEN 0 7 f v", "XADD {t}s MAXLEN 0 DELREF 7 f v", "XADD {t}s 0-0 f"),
    *("XADD {t}s MINID 6 KEEPREF NOMKSTREAM 7 f v", "XADD {t}s MAXLEN 1 MAXLEN x 7 f v"),
    *(
        "XTRIM {t}s MAXLEN 1",
        "XTRIM {t}s maxlen = 1",
        "XTRIM {t}s MAXLEN ~ 1",
        "XTRIM {t}s MINID 3",
    ),
    *("XTRIM {t}s MINID ~ 3", "XTRIM {t}s MAXLEN x", "XTRIM {t}s FOO 1", "XTRIM {t}s MAXLEN 1 FOO"),
    *("XTRIM {t}s MAXLEN 1 KEEPREF", "XTRIM {t}s DELREF MAXLEN 1", "XTRIM {t}s ACKED MAXLEN 1"),
    *(
        "XTRIM {t}s ACKED DELREF MAXLEN 1",
        "XTRIM {t}s MAXLEN 1 MINID 1",
        "XTRIM {t}s LIMIT 1 ACKED",
    ),
    *("XTRIM {t}s LIMIT 0 ACKED", "XTRIM {t}s MAXLEN 1 LIMIT 1", "XTRIM {t}s MAXLEN ~ 1 LIMIT"),
    *("XTRIM {t}s MAXLEN", "XTRIM {t}s MAXLEN ~", "XTRIM {t}s MAXLEN = LIMIT 5", "XTRIM {t}s * 5"),
    *("XTRIM {t}s NOMKSTREAM MAXLEN 1", "XTRIM {t}s MAXLEN ~ 1 LIMIT 1 DELREF"),
    *("XDEL {t}s 1", "XDEL {t}s x", "XDEL {t}s 1 x", "XDEL {t}s 1 2 3 3", "XDEL {t}s 99"),
    *("XDELEX {t}s IDS 1 1", "XDELEX {t}s IDS 1 x", "XDELEX {t}s IDS 2 1", "XDELEX {t}s IDS 1 1 2"),
    *(
        "XDELEX {t}s ids 2 1 2 KEEPREF",
        "XDELEX {t}s delref IDS 2 1 99",
        "XDELEX {t}s ACKED IDS 1 3",
    ),
    *(
        "XDELEX {t}s ACKED IDS 2 1 4",
        "XDELEX {t}s IDS 1 1 IDS 1 2",
        "XDELEX {t}s ACKED ACKED IDS 1 1",
    ),
    *("XDELEX {t}s KEEPREF DELREF IDS 1 1", "XDELEX {t}s FOO 1 1", "XDELEX {t}s ACKED 1 1"),
    *("XDELEX {t}s ACKED DELREF 1", "XDELEX {t}s KEEPREF 2 IDS", "XDELEX {t}s IDS 0 x"),
    *("XLEN {t}s", "XRANGE {t}s - +", "XRANGE {t}s x y", "XRANGE {t}s 2 3", "XRANGE {t}s 3 2"),
    *(
        "XRANGE {t}s (1 (3",
        "XRANGE {t}s - + COUNT",
        "XRANGE {t}s - + count 1",
        "XRANGE {t}s - + FOO 1",
    ),
    *("XRANGE {t}s - + COUNT 1 COUNT 2", "XRANGE {t}s x + COUNT x", "XRANGE {t}s - + COUNT 0"),
    *(
        "XREVRANGE {t}s + -",
        "XREVRANGE {t}s - +",
        "XREVRANGE {t}s (3 (1",
        "XREVRANGE {t}s + - COUNT 2",
    ),
    *("XREVRANGE {t}s x y COUNT z", "XREVRANGE {t}s + - COUNT 2 x", "XREVRANGE {t}s + - COUNT -1"),
    *(
        "XREAD STREAMS {t}s 0",
        "XREAD STREAMS {t}s $",
        "XREAD STREAMS {t}s +",
        "XREAD STREAMS {t}s >",
    ),
    *("XREAD STREAMS {t}s x", "XREAD STREAMS {t}s {t}k 0 0", "XREAD STREAMS {t}s {t}k 0 x"),
    *(
        "XREAD STREAMS {t}k {t}s x 0",
        "XREAD STREAMS {t}s {t}k 0",
        "XREAD COUNT 1 streams {t}s {t}s 0 1",
    ),
    *(
        "XREAD count 2 COUNT 1 STREAMS {t}s 0",
        "XREAD NOACK STREAMS {t}s 0",
        "XREAD FOO STREAMS {t}s 0",
    ),
    *(
        "XREAD GROUP g c STREAMS {t}s 0",
        "XREAD COUNT STREAMS {t}s 0",
        "XREAD BLOCK x STREAMS {t}s 0",
    ),
    *("XREAD BLOCK -1 STREAMS {t}s 0", "XREAD BLOCK 1 STREAMS {t}s 99", "XREAD COUNT 1 BLOCK 1"),
    *("XREAD COUNT 1 {t}s 0", "XREAD BLOCK 1 COUNT 1 STREAMS {t}s 3", "XREAD STREAMS {t}s"),
    *("XSETID {t}s 9", "XSETID {t}s x", "XSETID {t}s 1", "XSETID {t}s 9 ENTRIESADDED"),
    *("XSETID {t}s 9 FOO 1", "XSETID {t}s 9 ENTRIESADDED 1", "XSETID {t}s 9 ENTRIESADDED 9"),
    *("XSETID {t}s 9 entriesadded 9 maxdeletedid 8", "XSETID {t}s 9 MAXDELETEDID 10"),
    *("XSETID {t}s 9 MAXDELETEDID 8 ENTRIESADDED 9", "XSETID {t}s 9 MAXDELETEDID 10 FOO"),
    *("XSETID {t}s 9 MAXDELETEDID 8", "XSETID {t}s 9 ENTRIESADDED -1 MAXDELETEDID 99"),
    *("XGROUP CREATE {t}s h $", "XGROUP CREATE {t}s g 0", "XGROUP CREATE {t}s h x"),
    *(
        "XGROUP CREATE {t}s h 0 MKSTREAM",
        "XGROUP CREATE {t}s h x mkstream",
        "XGROUP CREATE {t}s h 0 FOO",
    ),
    *("XGROUP CREATE {t}s h 0 ENTRIESREAD 2", "XGROUP CREATE {t}s h 0 ENTRIESREAD 99 MKSTREAM"),
    *("XGROUP CREATE {t}s h $ MKSTREAM ENTRIESREAD -1", "XGROUP CREATE {t}s h 0 ENTRIESREAD"),
    *(
        "XGROUP CREATE {t}s h 0 MKSTREAM MKSTREAM ENTRIESREAD 1",
        "XGROUP CREATE {t}s h x ENTRIESREAD x",
    ),
    *(
        "XGROUP CREATE {t}s h 0 MKSTREAM MKSTREAM",
        "XGROUP CREATE {t}s h x ENTRIESREAD 1 ENTRIESREAD 2",
    ),
    *("XGROUP SETID {t}s g 2", "XGROUP SETID {t}s h 2", "XGROUP SETID {t}s g $ ENTRIESREAD 99"),
    *(
        "XGROUP SETID {t}s g x",
        "XGROUP SETID {t}s g - ENTRIESREAD 2",
        "XGROUP SETID {t}s g 0 MKSTREAM",
    ),
    *("XGROUP SETID {t}s h x FOO", "XGROUP SETID {t}s g + ENTRIESREAD 1", "XGROUP SETID {t}s g 9"),
    *("XGROUP SETID {t}s h 0 ENTRIESREAD 1 ENTRIESREAD 2", "XGROUP SETID {t}s g 0 ENTRIESREAD"),
    *("XGROUP SETID {t}s g 0 ENTRIESREAD 1 ENTRIESREAD 2",),
    *(
        "XGROUP CREATECONSUMER {t}s g d",
        "XGROUP CREATECONSUMER {t}s g c",
        "xgroup createconsumer {t}s h c",
    ),
    *("XGROUP DELCONSUMER {t}s g c", "XGROUP DELCONSUMER {t}s g d", "XGROUP DELCONSUMER {t}s h c"),
    *("XGROUP DESTROY {t}s g", "XGROUP DESTROY {t}s h"),
    *("XREADGROUP GROUP g c STREAMS {t}s >", "XREADGROUP GROUP g d COUNT 1 STREAMS {t}s >"),
    *("XREADGROUP GROUP g c NOACK STREAMS {t}s >", "XREADGROUP NOACK GROUP g d STREAMS {t}s >"),
    *("XREADGROUP GROUP g c STREAMS {t}s 0", "XREADGROUP GROUP g d STREAMS {t}s 0"),
    *("XREADGROUP GROUP g c COUNT 1 STREAMS {t}s 1", "XREADGROUP GROUP g c STREAMS {t}s x"),
    *("XREADGROUP GROUP h c STREAMS {t}s >", "XREADGROUP GROUP h c STREAMS {t}s x"),
    *("XREADGROUP GROUP g c STREAMS {t}s $", "XREADGROUP GROUP g c STREAMS {t}s +"),
    *("XREADGROUP GROUP g c STREAMS {t}s {t}k > >", "XREADGROUP GROUP g c STREAMS {t}s {t}s > 0"),
    *("XREADGROUP GROUP g c STREAMS {t}s {t}s >", "XREADGROUP GROUP g STREAMS {t}s > >"),
    *("XREADGROUP COUNT 1 NOACK STREAMS {t}s >", "XREADGROUP GROUP h c GROUP g d STREAMS {t}s >"),
    *(
        "XREADGROUP GROUP g c COUNT 1 CLAIM 0 STREAMS {t}s >",
        "XREADGROUP GROUP g c FOO STREAMS {t}s >",
    ),
    *("XREADGROUP GROUP g c BLOCK 1 STREAMS {t}s 0", "XREADGROUP GROUP g c BLOCK x STREAMS {t}s >"),
    *(
        "XACK {t}s g 1",
        "XACK {t}s g x",
        "XACK {t}s h x",
        "XACK {t}s g 1 2 2 3 99",
        "XACK {t}s g 1 x",
    ),
    *(
        "XACKDEL {t}s g IDS 1 1",
        "XACKDEL {t}s g KEEPREF IDS 2 1 3",
        "XACKDEL {t}s g DELREF IDS 1 2",
    ),
    *("XACKDEL {t}s g acked ids 3 1 1 4", "XACKDEL {t}s h IDS 1 x", "XACKDEL {t}s g IDS 1 x"),
    *(
        "XACKDEL {t}s h IDS 2 1",
        "XACKDEL {t}s g IDS 1 1 ACKED",
        "XACKDEL {t}s g ACKED KEEPREF IDS 1 1",
    ),
    *("XPENDING {t}s g", "XPENDING {t}s h", "XPENDING {t}s g -", "XPENDING {t}s g - +"),
    *(
        "XPENDING {t}s g x y 1",
        "XPENDING {t}s g x y z",
        "XPENDING {t}s h x + 1",
        "XPENDING {t}s g - + 1",
    ),
    *("XPENDING {t}s g - + 9 c", "XPENDING {t}s g - + 9 d", "XPENDING {t}s g - + 9 c d e"),
    *(
        "XPENDING {t}s g - + 9 c d e f",
        "XPENDING {t}s g idle 0 - + 9",
        "XPENDING {t}s g IDLE 0 - + 9 c",
    ),
    *(
        "XPENDING {t}s g IDLE 99999 - + 9 c",
        "XPENDING {t}s g IDLE 0 - + 9 c d",
        "XPENDING {t}s g IDLE 0 - +",
    ),
    *("XPENDING {t}s g IDLE x - +", "XPENDING {t}s g (1 + 9", "XPENDING {t}s g - (2 9"),
    *("XPENDING {t}s g + - 9", "XPENDING {t}s g 2 2 9 c"),
    *("XCLAIM {t}s g d 0 1", "XCLAIM {t}s g d x 1", "XCLAIM {t}s h d x 1", "XCLAIM {t}s g d 0 x"),
    *("XCLAIM {t}s g d 0 1 2 99", "XCLAIM {t}s g d 99999 1", "XCLAIM {t}s g d 0 1 JUSTID"),
    *("XCLAIM {t}s g d 0 4", "XCLAIM {t}s g d 0 4 FORCE", "XCLAIM {t}s g d 0 4 force justid"),
    *(
        "XCLAIM {t}s g c 0 1 RETRYCOUNT 7",
        "XCLAIM {t}s g c 0 1 LASTID 4",
        "XCLAIM {t}s g c 0 9 LASTID 9",
    ),
    *(
        "XCLAIM {t}s g c 0 1 IDLE 9 TIME 9 IDLE 0",
        "XCLAIM {t}s g c 0 1 FOO",
        "XCLAIM {t}s g c 0 1 IDLE",
    ),
    *("XCLAIM {t}s g c 0 1 2 JUSTID 3", "XCLAIM {t}s g c 0 FORCE", "XCLAIM {t}s g c 0 1 LASTID"),
    *("XCLAIM {t}s g c 0 1 RETRYCOUNT 0 JUSTID", "XCLAIM {t}s g c 0 1 TIME x FOO"),
    *("XAUTOCLAIM {t}s g d 0 0", "XAUTOCLAIM {t}s g d x y", "XAUTOCLAIM {t}s h d x 0"),
    *(
        "XAUTOCLAIM {t}s h d 0 0 COUNT 0",
        "XAUTOCLAIM {t}s g d 0 - COUNT 1",
        "XAUTOCLAIM {t}s g d 0 2 JUSTID",
    ),
    *(
        "XAUTOCLAIM {t}s g d 0 (1 count 9 justid",
        "XAUTOCLAIM {t}s g d 99999 0",
        "XAUTOCLAIM {t}s g c 0 + FOO",
    ),
    *(
        "XAUTOCLAIM {t}s g d 0 0 COUNT",
        "XAUTOCLAIM {t}s g d 0 0 COUNT 1 COUNT 2",
        "XAUTOCLAIM {t}s h d 0 0",
    ),
    *("XINFO STREAM {t}s", "XINFO STREAM {t}s FOO", "XINFO STREAM {t}s FULL FOO 1"),
    *(
        "XINFO STREAM {t}s FULL COUNT",
        "XINFO STREAM {t}s FULL COUNT x",
        "XINFO STREAM {t}s FULL COUNT 1 2",
    ),
    *("XINFO GROUPS {t}s", "XINFO CONSUMERS {t}s g", "XINFO CONSUMERS {t}s h"),
    *("OBJECT ENCODING {t}s", "TYPE {t}s", "COPY {t}s {t}k REPLACE", "RENAME {t}s {t}k"),
    *("PERSIST {t}s", "DEL {t}s", "GET {t}s", "STRLEN {t}s", "EXISTS {t}s"),
)

FOUR = ("XADD {t}s 1 f v", "XADD {t}s 2 f w g x", "XADD {t}s 3 g y", "XADD {t}s 4 f z")
READ = (*FOUR, "XGROUP CREATE {t}s g 0", "XREADGROUP GROUP g c COUNT 3 STREAMS {t}s >")
STATES = {
    "a missing key": (),
    "a string": ("SET {t}s v",),
    "an emptied stream": ("XADD {t}s 1 f v", "XDEL {t}s 1"),
    "an empty stream with a group": ("XGROUP CREATE {t}s g 0 MKSTREAM",),
    "a stream": FOUR,
    "a stream with a group": (*FOUR, "XGROUP CREATE {t}s g 0"),
    "a stream that was read": READ,
    "a stream with pending entries that were deleted": (
        *READ,
        "XDEL {t}s 2",
        "XTRIM {t}s MAXLEN 2",
    ),
    "a stream with a volatile key": (*READ, "EXPIRE {t}s 1000"),
}


def on_state(lines: tuple[str, ...]) -> Iterator[Line | Step]:
    for line in LINES:
        yield "DEL {t}s {t}k"
        yield from lines
        if line.startswith("XINFO STREAM"):
            yield untimed(line)
        else:
            yield near(5000, line)
        yield FULL
        yield near(5000, "XPENDING {t}s g - + 99")


EVERY_LINE: Table = {state: list(on_state(lines)) for state, lines in STATES.items()}

BINARY = (
    b"\x00",
    b"\r\n",
    b"a\r\nb",
    b"\xff\xfe\x00\x80",
    bytes(range(256)),
    b"+OK\r\n",
    b"*",
    b"5-*",
)

MORE: Table = {
    "any bytes as names and values": [
        step
        for at, data in enumerate(BINARY)
        for step in (
            (b"XADD", b"{t}s", b"%d" % (at + 1), data, data, b"f", data),
            (b"XGROUP", b"CREATE", b"{t}s", data, b"0"),
            (b"XREADGROUP", b"GROUP", data, data, b"STREAMS", b"{t}s", b">"),
            "XRANGE {t}s - +",
            (b"XINFO", b"CONSUMERS", b"{t}s", data + b"\x00none"),
            (b"XREADGROUP", b"GROUP", data + b"\x00none", data, b"STREAMS", b"{t}s", b">"),
            (b"XPENDING", b"{t}s", data + b"none"),
            FULL,
        )
    ],
    "any bytes as a key": [
        step
        for data in BINARY
        for step in (
            (b"XADD", data, b"1", b"f", b"v"),
            (b"XREAD", b"STREAMS", data, b"0"),
            (b"XPENDING", data, b"none"),
            (b"XLEN", data),
        )
    ],
    "any bytes as options": [
        step
        for data in BINARY
        for step in (
            untimed((b"XADD", b"{t}s", data, b"f", b"v")),
            (b"XTRIM", b"{t}s", b"MAXLEN", b"1", data),
            (b"XCLAIM", b"{t}s", b"g", b"c", b"0", b"1", data),
            (b"XREAD", data, b"STREAMS", b"{t}s", b"0"),
        )
    ],
    "an ID of the clock": [
        untimed("XADD {t}s * f v"),
        untimed("XADD {t}s * f w"),
        untimed("XADD {t}s MAXLEN ~ 5 * f w"),
        untimed("XRANGE {t}s - +"),
        "XADD {t}s 1 f v",
        "XADD {t}s 99999999999999 f v",
        "XADD {t}s * f v",
        "XADD {t}s 99999999999999-* f v",
        "XADD {t}s 99999999999998-* f v",
        f"XADD {{t}}s 99999999999999-{MAX} f v",
        "XADD {t}s 99999999999999-* f v",
        "XADD {t}s * f v",
        *map(untimed, ("XINFO STREAM {t}s", "XINFO STREAM {t}s FULL")),
    ],
    "the last ID": [
        f"XADD {{t}}s {MAX}-{MAX - 1} f v",
        "XADD {t}s * f v",
        *("XADD {t}s * f v", f"XADD {{t}}s {MAX}-* f v", "XADD {t}s 5 f v"),
        *(f"XRANGE {{t}}s {MAX} +", "XREAD STREAMS {t}s +", "XREAD STREAMS {t}s $"),
        f"XREAD STREAMS {{t}}s {MAX}-{MAX}",
        "XGROUP CREATE {t}s g 0",
        "XREADGROUP GROUP g c STREAMS {t}s >",
        "XREADGROUP GROUP g c STREAMS {t}s >",
        f"XREADGROUP GROUP g c STREAMS {{t}}s {MAX}-{MAX}",
        *(f"XAUTOCLAIM {{t}}s g c 0 {MAX}-{MAX}", f"XAUTOCLAIM {{t}}s g c 0 ({MAX}-{MAX}"),
        *INFO,
    ],
    "several streams": [
        *("XADD {t}a 1 f v", "XADD {t}b 2 f v", "XADD {t}c 3 f v", "XDEL {t}c 3"),
        *("XREAD STREAMS {t}a {t}b {t}c {t}d 0 0 0 0", "XREAD STREAMS {t}b {t}a 1 1"),
        *("XGROUP CREATE {t}a g 0", "XGROUP CREATE {t}b g $", "XGROUP CREATE {t}c g 0"),
        "XREADGROUP GROUP g c STREAMS {t}a {t}b {t}c > > >",
        "XREADGROUP GROUP g c STREAMS {t}a {t}b {t}c 0 > 0",
        "XREADGROUP GROUP g c STREAMS {t}a {t}d > >",
        "XREAD COUNT 1 STREAMS {t}a {t}b {t}c + + +",
    ],
    "hits and misses": [
        "CONFIG RESETSTAT",
        *READ,
        *(
            "XLEN {t}s",
            "XLEN {t}k",
            "XRANGE {t}s - +",
            "XREAD STREAMS {t}s {t}k 0 0",
            "XDEL {t}k 1",
        ),
        *("XREADGROUP GROUP g c STREAMS {t}s {t}s > 0", "XREADGROUP GROUP g c STREAMS {t}k >"),
        *("XACK {t}s g 1", "XACKDEL {t}k g IDS 1 1", "XPENDING {t}s g", "XCLAIM {t}s g c 0 2"),
        *(
            "XAUTOCLAIM {t}s g c 0 0",
            "XINFO GROUPS {t}s",
            "XINFO STREAM {t}k",
            "XTRIM {t}s MAXLEN 1",
        ),
        *("XGROUP CREATE {t}s h 0", "XSETID {t}s 9", "XDELEX {t}s IDS 1 9", "XADD {t}s 99 f v"),
        mask(r"(?m)(^(?!keyspace_hits:|keyspace_misses:).*\n?)+", "INFO stats"),
    ],
    "FULL shows ten unless told": [
        *(f"XADD {{t}}s {n} f v" for n in range(1, 25)),
        *("XGROUP CREATE {t}s g 0", "XREADGROUP GROUP g c COUNT 12 STREAMS {t}s >"),
        *(
            "XREADGROUP GROUP g b STREAMS {t}s >",
            "XGROUP CREATE {t}s a $",
            "XGROUP CREATE {t}s aa 7",
        ),
        *(
            untimed(f"XINFO STREAM {{t}}s FULL{c}")
            for c in ("", " COUNT 3", " COUNT 0", " count 99")
        ),
        *(
            "XPENDING {t}s g",
            near(5000, "XPENDING {t}s g 5 + 3"),
            near(5000, "XINFO CONSUMERS {t}s g"),
        ),
    ],
    "a cursor through pending entries": [
        *(f"XADD {{t}}s {n} f v" for n in range(1, 41)),
        *("XGROUP CREATE {t}s g 0", "XREADGROUP GROUP g c STREAMS {t}s >", "XDEL {t}s 3 4 5 30"),
        *("XAUTOCLAIM {t}s g d 0 0 COUNT 4", "XAUTOCLAIM {t}s g d 0 7 COUNT 10 JUSTID"),
        *("XAUTOCLAIM {t}s g e 60000 0 COUNT 1", "XAUTOCLAIM {t}s g e 60000 11 COUNT 3"),
        *("XAUTOCLAIM {t}s g e 0 29 COUNT 2", "XAUTOCLAIM {t}s g e 0 31", FULL),
    ],
    "an old group knows what it has read": [
        *(f"XADD {{t}}s {n} f v" for n in range(1, 10)),
        *("XGROUP CREATE {t}s g 0", *INFO, "XREADGROUP GROUP g c COUNT 3 STREAMS {t}s >", *INFO),
        *(
            "XDEL {t}s 1",
            *INFO,
            "XDEL {t}s 5",
            *INFO,
            "XREADGROUP GROUP g c COUNT 3 STREAMS {t}s >",
        ),
        *(
            *INFO,
            "XREADGROUP GROUP g c COUNT 1 STREAMS {t}s >",
            *INFO,
            "XTRIM {t}s MAXLEN 1",
            *INFO,
        ),
        *("XADD {t}s 10 f v", *INFO, "XREADGROUP GROUP g c STREAMS {t}s >", *INFO),
        *("XGROUP SETID {t}s g 0", *INFO, "XGROUP SETID {t}s g 2 ENTRIESREAD 2", *INFO),
        *("XGROUP SETID {t}s g 9", *INFO, "XDEL {t}s 9 10", *INFO, "XADD {t}s 11 f v", *INFO),
        *("XSETID {t}s 20 ENTRIESADDED 30", *INFO, "XSETID {t}s 20 MAXDELETEDID 15", *INFO),
        *("XREADGROUP GROUP g c STREAMS {t}s >", *INFO),
    ],
    "a copy, another name": [
        *READ,
        *("COPY {t}s {t}t", "XDEL {t}s 1", "XACK {t}s g 1", "RENAME {t}s {t}u", "RENAME {t}t {t}s"),
        *(*INFO, near(5000, "XPENDING {t}s g - + 9"), "XLEN {t}u", "XPENDING {t}u g"),
        *("XADD {t}u 9 f v", "XADD {t}s 8 f v", "XREADGROUP GROUP g c STREAMS {t}s {t}u > >"),
    ],
    "help": ["XGROUP HELP", "XINFO HELP", "xgroup help", "XINFO help"],
}


def sized(entries: int, size: int, *steps: Line | Step) -> Case:
    """Return a case that runs with these bounds of a node."""
    bounds = "CONFIG SET stream-node-max-entries {} stream-node-max-bytes {}"
    return Case(bounds.format(entries, size), *steps, cleanup=[bounds.format(100, 4096)])


def filled(entries: int, size: int, values: list[bytes]) -> Case:
    steps: list[Line | Step] = []
    for at in range(1, 40):
        value = values[at % len(values)]
        name = b"f" if at % 7 else b"other"
        entry_id = b"%d-%d" % (at * 97, at * at % 300)
        steps += [(b"XADD", b"{t}s", entry_id, name, value), "XINFO STREAM {t}s"]
    steps += [
        "XTRIM {t}s MAXLEN ~ 20",
        *INFO,
        "XTRIM {t}s MINID ~ 2500",
        *INFO,
        "XTRIM {t}s MAXLEN 5",
    ]
    return sized(entries, size, *steps, *INFO, "XTRIM {t}s MAXLEN ~ 0 LIMIT 2", *INFO)


TEXTS = {
    "short strings": [b"v", b"", b"abc"],
    "numbers": [
        b"1",
        b"127",
        b"128",
        b"-1",
        b"-4097",
        b"40000",
        b"9000000",
        b"3000000000",
        b"%d" % MAX,
    ],
    "what is nearly a number": [b"01", b"+1", b"-0", b"1 ", b"-", b"9223372036854775808"],
    "long strings": [b"x" * 63, b"x" * 64, b"x" * 126, b"x" * 200],
}
NODES: Table = {
    f"{name} in nodes of {entries} entries and {size} bytes": filled(entries, size, values)
    for name, values in TEXTS.items()
    for entries, size in ((100, 4096), (5, 4096), (0, 500), (100, 700), (0, 0), (1, 1000))
} | {
    "what is removed from nodes": sized(
        5,
        4096,
        *(f"XADD {{t}}s {n} f v" for n in range(1, 31)),
        *("XDEL {t}s 1 2 3 4 5", *INFO, "XDEL {t}s 30 29 28 27", *INFO, "XADD {t}s 31 f v", *INFO),
        *("XDEL {t}s 26 31", *INFO, "XADD {t}s 32 f v", *INFO, "XDEL {t}s 12 14", *INFO),
        *(
            "XTRIM {t}s MINID 14",
            *INFO,
            "XTRIM {t}s MINID ~ 21",
            *INFO,
            "XTRIM {t}s MAXLEN 3",
            *INFO,
        ),
        *("XDEL {t}s 24 25", *INFO, "XADD {t}s 33 f v", "XADD {t}s 34 f v", *INFO),
    ),
    "references, node by node": sized(
        3,
        4096,
        *(f"XADD {{t}}s {n} f v" for n in range(1, 21)),
        *("XGROUP CREATE {t}s g 0", "XGROUP CREATE {t}s h 0"),
        *(
            "XREADGROUP GROUP g c COUNT 15 STREAMS {t}s >",
            "XREADGROUP GROUP h c COUNT 12 STREAMS {t}s >",
        ),
        *("XACK {t}s g 1 2 3 5 7 9 10 11", "XACK {t}s h 1 2 3 4 5 6 7 8 9 10 11 12"),
        *("XTRIM {t}s MAXLEN ~ 3 ACKED", *INFO, "XTRIM {t}s MAXLEN 18 ACKED", *INFO),
        *("XTRIM {t}s MINID 7 ACKED", *INFO, "XTRIM {t}s MAXLEN 3 ACKED", *INFO),
        *("XTRIM {t}s MINID ~ 9 DELREF", *INFO, "XTRIM {t}s MINID 9 DELREF", *INFO),
        *("XADD {t}s ACKED MAXLEN ~ 1 21 f v", *INFO, "XADD {t}s DELREF MAXLEN = 2 22 f v", *INFO),
    ),
}


@pytest.mark.parametrize("script", cases(ARITY))
def test_arity(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(EVERY_ID, EVERY_NUMBER, COUNTS))
def test_ids_and_numbers(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(EVERY_LINE))
def test_every_line_on(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(MORE, NODES))
def test_streams(script: Case, compare: Compare) -> None:
    compare(script)


class Program:
    """Makes random commands that are likely to meet the same entries."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._ids = [b"1-1"]
        self._ms = 1

    def _id(self) -> bytes:
        random = self._random
        if random.random() < 0.3:
            return random.choice(self._ids)
        return b"%d-%d" % (random.choice([*range(11), 12, 20, 30]), random.randrange(4))

    def _fields(self) -> list[bytes]:
        random = self._random
        number = b"%d" % random.choice([0, 1, 127, 128, -1, 4096, -5000, 70_000, 1 << 33])
        return random.choice(
            [
                [b"f", b"v"],
                [b"f", number],
                [b"f", b"1", b"g", b"x" * random.randrange(70)],
                [b"g", b"y" * random.randrange(300)],
                [b"f", b"", b"f", b"-0"],
            ]
        )

    def _trim(self) -> list[bytes]:
        random = self._random
        most = b"%d" % random.randrange(9)
        return random.choice(
            [
                [b"MAXLEN", b"~", most],
                [b"MAXLEN", most],
                [b"MINID", b"~", self._id()],
                [b"MINID", self._id()],
                [b"MAXLEN", b"~", most, b"LIMIT", b"%d" % random.randrange(9)],
            ]
        )

    def _add(self, key: bytes) -> tuple[bytes, ...]:
        random = self._random
        self._ms += random.choice([0, 0, 0, 1, 1, 2, 300, 70_000])
        entry_id = b"%d-*" % self._ms
        if random.random() < 0.6:
            entry_id = b"%d-%d" % (self._ms, random.randrange(9))
            self._ids.append(entry_id)
        options: list[bytes] = []
        if random.random() < 0.2:
            options = [
                *random.choice([[], [b"NOMKSTREAM"], [b"ACKED"], [b"DELREF"]]),
                *self._trim(),
            ]
        return (b"XADD", key, *options, entry_id, *self._fields())

    def command(self) -> tuple[bytes, ...]:
        """Return one command."""
        random, entry_id = self._random, self._id
        key = random.choice([b"{t}s", b"{t}s", b"{t}k"])
        group, consumer = random.choice([b"g", b"h"]), random.choice([b"c", b"d", b"e"])
        references = random.choice([b"KEEPREF", b"DELREF", b"ACKED"])
        count = b"%d" % random.randrange(5)
        where = random.choice([b"0", b"$", entry_id()])
        ends = [random.choice([b"-", b"+", entry_id(), b"(" + entry_id()]) for _ in range(2)]
        claim = random.choice(
            [[], [b"FORCE"], [b"JUSTID"], [b"RETRYCOUNT", count, b"FORCE"], [b"LASTID", entry_id()]]
        )
        added = random.choice([[], [b"MAXDELETEDID", entry_id()]])
        of_group = random.choice([[], [b"ENTRIESREAD", b"%d" % random.randrange(-1, 9)]])
        options = random.choice([[b"COUNT", count], [], [b"COUNT", count, b"NOACK"]])
        after = random.choice([b">", b">", b">", b"0", entry_id()])
        commands: dict[tuple[bytes, ...], float] = {
            self._add(key): 30,
            (b"XDEL", key, entry_id(), entry_id()): 5,
            (b"XDELEX", key, references, b"IDS", b"2", entry_id(), entry_id()): 4,
            (b"XACKDEL", key, group, references, b"IDS", b"2", entry_id(), entry_id()): 4,
            (b"XTRIM", key, *self._trim()): 2,
            (b"XTRIM", key, *self._trim(), references): 2,
            (b"XGROUP", b"CREATE", key, group, where, b"MKSTREAM"): 2,
            (b"XGROUP", b"CREATE", key, group, where, *of_group): 2,
            (b"XGROUP", b"SETID", key, group, where, *of_group): 2,
            (b"XGROUP", b"CREATECONSUMER", key, group, consumer): 1,
            (b"XGROUP", b"DELCONSUMER", key, group, consumer): 1,
            (b"XREADGROUP", b"GROUP", group, consumer, *options, b"STREAMS", key, after): 15,
            (b"XREAD", b"COUNT", count, b"STREAMS", b"{t}s", b"{t}k", where, b"+"): 3,
            (b"XACK", key, group, entry_id(), entry_id()): 5,
            (b"XCLAIM", key, group, consumer, b"0", entry_id(), entry_id(), *claim): 5,
            (b"XAUTOCLAIM", key, group, consumer, b"0", entry_id(), b"COUNT", b"2"): 4,
            (b"XRANGE", key, *ends, b"COUNT", count): 2,
            (b"XREVRANGE", key, *ends): 3,
            (b"XSETID", key, entry_id(), b"ENTRIESADDED", b"%d" % random.randrange(30), *added): 1,
            (b"DEL", key): 0.1,
            (b"CONFIG", b"SET", b"stream-node-max-entries", count): 0.5,
            (b"CONFIG", b"SET", b"stream-node-max-bytes", random.choice([b"0", b"400"])): 0.5,
            (b"XPENDING", key, group): 4,
        }
        return random.choices(list(commands), list(commands.values()))[0]


@pytest.mark.parametrize("seed", range(4))
def test_random_programs(seed: int, compare: Compare) -> None:
    program = Program(seed)
    steps: list[Line | Step] = []
    for _ in range(400):
        steps.append(program.command())
        for key in ("{t}s", "{t}k"):
            steps += [f"XINFO STREAM {key}", f"XINFO GROUPS {key}"]
            steps.append(untimed(f"XINFO STREAM {key} FULL COUNT 0"))
    compare(sized(4, 4096, *steps))
