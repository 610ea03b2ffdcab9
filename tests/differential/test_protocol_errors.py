"""What the parser makes of bytes that are no command: errors, closing, and what it lets pass."""

import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.differential import Case, Compare, Table, cases, closes, on, raw
from support.servers import Oracle, Server, Shoal

PING = b"*1\r\n$4\r\nPING\r\n"

INLINE: Table = {
    "words": [
        raw(b"PING\r\n"),
        raw(b"PING hello\r\n"),
        raw(b"  SET   k\tv  \r\n"),
        raw(b"GET k\r\n"),
    ],
    "a line ends with LF alone": [raw(b"PING\nPING\n", replies=2)],
    "empty lines say nothing": [raw(b"\r\n\n   \r\nPING\r\n")],
    "double quotes": [raw(b'SET k "a b\\x00\\r\\n\\"c\\q\\xzz"\r\n'), "GET k"],
    "single quotes": [raw(b"SET k 'a b\\'c\\n'\r\n"), "GET k"],
    "empty quotes are an argument": [raw(b'SET k ""\r\n'), "GET k", raw(b'ECHO ""\r\n')],
    "empty name": [raw(b'""\r\n')],
    "bytes that are no text": [raw(b"ECHO \x01\x7f\x80\xff\r\n")],
    "unknown command": [raw(b"NOSUCH a b\r\n"), "PING"],
    "in the middle of arrays": [raw(PING + b"PING\r\n" + PING, replies=3)],
    "double quotes left open": [closes(b'SET k "v\r\n')],
    "single quotes left open": [closes(b"SET k 'v\r\n")],
    "a word glued to a closing quote": [closes(b'SET k "v"x\r\n')],
    "an answer is owed first": [closes(b'PING\r\nSET k "v\r\nPING\r\n')],
    "line as long as allowed": [raw(b"ECHO " + b"x" * 65000 + b"\r\n")],
    "line without an end": [closes(b"x" * 65537)],
    "HTTP POST": [closes(b"POST / HTTP/1.1\r\n")],
    "HTTP Host": [closes(b"host: x\r\n")],
    "HTTP GET is the GET command": [raw(b"GET / HTTP/1.1\r\n")],
    "QUIT": [closes(b"PING\r\nQUIT\r\nPING\r\n")],
}

