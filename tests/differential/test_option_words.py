r"""Options are C strings to Redis: `NX\0` and `NX\0nonsense` are NX, `NXnonsense` is not.

That holds of every option of every command, and of the words COMMAND GETKEYS looks for, by which
Shoal finds the partition of the keys.
"""

from collections.abc import Iterator

import pytest
from support.differential import Compare, Line, Step, mask
from support.raw import split_line

BEFORE: tuple[Line, ...] = (
    *("FLUSHALL", "SET {t}s v", "RPUSH {t}l a b c", "SADD {t}set a b", "HSET {t}h f v"),
    *("ZADD {t}z 1 a 2 b", "XADD {t}x 1-1 f v", "XADD {t}x 1-2 f v", "XGROUP CREATE {t}x g 0"),
    *("GEOADD {t}geo 1 1 a 1.1 1 b", "PFADD {t}hll a"),
)

# The words that are varied begin with `~`.
COMMANDS = {
    "strings": (
        *("SET {t}s v ~NX", "SET {t}s v ~XX ~GET", "SET {t}s v ~EX 100", "SET {t}s v ~PX 100000"),
        *("SET {t}s v ~EXAT 99999999999", "SET {t}s v ~PXAT 99999999999999", "SET {t}s v ~KEEPTTL"),
        *("GETEX {t}s ~EX 100", "GETEX {t}s ~PERSIST", "LCS {t}s {t}s ~LEN"),
        "LCS {t}s {t}s ~IDX ~MINMATCHLEN 1 ~WITHMATCHLEN",
    ),
    "bitmaps": (
        *("BITCOUNT {t}s 0 -1 ~BIT", "BITPOS {t}s 1 0 -1 ~BYTE", "BITOP ~AND {t}d {t}s {t}s"),
        "BITFIELD {t}s ~SET u8 0 1 ~OVERFLOW ~SAT ~INCRBY u8 0 1 ~GET u8 0",
        *("BITFIELD_RO {t}s ~GET u8 0", "BITOP ~NOT {t}d {t}s"),
    ),
    "hyperloglog": ("PFDEBUG ~ENCODING {t}hll", "PFDEBUG SIMD ~ON"),
    "keys": (
        *("EXPIRE {t}s 100 ~NX", "EXPIRE {t}s 100 ~GT", "PEXPIREAT {t}s 100000000000000 ~LT"),
        *("COPY {t}s {t}s2 ~REPLACE", "COPY {t}s {t}s2 ~DB 0", "FLUSHDB ~SYNC", "FLUSHALL ~ASYNC"),
        *("RESTORE {t}r 0 x ~REPLACE", "RESTORE {t}r 0 x ~ABSTTL ~IDLETIME 5 ~REPLACE"),
        *("RESTORE {t}r 0 x ~FREQ 5", "SCAN 0 ~MATCH {t}s ~COUNT 100"),
        "SCAN 0 ~TYPE ~hash ~MATCH {t}h COUNT 100",
        *("MIGRATE 127.0.0.1 1 {t}none 0 10 ~COPY ~REPLACE ~AUTH2 KEYS KEYS",),
        'MIGRATE 127.0.0.1 1 "" 0 10 AUTH KEYS ~KEYS {t}none',
    ),
    "sort": (
        *("SORT {t}l ~ALPHA ~DESC", "SORT {t}l ~BY nosort ~LIMIT 0 1 ~ASC ~ALPHA"),
        *("SORT {t}l ~ALPHA ~GET #", "SORT {t}l ~ALPHA ~STORE {t}d", "SORT_RO {t}l ~ALPHA"),
    ),
    "lists": (
        *("LINSERT {t}l ~BEFORE a x", "LINSERT {t}l ~AFTER a x", "LMOVE {t}l {t}l2 ~LEFT ~RIGHT"),
        *("LPOS {t}l a ~RANK 1 ~COUNT 0 ~MAXLEN 5", "LMPOP 1 {t}l ~LEFT ~COUNT 1"),
        *("BLMPOP 1 1 {t}l ~RIGHT ~COUNT 1", "BLMOVE {t}l {t}l2 ~LEFT ~RIGHT 1"),
    ),
    "sets": ("SINTERCARD 1 {t}set ~LIMIT 1", "SSCAN {t}set 0 ~MATCH x ~COUNT 5"),
    "hashes": (
        *("HRANDFIELD {t}h 1 ~WITHVALUES", "HSCAN {t}h 0 ~COUNT 10 ~NOVALUES"),
        *("HEXPIRE {t}h 100 ~NX ~FIELDS 1 f", "HEXPIRE {t}h 100 ~FIELDS 1 f"),
        *("HTTL {t}h ~FIELDS 1 f", "HPERSIST {t}h ~FIELDS 1 f", "HGETDEL {t}h ~FIELDS 1 f"),
        *("HGETEX {t}h ~EX 100 ~FIELDS 1 f", "HGETEX {t}h ~PERSIST ~FIELDS 1 f"),
        *("HSETEX {t}h ~FXX ~EX 100 ~FIELDS 1 f v", "HSETEX {t}h ~FNX ~KEEPTTL ~FIELDS 1 g v"),
    ),
    "sorted sets": (
        *("ZADD {t}z ~NX 1 q", "ZADD {t}z ~XX ~CH ~GT 9 a", "ZADD {t}z ~LT ~INCR 1 a"),
        *("ZINCRBY {t}z ~NX a", "ZRANK {t}z a ~WITHSCORE", "ZRANGE {t}z 0 -1 ~REV ~WITHSCORES"),
        *("ZRANGE {t}z 0 9 ~BYSCORE ~LIMIT 0 1", "ZRANGE {t}z - + ~BYLEX"),
        *("ZRANGESTORE {t}d {t}z 0 9 ~BYSCORE", "ZREVRANGE {t}z 0 9 ~WITHSCORES"),
        *("ZRANGEBYSCORE {t}z 0 9 ~WITHSCORES ~LIMIT 0 1", "ZREVRANGEBYLEX {t}z + - ~LIMIT 0 1"),
        *("ZUNION 1 {t}z ~WEIGHTS 2 ~AGGREGATE ~MAX ~WITHSCORES", "ZDIFF 1 {t}z ~WITHSCORES"),
        *("ZUNIONSTORE {t}d 1 {t}z ~WEIGHTS 2 ~AGGREGATE ~SUM", "ZINTERCARD 1 {t}z ~LIMIT 1"),
        *("ZMPOP 1 {t}z ~MIN ~COUNT 1", "BZMPOP 1 1 {t}z ~MAX ~COUNT 1", "ZSCAN {t}z 0 ~MATCH x"),
        "ZRANDMEMBER {t}z 9 ~WITHSCORES",
    ),
    "streams": (
        *("XADD {t}x ~NOMKSTREAM ~MAXLEN ~= 5 99-1 f v", "XADD {t}x ~MINID ~~ 1 ~LIMIT 5 99 f v"),
        *("XADD {t}x ~ACKED ~MAXLEN 99 99-1 f v", "XADD {t}x ~* f v", "XADD {t}x 99-* f v"),
        *("XTRIM {t}x ~MAXLEN ~= 1 ~DELREF", "XDELEX {t}x ~KEEPREF ~IDS 1 1-1"),
        *("XACKDEL {t}x g ~KEEPREF ~IDS 1 1-1", "XRANGE {t}x ~- ~+ ~COUNT 1"),
        *("XREVRANGE {t}x ~+ ~- ~COUNT 1", "XREAD ~COUNT 1 ~STREAMS {t}x 0"),
        *("XREAD ~BLOCK 1 STREAMS {t}x ~$", "XREAD STREAMS {t}x ~+", "XREAD STREAMS {t}x ~>"),
        "XREADGROUP ~GROUP g c ~BLOCK 1 ~COUNT 1 ~NOACK ~STREAMS {t}x ~>",
        *("XREADGROUP GROUP g c STREAMS {t}x ~$", "XREADGROUP GROUP g c STREAMS {t}x ~+"),
        *("XSETID {t}x 99 ~ENTRIESADDED 5 ~MAXDELETEDID 0", "XINFO STREAM {t}x ~FULL ~COUNT 1"),
        *("XGROUP CREATE {t}x2 g ~$ ~MKSTREAM ~ENTRIESREAD 0", "XPENDING {t}x g ~IDLE 0 - + 1"),
        *("XGROUP SETID {t}x g ~$ ~ENTRIESREAD 0", "XCLAIM {t}x g c 0 1-1 ~FORCE ~JUSTID"),
        *("XCLAIM {t}x g c 0 1-1 ~IDLE 0 ~RETRYCOUNT 1 ~LASTID 0", "XCLAIM {t}x g c 0 1-1 ~TIME 0"),
        "XAUTOCLAIM {t}x g c 0 0 ~COUNT 1 ~JUSTID",
    ),
    "geo": (
        *("GEOADD {t}geo ~NX 1 1 q", "GEOADD {t}geo ~XX ~CH 1 1 a", "GEODIST {t}geo a b ~km"),
        "GEOSEARCH {t}geo ~FROMMEMBER a ~BYRADIUS 1 ~km ~ASC ~COUNT 1 ~ANY",
        "GEOSEARCH {t}geo ~FROMLONLAT 1 1 ~BYBOX 1 1 km ~WITHDIST ~WITHHASH ~WITHCOORD",
        "GEOSEARCHSTORE {t}d {t}geo ~FROMLONLAT 1 1 ~BYRADIUS 1 km ~STOREDIST",
        *("GEORADIUS {t}geo 1 1 1 km ~STORE {t}d", "GEORADIUS {t}geo 1 1 1 km ~STOREDIST {t}d"),
        "GEORADIUSBYMEMBER {t}geo a 1 km ~WITHDIST ~DESC",
    ),
    "where keys are": (
        *("COMMAND GETKEYS XREAD ~STREAMS x 0", "COMMAND GETKEYS SORT l ~STORE d"),
        *("COMMAND GETKEYS XREADGROUP GROUP g c ~STREAMS x 0", "COMMAND GETKEYS SORT l ~GET STORE"),
        "COMMAND GETKEYS GEORADIUS geo 1 1 1 km ~STORE d",
        *(
            f'COMMAND GETKEYS MIGRATE h 1 "" 0 10 {rest}'
            for rest in ("~KEYS a b", "~KEYS", "~AUTH")
        ),
        'COMMAND GETKEYS MIGRATE h 1 "" 0 10 ~COPY ~AUTH KEYS ~KEYS a b',
        'COMMAND GETKEYS MIGRATE h 1 "" 0 10 ~AUTH2 KEYS KEYS ~KEYS KEYS b',
        *("COMMAND GETKEYS MIGRATE h 1 k 0 10 ~KEYS a", "COMMAND GETKEYS MIGRATE h 1 k 0 10 KEYS"),
        *("COMMAND GETKEYSANDFLAGS SET s v ~GET", "COMMAND GETKEYSANDFLAGS BITFIELD s ~GET u8 0"),
    ),
    "words that errors show": (
        *("NOSUCH ~a ~b", f"NOSUCH {'x' * 100} ~{'y' * 9} ~{'z' * 30}", "OBJECT ~NOSUCH {t}s"),
        *("XINFO ~NOSUCH", "EXPIRE {t}s 1 ~NOSUCH", "HSETEX {t}h ~NOSUCH FIELDS 1 f v"),
        *("XCLAIM {t}x g c 0 1-1 ~NOSUCH", "XPENDING {t}x ~NOSUCH", "XINFO CONSUMERS {t}x ~NOSUCH"),
    ),
}


def variations(line: str) -> Iterator[tuple[bytes, ...]]:
    """Yield the command as it is, and with each marked word changed in each way."""
    words = split_line(line)
    marked = [at for at, word in enumerate(words) if len(word) > 1 and word.startswith(b"~")]
    plain = [word[1:] if at in marked else word for at, word in enumerate(words)]
    yield tuple(plain)
    for at in marked:
        for end in (b"\0", b"\0x", b"x"):
            yield (*plain[:at], plain[at].lower() + end, *plain[at + 1 :])


@pytest.mark.parametrize("family", COMMANDS)
def test_a_nul_ends_a_word(family: str, compare: Compare) -> None:
    steps: list[Line | Step] = []
    for line in COMMANDS[family]:
        for argv in variations(line):
            steps += BEFORE
            # Times, and IDs made of them.
            steps.append(mask(rb"(?m)^:\d{13}\r$|\d{13}-\d+", argv))
    compare(steps)
