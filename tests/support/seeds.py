"""Which seeds the simulations run, and what a failure says.

CI runs a fixed number of them. SHOAL_SEEDS=1000-20000 (or one number), which is what `make simulate
SEEDS=...` sets, runs those instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

BLOCK: Final = 50


def blocks(default: str) -> list[range]:
    """Return the seeds, cut into the ranges that one test each runs."""
    first, _, last = os.environ.get("SHOAL_SEEDS", default).partition("-")
    start, stop = int(first), int(last or first) + 1
    return [range(at, min(at + BLOCK, stop)) for at in range(start, stop, BLOCK)]


@contextmanager
def repeat(seed: int) -> Iterator[None]:
    """Tell, with whatever fails inside, how to run this seed again."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"repeat with: make simulate SEEDS={seed}")
        raise
