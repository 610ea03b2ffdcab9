"""The sorted set commands beside redis-server: tables, and random programs from fixed seeds."""

from itertools import permutations, product
from random import Random

import pytest
from support.differential import Case, Compare, Line, Step, Table, cases, shape, unordered

# What might be taken for a double; the ends of a score range are read otherwise than scores.
DOUBLES = (
    *(b"0", b"1", b"-1", b"+1", b"1.5", b"-1.5", b".5", b"5.", b"-0", b"-0.0", b"00.5", b"1e5"),
    *(b"1E5", b"1e-5", b"1e308", b"1e309", b"-1e309", b"1e400", b"1e-400", b"4e-320", b"1e-323"),
    *(b"3.14159265358979323846", b"9007199254740993", b"18446744073709551616", b"1" * 320),
    *(b"inf", b"+inf", b"-inf", b"INF", b"Infinity", b"-infinity", b"infi", b"nan", b"-nan"),
    *(b"NaN(1)", b"0x10", b"0x1p-2", b"0X1.8", b"0x", b"", b" ", b" 1", b"1 ", b"\t1", b"1\n"),
    *(b"1\x00", b"1\x002", b"\x00", b".", b"-", b"+", b"e5", b"1e", b"1e+", b"--1", b"+-1", b"1_0"),
    *(b"1,5", b"1f", b"x", b"\xff", b"(1", b"[1", b"((1", b"(", b"(inf", b"(-inf", b"(nan", b"( 1"),
)
MIN, MAX = -(1 << 63), (1 << 63) - 1
INTEGERS = (
    *(b"%d" % n for n in (0, 1, -1, 3, 10, -10, MAX, MIN, MIN + 1, MAX + 1, MIN - 1, 1 << 64)),
    *(b"-0", b"+1", b"01", b" 1", b"1 ", b"1\x00", b"", b"1.0", b"1e1", b"0x1", b"x", b"\xff"),
)
LEX_ENDS = (
    *(b"-", b"+", b"[", b"(", b"[a", b"(a", b"[b", b"(b", b"[c", b"(c", b"[bb", b"(zz", b"[\x00"),
    *(b"(\xff", b"", b"a", b"-a", b"+a", b"--", b"inf", b" -"),
)
BINARY = (b"", b"\x00", b"\r\n", b"a\r\nb", b"\xff\xfe\x00\x80", bytes(range(256)), b"+OK\r\n")

COMMANDS = (
    *("ZADD", "ZCARD", "ZCOUNT", "ZDIFF", "ZDIFFSTORE", "ZINCRBY", "ZINTER", "ZINTERCARD"),
    *("ZINTERSTORE", "ZLEXCOUNT", "ZMPOP", "ZMSCORE", "ZPOPMAX", "ZPOPMIN", "ZRANDMEMBER"),
    *("ZRANGE", "ZRANGEBYLEX", "ZRANGEBYSCORE", "ZRANGESTORE", "ZRANK", "ZREM", "ZREMRANGEBYLEX"),
    *("ZREMRANGEBYRANK", "ZREMRANGEBYSCORE", "ZREVRANGE", "ZREVRANGEBYLEX", "ZREVRANGEBYSCORE"),
    *("ZREVRANK", "ZSCAN", "ZSCORE", "ZUNION", "ZUNIONSTORE", "BZPOPMIN", "BZPOPMAX", "BZMPOP"),
)

# A good call of every command, {} being its key; none of them waits when it exists.
CALLS = (
    *("ZADD {} 1 a", "ZADD {} NX 1 z", "ZADD {} XX 9 a", "ZADD {} INCR 2 a", "ZCARD {}"),
    *("ZCOUNT {} -inf +inf", "ZINCRBY {} 2 a", "ZLEXCOUNT {} - +", "ZMSCORE {} a nosuch"),
    *("ZRANDMEMBER {} 1000", "ZRANDMEMBER {} 1000 WITHSCORES", "ZRANGE {} 0 -1"),
    *("ZRANGE {} 0 -1 WITHSCORES", "ZREVRANGE {} 0 -1 WITHSCORES", "ZRANGEBYLEX {} - +"),
    *("ZREVRANGEBYLEX {} + -", "ZRANGEBYSCORE {} 1 2", "ZREVRANGEBYSCORE {} 2 1 WITHSCORES"),
    *("ZRANGE {} 1 (2 BYSCORE", "ZRANK {} b", "ZREVRANK {} b", "ZRANK {} b WITHSCORE"),
    *("ZREVRANK {} nosuch WITHSCORE", "ZSCORE {} a", "ZSCORE {} nosuch", "ZSCAN {} 0"),
    *("ZUNION 1 {} WITHSCORES", "ZINTER 1 {} WITHSCORES", "ZDIFF 1 {} WITHSCORES", "ZDIFF 1 {}"),
    *("ZINTERCARD 1 {}", "ZUNIONSTORE {t}d 1 {}", "ZINTERSTORE {t}d 1 {}", "ZDIFFSTORE {t}d 1 {}"),
    *("ZRANGESTORE {t}d {} 0 -1", "ZREM {} a", "ZREM {} nosuch", "ZREMRANGEBYRANK {} 0 0"),
    *("ZREMRANGEBYSCORE {} 1 1", "ZREMRANGEBYLEX {} - [a", "ZPOPMIN {}", "ZPOPMAX {} 1"),
    *("ZMPOP 1 {} MIN", "ZMPOP 1 {} MAX COUNT 2", "BZPOPMIN {} 0.01", "BZPOPMAX {} 0.01"),
    *("BZMPOP 0.01 1 {} MIN", "BZMPOP 0.01 1 {} MAX COUNT 2"),
)
STATE = ("ZRANGE {t}k 0 -1 WITHSCORES", "ZRANGE {t}d 0 -1 WITHSCORES", "EXISTS {t}k {t}d")


def every_call(*before: str | tuple[bytes, ...]) -> Table:
    """Return a case for each call, after these lines."""
    return {
        call: [*before, call.replace("{}", "{t}k"), *STATE, "OBJECT ENCODING {t}k"]
        for call in CALLS
    }


