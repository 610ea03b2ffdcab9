"""pyproject.toml, the folders and the links for mypy say the same."""

import importlib.metadata
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("proto", "supervisor", "worker")


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _package_folders() -> list[Path]:
    modules = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return sorted({path.parent for path in modules})


def test_every_folder_is_packed_and_no_other() -> None:
    packages = _project()["tool"]["setuptools"]["packages"]
    folders = [
        ".".join(("shoal", *folder.relative_to(ROOT).parts)) for folder in _package_folders()
    ]
    assert sorted(packages) == sorted(folders)


@pytest.mark.parametrize("folder", _package_folders(), ids=lambda folder: folder.name)
def test_every_package_is_typed(folder: Path) -> None:
    assert (folder / "__init__.py").is_file()
    assert (folder / "py.typed").is_file()


@pytest.mark.parametrize("folder", FOLDERS)
def test_mypy_finds_each_package_through_a_relative_link(folder: str) -> None:
    link = ROOT / ".typing" / "shoal" / folder
    assert link.readlink() == Path("..", "..", folder)
    assert link.resolve() == ROOT / folder


def test_the_folder_above_is_a_namespace() -> None:
    assert not (ROOT / "__init__.py").exists()


def test_the_installed_version_is_the_one_written_down() -> None:
    assert importlib.metadata.version("shoal") == _project()["project"]["version"]


def test_the_command_exists() -> None:
    (script,) = importlib.metadata.distribution("shoal").entry_points.select(name="shoal")
    assert callable(script.load())


def test_the_licence_has_a_text() -> None:
    project = _project()["project"]
    assert project["license"] == "MIT"
    assert all(
        "Permission is hereby granted" in (ROOT / f).read_text() for f in project["license-files"]
    )
