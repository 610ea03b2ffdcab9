"""`shoal ctl`: ask a running server, over its control socket, what it does, and tell it what to do.

The control socket speaks RESP, so `redis-cli -s shoal.sock status` works too. Requests and answers:

    STATUS              bulk string, the JSON document below    PING          +PONG
    CONFIG GET pattern  array: name, value, name, value, ...    CONFIG SET    +OK
    RESTART-WORKER n    +OK                                     LOG-LEVEL l   +OK
    SHUTDOWN [how]      +OK, or the connection closes

    {"version", "uptime_s", "pid", "listeners": ["127.0.0.1:6379", ...],
     "workers": [{"worker", "pid", "state", "slots": [first, last], "clients", "keys",
                  "commands_per_s", "hops_per_s", "spanning_share", "memory_bytes", "cpu_percent",
                  "log_bytes", "log_lag_ms", "restarts"}, ...],
     "totals": {the same figures from "clients" on, over all workers}}

A figure that is not known (the worker is down) is null or absent, and shown as `-`.
`spanning_share` is a fraction of the commands, 0 to 1.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self, TextIO

import hiredis
from shoal.proto.limits import MAX_CONTROL_REPLY_BYTES, MAX_UNIX_PATH_BYTES

SOCKET_VARIABLE = "SHOAL_CONTROL_SOCKET"
DEFAULT_SOCKET = "shoal.sock"

HELP = f"""\
usage: shoal ctl [--socket PATH] COMMAND

  --socket PATH           control socket of the server; without it ${SOCKET_VARIABLE},
                          or ./{DEFAULT_SOCKET}, its place when this is the server's dir

commands:
  status                  what the workers do, as a table
  status --json           the same as one line of JSON
  status --watch [SECS]   again every SECS seconds (1), until Ctrl-C
  ping                    does the server answer?
  restart-worker N        end worker N and start it again
  config get PATTERN      directives whose names match the glob pattern
  config set NAME VALUE [NAME VALUE ...]
                          change directives, all of them or none
  log-level LEVEL         debug, verbose, notice, warning or nothing
  shutdown [nosave|now]   stop the server

