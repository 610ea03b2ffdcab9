"""Words in a line, quoted as Redis does it."""

import hypothesis.strategies as st
import pytest
from hypothesis import given
from shoal.proto.quoting import quote_arg, split_args

LINES: dict[bytes, list[bytes] | None] = {
    b"": [],
    b" \t\r\n": [],
    b"a  b\tc": [b"a", b"b", b"c"],
    b"\"\" ''": [b"", b""],
    b"\"a b\" 'c d'": [b"a b", b"c d"],
    b'"\\x41\\n\\r\\t\\b\\a\\"\\\\\\q\\x4"': [b'A\n\r\t\b\a"\\qx4'],
    b"'it\\'s \\n'": [b"it's \\n"],
    b"'a\\\\'": None,
    b"'a\\'": None,
    b'"a\\': None,
    b'"a': None,
    b"a'": None,
    b'"a"b': None,
    b'"a""b"': None,
    b'a"b c" d': [b"ab c", b"d"],
    b'a"b"\x0bc': [b"ab", b"c"],
    # Unlike between words, a vertical tab does not end a plain word.
    b"a\x0bb": [b"a\x0bb"],
    b"\x0bb": [b"b"],
    b"a\\ b": [b"a\\", b"b"],
    b"# a": [b"#", b"a"],
    b"\xff\x00": [b"\xff\x00"],
}


@pytest.mark.parametrize(("line", "words"), LINES.items())
def test_split(line: bytes, words: list[bytes] | None) -> None:
    assert split_args(line) == words


@given(st.lists(st.binary(max_size=20)))
def test_quoted_words_come_back(words: list[bytes]) -> None:
    assert split_args(b" ".join(map(quote_arg, words))) == words


@given(st.binary(max_size=20))
def test_a_quoted_word_is_printable(word: bytes) -> None:
    assert quote_arg(word).decode("ascii").isprintable()
