"""Scenarios that know what every reply must be; a wrong one fails the run.

With the web interface: `locust -f loadtests/locustfile.py --host redis://127.0.0.1:6379` from the
repository's root. Without, on a server of its own: `python -m loadtests.run_load`.
"""

import itertools
import logging
import random
import time
from argparse import ArgumentParser
from collections import deque
from dataclasses import dataclass
from typing import Any

from locust import LoadTestShape, events, task
from locust.runners import MasterRunner, WorkerRunner

from loadtests.resp import Command, Reply
from loadtests.users import RedisUser, WrongReplyError, connect, listen, new_name

# An expiry is at least this far from now before we insist on what it implies: server and client
# read two clocks, one of which an administrator may set.
SLACK_SECONDS = 0.1


# -- Sessions ------------------------------------------------------------------------------------


@dataclass
class Session:
    """A session and the span of time.monotonic() in which the server lets it expire."""

    key: str
    payload: bytes
    earliest: float
    latest: float

    def expires_in(self, seconds: int, sent: float, received: float) -> None:
        """Note an expiry the server set between sent and received."""
        self.earliest, self.latest = sent + seconds, received + seconds

    def must_live(self, received: float) -> bool:
        """Whether it was alive at any time up to received."""
        return received < self.earliest - SLACK_SECONDS

    def must_be_gone(self, sent: float) -> bool:
        """Whether it had expired before sent."""
        return sent > self.latest + SLACK_SECONDS


class SessionUser(RedisUser):
    """A session cache: written with an expiry, read, prolonged, deleted; and sessions expire."""

    weight = 4
    scenario = "sessions"
    MAX_SESSIONS = 30

    def forget(self) -> None:
        """Start without sessions."""
        self._prefix = new_name("session")
        self._sessions: deque[Session] = deque()
        self._numbers = itertools.count()

    @task(4)
    def create(self) -> None:
        """Write a session that lives one to four seconds."""
        if len(self._sessions) == self.MAX_SESSIONS:
            self._sessions.popleft()
        key = f"{self._prefix}:{next(self._numbers)}"
        session = Session(key, random.randbytes(random.randint(20, 400)), 0, 0)
        seconds = random.randint(1, 4)
        sent = time.monotonic()
        reply = self.call("SET", key, session.payload, "EX", seconds)
        session.expires_in(seconds, sent, time.monotonic())
        self.check(reply == b"OK", "SET EX answers OK", reply)
        self._sessions.append(session)

    @task(8)
    def read(self) -> None:
        """Read a session: its own payload while it lives, nothing after its expiry."""
        if self._sessions:
            session = random.choice(self._sessions)
            self._is_right(session, *self._timed("GET", session.key), session.payload, None)

    @task(2)
    def exists(self) -> None:
        """Ask whether a session is there, by a command that reads no value."""
        if self._sessions:
            session = random.choice(self._sessions)
            self._is_right(session, *self._timed("EXISTS", session.key), 1, 0)

    @task(3)
    def prolong(self) -> None:
        """Give a session two or three seconds from now; one that expired cannot be prolonged."""
        if self._sessions:
            session = random.choice(self._sessions)
            seconds = random.randint(2, 3)
            reply, sent, received = self._timed("EXPIRE", session.key, seconds)
            self._is_right(session, reply, sent, received, 1, 0)
            if reply == 1:
                session.expires_in(seconds, sent, received)
            else:
                self._sessions.remove(session)

    @task(2)
    def remaining(self) -> None:
        """Ask for the time left, whole seconds, rounded to the nearest as Redis does."""
        if self._sessions:
            session = random.choice(self._sessions)
            reply, sent, received = self._timed("TTL", session.key)
            if session.must_be_gone(sent):
                self.check(reply == -2, "TTL of an expired session is -2", reply)
            elif session.must_live(received):
                lowest = session.earliest - received - SLACK_SECONDS - 0.5
                highest = session.latest - sent + SLACK_SECONDS + 0.5
                self.check(lowest <= reply <= highest, "TTL is the time left", (reply, lowest))

    @task(1)
    def log_out(self) -> None:
        """Delete a session; then it must be gone."""
        if self._sessions:
            session = random.choice(self._sessions)
            self._sessions.remove(session)
            self._is_right(session, *self._timed("DEL", session.key), 1, 0)
            reply = self.call("GET", session.key)
            self.check(reply is None, "a deleted session is gone", reply)

    @task(2)
    def find_expired(self) -> None:
        """Drop a session whose time is over, after a look that it is gone."""
        now = time.monotonic()
        session = next((s for s in self._sessions if s.must_be_gone(now)), None)
        if session is not None:
            self._sessions.remove(session)
            reply = self.call("GET", session.key)
            self.check(reply is None, "an expired session is gone", reply)
            reply = self.call("DEL", session.key)
            self.check(reply == 0, "an expired session cannot be deleted", reply)

    def _timed(self, *argv: str | int) -> tuple[Reply, float, float]:
        sent = time.monotonic()
        reply = self.call(*argv)
        return reply, sent, time.monotonic()

    def _is_right(
        self,
        session: Session,
        reply: Reply,
        sent: float,
        received: float,
        alive: bytes | int,
        gone: int | None,
    ) -> None:
        """Check a reply that is `alive` before the expiry and `gone` after it."""
        if session.must_live(received):
            self.check(reply == alive, "a session that has not expired is there", reply)
        elif session.must_be_gone(sent):
            self.check(reply == gone, "a session that has expired is not", reply)
        else:
            self.check(reply in (alive, gone), "a session is itself or nothing", reply)


