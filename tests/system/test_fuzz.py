"""A bounded run of the fuzzer, always the same scripts; `make fuzz` runs others, and more.

In the end Shoal starts from its log, with other numbers of workers too, and a real Redis reads it.
"""

import pytest
from support.fuzz.runs import Plan, run


def test_keys_may_lie_in_any_partitions() -> None:
    plan = Plan(seed=5, commands=15_000, workers=3, length=1500, most=3, log_every=5, spread=True)
    reports = run(plan)
    assert not reports, "\n\n".join(reports)


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("workers", [1, 3])
def test_random_scripts_run_as_on_redis(workers: int, resp: int) -> None:
    plan = Plan(
        seed=workers * 10 + resp,
        commands=15_000,
        workers=workers,
        resp=resp,
        length=1500,
        most=3,
        log_every=1000,
    )
    reports = run(plan)
    assert not reports, "\n\n".join(reports)
