"""Measure whether the chances of matches come true, on test songs that they were not fitted on.

python -m benchmarks.chances --data DIR [DIR ...] [--songs N] [--first-seed 0] [--seeds 4] [--epochs N | --closed-form]

The data sets are folders of the input contract. Each seed is another split. The model is the joined one that the
pipeline serves, or the closed form alone, which takes seconds where towers take minutes. Chances are fitted on the
validation songs of a split, as the Trainer does, and judged on its test songs. Test songs of the first 8 splits differ,
so that the figures are of all of them together.
Prints a line of JSON for each data set, with figures of the first 10, 50 and 100 matches of a song:
- `error`: matches are sorted by chance and cut into 15 groups of equal size. The mean difference of a group's chance
  and its share of right matches.
- `least`: the error that true chances would have with as many matches, because hits are drawn.
- `chance` and `right`: their means.
- `within`: share of the groups, of each split apart, whose share of right matches lies where the 95 % interval and the
  number of test songs let expect it in 95 of 100 cases.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfx_pipeline.runtime.keras_backend import use_tensorflow

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
use_tensorflow()  # before Keras is imported

from serving.export.chances import ChanceScale  # noqa: E402
from tfx_pipeline.models.calibration import calibration_error, groups_of_like_chance  # noqa: E402
from tfx_pipeline.models.match_chances import (  # noqa: E402
    PLACES,
    best_matches,
    fit_chances,
    known_fields,
    predict,
)

if TYPE_CHECKING:
    import bcl_keras
    from benchmarks.quality.problem import Problem

_DEPTHS = (10, 50, 100)
_DRAWS = 20
_BLOCK = 256
_NORMAL_95 = 1.959964


@dataclass(frozen=True)
class Judged:
    """Matches of test songs, `(songs, places)` each: chances, their bounds, and whether they are right."""

    chance: np.ndarray
    low: np.ndarray
    high: np.ndarray
    hits: np.ndarray

    def first(self, places: int) -> Judged:
        """Returns the first matches of each song."""
        return Judged(*(values[:, :places] for values in (self.chance, self.low, self.high, self.hits)))


def main(argv: list[str]) -> int:
    """Prints the figures."""
    from benchmarks.quality.problem import LEAST_LISTENERS, Problem
    from benchmarks.reliability import model_of
    from benchmarks.targeting_study.datasets import drawn, read_data_set
    from tfx_pipeline.contract.splits import VALIDATION

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chances", description=(__doc__ or "").split("\n\n")[2].split("\nPrints")[0]
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in the input contract")
    parser.add_argument("--songs", type=int, help="most songs with at least 3 listeners, drawn by hash (default: all)")
    parser.add_argument("--seeds", type=int, default=4, help="number of splits (default %(default)s)")
    parser.add_argument("--first-seed", type=int, default=0, help="number of the first split (default %(default)s)")
    towers = parser.add_mutually_exclusive_group()
    towers.add_argument("--closed-form", action="store_true", help="the closed form alone, without towers")
    towers.add_argument("--epochs", type=int, help="most epochs of the towers; default: as the pipeline trains them")
    arguments = parser.parse_args(argv)
    for folder in arguments.data:
        data = read_data_set(folder)
        if arguments.songs is not None:
            data = drawn(data, arguments.songs, LEAST_LISTENERS)
        parts, validation, seconds = [], 0, 0.0
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            problem = Problem.of(data, seed, arguments.epochs)
            model = model_of(problem, closed_form=arguments.closed_form)
            started = time.perf_counter()
            scale = fit_chances(model, songs_with_truth(problem, VALIDATION))
            seconds = max(seconds, time.perf_counter() - started)
            if scale is not None:
                parts.append(judged(problem, model, scale))
            validation = len(problem.cold(VALIDATION))
        line = {"data": data.name, "splits": len(parts), "validation_songs": validation, "fit_seconds": seconds}
        line |= figures(parts) if parts else {}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    return 0


def songs_with_truth(problem: Problem, split: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns features of the songs of a split, and the rows of the warm songs that are right, -1 for none."""
    from benchmarks.quality.towers import POSITIVES

    truth = problem.similar_truth(problem.cold(split))[:, :POSITIVES]
    songs = problem.cold(split)[(truth >= 0).any(axis=1)]
    return problem.encoding.rows(songs), truth[(truth >= 0).any(axis=1)]


def judged(problem: Problem, model: bcl_keras.models.SongModel, scale: ChanceScale) -> Judged:
    """Returns the matches of test songs and their chances."""
    from tfx_pipeline.contract.splits import TEST

    (features, truth), candidates = songs_with_truth(problem, TEST), model.warm_candidates().T
    found = []
    for start in range(0, len(truth), _BLOCK):
        block = slice(start, start + _BLOCK)
        songs = {name: values[block] for name, values in features.items()}
        scores, hits = best_matches(model.embed_songs(songs) @ candidates, truth[block], PLACES)
        found.append(Judged(*predict(scale, scores, known_fields(songs)), hits))
    return joined(found)


def joined(parts: list[Judged]) -> Judged:
    """Returns the songs of several parts together."""
    return Judged(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("chance", "low", "high", "hits"))
    )


def figures(parts: list[Judged]) -> dict[str, Any]:
    """Returns the figures of the splits together."""
    whole = joined(parts)
    found: dict[str, Any] = {"test_songs": len(whole.hits)}
    for places in _DEPTHS:
        first = whole.first(places)
        inside = np.concatenate([groups_within(part.first(places)) for part in parts])
        found[f"first {places}"] = {
            "error": calibration_error(first.chance, first.hits),
            "least": least_error(first.chance),
            "chance": float(first.chance.mean()),
            "right": float(first.hits.mean()),
            "within": float(inside.mean()),
        }
    return found


def least_error(chance: np.ndarray) -> float:
    """Returns the calibration error to expect if each match is right with its chance, and apart from the others."""
    rng = np.random.default_rng(0)
    return float(np.mean([calibration_error(chance, rng.random(chance.shape) < chance) for _ in range(_DRAWS)]))


def groups_within(part: Judged) -> np.ndarray:
    """Returns which groups of like chance have as many right matches as the interval lets expect.

    The share of right matches in a group varies by the songs that are in it, and the chance by the songs of the fit.
    Both variances are added.
    """
    song = np.repeat(np.arange(len(part.hits)), part.hits.shape[1])
    inside = []
    for group in groups_of_like_chance(part.chance):
        chance, low, high, hits = (values.ravel()[group] for values in (part.chance, part.low, part.high, part.hits))
        by_song = np.bincount(song[group], weights=hits - chance)
        of_fit = (high.mean() - low.mean()) / (2 * _NORMAL_95)
        spread = np.sqrt((by_song**2).sum() / len(group) ** 2 + of_fit**2)
        inside.append(abs(hits.mean() - chance.mean()) <= _NORMAL_95 * spread)
    return np.array(inside)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
