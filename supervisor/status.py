"""What STATUS tells: the workers' figures, rates between two of them, and psutil's view of each."""

from __future__ import annotations

from typing import Any, Final

import psutil

# Counters of a worker from which STATUS makes rates.
_COUNTED: Final = ("commands", "hops", "spanning")
_SUMMED: Final = (
    "clients",
    "keys",
    "commands_per_s",
    "hops_per_s",
    "memory_bytes",
    "cpu_percent",
    "log_bytes",
    "restarts",
)


class Meter:
    """The figures of one worker: what it last sent, and how fast that had changed.

    The worker sends, once a second: `at_ms` (monotonic), `keys`, `commands`, `hops`, `spanning`
    (counters), `log_bytes`, `log_lag_ms`.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._process: psutil.Process | None = None
        self._last: dict[str, Any] = {}
        self._before: dict[str, Any] = {}

    def on_start(self, pid: int) -> None:
        """Forget what an earlier process sent."""
        self._last, self._before = {}, {}
        self._process = None
        try:
            self._process = psutil.Process(pid)
            self._process.cpu_percent()  # the next call counts from here
        except OSError:  # no descriptor to be had for /proc: its memory and CPU stay unknown
            return

    def on_death(self) -> None:
        """Forget the process."""
        self._process = None
        self._last, self._before = {}, {}

    def on_figures(self, figures: dict[str, Any]) -> None:
        """Take what the worker sent."""
        self._last, self._before = figures, self._last

    def show(self) -> dict[str, Any]:
        """Return the worker's share of STATUS; what is not known is left out."""
        shown: dict[str, Any] = {}
        process = self._process
        if process is not None:
            try:
                shown["memory_bytes"] = process.memory_info().rss
                shown["cpu_percent"] = process.cpu_percent()
            except (psutil.NoSuchProcess, OSError):  # it has just ended, or no descriptor is left
                shown = {}
        last = self._last
        if last:
            for name in ("keys", "log_bytes", "log_lag_ms"):
                shown[name] = last[name]
        if self._before:
            seconds = max(last["at_ms"] - self._before["at_ms"], 1) / 1000
            grown = {name: max(last[name] - self._before[name], 0) for name in _COUNTED}
            shown["commands_per_s"] = grown["commands"] / seconds
            shown["hops_per_s"] = grown["hops"] / seconds
            shown["spanning_share"] = grown["spanning"] / max(grown["commands"], 1)
        return shown


def document(
    version: str,
    uptime_s: int,
    pid: int,
    listeners: list[str],
    workers: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return the document that `ctl.py` describes."""
    totals: dict[str, Any] = {}
    for name in _SUMMED:
        known = [worker[name] for worker in workers if worker.get(name) is not None]
        totals[name] = sum(known) if known else None
    commands = totals["commands_per_s"] or 0
    if commands:
        shares = [w.get("spanning_share", 0) * w.get("commands_per_s", 0) for w in workers]
        totals["spanning_share"] = sum(shares) / commands
    lags = [w["log_lag_ms"] for w in workers if w.get("log_lag_ms") is not None]
    totals["log_lag_ms"] = max(lags, default=None)
    return {
        "version": version,
        "uptime_s": uptime_s,
        "pid": pid,
        "listeners": listeners,
        "workers": workers,
        "totals": totals,
    }
