"""Rounds: a server, clients at work, a killer, and in the end the checker."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

import psutil
from shoal.proto.limits import MAX_CRASHES
from support.histories.history import Anomaly, Outcome
from support.histories.link import Link, RefusedError
from support.histories.workloads import WORKLOADS, Workload
from support.raw import Address
from support.servers import Shoal, wait_until

WORKERS: Final = 3
CLIENTS: Final = 8
MOST_SHOWN: Final = 5  # anomalies of a round
MOST_TEXT: Final = 6000  # characters of an anomaly
ODDS_OF_TWO: Final = 0.25  # that two workers are killed at once


@dataclass(frozen=True)
class Plan:
    """What a round does.

    Attributes:
        workload: a name of WORKLOADS.
        seed: of what clients ask for, and of when who is killed (counted in calls; what the
            machine makes of that is another matter).
        fsync: appendfsync.
        strikes: how often a worker, or two at once, are killed.
        restarts: how often, after that, everything is killed and started again.
        least, most: calls between two strikes.
    """

    workload: str
    seed: int
    fsync: str = "everysec"
    strikes: int = 6
    restarts: int = 0
    least: int = 20
    most: int = 600
    clients: int = CLIENTS


@dataclass
class Report:
    """What came of a round."""

    plan: Plan
    calls: int = 0
    unknown: int = 0
    refused: int = 0
    kills: int = 0
    restarts: int = 0
    seconds: float = 0.0
    slowest_ms: int = 0  # of the calls that were answered
    anomalies: list[Anomaly] = field(default_factory=list)

    def __str__(self) -> str:
        plan = self.plan
        head = f"{plan.workload:<12} seed {plan.seed:<6} {plan.fsync:<8}"
        figures = f"{self.calls:6} calls {self.unknown:4} unknown {self.refused:4} refused"
        deaths = f"{self.kills:3} kills {self.restarts} restarts {self.seconds:5.1f} s"
        slowest = f"slowest {self.slowest_ms:5} ms"
        found = f"{len(self.anomalies)} anomalies"
        shown = [str(anomaly)[:MOST_TEXT] for anomaly in self.anomalies[:MOST_SHOWN]]
        return "\n".join([f"{head} {figures} {deaths} {slowest} {found}", *shown])


def play(plan: Plan) -> Report:
    """Run one round. Raises: AssertionError when the server does not come back, or hangs."""
    started = time.monotonic()
    with Shoal("--appendonly", "yes", "--appendfsync", plan.fsync, workers=WORKERS) as server:
        report = _Round(plan, server).run()
    report.seconds = time.monotonic() - started
    return report


class _Round:
    def __init__(self, plan: Plan, server: Shoal) -> None:
        self.plan = plan
        self.server = server
        self.workload: Workload = WORKLOADS[plan.workload](WORKERS)
        self.report = Report(plan)
        self._random = Random(f"{plan.seed} killer")
        self._ended = threading.Event()
        self._up = threading.Event()
        self._address: Address = ""
        self._pids: list[int] = []
        self._deaths: list[int] = []

    def run(self) -> Report:
        with self.server.client() as client, Link(self.server.address, -1) as link:
            client.call(b"PING")
            self.workload.prepare(link)
        self._on_up()
        threads = [
            threading.Thread(target=self._be_client, args=(number,), daemon=True)
            for number in range(self.plan.clients)
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in range(self.plan.strikes):
                self._let_them_work()
                self._strike()
            for _ in range(self.plan.restarts):
                self._let_them_work()
                self._restart()
            self._let_them_work()
        finally:
            self._ended.set()
            self._up.set()
            for thread in threads:
                thread.join()
        wait_until(self._read_all, "all can be read")
        recorder, report = self.workload.recorder, self.report
        report.anomalies = recorder.odd + self.workload.check()
        report.calls = len(recorder.calls)
        report.slowest_ms = max(
            (call.returned - call.called) // 1_000_000
            for call in recorder.calls
            if call.returned is not None
        )
        report.unknown = recorder.count(Outcome.UNKNOWN)
        report.refused = recorder.count(Outcome.REFUSED)
        return report

    # -- clients -----------------------------------------------------------------------------------

    def _be_client(self, number: int) -> None:
        random = Random(f"{self.plan.seed} client {number}")
        try:
            while not self._ended.is_set():
                try:
                    self._up.wait()
                    with Link(self._address, number) as link:
                        while not self._ended.is_set():
                            self.workload.act(link, random)
                except (EOFError, OSError):
                    continue  # its home died
        except BaseException as error:
            self.workload.recorder.complain("a client failed", repr(error))
            raise

    def _read_all(self) -> bool:
        assert self.server.running, f"the server has ended:\n{self.server.output}"
        try:
            with Link(self._address, -1) as link:
                self.workload.end(link)
        except (RefusedError, EOFError, OSError):
            return False
        return True

    # -- deaths ------------------------------------------------------------------------------------

    def _let_them_work(self) -> None:
        calls = self.workload.recorder.calls
        goal = len(calls) + self._random.randint(self.plan.least, self.plan.most)
        wait_until(lambda: len(calls) >= goal or not self.server.running, "clients are answered")
        assert self.server.running, f"the server has ended:\n{self.server.output}"

    def _strike(self) -> None:
        able = [at for at in range(WORKERS) if self._deaths[at] < MAX_CRASHES - 1]
        count = 2 if self._random.random() < ODDS_OF_TWO else 1
        victims = self._random.sample(able, min(count, len(able)))
        for at in victims:
            os.kill(self._pids[at], signal.SIGKILL)
        self.report.kills += len(victims)
        wait_until(lambda: self._replaced(victims), "the workers have successors")

    def _replaced(self, victims: list[int]) -> bool:
        pids = self._workers_now()
        new = [pid for pid in pids if pid not in self._pids]
        if len(new) < len(victims):
            return False
        # Of two at once it is not known who is who: both have died as often as either may have.
        deaths = max((self._deaths[at] for at in victims), default=0) + 1
        for at, pid in zip(victims, new, strict=True):
            self._pids[at] = pid
            self._deaths[at] = deaths
        return True

    def _workers_now(self) -> list[int]:
        assert self.server.running, f"the server has ended:\n{self.server.output}"
        try:
            return self.server.worker_pids()
        except psutil.NoSuchProcess:  # it ended while it was looked at
            return []

    def _restart(self) -> None:
        self._up.clear()
        self.server.kill()
        self.report.restarts += 1
        self.server.start()
        self._on_up()

    def _on_up(self) -> None:
        self._address = self.server.address
        self._pids = self.server.worker_pids()
        self._deaths = [0] * WORKERS
        self._up.set()


def plan_of(workload: str, seed: int) -> Plan:
    """Return the round of a seed in a long run: every third with a restart, most with fsync.

    A worker that syncs is killed more often between a write's log and its answer, where it counts.
    """
    restarts = int(seed % 3 == 2)
    fsync = "always" if restarts or seed % 2 else "everysec"
    return Plan(workload, seed, fsync=fsync, strikes=8, restarts=restarts)


def run(
    seconds: float,
    seed: int,
    workloads: Sequence[str],
    say: Callable[[str], None],
    rounds: int | None = None,
) -> int:
    """Run rounds for that long, of all workloads in turn; say a line for each, and the sums.

    Returns: how many anomalies there were.
    """
    end = time.monotonic() + seconds
    reports: list[Report] = []
    while time.monotonic() < end and (rounds is None or len(reports) < rounds):
        workload = workloads[len(reports) % len(workloads)]
        plan = plan_of(workload, seed + len(reports))
        try:
            report = play(plan)
        except AssertionError as error:  # with the server's output, the end of which tells most
            report = Report(plan, anomalies=[Anomaly("broken", str(error)[-MOST_TEXT:])])
        reports.append(report)
        say(str(reports[-1]))
        if reports[-1].anomalies:
            say(f"again: make verify SEED={plan.seed} ARGS='--workload {workload} --rounds 1'")
    for workload in workloads:
        say(_sums(workload, [r for r in reports if r.plan.workload == workload]))
    say(_sums("in all", reports))
    return sum(len(report.anomalies) for report in reports)


def _sums(name: str, reports: list[Report]) -> str:
    calls, unknown, refused, kills, restarts = (
        sum(getattr(report, figure) for report in reports)
        for figure in ("calls", "unknown", "refused", "kills", "restarts")
    )
    return (
        f"{name:<12} {len(reports):4} rounds {calls:8} calls {unknown:6} unknown "
        f"{refused:6} refused {kills:5} kills {restarts:4} restarts "
        f"{sum(len(report.anomalies) for report in reports):4} anomalies"
    )
