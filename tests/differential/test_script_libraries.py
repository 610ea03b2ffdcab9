"""bit, struct, cmsgpack and cjson beside redis-server: tables, and random values of a seed."""

from __future__ import annotations

from random import Random

import pytest
from support.differential import Case, Compare, Table, cases
from support.scripting import Argv, lua

# Shows the results of a call as strings, numbers with all their digits.
SHOW = """local r = {{{call}}}
local n = select('#', {call})
local out = {{}}
for i = 1, n do
  local x = r[i]
  local kind = type(x)
  if kind == 'table' then x = 'T' .. cjson.encode(x) end
  if kind == 'number' then x = string.format('%.17g', x) end
  if x == cjson.null then x = 'null' end
  out[i] = kind == 'string' and x or kind .. ' ' .. tostring(x)
end
return out"""


def shown(function: str, arguments: str, before: str = "") -> Argv:
    """Return the EVAL of a call within pcall."""
    call = f"pcall({function}{', ' if arguments else ''}{arguments})"
    return lua(f"{before}\n{SHOW.format(call=call)}")


def escaped(data: bytes) -> str:
    """Return a Lua string."""
    return "'" + "".join(f"\\{byte:03d}" for byte in data) + "'"


BITS = (
    "",
    "1",
    "-1",
    "0",
    "255, 15",
    "0xffffffff, 4",
    "1, 31",
    "1, 32",
    "1, 33",
    "-1, 1",
    "2^31",
    "2^32",
    "2^33 + 5",
    "1.5",
    "2.5",
    "-1.5",
    "1e10, 3",
    "'5'",
    "' 0x10 '",
    "'x'",
    "nil",
    "{}",
    "1, 'x'",
    "1, 2, 3",
    "0x87654321, 12",
    "-5, -1",
    "1/0",
    "0/0",
    "2^52 + 7",
    "2^53 + 10, 3",
    "255, 4",
    "255, -4",
    "255, 0",
    "255, 9",
    "redis.call",
)
BIT_FUNCTIONS = (
    "tobit",
    "bnot",
    "band",
    "bor",
    "bxor",
    "lshift",
    "rshift",
    "arshift",
    "rol",
    "ror",
    "bswap",
    "tohex",
)

PACKED = (
    ("b", "1"),
    ("B", "255"),
    ("B", "256"),
    ("b", "-1"),
    ("h", "-2"),
    (">h", "-2"),
    ("H", "65535"),
    ("l", "1"),
    ("L", "-1"),
    ("T", "5"),
    ("i", "7"),
    ("I", "7"),
    ("i1", "7"),
    ("i3", "-7"),
    ("I8", "1"),
    ("i16", "-3"),
    ("i32", "3"),
    ("i33", "3"),
    ("i0", "3"),
    ("f", "1.5"),
    ("f", "1e300"),
    ("d", "1.1"),
    (">d", "1.1"),
    ("<f", "1"),
    ("s", "'abc'"),
    ("s", "5"),
    ("c0", "'abc'"),
    ("c2", "'abc'"),
    ("c5", "'abc'"),
    ("c", "'abc'"),
    ("x", ""),
    ("xx", ""),
    ("bxh", "1, 2"),
    ("!bh", "1, 2"),
    ("!4bi", "1, 2"),
    ("!8bd", "1, 2"),
    ("!3b", "1"),
    ("!b", "1"),
    (">!4bI", "1, 2"),
    ("b h", "1, 2"),
    ("q", "1"),
    ("", ""),
    ("b", ""),
    ("b", "'x'"),
    ("b", "'7'"),
    ("b", "{}"),
    ("i99999999999", "1"),
    ("L", "2^64"),
    ("L", "2^63"),
    ("l", "-2^63"),
    ("L", "1e300"),
    ("B", "1.9"),
    ("b", "-1.9"),
    ("!16b", "1"),
    ("!0b", "1"),
    ("ss", "'a', 'b'"),
    (">i3", "66051"),
    ("=b", "1"),
)
DATA = bytes((*range(1, 9), 255, 254, 253, 0)) + b"abc\0def\xc8\xc9"
FORMATS = [
    "b",
    "B",
    "h",
    "H",
    ">h",
    "l",
    "L",
    ">L",
    "T",
    "i",
    "I",
    "i3",
    "I3",
    ">i3",
    "i16",
    "I16",
    "f",
    "d",
    ">d",
    "s",
    "c0",
    "c3",
    "Bc0",
    "bb",
    "x",
    "xb",
    "!bh",
    "!4bi",
    "!8bd",
    "bbbbs",
    "c99",
    "i33",
    "q",
    "Bs",
    "bc0c0",
    "i7",
    "i5",
    "I5",
    "dd",
    "ddd",
    "hhhs",
    "c",
    ">b<h",
]

