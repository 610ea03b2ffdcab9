"""What the fuzzer found, shortened, and since put right; see tests/support/fuzz."""

import pytest
from support.differential import Case, Compare, Table, cases, unordered

SMALL = "CONFIG SET zset-max-listpack-entries 4"
DEFAULT = "CONFIG SET zset-max-listpack-entries 128"

FOUND: Table = {
    "the end of an error text": [
        "SET k v",
        (b"PEXPIREAT", b"k", b"9999999999000", b"(\r\n"),
        (b"PEXPIREAT", b"k", b"9999999999000", b"a\r\nb\n"),
        (b"PEXPIRE", b"k", b"71830726000", b"\xff\x00\x80"),
        (b"HSETEX", b"h", b"key:\x00\xff", b"FXX", b"FIELDS", b"1"),
    ],
    "digits of ZSCAN": Case(
        "ZADD k 0.1 a 1e17 b 1e300 c 2.5e-3 d 4.9e-324 e inf f",
        "ZSCAN k 0",
        SMALL,
        "ZADD k 12345678901234567890 g",
        "OBJECT ENCODING k",
        unordered("ZSCAN k 0"),
        cleanup=[DEFAULT],
    ),
    "as many pairs as make a skiplist, but nothing to add": Case(
        SMALL,
        *("ZADD k 1 a", "ZADD k XX 1 p 2 q 3 r 4 s", "OBJECT ENCODING k"),
        *("ZADD k XX 1 p 2 q 3 r 4 s 5 t", "OBJECT ENCODING k", "ZCARD k"),
        *("ZADD g 1 a", "GEOADD g 1 1 a 1 1 b 1 1 a 1 1 a 1 1 a", "OBJECT ENCODING g"),
        *("ZADD n 1 a", "ZADD n 9 a 9 a 9 a 9 a x a", "OBJECT ENCODING n"),
        cleanup=[DEFAULT],
    ),
    "-0 ahead of a long member": [
        f"ZADD k 5 a -0 b 4 {'m' * 65}",
        *("OBJECT ENCODING k", "ZSCORE k b", "ZRANGE k 0 -1 WITHSCORES"),
    ],
    "options of ZRANGE twice": [
        "ZADD {t}k 1 a 2 b",
        *("ZRANGE {t}k 0 1 REV REV", "ZRANGE {t}k 0 1 BYSCORE BYSCORE"),
        *("ZRANGE {t}k 0 1 BYSCORE BYLEX", "ZRANGE {t}k 0 1 WITHSCORES WITHSCORES"),
        *("ZRANGESTORE {t}d {t}k 0 1 REV REV", "ZRANGESTORE {t}d {t}k x 1 BYSCORE BYSCORE"),
    ],
    "COUNT of ZMPOP and what follows it": [
        *("ZMPOP 1 k MIN COUNT x 5", "ZMPOP 1 k MIN COUNT 1 5", "ZMPOP 1 k MIN COUNT"),
        *("BZMPOP 0.01 1 k MIN COUNT 0 1", "BZMPOP 0.01 1 k MIN COUNT COUNT 1"),
    ],
    "arity of HSETEX": [
        f"HSETEX k {options} FIELDS {rest}"
        for options in ("FXX", "EX 10", "KEEPTTL", "FNX KEEPTTL")
        for rest in ("h", "h 1", "0 1", "1 1", "-1 1", "h 1 2", "1 1 2 3")
    ],
    "approximate trimming of all there is": [
        *("XADD k 44-1 f v", "XTRIM k MINID ~ 57-1 LIMIT 5", "XLEN k"),
        *("XADD l 44-1 f v", "XADD l MINID ~ 57-1 46-1 f v", "XLEN l", "XINFO STREAM l"),
    ],
}


@pytest.mark.parametrize("script", cases(FOUND))
def test_found_by_the_fuzzer(script: Case, compare: Compare) -> None:
    compare(script)
