"""Measure the embedded server. Each command runs a server in a process of its own and prints a line of JSON.

python -m benchmarks.serving throughput --seconds 20   matches over 100,000 songs at concurrency 16, with batching,
                                                        beside the same session in-process and numpy's brute force
python -m benchmarks.serving reload --seconds 60       concurrency 32 while 20 versions are published and retired
python -m benchmarks.serving memory --seconds 600      the same for ten minutes: growth of memory after the first
python -m benchmarks.serving fuzz --count 10000        malformed requests; then hostile ones beside eight good clients
python -m benchmarks.serving attacks                    what one hostile request of each kind costs the server
python -m benchmarks.serving startup                   time until the client is imported, and until a server is ready
"""

from __future__ import annotations

import argparse
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.serving.fuzz import attacks, run_fuzz
from benchmarks.serving.reload import reload
from benchmarks.serving.startup import startup
from benchmarks.serving.throughput import throughput


def main() -> int:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what",
        choices=["throughput", "reload", "memory", "fuzz", "attacks", "startup"],
        help="figure to measure, see above",
    )
    parser.add_argument(
        "--seconds", type=float, help="seconds of measuring (default: 20 for throughput, 60 for reload, 600 for memory)"
    )
    parser.add_argument("--count", type=int, default=10_000, help="number of requests of fuzz (default: %(default)s)")
    arguments = parser.parse_args()
    defaults = {"throughput": 20.0, "reload": 60.0, "memory": 600.0}
    seconds = arguments.seconds or defaults.get(arguments.what, 0.0)
    if arguments.what == "throughput":
        result = throughput(seconds)
    elif arguments.what in ("reload", "memory"):
        result = reload(seconds, versions=max(20, int(seconds // 3) if arguments.what == "memory" else 20))
    elif arguments.what == "fuzz":
        result = run_fuzz(arguments.count)
    else:
        result = attacks() if arguments.what == "attacks" else startup()
    sys.stdout.write(json.dumps({arguments.what: result}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
