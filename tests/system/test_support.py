"""What the tests' support says of processes that end while it looks."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest
from support.servers import Shoal


def test_a_worker_that_is_gone_before_it_is_looked_at_is_not_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    children = psutil.Process.children
    with (
        Shoal(workers=2) as server,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as ended,
    ):
        pids = server.worker_pids()
        process = psutil.Process(ended.pid)
        ended.kill()
        ended.wait()
        monkeypatch.setattr(psutil.Process, "children", lambda self: [process, *children(self)])
        assert server.worker_pids() == pids