def argued(template: str, *choices: tuple[bytes, ...]) -> list[Step | Line]:
    """Return a line for each choice of arguments, which stand for `?` in the template."""
    lines: list[Step | Line] = []
    for chosen in product(*choices):
        rest = iter(chosen)
        lines.append(
            tuple([next(rest) if word == "?" else word.encode() for word in template.split()])
        )
    return lines


ARITY: Table = {
    f"{name} with any number of arguments": [
        " ".join([name, *["{t}k", "{t}v", "{t}w", "{t}x", "{t}y", "{t}z"][:n]]) for n in range(7)
    ]
    for name in COMMANDS
}

ON: dict[str, Table] = {
    "nothing": every_call(),
    "one": every_call("ZADD {t}k 1 a"),
    "three": every_call("ZADD {t}k 1 a 2 b 2.5 c"),
    "a string": every_call("SET {t}k v"),
    "a set": every_call("SADD {t}k a b"),
    "expired": every_call("ZADD {t}k 1 a 2 b", "PEXPIREAT {t}k 1"),
    "with an expire": every_call("ZADD {t}k 1 a 2 b", "PEXPIREAT {t}k 9999999999999"),
    "200": every_call(
        (b"ZADD", b"{t}k", *[w for at in range(200) for w in (b"%d" % (at % 9), b"m%03d" % at)]),
    ),
}
for name in ("ZRANDMEMBER {} 1000", "ZRANDMEMBER {} 1000 WITHSCORES", "ZSCAN {} 0"):
    ON["200"] = {key: case for key, case in ON["200"].items() if key != name}

ADD: Table = {
    "scores": [
        step
        for number in DOUBLES
        for step in (
            (b"ZADD", b"k", number, b"m"),
            "ZSCORE k m",
            (b"ZINCRBY", b"k", number, b"m"),
            (b"ZADD", b"k", b"INCR", number, b"n"),
            "ZRANGE k 0 -1 WITHSCORES",
        )
    ],
    "members": [
        step
        for member in BINARY
        for step in (
            (b"ZADD", b"k", b"1", member),
            (b"ZSCORE", b"k", member),
            (b"ZRANK", b"k", member, b"withscore"),
            (b"ZRANGEBYLEX", b"k", b"[" + member, b"(" + member + b"\x00"),
        )
    ]
    + ["ZRANGE k 0 -1"]
    + [(b"ZREM", b"k", member) for member in BINARY]
    + ["EXISTS k"],
    "keys": [
        step
        for key in BINARY
        for step in ((b"ZADD", key, b"1", b"m"), (b"ZCARD", key), (b"ZPOPMIN", key))
    ],
    "several": [
        *("ZADD k 1 a 2 b 3 c", "ZADD k 1 a 5 b 6 d", "ZRANGE k 0 -1 WITHSCORES"),
        *("ZADD k CH 1 a 6 b 6 e", "ZADD k 3 x 1 x 2 x", "ZADD k CH 3 x 1 x 2 x 2 y 2 y"),
        *("ZRANGE k 0 -1 WITHSCORES", "ZADD k 1 a b", "ZADD k 1 a x b", "ZADD k x a 1 b"),
        *("ZADD k NX 1 q 2 q", "ZSCORE k q", "ZADD new XX 1 a", "EXISTS new", "ZRANGE k 0 -1"),
    ],
    "bad scores change nothing": ["ZADD k 1 a", "ZADD k 2 a x b", "ZADD k 2 a nan b", "ZSCORE k a"],
    "zeros": [
        *("ZADD k -0 z 0 y", "ZRANGE k 0 -1 WITHSCORES", "ZADD k 0 z", "ZSCORE k z"),
        *("ZINCRBY k 0 z", "ZSCORE k z", "ZINCRBY k -0 new", "ZCOUNT k 0 0", "ZCOUNT k -0 (0"),
        *("ZADD k CH 0 z", "ZADD k -0.0 x", "ZRANGE k 0 -1 WITHSCORES", "ZRANK k z"),
    ],
    "zeros of a skiplist": [
        (b"ZADD", b"k", b"1", b"x" * 65),
        *("ZADD k -0 z 0 y", "ZRANGE k 0 -1 WITHSCORES", "ZADD k 0 z", "ZSCORE k z", "ZPOPMIN k"),
        *("ZINCRBY k 0 z", "ZSCORE k z", "ZINCRBY k -0 new", "ZCOUNT k 0 0", "ZCOUNT k -0 (0"),
        *("ZUNION 1 k WITHSCORES", "ZUNION 1 k WEIGHTS -1 WITHSCORES", "ZSCAN k 0 MATCH nomatch"),
        *("ZINTERSTORE k 1 k", "ZSCORE k new", "ZREMRANGEBYRANK k 2 2", "ZUNIONSTORE k 1 k"),
        *("OBJECT ENCODING k", "ZRANGE k 0 -1 WITHSCORES"),
    ],
    "infinities": [
        *("ZADD k inf a -inf b", "ZINCRBY k -inf a", "ZINCRBY k inf b", "ZINCRBY k inf a"),
        *("ZADD k INCR -inf a", "ZADD k XX INCR -inf a", "ZADD k GT INCR -inf a"),
        *("ZADD k NX INCR -inf a", "ZRANGE k 0 -1 WITHSCORES", "ZRANGEBYSCORE k (-inf (inf"),
        *("ZCOUNT k -inf inf", "ZCOUNT k inf -inf", "ZADD k 1e308 c", "ZINCRBY k 1e308 c"),
    ],
    "ZINCRBY reads its number as ZADD": [
        *(f"ZINCRBY k {word} m" for word in ("NX", "xx", "gt", "LT", "Ch", "incr", "x", "nxx")),
        *("ZINCRBY k 1 NX", "ZINCRBY k 1 incr", "ZRANGE k 0 -1 WITHSCORES", "SET s v"),
        *("ZINCRBY s x m", "ZINCRBY s NX m", "ZINCRBY s 1 m"),
    ],
    "errors in order": [
        *("SET s v", "ZADD s NX XX 1 a", "ZADD s NX XX x a", "ZADD s x a", "ZADD s GT LT x a"),
        *("ZADD s 1 a b", "ZADD s XX x a", "ZADD s XX 1 a", "ZADD s INCR 1 a 2 b"),
        *("ZADD s INCR x a 2 b", "ZADD s INCR x a", "ZADD s NX GT XX 1 a", "ZADD s NX", "ZADD s 1"),
        *("ZADD s NX XX", "ZADD s NX 1", "ZADD s NX XX 1", "ZADD s NX nx NX 1", "ZADD s 1 a NX"),
        *("ZADD s 1 a NX 2 b", "ZADD s x NX 1 a", 'ZADD s "" a', "ZADD s INCR CH XX NX 1 a 2 b"),
    ],
}