exit code: 0 done, 1 the server refused or cannot be reached, 2 the command line is wrong
"""

_CONNECT_AND_REPLY_S = 30.0
"""How long the server may be silent. SHUTDOWN alone is waited for without an end."""

_RECEIVE_BYTES = 65536

Document = Mapping[str, Any]


class UsageError(Exception):
    """The command line cannot be understood."""


class ControlError(Exception):
    """The server cannot be reached, or what answers is no Shoal."""


class Refused(ControlError):  # noqa: N818  a refusal is what it is
    """The server answered with an error; the message is its text."""


class Control:
    """A connection to a control socket.

    Raises: ControlError from all methods; its message names the path.
    """

    def __init__(self, path: str) -> None:
        """Connect."""
        self.path = path
        self._reader = hiredis.Reader(protocolError=ControlError, replyError=Refused)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_CONNECT_AND_REPLY_S)
        try:
            self._socket.connect(path)
        except (OSError, ValueError) as error:
            self._socket.close()
            raise ControlError(why_no_connection(path, error)) from None

    def call(self, *argv: bytes, wait_for_ever: bool = False) -> Any:
        """Send a request and return the answer as hiredis gives it.

        Raises: EOFError if the server closes the connection instead; Refused for an error reply.
        """
        request = b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in argv)
        self._socket.settimeout(None if wait_for_ever else _CONNECT_AND_REPLY_S)
        try:
            self._socket.sendall(request)
            reply = self._read_reply()
        except (BrokenPipeError, ConnectionResetError):
            raise EOFError from None
        except TimeoutError:
            raise ControlError(
                f"{self.path} gave no answer for {_CONNECT_AND_REPLY_S:.0f} s"
            ) from None
        if isinstance(reply, Refused):
            raise self._explained(reply)
        return reply

    def closed_within(self, seconds: float) -> bool:
        """Wait that long, or until the server closes the connection; tell whether it did."""
        readable, _, _ = select.select([self._socket], [], [], seconds)
        if not readable:
            return False
        try:
            if self._socket.recv(_RECEIVE_BYTES):
                raise ControlError(f"{self.path} speaks unasked: it is no control socket of Shoal")
        except ConnectionResetError:
            pass
        return True

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    def _read_reply(self) -> Any:
        size = 0
        while True:
            data = self._socket.recv(_RECEIVE_BYTES)
            if not data:
                raise EOFError
            size += len(data)
            if size > MAX_CONTROL_REPLY_BYTES:
                raise ControlError(f"{self.path} sent more than {MAX_CONTROL_REPLY_BYTES} bytes")
            self._reader.feed(data)
            try:
                reply = self._reader.gets()
            except ControlError:
                raise ControlError(f"{self.path} does not speak RESP: it is no Shoal") from None
            if reply is not False:
                return reply

    def _explained(self, refusal: Refused) -> Refused:
        text = str(refusal)
        if text.lower().startswith(("err unknown command", "noauth", "denied")):
            text += f"\n{self.path} seems to be no control socket of Shoal"
        return Refused(text)


def why_no_connection(path: str, error: OSError | ValueError) -> str:
    """Return what to tell the user when connecting to the path raised this."""
    if isinstance(error, TimeoutError):
        return f"{path} accepts no connection: the server is stopped, or hangs"
    if isinstance(error, ValueError) or error.errno is None:
        # Python's own check of the length, or of NUL bytes, has no errno.
        return f"{path}: {error} (a unix socket's path has {MAX_UNIX_PATH_BYTES} bytes at most)"
    if error.errno == errno.ENOENT:
        return (
            f"no such socket: {path}\n"
            f"Is the server running? Name its control-socket with --socket or ${SOCKET_VARIABLE}."
        )
    if error.errno == errno.EACCES:
        return f"permission denied: {path}\nIt belongs to the user who started the server."
    if error.errno == errno.ECONNREFUSED:
        if not Path(path).is_socket():
            return f"not a socket: {path}"
        return f"nobody listens on {path}: the server that made it has ended"
    return f"{path}: {error.strerror}"


# The table of `status`


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _size(value: float) -> str:
    """Show bytes the way INFO's *_human fields do: 1024 is 1.00K."""
    units = ["B", "K", "M", "G", "T"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.0f}B" if units[0] == "B" else f"{value:.2f}{units[0]}"


def _percent(value: float) -> str:
    return f"{value:.1f}%"


def _share(value: float) -> str:
    return f"{value * 100:.1f}%"


_COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("clients", "clients", _count),
    ("keys", "keys", _count),
    ("cmd/s", "commands_per_s", _count),
    ("hops/s", "hops_per_s", _count),
    ("spanning", "spanning_share", _share),
    ("memory", "memory_bytes", _size),
    ("cpu", "cpu_percent", _percent),
    ("log", "log_bytes", _size),
    ("lag ms", "log_lag_ms", _count),
    ("restarts", "restarts", _count),
)