ARRAYS: Table = {
    "empty and null arrays say nothing": [raw(b"*0\r\n*-1\r\n*-7\r\n" + PING)],
    "empty name": [raw(b"*1\r\n$0\r\n\r\n")],
    "empty argument": [raw(b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n")],
    "the bytes after a bulk are not looked at": [raw(b"*1\r\n$4\r\nPINGxx" + PING, replies=2)],
    "count is no number": [closes(b"*x\r\n")],
    "count is empty": [closes(b"*\r\n")],
    "count with a sign": [closes(b"*+1\r\n$4\r\nPING\r\n")],
    "count with a leading zero": [closes(b"*01\r\n$4\r\nPING\r\n")],
    "count with a space": [closes(b"* 1\r\n$4\r\nPING\r\n")],
    "count is a fraction": [closes(b"*1.0\r\n")],
    "count over 2^31": [closes(b"*2147483648\r\n")],
    "count over 2^64": [closes(b"*18446744073709551617\r\n")],
    "count line without CR": [closes(b"*1\n$4\r\nPING\r\n")],
    "count line without an end": [closes(b"*" + b"1" * 65537)],
    "element is an integer": [closes(b"*2\r\n$4\r\nPING\r\n:1\r\n")],
    "element is an array": [closes(b"*2\r\n$4\r\nPING\r\n*1\r\n$1\r\na\r\n")],
    "element is a simple string": [closes(b"*1\r\n+PING\r\n")],
    "element is a word": [closes(b"*1\r\nPING\r\n")],
    "element is an empty line": [closes(b"*1\r\n\r\n")],
    "length is no number": [closes(b"*1\r\n$x\r\n")],
    "length is empty": [closes(b"*1\r\n$\r\n")],
    "length with a sign": [closes(b"*1\r\n$+4\r\nPING\r\n")],
    "length with a leading zero": [closes(b"*1\r\n$04\r\nPING\r\n")],
    "length is negative": [closes(b"*1\r\n$-4\r\n")],
    "null bulk": [closes(b"*2\r\n$4\r\nECHO\r\n$-1\r\n")],
    "length over proto-max-bulk-len": [closes(b"*1\r\n$536870913\r\n")],
    "length line without an end": [closes(b"*1\r\n$" + b"1" * 65537)],
    "proto-max-bulk-len is heeded at once": Case(
        "CONFIG SET proto-max-bulk-len 1048576",
        raw(b"*2\r\n$4\r\nECHO\r\n$1048576\r\n" + b"x" * 1048576 + b"\r\n"),
        closes(b"*2\r\n$4\r\nECHO\r\n$1048577\r\n"),
        cleanup=["CONFIG SET proto-max-bulk-len 536870912"],
    ),
    "an answer is owed first": [closes(PING + b"*1\r\n$4\r\nECHO\r\n*1\r\n:1\r\n" + PING)],
    "RESP3 types are no commands": [closes(b"*1\r\n=8\r\ntxt:PING\r\n")],
    "a map is an inline command": [raw(b"%1\r\n"), raw(b"~1\r\n"), "PING"],
}

_LOCKED_CLEANUP = ["AUTH secret", "CONFIG SET requirepass ''"]

LOCKED: Table = {
    # Before AUTH a stranger may not make the server reserve much.
    "ten arguments": Case(
        "CONFIG SET requirepass secret",
        on("b", raw(b"*10\r\n" + b"$4\r\nECHO\r\n" * 10)),
        on("b", closes(b"*11\r\n")),
        cleanup=_LOCKED_CLEANUP,
    ),
    "sixteen kilobytes": Case(
        "CONFIG SET requirepass secret",
        on("b", raw(b"*2\r\n$4\r\nECHO\r\n$16384\r\n" + b"x" * 16384 + b"\r\n")),
        on("b", closes(b"*1\r\n$16385\r\n")),
        cleanup=_LOCKED_CLEANUP,
    ),
    "no limit after AUTH": Case(
        "CONFIG SET requirepass secret",
        on("b", "AUTH secret"),
        on("b", raw(b"*2\r\n$4\r\nECHO\r\n$16385\r\n" + b"x" * 16385 + b"\r\n")),
        cleanup=_LOCKED_CLEANUP,
    ),
}


@pytest.mark.parametrize("script", cases(INLINE))
def test_inline(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(ARRAYS))
def test_arrays(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(LOCKED))
def test_before_auth(script: Case, compare: Compare) -> None:
    compare(script)


# Pieces of which most streams are wrong somewhere, and some are commands. No NUL: Redis looks for
# the end of an inline line with a C function, and waits for ever behind one.
_PIECES = st.one_of(
    st.sampled_from([b"*", b"$", b"\r\n", b"\n", b"\r", b" ", b'"', b"'", b"\\", b"-", b":", b"x"]),
    st.sampled_from([b"0", b"1", b"2", b"4", b"PING", b"ECHO", b"*1\r\n", b"*2\r\n", b"$4\r\n"]),
    st.sampled_from([PING, b"*2\r\n$4\r\nECHO\r\n$1\r\nx\r\n", b"PING\r\n", b"GET a\r\n"]),
)


def _talk(server: Server, pieces: list[bytes]) -> bytes:
    """Send the pieces and an end of file; return all that is answered."""
    with server.client() as client:
        client.call(b"FLUSHALL")
        try:
            client.send(b"".join(pieces))
            client.socket.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # a protocol error has closed it; what was said before can still be read
        return client.read_until_closed()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pieces=st.lists(_PIECES, min_size=1, max_size=12))
def test_any_stream_is_answered_alike(oracle: Oracle, subject: Shoal, pieces: list[bytes]) -> None:
    assert _talk(subject, pieces) == _talk(oracle, pieces)