PACKS = (
    "1",
    "-1",
    "127",
    "128",
    "255",
    "256",
    "65535",
    "65536",
    "2^32 - 1",
    "2^32",
    "2^53",
    "2^63",
    "-2^63",
    "-32",
    "-33",
    "-128",
    "-129",
    "-32768",
    "-32769",
    "-2^31",
    "-2^31 - 1",
    "1.5",
    "0.1",
    "1e300",
    "1/0",
    "-1/0",
    "true",
    "false",
    "nil",
    "'a'",
    "string.rep('x', 31)",
    "string.rep('x', 32)",
    "string.rep('x', 255)",
    "string.rep('x', 256)",
    "string.rep('x', 65536)",
    "{}",
    "{1, 2}",
    "{a = 1}",
    "{1, nil, 3}",
    "{[1.5] = 1}",
    "{[2] = 1}",
    "{{{{}}}}",
    "redis.call",
    "cjson.null",
    "1, 2, 3",
    "{[0] = 1}",
    "function() end",
    "nil, nil",
    "{1, {2, {3}}}",
    "3.0",
    "",
)
UNPACKS = (
    "",
    "00",
    "7f",
    "80",
    "81a16101",
    "90",
    "910a",
    "9201",
    "dc0002",
    "dc00020102",
    "dd000000010a",
    "de0001a161a162",
    "df00000001a16101",
    "a3616263",
    "a36162",
    "d903616263",
    "da0003616263",
    "db00000003616263",
    "d9ff",
    "c0",
    "c2",
    "c3",
    "c4026161",
    "c500026161",
    "c6000000026161",
    "c1",
    "c70101",
    "d40101",
    "cc",
    "ccff",
    "cd0102",
    "ce01020304",
    "cf0102030405060708",
    "d0ff",
    "d1fffe",
    "d2fffffffe",
    "d3fffffffffffffffe",
    "ca3fc00000",
    "cb3ff8000000000000",
    "e0",
    "ff",
    "010203",
    "93c001c0",
    "8101c0",
    "cfffffffffffffffff",
    "0101c1",
    "c10101",
    "92c0c0",
    "9fff",
)
UNPACK_CALLS = (
    ("unpack", ""),
    ("unpack_one", ""),
    ("unpack_one", ", 1"),
    ("unpack_limit", ", 1"),
    ("unpack_limit", ", 2"),
    ("unpack_limit", ", 0"),
    ("unpack_one", ", 99"),
    ("unpack_limit", ", -1"),
    ("unpack_one", ", -1"),
)

