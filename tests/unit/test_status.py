"""What STATUS tells: figures, rates, totals, and what is not known."""

import os
import subprocess
import sys
from typing import Any

import pytest
from shoal.supervisor.status import Meter, document


def figures(at_ms: int, **changed: int) -> dict[str, Any]:
    """Return what a worker sends."""
    plain = {"keys": 5, "commands": 0, "hops": 0, "spanning": 0, "log_bytes": 70, "log_lag_ms": 3}
    return {"at_ms": at_ms, **plain, **changed}


def metered(*sent: dict[str, Any]) -> dict[str, Any]:
    """Return what is shown of a worker without a process that has sent this."""
    meter = Meter()
    for one in sent:
        meter.on_figures(one)
    return meter.show()


def test_nothing_is_known_at_first() -> None:
    assert Meter().show() == {}


def test_one_message_gives_figures_and_no_rates() -> None:
    assert metered(figures(1000)) == {"keys": 5, "log_bytes": 70, "log_lag_ms": 3}


RATES = {
    "of one second": (1000, 2000, 1.0),
    "of more than one": (1000, 3500, 2.5),
    "of no time at all": (1000, 1000, 0.001),  # and no division by zero
}


@pytest.mark.parametrize(("before_ms", "now_ms", "seconds"), RATES.values(), ids=RATES.keys())
def test_rates(before_ms: int, now_ms: int, seconds: float) -> None:
    shown = metered(
        figures(0, commands=1),
        figures(before_ms, commands=100, hops=50, spanning=10),
        figures(now_ms, commands=500, hops=150, spanning=110, keys=9, log_lag_ms=0),
    )
    assert shown == {
        "keys": 9,
        "log_bytes": 70,
        "log_lag_ms": 0,
        "commands_per_s": pytest.approx(400 / seconds),
        "hops_per_s": pytest.approx(100 / seconds),
        "spanning_share": 0.25,
    }


def test_counters_that_went_back_are_no_negative_rates() -> None:
    """CONFIG RESETSTAT."""
    before = figures(1000, commands=500, hops=90, spanning=9)
    shown = metered(before, figures(2000, commands=3))
    assert [shown[n] for n in ("commands_per_s", "hops_per_s", "spanning_share")] == [0, 0, 0]


def test_psutil_is_asked_about_a_living_process() -> None:
    meter = Meter()
    meter.on_start(os.getpid())
    shown = meter.show()
    assert sorted(shown) == ["cpu_percent", "memory_bytes"]
    assert shown["memory_bytes"] > 1 << 20
    assert shown["cpu_percent"] >= 0


def test_a_process_that_has_just_gone_has_no_memory() -> None:
    meter = Meter()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        meter.on_start(process.pid)
        meter.on_figures(figures(1000))
        assert "memory_bytes" in meter.show()
    assert meter.show() == {"keys": 5, "log_bytes": 70, "log_lag_ms": 3}


@pytest.mark.parametrize("end", ["death", "restart"])
def test_figures_of_an_earlier_process_are_forgotten(end: str) -> None:
    meter = Meter()
    meter.on_start(os.getpid())
    meter.on_figures(figures(1000, commands=100))
    meter.on_figures(figures(2000, commands=200))
    if end == "death":
        meter.on_death()
        assert meter.show() == {}
        return
    meter.on_start(os.getpid())
    meter.on_figures(figures(3000, commands=5))
    assert "commands_per_s" not in meter.show()


def totals(*workers: dict[str, Any]) -> dict[str, Any]:
    found = document("1.2.3", 60, 4711, ["127.0.0.1:6379"], list(workers))
    assert found["workers"] == list(workers)
    assert (found["version"], found["uptime_s"], found["pid"]) == ("1.2.3", 60, 4711)
    assert found["listeners"] == ["127.0.0.1:6379"]
    return dict(found["totals"])


def test_totals_are_sums_of_what_is_known() -> None:
    one = {"clients": 3, "restarts": 0, "keys": 10, "commands_per_s": 30.0, "log_bytes": 7}
    other = {"clients": 4, "restarts": 2, "keys": 1}
    assert totals(one, other) == {
        "clients": 7,
        "restarts": 2,
        "keys": 11,
        "commands_per_s": 30.0,
        "hops_per_s": None,
        "memory_bytes": None,
        "cpu_percent": None,
        "log_bytes": 7,
        "spanning_share": 0.0,
        "log_lag_ms": None,
    }


def test_the_share_of_spanning_commands_is_weighted() -> None:
    busy = {"commands_per_s": 900.0, "spanning_share": 0.1}
    idle = {"commands_per_s": 100.0, "spanning_share": 0.5}
    assert totals(busy, idle, {})["spanning_share"] == pytest.approx(0.14)


@pytest.mark.parametrize("workers", [[], [{"commands_per_s": 0.0, "spanning_share": 0.0}]])
def test_no_commands_have_no_share(workers: list[dict[str, Any]]) -> None:
    assert "spanning_share" not in totals(*workers)


def test_the_lag_is_that_of_the_worst() -> None:
    assert totals({"log_lag_ms": 3}, {"log_lag_ms": 900}, {})["log_lag_ms"] == 900