# -- Counters ------------------------------------------------------------------------------------


class SharedCounter:
    """The counter all users of this process share, and what its value can be.

    Each INCR adds one and may stay unanswered, so at the end
    acknowledged <= value <= sent.
    """

    def __init__(self) -> None:
        """Choose a key of our own."""
        self.key = new_name("counter:shared")
        self.sent = 0
        self.acknowledged = 0


shared_counter = SharedCounter()


class CounterUser(RedisUser):
    """A counter of one's own, known exactly, and one shared by all, which only grows."""

    weight = 3
    scenario = "counters"

    def forget(self) -> None:
        """Start with a new counter, and without a last value of the shared one."""
        self._key = new_name("counter")
        self._value = 0
        self._last_shared = 0

    @task(4)
    def increment(self) -> None:
        """INCR by one."""
        self._value += 1
        self._is_value(self.call("INCR", self._key))

    @task(2)
    def add(self) -> None:
        """INCRBY, also a negative number."""
        amount = random.randint(-(10**6), 10**6)
        self._value += amount
        self._is_value(self.call("INCRBY", self._key, amount))

    @task(2)
    def decrement(self) -> None:
        """DECR by one."""
        self._value -= 1
        self._is_value(self.call("DECR", self._key))

    @task(2)
    def read(self) -> None:
        """GET gives the same number, as text."""
        reply = self.call("GET", self._key)
        expected = (None, b"0") if self._value == 0 else (b"%d" % self._value,)
        self.check(reply in expected, "own counter is exact", (reply, self._value))

    @task(3)
    def increment_shared(self) -> None:
        """The shared counter: larger than what this user saw of it before."""
        shared_counter.sent += 1
        reply = self.call("INCR", shared_counter.key)
        shared_counter.acknowledged += 1
        self.check(reply > self._last_shared, "shared counter grows", (reply, self._last_shared))
        self._last_shared = reply

    @task(1)
    def read_shared(self) -> None:
        """It never falls back, and counts no less than what was acknowledged before."""
        at_least = shared_counter.acknowledged
        reply = int(self.call("GET", shared_counter.key) or 0)
        rule = "shared counter has every acknowledged INCR"
        self.check(at_least <= reply <= shared_counter.sent, rule, (reply, at_least))
        self.check(reply >= self._last_shared, "shared counter never falls", reply)
        self._last_shared = reply

    def _is_value(self, reply: Reply) -> None:
        self.check(reply == self._value, "own counter is exact", (reply, self._value))


# -- Feature flags -------------------------------------------------------------------------------


