"""What every row is asked: similar songs, listeners of a song, cold songs for a listener; and slices of the songs."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from bcl_keras.evaluation.choices import best_rows
from benchmarks.quality.closed_form import ARTIST, Scorer
from benchmarks.quality.metrics import as_truth, metrics_of
from benchmarks.quality.problem import Problem
from tfx_pipeline.contract.splits import TEST, VALIDATION

MATCHES = 50
#: What a song that nobody has tagged yet lacks: words that listeners or editors write.
DAY_ZERO_FIELDS = frozenset({"attribute_tags", "attribute_facts", "lyric_moods", "lyric_topics"})

SIMILAR_20, SIMILAR_50 = "similar songs (20)", "similar songs (50)"
DAY_ZERO = "similar songs (20), day zero"
LISTENERS = "listeners of a song"
LONG_TAIL, NEW_ARTIST = "long tail (third)", "new artist"
SONGS_OF_ALL, SONGS_OF_TEST = "songs for a listener, of all cold", "songs for a listener, of test"

Values = dict[str, dict[str, np.ndarray]]


def ask(problem: Problem, scorer: Scorer) -> Values:
    """Returns task -> metric -> value of each song or listener of the test split."""
    test, validation = problem.cold(TEST), problem.cold(VALIDATION)
    truth = problem.similar_truth(test)
    scores = scorer(test, problem.encoding)
    candidates = len(problem.warm)
    values = {
        SIMILAR_20: metrics_of(scores, as_truth(truth, candidates, 20)),
        SIMILAR_50: metrics_of(scores, as_truth(truth, candidates, 50)),
    }
    withheld = DAY_ZERO_FIELDS & {field.name for field in problem.encoding.fields}
    if withheld:
        bare = scorer(test, problem.encoding.without(withheld))
        values[DAY_ZERO] = metrics_of(bare, as_truth(truth, candidates, 20))
    listeners = listener_scores(problem, scores)
    heard = problem.heard(test) > 0
    values[LISTENERS] = metrics_of(listeners, heard)
    users = np.flatnonzero(np.asarray(heard.sum(axis=0)).ravel() > 0)
    of_test = listeners[:, users].T
    values[SONGS_OF_TEST] = metrics_of(of_test, heard[:, users].T.tocsr())
    others = listener_scores(problem, scorer(validation, problem.encoding))[:, users].T
    none = as_truth(np.full((len(users), 1), -1), len(validation), 1)
    both = sparse.hstack([heard[:, users].T, none]).tocsr()
    values[SONGS_OF_ALL] = metrics_of(np.concatenate([of_test, others], axis=1), both)
    return values


def listener_scores(problem: Problem, scores: np.ndarray) -> np.ndarray:
    """Returns (songs, users): the similarity-weighted count of a song's 50 best matches that a user plays.

    Weights are a softmax of the standardised scores, so that rows of any scale are weighed alike.
    """
    spread = np.maximum(scores.std(axis=1, keepdims=True), 1e-9)
    powers = np.exp((scores - scores.max(axis=1, keepdims=True)) / spread) * best_rows(scores, MATCHES)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32) @ problem.plays


def slices(problem: Problem) -> dict[str, np.ndarray]:
    """Returns name -> which test songs: by popularity of their truth, fields present, known or new artist."""
    test = problem.cold(TEST)
    truth = problem.similar_truth(test)[:, :20]
    listeners = np.asarray(problem.plays.sum(axis=1)).ravel()
    popular = np.where(truth >= 0, listeners[truth], np.nan)
    typical = np.nanmedian(np.where((truth >= 0).any(axis=1)[:, None], popular, 0), axis=1)
    tail = typical <= np.quantile(typical, 1 / 3)
    present = _fields_present(problem, test)
    few = present < np.median(present)
    found = {LONG_TAIL: tail, "popular (two thirds)": ~tail, "few fields": few, "many fields": ~few}
    if ARTIST in problem.encoding.features:
        artists = problem.encoding.features[ARTIST]
        known = np.isin(artists[test], artists[problem.warm]) & (artists[test] > 0)
        found |= {"known artist": known, NEW_ARTIST: ~known}
    return found


def _fields_present(problem: Problem, songs: np.ndarray) -> np.ndarray:
    """Returns how many fields each song has, all numbers of a group as one."""
    return sum((block.getnnz(axis=1) > 0).astype(int) for block in problem.encoding.blocks(songs).values())
