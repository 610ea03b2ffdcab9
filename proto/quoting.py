r"""Redis's quoting of words in a line: configuration files, inline commands.

    plain   "double \x00 \n \r \t \b \a \" \\"   'single, where only \' is an escape'

A quoted part ends its word. The rules were compared with redis-server 8.2 on random lines.
"""

from __future__ import annotations

import re

_SPACES = re.compile(rb"\s*")
# Plain characters, then perhaps a quoted part that ends the word. No two alternatives can begin
# alike: so there is one way to read a word (`'it\'` has no end, it is not `it\`), found in linear
# time. Possessive quantifiers would say the same, but 3.11.2, Debian's, gets them wrong.
_WORD = re.compile(
    rb"""(?P<plain>[^ \t\r\n"']*)
         (?: "(?P<double>(?: \\x[0-9a-fA-F]{2} | \\(?!x[0-9a-fA-F]{2}). | [^"\\] )*)"
           | '(?P<single>(?: \\' | \\(?!') | [^'\\] )*)'
           | (?!["']) )
         (?= \s | \Z )""",
    re.DOTALL | re.VERBOSE,
)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}
_SHOWN = {
    **{code: b"\\" + name for name, code in _ESCAPED.items()},
    **{char: b"\\" + char for char in (b'"', b"\\")},
}


def split_args(line: bytes) -> list[bytes] | None:
    """Split a line into words by Redis's quoting rules.

    Returns: the words; None if a quote does not end, or ends in the middle of a word.
    """
    words: list[bytes] = []
    at = _end(_SPACES.match(line))
    while at < len(line):
        word = _WORD.match(line, at)
        if word is None:
            return None
        double, single = word["double"] or b"", word["single"] or b""
        words.append(word["plain"] + _ESCAPE.sub(_unescape, double) + single.replace(b"\\'", b"'"))
        at = _end(_SPACES.match(line, word.end()))
    return words


def _end(match: re.Match[bytes] | None) -> int:
    assert match is not None, "the pattern matches the empty string"
    return match.end()


def _unescape(escape: re.Match[bytes]) -> bytes:
    if escape[1]:
        return bytes.fromhex(escape[1].decode())
    return _ESCAPED.get(escape[2], escape[2])


def quote_arg(arg: bytes) -> bytes:
    """Return the argument in double quotes, so that `split_args` gives it back."""
    chars = (bytes((byte,)) for byte in arg)
    shown = (
        _SHOWN.get(char) or (char if b" " <= char <= b"~" else b"\\x%02x" % ord(char))
        for char in chars
    )
    return b'"%b"' % b"".join(shown)
