"""`python -m support.fuzz`: see the package's docstring."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from random import Random

from support.fuzz.runs import Plan, run


def main() -> int:
    """Run as the command line says; return 1 if anything differs."""
    return 1 if run(_plan(), partial(print, flush=True)) else 0


def _plan() -> Plan:
    parser = argparse.ArgumentParser(prog="python -m support.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=Random().randrange(1 << 31))
    parser.add_argument("--n", type=int, default=100_000, help="commands in all")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--resp", type=int, default=2, choices=(2, 3))
    parser.add_argument("--length", type=int, default=2000, help="commands of a script")
    parser.add_argument("--script", type=int, help="run only the script of this number")
    parser.add_argument("--only", default="", help="groups or commands, comma separated")
    parser.add_argument("--without", default="", help="commands, comma separated")
    parser.add_argument("--most", type=int, default=10, help="stop after so many differences")
    parser.add_argument("--log", type=int, default=0, help="look at the log every so many scripts")
    parser.add_argument("--spread", action="store_true", help="keys in any partitions")
    parser.add_argument("--no-shrink", action="store_true", help="show whole scripts")
    given = parser.parse_args()
    return Plan(
        seed=given.seed,
        commands=given.n,
        workers=given.workers,
        resp=given.resp,
        length=given.length,
        script=given.script,
        only=tuple(filter(None, given.only.split(","))),
        without=tuple(filter(None, given.without.split(","))),
        most=given.most,
        log_every=given.log,
        spread=given.spread,
        shrink=not given.no_shrink,
    )


if __name__ == "__main__":
    sys.exit(main())
