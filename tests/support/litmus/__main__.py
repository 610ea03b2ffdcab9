"""`python -m support.litmus --rounds 1000000 --workers 4`: see `real.py`."""

from __future__ import annotations

import argparse
import sys

from support.litmus.real import run


def main() -> int:
    """Run as the command line says; return 1 if there is a miss."""
    parser = argparse.ArgumentParser(prog="python -m support.litmus", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    return 0 if run(given.rounds, given.workers) else 1


if __name__ == "__main__":
    sys.exit(main())
