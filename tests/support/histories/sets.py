"""Checker of sets: unique elements are added, some are moved on, and in the end all are read.

What was acknowledged is there, once, and where it was put last; what was refused is nowhere. Of an
element whose addition, or move, has an unknown outcome each possible place will do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from support.histories.history import Anomaly, Call, Outcome

NOWHERE: Final = -1


class Add(NamedTuple):
    """SADD of new elements to a set; the reply is how many were new."""

    place: int
    elements: tuple[int, ...]


class Shift(NamedTuple):
    """SMOVE by the client that has added the element; the reply tells whether it was there."""

    source: int
    target: int
    element: int


def check(history: Iterable[Call[Add | Shift]], ending: Sequence[Iterable[int]]) -> list[Anomaly]:
    """Return what is wrong; `ending` has the elements of each set, read after all else.

    The calls that concern one element are in the order of the one client that made them, and none
    follows one of unknown outcome.
    """
    possible: dict[int, set[int]] = {}
    calls: dict[int, list[Call[Add | Shift]]] = {}
    anomalies = []
    for call in history:
        what = call.what
        for element in what.elements if isinstance(what, Add) else (what.element,):
            where = possible.setdefault(element, {NOWHERE})
            assert len(where) == 1, f"used after an unknown outcome: {call}"
            calls.setdefault(element, []).append(call)
            after, right = _effect(what, *where)
            if call.outcome is Outcome.DONE:
                possible[element] = {after}
                if call.reply != right:
                    anomalies.append(Anomaly("wrong reply", f"not {right}: {call}"))
            elif call.outcome is Outcome.UNKNOWN:
                possible[element] = where | {after}
    found: dict[int, list[int]] = {}
    for place, elements in enumerate(ending):
        for element in elements:
            found.setdefault(element, []).append(place)
    for element in sorted(found.keys() | possible.keys()):
        places = found.get(element, [NOWHERE])
        evidence = "\n    ".join([f"{element} is in {places}", *map(str, calls.get(element, ()))])
        if len(places) > 1:
            anomalies.append(Anomaly("doubled element", evidence))
        elif element not in possible:
            anomalies.append(Anomaly("alien element", evidence))
        elif places[0] not in possible[element]:
            name = "lost element" if places == [NOWHERE] else "element out of place"
            anomalies.append(Anomaly(name, evidence))
    return anomalies


def _effect(what: Add | Shift, where: int) -> tuple[int, int | bool]:
    """Return where an element is after a call, and the call's reply."""
    if isinstance(what, Add):
        return what.place, len(what.elements)
    return (what.target, True) if where == what.source else (where, False)
