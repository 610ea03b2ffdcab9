"""What users install: the wheel, in a virtual environment that knows nothing of the sources."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.servers import Shoal

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    """Run to a good end and return what was printed."""
    done = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources: setuptools writes beside them."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("proto", "supervisor", "worker"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run(
        sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, source, cwd=folder
    )
    (built,) = folder.glob("shoal-*.whl")
    return built


def test_it_holds_every_module_and_nothing_else(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = {
        f"shoal/{path.relative_to(ROOT)}"
        for folder in ("proto", "supervisor", "worker")
        for path in (ROOT / folder).rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    assert packed == sources


def test_it_serves(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", wheel, cwd=tmp_path)
    command = tmp_path / "venv" / "bin" / "shoal"
    assert run(command, "--version", cwd=tmp_path) == f"shoal {wheel.name.split('-')[1]}\n"
    with Shoal(workers=2, program=[str(command)]) as shoal, shoal.client() as client:
        assert client.call(b"SET", b"k", b"v") == b"+OK\r\n"
        assert client.call(b"GET", b"k") == b"$1\r\nv\r\n"
        assert shoal.ctl("ping").stdout == "PONG\n"