POPPED = "ZADD {t}k 1 a 1 b 2.5 c inf d -inf e"
POP: Table = {
    "one by one": [
        *(POPPED, "ZPOPMIN {t}k", "ZPOPMAX {t}k", "ZPOPMIN {t}k 1", "ZPOPMAX {t}k 1", "ZCARD {t}k"),
        *("ZPOPMIN {t}k", "EXISTS {t}k", "ZPOPMIN {t}k", "ZPOPMAX {t}k 2"),
    ],
    "several at once": [POPPED, "ZPOPMIN {t}k 2", "ZPOPMAX {t}k 2", "ZPOPMAX {t}k 9", *STATE],
    "counts": [
        step
        for number in INTEGERS
        for step in (
            *(POPPED, (b"ZPOPMIN", b"{t}k", number), (b"ZPOPMAX", b"{t}k", number)),
            *((b"ZPOPMIN", b"none", number), "SET {t}s v", (b"ZPOPMIN", b"{t}s", number)),
            *(POPPED, (b"ZMPOP", b"1", b"{t}k", b"MIN", b"COUNT", number)),
            (b"BZMPOP", b"0.01", b"1", b"{t}k", b"MAX", b"COUNT", number),
            (b"ZMPOP", b"1", b"{t}s", b"MIN", b"COUNT", number),
        )
    ],
    "numbers of keys": [
        step
        for number in INTEGERS
        for step in (
            (b"ZMPOP", number, b"{t}k", b"MIN"),
            (b"ZMPOP", number, b"{t}k", b"{t}l", b"MAX", b"COUNT", b"2"),
            (b"BZMPOP", b"0.01", number, b"{t}k", b"MIN"),
            (b"BZMPOP", b"x", number, b"{t}k", b"MIN"),
        )
        if number not in (b"3", b"10")
    ],
    "the first that exists": [
        *("ZADD {t}k 1 a 2 b 3 c", "ZADD {t}l 5 x 6 y", "ZMPOP 3 {t}none {t}l {t}k MIN"),
        *("ZMPOP 3 {t}none {t}l {t}k MAX COUNT 5", "ZMPOP 3 {t}none {t}l {t}k min count 2"),
        *("BZPOPMIN {t}none {t}l {t}k 0", "BZPOPMAX {t}none {t}l {t}k 0.01", *STATE),
        *("ZMPOP 2 {t}k {t}k MIN", "SET {t}s v", "ZADD {t}k 1 a", "ZMPOP 2 {t}s {t}k MIN"),
        *("ZMPOP 2 {t}k {t}s MIN", "ZMPOP 2 {t}k {t}s MIN", "BZMPOP 0 2 {t}none {t}s MAX"),
        *("BZPOPMIN {t}none {t}s 0.01", "ZADD {t}k 1 a", "BZMPOP 0 2 {t}none {t}k MAX COUNT 3"),
    ],
    "grammar": [
        *("ZMPOP 1 {t}k", "ZMPOP 1 {t}k mid", "ZMPOP 2 {t}k {t}MIN", "ZMPOP 1 {t}k {t}l MIN"),
        *("ZMPOP 1 {t}k MIN COUNT", "ZMPOP 1 {t}k MIN COUNT 1 COUNT 1", "ZMPOP 1 {t}k MIN bogus"),
        *("ZMPOP 1 {t}k MIN bogus 1", "ZMPOP 1 {t}k MIN COUNT 1 x", "ZMPOP 1 {t}k COUNT 1 MIN"),
        *("ZMPOP 1 MIN MIN", "ZMPOP 1 {t}k MIN MAX", "ZPOPMIN {t}k 1 2", "ZPOPMIN {t}k x y"),
        *("BZMPOP x 1 {t}k mid", "BZMPOP x 1 {t}k MIN COUNT 0", "BZMPOP x 1 {t}k MIN bogus"),
        *("BZMPOP -1 1 {t}k MIN", "BZMPOP x 1 {t}k MIN", "BZMPOP 0.01 1 {t}k MIN COUNT"),
        *("SET {t}s v", "BZMPOP x 1 {t}s MIN", "BZPOPMIN {t}s x", "BZPOPMIN {t}s -1"),
    ],
    "timeouts": [POPPED]
    + [
        step
        for number in (b"-1", b"x", b"", b"nan", b"inf", b"-inf", b"1e300", b"1e18")
        for step in (
            (b"BZPOPMIN", b"{t}none", number),
            (b"BZPOPMAX", b"{t}k", b"{t}l", number),
            (b"BZMPOP", number, b"1", b"{t}k", b"MIN"),
        )
    ]
    + ["BZPOPMIN {t}none 0.001", "BZPOPMIN {t}none 1e-9", "BZMPOP 0x.01p0 1 {t}none MIN"],
}

