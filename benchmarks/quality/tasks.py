"""What every row is asked: similar songs, listeners of a song, cold songs for a listener; as given and on day zero."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from benchmarks.quality.encoding import Encoding
from benchmarks.quality.listeners import CountRule, choose_rule, user_scores
from benchmarks.quality.metrics import as_truth, graded_of, listener_metrics_of, metrics_of
from benchmarks.quality.problem import TRUTH_SIZES, Problem
from benchmarks.quality.scorer import Scorer
from tfx_pipeline.contract.splits import TEST, VALIDATION

SIMILAR_20, SIMILAR_50 = "similar songs (20)", "similar songs (50)"
DAY_ZERO = "similar songs (20), day zero"
LISTENERS, LISTENERS_DAY_ZERO = "listeners of a song", "listeners of a song, day zero"
SONGS_OF_ALL, SONGS_OF_TEST = "songs for a listener, of all cold", "songs for a listener, of test"
#: Listeners who are asked for songs, drawn by the seed where a data set has more.
MOST_LISTENERS_ASKED = 5_000
_BLOCK = 256

Values = dict[str, dict[str, np.ndarray]]


def ask(problem: Problem, scorer: Scorer) -> Values:
    """Returns task -> metric -> value of each song or listener of the test split."""
    rule = choose_rule(problem, scorer)
    values = _similar(problem, scorer) | {LISTENERS: _listeners(problem, scorer, problem.encoding, rule)}
    if problem.withheld:
        bare = problem.encoding.without(problem.withheld)
        test = problem.cold(TEST)
        truth = as_truth(problem.similar_truth(test), len(problem.warm), TRUTH_SIZES[0])
        values[DAY_ZERO] = metrics_of(scorer(test, bare), truth)
        values[LISTENERS_DAY_ZERO] = _listeners(problem, scorer, bare, rule)
    return values | _songs_for_listeners(problem, scorer, rule)


def asked_listeners(problem: Problem) -> np.ndarray:
    """Returns the columns of the listeners who are asked for songs: they play a test song."""
    users = np.flatnonzero(np.asarray(problem.heard(problem.cold(TEST)).sum(axis=0)).ravel() > 0)
    return np.sort(np.random.default_rng(problem.seed).permutation(users)[:MOST_LISTENERS_ASKED])


def _similar(problem: Problem, scorer: Scorer) -> Values:
    test, candidates = problem.cold(TEST), len(problem.warm)
    truth, scores = problem.similar_truth(test), scorer(test, problem.encoding)
    tasks = zip((SIMILAR_20, SIMILAR_50), TRUTH_SIZES, strict=True)
    values = {task: metrics_of(scores, as_truth(truth, candidates, size)) for task, size in tasks}
    graded = [
        graded_of(scores[start : start + _BLOCK], problem.audience_cosines(problem.heard(test[start : start + _BLOCK])))
        for start in range(0, len(test), _BLOCK)
    ]
    values[SIMILAR_20] |= {metric: np.concatenate([block[metric] for block in graded]) for metric in graded[0]}
    return values


def _listeners(problem: Problem, scorer: Scorer, encoding: Encoding, rule: CountRule | None) -> dict[str, np.ndarray]:
    blocks = user_scores(problem, scorer, problem.cold(TEST), encoding, rule)
    found = [listener_metrics_of(block, problem.heard(rows) > 0) for rows, block in blocks]
    return {metric: np.concatenate([block[metric] for block in found]) for metric in found[0]}


def _songs_for_listeners(problem: Problem, scorer: Scorer, rule: CountRule | None) -> Values:
    """Ranks test songs, and validation songs beside them, for each listener who plays a test song."""
    users = asked_listeners(problem)
    test, validation = (
        np.concatenate([block[:, users] for _, block in user_scores(problem, scorer, songs, problem.encoding, rule)])
        for songs in (problem.cold(TEST), problem.cold(VALIDATION))
    )
    heard = (problem.heard(problem.cold(TEST))[:, users] > 0).T.tocsr()
    none = sparse.csr_matrix((len(users), len(validation)), dtype=bool)
    return {
        SONGS_OF_TEST: metrics_of(test.T, heard),
        SONGS_OF_ALL: metrics_of(np.concatenate([test, validation]).T, sparse.hstack([heard, none]).tocsr()),
    }
