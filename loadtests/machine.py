"""Describe the machine and the programs a result was measured with; no host names, no paths."""

import os
import platform
import re
import shutil
import subprocess
import time
from importlib import metadata
from pathlib import Path

import psutil

from loadtests.servers import version_of


def describe(servers: list[str], data_dir: Path) -> dict[str, str]:
    """Return label -> text, in the order to print."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    virtual = " (virtual machine)" if re.search(r"^flags.*\bhypervisor\b", cpuinfo, re.M) else ""
    gibibytes = psutil.virtual_memory().total / 2**30
    described = {
        "Date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "CPU": (model.group(1) if model else platform.machine()) + virtual,
        "Cores": f"{len(os.sched_getaffinity(0))} usable, {os.cpu_count()} in all",
        "Memory": f"{gibibytes:.0f} GiB",
        "Kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "hiredis-py": metadata.version("hiredis"),
        "Append only files on": _filesystem(data_dir),
        "redis-benchmark": _benchmark_version(),
        "Clock tick of CPU times": f"{1000 / os.sysconf('SC_CLK_TCK'):.0f} ms",
    }
    for name in servers:
        commit = _commit() if name.startswith("shoal-") else ""
        described[name] = version_of(name) + commit
    return described


def load_average() -> str:
    """Return the load averages of the last 1, 5 and 15 minutes."""
    return " ".join(f"{load:.2f}" for load in os.getloadavg())


def busy_seconds() -> float:
    """Return the CPU seconds all processes have used since boot, those a hypervisor took included.

    Guest time is already within user time (proc(5)).
    """
    t = psutil.cpu_times()
    return float(t.user + t.nice + t.system + t.irq + t.softirq + t.steal)


def _filesystem(path: Path) -> str:
    mounts = [m for m in psutil.disk_partitions(all=True) if path.is_relative_to(m.mountpoint)]
    return max(mounts, key=lambda m: len(m.mountpoint)).fstype if mounts else "unknown"


def _benchmark_version() -> str:
    if shutil.which("redis-benchmark") is None:
        raise SystemExit("redis-benchmark is not in PATH; Debian has it in redis-tools")
    run = subprocess.run(["redis-benchmark", "--version"], capture_output=True, check=True)
    return run.stdout.decode().split()[1]


def _commit() -> str:
    """Return ` (commit abc1234, changed)`, or nothing outside of a git checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    run = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, check=False)
    if run.returncode:
        return ""
    # The results lie in the repository themselves: writing them changes no server.
    paths = ["--", ":/proto", ":/worker", ":/supervisor"]
    status = subprocess.run(
        [*git, "status", "--porcelain", *paths], capture_output=True, check=True
    )
    return f" (commit {run.stdout.decode().strip()}{', changed' if status.stdout else ''})"