SCORED = "ZADD k 1 a 2 b 2 c 2 d 3.5 e -1 f inf g -inf h"
LEXED = "ZADD k 0 a 0 b 0 c 0 d 0 e 0 f 0 bb 0 \\x00 0 \\xff"
RANGES: Table = {
    "by rank": [SCORED, *argued("ZRANGE k ? ?", INTEGERS, INTEGERS)],
    "by rank with scores": [
        SCORED,
        *argued(
            "ZREVRANGE k ? ? WITHSCORES", (b"0", b"2", b"-3", b"9"), (b"-1", b"0", b"4", b"-9")
        ),
        *argued("ZRANGE k ? ? REV withscores", (b"0", b"2", b"-3", b"9"), (b"-1", b"0", b"-9")),
    ],
    "numbers of removed ranks": [
        step for number in INTEGERS for step in (SCORED, (b"ZREMRANGEBYRANK", b"k", number, b"3"))
    ]
    + [step for number in INTEGERS for step in (SCORED, (b"ZREMRANGEBYRANK", b"k", b"1", number))],
    "score ends": [
        "ZADD k 1 a 0 b 16 c -5 d 5 e 0.25 f 0.5 g inf h -inf i 1e5 j 4e-320 k",
        *argued("ZRANGEBYSCORE k ? inf", DOUBLES),
        *argued("ZREVRANGEBYSCORE k ? -inf", DOUBLES),
        *argued("ZCOUNT k ? ?", DOUBLES, (b"0", b"(1", b"x", b"inf", b"")),
    ],
    "by score": [
        SCORED,
        *argued(
            "ZRANGEBYSCORE k ? ? WITHSCORES",
            *2 * ((b"2", b"(2", b"-inf", b"inf", b"(inf", b"(-inf", b"1", b"(3.5", b"9"),),
        ),
        *argued("ZREMRANGEBYSCORE k ? ?", (b"(2", b"3", b"2", b"x"), (b"2", b"(2", b"4", b"x")),
        "ZRANGE k 0 -1",
    ],
    "by member": [
        tuple(
            [w.encode().replace(b"\\x00", b"\0").replace(b"\\xff", b"\xff") for w in LEXED.split()]
        ),
        *argued("ZRANGEBYLEX k ? ?", LEX_ENDS, LEX_ENDS),
        *argued("ZREVRANGEBYLEX k ? ?", LEX_ENDS, LEX_ENDS),
        *argued("ZLEXCOUNT k ? ?", LEX_ENDS, LEX_ENDS),
        *argued("ZREMRANGEBYLEX k ? ?", (b"[b", b"(b", b"x", b"+"), (b"[bb", b"-", b"(c", b"[d")),
        "ZRANGE k 0 -1",
    ],
    "by member, with different scores": [
        "ZADD k 1 a 2 b 3 c 0 d 9 bb 4 e",
        *argued("ZRANGEBYLEX k ? ?", LEX_ENDS[:11], LEX_ENDS[:11]),
        *argued("ZREVRANGEBYLEX k ? ?", LEX_ENDS[:11], LEX_ENDS[:11]),
        *argued("ZLEXCOUNT k ? ?", LEX_ENDS[:11], LEX_ENDS[:11]),
    ],
    "LIMIT": [
        SCORED,
        *argued("ZRANGEBYSCORE k 1 inf LIMIT ? ?", INTEGERS, (b"0", b"1", b"-1", b"-5", b"100")),
        *argued("ZREVRANGEBYSCORE k inf 1 LIMIT ? ?", (b"0", b"1", b"-1", b"9"), INTEGERS),
        *argued("ZRANGE k - + BYLEX LIMIT ? ?", (b"0", b"1", b"-1", b"9"), (b"0", b"2", b"-1")),
        *argued("ZRANGE k + - REV BYLEX LIMIT ? ?", (b"0", b"1", b"-1", b"9"), (b"0", b"2", b"-1")),
        *argued("ZRANGE k 0 -1 LIMIT ? ?", (b"0", b"1", b"-1", b"x"), (b"0", b"2", b"-1", b"-2")),
        *argued("ZREVRANGE k 0 -1 LIMIT ? ?", (b"0", b"1"), (b"0", b"2", b"-1")),
        *argued("ZRANGESTORE {k}d k 1 inf BYSCORE LIMIT ? ?", (b"0", b"1", b"-1"), (b"2", b"-1")),
        "ZRANGEBYSCORE k 1 inf LIMIT 0 2 LIMIT 1 1 WITHSCORES withscores",
    ],
    "errors in order": [
        *(
            "SET s v",
            SCORED,
            "ZRANGE s a 1",
            "ZRANGE s 1 a",
            "ZRANGE s a b BYSCORE",
            "ZCOUNT s a 1",
        ),
        *("ZRANGE s 0 1 LIMIT 0 1", "ZRANGE s 0 1 BYLEX WITHSCORES", "ZRANGE s a b WITHSCORES x"),
        *("ZRANGE s 0 1 BYLEX BYSCORE", "ZRANGE s 0 1 BYSCORE BYLEX", "ZRANGE s 0 1 LIMIT 1"),
        *("ZRANGE s 0 1 LIMIT x", "ZRANGE s 0 1 LIMIT x y", "ZRANGE s 0 1 LIMIT x y z"),
        *("ZRANGE s 0 1 z LIMIT x y", "ZRANGE s x y LIMIT 0 1", "ZRANGE s 0 1 BYLEX LIMIT 0 1"),
        *("ZRANGEBYSCORE s 0 1 REV", "ZRANGEBYSCORE s 0 1 BYSCORE", "ZRANGEBYSCORE s 0 1 BYLEX"),
        *("ZREVRANGE s 0 1 REV", "ZREVRANGE s 0 1 BYSCORE", "ZRANGEBYLEX s - + WITHSCORES"),
        *("ZRANGEBYLEX s a b WITHSCORES", "ZRANGEBYLEX s - + LIMIT 0", "ZREVRANGEBYLEX s + - REV"),
        *("ZREMRANGEBYRANK s a 1", "ZREMRANGEBYSCORE s a 1", "ZREMRANGEBYLEX s a 1"),
        *("ZREMRANGEBYSCORE none a 1", "ZREMRANGEBYLEX none a 1", "ZREMRANGEBYRANK none a 1"),
        *("ZLEXCOUNT s a 1", "ZLEXCOUNT none a 1", "ZCOUNT none a 1", "ZRANK s a bogus"),
        *("ZRANK s a withscore x", "ZREVRANK s a bogus x", "ZRANK k a WITHSCORES"),
        *("ZREVRANK k a WithScore", "ZRANK k nosuch withscore", "ZRANK none a withscore"),
    ],
}

