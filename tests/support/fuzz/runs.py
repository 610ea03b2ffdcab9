"""A run: scripts one after the other until so many commands have run, and a report of each
difference.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from support.command_docs import documented
from support.fuzz.pair import Difference, Pair
from support.fuzz.payloads import payloads
from support.fuzz.scripts import Generator, Script, spread, targets
from support.fuzz.segments import check_log
from support.fuzz.shrink import as_table, shrink
from support.servers import Oracle, Shoal

SHOAL_OPTIONS: Final = ("--save", "", "--enable-debug-command", "yes")
# It looks after timeouts as often as that; else a blocking command waits up to 100 ms.
REDIS_OPTIONS: Final = ("--hz", "500")
PROGRESS_S: Final = 30.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is run.

    Attributes:
        seed: of the scripts.
        commands: in all; the script that goes beyond is run to its end.
        workers: of Shoal.
        resp: version of the protocol.
        length: commands of a script.
        script: number of the only one to run, None for 0, 1, 2 ...
        only, without: groups or commands; names of commands. Scripts of another choice are others.
        most: ends after so many differences.
        log_every: 0 for no log; else Shoal reads it again after every script, and after so many and
            at the end there are restarts.
        spread: whether the keys of a command may lie in several partitions.
        shrink: whether a script that shows a difference is made short.
    """

    seed: int
    commands: int = 100_000
    workers: int = 1
    resp: int = 2
    length: int = 2000
    script: int | None = None
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    most: int = 10
    log_every: int = 0
    spread: bool = False
    shrink: bool = True

    def repeat(self, script: Script) -> str:
        """Return the command line that runs one script again."""
        words = f"--seed {self.seed} --script {script.number} --length {self.length}"
        words += f" --workers {self.workers} --resp {self.resp}"
        words += f" --log {self.log_every}" if self.log_every else ""
        words += " --spread" if self.spread else ""
        for name in ("only", "without"):
            if names := getattr(self, name):
                words += f" --{name} {','.join(names)}"
        return f"PYTHONPATH=tests python -m support.fuzz {words}"


def run(plan: Plan, say: Say = print) -> list[str]:
    """Run it, say how it goes, and return a report of each difference; none is good."""
    log = "yes" if plan.log_every else "no"
    subject = Shoal(*SHOAL_OPTIONS, "--appendonly", log, workers=plan.workers)
    with Oracle(*REDIS_OPTIONS) as oracle, subject:
        return _Run(plan, oracle, subject, say).run()


class _Run:
    def __init__(self, plan: Plan, oracle: Oracle, subject: Shoal, say: Say) -> None:
        self._plan = plan
        self._subject = subject
        self._say = say
        self._pair = Pair(oracle, subject, plan.resp, reloads=plan.log_every > 0)
        found = targets(documented(oracle), plan.only)
        known = [target for target in found if target.name not in plan.without]
        say(f"{len(known)} commands: {' '.join(target.name for target in known)}")
        self._generator = Generator(known, payloads(oracle), plan.seed, logged=plan.log_every > 0)
        self._seen: set[tuple[str, ...]] = set()
        self._reports: list[str] = []

    def run(self) -> list[str]:
        plan = self._plan
        begun = shown = time.monotonic()
        done, number = 0, plan.script or 0
        while True:
            script = self._generator.script(number, plan.length)
            if plan.spread:
                script = spread(script)
            difference = self._pair.run(script.steps)
            done += difference.at if difference else len(script.steps)
            if difference is not None:
                self._report(script, difference)
            number += 1
            last = (
                done >= plan.commands or len(self._reports) >= plan.most or plan.script is not None
            )
            if plan.log_every and (last or number % plan.log_every == 0):
                self._check_log(script)
            if last:
                break
            if time.monotonic() - shown > PROGRESS_S:
                shown = time.monotonic()
                self._say(f"{done} commands, {number} scripts, {done / (shown - begun):.0f}/s")
        self._pair.close()
        seconds = time.monotonic() - begun
        scripts = number - (plan.script or 0)
        self._say(
            f"{done} commands in {scripts} scripts, {seconds:.0f} s; "
            f"{len(self._reports)} differences"
        )
        return self._reports

    def _report(self, script: Script, difference: Difference) -> None:
        steps, found = list(script.steps[: difference.at]), difference
        if self._plan.shrink:
            steps, found = shrink(self._pair, script.steps, difference)
        names = [argv[0].decode(errors="replace").lower() for argv in steps]
        # Where the same commands are left over it is most probably the same bug.
        last = names[-1] if names else "nothing"
        kind = (*names, "" if found.step is None else last)
        if kind in self._seen:
            return
        self._seen.add(kind)
        title = f"{last} of seed {script.seed}, script {script.number}"
        lines = [f"{self._plan.repeat(script)}", as_table(title, steps)]
        lines += [f"  redis {found.theirs}"] if found.theirs else []
        self._add("\n".join([*lines, f"  shoal {found.ours}"]))

    def _check_log(self, script: Script) -> None:
        self._pair.close()
        lines = check_log(self._subject, 1 if self._plan.workers > 1 else 3)
        if lines:
            self._add("\n".join([f"the log: {self._plan.repeat(script)}", *lines[:40]]))

    def _add(self, report: str) -> None:
        self._reports.append(report)
        self._say(f"\n== DIFFERENCE {len(self._reports)}\n{report}")