def duration(seconds: float) -> str:
    """Show a time span: 0:00:07, or 3d 4:05:06."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{f'{days}d ' if days else ''}{hour}:{minute:02}:{second:02}"


def table(status: Document) -> list[str]:
    """Return the lines `shoal ctl status` prints for a STATUS document.

    Raises: KeyError, TypeError or ValueError if the document is not of the form above.
    """
    workers = sorted(status["workers"], key=lambda worker: int(worker["worker"]))
    rows = [["worker", "pid", "state", "slots", *(title for title, _, _ in _COLUMNS)]]
    for worker in workers:
        first, last = worker["slots"]
        name = [str(worker["worker"]), str(worker["pid"] or "-"), str(worker["state"])]
        rows.append([*name, f"{first}-{last}", *_figures(worker)])
    rows.append(["all", "", "", "", *_figures(status["totals"])])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # Names to the left, figures to the right.
    aligned = [
        "  ".join(
            cell.ljust(width) if index in (0, 2, 3) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    listeners = ", ".join(map(str, status["listeners"])) or "nothing"
    plural = "" if len(workers) == 1 else "s"
    heading = (
        f"Shoal {status['version']}  pid {status['pid']}  up {duration(status['uptime_s'])}"
        f"  {len(workers)} worker{plural}  listening on {listeners}"
    )
    return [heading, "", *aligned]


def _figures(figures: Document) -> list[str]:
    values = ((figures.get(key), show) for _, key, show in _COLUMNS)
    return ["-" if value is None else show(float(value)) for value, show in values]


def parse_status(reply: Any, path: str) -> Document:
    """Return the document in the answer to STATUS; ControlError if there is none."""
    try:
        status = json.loads(reply)
        table(status)
    except (TypeError, ValueError, KeyError, AttributeError):
        raise ControlError(f"{path} gave no status: it is no control socket of Shoal") from None
    document: Document = status
    return document


# The commands


class _Stopped(Exception):  # noqa: N818  it is no error
    """SIGTERM or Ctrl-C."""

    def __init__(self, number: int) -> None:
        self.number = number


class _Screen:
    """Draws one table over the other on a terminal; elsewhere one after the other."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._drawn = False

    def draw(self, lines: list[str]) -> None:
        """Show the lines instead of those before."""
        if self._is_terminal:
            # Clearing what is left of each line, not the screen before, keeps it from flickering.
            start = "\x1b[H" if self._drawn else "\x1b[?25l\x1b[2J\x1b[H"
            text = start + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J"
        else:
            text = ("\n" if self._drawn else "") + "".join(f"{line}\n" for line in lines)
        self._drawn = True
        self._out.write(text)
        self._out.flush()

    def leave(self) -> None:
        """Give the cursor back."""
        if self._is_terminal and self._drawn:
            self._out.write("\x1b[?25h")
            self._out.flush()


def _status(control: Control, args: list[str], out: TextIO) -> int:
    as_json, seconds = _status_options(args)
    if seconds is None:
        _show_status(control, as_json, lambda lines: _print(out, lines))
        return 0
    return _watch(control, as_json, seconds, out)


def _status_options(args: list[str]) -> tuple[bool, float | None]:
    """Return whether JSON is wanted, and the seconds between two tables, None for one table."""
    as_json, seconds = False, None
    rest = list(args)
    while rest:
        option = rest.pop(0)
        if option == "--json":
            as_json = True
        elif option == "--watch":
            seconds = 1.0
            if rest and not rest[0].startswith("--"):
                seconds = _seconds(rest.pop(0))
        else:
            raise UsageError(f"status has no option {option!r}")
    return as_json, seconds


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    # From select's side a day is no problem; more is a mistake.
    if not 0 < seconds <= 86_400:
        raise UsageError(f"--watch takes a number of seconds, not {text!r}")
    return seconds


def _show_status(control: Control, as_json: bool, show: Callable[[list[str]], None]) -> None:
    status = parse_status(control.call(b"STATUS"), control.path)
    show([json.dumps(status)] if as_json else table(status))


def _watch(control: Control, as_json: bool, seconds: float, out: TextIO) -> int:
    screen = _Screen(out)

    def show(lines: list[str]) -> None:
        if as_json:
            _print(out, lines)
        else:
            screen.draw(lines)

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise _Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        _show_status(control, as_json, show)
        while not control.closed_within(seconds):
            _show_status(control, as_json, show)
    except EOFError:
        pass
    except _Stopped as stopped:
        if stopped.number == signal.SIGINT:
            return 0
        print("shoal ctl: stopped by SIGTERM", file=sys.stderr)
        return 128 + signal.SIGTERM
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        screen.leave()
    raise ControlError(f"{control.path} was closed: the server has ended")


def _ping(control: Control, args: list[str], out: TextIO) -> int:
    _expect(args, 0, "ping")
    _print(out, [_text(control.call(b"PING"))])
    return 0