ENCODED = (
    "1",
    "-1",
    "1.5",
    "1e15",
    "1e14",
    "123456789012345",
    "1e300",
    "0.1",
    "1/3",
    "true",
    "false",
    "nil",
    "cjson.null",
    "'a'",
    r"""'a\n\t\r\b\f\\\"/\0\1\127\200'""",
    "{}",
    "{1, 2, 3}",
    "{a = 1}",
    "{[1] = 1, [3] = 3}",
    "{[1] = 1, [20] = 2}",
    "{[1] = 1, [12] = 2}",
    "{[1.5] = 1}",
    "{[0] = 1}",
    "{[-1] = 1}",
    "{[true] = 1}",
    "{{}}",
    "{{{1}}}",
    "{function() end}",
    "redis.call",
    "1/0",
    "0/0",
    "{1/0}",
    "{cjson.null, 1}",
    "{[2] = 1}",
    "{nil, nil, 3}",
    "2^53",
    "2^63",
    "",
    "1, 2",
    "{-0}",
    "redis",
)
DECODED = (
    "1",
    "1.5",
    "1e5",
    "1E+5",
    "0x10",
    "0x1.8p1",
    "01",
    "00",
    "-01",
    "1.",
    "-.5",
    ".5",
    "+1",
    "+",
    "nan",
    "NaN",
    "inf",
    "Infinity",
    "-inf",
    "-Infinity",
    "infinit",
    "-nan",
    "true",
    "false",
    "null",
    "tru",
    "nul",
    "[]",
    "{}",
    "[1,2]",
    "[1,2",
    "[1,,2]",
    "[1 2]",
    "[",
    "{",
    "{1:2}",
    '{"a"}',
    '{"a":}',
    '{"a":1',
    '{"a":1,}',
    '{"a":1 "b":2}',
    '{"b":[1,{"c":null}]}',
    '"abc"',
    '"a',
    r'"\n\t\"\/\\"',
    r'"\x"',
    r'"\u0041"',
    r'"\u00e9"',
    r'"\u20ac"',
    r'"\ud83d\ude00"',
    r'"\ud83d"',
    r'"\ude00"',
    r'"\u12"',
    r'"\u0000"',
    "",
    " ",
    "1 2",
    "[1] x",
    "  [ 1 , 2 ]  ",
    '{"a":{"b":{"c":1}}}',
    "--1",
    "1e",
    "1e+",
    "e5",
    "[1]]",
    "\0",
    "a\0",
    "1\0",
    "[1]\0",
    "{'a':1}",
    "[nan,inf]",
    '"a\nb"',
    "0x",
    "-0x5",
    "1a",
    "[1a]",
    "nullx",
    "truefalse",
    '{"":1}',
    "9007199254740993",
    "1e400",
    "-1e400",
    '{"a":1,"a":2}',
    "0e1",
    "0.0",
    "-",
    "[-]",
    "[+]",
)
SETTINGS = (
    "encode_max_depth",
    "decode_max_depth",
    "encode_number_precision",
    "encode_keep_buffer",
    "encode_invalid_numbers",
    "decode_invalid_numbers",
    "encode_sparse_array",
)
SETTING_ARGUMENTS = (
    "",
    "5",
    "'x'",
    "true",
    "'on'",
    "'off'",
    "nil",
    "0",
    "-1",
    "1.5",
    "{}",
    "15",
    "16",
    "'null'",
    "true, 3, 4",
    "false, 2, 10",
    "1, 2, 3, 4",
    "5, 5",
)
CONFIGURED = (
    "c.encode_max_depth(2) return c.encode({{{1}}})",
    "c.encode_max_depth(3) return c.encode({{{1}}})",
    "c.decode_max_depth(1) return c.decode('[[1]]')",
    "c.encode_number_precision(3) return c.encode(1/3)",
    "c.encode_invalid_numbers(true) return c.encode({1/0, -1/0, 0/0})",
    "c.encode_invalid_numbers('null') return c.encode({1/0, 0/0})",
    "c.decode_invalid_numbers(false) return c.decode('nan')",
    "c.decode_invalid_numbers(false) return c.decode('0x5')",
    "c.decode_invalid_numbers(false) return c.decode('01')",
    "c.decode_invalid_numbers(false) return c.decode('+1')",
    "c.decode_invalid_numbers(false) return c.decode('[1,-01]')",
    "c.encode_sparse_array(true) return c.encode({[1000] = 1})",
    "c.encode_sparse_array(true, 1, 1) return c.encode({1, [3] = 1})",
    "c.encode_sparse_array(false, 0) return #c.encode({[1000] = 1})",
    "return {type(c.new), c._NAME, c._VERSION}",
    "c.encode_max_depth(2) return c.new().encode({{{1}}})",
)

TABLES: Table = {
    **{f"bit.{name}": [shown(f"bit.{name}", one) for one in BITS] for name in BIT_FUNCTIONS},
    "struct.pack": [
        shown("struct.pack", f"'{form}'{', ' if args else ''}{args}") for form, args in PACKED
    ],
    "struct.size": [shown("struct.size", f"'{form}'") for form, _ in PACKED],
    **{
        f"struct.unpack {form}": [
            shown("struct.unpack", f"'{form}', {escaped(DATA)}{more}")
            for more in ("", ", 3", ", 9", ", 100", ", 0", ", -1", ", nil")
        ]
        for form in FORMATS
    },
    "struct: other arguments": [
        lua("return struct.unpack('b')"),
        lua("return struct.unpack()"),
        lua("return {struct.unpack('b', '')}"),
        lua("return {struct.unpack('s', 'abc')}"),
        shown("struct.pack", ""),
        shown("struct.pack", "5, 1"),
        shown("struct.pack", "{}, 1"),
        shown("struct.size", "nil"),
        shown("struct.size", "5"),
        shown("struct.pack", r"'b\0h', 1, 2"),
    ],
    "cmsgpack.pack": [
        *(shown("cmsgpack.pack", one) for one in PACKS),
        lua("local t = {} for i = 1, 20 do t = {t} end return cmsgpack.pack(t)"),
        lua("local t = {} for i = 1, 20 do t = {a = t} end return cmsgpack.pack(t)"),
        lua("local t = {} for i = 1, 16 do t[i] = i end return cmsgpack.pack(t)"),
        lua("return cmsgpack.pack()"),
    ],
    **{
        f"cmsgpack.{name} of a string{more}": [
            shown(f"cmsgpack.{name}", escaped(bytes.fromhex(one)) + more) for one in UNPACKS
        ]
        for name, more in UNPACK_CALLS
    },
    "cmsgpack: other arguments": [
        lua("return cmsgpack.unpack()"),
        lua("return cmsgpack.unpack({})"),
        lua(r"return cmsgpack.unpack(string.rep('\145', 100))"),
        lua("return cmsgpack.unpack_limit('a')"),
        lua("return cmsgpack.unpack_one('a', 'x')"),
    ],
    "cjson.encode": [
        *(shown("cjson.encode", one) for one in ENCODED),
        *(lua(f"return cjson.encode({one})") for one in ("redis.call", "1/0", "{1, [99] = 1}")),
        lua("local t = {} for i = 1, 1001 do t = {t} end return cjson.encode(t)"),
        lua("local t = {} for i = 1, 999 do t = {t} end return #cjson.encode(t)"),
        lua("local t = {} t.t = t return cjson.encode(t)"),
    ],
    "cjson.decode": [
        *(shown("cjson.decode", escaped(one.encode())) for one in DECODED),
        *(shown("cjson.decode", one) for one in ("", "1, 2", "{}", "5", "nil")),
        lua("return cjson.decode('bad')"),
        lua("return cjson.decode(string.rep('[', 1001))"),
        lua("return #cjson.encode(cjson.decode(string.rep('[', 1000) .. string.rep(']', 1000)))"),
    ],
    **{
        f"cjson.{name}": [
            shown(f"c.{name}", one, "local c = cjson.new()") for one in SETTING_ARGUMENTS
        ]
        for name in SETTINGS
    },
    "cjson: instances": [lua(f"local c = cjson.new() {one}") for one in CONFIGURED],
}


