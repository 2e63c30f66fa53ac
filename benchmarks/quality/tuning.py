"""Tune the published models on validation songs.

python -m benchmarks.quality.tuning --data DIR [--trials 6] [--rows NAME ...]

Draws settings of each model and prints their recall@50 on validation songs of the first split, and the best. Test songs
are not used. The settings in `published` were chosen so on Last.fm-2K.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfx_pipeline.runtime.keras_backend import use_tensorflow

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
use_tensorflow()  # before Keras is imported

import numpy as np

from bcl_keras.evaluation.choices import first_best
from benchmarks.quality import published
from benchmarks.quality.closed_form import Scorer
from benchmarks.quality.problem import Problem
from benchmarks.targeting_study.datasets import read_data_set
from tfx_pipeline.contract.splits import VALIDATION

SPACE: dict[str, tuple[Any, ...]] = {
    "dim": (64, 128),
    "hidden": (256, 512),
    "learning_rate": (5e-4, 1e-3, 2e-3, 5e-3),
    "temperature": (0.05, 0.1, 0.2),
    "dropout": (0.3, 0.5, 0.7),
}
MODELS: dict[str, tuple[Callable[..., Scorer], published.Settings]] = {
    "DropoutNet": (published.dropout_net, published.Settings()),
    "CLCRec": (published.clcrec, published.Settings(temperature=0.2)),
    "TFRS two-tower": (published.tfrs_two_tower, published.Settings(dropout=0.3)),
}


def draw(start: published.Settings, trials: int) -> list[published.Settings]:
    """Returns what is tried: the start, then others of `SPACE` without repeats, in the same order for every model."""
    grid = [dict(zip(SPACE, values, strict=True)) for values in itertools.product(*SPACE.values())]
    order = np.random.default_rng(0).permutation(len(grid))
    others = [replace(start, **grid[place]) for place in order.tolist()]
    return [start, *(settings for settings in others if settings != start)][:trials]


def main(arguments: list[str]) -> int:
    """Runs the search."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality.tuning", description=(__doc__ or "").split("\n\n")[2]
    )
    parser.add_argument("--data", type=Path, required=True, help="folder in the input contract")
    parser.add_argument(
        "--trials", type=int, default=6, help="number of settings tried of every model (default: %(default)s)"
    )
    names = list(MODELS)
    parser.add_argument(
        "--rows", nargs="+", choices=names, default=names, metavar="NAME", help="models to try (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    problem = Problem.of(read_data_set(options.data), seed=0)
    songs = problem.cold(VALIDATION)
    recall = problem.validation_judge.recall_of_scores
    for name in options.rows:
        fit, start = MODELS[name]
        reached = {}
        for settings in draw(start, options.trials):
            reached[settings] = recall(fit(problem, settings)(songs, problem.encoding))
            _say(f"{name}: {reached[settings]:.4f} {settings}")
        _say(f"{name}: best {first_best(reached)}")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