STORE: Table = {
    "ZRANGESTORE": [
        *("ZADD {t}k 1 a 2 b 3 c 4 d", "ZRANGESTORE {t}d {t}k 1 2", *STATE),
        *("ZRANGESTORE {t}d {t}k 0 1 REV", *STATE, "ZRANGESTORE {t}d {t}k (1 3 BYSCORE", *STATE),
        *("ZRANGESTORE {t}d {t}k 3 (1 BYSCORE REV LIMIT 1 1", *STATE),
        *("ZRANGESTORE {t}d {t}k [b + BYLEX", *STATE, "ZRANGESTORE {t}d {t}k + [b BYLEX REV"),
        *(*STATE, "ZRANGESTORE {t}d {t}k 9 10", *STATE, "ZRANGESTORE {t}d {t}none 0 -1"),
        *("ZRANGESTORE {t}k {t}k 0 1", *STATE, "ZRANGESTORE {t}k {t}k 5 6", *STATE),
    ],
    "over another type": [
        *("ZADD {t}k 1 a", "SET {t}d v EXAT 9999999999", "ZRANGESTORE {t}d {t}k 0 -1"),
        *("TYPE {t}d", "TTL {t}d", "SET {t}d v", "ZUNIONSTORE {t}d 1 {t}k", "TYPE {t}d"),
        *("SET {t}d v", "ZINTERSTORE {t}d 2 {t}k {t}none", "EXISTS {t}d"),
        *("SET {t}d v", "ZDIFFSTORE {t}d 1 {t}none", "EXISTS {t}d", "SET {t}d v"),
        *("ZRANGESTORE {t}d {t}none 0 1", "EXISTS {t}d", "SET {t}d v"),
        *("ZRANGESTORE {t}k {t}d 0 1", "ZUNIONSTORE {t}k 2 {t}k {t}d", *STATE),
    ],
    "errors": [
        *("SET {t}s v", "ZRANGESTORE {t}d {t}s 0 1 WITHSCORES", "ZRANGESTORE {t}d {t}s x y"),
        *("ZRANGESTORE {t}d {t}s 0 1 LIMIT 0 1", "ZRANGESTORE {t}d {t}s 0 1", "EXISTS {t}d"),
        *("ZRANGESTORE {t}d {t}s 0 1 BYSCORE LIMIT 0", "ZRANGESTORE {t}d {t}s 0 1 bogus"),
    ],
    "the result has no expire": [
        *("ZADD {t}k 1 a", "EXPIRE {t}k 1000", "ZADD {t}d 1 z", "EXPIRE {t}d 1000"),
        *("ZRANGESTORE {t}d {t}k 0 -1", "TTL {t}d", "ZUNIONSTORE {t}k 1 {t}k", "TTL {t}k"),
    ],
}

INPUTS = (
    "ZADD {t}a 1 one 2 two 3 three inf top -0 zero",
    "ZADD {t}b 10 two 20 three -inf top 5 five",
    "SADD {t}s two five six",
    "SADD {t}i 1 2 3",
)
WEIGHTS = (b"0", b"1", b"-1", b"2.5", b"inf", b"-inf", b"1e308", b"-0", b"nan", b"x", b"", b"0x10")
JOIN: Table = {
    f"{name} {aggregate}".strip(): [
        *INPUTS,
        *(
            f"{name} {keys} {aggregate} WITHSCORES"
            for keys in (
                *("2 {t}a {t}b", "2 {t}b {t}a", "3 {t}a {t}b {t}s", "1 {t}s", "2 {t}s {t}s"),
                *("2 {t}a {t}a", "2 {t}a {t}none", "2 {t}none {t}a", "1 {t}none", "2 {t}i {t}s"),
                *("3 {t}b {t}s {t}b", "4 {t}a {t}a {t}b {t}b"),
            )
        ),
        f"{name} 2 {{t}}a {{t}}b {aggregate}",
    ]
    for name, aggregates in (
        ("ZUNION", ("", "AGGREGATE SUM", "AGGREGATE min", "aggregate MAX")),
        ("ZINTER", ("", "AGGREGATE SUM", "AGGREGATE min", "aggregate MAX")),
        ("ZDIFF", ("",)),
    )
    for aggregate in aggregates
}
JOIN_MORE: Table = {
    "weights": [
        *INPUTS,
        *argued("ZUNION 2 {t}a {t}b WEIGHTS ? ? WITHSCORES", WEIGHTS, WEIGHTS),
        *argued(
            "ZINTER 2 {t}b {t}a WEIGHTS ? ? AGGREGATE MIN WITHSCORES", WEIGHTS[:8], WEIGHTS[:8]
        ),
        *argued(
            "ZINTER 2 {t}b {t}a AGGREGATE MAX WEIGHTS ? ? WITHSCORES", WEIGHTS[:8], WEIGHTS[:8]
        ),
        *argued("ZUNION 2 {t}a {t}s WEIGHTS ? ? WITHSCORES", WEIGHTS[:8], WEIGHTS[:8]),
        *argued("ZINTER 2 {t}a {t}a WEIGHTS ? ? WITHSCORES", WEIGHTS[:8], WEIGHTS[:8]),
    ],
    "sums depend on the order": [
        *("ZADD {t}a 1e16 m 1 x 1 y", "ZADD {t}b 1 m 1 z", "ZADD {t}c 1 m", "ZADD {t}e -1e16 m"),
        *("ZUNION 4 {t}a {t}b {t}c {t}e WITHSCORES", "ZUNION 4 {t}e {t}a {t}b {t}c WITHSCORES"),
        *("ZINTER 4 {t}a {t}b {t}c {t}e WITHSCORES", "ZINTER 3 {t}c {t}b {t}a WITHSCORES"),
    ],
    "stored": [
        *(*INPUTS, "ZUNIONSTORE {t}d 2 {t}a {t}b", *STATE, "ZINTERSTORE {t}d 2 {t}a {t}b", *STATE),
        *("ZDIFFSTORE {t}d 2 {t}a {t}b", *STATE, "ZUNIONSTORE {t}d 3 {t}a {t}s {t}d WEIGHTS 1 2 3"),
        *(*STATE, "ZINTERSTORE {t}d 2 {t}a {t}s AGGREGATE MAX WEIGHTS 2 3", *STATE),
        *("ZUNIONSTORE {t}a 2 {t}a {t}a", "ZRANGE {t}a 0 -1 WITHSCORES", "ZUNIONSTORE {t}s 1 {t}s"),
        *("TYPE {t}s", "ZRANGE {t}s 0 -1 WITHSCORES", "ZDIFFSTORE {t}a 2 {t}a {t}a", "EXISTS {t}a"),
        *("ZINTERSTORE {t}d 1 {t}none", *STATE),
    ],
    "ZINTERCARD": [
        *(*INPUTS, "ZINTERCARD 2 {t}a {t}b", "ZINTERCARD 3 {t}a {t}b {t}s", "ZINTERCARD 1 {t}s"),
        *(
            "ZINTERCARD 2 {t}a {t}none",
            "ZINTERCARD 2 {t}a {t}b LIMIT 2",
            "ZINTERCARD 1 {t}a LIMIT 0",
        ),
        *(
            "ZINTERCARD 1 {t}a LIMIT 1 limit 3",
            "ZINTERCARD 1 {t}a LIMIT",
            "ZINTERCARD 1 {t}a bogus",
        ),
        *(
            "ZINTERCARD 1 {t}a WITHSCORES",
            "ZINTERCARD 1 {t}a WEIGHTS 1",
            "ZINTERCARD 2 {t}a LIMIT 1",
        ),
        *("ZINTERCARD 1 {t}a AGGREGATE SUM", "SET {t}x v", "ZINTERCARD 1 {t}x LIMIT -1"),
        *argued("ZINTERCARD 1 {t}a LIMIT ?", INTEGERS),
    ],
    "grammar": [
        *INPUTS,
        "SET {t}x v",
        *(
            f"{name} {rest}"
            for name in ("ZUNION", "ZINTER", "ZDIFF", "ZUNIONSTORE {t}d", "ZINTERSTORE {t}d")
            for rest in (
                *(
                    "0 {t}a",
                    "-1 {t}a",
                    "x {t}a",
                    "2 {t}a",
                    "2 {t}x {t}a bogus",
                    "2 {t}a {t}x bogus",
                ),
                *("1 {t}a bogus", "1 {t}a WEIGHTS", "1 {t}a WEIGHTS x", "1 {t}a WEIGHTS 1 2"),
                *("2 {t}a {t}b WEIGHTS 1", "1 {t}a AGGREGATE", "1 {t}a AGGREGATE avg"),
                *(
                    "1 {t}a WITHSCORES",
                    "1 {t}a WITHSCORES withscores",
                    "1 {t}a {t}b",
                    "1 {t}a LIMIT 1",
                ),
                *("1 {t}a WEIGHTS 2 WEIGHTS 3 AGGREGATE max aggregate min WITHSCORES",),
                *(
                    "1 {t}a AGGREGATE sum WEIGHTS 2",
                    "9223372036854775808 {t}a",
                    "1.0 {t}a",
                    "1 {t}x",
                ),
                "4294967297 {t}a",
            )
        ),
        *("ZDIFFSTORE {t}d 0 {t}a", "ZDIFFSTORE {t}d 1 {t}a WITHSCORES", "ZDIFFSTORE {t}d x {t}a"),
        *("ZDIFFSTORE {t}d 1 {t}a WEIGHTS 1", "ZINTERCARD 0 {t}a", "ZINTERCARD x {t}a", *STATE),
        "ZINTERCARD 2 {t}a",
    ],
}