class FlagSet:
    """A set of flags, always written together, one version for all; shared by this process's users.

    A version is stale for a read when another was sent after the first was acknowledged and was
    itself acknowledged before the read was sent. So the latest sending time among the
    acknowledged writes, `newest_sent` (seconds of time.monotonic()), decides it.
    """

    FLAGS = 8
    # Users have one MSET in flight each: what lies this many writes back cannot be current.
    MAX_VERSIONS = 10_000

    def __init__(self) -> None:
        """Choose keys of our own; without a hash tag they lie in several partitions."""
        name = new_name("flags")
        self.keys = [f"{name}:{number}" for number in range(self.FLAGS)]
        self.newest_sent = 0.0
        self._numbers = itertools.count(1)
        # version -> when its MSET was acknowledged, None as long as it was not.
        self._acknowledged: dict[bytes, float | None] = {}

    def next_version(self) -> bytes:
        """Make a version, about to be written."""
        version = b"%d" % next(self._numbers)
        self._acknowledged[version] = None
        if len(self._acknowledged) > self.MAX_VERSIONS:
            del self._acknowledged[next(iter(self._acknowledged))]
        return version

    def on_acknowledged(self, version: bytes, sent: float, received: float) -> None:
        """Note an answered MSET."""
        self._acknowledged[version] = received
        self.newest_sent = max(self.newest_sent, sent)

    def may_be_seen(self, version: bytes | None, newest_sent: float) -> bool:
        """Whether a read may give version, newest_sent being what it was when the read was sent."""
        if version is None:
            return newest_sent == 0.0
        if version not in self._acknowledged:
            return False
        received = self._acknowledged[version]
        return received is None or received >= newest_sent


flag_sets = [FlagSet() for _ in range(3)]


class FlagUser(RedisUser):
    """Flags written by one MSET, read by one MGET: all of one version, and none that is stale."""

    weight = 2
    scenario = "flags"

    def forget(self) -> None:
        """Know nothing: what flags hold is kept with the set."""

    @task(1)
    def write(self) -> None:
        """Give all flags of a set a new version."""
        flags = random.choice(flag_sets)
        version = flags.next_version()
        sent = time.monotonic()
        reply = self.call("MSET", *[word for key in flags.keys for word in (key, version)])
        flags.on_acknowledged(version, sent, time.monotonic())
        self.check(reply == b"OK", "MSET answers OK", reply)

    @task(4)
    def read(self) -> None:
        """Read all flags of a set, in any order."""
        flags = random.choice(flag_sets)
        newest_sent = flags.newest_sent
        replies = self.call("MGET", *random.sample(flags.keys, flags.FLAGS))
        self.check(len(set(replies)) == 1, "flags of one MGET have one version", replies)
        seen = flags.may_be_seen(replies[0], newest_sent)
        self.check(seen, "flags are not older than the last MSET", replies[0])


# -- Pipelines -----------------------------------------------------------------------------------


class PipelineUser(RedisUser):
    """Pipelines of mixed commands on keys of one's own; a dict says what each reply must be."""

    weight = 1
    scenario = "pipelines"
    KEYS = 10
    LENGTH = 16
    COMMANDS = ("GET", "GET", "SET", "SET", "INCR", "APPEND", "STRLEN", "DEL", "MGET", "MSET")
    # A string that has grown past this is set anew rather than appended to.
    MAX_STRING_BYTES = 1000

    def forget(self) -> None:
        """Start with new keys, none of which exists."""
        prefix = new_name("pipe")
        self._keys = [f"{prefix}:{number}" for number in range(self.KEYS)]
        self._counters = [f"{prefix}:counter:{number}" for number in range(self.KEYS)]
        self._strings: dict[str, bytes] = {}
        self._counts: dict[str, int] = {}

    @task
    def run_pipeline(self) -> None:
        """Send a pipeline; compare each reply with the model's, in order."""
        commands: list[Command] = []
        expected: list[Reply] = []
        for _ in range(self.LENGTH):
            command, reply = self._draw()
            commands.append(command)
            expected.append(reply)
        replies = self.pipeline(commands)
        for command, reply, right in zip(commands, replies, expected, strict=True):
            self.check(reply == right, "a pipeline's reply is the model's", (command, reply, right))

    def _draw(self) -> tuple[Command, Reply]:
        """Draw a command, apply it to the model and return it with the reply it must get."""
        strings = self._strings
        name, key, other = random.choice(self.COMMANDS), *random.sample(self._keys, 2)
        value = random.randbytes(random.randint(0, 60))
        if name == "APPEND" and len(strings.get(key, b"")) > self.MAX_STRING_BYTES:
            name = "SET"
        match name:
            case "GET":
                return (name, key), strings.get(key)
            case "SET":
                strings[key] = value
                return (name, key, value), b"OK"
            case "INCR":
                counter = random.choice(self._counters)
                self._counts[counter] = self._counts.get(counter, 0) + 1
                return (name, counter), self._counts[counter]
            case "APPEND":
                strings[key] = strings.get(key, b"") + value
                return (name, key, value), len(strings[key])
            case "STRLEN":
                return (name, key), len(strings.get(key, b""))
            case "DEL":
                found = sum(strings.pop(k, None) is not None for k in (key, other))
                return (name, key, other), found
            case "MGET":
                return (name, *self._keys), [strings.get(k) for k in self._keys]
            case "MSET":
                strings[key] = strings[other] = value
                return (name, key, value, other, value), b"OK"
        raise AssertionError(name)


