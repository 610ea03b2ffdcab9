"""Short rounds of `make verify`: what clients hear while workers are killed has no anomaly.

docs/consistency.md says what is checked; `make verify` runs more of it.
"""

import pytest
from support.histories.runs import Plan, play
from support.histories.workloads import WORKLOADS


@pytest.mark.parametrize("workload", WORKLOADS)
def test_workers_are_killed(workload: str) -> None:
    report = play(Plan(workload, seed=1, strikes=4, most=300))
    assert not report.anomalies, report
    assert report.kills >= 4, report


@pytest.mark.parametrize("workload", ["list-append", "bank"])
def test_everything_is_killed_and_started_again(workload: str) -> None:
    report = play(Plan(workload, seed=2, fsync="always", strikes=1, restarts=2, most=300))
    assert not report.anomalies, report
    assert report.restarts == 2, report