RANDOM: Table = {
    "counts": [
        step
        for number in INTEGERS
        if number != b"%d" % (MIN + 1)
        for step in (
            (b"ZRANDMEMBER", b"none", number),
            (b"ZRANDMEMBER", b"none", number, b"WITHSCORES"),
        )
    ],
    "no reply could hold so many": [
        f"ZRANDMEMBER none {count} WITHSCORES"
        for count in (MIN + 1, MAX // 2, MAX // 2 + 1, -(MAX // 2), -(MAX // 2) - 1)
    ],
    "all": [
        "ZADD k 1 a 2 b 3 c",
        "ZRANDMEMBER k 3",
        "ZRANDMEMBER k 9 withscores",
        "ZRANDMEMBER k 0",
    ],
    "some": [
        *("ZADD k 1 a 2 b 3 c", shape("ZRANDMEMBER k 2"), shape("ZRANDMEMBER k -7")),
        *(shape("ZRANDMEMBER k 2 WITHSCORES"), shape("ZRANDMEMBER k -5 withscores")),
        *(shape("ZRANDMEMBER k"), shape("ZRANDMEMBER k 1"), shape("ZRANDMEMBER k -1 WITHSCORES")),
    ],
    "of one": ["ZADD k 1 a", "ZRANDMEMBER k", "ZRANDMEMBER k -3", "ZRANDMEMBER k -2 WITHSCORES"],
    "errors": [
        *("SET s v", "ZRANDMEMBER s x", "ZRANDMEMBER s 1 x", "ZRANDMEMBER s 1 WITHSCORES x"),
        *("ZRANDMEMBER s x y", "ZRANDMEMBER s 1", "ZRANDMEMBER s 1 WITHSCORES", "ZRANDMEMBER s"),
    ],
}

SCAN: Table = {
    "small": [
        *("ZADD k 2 bar 1 foo 3.5 baz inf top", "ZSCAN k 0", "ZSCAN k 0 COUNT 1", "ZSCAN k 7"),
        *("ZSCAN k 0 MATCH b*", "ZSCAN k 0 match b* count 100 MATCH f*", "ZSCAN k 0 MATCH none"),
        *("ZSCAN k 0 COUNT 5 COUNT 1", "ZSCAN k 18446744073709551615", "ZSCAN k 00"),
    ],
    "large, all at once": [
        (b"ZADD", b"k", *[w for at in range(300) for w in (b"%d" % at, b"m%d" % at)]),
        *(unordered("ZSCAN k 0 COUNT 5000"), unordered("ZSCAN k 0 MATCH m2* COUNT 5000")),
    ],
    "larger, all at once": [
        (b"ZADD", b"k", *[w for at in range(3000) for w in (b"%d" % at, b"m%d" % at)]),
        *(unordered("ZSCAN k 0 COUNT 50000"), unordered("ZSCAN k 0 MATCH m2* COUNT 50000")),
    ],
    "errors": [
        *(
            "SET s v",
            "ZADD k 1 a",
            "ZSCAN s x",
            "ZSCAN s 0 bogus",
            "ZSCAN s 0",
            "ZSCAN none 0 bogus",
        ),
        *("ZSCAN none 0 COUNT x", "ZSCAN none x", "ZSCAN k 0 COUNT", "ZSCAN k 0 COUNT x"),
        *("ZSCAN k 0 COUNT 0", "ZSCAN k 0 COUNT -1", "ZSCAN k 0 bogus", "ZSCAN k 0 MATCH"),
        *("ZSCAN k 0 TYPE zset", "ZSCAN k 0 NOVALUES", "ZSCAN k 0 NOSCORES", "ZSCAN k 0 MATCH a b"),
        *("ZSCAN k -1", "ZSCAN k 18446744073709551616", "ZSCAN k 0 COUNT 9223372036854775808"),
    ],
}

DEFAULTS = ("CONFIG SET zset-max-listpack-entries 128", "CONFIG SET zset-max-listpack-value 64")
SMALL = "CONFIG SET zset-max-listpack-entries 3 zset-max-listpack-value 5"
ENCODING = tuple(f"OBJECT ENCODING {{t}}{name}" for name in "abcdefg")
SHRUNK = ("ZADD {t}b 1 a 1 b 1 c 1 d", "ZREM {t}b b c d")
ENCODINGS: Table = {
    "at and over the default limits": [
        (b"ZADD", b"{t}a", *[w for at in range(128) for w in (b"1", b"%d" % at)]),
        (b"ZADD", b"{t}b", *[w for at in range(129) for w in (b"1", b"%d" % at)]),
        (b"ZADD", b"{t}c", *[w for at in range(129) for w in (b"1", b"x")]),
        (b"ZADD", b"{t}d", b"1", b"x" * 64),
        (b"ZADD", b"{t}e", b"1", b"x" * 65),
        *ENCODING,
        *("ZADD {t}a 2 0", "OBJECT ENCODING {t}a", "ZADD {t}a 2 new", "ZREM {t}a new", *ENCODING),
        *("ZREMRANGEBYRANK {t}a 1 -1", "ZPOPMIN {t}b 128", "ZINCRBY {t}d 1 y", *ENCODING),
    ],
    "at and over small limits": [
        *(SMALL, "ZADD {t}a 1 a 1 b 1 c", "ZADD {t}b 1 aaaaa", "ZADD {t}c 1 aaaaaa", *ENCODING),
        *("ZADD {t}a 5 a", "ZADD {t}b 1 bbbbbb", "ZINCRBY {t}d 1 dddddd", *ENCODING),
        *("ZADD {t}a 5 d", "ZADD {t}e XX 1 a 1 b 1 c 1 d", "ZADD {t}f NX 1 a 1 bbbbbb", *ENCODING),
        *("ZADD {t}g 1 a 1 a 1 a 1 a", "ZADD {t}d INCR 1 dddddd", *ENCODING),
    ],
    "what was large stays so": [
        *(SMALL, *SHRUNK, "ZADD {t}b 7 a", *ENCODING, "RENAME {t}b {t}c", "COPY {t}c {t}d"),
        *(*ENCODING, "ZUNIONSTORE {t}e 1 {t}c", "ZRANGESTORE {t}f {t}c 0 -1", *ENCODING),
    ],
    "of results": [
        *(SMALL, "ZADD {t}a 1 a 2 b 3 c 4 d", "SADD {t}s q rrrrrr", *ENCODING),
        *("ZRANGESTORE {t}b {t}a 0 -1", "ZRANGESTORE {t}c {t}a 0 2", *ENCODING),
        *("ZRANGESTORE {t}b {t}a 1 9 BYSCORE", "ZRANGESTORE {t}c {t}a 1 9 BYSCORE LIMIT 0 3"),
        *("ZRANGESTORE {t}d {t}a + - REV BYLEX", "ZRANGESTORE {t}e {t}a 1 2 REV", *ENCODING),
        *(
            "ZUNIONSTORE {t}b 1 {t}a",
            "ZINTERSTORE {t}c 1 {t}a",
            "ZDIFFSTORE {t}d 1 {t}a",
            *ENCODING,
        ),
        *("ZUNIONSTORE {t}b 1 {t}s", "ZREM {t}a d", "ZINTERSTORE {t}c 1 {t}a", *ENCODING),
        *("ZDIFFSTORE {t}d 1 {t}a", "ZUNIONSTORE {t}e 2 {t}a {t}none", *ENCODING),
    ],
    "limits of nothing": [
        "CONFIG SET zset-max-listpack-entries 0",
        *("ZADD {t}a 1 a", "ZUNIONSTORE {t}b 1 {t}a", "ZRANGESTORE {t}c {t}a 0 -1", *ENCODING),
        *("ZRANGESTORE {t}d {t}a 1 1 BYSCORE", "ZINCRBY {t}e 1 x", *ENCODING),
        *("CONFIG SET zset-max-listpack-entries 9 zset-max-listpack-value 0", "ZADD {t}f 1 a"),
        *('ZADD {t}g 1 ""', *ENCODING, "ZADD {t}g 1 a", *ENCODING),
    ],
    **{
        f"a limit of nothing, then {line}": [
            *("ZADD {t}a 1 a 2 b", "CONFIG SET zset-max-listpack-entries 0", line, *ENCODING),
        ]
        for line in (
            *("ZADD {t}a 1 a", "ZADD {t}a XX 1 no", "ZADD {t}a NX 5 a", "ZADD {t}a INCR 0 a"),
            *("ZINCRBY {t}a 0 a", "ZADD {t}a XX INCR 1 no", "ZADD {t}a x a", "ZREM {t}a a"),
            *("GEOADD {t}a XX 1 1 no", "ZADD {t}a GT INCR -1 a", "ZADD {t}a INCR nan a"),
        )
    },
}


@pytest.mark.parametrize("script", cases(ARITY))
def test_arity(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("before", ON.keys())
def test_every_command(before: str, compare: Compare) -> None:
    for case in ON[before].values():
        compare(case)


@pytest.mark.parametrize("script", cases(ADD))
def test_adding(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("before", ["DEL k", "ZADD k 5 m", "ZADD k inf m", "SET k v"])
def test_options_of_zadd_in_every_order(before: str, compare: Compare) -> None:
    words = ["NX", "xx", "Gt", "lT", "CH", "incr"]
    steps: list[Line | Step] = []
    for size in range(4):
        for chosen in permutations(words, size):
            options = " ".join(chosen)
            for score in ("4", "5", "6", "-inf"):
                steps += ["DEL k", before, f"ZADD k {options} {score} m", "TYPE k"]
            steps += [f"ZADD k {options} 1 m 2 n 3 m", f"ZADD k {options} m 1", "TYPE k"]
    compare(steps)


@pytest.mark.parametrize("script", cases(POP))
def test_popping(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(RANGES))
def test_ranges(script: Case, compare: Compare) -> None:
    compare(script)


def test_options_of_zrange_in_every_order(compare: Compare) -> None:
    words = ["BYSCORE", "bylex", "Rev", "LIMIT 1 2", "withscores"]
    steps: list[Line | Step] = ["ZADD {t}k 1 a 1 b 1 c 1 d 1 e", "SET {t}s v"]
    for size in range(1, 5):
        for chosen in permutations(words, size):
            options = " ".join(chosen)
            for ends in ("0 3", "-inf inf", "inf -inf", "[a (e", "(e [a"):
                steps += [f"ZRANGE {{t}}k {ends} {options}", f"ZRANGE {{t}}s {ends} {options}"]
                steps += [f"ZRANGESTORE {{t}}d {{t}}k {ends} {options}", "ZCARD {t}d"]
    compare(steps)


@pytest.mark.parametrize("script", cases(STORE, JOIN, JOIN_MORE))
def test_several_sets(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(RANDOM, SCAN))
def test_random_members_and_scans(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(ENCODINGS))
def test_encodings(script: Case, compare: Compare) -> None:
    compare(Case(*script.steps, cleanup=DEFAULTS))


def random_steps(random: Random, names: int, scores: list[bytes]) -> list[Line | Step]:
    """Return some changes of {t}a, {t}b and {t}s, and questions about them."""

    def member() -> bytes:
        return b"m%d" % random.randrange(names)

    def score() -> bytes:
        return random.choice(scores)

    def key() -> bytes:
        return random.choice([b"{t}a", b"{t}a", b"{t}b"])

    def rank() -> bytes:
        return b"%d" % random.randint(-names, names)

    def bound() -> bytes:
        return random.choice([b"", b"("]) + score()

    def lex() -> bytes:
        return random.choice([b"-", b"+", b"[" + member(), b"(" + member()])

    pairs = [word for _ in range(random.choice([1, 1, 2, 20])) for word in (score(), member())]
    rev = random.choice([[], [b"REV"]])
    limit = random.choice(
        [[], [b"LIMIT", b"%d" % random.randint(0, 9), b"%d" % random.randint(-1, 9)]]
    )
    joined = [
        b"3",
        b"{t}a",
        b"{t}b",
        b"{t}s",
        b"AGGREGATE",
        random.choice([b"SUM", b"MIN", b"MAX"]),
    ]
    change: tuple[bytes, ...] = random.choice(
        [
            (b"ZADD", key(), *pairs),
            (b"ZADD", key(), *pairs),
            (b"ZADD", key(), random.choice([b"NX", b"XX", b"GT", b"LT"]), b"CH", *pairs),
            (b"ZADD", key(), random.choice([b"XX", b"GT", b"LT", b"NX"]), b"INCR", *pairs[:2]),
            (b"ZINCRBY", key(), score(), member()),
            (b"ZREM", key(), member(), member(), member()),
            (b"SADD", b"{t}s", member()),
            (b"ZREMRANGEBYRANK", key(), rank(), rank()),
            (b"ZREMRANGEBYSCORE", key(), bound(), bound()),
            (b"ZPOPMIN", key(), b"%d" % random.randrange(4)),
            (b"ZPOPMAX", key()),
            (b"ZMPOP", b"2", b"{t}a", b"{t}b", b"MAX", b"COUNT", b"2"),
            (b"ZRANGESTORE", key(), key(), bound(), bound(), b"BYSCORE", *rev, *limit),
            (b"ZUNIONSTORE", key(), *joined),
            (b"ZDIFFSTORE", key(), b"2", key(), key()),
        ]
    )
    ask: list[tuple[bytes, ...]] = [
        (b"ZRANGE", key(), rank(), rank(), b"WITHSCORES", *rev),
        (b"ZRANGE", key(), bound(), bound(), b"BYSCORE", *rev, *limit, b"WITHSCORES"),
        (b"ZCOUNT", key(), bound(), bound()),
        (b"ZRANK", key(), member(), b"WITHSCORE"),
        (b"ZREVRANK", key(), member()),
        (b"ZMSCORE", key(), member(), member()),
        (b"ZUNION", *joined, b"WITHSCORES"),
        (b"ZINTER", *joined, b"WITHSCORES"),
        (b"ZLEXCOUNT", b"{t}l", lex(), lex()),
        (b"ZRANGE", b"{t}l", lex(), lex(), b"BYLEX", *rev, *limit),
    ]
    return [
        change,
        (b"ZADD", b"{t}l", b"0", member()),
        *random.sample(ask, 2),
        "OBJECT ENCODING {t}a",
        "ZCARD {t}a",
        "ZCARD {t}b",
    ]


SCORES = {
    "few": [b"1", b"2", b"3", b"-1"],
    "odd": [b"0", b"-0", b"inf", b"-inf", b"1.5", b"1e308", b"-1e308", b"0.1", b"3e-5", b"4e-320"],
    "many": [b"%d" % n for n in range(-500, 500)],
}


@pytest.mark.parametrize("scores", SCORES.keys())
@pytest.mark.parametrize("names", [10, 100, 2000])
def test_random_programs(scores: str, names: int, compare: Compare) -> None:
    random = Random(f"{scores} {names}")
    steps: list[Line | Step] = []
    if names > 1000:
        words = [w for at in range(900) for w in (random.choice(SCORES[scores]), b"m%d" % (2 * at))]
        steps.append((b"ZADD", b"{t}a", *words))
    for _ in range(250):
        steps += random_steps(random, names, SCORES[scores])
    steps += ["ZRANGE {t}a 0 -1 WITHSCORES", "ZRANGE {t}b 0 -1 WITHSCORES", "ZRANGE {t}l 0 -1"]
    compare(steps)
