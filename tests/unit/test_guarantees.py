"""docs/partitions.md names a test for each thing that it promises, and that test exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/partitions.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
# Each list entry of these sections is a promise.
SECTIONS = ("Guarantees", "Faults that others had")


def section(title: str) -> str:
    """Return the text under a heading, subheadings included."""
    found = re.search(rf"(?ms)^## {title}\n(.*?)(?=^## )", PAGE)
    assert found is not None, title
    return found[1]


def entries(title: str) -> list[str]:
    """Return the list entries under a heading, each as one line."""
    found = re.findall(r"(?ms)^- (.*?)(?=^- |^\n|\Z)", section(title))
    return [" ".join(entry.split()) for entry in found]


def test_something_is_named() -> None:
    assert len(NAMED) > 15
    assert all(len(entries(title)) > 5 for title in SECTIONS)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_named_test_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("entry", [entry for title in SECTIONS for entry in entries(title)])
def test_a_promise_names_a_test(entry: str) -> None:
    assert "`tests/" in entry


@pytest.mark.parametrize("entry", [entry for title in SECTIONS for entry in entries(title)])
def test_every_test_is_named_in_full(entry: str) -> None:
    """A name that the tests above do not see would be checked by nobody."""
    for quoted in re.findall(r"`(tests/[^`]*)`", entry):
        assert re.fullmatch(r"tests/[\w/]+\.py::\w+", quoted), quoted
