"""Jobs for RQ."""

import signal
from typing import Any

from rq import get_current_job


def square(number: int) -> int:
    return number * number


def total_of_dependencies() -> int:
    """Add the results of the jobs that this one has waited for."""
    job = get_current_job()
    assert job is not None
    results: list[Any] = [dependency.return_value() for dependency in job.fetch_dependencies()]
    return sum(results)


def succeeds_at_the_third_try() -> int:
    job = get_current_job()
    assert job is not None
    tries: int = job.connection.incr(f"tries:{job.id}")
    if tries < 3:
        raise RuntimeError(f"try {tries}")
    return tries


def fails() -> None:
    raise RuntimeError("this job always fails")


def never_ends() -> None:
    while True:
        signal.pause()
