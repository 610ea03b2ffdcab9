"""Fixtures of the system tests: whole servers, real processes."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.servers import Shoal


@pytest.fixture(scope="session")
def shared_shoal() -> Iterator[Shoal]:
    """A Shoal of two workers, on TCP and on a Unix socket, for the tests that leave it healthy."""
    server = Shoal("--save", "", "--appendonly", "no", workers=2)
    server.options += ("--unixsocket", str(server.directory / "clients.sock"))
    with server:
        yield server


@pytest.fixture
def shoal(shared_shoal: Shoal) -> Shoal:
    """The shared Shoal, empty; started again when an earlier test ended it."""
    if not shared_shoal.running:
        shared_shoal.kill()
        shared_shoal.start()
    with shared_shoal.client() as client:
        assert client.call(b"FLUSHALL") == b"+OK\r\n"
    return shared_shoal


@pytest.fixture
def unix_path(shoal: Shoal) -> str:
    """The Unix socket of the shared Shoal."""
    (path,) = (address for address in shoal.addresses if isinstance(address, str))
    assert Path(path).is_socket()
    return path


@pytest.fixture
def many_files() -> Iterator[int]:
    """Let this process open as many files as the system allows; the value is how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