# -- The run -------------------------------------------------------------------------------------


class Ramp(LoadTestShape):
    """A tenth of the users for a quarter of the time, half of them up to half of it, then all."""

    STAGES = ((0.25, 0.1), (0.5, 0.5), (1.0, 1.0))

    def tick(self) -> tuple[int, float] | None:
        """Return how many users run now, and how many may start per second; None at the end."""
        assert self.runner is not None
        options = self.runner.environment.parsed_options
        assert options is not None
        run_s = self.get_run_time()  # type: ignore[no-untyped-call]  # Locust leaves it unannotated
        elapsed = run_s / options.ramp_seconds
        for until, share in self.STAGES:
            if elapsed < until:
                users = max(len(SCENARIOS), round(options.ramp_users * share))
                return users, max(1.0, options.ramp_users / 2)
        return None


SCENARIOS: tuple[type[RedisUser], ...] = (SessionUser, CounterUser, FlagUser, PipelineUser)


def add_options(parser: ArgumentParser) -> None:
    """Add the ramp's options to Locust's own."""
    for name, default, what in (
        ("users", 100, "users at the end of the ramp"),
        ("seconds", 40, "length of the run"),
    ):
        parser.add_argument(
            f"--ramp-{name}",
            type=int,
            default=default,
            help=what,
            env_var=f"SHOAL_RAMP_{name.upper()}",  # configargparse's
        )


def check_shared_counter(environment: Any, **_: Any) -> None:
    """Compare the shared counter with what was sent and acknowledged, once all users have ended."""
    if isinstance(environment.runner, MasterRunner) or shared_counter.sent == 0:
        return
    error: Exception | None = None
    try:
        connection = connect(environment.host)
        try:
            value = int(connection.call("GET", shared_counter.key) or 0)
        finally:
            connection.close()
        if not shared_counter.acknowledged <= value <= shared_counter.sent:
            logging.error("shared counter: %d, %s", value, vars(shared_counter))
            error = WrongReplyError("shared counter has every acknowledged INCR")
    except OSError as failure:
        error = failure
    environment.events.request.fire(
        request_type="counters",
        name="GET at the end",
        response_time=None,
        response_length=0,
        exception=error,
        context={},
    )


def judge(environment: Any, **_: Any) -> None:
    """Make the exit code 1 if anything failed, or if a scenario did nothing."""
    if isinstance(environment.runner, WorkerRunner):
        return  # the master has everybody's statistics
    stats = environment.runner.stats
    failures = stats.total.num_failures
    problems = [f"{failures} failed requests or wrong replies"] if failures else []
    if environment.runner.exceptions:
        problems.append("exceptions in the scenarios")
    succeeded = {entry.method for entry in stats.entries.values() if entry.num_requests}
    problems += [
        f"{user.scenario}: not one request"
        for user in environment.user_classes
        if user.scenario not in succeeded
    ]
    for problem in problems:
        logging.error("Run failed: %s", problem)
    if problems:
        environment.process_exit_code = 1


listen(events.init_command_line_parser, add_options)
listen(events.test_stop, check_shared_counter)
listen(events.quitting, judge)
