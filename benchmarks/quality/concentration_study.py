"""Measure how far matches gather on few songs.

python -m benchmarks.quality.concentration_study --data DIR [--rows NAME ...]

Prints coverage, Gini coefficient, hubness and popularity of the first ten matches of the test songs of split 0, beside
the truth's.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.lines import say
from tfx_pipeline.runtime.keras_backend import use_tensorflow

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
use_tensorflow()  # before Keras is imported

ROWS_SHOWN = ("content cosine", "weighted count", "kernel ridge", "audience ridge")


def main(arguments: list[str]) -> int:
    """Prints a line for the truth and for each row."""
    from benchmarks.quality.concentration import against_truth
    from benchmarks.quality.problem import Problem
    from benchmarks.quality.rows import ROWS
    from benchmarks.targeting_study.datasets import read_data_set
    from tfx_pipeline.contract.splits import TEST

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality.concentration_study", description=(__doc__ or "").split("\n\n")[2]
    )
    parser.add_argument("--data", type=Path, required=True, help="folder in the input contract")
    parser.add_argument(
        "--rows",
        nargs="+",
        choices=[row.name for row in ROWS],
        default=list(ROWS_SHOWN),
        metavar="NAME",
        help="rows to fit (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    problem = Problem.of(read_data_set(options.data), seed=0)
    test = problem.cold(TEST)
    truth, listeners = problem.similar_truth(test), problem.plays.sum(axis=1).A1
    chosen = [row for row in ROWS if row.name in options.rows and row.usable(problem.data)]
    for number, row in enumerate(chosen):
        found, right = against_truth(row.fit(problem)(test, problem.encoding), truth, listeners)
        if number == 0:
            say(_line("truth", right.to_dict()))
        say(_line(row.name, found.to_dict()))
    return 0


def _line(name: str, figures: dict[str, float]) -> str:
    return f"{name:32}" + "   ".join(f"{figure} {value:.3f}" for figure, value in figures.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
