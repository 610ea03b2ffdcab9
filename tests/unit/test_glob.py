r"""Glob patterns; the tables are what redis-server 8.2.3 answers to KEYS and CONFIG GET."""

import re

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from shoal.proto import glob
from shoal.proto.glob import MAX_STARS, compile_glob, glob_match

# pattern -> (what it matches, what it does not match)
PATTERNS: dict[bytes, tuple[list[bytes], list[bytes]]] = {
    b"": ([b""], [b"a"]),
    b"abc": ([b"abc"], [b"", b"ab", b"abcd", b"ABC"]),
    b"*": ([b"a", b"abc", b"\0", b"\n", b"*"], [b""]),
    b"**": ([b"a"], [b""]),
    b"a*": ([b"a", b"ab", b"a\n"], [b"", b"b", b"ba"]),
    b"*a": ([b"a", b"ba", b"aa"], [b"", b"ab"]),
    b"*a*": ([b"a", b"bab"], [b"", b"b"]),
    b"a*a": ([b"aa", b"aba"], [b"a", b"ab"]),
    b"a*b*c": ([b"abc", b"a-b-b-c"], [b"acb", b"ac"]),
    b"*ab*ab": ([b"abab", b"ab-ab"], [b"ab", b"aba"]),
    b"?": ([b"a", b"\n", b"\0", b"\xff", b"?"], [b"", b"ab"]),
    b"??*": ([b"ab", b"abc"], [b"a"]),
    b"*?": ([b"a", b"ab"], [b""]),
    b"a.c": ([b"a.c"], [b"abc"]),
    b"(a|b)+$": ([b"(a|b)+$"], [b"a"]),
    # Escapes.
    rb"\*": ([b"*"], [b"a", b"\\*"]),
    rb"\?": ([b"?"], [b"a"]),
    rb"\[a]": ([b"[a]"], [b"a"]),
    rb"\a": ([b"a"], [b"\\a"]),
    rb"\\": ([b"\\"], [b"\\\\"]),
    b"a\\": ([b"a\\"], [b"a"]),
    # Classes.
    b"[abc]": ([b"a", b"c"], [b"", b"d", b"ab"]),
    b"x[ab]y": ([b"xay", b"xby"], [b"xy", b"xcy"]),
    b"[a-c]": ([b"a", b"b", b"c"], [b"-", b"d"]),
    b"[c-a]": ([b"a", b"b", b"c"], [b"-", b"d"]),
    b"[a-c0-9]": ([b"b", b"5"], [b"-"]),
    b"[-a]": ([b"-", b"a"], [b"b"]),
    b"[a-]": ([b"^", b"]", b"a", b"_"], [b"-", b"b"]),  # a range to the bracket, never closed
    b"[a-]x": ([b"a", b"]", b"x"], [b"-x", b"ax"]),
    b"[^a]": ([b"b", b"^", b"\n"], [b"a", b""]),
    b"[^a-c]": ([b"d"], [b"a", b"c"]),
    b"[a^]": ([b"a", b"^"], [b"b"]),
    b"[!a]": ([b"!", b"a"], [b"b"]),
    b"[]": ([], [b"", b"]", b"a"]),
    b"[]a]": ([], [b"a", b"]", b"a]", b"]a]"]),
    b"[^]": ([b"a", b"]"], [b"", b"ab"]),
    b"[^]a]": ([b"xa]"], [b"a", b"b"]),
    b"[[]": ([b"["], [b"]"]),
    rb"[\]]": ([b"]"], [b"\\"]),
    rb"[\a-c]": ([b"a", b"-", b"c"], [b"b"]),
    rb"[a-\]": ([b"a", b"^", b"\\"], [b"-", b"b"]),
    rb"[\\]": ([b"\\"], [b"]"]),
    # A class that is never closed ends with the pattern.
    b"[": ([], [b"[", b""]),
    b"[a": ([b"a"], [b"[a", b"b"]),
    b"[a-": ([b"a", b"-"], [b"b"]),
    b"[^": ([b"a"], [b""]),
    b"[^a": ([b"b"], [b"a"]),
    b"x[a*": ([b"xa", b"x*"], [b"xab"]),
    b"[\\": ([b"\\"], [b"a"]),
    # Bytes; ranges are of signed ones.
    b"\xff\x00": ([b"\xff\x00"], [b"\xff"]),
    b"[\x80-a]": ([b"\x80", b"\xff", b"\0", b"a"], [b"b", b"\x7f"]),
    b"[a-\xff]": ([b"a", b"\xff", b"\0"], [b"b", b"\x80"]),
    b"[\x80-\xff]": ([b"\x80", b"\xe9"], [b"a", b"\x7f"]),
    b"*\n*": ([b"\n", b"a\nb"], [b"ab"]),
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns(pattern: bytes) -> None:
    matching, others = PATTERNS[pattern]
    found = {data: glob_match(pattern, data) for data in matching + others}
    assert found == dict.fromkeys(matching, True) | dict.fromkeys(others, False)


NOCASE: dict[bytes, tuple[list[bytes], list[bytes]]] = {
    b"maxMEMORY": ([b"maxmemory", b"MAXmemory"], [b"maxmemor"]),
    b"Max*": ([b"maxmemory", b"MAXM"], [b"minmem"]),
    b"*ORY": ([b"maxmemory"], [b"orx"]),
    rb"\Max*": ([b"maxmemory", b"MAX"], []),
    b"[M]ax": ([b"max", b"Max"], [b"ax"]),
    b"[L-N]": ([b"m", b"M", b"l"], [b"k"]),
    b"[^m]": ([b"n"], [b"m", b"M"]),
    rb"[\M]": ([b"M"], [b"m"]),  # case counts for an escaped byte of a class
    b"[Z-a]": ([], [b"z", b"a", b"A", b"_"]),  # folded, the range is empty
    b"\xc9": ([b"\xc9"], [b"\xe9"]),  # ASCII letters alone
    b"[a": ([b"A", b"a"], [b"b"]),
    b"{": ([b"{"], [b"["]),
}


@pytest.mark.parametrize("pattern", NOCASE)
def test_nocase(pattern: bytes) -> None:
    matching, others = NOCASE[pattern]
    found = {data: glob_match(pattern, data, nocase=True) for data in matching + others}
    assert found == dict.fromkeys(matching, True) | dict.fromkeys(others, False)


# -- properties ------------------------------------------------------------------------------------


def reference(pattern: bytes, data: bytes) -> bool:
    """Match `*`, `?` and literals by the plain recursion."""
    if not data:
        return not pattern
    if pattern[:1] == b"*":
        rest = pattern.lstrip(b"*")
        return not rest or any(reference(rest, data[at:]) for at in range(len(data)))
    if not pattern:
        return False
    if pattern[:1] in (b"?", data[:1]):
        rest, left = pattern[1:], data[1:]
        return not rest.strip(b"*") if not left else reference(rest, left)
    return False


_few = st.lists(st.sampled_from(b"ab\n"), max_size=9).map(bytes)


@given(st.lists(st.sampled_from(b"ab\n*?"), max_size=9).map(bytes), _few)
@settings(max_examples=500, deadline=None)
def test_stars_and_marks(pattern: bytes, data: bytes) -> None:
    assert glob_match(pattern, data) == reference(pattern, data)


@given(st.binary(max_size=12))
@settings(max_examples=200, deadline=None)
def test_an_escaped_string_matches_itself_alone(data: bytes) -> None:
    pattern = b"".join(b"\\" + bytes((byte,)) for byte in data)
    assert glob_match(pattern, data)
    assert not glob_match(pattern, data + b"x")


@given(st.lists(st.sampled_from(b"aB*?[]^-\\z\x80"), max_size=12).map(bytes), _few, st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_pattern_compiles(pattern: bytes, data: bytes, nocase: bool) -> None:
    matches = compile_glob(pattern, nocase)
    assert matches(data) is matches(data) is glob_match(pattern, data, nocase)


# -- bounds ----------------------------------------------------------------------------------------


def test_too_many_stars_match_nothing() -> None:
    fits = b"*a" * MAX_STARS
    assert glob_match(fits, b"a" * MAX_STARS)
    assert glob_match(fits + b"*", b"a" * MAX_STARS)  # with nothing behind it, it does not count
    assert not glob_match(b"*a" * (MAX_STARS + 1), b"a" * (MAX_STARS + 1))


# Patterns for which a matcher that tries every place of every star takes for ever.
PATHOLOGICAL = {
    "a*a*a*b": b"a*" * 40 + b"b",
    "*a*a*b": b"*a" * 500 + b"*b",
    "classes": b"*[ab]" * 300 + b"*c",
    "marks": b"*?a" * 300 + b"*b",
    "two bytes": b"*aa" * 300 + b"*ab",
}


@pytest.mark.parametrize("pattern", PATHOLOGICAL.values(), ids=PATHOLOGICAL.keys())
@pytest.mark.parametrize("nocase", [False, True])
def test_a_pathological_pattern_never_goes_back(
    pattern: bytes, nocase: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    def record(source: bytes, flags: int = 0) -> re.Pattern[bytes]:
        compiled.append(source)
        return re.compile(source, flags)

    class Recorder:
        compile = staticmethod(record)
        escape, DOTALL, purge = staticmethod(re.escape), re.DOTALL, staticmethod(re.purge)

    monkeypatch.setattr(glob, "re", Recorder)
    assert not glob._compile(pattern, nocase)(b"a" * 2000)
    (source,) = compiled
    # re does not count its steps; but all it could go back into is this: a lazy run in an atomic
    # group, given up at the group's end, and the one greedy run in front of a tail of fixed length.
    fixed = rb"(?:\(\?i:[a-z]+\)|\[(?:\\x..)+\]|[a-z.])+"
    assert re.fullmatch(rb"(?:%b)?(?:\(\?>\.\*\?%b\))*\.\*%b" % (fixed, fixed, fixed), source)


def test_a_pathological_pattern_ends() -> None:
    # Hours if each star doubled the work; no clock is needed to see that.
    found = {name: glob_match(at, b"a" * 20_000) for name, at in PATHOLOGICAL.items()}
    assert found == dict.fromkeys(PATHOLOGICAL, False)


def test_long_patterns_are_not_kept() -> None:
    before = glob._compile_kept.cache_info().currsize
    for at in range(5):
        assert glob_match(b"*?%d" % at + b"x" * 2000, b"y%d" % at + b"x" * 2000)
    assert glob._compile_kept.cache_info().currsize == before
