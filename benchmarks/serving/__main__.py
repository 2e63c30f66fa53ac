"""Measure the embedded server. Each part runs a server in a process of its own and prints a line of JSON.

python -m benchmarks.serving throughput   matches over 100,000 songs at concurrency 16, with batching, beside the same
                                          session in process and numpy's brute force
python -m benchmarks.serving rest         the same matches over REST, beside gRPC
python -m benchmarks.serving reload       concurrency 32 while 20 versions are published and retired
python -m benchmarks.serving memory       the same for ten minutes: growth of memory after the first
python -m benchmarks.serving fuzz         malformed requests; then hostile ones beside eight good clients
python -m benchmarks.serving attacks      what attacks cost that once took a server down
python -m benchmarks.serving startup      time until the client is imported, and until a server answers
python -m benchmarks.serving workers --model FOLDER    `match` through two worker processes, beside one process
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.serving.attacks import attacks
from benchmarks.serving.fuzz import run_fuzz
from benchmarks.serving.reload import reload
from benchmarks.serving.startup import startup
from benchmarks.serving.throughput import BATCHING, rest, throughput
from benchmarks.serving.workers import workers

VERSIONS = 20
PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "throughput": lambda given: throughput(given.seconds or 20, given.batching),
    "rest": lambda given: rest(given.seconds or 20, given.batching),
    "reload": lambda given: reload(given.seconds or 60, VERSIONS, given.model),
    "memory": lambda given: reload(given.seconds or 600, max(VERSIONS, int((given.seconds or 600) // 3)), given.model),
    "fuzz": lambda given: run_fuzz(given.count),
    "attacks": lambda given: attacks(),
    "startup": lambda given: startup(given.model),
    "workers": lambda given: workers(given.seconds or 10, given.model),
}


def main() -> int:
    """Runs one part."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=list(PARTS), help="figure to measure, see above")
    parser.add_argument(
        "--seconds",
        type=float,
        help="seconds of measuring (default: 20 for throughput and rest, 60 for reload, 600 for memory; of each round "
        "of workers 10)",
    )
    parser.add_argument("--count", type=int, default=10_000, help="number of requests of fuzz (default: %(default)s)")
    parser.add_argument(
        "--batching",
        type=Path,
        default=BATCHING,
        help="batching parameters of throughput and rest (default: %(default)s)",
    )
    parser.add_argument(
        "--model",
        type=Path,
        help="folder with the version folders of a model, such as a run's serving; needed by workers "
        "(default: none, and a small model for reload and startup)",
    )
    given = parser.parse_args()
    if given.what == "workers" and given.model is None:
        parser.error("`workers` needs --model")
    sys.stdout.write(json.dumps({given.what: PARTS[given.what](given)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
