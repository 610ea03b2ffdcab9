"""What every Locust user of ours has: a RESP connection, statistics per command, checked replies.

A user reports each command through `events.request`; a connection error, an error reply nobody
expects or a reply that is wrong is reported as a failed request, and a failed request fails the
run (locustfile.py). After a failure the user knows nothing about its keys any more: `forget()`
makes it start over with new ones.
"""

import logging
import time
import uuid
from abc import abstractmethod
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import hiredis
from locust import User, between
from locust.event import EventHook
from locust.exception import RescheduleTask

from loadtests.resp import Arg, Command, Connection, Reply

RETRY_SECONDS = 1.0
# A failing server would otherwise write a line per user and command.
MAX_LOGGED_FAILURES = 20

_logged = 0


def listen(hook: EventHook, handler: Callable[..., None]) -> None:
    """Add a listener to one of Locust's events."""
    hook.add_listener(handler)  # type: ignore[no-untyped-call]  # Locust leaves it unannotated


class WrongReplyError(Exception):
    """The server answered, but not what it must."""


class RedisUser(User):
    """A user with one connection, opened by its first command."""

    abstract = True
    wait_time = between(0.01, 0.05)
    # The type its requests carry in the statistics.
    scenario = ""

    def __init__(self, environment: Any) -> None:
        """Remember the environment; connects later."""
        super().__init__(environment)
        self._connection: Connection | None = None
        self.forget()

    @abstractmethod
    def forget(self) -> None:
        """Start over with new keys, about which nothing is assumed."""

    def on_stop(self) -> None:
        """Close the connection."""
        self._drop()

    def call(self, *argv: Arg) -> Reply:
        """Send one command, report it under its name and return the reply."""
        return self._exchange([argv], str(argv[0]))[0]

    def pipeline(self, commands: list[Command]) -> list[Reply]:
        """Send a pipeline, reported as one request, and count its commands one by one."""
        replies = self._exchange(commands, f"pipeline of {len(commands)}")
        for argv in commands:
            # None is Locust's "not timed": such a request is counted and is in no percentile.
            self._report(str(argv[0]), None, None, kind=f"{self.scenario}, in a pipeline")
        return replies

    def check(self, right: bool, rule: str, seen: object) -> None:
        """Fail the run unless right.

        Args:
            rule: what must hold; one text for each place, because Locust groups by it.
            seen: what shows that it does not; only the first failures log it.
        """
        if not right:
            self.fail("check", WrongReplyError(rule), seen)

    def fail(self, name: str, error: Exception, seen: object = "") -> None:
        """Report a failure, drop the connection and what is known, and end this task."""
        global _logged
        _logged += 1
        if _logged <= MAX_LOGGED_FAILURES:
            logging.error("%s, %s: %s: %.300r", self.scenario, name, error, seen)
        self._report(name, None, error)
        self._drop()
        self.forget()
        raise RescheduleTask

    def _exchange(self, commands: list[Command], name: str) -> list[Reply]:
        begun = time.perf_counter()
        try:
            if self._connection is None:
                self._connection = connect(self.host)
                begun = time.perf_counter()
            replies = self._connection.pipeline(commands)
        except (OSError, RuntimeError, hiredis.ProtocolError) as error:
            time.sleep(RETRY_SECONDS)
            self.fail(name, error)
            raise AssertionError("fail() raises") from error
        elapsed_ms = (time.perf_counter() - begun) * 1000
        self._report(name, elapsed_ms, None)
        for argv, reply in zip(commands, replies, strict=True):
            if isinstance(reply, hiredis.ReplyError):
                self.fail(str(argv[0]), reply, argv)
        return replies

    def _report(
        self, name: str, elapsed_ms: float | None, error: Exception | None, kind: str = ""
    ) -> None:
        self.environment.events.request.fire(
            request_type=kind or self.scenario,
            name=name,
            response_time=elapsed_ms,
            response_length=0,
            exception=error,
            context={},
        )

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def connect(host: str | None) -> Connection:
    """Connect to `redis://HOST:PORT`, the form --host takes; raises OSError."""
    parts = urlsplit(host or "redis://127.0.0.1:6379")
    if parts.scheme != "redis":
        raise ValueError(f"--host must look like redis://127.0.0.1:6379, not {host}")
    return Connection(parts.hostname or "127.0.0.1", parts.port or 6379)


def new_name(prefix: str) -> str:
    """Return a key prefix nobody else uses, in this process or another."""
    return f"{prefix}:{uuid.uuid4().hex[:12]}"
