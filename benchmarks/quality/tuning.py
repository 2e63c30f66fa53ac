"""Search for the settings of the trained rows, ours and others', on validation songs.

python -m benchmarks.quality.tuning --data DIR [--songs N] [--rows NAME ...] [--trials 20] [--keep]

Every row that is trained is fitted on the first split with settings of its own space, the row's own first and then
drawn ones, as many for every row. Those of the best `worth` on the validation songs are printed, and with --keep
written to benchmarks/results/settings-SET.json, which the rows of the table read. Test songs are not used. Rows in
closed form try as many settings themselves, in every split.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.lines import say
from tfx_pipeline.runtime.keras_backend import use_tensorflow

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
use_tensorflow()  # before Keras is imported

from bcl_keras.evaluation.choices import first_best
from bcl_keras.models import BCLModel
from benchmarks.quality.draws import TRIALS, Settings
from benchmarks.quality.found_settings import Found, keep
from benchmarks.quality.problem import LEAST_LISTENERS, Problem
from benchmarks.quality.provenance import commit
from benchmarks.quality.row import Row
from benchmarks.quality.rows import ROWS
from benchmarks.quality.validation import Recalls, recalls, worth_of
from benchmarks.targeting_study.datasets import drawn, read_data_set

HARDWARE = "2 x86-64 cores, no GPU"


def searched(problem: Problem, row: Row, trials: int, commit: str, say: Callable[[str], None]) -> Found:
    """Returns the settings of a row that are worth most on the validation songs; of equal ones the first.

    Args:
        problem: The split.
        row: A row with a search.
        trials: How many settings are tried.
        commit: That the search runs at.
        say: Takes a line for every trial.

    Raises:
        ValueError: If the row has no search.
    """
    if row.search is None:
        raise ValueError(f"Argument `row` must have a search. Received: {row.name}")
    reached: dict[Settings, Recalls] = {}
    for settings in row.search.draw(trials):
        start = time.perf_counter()
        reached[settings] = recalls(problem, row.fit(problem, **dict(settings)))
        for name in [name for name, shared in problem.shared.items() if isinstance(shared, BCLModel)]:
            del problem.shared[name]  # no other trial has these towers
        found, seconds = reached[settings], time.perf_counter() - start
        values = f"{worth_of(problem, found):.3f}, songs {found.similar:.4f}, listeners {found.listeners:.4f}"
        say(f"{row.name}: {values}, {seconds:.0f} s, {dict(settings)}")
    chosen = first_best({settings: worth_of(problem, found) for settings, found in reached.items()})
    best = reached[chosen]
    return Found(row.name, dict(chosen), len(reached), best, worth_of(problem, best), commit)


def main(arguments: list[str]) -> int:
    """Runs the search."""
    rows = {row.name: row for row in ROWS if row.search}
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality.tuning", description=(__doc__ or "").split("\n\n")[2]
    )
    parser.add_argument("--data", type=Path, required=True, help="folder in the input contract")
    parser.add_argument("--songs", type=int, help="most songs with at least 3 listeners, drawn by hash (default: all)")
    parser.add_argument(
        "--trials", type=int, default=TRIALS, help="number of settings tried of every row (default: %(default)s)"
    )
    parser.add_argument(
        "--rows", nargs="+", choices=rows, default=list(rows), metavar="NAME", help="rows to try (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, help="most rounds of 100 steps of a trial (default: until it gains no more)"
    )
    parser.add_argument("--keep", action="store_true", help="write what is found into benchmarks/results")
    parser.add_argument("--hardware", default=HARDWARE, help="class of hardware, for --keep (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.keep and options.rounds:
        parser.error("--keep needs whole trials. Received: --rounds")
    data = read_data_set(options.data)
    if options.songs:
        data = drawn(data, options.songs, LEAST_LISTENERS)
    problem, made_at = Problem.of(data, seed=0, epochs=options.rounds), commit()
    for name in options.rows:
        if not rows[name].usable(data):
            continue
        found = searched(problem, rows[name], options.trials, made_at, say)
        say(f"{name}: best {found.worth:.3f} {found.settings}")
        if options.keep:
            keep(data.name, found, _command(options), options.hardware)
    return 0


def _command(options: argparse.Namespace) -> str:
    """Returns the command that finds these settings again."""
    given = [f"--data data/{options.data.name}", *([f"--songs {options.songs}"] if options.songs else [])]
    if options.trials != TRIALS:
        given.append(f"--trials {options.trials}")
    return f"python -m benchmarks.quality.tuning {' '.join(given)} --keep"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
