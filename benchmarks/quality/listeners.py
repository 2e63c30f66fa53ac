"""Who listens to a song: a row's own rule, or a weighted count of the listeners of its matches.

How a count is taken decides more than which row it is taken of. With 50 matches, the law of a simulated catalogue finds
no more listeners than content cosine: songs of most similar audience have as few listeners as the song itself, so few
plays are counted. So each row's count is chosen on validation songs, of the same rules for every row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from bcl_keras.evaluation.choices import best_rows, first_best
from bcl_keras.fields import Array
from benchmarks.quality.encoding import Encoding
from benchmarks.quality.metrics import MAIN_OF_LISTENERS, metrics_of
from benchmarks.quality.problem import Problem
from benchmarks.quality.scorer import ListenerScorer, Scorer
from tfx_pipeline.contract.splits import VALIDATION

#: Validation songs that a rule is chosen on, at most.
MOST_CHOSEN_BY = 500
_BLOCK = 256


@dataclass(frozen=True)
class CountRule:
    """A weighted count of the listeners of a song's matches.

    A match weighs `exp(sharpness z) / audience ** popularity_power`, z its standardised score and `audience` its number
    of listeners: rows of any scale are weighed alike.

    Attributes:
        matches: How many of the best matches count; None = all.
        sharpness: How much more the better matches count.
        popularity_power: How much less a match of many listeners counts.
    """

    matches: int | None = 50
    sharpness: float = 1.0
    popularity_power: float = 0.0


RULES = tuple(CountRule(*values) for values in product((50, 200, None), (1.0, 0.5), (0.0, 0.5, 1.0)))


def listener_scores(problem: Problem, scores: Array, rule: CountRule = RULES[0]) -> Array:
    """Returns (songs, users) weighted counts from (songs, warm songs) scores."""
    spread = np.maximum(scores.std(axis=1, keepdims=True), 1e-9)
    weights = np.exp(rule.sharpness * (scores - scores.max(axis=1, keepdims=True)) / spread)
    if rule.matches is not None:
        weights = weights * best_rows(scores, min(rule.matches, scores.shape[1]))
    if rule.popularity_power:
        weights = weights / np.asarray(problem.plays.sum(axis=1)).ravel() ** rule.popularity_power
    weights = weights / weights.sum(axis=1, keepdims=True)
    return np.asarray(weights.astype(np.float32) @ problem.plays)


def choose_rule(problem: Problem, scorer: Scorer) -> CountRule | None:
    """Returns the rule that finds most listeners of validation songs; None for a row that has a rule of its own."""
    if isinstance(scorer, ListenerScorer):
        return None
    songs = _some(problem)
    scores = scorer(songs, problem.encoding)
    return first_best({rule: _recall(problem, songs, scores, rule) for rule in RULES})


def user_scores(
    problem: Problem, scorer: Scorer, songs: Array, encoding: Encoding, rule: CountRule | None
) -> Iterator[tuple[Array, Array]]:
    """Yields blocks of songs with their (songs, users) scores; `rule` is what `choose_rule` returned."""
    for start in range(0, len(songs), _BLOCK):
        rows = songs[start : start + _BLOCK]
        if isinstance(scorer, ListenerScorer):
            yield rows, scorer.listeners(rows, encoding)
        else:
            yield rows, listener_scores(problem, scorer(rows, encoding), rule or RULES[0])


def _recall(problem: Problem, songs: Array, scores: Array, rule: CountRule) -> float:
    counted = listener_scores(problem, scores, rule)
    return float(np.nanmean(metrics_of(counted, problem.heard(songs) > 0)[MAIN_OF_LISTENERS]))


def _some(problem: Problem) -> Array:
    """Returns validation songs, drawn by the seed where there are many."""
    songs = problem.cold(VALIDATION)
    return np.sort(np.random.default_rng(problem.seed).permutation(songs)[:MOST_CHOSEN_BY])
