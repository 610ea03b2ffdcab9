"""Who may import whom, and who may touch the operating system; read from the source by ast."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("proto", "supervisor", "worker")
SOURCES = [
    str(path.relative_to(ROOT)) for f in FOLDERS for path in sorted((ROOT / f).rglob("*.py"))
]

FORBIDDEN = {
    "proto": ("shoal.supervisor", "shoal.worker"),
    "worker": ("shoal.supervisor",),
    "supervisor": ("shoal.worker",),
}
# The one meeting of the two: after the fork the child runs shoal.worker.main.
MEETING = "supervisor/spawn.py"

SYSTEM = {"fcntl", "mmap", "os", "select", "selectors", "signal", "socket", "subprocess"}
SYSTEM |= {"asyncio", "multiprocessing", "resource", "ssl", "tempfile", "threading", "time"}

# Who may import one of SYSTEM, and why. Everything else takes clock, random and disk as arguments.
SYSTEM_USERS = {
    "supervisor/config_file.py": "reads files and includes, looks at dir before the start",
    "supervisor/control.py": "the control socket",
    "supervisor/ctl.py": "a process of its own: the client of the control socket",
    "supervisor/listener.py": "binds and accepts",
    "supervisor/log.py": "the logfile and its clock",
    "supervisor/loop.py": "waits, and has the clocks",
    "supervisor/process.py": "the supervisor's ends of a worker's pipes and channel",
    "supervisor/recovery.py": "the directory: its lock, its manifest, which files there are",
    "supervisor/serve.py": "the process: dir, pid file, the shared page, the clock of the stamps",
    "supervisor/signals.py": "handlers",
    "supervisor/spawn.py": "forks, pipes, exit codes",
    "worker/aof.py": "the segment: write and fsync",
    "worker/connection.py": "a client's socket",
    "worker/loop.py": "waits",
    "worker/migrate.py": "the connection of MIGRATE to another server",
    "worker/main.py": "makes the clock, the random numbers and the disk that the parts are handed",
    "worker/peers.py": "pipes to the other workers",
}


def imports_of(source: str) -> Iterator[str]:
    """Yield every module that a source file names in an import, at any depth, in full."""
    for node in ast.walk(ast.parse((ROOT / source).read_text(), source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}:{node.lineno}: a relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("source", SOURCES)
def test_imports_point_one_way(source: str) -> None:
    if source == MEETING:
        return
    forbidden = FORBIDDEN[Path(source).parts[0]]
    wrong = [m for m in imports_of(source) if any(f"{m}.".startswith(f"{f}.") for f in forbidden)]
    assert not wrong


def test_supervisor_and_worker_meet_in_one_import() -> None:
    met = [module for module in imports_of(MEETING) if module.startswith("shoal.worker")]
    assert set(met) <= {"shoal.worker", "shoal.worker.main", "shoal.worker.main.run"}
    assert met


@pytest.mark.parametrize("source", SOURCES)
def test_the_system_is_touched_at_the_edge_only(source: str) -> None:
    touched = {module.split(".")[0] for module in imports_of(source)} & SYSTEM
    assert not touched or source in SYSTEM_USERS


@pytest.mark.parametrize("source", SYSTEM_USERS)
def test_no_permission_outlives_its_use(source: str) -> None:
    assert {module.split(".")[0] for module in imports_of(source)} & SYSTEM
