"""The supervisor's decisions that no running server can be brought to: nothing is forked here."""

import errno
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from shoal.proto import messages as m
from shoal.proto.directives import Config
from shoal.proto.errors import ReplyError
from shoal.supervisor import serve
from shoal.supervisor.lifecycle import Event
from shoal.supervisor.log import open_log
from shoal.supervisor.loop import Loop, monotonic_ms
from shoal.supervisor.serve import Supervisor


class NoSignals:
    """In place of the process's signal handlers, which are the test runner's."""

    def forget(self) -> None:
        """Have nothing to undo."""


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """A supervisor of three workers that were never forked."""
    monkeypatch.setattr(serve, "Signals", NoSignals)
    loop = Loop()
    yield Supervisor(Config(), open_log("", "nothing", 1), loop, 3, [], None)
    loop.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_fork_that_fails_is_tried_again(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> int:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", refuse)
    supervisor._workers[1].pid = 1  # so there are pipes to it to be closed again
    before, at_ms = descriptors(), monotonic_ms()
    supervisor._restart(supervisor._workers[0])
    assert descriptors() == before
    assert supervisor._workers[0].life.restart_at_ms >= at_ms + serve.IDLE_MS
    assert supervisor._workers[0].life.restarts == -1
    assert supervisor._workers[1].messages == []


def test_config_set_while_no_worker_lives_is_answered(supervisor: Supervisor) -> None:
    answers: list[bytes] = []
    supervisor.on_request([b"CONFIG", b"SET", b"maxclients", b"77"], answers.append)
    assert answers == [b"+OK\r\n"]
    assert supervisor._config.maxclients == 77
    assert not supervisor._changes


@pytest.mark.parametrize("number", [b"3", b"-1", b"x", b"9" * 5000])
def test_a_worker_that_does_not_exist(supervisor: Supervisor, number: bytes) -> None:
    with pytest.raises(ReplyError, match="no such worker; they are 0 to 2"):
        supervisor.on_request([b"restart-worker", number], lambda _: None)


def test_no_worker_is_restarted_during_shutdown(supervisor: Supervisor) -> None:
    supervisor.on_request([b"SHUTDOWN"], lambda _: None)
    with pytest.raises(ReplyError, match="shutting down"):
        supervisor.on_request([b"restart-worker", b"0"], lambda _: None)


def test_a_worker_that_comes_back_is_told_who_leaves_and_who_loads(supervisor: Supervisor) -> None:
    back, leaving, loading = supervisor._workers
    supervisor._startup = cast(Any, SimpleNamespace(logged=[{}, {}, {}]))
    for worker in back, leaving, loading:
        worker.life.on(Event.FORKED, 0)
        worker.life.on(Event.SCANNED, 0)
    leaving.life.on(Event.LOADED, 0)
    leaving.life.on(Event.ASKED_TO_LEAVE, 0)
    back.life.restarts = 1
    supervisor._let_serve(back)
    assert back.messages[:2] == [(m.PEER, 1, m.LEAVING, 0), (m.PEER, 2, m.LOADING, 0)]
    assert back.messages[-1] == (m.SERVE,)
