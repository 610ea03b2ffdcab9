"""redis-cli, the tool everybody types into: by hand, as a filter, and its reports."""

import os
import pty
import re
import select
import subprocess
import termios
from collections.abc import Iterator
from typing import Self

import pytest
from support.raw import pack
from support.servers import STOP_BOUND_S, Shoal

_ESCAPE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]")


def run(shoal: Shoal, *arguments: str, data: bytes = b"") -> str:
    """Run redis-cli to its end, which must be a good one, and return what it printed."""
    done = subprocess.run(
        ["redis-cli", "-h", "127.0.0.1", "-p", str(shoal.port), *arguments],
        input=data,
        capture_output=True,
        timeout=STOP_BOUND_S,
        check=False,
    )
    assert done.returncode == 0, done
    assert not done.stderr, done
    return done.stdout.decode()


class Terminal:
    """redis-cli at a pseudo-terminal: typed into, and read until something appears."""

    def __init__(self, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (40, 200))
        self._process = subprocess.Popen(
            ["redis-cli", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env=os.environ | {"TERM": "xterm", "REDISCLI_HISTFILE": "/dev/null"},
        )
        os.close(slave)
        self._unread = b""

    def type(self, text: str) -> None:
        """Send keys."""
        os.write(self._master, text.encode())

    def until(self, pattern: str) -> str:
        """Return what appears up to and including the pattern, without escape sequences."""
        expression = re.compile(pattern.encode())
        seen = self._unread
        while (match := expression.search(seen)) is None:
            ready, _, _ = select.select([self._master], [], [], STOP_BOUND_S)
            assert ready, f"{pattern!r} does not appear in {seen!r}"
            seen = _ESCAPE.sub(b"", seen + os.read(self._master, 65536))
        self._unread = seen[match.end() :]
        return seen[: match.end()].decode()

    def exit_code(self) -> int:
        """Wait for the end."""
        return self._process.wait(STOP_BOUND_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(shoal: Shoal) -> Iterator[Terminal]:
    """Open redis-cli at its prompt."""
    with Terminal("-h", "127.0.0.1", "-p", str(shoal.port)) as opened:
        opened.until(rf"127\.0\.0\.1:{shoal.port}> ")
        yield opened


def test_typing(terminal: Terminal, shoal: Shoal) -> None:
    prompt = rf"\r\n127\.0\.0\.1:{shoal.port}> "
    for typed, answer in {
        "ping": "PONG",
        'set k "a b"': "OK",
        "get k": '"a b"',
        "incr n": "(integer) 1",
        "get nothing": "(nil)",
        "mget k n nothing": '1) "a b"\r\n2) "1"\r\n3) (nil)',
        "incr k": "(error) ERR value is not an integer or out of range",
        "getdel": "(error) ERR wrong number of arguments for 'getdel' command",
    }.items():
        terminal.type(f"{typed}\r")
        assert f"\r\n{answer}\r\n" in terminal.until(prompt), typed


def test_the_prompt_follows_select(terminal: Terminal, shoal: Shoal) -> None:
    terminal.type("select 3\r")
    terminal.until(rf"127\.0\.0\.1:{shoal.port}\[3\]> ")
    terminal.type("exit\r")
    assert terminal.exit_code() == 0


def test_hints_come_from_command_docs(terminal: Terminal) -> None:
    terminal.type("getrange ")
    terminal.until("key start end")


def test_resp3_at_the_prompt(terminal: Terminal) -> None:
    terminal.type("hello 3\r")
    terminal.until(r'# "proto" => \(integer\) 3')


def test_one_command(shoal: Shoal) -> None:
    assert run(shoal, "SET", "k", "v") == "OK\n"
    assert run(shoal, "-n", "2", "GET", "k") == "\n"
    assert run(shoal, "--no-raw", "GET", "k") == '"v"\n'
    assert run(shoal, "-3", "--csv", "MGET", "k", "x") == '"v",NULL\n'
    assert run(shoal, "--json", "-3", "MGET", "k", "x") == '["v",null]\n'
    assert run(shoal, "-r", "3", "INCR", "n") == "1\n2\n3\n"


def test_over_the_unix_socket(unix_path: str) -> None:
    done = subprocess.run(
        ["redis-cli", "-s", unix_path, "PING"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "PONG\n"


def test_lines_from_a_pipe(shoal: Shoal) -> None:
    assert run(shoal, data=b"SET k 'a b'\nGET k\n\nSTRLEN k\n") == "OK\na b\n3\n"


def test_last_argument_from_stdin(shoal: Shoal) -> None:
    value = bytes(range(256)) * 40
    assert run(shoal, "-x", "SET", "k", data=value) == "OK\n"
    with shoal.client() as client:
        assert client.call(b"GET", b"k") == b"$%d\r\n%b\r\n" % (len(value), value)
    assert run(shoal, "-X", "tag", "SET", "tag", "v", data=b"name") == "OK\n"
    assert run(shoal, "GET", "name") == "v\n"


def test_pipe_mode(shoal: Shoal) -> None:
    commands = [pack(b"SET", b"key:%d" % i, b"%d" % i) for i in range(20_000)]
    commands += [pack(b"INCR", b"key:0"), b"SET inline 'a line'\r\n"]
    said = run(shoal, "--pipe", data=b"".join(commands))
    assert said.endswith("errors: 0, replies: 20002\n")
    assert run(shoal, "DBSIZE") == "20001\n"
    assert run(shoal, "MGET", "key:0", "key:19999", "inline") == "1\n19999\na line\n"


def test_pipe_mode_counts_errors(shoal: Shoal) -> None:
    data = pack(b"SET", b"k", b"v") + pack(b"INCR", b"k") + pack(b"NOSUCH")
    done = subprocess.run(
        ["redis-cli", "-p", str(shoal.port), "--pipe"], input=data, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"errors: 2, replies: 3" in done.stdout


def test_scan_mode(shoal: Shoal) -> None:
    names = {f"key:{i}" for i in range(1500)}
    with shoal.client() as client:
        client.call(b"MSET", b"other", b"v", *(x for n in names for x in (n.encode(), b"v")))
    assert sorted(run(shoal, "--scan", "--pattern", "key:*").split()) == sorted(names)
    assert run(shoal, "--scan", "--quoted-pattern", '"oth\\x65r"') == "other\n"


def test_bigkeys(shoal: Shoal) -> None:
    with shoal.client() as client:
        client.call(b"MSET", *(x for i in range(300) for x in (b"key:%d" % i, b"v" * i)))
    said = run(shoal, "--bigkeys", "-i", "0")
    assert "Sampled 300 keys in the keyspace!" in said
    assert re.search(r"Biggest string found .*key:299.* has 299 bytes", said)


def test_stat(shoal: Shoal) -> None:
    with shoal.client() as client:
        client.call(b"MSET", *(x for i in range(123) for x in (b"key:%d" % i, b"v")))
    with Terminal("-p", str(shoal.port), "--stat", "-i", "0.05") as terminal:
        terminal.until(r"keys +mem +clients +blocked +requests +connections")
        for _ in range(3):
            terminal.until(r"123 +[0-9.]+[KMG] +\d+ +0 +\d+ \(\+\d+\) +\d+")


def test_latency(shoal: Shoal) -> None:
    # Not a terminal, so it samples for -i seconds and prints min, max, average and count.
    assert re.fullmatch(r"[0-9.]+ [0-9.]+ [0-9.]+ [1-9]\d*\n", run(shoal, "--latency", "-i", "0.1"))