@pytest.mark.parametrize("script", cases(TABLES))
def test_libraries(script: Case, compare: Compare) -> None:
    compare(script)


def random_value(random: Random, depth: int) -> str:
    """Return a Lua expression; tables have at most one key that is no index: their order."""
    kind = random.randrange(10 if depth else 7)
    if kind == 0:
        return str(random.choice([0, 1, -1, 255, 2**31, -(2**31), 2**52, random.getrandbits(40)]))
    if kind == 1:
        return repr(random.choice([1, -1]) * random.random() * 10 ** random.randrange(-20, 20))
    if kind == 2:
        return random.choice(["true", "false", "cjson.null"])
    if kind < 7:
        return escaped(random.randbytes(random.choice([0, 1, 5, 31, 32, 300])))
    items = [random_value(random, depth - 1) for _ in range(random.randrange(5))]
    if kind == 9:
        items = [f"[{escaped(random.randbytes(3))}] = {random_value(random, depth - 1)}"]
    return "{" + ", ".join(items) + "}"


def random_json(random: Random, depth: int) -> bytes:
    """Return a text that mostly is JSON."""
    if not random.randrange(40):
        return random.randbytes(random.randrange(3))
    blank = random.choice([b"", b"", b" ", b"\n\t"])
    kind = random.randrange(8 if depth else 6)
    if kind < 2:
        number = repr(random.choice([random.randrange(-(10**9), 10**9), random.random() * 1e6]))
        return blank + number.encode() + random.choice([b"", b"", b"", b"e5", b"e-3"])
    if kind == 2:
        return blank + random.choice([b"true", b"false", b"null", b"nan", b"0x1f"])
    if kind < 6:
        text = random.choice([b"", b"abc", rb"\u00e9\n", rb"\ud83d\ude00", b"\xff", b'\\"'])
        return b'%b"%b"' % (blank, text)
    items = [random_json(random, depth - 1) for _ in range(random.randrange(4))]
    if kind == 6:
        return b"%b[%b%b]" % (blank, b",".join(items), blank)
    return b'{"k"%b:%b}' % (blank, random_json(random, depth - 1))


ROUND_TRIP = """local v = {value}
local packed, json = cmsgpack.pack(v), {{pcall(cjson.encode, v)}}
return {{packed, tostring(json[2]), cmsgpack.pack(cmsgpack.unpack(packed))}}"""


@pytest.mark.parametrize("seed", range(8))
def test_random_values(seed: int, compare: Compare) -> None:
    random = Random(seed)
    values = [random_value(random, 3) for _ in range(40)]
    texts = [random_json(random, 3) for _ in range(60)]
    compare(
        Case(
            *(lua(ROUND_TRIP.format(value=value)) for value in values),
            *(shown("cjson.decode", escaped(text)) for text in texts),
        )
    )


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes(seed: int, compare: Compare) -> None:
    """What unpack makes of any bytes, and struct of any format."""
    random = Random(seed)
    steps = []
    for _ in range(60):
        data = escaped(random.randbytes(random.randrange(1, 30)))
        steps.append(shown("cmsgpack.unpack", data))
        form = "".join(random.choices("bBhHlLTiIfdxsc<>! 0248", k=random.randrange(1, 7)))
        steps.append(shown("struct.unpack", f"'{form}', {data}"))
    compare(Case(*steps))
