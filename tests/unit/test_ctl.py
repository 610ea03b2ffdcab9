"""`shoal ctl` against a server that answers from a script."""

import errno
import io
import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import hiredis
import pytest
from shoal.proto.limits import MAX_CONTROL_REPLY_BYTES
from shoal.supervisor import ctl

Request = list[bytes]
Answer = Callable[[Request], bytes | None]
"""What the server sends back; None closes the connection."""


class FakeServer:
    """Listens at `path`, keeps the requests, and sends what `answer` returns for each."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.requests: list[Request] = []
        self.answer: Answer = lambda request: b"+OK\r\n"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed by stop()
            with connection, suppress(BrokenPipeError, ConnectionResetError):
                self._talk(connection)  # until the client hangs up, maybe in the middle of it

    def _talk(self, connection: socket.socket) -> None:
        reader = hiredis.Reader()
        while data := connection.recv(4096):
            reader.feed(data)
            while (request := reader.gets()) is not False:
                self.requests.append(request)
                answer = self.answer(request)
                if answer is None:
                    return
                connection.sendall(answer)

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def ctl(self, *args: str) -> tuple[int, str]:
        """Run `shoal ctl` on this server; return exit code and output."""
        out = io.StringIO()
        return ctl.main(["--socket", self.path, *args], out), out.getvalue()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeServer]:
    fake = FakeServer(tmp_path / "s")
    yield fake
    fake.stop()


def bulk(data: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)


def array(*items: bytes) -> bytes:
    return b"*%d\r\n" % len(items) + b"".join(map(bulk, items))


def worker(number: int, **figures: Any) -> dict[str, Any]:
    return {
        "worker": number,
        "pid": 100 + number,
        "state": "serving",
        "slots": [number * 8192, number * 8192 + 8191],
        "clients": 5,
        "keys": 1_234_567,
        "commands_per_s": 10_500.4,
        "hops_per_s": 5250.2,
        "spanning_share": 0.0123,
        "memory_bytes": 12_900_000,
        "cpu_percent": 98.52,
        "log_bytes": 1000,
        "log_lag_ms": 3,
        "restarts": 0,
        **figures,
    }


DOWN = {"pid": None, "state": "starting", "clients": None, "keys": None, "log_lag_ms": None}
STATUS = {
    "version": "1.2.3",
    "uptime_s": 93_784.5,
    "pid": 99,
    "listeners": ["127.0.0.1:6379", "unix:/run/s"],
    "workers": [worker(1, **DOWN, restarts=2), worker(0)],
    "totals": {"clients": 5, "keys": 1_234_567, "memory_bytes": 3 << 30},
}
TABLE = """\
Shoal 1.2.3  pid 99  up 1d 2:03:04  2 workers  listening on 127.0.0.1:6379, unix:/run/s

