"""Draw CPU per command: a panel for each command and pipeline, a bar for each server."""

import math
import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from loadtests.cells import COMMANDS, PIPELINES, Cell, Sample
from loadtests.report import Results, median, reading_order

USER_COLORS = {"shoal": "#1f6fb4", "redis": "#b4451f", "fakeredis": "#6b6b6b"}
SYSTEM_COLORS = {"shoal": "#9cc4e4", "redis": "#e6b39c", "fakeredis": "#c4c4c4"}
MACHINE_LABELS = ["CPU", "Cores", "Kernel", "Python", "Load average before", "Rounds", "Date"]


def draw(
    results: Results, servers: list[str], cells: list[Cell], machine: dict[str, str], path: Path
) -> None:
    """Write the picture as PNG; cells nobody measured get no panel."""
    measured = [c for c in reading_order(cells) if any((n, c) in results for n in servers)]
    if not measured:
        return
    grid = _grid(measured)
    rows, columns = len(grid), max(len(row) for row in grid)
    size = (3.6 * columns + 0.6, (0.42 + 0.24 * len(servers)) * rows + 1.7)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for row, panels in zip(axes, grid, strict=True):
        for axis, cell in zip(row, [*panels, *[None] * (columns - len(panels))], strict=True):
            if cell is None:
                axis.set_axis_off()
            else:
                _panel(axis, cell, {name: median(results, name, cell) for name in servers})
    facts = [f"{label}: {machine[label]}" for label in MACHINE_LABELS if label in machine]
    facts += [f"{name} {machine[name]}" for name in servers]
    figure.suptitle(
        "Server CPU per command in microseconds: user (dark) and system (light), all processes\n"
        + textwrap.fill(", ".join(facts), width=40 * columns),
        fontsize=9,
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _grid(cells: list[Cell]) -> list[list[Cell]]:
    """Place pipelines as rows and commands as columns; below them the logged cells, then those of
    other groups, as many in a row as there are commands.
    """
    others = [c for c in cells if c.is_type or c.is_spanning]
    plain = [c for c in cells if c.policy == "no" and c not in others]
    order = {c: i for i, c in enumerate(COMMANDS)}
    rows = [
        sorted((c for c in plain if c.pipeline == p), key=lambda c: order[c.command])
        for p in PIPELINES
    ]
    rows.append([c for c in cells if c.policy != "no"])
    rows += [others[at : at + len(COMMANDS)] for at in range(0, len(others), len(COMMANDS))]
    return [row for row in rows if row]


def _panel(axis: Axes, cell: Cell, medians: dict[str, Sample | None]) -> None:
    shown = {name: sample for name, sample in medians.items() if sample is not None}
    # fakeredis is far off; its bar is cut, and the number beside it says how long it would be.
    scale = [s.cpu_us for name, s in shown.items() if name != "fakeredis"] or [
        s.cpu_us for s in shown.values()
    ]
    limit = max(scale) * 1.45
    for position, (name, sample) in enumerate(shown.items()):
        family = name.split("-")[0]
        user, total = min(sample.user_us, limit), min(sample.cpu_us, limit)
        axis.barh(position, user, color=USER_COLORS[family])
        axis.barh(position, total - user, left=user, color=SYSTEM_COLORS[family])
        cut = not math.isclose(total, sample.cpu_us)
        axis.text(
            limit * 0.98 if cut else total + limit * 0.01,
            position,
            f"{sample.cpu_us:.1f} >" if cut else f"{sample.cpu_us:.2f}",
            va="center",
            ha="right" if cut else "left",
            fontsize=7.5,
            color="white" if cut and user == limit else "black",
        )
    axis.set_yticks(range(len(shown)), list(shown), fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(0, limit)
    axis.tick_params(axis="x", labelsize=7)
    axis.set_title(cell.name, fontsize=9.5)
    axis.spines[["top", "right"]].set_visible(False)