def _restart_worker(control: Control, args: list[str], out: TextIO) -> int:
    _expect(args, 1, "restart-worker N")
    if not (args[0].isascii() and args[0].isdigit()):
        raise UsageError(f"restart-worker takes the number of a worker, not {args[0]!r}")
    _print(out, [_text(control.call(b"RESTART-WORKER", args[0].encode()))])
    return 0


def _config(control: Control, args: list[str], out: TextIO) -> int:
    action, *argv = [os.fsencode(word) for word in args] or [b""]
    if action == b"get" and len(argv) == 1:
        reply = control.call(b"CONFIG", b"GET", *argv)
        if not isinstance(reply, list) or len(reply) % 2:
            raise ControlError(f"{control.path} gave no directives: it is no Shoal")
        words = [_text(word) or '""' for word in reply]
        _print(out, [f"{words[at]} {words[at + 1]}" for at in range(0, len(words), 2)])
    elif action == b"set" and argv and len(argv) % 2 == 0:
        _print(out, [_text(control.call(b"CONFIG", b"SET", *argv))])
    else:
        raise UsageError("config get PATTERN, or config set NAME VALUE [NAME VALUE ...]")
    return 0


def _log_level(control: Control, args: list[str], out: TextIO) -> int:
    _expect(args, 1, "log-level LEVEL")
    _print(out, [_text(control.call(b"LOG-LEVEL", os.fsencode(args[0])))])
    return 0


def _shutdown(control: Control, args: list[str], out: TextIO) -> int:
    if args and (len(args) > 1 or args[0].lower() not in ("nosave", "now")):
        raise UsageError("shutdown [nosave|now]")
    words = [word.upper().encode() for word in args]
    try:
        answer = _text(control.call(b"SHUTDOWN", *words, wait_for_ever=True))
    except EOFError:
        # It may go before it can say so; that it goes is what was asked for.
        answer = "OK"
    _print(out, [answer])
    return 0


_COMMANDS: dict[str, Callable[[Control, list[str], TextIO], int]] = {
    "status": _status,
    "ping": _ping,
    "restart-worker": _restart_worker,
    "config": _config,
    "log-level": _log_level,
    "shutdown": _shutdown,
}


def _expect(args: list[str], count: int, usage: str) -> None:
    if len(args) != count:
        raise UsageError(usage)


def _text(reply: Any) -> str:
    if isinstance(reply, str):
        return reply
    if isinstance(reply, bytes):
        return reply.decode(errors="backslashreplace")
    raise ControlError(f"unexpected answer {reply!r}: this is no Shoal")


def _print(out: TextIO, lines: list[str]) -> None:
    out.write("".join(f"{line}\n" for line in lines))
    out.flush()


def main(args: Sequence[str], out: TextIO | None = None) -> int:
    """Run `shoal ctl ARGS`, printing to `out` (standard output); return the exit code."""
    out = sys.stdout if out is None else out
    rest = list(args)
    path = os.environ.get(SOCKET_VARIABLE) or DEFAULT_SOCKET
    try:
        while rest and rest[0].startswith("-"):
            option, _, value = rest.pop(0).partition("=")
            if option in ("-h", "--help"):
                out.write(HELP)
                return 0
            if option != "--socket" or not (value or rest):
                raise UsageError(f"unknown option, or one without its value: {option}")
            path = value or rest.pop(0)
        if not rest:
            raise UsageError("which command?")
        command = _COMMANDS.get(rest[0].lower())
        if command is None:
            raise UsageError(f"no such command: {rest[0]}")
        with Control(path) as control:
            return command(control, rest[1:], out)
    except UsageError as error:
        print(f"shoal ctl: {error}\n\n{HELP}", file=sys.stderr, end="")
        return 2
    except EOFError:
        print(f"shoal ctl: {path} was closed before it answered", file=sys.stderr)
        return 1
    except ControlError as error:
        print(f"shoal ctl: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output has had enough (`| head`). Python would complain once more at its
        # exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
