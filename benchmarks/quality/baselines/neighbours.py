"""A weighted count over the songs of nearest content, with options that validation songs choose."""

from __future__ import annotations

import numpy as np

from bcl_keras.evaluation.choices import best_rows
from benchmarks.quality.baselines.audiences import LISTENERS, OF_MATCHES, targets, with_rule
from benchmarks.quality.closed_form import content_of
from benchmarks.quality.draws import Search, Settings
from benchmarks.quality.encoding import Encoding
from benchmarks.quality.problem import Problem
from benchmarks.quality.scorer import Scorer
from benchmarks.quality.validation import best_of

#: `power`: of the content's similarity; `neighbours`: songs counted; `own_share` and `column_power`: see `targets`.
COUNT_SEARCH = Search(
    {
        "power": (1.0, 2.0, 4.0),
        "neighbours": (20, 50, 100),
        "own_share": (0.0, 0.5, 1.0),
        "column_power": (0.0, 0.5, 1.0),
        "listeners": LISTENERS,
    },
    {"power": 2.0, "neighbours": 50, "own_share": 0.5, "column_power": 1.0, "listeners": OF_MATCHES},
)


def weighted_count_with_options(problem: Problem) -> Scorer:
    """Returns the weighted count of the settings that validation songs choose.

    A song's scores are the sum of `targets` of its neighbours, weighted by the content's similarity to `power`.
    """
    return best_of(problem, COUNT_SEARCH, lambda settings: count(problem, settings))


def count(problem: Problem, settings: Settings) -> Scorer:
    """Returns the weighted count of some settings."""
    chosen = dict(settings)
    content = content_of(problem)
    counted = targets(problem, chosen["own_share"], chosen["column_power"])
    most = min(chosen["neighbours"], len(problem.warm) - 1)

    def weights(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        kernel = content.kernel(songs, encoding)
        return np.where(best_rows(kernel, most), np.maximum(kernel, 0) ** chosen["power"], 0)

    def similar(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        return weights(songs, encoding) @ counted

    return with_rule(problem, similar, weights, chosen["listeners"])
