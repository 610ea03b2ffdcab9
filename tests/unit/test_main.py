"""The command line of `shoal`."""

import subprocess
import sys
from importlib.metadata import version
from types import ModuleType

import pytest
from shoal.proto.directives import Config
from shoal.supervisor.__main__ import main


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The configurations a server was started with; it ends at once with exit code 3."""
    configs: list[Config] = []

    def run(config: Config) -> int:
        configs.append(config)
        return 3

    module = ModuleType("shoal.supervisor.serve")
    monkeypatch.setattr(module, "run", run, raising=False)
    monkeypatch.setitem(sys.modules, "shoal.supervisor.serve", module)
    return configs


def test_serve(started: list[Config]) -> None:
    assert main(["serve", "--port", "0", "--workers", "2"]) == 3
    assert [(config.port, config.workers) for config in started] == [(0, 2)]


def test_serve_with_a_bad_configuration(
    started: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--port", "x"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"\n*** FATAL CONFIG FILE ERROR (Shoal {version('shoal')}) ***\n")
    assert err.endswith(">>> 'port \"x\"'\nargument couldn't be parsed into an integer\n")
    assert started == []


HELP = {
    "--help": "usage: shoal serve",
    "-h": "usage: shoal serve",
    "serve --help": "--appendfsync everysec",
    "ctl --help": "restart-worker N",
    "--version": f"shoal {version('shoal')}\n",
}


@pytest.mark.parametrize(("line", "text"), HELP.items())
def test_help(line: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 0
    out, err = capsys.readouterr()
    assert text in out
    assert err == ""


@pytest.mark.parametrize(
    ("line", "trouble"), {"": "which command?", "start": "no such command: start"}.items()
)
def test_usage_errors(line: str, trouble: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"shoal: {trouble}\n\nShoal: a server")


def test_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "shoal.supervisor", "ctl", "--socket", "/nowhere/s", "ping"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("shoal ctl: no such socket: /nowhere/s\n")
