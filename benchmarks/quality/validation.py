"""What validation songs say of a fitted row, by both measures: similar songs and listeners."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import sparse

from bcl_keras.evaluation.choices import MOST_JUDGED, best_rows, first_best
from benchmarks.quality import closed_form
from benchmarks.quality.draws import QUICK_TRIALS, TRIALS, Search, Settings
from benchmarks.quality.listeners import listener_scores
from benchmarks.quality.metrics import as_truth
from benchmarks.quality.problem import TRUTH_SIZES, Problem
from benchmarks.quality.scorer import ListenerScorer, Scorer
from tfx_pipeline.contract.splits import VALIDATION

#: Lengths of the lists of songs and of listeners.
SONGS, LISTENERS = 50, 100
_BLOCK = 256
_JUDGED = "judged validation songs"


class Recalls(NamedTuple):
    """On the validation songs: recall@50 of the songs of similar audience, recall@100 of the listeners."""

    similar: float
    listeners: float


def recalls(problem: Problem, scorer: Scorer) -> Recalls:
    """Returns both recalls of a scorer on the validation songs, at most `MOST_JUDGED` of them."""
    found = []
    for block, similar, heard in _judged(problem):
        scores = np.asarray(scorer(block, problem.encoding))
        of_listeners = (
            scorer.listeners(block, problem.encoding)
            if isinstance(scorer, ListenerScorer)
            else listener_scores(problem, scores)
        )
        found.append((_recall(scores, similar, SONGS), _recall(of_listeners, heard, LISTENERS)))
    similar_songs, listeners = (np.concatenate(part) for part in zip(*found, strict=True))
    return Recalls(float(np.nanmean(similar_songs)), float(np.nanmean(listeners)))


def worth(problem: Problem, scorer: Scorer) -> float:
    """Returns the geometric mean of both recalls, as a multiple of content cosine's: what settings are chosen by.

    So 1 % of either measure counts as much, whatever its size. Listeners are counted by one rule for all rows that have
    none of their own; the rule of a row is chosen when it is measured.
    """
    return worth_of(problem, recalls(problem, scorer))


def worth_of(problem: Problem, found: Recalls) -> float:
    """Returns `worth` of recalls that are known."""
    if "recalls of content cosine" not in problem.shared:
        problem.shared["recalls of content cosine"] = recalls(problem, closed_form.content_cosine(problem))
    base = problem.shared["recalls of content cosine"]
    return float(np.sqrt(np.prod(found) / max(np.prod(base), 1e-9)))


def best_of(problem: Problem, search: Search, fit: Callable[[Settings], Scorer]) -> Scorer:
    """Returns the scorer of the settings that are worth most on the validation songs; of equal ones the first."""
    return fit(first_best({settings: worth(problem, fit(settings)) for settings in search.draw(trials_of(problem))}))


def trials_of(problem: Problem) -> int:
    """Returns how many settings a closed form is tried with: the budget of all rows, or few in a quick run."""
    return TRIALS if problem.epochs is None else QUICK_TRIALS


def _judged(problem: Problem) -> list[tuple[np.ndarray, sparse.csr_matrix, sparse.csr_matrix]]:
    """Returns blocks of validation songs with their similar songs and listeners: the same at every look of a model."""
    if _JUDGED not in problem.shared:
        songs = problem.cold(VALIDATION)
        songs = np.sort(np.random.default_rng(problem.seed).permutation(songs)[:MOST_JUDGED])
        blocks = [songs[start : start + _BLOCK] for start in range(0, len(songs), _BLOCK)]
        problem.shared[_JUDGED] = [
            (block, as_truth(problem.similar_truth(block), len(problem.warm), TRUTH_SIZES[0]), problem.heard(block))
            for block in blocks
        ]
    found: list[tuple[np.ndarray, sparse.csr_matrix, sparse.csr_matrix]] = problem.shared[_JUDGED]
    return found


def _recall(scores: np.ndarray, truth: sparse.csr_matrix, k: int) -> np.ndarray:
    """Recall at k of each row; NaN without truth."""
    top = best_rows(scores, max(1, min(k, scores.shape[1] - 1)))
    right = np.asarray(truth.multiply(top).astype(bool).sum(axis=1)).ravel()
    wanted = np.diff(truth.indptr)
    return np.where(wanted > 0, right / np.maximum(wanted, 1), np.nan)
