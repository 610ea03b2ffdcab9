"""`python -m support.histories`: see the package's docstring."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from random import Random

from support.histories.runs import run
from support.histories.workloads import WORKLOADS


def main() -> int:
    """Run as the command line says; return 1 if there is any anomaly."""
    parser = argparse.ArgumentParser(prog="python -m support.histories", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="no round begins after these")
    parser.add_argument("--seed", type=int, default=Random().randrange(1_000_000))
    parser.add_argument("--workload", choices=WORKLOADS, help="only this one")
    parser.add_argument("--rounds", type=int, help="at most so many")
    given = parser.parse_args()
    workloads = [given.workload] if given.workload else list(WORKLOADS)
    say = partial(print, flush=True)
    return 1 if run(given.minutes * 60, given.seed, workloads, say, given.rounds) else 0


if __name__ == "__main__":
    sys.exit(main())
