"""Programs of others that keep their state in Redis, as processes, and what they are given to run.

The modules beside hold the tasks. A worker process of the program imports one by its name, and the
test, which sends the tasks, by `load`; both find the server in the environment.
"""

import importlib
import os
import sys
from pathlib import Path
from typing import Any, Self

import pytest
from support.servers import Server

URL = "SHOAL_TEST_URL"
"""The variable that names the server."""

_TESTS = Path(__file__).parents[2]


def load(module: str, **variables: str) -> Any:
    """Import a module of tasks anew, with these variables in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        sys.modules.pop(module, None)
        return importlib.import_module(module)


class Program(Server):
    """A Python program in a process group of its own; a context manager that ends it.

    Entering does not wait: `wait_for` a line of its output, or `wait_exit`. Leaving sends SIGTERM
    and insists on exit code 0; whatever happens, nothing of the group is left.
    """

    def __init__(self, module: str, *arguments: str, **variables: str) -> None:
        """Take `python -m module arguments`, with these variables in its environment."""
        super().__init__(*arguments)
        self.module = module
        paths = [str(_TESTS), os.environ.get("PYTHONPATH", "")]
        self.environment = {
            **os.environ,
            **variables,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONUNBUFFERED": "1",
        }

    def command(self) -> list[str]:
        return [sys.executable, "-m", self.module, *self.options]

    def start(self) -> Self:
        self.launch()
        return self
