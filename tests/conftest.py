"""Fixtures that more than one folder of tests uses."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from shoal.supervisor import steps
from support.differential import Compare
from support.servers import Oracle, Shoal

# No test has a time limit: how long an example takes says how busy the machine is.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# As far as they go the same options as the oracle's, so that CONFIG GET and INFO compare.
SUBJECT_OPTIONS = ("--save", "", "--appendonly", "no", "--enable-debug-command", "yes")


@pytest.fixture(scope="session")
def oracle() -> Iterator[Oracle]:
    """The redis-server that is right."""
    with Oracle() as server:
        yield server


@pytest.fixture(scope="session", params=[1, 3], ids=["1 worker", "3 workers"])
def subject_server(request: pytest.FixtureRequest) -> Iterator[Shoal]:
    """One Shoal for all the tests of the session, with 1 worker and then with 3."""
    with Shoal(*SUBJECT_OPTIONS, workers=request.param) as server:
        yield server


@pytest.fixture
def subject(subject_server: Shoal) -> Shoal:
    """The Shoal that is compared; started again when an earlier test ended it."""
    if not subject_server.running:
        subject_server.kill()
        subject_server.start()
    return subject_server


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def resp(request: pytest.FixtureRequest) -> int:
    """The protocol version that connections speak."""
    version: int = request.param
    return version


@pytest.fixture
def compare(oracle: Oracle, subject: Shoal, resp: int) -> Compare:
    """Run a table's case on both servers; see support/differential.py."""
    return Compare(oracle, subject, resp)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No step is given up, in a test in which workers die far more often than they do."""
    monkeypatch.setattr(steps, "MAX_STEP_DEATHS", 1 << 30)