worker  pid  state     slots       clients       keys   cmd/s  hops/s  spanning  memory    cpu    log  lag ms  restarts
0       100  serving   0-8191            5  1,234,567  10,500   5,250      1.2%  12.30M  98.5%  1000B       3         0
1         -  starting  8192-16383        -          -  10,500   5,250      1.2%  12.30M  98.5%  1000B       -         2
all                                      5  1,234,567       -       -         -   3.00G      -      -       -         -
"""  # noqa: E501


def status_reply(request: Request) -> bytes:
    assert request == [b"STATUS"]
    return bulk(json.dumps(STATUS).encode())


def test_status(server: FakeServer) -> None:
    server.answer = status_reply
    assert server.ctl("status") == (0, TABLE)


def test_status_json(server: FakeServer) -> None:
    server.answer = status_reply
    code, out = server.ctl("status", "--json")
    assert (code, json.loads(out)) == (0, STATUS)
    assert out.count("\n") == 1


# arguments: (request, reply, exit code, output)
CALLS = {
    "ping": ([b"PING"], b"+PONG\r\n", 0, "PONG\n"),
    "PING": ([b"PING"], b"+PONG\r\n", 0, "PONG\n"),
    "restart-worker 3": ([b"RESTART-WORKER", b"3"], b"+OK\r\n", 0, "OK\n"),
    "config get max*": (
        [b"CONFIG", b"GET", b"max*"],
        array(b"maxclients", b"10000", b"logfile", b"", b"dir", b"/\xff"),
        0,
        'maxclients 10000\nlogfile ""\ndir /\\xff\n',
    ),
    "config get nothing": ([b"CONFIG", b"GET", b"nothing"], b"*0\r\n", 0, ""),
    "config set hz 5 timeout 7": (
        [b"CONFIG", b"SET", b"hz", b"5", b"timeout", b"7"],
        b"+OK\r\n",
        0,
        "OK\n",
    ),
    "log-level debug": ([b"LOG-LEVEL", b"debug"], b"+OK\r\n", 0, "OK\n"),
    "shutdown": ([b"SHUTDOWN"], b"+OK\r\n", 0, "OK\n"),
    "shutdown nosave": ([b"SHUTDOWN", b"NOSAVE"], None, 0, "OK\n"),
}


@pytest.mark.parametrize("line", CALLS)
def test_calls(line: str, server: FakeServer) -> None:
    request, reply, code, output = CALLS[line]
    server.answer = lambda request: reply
    assert server.ctl(*line.split()) == (code, output)
    assert server.requests == [request]


def test_a_value_may_be_empty_or_no_text(server: FakeServer) -> None:
    assert server.ctl("config", "set", "save", "", "requirepass", "\udcff") == (0, "OK\n")
    assert server.requests == [[b"CONFIG", b"SET", b"save", b"", b"requirepass", b"\xff"]]


# What a server may answer instead: (arguments, reply, complaint)
COMPLAINTS = [
    ("restart-worker 9", b"-ERR no such worker\r\n", "ERR no such worker"),
    ("config set hz x", b"-ERR CONFIG SET failed\r\n", "ERR CONFIG SET failed"),
    ("shutdown", b"-ERR not now\r\n", "ERR not now"),
    (
        "status",
        b"-ERR unknown command 'STATUS', with args beginning with: \r\n",
        "ERR unknown command 'STATUS', with args beginning with: \n"
        "{path} seems to be no control socket of Shoal",
    ),
    (
        "ping",
        b"-NOAUTH Authentication required.\r\n",
        "NOAUTH Authentication required.\n{path} seems to be no control socket of Shoal",
    ),
    ("status", bulk(b"not json"), "{path} gave no status: it is no control socket of Shoal"),
    ("status", bulk(b"[]"), "{path} gave no status: it is no control socket of Shoal"),
    ("status", bulk(b'{"workers": 3}'), "{path} gave no status: it is no control socket of Shoal"),
    ("status", b":1\r\n", "{path} gave no status: it is no control socket of Shoal"),
    ("status", b"$-1\r\n", "{path} gave no status: it is no control socket of Shoal"),
    ("ping", b"HTTP/1.1 400 Bad Request\r\n", "{path} does not speak RESP: it is no Shoal"),
    ("ping", b":1\r\n", "unexpected answer 1: this is no Shoal"),
    ("config get x", b"*1\r\n+x\r\n", "{path} gave no directives: it is no Shoal"),
    ("config get x", b"+x\r\n", "{path} gave no directives: it is no Shoal"),
    ("ping", None, "{path} was closed before it answered"),
]


@pytest.mark.parametrize(("line", "reply", "complaint"), COMPLAINTS)
def test_complaints(
    line: str,
    reply: bytes | None,
    complaint: str,
    server: FakeServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.answer = lambda request: reply
    assert server.ctl(*line.split()) == (1, "")
    assert capsys.readouterr().err == f"shoal ctl: {complaint.format(path=server.path)}\n"


def test_an_endless_reply_is_given_up(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = lambda request: b"$%d\r\n" % (1 << 30) + bytes(MAX_CONTROL_REPLY_BYTES)
    assert server.ctl("ping") == (1, "")
    assert f"sent more than {MAX_CONTROL_REPLY_BYTES} bytes" in capsys.readouterr().err


USAGE = {
    "": "which command?",
    "fly": "no such command: fly",
    "--sockets x ping": "unknown option, or one without its value: --sockets",
    "--socket": "unknown option, or one without its value: --socket",
    "ping 1": "ping",
    "restart-worker": "restart-worker N",
    "restart-worker one": "restart-worker takes the number of a worker, not 'one'",
    "config": "config get PATTERN, or config set NAME VALUE [NAME VALUE ...]",
    "config get": "config get PATTERN, or config set NAME VALUE [NAME VALUE ...]",
    "config set hz": "config get PATTERN, or config set NAME VALUE [NAME VALUE ...]",
    "config set hz 1 timeout": "config get PATTERN, or config set NAME VALUE [NAME VALUE ...]",
    "log-level": "log-level LEVEL",
    "shutdown later": "shutdown [nosave|now]",
    "status --xml": "status has no option '--xml'",
    "status --watch soon": "--watch takes a number of seconds, not 'soon'",
    "status --watch 0": "--watch takes a number of seconds, not '0'",
    "status --watch nan": "--watch takes a number of seconds, not 'nan'",
}


@pytest.mark.parametrize(("line", "complaint"), USAGE.items())
def test_usage(
    line: str,
    complaint: str,
    server: FakeServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert server.ctl(*line.split()) == (2, "")
    assert capsys.readouterr().err == f"shoal ctl: {complaint}\n\n{ctl.HELP}"
    assert server.requests == []


def test_where_the_socket_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHOAL_CONTROL_SOCKET", raising=False)
    assert ctl.main(["ping"]) == 1
    assert capsys.readouterr().err.startswith("shoal ctl: no such socket: shoal.sock\n")
    monkeypatch.setenv("SHOAL_CONTROL_SOCKET", "env.sock")
    assert ctl.main(["ping"]) == 1
    assert capsys.readouterr().err.startswith("shoal ctl: no such socket: env.sock\n")
    for args in (["--socket", "arg.sock", "ping"], ["--socket=arg.sock", "ping"]):
        assert ctl.main(args) == 1
        assert capsys.readouterr().err.startswith("shoal ctl: no such socket: arg.sock\n")


def test_sockets_nobody_answers_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stale = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(stale))
    complaints = {
        str(stale): f"nobody listens on {stale}: the server that made it has ended",
        str(tmp_path): f"not a socket: {tmp_path}",
        "/" + "x" * 200: "AF_UNIX path too long",
    }
    for path, complaint in complaints.items():
        assert ctl.main(["--socket", path, "ping"]) == 1
        assert complaint in capsys.readouterr().err


def test_permission_denied() -> None:
    # Asked of the part that words it: nothing is forbidden to root, who may run the tests.
    why = ctl.why_no_connection("/run/s", PermissionError(errno.EACCES, "Permission denied"))
    assert why.startswith("permission denied: /run/s\n")


def test_watch_until_the_server_ends(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(request: Request) -> bytes | None:
        return status_reply(request) if len(server.requests) <= 3 else None

    server.answer = answer
    assert server.ctl("status", "--watch", "0.001") == (1, "\n".join([TABLE] * 3))
    ended = f"shoal ctl: {server.path} was closed: the server has ended\n"
    assert capsys.readouterr().err == ended


def test_watch_sees_the_socket_close_while_it_waits(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(request: Request) -> bytes | None:
        assert request == [b"STATUS"]
        server.answer = status_reply
        return None

    server.answer = answer
    assert server.ctl("status", "--watch", "86400") == (1, "")
    assert "the server has ended" in capsys.readouterr().err


def test_watch_as_json_lines(server: FakeServer) -> None:
    server.answer = lambda request: status_reply(request) if len(server.requests) < 3 else None
    code, out = server.ctl("status", "--json", "--watch", "0.001")
    assert [json.loads(line) for line in out.splitlines()] == [STATUS] * 2
    assert code == 1


class Terminal(io.StringIO):
    """Standard output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("number", "code", "complaint"),
    [(signal.SIGINT, 0, ""), (signal.SIGTERM, 143, "shoal ctl: stopped by SIGTERM\n")],
)
def test_watch_until_a_signal(
    number: signal.Signals,
    code: int,
    complaint: str,
    server: FakeServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def answer(request: Request) -> bytes:
        if len(server.requests) == 3:
            signal.pthread_kill(threading.main_thread().ident or 0, number)
            return b""
        return status_reply(request)

    server.answer = answer
    before = signal.getsignal(number)
    out = Terminal()
    assert ctl.main(["--socket", server.path, "status", "--watch", "0.001"], out) == code
    assert capsys.readouterr().err == complaint
    assert signal.getsignal(number) is before
    text = out.getvalue()
    assert text.startswith("\x1b[?25l\x1b[2J\x1b[HShoal 1.2.3 ")
    assert text.endswith("\x1b[J\x1b[?25h")
    assert text.count("\x1b[2J") == 1, "after the first time it is drawn in place"
    assert text.count("\x1b[H") == 2


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.9, "0:00:00"), (3661, "1:01:01"), (864_000, "10d 0:00:00")]
)
def test_duration(seconds: float, text: str) -> None:
    assert ctl.duration(seconds) == text
