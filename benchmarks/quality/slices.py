"""Which test songs belong to which slice: by their truth's and their own listeners, their fields, their artist."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from benchmarks.quality.problem import TRUTH_SIZES, Problem
from benchmarks.quality.supervision import by_supervision
from tfx_pipeline.contract.splits import TEST

ARTIST = "attribute_artist"
LONG_TAIL, NEW_ARTIST = "long tail (third)", "new artist"
#: Least listeners of a song in each slice by its own listeners; the last has no upper end.
LISTENER_EDGES = (3, 5, 10, 20)


def slices(problem: Problem) -> dict[str, np.ndarray]:
    """Returns name -> which test songs."""
    test = problem.cold(TEST)
    typical = _typical_listeners(problem, test)
    tail = typical <= np.quantile(typical, 1 / 3)
    present = _fields_present(problem, test)
    few = present < np.median(present)
    found = {LONG_TAIL: tail, "popular (two thirds)": ~tail, "few fields": few, "many fields": ~few}
    if ARTIST in problem.encoding.features:
        artists = problem.encoding.features[ARTIST]
        known = np.isin(artists[test], artists[problem.warm]) & (artists[test] > 0)
        found |= {"known artist": known, NEW_ARTIST: ~known}
    return found | by_supervision(problem) | by_listeners(np.diff(problem.heard(test).indptr))


def by_listeners(listeners: np.ndarray) -> dict[str, np.ndarray]:
    """Returns slices by the song's own listeners: 3 to 4, 5 to 9, 10 to 19, 20 or more."""
    found = {
        f"{low} to {high - 1} listeners": (listeners >= low) & (listeners < high)
        for low, high in pairwise(LISTENER_EDGES)
    }
    return found | {f"{LISTENER_EDGES[-1]} listeners or more": listeners >= LISTENER_EDGES[-1]}


def _typical_listeners(problem: Problem, songs: np.ndarray) -> np.ndarray:
    """Returns the median listeners of each song's similar songs; 0 where it has none."""
    truth = problem.similar_truth(songs)[:, : TRUTH_SIZES[0]]
    listeners = np.asarray(problem.plays.sum(axis=1)).ravel()
    popular = np.where(truth >= 0, listeners[truth], np.nan)
    return np.asarray(np.nanmedian(np.where((truth >= 0).any(axis=1)[:, None], popular, 0), axis=1))


def _fields_present(problem: Problem, songs: np.ndarray) -> np.ndarray:
    """Returns how many fields each song has, all numbers of a group as one."""
    blocks = problem.encoding.blocks(songs).values()
    return np.sum([block.getnnz(axis=1) > 0 for block in blocks], axis=0)
